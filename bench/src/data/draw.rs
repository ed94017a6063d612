//! Numbers that look random and follow from a seed alone: integers only, so the same on every machine.

/// The step of `SplitMix64`.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The sequence that begins with this state.
    pub(crate) const fn new(state: u64) -> Self {
        Self(state)
    }

    /// The sequence of one thing, by its family, its number in it and its variant.
    pub(crate) const fn of(family: u64, number: u64, variant: u64) -> Self {
        Self(hash(family, number, variant))
    }

    /// The next 64 bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        scramble(self.0)
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(end);
        // The high half of the product: always less than `end`, so it always fits.
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `first` to `last`, with both.
    pub(crate) fn within(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// A number less than `end`, mostly a small one: as words are in a text.
    pub(crate) fn skewed(&mut self, end: u64) -> u64 {
        let factors = [self.below(end), self.below(end), self.below(end)];
        factors[0] * factors[1] / end * factors[2] / end
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[index(self.below(list.len() as u64))]
    }

    /// Bytes that do not compress. A sequence of calls gives the same as one call, if all but the last lengths are
    /// multiples of eight.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let drawn = self.bits().to_le_bytes();
            piece.copy_from_slice(&drawn[..piece.len()]);
        }
    }
}

/// A number as an index: what is drawn here is always far below the limit.
pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The lower 32 bits.
pub(crate) const fn low(bits: u64) -> u64 {
    bits & 0xffff_ffff
}

/// One number out of three.
pub(crate) const fn hash(family: u64, number: u64, variant: u64) -> u64 {
    let first = scramble(family.wrapping_add(STEP));
    let second = scramble(first ^ number);
    scramble(second.wrapping_add(variant.wrapping_mul(STEP)))
}

/// The finalizer of `SplitMix64`.
const fn scramble(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
