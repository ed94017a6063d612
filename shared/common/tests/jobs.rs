//! Job state on a real `DynamoDB` API: idempotent, conditional, and right under contention.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use holdfast_common::clock::{Clock, ManualClock};
use holdfast_common::jobs::{
    BackupType, Condemned, DeletedBy, Deletion, INDEXES, Job, JobChange, JobError, JobKind, JobStore,
    PackRow, Progress, PruneFigures, PruneRow, PruneShard, ScheduleRow, Staged, Status, StepEnd, StreamShape,
    StreamSummary, Task, Totals, Verified,
};
use holdfast_vault::error::Code;
use holdfast_vault::model::Warning;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;
use support::{Cloud, TABLE};

async fn running(store: &JobStore, clock: &dyn Clock, id: &str) -> Job {
    let job = Job::new(id, JobKind::Backup, "shop", clock.now(), json!({"plan": 1}));
    store.create_job(&job).await.unwrap();
    store.transition(id, &[Status::Pending], Status::Running, JobChange::default()).await.unwrap()
}

fn tasks(job: &str, numbers: std::ops::Range<u32>) -> Vec<Task> {
    numbers.map(|n| Task::new(job, n, "files", json!({"from": n}))).collect()
}

fn pack(task: u32, step: u32, index: u32) -> PackRow {
    PackRow { job: "J".to_owned(), task, step, index, value: json!({"pack": index}) }
}

fn totals(n: u64) -> Totals {
    Totals { records: n, files: 2 * n, bytes: 3 * n, stored_bytes: 4 * n }
}

#[tokio::test]
async fn the_table_is_made_once() {
    let cloud = Cloud::start().await;
    cloud.store.create_table_if_missing().await.unwrap();
    let described = cloud.client.describe_table().table_name(TABLE).send().await.unwrap();
    let mut names: Vec<_> = described
        .table()
        .unwrap()
        .global_secondary_indexes()
        .iter()
        .map(|i| i.index_name().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, INDEXES.map(|index| index.name));
}

#[tokio::test]
async fn a_missing_table_is_named_with_what_to_do() {
    let cloud = Cloud::start().await;
    let clock: Arc<dyn Clock> = cloud.clock.clone();
    let store = JobStore::new(cloud.client.clone(), "elsewhere", clock);
    let error = store.resource("shop").await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::StateUnavailable, Some("elsewhere")));
    assert!(error.hint.is_some());
    assert_eq!(store.put_tasks(&tasks("J", 0..2)).await.unwrap_err().code, Code::StateUnavailable);
}

#[tokio::test]
async fn a_table_that_does_not_answer_is_unavailable() {
    let cloud = Cloud::start().await;
    let store = cloud.store.clone();
    cloud.stop().await;
    assert_eq!(store.job("J").await.unwrap_err().code, Code::StateUnavailable);
}

#[tokio::test]
async fn creating_a_job_again_returns_the_first() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let job = Job::new("J", JobKind::Backup, "shop", clock.now(), json!({"by": "first"}));
    assert_eq!(store.create_job(&job).await.unwrap(), job);
    let second = Job { detail: json!({"by": "second"}), ..job.clone() };
    assert_eq!(store.create_job(&second).await.unwrap(), job);
    assert_eq!(store.job("J").await.unwrap(), job);

    for unknown in ["K", "", "no such/id", &"9".repeat(3_000)] {
        let error = store.job(unknown).await.unwrap_err();
        assert_eq!(error.code, Code::JobUnknown);
        assert!(error.hint.unwrap().contains("holdfast backups"));
    }
}

#[tokio::test]
async fn a_job_keeps_all_it_is_given() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let mut job = running(store, &**clock, "J").await;
    assert_eq!(job.started_at, Some(clock.now()));
    clock.advance(SignedDuration::from_secs(5));
    let change = JobChange {
        warnings: vec![Warning::new("Skipped", "1 socket")],
        totals: Some(totals(7)),
        streams: Some(vec![StreamSummary {
            name: "files".to_owned(),
            kind: StreamShape::Tree,
            records: 0,
            files: 14,
            bytes: 21,
        }]),
        detail: Some(json!({"manifest": "m"})),
        execution: Some("nightly".to_owned()),
        verified: Some(Verified {
            level: "quick".to_owned(),
            at: clock.now(),
            valid: true,
            errors: 0,
            warnings: 1,
        }),
        error: None,
        backup_type: None,
    };
    let done = store.transition("J", &[Status::Running], Status::Completed, change.clone()).await.unwrap();
    job.backup_type = None;
    assert_eq!((done.status, done.completed_at), (Status::Completed, Some(clock.now())));
    assert_eq!(
        done.history.iter().map(|c| c.status).collect::<Vec<_>>(),
        [Status::Pending, Status::Running, Status::Completed]
    );
    assert_eq!((done.totals, &done.streams), (totals(7), change.streams.as_ref().unwrap()));
    assert_eq!((&done.detail, &done.verified), (&json!({"manifest": "m"}), &change.verified));
    assert_eq!(store.job("J").await.unwrap(), done);

    // The same change again, later: nothing moves, no warning is doubled.
    clock.advance(SignedDuration::from_secs(5));
    assert_eq!(
        store.transition("J", &[Status::Running], Status::Completed, change.clone()).await.unwrap(),
        done
    );
    assert_eq!(store.update_job("J", change).await.unwrap(), done);
    let stored = serde_json::to_value(&done).unwrap();
    assert_eq!(stored["completed_at"], "2026-11-01T00:00:05.000Z");
    assert_eq!(serde_json::from_value::<Job>(stored).unwrap(), done);
}

#[tokio::test]
async fn a_job_ends_once() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let go = |id, from: &'static [Status], to| store.transition(id, from, to, JobChange::default());
    running(store, &**clock, "J").await;
    go("J", &[Status::Running], Status::Failed).await.unwrap();
    let error = go("J", &[Status::Running], Status::Completed).await.unwrap_err();
    assert_eq!(error.code, Code::JobState);
    running(store, &**clock, "K").await;
    go("K", &[Status::Pending, Status::Running], Status::Cancelled).await.unwrap();
    assert_eq!(go("K", &[Status::Running], Status::Completed).await.unwrap_err().code, Code::Cancelled);
    assert_eq!(go("K", &[Status::Running], Status::Failed).await.unwrap_err().code, Code::Cancelled);
    assert_eq!(go("L", &[Status::Running], Status::Failed).await.unwrap_err().code, Code::JobUnknown);
    let job = Job::new("M", JobKind::Restore, "shop", clock.now(), Value::Null);
    store.create_job(&job).await.unwrap();
    assert_eq!(go("M", &[Status::Running], Status::Completed).await.unwrap_err().code, Code::JobState);
}

#[tokio::test]
async fn of_racing_endings_one_wins() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    for round in 0..10 {
        let id = format!("J{round}");
        running(store, &**clock, &id).await;
        let endings = [Status::Completed, Status::Cancelled, Status::Failed];
        let ends = endings.map(|to| store.transition(&id, &[Status::Running], to, JobChange::default()));
        let results = join_all(ends).await;
        let job = store.job(&id).await.unwrap();
        assert_eq!(job.history.len(), 3);
        for (to, result) in endings.into_iter().zip(results) {
            match result {
                Ok(seen) => assert_eq!((seen.status, to), (job.status, job.status)),
                Err(error) if job.status == Status::Cancelled => assert_eq!(error.code, Code::Cancelled),
                Err(error) => assert_eq!(error.code, Code::JobState),
            }
        }
    }
}

#[tokio::test]
async fn no_update_is_lost_among_many() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    running(store, &**clock, "J").await;
    let warn =
        |n: u32| JobChange { warnings: vec![Warning::new("W", n.to_string())], ..JobChange::default() };
    for result in join_all((0..8).map(|n| store.update_job("J", warn(n)))).await {
        result.unwrap();
    }
    assert_eq!(store.job("J").await.unwrap().warnings.len(), 8);
}

#[tokio::test]
async fn jobs_are_listed_newest_first() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    for (id, kind, resource) in [
        ("A", JobKind::Backup, "shop"),
        ("B", JobKind::Backup, "site"),
        ("C", JobKind::Restore, "shop"),
        ("D", JobKind::Backup, "shop"),
    ] {
        let mut job = Job::new(id, kind, resource, clock.now(), Value::Null);
        job.backup_type = (kind == JobKind::Backup).then_some(BackupType::Full);
        store.create_job(&job).await.unwrap();
    }
    let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(store.jobs(JobKind::Backup, None).all().await.unwrap()), ["D", "B", "A"]);
    assert_eq!(ids(store.jobs(JobKind::Backup, Some("shop")).all().await.unwrap()), ["D", "A"]);
    assert_eq!(ids(store.jobs(JobKind::Restore, Some("shop")).all().await.unwrap()), ["C"]);
    assert!(store.jobs(JobKind::Restore, Some("site")).all().await.unwrap().is_empty());
    let mut pages = store.jobs(JobKind::Backup, None).page_size(2);
    assert_eq!(ids(pages.next().await.unwrap().unwrap()), ["D", "B"]);
    assert_eq!(ids(pages.next().await.unwrap().unwrap()), ["A"]);
    assert_eq!(pages.next().await.unwrap(), None);

    let mut job = store.job("A").await.unwrap();
    job.resource = "moved".to_owned();
    store.put_catalogue(&job).await.unwrap();
    assert_eq!(store.job("A").await.unwrap(), job);
    assert_eq!(ids(store.jobs(JobKind::Backup, Some("moved")).all().await.unwrap()), ["A"]);
}

#[tokio::test]
async fn thousands_of_tasks_are_stored_counted_and_paged() {
    let Cloud { store, .. } = &Cloud::start().await;
    let all = tasks("J", 0..1_200);
    store.put_tasks(&all).await.unwrap();
    assert_eq!(store.tasks("J").all().await.unwrap(), all);
    let mut pages = store.tasks("J").page_size(500);
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        sizes.push(page.len());
    }
    assert_eq!(sizes, [500, 500, 200]);
    let progress = store.task_totals("J").await.unwrap();
    assert_eq!(progress, Progress { tasks_done: 0, tasks_total: 1_200, totals: Totals::default() });
    assert_eq!(store.task("J", 1_199).await.unwrap(), all[1_199]);
    assert_eq!(store.task("J", 1_200).await.unwrap_err().code, Code::JobUnknown);
}

#[tokio::test]
async fn large_orders_are_stored_in_smaller_transactions() {
    let Cloud { store, .. } = &Cloud::start().await;
    let order = json!({"paths": "x".repeat(200_000)});
    let all: Vec<Task> = (0..40).map(|n| Task::new("J", n, "files", order.clone())).collect();
    store.put_tasks(&all).await.unwrap();
    assert_eq!(store.task_totals("J").await.unwrap().tasks_total, 40);
    assert_eq!(store.tasks("J").all().await.unwrap(), all);
    let too_large = Task::new("J", 40, "files", json!("x".repeat(500_000)));
    assert_eq!(store.put_tasks(&[too_large]).await.unwrap_err().code, Code::Internal);
}

#[tokio::test]
async fn planning_again_undoes_nobodys_work() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    running(store, &**clock, "J").await;
    store.put_tasks(&tasks("J", 0..3)).await.unwrap();
    let begun = store.begin_attempt("J", 1).await.unwrap();
    store.put_tasks(&tasks("J", 0..250)).await.unwrap();
    assert_eq!(store.task("J", 1).await.unwrap(), begun);
    assert_eq!(store.task_totals("J").await.unwrap().tasks_total, 250);
    let other = Task::new("J", 2, "files", json!({"from": "another plan"}));
    store.put_tasks(std::slice::from_ref(&other)).await.unwrap();
    assert_eq!(store.task("J", 2).await.unwrap().order, other.order, "nobody has begun it");
}

#[tokio::test]
async fn attempts_are_counted_while_the_job_runs() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let job = Job::new("J", JobKind::Backup, "shop", clock.now(), Value::Null);
    store.create_job(&job).await.unwrap();
    store.put_tasks(&tasks("J", 0..1)).await.unwrap();
    assert_eq!(store.begin_attempt("J", 0).await.unwrap_err().code, Code::JobState);
    store.transition("J", &[Status::Pending], Status::Running, JobChange::default()).await.unwrap();
    let first = store.begin_attempt("J", 0).await.unwrap();
    assert_eq!((first.attempts, first.status, first.started_at), (1, Status::Running, Some(clock.now())));
    clock.advance(SignedDuration::from_secs(9));
    let error = JobError { code: "SourceThrottled".to_owned(), message: "slow".to_owned(), hint: None };
    store.fail_task("J", 0, &error).await.unwrap();
    let failed = store.task("J", 0).await.unwrap();
    assert_eq!((failed.status, failed.completed_at), (Status::Failed, Some(clock.now())));
    assert_eq!(failed.error, Some(error));
    let again = store.begin_attempt("J", 0).await.unwrap();
    assert_eq!((again.attempts, again.started_at, again.error), (2, first.started_at, None));
    assert_eq!(store.begin_attempt("J", 7).await.unwrap_err().code, Code::JobUnknown);
    store.transition("J", &[Status::Running], Status::Cancelled, JobChange::default()).await.unwrap();
    assert_eq!(store.begin_attempt("J", 0).await.unwrap_err().code, Code::Cancelled);
}

#[tokio::test]
async fn of_many_who_stage_a_step_one_does() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    running(store, &**clock, "J").await;
    store.put_tasks(&tasks("J", 0..1)).await.unwrap();
    let staged: Vec<Value> = (0..8).map(|writer| json!({"by": writer})).collect();
    let results = join_all(staged.iter().map(|value| store.stage_step("J", 0, 0, value))).await;
    let mut now = Vec::new();
    let mut already = Vec::new();
    for (writer, result) in results.into_iter().enumerate() {
        match result.unwrap() {
            Staged::Now => now.push(staged[writer].clone()),
            Staged::Already(value) => already.push(value),
            Staged::Admitted => panic!("nothing was admitted"),
        }
    }
    assert_eq!((now.len(), already.len()), (1, 7));
    assert!(already.iter().all(|value| *value == now[0]));
    assert_eq!(store.task("J", 0).await.unwrap().staged.as_ref(), Some(&now[0]));
}

#[tokio::test]
async fn a_task_goes_through_its_steps() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    running(store, &**clock, "J").await;
    store.put_tasks(&tasks("J", 0..2)).await.unwrap();
    store.begin_attempt("J", 0).await.unwrap();
    let step = |cursor: Option<Value>, done| StepEnd {
        cursor,
        done,
        totals: totals(1),
        warnings: vec![Warning::new("W", "one")],
    };
    let first = step(Some(json!({"at": 9})), false);
    let early = store.admit_step("J", 0, 0, &[], &first).await.unwrap_err();
    assert_eq!(early.code, Code::StateConflict, "what is not staged is not admitted");
    assert_eq!(store.stage_step("J", 0, 1, &json!(1)).await.unwrap_err().code, Code::StateConflict);

    assert_eq!(store.stage_step("J", 0, 0, &json!("s0")).await.unwrap(), Staged::Now);
    for _ in 0..2 {
        store.admit_step("J", 0, 0, &[pack(0, 0, 0), pack(0, 0, 1)], &first).await.unwrap();
        let task = store.task("J", 0).await.unwrap();
        assert_eq!((task.step, task.staged, task.cursor), (1, None, Some(json!({"at": 9}))));
        assert_eq!((task.totals, task.warnings.len(), task.status), (totals(1), 1, Status::Running));
    }
    assert_eq!(store.stage_step("J", 0, 0, &json!("late")).await.unwrap(), Staged::Admitted);

    store.stage_step("J", 0, 1, &json!("s1")).await.unwrap();
    let last = step(None, true);
    let admits = join_all((0..4).map(|_| store.admit_step("J", 0, 1, &[], &last))).await;
    assert!(admits.into_iter().all(|admitted| admitted.is_ok()));
    let task = store.task("J", 0).await.unwrap();
    assert_eq!((task.step, task.status, &task.cursor), (2, Status::Completed, &None));
    assert_eq!((task.completed_at, task.totals), (Some(clock.now()), totals(2)));

    let late = JobError { code: "TimedOut".to_owned(), message: "late".to_owned(), hint: None };
    store.fail_task("J", 0, &late).await.unwrap();
    assert_eq!(store.task("J", 0).await.unwrap(), task, "a late failure undoes nothing");
    assert_eq!(store.begin_attempt("J", 0).await.unwrap(), task, "nor does a late beginning");
    let progress = store.task_totals("J").await.unwrap();
    assert_eq!(progress, Progress { tasks_done: 1, tasks_total: 2, totals: totals(2) });
}

#[tokio::test]
async fn more_rows_than_a_transaction_takes_are_admitted_too() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    running(store, &**clock, "J").await;
    store.put_tasks(&tasks("J", 0..2)).await.unwrap();
    let many: Vec<PackRow> = (0..250).map(|index| pack(0, 0, index)).collect();
    let end = StepEnd { done: true, ..StepEnd::default() };
    store.stage_step("J", 0, 0, &json!(0)).await.unwrap();
    store.stage_step("J", 1, 0, &json!(0)).await.unwrap();
    store.admit_step("J", 1, 0, &[pack(1, 0, 0)], &end).await.unwrap();
    store.admit_step("J", 0, 0, &many, &end).await.unwrap();
    store.admit_step("J", 0, 0, &many, &end).await.unwrap();
    let rows = store.pack_rows("J").page_size(100).all().await.unwrap();
    assert_eq!(rows.len(), 251);
    assert_eq!(rows[..250], many);
    assert_eq!(rows[250], pack(1, 0, 0));

    store.forget_work("J").await.unwrap();
    // A repeat that comes after all was forgotten brings nothing back.
    store.admit_step("J", 0, 0, &many, &end).await.unwrap();
    assert!(store.pack_rows("J").all().await.unwrap().is_empty());
}

#[tokio::test]
async fn forgetting_leaves_figures_and_no_paths() {
    let Cloud { store, clock, client, .. } = &Cloud::start().await;
    running(store, &**clock, "J").await;
    let secret = json!({"path": "customers/anna"});
    store
        .put_tasks(&[Task::new("J", 0, "files", secret.clone()), Task::new("J", 1, "files", secret.clone())])
        .await
        .unwrap();
    store.stage_step("J", 0, 0, &secret).await.unwrap();
    let end = StepEnd { cursor: Some(secret.clone()), totals: totals(5), ..StepEnd::default() };
    let row = PackRow { value: secret.clone(), ..pack(0, 0, 0) };
    store.admit_step("J", 0, 0, &[row], &end).await.unwrap();
    store.stage_step("J", 0, 1, &secret).await.unwrap();
    for _ in 0..2 {
        store.forget_work("J").await.unwrap();
        let scan = client.scan().table_name(TABLE).send().await.unwrap();
        assert!(!format!("{scan:?}").contains("anna"));
        let task = store.task("J", 0).await.unwrap();
        assert_eq!((task.order, task.cursor, task.staged), (Value::Null, None, None));
        assert_eq!(store.task_totals("J").await.unwrap().totals, totals(5));
    }
}

#[tokio::test]
async fn resources_are_kept_by_name() {
    let Cloud { store, .. } = &Cloud::start().await;
    assert!(store.resources().all().await.unwrap().is_empty());
    assert_eq!(store.put_resource("site", &json!({"v": 1})).await.unwrap(), None);
    assert_eq!(store.put_resource("orders", &json!({"v": 2})).await.unwrap(), None);
    assert_eq!(store.put_resource("site", &json!({"v": 3})).await.unwrap(), Some(json!({"v": 1})));
    assert_eq!(store.resource("site").await.unwrap(), json!({"v": 3}));
    let all = store.resources().all().await.unwrap();
    assert_eq!(all, [("orders".to_owned(), json!({"v": 2})), ("site".to_owned(), json!({"v": 3}))]);
    for unknown in ["other", ""] {
        let error = store.resource(unknown).await.unwrap_err();
        assert_eq!(error.code, Code::ResourceUnknown);
        assert!(error.hint.is_some());
    }
}

#[test]
fn statuses_read_back() {
    for status in [Status::Pending, Status::Running, Status::Completed, Status::Failed, Status::Cancelled] {
        assert_eq!(Status::parse(status.as_str()), Some(status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
    let clock = ManualClock::new(jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(clock.now(), jiff::Timestamp::UNIX_EPOCH);
}

#[tokio::test]
async fn a_transition_tells_whether_it_was_this_one() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    store.create_job(&Job::new("J", JobKind::Backup, "shop", clock.now(), Value::Null)).await.unwrap();
    let start = || store.enter("J", &[Status::Pending], Status::Running, JobChange::default());
    assert!(start().await.unwrap().1);
    assert!(!start().await.unwrap().1);
    let fail = || store.enter("J", &[Status::Running], Status::Failed, JobChange::default());
    let ended = join_all((0..8).map(|_| fail())).await;
    assert_eq!(ended.into_iter().filter(|told| told.as_ref().unwrap().1).count(), 1);
}

#[tokio::test]
async fn open_jobs_are_those_that_have_not_ended() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let open = || async {
        let jobs = store.open_jobs().all().await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    for (id, kind) in [("A", JobKind::Backup), ("B", JobKind::Restore), ("C", JobKind::Undo)] {
        store.create_job(&Job::new(id, kind, "shop", clock.now(), Value::Null)).await.unwrap();
    }
    store.transition("A", &[Status::Pending], Status::Running, JobChange::default()).await.unwrap();
    assert_eq!(open().await, ["C", "B", "A"]);
    for (id, end) in [("A", Status::Completed), ("B", Status::Failed), ("C", Status::Cancelled)] {
        store.transition(id, &[Status::Pending, Status::Running], end, JobChange::default()).await.unwrap();
    }
    assert_eq!(open().await, Vec::<String>::new());
}

#[tokio::test]
async fn jobs_go_on_below_an_id() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    for id in ["A", "B", "C", "D"] {
        store.create_job(&Job::new(id, JobKind::Backup, "shop", clock.now(), Value::Null)).await.unwrap();
    }
    for resource in [None, Some("shop")] {
        let older = store.jobs_before(JobKind::Backup, resource, Some("C")).all().await.unwrap();
        assert_eq!(older.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["B", "A"]);
    }
}

#[tokio::test]
async fn a_resource_knows_when_it_came_and_when_it_changed() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let added = clock.now();
    store.put_resource("shop", &json!({"v": 1})).await.unwrap();
    clock.advance(SignedDuration::from_mins(1));
    assert_eq!(store.put_resource("shop", &json!({"v": 2})).await.unwrap(), Some(json!({"v": 1})));
    let rows = store.resource_rows().all().await.unwrap();
    assert_eq!((rows[0].name.as_str(), &rows[0].document), ("shop", &json!({"v": 2})));
    assert_eq!((rows[0].added_at, rows[0].applied_at), (Some(added), Some(clock.now())));
}

#[tokio::test]
async fn of_two_dispatchers_the_first_ones_word_stands() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let row = |minutes| ScheduleRow {
        schedule: Some("0 3 * * *".to_owned()),
        time_zone: None,
        after: clock.now() + SignedDuration::from_mins(minutes),
    };
    let known = || async { store.schedules().all().await.unwrap().pop().unwrap().1 };
    assert!(store.put_schedule("shop", &row(0), None).await.unwrap());
    assert!(!store.put_schedule("shop", &row(1), None).await.unwrap());
    let first = known().await;
    assert_eq!(first.row, row(0));
    assert!(store.put_schedule("shop", &row(5), Some(&first)).await.unwrap());
    assert!(!store.put_schedule("shop", &row(6), Some(&first)).await.unwrap());
    assert_eq!(known().await.row, row(5));
}

#[tokio::test]
async fn a_job_that_did_nothing_can_be_withdrawn() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let asked = Job::new("J", JobKind::Restore, "shop", clock.now(), json!({}));
    store.create_job(&asked).await.unwrap();
    store.withdraw_job("J").await.unwrap();
    assert_eq!(store.job("J").await.unwrap_err().code, Code::JobUnknown);
    store.withdraw_job("J").await.unwrap();
    running(store, clock.as_ref(), "K").await;
    store.withdraw_job("K").await.unwrap();
    assert_eq!(store.job("K").await.unwrap().status, Status::Running, "one that is at work stays");
}

/// When the rows of a job expire, in days after its end: its own, and those of its tasks.
async fn expiry(cloud: &Cloud, id: &str) -> Vec<Option<i64>> {
    let rows = cloud.client.scan().table_name(TABLE).send().await.unwrap();
    let of_job = |item: &&std::collections::HashMap<String, AttributeValue>| {
        item["pk"].as_s().unwrap() == &format!("JOB#{id}")
    };
    let days = |item: &std::collections::HashMap<String, AttributeValue>| {
        let at: i64 = item.get("expires_at")?.as_n().unwrap().parse().unwrap();
        Some((at - cloud.clock.now().as_second()) / 86_400)
    };
    rows.items().iter().filter(of_job).map(days).collect()
}

#[tokio::test]
async fn rows_of_what_has_ended_expire_and_those_of_what_can_be_restored_do_not() {
    let cloud = Cloud::start().await;
    let Cloud { store, clock, .. } = &cloud;
    let ended = [
        ("DONE", JobKind::Restore, Status::Completed, Some(90)),
        ("LOST", JobKind::Undo, Status::Failed, Some(365)),
        ("STOP", JobKind::Backup, Status::Cancelled, Some(90)),
        ("BACK", JobKind::Backup, Status::Completed, None),
    ];
    for (id, kind, status, days) in ended {
        store.create_job(&Job::new(id, kind, "shop", clock.now(), Value::Null)).await.unwrap();
        store.transition(id, &[Status::Pending], Status::Running, JobChange::default()).await.unwrap();
        store.put_tasks(&tasks(id, 0..2)).await.unwrap();
        assert_eq!(expiry(&cloud, id).await, [None; 3], "{id} is at work");
        store.transition(id, &[Status::Running], status, JobChange::default()).await.unwrap();
        store.forget_work(id).await.unwrap();
        store.forget_work(id).await.unwrap();
        assert_eq!(expiry(&cloud, id).await, [days; 3], "{id}");
    }
    store.forget_work("NONE").await.unwrap();

    let gone = Deletion {
        asked_at: clock.now(),
        due_at: clock.now(),
        by: DeletedBy::Operator,
        reason: String::new(),
        deleted_at: Some(clock.now()),
    };
    let delete = |job: &mut Job| {
        job.deletion = Some(gone.clone());
        Ok(true)
    };
    store.change_job("BACK", delete).await.unwrap();
    store.forget_work("BACK").await.unwrap();
    assert_eq!(expiry(&cloud, "BACK").await, [Some(365); 3]);
    cloud.stop().await;
}

#[tokio::test]
async fn expired_rows_are_swept_and_no_others() {
    let cloud = Cloud::start().await;
    let Cloud { store, clock, .. } = &cloud;
    for (id, kind, status) in [
        ("A", JobKind::Restore, Status::Completed),
        ("B", JobKind::Drill, Status::Failed),
        ("C", JobKind::Backup, Status::Completed),
    ] {
        store.create_job(&Job::new(id, kind, "shop", clock.now(), Value::Null)).await.unwrap();
        store.put_tasks(&tasks(id, 0..40)).await.unwrap();
        store.transition(id, &[Status::Pending], status, JobChange::default()).await.unwrap();
    }
    running(store, &**clock, "D").await;
    let day = SignedDuration::from_hours(24);
    let just_before = clock.now() + day * 90 - SignedDuration::from_millis(1);
    assert_eq!(store.sweep_expired(just_before).await.unwrap(), 0);
    assert_eq!(store.sweep_expired(clock.now() + day * 90).await.unwrap(), 1);
    assert_eq!(store.job("A").await.unwrap_err().code, Code::JobUnknown);
    assert!(store.tasks("A").all().await.unwrap().is_empty());
    assert_eq!(store.sweep_expired(clock.now() + day * 90).await.unwrap(), 0);
    assert_eq!(store.sweep_expired(clock.now() + day * 9_000).await.unwrap(), 1);
    assert_eq!(
        (store.job("C").await.unwrap().status, store.tasks("C").all().await.unwrap().len()),
        (Status::Completed, 40)
    );
    assert_eq!(store.job("D").await.unwrap().status, Status::Running);
    cloud.stop().await;
}

#[tokio::test]
async fn a_condemned_object_keeps_its_first_time_until_it_is_forgotten() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let at = clock.now();
    let condemned = |key: String, at| Condemned { key, size: 7, at };
    let key = |folder: &str, digits: &str| format!("{folder}/{digits}/{}", digits.repeat(16));
    let all = [
        key("index", "a0"),
        key("packs", "a0"),
        key("packs", "a1"),
        key("packs", "b0"),
        format!("changes/{}/1", "c".repeat(32)),
        format!("undos/{}/1", "U".repeat(26)),
    ];
    let rows: Vec<Condemned> = all.iter().map(|key| condemned(key.clone(), at)).collect();
    store.condemn(&rows).await.unwrap();
    let later: Vec<Condemned> =
        all.iter().map(|key| condemned(key.clone(), at + SignedDuration::from_hours(1))).collect();
    store.condemn(&later).await.unwrap();
    let found = async |prefix: &str, after: Option<&str>| {
        store.condemned(prefix, after).unwrap().all().await.unwrap()
    };
    assert_eq!(found("packs/a", None).await, rows[1..3]);
    assert_eq!(found("packs/a1", None).await, rows[2..3]);
    assert_eq!(found("packs/a", Some(&all[2])).await, rows[2..3]);
    assert_eq!(found("packs/a", Some("index/")).await, rows[1..3]);
    assert_eq!(found("index/a", None).await, rows[..1]);
    assert_eq!(found("changes/", None).await, rows[4..5]);
    assert_eq!(found("undos/", None).await, rows[5..]);
    assert!(store.condemned("packs/", None).is_err(), "the rows of all packs are in many partitions");
    store.forget_condemned(&all[..3]).await.unwrap();
    store.forget_condemned(&all[..3]).await.unwrap();
    assert_eq!(found("packs/a", None).await, []);
    assert_eq!(found("packs/b", None).await, rows[3..4]);
    store.condemn(&later[..2]).await.unwrap();
    assert_eq!(found("packs/a", None).await, later[1..2]);
}

#[tokio::test]
async fn a_prune_is_noted_once_and_its_shards_change_under_a_revision() {
    let Cloud { store, clock, .. } = &Cloud::start().await;
    let prune = |id: &str| PruneRow {
        id: id.to_owned(),
        dry_run: false,
        started_at: clock.now(),
        completed_at: None,
        error: None,
        shards: None,
        figures: PruneFigures::default(),
    };
    assert_eq!(store.prune("P1").await.unwrap_err().code, Code::JobUnknown);
    let first = store.create_prune(&prune("P1")).await.unwrap();
    assert_eq!(store.create_prune(&PruneRow { dry_run: true, ..prune("P1") }).await.unwrap(), first);
    store.create_prune(&prune("P2")).await.unwrap();
    let shard = PruneShard {
        order: json!({"kind": "undos"}),
        after: None,
        done: false,
        figures: PruneFigures::default(),
    };
    store.put_prune_shard("P1", 0, &shard).await.unwrap();
    store.put_prune_shard("P1", 0, &PruneShard { done: true, ..shard.clone() }).await.unwrap();
    let (found, revision) = store.prune_shard("P1", 0).await.unwrap().unwrap();
    assert_eq!(found, shard, "the first stands");
    let figures = PruneFigures { deleted: 3, ..PruneFigures::default() };
    let done = PruneShard { done: true, figures, ..shard };
    assert!(store.update_prune_shard("P1", 0, &done, revision).await.unwrap());
    assert!(!store.update_prune_shard("P1", 0, &done, revision).await.unwrap(), "a duplicate comes too late");
    assert_eq!(store.prune_shards("P1").all().await.unwrap(), [done]);
    let ended = store
        .update_prune("P1", |row| {
            row.figures += figures;
            row.completed_at = Some(clock.now());
        })
        .await
        .unwrap();
    assert_eq!(store.update_prune("P1", |row| row.figures += figures).await.unwrap(), ended);
    store.forget_prune_shards("P1", 1).await.unwrap();
    assert_eq!(store.prune_shard("P1", 0).await.unwrap(), None);
    store.forget_old_prunes().await.unwrap();
    let ids: Vec<String> = store.prunes().all().await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, ["P2", "P1"]);
}
