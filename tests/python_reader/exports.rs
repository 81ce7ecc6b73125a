//! Exports are read by the programs that they are made for.

use std::path::Path;
use std::process::Command;

use ruvector_core::VectorDB;
use ruvector_snapshot::{ExportFormat, ExportOptions, SnapshotConfig, SnapshotManager};

use super::{DIMENSIONS, difficult_database, skipped};

/// Prints the shape, and for each record the hexadecimal form of its id, of the bytes of its vector, and of its metadata as
/// JSON without spaces.
const NUMPY: &str = r#"
import json, sys, numpy
matrix = numpy.load(sys.argv[1] + "/matrix.npy", mmap_mode="r", allow_pickle=False)
lines = open(sys.argv[1] + "/records.jsonl", encoding="utf-8", newline="\n").readlines()
assert matrix.dtype == numpy.float32 and matrix.flags.c_contiguous and len(lines) == matrix.shape[0]
print(*matrix.shape)
for row, line in zip(matrix, lines):
    record = json.loads(line)
    has_metadata = record["metadata"] is not None
    print(record["id"].encode().hex(), row.tobytes().hex(), has_metadata, sep=",")
"#;

const PYARROW: &str = r#"
import json, sys, pyarrow.parquet
table = pyarrow.parquet.read_table(sys.argv[1] + "/records.parquet")
vector = table.schema.field("vector").type
assert vector.value_type == "float" and table.column_names == ["id", "vector", "metadata"], table.schema
print(table.num_rows, vector.list_size)
for row in table.to_pylist():
    metadata = row["metadata"]
    assert metadata is None or isinstance(json.loads(metadata), dict)
    # Through numpy: Python's own floats lose the bits of NaN.
    print(row["id"].encode().hex(), "", metadata is not None, sep=",")
"#;

const PYARROW_BITS: &str = r#"
import sys, numpy, pyarrow.parquet
table = pyarrow.parquet.read_table(sys.argv[1] + "/records.parquet", columns=["vector"])
for chunk in table.column("vector").chunks:
    for row in chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1):
        print(row.tobytes().hex())
"#;

/// Returns the lines that a reader prints of these records.
fn expected(db: &VectorDB) -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut ids = db.keys().unwrap();
    ids.sort();
    let line = |id: &String| {
        let entry = db.get(id).unwrap().unwrap();
        let vector: Vec<u8> = entry.vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        let has_metadata = if entry.metadata.is_some() { "True" } else { "False" };
        format!("{},{},{has_metadata}", hex(id.as_bytes()), hex(&vector))
    };
    let shape = format!("{} {DIMENSIONS}", ids.len());
    std::iter::once(shape).chain(ids.iter().map(line)).collect()
}

fn printed(script: &str, directory: &Path) -> Vec<String> {
    let output = Command::new("python3").args(["-c", script]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn numpy_and_pyarrow_read_an_export_with_the_bits_of_every_value() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = difficult_database(&dir.path().join("a.db"));
    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let snapshot = manager.create_snapshot(&db, "a").await.unwrap();
    let to = dir.path().join("exported");
    manager.export_snapshot(&snapshot.id, &to, &ExportOptions::default()).await.unwrap();
    assert_eq!(printed(NUMPY, &to), expected(&db));

    let to = dir.path().join("parquet");
    let options = ExportOptions::default().format(ExportFormat::Parquet);
    manager.export_snapshot(&snapshot.id, &to, &options).await.unwrap();
    if Command::new("python3")
        .args(["-c", "import pyarrow.parquet"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        let lines = expected(&db);
        let fields: Vec<Vec<_>> = lines[1..].iter().map(|line| line.split(',').collect()).collect();
        let without_vectors = fields.iter().map(|fields| format!("{},,{}", fields[0], fields[2]));
        assert_eq!(printed(PYARROW, &to), std::iter::once(lines[0].clone()).chain(without_vectors).collect::<Vec<_>>());
        assert_eq!(printed(PYARROW_BITS, &to), fields.iter().map(|fields| fields[1]).collect::<Vec<_>>());
    } else {
        eprintln!("SKIPPED, parquet was not read: python3 has no pyarrow");
    }
}
