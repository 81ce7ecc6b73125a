//! The JSON documents that the program prints: a contract with programs. Each type here has a schema in `docs/schema`, and
//! a table in `docs/JSON.md`, which are made of its doc comments. They are types of the command line: a change in the
//! library changes no document.
//!
//! Members can be added without notice. Another meaning, another name or a missing member is a new [`SCHEMA_VERSION`].

mod annotate;
mod config;
mod create;
mod diff;
mod dump;
mod envelope;
mod failure;
mod pin;
mod shared;
mod snapshot;
mod stats;
mod version;

pub(crate) use annotate::AnnotateDocument;
pub(crate) use config::{
    ConfigCheckDocument, ConfigFileDocument, ConfigPathDocument, ConfigProblemDocument, ConfigShowDocument,
    SettingDocument,
};
pub(crate) use create::CreateDocument;
pub(crate) use diff::{ChangeDocument, DiffBegin, DiffCounts, DiffEnd};
pub(crate) use dump::{DumpBegin, DumpEnd, RecordBegin};
pub(crate) use envelope::{NoMembers, Run};
pub(crate) use failure::{ErrorDocument, Failed, FailureDocument, FailureKind};
pub(crate) use pin::{PinDocument, PinnedSnapshot};
pub(crate) use stats::StatsDocument;
pub(crate) use version::{FormatVersions, VersionDocument};
