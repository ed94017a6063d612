use super::world::*;
use crate::asl::{ExecutionOutcome, Options};
use serde_json::json;
use std::time::Duration;

/// A JSON string of so many bytes, quotes included.
fn text(bytes: usize) -> serde_json::Value {
    json!("x".repeat(bytes - 2))
}

#[test]
fn data_beyond_256_kib_fails_wherever_it_passes() {
    let small = json!({ "Type": "Pass" });
    assert_eq!(succeeded(World::new().run(&single(small.clone()), text(262_144))), text(262_144));
    assert_eq!(failed(World::new().run(&single(small), text(262_145))).0, "States.DataLimitExceeded");

    // Doubled by a template: the payload of a call, the output of a Pass.
    let double = json!({ "a.$": "$", "b.$": "$" });
    let call = json!({ "Type": "Task", "Resource": LAMBDA, "Parameters": { "FunctionName": "f", "Payload": double } });
    for state in [json!({ "Type": "Pass", "Parameters": double }), call] {
        assert_eq!(failed(World::new().run(&single(state), text(200_000))).0, "States.DataLimitExceeded");
    }
}

#[test]
fn a_result_that_is_too_large_fails_even_if_it_would_be_dropped() {
    let world = World::new();
    world.on("f", |_| Ok(text(262_144)));
    let dropping = with(function("f"), json!({ "ResultPath": null }));
    let dropping = without(dropping, "ResultSelector");
    let all = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }]);
    let states =
        json!({ "Go": with(dropping.clone(), json!({ "Catch": all })), "Caught": { "Type": "Succeed" } });
    assert_eq!(failed(world.run(&machine("Go", states), json!({}))).0, "States.DataLimitExceeded");

    let named = json!([{ "ErrorEquals": ["States.DataLimitExceeded"], "Next": "Caught" }]);
    let states = json!({ "Go": with(dropping, json!({ "Catch": named })), "Caught": { "Type": "Succeed" } });
    assert_eq!(succeeded(world.run(&machine("Go", states), json!({})))["Error"], "States.DataLimitExceeded");
}

#[test]
fn a_long_cause_is_cut_so_that_it_can_be_caught() {
    let world = World::new();
    world.on("f", |_| Err(crate::asl::Failure::new("Long", "ü".repeat(300_000))));
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }]);
    let states =
        json!({ "Go": with(function("f"), json!({ "Catch": catch })), "Caught": { "Type": "Succeed" } });
    let output = succeeded(world.run(&machine("Go", states), json!({})));
    assert_eq!(output["Cause"].as_str().unwrap().len(), 32_768);
}

#[test]
fn a_history_ends_at_its_limit_and_nothing_catches_that() {
    // Each round: a Task is five events, a Choice two; the execution's start is one.
    let definition = machine(
        "Go",
        json!({
            "Go": without(with(function("f"), json!({
                "Next": "Again", "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Done" }],
            })), "End"),
            "Again": { "Type": "Choice", "Default": "Go", "Choices": [
                { "Variable": "$.answer", "StringEquals": "stop", "Next": "Done" },
            ] },
            "Done": { "Type": "Succeed" },
        }),
    );
    let world = World::new();
    world.on("f", |_| Ok(json!("on")));
    let (error, cause) = failed(world.run(&definition, json!({})));
    assert_eq!(error, "States.Runtime");
    assert!(cause.contains("25000"), "{cause}");
    assert_eq!(world.called().len(), (25_000 - 1) / 7);
}

#[test]
fn the_children_of_a_distributed_map_have_histories_of_their_own() {
    let step = json!({ "Type": "Pass", "End": true });
    let map = |config| {
        single(json!({
            "Type": "Map",
            "MaxConcurrency": 1,
            "ItemProcessor": { "ProcessorConfig": config, "StartAt": "Step", "States": { "Step": step } },
        }))
    };
    let items = json!(vec![0; 50]);
    let options = Options { history_limit: 100, ..Options::default() };
    let inline = map(json!({ "Mode": "INLINE" }));
    assert_eq!(failed(World::new().run_with(options, &inline, items.clone())).0, "States.Runtime");
    let distributed = map(json!({ "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" }));
    assert_eq!(succeeded(World::new().run_with(options, &distributed, items.clone())), items);
}

#[test]
fn a_machine_that_takes_too_long_times_out_with_all_its_children() {
    let world = World::new();
    world.on_async("f", |_, world| {
        Box::pin(async move {
            world.sleep(Duration::from_hours(1)).await;
            Ok(json!(null))
        })
    });
    let map = json!({
        "Type": "Map",
        "ItemProcessor": { "StartAt": "F", "States": { "F": function("f") } },
        "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }],
        "End": true,
    });
    let definition = with(
        machine("M", json!({ "M": map, "Caught": { "Type": "Succeed" } })),
        json!({ "TimeoutSeconds": 600 }),
    );
    assert_eq!(world.run(&definition, json!([1, 2, 3])), ExecutionOutcome::TimedOut);
    assert_eq!(world.elapsed(), Duration::from_mins(10));
    assert_eq!(world.journal.lock().unwrap().last().unwrap(), "end timed out");
}
