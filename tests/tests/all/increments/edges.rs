//! Streams that come, go, change their key, run empty and fill again; documents; a catalogue that is made again.

use super::bench::{Bench, Lines, NEVER, shuffled, small};
use super::drive::{plain, warned};
use holdfast_common::jobs::{BackupType, Job};
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_vault::format::manifest::LayerKind;
use holdfast_workflow::catalogue::rebuild;
use holdfast_workflow::config::Compaction;
use holdfast_workflow::events::Selection;
use holdfast_workflow::{Services, WorkLimits};
use serde_json::{Value, json};
use std::fs;

const BOTH: [fn() -> WorkLimits; 2] = [small, shuffled];

fn lines(keys: impl IntoIterator<Item = u64>, version: u64) -> Vec<String> {
    keys.into_iter().map(|key| format!(r#"{{"id":{key},"alt":"a{key}","v":{version}}}"#)).collect()
}

fn streams<const N: usize>(of: [(&str, Vec<String>); N]) -> Lines {
    of.into_iter().map(|(name, lines)| (name.to_owned(), lines)).collect()
}

/// Backs up what stands there now, and expects it back.
async fn comes_back(bench: &Bench, services: &Services, now: &Lines, asked: BackupType) -> Job {
    bench.write(now);
    let job = plain(bench, services, "shop", asked).await.unwrap();
    let mut expected = now.clone();
    for lines in expected.values_mut() {
        lines.sort_unstable();
    }
    let (restored, _) = bench.restored(services, &job.id, Selection::default()).await;
    assert_eq!(restored, expected);
    job
}

#[tokio::test]
async fn a_first_incremental_is_full_and_says_so() {
    for asked in [BackupType::Incremental, BackupType::Differential] {
        let bench = Bench::new(small()).await;
        bench.configure("shop", "/id", NEVER).await;
        let now = streams([("orders", lines(0..5, 1))]);
        let job = comes_back(&bench, &bench.services, &now, asked).await;
        assert_eq!((job.backup_type, warned(&job)), (Some(BackupType::Full), vec!["NoBase".to_owned()]));
        let message = &job.warnings[0].message;
        assert!(message.contains("shop") && message.contains("full"), "{message}");
        let next = comes_back(&bench, &bench.services, &now, asked).await;
        assert_eq!((next.backup_type, warned(&next)), (Some(asked), Vec::new()));
        let manifest = bench.services.vault.manifest(&next.id).await.unwrap();
        assert_eq!(manifest.own_objects, Some(0), "what did not change is not stored again");
    }
}

#[tokio::test]
async fn streams_come_go_and_change_their_key_and_it_is_said() {
    for limits in BOTH {
        let bench = Bench::new(limits()).await;
        let services = bench.services.clone();
        bench.configure("shop", "/id", NEVER).await;
        let first = streams([("items", lines(0..9, 1)), ("orders", lines(0..9, 1))]);
        comes_back(&bench, &services, &first, BackupType::Full).await;

        let second = streams([("orders", lines(0..8, 1)), ("prices", lines(0..4, 1))]);
        let job = comes_back(&bench, &services, &second, BackupType::Incremental).await;
        assert_eq!(warned(&job), ["StreamGone", "StreamNew"]);
        let said = |of: &str| job.warnings.iter().any(|warning| warning.message.contains(of));
        assert!(said("items") && said("prices") && !said("orders"));

        let job = comes_back(&bench, &services, &first, BackupType::Incremental).await;
        assert_eq!(warned(&job), ["StreamGone", "StreamNew"], "what comes back is new again");

        bench.configure("shop", "/alt", NEVER).await;
        let job = comes_back(&bench, &services, &first, BackupType::Incremental).await;
        assert_eq!(warned(&job), ["StreamKeyChanged", "StreamKeyChanged"]);
        let manifest = services.vault.manifest(&job.id).await.unwrap();
        assert!(manifest.streams.iter().all(|stream| stream.layers.len() == 1));
        let job = comes_back(&bench, &services, &second, BackupType::Incremental).await;
        assert_eq!(warned(&job), ["StreamGone", "StreamNew"]);
    }
}

#[tokio::test]
async fn a_stream_that_runs_empty_fills_again() {
    for limits in BOTH {
        for compaction in [NEVER, Compaction { layers: 2, ..NEVER }, Compaction { layers: 1, ..NEVER }] {
            let bench = Bench::new(limits()).await;
            let services = bench.services.clone();
            bench.configure("shop", "/id", compaction).await;
            let full = |version| streams([("orders", lines(0..20, version))]);
            let empty = streams([("orders", Vec::new())]);
            let days = [&full(1), &empty, &empty, &full(1), &full(2), &empty, &full(2), &empty];
            for (at, now) in days.into_iter().enumerate() {
                let asked = if at == 6 { BackupType::Differential } else { BackupType::Incremental };
                let job = comes_back(&bench, &services, now, asked).await;
                assert!(bench.verify(&services, &job.id, "full").await.valid);
            }
        }
    }
}

#[tokio::test]
async fn layers_become_one_base_without_the_source_read_again() {
    for limits in BOTH {
        let bench = Bench::new(limits()).await;
        let services = bench.services.clone();
        bench.configure("shop", "/id", Compaction { layers: 3, ..NEVER }).await;
        let mut layers = Vec::new();
        for day in 0..9 {
            let mut now = lines(0..20, 1);
            now[usize::try_from(day).unwrap()] = lines([day], 100 + day).remove(0);
            let job =
                comes_back(&bench, &services, &streams([("orders", now)]), BackupType::Incremental).await;
            let manifest = services.vault.manifest(&job.id).await.unwrap();
            let stream = &manifest.streams[0];
            assert_eq!(stream.layers[0].kind, LayerKind::Base);
            layers.push(stream.layers.len());
            if stream.layers.len() == 1 {
                assert_eq!(manifest.own_objects.unwrap_or(0) as usize % manifest.objects.len(), 0);
            }
        }
        assert_eq!(layers, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    }
}

#[tokio::test]
async fn a_chain_goes_on_after_the_catalogue_is_made_again() {
    for limits in BOTH {
        let bench = Bench::new(limits()).await;
        let services = bench.services.clone();
        bench.configure("shop", "/id", Compaction { layers: 4, ..NEVER }).await;
        let day = |number: u64| streams([("orders", lines(number..number + 15, number / 2))]);
        let mut taken = Vec::new();
        for number in 0..3 {
            taken.push(comes_back(&bench, &services, &day(number), BackupType::Incremental).await.id);
        }
        let forgotten = bench.forgotten(limits()).await;
        let rebuilt = rebuild(&forgotten).await.unwrap();
        assert_eq!((rebuilt.backups, rebuilt.resources, rebuilt.errors.len()), (3, 1, 0));
        let kinds = [BackupType::Incremental, BackupType::Differential, BackupType::Incremental];
        for (number, asked) in (3..).zip(kinds) {
            let job = comes_back(&bench, &forgotten, &day(number), asked).await;
            assert_eq!((job.backup_type, warned(&job)), (Some(asked), Vec::new()));
            let base = if asked == BackupType::Differential { &taken[0] } else { taken.last().unwrap() };
            assert_eq!(forgotten.vault.manifest(&job.id).await.unwrap().base.as_ref(), Some(base));
            taken.push(job.id);
        }
    }
}

#[tokio::test]
async fn documents_come_back_through_increments() {
    for limits in BOTH {
        let bench = Bench::new(limits()).await;
        let services = bench.services.clone();
        let path = bench.dir.path().join("settings.json");
        let source = SourceSpec::Json { document: None, path: Some(path.clone()) };
        bench.configure_source("shop", source, Compaction { layers: 3, ..NEVER }).await;
        let day = |number: u64| {
            let records: Vec<Value> =
                (number..number + 20).map(|id| json!({"id": id, "v": id / 3 + number / 2})).collect();
            let by_position: Vec<Value> =
                (0..10 + number % 3).map(|at| json!([at, number / 2, null])).collect();
            json!({"by id": records, "by position": by_position, "one": {"now": number}, "still": [1, "two"]})
        };
        let mut taken = Vec::new();
        for number in 0..8 {
            fs::write(&path, day(number).to_string()).unwrap();
            let asked = if number == 5 { BackupType::Differential } else { BackupType::Incremental };
            let job = plain(&bench, &services, "shop", asked).await.unwrap();
            assert!(bench.verify(&services, &job.id, "full").await.valid);
            taken.push(job.id);
        }
        for (number, id) in (0..).zip(&taken) {
            let target = TargetSpec::Json { path: bench.dir.path().join(format!("{id}.json")) };
            bench.restore_to(&services, id, Selection::default(), target).await;
            let text = fs::read_to_string(bench.dir.path().join(format!("{id}.json"))).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), day(number));
            let key = |stream: &str, key: &str| Selection {
                streams: vec![stream.to_owned()],
                keys: vec![key.to_owned()],
                ..Selection::default()
            };
            for (stream, typed, expected) in [
                ("by id", (number + 7).to_string(), &day(number)["by id"][7]),
                ("by position", "4".to_owned(), &day(number)["by position"][4]),
            ] {
                let file = bench.dir.path().join("one.json");
                let target = TargetSpec::Json { path: file.clone() };
                bench.restore_to(&services, id, key(stream, &typed), target).await;
                let one: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
                assert_eq!(one, json!({ stream: [expected] }));
                fs::remove_file(file).unwrap();
            }
        }
    }
}
