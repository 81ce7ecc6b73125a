//! [`Reader`] over intact, changed and malicious snapshots: it returns what was written, or an error. It never panics,
//! and never allocates memory for data that is not there.

use std::borrow::Cow;
use std::ops::Range;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::model::{OwnedChange, OwnedChangedRow, OwnedRecord};
use ruvector_snapshot_format::reader::{ReadAt, Reader};
use ruvector_snapshot_format::{FormatError, FormatErrorKind, Result};
use serde_json::{Value, json};

use crate::fixture::{Stored, assert_corrupt, changed_rows, database, edit, leaf_tables, records, three_records};

proptest! {
    #[test]
    fn full_snapshots_survive_a_round_trip((dimensions, records) in records(), rows_per_block in 1usize..20) {
        let stored = Stored::full(dimensions, &records, rows_per_block);
        let contents = stored.read_all().unwrap();
        prop_assert_eq!(contents.records, records);
        prop_assert_eq!(contents.database, database(dimensions));
        prop_assert_eq!(contents.leaves, Some(leaf_tables()));
    }

    #[test]
    fn increments_survive_a_round_trip((dimensions, rows) in changed_rows(), rows_per_block in 1usize..20) {
        let stored = Stored::increment(dimensions, &rows, rows_per_block);
        prop_assert_eq!(stored.read_all().unwrap().rows, rows);
    }
}

#[test]
fn an_empty_snapshot_has_no_records() {
    let stored = Stored::full(0, &[], 1);
    assert_eq!(stored.read_all().unwrap().records, []);
    assert_eq!(stored.reader().unwrap().directory(), []);
    // Files without members consist of one member that expands to nothing.
    assert!(!stored.files.vectors.is_empty() && !stored.files.payloads.is_empty());
}

#[test]
fn blocks_are_read_by_number() {
    let records = three_records();
    let stored = Stored::full(2, &records, 2);
    let reader = stored.reader().unwrap();
    assert_eq!(reader.block(1).unwrap().row(0), records[2].as_record());
    assert_eq!(reader.blocks().map(|block| block.unwrap().len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(reader.block(2).unwrap_err().kind(), FormatErrorKind::InvalidInput);
    assert_eq!(reader.changes().err().unwrap().kind(), FormatErrorKind::InvalidInput);
}

#[test]
fn a_wrong_content_checksum_is_reported_after_the_last_record() {
    let mut stored = Stored::full(2, &three_records(), 2);
    stored.metadata_json = edit(&stored.metadata_json, |json| json["checksum"] = json!("1".repeat(64)));
    let results: Vec<_> = stored.reader().unwrap().records().unwrap().collect();
    assert_eq!(results.len(), 4);
    assert!(results[..3].iter().all(Result::is_ok));
    let error = results[3].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.file()), (FormatErrorKind::Corrupt, Some(layout::METADATA_JSON)));
}

#[test]
fn blocks_that_overlap_are_refused() {
    let mut records = three_records();
    records[1].id = "z".to_owned();
    let stored = Stored::full(2, &records, 2);
    let results: Vec<_> = stored.reader().unwrap().records().unwrap().collect();
    assert_eq!(results.len(), 3);
    assert_corrupt(results.into_iter().last().unwrap());
}

#[test]
fn an_error_names_the_file_and_the_block() {
    let intact = Stored::full(2, &three_records(), 2);
    for file in DataFile::ALL {
        let mut stored = intact.clone();
        let at = stored.reader().unwrap().directory()[1].range(file).start as usize;
        content_mut(&mut stored, file)[at + 5] ^= 1;
        let error = stored.read_all().unwrap_err();
        assert_eq!((error.kind(), error.file()), (FormatErrorKind::Corrupt, Some(file.name())), "{error}");
        assert!(error.message().starts_with("block 1: "), "{error}");
    }
}

/// Returns one byte fewer than requested from one file, or an error.
struct Faulty<'a>(&'a Stored, DataFile, bool);

impl ReadAt for Faulty<'_> {
    fn read_at(&self, file: DataFile, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let Self(stored, faulty, is_short) = self;
        match (file == *faulty, is_short) {
            (true, true) => stored.files.read_at(file, range.start..range.end - 1),
            (true, false) => Err(std::io::Error::other("the disk is gone"))?,
            (false, _) => stored.files.read_at(file, range),
        }
    }
}

#[test]
fn short_reads_are_corrupt_and_failed_reads_are_io_errors() {
    let stored = Stored::full(2, &three_records(), 2);
    for file in DataFile::ALL {
        for (is_short, kind) in [(true, FormatErrorKind::Corrupt), (false, FormatErrorKind::Io)] {
            let read = |source| {
                Reader::open(&stored.metadata_json, &stored.id, source)?.records()?.collect::<Result<Vec<_>>>()
            };
            let error: FormatError = read(Faulty(&stored, file, is_short)).unwrap_err();
            assert_eq!((error.kind(), error.file()), (kind, Some(file.name())), "{error}");
        }
    }
}

// ---- changed bytes

#[derive(Debug, Clone)]
enum Mutation {
    Change(Index, u8),
    Truncate(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), 1u8..).prop_map(|(at, bits)| Mutation::Change(at, bits)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        1 => (any::<Index>(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (any::<Index>(), 1usize..20).prop_map(|(at, bytes)| Mutation::Remove(at, bytes)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Change(at, bits) => {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Mutation::Insert(at, new) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, new.iter().copied()).for_each(drop);
        }
        Mutation::Remove(at, count) => {
            let at = at.index(bytes.len());
            bytes.drain(at..bytes.len().min(at + count));
        }
    }
}

fn content_mut(stored: &mut Stored, file: DataFile) -> &mut Vec<u8> {
    match file {
        DataFile::Vectors => &mut stored.files.vectors,
        DataFile::Index => &mut stored.files.index,
        DataFile::Payloads => &mut stored.files.payloads,
    }
}

fn snapshots() -> impl Strategy<Value = Stored> {
    prop_oneof![
        (records(), 1usize..20).prop_map(|((dimensions, records), rows)| Stored::full(dimensions, &records, rows)),
        (changed_rows(), 1usize..20)
            .prop_map(|((dimensions, rows), count)| Stored::increment(dimensions, &rows, count)),
    ]
}

/// A changed snapshot is refused, or it is read as if it were not changed.
fn check_refused_or_equal(changed: &Stored, intact: &Stored) -> std::result::Result<(), TestCaseError> {
    match changed.read_all() {
        Ok(contents) => prop_assert_eq!(contents, intact.read_all().unwrap()),
        Err(error) => {
            let kinds = [FormatErrorKind::Corrupt, FormatErrorKind::Unsupported];
            prop_assert!(kinds.contains(&error.kind()), "{:?}", error);
            prop_assert!(error.file().is_some(), "{:?}", error);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_are_refused_or_have_no_effect(
        stored in snapshots(),
        file in 0usize..4,
        mutations in vec(mutation(), 1..4),
    ) {
        let mut changed = stored.clone();
        for mutation in &mutations {
            match DataFile::ALL.get(file) {
                Some(file) => mutate(content_mut(&mut changed, *file), mutation),
                None => mutate(&mut changed.metadata_json, mutation),
            }
        }
        check_refused_or_equal(&changed, &stored)?;
    }

    #[test]
    fn arbitrary_files_are_refused(files in vec(vec(any::<u8>(), 0..300), 3)) {
        let intact = Stored::full(2, &three_records(), 2);
        let mut changed = intact.clone();
        for (file, bytes) in DataFile::ALL.into_iter().zip(files) {
            *content_mut(&mut changed, file) = bytes;
        }
        assert_corrupt(changed.read_all());
    }
}

// ---- numbers in metadata.json that are wrong, under a valid seal

const LIMITED: &str = "RUVECTOR_SNAPSHOT_FORMAT_TEST_LIMITED";

/// The pointers to all values below `value`.
fn pointers(value: &Value, prefix: &str, found: &mut Vec<String>) {
    let mut visit = |name: &str, value: &Value| {
        let pointer = format!("{prefix}/{name}");
        pointers(value, &pointer, found);
        found.push(pointer);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| visit(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| visit(&at.to_string(), value)),
        _ => {}
    }
}

/// Not a test on its own: runs in a process with little memory.
#[test]
#[ignore = "started by wrong_numbers_are_refused_with_little_memory"]
fn limited_process() {
    if std::env::var_os(LIMITED).is_none() {
        return;
    }
    let rows: Vec<_> = three_records().iter().map(changed_row).collect();
    for intact in [Stored::full(2, &three_records(), 2), Stored::increment(2, &rows, 2)] {
        let json: Value = serde_json::from_slice(&intact.metadata_json).unwrap();
        let expected = intact.read_all().unwrap();
        let mut all = Vec::new();
        pointers(&json, "", &mut all);
        assert!(all.len() > 40);
        for pointer in all.into_iter().filter(|pointer| pointer != "/seal") {
            for value in wrong_values(json.pointer(&pointer).unwrap()) {
                let mut changed = intact.clone();
                changed.metadata_json =
                    edit(&intact.metadata_json, |json| *json.pointer_mut(&pointer).unwrap() = value.clone());
                match changed.read_all() {
                    Ok(found) => assert_eq!((&found.records, &found.rows), (&expected.records, &expected.rows)),
                    Err(error) => {
                        let kinds = [FormatErrorKind::Corrupt, FormatErrorKind::Unsupported];
                        assert!(kinds.contains(&error.kind()), "{pointer} = {value}: {error:?}");
                    }
                }
            }
        }
    }
}

fn changed_row(record: &OwnedRecord) -> OwnedChangedRow {
    let change = OwnedChange::Put { vector: Some(record.vector.clone()), metadata: record.metadata.clone() };
    OwnedChangedRow { id: record.id.clone(), digest: record.as_record().digest(), change }
}

fn wrong_values(value: &Value) -> Vec<Value> {
    let mut wrong =
        vec![json!(0), json!(1), json!(-1), json!(1.5), json!(u64::MAX), json!(1u64 << 24), json!(1u64 << 40)];
    wrong.extend([json!(1u64 << 30), json!(1u64 << 63), json!(1e30), json!(true), Value::Null, json!([]), json!({})]);
    wrong.extend([
        json!(""),
        json!("x"),
        json!("directory"),
        json!("0".repeat(64)),
        json!("F".repeat(64)),
        json!("../../x"),
    ]);
    wrong.extend(value.as_u64().into_iter().flat_map(|number| [json!(number + 1), json!(number.wrapping_sub(1))]));
    wrong
}

#[cfg(target_os = "linux")]
#[test]
fn wrong_numbers_are_refused_with_little_memory() {
    // 256 MiB of address space. A process that trusts such a number asks for far more, and ends.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 262144 && exec \"$0\" --exact reader::limited_process --ignored --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, "1")
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
