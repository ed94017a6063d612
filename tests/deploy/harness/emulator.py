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
from typing import Any

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


class Emulator:
    """A running emulator. With `enforce`, every call is held to the policies of its caller, and goes over TLS."""

    def __init__(self, enforce: bool) -> None:
        self.enforce = enforce
        self.state = Path(tempfile.mkdtemp(prefix="holdfast-deploy-"))
        self.log = self.state / "emulator.log"
        self.port = int(os.environ.get("HOLDFAST_EMULATOR_PORT") or free_port())
        self.endpoint = f"{'https' if enforce else 'http'}://{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def authority(self) -> str | None:
        """Whom to trust for the emulator's certificate; nobody, where there is no TLS."""
        return str(self.state / certificate.AUTHORITY) if self.enforce else None

    def trust(self) -> ssl.SSLContext | None:
        """What Python's own client needs to trust it."""
        return ssl.create_default_context(cafile=self.authority) if self.authority else None

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to reach the emulator, and nothing else."""
        given = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        if self.authority:
            given |= {"SSL_CERT_FILE": self.authority, "AWS_CA_BUNDLE": self.authority}
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        return kept | given

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.deploy.harness.emulator_main", "--bind", f"{HOST}:{self.port}"]
        temporary = self.state / "tmp"
        temporary.mkdir()
        settings = {
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(temporary),
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFN_WAIT_SCALE": "0.05",
            "LOG_LEVEL": os.environ.get("HOLDFAST_EMULATOR_LOG", "WARNING"),
        }
        if self.enforce:
            served, key = certificate.make(self.state, HOST)
            command += ["--certificate", str(served), "--private-key", str(key)]
            settings |= {"AUTH": "true", "USE_SSL": "1", "MINISTACK_SSL_CERT": str(served), "MINISTACK_SSL_KEY": str(key)}
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

    def session(self, **credentials: Any) -> boto3.Session:
        given = {"aws_access_key_id": "test", "aws_secret_access_key": "test"} | credentials
        return boto3.Session(**({"region_name": REGION} | given))

    def client(self, service: str, session: boto3.Session | None = None, region: str = REGION) -> Any:
        """A client of boto3: with all rights, or those of a session."""
        return (session or self.session()).client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            verify=self.authority,
            config=Config(retries={"max_attempts": 2}, read_timeout=300, s3={"addressing_style": "path"}),
        )
