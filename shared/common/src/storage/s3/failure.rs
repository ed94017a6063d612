//! What S3's answers mean.

use crate::storage::missing;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use holdfast_vault::error::{Code, Error};

/// Why a request failed, as far as anyone here treats it differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such object.
    Missing,
    /// There is no such bucket.
    NoBucket,
    /// An object of that key is there.
    Taken,
    /// Another request is writing the same key.
    Collision,
    /// Nothing of the range is in the object.
    Range,
    /// The caller may not.
    Denied,
    /// Too many requests.
    Throttled,
    /// Anything else, by the service's own name for it.
    Other(String),
}

pub(super) fn failure<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Failure {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    match (code, status) {
        ("NoSuchBucket", _) => Failure::NoBucket,
        ("NoSuchKey" | "NotFound", _) | ("", 404) => Failure::Missing,
        ("PreconditionFailed", _) | (_, 412) => Failure::Taken,
        ("ConditionalRequestConflict" | "OperationAborted", _) | (_, 409) => Failure::Collision,
        ("InvalidRange", _) | (_, 416) => Failure::Range,
        (_, 401 | 403) => Failure::Denied,
        ("SlowDown" | "ServiceUnavailable" | "RequestLimitExceeded" | "TooManyRequests", _)
        | (_, 429 | 503) => Failure::Throttled,
        ("", 0) => Failure::Other(
            match error {
                SdkError::TimeoutError(_) => "no answer in time",
                SdkError::DispatchFailure(_) => "no connection",
                SdkError::ResponseError(_) => "an answer that makes no sense",
                _ => "a request that could not be sent",
            }
            .to_owned(),
        ),
        ("", status) => Failure::Other(format!("HTTP {status}")),
        // The service's message may quote what is not ours to repeat.
        (code, status) => Failure::Other(format!("{code}, HTTP {status}")),
    }
}

impl Failure {
    pub(super) fn into_error(self, bucket: &str, key: &str, doing: &str) -> Error {
        let at = |code, why: &str, hint: &str| {
            Error::new(code, format!("{doing} {key:?} in bucket {bucket} failed: {why}"))
                .object(bucket)
                .hint(hint)
        };
        match self {
            Self::Missing => missing(bucket, key),
            Self::NoBucket => {
                at(Code::StorageUnavailable, "there is no such bucket", "check the bucket's name and region")
            }
            Self::Denied => at(
                Code::StorageDenied,
                "access is denied",
                "give this role the bucket's permissions of template.yaml, and those of its key",
            ),
            Self::Throttled => {
                at(Code::StorageThrottled, "the service asks to slow down", "try again a little later")
            }
            Self::Collision | Self::Taken => {
                at(Code::StorageUnavailable, "another request is writing the same object", "try again")
            }
            Self::Range => at(Code::StorageUnavailable, "the range was refused", "try again"),
            Self::Other(why) => at(Code::StorageUnavailable, &why, "check the network, then try again"),
        }
    }
}
