//! `delete`: removes the snapshots that the user names, and with --cascade all that depend on them.

use clap::Args;
use ruvector_snapshot::store::StoreAccess;
use ruvector_snapshot::{DeleteOptions, DeletePlan, Listing, SnapshotManager, UnusableSnapshot};

use crate::confirmation::confirm;
use crate::documents::{DeleteDocument, DeletedSnapshot};
use crate::failure::{Exit, Failure};
use crate::output::{Output, Text, Tone, counted};
use crate::session::{Session, Several};
use crate::threads::run_afterwards;
use crate::verbs::create::plan::print_not_tried;

pub(crate) const HELP: &str = "\
Checks all IDs before the first snapshot is deleted. If one of them does not exist, is pinned, or has a dependent that is not deleted too, nothing is \
deleted. With --cascade, all dependents are deleted as well. A deletion cannot be undone.

A name that several snapshots have is refused, and the error lists them: give the ID of the one that is meant. latest means the newest snapshot of the \
store, of whatever database; what is printed names its time and its source.

A deletion that has started is completed even after an interrupt. If an incremental snapshot is created on a snapshot at the same moment, that \
snapshot is kept. For that, a deletion writes a marker first. In a store where nothing can be written, --exclusive deletes without markers: use it only if \
no other command is at work at the store.

If nothing is left of a database that can be restored, that is a warning.

If standard input is a terminal, it prints what would be deleted to standard error and asks, also with --json and -q, unless --yes is given. A script is \
never asked.

Examples:
  ruvector-snapshot delete 20260131T080000000Z-0123456789abcdef
  ruvector-snapshot delete before-upgrade test-1 test-2
  ruvector-snapshot delete monday --cascade --dry-run

Exit codes: 0 deleted; 1 failure, or a snapshot is pinned or has dependents; 2 an ID is ambiguous, or the question cannot be asked; 4 there is no such snapshot; 5 deleted, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, at least 9 characters of the start of one, names that only one snapshot has, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Also delete all snapshots that depend on them
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) deletion: Deletion,
}

/// The options of every command that deletes snapshots.
#[derive(Debug, Args)]
pub(crate) struct Deletion {
    /// Delete without writing anything to the store. Only if no other command is at work at this store: a snapshot that is
    /// being created could lose its base
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Do not ask on a terminal
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Columns of the terminal for a name.
const NAME_COLUMNS: usize = 40;

pub(crate) async fn delete(session: &Session, args: &Delete) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let ids = session.resolve_to_change(&manager, &args.ids, Several::Refused, "nothing was deleted").await?;
    let given: Vec<&str> = ids.iter().map(String::as_str).collect();
    let listing = session.read(&manager, manager.list()).await?;
    let plan = session.read(&manager, manager.plan_delete(&given, args.cascade)).await?;
    let snapshots: Vec<_> = plan.ids.iter().map(|id| DeletedSnapshot::of(&listing, id)).collect();
    let losses = losses(&plan, &listing);
    if !args.dry_run {
        if !args.deletion.yes {
            let question = format!("delete {}? This cannot be undone.", counted(plan.ids.len() as u64, "snapshot"));
            let print_plan = |output| print_snapshots(session, output, "would delete", (&snapshots, &losses));
            confirm(session, &question, print_plan).await?;
        }
        apply(session, &manager, &plan, args.deletion.exclusive).await?;
    }
    losses.iter().for_each(|loss| session.warnings.add(&format!("NO SNAPSHOT{loss}")));
    print(session, args.dry_run, &plan, snapshots).map_err(|failure| match args.dry_run {
        true => failure,
        false => failure.with_hint(format!("deleted before that: {}", plan.ids.join(" "))),
    })?;
    Ok(Exit::Success)
}

/// Returns what is left of the databases, as far as it is known: the reason to think again.
fn losses(plan: &DeletePlan, listing: &Listing) -> Vec<String> {
    let lost = plan.unprotected.iter();
    let lost = lost.map(|database| {
        format!(" of {database} that can be restored and has records is left after that, as far as is known")
    });
    let is_unread = listing.unusable.iter().any(UnusableSnapshot::is_unread);
    let unknown = is_unread.then(|| {
        " may be left of a database after that: a snapshot cannot be read, so it is not known; `list` prints why"
            .to_owned()
    });
    lost.chain(unknown).collect()
}

fn print(
    session: &Session,
    dry_run: bool,
    plan: &DeletePlan,
    snapshots: Vec<DeletedSnapshot<'_>>,
) -> Result<(), Failure> {
    let did = if dry_run { "would delete" } else { "deleted" };
    print_snapshots(session, session.output, did, (&snapshots, &[]))?;
    let mut access = None;
    if dry_run {
        access = Some(session.check_access()?);
        print_not_tried(session, access)?;
        session.output.line("nothing was deleted (--dry-run)")?;
    }
    let deleted: &[String] = if dry_run { &[] } else { &plan.ids };
    let write_checked = access.map(StoreAccess::is_known);
    let DeletePlan { ids, unprotected, .. } = plan;
    session.document(&DeleteDocument { dry_run, write_checked, plan: ids, snapshots, unprotected, deleted })
}

/// Prints a line for each snapshot, with what shows whether it is the one that is meant.
fn print_snapshots(
    session: &Session,
    output: Output,
    did: &str,
    (snapshots, losses): (&[DeletedSnapshot<'_>], &[String]),
) -> Result<(), Failure> {
    snapshots.iter().try_for_each(|snapshot| {
        let name = snapshot.name.map(|name| output.fitted(name, NAME_COLUMNS));
        let time = snapshot.created_at.map(|time| output.time(time));
        let details = name.into_iter().chain(time).chain(snapshot.source_id.clone());
        let details: String = details.map(|detail| format!("  {detail}")).collect();
        output.line(format_args!("{did} {}{details}", session.short(snapshot.id)))
    })?;
    losses.iter().try_for_each(|loss| output.line(Text::default().tone(Tone::Bad, "NO SNAPSHOT").add(loss)))
}

/// Applies the plan. A deletion that has started is completed: an interrupt takes effect before it or after it.
async fn apply(
    session: &Session,
    manager: &SnapshotManager,
    plan: &DeletePlan,
    exclusive: bool,
) -> Result<(), Failure> {
    let options = DeleteOptions::default().exclusive(exclusive);
    let after_interrupt = {
        let (manager, ids) = (manager.clone(), plan.ids.clone());
        move || report(&manager, &ids)
    };
    let work = async { Ok(manager.apply_delete_with(plan, &options).await) };
    let Err(error) = session.run(manager, work, after_interrupt).await? else { return Ok(()) };
    Err(Failure::from(error).with_outcome(&what_was_deleted(manager.list().await.ok(), &plan.ids)))
}

/// Reports what an interrupted deletion has deleted. Called when no runtime is at work.
pub(crate) fn report(manager: &SnapshotManager, ids: &[String]) -> String {
    what_was_deleted(run_afterwards(manager.list()).and_then(Result::ok), ids)
}

/// Says which of these snapshots were deleted, as far as the listing shows.
pub(crate) fn what_was_deleted(listing: Option<Listing>, ids: &[String]) -> String {
    let Some(listing) = listing else { return "what was deleted could not be checked; `list` shows it".to_owned() };
    let snapshots = listing.snapshots.iter().map(|snapshot| &snapshot.id);
    let unusable = listing.unusable.iter().map(|unusable| &unusable.id);
    // A snapshot without metadata.json is listed as an upload once nothing depends on it.
    let existing: Vec<&String> = snapshots.chain(unusable).chain(&listing.pending_uploads).collect();
    let (kept, deleted): (Vec<&str>, Vec<&str>) =
        ids.iter().map(String::as_str).partition(|id| existing.iter().any(|other| other == id));
    match (deleted.as_slice(), kept.as_slice()) {
        ([], _) => "nothing was deleted".to_owned(),
        (deleted, []) if deleted.iter().any(|id| listing.deleting.iter().any(|deleting| deleting == id)) => {
            "all of them were deleted, but some of their objects are left; `list` shows which".to_owned()
        }
        ([_], []) => "the snapshot was deleted".to_owned(),
        (_, []) => "all of them were deleted".to_owned(),
        (deleted, kept) => format!("deleted: {}; kept: {}", deleted.join(" "), kept.join(" ")),
    }
}
