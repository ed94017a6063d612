//! The state machines against the code that they call: names, retries, limits, and a way out of every failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use holdfast_local::asl::StateMachine;
use holdfast_local::functions::substitutions;
use holdfast_tests::{cloud, tiny_limits};
use holdfast_vault::error::Code;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const INVOKE: &str = "arn:aws:states:::lambda:invoke";
const PUBLISH: &str = "arn:aws:states:::sns:publish";
const ALL: &str = "States.ALL";

/// What a failing Lambda service raises, and what a repeat of an idempotent handler cures.
const SERVICE_ERRORS: &[&str] = &[
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "States.Timeout",
];

/// Retryable codes that no state machine retries.
const NOT_RETRIED: &[Code] = &[
    // The same step would read what changed against the plan that was made before: only a new backup has a new plan.
    // Where a repeat helps, as for an object that is replaced while it is read, the connector has repeated it already.
    Code::SourceChanged,
    // Raised where a home is opened, by the command line; no handler opens one.
    Code::HomeInUse,
];

/// The ports that every handler works with.
const STORAGE_AND_STATE: &[Code] =
    &[Code::StorageThrottled, Code::StorageUnavailable, Code::StateUnavailable, Code::StateConflict];
const SOURCE: &[Code] = &[Code::SourceThrottled, Code::SourceUnavailable];
const TARGET: &[Code] = &[Code::TargetThrottled, Code::TargetUnavailable];
/// Another attempt at the same step may have admitted it and cleared its staging: the repeat finds it admitted.
const STAGING: &[Code] = &[Code::StagingDamaged];

/// What each function may raise and a repeat may cure, beside `STORAGE_AND_STATE`.
const RETRYABLE: &[(&str, &[&[Code]])] = &[
    ("${PlanFunctionArn}", &[SOURCE]),
    ("${ExportChunkFunctionArn}", &[SOURCE]),
    ("${UploadPartFunctionArn}", &[STAGING]),
    ("${CommitFunctionArn}", &[]),
    ("${VerifyFunctionArn}", &[]),
    ("${PruneFunctionArn}", &[]),
    ("${RestoreFunctionArn}", &[TARGET]),
    ("${DrillFunctionArn}", &[SOURCE, TARGET]),
    ("${FailFunctionArn}", &[TARGET]),
    ("${UndoFunctionArn}", &[TARGET, STAGING]),
    ("${CaptureFunctionArn}", &[]),
    ("${NativeRestoreFunctionArn}", &[SOURCE, TARGET]),
    ("${RestoreTestFunctionArn}", &[SOURCE, TARGET]),
    ("${ValidateRecoveryPointsFunctionArn}", &[SOURCE]),
];

/// Steps that a failure leads to where it is theirs to tell what is left, or whoever waits for an answer.
const TELLING: &[(&str, &str)] = &[
    ("${NativeRestoreFunctionArn}", "abandon"),
    ("${PruneFunctionArn}", "abandon"),
    ("${RestoreTestFunctionArn}", "answer"),
];

struct Machine {
    name: String,
    text: String,
    definition: Value,
}

/// A state, where it stands, and whether that is inside a Map.
struct State<'a> {
    label: String,
    fields: &'a Map<String, Value>,
    in_map: bool,
}

impl<'a> State<'a> {
    fn is(&self, kind: &str) -> bool {
        self.fields["Type"] == kind
    }

    fn resource(&self) -> Option<&'a str> {
        self.fields.get("Resource")?.as_str()
    }

    fn list(&self, field: &str) -> &'a [Value] {
        self.fields.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The names of every `ErrorEquals` of a field.
    fn errors(&self, field: &str) -> BTreeSet<&'a str> {
        let names = self.list(field).iter().flat_map(|rule| rule["ErrorEquals"].as_array().unwrap());
        names.map(|name| name.as_str().unwrap()).collect()
    }

    /// Where a failure of any name goes.
    fn catch_all(&self) -> Option<&'a str> {
        let rule = self.list("Catch").iter().find(|rule| rule["ErrorEquals"] == serde_json::json!([ALL]))?;
        rule["Next"].as_str()
    }
}

impl Machine {
    fn states(&self) -> Vec<State<'_>> {
        let mut states = Vec::new();
        collect(&self.name, &self.definition, false, &mut states);
        assert!(states.len() > 2, "{} has states", self.name);
        states
    }

    fn state(&self, name: &str) -> State<'_> {
        let label = format!("{}: {name}", self.name);
        self.states()
            .into_iter()
            .find(|state| state.label == label)
            .unwrap_or_else(|| panic!("no state {label}"))
    }

    fn placeholders(&self) -> BTreeSet<String> {
        let after = self.text.split("${").skip(1);
        after.map(|rest| rest.split_once('}').expect("a placeholder ends").0.to_owned()).collect()
    }
}

fn collect<'a>(path: &str, graph: &'a Value, in_map: bool, into: &mut Vec<State<'a>>) {
    for (name, state) in graph["States"].as_object().unwrap() {
        let label = format!("{path}: {name}");
        if let Some(processor) = state.get("ItemProcessor") {
            collect(&label, processor, true, into);
        }
        for branch in state.get("Branches").and_then(Value::as_array).into_iter().flatten() {
            collect(&label, branch, in_map, into);
        }
        into.push(State { label, fields: state.as_object().unwrap(), in_map });
    }
}

fn machines() -> Vec<Machine> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/statemachines");
    let mut machines = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".asl.json") else { panic!("{file} is no state machine") };
        let text = fs::read_to_string(&path).unwrap();
        machines.push(Machine {
            name: name.to_owned(),
            definition: serde_json::from_str(&text).unwrap(),
            text,
        });
    }
    machines.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(machines.len() >= 2, "the machines of backup and restore are there");
    machines
}

/// Calls `broken` with every state that is asked for, and fails with all that it says.
fn check<'a>(
    machines: &'a [Machine],
    rule: &str,
    broken: impl Fn(&'a Machine, &State<'a>) -> Option<String>,
) {
    let mut found = Vec::new();
    for machine in machines {
        for state in machine.states() {
            found.extend(broken(machine, &state).map(|why| format!("{}: {why}", state.label)));
        }
    }
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_placeholder_has_a_value_and_every_value_a_placeholder() {
    let used: BTreeSet<String> = machines().iter().flat_map(Machine::placeholders).collect();
    let known: BTreeSet<String> = substitutions().into_keys().collect();
    assert_eq!(
        used, known,
        "infra/statemachines (left) and holdfast_local::functions::substitutions (right)"
    );
}

#[test]
fn every_machine_loads_in_the_embedded_cloud() {
    for machine in machines() {
        let loaded = StateMachine::load(&machine.name, &machine.text, &substitutions());
        assert!(loaded.is_ok(), "{}: {loaded:?}", machine.name);
    }
}

#[tokio::test]
async fn every_function_that_is_called_exists_and_every_function_is_called() {
    let home = tempfile::tempdir().unwrap();
    let cloud = cloud(&home.path().join("home"), tiny_limits()).await;
    let mut called = BTreeSet::new();
    for machine in machines() {
        for task in StateMachine::load(&machine.name, &machine.text, &substitutions()).unwrap().tasks() {
            match task.resource.as_str() {
                INVOKE => {
                    let function = task
                        .function
                        .unwrap_or_else(|| panic!("{}: {} computes its function", machine.name, task.state));
                    let refusal = cloud.functions().invoke(&function, Value::Null).await.unwrap_err();
                    assert_eq!(
                        refusal.code,
                        Code::InvalidInput,
                        "{function} is known and refuses no event: {refusal}"
                    );
                    called.insert(function);
                }
                PUBLISH => {}
                other => panic!("{}: {} calls {other}, which nothing here answers", machine.name, task.state),
            }
        }
    }
    // A table's stream, CloudFormation, a schedule, EventBridge and the HTTP API call these.
    let others = ["capture", "setup", "dispatch", "validate-restore", "api"];
    called.extend(others.map(str::to_owned));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let crates = entries
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(called, crates.collect(), "what is called (left) and the crates of functions/ (right)");
}

#[test]
fn every_custom_error_is_a_code() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    check(&machines(), "errors are States.*, Lambda.* or a code of holdfast_vault::error", |_, state| {
        let custom = |name: &&str| !name.starts_with("States.") && !name.starts_with("Lambda.");
        let named = state.errors("Retry").into_iter().chain(state.errors("Catch")).filter(custom);
        let unknown: Vec<&str> = named.filter(|name| !codes.contains(name)).collect();
        (!unknown.is_empty()).then(|| unknown.join(", "))
    });
}

#[test]
fn what_a_repeat_cannot_cure_is_not_repeated() {
    check(&machines(), "a code in a Retry is retryable", |_, state| {
        let fixed = Code::ALL.iter().filter(|code| !code.retryable() || NOT_RETRIED.contains(code));
        let retried = state.errors("Retry");
        let wrong: Vec<&str> =
            fixed.map(|code| code.as_str()).filter(|name| retried.contains(name)).collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    });
}

#[test]
fn every_retryable_code_is_retried_somewhere() {
    let machines = machines();
    let retried: BTreeSet<&str> =
        machines.iter().flat_map(Machine::states).flat_map(|state| state.errors("Retry")).collect();
    let wanted = Code::ALL.iter().filter(|code| code.retryable() && !NOT_RETRIED.contains(code));
    let missing: Vec<&str> =
        wanted.map(|code| code.as_str()).filter(|name| !retried.contains(name)).collect();
    assert!(missing.is_empty(), "retry {missing:?}, or say in NOT_RETRIED why not");
}

#[test]
fn every_call_retries_what_its_function_may_raise() {
    check(&machines(), "a call of a function retries what a repeat may cure", |_, state| {
        if state.resource() != Some(INVOKE) {
            return None;
        }
        let function = state.fields["Parameters"]["FunctionName"].as_str().unwrap();
        let Some((_, own)) = RETRYABLE.iter().find(|(name, _)| *name == function) else {
            return Some(format!("{function} is new: say in RETRYABLE what it may raise"));
        };
        let codes = own.iter().copied().flatten().chain(STORAGE_AND_STATE).map(|code| code.as_str());
        let retried = state.errors("Retry");
        let missing: Vec<&str> =
            codes.chain(SERVICE_ERRORS.iter().copied()).filter(|name| !retried.contains(name)).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    });
}

#[test]
fn retries_are_spread_and_end() {
    check(&machines(), "a Retry has an end, grows and is spread by chance", |_, state| {
        let bounded = |rule: &Value| {
            rule["MaxAttempts"].as_u64().is_some_and(|attempts| (1..=10).contains(&attempts))
                && rule["BackoffRate"].as_f64().is_some_and(|rate| rate > 1.0)
                && rule["JitterStrategy"] == "FULL"
        };
        (!state.list("Retry").iter().all(bounded)).then(|| "a Retry without".to_owned())
    });
}

#[test]
fn everything_has_a_time_limit() {
    let machines = machines();
    for machine in &machines {
        assert!(machine.definition["TimeoutSeconds"].is_u64(), "{} has TimeoutSeconds", machine.name);
    }
    check(&machines, "every Task has TimeoutSeconds, a function's no more than Lambda gives", |_, state| {
        let limit = state.fields.get("TimeoutSeconds").and_then(Value::as_u64);
        (state.is("Task") && !limit.is_some_and(|seconds| (1..=900).contains(&seconds)))
            .then(|| format!("{limit:?}"))
    });
}

#[test]
fn every_map_is_bounded_and_tolerates_no_failure() {
    check(
        &machines(),
        "a Map is distributed, with MaxConcurrency and ToleratedFailurePercentage 0",
        |_, state| {
            let fields = state.fields;
            let holds = !state.is("Map")
                || (fields["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
                    && fields.get("MaxConcurrency").and_then(Value::as_u64).is_some_and(|most| most > 0)
                    && fields.get("ToleratedFailurePercentage").and_then(Value::as_u64) == Some(0)
                    && !fields.contains_key("ToleratedFailureCount"));
            (!holds).then(|| "it is not".to_owned())
        },
    );
}

#[test]
fn a_failure_inside_a_map_ends_the_map() {
    check(&machines(), "no state of a Map catches: the Map's own Catch does", |_, state| {
        (state.in_map && !state.list("Catch").is_empty()).then(|| "it catches".to_owned())
    });
}

/// A call that fails leads to the function `fail`, to a step that tells of it, or to a notification where nothing is left
/// to undo.
#[test]
fn every_failure_is_answered() {
    let machines = machines();
    check(&machines, "a Catch of States.ALL leads to `fail` or to a notification", |machine, state| {
        let works = state.is("Map") || state.resource() == Some(INVOKE);
        if !works || state.in_map {
            return None;
        }
        let Some(next) = state.catch_all() else { return Some("nothing catches States.ALL".to_owned()) };
        let next = machine.state(next);
        let called = &next.fields.get("Parameters").unwrap_or(&Value::Null);
        let tells = TELLING.iter().any(|(function, step)| {
            called["FunctionName"] == *function && called["Payload"]["step"] == *step
        });
        let fails = called["FunctionName"] == "${FailFunctionArn}" || tells;
        (!fails && next.resource() != Some(PUBLISH)).then(|| format!("it leads to {}", next.label))
    });
}

/// `States.ALL` does not hold it, and a Map whose items give too much ends with it.
#[test]
fn every_map_catches_too_much_data() {
    check(&machines(), "a Map catches States.DataLimitExceeded by its name", |_, state| {
        let caught = state.errors("Catch").contains("States.DataLimitExceeded");
        (state.is("Map") && !caught).then(|| "it does not".to_owned())
    });
}

#[test]
fn a_notification_that_is_lost_changes_nothing() {
    check(&machines(), "a notification that fails goes on where one that is sent does", |_, state| {
        let goes_on = state.fields.get("Next").and_then(Value::as_str);
        let lost = state.resource() == Some(PUBLISH) && (goes_on.is_none() || state.catch_all() != goes_on);
        lost.then(|| format!("{:?} is not {goes_on:?}", state.catch_all()))
    });
}

#[test]
fn after_fail_an_execution_fails() {
    let machines = machines();
    check(&machines, "what follows `fail` ends in a Fail state", |machine, state| {
        if state.resource() != Some(INVOKE)
            || state.fields["Parameters"]["FunctionName"] != "${FailFunctionArn}"
        {
            return None;
        }
        let after = [state.fields["Next"].as_str(), state.catch_all()];
        // CloudFormation hears of it, and the throw-away table goes, before such an execution fails.
        if after == [Some("Answer"); 2] {
            return None;
        }
        let wrong = after.into_iter().flatten().find(|name| {
            let notification = machine.state(name);
            let ends = [notification.fields["Next"].as_str(), notification.catch_all()];
            ends.iter().any(|end| !end.is_some_and(|end| machine.state(end).is("Fail")))
        });
        wrong.map(|name| format!("after {name} it goes on"))
    });
}
