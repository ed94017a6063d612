//! What goes on around the handlers: sources change, the dispatcher comes, operators restore, undo, hold and delete.

use super::keeping;
use super::machines::{self, Service};
use super::model::SKEW;
use super::rules;
use super::stage::Role;
use super::till::{self, TILL};
use super::world::{World, read_lines};
use crate::increments::bench::Lines;
use crate::increments::chance::Chance;
use holdfast_common::jobs::{BackupType, Status};
use holdfast_common::telemetry::NoMetrics;
use holdfast_connectors::{OnConflict, RecordFilter, SourceSpec, TargetSpec};
use holdfast_dispatch::{Dispatch, Machines};
use holdfast_vault::error::Class;
use holdfast_workflow::config::{Compaction, Policy, VerifyAfter};
use holdfast_workflow::events::{RestoreRequest, Selection};
use holdfast_workflow::executions::ExecutionStatus;
use holdfast_workflow::history::{Asked, Point};
use holdfast_workflow::restore;
use holdfast_workflow::undo::{self, UndoOf, UndoRequest};
use jiff::SignedDuration;
use serde_json::json;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// The resources of a history.
pub(super) const RESOURCES: [&str; 2] = ["shop", "ledger"];
const STREAMS: [&str; 2] = ["orders", "items"];

/// What an operator does at a time.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Change,
    Sell,
    Dispatch,
    BackUp,
    Restore,
    RestoreAt,
    Undo,
    Verify,
    Prune,
    Hold,
    Release,
    Delete,
    TakeBack,
    Stop,
}

/// How often a day each deed is done, in percent.
const DEEDS: [(Deed, u64); 14] = [
    (Deed::Change, 150),
    (Deed::Sell, 800),
    (Deed::Dispatch, 100),
    (Deed::BackUp, 30),
    (Deed::Restore, 15),
    (Deed::RestoreAt, 60),
    (Deed::Undo, 8),
    (Deed::Verify, 8),
    (Deed::Prune, 110),
    (Deed::Hold, 20),
    (Deed::Release, 10),
    (Deed::Delete, 30),
    (Deed::TakeBack, 10),
    (Deed::Stop, 20),
];

/// Sends everybody on the stage who does something in the days of a history.
pub(super) async fn begin(world: &Arc<World>) {
    for name in RESOURCES {
        let lines = world.chance(records);
        let path = world.write_source(&lines);
        let policy = world.chance(policy);
        world.configure(name, lines_in(&path), policy).await;
    }
    till::open(world).await;
    let days = world.chance(|chance| 3 + chance.below(3));
    for day in 0..days {
        for (deed, often) in DEEDS {
            let times = world.chance(|chance| (often + chance.below(100)) / 100);
            for _ in 0..times {
                let minute = world.chance(|chance| day * 1440 + chance.below(1440));
                at(world, minute, deed);
                // Some things are done by two at once, or right beside another.
                if matches!(deed, Deed::Dispatch | Deed::Prune) && world.mishap(25) {
                    at(world, minute, deed);
                }
                if matches!(deed, Deed::Prune) && world.mishap(50) {
                    at(world, minute, Deed::BackUp);
                }
            }
        }
    }
}

fn at(world: &Arc<World>, minute: u64, deed: Deed) {
    let on = world.clone();
    let time = world.stage.now() + SignedDuration::from_mins(i64::try_from(minute).unwrap());
    world.stage.enter(Role::OPERATOR, async move {
        on.stage.until(time).await;
        done(&on, deed).await;
    });
}

fn done<'a>(world: &'a Arc<World>, deed: Deed) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    Box::pin(async move {
        let resource = world.chance(|chance| chance.of(&RESOURCES));
        match deed {
            Deed::Change => change(world, resource).await,
            Deed::Sell => till::sell(world).await,
            Deed::RestoreAt => till::restore_at(world).await,
            Deed::Dispatch => dispatch(world, "backups"),
            Deed::Verify => dispatch(world, "verify"),
            Deed::BackUp => back_up(world, resource),
            Deed::Restore => restore_one(world).await,
            Deed::Undo => undo_one(world, resource).await,
            Deed::Prune => drop(prune(world)),
            Deed::Stop => stop_one(world).await,
            Deed::Hold => keeping::hold(world).await,
            Deed::Release => keeping::release(world).await,
            Deed::Delete => keeping::delete(world).await,
            Deed::TakeBack => keeping::take_back(world).await,
        }
    })
}

/// A policy under which a resource is due every hour, and little is kept.
fn policy(chance: &mut Chance) -> Policy {
    Policy {
        schedule: Some("7 * * * *".to_owned()),
        backup_type: chance.of(&[BackupType::Incremental, BackupType::Incremental, BackupType::Differential]),
        compaction: Compaction {
            layers: chance.of(&[2, 3, 36]),
            delta_percent: chance.of(&[30, 1_000_000]),
            ..Compaction::default()
        },
        verify: chance.of(&[VerifyAfter::Quick, VerifyAfter::None]),
        ..keeping::policy(chance)
    }
}

fn records(chance: &mut Chance) -> Lines {
    let mut lines = Lines::new();
    for stream in STREAMS {
        let records = chance.of(&[0, 1, 4, 12]);
        lines.insert(stream.to_owned(), (0..records).map(|key| record(chance, key)).collect());
    }
    lines
}

fn record(chance: &mut Chance, key: u64) -> String {
    let (version, pad) = (chance.below(1000), "x".repeat(chance.place(40)));
    format!(r#"{{"id":"k{key}","v":{version},"pad":"{pad}"}}"#)
}

/// The key of a line.
fn key(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["id"].as_str().unwrap()[1..].parse().unwrap()
}

/// Some records come, change and go. What a backup reads is never touched: the source is a new directory each time.
async fn change(world: &Arc<World>, name: &str) {
    let resource = world.resource(name).await;
    let SourceSpec::Jsonl { path, .. } = &resource.source else { return };
    let Some(mut lines) = world.model.holds(path) else { return };
    world.chance(|chance| {
        for stream in lines.values_mut() {
            for _ in 0..chance.of(&[0, 1, 2, 6]) {
                let changed = chance.below(16);
                stream.retain(|line| key(line) != changed);
                if chance.percent(70) {
                    stream.push(record(chance, changed));
                }
            }
        }
    });
    let path = world.write_source(&lines);
    world.configure(name, lines_in(&path), resource.policy).await;
}

/// A directory of lines as a source.
fn lines_in(path: &Path) -> SourceSpec {
    SourceSpec::Jsonl { path: path.to_path_buf(), key: vec!["/id".to_owned()] }
}

/// The dispatcher comes, as a handler that may fail, crash, or see old state.
pub(super) fn dispatch(world: &Arc<World>, task: &'static str) {
    let on = world.clone();
    world.stage.enter(world.handler(), async move {
        let machine = |name: &str| name.to_owned();
        let dispatch = Dispatch {
            jobs: on.rough.jobs.clone(),
            executions: Arc::new(Service(on.clone())),
            metrics: Arc::new(NoMetrics),
            clock: on.rough.clock.clone(),
            machines: Machines {
                backup: machine("backup"),
                restore: machine("restore"),
                undo: machine("undo"),
                verify: machine("verify"),
                restore_test: machine("restore-test"),
                drill: machine("drill"),
                fail: machine("fail"),
            },
            verify_level: "full".parse().unwrap(),
        };
        let told = holdfast_dispatch::handle(&dispatch, json!({ "task": task })).await;
        if let Err(error) = told {
            assert!(error.code.retryable(), "{error:?}");
        }
    });
}

/// Starts a backup of any type by hand.
fn back_up(world: &Arc<World>, resource: &str) {
    let backup_type = world
        .chance(|chance| chance.of(&[BackupType::Full, BackupType::Incremental, BackupType::Differential]));
    let input = json!({ "resource": resource, "type": backup_type.as_str() });
    machines::start(world, "backup", &world.new_id(), input);
}

/// Starts a prune; gives its execution's name.
pub(super) fn prune(world: &Arc<World>) -> String {
    let name = world.new_id();
    machines::start(world, "prune", &name, json!({}));
    name
}

/// Stops an execution that is at work, as soon as one is.
async fn stop_one(world: &Arc<World>) {
    for _ in 0..200 {
        let at_work: Vec<(String, String)> = {
            let all = world.executions.lock().unwrap();
            let running = all.iter().filter(|(_, one)| one.status == ExecutionStatus::Running);
            running.map(|(place, _)| place.clone()).collect()
        };
        if !at_work.is_empty() {
            let (machine, name) = world.chance(|chance| chance.of(&at_work));
            machines::stop(world, &machine, &name);
            return;
        }
        world.stage.after(SignedDuration::from_secs(41)).await;
    }
}

/// Some backup that is in the vault.
pub(super) fn some_backup(world: &World) -> Option<String> {
    let live = world.model.live();
    (!live.is_empty()).then(|| world.chance(|chance| chance.of(&live)))
}

/// Waits until an execution has ended, and until no handler that it began is still at work.
pub(super) async fn settled(world: &World, machine: &str, name: &str) {
    let place = (machine.to_owned(), name.to_owned());
    while world.executions.lock().unwrap()[&place].status == ExecutionStatus::Running {
        world.stage.after(SignedDuration::from_mins(5)).await;
    }
    world.stage.after(SignedDuration::from_mins(16)).await;
}

/// Restores a backup. What completes must be right, also where the backup is deleted meanwhile.
async fn restore_one(world: &Arc<World>) {
    let Some(backup) = some_backup(world) else { return };
    let (id, path) = (world.new_id(), world.new_directory("restored"));
    let request = RestoreRequest {
        backup: backup.clone(),
        resource: None,
        at: None,
        target: TargetSpec::Jsonl { path: path.clone() },
        on_conflict: OnConflict::Fail,
        selection: Selection::default(),
    };
    let now = world.stage.now();
    if restore::request_unplanned(&world.rough.jobs, now, &id, &request).await.is_err() {
        return;
    }
    machines::start(world, "restore", &id, json!({ "restore": id }));
    settled(world, "restore", &id).await;
    let job = world.fair.jobs.job(&id).await.unwrap();
    if job.status == Status::Completed {
        rules::compare(world, &backup, &path);
    }
    let damage = job.error.iter().any(|error| is_damage(&error.code)) && !world.model.is_gone(&backup);
    assert!(!damage, "restore {id} of live backup {backup} found damage: {:?}", job.error);
}

fn is_damage(code: &str) -> bool {
    holdfast_vault::error::Code::ALL
        .iter()
        .any(|known| known.as_str() == code && known.class() == Class::Damage)
}

/// Takes back what changed between two backups, in a source that nobody else writes into meanwhile.
async fn undo_one(world: &Arc<World>, name: &str) {
    let mut backups = Vec::new();
    for id in world.model.live() {
        if world.fair.jobs.job(&id).await.is_ok_and(|job| job.resource == name) {
            backups.push(id);
        }
    }
    let [.., from, to] = backups.as_slice() else { return };
    let (from, to) = (from.clone(), to.clone());
    let (Some(before), Some(after)) = (world.model.expected(&from), world.model.expected(&to)) else {
        return;
    };
    let resource = world.resource(name).await;
    let SourceSpec::Jsonl { path: now, .. } = &resource.source else { return };
    if world.model.holds(now).is_none() {
        return;
    }
    let path = world.write_source(&after);
    // Nobody changes a source of which the model does not say what it holds.
    world.model.source_holds(&path, None);
    world.configure(name, lines_in(&path), resource.policy).await;
    let id = world.new_id();
    let asked = Asked {
        resource: name.to_owned(),
        from: Point::Backup(from.clone()),
        to: Point::Backup(to.clone()),
        stream: None,
    };
    let of = UndoOf::Window { asked, filter: RecordFilter::default() };
    let request = UndoRequest { of, on_conflict: OnConflict::Fail };
    let requested = undo::request(&world.rough, &id, &request, None).await;
    if requested.is_ok() {
        machines::start(world, "undo", &id, json!({ "undo": id }));
        settled(world, "undo", &id).await;
    }
    let job = world.fair.jobs.job(&id).await;
    if job.as_ref().is_ok_and(|job| !job.status.is_terminal()) {
        // Its execution died: late calls may go on with it until the dispatcher finds it.
        return;
    }
    let holds = read_lines(&path);
    if job.is_ok_and(|job| job.status == Status::Completed) {
        assert_eq!(holds, before, "undo {id} of what came between {from} and {to}");
    }
    world.model.source_holds(&path, Some(holds));
}

/// Quiet days after a history: nothing is due, nothing fails; the dispatcher comes and prunes run.
pub(super) fn quiet(world: &Arc<World>) {
    world.calm_down();
    let on = world.clone();
    world.stage.enter(Role::OPERATOR, async move {
        for name in RESOURCES.into_iter().chain([TILL]) {
            let resource = on.resource(name).await;
            on.configure(name, resource.source, Policy { schedule: None, ..resource.policy }).await;
        }
        for _ in 0..4 {
            dispatch(&on, "backups");
            on.stage.after(SignedDuration::from_hours(7)).await;
        }
        for _ in 0..keeping::QUIET_PRUNES {
            let name = prune(&on);
            settled(&on, "prune", &name).await;
            let place = ("prune".to_owned(), name);
            let status = on.executions.lock().unwrap()[&place].status;
            assert_eq!(status, ExecutionStatus::Succeeded, "a prune in fair weather");
            on.stage.after(SignedDuration::from_hours(24) + SKEW * 4).await;
        }
    });
}
