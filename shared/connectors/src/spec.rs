//! How an operator names sources and targets.

use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Where a resource is, as `source:` of a resource's YAML says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum SourceSpec {
    /// A directory: one tree stream, `files`.
    Files {
        /// The directory.
        path: PathBuf,
    },
    /// A directory of JSON Lines files (`*.jsonl`, `*.ndjson`): one record stream a file.
    Jsonl {
        /// The directory.
        path: PathBuf,
        /// JSON pointers to the parts of a record's key.
        key: Vec<String>,
    },
    /// A JSON document, an object of named collections: one record stream a collection. Given here or in a file.
    Json {
        /// The document itself. Numbers are kept as far as a double holds them; in a file they are kept as written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        document: Option<serde_json::Value>,
        /// The file that holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<PathBuf>,
    },
    /// A DynamoDB table: one record stream of the table's name.
    Dynamodb {
        /// The table.
        table: String,
        /// Another endpoint than AWS's own; `embedded` is the DynamoDB inside the home.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// The region, where the environment's is not meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
    /// The objects of a bucket below a prefix: one tree stream, `objects`.
    S3 {
        /// The bucket.
        bucket: String,
        /// Only keys that begin so; they are stored without it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
        /// Another endpoint than AWS's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// The region, where the environment's is not meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
}

/// How hard a source may be worked, from its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Read capacity units a second over all workers (`dynamodb`). Unlimited where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_units_per_second: Option<u32>,
    /// Write capacity units a second over all workers of a restore (`dynamodb`). Unlimited where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_units_per_second: Option<u32>,
    /// Workers on one job at a time. The machine's cores where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
}

/// Where a restore goes: `files:DIR`, `jsonl:DIR`, `json:FILE`, `dynamodb:TABLE` or `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum TargetSpec {
    /// A directory that gets the files of tree streams.
    Files {
        /// The directory; new or empty unless a policy for conflicts is given.
        path: PathBuf,
    },
    /// A directory that gets one JSON Lines file a record stream.
    Jsonl {
        /// The directory; new or empty unless a policy for conflicts is given.
        path: PathBuf,
    },
    /// A file that gets one JSON document with a collection for each record stream.
    Json {
        /// The file; new unless what is there may be overwritten.
        path: PathBuf,
    },
    /// A table that gets the items of one record stream.
    Dynamodb {
        /// The table; made anew where it does not exist.
        table: String,
        /// As in [`SourceSpec::Dynamodb`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// As in [`SourceSpec::Dynamodb`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
    /// A bucket that gets the files of tree streams as objects.
    S3 {
        /// The bucket.
        bucket: String,
        /// Put in front of every key.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
        /// As in [`SourceSpec::S3`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// As in [`SourceSpec::S3`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
}

impl TargetSpec {
    /// Reads the form that the command line takes.
    ///
    /// # Errors
    /// `InvalidInput` with the five forms in its hint.
    pub fn parse(text: &str, endpoint: Option<String>, region: Option<String>) -> Result<Self> {
        let bad = || {
            Error::new(Code::InvalidInput, format!("--to {text:?} names no target"))
                .object("--to")
                .hint("use files:DIR, jsonl:DIR, json:FILE, dynamodb:TABLE or s3://BUCKET/PREFIX")
        };
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(bad());
            }
            // What is meant is a folder: `s3://b/site` must not write `siteindex.html`.
            let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
            return Ok(Self::S3 {
                bucket: bucket.to_owned(),
                prefix: format!("{prefix}{slash}"),
                endpoint,
                region,
            });
        }
        match text.split_once(':') {
            Some((_, "")) => Err(bad()),
            Some(("files", path)) => Ok(Self::Files { path: path.into() }),
            Some(("jsonl", path)) => Ok(Self::Jsonl { path: path.into() }),
            Some(("json", path)) => Ok(Self::Json { path: path.into() }),
            Some(("dynamodb", table)) => Ok(Self::Dynamodb { table: table.to_owned(), endpoint, region }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for TargetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { path } => write!(f, "files:{}", path.display()),
            Self::Jsonl { path } => write!(f, "jsonl:{}", path.display()),
            Self::Json { path } => write!(f, "json:{}", path.display()),
            Self::Dynamodb { table, .. } => write!(f, "dynamodb:{table}"),
            Self::S3 { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}
