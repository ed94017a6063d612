use super::world::*;
use serde_json::{Value, json};

/// What an expression gives, computed by a Pass.
fn evaluate(expression: &str, input: &Value) -> Value {
    let state = json!({ "Type": "Pass", "Parameters": { "x.$": expression } });
    succeeded(World::new().run(&single(state), input.clone()))["x"].clone()
}

#[test]
fn paths_select() {
    let input = json!({
        "a": [{ "id": 1 }, { "id": 2 }, { "no": 3 }, { "id": 4 }],
        "o": { "x": 1, "y": 2 },
        "a-b": { "ü_1": "u" },
        "dotted.name": { "it's": "q" },
    });
    for (path, wanted) in [
        ("$", input.clone()),
        ("$.a[1].id", json!(2)),
        ("$['a'][0]['id']", json!(1)),
        ("$.a-b.ü_1", json!("u")),
        ("$['dotted.name']['it\\'s']", json!("q")),
        ("$.a[*].id", json!([1, 2, 4])),
        ("$.a[1:3].id", json!([2])),
        ("$.a[-1:].id", json!([4])),
        ("$.a[:2].id", json!([1, 2])),
        ("$.a[3:1].id", json!([])),
        ("$.o.*", json!([1, 2])),
        ("$.o[*]", json!([1, 2])),
        ("$.none[*].id", json!([])),
    ] {
        assert_eq!(evaluate(path, &input), wanted, "{path}");
    }
}

#[test]
fn a_path_to_nothing_fails_without_showing_the_input() {
    for state in [
        json!({ "Type": "Pass", "Parameters": { "x.$": "$.a.b" } }),
        json!({ "Type": "Pass", "Parameters": { "x.$": "States.JsonToString($.a.b)" } }),
        json!({ "Type": "Pass", "InputPath": "$.a.b" }),
        json!({ "Type": "Pass", "OutputPath": "$.a.b" }),
    ] {
        let (error, cause) = failed(World::new().run(&single(state), json!({ "a": { "secret": 1 } })));
        assert_eq!(error, "States.Runtime");
        assert!(cause.contains("$.a.b") && !cause.contains("secret"), "{cause}");
    }
}

#[test]
fn result_path_makes_room_or_fails() {
    for (path, input, wanted) in [
        ("$.a.b.c", json!({ "k": 1 }), Some(json!({ "k": 1, "a": { "b": { "c": "r" } } }))),
        ("$.a", json!({ "a": { "old": 1 } }), Some(json!({ "a": "r" }))),
        ("$.list[1].x", json!({ "list": [1, {}] }), Some(json!({ "list": [1, { "x": "r" }] }))),
        ("$.list[2]", json!({ "list": [1, 2] }), None),
        ("$.new[0]", json!({}), None),
        ("$.a.b", json!({ "a": "text" }), None),
        ("$.a", json!("text"), None),
        ("$.a", json!([]), None),
    ] {
        let outcome =
            World::new().run(&single(json!({ "Type": "Pass", "Result": "r", "ResultPath": path })), input);
        match wanted {
            Some(wanted) => assert_eq!(succeeded(outcome), wanted, "{path}"),
            None => assert_eq!(failed(outcome).0, "States.ResultPathMatchFailure", "{path}"),
        }
    }
}

#[test]
fn the_context_object_tells_where_it_is() {
    let world = World::new();
    let state = json!({ "Type": "Pass", "Parameters": {
        "execution.$": "$$.Execution",
        "state.$": "$$.State",
        "machine.$": "$$.StateMachine.Name",
        "entered.$": "$$.State.EnteredTime",
        "all.$": "States.ArrayLength($$.Execution.Input.list)",
    } });
    let output = succeeded(world.run(&single(state), json!({ "list": [1, 2] })));
    assert_eq!(
        output,
        json!({
            "execution": {
                "Id": "arn:aws:states:local:000000000000:execution:m:e1",
                "Input": { "list": [1, 2] },
                "Name": "e1",
                "StartTime": "2026-01-02T03:04:05.000Z",
            },
            "state": { "EnteredTime": "2026-01-02T03:04:05.000Z", "Name": "S", "RetryCount": 0 },
            "machine": "m",
            "entered": "2026-01-02T03:04:05.000Z",
            "all": 2,
        })
    );
}

#[test]
fn intrinsics_compute() {
    let input = json!({
        "name": "Ann", "n": 3, "list": [1, 2, 3, 4, 5], "dup": [1, "a", 1, { "k": 1 }, { "k": 1 }],
        "json": "{\"a\":[1]}", "o": { "b": 1, "a": 2 }, "p": { "b": 9 }, "csv": "a,b;;c", "f": 1.6,
    });
    for (call, wanted) in [
        ("States.Format('Hello {}, {} {}', $.name, $.n, true)", json!("Hello Ann, 3 true")),
        ("States.Format('it\\'s \\{\\} {}', null)", json!("it's {} null")),
        ("States.Format('{}', 'a, (b) {}')", json!("a, (b) {}")),
        ("States.Format('plain')", json!("plain")),
        ("States.StringToJson($.json)", json!({ "a": [1] })),
        ("States.JsonToString($.p)", json!("{\"b\":9}")),
        ("States.Array()", json!([])),
        ("States.Array($.n, 'x', null, States.Array(1.5))", json!([3, "x", null, [1.5]])),
        ("States.Array('\\{x\\}\\\\')", json!(["{x}\\"])),
        ("States.ArrayPartition($.list, 2)", json!([[1, 2], [3, 4], [5]])),
        ("States.ArrayContains($.dup, 'a')", json!(true)),
        ("States.ArrayContains($.list, 9)", json!(false)),
        ("States.ArrayRange(1, 9, 4)", json!([1, 5, 9])),
        ("States.ArrayRange(3, 1, -1)", json!([3, 2, 1])),
        ("States.ArrayGetItem($.list, 4)", json!(5)),
        ("States.ArrayLength($.list[1:3])", json!(2)),
        ("States.ArrayUnique($.dup)", json!([1, "a", { "k": 1 }])),
        ("States.JsonMerge($.o, $.p, false)", json!({ "b": 9, "a": 2 })),
        ("States.MathAdd($.n, -5)", json!(-2)),
        ("States.MathAdd($.f, 1)", json!(3)),
        ("States.MathRandom(5, 10)", json!(5)),
        ("States.StringSplit($.csv, ',;')", json!(["a", "b", "c"])),
        ("States.UUID()", json!("00000000-0000-4000-8000-000000000000")),
        ("States.ArrayLength(States.StringSplit($['name'], 'n'))", json!(1)),
    ] {
        assert_eq!(evaluate(call, &input), wanted, "{call}");
    }
}

#[test]
fn intrinsics_refuse_what_does_not_fit_them() {
    let input = json!({ "n": 1, "list": [1], "s": "x", "o": {} });
    for call in [
        "States.StringToJson($.s)",
        "States.StringToJson($.n)",
        "States.Format('{}', $.list)",
        "States.Format($.s, $.n)",
        "States.ArrayGetItem($.list, 1)",
        "States.ArrayGetItem($.list, -1)",
        "States.ArrayLength($.s)",
        "States.ArrayPartition($.list, 0)",
        "States.ArrayRange(1, 2, 0)",
        "States.ArrayRange(1, 2000, 1)",
        "States.JsonMerge($.o, $.o, true)",
        "States.MathAdd(9223372036854775807, 1)",
        "States.MathRandom(2, 2)",
        "States.StringSplit($.s, '')",
    ] {
        let state = single(json!({ "Type": "Pass", "Parameters": { "x.$": call } }));
        let (error, cause) = failed(World::new().run(&state, input.clone()));
        assert_eq!(error, "States.IntrinsicFailure", "{call}: {cause}");
    }
}
