//! Which keys may differ between two sets of layers, by their state rows alone.

use holdfast_vault::read::state::StateRow;

/// A state row, and the hash of its key in the backup that holds it: another than the row's where the backups hash
/// keys under different versions of the vault key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// The row, by the hash that both sides share.
    pub(super) state: StateRow,
    /// The key's hash in its own backup.
    pub(super) own: u128,
}

/// A key that may differ, by its hash on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// In the earlier backup.
    pub(super) from: u128,
    /// In the later one.
    pub(super) to: u128,
}

/// The keys whose rows are not the same on both sides, in the order of the rows. Where layers below are `shared`, a key
/// that one side has no row of stands in them, or nowhere: values decide then.
pub(super) fn candidates(from: &[Row], to: &[Row], shared: bool) -> Vec<Candidate> {
    let (mut found, mut a, mut b) = (Vec::new(), from.iter().peekable(), to.iter().peekable());
    loop {
        let next = [a.peek(), b.peek()].into_iter().flatten().map(|row| row.state.hash).min();
        let Some(hash) = next else { return found };
        let old = a.next_if(|row| row.state.hash == hash);
        let new = b.next_if(|row| row.state.hash == hash);
        let differs = match (old, new) {
            (Some(old), Some(new)) => old.state != new.state,
            (Some(row), None) | (None, Some(row)) => shared || !row.state.is_tombstone(),
            (None, None) => false,
        };
        if differs {
            let own = |row: Option<&Row>| row.map_or(hash, |row| row.own);
            found.push(Candidate { from: own(old), to: own(new) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn rows(of: &BTreeMap<u128, u8>) -> Vec<Row> {
        let row = |(hash, digest): (&u128, &u8)| Row {
            state: StateRow { hash: *hash, digest: [*digest; 16] },
            own: *hash,
        };
        of.iter().map(row).collect()
    }

    fn states() -> impl Strategy<Value = BTreeMap<u128, u8>> {
        proptest::collection::btree_map(0..20_u128, 0..4_u8, 0..20)
    }

    proptest! {
        /// A digest of zeros is a tombstone.
        #[test]
        fn what_differs_is_among_them(base in states(), from in states(), to in states()) {
            let merged = |above: &BTreeMap<u128, u8>, base: &BTreeMap<u128, u8>| {
                let mut all = base.clone();
                all.extend(above);
                all.retain(|_, digest| *digest != 0);
                all
            };
            for base in [base, BTreeMap::new()] {
                let found = candidates(&rows(&from), &rows(&to), !base.is_empty());
                let found: BTreeSet<u128> = found.into_iter().map(|found| found.from).collect();
                let (old, new) = (merged(&from, &base), merged(&to, &base));
                for hash in 0..20_u128 {
                    if old.get(&hash) != new.get(&hash) {
                        prop_assert!(found.contains(&hash));
                    } else if base.is_empty() {
                        prop_assert!(!found.contains(&hash));
                    }
                }
            }
        }
    }
}
