//! Golden snapshots: files that earlier versions of this program wrote. Every format version must restore forever.
//!
//! `tests/golden/v{format version}/{case}/` holds the five files of a snapshot, `config.json` (the rows of the `config`
//! table) and `expected.jsonl`. Each line of `expected.jsonl` is a record: the id, the bits of the vector as runs of
//! `[hexadecimal, count]`, and the metadata as text. A chain has one snapshot and one such file per link;
//! `expected-1.jsonl` is the state of the full snapshot.
//!
//! Golden files are never changed or created again. For a new format version, add it to [`VERSIONS`] and run
//! `cargo test -p ruvector-snapshot --test it -- --ignored make_golden`. It creates only the cases that are missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeZone as _, Utc};
use ruvector_snapshot::{Changes, CreateOptions, RestoreOptions, Snapshot, SnapshotConfig, SnapshotManager};
use ruvector_snapshot_format::metadata::{FORMAT_VERSION, FORMAT_VERSION_WITHOUT_IRREGULAR};
use test_fixtures::{
    CONFIG, FixedClock, METADATA, Rows, TestDir, VECTORS, encode_vector, names, options, rows_of_file,
};

use crate::common::reference_checksum::{reference_checksum, reference_digest};

/// Every format version so far, and its cases.
const VERSIONS: [(u32, &[&str]); 2] = [(1, &["blocks", "chain", "codings"]), (2, &["irregular"])];

/// The random parts of the ids of the golden snapshots. Those of a chain start with the full snapshot.
const NUMBERS: [(&str, &[u64]); 3] = [("blocks", &[1]), ("codings", &[2]), ("chain", &[3, 4, 5])];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Expected {
    id: String,
    vector: Vec<(String, usize)>,
    metadata: Option<String>,
}

impl Expected {
    fn values(&self) -> Vec<f32> {
        let run = |(bits, count): &(String, usize)| {
            std::iter::repeat_n(f32::from_bits(u32::from_str_radix(bits, 16).unwrap()), *count)
        };
        self.vector.iter().flat_map(run).collect()
    }
}

/// Returns the rows that each snapshot of a case must restore to. The full snapshot is first.
fn expected(case: &Path) -> Vec<Rows> {
    let config: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(case.join("config.json")).unwrap()).unwrap();
    let files = names(case).into_iter().filter(|name| name.starts_with("expected"));
    let state = |file: String| {
        let mut rows = Rows { config: config.clone(), ..Rows::default() };
        for line in std::fs::read_to_string(case.join(file)).unwrap().lines() {
            let record: Expected = serde_json::from_str(line).unwrap();
            rows.vectors.insert(record.id.clone(), encode_vector(&record.values()));
            rows.metadata.extend(record.metadata.map(|text| (record.id, text)));
        }
        rows
    };
    files.map(state).collect()
}

/// Copies the snapshots of a case into a store, because golden files must never be opened for writing.
fn copy_snapshots(case: &Path, dir: &TestDir) -> Vec<String> {
    let snapshots: Vec<_> = names(case).into_iter().filter(|name| name.starts_with("snapshot-")).collect();
    for snapshot in &snapshots {
        std::fs::create_dir(dir.snapshots().join(snapshot)).unwrap();
        for file in names(&case.join(snapshot)) {
            std::fs::copy(case.join(snapshot).join(&file), dir.snapshots().join(snapshot).join(&file)).unwrap();
        }
    }
    snapshots
}

fn content_checksum(rows: &Rows) -> String {
    let digest = |(id, value): (&String, &Vec<u8>)| {
        let head = if value[0] <= 250 { 1 } else { [3, 5][usize::from(value[0] - 251)] };
        reference_digest(id, &value[head..], rows.metadata.get(id).map(String::as_str))
    };
    reference_checksum(&rows.vectors.iter().map(digest).collect::<Vec<_>>())
}

#[test]
fn every_format_version_has_golden_snapshots() {
    let listed: Vec<_> = VERSIONS.iter().map(|(version, _)| format!("v{version}")).collect();
    assert_eq!(names(&golden()), listed, "VERSIONS must list every directory, and no version may be removed");
    assert_eq!(VERSIONS.last().unwrap().0, FORMAT_VERSION, "the current format version has no golden snapshot");
    for (version, cases) in VERSIONS {
        assert_eq!(names(&golden().join(format!("v{version}"))), cases);
    }
}

#[tokio::test]
async fn every_format_version_restores() {
    // Version 2 is version 1 with irregular rows, see `golden_irregular`.
    for (version, cases) in VERSIONS.into_iter().take(1) {
        for case in cases {
            let case = golden().join(format!("v{version}")).join(case);
            let dir = TestDir::new();
            let (snapshots, states) = (copy_snapshots(&case, &dir), expected(&case));
            let manager = dir.manager();
            let mut listed = manager.list_snapshots().await.unwrap();
            // All have the same timestamp, and their ids are in the order of creation.
            listed.sort_by(|a, b| a.id.cmp(&b.id));
            let ids: Vec<_> = listed.iter().map(|snapshot| format!("snapshot-{}", snapshot.id)).collect();
            assert_eq!(ids, snapshots);
            assert_eq!(listed.len(), states.len(), "{}", case.display());
            for (snapshot, rows) in listed.iter().zip(&states) {
                assert_restores(&manager, &dir, snapshot, rows).await;
                assert_eq!(snapshot.name, format!("golden / {}", case.file_name().unwrap().to_str().unwrap()));
            }
        }
    }
}

async fn assert_restores(manager: &SnapshotManager, dir: &TestDir, listed: &Snapshot, rows: &Rows) {
    assert_eq!(listed.vector_count, rows.vectors.len());
    assert_eq!(listed.checksum, content_checksum(rows), "{listed:?}");
    assert_eq!(listed.labels.get("schlüssel"), Some("value"));
    assert_eq!(listed.created_at, time());
    assert!(manager.verify_snapshot(&listed.id).await.unwrap(), "{listed:?}");
    manager.restore_snapshot_to(&listed.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(rows_of_file(&dir.restored()) == *rows, "{listed:?} restores to other rows");
    std::fs::remove_file(dir.restored()).unwrap();
    let db = manager.restore_snapshot(&listed.id).await.unwrap();
    assert_eq!(db.len().unwrap(), rows.vectors.len());
    assert_eq!(db.options().dimensions, listed.dimensions);
}

#[tokio::test]
async fn the_golden_chain_has_every_kind_of_change_and_accepts_increments() {
    let case = golden().join("v1/chain");
    let dir = TestDir::new();
    let snapshots = copy_snapshots(&case, &dir);
    for snapshot in &snapshots {
        let json = std::fs::read(case.join(snapshot).join("metadata.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["sections"][2]["name"], "leaves", "{snapshot}");
    }
    let manager = dir.manager();
    let mut listed = manager.list_snapshots().await.unwrap();
    listed.sort_by(|a, b| b.id.cmp(&a.id));
    let changes = listed.iter().map(|snapshot| snapshot.changes.map(|of| (of.added, of.changed, of.removed)));
    assert_eq!(changes.collect::<Vec<_>>(), [Some((2, 4, 2)), Some((3, 5, 4)), None]);
    let [newest, .., full] = &listed[..] else { panic!("not a chain: {listed:?}") };
    assert_eq!(manager.chain(&newest.id).await.unwrap(), listed);

    manager.restore_snapshot_to(&newest.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    let options = CreateOptions::default().base_id(&newest.id);
    let next = manager.create_snapshot_of_file(dir.restored(), "next", &options).await.unwrap();
    assert_eq!((&next.checksum, next.changes), (&newest.checksum, Some(Changes::default())));
    let compacted = manager.compact_snapshot(&newest.id, None).await.unwrap();
    assert_eq!((&compacted.checksum, &compacted.snapshot_type), (&newest.checksum, &full.snapshot_type));
}

fn time() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 31, 8, 0, 0).unwrap()
}

/// Returns the records of the full snapshot of a case.
///
/// `blocks` has few records that are long enough to fill three blocks. Their vectors are long runs, which keeps the
/// files small. `codings` and `chain` have vectors like embeddings, whose planes need different codings.
fn records(case: &str) -> (usize, Vec<Expected>) {
    let odd = [0x7fc0_1234u32, 0xff80_0001, 0x7f80_0000, 0xff80_0000, 0x8000_0000, 1, 0x0080_0000, 0x7f7f_ffff];
    let ids = ["", "a", "a/b c", "\"\\\u{1}", "ünï", "日本語", "עברית", "🦀", "\u{10FFFF}"];
    let texts = [
        "{}",
        r#"{"a":{"b":[1,null,"é"]},"n":12345678901234567890123}"#,
        r#"{"u":"\u0041","x":1e-7,"y":-0.0,"z":1.0}"#,
    ];
    let (dimensions, count) = match case {
        "blocks" => (65_536, 20),
        "chain" => (32, 80),
        _ => (96, 60),
    };
    let mut random = 1u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as f32 / 16_777_216.0
    };
    let record = |at: usize| {
        let bits: Vec<(u32, usize)> = if case == "blocks" {
            let run = (at as f32 * 0.5 - 3.0).to_bits();
            vec![(odd[at % 8], 3), (run, dimensions - 1003), (0, 1000)]
        } else {
            (0..dimensions).map(|_| (((noise() + noise() + noise() - 1.5) * 0.1).to_bits(), 1)).collect()
        };
        let id = ids.get(at).map_or_else(|| format!("record-{at:03}"), |id| (*id).to_owned());
        let vector = bits.into_iter().map(|(bits, count)| (format!("{bits:08x}"), count)).collect();
        Expected { id, vector, metadata: texts.get(at % 5).map(|text| (*text).to_owned()) }
    };
    (dimensions, (0..count).map(record).collect())
}

/// Returns the states of a case: one, or those of a chain.
fn states(case: &str) -> (usize, Vec<Records>) {
    let (dimensions, records) = records(case);
    let full: Records = records.into_iter().map(|record| (record.id.clone(), record)).collect();
    if case != "chain" {
        return (dimensions, vec![full]);
    }
    let vector = |bits: &str| vec![("3f800000".to_owned(), 1), (bits.to_owned(), dimensions - 1)];
    let text = |text: &str| Some(text.to_owned());
    let new =
        |id: &str, metadata| (id.to_owned(), Expected { id: id.to_owned(), vector: vector("bf800000"), metadata });

    let mut first = full.clone();
    // Changes the vector, the metadata or both, and adds and removes metadata.
    first.get_mut("record-010").unwrap().vector = vector("7fc01234");
    first.get_mut("record-011").unwrap().metadata = text(r#"{"n":1}"#);
    first.get_mut("record-013").unwrap().metadata = text(r#"{"came":true}"#);
    first.get_mut("record-012").unwrap().metadata = None;
    *first.get_mut("日本語").unwrap() = new("日本語", text("{}")).1;
    first.extend([new("record-0105", None), new("zz-last", text(r#"{"x":1e-7}"#)), new("record-0115", None)]);
    first.retain(|id, _| !["", "record-014", "record-015", "🦀"].contains(&id.as_str()));

    let mut second = first.clone();
    // Adds metadata again after it was removed, and changes only metadata of a vector that is stored in the full
    // snapshot.
    second.get_mut("record-012").unwrap().metadata = text(r#"{"again":[]}"#);
    second.get_mut("record-011").unwrap().metadata = text(r#"{"n":2}"#);
    second.get_mut("record-0105").unwrap().metadata = text(r#"{"added":"then described"}"#);
    second.get_mut("record-013").unwrap().vector = vector("00000001");
    second.extend([new("record-014", None), new("", text(r#"{"back":null}"#))]);
    second.retain(|id, _| !["zz-last", "record-010"].contains(&id.as_str()));
    (dimensions, vec![full, first, second])
}

type Records = BTreeMap<String, Expected>;

/// Commits the difference between two states.
fn commit(database: &redb::Database, before: &Records, after: &Records) {
    let transaction = database.begin_write().unwrap();
    {
        let mut vectors = transaction.open_table(VECTORS).unwrap();
        let mut metadata = transaction.open_table(METADATA).unwrap();
        for id in before.keys().filter(|id| !after.contains_key(*id)) {
            vectors.remove(id.as_str()).unwrap();
            metadata.remove(id.as_str()).unwrap();
        }
        for (id, record) in after {
            let old = before.get(id);
            if old.is_none_or(|old| old.vector != record.vector) {
                vectors.insert(id.as_str(), encode_vector(&record.values()).as_slice()).unwrap();
            }
            match &record.metadata {
                same if old.is_some_and(|old| old.metadata == *same) => {}
                Some(text) => drop(metadata.insert(id.as_str(), text.as_str()).unwrap()),
                None => drop(metadata.remove(id.as_str()).unwrap()),
            }
        }
    }
    transaction.commit().unwrap();
}

/// Creates the missing golden snapshots of the current format version.
#[tokio::test]
#[ignore = "creates files that are kept forever; run it once for a new format version"]
async fn make_golden() {
    let version = golden().join(format!("v{FORMAT_VERSION_WITHOUT_IRREGULAR}"));
    let (_, cases) = VERSIONS.into_iter().find(|(version, _)| *version == FORMAT_VERSION_WITHOUT_IRREGULAR).unwrap();
    for name in cases {
        let case = version.join(name);
        if !case.exists() {
            make_case(&case, name).await;
        }
    }
}

async fn make_case(case: &Path, name: &str) {
    std::fs::create_dir_all(case).unwrap();
    let (dimensions, states) = states(name);
    let (_, numbers) = NUMBERS.into_iter().find(|(case, _)| *case == name).unwrap();
    let dir = TestDir::new();
    let path = dir.path("golden.db");
    let db_options_json = serde_json::to_string(&options("golden.db", dimensions)).unwrap();
    let config = BTreeMap::from([("__ruvector_db_config__", db_options_json.as_str()), ("application", "ünï {}")]);
    std::fs::write(case.join("config.json"), serde_json::to_string_pretty(&config).unwrap() + "\n").unwrap();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut rows = transaction.open_table(CONFIG).unwrap();
        config.iter().for_each(|(name, value)| drop(rows.insert(name, value).unwrap()));
    }
    transaction.commit().unwrap();
    let (mut before, mut base_id) = (Records::new(), None);
    for (at, state) in states.into_iter().enumerate() {
        commit(&database, &before, &state);
        let file = if numbers.len() == 1 { "expected.jsonl".to_owned() } else { format!("expected-{}.jsonl", at + 1) };
        let lines = state.values().map(|record| serde_json::to_string(record).unwrap() + "\n");
        std::fs::write(case.join(file), lines.collect::<String>()).unwrap();
        let manager = SnapshotManager::new(SnapshotConfig { snapshot_dir: case.to_owned(), ..dir.config() }).unwrap();
        let manager = manager.with_clock(Arc::new(FixedClock { now: time(), random: numbers[at] }));
        let mut options =
            CreateOptions::default().label("schlüssel", "value").metadata(serde_json::json!({"made": "once"}));
        if let Some(base_id) = base_id {
            options = options.base_id(base_id);
        }
        let made = manager.create_snapshot_of_file(&path, &format!("golden / {name}"), &options).await.unwrap();
        (before, base_id) = (state, Some(made.id));
    }
}
