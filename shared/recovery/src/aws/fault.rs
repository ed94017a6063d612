//! How a failed call is told.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use holdfast_vault::error::{Code, Error};

/// Which end of a restore a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A table, a recovery point, a job that made one.
    Source,
    /// What a restore makes.
    Target,
}

enum Kind {
    Missing,
    Denied,
    Throttled,
    Invalid,
    Unavailable,
}

impl Side {
    fn code(self, kind: &Kind) -> Code {
        match (self, kind) {
            (Self::Source, Kind::Missing) => Code::SourceMissing,
            (Self::Source, Kind::Denied) => Code::SourceDenied,
            (Self::Source, Kind::Throttled) => Code::SourceThrottled,
            (Self::Source, Kind::Invalid) => Code::SourceInvalid,
            (Self::Source, Kind::Unavailable) => Code::SourceUnavailable,
            (Self::Target, Kind::Missing | Kind::Invalid) => Code::TargetInvalid,
            (Self::Target, Kind::Denied) => Code::TargetDenied,
            (Self::Target, Kind::Throttled) => Code::TargetThrottled,
            (Self::Target, Kind::Unavailable) => Code::TargetUnavailable,
        }
    }

    /// The failure of a call: `doing` is what it was for, such as `describe table orders`, and `object` what it was
    /// about.
    pub(crate) fn fault<E>(self, doing: &str, object: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.told(doing, object, error, true)
    }

    /// As [`Side::fault`], of a call that held records: the service's sentence may quote them and is left out.
    pub(crate) fn fault_of_records<E>(
        self,
        doing: &str,
        object: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.told(doing, object, error, false)
    }

    fn told<E>(self, doing: &str, object: &str, error: &SdkError<E, HttpResponse>, all: bool) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let name = error.code().map(str::to_owned).or_else(|| status.map(|status| status.to_string()));
        let Some(name) = name else {
            let why = if all { DisplayErrorContext(error).to_string() } else { "no answer".to_owned() };
            let kind = if matches!(error, SdkError::ConstructionFailure(_)) {
                Kind::Invalid
            } else {
                Kind::Unavailable
            };
            return Error::new(self.code(&kind), format!("cannot {doing}: {why}")).object(object);
        };
        let kind = classify(&name, status);
        let said = match error.message() {
            Some(message) if all => format!("{name}: {message}"),
            _ => name,
        };
        let failed = Error::new(self.code(&kind), format!("cannot {doing}: {said}")).object(object);
        match kind {
            Kind::Denied => failed.hint("the function's role must allow this call; the template grants it"),
            Kind::Missing => failed.hint("check its name, the account and the region"),
            Kind::Throttled => failed.hint("try again later"),
            Kind::Invalid | Kind::Unavailable => failed,
        }
    }
}

fn classify(name: &str, status: Option<u16>) -> Kind {
    match name {
        "ResourceNotFoundException" | "TableNotFoundException" | "ObjectNotFoundException" => Kind::Missing,
        "AccessDeniedException"
        | "AccessDenied"
        | "NotAuthorized"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException" => Kind::Denied,
        "LimitExceededException"
        | "LimitExceeded"
        | "LimitExceededFault"
        | "ThrottlingException"
        | "Throttling"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => Kind::Throttled,
        "ResourceInUseException"
        | "TableInUseException"
        | "ContinuousBackupsUnavailableException"
        | "ConcurrentUpdateException"
        | "ServiceUnavailableException"
        | "InternalServerError"
        | "InternalServiceFault"
        | "InternalServiceException"
        | "ConflictException" => Kind::Unavailable,
        _ => match status {
            Some(401 | 403) => Kind::Denied,
            Some(404) => Kind::Missing,
            Some(429) => Kind::Throttled,
            Some(408 | 409) => Kind::Unavailable,
            Some(400..=499) => Kind::Invalid,
            _ => Kind::Unavailable,
        },
    }
}

/// Whether a call will not be done, however often it is asked: this endpoint, this role or this table does not offer it.
pub(crate) fn refused<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match error.code() {
        // An endpoint that has no such service does not even name an error.
        None => matches!(status, Some(400 | 403 | 404 | 501)),
        Some(name) => matches!(
            name,
            "UnknownOperationException"
                | "UnsupportedOperation"
                | "UnsupportedOperationException"
                | "NotImplemented"
                | "InvalidAction"
                | "ValidationException"
                | "ValidationError"
                | "InvalidParameterException"
                | "InvalidParameterValueException"
                | "AccessDeniedException"
                | "AccessDenied"
        ),
    }
}

/// Why a call was refused, in the service's words.
pub(crate) fn reason<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> String {
    error.message().or(error.code()).unwrap_or("this endpoint does not offer it").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Side, classify};
    use holdfast_vault::error::Code;

    #[test]
    fn names_come_before_status() {
        assert!(matches!(classify("ThrottlingException", Some(400)), Kind::Throttled));
        assert!(matches!(classify("AccessDeniedException", Some(400)), Kind::Denied));
        assert!(matches!(classify("InvalidParameterValueException", Some(400)), Kind::Invalid));
        assert!(matches!(classify("ServiceUnavailableException", Some(500)), Kind::Unavailable));
        assert_eq!(Side::Target.code(&Kind::Missing), Code::TargetInvalid);
    }
}
