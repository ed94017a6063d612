//! Exports a tree on a base: what is unchanged is not read, what is gone is told, and content that the base holds is
//! not stored again.

use super::StagedObjects;
use super::seen::Seen;
use async_trait::async_trait;
use base_files::{BaseFiles, Held};
use holdfast_common::jobs::Totals;
use holdfast_connectors::{Flow, PathBounds, TreeSink, Want};
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::Result;
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::header::Id;
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::{EntryKind, EntryMeta, Part, Warning};
use holdfast_vault::read::Vault;
use holdfast_vault::write::{Change, FinishedObject, TreeLimits, TreeWriter};
use std::collections::BTreeSet;
use std::sync::Arc;

mod base_files;

/// Takes the objects that a step finishes.
#[async_trait]
pub trait ObjectSink: Send {
    /// Stores one.
    ///
    /// # Errors
    /// `Storage*`.
    async fn put(&mut self, object: FinishedObject) -> Result<()>;
}

#[async_trait]
impl ObjectSink for StagedObjects<'_> {
    async fn put(&mut self, object: FinishedObject) -> Result<()> {
        StagedObjects::put(self, object).await
    }
}

/// What a tree is compared with, and how what differs is written.
pub struct TreeBase<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// The backup that is built on.
    pub base: &'a Arc<Manifest>,
    /// Its stream.
    pub stream: &'a StreamManifest,
    /// Which paths the range answers for, from the cursor on.
    pub bounds: PathBounds,
    /// Whether all is written, as a new base, and not only what changed.
    pub compact: bool,
    /// Packs of the base that nothing may refer to: what they hold is stored again.
    pub worn: BTreeSet<Id>,
    /// The first segment.
    pub first: Origin,
    /// How blocks are compressed.
    pub codec: Codec,
    /// How packs are cut.
    pub limits: TreeLimits,
    /// Bytes of content after which the sink has enough.
    pub step_bytes: u64,
}

/// What a step saw and wrote.
#[derive(Debug)]
pub struct TreeStep {
    /// The number of the next segment.
    pub next_sequence: u32,
    /// What stands in the source, read or not.
    pub totals: Totals,
    /// The same, with the sum of digests.
    pub seen: Seen,
    /// What the operator should see.
    pub warnings: Vec<Warning>,
}

/// The entry that is open.
enum Current {
    /// The base holds it. The first part answers for all.
    Known {
        first: bool,
    },
    Written {
        part: Part,
        size: u64,
    },
}

/// Files, bytes and digests of what stands in the source.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    digest: DigestSum,
}

/// Takes the entries of a range and writes those that differ from the base, and tombstones for what is gone.
pub struct TreeDelta<'a> {
    base: BaseFiles<'a>,
    bounds: PathBounds,
    compact: bool,
    writer: TreeWriter,
    out: &'a mut dyn ObjectSink,
    budget: u64,
    /// What the base holds at the path where the source is.
    held: Option<Held>,
    current: Option<Current>,
    read: u64,
    tally: Tally,
    warnings: Vec<Warning>,
}

impl<'a> TreeDelta<'a> {
    /// A sink for one step of a task.
    ///
    /// # Errors
    /// `KeyMissing`, or `Internal` if the codec cannot start.
    pub fn new(of: TreeBase<'a>, out: &'a mut dyn ObjectSink) -> Result<Self> {
        let (version, keys) = (of.base.name_key_version, of.vault.keys());
        let writer = TreeWriter::on_base(keys, of.codec, of.first, of.limits, version, !of.compact)?;
        Ok(Self {
            base: BaseFiles::new(of.vault, of.base, of.stream, &of.bounds, of.worn),
            bounds: of.bounds,
            compact: of.compact,
            writer,
            out,
            budget: of.step_bytes,
            held: None,
            current: None,
            read: 0,
            tally: Tally::default(),
            warnings: Vec::new(),
        })
    }

    /// Ends the step; `ended` says that the source has nothing more in the range, so that what the base holds in the
    /// rest of it is gone.
    ///
    /// # Errors
    /// `Object*` where the base cannot be read, or what storing gives.
    pub async fn finish_step(mut self, ended: bool) -> Result<TreeStep> {
        if ended {
            self.advance(None).await?;
        }
        self.writer.finish()?;
        self.store().await?;
        let Tally { files, bytes, digest } = self.tally;
        Ok(TreeStep {
            next_sequence: self.writer.next_sequence(),
            totals: Totals { files, bytes, ..Totals::default() },
            seen: Seen { files, bytes, digest: hex::encode(digest.to_bytes()), ..Seen::default() },
            warnings: self.warnings,
        })
    }

    async fn store(&mut self) -> Result<()> {
        for object in self.writer.take_finished() {
            self.out.put(object).await?;
        }
        Ok(())
    }

    /// Goes on in the base to a path, or to the end; what is passed over is gone.
    async fn advance(&mut self, to: Option<&[u8]>) -> Result<()> {
        if self.held.as_ref().is_some_and(|held| Some(held.path()) == to) {
            return Ok(());
        }
        if let Some(held) = self.held.take() {
            self.base.skip(held.path()).await?;
            // An entry that began and then vanished leaves its base behind.
            if !held.settled {
                self.gone(held.path()).await?;
            }
        }
        while let Some(path) = self.base.path().await? {
            match to {
                Some(to) if path.as_slice() > to => break,
                Some(to) if path == to => {
                    self.held = self.base.hold().await?;
                    break;
                }
                _ => {
                    self.base.skip(&path).await?;
                    self.gone(&path).await?;
                }
            }
        }
        Ok(())
    }

    async fn gone(&mut self, path: &[u8]) -> Result<()> {
        let answered = self.bounds.after.as_deref().is_none_or(|after| path > after);
        if answered && !self.compact {
            self.writer.tombstone(path)?;
            self.store().await?;
        }
        Ok(())
    }

    /// Tells the writer what the base holds of the content that is about to come.
    async fn learn(&mut self, part: Part) -> Result<()> {
        match &mut self.held {
            Some(held) => self.base.teach_file(held, part, &mut self.writer).await,
            None => self.base.teach_all(&mut self.writer).await,
        }
    }

    /// Counts a file that the base holds as it is, and takes it over where all is written.
    async fn keep(&mut self) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        self.base.settle(held, self.compact.then_some(&mut self.writer)).await?;
        self.tally.files += 1;
        self.tally.bytes += held.bytes;
        self.tally.digest.merge(&held.digest);
        Ok(())
    }
}

#[async_trait]
impl TreeSink for TreeDelta<'_> {
    async fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<Want> {
        self.advance(Some(&meta.path)).await?;
        let stays = match &mut self.held {
            Some(held) => self.base.is_unchanged(held, &meta) && !self.base.is_worn(held).await?,
            None => false,
        };
        if stays {
            self.current = Some(Current::Known { first: part.offset == 0 });
            return Ok(Want::Nothing);
        }
        let content = matches!(meta.kind, EntryKind::File) && part.length > 0;
        if content {
            self.learn(part).await?;
        }
        let change = if self.held.is_some() { Change::Changed } else { Change::Added };
        self.current = Some(Current::Written { part, size: meta.size });
        self.writer.begin_as(change, meta, part)?;
        Ok(if content { Want::Content } else { Want::Nothing })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write(bytes)?;
        self.store().await
    }

    async fn finish(&mut self) -> Result<Flow> {
        match self.current.take() {
            Some(Current::Known { first: true }) => self.keep().await?,
            Some(Current::Known { first: false }) | None => {}
            Some(Current::Written { part, size }) => {
                // A file that was read to be sure, and is what it was. Parts cannot be left out one by one.
                let whole = part.offset == 0 && part.length == size && !self.compact;
                let known = self.held.as_ref().and_then(Held::only_digest).filter(|_| whole);
                let ended = self.writer.end_unless(known.as_ref())?;
                self.tally.files += u64::from(part.offset == 0);
                self.tally.bytes += part.length;
                self.tally.digest.add(&ended.digest);
                self.read += part.length;
            }
        }
        if let Some(held) = &mut self.held {
            held.settled = true;
        }
        self.store().await?;
        Ok(if self.read >= self.budget { Flow::Enough } else { Flow::More })
    }

    fn abandon(&mut self) {
        self.current = None;
        self.writer.abandon();
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }

    fn knows_most(&self) -> bool {
        true
    }
}
