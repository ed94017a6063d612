use crate::asl::StateMachine;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Names that definitions are made of, so that random ones get past the first check.
const WORDS: &[&str] = &[
    "StartAt",
    "States",
    "A",
    "Type",
    "Task",
    "Map",
    "Parallel",
    "Pass",
    "Choice",
    "Wait",
    "Succeed",
    "Fail",
    "Next",
    "End",
    "Resource",
    "arn:aws:states:::lambda:invoke",
    "Parameters",
    "FunctionName",
    "x.$",
    "$",
    "$.a",
    "$$.State",
    "States.Format('{}', $.a)",
    "States.ALL",
    "Choices",
    "Default",
    "Variable",
    "StringEquals",
    "And",
    "Not",
    "Retry",
    "Catch",
    "ErrorEquals",
    "Branches",
    "ItemProcessor",
    "ItemReader",
    "MaxConcurrency",
    "ResultPath",
    "InputPath",
    "Seconds",
    "Timestamp",
    "2026-01-01T00:00:00Z",
    "${X}",
    "${",
    "StringMatches",
    "a*\\",
    "TimeoutSeconds",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

fn arbitrary() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn load(text: &str) {
    if let Err(error) = StateMachine::load("m", text, &BTreeMap::from([("X".to_owned(), "x\"\\".to_owned())]))
    {
        assert!(!error.message.is_empty() && error.hint.is_some());
    }
}

proptest! {
    #[test]
    fn loading_never_panics_on_json(value in arbitrary()) {
        load(&value.to_string());
    }

    #[test]
    fn loading_never_panics_on_states(fields in arbitrary(), kind in 0..8_usize) {
        let types = ["Task", "Map", "Parallel", "Pass", "Choice", "Wait", "Succeed", "Fail"];
        let mut state = fields;
        if let Value::Object(fields) = &mut state {
            fields.insert("Type".to_owned(), json!(types[kind]));
        }
        load(&json!({ "StartAt": "A", "States": { "A": state } }).to_string());
    }

    #[test]
    fn loading_never_panics_on_expressions(text in "[$.\\[\\]'a-zü0-9:*?@(), {}\\\\-]{0,24}", call in "(States\\.)?[A-Za-z]{0,14}") {
        for text in [text.clone(), format!("${text}"), format!("{call}({text})"), format!("States.Format('{text}', {text})")] {
            load(&json!({ "StartAt": "A", "States": { "A": { "Type": "Pass", "Parameters": { "x.$": text }, "End": true } } }).to_string());
        }
    }

    #[test]
    fn loading_never_panics_on_text(text in any::<String>()) {
        load(&text);
    }
}
