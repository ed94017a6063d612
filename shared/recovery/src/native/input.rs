//! What a restore is started with.

use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a restore is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "restoreType", deny_unknown_fields)]
pub enum NativeInput {
    /// A table as it was at a second of its last days.
    #[serde(rename = "PITR", rename_all = "camelCase")]
    Pitr {
        /// The table, by its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_table_name: Option<String>,
        /// The table, by its ARN.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_table_arn: Option<String>,
        /// The new table.
        target_table_name: String,
        /// The time, RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restore_date_time: Option<String>,
        /// The latest time that there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_latest_restorable_time: Option<bool>,
    },
    /// A recovery point of AWS Backup.
    #[serde(rename = "BACKUP", rename_all = "camelCase")]
    Backup {
        /// The recovery point.
        recovery_point_arn: String,
        /// The new table.
        target_table_name: String,
        /// The backup vault that holds it; all are looked through where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup_vault_name: Option<String>,
        /// The table whose settings the new one gets; the one that was backed up where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings_from: Option<String>,
    },
}

/// What to restore, with nothing left to doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Time { source: String, arn: Option<String>, at: Option<Timestamp>, target: String },
    Point { arn: String, vault: Option<String>, settings_from: Option<String>, target: String },
}

impl Order {
    /// Reads an input.
    ///
    /// # Errors
    /// `InvalidInput` naming the field.
    pub(super) fn read(input: Value) -> Result<Self> {
        let input: NativeInput = serde_json::from_value(input).map_err(|error| {
            Error::new(Code::InvalidInput, format!("the restore is not understood: {error}"))
                .object("input")
                .hint(
                    "write {\"restoreType\": \"PITR\", \"sourceTableName\", \"targetTableName\", \
                     \"restoreDateTime\" or \"useLatestRestorableTime\": true}, or {\"restoreType\": \"BACKUP\", \
                     \"recoveryPointArn\", \"targetTableName\"}",
                )
        })?;
        match input {
            NativeInput::Pitr {
                source_table_name,
                source_table_arn,
                target_table_name,
                restore_date_time,
                use_latest_restorable_time,
            } => {
                let (source, arn) = source(source_table_name, source_table_arn)?;
                let at = point(restore_date_time.as_deref(), use_latest_restorable_time)?;
                let target = table_name("targetTableName", &target_table_name)?;
                if target == source {
                    return Err(wrong("targetTableName", "is the table that is restored")
                        .hint("a restore makes a new table: give another name"));
                }
                Ok(Self::Time { source, arn, at, target })
            }
            NativeInput::Backup {
                recovery_point_arn,
                target_table_name,
                backup_vault_name,
                settings_from,
            } => {
                if !recovery_point_arn.starts_with("arn:") {
                    return Err(wrong("recoveryPointArn", "is no ARN"));
                }
                let settings_from = settings_from.map(|table| named("settingsFrom", &table)).transpose()?;
                Ok(Self::Point {
                    arn: recovery_point_arn,
                    vault: backup_vault_name,
                    settings_from,
                    target: table_name("targetTableName", &target_table_name)?,
                })
            }
        }
    }
}

fn source(name: Option<String>, arn: Option<String>) -> Result<(String, Option<String>)> {
    match (name, arn) {
        (Some(name), None) => Ok((table_name("sourceTableName", &name)?, None)),
        (None, Some(arn)) => {
            let name = table_of(&arn).ok_or_else(|| wrong("sourceTableArn", "is no ARN of a table"))?;
            Ok((name, Some(arn)))
        }
        (Some(_), Some(_)) => {
            Err(wrong("sourceTableArn", "stands beside sourceTableName: keep one of the two"))
        }
        (None, None) => {
            Err(wrong("sourceTableName", "is missing, and sourceTableArn too: give one of the two"))
        }
    }
}

fn point(at: Option<&str>, latest: Option<bool>) -> Result<Option<Timestamp>> {
    match (at, latest) {
        (None, Some(true)) => Ok(None),
        (Some(at), None | Some(false)) => {
            let parsed: std::result::Result<Timestamp, _> = at.parse();
            parsed.map(Some).map_err(|error| {
                wrong("restoreDateTime", &format!("{at:?} is no time: {error}"))
                    .hint("write it as 2026-11-21T14:00:00Z")
            })
        }
        (Some(_), Some(true)) => {
            Err(wrong("useLatestRestorableTime", "stands beside restoreDateTime: keep one of the two"))
        }
        (None, None | Some(false)) => {
            Err(wrong("restoreDateTime", "is missing: give it, or useLatestRestorableTime: true"))
        }
    }
}

/// A table by its name or its ARN.
pub(crate) fn named(field: &str, table: &str) -> Result<String> {
    if table.starts_with("arn:") {
        return table_of(table).ok_or_else(|| wrong(field, "is no ARN of a table"));
    }
    table_name(field, table)
}

/// The table of an ARN such as `arn:aws:dynamodb:eu-west-1:123456789012:table/orders`, or of what is below it.
pub(crate) fn table_of(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "dynamodb", _, _, resource] = parts.as_slice() else { return None };
    let name = resource.strip_prefix("table/")?.split('/').next()?;
    table_name("", name).ok()
}

fn table_name(field: &str, name: &str) -> Result<String> {
    let fits = (3..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if fits {
        return Ok(name.to_owned());
    }
    Err(wrong(field, &format!("{name:?} is no name of a table"))
        .hint("3 to 255 of a-z, A-Z, 0-9, '_', '-' and '.'"))
}

pub(super) fn wrong(field: &str, why: &str) -> Error {
    Error::new(Code::InvalidInput, format!("{field} {why}")).object(field)
}

#[cfg(test)]
mod tests {
    use super::{Order, table_of};
    use serde_json::{Value, json};

    fn refusal(input: Value) -> (String, String) {
        let error = Order::read(input).unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidInput");
        (error.object.unwrap(), error.message)
    }

    #[test]
    fn orders_are_read() {
        let order = Order::read(json!({
            "restoreType": "PITR",
            "sourceTableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
            "targetTableName": "orders-back",
            "restoreDateTime": "2026-11-21T14:00:00+01:00",
        }));
        let Order::Time { source, at, target, .. } = order.unwrap() else { panic!("of another kind") };
        assert_eq!((source.as_str(), target.as_str()), ("orders", "orders-back"));
        assert_eq!(at.unwrap().to_string(), "2026-11-21T13:00:00Z");
        let latest = json!({
            "restoreType": "PITR", "sourceTableName": "orders", "targetTableName": "orders-back",
            "useLatestRestorableTime": true,
        });
        assert!(matches!(Order::read(latest).unwrap(), Order::Time { at: None, .. }));
    }

    #[test]
    fn every_doubt_is_told_by_its_field() {
        let pitr = |more: Value| {
            let mut input =
                json!({"restoreType": "PITR", "sourceTableName": "orders", "targetTableName": "back"});
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            input
        };
        for (input, field) in [
            (json!({"restoreType": "PITR", "targetTableName": "back"}), "sourceTableName"),
            (pitr(json!({})), "restoreDateTime"),
            (pitr(json!({"restoreDateTime": "yesterday"})), "restoreDateTime"),
            (
                pitr(json!({"restoreDateTime": "2026-11-21T14:00:00Z", "useLatestRestorableTime": true})),
                "useLatestRestorableTime",
            ),
            (pitr(json!({"useLatestRestorableTime": true, "targetTableName": "orders"})), "targetTableName"),
            (pitr(json!({"useLatestRestorableTime": true, "targetTableName": "a b"})), "targetTableName"),
            (pitr(json!({"sourceTableArn": "arn:aws:dynamodb:eu-west-1:1:table/orders"})), "sourceTableArn"),
            (
                json!({"restoreType": "BACKUP", "recoveryPointArn": "x", "targetTableName": "back"}),
                "recoveryPointArn",
            ),
        ] {
            assert_eq!(refusal(input.clone()).0, field, "{input}");
        }
        let (object, message) = refusal(pitr(json!({"colour": "red"})));
        assert_eq!(object, "input");
        assert!(message.contains("`colour`"), "{message}");
        assert!(refusal(json!({"restoreType": "MOON"})).1.contains("MOON"));
    }

    #[test]
    fn arns_name_tables() {
        let arn = |rest: &str| format!("arn:aws:dynamodb:eu-west-1:123456789012:{rest}");
        assert_eq!(table_of(&arn("table/orders")).as_deref(), Some("orders"));
        assert_eq!(table_of(&arn("table/orders/backup/01-2")).as_deref(), Some("orders"));
        assert_eq!(table_of(&arn("index/orders")), None);
        assert_eq!(table_of("arn:aws:s3:::table/orders"), None);
    }
}
