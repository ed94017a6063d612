//! Reads objects into a sink.

use super::object::Head;
use super::source::{Listed, ObjectPart, skipped};
use crate::aws::{Subject, Tell, not_offered};
use crate::source::{Flow, TreeSink, Want};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{Part, Warning};
use std::sync::atomic::{AtomicBool, Ordering};

/// Objects up to this size are read ahead into memory.
const SMALL: u64 = 1 << 20;
/// How often an object that changes under the reader's hands is begun again.
const MOST_READS: u32 = 3;
/// How often in a row a broken transfer is taken up again.
const MOST_RESUMES: u32 = 3;

/// A prefix of a bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    pub client: Client,
    pub name: String,
    pub prefix: String,
    pub subject: Subject,
    pub tags: TagsTold,
}

/// Whether tags could not be read, and whether that was told.
#[derive(Debug, Default)]
pub(super) struct TagsTold {
    denied: AtomicBool,
    told: AtomicBool,
}

/// An object on its way.
pub(super) enum Fetched {
    /// All of it, in one answer.
    Whole {
        head: Head,
        body: Bytes,
    },
    /// All but its content.
    Headed(Head),
    /// Nothing yet: it is too large to wait in memory.
    Later,
    Vanished,
}

enum Got {
    Answer(Box<GetObjectOutput>),
    Vanished,
    Changed,
}

enum Poured {
    Whole,
    Changed,
}

impl Bucket {
    pub(super) fn path<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }

    fn object_fault(&self, key: &str, code: Code, why: &str) -> Error {
        Error::new(code, format!("object {key:?} of {} {why}", self.subject.what)).object(key)
    }

    /// One answer holds the attributes and the content of one version, so a read of a whole object needs no condition.
    async fn get(&self, key: &str, range: Option<(u64, u64)>, etag: Option<&str>) -> Result<Got> {
        let range = range.map(|(from, until)| format!("bytes={from}-{}", until.saturating_sub(1)));
        let get = self.client.get_object().bucket(&self.name).key(key).set_range(range);
        let error = match get.set_if_match(etag.map(str::to_owned)).send().await {
            Ok(answer) => return Ok(Got::Answer(Box::new(answer))),
            Err(error) => error,
        };
        let status = error.raw_response().map(|response| response.status().as_u16());
        match (error.code(), status) {
            (Some("NoSuchBucket"), _) => Err(self.subject.fault("read", Tell::All, &error)),
            (_, Some(404)) => Ok(Got::Vanished),
            (_, Some(412 | 416)) => Ok(Got::Changed),
            (Some("InvalidObjectState"), _) => Err(self
                .object_fault(key, Code::SourceInvalid, "is archived and cannot be read")
                .hint("restore it from the archive first, or keep archived objects below another prefix")),
            _ => Err(self.subject.fault("read an object of", Tell::NoValues, &error)),
        }
    }

    /// The object without its content, `None` if it is gone.
    pub(super) async fn head(&self, key: &str) -> Result<Option<Head>> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(answer) => Ok(Some(Head::of_head(&answer))),
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) => {
                Ok(None)
            }
            Err(error) => Err(self.subject.fault("read an object of", Tell::NoValues, &error)),
        }
    }

    pub(super) async fn tagged(&self, key: &str, mut head: Head) -> Result<Head> {
        if head.has_tags {
            match self.client.get_object_tagging().bucket(&self.name).key(key).send().await {
                Ok(answer) => head.add_tags(answer.tag_set.into_iter().map(|tag| (tag.key, tag.value))),
                Err(error) if not_offered(&error) => self.tags.denied.store(true, Ordering::Relaxed),
                Err(error)
                    if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) => {}
                Err(error) => {
                    return Err(self.subject.fault("read the tags of an object of", Tell::NoValues, &error));
                }
            }
        }
        Ok(head)
    }

    /// Reads as much of an object as can be held until its turn comes.
    pub(super) async fn fetch(&self, object: Listed, known: &AtomicBool) -> Result<(String, Fetched)> {
        let Listed { key, size, .. } = object;
        if self.path(&key).is_empty() {
            return Ok((key, Fetched::Later));
        }
        if known.load(Ordering::Relaxed) {
            let fetched = match self.head(&key).await? {
                Some(head) => Fetched::Headed(self.tagged(&key, head).await?),
                None => Fetched::Vanished,
            };
            return Ok((key, fetched));
        }
        if size > SMALL {
            return Ok((key, Fetched::Later));
        }
        let fetched = match self.get(&key, None, None).await? {
            Got::Answer(answer) => {
                let head = Head::of_get(&answer);
                let whole = if head.size > SMALL { None } else { answer.body.collect().await.ok() };
                match whole.map(aws_sdk_s3::primitives::AggregatedBytes::into_bytes) {
                    Some(body) if body.len() as u64 == head.size => {
                        Fetched::Whole { head: self.tagged(&key, head).await?, body }
                    }
                    _ => Fetched::Later,
                }
            }
            Got::Vanished => Fetched::Vanished,
            Got::Changed => Fetched::Later,
        };
        Ok((key, fetched))
    }

    /// Hands an object to the sink.
    pub(super) async fn deliver(
        &self,
        key: &str,
        fetched: Fetched,
        known: &AtomicBool,
        out: &mut dyn TreeSink,
    ) -> Result<Flow> {
        if self.path(key).is_empty() {
            out.warn(skipped(key));
            return Ok(Flow::More);
        }
        let flow = match fetched {
            Fetched::Vanished => {
                vanished(key, out);
                Flow::More
            }
            Fetched::Later => self.read_whole(key, known, out).await?,
            Fetched::Headed(head) => match self.begin(key, head, known, out).await? {
                Want::Nothing => out.finish().await?,
                Want::Content => {
                    out.abandon();
                    self.read_whole(key, known, out).await?
                }
            },
            Fetched::Whole { head, body } => {
                if self.begin(key, head, known, out).await? == Want::Content {
                    out.write(&body).await?;
                }
                out.finish().await?
            }
        };
        self.warn_of_tags(out);
        Ok(flow)
    }

    async fn begin(&self, key: &str, head: Head, known: &AtomicBool, out: &mut dyn TreeSink) -> Result<Want> {
        let part = Part { offset: 0, length: head.size };
        let want = out.begin(head.into_entry(self.path(key)), part).await?;
        known.store(want == Want::Nothing || out.knows_most(), Ordering::Relaxed);
        Ok(want)
    }

    /// Tells once that tags are missing.
    fn warn_of_tags(&self, out: &mut dyn TreeSink) {
        if self.tags.denied.load(Ordering::Relaxed) && !self.tags.told.swap(true, Ordering::Relaxed) {
            out.warn(Warning::new(
                "TagsUnread",
                format!(
                    "the tags of objects of {} could not be read and are not backed up",
                    self.subject.what
                ),
            ));
        }
    }

    async fn read_whole(&self, key: &str, known: &AtomicBool, out: &mut dyn TreeSink) -> Result<Flow> {
        for _ in 0..MOST_READS {
            let answer = match self.get(key, None, None).await? {
                Got::Answer(answer) => answer,
                Got::Changed => continue,
                Got::Vanished => {
                    vanished(key, out);
                    return Ok(Flow::More);
                }
            };
            let head = self.tagged(key, Head::of_get(&answer)).await?;
            let (etag, end) = (head.etag.clone(), head.size);
            if self.begin(key, head, known, out).await? == Want::Nothing {
                return out.finish().await;
            }
            match self.pour(key, answer.body, etag.as_deref(), (0, end), out).await? {
                Poured::Whole => return out.finish().await,
                Poured::Changed => out.abandon(),
            }
        }
        Err(self
            .object_fault(key, Code::SourceChanged, "changed while it was read")
            .hint("back it up when it is quiet"))
    }

    /// Reads some bytes of a large object, if they are wanted; they must be of the version that was cut.
    pub(super) async fn read_part(&self, object: ObjectPart, out: &mut dyn TreeSink) -> Result<()> {
        let ObjectPart { key, head, offset, length, .. } = object;
        if head.lacks_tags() {
            self.tags.denied.store(true, Ordering::Relaxed);
        }
        self.warn_of_tags(out);
        let (etag, size) = (head.etag.clone(), head.size);
        let want = out.begin(head.into_entry(self.path(&key)), Part { offset, length }).await?;
        if want == Want::Content
            && !self.pour_part(&key, etag.as_deref(), size, (offset, offset + length), out).await?
        {
            out.abandon();
            return Err(self
                .object_fault(&key, Code::SourceChanged, "changed since it was listed")
                .hint("back it up again"));
        }
        out.finish().await.map(|_| ())
    }

    /// Whether the bytes of a span were there, all of the same version.
    async fn pour_part(
        &self,
        key: &str,
        etag: Option<&str>,
        size: u64,
        span: (u64, u64),
        out: &mut dyn TreeSink,
    ) -> Result<bool> {
        let Got::Answer(answer) = self.get(key, Some(span), etag).await? else { return Ok(false) };
        let now = Head::of_get(&answer);
        if now.size != size || (etag.is_some() && now.etag.as_deref() != etag) {
            return Ok(false);
        }
        Ok(matches!(self.pour(key, answer.body, etag, span, out).await?, Poured::Whole))
    }

    /// Writes the bytes of a span into the sink; a transfer that breaks is taken up again where it broke.
    async fn pour(
        &self,
        key: &str,
        mut body: ByteStream,
        etag: Option<&str>,
        (mut at, end): (u64, u64),
        out: &mut dyn TreeSink,
    ) -> Result<Poured> {
        let mut resumes = 0;
        loop {
            let broken = match body.next().await {
                Some(Ok(bytes)) => {
                    at += bytes.len() as u64;
                    out.write(&bytes).await?;
                    resumes = 0;
                    continue;
                }
                Some(Err(error)) => error.to_string(),
                None if at == end => return Ok(Poured::Whole),
                None => "it ended early".to_owned(),
            };
            // All bytes came, and then their checksum was wrong; or nothing says which version to go on with.
            if at >= end || etag.is_none() {
                return Ok(Poured::Changed);
            }
            if resumes == MOST_RESUMES {
                let why = format!("could not be read: {broken}");
                return Err(self.object_fault(key, Code::SourceUnavailable, &why));
            }
            resumes += 1;
            body = match self.get(key, Some((at, end)), etag).await? {
                Got::Answer(answer) => answer.body,
                Got::Vanished | Got::Changed => return Ok(Poured::Changed),
            };
        }
    }
}

fn vanished(key: &str, out: &mut dyn TreeSink) {
    out.warn(Warning::new("ObjectVanished", format!("the object {key:?} was deleted before it was read")));
}
