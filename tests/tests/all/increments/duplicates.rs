//! Two records of one key end a backup, wherever they stand, whatever it builds on and however it is joined.

use super::bench::{Bench, Lines, NEVER, shuffled, small};
use super::drive::plain;
use holdfast_common::jobs::BackupType;
use holdfast_vault::error::Code;
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::Compaction;
use holdfast_workflow::events::Selection;

fn line(key: u64, version: u64) -> String {
    format!(r#"{{"id":{key},"v":{version},"pad":"{}"}}"#, "x".repeat(40))
}

fn orders(lines: Vec<String>) -> Lines {
    Lines::from([("items".to_owned(), vec![line(1, 1)]), ("orders".to_owned(), lines)])
}

/// A good backup, then one with a key twice that fails and names the stream, then a good one again.
async fn fails_and_recovers(limits: WorkLimits, compaction: Compaction, twice: &[(usize, String)]) {
    for second in [BackupType::Incremental, BackupType::Differential] {
        let bench = Bench::new(limits).await;
        bench.configure("shop", "/id", compaction).await;
        let good: Vec<String> = (0..12).map(|key| line(key, 1)).collect();
        bench.write(&orders(good.clone()));
        let services = bench.services.clone();
        plain(&bench, &services, "shop", BackupType::Full).await.unwrap();
        let mut bad = good.clone();
        for (at, line) in twice {
            bad.insert(*at, line.clone());
        }
        bench.write(&orders(bad));
        let error = plain(&bench, &services, "shop", second).await.unwrap_err();
        assert_eq!(error.code, Code::SourceInvalid, "{error:?}");
        assert_eq!(error.object.as_deref(), Some("orders"), "{error:?}");
        assert!(error.message.contains("same key") && error.hint.is_some(), "{error:?}");
        assert!(!error.message.contains("xxx"), "no content is told: {error:?}");
        bench.write(&orders(good.clone()));
        let job = plain(&bench, &services, "shop", second).await.unwrap();
        assert_eq!(job.backup_type, Some(second));
        let (lines, _) = bench.restored(&services, &job.id, Selection::default()).await;
        assert_eq!(lines["orders"].len(), good.len());
    }
}

async fn everywhere(twice: &[(usize, String)]) {
    let whole = |limits: WorkLimits| {
        let mut limits = WorkLimits { range_bytes: 1 << 20, ..limits };
        limits.runs = holdfast_workflow::WorkLimits::default().runs;
        limits
    };
    for limits in [small(), shuffled(), whole(small()), whole(shuffled())] {
        fails_and_recovers(limits, NEVER, twice).await;
        fails_and_recovers(limits, Compaction { layers: 1, ..NEVER }, twice).await;
    }
}

#[tokio::test]
async fn an_unchanged_record_twice_fails_the_backup() {
    everywhere(&[(1, line(0, 1))]).await;
    everywhere(&[(11, line(0, 1))]).await;
}

#[tokio::test]
async fn a_changed_record_twice_fails_the_backup() {
    everywhere(&[(1, line(0, 2))]).await;
    everywhere(&[(11, line(0, 2))]).await;
}

#[tokio::test]
async fn a_new_record_twice_fails_the_backup() {
    everywhere(&[(0, line(77, 1)), (1, line(77, 1))]).await;
    everywhere(&[(0, line(77, 1)), (12, line(77, 2))]).await;
}
