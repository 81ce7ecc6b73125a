//! `pin` and `unpin`: protect snapshots from deletion, and allow it again.

use std::collections::BTreeMap;

use clap::Args;
use ruvector_snapshot::{Listing, SnapshotManager};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::output::fitted;
use crate::session::Session;

pub(crate) const HELP: &str = "\
Protects snapshots from `delete` and `prune` until they are unpinned. Snapshots that they depend on are protected with them. Checks all IDs before the \
first snapshot is pinned. Says which of them were pinned already.

Examples:
  ruvector-snapshot pin before-upgrade
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 pinned; 1 failure, or a snapshot does not exist; 2 an ID is ambiguous; 3 a snapshot is corrupt.";

pub(crate) const UNPIN_HELP: &str = "\
Allows pinned snapshots to be deleted again. Deletes no snapshot. Checks all IDs before the first snapshot is unpinned.

Examples:
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 unpinned; 1 failure, or a snapshot does not exist; 2 an ID is ambiguous; 3 a snapshot is corrupt.";

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

pub(crate) async fn pin(session: &Session, texts: &[String]) -> Result<Exit, Failure> {
    let Chosen { manager, ids, listing: before } = resolve(session, texts).await?;
    for (done, id) in ids.iter().enumerate() {
        let after_interrupt = || "some of them may be pinned; `list` shows which".to_owned();
        let pinned = session.run(&manager, manager.pin_snapshot(id), after_interrupt).await;
        pinned.map_err(|failure| after_others(failure, "pinned", ids.iter().take(done)))?;
    }
    let was_pinned = |id: &&String| before.snapshots.iter().any(|snapshot| snapshot.id == **id && snapshot.pinned);
    let (others, pinned): (Vec<_>, Vec<_>) = ids.iter().partition(was_pinned);
    let document = json!({
        "store": session.store, "pinned": pinned, "already_pinned": others, "warnings": session.warnings.list(),
    });
    print(session, [("pinned", &pinned), ("was already pinned:", &others)], &names(&before), &document)
        .map_err(|failure| failure.with_hint(format!("pinned before that: {}", ids.join(" "))))?;
    Ok(Exit::Success)
}

pub(crate) async fn unpin(session: &Session, texts: &[String]) -> Result<Exit, Failure> {
    let Chosen { manager, ids, listing: before } = resolve(session, texts).await?;
    for (done, id) in ids.iter().enumerate() {
        let after_interrupt = || "some of them may be unpinned; `list` shows which".to_owned();
        let unpinned = session.run(&manager, manager.unpin_snapshot(id), after_interrupt).await;
        unpinned.map_err(|failure| after_others(failure, "unpinned", ids.iter().take(done)))?;
    }
    let was_pinned = |id: &&String| before.snapshots.iter().all(|snapshot| snapshot.id != **id || snapshot.pinned);
    let (unpinned, others): (Vec<_>, Vec<_>) = ids.iter().partition(was_pinned);
    let document = json!({
        "store": session.store, "unpinned": unpinned, "not_pinned": others, "warnings": session.warnings.list(),
    });
    print(session, [("unpinned", &unpinned), ("was not pinned:", &others)], &names(&before), &document)
        .map_err(|failure| failure.with_hint(format!("unpinned before that: {}", ids.join(" "))))?;
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
async fn resolve(session: &Session, texts: &[String]) -> Result<Chosen, Failure> {
    let manager = session.open()?;
    let ids = session.resolve_each(&manager, texts, "nothing was changed").await?;
    let listing = session.read(&manager, manager.list()).await?;
    Ok(Chosen { manager, ids, listing })
}

/// Says what was done before the failure.
fn after_others<'a>(failure: Failure, did: &str, ids: impl Iterator<Item = &'a String>) -> Failure {
    let done: Vec<&str> = ids.map(String::as_str).collect();
    match done.as_slice() {
        [] => failure,
        done => failure.with_hint(format!("already {did}: {}", done.join(" "))),
    }
}

fn names(listing: &Listing) -> BTreeMap<&str, &str> {
    listing.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), snapshot.name.as_str())).collect()
}

fn print(
    session: &Session,
    done: [(&str, &Vec<&String>); 2],
    names: &BTreeMap<&str, &str>,
    document: &Value,
) -> Result<(), Failure> {
    for (did, ids) in done {
        for id in ids {
            let name = names.get(id.as_str()).map(|name| format!("  {}", fitted(name, 60))).unwrap_or_default();
            session.output.line(format_args!("{did} {id}{name}"))?;
        }
    }
    session.output.document(document)
}
