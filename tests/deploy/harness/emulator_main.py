"""Serves the emulator, with what AWS documents and it leaves out.

The emulator is ministack, unchanged. Where it knows less of a request than AWS does, so that a policy that is right on AWS
would be wrong here, this adds what AWS would know; where it waits, this shortens the wait. Nothing here makes a call pass
that AWS would refuse.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app as ministack
from ministack.core import iam_actions, iam_evaluator
from ministack.services import iam, s3, scheduler

SESSION = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/")


def tell_the_role() -> None:
    """`aws:PrincipalArn` of a session is its role's ARN, not its own."""
    resolve = iam_evaluator._resolve_condition_key

    def resolved(key: str, request: Any) -> Any:
        value = resolve(key, request)
        session = SESSION.match(value) if key.lower() == "aws:principalarn" and isinstance(value, str) else None
        if session is None:
            return value
        return "arn:{partition}:iam::{account}:role/{role}".format(**session.groupdict())

    iam_evaluator._resolve_condition_key = resolved


def tell_the_role_id() -> None:
    """`aws:userid` of a session begins with its role's id, of the sessions that functions get too."""
    describe = iam_evaluator._principal_keys

    def keys(credential: Any) -> dict[str, Any]:
        told = describe(credential)
        session = SESSION.match(credential.principal_arn)
        role = session and iam._roles.get_scoped(credential.account_id, None, session["role"])
        if role:
            told["aws:userid"] = f"{role['RoleId']}:{credential.principal_arn.rsplit('/', 1)[-1]}"
        return told

    iam_evaluator._principal_keys = keys


def tell_how_objects_are_put() -> None:
    """A put carries `s3:if-none-match`, and `s3:ObjectCreationOperation`: whether the call itself makes an object."""
    describe = iam_actions.s3_service_context

    def context(action: str, query: dict | None, path: str = "", headers: dict | None = None) -> dict:
        told = describe(action, query, path, headers)
        if action == "s3:PutObject":
            begins_or_adds = "uploads" in (query or {}) or "partNumber" in (query or {})
            told["s3:ObjectCreationOperation"] = "false" if begins_or_adds else "true"
            condition = (headers or {}).get("if-none-match")
            if condition:
                told["s3:if-none-match"] = condition
        return told

    iam_actions.s3_service_context = context


def tell_every_table_that_is_named() -> None:
    """A call may name a table by its ARN, as those of tags do; one that restores names two."""
    tables = iam_actions.dynamodb_resource_arns

    def arns(body: bytes, region: str, account: str) -> list[str]:
        named = tables(body, region, account)
        try:
            given = json.loads(body or b"{}")
            arn, names = given.get("ResourceArn"), [given.get("SourceTableName"), given.get("TargetTableName")]
        except (ValueError, AttributeError):
            return named
        others = [f"arn:aws:dynamodb:{region}:{account}:table/{name}" for name in names if isinstance(name, str)]
        return named or others or ([arn] if isinstance(arn, str) else [])

    iam_actions.dynamodb_resource_arns = arns


def tell_the_encryption_context() -> None:
    """A call of KMS carries `kms:EncryptionContext:NAME` and `kms:EncryptionContextKeys`."""
    tags = iam_actions.request_tag_context

    def context(service: str, action: str, body: bytes, params: dict) -> dict:
        keys = tags(service, action, body, params)
        if service != "kms":
            return keys
        try:
            given = json.loads(body or b"{}").get("EncryptionContext") or {}
        except (ValueError, AttributeError):
            given = {}
        if given:
            keys["kms:EncryptionContextKeys"] = list(given)
            keys.update({f"kms:EncryptionContext:{name}": value for name, value in given.items()})
        return keys

    iam_actions.request_tag_context = context


def lock_what_is_copied() -> None:
    """A bucket's default retention holds for copies and multipart uploads too."""
    record = s3._record_object_version

    def recorded(bucket: str, key: str, prior: Any, entry: Any, data: Any) -> Any:
        version = record(bucket, key, prior, entry, data)
        s3._apply_object_lock_from_headers(bucket, key, {}, version)
        return version

    s3._record_object_version = recorded


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", required=True, metavar="HOST:PORT")
    parser.add_argument("--certificate", required=True, metavar="FILE")
    parser.add_argument("--private-key", required=True, metavar="FILE")
    options = parser.parse_args()

    tell_the_role()
    tell_the_role_id()
    tell_how_objects_are_put()
    tell_every_table_that_is_named()
    tell_the_encryption_context()
    lock_what_is_copied()
    scheduler._SCHEDULE_TICK_INTERVAL = 0.5

    config = Config()
    config.bind = [options.bind]
    config.keep_alive_timeout = 75
    # As the services that are called here; HTTP/2 would wait 40 ms for the client's acknowledgement of most answers.
    config.alpn_protocols = ["http/1.1"]
    config.loglevel = "WARNING"
    config.certfile, config.keyfile = options.certificate, options.private_key
    asyncio.run(serve(ministack.app, config))


if __name__ == "__main__":
    main()
