"""The service at work: what is backed up through Step Functions comes back, in every case that an operator meets."""

from __future__ import annotations

import datetime
import time
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.deploy.harness import reader, shop, world
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

    def test_verify_finds_every_byte_right(self) -> None:
        self.stack.run("VerifyMachineArn", {"verify": self.full["id"], "level": "full"})
        verified = self.stack.job(self.full["id"])["verified"]
        self.assertTrue(verified["valid"], verified)

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
                "policy": {"schedule": f"{due.minute} {due.hour} * * *"},
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


def this_second() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
