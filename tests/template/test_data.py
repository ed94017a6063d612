"""What keeps data: the settings that no emulator shows, and that no parameter takes the data away."""

from __future__ import annotations

import itertools
import re
import unittest
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.stack import DR_REGION, EVERYTHING, ROOT, TEMPLATE, Stack, listed, read, stack, translated

DATA = {"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::KMS::ReplicaKey", "AWS::S3::Bucket", "AWS::Backup::BackupVault"}

# Other values of every parameter of the template that has any.
OTHERS = EVERYTHING | {
    "AccessTag": "yes",
    "Architecture": "x86_64",
    "AwsBackup": "false",
    "BackupVaultLockDays": "0",
    "DeletedVersionDays": "30",
    "DrDeletions": "false",
    "DrillSchedule": "rate(2 days)",
    "CapturedStream2": "arn:aws:dynamodb:eu-central-1:111122223333:table/a/stream/2",
    "CapturedStream3": "arn:aws:dynamodb:eu-central-1:111122223333:table/a/stream/3",
    "CapturedStream4": "arn:aws:dynamodb:eu-central-1:111122223333:table/a/stream/4",
    "CapturedStream5": "arn:aws:dynamodb:eu-central-1:111122223333:table/a/stream/5",
    "EnableApi": "false",
    "ExportReservedConcurrency": "0",
    "LogRetentionDays": "7",
    "ObjectLockDays": "365",
    "ObjectLockMode": "COMPLIANCE",
    "PitrDays": "7",
    "PruneSchedule": "rate(2 days)",
    "StagingExpiryDays": "9",
    "VaultKeyVersion": "2",
    "VerifyLevel": "quick",
    "VerifySchedule": "rate(1 day)",
}

DR_OTHERS = {
    "BackupVaultLockDays": "0",
    "ColdStorageDays": "90",
    "DeletedVersionDays": "90",
    "MakeBackupVault": "false",
    "ObjectLockDays": "365",
    "ObjectLockMode": "COMPLIANCE",
    "VaultKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/mrk-1",
}


class Tables(unittest.TestCase):
    def test_tables_are_recoverable_encrypted_and_protected(self) -> None:
        for name in ("JobTable", "ProductsTable"):
            with self.subTest(name):
                table = stack().properties(name)
                self.assertEqual(
                    {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": "35"},
                    table["PointInTimeRecoverySpecification"],
                )
                self.assertEqual(
                    {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": "<Key.Arn>"}, table["SSESpecification"]
                )
                self.assertTrue(table["DeletionProtectionEnabled"])
                self.assertEqual("PAY_PER_REQUEST", table["BillingMode"])

    def test_the_job_table_forgets_by_an_attribute(self) -> None:
        code = (ROOT / "shared/common/src/jobs/table.rs").read_text(encoding="utf-8")
        (attribute,) = re.findall(r'EXPIRES_AT: &str = "(\w+)"', code)
        self.assertEqual(
            {"AttributeName": attribute, "Enabled": True}, stack().properties("JobTable")["TimeToLiveSpecification"]
        )

    def test_the_job_table_is_the_one_that_the_code_knows(self) -> None:
        code = (ROOT / "shared/common/src/jobs/table.rs").read_text(encoding="utf-8")
        constants = dict(re.findall(r'const (\w+): &str = "(\w+)"', code))
        indexes = {
            name: (partition, sort)
            for name, partition, sort in re.findall(
                r'IndexDefinition \{ name: "(\w+)", partition_key: "(\w+)", sort_key: "(\w+)" \}', code
            )
        }
        self.assertTrue(indexes)
        table = stack().properties("JobTable")

        def keys(schema: list[dict[str, str]]) -> tuple[str, str]:
            by_role = {element["KeyType"]: element["AttributeName"] for element in schema}
            return by_role["HASH"], by_role["RANGE"]

        self.assertEqual((constants["PARTITION_KEY"], constants["SORT_KEY"]), keys(table["KeySchema"]))
        deployed = {index["IndexName"]: keys(index["KeySchema"]) for index in table["GlobalSecondaryIndexes"]}
        self.assertEqual(indexes, deployed)
        for index in table["GlobalSecondaryIndexes"]:
            self.assertEqual({"ProjectionType": "ALL"}, index["Projection"])
        used = {constants["PARTITION_KEY"], constants["SORT_KEY"], *itertools.chain(*indexes.values())}
        self.assertEqual({name: "S" for name in used}, attributes(table))

    def test_the_products_table_is_captured(self) -> None:
        table = stack().properties("ProductsTable")
        self.assertEqual({"id": "S"}, attributes(table))
        self.assertEqual("NEW_AND_OLD_IMAGES", table["StreamSpecification"]["StreamViewType"])
        self.assertIn({"Key": stack().outputs["AccessTagKey"], "Value": "allow"}, table["Tags"])
        mapping = stack().properties("ProductsMapping")
        self.assertEqual("<ProductsTable.StreamArn>", mapping["EventSourceArn"])
        self.assertEqual("<CaptureFunction.Arn>", mapping["FunctionName"])


def attributes(table: dict[str, Any]) -> dict[str, str]:
    return {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}


class Buckets(unittest.TestCase):
    def test_vaults_are_locked_and_versioned(self) -> None:
        for name, of in (("template", stack()), ("second region", Stack(read(DR_REGION)))):
            with self.subTest(name):
                bucket = of.properties("VaultBucket")
                self.assertIs(bucket["ObjectLockEnabled"], True)
                self.assertEqual(
                    {
                        "ObjectLockEnabled": "Enabled",
                        "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": "30"}},
                    },
                    bucket["ObjectLockConfiguration"],
                )
                self.assertEqual({"Status": "Enabled"}, bucket["VersioningConfiguration"])

    def test_buckets_encrypt_with_the_stacks_key(self) -> None:
        for name, bucket in stack().of_type("AWS::S3::Bucket").items():
            with self.subTest(name):
                (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
                self.assertEqual(
                    {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "<Key.Arn>"}, rule["ServerSideEncryptionByDefault"]
                )
                # One data key for many objects, and the bucket as the context that roles name.
                self.assertIs(rule["BucketKeyEnabled"], True)

    def test_every_bucket_has_a_policy_and_denies_plain_text(self) -> None:
        policies = {policy["Bucket"]: policy for policy in stack().of_type("AWS::S3::BucketPolicy").values()}
        for name in stack().of_type("AWS::S3::Bucket"):
            with self.subTest(name):
                denied = [
                    statement
                    for statement in policies[f"<{name}>"]["PolicyDocument"]["Statement"]
                    if statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
                ]
                self.assertEqual([f"<{name}.Arn>", f"<{name}.Arn>/*"], denied[0]["Resource"])

    def test_staging_expires_and_the_vault_does_not(self) -> None:
        staging = stack().properties("StagingBucket")
        (rule,) = staging["LifecycleConfiguration"]["Rules"]
        self.assertEqual("3", rule["ExpirationInDays"])
        self.assertNotIn("VersioningConfiguration", staging)
        self.assertEqual([], [rule for rule in self.rules() if "ExpirationInDays" in rule or "ExpirationDate" in rule])

    def test_what_was_deleted_goes_by_the_lifecycle_alone_and_after_some_days(self) -> None:
        (rule,) = [rule for rule in self.rules() if "NoncurrentVersionExpiration" in rule]
        self.assertEqual({"NoncurrentDays": "7"}, rule["NoncurrentVersionExpiration"])
        self.assertIs(rule["ExpiredObjectDeleteMarker"], True)
        self.assertEqual(("Enabled", None), (rule["Status"], rule.get("Prefix")))

    @staticmethod
    def rules() -> list[dict[str, Any]]:
        return stack().properties("VaultBucket")["LifecycleConfiguration"]["Rules"]

    def test_packs_move_to_a_class_that_answers_at_once(self) -> None:
        rules = stack().properties("VaultBucket")["LifecycleConfiguration"]["Rules"]
        (cold,) = [rule for rule in rules if "Transitions" in rule]
        self.assertEqual("packs/", cold["Prefix"])
        self.assertEqual([{"StorageClass": "GLACIER_IR", "TransitionInDays": "90"}], cold["Transitions"])
        without = stack(False).properties("VaultBucket")["LifecycleConfiguration"]["Rules"]
        self.assertFalse([rule for rule in without if "Transitions" in rule])

    def test_the_vault_is_replicated_encrypted(self) -> None:
        self.assertNotIn("ReplicationConfiguration", stack(False).properties("VaultBucket"))
        replication = stack().properties("VaultBucket")["ReplicationConfiguration"]
        (rule,) = replication["Rules"]
        self.assertEqual("Enabled", rule["Status"])
        self.assertEqual("Enabled", rule["SourceSelectionCriteria"]["SseKmsEncryptedObjects"]["Status"])
        self.assertEqual("arn:aws:s3:::replica", rule["Destination"]["Bucket"])
        self.assertEqual(
            "arn:aws:kms:eu-west-1:111122223333:key/replica-key",
            rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"],
        )


    def test_the_replica_follows_deletions_unless_told_not_to_and_outlives_the_original(self) -> None:
        for told, status in (("true", "Enabled"), ("false", "Disabled")):
            with self.subTest(told):
                given = Stack(translated(), EVERYTHING | {"DrDeletions": told})
                (rule,) = given.properties("VaultBucket")["ReplicationConfiguration"]["Rules"]
                self.assertEqual(status, rule["DeleteMarkerReplication"]["Status"])
                self.assertEqual(told == "true", "s3:ReplicateDelete" in given.actions("ReplicationRole"))
        days = [int(read(path)["Parameters"]["DeletedVersionDays"]["Default"]) for path in (TEMPLATE, DR_REGION)]
        self.assertLess(days[0], days[1])
        replica = Stack(read(DR_REGION)).properties("VaultBucketPolicy")["PolicyDocument"]["Statement"]
        (never,) = [statement for statement in replica if statement["Sid"] == "NobodyDeletes"]
        self.assertLessEqual({"s3:DeleteObject", "s3:DeleteObjectVersion"}, set(never["Action"]))
        self.assertNotIn("Condition", never)


class VaultPolicy(unittest.TestCase):
    """Who writes the vault. The policy denies, so nothing that a role grants reaches further."""

    WRITERS = {
        "packs/*": {"UploadPartRole"},
        "index/*": {"UploadPartRole"},
        "manifests/*": {"CommitRole"},
        "changes/*": {"CaptureRole"},
        "undos/*": {"UndoRole", "FailRole"},
        "holdfast.json": {"SetupRole"},
        "keys/*": {"SetupRole"},
    }

    def setUp(self) -> None:
        document = stack().properties("VaultBucketPolicy")["PolicyDocument"]
        self.statements = document["Statement"]

    def test_it_only_denies_and_denies_everyone(self) -> None:
        for statement in self.statements:
            self.assertEqual(("Deny", "*"), (statement["Effect"], statement["Principal"]))

    def test_each_kind_of_object_has_its_writer(self) -> None:
        writers: dict[str, set[str]] = {}
        for statement in self.statements:
            told = statement.get("Condition", {}).get("StringNotLike", {}).get("aws:userid")
            if told is None or statement["Action"] != "s3:PutObject":
                continue
            roles = {re.fullmatch(r"<(\w+)\.RoleId>:\*", pattern)[1] for pattern in listed(told)}
            for resource in listed(statement["Resource"]):
                writers[resource.removeprefix("<VaultBucket.Arn>/")] = roles
        self.assertEqual(self.WRITERS, writers)

    def test_nothing_else_is_written(self) -> None:
        (rest,) = [statement for statement in self.statements if statement["Sid"] == "NothingElse"]
        self.assertEqual("s3:PutObject", rest["Action"])
        self.assertEqual({f"<VaultBucket.Arn>/{key}" for key in self.WRITERS}, set(rest["NotResource"]))
        self.assertNotIn("Condition", rest)

    def test_the_keys_are_those_of_the_format(self) -> None:
        code = (ROOT / "shared/vault/src/format/header.rs").read_text(encoding="utf-8")
        prefixes = set(re.findall(r'Self::\w+ => "(\w+/)"', code))
        self.assertLessEqual({"packs/", "index/", "manifests/", "changes/"}, prefixes)
        self.assertLessEqual({f"{prefix}*" for prefix in prefixes}, set(self.WRITERS))

    def test_the_writers_may_write_and_nobody_else_may(self) -> None:
        may: dict[str, set[str]] = {}
        for role in stack().of_type("AWS::IAM::Role"):
            for statement in stack().statements(role):
                if "s3:PutObject" not in listed(statement["Action"]):
                    continue
                for resource in listed(statement["Resource"]):
                    if resource.startswith("<VaultBucket.Arn>"):
                        may.setdefault(resource.removeprefix("<VaultBucket.Arn>/"), set()).add(role)
        self.assertEqual(self.WRITERS, may)

    # What prune may delete, and lock for longer: what backups are made of. The vault's description and keys stay.
    PRUNED = {"packs/*", "index/*", "manifests/*", "changes/*", "undos/*"}

    def denied(self, sid: str) -> dict[str, Any]:
        (found,) = [statement for statement in self.statements if statement["Sid"] == sid]
        return found

    def test_nobody_takes_a_version_out(self) -> None:
        never = self.denied("NobodyDeletes")
        self.assertNotIn("Condition", never)
        self.assertEqual(["<VaultBucket.Arn>", "<VaultBucket.Arn>/*"], never["Resource"])
        self.assertLessEqual(
            {"s3:DeleteBucket", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"}, set(never["Action"])
        )

    def test_prune_alone_deletes_and_only_what_backups_are_made_of(self) -> None:
        pruned = {f"<VaultBucket.Arn>/{key}" for key in self.PRUNED}
        others = self.denied("PruneDeletes")
        self.assertEqual(("s3:DeleteObject", pruned), (others["Action"], set(others["Resource"])))
        self.assertEqual({"StringNotLike": {"aws:userid": "<PruneRole.RoleId>:*"}}, others["Condition"])
        rest = self.denied("NothingElseIsDeleted")
        self.assertEqual(("s3:DeleteObject", pruned), (rest["Action"], set(rest["NotResource"])))
        self.assertNotIn("Condition", rest)
        self.assertEqual({"keys/*", "holdfast.json"}, set(self.WRITERS) - self.PRUNED)

    def test_prune_alone_locks_for_longer(self) -> None:
        others = self.denied("PruneExtendsLocks")
        self.assertEqual({"s3:PutObjectRetention", "s3:PutObjectLegalHold"}, set(others["Action"]))
        self.assertEqual("<VaultBucket.Arn>/*", others["Resource"])
        self.assertEqual({"StringNotLike": {"aws:userid": "<PruneRole.RoleId>:*"}}, others["Condition"])

    def test_no_role_is_granted_more(self) -> None:
        changing = ("s3:Delete", "s3:Bypass", "s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:PutBucket", "s3:PutLifecycle")
        granted: dict[str, dict[str, set[str]]] = {}
        for role in stack().of_type("AWS::IAM::Role"):
            for statement in stack().statements(role):
                for action in listed(statement["Action"]):
                    for resource in listed(statement["Resource"]):
                        if action.startswith(changing) and "VaultBucket" in resource:
                            of = granted.setdefault(role, {}).setdefault(action, set())
                            of.add(resource.removeprefix("<VaultBucket.Arn>/"))
        own = {"s3:DeleteObject": self.PRUNED, "s3:PutObjectRetention": self.PRUNED}
        self.assertEqual({"PruneRole": own}, granted)

    def test_nobody_overwrites(self) -> None:
        (never,) = [statement for statement in self.statements if statement["Sid"] == "NobodyOverwrites"]
        self.assertEqual("<VaultBucket.Arn>/*", never["Resource"])
        self.assertEqual({"s3:if-none-match": "true"}, never["Condition"]["Null"])


class Keys(unittest.TestCase):
    def test_the_key_can_have_a_replica_and_rotates(self) -> None:
        key = stack().properties("Key")
        self.assertIs(key["MultiRegion"], True)
        self.assertIs(key["EnableKeyRotation"], True)

    def test_who_comes_without_iam_comes_through_a_service(self) -> None:
        for statement in stack().properties("Key")["KeyPolicy"]["Statement"][1:]:
            with self.subTest(statement["Sid"]):
                equals = statement["Condition"]["StringEquals"]
                self.assertIn("111122223333", equals.values())
                self.assertFalse([action for action in statement["Action"] if "*" in action])

    def test_the_vaults_keys_open_with_their_context_alone(self) -> None:
        for role in stack().of_type("AWS::IAM::Role"):
            for statement in stack().statements(role):
                if "<Key.Arn>" not in listed(statement["Resource"]):
                    continue
                with self.subTest(role, statement=statement):
                    condition = statement["Condition"]
                    own = {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["holdfast:vault"]}}
                    through = condition.get("StringEquals", {}).get("kms:ViaService", "")
                    self.assertTrue(condition == own or re.fullmatch(r"(s3|sns)\.eu-central-1\.amazonaws\.com", through))


class Replacement(unittest.TestCase):
    """A parameter that is changed on a stack that holds data."""

    def test_the_other_values_are_of_every_parameter(self) -> None:
        self.assertEqual(set(read()["Parameters"]), set(OTHERS))
        self.assertEqual(set(read(DR_REGION)["Parameters"]), set(DR_OTHERS))

    def test_no_parameter_replaces_data(self) -> None:
        for template, others in ((translated(), OTHERS), (read(DR_REGION), DR_OTHERS)):
            before = Stack(template)
            for name, value in others.items():
                with self.subTest(name):
                    self.assertEqual([], replaced(before, Stack(template, {name: value})))
            whole = Stack(template, others)
            for name, parameter in template["Parameters"].items():
                with self.subTest(f"{name}, back"):
                    back = others | {name: str(parameter["Default"])}
                    self.assertEqual([], replaced(whole, Stack(template, back)))

    def test_a_change_that_replaces_is_seen(self) -> None:
        changed = translated()
        changed["Resources"]["JobTable"]["Properties"]["TableName"] = {"Fn::Sub": "jobs-${Architecture}"}
        before, after = Stack(changed), Stack(changed, {"Architecture": "x86_64"})
        self.assertEqual(["JobTable TableName"], replaced(before, after))

    def test_data_is_retained(self) -> None:
        for of in (stack(), Stack(read(DR_REGION), DR_OTHERS)):
            for name, resource in of.resources.items():
                if resource["Type"] in DATA and name != "StagingBucket":
                    with self.subTest(name):
                        policies = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
                        self.assertEqual(("Retain", "Retain"), policies)


def replaced(before: Stack, after: Stack) -> list[str]:
    """The resources that hold data and that CloudFormation would make anew, with the property that says so."""
    found = []
    for name, old in before.resources.items():
        if old["Type"] not in DATA or name not in after.resources:
            continue
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-central-1", old["Type"]).schema
        fixed = list(schema.get("createOnlyProperties", []))
        # The schemas leave this one to the service: a table's key is fixed.
        if old["Type"] == "AWS::DynamoDB::Table":
            fixed += ["/properties/KeySchema"]
        for path in dict.fromkeys(fixed):
            parts = path.removeprefix("/properties/").split("/")
            if at(old["Properties"], parts) != at(after.properties(name), parts):
                found.append(f"{name} {'.'.join(parts)}")
    return found


def at(value: Any, parts: list[str]) -> Any:
    for part in parts:
        value = value.get(part) if isinstance(value, dict) else None
    return value


class RecoveryPoints(unittest.TestCase):
    """AWS Backup takes a plan only if it takes every rule."""

    def rules(self, of: Stack) -> dict[str, dict[str, Any]]:
        return {rule["RuleName"]: rule for rule in of.properties("BackupPlan")["BackupPlan"]["BackupPlanRule"]}

    def test_the_cold_tier_keeps_for_ninety_days(self) -> None:
        for cold in ("false", "true"):
            for name, rule in self.rules(Stack(translated(), EVERYTHING | {"BackupColdStorage": cold})).items():
                lifecycle = rule["Lifecycle"]
                if "MoveToColdStorageAfterDays" in lifecycle:
                    least = lifecycle["MoveToColdStorageAfterDays"] + 90
                    self.assertGreaterEqual(lifecycle["DeleteAfterDays"], least, name)

    def test_the_plan(self) -> None:
        plain = self.rules(Stack(translated(), EVERYTHING | {"BackupColdStorage": "false"}))
        kept = {name: rule["Lifecycle"]["DeleteAfterDays"] for name, rule in plain.items()}
        self.assertEqual({"daily": 30, "weekly": 90, "monthly": 365}, kept)
        self.assertEqual("cron(0 1 * * ? *)", plain["daily"]["ScheduleExpression"])
        self.assertIn("SUN", plain["weekly"]["ScheduleExpression"])
        (copy,) = plain["daily"]["CopyActions"]
        self.assertEqual(EVERYTHING["DrBackupVaultArn"], copy["DestinationBackupVaultArn"])

    def test_no_lock_outlasts_a_rule(self) -> None:
        longest = read()["Parameters"]["BackupVaultLockDays"]["MaxValue"]
        for name, rule in self.rules(stack()).items():
            self.assertGreaterEqual(rule["Lifecycle"]["DeleteAfterDays"], longest, name)

    def test_tables_are_chosen_by_list_and_by_tag(self) -> None:
        selections = {
            name: selection["BackupSelection"]
            for name, selection in stack().of_type("AWS::Backup::BackupSelection").items()
        }
        self.assertEqual(["<ProductsTable.Arn>"], selections["BackupByList"]["Resources"])
        self.assertEqual(1, len(selections["BackupByTag"]["ListOfTags"]))

    def test_restores_are_tested(self) -> None:
        plan = stack().properties("RestoreTestingPlan")
        self.assertEqual(["<RecoveryPoints.BackupVaultArn>"], plan["RecoveryPointSelection"]["IncludeVaults"])
        self.assertRegex(plan["RestoreTestingPlanName"], r"^[A-Za-z0-9_]{1,50}$")
        self.assertEqual("DynamoDB", stack().properties("RestoreTestingSelection")["ProtectedResourceType"])

    def test_without_aws_backup_nothing_of_it_is_made(self) -> None:
        without = Stack(translated(), EVERYTHING | {"AwsBackup": "false"})
        self.assertFalse([name for name, made in without.resources.items() if made["Type"].startswith("AWS::Backup::")])


if __name__ == "__main__":
    unittest.main()
