//! Why a snapshot stays, and why it goes, as data and in words.

use std::fmt;

use serde::Serialize;

use super::period::Period;
use super::policy::LabelPattern;
use super::span::Span;

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeepReason {
    /// Somebody has pinned it.
    Pinned,
    /// It is dated in the future.
    Future,
    /// It cannot be restored now: its bases lead to one that is missing, or back to one of them.
    BrokenChain {
        /// The id that is missing or comes twice.
        at: String,
    },
    /// It is one of the newest.
    Last {
        /// How many of the newest are kept.
        count: usize,
    },
    /// It is the newest of a period.
    NewestOf {
        /// Of which kind the period is.
        period: Period,
        /// Which one it is, as `2026-11-23`, `2026-W48` or `2026-Q4`.
        name: String,
    },
    /// It is recent enough.
    Within {
        /// How far back from the newest snapshot.
        span: Span,
    },
    /// It has a label.
    Label {
        /// The label that was asked for.
        pattern: LabelPattern,
    },
    /// A snapshot that stays stands on it.
    BaseOf {
        /// The id of that snapshot.
        id: String,
    },
    /// A snapshot that cannot be used now stands on it.
    BaseOfDamaged {
        /// The id of that snapshot.
        id: String,
    },
    /// An upload that is under way will stand on it.
    BaseOfUpload {
        /// The id that the new snapshot will have.
        id: String,
    },
    /// It is older than a snapshot that others stand on and of which nobody can read what it stands on itself.
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
        /// How many of the newest are kept.
        count: usize,
    },
    /// A newer one is kept for the same period.
    NotNewestOf {
        /// Of which kind the period is.
        period: Period,
        /// Which one it is.
        name: String,
    },
    /// Its period is none of the last that are kept.
    NotLastOf {
        /// Of which kind the periods are.
        period: Period,
        /// How many of them are kept.
        count: usize,
    },
    /// It is too old.
    NotWithin {
        /// How far back from the newest snapshot.
        span: Span,
    },
    /// It holds the state of one that is kept.
    SameState {
        /// The id of that snapshot.
        id: String,
    },
    /// It does not have a label.
    NoLabel {
        /// The label that was asked for.
        pattern: LabelPattern,
    },
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("pinned"),
            Self::Future => f.write_str("dated in the future"),
            Self::BrokenChain { at } => write!(f, "chain broken at {at}"),
            Self::Last { count } => write!(f, "last {count}"),
            Self::NewestOf { period, name } => write!(f, "{period} {name}"),
            Self::Within { span } => write!(f, "within {span}"),
            Self::Label { pattern } => write!(f, "label {pattern}"),
            Self::BaseOf { id } => write!(f, "base of {id}"),
            Self::BaseOfDamaged { id } => write!(f, "base of {id}, which is damaged"),
            Self::BaseOfUpload { id } => write!(f, "base of the upload {id}"),
            Self::MayBeNeededBy { id } => write!(f, "may be needed by {id}, which is damaged"),
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLast { count } => write!(f, "not in the last {count}"),
            Self::NotNewestOf { period, name } => write!(f, "{period} {name} has a newer one"),
            Self::NotLastOf { period, count } => write!(f, "not in the last {count} {period}"),
            Self::NotWithin { span } => write!(f, "not within {span}"),
            Self::SameState { id } => write!(f, "the state of {id}"),
            Self::NoLabel { pattern } => write!(f, "no label {pattern}"),
        }
    }
}
