//! A restore target of your own: writes a snapshot as `vectors.npy`, `ids.txt` and `metadata.jsonl`, for numpy.
//!
//!     cargo run -p ruvector-snapshot-examples --example custom_target
//!
//! Nothing is left under a name that looks complete: the files are written to a hidden directory, which is renamed when
//! the content checksum has been verified.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::source::RestoreTarget;
use ruvector_snapshot::{
    DatabaseInfo, ErrorKind, Record, RestoreOptions, Result, SnapshotConfig, SnapshotError, SnapshotManager,
};

/// Size of the header of an `.npy` file, in bytes: padded, so that the number of rows can be filled in at the end.
const HEADER_BYTES: usize = 128;

/// A directory of files for numpy.
pub(crate) struct NumpyTarget {
    destination: PathBuf,
    staging: PathBuf,
    files: Option<Files>,
    rows: u64,
    dimensions: u64,
}

struct Files {
    vectors: BufWriter<File>,
    ids: BufWriter<File>,
    metadata: BufWriter<File>,
}

impl NumpyTarget {
    /// Writes to the new directory `destination`.
    ///
    /// # Errors
    ///
    /// Returns `AlreadyExists` if `destination` exists.
    pub(crate) fn new(destination: &Path) -> Result<Self> {
        if destination.exists() {
            let error =
                SnapshotError::new(ErrorKind::AlreadyExists, "the directory already exists; choose another one");
            return Err(error.with_key(destination.display().to_string()));
        }
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        let staging = destination.with_file_name(format!(".{name}.restoring"));
        Ok(Self { destination: destination.to_owned(), staging, files: None, rows: 0, dimensions: 0 })
    }

    fn create(&self, name: &str) -> Result<BufWriter<File>> {
        let path = self.staging.join(name);
        File::create(&path).map(BufWriter::new).map_err(|error| SnapshotError::io(&path, "create the file", error))
    }

    fn io(&self, error: std::io::Error) -> SnapshotError {
        SnapshotError::io(&self.staging, "write the files", error)
    }

    /// The header of format version 1.0: magic number, length, and a Python dictionary.
    fn header(&self) -> Vec<u8> {
        let shape = format!("({}, {})", self.rows, self.dimensions);
        let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        while text.len() < HEADER_BYTES - 11 {
            text.push(' ');
        }
        text.push('\n');
        let length = (text.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00".as_slice(), &length, text.as_bytes()].concat()
    }
}

impl RestoreTarget for NumpyTarget {
    fn begin(&mut self, database: &DatabaseInfo) -> Result<()> {
        self.dimensions = database.dimensions;
        let _left_by_an_earlier_run = fs::remove_dir_all(&self.staging);
        fs::create_dir_all(&self.staging).map_err(|error| self.io(error))?;
        let mut vectors = self.create("vectors.npy")?;
        vectors.write_all(&self.header()).map_err(|error| self.io(error))?;
        self.files = Some(Files { vectors, ids: self.create("ids.txt")?, metadata: self.create("metadata.jsonl")? });
        Ok(())
    }

    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        let Some(mut files) = self.files.take() else {
            return Err(SnapshotError::new(ErrorKind::Internal, "records before the start of the restore"));
        };
        for record in records {
            let mut write = || -> std::io::Result<()> {
                files.vectors.write_all(record.vector)?;
                // An id may contain a line break, so it is written as JSON.
                writeln!(files.ids, "{}", serde_json::to_string(record.id)?)?;
                writeln!(files.metadata, "{}", record.metadata.unwrap_or("null"))
            };
            write().map_err(|error| self.io(error))?;
            self.rows += 1;
        }
        self.files = Some(files);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let Some(Files { mut vectors, ids, metadata }) = self.files.take() else { return Ok(()) };
        let header = self.header();
        let write = || -> std::io::Result<()> {
            vectors.seek(SeekFrom::Start(0))?;
            vectors.write_all(&header)?;
            for file in [vectors, ids, metadata] {
                file.into_inner()?.sync_all()?;
            }
            fs::rename(&self.staging, &self.destination)
        };
        write().map_err(|error| self.io(error))
    }
}

impl Drop for NumpyTarget {
    fn drop(&mut self) {
        // After a rename there is nothing left.
        let _removed = fs::remove_dir_all(&self.staging);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let db = VectorDB::new(DbOptions {
        dimensions: 3,
        storage_path: dir.path().join("vectors.db").display().to_string(),
        ..DbOptions::default()
    })?;
    for (id, value) in [("a", 1.0), ("b", 2.0)] {
        db.insert(VectorEntry { id: Some(id.to_owned()), vector: vec![value; 3], metadata: None })?;
    }
    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config)?;
    let snapshot = manager.create_snapshot(&db, "example").await?;

    let destination = dir.path().join("numpy");
    let mut target = NumpyTarget::new(&destination)?;
    manager.restore_into(&snapshot.id, &mut target, &RestoreOptions::default()).await?;
    println!("wrote {} rows of {} values to vectors.npy", target.rows, target.dimensions);
    for file in ["vectors.npy", "ids.txt", "metadata.jsonl"] {
        println!("  {file}: {} bytes", fs::metadata(destination.join(file))?.len());
    }
    Ok(())
}
