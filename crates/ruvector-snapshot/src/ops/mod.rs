//! The verbs, one file each. No verb uses another one; what they have in common is in `repo` and `policy`.
//!
//! A verb with a decision to make has a plan and an `apply` that executes it and decides nothing. A dry run prints the
//! plan.

pub(crate) mod annotate;
pub(crate) mod check_store;
pub(crate) mod compact;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod drill;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod freshness;
pub(crate) mod import;
pub(crate) mod pin;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod search;
pub(crate) mod verify;
