//! A second copy of a vault: made, made again, restored from.

use crate::support::{Place, records, tree};
use serde_json::json;
use std::fs;

/// What is stored in a directory, without what a store keeps for itself.
fn objects(place: &Place, name: &str) -> Vec<(String, Vec<u8>)> {
    tree(&place.path(name)).into_iter().filter(|(path, _)| !path.starts_with(".tmp")).collect()
}

#[test]
fn a_copy_is_the_vault_and_again_only_what_is_new() {
    let place = Place::with_data();
    place.backup("site");
    place.backup("exports");
    let dry = place.json(&["copy", "--to", "copy", "--dry-run"]).answer(0);
    assert!(!place.path("copy").exists(), "a dry run makes no place");
    let copied = place.json(&["copy", "--to", "copy"]).answer(0);
    assert_eq!((&copied["backups_copied"], &copied["objects_there"]), (&json!(2), &json!(0)));
    assert_eq!(
        (&dry["objects_copied"], &dry["bytes_copied"]),
        (&copied["objects_copied"], &copied["bytes_copied"])
    );
    assert_eq!(objects(&place, "copy"), objects(&place, ".holdfast/vault"));
    place.write("site/new.txt", "new");
    place.backup("site");
    let more = place.json(&["copy", "--to", "copy"]).answer(0);
    assert_eq!((&more["backups_copied"], &more["backups_there"]), (&json!(1), &json!(2)));
    let all = place.json(&["copy", "--to", "copy", "--all", "--verify"]).answer(0);
    assert_eq!(
        (&all["objects_copied"], &all["verified"], &all["errors"]),
        (&json!(0), &json!(true), &json!([]))
    );
    assert_eq!(objects(&place, "copy"), objects(&place, ".holdfast/vault"));
    assert!(place.run(&["copy", "--to", "copy"]).text(0).starts_with("copied 0 backups to "));
}

#[test]
fn one_backup_or_one_resource_is_copied() {
    let place = Place::with_data();
    let site = place.backup("site");
    place.backup("exports");
    place.json(&["copy", "latest:site", "--to", "one"]).answer(0);
    let names = |of: &str| -> Vec<String> {
        objects(&place, of)
            .into_iter()
            .filter_map(|(name, _)| Some(name.strip_prefix("manifests/")?.to_owned()))
            .collect()
    };
    assert_eq!(names("one"), [site.as_str()]);
    place.json(&["copy", "--resource", "exports", "--to", "one"]).answer(0);
    assert_eq!(names("one").len(), 2);
    assert_eq!(
        place.json(&["copy", "--resource", "shop", "--to", "one"]).error(2)["code"],
        "ResourceUnknown"
    );
    assert_eq!(
        place.json(&["copy", "01K8Z6T3W4Q5R6S7T8V9W0X1Y2", "--to", "one"]).error(2)["code"],
        "JobUnknown"
    );
}

#[test]
fn a_copy_restores_when_the_vault_is_gone() {
    let place = Place::with_data();
    let site = place.backup("site");
    place.backup("exports");
    place.run(&["copy", "--to", "copy"]).text(0);
    let verified = place.json(&["verify", "--all", "--from-copy", "copy"]).answer(0);
    assert_eq!((&verified["valid"], verified["backups"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(place.json(&["key", "check", "--from-copy", "copy"]).answer(0)["backups"], 2);
    fs::remove_dir_all(place.home().join("vault")).unwrap();
    place.json(&["restore", "latest:site", "--from-copy", "copy", "--to", "files:out"]).answer(0);
    assert_eq!(tree(&place.path("out")), tree(&place.path("site")));
    assert!(!place.home().join("vault").exists(), "no new vault is made beside");

    // A home that knows nothing but the key.
    fs::create_dir(place.path("bare")).unwrap();
    fs::copy(place.home().join("key.json"), place.path("bare/key.json")).unwrap();
    let restore =
        ["--home", "bare", "restore", "latest:exports", "--from-copy", "copy", "--to", "jsonl:records"];
    place.json(&restore).answer(0);
    assert_eq!(records(&place.path("records")), records(&place.path("exports")));
    // Or a home around the copy.
    fs::rename(place.path("copy"), place.path("bare/vault")).unwrap();
    assert_eq!(place.json(&["--home", "bare", "rebuild"]).answer(0)["backups"], 2);
    assert_eq!(place.json(&["--home", "bare", "verify", &site]).answer(0)["valid"], true);
}

#[test]
fn damage_of_a_copy_is_found_and_says_nothing_of_the_vault() {
    let place = Place::with_data();
    let site = place.backup("site");
    place.run(&["copy", "--to", "copy"]).text(0);
    let (pack, mut bytes) =
        objects(&place, "copy").into_iter().find(|(name, _)| name.starts_with("packs/")).unwrap();
    bytes[60] ^= 1;
    fs::write(place.path("copy").join(&pack), bytes).unwrap();
    assert_eq!(place.json(&["copy", "--to", "copy"]).answer(0)["errors"], json!([]), "its size is right");
    let compared = place.json(&["copy", "--to", "copy", "--verify"]).answer(3);
    assert_eq!(compared["errors"][0]["object"], json!(pack));
    assert_eq!(place.json(&["verify", &site, "--from-copy", "copy"]).answer(3)["valid"], false);
    let kept = place.json(&["show", &site]).answer(0);
    assert_ne!(kept["verified"]["valid"], json!(false), "{kept}");
    assert_eq!(place.json(&["verify", &site]).answer(0)["valid"], true);
    let restore = ["restore", &site, "--from-copy", "copy", "--to", "files:out"];
    assert_eq!(place.json(&restore).error(1)["code"], "ObjectDamaged");
    assert!(!place.path("out").exists());
}

#[test]
fn a_place_that_is_no_copy_is_refused() {
    let (place, other) = (Place::with_data(), Place::with_data());
    place.backup("site");
    let refused = |to: &str| {
        let error = place.json(&["copy", "--to", to]).error(2);
        (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let vault = other.home().join("vault");
    assert!(refused(vault.to_str().unwrap()).1.contains("another vault"));
    assert!(refused("site").1.contains("no copy of a vault"));
    assert!(refused(".holdfast/vault").1.contains("the vault itself"));
    assert_eq!(refused("gs://bucket").0, "InvalidInput");
    let from =
        place.json(&["restore", "latest:site", "--from-copy", "nowhere", "--to", "files:out"]).error(2);
    assert_eq!(from["code"], "HomeInvalid");
    assert!(!place.path("nowhere").exists());
    let hint = place.json(&["verify", "latest:site", "--from-copy", ".holdfast"]).error(2);
    assert!(hint["hint"].as_str().unwrap().contains(".holdfast/vault"));
    let stack = place.json(&["--stack", "s", "copy", "--to", "copy"]).error(2);
    assert_eq!(stack["object"], "--stack");
}
