//! What keeps a prune from doing anything.

use super::bench::{LONG, Shop, run};
use crate::increments::bench::small;
use holdfast_common::jobs::BackupType::Full;
use holdfast_common::jobs::{JobChange, Status};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::storage::{ByteRange, Storage as _};
use holdfast_workflow::events::Caught;
use holdfast_workflow::prune::{self, AbandonPrune};

impl Shop {
    /// A prune is refused, and changes nothing.
    async fn is_stopped(&self) -> Error {
        let (sealed, condemned) = (self.bench.sealed().await, self.condemned().await);
        let execution = self.bench.execution();
        let error = run(&self.bench, &self.services, &execution, false).await.unwrap_err();
        assert_eq!((self.bench.sealed().await, self.condemned().await), (sealed, condemned));
        let caught = Caught { error: error.code.to_string(), cause: error.message.clone() };
        let abandon = AbandonPrune { execution, error: caught };
        let told = prune::abandon(&self.services, &abandon).await.unwrap();
        assert_eq!(prune::abandon(&self.services, &abandon).await.unwrap(), told, "it may be repeated");
        let row = self.services.jobs.prune(&told.prune).await.unwrap();
        assert_eq!(row.error.unwrap().code, error.code.as_str());
        assert!(row.completed_at.is_some());
        assert_eq!(self.bench.staged("").await, Vec::<String>::new());
        error
    }
}

#[tokio::test]
async fn a_manifest_that_is_hidden_stops_it_until_it_is_back_or_given_up() {
    let shop = &mut Shop::new(small()).await;
    let hidden = shop.back_up(Full).await.id;
    let gone = shop.back_up(Full).await.id;
    shop.back_up(Full).await;
    shop.delete(&gone).await;
    let key = format!("manifests/{hidden}");
    let body = shop.bench.vault.get(&key, ByteRange::All).await.unwrap();
    shop.bench.vault.delete(&key).await.unwrap();
    shop.bench.pass(LONG);
    for _ in 0..2 {
        let error = shop.is_stopped().await;
        assert_eq!((error.code, error.object.as_deref()), (Code::ObjectMissing, Some(hidden.as_str())));
        assert!(error.hint.unwrap().contains("--now"));
        shop.bench.pass(LONG);
    }
    shop.bench.vault.put_if_absent(&key, body).await.unwrap();
    shop.comes_clean().await;
    shop.all_restore().await;
    shop.bench.vault.delete(&key).await.unwrap();
    shop.is_stopped().await;
    shop.delete(&hidden).await;
    shop.comes_clean().await;
    shop.all_restore().await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_stops_it_until_it_is_given_up() {
    let shop = &mut Shop::new(small()).await;
    let damaged = shop.back_up(Full).await.id;
    let gone = shop.back_up(Full).await.id;
    shop.back_up(Full).await;
    shop.delete(&gone).await;
    let key = format!("manifests/{damaged}");
    let mut body = shop.bench.vault.get(&key, ByteRange::All).await.unwrap().to_vec();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    shop.bench.vault.overwrite(&key, body);
    let error = shop.is_stopped().await;
    assert_eq!((error.code, error.object.as_deref()), (Code::ObjectDamaged, Some(damaged.as_str())));
    shop.bench.pass(LONG);
    shop.is_stopped().await;
    shop.delete(&damaged).await;
    shop.comes_clean().await;
    shop.all_restore().await;
}

/// A manifest whose backup nobody has acknowledged is deleted once no commit of it can be under way; one that the
/// catalogue does not know is live.
#[tokio::test]
async fn a_manifest_of_a_failed_backup_goes_and_one_without_a_row_stays() {
    let shop = &mut Shop::new(small()).await;
    let failed = shop.back_up(Full).await.id;
    let known = shop.back_up(Full).await.id;
    let as_failed = |job: &mut holdfast_common::jobs::Job| {
        job.status = Status::Failed;
        Ok(true)
    };
    shop.services.jobs.change_job(&failed, as_failed).await.unwrap();
    shop.services.jobs.update_job(&known, JobChange::default()).await.unwrap();
    assert_eq!(shop.prune().await.backups_ended, 0, "its commit may be under way");
    let forgotten = shop.bench.forgotten(small()).await;
    let execution = shop.bench.execution();
    let done = run(&shop.bench, &forgotten, &execution, false).await.unwrap().figures;
    assert_eq!((done.backups_ended, done.condemned), (0, 0), "without a catalogue all manifests are live");
    shop.bench.pass(LONG);
    assert_eq!(shop.prune().await.backups_ended, 1);
    shop.taken.retain(|(id, _)| *id != failed);
    shop.bench.pass(LONG);
    shop.comes_clean().await;
    shop.all_restore().await;
}

#[tokio::test]
async fn a_prune_that_has_ended_does_nothing_any_more() {
    let shop = &mut Shop::new(small()).await;
    shop.back_up(Full).await;
    let execution = shop.bench.execution();
    let row = run(&shop.bench, &shop.services, &execution, false).await.unwrap();
    let again = run(&shop.bench, &shop.services, &execution, false).await.unwrap_err();
    assert_eq!(again.code, Code::JobState);
    let finish = prune::FinishPrune { prune: row.id.clone() };
    assert_eq!(prune::finish(&shop.services, &finish).await.unwrap(), row);
    let late = prune::SweepEvent { prune: row.id, shard: 0 };
    assert!(!prune::sweep(&shop.services, &late).await.unwrap().more);
    let unknown = prune::SweepEvent { prune: "no".to_owned(), shard: 0 };
    assert_eq!(prune::sweep(&shop.services, &unknown).await.unwrap_err().code, Code::JobUnknown);
}
