//! What a verification finds, and what it counts: objects, the vault's foundations, runs, state tables, tree segments.

use crate::changes::said;
use crate::engine::{FIRST, store, wrapping};
use crate::rotation::{back_up, made};
use crate::tree_kit::{finished, meta, put, sealed, tree_writer, unsealed};
use crate::watched_storage::Watched;
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::{DigestSum, SecretKey, sha256};
use holdfast_vault::format::changes::{Change as Captured, ChangeName};
use holdfast_vault::format::entry::{DeltaEntry, TreeEntry};
use holdfast_vault::format::footer::{
    BlockIndex, DeltaCounts, Fence, IndexSegment, RunSegment, Segment, TreeSegment,
};
use holdfast_vault::format::header::{Id, ObjectKind};
use holdfast_vault::format::root::WrappedKey;
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::model::{Part, StreamKind};
use holdfast_vault::read::Vault;
use holdfast_vault::read::verify::{self, Depth, Finding, Findings};
use holdfast_vault::storage::{Storage as _, StoredSum};
use holdfast_vault::write::changes::write_changes;
use holdfast_vault::write::records::{DeltaKind, KeyStorage, RunsOptions};
use holdfast_vault::write::{Change, FinishedObject, RecordsWriter, RunLimits};

#[test]
fn nothing_is_wrong_before_anything_is_looked_at() {
    let clean = Findings::clean();
    assert!(clean.valid() && clean.errors.is_empty());
    assert!(clean.checksum_valid && clean.structure_valid && clean.data_integrity);
}

#[test]
fn findings_of_several_checks_add_up() {
    let finding = |object: &str| Finding {
        object: object.to_owned(),
        code: "ObjectDamaged".to_owned(),
        message: "m".to_owned(),
    };
    let findings = |object: &str, by: u64| Findings {
        errors: vec![finding(object)],
        objects_checked: 5 * by,
        sums_compared: 4 * by,
        objects_read: 3 * by,
        blocks_checked: 2 * by,
        bytes_checked: by,
        ..Findings::clean()
    };
    let mut merged = findings("a", 1);
    merged.merge(findings("b", 100));
    assert_eq!(merged, Findings { errors: vec![finding("a"), finding("b")], ..findings("", 101) });
    assert!(!merged.valid());
}

#[test]
fn a_promise_that_one_check_saw_broken_stays_broken() {
    let findings = |bits: u8| Findings {
        checksum_valid: bits & 1 != 0,
        structure_valid: bits & 2 != 0,
        data_integrity: bits & 4 != 0,
        ..Findings::clean()
    };
    for (one, other) in (0..8).flat_map(|one| (0..8).map(move |other| (one, other))) {
        let mut merged = findings(one);
        merged.merge(findings(other));
        assert_eq!(merged, findings(one & other), "{one:03b} and {other:03b}");
    }
}

#[tokio::test]
async fn an_object_is_counted_as_far_as_it_was_checked() {
    let (_, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    for (at, stored) in (0..).zip(&manifest.objects) {
        let quick = Findings { objects_checked: 1, bytes_checked: stored.size, ..Findings::clean() };
        assert_eq!(verify::object(&vault, &manifest, at, Depth::Quick).await.unwrap(), quick);
        let full = Findings { objects_read: 1, blocks_checked: 1, ..quick };
        assert_eq!(verify::object(&vault, &manifest, at, Depth::Full).await.unwrap(), full);
    }
}

#[tokio::test]
async fn the_checksum_that_a_store_keeps_is_compared_where_one_is_known() {
    let (storage, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    let (name, size) = captured(&vault, &storage);
    for (sum, compared) in [(StoredSum::NotKept, 0), (StoredSum::Same, 1)] {
        let vault = vault.over(Watched::telling(&storage, sum));
        let findings = verify::object(&vault, &manifest, 0, Depth::Quick).await.unwrap();
        assert_eq!((findings.sums_compared, findings.objects_checked), (compared, 1));
        assert!(findings.valid());
    }
    let vault = vault.over(Watched::telling(&storage, StoredSum::Differs));
    let findings = verify::object(&vault, &manifest, 0, Depth::Quick).await.unwrap();
    assert_eq!(objects(&findings), [manifest.objects[0].key()]);
    let none = Findings { checksum_valid: false, data_integrity: false, ..Findings::clean() };
    assert_eq!(Findings { errors: Vec::new(), ..findings }, none, "it does not count as found in place");
    // Nobody wrote down the sums of a change object.
    let findings = verify::changes(&vault, &name, size).await.unwrap();
    let counted = Findings {
        objects_checked: 1,
        objects_read: 1,
        blocks_checked: 1,
        bytes_checked: size,
        ..Findings::clean()
    };
    assert_eq!(findings, counted);
}

/// A change object in the store: its name and size.
fn captured(vault: &Vault, storage: &MemoryStorage) -> (ChangeName, u64) {
    let change = Captured {
        hash: [3; 16],
        time: 500,
        sequence: "1".to_owned(),
        key: b"[1]".to_vec(),
        before: None,
        after: Some(b"{}".to_vec()),
    };
    let folder = ChangeName::folder_of(vault.keys(), "r").unwrap();
    let (name, object) =
        write_changes(vault.keys(), Codec::Zstd, folder, 0, &said("r"), vec![change]).unwrap();
    storage.overwrite(&name.key(), object.bytes.clone());
    (name, object.bytes.len() as u64)
}

fn objects(findings: &Findings) -> Vec<String> {
    findings.errors.iter().map(|finding| finding.object.clone()).collect()
}

#[tokio::test]
async fn what_every_backup_needs_beside_its_objects_is_checked() {
    let (storage, vault) = made().await;
    assert_eq!(verify::foundations(&vault).await.unwrap(), Findings::clean());
    let wrapped = |vault: Id, version| {
        let by = wrapping(1);
        let wrapped = WrappedKey::wrap(vault, version, &by.id, &by.secret, &SecretKey::new([7; 32])).unwrap();
        serde_json::to_string(&wrapped).unwrap()
    };
    let (own, other) = (vault.id(), Id([9; 16]));
    let (told, key) = ("holdfast.json", "keys/00000001.json");
    let wrong = [
        (told, None, "ObjectDamaged"),
        (told, Some("no JSON".to_owned()), "ObjectDamaged"),
        (told, Some(format!(r#"{{"format": 2, "vault": "{own}"}}"#)), "ObjectDamaged"),
        (told, Some(format!(r#"{{"format": 1, "vault": "{other}"}}"#)), "ObjectDamaged"),
        (key, None, "ObjectMissing"),
        (key, Some("{}".to_owned()), "ObjectDamaged"),
        (key, Some(wrapped(own, 2)), "ObjectDamaged"),
        (key, Some(wrapped(other, 1)), "ObjectDamaged"),
    ];
    for (object, body, code) in wrong {
        let before = crate::rotation::take(&storage, object).await;
        if let Some(body) = &body {
            storage.overwrite(object, body.clone());
        }
        let findings = verify::foundations(&vault).await.unwrap();
        let found: Vec<_> = findings.errors.iter().map(|error| (&*error.object, &*error.code)).collect();
        assert_eq!(found, [(object, code)], "{body:?}");
        let broken = Findings { structure_valid: false, data_integrity: false, ..Findings::clean() };
        assert_eq!(Findings { errors: Vec::new(), ..findings }, broken, "{body:?}");
        storage.overwrite(object, before);
    }
    // Another wrapping of the same version is none of its business.
    storage.overwrite(key, wrapped(own, 1));
    storage.overwrite(told, format!(r#"{{"format": 1, "vault": "{own}", "more": []}}"#));
    assert!(verify::foundations(&vault).await.unwrap().valid());
    storage.delete(key).await.unwrap();
    storage.delete(told).await.unwrap();
    assert_eq!(objects(&verify::foundations(&vault).await.unwrap()), [told, key]);
}

/// What checking an object in full finds. Its bytes are those that the manifest tells.
async fn in_full(vault: &Vault, object: FinishedObject) -> Findings {
    let manifest = store(vault, StreamKind::Tree, vec![object]).await;
    let findings = verify::object(vault, &manifest, 0, Depth::Full).await.unwrap();
    assert!(findings.valid() || objects(&findings) == [manifest.objects[0].key()], "{findings:?}");
    assert_eq!(findings.structure_valid, findings.valid());
    assert!(findings.checksum_valid, "its bytes are those that were written");
    findings
}

/// Why an object is not what it should be.
async fn refused(vault: &Vault, object: FinishedObject) -> String {
    in_full(vault, object).await.errors.remove(0).message
}

#[tokio::test]
async fn a_run_that_does_not_add_up_to_its_footer_is_found() {
    let (_, vault) = made().await;
    let options = RunsOptions {
        codec: Codec::None,
        storage: KeyStorage::Derived,
        delta: true,
        name_version: 1,
        first: FIRST,
        limits: RunLimits::default(),
    };
    let mut writer = RecordsWriter::with(vault.keys(), options).unwrap();
    for (key, kind) in [("1", DeltaKind::Added), ("2", DeltaKind::Changed), ("3", DeltaKind::Changed)] {
        let identity = writer.identify(key.as_bytes(), b"{\"v\":1}");
        writer.push_identified(&identity, kind, key.as_bytes(), b"{\"v\":1}", 0).unwrap();
    }
    writer.push_tombstone(1 << 100).unwrap();
    writer.finish().unwrap();
    let (blocks, segments) = unsealed(&vault, &writer.take_finished()[0]).await;
    let [Segment::Run(run)] = &segments[..] else { panic!("a pack of one run") };
    assert_eq!(run.delta, Some(DeltaCounts { added: 1, changed: 2, deleted: 1 }));
    let changed = |change: fn(&mut RunSegment)| {
        let mut run = run.clone();
        change(&mut run);
        sealed(&vault, ObjectKind::Pack, &blocks, vec![Segment::Run(run)])
    };
    assert!(in_full(&vault, changed(|_| ())).await.valid());
    let wrong: [fn(&mut RunSegment); 6] = [
        |run| run.digest.add(&[1; 32]),
        |run| run.bytes += 1,
        |run| run.bytes -= 1,
        |run| run.delta.as_mut().unwrap().added += 1,
        |run| run.delta.as_mut().unwrap().changed -= 1,
        |run| run.delta.as_mut().unwrap().deleted += 1,
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        let why = refused(&vault, changed(change)).await;
        assert!(why.ends_with("its records do not add up to what its footer says"), "{number}: {why}");
    }
}

/// Rows of a state table, of key hashes that begin with these bytes.
fn rows(hashes: &[u8]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| [[*hash; 16], [7; 16]].concat()).collect()
}

/// An index object of two state tables: one of a single row, and one of these blocks, with their counts.
fn tables(vault: &Vault, blocks: &[(Vec<u8>, u32)]) -> FinishedObject {
    let table = |first_block, counts: &[u32]| {
        let fences = counts.iter().map(|count| Fence { first: vec![0; 16], count: *count }).collect();
        Segment::State(IndexSegment { origin: FIRST, index: BlockIndex { first_block, fences } })
    };
    let counts: Vec<u32> = blocks.iter().map(|(_, count)| *count).collect();
    let plain: Vec<Vec<u8>> =
        std::iter::once(rows(&[200])).chain(blocks.iter().map(|(plain, _)| plain.clone())).collect();
    sealed(vault, ObjectKind::Index, &plain, vec![table(0, &[1]), table(1, &counts)])
}

#[tokio::test]
async fn a_state_table_of_several_blocks_is_in_order_and_of_whole_rows() {
    let (_, vault) = made().await;
    let sound = [(rows(&[1, 2]), 2), (rows(&[3]), 1), (rows(&[9, 10, 255]), 3)];
    let findings = in_full(&vault, tables(&vault, &sound)).await;
    assert_eq!((findings.valid(), findings.blocks_checked), (true, 4));
    let cut = rows(&[1, 2])[..63].to_vec();
    let wrong = [
        (vec![(cut.clone(), 1)], "is malformed"),
        (vec![(cut, 2)], "is malformed"),
        (vec![(rows(&[1, 2]), 1)], "is malformed"),
        (vec![(rows(&[1, 2]), 3)], "is malformed"),
        (vec![(rows(&[1]), 1), (vec![0; 31], 0)], "is malformed"),
        (vec![(rows(&[2, 1]), 2)], "is out of order"),
        (vec![(rows(&[2, 2]), 2)], "is out of order"),
        (vec![(rows(&[1, 2]), 2), (rows(&[2, 3]), 2)], "is out of order"),
        (vec![(rows(&[8, 9]), 2), (rows(&[1]), 1)], "is out of order"),
    ];
    for (blocks, end) in wrong {
        let why = refused(&vault, tables(&vault, &blocks)).await;
        assert!(why.ends_with(end), "{blocks:?}: {why}");
    }
}

#[tokio::test]
async fn a_tree_segment_that_does_not_add_up_to_its_footer_is_found() {
    let (_, vault) = made().await;
    for is_delta in [false, true] {
        let mut writer = tree_writer(&vault, 8 << 20, is_delta);
        put(&mut writer, Change::Added, "a", b"some content");
        if is_delta {
            writer.tombstone(b"b").unwrap();
        }
        put(&mut writer, Change::Changed, "c", b"other content");
        let (blocks, segments) = unsealed(&vault, &finished(writer)[0]).await;
        let [Segment::Tree(tree)] = &segments[..] else { panic!("a pack of one tree segment") };
        let changed = |change: fn(&mut TreeSegment)| {
            let mut tree = tree.clone();
            change(&mut tree);
            sealed(&vault, ObjectKind::Pack, &blocks, vec![Segment::Tree(tree)])
        };
        assert!(in_full(&vault, changed(|_| ())).await.valid());
        let mut wrong: Vec<fn(&mut TreeSegment)> = vec![
            |tree| tree.digest.add(&[1; 32]),
            |tree| tree.bytes += 1,
            |tree| tree.bytes -= 1,
            |tree| tree.last = b"b".to_vec(),
            |tree| tree.last = b"d".to_vec(),
        ];
        if is_delta {
            wrong.push(|tree| tree.delta.as_mut().unwrap().added += 1);
            wrong.push(|tree| tree.delta.as_mut().unwrap().changed -= 1);
            wrong.push(|tree| tree.delta.as_mut().unwrap().deleted += 1);
            wrong.push(|tree| tree.delta.as_mut().unwrap().deleted -= 1);
        } else {
            wrong.push(|tree| tree.files += 1);
        }
        for (number, change) in wrong.into_iter().enumerate() {
            let why = refused(&vault, changed(change)).await;
            assert!(
                why.ends_with("its tree entries do not add up to what its footer says"),
                "{number}: {why}"
            );
        }
    }
}

/// A delta of empty files, and of tombstones where a path begins with `-`; its footer is right.
fn delta_of(vault: &Vault, paths: &[&str]) -> FinishedObject {
    let (mut block, mut digest, mut counts) = (Vec::new(), DigestSum::default(), DeltaCounts::default());
    let bare = |path: &str| path.trim_start_matches('-').as_bytes().to_vec();
    for path in paths {
        let stored = if path.starts_with('-') {
            counts.deleted += 1;
            DeltaEntry::Tombstone(bare(path))
        } else {
            let part = Part { offset: 0, length: 0 };
            let entry = TreeEntry { meta: meta(path, 0), part, sha256: sha256(b""), extents: Vec::new() };
            counts.added += 1;
            digest.add(&entry.digest());
            DeltaEntry::Entry(entry)
        };
        stored.encode(&mut block);
    }
    let count = u32::try_from(paths.len()).unwrap();
    let segment = TreeSegment {
        origin: FIRST,
        delta: Some(counts),
        packs: Vec::new(),
        files: counts.added,
        bytes: 0,
        digest,
        last: bare(paths.last().unwrap()),
        index: BlockIndex { first_block: 0, fences: vec![Fence { first: bare(paths[0]), count }] },
    };
    sealed(vault, ObjectKind::Pack, &[block], vec![Segment::Tree(segment)])
}

#[tokio::test]
async fn tree_entries_out_of_order_are_found_though_they_add_up() {
    let (_, vault) = made().await;
    for paths in [&["a"][..], &["a", "b", "c"], &["-a", "b", "-c", "-d"], &["a", "a/", "a/b", "b"]] {
        assert!(in_full(&vault, delta_of(&vault, paths)).await.valid(), "{paths:?}");
    }
    let wrong: [&[&str]; 7] = [
        &["a", "a"],
        &["b", "a"],
        &["-a", "-a"],
        &["-b", "-a"],
        &["-a", "a"],
        &["b", "-a"],
        &["a", "c", "b"],
    ];
    for paths in wrong {
        let why = refused(&vault, delta_of(&vault, paths)).await;
        assert!(why.ends_with("its tree entries are out of order"), "{paths:?}: {why}");
    }
}
