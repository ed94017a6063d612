//! Prunes that come to an end over many calls, pages and backups.

use super::bench::{LONG, Shop, plan, run, tiny};
use super::store::{Moods, Odd};
use crate::increments::bench::small;
use holdfast_common::jobs::BackupType::{Full, Incremental};
use holdfast_common::jobs::PruneFigures;
use holdfast_vault::error::Code;
use holdfast_vault::storage::Storage as _;
use holdfast_workflow::prune::{self, FinishPrune, PlanPrune, PruneInput};
use holdfast_workflow::{Services, WorkLimits, retention};
use jiff::SignedDuration;

async fn prune(shop: &Shop, services: &Services) -> PruneFigures {
    run(&shop.bench, services, &shop.bench.execution(), false).await.unwrap().figures
}

/// So many backups that objects which go and which stay share prefixes, however their random ids fall.
#[tokio::test]
async fn pages_and_calls_however_short_come_to_the_same() {
    for (prune_objects, page) in [(1, 1), (2, 3), (1_000, 1)] {
        let shop = &mut Shop::new(WorkLimits { prune_objects, ..small() }).await;
        let mut gone = Vec::new();
        for number in 0..24 {
            let job = shop.back_up(Full).await;
            if number % 2 == 0 {
                gone.extend(shop.services.vault.manifest(&job.id).await.unwrap().objects);
                shop.delete(&job.id).await;
            }
        }
        let (count, freed) = (gone.len() as u64, gone.iter().map(|object| object.size).sum::<u64>());
        let mut sizes: Vec<u64> = Vec::new();
        for folder in ["packs/", "index/"] {
            let objects = shop.bench.vault.list(folder, None).await.unwrap().objects;
            sizes.extend(objects.iter().map(|object| object.size));
        }
        let (_, services) = Odd::over(shop, Moods { page: Some(page), ..Moods::default() });

        let done = prune(shop, &services).await;
        assert_eq!((done.condemned, done.condemned_bytes), (count, freed));
        assert_eq!((done.objects, done.bytes), (sizes.len() as u64, sizes.iter().sum()));
        shop.bench.pass(SignedDuration::from_mins(7 * 60));
        let waited = prune(shop, &services).await;
        assert_eq!((waited.waiting, waited.condemned, waited.rescued), (count, 0, 0));
        assert_eq!(shop.condemned().await.len(), gone.len(), "nothing begins to wait anew");
        shop.bench.pass(LONG - SignedDuration::from_mins(7 * 60));
        let done = prune(shop, &services).await;
        assert_eq!((done.deleted, done.deleted_bytes), (count, freed));
        assert_eq!(shop.bench.sealed().await, shop.needed().await);
        assert_eq!(shop.condemned().await.len(), 0);
        shop.all_restore().await;
    }
}

#[tokio::test]
async fn locks_are_counted_over_all_calls() {
    let shop = &mut Shop::new(WorkLimits { prune_objects: 1, ..small() }).await;
    let (now, mut objects) = (shop.services.clock.now(), 0);
    for _ in 0..12 {
        let held = shop.back_up(Full).await;
        retention::hold(&shop.services.jobs, now, &held.id, "a claim").await.unwrap();
        for object in shop.services.vault.manifest(&held.id).await.unwrap().objects {
            let soon = now + SignedDuration::from_hours(24 * 20);
            shop.bench.vault.lock_until(&object.key(), soon.as_second());
            objects += 1;
        }
    }
    let (_, services) = Odd::over(shop, Moods { page: Some(1), ..Moods::default() });
    let mut extended = 0;
    for _ in 0..7 {
        extended += prune(shop, &services).await.extended;
        shop.bench.pass(SignedDuration::from_hours(24));
    }
    assert_eq!(extended, objects);
}

/// A call ends only so many backups, and says whether another is needed.
#[tokio::test]
async fn many_backups_end_over_many_calls() {
    for (count, calls) in [(3, 1), (8, 1), (9, 2), (17, 3)] {
        let shop = &mut Shop::new(tiny()).await;
        for _ in 0..count {
            let old = shop.back_up(Full).await;
            shop.delete(&old.id).await;
        }
        shop.back_up(Incremental).await;
        let execution = shop.bench.execution();
        let event = PlanPrune { input: PruneInput { dry_run: false }, execution: execution.clone() };
        let mut made = 1;
        while prune::plan(&shop.services, &event).await.unwrap().more {
            made += 1;
        }
        assert_eq!(made, calls, "{count} backups");
        let row = run(&shop.bench, &shop.services, &execution, false).await.unwrap();
        assert_eq!(row.figures.backups_ended, count);
        shop.comes_clean().await;
        shop.all_restore().await;
    }
}

#[tokio::test]
async fn a_prune_ends_only_when_all_shards_are_swept() {
    let shop = &mut Shop::new(tiny()).await;
    shop.back_up(Full).await;
    let execution = shop.bench.execution();
    let planned = plan(&shop.services, &execution, false).await.unwrap();
    let finish = FinishPrune { prune: planned.prune.clone() };
    let early = prune::finish(&shop.services, &finish).await.unwrap_err();
    assert_eq!((early.code, early.object), (Code::Internal, Some(planned.prune)));
    assert_eq!(early.hint.as_deref(), Some("start it again"));
    run(&shop.bench, &shop.services, &execution, false).await.unwrap();
}
