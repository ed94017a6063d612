//! `retention`, `hold`, `release`, `delete`, `undelete` and `expire` in a home.

use crate::support::Place;
use crate::support::stack::Stack;
use serde_json::{Value, json};

/// A home with three backups of `site`, oldest first, of which its policy keeps so many.
fn shop(policy: &str) -> (Place, [String; 3]) {
    let place = Place::new();
    place.write("site/index.html", "<h1>shop</h1>\n");
    configure(&place, policy);
    let backups = [(); 3].map(|()| place.backup("site"));
    (place, backups)
}

fn configure(place: &Place, policy: &str) {
    let source = "{ kind: files, path: site }";
    place.write("r.yaml", format!("resources:\n- {{ name: site, source: {source}, policy: {policy} }}\n"));
    place.run(&["apply", "-f", "r.yaml"]).text(0);
}

/// The ids of `backups`.
fn listed(place: &Place, more: &[&str]) -> Vec<String> {
    let told = place.json(&[&["backups", "site"], more].concat()).answer(0);
    told["backups"].as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

fn shown(place: &Place, id: &str) -> Value {
    place.json(&["show", id]).answer(0)
}

#[test]
fn every_backup_is_explained() {
    let (place, [first, second, third]) = shop("{ retention: { keep_last: 2 } }");
    let told = place.json(&["retention", "site"]).answer(0);
    assert_eq!((&told["resource"], &told["origin"]), (&json!("site"), &json!("policy")));
    assert_eq!((&told["rules"], &told["time_zone"]), (&json!({ "keep_last": 2 }), &json!("UTC")));
    let fates: Vec<(&Value, &Value, &Value)> = told["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fate| (&fate["id"], &fate["keep"], &fate["why"]))
        .collect();
    let expected = [
        (json!(third), json!(true), json!(["the newest", "last 1 of 2"])),
        (json!(second), json!(true), json!(["last 2 of 2"])),
        (json!(first), json!(false), json!(["no rule keeps it"])),
    ];
    assert_eq!(fates, expected.each_ref().map(|(id, keep, why)| (id, keep, why)));

    let ran = place.run(&["retention", "site"]);
    let text = ran.text(0);
    assert!(text.starts_with("site: last 2, at least 1; the calendar is that of UTC\nID "), "{text}");
    assert!(text.contains("until newer backups take its place"), "{text}");
    assert!(text.contains("asked for by the next prune"), "{text}");
    assert!(text.ends_with("2 of 3 backups stay\n"), "{text}");
    assert_eq!(place.json(&["retention", "nothing"]).error(2)["code"], "ResourceUnknown");
}

#[test]
fn where_the_rules_come_from_is_told() {
    let (place, _) = shop("{}");
    let text = |place: &Place| place.run(&["retention", "site"]).text(0).lines().next().unwrap().to_owned();
    let ends = "at least 1; the calendar is that of UTC";
    assert_eq!(text(&place), format!("site: every backup for ever, since its policy has no rule, {ends}"));
    configure(&place, "{ schedule: 0 3 * * *, time_zone: Europe/Berlin }");
    let since = "since its policy has a schedule and no rule; the calendar is that of Europe/Berlin";
    assert_eq!(text(&place), format!("site: days 60, at least 1, {since}"));
    configure(&place, "{ retention: { daily: 7, keep_within: 36h, minimum: 2 } }");
    assert_eq!(text(&place), "site: daily 7, within 36h, at least 2; the calendar is that of UTC");
}

#[test]
fn a_backup_is_held_and_released() {
    let (place, [first, _, third]) = shop("{}");
    let hold = |id: &str, more: &[&str]| place.json(&[&["hold", id, "--reason", "audit"], more].concat());
    let dry = hold(&first, &["--dry-run"]).answer(0);
    assert_eq!((&dry["hold"]["reason"], &dry["dry_run"]), (&json!("audit"), &json!(true)));
    assert_eq!(shown(&place, &first)["hold"], Value::Null, "a dry run holds nothing");
    let done = hold(&first, &[]).answer(0);
    assert_eq!(
        (&done["id"], &done["resource"], &done["dry_run"]),
        (&json!(first), &json!("site"), &json!(false))
    );
    assert_eq!(shown(&place, &first)["hold"], done["hold"]);
    assert!(place.run(&["show", &first]).text(0).contains("\n  held      since 2"));
    assert!(place.run(&["backups"]).text(0).lines().any(|line| line.ends_with("  held")));
    assert_eq!(hold("latest:site", &[]).answer(0)["id"], json!(third));

    for more in [&[][..], &["--now"], &["--dry-run"]] {
        let refused = place.json(&[&["delete", &first], more].concat()).error(2);
        assert_eq!((&refused["code"], &refused["object"]), (&json!("JobState"), &json!(first)));
    }
    assert_eq!(place.json(&["release", &first, "--dry-run"]).answer(0)["hold"], Value::Null);
    assert_ne!(shown(&place, &first)["hold"], Value::Null, "a dry run releases nothing");
    assert_eq!(place.json(&["release", &first]).answer(0)["hold"], Value::Null);
    assert!(place.run(&["release", &first]).text(0).ends_with("is not held; its policy decides\n"));
    assert_eq!(place.json(&["hold", &first, "--reason", " "]).error(2)["object"], "reason");
    assert_eq!(place.run(&["hold", &first]).code, 2, "a hold has a reason");
    assert_eq!(place.json(&["release", "nothing"]).error(2)["code"], "JobUnknown");
}

#[test]
fn a_backup_is_deleted_and_taken_back() {
    let (place, [first, ..]) = shop("{}");
    let dry = place.json(&["delete", &first, "--dry-run"]).answer(0);
    assert_eq!((&dry["deletion"]["by"], &dry["dry_run"]), (&json!("operator"), &json!(true)));
    assert_eq!(shown(&place, &first)["deletion"], Value::Null, "a dry run asks for nothing");
    let told = place.json(&["delete", &first]).answer(0);
    assert_eq!(shown(&place, &first)["deletion"], told["deletion"]);
    assert_eq!(listed(&place, &[]).len(), 3, "it is still there");
    assert!(place.run(&["show", &first]).text(0).contains(": asked for by hand\n"));
    assert!(place.run(&["backups"]).text(0).contains("  goes 2"));
    assert!(place.run(&["retention", "site"]).text(0).contains("asked for by hand"));
    let taken_back = place.json(&["undelete", &first, "--dry-run"]).answer(0);
    assert_eq!(taken_back["deletion"], Value::Null);
    assert_ne!(shown(&place, &first)["deletion"], Value::Null, "a dry run takes nothing back");
    assert_eq!(place.json(&["undelete", &first]).answer(0)["deletion"], Value::Null);
    assert_eq!(shown(&place, &first)["deletion"], Value::Null);
}

#[test]
fn deleting_the_last_one_is_worth_a_word() {
    let (place, [first, second, third]) = shop("{}");
    for id in [&first, &second] {
        place.run(&["delete", id]).text(0);
    }
    let last = place.run(&["delete", &third, "--dry-run"]);
    assert_eq!((last.code, last.stderr.as_str()), (0, "note: no other backup of site would be left\n"));
    assert!(
        last.stdout.starts_with("this is a dry run: nothing was changed. Then backup "),
        "{}",
        last.stdout
    );
}

#[test]
fn what_a_policy_will_ask_for_again_is_told() {
    let (place, [first, ..]) = shop("{ retention: { keep_last: 1 } }");
    place.run(&["delete", &first]).text(0);
    let back = place.run(&["undelete", &first]);
    assert_eq!(back.code, 0);
    assert!(
        back.stderr.starts_with("note: its policy lets it go, and the next prune asks for that"),
        "{}",
        back.stderr
    );
}

#[test]
fn an_expiry_is_one_of_four() {
    let (place, [first, ..]) = shop("{ retention_days: 1 }");
    let expire = |more: &[&str]| place.json(&[&["expire", &first], more].concat());
    assert_eq!(expire(&["--never"]).answer(0)["expires_at"], "9999-01-01T00:00:00.000Z");
    assert!(place.run(&["show", &first]).text(0).contains("\n  expires   never\n"));
    let at = "2027-12-31T23:00:00.000Z";
    assert_eq!(expire(&["--at", "2027-12-31T23:00:00Z", "--dry-run"]).answer(0)["expires_at"], at);
    assert_eq!(shown(&place, &first)["expires_at"], "9999-01-01T00:00:00.000Z");
    assert_eq!(expire(&["--at", "2027-12-31T23:00:00Z"]).answer(0)["expires_at"], at);
    assert!(place.run(&["backups"]).text(0).contains("  until 2027-12-31\n"));
    assert!(expire(&["--days", "30"]).answer(0)["expires_at"].is_string());
    assert_eq!(expire(&["--policy"]).answer(0)["expires_at"], Value::Null);
    for wrong in [&[][..], &["--never", "--policy"], &["--days", "0"], &["--at", "tomorrow"]] {
        assert_eq!(place.run(&[&["expire", &first], wrong].concat()).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_stack_does_the_same() {
    let stack = Stack::new();
    stack.run(&["apply", "-f", "resources.yaml"]).text(0);
    let id = stack.json(&["backup", "orders"]).answer(0)["id"].as_str().unwrap().to_owned();
    assert_eq!(stack.json(&["hold", &id, "--reason", "audit"]).answer(0)["hold"]["reason"], "audit");
    assert_eq!(stack.json(&["delete", &id, "--now"]).error(2)["code"], "JobState");
    let told = stack.json(&["retention", "orders"]).answer(0);
    assert_eq!(told["backups"][0]["why"][0], "held");
    assert_eq!(stack.json(&["release", &id]).answer(0)["hold"], Value::Null);
    assert_eq!(stack.json(&["delete", &id]).answer(0)["deletion"]["by"], "operator");
    assert_eq!(stack.json(&["undelete", &id]).answer(0)["deletion"], Value::Null);
    assert_eq!(stack.json(&["expire", &id, "--never"]).answer(0)["expires_at"], "9999-01-01T00:00:00.000Z");
}
