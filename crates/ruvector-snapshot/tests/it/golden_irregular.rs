//! The golden chain of format version 2, which has irregular rows: see `golden`.
//!
//! In addition to the files of a chain, `tables-1.json` and so on hold every table of each state: its types, and its rows
//! in hexadecimal, in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{TimeZone as _, Utc};
use redb::TableDefinition;
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager};
use test_fixtures::{FixedClock, RawRows, StoredSnapshot, TestDir, encode_vector, names, options};

use crate::irregular::tables;

/// The types and the rows of a table.
type Table = (String, Vec<(String, String)>);

fn case() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2/irregular")
}

fn hex(bytes: &[u8]) -> String {
    ruvector_snapshot_format::checksum::hex(bytes)
}

fn hex_tables(path: &Path) -> BTreeMap<String, Table> {
    let rows = |rows: Vec<(Vec<u8>, Vec<u8>)>| rows.into_iter().map(|(key, value)| (hex(&key), hex(&value))).collect();
    tables(path).into_iter().map(|(name, (types, of))| (name, (types, rows(of)))).collect()
}

#[tokio::test]
async fn the_golden_chain_with_irregular_rows_restores_byte_for_byte() {
    let dir = TestDir::new();
    let snapshots: Vec<_> = names(&case()).into_iter().filter(|name| name.starts_with("snapshot-")).collect();
    for snapshot in &snapshots {
        std::fs::create_dir(dir.snapshots().join(snapshot)).unwrap();
        for file in names(&case().join(snapshot)) {
            std::fs::copy(case().join(snapshot).join(&file), dir.snapshots().join(snapshot).join(&file)).unwrap();
        }
    }
    let manager = dir.manager();
    assert_eq!(snapshots.len(), 3);
    for (at, snapshot) in snapshots.iter().enumerate() {
        let id = snapshot.strip_prefix("snapshot-").unwrap();
        assert!(manager.verify_snapshot(id).await.unwrap(), "{id}");
        manager.restore_snapshot_to(id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        let expected = std::fs::read(case().join(format!("tables-{}.json", at + 1))).unwrap();
        let expected: BTreeMap<String, Table> = serde_json::from_slice(&expected).unwrap();
        assert!(hex_tables(&dir.restored()) == expected, "{id}");
        std::fs::remove_file(dir.restored()).unwrap();
    }
    let newest = snapshots[2].strip_prefix("snapshot-").unwrap();
    let compacted = manager.compact_snapshot(newest, None).await.unwrap();
    assert_eq!(compacted.checksum, manager.get_snapshot(newest).await.unwrap().unwrap().checksum);
}

/// Returns the rows of the three states. The second has the irregular rows of the first.
fn states() -> [RawRows; 3] {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let mut rows = RawRows::default();
    let options = serde_json::to_string(&options("golden.db", 3)).unwrap();
    rows.config = [(bytes("__ruvector_db_config__"), bytes(&options)), (vec![0xff], bytes("not text"))].into();
    for at in 0..20u8 {
        rows.vectors.insert(format!("record-{at:03}").into_bytes(), encode_vector(&[f32::from(at), -1.0, 0.5]));
        rows.metadata.insert(format!("record-{at:03}").into_bytes(), format!("{{\"n\":{at}}}").into_bytes());
    }
    rows.vectors.insert(bytes("other-dimensions"), encode_vector(&[1.0, 2.0]));
    rows.vectors.insert(vec![b'x', 0xfe], encode_vector(&[1.0, 2.0, 3.0]));
    rows.metadata.insert(bytes("deep"), format!("{{\"a\":{}{}}}", "[".repeat(140), "]".repeat(140)).into_bytes());
    rows.vectors.insert(bytes("deep"), encode_vector(&[1.0, 2.0, 3.0]));
    rows.metadata.insert(bytes("orphan"), bytes("{}"));
    let first = rows.clone();
    rows.metadata.insert(bytes("record-003"), bytes("{\"changed\":true}"));
    rows.vectors.remove(bytes("record-004").as_slice());
    rows.metadata.remove(bytes("record-004").as_slice());
    let second = rows.clone();
    rows.metadata.insert(bytes("deep"), bytes("{}"));
    rows.metadata.insert(bytes("record-005"), bytes("no JSON"));
    [first, second, rows]
}

/// Creates the golden chain.
#[tokio::test]
#[ignore = "creates files that are kept forever; it was run once for format version 2"]
async fn make_golden_irregular() {
    assert!(!case().exists());
    std::fs::create_dir_all(case()).unwrap();
    let dir = TestDir::new();
    let path = dir.path("golden.db");
    let (mut before, mut base_id) = (RawRows::default(), None);
    for (at, state) in states().into_iter().enumerate() {
        state.write_over(&before, &path);
        if at == 0 {
            write_foreign(&path);
        }
        let file =
            |name: &str| case().join(format!("{name}-{}.json{}", at + 1, if name == "expected" { "l" } else { "" }));
        std::fs::write(file("tables"), serde_json::to_string_pretty(&hex_tables(&path)).unwrap() + "\n").unwrap();
        std::fs::write(file("expected"), expected_lines(&state)).unwrap();
        let manager = SnapshotManager::new(SnapshotConfig { snapshot_dir: case(), ..dir.config() }).unwrap();
        let now = Utc.with_ymd_and_hms(2026, 1, 31, 8, 0, 0).unwrap();
        let manager = manager.with_clock(Arc::new(FixedClock { now, random: 6 + at as u64 }));
        let mut options = CreateOptions::default().source_name("golden");
        if let Some(base_id) = base_id {
            options = options.base_id(base_id);
        }
        let made = manager.create_snapshot_of_file(&path, "golden / irregular", &options).await.unwrap();
        forget_machine(&made.id);
        (before, base_id) = (state, Some(made.id));
    }
}

/// Removes what says on which machine a snapshot was made.
fn forget_machine(id: &str) {
    let stored = StoredSnapshot::read(&case(), id);
    let mut metadata = stored.metadata();
    let source = &mut metadata.source;
    (source.host, source.path, source.device, source.inode) = (None, None, None, None);
    let metadata_json = metadata.encode().unwrap();
    stored.put("metadata.json", &metadata_json);
    stored.put("checksum.sha256", metadata.checksum_sha256(&metadata_json).unwrap().as_bytes());
}

fn write_foreign(path: &Path) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let counters: TableDefinition<'_, (u64, &str), [u8; 4]> = TableDefinition::new("counters");
        let mut counters = transaction.open_table(counters).unwrap();
        (0..5u8).for_each(|at| drop(counters.insert((u64::from(at) * 200, "x"), [at; 4]).unwrap()));
        let empty: TableDefinition<'_, &[u8], Option<u16>> = TableDefinition::new("empty");
        transaction.open_table(empty).unwrap();
    }
    transaction.commit().unwrap();
}

/// Returns the lines of `expected.jsonl`: the records of a state. Those of [`states`] are named accordingly.
fn expected_lines(state: &RawRows) -> String {
    let is_json = |id: &&Vec<u8>| state.metadata.get(*id).is_none_or(|text| text.starts_with(b"{") && text.len() < 200);
    let is_good =
        |(id, vector): &(&Vec<u8>, &Vec<u8>)| is_json(id) && vector.len() == 13 && std::str::from_utf8(id).is_ok();
    let line = |(id, vector): (&Vec<u8>, &Vec<u8>)| {
        let values = vector[1..].chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
        let runs: Vec<_> = values.map(|bits| (format!("{bits:08x}"), 1)).collect();
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        let metadata = state.metadata.get(id).map(text);
        serde_json::json!({ "id": text(id), "vector": runs, "metadata": metadata }).to_string() + "\n"
    };
    state.vectors.iter().filter(is_good).map(line).collect()
}
