"""What CloudFormation asks of the stack: the vault at its deployment, and restore tests in stacks of others."""

from __future__ import annotations

import base64
import json
import unittest
from typing import Any

from tests.deploy.harness import world
from tests.deploy.harness.deployment import deployed
from tests.deploy.harness.waiting import until



class Vault(unittest.TestCase):
    """`Custom::Vault`."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()

    def test_the_deployment_made_a_vault_that_the_stacks_key_opens(self) -> None:
        wrapped = self.stack.wrapped_key()
        self.assertEqual(wrapped["wrapped_by"], {"kind": "kms", "key": self.stack.outputs["KeyArn"]})
        plain = self.stack.client("kms").decrypt(
            CiphertextBlob=base64.b64decode(wrapped["wrapped"]),
            EncryptionContext={"holdfast:vault": wrapped["vault"]},
        )
        self.assertEqual(len(plain["Plaintext"]), 32)

    def test_another_one_in_the_same_bucket_finds_it_and_leaves_it(self) -> None:
        before = self.stack.wrapped_key()
        vault = {
            "Type": "Custom::Vault",
            "Properties": {
                "ServiceToken": self.stack.function_arn("setup"),
                "ServiceTimeout": 60,
                "Bucket": self.stack.outputs["VaultBucketName"],
            },
        }
        other = Stack(self.stack, "another-vault", {"Vault": vault})
        self.assertEqual(other.create(), "CREATE_COMPLETE", other.reasons())
        self.assertEqual(other.delete(), "DELETE_COMPLETE", other.reasons())
        self.assertEqual(self.stack.wrapped_key(), before)

    def test_a_raised_version_rotates_the_key_and_old_and_new_are_read(self) -> None:
        world.tested(self.stack)
        old = self.stack.backup("tested", "full")
        properties = {
            "ServiceToken": self.stack.function_arn("setup"),
            "ServiceTimeout": 60,
            "Bucket": self.stack.outputs["VaultBucketName"],
        }
        outputs = {"Newest": {"Value": {"Fn::GetAtt": ["Vault", "KeyVersion"]}}}
        other = Stack(
            self.stack, "rotated-vault", {"Vault": {"Type": "Custom::Vault", "Properties": properties}}, outputs
        )
        self.assertEqual(other.create(), "CREATE_COMPLETE", other.reasons())
        newest = int(other.outputs()["Newest"])
        first = other.physical("Vault")
        raised = {"Vault": {"Type": "Custom::Vault", "Properties": properties | {"KeyVersion": str(newest + 1)}}}
        self.assertEqual(other.update(raised), "UPDATE_COMPLETE", other.reasons())
        self.assertEqual((other.physical("Vault"), other.outputs()["Newest"]), (first, str(newest + 1)))
        keys = self.stack.client("s3").list_objects_v2(Bucket=properties["Bucket"], Prefix="keys/")["Contents"]
        self.assertEqual(newest + 1, len(keys))
        for backup in (old["id"], self.stack.backup("tested", "full")["id"]):
            self.stack.run("VerifyMachineArn", {"verify": backup, "level": "full"})
            self.assertTrue(self.stack.job(backup)["verified"]["valid"])

    def test_a_bucket_that_is_not_the_stacks_rolls_back(self) -> None:
        vault = {
            "Type": "Custom::Vault",
            "Properties": {"ServiceToken": self.stack.function_arn("setup"), "ServiceTimeout": 60, "Bucket": world.SITE},
        }
        other = Stack(self.stack, "wrong-vault", {"Vault": vault})
        self.assertEqual(other.create(), "ROLLBACK_COMPLETE")
        self.assertIn(world.SITE, other.reasons())


class RestoreTest(unittest.TestCase):
    """`Custom::RestoreTest`."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        cls.table = world.tested(cls.stack)
        cls.stack.backup("tested")

    def resource(self, **properties: Any) -> dict[str, Any]:
        token = {"ServiceToken": self.stack.outputs["RestoreTestFunctionArn"], "ServiceTimeout": 120}
        return {"RestoreTest": {"Type": "Custom::RestoreTest", "Properties": token | properties}}

    def tables(self) -> list[str]:
        return self.stack.client("dynamodb").list_tables()["TableNames"]

    def test_create_update_failing_update_and_delete(self) -> None:
        tables = self.tables()
        outputs = {
            name: {"Value": {"Fn::GetAtt": ["RestoreTest", name]}} for name in ("RestoredCount", "Missing", "Differing")
        }
        ours = {"Kind": "HOLDFAST", "Resource": "tested", "SampleSize": 10}
        proof = Stack(self.stack, "proof", self.resource(**ours, Run=1), outputs)
        self.assertEqual(proof.create(), "CREATE_COMPLETE", proof.reasons())
        expected = {"RestoredCount": str(world.TESTED_ITEMS), "Missing": "0", "Differing": "0"}
        self.assertEqual(proof.outputs(), expected)
        first = proof.physical("RestoreTest")

        self.assertEqual(proof.update(self.resource(**ours, Run=2)), "UPDATE_COMPLETE", proof.reasons())
        self.assertEqual(proof.physical("RestoreTest"), first)
        self.assertEqual(proof.outputs(), expected)

        unknown = ours | {"Resource": "nothing-of-that-name"}
        self.assertEqual(proof.update(self.resource(**unknown, Run=3)), "UPDATE_ROLLBACK_COMPLETE", proof.reasons())
        self.assertIn("nothing-of-that-name", proof.reasons())
        self.assertEqual(proof.physical("RestoreTest"), first)

        self.assertEqual(proof.delete(), "DELETE_COMPLETE", proof.reasons())
        self.left(tables)

    def test_a_test_that_cannot_pass_rolls_back_with_its_reason(self) -> None:
        for name, properties, reason in (
            ("no-backup", {"Kind": "HOLDFAST", "Resource": "never-applied"}, "never-applied"),
            ("no-such-field", {"Kind": "HOLDFAST", "Resource": "tested", "Sample": 5}, "Sample"),
            ("no-such-table", {"Kind": "PITR", "TableName": world.MISSING}, world.MISSING),
        ):
            with self.subTest(name):
                proof = Stack(self.stack, name, self.resource(**properties))
                self.assertEqual(proof.create(), "ROLLBACK_COMPLETE")
                self.assertIn(reason, proof.reasons())

    def test_point_in_time_recovery_is_proved_too(self) -> None:
        tables = self.tables()
        proof = Stack(self.stack, "point-in-time", self.resource(Kind="PITR", TableName=self.table, SampleSize=10))
        self.assertEqual(proof.create(), "CREATE_COMPLETE", proof.reasons())
        self.assertEqual(proof.delete(), "DELETE_COMPLETE", proof.reasons())
        self.left(tables)

    def left(self, tables: list[str]) -> None:
        """What a test restores is removed, after CloudFormation has its answer."""
        until("the restored table is removed", lambda: self.tables() == tables, 60)


class Stack:
    """A stack of a few resources."""

    def __init__(self, stack: Any, name: str, resources: dict[str, Any], outputs: dict[str, Any] | None = None) -> None:
        self._cloudformation = stack.client("cloudformation")
        self._emulator = stack.emulator
        self._outputs = outputs or {}
        self.name = name
        self.id = name
        self._resources = resources

    def _body(self) -> str:
        return json.dumps({"Resources": self._resources, "Outputs": self._outputs})

    def create(self) -> str:
        self.id = self._cloudformation.create_stack(StackName=self.name, TemplateBody=self._body())["StackId"]
        return self._ended()

    def update(self, resources: dict[str, Any]) -> str:
        self._resources = resources
        self._cloudformation.update_stack(StackName=self.name, TemplateBody=self._body())
        return self._ended()

    def delete(self) -> str:
        self._cloudformation.delete_stack(StackName=self.id)
        return self._ended()

    def _described(self) -> dict[str, Any]:
        return self._cloudformation.describe_stacks(StackName=self.id)["Stacks"][0]

    def _ended(self) -> str:
        def look() -> str | None:
            status = self._described()["StackStatus"]
            return None if status.endswith("IN_PROGRESS") else status

        return until(f"stack {self.name} is done", look, 120)

    def outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self._described()["Outputs"]}

    def physical(self, logical: str) -> str:
        found = self._cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=logical)
        return found["StackResourceDetail"]["PhysicalResourceId"]

    def reasons(self) -> str:
        """Why things failed."""
        events = self._cloudformation.describe_stack_events(StackName=self.id)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)
