//! `pin` and `unpin`: protect snapshots from deletion, and allow it again.

use std::collections::BTreeMap;

use ruvector_snapshot::SnapshotManager;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::fitted;
use crate::session::Session;

pub(crate) async fn pin(session: &Session, texts: &[String]) -> Result<Exit, Failure> {
    let (manager, ids) = resolve(session, texts).await?;
    for id in &ids {
        let after_interrupt = || "some of them may be pinned; `list` shows which".to_owned();
        session.run(&manager, manager.pin_snapshot(id), after_interrupt).await?;
    }
    print(session, &manager, "pinned", &ids).await
}

pub(crate) async fn unpin(session: &Session, texts: &[String]) -> Result<Exit, Failure> {
    let (manager, ids) = resolve(session, texts).await?;
    for id in &ids {
        let after_interrupt = || "some of them may be unpinned; `list` shows which".to_owned();
        session.run(&manager, manager.unpin_snapshot(id), after_interrupt).await?;
    }
    print(session, &manager, "unpinned", &ids).await
}

/// Resolves all of them before anything is written.
async fn resolve(session: &Session, texts: &[String]) -> Result<(SnapshotManager, Vec<String>), Failure> {
    let manager = session.open()?;
    let ids = session.resolve_all(&manager, texts).await.map_err(|failure| match texts.len() {
        0 | 1 => failure,
        _ => failure.with_hint("nothing was changed, not even the others"),
    })?;
    Ok((manager, ids))
}

async fn print(session: &Session, manager: &SnapshotManager, did: &str, ids: &[String]) -> Result<Exit, Failure> {
    let listing = session.read(manager, manager.list()).await?;
    let names: BTreeMap<&str, &str> =
        listing.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), snapshot.name.as_str())).collect();
    for id in ids {
        let name = names.get(id.as_str()).map(|name| format!("  {}", fitted(name, 60))).unwrap_or_default();
        session.output.line(format_args!("{did} {id}{name}"))?;
    }
    session.output.document(&json!({ "store": session.store, did: ids }))?;
    Ok(Exit::Success)
}
