//! Exports: every record as it is, from a disk and from a bucket, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float32Type;
use arrow_schema::{DataType, Field};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::LogicalType;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::source::{SnapshotSource, SourceReader};
use ruvector_snapshot::{
    CreateOptions, DatabaseInfo, ErrorKind, ExportFormat, ExportOptions, Record, RecordFilter, Result, SnapshotManager,
    check_location,
};
use serde_json::json;
use test_fixtures::{
    Contents, RawRows, TestDir, Warnings, contents, create_full, encode_vector, flip_bit_in_the_middle, json_object,
    make_database, make_many_blocks, memory_store, names, options, read_npy_export,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;

const DIMENSIONS: usize = 4;

/// Ids and values that a careless writer gets wrong.
fn difficult_entries() -> Vec<VectorEntry> {
    let ids =
        ["", "\n", "\r\n", "\"", "\\\"", "\0", "\u{2028}", "\u{feff}", "a/../b", "e\u{301}", "é", "🐕", "{\"id\":1}"];
    let bits = [0x8000_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xff80_0001, 0x0000_0001, 0x3dcc_cccd];
    let entry = |(at, id): (usize, &&str)| VectorEntry {
        id: Some((*id).to_owned()),
        vector: (0..DIMENSIONS).map(|column| f32::from_bits(bits[(at + column) % bits.len()])).collect(),
        metadata: json_object(
            json!({ "text": format!("{id}\u{2028}\n"), "n": [1e300, -0.0, 12_345_678_901_234_567_890_u64] }),
        )
        .filter(|_| at % 3 > 0),
    };
    ids.iter().enumerate().map(entry).collect()
}

fn as_parquet() -> ExportOptions {
    ExportOptions::default().format(ExportFormat::Parquet)
}

/// Reads `records.parquet` with the crate that wrote it. Returns the records, and the size of each row group. Asserts that the
/// rows are in the order of the ids.
#[track_caller]
fn read_parquet_export(directory: &Path, dimensions: usize) -> (Contents, Vec<i64>) {
    assert_eq!(names(directory), ["records.parquet"]);
    let file = fs::File::open(directory.join("records.parquet")).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = builder.schema().clone();
    let element = Arc::new(Field::new("element", DataType::Float32, false));
    assert_eq!(schema.field(1).data_type(), &DataType::FixedSizeList(element, dimensions as i32));
    let types = builder.parquet_schema().columns();
    assert_eq!(types[2].logical_type_ref(), Some(&LogicalType::Json));
    let sizes = builder.metadata().row_groups().iter().map(|group| group.total_byte_size()).collect();
    let mut records = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let (ids, metadata) = (batch.column(0).as_string::<i32>(), batch.column(2).as_string::<i32>());
        let vectors = batch.column(1).as_fixed_size_list();
        for row in 0..batch.num_rows() {
            let vector = vectors.value(row);
            let bits = vector.as_primitive::<Float32Type>().values().iter().map(|value| value.to_bits()).collect();
            let metadata = (!metadata.is_null(row)).then(|| serde_json::from_str(metadata.value(row)).unwrap());
            records.push((ids.value(row).to_owned(), (bits, metadata)));
        }
    }
    assert!(records.is_sorted_by(|one, next| one.0 < next.0));
    (records.into_iter().collect(), sizes)
}

/// Records of 1,024 dimensions.
#[derive(Debug)]
struct Many(usize);

struct ManyReader {
    database: DatabaseInfo,
    records: usize,
    next: usize,
    id: String,
    vector: Vec<u8>,
}

impl SnapshotSource for Many {
    fn open(&self) -> Result<Box<dyn SourceReader>> {
        let (database, vector) = (DatabaseInfo::new(1024), vec![0; 4096]);
        Ok(Box::new(ManyReader { database, records: self.0, next: 0, id: String::new(), vector }))
    }
}

impl SourceReader for ManyReader {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        if self.next == self.records {
            return Ok(None);
        }
        self.next += 1;
        self.id = format!("{:06}", self.next);
        self.vector[..4].copy_from_slice(&(self.next as f32).to_le_bytes());
        Ok(Some(Record { id: &self.id, vector: &self.vector, metadata: None }))
    }
}

#[tokio::test]
async fn a_parquet_file_has_row_groups_of_bounded_size() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let snapshot = manager.create_from(&Many(9500), "many", &CreateOptions::default()).await.unwrap();
    let to = dir.path("exported");
    manager.export_snapshot(&snapshot.id, &to, &as_parquet()).await.unwrap();
    let (records, row_groups) = read_parquet_export(&to, 1024);
    assert_eq!(records.len(), 9500);
    assert!(records.iter().zip(1..).all(|((_, (bits, metadata)), n)| {
        metadata.is_none() && bits[0] == (n as f32).to_bits() && bits[1..].iter().all(|bits| *bits == 0)
    }));
    assert_eq!(row_groups.len(), 2, "{row_groups:?}");
    // 32 MiB, and the block with which they were full.
    assert!(row_groups[0] >= 32 << 20 && row_groups[0] < 35 << 20, "{row_groups:?}");
}

#[tokio::test]
async fn every_record_of_a_full_snapshot_and_of_a_chain_is_exported_bit_by_bit() {
    let (server, local) = (S3Server::start(), TestDir::new());
    for store in [memory_store(), local.local_store(), s3_store(&server, "exports")] {
        let dir = TestDir::new();
        let (path, manager) = (dir.path("a.db"), dir.manager_with_store(store));
        let db = make_many_blocks(&dir.path("many.db"), 3000, 1);
        let many = create_full(&manager, &dir.path("many.db"), "many").await.unwrap();
        let report = manager.export_snapshot(&many.id, dir.path("many"), &Default::default()).await.unwrap();
        assert_eq!(read_npy_export(&dir.path("many")), (contents(&db), (3000, 16)));
        assert_eq!((report.records, &report.checksum, report.is_complete), (3000, &many.checksum, true));

        let db = VectorDB::new(options(&path, DIMENSIONS)).unwrap();
        let empty = create_full(&manager, &path, "empty").await.unwrap();
        db.insert_batch(difficult_entries()).unwrap();
        let on = CreateOptions::default().base_id(&empty.id);
        let first = manager.create_snapshot_of_file(&path, "first", &on).await.unwrap();
        let at_first = contents(&db);
        db.delete("\n").unwrap();
        db.insert(VectorEntry { id: Some("new".to_owned()), vector: vec![-0.0; DIMENSIONS], metadata: None }).unwrap();
        let on = CreateOptions::default().base_id(&first.id);
        let newest = manager.create_snapshot_of_file(&path, "newest", &on).await.unwrap();
        for (snapshot, expected) in [(&empty, Default::default()), (&first, at_first), (&newest, contents(&db))] {
            let to = dir.path(&snapshot.name);
            let npy = manager.export_snapshot(&snapshot.id, &to, &ExportOptions::default()).await.unwrap();
            let (found, shape) = read_npy_export(&to);
            assert!(found == expected, "{}", snapshot.name);
            let parquet = dir.path(&format!("{} parquet", snapshot.name));
            let report = manager.export_snapshot(&snapshot.id, &parquet, &as_parquet()).await.unwrap();
            let (found, row_groups) = read_parquet_export(&parquet, DIMENSIONS);
            assert!(found == expected, "{}", snapshot.name);
            assert_eq!(row_groups.len(), usize::from(!expected.is_empty()));
            let bytes = fs::metadata(parquet.join("records.parquet")).unwrap().len();
            let files: Vec<_> = report.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
            assert_eq!(files, [("records.parquet", bytes)]);
            assert_eq!((report.format, &report.checksum), (ExportFormat::Parquet, &snapshot.checksum));
            assert_eq!(shape, (snapshot.vector_count, DIMENSIONS));
            assert_eq!((&npy.snapshot.id, &npy.checksum), (&snapshot.id, &snapshot.checksum));
            let bytes = |name: &str| fs::metadata(to.join(name)).unwrap().len();
            let files: Vec<_> = npy.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
            let expected = ["matrix.npy", "records.jsonl"].map(|name| (name, bytes(name)));
            assert_eq!(files, expected);
            // As a restored database: for its owner alone.
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}

#[tokio::test]
async fn a_part_is_exported_and_a_part_that_is_not_there_is_an_error() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let db = make_database(&dir.path("a.db"), 40, DIMENSIONS, 1);
    let snapshot = create_full(&manager, &dir.path("a.db"), "team/nightly").await.unwrap();
    let to = dir.path("restored/exported");
    let export = async |filter: RecordFilter| {
        let exported = manager.export_snapshot(&snapshot.id, &to, &ExportOptions::default().filter(filter)).await;
        exported.inspect_err(|_| dir.assert_nothing_restored())
    };
    let report = export(RecordFilter::default().ids(["id-000031", "id-000002"])).await.unwrap();
    let (mut expected, found) = (contents(&db), read_npy_export(&to));
    expected.retain(|id, _| ["id-000031", "id-000002"].contains(&id.as_str()));
    assert_eq!(found, (expected, (2, DIMENSIONS)));
    assert_eq!((report.records, report.is_complete), (2, false));
    assert_ne!(report.checksum, snapshot.checksum);
    fs::remove_dir_all(&to).unwrap();
    let report = export(RecordFilter::default().condition("n>=0".parse().unwrap())).await.unwrap();
    // Every third record has no metadata.
    assert_eq!((report.records, report.is_complete, read_npy_export(&to).1), (26, false, (26, DIMENSIONS)));
    fs::remove_dir_all(&to).unwrap();
    // A filter that accepts every record that there is.
    let report = export(RecordFilter::default().ids(db.keys().unwrap())).await.unwrap();
    assert_eq!((report.records, report.is_complete, &report.checksum), (40, true, &snapshot.checksum));
    fs::remove_dir_all(&to).unwrap();
    for (filter, text) in [
        (RecordFilter::default().ids(["id-000001", "x"]), "1 of 2 ids that were asked for is not in snapshot"),
        (RecordFilter::default().condition("n>1000".parse().unwrap()), "the filter accepts no record of snapshot"),
    ] {
        let error = export(filter).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(text) && error.to_string().contains("; nothing was exported"), "{error}");
    }
    let error = manager.export_snapshot("20260131T080000000Z-0123456789abcdef", &to, &Default::default()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    dir.assert_nothing_restored();
}

#[tokio::test]
async fn a_corrupt_snapshot_is_not_exported() {
    let dir = TestDir::new();
    let manager = dir.manager();
    drop(make_many_blocks(&dir.path("a.db"), 3000, 1));
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz"] {
        let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
        flip_bit_in_the_middle(&dir.snapshots().join(snapshot.prefix()).join(file));
        let to = dir.path("restored/exported");
        for options in [ExportOptions::default(), as_parquet()] {
            let error = manager.export_snapshot(&snapshot.id, &to, &options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(file), "{error}");
            dir.assert_nothing_restored();
        }
    }
}

#[tokio::test]
async fn what_an_export_does_not_hold_is_a_warning() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let path = dir.path("a.db");
    drop(make_database(&path, 3, DIMENSIONS, 1));
    let before = RawRows::of_file(&path);
    let mut rows = before.clone();
    rows.vectors.insert(vec![0xff], encode_vector(&[1.0]));
    rows.write_over(&before, &path);
    let snapshot = create_full(&manager, &path, "a").await.unwrap();
    let warnings = Arc::<Warnings>::default();
    let options = ExportOptions::default().progress(warnings.clone());
    let report = manager.export_snapshot(&snapshot.id, dir.path("exported"), &options).await.unwrap();
    assert_eq!((report.records, report.is_complete), (3, true));
    assert_eq!(read_npy_export(&dir.path("exported")).1, (3, DIMENSIONS));
    let [warning] = &warnings.list()[..] else { panic!("{:?}", warnings.list()) };
    assert!(warning.starts_with("irregular rows of the snapshot are not exported: "), "{warning}");
}

/// Exports to a path, which must be refused, and asserts that nothing has changed.
async fn assert_refused(manager: &SnapshotManager, id: &str, to: &Path, kind: ErrorKind, text: &str) {
    let parent = to.parent().unwrap();
    let before = parent.is_dir().then(|| names(parent));
    let error = manager.export_snapshot(id, to, &ExportOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{to:?}: {error:?}");
    assert!(error.to_string().contains(text), "{to:?}: {error}");
    assert_eq!(parent.is_dir().then(|| names(parent)), before);
}

#[tokio::test]
async fn only_a_new_or_empty_directory_is_written() {
    let dir = TestDir::new();
    let manager = dir.manager();
    drop(make_database(&dir.path("a.db"), 3, DIMENSIONS, 1));
    let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
    let stored = dir.snapshots().join(snapshot.prefix());
    fs::write(dir.path("restored/file"), "precious").unwrap();
    fs::create_dir_all(dir.path("restored/full/inner")).unwrap();
    symlink("absent", dir.path("restored/dangling")).unwrap();
    symlink(&stored, dir.path("restored/into")).unwrap();
    let long = "x".repeat(300);
    for (name, kind, text) in [
        ("file", ErrorKind::AlreadyExists, "this exists and is not an empty directory; it was not changed"),
        ("full", ErrorKind::AlreadyExists, "this exists and is not an empty directory; it was not changed"),
        ("dangling", ErrorKind::InvalidInput, "a symbolic link that leads nowhere"),
        ("into/exported", ErrorKind::InvalidInput, "an export cannot be inside a snapshot"),
        ("file/exported", ErrorKind::InvalidInput, "cannot use this path"),
        ("absent/exported", ErrorKind::NotFound, "cannot create the directory of the export"),
        ("..", ErrorKind::InvalidInput, "this is not the name of a new directory"),
        (&long, ErrorKind::InvalidInput, "cannot use this path"),
    ] {
        let to = dir.path("restored").join(name);
        assert_refused(&manager, &snapshot.id, &to, kind, text).await;
    }
    assert_refused(&manager, &snapshot.id, &stored.join("exported"), ErrorKind::InvalidInput, "inside a snapshot")
        .await;
    assert!(check_location(&stored.to_str().unwrap().parse().unwrap()).is_err());
    assert_eq!(fs::read_to_string(dir.path("restored/file")).unwrap(), "precious");

    // An empty directory is replaced, also through a link, and keeps its permissions.
    fs::create_dir(dir.path("restored/empty")).unwrap();
    fs::set_permissions(dir.path("restored/empty"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("empty", dir.path("restored/link")).unwrap();
    let link = dir.path("restored/link/");
    let report = manager.export_snapshot(&snapshot.id, &link, &ExportOptions::default()).await.unwrap();
    assert_eq!(report.directory, dir.path("restored/empty").canonicalize().unwrap());
    assert_eq!(read_npy_export(&dir.path("restored/empty")).1, (3, DIMENSIONS));
    assert_eq!(fs::metadata(&report.directory).unwrap().permissions().mode() & 0o777, 0o750);
    // A second export to the same place.
    assert_refused(&manager, &snapshot.id, &link, ErrorKind::AlreadyExists, "not an empty directory").await;
    assert_eq!(names(&dir.path("restored")), ["dangling", "empty", "file", "full", "into", "link"]);
}

#[tokio::test]
async fn what_a_killed_export_has_left_is_removed_and_nothing_else_is() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let db = make_database(&dir.path("a.db"), 3, DIMENSIONS, 1);
    let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
    let left = |name: &str, files: &[&str]| {
        let path = dir.path("restored").join(name);
        fs::create_dir(&path).unwrap();
        files.iter().for_each(|file| fs::write(path.join(file), "half").unwrap());
        path
    };
    let killed = left(".exported.exporting-a1B2c3", &["matrix.npy", "records.jsonl"]);
    let of_user = left(".exported.exporting-a1B2c4", &["records.jsonl", "thesis.txt"]);
    let running = left(".exported.exporting-a1B2c5", &["matrix.npy"]);
    let other = left(".other.exporting-a1B2c3", &["matrix.npy"]);
    let lock = fs::File::open(&running).unwrap();
    lock.lock().unwrap();
    let warnings = Arc::<Warnings>::default();
    let options = ExportOptions::default().progress(warnings.clone());
    manager.export_snapshot(&snapshot.id, dir.path("restored/exported"), &options).await.unwrap();
    assert!(read_npy_export(&dir.path("restored/exported")).0 == contents(&db));
    assert_eq!((killed.exists(), running.join("matrix.npy").exists(), other.exists()), (false, true, true));
    assert!(of_user.join("thesis.txt").exists());
    let [removed, kept] = &warnings.list()[..] else { panic!("{:?}", warnings.list()) };
    assert!(removed.contains("a1B2c3 was removed: an export to this path that was killed had left it"), "{removed}");
    assert!(kept.contains("a1B2c4 may be left of an export") && kept.contains("could not be removed"), "{kept}");
}
