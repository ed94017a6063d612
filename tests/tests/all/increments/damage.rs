//! A base that is damaged is not built on, and what is damaged in a chain is found in every backup that needs it.

use super::bench::{Bench, Lines, NEVER, shuffled, small};
use super::drive::{plain, warned};
use holdfast_common::jobs::{BackupType, Job};
use holdfast_vault::error::Class;
use holdfast_vault::format::manifest::{LayerKind, Manifest};
use holdfast_vault::storage::{ByteRange, Storage};
use holdfast_workflow::WorkLimits;
use holdfast_workflow::events::Selection;

fn day(number: u64) -> Lines {
    let lines = (number..number + 20).map(|key| format!(r#"{{"id":{key},"v":{}}}"#, (key + number) / 9));
    Lines::from([("orders".to_owned(), lines.collect())])
}

/// A chain of three backups.
async fn chain(limits: WorkLimits) -> (Bench, Vec<String>) {
    let bench = Bench::new(limits).await;
    bench.configure("shop", "/id", NEVER).await;
    let mut taken = Vec::new();
    for number in 0..3 {
        bench.write(&day(number));
        let services = bench.services.clone();
        taken.push(plain(&bench, &services, "shop", BackupType::Incremental).await.unwrap().id);
    }
    (bench, taken)
}

async fn manifest(bench: &Bench, id: &str) -> Manifest {
    bench.services.vault.manifest(id).await.unwrap()
}

/// The keys of the objects of the newest layer of a backup: runs, and state tables.
fn newest(manifest: &Manifest) -> (String, String) {
    let layer = manifest.streams[0].layers.last().unwrap();
    assert_eq!(layer.kind, LayerKind::Delta);
    let key = |object: u32| manifest.objects[object as usize].key();
    (key(layer.segments[0].object), key(layer.index[0].object))
}

async fn flip(bench: &Bench, key: &str) {
    let mut bytes = bench.vault.get(key, ByteRange::All).await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bench.vault.overwrite(key, bytes);
}

/// The next increment is full, says why, and comes back; the one after it builds on that.
async fn is_full_after(bench: &Bench, asked: BackupType) -> Job {
    let services = bench.services.clone();
    bench.write(&day(3));
    let job = plain(bench, &services, "shop", asked).await.unwrap();
    assert_eq!((job.backup_type, warned(&job)), (Some(BackupType::Full), vec!["BaseUnusable".to_owned()]));
    let stored = manifest(bench, &job.id).await;
    assert_eq!((stored.backup_type.as_str(), &stored.base), ("full", &None));
    let (lines, _) = bench.restored(&services, &job.id, Selection::default()).await;
    let mut expected = day(3);
    for lines in expected.values_mut() {
        lines.sort_unstable();
    }
    assert_eq!(lines, expected);
    bench.write(&day(4));
    let next = plain(bench, &services, "shop", asked).await.unwrap();
    assert_eq!((next.backup_type, warned(&next)), (Some(asked), Vec::new()));
    assert_eq!(manifest(bench, &next.id).await.base, Some(job.id.clone()));
    job
}

#[tokio::test]
async fn a_base_with_a_damaged_manifest_is_not_built_on() {
    for limits in [small(), shuffled()] {
        let (bench, taken) = chain(limits).await;
        flip(&bench, &format!("manifests/{}", taken[2])).await;
        let job = is_full_after(&bench, BackupType::Incremental).await;
        assert!(job.warnings[0].message.contains(&taken[2]), "{:?}", job.warnings);
    }
}

#[tokio::test]
async fn a_base_that_lost_an_object_is_not_built_on() {
    for limits in [small(), shuffled()] {
        for of_state in [false, true] {
            let (bench, taken) = chain(limits).await;
            let (pack, index) = newest(&manifest(&bench, &taken[2]).await);
            bench.vault.delete(if of_state { &index } else { &pack }).await.unwrap();
            is_full_after(&bench, BackupType::Incremental).await;
        }
    }
}

#[tokio::test]
async fn a_base_whose_state_table_is_damaged_is_not_built_on() {
    for limits in [small(), shuffled()] {
        let (bench, taken) = chain(limits).await;
        let (_, index) = newest(&manifest(&bench, &taken[2]).await);
        flip(&bench, &index).await;
        is_full_after(&bench, BackupType::Incremental).await;
    }
}

#[tokio::test]
async fn a_full_backup_that_is_damaged_is_not_built_on_by_a_differential() {
    let (bench, taken) = chain(small()).await;
    let first = manifest(&bench, &taken[0]).await;
    bench.vault.delete(&first.objects[0].key()).await.unwrap();
    is_full_after(&bench, BackupType::Differential).await;
}

#[tokio::test]
async fn a_base_that_verification_found_damaged_is_not_built_on() {
    let (bench, taken) = chain(small()).await;
    let (pack, _) = newest(&manifest(&bench, &taken[2]).await);
    flip(&bench, &pack).await;
    let services = bench.services.clone();
    assert!(!bench.verify(&services, &taken[2], "full").await.valid);
    is_full_after(&bench, BackupType::Incremental).await;
}

#[tokio::test]
async fn every_damaged_object_of_a_chain_is_found_by_the_backups_that_need_it() {
    for limits in [small(), shuffled()] {
        let (bench, taken) = chain(limits).await;
        let services = bench.services.clone();
        let last = manifest(&bench, &taken[2]).await;
        for object in &last.objects {
            let key = object.key();
            let whole = bench.vault.get(&key, ByteRange::All).await.unwrap();
            flip(&bench, &key).await;
            for id in &taken {
                let needs = manifest(&bench, id).await.objects.iter().any(|other| other.id == object.id);
                let answer = bench.verify(&services, id, "full").await;
                assert_eq!(answer.valid, !needs, "{key} of {id}");
                let named = answer.progress.findings.errors.iter().any(|finding| finding.object == key);
                assert_eq!(named, needs);
            }
            if key.starts_with("packs/") {
                let target = holdfast_connectors::TargetSpec::Jsonl { path: bench.dir.path().join("never") };
                let error = bench.refused(&services, &taken[2], target).await;
                assert_eq!(error.code.class(), Class::Damage, "{error:?}");
            }
            bench.vault.overwrite(&key, whole);
        }
        for id in &taken {
            assert!(bench.verify(&services, id, "full").await.valid, "put back, all is well");
        }
    }
}
