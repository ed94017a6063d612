"""The HTTP API, called as any program calls it: with requests that are signed, and only those that IAM lets through."""

from __future__ import annotations

import json
import unittest
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.deploy.harness import shop, world
from tests.deploy.harness.deployment import deployed
from tests.deploy.harness.emulator import REGION, ROOT, Caller
from tests.deploy.harness.waiting import until



class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()
        world.tested(cls.stack)

    def call(self, method: str, path: str, body: Any = None, caller: Caller | None = ROOT) -> tuple[int, Any]:
        """The status and the answer of a request."""
        # On AWS the API is a host of its own; the emulator has it below a path.
        api = urlsplit(self.stack.outputs["ApiUrl"]).netloc.split(".")[0]
        url = f"{self.stack.emulator.endpoint}/_aws/execute-api/{api}/$default{path}"
        data = None if body is None else json.dumps(body).encode()
        request = AWSRequest(method=method, url=url, data=data, headers={"content-type": "application/json"})
        if caller:
            SigV4Auth(Credentials(*caller), "execute-api", REGION).add_auth(request)
        sent = urllib.request.Request(url, data=data, headers=dict(request.headers.items()), method=method)
        try:
            with urllib.request.urlopen(sent, timeout=60, context=self.stack.emulator.trust()) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read() or b"null")

    def done(self, id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            status, job = self.call("GET", f"/jobs/{id}")
            self.assertEqual(status, 200, job)
            return job if job["status"] not in ("pending", "running") else None

        return until(f"job {id} ends", look)

    def test_backup_verify_and_restore(self) -> None:
        status, begun = self.call("POST", "/resources/tested/backups", {"type": "full"})
        self.assertEqual(status, 202, begun)
        job = self.done(begun["id"])
        self.assertEqual((job["status"], job["records"]), ("completed", world.TESTED_ITEMS))
        status, listed = self.call("GET", "/backups?resource=tested&limit=5")
        self.assertEqual((status, listed["backups"][0]["id"]), (200, begun["id"]))
        status, verified = self.call("POST", f"/backups/{begun['id']}/verify", {"level": "full"})
        self.assertEqual(status, 202, verified)
        target = world.target_table(self.stack, "restored-api")
        status, restore = self.call(
            "POST", "/restores", {"backup": begun["id"], "target": {"kind": "dynamodb", "table": "restored-api"}}
        )
        self.assertEqual(status, 202, restore)
        self.assertEqual(self.done(restore["id"])["status"], "completed")
        shop.same(self, shop.read_all(target), shop.read_all(self.stack.table(world.TESTED)))

    def test_a_backup_is_held_deleted_and_taken_back(self) -> None:
        backup = self.stack.backup("tested")["id"]
        self.assertEqual(self.call("POST", f"/backups/{backup}/hold", {"reason": "an audit"})[0], 200)
        status, said = self.call("POST", f"/backups/{backup}/delete", {"now": True})
        self.assertEqual((status, said["code"]), (409, "JobState"), said)
        self.assertEqual(self.call("POST", f"/backups/{backup}/release")[0], 200)
        status, deleted = self.call("POST", f"/backups/{backup}/delete")
        self.assertEqual((status, deleted["deletion"]["by"]), (200, "operator"), deleted)
        self.assertEqual(self.call("POST", f"/backups/{backup}/undelete")[0], 200)
        self.assertIsNone(self.stack.job(backup).get("deletion"))
        status, told = self.call("GET", "/resources/tested/retention")
        self.assertEqual(status, 200, told)
        self.assertIn(backup, json.dumps(told))

    def test_promises_are_told(self) -> None:
        self.stack.backup("tested")
        status, told = self.call("GET", "/status?resource=tested")
        self.assertEqual((status, told["kept"]), (200, True), told)

    def test_what_is_wrong_is_said(self) -> None:
        for method, path, body, status, code in (
            ("POST", "/resources/nothing/backups", {}, 404, "ResourceUnknown"),
            ("POST", "/resources/tested/backups", {"kind": "full"}, 400, "InvalidInput"),
            ("GET", "/jobs/01M7ZF57KKHN703HSM8W1QAVAC", None, 404, "JobUnknown"),
        ):
            with self.subTest(path):
                answered, said = self.call(method, path, body)
                self.assertEqual((answered, said["code"]), (status, code), said)

    def test_resources_tell_no_data(self) -> None:
        status, resources = self.call("GET", "/resources")
        self.assertEqual(status, 200)
        self.assertIn("tested", [resource["name"] for resource in resources["resources"]])

    def test_who_is_not_let_in_is_refused(self) -> None:
        self.assertEqual(self.call("GET", "/resources", caller=None)[0], 403)
        self.assertEqual(self.call("GET", "/resources", caller=self.stack.role("plan"))[0], 403)
