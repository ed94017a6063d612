//! Counts a table's records: `DescribeTable` tells a number that is hours old, and 0 of a table that was just restored.

use super::clients::Recovery;
use super::fault::Side;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::Select;
use futures::stream::{self, StreamExt, TryStreamExt};
use holdfast_common::Clock;
use holdfast_vault::error::Result;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The most segments that a scan is cut into.
const MOST_SEGMENTS: u32 = 1_000_000;

/// How far counting is. A segment is counted whole or again, so that no key of a record has to be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    /// Into how many segments the table is cut; 0 before it is.
    pub segments: u32,
    /// The next one to count.
    pub next: u32,
    /// Records in those before it.
    pub records: u64,
}

impl Count {
    /// Whether all of the table is counted.
    pub(crate) const fn done(&self) -> bool {
        self.segments > 0 && self.next >= self.segments
    }

    /// Counts on for as long as one call may. `bytes` is about how large the table is.
    ///
    /// # Errors
    /// `Source*` or `Target*`; what was counted is kept.
    pub(crate) async fn advance(
        &mut self,
        recovery: &Recovery,
        client: &Client,
        (table, side): (&str, Side),
        bytes: u64,
    ) -> Result<()> {
        let limits = &recovery.limits;
        if self.segments == 0 {
            let wanted = bytes / limits.segment_bytes.max(1) + 1;
            self.segments = u32::try_from(wanted).unwrap_or(MOST_SEGMENTS).min(MOST_SEGMENTS);
        }
        let until = until(recovery.clock.as_ref(), limits.counting);
        while !self.done() {
            let parallel = u32::try_from(limits.parallel.max(1)).unwrap_or(u32::MAX);
            let end = self.segments.min(self.next.saturating_add(parallel));
            let counted: Vec<u64> = stream::iter(self.next..end)
                .map(|segment| count_segment(client, (table, side), segment, self.segments))
                .buffer_unordered(limits.parallel.max(1))
                .try_collect()
                .await?;
            self.records += counted.iter().sum::<u64>();
            self.next = end;
            if recovery.clock.now() >= until {
                break;
            }
        }
        Ok(())
    }
}

fn until(clock: &dyn Clock, time: std::time::Duration) -> Timestamp {
    let now = clock.now();
    SignedDuration::try_from(time).ok().and_then(|time| now.checked_add(time).ok()).unwrap_or(now)
}

async fn count_segment(
    client: &Client,
    (table, side): (&str, Side),
    segment: u32,
    segments: u32,
) -> Result<u64> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut pages = client
        .scan()
        .table_name(table)
        .select(Select::Count)
        .segment(number(segment))
        .total_segments(number(segments))
        .into_paginator()
        .send();
    let mut records = 0;
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|error| side.fault_of_records(&format!("count table {table}"), table, &error))?;
        records += u64::try_from(page.count).unwrap_or(0);
    }
    Ok(records)
}
