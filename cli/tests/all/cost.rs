//! `cost`, of figures and of a resource of a home.

use crate::support::Place;
use serde_json::{Value, json};

const FIGURES: [&str; 7] = ["cost", "--records", "1000000", "--bytes", "1073741824", "--daily-change", "1"];

fn dollars(told: &Value) -> f64 {
    told["month"]["dollars"]["total"].as_f64().unwrap()
}

#[test]
fn figures_need_no_home() {
    let place = Place::new();
    let told = place.json(&FIGURES).answer(0);
    assert!(!place.home().exists(), "it only calculates");
    assert_eq!(
        told["load"]["streams"],
        json!([{ "records": 1_000_000, "files": 0, "bytes": 1_073_741_824 }])
    );
    assert_eq!((&told["load"]["kept"], &told["load"]["backups_per_day"]), (&json!(30), &json!(1.0)));
    assert_eq!(told["prices"]["as_of"], "November 2026");
    assert_eq!(told["first_backup"]["scan_reads"], json!((1 << 18) + 50));
    assert_eq!(told["first_backup"]["vault"]["put"], json!(1), "the manifest; packs are copied");
    assert_eq!(told["comparison"]["aws_backup"]["gib_months"], json!(30.0));
    assert_eq!(told["comparison"]["pitr"]["dollars"], json!(0.2));
    assert!(dollars(&told) > 0.0);
    assert_eq!(told["resource"], Value::Null);

    let ran = place.run(&FIGURES);
    let text = ran.text(0);
    let first = "1,000,000 records, 1.0 GiB; 1 % change a day; 1 backup a day (incremental), 30 kept\n";
    assert!(text.starts_with(first), "{text}");
    for line in ["FIRST BACKUP", "state transitions", "vault, GiB-months", "AWS Backup, warm", "recovery"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let end = "note: list prices of November 2026 in us-east-1: check them against the provider's page\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn files_are_compared_with_files() {
    let place = Place::new();
    let args = ["cost", "--files", "20000", "--bytes", "1073741824", "--daily-change", "0", "--kept", "90"];
    let told = place.json(&args).answer(0);
    assert_eq!(told["comparison"].get("pitr"), None, "that is for tables");
    assert_eq!(told["comparison"]["aws_backup"]["gib_months"], json!(1.0), "nothing changes");
    assert_eq!(told["first_backup"]["source"]["get"], json!(20_000));
    assert!(place.run(&args).text(0).starts_with("20,000 files, 1.0 GiB; 0 % change"));
}

#[test]
fn what_cannot_be_is_one_error_with_its_option() {
    let place = Place::new();
    let refused = |args: &[&str]| {
        let error = place.json(&[&["cost"], args].concat()).error(2);
        assert_eq!(error["code"], "InvalidInput");
        error
    };
    let told = refused(&[]);
    assert_eq!((&told["object"], told["hint"].is_string()), (&json!("RESOURCE"), true));
    assert_eq!(refused(&["--records", "10"])["object"], "--bytes");
    assert_eq!(refused(&["--records", "10", "--bytes", "1000"])["object"], "--daily-change");
    let with =
        |more: &[&str]| refused(&[&["--records", "10", "--bytes", "1000", "--daily-change"], more].concat());
    assert_eq!(with(&["101"])["object"], "--daily-change");
    assert_eq!(with(&["-1"])["object"], "--daily-change");
    assert_eq!(with(&["1", "--backups-per-day", "0"])["object"], "--backups-per-day");
    assert_eq!(with(&["1", "--kept", "0"])["object"], "--kept");
    assert_eq!(refused(&["--records", "0", "--bytes", "1", "--daily-change", "1"])["object"], "--records");
    assert_eq!(place.run(&["cost", "--records", "many"]).code, 2);
}

#[test]
fn a_resource_is_taken_from_the_catalogue() {
    let place = Place::new();
    let line = |id: u32, changed: u32| format!("{{\"id\":{id},\"value\":{}}}\n", u32::from(id < changed));
    let lines = |changed: u32| (0..1_000).map(|id| line(id, changed)).collect::<Vec<_>>().concat();
    place.write("exports/orders.jsonl", lines(0));
    let policy = "{ backup_type: incremental, schedule: 0 */6 * * *, retention: { keep_last: 12 } }";
    let source = "{ kind: jsonl, path: exports, key: [/id] }";
    place.write("r.yaml", format!("resources:\n- {{ name: exports, source: {source}, policy: {policy} }}\n"));
    place.run(&["apply", "-f", "r.yaml"]).text(0);

    let refused = place.json(&["cost", "exports"]).error(2);
    assert_eq!((&refused["code"], &refused["object"]), (&json!("InvalidInput"), &json!("exports")));
    assert!(refused["hint"].as_str().unwrap().contains("holdfast backup exports"), "{refused}");
    assert_eq!(place.json(&["cost", "nothing"]).error(2)["code"], "ResourceUnknown");
    let early = place.json(&["cost", "exports", "--records", "500", "--bytes", "50000"]).answer(0);
    assert_eq!((&early["newest"], &early["change_is_assumed"]), (&Value::Null, &json!(true)));

    place.run(&["backup", "exports", "--type", "full"]);
    let told = place.json(&["cost", "exports"]).answer(0);
    assert_eq!((&told["deltas"], &told["change_is_assumed"]), (&json!(0), &json!(true)));
    assert_eq!(told["load"]["daily_change"], json!(0.01));
    assert!(place.run(&["cost", "exports"]).text(0).contains("note: no increment tells what changes"));

    place.write("exports/orders.jsonl", lines(20));
    let id = place.backup("exports");
    let told = place.json(&["cost", "exports"]).answer(0);
    let shown = place.json(&["show", &id]).answer(0);
    assert_eq!((&told["resource"], &told["newest"]), (&json!("exports"), &json!(id)));
    assert_eq!(told["load"]["streams"][0]["records"], json!(1_000));
    assert_eq!(told["stored_bytes"], shown["stored_bytes"]);
    assert_eq!((&told["load"]["backups_per_day"], &told["load"]["kept"]), (&json!(4.0), &json!(12)));
    assert_eq!(told["load"]["daily_change"], json!(0.08), "20 of 1,000, four times a day");
    assert_eq!((&told["scheduled"], &told["for_ever"]), (&json!(true), &json!(false)));
    let text = place.run(&["cost", "exports"]);
    assert!(text.text(0).starts_with("exports: 1,000 records, "), "{}", text.stdout);

    let asked = place.json(&["cost", "exports", "--daily-change", "50", "--kept", "400"]).answer(0);
    assert_eq!((&asked["load"]["daily_change"], &asked["load"]["kept"]), (&json!(0.5), &json!(400)));
    assert!(dollars(&asked) > dollars(&told));
}
