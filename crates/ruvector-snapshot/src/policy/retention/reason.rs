//! Why a snapshot is kept or dropped: as data, and as text for people.

use std::fmt;

use serde::Serialize;

use super::calendar::Period;
use super::calendar_span::Span;
use super::label_pattern::LabelPattern;

/// Why a snapshot is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeepReason {
    /// The rules are not for its source.
    OtherSource,
    /// It is pinned.
    Pinned,
    /// It is dated in the future.
    Future,
    /// It cannot be restored now, because its chain is broken.
    BrokenChain {
        /// The id of the ancestor that is missing or unusable, or part of a cycle.
        at: String,
    },
    /// It or an ancestor was found corrupt, or has lost its `checksum.sha256`.
    Corrupt,
    /// It is one of the newest.
    Last {
        /// The number of snapshots that the rule keeps.
        count: usize,
    },
    /// It is the newest of a period.
    NewestOf {
        /// The kind of period.
        period: Period,
        /// The name of the period, for example `2026-11-23`, `2026-W48` or `2026-Q4`.
        name: String,
    },
    /// It is recent enough.
    Within {
        /// The span that the rule keeps, counted from the newest snapshot.
        span: Span,
    },
    /// It has a label.
    Label {
        /// The label that the rule keeps.
        pattern: LabelPattern,
    },
    /// It may have a label: an annotation of it cannot be read.
    MayHaveLabel {
        /// The label that the rule keeps.
        pattern: LabelPattern,
    },
    /// It is the base of a snapshot that is kept.
    BaseOf {
        /// The id of that snapshot.
        id: String,
    },
    /// It is the base of a snapshot that cannot be used now, and may be repaired.
    BaseOfUnusable {
        /// The id of that snapshot.
        id: String,
    },
    /// It is a base of an upload in progress.
    BaseOfUpload {
        /// The id that the new snapshot will have.
        id: String,
    },
    /// It is older than a snapshot that has dependents and whose own base is unreadable, or that could not be read at all.
    /// Any older snapshot may be that base.
    MayBeNeededBy {
        /// The id of that snapshot.
        id: String,
    },
}

/// Why a rule does not keep a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropReason {
    /// It is not one of the newest.
    NotLast {
        /// The number of snapshots that the rule keeps.
        count: usize,
    },
    /// A newer snapshot of the same period is kept.
    NotNewestOf {
        /// The kind of period.
        period: Period,
        /// The name of the period.
        name: String,
    },
    /// Its period is older than those that the rule keeps.
    NotLastOf {
        /// The kind of period.
        period: Period,
        /// The number of periods that the rule keeps.
        count: usize,
    },
    /// It is too old.
    NotWithin {
        /// The span that the rule keeps, counted from the newest snapshot.
        span: Span,
    },
    /// A snapshot with the same state is kept.
    SameState {
        /// The id of that snapshot.
        id: String,
    },
    /// It does not have a label.
    NoLabel {
        /// The label that the rule keeps.
        pattern: LabelPattern,
    },
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSource => f.write_str("another source"),
            Self::Pinned => f.write_str("pinned"),
            Self::Future => f.write_str("dated in the future"),
            Self::BrokenChain { at } => write!(f, "chain broken at {at}"),
            Self::Corrupt => f.write_str("found corrupt"),
            Self::Last { count } => write!(f, "last {count}"),
            Self::NewestOf { period, name } => write!(f, "{period} {name}"),
            Self::Within { span } => write!(f, "within {span}"),
            Self::Label { pattern } => write!(f, "label {pattern}"),
            Self::MayHaveLabel { pattern } => {
                write!(f, "may have label {pattern}: an annotation cannot be read")
            }
            Self::BaseOf { id } => write!(f, "base of {id}"),
            Self::BaseOfUnusable { id } => write!(f, "base of {id}, which is corrupt"),
            Self::BaseOfUpload { id } => write!(f, "base of upload {id}"),
            Self::MayBeNeededBy { id } => write!(f, "may be needed by {id}, which cannot be read"),
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLast { count } => write!(f, "not in the last {count}"),
            Self::NotNewestOf { name, .. } => write!(f, "not the newest of {name}"),
            Self::NotLastOf { period, count } => write!(f, "not in the last {count} {period}"),
            Self::NotWithin { span } => write!(f, "not within {span}"),
            Self::SameState { id } => write!(f, "same state as {id}"),
            Self::NoLabel { pattern } => write!(f, "no label {pattern}"),
        }
    }
}
