//! Captured changes: those that a larger object holds too, and those that are too old.

use super::bench::{LONG, Shop, run, tiny};
use super::store::{Moods, Odd};
use holdfast_common::jobs::BackupType::Full;
use holdfast_common::jobs::CaptureRow;
use holdfast_vault::compress::Codec;
use holdfast_vault::error::Code;
use holdfast_vault::format::changes::{Change, ChangeName, ChangesDescription};
use holdfast_vault::model::RecordEncoding;
use holdfast_vault::read::changes::list;
use holdfast_vault::storage::{ByteRange, Storage as _};
use holdfast_vault::write::changes::write_changes;
use holdfast_workflow::capture::log::{Uncovered, changes_in, coverage};
use holdfast_workflow::capture::{self, ExpireEvent, GATHERED, rebuild, rollup};
use jiff::{SignedDuration, Timestamp};

const STREAM: &str = "orders";

impl Shop {
    /// Writes an object of one change as of now.
    async fn write(&self, number: u64, level: u8, since: i64, replaces: Vec<String>) -> ChangeName {
        let description = ChangesDescription {
            resource: "shop".to_owned(),
            stream: STREAM.to_owned(),
            encoding: RecordEncoding::DynamodbJson,
            key: vec!["id".to_owned()],
            since,
            gaps: Vec::new(),
            replaces,
            follows: Vec::new(),
        };
        let change = Change {
            hash: u128::from(number).to_be_bytes(),
            time: self.services.clock.now().as_millisecond(),
            sequence: format!("{number}"),
            key: b"[1]".to_vec(),
            before: None,
            after: Some(b"{}".to_vec()),
        };
        let keys = self.services.vault.keys();
        let folder = ChangeName::folder_of(keys, "shop").unwrap();
        let (name, object) =
            write_changes(keys, Codec::Zstd, folder, level, &description, vec![change]).unwrap();
        self.services.vault.storage().put_if_absent(&name.key(), object.bytes).await.unwrap();
        name
    }

    /// Captures one change as of now.
    async fn change(&self, number: u64) {
        let now = self.services.clock.now().as_millisecond();
        let since = self.services.jobs.capture("shop").await.unwrap().map_or(now, |row| row.since);
        self.write(number, 0, since, Vec::new()).await;
        let note = |row: Option<CaptureRow>| {
            let mut row = row.unwrap_or(CaptureRow { since, newest: since, ..CaptureRow::default() });
            (row.stream, row.key) = (STREAM.to_owned(), vec!["id".to_owned()]);
            row.newest = now;
            Ok(row)
        };
        self.services.jobs.update_capture("shop", note).await.unwrap();
    }

    async fn changes(&self, from: Timestamp) -> Vec<Change> {
        let now = self.services.clock.now();
        changes_in(&self.services, "shop", STREAM, from, now, (0, u128::MAX)).await.unwrap()
    }

    async fn objects(&self) -> usize {
        list(&self.services.vault, "shop", i64::MIN, i64::MAX).await.unwrap().len()
    }
}

#[tokio::test]
async fn what_a_larger_object_holds_too_goes_after_the_wait() {
    let shop = &mut Shop::new(tiny()).await;
    for number in 0..GATHERED as u64 + 3 {
        shop.change(number).await;
        shop.bench.pass(SignedDuration::from_secs(1));
    }
    assert_eq!(rollup(&shop.services, "shop").await.unwrap(), 1);
    let before = shop.changes(Timestamp::UNIX_EPOCH).await;
    assert_eq!((before.len(), shop.objects().await), (GATHERED + 3, GATHERED + 4));
    assert_eq!(shop.prune().await.condemned, GATHERED as u64);
    shop.bench.pass(LONG);
    assert_eq!(shop.prune().await.deleted, GATHERED as u64);
    assert_eq!(shop.objects().await, 4);
    assert_eq!(shop.changes(Timestamp::UNIX_EPOCH).await, before);
}

#[tokio::test]
async fn what_a_damaged_object_would_replace_stays() {
    let shop = &mut Shop::new(tiny()).await;
    for number in 0..=(GATHERED as u64) {
        shop.change(number).await;
    }
    rollup(&shop.services, "shop").await.unwrap();
    let names = list(&shop.services.vault, "shop", i64::MIN, i64::MAX).await.unwrap();
    let (larger, _) = names.iter().find(|(name, _)| name.level == 1).unwrap();
    shop.prune().await;
    shop.bench.pass(LONG);
    // One bit of its first block: its footer opens all the same.
    let range = holdfast_vault::storage::ByteRange::All;
    let mut body = shop.bench.vault.get(&larger.key(), range).await.unwrap().to_vec();
    body[60] ^= 1;
    shop.bench.vault.overwrite(&larger.key(), body);
    let done = shop.prune().await;
    assert_eq!((done.deleted, done.rescued), (0, GATHERED as u64));
}

/// A bit of its last bytes, so that its footer does not open.
async fn damage(shop: &Shop, name: &ChangeName) {
    let mut body = shop.bench.vault.get(&name.key(), ByteRange::All).await.unwrap().to_vec();
    let last = body.len() - 30;
    body[last] ^= 1;
    shop.bench.vault.overwrite(&name.key(), body);
}

#[tokio::test]
async fn a_larger_object_that_cannot_be_opened_replaces_nothing() {
    let shop = &mut Shop::new(tiny()).await;
    for number in 0..=(GATHERED as u64) {
        shop.change(number).await;
    }
    rollup(&shop.services, "shop").await.unwrap();
    let names = list(&shop.services.vault, "shop", i64::MIN, i64::MAX).await.unwrap();
    let (larger, _) = names.iter().find(|(name, _)| name.level == 1).unwrap();
    let (_, services) = Odd::over(shop, Moods { failing: Some(larger.key()), ..Moods::default() });
    let execution = shop.bench.execution();
    let error = run(&shop.bench, &services, &execution, false).await.unwrap_err();
    assert_eq!(error.code, Code::StorageUnavailable, "nobody knows what it replaces");
    damage(shop, larger).await;
    assert_eq!(shop.prune().await.condemned, 0);
}

/// Two objects of a level that replace each other would take all with them.
#[tokio::test]
async fn nothing_replaces_an_object_of_its_own_level() {
    let shop = &mut Shop::new(tiny()).await;
    for number in 0..=(GATHERED as u64) {
        shop.change(number).await;
        shop.bench.pass(SignedDuration::from_secs(1));
    }
    rollup(&shop.services, "shop").await.unwrap();
    let names = list(&shop.services.vault, "shop", i64::MIN, i64::MAX).await.unwrap();
    let level = |of: u8| names.iter().filter(move |(name, _)| name.level == of).map(|(name, _)| name);
    assert_eq!(level(0).count(), GATHERED + 1);
    let (larger, left) = (level(1).next().unwrap(), level(0).max_by_key(|name| name.to).unwrap());
    for (of, replaced, wanted) in
        [(1, larger, GATHERED as u64), (0, left, GATHERED as u64), (1, left, GATHERED as u64 + 1)]
    {
        let name = shop.write(1, of, 0, vec![replaced.key()]).await;
        assert_eq!(shop.dry_run().await.condemned, wanted, "level {of} replaces {}", replaced.level);
        shop.bench.vault.delete(&name.key()).await.unwrap();
    }
}

#[tokio::test]
async fn changes_that_are_too_old_and_cannot_be_opened_stay() {
    let shop = &mut Shop::new(tiny()).await;
    shop.change(0).await;
    shop.change(1).await;
    for number in 2..60 {
        shop.bench.pass(SignedDuration::from_hours(24));
        shop.change(number).await;
    }
    shop.back_up(Full).await;
    let names = list(&shop.services.vault, "shop", i64::MIN, i64::MAX).await.unwrap();
    let (oldest, _) = names.iter().min_by_key(|(name, _)| name.to).unwrap();
    let (_, services) = Odd::over(shop, Moods { failing: Some(oldest.key()), ..Moods::default() });
    let execution = shop.bench.execution();
    let error = run(&shop.bench, &services, &execution, false).await.unwrap_err();
    assert_eq!(error.code, Code::StorageUnavailable, "nobody knows what it tells");
    let all = shop.dry_run().await.condemned;
    damage(shop, oldest).await;
    assert_eq!(shop.dry_run().await.condemned, all - 1);
    shop.prune().await;
    shop.bench.pass(LONG);
    shop.prune().await;
    assert!(shop.bench.vault.head(&oldest.key()).await.is_ok());
}

#[tokio::test]
async fn changes_that_are_too_old_are_told_as_missing_before_they_go() {
    let shop = &mut Shop::new(tiny()).await;
    let begin = shop.services.clock.now();
    shop.change(0).await;
    shop.back_up(Full).await;
    for number in 1..60 {
        shop.bench.pass(SignedDuration::from_hours(24));
        shop.change(number).await;
    }
    assert_eq!(shop.prune().await.condemned, 0, "the newest backup needs all of them");
    shop.back_up(Full).await;
    let dry = shop.dry_run().await;
    assert_eq!(shop.objects().await, 60, "{dry:?}");
    let done = shop.prune().await;
    assert_eq!((done.condemned, done.deleted), (24, 0), "older than 35 days");
    let known = coverage(&shop.services, "shop").await.unwrap().unwrap();
    let before = Timestamp::from_millisecond(known.gaps[0].to).unwrap();
    assert_eq!(known.gaps.len(), 1);
    let now = shop.services.clock.now();
    assert!(matches!(known.covers(begin, known.watermark), Err(Uncovered::Gaps(_))));
    assert_eq!(known.covers(before, known.watermark), Ok(()));
    assert!(
        (now - SignedDuration::from_hours(36 * 24)..=now - SignedDuration::from_hours(35 * 24))
            .contains(&before)
    );
    let kept = shop.changes(before).await;
    shop.bench.pass(LONG);
    assert_eq!(shop.prune().await.deleted, 24);
    assert_eq!(shop.changes(Timestamp::UNIX_EPOCH).await, kept);

    // A month of prunes later there is one gap, and the vault alone tells it.
    for number in 60..90 {
        shop.bench.pass(SignedDuration::from_hours(24));
        shop.change(number).await;
        shop.back_up(Full).await;
        shop.prune().await;
    }
    assert!(shop.objects().await < 50, "{}", shop.objects().await);
    let known = coverage(&shop.services, "shop").await.unwrap().unwrap();
    assert_eq!(known.gaps.len(), 1);
    let forgotten = shop.bench.forgotten(tiny()).await;
    rebuild(&forgotten).await.unwrap();
    let told = coverage(&forgotten, "shop").await.unwrap().unwrap();
    assert_eq!((told.gaps.len(), told.gaps[0].to), (1, known.gaps[0].to));
}

#[tokio::test]
async fn nothing_expires_that_the_policy_keeps() {
    let shop = &mut Shop::new(tiny()).await;
    shop.change(0).await;
    shop.bench.pass(SignedDuration::from_hours(24 * 30));
    shop.change(1).await;
    shop.back_up(Full).await;
    let event = ExpireEvent { expire: "shop".to_owned(), before: shop.services.clock.now() };
    let answer = capture::expire(&shop.services, &event).await.unwrap();
    assert!(!answer.told, "whoever asks, and for whatever time");
    let unknown = ExpireEvent { expire: "other".to_owned(), ..event };
    assert!(!capture::expire(&shop.services, &unknown).await.unwrap().told);
}

#[tokio::test]
async fn records_of_undos_go_after_their_time() {
    let shop = &mut Shop::new(tiny()).await;
    let old = shop.bench.execution().execution;
    shop.bench.pass(SignedDuration::from_hours(24 * 89));
    let new = shop.bench.execution().execution;
    for undo in [&old, &new] {
        let key = format!("undos/{undo}/000000-{}", "ab".repeat(16));
        shop.bench.vault.put_if_absent(&key, "a record".into()).await.unwrap();
    }
    assert_eq!(shop.prune().await.condemned, 0);
    shop.bench.pass(SignedDuration::from_hours(25));
    assert_eq!(shop.prune().await.condemned, 1);
    shop.bench.pass(LONG);
    assert_eq!(shop.prune().await.deleted, 1);
    let left = shop.bench.vault.list("undos/", None).await.unwrap().objects;
    assert_eq!(left.len(), 1);
    assert!(left[0].key.contains(&new));
}
