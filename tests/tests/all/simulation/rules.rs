//! What must hold when a history is over and quiet days have passed.

use super::captured;
use super::tally::Happened;
use super::world::{World, read_lines};
use holdfast_common::jobs::{Job, JobKind, Status};
use holdfast_connectors::{OnConflict, TargetSpec};
use holdfast_workflow::Services;
use holdfast_workflow::catalogue::rebuild;
use holdfast_workflow::events::{
    Execution, JobEvent, Planned, RestoreEvent, RestoreInput, RestoreRequest, Selection, TaskAnswer,
    VerifyEvent,
};
use holdfast_workflow::{restore, verify};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub(super) async fn hold(world: &World) {
    every_job_has_ended(world).await;
    for (path, lines) in world.model.sources() {
        assert_eq!(read_lines(&path), lines, "only undos write into sources, and none after its end");
    }
    let live: BTreeSet<String> = world.model.live().into_iter().collect();
    nothing_leaks(world, &live).await;
    captured::nothing_leaks(world).await;
    captured::hold(world, &world.fair).await;
    // Nothing but the vault and its key is left.
    let forgotten = world.forgotten().await;
    let rebuilt = rebuild(&forgotten).await.unwrap();
    assert_eq!((rebuilt.backups, rebuilt.errors.len()), (live.len() as u64, 0));
    captured::hold(world, &forgotten).await;
    all_restore(world, &forgotten, &live).await;
}

/// Every job ended in one terminal status, and what says completed is in the vault, unless it was deleted since.
async fn every_job_has_ended(world: &World) {
    let mut completed = BTreeSet::new();
    for kind in [JobKind::Backup, JobKind::Restore, JobKind::Undo] {
        for job in world.fair.jobs.jobs(kind, None).all().await.unwrap() {
            let terminal = job.history.iter().filter(|change| change.status.is_terminal()).count();
            assert!(job.status.is_terminal() && terminal == 1, "{job:?}");
            if kind == JobKind::Backup && job.status == Status::Completed {
                is_told_right(world, &job);
                completed.insert(job.id);
            }
        }
    }
    let open = world.fair.jobs.open_jobs().all().await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    for id in world.model.live() {
        assert!(completed.contains(&id), "backup {id} is in the vault, and its job does not say so");
    }
}

fn is_told_right(world: &World, job: &Job) {
    let (restorable, gone) = (job.is_restorable(), world.model.is_gone(&job.id));
    assert!(restorable != gone, "backup {} is gone: {gone}, and its row says: {:?}", job.id, job.deletion);
    let known = world.model.live().contains(&job.id);
    assert!(known || gone, "backup {} says completed, and the vault never had it", job.id);
}

/// After quiet days the vault holds what live backups need, and staging holds nothing.
async fn nothing_leaks(world: &World, live: &BTreeSet<String>) {
    let manifests: BTreeSet<String> = World::keys(&world.vault, "manifests/").await.into_iter().collect();
    let expected: BTreeSet<String> = live.iter().map(|id| format!("manifests/{id}")).collect();
    assert_eq!(manifests, expected, "the manifests of the vault");
    let mut sealed = BTreeSet::new();
    for prefix in ["packs/", "index/"] {
        sealed.extend(World::keys(&world.vault, prefix).await);
    }
    let needed = world.model.needed();
    let lost: Vec<_> = needed.difference(&sealed).collect();
    assert!(lost.is_empty(), "live backups need what is gone: {lost:?}");
    let leaked: Vec<_> = sealed.difference(&needed).collect();
    assert!(leaked.is_empty(), "nothing needs these, and they are still there: {leaked:?}");
    let staged = World::keys(&world.staging, "").await;
    // A handler that was held while its job ended may write into staging behind the job's end. The bucket's own rule lets
    // such leftovers expire; here they are counted.
    world.tally.add(Happened::Leftover, staged.len() as u64);
}

/// Every live backup is restored and compared byte for byte, and every byte of it is verified.
async fn all_restore(world: &World, services: &Services, live: &BTreeSet<String>) {
    for backup in live {
        let mut event = VerifyEvent { job: backup.clone(), level: Some("full".to_owned()), progress: None };
        loop {
            let answer = verify::verify(services, &event).await.unwrap();
            assert!(answer.valid, "backup {backup}: {:?}", answer.progress.findings);
            if !answer.more {
                break;
            }
            event.progress = Some(answer.progress);
        }
        let path = world.new_directory("out");
        restored(world, services, backup, TargetSpec::Jsonl { path: path.clone() }).await;
        compare(world, backup, &path);
        fs::remove_dir_all(&path).unwrap();
    }
}

/// What was restored of a backup is what its source held.
pub(super) fn compare(world: &World, backup: &str, path: &Path) {
    let lines = read_lines(path);
    if let Some(expected) = world.model.expected(backup) {
        assert_eq!(lines, expected, "backup {backup}");
    } else if !world.till.fits(backup, &lines) {
        return;
    }
    world.tally.count(Happened::Restored);
}

async fn restored(world: &World, services: &Services, backup: &str, target: TargetSpec) {
    let request = RestoreRequest {
        backup: backup.to_owned(),
        resource: None,
        at: None,
        target,
        on_conflict: OnConflict::Fail,
        selection: Selection::default(),
    };
    let execution = Execution { execution: world.new_id(), started_at: format!("{:.3}", world.stage.now()) };
    let input = RestoreInput::Request(Box::new(request));
    let step = async |event: RestoreEvent| restore::restore(services, &event).await.unwrap();
    let planned: Planned =
        serde_json::from_value(step(RestoreEvent::Plan { input, execution }).await).unwrap();
    for task in world.listed(&planned.tasks.key).await.unwrap() {
        let part = RestoreEvent::Part(task);
        while serde_json::from_value::<TaskAnswer>(step(part.clone()).await).unwrap().more {}
    }
    step(RestoreEvent::Finish(JobEvent { job: planned.job })).await;
}
