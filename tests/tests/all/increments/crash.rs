//! A process that ends between any two calls of storage and job state: what was completed stays, and what comes next is
//! right.

use super::bench::{Bench, Lines, NEVER, shuffled, small};
use super::chance::Chance;
use super::drive::Drive;
use super::faults::Weather;
use holdfast_common::jobs::{BackupType, Status};
use holdfast_vault::error::{Code, Error};
use holdfast_workflow::config::Compaction;
use holdfast_workflow::events::Selection;
use holdfast_workflow::{Services, WorkLimits};

/// What becomes of a job whose process ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// It is ended as failed, as the embedded cloud does when it opens again.
    Ended,
    /// Its calls are made again from the first, as by a state machine that lost every answer.
    Resumed,
    /// Nobody looks after it any more.
    Left,
}

/// The records of a day: some stay, some change, some go.
fn day(number: u64) -> Lines {
    let live = (0..9).filter(|key| !(key + number).is_multiple_of(4));
    let lines = live.map(|key| format!(r#"{{"id":{key},"v":{}}}"#, (number + key) / 3));
    Lines::from([
        ("orders".to_owned(), lines.collect()),
        ("items".to_owned(), vec![r#"{"id":1}"#.to_owned()]),
    ])
}

struct Crashing<'a> {
    bench: &'a Bench,
    services: &'a Services,
    taken: Vec<(String, u64)>,
    today: u64,
}

impl Crashing<'_> {
    fn drive<'d>(&'d self, old: &'d mut Vec<holdfast_workflow::events::TaskEvent>) -> Drive<'d> {
        let chance = Chance::new(self.today);
        Drive { bench: self.bench, services: self.services, chance, repeats: 0, tries: 1, old }
    }

    /// One backup that ends after so many calls, and one that completes. False once a backup has fewer calls.
    async fn round(&mut self, left: u64, then: After) -> bool {
        self.today += 1;
        self.bench.write(&day(self.today));
        let execution = self.bench.execution();
        let mut old = Vec::new();
        self.bench.faults.set(Weather::Crash { left });
        let first = self.drive(&mut old).backup(&execution, "shop", BackupType::Incremental).await;
        let crashed = self.bench.faults.crashed();
        self.bench.faults.set(Weather::Fair);
        assert!(crashed || first.is_ok(), "{first:?}");
        let id = execution.job_id().unwrap();
        match then {
            After::Ended => {
                let error = Error::new(Code::Interrupted, "the process ended");
                self.drive(&mut old).fail(&execution, "shop", &error).await;
            }
            After::Resumed => {
                let again = self.drive(&mut old).backup(&execution, "shop", BackupType::Incremental).await;
                // A plan that comes again after the job has completed is refused.
                assert!(again.is_ok() || first.is_ok() || again.is_err_and(|e| e.code == Code::JobState));
            }
            After::Left => {}
        }
        match self.services.jobs.job(&id).await {
            Ok(job) if job.status == Status::Completed => self.taken.push((id, self.today)),
            _ => assert!(first.is_err() && then != After::Resumed, "what said it completed did"),
        }
        self.today += 1;
        self.bench.write(&day(self.today));
        let execution = self.bench.execution();
        let job = self.drive(&mut old).backup(&execution, "shop", BackupType::Incremental).await.unwrap();
        let first_of_all = self.taken.is_empty();
        let expected = if first_of_all { BackupType::Full } else { BackupType::Incremental };
        assert_eq!(job.backup_type, Some(expected), "{:?}", job.warnings);
        self.taken.push((job.id, self.today));
        crashed
    }

    async fn all_come_back(&self) {
        for (id, number) in &self.taken {
            let (lines, _) = self.bench.restored(self.services, id, Selection::default()).await;
            let mut expected = day(*number);
            for lines in expected.values_mut() {
                lines.sort_unstable();
            }
            assert_eq!(lines, expected);
        }
    }
}

async fn crashes(limits: WorkLimits, then: After, stride: u64) {
    let bench = Bench::new(limits).await;
    bench.configure("shop", "/id", Compaction { layers: 3, ..NEVER }).await;
    let services = bench.services.clone();
    let mut crashing = Crashing { bench: &bench, services: &services, taken: Vec::new(), today: 0 };
    // Two rounds a number of calls: increments and backups that make a new base are both hit at every call.
    let (mut left, mut unhurt) = (1, 0);
    while unhurt < 6 {
        for _ in 0..2 {
            unhurt = if crashing.round(left, then).await { 0 } else { unhurt + 1 };
        }
        left += stride;
    }
    assert!(left > 60, "the calls of a whole backup were counted: {left}");
    crashing.all_come_back().await;
}

/// A join in memory is cut into so many small tasks here that each call would take minutes; steps of a prime meet every kind.
const STRIDE: u64 = 11;

fn limits() -> WorkLimits {
    WorkLimits { range_bytes: 80, shard_rows: 4, ..small() }
}

fn in_shards() -> WorkLimits {
    WorkLimits { range_bytes: 80, shard_rows: 4, ..shuffled() }
}

#[tokio::test]
async fn a_job_that_is_ended_after_a_crash_leaves_what_was_completed() {
    crashes(limits(), After::Ended, STRIDE).await;
}

#[tokio::test]
async fn a_job_in_shards_that_is_ended_after_a_crash_leaves_what_was_completed() {
    crashes(in_shards(), After::Ended, 1).await;
}

#[tokio::test]
async fn a_job_that_is_resumed_after_a_crash_completes() {
    crashes(limits(), After::Resumed, STRIDE).await;
}

#[tokio::test]
async fn a_job_in_shards_that_is_resumed_after_a_crash_completes() {
    crashes(in_shards(), After::Resumed, 1).await;
}

#[tokio::test]
async fn a_job_that_is_left_after_a_crash_is_in_nobodys_way() {
    crashes(limits(), After::Left, STRIDE).await;
}
