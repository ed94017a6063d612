//! What a template says of a restore test.

use crate::native::named;
use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Records that are compared where the template does not say.
const SAMPLE: u32 = 100;
/// Records that are compared at most.
const MOST: u32 = 10_000;

/// What is restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestKind {
    /// The newest backup of one of ours.
    Holdfast,
    /// A table's point-in-time recovery.
    Pitr,
    /// A recovery point of AWS Backup.
    Backup,
}

/// The properties of `Custom::RestoreTest`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Properties {
    kind: TestKind,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    table_name: Option<String>,
    #[serde(default)]
    recovery_point_arn: Option<String>,
    #[serde(default)]
    backup_vault_name: Option<String>,
    #[serde(default)]
    sample_size: Option<Value>,
    #[serde(default)]
    max_missing_percent: Option<Value>,
    /// Anything: another value than before runs the test again.
    #[serde(default)]
    #[expect(dead_code, reason = "only CloudFormation looks at it")]
    run: Option<Value>,
}

/// What a test is to prove, with nothing left to doubt.
#[derive(Debug, Clone, PartialEq)]
pub struct TestOrder {
    pub(super) what: What,
    pub(super) sample: u32,
    pub(super) max_missing_percent: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Holdfast { resource: String },
    Pitr { table: String },
    Backup { point: String, vault: Option<String> },
}

impl TestOrder {
    /// Reads the properties.
    ///
    /// # Errors
    /// `InvalidInput` naming the property.
    pub fn read(properties: Map<String, Value>) -> Result<Self> {
        let properties: Properties = serde_json::from_value(Value::Object(properties)).map_err(|error| {
            Error::new(Code::InvalidInput, format!("the properties of the test are not understood: {error}"))
                .object("ResourceProperties")
        })?;
        let Properties { resource, table_name, recovery_point_arn, backup_vault_name, .. } = &properties;
        let given = [
            ("Resource", resource),
            ("TableName", table_name),
            ("RecoveryPointArn", recovery_point_arn),
            ("BackupVaultName", backup_vault_name),
        ];
        let allowed: &[&str] = match properties.kind {
            TestKind::Holdfast => &["Resource"],
            TestKind::Pitr => &["TableName"],
            TestKind::Backup => &["RecoveryPointArn", "BackupVaultName"],
        };
        if let Some((name, _)) = given.iter().find(|(name, value)| value.is_some() && !allowed.contains(name))
        {
            return Err(wrong(
                name,
                &format!("does not go with this Kind, which takes {}", allowed.join(", ")),
            ));
        }
        let required = |name: &str, value: &Option<String>| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| wrong(name, "is missing: this Kind needs it"))
        };
        let what = match properties.kind {
            TestKind::Holdfast => What::Holdfast { resource: required("Resource", resource)? },
            TestKind::Pitr => What::Pitr { table: named("TableName", &required("TableName", table_name)?)? },
            TestKind::Backup => {
                let point = required("RecoveryPointArn", recovery_point_arn)?;
                if !point.starts_with("arn:") {
                    return Err(wrong("RecoveryPointArn", "is no ARN"));
                }
                What::Backup { point, vault: backup_vault_name.clone() }
            }
        };
        Ok(Self {
            what,
            sample: sample(properties.sample_size.as_ref())?,
            max_missing_percent: percent(properties.max_missing_percent.as_ref())?,
        })
    }

    /// What is restored from.
    #[must_use]
    pub const fn kind(&self) -> TestKind {
        match self.what {
            What::Holdfast { .. } => TestKind::Holdfast,
            What::Pitr { .. } => TestKind::Pitr,
            What::Backup { .. } => TestKind::Backup,
        }
    }
}

fn wrong(field: &str, why: &str) -> Error {
    Error::new(Code::InvalidInput, format!("{field} {why}")).object(field)
}

/// CloudFormation hands numbers on as text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn sample(value: Option<&Value>) -> Result<u32> {
    let Some(value) = value else { return Ok(SAMPLE) };
    let number = text(value).parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| wrong("SampleSize", &format!("is {value}: give 1 to {MOST}")))
}

fn percent(value: Option<&Value>) -> Result<f64> {
    let Some(value) = value else { return Ok(0.0) };
    let number = text(value).parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| wrong("MaxMissingPercent", &format!("is {value}: give 0 to 100")))
}

#[cfg(test)]
mod tests {
    use super::{TestKind, TestOrder};
    use serde_json::{Value, json};

    fn read(properties: &Value) -> holdfast_vault::error::Result<TestOrder> {
        TestOrder::read(properties.as_object().unwrap().clone())
    }

    #[test]
    fn properties_are_read_as_cloudformation_sends_them() {
        let order = read(&json!({
            "Kind": "PITR",
            "TableName": "arn:aws:dynamodb:eu-west-1:1:table/orders",
            "SampleSize": "50",
            "MaxMissingPercent": "0.5",
            "Run": "2026-11-21",
        }))
        .unwrap();
        assert_eq!(order.kind(), TestKind::Pitr);
        assert_eq!((order.sample, order.max_missing_percent), (50, 0.5));
        let plain = read(&json!({"Kind": "HOLDFAST", "Resource": "orders"})).unwrap();
        assert_eq!((plain.sample, plain.max_missing_percent), (100, 0.0));
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_name() {
        for (properties, object) in [
            (json!({"Kind": "PITR"}), "TableName"),
            (json!({"Kind": "HOLDFAST", "TableName": "orders"}), "TableName"),
            (json!({"Kind": "HOLDFAST"}), "Resource"),
            (json!({"Kind": "BACKUP", "RecoveryPointArn": "orders"}), "RecoveryPointArn"),
            (json!({"Kind": "BACKUP", "RecoveryPointArn": "arn:x", "Resource": "orders"}), "Resource"),
            (json!({"Kind": "PITR", "TableName": "orders", "SampleSize": "0"}), "SampleSize"),
            (
                json!({"Kind": "PITR", "TableName": "orders", "MaxMissingPercent": "many"}),
                "MaxMissingPercent",
            ),
            (json!({"Kind": "PITR", "TableName": "orders", "Colour": "red"}), "ResourceProperties"),
            (json!({"Kind": "OTHER"}), "ResourceProperties"),
        ] {
            let error = read(&properties).unwrap_err();
            assert_eq!((error.code.as_str(), error.object.as_deref()), ("InvalidInput", Some(object)));
        }
    }
}
