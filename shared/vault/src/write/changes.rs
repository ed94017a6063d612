//! Writes captured changes: one object a batch, and larger ones that gather many.

use super::{BLOCK_LEN, FinishedObject, ObjectWriter};
use crate::compress::{Codec, Compressor};
use crate::error::{Code, Error, Result};
use crate::format::changes::{Change, ChangeName, ChangesDescription};
use crate::format::footer::{BlockIndex, ChangeSegment, Fence, Origin, Segment};
use crate::format::header::ObjectKind;
use crate::keys::KeyRing;
use std::cmp::Ordering;

/// Seals the changes of one stream into an object, sorted, each once.
///
/// Without changes the object holds only what its description says; its name then has the times of the gaps, or of
/// `since` where there are none.
///
/// # Errors
/// `KeyMissing`, or `Internal` if sealing fails.
pub fn write_changes(
    keys: &KeyRing,
    codec: Codec,
    folder: [u8; 16],
    level: u8,
    description: &ChangesDescription,
    changes: Vec<Change>,
) -> Result<(ChangeName, FinishedObject)> {
    write_segments(keys, codec, folder, level, vec![(description.clone(), changes)])
}

/// Seals the changes of several streams into an object, a segment each.
///
/// # Errors
/// `KeyMissing`, or `Internal` if there is no segment or sealing fails.
pub fn write_segments(
    keys: &KeyRing,
    codec: Codec,
    folder: [u8; 16],
    level: u8,
    segments: Vec<(ChangesDescription, Vec<Change>)>,
) -> Result<(ChangeName, FinishedObject)> {
    let mut object = ObjectWriter::new(keys, ObjectKind::Changes)?;
    let mut compressor = Compressor::new(codec)?;
    let mut span: Option<(i64, i64)> = None;
    for (number, (description, changes)) in (0_u32..).zip(segments) {
        let times = write_segment(&mut object, &mut compressor, number, &description, changes)?;
        span = Some(span.map_or(times, |(from, to)| (from.min(times.0), to.max(times.1))));
    }
    let (from, to) =
        span.ok_or_else(|| Error::new(Code::Internal, "an object of changes without streams"))?;
    let object = object.finish()?;
    Ok((ChangeName { folder, from: from.max(0), to: to.max(0), level, object: object.id }, object))
}

/// Writes a segment and gives the times of its earliest and its latest change.
fn write_segment(
    object: &mut ObjectWriter,
    compressor: &mut Compressor,
    number: u32,
    description: &ChangesDescription,
    mut changes: Vec<Change>,
) -> Result<(i64, i64)> {
    changes.sort_by(Change::order);
    changes.dedup_by(|next, kept| next.order(kept) == Ordering::Equal);
    let mut index = BlockIndex { first_block: object.next_block(), fences: Vec::new() };
    let mut block = Vec::new();
    let mut fence: Option<Fence> = None;
    for change in &changes {
        change.encode(&mut block);
        fence.get_or_insert_with(|| Fence { first: change.hash.to_vec(), count: 0 }).count += 1;
        if block.len() >= BLOCK_LEN {
            object.block(compressor, &block)?;
            index.fences.extend(fence.take());
            block.clear();
        }
    }
    if !block.is_empty() {
        object.block(compressor, &block)?;
        index.fences.extend(fence.take());
    }
    let (from, to) = span(description, &changes);
    let json = serde_json::to_vec(description)
        .map_err(|e| Error::new(Code::Internal, format!("a description has no JSON form: {e}")))?;
    object.segment(Segment::Changes(ChangeSegment {
        origin: Origin { stream: 0, task: 0, sequence: number },
        description: json,
        from,
        to,
        last: changes.last().map_or_else(Vec::new, |change| change.hash.to_vec()),
        index,
    }));
    Ok((from, to))
}

fn span(description: &ChangesDescription, changes: &[Change]) -> (i64, i64) {
    let times = || changes.iter().map(|change| change.time);
    if let (Some(from), Some(to)) = (times().min(), times().max()) {
        return (from, to);
    }
    let gaps = || description.gaps.iter();
    let from = gaps().map(|gap| gap.from).min().unwrap_or(description.since);
    (from, gaps().map(|gap| gap.to).max().unwrap_or(description.since).max(from))
}
