//! `verify`: checks that snapshots are intact, or prints where they are corrupt.

mod plan;

use std::collections::BTreeSet;
use std::fmt::Display;

use clap::Args;
use futures::{Stream, TryStreamExt as _};
use ruvector_snapshot::{
    Corruption, ErrorKind, SnapshotError, SnapshotManager, Span, Verification, VerifyDepth, VerifyOptions, VerifyReport,
};

use crate::documents::{State, VerifiedDocument, VerifyDocument};
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::logs::PRINTED;
use crate::output::{Text, Tone, count, counted, quoted, size};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::values::subset;

pub(crate) const HELP: &str = "\
Reads every byte of a snapshot and of all snapshots that it depends on. Checks every file, block and record, and prints everything that is corrupt, by \
file and block. With several IDs or --all, the snapshots of a chain are verified together, and what is wrong with one does not stop the others; all IDs are checked before \
the first is verified. With --all, a store without snapshots is a failure.

With --quick, no data is read: only metadata.json with its seal, checksum.sha256, and existence and sizes of the files. It finds what is missing or cut off, \
but no changed byte. With --subset 2/7, the whole index is read, with the content checksum, and the second of seven parts of the other data: 1/7 to 7/7 read \
every byte once. With --subset 10%, that is at least a tenth at a random place. What is corrupt in the rest is not found; if a snapshot was found corrupt before, and not intact since, that is a warning.

Each result is recorded beside the snapshot and those that it depends on, as a small object checked-... that is never changed; `list` and `show` print it, \
and prune removes old ones. That needs the permission to write these objects. If it fails, a warning is printed, and the exit code is 5 if all is intact. --no-record does not \
record. --max-age skips snapshots that were found intact at least so deep within this time, but never one that was found corrupt since.

With --dry-run, prints what would be read and skipped. No records are read: only metadata and sizes, and with --subset the tables of blocks.

Examples:
  ruvector-snapshot verify latest
  ruvector-snapshot verify monday tuesday
  ruvector-snapshot verify --all --quick
  ruvector-snapshot verify --all --subset \"$(date +%u)/7\"
  ruvector-snapshot verify --all --max-age 7d
  ruvector-snapshot verify --all --quiet || echo 'check the backups'

Exit codes: 0 what was read is intact, or everything was skipped; 1 something could not be read; 2 wrong usage; 3 something is corrupt; 4 there is \
no such snapshot, or none at all; 5 intact, with warnings, for example if a result could not be recorded, or an annotation is corrupt.";

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot verify [OPTIONS] <ID...|--all>")]
pub(crate) struct Verify {
    /// Ids, prefixes of ids, names, or latest
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) ids: Vec<String>,
    /// Verify every snapshot in the store
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Check metadata, existence and sizes only; read no data
    #[arg(long, conflicts_with = "subset")]
    pub(crate) quick: bool,
    /// Read one part of the data, for example 2/7, or a random sample, for example 10%
    #[arg(long, value_name = "PART", value_parser = subset)]
    pub(crate) subset: Option<VerifyDepth>,
    /// Skip what was found intact within this time, for example 7d
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_age: Option<Span>,
    /// Do not record the result in the store
    #[arg(long)]
    pub(crate) no_record: bool,
    /// Print what would be read, and verify nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const NOTHING: &str = "nothing was verified";

pub(crate) async fn verify(session: &Session, args: Verify) -> Result<Exit, Failure> {
    let manager = session.open()?;
    if args.dry_run {
        return plan::plan(session, &manager, &args).await;
    }
    if args.all {
        return verify_all(session, &manager, &args).await;
    }
    match session.resolve_each(&manager, &args.ids, NOTHING).await?.as_slice() {
        [id] => verify_one(session, &manager, id, &args).await,
        ids => verify_several(session, &manager, ids, &args).await,
    }
}

fn options(args: &Verify, progress: &ProgressDisplay) -> VerifyOptions {
    base_options(args).progress(progress.listener())
}

fn base_options(args: &Verify) -> VerifyOptions {
    let options = VerifyOptions::default().depth(depth(args)).record(!args.no_record);
    match args.max_age {
        Some(max_age) => options.max_age(max_age),
        None => options,
    }
}

fn depth(args: &Verify) -> VerifyDepth {
    if args.quick { VerifyDepth::Quick } else { args.subset.unwrap_or_default() }
}

async fn verify_one(session: &Session, manager: &SnapshotManager, id: &str, args: &Verify) -> Result<Exit, Failure> {
    let verification = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let is_recorded = !args.no_record;
        let after_interrupt = move || what_was_recorded(0, is_recorded);
        session.run(manager, manager.verify_due(id, &options(args, &progress)), after_interrupt).await?
    };
    let Verification::Verified(report) = verification else {
        let document = print_verification(session, &verification, args)?;
        return finish(session, document.into_iter().collect(), &Totals { skipped: 1, ..Totals::default() }, args);
    };
    print_one(session, &report, args).map_err(|failure| match report.is_intact() {
        true => failure,
        false => failure.with_hint(format!("snapshot {} is corrupt", report.id)),
    })?;
    let totals = Totals { corrupt: u64::from(!report.is_intact()), ..Totals::default() };
    let totals = Totals { intact: 1 - totals.corrupt, ..totals };
    finish(session, vec![(&report).into()], &totals, args)
}

fn print_one(session: &Session, report: &VerifyReport, args: &Verify) -> Result<(), Failure> {
    print_report(session, report, args)?;
    let how = match depth(args) {
        VerifyDepth::Full => "which was verified with it",
        _ => "which was checked in the same way",
    };
    report
        .chain
        .iter()
        .try_for_each(|id| session.output.line(format_args!("  depends on {}, {how}", session.short(id))))?;
    if report.is_intact() {
        return Ok(());
    }
    let places = counted(report.corruption.len() as u64, "place");
    let others = match report.chain.is_empty() {
        true => "snapshots that depend on it, if there are any, are affected too, and others were not read",
        false => "snapshots that depend on what is corrupt are affected too, and others were not read",
    };
    session.output.always().line(format_args!("corrupt in {places}; {others} (see `show`)"))
}

/// Number of corrupt snapshots that the hint names.
const IDS_SHOWN: usize = 10;

/// How many snapshots of each kind there are.
#[derive(Default)]
struct Totals {
    intact: u64,
    corrupt: u64,
    failed: u64,
    deleted: u64,
    skipped: u64,
}

async fn verify_all(session: &Session, manager: &SnapshotManager, args: &Verify) -> Result<Exit, Failure> {
    session.learn_ids(manager).await;
    let progress = ProgressDisplay::new(session, &Attempts::default());
    let verifications = manager.verify_all(options(args, &progress));
    let (documents, totals) = verify_stream(session, manager, verifications, &progress, args).await?;
    drop(progress);
    if totals.intact + totals.corrupt + totals.failed + totals.skipped == 0 {
        return Err(no_snapshots(session));
    }
    print_summary(session, &totals, args)?;
    finish(session, documents, &totals, args)
}

fn no_snapshots(session: &Session) -> Failure {
    let message = format!("there are no snapshots at {}, so {NOTHING}{}", session.store, session.store_inside());
    let hint = "check --store, and that the disk is mounted; `list` shows everything that is there";
    Failure::nothing_there(message).with_hint(hint)
}

async fn verify_several(
    session: &Session,
    manager: &SnapshotManager,
    ids: &[String],
    args: &Verify,
) -> Result<Exit, Failure> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let progress = ProgressDisplay::new(session, &Attempts::default());
    let verifications = manager.verify_each(&ids, options(args, &progress))?;
    let (documents, totals) = verify_stream(session, manager, verifications, &progress, args).await?;
    drop(progress);
    print_summary(session, &totals, args)?;
    let exit = finish(session, documents, &totals, args)?;
    // Each of them was named, so it should be there.
    Ok(if totals.deleted > 0 { exit.worse(Exit::Failure) } else { exit })
}

fn print_summary(session: &Session, totals: &Totals, args: &Verify) -> Result<(), Failure> {
    let is_all_well = totals.corrupt + totals.failed == 0;
    let output = if is_all_well { session.output } else { session.output.always() };
    output.line(summary(totals, args))
}

/// Says what an interrupted verification has left. Each result is recorded before the next snapshot is read.
fn what_was_recorded(verified: u64, is_recorded: bool) -> String {
    if !is_recorded {
        return "nothing was changed".to_owned();
    }
    match verified {
        0 => "no verification was completed".to_owned(),
        1 => "1 snapshot was verified before that; `list` shows what was recorded of it".to_owned(),
        verified => format!("{verified} snapshots were verified before that; `list` shows what was recorded of them"),
    }
}

/// Prints each verification, and returns their documents and how many there are of each kind.
async fn verify_stream(
    session: &Session,
    manager: &SnapshotManager,
    verifications: impl Stream<Item = Result<Verification, SnapshotError>>,
    progress: &ProgressDisplay,
    args: &Verify,
) -> Result<(Vec<VerifiedDocument>, Totals), Failure> {
    let mut verifications = std::pin::pin!(verifications);
    let (mut documents, mut totals) = (Vec::new(), Totals::default());
    loop {
        let (verified, is_recorded) = (totals.intact + totals.corrupt, !args.no_record);
        let after_interrupt = move || what_was_recorded(verified, is_recorded);
        let next = session.run(manager, verifications.try_next(), after_interrupt).await?;
        let Some(verification) = next else { break };
        progress.clear();
        match verification.is_intact() {
            Some(true) => totals.intact += 1,
            Some(false) => totals.corrupt += 1,
            None if matches!(verification, Verification::Failed { .. }) => totals.failed += 1,
            None if matches!(verification, Verification::Deleted { .. }) => totals.deleted += 1,
            None if matches!(verification, Verification::Skipped { .. }) => totals.skipped += 1,
            None => {}
        }
        documents.extend(print_verification(session, &verification, args)?);
    }
    Ok((documents, totals))
}

/// Prints one verification, and returns its document if it is about a snapshot.
fn print_verification(
    session: &Session,
    verification: &Verification,
    args: &Verify,
) -> Result<Option<VerifiedDocument>, Failure> {
    let output = session.output;
    let short = session.short(id_of(verification));
    match verification {
        Verification::Verified(report) => print_report(session, report, args)?,
        Verification::VerifiedWith { id, dependent_id, corruption } => {
            let with = format!(", verified with {}", session.short(dependent_id));
            match corruption.is_empty() {
                true => output.line(format_args!("{short}  {}{with}", intact(args)))?,
                false => corrupt(session, id, with)?,
            }
            print_corruption(session, id, corruption)?;
        }
        Verification::Failed { id, error } => match error.kind() {
            ErrorKind::Corrupt => corrupt(session, id, format_args!(": {error}"))?,
            _ => found(session, id, Tone::Caution, "NOT VERIFIED", format_args!(": {error}"))?,
        },
        Verification::PendingUpload { .. } => {
            output.line(format_args!(
                "{short}  not verified: it has no metadata.json, so it is not a snapshot (see `list`)"
            ))?;
        }
        Verification::Skipped { intact_at, .. } => {
            let intact_at = intact_at.to_owned();
            output.line(format_args!("{short}  skipped: nothing was read; found intact {}", output.time(intact_at)))?;
        }
        Verification::Deleted { .. } => output.line(format_args!("{short}  not verified: it was deleted meanwhile"))?,
        _ => {}
    }
    Ok(VerifiedDocument::of(verification))
}

/// Returns what an intact snapshot is called: not simply intact, unless every byte was read.
fn intact(args: &Verify) -> String {
    match depth(args) {
        VerifyDepth::Quick => "quick: intact metadata and sizes, no data read".to_owned(),
        VerifyDepth::Subset { number, of } => format!("intact in subset {number}/{of}"),
        VerifyDepth::Sample { percent } => format!("intact in a sample of {percent} %"),
        _ => "intact".to_owned(),
    }
}

fn print_report(session: &Session, report: &VerifyReport, args: &Verify) -> Result<(), Failure> {
    let records = counted(report.records, "record");
    let bytes = match depth(args) {
        VerifyDepth::Full => size(report.bytes),
        _ => format!("{} of {}", size(report.bytes), size(report.stored_bytes)),
    };
    let chain = match report.chain.len() as u64 {
        0 => String::new(),
        length => format!(", with {} that it depends on", counted(length, "snapshot")),
    };
    if report.is_intact() {
        let (id, intact) = (session.short(&report.id), intact(args));
        return match depth(args) {
            VerifyDepth::Quick => session.output.line(format_args!("{id}  {intact}{chain}")),
            _ => session.output.line(format_args!("{id}  {intact}: {records}, {bytes} read from the store{chain}")),
        };
    }
    let found = match depth(args) {
        VerifyDepth::Quick => "found by metadata and sizes, no data read".to_owned(),
        _ => format!("{records} intact, {bytes} read from the store"),
    };
    corrupt(session, &report.id, format_args!(": {found}{chain}"))?;
    print_corruption(session, &report.id, &report.corruption)
}

fn print_corruption(session: &Session, id: &str, corruption: &[Corruption]) -> Result<(), Failure> {
    let output = session.output.always();
    corruption.iter().try_for_each(|one| match one.snapshot == id {
        true => output.line(format_args!("  {one}")),
        false => output.line(format_args!("  in {}: {one}", session.short(&one.snapshot))),
    })
}

/// Prints that a snapshot is corrupt, also with --quiet.
fn corrupt(session: &Session, id: &str, what: impl Display) -> Result<(), Failure> {
    found(session, id, Tone::Bad, "CORRUPT", what)
}

/// Prints what is wrong with a snapshot, also with --quiet.
fn found(session: &Session, id: &str, tone: Tone, state: &str, what: impl Display) -> Result<(), Failure> {
    tracing::error!(target: PRINTED, id, "{state}{what}");
    let text = Text::from(format_args!("{}  ", session.short(id)));
    session.output.always().line(text.tone(tone, state).add(what))
}

/// Returns the id of the snapshot of a verification.
fn id_of(verification: &Verification) -> &str {
    match verification {
        Verification::Verified(report) => &report.id,
        Verification::VerifiedWith { id, .. }
        | Verification::Failed { id, .. }
        | Verification::PendingUpload { id }
        | Verification::Skipped { id, .. }
        | Verification::Deleted { id } => id,
        _ => "",
    }
}

fn summary(totals: &Totals, args: &Verify) -> String {
    let snapshots = counted(totals.intact, "snapshot");
    let mut summary = match depth(args) {
        VerifyDepth::Quick => format!("{snapshots} with intact metadata and sizes (quick, no data read)"),
        VerifyDepth::Full => format!("{snapshots} intact"),
        _ => format!("{snapshots} {}; the rest was not read", intact(args)),
    };
    if totals.corrupt > 0 {
        summary += &format!(", {} corrupt", count(totals.corrupt));
    }
    if totals.failed > 0 {
        summary += &format!(", {} not verified", count(totals.failed));
    }
    if totals.skipped > 0 {
        summary += &format!(", {} skipped (verified within --max-age, nothing read)", count(totals.skipped));
    }
    if totals.deleted > 0 {
        summary += &format!(", {} deleted meanwhile", count(totals.deleted));
    }
    summary
}

/// Says what can be done about what is corrupt. Nothing is deleted before another store has it, with all that depends on it.
fn print_repair(session: &Session, snapshots: &[VerifiedDocument]) {
    let hint = |what: String| session.output.message(format_args!("hint: {what}"));
    let here = if session.store.is_empty() { "STORE".to_owned() } else { quoted(&session.store) };
    let joined = |ids: BTreeSet<&str>| match ids.len() <= IDS_SHOWN {
        true => ids.into_iter().collect::<Vec<_>>().join(" "),
        false => "ID...".to_owned(),
    };
    hint("take a full snapshot of the database now, and delete nothing yet: `create` without --base".to_owned());
    let lost: BTreeSet<&str> = snapshots.iter().flat_map(VerifiedDocument::without_metadata_json).collect();
    if !lost.is_empty() {
        return hint(format!(
            "if the store OTHER has the snapshot, `ruvector-snapshot --store OTHER copy {} --to {here}` brings back a metadata.json \
             that is missing. One that is corrupt can be replaced by that of OTHER or an older version of the object. Then verify again",
            joined(lost)
        ));
    }
    let corrupt = joined(snapshots.iter().flat_map(VerifiedDocument::corrupt_ids).collect());
    let save = session.command("copy --all --pins --to OTHER");
    let delete = session.command(&format!("delete {corrupt} --cascade"));
    hint(format!("if the store OTHER has an intact copy of what is corrupt, `{save}` saves there what depends on it"));
    hint(
        "`ruvector-snapshot --store OTHER verify --all` reads whether the copies there are intact: a copy does not"
            .to_owned(),
    );
    hint(format!(
        "only if the copy prints no error (exit code 0 or 5) and all is intact there (exit code 0), `{delete}` and then \
         `ruvector-snapshot --store OTHER copy --all --pins --to {here}` replace it"
    ));
    hint(
        "if no other store has it, keep it while a snapshot that you need depends on it: `restore --dry-run` shows what can be restored"
            .to_owned(),
    );
}

fn finish(
    session: &Session,
    snapshots: Vec<VerifiedDocument>,
    totals: &Totals,
    args: &Verify,
) -> Result<Exit, Failure> {
    let state = match totals {
        Totals { corrupt: 1.., .. } => Some(State::Corrupt),
        Totals { failed: 1.., .. } => Some(State::Unreadable),
        Totals { intact: 1.., .. } => Some(State::Intact),
        _ => None,
    };
    session.document(&VerifyDocument {
        depth: depth(args).to_string(),
        state,
        snapshots: &snapshots,
        deleted: totals.deleted,
        skipped: totals.skipped,
    })?;
    if totals.corrupt > 0 {
        print_repair(session, &snapshots);
    }
    Ok(match (totals.corrupt, totals.failed) {
        (0, 0) => Exit::Success,
        (0, _) => Exit::Failure,
        _ => Exit::Corruption,
    })
}
