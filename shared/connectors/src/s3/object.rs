//! What stands beside an object's content, from the service to an entry and back.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::StorageClass;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

const META: &str = "meta:";
const TAG: &str = "tag:";

/// An object without its content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// Bytes of the whole object.
    pub size: u64,
    pub etag: Option<String>,
    pub has_tags: bool,
    /// Seconds and nanoseconds.
    mtime: Option<(i64, u32)>,
    attributes: BTreeMap<String, String>,
}

macro_rules! head {
    ($output:expr, $size:expr) => {{
        let output = $output;
        let mut attributes = BTreeMap::new();
        for (name, value) in [
            ("etag", output.e_tag()),
            ("content-type", output.content_type()),
            ("cache-control", output.cache_control()),
            ("content-encoding", output.content_encoding()),
            ("content-disposition", output.content_disposition()),
            ("content-language", output.content_language()),
            ("expires", output.expires_string()),
            ("storage-class", output.storage_class().map(StorageClass::as_str)),
            ("website-redirect", output.website_redirect_location()),
        ] {
            if let Some(value) = value {
                attributes.insert(name.to_owned(), value.to_owned());
            }
        }
        for (name, value) in output.metadata().into_iter().flatten() {
            attributes.insert(format!("{META}{name}"), value.clone());
        }
        Head {
            size: $size,
            etag: output.e_tag().map(str::to_owned),
            has_tags: output.tag_count().is_some_and(|count| count > 0),
            mtime: output.last_modified().map(|time| (time.secs(), time.subsec_nanos())),
            attributes,
        }
    }};
}

impl Head {
    pub(super) fn of_head(output: &HeadObjectOutput) -> Self {
        head!(output, length(output.content_length()))
    }

    /// The answer may hold a range; its `Content-Range` tells the whole size.
    pub(super) fn of_get(output: &GetObjectOutput) -> Self {
        let whole = output.content_range().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        head!(output, whole.unwrap_or_else(|| length(output.content_length())))
    }

    pub(super) fn add_tags(&mut self, tags: impl IntoIterator<Item = (String, String)>) {
        self.attributes.extend(tags.into_iter().map(|(name, value)| (format!("{TAG}{name}"), value)));
    }

    /// Whether it has tags that could not be read.
    pub(super) fn lacks_tags(&self) -> bool {
        self.has_tags && !self.attributes.keys().any(|name| name.starts_with(TAG))
    }

    pub(super) fn into_entry(self, path: &str) -> EntryMeta {
        let mut entry = EntryMeta {
            path: path.as_bytes().to_vec(),
            kind: EntryKind::File,
            size: self.size,
            mode: None,
            mtime: self.mtime.map(|(seconds, nanos)| Mtime { seconds, nanos }),
            attributes: self.attributes,
        };
        recall(&mut entry);
        entry
    }
}

/// Makes of an object the file system's entry that it was written for, as [`metadata`] tells it. What is not as it is
/// written there stays plain user metadata.
fn recall(entry: &mut EntryMeta) {
    let told = |name: &str| entry.attributes.get(&format!("{META}{name}")).map(String::as_str);
    let mode = told("holdfast-mode").and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let mtime = told("holdfast-mtime").and_then(|time| {
        let (seconds, nanos) = time.split_once('.').filter(|(_, nanos)| nanos.len() == 9)?;
        Some(Mtime { seconds: seconds.parse().ok()?, nanos: nanos.parse().ok()? })
    });
    let kind = match (told("holdfast-kind"), entry.size) {
        (Some("directory"), 0) if entry.path.ends_with(b"/") => EntryKind::Directory,
        (Some("symlink"), 0) if !entry.path.ends_with(b"/") => {
            match told("holdfast-target").and_then(|target| STANDARD.decode(target).ok()) {
                Some(target) if !target.is_empty() && !target.contains(&0) => EntryKind::Symlink { target },
                _ => EntryKind::File,
            }
        }
        _ => EntryKind::File,
    };
    let mut forget = |name: &str| entry.attributes.remove(&format!("{META}{name}"));
    if kind != EntryKind::File {
        forget("holdfast-kind");
        forget("holdfast-target");
    }
    // Who may write into a bucket must not decide under whose rights a restored program runs.
    if let Some(mode) = mode.filter(|mode| *mode <= 0o7777) {
        forget("holdfast-mode");
        entry.mode = Some(mode & 0o777);
        if mtime.is_some() {
            forget("holdfast-mtime");
            entry.mtime = mtime;
        }
    }
    entry.kind = kind;
}

fn length(length: Option<i64>) -> u64 {
    u64::try_from(length.unwrap_or(0)).unwrap_or(0)
}

/// The user metadata that an entry gets as an object.
pub(super) fn metadata(meta: &EntryMeta) -> HashMap<String, String> {
    let kept = meta.attributes.iter().filter_map(|(name, value)| Some((name.strip_prefix(META)?, value)));
    let mut metadata: HashMap<String, String> =
        kept.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    // An object's own time is the time of its writing, so only a file system's is worth keeping.
    if let Some(mode) = meta.mode {
        metadata.insert("holdfast-mode".to_owned(), format!("{mode:o}"));
        if let Some(mtime) = meta.mtime {
            metadata.insert("holdfast-mtime".to_owned(), format!("{}.{:09}", mtime.seconds, mtime.nanos));
        }
    }
    match &meta.kind {
        EntryKind::File => {}
        EntryKind::Directory => {
            metadata.insert("holdfast-kind".to_owned(), "directory".to_owned());
        }
        EntryKind::Symlink { target } => {
            metadata.insert("holdfast-kind".to_owned(), "symlink".to_owned());
            metadata.insert("holdfast-target".to_owned(), STANDARD.encode(target));
        }
    }
    metadata
}

/// The tags that an entry gets, as the header `x-amz-tagging` takes them.
pub(super) fn tagging(meta: &EntryMeta) -> Option<String> {
    let mut tagging = String::new();
    for (name, value) in &meta.attributes {
        let Some(name) = name.strip_prefix(TAG) else { continue };
        if !tagging.is_empty() {
            tagging.push('&');
        }
        encode(&mut tagging, name);
        tagging.push('=');
        encode(&mut tagging, value);
    }
    (!tagging.is_empty()).then_some(tagging)
}

fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The storage class to write with. What came from an archive is written where it can be read at once.
pub(super) fn storage_class(meta: &EntryMeta) -> Option<StorageClass> {
    match StorageClass::from(meta.attributes.get("storage-class")?.as_str()) {
        class @ (StorageClass::StandardIa
        | StorageClass::OnezoneIa
        | StorageClass::IntelligentTiering
        | StorageClass::GlacierIr
        | StorageClass::ReducedRedundancy) => Some(class),
        _ => None,
    }
}

/// When caches must forget the object; what is no HTTP date is not written.
pub(super) fn expires(meta: &EntryMeta) -> Option<DateTime> {
    DateTime::from_str(meta.attributes.get("expires")?, DateTimeFormat::HttpDate).ok()
}

#[cfg(test)]
mod tests {
    use super::{EntryKind, EntryMeta, META, Mtime, metadata, recall, storage_class, tagging};
    use std::collections::BTreeMap;

    fn entry(kind: EntryKind, attributes: &[(&str, &str)]) -> EntryMeta {
        EntryMeta {
            path: b"a".to_vec(),
            kind,
            size: 0,
            mode: Some(0o644),
            mtime: Some(Mtime { seconds: 5, nanos: 7 }),
            attributes: attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }

    #[test]
    fn tags_are_written_as_a_query() {
        let entry = entry(EntryKind::File, &[("tag:a b", "ü&="), ("tag:c", ""), ("etag", "x")]);
        assert_eq!(tagging(&entry).unwrap(), "a%20b=%C3%BC%26%3D&c=");
    }

    #[test]
    fn what_an_object_has_no_place_for_is_metadata() {
        let written: BTreeMap<_, _> =
            metadata(&entry(EntryKind::Symlink { target: b"\xff".to_vec() }, &[("meta:own", "1")]))
                .into_iter()
                .collect();
        let wanted = [
            ("holdfast-kind", "symlink"),
            ("holdfast-mode", "644"),
            ("holdfast-mtime", "5.000000007"),
            ("holdfast-target", "/w=="),
            ("own", "1"),
        ];
        assert_eq!(written, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_was_kept_as_metadata_is_an_entry_again() {
        let kinds = [
            (EntryKind::File, "a"),
            (EntryKind::Directory, "a/"),
            (EntryKind::Symlink { target: b"\xff/x".to_vec() }, "a"),
        ];
        for (kind, path) in kinds {
            let mut wanted = entry(kind, &[("meta:own", "1")]);
            wanted.path = path.as_bytes().to_vec();
            let mut object = EntryMeta { kind: EntryKind::File, mode: None, mtime: None, ..wanted.clone() };
            for (name, value) in metadata(&wanted) {
                object.attributes.insert(format!("{META}{name}"), value);
            }
            recall(&mut object);
            assert_eq!(object, wanted);
        }
        let foreign =
            [("meta:holdfast-mode", "rw"), ("meta:holdfast-kind", "symlink"), ("meta:holdfast-target", "%")];
        let mut object = EntryMeta { mode: None, ..entry(EntryKind::File, &foreign) };
        let before = object.clone();
        recall(&mut object);
        assert_eq!(object, before);
    }

    #[test]
    fn nothing_is_restored_into_an_archive() {
        let class = |class: &str| storage_class(&entry(EntryKind::File, &[("storage-class", class)]));
        assert!(
            class("STANDARD_IA").is_some() && class("DEEP_ARCHIVE").is_none() && class("GLACIER").is_none()
        );
    }
}
