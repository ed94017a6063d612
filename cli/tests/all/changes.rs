//! `holdfast diff`, `holdfast show --delta` and `holdfast undo` in a home.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do ends the test")]

use crate::support::{Place, Ran};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// A home with two backups of records: between them two prices changed, a record came and one went.
struct Shop {
    place: Place,
    before: String,
    after: String,
}

impl Shop {
    fn new() -> Self {
        let place = Place::new();
        place.write(
            "r.yaml",
            "resources:\n- { name: exports, source: { kind: jsonl, path: exports, key: [/id] } }\n",
        );
        place.run(&["apply", "-f", "r.yaml"]).text(0);
        let shop = Self { place, before: String::new(), after: String::new() };
        shop.write((0..10).map(|id| (id, price(id, 10))).collect());
        let before = shop.place.backup("exports");
        let mut products = shop.products();
        products.insert(1, price(1, 0));
        products.insert(2, price(2, 0));
        products.remove(&3);
        products.insert(10, price(10, 10));
        shop.write(products);
        let after = shop.place.backup("exports");
        Self { before, after, ..shop }
    }

    fn write(&self, products: BTreeMap<u32, String>) {
        let lines: String = products.into_values().map(|line| line + "\n").collect();
        self.place.write("exports/products.jsonl", lines);
    }

    fn products(&self) -> BTreeMap<u32, String> {
        let text = fs::read_to_string(self.place.path("exports/products.jsonl")).unwrap();
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
        text.lines().map(|line| (u32::try_from(id(line)).unwrap(), line.to_owned())).collect()
    }

    /// Runs `diff` or `undo` over the time between the backups.
    fn between(&self, command: &str, more: &[&str]) -> Ran {
        let window = [command, "exports", "--from", &self.before, "--to", &self.after];
        self.place.run(&[&window, more].concat())
    }

    fn undo(&self, more: &[&str]) -> Ran {
        self.between("undo", &[more, &["--json"]].concat())
    }
}

fn price(id: u32, price: u32) -> String {
    format!("{{\"id\":{id},\"price\":{price}}}")
}

/// The lines of a run that found differences.
#[track_caller]
fn lines(ran: &Ran) -> Vec<Value> {
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""), "{}", ran.stdout);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn by_key(lines: &[Value]) -> BTreeMap<&str, &Value> {
    lines[1..].iter().map(|line| (line["key"].as_str().unwrap(), line)).collect()
}

#[test]
fn a_diff_names_every_difference() {
    let shop = Shop::new();
    let told = lines(&shop.between("diff", &["--json"]));
    let head = &told[0];
    assert_eq!((&head["resource"], &head["exact"]), (&json!("exports"), &json!(true)));
    assert_eq!((&head["from_backup"], &head["to_backup"]), (&json!(shop.before), &json!(shop.after)));
    assert_eq!([&head["added"], &head["changed"], &head["deleted"]], [&json!(1), &json!(2), &json!(1)]);
    let of = by_key(&told);
    assert_eq!(of.keys().copied().collect::<Vec<_>>(), ["1", "10", "2", "3"]);
    assert_eq!(
        of["1"],
        &json!({
            "op": "change", "stream": "products", "key": "1",
            "old": {"id": 1, "price": 10}, "new": {"id": 1, "price": 0},
            "fields": [{"pointer": "/price", "old": 10, "new": 0}],
        })
    );
    assert_eq!((&of["10"]["op"], &of["10"]["new"]["price"]), (&json!("add"), &json!(10)));
    assert_eq!((&of["3"]["op"], &of["3"]["old"]["price"]), (&json!("delete"), &json!(10)));

    let some = lines(&shop.between("diff", &["--json", "--where", "price=0", "--key-prefix", "2"]));
    assert_eq!(by_key(&some).keys().copied().collect::<Vec<_>>(), ["2"]);
    assert_eq!(lines(&shop.between("diff", &["--json", "--limit", "1"])).len(), 2);

    let text = shop.between("diff", &["--limit", "3"]);
    let text = text.text(3);
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("exports: 1 added, 2 changed, 1 deleted from "), "{first}");
    assert!(text.ends_with("and 1 more: see them with --limit N, or all with --json\n"), "{text}");
    let text = shop.between("diff", &[]);
    for line in ["~ 1  /price: 10 -> 0", "+ 10", "- 3"] {
        assert!(text.stdout.lines().any(|told| told == line), "{line} is not in {}", text.stdout);
    }
}

#[test]
fn a_diff_of_nothing_is_done_and_one_up_to_now_backs_up() {
    let shop = Shop::new();
    let same = ["diff", "exports", "--from", &shop.after, "--to"];
    let ran = shop.place.run(&[&same[..], &["now", "--quiet"]].concat());
    assert!(ran.text(0).contains("no differences"));
    let newest = shop.place.json(&["backups", "exports"]).answer(0)["backups"][0]["id"].clone();
    assert_ne!(newest, json!(shop.after), "changes are not captured, so a backup is made");
    let mut products = shop.products();
    products.insert(7, price(7, 99));
    shop.write(products);
    let told = lines(&shop.place.json(&[&same[..], &["now"]].concat()));
    assert_eq!(by_key(&told)["7"]["fields"][0]["new"], 99);
}

#[test]
fn a_window_that_cannot_be_is_bad_input() {
    let shop = Shop::new();
    let code = |args: &[&str]| shop.place.json(args).error(2)["code"].as_str().unwrap().to_owned();
    let unknown = "01K8Z6T3W4Q5R6S7T8V9W0X1Y2";
    for command in ["diff", "undo"] {
        assert_eq!(code(&[command, "exports", "--from", "yesterday", "--to", "now"]), "InvalidInput");
        assert_eq!(code(&[command, "exports", "--from", &shop.after, "--to", &shop.before]), "InvalidInput");
        assert_eq!(code(&[command, "exports", "--from", unknown, "--to", &shop.after]), "JobUnknown");
        assert_eq!(code(&[command, "shop", "--from", &shop.before, "--to", &shop.after]), "ResourceUnknown");
        let where_ = [command, "exports", "--from", &shop.before, "--to", &shop.after, "--where", "price"];
        assert_eq!(code(&where_), "InvalidInput");
    }
    assert_eq!(code(&["undo", "exports"]), "InvalidInput");
    assert_eq!(code(&["undo", "exports", "--undo", unknown]), "InvalidInput");
    assert_eq!(code(&["undo", "--undo", unknown]), "JobUnknown");
}

#[test]
fn what_a_backup_changed_is_one_object() {
    let shop = Shop::new();
    let ran = shop.place.run(&["show", &shop.after, "--delta"]);
    let told: Value = serde_json::from_str(ran.text(0)).unwrap();
    let changed: BTreeMap<&str, (&Value, &Value)> = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["key"].as_str().unwrap(), (&one["oldValue"]["price"], &one["newValue"]["price"])))
        .collect();
    let (ten, zero) = (json!(10), json!(0));
    assert_eq!(changed, BTreeMap::from([("1", (&ten, &zero)), ("2", (&ten, &zero))]));
    assert_eq!(told["additions"], json!([{"key": "10", "value": {"id": 10, "price": 10}}]));
    assert_eq!(told["deletions"], json!([{"key": "3", "value": {"id": 3, "price": 10}}]));
}

#[test]
fn an_undo_takes_a_window_back_and_is_taken_back_itself() {
    let shop = Shop::new();
    let bad = shop.products();
    let dry = shop.undo(&["--dry-run"]).answer(0);
    assert_eq!(
        (&dry["dry_run"], &dry["would_undo"], &dry["conflicts"]),
        (&json!(true), &json!(4), &json!(0))
    );
    assert_eq!(shop.products(), bad, "a dry run writes nothing");

    let undone = shop.undo(&[]).answer(0);
    assert_eq!((&undone["status"], &undone["undone"]), (&json!("completed"), &json!(4)));
    assert_eq!((&undone["proved"], &undone["conflict_list"]), (&json!(4), &json!([])));
    let good: BTreeMap<u32, String> = (0..10).map(|id| (id, price(id, 10))).collect();
    assert_eq!(shop.products(), good);
    let id = undone["id"].as_str().unwrap();
    let shown = shop.place.json(&["show", id]).answer(0);
    assert_eq!((&shown["kind"], &shown["undo"]["undone"]), (&json!("undo"), &json!(4)));

    let again = shop.undo(&[]).answer(0);
    assert_eq!((&again["undone"], &again["already"]), (&json!(0), &json!(4)));
    let back = shop.place.json(&["undo", "--undo", id]).answer(0);
    assert_eq!((&back["undone"], &back["undo_of"]), (&json!(4), &json!(id)));
    assert_eq!(shop.products(), bad);
}

#[test]
fn what_was_written_since_is_kept_and_told() {
    let shop = Shop::new();
    let mut products = shop.products();
    products.insert(2, price(2, 12));
    shop.write(products.clone());
    let dry = shop.undo(&["--dry-run"]).answer(3);
    assert_eq!((&dry["would_undo"], &dry["conflicts"]), (&json!(3), &json!(1)));
    let refused = shop.undo(&["--on-conflict", "fail"]).error(1);
    assert_eq!(refused["code"], "TargetConflict");
    assert_eq!(shop.products(), products, "nothing is half done");

    let undone = shop.undo(&[]).answer(3);
    assert_eq!((&undone["undone"], &undone["conflicts"]), (&json!(3), &json!(1)));
    let conflict = &undone["conflict_list"][0];
    assert_eq!((&conflict["key"], &conflict["overwritten"]), (&json!("2"), &json!(false)));
    let prices = ["was", "left", "now"].map(|when| &conflict[when]["price"]);
    assert_eq!(prices, [&json!(10), &json!(0), &json!(12)]);
    assert_eq!(shop.products()[&2], price(2, 12));
    assert_eq!(shop.products()[&3], price(3, 10));

    let over = shop.undo(&["--on-conflict", "overwrite"]).answer(0);
    assert_eq!((&over["overwritten"], &over["conflict_list"][0]["overwritten"]), (&json!(1), &json!(true)));
    assert_eq!(shop.products()[&2], price(2, 10));
}

#[test]
fn some_records_of_a_window_are_taken_back() {
    let shop = Shop::new();
    shop.place.write("keys.txt", "1\n10\n");
    assert_eq!(shop.undo(&["--key-file", "keys.txt", "--where", "price=0"]).answer(0)["undone"], 1);
    let products = shop.products();
    assert_eq!((&products[&1], &products[&2]), (&price(1, 10), &price(2, 0)));
    assert!(products.contains_key(&10) && !products.contains_key(&3));
    let nothing = shop.between("undo", &["--where", "price=77"]);
    assert!(nothing.text(0).starts_with("nothing to undo in exports"));
    let error = shop.undo(&["--key-file", "none.txt"]).error(2);
    assert_eq!(error["object"], "none.txt");
}
