//! The target `jsonl`: a directory that gets one JSON Lines file a record stream.

use super::key::KeyReader;
use super::merge::merge;
use crate::batch::RecordBatch;
use crate::staged_dir::{StagedDir, Workshop, plain_name};
use crate::target::{Content, OnConflict, Position, RestoreOrder, Target, Written};
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryMeta, StreamInfo, StreamKind, Warning};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Writes a file of lines for each record stream. A directory that is new or empty is filled out of sight and appears
/// when it is complete; in one that is not, each file is merged with what it held and replaced at the end. Keys that are
/// stored beside records are not written: lines are the records alone.
pub struct JsonlTarget {
    staged: StagedDir,
    open: Mutex<Option<Arc<Open>>>,
}

/// The prepared target, as one process uses it.
struct Open {
    /// Where restored lines go.
    folder: PathBuf,
    files: Mutex<HashMap<String, Arc<File>>>,
}

/// How a stream's file was merged, kept until the restore ends so that a repeat tells the same.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Merged {
    conflicts: u64,
    /// The folder that the new file waits in.
    from: String,
}

const RESTORED: &str = "restored";
const MERGED: &str = "merged";
const RESULTS: &str = "results";

impl JsonlTarget {
    /// A target for one restore, by its order.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, order: &RestoreOrder) -> Self {
        Self { staged: StagedDir::new("jsonl", directory.into(), &order.restore_id), open: Mutex::default() }
    }

    fn refuse_tree(&self, stream: &str) -> Error {
        let text = format!("stream {stream} holds files, which {} cannot take", self.staged.label());
        Error::new(Code::TargetInvalid, text)
            .object(stream)
            .hint("restore it to files:DIR or s3://BUCKET/PREFIX")
    }

    fn check_streams(&self, order: &RestoreOrder) -> Result<()> {
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for stream in &order.streams {
            let StreamKind::Records { encoding, key } = &stream.shape else {
                return Err(self.refuse_tree(&stream.name));
            };
            if !key.is_empty() {
                KeyReader::new(*encoding, key)?;
            }
            if let Some(other) = names.insert(file_name(stream), &stream.name) {
                let text =
                    format!("{}: streams {other} and {} would be one file", self.staged.label(), stream.name);
                return Err(Error::new(Code::TargetInvalid, text)
                    .object(&stream.name)
                    .hint("restore one of them at a time, with --stream"));
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<Arc<Open>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*open {
            return Ok(Arc::clone(open));
        }
        let folder = folder(&self.staged.open()?);
        Ok(Arc::clone(open.insert(Arc::new(Open { folder, files: Mutex::default() }))))
    }

    fn file(&self, stream: &StreamInfo) -> Result<(Arc<File>, PathBuf)> {
        let open = self.open()?;
        let path = open.folder.join(file_name(stream));
        let mut files = open.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&stream.name) {
            return Ok((Arc::clone(file), path));
        }
        let file = Arc::new(self.make_file(&path)?);
        files.insert(stream.name.clone(), Arc::clone(&file));
        Ok((file, path))
    }

    fn make_file(&self, path: &Path) -> Result<File> {
        // What an earlier call wrote stays: a repeat writes the same to the same place.
        let options = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        options.map_err(|cause| self.staged.failed("write", path, cause))
    }

    /// What a stream's file would be merged with. Lines are matched by key, so the records must carry theirs.
    fn existing_for(&self, stream: &StreamInfo, path: &Path) -> Result<Option<File>> {
        let existing = self.existing(path)?;
        let keyless = matches!(&stream.shape, StreamKind::Records { key, .. } if key.is_empty());
        if existing.is_some() && keyless {
            let text = format!(
                "{}: the records of stream {} carry no key and cannot be merged with a file that is there",
                self.staged.label(),
                stream.name
            );
            return Err(Error::new(Code::TargetInvalid, text)
                .object(&stream.name)
                .hint("restore into a new directory"));
        }
        Ok(existing)
    }

    /// What would be replaced by a stream's file, which must be a file itself.
    fn existing(&self, path: &Path) -> Result<Option<File>> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => {
                File::open(path).map(Some).map_err(|cause| self.staged.failed("read", path, cause))
            }
            Ok(_) => {
                let name = crate::local_fs::shown(path);
                Err(Error::new(Code::TargetInvalid, format!("{}: {name} is no file", self.staged.label()))
                    .object(name)
                    .hint("move it away, or restore into a new directory"))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.staged.failed("read", path, cause)),
        }
    }

    /// Gives a stream's lines their place among what the target holds; the number of records that differed.
    fn put(&self, workshop: &Workshop, stream: &StreamInfo, policy: OnConflict) -> Result<u64> {
        let name = file_name(stream);
        let result = workshop.path.join(RESULTS).join(&name);
        let merged = match fs::read(&result) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|cause| self.staged.failed("read", &result, io::Error::from(cause)))?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let merged = self.merge(workshop, stream, policy)?;
                self.remember(workshop, &result, &merged)?;
                merged
            }
            Err(cause) => return Err(self.staged.failed("read", &result, cause)),
        };
        let (from, to) = (workshop.path.join(&merged.from).join(&name), workshop.root.join(&name));
        match fs::rename(&from, &to) {
            Ok(()) => {}
            // An earlier call came to here.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(self.staged.failed("replace", &to, cause)),
        }
        Ok(merged.conflicts)
    }

    fn merge(&self, workshop: &Workshop, stream: &StreamInfo, policy: OnConflict) -> Result<Merged> {
        let StreamKind::Records { encoding, key } = &stream.shape else {
            return Err(self.refuse_tree(&stream.name));
        };
        let name = file_name(stream);
        let (target, restored) = (workshop.root.join(&name), workshop.path.join(RESTORED).join(&name));
        let Some(existing) = self.existing_for(stream, &target)? else {
            return Ok(Merged { conflicts: 0, from: RESTORED.to_owned() });
        };
        let keys = KeyReader::new(*encoding, key)?;
        let path = workshop.path.join(MERGED).join(&name);
        let conflicts = File::create(&path)
            .and_then(|out| {
                out.set_permissions(existing.metadata()?.permissions())?;
                let conflicts = merge(&keys, existing, &restored, &out, policy)?;
                out.sync_all()?;
                Ok(conflicts)
            })
            .map_err(|cause| self.staged.failed("write", &path, cause))?;
        if conflicts > 0 && policy == OnConflict::Fail {
            let text = format!("{}: {conflicts} records of {name} differ", self.staged.label());
            return Err(Error::new(Code::TargetConflict, text)
                .object(name)
                .hint("add --on-conflict skip or overwrite, or restore into a new directory"));
        }
        Ok(Merged { conflicts, from: MERGED.to_owned() })
    }

    /// Keeps the result, at once or not at all.
    fn remember(&self, workshop: &Workshop, result: &Path, merged: &Merged) -> Result<()> {
        let draft = workshop.path.join("result");
        serde_json::to_vec(merged)
            .map_err(io::Error::from)
            .and_then(|json| fs::write(&draft, json))
            .and_then(|()| fs::rename(&draft, result))
            .map_err(|cause| self.staged.failed("write", result, cause))
    }

    fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[async_trait]
impl Target for JsonlTarget {
    async fn check(&self, order: &RestoreOrder) -> Result<()> {
        self.check_streams(order)?;
        let staged = match self.staged.find()? {
            Some(workshop) => workshop.staged,
            None => self.staged.check(order.on_conflict)?,
        };
        if !staged {
            let directory = self.staged.directory()?;
            for stream in &order.streams {
                self.existing_for(stream, &directory.join(file_name(stream)))?;
            }
        }
        Ok(())
    }

    async fn prepare(&self, order: &RestoreOrder) -> Result<()> {
        self.check(order).await?;
        let workshop = self.staged.prepare(order.on_conflict)?;
        if !workshop.staged {
            for folder in [RESTORED, MERGED, RESULTS] {
                self.staged.make_dir(&workshop.path.join(folder))?;
            }
        }
        for stream in &order.streams {
            let name = file_name(stream);
            // A finish that was cut short may have moved the file to its place already.
            if workshop.staged || !workshop.path.join(RESULTS).join(&name).exists() {
                self.make_file(&folder(&workshop).join(name))?;
            }
        }
        Ok(())
    }

    async fn write_records(&self, stream: &StreamInfo, at: Position, batch: &RecordBatch) -> Result<Written> {
        if stream.shape == StreamKind::Tree {
            return Err(self.refuse_tree(&stream.name));
        }
        let (file, path) = self.file(stream)?;
        let mut lines = Vec::with_capacity(batch.bytes() + batch.len());
        for record in batch.iter() {
            lines.extend_from_slice(record.value);
            lines.push(b'\n');
        }
        file.write_all_at(&lines, at.bytes + at.records)
            .map_err(|cause| self.staged.failed("write", &path, cause))?;
        let records = batch.len() as u64;
        Ok(Written { written: records, conflicts: 0, bytes: lines.len() as u64 - records })
    }

    async fn write_entry(
        &self,
        stream: &StreamInfo,
        _meta: &EntryMeta,
        _content: &mut dyn Content,
    ) -> Result<Written> {
        Err(self.refuse_tree(&stream.name))
    }

    async fn finish(&self, order: &RestoreOrder) -> Result<Vec<Warning>> {
        self.close();
        let Some(workshop) = self.staged.find()? else {
            self.staged.finished()?;
            return Ok(Vec::new());
        };
        let mut warnings = Vec::new();
        if !workshop.staged {
            for stream in &order.streams {
                let conflicts = self.put(&workshop, stream, order.on_conflict)?;
                if conflicts > 0 {
                    let did = if order.on_conflict == OnConflict::Skip { "kept" } else { "overwritten" };
                    let text =
                        format!("{conflicts} records of stream {} differed and were {did}", stream.name);
                    warnings.push(Warning::new("Conflicts", text));
                }
            }
        }
        self.staged.publish(&workshop)?;
        Ok(warnings)
    }

    async fn abandon(&self, _order: &RestoreOrder) -> Result<()> {
        self.close();
        self.staged.abandon()
    }
}

fn folder(workshop: &Workshop) -> PathBuf {
    if workshop.staged { workshop.root.clone() } else { workshop.path.join(RESTORED) }
}

/// The file of a stream: the one it was read from where that is known.
pub(super) fn file_name(stream: &StreamInfo) -> String {
    let known = stream.schema.get("file").and_then(serde_json::Value::as_str).and_then(plain_name);
    known.map_or_else(
        || {
            let fits = |c: char| !c.is_control() && c != '/';
            let mut name: String = stream.name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
            name.truncate(name.floor_char_boundary(240));
            format!("{name}.jsonl")
        },
        str::to_owned,
    )
}
