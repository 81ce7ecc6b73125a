//! The JSON documents that the program prints: a contract with programs. Each type here has a schema in `docs/schema`, and
//! a table in `docs/JSON.md`, which are made of its doc comments. They are types of the command line: a change in the
//! library changes no document.
//!
//! Members can be added without notice. Another meaning, another name or a missing member is a new `SCHEMA_VERSION`.

mod annotate;
mod compact;
mod config;
mod copy;
mod create;
mod delete;
mod demo;
mod diff;
mod drill;
mod dump;
mod each;
mod envelope;
mod exchange;
mod failure;
mod find;
mod findings;
mod list;
mod new_plans;
mod pin;
mod progress;
mod prune;
mod restore;
mod restore_plan;
mod schedule;
mod schedule_runs;
mod search;
mod shared;
mod show;
mod snapshot;
mod stats;
mod status;
mod store;
mod verify;
mod verify_plan;
mod version;

#[cfg(test)]
mod reference;

pub(crate) use annotate::AnnotateDocument;
pub(crate) use compact::{CompactDocument, CompactedDocument};
pub(crate) use config::{
    ConfigCheckDocument, ConfigFileDocument, ConfigPathDocument, ConfigProblemDocument, ConfigShowDocument,
    SettingDocument,
};
pub(crate) use copy::{CopyDocument, CopyPlanDocument};
pub(crate) use create::CreateDocument;
pub(crate) use delete::{DeleteDocument, DeletedSnapshot};
pub(crate) use demo::DemoDocument;
pub(crate) use diff::{ChangeDocument, DiffBegin, DiffCounts, DiffEnd};
pub(crate) use drill::{DrillDocument, DrillPlanDocument};
pub(crate) use dump::{DumpBegin, DumpEnd, RecordBegin};
pub(crate) use envelope::{NoMembers, Run};
pub(crate) use exchange::{ExportDocument, ExportPlanDocument, ImportDocument};
pub(crate) use failure::{ErrorDocument, Failed, FailureDocument, FailureKind};
pub(crate) use find::FindDocument;
pub(crate) use list::{ListEnd, ListedDocument};
pub(crate) use new_plans::{CompactPlanDocument, CreatePlanDocument, ImportPlanDocument, PlannedCompactionDocument};
pub(crate) use pin::{PinDocument, PinnedSnapshot};
pub(crate) use progress::{PhaseName, ProgressDocument, ProgressLine};
pub(crate) use prune::{PruneDocument, Pruned};
pub(crate) use restore::{MergeDocument, RestoreDocument};
pub(crate) use restore_plan::RestorePlanDocument;
pub(crate) use schedule::{
    CheckedJobDocument, ForecastJobDocument, ForecastRunDocument, ForecastSnapshotDocument, ScheduleCheckDocument,
    ScheduleNextDocument,
};
pub(crate) use schedule_runs::{JobRunDocument, ScheduleLine, ScheduleOnceDocument, StaleLine};
pub(crate) use search::SearchDocument;
pub(crate) use shared::{ItemError, OutcomeDocument, State};
pub(crate) use show::{ShowDocument, ShownDocument};
pub(crate) use stats::StatsDocument;
pub(crate) use status::StatusDocument;
pub(crate) use store::{OptionDocument, StoreCheckDocument, StoreCheckPlanDocument, StoreOptionsDocument};
pub(crate) use verify::{VerifiedDocument, VerifyDocument};
pub(crate) use verify_plan::VerifyPlanDocument;
pub(crate) use version::{FormatVersions, VersionDocument};
