//! Throw-away targets: where a drill restores to, how that is read back, and its removal.
//!
//! Every one is named after the drill: a table `holdfast-drill-ID`, a directory `ID` of the ground, or a prefix
//! `drills/ID/`. Nothing that is named otherwise is ever removed, whatever a job says.

use crate::clients::Clients;
use crate::local_fs::{shown, target_error};
use crate::spec::{SourceSpec, TargetSpec};
use crate::staged_dir::remove_tree;
use crate::{dynamodb, s3};
use holdfast_vault::error::{Code, Error, Result};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the names of throw-away tables begin with.
pub const TABLE_PREFIX: &str = "holdfast-drill-";
/// The folder of a bucket that holds throw-away prefixes.
pub const BUCKET_FOLDER: &str = "drills/";
/// The document that a drill of a resource of kind `json` writes into its directory.
const DOCUMENT: &str = "document.json";

/// Where there is room for throw-away targets that are no tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ground {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket, where no directory outlives a call.
    Bucket(String),
}

/// A throw-away target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrowAway {
    /// Where the restore writes.
    pub target: TargetSpec,
    /// The same place as a source.
    pub back: SourceSpec,
    /// Whether entries of a tree come back with mode and time, and not with path, size and content alone.
    pub with_times: bool,
}

impl ThrowAway {
    /// The target for a drill of what was read from this source.
    ///
    /// # Errors
    /// `InvalidInput` naming the kind of source where the ground has no room for it.
    pub fn of(source: &SourceSpec, ground: &Ground, drill: &str) -> Result<Self> {
        plain(drill)?;
        let (target, back) = match (source, ground) {
            (SourceSpec::Dynamodb { endpoint, region, .. }, _) => {
                let (table, endpoint, region) =
                    (format!("{TABLE_PREFIX}{drill}"), endpoint.clone(), region.clone());
                let back = SourceSpec::Dynamodb {
                    table: table.clone(),
                    endpoint: endpoint.clone(),
                    region: region.clone(),
                };
                (TargetSpec::Dynamodb { table, endpoint, region }, back)
            }
            (SourceSpec::S3 { .. }, Ground::Bucket(bucket)) => {
                let (bucket, prefix) = (bucket.clone(), format!("{BUCKET_FOLDER}{drill}/"));
                let back = SourceSpec::S3 {
                    bucket: bucket.clone(),
                    prefix: prefix.clone(),
                    endpoint: None,
                    region: None,
                };
                (TargetSpec::S3 { bucket, prefix, endpoint: None, region: None }, back)
            }
            (SourceSpec::Files { .. } | SourceSpec::S3 { .. }, Ground::Directory(ground)) => {
                let path = ground.join(drill);
                (TargetSpec::Files { path: path.clone() }, SourceSpec::Files { path })
            }
            (SourceSpec::Jsonl { key, .. }, Ground::Directory(ground)) => {
                let path = ground.join(drill);
                (TargetSpec::Jsonl { path: path.clone() }, SourceSpec::Jsonl { path, key: key.clone() })
            }
            (SourceSpec::Json { .. }, Ground::Directory(ground)) => {
                let path = ground.join(drill).join(DOCUMENT);
                let back = SourceSpec::Json { document: None, path: Some(path.clone()) };
                (TargetSpec::Json { path }, back)
            }
            (SourceSpec::Files { .. }, Ground::Bucket(_)) => return Err(no_room("files")),
            (SourceSpec::Jsonl { .. }, Ground::Bucket(_)) => return Err(no_room("jsonl")),
            (SourceSpec::Json { .. }, Ground::Bucket(_)) => return Err(no_room("json")),
        };
        // A directory that was restored into one has all that it had; objects have none of it, or times of their own.
        Ok(Self { target, back, with_times: matches!(source, SourceSpec::Files { .. }) })
    }

    /// Makes what must be there before the restore looks at its target. May be repeated.
    ///
    /// # Errors
    /// `Target*` naming the directory.
    pub fn make_room(&self) -> Result<()> {
        let parent = match &self.target {
            TargetSpec::Files { path } | TargetSpec::Jsonl { path } | TargetSpec::Json { path } => {
                path.parent()
            }
            TargetSpec::Dynamodb { .. } | TargetSpec::S3 { .. } => None,
        };
        let Some(parent) = parent else { return Ok(()) };
        fs::create_dir_all(parent)
            .map_err(|cause| target_error("make", &self.target.to_string(), &shown(parent), cause))
    }
}

/// Removes the throw-away target of a drill, and all that is in it. Succeeds where there is none.
///
/// # Errors
/// `Internal` if the target is not named after this drill, `Target*`.
pub async fn remove(target: &TargetSpec, drill: &str, clients: &dyn Clients) -> Result<()> {
    plain(drill)?;
    match target {
        TargetSpec::Dynamodb { table, endpoint, region } if *table == format!("{TABLE_PREFIX}{drill}") => {
            let client = clients.dynamodb(endpoint.as_deref(), region.as_deref()).await?;
            dynamodb::remove_table(client, table).await
        }
        TargetSpec::S3 { bucket, prefix, endpoint, region }
            if *prefix == format!("{BUCKET_FOLDER}{drill}/") =>
        {
            let client = clients.s3(endpoint.as_deref(), region.as_deref()).await?;
            s3::remove_prefix(&client, bucket, prefix).await
        }
        TargetSpec::Files { path } | TargetSpec::Jsonl { path } if named(path, drill) => {
            remove_directory(target, path)
        }
        TargetSpec::Json { path } if path.parent().is_some_and(|folder| named(folder, drill)) => {
            remove_directory(target, path.parent().unwrap_or(path))
        }
        _ => Err(Error::new(Code::Internal, format!("{target} is no throw-away target of drill {drill}"))
            .object(target.to_string())),
    }
}

fn named(path: &Path, drill: &str) -> bool {
    path.is_absolute() && path.file_name().is_some_and(|name| name == drill)
}

fn remove_directory(target: &TargetSpec, path: &Path) -> Result<()> {
    // A link is not followed: what it leads to is nobody's throw-away.
    let linked = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let removed = if linked { Err(io::Error::from(Errno::NOTDIR)) } else { remove_tree(path) };
    removed.map_err(|cause| target_error("remove", &target.to_string(), &shown(path), cause))
}

/// The id becomes a name, so it must not lead elsewhere.
fn plain(drill: &str) -> Result<()> {
    let fits = drill.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits && (1..=64).contains(&drill.len()) {
        return Ok(());
    }
    Err(Error::new(Code::Internal, "the drill's id is not fit for a name"))
}

fn no_room(kind: &str) -> Error {
    Error::new(
        Code::InvalidInput,
        format!("a resource of kind {kind} has no throw-away target on a stack, which has no directories"),
    )
    .object("resource")
    .hint("drill it in a home, from a copy of the vault, and set drill: off in its policy on the stack")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::clients::EnvironmentClients;

    const ID: &str = "01K8Z6T3W4Q5R6S7T8V9W0X1Y2";

    #[tokio::test]
    async fn only_what_is_named_after_the_drill_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let (own, other) = (base.path().join(ID), base.path().join("precious"));
        for directory in [&own, &other] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("file"), b"x").unwrap();
        }
        let dynamodb =
            |table: &str| TargetSpec::Dynamodb { table: table.to_owned(), endpoint: None, region: None };
        let s3 = |prefix: &str| TargetSpec::S3 {
            bucket: "b".to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            region: None,
        };
        for target in [
            TargetSpec::Files { path: other.clone() },
            TargetSpec::Jsonl { path: PathBuf::from(ID) },
            TargetSpec::Json { path: other.join(DOCUMENT) },
            dynamodb("orders"),
            dynamodb("holdfast-drill-"),
            s3(""),
            s3("drills/"),
        ] {
            let error = remove(&target, ID, &EnvironmentClients).await.unwrap_err();
            assert_eq!(error.code, Code::Internal, "{target}");
        }
        assert!(
            remove(&TargetSpec::Files { path: other.clone() }, "../x", &EnvironmentClients).await.is_err()
        );
        for _ in 0..2 {
            remove(&TargetSpec::Files { path: own.clone() }, ID, &EnvironmentClients).await.unwrap();
        }
        assert!(!own.exists() && other.join("file").exists());
    }

    #[test]
    fn a_stack_has_no_room_for_what_needs_a_directory() {
        let ground = Ground::Bucket("staging".to_owned());
        let path = PathBuf::from("/data");
        for (kind, source) in [
            ("files", SourceSpec::Files { path: path.clone() }),
            ("jsonl", SourceSpec::Jsonl { path: path.clone(), key: vec!["/id".to_owned()] }),
            ("json", SourceSpec::Json { document: None, path: Some(path) }),
        ] {
            let error = ThrowAway::of(&source, &ground, ID).unwrap_err();
            assert_eq!(error.code, Code::InvalidInput);
            assert!(error.message.contains(&format!("kind {kind} ")), "{}", error.message);
        }
        let source =
            SourceSpec::S3 { bucket: "shop".to_owned(), prefix: String::new(), endpoint: None, region: None };
        let made = ThrowAway::of(&source, &ground, ID).unwrap();
        assert_eq!(made.target.to_string(), format!("s3://staging/drills/{ID}/"));
    }
}
