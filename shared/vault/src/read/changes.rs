//! Reads captured changes: which objects hold those of a time, and the changes of a shard of the key hashes.

use super::vault::{OpenObject, Vault};
use crate::error::{Code, Error, Result};
use crate::format::changes::{Change, ChangeName, ChangesDescription, Gap};
use crate::format::footer::{ChangeSegment, Segment};
use crate::format::header::ObjectKind;
use crate::format::wire::Reader;
use crate::storage::{ByteRange, list_all};
use bytes::Bytes;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, HashSet};

/// Objects up to this size are read whole, with one request.
const SMALL: u64 = 1 << 20;
/// Blocks that stand side by side are read with one request of at most about this many bytes.
const SPAN: u64 = 8 << 20;

/// All key hashes.
pub const ALL_KEYS: (u128, u128) = (0, u128::MAX);

/// Some time: after `after`, up to and with `to`, both in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The last moment before it.
    pub after: i64,
    /// The last moment in it.
    pub to: i64,
}

impl Window {
    /// All of time.
    pub const ALL: Self = Self { after: i64::MIN, to: i64::MAX };

    fn holds(self, time: i64) -> bool {
        self.after < time && time <= self.to
    }

    fn overlaps(self, from: i64, to: i64) -> bool {
        self.after < to && from <= self.to
    }
}

/// The change objects of a resource with changes between two times (milliseconds since 1970, both included), with their
/// sizes, in order of their names. Those that a larger one replaces are among them while they are there: [`changes`]
/// leaves them unread.
///
/// # Errors
/// `KeyMissing` or `Storage*`.
pub async fn list(vault: &Vault, resource: &str, from_ms: i64, to_ms: i64) -> Result<Vec<(ChangeName, u64)>> {
    let folder = ChangeName::folder_of(vault.keys(), resource)?;
    let objects = list_all(vault.storage().as_ref(), &ChangeName::prefix(&folder)).await?;
    let names = objects.into_iter().filter_map(|object| Some((ChangeName::parse(&object.key)?, object.size)));
    Ok(names.filter(|(name, _)| name.from <= to_ms && from_ms <= name.to).collect())
}

/// An open change object.
pub struct ChangeObject {
    object: OpenObject,
    bytes: Option<Bytes>,
    segments: Vec<(ChangesDescription, ChangeSegment)>,
}

impl ChangeObject {
    /// Opens an object with one request, or two where it is large.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn open(vault: &Vault, name: &ChangeName, size: u64) -> Result<Self> {
        let key = name.key();
        let (object, bytes) = if size <= SMALL {
            let bytes = vault.storage().get(&key, ByteRange::All).await?;
            if bytes.len() as u64 != size {
                return Err(Error::damaged(&key, format!("{} bytes instead of {size}", bytes.len())));
            }
            (vault.open_bytes(&key, ObjectKind::Changes, name.object, &bytes).await?, Some(bytes))
        } else {
            (vault.open_object_at(&key, ObjectKind::Changes, name.object, size).await?, None)
        };
        let opened = Self { segments: describe(&object)?, object, bytes };
        opened.stands_right(vault, name)?;
        Ok(opened)
    }

    /// The folder and the times of a name are not sealed: an object that was copied under another one is no other object.
    fn stands_right(&self, vault: &Vault, name: &ChangeName) -> Result<()> {
        let damaged = |why: &str| Error::damaged(&self.object.key, why);
        let mut named = None::<(i64, i64)>;
        for (description, segment) in &self.segments {
            if ChangeName::folder_of(vault.keys(), &description.resource)? != name.folder {
                return Err(damaged("it stands in the folder of another resource"));
            }
            let (from, to) = named.unwrap_or((segment.from, segment.to));
            named = Some((from.min(segment.from), to.max(segment.to)));
        }
        if named.is_none_or(|(from, to)| (from.max(0), to.max(0)) != (name.from, name.to)) {
            return Err(damaged("its name tells other times than its footer"));
        }
        Ok(())
    }

    /// What is said of each stream whose changes it holds.
    pub fn descriptions(&self) -> impl Iterator<Item = &ChangesDescription> {
        self.segments.iter().map(|(description, _)| description)
    }

    /// The segments, each with its description.
    #[must_use]
    pub fn segments(&self) -> &[(ChangesDescription, ChangeSegment)] {
        &self.segments
    }

    /// The object's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.object.key
    }

    /// Plain bytes of all its blocks.
    #[must_use]
    pub fn plain_bytes(&self) -> u64 {
        self.object.footer.blocks.iter().map(|block| u64::from(block.plain_len)).sum()
    }

    /// Hands every change of a segment whose key hash lies in a shard (both ends included) to `each`, in order.
    ///
    /// # Errors
    /// `ObjectDamaged` or `Storage*`, or what `each` gives.
    pub async fn each(
        &self,
        vault: &Vault,
        segment: &ChangeSegment,
        shard: (u128, u128),
        mut each: impl FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let (first, last) = (shard.0.to_be_bytes(), shard.1.to_be_bytes());
        if segment.last.as_slice() < first.as_slice() {
            return Ok(());
        }
        // The block before the first fence that is not smaller may hold the hash too.
        let fences = &segment.index.fences;
        let start =
            fences.partition_point(|fence| fence.first.as_slice() < first.as_slice()).saturating_sub(1);
        let end = fences.partition_point(|fence| fence.first.as_slice() <= last.as_slice());
        let mut at = start;
        while at < end {
            let blocks = self.blocks(vault, segment, at, end).await?;
            for plain in &blocks {
                for change in self.decode(plain, fences[at].count)? {
                    if first <= change.hash && change.hash <= last {
                        each(change)?;
                    }
                }
                at += 1;
            }
        }
        Ok(())
    }

    /// Some of the plain blocks of a segment from its `at`-th on, at least one and none from `end` on.
    async fn blocks(
        &self,
        vault: &Vault,
        segment: &ChangeSegment,
        at: usize,
        end: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let first = segment.index.first_block as usize;
        if let Some(bytes) = &self.bytes {
            return (first + at..first + end).map(|number| self.object.block_of(bytes, number)).collect();
        }
        let malformed = || Error::damaged(&self.object.key, "its footer names blocks that it does not list");
        let infos = self.object.footer.blocks.get(first + at..first + end).ok_or_else(malformed)?;
        let start = infos.first().ok_or_else(malformed)?.offset;
        let stop = |count: usize| infos[count - 1].offset + u64::from(infos[count - 1].sealed_len);
        let mut count = 1;
        while count < infos.len() && stop(count + 1) - start <= SPAN {
            count += 1;
        }
        let range = ByteRange::Span { start, end: stop(count) };
        let sealed = vault.storage().get(&self.object.key, range).await?;
        let place = |offset: u64| usize::try_from(offset - start).unwrap_or(usize::MAX);
        let open = |(number, info): (usize, &crate::format::footer::BlockInfo)| {
            let from = place(info.offset);
            let block = sealed.get(from..from + info.sealed_len as usize).ok_or_else(malformed)?;
            self.object.open_block(number, block.to_vec())
        };
        infos[..count].iter().enumerate().map(|(n, info)| open((first + at + n, info))).collect()
    }

    fn decode(&self, plain: &[u8], count: u32) -> Result<Vec<Change>> {
        let malformed = |why| Error::damaged(&self.object.key, why);
        let mut reader = Reader::new(plain);
        let mut changes = Vec::new();
        for _ in 0..count {
            let change =
                Change::decode(&mut reader).ok_or_else(|| malformed("a block of changes is malformed"))?;
            changes.push(change);
        }
        if !reader.is_empty() {
            return Err(malformed("a block of changes holds more than it says"));
        }
        Ok(changes)
    }

    /// Opens every block and compares all that the footer says; what the name says was compared when it was opened.
    ///
    /// # Errors
    /// `ObjectDamaged` or `Storage*`.
    pub async fn check(&self, vault: &Vault) -> Result<()> {
        let damaged = |why: &str| Error::damaged(&self.object.key, why);
        let mut blocks = 0;
        for (_, segment) in &self.segments {
            let mut last: Option<Change> = None;
            let mut times: Option<(i64, i64)> = None;
            self.each(vault, segment, ALL_KEYS, |change| {
                if last.as_ref().is_some_and(|last| last.order(&change) != Ordering::Less) {
                    return Err(damaged("its changes are out of order"));
                }
                let (from, to) = times.unwrap_or((change.time, change.time));
                times = Some((from.min(change.time), to.max(change.time)));
                last = Some(change);
                Ok(())
            })
            .await?;
            if times.is_some_and(|times| times != (segment.from, segment.to))
                || last.is_some_and(|last| last.hash.as_slice() != segment.last.as_slice())
            {
                return Err(damaged("its changes are not what its footer says"));
            }
            blocks += segment.index.fences.len();
        }
        if blocks != self.object.footer.blocks.len() {
            return Err(damaged("it has blocks that no segment leads to"));
        }
        Ok(())
    }
}

fn describe(object: &OpenObject) -> Result<Vec<(ChangesDescription, ChangeSegment)>> {
    let damaged = |why: String| Error::damaged(&object.key, why);
    let segments = object.footer.segments.iter().map(|segment| match segment {
        Segment::Changes(segment) => serde_json::from_slice(&segment.description)
            .map(|description| (description, segment.clone()))
            .map_err(|e| damaged(format!("a description is unreadable: {e}"))),
        _ => Err(damaged("it holds a segment that does not belong there".to_owned())),
    });
    segments.collect()
}

/// Goes through the objects that must be read, the highest levels first, one at a time, so that memory holds no other.
/// What another one replaces is left out.
pub struct Unreplaced<'a> {
    vault: &'a Vault,
    left: std::vec::IntoIter<(ChangeName, u64)>,
    listed: HashSet<String>,
    replaced: HashSet<String>,
    followed: BTreeSet<String>,
    gaps: BTreeSet<Gap>,
}

impl<'a> Unreplaced<'a> {
    /// Goes through the objects of these names.
    #[must_use]
    pub fn new(vault: &'a Vault, mut names: Vec<(ChangeName, u64)>) -> Self {
        names.sort_by_key(|(name, _)| (Reverse(name.level), name.clone()));
        let listed = names.iter().map(|(name, _)| name.key()).collect();
        let (replaced, followed, gaps) = (HashSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { vault, left: names.into_iter(), listed, replaced, followed, gaps }
    }

    /// Whether an object that was given holds all that this one holds.
    #[must_use]
    pub fn is_replaced(&self, name: &ChangeName) -> bool {
        self.replaced.contains(&name.key())
    }

    /// What the objects that were given say was written before them, and no object holds: the change objects with changes
    /// in some time that are gone, but for those whose times are told as a gap. Ask after the last was given.
    pub fn gone(&self, window: Window) -> impl Iterator<Item = ChangeName> {
        let is_there = |key: &String| self.listed.contains(key) || self.replaced.contains(key);
        let missed = self.followed.iter().filter(move |key| !is_there(key));
        missed
            .filter_map(|key| ChangeName::parse(key))
            .filter(move |name| window.overlaps(name.from, name.to) && !name.is_told(&self.gaps))
    }

    /// The keys of the objects that none of those that were given follows or replaces. Ask after the last was given.
    pub fn unfollowed(&self) -> impl Iterator<Item = &String> {
        self.listed.iter().filter(|key| !self.followed.contains(*key) && !self.replaced.contains(*key))
    }

    /// The next object, open; `None` after the last.
    ///
    /// # Errors
    /// As [`ChangeObject::open`].
    pub async fn next(&mut self) -> Result<Option<(ChangeName, u64, ChangeObject)>> {
        for (name, size) in self.left.by_ref() {
            if self.replaced.contains(&name.key()) {
                continue;
            }
            let object = ChangeObject::open(self.vault, &name, size).await?;
            if name.level > 0 {
                self.replaced.extend(object.descriptions().flat_map(|said| said.replaces.iter().cloned()));
            }
            for said in object.descriptions() {
                self.followed.extend(said.follows.iter().cloned());
                self.gaps.extend(said.gaps.iter().cloned());
            }
            return Ok(Some((name, size, object)));
        }
        Ok(None)
    }
}

/// Hands every change of a stream in some time whose key hashes lie in a shard (both ends included) to `each`: in no order,
/// and those that stand in several objects several times. Memory holds one object of at most 1 MiB, or some blocks.
///
/// # Errors
/// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`, or what `each` gives.
pub async fn visit(
    vault: &Vault,
    names: Vec<(ChangeName, u64)>,
    stream: &str,
    window: Window,
    shard: (u128, u128),
    mut each: impl FnMut(Change) -> Result<()>,
) -> Result<()> {
    let mut objects = Unreplaced::new(vault, names);
    while let Some((_, _, object)) = objects.next().await? {
        for (description, segment) in object.segments() {
            if description.stream != stream || !window.overlaps(segment.from, segment.to) {
                continue;
            }
            let take = |change: Change| if window.holds(change.time) { each(change) } else { Ok(()) };
            object.each(vault, segment, shard, take).await?;
        }
    }
    match objects.gone(window).next() {
        Some(name) => Err(missing(&name)),
        None => Ok(()),
    }
}

/// The change objects of a resource, of those with changes at `from` (milliseconds since 1970) or later, that others say
/// were written before them and that are gone.
///
/// # Errors
/// As [`ChangeObject::open`], of any object that is there.
pub async fn gone(vault: &Vault, resource: &str, from: i64) -> Result<Vec<ChangeName>> {
    let window = Window { after: from.saturating_sub(1), to: i64::MAX };
    let mut objects = Unreplaced::new(vault, list(vault, resource, from, i64::MAX).await?);
    while objects.next().await?.is_some() {}
    Ok(objects.gone(window).collect())
}

/// The error of a change object that is gone.
#[must_use]
pub fn missing(name: &ChangeName) -> Error {
    let (key, hint) = (
        name.key(),
        "copy it back from a second vault; what was written in its time is not known without it",
    );
    Error::new(Code::ObjectMissing, format!("{key}, which other change objects name, is gone"))
        .object(key)
        .hint(hint)
}

/// The changes of a stream in some time whose key hashes lie in a shard (both ends included): each once, in order of key
/// hash and then of sequence. `names` are of [`list`].
///
/// # Errors
/// As [`visit`].
pub async fn changes(
    vault: &Vault,
    names: Vec<(ChangeName, u64)>,
    stream: &str,
    window: Window,
    shard: (u128, u128),
) -> Result<Vec<Change>> {
    let mut found: Vec<Change> = Vec::new();
    let take = |change| {
        found.push(change);
        Ok(())
    };
    visit(vault, names, stream, window, shard, take).await?;
    found.sort_by(Change::order);
    found.dedup_by(|next, kept| next.order(kept) == Ordering::Equal);
    Ok(found)
}
