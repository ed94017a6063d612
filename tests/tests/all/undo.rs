//! A bad hour is taken back in place, and no good write is lost: on tables and files, with captured changes and between
//! two backups, beside other writers, and over again after a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use holdfast_common::jobs::{JobKind, Status};
use holdfast_connectors::{OnConflict, RecordFilter, SourceSpec};
use holdfast_local::Cloud;
use holdfast_tests::{back_up, cloud, configure, tiny_limits};
use holdfast_vault::error::Code;
use holdfast_vault::storage::list_all;
use holdfast_workflow::events::{Execution, JobEvent, UndoEvent, UndoInput};
use holdfast_workflow::history::{Asked, Point};
use holdfast_workflow::plan::detail;
use holdfast_workflow::undo::{
    self, UndoCounts, UndoDetail, UndoOf, UndoRequest, conflicts, dry_run, request,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

type Records = BTreeMap<u32, String>;

/// A directory of one file of records.
struct Shop {
    dir: tempfile::TempDir,
    cloud: Cloud,
}

impl Shop {
    async fn new(records: &Records) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let shop = Self { dir, cloud };
        fs::create_dir(shop.records()).unwrap();
        shop.put(records);
        let source = SourceSpec::Jsonl { path: shop.records(), key: vec!["/id".to_owned()] };
        configure(&shop.cloud, "products", source).await;
        shop
    }

    fn records(&self) -> PathBuf {
        self.dir.path().join("records")
    }

    fn put(&self, records: &Records) {
        let mut lines = String::new();
        for (id, text) in records {
            writeln!(lines, "{{\"id\":{id},\"text\":\"{text}\"}}").unwrap();
        }
        fs::write(self.records().join("products.jsonl"), lines).unwrap();
    }

    fn get(&self) -> Records {
        let text = fs::read_to_string(self.records().join("products.jsonl")).unwrap();
        text.lines()
            .map(|line| {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                let id = u32::try_from(record["id"].as_u64().unwrap()).unwrap();
                (id, record["text"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    async fn back_up(&self) -> String {
        back_up(&self.cloud, "products").await
    }

    async fn undo(&self, request: &UndoRequest) -> (String, UndoCounts) {
        let id = self.cloud.new_id();
        let job = self.cloud.run_undo(&id, request, None).await.unwrap();
        assert_eq!((job.kind, job.status), (JobKind::Undo, Status::Completed));
        let counts = detail::<UndoDetail>(&job).unwrap().counts;
        assert_eq!(counts.proved + counts.changed_since, counts.in_window);
        (id, counts)
    }

    /// As after a crash behind the writes of the only piece: what became of it was not kept.
    async fn forget_outcome(&self, id: &str) {
        let services = self.cloud.services();
        services.staging.delete(&format!("{id}/outcome/000000")).await.unwrap();
        let vault = services.vault.storage();
        for object in list_all(vault.as_ref(), &format!("undos/{id}/")).await.unwrap() {
            vault.delete(&object.key).await.unwrap();
        }
    }

    async fn counts(&self, id: &str) -> UndoCounts {
        detail::<UndoDetail>(&self.cloud.services().jobs.job(id).await.unwrap()).unwrap().counts
    }
}

fn between(from: &str, to: &str) -> UndoRequest {
    let asked = Asked {
        resource: "products".to_owned(),
        from: Point::Backup(from.to_owned()),
        to: Point::Backup(to.to_owned()),
        stream: None,
    };
    UndoRequest {
        of: UndoOf::Window { asked, filter: RecordFilter::default() },
        on_conflict: OnConflict::Skip,
    }
}

fn of(id: &str) -> UndoRequest {
    UndoRequest { of: UndoOf::Undo(id.to_owned()), on_conflict: OnConflict::Skip }
}

/// Good records, what a bad writer made of them, and what good writers wrote since.
fn hour() -> (Records, Records, Records) {
    let good: Records = (0..300).map(|id| (id, format!("good {id}"))).collect();
    let mut bad = good.clone();
    for id in 100..200 {
        bad.insert(id, "bad".to_owned());
    }
    (200..220).for_each(|id| drop(bad.remove(&id)));
    bad.extend((300..320).map(|id| (id, "added by mistake".to_owned())));
    let mut since = bad.clone();
    since.extend([(5, "sold".to_owned()), (150, "mended".to_owned()), (305, "kept".to_owned())]);
    since.insert(210, "made again".to_owned());
    since.insert(400, "new".to_owned());
    (good, bad, since)
}

/// What stands after the undo: good again, but for what was written since.
fn expected(good: &Records, bad: &Records, since: &Records) -> Records {
    let mut expected = good.clone();
    for id in 0..500 {
        if bad.get(&id) != since.get(&id) {
            match since.get(&id) {
                Some(text) => drop(expected.insert(id, text.clone())),
                None => drop(expected.remove(&id)),
            }
        }
    }
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bad_hour_is_taken_back_and_good_writes_stay() {
    a_bad_hour_is_taken_back(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bad_hour_is_taken_back_across_rotations_of_the_key() {
    a_bad_hour_is_taken_back(true).await;
}

async fn a_bad_hour_is_taken_back(rotated: bool) {
    let (good, bad, since) = hour();
    let shop = Shop::new(&good).await;
    let rotate = async || {
        if rotated {
            shop.cloud.rotate_keys(false).await.unwrap();
        }
    };
    let first = shop.back_up().await;
    shop.put(&bad);
    rotate().await;
    let second = shop.back_up().await;
    shop.put(&since);
    rotate().await;
    let asked = between(&first, &second);
    let dry = dry_run(shop.cloud.services(), &asked, None, 10).await.unwrap();
    assert_eq!((dry.window.added, dry.window.changed, dry.window.deleted), (20, 100, 20));
    assert_eq!((dry.would_undo, dry.conflicts, dry.already), (137, 3, 0));
    assert!(dry.exactness.exact);
    assert_eq!(shop.get(), since, "a dry run writes nothing");
    let (id, counts) = shop.undo(&asked).await;
    assert_eq!(shop.get(), expected(&good, &bad, &since));
    assert_eq!((counts.in_window, counts.undone, counts.conflicts), (140, 137, 3));
    assert_eq!((counts.proved, counts.not_proved, counts.changed_since), (140, 0, 0));
    let listed = conflicts(shop.cloud.services(), &id, 100).await.unwrap();
    let text =
        |value: &Option<Vec<u8>>| value.as_ref().map(|value| String::from_utf8(value.clone()).unwrap());
    let mut told: Vec<_> = listed
        .iter()
        .map(|c| (text(&Some(c.key.clone())).unwrap(), text(&c.was), text(&c.left), text(&c.now)))
        .collect();
    told.sort();
    let record = |id: u32, text: &str| Some(format!("{{\"id\":{id},\"text\":\"{text}\"}}"));
    assert_eq!(
        told,
        [
            ("[150]".to_owned(), record(150, "good 150"), record(150, "bad"), record(150, "mended")),
            ("[210]".to_owned(), record(210, "good 210"), None, record(210, "made again")),
            ("[305]".to_owned(), None, record(305, "added by mistake"), record(305, "kept")),
        ]
    );

    // The undo is undone, and that undo too.
    rotate().await;
    let (again, counts) = shop.undo(&of(&id)).await;
    assert_eq!((counts.in_window, counts.undone, counts.conflicts), (137, 137, 0));
    assert_eq!(shop.get(), since);
    shop.undo(&of(&again)).await;
    assert_eq!(shop.get(), expected(&good, &bad, &since));

    // A window that is back already needs nothing.
    let (_, counts) = shop.undo(&asked).await;
    assert_eq!((counts.undone, counts.already), (0, 137));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conflicts_are_treated_as_asked() {
    let (good, bad, since) = hour();
    let shop = Shop::new(&good).await;
    let first = shop.back_up().await;
    shop.put(&bad);
    let second = shop.back_up().await;
    shop.put(&since);
    let mut asked = between(&first, &second);
    asked.on_conflict = OnConflict::Fail;
    let id = shop.cloud.new_id();
    let error = shop.cloud.run_undo(&id, &asked, None).await.unwrap_err();
    assert_eq!(error.code, Code::TargetConflict);
    assert_eq!(shop.get(), since, "an undo that is to fail writes nothing");
    assert_eq!(shop.cloud.services().jobs.job(&id).await.unwrap().status, Status::Failed);

    asked.on_conflict = OnConflict::Overwrite;
    let (id, counts) = shop.undo(&asked).await;
    assert_eq!((counts.undone, counts.conflicts, counts.overwritten), (140, 3, 3));
    let mut all_back = good.clone();
    all_back.extend([(5, "sold".to_owned()), (400, "new".to_owned())]);
    assert_eq!(shop.get(), all_back);
    shop.undo(&of(&id)).await;
    assert_eq!(shop.get(), since, "what was written over comes back too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_what_is_meant_is_taken_back() {
    let (good, bad, _) = hour();
    let shop = Shop::new(&good).await;
    let first = shop.back_up().await;
    shop.put(&bad);
    let second = shop.back_up().await;
    let mut asked = between(&first, &second);
    if let UndoOf::Window { filter, .. } = &mut asked.of {
        *filter = RecordFilter::parse(&["text=bad".to_owned()], Some("15".to_owned())).unwrap();
    }
    let (_, counts) = shop.undo(&asked).await;
    assert_eq!(counts.undone, 10);

    let keys = ["120", "121", "7", "no such key"].map(str::to_owned);
    let id = shop.cloud.new_id();
    let job = shop.cloud.run_undo(&id, &between(&first, &second), Some(&keys)).await.unwrap();
    assert_eq!(shop.counts(&id).await.undone, 2);
    let told = job.warnings.iter().find(|warning| warning.code == "KeysNotChanged").unwrap();
    assert!(told.message.starts_with("2 of 4 keys") && told.message.ends_with("3, 4"), "{}", told.message);
    let mut expected = bad.clone();
    for id in (150..160).chain([120, 121]) {
        expected.insert(id, good[&id].clone());
    }
    assert_eq!(shop.get(), expected);
}

/// The steps of an undo called by hand, each twice, with a crash between what they do and what they keep.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn steps_that_run_twice_do_it_once() {
    let (good, bad, since) = hour();
    let shop = Shop::new(&good).await;
    let first = shop.back_up().await;
    shop.put(&bad);
    let second = shop.back_up().await;
    shop.put(&since);
    let (services, id) = (shop.cloud.services(), shop.cloud.new_id());
    request(services, &id, &between(&first, &second), None).await.unwrap();
    let input = UndoInput { undo: id.clone() };
    let execution = Execution { execution: id.clone(), started_at: "2026-01-01T00:00:00Z".to_owned() };
    let plan = UndoEvent::Plan { input, execution };
    for _ in 0..2 {
        assert!(undo::undo(services, &plan).await.unwrap().more);
    }
    let job = JobEvent { job: id.clone() };
    let apply = UndoEvent::Apply(job.clone());
    assert!(!undo::undo(services, &apply).await.unwrap().more);
    // The job knows nothing of it either.
    shop.forget_outcome(&id).await;
    let mut kept: UndoDetail = detail(&services.jobs.job(&id).await.unwrap()).unwrap();
    kept.applied = 0;
    let change = holdfast_common::jobs::JobChange {
        detail: Some(serde_json::to_value(&kept).unwrap()),
        ..Default::default()
    };
    services.jobs.update_job(&id, change).await.unwrap();
    for _ in 0..2 {
        assert!(!undo::undo(services, &apply).await.unwrap().more);
    }
    for step in [UndoEvent::Prove(job.clone()), UndoEvent::Finish(job)] {
        for _ in 0..2 {
            undo::undo(services, &step).await.unwrap();
        }
    }
    let counts = shop.counts(&id).await;
    assert_eq!((counts.undone, counts.already, counts.conflicts, counts.proved), (137, 0, 3, 140));
    assert_eq!(shop.get(), expected(&good, &bad, &since));
    shop.undo(&of(&id)).await;
    assert_eq!(shop.get(), since);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_undo_is_recorded_and_done_again() {
    let (good, bad, since) = hour();
    let shop = Shop::new(&good).await;
    let first = shop.back_up().await;
    shop.put(&bad);
    let second = shop.back_up().await;
    shop.put(&since);
    let (services, id) = (shop.cloud.services(), shop.cloud.new_id());
    request(services, &id, &between(&first, &second), None).await.unwrap();
    let input = UndoInput { undo: id.clone() };
    let execution = Execution { execution: id.clone(), started_at: "2026-01-01T00:00:00Z".to_owned() };
    undo::undo(services, &UndoEvent::Plan { input, execution: execution.clone() }).await.unwrap();
    undo::undo(services, &UndoEvent::Apply(JobEvent { job: id.clone() })).await.unwrap();
    shop.forget_outcome(&id).await;
    let event = holdfast_workflow::events::FailEvent {
        execution,
        input: serde_json::json!({ "undo": id }),
        error: holdfast_workflow::events::Caught { error: "Interrupted".to_owned(), cause: String::new() },
    };
    for _ in 0..2 {
        holdfast_workflow::fail::fail(services, &event).await.unwrap();
    }
    assert_eq!(services.jobs.job(&id).await.unwrap().status, Status::Failed);
    let counts = shop.counts(&id).await;
    assert_eq!((counts.undone, counts.conflicts), (137, 3));
    shop.undo(&of(&id)).await;
    assert_eq!(shop.get(), since, "what a killed undo wrote can be taken back");
    shop.undo(&between(&first, &second)).await;
    assert_eq!(shop.get(), expected(&good, &bad, &since));
}
