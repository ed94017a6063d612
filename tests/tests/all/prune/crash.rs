//! Prunes that end between any two calls, twice, or two at a time.

use super::bench::{LONG, Shop, run, tiny};
use crate::increments::bench::small;
use crate::increments::chance::Chance;
use crate::increments::faults::Weather;
use holdfast_common::jobs::BackupType::{Full, Incremental};
use holdfast_vault::error::{Code, Error};
use holdfast_workflow::events::Caught;
use holdfast_workflow::prune::{self, AbandonPrune};

/// One backup more, one less, and time enough for what was condemned.
async fn another(shop: &mut Shop) {
    shop.back_up(Incremental).await;
    shop.back_up(Full).await;
    let oldest = shop.taken[0].0.clone();
    shop.delete(&oldest).await;
    let next = shop.taken[0].0.clone();
    shop.delete(&next).await;
    shop.bench.pass(LONG);
}

#[tokio::test]
async fn a_prune_that_ends_anywhere_is_resumed_or_left() {
    let shop = &mut Shop::new(tiny()).await;
    shop.back_up(Full).await;
    shop.back_up(Incremental).await;
    for left in 0.. {
        if left % 4 == 0 {
            another(shop).await;
        }
        let execution = shop.bench.execution();
        shop.bench.faults.set(Weather::Crash { left: 7 * left });
        let first = run(&shop.bench, &shop.services, &execution, false).await;
        let crashed = shop.bench.faults.crashed();
        shop.bench.faults.set(Weather::Fair);
        shop.all_restore().await;
        match left % 3 {
            // Its calls are made again.
            0 => drop(run(&shop.bench, &shop.services, &execution, false).await),
            // It is ended, and the next one takes over.
            1 => {
                let error = Error::new(Code::Interrupted, "the process ended");
                let caught = Caught { error: error.code.to_string(), cause: error.message };
                prune::abandon(&shop.services, &AbandonPrune { execution, error: caught }).await.unwrap();
            }
            // Nobody looks after it any more; its lists stay in staging, where the bucket's lifecycle finds them.
            _ => {
                for key in shop.bench.staged("").await {
                    holdfast_vault::storage::Storage::delete(&shop.bench.staging, &key).await.unwrap();
                }
            }
        }
        shop.all_restore().await;
        if left % 6 == 5 {
            shop.comes_clean().await;
        }
        if !crashed {
            assert!(left > 10 && first.is_ok(), "{left} {first:?}");
            break;
        }
    }
    shop.comes_clean().await;
    shop.all_restore().await;
}

#[tokio::test]
async fn a_prune_in_rough_weather_deletes_nothing_that_is_needed() {
    let shop = &mut Shop::new(tiny()).await;
    shop.back_up(Full).await;
    shop.back_up(Incremental).await;
    for seed in 0..12 {
        another(shop).await;
        let execution = shop.bench.execution();
        for attempt in 0..6 {
            shop.bench.faults.set(Weather::Rough(Chance::new(seed * 10 + attempt), 15));
            let done = run(&shop.bench, &shop.services, &execution, false).await;
            shop.bench.faults.set(Weather::Fair);
            if done.is_ok() {
                break;
            }
        }
        shop.all_restore().await;
    }
    for key in shop.bench.staged("").await {
        holdfast_vault::storage::Storage::delete(&shop.bench.staging, &key).await.unwrap();
    }
    shop.comes_clean().await;
}

#[tokio::test]
async fn two_prunes_at_a_time_do_what_one_does() {
    for limits in [small(), tiny()] {
        let shop = &mut Shop::new(limits).await;
        shop.back_up(Full).await;
        shop.back_up(Incremental).await;
        for _ in 0..3 {
            another(shop).await;
            let (one, other) = (shop.bench.execution(), shop.bench.execution());
            let (bench, services) = (&shop.bench, &shop.services);
            let (one, other) = tokio::join!(
                Box::pin(run(bench, services, &one, false)),
                Box::pin(run(bench, services, &other, false)),
            );
            let (one, other) = (one.unwrap().figures, other.unwrap().figures);
            assert!(one.backups_ended + other.backups_ended >= 2);
            shop.all_restore().await;
        }
        shop.comes_clean().await;
        shop.all_restore().await;
    }
}

#[tokio::test]
async fn the_same_prune_twice_at_a_time_does_what_it_does_once() {
    let shop = &mut Shop::new(tiny()).await;
    shop.back_up(Full).await;
    shop.back_up(Incremental).await;
    for _ in 0..3 {
        another(shop).await;
        let execution = shop.bench.execution();
        let (bench, services) = (&shop.bench, &shop.services);
        let (one, other) = tokio::join!(
            Box::pin(run(bench, services, &execution, false)),
            Box::pin(run(bench, services, &execution, false)),
        );
        // One of them may find that the other has ended it.
        assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
        shop.all_restore().await;
    }
    shop.comes_clean().await;
}
