//! Reads a database in memory. It has no file, so it is read twice and both passes are compared.
//!
//! `VectorDB` returns ids and single records, so one pass mixes points in time. Two passes that agree on every id and
//! every record show the state between them, unless a record was changed and changed back meanwhile.

use std::collections::BTreeMap;

use ruvector_core::VectorDB;
use ruvector_snapshot_format::model::{DatabaseInfo, Record};
use sha2::{Digest as _, Sha256};

use super::{SourceReader, database_error, database_info};
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
        let Some((id, digest)) = self.seen.get(self.at).cloned() else {
            let now = sorted_ids(self.db)?;
            let same = now.len() == self.seen.len() && now.iter().zip(&self.seen).all(|(now, (id, _))| now == id);
            return if same { Ok(None) } else { Err(changed()) };
        };
        self.load(&id)?;
        if self.digest() != digest {
            return Err(changed());
        }
        self.at += 1;
        let id = self.seen.get(self.at - 1).map(|(id, _)| id.as_str()).unwrap_or_default();
        let metadata = self.metadata.as_deref();
        Ok(Some(Record { id, vector: &self.vector, metadata }))
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
