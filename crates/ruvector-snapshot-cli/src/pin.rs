//! `pin` and `unpin`: what can be deleted, and what not.

use std::collections::BTreeMap;

use ruvector_snapshot::SnapshotManager;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::fitted;
use crate::session::Session;

pub(crate) async fn pin(session: &Session, texts: &[String]) -> Result<Exit, Failure> {
    let (manager, ids) = found(session, texts).await?;
    for id in &ids {
        let aftermath = || "some of them may be pinned; list shows which".to_owned();
        session.run(&manager, manager.pin_snapshot(id), aftermath).await?;
    }
    told(session, &manager, "pinned", &ids).await
}

pub(crate) async fn unpin(session: &Session, texts: &[String]) -> Result<Exit, Failure> {
    let (manager, ids) = found(session, texts).await?;
    for id in &ids {
        let aftermath = || "some of them may be unpinned; list shows which".to_owned();
        session.run(&manager, manager.unpin_snapshot(id), aftermath).await?;
    }
    told(session, &manager, "unpinned", &ids).await
}

/// All of them are looked up before anything is written.
async fn found(session: &Session, texts: &[String]) -> Result<(SnapshotManager, Vec<String>), Failure> {
    let manager = session.open()?;
    let ids = session.resolve_all(&manager, texts).await.map_err(|failure| match texts.len() {
        0 | 1 => failure,
        _ => failure.with_hint("nothing was changed, none of the others either"),
    })?;
    Ok((manager, ids))
}

async fn told(session: &Session, manager: &SnapshotManager, did: &str, ids: &[String]) -> Result<Exit, Failure> {
    let listing = session.read(manager, manager.list()).await?;
    let names: BTreeMap<&str, &str> =
        listing.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), snapshot.name.as_str())).collect();
    for id in ids {
        let name = names.get(id.as_str()).map(|name| format!("  {}", fitted(name, 60))).unwrap_or_default();
        session.output.line(format_args!("{did} {id}{name}"))?;
    }
    session.output.document(&json!({ "store": session.store, did: ids }))?;
    Ok(Exit::Done)
}
