//! Lists a prefix and cuts it into ranges.

use super::object::Head;
use super::read::{Bucket, TagsTold};
use crate::aws::{Side, Subject, Tell};
use crate::source::{Cursor, Flow, PathBounds, RangeSink, Sizing, Source, SourceRange, TreeSink};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::Object;
use futures::stream::{self, StreamExt};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{StreamInfo, StreamKind, Warning};
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicBool;

/// How many small objects are on their way at a time.
const AHEAD: usize = 8;

/// The objects of a bucket below a prefix as a source: one tree stream, `objects`.
#[derive(Debug)]
pub struct S3Source {
    bucket: Bucket,
}

/// Keys are the bucket's, with the prefix.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Range {
    /// All objects behind one key, up to another.
    Listing {
        after: Option<String>,
        #[serde(default)]
        until: Option<String>,
    },
    /// Bytes of one large object.
    Part(ObjectPart),
}

/// Bytes of one large object, and the object as it was when the ranges were cut: all its parts tell the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectPart {
    pub(super) key: String,
    /// Behind which key the ranges before the object end.
    after: Option<String>,
    pub(super) head: Head,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Behind which key a listing goes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    after: String,
}

impl S3Source {
    /// A source of the keys that begin with the prefix.
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        let name = bucket.into();
        let subject = Subject::new("bucket", &name, Side::Source);
        Self { bucket: Bucket { client, name, prefix: prefix.into(), subject, tags: TagsTold::default() } }
    }

    fn unusable(&self, what: &str) -> Error {
        Error::new(Code::Internal, format!("{what} of {} is unusable", self.bucket.subject.what))
    }

    async fn read_listing(
        &self,
        after: Option<String>,
        until: Option<&str>,
        out: &mut dyn TreeSink,
    ) -> Result<Option<Cursor>> {
        let within = |key: &str| until.is_none_or(|until| key <= until);
        let mut pages = self.bucket.pages(after);
        // Whether the sink knew the last entry: then the next ones are likely known too, and are not read ahead.
        let known = AtomicBool::new(out.knows_most());
        while let Some(page) = pages.next().await? {
            let all = page.len();
            let wanted: Vec<_> = page.into_iter().take_while(|object| within(&object.key)).collect();
            let last_page =
                wanted.len() < all || wanted.last().is_some_and(|last| Some(last.key.as_str()) == until);
            let waiting: Vec<_> =
                wanted.into_iter().map(|object| self.bucket.fetch(object, &known)).collect();
            let mut ahead = stream::iter(waiting).buffered(AHEAD);
            while let Some(fetched) = ahead.next().await {
                let (key, fetched) = fetched?;
                let flow = self.bucket.deliver(&key, fetched, &known, out).await?;
                if flow == Flow::Enough && Some(key.as_str()) != until {
                    let cursor = serde_json::to_value(After { after: key });
                    return Ok(Some(Cursor(cursor.map_err(|_| self.unusable("a cursor"))?)));
                }
            }
            if last_page {
                break;
            }
        }
        Ok(None)
    }

    /// The ranges of one large object; whether it is still there.
    async fn cut_object(
        &self,
        object: &Listed,
        after: Option<&String>,
        bytes: u64,
        out: &mut dyn RangeSink,
    ) -> Result<bool> {
        let Some(head) = self.bucket.head(&object.key).await? else { return Ok(false) };
        let head = self.bucket.tagged(&object.key, head).await?;
        let mut offset = 0;
        // One that became empty meanwhile is one part too.
        loop {
            let length = bytes.min(head.size - offset);
            let (key, after, head) = (object.key.clone(), after.cloned(), head.clone());
            let size = head.size;
            self.emit(&Range::Part(ObjectPart { key, after, head, offset, length }), out).await?;
            offset += length;
            if offset >= size {
                return Ok(true);
            }
        }
    }

    fn path(&self, key: &str) -> Vec<u8> {
        self.bucket.path(key).as_bytes().to_vec()
    }

    fn range(&self, range: &SourceRange) -> Result<Range> {
        Deserialize::deserialize(&range.0).map_err(|_| self.unusable("a range"))
    }

    fn cursor(&self, from: Option<&Cursor>) -> Result<Option<After>> {
        let read = |cursor: &Cursor| Deserialize::deserialize(&cursor.0);
        from.map(read).transpose().map_err(|_| self.unusable("a cursor"))
    }

    async fn emit(&self, range: &Range, out: &mut dyn RangeSink) -> Result<()> {
        let range = serde_json::to_value(range).map_err(|_| self.unusable("a range"))?;
        out.range(SourceRange(range)).await
    }
}

#[async_trait]
impl Source for S3Source {
    async fn streams(&self) -> Result<Vec<StreamInfo>> {
        let bucket = &self.bucket;
        let list = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(&bucket.prefix).max_keys(1);
        list.send().await.map_err(|error| bucket.subject.fault("list", Tell::All, &error))?;
        let name = "objects".to_owned();
        Ok(vec![StreamInfo { name, shape: StreamKind::Tree, schema: serde_json::Value::Null }])
    }

    async fn cut(&self, _stream: &StreamInfo, sizing: &Sizing, out: &mut dyn RangeSink) -> Result<()> {
        let most = sizing.bytes.max(1);
        let mut pages = self.bucket.pages(None);
        let mut after: Option<String> = None;
        let mut last: Option<String> = None;
        let (mut bytes, mut entries) = (0_u64, 0_u64);
        while let Some(page) = pages.next().await? {
            for object in page {
                let large = object.size > most;
                let full = entries > 0 && (large || bytes + object.size > most || entries >= sizing.entries);
                if full {
                    let until = last.take();
                    self.emit(&Range::Listing { after: after.take(), until: until.clone() }, out).await?;
                    after = until;
                    (bytes, entries) = (0, 0);
                }
                if large {
                    if self.cut_object(&object, after.as_ref(), most, out).await? {
                        after = Some(object.key);
                    }
                } else {
                    bytes += object.size;
                    entries += 1;
                    last = Some(object.key);
                }
            }
        }
        // Even where nothing stands there now: an earlier backup may know of something.
        self.emit(&Range::Listing { after, until: None }, out).await
    }

    fn bounds(
        &self,
        _stream: &StreamInfo,
        range: &SourceRange,
        from: Option<&Cursor>,
    ) -> Result<Option<PathBounds>> {
        let path = |key: Option<String>| key.map(|key| self.path(&key));
        let mut bounds = match self.range(range)? {
            Range::Listing { after, until } => PathBounds { after: path(after), until: path(until) },
            Range::Part(part) => {
                let own = Some(self.path(&part.key));
                let after = if part.offset == 0 { path(part.after) } else { own.clone() };
                PathBounds { after, until: own }
            }
        };
        if let Some(After { after }) = self.cursor(from)? {
            bounds.after = Some(self.path(&after));
        }
        Ok(Some(bounds))
    }

    async fn read_tree(
        &self,
        _stream: &StreamInfo,
        range: &SourceRange,
        from: Option<&Cursor>,
        out: &mut dyn TreeSink,
    ) -> Result<Option<Cursor>> {
        let from = self.cursor(from)?;
        match self.range(range)? {
            Range::Listing { after, until } => {
                self.read_listing(from.map(|from| from.after).or(after), until.as_deref(), out).await
            }
            Range::Part(part) => {
                self.bucket.read_part(part, out).await?;
                Ok(None)
            }
        }
    }
}

/// An object as a listing tells it.
#[derive(Debug)]
pub(super) struct Listed {
    pub key: String,
    pub size: u64,
}

/// The pages of a listing, in order of keys.
pub(super) struct Pages<'a> {
    bucket: &'a Bucket,
    after: Option<String>,
    more: bool,
}

impl Bucket {
    pub(super) fn pages(&self, after: Option<String>) -> Pages<'_> {
        Pages { bucket: self, after, more: true }
    }
}

impl Pages<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Listed>>> {
        if !self.more {
            return Ok(None);
        }
        let Bucket { client, name, prefix, subject, .. } = self.bucket;
        // Each page begins behind the last key rather than at a token: a token may expire while a page is read.
        let list = client.list_objects_v2().bucket(name).prefix(prefix).set_start_after(self.after.clone());
        let page = list.send().await.map_err(|error| subject.fault("list", Tell::All, &error))?;
        let objects: Vec<_> = page.contents.unwrap_or_default().into_iter().filter_map(listed).collect();
        for object in &objects {
            if self.after.as_ref().is_some_and(|after| object.key <= *after) {
                return Err(Error::new(
                    Code::SourceInvalid,
                    format!("{} is not listed in order", subject.what),
                )
                .object(subject.what.clone())
                .hint("directory buckets cannot be backed up"));
            }
            self.after = Some(object.key.clone());
        }
        self.more = page.is_truncated == Some(true) && !objects.is_empty();
        Ok(Some(objects))
    }
}

fn listed(object: Object) -> Option<Listed> {
    let size = u64::try_from(object.size.unwrap_or(0)).unwrap_or(0);
    Some(Listed { key: object.key?, size })
}

/// A key that is the prefix itself has no path of its own.
pub(super) fn skipped(key: &str) -> Warning {
    Warning::new(
        "PrefixObjectSkipped",
        format!("the object {key:?} has no name behind the prefix and is not backed up"),
    )
}
