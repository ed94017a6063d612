"""The first region is gone: the documented way back, from the replica bucket and the replica of the key alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.deploy.harness import artifacts, shop, world
from tests.deploy.harness.deployment import deployed
from tests.deploy.harness.waiting import until

SECOND = "eu-west-1"


class SecondRegion(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        cls.replica = cls.second_stack()
        world.tested(cls.stack)
        cls.backup = cls.stack.backup("tested")
        cls.items = shop.read_all(cls.stack.table(world.TESTED))
        cls.replicate()

    @classmethod
    def client(cls, service: str) -> Any:
        """A client of the second region."""
        return cls.stack.emulator.client(service, region=SECOND)

    @classmethod
    def second_stack(cls) -> str:
        """Deploys infra/dr-region.yaml; gives its bucket."""
        cloudformation = cls.client("cloudformation")
        template = artifacts.ROOT / "infra" / "dr-region.yaml"
        # The emulator has no AWS::KMS::ReplicaKey. What it would make is made by KMS's own call below.
        cloudformation.create_stack(StackName="shop-backup-replica", TemplateBody=template.read_text())

        def described() -> dict[str, Any] | None:
            stack = cloudformation.describe_stacks(StackName="shop-backup-replica")["Stacks"][0]
            return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

        stack = until("the second stack is deployed", described)
        if stack["StackStatus"] != "CREATE_COMPLETE":
            raise AssertionError(cloudformation.describe_stack_events(StackName="shop-backup-replica"))
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        key = cls.stack.outputs["KeyArn"].rsplit("/", 1)[-1]
        cls.stack.client("kms").replicate_key(KeyId=key, ReplicaRegion=SECOND)
        return outputs["VaultBucketArn"].removeprefix("arn:aws:s3:::")

    @classmethod
    def replicate(cls) -> None:
        """Copies the vault into the replica, as S3 does on AWS: the emulator replicates no copies of objects."""
        first, second = cls.stack.client("s3"), cls.client("s3")
        vault = cls.stack.outputs["VaultBucketName"]
        for page in first.get_paginator("list_objects_v2").paginate(Bucket=vault):
            for entry in page["Contents"]:
                body = first.get_object(Bucket=vault, Key=entry["Key"])["Body"].read()
                second.put_object(Bucket=cls.replica, Key=entry["Key"], Body=body)

    def run_command(self, *command: str) -> str:
        environment = self.stack.emulator.environment() | {"AWS_REGION": SECOND, "AWS_DEFAULT_REGION": SECOND}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}\n{self.stack.emulator.said()}")
        return done.stdout

    def test_everything_comes_back_from_the_replica(self) -> None:
        first = self.stack.client("kms")
        key = self.stack.outputs["KeyArn"]
        with tempfile.TemporaryDirectory() as directory:
            home = str(Path(directory) / "rescue")
            holdfast = [str(artifacts.command()), "--home", home, "--json"]
            aws = str(Path(sys.executable).with_name("aws"))
            # No answer may come from the first region.
            first.disable_key(KeyId=key)
            try:
                self.run_command(aws, "s3", "sync", "--only-show-errors", f"s3://{self.replica}", f"{home}/vault")
                self.run_command(*holdfast, "rebuild")
                listed = json.loads(self.run_command(*holdfast, "backups"))
                self.assertIn(self.backup["id"], json.dumps(listed))
                self.run_command(*holdfast, "verify", self.backup["id"])
                self.run_command(*holdfast, "restore", self.backup["id"], "--to", "dynamodb:rescued")
                # Without copying the vault first.
                direct = [holdfast[0], "--home", str(Path(directory) / "direct"), "--json"]
                place = f"s3://{self.replica}?region={SECOND}"
                restore = ["restore", "latest:tested", "--from-copy", place, "--to", "dynamodb:rescued-directly"]
                self.run_command(*direct, *restore)
            finally:
                first.enable_key(KeyId=key)
        for name in ("rescued", "rescued-directly"):
            shop.same(self, shop.read_all(self.stack.emulator.table(name, SECOND)), self.items)
