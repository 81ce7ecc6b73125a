//! `pin` and `unpin`: protect snapshots from deletion, and allow it again.

use clap::Args;
use ruvector_snapshot::store::check_access;
use ruvector_snapshot::{ErrorKind, Listing, PinPlan, SnapshotError, SnapshotManager, UnusableSnapshot};

use crate::documents::{PinDocument, PinnedSnapshot};
use crate::failure::{Exit, Failure};
use crate::session::{Session, Several};

pub(crate) const HELP: &str = "\
Protects snapshots from `delete` and `prune` until they are unpinned. Snapshots that they depend on are protected with them. Checks all IDs before the \
first snapshot is pinned. Says which of them were pinned already.

Examples:
  ruvector-snapshot pin before-upgrade
  ruvector-snapshot pin monday tuesday --dry-run
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 pinned; 1 failure; 2 an ID is ambiguous; 3 metadata.json of a snapshot is corrupt or lost; 4 there is no such snapshot; 5 pinned, with warnings.";

pub(crate) const UNPIN_HELP: &str = "\
Allows pinned snapshots to be deleted again. Deletes no snapshot. Checks all IDs before the first snapshot is unpinned. Of the start of an id it takes at \
least 9 characters.

Examples:
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 unpinned; 1 failure; 2 an ID is ambiguous; 3 metadata.json of a snapshot is corrupt or lost; 4 there is no such snapshot; 5 unpinned, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Print what would be changed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Columns of the terminal for a name.
const NAME_COLUMNS: usize = 40;

pub(crate) async fn pin(session: &Session, args: &Ids) -> Result<Exit, Failure> {
    if args.dry_run {
        return plan(session, &args.ids, true).await;
    }
    let Chosen { manager, ids, listing: before } = resolve(session, &args.ids, true).await?;
    for (done, id) in ids.iter().enumerate() {
        let after_interrupt = || "some of them may be pinned; `list` shows which".to_owned();
        let pinned = session.run(&manager, async { Ok(manager.pin_snapshot(id).await) }, after_interrupt).await;
        let pinned = pinned.and_then(|pinned| pinned.map_err(|error| not_changed(&before, &[id], error)));
        pinned.map_err(|failure| after_others(failure, "pinned", ids.iter().take(done)))?;
    }
    warn_of_problems(session, &before, ids.iter().map(String::as_str));
    let was_pinned = |id: &str| before.snapshots.iter().any(|snapshot| snapshot.id == id && snapshot.pinned);
    let changed = ids.iter().map(|id| !was_pinned(id));
    print(session, document(&ids, changed, true, &before), ["pinned", "was already pinned:"])
        .map_err(|failure| failure.with_hint(format!("pinned before that: {}", ids.join(" "))))?;
    Ok(Exit::Success)
}

pub(crate) async fn unpin(session: &Session, args: &Ids) -> Result<Exit, Failure> {
    if args.dry_run {
        return plan(session, &args.ids, false).await;
    }
    let Chosen { manager, ids, listing: before } = resolve(session, &args.ids, false).await?;
    for (done, id) in ids.iter().enumerate() {
        let after_interrupt = || "some of them may be unpinned; `list` shows which".to_owned();
        let unpinned = session.run(&manager, async { Ok(manager.unpin_snapshot(id).await) }, after_interrupt).await;
        let unpinned = unpinned.and_then(|unpinned| unpinned.map_err(|error| not_changed(&before, &[id], error)));
        unpinned.map_err(|failure| after_others(failure, "unpinned", ids.iter().take(done)))?;
    }
    let was_pinned = |id: &str| before.snapshots.iter().all(|snapshot| snapshot.id != id || snapshot.pinned);
    let changed = ids.iter().map(|id| was_pinned(id));
    print(session, document(&ids, changed, false, &before), ["unpinned", "was not pinned:"])
        .map_err(|failure| failure.with_hint(format!("unpinned before that: {}", ids.join(" "))))?;
    Ok(Exit::Success)
}

/// Prints which of the snapshots would be changed.
async fn plan(session: &Session, texts: &[String], pinned: bool) -> Result<Exit, Failure> {
    let Chosen { manager, ids, listing } = resolve(session, texts, pinned).await?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let plan = async {
        Ok(match pinned {
            true => manager.plan_pin(&ids).await,
            false => manager.plan_unpin(&ids).await,
        })
    };
    let PinPlan { snapshots, .. } =
        session.read(&manager, plan).await?.map_err(|error| not_changed(&listing, &ids, error))?;
    if snapshots.iter().any(|planned| planned.changes) {
        check_access(&session.location()?)?;
    }
    if pinned {
        warn_of_problems(session, &listing, ids.iter().copied());
    }
    let planned = snapshots.iter().map(|planned| PinnedSnapshot {
        id: &planned.id,
        name: Some(&planned.name),
        pinned,
        changed: planned.changes,
    });
    let document = PinDocument { dry_run: true, snapshots: planned.collect() };
    let said = if pinned { ["would pin", "is already pinned:"] } else { ["would unpin", "is not pinned:"] };
    print(session, document, said)?;
    session.output.line("nothing was written (--dry-run)")?;
    Ok(Exit::Success)
}

/// The snapshots of a command, and what was in the store before it.
struct Chosen {
    manager: SnapshotManager,
    ids: Vec<String>,
    listing: Listing,
}

/// Resolves all of them, and lists the store for their names, before anything is written: after that, nothing can fail
/// except the writes.
async fn resolve(session: &Session, texts: &[String], pins: bool) -> Result<Chosen, Failure> {
    let manager = session.open()?;
    // What is unpinned can be deleted by the next prune.
    let several = if pins { Several::NewestNamed } else { Several::Refused };
    let ids = session.resolve_to_change(&manager, texts, several, "nothing was changed").await?;
    let listing = session.read(&manager, manager.list()).await?;
    Ok(Chosen { manager, ids, listing })
}

/// Returns the failure of a pin that was not changed. Of a snapshot that has nothing beside it that only a snapshot has, it takes the
/// listing to see that it is lost, and no upload: others depend on it.
fn not_changed(listing: &Listing, ids: &[&str], error: SnapshotError) -> Failure {
    let is_lost = |unusable: &&UnusableSnapshot| {
        ids.contains(&unusable.id.as_str())
            && unusable.error.kind() == ErrorKind::Corrupt
            && !unusable.may_be_restorable()
    };
    let lost = listing.unusable.iter().find(is_lost).filter(|_| error.kind() == ErrorKind::NotFound);
    let Some(UnusableSnapshot { id, error, .. }) = lost else { return Failure::of_search(error) };
    let message = format!("{error}; the pin of snapshot {id} was not changed");
    Failure::new(ErrorKind::Corrupt, message).about(Some(id.clone()))
}

/// Warns of snapshots that a pin keeps, but that cannot be relied on.
fn warn_of_problems<'a>(session: &Session, listing: &Listing, ids: impl IntoIterator<Item = &'a str>) {
    for problem in ids.into_iter().filter_map(|id| listing.problem_of(id)) {
        session.warnings.add(&format!(
            "{problem}; a pin keeps it from being deleted, but it cannot be relied on unless `verify` finds it intact"
        ));
    }
}

/// Says what was done before the failure.
fn after_others<'a>(failure: Failure, did: &str, ids: impl Iterator<Item = &'a String>) -> Failure {
    let done: Vec<&str> = ids.map(String::as_str).collect();
    match done.as_slice() {
        [] => failure,
        done => failure.with_hint(format!("already {did}: {}", done.join(" "))),
    }
}

/// Returns the document of these snapshots: which of them have changed, and what they are now.
fn document<'a>(
    ids: &'a [String],
    changed: impl Iterator<Item = bool>,
    pinned: bool,
    before: &'a Listing,
) -> PinDocument<'a> {
    let name = |id: &str| before.snapshots.iter().find(|snapshot| snapshot.id == id).map(|found| found.name.as_str());
    let snapshots = ids.iter().zip(changed).map(|(id, changed)| PinnedSnapshot { id, name: name(id), pinned, changed });
    PinDocument { dry_run: false, snapshots: snapshots.collect() }
}

/// Prints what was done to those that were changed, and what the others are.
fn print(session: &Session, document: PinDocument<'_>, [did, was]: [&str; 2]) -> Result<(), Failure> {
    for (said, is_changed) in [(did, true), (was, false)] {
        for PinnedSnapshot { id, name, .. } in document.snapshots.iter().filter(|one| one.changed == is_changed) {
            let name = name.map(|name| format!("  {}", session.output.fitted(name, NAME_COLUMNS))).unwrap_or_default();
            session.output.line(format_args!("{said} {}{name}", session.short(id)))?;
        }
    }
    session.document(&document)
}
