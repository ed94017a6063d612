//! What the job table's answers mean.

use super::JobStore;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use holdfast_vault::error::{Code, Error};

/// Why a request failed, as far as anyone here treats it differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// A condition did not hold.
    Condition,
    /// Another transaction touches the same rows.
    Conflict,
    /// There is no such table.
    NoTable,
    /// The table is there already.
    InUse,
    /// Too many requests.
    Throttled,
    /// The caller may not.
    Denied,
    /// A row is larger than a table takes.
    TooLarge,
    /// The service does not know the operation.
    Unknown,
    /// Anything else, by the service's own name for it.
    Other(String),
}

pub(super) fn failure<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Failure {
    let Some(service) = error.as_service_error() else {
        return Failure::Other(
            match error {
                SdkError::TimeoutError(_) => "no answer in time",
                SdkError::DispatchFailure(_) => "no connection",
                SdkError::ResponseError(_) => "an answer that makes no sense",
                _ => "a request that could not be sent",
            }
            .to_owned(),
        );
    };
    let code = service.code().unwrap_or_default();
    match code {
        "ConditionalCheckFailedException" => Failure::Condition,
        "TransactionConflictException" | "TransactionInProgressException" => Failure::Conflict,
        "ResourceNotFoundException" => Failure::NoTable,
        "ResourceInUseException" => Failure::InUse,
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => Failure::Throttled,
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "MissingAuthenticationTokenException"
        | "InvalidSignatureException" => Failure::Denied,
        "UnknownOperationException" => Failure::Unknown,
        "ItemCollectionSizeLimitExceededException" => Failure::TooLarge,
        "ValidationException" if service.message().is_some_and(|m| m.contains("size")) => Failure::TooLarge,
        // The service's message may quote values, which are not ours to repeat.
        other => Failure::Other(other.to_owned()),
    }
}

impl JobStore {
    /// The failure as an error; `doing` says what was tried.
    pub(super) fn error(&self, failure: Failure, doing: &str) -> Error {
        let table = &self.table;
        let unavailable = |why: &str, hint: &str| {
            Error::new(Code::StateUnavailable, format!("{doing} failed: {why}")).object(table).hint(hint)
        };
        match failure {
            Failure::Condition | Failure::Conflict => Error::new(
                Code::StateConflict,
                format!("{doing} failed: another worker changed the row first"),
            )
            .object(table)
            .hint("try again"),
            Failure::NoTable => unavailable(
                &format!("the job table {table} does not exist"),
                "check the name of the job table, or deploy the stack again",
            ),
            Failure::Throttled => unavailable("the job table asks to slow down", "try again a little later"),
            Failure::Denied => unavailable(
                &format!("access to the job table {table} is denied"),
                "give this role the job table's permissions of template.yaml",
            ),
            Failure::Unknown => unavailable(
                "the endpoint does not know the operation",
                "check that the endpoint of the job table speaks DynamoDB",
            ),
            Failure::TooLarge => Error::new(
                Code::Internal,
                format!("{doing} failed: the row is larger than the job table takes"),
            )
            .object(table)
            .hint("report this; a resource with fewer streams or warnings works around it"),
            Failure::InUse => unavailable(
                &format!("the job table {table} is being created or changed"),
                "try again a little later",
            ),
            Failure::Other(why) => unavailable(
                &format!("the job table {table} did not answer as it should ({why})"),
                "check the network and the job table, then try again",
            ),
        }
    }
}

/// How often a write that collided with another is tried before the caller hears of it.
pub(super) const TRIES: u32 = 12;
