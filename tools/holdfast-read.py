#!/usr/bin/env python3
# Licensed under the Apache License, Version 2.0; http://www.apache.org/licenses/LICENSE-2.0
# SPDX-License-Identifier: Apache-2.0
"""Read a Holdfast vault with nothing but its objects and its key.

This is the way to get everything back when there is no Holdfast any more: one file, Python 3.9 or later, and the
libraries `cryptography` and `zstandard`. It was written from docs/vault-format.md alone and shares no code with the
product, so it also says whether that page is enough. It only reads the vault.

    holdfast-read.py --vault DIR --key key.json list
    holdfast-read.py --vault DIR --key key.json show ID
    holdfast-read.py --vault DIR --key key.json extract ID --to DIR [--stream S]
    holdfast-read.py --vault DIR --key key.json extract RESOURCE --at TIME --to DIR [--stream S]
    holdfast-read.py --vault DIR --key key.json changes RESOURCE [--from TIME] [--to TIME] [--stream S]
    holdfast-read.py --vault DIR --key key.json verify ID

Exit codes: 0 all is well, 1 it could not be done, 2 the input is wrong, 3 something in the vault is damaged.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import bisect
import datetime
import enum
import errno
import hashlib
import heapq
import hmac
import io
import itertools
import json
import os
import re
import stat
import sys
import time
import urllib.parse
import zlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NamedTuple, TypeVar

try:
    import zstandard
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as missing:
    sys.exit(f"holdfast-read: {missing}; run: pip install cryptography zstandard")

FORMAT = 1
HEADER_MAGIC = b"HOLDFAST"
HEADER_SIZE = 48
TRAILER_MAGIC = b"HFND"
TRAILER_SIZE = 16
TAG_SIZE = 16
KEY_SIZE = 32
SALT_SIZE = 12
HASH_SIZE = 32
ID_SIZE = 16
KEY_HASH_SIZE = 16
STATE_ROW_SIZE = 32
FOOTER_NUMBER = 2**64 - 1
SUM_MASK = 2**256 - 1
PART_SIZE = 16 << 20
TAIL_SIZE = 64 << 10
OPEN_OBJECTS = 64
BLOCK_CACHE_SIZE = 64 << 20
HASHES_AT_ONCE = 1 << 20
# How far the times of changes may be from those of backups: clocks may be wrong by ten minutes, and streams tell whole
# seconds. A change that is applied again changes nothing.
CLOCK_MARGIN_MS = 11 * 60_000

ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
HEX_ID = re.compile(r"[0-9a-f]{32}")
HEX_HASH = re.compile(r"[0-9a-f]{64}")
CHANGE_NAME = re.compile(r"([0-9]{15})-([0-9]{15})-[0-9]-([0-9a-f]{32})")
RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-][0-9]{2}:[0-9]{2}))"
)

T = TypeVar("T")


class ExitCode(enum.IntEnum):
    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    DAMAGE = 3


class ReaderError(Exception):
    """Ends the program with one line and an exit code."""

    exit_code = ExitCode.FAILED


class BadInput(ReaderError):
    exit_code = ExitCode.BAD_INPUT


class Damage(ReaderError):
    """An object of the vault is missing, or is not what was written."""

    exit_code = ExitCode.DAMAGE

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{key}: {what}")
        self.key = key
        self.what = what


class Malformed(ValueError):
    """Bytes that the specification does not allow; whoever knows which object they are from makes it a `Damage`."""


class Refused(Exception):
    """An entry that is sound but cannot, or must not, be written to this file system."""


def printable(text: str | bytes) -> str:
    """Text for a terminal: control characters, and bytes that are no UTF-8, are escaped."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Cursor:
    """Takes the encodings of section 2 from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.data):
            raise Malformed("ends too early")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def u8(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise Malformed("a number is longer than 64 bits")
        if value >> 64:
            raise Malformed("a number is larger than 64 bits")
        return value

    def number32(self) -> int:
        value = self.number()
        if value >> 32:
            raise Malformed("a number is larger than 32 bits")
        return value

    def signed(self) -> int:
        value = self.number()
        return (value >> 1) ^ -(value & 1)

    def sized(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        try:
            return self.sized().decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("a text is not UTF-8") from None

    def more(self) -> bool:
        return self.position < len(self.data)

    def finish(self) -> None:
        if self.more():
            raise Malformed("has bytes left over")


class ObjectKind(enum.IntEnum):
    PACK = 1
    MANIFEST = 2
    INDEX = 3
    CHANGES = 4


class SegmentKind(enum.IntEnum):
    TREE = 1
    RUN = 2
    CHUNK_LISTS = 3
    STATE_TABLE = 4
    DELTA_TREE = 5
    DELTA_RUN = 6
    CHANGES = 7


TREES = (SegmentKind.TREE, SegmentKind.DELTA_TREE)
RUNS = (SegmentKind.RUN, SegmentKind.DELTA_RUN)
DELTAS = (SegmentKind.DELTA_TREE, SegmentKind.DELTA_RUN)


class EntryKind(enum.IntEnum):
    FILE = 0
    DIRECTORY = 1
    LINK = 2
    TOMBSTONE = 3


class Fence(NamedTuple):
    first: bytes
    things: int


@dataclass(frozen=True)
class Segment:
    """A segment as its object's footer describes it; of the members from `packs` on each kind has its own."""

    kind: SegmentKind
    stream: int
    task: int
    sequence: int
    first_block: int
    fences: tuple[Fence, ...]
    packs: tuple[bytes, ...] = ()
    files: int = 0
    stores_keys: bool = False
    added: int = 0
    changed: int = 0
    deleted: int = 0
    byte_count: int = 0
    digest: bytes = b""
    description: bytes = b""
    earliest: int = 0
    latest: int = 0
    last: bytes = b""

    @property
    def things(self) -> int:
        return sum(fence.things for fence in self.fences)

    def numbered_fences(self) -> Iterator[tuple[int, Fence]]:
        return enumerate(self.fences, self.first_block)


class Block(NamedTuple):
    offset: int
    sealed: int
    plain: int


@dataclass(frozen=True)
class Footer:
    blocks: tuple[Block, ...]
    segments: tuple[Segment, ...]


def parse_footer(plain: bytes) -> Footer:
    cursor = Cursor(plain)
    blocks: list[Block] = []
    offset = HEADER_SIZE
    for _ in range(cursor.number()):
        block = Block(offset, cursor.number32(), cursor.number32())
        blocks.append(block)
        offset += block.sealed
    segments = tuple(parse_segment(cursor, len(blocks)) for _ in range(cursor.number()))
    cursor.finish()
    end = 0
    for segment in sorted(segments, key=lambda one: one.first_block):
        if segment.fences and segment.first_block < end:
            raise Malformed("has segments that overlap")
        end = max(end, segment.first_block + len(segment.fences))
    return Footer(tuple(blocks), segments)


def parse_segment(cursor: Cursor, blocks: int) -> Segment:
    kind = parse_enum(SegmentKind, cursor.u8(), "segment")
    stream, task, sequence = cursor.number32(), cursor.number32(), cursor.number32()
    summary = parse_summary(kind, cursor)
    first_block = cursor.number32()
    fences = tuple(Fence(cursor.sized(), cursor.number32()) for _ in range(cursor.number()))
    if first_block + len(fences) > blocks:
        raise Malformed("a segment reaches past the last block")
    return Segment(kind, stream, task, sequence, first_block, fences, **summary)


def parse_summary(kind: SegmentKind, cursor: Cursor) -> dict[str, Any]:
    """What a segment has between its place and its blocks, by its kind."""
    summary: dict[str, Any] = {}
    if kind is SegmentKind.CHANGES:
        description, earliest, latest = cursor.sized(), cursor.signed(), cursor.signed()
        return {"description": description, "earliest": earliest, "latest": latest, "last": cursor.sized()}
    if kind in TREES:
        ids = cursor.take(ID_SIZE * cursor.number())
        summary["packs"] = tuple(ids[at : at + ID_SIZE] for at in range(0, len(ids), ID_SIZE))
    elif kind in RUNS:
        summary["stores_keys"] = parse_bool(cursor)
    else:
        return summary
    if kind in DELTAS:
        summary.update(added=cursor.number(), changed=cursor.number(), deleted=cursor.number())
    elif kind is SegmentKind.TREE:
        summary["files"] = cursor.number()
    elif cursor.number():
        raise Malformed("has tombstones in a run that is not a delta")
    summary.update(byte_count=cursor.number(), digest=cursor.take(HASH_SIZE), last=cursor.sized())
    return summary


E = TypeVar("E", bound=enum.IntEnum)


def parse_enum(kinds: type[E], value: int, what: str) -> E:
    try:
        return kinds(value)
    except ValueError:
        raise Malformed(f"has a {what} of the unknown kind {value}") from None


def parse_bool(cursor: Cursor) -> bool:
    value = cursor.u8()
    if value > 1:
        raise Malformed(f"has {value} for yes or no")
    return value == 1


class Extent(NamedTuple):
    pack: int
    block: int
    offset: int
    length: int


@dataclass(frozen=True)
class Entry:
    """A file, a part of one, a directory or a link, with the digest that the format gives it; or a tombstone."""

    kind: EntryKind
    path: bytes
    digest: bytes
    mode: int | None = None
    mtime_ns: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    is_part: bool = False
    size: int = 0
    offset: int = 0
    length: int = 0
    sha256: bytes = b""
    extents: tuple[Extent, ...] = ()
    target: bytes = b""

    @property
    def end(self) -> int:
        return self.offset + self.length

    @property
    def is_later_part(self) -> bool:
        return self.is_part and self.offset > 0

    @property
    def name(self) -> str:
        return printable(self.path)


def parse_tree_block(plain: bytes) -> list[Entry]:
    return parse_entries(plain, in_delta=False)


def parse_delta_tree_block(plain: bytes) -> list[Entry]:
    return parse_entries(plain, in_delta=True)


def parse_entries(plain: bytes, in_delta: bool) -> list[Entry]:
    cursor = Cursor(plain)
    entries = []
    while cursor.more():
        entries.append(parse_entry(cursor, in_delta))
    return entries


def parse_entry(cursor: Cursor, in_delta: bool) -> Entry:
    start = cursor.position
    flags = cursor.u8()
    if flags == EntryKind.TOMBSTONE and in_delta:
        return Entry(EntryKind.TOMBSTONE, cursor.sized(), b"")
    kind = parse_enum(EntryKind, flags & 0x03, "entry")
    if flags & ~0x73 or kind is EntryKind.TOMBSTONE:
        raise Malformed(f"has an entry with the unknown flags {flags:#04x}")
    is_part = bool(flags & 0x40)
    if is_part and kind is not EntryKind.FILE:
        raise Malformed("has a part of something that is no file")
    path = cursor.sized()
    mode = cursor.number32() if flags & 0x10 else None
    mtime_ns = parse_mtime(cursor) if flags & 0x20 else None
    attributes = tuple((cursor.text(), cursor.text()) for _ in range(cursor.number()))
    rest: dict[str, Any] = {}
    if kind is EntryKind.FILE:
        rest = parse_file(cursor, is_part)
    elif kind is EntryKind.LINK:
        rest["target"] = cursor.sized()
    proved_end = cursor.position
    if rest.get("length"):
        rest["extents"] = parse_extents(cursor, rest["length"])
    digest = hashlib.sha256(cursor.data[start:proved_end]).digest()
    return Entry(kind, path, digest, mode, mtime_ns, attributes, **rest)


def parse_mtime(cursor: Cursor) -> int:
    seconds, nanoseconds = cursor.signed(), cursor.number32()
    if nanoseconds >= 10**9:
        raise Malformed("has an entry with a second of nanoseconds or more")
    return seconds * 10**9 + nanoseconds


def parse_file(cursor: Cursor, is_part: bool) -> dict[str, Any]:
    size = cursor.number()
    offset, length = (cursor.number(), cursor.number()) if is_part else (0, size)
    sha256 = cursor.take(HASH_SIZE) if length else b""
    return {"is_part": is_part, "size": size, "offset": offset, "length": length, "sha256": sha256}


def parse_extents(cursor: Cursor, length: int) -> tuple[Extent, ...]:
    extents = tuple(
        Extent(cursor.number32(), cursor.number32(), cursor.number32(), cursor.number32())
        for _ in range(cursor.number())
    )
    if any(extent.length == 0 for extent in extents):
        raise Malformed("has an empty extent")
    if sum(extent.length for extent in extents) != length:
        raise Malformed("has extents that do not add up to their part")
    return extents


class Record(NamedTuple):
    key: bytes | None
    value: bytes

    def digest(self) -> bytes:
        if self.key is None:
            return hashlib.sha256(self.value).digest()
        return hashlib.sha256(encode_number(len(self.key)) + self.key + self.value).digest()


class Tombstone(NamedTuple):
    key_hash: bytes


def encode_number(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def parse_run_block(plain: bytes, stores_keys: bool) -> list[Record]:
    cursor = Cursor(plain)
    records = []
    while cursor.more():
        key = cursor.sized() if stores_keys else None
        records.append(Record(key, cursor.sized()))
    return records


def parse_delta_run_block(plain: bytes, stores_keys: bool) -> list[Record | Tombstone]:
    cursor = Cursor(plain)
    things: list[Record | Tombstone] = []
    while cursor.more():
        if parse_bool(cursor):
            things.append(Tombstone(cursor.take(KEY_HASH_SIZE)))
        else:
            key = cursor.sized() if stores_keys else None
            things.append(Record(key, cursor.sized()))
    return things


class Chunk(NamedTuple):
    name: bytes
    length: int


def parse_chunk_lists(plain: bytes) -> list[list[Chunk]]:
    cursor = Cursor(plain)
    lists = []
    while cursor.more():
        lists.append([Chunk(cursor.take(ID_SIZE), cursor.number32()) for _ in range(cursor.number())])
    return lists


class StateRow(NamedTuple):
    key_hash: bytes
    digest_start: bytes


def parse_state_table(plain: bytes) -> list[StateRow]:
    if len(plain) % STATE_ROW_SIZE:
        raise Malformed("has part of a row")
    rows = (plain[at : at + STATE_ROW_SIZE] for at in range(0, len(plain), STATE_ROW_SIZE))
    return [StateRow(row[:KEY_HASH_SIZE], row[KEY_HASH_SIZE:]) for row in rows]


class Change(NamedTuple):
    """A change of a record. `before` and `after` are values, or nothing where there was no record."""

    key_hash: bytes
    time: int
    sequence: bytes
    key: bytes
    before: bytes | None
    after: bytes | None

    @property
    def order(self) -> tuple[bytes, int, bytes]:
        """By key hash, then by the sequence as a number, whatever its length."""
        digits = self.sequence.lstrip(b"0")
        return self.key_hash, len(digits), digits


def parse_changes(plain: bytes) -> list[Change]:
    cursor = Cursor(plain)
    changes = []
    while cursor.more():
        key_hash, time_ms, sequence = cursor.take(KEY_HASH_SIZE), cursor.signed(), cursor.sized()
        if not sequence.isdigit():
            raise Malformed("has a change whose sequence is not digits")
        flags = cursor.u8()
        if flags & ~3:
            raise Malformed(f"has a change with the unknown flags {flags:#04x}")
        key = cursor.sized()
        before = cursor.sized() if flags & 1 else None
        after = cursor.sized() if flags & 2 else None
        changes.append(Change(key_hash, time_ms, sequence, key, before, after))
    return changes


@dataclass
class Tally:
    """Counts and the sum of digests of what was read; not `complete` once something could not be read."""

    things: int = 0
    files: int = 0
    byte_count: int = 0
    sum: int = 0
    tombstones: int = 0
    complete: bool = True

    def count(self, size: int, digest: bytes, files: int = 0) -> None:
        self.things += 1
        self.files += files
        self.byte_count += size
        self.sum = (self.sum + int.from_bytes(digest, "little")) & SUM_MASK

    def add(self, other: Tally) -> None:
        self.things += other.things
        self.files += other.files
        self.byte_count += other.byte_count
        self.sum = (self.sum + other.sum) & SUM_MASK
        self.complete = self.complete and other.complete

    @property
    def digest(self) -> bytes:
        return self.sum.to_bytes(HASH_SIZE, "little")


class Store:
    """The objects of a vault in a directory."""

    def __init__(self, root: str) -> None:
        self.root = root

    def size(self, key: str) -> int:
        with self._reading(key):
            return os.stat(self._path(key)).st_size

    def read(self, key: str, offset: int, length: int) -> bytes:
        with self._reading(key), open(self._path(key), "rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise Damage(key, f"ends at byte {offset + len(data)}, before {offset + length}")
        return data

    def read_all(self, key: str) -> bytes:
        return self.read(key, 0, self.size(key))

    def parts(self, key: str) -> Generator[bytes, None, None]:
        with self._reading(key), open(self._path(key), "rb") as file:
            while part := file.read(PART_SIZE):
                yield part

    def names(self, folder: str) -> list[str]:
        with self._reading(folder):
            try:
                return sorted(os.listdir(self._path(folder)))
            except FileNotFoundError:
                return []

    def _path(self, key: str) -> str:
        return os.path.join(self.root, *key.split("/"))

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise Damage(key, "is missing") from None
        except OSError as error:
            kind = Damage(key, f"cannot be read: {error.strerror}")
            raise kind if error.errno in (errno.EIO, errno.EISDIR) else ReaderError(str(kind)) from None


def derive_key(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=info).derive(secret)


def unseal(secret: bytes, nonce: bytes, sealed: bytes, additional: bytes) -> bytes:
    if len(sealed) < TAG_SIZE:
        raise Malformed("is shorter than its tag")
    try:
        return AESGCM(secret).decrypt(nonce, sealed, additional)
    except InvalidTag:
        raise Malformed("does not open") from None
    except OverflowError:
        raise Malformed("is larger than this program can open") from None


def json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("is not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("is not a JSON object")
    return value


def member(owner: Any, name: str, kind: type[T], default: T | None = None) -> T:
    """A member of a JSON object, which must be of a type; one without a default must be there."""
    if not isinstance(owner, dict):
        raise Malformed(f"has something else where an object with {name!r} belongs")
    value = owner.get(name, default)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Malformed(f"has no {name!r} of the right type")
    return value


def hex_member(owner: Any, name: str, pattern: re.Pattern[str]) -> bytes:
    return from_hex(member(owner, name, str), pattern, name)


def from_hex(value: Any, pattern: re.Pattern[str], name: str) -> bytes:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(f"has no hexadecimal {name!r} of the right length")
    return bytes.fromhex(value)


def from_base64(text: str | bytes, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"has a {name!r} that is not base64") from None


class KeyFile(NamedTuple):
    id: str
    secret: bytes


def read_input(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadInput(f"{printable(path)}: {error.strerror}") from None


def read_key_file(path: str) -> KeyFile:
    try:
        value = json_object(read_input(path))
        if member(value, "kind", str) != "holdfast-key" or member(value, "version", int) != 1:
            raise Malformed("is not a Holdfast key file of version 1")
        secret = from_base64(member(value, "secret", str), "secret")
        if len(secret) != KEY_SIZE:
            raise Malformed(f"has a secret of {len(secret)} bytes, not {KEY_SIZE}")
        return KeyFile(member(value, "id", str), secret)
    except Malformed as error:
        raise BadInput(f"{printable(path)}: {error}") from None


def read_vault_key(argument: str) -> tuple[int, bytes]:
    """A vault key that was unwrapped elsewhere, from VERSION=FILE."""
    version, equals, path = argument.partition("=")
    if not equals or not version.isdecimal():
        raise BadInput(f"--vault-key takes VERSION=FILE, not {printable(argument)!r}")
    try:
        key = from_base64(read_input(path).strip(), "vault key")
    except Malformed as error:
        raise BadInput(f"{printable(path)}: {error}") from None
    if len(key) != KEY_SIZE:
        raise BadInput(f"{printable(path)}: has {len(key)} bytes in base64, not {KEY_SIZE}")
    return int(version), key


class KeyRing:
    """The versions of the vault key, unwrapped when they are first asked for."""

    def __init__(
        self, store: Store, vault_id: bytes, key_files: Sequence[KeyFile], vault_keys: Mapping[int, bytes]
    ) -> None:
        self._store = store
        self._vault_id = vault_id
        self._key_files = {file.id: file for file in key_files}
        self._vault_keys = dict(vault_keys)

    def vault_key(self, version: int, wanted_by: str) -> bytes:
        if version not in self._vault_keys:
            key = f"keys/{version:08}.json"
            if f"{version:08}.json" not in self._store.names("keys"):
                raise Damage(wanted_by, f"needs version {version} of the vault key, and there is no {key}")
            try:
                self._vault_keys[version] = self._unwrap(key, version)
            except Malformed as error:
                raise Damage(key, str(error)) from None
        return self._vault_keys[version]

    def _unwrap(self, key: str, version: int) -> bytes:
        value = json_object(self._store.read_all(key))
        if member(value, "format", int) != FORMAT or member(value, "version", int) != version:
            raise Malformed(f"is not version {version} of a vault key of format {FORMAT}")
        if hex_member(value, "vault", HEX_ID) != self._vault_id:
            raise Malformed("is a key of another vault")
        wrapped_by = member(value, "wrapped_by", dict)
        kind, wrapper = member(wrapped_by, "kind", str), member(wrapped_by, "key", str)
        if kind == "kms":
            raise BadInput(
                f"{key}: is wrapped by the KMS key {printable(wrapper)}; "
                f"have KMS decrypt it and give the result as --vault-key {version}=FILE"
            )
        if kind != "local":
            raise BadInput(f"{key}: is wrapped by an unknown kind of key, {printable(kind)!r}")
        file = self._key_files.get(wrapper)
        if file is None:
            raise BadInput(f"{key}: is wrapped by the key file with id {printable(wrapper)}; give that one with --key")
        return self._open_wrapped(file, version, from_base64(member(value, "wrapped", str), "wrapped"))

    def _open_wrapped(self, file: KeyFile, version: int, wrapped: bytes) -> bytes:
        salt, sealed = wrapped[:SALT_SIZE], wrapped[SALT_SIZE:]
        if len(wrapped) != SALT_SIZE + KEY_SIZE + TAG_SIZE:
            raise Malformed(f"wraps {len(wrapped)} bytes, not {SALT_SIZE + KEY_SIZE + TAG_SIZE}")
        additional = b"holdfast/1/vault-key" + self._vault_id + version.to_bytes(4, "little")
        try:
            return unseal(derive_key(file.secret, salt, b"holdfast/1/wrap"), bytes(12), sealed, additional)
        except Malformed:
            raise Malformed("does not open: it is damaged, or the key file has another secret") from None


def decompress(data: bytes, plain_length: int) -> bytes:
    """The plain data of a sealed block that was opened, codec and payload."""
    if not data:
        raise Malformed("has no codec")
    codec, payload = data[0], data[1:]
    if codec == 0:
        plain = payload
    elif codec == 1:
        plain = unzstd(payload, plain_length)
    elif codec == 2:
        plain = gunzip(payload, plain_length)
    else:
        raise Malformed(f"has the unknown codec {codec}")
    if len(plain) != plain_length:
        raise Malformed(f"has {len(plain)} plain bytes, not {plain_length}")
    return plain


def zstd_plain_length(payload: bytes) -> int | None:
    try:
        length = zstandard.get_frame_parameters(payload).content_size
    except zstandard.ZstdError:
        raise Malformed("is not a Zstandard frame") from None
    return None if length == zstandard.CONTENTSIZE_UNKNOWN else length


def unzstd(payload: bytes, plain_length: int) -> bytes:
    if zstd_plain_length(payload) not in (None, plain_length):
        raise Malformed("has a Zstandard frame of another length")
    try:
        return zstandard.ZstdDecompressor().decompress(
            payload, max_output_size=plain_length, read_across_frames=False, allow_extra_data=False
        )
    except zstandard.ZstdError:
        raise Malformed("is not one Zstandard frame") from None


def gunzip(payload: bytes, plain_length: int) -> bytes:
    gzip = zlib.decompressobj(wbits=31)
    try:
        plain = gzip.decompress(payload, plain_length + 1)
    except zlib.error:
        raise Malformed("is not a gzip member") from None
    if not gzip.eof or gzip.unused_data:
        raise Malformed("is not one gzip member")
    return plain


def decode_footer(data: bytes) -> Footer:
    codec = data[0] if data else None
    if codec == 0:
        return parse_footer(data[1:])
    if codec != 1:
        raise Malformed(f"has the codec {codec}")
    plain_length = zstd_plain_length(data[1:])
    if plain_length is None:
        raise Malformed("does not carry its plain length")
    return parse_footer(decompress(data, plain_length))


def object_key(kind: ObjectKind, id: bytes) -> str:
    folder = {ObjectKind.PACK: "packs", ObjectKind.INDEX: "index"}[kind]
    return f"{folder}/{id.hex()[:2]}/{id.hex()}"


def make_header(kind: ObjectKind, version: int, vault_id: bytes, id: bytes) -> bytes:
    return HEADER_MAGIC + bytes([FORMAT, kind, 0, 0]) + version.to_bytes(4, "little") + vault_id + id


@dataclass(frozen=True)
class SealedObject:
    """A sealed object whose footer has opened. It holds no open file."""

    store: Store
    key: str
    header: bytes
    secret: bytes
    footer: Footer

    def block(self, number: int) -> bytes:
        """The plain bytes of a block, all of them authenticated."""
        if number >= len(self.footer.blocks):
            raise Damage(self.key, f"has no block {number}")
        block = self.footer.blocks[number]
        sealed = self.store.read(self.key, block.offset, block.sealed)
        try:
            return decompress(unseal_numbered(self.secret, self.header, number, sealed), block.plain)
        except Malformed as error:
            raise Damage(self.key, f"block {number} {error}") from None

    def parse(self, number: int, parser: Callable[[bytes], Sequence[T]], fence: Fence) -> Sequence[T]:
        """The things in a block of a segment, as many as its fence says."""
        try:
            things = parser(self.block(number))
            if len(things) != fence.things:
                raise Malformed(f"holds {len(things)} things, and its fence says {fence.things}")
            return things
        except Malformed as error:
            raise Damage(self.key, f"block {number} {error}") from None


def unseal_numbered(secret: bytes, header: bytes, number: int, sealed: bytes) -> bytes:
    place = number.to_bytes(8, "little")
    return unseal(secret, bytes(4) + place, sealed, header + place)


class Vault:
    """The vault: its keys, and its sealed objects, of which it keeps some footers and recently read blocks."""

    def __init__(
        self, store: Store, vault_id: bytes, key_files: Sequence[KeyFile], vault_keys: Mapping[int, bytes]
    ) -> None:
        self.store = store
        self.id = vault_id
        self._keys = KeyRing(store, vault_id, key_files, vault_keys)
        self._objects: OrderedDict[str, SealedObject] = OrderedDict()
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._blocks_size = 0

    @classmethod
    def open(cls, root: str, key_files: Sequence[KeyFile], vault_keys: Mapping[int, bytes]) -> Vault:
        store = Store(root)
        if not os.path.isfile(os.path.join(root, "holdfast.json")):
            raise BadInput(f"{printable(root)} is not a vault: it has no holdfast.json")
        try:
            value = json_object(store.read_all("holdfast.json"))
            format, vault_id = member(value, "format", int), hex_member(value, "vault", HEX_ID)
        except Malformed as error:
            raise Damage("holdfast.json", str(error)) from None
        if format != FORMAT:
            raise BadInput(f"holdfast.json: the vault has format {format}, and this program reads format {FORMAT}")
        return cls(store, vault_id, key_files, vault_keys)

    def derive(self, version: int, info: bytes, wanted_by: str) -> bytes:
        return derive_key(self._keys.vault_key(version, wanted_by), self.id, info)

    def open_object(self, kind: ObjectKind, id: bytes) -> SealedObject:
        return self._open_cached(object_key(kind, id), kind, id)

    def open_changes(self, key: str, id: bytes) -> SealedObject:
        return self._open(key, ObjectKind.CHANGES, id)

    def _open_cached(self, key: str, kind: ObjectKind, id: bytes) -> SealedObject:
        if key in self._objects:
            self._objects.move_to_end(key)
        else:
            self._objects[key] = self._open(key, kind, id)
            if len(self._objects) > OPEN_OBJECTS:
                self._objects.popitem(last=False)
        return self._objects[key]

    def open_manifest(self, backup: str) -> SealedObject:
        key = f"manifests/{backup}"
        header = self.store.read(key, 0, HEADER_SIZE)
        opened = self._open(key, ObjectKind.MANIFEST, header[-ID_SIZE:])
        if opened.header != header:
            raise Damage(key, "has a header that is not its own")
        return opened

    def block(self, holder: SealedObject, number: int) -> bytes:
        """As `SealedObject.block`, for blocks that are read again and again."""
        place = (holder.key, number)
        if place in self._blocks:
            self._blocks.move_to_end(place)
            return self._blocks[place]
        plain = holder.block(number)
        self._blocks[place] = plain
        self._blocks_size += len(plain)
        while self._blocks_size > BLOCK_CACHE_SIZE and len(self._blocks) > 1:
            self._blocks_size -= len(self._blocks.popitem(last=False)[1])
        return plain

    def _open(self, key: str, kind: ObjectKind, id: bytes) -> SealedObject:
        size = self.store.size(key)
        tail = self.store.read(key, max(0, size - TAIL_SIZE), min(size, TAIL_SIZE))
        try:
            length, version = parse_trailer(tail[-TRAILER_SIZE:])
            end = size - TRAILER_SIZE
            if length > end - HEADER_SIZE:
                raise Malformed("is cut: it has no room for its footer")
            if length + TRAILER_SIZE <= len(tail):
                sealed = tail[-TRAILER_SIZE - length : -TRAILER_SIZE]
            else:
                sealed = self.store.read(key, end - length, length)
            header = make_header(kind, version, self.id, id)
            secret = derive_key(self._keys.vault_key(version, key), id, b"holdfast/1/object")
            footer = self._open_footer(secret, header, sealed)
            expected = HEADER_SIZE + sum(block.sealed for block in footer.blocks) + length + TRAILER_SIZE
            if expected != size:
                raise Malformed(f"has {size} bytes, and its footer says {expected}")
        except Malformed as error:
            raise Damage(key, str(error)) from None
        return SealedObject(self.store, key, header, secret, footer)

    @staticmethod
    def _open_footer(secret: bytes, header: bytes, sealed: bytes) -> Footer:
        try:
            return decode_footer(unseal_numbered(secret, header, FOOTER_NUMBER, sealed))
        except Malformed as error:
            raise Malformed(f"the footer {error}") from None


def parse_trailer(trailer: bytes) -> tuple[int, int]:
    """The length of the footer, and the version of the vault key."""
    cursor = Cursor(trailer)
    length = int.from_bytes(cursor.take(4), "little")
    version = int.from_bytes(cursor.take(4), "little")
    if cursor.take(8) != bytes(4) + TRAILER_MAGIC:
        raise Malformed("does not end as a sealed object does: it is cut, or is something else")
    return length, version


@dataclass(frozen=True)
class ObjectRef:
    kind: ObjectKind
    id: bytes
    size: int
    parts: tuple[bytes, ...]

    @property
    def key(self) -> str:
        return object_key(self.kind, self.id)


@dataclass(frozen=True)
class SegmentRef:
    object: int
    segment: int
    first: str
    last: str
    count: int
    byte_count: int


@dataclass(frozen=True)
class Layer:
    """A layer of a stream. A delta's sums are its numbers of things added, changed and deleted."""

    is_delta: bool
    backup: str
    segments: tuple[SegmentRef, ...]
    index: tuple[SegmentRef, ...]
    sums: tuple[int, int, int]


@dataclass(frozen=True)
class Stream:
    place: int
    name: str
    is_tree: bool
    encoding: str
    key: tuple[Any, ...]
    schema: Any
    records: int
    files: int
    byte_count: int
    digest: bytes
    layers: tuple[Layer, ...]

    @property
    def title(self) -> str:
        return printable(self.name)

    @property
    def counts(self) -> str:
        things = f"{self.files} files" if self.is_tree else f"{self.records} records"
        return f"{things}, {self.byte_count} bytes"


@dataclass(frozen=True)
class Manifest:
    key: str
    json: dict[str, Any]
    id: str
    resource: str
    type: str
    base: str
    started_at: str
    completed_at: str
    name_key_version: int
    objects: tuple[ObjectRef, ...]
    streams: tuple[Stream, ...]
    warnings: tuple[Any, ...]


def read_manifest(vault: Vault, backup: str) -> Manifest:
    sealed = vault.open_manifest(backup)
    plain = b"".join(sealed.block(number) for number in range(len(sealed.footer.blocks)))
    try:
        value = json_object(plain)
        if member(value, "format", int) != FORMAT:
            raise Malformed(f"is not a manifest of format {FORMAT}")
        if hex_member(value, "vault", HEX_ID) != vault.id:
            raise Malformed("is a manifest of another vault")
        if member(value, "id", str) != backup:
            raise Malformed(f"is the manifest of another backup, {printable(member(value, 'id', str))}")
        return parse_manifest(sealed.key, value)
    except Malformed as error:
        raise Damage(sealed.key, str(error)) from None


def parse_manifest(key: str, value: dict[str, Any]) -> Manifest:
    return Manifest(
        key=key,
        json=value,
        id=member(value, "id", str),
        resource=member(value, "resource", str),
        type=member(value, "type", str),
        base=member(value, "base", str, ""),
        started_at=member(value, "started_at", str),
        completed_at=member(value, "completed_at", str),
        name_key_version=member(value, "name_key_version", int),
        objects=tuple(parse_object_ref(one) for one in member(value, "objects", list)),
        streams=tuple(parse_stream(place, one) for place, one in enumerate(member(value, "streams", list))),
        warnings=tuple(member(value, "warnings", list, [])),
    )


def parse_object_ref(value: Any) -> ObjectRef:
    kinds = {"pack": ObjectKind.PACK, "index": ObjectKind.INDEX}
    kind = member(value, "kind", str)
    if kind not in kinds:
        raise Malformed(f"names an object of the unknown kind {printable(kind)!r}")
    parts = tuple(from_hex(part, HEX_HASH, "parts") for part in member(value, "parts", list))
    return ObjectRef(kinds[kind], hex_member(value, "id", HEX_ID), member(value, "size", int), parts)


def parse_stream(place: int, value: Any) -> Stream:
    kind = member(value, "kind", str)
    if kind not in ("tree", "records"):
        raise Malformed(f"has a stream of the unknown kind {printable(kind)!r}")
    layers = tuple(parse_layer(layer) for layer in member(value, "layers", list))
    if any(layer.is_delta != (at > 0) for at, layer in enumerate(layers)):
        raise Malformed("has a stream whose layers are not one base and deltas above it")
    return Stream(
        place=place,
        name=member(value, "name", str),
        is_tree=kind == "tree",
        encoding=member(value, "encoding", str, ""),
        key=tuple(member(value, "key", list, [])),
        schema=value.get("schema"),
        records=member(value, "records", int, 0),
        files=member(value, "files", int, 0),
        byte_count=member(value, "bytes", int, 0),
        digest=hex_member(value, "digest", HEX_HASH),
        layers=layers,
    )


def parse_layer(value: Any) -> Layer:
    kind = member(value, "kind", str)
    if kind not in ("base", "delta"):
        raise Malformed(f"has a layer of the unknown kind {printable(kind)!r}")
    is_delta = kind == "delta"
    added, changed, deleted = (member(value, name, int) if is_delta else 0 for name in ("added", "changed", "deleted"))
    return Layer(
        is_delta=is_delta,
        backup=member(value, "backup", str),
        segments=tuple(parse_segment_ref(ref) for ref in member(value, "segments", list)),
        index=tuple(parse_segment_ref(ref) for ref in member(value, "index", list)),
        sums=(added, changed, deleted),
    )


def parse_segment_ref(value: Any) -> SegmentRef:
    return SegmentRef(
        object=member(value, "object", int),
        segment=member(value, "segment", int),
        first=member(value, "first", str),
        last=member(value, "last", str),
        count=member(value, "count", int),
        byte_count=member(value, "bytes", int),
    )


class Finding(NamedTuple):
    """Something wrong in an object, and in which stream if that is known."""

    object: str
    stream: str
    what: str

    def __str__(self) -> str:
        stream = f"stream {printable(self.stream)!r}: " if self.stream else ""
        return f"{self.object}: {stream}{self.what}"


class Report:
    """What is damaged, and what was refused. Each finding is shown once, when it is made."""

    def __init__(self, show: Callable[[Finding], None]) -> None:
        self._show = show
        self._damage: dict[Finding, None] = {}
        self._refused: dict[Finding, None] = {}

    def damage(self, object: str, what: str, stream: str = "") -> None:
        self._add(self._damage, Finding(object, stream, what))

    def refused(self, object: str, what: str, stream: str) -> None:
        self._add(self._refused, Finding(object, stream, what))

    def damages(self) -> list[Finding]:
        return list(self._damage)

    def refusals(self) -> list[Finding]:
        return list(self._refused)

    def _add(self, findings: dict[Finding, None], finding: Finding) -> None:
        if finding not in findings:
            findings[finding] = None
            self._show(finding)


@dataclass(frozen=True)
class OpenSegment:
    holder: SealedObject
    segment: Segment


class Backup:
    """A backup in a vault, and the report to which reading it adds."""

    def __init__(self, vault: Vault, manifest: Manifest, report: Report) -> None:
        self.vault = vault
        self.manifest = manifest
        self.report = report

    def open_segment(self, stream: Stream, layer: Layer, ref: SegmentRef, kind: SegmentKind) -> OpenSegment | None:
        """The segment that a manifest names, or nothing and a finding.

        A segment knows its stream by the place that it had in the backup that wrote it.
        """
        try:
            if not 0 <= ref.object < len(self.manifest.objects):
                raise Damage(self.manifest.key, f"a segment is in object {ref.object}, which is not listed")
            listed = self.manifest.objects[ref.object]
            holder = self.vault.open_object(listed.kind, listed.id)
            segments = holder.footer.segments
            if not 0 <= ref.segment < len(segments):
                raise Damage(holder.key, f"has no segment {ref.segment}")
            segment = segments[ref.segment]
            is_elsewhere = segment.stream != stream.place and layer.backup == self.manifest.id
            if segment.kind is not kind or is_elsewhere:
                raise Damage(holder.key, f"segment {ref.segment} is of another kind or stream than the manifest says")
        except Damage as damage:
            self.report.damage(damage.key, damage.what, stream.name)
            return None
        return OpenSegment(holder, segment)

    def content(self, opened: OpenSegment, entry: Entry) -> Iterator[bytes]:
        """The content of a file's entry, piece by piece; a wrong hash is found after the last piece."""
        if not entry.length:
            return
        content = hashlib.sha256()
        for extent in entry.extents:
            piece = self._extent(opened, extent)
            content.update(piece)
            yield piece
        if content.digest() != entry.sha256:
            raise Damage(opened.holder.key, f"{entry.name}: the content has another SHA-256")

    def _extent(self, opened: OpenSegment, extent: Extent) -> bytes:
        holder, packs = opened.holder, opened.segment.packs
        if extent.pack > len(packs):
            raise Damage(opened.holder.key, f"an extent is in pack {extent.pack} of {len(packs)}")
        if extent.pack:
            holder = self.vault.open_object(ObjectKind.PACK, packs[extent.pack - 1])
        plain = self.vault.block(holder, extent.block)
        if extent.offset + extent.length > len(plain):
            raise Damage(opened.holder.key, f"an extent reaches past block {extent.block} of {holder.key}")
        return plain[extent.offset : extent.offset + extent.length]


class SegmentVisitor:
    """What is done with the things that a walk reads. A gap stands for things that could not be read."""

    def begin(self, opened: OpenSegment) -> None:
        pass

    def gap(self, things: int | None) -> None:
        pass

    def end(self, opened: OpenSegment) -> None:
        pass


class TreeVisitor(SegmentVisitor):
    def entry(self, opened: OpenSegment, entry: Entry) -> None:
        pass


class Keyed(NamedTuple):
    """A record or a tombstone, with its key hash as far as that is known, and the digest of a record."""

    thing: Record | Tombstone
    key_hash: bytes | None
    digest: bytes


class RunVisitor(SegmentVisitor):
    def thing(self, opened: OpenSegment, number: int, fence: Fence | None, keyed: Keyed) -> None:
        """A thing of block `number`; the first one of a block comes with the block's fence."""


class Doubt:
    """Ranges of paths or key hashes in which a layer holds things that could not be read.

    What an older layer holds there may be hidden, and nobody knows.
    """

    def __init__(self) -> None:
        self._ranges: list[tuple[bytes, bytes | None]] = []

    def add(self, first: bytes, end: bytes | None) -> None:
        self._ranges.append((first, end))

    def covers(self, key: bytes) -> bool:
        return any(first <= key and (end is None or key < end) for first, end in self._ranges)


class LayerWalk:
    """Reads the segments of a layer in order, and compares them with the footers and the manifest.

    A block that does not open costs what is in it: the walk reports it, tells the visitor, and goes on.
    """

    base_kind: SegmentKind
    delta_kind: SegmentKind

    def __init__(self, backup: Backup, stream: Stream, layer: Layer, visitor: SegmentVisitor) -> None:
        self._backup = backup
        self._stream = stream
        self._layer = layer
        self._visitor = visitor
        self._stream_number: int | None = None
        self._sums = (0, 0, 0)
        self.complete = True
        self.doubt = Doubt()

    def walk(self) -> Iterator[tuple[OpenSegment, Any]]:
        """The things of the layer with their segments. All is compared once the last of them was taken."""
        for ref in self._layer.segments:
            yield from self._segment(ref)
        self.end_layer()
        if self.complete and self._sums != self._layer.sums:
            self.damage(self._backup.manifest.key, "the footers of a layer count other things than the manifest")

    def end_layer(self) -> None:
        pass

    def gap(self) -> None:
        pass

    def block(self, opened: OpenSegment, number: int, fence: Fence, tally: Tally) -> Iterator[tuple[OpenSegment, Any]]:
        raise NotImplementedError

    def compare(self, opened: OpenSegment, tally: Tally) -> Iterator[str]:
        """What the footer says otherwise than the segment, of that which only this kind of segment has."""
        raise NotImplementedError

    def damage(self, key: str, what: str) -> None:
        self._backup.report.damage(key, what, self._stream.name)

    def _segment(self, ref: SegmentRef) -> Iterator[tuple[OpenSegment, Any]]:
        kind = self.delta_kind if self._layer.is_delta else self.base_kind
        opened = self._backup.open_segment(self._stream, self._layer, ref, kind)
        if opened is None:
            self._skip(None)
            self._doubt_segment(ref)
            return
        tally = Tally()
        yield from self._read(opened, tally)
        if tally.complete:
            for what in itertools.chain(self._compare(opened.segment, tally), self.compare(opened, tally)):
                self.damage(opened.holder.key, f"segment {ref.segment}: {what}")
        self._compare_ref(ref, opened)

    def _read(self, opened: OpenSegment, tally: Tally) -> Iterator[tuple[OpenSegment, Any]]:
        segment = opened.segment
        added, changed, deleted = self._sums
        self._sums = (added + segment.added, changed + segment.changed, deleted + segment.deleted)
        self._visitor.begin(opened)
        for place, (number, fence) in enumerate(segment.numbered_fences(), 1):
            try:
                yield from self.block(opened, number, fence, tally)
            except Damage as damage:
                self.damage(damage.key, damage.what)
                tally.complete = False
                self._skip(fence.things)
                is_last = place == len(segment.fences)
                self.doubt.add(fence.first, segment.last + b"\0" if is_last else segment.fences[place].first)
        self._visitor.end(opened)

    def _skip(self, things: int | None) -> None:
        self.complete = False
        self.gap()
        self._visitor.gap(things)

    def _doubt_segment(self, ref: SegmentRef) -> None:
        try:
            self.doubt.add(bytes.fromhex(ref.first), bytes.fromhex(ref.last) + b"\0")
        except ValueError:
            self.doubt.add(b"", None)

    @staticmethod
    def _compare(segment: Segment, tally: Tally) -> Iterator[str]:
        if tally.byte_count != segment.byte_count:
            yield f"holds {tally.byte_count} bytes, and the footer says {segment.byte_count}"
        if tally.digest != segment.digest:
            yield "the sum of digests is not the footer's"
        if segment.kind in DELTAS:
            held = tally.files if segment.kind is SegmentKind.DELTA_TREE else tally.things
            if held != segment.added + segment.changed:
                yield f"holds {held} things, and the footer says {segment.added} added and {segment.changed} changed"
            if tally.tombstones != segment.deleted:
                yield f"holds {tally.tombstones} tombstones, and the footer says {segment.deleted} deleted"

    def _compare_ref(self, ref: SegmentRef, opened: OpenSegment) -> None:
        segment = opened.segment
        first = segment.fences[0].first if segment.fences else b""
        said = (ref.first, ref.last, ref.count, ref.byte_count)
        if said != (first.hex(), segment.last.hex(), segment.things, segment.byte_count):
            self.damage(opened.holder.key, f"segment {ref.segment}: the manifest describes another one")
        if self._stream_number not in (None, segment.stream):
            self.damage(opened.holder.key, f"segment {ref.segment} is of another stream than others of its layer")
        self._stream_number = segment.stream


def compare_total(backup: Backup, stream: Stream, total: Tally) -> None:
    """Compares what all layers of a stream hold together with what the manifest says."""
    if not total.complete:
        return

    def damage(what: str) -> None:
        backup.report.damage(backup.manifest.key, what, stream.name)

    things, said = (total.files, stream.files) if stream.is_tree else (total.things, stream.records)
    if things != said:
        damage(f"the stream holds {things}, and the manifest says {said}")
    if total.byte_count != stream.byte_count:
        damage(f"the stream holds {total.byte_count} bytes, and the manifest says {stream.byte_count}")
    if total.digest != stream.digest:
        damage("the stream's sum of digests is not the manifest's")


class PathOrder:
    """Finds entries that are out of order, and parts that do not follow one another."""

    def __init__(self) -> None:
        self._previous: Entry | None = None
        self._after_gap = False

    def gap(self) -> None:
        self._previous = None
        self._after_gap = True

    def problems(self, entry: Entry) -> Iterator[str]:
        if b"\0" in entry.path or not entry.path:
            yield f"{entry.name}: the path is not one that the format allows"
        if entry.kind is EntryKind.DIRECTORY and not entry.path.endswith(b"/"):
            yield f"{entry.name}: the path of a directory does not end with a slash"
        previous = self._previous
        if previous and previous.path == entry.path and previous.is_part and entry.is_part:
            if entry.offset != previous.end or entry.size != previous.size:
                yield f"{entry.name}: the part at {entry.offset} does not follow the one before"
        else:
            yield from self.unfinished()
            if previous and entry.path <= previous.path:
                yield f"{entry.name}: stands after {previous.name}"
            if entry.offset and not self._after_gap:
                yield f"{entry.name}: the parts before {entry.offset} are missing"
        if entry.end > entry.size:
            yield f"{entry.name}: the part at {entry.offset} reaches past the end"
        self._previous = entry
        self._after_gap = False

    def unfinished(self) -> Iterator[str]:
        if self._previous and self._previous.end < self._previous.size:
            yield f"{self._previous.name}: the parts after {self._previous.end} are missing"


class TreeWalk(LayerWalk):
    base_kind = SegmentKind.TREE
    delta_kind = SegmentKind.DELTA_TREE

    def __init__(self, backup: Backup, stream: Stream, layer: Layer, visitor: TreeVisitor) -> None:
        super().__init__(backup, stream, layer, visitor)
        self._tree_visitor = visitor
        self._order = PathOrder()
        self._last_path = b""
        self._parser = parse_delta_tree_block if layer.is_delta else parse_tree_block

    def end_layer(self) -> None:
        for problem in self._order.unfinished():
            self.damage(self._backup.manifest.key, problem)

    def gap(self) -> None:
        self._order.gap()

    def block(
        self, opened: OpenSegment, number: int, fence: Fence, tally: Tally
    ) -> Iterator[tuple[OpenSegment, Entry]]:
        entries = opened.holder.parse(number, self._parser, fence)
        if entries and entries[0].path != fence.first:
            self.damage(opened.holder.key, f"block {number} does not begin with the path in its fence")
        for entry in entries:
            if entry.kind is EntryKind.TOMBSTONE:
                tally.tombstones += 1
            else:
                tally.count(entry.length, entry.digest, files=not entry.is_later_part)
            for problem in self._order.problems(entry):
                self.damage(opened.holder.key, problem)
            self._tree_visitor.entry(opened, entry)
            self._last_path = entry.path
            yield opened, entry

    def compare(self, opened: OpenSegment, tally: Tally) -> Iterator[str]:
        if opened.segment.kind is SegmentKind.TREE and tally.files != opened.segment.files:
            yield f"holds {tally.files} files, and the footer says {opened.segment.files}"
        if tally.things + tally.tombstones and self._last_path != opened.segment.last:
            yield "does not end with the path in the footer"


class TreeMerge:
    """The entries of a tree as it is restored: of every path those of the newest layer that holds it.

    All layers are read side by side, since each is in the order of paths. Nothing is kept but the blocks at hand.
    """

    def __init__(self, backup: Backup, stream: Stream, with_doubtful: bool = False) -> None:
        self._backup = backup
        self._stream = stream
        self._with_doubtful = with_doubtful
        self._walks = [TreeWalk(backup, stream, layer, TreeVisitor()) for layer in reversed(stream.layers)]
        self.total = Tally()

    def entries(self) -> Iterator[tuple[OpenSegment, Entry]]:
        layers = [self._aged(age, walk) for age, walk in enumerate(self._walks)]
        path: bytes | None = None
        newest = 0
        for age, opened, entry in heapq.merge(*layers, key=lambda one: (one[2].path, one[0])):
            if entry.path != path:
                path, newest = entry.path, age
            if age != newest or entry.kind is EntryKind.TOMBSTONE or not self._may_show(age, opened, entry):
                continue
            self.total.count(entry.length, entry.digest, files=not entry.is_later_part)
            yield opened, entry
        self.total.complete = all(walk.complete for walk in self._walks)
        compare_total(self._backup, self._stream, self.total)

    @staticmethod
    def _aged(age: int, walk: TreeWalk) -> Iterator[tuple[int, OpenSegment, Entry]]:
        return ((age, opened, entry) for opened, entry in walk.walk())

    def _may_show(self, age: int, opened: OpenSegment, entry: Entry) -> bool:
        if not any(walk.doubt.covers(entry.path) for walk in self._walks[:age]):
            return True
        if not entry.is_later_part:
            done = "taken" if self._with_doubtful else "left out"
            what = f"{entry.name}: {done}, though a newer layer that is damaged may hold it otherwise"
            self._backup.report.damage(opened.holder.key, what, self._stream.name)
        return self._with_doubtful


class RunWalk(LayerWalk):
    base_kind = SegmentKind.RUN
    delta_kind = SegmentKind.DELTA_RUN

    def __init__(
        self, backup: Backup, stream: Stream, layer: Layer, visitor: RunVisitor, hasher: KeyHasher | None
    ) -> None:
        super().__init__(backup, stream, layer, visitor)
        self._run_visitor = visitor
        self._hasher = hasher
        self._parser = parse_delta_run_block if layer.is_delta else parse_run_block

    def block(
        self, opened: OpenSegment, number: int, fence: Fence, tally: Tally
    ) -> Iterator[tuple[OpenSegment, Keyed]]:
        stores_keys = opened.segment.stores_keys
        things = opened.holder.parse(number, lambda plain: self._parser(plain, stores_keys), fence)
        first: Fence | None = fence
        for thing in things:
            if isinstance(thing, Tombstone):
                keyed = Keyed(thing, thing.key_hash, b"")
                tally.tombstones += 1
            else:
                keyed = Keyed(thing, self._hash(opened, number, thing), thing.digest())
                tally.count(len(thing.value), keyed.digest)
            self._run_visitor.thing(opened, number, first, keyed)
            first = None
            yield opened, keyed

    def _hash(self, opened: OpenSegment, number: int, record: Record) -> bytes | None:
        try:
            return self._hasher.hash(record) if self._hasher else None
        except Malformed as error:
            self.damage(opened.holder.key, f"block {number}: a record {error}")
            return None

    def compare(self, opened: OpenSegment, tally: Tally) -> Iterator[str]:
        if not self._stream.key and not opened.segment.stores_keys and tally.things:
            yield "stores no keys, and the stream says of none where it stands"


class RunMerge:
    """The records of a stream as it is restored: of every key that of the newest layer that holds it.

    Layers are read one after the other, the newest first. What is kept are the key hashes of deltas, no values, and
    none of the base's. `hidden` are key hashes that something newer than the backup hides; the totals are without it.
    """

    def __init__(
        self,
        backup: Backup,
        stream: Stream,
        make_visitor: Callable[[Layer], RunVisitor] = lambda _: RunVisitor(),
        hidden: Set[bytes] = frozenset(),
        must_hash: bool = False,
        with_doubtful: bool = False,
    ) -> None:
        self._backup = backup
        self._stream = stream
        self._make_visitor = make_visitor
        self._hidden = hidden
        self._is_merging = len(stream.layers) > 1 or bool(hidden)
        self._hasher = KeyHasher.of(backup, stream) if self._is_merging or must_hash else None
        self._with_doubtful = with_doubtful
        self._newer: set[bytes] = set()
        self._doubts: list[Doubt] = []
        self._doubtful = 0
        self.total = Tally()

    def records(self) -> Iterator[Record]:
        for layer in reversed(self._stream.layers):
            walk = RunWalk(self._backup, self._stream, layer, self._make_visitor(layer), self._hasher)
            yield from self._layer(layer, walk)
            self.total.complete = self.total.complete and walk.complete
            self._doubts.append(walk.doubt)
        if self._doubtful:
            done = "taken" if self._with_doubtful else "left out"
            what = f"{self._doubtful} records {done}, though a newer layer that is damaged may hold them otherwise"
            self._backup.report.damage(self._backup.manifest.key, what, self._stream.name)
        compare_total(self._backup, self._stream, self.total)

    def _layer(self, layer: Layer, walk: RunWalk) -> Iterator[Record]:
        own: set[bytes] = set()
        for opened, keyed in walk.walk():
            key_hash = keyed.key_hash
            if self._is_merging:
                if key_hash is None:
                    walk.damage(opened.holder.key, "has a record whose key cannot be found")
                elif key_hash in self._newer:
                    if layer.is_delta:
                        self._note(own, key_hash, walk, opened)
                    continue
                elif layer.is_delta and not self._note(own, key_hash, walk, opened):
                    continue
            if isinstance(keyed.thing, Tombstone) or not self._may_show(key_hash):
                continue
            self.total.count(len(keyed.thing.value), keyed.digest)
            if key_hash is None or key_hash not in self._hidden:
                yield keyed.thing
        self._newer |= own

    @staticmethod
    def _note(own: set[bytes], key_hash: bytes, walk: RunWalk, opened: OpenSegment) -> bool:
        if key_hash in own:
            walk.damage(opened.holder.key, "has a key hash that stands twice in its layer")
            return False
        own.add(key_hash)
        return True

    def _may_show(self, key_hash: bytes | None) -> bool:
        if key_hash is None or not any(doubt.covers(key_hash) for doubt in self._doubts):
            return True
        self._doubtful += 1
        return self._with_doubtful


class JsonNumber(str):
    """A number as it stands in its JSON text."""


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def compact_json(value: Any) -> str:
    if isinstance(value, JsonNumber):
        return value
    if isinstance(value, dict):
        members = (f"{compact_json(name)}:{compact_json(member)}" for name, member in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def resolve_pointer(value: Any, pointer: str) -> Any:
    """The value at a JSON pointer, RFC 6901; a LookupError if there is none."""
    if pointer and not pointer.startswith("/"):
        raise LookupError(pointer)
    for escaped in pointer.split("/")[1:]:
        token = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value[token]
        elif isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,9}", token):
            value = value[int(token)]
        else:
            raise LookupError(pointer)
    return value


class KeyHasher:
    """Hashes the keys of a stream's records, where the manifest says how a key is found in a value."""

    def __init__(self, secret: bytes, stream: Stream) -> None:
        self._secret = secret
        self._encoding = stream.encoding
        self._names = stream.key

    @classmethod
    def of(cls, backup: Backup, stream: Stream) -> KeyHasher:
        manifest = backup.manifest
        return cls(backup.vault.derive(manifest.name_key_version, b"holdfast/1/key-hash", manifest.key), stream)

    def hash_key(self, key: bytes) -> bytes:
        return hmac.digest(self._secret, key, "sha256")[:KEY_HASH_SIZE]

    def hash(self, record: Record) -> bytes | None:
        key = self._canonical_key(record.value) if record.key is None else record.key
        return self.hash_key(key) if key is not None else None

    def _canonical_key(self, value: bytes) -> bytes | None:
        if not self._names or not all(isinstance(name, str) for name in self._names):
            return None
        try:
            parsed = json.loads(
                value.decode("utf-8"), parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=refuse_constant
            )
        except RecursionError:
            return None
        except ValueError:
            raise Malformed("is not JSON") from None
        try:
            return compact_json([self._part(parsed, name) for name in self._names]).encode("utf-8")
        except (LookupError, TypeError, UnicodeEncodeError):
            return None

    def _part(self, parsed: Any, name: str) -> Any:
        return resolve_pointer(parsed, name) if self._encoding == "json" else parsed[name]


Place = tuple[int, int]


class IndexSegments:
    """The index segments of a layer, by the task and sequence of the tree or run to which they belong."""

    def __init__(self, backup: Backup, stream: Stream, layer: Layer) -> None:
        self._backup = backup
        self._stream = stream
        self._layer = layer
        self._kind = SegmentKind.CHUNK_LISTS if stream.is_tree else SegmentKind.STATE_TABLE
        self._refs: dict[Place, SegmentRef] = {}
        for ref in layer.index:
            self._add(ref)
        self._unclaimed = dict(self._refs)
        self._all_claimed = True

    def _add(self, ref: SegmentRef) -> None:
        opened = self._open(ref)
        if opened:
            segment = opened.segment
            place = (segment.task, segment.sequence)
            if place in self._refs:
                self.damage(opened.holder.key, f"segment {ref.segment} is a second one for {place}")
            if segment.fences and (ref.first, ref.count) != (segment.fences[0].first.hex(), segment.things):
                self.damage(opened.holder.key, f"segment {ref.segment}: the manifest describes another one")
            self._refs[place] = ref

    def _open(self, ref: SegmentRef) -> OpenSegment | None:
        return self._backup.open_segment(self._stream, self._layer, ref, self._kind)

    def claim(self, segment: Segment) -> OpenSegment | None:
        """The index segment of a tree or run."""
        place = (segment.task, segment.sequence)
        self._unclaimed.pop(place, None)
        return self._open(self._refs[place]) if place in self._refs else None

    def all(self) -> Iterator[OpenSegment]:
        return (opened for opened in map(self._open, self._refs.values()) if opened)

    def segment_lost(self) -> None:
        """A tree or run did not open, so nobody knows which index segment is its own."""
        self._all_claimed = False

    def report_unclaimed(self) -> None:
        if not self._all_claimed:
            return
        for place, ref in self._unclaimed.items():
            opened = self._open(ref)
            if opened:
                self.damage(opened.holder.key, f"segment {ref.segment} belongs to no segment of the stream: {place}")

    def damage(self, key: str, what: str) -> None:
        self._backup.report.damage(key, what, self._stream.name)

    def things(
        self, opened: OpenSegment, parser: Callable[[bytes], Sequence[T]]
    ) -> Iterator[tuple[int, Fence | None, T | None]]:
        """The things of an index segment with their block, and its fence at the first; None for each in a bad block."""
        for number, fence in opened.segment.numbered_fences():
            things: list[T | None] = [None] * fence.things
            try:
                things[:] = opened.holder.parse(number, parser, fence)
            except Damage as damage:
                self.damage(damage.key, damage.what)
            first: Fence | None = fence
            for thing in things:
                yield number, first, thing
                first = None


class TreeCheck(TreeVisitor):
    """Compares every content with its hash, and every file with its chunk list."""

    def __init__(self, backup: Backup, stream: Stream, layer: Layer) -> None:
        manifest = backup.manifest
        self._backup = backup
        self._secret = backup.vault.derive(manifest.name_key_version, b"holdfast/1/chunk-name", manifest.key)
        self._index = IndexSegments(backup, stream, layer)
        self._listed = {ref.id for ref in manifest.objects if ref.kind is ObjectKind.PACK}
        self._chunks: OpenSegment | None = None
        self._lists: Iterator[tuple[int, Fence | None, list[Chunk] | None]] = iter(())
        self._after_gap = False

    def begin(self, opened: OpenSegment) -> None:
        for pack in opened.segment.packs:
            if pack not in self._listed:
                key = object_key(ObjectKind.PACK, pack)
                self._index.damage(opened.holder.key, f"holds extents in {key}, which the manifest does not list")
        self._after_gap = False
        self._chunks = self._index.claim(opened.segment)
        if self._chunks:
            self._lists = self._index.things(self._chunks, parse_chunk_lists)

    def entry(self, opened: OpenSegment, entry: Entry) -> None:
        chunks: list[Chunk] | None = None
        key = self._chunks.holder.key if self._chunks else ""
        if key and not self._after_gap and entry.kind is EntryKind.FILE:
            chunks = self._next_list(key, entry)
        left = iter(chunks or ())
        named = True
        try:
            for piece in self._backup.content(opened, entry):
                named = named and (chunks is None or self._are_named(piece, left))
        except Damage as damage:
            self._index.damage(opened.holder.key, f"{entry.name}: the content cannot be read: {damage}")
        if not named:
            self._index.damage(key, f"{entry.name}: the chunk list names other chunks")

    def _next_list(self, key: str, entry: Entry) -> list[Chunk] | None:
        number, fence, chunks = next(self._lists, (-1, None, None))
        if number < 0:
            self._index.damage(key, f"{entry.name}: has no chunk list")
        if fence and fence.first != entry.path:
            self._index.damage(key, f"block {number} does not begin with the path in its fence")
        if chunks is not None and sum(chunk.length for chunk in chunks) != entry.length:
            self._index.damage(key, f"{entry.name}: the chunk list is of another length")
        return chunks

    def _are_named(self, piece: bytes, chunks: Iterator[Chunk]) -> bool:
        """Whether the next chunks are those that a piece of content, which an extent holds, is made of."""
        at = 0
        while at < len(piece):
            chunk = next(chunks, None)
            if chunk is None or chunk.length == 0 or at + chunk.length > len(piece):
                return False
            digest = hashlib.sha256(piece[at : at + chunk.length]).digest()
            if hmac.digest(self._secret, digest, "sha256")[:ID_SIZE] != chunk.name:
                return False
            at += chunk.length
        return True

    def gap(self, things: int | None) -> None:
        """Nobody knows how many of the things were files, so no list can be told to be that of a file any more."""
        self._after_gap = True
        self._pass_over()
        if things is None:
            self._index.segment_lost()

    def end(self, opened: OpenSegment) -> None:
        if self._chunks and self._pass_over():
            self._index.damage(self._chunks.holder.key, f"has chunk lists for no file of {opened.holder.key}")
        self._chunks = None

    def _pass_over(self) -> int:
        return sum(1 for _ in self._lists)

    def finish(self) -> None:
        self._index.report_unclaimed()


class RunCheck(RunVisitor):
    """Compares every record and tombstone with its key hash, its fence and its row of the state table."""

    def __init__(self, backup: Backup, stream: Stream, layer: Layer) -> None:
        self._backup = backup
        self._index = IndexSegments(backup, stream, layer)
        self._state: OpenSegment | None = None
        self._rows: Iterator[tuple[int, Fence | None, StateRow | None]] = iter(())
        self._previous: bytes | None = None
        self._previous_row: bytes | None = None

    def begin(self, opened: OpenSegment) -> None:
        self._previous = self._previous_row = None
        self._state = self._index.claim(opened.segment)
        if self._state:
            self._rows = self._index.things(self._state, parse_state_table)

    def thing(self, opened: OpenSegment, number: int, fence: Fence | None, keyed: Keyed) -> None:
        place, key_hash = f"block {number}", keyed.key_hash
        if self._state:
            row_of = f"{place} of {opened.holder.key}"
            key_hash = self._compare_row(self._state.holder.key, row_of, key_hash, keyed.digest)
        if key_hash is not None:
            if fence and key_hash != fence.first:
                self._index.damage(opened.holder.key, f"{place} does not begin with the key hash in its fence")
            if self._previous is not None and key_hash <= self._previous:
                self._index.damage(opened.holder.key, f"{place}: the records are not in order of their key hashes")
        self._previous = key_hash

    def _compare_row(self, key: str, place: str, key_hash: bytes | None, digest: bytes) -> bytes | None:
        """Compares a record with the next row of the state table, which knows the key hash if nobody else does."""
        row = self._next_row(key)
        if row is None:
            return key_hash
        if row.digest_start != (digest[:KEY_HASH_SIZE] or bytes(KEY_HASH_SIZE)):
            self._index.damage(key, f"has another digest for a record in {place}")
        if key_hash not in (None, row.key_hash):
            self._index.damage(key, f"has another key hash for a record in {place}")
        return key_hash or row.key_hash

    def _next_row(self, key: str) -> StateRow | None:
        number, fence, row = next(self._rows, (-1, None, None))
        if number < 0:
            self._index.damage(key, "has fewer rows than its run has records")
        if row:
            if fence and row.key_hash != fence.first:
                self._index.damage(key, f"block {number} does not begin with the key hash in its fence")
            if self._previous_row is not None and row.key_hash <= self._previous_row:
                self._index.damage(key, f"block {number}: the rows are not in ascending order")
        self._previous_row = row.key_hash if row else None
        return row

    def gap(self, things: int | None) -> None:
        self._previous = None
        if things is None:
            self._index.segment_lost()
        elif self._state:
            for _ in range(things):
                self._next_row(self._state.holder.key)

    def end(self, opened: OpenSegment) -> None:
        if self._previous is not None and self._previous != opened.segment.last:
            self._index.damage(opened.holder.key, "a run does not end with the key hash in the footer")
        if self._state and next(self._rows, None):
            self._index.damage(self._state.holder.key, "has more rows than its run has records")
        self._state = None

    def finish(self) -> None:
        self._index.report_unclaimed()
        tables = list(self._index.all())
        if len(tables) > 1:
            self._check_unique(tables)

    def _check_unique(self, tables: Sequence[OpenSegment]) -> None:
        """No hash is in two tables. Windows of the hashes are read one by one, so that one fits into memory."""
        windows = sum(table.segment.things for table in tables) // HASHES_AT_ONCE + 1
        edges = [place * 2 ** (8 * KEY_HASH_SIZE) // windows for place in range(windows + 1)]
        for low, high in zip(edges, edges[1:]):
            seen: set[bytes] = set()
            for table in tables:
                found = set(self._hashes_between(table, low, high))
                if not seen.isdisjoint(found):
                    self._index.damage(table.holder.key, "has a key hash that another table of the layer has too")
                seen |= found

    def _hashes_between(self, table: OpenSegment, low: int, high: int) -> Iterator[bytes]:
        firsts = [int.from_bytes(fence.first, "big") for fence in table.segment.fences]
        start = max(0, bisect.bisect_right(firsts, low) - 1)
        for place in range(start, bisect.bisect_left(firsts, high)):
            try:
                plain = self._backup.vault.block(table.holder, table.segment.first_block + place)
                hashes = [row.key_hash for row in parse_state_table(plain)]
            except (Damage, Malformed):
                continue
            yield from (hash for hash in hashes if low <= int.from_bytes(hash, "big") < high)


def verify_object(vault: Vault, ref: ObjectRef, report: Report) -> None:
    try:
        size = vault.store.size(ref.key)
        if size != ref.size:
            report.damage(ref.key, f"has {size} bytes, and the manifest says {ref.size}")
        verify_parts(vault, ref, report)
        verify_blocks(vault, ref, report)
    except Damage as damage:
        report.damage(damage.key, damage.what)


def verify_parts(vault: Vault, ref: ObjectRef, report: Report) -> None:
    if len(ref.parts) != -(-ref.size // PART_SIZE):
        report.damage(ref.key, f"the manifest lists {len(ref.parts)} parts for its {ref.size} bytes")
    with closing(vault.store.parts(ref.key)) as parts:
        for number, (part, said) in enumerate(zip(parts, ref.parts)):
            if hashlib.sha256(part).digest() != said:
                report.damage(ref.key, f"part {number} has another SHA-256 than the manifest says")


def verify_blocks(vault: Vault, ref: ObjectRef, report: Report) -> None:
    sealed = vault.open_object(ref.kind, ref.id)
    if vault.store.read(ref.key, 0, HEADER_SIZE) != sealed.header:
        report.damage(ref.key, "has a header that is not its own")
    allowed = (*TREES, *RUNS) if ref.kind is ObjectKind.PACK else (SegmentKind.CHUNK_LISTS, SegmentKind.STATE_TABLE)
    if any(segment.kind not in allowed for segment in sealed.footer.segments):
        report.damage(ref.key, "has a segment of a kind that does not belong there")
    for number in range(len(sealed.footer.blocks)):
        try:
            sealed.block(number)
        except Damage as damage:
            report.damage(damage.key, damage.what)


def verify_stream(backup: Backup, stream: Stream) -> Tally:
    """Reads all layers, what newer ones hide too; says what they hold together."""
    if backup.manifest.type == "full" and len(stream.layers) > 1:
        backup.report.damage(backup.manifest.key, f"has {len(stream.layers)} layers in a full backup", stream.name)
    return verify_tree(backup, stream) if stream.is_tree else verify_records(backup, stream)


def verify_tree(backup: Backup, stream: Stream) -> Tally:
    for layer in stream.layers:
        check = TreeCheck(backup, stream, layer)
        exhaust(TreeWalk(backup, stream, layer, check).walk())
        check.finish()
    merge = TreeMerge(backup, stream)
    exhaust(merge.entries())
    return merge.total


def verify_records(backup: Backup, stream: Stream) -> Tally:
    checks: list[RunCheck] = []

    def make_check(layer: Layer) -> RunVisitor:
        checks.append(RunCheck(backup, stream, layer))
        return checks[-1]

    merge = RunMerge(backup, stream, make_check, must_hash=True)
    exhaust(merge.records())
    for check in checks:
        check.finish()
    return merge.total


def exhaust(things: Iterator[Any]) -> None:
    for _ in things:
        pass


class Gap(NamedTuple):
    """Changes between two times, in milliseconds, that were not captured."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True)
class ChangeSegment:
    """A segment of changes with its description. Its `earliest` and `latest` are in the segment."""

    opened: OpenSegment
    stream: str
    encoding: str
    key: tuple[Any, ...]
    since: int
    gaps: tuple[Gap, ...]
    replaces: frozenset[str]
    follows: frozenset[str]

    @property
    def latest(self) -> int:
        return self.opened.segment.latest


def parse_change_segment(holder: SealedObject, segment: Segment, resource: str) -> ChangeSegment:
    if segment.kind is not SegmentKind.CHANGES:
        raise Malformed("has a segment of a kind that does not belong there")
    value = json_object(segment.description)
    if member(value, "resource", str) != resource:
        raise Malformed("holds changes of another resource than its folder's")
    gaps = (
        Gap(member(gap, "from", int), member(gap, "to", int), member(gap, "reason", str, ""))
        for gap in member(value, "gaps", list, [])
    )
    replaces, follows = member(value, "replaces", list, []), member(value, "follows", list, [])
    if not all(isinstance(key, str) for key in replaces + follows):
        raise Malformed("replaces or follows something that is not a key")
    return ChangeSegment(
        opened=OpenSegment(holder, segment),
        stream=member(value, "stream", str),
        encoding=member(value, "encoding", str),
        key=tuple(member(value, "key", list)),
        since=member(value, "since", int),
        gaps=tuple(gaps),
        replaces=frozenset(replaces) - {holder.key},
        follows=frozenset(follows),
    )


class Capture:
    """All changes of a resource that were captured, and when."""

    def __init__(self, vault: Vault, resource: str, report: Report) -> None:
        self._vault = vault
        self._report = report
        self._secret = b""
        self.segments: list[ChangeSegment] = []
        if vault.store.names("changes"):
            self._secret = vault.derive(1, b"holdfast/1/key-hash", "changes")
            folder_key = vault.derive(1, b"holdfast/1/change-folder", "changes")
            folder = hmac.digest(folder_key, resource.encode("utf-8", "surrogateescape"), "sha256")[:ID_SIZE]
            self._open_all(f"changes/{folder.hex()}", resource)

    def _open_all(self, folder: str, resource: str) -> None:
        opened: dict[str, list[ChangeSegment]] = {}
        failed: list[Damage] = []
        for name in filter(CHANGE_NAME.fullmatch, self._vault.store.names(folder)):
            try:
                opened[f"{folder}/{name}"] = self._open(f"{folder}/{name}", name, resource)
            except Damage as damage:
                failed.append(damage)
        replaces = {key: {one for segment in of for one in segment.replaces} for key, of in opened.items()}
        replaced = all_replaced(replaces)
        for one in failed:
            if one.key not in replaced:
                self._report.damage(one.key, one.what)
        self.segments = [segment for key, of in opened.items() if key not in replaced for segment in of]
        known = replaced.union(opened, (one.key for one in failed))
        for key in sorted({key for segment in self.segments for key in segment.follows} - known):
            if not self._is_told(key.removeprefix(f"{folder}/")):
                self._report.damage(key, "is gone, and a later change object names it")

    def _is_told(self, name: str) -> bool:
        """Whether a gap holds the times in a name: what has expired is told as missing before it goes."""
        if not (named := CHANGE_NAME.fullmatch(name)):
            return False
        earliest, latest = int(named[1]), int(named[2])
        gaps = (gap for segment in self.segments for gap in segment.gaps)
        return any(gap.start <= earliest and latest <= gap.end for gap in gaps)

    def _open(self, key: str, name: str, resource: str) -> list[ChangeSegment]:
        """A change object's segments. Its name is not authenticated, so it is compared with what is."""
        start, end, id = CHANGE_NAME.fullmatch(name).groups()  # type: ignore[union-attr]
        holder = self._vault.open_changes(key, bytes.fromhex(id))
        try:
            segments = [parse_change_segment(holder, one, resource) for one in holder.footer.segments]
            earliest = min((one.opened.segment.earliest for one in segments), default=None)
            latest = max((one.latest for one in segments), default=None)
            if segments and (earliest, latest) != (int(start), int(end)):
                raise Malformed("has changes of other times than its name")
        except Malformed as error:
            raise Damage(key, str(error)) from None
        return segments

    def streams(self) -> list[str]:
        return sorted({segment.stream for segment in self.segments})

    def of_stream(self, stream: str) -> list[ChangeSegment]:
        return [segment for segment in self.segments if segment.stream == stream]

    def changes(
        self, segments: Sequence[ChangeSegment], after: int | None, until: int | None
    ) -> Iterator[tuple[SealedObject, Change]]:
        """Each change after a time and until another (milliseconds) once, in order of key hashes and sequences."""
        wanted = [
            segment
            for segment in segments
            if (until is None or segment.opened.segment.earliest <= until) and (after is None or segment.latest > after)
        ]
        previous: Change | None = None
        for holder, change in heapq.merge(*map(self._read, wanted), key=lambda one: one[1].order):
            if previous and previous.order == change.order:
                if (previous.time, previous.before, previous.after) != (change.time, change.before, change.after):
                    self._report.damage(holder.key, "has another change under the sequence of one", wanted[0].stream)
                continue
            previous = change
            if (after is None or change.time > after) and (until is None or change.time <= until):
                yield holder, change

    def _read(self, from_segment: ChangeSegment) -> Iterator[tuple[SealedObject, Change]]:
        holder, segment = from_segment.opened.holder, from_segment.opened.segment

        def damage(what: str) -> None:
            self._report.damage(holder.key, what, from_segment.stream)

        previous: Change | None = None
        times: list[int] = []
        is_whole = True
        for number, fence in segment.numbered_fences():
            try:
                changes = holder.parse(number, parse_changes, fence)
            except Damage as error:
                damage(error.what)
                is_whole, previous = False, None
                continue
            if changes:
                times = [min(times + [one.time for one in changes]), max(times + [one.time for one in changes])]
                if changes[0].key_hash != fence.first:
                    damage(f"block {number} does not begin with the key hash in its fence")
            for change in changes:
                if hmac.digest(self._secret, change.key, "sha256")[:KEY_HASH_SIZE] != change.key_hash:
                    damage(f"block {number}: a change has another key hash than its key")
                if previous and change.order <= previous.order:
                    damage(f"block {number}: the changes are not in order of key hashes and sequences")
                previous = change
                yield holder, change
        if is_whole and previous and previous.key_hash != segment.last:
            damage("the changes do not end with the key hash in the footer")
        if is_whole and times and times != [segment.earliest, segment.latest]:
            damage("the changes are of other times than the footer says")


def all_replaced(replaces: Mapping[str, set[str]]) -> set[str]:
    """The keys that others replace, directly or not. Of keys that replace one another in a circle none counts."""
    named = set().union(*replaces.values()) if replaces else set()
    left = [key for key in replaces if key not in named]
    replaced: set[str] = set()
    while left:
        for key in replaces.get(left.pop(), ()):
            if key not in replaced:
                replaced.add(key)
                left.append(key)
    return replaced


def untold(segments: Sequence[ChangeSegment], start: int, until: int) -> Iterator[str]:
    """Why the changes of a stream are not all that was between two times, in milliseconds.

    Up to its latest change an object tells of all since its `since`, but for gaps. Nothing tells whether there was
    anything after the latest change of all.
    """
    for gap in sorted({gap for segment in segments for gap in segment.gaps}):
        if gap.start <= until and gap.end > start:
            reason = f" ({printable(gap.reason)})" if gap.reason else ""
            yield f"changes from {format_ms(gap.start)} to {format_ms(gap.end)} were not captured{reason}"
    told = start
    end = min(until, max((segment.latest for segment in segments), default=start))
    for since, latest in sorted((segment.since, segment.latest) for segment in segments):
        if since > told + 1 and told < end:
            yield f"changes from {format_ms(told)} to {format_ms(min(since, until))} were not captured"
        told = max(told, since, latest)


class Overlay:
    """What changes make of a stream's records: the last change of each key after a time and until another.

    Only the key hashes of changed records are kept; their values are read again when they are wanted.
    """

    def __init__(self, capture: Capture, segments: Sequence[ChangeSegment], after: int, until: int) -> None:
        self._capture = capture
        self._segments = segments
        self._window = (after, until)
        self.hidden: set[bytes] = set()
        self.count = 0

    def prepare(self, hasher: KeyHasher) -> None:
        for change in self._last():
            self.hidden.add(hasher.hash_key(change.key))
            self.count += 1

    def values(self) -> Iterator[bytes]:
        return (change.after for change in self._last() if change.after is not None)

    def _last(self) -> Iterator[Change]:
        last: Change | None = None
        for _, change in self._capture.changes(self._segments, *self._window):
            if last and last.key_hash != change.key_hash:
                yield last
            last = change
        if last:
            yield last


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of a time in RFC 3339."""
    found = RFC3339.fullmatch(text)
    try:
        if not found:
            raise ValueError
        date, clock, fraction, zone = found.groups()
        moment = datetime.datetime.fromisoformat(f"{date}T{clock}{zone or '+00:00'}")
    except ValueError:
        raise Malformed(f"{printable(text)!r} is not a time such as 2026-01-31T12:00:00Z") from None
    seconds = (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(seconds=1)
    return seconds * 10**9 + int((fraction or "0")[:9].ljust(9, "0"))


def format_ms(time_ms: int) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds") + "Z"


class OpenFile(NamedTuple):
    path: bytes
    name: bytes
    folder: int
    file: BinaryIO


class OpenFolder(NamedTuple):
    path: bytes
    mode: int | None
    mtime_ns: int | None


NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
ENTRY_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        *("EACCES", "EEXIST", "EILSEQ", "EINVAL", "EISDIR", "ELOOP", "ENAMETOOLONG"),
        *("ENOENT", "ENOTDIR", "ENOTSUP", "EOVERFLOW", "EPERM"),
    )
)


def split_path(path: bytes) -> list[bytes]:
    """The names in a path of a file or link, or of a directory with its slash; refuses what could lead elsewhere."""
    names = path.split(b"/")
    if b"\0" in path or any(name in (b"", b".", b"..") for name in names):
        raise Refused("the path is not one that can be written safely")
    return names


@contextmanager
def entry_errors() -> Iterator[None]:
    """An error that comes from the entry refuses it; any other, such as a full disk, ends the program."""
    try:
        yield
    except OverflowError:
        raise Refused("the time is out of the range of this system") from None
    except OSError as error:
        if error.errno in ENTRY_ERRORS:
            raise Refused(error.strerror) from None
        raise


class TreeWriter:
    """Writes the entries of a tree below a directory, which it alone writes to, in the order of their paths.

    Every directory on the way is opened by itself, never through a symbolic link. A directory's mode and time are set
    when the first path comes that is not in it; what cannot be set is told to `refused`.
    """

    def __init__(self, root: int, refused: Callable[[str], None]) -> None:
        self._root = root
        self._refused = refused
        self._folders: list[OpenFolder] = []
        self._cached: tuple[list[bytes], int] | None = None
        self._file: OpenFile | None = None

    def directory(self, entry: Entry) -> None:
        self._leave(entry.path)
        names = split_path(entry.path[:-1] if entry.path.endswith(b"/") else entry.path)
        with entry_errors():
            self._make_folder(self._open_folder(names[:-1]), names[-1], 0o777 if entry.mode is None else 0o700)
        self._folders.append(OpenFolder(b"/".join(names) + b"/", entry.mode, entry.mtime_ns))

    def link(self, entry: Entry) -> None:
        self._leave(entry.path)
        names = split_path(entry.path)
        with entry_errors():
            folder = self._open_folder(names[:-1])
            os.symlink(entry.target, names[-1], dir_fd=folder)
            if entry.mtime_ns is not None:
                os.utime(names[-1], ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def begin_file(self, entry: Entry) -> None:
        self._leave(entry.path)
        names = split_path(entry.path)
        with entry_errors():
            folder = os.dup(self._open_folder(names[:-1]))
            try:
                created = os.open(names[-1], NEW_FILE, 0o666 if entry.mode is None else 0o600, dir_fd=folder)
            except OSError:
                os.close(folder)
                raise
        self._file = OpenFile(entry.path, names[-1], folder, os.fdopen(created, "wb"))

    def is_at(self, path: bytes, offset: int) -> bool:
        """Whether the open file is the one at `path`, written up to `offset`."""
        return self._file is not None and self._file.path == path and self._file.file.tell() == offset

    def write(self, piece: bytes) -> None:
        assert self._file is not None
        self._file.file.write(piece)

    def end_file(self, entry: Entry) -> None:
        assert self._file is not None
        try:
            with entry_errors():
                self._file.file.flush()
                if entry.mode is not None:
                    os.fchmod(self._file.file.fileno(), entry.mode & 0o7777)
                if entry.mtime_ns is not None:
                    os.utime(self._file.file.fileno(), ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            self._file.file.close()
            os.close(self._file.folder)
            self._file = None

    def discard_file(self) -> None:
        """Takes away the file that was begun and not ended, if there is one."""
        if self._file is not None:
            unfinished, self._file = self._file, None
            try:
                unfinished.file.close()
                os.unlink(unfinished.name, dir_fd=unfinished.folder)
            finally:
                os.close(unfinished.folder)

    def finish(self) -> None:
        self._leave(None)
        if self._cached:
            os.close(self._cached[1])
            self._cached = None

    def _leave(self, path: bytes | None) -> None:
        self.discard_file()
        while self._folders and (path is None or not path.startswith(self._folders[-1].path)):
            folder = self._folders.pop()
            if folder.mode is not None or folder.mtime_ns is not None:
                self._settle(folder)

    def _settle(self, folder: OpenFolder) -> None:
        try:
            with entry_errors():
                opened = self._open_folder(folder.path[:-1].split(b"/"))
                if folder.mode is not None:
                    os.fchmod(opened, folder.mode & 0o7777)
                if folder.mtime_ns is not None:
                    os.utime(opened, ns=(folder.mtime_ns, folder.mtime_ns))
        except Refused as refused:
            self._refused(f"{printable(folder.path)}: mode or time not set: {refused}")

    def _open_folder(self, names: list[bytes]) -> int:
        """A descriptor of a directory, made if need be; it stays open until the next call."""
        if self._cached:
            if self._cached[0] == names:
                return self._cached[1]
            os.close(self._cached[1])
            self._cached = None
        folder = os.dup(self._root)
        try:
            for name in names:
                self._make_folder(folder, name, 0o777)
                parent, folder = folder, os.open(name, OPEN_FOLDER, dir_fd=folder)
                os.close(parent)
        except OSError:
            os.close(folder)
            raise
        self._cached = (list(names), folder)
        return folder

    @staticmethod
    def _make_folder(parent: int, name: bytes, mode: int) -> None:
        try:
            os.mkdir(name, mode, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise


class TreeExtract:
    """Writes the entries of a tree; what is damaged or cannot be written is reported and left out."""

    def __init__(self, backup: Backup, stream: Stream, writer: TreeWriter) -> None:
        self._backup = backup
        self._stream = stream
        self._writer = writer
        self._left_out: bytes | None = None
        self.with_attributes = 0

    def entry(self, opened: OpenSegment, entry: Entry) -> None:
        if entry.is_later_part and entry.path == self._left_out:
            return
        self._left_out = None
        self.with_attributes += bool(entry.attributes and not entry.is_later_part)
        try:
            self._write(opened, entry)
        except Damage as damage:
            self._leave_out(entry)
            what = f"{entry.name}: not extracted: {damage}"
            self._backup.report.damage(opened.holder.key, what, self._stream.name)
        except Refused as refused:
            self._leave_out(entry)
            what = f"{entry.name}: not extracted as it is: {refused}"
            self._backup.report.refused(opened.holder.key, what, self._stream.name)

    def _leave_out(self, entry: Entry) -> None:
        self._writer.discard_file()
        self._left_out = entry.path

    def _write(self, opened: OpenSegment, entry: Entry) -> None:
        if entry.kind is EntryKind.DIRECTORY:
            self._writer.directory(entry)
        elif entry.kind is EntryKind.LINK:
            self._writer.link(entry)
        else:
            self._write_file(opened, entry)

    def _write_file(self, opened: OpenSegment, entry: Entry) -> None:
        if not entry.is_later_part:
            self._writer.begin_file(entry)
        elif not self._writer.is_at(entry.path, entry.offset):
            raise Damage(opened.holder.key, "the part before is missing")
        for piece in self._backup.content(opened, entry):
            self._writer.write(piece)
        if entry.end == entry.size:
            self._writer.end_file(entry)


def is_plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and name.isprintable()


def safe_name(name: str) -> str:
    """A stream's name as a name of a file; what cannot be in one stands as %XX."""
    if is_plain_name(name):
        return name
    return urllib.parse.quote(name, safe=" ", errors="surrogatepass").replace(".", "%2E") or "stream"


def target_names(streams: Sequence[Stream]) -> list[str]:
    """Where each stream of a backup goes below the target, no two in one place; "" is the target itself."""
    if len(streams) == 1 and streams[0].is_tree:
        return [""]
    names: list[str] = []
    for stream in streams:
        name = safe_name(stream.name)
        candidates = [name, f"{stream.place}-{name}"]
        if not stream.is_tree:
            file = stream.schema.get("file") if isinstance(stream.schema, dict) else None
            candidates = [f"{candidate}.jsonl" for candidate in candidates]
            if isinstance(file, str) and is_plain_name(file):
                candidates.insert(0, file)
        names.append(next((one for one in candidates if one not in names), f"{stream.place}-{name}"))
    return names


@contextmanager
def open_target(path: str) -> Iterator[int]:
    """A descriptor of an empty directory, which is made if it is not there."""
    path = path.rstrip("/") or path
    try:
        os.makedirs(path, exist_ok=True)
        target = os.open(path, OPEN_FOLDER)
    except OSError as error:
        raise BadInput(f"{printable(path)} cannot be written to: {error.strerror}") from None
    try:
        if os.listdir(target):
            raise BadInput(f"{printable(path)} is not empty")
        yield target
    finally:
        os.close(target)


def extract_tree(backup: Backup, stream: Stream, target: int, name: str, with_doubtful: bool) -> int:
    """Extracts a tree; says how many of its entries have attributes, which no file can carry."""
    if name:
        os.mkdir(name, dir_fd=target)
    root = os.open(name or ".", OPEN_FOLDER, dir_fd=target)
    writer = TreeWriter(root, lambda what: backup.report.refused(backup.manifest.key, what, stream.name))
    extract = TreeExtract(backup, stream, writer)
    try:
        for opened, entry in TreeMerge(backup, stream, with_doubtful).entries():
            extract.entry(opened, entry)
        writer.finish()
    finally:
        with suppress(OSError):
            writer.discard_file()
        os.close(root)
    return extract.with_attributes


def extract_records(
    backup: Backup, stream: Stream, target: int, name: str, overlay: Overlay | None, with_doubtful: bool
) -> None:
    """Writes the values of records, one a line; of those in an overlay the values that it has."""
    hidden = overlay.hidden if overlay else set()
    merge = RunMerge(backup, stream, hidden=hidden, with_doubtful=with_doubtful)
    with os.fdopen(os.open(name, NEW_FILE, 0o666, dir_fd=target), "wb") as file:
        for record in merge.records():
            file.write(record.value + b"\n")
        for value in overlay.values() if overlay else ():
            file.write(value + b"\n")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def listing(manifest: Manifest) -> dict[str, Any]:
    kinds = {True: "tree", False: "records"}
    streams = [
        {"name": s.name, "kind": kinds[s.is_tree], "records": s.records, "files": s.files, "bytes": s.byte_count}
        for s in manifest.streams
    ]
    times = {"started_at": manifest.started_at, "completed_at": manifest.completed_at}
    return {"id": manifest.id, "resource": manifest.resource, "type": manifest.type, **times, "streams": streams}


def command_list(vault: Vault, options: argparse.Namespace) -> ExitCode:
    listings: list[dict[str, Any]] = []
    rows: list[Sequence[str]] = [("ID", "RESOURCE", "TYPE", "STARTED", "COMPLETED", "STREAMS")]
    damages: list[Damage] = []
    for name in filter(ULID.fullmatch, vault.store.names("manifests")):
        try:
            one = read_manifest(vault, name)
        except Damage as damage:
            damages.append(damage)
            continue
        listings.append(listing(one))
        streams = "; ".join(f"{stream.title}: {stream.counts}" for stream in one.streams)
        cells = map(printable, (one.id, one.resource, one.type, one.started_at, one.completed_at))
        rows.append((*cells, streams))
    if options.json:
        print_json(listings)
    else:
        print_table(rows)
    if damages:
        more = f" (and {len(damages) - 1} more manifests)" if len(damages) > 1 else ""
        raise Damage(damages[0].key, damages[0].what + more)
    return ExitCode.OK


def command_show(vault: Vault, options: argparse.Namespace) -> ExitCode:
    manifest = read_wanted_manifest(vault, options.id)
    if options.json:
        print_json(manifest.json)
        return ExitCode.OK
    sizes = sum(ref.size for ref in manifest.objects)
    rows = [
        ("id", manifest.id),
        ("resource", printable(manifest.resource)),
        ("type", printable(manifest.type)),
        *([("base", printable(manifest.base))] if manifest.base else []),
        ("started at", printable(manifest.started_at)),
        ("completed at", printable(manifest.completed_at)),
        ("source", json.dumps(manifest.json.get("source"))),
        ("policy", json.dumps(manifest.json.get("policy"))),
        ("objects", f"{len(manifest.objects)}, {sizes} bytes"),
    ]
    for stream in manifest.streams:
        rows.append(("stream", f"{stream.title}: {stream.counts}, {len(stream.layers)} layers"))
    for warning in manifest.warnings:
        rows.append(("warning", json.dumps(warning)))
    print_table(rows)
    return ExitCode.OK


def command_extract(vault: Vault, options: argparse.Namespace) -> ExitCode:
    report = Report(print)
    overlays: dict[str, Overlay] = {}
    if options.at is None:
        if options.ignore_gaps:
            raise BadInput("--ignore-gaps goes with --at")
        backup = Backup(vault, read_wanted_manifest(vault, options.id), report)
        chosen = choose_streams(backup, options.stream)
    else:
        backup = newest_backup(vault, options.id, wanted_time(options.at, "--at"), report)
        chosen, overlays = point_in_time(backup, options)
    manifest = backup.manifest
    names = target_names(manifest.streams)
    with_attributes = 0
    with open_target(options.to) as target:
        for stream in chosen:
            name = names[stream.place]
            if stream.is_tree:
                with_attributes += extract_tree(backup, stream, target, name, options.doubtful)
            else:
                overlay = overlays.get(stream.name)
                extract_records(backup, stream, target, name, overlay, options.doubtful)
    if with_attributes:
        print(f"note: {with_attributes} entries have attributes, which were not extracted")
    if report.damages():
        raise Damage(manifest.key, f"damage was found while extracting: {len(report.damages())} findings, listed above")
    if report.refusals():
        raise ReaderError(f"not all could be written as it is: {len(report.refusals())} refusals, listed above")
    print(f"extracted {'; '.join(told_counts(stream, overlays) for stream in chosen) or 'nothing'}")
    return ExitCode.OK


def told_counts(stream: Stream, overlays: Mapping[str, Overlay]) -> str:
    overlay = overlays.get(stream.name)
    changed = f" in the backup, and what became of {overlay.count} since" if overlay else ""
    return f"{stream.title}: {stream.counts}{changed}"


def choose_streams(backup: Backup, wanted: str | None) -> list[Stream]:
    chosen = [stream for stream in backup.manifest.streams if wanted in (None, stream.name)]
    if not chosen and wanted is not None:
        raise BadInput(f"backup {backup.manifest.id} has no stream {printable(wanted)!r}")
    return chosen


def wanted_time(text: str, option: str) -> int:
    try:
        return parse_time(text)
    except Malformed as error:
        raise BadInput(f"{option}: {error}") from None


def newest_backup(vault: Vault, resource: str, at: int, report: Report) -> Backup:
    """The newest backup of a resource that was complete at a time, in nanoseconds."""
    if at > time.time_ns():
        raise BadInput("--at is in the future")
    newest: Manifest | None = None
    is_known = False
    failed: list[Damage] = []
    for name in filter(ULID.fullmatch, vault.store.names("manifests")):
        try:
            manifest = read_manifest(vault, name)
            completed = manifest_time(manifest, "completed_at")
        except Damage as damage:
            failed.append(damage)
            continue
        if manifest.resource == resource:
            is_known = True
            if completed <= at:
                newest = manifest
    for one in failed:
        name = one.key.rpartition("/")[2]
        if (newest is None or name > newest.id) and ulid_ms(name) * 10**6 <= at:
            report.damage(one.key, f"{one.what}; it may be of a newer backup of the resource")
    if newest is None and is_known:
        raise BadInput(f"no backup of {printable(resource)!r} was complete at that time")
    if newest is None:
        raise BadInput(f"the vault has no backup of a resource {printable(resource)!r}")
    return Backup(vault, newest, report)


def ulid_ms(ulid: str) -> int:
    """When a backup began, by its id, in milliseconds."""
    value = 0
    for digit in ulid[:10]:
        value = value * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
    return value


def manifest_time(manifest: Manifest, name: str) -> int:
    try:
        return parse_time(getattr(manifest, name))
    except Malformed as error:
        raise Damage(manifest.key, f"{name}: {error}") from None


def point_in_time(backup: Backup, options: argparse.Namespace) -> tuple[list[Stream], dict[str, Overlay]]:
    """The streams of a resource at a time, and what changes after its newest backup made of each."""
    manifest, report = backup.manifest, backup.report
    until = wanted_time(options.at, "--at") // 10**6
    start = manifest_time(manifest, "started_at") // 10**6
    capture = Capture(backup.vault, manifest.resource, report)
    print(f"backup {manifest.id}, completed at {printable(manifest.completed_at)}")
    add_captured(backup, capture, start, until)
    manifest = backup.manifest
    chosen = choose_streams(backup, options.stream)
    overlays: dict[str, Overlay] = {}
    problems: list[str] = []
    for stream in chosen:
        segments = capture.of_stream(stream.name)
        if stream.is_tree or not segments:
            print(f"note: {stream.title}: no changes were captured; it is as the backup found it")
            continue
        problems += [f"{stream.title}: {what}" for what in untold(segments, start, until)]
        latest = max(segment.latest for segment in segments)
        if latest < until:
            print(f"note: {stream.title}: the last captured change is of {format_ms(latest)}")
        same = [one for one in segments if (one.encoding, one.key) == (stream.encoding, stream.key)]
        window = (changes_begin(segments, start), until)
        others = [one for one in segments if one not in same]
        if any(True for _ in capture.changes(others, *window)):
            problems.append(f"{stream.title}: there are changes of records with another key or encoding")
        overlays[stream.name] = Overlay(capture, same, *window)
        overlays[stream.name].prepare(KeyHasher.of(backup, stream))
    for problem in problems:
        print(problem)
    if not options.ignore_gaps:
        if report.damages():
            raise Damage(manifest.key, "not all can be read, as listed above; --ignore-gaps goes on without it")
        if problems:
            raise ReaderError(
                f"what was there at {options.at} is not known; --ignore-gaps extracts what is, "
                f"and extract {manifest.id} the backup before"
            )
    return chosen, overlays


def changes_begin(segments: Sequence[ChangeSegment], start: int) -> int:
    """After when the changes of a stream are applied to a backup that began at a time, in milliseconds.

    What the backup saw already changes nothing where all that followed was captured: so nothing from before a gap.
    """
    gaps = (gap.end for segment in segments for gap in segment.gaps)
    return max([start - CLOCK_MARGIN_MS, *(end for end in gaps if end <= start)])


def add_captured(backup: Backup, capture: Capture, start: int, until: int) -> None:
    """Adds streams that the backup does not have, and whose records appeared after it."""
    manifest = backup.manifest
    streams = list(manifest.streams)
    for name in capture.streams():
        if any(stream.name == name for stream in streams):
            continue
        segments = capture.of_stream(name)
        if any(True for _ in capture.changes(segments, changes_begin(segments, start), until)):
            empty = {"name": name, "kind": "records", "encoding": segments[-1].encoding, "digest": "0" * 64}
            streams.append(parse_stream(len(streams), {**empty, "key": list(segments[-1].key), "layers": []}))
    backup.manifest = replace(manifest, streams=tuple(streams))


def command_changes(vault: Vault, options: argparse.Namespace) -> ExitCode:
    """Lists changes as JSON lines. Key, values and what else is JSON stand as they were captured."""
    report = Report(lambda finding: print(finding, file=sys.stderr))
    after = None if options.start is None else -(-wanted_time(options.start, "--from") // 10**6) - 1
    until = None if options.end is None else wanted_time(options.end, "--to") // 10**6
    if after is not None and until is not None and after >= until:
        raise BadInput("--from is after --to")
    capture = Capture(vault, options.resource, report)
    if not capture.segments and not report.damages():
        raise BadInput(f"the vault has no changes of a resource {printable(options.resource)!r}")
    if options.stream is not None and options.stream not in capture.streams() and not report.damages():
        raise BadInput(f"the vault has no changes of a stream {printable(options.stream)!r}")
    for stream in capture.streams():
        if options.stream in (None, stream):
            for holder, change in capture.changes(capture.of_stream(stream), after, until):
                try:
                    print(change_line(stream, change))
                except Malformed as error:
                    report.damage(holder.key, f"a change of {format_ms(change.time)} {error}", stream)
    if report.damages():
        raise Damage("changes", f"changes are damaged: {len(report.damages())} findings")
    return ExitCode.OK


def change_line(stream: str, change: Change) -> str:
    line = {"stream": stream, "time": format_ms(change.time), "sequence": change.sequence.decode("ascii")}
    values = {"key": change.key, "before": change.before, "after": change.after}
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in line.items()]
    members += [f"{json.dumps(name)}: {one_line(value)}" for name, value in values.items() if value is not None]
    return "{" + ", ".join(members) + "}"


def one_line(value: bytes) -> str:
    """JSON as it stands, once it was seen to be JSON."""
    try:
        text = value.decode("utf-8")
        json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise Malformed("is not JSON") from None
    return text.replace("\n", " ").replace("\r", " ")


def show_nothing(_: Finding) -> None:
    pass


def command_verify(vault: Vault, options: argparse.Namespace) -> ExitCode:
    manifest = read_wanted_manifest(vault, options.id)
    report = Report(show_nothing if options.json else print)
    for ref in manifest.objects:
        verify_object(vault, ref, report)
    backup = Backup(vault, manifest, report)
    read = Tally()
    for stream in manifest.streams:
        try:
            read.add(verify_stream(backup, stream))
        except Damage as damage:
            report.damage(damage.key, damage.what, stream.name)
    found = report.damages()
    counts = {"objects": len(manifest.objects), "things": read.things, "bytes": read.byte_count}
    if options.json:
        print_json({"id": manifest.id, **counts, "findings": [finding._asdict() for finding in found]})
    else:
        print(
            f"read {counts['objects']} objects, {read.things} entries and records, {read.byte_count} bytes of content"
        )
    if found:
        raise Damage(manifest.key, f"the backup is damaged: {len(found)} findings")
    return ExitCode.OK


def read_wanted_manifest(vault: Vault, id: str) -> Manifest:
    if not ULID.fullmatch(id):
        raise BadInput(f"{printable(id)!r} is not the id of a backup, 26 letters and digits")
    if id not in vault.store.names("manifests"):
        raise BadInput(f"the vault has no backup {id}")
    return read_manifest(vault, id)


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other error: in one line."""

    def error(self, message: str) -> Any:
        raise BadInput(f"{message}; --help says more")


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="holdfast-read.py",
        description="Read a Holdfast vault with nothing but its objects and its key.",
        epilog="Exit codes: 0 all is well, 1 it could not be done, 2 the input is wrong, 3 something is damaged.",
    )
    parser.add_argument("--vault", required=True, metavar="DIR", help="the directory with holdfast.json")
    parser.add_argument("--key", action="append", default=[], metavar="FILE", help="a key file; may be repeated")
    parser.add_argument(
        "--vault-key",
        action="append",
        default=[],
        metavar="VERSION=FILE",
        help="a vault key that was unwrapped elsewhere, such as by KMS, in base64; may be repeated",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Vault, argparse.Namespace], ExitCode], help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(run=run)
        return command

    add_json(add("list", command_list, "all backups in the vault"))
    show = add("show", command_show, "what the manifest of a backup says")
    extract = add("extract", command_extract, "write what a backup holds to an empty directory")
    changes = add("changes", command_changes, "the captured changes of a resource, one a line in JSON")
    verify = add("verify", command_verify, "read everything in a backup and compare it; exit 3 if anything is wrong")
    for command in (show, extract, verify):
        help = "the backup's id, as `list` prints it" + ("; with --at the resource" if command is extract else "")
        command.add_argument("id", metavar="ID", help=help)
    add_json(show)
    add_json(verify)
    extract.add_argument("--to", required=True, metavar="DIR", help="an empty directory, or one to be made")
    for command in (extract, changes):
        command.add_argument("--stream", metavar="S", help="only this stream")
    extract.add_argument("--at", metavar="TIME", help="what a resource was at a time: a backup, and changes after it")
    extract.add_argument("--ignore-gaps", action="store_true", help="with --at: even if not all changes are known")
    extract.add_argument("--doubtful", action="store_true", help="also what a layer that is damaged may hold otherwise")
    changes.add_argument("resource", metavar="RESOURCE", help="the resource's name")
    changes.add_argument("--from", dest="start", metavar="TIME", help="the first time, such as 2026-01-31T12:00:00Z")
    changes.add_argument("--to", dest="end", metavar="TIME", help="the last time")
    return parser


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: Sequence[str] | None) -> ExitCode:
    options = make_parser().parse_args(arguments)
    key_files = [read_key_file(path) for path in options.key]
    vault_keys = dict(read_vault_key(argument) for argument in options.vault_key)
    if not key_files and not vault_keys:
        raise BadInput("a vault does not open without its key; give the key file with --key")
    code: ExitCode = options.run(Vault.open(options.vault, key_files, vault_keys), options)
    sys.stdout.flush()
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")
    try:
        return run(arguments)
    except ReaderError as error:
        message, code = str(error), error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        name = f"{printable(os.fsencode(error.filename))}: " if isinstance(error.filename, (str, bytes)) else ""
        message, code = f"{name}{error.strerror}", ExitCode.FAILED
    except MemoryError:
        message, code = "there is not enough memory", ExitCode.FAILED
    except KeyboardInterrupt:
        message, code = "interrupted", ExitCode.FAILED
    print(f"holdfast-read: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
