"""The rules in infra/rules: the templates keep them, and each rule sees a template that breaks it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.template.stack import DR_REGION, ROOT, TEMPLATE, read

RULES = ROOT / "infra" / "rules"
Template = dict[str, Any]


@cache
def guard() -> str:
    """The program, from HOLDFAST_CFN_GUARD, the path, or where the tests put it."""
    named = os.environ.get("HOLDFAST_CFN_GUARD") or shutil.which("cfn-guard")
    own = Path.home() / ".cache" / "holdfast" / "tools" / "bin" / "cfn-guard"
    return named or (str(own) if own.is_file() else "")


def broken(template: Template, name: str) -> set[str]:
    """The rules of a file that a template breaks."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as data:
        json.dump(template, data)
        data.flush()
        command = [guard(), "validate", "--data", data.name, "--rules", str(RULES / f"{name}.guard")]
        command += ["--structured", "--output-format", "json", "--show-summary", "none"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    # 0: all kept, 19: some broken. Anything else is a fault of the rules themselves.
    if done.returncode not in (0, 19):
        raise AssertionError(done.stdout + done.stderr)
    return {rule["Rule"]["name"] for report in json.loads(done.stdout) for rule in report["not_compliant"]}


def properties(template: Template, name: str) -> dict[str, Any]:
    return template["Resources"][name]["Properties"]


def put(name: str, *path: str | int, value: Any) -> Callable[[Template], None]:
    """Puts a value below a resource."""

    def change(template: Template) -> None:
        at: Any = template["Resources"][name]
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return change


def drop(name: str, *path: str | int) -> Callable[[Template], None]:
    """Takes away what is below a resource."""

    def change(template: Template) -> None:
        at: Any = template["Resources"][name]
        for part in path[:-1]:
            at = at[part]
        del at[path[-1]]

    return change


def remove(*names: str) -> Callable[[Template], None]:
    def change(template: Template) -> None:
        for name in names:
            del template["Resources"][name]

    return change


def grant(statement: dict[str, Any]) -> Callable[[Template], None]:
    """Gives a function's role one more statement."""

    def change(template: Template) -> None:
        policy = properties(template, "VerifyRole")["Policies"][0]["PolicyDocument"]
        policy["Statement"].append({"Effect": "Allow"} | statement)

    return change


def trust(statement: dict[str, Any]) -> Callable[[Template], None]:
    return put("VerifyRole", "Properties", "AssumeRolePolicyDocument", "Statement", value=[statement])


def untraced(template: Template) -> None:
    del template["Globals"]["Function"]["Tracing"]


P = "Properties"
TRUSTED = {"Effect": "Allow", "Action": "sts:AssumeRole"}

# What breaks each rule.
BREAKS: dict[str, dict[str, list[Callable[[Template], None]]]] = {
    "storage": {
        "buckets_are_encrypted": [
            drop("StagingBucket", P, "BucketEncryption"),
            put(
                "VaultBucket",
                P,
                "BucketEncryption",
                "ServerSideEncryptionConfiguration",
                0,
                "ServerSideEncryptionByDefault",
                "SSEAlgorithm",
                value="AES256",
            ),
        ],
        "buckets_are_not_public": [
            drop("VaultBucket", P, "PublicAccessBlockConfiguration"),
            put("StagingBucket", P, "PublicAccessBlockConfiguration", "BlockPublicPolicy", value=False),
        ],
        "buckets_have_policies": [remove("VaultBucketPolicy", "StagingBucketPolicy")],
        "buckets_take_tls_only": [drop("VaultBucketPolicy", P, "PolicyDocument", "Statement", 0)],
        "kept_buckets_are_locked": [
            drop("VaultBucket", P, "ObjectLockConfiguration"),
            drop("VaultBucket", P, "VersioningConfiguration"),
            put("VaultBucket", P, "ObjectLockEnabled", value=False),
        ],
        "kept_buckets_expire_nothing_that_is_current": [
            put("VaultBucket", P, "LifecycleConfiguration", "Rules", 0, "ExpirationInDays", value=400),
            put("VaultBucket", P, "LifecycleConfiguration", "Rules", 2, "Fn::If", 1, "ExpirationInDays", value=400),
            put("VaultBucket", P, "LifecycleConfiguration", "Rules", 0, "ExpirationDate", value="2030-01-01T00:00:00Z"),
            put("VaultBucket", P, "LifecycleConfiguration", "Rules", 0, "NoncurrentVersionExpirationInDays", value=1),
            put("VaultBucket", P, "LifecycleConfiguration", "Rules", 1, "NoncurrentVersionExpiration", value={"NoncurrentDays": 1}),
        ],
        "staging_expires": [drop("StagingBucket", P, "LifecycleConfiguration")],
        "vaults_deny_deletion": [
            put("VaultBucketPolicy", P, "PolicyDocument", "Statement", 1, "Action", value=["s3:DeleteObject"]),
            put("VaultBucketPolicy", P, "PolicyDocument", "Statement", 1, "Condition", value={"Bool": {"a": "b"}}),
            # Prune deletes everything.
            drop("VaultBucketPolicy", P, "PolicyDocument", "Statement", 3),
            # Everybody deletes but prune.
            drop("VaultBucketPolicy", P, "PolicyDocument", "Statement", 2, "Condition", "StringNotLike"),
            put("VaultBucketPolicy", P, "PolicyDocument", "Statement", 2, "Condition", value={"Bool": {"a": "b"}}),
            put(
                "VaultBucketPolicy", P, "PolicyDocument", "Statement", 2, "Condition", "StringNotLike", "aws:userid",
                value="*",
            ),  # fmt: skip
        ],
        "no_policy_of_a_bucket_allows": [
            put("VaultBucketPolicy", P, "PolicyDocument", "Statement", 1, "Effect", value="Allow"),
        ],
        "data_outlives_the_stack": [
            put("VaultBucket", "DeletionPolicy", value="Delete"),
            drop("JobTable", "UpdateReplacePolicy"),
            drop("Key", "DeletionPolicy"),
        ],
        "data_has_no_given_name": [
            put("JobTable", P, "TableName", value="jobs"),
            put("VaultBucket", P, "BucketName", value="vault"),
        ],
        "keys_rotate": [put("Key", P, "EnableKeyRotation", value=False), put("Key", P, "PendingWindowInDays", value=7)],
        "tables_are_safe": [
            drop("JobTable", P, "PointInTimeRecoverySpecification"),
            put("ProductsTable", P, "SSESpecification", value={"SSEEnabled": True}),
            put("JobTable", P, "DeletionProtectionEnabled", value=False),
        ],
        "topics_are_encrypted": [drop("NotificationTopic", P, "KmsMasterKeyId")],
        "topics_take_tls_only": [remove("NotificationTopicPolicy")],
        "queues_are_encrypted": [put("DeadLetterQueue", P, "SqsManagedSseEnabled", value=False)],
        "queues_take_tls_only": [remove("DeadLetterQueuePolicy")],
        "backup_vaults_are_encrypted_and_can_be_locked": [
            drop("RecoveryPoints", P, "EncryptionKeyArn"),
            drop("RecoveryPoints", P, "LockConfiguration"),
        ],
    },
    "roles": {
        "grants_name_actions": [
            grant({"Action": "s3:*", "Resource": "arn:aws:s3:::a"}),
            grant({"Action": ["s3:GetObject", "s3:Put*"], "Resource": "arn:aws:s3:::a"}),
            put("TracingPolicy", P, "PolicyDocument", "Statement", 0, "Action", value="xray:*"),
        ],
        "grants_are_grants": [
            grant({"NotAction": "s3:DeleteObject", "Resource": "arn:aws:s3:::a"}),
            grant({"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a"}),
        ],
        "grants_name_resources": [
            grant({"Action": "s3:GetObject", "Resource": "*"}),
            grant({"Action": "s3:GetObject", "Resource": ["arn:aws:s3:::a", "*"]}),
            put("VaultReadPolicy", P, "PolicyDocument", "Statement", 0, "Resource", value="*"),
        ],
        "roles_take_policies_of_the_stack": [
            put("VerifyRole", P, "ManagedPolicyArns", value=["arn:aws:iam::aws:policy/AdministratorAccess"]),
        ],
        "roles_are_taken_by_services": [
            trust(TRUSTED | {"Principal": {"AWS": "*"}}),
            trust(TRUSTED | {"Principal": {"Service": "lambda.amazonaws.com", "AWS": "arn:aws:iam::1:root"}}),
        ],
        "services_say_for_whom": [trust(TRUSTED | {"Principal": {"Service": "states.amazonaws.com"}})],
    },
    "functions": {
        "functions_have_roles_of_their_own": [
            drop("PlanFunction", P, "Role"),
            put("PlanFunction", P, "Policies", value=["AmazonS3FullAccess"]),
        ],
        "functions_log_to_groups_that_forget": [drop("PlanFunction", P, "LoggingConfig")],
        "logs_are_kept_for_some_time": [drop("PlanLogs", P, "RetentionInDays")],
        "functions_are_traced": [untraced, put("PlanFunction", P, "Tracing", value="PassThrough")],
        "functions_are_built_by_cargo": [
            drop("PlanFunction", "Metadata"),
            put("PlanFunction", "Metadata", "BuildProperties", "Binary", value="bootstrap"),
        ],
        "functions_have_no_open_door": [
            put("PlanFunction", P, "FunctionUrlConfig", value={"AuthType": "NONE"}),
            drop("ApiPermission", P, "SourceArn"),
        ],
        "functions_of_events_have_dead_letters": [
            drop("DispatchFunction", P, "DeadLetterQueue"),
            drop("DispatchFunction", P, "Events", "Backups", P, "DeadLetterConfig"),
        ],
        "machines_of_events_have_dead_letters": [
            drop("ValidateRecoveryPointsMachine", P, "Events", "Daily", P, "RetryPolicy"),
        ],
        "streams_are_read_with_care": [
            drop("ProductsMapping", P, "BisectBatchOnFunctionError"),
            drop("ProductsMapping", P, "DestinationConfig"),
        ],
        "machines_have_roles_logs_and_traces": [
            drop("BackupMachine", P, "Logging"),
            drop("BackupMachine", P, "Tracing"),
            put("BackupMachine", P, "Logging", "IncludeExecutionData", value=True),
        ],
        "routes_ask_who_calls": [put("GetJobRoute", P, "AuthorizationType", value="NONE")],
    },
}


class Rules(unittest.TestCase):
    def setUp(self) -> None:
        if not guard():
            if os.environ.get("CI") == "true":
                self.fail("cfn-guard is not installed")
            self.skipTest("cfn-guard is not installed")

    def test_the_templates_keep_them(self) -> None:
        for path in (TEMPLATE, DR_REGION):
            for rules in BREAKS:
                with self.subTest(path.name, rules=rules):
                    self.assertEqual(set(), broken(read(path), rules))

    def test_every_rule_has_what_breaks_it(self) -> None:
        self.assertEqual({path.stem for path in RULES.glob("*.guard")}, set(BREAKS))
        for name, breaks in BREAKS.items():
            lines = (RULES / f"{name}.guard").read_text(encoding="utf-8").splitlines()
            rules = {line.split()[1] for line in lines if line.startswith("rule ")}
            self.assertEqual(rules, set(breaks))

    def test_every_rule_sees_what_breaks_it(self) -> None:
        for name, breaks in BREAKS.items():
            for rule, changes in breaks.items():
                for number, change in enumerate(changes):
                    with self.subTest(rule, number=number):
                        template = read()
                        change(template)
                        self.assertIn(rule, broken(template, name))


if __name__ == "__main__":
    unittest.main()
