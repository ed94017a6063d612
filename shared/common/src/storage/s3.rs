//! Storage in an S3 bucket.
//!
//! Objects are created with `If-None-Match: *` and the SHA-256 that the service checks them against. A large copy is
//! a multipart upload whose parts the service copies itself; each part's checksum, as the service computed it while
//! copying, is compared with what was exported.

mod copy;
mod failure;
mod kept;
mod lock;

use self::failure::{Failure, failure};
use super::{PAGE, check_layout, check_part, cut_short, staging_missing};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::{
    ByteRange, Inspected, Listing, ObjectInfo, PART_SIZE, PartSum, Put, Storage, check_key,
};
use sha2::{Digest, Sha256};

/// How often a write is begun again that collided with another one of the same key.
const TRIES: u32 = 6;

/// Objects of a bucket.
#[derive(Debug, Clone)]
pub struct S3Storage {
    client: Client,
    bucket: String,
}

impl S3Storage {
    /// The bucket of this name; nothing is asked of it yet.
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }

    async fn size_in(&self, bucket: &str, key: &str) -> Result<u64, Failure> {
        let head = self.client.head_object().bucket(bucket).key(key).send().await;
        head.map(|answer| length(answer.content_length)).map_err(|error| failure(&error))
    }

    /// Bytes of an object, as the `Range` header asks for them.
    async fn read_in(&self, bucket: &str, key: &str, range: Option<String>) -> Result<Bytes, Failure> {
        let answer = self.client.get_object().bucket(bucket).key(key).set_range(range).send().await;
        let answer = answer.map_err(|error| failure(&error))?;
        let announced = answer.content_length;
        let body =
            answer.body.collect().await.map_err(|_| Failure::Other("the answer broke off".to_owned()))?;
        let bytes = body.into_bytes();
        if announced.is_some_and(|announced| length(Some(announced)) != bytes.len() as u64) {
            return Err(Failure::Other("the answer broke off".to_owned()));
        }
        Ok(bytes)
    }

    fn error(&self, failure: Failure, key: &str, doing: &str) -> Error {
        failure.into_error(&self.bucket, key, doing)
    }
}

fn length(announced: Option<i64>) -> u64 {
    announced.and_then(|length| u64::try_from(length).ok()).unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> String {
    BASE64.encode(Sha256::digest(bytes))
}

#[async_trait]
impl Storage for S3Storage {
    fn name(&self) -> &str {
        &self.bucket
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        check_key(key)?;
        let size = self.size_in(&self.bucket, key).await;
        let size = size.map_err(|failure| self.error(failure, key, "looking at"))?;
        Ok(ObjectInfo { key: key.to_owned(), size })
    }

    async fn inspect(&self, key: &str, parts: &[String]) -> Result<Inspected> {
        check_key(key)?;
        let asked = self.client.head_object().bucket(&self.bucket).key(key);
        let answer = asked.checksum_mode(ChecksumMode::Enabled).send().await;
        let answer = answer.map_err(|error| self.error(failure(&error), key, "looking at"))?;
        let sum = kept::compare(answer.checksum_sha256(), parts);
        Ok(Inspected { size: length(answer.content_length), sum })
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        check_key(key)?;
        let asked = match range {
            ByteRange::All => None,
            ByteRange::Last(bytes) if bytes > 0 => Some(format!("bytes=-{bytes}")),
            ByteRange::Span { start, end } if start < end => Some(format!("bytes={start}-{}", end - 1)),
            // The protocol knows no empty range.
            ByteRange::Last(_) | ByteRange::Span { .. } => {
                let size = self.head(key).await?.size;
                return super::resolve(range, key, size).map(|_| Bytes::new());
            }
        };
        match self.read_in(&self.bucket, key, asked).await {
            Ok(bytes) => match range {
                // A range that reaches past the end is answered with what there is.
                ByteRange::Span { start, end } if bytes.len() as u64 != end - start => {
                    Err(cut_short(key, start + bytes.len() as u64, start, end))
                }
                _ => Ok(bytes),
            },
            // Nothing of the range is there: right for the end of an empty object, damage elsewhere.
            Err(Failure::Range) => {
                let size = self.head(key).await?.size;
                match range {
                    ByteRange::Last(_) if size == 0 => Ok(Bytes::new()),
                    ByteRange::Span { start, end } => Err(cut_short(key, size, start, end)),
                    _ => Err(self.error(Failure::Range, key, "reading")),
                }
            }
            Err(failure) => Err(self.error(failure, key, "reading")),
        }
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        check_key(key)?;
        let sum = sha256(&body);
        for attempt in 0.. {
            let put = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .if_none_match("*")
                .checksum_sha256(&sum)
                .body(ByteStream::from(body.clone()))
                .send()
                .await;
            match put.map_err(|error| failure(&error)) {
                Ok(_) => return Ok(Put::Created),
                Err(Failure::Taken) => return Ok(Put::Exists),
                Err(Failure::Collision) if attempt < TRIES => crate::wait::back_off(attempt).await,
                Err(failure) => return Err(self.error(failure, key, "writing")),
            }
        }
        Err(Error::new(Code::Internal, format!("writing {key} was given up")))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_start_after(after.filter(|after| !after.is_empty()).map(str::to_owned))
            .max_keys(i32::try_from(PAGE).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| self.error(failure(&error), prefix, "listing"))?;
        let info = |object: &aws_sdk_s3::types::Object| {
            Some(ObjectInfo { key: object.key.clone()?, size: length(object.size) })
        };
        Ok(Listing {
            objects: answer.contents().iter().filter_map(info).collect(),
            more: answer.is_truncated.unwrap_or_default(),
        })
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        check_key(key)?;
        check_key(to)?;
        let size = match self.size_in(from, key).await {
            Ok(size) => size,
            Err(Failure::Missing | Failure::NoBucket) => return Err(staging_missing(from, key)),
            Err(failure) => return Err(failure.into_error(from, key, "looking at")),
        };
        check_layout(key, size, parts)?;
        match self.size_in(&self.bucket, to).await {
            Ok(_) => return Ok(Put::Exists),
            Err(Failure::Missing) => {}
            Err(failure) => return Err(self.error(failure, to, "looking at")),
        }
        if size > PART_SIZE {
            return self.copy_in_parts(from, key, to, parts).await;
        }
        let body = match self.read_in(from, key, None).await {
            Ok(body) => body,
            Err(Failure::Missing) => return Err(staging_missing(from, key)),
            Err(failure) => return Err(failure.into_error(from, key, "reading")),
        };
        check_layout(key, body.len() as u64, parts)?;
        for (at, part) in parts.iter().enumerate() {
            // All parts but the last are full, so an object of this size has one, or an empty one.
            check_part(key, at, &body, part)?;
        }
        self.put_if_absent(to, body).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let deleted = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        match deleted.map_err(|error| failure(&error)) {
            Ok(_) | Err(Failure::Missing) => Ok(()),
            Err(failure) => Err(self.error(failure, key, "deleting")),
        }
    }

    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        check_key(key)?;
        Ok(self.lock_of(key).await?.map(|lock| lock.until))
    }

    async fn keep_until(&self, key: &str, until: i64) -> Result<()> {
        check_key(key)?;
        match self.lock_of(key).await? {
            Some(lock) if lock.until < until => self.extend(key, &lock, until).await,
            _ => Ok(()),
        }
    }
}
