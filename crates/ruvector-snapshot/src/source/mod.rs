//! Floor 1: what is captured and where it is put back. Knows Ruvector's databases; knows no key, no store and no byte
//! of the stored format.

pub mod database;
pub mod file;
pub mod interval;
pub mod memory;

use std::collections::BTreeMap;

use ruvector_core::types::DbOptions;

use crate::error::{ErrorKind, Result, SnapshotError};

/// The row of the `config` table in which Ruvector keeps its options.
pub(crate) const OPTIONS_ROW: &str = "__ruvector_db_config__";

/// One record of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The id.
    pub id: &'a str,
    /// `dimensions` f32 values, little-endian; empty where a source was asked for metadata alone.
    pub vector: &'a [u8],
    /// The metadata as JSON text.
    pub metadata: Option<&'a str>,
    /// Whether the source was asked for metadata alone. A database may have no dimensions, so the vector does not tell.
    pub is_metadata_only: bool,
}

/// What a database is, apart from its records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Description {
    /// f32 values a vector.
    pub dimensions: usize,
    /// The metric in Ruvector's notation; `None` where the database does not say.
    pub distance_metric: Option<String>,
    /// The parameters of the HNSW index in Ruvector's notation; null for a flat index.
    pub hnsw_config: serde_json::Value,
    /// The quantization in Ruvector's notation.
    pub quantization: serde_json::Value,
    /// Every row of the `config` table.
    pub rows: BTreeMap<String, String>,
}

impl Description {
    /// What these options and config rows describe.
    pub(crate) fn from_options(options: &DbOptions, rows: BTreeMap<String, String>) -> Result<Self> {
        let json = |value: serde_json::Result<serde_json::Value>| {
            value.map_err(|error| {
                SnapshotError::new(ErrorKind::Internal, "the database's options cannot be written as JSON")
                    .because(error)
            })
        };
        let metric = json(serde_json::to_value(options.distance_metric))?;
        Ok(Self {
            dimensions: options.dimensions,
            distance_metric: metric.as_str().map(str::to_owned),
            hnsw_config: json(serde_json::to_value(&options.hnsw_config))?,
            quantization: json(serde_json::to_value(&options.quantization))?,
            rows,
        })
    }

    /// The options of a database of this description at `storage_path`.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the notation is not one that this version of Ruvector reads.
    pub(crate) fn to_options(&self, storage_path: &str) -> Result<DbOptions> {
        let unsupported = |what: &str, error| {
            SnapshotError::new(
                ErrorKind::Unsupported,
                format!("the snapshot's {what} is not one that this version of Ruvector knows"),
            )
            .because(error)
        };
        let mut options = DbOptions {
            dimensions: self.dimensions,
            storage_path: storage_path.to_owned(),
            hnsw_config: serde_json::from_value(self.hnsw_config.clone())
                .map_err(|error| unsupported("hnsw_config", error))?,
            quantization: serde_json::from_value(self.quantization.clone())
                .map_err(|error| unsupported("quantization", error))?,
            ..DbOptions::default()
        };
        if let Some(metric) = &self.distance_metric {
            options.distance_metric = serde_json::from_value(serde_json::Value::String(metric.clone()))
                .map_err(|error| unsupported("distance_metric", error))?;
        }
        Ok(options)
    }
}

/// The B-tree leaves that the records of a database came from, one table's, in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceLeaves {
    /// The checksum of each leaf: equal for equal rows in an equal layout.
    pub checksums: Vec<u128>,
    /// The rows of each.
    pub rows: Vec<u32>,
    /// The first key of each, one after the other.
    pub keys: String,
    /// Where each key ends in `keys`.
    pub key_ends: Vec<usize>,
}

/// The records of a database as of one moment, in the order of their ids' bytes.
pub trait SnapshotSource: Send {
    /// What the database is.
    fn description(&self) -> &Description;

    /// How many records are expected, for progress only.
    fn records_expected(&self) -> u64;

    /// Upper bounds in bytes on what a snapshot stores of its vectors, of its ids and of its metadata; `None` where nothing
    /// bounds them.
    fn size_bounds_bytes(&self) -> Option<[u64; 3]> {
        None
    }

    /// The next record; `None` once every record was handed out **and all of them are known to be of one moment**.
    ///
    /// # Errors
    ///
    /// `Busy` where the database has moved on underneath: everything handed out is void, and the caller may start again
    /// with a new source. `Damaged` where the database itself is.
    fn next_record(&mut self) -> Result<Option<Record<'_>>>;

    /// The commit that is being read, where the database counts them.
    fn transaction_id(&self) -> Option<u64> {
        None
    }

    /// The leaves of the tables `vectors` and `metadata`, where all records came from such; complete once `next_record` has
    /// returned `None`. Taken out of the source.
    fn take_leaves(&mut self) -> Option<[SourceLeaves; 2]> {
        None
    }

    /// What the database holds that no record has, in words; complete once `next_record` has returned `None`.
    fn not_captured(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where records are put back, in the order of their ids' bytes.
pub trait RestoreTarget: Send + 'static {
    /// Puts records. An error voids the target; nothing of it may then be left behind.
    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()>;
}

/// An error of Ruvector's, which tells no kinds apart.
pub(crate) fn database_error(
    what: impl Into<String>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> SnapshotError {
    SnapshotError::new(ErrorKind::Unavailable, what).because(error)
}
