//! What changed between two points: exact where changes are captured, between two backups where not, and undone beside
//! other writers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ScalarAttributeType;
use holdfast_connectors::{OnConflict, RecordFilter, SourceSpec};
use holdfast_local::Cloud;
use holdfast_tests::tables::{Item, item, make, number, put, text};
use holdfast_tests::{back_up, cloud, configure};
use holdfast_vault::error::{Code, Result};
use holdfast_vault::model::StreamInfo;
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::{Policy, Resource};
use holdfast_workflow::history::{Asked, Choice, Difference, Differences, Point, Window, delta, window};
use holdfast_workflow::plan::detail;
use holdfast_workflow::undo::{UndoDetail, UndoOf, UndoRequest, conflicts};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const TABLE: &str = "products";

/// What a table holds: a price by id.
type Model = BTreeMap<String, u64>;

struct Shop {
    _dir: tempfile::TempDir,
    cloud: Cloud,
}

impl Shop {
    async fn new(capture: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), WorkLimits::default()).await;
        make(&cloud.tables(), TABLE, &[("id", ScalarAttributeType::S)]).await;
        let source = SourceSpec::Dynamodb {
            table: TABLE.to_owned(),
            endpoint: Some("embedded".to_owned()),
            region: None,
        };
        let policy = Policy { capture, ..Policy::default() };
        let document = serde_json::to_value(Resource { name: TABLE.to_owned(), source, policy }).unwrap();
        cloud.services().jobs.put_resource(TABLE, &document).await.unwrap();
        Self { _dir: dir, cloud }
    }

    async fn put(&self, model: &Model) {
        let items: Vec<Item> = model.iter().map(|(id, price)| product(id, *price)).collect();
        put(&self.cloud.tables(), TABLE, &items).await;
    }

    async fn delete(&self, id: &str) {
        self.cloud.tables().delete_item().table_name(TABLE).key("id", text(id)).send().await.unwrap();
    }

    async fn all(&self) -> Model {
        let answer = self.cloud.tables().scan().table_name(TABLE).consistent_read(true).send().await.unwrap();
        let price = |item: &Item| item["price"].as_n().unwrap().parse().unwrap();
        answer.items().iter().map(|item| (item["id"].as_s().unwrap().clone(), price(item))).collect()
    }

    async fn window(&self, from: Point, to: Point) -> Window {
        window(self.cloud.services(), &asked(from, to)).await.unwrap()
    }

    async fn differences(&self, of: &Window) -> Vec<(String, Option<u64>, Option<u64>)> {
        let mut taken = Taken::default();
        of.read(self.cloud.services(), &Choice::default(), &mut taken).await.unwrap();
        taken.0.sort();
        taken.0
    }
}

fn product(id: &str, price: u64) -> Item {
    item([("id", text(id)), ("price", number(&price.to_string()))])
}

fn asked(from: Point, to: Point) -> Asked {
    Asked { resource: TABLE.to_owned(), from, to, stream: None }
}

fn expected(old: &Model, new: &Model) -> Vec<(String, Option<u64>, Option<u64>)> {
    let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    ids.into_iter()
        .filter(|id| old.get(*id) != new.get(*id))
        .map(|id| (id.clone(), old.get(id).copied(), new.get(id).copied()))
        .collect()
}

#[derive(Default)]
struct Taken(Vec<(String, Option<u64>, Option<u64>)>);

#[async_trait]
impl Differences for Taken {
    async fn take(&mut self, _: &StreamInfo, differences: Vec<Difference>) -> Result<()> {
        for Difference { key, before, after } in differences {
            let key: serde_json::Value = serde_json::from_slice(&key).unwrap();
            let price = |value: Option<Vec<u8>>| {
                value.map(|value| {
                    let item: serde_json::Value = serde_json::from_slice(&value).unwrap();
                    item["price"]["N"].as_str().unwrap().parse().unwrap()
                })
            };
            self.0.push((key[0]["S"].as_str().unwrap().to_owned(), price(before), price(after)));
        }
        Ok(())
    }
}

/// A time after all that was written so far and before all that is written next.
async fn moment() -> Timestamp {
    let now = || Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap();
    let begun = now();
    while now() <= begun + SignedDuration::from_millis(1) {
        tokio::task::yield_now().await;
    }
    let at = now();
    while now() <= at + SignedDuration::from_millis(1) {
        tokio::task::yield_now().await;
    }
    at
}

fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) % below
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn captured_windows_and_backups_tell_what_a_model_says() {
    windows_tell_what_a_model_says(None).await;
}

/// Changes are hashed as ever, and later backups under the new version of the vault key.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn windows_reach_across_rotations_of_the_key() {
    for round in [0, 2, 5] {
        windows_tell_what_a_model_says(Some(round)).await;
    }
}

async fn windows_tell_what_a_model_says(rotated: Option<u32>) {
    let shop = Shop::new(true).await;
    let mut random = numbers(7);
    let mut model: Model = (0..60).map(|n| (format!("p-{n}"), random(100))).collect();
    shop.put(&model).await;
    shop.cloud.capture(TABLE).await.unwrap();
    let mut backups = vec![(back_up(&shop.cloud, TABLE).await, model.clone())];
    let mut times = vec![(moment().await, model.clone())];
    for round in 0..8 {
        if rotated == Some(round) {
            shop.cloud.rotate_keys(false).await.unwrap();
        }
        for _ in 0..random(25) {
            let id = format!("p-{}", random(80));
            if random(4) == 0 {
                shop.delete(&id).await;
                model.remove(&id);
            } else {
                let price = random(5);
                shop.put(&Model::from([(id.clone(), price)])).await;
                model.insert(id, price);
            }
        }
        times.push((moment().await, model.clone()));
        if round % 3 == 2 {
            backups.push((back_up(&shop.cloud, TABLE).await, model.clone()));
        }
        if round % 2 == 0 {
            shop.cloud.capture(TABLE).await.unwrap();
        }
    }
    shop.cloud.capture(TABLE).await.unwrap();
    for (at, (from, old)) in times.iter().enumerate() {
        for (to, new) in &times[at + 1..] {
            let window = shop.window(Point::Time(*from), Point::Time(*to)).await;
            assert!(window.exactness.exact && window.exactness.from_backup.is_none());
            assert_eq!(shop.differences(&window).await, expected(old, new));
        }
        let window = shop.window(Point::Time(*from), Point::Now).await;
        assert_eq!(shop.differences(&window).await, expected(old, &model));
    }
    for (at, (from, old)) in backups.iter().enumerate() {
        for (to, new) in &backups[at + 1..] {
            let window = shop.window(Point::Backup(from.clone()), Point::Backup(to.clone())).await;
            assert!(window.exactness.exact);
            assert_eq!(shop.differences(&window).await, expected(old, new));
        }
    }
    let first = delta(shop.cloud.services(), &backups[0].0).await.unwrap();
    assert_eq!(shop.differences(&first).await, expected(&Model::new(), &backups[0].1));
    let second = delta(shop.cloud.services(), &backups[1].0).await.unwrap();
    assert_eq!(shop.differences(&second).await, expected(&backups[0].1, &backups[1].1));
}

/// Good writers, whose every value is their own, work before, in and after the window, and while it is undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_good_write_is_lost_and_no_bad_one_is_left_unlisted() {
    const BAD: u64 = 1;
    let shop = Arc::new(Shop::new(true).await);
    let good: Model = (0..400).map(|n| (format!("p-{n:03}"), 1_000 + n)).collect();
    shop.put(&good).await;
    shop.cloud.capture(TABLE).await.unwrap();
    back_up(&shop.cloud, TABLE).await;
    let from = moment().await;
    let bad: Model = good.keys().take(300).map(|id| (id.clone(), BAD)).collect();
    shop.put(&bad).await;
    let to = moment().await;
    shop.cloud.capture(TABLE).await.unwrap();

    let next = Arc::new(AtomicU64::new(1_000_000));
    let writers: Vec<_> = (0..3)
        .map(|seed| {
            let (shop, next) = (shop.clone(), next.clone());
            tokio::spawn(async move {
                let (mut random, mut wrote) = (numbers(seed + 1), Vec::new());
                for _ in 0..150 {
                    let id = format!("p-{:03}", random(400));
                    let price = next.fetch_add(1, Ordering::SeqCst);
                    shop.put(&Model::from([(id.clone(), price)])).await;
                    wrote.push(id);
                }
                wrote
            })
        })
        .collect();
    let request = UndoRequest {
        of: UndoOf::Window {
            asked: asked(Point::Time(from), Point::Time(to)),
            filter: RecordFilter::default(),
        },
        on_conflict: OnConflict::Skip,
    };
    let id = shop.cloud.new_id();
    let job = shop.cloud.run_undo(&id, &request, None).await.unwrap();
    let mut wrote = BTreeSet::new();
    for writer in writers {
        wrote.extend(writer.await.unwrap());
    }
    let counts = detail::<UndoDetail>(&job).unwrap().counts;
    assert_eq!((counts.in_window, counts.not_proved), (300, 0));
    assert_eq!(counts.undone + counts.conflicts, 300);
    let listed: BTreeSet<Vec<u8>> =
        conflicts(shop.cloud.services(), &id, 1_000).await.unwrap().into_iter().map(|of| of.key).collect();
    assert_eq!(listed.len() as u64, counts.conflicts);
    for (id, price) in shop.all().await {
        if wrote.contains(&id) {
            assert!(price >= 1_000_000, "the good write of {id} was lost");
        } else {
            assert_eq!(price, good[&id], "{id} is not back");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_told_is_refused_or_said() {
    let shop = Shop::new(false).await;
    let services = shop.cloud.services();
    let early = moment().await;
    let refused = async |from, to| {
        let error = window(services, &asked(from, to)).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidInput, "{error}");
        error.message
    };
    let now = Timestamp::now();
    assert!(refused(Point::Time(early), Point::Now).await.contains("no completed backup"));
    shop.put(&Model::from([("a".to_owned(), 1)])).await;
    let backup = back_up(&shop.cloud, TABLE).await;
    let after = moment().await;
    let future = Point::Time(now + SignedDuration::from_hours(1));
    assert!(refused(Point::Time(after), future).await.contains("in the future"));
    assert!(refused(Point::Time(early), Point::Now).await.contains("before the first backup"));
    assert!(refused(Point::Time(after), Point::Time(early)).await.contains("is not before"));
    assert!(refused(Point::Time(after), Point::Now).await.contains("no backup of products was made"));
    shop.put(&Model::from([("a".to_owned(), 2)])).await;
    back_up(&shop.cloud, TABLE).await;
    let told = shop.window(Point::Time(after), Point::Now).await;
    assert_eq!(shop.differences(&told).await, [("a".to_owned(), Some(1), Some(2))]);
    assert_eq!((told.exactness.exact, told.exactness.from_backup.as_ref()), (false, Some(&backup)));
    let codes: Vec<&str> = told.exactness.notes.iter().map(|note| note.code.as_str()).collect();
    assert_eq!(codes, ["FromBackup", "ToBackup"]);
    let stream = Asked { stream: Some("orders".to_owned()), ..asked(Point::Time(after), Point::Now) };
    assert_eq!(window(services, &stream).await.unwrap_err().object.as_deref(), Some("--stream"));

    let site = tempfile::tempdir().unwrap();
    fs::write(site.path().join("a"), "1").unwrap();
    configure(&shop.cloud, "site", SourceSpec::Files { path: site.path().to_owned() }).await;
    back_up(&shop.cloud, "site").await;
    back_up(&shop.cloud, "site").await;
    let of_site = Asked { resource: "site".to_owned(), ..asked(Point::Time(after), Point::Now) };
    let error = window(services, &of_site).await.unwrap_err();
    assert!(error.message.contains("diff and undo need records"), "{error}");
    for (text, good) in
        [("now", true), ("yesterday", false), ("2026-11-21T14:02:00Z", true), ("2026-11-21", false)]
    {
        assert_eq!(Point::parse(text, "--from").is_ok(), good, "{text}");
    }
}
