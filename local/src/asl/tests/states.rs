use super::world::*;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn a_task_calls_its_function_and_wraps_the_answer() {
    let world = World::new();
    world.on("plan", |payload| Ok(json!({ "got": payload })));
    let state = json!({
        "Type": "Task",
        "Resource": LAMBDA,
        "Parameters": { "FunctionName": "plan", "Payload": { "id.$": "$.id", "fixed": [1, { "deep.$": "$.id" }] } },
        "ResultPath": "$.plan",
    });
    let output = succeeded(world.run(&single(state), json!({ "id": "b1" })));
    assert_eq!(
        output,
        json!({
            "id": "b1",
            "plan": {
                "ExecutedVersion": "$LATEST",
                "Payload": { "got": { "id": "b1", "fixed": [1, { "deep": "b1" }] } },
                "StatusCode": 200,
            },
        })
    );
}

#[test]
fn a_task_of_another_service_gets_its_parameters_and_gives_its_bare_result() {
    let world = World::new();
    let resource = "arn:aws:states:::aws-sdk:s3:headObject";
    world.on(resource, |parameters| Ok(json!({ "saw": parameters })));
    let state =
        json!({ "Type": "Task", "Resource": resource, "Parameters": { "Bucket": "b", "Key.$": "$.key" } });
    let output = succeeded(world.run(&single(state), json!({ "key": "k" })));
    assert_eq!(output, json!({ "saw": { "Bucket": "b", "Key": "k" } }));
}

#[test]
fn the_journal_tells_each_step() {
    let world = World::new();
    world.on_each("f", vec![failure("Busy"), failure("Broken")]);
    let definition = machine(
        "Go",
        json!({
            "Go": with(function("f"), json!({
                "Retry": [{ "ErrorEquals": ["Busy"] }],
                "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Sorry" }],
            })),
            "Sorry": { "Type": "Fail", "Error": "Sorry", "CausePath": "$.Cause" },
        }),
    );
    assert_eq!(failed(world.run(&definition, json!({}))), ("Sorry".to_owned(), "because".to_owned()));
    assert_eq!(
        *world.journal.lock().unwrap(),
        [
            "start m/e1",
            "enter Go Task",
            "retry Go 1 after Busy in 1s",
            "catch Go Broken to Sorry",
            "exit Go",
            "enter Sorry Fail",
            "end Sorry",
        ]
    );
}

#[test]
fn pass_gives_its_result_or_what_it_sees() {
    let input = json!({ "a": { "b": 1 }, "c": 2 });
    let cases = [
        (json!({}), input.clone()),
        (json!({ "Result": [1] }), json!([1])),
        (json!({ "Result": null }), json!(null)),
        (json!({ "Parameters": { "x.$": "$.a.b" } }), json!({ "x": 1 })),
        (json!({ "InputPath": "$.a" }), json!({ "b": 1 })),
        (
            json!({ "InputPath": "$.a", "ResultPath": "$.d.e" }),
            json!({ "a": { "b": 1 }, "c": 2, "d": { "e": { "b": 1 } } }),
        ),
        (json!({ "Result": 7, "ResultPath": null }), input.clone()),
        (json!({ "InputPath": null }), json!({})),
        (json!({ "OutputPath": null }), json!({})),
        (json!({ "OutputPath": "$.a.b" }), json!(1)),
        (json!({ "InputPath": "$$.Execution.Name" }), json!("e1")),
    ];
    for (fields, wanted) in cases {
        let state = single(with(json!({ "Type": "Pass" }), fields));
        assert_eq!(succeeded(World::new().run(&state, input.clone())), wanted, "{state}");
    }
}

#[test]
fn wait_waits_for_a_time_or_until_one() {
    let input = json!({ "for": 3, "at": "2026-01-02T03:05:05Z", "past": "2020-01-01T00:00:00+01:00" });
    for (fields, seconds) in [
        (json!({ "Seconds": 90 }), 90),
        (json!({ "SecondsPath": "$.for" }), 3),
        (json!({ "Timestamp": "2026-01-02T03:04:15Z" }), 10),
        (json!({ "TimestampPath": "$.at" }), 60),
        (json!({ "TimestampPath": "$.past" }), 0),
    ] {
        let world = World::new();
        let state = single(with(json!({ "Type": "Wait" }), fields));
        assert_eq!(succeeded(world.run(&state, input.clone())), input);
        assert_eq!(world.elapsed(), Duration::from_secs(seconds), "{state}");
    }
    for path in [
        json!({ "SecondsPath": "$.at" }),
        json!({ "TimestampPath": "$.for" }),
        json!({ "SecondsPath": "$.no" }),
    ] {
        let state = single(with(json!({ "Type": "Wait" }), path));
        assert_eq!(failed(World::new().run(&state, input.clone())).0, "States.Runtime");
    }
}

#[test]
fn succeed_ends_with_what_it_sees() {
    let state = json!({ "Type": "Succeed", "InputPath": "$.a", "OutputPath": "$.b" });
    assert_eq!(succeeded(World::new().run(&single(state), json!({ "a": { "b": 1 } }))), json!(1));
}

#[test]
fn fail_ends_with_its_error() {
    let input = json!({ "e": "Named", "n": 1, "list": ["x"] });
    for (fields, error, cause) in [
        (json!({}), "", ""),
        (json!({ "Error": "E", "Cause": "c" }), "E", "c"),
        (
            json!({ "ErrorPath": "$.e", "CausePath": "States.Format('{}: {}', $.e, $.n)" }),
            "Named",
            "Named: 1",
        ),
        (
            json!({ "Error": "E", "CausePath": "$.n" }),
            "States.Runtime",
            "the field 'CausePath' gives no string",
        ),
    ] {
        let state = single(with(json!({ "Type": "Fail" }), fields));
        assert_eq!(failed(World::new().run(&state, input.clone())), (error.to_owned(), cause.to_owned()));
    }
}

fn chosen(rule: Value, input: Value) -> String {
    let definition = machine(
        "C",
        json!({
            "C": { "Type": "Choice", "Choices": [with(rule, json!({ "Next": "Yes" }))], "Default": "No" },
            "Yes": { "Type": "Pass", "Result": "yes", "End": true },
            "No": { "Type": "Pass", "Result": "no", "End": true },
        }),
    );
    succeeded(World::new().run(&definition, input)).as_str().unwrap().to_owned()
}

#[test]
fn choice_compares() {
    let input = json!({
        "s": "foo-bar.txt", "n": 5, "big": 9_007_199_254_740_993_i64, "f": 2.5, "t": true, "null": null,
        "at": "2026-01-01T00:00:00Z", "same": "2026-01-01T01:00:00+01:00", "later": "2026-01-01T00:00:01Z",
        "text": "foo-bar.txt", "five": 5.0,
    });
    let cases = [
        ("$.s", "StringEquals", json!("foo-bar.txt"), true),
        ("$.s", "StringEquals", json!("foo"), false),
        ("$.n", "StringEquals", json!("5"), false),
        ("$.s", "StringEqualsPath", json!("$.text"), true),
        ("$.s", "StringLessThan", json!("g"), true),
        ("$.s", "StringGreaterThanEquals", json!("foo-bar.txt"), true),
        ("$.s", "StringGreaterThanPath", json!("$.text"), false),
        ("$.s", "StringMatches", json!("foo*.txt"), true),
        ("$.s", "StringMatches", json!("*bar*"), true),
        ("$.s", "StringMatches", json!("*o*o*t"), true),
        ("$.s", "StringMatches", json!("foo-bar.tx"), false),
        ("$.s", "StringMatches", json!("foo\\*"), false),
        ("$.n", "NumericEquals", json!(5.0), true),
        ("$.n", "NumericEqualsPath", json!("$.five"), true),
        ("$.big", "NumericEquals", json!(9_007_199_254_740_992_i64), false),
        ("$.f", "NumericLessThan", json!(3), true),
        ("$.f", "NumericLessThanEquals", json!(2.5), true),
        ("$.f", "NumericGreaterThan", json!(2.5), false),
        ("$.f", "NumericLessThanPath", json!("$.n"), true),
        ("$.t", "BooleanEquals", json!(true), true),
        ("$.t", "BooleanEquals", json!(false), false),
        ("$.s", "BooleanEquals", json!(true), false),
        ("$.at", "TimestampEquals", json!("2026-01-01T00:00:00.000Z"), true),
        ("$.at", "TimestampEqualsPath", json!("$.same"), true),
        ("$.at", "TimestampLessThanPath", json!("$.later"), true),
        ("$.at", "TimestampGreaterThan", json!("2026-01-01T00:00:00Z"), false),
        ("$.null", "IsNull", json!(true), true),
        ("$.n", "IsNull", json!(false), true),
        ("$.nothing", "IsPresent", json!(false), true),
        ("$.null", "IsPresent", json!(true), true),
        ("$.s", "IsString", json!(true), true),
        ("$.n", "IsNumeric", json!(true), true),
        ("$.t", "IsBoolean", json!(false), false),
        ("$.at", "IsTimestamp", json!(true), true),
        ("$.s", "IsTimestamp", json!(true), false),
        ("$$.State.Name", "StringEquals", json!("C"), true),
    ];
    for (variable, operator, operand, wanted) in cases {
        let rule = json!({ "Variable": variable, operator: operand });
        assert_eq!(chosen(rule.clone(), input.clone()), if wanted { "yes" } else { "no" }, "{rule}");
    }
}

#[test]
fn choice_joins_rules_and_looks_no_further_than_it_must() {
    let (yes, no) =
        (json!({ "Variable": "$.n", "NumericEquals": 1 }), json!({ "Variable": "$.n", "NumericEquals": 2 }));
    let absent = json!({ "Variable": "$.absent", "NumericEquals": 2 });
    let input = json!({ "n": 1 });
    for (rule, wanted) in [
        (json!({ "And": [yes, yes] }), "yes"),
        (json!({ "And": [yes, no] }), "no"),
        (json!({ "Or": [no, yes] }), "yes"),
        (json!({ "Or": [no, no] }), "no"),
        (json!({ "Not": no }), "yes"),
        (json!({ "Not": { "And": [yes, { "Or": [no, yes] }] } }), "no"),
        (json!({ "And": [{ "Variable": "$.absent", "IsPresent": true }, absent] }), "no"),
        (json!({ "Or": [yes, absent] }), "yes"),
    ] {
        assert_eq!(chosen(rule.clone(), input.clone()), wanted, "{rule}");
    }
}

#[test]
fn choice_without_a_match_or_with_an_absent_variable_fails() {
    let definition = |variable: &str| {
        machine(
            "C",
            json!({
                "C": { "Type": "Choice", "Choices": [{ "Variable": variable, "NumericEquals": 1, "Next": "Yes" }] },
                "Yes": { "Type": "Succeed" },
            }),
        )
    };
    assert_eq!(failed(World::new().run(&definition("$.n"), json!({ "n": 2 }))).0, "States.NoChoiceMatched");
    let (error, cause) = failed(World::new().run(&definition("$.m"), json!({ "n": 2 })));
    assert_eq!(error, "States.Runtime");
    assert!(cause.contains("$.m"), "{cause}");
}

#[test]
fn parallel_gives_every_branch_the_same_input_and_keeps_their_order() {
    let world = World::new();
    world.on_async("slow", |payload, world| {
        Box::pin(async move {
            world.sleep(Duration::from_secs(5)).await;
            Ok(payload)
        })
    });
    let branch = |name: &str, state: Value| json!({ "StartAt": name, "States": { name: state } });
    let state = json!({
        "Type": "Parallel",
        "Parameters": { "v.$": "$.n" },
        "Branches": [
            branch("A", function("slow")),
            branch("B", json!({ "Type": "Pass", "Parameters": { "b.$": "$.v" }, "End": true })),
            branch("C", function("slow")),
        ],
        "ResultSelector": { "all.$": "$" },
        "ResultPath": "$.out",
    });
    let output = succeeded(world.run(&single(state), json!({ "n": 1 })));
    assert_eq!(
        output,
        json!({ "n": 1, "out": { "all": [{ "answer": { "v": 1 } }, { "b": 1 }, { "answer": { "v": 1 } }] } })
    );
    assert_eq!(world.elapsed(), Duration::from_secs(5));
}
