//! What `diff` and `undo` share: the window that is asked for, and how its records are shown.

use crate::options::Global;
use crate::output::{count, printable};
use crate::place::Place;
use crate::progress::attend;
use holdfast_common::jobs::BackupType;
use holdfast_connectors::{FieldChange, SourceSpec, changed_fields, key_text, plain};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind, Warning};
use holdfast_workflow::config::Resource;
use holdfast_workflow::handler::decode;
use holdfast_workflow::history::{Asked, Counts, Exactness, Point};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Write};

/// A value is shown so long at most.
const SHOWN: usize = 60;

/// The window that is asked for, with what can tell it made ready: changes are captured up to now, or, for a window that
/// ends now and is not captured, a backup is made.
pub(super) async fn ready(global: &Global, place: &Place, asked: &Asked) -> Result<()> {
    let document = place.jobs().resource(&asked.resource).await?;
    let resource: Resource = decode(document)?;
    if resource.policy.capture && is_embedded(&resource.source) {
        Box::pin(place.home()?.capture(&asked.resource)).await?;
        return Ok(());
    }
    if asked.to != Point::Now || resource.policy.capture {
        return Ok(());
    }
    // What cannot work is told before a backup is made for it.
    if matches!(resource.source, SourceSpec::Files { .. } | SourceSpec::S3 { .. }) {
        return Ok(());
    }
    note(global, "changes of this resource are not captured, so a backup is made to see what it holds now");
    let id = place.new_id();
    let work = Box::pin(place.run_backup(&id, &asked.resource, Some(BackupType::Incremental)));
    attend(global, place, &id, &format!("backing up {}", asked.resource), work).await?;
    Ok(())
}

fn is_embedded(source: &SourceSpec) -> bool {
    matches!(source, SourceSpec::Dynamodb { endpoint: Some(endpoint), .. } if endpoint == "embedded")
}

/// Tells people something before the answer.
pub(super) fn note(global: &Global, what: &str) {
    if !global.quiet && !global.json {
        // With stderr gone there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{}", printable(&format!("note: {what}")));
    }
}

/// Tells the notes of a window.
pub(super) fn notes(global: &Global, of: &[Warning]) {
    for warning in of {
        note(global, &warning.message);
    }
}

/// A window's records in a sentence: `5,000 changed, 3 added`.
pub(super) fn counts_text(of: Counts) -> String {
    let named = [(of.added, "added"), (of.changed, "changed"), (of.deleted, "deleted")];
    let some: Vec<String> = named
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", count(*number)))
        .collect();
    if some.is_empty() { "no differences".to_owned() } else { some.join(", ") }
}

/// How sure a window is, in a word or two.
pub(super) fn exact_text(exactness: &Exactness) -> String {
    match (exactness.exact, &exactness.from_backup, &exactness.to_backup) {
        (true, None, _) | (true, _, None) => "exact".to_owned(),
        (exact, from, to) => {
            let name = |id: &Option<String>| id.clone().unwrap_or_else(|| "nothing".to_owned());
            let sure = if exact { "" } else { "not exact, " };
            format!("{sure}between backups {} and {}", name(from), name(to))
        }
    }
}

/// How the records of a stream are to be read.
pub(super) fn encoding(stream: &StreamInfo) -> RecordEncoding {
    match stream.shape {
        StreamKind::Records { encoding, .. } => encoding,
        StreamKind::Tree => RecordEncoding::Json,
    }
}

/// A record's key as an operator types it.
pub(super) fn key(stream: &StreamInfo, key: &[u8]) -> String {
    key_text(encoding(stream), key)
}

/// A record's value for programs; `None` where there is none.
pub(super) fn shown_value(stream: &StreamInfo, value: Option<&[u8]>) -> Result<Option<Value>> {
    value.map(|value| plain(encoding(stream), value)).transpose()
}

/// The fields of a changed record.
pub(super) fn fields(
    stream: &StreamInfo,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Result<Vec<FieldChange>> {
    match (old, new) {
        (Some(old), Some(new)) => changed_fields(encoding(stream), old, new),
        _ => Ok(Vec::new()),
    }
}

/// Changed fields for people: `/price: 5 -> 6, /note: - -> "x"`.
pub(super) fn fields_text(fields: &[FieldChange]) -> String {
    let mut text = String::new();
    for field in fields {
        let pointer = if field.pointer.is_empty() { "(all)" } else { &field.pointer };
        let comma = if text.is_empty() { "" } else { ", " };
        let (old, new) = (short(field.old.as_ref()), short(field.new.as_ref()));
        let _ = write!(text, "{comma}{pointer}: {old} -> {new}");
    }
    text
}

/// A value for people, cut short.
pub(super) fn short(value: Option<&Value>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

/// Writes to stdout as it goes. A reader that has gone away is no failure: nothing more is written to it.
pub(super) struct Stdout {
    out: io::BufWriter<io::Stdout>,
    gone: bool,
}

impl Stdout {
    pub(super) fn new() -> Self {
        Self { out: io::BufWriter::new(io::stdout()), gone: false }
    }

    fn settle(&mut self, written: io::Result<()>) -> Result<()> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            Err(error) => {
                Err(Error::new(Code::Internal, format!("the answer cannot be written to stdout: {error}")))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Writes some text as it is.
    pub(super) fn put(&mut self, text: &str) -> Result<()> {
        if self.gone {
            return Ok(());
        }
        let written = self.out.write_all(text.as_bytes());
        self.settle(written)
    }

    /// Writes a value as JSON.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|e| Error::new(Code::Internal, format!("the answer cannot be shown: {e}")))?;
        self.put(&text)
    }

    /// Writes a line for people.
    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        // A line feed of a key or a value would look like a line of ours.
        let line = printable(&text.replace('\n', "\\n"));
        self.put(&line)?;
        self.put("\n")
    }

    /// Writes out what waits.
    pub(super) fn end(&mut self) -> Result<()> {
        let flushed = if self.gone { Ok(()) } else { self.out.flush() };
        self.settle(flushed)
    }
}
