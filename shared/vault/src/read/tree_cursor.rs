//! One layer of a tree stream, read in order of paths: a block at a time, and chunk lists only where asked for.

use super::pack::PackReader;
use super::tree;
use super::tree_layers::PathSpan;
use crate::error::{Error, Result};
use crate::format::entry::{ChunkRef, DeltaEntry, take_chunks};
use crate::format::footer::{IndexSegment, Origin, Segment, TreeSegment};
use crate::format::manifest::{Layer, SegmentRef};
use crate::format::wire::Reader;
use crate::model::EntryKind;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a layer holds next.
pub(super) struct Head {
    pub(super) stored: DeltaEntry,
    pub(super) object: u32,
    pub(super) segment: Arc<TreeSegment>,
    /// How many files stand before it in its segment, if they are counted.
    pub(super) files_before: u64,
}

struct OpenSegment {
    object: u32,
    place: SegmentRef,
    described: Arc<TreeSegment>,
    block: usize,
    files: u64,
}

/// A place in one layer.
pub(super) struct LayerCursor {
    segments: VecDeque<SegmentRef>,
    open: Option<OpenSegment>,
    heads: VecDeque<Head>,
    lists: ChunkLists,
}

impl LayerCursor {
    /// At the beginning of what the span has of a layer.
    pub(super) fn new(layer: &Layer, span: &PathSpan) -> Self {
        let segments: VecDeque<SegmentRef> = layer
            .segments
            .iter()
            .filter(|segment| span.reaches(&segment.first, &segment.last))
            .cloned()
            .collect();
        let first = segments.front().map_or("", |segment| segment.first.as_str());
        let last = segments.back().map_or("", |segment| segment.last.as_str());
        let near = |list: &&SegmentRef| list.first.as_str() >= first && list.first.as_str() <= last;
        let refs = layer.index.iter().filter(near).cloned().collect();
        let lists = ChunkLists { refs, open: None, block: None };
        Self { segments, open: None, heads: VecDeque::new(), lists }
    }

    pub(super) fn path(&self) -> Option<&[u8]> {
        self.heads.front().map(|head| head.stored.path())
    }

    pub(super) fn pop(&mut self) -> Option<Head> {
        self.heads.pop_front()
    }

    /// Reads on until something of the span is at hand, or there is nothing more. With `counted` segments are read
    /// from their beginning, so that the chunk lists of their files can be told apart.
    pub(super) async fn fill(
        &mut self,
        reader: &mut PackReader,
        span: &PathSpan,
        counted: bool,
    ) -> Result<()> {
        while self.heads.is_empty() {
            let Some(open) = &mut self.open else {
                let Some(place) = self.segments.pop_front() else { return Ok(()) };
                self.open = Some(begin(reader, place, span, counted).await?);
                continue;
            };
            let Some(fence) = open.described.index.fences.get(open.block) else {
                self.open = None;
                continue;
            };
            if span.ends_before(&fence.first) {
                self.open = None;
                self.segments.clear();
                return Ok(());
            }
            let block = tree::delta_entries(reader, &open.place, &open.described, open.block).await?;
            open.block += 1;
            for stored in block {
                let files_before = open.files;
                if let DeltaEntry::Entry(entry) = &stored {
                    open.files += u64::from(matches!(entry.meta.kind, EntryKind::File));
                }
                if span.holds(stored.path()) {
                    let (object, segment) = (open.object, open.described.clone());
                    self.heads.push_back(Head { stored, object, segment, files_before });
                }
            }
        }
        Ok(())
    }

    /// The chunk list of a file that this layer gave, in the order in which it gave them.
    pub(super) async fn chunks(
        &mut self,
        reader: &mut PackReader,
        origin: Origin,
        files_before: u64,
    ) -> Result<Option<Vec<ChunkRef>>> {
        self.lists.of(reader, origin, files_before).await
    }
}

async fn begin(
    reader: &mut PackReader,
    place: SegmentRef,
    span: &PathSpan,
    counted: bool,
) -> Result<OpenSegment> {
    let described = tree::segment(reader, &place).await?;
    let skipped = described.index.fences.partition_point(|fence| span.begins_behind(&fence.first));
    let block = if counted { 0 } else { skipped.saturating_sub(1) };
    Ok(OpenSegment { object: place.object, place, described: Arc::new(described), block, files: 0 })
}

struct OpenLists {
    object: u32,
    origin: Origin,
    described: IndexSegment,
}

/// The chunk lists of a layer's files, from where they are first asked for.
struct ChunkLists {
    refs: VecDeque<SegmentRef>,
    open: Option<OpenLists>,
    block: Option<(usize, Vec<Vec<ChunkRef>>)>,
}

impl ChunkLists {
    async fn of(
        &mut self,
        reader: &mut PackReader,
        origin: Origin,
        mut place: u64,
    ) -> Result<Option<Vec<ChunkRef>>> {
        if !self.find(reader, origin).await? {
            return Ok(None);
        }
        let Some(open) = &self.open else { return Ok(None) };
        for (at, fence) in open.described.index.fences.iter().enumerate() {
            let count = u64::from(fence.count);
            if place >= count {
                place -= count;
                continue;
            }
            if self.block.as_ref().is_none_or(|(kept, _)| *kept != at) {
                self.block = Some((at, read_lists(reader, open, at).await?));
            }
            let at = usize::try_from(place).unwrap_or(usize::MAX);
            return Ok(self.block.as_ref().and_then(|(_, lists)| lists.get(at).cloned()));
        }
        Err(Error::damaged(reader.key(open.object)?, "it has fewer chunk lists than its tree has files"))
    }

    /// Opens the lists of a tree segment; the segments of both kinds come in the order of their origins.
    async fn find(&mut self, reader: &mut PackReader, origin: Origin) -> Result<bool> {
        if self.open.as_ref().is_some_and(|open| open.origin == origin) {
            return Ok(true);
        }
        while let Some(place) = self.refs.front() {
            let object = place.object;
            let key = reader.key(object)?;
            let segments = &reader.footer(object).await?.segments;
            let Some(Segment::Chunks(described)) = segments.get(place.segment as usize) else {
                let why = format!("segment {} holds no chunk lists", place.segment);
                return Err(Error::damaged(key, why));
            };
            let described = described.clone();
            if described.origin > origin {
                return Ok(false);
            }
            self.refs.pop_front();
            if described.origin == origin {
                self.block = None;
                self.open = Some(OpenLists { object, origin, described });
                return Ok(true);
            }
        }
        Ok(false)
    }
}

async fn read_lists(reader: &mut PackReader, open: &OpenLists, at: usize) -> Result<Vec<Vec<ChunkRef>>> {
    let index = &open.described.index;
    let key = reader.key(open.object)?;
    let malformed = || Error::damaged(&key, "a block of chunk lists is malformed");
    let fence = index.fences.get(at).ok_or_else(malformed)?;
    let number = index.first_block + u32::try_from(at).unwrap_or(u32::MAX);
    let plain = reader.block(open.object, number).await?;
    let mut bytes = Reader::new(&plain);
    let mut lists = Vec::with_capacity((fence.count as usize).min(plain.len()));
    for _ in 0..fence.count {
        lists.push(take_chunks(&mut bytes).ok_or_else(malformed)?);
    }
    if bytes.is_empty() { Ok(lists) } else { Err(malformed()) }
}
