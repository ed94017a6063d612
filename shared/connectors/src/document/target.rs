//! The target `json`: one document with a collection for each record stream.
//!
//! Batches are kept beside the file, in a folder named after the restore, each as a file named by its stream and its
//! position: a repeat writes the same file again. Finishing puts them together and gives the document its name.

use super::{Collection, LARGEST, LARGEST_TEXT};
use crate::batch::RecordBatch;
use crate::keys::KeyFinder;
use crate::local_fs::printable;
use crate::staged_dir::{StagedDir, remove_tree};
use crate::target::{Content, OnConflict, Position, RestoreOrder, Target, Written};
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryMeta, StreamInfo, StreamKind, Warning};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Writes a document; arrays by position, or by key: whole numbers first, by value, then the other keys by their bytes.
pub struct DocumentTarget {
    staged: StagedDir,
    on_conflict: OnConflict,
    /// The number of each stream in the order.
    numbers: HashMap<String, usize>,
}

/// A record on its way into its collection.
struct Element {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl DocumentTarget {
    /// A target for one restore, by its order.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, order: &RestoreOrder) -> Self {
        let numbers = order.streams.iter().enumerate().map(|(at, stream)| (stream.name.clone(), at));
        Self {
            staged: StagedDir::new("json", file.into(), &order.restore_id),
            on_conflict: order.on_conflict,
            numbers: numbers.collect(),
        }
    }

    fn invalid(&self, why: impl std::fmt::Display) -> Error {
        let label = self.staged.label();
        Error::new(Code::TargetInvalid, format!("{label} {why}")).object(label)
    }

    fn refuse_tree(&self, stream: &str) -> Error {
        self.invalid(format_args!("cannot take stream {}, which holds files", printable(stream.as_bytes())))
            .object(stream)
            .hint("restore it to files:DIR or s3://BUCKET/PREFIX")
    }

    fn too_large(&self) -> Error {
        self.invalid(format_args!("would be larger than {LARGEST_TEXT}"))
            .hint("restore to jsonl:DIR, which has no limit, or choose streams with --stream")
    }

    /// Whether the file's name is free, or may be taken; the file without links in its path.
    fn place(&self) -> Result<PathBuf> {
        let file = self.staged.directory()?;
        let found = match fs::symlink_metadata(&file) {
            Ok(found) => found,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(file),
            Err(cause) => return Err(self.staged.failed("use", &file, cause)),
        };
        if !found.is_file() {
            return Err(self.invalid("is no file").hint("name a new file"));
        }
        match self.on_conflict {
            OnConflict::Overwrite => Ok(file),
            OnConflict::Fail => Err(self.there_already()),
            OnConflict::Skip => Err(self
                .invalid("is there already, and a document cannot be filled up")
                .hint("name a new file, or say --on-conflict overwrite to replace all of it")),
        }
    }

    fn there_already(&self) -> Error {
        let label = self.staged.label();
        Error::new(Code::TargetNotEmpty, format!("{label} is there already"))
            .object(label)
            .hint("name a new file, or say --on-conflict overwrite to replace all of it")
    }

    /// The folder of this restore's batches.
    fn workshop(&self) -> Result<PathBuf> {
        self.staged.beside(&self.staged.directory()?)
    }

    /// Where the folder goes when the document has its name, so that a half removed one is never read again.
    fn spent(&self) -> Result<PathBuf> {
        let mut name = self.workshop()?.into_os_string();
        name.push("-done");
        Ok(name.into())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        remove_tree(path).map_err(|cause| self.staged.failed("remove", path, cause))
    }

    /// Writes a file that is there whole or not at all.
    fn write_whole(
        &self,
        path: &Path,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", hex::encode(holdfast_vault::crypto::random::<8>()?)));
        let draft = PathBuf::from(draft);
        let written = File::create(&draft).and_then(|file| {
            let mut out = BufWriter::with_capacity(1 << 20, file);
            write(&mut out)?;
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&draft, path)
        });
        written.map_err(|cause| {
            // The folder goes when the restore ends, and drafts with it.
            let _ = fs::remove_file(&draft);
            self.staged.failed("write", path, cause)
        })
    }

    /// The batches of the folder by the number of their stream, and the bytes of all of them.
    fn batches(&self, workshop: &Path) -> Result<(HashMap<usize, Vec<PathBuf>>, u64)> {
        let failed = |cause: io::Error| self.staged.failed("list", workshop, cause);
        let (mut batches, mut bytes) = (HashMap::<usize, Vec<PathBuf>>::new(), 0);
        for entry in fs::read_dir(workshop).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(stream) = name.to_str().and_then(batch_stream) else { continue };
            bytes += entry.metadata().map_err(failed)?.len();
            batches.entry(stream).or_default().push(entry.path());
        }
        Ok((batches, bytes))
    }

    /// The records of a stream, in the order of its collection.
    fn elements(&self, stream: &StreamInfo, batches: &[PathBuf]) -> Result<Vec<Element>> {
        let keys = KeyFinder::new(stream)?;
        let mut elements = Vec::new();
        for path in batches {
            let bytes = fs::read(path).map_err(|cause| self.staged.failed("read", path, cause))?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (stored, value) =
                    take_record(&mut rest).ok_or_else(|| self.staged.failed("read", path, Errno::IO))?;
                let key = keys.key_beside(stored, value)?.into_owned();
                elements.push(Element { key, value: value.to_vec() });
            }
        }
        elements.sort_by_cached_key(|element| (whole_number(&element.key), element.key.clone()));
        Ok(elements)
    }

    fn assemble(&self, order: &RestoreOrder, workshop: &Path, document: &Path) -> Result<()> {
        let (batches, bytes) = self.batches(workshop)?;
        if bytes > LARGEST {
            return Err(self.too_large());
        }
        let mut collections = Vec::with_capacity(order.streams.len());
        for (number, stream) in order.streams.iter().enumerate() {
            let of_stream = batches.get(&number).map_or(&[][..], Vec::as_slice);
            collections.push((stream, self.elements(stream, of_stream)?));
        }
        self.write_whole(document, |out| write_document(out, &collections))
    }

    /// Gives the document its name. A repeat finds what it would write.
    fn publish(&self, document: &Path, file: &Path) -> Result<()> {
        let failed = |cause: io::Error| self.staged.failed("write", file, cause);
        if self.on_conflict == OnConflict::Overwrite {
            if let Ok(existing) = fs::metadata(file) {
                fs::set_permissions(document, existing.permissions()).map_err(failed)?;
            }
            fs::rename(document, file).map_err(failed)?;
        } else {
            match renameat_with(CWD, document, CWD, file, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    let same = fs::read(document).map_err(failed)? == fs::read(file).map_err(failed)?;
                    if !same {
                        return Err(self.there_already());
                    }
                }
                // Not every file system can tell; then the check before the restore has to do.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    fs::rename(document, file).map_err(failed)?;
                }
                Err(cause) => return Err(failed(cause.into())),
            }
        }
        let parent = file.parent().unwrap_or(Path::new("/"));
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|cause| self.staged.failed("sync", parent, cause))
    }
}

#[async_trait]
impl Target for DocumentTarget {
    async fn check(&self, order: &RestoreOrder) -> Result<()> {
        if let Some(tree) = order.streams.iter().find(|stream| stream.shape == StreamKind::Tree) {
            return Err(self.refuse_tree(&tree.name));
        }
        self.place().map(|_| ())
    }

    async fn prepare(&self, order: &RestoreOrder) -> Result<()> {
        self.check(order).await?;
        let workshop = self.workshop()?;
        match fs::DirBuilder::new().mode(0o700).create(&workshop) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                Err(self.staged.failed("make", &workshop, cause))
            }
            _ => Ok(()),
        }
    }

    async fn write_records(&self, stream: &StreamInfo, at: Position, batch: &RecordBatch) -> Result<Written> {
        if stream.shape == StreamKind::Tree {
            return Err(self.refuse_tree(&stream.name));
        }
        let bytes: u64 = batch.iter().map(|record| record.value.len() as u64).sum();
        if at.bytes + bytes > LARGEST {
            return Err(self.too_large());
        }
        let number = self.numbers.get(&stream.name).ok_or_else(|| {
            Error::new(Code::Internal, format!("stream {} was not ordered", stream.name)).object(&stream.name)
        })?;
        let workshop = self.workshop()?;
        if !workshop.is_dir() {
            return self.staged.open().map(|_| Written::default());
        }
        let path = workshop.join(format!("batch-{number}-{}", at.records));
        self.write_whole(&path, |out| {
            batch.iter().try_for_each(|record| put_record(out, record.key, record.value))
        })?;
        Ok(Written { written: batch.len() as u64, conflicts: 0, bytes })
    }

    async fn write_entry(&self, stream: &StreamInfo, _: &EntryMeta, _: &mut dyn Content) -> Result<Written> {
        Err(self.refuse_tree(&stream.name))
    }

    async fn finish(&self, order: &RestoreOrder) -> Result<Vec<Warning>> {
        let (file, workshop, spent) = (self.staged.directory()?, self.workshop()?, self.spent()?);
        if workshop.is_dir() {
            let document = workshop.join("document");
            self.assemble(order, &workshop, &document)?;
            self.publish(&document, &file)?;
            self.remove(&spent)?;
            fs::rename(&workshop, &spent).map_err(|cause| self.staged.failed("remove", &workshop, cause))?;
        } else if !file.is_file() {
            return self.staged.open().map(|_| Vec::new());
        }
        self.remove(&spent)?;
        Ok(Vec::new())
    }

    async fn abandon(&self, _order: &RestoreOrder) -> Result<()> {
        self.remove(&self.workshop()?)?;
        self.remove(&self.spent()?)
    }
}

/// The stream's number in the name of a whole batch.
fn batch_stream(name: &str) -> Option<usize> {
    let (stream, position) = name.strip_prefix("batch-")?.split_once('-')?;
    position.parse::<u64>().ok()?;
    stream.parse().ok()
}

fn put_record(out: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    for part in [key, value] {
        let length = u32::try_from(part.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(part)?;
    }
    Ok(())
}

fn take_record<'b>(rest: &mut &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
    let mut part = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (part, behind) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        *rest = behind;
        Some(part)
    };
    Some((part()?, part()?))
}

/// The value of a key of one whole number, so that 10 comes behind 9; other keys come behind those.
fn whole_number(key: &[u8]) -> (bool, i128) {
    let text = key.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let number = text.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok());
    (number.is_none(), number.unwrap_or(0))
}

/// An element on a line, so that two documents can be compared by lines.
fn write_document(out: &mut impl Write, collections: &[(&StreamInfo, Vec<Element>)]) -> io::Result<()> {
    out.write_all(b"{")?;
    let mut separator = "\n";
    for (stream, elements) in collections {
        let is_value = Collection::of_stream(stream) == Collection::Value;
        if is_value && elements.is_empty() {
            // It was not selected.
            continue;
        }
        out.write_all(separator.as_bytes())?;
        serde_json::to_writer(&mut *out, &stream.name).map_err(io::Error::from)?;
        out.write_all(if is_value { b":" } else { b":[" })?;
        for (at, element) in elements.iter().enumerate() {
            if !is_value {
                out.write_all(if at == 0 { b"\n" } else { b",\n" })?;
            }
            out.write_all(&element.value)?;
        }
        if !is_value {
            out.write_all(if elements.is_empty() { b"]" } else { b"\n]" })?;
        }
        separator = ",\n";
    }
    out.write_all(b"\n}\n")
}
