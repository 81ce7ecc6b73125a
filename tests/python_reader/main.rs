//! Reads snapshots with read_snapshot.py, which shares no code with this project and implements only docs/FORMAT.md.
//! Every id, every bit of every vector and every metadata value must be what the database holds.
//!
//! The tests print that they are skipped if there is no python3 or no numpy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{AnnotateOptions, CreateOptions, SnapshotConfig, SnapshotManager};
use serde::Deserialize;
use test_fixtures::{RawRows, encode_vector, options};

mod exports;

type Metadata = HashMap<String, serde_json::Value>;

const DIMENSIONS: usize = 5;

/// Metadata with one member each, so that the database can write its text in one form only.
const METADATA: [&str; 12] = [
    r#"{"tenth":0.1}"#,
    r#"{"tiny":1e-7}"#,
    r#"{"huge":1.7976931348623157e308}"#,
    r#"{"subnormal":5e-324}"#,
    r#"{"big":12345678901234567890}"#,
    r#"{"least":-9223372036854775808}"#,
    r#"{"minus zero":-0.0}"#,
    r#"{"beyond u64":1.2345678901234568e29}"#,
    r#"{"":""}"#,
    r#"{"nested":[[],{},[{"a":[null,true,false,{"b":[1.5,-2]}]}]]}"#,
    r#"{"quote \" backslash \\ newline \n":"\u0000\u001f\"}{,\"metadata\":{}"}"#,
    r#"{"كلب":"犬 🐕 e\u0301 \u2028"}"#,
];

#[tokio::test]
async fn a_compressed_snapshot_holds_the_whole_database() {
    holds_the_whole_database(true).await;
}

#[tokio::test]
async fn an_uncompressed_snapshot_holds_the_whole_database() {
    holds_the_whole_database(false).await;
}

#[tokio::test]
async fn a_snapshot_of_several_blocks_holds_the_whole_database() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("a.db"), 1024);
    db.insert_batch((0..3000).map(|at| plain_entry(at, 1024)).collect::<Vec<_>>()).unwrap();
    let snapshot = create_full(&db, dir.path(), true).await;
    let metadata: serde_json::Value =
        serde_json::from_slice(&std::fs::read(snapshot.join("metadata.json")).unwrap()).unwrap();
    assert!(metadata["blocks"].as_u64().unwrap() > 1);
    assert_same(&db, &read(&snapshot, dir.path()));
}

#[tokio::test]
async fn a_snapshot_without_metadata_can_be_read() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("a.db"), DIMENSIONS);
    db.insert(VectorEntry { id: Some("only".to_owned()), vector: vec![1.0; DIMENSIONS], metadata: None }).unwrap();
    assert_same(&db, &read(&create_full(&db, dir.path(), true).await, dir.path()));
}

#[tokio::test]
async fn a_snapshot_of_an_empty_database_can_be_read() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("a.db"), DIMENSIONS);
    let rows = read(&create_full(&db, dir.path(), true).await, dir.path());
    assert!(rows.ids.is_empty() && rows.vectors.is_empty() && rows.shape == (0, DIMENSIONS));
}

#[tokio::test]
async fn each_snapshot_of_a_chain_holds_the_whole_database() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = difficult_database(&dir.path().join("a.db"));
    let mut chain = vec![create_full(&db, dir.path(), true).await];
    assert_same(&db, &read_chain(&chain, dir.path()));
    for round in 0..3usize {
        // Only the vector, only the metadata, a new record, a deleted one, and one that was deleted and added again.
        let id = |at: usize| format!("m{at}");
        let vector = |id: &str| db.get(id).unwrap().map(|entry| entry.vector);
        let metadata = |at: usize| Some(serde_json::from_str(METADATA[at]).unwrap());
        let put = |id: String, vector: Vec<f32>, metadata| {
            db.insert(VectorEntry { id: Some(id), vector, metadata }).unwrap();
        };
        put(id(0), vec![round as f32; DIMENSIONS], metadata(0));
        put(id(1), vector(&id(1)).unwrap(), metadata(round + 2));
        put(id(2), vector(&id(2)).unwrap(), metadata(round + 1).filter(|_| round != 1));
        put(format!("new {round}"), vec![-0.0; DIMENSIONS], None);
        match round {
            1 => put(id(4), vec![f32::NAN; DIMENSIONS], None),
            _ => drop(db.delete(&id(4 + round)).unwrap()),
        }
        chain.push(create_increment(&db, dir.path(), &chain[round]).await);
        assert_same(&db, &read_chain(&chain, dir.path()));
    }
    // An increment without changes.
    chain.push(create_increment(&db, dir.path(), &chain[3]).await);
    assert_same(&db, &read_chain(&chain, dir.path()));
}

#[tokio::test]
async fn irregular_rows_of_each_snapshot_of_a_chain_are_verified() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    drop(database(&path, DIMENSIONS));
    let mut before = RawRows::of_file(&path);
    let mut chain: Vec<PathBuf> = Vec::new();
    for round in 0..4 {
        let mut rows = before.clone();
        rows.vectors.insert(format!("good {round}").into_bytes(), encode_vector(&[1.0; DIMENSIONS]));
        // The third has the irregular rows of its base, the last has none.
        match round {
            0 => {
                rows.vectors.insert(vec![0xff], encode_vector(&[1.0]));
                rows.metadata.insert(b"orphan".to_vec(), b"no JSON".to_vec());
                rows.config.insert(b"x".to_vec(), vec![0xfe]);
            }
            1 => drop(rows.metadata.insert(b"orphan".to_vec(), b"{}".to_vec())),
            2 => {}
            _ => {
                rows.vectors.remove([0xff].as_slice());
                rows.metadata.clear();
                rows.config.remove(b"x".as_slice());
            }
        }
        rows.write_over(&before, &path);
        before = rows;
        let options = chain.last().map_or_else(CreateOptions::default, |base| {
            let name = base.file_name().unwrap().to_str().unwrap();
            CreateOptions::default().base_id(name.strip_prefix("snapshot-").unwrap())
        });
        let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..Default::default() };
        let manager = SnapshotManager::new(config).unwrap();
        let made = manager.create_snapshot_of_file(&path, "irregular", &options).await.unwrap();
        chain.push(dir.path().join("snapshots").join(made.prefix()));
        let more: Vec<_> = chain[1..].iter().map(|path| path.to_str().unwrap()).collect();
        let output = run_reader(&chain[0], &more);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let tables = printed.lines().filter(|line| line.starts_with("irregular   ")).count();
        assert_eq!((tables, printed.contains(", verified")), (if round == 3 { 0 } else { 3 }, true), "{printed}");
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/ruvector-snapshot/tests/golden/v2/irregular");
    let golden: Vec<_> =
        ["6", "7", "8"].map(|number| format!("{golden}/snapshot-20260131T080000000Z-000000000000000{number}")).into();
    let output = run_reader(Path::new(&golden[0]), &[golden[1].as_str(), golden[2].as_str()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_incomplete_or_corrupt_chain_is_refused() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = difficult_database(&dir.path().join("a.db"));
    let full = create_full(&db, dir.path(), true).await;
    db.delete("m1").unwrap();
    let one = create_increment(&db, dir.path(), &full).await;
    db.delete("m2").unwrap();
    let two = create_increment(&db, dir.path(), &one).await;
    let refused = |chain: &[&PathBuf], words: &str| {
        let more: Vec<_> = chain[1..].iter().map(|path| path.to_str().unwrap()).collect();
        let output = run_reader(chain[0], &more);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(words) && !message.contains("Traceback"), "{words:?} is not in {message}");
    };
    refused(&[&one], "pass the directories of its whole chain, the full snapshot first");
    refused(&[&full, &two], "does not depend on");
    refused(&[&full, &one, &one], "does not depend on");
    refused(&[&full, &full], "it is a full snapshot");
    let path = one.join("index.bin.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    refused(&[&full, &one, &two], "index.bin.gz");
}

#[tokio::test]
async fn a_corrupt_or_missing_file_is_named() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = difficult_database(&dir.path().join("a.db"));
    let snapshot = create_full(&db, dir.path(), true).await;
    for name in ["metadata.json", "vectors.bin.gz", "index.bin.gz", "metadata.bin.gz", "checksum.sha256"] {
        let path = snapshot.join(name);
        let intact = std::fs::read(&path).unwrap();
        let mut flipped = intact.clone();
        flipped[intact.len() / 2] ^= 1;
        for corrupt in [flipped.as_slice(), &intact[..intact.len() - 1], b"".as_slice()] {
            std::fs::write(&path, corrupt).unwrap();
            assert_refused(&snapshot, name);
        }
        std::fs::remove_file(&path).unwrap();
        assert_refused(&snapshot, name);
        std::fs::write(&path, intact).unwrap();
    }
    assert_same(&db, &read(&snapshot, dir.path()));
}

#[tokio::test]
async fn labels_and_the_note_are_those_of_the_annotations() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("a.db"), DIMENSIONS);
    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let labels = [("host", "db1"), ("team", "search"), ("old", "1")];
    let mut options = CreateOptions::default().note("as created");
    options.labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let id = manager.create_snapshot_with(&db, "annotated", &options).await.unwrap().id;
    let snapshot = dir.path().join(format!("snapshots/snapshot-{id}"));
    let read = || {
        let output = run_reader(&snapshot, &[]);
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|printed| String::from_utf8(printed).unwrap())
    };
    let [printed, warned] = read();
    assert!(
        printed.contains("label       host=db1\nlabel       old=1\nlabel       team=search\nnote        as created\n")
    );
    assert_eq!(warned, "");

    let annotate = async |options: AnnotateOptions| {
        let plan = manager.plan_annotate(&id, &options).await.unwrap();
        manager.apply_annotate(&plan).await.unwrap();
    };
    annotate(AnnotateOptions::default().label("host", "db2").remove_label("old")).await;
    annotate(AnnotateOptions::default().note("two\nlines \u{202e}").label("new", "a\u{202e}b")).await;
    let [printed, warned] = read();
    let lines = [
        "label       host=db2",
        r"label       new=a\u202eb",
        "label       team=search",
        r"note        two\nlines \u202e",
    ];
    assert!(printed.contains(&lines.join("\n")) && !printed.contains("old="), "{printed}");
    assert_eq!(warned, "");

    // A corrupt one is a warning, and the others count.
    let corrupt = format!("annotation-0000000003-{}.json", "0".repeat(32));
    std::fs::write(snapshot.join(&corrupt), "{}").unwrap();
    let [printed, warned] = read();
    assert!(printed.contains("host=db2") && warned.contains(&format!("warning: {corrupt}: ")), "{printed}{warned}");
    // Until the next one includes it.
    annotate(AnnotateOptions::default().remove_note(true)).await;
    let [printed, warned] = read();
    assert!(printed.contains("host=db2") && !printed.contains("note  "), "{printed}");
    assert_eq!(warned, "");
}

async fn holds_the_whole_database(compression: bool) {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = difficult_database(&dir.path().join("a.db"));
    let rows = read(&create_full(&db, dir.path(), compression).await, dir.path());
    assert_same(&db, &rows);
    for (at, text) in METADATA.iter().enumerate() {
        let stored = serde_json::to_string(&serde_json::from_str::<Metadata>(text).unwrap()).unwrap();
        let row = rows.ids.iter().position(|id| *id == format!("m{at}")).unwrap();
        assert!(rows.lines[row].ends_with(&format!(r#","metadata":{stored}}}"#)), "{}", rows.lines[row]);
    }
}

/// Makes a database of ids, vectors and metadata that a careless reader or writer gets wrong.
fn difficult_database(path: &Path) -> VectorDB {
    let db = database(path, DIMENSIONS);
    let mut entries: Vec<_> = difficult_ids().into_iter().map(|id| (id, None)).collect();
    entries.extend(METADATA.iter().enumerate().map(|(at, text)| (format!("m{at}"), Some(*text))));
    entries.push(("members".to_owned(), Some(r#"{"z":1,"a":{"y":"é","b":[2]},"é":null,"Z":-1}"#)));
    entries.push(("no members".to_owned(), Some("{}")));
    let values = difficult_values();
    let entries: Vec<_> = entries
        .into_iter()
        .enumerate()
        .map(|(at, (id, metadata))| VectorEntry {
            id: Some(id),
            vector: values.iter().cycle().skip(at * 3).take(DIMENSIONS).copied().collect(),
            metadata: metadata.map(|text| serde_json::from_str(text).unwrap()),
        })
        .collect();
    db.insert_batch(entries).unwrap();
    db
}

fn difficult_ids() -> Vec<String> {
    let long = "long ".repeat(2000);
    let ids = [
        "",
        " ",
        "\"",
        "\\",
        "\\\"",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "犬",
        "狗",
        "كلب",
        "é",
        "e\u{301}",
        "🐕",
        "👩‍👩‍👧",
        "\u{10ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "a/../b",
        "%2e",
        "'; --",
        "{\"id\":1}",
        "\"metadata\":",
        ",\"metadata\":{}}",
        "id",
        "metadata",
        "NaN",
        "null",
        "a",
        "ab",
        "a\0",
        long.as_str(),
    ];
    ids.map(str::to_owned).to_vec()
}

/// Returns both zeros and infinities, the least and the greatest numbers, and quiet and signalling NaNs of both signs.
fn difficult_values() -> Vec<f32> {
    let bits = [
        0x0000_0000,
        0x8000_0000,
        0x7f80_0000,
        0xff80_0000,
        0x0000_0001,
        0x8000_0001,
        0x007f_ffff,
        0x0080_0000,
        0x7f7f_ffff,
        0xff7f_ffff,
        0x7fc0_0000,
        0xffc0_0000,
        0x7f80_0001,
        0xff80_0001,
        0x7fff_ffff,
        0xffff_ffff,
        0x3f80_0000,
        0xbf80_0000,
        0x3dcc_cccd,
        0x1234_5678,
    ];
    bits.map(f32::from_bits).to_vec()
}

fn plain_entry(number: usize, dimensions: usize) -> VectorEntry {
    let vector = (0..dimensions).map(|d| ((number * dimensions + d) as f32).sin()).collect();
    // Long ranges of rows without metadata, so that some blocks have none.
    let metadata = (number / 1000 == 1).then(|| HashMap::from([("at".to_owned(), number.into())]));
    VectorEntry { id: Some(format!("{number:06}")), vector, metadata }
}

fn database(path: &Path, dimensions: usize) -> VectorDB {
    VectorDB::new(options(path, dimensions)).unwrap()
}

/// Creates a full snapshot and returns its directory.
async fn create_full(db: &VectorDB, dir: &Path, compression: bool) -> PathBuf {
    let config = SnapshotConfig { snapshot_dir: dir.join("snapshots"), compression, ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let snapshot = manager.create_snapshot(db, "read me").await.unwrap();
    dir.join("snapshots").join(format!("snapshot-{}", snapshot.id))
}

/// Creates an increment on the snapshot in a directory, and returns its own directory.
async fn create_increment(db: &VectorDB, dir: &Path, base: &Path) -> PathBuf {
    let config = SnapshotConfig { snapshot_dir: dir.join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let base_id = base.file_name().unwrap().to_str().unwrap().strip_prefix("snapshot-").unwrap();
    let snapshot = manager.create_incremental_snapshot(db, "read me too", base_id).await.unwrap();
    dir.join("snapshots").join(format!("snapshot-{}", snapshot.id))
}

/// The output of the Python reader, in the order of the rows.
struct Rows {
    shape: (usize, usize),
    ids: Vec<String>,
    vectors: Vec<Vec<u32>>,
    metadata: Vec<Option<Metadata>>,
    lines: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    metadata: Option<Metadata>,
}

/// Reads a full snapshot in a directory.
fn read(snapshot: &Path, dir: &Path) -> Rows {
    read_chain(&[snapshot.to_owned()], dir)
}

/// Reads the last snapshot of a chain of directories, which begins with that of the full snapshot.
fn read_chain(chain: &[PathBuf], dir: &Path) -> Rows {
    let (npy, jsonl) = (dir.join("out.npy"), dir.join("out.jsonl"));
    let mut arguments: Vec<_> = chain[1..].iter().map(|path| path.to_str().unwrap()).collect();
    arguments.extend(["--npy", npy.to_str().unwrap(), "--jsonl", jsonl.to_str().unwrap()]);
    let output = run_reader(&chain[0], &arguments);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains(", verified"));
    let text = std::fs::read_to_string(jsonl).unwrap();
    let lines: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
    let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let (ids, metadata) = parsed.map(|line: Line| (line.id, line.metadata)).unzip();
    let (shape, vectors) = read_npy(&npy);
    Rows { shape, ids, vectors, metadata, lines }
}

/// Returns the shape of a version 1 numpy file and the bits of its values.
fn read_npy(path: &Path) -> ((usize, usize), Vec<Vec<u32>>) {
    let bytes = std::fs::read(path).unwrap();
    let (header, values) = bytes[10..].split_at(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])));
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.contains("'descr': '<f4', 'fortran_order': False"), "{header}");
    let shape = header.split_once('(').unwrap().1.split_once(')').unwrap().0.split_once(", ").unwrap();
    let shape = (shape.0.parse().unwrap(), shape.1.parse().unwrap());
    let row = |row: &[u8]| row.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    (shape, values.chunks(shape.1 * 4).map(row).collect())
}

#[track_caller]
fn assert_same(db: &VectorDB, rows: &Rows) {
    let mut ids = db.keys().unwrap();
    ids.sort();
    assert_eq!(rows.ids, ids);
    assert_eq!(rows.shape, (ids.len(), db.options().dimensions));
    assert_eq!(rows.vectors.len(), ids.len());
    for (row, id) in ids.iter().enumerate() {
        let entry = db.get(id).unwrap().unwrap();
        let bits: Vec<_> = entry.vector.iter().map(|value| value.to_bits()).collect();
        assert_eq!(rows.vectors[row], bits, "{id:?}");
        assert_eq!(rows.metadata[row], entry.metadata, "{id:?}");
    }
}

#[track_caller]
fn assert_refused(snapshot: &Path, name: &str) {
    let output = run_reader(snapshot, &[]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{name}: {message}");
    assert!(message.starts_with("read_snapshot: ") && message.contains(name), "{name}: {message}");
    assert!(!message.contains("Traceback"), "{message}");
}

fn run_reader(snapshot: &Path, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/read_snapshot.py");
    Command::new("python3").arg(script).arg(snapshot).args(arguments).output().unwrap()
}

/// Returns whether the reader cannot run on this machine, and prints why.
fn skipped() -> bool {
    let why = match Command::new("python3").args(["-c", "import numpy"]).output() {
        Ok(output) if output.status.success() => return false,
        Ok(_) => "python3 has no numpy".to_owned(),
        Err(error) => format!("python3 cannot be run: {error}"),
    };
    eprintln!("SKIPPED, nothing was tested: {why}");
    true
}
