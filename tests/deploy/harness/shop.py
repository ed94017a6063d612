"""A shop's data, the same in every run."""

from __future__ import annotations

import hashlib
import random
import unittest
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import Binary

MANY = 2000


def product(number: int, draw: random.Random) -> dict[str, Any]:
    """An item of every type that DynamoDB has."""
    return {
        "id": f"P-{number:06}",
        "name": f"Product {number} – größer ☕",
        "price": Decimal(draw.randint(1, 10**6)) / 100,
        "weight": Decimal("1.2345678901234567890123456789012345678E-20"),
        "tags": {f"tag-{draw.randint(0, 40)}" for _ in range(3)},
        "sizes": {Decimal(draw.randint(0, 60)) for _ in range(2)},
        "thumbnail": Binary(draw.randbytes(24)),
        "keys": {Binary(draw.randbytes(4)), Binary(b"")} - {Binary(b"")},
        "stock": {"berlin": Decimal(draw.randint(0, 99)), "places": [{"shelf": "A", "row": Decimal(1)}, None, True]},
        "active": draw.random() < 0.9,
        "note": None,
        "empty": "",
    }


def products(many: int = MANY, seed: int = 1) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    items = [product(number, draw) for number in range(many)]
    # Close to the 400 KB that an item may have.
    items.append({"id": "P-large", "name": "large", "image": Binary(draw.randbytes(390_000))})
    return items


def put_all(table: Any, items: list[dict[str, Any]]) -> None:
    with table.batch_writer() as batch:
        for item in items:
            batch.put_item(Item=item)


def read_all(table: Any) -> dict[str, dict[str, Any]]:
    """Every item of a table, by its key."""
    found: dict[str, dict[str, Any]] = {}
    given: dict[str, Any] = {}
    while True:
        page = table.scan(ConsistentRead=True, **given)
        found |= {item["id"]: item for item in page["Items"]}
        if "LastEvaluatedKey" not in page:
            return found
        given = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def site() -> dict[str, bytes]:
    """Files of a site by their path: empty ones, names of all sorts, one of several parts."""
    draw = random.Random(2)
    files = {f"assets/css/style-{number}.css": f"body {{ margin: {number}px }}\n".encode() * 40 for number in range(40)}
    files |= {
        "empty.txt": b"",
        "índex/größe und ☕.html": "<p>größe</p>".encode(),
        "a b+c%20d&e=f?.txt": b"a name that must be escaped",
        "tief/er/und/tiefer/x": b"x",
        "media/film.bin": draw.randbytes(9 * 1024 * 1024),
    }
    return files


def put_files(s3: Any, bucket: str, prefix: str, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        s3.put_object(Bucket=bucket, Key=prefix + path, Body=content)


def read_files(s3: Any, bucket: str, prefix: str) -> dict[str, str]:
    """The SHA-256 of every object below a prefix, by its path."""
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            found[entry["Key"].removeprefix(prefix)] = sha256(body)
    return found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def same(test: unittest.TestCase, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compares what was read by its keys; a failure names some that differ, and does not print all of it."""
    wrong = [key for key in expected.keys() | found.keys() if key not in expected or found.get(key) != expected[key]]
    test.assertFalse(wrong, f"{len(wrong)} of {len(expected)} differ, such as {sorted(wrong)[:5]}")
