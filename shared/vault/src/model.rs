//! What a stream holds, as connectors, manifests and restores see it. Stored inside manifests and tree segments.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The two shapes of stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StreamKind {
    /// Files: path, size, mode, mtime, content.
    Tree,
    /// Keyed records.
    Records {
        /// How the bytes of a record are to be read.
        encoding: RecordEncoding,
        /// Where the key stands in a record: JSON pointers for `json`, attribute names for `dynamodb-json`.
        key: Vec<String>,
    },
}

/// How the bytes of a record are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordEncoding {
    /// One JSON text, kept byte for byte, without a line feed.
    Json,
    /// One item in DynamoDB's JSON (`{"id":{"S":"1"}}`), attributes and set members in byte order.
    DynamodbJson,
}

/// A named part of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// The stream's name, unique in its resource: a table, a file of records without its ending, `files`.
    pub name: String,
    /// Its shape.
    #[serde(flatten)]
    pub shape: StreamKind,
    /// What a target needs to make the stream's container anew: a table's definition. `null` where nothing is needed.
    #[serde(default)]
    pub schema: serde_json::Value,
}

impl StreamInfo {
    /// Whether the keys of the stream's records cannot be read from their values, so that they stand beside them.
    #[must_use]
    pub fn keys_are_stored(&self) -> bool {
        matches!(&self.shape, StreamKind::Records { key, .. } if key.is_empty())
    }
}

/// What a tree entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, or an object of a bucket.
    File,
    /// A directory; its path ends with `/`.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it points to, as it was read: any bytes.
        target: Vec<u8>,
    },
}

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtime {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// All of a tree entry but its content.
///
/// Entries of a tree are ordered by the bytes of `path`; since a directory's path ends with `/`, that is also the
/// order of a walk that visits a directory before what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryMeta {
    /// Relative path, `/`-separated, any bytes but NUL. A directory's ends with `/`.
    pub path: Vec<u8>,
    /// File, directory or link.
    pub kind: EntryKind,
    /// Size of the whole content in bytes; 0 for directories and links.
    pub size: u64,
    /// Permission bits (07777), where the source has them.
    pub mode: Option<u32>,
    /// When the content last changed, where the source knows.
    pub mtime: Option<Mtime>,
    /// What else the source keeps beside the content: content type, user metadata, tags. See the connector.
    pub attributes: BTreeMap<String, String>,
}

/// Which bytes of a file an entry holds. A large file is several entries of one path, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the file.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// Something the operator should see although the job goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable name, `PascalCase`.
    pub code: String,
    /// One sentence with figures.
    pub message: String,
}

impl Warning {
    /// A warning of a stable name.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}
