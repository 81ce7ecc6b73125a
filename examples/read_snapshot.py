#!/usr/bin/env python3
"""Reads a snapshot of ruvector-snapshot without ruvector-snapshot.

    read_snapshot.py DIR [DIR ...] [--npy OUT.npy] [--jsonl OUT.jsonl]

DIR is a downloaded `snapshot-.../` directory. For an increment, pass the directories of its whole chain, from the full
snapshot to the newest increment. The result is the state of the newest one.

The program verifies everything in the directories: the seal, the SHA-256 and the size of each file, the block directory,
CRC-32s, flags, the digest of every row and the content checksum. If anything is corrupt, it prints the place, writes
nothing and exits with 1.

As a module:

    from read_snapshot import read_snapshot
    ids, vectors, metadata = read_snapshot("snapshot-20240101T120000000Z-0123456789abcdef")
    ids, vectors, metadata = read_snapshot(FULL, INCREMENT, NEXT_INCREMENT)

This file was written from docs/FORMAT.md alone. Read it next to that document: `(4)` in a docstring refers to section 4.
Requires Python 3.8 or later and numpy.
"""

import argparse
import contextlib
import hashlib
import json
import re
import struct
import sys
import unicodedata
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

VECTORS = "vectors.bin.gz"
INDEX = "index.bin.gz"
METADATA = "metadata.bin.gz"
DATA_FILES = (VECTORS, INDEX, METADATA)

MIB = 1 << 20
# (7) Limits that are checked before memory is allocated.
MAX_SMALL_FILE = MIB
MAX_ROWS_IN_BLOCK = 65_536
MAX_ID = MIB
MAX_METADATA = 64 * MIB
MAX_VECTOR = 64 * MIB
MAX_BLOCK_PART = 8 * MIB
MAX_SECTION = 1 << 30
MAX_DATABASE_SECTION = 64 * MIB
MAX_FIRST_IRREGULAR_SECTION = 8 * MIB
IRREGULAR_SECTION_PART = 64
MAX_IRREGULAR_ENTRY = 15 * 256 * MIB + 9
FREE_IRREGULAR_ENTRY = 64 * MIB
MAX_SECTION_EXPANSION = 256
MAX_LEAVES_EXPANSION = 32
FREE_SECTION_BYTES = 16 * MIB
FREE_IDS_BYTES = 80 * MIB
MAX_EXPANSION = 1_032
MAX_ANNOTATION = 256 << 10
MAX_ANNOTATIONS = 1_000
# (9) The name of an annotation.
ANNOTATION = re.compile(r"annotation-(?!0{10})[0-9]{10}-[0-9a-f]{32}\.json")
# A line of metadata.bin.gz. JSON needs at most six bytes for each byte of an id.
MAX_LINE = MAX_METADATA + 6 * MAX_ID + len('{"id":"","metadata":}\n')

# (2) The metadata length of a record without metadata.
NO_METADATA = 0xFFFF_FFFF
DIGEST = 16
# (4) The flags of a row. In a full snapshot only the first two occur.
HAS_VECTOR = 1
HAS_METADATA = 2
IS_TOMBSTONE = 4


# (3) The numbers in the member `irregular`.
IRREGULAR_COUNTS = ("records", "config_rows", "tables", "table_rows")
# (4) The tables of a database of Ruvector: the names of the types of their keys and values.
RUVECTOR_TABLES = {"config": ("&str", "&str"), "metadata": ("&str", "&str"), "vectors": ("&str", "&[u8]")}
END, TABLE, ROW = 0, 1, 2


class Corrupt(Exception):
    """The snapshot does not conform to docs/FORMAT.md."""


class Unsupported(Exception):
    """The snapshot has a version or a type that this program does not support."""


class Table(NamedTuple):
    """(4) A table of irregular rows. A type is (byte, name, width): 1 for redb's own, 2 for an application's; width or None."""

    name: str
    key_type: Tuple[int, str, Optional[int]]
    value_type: Tuple[int, str, Optional[int]]
    rows: List[Tuple[bytes, bytes]]


class Snapshot(NamedTuple):
    """A verified snapshot. The rows are sorted by the bytes of their ids."""

    manifest: Dict[str, Any]
    ids: List[str]
    vectors: np.ndarray
    # The canonical metadata of each row, as stored; None if the record has no metadata.
    metadata: List[Optional[bytes]]
    # (4) What the database holds apart from records, with the bytes that it has there.
    irregular: List[Table]


class Section(NamedTuple):
    """(3, 4) The position of a section in index.bin.gz."""

    name: str
    offset: int
    bytes: int
    raw_bytes: int


class Block(NamedTuple):
    """(4) An entry of the block directory, field by field."""

    rows: int
    rows_with_vector: int
    rows_with_metadata: int
    ids_raw_bytes: int
    vectors_offset: int
    plane_bytes: Tuple[int, int, int, int]
    vectors_crc: int
    ids_bytes: int
    index_offset: int
    digests_bytes: int
    index_crc: int
    metadata_offset: int
    metadata_bytes: int
    metadata_raw_bytes: int
    metadata_crc: int


class Row(NamedTuple):
    """(4, 5) A row of a block. In an increment, `vector` is None for a tombstone and if the vector is that of the base."""

    id: bytes
    vector: Optional[np.ndarray]
    metadata: Optional[bytes]
    digest: bytes
    is_tombstone: bool


def read_snapshot(*paths) -> Tuple[List[str], np.ndarray, List[Optional[Dict[str, Any]]]]:
    """Returns the ids, the matrix (rows x dimensions, float32) and the metadata (dict or None), in row order."""
    snapshot = read_and_verify(*paths)
    return snapshot.ids, snapshot.vectors, [None if text is None else json.loads(text) for text in snapshot.metadata]


def read_and_verify(*paths) -> Snapshot:
    """Reads and verifies a full snapshot, or a chain in order, the full snapshot first.

    Raises Corrupt, Unsupported, or OSError if a file is missing or cannot be read.
    """
    state: Dict[bytes, Row] = {}
    irregular: List[Table] = []
    manifest: Optional[Dict[str, Any]] = None
    for path in paths:
        directory = Path(path).resolve()
        base, manifest = manifest, read_manifest(directory)
        check_base(manifest, base)
        rows = read_rows(directory, manifest)
        state = apply_rows(state, rows, manifest)
        irregular = read_irregular(directory, manifest, base, irregular)
    return state_of(state, manifest, irregular)


def check_base(manifest: Dict[str, Any], base: Optional[Dict[str, Any]]) -> None:
    """(5) A chain begins with a full snapshot. Every other snapshot depends on the one before it."""
    base_id = base_of(manifest)
    if base is None:
        if base_id is not None:
            raise Unsupported(
                f"snapshot {manifest['id']} is an increment with the base {base_id}: pass the directories of its whole chain, "
                "the full snapshot first"
            )
        return
    if base_id != base["id"]:
        actual = "it is a full snapshot" if base_id is None else f"its base is {base_id}"
        raise Unsupported(f"snapshot {manifest['id']} does not depend on {base['id']}: {actual}")
    check(base_id < manifest["id"], f"metadata.json: {manifest['id']} is older than its base {base_id}")
    check(manifest.get("base_checksum") == base["checksum"], f"metadata.json: base_checksum is not that of {base_id}")
    for name in ("dimensions", "distance_metric"):
        check(manifest[name] == base[name], f"metadata.json: {name} differs from the base")


def read_rows(directory: Path, manifest: Dict[str, Any]) -> List[Row]:
    """Returns all rows of one snapshot. The rows of a full snapshot are its records."""
    check_files(directory, manifest)
    sections = read_sections(directory, manifest)
    blocks, first_ids = parse_directory(sections["directory"], manifest)
    check_database_section(sections["database"], manifest)
    check_layout(directory, manifest, blocks)
    return read_blocks(directory, manifest, blocks, first_ids)


def apply_rows(state: Dict[bytes, Row], rows: List[Row], manifest: Dict[str, Any]) -> Dict[bytes, Row]:
    """(5) Applies the rows of a snapshot to the state of its base. A row without a vector takes it from that state."""
    after = dict(state)
    found = {"added": 0, "changed": 0, "removed": 0}
    for row in rows:
        old = after.pop(row.id, None)
        where = f"id {shown(row.id)}"
        if row.is_tombstone:
            check(old is not None and old.digest == row.digest, f"{where}: the tombstone does not match a record of the base")
            found["removed"] += 1
            continue
        found["added" if old is None else "changed"] += 1
        if row.vector is None:
            check(old is not None, f"{where}: no snapshot of the chain has its vector")
            row = row._replace(vector=old.vector)
            matches = digest_of(row.id, row.vector, row.metadata) == row.digest
            check(matches, f"{where}: the digest does not match the record with the vector of the base")
        after[row.id] = row
    if base_of(manifest) is not None:
        check(found == manifest["changes"], f"metadata.json: changes are {manifest['changes']}, but the rows are {found}")
    check(len(after) == manifest["vector_count"], f"the state has {len(after)} records, expected {manifest['vector_count']}")
    checksum = sum(int.from_bytes(hashlib.sha256(row.digest).digest(), "big") for row in after.values())
    if "irregular" in manifest:
        checksum += int(manifest["irregular"]["checksum"], 16)
    check(f"{checksum % (1 << 256):064x}" == manifest["checksum"], "the content checksum does not match the records")
    return after


def state_of(state: Dict[bytes, Row], manifest: Dict[str, Any], irregular: List[Table]) -> Snapshot:
    """(2) Sorts the records by the bytes of their ids."""
    rows = [state[row_id] for row_id in sorted(state)]
    vectors = np.empty((len(rows), manifest["dimensions"]), "<f4")
    for at, row in enumerate(rows):
        vectors[at] = row.vector
    return Snapshot(manifest, [row.id.decode() for row in rows], vectors, [row.metadata for row in rows], irregular)


# ---------------------------------------------------------------------------------------------- metadata.json, the seal


def read_manifest(directory: Path) -> Dict[str, Any]:
    """(3) Reads metadata.json and checks the version first, then the seal, then the members."""
    data = read_small_file(directory / "metadata.json")
    manifest = parse_json_object(data, "metadata.json")
    check(manifest.get("format") == "ruvector-snapshot", "metadata.json: not a snapshot of ruvector-snapshot")
    version = manifest.get("format_version")
    if version not in (1, 2):
        raise Unsupported(f"format_version is {version!r}, but this program supports only versions 1 and 2")
    check_seal(data)
    check_members(manifest)
    check_id(directory, manifest["id"])
    return manifest


def check_seal(data: bytes) -> None:
    """(3) The last 81 bytes of metadata.json hold the SHA-256 of all bytes before them."""
    body, tail = data[:-81], data[-81:]
    seal = b',\n  "seal": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'
    check(tail == seal, "metadata.json: the seal does not match the contents")


def check_members(manifest: Dict[str, Any]) -> None:
    """(3, 7) Checks the types and limits of the members that this reader uses."""
    for name, kind in (("id", str), ("name", str), ("checksum", str), ("files", dict), ("sections", list)):
        check(type(manifest.get(name)) is kind, f"metadata.json: {name} is missing or has the wrong type")
    labels, note = manifest.get("labels", {}), manifest.get("note")
    valid = type(labels) is dict and all(type(value) is str for value in labels.values())
    check(valid and type(note) in (str, type(None)), "metadata.json: labels or note has the wrong type")
    for name in ("vector_count", "dimensions", "blocks"):
        check(is_count(manifest.get(name)), f"metadata.json: {name} is not an unsigned integer")
    is_increment = base_of(manifest) is not None
    check_changes(manifest.get("changes"), is_increment)
    check_name(manifest["name"])
    metrics = ("Euclidean", "Cosine", "DotProduct", "Manhattan", None)
    check(manifest.get("distance_metric", "") in metrics, "metadata.json: distance_metric is unknown")
    check(manifest["dimensions"] * 4 <= MAX_VECTOR, "metadata.json: a vector would have more than 64 MiB")
    check(re.fullmatch("[0-9a-f]{64}", manifest["checksum"]), "metadata.json: checksum is not 64 hexadecimal digits")
    check_irregular_member(manifest)
    for name in DATA_FILES:
        check_file_member(name, manifest["files"].get(name))
    raw_vectors = manifest["files"][VECTORS]["raw_bytes"]
    expected = manifest["vector_count"] * manifest["dimensions"] * 4
    valid = is_increment or raw_vectors == expected
    check(valid, f"metadata.json: {VECTORS} expands to {raw_vectors} bytes, expected {expected}")


def check_irregular_member(manifest: Dict[str, Any]) -> None:
    """(3) Version 2 has the member `irregular`, and version 1 does not."""
    info = manifest.get("irregular")
    check((manifest["format_version"] == 2) == (info is not None), "metadata.json: irregular does not fit format_version")
    if info is None:
        return
    valid = type(info) is dict and all(is_count(info.get(name)) for name in IRREGULAR_COUNTS)
    check(valid and any(info[name] for name in IRREGULAR_COUNTS), "metadata.json: irregular has no valid numbers")
    valid = type(info.get("checksum")) is str and re.fullmatch("[0-9a-f]{64}", info["checksum"])
    check(valid, "metadata.json: the checksum of irregular is not 64 hexadecimal digits")


def base_of(manifest: Dict[str, Any]) -> Optional[str]:
    """(3, 5) Returns the id of the base; None for a full snapshot."""
    kind = manifest.get("snapshot_type")
    if kind == "full":
        return None
    increment = kind.get("incremental") if type(kind) is dict else None
    if type(increment) is not dict or type(increment.get("base_id")) is not str:
        raise Unsupported(f"snapshot_type is {kind!r}, but this program supports only full snapshots and increments")
    return increment["base_id"]


def check_changes(changes: Any, is_increment: bool) -> None:
    """(3) Checks the number of rows of each kind in an increment."""
    if not is_increment:
        check(changes is None, "metadata.json: a full snapshot must not have changes")
        return
    names = ("added", "changed", "removed")
    valid = type(changes) is dict and sorted(changes) == sorted(names) and all(map(is_count, changes.values()))
    check(valid, "metadata.json: changes is missing or does not have three numbers")


def check_name(name: str) -> None:
    """(3) Checks that a name has 1 to 1,024 bytes and no control characters."""
    size = len(name.encode(errors="surrogatepass"))
    valid = 1 <= size <= 1024 and all(unicodedata.category(c) not in ("Cc", "Cs") for c in name)
    check(valid, f"metadata.json: {name!r} is not a valid name")


def check_file_member(name: str, info: Any) -> None:
    """(3, 7) Checks an entry of `files`."""
    valid = type(info) is dict and is_count(info.get("bytes")) and is_count(info.get("raw_bytes"))
    check(valid and type(info.get("sha256")) is str, f"metadata.json: files has no valid entry for {name}")
    fits = info["raw_bytes"] <= MAX_EXPANSION * info["bytes"]
    check(fits, f"metadata.json: {name} cannot expand to {info['raw_bytes']} bytes")


def check_id(directory: Path, snapshot_id: str) -> None:
    """(1) Checks the form of the id, and that it equals the id in the name of the directory if that has one."""
    check(re.fullmatch(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{16}", snapshot_id), f"metadata.json: {snapshot_id!r} is not an id")
    if directory.name.startswith("snapshot-"):
        same = directory.name == f"snapshot-{snapshot_id}"
        check(same, f"metadata.json: the id is {snapshot_id}, but the directory is {directory.name}")


# ------------------------------------------------------------------------------------------------------------- files


def check_files(directory: Path, manifest: Dict[str, Any]) -> None:
    """(3) Checks the sizes and SHA-256 of the data files, and checksum.sha256 byte by byte."""
    sums = [("metadata.json", sha256_of_file(directory / "metadata.json"))]
    for name in DATA_FILES:
        info, path = manifest["files"][name], directory / name
        size = path.stat().st_size
        check(size == info["bytes"], f"{name}: size is {size} bytes, expected {info['bytes']}")
        sums.append((name, sha256_of_file(path)))
        check(sums[-1][1] == info["sha256"], f"{name}: SHA-256 does not match metadata.json")
    expected = "".join(f"{sha256}  {name}\n" for name, sha256 in sums).encode()
    found = read_small_file(directory / "checksum.sha256")
    check(found == expected, "checksum.sha256: it does not contain the SHA-256 of the other four files")


def sha256_of_file(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(MIB), b""):
            sha256.update(chunk)
    return sha256.hexdigest()


def read_small_file(path: Path) -> bytes:
    """(7) Reads a file of at most 1 MiB: metadata.json or checksum.sha256."""
    with path.open("rb") as file:
        data = file.read(MAX_SMALL_FILE + 1)
    check(len(data) <= MAX_SMALL_FILE, f"{path.name}: larger than 1 MiB")
    return data


# -------------------------------------------------------------------------------------------------------- annotations


def labels_and_note(manifest: Dict[str, Any], directory: Path) -> Tuple[Dict[str, str], Optional[str]]:
    """(9) Returns the labels and the note of metadata.json, with what annotations have changed of them.

    A corrupt annotation is no corruption of the snapshot: it is reported, and the others are used.
    """
    texts = {("label", key): text for key, text in manifest.get("labels", {}).items()}
    texts["note", ""] = manifest.get("note")
    changes: Dict[Tuple[str, str], Tuple[int, bool, str]] = {}
    included, corrupt = set(), {}
    names = sorted((path.name for path in directory.iterdir() if ANNOTATION.fullmatch(path.name)), reverse=True)
    for name in names[:MAX_ANNOTATIONS]:
        if name in included:
            continue
        try:
            found, includes = read_annotation(directory / name, manifest["id"])
        except (Corrupt, OSError) as error:
            corrupt[name] = error
            continue
        included.update(includes)
        for key, change in found.items():
            changes[key] = max(change, changes.get(key, change))
    for name in sorted(set(corrupt) - included):
        print(f"read_snapshot: warning: {name}: {corrupt[name]}", file=sys.stderr)
    for (kind, key), (_, is_text, text) in changes.items():
        same = [other for other in texts if (other[0], composed(other[1])) == (kind, composed(key))]
        for other in same:
            del texts[other]
        texts[kind, key] = text if is_text else None
    labels = {key: text for (kind, key), text in texts.items() if kind == "label" and text is not None}
    return labels, texts["note", ""]


def read_annotation(path: Path, snapshot_id: str) -> Tuple[Dict[Tuple[str, str], Tuple[int, bool, str]], List[str]]:
    """(9) Returns the changes of one annotation, in a form whose greatest counts, and the names of those it includes."""
    with path.open("rb") as file:
        data = file.read(MAX_ANNOTATION + 1)
    check(len(data) <= MAX_ANNOTATION, "larger than 256 KiB")
    check(hashlib.sha256(data).hexdigest()[:32] == path.name[22:54], "the content does not fit the digest in the name")
    content = parse_json_object(data, path.name)
    check(content.get("snapshot") == snapshot_id, "it is an annotation of another snapshot")
    labels, includes = content.get("labels", {}), content.get("includes", [])
    check(type(labels) is dict and type(includes) is list, "labels or includes has the wrong type")
    members = {("label", key): change for key, change in labels.items()}
    if content.get("note") is not None:
        members["note", ""] = content["note"]
    changes = {}
    for key, change in members.items():
        valid = type(change) is dict and is_count(change.get("number"))
        valid = valid and 1 <= change["number"] <= int(path.name[11:21]) and type(change.get("value")) in (str, type(None))
        check(valid, "a change has no valid number or no valid value")
        # A text counts before null.
        changes[key] = (change["number"], change["value"] is not None, change["value"] or "")
    return changes, [name for name in includes if type(name) is str]


def composed(text: str) -> str:
    """(9) Two keys in two Unicode spellings are one key."""
    return unicodedata.normalize("NFC", text)


# ---------------------------------------------------------------------------------------------------------- sections


def read_sections(directory: Path, manifest: Dict[str, Any]) -> Dict[str, bytes]:
    """(4) Expands the two sections that this reader uses, and skips the others."""
    sections = parse_sections(manifest["sections"])
    check_sections(sections, manifest["files"][INDEX]["bytes"])
    known = {}
    with (directory / INDEX).open("rb") as file:
        for section in sections:
            if section.name in ("directory", "database"):
                where = f"{INDEX}, section {section.name}"
                check(section.name not in known, f"{where}: it occurs twice")
                known[section.name] = expand(read_range(file, section.offset, section.bytes), section.raw_bytes, where)
    for name in ("directory", "database"):
        check(name in known, f"{INDEX}: no section {name}")
    return known


def read_irregular(
    directory: Path, manifest: Dict[str, Any], base: Optional[Dict[str, Any]], of_base: List[Table]
) -> List[Table]:
    """(4, 5) Returns the irregular rows of the state: those of this snapshot, or those of its base."""
    info = manifest.get("irregular")
    sections = parse_sections(manifest["sections"])
    own = [section for section in sections if section.name.split(".")[0] == "irregular"]
    names = ["irregular"] + [f"irregular.{number}" for number in range(1, len(own))]
    check([s.name for s in sections[: len(own)]] == names[: len(own)], "metadata.json: sections irregular are not in order")
    if info is None:
        check(not own, "metadata.json: sections irregular, but no member irregular")
        return []
    if not own:
        base_info = base and base.get("irregular")
        same = base_info and all(info[name] == base_info[name] for name in IRREGULAR_COUNTS + ("checksum",))
        check(same, "metadata.json: no sections irregular, and the base has other irregular rows")
        return of_base
    with (directory / INDEX).open("rb") as file:
        pieces = ((read_range(file, s.offset, s.bytes), s.raw_bytes, f"{INDEX}, section {s.name}") for s in own)
        stream = b"".join(expand(*piece) for piece in pieces)
    in_proportion = MAX_SECTION_EXPANSION * sum(section.bytes for section in own)
    tables = parse_irregular(stream, min(MAX_IRREGULAR_ENTRY, max(FREE_IRREGULAR_ENTRY, in_proportion)))
    check_irregular(tables, info)
    return tables


def parse_irregular(stream: bytes, max_entry: int) -> List[Table]:
    """(4, 7) Parses the irregular stream. No entry of it is larger than `max_entry`."""
    at, start, where, tables = 0, 0, f"{INDEX}, irregular rows", []

    def take(count: int) -> bytes:
        nonlocal at
        check(at + count <= len(stream), f"{where}: the stream ends within an entry")
        check(at + count - start <= max_entry, f"{where}: an entry is larger than its limit")
        at += count
        return stream[at - count : at]

    def number() -> int:
        return int.from_bytes(take(4), "little")

    def text() -> str:
        data = take(number())
        check(is_utf8(data), f"{where}: a name is not UTF-8")
        return data.decode()

    def type_of_column() -> Tuple[int, str, Optional[int]]:
        origin, has_width, width = take(1)[0], take(1)[0], number()
        check(origin in (1, 2) and has_width in (0, 1) and (has_width or width == 0), f"{where}: a type is not valid")
        return origin, text(), width if has_width else None

    while True:
        start = at
        tag = take(1)[0]
        if tag == END:
            check(at == len(stream), f"{where}: there are bytes after the end")
            return tables
        check(tag == TABLE or tag == ROW and tables, f"{where}: an entry is not valid")
        if tag == TABLE:
            tables.append(Table(text(), type_of_column(), type_of_column(), []))
        else:
            key_bytes, value_bytes = number(), number()
            tables[-1].rows.append((take(key_bytes), take(value_bytes)))


def check_irregular(tables: List[Table], info: Dict[str, Any]) -> None:
    """(4) Checks the order of the irregular rows, their digests and their numbers."""
    where, checksum, rows = f"{INDEX}, irregular rows", 0, dict.fromkeys(RUVECTOR_TABLES, 0)
    names = [table.name.encode() for table in tables]
    check(all(one < other for one, other in zip(names, names[1:])), f"{where}: the tables are not in order")
    for table in tables:
        checksum += sum(int.from_bytes(hashlib.sha256(digest).digest(), "big") for digest in irregular_digests(table))
        keys = [key for key, _ in table.rows]
        is_sorted = table.key_type[:2] in [(1, name) for name in ("&str", "&[u8]", "String")]
        ordered = all(one < other if is_sorted else one != other for one, other in zip(keys, keys[1:]))
        check(ordered, f"{where}: the keys of {table.name!r} are not in order")
        for row in table.rows:
            fits = all(t[2] in (None, len(data)) for t, data in zip((table.key_type, table.value_type), row))
            check(fits, f"{where}: a row of {table.name!r} does not have the width of its type")
        if table.name in rows:
            rows[table.name] = len(table.rows)
            types = tuple((1, name, None) for name in RUVECTOR_TABLES[table.name])
            check(table.rows and (table.key_type, table.value_type) == types, f"{where}: {table.name!r} is not valid")
    foreign = [table for table in tables if table.name not in rows]
    in_two = (rows["vectors"], rows["metadata"])
    check(max(in_two) <= info["records"] <= sum(in_two), f"{where}: the number of records does not match")
    found = {"config_rows": rows["config"], "tables": len(foreign), "table_rows": sum(len(t.rows) for t in foreign)}
    check(all(info[name] == found[name] for name in found), f"{where}: the numbers are {found}")
    check(f"{checksum % (1 << 256):064x}" == info["checksum"], f"{where}: their checksum does not match metadata.json")


def irregular_digests(table: Table) -> Iterator[bytes]:
    """(4) Returns the digest of a table, and those of its rows."""

    def sized(data: bytes) -> bytes:
        return struct.pack("<I", len(data)) + data

    def encoded(column: Tuple[int, str, Optional[int]]) -> bytes:
        origin, name, width = column
        return struct.pack("<BBI", origin, width is not None, width or 0) + sized(name.encode())

    head = sized(table.name.encode()) + encoded(table.key_type) + encoded(table.value_type)
    yield hashlib.sha256(b"\xff" * 4 + b"\1" + head).digest()[:DIGEST]
    start = b"\xff" * 4 + b"\2" + hashlib.sha256(head).digest()
    for number, (key, value) in enumerate(table.rows):
        row = struct.pack("<QII", number, len(key), len(value)) + key + value
        yield hashlib.sha256(start + row).digest()[:DIGEST]


def parse_sections(entries: List[Any]) -> List[Section]:
    """(3) Parses `sections`."""
    sections: List[Section] = []
    for entry in entries:
        sections.append(parse_section(entry, sum(section.raw_bytes for section in sections)))
    return sections


def parse_section(entry: Any, before: int) -> Section:
    """(3) Parses an entry of `sections`. The sections before it have `before` bytes after expansion."""
    check(type(entry) is dict and type(entry.get("name")) is str, "metadata.json: an entry of sections has no name")
    numbers = [entry.get(name) for name in ("offset", "bytes", "raw_bytes")]
    check(all(map(is_count, numbers)), f"metadata.json: section {entry['name']} has no valid offset or size")
    section = Section(entry["name"], *numbers)
    limit = MAX_SECTION
    if section.name in ("directory", "database", "leaves"):
        factor = MAX_LEAVES_EXPANSION if section.name == "leaves" else MAX_SECTION_EXPANSION
        limit = min(limit, factor * section.bytes + FREE_SECTION_BYTES)
    if section.name in ("directory", "leaves"):
        limit = max(limit, FREE_IDS_BYTES)
    if section.name == "database":
        limit = min(limit, MAX_DATABASE_SECTION)
    if section.name.partition(".")[0] == "irregular":
        limit = max(MAX_FIRST_IRREGULAR_SECTION, before // IRREGULAR_SECTION_PART)
    valid = section.bytes <= MAX_SECTION and section.raw_bytes <= limit
    check(valid, f"metadata.json: section {section.name} is larger than its limit")
    return section


def check_sections(sections: List[Section], file_bytes: int) -> None:
    """(4) Checks that the sections follow each other without gaps and end the file."""
    check(len(sections) > 0, "metadata.json: there are no sections")
    end = sections[0].offset
    for section in sections:
        check(section.offset == end, f"metadata.json: section {section.name} does not follow the one before it")
        end += section.bytes
    check(end == file_bytes, f"metadata.json: the sections end at {end}, but {INDEX} ends at {file_bytes}")


def parse_directory(raw: bytes, manifest: Dict[str, Any]) -> Tuple[List[Block], List[bytes]]:
    """(4) Parses the section `directory`: entries of 88 bytes, lengths of the first ids, the first ids."""
    where, count = f"{INDEX}, section directory", manifest["blocks"]
    is_full = base_of(manifest) is None
    check(len(raw) >= count * 92, f"{where}: too short for {count} blocks")
    blocks = [parse_block(raw[at : at + 88], f"{where}, block {at // 88}", is_full) for at in range(0, count * 88, 88)]
    lengths = np.frombuffer(raw, "<u4", count, count * 88)
    first_ids = split_by_lengths(raw[count * 92 :], lengths, where)
    return blocks, first_ids


def parse_block(entry: bytes, where: str, is_full: bool) -> Block:
    """(4, 7) Parses one entry of the directory and checks its limits."""
    v = struct.unpack("<4IQ4IIIQIIQ4I", entry)
    check(v[-1] == 0, f"{where}: the last four bytes are not zero")
    block = Block(*v[:5], v[5:9], *v[9:-1])
    check(1 <= block.rows <= MAX_ROWS_IN_BLOCK, f"{where}: {block.rows} rows")
    check(block.rows_with_vector <= block.rows, f"{where}: more vectors than rows")
    valid = not is_full or block.rows_with_vector == block.rows
    check(valid, f"{where}: a row of a full snapshot has no vector")
    check(block.rows_with_metadata <= block.rows, f"{where}: more metadata than rows")
    same = (block.rows_with_metadata > 0) == (block.metadata_bytes > 0)
    check(same, f"{where}: metadata without bytes, or bytes without metadata")
    ids_limit = MAX_BLOCK_PART if block.rows > 1 else 5 + MAX_ID
    check(block.ids_raw_bytes <= ids_limit, f"{where}: flags and ids of {block.ids_raw_bytes} bytes")
    lines_limit = MAX_BLOCK_PART if block.rows > 1 else MAX_LINE
    check(block.metadata_raw_bytes <= lines_limit, f"{where}: metadata lines of {block.metadata_raw_bytes} bytes")
    return block


def check_database_section(raw: bytes, manifest: Dict[str, Any]) -> None:
    """(4) Checks that the section `database` is JSON and agrees with metadata.json."""
    where = f"{INDEX}, section database"
    database = parse_json_object(raw, where)
    for name in ("dimensions", "distance_metric"):
        check(database.get(name) == manifest[name], f"{where}: {name} does not match metadata.json")


# ------------------------------------------------------------------------------------------------------------ layout


def check_layout(directory: Path, manifest: Dict[str, Any], blocks: List[Block]) -> None:
    """(4, 7) Checks that the pieces are in block order without gaps, and that every byte belongs to one piece or section."""
    files, sections = manifest["files"], manifest["sections"]
    rows, is_full = sum(block.rows for block in blocks), base_of(manifest) is None
    expected = manifest["vector_count"] if is_full else sum(manifest["changes"].values())
    check(rows == expected, f"{INDEX}: the blocks have {rows} rows, expected {expected}")
    sizes = [block.rows_with_vector * manifest["dimensions"] * 4 for block in blocks]
    for block, raw in zip(blocks, sizes):
        check(block.rows == 1 or raw <= MAX_BLOCK_PART, f"{VECTORS}: a block has more than 8 MiB of vectors")
    expected = files[VECTORS]["raw_bytes"]
    check(sum(sizes) == expected, f"{VECTORS}: the blocks expand to {sum(sizes)} bytes, expected {expected}")

    end = end_of_pieces(((block.index_offset, block.ids_bytes + block.digests_bytes) for block in blocks), INDEX)
    check(end == sections[0]["offset"], f"{INDEX}: the first section does not follow the last block")
    raw = sum(b.ids_raw_bytes + b.rows * DIGEST for b in blocks) + sum(section["raw_bytes"] for section in sections)
    expected = files[INDEX]["raw_bytes"]
    check(raw == expected, f"{INDEX}: the blocks and sections expand to {raw} bytes, expected {expected}")

    end = end_of_pieces(((block.vectors_offset, sum(block.plane_bytes)) for block in blocks), VECTORS)
    check_end(directory / VECTORS, end, files[VECTORS]["bytes"])

    end = end_of_pieces(((block.metadata_offset, block.metadata_bytes) for block in blocks), METADATA)
    check_end(directory / METADATA, end, files[METADATA]["bytes"])
    raw, expected = sum(block.metadata_raw_bytes for block in blocks), files[METADATA]["raw_bytes"]
    check(raw == expected, f"{METADATA}: the blocks expand to {raw} bytes, expected {expected}")


def end_of_pieces(pieces: Iterator[Tuple[int, int]], name: str) -> int:
    """(4) Checks that each piece starts where the previous one ends, and returns the end of the last one."""
    end = 0
    for number, (offset, size) in enumerate(pieces):
        check(offset == end, f"{name}, block {number}: it starts at {offset}, expected {end}")
        end += size
    return end


def check_end(path: Path, end: int, file_bytes: int) -> None:
    """(4) Checks that the pieces fill the file. A file without pieces is one member that expands to nothing."""
    if end == 0:
        check(file_bytes <= MIB, f"{path.name}: some bytes belong to no block")
        expand(path.read_bytes(), 0, path.name)
    else:
        check(end == file_bytes, f"{path.name}: the blocks end at {end}, but the file ends at {file_bytes}")


# ------------------------------------------------------------------------------------------------------------ blocks


def read_blocks(directory: Path, manifest: Dict[str, Any], blocks: List[Block], first_ids: List[bytes]) -> List[Row]:
    """(2, 4) Returns all rows, in order."""
    rows: List[Row] = []
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context((directory / name).open("rb")) for name in DATA_FILES}
        for number, block in enumerate(blocks):
            found = read_block(files, block, number, manifest)
            ids = [row.id for row in found]
            check(ids[0] == first_ids[number], f"{INDEX}, block {number}: the first id does not match the directory")
            check_order([row.id for row in rows[-1:]] + ids, f"{INDEX}, block {number}")
            rows += found
    return rows


def read_block(files, block: Block, number: int, manifest: Dict[str, Any]) -> List[Row]:
    """(2, 4) Returns the rows of a block. The digest of each row that has its vector here is verified."""
    is_full = base_of(manifest) is None
    flags, ids, digests = read_index_piece(files[INDEX], block, f"{INDEX}, block {number}", is_full)
    matrix = iter(read_vectors_piece(files[VECTORS], block, manifest["dimensions"], f"{VECTORS}, block {number}"))
    lines = read_metadata_piece(files[METADATA], block, f"{METADATA}, block {number}")
    metadata = metadata_of_rows(flags, ids, lines, f"{METADATA}, block {number}")
    rows = []
    for flag, row_id, text, digest in zip(flags, ids, metadata, digests):
        vector = next(matrix) if flag & HAS_VECTOR else None
        matches = vector is None or digest_of(row_id, vector, text) == digest
        check(matches, f"block {number}, id {shown(row_id)}: the digest does not match the record")
        rows.append(Row(row_id, vector, text, digest, flag == IS_TOMBSTONE))
    return rows


def digest_of(row_id: bytes, vector: np.ndarray, metadata: Optional[bytes]) -> bytes:
    """(2) Computes the digest of a record."""
    values = vector.tobytes()
    sha256 = hashlib.sha256()
    sha256.update(struct.pack("<I", len(row_id)) + row_id)
    sha256.update(struct.pack("<I", len(values)) + values)
    sha256.update(struct.pack("<I", NO_METADATA if metadata is None else len(metadata)) + (metadata or b""))
    return sha256.digest()[:DIGEST]


def read_index_piece(file, block: Block, where: str, is_full: bool) -> Tuple[bytes, List[bytes], List[bytes]]:
    """(4) Reads the flags, ids and digests of a block."""
    piece = read_range(file, block.index_offset, block.ids_bytes + block.digests_bytes)
    check(zlib.crc32(piece) == block.index_crc, f"{where}: CRC-32 does not match")
    raw = expand(piece[: block.ids_bytes], block.ids_raw_bytes, where)
    digests = expand(piece[block.ids_bytes :], block.rows * DIGEST, where)
    check(len(raw) >= block.rows * 5, f"{where}: too short for {block.rows} rows")
    flags = raw[: block.rows]
    allowed = [HAS_VECTOR, HAS_VECTOR | HAS_METADATA] + ([] if is_full else [0, HAS_METADATA, IS_TOMBSTONE])
    for flag in flags:
        check(flag in allowed, f"{where}: a row has the invalid flags {flag}")
    with_vector = sum(flag & HAS_VECTOR != 0 for flag in flags)
    check(with_vector == block.rows_with_vector, f"{where}: the number of vectors does not match the directory")
    with_metadata = sum(flag & HAS_METADATA != 0 for flag in flags)
    check(with_metadata == block.rows_with_metadata, f"{where}: the number of metadata lines does not match the directory")
    lengths = np.frombuffer(raw, "<u4", block.rows, block.rows)
    ids = split_by_lengths(raw[block.rows * 5 :], lengths, where)
    check_ids(ids, where)
    return flags, ids, [digests[at : at + DIGEST] for at in range(0, len(digests), DIGEST)]


def read_vectors_piece(file, block: Block, dimensions: int, where: str) -> np.ndarray:
    """(4) Reads the vectors of a block. Plane p holds byte p of every value, which was rotated left by one bit."""
    piece = read_range(file, block.vectors_offset, sum(block.plane_bytes))
    check(zlib.crc32(piece) == block.vectors_crc, f"{where}: CRC-32 does not match")
    count = block.rows_with_vector * dimensions
    if block.rows_with_vector == 0:
        check(not piece, f"{where}: the piece has bytes, but no row has a vector")
        return np.empty((0, dimensions), "<f4")
    planes = np.empty((count, 4), np.uint8)
    start = 0
    for plane, size in enumerate(block.plane_bytes):
        raw = expand(piece[start : start + size], count, f"{where}, plane {plane}")
        planes[:, plane] = np.frombuffer(raw, np.uint8)
        start += size
    rotated = planes.reshape(-1).view("<u4")
    bits = (rotated >> np.uint32(1)) | (rotated << np.uint32(31))
    return bits.astype("<u4").view("<f4").reshape(block.rows_with_vector, dimensions)


def read_metadata_piece(file, block: Block, where: str) -> List[bytes]:
    """(4) Reads the lines of a block, one for each row that has metadata."""
    piece = read_range(file, block.metadata_offset, block.metadata_bytes)
    check(zlib.crc32(piece) == block.metadata_crc, f"{where}: CRC-32 does not match")
    if block.metadata_bytes == 0:
        check(block.metadata_raw_bytes == 0, f"{where}: an empty piece cannot expand")
        return []
    lines = expand(piece, block.metadata_raw_bytes, where).split(b"\n")
    check(lines.pop() == b"", f"{where}: the last line has no line end")
    check(len(lines) == block.rows_with_metadata, f"{where}: {len(lines)} lines, expected {block.rows_with_metadata}")
    return lines


def metadata_of_rows(flags: bytes, ids: List[bytes], lines: List[bytes], where: str) -> List[Optional[bytes]]:
    """(4) Returns the canonical metadata of every row of a block. The lines are in row order."""
    rest = iter(lines)
    return [parse_line(next(rest), i, where) if flag & HAS_METADATA else None for flag, i in zip(flags, ids)]


def parse_line(line: bytes, row_id: bytes, where: str) -> bytes:
    """(4) Returns the text between `,"metadata":` and the final `}`. Quotes in the id are escaped, so the first match is it."""
    head, separator, tail = line.partition(b',"metadata":')
    valid = separator and head.startswith(b'{"id":') and tail.endswith(b"}")
    check(valid, f"{where}: a line does not have the form {{\"id\":...,\"metadata\":...}}")
    check(parse_json(head[6:], where) == row_id.decode(), f"{where}: the line of id {shown(row_id)} has a different id")
    canonical = tail[:-1]
    check(len(canonical) <= MAX_METADATA, f"{where}: metadata larger than 64 MiB")
    # Numbers are not converted: their size is not limited, only their syntax is checked.
    parse_json_object(canonical, f"{where}, id {shown(row_id)}", parse_int=str, parse_float=str)
    return canonical


def check_ids(ids: List[bytes], where: str) -> None:
    """(2, 7) Checks that ids are UTF-8 and have at most 1 MiB."""
    for row_id in ids:
        check(len(row_id) <= MAX_ID, f"{where}: an id is larger than 1 MiB")
        check(is_utf8(row_id), f"{where}: id {shown(row_id)} is not UTF-8")


def check_order(ids: List[bytes], where: str) -> None:
    """(2) Checks that ids are sorted by their bytes and unique."""
    for one, next_one in zip(ids, ids[1:]):
        check(one < next_one, f"{where}: id {shown(next_one)} is out of order")


# ----------------------------------------------------------------------------------------------------------- helpers


def check(holds: Any, message: str) -> None:
    if not holds:
        raise Corrupt(message)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def shown(row_id: bytes) -> str:
    """Formats an id for a message: quoted and shortened."""
    text = row_id.decode(errors="backslashreplace")
    return repr(text if len(text) <= 100 else text[:100] + "...")


def read_range(file, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = file.read(size)
    check(len(data) == size, f"{Path(file.name).name}: the file ends before byte {offset + size}")
    return data


def expand(member: bytes, raw_bytes: int, where: str) -> bytes:
    """(4, 7) Expands exactly one gzip member to exactly `raw_bytes` bytes."""
    check(raw_bytes <= MAX_EXPANSION * len(member), f"{where}: {len(member)} bytes cannot expand to {raw_bytes}")
    inflate = zlib.decompressobj(wbits=31)
    try:
        raw = inflate.decompress(member, raw_bytes + 1)
    except zlib.error as error:
        raise Corrupt(f"{where}: not a gzip member: {error}") from error
    valid = inflate.eof and not inflate.unused_data and len(raw) == raw_bytes
    check(valid, f"{where}: not one gzip member that expands to {raw_bytes} bytes")
    return raw


def split_by_lengths(data: bytes, lengths: np.ndarray, where: str) -> List[bytes]:
    """Splits concatenated texts. The lengths must add up to the size of the data."""
    ends = np.cumsum(lengths, dtype=np.uint64).tolist()
    check((ends[-1] if ends else 0) == len(data), f"{where}: the lengths of the ids do not add up")
    return [data[start:end] for start, end in zip([0] + ends, ends)]


def parse_json(data: bytes, where: str, **options) -> Any:
    """Parses JSON (RFC 8259) in UTF-8."""
    try:
        return json.loads(data.decode(), parse_constant=refuse_constant, **options)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{where}: not JSON: {error}") from error


def parse_json_object(data: bytes, where: str, **options) -> Dict[str, Any]:
    value = parse_json(data, where, **options)
    check(type(value) is dict, f"{where}: not a JSON object")
    return value


def refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


# -------------------------------------------------------------------------------------------------------------- main


def main() -> int:
    arguments = parse_arguments()
    try:
        snapshot = read_and_verify(*arguments.directories)
    except Corrupt as error:
        print(f"read_snapshot: {' '.join(arguments.directories)}: corrupt: {error}", file=sys.stderr)
        return 1
    except Unsupported as error:
        print(f"read_snapshot: {' '.join(arguments.directories)}: unsupported: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"read_snapshot: {error}", file=sys.stderr)
        return 1
    if arguments.npy:
        write_npy(arguments.npy, snapshot)
    if arguments.jsonl:
        write_jsonl(arguments.jsonl, snapshot)
    print_summary(snapshot, Path(arguments.directories[-1]))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Read and verify a downloaded snapshot directory.")
    chain = "a snapshot-... directory; for an increment all directories of its chain, the full snapshot first"
    parser.add_argument("directories", metavar="DIR", nargs="+", help=chain)
    parser.add_argument("--npy", metavar="OUT.npy", help="write the vectors to this file: rows x dimensions, float32")
    parser.add_argument("--jsonl", metavar="OUT.jsonl", help='write {"id":...,"metadata":...} of every row to this file')
    return parser.parse_args()


def write_npy(path: str, snapshot: Snapshot) -> None:
    with open(path, "wb") as file:
        np.save(file, snapshot.vectors)


def write_jsonl(path: str, snapshot: Snapshot) -> None:
    """Writes a line for every row. Metadata is written as stored, or as null if the record has none."""
    with open(path, "wb") as file:
        for row_id, metadata in zip(snapshot.ids, snapshot.metadata):
            text = json.dumps(row_id, ensure_ascii=False).encode()
            file.write(b'{"id":' + text + b',"metadata":' + (metadata or b"null") + b"}\n")


def print_summary(snapshot: Snapshot, directory: Path) -> None:
    manifest = snapshot.manifest
    with_metadata = sum(metadata is not None for metadata in snapshot.metadata)
    print(f"snapshot    {manifest['id']}")
    print(f"name        {plain(manifest['name'])}")
    print(f"vectors     {len(snapshot.ids)}, {with_metadata} with metadata")
    print(f"dimensions  {manifest['dimensions']}")
    print(f"metric      {manifest['distance_metric'] or 'unknown'}")
    for table in snapshot.irregular:
        print(f"irregular   {table.name!r}: {len(table.rows)} rows")
    labels, note = labels_and_note(manifest, directory)
    for key, value in sorted(labels.items()):
        print(f"label       {plain(key)}={plain(value)}")
    if note is not None:
        print(f"note        {plain(note)}")
    print(f"checksum    {manifest['checksum']}, verified")


def plain(text: str) -> str:
    """Escapes what controls a terminal or changes the direction of the text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


if __name__ == "__main__":
    sys.exit(main())
