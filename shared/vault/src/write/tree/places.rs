//! Where chunks stand: in the packs of a writer, or in older ones.

use super::index32;
use crate::format::entry::Extent;
use crate::format::header::Id;
use std::collections::HashMap;

/// Where a chunk of an earlier backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The pack.
    pub pack: Id,
    /// The block of the pack.
    pub block: u32,
    /// Where in the plain block.
    pub offset: u32,
    /// Bytes; at least 1.
    pub length: u32,
}

/// Where a chunk stands: in which of a writer's [`Packs`], and in which of the pack's slots.
///
/// A slot is a block before it has its number: two blocks fill side by side, one for data that compresses and one for
/// data that does not, and a block is numbered when it is sealed. In an older pack slots are blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) pack: u32,
    pub(super) slot: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Place {
    /// Whether the other one begins where this one ends.
    pub(super) fn is_followed_by(&self, next: &Self) -> bool {
        self.pack == next.pack && self.slot == next.slot && self.offset + self.length == next.offset
    }
}

/// The packs that a writer's places name, by number.
#[derive(Default)]
pub(super) struct Packs {
    ids: Vec<Id>,
    /// For each pack of the writer's own: the block numbers of its slots.
    slots: Vec<Option<Vec<u32>>>,
    older: HashMap<Id, u32>,
}

impl Packs {
    /// Adds a pack that the writer begins.
    pub(super) fn begin(&mut self, id: Id) -> u32 {
        self.ids.push(id);
        self.slots.push(Some(Vec::new()));
        index32(self.ids.len() - 1)
    }

    /// The place of a chunk in an older pack.
    pub(super) fn older(&mut self, at: &ChunkPlace) -> Place {
        let next = index32(self.ids.len());
        let pack = *self.older.entry(at.pack).or_insert(next);
        if pack == next {
            self.ids.push(at.pack);
            self.slots.push(None);
        }
        Place { pack, slot: at.block, offset: at.offset, length: at.length }
    }

    /// A slot for a block that is not sealed yet.
    pub(super) fn reserve(&mut self, pack: u32) -> u32 {
        let Some(Some(slots)) = self.slots.get_mut(pack as usize) else { return u32::MAX };
        slots.push(u32::MAX);
        index32(slots.len() - 1)
    }

    /// Gives a slot its block's number.
    pub(super) fn seal(&mut self, pack: u32, slot: u32, block: u32) {
        let slots = self.slots.get_mut(pack as usize).and_then(Option::as_mut);
        if let Some(number) = slots.and_then(|slots| slots.get_mut(slot as usize)) {
            *number = block;
        }
    }

    fn block(&self, place: &Place) -> u32 {
        match &self.slots[place.pack as usize] {
            Some(slots) => slots[place.slot as usize],
            None => place.slot,
        }
    }
}

/// The packs that the extents of one segment name: 0 is the segment's own.
pub(super) struct PackTable {
    own: u32,
    others: Vec<u32>,
    numbers: HashMap<u32, u32>,
}

impl PackTable {
    pub(super) fn new(own: u32) -> Self {
        Self { own, others: Vec::new(), numbers: HashMap::new() }
    }

    pub(super) fn extent(&mut self, place: &Place, packs: &Packs) -> Extent {
        let pack = if place.pack == self.own {
            0
        } else {
            let next = index32(self.others.len() + 1);
            let number = *self.numbers.entry(place.pack).or_insert(next);
            if number == next {
                self.others.push(place.pack);
            }
            number
        };
        Extent { pack, block: packs.block(place), offset: place.offset, length: place.length }
    }

    pub(super) fn ids(&self, packs: &Packs) -> Vec<Id> {
        self.others.iter().map(|at| packs.ids[*at as usize]).collect()
    }
}
