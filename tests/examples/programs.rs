//! The examples that need no server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ruvector_core::types::{DbOptions, SearchQuery};
use ruvector_core::{DistanceMetric, VectorDB};
use serde_json::json;

const ROWS: usize = 4;
const DIMENSIONS: usize = 3;
const LABELS: &str = concat!(
    r#"{"id":"","metadata":{"n":12345678901234567890,"x":[0.1,null]}}"#,
    "\n",
    r#"{"id":"e\u0301 \"犬\"\n","metadata":null}"#,
    "\n",
    r#"{"id":"c"}"#,
    "\n",
    r#"{"metadata":{},"id":"d"}"#,
);

#[test]
fn quickstart_verifies_and_restores_what_it_created() {
    let output = Command::new(env!("CARGO_BIN_EXE_example-quickstart")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("verified: true"), "{text}");
    assert!(text.contains("restored 3 vectors to a file; nearest to (1, 0, 0, 0): east"), "{text}");
    assert!(text.contains("same checksum: true"), "{text}");
}

#[test]
fn incremental_creates_restores_compacts_and_deletes_a_chain() {
    let output = Command::new(env!("CARGO_BIN_EXE_example-incremental")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for words in [
        "Changes { added: 0, changed: 20, removed: 0 }",
        "Changes { added: 1, changed: 0, removed: 1 }",
        r#"the chain: ["wednesday", "tuesday", "monday"]"#,
        "restored 5000 vectors; record 7 is gone: true",
        "refused: cannot delete ",
        "compacted, with the same contents: true",
        "deleted 3 snapshots of the chain",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    let bytes = |line: &str| -> u64 {
        let (_, rest) = text.split_once(line).unwrap();
        rest.split_once(" bytes").unwrap().0.parse().unwrap()
    };
    assert!(bytes("tuesday: ") * 20 < bytes("monday, full: "), "{text}");
}

#[test]
fn progressive_restore_searches_while_it_fills_and_goes_on_after_an_interruption() {
    let output = Command::new(env!("CARGO_BIN_EXE_example-progressive-restore")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let found: Vec<_> = text.lines().filter_map(|line| line.split_once(" of 3000 records; nearest so far: ")).collect();
    assert!(found.len() > 2, "{text}");
    assert!(found.is_sorted_by(|one, next| one.1 < next.1), "{text}");
    assert_eq!(found.last(), Some(&("3000", "doc-02999")));
    let (_, last_of_first) = found[0];
    assert!(text.contains(&format!("interrupted after {last_of_first}\n")), "{text}");
    assert!(text.contains("every digest was verified: true\nall records are there: true\n"), "{text}");
}

#[test]
fn load_vectors_loads_vectors_ids_and_metadata() {
    let dir = tempfile::tempdir().unwrap();
    for version in 1..=3 {
        let npy = write_npy(dir.path(), version, "<f4", "False");
        let jsonl = write(dir.path(), "a.jsonl", LABELS.as_bytes());
        let db = dir.path().join(format!("{version}.db"));
        assert_success(&load(&npy, Some(&jsonl), &db, &["--metric", "dot"]));
        let db = open(&db);
        assert_eq!(db.options().distance_metric, DistanceMetric::DotProduct);
        assert_eq!(db.options().dimensions, DIMENSIONS);
        assert!(db.options().hnsw_config.is_some());
        assert_eq!(db.len().unwrap(), ROWS);
        assert_row(&db, "", 0, 1.0, Some(json!({"n": 12345678901234567890u64, "x": [0.1, null]})));
        assert_row(&db, "e\u{301} \"犬\"\n", 1, 1.0, None);
        assert_row(&db, "c", 2, 1.0, None);
        assert_row(&db, "d", 3, 1.0, Some(json!({})));
    }
}

#[test]
fn load_vectors_repeats_rows_with_different_values_and_the_database_can_be_searched() {
    let dir = tempfile::tempdir().unwrap();
    let npy = write_npy(dir.path(), 1, "<f4", "False");
    let db = dir.path().join("a.db");
    let output = load(&npy, None, &db, &["--repeat", "3", "--flat", "--metric", "euclidean"]);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("rows        12\n") && text.contains("dimensions  3\n"), "{text}");
    let db = open(&db);
    assert!(db.options().hnsw_config.is_none());
    assert_eq!(db.len().unwrap(), 3 * ROWS);
    for row in 0..ROWS {
        assert_row(&db, &format!("row-{row:06}"), row, 1.0, None);
        for (copy, scale) in [(2, 1.0 + 1.0 / 1024.0), (3, 1.0 + 2.0 / 1024.0)] {
            let mut copied = db.get(&format!("row-{row:06}~{copy}")).unwrap().unwrap().vector;
            let mut expected = vector(row, scale);
            copied.sort_by(f32::total_cmp);
            expected.sort_by(f32::total_cmp);
            assert_eq!(copied, expected);
        }
    }
    let query = SearchQuery { vector: vector(2, 1.0), k: 1, filter: None, ef_search: None };
    assert_eq!(db.search(query).unwrap()[0].id, "row-000002");
}

#[test]
fn load_vectors_explains_invalid_input_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |npy: &Path, labels: Option<&str>, arguments: &[&str], what: &str| {
        let jsonl = labels.map(|labels| write(dir.path(), "b.jsonl", labels.as_bytes()));
        let db = dir.path().join("refused.db");
        let output = load(npy, jsonl.as_deref(), &db, arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && message.contains(what), "{what}: {message}");
        assert!(!db.exists(), "{what}");
    };
    for (descr, order, what) in [
        ("<f8", "False", "little-endian float32"),
        (">f4", "False", "little-endian float32"),
        ("<f4", "True", "C order"),
    ] {
        refused(&write_npy(dir.path(), 1, descr, order), None, &[], what);
    }
    refused(&write_npy(dir.path(), 4, "<f4", "False"), None, &[], "version 4");
    let npy = write_npy(dir.path(), 1, "<f4", "False");
    let bytes = std::fs::read(&npy).unwrap();
    refused(&write(dir.path(), "short.npy", &bytes[..bytes.len() - 1]), None, &[], "do not hold 4 x 3 values");
    refused(&write(dir.path(), "text.npy", b"no numbers here"), None, &[], "no numpy file");
    refused(&npy, Some(r#"{"id":"a"}"#), &[], "line 2: the file ends here");
    refused(&npy, Some(&format!("{LABELS}\n{LABELS}")), &[], "line 5: more lines");
    refused(&npy, Some(&LABELS.replace(r#"{"id":"c"}"#, "c")), &[], "line 3: expected value");
    refused(&npy, Some(&LABELS.replace("c", "d")), &[], r#"line 4: there is a row of id "d" already"#);
    refused(
        &npy,
        Some(&LABELS.replace("c", "d~2")),
        &["--repeat", "2"],
        r#"line 4: there is a row of id "d~2" already"#,
    );
}

#[test]
fn load_vectors_does_not_change_an_existing_file() {
    let dir = tempfile::tempdir().unwrap();
    let npy = write_npy(dir.path(), 1, "<f4", "False");
    let db = write(dir.path(), "a.db", b"precious");
    let output = load(&npy, None, &db, &[]);
    assert!(!output.status.success() && String::from_utf8(output.stderr).unwrap().contains("exists"));
    assert_eq!(std::fs::read(db).unwrap(), b"precious");
}

/// Returns the value in a row and a column before scaling.
fn value(row: usize, column: usize) -> f32 {
    [0.1, -2.5, f32::MIN_POSITIVE / 2.0][column] * (row + 1) as f32
}

fn vector(row: usize, scale: f32) -> Vec<f32> {
    (0..DIMENSIONS).map(|column| value(row, column) * scale).collect()
}

fn assert_row(db: &VectorDB, id: &str, row: usize, scale: f32, metadata: Option<serde_json::Value>) {
    let entry = db.get(id).unwrap().unwrap_or_else(|| panic!("{id:?} is missing"));
    let bits = |vector: &[f32]| vector.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&entry.vector), bits(&vector(row, scale)), "{id:?}");
    assert_eq!(entry.metadata.map(|members| json!(members)), metadata, "{id:?}");
}

fn write_npy(dir: &Path, version: u8, descr: &str, fortran_order: &str) -> PathBuf {
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran_order}, 'shape': ({ROWS}, {DIMENSIONS}), }}\n");
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    let values = (0..ROWS).flat_map(|row| (0..DIMENSIONS).map(move |column| value(row, column)));
    bytes.extend(values.flat_map(f32::to_le_bytes));
    write(dir, &format!("{version}.npy"), &bytes)
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn load(npy: &Path, jsonl: Option<&Path>, db: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-load-vectors"));
    command.arg("--npy").arg(npy).arg("--db").arg(db).args(arguments);
    if let Some(jsonl) = jsonl {
        command.arg("--jsonl").arg(jsonl);
    }
    command.output().unwrap()
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn open(path: &Path) -> VectorDB {
    VectorDB::new(DbOptions { storage_path: path.to_str().unwrap().to_owned(), ..DbOptions::default() }).unwrap()
}
