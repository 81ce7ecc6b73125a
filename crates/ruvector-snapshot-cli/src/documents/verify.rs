//! The document of `verify`.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{Corruption, Verification, VerifyReport};
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::{ItemError, State};

/// The file without which nothing else of a snapshot can be read.
const METADATA_JSON: &str = "metadata.json";

/// What `verify` has found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Verify")]
pub(crate) struct VerifyDocument<'a> {
    /// How deep the verification was: `full`, `quick`, `2of7` for a subset or `sample10` for a sample of 10 %.
    pub(crate) depth: String,
    /// The worst state of all. Null if nothing was read.
    pub(crate) state: Option<State>,
    /// Each snapshot that was given, or each of the store.
    pub(crate) snapshots: &'a [VerifiedDocument],
    /// Number of snapshots that were deleted before they were verified.
    pub(crate) deleted: u64,
    /// Number of snapshots that were skipped, because they were found intact within `--max-age`.
    pub(crate) skipped: u64,
}

/// What was found of one snapshot.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Verified")]
pub(crate) struct VerifiedDocument {
    /// The id.
    id: String,
    /// What was found. Null if nothing was read.
    state: Option<State>,
    /// Whether it was skipped, because it was found intact within `--max-age`.
    skipped: bool,
    /// Whether it was deleted before it was verified.
    deleted: bool,
    /// Everything that is corrupt. Empty if it is intact.
    corruption: Vec<CorruptionDocument>,
    /// Of a snapshot that was skipped: when it was found intact.
    #[serde(skip_serializing_if = "Option::is_none")]
    intact_at: Option<DateTime<Utc>>,
    /// Of a snapshot that was verified as an ancestor: the id of the snapshot that it was verified with.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_with: Option<String>,
    /// Why it could not be verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ItemError>,
    /// The ids of the chain that was verified: from the full snapshot on, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Vec<String>>,
    /// Number of records whose digests were verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    /// Bytes that were read from the store and compared, of all snapshots of the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_read_bytes: Option<u64>,
    /// Size of all snapshots of the chain in the store, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_stored_bytes: Option<u64>,
    /// The content checksum, if it was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl VerifiedDocument {
    /// Returns the ids of the snapshots that are corrupt: this one, or some that it depends on.
    pub(crate) fn corrupt_ids(&self) -> impl Iterator<Item = &str> {
        self.corruption.iter().map(|one| one.id.as_str())
    }

    /// Returns the ids of those whose `metadata.json` is missing or corrupt.
    pub(crate) fn without_metadata_json(&self) -> impl Iterator<Item = &str> {
        let is_lost = self.error.is_some() && self.state == Some(State::Corrupt);
        let found = self.corruption.iter().filter(|one| one.file == METADATA_JSON).map(|one| one.id.as_str());
        found.chain(is_lost.then_some(self.id.as_str()))
    }

    /// Returns what was found, or `None` if it is about no snapshot.
    pub(crate) fn of(verification: &Verification) -> Option<Self> {
        let of = |id: &String| Self { id: id.clone(), ..Self::default() };
        Some(match verification {
            Verification::Verified(report) => report.into(),
            Verification::VerifiedWith { id, dependent_id, corruption } => Self {
                state: Some(state(corruption)),
                corruption: corruption.iter().map(Into::into).collect(),
                verified_with: Some(dependent_id.clone()),
                ..of(id)
            },
            Verification::Failed { id, error } => {
                Self { state: Some(State::of(error)), error: Some(error.into()), ..of(id) }
            }
            Verification::Skipped { id, intact_at } => Self { skipped: true, intact_at: Some(*intact_at), ..of(id) },
            Verification::Deleted { id } => Self { deleted: true, ..of(id) },
            _ => return None,
        })
    }
}

impl From<&VerifyReport> for VerifiedDocument {
    fn from(report: &VerifyReport) -> Self {
        Self {
            id: report.id.clone(),
            state: Some(state(&report.corruption)),
            corruption: report.corruption.iter().map(Into::into).collect(),
            chain: Some(report.chain.iter().rev().chain([&report.id]).cloned().collect()),
            records: Some(report.records),
            store_read_bytes: Some(report.bytes),
            chain_stored_bytes: Some(report.stored_bytes),
            checksum: report.checksum.clone(),
            ..Self::default()
        }
    }
}

fn state(corruption: &[Corruption]) -> State {
    if corruption.is_empty() { State::Intact } else { State::Corrupt }
}

/// What is corrupt.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Corruption")]
pub(crate) struct CorruptionDocument {
    /// The id of the snapshot of the chain that is corrupt.
    pub(crate) id: String,
    /// The name of the corrupt file.
    pub(crate) file: String,
    /// The number of the corrupt block, from 0. Null if it is not in a block.
    pub(crate) block: Option<usize>,
    /// What is wrong.
    pub(crate) detail: String,
}

impl From<&Corruption> for CorruptionDocument {
    fn from(one: &Corruption) -> Self {
        Self { id: one.snapshot.clone(), file: one.file.clone(), block: one.block, detail: one.detail.clone() }
    }
}
