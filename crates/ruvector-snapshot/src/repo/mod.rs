//! What a repository of snapshots is: its contents, the markers that keep concurrent verbs apart, and how one snapshot
//! is read and written.
//!
//! No verb lives here. Verbs are in `ops`, decisions in `policy`. See `docs/CONCURRENCY.md` for the protocol that
//! `markers`, `commit_guard` and `orphans` implement.

pub(crate) mod annotations;
pub(crate) mod attempt;
pub(crate) mod context;

pub(crate) mod deletion_batches;
pub(crate) mod inventory;
pub(crate) mod irregular;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod location;
pub(crate) mod markers;
pub(crate) mod names;
pub(crate) mod orphans;
pub(crate) mod presence;
pub(crate) mod resolve;

pub(crate) mod chain;
pub(crate) mod chain_checks;
pub(crate) mod comparison;
pub(crate) mod filter;
pub(crate) mod findings;
pub(crate) mod found_corrupt;
pub(crate) mod history;
pub(crate) mod merge;
pub(crate) mod nearest;
pub(crate) mod reader;
pub(crate) mod reads;
pub(crate) mod selection;
pub(crate) mod verify;

pub(crate) mod commit_guard;
pub(crate) mod compaction;
pub(crate) mod draft;
pub(crate) mod pending_upload;
pub(crate) mod pipeline;
pub(crate) mod snapshot_copy;
pub(crate) mod spec;
pub(crate) mod user_json;
pub(crate) mod writer;
