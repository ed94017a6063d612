//! A real inventory on four days: stock changes, articles go and come, and each day's backup holds what that day changed.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use holdfast_common::jobs::{BackupType, Job};
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_tests::{cloud, configure, data, noise, sorted_lines, whole};
use holdfast_vault::format::footer::DeltaCounts;
use holdfast_workflow::WorkLimits;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Records by their keys.
type Stock = BTreeMap<(String, String), Value>;

fn stock(records: Vec<Value>) -> Stock {
    let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    records.into_iter().map(|r| ((text(&r, "sku"), text(&r, "supplyChannel")), r)).collect()
}

/// A day later: of a hundred records two have another stock, one in five hundred is gone, and there are twenty new ones.
fn a_day_later(before: &Stock, seed: u64) -> Stock {
    let mut after = before.clone();
    let dice = noise(seed, before.len() * 2);
    for ((key, record), dice) in before.iter().zip(dice.chunks_exact(2)) {
        match u16::from_le_bytes([dice[0], dice[1]]) % 500 {
            0 => drop(after.remove(key)),
            1..=10 => {
                let more = record["quantityOnStock"].as_u64().unwrap_or(0) + 1 + seed;
                after.get_mut(key).unwrap()["quantityOnStock"] = more.into();
            }
            _ => {}
        }
    }
    let (_, pattern) = before.first_key_value().unwrap();
    for number in 0..20 {
        let mut record = pattern.clone();
        let sku = format!("new-{seed}-{number}");
        record["sku"] = sku.clone().into();
        after.insert((sku, record["supplyChannel"].as_str().unwrap().to_owned()), record);
    }
    after
}

fn delta(before: &Stock, after: &Stock) -> DeltaCounts {
    let count = |number: usize| number as u64;
    DeltaCounts {
        added: count(after.keys().filter(|key| !before.contains_key(*key)).count()),
        changed: count(
            after.iter().filter(|(key, now)| before.get(*key).is_some_and(|then| then != *now)).count(),
        ),
        deleted: count(before.keys().filter(|key| !after.contains_key(*key)).count()),
    }
}

fn write(source: &Path, stock: &Stock) {
    let lines: Vec<String> = stock.values().map(Value::to_string).collect();
    fs::write(source.join("inventory.jsonl"), lines.join("\n")).unwrap();
}

async fn back_up(cloud: &Cloud, asked: BackupType) -> Job {
    let job = cloud.run_backup(&cloud.new_id(), "inventory", Some(asked)).await.unwrap();
    assert_eq!((job.backup_type, job.warnings.len()), (Some(asked), 0));
    let verified = cloud.run_verify(&job.id, "full").await.unwrap();
    assert!(verified.valid, "{:?}", verified.progress.findings);
    job
}

async fn four_days(limits: WorkLimits) {
    let Some(data) = data::real_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let cloud = cloud(&dir.path().join("home"), limits).await;
    let key = vec!["/sku".to_owned(), "/supplyChannel".to_owned()];
    configure(&cloud, "inventory", SourceSpec::Jsonl { path: source.clone(), key }).await;
    let mut days = vec![stock(data::inventory(&data))];
    for seed in 1..4 {
        days.push(a_day_later(&days[days.len() - 1], seed));
    }
    let plan = [
        (BackupType::Full, 0),
        (BackupType::Incremental, 0),
        (BackupType::Incremental, 1),
        (BackupType::Differential, 0),
    ];
    let mut taken: Vec<Job> = Vec::new();
    for (now, (asked, base)) in days.iter().zip(plan) {
        write(&source, now);
        let job = back_up(&cloud, asked).await;
        assert_eq!(job.totals.records, now.len() as u64);
        if let Some(full) = taken.first() {
            let manifest = cloud.services().vault.manifest(&job.id).await.unwrap();
            assert_eq!(manifest.base.as_ref(), Some(&taken[base].id));
            let delta = delta(&days[base], now);
            assert_eq!(manifest.streams[0].layers.last().unwrap().delta, Some(delta));
            let changed = delta.added + delta.changed + delta.deleted;
            assert!(changed * 10 < now.len() as u64, "a day changes little: {delta:?}");
            let share = full.totals.stored_bytes * changed / now.len() as u64;
            let stored = job.totals.stored_bytes;
            assert!(
                stored < 6 * share + 8_192,
                "{stored} bytes for {changed} records, {share} of the full backup's"
            );
        }
        taken.push(job);
    }
    for (at, (job, day)) in taken.iter().zip(&days).enumerate() {
        write(&source, day);
        let target = dir.path().join(format!("restored-{at}"));
        let request = whole(&job.id, TargetSpec::Jsonl { path: target.clone() });
        cloud.run_restore(&cloud.new_id(), &request).await.unwrap();
        assert_eq!(sorted_lines(&target), sorted_lines(&source));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_real_inventory_comes_back_of_every_day() {
    four_days(WorkLimits::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_real_inventory_joined_in_shards_comes_back_of_every_day() {
    let mut limits =
        WorkLimits { broadcast_rows: 100, shard_rows: 3_000, overlay_keys: 50, ..WorkLimits::default() };
    limits.range_bytes = 200_000;
    limits.runs.run_bytes = 60_000;
    four_days(limits).await;
}
