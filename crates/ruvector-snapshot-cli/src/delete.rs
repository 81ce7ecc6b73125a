//! `delete`: removes the snapshots that the user names.

use std::collections::BTreeMap;

use ruvector_snapshot::{ErrorKind, SnapshotManager};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::fitted;
use crate::session::Session;

pub(crate) async fn delete(session: &Session, texts: &[String]) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let mut ids: Vec<String> = Vec::new();
    for text in texts {
        let id = session.resolve(&manager, text).await.map_err(|failure| nothing_deleted(failure, texts.len()))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let listing = session.read(&manager, manager.list()).await?;
    let names: BTreeMap<String, String> =
        listing.snapshots.into_iter().map(|snapshot| (snapshot.id, snapshot.name)).collect();
    let mut deleted: Vec<&str> = Vec::new();
    for id in &ids {
        delete_one(session, &manager, id).await.map_err(|failure| some_deleted(failure, &deleted))?;
        deleted.push(id);
        match names.get(id) {
            Some(name) => session.output.line(format_args!("deleted {id}  {}", fitted(name, 60)))?,
            None => session.output.line(format_args!("deleted {id}"))?,
        }
    }
    session.output.document(&json!({ "store": session.store, "deleted": deleted }))?;
    Ok(Exit::Done)
}

/// Once begun, a delete is carried to its end: an interrupt is heard between two of them.
async fn delete_one(session: &Session, manager: &SnapshotManager, id: &str) -> Result<(), Failure> {
    session.run(manager, async { Ok(()) }, || "what was not deleted before is as it was".to_owned()).await?;
    match manager.delete_snapshot(id).await {
        // Somebody else has deleted it since it was looked up: what was asked for is the case.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        answer => Ok(answer?),
    }
}

fn nothing_deleted(failure: Failure, asked: usize) -> Failure {
    if asked > 1 { failure.with_hint("nothing was deleted, none of the others either") } else { failure }
}

fn some_deleted(failure: Failure, deleted: &[&str]) -> Failure {
    match deleted {
        [] => failure,
        _ => failure.with_hint(format!("deleted before that: {}", deleted.join(" "))),
    }
}
