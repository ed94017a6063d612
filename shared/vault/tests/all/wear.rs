//! Which packs of a tree are worn: of their content, as it is stored, less than so much is needed.

use crate::engine::FIRST;
use crate::layering::add_layer;
use crate::rotation::made;
use crate::tree_kit::{finished, manifest, meta, noise, put, sealed, tree_writer};
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::format::entry::{Extent, TreeEntry};
use holdfast_vault::format::footer::{BlockIndex, Fence, Segment, TreeSegment};
use holdfast_vault::format::header::{Id, ObjectKind};
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::model::{Part, StreamKind};
use holdfast_vault::read::Vault;
use holdfast_vault::read::wear::worn_packs;
use holdfast_vault::write::{Change, FinishedObject};
use std::sync::Arc;

/// An entry by its path and extents; nobody reads its content.
fn entry(path: &str, extents: &[Extent]) -> TreeEntry {
    let length = extents.iter().map(|extent| u64::from(extent.length)).sum();
    let part = Part { offset: 0, length };
    TreeEntry { meta: meta(path, length), part, sha256: [1; 32], extents: extents.to_vec() }
}

fn extent(pack: u32, block: u32, offset: u32, length: u32) -> Extent {
    Extent { pack, block, offset, length }
}

/// A pack of blocks of so many bytes of content, and then of these entries, a block each. A block of content is 17 bytes
/// longer as it is stored.
fn pack(vault: &Vault, content: &[usize], entries: &[TreeEntry], packs: &[Id]) -> FinishedObject {
    let mut blocks: Vec<Vec<u8>> = content.iter().map(|length| vec![b'x'; *length]).collect();
    let first_block = u32::try_from(blocks.len()).unwrap();
    let mut fences = Vec::new();
    for entry in entries {
        let mut block = Vec::new();
        entry.encode(&mut block);
        blocks.push(block);
        fences.push(Fence { first: entry.meta.path.clone(), count: 1 });
    }
    let segment = TreeSegment {
        origin: FIRST,
        delta: None,
        packs: packs.to_vec(),
        files: entries.len() as u64,
        bytes: entries.iter().map(|entry| entry.part.length).sum(),
        digest: DigestSum::default(),
        last: entries.last().map_or_else(Vec::new, |entry| entry.meta.path.clone()),
        index: BlockIndex { first_block, fences },
    };
    let segments = if entries.is_empty() { Vec::new() } else { vec![Segment::Tree(segment)] };
    sealed(vault, ObjectKind::Pack, &blocks, segments)
}

async fn backup(vault: &Vault, objects: Vec<FinishedObject>) -> Manifest {
    let mut manifest = manifest(vault, &[("files", StreamKind::Tree)]);
    add_layer(vault, &mut manifest, 0, objects).await;
    manifest
}

/// The places in the manifest of the packs of which less than so much is needed.
async fn worn(vault: &Vault, manifest: &Manifest, percent: u32) -> Vec<usize> {
    let manifest = Arc::new(manifest.clone());
    let worn = worn_packs(vault, &manifest, &manifest.streams[0], percent).await.unwrap();
    let objects = manifest.objects.iter().enumerate();
    let found: Vec<usize> =
        objects.filter(|(_, object)| worn.contains(&object.id)).map(|(at, _)| at).collect();
    assert_eq!(found.len(), worn.len(), "only packs of the backup are worn");
    found
}

/// A pack is worn below exactly so many percent, and not below fewer.
async fn assert_worn_below(content: &[usize], entries: &[TreeEntry], percent: u32) {
    let (_, vault) = made().await;
    let manifest = backup(&vault, vec![pack(&vault, content, entries, &[])]).await;
    for asked in [0, 1, percent - 1] {
        assert!(worn(&vault, &manifest, asked).await.is_empty(), "{asked} of {content:?}");
    }
    for asked in [percent, percent + 1, 100] {
        assert_eq!(worn(&vault, &manifest, asked).await, [0], "{asked} of {content:?}");
    }
}

#[tokio::test]
async fn a_pack_is_worn_where_less_than_so_much_of_it_is_needed() {
    // 117 of 234 bytes: half of it, and not less.
    assert_worn_below(&[100, 100], &[entry("a", &[extent(0, 0, 0, 100)])], 51).await;
    assert_worn_below(&[100, 100], &[entry("a", &[extent(0, 1, 0, 100)])], 51).await;
    // 117 of 117 + 3 * 1017, however many entries there are.
    let small = [entry("a", &[extent(0, 3, 0, 60)]), entry("b", &[extent(0, 3, 60, 40)])];
    assert_worn_below(&[1_000, 1_000, 1_000, 100], &small, 4).await;
}

#[tokio::test]
async fn of_a_block_that_is_needed_in_part_its_part_counts() {
    // 40 of 100 bytes are 46 of 117, 30 of 200 are 32 of 217: 78 of 334.
    let parts = [entry("a", &[extent(0, 0, 10, 40), extent(0, 1, 0, 30)])];
    assert_worn_below(&[100, 200], &parts, 24).await;
    // Two files need 93 of 234 bytes.
    let two = [entry("a", &[extent(0, 0, 0, 40)]), entry("b", &[extent(0, 0, 60, 40)])];
    assert_worn_below(&[100, 100], &two, 40).await;
}

#[tokio::test]
async fn content_that_files_share_counts_for_each_but_no_more_than_its_block() {
    let shared = |files: &[&str]| -> Vec<TreeEntry> {
        files.iter().map(|path| entry(path, &[extent(0, 0, 0, 60)])).collect()
    };
    // 70 of 234 bytes, and 117 once two files have it.
    assert_worn_below(&[100, 100], &shared(&["a"]), 30).await;
    assert_worn_below(&[100, 100], &shared(&["a", "b"]), 51).await;
    assert_worn_below(&[100, 100], &shared(&["a", "b", "c"]), 51).await;
}

#[tokio::test]
async fn entries_are_no_content_that_could_wear() {
    let (_, vault) = made().await;
    let long = "p".repeat(5_000);
    let entries = [entry(&long, &[extent(0, 0, 0, 100)])];
    let manifest = backup(&vault, vec![pack(&vault, &[100], &entries, &[])]).await;
    assert!(worn(&vault, &manifest, 100).await.is_empty(), "all of its content is needed");
    let none = [entry("a", &[]), entry("b", &[])];
    let manifest = backup(&vault, vec![pack(&vault, &[], &none, &[])]).await;
    assert!(worn(&vault, &manifest, 100).await.is_empty(), "it has none");
}

#[tokio::test]
async fn packs_are_told_apart_by_what_is_needed_of_each() {
    let (_, vault) = made().await;
    let [half, full, unneeded] = [(); 3].map(|()| pack(&vault, &[100, 100], &[], &[]));
    let entries = [
        entry("a", &[extent(1, 1, 0, 100)]),
        entry("b", &[extent(2, 0, 0, 100), extent(2, 1, 0, 100)]),
        // A pack that its segment does not list is nobody's.
        entry("c", &[extent(3, 0, 0, 100)]),
    ];
    let own = pack(&vault, &[], &entries, &[half.id, full.id]);
    let manifest = backup(&vault, vec![half, full, unneeded, own]).await;
    assert!(worn(&vault, &manifest, 50).await.is_empty());
    assert_eq!(worn(&vault, &manifest, 51).await, [0]);
    assert_eq!(worn(&vault, &manifest, 100).await, [0]);
}

#[tokio::test]
async fn what_a_newer_layer_hides_wears_the_pack_below() {
    let (_, vault) = made().await;
    let mut base = tree_writer(&vault, 8 << 20, false);
    for (seed, path) in (1..).zip(["a", "b", "c", "d"]) {
        put(&mut base, Change::Added, path, &noise(seed, 2_000));
    }
    let mut manifest = backup(&vault, finished(base)).await;
    assert!(worn(&vault, &manifest, 100).await.is_empty());
    let mut delta = tree_writer(&vault, 8 << 20, true);
    put(&mut delta, Change::Changed, "b", &noise(9, 2_000));
    delta.tombstone(b"c").unwrap();
    add_layer(&vault, &mut manifest, 0, finished(delta)).await;
    // Of one block of 8,000 bytes two files of four are left.
    assert!(worn(&vault, &manifest, 49).await.is_empty());
    assert_eq!(worn(&vault, &manifest, 51).await, [0]);
    assert_eq!(worn(&vault, &manifest, 100).await, [0], "all of the new pack is needed");
}
