//! Which resources a stack can back up: what its functions can reach, and what they are granted.

use super::fault::name_of;
use super::grants::Kind;
use super::outputs::{At, Outputs};
use aws_config::SdkConfig;
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::config::Resource;

/// The endpoint that means the DynamoDB inside a home.
const EMBEDDED: &str = "embedded";

/// Something of AWS's that a stack needs a grant for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted<'a> {
    /// The resource, or the target as the operator named it.
    of: &'a str,
    kind: Kind,
    arn: String,
}

/// Whether a tag grants a source.
enum Tagged {
    Yes,
    No,
    /// It could not be read, and why.
    Unknown(String),
}

/// Whether the functions of a stack can read these sources; what cannot be told is a warning.
///
/// # Errors
/// `InvalidInput` for a source that no stack reaches, or for all that this one is not granted.
pub(super) async fn admit(
    config: &SdkConfig,
    outputs: &Outputs,
    resources: &[Resource],
) -> Result<Vec<Warning>> {
    let (mut missing, mut warnings) = (Vec::new(), Vec::new());
    for resource in resources {
        let Some(wanted) = wanted(resource, &outputs.at)? else { continue };
        if outputs.grants.names(wanted.kind, &wanted.arn) {
            continue;
        }
        match tagged(config, outputs, &wanted).await {
            Tagged::Yes => {}
            Tagged::No => missing.push(wanted),
            Tagged::Unknown(why) => warnings.push(unknown(outputs, &wanted, &why)),
        }
    }
    if missing.is_empty() { Ok(warnings) } else { Err(not_granted(outputs, "to read", &missing)) }
}

/// Whether a stack can write into a target.
///
/// # Errors
/// `InvalidInput` if it is on this machine or in a home, or is not granted.
pub(super) fn admit_target(outputs: &Outputs, target: &TargetSpec) -> Result<()> {
    let (kind, arn, endpoint) = match target {
        TargetSpec::Files { .. } | TargetSpec::Jsonl { .. } | TargetSpec::Json { .. } => {
            let message = format!("a stack does not reach this machine's files: {target}");
            return Err(Error::new(Code::InvalidInput, message)
                .object("--to")
                .hint("use dynamodb:TABLE or s3://BUCKET/PREFIX"));
        }
        TargetSpec::Dynamodb { table, endpoint, region } => {
            (Kind::TargetTable, table_arn(table, region.as_deref(), &outputs.at), endpoint)
        }
        TargetSpec::S3 { bucket, endpoint, .. } => {
            (Kind::TargetBucket, bucket_arn(bucket, &outputs.at), endpoint)
        }
    };
    match endpoint.as_deref() {
        Some(EMBEDDED) => Err(embedded().object("--endpoint")),
        // Another service than AWS's own has no grants of IAM.
        Some(_) => Ok(()),
        None if outputs.grants.names(kind, &arn) => Ok(()),
        None => Err(not_granted(outputs, "to write", &[Wanted { of: "--to", kind, arn }])),
    }
}

/// Whether a stack can put records back into a resource; what else an undo needs, its plan asks for.
///
/// # Errors
/// `InvalidInput` if it is not granted.
pub(super) fn admit_undo(outputs: &Outputs, resource: &Resource) -> Result<()> {
    match wanted(resource, &outputs.at)? {
        Some(Wanted { of, kind: Kind::SourceTable, arn })
            if !outputs.grants.names(Kind::TargetTable, &arn) =>
        {
            Err(not_granted(outputs, "to write", &[Wanted { of, kind: Kind::TargetTable, arn }]))
        }
        _ => Ok(()),
    }
}

/// The grant that a resource needs, if any.
fn wanted<'a>(resource: &'a Resource, at: &At) -> Result<Option<Wanted<'a>>> {
    let (kind, arn, endpoint) = match &resource.source {
        SourceSpec::Files { .. } => return Err(not_reached(resource, "files")),
        SourceSpec::Jsonl { .. } => return Err(not_reached(resource, "jsonl")),
        SourceSpec::Json { path: Some(_), .. } => return Err(not_reached(resource, "json with a path")),
        SourceSpec::Json { path: None, .. } => return Ok(None),
        SourceSpec::Dynamodb { table, endpoint, region } => {
            (Kind::SourceTable, table_arn(table, region.as_deref(), at), endpoint)
        }
        SourceSpec::S3 { bucket, endpoint, .. } => (Kind::SourceBucket, bucket_arn(bucket, at), endpoint),
    };
    match endpoint.as_deref() {
        Some(EMBEDDED) => Err(embedded().object(&resource.name)),
        Some(_) => Ok(None),
        None => Ok(Some(Wanted { of: &resource.name, kind, arn })),
    }
}

fn bucket_arn(bucket: &str, at: &At) -> String {
    format!("arn:{}:s3:::{bucket}", at.partition)
}

fn table_arn(table: &str, region: Option<&str>, at: &At) -> String {
    if table.starts_with("arn:") {
        return table.to_owned();
    }
    let At { partition, account, .. } = at;
    format!("arn:{partition}:dynamodb:{}:{account}:table/{table}", region.unwrap_or(&at.region))
}

fn not_reached(resource: &Resource, kind: &str) -> Error {
    let message = format!("resource {}: a stack does not reach this machine's files ({kind})", resource.name);
    Error::new(Code::InvalidInput, message)
        .object(&resource.name)
        .hint("back it up in a home, without --stack; or put it into a bucket and use kind s3")
}

fn embedded() -> Error {
    Error::new(Code::InvalidInput, "endpoint embedded is the DynamoDB inside a home; a stack has none")
        .hint("leave the endpoint out, or work on a home without --stack")
}

fn not_granted(outputs: &Outputs, doing: &str, missing: &[Wanted<'_>]) -> Error {
    let told: Vec<String> = missing.iter().map(|wanted| format!("{} ({})", wanted.arn, wanted.of)).collect();
    let message = format!("the stack {} is not granted {doing} {}", outputs.stack, told.join(", "));
    let mut parameters = Vec::new();
    for kind in Kind::ALL {
        let arns: Vec<&str> =
            missing.iter().filter(|wanted| wanted.kind == kind).map(|wanted| wanted.arn.as_str()).collect();
        if !arns.is_empty() {
            parameters.push(outputs.grants.extended(kind, &arns));
        }
    }
    let by_tag = missing.iter().any(|wanted| taggable(outputs, wanted));
    let tag = match outputs.grants.tag() {
        Some((key, value)) if by_tag => format!(", or give the table the tag {key}={value}"),
        _ => String::new(),
    };
    let hint = format!("deploy the stack again with --parameter-overrides {}{tag}", parameters.join(" "));
    let object = missing.first().map(|wanted| wanted.arn.clone()).unwrap_or_default();
    Error::new(Code::InvalidInput, message).object(object).hint(hint)
}

/// Whether a tag could grant it: the stack's policies know tags of tables to be read, beside itself.
fn taggable(outputs: &Outputs, wanted: &Wanted<'_>) -> bool {
    wanted.kind == Kind::SourceTable && wanted.arn.starts_with(&table_arn("", None, &outputs.at))
}

fn unknown(outputs: &Outputs, wanted: &Wanted<'_>, why: &str) -> Warning {
    let Wanted { of, kind, arn } = wanted;
    let (stack, parameter) = (&outputs.stack, kind.parameter());
    let message = format!(
        "whether the stack {stack} may read the source of {of} is not known: {parameter} does not name {arn}, and its tags cannot be read ({why})"
    );
    Warning::new("GrantUnknown", message)
}

async fn tagged(config: &SdkConfig, outputs: &Outputs, wanted: &Wanted<'_>) -> Tagged {
    let Some((key, value)) = outputs.grants.tag().filter(|_| taggable(outputs, wanted)) else {
        return Tagged::No;
    };
    let client = aws_sdk_dynamodb::Client::new(config);
    let mut next = None;
    loop {
        let asked =
            client.list_tags_of_resource().resource_arn(&wanted.arn).set_next_token(next).send().await;
        let page = match asked {
            Ok(page) => page,
            Err(error) if name_of(&error) == Some("ResourceNotFoundException") => return Tagged::No,
            Err(error) => return Tagged::Unknown(name_of(&error).unwrap_or("no answer").to_owned()),
        };
        if page.tags().iter().any(|tag| tag.key() == key && tag.value() == value) {
            return Tagged::Yes;
        }
        next = page.next_token;
        if next.is_none() {
            return Tagged::No;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outputs::test_support;
    use super::*;
    use serde_json::json;

    fn at() -> At {
        let text = |text: &str| text.to_owned();
        At { partition: text("aws"), region: text("eu-central-1"), account: text("123456789012") }
    }

    fn outputs() -> Outputs {
        let granted = [
            ("TargetTableArns", "arn:aws:dynamodb:eu-central-1:123456789012:table/restored-*"),
            ("AccessTagKey", "holdfast:access"),
            ("AccessTagValue", "allow"),
        ];
        let mut all = test_support::all("aws:eu-central-1");
        all.extend(granted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Outputs::read("shop", all).unwrap()
    }

    fn resource(source: &serde_json::Value) -> Resource {
        serde_json::from_value(json!({ "name": "shop", "source": source })).unwrap()
    }

    fn arn(source: &serde_json::Value) -> Option<String> {
        wanted(&resource(source), &at()).unwrap().map(|wanted| wanted.arn)
    }

    #[test]
    fn a_source_is_granted_by_its_arn() {
        let table = |name: &str| json!({ "kind": "dynamodb", "table": name });
        assert_eq!(arn(&table("orders")).unwrap(), "arn:aws:dynamodb:eu-central-1:123456789012:table/orders");
        let elsewhere = json!({ "kind": "dynamodb", "table": "orders", "region": "eu-west-1" });
        assert_eq!(arn(&elsewhere).unwrap(), "arn:aws:dynamodb:eu-west-1:123456789012:table/orders");
        let named = "arn:aws:dynamodb:us-east-1:1:table/orders";
        assert_eq!(arn(&table(named)).unwrap(), named);
        let bucket = json!({ "kind": "s3", "bucket": "media", "prefix": "img/" });
        assert_eq!(arn(&bucket).unwrap(), "arn:aws:s3:::media");
    }

    #[test]
    fn what_aws_does_not_guard_needs_no_grant() {
        assert_eq!(arn(&json!({ "kind": "json", "document": { "orders": [] } })), None);
        let other = json!({ "kind": "s3", "bucket": "media", "endpoint": "https://storage.example" });
        assert_eq!(arn(&other), None);
    }

    #[test]
    fn what_no_stack_reaches_is_refused() {
        for source in [
            json!({ "kind": "files", "path": "/srv" }),
            json!({ "kind": "jsonl", "path": "/srv", "key": ["/id"] }),
            json!({ "kind": "json", "path": "/srv/export.json" }),
            json!({ "kind": "dynamodb", "table": "orders", "endpoint": "embedded" }),
        ] {
            let error = wanted(&resource(&source), &at()).unwrap_err();
            assert_eq!((error.code, error.object.as_deref()), (Code::InvalidInput, Some("shop")));
            assert!(error.hint.is_some());
        }
        let target = |to: &str, endpoint: Option<&str>| {
            admit_target(&outputs(), &TargetSpec::parse(to, endpoint.map(str::to_owned), None).unwrap())
        };
        for (to, endpoint) in [("files:out", None), ("jsonl:out", None), ("dynamodb:t", Some("embedded"))] {
            assert_eq!(target(to, endpoint).unwrap_err().code, Code::InvalidInput);
        }
        target("dynamodb:restored-orders", None).unwrap();
        target("dynamodb:orders", Some("http://127.0.0.1:8000")).unwrap();
        let error = target("s3://media/img", None).unwrap_err();
        assert_eq!(error.object.as_deref(), Some("arn:aws:s3:::media"));
        assert!(error.hint.unwrap().ends_with("--parameter-overrides \"TargetBuckets=arn:aws:s3:::media\""));
    }

    #[test]
    fn all_that_is_missing_is_told_with_what_grants_it() {
        let (orders, media) = (
            resource(&json!({ "kind": "dynamodb", "table": "orders" })),
            resource(&json!({ "kind": "s3", "bucket": "media" })),
        );
        let missing = [&orders, &media].map(|of| wanted(of, &at()).unwrap().unwrap());
        let error = not_granted(&outputs(), "to read", &missing);
        assert_eq!(
            error.message,
            "the stack shop is not granted to read arn:aws:dynamodb:eu-central-1:123456789012:table/orders (shop), \
             arn:aws:s3:::media (shop)"
        );
        assert_eq!(
            error.hint.unwrap(),
            "deploy the stack again with --parameter-overrides \
             \"SourceTables=arn:aws:dynamodb:eu-central-1:123456789012:table/orders\" \
             \"SourceBuckets=arn:aws:s3:::media\", or give the table the tag holdfast:access=allow"
        );
    }

    #[test]
    fn a_tag_grants_a_table_beside_the_stack_only() {
        let is = |source: &serde_json::Value| {
            taggable(&outputs(), &wanted(&resource(source), &at()).unwrap().unwrap())
        };
        assert!(is(&json!({ "kind": "dynamodb", "table": "orders" })));
        assert!(!is(&json!({ "kind": "dynamodb", "table": "orders", "region": "eu-west-1" })));
        assert!(!is(&json!({ "kind": "s3", "bucket": "media" })));
    }
}
