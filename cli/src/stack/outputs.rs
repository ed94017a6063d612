//! The outputs of a stack: the names of what a command needs, and what the stack was granted.

use super::grants::Grants;
use holdfast_vault::error::{Code, Error, Result};
use std::collections::BTreeMap;

/// What a command needs of a stack.
#[derive(Debug)]
pub(super) struct Outputs {
    /// The stack, as the operator named it.
    pub(super) stack: String,
    /// The job table's name.
    pub(super) job_table: String,
    /// ARNs of the state machines.
    pub(super) backup: String,
    pub(super) restore: String,
    pub(super) verify: String,
    pub(super) undo: String,
    pub(super) prune: String,
    pub(super) drill: String,
    /// The staging bucket's name.
    pub(super) staging: String,
    /// Which sources the functions may read.
    pub(super) grants: Grants,
    /// Where the stack is.
    pub(super) at: At,
}

/// Where a stack is, for the ARNs of what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) partition: String,
    pub(super) region: String,
    pub(super) account: String,
}

impl At {
    fn read(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':').map(str::to_owned);
        let (arn, partition, _) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account) = (parts.next()?, parts.next()?);
        (arn == "arn" && parts.next().is_some()).then_some(Self { partition, region, account })
    }
}

impl Outputs {
    /// Reads what `DescribeStacks` gave.
    ///
    /// # Errors
    /// `HomeInvalid` naming the output that is missing: it is no stack of ours, or an older one.
    pub(super) fn read(stack: &str, mut all: BTreeMap<String, String>) -> Result<Self> {
        let mut take = |name: &str| {
            all.remove(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                Error::new(Code::HomeInvalid, format!("the stack {stack} has no output {name}"))
                    .object(name)
                    .hint("name a stack of Holdfast's template.yaml, or deploy this one again")
            })
        };
        let (job_table, backup) = (take("JobTableName")?, take("BackupMachineArn")?);
        let (restore, verify) = (take("RestoreMachineArn")?, take("VerifyMachineArn")?);
        let (undo, drill) = (take("UndoMachineArn")?, take("DrillMachineArn")?);
        let staging = take("StagingBucketName")?;
        let prune = take("PruneMachineArn")?;
        let at = At::read(&backup).ok_or_else(|| {
            Error::new(Code::HomeInvalid, format!("the output BackupMachineArn of {stack} is no ARN"))
                .object("BackupMachineArn")
        })?;
        Ok(Self {
            stack: stack.to_owned(),
            job_table,
            backup,
            restore,
            verify,
            undo,
            prune,
            drill,
            staging,
            grants: Grants::read(&all),
            at,
        })
    }
}

/// The outputs of a stack that lacks nothing, for the tests of what reads them. A region is named with its partition:
/// `aws:eu-central-1`.
#[cfg(test)]
pub(super) mod test_support {
    use std::collections::BTreeMap;

    pub(in crate::stack) fn all(region: &str) -> BTreeMap<String, String> {
        let (partition, region) = region.split_once(':').unwrap();
        let machine =
            |name: &str| format!("arn:{partition}:states:{region}:123456789012:stateMachine:{name}");
        let named = [
            ("JobTableName", "jobs".to_owned()),
            ("BackupMachineArn", machine("backup")),
            ("RestoreMachineArn", machine("restore")),
            ("VerifyMachineArn", machine("verify")),
            ("UndoMachineArn", machine("undo")),
            ("PruneMachineArn", machine("prune")),
            ("DrillMachineArn", machine("drill")),
            ("StagingBucketName", "staging".to_owned()),
        ];
        named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> BTreeMap<String, String> {
        test_support::all("aws-cn:cn-north-1")
    }

    #[test]
    fn what_a_command_needs_is_found() {
        let outputs = Outputs::read("shop", all()).unwrap();
        assert_eq!((outputs.stack.as_str(), outputs.job_table.as_str()), ("shop", "jobs"));
        assert!(outputs.verify.ends_with(":verify"));
        let At { partition, region, account } = outputs.at;
        assert_eq!([partition, region, account], ["aws-cn", "cn-north-1", "123456789012"]);
    }

    #[test]
    fn an_output_that_is_missing_is_named() {
        for name in all().into_keys() {
            let mut some = all();
            some.remove(&name);
            let error = Outputs::read("shop", some).unwrap_err();
            assert_eq!((error.code, error.object.as_deref()), (Code::HomeInvalid, Some(name.as_str())));
        }
        let wrong = all().into_keys().map(|name| (name, "x".to_owned())).collect();
        assert!(Outputs::read("shop", wrong).unwrap_err().message.contains("no ARN"));
    }
}
