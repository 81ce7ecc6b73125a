//! `prune`: deletes all but the newest snapshots, as the plan that it prints says.

use ruvector_snapshot::Snapshot;
use serde_json::json;

use crate::args::Prune;
use crate::failure::{Exit, Failure};
use crate::output::{counted, fitted, moment, size};
use crate::session::Session;

pub(crate) async fn prune(session: &Session, args: &Prune) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let plan = session.read(&manager, manager.plan_cleanup(args.keep)).await?;
    let output = session.output;
    plan.keep.iter().try_for_each(|snapshot| line(session, "keep", snapshot))?;
    plan.drop.iter().try_for_each(|snapshot| line(session, "drop", snapshot))?;
    let deleted = match args.dry_run {
        true => 0,
        false => {
            let aftermath = || "some snapshots may have been deleted; list shows what is left".to_owned();
            session.run(&manager, manager.carry_out(&plan), aftermath).await?
        }
    };
    output.document(&json!({
        "store": session.store, "dry_run": args.dry_run, "keep": plan.keep, "drop": plan.drop, "deleted": deleted,
    }))?;
    let kept = counted(plan.keep.len() as u64, "snapshot");
    let freed = size(plan.drop.iter().map(|snapshot| snapshot.size_bytes).sum());
    output.line(match (plan.drop.len(), args.dry_run) {
        (0, _) => format!("{kept} kept, nothing to delete"),
        (dropped, true) => format!("would keep {kept} and delete {dropped}, {freed}; nothing was deleted (--dry-run)"),
        (_, false) => format!("{kept} kept, {deleted} deleted, {freed} freed"),
    })?;
    Ok(Exit::Done)
}

fn line(session: &Session, verdict: &str, snapshot: &Snapshot) -> Result<(), Failure> {
    let (id, time, name) = (&snapshot.id, moment(snapshot.created_at), fitted(&snapshot.name, 40));
    session.output.line(format_args!("{verdict}  {id}  {time}  {name}"))
}
