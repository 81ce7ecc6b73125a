//! The source of the example `custom_source`, which reads a JSON Lines file: it is stored, restored and refused like
//! any other source.

#[allow(dead_code, reason = "its main runs as a program")]
#[path = "../../examples/custom_source.rs"]
mod example;

use std::fs;

use example::JsonLines;
use ruvector_snapshot::source::{SnapshotSource, SourceReader};
use ruvector_snapshot::{
    CreateOptions, DatabaseInfo, ErrorKind, Record, Result, Snapshot, SnapshotError, SnapshotManager,
};
use serde_json::json;
use test_fixtures::{TestDir, contents, names};

const TWO_LINES: &str = r#"{"id": "b/ü", "vector": [3.0, -0.0]}
{"id": "a", "vector": [1.0, 2.5], "metadata": {"lang": "de"}}
"#;

async fn create(manager: &SnapshotManager, source: &dyn SnapshotSource) -> Result<Snapshot> {
    manager.create_from(source, "export", &CreateOptions::default()).await
}

async fn create_from_lines(lines: &str) -> Result<Snapshot> {
    let dir = TestDir::new();
    fs::write(dir.path("export.jsonl"), lines).unwrap();
    let manager = dir.manager();
    let result = create(&manager, &JsonLines::new(dir.path("export.jsonl"))).await;
    assert_eq!(manager.list_snapshots().await.unwrap().len(), usize::from(result.is_ok()));
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_lines_is_restored_as_a_database() {
    let dir = TestDir::new();
    fs::write(dir.path("export.jsonl"), TWO_LINES).unwrap();
    let manager = dir.manager();
    let snapshot = create(&manager, &JsonLines::new(dir.path("export.jsonl"))).await.unwrap();
    assert_eq!((snapshot.vector_count, snapshot.dimensions), (2, 2));
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    let restored = contents(&manager.restore_snapshot(&snapshot.id).await.unwrap());
    let metadata = [("lang".to_owned(), json!("de"))].into();
    assert_eq!(restored["a"], (vec![1.0f32.to_bits(), 2.5f32.to_bits()], Some(metadata)));
    assert_eq!(restored["b/ü"], (vec![3.0f32.to_bits(), (-0.0f32).to_bits()], None));
    assert_eq!(restored.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_of_a_file_of_lines_holds_what_changed() {
    let dir = TestDir::new();
    let path = dir.path("export.jsonl");
    fs::write(&path, TWO_LINES).unwrap();
    let manager = dir.manager();
    let base = create(&manager, &JsonLines::new(&path)).await.unwrap();
    fs::write(&path, "{\"id\": \"a\", \"vector\": [1.0, 2.5], \"metadata\": {\"lang\": \"de\"}}\n{\"id\": \"c\", \"vector\": [0, 1]}\n").unwrap();
    let options = CreateOptions::default().base_id(&base.id);
    let increment = manager.create_from(&JsonLines::new(&path), "increment", &options).await.unwrap();
    let restored = contents(&manager.restore_snapshot(&increment.id).await.unwrap());
    assert_eq!(restored.keys().collect::<Vec<_>>(), ["a", "c"]);
    let full = create(&manager, &JsonLines::new(&path)).await.unwrap();
    assert_eq!(full.checksum, increment.checksum);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_an_empty_snapshot() {
    assert_eq!(create_from_lines("").await.unwrap().vector_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_records_are_refused() {
    for lines in
        ["{", "[1, 2]", "{\"id\": \"a\"}", "{\"id\": \"a\", \"vector\": [1]}\n{\"id\": \"a\", \"vector\": [2]}\n"]
    {
        let error = create_from_lines(lines).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{lines}: {error}");
        assert!(error.to_string().contains("export.jsonl"), "{error}");
    }
}

/// A source of records, in the order that they are given, with 4 bytes per dimension unless they say otherwise.
#[derive(Debug)]
struct Given(Vec<(&'static str, Vec<u8>, Option<&'static str>)>);

/// A source without records, whose description is nested too deeply to be read back.
#[derive(Debug)]
struct DeepDescription;

impl SnapshotSource for DeepDescription {
    fn open(&self) -> Result<Box<dyn SourceReader>> {
        let mut database = DatabaseInfo::new(1);
        for _ in 0..200 {
            database.hnsw_config = json!([database.hnsw_config]);
        }
        Ok(Box::new(GivenReader { database, records: Vec::new().into_iter(), current: Vec::new() }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_could_not_be_read_back_is_refused() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let error = create(&manager, &DeepDescription).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(names(&dir.snapshots()), Vec::<String>::new());
}

struct GivenReader {
    database: DatabaseInfo,
    records: std::vec::IntoIter<(&'static str, Vec<u8>, Option<&'static str>)>,
    current: Vec<u8>,
}

impl SnapshotSource for Given {
    fn open(&self) -> Result<Box<dyn SourceReader>> {
        let records = self.0.clone().into_iter();
        Ok(Box::new(GivenReader { database: DatabaseInfo::new(1), records, current: Vec::new() }))
    }
}

impl SourceReader for GivenReader {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        let Some((id, vector, metadata)) = self.records.next() else { return Ok(None) };
        if id == "fails" {
            return Err(SnapshotError::new(ErrorKind::Unavailable, "the other database does not respond"));
        }
        self.current = vector;
        Ok(Some(Record { id, vector: &self.current, metadata }))
    }
}

/// Nothing of a source that breaks its contract is stored, and the error says what it did.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_breaks_its_contract_is_refused() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let row = |id| (id, vec![0; 4], None);
    // So large that each is in a block of its own.
    let large = |id| {
        let metadata: &str = format!("{{\"text\":\"{}\"}}", "x".repeat(3 << 20)).leak();
        (id, vec![0; 4], Some(metadata))
    };
    for (records, expected) in [
        (vec![large("b"), large("a")], "order"),
        (vec![large("a"), large("a")], "order"),
        (vec![row("b"), row("a")], "order"),
        (vec![row("a"), row("a")], "order"),
        (vec![("a", vec![0; 8], None)], "bytes, not 4"),
        (vec![("a", vec![0; 3], None)], "bytes, not 4"),
        (vec![row("a"), row("fails")], "does not respond"),
    ] {
        let error = create(&manager, &Given(records.clone())).await.unwrap_err();
        assert!(error.to_string().contains(expected), "expected {expected:?}: {error}");
        assert_eq!(manager.list_snapshots().await.unwrap(), []);
    }
}
