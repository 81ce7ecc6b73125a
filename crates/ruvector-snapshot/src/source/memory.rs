//! A database in memory, which has no file to read: collected twice and compared.
//!
//! `VectorDB` gives ids and single records, so one pass over them mixes moments. Two passes that agree on every id and
//! every record show the state between them, provided that no record was changed and changed back in the meantime.

use std::collections::BTreeMap;

use ruvector_core::VectorDB;
use sha2::{Digest as _, Sha256};

use super::{Description, Record, SnapshotSource, database_error};
use crate::error::{ErrorKind, Result, SnapshotError};

/// Config rows that Ruvector itself writes; a database in memory has no way to list others.
const KNOWN_ROWS: [&str; 2] = ["turbo4_provenance", "__ruvector_embedding_space__"];

/// Records of the first pass between two pauses, a few milliseconds.
const RECORDS_A_STEP: usize = 1024;

/// The records of a database in memory.
pub struct MemorySource<'a> {
    db: &'a VectorDB,
    description: Description,
    /// Ids that the first pass has not come to.
    pending: std::vec::IntoIter<String>,
    /// What the first pass saw, in id order.
    seen: Vec<(String, [u8; 32])>,
    at: usize,
    vector: Vec<u8>,
    metadata: Option<String>,
}

impl<'a> MemorySource<'a> {
    /// Begins the first pass, which [`collect_more`](Self::collect_more) carries on.
    pub fn open(db: &'a VectorDB) -> Result<Self> {
        let mut rows = BTreeMap::new();
        for name in KNOWN_ROWS {
            let value =
                db.load_config_value(name).map_err(|error| database_error("cannot read a config row", error))?;
            rows.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(Self {
            db,
            description: Description::from_options(db.options(), rows)?,
            pending: sorted_ids(db)?.into_iter(),
            seen: Vec::new(),
            at: 0,
            vector: Vec::new(),
            metadata: None,
        })
    }

    /// Goes on with the first pass for a moment; false once it is complete. Only then do records come.
    ///
    /// # Errors
    ///
    /// `Busy` where a record has vanished.
    pub fn collect_more(&mut self) -> Result<bool> {
        for _ in 0..RECORDS_A_STEP {
            let Some(id) = self.pending.next() else { return Ok(false) };
            self.load(&id)?;
            let digest = self.digest();
            self.seen.push((id, digest));
        }
        Ok(true)
    }

    fn load(&mut self, id: &str) -> Result<()> {
        let entry = self.db.get(id).map_err(|error| database_error(format!("cannot read record {id:?}"), error))?;
        let entry = entry.ok_or_else(moved)?;
        self.vector.clear();
        self.vector.extend(entry.vector.iter().flat_map(|value| value.to_le_bytes()));
        self.metadata = match entry.metadata {
            Some(map) => {
                let sorted: BTreeMap<_, _> = map.iter().collect();
                let text = serde_json::to_string(&sorted);
                Some(text.map_err(|error| database_error(format!("the metadata of {id:?} is no JSON"), error))?)
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

impl SnapshotSource for MemorySource<'_> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn records_expected(&self) -> u64 {
        self.seen.len() as u64
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        let Some((id, digest)) = self.seen.get(self.at).cloned() else {
            let now = sorted_ids(self.db)?;
            let same = now.len() == self.seen.len() && now.iter().zip(&self.seen).all(|(now, (id, _))| now == id);
            return if same { Ok(None) } else { Err(moved()) };
        };
        self.load(&id)?;
        if self.digest() != digest {
            return Err(moved());
        }
        self.at += 1;
        let id = self.seen.get(self.at - 1).map(|(id, _)| id.as_str()).unwrap_or_default();
        let metadata = self.metadata.as_deref();
        Ok(Some(Record { id, vector: &self.vector, metadata, is_metadata_only: false }))
    }
}

impl std::fmt::Debug for MemorySource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySource").field("records", &self.seen.len()).finish_non_exhaustive()
    }
}

fn sorted_ids(db: &VectorDB) -> Result<Vec<String>> {
    let mut ids = db.keys().map_err(|error| database_error("cannot list the ids of the database", error))?;
    ids.sort_unstable();
    Ok(ids)
}

fn moved() -> SnapshotError {
    SnapshotError::new(
        ErrorKind::Busy,
        "the database in memory changed while it was read; pause the writes (CreateOptions::pause_writes), or keep the \
         database in a file, which can be read while it is written",
    )
}
