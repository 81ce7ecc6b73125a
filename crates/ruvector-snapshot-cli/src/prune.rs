//! `prune`: deletes the snapshots that no rule keeps, as the plan that it prints says.

use std::fmt::Display;

use ruvector_snapshot::{
    DeleteReport, Leftover, LeftoverKind, PrunePlan, PrunePolicy, Snapshot, SnapshotConfig, SnapshotManager,
};
use serde_json::json;

use crate::args::Prune;
use crate::delete;
use crate::failure::{Exit, Failure};
use crate::output::{counted, fitted, size};
use crate::session::Session;

pub(crate) async fn prune(session: &Session, args: &Prune) -> Result<Exit, Failure> {
    let config = SnapshotConfig { grace: args.grace, ..session.config() };
    let manager = session.open_with(config)?;
    let policy = policy(args);
    let plan = session.read(&manager, manager.plan_prune(&policy)).await?;
    print(session, &policy, &plan)?;
    let done = if args.dry_run { Done::default() } else { carry_out(session, &manager, &plan).await? };
    let freed_bytes = done.freed_bytes(&plan);
    session.output.document(&json!({
        "store": session.store, "dry_run": args.dry_run, "keep": plan.keep, "drop": plan.drop, "sweep": plan.sweep,
        "damaged": plan.damaged, "deleted": done.deleted.gone, "stayed": done.deleted.kept, "swept": done.swept,
        "freed_bytes": freed_bytes,
    }))?;
    if !plan.damaged.is_empty() {
        let damaged = counted(plan.damaged.len() as u64, "damaged snapshot");
        let (were, it) = if plan.damaged.len() == 1 { ("was", "it") } else { ("were", "them") };
        session.output.line(format_args!("{damaged} {were} left alone; list names {it}, and delete ID removes one"))?;
    }
    if plan.drop.is_empty() && plan.sweep.is_empty() {
        let kept = counted(plan.keep.len() as u64, "snapshot");
        session.output.line(format_args!("{kept} kept, nothing to delete"))?;
    } else if args.dry_run {
        print_intent(session, &plan)?;
    } else {
        let kept = counted((plan.keep.len() + done.deleted.kept.len()) as u64, "snapshot");
        let (deleted, swept) = (done.deleted.gone.len(), swept_too(done.swept.len()));
        session.output.line(format_args!("{kept} kept, {deleted} deleted{swept}, {} freed", size(freed_bytes)))?;
    }
    if done.deleted.kept.is_empty() {
        return Ok(Exit::Done);
    }
    let (ids, it) = (done.deleted.kept.join(", "), if done.deleted.kept.len() == 1 { "it" } else { "each" });
    session.output.notice(format_args!(
        "error: not everything was deleted: {ids} stays; {it} was pinned, or a snapshot or an upload has come to stand on it"
    ));
    Ok(Exit::Failed)
}

/// What came of a plan.
#[derive(Default)]
struct Done {
    swept: Vec<Leftover>,
    deleted: DeleteReport,
}

impl Done {
    fn freed_bytes(&self, plan: &PrunePlan) -> u64 {
        let dropped = plan.drop.iter().map(|dropped| &dropped.snapshot);
        let gone = dropped.filter(|snapshot| self.deleted.gone.contains(&snapshot.id));
        let swept = self.swept.iter().map(|leftover| leftover.bytes);
        gone.map(|snapshot| snapshot.size_bytes).chain(swept).sum()
    }
}

/// Sweeps, then deletes: an upload that was killed holds what it would have stood on. What could not be swept does not
/// keep the snapshots from being deleted, and is told after that.
async fn carry_out(session: &Session, manager: &SnapshotManager, plan: &PrunePlan) -> Result<Done, Failure> {
    let ids: Vec<String> = plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect();
    let aftermath = || {
        let (manager, ids) = (manager.clone(), ids.clone());
        move || delete::aftermath(&manager, &ids)
    };
    let sweep = async { Ok(manager.sweep(&plan.sweep).await) };
    let swept = session.run(manager, sweep, aftermath()).await?;
    let deletion = async { Ok(manager.carry_out(plan).await) };
    let deleted = session.run(manager, deletion, aftermath()).await?;
    let (also, error) = match (swept, deleted) {
        (Ok(swept), Ok(deleted)) => return Ok(Done { swept, deleted }),
        (Err(swept), Err(error)) => (format!("; {swept}"), error),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => (String::new(), error),
    };
    let left = match ids.as_slice() {
        [] => "no snapshot was to be deleted".to_owned(),
        ids => delete::what_is_left(manager.list().await.ok(), ids),
    };
    Err(Failure::from(error).with_hint(format!("{left}{also}")))
}

/// The last line of a dry run.
fn print_intent(session: &Session, plan: &PrunePlan) -> Result<(), Failure> {
    let dropped_bytes: u64 = plan.drop.iter().map(|dropped| dropped.snapshot.size_bytes).sum();
    let freed = size(dropped_bytes + plan.sweep.iter().map(|leftover| leftover.bytes).sum::<u64>());
    session.output.line(format_args!(
        "would keep {} and delete {}{}, {freed}; nothing was deleted (--dry-run)",
        counted(plan.keep.len() as u64, "snapshot"),
        plan.drop.len(),
        swept_too(plan.sweep.len())
    ))
}

/// What was typed, as a policy.
fn policy(args: &Prune) -> PrunePolicy {
    let rules = &args.rules;
    PrunePolicy {
        keep_last: rules.keep_last.unwrap_or(0),
        keep_hourly: rules.keep_hourly.unwrap_or(0),
        keep_daily: rules.keep_daily.unwrap_or(0),
        keep_weekly: rules.keep_weekly.unwrap_or(0),
        keep_monthly: rules.keep_monthly.unwrap_or(0),
        keep_quarterly: rules.keep_quarterly.unwrap_or(0),
        keep_yearly: rules.keep_yearly.unwrap_or(0),
        keep_within: rules.keep_within,
        keep_labels: rules.keep_labels.clone(),
        time_zone: args.time_zone,
    }
}

/// The plan, a line for each snapshot; times are told in the time zone of the policy.
fn print(session: &Session, policy: &PrunePolicy, plan: &PrunePlan) -> Result<(), Failure> {
    let line = |verdict: &str, snapshot: &Snapshot, reasons: String| {
        let time = snapshot.created_at.with_timezone(&policy.time_zone).format("%Y-%m-%d %H:%M:%S %Z");
        let (id, name) = (&snapshot.id, fitted(&snapshot.name, 40));
        session.output.line(format_args!("{verdict}  {id}  {time}  {name}  {reasons}"))
    };
    plan.keep.iter().try_for_each(|kept| line("keep", &kept.snapshot, listed(&kept.reasons)))?;
    plan.drop.iter().try_for_each(|dropped| line("drop", &dropped.snapshot, listed(&dropped.reasons)))?;
    plan.sweep.iter().try_for_each(|leftover| {
        let what = match leftover.what {
            LeftoverKind::Upload => "an upload that was never finished",
            LeftoverKind::Deletion => "a deletion that was cut off",
            LeftoverKind::Mark => "a mark that is of no use any more",
            LeftoverKind::Check => "an object of a store check",
            LeftoverKind::Directory => "an empty directory",
            _ => "a file that was being written",
        };
        session.output.line(format_args!("sweep  {}  {}  {what}", leftover.key, size(leftover.bytes)))
    })
}

fn swept_too(leftovers: usize) -> String {
    if leftovers == 0 { String::new() } else { format!(", {} swept", counted(leftovers as u64, "leftover")) }
}

fn listed(reasons: &[impl Display]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
