"""The service at work: what is backed up through Step Functions comes back, in every case that an operator meets."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.deploy.harness import artifacts, reader, shop, world
from tests.deploy.harness.artifacts import ROOT
from tests.deploy.harness.deployment import deployed, new_id
from tests.deploy.harness.emulator import ACCOUNT, REGION
from tests.deploy.harness.waiting import until


class Table(unittest.TestCase):
    """Backup and restore of the products table."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        cls.products = cls.stack.table(cls.stack.outputs["ProductsTableName"])
        shop.put_all(cls.products, shop.products())
        cls.stack.apply(world.products(cls.stack))
        cls.full = cls.stack.backup("products")
        cls.before = shop.read_all(cls.products)

    def restored(self, backup: str, table: str) -> dict[str, Any]:
        target = world.target_table(self.stack, table)
        job = self.stack.restore(backup, {"kind": "dynamodb", "table": table})
        self.assertEqual(job["status"], "completed")
        return shop.read_all(target)

    def test_a_backup_says_completed_and_counts_every_item(self) -> None:
        self.assertEqual(self.full["status"], "completed")
        self.assertEqual(self.full["warnings"], [])
        self.assertEqual(self.full["totals"]["records"], shop.MANY + 1)
        self.assertEqual([change["status"] for change in self.full["history"]], ["pending", "running", "completed"])

    def test_verify_finds_every_byte_right_at_every_level(self) -> None:
        for level in ("quick", "chain", "sample=50", "full"):
            with self.subTest(level):
                self.stack.run("VerifyMachineArn", {"verify": self.full["id"], "level": level})
                verified = self.stack.job(self.full["id"])["verified"]
                self.assertEqual((level, True), (verified["level"], verified["valid"]), verified)

    def test_every_item_comes_back_as_boto3_reads_it(self) -> None:
        shop.same(self, self.restored(self.full["id"], "restored-full"), self.before)

    def test_an_increment_brings_back_what_was_changed_added_and_deleted(self) -> None:
        for number in range(0, 200, 10):
            self.products.update_item(
                Key={"id": f"P-{number:06}"},
                UpdateExpression="SET price = :price",
                ExpressionAttributeValues={":price": number},
            )
        for number in range(5, 100, 10):
            self.products.delete_item(Key={"id": f"P-{number:06}"})
        shop.put_all(self.products, [{"id": f"N-{number}", "name": "new"} for number in range(15)])
        increment = self.stack.backup("products", "incremental")
        self.assertEqual(increment["backup_type"], "incremental")
        self.assertLess(increment["totals"]["stored_bytes"], self.full["totals"]["stored_bytes"] / 4)
        shop.same(self, self.restored(increment["id"], "restored-increment"), shop.read_all(self.products))

    def test_the_reader_finds_the_same_in_a_copy_of_the_vault(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            copy = reader.Copy(self.stack, Path(directory))
            copy.read("verify", self.full["id"])
            shop.same(self, copy.items(self.full["id"], Path(directory) / "items"), self.before)


class Site(unittest.TestCase):
    """Backup and restore of the objects below a prefix."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        cls.s3 = cls.stack.client("s3")
        shop.put_files(cls.s3, world.SITE, "www/", shop.site())
        shop.put_files(cls.s3, world.SITE, "other/", {"not-ours.txt": b"outside of the prefix"})
        cls.stack.apply(world.site())

    def restored(self, backup: str, bucket: str, prefix: str) -> dict[str, str]:
        job = self.stack.restore(backup, {"kind": "s3", "bucket": bucket, "prefix": prefix})
        self.assertEqual(job["status"], "completed")
        return shop.read_files(self.s3, bucket, prefix)

    def test_files_come_back_from_a_backup_and_from_an_increment(self) -> None:
        full = self.stack.backup("site")
        first = shop.read_files(self.s3, world.SITE, "www/")
        self.assertEqual(first, {path: shop.sha256(content) for path, content in shop.site().items()})
        self.assertEqual(self.restored(full["id"], world.RESTORED, "back/"), first)

        self.s3.put_object(Bucket=world.SITE, Key="www/new.txt", Body=b"new")
        self.s3.put_object(Bucket=world.SITE, Key="www/empty.txt", Body=b"no longer empty")
        self.s3.delete_object(Bucket=world.SITE, Key="www/tief/er/und/tiefer/x")
        increment = self.stack.backup("site", "incremental")
        self.assertEqual(increment["backup_type"], "incremental")
        second = shop.read_files(self.s3, world.SITE, "www/")
        self.assertNotEqual(second, first)
        self.assertEqual(self.restored(increment["id"], world.RESTORED, "later/"), second)
        self.assertEqual(self.restored(full["id"], world.RESTORED, "earlier/"), first)


class NativeRestore(unittest.TestCase):
    """A recovery point of DynamoDB's own, through the same machine."""

    def test_point_in_time_recovery_into_a_new_table(self) -> None:
        stack = deployed()
        source = stack.table(world.tested(stack))
        given = {"restoreType": "PITR", "sourceTableName": source.name, "targetTableName": "restored-native"}
        stack.run("RestoreMachineArn", given | {"useLatestRestorableTime": True})
        shop.same(self, shop.read_all(stack.table("restored-native")), shop.read_all(source))

    def test_a_recovery_point_that_is_not_there_is_an_error_that_is_told(self) -> None:
        stack = deployed()
        queue = world.subscribed(stack, "native-failures")
        point = f"arn:aws:backup:{REGION}:{ACCOUNT}:recovery-point:1eb3b5e7-9eb0-435a-a80b-108b488b0d45"
        given = {"restoreType": "BACKUP", "recoveryPointArn": point, "targetTableName": "restored-nothing"}
        end = stack.ended(stack.start("RestoreMachineArn", given))
        self.assertEqual((end["status"], end["error"]), ("FAILED", "RestoreFailed"))
        until("a notification comes", lambda: [m for m in queue.messages() if m["event"] == "restore-failed"], 30)
        self.assertNotIn("restored-nothing", stack.client("dynamodb").list_tables()["TableNames"])


class Failure(unittest.TestCase):
    """A backup of what is not there."""

    def test_it_ends_in_a_failed_job_and_a_notification(self) -> None:
        stack = deployed()
        queue = world.subscribed(stack, "failures")
        stack.apply({"name": "gone", "source": {"kind": "dynamodb", "table": world.MISSING}, "policy": {}})
        end = stack.ended(stack.start("BackupMachineArn", {"resource": "gone"}))
        self.assertEqual((end["status"], end["error"]), ("FAILED", "BackupFailed"))
        (job,) = stack.jobs("backup", "gone")
        self.assertEqual((job["status"], job["error"]["code"]), ("failed", "SourceMissing"))
        told = until("a notification comes", lambda: [m for m in queue.messages() if m["event"] == "backup-failed"], 30)
        self.assertEqual(told[0]["failure"]["job"], job["id"])
        self.assertEqual(told[0]["failure"]["code"], "SourceMissing")


class Capture(unittest.TestCase):
    """Changes of a table, from its stream into the vault, and back out of it."""

    def test_a_bad_write_is_captured_restored_to_its_moment_and_taken_back(self) -> None:
        stack = deployed()
        orders = stack.table(world.ORDERS)
        stack.apply(world.orders())
        good = [{"id": f"O-{number}", "total": number, "state": "paid"} for number in range(50)]
        shop.put_all(orders, good)
        # Of the second in which the first change came others may be missing: the backup begins after it.
        since = self.captured(stack, 50)["since"]
        until("the first captured second ends", lambda: time.time() * 1000 > since, 5, pause=0.02)
        backup = stack.backup("orders")
        self.assertEqual(backup["status"], "completed")

        # Changes tell their time in whole seconds, rounded down.
        begin = self.later(this_second())
        self.later(begin)
        for number in range(0, 50, 5):
            orders.put_item(Item={"id": f"O-{number}", "total": 0, "state": "bad"})
        orders.put_item(Item={"id": "O-0", "total": 1, "state": "worse"})
        bad = shop.read_all(orders)
        end = self.later(this_second())

        later: dict[str, Any] = {"id": "O-later", "total": 0, "state": "paid"}

        def covered() -> bool:
            # What is captured reaches as far as the last write but one.
            later["total"] += 1
            orders.put_item(Item=later)
            return stack.row("CAPTURE", "orders")["newest"] >= end.timestamp() * 1000

        until("all of the bad second is captured", covered, 60, pause=0.5)
        end -= datetime.timedelta(milliseconds=1)
        target = world.target_table(stack, "restored-moment")
        moment = {"resource": "orders", "at": end.isoformat(), "target": {"kind": "dynamodb", "table": "restored-moment"}}
        restored = stack.job(stack.run("RestoreMachineArn", moment)["job"])
        self.assertEqual((restored["status"], restored["warnings"]), ("completed", []))
        shop.same(self, shop.read_all(target), bad)

        id = new_id()
        asked = {"resource": "orders", "from": {"time": begin.isoformat()}, "to": {"time": end.isoformat()}}
        request = {"of": {"window": {"asked": asked, "filter": {}}}, "on_conflict": "skip"}
        stack.put_job(id, "undo", "orders", {"request": request})
        stack.run("UndoMachineArn", {"undo": id}, id)
        undone = stack.job(id)
        self.assertEqual(undone["status"], "completed", undone)
        shop.same(self, shop.read_all(orders), {item["id"]: item for item in [*good, later]})

    def later(self, bad: datetime.datetime) -> Any:
        """Ends the second of a write; gives the next."""
        return until("the next second", lambda: this_second() if this_second() > bad else None, 5, pause=0.02)

    def captured(self, stack: Any, changes: int) -> dict[str, Any]:
        """How far the capture is, once so many changes are in the vault."""

        def look() -> dict[str, Any] | None:
            row = stack.row("CAPTURE", "orders")
            return row if row and row["changes"] >= changes else None

        return until(f"{changes} changes are captured", look, 60)


class Prune(unittest.TestCase):
    """What nothing needs goes, in two looks with a wait between them, and can be brought back for days."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        cls.s3 = cls.stack.client("s3")
        cls.vault = cls.stack.outputs["VaultBucketName"]
        cls.table = cls.stack.table(cls.stack.outputs["JobTableName"])
        source = {"kind": "s3", "bucket": world.SITE, "prefix": "pruned/"}
        cls.stack.apply({"name": "pruned", "source": source, "policy": {"drill": "off"}})
        # Locks of these have ended.
        with world.unlocked(cls.stack):
            cls.going, cls.of_going = cls.backup({"first.txt": b"of the first backup alone" * 100})
            cls.staying, cls.of_staying = cls.backup({"second.txt": b"of the second backup" * 100})

    @classmethod
    def backup(cls, files: dict[str, bytes]) -> tuple[dict[str, Any], set[str]]:
        """A full backup of some files, and the objects that it made."""
        before = cls.objects()
        cls.stack.client("s3").delete_object(Bucket=world.SITE, Key="pruned/first.txt")
        shop.put_files(cls.s3, world.SITE, "pruned/", files)
        job = cls.stack.backup("pruned", "full")
        return job, cls.objects() - before

    @classmethod
    def objects(cls) -> set[str]:
        """What is in the vault, but for captured changes, which come at any time."""
        pages = cls.s3.get_paginator("list_objects_v2").paginate(Bucket=cls.vault)
        keys = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        return {key for key in keys if not key.startswith("changes/")}

    def condemned(self, keys: set[str]) -> dict[str, dict[str, Any]]:
        """The rows that condemn objects."""
        folders = {key[len("packs/")] if key.startswith("packs/") else key[len("index/")] for key in keys}
        rows = [
            row
            for folder in folders
            for row in self.table.query(
                KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": f"CONDEMNED#{folder}"}
            )["Items"]
        ]
        return {row["sk"]: row for row in rows if row["sk"] in keys}

    def test_what_is_deleted_waits_goes_and_can_be_brought_back(self) -> None:
        stack, manifest = self.stack, f"manifests/{self.going['id']}"
        others = self.objects() - self.of_going
        packs = {key for key in self.of_going if not key.startswith("manifests/")}
        self.assertEqual(1, len(self.of_going - packs), self.of_going)

        # Nothing goes before its time.
        stack.run("PruneMachineArn", {})
        self.assertLessEqual(self.of_going, self.objects())
        done = stack.command("delete", self.going["id"])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        stack.run("PruneMachineArn", {})
        self.assertLessEqual(self.of_going, self.objects())

        # The day of grace passes: the manifest goes, and the wait of what it alone named begins.
        job = stack.job(self.going["id"])
        job["deletion"] |= {"asked_at": ago(hours=30), "due_at": ago(hours=6)}
        stack.change_row(f"JOB#{self.going['id']}", "JOB", job)
        for _ in range(2):
            stack.run("PruneMachineArn", {})
        self.assertFalse(any(key.startswith(manifest) for key in self.objects()))
        self.assertLessEqual(packs, self.objects())
        rows = self.condemned(packs)
        self.assertEqual(packs, rows.keys())

        # The wait passes.
        for row in rows.values():
            self.table.update_item(
                Key={"pk": row["pk"], "sk": row["sk"]},
                UpdateExpression="SET #at = :at",
                ExpressionAttributeNames={"#at": "at"},
                ExpressionAttributeValues={":at": ago(hours=9)},
            )
        stack.run("PruneMachineArn", {})
        left = self.objects()
        self.assertEqual(set(), self.of_going & left)
        self.assertEqual(set(), others - left, "what others need stays")
        self.assertLessEqual(self.of_staying, left)
        stack.run("VerifyMachineArn", {"verify": self.staying["id"], "level": "full"})
        self.assertTrue(stack.job(self.staying["id"])["verified"]["valid"])
        self.bring_back()

    def bring_back(self) -> None:
        """What the runbook says, word for word."""
        text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
        section = text[text.index("## A backup was deleted that was needed") :]
        (commands,) = re.findall(r"```sh\n(.*?)```", section[: section.index("\n## ")], re.DOTALL)
        script = commands.replace("BUCKET", self.vault).replace("holdfast ", f"{artifacts.command()} ")
        script = script.replace("aws ", f"{Path(sys.executable).with_name('aws')} ")
        with tempfile.TemporaryDirectory() as directory:
            script += f"{artifacts.command()} --home rescue restore {self.going['id']} --to files:back\n"
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                env=self.stack.emulator.environment(), cwd=directory, capture_output=True, text=True, timeout=300,
                check=False,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual((Path(directory) / "back/first.txt").read_bytes(), b"of the first backup alone" * 100)

    def test_the_schedule_starts_it(self) -> None:
        scheduler = self.stack.client("scheduler")
        targets = {
            (target["Arn"], target["Input"])
            for name in self.stack.resources("AWS::Scheduler::Schedule")
            for target in [scheduler.get_schedule(Name=name)["Target"]]
        }
        self.assertIn((self.stack.outputs["PruneMachineArn"], "{}"), targets)


class Drill(unittest.TestCase):
    """A backup is restored for trial, compared, and the target is gone afterwards."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()

    def drilled(self, given: dict[str, Any]) -> dict[str, Any]:
        job = self.stack.job(self.stack.run("DrillMachineArn", given)["job"])
        self.assertEqual(job["status"], "completed", job)
        for stream in job["detail"]["compared"]:
            self.assertTrue(stream["equal"], job)
        self.assertTrue(job["detail"]["compared"])
        self.assertEqual(self.stack.job(job["detail"]["chosen"]["restore"])["status"], "completed")
        self.nothing_is_left()
        return job

    def nothing_is_left(self) -> None:
        tables = self.stack.client("dynamodb").list_tables()["TableNames"]
        self.assertEqual([], [name for name in tables if name.startswith("holdfast-drill-")])
        staged = self.stack.client("s3").list_objects_v2(Bucket=self.stack.outputs["StagingBucketName"], Prefix="drills/")
        self.assertEqual(0, staged["KeyCount"])

    def test_a_table(self) -> None:
        world.tested(self.stack)
        backup = self.stack.backup("tested")
        job = self.drilled({"resource": "tested", "backup": backup["id"]})
        self.assertEqual(job["detail"]["chosen"]["backup"], backup["id"])
        self.assertGreater(job["detail"]["rto_ms"], 0)
        self.assertEqual(job["detail"]["compared"][0]["found"]["records"], world.TESTED_ITEMS)

    def test_objects_of_a_bucket(self) -> None:
        source = {"kind": "s3", "bucket": world.SITE, "prefix": "drilled/"}
        self.stack.apply({"name": "drilled", "source": source, "policy": {"drill": "off"}})
        files = {"a.txt": b"a", "deep/größe.bin": bytes(range(256)) * 5000, "empty": b""}
        shop.put_files(self.stack.client("s3"), world.SITE, "drilled/", files)
        self.stack.backup("drilled")
        self.drilled({"resource": "drilled"})

    def test_a_drill_that_fails_leaves_nothing_and_tells(self) -> None:
        world.tested(self.stack)
        end = self.stack.ended(self.stack.start("DrillMachineArn", {"resource": "tested", "backup": new_id()}))
        self.assertEqual(end["status"], "FAILED")
        self.assertEqual(self.stack.jobs("drill", "tested")[0]["status"], "failed")
        self.nothing_is_left()

    def test_the_schedule_drills_what_is_due_and_nothing_else(self) -> None:
        for name, drill in (("due-drill", "daily"), ("no-drill", "off")):
            shop.put_files(self.stack.client("s3"), world.SITE, f"{name}/", {"file.txt": name.encode()})
            source = {"kind": "s3", "bucket": world.SITE, "prefix": f"{name}/"}
            self.stack.apply({"name": name, "source": source, "policy": {"drill": drill}})
            self.stack.backup(name)
        self.stack.fire("drills")

        def done() -> list[dict[str, Any]]:
            return [job for job in self.stack.jobs("drill", "due-drill") if job["status"] == "completed"]

        self.assertEqual(1, len(until("the drill completes", done)))
        # What was drilled on this day is not due again.
        drilled, answer = self.stack.invoke("dispatch", {"task": "drills"})
        self.assertTrue(drilled, answer)
        self.assertEqual(1, len(self.stack.jobs("drill", "due-drill")))
        self.assertEqual([], self.stack.jobs("drill", "no-drill"))


class Schedule(unittest.TestCase):
    """What is due is started by the schedule, and once."""

    def test_the_schedule_starts_a_due_backup_once(self) -> None:
        stack = deployed()
        due = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
        stack.client("s3").put_object(Bucket=world.SITE, Key="due/file.txt", Body=b"due")
        stack.apply(
            {
                "name": "due",
                "source": {"kind": "s3", "bucket": world.SITE, "prefix": "due/"},
                "policy": {"schedule": f"{due.minute} {due.hour} * * *", "drill": "off"},
            }
        )
        # What was due before the dispatcher first saw it is not made up for.
        done, answer = stack.invoke("dispatch", {"task": "backups"})
        self.assertTrue(done, answer)
        self.assertEqual(stack.jobs("backup", "due"), [])
        seen = (due - datetime.timedelta(days=1)).isoformat()
        stack.change_row("SCHEDULE", "due", stack.row("SCHEDULE", "due") | {"after": seen})
        stack.fire("backups")
        job = until("the backup completes", lambda: [j for j in stack.jobs("backup", "due") if j["status"] == "completed"])
        with ThreadPoolExecutor() as at_once:
            repeats = [at_once.submit(stack.invoke, "dispatch", {"task": "backups"}) for _ in range(3)]
        for done, answer in (repeat.result() for repeat in repeats):
            self.assertTrue(done, answer)
        self.assertEqual([j["id"] for j in stack.jobs("backup", "due")], [job[0]["id"]])

    def test_the_daily_schedule_verifies_the_newest_backups(self) -> None:
        stack = deployed()
        world.tested(stack)
        backup = stack.backup("tested")
        stack.fire("verify")
        verified = until("the backup is verified in full", lambda: self.level(stack.job(backup["id"])) == "full")
        self.assertTrue(verified)

    @staticmethod
    def level(job: dict[str, Any]) -> str | None:
        return (job["verified"] or {}).get("level")


def ago(hours: int) -> str:
    """A time gone by, as the service writes it."""
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def this_second() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
