//! Increments of trees: every backup of a chain gives back the tree of its day, what did not change is not read, and
//! what moved is not stored again.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may panic as tests do.

use async_trait::async_trait;
use holdfast_common::jobs::BackupType;
use holdfast_connectors::files::FilesSource;
use holdfast_connectors::{
    Flow, PathBounds, RangeSink, Sizing, Source, SourceRange, SourceSpec, TargetSpec, TreeSink, Want,
};
use holdfast_local::Cloud;
use holdfast_tests::{Node, back_up, cloud, configure, hostile_tree, noise, tiny_limits, tree, whole};
use holdfast_vault::compress::Codec;
use holdfast_vault::error::Result;
use holdfast_vault::format::footer::{DeltaCounts, Origin, Segment};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::model::{EntryMeta, Part, Warning};
use holdfast_vault::read::{MergedTree, PathSpan, wear};
use holdfast_vault::write::{FinishedObject, TreeLimits};
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::{Compaction, Policy, Resource};
use holdfast_workflow::events::Selection;
use holdfast_workflow::export::tree_delta::{ObjectSink, TreeBase, TreeDelta};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

struct Whim(u64);

impl Whim {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

const NAMES: [&str; 7] = ["a", "a-b", "a.b", "b", "b0", "c", "m"];

/// One change of a tree, of any kind; one that cannot be made is none.
fn edit(root: &Path, whim: &mut Whim) {
    let depth = 1 + whim.below(3);
    let mut some = || {
        let mut path = root.to_owned();
        for _ in 0..depth {
            path.push(NAMES[usize::try_from(whim.below(7)).unwrap()]);
        }
        path
    };
    let (path, other) = (some(), some());
    let found = fs::symlink_metadata(&path);
    let (is_dir, is_file) = found.as_ref().map_or((false, false), |found| (found.is_dir(), found.is_file()));
    let length =
        usize::try_from([0, 30, 3_000, 60_000, 150_000][usize::try_from(whim.below(5)).unwrap()]).unwrap();
    match whim.below(8) {
        0 if is_dir => fs::remove_dir_all(&path).unwrap(),
        0 => drop(fs::remove_file(&path)),
        1 if found.is_ok() && fs::symlink_metadata(&other).is_err() => drop(fs::rename(&path, &other)),
        2 if is_file => {
            let mut content = fs::read(&path).unwrap();
            content.extend_from_slice(&noise(whim.below(1 << 40), 2_000));
            fs::write(&path, content).unwrap();
        }
        3 if is_dir => {
            fs::remove_dir_all(&path).unwrap();
            fs::write(&path, "was a directory").unwrap();
        }
        4 if is_file => {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            fs::write(path.join("in"), "was a file").unwrap();
        }
        5 if !is_dir => {
            drop(fs::remove_file(&path));
            drop(symlink(format!("to-{}", whim.below(4)), &path));
        }
        _ if !is_dir && fs::create_dir_all(path.parent().unwrap()).is_ok() => {
            drop(fs::remove_file(&path));
            fs::write(&path, noise(whim.below(1 << 40), length)).unwrap();
        }
        _ => {}
    }
    // Times of long ago: what was just written is not taken for unchanged, and most should be.
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
        let time = UNIX_EPOCH + Duration::from_nanos(1_000_000_000_000_000_000 + whim.below(1 << 50));
        fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}

async fn manifest(cloud: &Cloud, id: &str) -> Arc<Manifest> {
    Arc::new(cloud.services().vault.manifest(id).await.unwrap())
}

async fn increment(cloud: &Cloud, backup_type: BackupType) -> String {
    let id = cloud.new_id();
    let job = cloud.run_backup(&id, "site", Some(backup_type)).await.unwrap();
    assert_eq!(job.backup_type, Some(backup_type), "{:?}", job.warnings);
    id
}

async fn restored(cloud: &Cloud, id: &str, selection: Selection) -> BTreeMap<Vec<u8>, Node> {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("restored");
    let request = holdfast_workflow::events::RestoreRequest {
        selection,
        ..whole(id, TargetSpec::Files { path: target.clone() })
    };
    cloud.run_restore(&cloud.new_id(), &request).await.unwrap();
    tree(&target)
}

async fn is_whole(cloud: &Cloud, id: &str, wanted: &BTreeMap<Vec<u8>, Node>) {
    let verified = cloud.run_verify(id, "full").await.unwrap();
    assert!(verified.valid, "{:?}", verified.progress.findings);
    assert_eq!(restored(cloud, id, Selection::default()).await, *wanted);
}

async fn site(cloud: &Cloud, path: &Path, compaction: Compaction) {
    let source = SourceSpec::Files { path: path.to_owned() };
    let resource =
        Resource { name: "site".to_owned(), source, policy: Policy { compaction, ..Policy::default() } };
    let document = serde_json::to_value(&resource).unwrap();
    cloud.services().jobs.put_resource("site", &document).await.unwrap();
}

async fn histories(seed: u64, limits: WorkLimits, compaction: Compaction) {
    let mut whim = Whim(seed);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    fs::create_dir(&root).unwrap();
    let cloud = cloud(&dir.path().join("home"), limits).await;
    site(&cloud, &root, compaction).await;
    let mut kept = Vec::new();
    for round in 0..6 {
        for _ in 0..[25, 8, 1, 0, 12, 5][round] {
            edit(&root, &mut whim);
        }
        let backup_type = match whim.below(4) {
            _ if round == 0 => BackupType::Full,
            0 => BackupType::Differential,
            _ => BackupType::Incremental,
        };
        kept.push((increment(&cloud, backup_type).await, tree(&root)));
    }
    for (id, wanted) in &kept {
        is_whole(&cloud, id, wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_backup_of_a_chain_gives_back_the_tree_of_its_day() {
    for seed in 1..6 {
        histories(seed * 7_919, tiny_limits(), Compaction::default()).await;
    }
    histories(99, WorkLimits::default(), Compaction::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn chains_that_are_compacted_give_back_the_tree_of_their_day() {
    let often = Compaction { layers: 2, ..Compaction::default() };
    for seed in 1..4 {
        histories(seed * 104_729, tiny_limits(), often).await;
    }
    for (seed, worn_percent) in [(5, 60), (6, 100)] {
        histories(seed * 104_729, tiny_limits(), Compaction { worn_percent, ..often }).await;
    }
}

/// A site of twenty files, of which all but three are then changed.
async fn worn_site(cloud: &Cloud, root: &Path) -> (String, String) {
    fs::create_dir(root).unwrap();
    let write = |number: u64, day: u64| {
        let path = root.join(format!("file-{number:02}"));
        fs::write(&path, noise(100 * day + number, 100_000)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000 + day);
        fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    (0..20).for_each(|number| write(number, 0));
    let never = Compaction { layers: 1_000, delta_percent: 1_000_000, worn_percent: 0 };
    site(cloud, root, never).await;
    let first = increment(cloud, BackupType::Full).await;
    (3..20).for_each(|number| write(number, 1));
    (first, increment(cloud, BackupType::Incremental).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn packs_of_which_little_is_needed_are_written_anew() {
    // Three files of twenty are needed of the first pack: 15 %.
    for (worn_percent, goes) in [(0, false), (10, false), (25, true)] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("site");
        let cloud = cloud(&dir.path().join("home"), WorkLimits::default()).await;
        let (first, second) = worn_site(&cloud, &root).await;
        let (old, base) = (manifest(&cloud, &first).await, manifest(&cloud, &second).await);
        let pack = |of: &Manifest| {
            of.objects.iter().find(|object| object.kind == ObjectKind::Pack).cloned().unwrap()
        };
        let (worn, fresh) = (pack(&old), pack(&base));
        assert!(base.objects.contains(&worn), "the increment refers to the first pack");

        site(&cloud, &root, Compaction { layers: 2, worn_percent, ..Compaction::default() }).await;
        let third = increment(&cloud, BackupType::Incremental).await;
        let now = manifest(&cloud, &third).await;
        assert_eq!(now.streams[0].layers.len(), 1);
        assert_eq!(now.objects.contains(&worn), !goes, "{worn_percent}");
        assert!(now.objects.contains(&fresh), "what is needed whole is not written again");
        let new = added(&base, &now);
        let wanted = if goes { 300_000..330_000 } else { 0..30_000 };
        assert!(wanted.contains(&new), "{worn_percent}: {new} bytes were added");
        let wear =
            wear::worn_packs(&cloud.services().vault, &now, &now.streams[0], worn_percent).await.unwrap();
        assert_eq!(wear.into_iter().collect::<Vec<_>>(), [], "{worn_percent}");
        for id in [&first, &second, &third] {
            assert!(cloud.run_verify(id, "full").await.unwrap().valid);
        }
        is_whole(&cloud, &third, &tree(&root)).await;
    }
}

/// Bytes that a backup added to the vault.
fn added(base: &Manifest, now: &Manifest) -> u64 {
    let new = now.objects.iter().filter(|object| base.objects.iter().all(|old| old.id != object.id));
    new.map(|object| object.size).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_moved_or_grew_is_not_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    fs::create_dir_all(root.join("old/deep")).unwrap();
    fs::write(root.join("old/deep/film"), noise(1, 900_000)).unwrap();
    fs::write(root.join("log"), noise(2, 400_000)).unwrap();
    let cloud = cloud(&dir.path().join("home"), WorkLimits::default()).await;
    site(&cloud, &root, Compaction { delta_percent: 1_000, ..Compaction::default() }).await;
    let first = back_up(&cloud, "site").await;

    fs::rename(root.join("old"), root.join("new")).unwrap();
    fs::rename(root.join("new/deep/film"), root.join("new/deep/another")).unwrap();
    let mut log = fs::read(root.join("log")).unwrap();
    log.extend_from_slice(b"one more line\n");
    fs::write(root.join("log"), log).unwrap();
    let second = increment(&cloud, BackupType::Incremental).await;
    let (before, after) = (manifest(&cloud, &first).await, manifest(&cloud, &second).await);
    assert!(added(&before, &after) < 100_000, "{} bytes were added", added(&before, &after));
    is_whole(&cloud, &second, &tree(&root)).await;

    // Nothing changed: nothing is added, though the files are so young that they were read to be sure.
    let third = increment(&cloud, BackupType::Incremental).await;
    assert_eq!(added(&after, &*manifest(&cloud, &third).await), 0);
    is_whole(&cloud, &third, &tree(&root)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_file_in_parts_stays_changes_grows_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    fs::create_dir(&root).unwrap();
    let large = root.join("large");
    let write = |content: &[u8], nanos: u64| {
        fs::write(&large, content).unwrap();
        let time = UNIX_EPOCH + Duration::from_nanos(nanos);
        fs::File::options().append(true).open(&large).unwrap().set_modified(time).unwrap();
    };
    for name in ["before", "largf", "z"] {
        fs::write(root.join(name), name).unwrap();
    }
    let mut content = noise(9, 500_000);
    write(&content, 1_000);
    let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
    site(&cloud, &root, Compaction { delta_percent: 1_000, ..Compaction::default() }).await;
    let mut kept = vec![(increment(&cloud, BackupType::Full).await, tree(&root))];
    for step in 1..6_u64 {
        match step {
            1 => drop(fs::remove_file(root.join("before"))),
            2 => content[250_000] ^= 1,
            3 => content.extend_from_slice(&noise(10, 90_000)),
            4 => content.truncate(45_000),
            _ => fs::remove_file(&large).unwrap(),
        }
        if (2..5).contains(&step) {
            write(&content, 1_000 + step);
        }
        let before = manifest(&cloud, &kept.last().unwrap().0).await;
        let id = increment(&cloud, BackupType::Incremental).await;
        let new = added(&before, &*manifest(&cloud, &id).await);
        assert!(
            new < [0, 8_000, 120_000, 160_000, 60_000, 8_000][usize::try_from(step).unwrap()],
            "{step}: {new}"
        );
        kept.push((id, tree(&root)));
    }
    for (id, wanted) in &kept {
        is_whole(&cloud, id, wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_may_go_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    fs::create_dir(&root).unwrap();
    hostile_tree(&root);
    let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
    configure(&cloud, "site", SourceSpec::Files { path: root.clone() }).await;
    let mut kept = vec![(increment(&cloud, BackupType::Full).await, tree(&root))];
    let aside = dir.path().join("aside");
    fs::rename(&root, &aside).unwrap();
    fs::create_dir(&root).unwrap();
    kept.push((increment(&cloud, BackupType::Incremental).await, tree(&root)));
    fs::remove_dir(&root).unwrap();
    fs::rename(&aside, &root).unwrap();
    kept.push((increment(&cloud, BackupType::Incremental).await, tree(&root)));
    fs::remove_file(root.join("a-b")).unwrap();
    kept.push((increment(&cloud, BackupType::Incremental).await, tree(&root)));
    for (id, wanted) in &kept {
        is_whole(&cloud, id, wanted).await;
    }
    let chosen = Selection { paths: vec!["many/**".to_owned(), "a*".to_owned()], ..Selection::default() };
    let found = restored(&cloud, &kept[3].0, chosen).await;
    let wanted: Vec<_> =
        kept[3].1.keys().filter(|path| path.starts_with(b"many") || path.starts_with(b"a")).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted);
}

/// Passes a source's entries on, and fails if content comes that is not expected.
struct Watched<'a, 'b> {
    inner: &'b mut TreeDelta<'a>,
    path: Vec<u8>,
    wanted: Vec<Vec<u8>>,
}

#[async_trait]
impl TreeSink for Watched<'_, '_> {
    async fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<Want> {
        self.path.clone_from(&meta.path);
        let want = self.inner.begin(meta, part).await?;
        if want == Want::Content {
            self.wanted.push(self.path.clone());
        }
        Ok(want)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        assert!(self.wanted.contains(&self.path), "content that nobody asked for");
        self.inner.write(bytes).await
    }

    async fn finish(&mut self) -> Result<Flow> {
        self.inner.finish().await
    }

    fn abandon(&mut self) {
        self.inner.abandon();
    }

    fn warn(&mut self, warning: Warning) {
        self.inner.warn(warning);
    }
}

#[derive(Default)]
struct Ranges(Vec<SourceRange>);

#[async_trait]
impl RangeSink for Ranges {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        self.0.push(range);
        Ok(())
    }
}

#[derive(Default)]
struct Objects(Vec<FinishedObject>);

#[async_trait]
impl ObjectSink for Objects {
    async fn put(&mut self, object: FinishedObject) -> Result<()> {
        self.0.push(object);
        Ok(())
    }
}

fn age(root: &Path, names: &[&str]) {
    for name in names {
        let file = fs::File::options().append(true).open(root.join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_what_changed_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let root: PathBuf = dir.path().join("site");
    fs::create_dir_all(root.join("d")).unwrap();
    for (name, bytes) in [("same", 500), ("large", 90_000), ("d/touched", 700), ("young", 20), ("gone", 5)] {
        fs::write(root.join(name), noise(bytes as u64, bytes)).unwrap();
    }
    age(&root, &["same", "large", "d/touched"]);
    let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
    configure(&cloud, "site", SourceSpec::Files { path: root.clone() }).await;
    let base = manifest(&cloud, &back_up(&cloud, "site").await).await;
    fs::remove_file(root.join("gone")).unwrap();
    fs::write(root.join("d/touched"), noise(8, 700)).unwrap();
    fs::write(root.join("new"), "new").unwrap();

    let source = FilesSource::new(&root);
    let stream = source.streams().await.unwrap().remove(0);
    let mut ranges = Ranges::default();
    source.cut(&stream, &Sizing { bytes: 40_000, entries: 7, workers: 2 }, &mut ranges).await.unwrap();
    let (mut wanted, mut objects, mut files) = (Vec::new(), Objects::default(), 0);
    for (task, range) in (0_u32..).zip(&ranges.0) {
        let of = TreeBase {
            vault: &cloud.services().vault,
            base: &base,
            stream: &base.streams[0],
            bounds: source.bounds(&stream, range, None).unwrap().unwrap(),
            compact: false,
            worn: BTreeSet::new(),
            first: Origin { stream: 0, task, sequence: 0 },
            codec: Codec::Zstd,
            limits: TreeLimits::default(),
            step_bytes: u64::MAX,
        };
        let mut delta = TreeDelta::new(of, &mut objects).unwrap();
        let mut watched = Watched { inner: &mut delta, path: Vec::new(), wanted: Vec::new() };
        assert!(source.read_tree(&stream, range, None, &mut watched).await.unwrap().is_none());
        wanted.append(&mut watched.wanted);
        files += delta.finish_step(true).await.unwrap().seen.files;
    }
    assert_eq!(wanted, [&b"d/touched"[..], b"new", b"young"]);
    assert_eq!(files, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_that_changes_back_or_vanishes_under_the_reader_is_told_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let root: PathBuf = dir.path().join("site");
    fs::create_dir(&root).unwrap();
    for name in ["back", "gone", "large"] {
        fs::write(root.join(name), noise(name.len() as u64, if name == "large" { 90_000 } else { 500 }))
            .unwrap();
    }
    age(&root, &["back", "gone", "large"]);
    let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
    configure(&cloud, "site", SourceSpec::Files { path: root.clone() }).await;
    let base = manifest(&cloud, &back_up(&cloud, "site").await).await;
    let vault = &cloud.services().vault;
    let mut metas = BTreeMap::new();
    let mut all = MergedTree::new(vault, &base, &base.streams[0], PathSpan::default());
    while let Some(live) = all.next().await.unwrap() {
        metas.insert(live.entry.meta.path.clone(), live.entry.meta);
    }
    let mut objects = Objects::default();
    let of = TreeBase {
        vault,
        base: &base,
        stream: &base.streams[0],
        bounds: PathBounds::default(),
        compact: false,
        worn: BTreeSet::new(),
        first: Origin { stream: 0, task: 0, sequence: 0 },
        codec: Codec::Zstd,
        limits: TreeLimits::default(),
        step_bytes: u64::MAX,
    };
    let mut delta = TreeDelta::new(of, &mut objects).unwrap();
    let other = |path: &[u8], size: u64| EntryMeta { size, ..metas[path].clone() };
    let part = |length| Part { offset: 0, length };
    assert_eq!(delta.begin(other(b"back", 7), part(7)).await.unwrap(), Want::Content);
    delta.abandon();
    assert_eq!(delta.begin(other(b"back", 500), part(500)).await.unwrap(), Want::Content);
    delta.write(&fs::read(root.join("back")).unwrap()).await.unwrap();
    delta.finish().await.unwrap();
    assert_eq!(delta.begin(other(b"gone", 7), part(7)).await.unwrap(), Want::Content);
    delta.abandon();
    // A file of several parts becomes empty.
    assert_eq!(delta.begin(other(b"large", 0), part(0)).await.unwrap(), Want::Nothing);
    delta.finish().await.unwrap();
    let step = delta.finish_step(true).await.unwrap();
    assert_eq!((step.seen.files, step.seen.bytes), (2, 500));
    let packs: Vec<_> = objects.0.iter().filter(|object| object.kind == ObjectKind::Pack).collect();
    assert_eq!(packs.len(), 1);
    let key = packs[0].kind.object_key(packs[0].id);
    vault.storage().put_if_absent(&key, packs[0].bytes.clone()).await.unwrap();
    let opened = vault.open_object(packs[0].kind, packs[0].id, packs[0].bytes.len() as u64).await.unwrap();
    let Segment::Tree(tree) = &opened.footer.segments[0] else { panic!("a tree") };
    assert_eq!(tree.delta, Some(DeltaCounts { added: 0, changed: 1, deleted: 1 }));
}
