# Licensed under the Apache License, Version 2.0; http://www.apache.org/licenses/LICENSE-2.0
# SPDX-License-Identifier: Apache-2.0
"""Tests of holdfast-read.py, against vaults that a miniature writer makes from docs/vault-format.md.

Run: python3 -m unittest discover -s tools -p "test_*.py"
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import hmac
import importlib.util
import io
import json
import os
import random
import stat
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PROGRAM = Path(__file__).resolve().with_name("holdfast-read.py")
BACKUP = "01K8Z6T3W4Q5R6S7T8V9W0X1Y2"
VAULT_ID = bytes(range(16))
VAULT_KEY = b"v" * 32
SECRET = b"s" * 32
PACK, MANIFEST, INDEX, CHANGE_OBJECT = 1, 2, 3, 4
TREE, RUN, CHUNK_LISTS, STATE_TABLE, DELTA_TREE, DELTA_RUN, CHANGES = 1, 2, 3, 4, 5, 6, 7
PLAIN, ZSTD, GZIP = 0, 1, 2
PART_SIZE = 16 << 20


def load_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("holdfast_read", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reader = load_program()


def number(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + number(rest) if rest else bytes([low])


def signed(value: int) -> bytes:
    return number(2 * value if value >= 0 else -2 * value - 1)


def sized(data: bytes) -> bytes:
    return number(len(data)) + data


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sum_of(digests: Sequence[bytes]) -> bytes:
    return (sum(int.from_bytes(digest, "little") for digest in digests) % 2**256).to_bytes(32, "little")


def hkdf(secret: bytes, salt: bytes, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info.encode()).derive(secret)


def keyed(name: str, data: bytes) -> bytes:
    """The first half of an HMAC with one of the keys that are derived from the vault's version 1."""
    return keyed_with(VAULT_KEY, name, data)


def keyed_with(vault_key: bytes, name: str, data: bytes) -> bytes:
    return hmac.digest(hkdf(vault_key, VAULT_ID, f"holdfast/1/{name}"), data, "sha256")[:16]


def compress(codec: int, plain: bytes) -> bytes:
    payloads: dict[int, Callable[[], bytes]] = {
        PLAIN: lambda: plain,
        ZSTD: lambda: zstandard.ZstdCompressor().compress(plain),
        GZIP: lambda: gzip.compress(plain),
    }
    return bytes([codec]) + payloads[codec]()


@dataclass
class Segment:
    """A segment to be written; `summary` are the bytes that its kind has between place and blocks."""

    kind: int
    stream: int
    sequence: int
    first_block: int
    fences: list[tuple[bytes, int]]
    summary: bytes = b""
    last: bytes = b""
    byte_count: int = 0
    sums: tuple[int, int, int] = (0, 0, 0)

    def encode(self) -> bytes:
        place = bytes([self.kind]) + number(self.stream) + number(7) + number(self.sequence)
        blocks = number(self.first_block) + number(len(self.fences))
        return place + self.summary + blocks + b"".join(sized(first) + number(n) for first, n in self.fences)

    def ref(self, object: int, segment: int) -> dict[str, Any]:
        count = sum(things for _, things in self.fences)
        ends = {"first": self.fences[0][0].hex(), "last": self.last.hex()}
        return {"object": object, "segment": segment, **ends, "count": count, "bytes": self.byte_count}


@dataclass
class Sealed:
    """A sealed object to be written: its blocks with their codecs, and its segments."""

    kind: int
    id: bytes
    blocks: list[tuple[int, bytes]]
    segments: list[Segment] = field(default_factory=list)
    footer_codec: int = ZSTD

    @property
    def key(self) -> str:
        folder = "packs" if self.kind == PACK else "index"
        return f"{folder}/{self.id.hex()[:2]}/{self.id.hex()}"

    def seal(self) -> bytes:
        header = b"HOLDFAST" + bytes([1, self.kind, 0, 0]) + (1).to_bytes(4, "little") + VAULT_ID + self.id
        cipher = AESGCM(hkdf(VAULT_KEY, self.id, "holdfast/1/object"))

        def seal(place: int, plain: bytes, codec: int) -> bytes:
            nonce = bytes(4) + place.to_bytes(8, "little")
            return cipher.encrypt(nonce, compress(codec, plain), header + place.to_bytes(8, "little"))

        blocks = [seal(place, plain, codec) for place, (codec, plain) in enumerate(self.blocks)]
        footer = number(len(blocks))
        for sealed, (_, plain) in zip(blocks, self.blocks):
            footer += number(len(sealed)) + number(len(plain))
        footer += number(len(self.segments)) + b"".join(segment.encode() for segment in self.segments)
        sealed_footer = seal(2**64 - 1, footer, self.footer_codec)
        trailer = len(sealed_footer).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4) + b"HFND"
        return header + b"".join(blocks) + sealed_footer + trailer


@dataclass
class Entry:
    path: bytes
    kind: int = 0
    mode: int | None = None
    mtime: tuple[int, int] | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    content: bytes = b""
    size: int | None = None
    offset: int | None = None
    extents: tuple[tuple[int, int, int, int], ...] = ()
    target: bytes = b""

    @property
    def proved(self) -> bytes:
        flags = self.kind | 0x10 * (self.mode is not None) | 0x20 * (self.mtime is not None)
        encoded = bytes([flags | 0x40 * (self.offset is not None)]) + sized(self.path)
        if self.mode is not None:
            encoded += number(self.mode)
        if self.mtime is not None:
            encoded += signed(self.mtime[0]) + number(self.mtime[1])
        encoded += number(len(self.attributes))
        encoded += b"".join(sized(name.encode()) + sized(text.encode()) for name, text in self.attributes)
        if self.kind == 2:
            return encoded + sized(self.target)
        return encoded + self._proved_file() if self.kind == 0 else encoded

    def _proved_file(self) -> bytes:
        encoded = number(len(self.content) if self.size is None else self.size)
        if self.offset is not None:
            encoded += number(self.offset) + number(len(self.content))
        return encoded + (sha256(self.content) if self.content else b"")

    def encode(self) -> bytes:
        if not self.content:
            return self.proved
        extents = b"".join(b"".join(map(number, extent)) for extent in self.extents)
        return self.proved + number(len(self.extents)) + extents


def tree_segment(sequence: int, first_block: int, packs: Sequence[bytes], blocks: Sequence[Sequence[Entry]]) -> Segment:
    entries = [entry for block in blocks for entry in block]
    byte_count = sum(len(entry.content) for entry in entries)
    files = sum(1 for entry in entries if not entry.offset)
    digest = sum_of([sha256(entry.proved) for entry in entries])
    last = entries[-1].path
    summary = number(len(packs)) + b"".join(packs) + number(files) + number(byte_count) + digest + sized(last)
    fences = [(block[0].path, len(block)) for block in blocks]
    return Segment(TREE, 0, sequence, first_block, fences, summary, last, byte_count)


def tree_block(entries: Sequence[Entry]) -> bytes:
    return b"".join(entry.encode() for entry in entries)


def chunk_segment(sequence: int, first_block: int, files: Sequence[Entry]) -> Segment:
    return Segment(CHUNK_LISTS, 0, sequence, first_block, [(files[0].path, len(files))])


def chunk_block(files: Sequence[Entry]) -> bytes:
    """Chunk lists in which each extent is one chunk."""
    block = b""
    for file in files:
        block += number(len(file.extents))
        at = 0
        for *_, length in file.extents:
            block += keyed("chunk-name", sha256(file.content[at : at + length])) + number(length)
            at += length
    return block


Row = tuple[bytes, bytes, bytes]
"""A record: key hash, canonical key, value."""


def make_rows(records: Sequence[tuple[bytes, bytes]]) -> list[Row]:
    return sorted((keyed("key-hash", key), key, value) for key, value in records)


def record_digest(row: Row, stores_keys: bool) -> bytes:
    return sha256(sized(row[1]) + row[2] if stores_keys else row[2])


def run_segment(stream: int, sequence: int, first_block: int, blocks: Sequence[Sequence[Row]], keys: bool) -> Segment:
    rows = [row for block in blocks for row in block]
    byte_count = sum(len(value) for _, _, value in rows)
    digest = sum_of([record_digest(row, keys) for row in rows])
    summary = bytes([keys]) + number(0) + number(byte_count) + digest + sized(rows[-1][0])
    fences = [(block[0][0], len(block)) for block in blocks]
    return Segment(RUN, stream, sequence, first_block, fences, summary, rows[-1][0], byte_count)


def run_block(rows: Sequence[Row], keys: bool) -> bytes:
    return b"".join((sized(key) if keys else b"") + sized(value) for _, key, value in rows)


def state_segment(stream: int, sequence: int, first_block: int, rows: Sequence[Row]) -> Segment:
    return Segment(STATE_TABLE, stream, sequence, first_block, [(rows[0][0], len(rows))])


def state_block(rows: Sequence[Row], keys: bool) -> bytes:
    return b"".join(row[0] + record_digest(row, keys)[:16] for row in rows)


def object_id(name: str) -> bytes:
    return sha256(name.encode())[:16]


BIG = bytes(value * 7 % 251 for value in range(50_000))
SMALL = b"a small file\n" * 9
DIRECTORY, LINK = 1, 2
JSON_RECORDS = [
    (f'["k{n}",{n}.50]'.encode(), f'{{ "id" : "\\u006b{n}", "n": [{n}.50], "text": "é" }}'.encode()) for n in range(40)
]
ITEM_RECORDS = [
    (f'[{{"S":"p"}},{{"N":"{n}"}}]'.encode(), f'{{"pk":{{"S":"p"}},"sk":{{"N":"{n}"}}}}'.encode()) for n in range(9)
]
KEYED_RECORDS = [(f'["{n}"]'.encode(), b'{"n":%d}' % n) for n in range(5)]


@dataclass
class Draft:
    """A backup that is about to be written. A test may change any of it and so write what no writer should."""

    near: Sealed
    far: Sealed
    runs: Sealed
    lists: Sealed
    tables: Sealed
    manifest: dict[str, Any]
    entries: list[Entry]

    @property
    def objects(self) -> list[Sealed]:
        return [self.near, self.far, self.runs, self.lists, self.tables]


def draft_entries() -> list[Entry]:
    """A tree in the order of its paths; the pack `near` has content in blocks 0 and 1, the pack `far` in block 0."""
    return [
        Entry(
            b"big",
            mode=0o640,
            mtime=(5, 6),
            content=BIG[:20_000],
            size=len(BIG),
            offset=0,
            extents=((0, 0, 0, 20_000),),
        ),
        Entry(
            b"big", content=BIG[20_000:], size=len(BIG), offset=20_000, extents=((0, 1, 10, 10_000), (1, 0, 3, 20_000))
        ),
        Entry(b"dir/", kind=DIRECTORY, mode=0o555, mtime=(-2, 999_999_999)),
        Entry(b"dir/empty/", kind=DIRECTORY, mode=0o700),
        Entry(
            b"dir/inner", mode=0o400, mtime=(1_700_000_000, 123_456_789), content=SMALL, extents=((1, 0, 20_003, 117),)
        ),
        Entry(b"dir/link", kind=LINK, mtime=(9, 1), target=b"../nowhere\xff"),
        Entry(b"dir0", attributes=(("content-type", "text/plain"),)),
        Entry(b"name-\xff\xfe", content=SMALL, extents=((1, 0, 20_003, 100), (1, 0, 20_103, 17))),
    ]


def draft(entries: list[Entry] | None = None) -> Draft:
    entries = draft_entries() if entries is None else entries
    near, far = Sealed(PACK, object_id("near"), []), Sealed(PACK, object_id("far"), [], footer_codec=PLAIN)
    far.blocks = [(PLAIN, b"xyz" + BIG[30_000:] + SMALL)]
    blocks = [entries[:1], entries[1:3], entries[3:]] if len(entries) > 3 else [entries]
    near.blocks = [(ZSTD, BIG[:20_000]), (GZIP, bytes(10) + BIG[20_000:30_000])]
    near.blocks += [(ZSTD, tree_block(block)) for block in blocks[:1]]
    near.segments = [tree_segment(0, 2, [far.id], blocks[:1])]
    files = [[entry for block in part for entry in block if entry.kind == 0] for part in (blocks[:1], blocks[1:])]
    lists = Sealed(INDEX, object_id("lists"), [], [])
    for sequence, part in enumerate(files):
        if part:
            lists.segments.append(chunk_segment(sequence, len(lists.blocks), part))
            lists.blocks.append((PLAIN, chunk_block(part)))
    if blocks[1:]:
        near.segments.append(tree_segment(1, 3, [far.id], blocks[1:]))
        near.blocks += [(GZIP, tree_block(block)) for block in blocks[1:]]
    runs, tables = draft_records()
    return finish_draft(Draft(near, far, runs, lists, tables, {}, entries))


def draft_records() -> tuple[Sealed, Sealed]:
    """Three streams of records, the first of which has two runs."""
    runs, tables = Sealed(PACK, object_id("runs"), []), Sealed(INDEX, object_id("tables"), [])
    plan = (
        (1, JSON_RECORDS[:25], False),
        (1, JSON_RECORDS[25:], False),
        (2, ITEM_RECORDS, False),
        (3, KEYED_RECORDS, True),
    )
    for sequence, (stream, records, keys) in enumerate(plan):
        rows = make_rows(records)
        blocks = [rows[:3], rows[3:]]
        runs.segments.append(run_segment(stream, sequence, len(runs.blocks), blocks, keys))
        runs.blocks += [(ZSTD, run_block(block, keys)) for block in blocks]
        tables.segments.append(state_segment(stream, sequence, len(tables.blocks), rows))
        tables.blocks.append((PLAIN, state_block(rows, keys)))
    return runs, tables


def finish_draft(made: Draft) -> Draft:
    """Adds the manifest, as it describes the objects now."""
    refs: dict[int, dict[str, list[Any]]] = {stream: {"segments": [], "index": []} for stream in range(4)}
    for place, sealed in enumerate(made.objects):
        listed = "segments" if sealed.kind == PACK else "index"
        for at, segment in enumerate(sealed.segments):
            refs[segment.stream][listed].append(segment.ref(place, at))
    layers = {stream: [{"kind": "base", "backup": BACKUP, **found}] for stream, found in refs.items()}
    made.manifest = {
        **{"format": 1, "vault": VAULT_ID.hex(), "id": BACKUP, "resource": "shop", "type": "full"},
        **{"source": {"kind": "none"}, "policy": {}, "warnings": [], "name_key_version": 1, "unknown": [1]},
        **{"started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:09Z"},
        "streams": [
            {"name": "files", "kind": "tree", "schema": None, **tree_totals(made.entries), "layers": layers[0]},
            make_stream("orders", "json", ["/id", "/n/0"], JSON_RECORDS, layers[1], {"file": "orders.json"}),
            make_stream("a/b", "dynamodb-json", ["pk", "sk"], ITEM_RECORDS, layers[2], {"file": "../../evil"}),
            make_stream("keyed", "json", [], KEYED_RECORDS, layers[3], None, keys=True),
            make_stream("nothing", "json", ["/id"], [], [], None),
        ],
    }
    return made


def tree_totals(entries: Sequence[Entry]) -> dict[str, Any]:
    files, size = sum(1 for entry in entries if not entry.offset), sum(len(entry.content) for entry in entries)
    digest = sum_of([sha256(entry.proved) for entry in entries])
    return {"records": 0, "files": files, "bytes": size, "digest": digest.hex()}


def make_stream(
    name: str, encoding: str, key: list[str], records: Sequence[Any], layers: Any, schema: Any, keys: bool = False
) -> dict[str, Any]:
    digest = sum_of([record_digest(row, keys) for row in make_rows(records)])
    counts = {"records": len(records), "files": 0, "bytes": sum(len(value) for _, value in records)}
    kind = {"name": name, "kind": "records", "encoding": encoding, "key": key, "schema": schema}
    return {**kind, **counts, "digest": digest.hex(), "layers": layers}


Thing = tuple[bytes, bytes, "bytes | None"]
"""A record, or a tombstone, which has no value."""


def make_things(values: Mapping[bytes, bytes | None]) -> list[Thing]:
    return sorted((keyed("key-hash", key), key, value) for key, value in values.items())


def delta_run_segment(sequence: int, first_block: int, blocks: Sequence[Sequence[Thing]], below: set[bytes]) -> Segment:
    things = [thing for block in blocks for thing in block]
    rows = [(hash, key, value) for hash, key, value in things if value is not None]
    added = sum(key not in below for _, key, _ in rows)
    byte_count = sum(len(value) for _, _, value in rows)
    summary = b"\0" + number(added) + number(len(rows) - added) + number(len(things) - len(rows)) + number(byte_count)
    summary += sum_of([record_digest(row, False) for row in rows]) + sized(things[-1][0])
    fences = [(block[0][0], len(block)) for block in blocks]
    made = Segment(DELTA_RUN, 0, sequence, first_block, fences, summary, things[-1][0], byte_count)
    made.sums = (added, len(rows) - added, len(things) - len(rows))
    return made


def delta_run_block(things: Sequence[Thing]) -> bytes:
    return b"".join(b"\0" + sized(value) if value is not None else b"\1" + hash for hash, _, value in things)


def delta_state_block(things: Sequence[Thing]) -> bytes:
    return b"".join(hash + (sha256(value)[:16] if value is not None else bytes(16)) for hash, _, value in things)


def tombstone(path: bytes) -> Entry:
    return Entry(path, kind=3)


def delta_tree_segment(
    sequence: int, first_block: int, packs: Sequence[bytes], blocks: Sequence[Sequence[Entry]], below: set[bytes]
) -> Segment:
    things = [thing for block in blocks for thing in block]
    entries = [thing for thing in things if thing.kind != 3]
    firsts = [entry for entry in entries if not entry.offset]
    added = sum(entry.path not in below for entry in firsts)
    sums = (added, len(firsts) - added, len(things) - len(entries))
    byte_count = sum(len(entry.content) for entry in entries)
    summary = number(len(packs)) + b"".join(packs) + b"".join(map(number, sums)) + number(byte_count)
    summary += sum_of([sha256(entry.proved) for entry in entries]) + sized(things[-1].path)
    fences = [(block[0].path, len(block)) for block in blocks]
    made = Segment(DELTA_TREE, 0, sequence, first_block, fences, summary, things[-1].path, byte_count)
    made.sums = sums
    return made


def delta_tree_block(things: Sequence[Entry]) -> bytes:
    return b"".join(b"\3" + sized(one.path) if one.kind == 3 else one.encode() for one in things)


@dataclass
class Layered:
    """A backup of one stream in layers that is about to be written; packs and index objects take turns in `objects`."""

    objects: list[Sealed]
    manifest: dict[str, Any]

    def pack(self, layer: int) -> Sealed:
        return self.objects[2 * layer]

    def table(self, layer: int) -> Sealed:
        return self.objects[2 * layer + 1]


def layered(
    objects: list[Sealed], stream: dict[str, Any], id: str = BACKUP, started: str = "", completed: str = ""
) -> Layered:
    """All but the newest layer were written by other backups, in which the stream stood elsewhere."""
    layers: list[dict[str, Any]] = []
    count = len(objects) // 2
    for at in range(count):
        place = 0 if at == count - 1 else 5
        for sealed in objects[2 * at : 2 * at + 2]:
            for segment in sealed.segments:
                segment.stream = place
        pack, table = objects[2 * at : 2 * at + 2]
        layer: dict[str, Any] = {
            "kind": "delta" if at else "base",
            "backup": id if place == 0 else f"{BACKUP[:-2]}0{at}",
        }
        layer["segments"] = [segment.ref(2 * at, place) for place, segment in enumerate(pack.segments)]
        layer["index"] = [segment.ref(2 * at + 1, place) for place, segment in enumerate(table.segments)]
        if at:
            sums = [sum(one) for one in zip(*(segment.sums for segment in pack.segments))]
            layer.update(zip(("added", "changed", "deleted"), sums))
        layers.append(layer)
    manifest = {
        **{"format": 1, "vault": VAULT_ID.hex(), "id": id, "resource": "shop", "type": "incremental"},
        **{"source": {"kind": "none"}, "policy": {}, "warnings": [], "name_key_version": 1},
        **{"base": BACKUP[:-2] + "00", "started_at": started or "2026-01-01T00:00:00Z"},
        **{"completed_at": completed or "2026-01-01T00:00:09Z", "streams": [{**stream, "layers": layers}]},
    }
    return Layered(objects, manifest)


RecordRuns = Sequence[Mapping[bytes, "bytes | None"]]
"""The runs of a layer, by canonical key; None is a tombstone."""


def record_layers(layers: Sequence[RecordRuns], **times: str) -> Layered:
    objects: list[Sealed] = []
    merged: dict[bytes, bytes] = {}
    for at, runs in enumerate(layers):
        name = f"{times.get('id', '')}{at}"
        pack, table = Sealed(PACK, object_id("pack" + name), []), Sealed(INDEX, object_id("table" + name), [])
        below = set(merged)
        for sequence, values in enumerate(runs):
            things = make_things(values)
            blocks = [things[place : place + 3] for place in range(0, len(things), 3)]
            if at:
                pack.segments.append(delta_run_segment(sequence, len(pack.blocks), blocks, below))
                pack.blocks += [(ZSTD, delta_run_block(block)) for block in blocks]
            else:
                rows = [[(hash, key, value or b"") for hash, key, value in block] for block in blocks]
                pack.segments.append(run_segment(0, sequence, len(pack.blocks), rows, False))
                pack.blocks += [(ZSTD, run_block(block, False)) for block in rows]
            table.segments.append(Segment(STATE_TABLE, 0, sequence, len(table.blocks), [(things[0][0], len(things))]))
            table.blocks.append((PLAIN, delta_state_block(things)))
            for key, value in values.items():
                merged.pop(key, None)
                if value is not None:
                    merged[key] = value
        objects += [pack, table]
    stream = make_stream("orders", "json", ["/id"], list(merged.items()), [], None)
    return layered(objects, stream, **times)


def key_of(id: int) -> bytes:
    return b'["%d"]' % id


def value_of(id: int, version: int = 0) -> bytes:
    return b'{"id":"%d","v":%d}' % (id, version)


def records(ids: Sequence[int], version: int = 0) -> dict[bytes, bytes | None]:
    return {key_of(id): value_of(id, version) for id in ids}


def gone(ids: Sequence[int]) -> dict[bytes, bytes | None]:
    return {key_of(id): None for id in ids}


TreeThings = Mapping[bytes, "Sequence[bytes] | None"]
"""The paths of a layer with the contents of their parts, none for a directory; None is a tombstone."""


def tree_layers(layers: Sequence[TreeThings]) -> Layered:
    objects: list[Sealed] = []
    merged: dict[bytes, list[Entry]] = {}
    for at, things in enumerate(layers):
        pack, table = Sealed(PACK, object_id(f"pack{at}"), []), Sealed(INDEX, object_id(f"table{at}"), [])
        content = b"".join(part for _, parts in sorted(things.items()) for part in parts or ())
        entries, below = tree_entries(things), set(merged)
        pack.blocks.append((PLAIN, content))
        blocks = [entries[place : place + 3] for place in range(0, len(entries), 3)]
        for sequence, part in enumerate((blocks[:1], blocks[1:])):
            if part:
                first_block = len(pack.blocks)
                if at:
                    pack.segments.append(delta_tree_segment(sequence, first_block, [], part, below))
                else:
                    pack.segments.append(tree_segment(sequence, first_block, [], part))
                pack.blocks += [(ZSTD, (delta_tree_block if at else tree_block)(block)) for block in part]
                files = [entry for block in part for entry in block if entry.kind == 0]
                if files:
                    table.segments.append(chunk_segment(sequence, len(table.blocks), files))
                    table.blocks.append((PLAIN, chunk_block(files)))
        for entry in entries:
            if not entry.offset:
                merged.pop(entry.path, None)
            if entry.kind != 3:
                merged.setdefault(entry.path, []).append(entry)
        objects += [pack, table]
    totals = tree_totals([entry for path in sorted(merged) for entry in merged[path]])
    return layered(objects, {"name": "files", "kind": "tree", "schema": None, **totals})


def tree_entries(things: TreeThings) -> list[Entry]:
    entries: list[Entry] = []
    at = 0
    for path, parts in sorted(things.items()):
        if parts is None:
            entries.append(tombstone(path))
        elif path.endswith(b"/"):
            entries.append(Entry(path, kind=DIRECTORY))
        offset = 0
        for part in parts or ():
            extents = ((0, 0, at, len(part)),) if part else ()
            entry = Entry(path, content=part, extents=extents)
            if len(parts or ()) > 1:
                entry = replace(entry, offset=offset, size=sum(map(len, parts or ())))
            entries.append(entry)
            offset += len(part)
            at += len(part)
    return entries


@dataclass(frozen=True)
class Change:
    id: int
    time: int
    sequence: bytes
    before: bytes | None
    after: bytes | None

    @property
    def order(self) -> tuple[bytes, int]:
        return keyed("key-hash", key_of(self.id)), int(self.sequence) if self.sequence.isdigit() else 0

    def encode(self) -> bytes:
        flags = (self.before is not None) | 2 * (self.after is not None)
        values = b"".join(sized(value) for value in (self.before, self.after) if value is not None)
        head = keyed("key-hash", key_of(self.id)) + signed(self.time) + sized(self.sequence)
        return head + bytes([flags]) + sized(key_of(self.id)) + values


@dataclass
class ChangeObject:
    """A change object to be written; a test may make its name or its description lie."""

    name: str
    changes: list[Change]
    since: int = 0
    gaps: list[dict[str, Any]] = field(default_factory=list)
    replaces: list[str] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)
    resource: str = "shop"
    stream: str = "orders"
    key_names: list[str] = field(default_factory=lambda: ["/id"])
    is_sorted: bool = True

    @property
    def key(self) -> str:
        times = [change.time for change in self.changes]
        return f"{CHANGE_FOLDER}/{min(times):015}-{max(times):015}-0-{object_id(self.name).hex()}"

    def sealed(self) -> Sealed:
        changes = sorted(self.changes, key=lambda one: one.order) if self.is_sorted else self.changes
        blocks = [changes[place : place + 2] for place in range(0, len(changes), 2)]
        description: dict[str, Any] = {
            "resource": self.resource,
            "stream": self.stream,
            "encoding": "json",
            "key": self.key_names,
        }
        description.update(since=self.since, gaps=self.gaps, replaces=self.replaces, follows=self.follows)
        times = [change.time for change in changes]
        summary = sized(json.dumps(description).encode()) + signed(min(times)) + signed(max(times))
        summary += sized(changes[-1].order[0])
        fences = [(block[0].order[0], len(block)) for block in blocks]
        plain = [(ZSTD, b"".join(change.encode() for change in block)) for block in blocks]
        segments = [Segment(CHANGES, 0, 0, 0, fences, summary)]
        return Sealed(CHANGE_OBJECT, object_id(self.name), plain, segments)


CHANGE_FOLDER = f"changes/{keyed('change-folder', b'shop').hex()}"


class Vault:
    """A vault in a directory, with its key file beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "vault"
        self.key_file = root / "key.json"
        self.write_key_file(self.key_file, SECRET)
        self.put("holdfast.json", json.dumps({"format": 1, "vault": VAULT_ID.hex()}).encode())
        self.write_vault_key(1, VAULT_KEY)

    def write_vault_key(self, version: int, key: bytes) -> None:
        salt = b"0123456789ab"
        wrap = AESGCM(hkdf(SECRET, salt, "holdfast/1/wrap"))
        bound = b"holdfast/1/vault-key" + VAULT_ID + version.to_bytes(4, "little")
        self.write_wrapped({"kind": "local", "key": "the-key"}, salt + wrap.encrypt(bytes(12), key, bound), version)

    @staticmethod
    def write_key_file(path: Path, secret: bytes, id: str = "the-key") -> None:
        value = {"kind": "holdfast-key", "version": 1, "id": id, "secret": base64.b64encode(secret).decode()}
        path.write_text(json.dumps(value))

    def write_wrapped(self, wrapped_by: dict[str, str], wrapped: bytes, version: int = 1) -> None:
        value = {"format": 1, "vault": VAULT_ID.hex(), "version": version, "wrapped_by": wrapped_by}
        text = json.dumps({**value, "wrapped": base64.b64encode(wrapped).decode()})
        self.put(f"keys/{version:08}.json", text.encode())

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def write(self, made: Draft | Layered, change: Callable[[list[dict[str, Any]]], None] | None = None) -> None:
        """Writes all objects, and a manifest that lists them as they are unless `change` makes it lie."""
        made.manifest["objects"] = []
        for sealed in made.objects:
            data = sealed.seal()
            self.put(sealed.key, data)
            parts = [sha256(data[at : at + PART_SIZE]).hex() for at in range(0, len(data), PART_SIZE)]
            kind = "pack" if sealed.kind == PACK else "index"
            listed = {"id": sealed.id.hex(), "kind": kind, "size": len(data), "parts": parts}
            made.manifest["objects"].append(listed)
        if change:
            change(made.manifest["objects"])
        text, id = json.dumps(made.manifest).encode(), made.manifest["id"]
        blocks = [(ZSTD, text[:1000]), (PLAIN, text[1000:])]
        key = f"manifests/{id if isinstance(id, str) else BACKUP}"
        self.put(key, Sealed(MANIFEST, object_id(key), blocks).seal())


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


class VaultTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.vault = Vault(self.folder)
        self.target = self.folder / "out"

    def run_program(self, *arguments: str, key: str | None = None) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = reader.main(["--vault", str(self.vault.root), "--key", key or str(self.vault.key_file), *arguments])
        return Outcome(code, out.getvalue(), err.getvalue())

    def extract(self, *arguments: str) -> Outcome:
        return self.run_program("extract", BACKUP, "--to", str(self.target), *arguments)

    def findings(self) -> list[str]:
        """What verify finds: "object: what"."""
        done = self.run_program("verify", BACKUP, "--json")
        if not done.out:
            self.assertEqual(done.code, 3, done.err)
            return [done.err.partition(": ")[2]]
        found = [f"{finding['object']}: {finding['what']}" for finding in json.loads(done.out)["findings"]]
        self.assertEqual(done.code, 3 if found else 0, done)
        self.assertEqual(done.err.count("\n"), 1 if found else 0)
        return found

    def assert_found(self, object: str, what: str = "") -> None:
        found = self.findings()
        self.assertTrue(any(one.startswith(object) and what in one for one in found), f"{object}: {what}: {found}")


class EncodingTest(unittest.TestCase):
    def test_numbers(self) -> None:
        for value, encoded in ((0, "00"), (127, "7f"), (128, "8001"), (624485, "e58e26"), (2**64 - 1, "ff" * 9 + "01")):
            self.assertEqual(reader.Cursor(bytes.fromhex(encoded)).number(), value)
            self.assertEqual(reader.encode_number(value).hex(), encoded)

    def test_numbers_that_are_refused(self) -> None:
        for encoded in ("", "80", "ff" * 9 + "02", "ff" * 10 + "00", "80" * 10 + "00"):
            with self.assertRaises(reader.Malformed):
                reader.Cursor(bytes.fromhex(encoded)).number()
        with self.assertRaises(reader.Malformed):
            reader.Cursor(number(2**32)).number32()
        self.assertEqual(reader.Cursor(number(2**32 - 1)).number32(), 2**32 - 1)

    def test_signed(self) -> None:
        for value, encoded in ((0, 0), (-1, 1), (1, 2), (-2, 3), (2, 4), (2**63 - 1, 2**64 - 2), (-(2**63), 2**64 - 1)):
            self.assertEqual(reader.Cursor(number(encoded)).signed(), value)
            self.assertEqual(signed(value), number(encoded))

    def test_bytes_and_text(self) -> None:
        self.assertEqual(reader.Cursor(b"\x03abc").sized(), b"abc")
        for encoded in (b"\x04abc", b"\x01\xff"):
            with self.assertRaises(reader.Malformed):
                reader.Cursor(encoded).text()
        with self.assertRaises(reader.Malformed):
            reader.Cursor(b"left").finish()

    def test_sum_of_digests(self) -> None:
        one, most = b"\x01" + bytes(31), b"\xff" * 32
        tally, other = reader.Tally(), reader.Tally()
        self.assertEqual(tally.digest, bytes(32))
        tally.count(3, one)
        self.assertEqual(tally.digest, one)
        tally.count(4, most, files=1)
        self.assertEqual(tally.digest, bytes(32))
        for digest in (most, one, sha256(b"x")):
            other.count(0, digest)
        self.assertEqual(other.digest, sha256(b"x"))
        tally.add(other)
        self.assertEqual((tally.things, tally.files, tally.byte_count, tally.digest), (5, 1, 7, sha256(b"x")))

    def test_canonical_keys(self) -> None:
        made = reader.parse_stream(0, make_stream("s", "json", ["/a~1b", "/c/1", ""], [], [], None))
        value = b'{ "a/b": "\\u00e9\\/\\u001f\\n\\"\\u007f", "c": [0, -1.50E+3] }'
        whole = b'{"a/b":"\xc3\xa9/\\u001f\\n\\"\x7f","c":[0,-1.50E+3]}'
        key = b'["\xc3\xa9/\\u001f\\n\\"\x7f",-1.50E+3,' + whole + b"]"
        hasher = reader.KeyHasher(b"k", made)
        self.assertEqual(hasher.hash(reader.Record(None, value)), hmac.digest(b"k", key, "sha256")[:16])
        self.assertIsNone(hasher.hash(reader.Record(None, b'{"a/b":1,"c":[0]}')))
        for wrong in (b"{", b'{"a/b":NaN}', b"\xff"):
            with self.assertRaises(reader.Malformed):
                hasher.hash(reader.Record(None, wrong))

    def test_blocks_are_decompressed_to_their_length_only(self) -> None:
        for codec in (PLAIN, ZSTD, GZIP):
            data = compress(codec, b"plain" * 9)
            self.assertEqual(reader.decompress(data, 45), b"plain" * 9)
            for wrong, length in ((data, 44), (data, 46), (data + b"x", 45), (data[:-1], 45), (b"\x07" + data[1:], 45)):
                with self.assertRaises(reader.Malformed):
                    reader.decompress(wrong, length)

    def test_names(self) -> None:
        streams = [
            make_stream(name, "json", [], [], [], {"file": file} if file else None)
            for name, file in (("a", None), ("b", "a.jsonl"), ("a.jsonl", "c"), ("..", ".."), ("x/\n", "c"))
        ]
        names = reader.target_names([reader.parse_stream(place, one) for place, one in enumerate(streams)])
        self.assertEqual(names, ["a.jsonl", "b.jsonl", "c", "%2E%2E.jsonl", "x%2F%0A.jsonl"])


class ReadingTest(VaultTest):
    def setUp(self) -> None:
        super().setUp()
        self.vault.write(draft())

    def test_list(self) -> None:
        self.vault.put("manifests/.left-over", b"no backup")
        listed = json.loads(self.run_program("list", "--json").out)
        self.assertEqual([(one["id"], one["resource"], one["type"]) for one in listed], [(BACKUP, "shop", "full")])
        self.assertEqual(listed[0]["streams"][1]["records"], 40)
        done = self.run_program("list")
        self.assertEqual((done.code, done.err), (0, ""))
        self.assertIn(f"{BACKUP}  shop      full", done.out)
        self.assertIn(f"files: 7 files, {len(BIG) + 2 * len(SMALL)} bytes; orders: 40 records", done.out)

    def test_show(self) -> None:
        shown = json.loads(self.run_program("show", BACKUP, "--json").out)
        self.assertEqual((shown["id"], shown["unknown"]), (BACKUP, [1]))
        self.assertIn("orders: 40 records", self.run_program("show", BACKUP).out)

    def test_verify(self) -> None:
        self.assertEqual(self.findings(), [])
        self.assertIn("read 5 objects", self.run_program("verify", BACKUP).out)

    def test_extract(self) -> None:
        done = self.extract()
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertIn("1 entries have attributes", done.out)
        names = ["a%2Fb.jsonl", "files", "keyed.jsonl", "nothing.jsonl", "orders.json"]
        self.assertEqual(sorted(os.listdir(self.target)), names)
        self.assert_records("orders.json", JSON_RECORDS)
        self.assert_records("a%2Fb.jsonl", ITEM_RECORDS)
        self.assert_records("keyed.jsonl", KEYED_RECORDS)
        self.assert_records("nothing.jsonl", [])
        self.assert_tree(self.target / "files")

    def assert_records(self, name: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        lines = (self.target / name).read_bytes().splitlines(keepends=True)
        self.assertEqual(sorted(lines), sorted(value + b"\n" for _, value in records))

    def assert_tree(self, root: Path) -> None:
        base = os.fsencode(root)
        names = {
            os.path.join(at, name)[len(base) + 1 :] for at, *found in os.walk(base) for part in found for name in part
        }
        self.assertEqual(names, {entry.path.rstrip(b"/") for entry in draft_entries()})
        self.assertEqual((root / "big").read_bytes(), BIG)
        self.assertEqual((root / "dir/inner").read_bytes(), SMALL)
        self.assertEqual((root / "dir0").read_bytes(), b"")
        self.assertEqual(os.readlink(base + b"/dir/link"), b"../nowhere\xff")
        with open(base + b"/name-\xff\xfe", "rb") as file:
            self.assertEqual(file.read(), SMALL)
        for path, mode in (("dir", 0o555), ("dir/empty", 0o700), ("dir/inner", 0o400)):
            self.assertEqual(stat.S_IMODE((root / path).lstat().st_mode), mode)
        times = {"dir": -1_000_000_001, "dir/inner": 1_700_000_000_123_456_789, "dir/link": 9_000_000_001}
        for path, time in times.items():
            self.assertEqual((root / path).lstat().st_mtime_ns, time)

    def test_extract_one_stream(self) -> None:
        self.assertEqual(self.extract("--stream", "orders").code, 0)
        self.assertEqual(os.listdir(self.target), ["orders.json"])
        self.assertEqual(self.run_program("extract", BACKUP, "--to", "x", "--stream", "none").code, 2)

    def test_extract_a_backup_of_one_tree(self) -> None:
        made = draft()
        del made.manifest["streams"][1:]
        self.vault.write(made)
        self.assertEqual(self.extract().code, 0)
        self.assert_tree(self.target)

    def test_target_must_be_an_empty_directory(self) -> None:
        self.target.mkdir()
        (self.target / "there").touch()
        link, file = self.folder / "link", self.folder / "file"
        link.symlink_to(self.folder)
        file.touch()
        for path in (self.target, link, file):
            done = self.run_program("extract", BACKUP, "--to", str(path))
            self.assertEqual((done.code, done.err.count("\n")), (2, 1), done)
        self.assertEqual(os.listdir(self.target), ["there"])

    def test_parts_of_objects(self) -> None:
        made = draft()
        made.far.blocks.append((PLAIN, bytes(PART_SIZE)))
        self.vault.write(made)
        self.assertEqual([len(one["parts"]) for one in made.manifest["objects"]], [1, 2, 1, 1, 1])
        self.assertEqual(self.findings(), [])

    def test_footer_larger_than_the_tail(self) -> None:
        made = draft()
        made.far.blocks += [(PLAIN, b"")] * 40_000
        self.vault.write(made)
        self.assertEqual(self.findings(), [])


class InputTest(VaultTest):
    def setUp(self) -> None:
        super().setUp()
        self.vault.write(draft())

    def test_wrong_input(self) -> None:
        for arguments in (
            (),
            ("nonsense",),
            ("show",),
            ("show", "../key"),
            ("show", BACKUP[:-1] + "0"),
            ("list", "-x"),
        ):
            done = self.run_program(*arguments)
            self.assertEqual((done.code, done.out, done.err.count("\n")), (2, "", 1), done)

    def test_not_a_vault(self) -> None:
        (self.vault.root / "holdfast.json").unlink()
        self.assertEqual(self.run_program("list").code, 2)
        self.vault.put("holdfast.json", b'{"format": 2, "vault": "%s"}' % VAULT_ID.hex().encode())
        self.assertEqual(self.run_program("list").code, 2)
        self.vault.put("holdfast.json", b"{")
        self.assertEqual(self.run_program("list").code, 3)

    def test_key_files_that_are_none(self) -> None:
        wrong = self.folder / "wrong.json"
        for text in ("", "[]", "{}", '{"kind":"holdfast-key","version":1,"id":"x","secret":"c2hvcnQ="}'):
            wrong.write_text(text)
            self.assertEqual(self.run_program("list", key=str(wrong)).code, 2)
        self.assertEqual(self.run_program("list", key=str(self.folder / "none")).code, 2)

    def test_wrong_key(self) -> None:
        other = self.folder / "other.json"
        self.vault.write_key_file(other, b"o" * 32, "other-key")
        done = self.run_program("list", key=str(other))
        self.assertEqual(done.code, 2)
        self.assertIn("the-key", done.err)
        self.vault.write_key_file(other, b"o" * 32)
        done = self.run_program("verify", BACKUP, key=str(other))
        self.assertEqual((done.code, "keys/00000001.json: does not open" in done.err), (3, True), done)

    def test_key_that_kms_wraps(self) -> None:
        self.vault.write_wrapped({"kind": "kms", "key": "arn:aws:kms:x"}, b"a ciphertext")
        done = self.run_program("list")
        self.assertEqual((done.code, "--vault-key 1=FILE" in done.err), (2, True), done)
        unwrapped = self.folder / "unwrapped"
        unwrapped.write_bytes(base64.b64encode(VAULT_KEY) + b"\n")
        done = self.run_program("--vault-key", f"1={unwrapped}", "verify", BACKUP)
        self.assertEqual(done.code, 0, done)

    def test_program_as_it_is_run(self) -> None:
        command = [sys.executable, str(PROGRAM), "--vault", str(self.vault.root), "--key", str(self.vault.key_file)]
        done = subprocess.run([*command, "list"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = subprocess.run([*command, "show", "x"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))


class CorruptionTest(VaultTest):
    """What someone who holds the store can do to it."""

    def setUp(self) -> None:
        super().setUp()
        self.draft = draft()
        self.vault.write(self.draft)
        self.objects = [sealed.key for sealed in self.draft.objects]
        self.manifest = f"manifests/{BACKUP}"

    def test_flipped_bits(self) -> None:
        for key in [*self.objects, self.manifest]:
            data = (self.vault.root / key).read_bytes()
            places = {0, 8, 9, 10, 12, 16, 32, 47, 48, 60, len(data) // 2, *range(len(data) - 40, len(data), 3)}
            for place in sorted(places):
                with self.subTest(key=key, place=place):
                    self.vault.put(key, data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
                    self.assert_found(key)
            self.vault.put(key, data)

    def test_cut_and_lengthened(self) -> None:
        for key in [*self.objects, self.manifest]:
            data = (self.vault.root / key).read_bytes()
            shapes = [data[:length] for length in (0, 10, 47, 48, 63, 64, len(data) // 2, len(data) - 1)]
            for changed in [*shapes, data + b"x", data[:48] + data, data[:60] + data[61:]]:
                with self.subTest(key=key, size=len(changed)):
                    self.vault.put(key, changed)
                    self.assert_found(key)
            self.vault.put(key, data)

    def test_swapped_objects(self) -> None:
        for one, other in ((0, 1), (0, 2), (3, 4), (0, 3)):
            first, second = (self.vault.root / self.objects[place] for place in (one, other))
            with self.subTest(one=one, other=other):
                self.swap(first, second)
                self.assert_found(self.objects[one], "does not open")
                self.assert_found(self.objects[other], "does not open")
                self.swap(first, second)
        self.assertEqual(self.findings(), [])

    @staticmethod
    def swap(first: Path, second: Path) -> None:
        data = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(data)

    def test_swapped_blocks(self) -> None:
        sealed = replace(self.draft.far, blocks=[(PLAIN, b"a" * 9), (PLAIN, b"b" * 9)])
        data = sealed.seal()
        size = 1 + 9 + 16
        self.vault.put(sealed.key, data[:48] + data[48 + size :][:size] + data[48:][:size] + data[48 + 2 * size :])
        self.assert_found(sealed.key, "block 0 does not open")

    def test_renamed_objects(self) -> None:
        for key in self.objects:
            with self.subTest(key=key):
                path = self.vault.root / key
                path.rename(path.with_name("0" * 32))
                self.assert_found(key, "is missing")
                path.with_name("0" * 32).rename(path)

    def test_renamed_manifest(self) -> None:
        other = BACKUP[:-1] + "Z"
        (self.vault.root / self.manifest).rename(self.vault.root / "manifests" / other)
        done = self.run_program("show", other)
        self.assertEqual((done.code, "of another backup" in done.err), (3, True), done)

    def test_list_with_a_damaged_manifest(self) -> None:
        self.vault.put("manifests/" + BACKUP[:-1] + "0", b"nonsense")
        done = self.run_program("list", "--json")
        self.assertEqual((done.code, len(json.loads(done.out)), done.err.count("\n")), (3, 1, 1), done)

    def test_another_vault(self) -> None:
        self.vault.put("holdfast.json", json.dumps({"format": 1, "vault": "f" * 32}).encode())
        done = self.run_program("list")
        self.assertEqual((done.code, "of another vault" in done.err), (3, True), done)

    def test_extract_saves_what_is_whole(self) -> None:
        path = self.vault.root / self.draft.near.key
        data = bytearray(path.read_bytes())
        data[60] ^= 1
        path.write_bytes(data)
        done = self.extract()
        self.assertEqual((done.code, done.err.count("\n")), (3, 1), done)
        self.assertIn("big: not extracted", done.out)
        self.assertEqual(sorted(os.listdir(self.target / "files"))[:2], ["dir", "dir0"])
        self.assertEqual((self.target / "files/dir/inner").read_bytes(), SMALL)
        self.assertEqual(len((self.target / "orders.json").read_bytes().splitlines()), 40)

    def test_extract_without_a_block_of_records(self) -> None:
        path = self.vault.root / self.draft.runs.key
        data = bytearray(path.read_bytes())
        data[50] ^= 1
        path.write_bytes(data)
        self.assertEqual(self.extract("--stream", "orders").code, 3)
        self.assertEqual(len((self.target / "orders.json").read_bytes().splitlines()), 37)

    def test_extract_without_an_object(self) -> None:
        (self.vault.root / self.draft.near.key).unlink()
        done = self.extract()
        self.assertEqual((done.code, os.listdir(self.target / "files")), (3, []), done)
        self.assertEqual(len((self.target / "a%2Fb.jsonl").read_bytes().splitlines()), 9)


class FaultTest(VaultTest):
    """What a writer could do wrong and encrypt all the same."""

    def check(self, made: Draft, object: str, what: str) -> None:
        self.vault.write(made)
        self.assert_found(object, what)

    def check_tree(self, change: Callable[[list[Entry]], Any], what: str) -> None:
        entries = draft_entries()
        change(entries)
        made = draft(entries)
        self.check(made, made.near.key, what)

    def check_block(self, sealed: Sealed, made: Draft, number: int, plain: bytes, what: str) -> None:
        sealed.blocks[number] = (PLAIN, plain)
        self.check(made, sealed.key, what)

    def test_order_of_paths(self) -> None:
        self.check_tree(lambda entries: entries.insert(4, entries.pop(5)), "stands after dir/link")
        self.check_tree(lambda entries: entries.insert(7, entries[6]), "stands after dir0")

    def test_parts(self) -> None:
        self.check_tree(lambda e: e.insert(0, replace(e[0], path=b"abc")), "parts after 20000 are missing")
        self.check_tree(lambda e: e.insert(6, replace(e[1], path=b"dir/m")), "the parts before 20000 are missing")
        self.check_tree(lambda e: e.__setitem__(1, replace(e[1], offset=20_001)), "does not follow the one before")
        self.check_tree(lambda e: e.__setitem__(1, replace(e[1], offset=20_001)), "reaches past the end")

    def test_paths(self) -> None:
        self.check_tree(lambda entries: entries.insert(0, Entry(b"")), "not one that the format allows")
        self.check_tree(lambda entries: entries.insert(0, Entry(b"a\0b")), "not one that the format allows")
        self.check_tree(lambda entries: entries.insert(0, Entry(b"a", kind=DIRECTORY)), "does not end with a slash")
        self.check_tree(lambda e: e.insert(0, Entry(b"a", mtime=(1, 10**9))), "a second of nanoseconds")
        self.check_tree(lambda e: e.insert(0, Entry(b"a", kind=3)), "unknown flags 0x03")

    def test_paths_of_objects(self) -> None:
        entries = [Entry(b"/absolute"), Entry(b"a//b"), *draft_entries()]
        self.vault.write(draft(entries))
        self.assertEqual(self.findings(), [])

    def test_content(self) -> None:
        self.check_tree(lambda e: e.__setitem__(4, replace(e[4], content=SMALL[::-1])), "has another SHA-256")
        self.check_tree(
            lambda e: e.__setitem__(4, replace(e[4], extents=((1, 0, 20_004, 117),))), "reaches past block 0"
        )
        self.check_tree(lambda e: e.__setitem__(4, replace(e[4], extents=((1, 9, 0, 117),))), "has no block 9")
        self.check_tree(lambda e: e.__setitem__(4, replace(e[4], extents=((2, 0, 0, 117),))), "in pack 2 of 1")
        self.check_tree(lambda e: e.__setitem__(4, replace(e[4], extents=((1, 0, 0, 116),))), "do not add up")
        self.check_tree(
            lambda e: e.__setitem__(4, replace(e[4], extents=((1, 0, 0, 117), (1, 0, 0, 0)))), "empty extent"
        )

    def test_pack_that_is_not_listed(self) -> None:
        made = draft()
        stray = Sealed(PACK, object_id("stray"), [])
        self.vault.put(stray.key, stray.seal())
        made.near.segments[0] = tree_segment(0, 2, [made.far.id, stray.id], [made.entries[:1]])
        self.check(made, made.near.key, f"holds extents in {stray.key}, which the manifest does not list")

    def test_segments(self) -> None:
        made = draft()
        made.near.segments[0].fences[0] = (b"bog", 1)
        self.check(made, made.near.key, "block 2 does not begin with the path in its fence")
        made = draft()
        made.near.segments[0].fences[0] = (b"big", 2)
        self.check(made, made.near.key, "block 2 holds 1 things, and its fence says 2")
        made = draft()
        summary = bytearray(made.near.segments[0].summary)
        for place, what in (
            (17, "holds 1 files"),
            (18, "holds 20000 bytes"),
            (30, "sum of digests"),
            (55, "end with the path"),
        ):
            made.near.segments[0].summary = bytes([*summary[:place], summary[place] ^ 1, *summary[place + 1 :]])
            self.check(made, made.near.key, what)
        made = draft()
        made.near.segments[1].kind = STATE_TABLE
        self.check(made, made.near.key, "")

    def test_footers(self) -> None:
        made = draft()
        made.near.segments[0].first_block = 9
        self.check(made, made.near.key, "reaches past the last block")
        made = draft()
        made.near.segments[0].kind = 8
        self.check(made, made.near.key, "unknown kind 8")
        made = draft()
        made.near.segments.append(replace(made.near.segments[0], first_block=1, fences=[(b"x", 1)] * 2))
        self.check(made, made.near.key, "segments that overlap")
        made = draft()
        summary = made.runs.segments[0].summary
        made.runs.segments[0].summary = summary[:1] + number(1) + summary[2:]
        self.check(made, made.runs.key, "tombstones in a run that is not a delta")
        made = draft()
        made.near.segments.append(made.lists.segments[0])
        self.check(made, made.near.key, "a kind that does not belong there")

    def test_manifest_counts(self) -> None:
        for name, value in (("files", 1), ("bytes", 1), ("digest", "0" * 64)):
            made = draft()
            made.manifest["streams"][0][name] = value
            self.check(made, f"manifests/{BACKUP}", "the stream")
        for name, value in (("first", ""), ("last", "00"), ("count", 9), ("bytes", 9)):
            made = draft()
            made.manifest["streams"][1]["layers"][0]["segments"][0][name] = value
            self.check(made, made.runs.key, "the manifest describes another one")
        for name, value in (("object", 99), ("object", -1), ("segment", 99), ("segment", -1), ("segment", 2)):
            made = draft()
            made.manifest["streams"][1]["layers"][0]["segments"][0][name] = value
            self.check(made, "", "segment")

    def test_manifests_that_are_none(self) -> None:
        changes: list[dict[str, Any]] = [{"format": 2}, {"id": 5}, {"type": None}, {"vault": "0" * 32}]
        changes += [{"streams": {}}, {"streams": [{}]}, {"warnings": 1}]
        for change in changes:
            made = draft()
            made.manifest.update(change)
            self.check(made, f"manifests/{BACKUP}", "")

    def test_objects_in_the_manifest(self) -> None:
        def change(objects: list[dict[str, Any]]) -> None:
            objects[1]["parts"][0] = "0" * 64
            objects[2]["parts"].append("0" * 64)
            objects[3]["size"] += 1

        made = draft()
        self.vault.write(made, change)
        self.assert_found(made.far.key, "part 0 has another SHA-256")
        self.assert_found(made.runs.key, "the manifest lists 2 parts")
        self.assert_found(made.lists.key, "and the manifest says")

    def test_chunk_lists(self) -> None:
        files = [entry for entry in draft_entries()[1:] if entry.kind == 0]
        for plain, what in (
            (chunk_block(files[:2]), "holds 2 things, and its fence says 4"),
            (chunk_block(files) + b"\0", "holds 5 things"),
            (chunk_block(files) + b"\1", "ends too early"),
            (chunk_block([replace(files[0], extents=files[0].extents[:1]), *files[1:]]), "is of another length"),
            (chunk_block([replace(files[0], content=BIG[1:30_001]), *files[1:]]), "names other chunks"),
        ):
            made = draft()
            self.check_block(made.lists, made, 1, plain, what)
        made = draft()
        made.lists.segments[1].fences[0] = (b"c", 4)
        self.check(finish_draft(made), made.lists.key, "does not begin with the path in its fence")
        made = draft()
        made.lists.segments[1].sequence = 5
        self.check(made, made.lists.key, "belongs to no segment")

    def test_order_of_records(self) -> None:
        made, rows = draft(), make_rows(JSON_RECORDS[:25])
        rows[4], rows[5] = rows[5], rows[4]
        made.runs.blocks[1] = (ZSTD, run_block(rows[3:], keys=False))
        self.check(made, made.runs.key, "block 1: the records are not in order")
        self.assert_found(made.tables.key, "has another key hash for a record in block 1")
        made.tables.blocks[0] = (PLAIN, state_block(rows, keys=False))
        self.check(made, made.tables.key, "block 0: the rows are not in ascending order")

    def test_records(self) -> None:
        rows = make_rows(JSON_RECORDS[:25])
        for plain, what in (
            (run_block(rows[:2], keys=False), "holds 2 things"),
            (run_block(rows[:3], keys=False)[:-1], "ends too early"),
            (run_block([*rows[:2], (b"", b"", b"{")], keys=False), "is not JSON"),
            (run_block([rows[1], rows[0], rows[2]], keys=False), "does not begin with the key hash in its fence"),
        ):
            made = draft()
            self.check_block(made.runs, made, 0, plain, what)

    def test_state_tables(self) -> None:
        rows = make_rows(JSON_RECORDS[:25])
        good = state_block(rows, keys=False)
        for plain, what in (
            (good[:-32], "holds 24 things"),
            (good[:-1], "part of a row"),
            (good[:16] + bytes(16) + good[32:], "has another digest for a record in block 0"),
            (bytes(16) + good[16:], "does not begin with the key hash in its fence"),
        ):
            made = draft()
            self.check_block(made.tables, made, 0, plain, what)

    def test_key_hash_in_two_runs(self) -> None:
        made, twice = draft(), make_rows(JSON_RECORDS[20:])
        made.runs.segments[1] = run_segment(1, 1, 2, [twice[:3], twice[3:]], keys=False)
        made.runs.blocks[2:4] = [(ZSTD, run_block(twice[:3], keys=False)), (ZSTD, run_block(twice[3:], keys=False))]
        made.tables.segments[1] = state_segment(1, 1, 1, twice)
        made.tables.blocks[1] = (PLAIN, state_block(twice, keys=False))
        self.check(finish_draft(made), made.tables.key, "a key hash that another table of the layer has too")

    def test_layers_that_are_none(self) -> None:
        made = draft()
        made.manifest["streams"][1]["layers"] *= 2
        self.vault.write(made)
        done = self.extract()
        self.assertEqual((done.code, done.err.count("\n"), self.target.exists()), (3, 1, False), done)
        for kind in ("delta", "other"):
            made = draft()
            made.manifest["streams"][1]["layers"][0].update(kind=kind, added=40, changed=0, deleted=0)
            self.check(made, f"manifests/{BACKUP}", "layer")


class RecordLayersTest(VaultTest):
    def assert_merged(self, made: Layered, expected: Sequence[bytes]) -> None:
        self.vault.write(made)
        self.assertEqual(self.findings(), [])
        self.assert_extracted(expected)

    def assert_extracted(self, expected: Sequence[bytes], *arguments: str, code: int = 0) -> Outcome:
        with tempfile.TemporaryDirectory() as name:
            done = self.run_program("extract", BACKUP, "--to", name, *arguments)
            self.assertEqual(done.code, code, done)
            lines = (Path(name) / "orders.jsonl").read_bytes().splitlines()
        self.assertEqual(sorted(lines), sorted(expected))
        return done

    def damage(self, key: str, place: int = 60) -> None:
        data = bytearray((self.vault.root / key).read_bytes())
        data[place] ^= 1
        self.vault.put(key, bytes(data))

    def test_five_layers(self) -> None:
        made = record_layers(
            [
                [records(range(10)), records(range(10, 20))],
                [{**records([1, 2, 15], 1), **gone([3, 4, 16])}],
                [{**records([3, 30], 2), **gone([1])}, records([17], 2)],
                [{**gone([3, 99]), **records([4], 3)}],
                [{**records([3], 4), **gone([5])}],
            ]
        )
        newest = {id: 0 for id in (0, *range(6, 15), 18, 19)}
        newest.update({2: 1, 15: 1, 30: 2, 17: 2, 4: 3, 3: 4})
        self.assert_merged(made, [value_of(id, version) for id, version in newest.items()])
        self.assertIn("base", self.run_program("show", BACKUP).out)
        self.assertIn("5 layers", self.run_program("show", BACKUP).out)

    def test_random_histories(self) -> None:
        for seed in range(40):
            chance = random.Random(seed)
            merged: dict[bytes, bytes] = {}
            layers: list[list[dict[bytes, bytes | None]]] = []
            for version in range(chance.randint(1, 5)):
                ids = chance.sample(range(25), chance.randint(1, 25))
                runs: list[dict[bytes, bytes | None]] = [{} for _ in range(chance.randint(1, 3))]
                for id in ids:
                    value = value_of(id, version) if version == 0 or chance.random() < 0.6 else None
                    chance.choice(runs)[key_of(id)] = value
                    merged.pop(key_of(id), None)
                    if value is not None:
                        merged[key_of(id)] = value
                layers.append([run for run in runs if run])
            with self.subTest(seed=seed):
                self.assert_merged(record_layers(layers), list(merged.values()))

    def test_without_index_objects(self) -> None:
        made = record_layers([[records(range(5))], [gone([1, 2])]])
        self.vault.write(made)
        for layer in (0, 1):
            (self.vault.root / made.table(layer).key).unlink()
        self.assert_extracted([value_of(id) for id in (0, 3, 4)])

    def test_key_twice_in_one_layer(self) -> None:
        made = record_layers([[records([1])], [records([2, 3], 1), gone([3])]])
        self.vault.write(made)
        self.assert_found(made.pack(1).key, "stands twice in its layer")
        self.assertEqual(self.extract().code, 3)
        made = record_layers([[records([1])], [records([2, 3], 1)], [records([3], 2), records([3], 3)]])
        self.vault.write(made)
        self.assert_found(made.pack(2).key, "stands twice in its layer")
        made = record_layers([[records([1, 2]), records([2, 3])], [gone([2])]])
        self.vault.write(made)
        self.assert_found(made.table(0).key, "another table of the layer has too")

    def test_merged_totals(self) -> None:
        for name, value in (("records", 9), ("bytes", 1), ("digest", "0" * 64)):
            made = record_layers([[records(range(5))], [gone([1, 2])]])
            made.manifest["streams"][0][name] = value
            self.vault.write(made)
            self.assert_found(f"manifests/{BACKUP}", "the stream")

    def test_sums_of_a_delta(self) -> None:
        for name in ("added", "changed", "deleted"):
            made = record_layers([[records(range(5))], [{**gone([1, 2]), **records([3, 9], 1)}]])
            made.manifest["streams"][0]["layers"][1][name] += 1
            self.vault.write(made)
            self.assert_found(f"manifests/{BACKUP}", "count other things")
            made = record_layers([[records(range(5))], [{**gone([1, 2]), **records([3, 9], 1)}]])
            segment = made.pack(1).segments[0]
            place = 1 + ("added", "changed", "deleted").index(name)
            changed = segment.summary[place] + 1
            segment.summary = bytes([*segment.summary[:place], changed, *segment.summary[place + 1 :]])
            self.vault.write(made)
            self.assert_found(made.pack(1).key, "and the footer says")

    def test_kinds_of_layers(self) -> None:
        made = record_layers([[records(range(5))], [records([3], 1)]])
        first, second = made.manifest["streams"][0]["layers"]
        first["segments"], second["segments"] = second["segments"], first["segments"]
        self.vault.write(made)
        self.assert_found(made.pack(0).key, "of another kind or stream")
        self.assert_found(made.pack(1).key, "of another kind or stream")
        made = record_layers([[records(range(5))], [records([3], 1)]])
        made.manifest["type"] = "full"
        self.vault.write(made)
        self.assert_found(f"manifests/{BACKUP}", "2 layers in a full backup")
        made = record_layers([[records([1]), records([2])], [records([3], 1)]])
        made.pack(0).segments[1].stream = 6
        self.vault.write(made)
        self.assert_found(made.pack(0).key, "of another stream than others")
        made.pack(1).segments[0].stream = 6
        self.vault.write(made)
        self.assert_found(made.pack(1).key, "of another kind or stream")

    def test_flags(self) -> None:
        made = record_layers([[records(range(5))], [records([3], 1)]])
        made.pack(1).blocks[0] = (PLAIN, b"\2" + made.pack(1).blocks[0][1][1:])
        self.vault.write(made)
        self.assert_found(made.pack(1).key, "block 0 has 2 for yes or no")

    def test_state_rows_of_tombstones(self) -> None:
        made = record_layers([[records(range(5))], [gone([3])]])
        codec, plain = made.table(1).blocks[0]
        made.table(1).blocks[0] = (codec, plain[:-1] + b"\1")
        self.vault.write(made)
        self.assert_found(made.table(1).key, "has another digest")

    def test_flipped_bits(self) -> None:
        made = record_layers([[records(range(5))], [{**gone([1, 2]), **records([3, 9], 1)}]])
        self.vault.write(made)
        for sealed in made.objects[2:]:
            data = (self.vault.root / sealed.key).read_bytes()
            for place in range(0, len(data), 5):
                with self.subTest(key=sealed.key, place=place):
                    self.vault.put(sealed.key, data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
                    self.assert_found(sealed.key)
            self.vault.put(sealed.key, data)

    def test_damaged_delta_hides_nothing_silently(self) -> None:
        """What a damaged delta may hide is left out, or taken when asked for, and told either way."""
        made = record_layers([[records(range(20))], [gone([1, 2])]])
        self.vault.write(made)
        self.damage(made.pack(1).key)
        low, high = sorted(keyed("key-hash", key_of(id)) for id in (1, 2))
        sure = [value_of(id) for id in range(20) if not low <= keyed("key-hash", key_of(id)) <= high]
        for _ in ("a flipped bit", "no object"):
            done = self.assert_extracted(sure, code=3)
            self.assertIn(f"{20 - len(sure)} records left out", done.out)
            done = self.assert_extracted([value_of(id) for id in range(20)], "--doubtful", code=3)
            self.assertIn(f"{20 - len(sure)} records taken", done.out)
            (self.vault.root / made.pack(1).key).unlink(missing_ok=True)

    def test_record_without_a_key(self) -> None:
        made = record_layers([[records(range(3))], [gone([1])]])
        made.manifest["streams"][0]["key"] = ["/none"]
        self.vault.write(made)
        self.assert_found(made.pack(0).key, "whose key cannot be found")

    def test_stream_of_places_stores_keys(self) -> None:
        made = record_layers([[records(range(3))]])
        made.manifest["streams"][0]["key"] = []
        self.vault.write(made)
        self.assert_found(made.pack(0).key, "stores no keys")

    def test_stored_keys_are_merged(self) -> None:
        rows = make_rows(KEYED_RECORDS)
        base, delta = Sealed(PACK, object_id("b"), []), Sealed(PACK, object_id("d"), [])
        base.segments, base.blocks = [run_segment(0, 0, 0, [rows], True)], [(ZSTD, run_block(rows, True))]
        hash, key, _ = rows[2]
        new = (hash, key, b'{"n":"new"}')
        delta.blocks = [(ZSTD, b"\0" + sized(key) + sized(new[2]) + b"\1" + rows[3][0])]
        segment = run_segment(0, 0, 0, [[new, rows[3]]], True)
        summary = b"\1" + number(0) + number(1) + number(1) + number(11) + record_digest(new, True) + sized(rows[3][0])
        delta.segments = [replace(segment, kind=DELTA_RUN, summary=summary, byte_count=11, sums=(0, 1, 1))]
        left = [(key, value) for _, key, value in (*rows[:2], new, *rows[4:])]
        empty = [Sealed(INDEX, object_id(name), []) for name in "xy"]
        stream = make_stream("orders", "json", [], left, [], None, keys=True)
        self.assert_merged(layered([base, empty[0], delta, empty[1]], stream), [value for _, value in left])


class TreeLayersTest(VaultTest):
    def assert_merged(self, layers: Sequence[TreeThings]) -> None:
        self.vault.write(tree_layers(layers))
        self.assertEqual(self.findings(), [])
        merged: dict[bytes, Sequence[bytes]] = {}
        for things in layers:
            for path, parts in things.items():
                merged.pop(path, None)
                if parts is not None:
                    merged[path] = parts
        with tempfile.TemporaryDirectory() as name:
            done = self.run_program("extract", BACKUP, "--to", name)
            self.assertEqual(done.code, 0, done)
            self.assertEqual(self.tree(name), {path: b"".join(parts) for path, parts in merged.items()})

    @staticmethod
    def tree(root: str) -> dict[bytes, bytes]:
        found = {}
        for at, folders, files in os.walk(os.fsencode(root)):
            place = os.path.relpath(at, os.fsencode(root)) + b"/"
            inside = b"" if place == b"./" else place
            found.update({inside + name + b"/": b"" for name in folders})
            found.update({inside + name: Path(os.fsdecode(os.path.join(at, name))).read_bytes() for name in files})
        return found

    def test_files_directories_and_parts(self) -> None:
        base: dict[bytes, Any] = {b"a": [b"one", b"two", b"three"], b"b": [b"b"], b"c/": [], b"c/d": [b"", b"d"]}
        base[b"c/d"] = [b"d"]
        self.assert_merged([base])
        self.assert_merged([base, {b"a": None}])
        self.assert_merged([base, {b"a": [b"now one"], b"none": None}])
        self.assert_merged([base, {b"a": None, b"b": [b"part", b"part"]}, {b"a": [b"x", b"y"], b"b": [b"z"]}])
        self.assert_merged(
            [base, {b"c/": None, b"c/d": None, b"c": [b"a file"]}, {b"b": None, b"b/": [], b"b/e": [b"e"]}]
        )

    def test_random_histories(self) -> None:
        for seed in range(40):
            chance = random.Random(seed)
            layers: list[dict[bytes, Any]] = []
            for version in range(chance.randint(1, 5)):
                things: dict[bytes, Any] = {}
                for id in chance.sample(range(14), chance.randint(1, 14)):
                    parts = [b"%d.%d.%d" % (id, version, part) for part in range(chance.choice((1, 1, 2, 4)))]
                    things[b"file-%d" % id] = parts if version == 0 or chance.random() < 0.6 else None
                layers.append(things)
            with self.subTest(seed=seed):
                self.assert_merged(layers)

    def test_path_twice_in_one_layer(self) -> None:
        made = tree_layers([{b"a": [b"a"], b"b": [b"b"]}, {b"a": [b"x"]}])
        pack = made.pack(1)
        things = [*tree_entries({b"a": [b"x"]}), tombstone(b"a")]
        pack.blocks[1] = (PLAIN, delta_tree_block(things))
        pack.segments = [delta_tree_segment(0, 1, [], [things], {b"a"})]
        self.vault.write(made)
        self.assert_found(pack.key, "a: stands after a")

    def test_merged_totals(self) -> None:
        for name, value in (("files", 9), ("bytes", 7), ("digest", "0" * 64)):
            made = tree_layers([{b"a": [b"a"], b"b": [b"b"]}, {b"a": None}])
            made.manifest["streams"][0][name] = value
            self.vault.write(made)
            self.assert_found(f"manifests/{BACKUP}", "the stream")

    def test_tombstone_in_a_base(self) -> None:
        made = tree_layers([{b"a": [b"a"]}])
        made.pack(0).blocks[1] = (PLAIN, delta_tree_block([tombstone(b"a")]))
        self.vault.write(made)
        self.assert_found(made.pack(0).key, "unknown flags 0x03")

    def test_flipped_bits(self) -> None:
        made = tree_layers([{b"a": [b"a"], b"b": [b"b"]}, {b"a": None, b"b": [b"x", b"y"]}])
        self.vault.write(made)
        for sealed in made.objects[2:]:
            data = (self.vault.root / sealed.key).read_bytes()
            for place in range(0, len(data), 5):
                with self.subTest(key=sealed.key, place=place):
                    self.vault.put(sealed.key, data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
                    self.assert_found(sealed.key)
            self.vault.put(sealed.key, data)

    def test_damaged_delta(self) -> None:
        """What the damage may hide is left out; all before and behind it is there."""
        names = [b"%02d" % n for n in range(12)]
        made = tree_layers([{name: [name] for name in names}, {name: None for name in names[2:8]}])
        self.vault.write(made)
        key = made.pack(1).key
        data = bytearray((self.vault.root / key).read_bytes())
        data[48 + 17 + 20] ^= 1
        self.vault.put(key, bytes(data))
        done = self.extract()
        self.assertEqual(done.code, 3, done)
        self.assertIn("02: left out", done.out)
        self.assertEqual(sorted(self.tree(str(self.target))), [*names[:2], *names[8:]])
        (self.vault.root / key).unlink()
        self.target = self.folder / "doubtful"
        self.assertEqual(self.extract("--doubtful").code, 3)
        self.assertEqual(sorted(self.tree(str(self.target))), names)


MINUTE = 60_000
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def at(ms: int) -> str:
    return str(reader.format_ms(NOON + ms))


class ChangesTest(VaultTest):
    """A backup from noon on, and changes around and after it."""

    def setUp(self) -> None:
        super().setUp()
        self.write_backup(BACKUP, 0, [[records(range(6))]])

    def write_backup(self, id: str, start: int, layers: Sequence[RecordRuns]) -> Layered:
        made = record_layers(layers, id=id, started=at(start), completed=at(start + 5000))
        self.vault.write(made)
        return made

    def write_changes(self, *objects: ChangeObject) -> None:
        for one in objects:
            self.vault.put(one.key, one.sealed().seal())

    @staticmethod
    def change(id: int, time: int, sequence: int | bytes, before: int | None, after: int | None) -> Change:
        values = [value_of(id, version) if version is not None else None for version in (before, after)]
        digits = sequence if isinstance(sequence, bytes) else b"%d" % sequence
        return Change(id, NOON + time, digits, *values)

    def extract_at(self, time: int | str, *arguments: str) -> Outcome:
        self.target = Path(tempfile.mkdtemp(dir=self.folder))
        moment = time if isinstance(time, str) else at(time)
        return self.run_program("extract", "shop", "--at", moment, "--to", str(self.target), *arguments)

    def assert_at(self, time: int, versions: dict[int, int], *arguments: str, code: int = 0) -> Outcome:
        done = self.extract_at(time, *arguments)
        self.assertEqual(done.code, code, done)
        expected = {**{id: 0 for id in range(6)}, **versions}
        lines = (self.target / "orders.jsonl").read_bytes().splitlines()
        self.assertEqual(
            sorted(lines), sorted(value_of(id, version) for id, version in expected.items() if version >= 0)
        )
        return done

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run_program("changes", "shop", *arguments)
        self.assertEqual(done.code, 0, done)
        return [json.loads(line) for line in done.out.splitlines()]

    def story(self) -> list[Change]:
        return [
            self.change(1, -12 * MINUTE, 9, None, 7),
            self.change(1, 10 * MINUTE, 10, 0, 1),
            self.change(1, 20 * MINUTE, 100, 1, 2),
            self.change(2, 20 * MINUTE, 101, 0, None),
            self.change(2, 30 * MINUTE, 102, None, 3),
            self.change(9, 25 * MINUTE, 103, None, 1),
            self.change(9, 35 * MINUTE, 104, 1, None),
        ]

    def test_any_second(self) -> None:
        self.write_changes(ChangeObject("c", self.story()))
        self.assert_at(MINUTE, {})
        self.assert_at(10 * MINUTE - 1, {})
        self.assert_at(10 * MINUTE, {1: 1})
        self.assert_at(20 * MINUTE, {1: 2, 2: -1})
        self.assert_at(25 * MINUTE, {1: 2, 2: -1, 9: 1})
        self.assert_at(30 * MINUTE, {1: 2, 2: 3, 9: 1})
        done = self.assert_at(36 * MINUTE, {1: 2, 2: 3})
        self.assertIn("the last captured change is of 2026-01-01T12:35:00.000Z", done.out)

    def test_newest_backup(self) -> None:
        self.write_changes(ChangeObject("c", self.story()))
        base = [{key: value for key, value in records(range(6)).items() if key != key_of(1)}, records([1], 2)]
        later = BACKUP[:-1] + "3"
        self.write_backup(later, 21 * MINUTE, [base, [gone([2])]])
        self.assertIn(later, self.assert_at(22 * MINUTE, {1: 2, 2: -1}).out)
        self.assertIn(later, self.assert_at(40 * MINUTE, {1: 2, 2: 3}).out)
        self.assertIn(BACKUP, self.assert_at(21 * MINUTE + 4999, {1: 2, 2: -1}).out)

    def test_changes_while_the_backup_began(self) -> None:
        """The clocks differ: what is up to eleven minutes older than the backup is applied again."""
        self.write_changes(ChangeObject("c", [self.change(1, -659_000, 1, 7, 8), self.change(2, -661_000, 1, 7, 8)]))
        self.assert_at(MINUTE, {1: 8})

    def test_random_times(self) -> None:
        for seed in range(10):
            chance = random.Random(seed)
            made: list[Change] = []
            now: dict[int, int | None] = {id: 0 for id in range(6)}
            history = []
            for sequence in range(1, 60):
                id, time = chance.randrange(9), sequence * 1000 + 10_000
                version = sequence if chance.random() < 0.7 else None
                made.append(self.change(id, time, 7**sequence, now.get(id), version))
                now[id] = version
                history.append((time, {id: -1 if one is None else one for id, one in now.items()}))
            objects = [ChangeObject(f"{seed}-{n}", chance.sample(made, 30)) for n in range(3)]
            objects.append(
                ChangeObject(f"{seed}-rest", [one for one in made if all(one not in o.changes for o in objects)])
            )
            self.write_changes(*objects)
            for time, versions in chance.sample(history, 4):
                with self.subTest(seed=seed, time=time):
                    self.assert_at(time + chance.randrange(1000), versions)
            self.assertEqual(len(self.listed()), 59)
            for one in objects:
                (self.vault.root / one.key).unlink()

    def test_sequences_are_numbers(self) -> None:
        changes = [
            self.change(1, MINUTE, sequence, 0, n) for n, sequence in enumerate((b"9", b"10", b"099", b"1" * 30))
        ]
        self.write_changes(ChangeObject("c", changes))
        self.assert_at(MINUTE, {1: 3})
        self.assertEqual([one["sequence"] for one in self.listed()], ["9", "10", "099", "1" * 30])

    def test_listing(self) -> None:
        story = self.story()
        self.write_changes(ChangeObject("c", story), ChangeObject("again", story[2:5]))
        self.assertEqual(len(self.listed()), 7)
        one: dict[str, Any] = {"stream": "orders", "time": at(10 * MINUTE), "sequence": "10", "key": ["1"]}
        one.update(before={"id": "1", "v": 0}, after={"id": "1", "v": 1})
        self.assertIn(one, self.listed())
        self.assertEqual(self.listed("--from", at(10 * MINUTE), "--to", at(10 * MINUTE)), [one])
        self.assertEqual(self.listed("--to", at(10 * MINUTE - 1), "--stream", "orders")[0]["sequence"], "9")
        self.assertEqual(len(self.listed("--from", "2026-01-01T14:25:00.000001+02:00")), 2)
        for arguments in (
            ("other",),
            ("shop", "--stream", "none"),
            ("shop", "--from", "noon"),
            ("shop", "--from", at(1), "--to", at(0)),
        ):
            done = self.run_program("changes", *arguments)
            self.assertEqual((done.code, done.out, done.err.count("\n")), (2, "", 1), done)

    def test_wrong_input(self) -> None:
        self.write_changes(ChangeObject("c", self.story()))
        for time in (4999, -MINUTE, "2999-01-01T00:00:00Z", "now", "2026-13-01T00:00:00Z", "2026-01-01T12:00:00"):
            done = self.extract_at(time)
            self.assertEqual((done.code, done.err.count("\n")), (2, 1), done)
        done = self.run_program("extract", "other", "--at", at(MINUTE), "--to", str(self.target))
        self.assertEqual((done.code, "no backup of a resource" in done.err), (2, True), done)
        self.assertEqual(self.extract("--ignore-gaps").code, 2)

    def test_nothing_was_captured(self) -> None:
        self.assertIn("no changes were captured", self.assert_at(MINUTE, {}).out)

    def refuses(self, time: int, what: str, versions: dict[int, int]) -> None:
        done = self.extract_at(time)
        self.assertEqual((done.code, os.listdir(self.target)), (1, []), done)
        self.assertIn(what, done.out)
        self.assert_at(time, versions, "--ignore-gaps")

    def test_gaps(self) -> None:
        gap = {"from": NOON + 12 * MINUTE, "to": NOON + 14 * MINUTE, "reason": "a stream was trimmed"}
        self.write_changes(ChangeObject("c", self.story()[:2]), ChangeObject("d", self.story()[2:], gaps=[gap]))
        self.assert_at(12 * MINUTE - 1, {1: 1})
        self.refuses(12 * MINUTE, "(a stream was trimmed)", {1: 1})
        self.refuses(20 * MINUTE, "a stream was trimmed", {1: 2, 2: -1})
        self.write_backup(BACKUP[:-1] + "3", 14 * MINUTE, [[records(range(6))]])
        self.assert_at(15 * MINUTE, {})

    def test_capture_that_began_late(self) -> None:
        self.write_changes(ChangeObject("c", self.story()[1:], since=NOON + MINUTE))
        self.refuses(5 * MINUTE, "2026-01-01T12:00:00.000Z to 2026-01-01T12:01:00.000Z were not captured", {})
        self.refuses(10 * MINUTE, "were not captured", {1: 1})

    def test_capture_that_was_off(self) -> None:
        self.write_changes(
            ChangeObject("c", self.story()[:2]), ChangeObject("d", self.story()[2:], since=NOON + 15 * MINUTE)
        )
        self.assert_at(10 * MINUTE, {1: 1})
        self.refuses(11 * MINUTE, "12:10:00.000Z to 2026-01-01T12:11:00.000Z", {1: 1})
        self.refuses(20 * MINUTE, "12:10:00.000Z to 2026-01-01T12:15:00.000Z", {1: 2, 2: -1})

    def test_replaced_objects(self) -> None:
        parts = [ChangeObject(f"part{n}", self.story()[n : n + 2]) for n in range(6)]
        middle = ChangeObject("middle", self.story()[:4], replaces=[one.key for one in parts[:3]])
        whole = ChangeObject("whole", self.story(), replaces=[middle.key, *(one.key for one in parts[3:])])
        self.write_changes(*parts, middle, whole)
        for number in range(len(parts) + 2):
            self.assertEqual(len(self.listed()), 7)
            self.assert_at(30 * MINUTE, {1: 2, 2: 3, 9: 1})
            if number == 0:
                (self.vault.root / middle.key).write_bytes(b"damaged, and not needed")
            elif number <= len(parts):
                (self.vault.root / parts[number - 1].key).unlink()

    def test_objects_that_are_gone(self) -> None:
        first, second = ChangeObject("first", self.story()[:3]), ChangeObject("second", self.story()[3:])
        second.follows = [first.key]
        self.write_changes(first, second)
        self.assertEqual(len(self.listed()), 7)
        (self.vault.root / first.key).unlink()
        done = self.run_program("changes", "shop")
        self.assertEqual(done.code, 3, done)
        self.assertIn(f"{first.key}: is gone, and a later change object names it", done.err)
        # What has expired was told as missing before it went, and what another one holds too is not missed.
        gap = {"from": first.since, "to": NOON + 20 * MINUTE, "reason": "changes of that time have expired"}
        for third in (
            ChangeObject("third", self.story()[3:4], gaps=[gap]),
            ChangeObject("whole", self.story(), replaces=[first.key]),
        ):
            self.write_changes(third)
            self.listed()
            (self.vault.root / third.key).unlink()

    def test_objects_that_replace_one_another(self) -> None:
        one, other = ChangeObject("one", self.story()[:3]), ChangeObject("other", self.story()[3:])
        one.replaces, other.replaces = [other.key, one.key], [one.key]
        self.write_changes(one, other)
        self.assertEqual(len(self.listed()), 7)

    def test_another_version_of_the_vault_key(self) -> None:
        """Key hashes of changes are always under version 1, those of a backup under the version that it names."""
        newer = b"n" * 32
        self.vault.write_vault_key(2, newer)
        with unittest.mock.patch(f"{__name__}.keyed", lambda name, data: keyed_with(newer, name, data)):
            made = record_layers([[records(range(6))]], started=at(0), completed=at(5000))
        made.manifest["name_key_version"] = 2
        self.vault.write(made)
        self.write_changes(ChangeObject("c", self.story()))
        self.assertEqual(self.findings(), [])
        self.assert_at(25 * MINUTE, {1: 2, 2: -1, 9: 1})

    def test_on_top_of_layers(self) -> None:
        self.write_backup(BACKUP, 0, [[records(range(8))], [{**gone([6, 7]), **records([1], 5)}], [records([1], 0)]])
        self.write_changes(ChangeObject("c", [*self.story(), self.change(6, 22 * MINUTE, 200, None, 4)]))
        self.assert_at(20 * MINUTE, {1: 2, 2: -1})
        self.assert_at(22 * MINUTE, {1: 2, 2: -1, 6: 4})

    def test_streams_that_appeared(self) -> None:
        self.write_changes(ChangeObject("c", self.story()), ChangeObject("d", self.story(), stream="new"))
        done = self.extract_at(25 * MINUTE)
        self.assertEqual(done.code, 0, done)
        lines = (self.target / "new.jsonl").read_bytes().splitlines()
        self.assertEqual(sorted(lines), sorted([value_of(1, 2), value_of(9, 1)]))
        self.assertEqual(self.extract_at(MINUTE, "--stream", "new").code, 2)

    def test_another_key(self) -> None:
        self.write_changes(ChangeObject("c", self.story(), key_names=["/other"]))
        self.refuses(10 * MINUTE, "another key", {})

    def test_flipped_bits(self) -> None:
        one = ChangeObject("c", self.story())
        data = one.sealed().seal()
        for place in range(48, len(data), 3):
            with self.subTest(place=place):
                self.vault.put(one.key, data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
                done = self.run_program("changes", "shop")
                self.assertEqual((done.code, done.err.startswith(one.key)), (3, True), done)
                done = self.extract_at(40 * MINUTE)
                self.assertEqual((done.code, os.listdir(self.target)), (3, []), done)
        self.assertEqual(self.extract_at(40 * MINUTE, "--ignore-gaps").code, 3)
        self.assertTrue((self.target / "orders.jsonl").exists())

    def assert_change_fault(self, one: ChangeObject, what: str, key: str = "") -> None:
        key = key or one.key
        self.vault.put(key, one.sealed().seal())
        done = self.run_program("changes", "shop")
        self.assertEqual((done.code, done.err.startswith(key), what in done.err), (3, True, True), done)
        (self.vault.root / key).unlink()

    def test_faults(self) -> None:
        one = ChangeObject("c", self.story())
        start, _, rest = one.key.rpartition("/")[2].partition("-")
        moved = f"{CHANGE_FOLDER}/{int(start) + 1:015}-{rest}"
        self.assert_change_fault(one, "other times than its name", moved)
        self.assert_change_fault(replace(one, resource="other"), "of another resource")
        ordered = sorted(self.story(), key=lambda change: change.order)
        self.assert_change_fault(replace(one, changes=ordered[::-1], is_sorted=False), "not in order")
        twice = [self.change(1, MINUTE, 5, 0, 1), self.change(1, MINUTE, b"05", 0, 1)]
        self.assert_change_fault(replace(one, changes=twice), "not in order")
        self.assert_change_fault(replace(one, changes=[self.change(1, 0, b"1x", 0, 1)]), "sequence is not digits")
        self.assert_change_fault(replace(one, changes=[self.change(1, 0, b"", 0, 1)]), "sequence is not digits")
        self.assert_change_fault(replace(one, changes=[Change(1, NOON, b"1", b"{", None)]), "is not JSON")

    def test_blocks_of_changes(self) -> None:
        one = ChangeObject("c", [self.change(1, 0, 1, 0, 1)])
        plain = one.changes[0].encode()
        flags = 16 + len(signed(NOON)) + 2
        for wrong, what in (
            (plain[:flags] + b"\4" + plain[flags + 1 :], "unknown flags 0x04"),
            (plain[:-1], "ends too early"),
            (plain + plain, "its fence says 1"),
            (plain.replace(b'["1"]', b'["2"]'), "another key hash than its key"),
            (replace(one.changes[0], id=2).encode(), "with the key hash in its fence"),
            (replace(one.changes[0], time=NOON + 1).encode(), "of other times than the footer"),
        ):
            sealed = one.sealed()
            sealed.blocks = [(PLAIN, wrong)]
            self.vault.put(one.key, sealed.seal())
            done = self.run_program("changes", "shop")
            self.assertEqual((done.code, done.err.startswith(one.key), what in done.err), (3, True, True), done)

    def test_two_changes_under_one_sequence(self) -> None:
        self.write_changes(ChangeObject("c", self.story()), ChangeObject("d", [self.change(1, 10 * MINUTE, 10, 0, 5)]))
        self.assertIn("another change under the sequence", self.run_program("changes", "shop").err)

    def test_damaged_manifests(self) -> None:
        self.write_changes(ChangeObject("c", self.story()))
        self.vault.put("manifests/" + "0" * 26, b"older")
        self.vault.put("manifests/7" + "Z" * 25, b"begun later")
        self.assert_at(10 * MINUTE, {1: 1})
        between = BACKUP[:-1] + "Z"
        self.vault.put(f"manifests/{between}", b"perhaps of the resource")
        done = self.extract_at(10 * MINUTE)
        self.assertEqual((done.code, f"manifests/{between}" in done.out), (3, True), done)


class SafetyTest(VaultTest):
    """A tree that wants to be written elsewhere."""

    def refuse(self, *entries: Entry) -> Outcome:
        made = draft(sorted(entries, key=lambda entry: entry.path))
        del made.manifest["streams"][1:]
        self.vault.write(made)
        done = self.extract()
        self.assertEqual((done.code, done.err.count("\n")), (1, 1), done)
        self.assertEqual(sorted(os.listdir(self.folder)), ["key.json", "out", "vault"])
        return done

    def test_paths_that_lead_elsewhere(self) -> None:
        for path in (b"../evil", b"a/../../evil", b"a//evil", b"./evil", b"a/.", b"/evil", b"file/"):
            with self.subTest(path=path), tempfile.TemporaryDirectory() as name:
                self.target = self.folder / "out"
                self.refuse(Entry(path), Entry(b"good"))
                self.assertTrue((self.target / "good").is_file())
                self.target.rename(Path(name) / "out")

    def test_links_are_not_followed(self) -> None:
        outside = self.folder.resolve()
        link = Entry(b"link", kind=LINK, target=os.fsencode(outside))
        done = self.refuse(link, Entry(b"link/evil"), Entry(b"link/", kind=DIRECTORY, mode=0o700))
        self.assertEqual(done.out.count("not extracted as it is"), 2)
        self.assertTrue((self.target / "link").is_symlink())

    def test_what_a_file_system_cannot_hold(self) -> None:
        entries = (Entry(b"a"), Entry(b"a/b"), Entry(b"n" * 300), Entry(b"z"))
        done = self.refuse(*entries)
        self.assertEqual(done.out.count("not extracted as it is"), 2, done)
        self.assertEqual(sorted(os.listdir(self.target)), ["a", "z"])


if __name__ == "__main__":
    unittest.main()
