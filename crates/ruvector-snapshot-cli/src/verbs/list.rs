//! `list`: prints the contents of a store.

mod columns;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use clap::Args;
use ruvector_snapshot::{
    CLOCK_TOLERANCE, ChainEnd, ErrorKind, ListFilter, ListOrder, Listing, Orphan, OrphanKind, RawJson, Snapshot,
    SnapshotManager, UnusableSnapshot,
};

use crate::documents::{ListEnd, ListedDocument, NoMembers};
use crate::failure::{Exit, Failure};
use crate::filters::Filters;
use crate::output::{Text, Tone, ago, count, counted, orphan_kind, size, total};
use crate::session::Session;
use crate::streamed::StreamedDocument;
use crate::values::positive;
pub(crate) use columns::ListColumn;
use columns::table;

pub(crate) const HELP: &str = "\
Reads the names of all objects in the store and every metadata.json, but no data.

Also lists snapshots that cannot be used because metadata.json is corrupt, or because a file is missing or has another size, and incremental snapshots \
whose base is missing, and snapshots that this user cannot read. Only `verify --all` reads every byte. Objects of others are counted. \
What running commands have written and killed ones have left is listed with its size.

Snapshots that are dated more than 5 minutes in the future, because a clock is or was wrong, are marked.

The TYPE of a snapshot is `full`, or for example `+3 base 20260131T080000`: the third incremental snapshot of its chain, and the start of the id of its \
base. Pinned snapshots are marked. STORED is what the objects of a snapshot take in the store, LOGICAL what its records take uncompressed.

VERIFIED is when every byte of a snapshot and its base was last found intact, as `verify` has recorded it, or CORRUPT. If all parts of a subset were read, it \
is the oldest of them. `quick` means that not every byte was read, `outdated` that files were written after the verification, BROKEN that what it depends on is missing or corrupt, and DAMAGED that only its checksum.sha256 is missing or cut off: it can be restored. DRILLED is when it was last restored as a drill, or FAILED if the last one did not pass.

With options such as --name or --since, only the snapshots that fulfil all of them are listed, and what cannot be used.

On a terminal, the most important columns are printed, and the others as far as it has room for them. --columns chooses them, --wide prints all, whole.

Examples:
  ruvector-snapshot list
  ruvector-snapshot list --name nightly --since 7d
  ruvector-snapshot list --sort stored --last 20
  ruvector-snapshot list --wide --label host=db1 | less -S
  ruvector-snapshot list --json | jq -r '.snapshots[].id'
  ruvector-snapshot list --json | jq -r '.snapshots[] | select(.pinned) | .id'

Exit codes: 0 success; 1 the store does not exist, or has a snapshot of a newer version or one that \
cannot be read; 2 wrong usage; 3 a snapshot is corrupt; 4 there are no snapshots, or none has what the options ask for; 5 success, with \
warnings.";

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Only full or only incremental snapshots
    #[arg(long = "type", value_name = "TYPE", value_parser = ["full", "incremental"])]
    pub(crate) kind: Option<String>,
    /// Only the newest N of those that fulfil the rest
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) last: Option<usize>,
    /// Sort by taken, name, source, records, stored or logical [default: taken, the newest first]
    #[arg(long, value_name = "KEY")]
    pub(crate) sort: Option<ListOrder>,
    /// Turn the order round
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Print these columns: id, name, taken, age, records, dimensions, stored, logical, verified, drilled, type, base, pinned,
    /// source, labels, note
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "wide")]
    pub(crate) columns: Vec<ListColumn>,
    /// Print all columns, whole, also if the terminal has no room for them
    #[arg(long)]
    pub(crate) wide: bool,
}

impl List {
    fn filter(&self) -> ListFilter {
        let mut filter = self.filters.filter().sort(self.sort.unwrap_or_default()).reverse(self.reverse);
        (filter.full, filter.last) = (self.kind.as_ref().map(|kind| kind == "full"), self.last);
        filter
    }

    fn columns(&self) -> Option<&[ListColumn]> {
        match self.columns.as_slice() {
            _ if self.wide => Some(&ListColumn::ALL),
            [] => None,
            columns => Some(columns),
        }
    }
}

/// What is printed.
struct Selected<'a> {
    listing: &'a Listing,
    /// The snapshots that are listed, in their order.
    snapshots: Vec<&'a Snapshot>,
    is_all: bool,
    broken: Vec<BrokenChains>,
}

pub(crate) async fn list(session: &Session, args: &List) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let listing = session.read(&manager, manager.list()).await?;
    session.learn_listed(listing.ids().map(str::to_owned));
    let filter = args.filter();
    let snapshots = filter.select(&listing, listing.listed_at);
    let broken = broken_chains(&listing, &snapshots);
    let selected = Selected { listing: &listing, snapshots, is_all: filter.is_all(), broken };
    session.warn_of_annotations(&listing.snapshots);
    listing.possible_losses().for_each(|problem| session.warnings.add(&problem.to_string()));
    if session.output.json {
        print_document(session, &manager, &selected).await?;
    }
    print_text(session, &selected, args)?;
    if selected.snapshots.is_empty() {
        print_advice(session, &args.filters, &listing);
    }
    let is_any = |kind| listing.unusable.iter().any(|unusable| unusable.error.kind() == kind);
    let is_any_missing = selected.broken.iter().any(|broken| broken.end == ChainEnd::Missing);
    let is_any_found = found_corrupt(&selected).next().is_some() || damaged(&selected).next().is_some();
    Ok(if is_any(ErrorKind::Corrupt) || is_any_missing || is_any_found {
        Exit::Corruption
    } else if !listing.unusable.is_empty() {
        Exit::Failure
    } else if selected.snapshots.is_empty() {
        Exit::NothingThere
    } else {
        Exit::Success
    })
}

/// Says what the options may mean, because no snapshot fits them.
pub(crate) fn print_advice(session: &Session, filters: &Filters, listing: &Listing) {
    if let Some(advice) = filters.advice(listing).filter(|_| !session.output.quiet) {
        session.output.message(format_args!("hint: {advice}"));
    }
}

/// Snapshots that cannot be restored because a base is missing or cannot be used.
struct BrokenChains {
    base_id: String,
    end: ChainEnd,
    /// The ids, newest first.
    ids: Vec<String>,
}

impl BrokenChains {
    /// Returns whether only parts of files of the base are missing, which a restore may not need.
    fn may_be_restorable(&self, listing: &Listing) -> bool {
        let mut unusable = listing.unusable.iter().filter(|unusable| unusable.id == self.base_id);
        unusable.any(UnusableSnapshot::may_be_restorable)
    }
}

/// Returns them, of these snapshots.
fn broken_chains(listing: &Listing, snapshots: &[&Snapshot]) -> Vec<BrokenChains> {
    let mut broken: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let listed: BTreeSet<&str> = snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    let ancestries = listing.ancestries();
    for snapshot in listing.snapshots.iter().filter(|snapshot| listed.contains(snapshot.id.as_str())) {
        let ancestry = ancestries.of(snapshot);
        if let (Some(last), ChainEnd::Missing | ChainEnd::Unusable) = (ancestry.ids.last(), ancestry.end) {
            broken.entry((last.clone(), ancestry.end)).or_default().push(snapshot.id.clone());
        }
    }
    broken.into_iter().rev().map(|((base_id, end), ids)| BrokenChains { base_id, end, ids }).collect()
}

/// Prints one snapshot after the other.
async fn print_document(session: &Session, manager: &SnapshotManager, selected: &Selected<'_>) -> Result<(), Failure> {
    let listing = selected.listing;
    let mut printed = StreamedDocument::begin(session, &NoMembers {}, "snapshots")?;
    let ancestries = listing.ancestries();
    for snapshot in selected.snapshots.iter().copied() {
        let metadata = match large_metadata(session, manager, snapshot).await {
            Ok(metadata) => metadata,
            Err(failure) => return Err(printed.fail(&NoMembers {}, failure, &session.warnings.list())),
        };
        let metadata = metadata.as_ref().map(Option::as_ref).map_err(String::as_str);
        let ancestry = ancestries.of(snapshot);
        printed.item(&ListedDocument::new(snapshot, listing, (&ancestry.ids, ancestry.end), metadata))?;
    }
    printed.end(&ListEnd::from(listing), &session.warnings.list())
}

/// Reads the user's JSON if the listing has left it out, or returns why that is not possible. It is not kept, because
/// all of it together can be larger than the memory.
async fn large_metadata(
    session: &Session,
    manager: &SnapshotManager,
    snapshot: &Snapshot,
) -> Result<Result<Option<RawJson>, String>, Failure> {
    if snapshot.metadata.is_some() {
        return Ok(Ok(None));
    }
    let why = match session.read(manager, async { Ok(manager.get_snapshot(&snapshot.id).await) }).await? {
        Ok(Some(read)) => return Ok(Ok(read.metadata)),
        Ok(None) => "the snapshot was deleted meanwhile".to_owned(),
        Err(error) => error.to_string(),
    };
    session.warnings.add(&format!("the metadata of snapshot {} is not listed: {why}", snapshot.id));
    Ok(Err(why))
}

fn print_text(session: &Session, selected: &Selected<'_>, args: &List) -> Result<(), Failure> {
    let (output, listing) = (session.output, selected.listing);
    if !selected.snapshots.is_empty() {
        let table = table(session, listing, &selected.snapshots, args.columns());
        if args.wide { output.whole_table(&table)? } else { output.table(&table)? }
    }
    print_found_corrupt(session, selected)?;
    print_damaged(session, selected)?;
    print_broken(session, selected)?;
    print_not_captured(session, selected)?;
    if selected.is_all {
        print_others(session, listing)?;
    }
    print_summary(session, selected)
}

/// Prints what cannot be used, and what cannot be restored because of that.
fn print_broken(session: &Session, selected: &Selected<'_>) -> Result<(), Failure> {
    let (listing, broken) = (selected.listing, &selected.broken);
    let line = |id: &str, state: &str, what: String| {
        let tone = if state == "UNREADABLE" { Tone::Caution } else { Tone::Bad };
        session.output.line(Text::from(format_args!("{}  ", session.short(id))).tone(tone, state).add("  ").add(what))
    };
    for broken @ BrokenChains { base_id, end, ids } in broken {
        let (state, why) = match listing.unusable.iter().find(|unusable| unusable.id == *base_id) {
            _ if *end == ChainEnd::Missing => ("MISSING", String::new()),
            Some(unusable) => (state(unusable), format!("{}; ", problem(unusable))),
            None => ("CORRUPT", String::new()),
        };
        let (dependents, newest) = (counted(ids.len() as u64, "dependent"), ids.first().unwrap_or(base_id));
        let newest = session.short(newest);
        let without_it = match broken.may_be_restorable(listing) {
            true => "may not be restorable without it, which `restore --dry-run` shows",
            false => "cannot be restored without it",
        };
        let what = format!("{why}{dependents} {without_it}; the newest is {newest}");
        line(base_id, state, what)?;
    }
    let is_printed = |unusable: &&UnusableSnapshot| broken.iter().any(|broken| broken.base_id == unusable.id);
    for unusable in listing.unusable.iter().filter(|unusable| !is_printed(unusable)) {
        line(&unusable.id, state(unusable), reason(unusable))?;
    }
    Ok(())
}

/// Prints what is in the store besides snapshots.
fn print_others(session: &Session, listing: &Listing) -> Result<(), Failure> {
    let output = session.output;
    for id in &listing.pending_uploads {
        output.line(format_args!(
            "upload: snapshot-{id} has no metadata.json: a create or a copy is running or was interrupted, or the file was lost{}",
            size_of(session, listing, id)
        ))?;
    }
    let is_shown = |one: &&Orphan| matches!(one.kind, OrphanKind::Staged | OrphanKind::Check | OrphanKind::Multipart);
    for file in listing.unfinished.iter().filter(is_shown) {
        output.line(format_args!(
            "{}: {}: a command is running or was interrupted ({})",
            orphan_kind(file.kind),
            file.key,
            size(file.bytes)
        ))?;
    }
    for id in &listing.marked_for_deletion {
        output.line(format_args!(
            "marked for deletion: snapshot-{id} is still intact; its deletion is running or was interrupted. Repeat it, or prune \
             removes the marker later"
        ))?;
    }
    for id in &listing.deleting {
        output.line(format_args!(
            "deleting: snapshot-{id} is being deleted, or its deletion was interrupted; prune completes it later{}",
            size_of(session, listing, id)
        ))?;
    }
    for id in &listing.dated_in_future {
        output.line(format_args!(
            "dated in the future: {id} is dated more than {} minutes after the time of this machine, so a clock is or was wrong; a \
             name or latest means it only if it can mean no other",
            CLOCK_TOLERANCE.num_minutes()
        ))?;
    }
    if !listing.unfinished.is_empty() {
        let bytes = total(listing.unfinished.iter().map(|one| one.bytes));
        let is_any_multipart = listing.unfinished.iter().any(|one| one.kind == OrphanKind::Multipart);
        let multipart = match (is_any_multipart, listing.multipart_uploads_known) {
            (false, _) => "",
            (true, true) => ", and a lifecycle rule of the bucket multipart uploads",
            (true, false) => ", and a lifecycle rule of the bucket multipart uploads, of which there may be more",
        };
        let (items, verb) = match listing.unfinished.len() as u64 {
            1 => ("1 item".to_owned(), "belongs"),
            items => (counted(items, "item"), "belong"),
        };
        output.line(format_args!(
            "unfinished: {items}, {}, {verb} to no snapshot; prune removes what is older than its --grace{multipart}",
            size(bytes)
        ))?;
    }
    if listing.foreign > 0 {
        let (foreign, verb) = (counted(listing.foreign, "object"), if listing.foreign == 1 { "is" } else { "are" });
        output.line(format_args!("ignored: {foreign} at {} {verb} not part of any snapshot", session.store))?;
    }
    Ok(())
}

/// Returns the size of the objects of an upload or a deletion, and on a terminal when it was begun, in brackets.
fn size_of(session: &Session, listing: &Listing, id: &str) -> String {
    let Some(one) = listing.unfinished_of(id) else { return String::new() };
    let begun = one.written_at.filter(|_| session.output.columns().is_some());
    let begun = begun.map(|begun| format!(", begun {}", ago(begun, listing.listed_at))).unwrap_or_default();
    format!(" ({}{begun})", size(one.bytes))
}

fn print_summary(session: &Session, selected: &Selected<'_>) -> Result<(), Failure> {
    let Selected { listing, snapshots: listed, is_all, broken } = selected;
    let output = session.output;
    let increments = listed.iter().filter(|snapshot| snapshot.base_id().is_some()).count();
    let types = match increments {
        0 => String::new(),
        _ => format!(": {} full, {} incremental", listed.len() - increments, count(increments as u64)),
    };
    let bytes = total(listed.iter().map(|snapshot| snapshot.size_bytes));
    let all = counted(listing.snapshots.len() as u64, "snapshot");
    let snapshots = if *is_all { all.clone() } else { format!("{} of {all}", count(listed.len() as u64)) };
    if listing.snapshots.is_empty() && listing.unusable.is_empty() {
        let create = session.command("create --db FILE");
        return output.line(format_args!(
            "no snapshots at {} yet{}; create the first with: {create}",
            session.store,
            session.store_inside()
        ));
    }
    let of_them = |may_be_restorable: bool, what: &str| {
        let broken = broken.iter().filter(|broken| broken.may_be_restorable(listing) == may_be_restorable);
        match broken.map(|broken| broken.ids.len()).sum::<usize>() {
            0 => String::new(),
            number => format!("; {number} of them {what}"),
        }
    };
    let cannot_be_restored = of_them(false, "cannot be restored") + &of_them(true, "may not be restorable");
    let unusable = match listing.unusable.len() {
        0 => cannot_be_restored,
        unusable => format!("{cannot_be_restored}; {unusable} more cannot be used (`verify ID` prints why)"),
    };
    let missing = match broken.iter().filter(|broken| broken.end == ChainEnd::Missing).count() as u64 {
        0 => String::new(),
        1 => "; 1 base is missing".to_owned(),
        missing => format!("; {} bases are missing", count(missing)),
    };
    if listed.is_empty() && !listing.snapshots.is_empty() {
        return output.line(format_args!("no snapshot fits the options; the store has {all}{unusable}{missing}"));
    }
    output.line(format_args!("{snapshots}, {} in the store{types}{unusable}{missing}", size(bytes)))
}

/// Prints which snapshots were found corrupt. A listing does not find that itself.
fn print_found_corrupt(session: &Session, selected: &Selected<'_>) -> Result<(), Failure> {
    found_corrupt(selected).try_for_each(|(id, corrupt_at)| {
        let (short, time) = (session.short(id), session.output.time(corrupt_at));
        let verify = session.command(&format!("verify {short}"));
        session.output.line(
            Text::from(format_args!("{short}  "))
                .tone(Tone::Bad, "CORRUPT")
                .add(format_args!("  found at {time}, and not verified in full since; `{verify}` prints where")),
        )
    })
}

/// Prints which snapshots have lost a file that a restore does not need.
fn print_damaged(session: &Session, selected: &Selected<'_>) -> Result<(), Failure> {
    damaged(selected).try_for_each(|(id, dependents)| {
        let dependents = match dependents {
            0 => String::new(),
            1 => "; the same holds for its dependent".to_owned(),
            dependents => format!("; the same holds for its {dependents} dependents"),
        };
        let what =
            "checksum.sha256 is missing or has another size; it can be restored, but no increment can be based on it";
        let id = Text::from(format_args!("{}  ", session.short(id)));
        session.output.line(id.tone(Tone::Bad, "DAMAGED").add(format_args!("  {what}{dependents}")))
    })
}

/// Prints how many of the snapshots lack something that belongs to their database.
fn print_not_captured(session: &Session, selected: &Selected<'_>) -> Result<(), Failure> {
    let lacks = |snapshot: &&&Snapshot| !snapshot.source.not_captured.is_empty();
    let Some(newest) = selected.snapshots.iter().filter(lacks).max_by_key(|snapshot| &snapshot.id) else {
        return Ok(());
    };
    let count = selected.snapshots.iter().filter(lacks).count() as u64;
    let show = session.command(&format!("show {}", session.short(&newest.id)));
    session.output.line(Text::default().tone(Tone::Caution, "not captured").add(format_args!(
        ": {} without something that belongs to the database; `{show}` prints what",
        counted(count, "snapshot")
    )))
}

/// Returns the snapshots that were found corrupt, and when.
fn found_corrupt<'a>(selected: &'a Selected<'_>) -> impl Iterator<Item = (&'a String, DateTime<Utc>)> {
    selected.snapshots.iter().filter_map(|snapshot| {
        let corrupt_at = selected.listing.checks_of(&snapshot.id)?.corrupt_at()?;
        Some((&snapshot.id, corrupt_at))
    })
}

/// Returns the damaged snapshots, newest first, and how many of those that are listed depend on each.
fn damaged<'a>(selected: &'a Selected<'_>) -> impl Iterator<Item = (&'a String, u64)> {
    let ancestries = selected.listing.ancestries();
    let mut damaged: BTreeMap<&String, u64> = BTreeMap::new();
    for snapshot in &selected.snapshots {
        let own = selected.listing.damaged.get_key_value(&snapshot.id);
        own.into_iter().for_each(|(id, _)| _ = damaged.entry(id).or_default());
        for id in &ancestries.of(snapshot).ids {
            let base = selected.listing.damaged.get_key_value(id);
            base.into_iter().for_each(|(id, _)| *damaged.entry(id).or_default() += 1);
        }
    }
    damaged.into_iter().rev()
}

/// Returns why a snapshot cannot be used, and whether a restore may succeed.
fn reason(unusable: &UnusableSnapshot) -> String {
    let can_be_tried = match unusable.may_be_restorable() {
        true => "; `restore --dry-run` shows whether it can be restored",
        false => "",
    };
    format!("{}{can_be_tried}", problem(unusable))
}

/// Returns why a snapshot cannot be used. The line starts with the id, so only the file of the key is named.
fn problem(unusable: &UnusableSnapshot) -> String {
    let file = unusable.error.key().and_then(|key| key.rsplit('/').next());
    let file = file.map(|file| format!("{file}: ")).unwrap_or_default();
    format!("{file}{}", unusable.error.message())
}

fn state(unusable: &UnusableSnapshot) -> &'static str {
    if unusable.error.kind() == ErrorKind::Corrupt { "CORRUPT" } else { "UNREADABLE" }
}
