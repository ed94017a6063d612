//! Restores trees into a bucket.

use super::object::{expires, metadata, storage_class, tagging};
use crate::aws::{Side, Subject, Tell};
use crate::batch::RecordBatch;
use crate::target::{Content, OnConflict, Position, RestoreOrder, Target, Written};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryKind, EntryMeta, StreamInfo, StreamKind, Warning};
use sha2::{Digest, Sha256};

/// Content up to this size is written in one request.
const SINGLE: u64 = 16 << 20;
/// S3's bound on keys.
const LONGEST_KEY: usize = 1024;
/// How often a write is tried that others keep getting in the way of.
const MOST_TRIES: u32 = 5;

/// Gives a request what stands beside an entry's content.
macro_rules! described {
    ($request:expr, $meta:expr) => {{
        let meta: &EntryMeta = $meta;
        let attribute = |name: &str| meta.attributes.get(name).cloned();
        let file = matches!(meta.kind, EntryKind::File);
        let plain = || file.then(|| "application/octet-stream".to_owned());
        $request
            .set_content_type(attribute("content-type").or_else(plain))
            .set_cache_control(attribute("cache-control"))
            .set_content_encoding(attribute("content-encoding"))
            .set_content_disposition(attribute("content-disposition"))
            .set_content_language(attribute("content-language"))
            .set_website_redirect_location(attribute("website-redirect"))
            .set_expires(expires(meta))
            .set_storage_class(storage_class(meta))
            .set_tagging(tagging(meta))
            .set_metadata(Some(metadata(meta)))
    }};
}
pub(super) use described;

/// A prefix of a bucket as a target for trees.
///
/// Under [`OnConflict::Fail`] the prefix must be empty; an empty object `.holdfast-restore-ID` behind it marks the
/// restore until it is finished or abandoned, so that a repeat knows what it wrote itself. Objects appear whole or not at
/// all; those that a failed restore wrote stay. A process that is killed can leave parts of an upload, which a lifecycle
/// rule for incomplete multipart uploads removes.
#[derive(Debug)]
pub struct S3Target {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) subject: Subject,
    prefix: String,
    on_conflict: OnConflict,
}

/// What stands where an entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    Absent,
    Same,
    Different,
}

pub(super) type Hash = [u8; 32];

impl S3Target {
    /// A target that puts the prefix in front of every path.
    #[must_use]
    pub fn new(
        client: Client,
        bucket: impl Into<String>,
        prefix: impl Into<String>,
        on_conflict: OnConflict,
    ) -> Self {
        let bucket = bucket.into();
        let subject = Subject::new("bucket", &bucket, Side::Target);
        Self { client, bucket, subject, prefix: prefix.into(), on_conflict }
    }

    fn marker(&self, order: &RestoreOrder) -> String {
        format!("{}.holdfast-restore-{}", self.prefix, order.restore_id)
    }

    fn key(&self, meta: &EntryMeta) -> Result<String> {
        let invalid = |why: &str| {
            Error::new(
                Code::TargetInvalid,
                format!("{} cannot hold the path {}: it {why}", self.subject.what, printable(&meta.path)),
            )
            .object(printable(&meta.path))
            .hint("restore it into files:DIR, or leave it out with --path")
        };
        let path = std::str::from_utf8(&meta.path).map_err(|_| invalid("is not UTF-8"))?;
        let key = format!("{}{path}", self.prefix);
        if path.is_empty() {
            return Err(invalid("is empty"));
        }
        if key.len() > LONGEST_KEY {
            return Err(invalid("is longer than 1,024 bytes with the prefix"));
        }
        Ok(key)
    }

    async fn marked(&self, order: &RestoreOrder) -> Result<bool> {
        Ok(self.head(&self.marker(order)).await?.is_some())
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.subject.fault("read an object of", Tell::NoValues, &error)),
        }
    }

    async fn unmark(&self, order: &RestoreOrder) -> Result<()> {
        let delete = self.client.delete_object().bucket(&self.bucket).key(self.marker(order)).send();
        delete
            .await
            .map(|_| ())
            .map_err(|error| self.subject.fault("delete an object of", Tell::NoValues, &error))
    }

    /// What stands at a key, compared with an entry of this size and content.
    async fn present(&self, key: &str, meta: &EntryMeta, hash: &Hash) -> Result<Present> {
        let Some(head) = self.head(key).await? else { return Ok(Present::Absent) };
        let same = match &meta.kind {
            EntryKind::Directory => true,
            EntryKind::Symlink { .. } => {
                let target = |metadata: &std::collections::HashMap<String, String>| {
                    metadata.get("holdfast-target").cloned()
                };
                head.metadata().and_then(target) == target(&metadata(meta))
            }
            EntryKind::File if head.content_length() != i64::try_from(meta.size).ok() => false,
            EntryKind::File => self.hash_of(key).await? == Some(*hash),
        };
        Ok(if same { Present::Same } else { Present::Different })
    }

    /// The SHA-256 of an object's content, `None` if it is gone.
    async fn hash_of(&self, key: &str) -> Result<Option<Hash>> {
        let mut body = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => answer.body,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(self.subject.fault("read an object of", Tell::NoValues, &error)),
        };
        let mut hash = Sha256::new();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| {
                Error::new(
                    Code::TargetUnavailable,
                    format!("cannot read an object of {}: {error}", self.subject.what),
                )
            })?;
            hash.update(&bytes);
        }
        Ok(Some(hash.finalize().into()))
    }

    fn conflict(&self, key: &str) -> Result<Written> {
        if self.on_conflict == OnConflict::Fail {
            return Err(Error::new(
                Code::TargetConflict,
                format!("{} holds another object {key:?} than the backup", self.subject.what),
            )
            .object(key)
            .hint("restore below another prefix, or say --on-conflict skip or overwrite"));
        }
        Ok(Written { conflicts: 1, ..Written::default() })
    }

    async fn write_small(&self, key: &str, meta: &EntryMeta, body: Bytes) -> Result<Written> {
        let hash: Hash = Sha256::digest(&body).into();
        let written = Written { written: 1, conflicts: 0, bytes: body.len() as u64 };
        if meta.kind == EntryKind::Directory {
            // An object whose key ends with `/` is that directory, whatever made it.
            self.put(key, meta, body, &hash, self.on_conflict != OnConflict::Overwrite).await?;
            return Ok(written);
        }
        if self.on_conflict == OnConflict::Overwrite {
            let conflict = self.present(key, meta, &hash).await? == Present::Different;
            self.put(key, meta, body, &hash, false).await?;
            return Ok(Written { conflicts: u64::from(conflict), ..written });
        }
        for _ in 0..MOST_TRIES {
            if self.put(key, meta, body.clone(), &hash, true).await? {
                return Ok(written);
            }
            match self.present(key, meta, &hash).await? {
                Present::Same => return Ok(Written { bytes: 0, ..written }),
                Present::Different => return self.conflict(key),
                // It was there and is gone, or another write was just under way.
                Present::Absent => {}
            }
        }
        Err(self.contended(key))
    }

    fn contended(&self, key: &str) -> Error {
        let why = format!("object {key:?} of {} is being written by others", self.subject.what);
        Error::new(Code::TargetUnavailable, why).object(key).hint("try again when nothing else writes there")
    }

    /// Writes an object in one request; `false` if one is there, or is being written, and none may be.
    async fn put(
        &self,
        key: &str,
        meta: &EntryMeta,
        body: Bytes,
        hash: &Hash,
        if_absent: bool,
    ) -> Result<bool> {
        let put = described!(self.client.put_object(), meta)
            .bucket(&self.bucket)
            .key(key)
            .checksum_sha256(STANDARD.encode(hash))
            .set_if_none_match(if_absent.then(|| "*".to_owned()))
            .body(ByteStream::from(body));
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if if_absent && matches!(status(&error), Some(409 | 412)) => Ok(false),
            Err(error) => Err(self.subject.fault("write an object of", Tell::NoValues, &error)),
        }
    }

    async fn write_large(&self, key: &str, meta: &EntryMeta, content: &mut dyn Content) -> Result<Written> {
        let overwrite = self.on_conflict == OnConflict::Overwrite;
        let head = self.head(key).await?;
        let same_size =
            head.as_ref().is_some_and(|head| head.content_length() == i64::try_from(meta.size).ok());
        let there = if same_size { self.hash_of(key).await? } else { None };
        let written = Written { written: 1, conflicts: 0, bytes: meta.size };
        if head.is_some() && !overwrite {
            let same = there.is_some() && there == Some(hash_content(content).await?);
            return if same { Ok(Written { bytes: 0, ..written }) } else { self.conflict(key) };
        }
        let (hash, done) = self.upload(key, meta, content, !overwrite).await?;
        if done {
            let conflict = head.is_some() && there != Some(hash);
            return Ok(Written { conflicts: u64::from(conflict), ..written });
        }
        match self.present(key, meta, &hash).await? {
            Present::Same => Ok(Written { bytes: 0, ..written }),
            Present::Different => self.conflict(key),
            Present::Absent => Err(self.contended(key)),
        }
    }
}

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

async fn hash_content(content: &mut dyn Content) -> Result<Hash> {
    let mut hash = Sha256::new();
    while let Some(bytes) = content.next().await? {
        hash.update(&bytes);
    }
    Ok(hash.finalize().into())
}

/// A path that an operator can read, whatever bytes it is made of.
fn printable(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().collect()
}

#[async_trait]
impl Target for S3Target {
    async fn check(&self, order: &RestoreOrder) -> Result<()> {
        let what = &self.subject.what;
        if let Some(stream) = order.streams.iter().find(|stream| stream.shape != StreamKind::Tree) {
            let why = format!("{what} cannot hold stream {}, which holds records", stream.name);
            return Err(Error::new(Code::TargetInvalid, why)
                .object(what.clone())
                .hint("restore it to dynamodb:TABLE or jsonl:DIR, or choose another with --stream"));
        }
        let head = self.client.head_bucket().bucket(&self.bucket).send();
        head.await.map_err(|error| self.subject.fault("use", Tell::All, &error))?;
        if self.on_conflict != OnConflict::Fail || self.marked(order).await? {
            return Ok(());
        }
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(1).send();
        let page = list.await.map_err(|error| self.subject.fault("list", Tell::All, &error))?;
        if page.contents().is_empty() {
            return Ok(());
        }
        Err(Error::new(Code::TargetNotEmpty, format!("s3://{}/{} is not empty", self.bucket, self.prefix))
            .object(what.clone())
            .hint("restore below another prefix, or say --on-conflict skip or overwrite"))
    }

    async fn prepare(&self, order: &RestoreOrder) -> Result<()> {
        self.check(order).await?;
        if self.on_conflict == OnConflict::Fail {
            let put = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(self.marker(order))
                .body(ByteStream::default());
            put.send()
                .await
                .map_err(|error| self.subject.fault("write an object of", Tell::NoValues, &error))?;
        }
        Ok(())
    }

    async fn write_records(&self, stream: &StreamInfo, _: Position, _: &RecordBatch) -> Result<Written> {
        let why = format!("{} cannot hold stream {}, which holds records", self.subject.what, stream.name);
        Err(Error::new(Code::TargetInvalid, why).object(self.subject.what.clone()))
    }

    async fn write_entry(
        &self,
        _stream: &StreamInfo,
        meta: &EntryMeta,
        content: &mut dyn Content,
    ) -> Result<Written> {
        let key = self.key(meta)?;
        if meta.kind == EntryKind::File && meta.size > SINGLE {
            return self.write_large(&key, meta, content).await;
        }
        let mut body = BytesMut::new();
        while let Some(bytes) = content.next().await? {
            body.extend_from_slice(&bytes);
            if body.len() as u64 > meta.size {
                break;
            }
        }
        self.whole(&key, meta, body.len() as u64)?;
        self.write_small(&key, meta, body.freeze()).await
    }

    async fn finish(&self, order: &RestoreOrder) -> Result<Vec<Warning>> {
        if self.on_conflict == OnConflict::Fail {
            self.unmark(order).await?;
        }
        Ok(Vec::new())
    }

    async fn abandon(&self, order: &RestoreOrder) -> Result<()> {
        if self.on_conflict == OnConflict::Fail {
            self.unmark(order).await?;
        }
        Ok(())
    }
}

impl S3Target {
    /// An object is never completed with another size than its entry's.
    pub(super) fn whole(&self, key: &str, meta: &EntryMeta, bytes: u64) -> Result<()> {
        if bytes == meta.size {
            return Ok(());
        }
        let why = format!("the content of {key:?} has {bytes} bytes, and its entry says {}", meta.size);
        Err(Error::new(Code::Internal, why).object(self.subject.what.clone()))
    }
}
