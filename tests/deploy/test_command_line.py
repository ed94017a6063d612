"""The command line on the stack: what an operator types, what a program reads."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.deploy.harness import shop, world
from tests.deploy.harness.deployment import deployed


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        world.tested(cls.stack)

    def run_command(self, *arguments: str, expect: int = 0) -> Any:
        """What a command answers with --json: of an error, what it says of it."""
        done = self.stack.command(*arguments)
        said = f"{arguments}\n{done.stdout}{done.stderr}\n{self.stack.emulator.said()}"
        self.assertEqual(done.returncode, expect, said)
        return json.loads(done.stderr.splitlines()[-1] if expect in (1, 2) else done.stdout)

    def test_backup_show_verify_and_restore(self) -> None:
        backup = self.run_command("backup", "tested")
        self.assertEqual((backup["status"], backup["records"]), ("completed", world.TESTED_ITEMS))
        listed = self.run_command("backups")
        self.assertEqual(json.dumps(listed).count(backup["id"]), 1)
        shown = self.run_command("show", backup["id"])
        self.assertEqual((shown["id"], shown["status"], shown["kind"]), (backup["id"], "completed", "backup"))
        self.assertTrue(self.run_command("verify", "latest:tested")["valid"])
        dry = self.run_command("restore", backup["id"], "--to", "dynamodb:restored-command", "--dry-run")
        self.assertNotIn("restored-command", self.stack.client("dynamodb").list_tables()["TableNames"], dry)
        restored = self.run_command("restore", backup["id"], "--to", "dynamodb:restored-command")
        self.assertEqual(restored["status"], "completed")
        shop.same(
            self,
            shop.read_all(self.stack.table("restored-command")),
            shop.read_all(self.stack.table(world.TESTED)),
        )

    def test_a_drill_proves_a_backup_and_the_promises_are_shown(self) -> None:
        backup = self.run_command("backup", "tested")
        dry = self.run_command("drill", "tested", "--backup", "latest", "--dry-run")
        self.assertEqual((dry["backup"], dry["dry_run"]), (backup["id"], True))
        drilled = self.run_command("drill", "tested", "--backup", "latest")
        told = (drilled["status"], drilled["equal"], drilled["records"])
        self.assertEqual(told, ("completed", True, world.TESTED_ITEMS), drilled)
        status = self.run_command("status", "tested")
        self.assertTrue(status["kept"], status)

    def test_what_is_held_is_not_deleted_and_what_is_deleted_can_be_taken_back(self) -> None:
        self.run_command("backup", "tested")
        backup = self.run_command("backup", "tested")["id"]
        self.run_command("hold", backup, "--reason", "an audit")
        error = self.run_command("delete", backup, expect=2)
        self.assertIn(backup, json.dumps(error))
        self.run_command("release", backup)
        self.run_command("delete", backup)
        self.assertTrue(self.stack.job(backup)["deletion"])
        self.run_command("undelete", backup)
        self.assertIsNone(self.stack.job(backup).get("deletion"))
        told = self.run_command("retention", "tested")
        self.assertIn(backup, json.dumps(told))

    def test_a_prune_tells_first_what_it_would_do(self) -> None:
        vault = self.stack.outputs["VaultBucketName"]
        before = self.stack.client("s3").list_objects_v2(Bucket=vault)["KeyCount"]
        dry = self.run_command("prune", "--dry-run")
        self.assertTrue(dry["dry_run"], dry)
        self.assertEqual(before, self.stack.client("s3").list_objects_v2(Bucket=vault)["KeyCount"])

    def test_resources_are_listed_as_they_were_applied(self) -> None:
        resources = self.run_command("resources")
        self.assertIn(world.TESTED, json.dumps(resources))

    def test_a_job_that_waits_is_cancelled(self) -> None:
        id = self.stack.waiting_restore(self.stack.backup("tested"))
        self.run_command("cancel", id)
        self.assertEqual(self.stack.job(id)["status"], "cancelled")

    def test_apply_says_which_grant_is_missing(self) -> None:
        world.new_table(self.stack.client("dynamodb"), "not-granted")
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "resources.yaml"
            file.write_text("resources: [{name: not-granted, source: {kind: dynamodb, table: not-granted}}]")
            error = self.run_command("apply", "-f", str(file), expect=2)
        self.assertIn("not-granted", json.dumps(error))
        self.assertIn("SourceTables", json.dumps(error))

    def test_an_operator_needs_what_is_documented_and_nothing_else(self) -> None:
        caller = self.stack.assume(world.operator(self.stack))
        file = self.stack.emulator.state / "operator.yaml"
        file.write_text(json.dumps({"resources": [world.tested_resource()]}))
        for arguments in (
            ["apply", "-f", str(file)],
            ["resources"],
            ["backup", "tested"],
            ["backups"],
            ["verify", "latest:tested", "--level", "chain"],
            ["drill", "tested"],
            ["status", "tested"],
            ["retention", "tested"],
            ["prune", "--dry-run"],
        ):
            with self.subTest(arguments[0]):
                done = self.stack.command(*arguments, caller=caller)
                self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}\n{self.stack.emulator.said()}")

    def test_a_stack_that_is_not_there_is_named(self) -> None:
        done = self.stack.command("backups", stack="no-such-stack")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("no-such-stack", done.stderr)
