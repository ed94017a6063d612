//! Records in several layers: what is found, what is shown, and what they must merge to.

use crate::layered_records::{Edit, Layered, canonical, fresh, value};
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::Code;
use holdfast_vault::format::footer::{BlockIndex, Fence, Origin, RunSegment, Segment};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::{Layer, LayerKind, Manifest, StoredObject};
use holdfast_vault::read::layers::{Found, find, shared_layers, shown};
use holdfast_vault::read::records::{self, block_of};
use holdfast_vault::read::state::{StateRow, live_rows, rows};
use holdfast_vault::read::{Fetch, Overlay, PackReader, Shard, merged};
use holdfast_vault::storage::ByteRange;
use holdfast_vault::write::records::{KeyStorage, TOMBSTONE_DIGEST};
use holdfast_vault::write::{ObjectWriter, RunLimits};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

fn edit(key: u32, text: &str) -> Edit {
    (key, Some(text.to_owned()))
}

/// Every key of these that the stream holds now, as [`find`] gives it.
fn held(layered: &Layered, keys: impl IntoIterator<Item = u32>) -> HashMap<u128, Found> {
    let found = |key| {
        let text = layered.model.get(&key)?;
        Some((layered.hash(key), Found { key: canonical(key), value: value(key, text) }))
    };
    keys.into_iter().filter_map(found).collect()
}

async fn found(layered: &Layered, keys: impl IntoIterator<Item = u32>) -> HashMap<u128, Found> {
    let mut reader = PackReader::new(&layered.vault, &layered.manifest, Fetch::Blocks);
    let wanted: Vec<u128> = keys.into_iter().map(|key| layered.hash(key)).collect();
    find(&mut reader, layered.stream(), &layered.keys(), &wanted).await.unwrap()
}

/// What the layers show of a shard, but for what is hidden.
async fn all_shown(layered: &Layered, hidden: &[u128], shard: Shard) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let keys = layered.keys();
    let mut reader = PackReader::new(&layered.vault, &layered.manifest, Fetch::Whole);
    let mut overlay = Overlay::read(&mut reader, layered.stream(), &keys, shard).await.unwrap();
    overlay.hide(hidden.iter().copied());
    let mut all = BTreeMap::new();
    for (number, layer) in (0_u32..).zip(&layered.stream().layers) {
        for segment in &layer.segments {
            let run = records::run(&mut reader, segment).await.unwrap();
            for at in 0..run.index.fences.len() {
                let block = records::block(&mut reader, segment, &run, at).await.unwrap();
                let take = |key: &[u8], value: &[u8]| {
                    let twice = all.insert(keys.key(key, value)?, value.to_vec());
                    assert_eq!(twice, None, "a record comes once");
                    Ok(())
                };
                shown(&block, number, &overlay, shard, &keys, take).unwrap();
            }
        }
    }
    all
}

fn limits(run_bytes: usize, pack_bytes: usize) -> RunLimits {
    RunLimits { run_bytes, pack_bytes }
}

/// Edits of a layer that can be: of each key one, and deleted is only what is there.
fn sensible(layered: &Layered, edits: Vec<Edit>) -> Vec<Vec<Edit>> {
    let mut tasks = vec![Vec::new(), Vec::new()];
    let last: BTreeMap<u32, Option<String>> = edits.into_iter().collect();
    for (key, text) in last {
        if text.is_some() || layered.model.contains_key(&key) {
            tasks[key as usize % 2].push((key, text));
        }
    }
    tasks
}

async fn check_all(layered: &Layered, of: u64) {
    assert_eq!(found(layered, 0..40).await, held(layered, 0..40));
    let (vault, manifest, stream) = (&layered.vault, &layered.manifest, layered.stream());
    if !stream.layers.is_empty() {
        merged::check(vault, manifest, stream, &layered.keys()).await.unwrap();
    }
    let mut reader = PackReader::new(vault, manifest, Fetch::Blocks);
    let wanted: Vec<StateRow> =
        layered.rows.iter().map(|(hash, digest)| StateRow { hash: *hash, digest: *digest }).collect();
    assert_eq!(rows(&mut reader, &stream.layers, Shard::ALL).await.unwrap(), wanted);
    let live: Vec<StateRow> = wanted.iter().filter(|row| row.digest != TOMBSTONE_DIGEST).copied().collect();
    assert_eq!(live_rows(&mut reader, &stream.layers, Shard::ALL).await.unwrap(), live);
    assert_eq!(live.len(), layered.model.len());
    let (mut sharded, mut seen) = (Vec::new(), BTreeMap::new());
    for number in 0..of {
        let shard = Shard::new(number, of);
        sharded.extend(rows(&mut reader, &stream.layers, shard).await.unwrap());
        seen.extend(all_shown(layered, &[], shard).await);
    }
    assert_eq!(sharded, wanted);
    let model: BTreeMap<_, _> =
        layered.model.iter().map(|(key, text)| (canonical(*key), value(*key, text))).collect();
    assert_eq!(seen, model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn layers_merge_to_the_records_as_they_are(
        history in prop::collection::vec(
            prop::collection::vec((0_u32..30, prop::option::weighted(0.7, "[a-z]{0,30}")), 0..25),
            1..5,
        ),
        stored: bool,
        run_bytes in 100_usize..2_000,
        pack_bytes in 100_usize..3_000,
        of in 1_u64..5,
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let storage = if stored { KeyStorage::Stored } else { KeyStorage::Derived };
            let mut layered = Layered::new(storage).await;
            for edits in history {
                let tasks = sensible(&layered, edits);
                layered.layer(&tasks, limits(run_bytes, pack_bytes)).await;
                check_all(&layered, of).await;
            }
        });
    }
}

/// A base and two deltas: 1 and 2 are changed, 3 is deleted, 4 deleted and added again, 50 is new.
async fn three_layers(storage: KeyStorage) -> Layered {
    let mut layered = Layered::new(storage).await;
    layered.layer(&[fresh(0..20), fresh(20..40)], RunLimits::default()).await;
    let first = vec![edit(1, "changed"), (3, None), (4, None), edit(50, "new")];
    layered.layer(&[first], RunLimits::default()).await;
    layered.layer(&[vec![edit(2, "changed"), edit(4, "again")]], RunLimits::default()).await;
    layered
}

#[tokio::test]
async fn a_key_is_found_as_the_newest_layer_has_it() {
    for storage in [KeyStorage::Derived, KeyStorage::Stored] {
        let layered = three_layers(storage).await;
        let found = found(&layered, [1, 2, 3, 4, 5, 50, 99, 5]).await;
        let texts: BTreeMap<Vec<u8>, Vec<u8>> =
            found.values().map(|found| (found.key.clone(), found.value.clone())).collect();
        let wanted = [(1, "changed"), (2, "changed"), (4, "again"), (5, "fresh"), (50, "new")];
        assert_eq!(texts, wanted.map(|(key, text)| (canonical(key), value(key, text))).into());
        assert_eq!(found, held(&layered, [1, 2, 3, 4, 5, 50, 99]));
    }
}

#[tokio::test]
async fn only_the_runs_that_reach_over_a_key_are_opened_to_find_it() {
    let mut layered = Layered::new(KeyStorage::Derived).await;
    let mut keys: Vec<u32> = (0..30).collect();
    keys.sort_by_key(|key| layered.hash(*key));
    let tasks: Vec<Vec<Edit>> = keys.chunks(10).map(|some| fresh(some.iter().copied())).collect();
    layered.layer(&tasks, RunLimits::default()).await;
    let packs: Vec<String> = layered.stream().layers[0]
        .segments
        .iter()
        .map(|segment| layered.manifest.objects[segment.object as usize].key())
        .collect();
    assert_eq!(packs.len(), 3);
    // The first and the last key of a run, and one between.
    for place in [0, 4, 9] {
        for (task, pack) in packs.iter().enumerate() {
            let key = keys[task * 10 + place];
            layered.watched.gets();
            assert_eq!(found(&layered, [key]).await, held(&layered, [key]));
            assert_eq!(layered.watched.gets(), [(pack.clone(), ByteRange::All)]);
        }
    }
    assert_eq!(found(&layered, []).await, HashMap::new());
    assert_eq!(layered.watched.gets(), []);
}

#[tokio::test]
async fn what_something_newer_than_all_layers_holds_is_not_shown() {
    let layered = three_layers(KeyStorage::Derived).await;
    let hidden = [0, 2, 50].map(|key| layered.hash(key));
    let mut wanted = layered.model.clone();
    for key in [0, 2, 50] {
        assert!(wanted.remove(&key).is_some());
    }
    let wanted: BTreeMap<_, _> =
        wanted.iter().map(|(key, text)| (canonical(*key), value(*key, text))).collect();
    assert_eq!(all_shown(&layered, &hidden, Shard::ALL).await, wanted);

    let mut overlay = Overlay::default();
    assert!(overlay.is_empty() && overlay.shows(0, 7));
    overlay.hide([7]);
    assert!(!overlay.is_empty() && !overlay.shows(0, 7) && !overlay.shows(9, 7));
    assert!(overlay.shows(0, 8));
}

#[test]
fn streams_share_the_layers_that_the_same_backups_wrote() {
    let layer = |kind, backup: &str| {
        let (segments, index) = (Vec::new(), Vec::new());
        Layer { kind, backup: backup.to_owned(), delta: None, segments, index }
    };
    let base = |backup| layer(LayerKind::Base, backup);
    let delta = |backup| layer(LayerKind::Delta, backup);
    let one = [base("A"), delta("B"), delta("C")];
    for (other, shared) in [
        (vec![], 0),
        (one.to_vec(), 3),
        (vec![base("A"), delta("B"), delta("D")], 2),
        (vec![base("A"), delta("B"), delta("C"), delta("D")], 3),
        (vec![base("A"), delta("C"), delta("C")], 1),
        (vec![base("B"), delta("B"), delta("C")], 0),
        // What a backup compacted it wrote as a base: other records than its delta's.
        (vec![base("A"), base("B")], 1),
        (vec![delta("A"), delta("B")], 0),
    ] {
        assert_eq!(shared_layers(&one, &other), shared, "{other:?}");
        assert_eq!(shared_layers(&other, &one), shared, "{other:?}");
    }
}

#[tokio::test]
async fn a_stream_is_merged_in_as_many_shards_as_the_keys_of_its_deltas_need() {
    let layered = three_layers(KeyStorage::Derived).await;
    // 40 keys in the base, 4 and 2 in the deltas.
    for (most, shards) in [(1, 6), (2, 3), (4, 2), (5, 2), (6, 1), (100, 1)] {
        assert_eq!(merged::shards(layered.stream(), most), shards, "{most} in one");
    }
    let mut base = layered.stream().clone();
    base.layers.truncate(1);
    assert_eq!(merged::shards(&base, 1), 1);
}

#[tokio::test]
async fn layers_that_merge_to_something_else_are_damage_of_the_manifest() {
    let layered = three_layers(KeyStorage::Derived).await;
    let check =
        async |stream| merged::check(&layered.vault, &layered.manifest, stream, &layered.keys()).await;
    check(layered.stream()).await.unwrap();
    let mut wrong = vec![layered.stream().clone(); 5];
    wrong[0].records += 1;
    wrong[1].bytes -= 1;
    wrong[2].digest = "0".repeat(64);
    wrong[3].layers.truncate(2);
    // What one layer deletes another must not bring back.
    wrong[4].layers.swap(1, 2);
    for stream in &wrong {
        let error = check(stream).await.unwrap_err();
        assert_eq!((error.code, error.object.as_deref()), (Code::ObjectDamaged, Some("manifests/B")));
    }
}

#[tokio::test]
async fn the_blocks_of_long_runs_are_told_and_found_by_their_fences() {
    let mut layered = Layered::new(KeyStorage::Derived).await;
    let text = "x".repeat(1_000);
    let edits = (0..4_500).map(|key| edit(key, &text)).collect();
    // Runs of two blocks and more, one after the other in one pack.
    layered.layer(&[edits], limits(3_000_000, 32 << 20)).await;
    let segments = layered.stream().layers[0].segments.clone();
    assert!(segments.len() > 1 && segments.iter().all(|segment| segment.object == segments[0].object));
    let (keys, mut reader) =
        (layered.keys(), PackReader::new(&layered.vault, &layered.manifest, Fetch::Whole));
    let mut blocks = 0;
    for segment in &segments {
        let run = records::run(&mut reader, segment).await.unwrap();
        let mut last: Option<u128> = None;
        for (at, fence) in run.index.fences.iter().enumerate() {
            let block = records::block(&mut reader, segment, &run, at).await.unwrap();
            let (mut bytes, mut hashes) = (0, Vec::new());
            block
                .each(|key, value| {
                    // Two bytes tell the length of such a value.
                    bytes += 2 + value.len();
                    hashes.push(keys.hash(key, value)?);
                    Ok(())
                })
                .unwrap();
            assert_eq!((block.len(), block.is_empty(), block.count), (bytes, false, fence.count));
            assert_eq!(
                (hashes.len(), hashes[0].to_be_bytes().to_vec()),
                (fence.count as usize, fence.first.clone())
            );
            assert!(hashes.is_sorted() && last < Some(hashes[0]));
            for hash in &hashes {
                assert_eq!(block_of(&run, &hash.to_be_bytes()), Some(at));
            }
            let before = block_of(&run, &(hashes[0] - 1).to_be_bytes());
            assert_eq!(before, at.checked_sub(1));
            last = hashes.last().copied();
        }
        let last = last.unwrap();
        assert_eq!(last.to_be_bytes().to_vec(), run.last);
        assert_eq!(block_of(&run, &(last + 1).to_be_bytes()), None);
        let many = run.index.fences.len();
        blocks += many as u64;
        let error = records::block(&mut reader, segment, &run, many).await.unwrap_err();
        assert_eq!(error.code, Code::ObjectDamaged);
    }
    assert!(blocks > segments.len() as u64);
    assert_eq!(reader.blocks_read(), blocks);
    assert_eq!(found(&layered, (0..4_500).step_by(100)).await, held(&layered, (0..4_500).step_by(100)));
}

#[tokio::test]
async fn a_block_of_no_records_is_empty() {
    let mut layered = Layered::new(KeyStorage::Derived).await;
    layered.layer(&[fresh([1])], RunLimits::default()).await;
    let segment = layered.stream().layers[0].segments[0].clone();
    let mut writer = ObjectWriter::new(layered.vault.keys(), ObjectKind::Pack).unwrap();
    writer.dense_block(b"").unwrap();
    let run = RunSegment {
        origin: Origin { stream: 0, task: 0, sequence: 0 },
        delta: None,
        stored_keys: false,
        bytes: 0,
        digest: DigestSum::default(),
        last: vec![9; 16],
        index: BlockIndex { first_block: 0, fences: vec![Fence { first: vec![9; 16], count: 0 }] },
    };
    writer.segment(Segment::Run(run.clone()));
    let object = writer.finish().unwrap();
    let mut manifest = Manifest::clone(&layered.manifest);
    let parts = object.parts.iter().map(|part| part.sha256.clone()).collect();
    let (id, kind, size) = (object.id, object.kind, object.bytes.len() as u64);
    manifest.objects[segment.object as usize] = StoredObject { id, kind, size, parts };
    layered.watched.memory.overwrite(&kind.object_key(id), object.bytes);
    let mut reader = PackReader::new(&layered.vault, &Arc::new(manifest), Fetch::Whole);
    let block = records::block(&mut reader, &segment, &run, 0).await.unwrap();
    assert_eq!((block.len(), block.is_empty(), block.count), (0, true, 0));
    block.each_stored(|stored| panic!("{stored:?}")).unwrap();
}
