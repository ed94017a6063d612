use super::world::*;
use crate::asl::{StateMachine, TaskReference};
use holdfast_vault::Code;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The message and the hint of the refusal, joined.
#[track_caller]
fn refused(text: &str) -> String {
    let error = StateMachine::load("backup", text, &BTreeMap::new()).expect_err("it was accepted");
    assert_eq!(error.code, Code::InvalidInput);
    format!("{} -- {}", error.message, error.hint.unwrap())
}

/// A refusal that names the machine, the state S and these words.
#[track_caller]
fn refuses(definition: &Value, words: &[&str]) {
    let message = refused(&definition.to_string());
    for word in words.iter().chain(&["state machine backup"]) {
        assert!(message.contains(word), "{message}\n  does not say {word:?}");
    }
}

fn task() -> Value {
    json!({ "Type": "Task", "Resource": LAMBDA, "Parameters": { "FunctionName": "f" } })
}

fn map() -> Value {
    json!({ "Type": "Map", "ItemProcessor": { "StartAt": "P", "States": { "P": { "Type": "Pass", "End": true } } } })
}

fn distributed() -> Value {
    let mut map = with(map(), json!({ "MaxConcurrency": 2 }));
    map["ItemProcessor"]["ProcessorConfig"] = json!({ "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" });
    map["ItemReader"] = json!({
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": { "InputType": "JSONL" },
        "Parameters": { "Bucket": "b", "Key": "k" },
    });
    map
}

#[test]
fn unknown_fields_are_refused_everywhere_and_named() {
    refuses(
        &with(single(task()), json!({ "Start": "S" })),
        &["field \"Start\"", "known here: QueryLanguage, StartAt"],
    );
    let rule = json!({ "Variable": "$.a", "IsNull": true, "Next": "S", "Nxt": 1 });
    for (state, field) in [
        (with(task(), json!({ "Retries": [] })), "Retries"),
        (with(task(), json!({ "Assign": {} })), "Assign"),
        (with(task(), json!({ "Credentials": {} })), "Credentials"),
        (with(task(), json!({ "Retry": [{ "ErrorEquals": ["A"], "Interval": 1 }] })), "Retry[0].Interval"),
        (
            with(task(), json!({ "Catch": [{ "ErrorEquals": ["A"], "Next": "S", "Goto": "S" }] })),
            "Catch[0].Goto",
        ),
        (with(map(), json!({ "Iterator": {} })), "Iterator"),
        (with(map(), json!({ "Parameters": {} })), "Parameters"),
        (with(map(), json!({ "ItemBatcher": {} })), "ItemBatcher"),
        (with(distributed(), json!({ "ResultWriter": {} })), "ResultWriter"),
        (with(distributed(), json!({ "ItemReader": { "MaxItems": 1 } })), "ItemReader.MaxItems"),
        (
            json!({ "Type": "Parallel", "Branches": [{ "StartAt": "A", "States": {}, "Next": "B" }] }),
            "Branches[0].Next",
        ),
        (json!({ "Type": "Pass", "Retry": [] }), "Retry"),
        (json!({ "Type": "Wait", "Second": 1 }), "Second"),
        (json!({ "Type": "Succeed", "End": true }), "End"),
        (json!({ "Type": "Fail", "OutputPath": "$" }), "OutputPath"),
        (json!({ "Type": "Choice", "Choices": [], "Next": "S" }), "Next"),
    ] {
        refuses(&single(state), &["state \"S\"", &format!("field \"{field}\""), "known here"]);
    }
    refuses(&single(json!({ "Type": "Choice", "Choices": [rule] })), &["Choices[0]", "has 2 operators"]);
}

#[test]
fn what_is_not_supported_is_refused_with_what_is() {
    let parameters = |value: &str| json!({ "Type": "Pass", "Parameters": { "x.$": value } });
    for (state, words) in [
        (json!({ "Type": "Loop" }), ["'Loop' is no type", "Task, Map, Parallel"]),
        (
            with(task(), json!({ "Resource": "arn:aws:lambda:eu-west-1:1:function:f" })),
            ["Resource", "lambda:invoke"],
        ),
        (
            with(task(), json!({ "Resource": "arn:aws:states:::states:startExecution.sync:2" })),
            ["Resource", "without waiting"],
        ),
        (
            with(task(), json!({ "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken" })),
            ["Resource", "without waiting"],
        ),
        (
            with(task(), json!({ "Resource": "arn:aws:states:::batch:submitJob" })),
            ["batch:submitJob", "aws-sdk"],
        ),
        (with(task(), json!({ "Parameters": {} })), ["Parameters.FunctionName", "is missing"]),
        (
            with(task(), json!({ "Parameters": { "FunctionName": "f", "Qualifier": "1" } })),
            ["Parameters.Qualifier", "and Payload"],
        ),
        (parameters("$..a"), ["Parameters.x.$", "'..' is not supported"]),
        (parameters("$.a[?(@.b)]"), ["Parameters.x.$", "filters"]),
        (parameters("$.a[0,1]"), ["Parameters.x.$", "unions"]),
        (parameters("$['a','b']"), ["Parameters.x.$", "unions"]),
        (parameters("$.a.length()"), ["Parameters.x.$", "States.ArrayLength"]),
        (parameters("$.a[-1]"), ["Parameters.x.$", "a number from 0"]),
        (parameters("$.a b"), ["Parameters.x.$", "['name']"]),
        (parameters("$$.Task.Token"), ["Parameters.x.$", "not in the context object"]),
        (parameters("$$.Map.Item.Value"), ["Parameters.x.$", "no map item"]),
        (parameters("a"), ["Parameters.x.$", "drop the '.$'"]),
        (parameters("States.Hash('a', 'MD5')"), ["'States.Hash'", "supported: States.Array,"]),
        (parameters("States.Format('{} {}', $.a)"), ["States.Format", "2 '{}' for 1"]),
        (parameters("States.MathAdd(1)"), ["States.MathAdd", "takes 2"]),
        (parameters("States.UUID"), ["States.UUID", "parenthesis"]),
        (parameters("States.Array(a)"), ["'a' is no argument", "a path"]),
        (parameters("States.Array('a)"), ["quote", "a call is"]),
        (json!({ "Type": "Pass", "Parameters": { "x.$": 1 } }), ["Parameters.x.$", "takes a string"]),
        (json!({ "Type": "Pass", "Parameters": { "x.$": "$", "x": 1 } }), ["side by side", "keep one"]),
        (json!({ "Type": "Pass", "ResultPath": "$.a[*]" }), ["ResultPath", "more than one node"]),
        (json!({ "Type": "Pass", "ResultPath": "$$.State" }), ["ResultPath", "context object"]),
        (json!({ "Type": "Pass", "InputPath": 1 }), ["InputPath", "a number"]),
    ] {
        refuses(&single(state), &["state \"S\"", words[0], words[1]]);
    }
}

#[test]
fn values_of_tasks_and_machines_must_fit() {
    let retry =
        |fields: Value| with(task(), json!({ "Retry": [with(json!({ "ErrorEquals": ["A"] }), fields)] }));
    for (state, words) in [
        (with(task(), json!({ "TimeoutSeconds": 0 })), ["TimeoutSeconds", "from 1 to"]),
        (with(task(), json!({ "TimeoutSeconds": "5" })), ["TimeoutSeconds", "whole number"]),
        (
            with(task(), json!({ "TimeoutSeconds": 5, "TimeoutSecondsPath": "$.t" })),
            ["TimeoutSecondsPath", "keep one"],
        ),
        (
            with(task(), json!({ "TimeoutSeconds": 5, "HeartbeatSeconds": 5 })),
            ["HeartbeatSeconds", "smaller"],
        ),
        (retry(json!({ "IntervalSeconds": 0 })), ["Retry[0].IntervalSeconds", "from 1 to"]),
        (retry(json!({ "BackoffRate": 0.5 })), ["Retry[0].BackoffRate", "at least 1.0"]),
        (retry(json!({ "MaxAttempts": -1 })), ["Retry[0].MaxAttempts", "from 0 to"]),
        (
            retry(json!({ "IntervalSeconds": 9, "MaxDelaySeconds": 9 })),
            ["Retry[0].MaxDelaySeconds", "greater"],
        ),
        (retry(json!({ "JitterStrategy": "HALF" })), ["Retry[0].JitterStrategy", "FULL or NONE"]),
        (retry(json!({ "ErrorEquals": [] })), ["Retry[0].ErrorEquals", "empty"]),
        (
            retry(json!({ "ErrorEquals": ["States.Unknown"] })),
            ["Retry[0].ErrorEquals[0]", "States.TaskFailed"],
        ),
        (retry(json!({ "ErrorEquals": ["States.ALL", "A"] })), ["Retry[0].ErrorEquals", "stands alone"]),
    ] {
        refuses(&single(state), &["state \"S\"", words[0], words[1]]);
    }
    let all_first = json!([{ "ErrorEquals": ["States.ALL"] }, { "ErrorEquals": ["A"] }]);
    refuses(&single(with(task(), json!({ "Retry": all_first }))), &["Retry[0].ErrorEquals", "last entry"]);
    refuses(&with(single(task()), json!({ "Version": "2.0" })), &["Version", "1.0"]);
    refuses(&with(single(task()), json!({ "QueryLanguage": "JSONata" })), &["QueryLanguage", "JSONPath"]);
}

#[test]
fn values_of_waits_and_choices_must_fit() {
    let choice = |rule: Value| json!({ "Type": "Choice", "Choices": [with(rule, json!({ "Next": "S" }))] });
    for (state, words) in [
        (json!({ "Type": "Wait", "Seconds": -1 }), ["Seconds", "whole number"]),
        (json!({ "Type": "Wait" }), ["how long", "exactly one"]),
        (json!({ "Type": "Wait", "Seconds": 1, "SecondsPath": "$.s" }), ["how long", "exactly one"]),
        (json!({ "Type": "Wait", "Timestamp": "tomorrow" }), ["Timestamp", "RFC 3339"]),
        (json!({ "Type": "Fail", "Error": "E", "ErrorPath": "$.e" }), ["ErrorPath", "keep one"]),
        (json!({ "Type": "Choice", "Choices": [] }), ["Choices", "at least one"]),
        (choice(json!({ "Variable": "$.a", "StringEquals": 1 })), ["Choices[0].StringEquals", "a string"]),
        (
            choice(json!({ "Variable": "$.a", "NumericEqualsPath": 1 })),
            ["Choices[0].NumericEqualsPath", "a path"],
        ),
        (
            choice(json!({ "Variable": "$.a", "BooleanLessThan": true })),
            ["BooleanLessThan", "is no operator"],
        ),
        (choice(json!({ "Variable": "$.a", "TimestampEquals": "now" })), ["TimestampEquals", "2026-01-31"]),
        (choice(json!({ "Variable": "$.a", "StringMatches": "\\" })), ["StringMatches", "lone"]),
        (choice(json!({ "StringEquals": "a" })), ["Choices[0].Variable", "is missing"]),
        (choice(json!({ "And": [] })), ["Choices[0].And", "at least one"]),
        (
            choice(json!({ "Not": { "And": [{ "Variable": "a", "IsNull": true }] } })),
            ["Not.And[0].Variable", "begins with $"],
        ),
    ] {
        refuses(&single(state), &["state \"S\"", words[0], words[1]]);
    }
}

#[test]
fn values_of_maps_must_fit() {
    for (state, words) in [
        (without(distributed(), "MaxConcurrency"), ["MaxConcurrency", "10,000"]),
        (with(distributed(), json!({ "MaxConcurrency": 0 })), ["MaxConcurrency", "from 1 to"]),
        (
            with(distributed(), json!({ "ToleratedFailurePercentage": 101 })),
            ["ToleratedFailurePercentage", "0 to 100"],
        ),
        (with(distributed(), json!({ "ItemsPath": "$.a" })), ["ItemsPath", "beside ItemReader"]),
        (with(distributed(), json!({ "Label": "a label" })), ["Label", "letters and digits"]),
        (with(map(), json!({ "ToleratedFailureCount": 1 })), ["ToleratedFailureCount", "DISTRIBUTED"]),
        (with(map(), json!({ "ItemReader": {} })), ["ItemReader", "DISTRIBUTED"]),
    ] {
        refuses(&single(state), &["state \"S\"", words[0], words[1]]);
    }
    for (at, value, words) in [
        ("/ItemReader/ReaderConfig/InputType", json!("CSV"), ["InputType", "JSONL"]),
        ("/ItemReader/Resource", json!("arn:aws:states:::s3:listObjectsV2"), ["Resource", "s3:getObject"]),
        ("/ItemReader/Parameters", json!({ "Bucket": "b" }), ["ItemReader.Parameters", "Key"]),
        ("/ItemProcessor/ProcessorConfig", json!({ "Mode": "DISTRIBUTED" }), ["ExecutionType", "STANDARD"]),
        ("/ItemProcessor/ProcessorConfig", json!({ "Mode": "OTHER" }), ["Mode", "INLINE or DISTRIBUTED"]),
    ] {
        let mut state = distributed();
        *state.pointer_mut(at).unwrap() = value;
        refuses(&single(state), &["state \"S\"", words[0], words[1]]);
    }
}

#[test]
fn a_map_item_is_known_only_where_there_is_one() {
    let pass = json!({ "P": { "Type": "Pass", "InputPath": "$$.Map.Item.Value", "End": true } });
    let mut inside = map();
    inside["ItemProcessor"]["States"] = pass.clone();
    load(&single(inside));
    load(&single(with(distributed(), json!({ "ItemSelector": { "v.$": "$$.Map.Item.Value" } }))));
    let mut child = distributed();
    child["ItemProcessor"]["States"] = pass;
    refuses(&single(child), &["state \"P\"", "InputPath", "no map item"]);
    refuses(&single(with(map(), json!({ "ItemsPath": "$$.Map.Item.Value" }))), &["ItemsPath", "no map item"]);
}

#[test]
fn states_must_hang_together() {
    let end = json!({ "Type": "Succeed" });
    let next = |name: &str| json!({ "Type": "Pass", "Next": name });
    let catch = with(task(), json!({ "End": true, "Catch": [{ "ErrorEquals": ["A"], "Next": "X" }] }));
    let choice = json!({ "Type": "Choice", "Default": "X", "Choices": [{ "Variable": "$.a", "IsNull": true, "Next": "B" }] });
    for (start, states, words) in [
        ("X", json!({ "A": end }), ["StartAt", "no state 'X'", "states here: A"]),
        ("A", json!({ "A": next("X") }), ["state \"A\", field \"Next\"", "no state 'X'", "states here: A"]),
        (
            "A",
            json!({ "A": catch }),
            ["state \"A\", field \"Catch[0].Next\"", "no state 'X'", "states here: A"],
        ),
        ("A", json!({ "A": choice, "B": end }), ["state \"A\", field \"Default\"", "no state 'X'", "A, B"]),
        ("A", json!({ "A": end, "B": end }), ["state \"B\"", "never reached", "remove it"]),
        (
            "A",
            json!({ "A": next("B"), "B": next("A") }),
            ["States", "no state is the last one", "\"End\": true"],
        ),
        ("A", json!({ "A": { "Type": "Pass" } }), ["state \"A\"", "leads nowhere", "either"]),
        (
            "A",
            json!({ "A": { "Type": "Pass", "Next": "A", "End": true } }),
            ["state \"A\"", "leads nowhere", "either"],
        ),
        ("A", json!({ "A": { "Type": "Pass", "End": false } }), ["state \"A\"", "leads nowhere", "either"]),
        ("A", json!({}), ["StartAt", "no state 'A'", "states here"]),
    ] {
        refuses(&machine(start, states), &words);
    }
    let mut inside = map();
    inside["ItemProcessor"]["States"]["P"] = next("S");
    refuses(&single(inside.clone()), &["state \"P\"", "no state 'S' beside it"]);
    inside["ItemProcessor"] = json!({ "StartAt": "S", "States": { "S": end } });
    refuses(&single(inside), &["state \"S\"", "used twice"]);
    refuses(&machine("A", json!({ "A": end, "B".repeat(81): end })), &["1 to 80"]);
}

#[test]
fn text_that_is_no_definition_is_refused() {
    assert!(refused("{").contains("is not valid JSON"));
    assert!(refused("[]").contains("is an array"));
    assert!(refused("{\"States\": {}}").contains("field \"StartAt\": is missing"));
    let twice = r#"{"StartAt": "A", "States": {"A": {"Type": "Succeed"}, "A": {"Type": "Fail"}}}"#;
    assert!(refused(twice).contains("the key \"A\" stands twice"));
    assert!(refused(r#"{"StartAt": "A", "States": {"A": 1}}"#).contains("state \"A\""));
    assert!(refused(r#"{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}} x"#).contains("trailing"));
}

#[test]
fn placeholders_are_filled_and_a_missing_one_is_refused() {
    let text = r#"{"StartAt": "S", "TimeoutSeconds": ${Limit}, "States": {"S": {"Type": "Pass", "End": true,
        "Result": "a ${Name} ${A::B}", "Comment": "${Name}"}}}"#;
    let mut values: BTreeMap<String, String> = [("Limit", "60"), ("Name", "quote \" and \\"), ("A::B", "c")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    let machine = StateMachine::load("m", text, &values).unwrap();
    let world = World::new();
    let outcome =
        world.block_on(world.interpreter(crate::asl::Options::default()).run(&machine, "e1", json!({})));
    assert_eq!(succeeded(outcome), json!("a quote \" and \\ c"));

    values.remove("A::B");
    let error = StateMachine::load("m", text, &values).unwrap_err();
    assert!(error.message.contains("${A::B}"), "{error}");
    assert_eq!(error.object.as_deref(), Some("A::B"));
    for text in ["{\"a\": \"${\"}", "${}", "${a b}", "${a"] {
        assert!(refused(text).contains("opens no placeholder"));
    }
}

#[test]
fn a_machine_tells_what_it_calls() {
    let mut map = map();
    map["ItemProcessor"]["States"]["P"] = with(task(), json!({ "End": true }));
    let service = json!({ "Type": "Task", "Resource": "arn:aws:states:::sns:publish", "Next": "M" });
    let computed =
        json!({ "Type": "Task", "Resource": LAMBDA, "Parameters": { "FunctionName.$": "$.f" }, "Next": "T" });
    let definition =
        machine("F", json!({ "F": computed, "T": service, "M": with(map, json!({ "End": true })) }));
    let mut tasks = load(&definition).tasks();
    tasks.sort_by(|a, b| a.state.cmp(&b.state));
    let reference = |state: &str, resource: &str, function: Option<&str>| TaskReference {
        state: state.to_owned(),
        resource: resource.to_owned(),
        function: function.map(str::to_owned),
    };
    assert_eq!(
        tasks,
        [
            reference("F", LAMBDA, None),
            reference("P", LAMBDA, Some("f")),
            reference("T", "arn:aws:states:::sns:publish", None),
        ]
    );
}
