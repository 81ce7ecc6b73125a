#!/usr/bin/env python3
"""Reads a snapshot of ruvector-snapshot without ruvector-snapshot.

    read_snapshot.py DIR [DIR ...] [--npy OUT.npy] [--jsonl OUT.jsonl]

DIR is a downloaded `snapshot-.../` directory; of an increment all directories of its chain, from the full one to the newest,
whose state it is that comes out. Everything in them is checked: the seal, the SHA-256 and the size of each
file, the directory of blocks, CRC-32s, flags, the digest of every row and the content checksum. On any damage the program
says where and exits with 1, and writes nothing.

As a module:

    from read_snapshot import read_snapshot
    ids, vectors, metadata = read_snapshot("snapshot-20240101T120000000Z-0123456789abcdef")
    ids, vectors, metadata = read_snapshot(FULL, INCREMENT, NEXT_INCREMENT)

This file was written from docs/FORMAT.md alone and is meant to be read next to it; `(4)` in a docstring is its section 4.
Needs Python 3.8 or later and numpy.
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
# (6) What a reader refuses before it allocates.
MAX_SMALL_FILE = MIB
MAX_ROWS_IN_BLOCK = 65_536
MAX_ID = MIB
MAX_METADATA = 64 * MIB
MAX_VECTOR = 64 * MIB
MAX_BLOCK_PART = 8 * MIB
MAX_SECTION = 1 << 30
MAX_EXPANSION = 1_032
# A line of metadata.bin.gz: every byte of an id takes at most six in JSON.
MAX_LINE = MAX_METADATA + 6 * MAX_ID + len('{"id":"","metadata":}\n')

# (2) Stands for the length of the metadata of a record that has none.
NO_METADATA = 0xFFFF_FFFF
DIGEST = 16
# (4) The flags of a row. The first two are those of a record in a full snapshot.
HAS_VECTOR = 1
HAS_METADATA = 2
IS_GONE = 4


class Damaged(Exception):
    """The snapshot is not what docs/FORMAT.md says."""


class Unsupported(Exception):
    """The snapshot is of a version or a type that this file does not know."""


class Snapshot(NamedTuple):
    """A whole and proved snapshot; the rows are sorted by the bytes of their ids."""

    manifest: Dict[str, Any]
    ids: List[str]
    vectors: np.ndarray
    # The canonical metadata of each row, as stored; None where the record has none.
    metadata: List[Optional[bytes]]


class Section(NamedTuple):
    """(3, 4) Where a section lies in index.bin.gz."""

    name: str
    offset: int
    bytes: int
    raw_bytes: int


class Block(NamedTuple):
    """(4) An entry of the directory, member for member."""

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
    """(4, 5) A row of a block. An increment holds no vector where the base's counts, and neither where the id is gone."""

    id: bytes
    vector: Optional[np.ndarray]
    metadata: Optional[bytes]
    digest: bytes
    is_gone: bool


def read_snapshot(*paths) -> Tuple[List[str], np.ndarray, List[Optional[Dict[str, Any]]]]:
    """The ids, the matrix (rows x dimensions, float32) and the metadata (dict or None) of a snapshot, in row order."""
    snapshot = prove(*paths)
    return snapshot.ids, snapshot.vectors, [None if text is None else json.loads(text) for text in snapshot.metadata]


def prove(*paths) -> Snapshot:
    """Reads all of a snapshot, or of a chain from the full one on, and checks all of it.

    Raises Damaged, Unsupported, or OSError where a file is missing or cannot be read.
    """
    state: Dict[bytes, Row] = {}
    manifest: Optional[Dict[str, Any]] = None
    for path in paths:
        directory = Path(path).resolve()
        base, manifest = manifest, read_manifest(directory)
        check_base(manifest, base)
        rows = read_rows(directory, manifest)
        state = apply_rows(state, rows, manifest)
    return state_of(state, manifest)


def check_base(manifest: Dict[str, Any], base: Optional[Dict[str, Any]]) -> None:
    """(5) A chain begins with a full snapshot, and each other one stands on the one before it."""
    base_id = base_of(manifest)
    if base is None:
        if base_id is not None:
            raise Unsupported(
                f"snapshot {manifest['id']} is an increment on {base_id}: name the directories of the whole chain, from "
                "the full snapshot on"
            )
        return
    if base_id != base["id"]:
        stands = "it is a full one" if base_id is None else f"it stands on {base_id}"
        raise Unsupported(f"snapshot {manifest['id']} does not stand on {base['id']}: {stands}")
    check(base_id < manifest["id"], f"metadata.json: {manifest['id']} is older than its base {base_id}")
    check(manifest.get("base_checksum") == base["checksum"], f"metadata.json: {base_id} has other contents than the base had")
    for name in ("dimensions", "distance_metric"):
        check(manifest[name] == base[name], f"metadata.json: {name} is not that of the base")


def read_rows(directory: Path, manifest: Dict[str, Any]) -> List[Row]:
    """All rows of one snapshot; those of a full one are its records."""
    check_files(directory, manifest)
    sections = read_sections(directory, manifest)
    blocks, first_ids = parse_directory(sections["directory"], manifest)
    check_database_section(sections["database"], manifest)
    check_layout(directory, manifest, blocks)
    return read_blocks(directory, manifest, blocks, first_ids)


def apply_rows(state: Dict[bytes, Row], rows: List[Row], manifest: Dict[str, Any]) -> Dict[bytes, Row]:
    """(5) The state with the rows of the next snapshot. What a row lacks, it has from the state below it."""
    after = dict(state)
    found = {"added": 0, "changed": 0, "removed": 0}
    for row in rows:
        old = after.pop(row.id, None)
        where = f"id {shown(row.id)}"
        if row.is_gone:
            check(old is not None and old.digest == row.digest, f"{where}: it is removed, and not what was there")
            found["removed"] += 1
            continue
        found["added" if old is None else "changed"] += 1
        if row.vector is None:
            check(old is not None, f"{where}: its vector is in no snapshot of the chain")
            row = row._replace(vector=old.vector)
            proved = digest_of(row.id, row.vector, row.metadata) == row.digest
            check(proved, f"{where}: the digest does not match the record with the vector of the base")
        after[row.id] = row
    if base_of(manifest) is not None:
        check(found == manifest["changes"], f"metadata.json: changes are {manifest['changes']}, and {found} were found")
    check(len(after) == manifest["vector_count"], f"the state has {len(after)} records, not {manifest['vector_count']}")
    checksum = sum(int.from_bytes(hashlib.sha256(row.digest).digest(), "big") for row in after.values()) % (1 << 256)
    check(f"{checksum:064x}" == manifest["checksum"], "the content checksum does not match the records")
    return after


def state_of(state: Dict[bytes, Row], manifest: Dict[str, Any]) -> Snapshot:
    """(2) The records in the order of the bytes of their ids."""
    rows = [state[row_id] for row_id in sorted(state)]
    vectors = np.empty((len(rows), manifest["dimensions"]), "<f4")
    for at, row in enumerate(rows):
        vectors[at] = row.vector
    return Snapshot(manifest, [row.id.decode() for row in rows], vectors, [row.metadata for row in rows])


# ---------------------------------------------------------------------------------------------- metadata.json, the seal


def read_manifest(directory: Path) -> Dict[str, Any]:
    """(3) metadata.json: the version first, then the seal, then its members."""
    data = read_small_file(directory / "metadata.json")
    manifest = parse_json_object(data, "metadata.json")
    check(manifest.get("format") == "ruvector-snapshot", "metadata.json: this is no snapshot of ruvector-snapshot")
    version = manifest.get("format_version")
    if version != 1:
        raise Unsupported(f"format_version is {version!r}, and this program reads version 1")
    check_seal(data)
    check_members(manifest)
    check_id(directory, manifest["id"])
    return manifest


def check_seal(data: bytes) -> None:
    """(3) The last 81 bytes of metadata.json hold the SHA-256 of all bytes before them."""
    body, tail = data[:-81], data[-81:]
    seal = b',\n  "seal": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'
    check(tail == seal, "metadata.json: the seal does not match what it seals")


def check_members(manifest: Dict[str, Any]) -> None:
    """(3, 6) The members that a reader needs have their types and keep the limits."""
    for name, kind in (("id", str), ("name", str), ("checksum", str), ("files", dict), ("sections", list)):
        check(type(manifest.get(name)) is kind, f"metadata.json: {name} is missing or of another type")
    for name in ("vector_count", "dimensions", "blocks"):
        check(is_count(manifest.get(name)), f"metadata.json: {name} is no unsigned integer")
    is_increment = base_of(manifest) is not None
    check_changes(manifest.get("changes"), is_increment)
    check_name(manifest["name"])
    metrics = ("Euclidean", "Cosine", "DotProduct", "Manhattan", None)
    check(manifest.get("distance_metric", "") in metrics, "metadata.json: distance_metric is none of the four, nor null")
    check(manifest["dimensions"] * 4 <= MAX_VECTOR, "metadata.json: a vector of more than 64 MiB")
    check(re.fullmatch("[0-9a-f]{64}", manifest["checksum"]), "metadata.json: checksum is not 64 hexadecimal digits")
    for name in DATA_FILES:
        check_file_member(name, manifest["files"].get(name))
    raw_vectors = manifest["files"][VECTORS]["raw_bytes"]
    wanted = manifest["vector_count"] * manifest["dimensions"] * 4
    whole = is_increment or raw_vectors == wanted
    check(whole, f"metadata.json: {VECTORS} expands to {raw_vectors} bytes, the vectors are {wanted}")


def base_of(manifest: Dict[str, Any]) -> Optional[str]:
    """(3, 5) The id of the snapshot that an increment stands on; None of a full one."""
    kind = manifest.get("snapshot_type")
    if kind == "full":
        return None
    increment = kind.get("incremental") if type(kind) is dict else None
    if type(increment) is not dict or type(increment.get("base_id")) is not str:
        raise Unsupported(f"snapshot_type is {kind!r}, and this program knows full snapshots and increments")
    return increment["base_id"]


def check_changes(changes: Any, is_increment: bool) -> None:
    """(3) How many rows an increment has of each kind."""
    if not is_increment:
        check(changes is None, "metadata.json: a full snapshot has no changes")
        return
    names = ("added", "changed", "removed")
    whole = type(changes) is dict and sorted(changes) == sorted(names) and all(map(is_count, changes.values()))
    check(whole, "metadata.json: changes is missing or not three numbers")


def check_name(name: str) -> None:
    """(3) 1 to 1,024 bytes without control characters."""
    size = len(name.encode(errors="surrogatepass"))
    whole = 1 <= size <= 1024 and all(unicodedata.category(c) not in ("Cc", "Cs") for c in name)
    check(whole, f"metadata.json: {name!r} is no name of a snapshot")


def check_file_member(name: str, info: Any) -> None:
    """(3, 6) An entry of `files`."""
    whole = type(info) is dict and is_count(info.get("bytes")) and is_count(info.get("raw_bytes"))
    check(whole and type(info.get("sha256")) is str, f"metadata.json: files lacks {name}, or says too little about it")
    check(info["raw_bytes"] <= MAX_EXPANSION * info["bytes"], f"metadata.json: {name} cannot expand that far")


def check_id(directory: Path, snapshot_id: str) -> None:
    """(1) The id has its form and equals the one in the name of the directory, where that still has one."""
    check(re.fullmatch(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{16}", snapshot_id), f"metadata.json: {snapshot_id!r} is no id")
    if directory.name.startswith("snapshot-"):
        same = directory.name == f"snapshot-{snapshot_id}"
        check(same, f"metadata.json: the id is {snapshot_id}, the directory is {directory.name}")


# ------------------------------------------------------------------------------------------------------- whole files


def check_files(directory: Path, manifest: Dict[str, Any]) -> None:
    """(3) Sizes and SHA-256 of the data files, and checksum.sha256 to the byte."""
    sums = [("metadata.json", sha256_of_file(directory / "metadata.json"))]
    for name in DATA_FILES:
        info, path = manifest["files"][name], directory / name
        size = path.stat().st_size
        check(size == info["bytes"], f"{name}: it has {size} bytes instead of {info['bytes']}")
        sums.append((name, sha256_of_file(path)))
        check(sums[-1][1] == info["sha256"], f"{name}: its SHA-256 is not the one in metadata.json")
    wanted = "".join(f"{sha256}  {name}\n" for name, sha256 in sums).encode()
    found = read_small_file(directory / "checksum.sha256")
    check(found == wanted, "checksum.sha256: it does not hold the SHA-256 of the four other files")


def sha256_of_file(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(MIB), b""):
            sha256.update(chunk)
    return sha256.hexdigest()


def read_small_file(path: Path) -> bytes:
    """(6) metadata.json and checksum.sha256 have at most 1 MiB."""
    with path.open("rb") as file:
        data = file.read(MAX_SMALL_FILE + 1)
    check(len(data) <= MAX_SMALL_FILE, f"{path.name}: it has more than 1 MiB")
    return data


# ---------------------------------------------------------------------------------------------------------- sections


def read_sections(directory: Path, manifest: Dict[str, Any]) -> Dict[str, bytes]:
    """(4) The two sections this reader knows, expanded; others are skipped."""
    sections = [parse_section(entry) for entry in manifest["sections"]]
    check_sections(sections, manifest["files"][INDEX]["bytes"])
    known = {}
    with (directory / INDEX).open("rb") as file:
        for section in sections:
            if section.name in ("directory", "database"):
                where = f"{INDEX}, section {section.name}"
                check(section.name not in known, f"{where}: there are two")
                known[section.name] = expand(read_range(file, section.offset, section.bytes), section.raw_bytes, where)
    for name in ("directory", "database"):
        check(name in known, f"{INDEX}: section {name} is missing")
    return known


def parse_section(entry: Any) -> Section:
    """(3) An entry of `sections`."""
    check(type(entry) is dict and type(entry.get("name")) is str, "metadata.json: an entry of sections has no name")
    numbers = [entry.get(name) for name in ("offset", "bytes", "raw_bytes")]
    check(all(map(is_count, numbers)), f"metadata.json: section {entry['name']} lacks a number")
    section = Section(entry["name"], *numbers)
    check(max(section.bytes, section.raw_bytes) <= MAX_SECTION, f"metadata.json: section {section.name} is over 1 GiB")
    return section


def check_sections(sections: List[Section], file_bytes: int) -> None:
    """(4) Sections follow each other without gaps and end the file."""
    check(len(sections) > 0, "metadata.json: there are no sections")
    end = sections[0].offset
    for section in sections:
        check(section.offset == end, f"metadata.json: section {section.name} does not follow the one before it")
        end += section.bytes
    check(end == file_bytes, f"metadata.json: the sections end at {end}, {INDEX} at {file_bytes}")


def parse_directory(raw: bytes, manifest: Dict[str, Any]) -> Tuple[List[Block], List[bytes]]:
    """(4) The section `directory`: entries of 88 bytes, lengths of the first ids, the first ids."""
    where, count = f"{INDEX}, section directory", manifest["blocks"]
    is_full = base_of(manifest) is None
    check(len(raw) >= count * 92, f"{where}: too short for {count} blocks")
    blocks = [parse_block(raw[at : at + 88], f"{where}, block {at // 88}", is_full) for at in range(0, count * 88, 88)]
    lengths = np.frombuffer(raw, "<u4", count, count * 88)
    first_ids = split_by_lengths(raw[count * 92 :], lengths, where)
    return blocks, first_ids


def parse_block(entry: bytes, where: str, is_full: bool) -> Block:
    """(4, 6) One entry of the directory, within the limits."""
    v = struct.unpack("<4IQ4IIIQIIQ4I", entry)
    check(v[-1] == 0, f"{where}: the last four bytes are not zero")
    block = Block(*v[:5], v[5:9], *v[9:-1])
    check(1 <= block.rows <= MAX_ROWS_IN_BLOCK, f"{where}: {block.rows} rows")
    check(block.rows_with_vector <= block.rows, f"{where}: more vectors than rows")
    whole = not is_full or block.rows_with_vector == block.rows
    check(whole, f"{where}: a full snapshot has a vector for every row")
    check(block.rows_with_metadata <= block.rows, f"{where}: more metadata than rows")
    same = (block.rows_with_metadata > 0) == (block.metadata_bytes > 0)
    check(same, f"{where}: metadata without bytes, or bytes without metadata")
    ids_limit = MAX_BLOCK_PART if block.rows > 1 else 5 + MAX_ID
    check(block.ids_raw_bytes <= ids_limit, f"{where}: flags and ids of {block.ids_raw_bytes} bytes")
    lines_limit = MAX_BLOCK_PART if block.rows > 1 else MAX_LINE
    check(block.metadata_raw_bytes <= lines_limit, f"{where}: metadata lines of {block.metadata_raw_bytes} bytes")
    return block


def check_database_section(raw: bytes, manifest: Dict[str, Any]) -> None:
    """(4) The section `database` is JSON and agrees with metadata.json."""
    where = f"{INDEX}, section database"
    database = parse_json_object(raw, where)
    for name in ("dimensions", "distance_metric"):
        check(database.get(name) == manifest[name], f"{where}: {name} is not the one in metadata.json")


# ------------------------------------------------------------------------------------------------------------ layout


def check_layout(directory: Path, manifest: Dict[str, Any], blocks: List[Block]) -> None:
    """(4, 6) Pieces lie in block order without gaps, all sizes add up, every byte belongs to one piece or section."""
    files, sections = manifest["files"], manifest["sections"]
    rows, is_full = sum(block.rows for block in blocks), base_of(manifest) is None
    wanted = manifest["vector_count"] if is_full else sum(manifest["changes"].values())
    check(rows == wanted, f"{INDEX}: the blocks have {rows} rows, not {wanted}")
    sizes = [block.rows_with_vector * manifest["dimensions"] * 4 for block in blocks]
    for block, raw in zip(blocks, sizes):
        check(block.rows == 1 or raw <= MAX_BLOCK_PART, f"{VECTORS}: a block has more than 8 MiB of vectors")
    wanted = files[VECTORS]["raw_bytes"]
    check(sum(sizes) == wanted, f"{VECTORS}: it expands to {sum(sizes)} bytes, not {wanted}")

    end = end_of_pieces(((block.index_offset, block.ids_bytes + block.digests_bytes) for block in blocks), INDEX)
    check(end == sections[0]["offset"], f"{INDEX}: the first section does not follow the last block")
    raw = sum(b.ids_raw_bytes + b.rows * DIGEST for b in blocks) + sum(section["raw_bytes"] for section in sections)
    wanted = files[INDEX]["raw_bytes"]
    check(raw == wanted, f"{INDEX}: it expands to {raw} bytes, not {wanted}")

    end = end_of_pieces(((block.vectors_offset, sum(block.plane_bytes)) for block in blocks), VECTORS)
    check_end(directory / VECTORS, end, files[VECTORS]["bytes"])

    end = end_of_pieces(((block.metadata_offset, block.metadata_bytes) for block in blocks), METADATA)
    check_end(directory / METADATA, end, files[METADATA]["bytes"])
    raw, wanted = sum(block.metadata_raw_bytes for block in blocks), files[METADATA]["raw_bytes"]
    check(raw == wanted, f"{METADATA}: it expands to {raw} bytes, not {wanted}")


def end_of_pieces(pieces: Iterator[Tuple[int, int]], name: str) -> int:
    """(4) Where the last piece ends, if each begins where the one before it ended."""
    end = 0
    for number, (offset, size) in enumerate(pieces):
        check(offset == end, f"{name}, block {number}: it begins at {offset} instead of {end}")
        end += size
    return end


def check_end(path: Path, end: int, file_bytes: int) -> None:
    """(4) The pieces fill the file; a file without a piece is one member that expands to nothing."""
    if end == 0:
        check(file_bytes <= MIB, f"{path.name}: bytes that belong to no block")
        expand(path.read_bytes(), 0, path.name)
    else:
        check(end == file_bytes, f"{path.name}: the blocks end at {end}, the file at {file_bytes}")


# ------------------------------------------------------------------------------------------------------------ blocks


def read_blocks(directory: Path, manifest: Dict[str, Any], blocks: List[Block], first_ids: List[bytes]) -> List[Row]:
    """(2, 4) All rows, in order."""
    rows: List[Row] = []
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context((directory / name).open("rb")) for name in DATA_FILES}
        for number, block in enumerate(blocks):
            found = read_block(files, block, number, manifest)
            ids = [row.id for row in found]
            check(ids[0] == first_ids[number], f"{INDEX}, block {number}: not the first id of the directory")
            check_order([row.id for row in rows[-1:]] + ids, f"{INDEX}, block {number}")
            rows += found
    return rows


def read_block(files, block: Block, number: int, manifest: Dict[str, Any]) -> List[Row]:
    """(2, 4) The rows of a block, each proved that has its vector here."""
    is_full = base_of(manifest) is None
    flags, ids, digests = read_index_piece(files[INDEX], block, f"{INDEX}, block {number}", is_full)
    matrix = iter(read_vectors_piece(files[VECTORS], block, manifest["dimensions"], f"{VECTORS}, block {number}"))
    lines = read_metadata_piece(files[METADATA], block, f"{METADATA}, block {number}")
    metadata = metadata_of_rows(flags, ids, lines, f"{METADATA}, block {number}")
    rows = []
    for flag, row_id, text, digest in zip(flags, ids, metadata, digests):
        vector = next(matrix) if flag & HAS_VECTOR else None
        proved = vector is None or digest_of(row_id, vector, text) == digest
        check(proved, f"block {number}, id {shown(row_id)}: the digest does not match the record")
        rows.append(Row(row_id, vector, text, digest, flag == IS_GONE))
    return rows


def digest_of(row_id: bytes, vector: np.ndarray, metadata: Optional[bytes]) -> bytes:
    """(2) The digest of a record."""
    values = vector.tobytes()
    sha256 = hashlib.sha256()
    sha256.update(struct.pack("<I", len(row_id)) + row_id)
    sha256.update(struct.pack("<I", len(values)) + values)
    sha256.update(struct.pack("<I", NO_METADATA if metadata is None else len(metadata)) + (metadata or b""))
    return sha256.digest()[:DIGEST]


def read_index_piece(file, block: Block, where: str, is_full: bool) -> Tuple[bytes, List[bytes], List[bytes]]:
    """(4) Flags, ids and digests of a block."""
    piece = read_range(file, block.index_offset, block.ids_bytes + block.digests_bytes)
    check(zlib.crc32(piece) == block.index_crc, f"{where}: its CRC-32 does not match")
    raw = expand(piece[: block.ids_bytes], block.ids_raw_bytes, where)
    digests = expand(piece[block.ids_bytes :], block.rows * DIGEST, where)
    check(len(raw) >= block.rows * 5, f"{where}: too short for {block.rows} rows")
    flags = raw[: block.rows]
    allowed = [HAS_VECTOR, HAS_VECTOR | HAS_METADATA] + ([] if is_full else [0, HAS_METADATA, IS_GONE])
    for flag in flags:
        check(flag in allowed, f"{where}: a row has flags {flag}")
    with_vector = sum(flag & HAS_VECTOR != 0 for flag in flags)
    check(with_vector == block.rows_with_vector, f"{where}: flags and directory disagree about vectors")
    with_metadata = sum(flag & HAS_METADATA != 0 for flag in flags)
    check(with_metadata == block.rows_with_metadata, f"{where}: flags and directory disagree about metadata")
    lengths = np.frombuffer(raw, "<u4", block.rows, block.rows)
    ids = split_by_lengths(raw[block.rows * 5 :], lengths, where)
    check_ids(ids, where)
    return flags, ids, [digests[at : at + DIGEST] for at in range(0, len(digests), DIGEST)]


def read_vectors_piece(file, block: Block, dimensions: int, where: str) -> np.ndarray:
    """(4) The matrix of a block: byte p of every value, rotated left by one bit, lies in plane p."""
    piece = read_range(file, block.vectors_offset, sum(block.plane_bytes))
    check(zlib.crc32(piece) == block.vectors_crc, f"{where}: its CRC-32 does not match")
    count = block.rows_with_vector * dimensions
    if block.rows_with_vector == 0:
        check(not piece, f"{where}: bytes of vectors that no row has")
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
    """(4) The lines of a block, one for each row that has metadata."""
    piece = read_range(file, block.metadata_offset, block.metadata_bytes)
    check(zlib.crc32(piece) == block.metadata_crc, f"{where}: its CRC-32 does not match")
    if block.metadata_bytes == 0:
        check(block.metadata_raw_bytes == 0, f"{where}: no bytes cannot expand to some")
        return []
    lines = expand(piece, block.metadata_raw_bytes, where).split(b"\n")
    check(lines.pop() == b"", f"{where}: the last line has no end")
    check(len(lines) == block.rows_with_metadata, f"{where}: {len(lines)} lines, not {block.rows_with_metadata}")
    return lines


def metadata_of_rows(flags: bytes, ids: List[bytes], lines: List[bytes], where: str) -> List[Optional[bytes]]:
    """(4) The canonical metadata of every row of a block; the lines are in row order."""
    rest = iter(lines)
    return [parse_line(next(rest), i, where) if flag & HAS_METADATA else None for flag, i in zip(flags, ids)]


def parse_line(line: bytes, row_id: bytes, where: str) -> bytes:
    """(4) What stands between `"metadata":` and the final `}`. In the id a quote is escaped, so the first one is it."""
    head, separator, tail = line.partition(b',"metadata":')
    whole = separator and head.startswith(b'{"id":') and tail.endswith(b"}")
    check(whole, f"{where}: a line is not of the form {{\"id\":...,\"metadata\":...}}")
    check(parse_json(head[6:], where) == row_id.decode(), f"{where}: the line of id {shown(row_id)} has another id")
    canonical = tail[:-1]
    check(len(canonical) <= MAX_METADATA, f"{where}: metadata of more than 64 MiB")
    # Numbers stay text: a number of any size is fine here, only its being one is of interest.
    parse_json_object(canonical, f"{where}, id {shown(row_id)}", parse_int=str, parse_float=str)
    return canonical


def check_ids(ids: List[bytes], where: str) -> None:
    """(2, 6) UTF-8, of at most 1 MiB."""
    for row_id in ids:
        check(len(row_id) <= MAX_ID, f"{where}: an id of more than 1 MiB")
        check(is_utf8(row_id), f"{where}: id {shown(row_id)} is not UTF-8")


def check_order(ids: List[bytes], where: str) -> None:
    """(2) Sorted by the bytes of the id, no id twice."""
    for one, next_one in zip(ids, ids[1:]):
        check(one < next_one, f"{where}: id {shown(next_one)} is not in order")


# ----------------------------------------------------------------------------------------------------------- helpers


def check(holds: Any, message: str) -> None:
    if not holds:
        raise Damaged(message)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def shown(row_id: bytes) -> str:
    """An id in a message: quoted, and not at length."""
    text = row_id.decode(errors="backslashreplace")
    return repr(text if len(text) <= 100 else text[:100] + "...")


def read_range(file, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = file.read(size)
    check(len(data) == size, f"{Path(file.name).name}: it ends before byte {offset + size}")
    return data


def expand(member: bytes, raw_bytes: int, where: str) -> bytes:
    """(4, 6) Exactly one gzip member that expands to exactly so many bytes."""
    check(raw_bytes <= MAX_EXPANSION * len(member), f"{where}: {len(member)} bytes cannot expand to {raw_bytes}")
    inflate = zlib.decompressobj(wbits=31)
    try:
        raw = inflate.decompress(member, raw_bytes + 1)
    except zlib.error as error:
        raise Damaged(f"{where}: it is no gzip member: {error}") from error
    whole = inflate.eof and not inflate.unused_data and len(raw) == raw_bytes
    check(whole, f"{where}: not one gzip member that expands to {raw_bytes} bytes")
    return raw


def split_by_lengths(data: bytes, lengths: np.ndarray, where: str) -> List[bytes]:
    """Cuts the concatenated texts apart; nothing may be left."""
    ends = np.cumsum(lengths, dtype=np.uint64).tolist()
    check((ends[-1] if ends else 0) == len(data), f"{where}: the lengths of the ids do not add up")
    return [data[start:end] for start, end in zip([0] + ends, ends)]


def parse_json(data: bytes, where: str, **options) -> Any:
    """JSON of RFC 8259 in UTF-8."""
    try:
        return json.loads(data.decode(), parse_constant=refuse_constant, **options)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{where}: it is no JSON: {error}") from error


def parse_json_object(data: bytes, where: str, **options) -> Dict[str, Any]:
    value = parse_json(data, where, **options)
    check(type(value) is dict, f"{where}: it is no JSON object")
    return value


def refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


# -------------------------------------------------------------------------------------------------------------- main


def main() -> int:
    arguments = parse_arguments()
    try:
        snapshot = prove(*arguments.directories)
    except Damaged as damage:
        print(f"read_snapshot: {' '.join(arguments.directories)}: damaged: {damage}", file=sys.stderr)
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
    print_summary(snapshot)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads and proves a downloaded snapshot directory.")
    chain = "the snapshot-... directory; of an increment those of its chain, from the full one to the newest"
    parser.add_argument("directories", metavar="DIR", nargs="+", help=chain)
    parser.add_argument("--npy", metavar="OUT.npy", help="write the vectors there: rows x dimensions, float32")
    parser.add_argument("--jsonl", metavar="OUT.jsonl", help='write {"id":...,"metadata":...} of every row there')
    return parser.parse_args()


def write_npy(path: str, snapshot: Snapshot) -> None:
    with open(path, "wb") as file:
        np.save(file, snapshot.vectors)


def write_jsonl(path: str, snapshot: Snapshot) -> None:
    """A line for every row; metadata is written as stored, and null where a record has none."""
    with open(path, "wb") as file:
        for row_id, metadata in zip(snapshot.ids, snapshot.metadata):
            text = json.dumps(row_id, ensure_ascii=False).encode()
            file.write(b'{"id":' + text + b',"metadata":' + (metadata or b"null") + b"}\n")


def print_summary(snapshot: Snapshot) -> None:
    manifest = snapshot.manifest
    with_metadata = sum(metadata is not None for metadata in snapshot.metadata)
    print(f"snapshot    {manifest['id']}")
    print(f"name        {manifest['name']}")
    print(f"vectors     {len(snapshot.ids)}, {with_metadata} of them with metadata")
    print(f"dimensions  {manifest['dimensions']}")
    print(f"metric      {manifest['distance_metric'] or 'unknown'}")
    print(f"checksum    {manifest['checksum']}, proved")


if __name__ == "__main__":
    sys.exit(main())
