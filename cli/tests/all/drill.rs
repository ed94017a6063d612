//! `holdfast drill` and `holdfast status`, in a home and on a stack.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do ends the test")]

use crate::support::Place;
use crate::support::stack::Stack;
use serde_json::{Value, json};
use std::fs;

/// What of a home's drills is still there.
fn left(place: &Place) -> usize {
    fs::read_dir(place.home().join("drills")).map_or(0, Iterator::count)
}

fn promises(status: &Value) -> Vec<&str> {
    let broken = status["resources"][0]["broken"].as_array().unwrap();
    broken.iter().map(|of| of["promise"].as_str().unwrap()).collect()
}

#[test]
fn a_home_drills_and_tells() {
    let place = Place::with_data();
    assert_eq!(place.json(&["drill", "exports"]).error(2)["code"], "JobUnknown");
    let backup = place.backup("exports");
    let would = place.json(&["drill", "exports", "--dry-run"]).answer(0);
    assert_eq!((&would["dry_run"], &would["backup"]), (&json!(true), &json!(backup)));
    assert!(would["target"].as_str().unwrap().starts_with("jsonl:"), "{would}");
    assert_eq!(left(&place), 0);

    let done = place.json(&["drill", "exports"]).answer(0);
    assert_eq!((&done["status"], &done["equal"]), (&json!("completed"), &json!(true)));
    assert_eq!((&done["backup"], &done["records"]), (&json!(backup), &json!(520)));
    assert!(done["rto_ms"].is_u64() && done["removed_at"].is_string(), "{done}");
    let streams = done["compared"].as_array().unwrap();
    assert!(
        streams
            .iter()
            .all(|stream| stream["equal"] == json!(true) && stream["digest"] == stream["found"]["digest"])
    );
    assert_eq!(streams.len(), 2);
    assert_eq!(left(&place), 0);
    let shown = place.json(&["show", done["id"].as_str().unwrap()]).answer(0);
    assert_eq!((&shown["kind"], &shown["drill"]["equal"]), (&json!("drill"), &json!(true)));

    let one = place.json(&["drill", "exports", "--stream", "customers", "--backup", &backup]).answer(0);
    assert_eq!(one["records"], 20);
    place.backup("site");
    let text = place.run(&["drill", "site", "--backup", "latest"]);
    let text = text.text(0);
    assert!(text.starts_with("drilled site: what was restored is equal\n"), "{text}");
    assert!(text.contains("\n  RTO        "), "{text}");
    assert_eq!(place.json(&["drill", "site", "--backup", &backup]).error(2)["code"], "JobUnknown");
    assert_eq!(place.json(&["drill", "no-such"]).error(2)["code"], "ResourceUnknown");
}

#[test]
fn status_tells_what_is_broken_by_its_exit_code() {
    let place = Place::with_data();
    let exports = |code: i32| place.json(&["status", "exports"]).answer(code);
    let new = exports(0);
    assert_eq!(new["kept"], true, "what is new has an hour's time: {new}");
    assert_eq!(new["resources"][0]["last_backup"], Value::Null);
    let backup = place.backup("exports");
    place.json(&["verify", &backup]).answer(0);
    place.json(&["drill", "exports"]).answer(0);
    let told = exports(0);
    let resource = &told["resources"][0];
    assert_eq!((&resource["name"], &resource["tier"]), (&json!("exports"), &json!("critical")));
    assert_eq!(
        (&resource["rpo_limit_seconds"], &resource["rto_limit_seconds"]),
        (&json!(3600), &json!(3600))
    );
    assert_eq!(
        (&resource["verified"]["level"], &resource["verified"]["valid"]),
        (&json!("full"), &json!(true))
    );
    assert_eq!((&resource["last_drill"]["equal"], &resource["drill_every"]), (&json!(true), &json!("daily")));
    assert_eq!(told["resources"].as_array().unwrap().len(), 1);
    let text = place.run(&["status"]);
    let text = text.text(0);
    assert!(text.contains("exports  critical") && text.ends_with("every promise is kept\n"), "{text}");

    // A pack that is damaged is found by a verification, and a drill of it fails.
    let pack = crate::support::tree(&place.home().join("vault/packs")).remove(0).0;
    let pack = place.home().join("vault/packs").join(pack);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[60] ^= 1;
    fs::write(&pack, bytes).unwrap();
    place.json(&["verify", &backup]).answer(3);
    assert_eq!(promises(&exports(3)), ["undamaged"]);
    assert_eq!(place.json(&["drill", "exports", "--backup", &backup]).error(1)["code"], "ObjectDamaged");
    assert_eq!(left(&place), 0);
    assert_eq!(promises(&exports(3)), ["undamaged", "drill"]);
    let text = place.run(&["status", "exports"]);
    assert!(text.text(3).contains("\nbroken: exports: the last drill, "), "{}", text.stdout);
    assert_eq!(place.json(&["status", "no-such"]).error(2)["code"], "ResourceUnknown");
}

#[test]
fn a_stack_drills_and_tells() {
    let stack = Stack::new();
    stack.run(&["apply", "-f", "resources.yaml"]).text(0);
    assert_eq!(stack.json(&["drill", "orders"]).error(2)["code"], "JobUnknown");
    let backup = stack.json(&["backup", "orders"]).answer(0)["id"].clone();
    let would = stack.json(&["drill", "orders", "--dry-run"]).answer(0);
    assert!(would["target"].as_str().unwrap().starts_with("dynamodb:holdfast-drill-"), "{would}");
    let done = stack.json(&["drill", "orders"]).answer(0);
    assert_eq!((&done["equal"], &done["backup"], &done["records"]), (&json!(true), &backup, &json!(100)));
    let inputs = stack.world.inputs();
    assert!(inputs.contains(&json!({ "drill": done["id"] }).to_string()), "{inputs:?}");
    let status = stack.json(&["status"]).answer(0);
    assert_eq!(status["resources"][0]["last_drill"]["id"], done["id"]);
}
