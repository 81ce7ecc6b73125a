//! `compact`: turns incremental snapshots into full ones.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::{CompactPlan, ErrorKind, Listing, Snapshot, SnapshotManager, Transferred};

use crate::documents::{CompactDocument, CompactPlanDocument, CompactedDocument, PlannedCompactionDocument};
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{counted, pace, print_transferred, shape, shape_of, size, total};
use crate::progress::ProgressDisplay;
use crate::session::{Session, Several};
use crate::several::Outcomes;
use crate::verbs::create::plan::print_end;
use crate::verbs::space::{self, Needed, print_free};

pub(crate) const HELP: &str = "\
Reads the chain of an incremental snapshot and stores its state as a full snapshot. The database is not needed. The new snapshot has the name, the time \
and the content checksum of the incremental one. The chain is kept; delete it when you no longer need it. A compact that fails or is interrupted leaves \
no new snapshot. All IDs are checked before the first is compacted; if one fails, the others are compacted all the same.

If there is a full snapshot already that a compact of it has stored, and it was not found corrupt, nothing is stored. To store another one, delete that one.

With --dry-run, everything is checked that can be checked without the records: metadata.json and its seal, the block directories, the sizes of the files. \
Corruption of records is not found: `verify` finds it. The command warns if the file system of a directory may have too little space for all new snapshots.

Examples:
  ruvector-snapshot compact latest
  ruvector-snapshot compact monday tuesday
  ruvector-snapshot compact latest --dry-run
  ruvector-snapshot compact 20260131T080000000Z-0123456789abcdef \\
      --store s3://bucket/backups

Exit codes: 0 stored, or there already; 1 failure, there is no new snapshot unless the error says that there may be one, or a snapshot is already full; 2 an ID \
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
    let ids = session.resolve_to_change(&manager, &args.ids, Several::NewestNamed, "nothing was compacted").await?;
    let listing = session.read(&manager, manager.list()).await?;
    let ids = incremental(&listing, ids);
    if args.dry_run {
        return plan(session, &manager, &ids).await;
    }
    let mut outcomes = Outcomes::of(ids.len());
    for id in &ids {
        let answer =
            compact_one(session, &manager, id, listing.compacted_copy(id)).await.map(|done| (done, Exit::Success));
        let added = outcomes.add(session, id, answer);
        let printed = added.and_then(|()| outcomes.last_done().map_or(Ok(()), |done| print(session, done)));
        printed.map_err(|failure| after(failure, &outcomes))?;
    }
    let snapshots = outcomes.documents::<CompactedDocument<'_>>();
    session.document(&CompactDocument { snapshots }).map_err(|failure| after(failure, &outcomes))?;
    Ok(outcomes.exit())
}

/// Replaces each full snapshot that a compact has stored by the incremental one: a name means the newest that has it, and after a
/// compact that is the full one.
fn incremental(listing: &Listing, ids: Vec<String>) -> Vec<String> {
    let mut incremental: Vec<String> = Vec::new();
    for id in ids {
        let id = listing.compacted_from(&id).map_or(id, |from| from.id.clone());
        if !incremental.contains(&id) {
            incremental.push(id);
        }
    }
    incremental
}

/// Names the snapshots that were created before the failure, unless it has a hint of its own.
fn after(failure: Failure, outcomes: &Outcomes<Compacted>) -> Failure {
    let new = outcomes.done().filter(|done| !done.is_existing);
    let ids: Vec<&str> = new.map(|done| done.snapshot.id.as_str()).collect();
    match ids.as_slice() {
        [] => failure,
        [id] => failure.after_create(id),
        ids => failure
            .with_hint(format!("these snapshots were created before that, and they are complete: {}", ids.join(" "))),
    }
}

/// A full snapshot of the state of a chain.
struct Compacted {
    snapshot: Snapshot,
    /// Whether it was there before.
    is_existing: bool,
    /// The ids of the chain that it was made from, the newest first.
    from: Vec<String>,
    chain_bytes: u64,
    taken: (Transferred, Duration),
}

impl<'a> From<&'a Compacted> for CompactedDocument<'a> {
    fn from(compacted: &'a Compacted) -> Self {
        let Compacted { snapshot, is_existing, from, chain_bytes, taken: (transferred, _) } = compacted;
        Self::new((snapshot, *is_existing), from, *chain_bytes, *transferred)
    }
}

async fn compact_one(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    existing: Option<&Snapshot>,
) -> Result<Compacted, Failure> {
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
    let is_existing = existing.is_some();
    let (snapshot, transferred) = if let Some(existing) = existing {
        (existing.clone(), Transferred::default())
    } else {
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
        is_existing,
    })
}

/// Prints what would be stored.
async fn plan(session: &Session, manager: &SnapshotManager, ids: &[String]) -> Result<Exit, Failure> {
    let mut outcomes = Outcomes::of(ids.len());
    for id in ids {
        let answer = session.read(manager, manager.plan_compact(id)).await.map(|plan| (plan, Exit::Success));
        outcomes.add(session, id, answer)?;
        if let Some(plan) = outcomes.last_done() {
            plan.warnings.iter().for_each(|warning| session.warnings.add(warning));
            print_plan(session, plan)?;
        }
    }
    let access = session.check_access()?;
    let new = outcomes.done().filter(|plan| plan.existing.is_none());
    let needed = Needed::at_most(total(new.map(|plan| plan.stored_bytes_max)));
    let free = space::check_store(session, &session.location()?, needed)?;
    session.document(&CompactPlanDocument::new(access, free, outcomes.documents::<PlannedCompactionDocument<'_>>()))?;
    print_free(session, "store free", free)?;
    print_end(session, access)?;
    Ok(outcomes.exit())
}

fn print_plan(session: &Session, plan: &CompactPlan) -> Result<(), Failure> {
    let output = session.output;
    if let Some(existing) = &plan.existing {
        let (full, id) = (session.short(existing), session.short(&plan.id));
        return output.line(format_args!("exists  {full}, the full snapshot of {id}; nothing would be stored"));
    }
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
    let Compacted { snapshot, is_existing, from, chain_bytes, taken: (transferred, taken) } = compacted;
    let from_id = from.first().map(String::as_str).unwrap_or_default();
    if *is_existing {
        let (full, from) = (session.short(&snapshot.id), session.short(from_id));
        return output.line(format_args!("exists  {full}, the full snapshot of {from}; nothing was stored"));
    }
    output.line(format_args!("created {}, full", session.short(&snapshot.id)))?;
    output.field("from", session.short(from_id))?;
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
