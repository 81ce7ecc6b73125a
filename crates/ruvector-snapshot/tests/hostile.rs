//! What says what a snapshot is, and lies: ids, keys, metadata.json, the block directory, bombs. An error, no panic, and no
//! memory for what is not there, even where every seal and checksum was made to fit the lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::process::{Command, Stdio};

use chrono::{DateTime, TimeZone as _, Utc};
use common::stored::{Stored, edit, reseal};
use common::{Place, make_database, make_many_blocks, names};
use proptest::prelude::*;
use ruvector_snapshot::format::block::{Block, Row, crc32};
use ruvector_snapshot::format::checksum::digest;
use ruvector_snapshot::format::id::SnapshotId;
use ruvector_snapshot::format::index::{self, BlockEntry};
use ruvector_snapshot::format::layout::{self, DataFile};
use ruvector_snapshot::format::member::{Coding, pack};
use ruvector_snapshot::format::metadata::SnapshotMetadata;
use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotManager};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

async fn tiny(place: &Place) -> (SnapshotManager, Stored) {
    let db = make_database(&place.path("tiny.db"), 3, 2, 7);
    let manager = place.manager();
    let id = manager.create_snapshot(&db, "tiny").await.unwrap().id;
    (manager, Stored::read(&place.snapshots(), &id))
}

// ---- ids and keys

fn time() -> impl Strategy<Value = DateTime<Utc>> {
    (0i64..253_402_300_800_000).prop_map(|millis| Utc.timestamp_millis_opt(millis).unwrap())
}

proptest! {
    #[test]
    fn ids_are_read_as_they_are_written_and_sort_by_time(a in time(), b in time(), x in any::<u64>(), y in any::<u64>()) {
        let (first, second) = (SnapshotId::new(a, x), SnapshotId::new(b, y));
        prop_assert_eq!(first.to_string().parse::<SnapshotId>().unwrap(), first.clone());
        prop_assert_eq!(first.as_str(), format!("{}-{x:016x}", a.format("%Y%m%dT%H%M%S%3fZ")));
        prop_assert_eq!((a, x).cmp(&(b, y)), first.cmp(&second));
        let key = layout::key(&first, "any/name");
        prop_assert_eq!(layout::parse_key(&key), Some((first.clone(), "any/name")));
        prop_assert_eq!(layout::parse_key(first.as_str()), None);
        let foreign = format!("x{key}");
        prop_assert_eq!(layout::parse_key(&foreign), None);
    }

    #[test]
    fn other_text_is_no_id(text in any::<String>(), at in 0usize..36, c in any::<char>()) {
        prop_assert!(text.parse::<SnapshotId>().is_err());
        let good = "20260131T080000000Z-0123456789abcdef";
        let changed = format!("{}{c}{}", &good[..at], &good[at + 1..]);
        if let Ok(id) = changed.parse::<SnapshotId>() {
            prop_assert_eq!(id.as_str(), changed.as_str());
            prop_assert!(c.is_ascii_digit() || ('a'..='f').contains(&c) || changed == good);
        }
    }
}

#[test]
fn hostile_ids_are_refused_and_not_repeated_at_length() {
    let long = "9".repeat(5000);
    let hostile = [
        "",
        "..",
        ".",
        "/",
        "../../etc/passwd",
        "20260131T080000000Z-0123456789abcde",
        "20260131T080000000Z-0123456789abcdef0",
        "20260131T080000000Z-0123456789ABCDEF",
        "20260131T080000000Z-0123456789abcde/",
        "2026013 T080000000Z-0123456789abcdef",
        "20260131T080000000Z-0123456789abcde\0",
        "٢٠٢٦٠١٣١T080000000Z-0123",
        "20260131t080000000z-0123456789abcdef",
        " 20260131T080000000Z-0123456789abcde",
        long.as_str(),
    ];
    for text in hostile {
        let error = text.parse::<SnapshotId>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text:?}");
        assert!(error.to_string().len() < 400, "{error}");
        assert!(layout::parse_key(&format!("snapshot-{text}/metadata.json")).is_none());
        assert!(serde_json::from_value::<SnapshotId>(json!(text)).is_err());
    }
}

// ---- metadata.json by itself

#[tokio::test]
async fn metadata_json_comes_back_and_no_byte_of_it_can_change() {
    let place = Place::new();
    let (_, stored) = tiny(&place).await;
    let (bytes, id) = (stored.file(layout::METADATA_JSON), &stored.id);
    let metadata = stored.metadata();
    assert_eq!(metadata.encode().unwrap(), bytes);
    assert_eq!(reseal(std::str::from_utf8(bytes).unwrap()), bytes, "the seal is the one of the format's text");
    for at in 0..bytes.len() {
        for change in [1u8, 2, 0x10, 0x20, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] ^= change;
            let error = SnapshotMetadata::decode(&changed, id).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unsupported), "byte {at}: {error:?}");
        }
        assert_eq!(SnapshotMetadata::decode(&bytes[..at], id).unwrap_err().kind(), ErrorKind::Damaged, "cut at {at}");
        let mut without = bytes.to_vec();
        without.remove(at);
        assert!(SnapshotMetadata::decode(&without, id).is_err(), "without byte {at}");
    }
    let other = SnapshotId::new(Utc.timestamp_opt(0, 0).unwrap(), 1);
    assert_eq!(SnapshotMetadata::decode(bytes, &other).unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_newer_version_is_told_from_damage() {
    let place = Place::new();
    let (manager, stored) = tiny(&place).await;
    let bytes = stored.file(layout::METADATA_JSON);
    let text = std::str::from_utf8(bytes).unwrap();
    let newer = text.replace("\"format_version\": 1", "\"format_version\": 2");
    let sealed = reseal(&newer);
    let unsealed = b"{\"format\": \"ruvector-snapshot\", \"format_version\": 2, \"all\": \"else\"}".to_vec();
    for bytes in [sealed, unsealed] {
        stored.put(layout::METADATA_JSON, &bytes);
        let id = stored.id.as_str();
        let listing = manager.list().await.unwrap();
        assert_eq!(listing.damaged[0].error.kind(), ErrorKind::Unsupported);
        let said = manager.get_snapshot(id).await.unwrap_err();
        assert_eq!(said.kind(), ErrorKind::Unsupported);
        assert!(said.to_string().contains("format version 2") && said.to_string().contains("version 1"), "{said}");
        assert_eq!(manager.verify_snapshot(id).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(manager.restore_snapshot(id).await.err().unwrap().kind(), ErrorKind::Unsupported);
    }
    // A version that was made by a flipped bit is damage.
    let error = SnapshotMetadata::decode(newer.as_bytes(), &stored.id).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_metadata_json(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "[\\{\\}\\[\\]\":,a-z0-9 ]{0,60}") {
        let id = SnapshotId::new(Utc.timestamp_opt(0, 0).unwrap(), 1);
        prop_assert_eq!(SnapshotMetadata::decode(&bytes, &id).unwrap_err().kind(), ErrorKind::Damaged);
        prop_assert_eq!(SnapshotMetadata::decode(text.as_bytes(), &id).unwrap_err().kind(), ErrorKind::Damaged);
        let sealed = reseal(&format!("{{\"format\": \"ruvector-snapshot\", \"format_version\": 1, {text}}}"));
        prop_assert!(SnapshotMetadata::decode(&sealed, &id).is_err());
    }
}

// ---- the block directory

#[tokio::test]
async fn no_number_of_the_directory_can_lie() {
    let place = Place::new();
    let db = make_many_blocks(&place.path("a.db"), 700, 1);
    let manager = place.manager();
    let id = manager.create_snapshot(&db, "many").await.unwrap().id;
    let stored = Stored::read(&place.snapshots(), &id);
    let (metadata, entries, raw) = (stored.metadata(), stored.entries(), stored.section(index::DIRECTORY));
    assert!(entries.len() >= 3);
    assert_eq!(index::encode_directory(&entries), raw);
    let unpack = |entries: &[BlockEntry]| {
        entries.iter().try_for_each(|entry| {
            let piece = |file: DataFile| {
                let range = entry.range(file);
                &stored.file(file.name())[range.start as usize..range.end as usize]
            };
            Block::unpack(entry, 16, DataFile::ALL.map(piece)).map(drop)
        })
    };
    unpack(&entries).unwrap();
    for at in (0..entries.len() * 88).step_by(4) {
        let word = u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
        // The last word of an entry is unused.
        for lie in [word + 1, word.wrapping_sub(1), 0, u32::MAX, 1 << 31] {
            if at % 88 == 84 || lie == word {
                continue;
            }
            let mut changed = raw.clone();
            changed[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            let answer = index::decode_directory(&changed, &metadata).and_then(|entries| unpack(&entries));
            let error = answer.err().unwrap_or_else(|| panic!("entry {}, byte {}: {lie}", at / 88, at % 88));
            assert_eq!(error.kind(), ErrorKind::Damaged);
        }
    }
    for at in entries.len() * 88..raw.len() {
        let mut changed = raw.clone();
        changed[at] ^= 1;
        let answer = index::decode_directory(&changed, &metadata).and_then(|entries| unpack(&entries));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Damaged, "byte {at}");
    }
    for length in (0..raw.len()).step_by(7) {
        assert!(index::decode_directory(&raw[..length], &metadata).is_err(), "cut to {length}");
    }
    assert!(index::decode_directory(&[&raw[..], b"x"].concat(), &metadata).is_err());
    for blocks in [0, 1, entries.len() as u64 + 1, u64::MAX, 1 << 61] {
        let metadata = SnapshotMetadata { blocks, ..metadata.clone() };
        assert!(index::decode_directory(&raw, &metadata).is_err(), "{blocks} blocks");
    }
    let mut random = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..300 {
        let bytes = prop::collection::vec(any::<u8>(), 0..300).new_tree(&mut random).unwrap();
        assert!(index::decode_directory(&proptest::strategy::ValueTree::current(&bytes), &metadata).is_err());
    }
}

// ---- whole snapshots that lie, in a process that has little memory

const LIMITED: &str = "RUVECTOR_SNAPSHOT_TEST_LIMITED";

/// A change of metadata.json, by a pointer into it.
fn lies() -> Vec<(String, Value)> {
    let max = json!(u64::MAX);
    let mut lies = Vec::new();
    for (pointer, honest) in [("/vector_count", 3u64), ("/blocks", 1), ("/dimensions", 2)] {
        let numbers =
            [json!(0), json!(honest + 1), json!(honest - 1), json!(1u64 << 24), json!(1u64 << 40), max.clone()];
        let others = [json!(-1), json!(1.5), json!("3"), Value::Null, json!(1e30)];
        lies.extend(numbers.into_iter().chain(others).map(|value| (pointer.to_owned(), value)));
    }
    for file in DataFile::ALL {
        for (member, values) in [
            ("bytes", [json!(0), json!(1), json!(1u64 << 40), max.clone()]),
            ("raw_bytes", [json!(0), json!(1), json!(1u64 << 40), max.clone()]),
            ("sha256", [json!("F".repeat(64)), json!("0".repeat(63)), json!(""), json!(1)]),
        ] {
            lies.extend(values.map(|value| (format!("/files/{}/{member}", file.name()), value)));
        }
        lies.push((format!("/files/{}", file.name()), Value::Null));
    }
    for section in 0..2 {
        for (member, values) in [
            ("offset", [json!(0), json!(1), max.clone(), json!(1u64 << 63)]),
            ("bytes", [json!(0), json!(1), max.clone(), json!(1u64 << 63)]),
            ("raw_bytes", [json!(0), json!(1u64 << 30), max.clone(), json!((1u64 << 30) + 1)]),
            ("name", [json!("other"), json!(""), json!("database"), json!("directory")]),
        ] {
            let honest = if section == 0 { "directory" } else { "database" };
            let values = values.into_iter().filter(|value| value != honest);
            lies.extend(values.map(|value| (format!("/sections/{section}/{member}"), value)));
        }
    }
    lies.push(("/sections".to_owned(), json!([])));
    lies.push(("/files".to_owned(), json!({})));
    lies.push(("/files/extra.bin.gz".to_owned(), json!({"bytes": 1, "sha256": "0".repeat(64), "raw_bytes": 1})));
    lies.push(("/checksum".to_owned(), json!("1".repeat(64))));
    lies.push(("/checksum".to_owned(), json!("x")));
    lies.push(("/id".to_owned(), json!("20200101T000000000Z-0123456789abcdef")));
    lies.push(("/id".to_owned(), json!("../../x")));
    lies.push(("/format".to_owned(), json!("tarball")));
    lies.push(("/name".to_owned(), json!("")));
    lies.push(("/name".to_owned(), json!("a\u{1b}[2Jb")));
    lies.push(("/name".to_owned(), json!("x".repeat(1025))));
    lies.push(("/created_at".to_owned(), json!("yesterday")));
    lies.push(("/distance_metric".to_owned(), json!("Hamming")));
    lies.push((
        "/snapshot_type".to_owned(),
        json!({"incremental": {"base_id": "20200101T000000000Z-0123456789abcdef"}}),
    ));
    lies.push(("/snapshot_type".to_owned(), json!("half")));
    lies
}

/// Not a test of its own: carried out in a process with little memory.
#[tokio::test]
#[ignore = "started by lies_are_refused_with_little_memory"]
async fn limited_process() {
    if std::env::var_os(LIMITED).is_none() {
        return;
    }
    let place = Place::new();
    let (manager, stored) = tiny(&place).await;
    let id = stored.id.as_str();
    let honest = stored.file(layout::METADATA_JSON);
    for (pointer, value) in lies() {
        let what = format!("{pointer} = {value:.80}");
        let lie = edit(honest, |json| {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            match json.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[member.parse::<usize>().unwrap()] = value,
                parent => drop(parent.as_object_mut().unwrap().insert(member.to_owned(), value)),
            }
        });
        stored.put(layout::METADATA_JSON, &lie);
        check_refused(&place, &manager, id, &what).await;
    }
    for (what, bytes) in
        [("empty", &b""[..]), ("a list", b"[]"), ("text", b"hello"), ("too long", &vec![b' '; 2 << 20])]
    {
        stored.put(layout::METADATA_JSON, bytes);
        check_refused(&place, &manager, id, what).await;
    }
    stored.repair();
    // An honest edit is no lie, apart from checksum.sha256: the tools of these tests do not break what they touch.
    stored.put(layout::METADATA_JSON, &edit(honest, |json| json["labels"] = json!({"edited": "yes"})));
    assert_eq!(manager.restore_snapshot(id).await.unwrap().len().unwrap(), 3);
    stored.repair();
    // A restore proves every record, and needs no SHA-256 of a file; verify looks at everything.
    stored.put(
        layout::METADATA_JSON,
        &edit(honest, |json| json["files"]["index.bin.gz"]["sha256"] = json!("0".repeat(64))),
    );
    assert_eq!(manager.restore_snapshot(id).await.unwrap().len().unwrap(), 3);
    assert!(!manager.verify_snapshot(id).await.unwrap());
    stored.repair();
    bombs(&place, &manager, &stored).await;
}

async fn check_refused(place: &Place, manager: &SnapshotManager, id: &str, what: &str) {
    let error = manager.restore_snapshot(id).await.err().unwrap_or_else(|| panic!("{what}: restored"));
    assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unsupported), "{what}: {error:?}");
    let error = manager.restore_snapshot_to(id, place.restored(), &RestoreOptions::default()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unsupported), "{what}: {error:?}");
    place.assert_nothing_restored();
    match manager.verify_snapshot(id).await {
        Ok(whole) => assert!(!whole, "{what}: verified"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error:?}"),
    }
    manager.list().await.unwrap();
    let _refused = manager.get_snapshot(id).await;
}

/// A snapshot whose one block has another metadata piece, with everything that describes it made to fit.
fn with_payloads(stored: &Stored, piece: &[u8], raw_bytes: u32) {
    let mut entries = stored.entries();
    entries[0].payloads_bytes = piece.len() as u32;
    entries[0].payloads_raw_bytes = raw_bytes;
    entries[0].payloads_crc32 = crc32(piece);
    let blocks_end = entries[0].range(DataFile::Index).end as usize;
    let mut index = stored.file(DataFile::Index.name())[..blocks_end].to_vec();
    let mut sections = Vec::new();
    let mut raw_total = entries[0].raw_bytes(DataFile::Index, 2);
    for (name, raw) in [("directory", index::encode_directory(&entries)), ("database", stored.section("database"))] {
        let offset = index.len();
        let bytes = pack(&raw, Coding::Deflate(6), &mut index).unwrap();
        sections.push(json!({"name": name, "offset": offset, "bytes": bytes, "raw_bytes": raw.len()}));
        raw_total += raw.len() as u64;
    }
    let sha256 = |bytes: &[u8]| ruvector_snapshot::format::checksum::hex(&Sha256::digest(bytes));
    let metadata_json = edit(stored.file(layout::METADATA_JSON), |json| {
        json["sections"] = json!(sections);
        let file = |bytes: &[u8], raw_bytes: u64| json!({"bytes": bytes.len(), "sha256": sha256(bytes), "raw_bytes": raw_bytes});
        json["files"][DataFile::Index.name()] = file(&index, raw_total);
        json["files"][DataFile::Payloads.name()] = file(piece, u64::from(raw_bytes));
    });
    stored.put(DataFile::Index.name(), &index);
    stored.put(DataFile::Payloads.name(), piece);
    stored.put(layout::METADATA_JSON, &metadata_json);
}

async fn bombs(place: &Place, manager: &SnapshotManager, stored: &Stored) {
    let id = stored.id.as_str();
    let honest = stored.file(DataFile::Payloads.name());
    with_payloads(stored, honest, stored.entries()[0].payloads_raw_bytes);
    assert_eq!(manager.restore_snapshot(id).await.unwrap().len().unwrap(), 3, "the honest piece is to be taken");

    // 700 MiB of blanks, made a MiB at a time, in one member: more than the memory there is.
    let bomb = std::process::Command::new("sh").args(["-c", "head -c 734003200 /dev/zero | gzip -9"]).output().unwrap();
    assert!(bomb.stdout.len() > 100_000 && bomb.stdout.len() < 2_000_000);
    for raw_bytes in [734_003_200, 8 << 20, (8 << 20) + 1, 1000, 1] {
        with_payloads(stored, &bomb.stdout, raw_bytes);
        check_refused(place, manager, id, &format!("a bomb that says {raw_bytes}")).await;
    }
    stored.repair();
    assert!(manager.verify_snapshot(id).await.unwrap());
    assert_eq!(names(&place.path("restored")), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn lies_are_refused_with_little_memory() {
    // 512 MiB of address space; a lie that is believed asks for far more, and the process then dies.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 524288 && exec \"$0\" --exact limited_process --ignored --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, "1")
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_section_that_is_far_larger_than_what_it_holds_is_never_read() {
    let place = Place::new();
    let (manager, stored) = tiny(&place).await;
    // A file with a hole of a terabyte, and a metadata.json that agrees with it.
    let hole = 1u64 << 40;
    let metadata = edit(stored.file(layout::METADATA_JSON), |json| {
        let bytes = json["files"]["index.bin.gz"]["bytes"].as_u64().unwrap();
        json["files"]["index.bin.gz"]["bytes"] = (bytes + hole).into();
        let last = json["sections"].as_array_mut().unwrap().last_mut().unwrap();
        last["bytes"] = (last["bytes"].as_u64().unwrap() + hole).into();
    });
    let index = place.snapshots().join(layout::key(&stored.id, "index.bin.gz"));
    let file = std::fs::OpenOptions::new().write(true).open(index).unwrap();
    file.set_len(file.metadata().unwrap().len() + hole).unwrap();
    stored.put(layout::METADATA_JSON, &metadata);
    let id = stored.id.as_str();
    assert_eq!(manager.restore_snapshot(id).await.err().unwrap().kind(), ErrorKind::Damaged);
    assert!(!manager.verify_snapshot(id).await.unwrap());
}

#[test]
fn a_metadata_line_that_is_no_json_is_damage_where_all_sums_fit_it() {
    let vector = [0; 4];
    let mut block = Block::new(1);
    block.push(Row { id: "a", vector: &vector, metadata: Some("{}") }).unwrap();
    let packed = block.pack(6).unwrap();
    let unpacked = |text: &str| {
        let line = format!("{{\"id\":\"a\",\"metadata\":{text}}}\n");
        let (mut entry, mut payloads) = (packed.entry.clone(), Vec::new());
        entry.payloads_bytes = pack(line.as_bytes(), Coding::Deflate(6), &mut payloads).unwrap() as u32;
        entry.payloads_raw_bytes = line.len() as u32;
        entry.payloads_crc32 = crc32(&payloads);
        let mut index = packed.index[..entry.ids_bytes as usize].to_vec();
        entry.digests_bytes = pack(&digest("a", &vector, Some(text)), Coding::Stored, &mut index).unwrap() as u32;
        entry.index_crc32 = crc32(&index);
        Block::unpack(&entry, 1, [&packed.vectors, &index, &payloads])
    };
    assert_eq!(unpacked("{\"x\":1}").unwrap().0.row(0).metadata, Some("{\"x\":1}"));
    for text in ["no json", "{\"x\":1},\"metadata\":{\"y\":2}", "{\"x\":1", ""] {
        let error = unpacked(text).unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Damaged, Some("metadata.bin.gz")), "{text}: {error:?}");
    }
}
