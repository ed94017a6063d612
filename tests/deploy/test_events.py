"""The example events: each is understood by the function or the machine that it is for, and nothing else is let through."""

from __future__ import annotations

import copy
import http.server
import json
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.harness.artifacts import ROOT
from tests.deploy.harness.deployment import deployed
from tests.deploy.harness.waiting import until

EVENTS = ROOT / "events"
# What an event of a job, a table or a bucket that is not there ends in; said by its name, not by a crash.
REFUSALS = {
    "InvalidInput", "JobState", "JobUnknown", "ResourceUnknown", "SourceDenied", "SourceMissing", "TargetDenied",
}  # fmt: skip


def events(kind: str) -> list[tuple[str, Path]]:
    """Names of functions or machines, each with an event."""
    return sorted((file.parent.name, file) for file in (EVENTS / kind).glob("*/*.json"))


class Answers(http.server.BaseHTTPRequestHandler):
    """Takes what CloudFormation would."""

    got: list[dict[str, Any]]

    def do_PUT(self) -> None:  # noqa: N802
        self.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def answers() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where a custom resource may answer, and what it answers."""
    got: list[dict[str, Any]] = []
    handler = type("Handler", (Answers,), {"got": got})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/answer", got
        server.shutdown()
        thread.join()


class Events(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = deployed()

    def invoke(self, function: str, event: dict[str, Any]) -> tuple[bool, Any, list[dict[str, Any]]]:
        with answers() as (url, got):
            if "ResponseURL" in event:
                event = event | {"ResponseURL": url}
            done, answer = self.stack.invoke(function, event)
            if done and "ResponseURL" in event:
                # A test of a restore is answered by its machine, when it knows.
                until("CloudFormation has its answer", lambda: got, 60)
        return done, answer, got

    def test_every_function_and_every_machine_has_an_event(self) -> None:
        self.assertEqual({name for name, _ in events("functions")}, set(self.stack.functions()))
        machines = {file.name.removesuffix(".asl.json") for file in (ROOT / "infra" / "statemachines").iterdir()}
        self.assertEqual({name for name, _ in events("machines")}, machines)

    def test_every_function_answers_its_events(self) -> None:
        for function, file in events("functions"):
            with self.subTest(f"{function}/{file.name}"):
                event = json.loads(file.read_text())
                done, answer, got = self.invoke(function, event)
                if "ResponseURL" in event:
                    self.assertTrue(done, answer)
                    self.assertEqual([said["RequestId"] for said in got], [event["RequestId"]])
                    self.assertIn(got[0]["Status"], {"SUCCESS", "FAILED"})
                elif not done:
                    self.assertIn(answer["errorType"], REFUSALS, answer)
                    self.assertNotIn("event is not understood", answer["errorMessage"])

    def test_an_unknown_field_is_refused_by_its_name(self) -> None:
        for function, file in events("functions"):
            if function == "api":
                continue  # API Gateway adds to its events as it likes; what a caller sends is tested below.
            with self.subTest(f"{function}/{file.name}"):
                event = json.loads(file.read_text()) | {"unexpected": 1}
                done, answer, got = self.invoke(function, event)
                self.assertFalse(done, answer)
                self.assertEqual(answer["errorType"], "InvalidInput", answer)
                self.assertIn("unexpected", answer["errorMessage"])
                self.assertEqual(got, [])

    def test_an_unknown_field_of_a_request_to_the_api_is_refused_by_its_name(self) -> None:
        for name, place in (("back-up.json", "body"), ("restore.json", "body"), ("list-backups.json", "query")):
            with self.subTest(name):
                event = json.loads((EVENTS / "functions" / "api" / name).read_text())
                if place == "body":
                    event["body"] = json.dumps(json.loads(event["body"]) | {"unexpected": 1})
                else:
                    event["queryStringParameters"]["unexpected"] = "1"
                done, answer = self.stack.invoke("api", event)
                self.assertTrue(done, answer)
                body = json.loads(answer["body"])
                self.assertEqual((answer["statusCode"], body["code"]), (400, "InvalidInput"), body)
                self.assertIn("unexpected", body["message"])

    def test_every_machine_understands_its_inputs(self) -> None:
        ended = {file: self.started(machine, json.loads(file.read_text())) for machine, file in events("machines")}
        for file, execution in ended.items():
            with self.subTest(f"{file.parent.name}/{file.name}"):
                end = self.stack.ended(execution)
                if end["status"] != "SUCCEEDED":
                    self.assertNotIn("event is not understood", self.stack.why(execution))
                    self.assertNotIn("States.Runtime", end["error"])

    def test_an_unknown_field_of_an_input_is_refused_by_its_name(self) -> None:
        wanted = [
            (machine, file) for machine, file in events("machines") if machine in {"backup", "restore", "undo", "prune", "drill"}
        ]
        for machine, file in wanted:
            with self.subTest(f"{machine}/{file.name}"):
                execution = self.started(machine, json.loads(file.read_text()) | {"unexpected": 1})
                end = self.stack.ended(execution)
                self.assertEqual(end["status"], "FAILED")
                why = self.stack.why(execution)
                self.assertIn("InvalidInput", why)
                self.assertIn("unexpected", why)

    def started(self, machine: str, given: dict[str, Any]) -> str:
        given = copy.deepcopy(given)
        if "request" in given:
            given["request"]["ResponseURL"] = f"{self.stack.emulator.endpoint}/_ministack/cfn-response/none"
        name = "".join(part.capitalize() for part in machine.split("-"))
        return self.stack.start(f"{name}MachineArn", given)
