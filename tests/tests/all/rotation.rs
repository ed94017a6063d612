//! The vault key is rotated while work goes on: whoever opened the vault before goes on with it, one backup is of one
//! mind, increments build on what is older, and the reader of the specification reads all of it.

use crate::increments::bench::{Bench, Lines, NEVER, shuffled, small};
use holdfast_common::jobs::{BackupType, Job, Status};
use holdfast_connectors::SourceSpec;
use holdfast_local::Cloud;
use holdfast_tests::reader::Reader;
use holdfast_tests::{cloud, configure, hostile_tree, sorted_lines, tiny_limits, tree};
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::format::root::WrappedKey;
use holdfast_vault::read::Vault;
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::storage::Put;
use holdfast_workflow::events::{BackupInput, JobEvent, JoinEvent, PlanEvent, Selection, TaskEvent};
use holdfast_workflow::{Services, commit, export, join, plan, upload};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn key() -> WrappingKey {
    WrappingKey { id: "bench".to_owned(), secret: SecretKey::new([7; 32]) }
}

/// The services of a process that opens the vault now.
async fn opened(bench: &Bench) -> Services {
    let vault = Vault::open(Arc::new(bench.vault.clone()), &key()).await.unwrap();
    Services { vault, ..bench.services.clone() }
}

async fn rotate(bench: &Bench) -> u32 {
    let vault = opened(bench).await.vault;
    let next = vault.keys().newest_version() + 1;
    let by = key();
    let wrap =
        async |vault, version, fresh: &SecretKey| WrappedKey::wrap(vault, version, &by.id, &by.secret, fresh);
    assert_eq!(vault.make_version(next, wrap).await.unwrap(), Put::Created);
    next
}

fn lines(changed: u32) -> Lines {
    let line = |n: u32| {
        let round = if n.is_multiple_of(5) { changed } else { 0 };
        format!("{{\"id\":{n},\"round\":{round},\"text\":\"some text {n}\"}}")
    };
    let mut all: Vec<String> = (changed..60 + changed).map(line).collect();
    all.sort_unstable();
    Lines::from([("orders".to_owned(), all)])
}

/// Processes of before and after a rotation, by turns.
struct Turns<'a> {
    all: [&'a Services; 2],
    calls: usize,
}

impl<'a> Turns<'a> {
    fn next(&mut self) -> &'a Services {
        self.calls += 1;
        self.all[self.calls % 2]
    }

    async fn tasks(&mut self, bench: &Bench, list: &str) {
        let tasks: Vec<TaskEvent> = bench.listed(list).await;
        for task in tasks {
            while export::export_chunk(self.next(), &task).await.unwrap().more
                && upload::upload_part(self.next(), &task).await.unwrap().more
            {}
        }
    }
}

/// A backup during whose tasks the key is rotated.
async fn rotated_under_way(bench: &Bench, backup_type: BackupType) -> Job {
    let before = opened(bench).await;
    let input = BackupInput { resource: "r".to_owned(), backup_type: Some(backup_type) };
    let event = PlanEvent { input, execution: bench.execution() };
    let planned = plan::plan(&before, &event).await.unwrap();
    let version = rotate(bench).await;
    let after = opened(bench).await;
    let mut turns = Turns { all: [&before, &after], calls: 0 };
    turns.tasks(bench, &planned.tasks.key).await;
    let event = JoinEvent { join: planned.job.clone() };
    let joins = join::plan(turns.next(), &event).await.unwrap();
    if joins.work {
        turns.tasks(bench, &joins.tasks.key).await;
        join::plan(turns.next(), &event).await.unwrap();
    }
    let event = JobEvent { job: planned.job.clone() };
    commit::commit(turns.next(), &event).await.unwrap();
    assert_eq!(after.vault.keys().newest_version(), version);
    let job = before.jobs.job(&planned.job).await.unwrap();
    assert_eq!(job.status, Status::Completed);
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_under_way_when_the_key_is_rotated_is_whole() {
    for limits in [small(), shuffled()] {
        let bench = Bench::new(limits).await;
        bench.configure("r", "/id", NEVER).await;
        let mut done: Vec<(Job, Lines)> = Vec::new();
        let types = [BackupType::Full, BackupType::Incremental, BackupType::Incremental, BackupType::Full];
        for (round, backup_type) in (0_u32..).zip(types) {
            let now = lines(round);
            bench.write(&now);
            let job = rotated_under_way(&bench, backup_type).await;
            assert_eq!(job.backup_type, Some(backup_type), "{:?}", job.warnings);
            done.push((job, now));
        }
        // What opened the vault first, and what opens it last.
        for services in [&bench.services, &opened(&bench).await] {
            for (job, held) in &done {
                assert!(bench.verify(services, &job.id, "full").await.valid, "{}", job.id);
                let (restored, _) = bench.restored(services, &job.id, Selection::default()).await;
                assert_eq!(&restored, held);
                let one = Selection { keys: vec!["17".to_owned()], ..Selection::default() };
                let (found, _) = bench.restored(services, &job.id, one).await;
                assert_eq!(found.values().map(Vec::len).sum::<usize>(), 1, "a record is found by its key");
            }
        }
        let names: Vec<u32> = {
            let vault = &bench.services.vault;
            let mut names = Vec::new();
            for (job, _) in &done {
                names.push(vault.manifest(&job.id).await.unwrap().name_key_version);
            }
            names
        };
        assert_eq!(names, [1, 1, 1, 4], "of the plan's moment, or of its base");
    }
}

struct Shop {
    dir: tempfile::TempDir,
    cloud: Cloud,
}

impl Shop {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let shop = Self { dir, cloud };
        fs::create_dir_all(shop.path("site")).unwrap();
        fs::create_dir_all(shop.path("records")).unwrap();
        hostile_tree(Path::new(&shop.path("site")));
        configure(&shop.cloud, "site", SourceSpec::Files { path: shop.path("site") }).await;
        let source = SourceSpec::Jsonl { path: shop.path("records"), key: vec!["/id".to_owned()] };
        configure(&shop.cloud, "records", source).await;
        shop
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn change(&self, round: u32) {
        let line = |n| format!("{{\"id\":{n},\"round\":{}}}\n", if n % 7 == 0 { round } else { 0 });
        fs::write(self.path("records/orders.jsonl"), (round..200).map(line).collect::<String>()).unwrap();
        fs::write(self.path(&format!("site/round-{round}")), format!("round {round}").repeat(1_000)).unwrap();
        let _ = fs::remove_file(self.path(&format!("site/many/{round:03}.txt")));
    }

    async fn back_up(&self, resource: &str, backup_type: BackupType) -> String {
        self.cloud.run_backup(&self.cloud.new_id(), resource, Some(backup_type)).await.unwrap().id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_reader_of_the_specification_reads_a_rotated_vault() {
    let shop = Shop::new().await;
    let Some(reader) = Reader::over(&shop.path("home")) else { return };
    let types = [BackupType::Full, BackupType::Incremental, BackupType::Full, BackupType::Incremental];
    for (round, backup_type) in (0_u32..).zip(types) {
        shop.change(round);
        for resource in ["site", "records"] {
            let id = shop.back_up(resource, backup_type).await;
            assert!(shop.cloud.run_verify(&id, "full").await.unwrap().valid);
            reader.done(&["verify", &id]);
            let target = shop.path(&id);
            reader.done(&["extract", &id, "--to", target.to_str().unwrap()]);
            if resource == "site" {
                assert_eq!(tree(&target), tree(&shop.path("site")));
            } else {
                assert_eq!(sorted_lines(&target), sorted_lines(&shop.path("records")));
            }
        }
        let rotation = shop.cloud.rotate_keys(false).await.unwrap();
        assert_eq!((rotation.from, rotation.to), (round + 1, round + 2));
    }
}
