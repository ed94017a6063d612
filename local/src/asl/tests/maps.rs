use super::world::*;
use crate::asl::{ExecutionOutcome, Options};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

fn inline(states: Value, start: &str) -> Value {
    json!({ "Type": "Map", "ItemProcessor": { "StartAt": start, "States": states } })
}

/// A distributed Map over the lines of b/tasks.
fn distributed(states: Value, start: &str) -> Value {
    json!({
        "Type": "Map",
        "MaxConcurrency": 4,
        "Label": "work",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": { "InputType": "JSONL" },
            "Parameters": { "Bucket": "b", "Key.$": "$.tasks" },
        },
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
            "StartAt": start,
            "States": states,
        },
    })
}

fn input() -> Value {
    json!({ "tasks": "tasks", "job": "j1" })
}

#[test]
fn an_inline_map_runs_its_states_for_each_item_in_order() {
    let world = World::new();
    world.on_async("f", |payload, world| {
        Box::pin(async move {
            // The first ones take longest.
            let number = payload["value"].as_u64().unwrap();
            world.sleep(Duration::from_secs(10 - number)).await;
            Ok(payload)
        })
    });
    let state = with(
        inline(json!({ "F": function("f") }), "F"),
        json!({
            "ItemsPath": "$.list",
            "ItemSelector": { "value.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index", "job.$": "$.job" },
            "ResultSelector": { "sizes.$": "$[*].answer.at" },
            "ResultPath": "$.out",
        }),
    );
    let output = succeeded(world.run(&single(state), json!({ "job": "j", "list": [1, 2, 3] })));
    assert_eq!(output["out"], json!({ "sizes": [0, 1, 2] }));
    assert!(
        world.calls.lock().unwrap().contains(&("f".to_owned(), json!({ "value": 2, "at": 1, "job": "j" })))
    );
    assert_eq!(world.elapsed(), Duration::from_secs(9));
}

#[test]
fn the_states_of_an_inline_map_know_their_item_and_share_the_execution() {
    let pass = json!({ "Type": "Pass", "End": true, "Parameters": {
        "item.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index", "execution.$": "$$.Execution.Name", "in.$": "$",
    } });
    let output = succeeded(World::new().run(&single(inline(json!({ "P": pass }), "P")), json!(["x"])));
    assert_eq!(output, json!([{ "item": "x", "at": 0, "execution": "e1", "in": "x" }]));
}

#[test]
fn a_map_over_nothing_gives_an_empty_array_and_over_no_array_fails() {
    let state = inline(json!({ "P": { "Type": "Pass", "End": true } }), "P");
    assert_eq!(succeeded(World::new().run(&single(state.clone()), json!([]))), json!([]));
    let (error, cause) = failed(World::new().run(&single(state), json!({})));
    assert_eq!(
        (error.as_str(), cause.as_str()),
        ("States.Runtime", "ItemsPath names an object, not an array")
    );
}

/// How many calls of "f" were under way at the same time at most.
fn peak(options: Options, state: Value, items: usize) -> usize {
    let world = World::new();
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&peak);
    world.on_async("f", move |_, world| {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        Box::pin(async move {
            peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            world.sleep(Duration::from_secs(1)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(json!(null))
        })
    });
    let input = with(input(), json!({ "list": vec![0; items], "most": 2 }));
    world.put("b/tasks", &"{}\n".repeat(items));
    succeeded(world.run_with(options, &single(state), input));
    highest.load(Ordering::SeqCst)
}

#[test]
fn so_many_children_run_at_a_time_and_no_more() {
    let wide = Options { max_concurrency: 1000, ..Options::default() };
    let each = json!({ "F": function("f") });
    let inline = |fields| with(with(inline(each.clone(), "F"), json!({ "ItemsPath": "$.list" })), fields);
    let lines = |fields| with(distributed(each.clone(), "F"), fields);
    let path = without(lines(json!({ "MaxConcurrencyPath": "$.most" })), "MaxConcurrency");
    for (options, state, items, wanted) in [
        (wide, inline(json!({})), 60, 40),
        (wide, inline(json!({ "MaxConcurrency": 0 })), 60, 40),
        (wide, inline(json!({ "MaxConcurrency": 3 })), 10, 3),
        (wide, inline(json!({ "MaxConcurrencyPath": "$.most" })), 10, 2),
        (Options::default(), inline(json!({})), 20, 8),
        (wide, lines(json!({})), 10, 4),
        (wide, lines(json!({ "MaxConcurrency": 60 })), 100, 60),
        (wide, path, 10, 2),
        (Options { max_concurrency: 1, ..wide }, lines(json!({})), 5, 1),
    ] {
        assert_eq!(peak(options, state.clone(), items), wanted, "{state}");
    }
}

#[test]
fn a_distributed_map_loops_over_the_lines_of_an_object() {
    let world = World::new();
    // Each item is exported in as many steps as it says, and each step is uploaded.
    world.on("export", |payload| {
        let step = payload["cursor"].as_u64().unwrap_or(0) + 1;
        let cursor =
            if step < payload["task"]["steps"].as_u64().unwrap() { json!(step) } else { json!(null) };
        Ok(json!({ "task": payload["task"], "job": payload["job"], "cursor": cursor, "chunk": step }))
    });
    world.on("upload", Ok);
    let call = |name: &str, next: &str| {
        json!({
            "Type": "Task", "Resource": LAMBDA, "Next": next,
            "Parameters": { "FunctionName": name, "Payload.$": "$" }, "OutputPath": "$.Payload",
        })
    };
    let states = json!({
        "Export": call("export", "Upload"),
        "Upload": call("upload", "More"),
        "More": { "Type": "Choice", "Default": "Done", "Choices": [
            { "Variable": "$.cursor", "IsNull": false, "Next": "Export" },
        ] },
        "Done": { "Type": "Pass", "Parameters": { "execution.$": "$$.Execution.Name", "chunks.$": "$.chunk" }, "End": true },
    });
    let state = with(
        distributed(states, "Export"),
        json!({
            "ItemSelector": { "task.$": "$$.Map.Item.Value", "job.$": "$.job" },
            "ResultPath": "$.done",
        }),
    );
    world.put("b/tasks", "{\"steps\":3}\n\n {\"steps\":1} \r\n{\"steps\":2}");
    let output = succeeded(world.run(&single(state), input()));
    assert_eq!(
        output,
        json!({ "tasks": "tasks", "job": "j1", "done": [
            { "execution": "e1/work:0", "chunks": 3 },
            { "execution": "e1/work:1", "chunks": 1 },
            { "execution": "e1/work:2", "chunks": 2 },
        ] })
    );
    assert_eq!(world.called().iter().filter(|name| *name == "export").count(), 6);
    assert!(world.journal.lock().unwrap().contains(&"enter S[2]/Upload Task".to_owned()));
}

#[test]
fn a_distributed_map_also_takes_an_array() {
    let state = without(distributed(json!({ "P": { "Type": "Pass", "End": true } }), "P"), "ItemReader");
    let state = with(state, json!({ "ItemsPath": "$.list" }));
    assert_eq!(succeeded(World::new().run(&single(state), json!({ "list": [1, "b"] }))), json!([1, "b"]));
}

#[test]
fn an_object_that_cannot_be_read_fails_the_map() {
    let state = distributed(json!({ "P": { "Type": "Pass", "End": true } }), "P");
    for (body, wanted) in [
        (None, "b/tasks: ObjectMissing: there is no such object"),
        (Some("{}\n{\n{}".to_owned()), "b/tasks, line 2: is not JSON"),
        (Some("{}\n{} {}".to_owned()), "b/tasks, line 2: is not JSON"),
        (Some(format!("1\n\"{}\"\n", "x".repeat(300))), "b/tasks, line 2: is longer than 200 bytes"),
        (Some(format!("\n\"{}", "x".repeat(300))), "b/tasks, line 2: is longer than 200 bytes"),
    ] {
        let world = World::new();
        if let Some(body) = body {
            world.put("b/tasks", &body);
        }
        let options = Options { data_limit: 200, ..Options::default() };
        let (error, cause) = failed(world.run_with(options, &single(state.clone()), input()));
        assert_eq!((error.as_str(), cause.as_str()), ("States.ItemReaderFailed", wanted));
    }
    for body in ["", "\n", " \r\n\n"] {
        let world = World::new();
        world.put("b/tasks", body);
        assert_eq!(succeeded(world.run(&single(state.clone()), input())), json!([]));
    }
}

#[test]
fn failures_are_tolerated_up_to_the_threshold() {
    // Ten items; those that are true fail.
    let run = |failing: usize, fields: Value| {
        let world = World::new();
        world.on("f", |payload| if payload == json!(true) { failure("Broken") } else { Ok(payload) });
        let lines: String = (0..10).map(|at| if at < failing { "true\n" } else { "false\n" }).collect();
        world.put("b/tasks", &lines);
        let state = with(distributed(json!({ "F": function("f") }), "F"), fields);
        world.run(&single(state), with(input(), json!({ "count": 1, "percentage": 20 })))
    };
    for (fields, tolerated) in [
        (json!({}), 0),
        (json!({ "ToleratedFailureCount": 3 }), 3),
        (json!({ "ToleratedFailurePercentage": 25 }), 2),
        (json!({ "ToleratedFailurePercentage": 30 }), 3),
        (json!({ "ToleratedFailurePercentage": 100 }), 10),
        (json!({ "ToleratedFailurePercentage": 0, "ToleratedFailureCount": 5 }), 0),
        (json!({ "ToleratedFailurePercentage": 50, "ToleratedFailureCount": 2 }), 2),
        (json!({ "ToleratedFailureCountPath": "$.count" }), 1),
        (json!({ "ToleratedFailurePercentagePath": "$.percentage" }), 2),
    ] {
        let output = succeeded(run(tolerated, fields.clone()));
        let failed_items =
            output.as_array().unwrap().iter().filter(|item| item["Status"] == "FAILED").count();
        assert_eq!((output.as_array().unwrap().len(), failed_items), (10, tolerated), "{fields}");
        if tolerated < 10 {
            let (error, cause) = failed(run(tolerated + 1, fields.clone()));
            assert_eq!(error, "States.ExceedToleratedFailureThreshold", "{fields}");
            assert!(cause.contains("Broken"), "{cause}");
        }
    }
}

#[test]
fn results_beyond_the_limit_fail_the_map_even_if_they_would_be_dropped() {
    let run = |items: usize| {
        let world = World::new();
        world.put("b/tasks", &"{}\n".repeat(items));
        let states = json!({ "P": { "Type": "Pass", "Result": {}, "End": true } });
        let state = with(distributed(states, "P"), json!({ "ResultPath": null }));
        // n results take 3n + 1 bytes.
        world.run_with(Options { data_limit: 301, ..Options::default() }, &single(state), input())
    };
    assert_eq!(succeeded(run(100)), input());
    assert_eq!(failed(run(101)).0, "States.DataLimitExceeded");
}

#[test]
fn an_item_that_is_too_large_for_a_child_fails_the_map() {
    let state = with(
        inline(json!({ "P": { "Type": "Pass", "End": true } }), "P"),
        json!({ "ItemSelector": { "a.$": "$", "b.$": "$", "c.$": "$" } }),
    );
    let options = Options { data_limit: 100, ..Options::default() };
    let (error, cause) = failed(World::new().run_with(options, &single(state), json!(vec![0; 25])));
    assert_eq!(error, "States.DataLimitExceeded");
    assert!(cause.contains("item"), "{cause}");
}

#[test]
fn maps_nest() {
    let inner = with(
        inline(
            json!({ "P": { "Type": "Pass", "Parameters": { "v.$": "$$.Map.Item.Value" }, "OutputPath": "$.v", "End": true } }),
            "P",
        ),
        json!({ "End": true }),
    );
    let output =
        succeeded(World::new().run(&single(inline(json!({ "I": inner }), "I")), json!([[1, 2], [], [3]])));
    assert_eq!(output, json!([[1, 2], [], [3]]));
}

#[test]
fn a_failing_item_is_retried_as_the_map_says() {
    let world = World::new();
    world.on_each("f", vec![Ok(json!(1)), failure("Busy"), Ok(json!(1)), Ok(json!(2))]);
    let state = with(
        inline(json!({ "F": function("f") }), "F"),
        json!({
            "MaxConcurrency": 1,
            "Retry": [{ "ErrorEquals": ["Busy"] }],
        }),
    );
    assert_eq!(
        succeeded(world.run(&single(state), json!([0, 0]))),
        json!([{ "answer": 1 }, { "answer": 2 }])
    );
    assert_eq!(world.called().len(), 4);
}

#[test]
fn children_run_on_threads_of_their_own() {
    let world = World::new();
    let barrier = Arc::new(Barrier::new(2));
    // Both calls block their thread until the other one is there.
    world.on("f", move |payload| {
        barrier.wait();
        Ok(payload)
    });
    let machine = load(&single(inline(json!({ "F": function("f") }), "F")));
    let interpreter = world.interpreter(Options::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let outcome = runtime.block_on(interpreter.run(&machine, "e1", json!([1, 2])));
    assert_eq!(outcome, ExecutionOutcome::Succeeded { output: json!([{ "answer": 1 }, { "answer": 2 }]) });
}

#[test]
fn many_lines_are_read_as_they_are_needed() {
    let world = World::new();
    let lines: Vec<String> = (0..2000).map(|number| json!({ "n": number }).to_string()).collect();
    world.put("b/tasks", &lines.join("\n"));
    let states = json!({ "P": { "Type": "Pass", "InputPath": "$.n", "End": true } });
    let output = succeeded(world.run(&single(distributed(states, "P")), input()));
    assert_eq!(output, json!((0..2000).collect::<Vec<_>>()));
}
