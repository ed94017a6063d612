//! Change objects that are gone: those that were written later tell.

use super::{Shop, TABLE, order};
use holdfast_tests::back_up;
use holdfast_vault::error::Code;
use holdfast_vault::format::changes::ChangeName;
use holdfast_vault::read::changes::{ALL_KEYS, list};
use holdfast_workflow::capture::log::{self, Uncovered};
use holdfast_workflow::capture::rebuild;
use holdfast_workflow::events::VerifyEvent;
use holdfast_workflow::verify;
use jiff::Timestamp;

/// A shop with a backup, some captures after it, and the objects that those became, the oldest first.
async fn captured(times: usize) -> (Shop, String, Vec<ChangeName>) {
    let shop = Shop::new().await;
    shop.cloud.capture("orders").await.unwrap();
    let backup = back_up(&shop.cloud, "orders").await;
    let mut names: Vec<ChangeName> = Vec::new();
    for n in 0..times {
        shop.put(&[order("a", n), order(&format!("b{n}"), n)]).await;
        shop.cloud.capture("orders").await.unwrap();
        let all = list(&shop.cloud.services().vault, "orders", i64::MIN, i64::MAX).await.unwrap();
        names.extend(all.into_iter().map(|(name, _)| name).filter(|name| !names.contains(name)).max());
    }
    (shop, backup, names)
}

async fn findings(shop: &Shop, backup: &str) -> Vec<(String, String)> {
    let mut event = VerifyEvent { job: backup.to_owned(), level: Some("full".to_owned()), progress: None };
    loop {
        let answer = verify::verify(shop.cloud.services(), &event).await.unwrap();
        let errors = &answer.progress.findings.errors;
        assert_eq!(answer.valid, errors.is_empty());
        if !answer.more {
            return errors.iter().map(|finding| (finding.object.clone(), finding.code.clone())).collect();
        }
        event.progress = Some(answer.progress);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_gone_is_named_and_its_time_is_not_relied_on() {
    for lost in 0..4 {
        let (shop, backup, names) = captured(5).await;
        let services = shop.cloud.services();
        assert_eq!(findings(&shop, &backup).await, []);
        let gone = &names[lost];
        services.vault.storage().delete(&gone.key()).await.unwrap();

        let missing = Code::ObjectMissing.to_string();
        let (from, to) = (Timestamp::MIN, Timestamp::MAX);
        let read = log::changes_in(services, "orders", TABLE, from, to, ALL_KEYS).await.unwrap_err();
        assert_eq!((read.code, read.object), (Code::ObjectMissing, Some(gone.key())));
        assert_eq!(findings(&shop, &backup).await, [(gone.key(), missing)]);
        let coverage = log::coverage(services, "orders").await.unwrap().unwrap();
        let covers = coverage.covers(coverage.since, coverage.watermark);
        let Err(Uncovered::Gaps(gaps)) = covers else { panic!("{covers:?}") };
        assert_eq!(gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>(), [(gone.from - 1, gone.to)]);
        // The backup needs it to reach its time.
        assert_eq!(findings(&shop, &backup).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_is_made_from_the_vault_knows_what_is_gone_and_goes_on() {
    let (shop, backup, names) = captured(4).await;
    let services = shop.cloud.services();
    let known = services.jobs.capture("orders").await.unwrap().unwrap();
    assert_eq!(known.unfollowed, [names[3].key()], "the others are named by those that follow them");
    services.vault.storage().delete(&names[1].key()).await.unwrap();
    assert!(rebuild(services).await.unwrap().is_empty(), "what is there is sound");
    let row = services.jobs.capture("orders").await.unwrap().unwrap();
    assert_eq!(row.gaps.iter().map(|gap| gap.to).collect::<Vec<_>>(), [names[1].to]);
    // The newest is named by the next.
    shop.put(&[order("a", 9)]).await;
    shop.cloud.capture("orders").await.unwrap();
    services.vault.storage().delete(&names[3].key()).await.unwrap();
    let found: Vec<String> = findings(&shop, &backup).await.into_iter().map(|(object, _)| object).collect();
    assert_eq!(found, [names[1].key(), names[3].key()]);
}
