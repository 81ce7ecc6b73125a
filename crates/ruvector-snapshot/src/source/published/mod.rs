//! A file of the crate ruvector-snapshot 2.3.0 as published: all records of a collection, in no order, in one
//! gzip member. Not a format of this project, apart from the name.
//!
//! Records are sorted in a temporary redb file without a name, so that memory is bounded. It takes about twice the size of
//! the expanded records in the scratch directory.

#![allow(clippy::result_large_err, reason = "redb's own error is large; it is converted where it occurs")]

mod decoder;
mod sidecar;

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableTableMetadata as _, TableDefinition};
use ruvector_core::types::HnswConfig;
use ruvector_snapshot_format::model::{DatabaseInfo, Record};
use ruvector_snapshot_format::payloads;

use super::target::{LockedFile, redb_error};
use super::{SourceReader, database_error};
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use decoder::{Decoded, Decoder};
use sidecar::Sidecar;

pub(crate) use decoder::Header;

/// The `source.kind` of a snapshot of such a file.
pub(crate) const KIND: &str = "imported";
/// The version whose files are known.
pub(crate) const KNOWN_VERSION: &str = "2.3.0";

/// A vector, and the payload after it, if there is one.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Memory that redb may use while the records are sorted.
const CACHE_BYTES: usize = 64 << 20;
/// Records between two reports of progress.
const REPORT_RECORDS: u64 = 256;
/// What a database has and a file does not.
const NOT_IN_FILE: &str = "quantization and other settings: the imported file lacks them";

/// The records of a file, sorted.
pub(crate) struct Sorted {
    pub(crate) header: Header,
    /// Whether the SHA-256 of the sidecar was compared.
    pub(crate) is_verified: bool,
    database: Database,
}

/// Reads a file, checks it and sorts its records. Calls `report` with numbers of records and bytes now and then, and fails
/// with its error.
///
/// # Errors
///
/// Returns [`ErrorKind::Corrupt`] if the file is not what the crate has written, and [`ErrorKind::InvalidInput`] if
/// no database can hold its records.
pub(crate) fn sort(
    path: &Path,
    is_sidecar_needed: bool,
    scratch_dir: &Path,
    report: &mut dyn FnMut(&Header, u64, u64) -> Result<()>,
) -> Result<Sorted> {
    let file = open(path)?;
    let file_bytes =
        file.metadata().map_err(|error| SnapshotError::io(path, "read the size of the file", error))?.len();
    let mut decoder = Decoder::open(path, file)?;
    let sidecar = Sidecar::of(path, is_sidecar_needed)?;
    let header = decoder.header()?;
    if let Some(sidecar) = &sidecar {
        sidecar.check_header(file_bytes, &header)?;
    }
    let failed = |error: redb::Error| {
        redb_error("cannot sort the records in the scratch directory", error)
            .with_key(scratch_dir.display().to_string())
    };
    let scratch = tempfile::tempfile_in(scratch_dir)
        .map_err(|error| SnapshotError::io(scratch_dir, "create a temporary file in the scratch directory", error))?;
    let backend = LockedFile { file: Arc::new(scratch), written_bytes: Arc::default() };
    let created = redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
    let database = created.map_err(|error| failed(error.into()))?;
    let mut transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    // The file has no name: after a crash it is gone.
    transaction.set_durability(redb::Durability::None);
    {
        let mut table = transaction.open_table(RECORDS).map_err(|error| failed(error.into()))?;
        let (mut record, mut value) = (Decoded::default(), Vec::new());
        let (mut records, mut bytes) = (0, 0);
        for _ in 0..header.records {
            decoder.record(header.dimensions, &mut record)?;
            value.clear();
            value.extend_from_slice(&record.vector);
            if let Some(payload) = metadata_of(path, &record)? {
                value.extend_from_slice(payload.as_bytes());
            }
            let replaced = table.insert(record.id.as_str(), value.as_slice());
            if replaced.map_err(|error| failed(error.into()))?.is_some() {
                return Err(duplicate(path, &record.id));
            }
            (records, bytes) = (records + 1, bytes + (record.id.len() + value.len()) as u64);
            if records == REPORT_RECORDS {
                report(&header, std::mem::take(&mut records), std::mem::take(&mut bytes))?;
            }
        }
        report(&header, records, bytes)?;
    }
    let sha256 = decoder.finish()?;
    if let Some(sidecar) = &sidecar {
        sidecar.check_sha256(&sha256)?;
    }
    transaction.commit().map_err(|error| failed(error.into()))?;
    Ok(Sorted { header, is_verified: sidecar.is_some(), database })
}

fn open(path: &Path) -> Result<File> {
    let opened = || {
        let found = path.metadata()?;
        Ok::<_, std::io::Error>((found.is_file().then(|| File::open(path)).transpose()?, found))
    };
    match opened().map_err(|error| SnapshotError::io(path, "open the file", error))? {
        (Some(file), _) => Ok(file),
        (None, found) => {
            let what = if found.is_dir() { "a directory" } else { "not a regular file" };
            let message = format!("this is {what}; give a file FILE.snapshot.gz");
            Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string()))
        }
    }
}

/// Returns the payload as the metadata of a record, which is an object, in its canonical form. `null` is the same as none.
fn metadata_of<'a>(path: &Path, record: &'a Decoded) -> Result<Option<Cow<'a, str>>> {
    let Some(payload) = record.payload.as_deref() else { return Ok(None) };
    let text = payload.trim_matches([' ', '\t', '\r', '\n']);
    if text == "null" {
        return Ok(None);
    }
    let refused = match text.starts_with('{') {
        true => match payloads::canonical_of(&record.id, payload) {
            Ok(canonical) => return Ok(Some(canonical)),
            Err(error) => error.into_parts().0,
        },
        false => "it is not a JSON object".to_owned(),
    };
    let (kind, what) = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => (ErrorKind::InvalidInput, format!("can be in no database: {refused}")),
        Err(_) => (ErrorKind::Corrupt, "is not JSON".to_owned()),
    };
    let message = format!("the payload of {:?} {what}; nothing was imported", record.id);
    Err(SnapshotError::new(kind, message).with_key(path.display().to_string()))
}

fn duplicate(path: &Path, id: &str) -> SnapshotError {
    let message = format!("the id {id:?} is there twice, and no database can hold both records; nothing was imported");
    SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string())
}

impl Sorted {
    /// Starts with the first record.
    pub(crate) fn into_reader(self) -> Result<PublishedReader> {
        let Self { header, database, .. } = self;
        let rows = (|| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            Ok::<_, redb::Error>((table.len()?, table.range::<&str>(..)?))
        })();
        let (records, rows) = rows.map_err(|error| redb_error("cannot read the sorted records", error))?;
        let description = describe(&header, records)?;
        let vector_bytes = usize::try_from(header.dimensions.saturating_mul(4)).unwrap_or(usize::MAX);
        Ok(PublishedReader {
            rows,
            _database: database,
            description,
            records,
            vector_bytes,
            id: String::new(),
            value: Vec::new(),
        })
    }
}

/// Describes the database. Ruvector has more settings than the file.
fn describe(header: &Header, records: u64) -> Result<DatabaseInfo> {
    let hnsw_config = match header.hnsw {
        None => serde_json::Value::Null,
        Some(hnsw) => {
            let default = HnswConfig::default();
            let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let config = HnswConfig {
                m: size(hnsw.m),
                ef_construction: size(hnsw.ef_construction),
                ef_search: size(hnsw.ef_search),
                max_elements: default.max_elements.max(size(records)),
            };
            serde_json::to_value(config).map_err(|error| database_error("cannot describe the index", error))?
        }
    };
    let mut description = DatabaseInfo::new(header.dimensions);
    description.distance_metric = Some(header.metric.to_owned());
    description.hnsw_config = hnsw_config;
    Ok(description)
}

/// Reads the sorted records.
pub(crate) struct PublishedReader {
    // Dropped before its database.
    rows: redb::Range<'static, &'static str, &'static [u8]>,
    _database: Database,
    description: DatabaseInfo,
    records: u64,
    vector_bytes: usize,
    id: String,
    value: Vec<u8>,
}

impl SourceReader for PublishedReader {
    fn database(&self) -> &DatabaseInfo {
        &self.description
    }

    fn records_expected(&self) -> u64 {
        self.records
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        let (id, value) = row.map_err(|error| redb_error("cannot read the sorted records", error.into()))?;
        self.id.clear();
        self.id.push_str(id.value());
        self.value.clear();
        self.value.extend_from_slice(value.value());
        let (vector, payload) = self
            .value
            .split_at_checked(self.vector_bytes)
            .ok_or_else(|| corrupt("the scratch file was changed while it was read"))?;
        let payload = std::str::from_utf8(payload)
            .map_err(|error| corrupt("the scratch file was changed while it was read").with_source(error))?;
        Ok(Some(Record { id: &self.id, vector, metadata: (!payload.is_empty()).then_some(payload) }))
    }

    fn release_row(&mut self) {
        self.value = Vec::new();
    }

    fn not_captured(&self) -> Vec<String> {
        vec![NOT_IN_FILE.to_owned()]
    }
}
