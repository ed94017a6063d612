//! A store that does not answer, or answers late: nothing goes because of it.

use super::bench::{LONG, Shop, run};
use super::store::{Moods, Odd};
use crate::increments::bench::small;
use holdfast_common::jobs::BackupType::{Full, Incremental};
use holdfast_common::jobs::{Condemned, Job};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::storage::{ByteRange, Storage as _};
use holdfast_workflow::Services;
use holdfast_workflow::retention;

impl Shop {
    /// A prune over a store fails, and nothing has gone.
    async fn fails(&self, services: &Services) -> Error {
        let before = (self.bench.sealed().await, self.services.vault.backups().await.unwrap());
        let execution = self.bench.execution();
        let error = run(&self.bench, services, &execution, false).await.unwrap_err();
        let after = (self.bench.sealed().await, self.services.vault.backups().await.unwrap());
        assert_eq!(after, before);
        error
    }

    /// All objects that manifests name were condemned long ago, so they say.
    async fn condemn_long_ago(&self, id: &str) -> usize {
        let objects = self.services.vault.manifest(id).await.unwrap().objects;
        let at = self.services.clock.now() - LONG;
        let row = |key: String, size| Condemned { key, size, at };
        let rows: Vec<_> = objects.iter().map(|object| row(object.key(), object.size)).collect();
        self.services.jobs.condemn(&rows).await.unwrap();
        rows.len()
    }
}

fn failing(key: &str) -> Moods {
    Moods { failing: Some(key.to_owned()), ..Moods::default() }
}

#[tokio::test]
async fn a_store_that_does_not_answer_ends_it_with_that_error() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    let second = shop.back_up(Full).await;
    let key = |id: &str| format!("manifests/{id}");
    let (odd, services) = Odd::over(shop, failing(&key(&second.id)));
    let error = shop.fails(&services).await;
    assert_eq!((error.code, error.object), (Code::StorageUnavailable, Some(key(&second.id))));
    // Nor is one that is only not listed yet taken for missing.
    odd.becomes(Moods { unlisted: Some(key(&second.id)), ..failing(&key(&second.id)) });
    assert_eq!(shop.fails(&services).await.code, Code::StorageUnavailable);
    // The manifest of a backup that is to go tells what has to wait from now on.
    shop.delete(&first.id).await;
    odd.becomes(failing(&key(&first.id)));
    assert_eq!(shop.fails(&services).await.code, Code::StorageUnavailable);
    odd.becomes(Moods::default());
    shop.comes_clean().await;
    shop.all_restore().await;
}

#[tokio::test]
async fn a_manifest_that_is_not_listed_yet_keeps_its_objects() {
    let shop = &mut Shop::new(small()).await;
    shop.back_up(Full).await;
    let new = shop.back_up(Full).await;
    let unlisted = Some(format!("manifests/{}", new.id));
    let (_, services) = Odd::over(shop, Moods { unlisted, ..Moods::default() });
    let execution = shop.bench.execution();
    let done = run(&shop.bench, &services, &execution, false).await.unwrap().figures;
    assert_eq!((done.condemned, done.backups_ended), (0, 0));
}

#[tokio::test]
async fn what_is_wrong_with_a_manifest_is_told_also_of_one_without_a_row() {
    let shop = &mut Shop::new(small()).await;
    let id = shop.back_up(Full).await.id;
    let key = format!("manifests/{id}");
    let body = shop.bench.vault.get(&key, ByteRange::All).await.unwrap();
    shop.bench.vault.overwrite(&key, body.slice(..body.len() - 1));
    let forgotten = shop.bench.forgotten(small()).await;
    for services in [&shop.services, &forgotten] {
        let error = shop.fails(services).await;
        assert_eq!((error.code, error.object.as_deref()), (Code::ObjectDamaged, Some(id.as_str())));
        assert!(error.message.contains("cannot be read"), "{error}");
    }
    shop.bench.vault.delete(&key).await.unwrap();
    let error = shop.fails(&shop.services).await;
    assert_eq!(error.code, Code::ObjectMissing);
    assert!(error.message.contains("is missing"), "{error}");
}

/// What a manifest named that cannot be read cannot be told: everything waits anew.
#[tokio::test]
async fn the_end_of_a_backup_whose_manifest_is_damaged_lets_everything_wait_anew() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    shop.back_up(Full).await;
    let objects = shop.condemn_long_ago(&first.id).await;
    shop.bench.vault.overwrite(&format!("manifests/{}", first.id), "no manifest");
    shop.delete(&first.id).await;
    let done = shop.prune().await;
    assert_eq!((done.backups_ended, done.deleted, done.condemned), (1, 0, objects as u64));
    shop.comes_clean().await;
    shop.all_restore().await;
}

/// Where there is no manifest any more, an earlier prune has seen to what it named.
#[tokio::test]
async fn the_end_of_a_backup_without_a_manifest_holds_nothing_up() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    shop.back_up(Full).await;
    let objects = shop.condemn_long_ago(&first.id).await;
    shop.bench.vault.delete(&format!("manifests/{}", first.id)).await.unwrap();
    shop.delete(&first.id).await;
    let done = shop.prune().await;
    assert_eq!((done.backups_ended, done.deleted, done.condemned), (1, objects as u64, 0));
    shop.all_restore().await;
}

#[tokio::test]
async fn a_hold_that_comes_while_backups_are_counted_keeps_the_backup() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    shop.back_up(Incremental).await;
    let (jobs, id, now) = (shop.services.jobs.clone(), first.id.clone(), shop.services.clock.now());
    retention::delete(&jobs, now, &id, retention::Due::Now).await.unwrap();
    let hold = async move {
        let claim = Some(holdfast_common::jobs::Hold { reason: "a claim".to_owned(), at: now });
        let keep = |job: &mut Job| {
            job.hold.clone_from(&claim);
            Ok(true)
        };
        jobs.change_job(&id, keep).await.unwrap();
    };
    let (_, services) = Odd::over(shop, Moods { meanwhile: Some(Box::pin(hold)), ..Moods::default() });
    let execution = shop.bench.execution();
    let done = run(&shop.bench, &services, &execution, false).await.unwrap().figures;
    assert_eq!((done.backups_ended, done.condemned), (0, 0));
    let row = shop.services.jobs.job(&first.id).await.unwrap();
    assert!(row.hold.is_some() && row.deletion.unwrap().deleted_at.is_none());
    shop.bench.pass(LONG);
    shop.all_restore().await;
}
