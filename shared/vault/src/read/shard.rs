//! Parts of the space of key hashes: what does not fit memory as a whole is done shard by shard.

/// Key hashes between two, by their first 64 bits, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    first: u64,
    last: u64,
}

impl Shard {
    /// All key hashes.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// The `number`-th, from 0, of `of` shards of equal width that together hold all key hashes.
    #[must_use]
    pub fn new(number: u64, of: u64) -> Self {
        let width = u64::MAX / of.max(1);
        let last = if number + 1 >= of { u64::MAX } else { width * (number + 1) - 1 };
        Self { first: width * number, last }
    }

    /// How many shards are needed for so many rows, with at most so many rows in one, about.
    #[must_use]
    pub fn count(rows: u64, most: u64) -> u64 {
        rows.div_ceil(most.max(1)).max(1)
    }

    /// Whether a key hash is of this shard.
    #[must_use]
    pub fn holds(self, hash: u128) -> bool {
        let top = (hash >> 64) as u64;
        self.first <= top && top <= self.last
    }

    /// The first and the last hash of the shard.
    #[must_use]
    pub fn bounds(self) -> (u128, u128) {
        (u128::from(self.first) << 64, (u128::from(self.last) << 64) | u128::from(u64::MAX))
    }

    /// Whether this is the whole space.
    #[must_use]
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Which blocks, by their fences' first hashes, may hold hashes of the shard.
    pub(crate) fn blocks<'a>(
        self,
        mut fences: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> std::ops::Range<usize> {
        let count = fences.len();
        let from = fences.clone().position(|first| top_bits(first) >= self.first).unwrap_or(count);
        let until = fences.position(|first| top_bits(first) > self.last).unwrap_or(count);
        // The block before the first that begins in the shard may reach into it.
        from.saturating_sub(1)..until
    }
}

fn top_bits(hash: &[u8]) -> u64 {
    let mut top = [0_u8; 8];
    for (to, from) in top.iter_mut().zip(hash) {
        *to = *from;
    }
    u64::from_be_bytes(top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_hash_is_of_one_shard(hash: u128, of in 1_u64..50) {
            let held = (0..of).filter(|number| Shard::new(*number, of).holds(hash)).count();
            prop_assert_eq!(held, 1);
        }

        #[test]
        fn the_blocks_of_a_shard_hold_its_hashes(mut hashes: Vec<u128>, of in 1_u64..9, per in 1_usize..5) {
            hashes.sort_unstable();
            hashes.dedup();
            let blocks: Vec<&[u128]> = hashes.chunks(per).collect();
            let firsts: Vec<[u8; 16]> = blocks.iter().map(|b| b[0].to_be_bytes()).collect();
            for number in 0..of {
                let shard = Shard::new(number, of);
                let range = shard.blocks(firsts.iter().map(|f| &f[..]));
                for (at, block) in blocks.iter().enumerate() {
                    if block.iter().any(|hash| shard.holds(*hash)) {
                        prop_assert!(range.contains(&at));
                    }
                }
            }
        }
    }
}
