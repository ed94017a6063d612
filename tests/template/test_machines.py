"""The state machines' files against the template and the code: names, errors, roles."""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.template.stack import MACHINES, ROOT, listed, logical, read, stack

# What Step Functions and Lambda call errors, among those that the files name.
SERVICE_ERRORS = re.compile(r"^(States|Lambda)\.\w+$|^States\.ALL$")
SUBSTITUTION = re.compile(r"\$\{(\w+)\}")


@cache
def files() -> dict[str, Path]:
    return {path.name.removesuffix(".asl.json"): path for path in sorted(MACHINES.glob("*.asl.json"))}


def machines() -> dict[str, dict[str, Any]]:
    """The template's state machines by the names of their files."""
    found = {}
    for resource in read()["Resources"].values():
        if resource["Type"] == "AWS::Serverless::StateMachine":
            uri = resource["Properties"]["DefinitionUri"]
            found[Path(uri).name.removesuffix(".asl.json")] = resource["Properties"]
    return found


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a definition."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from parts(each)
    elif isinstance(value, list):
        for each in value:
            yield from parts(each)


class Definitions(unittest.TestCase):
    def test_every_file_is_deployed(self) -> None:
        self.assertEqual(set(files()), set(machines()))

    def test_every_substitution_is_given_and_used(self) -> None:
        for name, path in files().items():
            with self.subTest(name):
                used = set(SUBSTITUTION.findall(path.read_text(encoding="utf-8")))
                self.assertEqual(used, set(machines()[name].get("DefinitionSubstitutions", {})))

    def test_a_substitution_is_what_it_is_called(self) -> None:
        for name, machine in machines().items():
            for substitution, given in machine.get("DefinitionSubstitutions", {}).items():
                with self.subTest(name, substitution=substitution):
                    if substitution == "NotificationTopicArn":
                        self.assertEqual({"Ref": "NotificationTopic"}, given)
                    else:
                        function = substitution.removesuffix("Arn")
                        self.assertEqual({"Fn::GetAtt": [function, "Arn"]}, given)

    def test_errors_that_are_matched_exist(self) -> None:
        code = (ROOT / "shared/vault/src/error.rs").read_text(encoding="utf-8")
        table = code[code.index("codes! {") :]
        codes = set(re.findall(r"^    (\w+): \w+, (?:true|false);", table, re.MULTILINE))
        self.assertIn("StateConflict", codes)
        for name, path in files().items():
            for part in parts(json.loads(path.read_text(encoding="utf-8"))):
                for error in part.get("ErrorEquals", []):
                    with self.subTest(name, error=error):
                        self.assertTrue(error in codes or SERVICE_ERRORS.match(error))

    def test_only_errors_that_may_pass_are_tried_again(self) -> None:
        code = (ROOT / "shared/vault/src/error.rs").read_text(encoding="utf-8")
        passing = set(re.findall(r"^    (\w+): \w+, true;", code, re.MULTILINE))
        for name, path in files().items():
            for part in parts(json.loads(path.read_text(encoding="utf-8"))):
                for retry in part.get("Retry", []):
                    own = {error for error in retry["ErrorEquals"] if not SERVICE_ERRORS.match(error)}
                    self.assertLessEqual(own, passing, name)

    def test_a_function_that_is_throttled_is_waited_for(self) -> None:
        throttled = "Lambda.TooManyRequestsException"
        for name, path in files().items():
            for part in parts(json.loads(path.read_text(encoding="utf-8"))):
                if part.get("Resource") == "arn:aws:states:::lambda:invoke":
                    waits = [rule for rule in part.get("Retry", []) if throttled in rule["ErrorEquals"]]
                    with self.subTest(name, function=part["Parameters"]["FunctionName"]):
                        self.assertEqual(1, len(waits))
                        self.assertGreaterEqual(waits[0]["MaxAttempts"], 6)
                        self.assertIn("MaxDelaySeconds", waits[0])

    def test_every_wait_has_an_end_and_every_map_a_bound(self) -> None:
        for name, path in files().items():
            definition = json.loads(path.read_text(encoding="utf-8"))
            with self.subTest(name):
                self.assertIn("TimeoutSeconds", definition)
            for part in parts(definition):
                kind = part.get("Type")
                if kind == "Task":
                    self.assertIn("TimeoutSeconds", part, name)
                if kind == "Map":
                    self.assertIn("MaxConcurrency", part, name)

    def test_functions_know_how_many_work_beside_them(self) -> None:
        bounds = {
            part["MaxConcurrency"]
            for part in parts(json.loads(files()["backup"].read_text(encoding="utf-8")))
            if "MaxConcurrency" in part
        }
        for function in ("PlanFunction", "ExportChunkFunction"):
            variables = stack().properties(function)["Environment"]["Variables"]
            self.assertEqual({int(variables["HOLDFAST_WORKERS"])}, bounds)

    def test_no_task_waits_longer_than_its_function_works(self) -> None:
        timeouts = {
            name: function["Timeout"] for name, function in stack().of_type("AWS::Lambda::Function").items()
        }
        for name, path in files().items():
            for part in parts(json.loads(path.read_text(encoding="utf-8"))):
                called = part.get("Parameters", {}).get("FunctionName")
                if called is not None:
                    function = SUBSTITUTION.fullmatch(called)[1].removesuffix("Arn")
                    with self.subTest(name, function=function):
                        self.assertGreaterEqual(part["TimeoutSeconds"], timeouts[function])


class Roles(unittest.TestCase):
    """A machine's role grants what its definition does, and nothing else."""

    # What every machine needs beside what its definition says.
    LOGS = {
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
    }
    TRACES = {
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
    # A distributed map is executions of its own machine over a list in staging.
    MAP = {"states:StartExecution", "states:DescribeExecution", "states:StopExecution", "s3:GetObject", "kms:Decrypt"}
    # Publishing to an encrypted topic.
    NOTIFY = {"sns:Publish", "kms:Decrypt", "kms:GenerateDataKey"}

    def test_actions(self) -> None:
        for name, path in files().items():
            definition = path.read_text(encoding="utf-8")
            wanted = self.LOGS | self.TRACES
            for part in parts(json.loads(definition)):
                match part.get("Type"), part.get("Resource"):
                    case "Map", _ if part.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
                        wanted = wanted | self.MAP
                    case "Task", "arn:aws:states:::lambda:invoke":
                        wanted = wanted | {"lambda:InvokeFunction"}
                    case "Task", "arn:aws:states:::sns:publish":
                        wanted = wanted | self.NOTIFY
                    case "Task", other:
                        self.fail(f"{name} calls {other}; say here what that needs")
            with self.subTest(name):
                self.assertEqual(wanted, stack().actions(f"{logical(name)}MachineRole"))

    def test_functions(self) -> None:
        for name, path in files().items():
            called = {
                f"<{substitution.removesuffix('Arn')}.Arn>"
                for substitution in SUBSTITUTION.findall(path.read_text(encoding="utf-8"))
                if substitution.endswith("FunctionArn")
            }
            invoked = {
                resource
                for statement in stack().statements(f"{logical(name)}MachineRole")
                if "lambda:InvokeFunction" in listed(statement["Action"])
                for resource in listed(statement["Resource"])
            }
            with self.subTest(name):
                self.assertEqual(called, invoked)

    def test_a_machine_starts_itself_alone(self) -> None:
        for name in files():
            for statement in stack().statements(f"{logical(name)}MachineRole"):
                for action in listed(statement["Action"]):
                    if action.startswith("states:"):
                        self.assertIn(f":holdfast-{name}", statement["Resource"])

    def test_lists_are_read_where_they_are_put(self) -> None:
        code = "".join(
            (ROOT / "shared/workflow/src" / file).read_text(encoding="utf-8") for file in ("staging.rs", "prune/shards.rs")
        )
        for role in stack().of_type("AWS::IAM::Role"):
            if not role.endswith("MachineRole"):
                continue
            for statement in stack().statements(role):
                if listed(statement["Action"]) == ["s3:GetObject"]:
                    for resource in listed(statement["Resource"]):
                        key = resource.removeprefix("<StagingBucket.Arn>/*/")
                        self.assertRegex(code, rf'"\{{\w+\}}/{re.escape(key)}"', role)


if __name__ == "__main__":
    unittest.main()
