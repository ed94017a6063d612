//! State tables: the rows of a stream, by shard and by place, and what is refused of them.

use crate::layered_records::{Layered, fresh};
use holdfast_vault::error::Code;
use holdfast_vault::format::footer::{BlockIndex, Fence, IndexSegment, Origin, Segment};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::{Layer, Manifest, StoredObject};
use holdfast_vault::read::state::{StateRow, each_row, live_rows, position, rows, table_rows};
use holdfast_vault::read::{Fetch, PackReader, Shard};
use holdfast_vault::write::records::{KeyStorage, TOMBSTONE_DIGEST};
use holdfast_vault::write::{ObjectWriter, RunLimits};
use std::sync::Arc;

/// A base of three tables in one index object, the first two of more rows than one block takes, and a delta.
async fn long_tables() -> Layered {
    let mut layered = Layered::new(KeyStorage::Derived).await;
    let limits = RunLimits { run_bytes: 800_000, ..RunLimits::default() };
    layered.layer(&[fresh(0..25_000)], limits).await;
    layered.layer(&[vec![(3, None), (4, Some("changed".to_owned()))]], RunLimits::default()).await;
    layered
}

fn reader(layered: &Layered) -> PackReader {
    PackReader::new(&layered.vault, &layered.manifest, Fetch::Blocks)
}

#[tokio::test]
async fn each_row_is_told_with_its_place_in_its_table_whatever_the_shard() {
    let layered = long_tables().await;
    let mut reader = reader(&layered);
    let base = &layered.stream().layers[0];
    assert_eq!(base.index.len(), 3);
    let mut later = 0;
    for place in &base.index {
        let footer = reader.footer(place.object).await.unwrap();
        let Segment::State(state) = footer.segments[place.segment as usize].clone() else { panic!() };
        later += u32::from(state.index.first_block > 0 && state.index.fences.len() > 1);
        let mut all = Vec::new();
        let take = |place: u32, row: StateRow| all.push((place, row));
        each_row(&mut reader, place.object, &state, Shard::ALL, take).await.unwrap();
        assert_eq!(all.len() as u64, place.count);
        assert!((0..).zip(&all).all(|(at, (place, _))| at == *place), "each has the place after the last");
        assert!(all.is_sorted_by(|a, b| a.1.hash < b.1.hash));
        for number in 0..7 {
            let shard = Shard::new(number, 7);
            let mut some = Vec::new();
            let take = |place: u32, row: StateRow| some.push((place, row));
            each_row(&mut reader, place.object, &state, shard, take).await.unwrap();
            let wanted: Vec<(u32, StateRow)> =
                all.iter().filter(|(_, row)| shard.holds(row.hash)).copied().collect();
            assert!(!some.is_empty() && some == wanted, "shard {number}");
        }
    }
    assert_eq!(later, 1, "a table of several blocks that stands behind another one");
}

#[tokio::test]
async fn rows_are_those_of_the_newest_layer_and_live_ones_are_not_gone() {
    let layered = long_tables().await;
    let mut reader = reader(&layered);
    let layers = &layered.stream().layers;
    let wanted: Vec<StateRow> =
        layered.rows.iter().map(|(hash, digest)| StateRow { hash: *hash, digest: *digest }).collect();
    assert_eq!(rows(&mut reader, layers, Shard::ALL).await.unwrap(), wanted);
    let live = live_rows(&mut reader, layers, Shard::ALL).await.unwrap();
    assert_eq!((wanted.len(), live.len()), (25_000, 24_999));
    assert!(live.iter().all(|row| row.hash != layered.hash(3) && !row.is_tombstone()));
    let mut delta = table_rows(&mut reader, &layers[1], Shard::ALL).await.unwrap();
    delta.sort_by_key(StateRow::is_tombstone);
    assert_eq!([delta[0].hash, delta[1].hash], [layered.hash(4), layered.hash(3)]);
    assert_eq!((delta.len(), delta[1].digest), (2, TOMBSTONE_DIGEST));
    assert!(delta[1].is_tombstone() && !delta[0].is_tombstone());
    let shard = Shard::new(1, 3);
    let some: Vec<StateRow> = wanted.iter().filter(|row| shard.holds(row.hash)).copied().collect();
    assert_eq!(rows(&mut reader, layers, shard).await.unwrap(), some);
    let live: Vec<StateRow> = some.into_iter().filter(|row| !row.is_tombstone()).collect();
    assert_eq!(live_rows(&mut reader, layers, shard).await.unwrap(), live);
}

#[tokio::test]
async fn a_layer_without_its_whole_table_asks_for_a_full_backup() {
    let layered = long_tables().await;
    let mut reader = reader(&layered);
    let layers = &layered.stream().layers;
    for (at, kept) in [(0, 0), (0, 2), (1, 0)] {
        let mut layers = layers.clone();
        "OLD".clone_into(&mut layers[at].backup);
        layers[at].index.truncate(kept);
        let error = rows(&mut reader, &layers, Shard::ALL).await.unwrap_err();
        assert_eq!((error.code, error.object.as_deref()), (Code::ObjectMissing, Some("OLD")));
        assert_eq!(error.hint.as_deref(), Some("make a full backup"));
        assert_eq!(live_rows(&mut reader, &layers, Shard::ALL).await.unwrap_err(), error);
        // What a delta deletes would come back if a part of the hashes were read as if there were none in it.
        assert_eq!(rows(&mut reader, &layers, Shard::new(1, 3)).await.unwrap_err(), error);
    }
    let mut wrong = layers[0].clone();
    wrong.index = wrong.segments.clone();
    let error = table_rows(&mut reader, &wrong, Shard::ALL).await.unwrap_err();
    let pack = layered.manifest.objects[wrong.index[0].object as usize].key();
    assert_eq!((error.code, error.object), (Code::ObjectDamaged, Some(pack)));
}

/// A layer whose table is a block of these bytes, of which its fence says that they are so many rows.
async fn table(bytes: usize, count: u32) -> (Layered, Arc<Manifest>, Layer) {
    let mut layered = Layered::new(KeyStorage::Derived).await;
    layered.layer(&[fresh([1])], RunLimits::default()).await;
    let mut writer = ObjectWriter::new(layered.vault.keys(), ObjectKind::Index).unwrap();
    writer.dense_block(&vec![7; bytes]).unwrap();
    let origin = Origin { stream: 0, task: 0, sequence: 0 };
    let index = BlockIndex { first_block: 0, fences: vec![Fence { first: vec![7; 16], count }] };
    writer.segment(Segment::State(IndexSegment { origin, index }));
    let object = writer.finish().unwrap();
    let layer = layered.stream().layers[0].clone();
    let mut manifest = Manifest::clone(&layered.manifest);
    let parts = object.parts.iter().map(|part| part.sha256.clone()).collect();
    let (id, kind, size) = (object.id, object.kind, object.bytes.len() as u64);
    manifest.objects[layer.index[0].object as usize] = StoredObject { id, kind, size, parts };
    layered.watched.memory.overwrite(&kind.object_key(id), object.bytes);
    (layered, Arc::new(manifest), layer)
}

#[tokio::test]
async fn a_table_that_is_not_of_whole_rows_as_many_as_it_says_is_refused() {
    for (bytes, count, right) in
        [(32, 1, true), (33, 1, false), (64, 1, false), (31, 1, false), (64, 3, false), (48, 2, false)]
    {
        let (layered, manifest, layer) = table(bytes, count).await;
        let mut reader = PackReader::new(&layered.vault, &manifest, Fetch::Whole);
        let read = table_rows(&mut reader, &layer, Shard::ALL).await;
        if right {
            let row = StateRow { hash: u128::from_be_bytes([7; 16]), digest: [7; 16] };
            assert_eq!(read.unwrap(), [row]);
            continue;
        }
        let error = read.unwrap_err();
        let key = manifest.objects[layer.index[0].object as usize].key();
        assert_eq!(
            (error.code, error.object),
            (Code::ObjectDamaged, Some(key)),
            "{bytes} bytes, {count} rows"
        );
    }
}

/// Asks for every row, for its neighbours and for some more; each must be where halving finds it.
fn search(hashes: &[u128], more: &[u128]) {
    let rows: Vec<StateRow> = hashes.iter().map(|hash| StateRow { hash: *hash, digest: [1; 16] }).collect();
    let near = hashes.iter().flat_map(|hash| [hash.wrapping_sub(1), *hash, hash.wrapping_add(1)]);
    for hash in near.chain(more.iter().copied()).chain([0, u128::MAX]) {
        assert_eq!(position(&rows, hash), hashes.binary_search(&hash).ok(), "{hash:x} of {}", rows.len());
    }
}

#[test]
fn a_row_is_found_among_any_number_that_are_spread_evenly() {
    search(&[], &[7]);
    for count in (1..70).chain([1_000, 5_000]) {
        let step = u128::MAX / count;
        // The first is the least hash that there is, or the last is the greatest.
        search(&(0..count).map(|at| at * step).collect::<Vec<_>>(), &[]);
        search(&(0..count).map(|at| u128::MAX - (count - 1 - at) * step).collect::<Vec<_>>(), &[]);
    }
}

#[test]
fn a_row_is_found_among_such_as_crowd_anywhere() {
    // Hashes that a guess is as wrong of as can be: between crowds, at fractions of all.
    let fractions: Vec<u128> = (1..=15_u128)
        .flat_map(|part| [u128::from(u64::MAX / 15) * part, u128::from(u64::MAX / 15) * part - 1])
        .map(|top| (top << 64) + 5_000)
        .collect();
    for crowd in [20, 300, 998] {
        let low = 0..crowd;
        let high = (0..crowd).map(|at| u128::MAX - crowd + at);
        let middle = (0..crowd).map(|at| (u128::MAX >> 1) + at);
        search(&low.clone().chain([u128::MAX - 1, u128::MAX]).collect::<Vec<_>>(), &fractions);
        search(&[0, 1].into_iter().chain(high.clone()).collect::<Vec<_>>(), &fractions);
        search(&low.clone().chain(high.clone()).collect::<Vec<_>>(), &fractions);
        search(&low.chain(middle.clone()).chain(high).collect::<Vec<_>>(), &fractions);
        search(&middle.collect::<Vec<_>>(), &fractions);
    }
}
