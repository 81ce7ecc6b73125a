//! The document of `dump`. It is printed in parts: the beginning, each record, and the end.

use ruvector_snapshot::StreamProof;
use schemars::JsonSchema;
use serde::Serialize;

/// What `dump` has printed.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Dump")]
#[expect(dead_code, reason = "it is printed in parts, and this is its schema")]
pub(crate) struct DumpDocument {
    /// The id of the snapshot.
    id: String,
    /// The records, in the order of the bytes of their ids. Without `--json`, each is a line.
    records: Vec<RecordDocument>,
    #[schemars(flatten)]
    end: DumpEnd,
}

/// A record of a snapshot.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Record")]
#[expect(dead_code, reason = "it is printed in parts, and this is its schema")]
pub(crate) struct RecordDocument {
    /// The id of the record.
    id: String,
    /// The vector. A value that is NaN or infinite, which JSON does not have, is null.
    vector: Vec<Option<f32>>,
    /// The metadata, as canonical JSON. Null if there is none.
    metadata: serde_json::Value,
}

/// A record up to its metadata. Every value is written in as few digits as an f32 needs to be read back with the same bits.
#[derive(Debug, Serialize)]
pub(crate) struct RecordBegin<'a> {
    pub(crate) id: &'a str,
    pub(crate) vector: Vec<f32>,
}

/// The members before the records.
#[derive(Debug, Serialize)]
pub(crate) struct DumpBegin<'a> {
    pub(crate) id: &'a str,
}

/// The members after the records.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DumpEnd {
    /// Number of records that were printed.
    pub(crate) printed: u64,
    /// What was verified of the records. Null if not all were read, so that the proof is not complete.
    pub(crate) proof: Option<Proof>,
}

/// What was verified of records.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// They are all records of the snapshot, and together they have its content checksum.
    ContentChecksum,
    /// Each has the digest that the snapshot has of it.
    RecordDigests,
}

impl From<StreamProof> for Proof {
    fn from(proof: StreamProof) -> Self {
        match proof {
            StreamProof::ContentChecksum => Self::ContentChecksum,
            _ => Self::RecordDigests,
        }
    }
}
