"""Reads a copy of the vault with the reader that knows nothing but the format."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from tests.deploy.harness.artifacts import ROOT
from tests.deploy.harness.deployment import Deployment

READER = ROOT / "tools" / "holdfast-read.py"


class Copy:
    """A vault that was copied out of its bucket, and its keys, unwrapped by KMS."""

    def __init__(self, stack: Deployment, into: Path, bucket: str | None = None) -> None:
        self.vault = into / "vault"
        copy_objects(stack.client("s3"), bucket or stack.outputs["VaultBucketName"], self.vault)
        self.keys: list[str] = []
        for file in sorted((self.vault / "keys").iterdir()):
            wrapped = json.loads(file.read_text())
            plain = stack.client("kms").decrypt(
                CiphertextBlob=base64.b64decode(wrapped["wrapped"]),
                EncryptionContext={"holdfast:vault": wrapped["vault"]},
            )["Plaintext"]
            key = into / f"vault-key-{wrapped['version']}"
            key.write_text(base64.b64encode(plain).decode())
            self.keys += ["--vault-key", f"{wrapped['version']}={key}"]

    def read(self, *arguments: str) -> str:
        """What the reader prints."""
        command = [sys.executable, str(READER), "--vault", str(self.vault), *self.keys, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def items(self, backup: str, into: Path) -> dict[str, dict[str, Any]]:
        """The items of a table's backup, by their key, as boto3 would read them."""
        self.read("extract", backup, "--to", str(into))
        (file,) = into.iterdir()
        items = [item(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return {item["id"]: item for item in items}


def copy_objects(s3: Any, bucket: str, into: Path) -> None:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            file = into / entry["Key"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())


def item(line: str) -> dict[str, Any]:
    """An item in DynamoDB's JSON."""
    read = TypeDeserializer()
    return {name: read.deserialize(_with_bytes(value)) for name, value in json.loads(line).items()}


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {kind: base64.b64decode(content)}
        case "BS":
            return {kind: [base64.b64decode(member) for member in content]}
        case "L":
            return {kind: [_with_bytes(member) for member in content]}
        case "M":
            return {kind: {name: _with_bytes(member) for name, member in content.items()}}
    return value
