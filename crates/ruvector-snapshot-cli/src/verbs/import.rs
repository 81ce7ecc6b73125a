//! `import`: stores the records of a file of the published crate as a full snapshot.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::{
    ErrorKind, IMPORTED_ID_LABEL, ImportOptions, Labels, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager,
    Transferred, check_name,
};

use crate::documents::{ImportDocument, ImportPlanDocument};
use crate::failure::{Exit, Failure, kind_name};
use crate::global::SOURCE_VARIABLE;
use crate::interrupted::Attempts;
use crate::output::{pace, print_transferred, ratio, shape, shape_of, size};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::values::{label, new_path};
use crate::verbs::create::plan::{print_end, print_size};
use crate::verbs::create::{check_scratch_dir, labels, source_name};
use crate::verbs::space::{self, Needed, print_free};

pub(crate) const HELP: &str = "\
Stores the records of a file of the crate ruvector-snapshot 2.3.0, as it was published, as a full snapshot. It can then be restored, verified, copied \
and exported like any other. FILE is not changed.

FILE is read as a whole before anything is stored, and the SHA-256 of its contents is compared with that in its sidecar ID.metadata.json. The records are sorted \
in a temporary file, which takes about twice as much as the expanded records.

The snapshot is dated as FILE is: its records are as old, so `latest` may mean another one, and a retention policy may delete it soon; `pin` it to keep it. The labels \
imported-id and imported-version have the id in FILE and the version of the crate.

Limits: FILE has the dimensions, the metric and three parameters of the index. It has no other setting of a database, such as the quantization: a restored database \
has none. A payload null becomes no metadata. Refused are an id that is there twice, a vector with other dimensions than the collection, and a payload that is \
not a JSON object: no database can hold them.

With --dry-run, FILE is read, checked and sorted as usual, and nothing is written to the store. The command warns if the file system of a directory may have too \
little space.

Examples:
  ruvector-snapshot import old/0b7c8a52-2d6a-4b0f-9d5e-3b1f5a3c9e01.snapshot.gz
  ruvector-snapshot import old/articles.snapshot.gz --name articles-2025 \\
      --label from=old-server
  ruvector-snapshot import old/articles.snapshot.gz --dry-run

Exit codes: 0 stored; 1 failure, or no database can hold the records; 2 wrong usage; 3 FILE or its sidecar is corrupt; 5 stored, with \
warnings. After a failure there is no new snapshot.";

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// File to import, ID.snapshot.gz. Its sidecar ID.metadata.json must be beside it
    pub(crate) file: PathBuf,
    /// Name of the snapshot [default: the name of the collection in FILE]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Name of the database, wherever it is [default: the name of the collection in FILE]
    #[arg(long, value_name = "NAME", env = SOURCE_VARIABLE, hide_env_values = true)]
    pub(crate) source: Option<String>,
    /// Label to store with the snapshot. Can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Import FILE without its sidecar. Then nothing shows that the contents are those that were written
    #[arg(long)]
    pub(crate) unverified: bool,
    /// Directory in which the records are sorted, in a file without a name [default: the system's temporary directory]
    #[arg(long, value_name = "DIR", value_parser = new_path())]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Read and check FILE, and print what would be stored. Writes nothing to the store
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn import(session: &Session, args: Import) -> Result<Exit, Failure> {
    if let Some(name) = &args.name {
        check_name(name).map_err(Failure::usage)?;
    }
    let mut options = ImportOptions::default().unverified(args.unverified);
    (options.name, options.source_name, options.labels) = (args.name, source_name(args.source)?, labels(args.labels)?);
    check_scratch_dir(args.scratch_dir.as_deref())?;
    let config = SnapshotConfig { scratch_dir: args.scratch_dir, ..session.config() };
    // Before anything is created in the store: a mistyped path leaves nothing behind.
    if let Err(error) = args.file.metadata() {
        return Err(SnapshotError::io(&args.file, "open the file", error).into());
    }
    let location = session.location()?;
    if args.dry_run {
        return plan(session, config, &args.file, options).await;
    }
    let manager = session.open_or_create(config)?;
    let store_is_new = session.is_new(&manager).await?;
    let (started, attempts) = (Instant::now(), Attempts::default());
    let (imported, transferred) = {
        let progress = ProgressDisplay::new(session, &attempts);
        let options = options.progress(progress.listener());
        let after_interrupt = attempts.report(&manager, location);
        let work = manager.import_file(&args.file, &options);
        (session.run(&manager, work, after_interrupt).await, progress.transferred())
    };
    let snapshot = imported.map_err(explained)?;
    session.ids.add(&snapshot.id);
    warn_of_repetition(session, &manager, &snapshot.labels, Some(&snapshot.id)).await;
    let imported = Imported { snapshot: &snapshot, store_is_new, transferred };
    print(session, &imported, &args.file, started.elapsed()).map_err(|failure| failure.after_create(&snapshot.id))?;
    Ok(Exit::Success)
}

/// Prints what would be stored.
async fn plan(session: &Session, config: SnapshotConfig, file: &Path, options: ImportOptions) -> Result<Exit, Failure> {
    let manager = session.open_planned(config)?;
    let planned = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        session.read(&manager, manager.plan_import(file, &options)).await
    };
    let plan = planned.map_err(explained)?;
    warn_of_repetition(session, &manager, &plan.labels, None).await;
    let access = session.check_access()?;
    let free = space::check_store(session, &session.location()?, Needed::at_most(plan.stored_bytes_max))?;
    session.document(&ImportPlanDocument::new(&plan, file, access, free))?;
    let output = session.output;
    output.line(format_args!("would import {}", file.display()))?;
    if plan.store_is_new {
        output.field("store", format_args!("NEW: there are no snapshots at {}", session.store))?;
    }
    output.field("name", &plan.name)?;
    output.field("file", format_args!("{}, of {}", size(plan.file_bytes), output.time(plan.created_at)))?;
    output.field("vectors", shape_of(plan.records, plan.dimensions, plan.distance_metric.as_deref()))?;
    print_size(session, plan.stored_bytes_max, plan.raw_bytes)?;
    print_free(session, "store free", free)?;
    output.field("checksum", &plan.checksum)?;
    let verified = if plan.is_verified { "the SHA-256 is that of the sidecar" } else { "no: there is no sidecar" };
    output.field("verified", verified)?;
    for what in &plan.source.not_captured {
        output.field("not captured", what)?;
    }
    print_end(session, access)?;
    Ok(Exit::Success)
}

/// Warns if the file was imported before. The import itself is done: the warning is all that a listing that fails costs.
async fn warn_of_repetition(session: &Session, manager: &SnapshotManager, labels: &Labels, new_id: Option<&str>) {
    let (Some(imported_id), Ok(listing)) = (labels.get(IMPORTED_ID_LABEL), manager.list().await) else { return };
    let is_same = |snapshot: &&Snapshot| {
        snapshot.labels.get(IMPORTED_ID_LABEL) == Some(imported_id) && Some(&*snapshot.id) != new_id
    };
    if let Some(earlier) = listing.snapshots.iter().find(is_same) {
        session.warnings.add(&format!("the file was imported before, as {}", earlier.id));
    }
}

/// What was imported.
struct Imported<'a> {
    snapshot: &'a Snapshot,
    /// Whether the store had no snapshots before.
    store_is_new: bool,
    transferred: Transferred,
}

fn print(session: &Session, imported: &Imported<'_>, file: &Path, taken: Duration) -> Result<(), Failure> {
    let output = session.output;
    let Imported { snapshot, store_is_new, transferred } = *imported;
    let id = session.short(&snapshot.id);
    session.document(&ImportDocument::new(snapshot, file, store_is_new, transferred))?;
    output.line(format_args!("imported {id}"))?;
    if store_is_new {
        output.field("store", format_args!("NEW: there were no snapshots at {} before", session.store))?;
    }
    output.field("name", &snapshot.name)?;
    output.field("file", format_args!("{}, of {}", file.display(), output.time(snapshot.created_at)))?;
    output.field("vectors", shape(snapshot))?;
    output.field("size", ratio(snapshot))?;
    output.field("time", pace(taken, snapshot.vector_count as u64, "records"))?;
    print_transferred(&output, transferred, taken)?;
    output.field("checksum", &snapshot.checksum)?;
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    output.next(&session.command(&format!("verify {}", snapshot.id)))
}

/// Says what a corrupt file means for the store.
fn explained(failure: Failure) -> Failure {
    match failure.kind() {
        kind if kind == kind_name(ErrorKind::Corrupt) => {
            failure.with_hint("no snapshot was created; look for another copy of the file")
        }
        _ => failure,
    }
}
