//! What is found at the destination of a restore or an export: checks, and what is in the way.

use ruvector_snapshot::{Blocker, CheckOutcome, DestinationCheck};
use schemars::JsonSchema;
use serde::Serialize;

use super::failure::FailureKind;

/// A check of the destination, and how it ended.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DestinationCheck")]
pub(super) struct DestinationCheckDocument<'a> {
    /// What is checked, in a few words.
    name: &'a str,
    /// How it ended.
    outcome: OutcomeDocument,
    /// What was found. Null if there is nothing to say.
    detail: Option<&'a str>,
    /// What to do about it. Null if `detail` says it.
    advice: Option<&'a str>,
}

impl<'a> From<&'a DestinationCheck> for DestinationCheckDocument<'a> {
    fn from(check: &'a DestinationCheck) -> Self {
        let outcome = match check.outcome {
            CheckOutcome::Ok => OutcomeDocument::Ok,
            CheckOutcome::Warning => OutcomeDocument::Warning,
            CheckOutcome::Blocker => OutcomeDocument::Blocker,
            _ => OutcomeDocument::NotChecked,
        };
        Self { name: &check.name, outcome, detail: check.detail.as_deref(), advice: check.advice.as_deref() }
    }
}

/// How a check of the destination ended.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "CheckOutcome")]
#[serde(rename_all = "snake_case")]
pub(super) enum OutcomeDocument {
    /// Nothing is in the way.
    Ok,
    /// It may fail, or something is lost that the user may need.
    Warning,
    /// It would fail.
    Blocker,
    /// The check could not be made.
    NotChecked,
}

/// Something that is in the way of a restore or an export.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Blocker")]
pub(super) struct BlockerDocument<'a> {
    /// What it means for the caller: the kind of the error that it would fail with.
    kind: FailureKind,
    /// The key of the object, or the path of the file, that it is about. Null if it is about none.
    key: Option<&'a str>,
    /// What is in the way.
    message: &'a str,
    /// The causes, the innermost last.
    causes: &'a [String],
    /// What to do about it. Null if `message` says it.
    advice: Option<&'a str>,
}

impl<'a> From<&'a Blocker> for BlockerDocument<'a> {
    fn from(blocker: &'a Blocker) -> Self {
        Self {
            kind: FailureKind::of(blocker.kind, blocker.remedy),
            key: blocker.key.as_deref(),
            message: &blocker.message,
            causes: &blocker.causes,
            advice: blocker.advice.as_deref(),
        }
    }
}
