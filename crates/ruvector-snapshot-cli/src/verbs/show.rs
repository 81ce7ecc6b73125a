//! `show`: prints everything that is known of snapshots without reading their data.

use clap::Args;
use ruvector_snapshot::{
    ChainEnd, ErrorKind, Ledger, Listing, Snapshot, SnapshotManager, SnapshotProblem, VerifyDepth, VerifyResult,
};

use crate::documents::{ShowDocument, ShownDocument};
use crate::failure::{Exit, Failure};
use crate::output::{
    Text, Tone, ago, changes, counted, print_embedding, print_irregular, print_note, ratio, shape, size, source, total,
};
use crate::session::Session;
use crate::several::Outcomes;

pub(crate) const HELP: &str = "\
Prints labels, file sizes, the content checksum, the source, the chain, the dependents, whether the snapshot is pinned, and when it was verified, how deep \
and with what result. Reads no data. All IDs are checked before the first is shown; one that cannot be shown does not hide the others.

Examples:
  ruvector-snapshot show latest
  ruvector-snapshot show monday tuesday
  ruvector-snapshot show nightly --json

Exit codes: 0 success; 1 failure; 2 an ID is ambiguous; 3 a snapshot is corrupt, or its chain is broken; 4 there is no such snapshot; 5 success, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Number of dependents that are printed.
const DEPENDENTS_SHOWN: usize = 40;

/// Number of entries of the ledger that are printed.
const ENTRIES_SHOWN: usize = 40;

pub(crate) async fn show(session: &Session, args: &Show) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let ids = session.resolve_each(&manager, &args.ids, "nothing is shown").await?;
    let mut outcomes = Outcomes::of(ids.len());
    let mut listing = None;
    for (at, id) in ids.iter().enumerate() {
        if at > 0 {
            session.output.line("")?;
        }
        let answer = show_one(session, &manager, id, &mut listing).await;
        outcomes.add(session, id, answer)?;
    }
    session.document(&ShowDocument { snapshots: outcomes.documents::<ShownDocument<'_>>() })?;
    Ok(outcomes.exit())
}

/// What is known of one snapshot.
struct Shown {
    snapshot: Snapshot,
    /// The snapshot and its ancestors, the newest first.
    chain: Vec<Snapshot>,
    dependents: Vec<String>,
    pinned_dependents: Vec<String>,
    dated_in_future: bool,
    corruption: Option<String>,
    ledger: Ledger,
}

impl<'a> From<&'a Shown> for ShownDocument<'a> {
    fn from(shown: &'a Shown) -> Self {
        let Shown { snapshot, chain, dependents, pinned_dependents, dated_in_future, corruption, ledger } = shown;
        Self::new(
            snapshot,
            chain,
            [dependents, pinned_dependents].map(Vec::as_slice),
            *dated_in_future,
            corruption.as_deref(),
            ledger,
        )
    }
}

/// Prints one. `listing` is that of the store, once it was needed.
async fn show_one(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    listing: &mut Option<Listing>,
) -> Result<(Shown, Exit), Failure> {
    let Some(snapshot) = session.read(manager, manager.get_snapshot(id)).await.map_err(hinted)? else {
        return Err(Failure::new(ErrorKind::NotFound, format!("snapshot {id} was deleted meanwhile")));
    };
    session.warn_of_annotations([&snapshot]);
    let listing = match listing {
        Some(listing) => listing,
        None => listing.insert(session.read(manager, manager.list()).await?),
    };
    let ledger = session.read(manager, manager.ledger(id)).await?;
    let (chain, broken) = chain(session, manager, &snapshot).await?;
    let shown = Shown {
        chain,
        dependents: listing.dependents(&[id]),
        pinned_dependents: pinned_dependents(listing, id),
        dated_in_future: listing.is_dated_in_future(id),
        corruption: listed_error(listing, id).or(broken).or_else(|| Some(listed_problem(listing, id)?.to_string())),
        ledger,
        snapshot,
    };
    print(session, &shown.snapshot, listing)?;
    print_chain(session, &shown.chain)?;
    print_dependents(session, &shown.dependents)?;
    print_ledger(session, &shown.ledger)?;
    let exit = match &shown.corruption {
        None if shown.ledger.checks.corrupt_at().is_none() => Exit::Success,
        corruption => {
            corruption.iter().try_for_each(|corruption| session.output.field("CORRUPT", corruption))?;
            if listing.problem_of(id).is_some_and(|problem| matches!(problem, SnapshotProblem::BrokenChain { .. })) {
                session.output.message(
                    "hint: a copy in another store has the same files: restore from there, or put the lost file back from there",
                );
            }
            Exit::Corruption
        }
    };
    Ok((shown, exit))
}

/// Returns the snapshot and its ancestors, or only the snapshot and what is wrong with its chain.
async fn chain(
    session: &Session,
    manager: &SnapshotManager,
    snapshot: &Snapshot,
) -> Result<(Vec<Snapshot>, Option<String>), Failure> {
    match session.read(manager, async { Ok(manager.chain(&snapshot.id).await) }).await? {
        Ok(chain) => Ok((chain, None)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok((vec![snapshot.clone()], Some(error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

fn print_chain(session: &Session, chain: &[Snapshot]) -> Result<(), Failure> {
    if chain.len() < 2 {
        return Ok(());
    }
    let output = session.output;
    let bytes = total(chain.iter().map(|snapshot| snapshot.size_bytes));
    let length = counted(chain.len() as u64, "snapshot");
    output.field("chain", format_args!("{length}, {} in the store; a restore reads all of them:", size(bytes)))?;
    for snapshot in chain {
        let stored = snapshot.changes.as_ref().map_or_else(|| "full".to_owned(), changes);
        let pinned = if snapshot.pinned { ", pinned" } else { "" };
        let (id, size) = (session.short(&snapshot.id), size(snapshot.size_bytes));
        output.field("", format_args!("{id}  {size:>11}  {stored}{pinned}"))?;
    }
    Ok(())
}

fn print_dependents(session: &Session, dependents: &[String]) -> Result<(), Failure> {
    for (at, id) in dependents.iter().take(DEPENDENTS_SHOWN).enumerate() {
        session.output.field(if at == 0 { "dependents" } else { "" }, session.short(id))?;
    }
    match dependents.len().checked_sub(DEPENDENTS_SHOWN) {
        Some(more) if more > 0 => session.output.field("", format_args!("and {more} more")),
        _ => Ok(()),
    }
}

/// Prints when the snapshot was verified, and each entry of its ledger.
fn print_ledger(session: &Session, ledger: &Ledger) -> Result<(), Failure> {
    let (output, checks) = (session.output, &ledger.checks);
    let when = |time| format!("{}, {}", ago(time, ledger.read_at), output.time(time));
    let not_all = || match checks.intact_at(VerifyDepth::Quick) {
        Some(time) => format!("never every byte; what was read was intact {}", when(time)),
        None if checks.is_outdated(VerifyDepth::Quick) => "outdated: not since files were written".to_owned(),
        None => "never".to_owned(),
    };
    output.field("verified", checks.verified_at().map_or_else(not_all, when))?;
    if let Some(time) = checks.corrupt_at() {
        output.field("", format_args!("CORRUPT {}", when(time)))?;
    }
    if let Some(time) = checks.drill_failed_at() {
        output.field("drilled", Text::default().tone(Tone::Caution, "FAILED").add(" ").add(when(time)))?;
    }
    if let Some(time) = checks.drilled_at() {
        let label = if checks.drill_failed_at().is_some() { "" } else { "drilled" };
        output.field(label, when(time))?;
    } else if checks.is_outdated(VerifyDepth::Drill) {
        output.field("drilled", "outdated: not since files were written")?;
    }
    for (at, entry) in ledger.entries.iter().take(ENTRIES_SHOWN).enumerate() {
        let result = match entry.result {
            VerifyResult::Intact => "intact",
            VerifyResult::Corrupt => "CORRUPT",
            VerifyResult::Failed => "FAILED",
        };
        let counts = match (entry.counts, entry.result) {
            (true, _) => "",
            (false, VerifyResult::Intact) => {
                ", does not count: files were written after it, or its time is in the future"
            }
            (false, _) => ", does not count: the snapshot was written after it",
        };
        let content = match (&entry.content, &entry.error) {
            // What a command found on its way: it has not counted what it read.
            (Some(content), _) if entry.depth == VerifyDepth::Read => format!(", {}", content.program),
            (Some(content), _) => {
                let how = content.verified_with.as_ref().map(|id| format!("with {}", session.short(id.as_str())));
                format!(", {}, {}", how.unwrap_or_else(|| format!("{} read", size(content.bytes))), content.program)
            }
            (None, Some(_)) => ", content unreadable".to_owned(),
            (None, None) => String::new(),
        };
        let (time, depth) = (output.time(entry.time), depth_words(entry.depth));
        output.field(if at == 0 { "ledger" } else { "" }, format_args!("{time}  {depth} {result}{content}{counts}"))?;
    }
    match ledger.entries.len().checked_sub(ENTRIES_SHOWN) {
        Some(more) if more > 0 => output.field("", format_args!("and {more} more")),
        _ => Ok(()),
    }
}

fn depth_words(depth: VerifyDepth) -> String {
    match depth {
        VerifyDepth::Subset { number, of } => format!("subset {number}/{of}"),
        VerifyDepth::Sample { percent } => format!("sample of {percent} %"),
        VerifyDepth::Full => "every byte".to_owned(),
        VerifyDepth::Read => "while it was read".to_owned(),
        other => other.to_string(),
    }
}

fn print(session: &Session, snapshot: &Snapshot, listing: &Listing) -> Result<(), Failure> {
    let output = session.output;
    output.line(format_args!("snapshot {}", snapshot.id))?;
    output.field("name", &snapshot.name)?;
    let future = if listing.is_dated_in_future(&snapshot.id) { ", in the future: a clock is or was wrong" } else { "" };
    output.field("taken", format_args!("{}{future}", output.time_ago(snapshot.created_at, listing.listed_at)))?;
    match snapshot.base_id() {
        None => output.field("type", "full")?,
        Some(base_id) => output.field("type", format_args!("incremental, base {}", session.short(base_id)))?,
    }
    output.field("pinned", pinned(session, snapshot, listing))?;
    if let Some(stored) = &snapshot.changes {
        output.field("changes", changes(stored))?;
    }
    output.field("vectors", shape(snapshot))?;
    output.field("size", ratio(snapshot))?;
    for (file, bytes) in &snapshot.files {
        output.field("", format_args!("{file:<16}  {:>11}  {bytes} bytes", size(*bytes)))?;
    }
    output.field("checksum", &snapshot.checksum)?;
    output.field("source", source(&snapshot.source))?;
    print_embedding(&output, snapshot.embedding.as_ref())?;
    if let Some(irregular) = &snapshot.irregular {
        print_irregular(&output, irregular)?;
    }
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    for (at, (key, value)) in snapshot.labels.iter().enumerate() {
        output.field(if at == 0 { "labels" } else { "" }, format_args!("{key}={value}"))?;
    }
    snapshot.note.iter().try_for_each(|note| print_note(&output, note))?;
    if let Some(metadata) = snapshot.metadata.as_ref().filter(|metadata| !metadata.is_null()) {
        output.field("metadata", metadata)?;
    }
    output.field("written by", &snapshot.writer)?;
    output.field("stored in", format_args!("{} at {}", snapshot.prefix(), session.store))
}

/// Returns whether the snapshot is pinned, or protected because one that is pinned depends on it.
fn pinned(session: &Session, snapshot: &Snapshot, listing: &Listing) -> String {
    if snapshot.pinned {
        return "yes, protected from deletion".to_owned();
    }
    let ids = pinned_dependents(listing, &snapshot.id);
    match ids.first() {
        None => "no".to_owned(),
        Some(newest) => {
            let more = if ids.len() > 1 { format!(" and {} more", ids.len() - 1) } else { String::new() };
            format!("no, but protected from deletion: {}{more} depends on it and is pinned", session.short(newest))
        }
    }
}

/// Returns the pinned snapshots that depend on one, the newest first.
fn pinned_dependents(listing: &Listing, id: &str) -> Vec<String> {
    let is_pinned = |id: &String| listing.snapshots.iter().any(|snapshot| snapshot.pinned && snapshot.id == *id);
    let mut ids: Vec<String> = listing.dependents(&[id]).into_iter().filter(is_pinned).collect();
    ids.sort_by(|a, b| b.cmp(a));
    ids
}

/// Returns what the listing says is wrong with the snapshot, for example a missing file.
fn listed_error(listing: &Listing, id: &str) -> Option<String> {
    listing.unusable.iter().find(|unusable| unusable.id == id).map(|unusable| unusable.error.to_string())
}

/// Returns what is wrong with a snapshot that this one depends on, or with the file that a restore does not need, as far as the
/// listing shows.
fn listed_problem(listing: &Listing, id: &str) -> Option<SnapshotProblem> {
    listing.problem_of(id).filter(|problem| match problem {
        SnapshotProblem::Damaged { .. } => true,
        SnapshotProblem::BrokenChain { end, .. } => matches!(end, ChainEnd::Missing | ChainEnd::Unusable),
        _ => false,
    })
}

fn hinted(failure: Failure) -> Failure {
    match failure.exit() {
        Exit::Corruption => failure.with_hint(
            "`verify` checks all of it; snapshots that depend on it, if there are any, are affected too, and others were not read",
        ),
        _ => failure,
    }
}
