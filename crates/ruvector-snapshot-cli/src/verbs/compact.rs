//! `compact`: turns incremental snapshots into full ones.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::{CompactPlan, ErrorKind, Snapshot, SnapshotManager, Transferred};

use crate::documents::{CompactDocument, CompactPlanDocument, CompactedDocument, PlannedCompactionDocument};
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{counted, pace, print_transferred, shape, shape_of, size, total};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::several::Outcomes;
use crate::verbs::create::plan::print_end;

pub(crate) const HELP: &str = "\
Reads the chain of an incremental snapshot and stores its state as a full snapshot. The database is not needed. The new snapshot has the name, the time \
and the content checksum of the incremental one. The chain is kept; delete it when you no longer need it. A compact that fails or is interrupted leaves \
no new snapshot. All IDs are checked before the first is compacted; if one fails, the others are compacted all the same.

With --dry-run, everything is checked that can be checked without the records: metadata.json and its seal, the block directories, the sizes of the files. \
Corruption of records is not found: `verify` finds it.

Examples:
  ruvector-snapshot compact latest
  ruvector-snapshot compact monday tuesday
  ruvector-snapshot compact latest --dry-run
  ruvector-snapshot compact 20260131T080000000Z-0123456789abcdef \\
      --store s3://bucket/backups

Exit codes: 0 stored; 1 failure, there is no new snapshot unless the error says that there may be one, or a snapshot is already full; 2 an ID \
is ambiguous; 3 a chain is corrupt; 4 there is no such snapshot; 5 stored, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Print what would be read and stored. Writes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn compact(session: &Session, args: &Compact) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let ids = session.resolve_each(&manager, &args.ids, "nothing was compacted").await?;
    if args.dry_run {
        return plan(session, &manager, &ids).await;
    }
    let mut outcomes = Outcomes::of(ids.len());
    for id in &ids {
        let answer = compact_one(session, &manager, id).await.map(|done| (done, Exit::Success));
        let added = outcomes.add(session, id, answer);
        let printed = added.and_then(|()| outcomes.last_done().map_or(Ok(()), |done| print(session, done)));
        printed.map_err(|failure| after(failure, &outcomes))?;
    }
    let snapshots = outcomes.documents::<CompactedDocument<'_>>();
    session.document(&CompactDocument { snapshots }).map_err(|failure| after(failure, &outcomes))?;
    Ok(outcomes.exit())
}

/// Names the snapshots that were created before the failure, unless it has a hint of its own.
fn after(failure: Failure, outcomes: &Outcomes<Compacted>) -> Failure {
    let ids: Vec<&str> = outcomes.done().map(|done| done.snapshot.id.as_str()).collect();
    match ids.as_slice() {
        [] => failure,
        [id] => failure.after_create(id),
        ids => failure
            .with_hint(format!("these snapshots were created before that, and they are complete: {}", ids.join(" "))),
    }
}

/// A new snapshot.
struct Compacted {
    snapshot: Snapshot,
    /// The ids of the chain that it was made from, the newest first.
    from: Vec<String>,
    chain_bytes: u64,
    taken: (Transferred, Duration),
}

impl<'a> From<&'a Compacted> for CompactedDocument<'a> {
    fn from(compacted: &'a Compacted) -> Self {
        let Compacted { snapshot, from, chain_bytes, taken: (transferred, _) } = compacted;
        Self::new(snapshot, from, *chain_bytes, *transferred)
    }
}

async fn compact_one(session: &Session, manager: &SnapshotManager, id: &str) -> Result<Compacted, Failure> {
    let chain = session.read(manager, manager.chain(id)).await;
    // What is wrong with stored data is reported by the compaction, which says what that was fatal to.
    let is_of_data =
        |failure: &Failure| [ErrorKind::Corrupt, ErrorKind::Unsupported].map(kind_name).contains(&failure.kind());
    let chain = match chain {
        Err(failure) if !is_of_data(&failure) => return Err(failure),
        chain => chain,
    };
    let started = Instant::now();
    let attempts = Attempts::default();
    let (snapshot, transferred) = {
        let progress = ProgressDisplay::new(session, &attempts);
        let after_interrupt = attempts.report(manager, session.location()?);
        let work = manager.compact_snapshot(id, Some(progress.listener()));
        (session.run(manager, work, after_interrupt).await?, progress.transferred())
    };
    let chain = chain?;
    let taken = started.elapsed();
    session.ids.add(&snapshot.id);
    Ok(Compacted {
        from: chain.iter().map(|member| member.id.clone()).collect(),
        chain_bytes: total(chain.iter().map(|member| member.size_bytes)),
        taken: (transferred, taken),
        snapshot,
    })
}

/// Prints what would be stored.
async fn plan(session: &Session, manager: &SnapshotManager, ids: &[String]) -> Result<Exit, Failure> {
    let mut outcomes = Outcomes::of(ids.len());
    for id in ids {
        let answer = session.read(manager, manager.plan_compact(id)).await.map(|plan| (plan, Exit::Success));
        outcomes.add(session, id, answer)?;
        if let Some(plan) = outcomes.last_done() {
            print_plan(session, plan)?;
        }
    }
    let access = session.check_access()?;
    session.document(&CompactPlanDocument::new(access, outcomes.documents::<PlannedCompactionDocument<'_>>()))?;
    print_end(session, access)?;
    Ok(outcomes.exit())
}

fn print_plan(session: &Session, plan: &CompactPlan) -> Result<(), Failure> {
    let output = session.output;
    output.line(format_args!("would compact {} into a full snapshot", session.short(&plan.id)))?;
    output.field("name", &plan.name)?;
    output.field("taken", output.time(plan.created_at))?;
    output
        .field("chain", format_args!("{}, {}", counted(plan.chain.len() as u64, "snapshot"), size(plan.chain_bytes)))?;
    output.field("vectors", shape_of(plan.records, plan.dimensions, plan.distance_metric.as_deref()))?;
    output.field("size", format_args!("{} in the store at most", size(plan.stored_bytes_max)))?;
    output.field("checksum", &plan.checksum)?;
    plan.not_captured.iter().try_for_each(|what| output.field("not captured", what))
}

fn print(session: &Session, compacted: &Compacted) -> Result<(), Failure> {
    let output = session.output;
    let Compacted { snapshot, from, chain_bytes, taken: (transferred, taken) } = compacted;
    output.line(format_args!("created {}, full", session.short(&snapshot.id)))?;
    output.field("from", session.short(from.first().map(String::as_str).unwrap_or_default()))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", output.time(snapshot.created_at))?;
    output.field("vectors", shape(snapshot))?;
    let length = counted(from.len() as u64, "snapshot");
    let sizes = format!("{} in the store; its chain of {length} has {}", size(snapshot.size_bytes), size(*chain_bytes));
    output.field("size", sizes)?;
    output.field("time", pace(*taken, snapshot.vector_count as u64, "records"))?;
    print_transferred(&output, *transferred, *taken)?;
    output.field("verified", "the content checksum is that of the incremental snapshot:")?;
    output.field("", &snapshot.checksum)?;
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    output.line("the chain was kept; delete its snapshots by their ids when you no longer need them")
}
