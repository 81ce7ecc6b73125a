//! `show`: everything that is known of one snapshot without reading its data.

use ruvector_snapshot::{ErrorKind, Listing, Snapshot, SnapshotManager};
use serde_json::json;

use crate::args::Show;
use crate::chains::{Chains, base_id};
use crate::failure::{Exit, Failure};
use crate::output::{changes, counted, moment, ratio, shape, size};
use crate::session::Session;

/// So many of the snapshots that stand on one are named.
const ABOVE_SHOWN: usize = 40;

pub(crate) async fn show(session: &Session, args: &Show) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let Some(snapshot) = session.read(&manager, manager.get_snapshot(&id)).await.map_err(hinted)? else {
        return Err(Failure::new(ErrorKind::NotFound, format!("the snapshot {id} has just been deleted")));
    };
    let listing = session.read(&manager, manager.list()).await?;
    let (chain, broken) = chain(session, &manager, &snapshot).await?;
    let damage = damage_seen(&listing, &id).or(broken);
    let above = Chains::new(&listing).above(&id);
    let chain_ids: Vec<&str> = chain.iter().skip(1).map(|below| below.id.as_str()).collect();
    session.output.document(&json!({
        "snapshot": snapshot, "store": session.store, "damage": damage, "base_id": base_id(&snapshot),
        "chain": chain_ids, "chain_snapshots": chain, "needed_by": above,
    }))?;
    print(session, &snapshot)?;
    print_chain(session, &chain, &above)?;
    let Some(damage) = damage else { return Ok(Exit::Done) };
    session.output.field("DAMAGED", damage)?;
    Ok(Exit::Damage)
}

/// The snapshot and what it stands on, or itself alone and what is wrong with its chain.
async fn chain(
    session: &Session,
    manager: &SnapshotManager,
    snapshot: &Snapshot,
) -> Result<(Vec<Snapshot>, Option<String>), Failure> {
    match session.read(manager, async { Ok(manager.chain(&snapshot.id).await) }).await? {
        Ok(chain) => Ok((chain, None)),
        Err(error) if error.kind() == ErrorKind::Damaged => Ok((vec![snapshot.clone()], Some(error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

/// What it stands on, with sizes, and what stands on it.
fn print_chain(session: &Session, chain: &[Snapshot], above: &[&str]) -> Result<(), Failure> {
    let output = session.output;
    if chain.len() > 1 {
        let bytes = chain.iter().map(|snapshot| snapshot.size_bytes).sum();
        let length = counted(chain.len() as u64, "snapshot");
        output.field("chain", format_args!("{length}, {}, all of which a restore reads:", size(bytes)))?;
        for snapshot in chain {
            let stored = snapshot.changes.as_ref().map_or_else(|| "full".to_owned(), changes);
            let pinned = if snapshot.pinned { ", pinned" } else { "" };
            let (id, size) = (&snapshot.id, size(snapshot.size_bytes));
            output.field("", format_args!("{id}  {size:>11}  {stored}{pinned}"))?;
        }
    }
    for (at, id) in above.iter().take(ABOVE_SHOWN).enumerate() {
        output.field(if at == 0 { "needed by" } else { "" }, id)?;
    }
    match above.len().checked_sub(ABOVE_SHOWN) {
        Some(more) if more > 0 => output.field("", format_args!("and {more} more")),
        _ => Ok(()),
    }
}

fn print(session: &Session, snapshot: &Snapshot) -> Result<(), Failure> {
    let output = session.output;
    output.line(format_args!("snapshot {}", snapshot.id))?;
    output.field("name", &snapshot.name)?;
    output.field("created", moment(snapshot.created_at))?;
    match base_id(snapshot) {
        None => output.field("type", "full")?,
        Some(base_id) => output.field("type", format_args!("increment, on {base_id}"))?,
    }
    output.field("pinned", if snapshot.pinned { "yes, it cannot be deleted" } else { "no" })?;
    if let Some(stored) = &snapshot.changes {
        output.field("changes", changes(stored))?;
    }
    output.field("vectors", shape(snapshot))?;
    output.field("size", ratio(snapshot))?;
    for (file, bytes) in &snapshot.files {
        output.field("", format_args!("{file:<16}  {:>11}  {bytes} bytes", size(*bytes)))?;
    }
    output.field("checksum", &snapshot.checksum)?;
    let commit = snapshot.source.transaction_id.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    output.field("source", format_args!("a database in a {}{commit}", snapshot.source.kind))?;
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    for (at, (key, value)) in snapshot.labels.iter().enumerate() {
        output.field(if at == 0 { "labels" } else { "" }, format_args!("{key}={value}"))?;
    }
    if !snapshot.metadata.is_null() {
        output.field("metadata", &snapshot.metadata)?;
    }
    output.field("written by", &snapshot.writer)?;
    output.field("stored in", format_args!("snapshot-{} at {}", snapshot.id, session.store))
}

/// Damage that shows in the listing, as a file that is missing.
fn damage_seen(listing: &Listing, id: &str) -> Option<String> {
    listing.damaged.iter().find(|damaged| damaged.id == id).map(|damaged| damaged.error.to_string())
}

fn hinted(failure: Failure) -> Failure {
    match failure.exit() {
        Exit::Damage => failure.with_hint("verify looks at all of it; other snapshots are not concerned"),
        _ => failure,
    }
}
