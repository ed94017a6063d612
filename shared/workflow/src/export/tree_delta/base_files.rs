//! The files of a base, beside those of the source.

use holdfast_connectors::PathBounds;
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::{Class, Error, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::{EntryKind, EntryMeta, Part};
use holdfast_vault::read::{LiveEntry, MergedTree, PathSpan, PathStart, Vault};
use holdfast_vault::write::TreeWriter;
use holdfast_vault::write::tree::CHUNK_AVERAGE;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Up to so many chunks of a base are held in memory to find content that moved: about 50 MiB.
const CHUNKS_HELD: u64 = 1 << 20;
/// A file changed so shortly before the base was begun may have changed again within the same tick of its clock, in
/// seconds. Some file systems count two seconds at a time.
const TICK: i64 = 2;

/// What the base holds at one path. Its parts are read once, when it is known what they are read for.
pub(super) struct Held {
    first: LiveEntry,
    /// The other parts, where they had to be looked at before it was known what for.
    rest: Option<VecDeque<LiveEntry>>,
    /// Whether the parts were used.
    is_read: bool,
    pub(super) bytes: u64,
    pub(super) digest: DigestSum,
    /// Whether the source has an entry of this path.
    pub(super) settled: bool,
}

impl Held {
    pub(super) fn path(&self) -> &[u8] {
        &self.first.entry.meta.path
    }

    /// The digest of a file in one part.
    pub(super) fn only_digest(&self) -> Option<[u8; 32]> {
        let part = self.first.entry.part;
        let whole = part.offset == 0 && part.length == self.first.entry.meta.size;
        whole.then(|| self.first.entry.digest())
    }
}

pub(super) struct BaseFiles<'a> {
    vault: &'a Vault,
    base: &'a Arc<Manifest>,
    stream: &'a StreamManifest,
    tree: MergedTree,
    ahead: Option<LiveEntry>,
    /// Packs that nothing may refer to.
    worn: BTreeSet<Id>,
    /// From then on, in seconds since 1970, a file's time does not prove that it is what the base read.
    unsure_from: Option<i64>,
    all_taught: bool,
}

impl<'a> BaseFiles<'a> {
    pub(super) fn new(
        vault: &'a Vault,
        base: &'a Arc<Manifest>,
        stream: &'a StreamManifest,
        bounds: &PathBounds,
        worn: BTreeSet<Id>,
    ) -> Self {
        let start = match &bounds.after {
            // A later part of a large file: no path to answer for, and one to compare with.
            Some(after) if bounds.until.as_ref() == Some(after) => PathStart::At(after.clone()),
            Some(after) => PathStart::After(after.clone()),
            None => PathStart::Beginning,
        };
        let span = PathSpan { start, until: bounds.until.clone() };
        let tree = MergedTree::new(vault, base, stream, span).with_chunks();
        let began: Option<jiff::Timestamp> = base.started_at.parse().ok();
        let unsure_from = began.map(|began| began.as_second() - TICK);
        Self { vault, base, stream, tree, ahead: None, worn, unsure_from, all_taught: false }
    }

    /// Whether an entry of the source is what the base holds, as far as that shows without its content.
    pub(super) fn is_unchanged(&self, held: &Held, meta: &EntryMeta) -> bool {
        let sure = match (&meta.kind, meta.mtime) {
            (EntryKind::Directory | EntryKind::Symlink { .. }, _) => true,
            (EntryKind::File, None) => false,
            (EntryKind::File, Some(_)) if meta.attributes.contains_key("etag") => true,
            (EntryKind::File, Some(mtime)) => self.unsure_from.is_some_and(|from| mtime.seconds < from),
        };
        // What was read for its chunks can no longer be counted: its digest tells in the end.
        sure && !held.is_read && held.first.entry.meta == *meta
    }

    async fn fill(&mut self) -> Result<()> {
        if self.ahead.is_none() {
            self.ahead = self.tree.next().await?;
        }
        Ok(())
    }

    /// The next path of the base.
    pub(super) async fn path(&mut self) -> Result<Option<Vec<u8>>> {
        self.fill().await?;
        Ok(self.ahead.as_ref().map(|live| live.entry.meta.path.clone()))
    }

    /// Passes over all parts of a path.
    pub(super) async fn skip(&mut self, path: &[u8]) -> Result<()> {
        while self.next_of(path).await?.is_some() {}
        Ok(())
    }

    async fn next_of(&mut self, path: &[u8]) -> Result<Option<LiveEntry>> {
        self.fill().await?;
        Ok(self.ahead.take_if(|live| live.entry.meta.path == path))
    }

    /// Takes the next path.
    pub(super) async fn hold(&mut self) -> Result<Option<Held>> {
        self.fill().await?;
        let digest = DigestSum::default();
        let held = |first| Held { first, rest: None, is_read: false, bytes: 0, digest, settled: false };
        Ok(self.ahead.take().map(held))
    }

    /// The next part of what is held, after the first.
    async fn next_part(&mut self, held: &mut Held) -> Result<Option<LiveEntry>> {
        match &mut held.rest {
            Some(rest) => Ok(rest.pop_front()),
            None => self.next_of(&held.first.entry.meta.path).await,
        }
    }

    /// Whether content of any part of a file stands in a worn pack.
    pub(super) async fn is_worn(&mut self, held: &mut Held) -> Result<bool> {
        if self.worn.is_empty() {
            return Ok(false);
        }
        if held.rest.is_none() {
            let mut rest = VecDeque::new();
            while let Some(live) = self.next_of(&held.first.entry.meta.path).await? {
                rest.push_back(live);
            }
            held.rest = Some(rest);
        }
        for live in std::iter::once(&held.first).chain(held.rest.iter().flatten()) {
            if self.tree.stands_in(live, &self.worn)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the parts of a file that stays as it is: its bytes and digests, and the entries into a new base if there
    /// is one.
    pub(super) async fn settle(&mut self, held: &mut Held, mut into: Option<&mut TreeWriter>) -> Result<()> {
        let mut next = (!held.is_read).then(|| held.first.clone());
        held.is_read = true;
        while let Some(live) = next {
            held.bytes += live.entry.part.length;
            held.digest.add(&live.entry.digest());
            if let Some(writer) = &mut into {
                let chunks = self.tree.chunk_places(&live).await?;
                writer.copy(live.entry, &chunks)?;
            }
            next = self.next_part(held).await?;
        }
        Ok(())
    }

    /// Tells a writer the chunks of a file that changed, those near a part of it.
    pub(super) async fn teach_file(
        &mut self,
        held: &mut Held,
        part: Part,
        writer: &mut TreeWriter,
    ) -> Result<()> {
        if !self.all_taught && !held.is_read {
            writer.forget_base();
        }
        let mut next = (!held.is_read).then(|| held.first.clone());
        held.is_read = true;
        while let Some(live) = next {
            let of = live.entry.part;
            let near = of.offset < part.offset.saturating_add(part.length)
                && part.offset < of.offset.saturating_add(of.length);
            if near && !self.all_taught {
                let places = self.tree.chunk_places(&live).await;
                teach(writer, &self.worn, places)?;
            }
            next = self.next_part(held).await?;
        }
        Ok(())
    }

    /// Tells a writer all chunks of the stream, once, where they fit memory: content that moved is then known.
    pub(super) async fn teach_all(&mut self, writer: &mut TreeWriter) -> Result<()> {
        let about = self.stream.bytes / CHUNK_AVERAGE as u64 + self.stream.files;
        if self.all_taught || about > CHUNKS_HELD {
            return Ok(());
        }
        self.all_taught = true;
        let all = MergedTree::new(self.vault, self.base, self.stream, PathSpan::default());
        let mut all = all.with_chunks();
        while let Some(live) = all.next().await? {
            if live.entry.part.length > 0 {
                let places = all.chunk_places(&live).await;
                teach(writer, &self.worn, places)?;
            }
        }
        Ok(())
    }
}

type Places = Vec<([u8; 16], holdfast_vault::write::ChunkPlace)>;

/// A chunk list that is lost or damaged costs space and nothing else: no restore needs it.
fn teach(
    writer: &mut TreeWriter,
    worn: &BTreeSet<Id>,
    places: std::result::Result<Places, Error>,
) -> Result<()> {
    match places {
        Ok(places) => {
            for (name, at) in places.into_iter().filter(|(_, at)| !worn.contains(&at.pack)) {
                writer.known_in_base(name, &at);
            }
            Ok(())
        }
        Err(error) if error.code.class() == Class::Damage => Ok(()),
        Err(error) => Err(error),
    }
}
