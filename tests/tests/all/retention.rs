//! How long backups are kept, over a job table in memory: what policies mark, what operators say, what a rebuild leaves.

use holdfast_common::clock::{Clock, ManualClock};
use holdfast_common::jobs::{DeletedBy, Deletion, Job, JobChange, JobKind, JobStore, Status, Verified};
use holdfast_connectors::SourceSpec;
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_tests::{back_up, cloud, configure};
use holdfast_vault::error::Code;
use holdfast_workflow::margins::DELETE_GRACE;
use holdfast_workflow::retention::{self, Due, Expiry, Marked, NEVER, Origin};
use holdfast_workflow::{WorkLimits, catalogue};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::task::JoinSet;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The resource `orders` with a backup at noon of each of some days, the first 1 November 2026: `B01`, `B02` and so on.
struct Bench {
    jobs: JobStore,
    clock: Arc<ManualClock>,
}

impl Bench {
    async fn new(policy: Value, days: u32) -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-01T12:00:00Z".parse().unwrap()));
        let jobs = JobStore::new(EmbeddedDynamoDb::memory().unwrap().client(), "jobs", clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        let bench = Self { jobs, clock };
        bench.policy(policy).await;
        for day in 1..=days {
            bench.job(&format!("B{day:02}"), JobKind::Backup, Status::Completed).await;
            bench.clock.advance(DAY);
        }
        bench
    }

    async fn policy(&self, policy: Value) {
        let source = json!({ "kind": "dynamodb", "table": "shop-orders" });
        let document = json!({ "name": "orders", "source": source, "policy": policy });
        self.jobs.put_resource("orders", &document).await.unwrap();
    }

    async fn job(&self, id: &str, kind: JobKind, status: Status) {
        let job = Job::new(id, kind, "orders", self.now(), Value::Null);
        self.jobs.create_job(&job).await.unwrap();
        self.jobs.transition(id, &[Status::Pending], status, JobChange::default()).await.unwrap();
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn mark(&self) -> Marked {
        let marked = retention::mark_at(&self.jobs, self.now(), "orders").await.unwrap();
        assert_eq!(
            retention::mark_at(&self.jobs, self.now(), "orders").await.unwrap(),
            Marked { kept: marked.kept, ..Marked::default() },
            "there is nothing left to mark"
        );
        marked
    }

    async fn get(&self, id: &str) -> Job {
        self.jobs.job(id).await.unwrap()
    }

    async fn deletion(&self, id: &str) -> Option<Deletion> {
        self.get(id).await.deletion
    }

    /// Notes that a deletion was carried out, as a prune does.
    async fn end(&self, id: &str) {
        let now = self.now();
        let end = |job: &mut Job| {
            job.deletion.as_mut().unwrap().deleted_at = Some(now);
            Ok(true)
        };
        self.jobs.change_job(id, end).await.unwrap();
    }

    async fn refusal(&self, asked: impl Future<Output = holdfast_vault::error::Result<Job>>) -> Code {
        let error = asked.await.unwrap_err();
        assert!(error.object.is_some() && error.hint.is_some(), "{error:?}");
        error.code
    }
}

fn daily(count: u32) -> Value {
    json!({ "retention": { "daily": count } })
}

#[tokio::test]
async fn what_nothing_keeps_is_asked_for_with_a_day_of_grace() {
    let bench = Bench::new(daily(2), 4).await;
    bench.job("B05", JobKind::Backup, Status::Failed).await;
    bench.job("B06", JobKind::Restore, Status::Completed).await;
    let marked = bench.mark().await;
    assert_eq!(
        (marked.asked, marked.taken_back.len(), marked.kept),
        (vec!["B02".into(), "B01".into()], 0, 2)
    );
    let asked = bench.deletion("B01").await.unwrap();
    assert_eq!(
        (asked.by, asked.asked_at, asked.due_at),
        (DeletedBy::Retention, bench.now(), bench.now() + DELETE_GRACE)
    );
    assert_eq!((asked.reason.as_str(), asked.deleted_at), ("no rule keeps it", None));
    assert!(bench.get("B01").await.is_restorable() && !bench.get("B01").await.can_be_built_on());
    assert_eq!(bench.deletion("B03").await, None);
    for id in ["B05", "B06"] {
        assert_eq!(bench.deletion(id).await, None, "{id} is no backup that can be restored");
    }
}

#[tokio::test]
async fn what_the_policy_keeps_again_is_taken_back() {
    let bench = Bench::new(daily(1), 4).await;
    assert_eq!(bench.mark().await.asked, ["B03", "B02", "B01"]);
    bench.end("B01").await;
    bench.policy(daily(9)).await;
    let marked = bench.mark().await;
    assert_eq!((marked.asked.len(), marked.kept), (0, 3));
    assert_eq!(marked.taken_back, ["B03", "B02"]);
    assert!(bench.get("B02").await.can_be_built_on());
    assert!(bench.deletion("B01").await.unwrap().deleted_at.is_some(), "what is gone is gone");
}

#[tokio::test]
async fn a_damaged_backup_does_not_stand_in_for_a_sound_one() {
    let bench = Bench::new(daily(1), 2).await;
    assert_eq!(bench.mark().await.asked, ["B01"]);
    let verified = Verified { level: "full".into(), at: bench.now(), valid: false, errors: 1, warnings: 0 };
    let damaged = JobChange { verified: Some(verified), ..JobChange::default() };
    bench.jobs.update_job("B02", damaged).await.unwrap();
    let marked = bench.mark().await;
    assert_eq!((marked.taken_back, marked.kept), (vec!["B01".to_owned()], 2));
}

#[tokio::test]
async fn a_deletion_by_hand_is_no_matter_of_retention() {
    let bench = Bench::new(daily(1), 3).await;
    let now = bench.now();
    retention::delete(&bench.jobs, now, "B03", Due::AfterGrace).await.unwrap();
    let marked = bench.mark().await;
    assert_eq!((marked.asked, marked.kept), (vec!["B01".to_owned()], 1), "the newest that stays is kept");
    assert_eq!(bench.deletion("B03").await.unwrap().by, DeletedBy::Operator);
    assert_eq!(bench.deletion("B02").await, None);
    let told = retention::explain(&bench.jobs, now, "orders").await.unwrap();
    let why: Vec<String> = told.backups[0].why.iter().map(ToString::to_string).collect();
    assert_eq!((told.backups[0].keep, why), (false, vec!["asked for by hand".to_owned()]));
}

#[tokio::test]
async fn a_hold_wins_over_policy_and_hand() {
    let bench = Bench::new(daily(1), 3).await;
    let (jobs, now) = (&bench.jobs, bench.now());
    retention::hold(jobs, now, "B01", " audit ").await.unwrap();
    assert_eq!(bench.mark().await.asked, ["B02"]);
    assert_eq!(bench.refusal(retention::delete(jobs, now, "B01", Due::Now)).await, Code::JobState);
    assert_eq!(bench.deletion("B01").await, None);

    // Of one that is to go it takes the deletion back; said twice it changes the reason alone.
    let held = retention::hold(jobs, now, "B02", "audit").await.unwrap();
    assert_eq!((held.deletion, held.hold.as_ref().unwrap().at), (None, now));
    let again = retention::hold(jobs, now + DAY, "B02", "court").await.unwrap().hold.unwrap();
    assert_eq!((again.reason.as_str(), again.at), ("court", now));
    assert_eq!(bench.mark().await.asked.len(), 0);

    let released = retention::release(jobs, "B02").await.unwrap();
    assert_eq!(released.hold, None);
    assert_eq!(retention::release(jobs, "B02").await.unwrap(), released, "said twice it is the same");
    assert_eq!(bench.mark().await.asked, ["B02"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_and_a_mark_at_the_same_time_leave_no_held_backup_to_go() {
    let bench = Bench::new(daily(1), 12).await;
    let (jobs, now) = (&bench.jobs, bench.now());
    let ids: Vec<String> = (1..12).map(|day| format!("B{day:02}")).collect();
    let mut work = JoinSet::new();
    for (at, id) in ids.clone().into_iter().enumerate() {
        let (jobs, id) = (jobs.clone(), id.clone());
        work.spawn(async move { retention::hold(&jobs, now, &id, "audit").await.map(drop) });
        let jobs = bench.jobs.clone();
        if at % 3 == 0 {
            work.spawn(async move { retention::mark_at(&jobs, now, "orders").await.map(drop) });
        }
    }
    assert!(work.join_all().await.into_iter().all(|done| done.is_ok()));
    for id in ids {
        let job = bench.get(&id).await;
        assert_eq!((job.hold.is_some(), job.deletion), (true, None), "{id}");
    }
}

#[tokio::test]
async fn what_cannot_be_held_is_refused() {
    let bench = Bench::new(json!({}), 1).await;
    bench.job("F", JobKind::Backup, Status::Failed).await;
    bench.job("R", JobKind::Restore, Status::Completed).await;
    let (jobs, now) = (&bench.jobs, bench.now());
    let long = "a".repeat(501);
    for reason in ["", " \n", &long] {
        assert_eq!(bench.refusal(retention::hold(jobs, now, "B01", reason)).await, Code::InvalidInput);
    }
    retention::hold(jobs, now, "B01", &long[1..]).await.unwrap();
    for id in ["F", "R"] {
        assert_eq!(bench.refusal(retention::hold(jobs, now, id, "audit")).await, Code::JobState);
        assert_eq!(bench.refusal(retention::release(jobs, id)).await, Code::JobState);
        assert_eq!(bench.refusal(retention::delete(jobs, now, id, Due::Now)).await, Code::JobState);
        assert_eq!(bench.refusal(retention::undelete(jobs, id)).await, Code::JobState);
        assert_eq!(bench.refusal(retention::set_expiry(jobs, id, Expiry::Never)).await, Code::JobState);
    }
    assert_eq!(bench.refusal(retention::hold(jobs, now, "NONE", "audit")).await, Code::JobUnknown);
}

#[tokio::test]
async fn a_deletion_by_hand_can_be_taken_back_until_it_is_carried_out() {
    let bench = Bench::new(json!({}), 2).await;
    let (jobs, now) = (&bench.jobs, bench.now());
    let due = async |at: Timestamp, due: Due| {
        retention::delete(jobs, at, "B01", due).await.unwrap().deletion.unwrap()
    };
    let asked = due(now, Due::AfterGrace).await;
    assert_eq!((asked.asked_at, asked.due_at, asked.by), (now, now + DELETE_GRACE, DeletedBy::Operator));
    assert_eq!(due(now + DAY, Due::AfterGrace).await, asked, "asked for twice it is no later");
    let later = now + SignedDuration::from_hours(1);
    assert_eq!(due(later, Due::Now).await, Deletion { due_at: later, ..asked.clone() });
    assert_eq!(due(later + DAY, Due::Now).await.due_at, later, "nor is it then");
    assert_eq!(retention::undelete(jobs, "B01").await.unwrap().deletion, None);
    assert_eq!(retention::undelete(jobs, "B01").await.unwrap().deletion, None);

    due(now, Due::Now).await;
    bench.end("B01").await;
    let gone = bench.get("B01").await;
    assert_eq!(retention::delete(jobs, now, "B01", Due::Now).await.unwrap(), gone, "it is gone already");
    assert_eq!(bench.refusal(retention::undelete(jobs, "B01")).await, Code::JobState);
    assert_eq!(bench.refusal(retention::hold(jobs, now, "B01", "audit")).await, Code::JobState);
    assert_eq!(bench.refusal(retention::set_expiry(jobs, "B01", Expiry::Never)).await, Code::JobState);
    assert_eq!(bench.get("B01").await, gone);
    assert_eq!(retention::explain(jobs, now, "orders").await.unwrap().backups.len(), 1);
}

#[tokio::test]
async fn a_deletion_by_policy_becomes_one_by_hand_with_a_day_of_its_own() {
    let bench = Bench::new(daily(1), 3).await;
    let marked_at = bench.now();
    bench.mark().await;
    bench.clock.advance(SignedDuration::from_hours(5));
    retention::delete(&bench.jobs, bench.now(), "B01", Due::AfterGrace).await.unwrap();
    let asked = bench.deletion("B01").await.unwrap();
    assert_eq!((asked.by, asked.due_at), (DeletedBy::Operator, bench.now() + DELETE_GRACE));
    assert_eq!(asked.asked_at, marked_at, "nothing builds on it since then");
    // By a clock that is behind the one of the prune that marked it.
    let behind = marked_at - SignedDuration::from_mins(10);
    retention::delete(&bench.jobs, behind, "B02", Due::AfterGrace).await.unwrap();
    assert_eq!(bench.deletion("B02").await.unwrap().due_at, marked_at + DELETE_GRACE);
    bench.policy(json!({})).await;
    assert_eq!(bench.mark().await.taken_back.len(), 0);
}

#[tokio::test]
async fn an_expiry_of_its_own_shortens_and_prolongs() {
    let bench = Bench::new(json!({ "retention_days": 4 }), 5).await;
    let (jobs, now) = (&bench.jobs, bench.now());
    assert_eq!(bench.mark().await.asked, ["B02", "B01"]);
    let days = |days| Expiry::Days(NonZeroU32::new(days).unwrap());
    let kept = retention::set_expiry(jobs, "B01", days(30)).await.unwrap();
    assert_eq!(kept.expires_at, Some("2026-12-01T12:00:00Z".parse().unwrap()));
    assert_eq!(kept.deletion, None, "the next prune decides anew");
    retention::set_expiry(jobs, "B02", Expiry::Never).await.unwrap();
    retention::set_expiry(jobs, "B04", Expiry::At(now)).await.unwrap();
    assert_eq!(bench.mark().await.asked, ["B04"]);
    assert_eq!(bench.get("B02").await.expires_at, Some(NEVER));

    retention::set_expiry(jobs, "B01", Expiry::Policy).await.unwrap();
    assert_eq!(bench.get("B01").await.expires_at, None);
    assert_eq!(bench.mark().await.asked, ["B01"]);
    let asked = bench.deletion("B01").await;
    assert_eq!(retention::set_expiry(jobs, "B01", Expiry::Policy).await.unwrap().deletion, asked, "no news");
    // What was asked for by hand stays so.
    retention::delete(jobs, now, "B03", Due::AfterGrace).await.unwrap();
    let expiring = retention::set_expiry(jobs, "B03", days(4_000_000_000)).await.unwrap();
    assert_eq!((expiring.expires_at, expiring.deletion.is_some()), (Some(NEVER), true));
}

#[tokio::test]
async fn every_backup_is_explained() {
    let bench = Bench::new(json!({ "schedule": "0 12 * * *", "time_zone": "Europe/Berlin" }), 62).await;
    let told = retention::explain(&bench.jobs, bench.now(), "orders").await.unwrap();
    assert_eq!(
        (told.origin, told.time_zone.as_str(), told.backups.len()),
        (Origin::Scheduled, "Europe/Berlin", 62)
    );
    assert_eq!(told.backups.iter().filter(|fate| fate.keep).count(), 59);
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(
        json["backups"][0],
        json!({
            "id": "B62", "type": "full", "completed_at": "2027-01-01T12:00:00.000Z", "keep": true,
            "why": ["the newest", "within 60 days"], "until": "2027-03-02T12:00:00.000Z",
            "lasts": "until newer backups take its place", "hold": null, "deletion": null,
        })
    );
    assert_eq!(
        (&json["backups"][61]["why"], &json["backups"][61]["until"]),
        (&json!(["no rule keeps it"]), &Value::Null)
    );
    assert_eq!(json["rules"], json!({ "days": 60 }));
    let unknown = retention::explain(&bench.jobs, bench.now(), "nothing").await.unwrap_err();
    assert_eq!(unknown.code, Code::ResourceUnknown);
}

#[tokio::test]
async fn a_rebuild_forgets_no_hold_no_deletion_and_no_expiry() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("a.txt"), "a").unwrap();
    let cloud = cloud(&dir.path().join("home"), WorkLimits::default()).await;
    configure(&cloud, "site", SourceSpec::Files { path: source }).await;
    let (first, second) = (back_up(&cloud, "site").await, back_up(&cloud, "site").await);
    let (jobs, now) = (&cloud.services().jobs, cloud.services().clock.now());
    retention::hold(jobs, now, &first, "audit").await.unwrap();
    retention::set_expiry(jobs, &first, Expiry::Never).await.unwrap();
    retention::delete(jobs, now, &second, Due::AfterGrace).await.unwrap();
    let before = (jobs.job(&first).await.unwrap(), jobs.job(&second).await.unwrap());
    for _ in 0..2 {
        assert_eq!(catalogue::rebuild(cloud.services()).await.unwrap().backups, 2);
        let after = (jobs.job(&first).await.unwrap(), jobs.job(&second).await.unwrap());
        assert_eq!((&after.0.hold, after.0.expires_at), (&before.0.hold, before.0.expires_at));
        assert_eq!((&after.1.deletion, after.1.verified), (&before.1.deletion, before.1.verified.clone()));
    }
}
