//! The edge of a handler: JSON in, JSON out, errors as Lambda and Step Functions know them.

use crate::fail::HINT;
use holdfast_vault::error::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An event of the type that a handler takes.
///
/// # Errors
/// `InvalidInput` saying what is wrong with it.
pub fn decode<T: DeserializeOwned>(event: Value) -> Result<T> {
    serde_json::from_value(event).map_err(|e| {
        Error::new(Code::InvalidInput, format!("the event is not understood: {e}")).object("event")
    })
}

/// An event of the type that a handler takes, which has no field that the type does not know, nor has what an execution
/// was started with. `beside` are fields that are not read and may be there.
///
/// # Errors
/// `InvalidInput` naming the field.
pub fn event<T: DeserializeOwned + Serialize>(event: &Value, beside: &[&str]) -> Result<T> {
    let decoded: T = decode(event.clone())?;
    let known = encode(&decoded)?;
    let unknown = unknown(event, &known, beside);
    let unknown = unknown.or_else(|| unknown_input(event.get("input")?, known.get("input")?));
    let Some(field) = unknown else { return Ok(decoded) };
    let fields = known.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let fields = fields.collect::<Vec<_>>().join(", ");
    Err(Error::new(Code::InvalidInput, format!("the event is not understood: unknown field `{field}`"))
        .object(field)
        .hint(format!("it has {fields}")))
}

fn unknown_input(given: &Value, known: &Value) -> Option<String> {
    unknown(given, known, &[]).map(|field| format!("input.{field}"))
}

/// A field that was given and is not known. One that is null is as good as left out.
fn unknown(given: &Value, known: &Value, beside: &[&str]) -> Option<String> {
    let mut fields = given.as_object()?.iter().filter(|(_, value)| !value.is_null());
    let (name, _) = fields.find(|(name, _)| known.get(name).is_none() && !beside.contains(&name.as_str()))?;
    Some(name.clone())
}

/// The answer of a handler.
///
/// # Errors
/// `Internal`, which does not happen.
pub fn encode<T: Serialize>(answer: &T) -> Result<Value> {
    crate::plan::value(answer)
}

/// An error as a Lambda function answers it: Step Functions matches `errorType` and hands the whole on as `Cause`.
#[must_use]
pub fn diagnostic(error: &Error) -> Value {
    let message = match &error.hint {
        Some(hint) => format!("{}{HINT}{hint}", error.message),
        None => error.message.clone(),
    };
    json!({ "errorType": error.code.as_str(), "errorMessage": message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{FailEvent, PlanEvent, RestoreEvent, TaskEvent, UndoEvent, VerifyEvent};

    fn refused<T: DeserializeOwned + Serialize + std::fmt::Debug>(given: &Value) -> String {
        let error = event::<T>(given, &["more"]).unwrap_err();
        assert_eq!(error.code, Code::InvalidInput);
        error.message
    }

    /// Takes the event, and refuses it with one field more, wherever that stands.
    fn strict<T: DeserializeOwned + Serialize + std::fmt::Debug>(good: &Value) {
        event::<T>(good, &["more"]).unwrap();
        let mut with = good.clone();
        with["unexpected"] = json!(1);
        assert!(refused::<T>(&with).contains("`unexpected`"), "{good}");
        if good["input"].is_object() {
            let mut with = good.clone();
            with["input"]["unexpected"] = json!(1);
            assert!(refused::<T>(&with).contains("unexpected"), "{good}");
        }
    }

    #[test]
    fn an_event_with_an_unknown_field_is_refused_by_its_name() {
        let started =
            json!({"execution": "x", "started_at": "2026-11-21T00:00:00Z", "input": {"resource": "orders"}});
        strict::<PlanEvent>(&started);
        strict::<TaskEvent>(&json!({"job": "j", "task": 1, "plan": "p", "more": true}));
        strict::<VerifyEvent>(&json!({"job": "j", "level": null}));
        let mut restore = started.clone();
        restore["step"] = json!("plan");
        restore["input"] = json!({"restore": "r"});
        strict::<RestoreEvent>(&restore);
        restore["input"] = json!({"backup": "b", "target": {"kind": "dynamodb", "table": "t"}});
        strict::<RestoreEvent>(&restore);
        restore["step"] = json!("check");
        restore["input"] = json!({"dry_run": true, "restore": "r"});
        strict::<RestoreEvent>(&restore);
        strict::<RestoreEvent>(&json!({"step": "finish", "job": "j"}));
        let mut undo = started.clone();
        undo["step"] = json!("plan");
        undo["input"] = json!({"undo": "u"});
        strict::<UndoEvent>(&undo);
        strict::<UndoEvent>(&json!({"step": "apply", "job": "j"}));
        let mut fail = started;
        fail["error"] = json!({"Error": "States.Timeout", "Cause": ""});
        event::<FailEvent>(&fail, &[]).unwrap();
        fail["unexpected"] = json!(1);
        assert!(refused::<FailEvent>(&fail).contains("`unexpected`"));
    }
}
