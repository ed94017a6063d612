//! Captured changes: what a record was before and after each write, in order.

use super::header::Id;
use super::wire::{Reader, put_bytes, put_signed};
use crate::crypto::Namer;
use crate::keys::KeyRing;
use crate::model::RecordEncoding;
use crate::{Result, format::header::ObjectKind};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// One write of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The hash of the record's key.
    pub hash: [u8; 16],
    /// When it was written, in milliseconds since 1970, as the source says it.
    pub time: i64,
    /// Its place among the changes of its record: decimal digits, compared as a number.
    pub sequence: String,
    /// The record's canonical key.
    pub key: Vec<u8>,
    /// The value before; none of a record that was added.
    pub before: Option<Vec<u8>>,
    /// The value after; none of a record that was deleted.
    pub after: Option<Vec<u8>>,
}

const HAS_BEFORE: u8 = 1;
const HAS_AFTER: u8 = 2;

impl Change {
    /// Appends the change's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash);
        put_signed(out, self.time);
        put_bytes(out, self.sequence.as_bytes());
        let flag = |value: &Option<Vec<u8>>, bit| if value.is_some() { bit } else { 0 };
        out.push(flag(&self.before, HAS_BEFORE) | flag(&self.after, HAS_AFTER));
        put_bytes(out, &self.key);
        for value in [&self.before, &self.after].into_iter().flatten() {
            put_bytes(out, value);
        }
    }

    /// The next change; `None` if the bytes are malformed.
    pub fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (hash, time, sequence) = (reader.array()?, reader.signed()?, reader.text()?.to_owned());
        let digits = !sequence.is_empty() && sequence.bytes().all(|b| b.is_ascii_digit());
        let flags = reader.byte()?;
        if !digits || flags & !(HAS_BEFORE | HAS_AFTER) != 0 {
            return None;
        }
        let key = reader.bytes()?.to_vec();
        let before = if flags & HAS_BEFORE == 0 { None } else { Some(reader.bytes()?.to_vec()) };
        let after = if flags & HAS_AFTER == 0 { None } else { Some(reader.bytes()?.to_vec()) };
        Some(Self { hash, time, sequence, key, before, after })
    }

    /// The order of changes in a segment: by key hash, then by sequence.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash).then_with(|| compare_sequences(&self.sequence, &other.sequence))
    }
}

/// The order of two sequences: that of the numbers that their digits write, whatever their length.
#[must_use]
pub fn compare_sequences(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// Which stream the changes of a segment are of, and what is known of their being complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesDescription {
    /// The resource's name.
    pub resource: String,
    /// The stream's name.
    pub stream: String,
    /// How values are to be read.
    pub encoding: RecordEncoding,
    /// Where the key stands, as in the stream's manifest.
    pub key: Vec<String>,
    /// From this time on, in milliseconds since 1970, every change is captured, but for the gaps that are told.
    pub since: i64,
    /// Times in which changes are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Keys of change objects that hold nothing but what stands here too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Keys of change objects that were written before this one: so that one that is gone is missed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<String>,
}

/// A time in which changes are missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// The latest time before it at which nothing was missing, in milliseconds since 1970.
    pub from: i64,
    /// The earliest time after it from which on nothing is missing.
    pub to: i64,
    /// How it was noticed.
    pub reason: String,
}

/// The name of a change object: whose changes, of which time, how often they were gathered into larger objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeName {
    /// The keyed hash of the resource's name.
    pub folder: [u8; 16],
    /// When the earliest change was made, in milliseconds since 1970; never negative.
    pub from: i64,
    /// When the latest was made.
    pub to: i64,
    /// 0 as captured; 1 and more gathered.
    pub level: u8,
    /// The object's id.
    pub object: Id,
}

/// What the key of a time looks like in names: fifteen digits.
const DIGITS: usize = 15;

impl ChangeName {
    /// The folder of a resource's changes: the keyed hash of its name.
    ///
    /// # Errors
    /// `KeyMissing` if version 1 of the vault key is not in the ring.
    pub fn folder_of(keys: &KeyRing, resource: &str) -> Result<[u8; 16]> {
        let namer: Namer = keys.change_namer()?;
        Ok(namer.name(resource.as_bytes()))
    }

    /// What the keys of all change objects of a folder begin with.
    #[must_use]
    pub fn prefix(folder: &[u8; 16]) -> String {
        format!("{}{}/", ObjectKind::Changes.prefix(), hex::encode(folder))
    }

    /// The object's key.
    #[must_use]
    pub fn key(&self) -> String {
        let (from, to) = (self.from.max(0), self.to.max(0));
        let prefix = Self::prefix(&self.folder);
        format!("{prefix}{from:0DIGITS$}-{to:0DIGITS$}-{}-{}", self.level, self.object)
    }

    /// Whether some gap tells that changes of the object's times are missing.
    pub fn is_told<'a>(&self, gaps: impl IntoIterator<Item = &'a Gap>) -> bool {
        gaps.into_iter().any(|gap| gap.from <= self.from && self.to <= gap.to)
    }

    /// The name that a key tells; `None` if it is none of a change object.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (folder, name) = key.strip_prefix(ObjectKind::Changes.prefix())?.split_once('/')?;
        let folder = Id::parse(folder)?.0;
        let mut parts = name.split('-');
        let mut time = || {
            let digits = parts.next().filter(|text| text.len() == DIGITS)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
        };
        let (from, to) = (time()?, time()?);
        let &[level @ b'0'..=b'9'] = parts.next()?.as_bytes() else { return None };
        let level = level - b'0';
        let object = Id::parse(parts.next()?)?;
        parts.next().is_none().then_some(Self { folder, from, to, level, object })
    }
}
