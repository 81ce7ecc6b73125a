//! `verify --dry-run`: prints which snapshots would be read, and how much of them.

use ruvector_snapshot::{ErrorKind, PlannedVerification, SnapshotManager, VerifyOptions, VerifyPlan, VerifyStep};

use super::{Verify, base_options, depth};
use crate::documents::VerifyPlanDocument;
use crate::failure::{Exit, Failure};
use crate::output::{Text, Tone, counted, size};
use crate::session::Session;

/// Plans the verification of these snapshots, or of all, and prints the plan.
pub(crate) async fn plan(session: &Session, manager: &SnapshotManager, args: &Verify) -> Result<Exit, Failure> {
    let options: VerifyOptions = base_options(args);
    let plan = if args.all {
        session.learn_ids(manager).await;
        session.read(manager, manager.plan_verify_all(&options)).await?
    } else {
        let ids = session.resolve_each(manager, &args.ids, super::NOTHING).await?;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        session.read(manager, manager.plan_verify(&ids, &options)).await?
    };
    if args.all && plan.snapshots.is_empty() {
        return Err(super::no_snapshots(session));
    }
    session.document(&VerifyPlanDocument::from(&plan))?;
    print(session, &plan, args)?;
    let kinds: Vec<ErrorKind> = failures(&plan).collect();
    Ok(match kinds.is_empty() {
        true => Exit::Success,
        false if kinds.contains(&ErrorKind::Corrupt) => Exit::Corruption,
        false => Exit::Failure,
    })
}

fn failures(plan: &VerifyPlan) -> impl Iterator<Item = ErrorKind> {
    plan.snapshots.iter().filter_map(|planned| match &planned.step {
        VerifyStep::Fail { kind, .. } => Some(*kind),
        _ => None,
    })
}

fn print(session: &Session, plan: &VerifyPlan, args: &Verify) -> Result<(), Failure> {
    let output = session.output;
    plan.snapshots.iter().try_for_each(|planned| print_one(session, planned))?;
    let is_read = |planned: &&PlannedVerification| !matches!(planned.step, VerifyStep::Skip { .. });
    let read = plan.snapshots.iter().filter(is_read).count() as u64;
    output.line(format_args!(
        "would verify {} ({}), and read {} at most",
        counted(read, "snapshot"),
        how(args),
        size(plan.bytes())
    ))?;
    output.line(match plan.record {
        true => "would record each result in the store",
        false => "would not record the results (--no-record)",
    })?;
    output.line("nothing was written (--dry-run)")
}

fn how(args: &Verify) -> String {
    use ruvector_snapshot::VerifyDepth;
    match depth(args) {
        VerifyDepth::Quick => "quick: metadata and sizes, no data".to_owned(),
        VerifyDepth::Subset { number, of } => format!("subset {number}/{of}"),
        VerifyDepth::Sample { percent } => format!("a sample of {percent} %"),
        _ => "every byte".to_owned(),
    }
}

fn print_one(session: &Session, planned: &PlannedVerification) -> Result<(), Failure> {
    let (output, short) = (session.output, session.short(&planned.id));
    match &planned.step {
        VerifyStep::Verify { chain, bytes } => {
            let with = match chain.len() as u64 {
                0 => String::new(),
                length => format!(", with {} that it depends on", counted(length, "snapshot")),
            };
            output.line(format_args!("{short}  would verify: {} at most{with}", size(*bytes)))
        }
        VerifyStep::VerifyWith { dependent_id } => {
            output.line(format_args!("{short}  would verify with {}", session.short(dependent_id)))
        }
        VerifyStep::Skip { intact_at } => {
            let intact_at = output.time(intact_at.to_owned());
            output.line(format_args!("{short}  would skip: found intact {intact_at}"))
        }
        VerifyStep::Fail { kind, message } => {
            let (tone, state) = match kind {
                ErrorKind::Corrupt => (Tone::Bad, "CORRUPT"),
                _ => (Tone::Caution, "NOT VERIFIED"),
            };
            let text = Text::from(format_args!("{short}  "));
            output.always().line(text.tone(tone, state).add(format_args!(": {message}")))
        }
        _ => Ok(()),
    }
}
