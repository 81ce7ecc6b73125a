//! `show`: everything that is known of one snapshot without reading its data.

use ruvector_snapshot::{ErrorKind, Snapshot, SnapshotManager};
use serde_json::json;

use crate::args::Show;
use crate::failure::{Exit, Failure};
use crate::output::{kind, moment, ratio, shape, size};
use crate::session::Session;

pub(crate) async fn show(session: &Session, args: &Show) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let Some(snapshot) = session.read(&manager, manager.get_snapshot(&id)).await.map_err(hinted)? else {
        return Err(Failure::new(ErrorKind::NotFound, format!("the snapshot {id} has just been deleted")));
    };
    let damage = damage_seen(session, &manager, &id).await?;
    session.output.document(&json!({ "snapshot": snapshot, "store": session.store, "damage": damage }))?;
    print(session, &snapshot)?;
    let Some(damage) = damage else { return Ok(Exit::Done) };
    session.output.field("DAMAGED", damage)?;
    Ok(Exit::Damage)
}

fn print(session: &Session, snapshot: &Snapshot) -> Result<(), Failure> {
    let output = session.output;
    output.line(format_args!("snapshot {}", snapshot.id))?;
    output.field("name", &snapshot.name)?;
    output.field("created", moment(snapshot.created_at))?;
    output.field("type", kind(&snapshot.snapshot_type))?;
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
async fn damage_seen(session: &Session, manager: &SnapshotManager, id: &str) -> Result<Option<String>, Failure> {
    let listing = session.read(manager, manager.list()).await?;
    let damaged = listing.damaged.into_iter().find(|damaged| damaged.id == id);
    Ok(damaged.map(|damaged| damaged.error.to_string()))
}

fn hinted(failure: Failure) -> Failure {
    match failure.exit() {
        Exit::Damage => failure.with_hint("verify looks at all of it; other snapshots are not concerned"),
        _ => failure,
    }
}
