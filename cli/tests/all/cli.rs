//! The program as operators and scripts use it: answers, errors and exit codes.

use crate::support::{Place, records, tree};
use serde_json::{Value, json};
use std::fs::{self, File};

#[test]
fn a_field_that_does_not_exist_is_told_with_its_place_and_the_nearest_name() {
    let place = Place::new();
    place.write("bad.yaml", "resources:\n- name: site\n  source: { kind: files, pth: site }\n");
    for dry in [&[][..], &["--dry-run"]] {
        let error = place.json(&[&["apply", "-f", "bad.yaml"], dry].concat()).error(2);
        assert_eq!(error["code"], "InvalidInput");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("bad.yaml:3:") && message.contains("\"pth\"") && message.contains("\"path\"")
        );
    }
    let told = place.run(&["apply", "-f", "bad.yaml"]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""));
    assert!(told.stderr.starts_with("error[InvalidInput]: bad.yaml:3:"), "{}", told.stderr);
    assert!(told.stderr.contains("\n  hint: "));
    assert!(!place.home().exists(), "nothing is left behind");
}

#[test]
fn apply_tells_what_it_changes() {
    let place = Place::new();
    let apply = |more: &[&str]| place.json(&[&["apply", "-f", "r.yaml"], more].concat()).answer(0);
    let told =
        |change: &str, dry: bool| json!({"resources": [{"name": "site", "change": change}], "dry_run": dry});
    place.write("r.yaml", "resources:\n- { name: site, source: { kind: files, path: site } }\n");
    assert_eq!(apply(&["--dry-run"]), told("created", true));
    assert!(!place.home().exists(), "a dry run makes no home");
    assert_eq!(apply(&[]), told("created", false));
    assert_eq!(apply(&[]), told("unchanged", false));
    place.write("r.yaml", "resources:\n- { name: site, source: { kind: files, path: www } }\n");
    assert_eq!(apply(&["--dry-run"]), told("changed", true));
    assert_eq!(apply(&[]), told("changed", false));

    let listed = place.json(&["resources"]).answer(0);
    let path = place.path("www");
    assert_eq!(listed["resources"][0]["source"], json!({"kind": "files", "path": path.to_str().unwrap()}));
    assert_eq!(listed["resources"][0]["tier"], "important");
    assert_eq!(listed["resources"][0]["last_backup"], Value::Null);
}

#[test]
fn what_is_unknown_is_bad_input() {
    let place = Place::with_data();
    let code = |args: &[&str]| place.json(args).error(2)["code"].as_str().unwrap().to_owned();
    assert_eq!(code(&["backup", "shop"]), "ResourceUnknown");
    assert_eq!(code(&["backups", "shop"]), "ResourceUnknown");
    assert_eq!(code(&["restore", "latest:shop", "--to", "files:out"]), "ResourceUnknown");
    assert_eq!(code(&["restore", "latest:site", "--to", "files:out"]), "JobUnknown");
    assert_eq!(code(&["show", "01K8Z6T3W4Q5R6S7T8V9W0X1Y2"]), "JobUnknown");
    assert_eq!(code(&["verify", "01K8Z6T3W4Q5R6S7T8V9W0X1Y2"]), "JobUnknown");
    assert_eq!(code(&["verify", "../site"]), "InvalidInput");
    assert_eq!(code(&["cancel", "01K8Z6T3W4Q5R6S7T8V9W0X1Y2"]), "JobUnknown");
    assert_eq!(code(&["verify", "latest:site", "--level", "sample=0"]), "InvalidInput");
    assert_eq!(code(&["restore", "latest:site", "--to", "tape:1"]), "InvalidInput");
    assert_eq!(code(&["restore", "x", "--to", "files:out", "--endpoint", "http://a"]), "InvalidInput");
    // What the parser of arguments finds is told in the same form.
    assert_eq!(code(&["backup", "site", "--type", "fully"]), "InvalidInput");
    assert_eq!(code(&["backup"]), "InvalidInput");
    assert_eq!(place.run(&["backup"]).code, 2);
    assert_eq!(place.json(&["backups"]).answer(0), json!({"backups": []}));
    assert!(!place.path("out").exists());
}

#[test]
fn a_home_that_is_not_there_is_not_made_by_looking() {
    let place = Place::new();
    for args in [&["resources"][..], &["backup", "site"], &["backups"], &["rebuild"], &["cancel", "x"]] {
        let error = place.json(args).error(2);
        assert_eq!(error["code"], "HomeInvalid");
        assert!(error["hint"].as_str().unwrap().contains("--home"));
    }
    assert!(!place.home().exists());
    let elsewhere = place.command(&["resources"]).env("HOLDFAST_HOME", "other").output().unwrap();
    assert!(String::from_utf8(elsewhere.stderr).unwrap().contains("/other is no home"));
}

#[test]
fn a_tree_goes_round() {
    let place = Place::with_data();
    let backup = place.json(&["backup", "site", "--type", "full"]).answer(0);
    let fields: Vec<&String> = backup.as_object().unwrap().keys().collect();
    let documented = [
        "bytes",
        "completed_at",
        "files",
        "id",
        "records",
        "resource",
        "started_at",
        "status",
        "stored_bytes",
        "streams",
        "type",
        "warnings",
    ];
    assert_eq!(fields, documented);
    assert_eq!(
        (&backup["resource"], &backup["type"], &backup["status"]),
        (&json!("site"), &json!("full"), &json!("completed"))
    );
    // The directory `img` is an entry too.
    assert_eq!(
        backup["streams"],
        json!([{"name": "files", "kind": "tree", "records": 0, "files": 4, "bytes": 60_014}])
    );
    assert_eq!(
        (&backup["records"], &backup["files"], &backup["bytes"]),
        (&json!(0), &json!(4), &json!(60_014))
    );
    assert!(backup["stored_bytes"].as_u64().unwrap() > 0);
    assert!(backup["completed_at"].as_str().unwrap().ends_with('Z'));

    let id = backup["id"].as_str().unwrap();
    let listed = place.json(&["backups"]).answer(0);
    assert_eq!(listed["backups"][0]["id"], id);
    assert_eq!(listed["backups"][0]["verified"]["level"], "quick", "the policy's own verification");
    assert_eq!(listed["backups"][0]["verified"]["valid"], true);
    let last = &place.json(&["resources"]).answer(0)["resources"][1]["last_backup"];
    assert_eq!((&last["id"], &last["status"]), (&json!(id), &json!("completed")));

    let verified = place.json(&["verify", id]).answer(0);
    assert_eq!(
        (&verified["id"], &verified["level"], &verified["valid"]),
        (&json!(id), &json!("full"), &json!(true))
    );
    assert_eq!((&verified["errors"], &verified["warnings"]), (&json!([]), &json!([])));
    for promise in ["checksum_valid", "structure_valid", "data_integrity"] {
        assert_eq!(verified[promise], true);
    }
    assert!(verified["blocks_checked"].as_u64().unwrap() > 0);
    assert_eq!(verified["bytes_checked"], backup["stored_bytes"], "all that is stored is read");

    let restored = place.json(&["restore", "latest:site", "--to", "files:out"]).answer(0);
    let target = format!("files:{}", place.path("out").display());
    assert_eq!((&restored["backup"], &restored["target"]), (&json!(id), &json!(target)));
    assert_eq!((&restored["status"], &restored["files"]), (&json!("completed"), &json!(4)));
    assert_eq!((&restored["conflicts"], &restored["warnings"]), (&json!(0), &json!([])));
    assert_eq!(tree(&place.path("out")), tree(&place.path("site")));

    place.json(&["restore", id, "--to", "files:some", "--path", "img/**"]).answer(0);
    let names: Vec<String> = tree(&place.path("some")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["img/noise.bin"]);
}

#[test]
fn records_go_round_and_a_full_target_is_left_alone() {
    let place = Place::with_data();
    let id = place.backup("exports");
    let dry = place.json(&["restore", &id, "--to", "jsonl:out", "--dry-run"]).answer(0);
    assert_eq!((&dry["dry_run"], &dry["records"], &dry["backup"]), (&json!(true), &json!(520), &json!(id)));
    assert_eq!(dry["streams"][1]["name"], "orders");
    assert!(!place.path("out").exists(), "a dry run writes nothing");

    let restored = place.json(&["restore", &id, "--to", "jsonl:out"]).answer(0);
    assert_eq!(restored["records"], 520);
    let before = records(&place.path("exports"));
    assert_eq!(records(&place.path("out")), before);

    for more in [&[][..], &["--dry-run"]] {
        let args = [&["restore", &id, "--to", "jsonl:out"], more].concat();
        assert_eq!(place.json(&args).error(2)["code"], "TargetNotEmpty");
    }
    assert_eq!(records(&place.path("out")), before);

    let shown = place.json(&["show", restored["id"].as_str().unwrap()]).answer(0);
    assert_eq!(
        (&shown["kind"], &shown["backup"], &shown["status"]),
        (&json!("restore"), &json!(id), &json!("completed"))
    );
    let statuses: Vec<&str> = shown["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["pending", "running", "completed"]);
    let shown = place.json(&["show", "latest:exports"]).answer(0);
    assert_eq!(
        (&shown["id"], &shown["source"]["kind"], &shown["records"]),
        (&json!(id), &json!("jsonl"), &json!(520))
    );
    assert!(shown["tasks"].as_array().unwrap().iter().all(|task| task["status"] == "completed"));
}

#[test]
fn a_key_that_is_not_there_is_a_difference() {
    let place = Place::with_data();
    let id = place.backup("exports");
    let restore =
        |to: &str, key: &str| place.json(&["restore", &id, "--to", to, "--stream", "orders", "--key", key]);
    assert_eq!(restore("jsonl:one", "7").answer(0)["records"], 1);
    assert_eq!(
        fs::read_to_string(place.path("one/orders.jsonl")).unwrap(),
        "{\"id\": 7, \"of\":\"orders\"}\n"
    );
    let missed = restore("jsonl:none", "no such order").answer(3);
    assert_eq!((&missed["records"], &missed["warnings"][0]["code"]), (&json!(0), &json!("KeyNotFound")));
}

#[test]
fn a_vault_and_its_key_are_all_that_a_restore_needs() {
    let place = Place::with_data();
    let (site, exports) = (place.backup("site"), place.backup("exports"));
    fs::create_dir(place.path("copy")).unwrap();
    for name in ["vault", "key.json"] {
        fs::rename(place.home().join(name), place.path("copy").join(name)).unwrap();
    }
    fs::remove_dir_all(place.home()).unwrap();
    let at = |args: &[&str]| place.json(&[&["--home", "copy"], args].concat());

    assert_eq!(at(&["backups"]).answer(0)["backups"], json!([]));
    assert_eq!(at(&["rebuild"]).answer(0), json!({"backups": 2, "resources": 2, "errors": []}));
    let listed = at(&["backups"]).answer(0);
    assert_eq!((&listed["backups"][0]["id"], &listed["backups"][1]["id"]), (&json!(exports), &json!(site)));
    at(&["restore", &site, "--to", "files:out"]).answer(0);
    assert_eq!(tree(&place.path("out")), tree(&place.path("site")));
    at(&["restore", "latest:exports", "--to", "jsonl:records"]).answer(0);
    assert_eq!(records(&place.path("records")), records(&place.path("exports")));
    at(&["backup", "site"]).answer(0);
}

#[test]
fn another_key_opens_nothing() {
    let place = Place::with_data();
    place.backup("site");
    place.json(&["--home", "other", "apply", "-f", "resources.yaml"]).answer(0);
    fs::rename(place.path("other/key.json"), place.home().join("key.json")).unwrap();
    for args in [&["backup", "site"][..], &["rebuild"], &["restore", "latest:site", "--to", "files:out"]] {
        let error = place.json(args).error(2);
        assert_eq!((&error["code"], &error["retry"]), (&json!("KeyWrong"), &json!(false)));
    }
    fs::remove_file(place.home().join("key.json")).unwrap();
    assert_eq!(place.json(&["backups"]).error(2)["code"], "HomeInvalid");
    assert!(!place.home().join("key.json").exists(), "no new key is made for an old vault");
}

#[test]
fn a_home_in_use_is_left_alone() {
    let place = Place::with_data();
    let id = place.backup("site");
    let lock = File::options().write(true).open(place.home().join("lock")).unwrap();
    lock.try_lock().unwrap();
    for args in [&["backup", "site"][..], &["resources"], &["apply", "-f", "resources.yaml"]] {
        let error = place.json(args).error(2);
        assert_eq!((&error["code"], &error["retry"]), (&json!("HomeInUse"), &json!(true)));
    }
    let asked = place.json(&["cancel", &id]).answer(0);
    assert_eq!(asked, json!({"id": id, "status": null, "requested": true}));
    assert_eq!(place.json(&["cancel", "../x"]).error(2)["code"], "InvalidInput");
    drop(lock);
    // The backup had ended: there was nothing to cancel, and there is nothing now.
    assert_eq!(place.json(&["show", &id]).answer(0)["status"], "completed");
    assert_eq!(place.json(&["cancel", &id]).error(2)["code"], "JobState");
}

#[test]
fn damage_is_named_and_nothing_of_it_is_restored() {
    let place = Place::with_data();
    let id = place.backup("site");
    let vault = place.home().join("vault");
    let (object, mut bytes) = tree(&vault).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert!(object.starts_with("packs/"));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let path = vault.join(&object);
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();

    let verified = place.json(&["verify", &id]).answer(3);
    assert_eq!((&verified["valid"], &verified["data_integrity"]), (&json!(false), &json!(false)));
    let named: Vec<&Value> =
        verified["errors"].as_array().unwrap().iter().map(|error| &error["object"]).collect();
    assert_eq!(named, [&json!(object)]);
    assert_eq!(verified["errors"][0]["code"], "ObjectDamaged");
    let told = place.run(&["verify", "latest:site"]);
    assert!(told.text(3).contains("DAMAGED") && told.stdout.contains(&object));
    assert!(place.run(&["backups"]).text(0).contains("DAMAGED"));

    let error = place.json(&["restore", &id, "--to", "files:out"]).error(1);
    assert_eq!(error["code"], "ObjectDamaged");
    assert!(error["message"].as_str().unwrap().contains(&object));
    assert!(!place.path("out").exists(), "nothing is left behind");

    let manifest = vault.join("manifests").join(&id);
    fs::remove_file(&manifest).unwrap();
    fs::write(&manifest, "no manifest").unwrap();
    let rebuilt = place.json(&["rebuild"]).answer(3);
    assert_eq!(
        (&rebuilt["backups"], &rebuilt["errors"][0]["object"]),
        (&json!(0), &json!(format!("manifests/{id}")))
    );
    assert_eq!(place.json(&["verify", &id]).answer(3)["errors"][0]["object"], format!("manifests/{id}"));
}

#[test]
fn a_source_that_is_gone_ends_the_backup_as_bad_input() {
    let place = Place::with_data();
    fs::remove_dir_all(place.path("site")).unwrap();
    let error = place.json(&["backup", "site"]).error(2);
    assert_eq!(error["code"], "SourceMissing");
    assert!(error["message"].as_str().unwrap().contains("site") && error["hint"].is_string());
    let listed = place.json(&["backups", "site"]).answer(0);
    assert_eq!(listed["backups"][0]["status"], "failed");
    assert_eq!(listed["backups"][0]["error"]["code"], "SourceMissing");
    assert_eq!(tree(&place.home().join("staging")), []);
    assert_eq!(place.json(&["restore", "latest:site", "--to", "files:out"]).error(2)["code"], "JobUnknown");
}

#[test]
fn people_get_tables_without_colours() {
    let place = Place::with_data();
    let text = place.run(&["backup", "exports"]);
    assert!(text.text(0).starts_with("backed up exports in "));
    assert!(text.stdout.contains("520 records"));
    let resources = place.run(&["resources"]);
    let lines: Vec<&str> = resources.text(0).lines().collect();
    assert!(lines[0].starts_with("NAME     KIND   TIER       LAST BACKUP"), "{}", lines[0]);
    assert!(
        lines[1].starts_with("exports  jsonl  critical   01")
            && lines[2].starts_with("site     files  important  -")
    );
    let backups = place.run(&["backups", "--limit", "1"]);
    assert_eq!(backups.text(0).lines().count(), 2);
    assert!(place.run(&["show", "latest:exports"]).text(0).starts_with("full backup 01"));
    let full = place.command(&["resources"]).stdout(File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8(full.stderr).unwrap().contains("cannot be written to stdout"));
    for args in [&["--help"][..], &["restore", "--help"], &["verify", "--help"]] {
        let help = place.run(args);
        assert!(help.text(0).contains("Exit codes: 0 done, 1 failed, 2 bad input, 3 done, but damage"));
        assert!(help.stdout.contains("Examples:") && !help.stdout.contains('\u{1b}'));
    }
}
