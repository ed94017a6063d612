//! What a drill is asked for, and what its job keeps.

use holdfast_connectors::{Cursor, Ground, SourceRange, ThrowAway};
use holdfast_vault::crypto::DigestSum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The backup that is meant where none is named: one by chance.
pub const RANDOM: &str = "random";
/// The newest completed backup.
pub const LATEST: &str = "latest";

/// What to drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// The resource.
    pub resource: String,
    /// A backup's id, `latest`, or `random`.
    #[serde(default = "random")]
    pub backup: String,
    /// Only these streams of it; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
}

fn random() -> String {
    RANDOM.to_owned()
}

impl DrillRequest {
    /// A drill of the whole of any backup of a resource.
    #[must_use]
    pub fn random(resource: impl Into<String>) -> Self {
        Self { resource: resource.into(), backup: random(), streams: Vec::new() }
    }
}

/// What a drill's job keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillDetail {
    /// What was asked for.
    pub request: DrillRequest,
    /// The directory that has room for its target; none on a stack.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// What was chosen; set by the plan, before anything is made.
    #[serde(default)]
    pub chosen: Option<Chosen>,
    /// The streams that were compared to their ends, in the order of the manifest.
    #[serde(default)]
    pub compared: Vec<Compared>,
    /// How far the next one is. It may tell a key or a path, and goes with the end of the drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How many calls of compare were counted.
    #[serde(default)]
    pub step: u64,
    /// How long the restore took, from its request to its completion.
    #[serde(default)]
    pub rto_ms: Option<u64>,
    /// When the target went.
    #[serde(default)]
    pub removed_at: Option<Timestamp>,
}

/// What a drill restores, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The backup's id.
    pub backup: String,
    /// The id of the restore's job.
    pub restore: String,
    /// The throw-away target.
    pub place: ThrowAway,
}

impl DrillDetail {
    pub(super) fn new(request: DrillRequest, directory: Option<PathBuf>) -> Self {
        Self {
            request,
            directory,
            chosen: None,
            compared: Vec::new(),
            progress: None,
            step: 0,
            rto_ms: None,
            removed_at: None,
        }
    }

    /// Where the drill's target has its place, if it is no table.
    pub(super) fn ground(&self, staging: &str) -> Ground {
        match &self.directory {
            Some(directory) => Ground::Directory(directory.clone()),
            None => Ground::Bucket(staging.to_owned()),
        }
    }

    /// Whether all that was compared is what was backed up.
    #[must_use]
    pub fn equal(&self) -> bool {
        self.compared.iter().all(|stream| stream.equal)
    }
}

/// What the comparison of one stream found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The stream's name.
    pub stream: String,
    /// Whether counts, bytes and digest are those of the manifest.
    pub equal: bool,
    /// The digest that the manifest has for the stream.
    pub digest: String,
    /// What the target holds.
    pub found: Tally,
    /// Why the target could not be read as what it should be, by the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// How far the comparison of a stream is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The parts of the target that are read, one after the other.
    pub ranges: Vec<SourceRange>,
    /// Which of them is being read.
    pub range: usize,
    /// Where reading it goes on.
    #[serde(default)]
    pub cursor: Option<Cursor>,
    /// What was found so far.
    pub found: Tally,
}

/// What a target holds of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Files, directories and links that the manifest has, or has not and nothing accounts for.
    pub files: u64,
    /// Bytes of content, or of values.
    pub bytes: u64,
    /// The sum of the digests, as the manifest sums them up.
    #[serde(with = "digest")]
    pub digest: DigestSum,
    /// Entries of a tree that the manifest has and the target has not.
    #[serde(default)]
    pub missing: u64,
    /// Entries of a tree that the target has and the manifest has not.
    #[serde(default)]
    pub unexpected: u64,
    /// Entries of a tree that both have, and not the same.
    #[serde(default)]
    pub changed: u64,
}

/// A sum of digests in hex, as a manifest has it.
mod digest {
    use holdfast_vault::crypto::DigestSum;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(sum: &DigestSum, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(sum.to_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DigestSum, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(DigestSum::from_bytes(&bytes))
    }
}

/// A drill as commands and answers tell it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrillReport {
    /// The backup that was restored; none before one was chosen.
    pub backup: Option<String>,
    /// The restore's job.
    pub restore: Option<String>,
    /// Where it was restored to.
    pub target: Option<String>,
    /// How long the restore took, in milliseconds.
    pub rto_ms: Option<u64>,
    /// Whether all that was compared is what was backed up; none before all was.
    pub equal: Option<bool>,
    /// What was compared, stream by stream.
    pub compared: Vec<Compared>,
    /// When the target was removed.
    pub removed_at: Option<String>,
}

impl DrillReport {
    /// What a drill's job keeps, as it is told. `completed` says whether the drill came to its end.
    #[must_use]
    pub fn of(detail: DrillDetail, completed: bool) -> Self {
        let equal = completed.then(|| detail.equal());
        let (backup, restore, target) = match detail.chosen {
            Some(chosen) => {
                (Some(chosen.backup), Some(chosen.restore), Some(chosen.place.target.to_string()))
            }
            None => (None, None, None),
        };
        Self {
            backup,
            restore,
            target,
            rto_ms: detail.rto_ms,
            equal,
            compared: detail.compared,
            removed_at: detail.removed_at.map(|at| format!("{at:.3}")),
        }
    }
}
