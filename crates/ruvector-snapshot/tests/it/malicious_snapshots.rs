//! Snapshots with malicious content: list, restore and verify refuse them without a panic, and without allocating
//! memory for data that does not exist. The parts of the format are tested in ruvector-snapshot-format.

use std::process::{Command, Stdio};

use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotManager};
use ruvector_snapshot_format::codec::crc32;
use ruvector_snapshot_format::codec::member::{Coding, pack};
use ruvector_snapshot_format::index;
use ruvector_snapshot_format::layout::{self, DataFile};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use test_fixtures::{StoredSnapshot, TestDir, edit_metadata, make_database, names, reseal};

async fn tiny(dir: &TestDir) -> (SnapshotManager, StoredSnapshot) {
    let db = make_database(&dir.path("tiny.db"), 3, 2, 7);
    let manager = dir.manager();
    let id = manager.create_snapshot(&db, "tiny").await.unwrap().id;
    (manager, StoredSnapshot::read(&dir.snapshots(), &id))
}

#[tokio::test]
async fn a_newer_version_is_reported_as_unsupported() {
    let dir = TestDir::new();
    let (manager, stored) = tiny(&dir).await;
    let bytes = stored.file(layout::METADATA_JSON);
    let text = std::str::from_utf8(bytes).unwrap();
    let newer = text.replace("\"format_version\": 1", "\"format_version\": 3");
    let sealed = reseal(&newer);
    let unsealed = b"{\"format\": \"ruvector-snapshot\", \"format_version\": 3, \"all\": \"else\"}".to_vec();
    for bytes in [sealed, unsealed] {
        stored.put(layout::METADATA_JSON, &bytes);
        let id = stored.id.as_str();
        let listing = manager.list().await.unwrap();
        assert_eq!(listing.unusable[0].error.kind(), ErrorKind::Unsupported);
        let error = manager.get_snapshot(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("format version 3") && text.contains("versions 1 to 2"), "{text}");
        assert_eq!(manager.verify_snapshot(id).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(manager.restore_snapshot(id).await.err().unwrap().kind(), ErrorKind::Unsupported);
    }
}

const LIMITED: &str = "RUVECTOR_SNAPSHOT_TEST_LIMITED";

/// Wrong values of members of metadata.json, by pointer.
fn wrong_values() -> Vec<(String, Value)> {
    let max = json!(u64::MAX);
    let mut wrong = Vec::new();
    for (pointer, intact) in [("/vector_count", 3u64), ("/blocks", 1), ("/dimensions", 2)] {
        let numbers =
            [json!(0), json!(intact + 1), json!(intact - 1), json!(1u64 << 24), json!(1u64 << 40), max.clone()];
        let others = [json!(-1), json!(1.5), json!("3"), Value::Null, json!(1e30)];
        wrong.extend(numbers.into_iter().chain(others).map(|value| (pointer.to_owned(), value)));
    }
    for file in DataFile::ALL {
        for (member, values) in [
            ("bytes", [json!(0), json!(1), json!(1u64 << 40), max.clone()]),
            ("raw_bytes", [json!(0), json!(1), json!(1u64 << 40), max.clone()]),
            ("sha256", [json!("F".repeat(64)), json!("0".repeat(63)), json!(""), json!(1)]),
        ] {
            wrong.extend(values.map(|value| (format!("/files/{}/{member}", file.name()), value)));
        }
        wrong.push((format!("/files/{}", file.name()), Value::Null));
    }
    for section in 0..2 {
        for (member, values) in [
            ("offset", [json!(0), json!(1), max.clone(), json!(1u64 << 63)]),
            ("bytes", [json!(0), json!(1), max.clone(), json!(1u64 << 63)]),
            ("raw_bytes", [json!(0), json!(1u64 << 30), max.clone(), json!((1u64 << 30) + 1)]),
            ("name", [json!("other"), json!(""), json!("database"), json!("directory")]),
        ] {
            let intact = if section == 0 { "directory" } else { "database" };
            let values = values.into_iter().filter(|value| value != intact);
            wrong.extend(values.map(|value| (format!("/sections/{section}/{member}"), value)));
        }
    }
    wrong.push(("/sections".to_owned(), json!([])));
    wrong.push(("/files".to_owned(), json!({})));
    wrong.push(("/files/extra.bin.gz".to_owned(), json!({"bytes": 1, "sha256": "0".repeat(64), "raw_bytes": 1})));
    wrong.push(("/checksum".to_owned(), json!("1".repeat(64))));
    wrong.push(("/checksum".to_owned(), json!("x")));
    wrong.push(("/id".to_owned(), json!("20200101T000000000Z-0123456789abcdef")));
    wrong.push(("/id".to_owned(), json!("../../x")));
    wrong.push(("/format".to_owned(), json!("tarball")));
    wrong.push(("/name".to_owned(), json!("")));
    wrong.push(("/name".to_owned(), json!("a\u{1b}[2Jb")));
    wrong.push(("/name".to_owned(), json!("x".repeat(1025))));
    wrong.push(("/created_at".to_owned(), json!("yesterday")));
    wrong.push(("/distance_metric".to_owned(), json!("Hamming")));
    wrong.push((
        "/snapshot_type".to_owned(),
        json!({"incremental": {"base_id": "20200101T000000000Z-0123456789abcdef"}}),
    ));
    wrong.push(("/snapshot_type".to_owned(), json!("half")));
    wrong
}

/// A child process of the test below. It has little memory.
#[tokio::test]
#[ignore = "started as a child process by another test"]
async fn limited_process() {
    if std::env::var_os(LIMITED).is_none() {
        return;
    }
    let dir = TestDir::new();
    let (manager, stored) = tiny(&dir).await;
    let id = stored.id.as_str();
    let intact = stored.file(layout::METADATA_JSON);
    for (pointer, value) in wrong_values() {
        let what = format!("{pointer} = {value:.80}");
        let changed = edit_metadata(intact, |json| {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            match json.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[member.parse::<usize>().unwrap()] = value,
                parent => drop(parent.as_object_mut().unwrap().insert(member.to_owned(), value)),
            }
        });
        stored.put(layout::METADATA_JSON, &changed);
        check_refused(&dir, &manager, id, &what).await;
    }
    for (what, bytes) in
        [("empty", &b""[..]), ("a list", b"[]"), ("text", b"hello"), ("too long", &vec![b' '; 2 << 20])]
    {
        stored.put(layout::METADATA_JSON, bytes);
        check_refused(&dir, &manager, id, what).await;
    }
    stored.repair();
    // Other labels are no contradiction, except to checksum.sha256. This shows that editing itself breaks nothing.
    stored.put(layout::METADATA_JSON, &edit_metadata(intact, |json| json["labels"] = json!({"edited": "yes"})));
    assert_eq!(manager.restore_snapshot(id).await.unwrap().len().unwrap(), 3);
    stored.repair();
    // A restore verifies every record and does not need the SHA-256 of a file. Verify checks everything.
    stored.put(
        layout::METADATA_JSON,
        &edit_metadata(intact, |json| json["files"]["index.bin.gz"]["sha256"] = json!("0".repeat(64))),
    );
    assert_eq!(manager.restore_snapshot(id).await.unwrap().len().unwrap(), 3);
    assert!(!manager.verify_snapshot(id).await.unwrap());
    stored.repair();
    bombs(&dir, &manager, &stored).await;
}

async fn check_refused(dir: &TestDir, manager: &SnapshotManager, id: &str, what: &str) {
    let error = manager.restore_snapshot(id).await.err().unwrap_or_else(|| panic!("{what}: restored"));
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{what}: {error:?}");
    let error = manager.restore_snapshot_to(id, dir.restored(), &RestoreOptions::default()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{what}: {error:?}");
    dir.assert_nothing_restored();
    match manager.verify_snapshot(id).await {
        Ok(is_intact) => assert!(!is_intact, "{what}: verified"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error:?}"),
    }
    manager.list().await.unwrap();
    let _refused = manager.get_snapshot(id).await;
}

/// Replaces the metadata piece of the only block, and adapts everything that describes it.
fn with_payloads(stored: &StoredSnapshot, piece: &[u8], raw_bytes: u32) {
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
    let sha256 = |bytes: &[u8]| ruvector_snapshot_format::checksum::hex(&Sha256::digest(bytes));
    let metadata_json = edit_metadata(stored.file(layout::METADATA_JSON), |json| {
        json["sections"] = json!(sections);
        let file = |bytes: &[u8], raw_bytes: u64| json!({"bytes": bytes.len(), "sha256": sha256(bytes), "raw_bytes": raw_bytes});
        json["files"][DataFile::Index.name()] = file(&index, raw_total);
        json["files"][DataFile::Payloads.name()] = file(piece, u64::from(raw_bytes));
    });
    stored.put(DataFile::Index.name(), &index);
    stored.put(DataFile::Payloads.name(), piece);
    stored.put(layout::METADATA_JSON, &metadata_json);
}

async fn bombs(dir: &TestDir, manager: &SnapshotManager, stored: &StoredSnapshot) {
    let id = stored.id.as_str();
    let intact = stored.file(DataFile::Payloads.name());
    with_payloads(stored, intact, stored.entries()[0].payloads_raw_bytes);
    assert_eq!(manager.restore_snapshot(id).await.unwrap().len().unwrap(), 3, "the intact piece is accepted");

    // 700 MiB of zeros in one member: more than the memory of this process.
    let bomb = std::process::Command::new("sh").args(["-c", "head -c 734003200 /dev/zero | gzip -9"]).output().unwrap();
    assert!(bomb.stdout.len() > 100_000 && bomb.stdout.len() < 2_000_000);
    for raw_bytes in [734_003_200, 8 << 20, (8 << 20) + 1, 1000, 1] {
        with_payloads(stored, &bomb.stdout, raw_bytes);
        check_refused(dir, manager, id, &format!("a bomb with the recorded size {raw_bytes}")).await;
    }
    stored.repair();
    assert!(manager.verify_snapshot(id).await.unwrap());
    assert_eq!(names(&dir.path("restored")), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn malicious_snapshots_are_refused_with_little_memory() {
    // 512 MiB of address space. A process that trusts such a value asks for far more, and ends.
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 524288 && exec \"$0\" --exact malicious_snapshots::limited_process --ignored --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, "1")
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn a_section_that_is_far_larger_than_its_content_is_never_read() {
    let dir = TestDir::new();
    let (manager, stored) = tiny(&dir).await;
    // A file with a hole of a terabyte, and a metadata.json that matches it.
    let hole = 1u64 << 40;
    let metadata = edit_metadata(stored.file(layout::METADATA_JSON), |json| {
        let bytes = json["files"]["index.bin.gz"]["bytes"].as_u64().unwrap();
        json["files"]["index.bin.gz"]["bytes"] = (bytes + hole).into();
        let last = json["sections"].as_array_mut().unwrap().last_mut().unwrap();
        last["bytes"] = (last["bytes"].as_u64().unwrap() + hole).into();
    });
    let index = dir.snapshots().join(layout::key(&stored.id, "index.bin.gz"));
    let file = std::fs::OpenOptions::new().write(true).open(index).unwrap();
    file.set_len(file.metadata().unwrap().len() + hole).unwrap();
    stored.put(layout::METADATA_JSON, &metadata);
    let id = stored.id.as_str();
    assert_eq!(manager.restore_snapshot(id).await.err().unwrap().kind(), ErrorKind::Corrupt);
    assert!(!manager.verify_snapshot(id).await.unwrap());
}
