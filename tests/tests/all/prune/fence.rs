//! Backups that are under way while `prune` works.

use super::bench::{LONG, Shop};
use crate::increments::bench::small;
use crate::increments::chance::Chance;
use crate::increments::drive::Drive;
use holdfast_common::jobs::BackupType::{self, Full, Incremental};
use holdfast_common::jobs::{DeletedBy, Deletion, Job};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::storage::Storage as _;
use holdfast_workflow::events::{BackupInput, Execution, JobEvent, JoinEvent, PlanEvent, TaskEvent};
use holdfast_workflow::{commit, export, join, plan, upload};
use jiff::SignedDuration;

impl Shop {
    /// A backup up to its commit.
    async fn almost(&mut self, of: BackupType) -> (Execution, String) {
        let mut lines = self.next_day();
        let execution = self.bench.execution();
        let input = BackupInput { resource: "shop".to_owned(), backup_type: Some(of) };
        let event = PlanEvent { input, execution: execution.clone() };
        let planned = plan::plan(&self.services, &event).await.unwrap();
        self.tasks(&planned.tasks.key).await;
        let joins = join::plan(&self.services, &JoinEvent { join: planned.job.clone() }).await.unwrap();
        if joins.work {
            self.tasks(&joins.tasks.key).await;
        }
        for lines in lines.values_mut() {
            lines.sort_unstable();
        }
        self.taken.push((planned.job.clone(), lines));
        (execution, planned.job)
    }

    async fn tasks(&self, list: &str) {
        for task in self.bench.listed(list).await {
            while self.step(&task).await {}
        }
    }

    async fn step(&self, task: &TaskEvent) -> bool {
        export::export_chunk(&self.services, task).await.unwrap().more
            && upload::upload_part(&self.services, task).await.unwrap().more
    }

    async fn commit(&self, job: &str) -> Result<(), Error> {
        commit::commit(&self.services, &JobEvent { job: job.to_owned() }).await.map(|_| ())
    }

    async fn fail(&mut self, execution: &Execution, job: &str, error: &Error) {
        let services = self.services.clone();
        let mut old = Vec::new();
        let chance = Chance::new(1);
        let mut drive =
            Drive { bench: &self.bench, services: &services, chance, repeats: 0, tries: 1, old: &mut old };
        drive.fail(execution, "shop", error).await.unwrap();
        self.taken.retain(|(id, _)| id != job);
    }
}

#[tokio::test]
async fn what_a_backup_under_way_has_stored_waits_for_its_commit() {
    for of in [Full, Incremental] {
        let shop = &mut Shop::new(small()).await;
        shop.back_up(Full).await;
        let (_, job) = shop.almost(of).await;
        let seen = shop.prune().await;
        assert!(seen.condemned > 0, "nothing tells it from garbage");
        shop.bench.pass(SignedDuration::from_mins(5 * 60 + 58));
        assert_eq!(shop.prune().await.waiting, seen.condemned);
        shop.commit(&job).await.unwrap();
        assert_eq!(shop.condemned().await.len(), 0, "a manifest names nothing that is condemned");
        shop.bench.pass(LONG);
        assert_eq!(shop.prune().await.deleted, 0);
        shop.all_restore().await;
        shop.comes_clean().await;
    }
}

#[tokio::test]
async fn a_commit_that_comes_too_late_is_refused_and_what_it_would_have_named_goes() {
    let shop = &mut Shop::new(small()).await;
    shop.back_up(Full).await;
    let (execution, job) = shop.almost(Incremental).await;
    shop.prune().await;
    shop.bench.pass(SignedDuration::from_mins(6 * 60 + 1));
    let late = shop.commit(&job).await.unwrap_err();
    assert_eq!((late.code, late.object.as_deref()), (Code::Overdue, Some(job.as_str())));
    shop.bench.pass(LONG);
    assert!(shop.prune().await.deleted > 0);
    assert_eq!(shop.commit(&job).await.unwrap_err().code, Code::Overdue, "and so is every duplicate");
    assert!(shop.services.vault.manifest(&job).await.is_err());
    shop.fail(&execution, &job, &late).await;
    shop.comes_clean().await;
    shop.all_restore().await;
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_refused() {
    let shop = &mut Shop::new(small()).await;
    let (_, job) = shop.almost(Full).await;
    shop.bench.pass(-SignedDuration::from_mins(15));
    let began = shop.services.jobs.job(&job).await.unwrap().started_at;
    assert!(began.is_some_and(|began| began > shop.services.clock.now()));
    shop.bench.pass(-SignedDuration::from_mins(10));
    assert_eq!(shop.commit(&job).await.unwrap_err().code, Code::Overdue);
    shop.bench.pass(SignedDuration::from_mins(10));
    shop.commit(&job).await.unwrap();
}

#[tokio::test]
async fn a_base_that_another_builds_on_waits_for_it() {
    let shop = &mut Shop::new(small()).await;
    let base = shop.back_up(Full).await.id;
    let (_, job) = shop.almost(Incremental).await;
    shop.delete(&base).await;
    assert_eq!(shop.prune().await.backups_ended, 0);
    shop.commit(&job).await.unwrap();
    assert_eq!(shop.prune().await.backups_ended, 1);
    shop.comes_clean().await;
    shop.all_restore().await;
}

#[tokio::test]
async fn a_commit_on_a_base_that_is_gone_is_refused() {
    // Its row says that it ended; its manifest is gone; what it names is gone.
    for how in 0..3 {
        let shop = &mut Shop::new(small()).await;
        let base = shop.back_up(Full).await.id;
        let (execution, job) = shop.almost(Incremental).await;
        let objects = shop.services.vault.manifest(&base).await.unwrap().objects;
        let now = shop.services.clock.now();
        let deletion = |deleted_at| {
            let (by, reason) = (DeletedBy::Operator, "asked for by hand".to_owned());
            Some(Deletion { asked_at: now, due_at: now, by, reason, deleted_at })
        };
        let mark = |deleted_at| {
            move |job: &mut Job| {
                job.deletion = deletion(deleted_at);
                Ok(true)
            }
        };
        match how {
            0 => drop(shop.services.jobs.change_job(&base, mark(Some(now))).await.unwrap()),
            1 => shop.bench.vault.delete(&format!("manifests/{base}")).await.unwrap(),
            _ => {
                shop.services.jobs.change_job(&base, mark(None)).await.unwrap();
                for object in &objects {
                    shop.bench.vault.delete(&object.key()).await.unwrap();
                }
            }
        }
        let refused = shop.commit(&job).await.unwrap_err();
        assert_eq!((refused.code, refused.object.as_deref()), (Code::BaseGone, Some(base.as_str())), "{how}");
        assert!(shop.services.vault.manifest(&job).await.is_err());
        shop.fail(&execution, &job, &refused).await;
        if how == 1 {
            shop.delete(&base).await;
        }
        shop.taken.retain(|(id, _)| *id != base);
        let next = shop.back_up(Incremental).await;
        assert!(next.warnings.iter().any(|warning| warning.code == "NoBase"), "{:?}", next.warnings);
        shop.all_restore().await;
    }
}
