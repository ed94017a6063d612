//! Keys as an operator works with them: rotated, checked, exported, and recovered on the worst day.

use crate::support::{Place, records, tree};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// An age identity of nobody: the public key, and the file that `age-keygen` would have written of it.
fn identity(place: &Place, name: &str) -> String {
    let identity = age::x25519::Identity::generate();
    let secret = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
    let public = identity.to_public().to_string();
    place.write(name, format!("# public key: {public}\n{secret}\n"));
    public
}

#[test]
fn a_rotation_seals_new_data_with_a_new_version_and_reads_the_old() {
    let place = Place::with_data();
    let old = place.backup("site");
    let dry = place.json(&["key", "rotate", "--dry-run"]).answer(0);
    assert_eq!((&dry["from"], &dry["to"], &dry["dry_run"]), (&json!(1), &json!(2), &json!(true)));
    assert!(!place.home().join("vault/keys/00000002.json").exists());
    let rotated = place.json(&["key", "rotate"]).answer(0);
    assert_eq!((&rotated["to"], &rotated["object"]), (&json!(2), &json!("keys/00000002.json")));
    assert_eq!(rotated["wrapped_by"]["kind"], "local");
    place.write("site/index.html", "<h1>new shop</h1>\n");
    let new = place.backup("site");
    let more = place.backup("exports");
    for id in [&old, &new, &more] {
        assert_eq!(place.json(&["verify", id]).answer(0)["valid"], true);
    }
    place.run(&["restore", &old, "--to", "files:old"]).text(0);
    place.run(&["restore", &new, "--to", "files:new"]).text(0);
    place.run(&["restore", &more, "--to", "jsonl:records", "--key", "7"]).text(0);
    assert_eq!(tree(&place.path("new")), tree(&place.path("site")));
    assert_eq!(fs::read_to_string(place.path("old/index.html")).unwrap(), "<h1>shop</h1>\n");
    assert_eq!(records(&place.path("records")).iter().map(|(_, lines)| lines.len()).sum::<usize>(), 2);

    let checked = place.json(&["key", "check"]).answer(0);
    assert_eq!((&checked["valid"], &checked["backups"]), (&json!(true), &json!(3)));
    let versions: Vec<(&Value, &Value)> =
        checked["versions"].as_array().unwrap().iter().map(|of| (&of["version"], &of["held"])).collect();
    assert_eq!(versions, [(&json!(1), &json!(true)), (&json!(2), &json!(true))]);
    assert!(checked["versions"][1]["objects"].as_u64().unwrap() > 0);
}

#[test]
fn a_key_that_is_missing_or_wrong_is_told_by_name() {
    let place = Place::with_data();
    let old = place.backup("site");
    place.run(&["key", "rotate"]).text(0);
    let new = place.backup("exports");
    let key = place.home().join("vault/keys/00000002.json");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let missing = place.json(&["key", "check"]).answer(3);
    assert_eq!((&missing["valid"], &missing["unopened"][0]["backup"]), (&json!(false), &json!(new)));
    assert_eq!(missing["unopened"][0]["code"], "KeyMissing");
    assert!(missing["unopened"][0]["message"].as_str().unwrap().contains("keys/00000002.json"));
    assert_eq!(
        missing["versions"][1],
        json!({"version": 2, "held": false, "objects": 1, "bytes": missing["versions"][1]["bytes"]})
    );
    assert_eq!(place.json(&["verify", &old]).answer(0)["valid"], true);

    let mut wrong: Value = serde_json::from_slice(&kept).unwrap();
    let first: Value =
        serde_json::from_slice(&fs::read(place.home().join("vault/keys/00000001.json")).unwrap()).unwrap();
    wrong["wrapped"] = first["wrapped"].clone();
    fs::write(&key, wrong.to_string()).unwrap();
    let checked = place.json(&["key", "check"]).answer(3);
    assert_eq!(
        (&checked["keys"][0]["code"], &checked["keys"][0]["object"]),
        (&json!("KeyWrong"), &json!("keys/00000002.json"))
    );
    assert_eq!(checked["unopened"][0]["backup"], json!(new));
    assert_eq!(place.json(&["backups"]).error(2)["code"], "KeyWrong", "anything else refuses such a vault");
}

#[test]
fn on_the_worst_day_a_copy_and_the_recovery_key_are_enough() {
    let place = Place::with_data();
    let (site, exports) = (place.backup("site"), place.backup("exports"));
    place.run(&["key", "rotate"]).text(0);
    let (one, two) = (identity(&place, "one.txt"), identity(&place, "two.txt"));
    let export = ["key", "export", "--recipient", &one, "--recipient", &two, "--out", "recovery.age"];
    let exported = place.json(&export).answer(0);
    assert_eq!((&exported["versions"], &exported["recipients"]), (&json!([1, 2]), &json!(2)));
    assert_eq!(fs::metadata(place.path("recovery.age")).unwrap().permissions().mode() & 0o777, 0o600);
    let again = place.json(&export).error(2);
    assert_eq!((&again["code"], &again["object"]), (&json!("InvalidInput"), &json!("--out")));

    // The home is gone but for its vault.
    fs::rename(place.home().join("vault"), place.path("saved")).unwrap();
    fs::remove_dir_all(place.home()).unwrap();
    let recover = |identity: &str, home: &str| {
        place.json(&[
            "--home",
            home,
            "key",
            "recover",
            "recovery.age",
            "--identity",
            identity,
            "--vault",
            "saved",
        ])
    };
    identity(&place, "other.txt");
    assert_eq!(recover("other.txt", "new").error(2)["code"], "KeyWrong");
    assert!(!place.path("new").exists(), "nothing is half done");
    let recovered = recover("two.txt", "new").answer(0);
    assert_eq!((&recovered["backups"], &recovered["versions"]), (&json!(2), &json!([1, 2])));
    assert_eq!(recovered["missing_versions"], json!([]));
    for file in ["key.json", "recovered-keys.json"] {
        assert_eq!(fs::metadata(place.path("new").join(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(recover("one.txt", "new").error(2)["code"], "HomeInvalid", "a home is recovered once");

    let at = |args: &[&str]| place.json(&[&["--home", "new"], args].concat());
    assert_eq!(at(&["key", "check"]).answer(0)["valid"], true);
    assert_eq!(at(&["rebuild"]).answer(0)["backups"], 2);
    at(&["restore", &site, "--to", "files:out"]).answer(0);
    assert_eq!(tree(&place.path("out")), tree(&place.path("site")));
    at(&["restore", &exports, "--to", "jsonl:records"]).answer(0);
    assert_eq!(records(&place.path("records")), records(&place.path("exports")));
    // It goes on: backups, and keys of its own.
    at(&["backup", "site"]).answer(0);
    assert_eq!(at(&["key", "rotate"]).answer(0)["to"], 3);
    at(&["backup", "exports"]).answer(0);
    assert_eq!(at(&["key", "check"]).answer(0)["backups"], 4);

    // Even with keys/ gone from the copy the recovered keys open it.
    fs::remove_file(place.path("saved/keys/00000001.json")).unwrap();
    at(&["restore", &site, "--to", "files:again"]).answer(0);
    assert_eq!(tree(&place.path("again")), tree(&place.path("out")));
    assert_eq!(at(&["verify", &site]).answer(3)["errors"][0]["object"], "keys/00000001.json");
}

#[test]
fn a_recovery_key_of_before_a_rotation_says_what_it_lacks() {
    let place = Place::with_data();
    let old = place.backup("site");
    let to = identity(&place, "id.txt");
    place.run(&["key", "export", "--recipient", &to, "--out", "r.age"]).text(0);
    place.run(&["key", "rotate"]).text(0);
    let new = place.backup("exports");
    let recover =
        ["--home", "new", "key", "recover", "r.age", "--identity", "id.txt", "--vault", ".holdfast/vault"];
    assert_eq!(place.json(&recover).answer(3)["missing_versions"], json!([2]));
    let checked = place.json(&["--home", "new", "key", "check"]).answer(3);
    assert_eq!(
        (checked["unopened"].as_array().unwrap().len(), &checked["unopened"][0]["backup"]),
        (1, &json!(new))
    );
    place.json(&["--home", "new", "restore", &old, "--to", "files:out"]).answer(0);
    assert_eq!(tree(&place.path("out")), tree(&place.path("site")));
}

#[test]
fn keys_of_another_vault_and_bad_words_are_refused() {
    let (place, other) = (Place::with_data(), Place::with_data());
    place.backup("site");
    let to = identity(&place, "id.txt");
    place.run(&["key", "export", "--recipient", &to, "--out", "r.age"]).text(0);
    let vault = other.home().join("vault");
    let recover = |vault: &str, identity: &str| {
        place.json(&["--home", "new", "key", "recover", "r.age", "--identity", identity, "--vault", vault])
    };
    assert_eq!(recover(vault.to_str().unwrap(), "id.txt").error(2)["code"], "KeyWrong");
    assert_eq!(recover("nowhere", "id.txt").error(2)["code"], "InvalidInput");
    assert_eq!(recover("site", "id.txt").error(2)["code"], "HomeInvalid");
    assert_eq!(recover(".holdfast/vault", "resources.yaml").error(2)["object"], "--identity");
    assert!(!place.path("new").exists());
    let bad = place.json(&["key", "export", "--recipient", "age1xyz", "--out", "x.age"]).error(2);
    assert_eq!(bad["object"], "--recipient");
    assert!(!place.path("x.age").exists());
    let stack = place.json(&["--stack", "s", "key", "rotate"]).error(2);
    assert!(stack["hint"].as_str().unwrap().contains("VaultKeyVersion"));
    for command in [&["key", "check"][..], &["key", "export", "--recipient", &to, "--out", "y.age"]] {
        assert_eq!(place.json(&[&["--stack", "s"], command].concat()).error(2)["object"], "--stack");
    }
}
