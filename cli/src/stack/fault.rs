//! Failed calls of AWS as errors of ours.

use aws_sdk_sfn::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use holdfast_vault::error::{Code, Error};

/// Names by which AWS says that a call may be made again.
const BUSY: &[&str] = &[
    "InternalFailure",
    "InternalServerError",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// The name that a service gave its refusal.
pub(super) fn name_of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.code()
}

/// The failure of a call, `doing` being what it was for: `find the stack shop`.
pub(super) fn fault<E>(doing: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    if let Some(name) = error.code() {
        let said = error.message().map_or_else(|| name.to_owned(), |said| format!("{name}: {said}"));
        let message = format!("cannot {doing}: {said}");
        if BUSY.contains(&name) || status.is_some_and(|status| status >= 500) {
            return Error::new(Code::StateUnavailable, message).hint("try again later");
        }
        return Error::new(Code::HomeInvalid, message)
            .hint("check the credentials and what they are allowed to do, the region and the stack");
    }
    let why = DisplayErrorContext(error).to_string();
    if why.contains("credentials") || why.contains("identity") {
        return Error::new(Code::HomeInvalid, format!("cannot {doing}: no credentials: {why}"))
            .hint("set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    Error::new(Code::StateUnavailable, format!("cannot {doing}: no answer: {why}"))
        .hint("check the network, the region and AWS_ENDPOINT_URL")
}
