"""The stack: deployed as a user deploys it, found by its outputs, and run through AWS's own interfaces."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tests.deploy.harness import artifacts, world
from tests.deploy.harness.emulator import ACCOUNT, REGION, ROOT, Caller, Emulator
from tests.deploy.harness.waiting import until

STACK = "shop-backup"
ARTIFACTS = "holdfast-deploy-artifacts"
ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}


class Deployment:
    """The stack on a running emulator."""

    def __init__(self, emulator: Emulator, name: str = STACK) -> None:
        self.emulator = emulator
        self.name = name
        self.printed = ""

    # What is deployed

    def deploy(self, template: Path, parameters: dict[str, str]) -> None:
        """Packages and deploys with the SAM CLI."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=ARTIFACTS, CreateBucketConfiguration={"LocationConstraint": REGION})
        command = [
            str(Path(sys.executable).with_name("sam")),
            "deploy",
            "--template-file", str(template),
            "--stack-name", self.name,
            "--s3-bucket", ARTIFACTS,
            "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND",
            "--no-confirm-changeset",
            "--no-progressbar",
            "--region", REGION,
            "--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items()),
        ]  # fmt: skip
        environment = self.emulator.environment() | {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.5"}
        done = subprocess.run(
            command, env=environment, cwd=template.parent, capture_output=True, text=True, timeout=600, check=False
        )
        self.printed = done.stdout + done.stderr
        if done.returncode != 0:
            raise RuntimeError(f"sam deploy failed:\n{self.printed}\n{self.emulator.said()}")

        # The SAM CLI leaves out what the template does not know.
        unknown = parameters.keys() - self.parameters.keys()
        if unknown:
            raise ValueError(f"the template has no parameters {sorted(unknown)}")

    @property
    def _stack(self) -> dict[str, Any]:
        return self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]

    @cached_property
    def parameters(self) -> dict[str, str]:
        return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in self._stack.get("Parameters", [])}

    @cached_property
    def outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self._stack.get("Outputs", [])}

    def client(self, service: str) -> Any:
        """A client with all rights."""
        return self.emulator.client(service)

    def table(self, name: str) -> Any:
        return self.emulator.table(name)

    # What runs

    def start(self, machine: str, given: Any, name: str | None = None) -> str:
        """Starts an execution of the machine that an output names; gives its ARN."""
        arguments = {"stateMachineArn": self.outputs[machine], "input": json.dumps(given)}
        if name is not None:
            arguments["name"] = name
        return self.client("stepfunctions").start_execution(**arguments)["executionArn"]

    def ended(self, execution: str, seconds: float = 180) -> dict[str, Any]:
        """An execution once it has ended."""
        states = self.client("stepfunctions")

        def look() -> dict[str, Any] | None:
            seen = states.describe_execution(executionArn=execution)
            return seen if seen["status"] in ENDED else None

        return until(f"{execution} ends", look, seconds)

    def run(self, machine: str, given: Any, name: str | None = None) -> dict[str, Any]:
        """What an execution gives, which must succeed."""
        end = self.ended(self.start(machine, given, name))
        if end["status"] != "SUCCEEDED":
            raise AssertionError(
                f"{machine} with {given}: {end['status']} {end.get('error')} {end.get('cause')}\n"
                f"{self.why(end['executionArn'])}\n{self.emulator.said()}"
            )
        return json.loads(end["output"])

    def why(self, execution: str) -> str:
        """What an execution's history says of failures."""
        events = self.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]
        told = [event for event in events if "Failed" in event["type"] or "error" in json.dumps(event, default=str)]
        return "\n".join(json.dumps(event, default=str)[:2000] for event in told[-8:])

    def invoke(self, function: str, event: Any) -> tuple[bool, Any]:
        """Whether a function succeeds with an event, and what it answers."""
        answer = self.client("lambda").invoke(FunctionName=self.function(function), Payload=json.dumps(event).encode())
        return "FunctionError" not in answer, json.loads(answer["Payload"].read() or b"null")

    def fire(self, task: str) -> None:
        """Sends the dispatcher a task now, with the target, the role and the input that the template's schedule has."""
        scheduler = self.client("scheduler")
        for name in self.resources("AWS::Scheduler::Schedule"):
            schedule = scheduler.get_schedule(Name=name)
            if json.loads(schedule["Target"].get("Input", "{}")) == {"task": task}:
                break
        else:
            raise AssertionError(f"no schedule has the input of {task}")
        at = datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None)
        scheduler.create_schedule(
            Name=f"now-{new_id()}",
            ScheduleExpression=f"at({at.isoformat()})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=schedule["Target"],
        )

    def function(self, name: str) -> str:
        return f"{self.name}-{name}"

    def function_arn(self, name: str) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function(name)}"

    # Job state

    def apply(self, *resources: dict[str, Any]) -> None:
        """Puts resources under protection."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=self.emulator.state) as file:
            json.dump({"resources": resources}, file)
            file.flush()
            done = self.command("apply", "-f", file.name)
        if done.returncode != 0:
            raise AssertionError(f"holdfast apply: {done.stdout}{done.stderr}\n{self.emulator.said()}")

    def command(
        self, *arguments: str, stack: str | None = None, caller: Caller = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """The command line, on this stack; with the answer in JSON."""
        return subprocess.run(
            [str(artifacts.command()), "--stack", stack or self.name, "--json", *arguments],
            env=self.emulator.environment(caller),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def job(self, id: str) -> dict[str, Any]:
        item = self.table(self.outputs["JobTableName"]).get_item(
            Key={"pk": f"JOB#{id}", "sk": "JOB"}, ConsistentRead=True
        )["Item"]
        return json.loads(item["body"])

    def row(self, partition: str, sort: str) -> Any:
        """What a row of job state says; None, if there is none."""
        answer = self.table(self.outputs["JobTableName"]).get_item(Key={"pk": partition, "sk": sort}, ConsistentRead=True)
        return json.loads(answer["Item"]["body"]) if "Item" in answer else None

    def change_row(self, partition: str, sort: str, body: Any) -> None:
        """Puts another word in a row of job state."""
        self.table(self.outputs["JobTableName"]).update_item(
            Key={"pk": partition, "sk": sort},
            UpdateExpression="SET body = :body",
            ExpressionAttributeValues={":body": json.dumps(body)},
        )

    def put_job(self, id: str, kind: str, resource: str, detail: dict[str, Any]) -> None:
        """A pending job, as the command line makes one."""
        at = now()
        job = {
            "id": id,
            "kind": kind,
            "resource": resource,
            "status": "pending",
            "history": [{"status": "pending", "at": at}],
            "created_at": at,
            "detail": detail,
        }
        row = {"gsi_kind": kind, "gsi_sort": id, "gsi_resource": f"{kind}#{resource}", "status": "pending", "revision": 0}
        self.table(self.outputs["JobTableName"]).put_item(
            Item={"pk": f"JOB#{id}", "sk": "JOB", "body": json.dumps(job)} | row
        )

    def waiting_restore(self, backup: dict[str, Any]) -> str:
        """A restore that nothing has begun."""
        id = new_id()
        target = {"kind": "dynamodb", "table": "restored-never"}
        self.put_job(id, "restore", backup["resource"], {"request": {"backup": backup["id"], "target": target}})
        return id

    def jobs(self, kind: str, resource: str) -> list[dict[str, Any]]:
        """Jobs of a kind and a resource, newest first."""
        found = self.table(self.outputs["JobTableName"]).query(
            IndexName="by_resource",
            KeyConditionExpression="gsi_resource = :of",
            ExpressionAttributeValues={":of": f"{kind}#{resource}"},
            ScanIndexForward=False,
        )["Items"]
        return [json.loads(item["body"]) for item in found]

    def backup(self, resource: str, kind: str | None = None) -> dict[str, Any]:
        """A new backup's job."""
        given = {"resource": resource} | ({"type": kind} if kind else {})
        return self.job(self.run("BackupMachineArn", given)["job"])

    def restore(self, backup: str, target: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A new restore's job."""
        return self.job(self.run("RestoreMachineArn", {"backup": backup, "target": target} | more)["job"])

    # Who may what

    def resources(self, kind: str) -> list[str]:
        """The physical names of the stack's resources of a type."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        return [
            resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == kind
        ]

    def functions(self) -> list[str]:
        """The functions, by the names that the documents give them."""
        return [name.removeprefix(f"{self.name}-") for name in self.resources("AWS::Lambda::Function")]

    def roles(self) -> list[str]:
        """The ARNs of all roles."""
        iam = self.client("iam")
        return [iam.get_role(RoleName=name)["Role"]["Arn"] for name in self.resources("AWS::IAM::Role")]

    def wrapped_key(self) -> dict[str, Any]:
        """The vault's wrapped key, as the vault holds it."""
        stored = self.client("s3").get_object(Bucket=self.outputs["VaultBucketName"], Key="keys/00000001.json")
        return json.loads(stored["Body"].read())

    def role_arn(self, function: str) -> str:
        """The ARN of a function's role."""
        return self.client("lambda").get_function_configuration(FunctionName=self.function(function))["Role"]

    def role(self, function: str) -> Caller:
        """A caller with the role of a function."""
        return self.assume(self.role_arn(function))

    def assume(self, role: str) -> Caller:
        """A caller with a role, whomever it trusts."""
        sts, iam = self.client("sts"), self.client("iam")
        name = role.rsplit("/", 1)[-1]
        trusts = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        account = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [account]})
        )
        try:
            given = sts.assume_role(RoleArn=role, RoleSessionName="deploy-test")["Credentials"]
        finally:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trusts))
        return Caller(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def deployed() -> Deployment:
    """The stack on an emulator of its own: made for the first test that asks, gone when the process ends."""
    stack = _deployed()
    if isinstance(stack, Exception):
        raise RuntimeError("the stack is not there") from stack
    return stack


@cache
def _deployed() -> Deployment | Exception:
    emulator = Emulator()
    atexit.register(emulator.stop)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    try:
        emulator.start()
        template = Path(os.environ.get("HOLDFAST_TEMPLATE") or artifacts.ROOT / "template.yaml")
        into = Path(tempfile.mkdtemp(prefix="build-", dir=emulator.state))
        stack = Deployment(emulator)
        stack.deploy(artifacts.build(into, template), world.prepare(emulator))
        world.lock(stack)
    except Exception as failed:  # noqa: BLE001
        return failed
    print(f"deployed in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    return stack


def now() -> str:
    """The time as the service writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    """A ULID of this moment."""
    number = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return "".join(ULID[number >> shift & 31] for shift in range(125, -1, -5))
