//! What is damaged is told, with what depends on it, and healed: from a copy, or from the source.

use crate::support::{Place, tree};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Changes the middle of the largest object, and gives its key.
fn damage(place: &Place) -> String {
    let vault = place.home().join("vault");
    let (object, mut bytes) = tree(&vault).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(vault.join(&object)).unwrap();
    fs::write(vault.join(&object), &bytes).unwrap();
    object
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn what_a_copy_has_is_put_back() {
    let place = Place::with_data();
    let id = place.backup("site");
    copy(&place.home().join("vault"), &place.path("copy"));
    let before = tree(&place.home().join("vault"));
    assert_eq!(place.run(&["repair"]).text(0), "nothing is in quarantine\n");
    let object = damage(&place);
    place.json(&["verify", &id]).answer(3);

    let told = place.run(&["repair", "--dry-run", "--from", "copy"]);
    let text = told.text(3);
    assert!(
        text.starts_with("1 object in quarantine\n") && text.contains(&format!("{object} can be put back")),
        "{text}"
    );
    assert!(text.contains("stream files: at most ") && text.contains(" paths cannot be restored"), "{text}");
    assert!(!text.contains("a full backup"), "the copy heals it: {text}");
    assert!(place.run(&["repair", "--dry-run"]).text(3).contains("a full backup of site would be made"));

    let repaired = place.json(&["repair", "site", "--from", "copy"]).answer(0);
    assert_eq!(repaired["healed"], json!([{"object": object, "outcome": "put_back"}]));
    assert_eq!(repaired["verified"], json!([{"backup": id, "valid": true}]));
    assert_eq!((&repaired["backups"], &repaired["remaining"]), (&json!([]), &json!(0)));
    assert_eq!(tree(&place.home().join("vault")), before);
    place.json(&["verify", &id]).answer(0);
    assert_eq!(place.run(&["repair"]).text(0), "nothing is in quarantine\n");
}

#[test]
fn what_no_copy_has_is_taken_from_the_source() {
    let place = Place::with_data();
    let id = place.backup("site");
    let object = damage(&place);
    place.json(&["verify", &id]).answer(3);
    let repaired = place.json(&["repair"]).answer(3);
    assert_eq!(repaired["damaged"][0]["object"], object);
    assert_eq!((&repaired["affected"][0]["backup"], &repaired["remaining"]), (&json!(id), &json!(1)));
    let taken = repaired["backups"][0]["id"].as_str().unwrap();
    assert_eq!((&repaired["backups"][0]["resource"], taken == id), (&json!("site"), false));
    let all = place.json(&["verify", "--all", "--level", "full"]).answer(3);
    assert_eq!((&all["damaged"], &all["backups"].as_array().unwrap().len()), (&json!(1), &2));
    let again = place.json(&["repair"]).answer(3);
    assert_eq!(again["backups"], json!([]), "the newest backup is whole");
    place.json(&["restore", "latest:site", "--to", "files:out"]).answer(0);
}

#[test]
fn what_is_no_copy_is_refused() {
    let place = Place::with_data();
    place.backup("site");
    let other = Place::with_data();
    other.backup("site");
    let error = place.json(&["repair", "--from", "nowhere"]).error(2);
    assert_eq!((&error["code"], &error["object"]), (&json!("InvalidInput"), &json!("--from")));
    assert!(!place.path("nowhere").exists(), "nothing is made of it");
    let home = other.home().to_string_lossy().into_owned();
    let error = place.json(&["repair", "--from", &home]).error(2);
    assert!(error["message"].as_str().unwrap().contains("another vault"));
    assert_eq!(place.json(&["repair", "nothing"]).error(2)["code"], "ResourceUnknown");
}

#[test]
fn all_backups_are_verified_at_once() {
    let place = Place::with_data();
    assert_eq!(place.json(&["verify", "--all"]).error(2)["code"], "JobUnknown");
    place.backup("site");
    place.backup("exports");
    let all = place.json(&["verify", "--all", "--level", "chain"]).answer(0);
    assert_eq!((&all["valid"], all["backups"].as_array().unwrap().len()), (&json!(true), 2));
    let one = place.json(&["verify", "--all", "--resource", "site", "--level", "quick"]).answer(0);
    assert_eq!(one["backups"].as_array().unwrap().len(), 1);
    let text = place.run(&["verify", "latest:site", "--level", "quick"]);
    assert!(text.text(0).contains("in place, the store keeps no checksums to compare, 0 read whole"));
    assert_eq!(place.run(&["verify"]).code, 2);
    assert_eq!(place.run(&["verify", "latest:site", "--all"]).code, 2);
}
