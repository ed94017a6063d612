//! The program on a stack: the answers, errors and exit codes of a home.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a helper of a test cannot do ends the test")]

use crate::support::stack::Stack;
use crate::support::{Ran, tree};
use holdfast_local::asl::Failure;
use serde_json::{Value, json};
use std::fs;

fn applied() -> Stack {
    let stack = Stack::new();
    stack.run(&["apply", "-f", "resources.yaml"]).text(0);
    stack
}

fn backup(stack: &Stack) -> String {
    stack.json(&["backup", "orders"]).answer(0)["id"].as_str().unwrap().to_owned()
}

fn fields(of: &Value) -> Vec<&String> {
    of.as_object().unwrap().keys().collect()
}

#[test]
fn a_table_goes_round() {
    let stack = Stack::new();
    let apply = |more: &[&str]| stack.json(&[&["apply", "-f", "resources.yaml"], more].concat()).answer(0);
    let told = |change: &str, dry: bool| json!({"resources": [{"name": "orders", "change": change}], "dry_run": dry});
    assert_eq!(apply(&["--dry-run"]), told("created", true));
    assert_eq!(stack.json(&["resources"]).answer(0), json!({"resources": []}));
    assert_eq!(apply(&[]), told("created", false));
    assert_eq!(apply(&[]), told("unchanged", false));
    assert_eq!(stack.json(&["backups"]).answer(0), json!({"backups": []}));

    let done = stack.json(&["backup", "orders", "--type", "full"]).answer(0);
    assert_eq!((&done["status"], &done["records"]), (&json!("completed"), &json!(100)));
    let id = done["id"].as_str().unwrap();
    let listed = stack.json(&["backups", "orders"]).answer(0);
    assert_eq!(
        (&listed["backups"][0]["id"], &listed["backups"][0]["status"]),
        (&json!(id), &json!("completed"))
    );
    assert_eq!(listed["backups"][0]["verified"]["valid"], true, "the machine verifies as the policy says");
    let resource = &stack.json(&["resources"]).answer(0)["resources"][0];
    assert_eq!((&resource["last_backup"]["id"], &resource["tier"]), (&json!(id), &json!("critical")));
    assert!(resource["rpo_seconds"].is_i64());
    assert!(stack.run(&["backup", "orders"]).text(0).starts_with("backed up orders in "));

    let verified = stack.json(&["verify", "latest:orders"]).answer(0);
    assert_eq!(
        (&verified["level"], &verified["valid"], &verified["errors"]),
        (&json!("full"), &json!(true), &json!([]))
    );
    assert!(verified["blocks_checked"].as_u64().unwrap() > 0);
    assert_eq!(stack.json(&["verify", id, "--level", "quick"]).answer(0)["level"], "quick");

    let restored = stack.json(&["restore", id, "--to", "dynamodb:restored-orders"]).answer(0);
    assert_eq!((&restored["backup"], &restored["records"]), (&json!(id), &json!(100)));
    assert_eq!(
        (&restored["target"], &restored["vault_reads"]),
        (&json!("dynamodb:restored-orders"), &Value::Null)
    );
    assert_eq!(stack.items("restored-orders"), stack.items("orders"));
    let shown = stack.json(&["show", restored["id"].as_str().unwrap()]).answer(0);
    assert_eq!(
        (&shown["kind"], &shown["status"], &shown["backup"]),
        (&json!("restore"), &json!("completed"), &json!(id))
    );
    let shown = stack.json(&["show", id]).answer(0);
    assert_eq!((&shown["source"]["table"], &shown["records"]), (&json!("orders"), &json!(100)));
    assert!(stack.run(&["show", "latest:orders"]).text(0).contains("\n  source    dynamodb:orders\n"));
}

#[test]
fn some_records_at_a_time_come_back() {
    let stack = applied();
    let id = backup(&stack);
    let at = stack.json(&["show", &id]).answer(0)["completed_at"].as_str().unwrap().to_owned();
    let restored = stack
        .json(&["restore", "orders", "--at", &at, "--to", "dynamodb:restored-one", "--key", r#"["o-7"]"#])
        .answer(0);
    assert_eq!((&restored["backup"], &restored["records"]), (&json!(id), &json!(1)));
    assert_eq!(restored["warnings"][0]["code"], "PointNotExact", "changes of this table are not captured");
    let missed =
        stack.json(&["restore", &id, "--to", "dynamodb:restored-none", "--key", r#"["o-700"]"#]).answer(3);
    assert_eq!(missed["warnings"][0]["code"], "KeyNotFound");
    // Keys stand in job state only.
    assert!(stack.world.inputs().iter().all(|input| !input.contains("o-7")), "{:?}", stack.world.inputs());
}

#[test]
fn a_dry_run_answers_and_leaves_nothing() {
    let stack = applied();
    let id = backup(&stack);
    let dry = |more: &[&str]| {
        let args = ["restore", &id, "--to", "dynamodb:restored-orders", "--dry-run"];
        stack.json(&[&args, more].concat())
    };
    let told = dry(&[]).answer(0);
    let expected =
        ["backup", "bytes", "dry_run", "files", "partial", "records", "streams", "target", "warnings"];
    assert_eq!(fields(&told), expected);
    assert_eq!(
        (&told["dry_run"], &told["records"], &told["backup"]),
        (&json!(true), &json!(100), &json!(id))
    );
    assert_eq!(told["streams"][0]["name"], "orders");
    assert_eq!(dry(&["--key", r#"["o-1"]"#]).answer(0)["partial"], true);
    assert_eq!(dry(&["--path", "img/*"]).error(2)["object"], "--path");
    assert_eq!(dry(&["--stream", "no-such"]).error(2)["code"], "InvalidInput");
    assert_eq!(stack.restores(), 0, "no job is left of any of them");

    stack.json(&["restore", &id, "--to", "dynamodb:restored-orders"]).answer(0);
    assert_eq!(dry(&[]).error(2)["code"], "TargetNotEmpty");
    assert_eq!(
        stack.json(&["restore", &id, "--to", "dynamodb:restored-orders"]).error(2)["code"],
        "TargetNotEmpty"
    );
}

#[test]
fn what_a_stack_cannot_read_is_told_before_it_is_kept() {
    let stack = Stack::new();
    let apply = |source: &str| {
        stack.place.write("more.yaml", format!("resources:\n- name: more\n  source: {source}\n"));
        stack.json(&["apply", "-f", "more.yaml"])
    };
    let error = apply("{ kind: dynamodb, table: customers }").error(2);
    let arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/customers";
    assert_eq!((&error["code"], &error["object"]), (&json!("InvalidInput"), &json!(arn)));
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("SourceTables=arn:") && hint.contains(&format!("/gone,{arn}\"")), "{hint}");
    assert!(hint.contains("holdfast:access=allow"), "{hint}");
    let error = apply("{ kind: s3, bucket: media }").error(2);
    assert!(error["hint"].as_str().unwrap().contains("\"SourceBuckets=arn:aws:s3:::media\""));
    for source in [
        "{ kind: files, path: /srv }",
        "{ kind: jsonl, path: /srv, key: [/id] }",
        "{ kind: json, path: export.json }",
        "{ kind: dynamodb, table: orders, endpoint: embedded }",
    ] {
        assert_eq!(apply(source).error(2)["code"], "InvalidInput", "{source}");
    }
    assert_eq!(stack.json(&["resources"]).answer(0), json!({"resources": []}), "nothing was kept");
    apply("{ kind: json, document: { orders: [ { id: 1 } ] } }").answer(0);

    stack.output("SourceTableArns", "arn:aws:dynamodb:*:*:table/cust*");
    assert_eq!(apply("{ kind: dynamodb, table: customers }").answer(0)["resources"][0]["change"], "changed");
}

#[test]
fn a_tag_grants_a_table() {
    let stack = Stack::new();
    stack.output("SourceTableArns", "");
    let apply = || stack.json(&["apply", "-f", "resources.yaml"]);
    assert_eq!(apply().error(2)["code"], "InvalidInput");
    stack.tag("orders", "holdfast:access", "deny");
    assert_eq!(apply().error(2)["code"], "InvalidInput");
    stack.tag("orders", "holdfast:access", "allow");
    apply().answer(0);
}

#[test]
fn what_is_unknown_is_bad_input() {
    let stack = applied();
    let code = |args: &[&str]| stack.json(args).error(2)["code"].as_str().unwrap().to_owned();
    assert_eq!(code(&["backup", "shop"]), "ResourceUnknown");
    assert_eq!(code(&["restore", "latest:shop", "--to", "dynamodb:restored-x"]), "ResourceUnknown");
    assert_eq!(code(&["restore", "latest:orders", "--to", "dynamodb:restored-x"]), "JobUnknown");
    assert_eq!(code(&["verify", "01K8Z6T3W4Q5R6S7T8V9W0X1Y2"]), "JobUnknown");
    assert_eq!(code(&["restore", "01K8Z6T3W4Q5R6S7T8V9W0X1Y2", "--to", "dynamodb:restored-x"]), "JobUnknown");
    assert_eq!(code(&["cancel", "01K8Z6T3W4Q5R6S7T8V9W0X1Y2"]), "JobUnknown");
    let id = backup(&stack);
    assert_eq!(code(&["restore", &id, "--to", "files:out"]), "InvalidInput");
    let error = stack.json(&["restore", &id, "--to", "dynamodb:orders"]).error(2);
    assert!(error["hint"].as_str().unwrap().contains("TargetTables="));
    assert_eq!(stack.restores(), 0);
    for args in [
        &["diff", "orders", "--from", "2026-11-21T14:00:00Z", "--to", "now"][..],
        &["undo", "orders", "--from", "2026-11-21T14:00:00Z", "--to", "now", "--dry-run"],
        &["undo", "orders", "--from", "2026-11-21T14:00:00Z", "--to", "now", "--key-file", "resources.yaml"],
        &["rebuild"],
        &["capture", "orders"],
        &["show", &id, "--delta"],
    ] {
        let error = stack.json(args).error(2);
        assert_eq!(
            (&error["code"], &error["object"]),
            (&json!("InvalidInput"), &json!("--stack")),
            "{args:?}"
        );
    }
}

#[test]
fn a_stack_that_is_not_there_or_not_ours_is_told() {
    let stack = Stack::new();
    let error = stack.json(&["--stack", "other", "backups"]).error(2);
    assert_eq!((&error["code"], &error["object"]), (&json!("HomeInvalid"), &json!("other")));
    assert!(error["message"].as_str().unwrap().contains("eu-central-1"));
    stack.output("VerifyMachineArn", "");
    assert_eq!(stack.json(&["backups"]).error(2)["object"], "VerifyMachineArn");
    let mut without = stack.command(&["backups", "--json"]);
    let told = Ran::of(without.env_remove("AWS_REGION").env("AWS_CONFIG_FILE", "none").output().unwrap());
    assert_eq!(told.error(2)["object"], "--region");
}

#[test]
fn one_place_is_named() {
    let stack = applied();
    let both = stack.json(&["--home", "here", "--stack", "shop", "backups"]).error(2);
    assert!(both["message"].as_str().unwrap().contains("--home cannot be used with --stack"));
    let after = stack.json(&["backups", "--stack", "shop", "--home", "here"]).error(2);
    assert_eq!(after["code"], "InvalidInput");
    // What the command line names counts before what the environment does.
    assert_eq!(stack.json(&["--home", "here", "resources"]).error(2)["code"], "HomeInvalid");
    assert_eq!(stack.json(&["resources", "--home", "here"]).error(2)["code"], "HomeInvalid");
    let env = |args: &[&str]| Ran::of(stack.command(args).env("HOLDFAST_HOME", "here").output().unwrap());
    assert_eq!(env(&["resources", "--json"]).error(2)["code"], "InvalidInput");
    assert_eq!(env(&["resources", "--json", "--stack", "shop"]).answer(0)["resources"][0]["name"], "orders");
}

#[test]
fn a_backup_that_fails_says_why() {
    let stack = applied();
    stack.place.write("gone.yaml", "resources:\n- name: gone\n  source: { kind: dynamodb, table: gone }\n");
    stack.json(&["apply", "-f", "gone.yaml"]).answer(0);
    let error = stack.json(&["backup", "gone"]).error(2);
    assert_eq!(error["code"], "SourceMissing");
    assert!(error["hint"].is_string());
    let listed = stack.json(&["backups", "gone"]).answer(0);
    assert_eq!(
        (&listed["backups"][0]["status"], &listed["backups"][0]["id"]),
        (&json!("failed"), &error["object"])
    );
}

#[test]
fn what_fails_before_there_is_a_job_says_why_too() {
    let stack = applied();
    let id = backup(&stack);
    let cause = json!({ "errorType": "KeyWrong", "errorMessage": "the key is gone\nhint: bring it back" });
    let refuse = |function: &str| {
        let failure = Failure::new("KeyWrong", cause.to_string());
        *stack.world.gate.refusal.lock().unwrap() = Some((function.to_owned(), failure));
    };
    refuse("plan");
    let error = stack.json(&["backup", "orders"]).error(2);
    let told = (&error["code"], &error["message"], &error["hint"]);
    assert_eq!(told, (&json!("KeyWrong"), &json!("the key is gone"), &json!("bring it back")));
    refuse("verify");
    let error = stack.json(&["verify", &id]).error(2);
    assert_eq!((&error["code"], &error["hint"]), (&json!("KeyWrong"), &json!("bring it back")));
    refuse("restore");
    for more in [&[][..], &["--dry-run"]] {
        let args = [&["restore", &id, "--to", "dynamodb:restored-orders"], more].concat();
        let error = stack.json(&args).error(2);
        assert_eq!(
            (&error["code"], &error["hint"]),
            (&json!("KeyWrong"), &json!("bring it back")),
            "{args:?}"
        );
    }
    assert_eq!(stack.restores(), 1, "the restore that was no dry run is told as failed");
}

#[test]
fn a_backup_is_cancelled_from_elsewhere() {
    let stack = applied();
    *stack.world.gate.held.lock().unwrap() = Some("export-chunk".to_owned());
    let child = stack.spawn(&["backup", "orders"]);
    stack.block_on(stack.world.gate.arrived.acquire()).unwrap().forget();
    let id = stack.json(&["backups"]).answer(0)["backups"][0]["id"].as_str().unwrap().to_owned();
    let asked = stack.json(&["cancel", &id]).answer(0);
    assert_eq!(asked, json!({"id": id, "status": "cancelled", "requested": false}));
    stack.world.gate.go.add_permits(100);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("error[Cancelled]: backup {id} was cancelled")), "{}", ran.stderr);
    assert_eq!(stack.json(&["show", &id]).answer(0)["status"], "cancelled");
    assert_eq!(stack.json(&["cancel", &id]).answer(0)["status"], "cancelled");
}

#[test]
fn an_undo_takes_a_window_back() {
    let stack = applied();
    let before = backup(&stack);
    let good = stack.items("orders");
    for id in ["o-1", "o-2", "o-new"] {
        stack.put(id, 0);
    }
    let window = ["undo", "orders", "--from", &before, "--to", "now"];
    let error = stack.json(&window).error(2);
    assert!(error["hint"].as_str().unwrap().contains("TargetTables="), "{error}");
    stack.output("TargetTableArns", "*");
    let undone = stack.json(&window).answer(0);
    assert_eq!(
        (&undone["status"], &undone["undone"], &undone["proved"]),
        (&json!("completed"), &json!(3), &json!(3))
    );
    assert_eq!(stack.items("orders"), good);
    let id = undone["id"].as_str().unwrap();
    assert_eq!(stack.json(&["show", id]).answer(0)["undo"]["undone"], 3);
    assert_eq!(stack.json(&["undo", "--undo", id]).answer(0)["undone"], 3);
    assert_ne!(stack.items("orders"), good);
    assert_eq!(stack.json(&["undo", "--undo", &before]).error(2)["code"], "JobUnknown");
}

#[test]
fn damage_is_an_answer() {
    let stack = applied();
    let id = backup(&stack);
    let vault = stack.vault();
    let packs = tree(&vault).into_iter().filter(|(name, _)| name.starts_with("packs/"));
    let (object, mut bytes) = packs.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(vault.join(&object)).unwrap();
    fs::write(vault.join(&object), bytes).unwrap();
    let found = stack.json(&["verify", &id]).answer(3);
    assert_eq!((&found["valid"], &found["errors"][0]["object"]), (&json!(false), &json!(object)));
    assert!(stack.run(&["verify", &id]).text(3).contains("DAMAGED"));
    assert!(stack.run(&["backups"]).text(0).contains("DAMAGED"));
    let notices = fs::read_to_string(stack.place.path("topic/notifications.jsonl")).unwrap();
    assert!(notices.contains("verify-damage"), "{notices}");
}
