"""What no role of the stack may do, and what Object Lock keeps even from those that may."""

from __future__ import annotations

import base64
import datetime
import functools
import secrets
import unittest
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.deploy.harness import world
from tests.deploy.harness.deployment import deployed
from tests.deploy.harness.emulator import Caller

DENIED = {"AccessDenied", "AccessDeniedException"}
Call = Callable[[Any], Any]


class Permissions(unittest.TestCase):
    """Every call is made with the role itself."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        cls.vault = cls.stack.outputs["VaultBucketName"]
        cls.staging = cls.stack.outputs["StagingBucketName"]
        cls.s3 = cls.stack.client("s3")
        cls.products = cls.stack.outputs["ProductsTableName"]
        cls.stack.table(cls.products).put_item(Item={"id": "P-permissions"})
        cls.s3.put_object(Bucket=world.SITE, Key="www/permissions.txt", Body=b"content")
        cls.s3.put_object(Bucket=cls.staging, Key="permissions/staged", Body=b"staged")
        cls.stack.client("secretsmanager").create_secret(Name="shop/permissions", SecretString="secret")
        cls.stack.apply(world.products(cls.stack))
        cls.stack.backup("products")
        cls.object = cls.s3.list_objects_v2(Bucket=cls.vault, Prefix="packs/")["Contents"][0]["Key"]
        cls.version = cls.s3.head_object(Bucket=cls.vault, Key=cls.object)["VersionId"]

    def refuses(self, caller: Caller, service: str, what: str, call: Call) -> None:
        with self.subTest(what), self.assertRaises(ClientError):
            try:
                call(self.stack.emulator.client(service, caller))
            except ClientError as error:
                self.assertIn(error.response["Error"]["Code"], DENIED)
                raise

    def functions(self) -> list[str]:
        return sorted(self.stack.functions())

    def put(self, key: str) -> Call:
        return lambda s3: s3.put_object(Bucket=self.vault, Key=key, Body=b"x", IfNoneMatch="*")

    def test_only_the_function_of_a_kind_of_object_puts_it_into_the_vault(self) -> None:
        writers = {
            "packs/zz/permissions": {"upload-part"},
            "index/zz/permissions": {"upload-part"},
            "manifests/permissions": {"commit"},
            "changes/permissions": {"capture"},
            "undos/permissions": {"undo", "fail"},
            "keys/00000009.json": {"setup"},
            "elsewhere/permissions": set(),
        }
        for function in self.functions():
            caller = self.stack.role(function)
            for key, allowed in writers.items():
                if function not in allowed:
                    self.refuses(caller, "s3", f"{function} puts {key}", self.put(key))
            copy = {"Bucket": self.staging, "Key": "permissions/staged"}
            if function != "upload-part":
                self.refuses(
                    caller, "s3", f"{function} copies into the vault",
                    lambda s3: s3.copy_object(Bucket=self.vault, Key="packs/zz/copied", CopySource=copy),
                )  # fmt: skip
                self.refuses(
                    caller, "s3", f"{function} begins an upload into the vault",
                    lambda s3: s3.create_multipart_upload(Bucket=self.vault, Key="packs/zz/parts"),
                )  # fmt: skip

    def test_no_role_takes_anything_out_of_the_vault_or_loosens_it(self) -> None:
        bucket, key, version = self.vault, self.object, self.version
        policy = {"Rules": [{"ID": "all", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]}
        # What prune may, and all others may not.
        pruning: dict[str, Call] = {
            "deletes an object": lambda s3: s3.delete_object(Bucket=bucket, Key=key),
            "deletes many": lambda s3: s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]}),
            "locks for longer": lambda s3: s3.put_object_retention(
                Bucket=bucket, Key=key, VersionId=version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": in_days(400)}
            ),
        }  # fmt: skip
        calls: dict[str, Call] = {
            "deletes a version": lambda s3: s3.delete_object(Bucket=bucket, Key=key, VersionId=version),
            "deletes the description": lambda s3: s3.delete_object(Bucket=bucket, Key="holdfast.json"),
            "deletes a key": lambda s3: s3.delete_object(Bucket=bucket, Key="keys/00000001.json"),
            "holds an object": lambda s3: s3.put_object_legal_hold(
                Bucket=bucket, Key=key, VersionId=version, LegalHold={"Status": "ON"}
            ),
            "bypasses the lock": lambda s3: s3.delete_object(
                Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True
            ),
            "shortens the retention": lambda s3: s3.put_object_retention(
                Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True,
                Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime.datetime(2026, 1, 1)},
            ),
            "changes the lock": lambda s3: s3.put_object_lock_configuration(
                Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
            ),
            "stops versions": lambda s3: s3.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
            ),
            "expires objects": lambda s3: s3.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration=policy
            ),
            "removes the policy": lambda s3: s3.delete_bucket_policy(Bucket=bucket),
            "removes the bucket": lambda s3: s3.delete_bucket(Bucket=bucket),
        }  # fmt: skip
        roles = self.stack.roles()
        self.assertGreater(len(roles), len(self.functions()), "the roles of machines and schedules are among them")
        key_id = self.stack.outputs["KeyArn"]
        prune = self.stack.role_arn("prune")
        self.assertIn(prune, roles)
        for role in roles:
            caller = self.stack.assume(role)
            for what, call in (calls if role == prune else calls | pruning).items():
                self.refuses(caller, "s3", f"{role} {what}", call)
            self.refuses(
                caller, "kms", f"{role} ends the key",
                lambda kms: kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7),
            )  # fmt: skip
            self.refuses(
                caller, "secretsmanager", f"{role} reads a secret",
                lambda secrets: secrets.get_secret_value(SecretId="shop/permissions"),
            )  # fmt: skip
        self.assertEqual(self.s3.head_object(Bucket=bucket, Key=key)["VersionId"], version)

    def test_prune_deletes_what_backups_are_made_of_and_can_take_no_version_out(self) -> None:
        id = secrets.token_hex(16)
        key = f"packs/{id[:2]}/{id}"
        writer = self.stack.emulator.client("s3", self.stack.role("upload-part"))
        version = writer.put_object(Bucket=self.vault, Key=key, Body=b"an orphan", IfNoneMatch="*")["VersionId"]
        caller = self.stack.role("prune")
        prune = self.stack.emulator.client("s3", caller)
        retention = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(60)}
        prune.put_object_retention(Bucket=self.vault, Key=key, VersionId=version, Retention=retention)
        self.refuses(
            caller, "s3", "prune shortens a lock",
            lambda s3: s3.put_object_retention(
                Bucket=self.vault, Key=key, VersionId=version, Retention=retention | {"RetainUntilDate": in_days(1)}
            ),
        )  # fmt: skip

        mark = prune.delete_object(Bucket=self.vault, Key=key)
        self.assertTrue(mark["DeleteMarker"])
        with self.assertRaises(ClientError) as raised:
            self.s3.head_object(Bucket=self.vault, Key=key)
        self.assertEqual(raised.exception.response["Error"]["Code"], "404")
        # Deleted, and there all the same until the bucket's lifecycle removes it.
        kept = self.s3.get_object(Bucket=self.vault, Key=key, VersionId=version)
        self.assertEqual(kept["Body"].read(), b"an orphan")
        for what, removed in (("the version", version), ("its own mark", mark["VersionId"])):
            self.refuses(
                caller, "s3", f"prune removes {what}",
                lambda s3, removed=removed: s3.delete_object(Bucket=self.vault, Key=key, VersionId=removed),
            )  # fmt: skip
        for kind in ("packs", "index", "manifests", "changes", "undos", "keys"):
            self.refuses(caller, "s3", f"prune puts {kind}", self.put(f"{kind}/zz/permissions"))

    def test_a_drill_reaches_tables_of_drills_alone(self) -> None:
        caller = self.stack.role("drill")
        self.refuses(caller, "dynamodb", "drill scans a source", lambda d: d.scan(TableName=self.products))
        self.refuses(caller, "dynamodb", "drill removes a source", lambda d: d.delete_table(TableName=self.products))
        self.refuses(caller, "dynamodb", "drill removes a target", lambda d: d.delete_table(TableName="restored-any"))
        self.refuses(
            caller, "s3", "drill writes a target bucket",
            lambda s3: s3.put_object(Bucket=world.RESTORED, Key="drilled", Body=b"x"),
        )  # fmt: skip

    def test_an_administrator_neither_deletes_nor_overwrites_nor_forges(self) -> None:
        """The bucket's policy denies what a role may that is granted everything."""
        caller = self.stack.assume(world.administrator(self.stack))
        everything = self.stack.emulator.client("s3", caller)
        self.assertTrue(everything.get_object(Bucket=self.vault, Key=self.object)["Body"].read())
        locked = {"Bucket": self.vault, "Key": self.object}
        calls: dict[str, Call] = {
            "deletes an object": lambda s3: s3.delete_object(**locked),
            "deletes a version": lambda s3: s3.delete_object(**locked, VersionId=self.version),
            "locks for longer": lambda s3: s3.put_object_retention(
                **locked, VersionId=self.version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": in_days(400)}
            ),
            "bypasses the lock": lambda s3: s3.delete_object(
                **locked, VersionId=self.version, BypassGovernanceRetention=True
            ),
            "removes the bucket": lambda s3: s3.delete_bucket(Bucket=self.vault),
            "overwrites": lambda s3: s3.put_object(**locked, Body=b"x"),
            "forges a pack": self.put("packs/zz/permissions"),
            "forges a manifest": self.put("manifests/permissions"),
            "forges a change": self.put("changes/permissions"),
            "forges a key": self.put("keys/00000009.json"),
            "puts something else": self.put("elsewhere"),
        }
        for what, call in calls.items():
            self.refuses(caller, "s3", f"an administrator {what}", call)

    def test_sources_are_read_by_the_functions_that_export_alone(self) -> None:
        readers = {"export-chunk", "plan"}
        # A restore or an undo reads what it writes into, and a comparison reads both of its sides.
        readers |= {"restore", "undo", "restore-test", "validate-restore", "native-restore"}
        for function in self.functions():
            if function in readers:
                continue
            caller = self.stack.role(function)
            self.refuses(caller, "dynamodb", f"{function} scans a source", lambda d: d.scan(TableName=self.products))
            self.refuses(
                caller, "s3", f"{function} reads a source object",
                lambda s3: s3.get_object(Bucket=world.SITE, Key="www/permissions.txt"),
            )  # fmt: skip

    def test_sources_are_written_by_restores_alone(self) -> None:
        for function in self.functions():
            caller = self.stack.role(function)
            self.refuses(
                caller, "dynamodb", f"{function} writes a source",
                lambda d: d.put_item(TableName=self.products, Item={"id": {"S": "written"}}),
            )  # fmt: skip
            self.refuses(
                caller, "s3", f"{function} writes a source bucket",
                lambda s3: s3.put_object(Bucket=world.SITE, Key="www/written", Body=b"x"),
            )  # fmt: skip

    def test_functions_without_the_vault_neither_read_it_nor_unwrap_its_key(self) -> None:
        wrapped = self.stack.wrapped_key()
        for function in ["dispatch", "api", "native-restore", "restore-test", "validate-recovery-points", "validate-restore"]:
            caller = self.stack.role(function)
            self.refuses(
                caller, "s3", f"{function} reads the vault",
                lambda s3: s3.get_object(Bucket=self.vault, Key=self.object),
            )  # fmt: skip
            self.refuses(
                caller, "kms", f"{function} unwraps the key",
                lambda kms: kms.decrypt(
                    KeyId=self.stack.outputs["KeyArn"],
                    CiphertextBlob=base64.b64decode(wrapped["wrapped"]),
                    EncryptionContext={"holdfast:vault": wrapped["vault"]},
                ),
            )  # fmt: skip

    def test_functions_without_job_state_do_not_read_it(self) -> None:
        table = self.stack.outputs["JobTableName"]
        for function in ["setup", "validate-recovery-points", "validate-restore", "native-restore"]:
            self.refuses(
                self.stack.role(function), "dynamodb", f"{function} reads a job",
                lambda d: d.get_item(TableName=table, Key={"pk": {"S": "RESOURCE"}, "sk": {"S": "products"}}),
            )  # fmt: skip

    def test_the_vault_is_not_reached_without_tls(self) -> None:
        everything = self.stack.emulator.client("s3", self.stack.assume(world.administrator(self.stack)))
        given = {"Bucket": self.vault, "Key": self.object}
        self.assertTrue(everything.get_object(**given)["Body"].read())
        # As a proxy in front of the emulator would tell of a call that came to it in plain text.
        plain = functools.partial(_tell, "X-Forwarded-Proto", "http")
        everything.meta.events.register("before-sign.s3.*", plain)
        with self.assertRaises(ClientError) as raised:
            everything.get_object(**given)
        self.assertEqual(raised.exception.response["Error"]["Code"], "AccessDenied")


def in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=days)


def _tell(name: str, value: str, request: Any, **_: Any) -> None:
    request.headers[name] = value


class Lock(unittest.TestCase):
    """What Object Lock keeps from an administrator too: the lock is the bucket's, not a policy's."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        cls.vault = cls.stack.outputs["VaultBucketName"]
        cls.s3 = cls.stack.client("s3")
        cls.stack.apply(world.products(cls.stack))
        cls.stack.table(cls.stack.outputs["ProductsTableName"]).put_item(Item={"id": "P-locked"})
        # Other tests put objects while the bucket has no lock: what they left says nothing here.
        before = cls.versions()
        cls.stack.backup("products")
        cls.made = cls.versions() - before

    @classmethod
    def versions(cls) -> set[tuple[str, str]]:
        """The key and the version of everything in the vault."""
        pages = cls.s3.get_paginator("list_object_versions").paginate(Bucket=cls.vault)
        return {(entry["Key"], entry["VersionId"]) for page in pages for entry in page.get("Versions", [])}

    def test_a_version_is_neither_deleted_nor_kept_shorter_nor_replaced(self) -> None:
        self.assertLessEqual({"packs", "manifests"}, {key.split("/")[0] for key, _ in self.made})
        for key, version in sorted(self.made):
            with self.subTest(key):
                until = self.s3.get_object_retention(Bucket=self.vault, Key=key, VersionId=version)["Retention"]
                self.assertGreater(until["RetainUntilDate"], datetime.datetime.now(datetime.timezone.utc))
                with self.assertRaises(ClientError) as raised:
                    self.s3.delete_object(Bucket=self.vault, Key=key, VersionId=version)
                self.assertEqual(raised.exception.response["Error"]["Code"], "AccessDenied")
                with self.assertRaises(ClientError) as raised:
                    self.s3.put_object_retention(
                        Bucket=self.vault, Key=key, VersionId=version,
                        Retention={"Mode": until["Mode"], "RetainUntilDate": datetime.datetime(2026, 11, 1)},
                    )  # fmt: skip
                self.assertEqual(raised.exception.response["Error"]["Code"], "AccessDenied")
                self.assertEqual(self.s3.head_object(Bucket=self.vault, Key=key)["VersionId"], version)
