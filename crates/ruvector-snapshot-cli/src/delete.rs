//! `delete`: removes the snapshots that the user names, and with --cascade what stands on them.

use std::collections::BTreeMap;

use ruvector_snapshot::{DeletePlan, Listing, SnapshotManager};
use serde_json::json;

use crate::args::Delete;
use crate::chains::Chains;
use crate::failure::{Exit, Failure};
use crate::output::fitted;
use crate::session::Session;

pub(crate) async fn delete(session: &Session, args: &Delete) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let several = args.ids.len() > 1;
    let ids = session.resolve_all(&manager, &args.ids).await.map_err(|failure| match several {
        true => failure.with_hint("nothing was deleted, none of the others either"),
        false => failure,
    })?;
    let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
    let listing = session.read(&manager, manager.list()).await?;
    let plan = session.read(&manager, manager.plan_delete(&asked, args.cascade)).await;
    let plan = plan.map_err(|failure| match args.cascade || !is_needed(&listing, &asked) {
        true => failure,
        false => {
            failure.with_hint("nothing was deleted; --cascade deletes those too, with --dry-run it only says which")
        }
    })?;
    let names: BTreeMap<&str, &str> =
        listing.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), snapshot.name.as_str())).collect();
    if !args.dry_run {
        carry_out(session, &manager, &plan).await?;
    }
    let did = if args.dry_run { "would delete" } else { "deleted" };
    for id in &plan.ids {
        let name = names.get(id.as_str()).map(|name| format!("  {}", fitted(name, 60))).unwrap_or_default();
        session.output.line(format_args!("{did} {id}{name}"))?;
    }
    if args.dry_run {
        session.output.line("nothing was deleted (--dry-run)")?;
    }
    let deleted: &[String] = if args.dry_run { &[] } else { &plan.ids };
    session.output.document(&json!({
        "store": session.store, "dry_run": args.dry_run, "plan": plan.ids, "deleted": deleted,
    }))?;
    Ok(Exit::Done)
}

/// Once begun, a delete is carried to its end: an interrupt is heard before it, and after it.
async fn carry_out(session: &Session, manager: &SnapshotManager, plan: &DeletePlan) -> Result<(), Failure> {
    let aftermath = {
        let (manager, ids) = (manager.clone(), plan.ids.clone());
        move || aftermath(&manager, &ids)
    };
    let work = async { Ok(manager.carry_out_delete(plan).await) };
    let Err(error) = session.run(manager, work, aftermath).await? else { return Ok(()) };
    Err(Failure::from(error).with_hint(what_is_left(manager.list().await.ok(), &plan.ids)))
}

/// What an interrupt has left of these. To be called where no runtime is at work.
pub(crate) fn aftermath(manager: &SnapshotManager, ids: &[String]) -> String {
    let listing = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()
        .and_then(|runtime| runtime.block_on(manager.list()).ok());
    what_is_left(listing, ids)
}

/// What is left of these, in words, also where there is no listing to tell.
pub(crate) fn what_is_left(listing: Option<Listing>, ids: &[String]) -> String {
    let Some(listing) = listing else { return "what was deleted could not be looked at; list shows it".to_owned() };
    let snapshots = listing.snapshots.iter().map(|snapshot| &snapshot.id);
    let damaged = listing.damaged.iter().map(|damaged| &damaged.id);
    // One that has lost its metadata.json is unfinished again once nothing stands on it.
    let there: Vec<&String> = snapshots.chain(damaged).chain(&listing.unfinished).collect();
    let (left, gone): (Vec<&str>, Vec<&str>) =
        ids.iter().map(String::as_str).partition(|id| there.iter().any(|t| t == id));
    match (gone.as_slice(), left.as_slice()) {
        ([], _) => "nothing was deleted".to_owned(),
        (gone, []) if gone.iter().any(|id| listing.deleting.iter().any(|deleting| deleting == id)) => {
            "all of them are deleted, but some of their files are left; list shows of which".to_owned()
        }
        (_, []) => "everything that was asked for is deleted all the same".to_owned(),
        (gone, left) => format!("deleted are {}; still there are {}", gone.join(" "), left.join(" ")),
    }
}

/// Whether anything that is to stay stands on them.
fn is_needed(listing: &Listing, asked: &[&str]) -> bool {
    let chains = Chains::new(listing);
    asked.iter().flat_map(|id| chains.above(id)).any(|above| !asked.contains(&above))
}
