//! Snapshots that older versions of this program wrote, kept as they are: every format version must restore for ever.
//!
//! `golden/v{format version}/{case}/` holds a snapshot (its five files), `expected.jsonl` (a line a record: the id, the bits
//! of the vector as runs of `[hexadecimal, count]`, and the metadata as text) and `config.json` (the rows of the `config`
//! table). They are never made again. For a new format version, list it in [`VERSIONS`] and run
//! `cargo test -p ruvector-snapshot --test golden -- --ignored make_golden`, which writes only what is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeZone as _, Utc};
use common::reference::{digest_by_the_text, sum_by_the_text};
use common::{CONFIG, METADATA, Place, Rows, VECTORS, encoded, names, options, rows_of_file};
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::format::metadata::FORMAT_VERSION;
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager};

/// Every format version there has been, and its cases.
const VERSIONS: [(u32, [&str; 2]); 1] = [(1, ["blocks", "codings"])];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[derive(serde::Serialize, serde::Deserialize)]
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

/// What a case must restore to.
fn expected(case: &Path) -> Rows {
    let mut rows = Rows::default();
    for line in std::fs::read_to_string(case.join("expected.jsonl")).unwrap().lines() {
        let record: Expected = serde_json::from_str(line).unwrap();
        rows.vectors.insert(record.id.clone(), encoded(&record.values()));
        rows.metadata.extend(record.metadata.map(|text| (record.id, text)));
    }
    rows.config = serde_json::from_slice(&std::fs::read(case.join("config.json")).unwrap()).unwrap();
    rows
}

fn content_checksum(rows: &Rows) -> String {
    let digest = |(id, value): (&String, &Vec<u8>)| {
        let head = if value[0] <= 250 { 1 } else { [3, 5][usize::from(value[0] - 251)] };
        digest_by_the_text(id, &value[head..], rows.metadata.get(id).map(String::as_str))
    };
    sum_by_the_text(&rows.vectors.iter().map(digest).collect::<Vec<_>>())
}

#[test]
fn every_version_is_listed_and_none_is_lost() {
    let listed: Vec<_> = VERSIONS.iter().map(|(version, _)| format!("v{version}")).collect();
    assert_eq!(names(&golden()), listed, "list every directory in VERSIONS, and keep every version");
    assert_eq!(VERSIONS.last().unwrap().0, FORMAT_VERSION, "the version that is written has no golden snapshot");
    for (version, cases) in VERSIONS {
        assert_eq!(names(&golden().join(format!("v{version}"))), cases);
    }
}

#[tokio::test]
async fn every_version_restores() {
    for (version, cases) in VERSIONS {
        for case in cases {
            let case = golden().join(format!("v{version}")).join(case);
            let shown = case.display();
            let rows = expected(&case);
            let place = Place::new();
            // What is kept is never opened for writing.
            let snapshot_dir = place.snapshots();
            let [snapshot] =
                &names(&case).into_iter().filter(|name| name.starts_with("snapshot-")).collect::<Vec<_>>()[..]
            else {
                panic!("{shown} is to hold one snapshot")
            };
            std::fs::create_dir(snapshot_dir.join(snapshot)).unwrap();
            for file in names(&case.join(snapshot)) {
                std::fs::copy(case.join(snapshot).join(&file), snapshot_dir.join(snapshot).join(&file)).unwrap();
            }
            let manager = place.manager();
            let listed = manager.list_snapshots().await.unwrap();
            assert_eq!(listed.len(), 1, "{shown}");
            let listed = &listed[0];
            assert_eq!(*snapshot, format!("snapshot-{}", listed.id));
            assert_eq!(listed.vector_count, rows.vectors.len());
            assert_eq!(listed.checksum, content_checksum(&rows), "{shown}");
            assert_eq!(listed.name, format!("golden / {}", case.file_name().unwrap().to_str().unwrap()));
            assert_eq!(listed.labels["schlüssel"], "value");
            assert_eq!(listed.created_at, time());
            assert!(manager.verify_snapshot(&listed.id).await.unwrap(), "{shown}");
            manager.restore_snapshot_to(&listed.id, place.restored(), &RestoreOptions::default()).await.unwrap();
            assert!(rows_of_file(&place.restored()) == rows, "{shown} restores to something else");
            let db = manager.restore_snapshot(&listed.id).await.unwrap();
            assert_eq!(db.len().unwrap(), rows.vectors.len());
            assert_eq!(db.options().dimensions, listed.dimensions);
        }
    }
}

fn time() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 31, 8, 0, 0).unwrap()
}

#[derive(Debug)]
struct FixedClock(u64);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        time()
    }

    fn random(&self) -> ruvector_snapshot::Result<u64> {
        Ok(self.0)
    }
}

/// The records of a case. `blocks`: few records, so long that they fill three blocks, and of long runs, so that they take
/// little room. `codings`: vectors as embeddings have them, whose planes are coded in different ways.
fn records(case: &str) -> (usize, Vec<Expected>) {
    let odd = [0x7fc0_1234u32, 0xff80_0001, 0x7f80_0000, 0xff80_0000, 0x8000_0000, 1, 0x0080_0000, 0x7f7f_ffff];
    let ids = ["", "a", "a/b c", "\"\\\u{1}", "ünï", "日本語", "עברית", "🦀", "\u{10FFFF}"];
    let texts = [
        "{}",
        r#"{"a":{"b":[1,null,"é"]},"n":12345678901234567890123}"#,
        r#"{"u":"\u0041","x":1e-7,"y":-0.0,"z":1.0}"#,
    ];
    let (dimensions, count) = if case == "blocks" { (65_536, 20) } else { (96, 60) };
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

/// Makes the golden snapshots of the version that this program writes, where there are none.
#[tokio::test]
#[ignore = "makes what is kept for ever; run it once for a new format version"]
async fn make_golden() {
    let version = golden().join(format!("v{FORMAT_VERSION}"));
    let (_, cases) = VERSIONS.into_iter().find(|(version, _)| *version == FORMAT_VERSION).unwrap();
    for (number, name) in cases.into_iter().enumerate() {
        let case = version.join(name);
        if case.exists() {
            continue;
        }
        std::fs::create_dir_all(&case).unwrap();
        let (dimensions, records) = records(name);
        let place = Place::new();
        let path = place.path("golden.db");
        let made_with = serde_json::to_string(&options("golden.db", dimensions)).unwrap();
        let config = BTreeMap::from([("__ruvector_db_config__", made_with.as_str()), ("application", "ünï {}")]);
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut lines = String::new();
        {
            let mut vectors = transaction.open_table(VECTORS).unwrap();
            let mut metadata = transaction.open_table(METADATA).unwrap();
            for record in &records {
                vectors.insert(record.id.as_str(), encoded(&record.values()).as_slice()).unwrap();
                if let Some(text) = &record.metadata {
                    metadata.insert(record.id.as_str(), text.as_str()).unwrap();
                }
                writeln!(lines, "{}", serde_json::to_string(record).unwrap()).unwrap();
            }
            let mut rows = transaction.open_table(CONFIG).unwrap();
            config.iter().for_each(|(name, value)| drop(rows.insert(name, value).unwrap()));
        }
        transaction.commit().unwrap();
        drop(database);
        std::fs::write(case.join("expected.jsonl"), lines).unwrap();
        std::fs::write(case.join("config.json"), serde_json::to_string_pretty(&config).unwrap() + "\n").unwrap();
        let manager = SnapshotManager::new(SnapshotConfig { snapshot_dir: case, ..place.config() }).unwrap();
        let manager = manager.with_clock(Arc::new(FixedClock(number as u64 + 1)));
        let labels = BTreeMap::from([("schlüssel".to_owned(), "value".to_owned())]);
        let options =
            CreateOptions { labels, metadata: serde_json::json!({"made": "once"}), ..CreateOptions::default() };
        manager.create_snapshot_of_file(&path, &format!("golden / {name}"), &options).await.unwrap();
    }
}
