//! What is laid over a backup where clocks tell different times, and where changes are missing before it.

use super::{Shop, order};
use holdfast_connectors::{OnConflict, TargetSpec};
use holdfast_tests::{back_up, sorted_lines};
use holdfast_workflow::capture::log;
use holdfast_workflow::events::{RestoreRequest, Selection};
use jiff::{SignedDuration, Timestamp};

impl Shop {
    /// Makes a backup tell another time at which it was complete.
    async fn completed_at(&self, backup: &str, time: Timestamp) {
        let change = |job: &mut holdfast_common::jobs::Job| {
            job.completed_at = Some(time);
            Ok(true)
        };
        self.cloud.services().jobs.change_job(backup, change).await.unwrap();
    }

    /// The backup that a time is restored from, and the records, as `id=n`.
    async fn restored(&self, at: Timestamp) -> (String, Vec<String>) {
        let id = self.cloud.new_id();
        let target = self.dir.path().join(&id);
        let request = RestoreRequest {
            backup: String::new(),
            resource: Some("orders".to_owned()),
            at: Some(at),
            target: TargetSpec::Jsonl { path: target.clone() },
            on_conflict: OnConflict::Fail,
            selection: Selection::default(),
        };
        let job = self.cloud.run_restore(&id, &request).await.unwrap();
        assert_eq!(job.warnings, [], "the time is restored exactly");
        let record = |line: &Vec<u8>| {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            format!("{}={}", value["id"]["S"].as_str().unwrap(), value["n"]["N"].as_str().unwrap())
        };
        let lines = sorted_lines(&target);
        let records = lines.values().flatten().map(record).collect();
        (job.detail["request"]["backup"].as_str().unwrap().to_owned(), records)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_that_seems_complete_before_a_time_is_not_built_on_where_an_earlier_one_leads_there() {
    let shop = Shop::new().await;
    shop.cloud.capture("orders").await.unwrap();
    shop.put(&[order("a", 1)]).await;
    let earlier = back_up(&shop.cloud, "orders").await;
    shop.put(&[order("b", 1)]).await;
    let at = Timestamp::now();
    while Timestamp::now().as_millisecond() == at.as_millisecond() {}
    shop.put(&[order("c", 1)]).await;
    shop.cloud.capture("orders").await.unwrap();
    let later = back_up(&shop.cloud, "orders").await;
    let coverage = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    assert_eq!(coverage.covers(coverage.since, at), Ok(()));

    let minutes = SignedDuration::from_mins;
    // By a clock that is ten minutes behind it is complete at that time, and one of its records is from after it.
    shop.completed_at(&later, at).await;
    shop.completed_at(&earlier, at - minutes(10)).await;
    let restored = shop.restored(at).await;
    assert_eq!(restored, (earlier.clone(), vec!["a=1".to_owned(), "b=1".to_owned()]));
    // What no clock doubts is built on.
    let at = coverage.watermark;
    shop.completed_at(&later, at - minutes(10)).await;
    shop.completed_at(&earlier, at - minutes(20)).await;
    assert_eq!(shop.restored(at).await.0, later);
    // Where nothing else leads there, its clock is believed.
    shop.completed_at(&later, at - minutes(9)).await;
    shop.completed_at(&earlier, at + minutes(9)).await;
    assert_eq!(shop.restored(at).await.0, later);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_captured_before_a_gap_is_not_laid_over_a_backup_from_after_it() {
    let shop = Shop::new().await;
    shop.cloud.capture("orders").await.unwrap();
    shop.put(&[order("a", 1)]).await;
    shop.cloud.capture("orders").await.unwrap();
    shop.switch(false).await;
    shop.put(&[order("a", 2)]).await;
    shop.switch(true).await;
    shop.put(&[order("b", 1)]).await;
    assert_eq!(shop.cloud.capture("orders").await.unwrap().new_gaps, 1);
    let backup = back_up(&shop.cloud, "orders").await;
    shop.put(&[order("c", 1)]).await;
    shop.cloud.capture("orders").await.unwrap();
    let coverage = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    let records = ["a=2", "b=1", "c=1"].map(str::to_owned);
    assert_eq!(shop.restored(coverage.watermark).await, (backup, records.to_vec()));
}
