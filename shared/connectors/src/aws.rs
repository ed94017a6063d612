//! What the AWS connectors share: how a failed call is told.

use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use holdfast_vault::error::{Code, Error};

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;

/// Which end of a job a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Target,
}

/// Whether the service's own sentence may be repeated. It may quote values where the request held records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    All,
    NoValues,
}

/// The table or bucket that calls are about, and where they go to.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// `table orders`, `bucket shop`.
    pub what: String,
    pub side: Side,
}

enum Kind {
    Missing,
    Denied,
    Throttled,
    Invalid,
    Unavailable,
}

impl Subject {
    pub(crate) fn new(kind: &str, name: &str, side: Side) -> Self {
        Self { what: format!("{kind} {name}"), side }
    }

    fn code(&self, kind: &Kind) -> Code {
        match (self.side, kind) {
            (Side::Source, Kind::Missing) => Code::SourceMissing,
            (Side::Source, Kind::Denied) => Code::SourceDenied,
            (Side::Source, Kind::Throttled) => Code::SourceThrottled,
            (Side::Source, Kind::Invalid) => Code::SourceInvalid,
            (Side::Source, Kind::Unavailable) => Code::SourceUnavailable,
            (Side::Target, Kind::Missing | Kind::Invalid) => Code::TargetInvalid,
            (Side::Target, Kind::Denied) => Code::TargetDenied,
            (Side::Target, Kind::Throttled) => Code::TargetThrottled,
            (Side::Target, Kind::Unavailable) => Code::TargetUnavailable,
        }
    }

    /// The failure of a call, `doing` being what it was for: `read`, `create`.
    pub(crate) fn fault<E>(&self, doing: &str, tell: Tell, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let what = &self.what;
        let status = error.raw_response().map(|response| response.status().as_u16());
        let Some(name) = error.code().map(str::to_owned).or_else(|| status.map(|status| status.to_string()))
        else {
            return self.unanswered(doing, error);
        };
        let kind = classify(&name, status);
        let said = match (tell, error.message()) {
            (Tell::All, Some(message)) => format!("{name}: {message}"),
            _ => name,
        };
        let failed =
            Error::new(self.code(&kind), format!("cannot {doing} {what}: {said}")).object(what.clone());
        match kind {
            Kind::Missing => failed.hint("check its name, the region and the endpoint"),
            Kind::Denied => failed.hint(format!("check the credentials, and that their role may {doing} it")),
            Kind::Throttled => failed.hint("try again later, or lower the limits of the policy"),
            Kind::Invalid | Kind::Unavailable => failed,
        }
    }

    /// A call that got no answer: no credentials, no connection, no time, or nothing that could be sent.
    fn unanswered<E>(&self, doing: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: std::error::Error + 'static,
    {
        let what = &self.what;
        let why = DisplayErrorContext(error).to_string();
        let (kind, hint) = if why.contains("credentials") || why.contains("identity") {
            (Kind::Denied, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
        } else if matches!(error, SdkError::ConstructionFailure(_)) {
            (Kind::Invalid, "check the region, and that names and attributes can stand in a request")
        } else {
            (Kind::Unavailable, "check the endpoint, the region and the network")
        };
        Error::new(self.code(&kind), format!("cannot {doing} {what}: no answer: {why}"))
            .object(what.clone())
            .hint(hint)
    }
}

fn classify(name: &str, status: Option<u16>) -> Kind {
    match name {
        "ResourceNotFoundException" | "TableNotFoundException" | "NoSuchBucket" | "PermanentRedirect" => {
            Kind::Missing
        }
        "AccessDeniedException"
        | "AccessDenied"
        | "AccountProblem"
        | "AuthorizationHeaderMalformed"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Kind::Denied,
        "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => Kind::Throttled,
        "ContinuousBackupsUnavailableException" | "OperationAborted" | "ResourceInUseException" => {
            Kind::Unavailable
        }
        _ => match status {
            // A redirect leads to the bucket's own region.
            Some(301 | 307 | 404) => Kind::Missing,
            Some(401 | 403) => Kind::Denied,
            Some(429 | 503) => Kind::Throttled,
            Some(408 | 409) => Kind::Unavailable,
            Some(400..=499) => Kind::Invalid,
            _ => Kind::Unavailable,
        },
    }
}

/// Whether a call failed because this endpoint, or this role, does not offer it: what it would tell is left out.
pub(crate) fn not_offered<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    status == Some(501)
        || matches!(
            error.code(),
            Some(
                "UnknownOperationException"
                    | "UnsupportedOperation"
                    | "UnsupportedOperationException"
                    | "NotImplemented"
                    | "AccessDeniedException"
                    | "AccessDenied"
            )
        )
}

#[cfg(test)]
mod tests {
    use super::{Kind, classify};

    #[test]
    fn names_come_before_status() {
        assert!(matches!(classify("ThrottlingException", Some(400)), Kind::Throttled));
        assert!(matches!(classify("AccessDeniedException", Some(400)), Kind::Denied));
        assert!(matches!(classify("ValidationException", Some(400)), Kind::Invalid));
        assert!(matches!(classify("404", Some(404)), Kind::Missing));
        assert!(matches!(classify("InternalServerError", Some(500)), Kind::Unavailable));
    }
}
