//! A manifest beside the footers of its objects: every segment is what it says, and all of them add up to the streams.

use crate::layering::add_layer;
use crate::rotation::made;
use crate::tree_kit::{finished, manifest, put, sum_of, tree_writer};
use holdfast_vault::compress::Codec;
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::manifest::{LayerKind, Manifest, SegmentRef};
use holdfast_vault::model::{RecordEncoding, StreamKind};
use holdfast_vault::read::Vault;
use holdfast_vault::read::verify::{Findings, totals};
use holdfast_vault::read::verify_structure::{StructureAt, compare};
use holdfast_vault::write::records::{DeltaKind, KeyStorage, RunsOptions, record_digest};
use holdfast_vault::write::{Change, FinishedObject, RecordsWriter, RunLimits};
use std::sync::Arc;

/// Runs of some records and tombstones.
fn runs(
    vault: &Vault,
    delta: bool,
    records: &[(&str, DeltaKind, &str)],
    gone: &[&str],
) -> Vec<FinishedObject> {
    let first = Origin { stream: 1, task: 0, sequence: 0 };
    let (storage, limits) = (KeyStorage::Derived, RunLimits::default());
    let options = RunsOptions { codec: Codec::None, storage, delta, name_version: 1, first, limits };
    let mut writer = RecordsWriter::with(vault.keys(), options).unwrap();
    for (key, kind, value) in records {
        let identity = writer.identify(key.as_bytes(), value.as_bytes());
        writer.push_identified(&identity, *kind, key.as_bytes(), value.as_bytes(), 0).unwrap();
    }
    for key in gone {
        let identity = writer.identify(key.as_bytes(), b"");
        writer.push_tombstone(identity.hash).unwrap();
    }
    writer.finish().unwrap();
    writer.take_finished()
}

/// A tree of two packs and a table of records, each with a delta or without. Of the tree a, b and c are three files; the
/// delta changes b and c, deletes a and adds d and e.
async fn backup(deltas: bool) -> (Vault, Manifest) {
    let (_, vault) = made().await;
    let shape = StreamKind::Records { encoding: RecordEncoding::Json, key: vec!["/id".to_owned()] };
    let mut manifest = manifest(&vault, &[("files", StreamKind::Tree), ("orders", shape)]);
    let mut tree = tree_writer(&vault, 100, false);
    let mut entries =
        ["a", "b", "c"].map(|path| put(&mut tree, Change::Added, path, path.as_bytes())).to_vec();
    add_layer(&vault, &mut manifest, 0, finished(tree)).await;
    let mut values = vec!["{\"id\":1}", "{\"id\":2}"];
    let base = [("[1]", DeltaKind::Added, values[0]), ("[2]", DeltaKind::Added, values[1])];
    add_layer(&vault, &mut manifest, 1, runs(&vault, false, &base, &[])).await;
    if deltas {
        let mut tree = tree_writer(&vault, 8 << 20, true);
        tree.tombstone(b"a").unwrap();
        let changed = ["b", "c"].map(|path| put(&mut tree, Change::Changed, path, b"changed"));
        let added = ["d", "e"].map(|path| put(&mut tree, Change::Added, path, b"added"));
        entries = [changed, added].concat();
        add_layer(&vault, &mut manifest, 0, finished(tree)).await;
        values = vec!["{\"id\":2,\"v\":1}", "{\"id\":3}", "{\"id\":4}"];
        let delta = [
            ("[2]", DeltaKind::Changed, values[0]),
            ("[3]", DeltaKind::Added, values[1]),
            ("[4]", DeltaKind::Added, values[2]),
        ];
        add_layer(&vault, &mut manifest, 1, runs(&vault, true, &delta, &["[1]"])).await;
    }
    let digests: Vec<_> =
        values.iter().map(|value| record_digest(KeyStorage::Derived, b"", value.as_bytes())).collect();
    let (files, orders) = manifest.streams.split_at_mut(1);
    files[0].files = entries.len() as u64;
    files[0].bytes = if deltas { 24 } else { 3 };
    files[0].digest = sum_of(&entries);
    orders[0].records = values.len() as u64;
    orders[0].bytes = values.iter().map(|value| value.len() as u64).sum();
    orders[0].digest = sum_of(&digests);
    (vault, manifest)
}

async fn all(vault: &Vault, manifest: &Manifest) -> Findings {
    totals(vault, &Arc::new(manifest.clone())).await.unwrap()
}

/// How many segments each stream has, those of index objects among them.
fn counts(manifest: &Manifest) -> [usize; 2] {
    [0, 1].map(|at| {
        let layers = &manifest.streams[at].layers;
        layers.iter().map(|layer| layer.segments.len() + layer.index.len()).sum()
    })
}

#[tokio::test]
async fn a_sound_backup_is_compared_in_steps_of_any_length_that_are_kept_between() {
    for deltas in [false, true] {
        let (vault, manifest) = backup(deltas).await;
        let manifest = Arc::new(manifest);
        let [files, orders] = counts(&manifest);
        assert_eq!((files, orders), if deltas { (6, 4) } else { (4, 2) });
        let total = files + orders;
        for (step, at_once) in (1..=total + 1).map(|step| (step, 1)).chain([(2, 3), (total, 0)]) {
            let (mut at, mut done) = (StructureAt::default(), 0);
            loop {
                let (findings, next) = compare(&vault, &manifest, at, step, at_once).await.unwrap();
                assert_eq!(findings, Findings::clean());
                done += step;
                assert_eq!(next.is_none(), done >= total, "after {done} of {total} by {step}");
                let Some(next) = next else { break };
                let kept = serde_json::to_value(&next).unwrap();
                let place = if done < files { (0, done) } else { (1, done - files) };
                assert_eq!((&kept["stream"], &kept["segment"]), (&place.0.into(), &place.1.into()));
                at = serde_json::from_value(kept).unwrap();
                assert_eq!(at, next, "a job keeps it as JSON");
            }
        }
    }
}

#[tokio::test]
async fn what_a_job_kept_of_comparing_is_refused_if_it_is_no_sum() {
    let (vault, manifest) = backup(false).await;
    let (_, next) = compare(&vault, &Arc::new(manifest), StructureAt::default(), 1, 1).await.unwrap();
    let kept = serde_json::to_value(next.unwrap()).unwrap();
    for wrong in ["", "ab", &"0".repeat(63), &"0".repeat(66), &"x".repeat(64)] {
        let mut kept = kept.clone();
        kept["sum"]["digest"] = wrong.into();
        assert!(serde_json::from_value::<StructureAt>(kept).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn totals_of_a_sound_backup_are_clean() {
    for deltas in [false, true] {
        let (vault, manifest) = backup(deltas).await;
        assert_eq!(all(&vault, &manifest).await, Findings::clean());
    }
}

/// Damage of the structure in these objects, each told once.
fn assert_structure(findings: &Findings, objects: &[String]) {
    let found: Vec<&str> = findings.errors.iter().map(|finding| finding.object.as_str()).collect();
    assert_eq!(found, objects, "{findings:?}");
    assert!(findings.errors.iter().all(|finding| finding.message.ends_with("is not what the manifest says")));
    let flags = (findings.checksum_valid, findings.structure_valid, findings.data_integrity);
    assert_eq!(flags, (true, false, false));
}

#[tokio::test]
async fn every_figure_of_a_segment_is_compared_with_its_footer() {
    let wrong: [fn(&mut SegmentRef); 8] = [
        |at| at.first.push_str("00"),
        |at| at.first.clear(),
        |at| at.last.push_str("00"),
        |at| at.count += 1,
        |at| at.count -= 1,
        |at| at.bytes += 1,
        |at| at.bytes = at.bytes.wrapping_sub(1),
        |at| at.segment += 100,
    ];
    let (vault, manifest) = backup(true).await;
    for (stream, layer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (number, change) in wrong.into_iter().enumerate() {
            for of_index in [false, true] {
                let mut manifest = manifest.clone();
                let layer = &mut manifest.streams[stream].layers[layer];
                let at = if of_index { &mut layer.index[0] } else { &mut layer.segments[0] };
                change(at);
                let key = manifest.objects[at.object as usize].key();
                let findings = all(&vault, &manifest).await;
                assert_structure(&findings, &[key]);
                // With one segment damaged nothing can add up, and that is not told once more.
                manifest.streams[stream].digest.clear();
                manifest.streams[stream].files += 7;
                assert_eq!(all(&vault, &manifest).await, findings, "change {number}");
            }
        }
    }
}

#[tokio::test]
async fn a_base_is_no_delta_and_a_tree_no_table() {
    let (vault, manifest) = backup(true).await;
    for (stream, layer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut swapped = manifest.clone();
        let told = &mut swapped.streams[stream].layers[layer];
        told.kind = if layer == 0 { LayerKind::Delta } else { LayerKind::Base };
        let keys: Vec<String> =
            told.segments.iter().map(|at| manifest.objects[at.object as usize].key()).collect();
        assert_structure(&all(&vault, &swapped).await, &keys);
    }
    let mut swapped = manifest.clone();
    let [files, orders] = [0, 1].map(|at| manifest.streams[at].info.shape.clone());
    (swapped.streams[0].info.shape, swapped.streams[1].info.shape) = (orders, files);
    let found = all(&vault, &swapped).await.errors.len();
    assert_eq!(found, manifest.objects.len(), "each of their objects");
}

#[tokio::test]
async fn a_stream_whose_segments_do_not_add_up_to_it_is_found() {
    let wrong: [fn(&mut Manifest, usize); 5] = [
        |manifest, at| manifest.streams[at].files += 1,
        |manifest, at| manifest.streams[at].records += 1,
        |manifest, at| manifest.streams[at].bytes += 1,
        |manifest, at| manifest.streams[at].digest = "01".repeat(32),
        |manifest, at| manifest.streams[at].layers[1].delta.as_mut().unwrap().changed += 1,
    ];
    for deltas in [false, true] {
        let (vault, manifest) = backup(deltas).await;
        // Of merged layers neither bytes nor digest are known without reading them.
        let known = if deltas { &[0, 1, 4][..] } else { &[0, 1, 2, 3] };
        for (stream, change) in [0, 1].into_iter().flat_map(|at| known.iter().map(move |of| (at, *of))) {
            let mut manifest = manifest.clone();
            wrong[change](&mut manifest, stream);
            let findings = all(&vault, &manifest).await;
            let [error] = &findings.errors[..] else { panic!("{stream} {change}: {findings:?}") };
            let name = &manifest.streams[stream].info.name;
            assert_eq!(error.object, "manifests/B");
            assert!(error.message.ends_with(&format!("stream {name} does not add up to what it says")));
            let flags = (findings.checksum_valid, findings.structure_valid, findings.data_integrity);
            assert_eq!(flags, (true, true, false), "every footer is as it was told");
        }
    }
}
