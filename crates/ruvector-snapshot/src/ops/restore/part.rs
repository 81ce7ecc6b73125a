//! Restores a part of a snapshot: the records that a filter accepts, to a new database file.

use std::path::Path;
use std::sync::Arc;

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::model::DatabaseInfo;
use tracing::Instrument as _;

use super::plan::{PlannedSelection, RestorePlan};
use super::planning::Planner;
use super::proof::verify_file;
use super::size::Texts;
use super::{RestoreOptions, nothing_to_do, publish, size};
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::progress::{Phase, ProgressCounter};
use crate::repo::chain::Chain;
use crate::repo::context::Context;
use crate::repo::filter::RecordFilter;
use crate::repo::selection::{Put, Selected, check_selected, put_selected, read_selected};
use crate::snapshot::Snapshot;
use crate::source::RestoreTarget as _;
use crate::source::destination::Destination;
use crate::source::destination_checks::{Check, FileSize, Finding, Purpose};
use crate::source::target::FileTarget;
use crate::source::temporary::Temporary;
use crate::store::metered::Meter;
use crate::text;

/// The size of the smallest database: a restore does not know how many records a filter accepts before it reads them.
const PART_SIZE: FileSize = FileSize { least_bytes: 4096, likely_bytes: 4096 };

/// What a restore of a part of a snapshot has written.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PartReport {
    /// The snapshot. It has [`vector_count`](Snapshot::vector_count) records.
    pub snapshot: Snapshot,
    /// The number of records that were restored.
    pub records: u64,
    /// The content checksum of these records. It is not that of the snapshot, unless it has no others.
    pub checksum: String,
}

/// Plans a restore of the records that a filter accepts. Reads them, and writes nothing.
pub(crate) async fn plan_part(
    context: &Context,
    id: &SnapshotId,
    path: &Path,
    filter: &RecordFilter,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let span = tracing::info_span!("plan_restore_part", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        part_planned(context, id, path, filter, options, Counting::Counted(meter)).await.map(|(plan, _)| plan)
    }
    .instrument(span)
    .await
}

/// Restores the records that a filter accepts into a database file.
pub(crate) async fn part_to_file(
    context: &Context,
    id: &SnapshotId,
    path: &Path,
    filter: &RecordFilter,
    options: &RestoreOptions,
) -> Result<PartReport> {
    let span = tracing::info_span!("restore_part", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        let (_, work) = part_planned(context, id, path, filter, options, Counting::NotCounted).await?;
        let Work { chain, database, destination, replaced, temporary } = work.ok_or_else(nothing_to_do)?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let target = context.run_blocking(move || FileTarget::create(destination, temporary)).await?;
        let what = part_of(filter, options, Phase::Restore);
        let (target, records, sum) = put_selected(context, &chain, what, target, put).await?;
        let (verify, listener) = (context.config.verify_checksum, options.progress.clone());
        let finished = context
            .run_blocking(move || {
                let finished = target.finish(&database)?;
                if verify {
                    let mut counter = ProgressCounter::start(listener.as_deref(), Phase::VerifyRestored, records);
                    verify_file(&finished, &database, sum, &mut counter)?;
                }
                Ok(finished)
            })
            .await?;
        replaced.as_ref().map_or(Ok(()), |replaced| check_loss(replaced, records))?;
        publish(context, finished, options, meter).await.map_err(or_merge)?;
        Ok(PartReport { snapshot, records, checksum: sum.to_string() })
    }
    .instrument(span)
    .await
}

fn part_of<'a>(filter: &'a RecordFilter, options: &'a RestoreOptions, phase: Phase) -> Put<'a> {
    Put { filter, progress: options.progress.as_deref(), phase, outcome: "nothing was changed" }
}

/// Whether the records are read before the destination is prepared.
#[derive(Debug, Clone, Copy)]
enum Counting<'a> {
    /// They are, for a plan. This counts what is read.
    Counted(&'a Meter),
    /// The restore counts them while it writes them.
    NotCounted,
}

/// What a restore of a part works with.
#[derive(Debug)]
struct Work {
    chain: Chain,
    database: Arc<DatabaseInfo>,
    destination: Destination,
    replaced: Option<Replaced>,
    temporary: Temporary,
}

/// The database that is replaced.
#[derive(Debug)]
struct Replaced {
    path: String,
    records: u64,
}

/// Plans a restore of a part. For a restore also returns what it works with.
async fn part_planned(
    context: &Context,
    id: &SnapshotId,
    path: &Path,
    filter: &RecordFilter,
    options: &RestoreOptions,
    counting: Counting<'_>,
) -> Result<(RestorePlan, Option<Work>)> {
    let purpose = match counting {
        Counting::Counted(_) => Purpose::Plan,
        Counting::NotCounted => Purpose::Apply,
    };
    let mut planner = Planner::new(context, id, options, purpose).advising(or_merge);
    let destination = planner.check_destination(path).await?;
    let chain = planner.open_chain(id).await?;
    let database = match &chain {
        Some(chain) => planner.describe_database(chain).await?,
        None => None,
    };
    let mut replaced = None;
    if let (Some(destination), Some(database)) = (&destination, &database) {
        let path = destination.path().display().to_string();
        replaced = planner.check_replaced(destination, database).await?.map(|records| Replaced { path, records });
    }
    if let Some(chain) = &chain {
        warn_of_irregular(&mut planner, chain)?;
    }
    let (size, selected) = match (&chain, counting) {
        (_, Counting::NotCounted) => (Some(PART_SIZE), None),
        (None, Counting::Counted(_)) => (None, None),
        (Some(chain), Counting::Counted(meter)) => {
            match count(context, chain, part_of(filter, options, Phase::Stream)).await {
                Ok((size, selected, checked)) => {
                    planner.plan.selection = Some(PlannedSelection::new(&selected, meter));
                    (Some(size), Some(checked.map(|()| selected.records)))
                }
                Err(error) => (None, Some(Err(error))),
            }
        }
    };
    let place = match destination {
        Some(destination) => Some(planner.prepare(destination, size).await?),
        None => None,
    };
    // A restore reads the records last.
    if let Some(records) = selected.map(|selected| planner.findings.unless_refused(selected)).transpose()?.flatten()
        && let Some(replaced) = &replaced
    {
        let verdict = check_loss(replaced, records).map(|()| Finding::Passed);
        planner.findings.add_check(Check { name: "replaced records", verdict })?;
    }
    let work = match (chain, database, place) {
        (Some(chain), Some(database), Some((destination, Some(temporary)))) => {
            Some(Work { chain, database, destination, replaced, temporary })
        }
        _ => None,
    };
    Ok((planner.finish(), work))
}

/// Refuses to replace a database by fewer records than it has.
fn check_loss(Replaced { path, records: has }: &Replaced, records: u64) -> Result<()> {
    if *has <= records {
        return Ok(());
    }
    let message = format!(
        "this database has {}, and replacing it would leave only the {} that are selected",
        text::records(*has),
        text::count(records)
    );
    let advice = "merge the records into it, or choose another path; if it is not needed any more, remove it first";
    let error = SnapshotError::new(ErrorKind::AlreadyExists, message).with_key(path);
    Err(error.with_remedy(Remedy::MergePart, advice))
}

fn warn_of_irregular(planner: &mut Planner<'_>, chain: &Chain) -> Result<()> {
    if let Some(irregular) = &chain.newest()?.metadata.irregular {
        let warning = format!("irregular rows of the snapshot are not restored with a part of it: {irregular}");
        planner.findings.warn(warning);
    }
    Ok(())
}

/// Reads the selected records, and returns how large a database of them is, what was selected, and whether a restore would
/// refuse that.
async fn count(context: &Context, chain: &Chain, what: Put<'_>) -> Result<(FileSize, Selected, Result<()>)> {
    let (texts, selected) = read_selected(context, chain, what, Texts::default(), count_texts).await?;
    let checked = check_selected(chain, what, &selected).await;
    Ok((size::of_state(selected.records, chain.newest()?.metadata.dimensions, texts), selected, checked))
}

fn count_texts(mut texts: Texts, block: Block) -> Result<Texts> {
    block.rows().for_each(|record| texts.add(record.id, record.metadata));
    Ok(texts)
}

/// Replaces the advice to overwrite an existing file, which would leave only the selected records of a whole database.
fn or_merge(error: SnapshotError) -> SnapshotError {
    if error.remedy() != Some(Remedy::Overwrite) {
        return error;
    }
    let part = SnapshotError::new(error.kind(), error.problem());
    let keyed = match error.key() {
        Some(key) => part.with_key(key),
        None => part,
    };
    let advice =
        "merge the records into it, or choose another path; overwriting it would leave only the selected records";
    keyed.with_remedy(Remedy::MergePart, advice)
}

fn put(mut target: FileTarget, block: Block) -> Result<FileTarget> {
    target.put(&mut block.rows())?;
    drop(block);
    target.settle()?;
    Ok(target)
}
