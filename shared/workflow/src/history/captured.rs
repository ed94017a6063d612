//! What differs between two times, by the changes captured between them: the cost grows with the window alone.

use super::choice::StreamChoice;
use super::{Difference, Differences};
use crate::capture::log::changes_in;
use crate::services::Services;
use holdfast_vault::error::Result;
use holdfast_vault::format::changes::Change;
use holdfast_vault::model::StreamInfo;
use holdfast_vault::read::changes::list;
use jiff::Timestamp;

/// Stored bytes of changes in one shard, about; in memory they are up to ten times as many.
const SHARD_BYTES: u64 = 8 << 20;
/// Differences handed on together.
const TOGETHER: usize = 4_096;

/// Hands on what differs after `from` and up to `to`, and is chosen.
///
/// # Errors
/// What the vault or `out` gives.
pub(super) async fn differences(
    services: &Services,
    resource: &str,
    info: &StreamInfo,
    (from, to): (Timestamp, Timestamp),
    choice: &mut StreamChoice<'_>,
    out: &mut dyn Differences,
) -> Result<()> {
    let of = shards(services, resource, (from, to)).await?;
    for number in 0..of {
        let changes = changes_in(services, resource, &info.name, from, to, shard(number, of)).await?;
        let mut batch = Vec::new();
        for difference in Net::new(changes) {
            if choice.takes(&difference)? {
                batch.push(difference);
            }
            if batch.len() >= TOGETHER {
                out.take(info, std::mem::take(&mut batch)).await?;
            }
        }
        if !batch.is_empty() {
            out.take(info, batch).await?;
        }
    }
    Ok(())
}

/// In how many shards of the key hash the changes are read, so that those of one fit memory.
async fn shards(services: &Services, resource: &str, (from, to): (Timestamp, Timestamp)) -> Result<u128> {
    let objects = list(&services.vault, resource, from.as_millisecond(), to.as_millisecond()).await?;
    let stored: u64 = objects.iter().map(|(_, size)| size).sum();
    Ok(u128::from(stored.div_ceil(SHARD_BYTES).max(1)))
}

/// The first and the last key hash of a shard.
fn shard(number: u128, of: u128) -> (u128, u128) {
    let width = u128::MAX / of;
    let last = if number + 1 == of { u128::MAX } else { width * (number + 1) - 1 };
    (width * number, last)
}

/// What is left of changes in order, record by record: from the value before the first to the value after the last.
struct Net(std::iter::Peekable<std::vec::IntoIter<Change>>);

impl Net {
    fn new(changes: Vec<Change>) -> Self {
        Self(changes.into_iter().peekable())
    }
}

impl Iterator for Net {
    type Item = Difference;

    fn next(&mut self) -> Option<Difference> {
        loop {
            let first = self.0.next()?;
            let mut after = first.after;
            while let Some(next) = self.0.next_if(|next| next.key == first.key) {
                after = next.after;
            }
            if first.before != after {
                return Some(Difference { key: first.key, before: first.before, after });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_history_comes_down_to_its_ends(writes in proptest::collection::vec((0..6_u8, 0..4_u8), 0..60)) {
            let value = |value: u8| (value > 0).then(|| vec![value]);
            let (mut now, mut changes): (BTreeMap<u8, u8>, Vec<Change>) = (BTreeMap::new(), Vec::new());
            for (number, (key, new)) in writes.iter().enumerate() {
                let old = now.insert(*key, *new).unwrap_or(0);
                changes.push(Change {
                    hash: [*key; 16], time: 0, sequence: number.to_string(), key: vec![*key],
                    before: value(old), after: value(*new),
                });
            }
            changes.sort_by(Change::order);
            let net: Vec<Difference> = Net::new(changes).collect();
            let expected: Vec<Difference> = now
                .iter()
                .filter(|(_, new)| **new > 0)
                .map(|(key, new)| Difference { key: vec![*key], before: None, after: value(*new) })
                .collect();
            prop_assert_eq!(net, expected);
        }
    }
}
