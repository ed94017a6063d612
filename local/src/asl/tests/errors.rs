use super::world::*;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A Task "Go" with these retriers and catchers; catchers lead to "Caught".
fn guarded(retry: &Value, catch: &Value) -> Value {
    let mut states = json!({ "Go": with(function("f"), json!({ "Retry": retry, "Catch": catch })) });
    if catch.as_array().is_some_and(|catch| !catch.is_empty()) {
        states["Caught"] = json!({ "Type": "Succeed" });
    }
    machine("Go", states)
}

#[test]
fn retries_wait_longer_each_time() {
    let always = |fields: Value| json!([with(json!({ "ErrorEquals": ["States.ALL"] }), fields)]);
    for (retry, random, delays) in [
        (always(json!({})), 0, vec![1.0, 2.0, 4.0]),
        (always(json!({ "IntervalSeconds": 3, "MaxAttempts": 2, "BackoffRate": 1.5 })), 0, vec![3.0, 4.5]),
        (
            always(json!({ "IntervalSeconds": 2, "MaxAttempts": 5, "MaxDelaySeconds": 7 })),
            0,
            vec![2.0, 4.0, 7.0, 7.0, 7.0],
        ),
        (
            always(json!({ "IntervalSeconds": 8, "JitterStrategy": "FULL" })),
            u64::MAX / 2,
            vec![4.0, 8.0, 16.0],
        ),
        (always(json!({ "IntervalSeconds": 8, "JitterStrategy": "FULL" })), 0, vec![0.0, 0.0, 0.0]),
        (
            always(json!({ "IntervalSeconds": 8, "MaxAttempts": 1, "JitterStrategy": "NONE" })),
            u64::MAX,
            vec![8.0],
        ),
        (always(json!({ "MaxAttempts": 0 })), 0, vec![]),
    ] {
        let world = World::new();
        world.random.store(random, Ordering::SeqCst);
        world.on("f", |_| failure("Busy"));
        assert_eq!(failed(world.run(&guarded(&retry, &json!([])), json!({}))).0, "Busy");
        let slept = world.slept_seconds();
        assert_eq!(slept.len(), delays.len(), "{retry}");
        assert!(
            slept.iter().zip(&delays).all(|(slept, wanted)| (slept - wanted).abs() < 1e-6),
            "{retry}: {slept:?}"
        );
        assert_eq!(world.called().len(), delays.len() + 1);
    }
}

#[test]
fn each_retrier_counts_for_itself_and_only_while_the_state_is_visited() {
    let world = World::new();
    let retry = json!([
        { "ErrorEquals": ["Busy", "Slow"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1.0 },
        { "ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 10, "MaxAttempts": 1 },
    ]);
    world.on_each(
        "f",
        vec![
            failure("Busy"),
            failure("Other"),
            failure("Slow"),
            Ok(json!("first")),
            failure("Busy"),
            failure("Busy"),
            Ok(json!("second")),
        ],
    );
    let definition = machine(
        "Go",
        json!({
            "Go": without(with(function("f"), json!({ "Retry": retry, "Next": "Again" })), "End"),
            "Again": { "Type": "Choice", "Default": "Done", "Choices": [
                { "Variable": "$.answer", "StringEquals": "first", "Next": "Go" },
            ] },
            "Done": { "Type": "Succeed" },
        }),
    );
    assert_eq!(succeeded(world.run(&definition, json!({}))), json!({ "answer": "second" }));
    assert_eq!(world.slept_seconds(), [1.0, 10.0, 1.0, 1.0, 1.0]);
}

#[test]
fn an_exhausted_retrier_leads_to_the_catchers_not_to_the_next_retrier() {
    let world = World::new();
    world.on("f", |_| failure("Busy"));
    let retry = json!([
        { "ErrorEquals": ["Busy"], "MaxAttempts": 1 },
        { "ErrorEquals": ["States.ALL"], "MaxAttempts": 5 },
    ]);
    let catch = json!([{ "ErrorEquals": ["Busy"], "Next": "Caught" }]);
    let output = succeeded(world.run(&guarded(&retry, &catch), json!({ "in": 1 })));
    assert_eq!(output, json!({ "Error": "Busy", "Cause": "because" }));
    assert_eq!(world.called().len(), 2);
}

#[test]
fn the_first_catcher_that_fits_takes_the_error_beside_the_input() {
    for (error, path) in [("Mine", "mine"), ("Other", "any")] {
        let world = World::new();
        world.on("f", move |_| failure(error));
        let catch = json!([
            { "ErrorEquals": ["Mine"], "ResultPath": "$.mine", "Next": "Caught" },
            { "ErrorEquals": ["States.ALL"], "ResultPath": "$.any", "Next": "Caught" },
        ]);
        let output = succeeded(world.run(&guarded(&json!([]), &catch), json!({ "in": 1 })));
        assert_eq!(output, json!({ "in": 1, path: { "Error": error, "Cause": "because" } }));
    }
    let world = World::new();
    world.on("f", |_| failure("Mine"));
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": null, "Next": "Caught" }]);
    assert_eq!(succeeded(world.run(&guarded(&json!([]), &catch), json!({ "in": 1 }))), json!({ "in": 1 }));
}

#[test]
fn wildcards_reach_only_what_they_may() {
    for (listed, error, caught) in [
        ("States.ALL", "Any", true),
        ("States.ALL", "States.Timeout", true),
        ("States.ALL", "States.Runtime", false),
        ("States.ALL", "States.DataLimitExceeded", false),
        ("States.TaskFailed", "Any", true),
        ("States.TaskFailed", "States.Timeout", false),
        ("States.TaskFailed", "States.Runtime", false),
        ("States.Runtime", "States.Runtime", false),
        ("States.DataLimitExceeded", "States.DataLimitExceeded", true),
        ("Any", "any", false),
    ] {
        let world = World::new();
        world.on("f", move |_| failure(error));
        let catch = json!([{ "ErrorEquals": [listed], "Next": "Caught" }]);
        let outcome = world.run(&guarded(&json!([]), &catch), json!({}));
        if caught {
            succeeded(outcome);
        } else {
            assert_eq!(failed(outcome).0, error, "{listed}");
        }
    }
}

#[test]
fn parallel_is_retried_and_caught_as_a_whole() {
    let world = World::new();
    world.on_each("f", vec![failure("Busy"), failure("Broken")]);
    let definition = machine(
        "P",
        json!({
            "P": {
                "Type": "Parallel",
                "Branches": [{ "StartAt": "F", "States": { "F": function("f") } }],
                "Retry": [{ "ErrorEquals": ["Busy"], "IntervalSeconds": 7 }],
                "Catch": [{ "ErrorEquals": ["Broken"], "ResultPath": "$.e", "Next": "Sorry" }],
                "End": true,
            },
            "Sorry": { "Type": "Pass", "InputPath": "$.e.Error", "End": true },
        }),
    );
    assert_eq!(succeeded(world.run(&definition, json!({}))), json!("Broken"));
    assert_eq!(world.slept_seconds(), [7.0]);
}

#[test]
fn a_task_that_takes_too_long_times_out_and_may_be_retried() {
    let world = World::new();
    world.on_async("f", |_, world| {
        Box::pin(async move {
            let first = world.called().len() == 1;
            world.sleep(Duration::from_secs(if first { 60 } else { 5 })).await;
            Ok(json!("done"))
        })
    });
    let retry = json!([{ "ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1 }]);
    let task = with(function("f"), json!({ "TimeoutSeconds": 10, "HeartbeatSeconds": 5, "Retry": retry }));
    assert_eq!(
        succeeded(world.run(&machine("Go", json!({ "Go": task })), json!({}))),
        json!({ "answer": "done" })
    );
    assert_eq!(world.elapsed(), Duration::from_secs(16));

    let world = World::new();
    world.on_async("f", |_, world| {
        Box::pin(async move {
            world.sleep(Duration::from_mins(1)).await;
            Ok(json!(null))
        })
    });
    let task = with(
        function("f"),
        json!({ "TimeoutSecondsPath": "$.limit", "Parameters": { "FunctionName": "f" } }),
    );
    let (error, _) = failed(world.run(&machine("Go", json!({ "Go": task })), json!({ "limit": 4 })));
    assert_eq!((error.as_str(), world.elapsed()), ("States.Timeout", Duration::from_secs(4)));
}

#[test]
fn a_handler_that_panics_fails_its_task() {
    let world = World::new();
    world.on("f", |_| panic!("a fault"));
    let catch = json!([{ "ErrorEquals": ["States.TaskFailed"], "Next": "Caught" }]);
    let output = succeeded(world.run(&guarded(&json!([]), &catch), json!({})));
    assert_eq!(output["Error"], "States.TaskFailed");
}

#[test]
fn the_retry_count_is_in_the_context_object() {
    let world = World::new();
    world.on("f", |payload| if payload == json!(2) { Ok(json!("third")) } else { failure("Busy") });
    let task = with(
        function("f"),
        json!({
            "Parameters": { "FunctionName": "f", "Payload.$": "$$.State.RetryCount" },
            "Retry": [{ "ErrorEquals": ["States.ALL"] }],
        }),
    );
    assert_eq!(
        succeeded(world.run(&machine("Go", json!({ "Go": task })), json!({}))),
        json!({ "answer": "third" })
    );
}
