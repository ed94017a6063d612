//! What differs between two times, by the changes captured between them: the cost grows with the window alone.

use super::choice::StreamChoice;
use super::{Difference, Differences};
use crate::services::Services;
use holdfast_vault::error::Result;
use holdfast_vault::format::changes::{Change, Gap};
use holdfast_vault::model::StreamInfo;
use holdfast_vault::read::Shard;

/// What is known of a resource's captured changes.
pub(super) struct Coverage {
    pub(super) since: i64,
    pub(super) watermark: i64,
    pub(super) gaps: Vec<Gap>,
}

impl Coverage {
    /// Whether every change after `from` and up to `to` was captured.
    pub(super) fn covers(&self, from: i64, to: i64) -> bool {
        self.since <= from && to <= self.watermark && self.gap(from, to).is_none()
    }

    /// A gap in that time.
    pub(super) fn gap(&self, from: i64, to: i64) -> Option<&Gap> {
        self.gaps.iter().find(|gap| gap.from < to && from < gap.to)
    }
}

/// What was captured of a resource; `None` if nothing is.
pub(super) async fn coverage(_services: &Services, _resource: &str) -> Result<Option<Coverage>> {
    Ok(None)
}

async fn changes_in(
    _services: &Services,
    _resource: &str,
    _stream: &str,
    _window: (i64, i64),
    _shard: Shard,
) -> Result<Vec<Change>> {
    Ok(Vec::new())
}

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
    (from, to): (i64, i64),
    choice: &mut StreamChoice<'_>,
    out: &mut dyn Differences,
) -> Result<()> {
    let of = shards(services, resource, (from, to)).await?;
    for number in 0..of {
        let changes = changes_in(services, resource, &info.name, (from, to), Shard::new(number, of)).await?;
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

async fn shards(_services: &Services, _resource: &str, _window: (i64, i64)) -> Result<u64> {
    Ok(1)
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
