//! Records of one table, looked up in another.

use super::fault::Side;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use holdfast_connectors::dynamodb::{record_key, same_record};
use holdfast_vault::error::{Code, Error, Result};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

pub(super) type Item = HashMap<String, AttributeValue>;

/// Records that one request looks up, at most.
const LOOK_UP: usize = 100;
/// Records that one segment gives: a sample is to come from many places.
const FROM_ONE: u32 = 5;
/// A table of fewer than so many times what is wanted is small: its segments are uneven.
const SMALL: u64 = 20;
/// The most segments that a scan is cut into.
const MOST_SEGMENTS: u32 = 1_000_000;
/// Requests for what was throttled away, at most.
const TRIES: u32 = 8;

/// A sample of a table: at most `wanted` records, from places that the seed chooses, so that a repeat takes the same; of
/// a small table its first ones, which come in the order of a hash. `records` is about how many the table has.
///
/// # Errors
/// `Source*` or `Target*`.
pub(super) async fn take(
    client: &Client,
    of: (&str, Side),
    wanted: u32,
    records: u64,
    seed: &str,
) -> Result<Vec<Item>> {
    if records < SMALL * u64::from(wanted) {
        return first(client, of, Place { segment: 0, segments: 1 }, wanted).await;
    }
    let segments = u32::try_from(records / u64::from(FROM_ONE)).unwrap_or(MOST_SEGMENTS).min(MOST_SEGMENTS);
    // Some segments are empty: twice as many as would do are looked at.
    let most = 2 * wanted.div_ceil(FROM_ONE);
    let (mut taken, mut visited) = (Vec::new(), BTreeSet::new());
    for attempt in 0..most {
        let left = wanted.saturating_sub(u32::try_from(taken.len()).unwrap_or(u32::MAX));
        let segment = place(seed, attempt, segments);
        if left == 0 {
            break;
        }
        if visited.insert(segment) {
            taken.extend(first(client, of, Place { segment, segments }, left.min(FROM_ONE)).await?);
        }
    }
    Ok(taken)
}

/// A segment of a table.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u32,
    segments: u32,
}

/// The first records of a segment.
async fn first(client: &Client, (table, side): (&str, Side), at: Place, wanted: u32) -> Result<Vec<Item>> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut pages = client
        .scan()
        .table_name(table)
        .segment(number(at.segment))
        .total_segments(number(at.segments))
        .limit(number(wanted))
        .consistent_read(true)
        .into_paginator()
        .send();
    let mut taken = Vec::new();
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    while taken.len() < wanted
        && let Some(page) = pages.next().await
    {
        let page =
            page.map_err(|error| side.fault_of_records(&format!("read table {table}"), table, &error))?;
        taken.extend(page.items.unwrap_or_default());
    }
    taken.truncate(wanted);
    Ok(taken)
}

fn place(seed: &str, attempt: u32, segments: u32) -> u32 {
    let hash = Sha256::digest(format!("{seed}/{attempt}"));
    let number = hash.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    number % segments.max(1)
}

/// How a sample stands in another table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub same: u64,
    pub differing: u64,
    pub missing: u64,
}

/// Looks records up in a table of the same key.
///
/// # Errors
/// `Source*` or `Target*`.
pub(super) async fn look_up(
    client: &Client,
    (table, side): (&str, Side),
    key: &[String],
    sample: &[Item],
) -> Result<Found> {
    let mut found = Found::default();
    for some in sample.chunks(LOOK_UP) {
        let there = get(client, (table, side), key, some).await?;
        for item in some {
            match there.get(&record_key(item, key)?) {
                Some(other) if same_record(item, other) => found.same += 1,
                Some(_) => found.differing += 1,
                None => found.missing += 1,
            }
        }
    }
    Ok(found)
}

async fn get(
    client: &Client,
    (table, side): (&str, Side),
    key: &[String],
    items: &[Item],
) -> Result<HashMap<Vec<u8>, Item>> {
    let of = |item: &Item| -> Item {
        key.iter().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect()
    };
    let mut wanted: Vec<Item> = items.iter().map(of).collect();
    let mut there = HashMap::new();
    for attempt in 0..TRIES {
        let keys = KeysAndAttributes::builder()
            .set_keys(Some(std::mem::take(&mut wanted)))
            .consistent_read(true)
            .build()
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let answer = client
            .batch_get_item()
            .request_items(table, keys)
            .send()
            .await
            .map_err(|error| side.fault_of_records(&format!("read table {table}"), table, &error))?;
        for item in answer.responses.unwrap_or_default().into_values().flatten() {
            there.insert(record_key(&item, key)?, item);
        }
        wanted =
            answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|left| left.keys).collect();
        if wanted.is_empty() {
            return Ok(there);
        }
        holdfast_common::wait::back_off(attempt).await;
    }
    let code = if side == Side::Source { Code::SourceThrottled } else { Code::TargetThrottled };
    Err(Error::new(code, format!("table {table} gives its records too slowly")).object(table))
}
