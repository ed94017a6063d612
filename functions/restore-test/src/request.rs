//! A request of CloudFormation: the test begins, or there is nothing to do.

use crate::RestoreTest;
use holdfast_lambda::custom_resource::{Answer, Request, RequestType, answer};
use holdfast_recovery::test::TestOrder;
use holdfast_vault::error::{Error, Result};
use holdfast_workflow::executions::Started;
use holdfast_workflow::handler;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Answers what is answered at once, and starts the state machine for the rest.
pub(crate) async fn begin(test: &RestoreTest, event: Value) -> Result<Value> {
    let request: Request = handler::decode(event.clone())?;
    if request.request_type == RequestType::Delete {
        // A test leaves nothing behind that would have to go.
        let said = Answer::success(&request, name(&request), Map::new());
        answer(&request.response_url, &said).await?;
        return Ok(json!({ "status": said.status }));
    }
    match start(test, &request, event).await {
        Ok(execution) => Ok(json!({ "execution": execution })),
        Err(error) => {
            tracing::error!(code = error.code.as_str(), "{}", error.message);
            let said = Answer::failed(&request, name(&request), &error);
            answer(&request.response_url, &said).await?;
            Ok(json!({ "status": said.status, "code": error.code.as_str() }))
        }
    }
}

async fn start(test: &RestoreTest, request: &Request, event: Value) -> Result<String, Error> {
    order(request)?;
    let execution = execution_name(&request.request_id);
    // CloudFormation may ask twice: the second request finds the first one's execution.
    let started = test.executions.start(&test.machine, &execution, &json!({ "request": event })).await?;
    tracing::info!(execution, repeated = started == Started::Before, "restore test started");
    Ok(execution)
}

/// What the template asks for.
pub(crate) fn order(request: &Request) -> Result<TestOrder> {
    TestOrder::read(request.properties::<Map<String, Value>>()?)
}

/// What the resource is called: the same for as long as it is in its stack, so that nothing is ever replaced.
pub(crate) fn name(request: &Request) -> String {
    let stack = hex::encode(&Sha256::digest(&request.stack_id)[..6]);
    let known = request.physical_resource_id.clone();
    known.unwrap_or_else(|| format!("holdfast-restore-test-{}-{stack}", request.logical_resource_id))
}

/// The execution of a request. Names have letters, digits, `-` and `_`, 80 at most.
fn execution_name(request: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name: String = request.chars().map(|c| if fits(c) { c } else { '-' }).take(75).collect();
    format!("test-{name}")
}

#[cfg(test)]
mod tests {
    use super::execution_name;

    #[test]
    fn executions_are_named_by_their_requests() {
        assert_eq!(execution_name("5f0a-1"), "test-5f0a-1");
        assert_eq!(execution_name("arn:x/1"), "test-arn-x-1");
        assert_eq!(execution_name(&"a".repeat(200)).len(), 80);
    }
}
