//! Drives the steps of a prune as its state machine would, and says what has to hold after each.

use crate::increments::bench::{Bench, Lines, NEVER, small};
use crate::increments::drive;
use holdfast_common::jobs::{BackupType, Job, PruneFigures, PruneRow};
use holdfast_vault::error::Result;
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{ByteRange, Storage as _};
use holdfast_workflow::capture::{self, ExpireEvent};
use holdfast_workflow::events::{Execution, Selection};
use holdfast_workflow::prune::{self, FinishPrune, PlanPrune, PruneInput, PrunePlanned, SweepEvent};
use holdfast_workflow::retention::{self, Due};
use holdfast_workflow::{Services, WorkLimits};
use jiff::SignedDuration;
use std::collections::BTreeSet;

/// A bit longer than what is condemned waits.
pub(crate) const LONG: SignedDuration = SignedDuration::from_mins(8 * 60 + 1);

/// Limits so small that a prune takes several calls of each step.
pub(crate) fn tiny() -> WorkLimits {
    WorkLimits { prune_objects: 3, prune_ids: 2, prune_backups: 1, ..small() }
}

pub(crate) struct Shop {
    pub(crate) bench: Bench,
    pub(crate) services: Services,
    day: u64,
    /// Backups with the records that they hold.
    pub(crate) taken: Vec<(String, Lines)>,
}

/// The records of a day: most stay, some change, some go.
pub(crate) fn day(number: u64) -> Lines {
    let live = (0..12).filter(|key| !(key + number).is_multiple_of(5));
    let lines = live.map(|key| format!(r#"{{"id":{key},"v":{}}}"#, (number + key) / 4));
    Lines::from([("orders".to_owned(), lines.collect())])
}

impl Shop {
    pub(crate) async fn new(limits: WorkLimits) -> Self {
        let bench = Bench::new(limits).await;
        bench.configure("shop", "/id", NEVER).await;
        let services = bench.services.clone();
        Self { bench, services, day: 0, taken: Vec::new() }
    }

    /// Another day's records are in the source.
    pub(crate) fn next_day(&mut self) -> Lines {
        self.day += 1;
        let lines = day(self.day);
        self.bench.write(&lines);
        lines
    }

    pub(crate) async fn back_up(&mut self, of: BackupType) -> Job {
        let mut lines = self.next_day();
        let job = drive::plain(&self.bench, &self.services, "shop", of).await.unwrap();
        for lines in lines.values_mut() {
            lines.sort_unstable();
        }
        self.taken.push((job.id.clone(), lines));
        job
    }

    /// Asks for a backup to go at once.
    pub(crate) async fn delete(&mut self, id: &str) {
        let now = self.services.clock.now();
        retention::delete(&self.services.jobs, now, id, Due::Now).await.unwrap();
        self.taken.retain(|(known, _)| known != id);
    }

    pub(crate) async fn prune(&self) -> PruneFigures {
        run(&self.bench, &self.services, &self.bench.execution(), false).await.unwrap().figures
    }

    pub(crate) async fn dry_run(&self) -> PruneFigures {
        run(&self.bench, &self.services, &self.bench.execution(), true).await.unwrap().figures
    }

    /// Every backup that was not given up restores.
    pub(crate) async fn all_restore(&self) {
        for (id, lines) in &self.taken {
            let (found, _) = self.bench.restored(&self.services, id, Selection::default()).await;
            assert_eq!(found, *lines, "{id}");
        }
    }

    /// The keys of all objects that a manifest names.
    pub(crate) async fn needed(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        let vault: &Vault = &self.services.vault;
        for id in vault.backups().await.unwrap() {
            keys.extend(
                vault
                    .manifest(&id)
                    .await
                    .unwrap()
                    .objects
                    .iter()
                    .map(holdfast_vault::format::manifest::StoredObject::key),
            );
        }
        keys
    }

    /// The keys of all condemned objects.
    pub(crate) async fn condemned(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for folder in ["index", "packs"] {
            for digit in 0..16 {
                let rows = self.services.jobs.condemned(&format!("{folder}/{digit:x}"), None).unwrap();
                keys.extend(rows.all().await.unwrap().into_iter().map(|row| row.key));
            }
        }
        keys
    }

    /// Two prunes with the wait between them leave nothing but what is needed, and nothing condemned.
    pub(crate) async fn comes_clean(&self) {
        self.prune().await;
        self.bench.pass(LONG);
        self.prune().await;
        assert_eq!(self.bench.sealed().await, self.needed().await);
        assert_eq!(self.condemned().await, BTreeSet::new());
        assert_eq!(self.bench.staged("").await, Vec::<String>::new());
    }
}

/// Runs a prune under an execution, every step again while it says that there is more.
pub(crate) async fn run(
    bench: &Bench,
    services: &Services,
    execution: &Execution,
    dry_run: bool,
) -> Result<PruneRow> {
    let planned = plan(services, execution, dry_run).await?;
    if planned.expire {
        for event in lines::<ExpireEvent>(bench, &planned.expiries.key).await {
            capture::expire(services, &event).await?;
        }
    }
    for event in lines::<SweepEvent>(bench, &planned.tasks.key).await {
        while prune::sweep(services, &event).await?.more {}
    }
    prune::finish(services, &FinishPrune { prune: planned.prune }).await
}

pub(crate) async fn plan(services: &Services, execution: &Execution, dry_run: bool) -> Result<PrunePlanned> {
    let event = PlanPrune { input: PruneInput { dry_run }, execution: execution.clone() };
    loop {
        let planned = prune::plan(services, &event).await?;
        if !planned.more {
            return Ok(planned);
        }
    }
}

pub(crate) async fn lines<T: serde::de::DeserializeOwned>(bench: &Bench, key: &str) -> Vec<T> {
    let bytes = bench.staging.get(key, ByteRange::All).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
