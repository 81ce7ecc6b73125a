//! `prune`: deletes the snapshots that no rule keeps, as the plan that it prints says.

use std::fmt::Display;

use ruvector_snapshot::{LeftoverKind, PrunePlan, PrunePolicy, Snapshot, SnapshotConfig};
use serde_json::json;

use crate::args::Prune;
use crate::failure::{Exit, Failure};
use crate::output::{counted, fitted, size};
use crate::session::Session;

pub(crate) async fn prune(session: &Session, args: &Prune) -> Result<Exit, Failure> {
    let config = SnapshotConfig { grace: args.grace, ..session.config() };
    let manager = session.open_with(config)?;
    let policy = policy(args);
    let plan = session.read(&manager, manager.plan_prune(&policy)).await?;
    let output = session.output;
    print(session, &policy, &plan)?;
    let (mut deleted, mut swept) = (0, Vec::new());
    if !args.dry_run {
        let aftermath = || "some snapshots may have been deleted; list shows what is left".to_owned();
        deleted = session.run(&manager, manager.carry_out(&plan), aftermath).await?;
        let aftermath = || "the snapshots were deleted; some leftovers may still be there".to_owned();
        swept = session.run(&manager, manager.sweep(&plan.sweep), aftermath).await?;
    }
    output.document(&json!({
        "store": session.store, "dry_run": args.dry_run, "keep": plan.keep, "drop": plan.drop, "sweep": plan.sweep,
        "deleted": deleted, "swept": swept,
    }))?;
    let kept = counted(plan.keep.len() as u64, "snapshot");
    let dropped_bytes: u64 = plan.drop.iter().map(|dropped| dropped.snapshot.size_bytes).sum();
    let freed = size(dropped_bytes + plan.sweep.iter().map(|leftover| leftover.bytes).sum::<u64>());
    output.line(match (plan.drop.len() + plan.sweep.len(), args.dry_run) {
        (0, _) => format!("{kept} kept, nothing to delete"),
        (_, true) => format!(
            "would keep {kept} and delete {}{}, {freed}; nothing was deleted (--dry-run)",
            plan.drop.len(),
            swept_too(plan.sweep.len())
        ),
        (_, false) => format!("{kept} kept, {deleted} deleted{}, {freed} freed", swept_too(swept.len())),
    })?;
    Ok(Exit::Done)
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
