//! The document of `show`, with the ledger of a snapshot.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{
    Checks, Finding, Ledger, LedgerEntry, ListedVerification, Snapshot, VerifyDepth, VerifyResult,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::shared::chain;
use super::snapshot::SnapshotDocument;

/// What is known of snapshots without reading their data.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Show")]
pub(crate) struct ShowDocument<T> {
    /// The snapshots that were given, each once.
    pub(crate) snapshots: T,
}

/// What is known of a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShownSnapshot")]
pub(crate) struct ShownDocument<'a> {
    #[serde(flatten)]
    snapshot: SnapshotDocument<'a>,
    /// The ids of the chain: from the full snapshot on, this one included. Only this one if the chain is broken.
    chain: Vec<&'a str>,
    /// The snapshots of the chain, the newest first, without metadata of more than 4 KiB.
    chain_snapshots: Each<'a, Snapshot, SnapshotDocument<'a>>,
    /// The ids of the snapshots that depend on it.
    dependents: &'a [String],
    /// The ids of those of them that are pinned. They protect it from deletion.
    pinned_dependents: &'a [String],
    /// Whether it is dated more than 5 minutes in the future, because a clock is or was wrong.
    dated_in_future: bool,
    /// What is wrong with the snapshot or its chain, as far as it shows without reading data. Null if nothing is.
    corruption: Option<&'a str>,
    /// What was recorded of its verifications.
    ledger: LedgerDocument<'a>,
}

impl<'a> ShownDocument<'a> {
    /// `members` has the snapshots of the chain, the newest first.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        members: &'a [Snapshot],
        [dependents, pinned_dependents]: [&'a [String]; 2],
        dated_in_future: bool,
        corruption: Option<&'a str>,
        ledger: &'a Ledger,
    ) -> Self {
        Self {
            snapshot: snapshot.into(),
            chain: chain(members.iter().map(|member| member.id.as_str())),
            chain_snapshots: members.into(),
            dependents,
            pinned_dependents,
            dated_in_future,
            corruption,
            ledger: ledger.into(),
        }
    }
}

/// What was recorded of the verifications of a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Ledger")]
struct LedgerDocument<'a> {
    /// When it was read, by the clock of this machine.
    read_at: DateTime<Utc>,
    /// What the entries say together.
    checks: ChecksDocument,
    /// All entries, the newest first.
    entries: Each<'a, ListedVerification, EntryDocument<'a>>,
}

impl<'a> From<&'a Ledger> for LedgerDocument<'a> {
    fn from(ledger: &'a Ledger) -> Self {
        Self { read_at: ledger.read_at, checks: (&ledger.checks).into(), entries: (&ledger.entries).into() }
    }
}

/// When a snapshot was verified, as far as was recorded.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Checks")]
pub(crate) struct ChecksDocument {
    /// When every byte was last found intact. Null if that was never.
    verified_at: Option<DateTime<Utc>>,
    /// When the metadata and the sizes were last found intact. Null if that was never.
    quick_verified_at: Option<DateTime<Utc>>,
    /// When it was last restored as a drill that has passed. Null if that was never.
    drilled_at: Option<DateTime<Utc>>,
    /// When a drill has failed although nothing was corrupt. Null if none has, or if one has passed since.
    drill_failed_at: Option<DateTime<Utc>>,
    /// When it was found corrupt. Null if it was not, or was found intact since.
    corrupt_at: Option<DateTime<Utc>>,
    /// Number of entries.
    entries: usize,
}

impl From<&Checks> for ChecksDocument {
    fn from(checks: &Checks) -> Self {
        Self {
            verified_at: checks.verified_at(),
            quick_verified_at: checks.intact_at(VerifyDepth::Quick),
            drilled_at: checks.drilled_at(),
            drill_failed_at: checks.drill_failed_at(),
            corrupt_at: checks.corrupt_at(),
            entries: checks.entries(),
        }
    }
}

/// What a recorded verification has found.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EntryState {
    /// What was read is as it was written.
    Intact,
    /// Something is corrupt or missing.
    Corrupt,
    /// Only of a drill: what was read is intact, but the restored database does not do what it must.
    Failed,
}

impl From<VerifyResult> for EntryState {
    fn from(result: VerifyResult) -> Self {
        match result {
            VerifyResult::Intact => Self::Intact,
            VerifyResult::Corrupt => Self::Corrupt,
            VerifyResult::Failed => Self::Failed,
        }
    }
}

/// A recorded verification.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LedgerEntry")]
struct EntryDocument<'a> {
    /// The key of the object.
    key: &'a str,
    /// The start of the verification, or its end if it has found corruption.
    time: DateTime<Utc>,
    /// How deep it was: `full`, `quick`, `drill`, `2of7` for a subset, `sample10` for a sample of 10 %, or `read` for a command that has found
    /// something corrupt while it read the snapshot.
    depth: String,
    /// What it has found.
    state: EntryState,
    /// Whether it counts. It does not if files of the chain were written since, or if it is dated in the future.
    counts: bool,
    /// The content. Null if it cannot be read, or if there are 100 newer entries.
    content: Option<ContentDocument<'a>>,
    /// Why the content cannot be read. Null if it can.
    error: Option<&'a str>,
}

impl<'a> From<&'a ListedVerification> for EntryDocument<'a> {
    fn from(entry: &'a ListedVerification) -> Self {
        Self {
            key: &entry.key,
            time: entry.time,
            depth: entry.depth.to_string(),
            state: entry.result.into(),
            counts: entry.counts,
            content: entry.content.as_ref().map(Into::into),
            error: entry.error.as_deref(),
        }
    }
}

/// The content of a recorded verification.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LedgerContent")]
struct ContentDocument<'a> {
    /// What it has found.
    state: EntryState,
    /// The program that verified, with its version.
    program: &'a str,
    /// The ids of the chain that was verified: from the full snapshot on, this one included.
    chain: Vec<&'a str>,
    /// The id of the snapshot that it was verified with as an ancestor. Null if it was verified by itself.
    verified_with: Option<&'a str>,
    /// Number of records whose digests were verified.
    records: u64,
    /// Bytes that were read from the store.
    store_read_bytes: u64,
    /// The content checksum. Null if it was not verified.
    checksum: Option<&'a str>,
    /// The first of what is corrupt.
    findings: Each<'a, Finding, FindingDocument<'a>>,
    /// The number of all findings.
    findings_total: u64,
    /// The figures of a drill, as the program that made it recorded them. Null if it was none.
    drill: Option<&'a serde_json::Value>,
}

impl<'a> From<&'a LedgerEntry> for ContentDocument<'a> {
    fn from(entry: &'a LedgerEntry) -> Self {
        Self {
            state: entry.result.into(),
            program: &entry.program,
            chain: chain(std::iter::once(&entry.snapshot).chain(&entry.chain).map(|id| id.as_str())),
            verified_with: entry.verified_with.as_ref().map(|id| id.as_str()),
            records: entry.records,
            store_read_bytes: entry.bytes,
            checksum: entry.checksum.as_deref(),
            findings: (&entry.findings).into(),
            findings_total: entry.findings_total,
            drill: entry.drill.as_ref(),
        }
    }
}

/// What a recorded verification has found corrupt.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
struct FindingDocument<'a> {
    /// The id of the snapshot of the chain that is corrupt.
    id: &'a str,
    /// The name of the file.
    file: &'a str,
    /// The number of the block, from 0. Null if it is not in a block.
    block: Option<usize>,
    /// What is wrong.
    detail: &'a str,
}

impl<'a> From<&'a Finding> for FindingDocument<'a> {
    fn from(Finding { snapshot, file, block, detail }: &'a Finding) -> Self {
        Self { id: snapshot, file, block: *block, detail }
    }
}
