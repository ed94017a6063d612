use super::world::*;
use crate::asl::{ExecutionOutcome, Options};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn aborted() -> ExecutionOutcome {
    ExecutionOutcome::Aborted { error: "Cancelled".to_owned(), cause: "the operator said so".to_owned() }
}

/// Runs a machine, and stops it after ten seconds.
fn stopped(world: &Arc<World>, definition: &Value, input: Value) -> ExecutionOutcome {
    let machine = load(definition);
    let interpreter = world.interpreter(Options::default());
    world.block_on(async {
        let execution = interpreter.start(&machine, "e1", input);
        world.sleep(Duration::from_secs(10)).await;
        execution.stop("Cancelled", "the operator said so");
        execution.stop("Late", "a second reason does not count");
        execution.outcome().await
    })
}

#[test]
fn a_stop_ends_a_wait_a_call_and_a_retry() {
    let forever = |world: &Arc<World>| {
        world.on_async("hang", |_, _| Box::pin(std::future::pending()));
        world.on("fail", |_| failure("Busy"));
    };
    let retry = json!([{ "ErrorEquals": ["States.ALL"], "IntervalSeconds": 3600 }]);
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Done" }]);
    let done = json!({ "Type": "Succeed" });
    for state in [
        with(function("hang"), json!({ "Catch": catch, "Retry": [{ "ErrorEquals": ["States.ALL"] }] })),
        with(function("fail"), json!({ "Catch": catch, "Retry": retry })),
    ] {
        let world = World::new();
        forever(&world);
        let definition = machine("Go", json!({ "Go": state, "Done": done }));
        assert_eq!(stopped(&world, &definition, json!({})), aborted());
        assert_eq!(world.elapsed(), Duration::from_secs(10));
        assert_eq!(world.called().len(), 1);
    }
    let world = World::new();
    assert_eq!(stopped(&world, &single(json!({ "Type": "Wait", "Seconds": 3600 })), json!({})), aborted());
    assert_eq!(world.elapsed(), Duration::from_secs(10));
    assert_eq!(*world.journal.lock().unwrap(), ["start m/e1", "enter S Wait", "end aborted"]);
}

/// Counts the calls that are under way.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stop_reaches_every_child_before_the_execution_ends() {
    let world = World::new();
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    world.on_async("hang", move |_, _| {
        let running = Running::new(&count);
        Box::pin(async move {
            let _running = running;
            std::future::pending().await
        })
    });
    let inner = json!({
        "Type": "Parallel",
        "Branches": [
            { "StartAt": "A", "States": { "A": function("hang") } },
            { "StartAt": "B", "States": { "B": function("hang") } },
        ],
        "End": true,
    });
    let definition = single(json!({
        "Type": "Map", "ItemProcessor": { "StartAt": "P", "States": { "P": inner } },
    }));
    assert_eq!(stopped(&world, &definition, json!([1, 2, 3])), aborted());
    assert_eq!(world.called().len(), 6);
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[test]
fn a_stop_ends_states_that_never_wait() {
    let world = World::new();
    let definition = machine(
        "Spin",
        json!({
            "Spin": { "Type": "Choice", "Default": "Spin", "Choices": [
                { "Variable": "$.never", "IsPresent": true, "Next": "Done" },
            ] },
            "Done": { "Type": "Succeed" },
        }),
    );
    let machine = load(&definition);
    let options = Options { history_limit: u64::MAX, ..Options::default() };
    let interpreter = world.interpreter(options);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(async {
        let execution = interpreter.start(&machine, "e1", json!({}));
        tokio::task::yield_now().await;
        execution.stopper().stop("Cancelled", "the operator said so");
        execution.outcome().await
    });
    assert_eq!(outcome, aborted());
}

#[test]
fn a_stop_after_the_end_changes_nothing() {
    let world = World::new();
    let machine = load(&single(json!({ "Type": "Pass" })));
    let interpreter = world.interpreter(Options::default());
    let outcome = world.block_on(async {
        let execution = interpreter.start(&machine, "e1", json!(1));
        let stopper = execution.stopper();
        let outcome = execution.outcome().await;
        stopper.stop("Cancelled", "too late");
        outcome
    });
    assert_eq!(outcome, ExecutionOutcome::Succeeded { output: json!(1) });
}

#[test]
fn a_failing_child_stops_its_siblings_and_they_end_first() {
    for (kind, error) in [
        ("inline", "Broken"),
        ("distributed", "States.ExceedToleratedFailureThreshold"),
        ("parallel", "Broken"),
    ] {
        let world = World::new();
        let running = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&running);
        world.on_async("f", move |payload, world| {
            let running = Running::new(&count);
            Box::pin(async move {
                let _running = running;
                world.sleep(Duration::from_secs(if payload == json!(2) { 5 } else { 50 })).await;
                if payload == json!(2) { failure("Broken") } else { Ok(payload) }
            })
        });
        let seen = Arc::clone(&running);
        world.on("after", move |_| Ok(json!(seen.load(Ordering::SeqCst))));
        let config = if kind == "distributed" {
            json!({ "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" })
        } else {
            json!({ "Mode": "INLINE" })
        };
        let branch = |name: &str, input: &str| json!({ "StartAt": name, "States": { name: with(function("f"), json!({ "InputPath": input })) } });
        let state = if kind == "parallel" {
            json!({ "Type": "Parallel", "Branches": [branch("A", "$[0]"), branch("B", "$[1]"), branch("C", "$[2]")] })
        } else {
            json!({
                "Type": "Map", "MaxConcurrency": 3,
                "ItemProcessor": { "ProcessorConfig": config, "StartAt": "F", "States": { "F": function("f") } },
            })
        };
        let catch = json!([{ "ErrorEquals": [error], "Next": "After" }]);
        let definition = machine(
            "S",
            json!({
                "S": with(state, json!({ "Catch": catch, "End": true })),
                "After": function("after"),
            }),
        );
        let output = succeeded(world.run(&definition, json!([1, 2, 3, 4, 5])));
        assert_eq!(output, json!({ "answer": 0 }), "{kind}: calls were still under way");
        assert_eq!(world.called(), ["f", "f", "f", "after"], "{kind}");
        assert_eq!(world.elapsed(), Duration::from_secs(5), "{kind}");
    }
}
