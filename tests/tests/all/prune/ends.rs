//! Backups that end, and what goes with them.

use super::bench::{LONG, Shop, tiny};
use crate::increments::bench::small;
use holdfast_common::jobs::BackupType::{Full, Incremental};
use holdfast_common::jobs::{Condemned, PruneFigures};
use holdfast_vault::error::Code;
use holdfast_vault::storage::Storage as _;
use holdfast_workflow::retention::{self, Due};
use jiff::{SignedDuration, Timestamp};

#[tokio::test]
async fn what_nothing_needs_is_condemned_and_deleted_when_its_time_is_up() {
    for limits in [small(), tiny()] {
        let shop = &mut Shop::new(limits).await;
        let first = shop.back_up(Full).await;
        shop.back_up(Full).await;
        assert_eq!(shop.prune().await.condemned, 0, "all is needed");
        let before = shop.bench.sealed().await;
        shop.delete(&first.id).await;
        let counted = shop.dry_run().await;
        assert_eq!(shop.bench.sealed().await, before);
        assert_eq!(shop.condemned().await.len(), 0, "a dry run writes nothing");
        assert!(shop.services.vault.manifest(&first.id).await.is_ok());

        let done = shop.prune().await;
        assert_eq!((done.backups_ended, done.deleted, done.waiting), (1, 0, 0));
        assert_eq!(done, counted, "a dry run counts what is done then");
        assert_eq!(shop.services.vault.manifest(&first.id).await.unwrap_err().code, Code::ObjectMissing);
        assert_eq!(shop.condemned().await.len() as u64, done.condemned);
        shop.bench.pass(LONG - SignedDuration::from_mins(10));
        let waited = shop.prune().await;
        assert_eq!((waited.waiting, waited.waiting_bytes), (done.condemned, done.condemned_bytes));
        assert_eq!((waited.condemned, waited.deleted), (0, 0));
        assert_eq!(shop.bench.sealed().await, before);

        shop.bench.pass(SignedDuration::from_mins(10));
        let counted = shop.dry_run().await;
        assert_eq!(shop.bench.sealed().await, before);
        let deleted = shop.prune().await;
        assert_eq!(deleted, counted);
        assert_eq!((deleted.deleted, deleted.deleted_bytes), (done.condemned, done.condemned_bytes));
        assert_eq!(shop.bench.sealed().await, shop.needed().await);
        shop.all_restore().await;
        assert_eq!(shop.prune().await.objects, deleted.objects - deleted.deleted);
        shop.comes_clean().await;
    }
}

#[tokio::test]
async fn a_base_goes_and_what_is_built_on_it_stays() {
    let shop = &mut Shop::new(tiny()).await;
    let first = shop.back_up(Full).await;
    let second = shop.back_up(Incremental).await;
    shop.back_up(Incremental).await;
    shop.delete(&first.id).await;
    shop.delete(&second.id).await;
    shop.comes_clean().await;
    shop.all_restore().await;
    shop.back_up(Incremental).await;
    shop.comes_clean().await;
    shop.all_restore().await;
}

#[tokio::test]
async fn a_hold_keeps_a_backup_and_all_that_it_needs() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    shop.back_up(Full).await;
    let (jobs, now) = (&shop.services.jobs, shop.services.clock.now());
    retention::delete(jobs, now, &first.id, Due::Now).await.unwrap();
    retention::hold(jobs, now, &first.id, "a claim").await.unwrap();
    shop.comes_clean().await;
    shop.all_restore().await;
    // However a deletion came to stand beside a hold, the hold wins.
    let jobs = &shop.services.jobs;
    let released = holdfast_common::jobs::Job { hold: None, ..first.clone() };
    let deletion = retention::deleted(released, now, Due::Now).unwrap().deletion.unwrap();
    let both = |job: &mut holdfast_common::jobs::Job| {
        job.deletion = Some(deletion.clone());
        Ok(true)
    };
    jobs.change_job(&first.id, both).await.unwrap();
    shop.comes_clean().await;
    shop.all_restore().await;
    assert_eq!(jobs.job(&first.id).await.unwrap().deletion.unwrap().deleted_at, None);
    retention::release(jobs, &first.id).await.unwrap();
    shop.delete(&first.id).await;
    shop.comes_clean().await;
    assert_eq!(shop.services.vault.backups().await.unwrap().len(), 1);
    let held = retention::hold(&shop.services.jobs, now, &first.id, "too late").await.unwrap_err();
    assert_eq!(held.code, Code::JobState);
}

#[tokio::test]
async fn a_deletion_is_carried_out_after_its_grace_and_can_be_taken_back_until_then() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    shop.back_up(Full).await;
    let (jobs, now) = (&shop.services.jobs, shop.services.clock.now());
    retention::delete(jobs, now, &first.id, Due::AfterGrace).await.unwrap();
    shop.bench.pass(SignedDuration::from_mins(24 * 60 - 1));
    assert_eq!(shop.prune().await.backups_ended, 0);
    retention::undelete(jobs, &first.id).await.unwrap();
    shop.bench.pass(SignedDuration::from_mins(2));
    assert_eq!(shop.prune().await.backups_ended, 0);
    shop.all_restore().await;
    retention::delete(jobs, shop.services.clock.now(), &first.id, Due::AfterGrace).await.unwrap();
    shop.bench.pass(SignedDuration::from_mins(24 * 60 + 1));
    assert_eq!(shop.prune().await.backups_ended, 1);
}

/// An object may have been condemned while its backup was under way, and nobody looked again. When the backup ends the wait
/// begins anew: another one may be about to name the object.
#[tokio::test]
async fn the_wait_of_an_object_begins_when_the_last_manifest_that_names_it_goes() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    shop.back_up(Full).await;
    let objects = shop.services.vault.manifest(&first.id).await.unwrap().objects;
    let row = |object: &holdfast_vault::format::manifest::StoredObject| Condemned {
        key: object.key(),
        size: object.size,
        at: first.created_at,
    };
    shop.services.jobs.condemn(&objects.iter().map(row).collect::<Vec<_>>()).await.unwrap();
    shop.bench.pass(LONG * 3);
    shop.delete(&first.id).await;
    let done = shop.prune().await;
    assert_eq!((done.backups_ended, done.deleted, done.condemned), (1, 0, objects.len() as u64));
    shop.comes_clean().await;
}

#[tokio::test]
async fn an_object_that_is_needed_after_all_is_rescued() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    let object = shop.services.vault.manifest(&first.id).await.unwrap().objects[0].clone();
    let row = Condemned { key: object.key(), size: object.size, at: Timestamp::UNIX_EPOCH };
    shop.services.jobs.condemn(&[row]).await.unwrap();
    assert_eq!(shop.dry_run().await.rescued, 1);
    let done = shop.prune().await;
    assert_eq!((done.rescued, done.deleted), (1, 0));
    assert_eq!(shop.condemned().await.len(), 0);
    shop.all_restore().await;
}

#[tokio::test]
async fn a_row_without_its_object_goes_and_a_foreign_object_stays() {
    let shop = &mut Shop::new(tiny()).await;
    shop.back_up(Full).await;
    let gone = format!("packs/ab/{}", "ab".repeat(16));
    let row = Condemned { key: gone, size: 1, at: Timestamp::UNIX_EPOCH };
    shop.services.jobs.condemn(&[row]).await.unwrap();
    for key in ["packs/readme", "packs/ab/readme", "index/ab/note.txt", "notes/a"] {
        shop.bench.vault.put_if_absent(key, "not ours".into()).await.unwrap();
    }
    shop.prune().await;
    assert_eq!(shop.condemned().await.len(), 0);
    shop.bench.pass(LONG);
    assert_eq!(shop.prune().await.deleted, 0);
    for key in ["packs/readme", "packs/ab/readme", "index/ab/note.txt", "notes/a"] {
        assert!(shop.bench.vault.head(key).await.is_ok(), "{key}");
    }
}

#[tokio::test]
async fn what_is_locked_is_left_and_counted() {
    let shop = &mut Shop::new(small()).await;
    let first = shop.back_up(Full).await;
    shop.back_up(Full).await;
    let manifest = shop.services.vault.manifest(&first.id).await.unwrap();
    let end = shop.services.clock.now() + SignedDuration::from_hours(48);
    let lock = |key: &str| shop.bench.vault.lock_until(key, end.as_second());
    let key = format!("manifests/{}", first.id);
    lock(&key);
    lock(&manifest.objects[0].key());
    shop.delete(&first.id).await;
    assert_eq!(shop.prune().await.backups_ended, 0, "its manifest is locked");
    assert_eq!(shop.services.jobs.job(&first.id).await.unwrap().deletion.unwrap().deleted_at, None);
    shop.bench.vault.lock_until(&key, 0);
    assert_eq!(shop.prune().await.backups_ended, 1);
    shop.bench.pass(LONG);
    let done = shop.prune().await;
    assert_eq!((done.locked, done.locked_bytes), (1, manifest.objects[0].size));
    assert_eq!(done.deleted, manifest.objects.len() as u64 - 1);
    shop.bench.pass(SignedDuration::from_hours(48));
    assert_eq!(shop.prune().await.deleted, 1);
    shop.all_restore().await;
}

#[tokio::test]
async fn locks_of_what_is_kept_longer_are_extended_and_no_others() {
    let shop = &mut Shop::new(small()).await;
    let held = shop.back_up(Full).await;
    let now = shop.services.clock.now();
    retention::hold(&shop.services.jobs, now, &held.id, "a claim").await.unwrap();
    let objects = shop.services.vault.manifest(&held.id).await.unwrap().objects;
    let vault = shop.bench.vault.clone();
    for object in &objects {
        vault.lock_until(&object.key(), (now + SignedDuration::from_hours(24 * 20)).as_second());
    }
    let mut figures = PruneFigures::default();
    for _ in 0..7 {
        figures += shop.prune().await;
        shop.bench.pass(SignedDuration::from_hours(24));
    }
    assert_eq!(figures.extended, objects.len() as u64, "each once in a week");
    for object in &objects {
        let until = vault.locked_until(&object.key()).await.unwrap().unwrap();
        let days = (until - now.as_second()) / 86_400;
        assert!((90..98).contains(&days), "{days}");
    }
}
