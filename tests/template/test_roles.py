"""Every call of an AWS SDK in the code against the roles of the functions that make it, both ways.

CALLS names every place in the code that calls AWS, the action of IAM that the call needs, and the functions that reach it.
A call that is not in the table fails a test, and so does an entry that is not in the code: who adds a call says whose it is,
and the roles must follow.
"""

from __future__ import annotations

import re
import unittest
from functools import cache

import botocore.loaders
from botocore import xform_name
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource

from tests.template.stack import ROOT, function_names, listed, logical, stack

# Where the code may call AWS. The vault's crate does not know AWS, the command line has the operator's rights.
SCANNED = (
    "shared/common/src",
    "shared/connectors/src",
    "shared/kms/src",
    "shared/lambda/src",
    "shared/recovery/src",
    "shared/workflow/src",
    "functions",
)

SERVICES = ("application-autoscaling", "backup", "cloudwatch", "dynamodb", "kms", "lambda", "s3", "sns", "sqs", "stepfunctions")

STEPS = {"plan", "export-chunk", "upload-part", "commit", "verify", "fail", "restore", "undo", "capture", "prune", "drill"}
VAULT = STEPS | {"setup"}
# Who has a job, or a part of one, in hand.
WORKERS = {"export-chunk", "upload-part", "restore"}
# Who ends a job, and forgets its work.
ENDERS = {"commit", "fail", "restore", "undo", "drill"}
COMPARERS = {"native-restore", "restore-test", "validate-restore"}

JOBS = "shared/common/src/jobs"
S3 = "shared/common/src/storage"
DYNAMODB = "shared/connectors/src/dynamodb"
BUCKETS = "shared/connectors/src/s3"
KMS = "shared/kms/src"
LAMBDA = "shared/lambda/src"
RECOVERY = "shared/recovery/src/aws"

# Calls by file and method: the actions, and the functions that reach the call.
CALLS: dict[tuple[str, str], tuple[set[str], set[str]]] = {
    # Job state.
    (f"{JOBS}/one_row.rs", "get_item"): ({"dynamodb:GetItem"}, STEPS | {"dispatch", "restore-test", "api"}),
    (f"{JOBS}/one_row.rs", "put_item"): ({"dynamodb:PutItem"}, STEPS - {"export-chunk", "upload-part"} | {"api"}),
    (f"{JOBS}/job_rows.rs", "query"): (
        {"dynamodb:Query"},
        {"plan", "commit", "verify", "restore", "undo", "capture", "prune", "drill", "dispatch", "restore-test", "api"},
    ),
    (f"{JOBS}/resource_rows.rs", "query"): ({"dynamodb:Query"}, {"capture", "prune", "dispatch", "api"}),
    (f"{JOBS}/capture_rows.rs", "query"): ({"dynamodb:Query"}, {"prune"}),
    (f"{JOBS}/task_rows.rs", "query"): ({"dynamodb:Query"}, ENDERS | {"plan", "export-chunk", "api"}),
    (f"{JOBS}/write.rs", "update_item"): ({"dynamodb:UpdateItem"}, WORKERS | ENDERS),
    (f"{JOBS}/schedule_rows.rs", "query"): ({"dynamodb:Query"}, {"dispatch"}),
    (f"{JOBS}/schedule_rows.rs", "put_item"): ({"dynamodb:PutItem"}, {"dispatch"}),
    (f"{JOBS}/damaged_rows.rs", "query"): ({"dynamodb:Query"}, {"verify", "api"}),
    (f"{JOBS}/damaged_rows.rs", "put_item"): ({"dynamodb:PutItem"}, {"verify"}),
    (f"{JOBS}/damaged_rows.rs", "delete_item"): ({"dynamodb:DeleteItem"}, {"verify"}),
    (f"{JOBS}/sample_rows.rs", "put_item"): ({"dynamodb:PutItem"}, {"verify"}),
    (f"{JOBS}/condemned_rows.rs", "query"): ({"dynamodb:Query"}, {"prune", "commit"}),
    (f"{JOBS}/condemned_rows.rs", "put_item"): ({"dynamodb:PutItem"}, {"prune"}),
    (f"{JOBS}/prune_rows.rs", "query"): ({"dynamodb:Query"}, {"prune", "api"}),
    # Tasks are put, and steps are admitted by an update and puts.
    (f"{JOBS}/write.rs", "transact_write_items"): (
        {"dynamodb:PutItem", "dynamodb:UpdateItem"},
        {"upload-part", "restore"},
    ),
    (f"{JOBS}/write.rs", "batch_write_item"): ({"dynamodb:BatchWriteItem"}, ENDERS | {"upload-part", "prune"}),
    # The vault and staging.
    (f"{S3}/s3.rs", "head_object"): ({"s3:GetObject"}, VAULT),
    (f"{S3}/s3.rs", "get_object"): ({"s3:GetObject"}, VAULT),
    (f"{S3}/s3.rs", "list_objects_v2"): ({"s3:ListBucket"}, VAULT),
    (f"{S3}/s3.rs", "put_object"): ({"s3:PutObject"}, VAULT - {"verify", "drill"}),
    (f"{S3}/s3.rs", "delete_object"): ({"s3:DeleteObject"}, WORKERS | ENDERS | {"prune"}),
    (f"{S3}/s3/lock.rs", "get_object_retention"): ({"s3:GetObjectRetention"}, {"prune"}),
    (f"{S3}/s3/lock.rs", "put_object_retention"): ({"s3:PutObjectRetention"}, {"prune"}),
    (f"{S3}/s3/copy.rs", "create_multipart_upload"): ({"s3:PutObject"}, {"upload-part"}),
    (f"{S3}/s3/copy.rs", "upload_part_copy"): ({"s3:PutObject", "s3:GetObject"}, {"upload-part"}),
    (f"{S3}/s3/copy.rs", "upload_part"): ({"s3:PutObject"}, {"upload-part"}),
    (f"{S3}/s3/copy.rs", "complete_multipart_upload"): ({"s3:PutObject"}, {"upload-part"}),
    (f"{S3}/s3/copy.rs", "abort_multipart_upload"): ({"s3:AbortMultipartUpload"}, {"upload-part"}),
    # The vault's keys.
    ("shared/kms/src/lib.rs", "decrypt"): ({"kms:Decrypt"}, VAULT),
    ("shared/kms/src/lib.rs", "encrypt"): ({"kms:Encrypt"}, {"setup"}),
    # Executions.
    (f"{LAMBDA}/executions.rs", "start_execution"): ({"states:StartExecution"}, {"dispatch", "restore-test", "api"}),
    (f"{LAMBDA}/executions.rs", "describe_execution"): ({"states:DescribeExecution"}, {"dispatch"}),
    # Tables as sources.
    (f"{DYNAMODB}/source.rs", "scan"): ({"dynamodb:Scan"}, {"export-chunk", "drill"}),
    (f"{DYNAMODB}/describe.rs", "describe_table"): (
        {"dynamodb:DescribeTable"},
        {"plan", "capture", "restore", "fail", "drill"},
    ),
    (f"{DYNAMODB}/describe.rs", "describe_time_to_live"): (
        {"dynamodb:DescribeTimeToLive"},
        {"plan", "capture", "restore"} | COMPARERS,
    ),
    (f"{DYNAMODB}/describe.rs", "describe_continuous_backups"): (
        {"dynamodb:DescribeContinuousBackups"},
        {"plan", "capture", "restore"} | COMPARERS,
    ),
    (f"{DYNAMODB}/describe.rs", "list_tags_of_resource"): (
        {"dynamodb:ListTagsOfResource"},
        {"plan", "capture", "restore", "fail", "drill"} | COMPARERS,
    ),
    # Tables as targets.
    (f"{DYNAMODB}/target.rs", "scan"): ({"dynamodb:Scan"}, {"restore"}),
    (f"{DYNAMODB}/present.rs", "batch_get_item"): ({"dynamodb:BatchGetItem"}, {"restore", "undo", "fail"}),
    (f"{DYNAMODB}/write.rs", "batch_write_item"): ({"dynamodb:BatchWriteItem"}, {"restore"}),
    (f"{DYNAMODB}/write.rs", "put_item"): ({"dynamodb:PutItem"}, {"restore"}),
    (f"{DYNAMODB}/table.rs", "create_table"): ({"dynamodb:CreateTable"}, {"restore"}),
    (f"{DYNAMODB}/table.rs", "tag_resource"): ({"dynamodb:TagResource"}, {"restore"}),
    (f"{DYNAMODB}/table.rs", "untag_resource"): ({"dynamodb:UntagResource"}, {"restore", "fail"}),
    (f"{DYNAMODB}/table.rs", "update_time_to_live"): ({"dynamodb:UpdateTimeToLive"}, {"restore"}),
    (f"{DYNAMODB}/table.rs", "update_continuous_backups"): ({"dynamodb:UpdateContinuousBackups"}, {"restore"}),
    (f"{DYNAMODB}/table.rs", "update_table"): ({"dynamodb:UpdateTable"}, {"restore", "fail", "drill"}),
    (f"{DYNAMODB}/table.rs", "delete_table"): ({"dynamodb:DeleteTable"}, {"fail", "drill"}),
    # Tables in place.
    (f"{DYNAMODB}/swap.rs", "put_item"): ({"dynamodb:PutItem"}, {"undo"}),
    (f"{DYNAMODB}/swap.rs", "update_item"): ({"dynamodb:UpdateItem"}, {"undo"}),
    (f"{DYNAMODB}/swap.rs", "delete_item"): ({"dynamodb:DeleteItem"}, {"undo"}),
    # Buckets as sources.
    (f"{BUCKETS}/source.rs", "list_objects_v2"): ({"s3:ListBucket"}, {"plan", "export-chunk", "drill"}),
    (f"{BUCKETS}/read.rs", "get_object"): ({"s3:GetObject"}, {"export-chunk", "drill"}),
    (f"{BUCKETS}/read.rs", "head_object"): ({"s3:GetObject"}, {"plan", "export-chunk", "drill"}),
    (f"{BUCKETS}/read.rs", "get_object_tagging"): ({"s3:GetObjectTagging"}, {"plan", "export-chunk", "drill"}),
    # Buckets as targets.
    (f"{BUCKETS}/target.rs", "head_bucket"): ({"s3:ListBucket"}, {"restore"}),
    (f"{BUCKETS}/target.rs", "list_objects_v2"): ({"s3:ListBucket"}, {"restore"}),
    (f"{BUCKETS}/target.rs", "head_object"): ({"s3:GetObject"}, {"restore"}),
    (f"{BUCKETS}/target.rs", "get_object"): ({"s3:GetObject"}, {"restore"}),
    # With the tags that the object had.
    (f"{BUCKETS}/target.rs", "put_object"): ({"s3:PutObject", "s3:PutObjectTagging"}, {"restore"}),
    (f"{BUCKETS}/target.rs", "delete_object"): ({"s3:DeleteObject"}, {"restore", "fail"}),
    (f"{BUCKETS}/upload.rs", "create_multipart_upload"): ({"s3:PutObject", "s3:PutObjectTagging"}, {"restore"}),
    (f"{BUCKETS}/upload.rs", "upload_part"): ({"s3:PutObject"}, {"restore"}),
    (f"{BUCKETS}/upload.rs", "complete_multipart_upload"): ({"s3:PutObject"}, {"restore"}),
    (f"{BUCKETS}/upload.rs", "abort_multipart_upload"): ({"s3:AbortMultipartUpload"}, {"restore"}),
    # Targets of drills.
    (f"{BUCKETS}/throw_away.rs", "list_objects_v2"): ({"s3:ListBucket"}, {"drill", "fail"}),
    (f"{BUCKETS}/throw_away.rs", "delete_object"): ({"s3:DeleteObject"}, {"drill", "fail"}),
    # Recovery points.
    (f"{RECOVERY}/table.rs", "describe_table"): ({"dynamodb:DescribeTable"}, COMPARERS),
    (f"{RECOVERY}/table.rs", "delete_table"): ({"dynamodb:DeleteTable"}, {"restore-test"}),
    (f"{RECOVERY}/table.rs", "update_table"): ({"dynamodb:UpdateTable"}, {"restore-test"}),
    (f"{RECOVERY}/count.rs", "scan"): ({"dynamodb:Scan"}, {"native-restore", "restore-test"}),
    (f"{RECOVERY}/sample.rs", "scan"): ({"dynamodb:Scan"}, COMPARERS),
    (f"{RECOVERY}/sample.rs", "batch_get_item"): ({"dynamodb:BatchGetItem"}, COMPARERS),
    (f"{RECOVERY}/restore.rs", "describe_continuous_backups"): (
        {"dynamodb:DescribeContinuousBackups"},
        {"native-restore"},
    ),
    # The restore is done with what its caller may.
    (f"{RECOVERY}/restore.rs", "restore_table_to_point_in_time"): (
        {
            "dynamodb:BatchWriteItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:RestoreTableToPointInTime",
            "dynamodb:Scan",
            "dynamodb:UpdateItem",
        },
        {"native-restore"},
    ),
    (f"{RECOVERY}/settings.rs", "tag_resource"): ({"dynamodb:TagResource"}, {"native-restore"}),
    (f"{RECOVERY}/settings.rs", "update_time_to_live"): ({"dynamodb:UpdateTimeToLive"}, {"native-restore"}),
    (f"{RECOVERY}/settings.rs", "update_continuous_backups"): (
        {"dynamodb:UpdateContinuousBackups"},
        {"native-restore"},
    ),
    (f"{RECOVERY}/settings.rs", "update_table"): ({"dynamodb:UpdateTable"}, {"native-restore"}),
    (f"{RECOVERY}/scaling.rs", "describe_scalable_targets"): (
        {"application-autoscaling:DescribeScalableTargets"},
        {"native-restore"},
    ),
    (f"{RECOVERY}/scaling.rs", "describe_scaling_policies"): (
        {"application-autoscaling:DescribeScalingPolicies"},
        {"native-restore"},
    ),
    (f"{RECOVERY}/scaling.rs", "register_scalable_target"): (
        {"application-autoscaling:RegisterScalableTarget"},
        {"native-restore"},
    ),
    (f"{RECOVERY}/scaling.rs", "put_scaling_policy"): (
        {"application-autoscaling:PutScalingPolicy"},
        {"native-restore"},
    ),
    (f"{RECOVERY}/alarms.rs", "describe_alarms"): ({"cloudwatch:DescribeAlarms"}, {"native-restore"}),
    (f"{RECOVERY}/alarms.rs", "put_metric_alarm"): ({"cloudwatch:PutMetricAlarm"}, {"native-restore"}),
    (f"{RECOVERY}/points.rs", "list_backup_vaults"): ({"backup:ListBackupVaults"}, COMPARERS),
    (f"{RECOVERY}/points.rs", "describe_recovery_point"): ({"backup:DescribeRecoveryPoint"}, COMPARERS),
    (f"{RECOVERY}/points.rs", "describe_restore_job"): ({"backup:DescribeRestoreJob"}, COMPARERS),
    (f"{RECOVERY}/points.rs", "list_tags"): ({"backup:ListTags"}, {"native-restore"}),
    (f"{RECOVERY}/points.rs", "get_recovery_point_restore_metadata"): (
        {"backup:GetRecoveryPointRestoreMetadata"},
        {"native-restore"},
    ),
    # AWS Backup takes a role that it is handed.
    (f"{RECOVERY}/points.rs", "start_restore_job"): ({"backup:StartRestoreJob", "iam:PassRole"}, {"native-restore"}),
    (f"{RECOVERY}/points.rs", "put_restore_validation_result"): (
        {"backup:PutRestoreValidationResult"},
        {"validate-restore"},
    ),
    (f"{RECOVERY}/jobs.rs", "list_backup_jobs"): ({"backup:ListBackupJobs"}, {"validate-recovery-points"}),
    (f"{RECOVERY}/jobs.rs", "list_copy_jobs"): ({"backup:ListCopyJobs"}, {"validate-recovery-points"}),
    (f"{RECOVERY}/jobs.rs", "list_protected_resources"): (
        {"backup:ListProtectedResources"},
        {"validate-recovery-points"},
    ),
}

# Calls that no function makes: the command line and the embedded cloud do, with rights of their own.
NOT_ON_AWS = {
    (f"{JOBS}/expired_rows.rs", "query"): "removing what the service's own TTL removes",
    (f"{JOBS}/expired_rows.rs", "delete_item"): "the same",
    (f"{JOBS}/job_rows.rs", "put_item"): "rebuilding job state from the vault",
    (f"{JOBS}/job_rows.rs", "delete_item"): "withdrawing what was only looked at",
    (f"{JOBS}/resource_rows.rs", "update_item"): "applying resources",
    (f"{JOBS}/table.rs", "create_table"): "the embedded cloud's table",
}

# What a role needs for what AWS does on a function's behalf.
BEHALF = {
    "logs": ({"logs:CreateLogStream", "logs:PutLogEvents"}, lambda name: True),
    "traces": ({"xray:PutTelemetryRecords", "xray:PutTraceSegments"}, lambda name: True),
    "objects that S3 encrypts": ({"kms:GenerateDataKey"}, lambda name: name in VAULT - {"verify", "drill"}),
    "tables and buckets that others encrypt, as sources": (
        {"kms:Decrypt"},
        lambda name: name in {"plan", "export-chunk", "capture"} | COMPARERS,
    ),
    "tables and buckets that others encrypt, as targets": (
        {"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"},
        lambda name: name in {"restore", "undo", "fail", "drill", "native-restore"},
    ),
    "events that are given up": (
        {"sqs:SendMessage"},
        lambda name: name in {"capture", "dispatch", "restore-test", "setup", "validate-restore"},
    ),
    "streams that Lambda reads": (
        {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"},
        lambda name: name == "capture",
    ),
}


@cache
def operations() -> frozenset[str]:
    """The methods of the SDKs' clients."""
    loader = botocore.loaders.Loader()
    names: set[str] = set()
    for service in SERVICES:
        names.update(map(xform_name, loader.load_service_model(service, "service-2")["operations"]))
    return frozenset(names)


@cache
def made() -> frozenset[tuple[str, str]]:
    """Every call in the code, by file and method. Tests at the end of a file call what they like."""
    found = set()
    for directory in SCANNED:
        for path in (ROOT / directory).rglob("*.rs"):
            if "tests" in path.relative_to(ROOT).parts:
                continue
            code = path.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
            code = re.sub(r"//.*", "", code)
            for method in re.findall(r"\.\s*([a-z][a-z0-9_]*)\(\)", code):
                if method in operations():
                    found.add((str(path.relative_to(ROOT)), method))
    return frozenset(found)


def called(name: str) -> set[str]:
    """The actions that a function's code needs."""
    return {action for actions, functions in CALLS.values() if name in functions for action in actions}


def on_behalf(name: str) -> set[str]:
    return {action for actions, applies in BEHALF.values() if applies(name) for action in actions}


class Calls(unittest.TestCase):
    def test_every_call_is_in_the_table(self) -> None:
        self.assertEqual(set(), made() - set(CALLS) - set(NOT_ON_AWS), "say which functions make these calls")

    def test_every_entry_is_in_the_code(self) -> None:
        self.assertEqual(set(), (set(CALLS) | set(NOT_ON_AWS)) - made(), "nothing in the code makes these calls")

    def test_every_function_is_in_the_table(self) -> None:
        known = set().union(*(functions for _, functions in CALLS.values()))
        self.assertEqual(set(), function_names() - known)

    def test_the_scan_sees_calls(self) -> None:
        self.assertIn((f"{DYNAMODB}/source.rs", "scan"), made())
        self.assertIn((f"{S3}/s3/copy.rs", "upload_part_copy"), made())


class Grants(unittest.TestCase):
    def test_a_role_grants_what_its_function_calls_and_nothing_else(self) -> None:
        for name in sorted(function_names()):
            with self.subTest(name):
                needed = called(name) | on_behalf(name)
                granted = stack().actions(f"{logical(name)}Role")
                self.assertEqual(set(), needed - granted, f"{name} needs more")
                self.assertEqual(set(), granted - needed, f"{name} needs less")

    def test_every_action_exists(self) -> None:
        known = load_resource(AdditionalSpecs, "Policies.json")
        for role in stack().of_type("AWS::IAM::Role"):
            for action in stack().actions(role):
                service, _, name = action.partition(":")
                with self.subTest(role, action=action):
                    self.assertIn(name.lower(), known[service]["Actions"])

    def test_a_wildcard_is_of_what_knows_no_resources(self) -> None:
        known = load_resource(AdditionalSpecs, "Policies.json")
        for role in stack().of_type("AWS::IAM::Role"):
            for statement in stack().statements(role):
                if "*" not in listed(statement["Resource"]):
                    continue
                for action in listed(statement["Action"]):
                    service, _, name = action.partition(":")
                    with self.subTest(role, action=action):
                        self.assertFalse(known[service]["Actions"][name.lower()].get("Resources"))

    def test_all_tables_are_granted_by_tag_alone(self) -> None:
        for role in stack().of_type("AWS::IAM::Role"):
            for statement in stack().statements(role):
                if any(resource.endswith(":table/*") for resource in listed(statement["Resource"])):
                    with self.subTest(role):
                        self.assertEqual(
                            {"StringEquals": {"aws:ResourceTag/holdfast:access": "allow"}}, statement["Condition"]
                        )

    def test_without_grants_no_source_and_no_target_is_reached(self) -> None:
        bare = stack(False)
        for name in function_names():
            for statement in bare.statements(f"{logical(name)}Role"):
                for resource in listed(statement["Resource"]):
                    with self.subTest(name, resource=resource):
                        if ":dynamodb:" in resource and not resource.endswith("/backup/*"):
                            tagged = "aws:ResourceTag" in str(statement.get("Condition"))
                            own = re.search(r":table/(holdfast-test|holdfast-drill|awsbackup-restore-test)-\*$", resource)
                            self.assertTrue(tagged or own)
                        self.assertNotIn(":s3:::", resource)

    def test_tables_that_restores_and_drills_made_are_all_that_fail_removes(self) -> None:
        restored, drilled = [
            statement for statement in stack().statements("FailRole") if "dynamodb:DeleteTable" in statement["Action"]
        ]
        code = (ROOT / DYNAMODB / "describe.rs").read_text(encoding="utf-8")
        (tag,) = re.findall(r'MADE_BY: &str = "([^"]+)"', code)
        self.assertEqual({"Null": {f"aws:ResourceTag/{tag}": "false"}}, restored["Condition"])
        self.assertTrue(drilled["Resource"].endswith(f":table/{self.drills()[0]}*"))

    def test_targets_of_drills_are_called_as_the_code_calls_them(self) -> None:
        table, folder = self.drills()
        for role in ("DrillRole", "RestoreRole", "FailRole"):
            self.assertIn(f":table/{table}*", str(stack().statements(role)), role)
        for role in ("DrillRole", "RestoreRole"):
            self.assertIn(f"<StagingBucket.Arn>/{folder}*", str(stack().statements(role)), role)

    @staticmethod
    def drills() -> tuple[str, str]:
        code = (ROOT / "shared/connectors/src/throw_away.rs").read_text(encoding="utf-8")
        found = dict(re.findall(r'(TABLE_PREFIX|BUCKET_FOLDER): &str = "([^"]+)"', code))
        return found["TABLE_PREFIX"], found["BUCKET_FOLDER"]

    def test_a_drill_removes_its_own_tables_alone(self) -> None:
        for statement in stack().statements("DrillRole"):
            for resource in listed(statement["Resource"]):
                if ":table/" in resource:
                    self.assertTrue(resource.endswith(f":table/{self.drills()[0]}*"), resource)

    def test_tables_of_tests_are_called_as_the_code_calls_them(self) -> None:
        code = (ROOT / "shared/recovery/src/test.rs").read_text(encoding="utf-8")
        (prefix,) = re.findall(r'const PREFIX: &str = "([^"]+)"', code)
        self.assertIn(f":table/{prefix}*", str(stack().statements("RestoreTestRole")))

    def test_marks_are_all_that_restores_delete_in_buckets(self) -> None:
        code = (ROOT / BUCKETS / "target.rs").read_text(encoding="utf-8")
        self.assertIn('"{}.holdfast-restore-{}"', code)
        for role in ("RestoreRole", "FailRole"):
            for statement in stack().statements(role):
                if "s3:DeleteObject" in listed(statement["Action"]):
                    for resource in listed(statement["Resource"]):
                        staged = resource == "<StagingBucket.Arn>/*"
                        self.assertTrue(staged or resource.endswith("/*.holdfast-restore-*"), resource)


if __name__ == "__main__":
    unittest.main()
