//! Which resources a stack can back up: what its functions can reach, and what they are granted.

use super::fault::name_of;
use super::grants::Kind;
use super::outputs::{At, Outputs};
use aws_config::{Region, SdkConfig};
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::config::Resource;

/// The endpoint that means the DynamoDB inside a home.
const EMBEDDED: &str = "embedded";

/// A source that a stack needs a grant for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted<'a> {
    resource: &'a str,
    kind: Kind,
    name: &'a str,
    arn: String,
    region: Option<&'a str>,
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
    if missing.is_empty() { Ok(warnings) } else { Err(not_granted(outputs, &missing)) }
}

/// The grant that a resource needs, if any.
fn wanted<'a>(resource: &'a Resource, at: &At) -> Result<Option<Wanted<'a>>> {
    let (kind, name, arn, endpoint, region) = match &resource.source {
        SourceSpec::Files { .. } => return Err(not_reached(resource, "files")),
        SourceSpec::Jsonl { .. } => return Err(not_reached(resource, "jsonl")),
        SourceSpec::Json { path: Some(_), .. } => return Err(not_reached(resource, "json with a path")),
        SourceSpec::Json { path: None, .. } => return Ok(None),
        SourceSpec::Dynamodb { table, endpoint, region } => {
            (Kind::Table, table, table_arn(table, region.as_deref(), at), endpoint, region)
        }
        SourceSpec::S3 { bucket, endpoint, region, .. } => {
            (Kind::Bucket, bucket, format!("arn:{}:s3:::{bucket}", at.partition), endpoint, region)
        }
    };
    match endpoint.as_deref() {
        Some(EMBEDDED) => Err(embedded().object(&resource.name)),
        // Another service than AWS's own has no grants of IAM.
        Some(_) => Ok(None),
        None => Ok(Some(Wanted { resource: &resource.name, kind, name, arn, region: region.as_deref() })),
    }
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

/// Whether a stack can write into a target.
///
/// # Errors
/// `InvalidInput` if it is on this machine or in a home.
pub(super) fn reachable(target: &TargetSpec) -> Result<()> {
    match target {
        TargetSpec::Files { .. } | TargetSpec::Jsonl { .. } | TargetSpec::Json { .. } => {
            let message = format!("a stack does not reach this machine's files: {target}");
            Err(Error::new(Code::InvalidInput, message)
                .object("--to")
                .hint("use dynamodb:TABLE or s3://BUCKET/PREFIX"))
        }
        TargetSpec::Dynamodb { endpoint, .. } | TargetSpec::S3 { endpoint, .. } => {
            if endpoint.as_deref() == Some(EMBEDDED) { Err(embedded().object("--endpoint")) } else { Ok(()) }
        }
    }
}

fn not_granted(outputs: &Outputs, missing: &[Wanted<'_>]) -> Error {
    let told: Vec<String> =
        missing.iter().map(|wanted| format!("{} ({})", wanted.resource, wanted.arn)).collect();
    let message = format!("the stack {} is not granted the source of {}", outputs.stack, told.join(", "));
    let mut parameters = Vec::new();
    for kind in [Kind::Table, Kind::Bucket] {
        let arns: Vec<&str> =
            missing.iter().filter(|wanted| wanted.kind == kind).map(|wanted| wanted.arn.as_str()).collect();
        if !arns.is_empty() {
            parameters.push(format!("\"{}\"", outputs.grants.extended(kind, &arns)));
        }
    }
    let tag = outputs.grants.tag().map_or_else(String::new, |(key, value)| {
        format!(", or tag it {key}={value} where the service's policies know tags")
    });
    let hint = format!("deploy the stack with --parameter-overrides {}{tag}", parameters.join(" "));
    let object = missing.first().map(|wanted| wanted.arn.clone()).unwrap_or_default();
    Error::new(Code::InvalidInput, message).object(object).hint(hint)
}

fn unknown(outputs: &Outputs, wanted: &Wanted<'_>, why: &str) -> Warning {
    let Wanted { resource, kind, arn, .. } = wanted;
    let message = format!(
        "whether the stack {} may read the source of {resource} is not known: {} does not name {arn}, and its tags cannot be read ({why})",
        outputs.stack,
        kind.parameter(),
    );
    Warning::new("GrantUnknown", message)
}

async fn tagged(config: &SdkConfig, outputs: &Outputs, wanted: &Wanted<'_>) -> Tagged {
    let Some((key, value)) = outputs.grants.tag() else { return Tagged::No };
    let read = match wanted.kind {
        Kind::Table => table_tags(config, wanted).await,
        Kind::Bucket => bucket_tags(config, wanted).await,
    };
    match read {
        Ok(tags) if tags.iter().any(|(k, v)| k == key && v == value) => Tagged::Yes,
        Ok(_) => Tagged::No,
        Err(why) => Tagged::Unknown(why),
    }
}

type Tags = Vec<(String, String)>;

async fn table_tags(config: &SdkConfig, wanted: &Wanted<'_>) -> Result<Tags, String> {
    let mut builder = aws_sdk_dynamodb::config::Builder::from(config);
    if let Some(region) = wanted.region {
        builder = builder.region(Region::new(region.to_owned()));
    }
    let client = aws_sdk_dynamodb::Client::from_conf(builder.build());
    let (mut tags, mut next) = (Tags::new(), None);
    loop {
        let asked =
            client.list_tags_of_resource().resource_arn(&wanted.arn).set_next_token(next).send().await;
        let page = match asked {
            Ok(page) => page,
            Err(error) if name_of(&error) == Some("ResourceNotFoundException") => return Ok(tags),
            Err(error) => return Err(name_of(&error).unwrap_or("no answer").to_owned()),
        };
        tags.extend(page.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)));
        next = page.next_token;
        if next.is_none() {
            return Ok(tags);
        }
    }
}

async fn bucket_tags(config: &SdkConfig, wanted: &Wanted<'_>) -> Result<Tags, String> {
    // An emulator's address has no room for a bucket's name in front.
    let local = config.endpoint_url().is_some();
    let mut builder = aws_sdk_s3::config::Builder::from(config).force_path_style(local);
    if let Some(region) = wanted.region {
        builder = builder.region(Region::new(region.to_owned()));
    }
    let client = aws_sdk_s3::Client::from_conf(builder.build());
    match client.get_bucket_tagging().bucket(wanted.name).send().await {
        Ok(answer) => Ok(answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect()),
        Err(error) => match name_of(&error) {
            Some("NoSuchTagSet" | "NoSuchBucket") => Ok(Tags::new()),
            name => Err(name.unwrap_or("no answer").to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at() -> At {
        let text = |text: &str| text.to_owned();
        At { partition: text("aws"), region: text("eu-central-1"), account: text("123456789012") }
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
        for (to, endpoint) in [("files:out", None), ("jsonl:out", None), ("dynamodb:t", Some("embedded"))] {
            let target = TargetSpec::parse(to, endpoint.map(str::to_owned), None).unwrap();
            assert_eq!(reachable(&target).unwrap_err().code, Code::InvalidInput);
        }
        reachable(&TargetSpec::parse("s3://media/img", None, None).unwrap()).unwrap();
    }
}
