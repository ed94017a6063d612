//! Checks a tree segment: order, content, and what its footer says.

use super::pack::PackReader;
use super::tree;
use crate::crypto::DigestSum;
use crate::error::{Error, Result};
use crate::format::entry::DeltaEntry;
use crate::format::footer::TreeSegment;
use crate::format::manifest::SegmentRef;

pub(super) async fn tree_segment(
    reader: &mut PackReader,
    place: &SegmentRef,
    segment: &TreeSegment,
) -> Result<()> {
    let key = reader.key(place.object)?;
    let (mut digest, mut files, mut bytes, mut deleted) = (DigestSum::default(), 0, 0, 0);
    let mut last: Option<(Vec<u8>, u64)> = None;
    for at in 0..segment.index.fences.len() {
        for stored in tree::delta_entries(reader, place, segment, at).await? {
            // Behind a tombstone nothing of its path may come; before it neither.
            let (next, end) = match &stored {
                DeltaEntry::Entry(entry) => (entry.part.offset, entry.part.offset),
                DeltaEntry::Tombstone(_) => (0, u64::MAX),
            };
            let follows = |last: &(Vec<u8>, u64)| (last.0.as_slice(), last.1) < (stored.path(), next);
            if !last.as_ref().is_none_or(follows) {
                return Err(Error::damaged(key, "its tree entries are out of order"));
            }
            last = Some((stored.path().to_vec(), end));
            let DeltaEntry::Entry(entry) = stored else {
                deleted += 1;
                continue;
            };
            digest.add(&entry.digest());
            files += u64::from(entry.part.offset == 0);
            bytes += entry.part.length;
            let mut content = tree::EntryContent::new(reader, place.object, segment, &entry);
            while content.next().await?.is_some() {}
        }
    }
    let right = digest == segment.digest
        && (files, bytes) == (segment.files, segment.bytes)
        && deleted == segment.delta.map_or(0, |delta| delta.deleted)
        && last.is_none_or(|(path, _)| path == segment.last);
    if right {
        return Ok(());
    }
    Err(Error::damaged(key, "its tree entries do not add up to what its footer says"))
}
