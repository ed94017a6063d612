//! How far a batch brings the capture: since when, up to when, and what is missing in between.

use super::events::Tail;
use holdfast_common::jobs::{CaptureRow, Held};
use holdfast_connectors::dynamodb::StreamName;
use holdfast_vault::format::changes::{Change, Gap, compare_sequences};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::collections::HashSet;

/// How long the service keeps a record, and one hour: what it could not hand over until then is lost.
const KEPT_MS: i64 = 25 * 3_600_000;
/// Records that are held up, at most; more are held up by the earliest of them.
const HELD: usize = 100;

/// What a batch changes in the row. All times are in milliseconds since 1970.
pub(super) struct Progress {
    since: i64,
    gap: Option<Gap>,
    label: String,
    taken: HashSet<String>,
    newest: Option<i64>,
    last_change: Option<i64>,
    last_sequence: Option<String>,
    held: Option<Held>,
    written: Option<Written>,
    now: i64,
}

/// The object that the batch became.
struct Written {
    key: String,
    follows: Vec<String>,
}

impl Progress {
    /// What follows from the changes of a batch that could be taken, after what the row knows.
    pub(super) fn of(
        row: Option<&CaptureRow>,
        stream: &StreamName,
        tail: Option<&Tail>,
        changes: &[Change],
        now: i64,
    ) -> Self {
        let times = || changes.iter().map(|change| change.time);
        let complete_from = match tail {
            Some(tail) => tail.complete_from,
            // The service may have begun in the middle of the first record's second.
            None => times().min().map_or(now, |time| if time % 1000 == 0 { time + 1000 } else { time }),
        };
        let last_change = times().max();
        // In the millisecond of the last change there may be more of them.
        let newest = tail.and_then(|tail| tail.up_to).or_else(|| last_change.map(|time| time - 1));
        let reason = row.and_then(|row| broken(row, stream, tail));
        let gap = reason.zip(row).filter(|_| tail.is_some() || !changes.is_empty()).map(|(reason, row)| {
            let from = row.watermark();
            Gap { from, to: complete_from.max(from), reason: reason.to_owned() }
        });
        let sequences = changes.iter().map(|change| &change.sequence);
        Self {
            since: row.map_or(complete_from, |row| row.since),
            gap,
            label: stream.label.clone(),
            taken: sequences.clone().cloned().collect(),
            newest,
            last_change,
            last_sequence: sequences.max_by(|one, other| compare_sequences(one, other)).cloned(),
            held: None,
            written: None,
            now,
        }
    }

    pub(super) fn since(&self) -> i64 {
        self.since
    }

    pub(super) fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    /// The batch has become an object, which names the ones that it follows.
    pub(super) fn written(&mut self, key: String, follows: Vec<String>) {
        self.written = Some(Written { key, follows });
    }

    /// A record could not be taken: nothing from it on is complete until it is.
    pub(super) fn refuse(&mut self, sequence: &str, time: Option<i64>) {
        self.newest = self.last_change.map(|time| time - 1);
        let time = time.or(self.last_change).unwrap_or(self.since);
        self.held = Some(Held { sequence: sequence.to_owned(), time });
    }

    /// Changes the row. Applied again it changes only the counts.
    pub(super) fn apply(&self, row: &mut CaptureRow) {
        if row.objects == 0 {
            (row.since, row.newest) = (self.since, self.since);
        }
        row.add_label(&self.label);
        if let Some(gap) = &self.gap {
            row.add_gap(gap.clone());
        }
        row.newest = row.newest.max(self.newest.unwrap_or(row.newest));
        row.last_change = row.last_change.max(self.last_change);
        if let Some(last) = &self.last_sequence
            && row.last_sequence.as_ref().is_none_or(|known| compare_sequences(known, last).is_lt())
        {
            row.last_sequence = Some(last.clone());
        }
        row.changes += self.taken.len() as u64;
        if let Some(Written { key, follows }) = &self.written {
            row.wrote(key, follows);
            row.objects += 1;
            row.ungathered += 1;
        }
        row.held.retain(|held| !self.taken.contains(&held.sequence));
        if let Some(held) = &self.held
            && row.held.iter().all(|known| known.sequence != held.sequence)
        {
            row.held.push(held.clone());
        }
        self.give_up(row);
        row.held.sort_by_key(|held| held.time);
        row.held.truncate(HELD);
    }

    /// What the service no longer has will not be delivered any more.
    fn give_up(&self, row: &mut CaptureRow) {
        let limit = self.now - KEPT_MS;
        let lost: Vec<i64> = row.held.iter().map(|held| held.time).filter(|time| *time < limit).collect();
        row.held.retain(|held| held.time >= limit);
        for time in lost {
            let reason = "a record of the stream could not be taken before it was gone".to_owned();
            row.add_gap(Gap { from: time - 1, to: time, reason });
        }
    }
}

/// Why changes may be missing between what the row knows and this batch.
fn broken(row: &CaptureRow, stream: &StreamName, tail: Option<&Tail>) -> Option<&'static str> {
    const OFF: &str = "the stream was switched off and on again";
    if tail.is_some_and(|tail| tail.trimmed) {
        return Some("the stream no longer held what followed the last captured change");
    }
    if row.labels.contains(&stream.label) {
        return None;
    }
    // A row that was made again from the vault knows no labels: then the stream's age tells.
    let older = label_time(&stream.label).is_some_and(|made| made <= row.watermark());
    (!row.labels.is_empty() || !older).then_some(OFF)
}

/// When a stream of this label was made: labels are times, `2015-06-27T00:48:05.899` or seconds since 1970.
#[must_use]
pub fn label_time(label: &str) -> Option<i64> {
    if let Ok(date) = label.parse::<DateTime>() {
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond());
    }
    let (seconds, nanos) = label.split_once('.')?;
    if nanos.len() != 9 {
        return None;
    }
    Some(Timestamp::new(seconds.parse().ok()?, nanos.parse().ok()?).ok()?.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::label_time;

    #[test]
    fn labels_tell_when_their_stream_was_made() {
        assert_eq!(label_time("2015-06-27T00:48:05.899"), Some(1_435_366_085_899));
        assert_eq!(label_time("1435366085.899000000"), Some(1_435_366_085_899));
        assert_eq!([label_time("x"), label_time(""), label_time("1.2")], [None, None, None]);
    }
}
