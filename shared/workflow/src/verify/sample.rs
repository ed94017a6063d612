//! What a sample reads: a part of all the places that ids of objects have, the next part each time.
//!
//! Ids are random, so that a part of the places is about as large a part of the objects. The parts follow one another
//! round a circle: of P percent, 100 / P of them go round it, and every object that was there all the time was read.

use serde::{Deserialize, Serialize};

/// Places on the circle: parts are as fine as a hundredth of a percent.
const PLACES: u32 = 10_000;

/// Some places that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The first place.
    from: u32,
    /// How many places.
    places: u32,
}

impl Part {
    /// So many percent of the places, from one on.
    pub(super) fn new(from: u32, percent: f64) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 10,000 once it is clamped"
        )]
        let places = (percent * f64::from(PLACES / 100)).ceil().clamp(1.0, f64::from(PLACES)) as u32;
        Self { from: from % PLACES, places }
    }

    /// The first place.
    pub(super) fn from(self) -> u32 {
        self.from
    }

    /// Where the next part begins.
    pub(super) fn next(self) -> u32 {
        (self.from + self.places) % PLACES
    }

    /// Whether an object of this id is among them.
    pub(super) fn holds(self, object: [u8; 16]) -> bool {
        let place = u32::try_from(u128::from_le_bytes(object) % u128::from(PLACES)).unwrap_or_default();
        (place + PLACES - self.from % PLACES) % PLACES < self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many samples read all: 100 / P, rounded up.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn samples(percent: f64) -> u32 {
        (100.0 / percent).ceil() as u32
    }

    proptest! {
        #[test]
        fn all_is_read_in_as_many_samples_as_it_takes(
            percent in 0.05_f64..=100.0,
            begun in 0_u32..PLACES,
            objects in prop::collection::vec(any::<[u8; 16]>(), 0..30),
        ) {
            let (mut from, mut read) = (begun, vec![0_u32; objects.len()]);
            for _ in 0..samples(percent) {
                let part = Part::new(from, percent);
                for (object, times) in objects.iter().zip(&mut read) {
                    *times += u32::from(part.holds(*object));
                }
                from = part.next();
            }
            prop_assert!(read.iter().all(|times| *times >= 1), "{read:?}");
            // Hardly more than once: what is read again is the overlap of the last part with the first.
            prop_assert!(read.iter().all(|times| *times <= 2), "{read:?}");
        }

        #[test]
        fn a_part_is_as_large_as_was_asked(percent in 0.01_f64..=100.0, begun in any::<u32>()) {
            let part = Part::new(begun, percent);
            let held = (0..PLACES).filter(|place| part.holds(u128::from(*place).to_le_bytes())).count();
            prop_assert_eq!(held, part.places as usize);
            prop_assert!(f64::from(part.places) >= percent * 100.0 - 1e-6);
            prop_assert!(f64::from(part.places) <= percent * 100.0 + 1.0 + 1e-6);
        }
    }

    #[test]
    fn whole_percents_go_round_exactly() {
        for percent in [1_u32, 2, 4, 5, 10, 20, 25, 50, 100] {
            let mut from = 0;
            for _ in 0..100 / percent {
                from = Part::new(from, f64::from(percent)).next();
            }
            assert_eq!(from, 0, "{percent}");
        }
    }
}
