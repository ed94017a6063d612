//! What a Task may call.

use super::definition::Resource;
use super::fields::Place;
use super::template::Template;
use holdfast_vault::Result;

/// The fields of a Task, beside those of all states that do work.
pub(super) const TASK: &[&str] =
    &["Resource", "Parameters", "TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds"];

const PREFIX: &str = "arn:aws:states:::";
const FUNCTION: &str = "lambda:invoke";

/// The request-response integrations, beside every `aws-sdk:service:action`.
const SERVICES: &[&str] = &[
    "dynamodb:deleteItem",
    "dynamodb:getItem",
    "dynamodb:putItem",
    "dynamodb:updateItem",
    "events:putEvents",
    "sns:publish",
    "sqs:sendMessage",
];

pub(super) fn load(place: &Place, text: String) -> Result<Resource> {
    let supported = || {
        format!(
            "supported: {PREFIX}{FUNCTION}, {PREFIX}aws-sdk:SERVICE:ACTION, {PREFIX}{{{}}}",
            SERVICES.join(", ")
        )
    };
    let Some(rest) = text.strip_prefix(PREFIX) else {
        return Err(place.error(format!("'{text}' is no supported resource"), supported()));
    };
    if rest.contains(".sync") || rest.contains(".waitForTaskToken") {
        return Err(
            place.error(format!("'{text}' waits for a job or a token"), "call it without waiting, and poll")
        );
    }
    if rest == FUNCTION {
        return Ok(Resource::Function(text));
    }
    let sdk = rest.strip_prefix("aws-sdk:").and_then(|rest| rest.split_once(':'));
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
    if SERVICES.contains(&rest) || sdk.is_some_and(|(service, action)| word(service) && word(action)) {
        return Ok(Resource::Service(text));
    }
    Err(place.error(format!("'{text}' is no supported resource"), supported()))
}

/// Checks the parameters of a function call.
pub(super) fn check(place: &Place, resource: &Resource, parameters: Option<&Template>) -> Result<()> {
    let Resource::Function(_) = resource else { return Ok(()) };
    let place = place.field("Parameters");
    let hint = "write FunctionName, and Payload for its event";
    let Some(names) = parameters.and_then(Template::names) else {
        return Err(place.error("is missing or no object", hint));
    };
    if let Some(name) = names.iter().find(|name| !["FunctionName", "Payload"].contains(name)) {
        return Err(place.field(name).error("is not supported here", hint));
    }
    if !names.contains(&"FunctionName") {
        return Err(place.field("FunctionName").error("is missing", hint));
    }
    Ok(())
}
