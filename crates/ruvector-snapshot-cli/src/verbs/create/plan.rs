//! `create --dry-run`: prints what would be stored.

use std::path::Path;

use ruvector_snapshot::store::StoreAccess;
use ruvector_snapshot::{CreateOptions, CreatePlan, EmbeddingInfo, Labels, SnapshotManager};

use crate::documents::CreatePlanDocument;
use crate::failure::Failure;
use crate::interrupted::Attempts;
use crate::output::{changes, counted, print_embedding, print_irregular, print_note, shape_of, size, source};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::verbs::space::{self, Needed, print_free};

/// Plans a create.
pub(super) async fn plan(
    session: &Session,
    manager: &SnapshotManager,
    db: &Path,
    name: &str,
    options: CreateOptions,
) -> Result<CreatePlan, Failure> {
    let progress = ProgressDisplay::new(session, &Attempts::default());
    let options = options.progress(progress.listener());
    session.read(manager, manager.plan_create_of_file(db, name, &options)).await
}

pub(super) fn print(
    session: &Session,
    plan: &CreatePlan,
    db: &Path,
    scratch_dir: &Path,
    allows_not_captured: bool,
) -> Result<(), Failure> {
    let output = session.output;
    let access = session.check_access()?;
    let store_free = space::check_store(session, &session.location()?, Needed::at_most(plan.stored_bytes_max))?;
    let scratch_free = space::check_scratch(session, scratch_dir, plan.scratch_bytes_max);
    let listed = session.warnings.not_captured(&plan.source.not_captured, allows_not_captured);
    session.document(&CreatePlanDocument::new(plan, access, (store_free, scratch_free)))?;
    let kind = if plan.chain.is_empty() { "a full" } else { "an incremental" };
    output.line(format_args!("would create {kind} snapshot of {}", db.display()))?;
    if plan.store_is_new {
        let inside = session.store_inside();
        output.field("store", format_args!("NEW: there are no snapshots at {}{inside}", session.store))?;
    }
    output.field("name", &plan.name)?;
    output.field("source", source(&plan.source))?;
    output.field("database", format_args!("{}, read at {}", size(plan.file_bytes), output.time(plan.created_at)))?;
    if let Some(base) = plan.chain.last() {
        let length = counted(plan.chain.len() as u64 + 1, "snapshot");
        output.field("base", format_args!("{}; the chain would have {length}", session.short(base)))?;
    }
    if let Some(planned) = &plan.changes {
        output.field("changes", changes(planned))?;
    }
    output.field("vectors", shape_of(plan.records, plan.dimensions, plan.distance_metric.as_deref()))?;
    print_size(session, plan.stored_bytes_max, plan.raw_bytes)?;
    print_free(session, "store free", store_free)?;
    let scratch = size(plan.scratch_bytes_max);
    output.field("scratch", format_args!("{scratch} at most, if the database is written meanwhile"))?;
    print_free(session, "scratch free", scratch_free)?;
    output.field("checksum", &plan.checksum)?;
    print_given(session, plan.embedding.as_ref(), &plan.labels, plan.note.as_deref())?;
    if let Some(irregular) = &plan.irregular {
        print_irregular(&output, irregular)?;
    }
    for what in listed {
        output.field("not captured", what)?;
    }
    print_end(session, access)
}

/// Prints what is stored with the records because the user gave it, or the database has recorded it.
fn print_given(
    session: &Session,
    embedding: Option<&EmbeddingInfo>,
    labels: &Labels,
    note: Option<&str>,
) -> Result<(), Failure> {
    let output = session.output;
    print_embedding(&output, embedding)?;
    for (at, (key, value)) in labels.iter().enumerate() {
        output.field(if at == 0 { "labels" } else { "" }, format_args!("{key}={value}"))?;
    }
    note.map_or(Ok(()), |note| print_note(&output, note))
}

/// Prints how large the files of a new snapshot can be.
pub(crate) fn print_size(session: &Session, stored_bytes_max: u64, raw_bytes: u64) -> Result<(), Failure> {
    let (stored, raw) = (size(stored_bytes_max), size(raw_bytes));
    session.output.field("size", format_args!("{stored} in the store at most; {raw} uncompressed"))
}

/// Prints what was not checked, and that nothing was written.
pub(crate) fn print_end(session: &Session, access: StoreAccess) -> Result<(), Failure> {
    print_not_tried(session, Some(access))?;
    session.output.line("nothing was written (--dry-run)")
}

/// Prints whether writing to the store was not tried.
pub(crate) fn print_not_tried(session: &Session, access: Option<StoreAccess>) -> Result<(), Failure> {
    match access {
        Some(StoreAccess::NotTried) => {
            session.output.field("not checked", "whether the store can be written to (`store check` tries it)")
        }
        _ => Ok(()),
    }
}
