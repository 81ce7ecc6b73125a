//! The types that a source, a snapshot and a restore target have in common: records, changes of records, and the
//! description of a database.
//!
//! A vector is `dimensions` f32 values, little-endian, as bytes. `n` vectors one after the other are a matrix of shape
//! `n x dimensions`. Borrowed types are views into a [`Block`](crate::block::Block). The `Owned` types hold the same
//! data independently of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checksum::{Digest, digest};

/// One record of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The id, unique in the database.
    pub id: &'a str,
    /// The vector: `dimensions` f32 values, little-endian.
    pub vector: &'a [u8],
    /// The metadata: the text of a JSON object.
    pub metadata: Option<&'a str>,
}

impl Record<'_> {
    /// Returns the values of the vector.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        values(self.vector)
    }

    /// Returns the digest of the record. The metadata must be canonical.
    pub fn digest(&self) -> Digest {
        digest(self.id, self.vector, self.metadata)
    }
}

/// One row of an increment: what happened to one record since the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedRow<'a> {
    /// The id.
    pub id: &'a str,
    /// The digest of the whole record. For a tombstone, the digest of the removed record.
    pub digest: Digest,
    /// What happened to the record.
    pub change: Change<'a>,
}

/// What happened to a record since the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// The record was removed. Its row is a tombstone.
    Removed,
    /// The record was added or changed.
    Put {
        /// The vector: `dimensions` f32 values, little-endian. `None` if the record has the vector that it has in the
        /// base.
        vector: Option<&'a [u8]>,
        /// The metadata as canonical JSON. `None` if the record has no metadata.
        metadata: Option<&'a str>,
    },
}

/// A [`Record`] that owns its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The id, unique in the database.
    pub id: String,
    /// The vector: `dimensions` f32 values, little-endian.
    pub vector: Vec<u8>,
    /// The metadata: the text of a JSON object.
    pub metadata: Option<String>,
}

impl OwnedRecord {
    /// Returns the record as a view.
    pub fn as_record(&self) -> Record<'_> {
        Record { id: &self.id, vector: &self.vector, metadata: self.metadata.as_deref() }
    }

    /// Returns the values of the vector.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        values(&self.vector)
    }
}

impl From<Record<'_>> for OwnedRecord {
    fn from(record: Record<'_>) -> Self {
        let Record { id, vector, metadata } = record;
        Self { id: id.to_owned(), vector: vector.to_vec(), metadata: metadata.map(str::to_owned) }
    }
}

/// A [`ChangedRow`] that owns its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedChangedRow {
    /// The id.
    pub id: String,
    /// The digest of the whole record. For a tombstone, the digest of the removed record.
    pub digest: Digest,
    /// What happened to the record.
    pub change: OwnedChange,
}

/// A [`Change`] that owns its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedChange {
    /// The record was removed.
    Removed,
    /// The record was added or changed.
    Put {
        /// The vector: `dimensions` f32 values, little-endian. `None` if the record has the vector that it has in the
        /// base.
        vector: Option<Vec<u8>>,
        /// The metadata as canonical JSON. `None` if the record has no metadata.
        metadata: Option<String>,
    },
}

impl OwnedChangedRow {
    /// Returns the row as a view.
    pub fn as_row(&self) -> ChangedRow<'_> {
        let change = match &self.change {
            OwnedChange::Removed => Change::Removed,
            OwnedChange::Put { vector, metadata } => {
                Change::Put { vector: vector.as_deref(), metadata: metadata.as_deref() }
            }
        };
        ChangedRow { id: &self.id, digest: self.digest, change }
    }
}

impl From<ChangedRow<'_>> for OwnedChangedRow {
    fn from(row: ChangedRow<'_>) -> Self {
        let change = match row.change {
            Change::Removed => OwnedChange::Removed,
            Change::Put { vector, metadata } => {
                OwnedChange::Put { vector: vector.map(<[u8]>::to_vec), metadata: metadata.map(str::to_owned) }
            }
        };
        Self { id: row.id.to_owned(), digest: row.digest, change }
    }
}

/// Describes how to create a database: its options, and every row of its `config` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatabaseInfo {
    /// f32 values per vector. 0 if the database is empty and does not record it.
    pub dimensions: u64,
    /// The distance metric: `Euclidean`, `Cosine`, `DotProduct` or `Manhattan`. `None` if the database does not record
    /// it.
    pub distance_metric: Option<String>,
    /// The parameters of the HNSW index, in the notation of the database's options. Null for a flat index.
    pub hnsw_config: serde_json::Value,
    /// The quantization, in the notation of the database's options.
    pub quantization: serde_json::Value,
    /// Every row of the `config` table, name to text, unchanged.
    pub rows: BTreeMap<String, String>,
}

impl DatabaseInfo {
    /// Describes a database with vectors of `dimensions` f32 values and nothing else: no metric, no index, no config
    /// rows.
    pub fn new(dimensions: u64) -> Self {
        Self { dimensions, ..Self::default() }
    }
}

/// The B-tree leaves of one table of a database file, in key order.
///
/// All vectors have one entry per leaf. The methods are in [`leaves`](crate::leaves).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeafTable {
    /// The checksum of each leaf.
    pub checksums: Vec<u128>,
    /// The number of rows of each leaf.
    pub rows: Vec<u32>,
    /// The first keys of the leaves, one after the other.
    pub keys: String,
    /// The end of each first key in `keys`.
    pub key_ends: Vec<usize>,
}

/// Whether a snapshot is full or incremental.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotType {
    /// The snapshot holds every record.
    Full,
    /// The snapshot holds the changes since its base.
    Incremental {
        /// The id of the base.
        base_id: String,
    },
}

/// The number of rows of each kind in an increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changes {
    /// Records that the base does not have.
    pub added: u64,
    /// Records that the base has with another vector or other metadata.
    pub changed: u64,
    /// Records of the base that were removed.
    pub removed: u64,
}

impl Changes {
    /// Returns the number of rows of all kinds.
    pub fn rows(&self) -> u64 {
        self.added.saturating_add(self.changed).saturating_add(self.removed)
    }
}

fn values(vector: &[u8]) -> impl Iterator<Item = f32> {
    vector.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}
