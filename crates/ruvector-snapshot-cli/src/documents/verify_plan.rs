//! The document of `verify --dry-run`.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{PlannedVerification, VerifyPlan, VerifyStep};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::failure::FailureKind;
use super::shared::ItemError;

/// What `verify` would read. No records were read, and nothing was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "VerifyPlan")]
pub(crate) struct VerifyPlanDocument<'a> {
    /// True: nothing was verified.
    dry_run: bool,
    /// How deep the verification would be: `full`, `quick`, `2of7` for a subset or `sample10` for a sample of 10 %.
    depth: String,
    /// Whether the results would be recorded in the store.
    record: bool,
    /// Bytes that would be read from the store and compared, at most.
    store_read_bytes: u64,
    /// Each snapshot that was given, or each of the store.
    snapshots: Each<'a, PlannedVerification, PlannedVerificationDocument<'a>>,
}

impl<'a> From<&'a VerifyPlan> for VerifyPlanDocument<'a> {
    fn from(plan: &'a VerifyPlan) -> Self {
        Self {
            dry_run: true,
            depth: plan.depth.to_string(),
            record: plan.record,
            store_read_bytes: plan.bytes(),
            snapshots: (&plan.snapshots).into(),
        }
    }
}

/// What would be done with one snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedVerification")]
struct PlannedVerificationDocument<'a> {
    /// The id.
    id: &'a str,
    /// The name. Null if it was not read.
    name: Option<&'a str>,
    /// What would be done.
    action: ActionDocument,
    /// Of a snapshot that would be read: the ids of the chain, from the full snapshot on, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Vec<&'a str>>,
    /// Of a snapshot that would be read: bytes that are read and compared, at most, of all snapshots of the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_read_bytes: Option<u64>,
    /// Of a snapshot that would be read as an ancestor: the id of the snapshot that it would be verified with.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_with: Option<&'a str>,
    /// Of a snapshot that would be skipped: when it was found intact.
    #[serde(skip_serializing_if = "Option::is_none")]
    intact_at: Option<DateTime<Utc>>,
    /// Why it would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ItemError>,
}

impl<'a> From<&'a PlannedVerification> for PlannedVerificationDocument<'a> {
    fn from(planned: &'a PlannedVerification) -> Self {
        let PlannedVerification { id, name, step, .. } = planned;
        let of = |action| Self {
            id,
            name: name.as_deref(),
            action,
            chain: None,
            store_read_bytes: None,
            verified_with: None,
            intact_at: None,
            error: None,
        };
        match step {
            VerifyStep::VerifyWith { dependent_id } => {
                Self { verified_with: Some(dependent_id), ..of(ActionDocument::VerifyWith) }
            }
            VerifyStep::Skip { intact_at } => Self { intact_at: Some(*intact_at), ..of(ActionDocument::Skip) },
            VerifyStep::Fail { kind, message } => {
                let error = ItemError { kind: FailureKind::of(*kind, None), message: message.clone() };
                Self { error: Some(error), ..of(ActionDocument::Fail) }
            }
            VerifyStep::Verify { chain, bytes } => {
                let chain = chain.iter().rev().chain([id]).map(String::as_str).collect();
                Self { chain: Some(chain), store_read_bytes: Some(*bytes), ..of(ActionDocument::Verify) }
            }
            _ => of(ActionDocument::Verify),
        }
    }
}

/// What would be done with a snapshot.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "VerifyAction")]
#[serde(rename_all = "snake_case")]
enum ActionDocument {
    /// It would be read, with all that it depends on.
    Verify,
    /// It would be read as an ancestor of a newer snapshot.
    VerifyWith,
    /// It would be skipped, because it was found intact within `--max-age`.
    Skip,
    /// It shows already that something is corrupt, or that it cannot be verified.
    Fail,
}
