//! A source of your own: takes snapshots of a JSON Lines file, for example an export of another vector database.
//!
//!     cargo run -p ruvector-snapshot-examples --example custom_source
//!
//! Each line is `{"id": "a", "vector": [1.0, 2.0], "metadata": {…}}`; metadata is optional. Lines can be in any order.
//! The source keeps the ids and the positions of the lines in memory, and reads one line at a time. If the file changes
//! while it is being read, the create fails with `Busy` and is tried again.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ruvector_snapshot::source::{SnapshotSource, SourceReader};
use ruvector_snapshot::{
    CreateOptions, DatabaseInfo, ErrorKind, Record, Result, SnapshotConfig, SnapshotError, SnapshotManager,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A JSON Lines file of vectors.
#[derive(Debug)]
pub(crate) struct JsonLines {
    path: PathBuf,
}

impl JsonLines {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl SnapshotSource for JsonLines {
    fn kind(&self) -> &str {
        "json_lines"
    }

    fn open(&self) -> Result<Box<dyn SourceReader>> {
        let file = File::open(&self.path).map_err(|error| SnapshotError::io(&self.path, "open the file", error))?;
        let opened =
            file.metadata().map_err(|error| SnapshotError::io(&self.path, "read the size of the file", error))?;
        let mut reader = JsonLinesReader {
            path: self.path.clone(),
            file: BufReader::new(file),
            opened,
            database: DatabaseInfo::new(0),
            positions: BTreeMap::new().into_iter(),
            count: 0,
            id: String::new(),
            vector: Vec::new(),
            metadata: None,
        };
        reader.index()?;
        Ok(Box::new(reader))
    }
}

struct JsonLinesReader {
    path: PathBuf,
    file: BufReader<File>,
    /// The state of the file when it was opened.
    opened: Metadata,
    database: DatabaseInfo,
    /// Positions of the lines that are left, sorted by id.
    positions: std::collections::btree_map::IntoIter<String, u64>,
    count: u64,
    id: String,
    vector: Vec<u8>,
    metadata: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    id: String,
    vector: Vec<f32>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

impl JsonLinesReader {
    /// Reads the file once, to sort the lines by id and to find the dimensions.
    fn index(&mut self) -> Result<()> {
        let mut positions = BTreeMap::new();
        let (mut position, mut text) = (0, String::new());
        loop {
            text.clear();
            let bytes = self.file.read_line(&mut text).map_err(|error| self.io(error))?;
            if bytes == 0 {
                break;
            }
            if !text.trim().is_empty() {
                let line = self.parse(&text)?;
                if positions.is_empty() {
                    self.database = DatabaseInfo::new(line.vector.len() as u64);
                }
                if positions.insert(line.id, position).is_some() {
                    return Err(self.error(ErrorKind::InvalidInput, "an id occurs twice"));
                }
            }
            position += bytes as u64;
        }
        self.count = positions.len() as u64;
        self.positions = positions.into_iter();
        Ok(())
    }

    fn parse<'a>(&self, text: &'a str) -> Result<Line<'a>> {
        let malformed = "a line is not {\"id\", \"vector\", \"metadata\"}";
        serde_json::from_str(text).map_err(|error| self.error(ErrorKind::InvalidInput, malformed).with_source(error))
    }

    fn error(&self, kind: ErrorKind, message: &str) -> SnapshotError {
        SnapshotError::new(kind, message).with_key(self.path.display().to_string())
    }

    fn io(&self, error: std::io::Error) -> SnapshotError {
        SnapshotError::io(&self.path, "read the file", error)
    }

    /// The promise of a source: all records were of one point in time.
    fn check_unchanged(&self) -> Result<()> {
        let now = std::fs::metadata(&self.path).map_err(|error| self.io(error))?;
        let state = |file: &Metadata| (file.len(), file.modified().ok());
        match state(&now) == state(&self.opened) {
            true => Ok(()),
            false => Err(self.error(ErrorKind::Busy, "the file changed while it was being read; try again")),
        }
    }
}

impl SourceReader for JsonLinesReader {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn records_expected(&self) -> u64 {
        self.count
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        let Some((id, position)) = self.positions.next() else {
            self.check_unchanged()?;
            return Ok(None);
        };
        let mut text = String::new();
        let read = self.file.seek(SeekFrom::Start(position)).and_then(|_| self.file.read_line(&mut text));
        read.map_err(|error| self.io(error))?;
        let line = self.parse(&text)?;
        if line.id != id {
            return Err(self.error(ErrorKind::Busy, "the file changed while it was being read; try again"));
        }
        self.vector = line.vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.metadata = line.metadata.map(|metadata| metadata.get().to_owned());
        self.id = id;
        Ok(Some(Record { id: &self.id, vector: &self.vector, metadata: self.metadata.as_deref() }))
    }
}

/// Takes a snapshot of `path` into the store at `store`.
pub(crate) async fn back_up(path: &Path, store: &Path) -> Result<ruvector_snapshot::Snapshot> {
    let config = SnapshotConfig { snapshot_dir: store.to_owned(), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config)?;
    manager.create_from(&JsonLines::new(path), "export", &CreateOptions::default()).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let export = dir.path().join("export.jsonl");
    std::fs::write(
        &export,
        "{\"id\": \"b\", \"vector\": [3.0, 4.0]}\n{\"id\": \"a\", \"vector\": [1.0, 2.0], \"metadata\": {\"lang\": \"de\"}}\n",
    )?;
    let store = dir.path().join("snapshots");
    let snapshot = back_up(&export, &store).await?;
    println!("stored {} records of {} dimensions from a JSON Lines file", snapshot.vector_count, snapshot.dimensions);

    let manager = SnapshotManager::new(SnapshotConfig { snapshot_dir: store, ..SnapshotConfig::default() })?;
    let db = manager.restore_snapshot(&snapshot.id).await?;
    println!("restored {} records into a Ruvector database", db.len()?);
    Ok(())
}
