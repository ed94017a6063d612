"""Starts and stops the emulator."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from tests.deploy.harness import certificate
from tests.deploy.harness.waiting import until

HOST = "127.0.0.1"
REGION = "eu-central-1"
ACCOUNT = "000000000000"
PR_SET_PDEATHSIG = 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Caller(NamedTuple):
    """Who calls: an access key."""

    key: str
    secret: str
    token: str | None = None


# All rights: the emulator takes this key for the account's own.
ROOT = Caller("test", "test")


class Emulator:
    """A running emulator. Every call is held to the policies of its caller, and goes over TLS, which they ask for."""

    def __init__(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="holdfast-deploy-"))
        self.log = self.state / "emulator.log"
        self.port = free_port()
        self.endpoint = f"https://{HOST}:{self.port}"
        # One session for all clients, since each reads the services' descriptions anew.
        self._boto3 = boto3.Session()
        self._clients: dict[tuple[str, Caller, str], Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def authority(self) -> str:
        """Whom to trust for the emulator's certificate."""
        return str(self.state / certificate.AUTHORITY)

    def trust(self) -> ssl.SSLContext:
        """What Python's own client needs to trust it."""
        return ssl.create_default_context(cafile=self.authority)

    def environment(self, caller: Caller = ROOT) -> dict[str, str]:
        """What a program needs in its environment to reach the emulator with the rights of a caller, and nothing else."""
        given = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": caller.key,
            "AWS_SECRET_ACCESS_KEY": caller.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CA_BUNDLE": self.authority,
            "SSL_CERT_FILE": self.authority,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        return kept | given | ({"AWS_SESSION_TOKEN": caller.token} if caller.token else {})

    def start(self) -> None:
        served, key = certificate.make(self.state, HOST)
        command = [
            sys.executable, "-m", "tests.deploy.harness.emulator_main",
            "--bind", f"{HOST}:{self.port}",
            "--certificate", str(served),
            "--private-key", str(key),
        ]  # fmt: skip
        temporary = self.state / "tmp"
        temporary.mkdir()
        settings = {
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(temporary),
            "AUTH": "true",
            "USE_SSL": "1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFN_WAIT_SCALE": "0.05",
            "LOG_LEVEL": os.environ.get("HOLDFAST_EMULATOR_LOG", "WARNING"),
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=self.environment() | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        until("the emulator answers", self._healthy, seconds=60)

    def _healthy(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the emulator ended:\n{self.said()}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5, context=self.trust()) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def said(self) -> str:
        """The end of the emulator's log."""
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""

    def stop(self) -> None:
        """Ends the emulator and the functions that it runs: all are of its session."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        shutil.rmtree(self.state, ignore_errors=True)

    def client(self, service: str, caller: Caller = ROOT, region: str = REGION) -> Any:
        """A client of boto3, with the rights of a caller."""
        known = (service, caller, region)
        if known not in self._clients:
            self._clients[known] = self._boto3.client(
                service,
                aws_access_key_id=caller.key,
                aws_secret_access_key=caller.secret,
                aws_session_token=caller.token,
                **self.connection(region),
            )
        return self._clients[known]

    def table(self, name: str, region: str = REGION) -> Any:
        """A table, as boto3's resource of it."""
        resource = self._boto3.resource(
            "dynamodb", aws_access_key_id=ROOT.key, aws_secret_access_key=ROOT.secret, **self.connection(region)
        )
        return resource.Table(name)

    def connection(self, region: str) -> dict[str, Any]:
        return {
            "region_name": region,
            "endpoint_url": self.endpoint,
            "verify": self.authority,
            "config": Config(retries={"max_attempts": 2}, read_timeout=300, s3={"addressing_style": "path"}),
        }
