//! Reads a database in memory. It has no file, so it is read twice and both passes are compared.
//!
//! `VectorDB` returns ids and single records, so one pass mixes points in time. Two passes that agree on every id and
//! every record show the state between them, unless a record was changed and changed back meanwhile.

use std::collections::BTreeMap;

use ruvector_core::VectorDB;
use ruvector_snapshot_format::irregular::{IrregularItem, IrregularTable};
use ruvector_snapshot_format::limits;
use ruvector_snapshot_format::model::{DatabaseInfo, Record};
use sha2::{Digest as _, Sha256};

use super::file::{IdRows, append_vector};
use super::{IrregularRecords, SourceReader, database_error, database_info};
use crate::error::{ErrorKind, Result, SnapshotError};

/// Config rows that Ruvector itself writes. A database in memory cannot list others.
const KNOWN_ROWS: [&str; 2] = ["turbo4_provenance", "__ruvector_embedding_space__"];

/// Number of records that one step of the first pass reads, in a few milliseconds.
const STEP_RECORDS: usize = 1024;

/// Reads the records of a database in memory.
pub(crate) struct MemoryReader<'a> {
    db: &'a VectorDB,
    database: DatabaseInfo,
    /// Ids that the first pass has not read yet.
    pending_ids: std::vec::IntoIter<String>,
    /// Ids and digests that the first pass read, sorted by id.
    seen: Vec<(String, [u8; 32])>,
    at: usize,
    vector: Vec<u8>,
    metadata: Option<String>,
    /// The records that the format cannot hold, and their indices in `seen`.
    irregular: IrregularRecords,
    irregular_at: Vec<usize>,
    pass: IrregularPass,
    scratch: String,
}

/// Where the pass over the irregular records is: first through their metadata, then through their vectors.
#[derive(Debug, Default)]
struct IrregularPass {
    table: Option<IrregularTable>,
    /// Whether the table was yielded.
    is_announced: bool,
    /// The index in `irregular_at` of the next record.
    next: usize,
    value: Vec<u8>,
}

impl<'a> MemoryReader<'a> {
    /// Starts the first pass. [`collect_more`](Self::collect_more) continues it.
    pub(crate) fn open(db: &'a VectorDB) -> Result<Self> {
        let mut rows = BTreeMap::new();
        for name in KNOWN_ROWS {
            let value =
                db.load_config_value(name).map_err(|error| database_error("cannot read a config row", error))?;
            rows.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(Self {
            db,
            database: database_info(db.options(), rows)?,
            pending_ids: sorted_ids(db)?.into_iter(),
            seen: Vec::new(),
            at: 0,
            vector: Vec::new(),
            metadata: None,
            irregular: IrregularRecords::default(),
            irregular_at: Vec::new(),
            pass: IrregularPass::default(),
            scratch: String::new(),
        })
    }

    /// Continues the first pass with one step. Returns `false` once the pass is complete; only then does the reader
    /// yield records.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Busy`] if a record has vanished.
    pub(crate) fn collect_more(&mut self) -> Result<bool> {
        for _ in 0..STEP_RECORDS {
            let Some(id) = self.pending_ids.next() else { return Ok(false) };
            self.load(&id)?;
            let digest = self.digest();
            self.seen.push((id, digest));
        }
        Ok(true)
    }

    fn load(&mut self, id: &str) -> Result<()> {
        let entry = self.db.get(id).map_err(|error| database_error(format!("cannot read record {id:?}"), error))?;
        let entry = entry.ok_or_else(changed)?;
        self.vector.clear();
        self.vector.extend(entry.vector.iter().flat_map(|value| value.to_le_bytes()));
        self.metadata = match entry.metadata {
            Some(map) => {
                let sorted: BTreeMap<_, _> = map.iter().collect();
                let text = serde_json::to_string(&sorted);
                Some(text.map_err(|error| database_error(format!("the metadata of {id:?} is not JSON"), error))?)
            }
            None => None,
        };
        Ok(())
    }

    /// Returns why the loaded record is irregular.
    fn irregularity(&mut self, id: &str) -> Option<String> {
        let metadata = self.metadata.as_ref().map(String::as_bytes);
        let rows = IdRows { key: id.as_bytes(), vector: None, metadata };
        if self.vector.len() > limits::VECTOR_BYTES || self.vector.len() as u64 / 4 != self.database.dimensions {
            return Some("its vector has other dimensions than the database, or more than 64 MiB".to_owned());
        }
        rows.texts().err()
    }

    /// Loads the record with this index in `seen`, which must not have changed.
    fn load_seen(&mut self, at: usize) -> Result<Option<String>> {
        let Some((id, digest)) = self.seen.get(at).cloned() else { return Ok(None) };
        self.load(&id)?;
        if self.digest() == digest { Ok(Some(id)) } else { Err(changed()) }
    }

    /// Moves to the next table or row of the irregular records. Returns the key of a row.
    fn advance_irregular(&mut self) -> Result<Option<Option<String>>> {
        for name in ["metadata", "vectors"] {
            let current = self.pass.table.as_ref().map_or("", |table| table.name.as_str());
            if current > name {
                continue;
            }
            if current < name {
                let value = std::mem::take(&mut self.pass.value);
                let table = IrregularTable::of_ruvector(name);
                self.pass = IrregularPass { table, value, ..IrregularPass::default() };
            }
            while let Some(at) = self.irregular_at.get(self.pass.next).copied() {
                let Some(id) = self.load_seen(at)? else { break };
                self.pass.value.clear();
                match (name, &self.metadata) {
                    ("metadata", None) => {
                        self.pass.next += 1;
                        continue;
                    }
                    ("metadata", Some(text)) => self.pass.value.extend_from_slice(text.as_bytes()),
                    _ => append_vector(&self.vector, &mut self.pass.value),
                }
                if !std::mem::replace(&mut self.pass.is_announced, true) {
                    return Ok(Some(None));
                }
                self.pass.next += 1;
                return Ok(Some(Some(id)));
            }
        }
        Ok(None)
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.vector.len() as u64).to_le_bytes());
        hash.update(&self.vector);
        hash.update([u8::from(self.metadata.is_some())]);
        hash.update(self.metadata.as_deref().unwrap_or_default());
        hash.finalize().into()
    }
}

impl SourceReader for MemoryReader<'_> {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn records_expected(&self) -> u64 {
        self.seen.len() as u64
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        loop {
            let Some(id) = self.load_seen(self.at)? else {
                let now = sorted_ids(self.db)?;
                let same = now.len() == self.seen.len() && now.iter().zip(&self.seen).all(|(now, (id, _))| now == id);
                return if same { Ok(None) } else { Err(changed()) };
            };
            self.at += 1;
            let Some(why) = self.irregularity(&id) else { break };
            self.irregular.add(id.as_bytes(), &why);
            self.irregular_at.push(self.at - 1);
        }
        let id = self.seen.get(self.at - 1).map(|(id, _)| id.as_str()).unwrap_or_default();
        let metadata = self.metadata.as_deref();
        Ok(Some(Record { id, vector: &self.vector, metadata }))
    }

    fn next_irregular(&mut self) -> Result<Option<IrregularItem<'_>>> {
        let Some(row) = self.advance_irregular()? else { return Ok(None) };
        let Some(table) = &self.pass.table else { return Ok(None) };
        Ok(Some(match row {
            None => IrregularItem::Table(table),
            Some(id) => {
                self.scratch = id;
                IrregularItem::Row { table, key: self.scratch.as_bytes(), value: &self.pass.value }
            }
        }))
    }

    fn rewind_irregular(&mut self) -> bool {
        self.pass = IrregularPass::default();
        true
    }

    fn irregular_records(&self) -> IrregularRecords {
        self.irregular.clone()
    }
}

impl std::fmt::Debug for MemoryReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryReader").field("records", &self.seen.len()).finish_non_exhaustive()
    }
}

fn sorted_ids(db: &VectorDB) -> Result<Vec<String>> {
    let mut ids = db.keys().map_err(|error| database_error("cannot list the ids of the database", error))?;
    ids.sort_unstable();
    Ok(ids)
}

fn changed() -> SnapshotError {
    SnapshotError::new(
        ErrorKind::Busy,
        "the database in memory changed while it was being read; pause the writes (CreateOptions::pause_writes), or store the \
         database in a file, which can be read while it is being written",
    )
}
