//! A process that ends at any call of storage or job state, for every call of a small backup, increment, prune and
//! restore: what was acknowledged stays, what comes next is right, and nothing leaks for ever.

use crate::increments::bench::Lines;
use crate::increments::bench::small;
use crate::increments::chance::Chance;
use crate::increments::drive::Drive;
use crate::increments::faults::Weather;
use crate::prune::bench::{LONG, Shop, run};
use holdfast_common::jobs::{BackupType, JobKind, Status};
use holdfast_connectors::TargetSpec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::events::{Caught, Execution, JobEvent, RestoreEvent, Selection, TaskEvent};
use holdfast_workflow::prune::{self, AbandonPrune, FinishPrune};
use holdfast_workflow::{WorkLimits, commit, restore};
use std::fs;
use std::path::Path;

/// So few tasks that each call of a whole job can be hit.
fn limits() -> WorkLimits {
    WorkLimits { range_bytes: 1 << 20, step_bytes: 1 << 20, ..small() }
}

/// What becomes of a job whose process ended at a call: by turns its calls are made again, and it is ended as failed.
fn is_resumed(left: u64) -> bool {
    left.is_multiple_of(2)
}

/// Whether a job that is begun again turns out to be over: its first step is refused then, and the last, in which its
/// process ended, is what its state machine would try again.
fn is_over<T: std::fmt::Debug>(again: Result<T>) -> bool {
    match again {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.code, Code::JobState, "{error:?}");
            true
        }
    }
}

fn interrupted() -> Error {
    Error::new(Code::Interrupted, "the process ended")
}

struct Crashing {
    shop: Shop,
    old: Vec<TaskEvent>,
}

impl Crashing {
    async fn new() -> Self {
        let mut shop = Shop::new(limits()).await;
        shop.back_up(BackupType::Full).await;
        shop.back_up(BackupType::Incremental).await;
        Self { shop, old: Vec::new() }
    }

    fn drive(&mut self) -> Drive<'_> {
        let Self { shop, old } = self;
        Drive {
            bench: &shop.bench,
            services: &shop.services,
            chance: Chance::new(1),
            repeats: 0,
            tries: 1,
            old,
        }
    }

    /// A job that ends at this call. Gives what it came to, and whether it got so far.
    async fn until<T>(&mut self, left: u64, job: impl AsyncFnOnce(&mut Self) -> T) -> (T, bool) {
        self.shop.bench.faults.set(Weather::Crash { left });
        let first = job(self).await;
        let crashed = self.shop.bench.faults.crashed();
        self.shop.bench.faults.set(Weather::Fair);
        (first, crashed)
    }

    async fn backup(&mut self, left: u64, of: BackupType) -> bool {
        let mut lines = self.shop.next_day();
        let execution = self.shop.bench.execution();
        let work = async |this: &mut Self| this.drive().backup(&execution, "shop", of).await;
        let (first, crashed) = self.until(left, work).await;
        assert!(crashed || first.is_ok(), "{first:?}");
        if is_resumed(left) {
            let again = work(self).await;
            if is_over(again) {
                let event = JobEvent { job: execution.job_id().unwrap() };
                commit::commit(&self.shop.services, &event).await.unwrap();
            }
        } else {
            self.drive().fail(&execution, "shop", &interrupted()).await;
        }
        let id = execution.job_id().unwrap();
        match self.shop.services.jobs.job(&id).await {
            Ok(job) if job.status == Status::Completed => {
                for lines in lines.values_mut() {
                    lines.sort_unstable();
                }
                self.shop.taken.push((id, lines));
            }
            _ => assert!(first.is_err() && !is_resumed(left), "what said it completed did"),
        }
        crashed
    }

    async fn restore(&mut self, left: u64) -> bool {
        let (id, lines) = self.shop.taken.last().unwrap().clone();
        let path = self.shop.bench.dir.path().join(format!("restored-{left}"));
        let target = TargetSpec::Jsonl { path: path.clone() };
        let execution = self.shop.bench.execution();
        let work = async |this: &mut Self| {
            let Shop { bench, services, .. } = &this.shop;
            bench.restore_under(services, execution.clone(), &id, Selection::default(), target.clone()).await
        };
        let (first, crashed) = self.until(left, work).await;
        assert!(crashed || first.is_ok(), "{first:?}");
        if is_resumed(left) {
            let again = work(self).await;
            if is_over(again) {
                let event = RestoreEvent::Finish(JobEvent { job: execution.job_id().unwrap() });
                restore::restore(&self.shop.services, &event).await.unwrap();
            }
        } else {
            self.drive().fail(&execution, "shop", &interrupted()).await;
        }
        self.restored(&execution, &path, &lines).await;
        crashed
    }

    /// What a restore leaves is whole, or nothing: one whose process ends between its last rename and the row that says so
    /// is ended as failed, with all of it in place.
    async fn restored(&self, execution: &Execution, path: &Path, lines: &Lines) {
        if path.exists() {
            assert_eq!(read(path), *lines);
            fs::remove_dir_all(path).unwrap();
        } else {
            let job = self.shop.services.jobs.job(&execution.job_id().unwrap()).await;
            assert!(!job.is_ok_and(|job| job.status == Status::Completed), "what completed is there");
        }
    }

    async fn prune(&mut self, left: u64) -> bool {
        self.shop.back_up(BackupType::Incremental).await;
        let oldest = self.shop.taken[0].0.clone();
        self.shop.delete(&oldest).await;
        // By turns it condemns what the deleted backup needed, and deletes that.
        if left % 4 < 2 {
            self.shop.prune().await;
        }
        self.shop.bench.pass(LONG);
        let execution = self.shop.bench.execution();
        let work =
            async |this: &mut Self| run(&this.shop.bench, &this.shop.services, &execution, false).await;
        let (first, crashed) = self.until(left, work).await;
        assert!(crashed || first.is_ok(), "{first:?}");
        if is_resumed(left) {
            // Where its last answer was lost, it has ended.
            let again = work(self).await;
            if is_over(again) {
                let event = FinishPrune { prune: execution.job_id().unwrap() };
                prune::finish(&self.shop.services, &event).await.unwrap();
            }
        } else {
            let error = Caught { error: "Interrupted".to_owned(), cause: String::new() };
            prune::abandon(&self.shop.services, &AbandonPrune { execution, error }).await.unwrap();
        }
        crashed
    }

    /// That nothing is under way: by the rows of open jobs, of which there are few.
    async fn all_jobs_ended(&self) {
        let open = self.shop.services.jobs.open_jobs().all().await.unwrap();
        assert!(open.is_empty(), "{open:?}");
    }

    /// The same, by the rows of all jobs.
    async fn no_job_is_open(&self) {
        for kind in [JobKind::Backup, JobKind::Restore] {
            for job in self.shop.services.jobs.jobs(kind, None).all().await.unwrap() {
                assert!(job.status.is_terminal(), "{job:?}");
            }
        }
    }

    /// What holds after crashes: the next backup is right and all come back; and after prunes, past their margins, the
    /// vault holds what live backups need.
    async fn holds(&mut self) {
        self.no_job_is_open().await;
        self.shop.back_up(BackupType::Incremental).await;
        while self.shop.taken.len() > 3 {
            let oldest = self.shop.taken[0].0.clone();
            self.shop.delete(&oldest).await;
        }
        self.shop.comes_clean().await;
        self.shop.all_restore().await;
    }
}

/// What a directory of lines holds, sorted.
fn read(path: &Path) -> Lines {
    let mut streams = Lines::new();
    for entry in fs::read_dir(path).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        streams.insert(file.file_stem().unwrap().to_string_lossy().into_owned(), lines);
    }
    streams
}

/// Hits every call of a job, from the first to the last.
#[allow(clippy::print_stdout)]
async fn every_call(name: &str, job: impl AsyncFn(&mut Crashing, u64) -> bool) {
    let mut crashing = Crashing::new().await;
    let mut left = 1;
    while job(&mut crashing, left).await {
        crashing.all_jobs_ended().await;
        // What leaked is found by the next look at all of it.
        if left.is_multiple_of(5) {
            crashing.holds().await;
        }
        left += 1;
    }
    crashing.holds().await;
    println!("crashes: each of the {} calls of {name} was the last of its process once", left - 1);
    assert!(left > 20, "the calls of a whole job were counted: {left}");
}

#[tokio::test]
async fn a_backup_that_ends_at_any_call_loses_and_leaks_nothing() {
    every_call("a full backup", async |crashing, left| crashing.backup(left, BackupType::Full).await).await;
}

#[tokio::test]
async fn an_increment_that_ends_at_any_call_loses_and_leaks_nothing() {
    every_call("an increment", async |crashing, left| crashing.backup(left, BackupType::Incremental).await)
        .await;
}

#[tokio::test]
async fn a_restore_that_ends_at_any_call_leaves_all_or_nothing() {
    every_call("a restore", async |crashing, left| crashing.restore(left).await).await;
}

#[tokio::test]
async fn a_prune_that_ends_at_any_call_loses_and_leaks_nothing() {
    every_call("a prune", async |crashing, left| crashing.prune(left).await).await;
}
