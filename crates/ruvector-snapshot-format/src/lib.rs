//! Reads and writes the stored format of `ruvector-snapshot`: backups of Ruvector vector databases.
//!
//! A snapshot consists of five files. `docs/FORMAT.md` of the project specifies them. This crate turns records into
//! these files and back. It is pure: it does no I/O, has no async code, and knows no store and no database.
//!
//! - [`reader::Reader`] reads a snapshot from bytes, and [`writer::Writer`] makes one.
//! - [`model`] has the records and the description of a database, [`source`] says where they came from, and
//!   [`embedding`] what their vectors are of.
//! - [`metadata`], [`block`], [`index`], [`leaves`], [`payloads`] and [`irregular`] are the parts of the files, [`codec`]
//!   is their compression.
//! - [`lineage`] answers which snapshots depend on which.
//! - [`layout`] has the names of the files and the keys of objects in a store, [`ledger`] what is kept of verifications.
//!
//! Everything that is read is checked against the [`limits`] of the format before memory is allocated for it. Corrupt
//! and malicious input leads to an error, never to a panic. See [`reader::Reader`] and [`writer::Writer`] for examples.

pub mod error;
pub mod limits;

pub mod id;
pub mod large;
pub mod layout;
pub mod lineage;

pub mod annotation;
pub mod embedding;
pub mod ledger;
pub mod model;
pub mod source;

pub mod checksum;
pub mod irregular;
pub mod metadata;

mod labels;
mod raw_json;
mod section;

pub mod codec;

mod canonical;

pub mod index;
pub mod leaves;
pub mod payloads;

pub mod block;

pub mod reader;
pub mod writer;

/// Re-exported because its types are part of this crate's API.
pub use chrono;
/// Re-exported because its types are part of this crate's API.
pub use serde_json;

pub use error::{FormatError, FormatErrorKind, Result};
pub use id::SnapshotId;
pub use labels::Labels;
pub use raw_json::RawJson;

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
