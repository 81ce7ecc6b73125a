//! The commands, one in a file: its options, its help, and what it does. None uses another one, except for what they
//! share with `create` and `delete`.

pub(crate) mod annotate;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod drill;
pub(crate) mod dump;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod pin;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod schedule;
pub(crate) mod search;
pub(crate) mod show;
pub(crate) mod space;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod verify;
pub(crate) mod version;
