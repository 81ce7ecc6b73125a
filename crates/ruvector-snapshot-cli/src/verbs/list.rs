//! `list`: prints the contents of a store.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ruvector_snapshot::{
    CLOCK_TOLERANCE, ChainEnd, Checks, ErrorKind, Listing, Orphan, OrphanKind, RawJson, Snapshot, SnapshotManager,
    UnusableSnapshot, VerifyDepth,
};
use serde::Serialize;
use serde_json::json;

use crate::documents::NoMembers;
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{Cell, Column, Table, Tone, ago, count, counted, orphan_kind, size, total};
use crate::session::Session;
use crate::streamed::StreamedDocument;

pub(crate) const HELP: &str = "\
Reads the names of all objects in the store and every metadata.json, but no data.

Also lists snapshots that cannot be used because metadata.json is corrupt, or because a file is missing or has another size, and incremental snapshots \
whose base is missing, and snapshots that this user cannot read. Only `verify --all` reads every byte. Objects of others are counted. \
What running commands have written and killed ones have left is listed with its size.

Snapshots that are dated more than 5 minutes in the future, because a clock is or was wrong, are marked.

The TYPE of a snapshot is `full`, or for example `+3 base 20260131T080000`: the third incremental snapshot of its chain, and the start of the id of its \
base. Pinned snapshots are marked. SIZE is what the objects of a snapshot take in the store.

VERIFIED is when every byte of a snapshot and its base was last found intact, as `verify` has recorded it, or CORRUPT. If all parts of a subset were read, it \
is the oldest of them. `quick` means that not every byte was read. DRILLED is when it was last restored as a drill.

Examples:
  ruvector-snapshot list
  ruvector-snapshot list --json | jq -r '.snapshots[].id'
  ruvector-snapshot list --json | jq -r '.snapshots[] | select(.pinned) | .id'

Exit codes: 0 success, even if there are no snapshots; 1 the store does not exist, or has a snapshot of a newer version or one that \
cannot be read; 3 a snapshot is corrupt.";

pub(crate) async fn list(session: &Session) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let listing = session.read(&manager, manager.list()).await?;
    session.learn_short_ids(listing.short_ids());
    let broken = broken_chains(&listing);
    if session.output.json {
        print_document(session, &manager, &listing).await?;
    }
    print_text(session, &listing, &broken)?;
    let is_any = |kind| listing.unusable.iter().any(|unusable| unusable.error.kind() == kind);
    let is_any_missing = broken.iter().any(|broken| broken.end == ChainEnd::Missing);
    let is_any_found = found_corrupt(&listing).next().is_some();
    Ok(if is_any(ErrorKind::Corrupt) || is_any_missing || is_any_found {
        Exit::Corruption
    } else if !listing.unusable.is_empty() {
        Exit::Failure
    } else {
        Exit::Success
    })
}

/// Snapshots that cannot be restored because a base is missing or cannot be used.
struct BrokenChains {
    base_id: String,
    end: ChainEnd,
    /// The ids, newest first.
    ids: Vec<String>,
}

fn broken_chains(listing: &Listing) -> Vec<BrokenChains> {
    let mut broken: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for snapshot in &listing.snapshots {
        let ancestry = listing.ancestry(snapshot);
        if let (Some(last), ChainEnd::Missing | ChainEnd::Unusable) = (ancestry.ids.last(), ancestry.end) {
            broken.entry((last.clone(), ancestry.end)).or_default().push(snapshot.id.clone());
        }
    }
    broken.into_iter().rev().map(|((base_id, end), ids)| BrokenChains { base_id, end, ids }).collect()
}

/// Prints one snapshot after the other.
async fn print_document(session: &Session, manager: &SnapshotManager, listing: &Listing) -> Result<(), Failure> {
    let mut printed = StreamedDocument::begin(session, &NoMembers {}, "snapshots")?;
    for snapshot in &listing.snapshots {
        match document(session, manager, snapshot, listing).await {
            Ok(listed) => printed.item(&listed)?,
            Err(failure) => return Err(printed.fail(&NoMembers {}, failure, &session.warnings.list())),
        }
    }
    let unusable = listing.unusable.iter().map(|unusable| {
        json!({
            "id": unusable.id, "kind": kind_name(unusable.error.kind()), "error": unusable.error.to_string(),
            "dated_in_future": listing.is_dated_in_future(&unusable.id),
        })
    });
    let members = json!({
        "unusable": unusable.collect::<Vec<_>>(),
        "pending_uploads": listing.pending_uploads, "deleting": listing.deleting,
        "marked_for_deletion": listing.marked_for_deletion, "dated_in_future": listing.dated_in_future,
        "unfinished": listing.unfinished, "multipart_uploads_known": listing.multipart_uploads_known,
        "foreign": listing.foreign,
    });
    printed.end(&members, &session.warnings.list())
}

/// A snapshot in the document.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<RawJson>,
    /// Why `metadata` is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_error: Option<String>,
    base_id: Option<&'a str>,
    chain: Vec<String>,
    chain_state: &'static str,
    dated_in_future: bool,
    /// What was recorded of its verifications.
    verification: Option<&'a Checks>,
}

async fn document<'a>(
    session: &Session,
    manager: &SnapshotManager,
    snapshot: &'a Snapshot,
    listing: &'a Listing,
) -> Result<Listed<'a>, Failure> {
    let (metadata, metadata_error) = match large_metadata(session, manager, snapshot).await? {
        Ok(metadata) => (metadata, None),
        Err(why) => (None, Some(why)),
    };
    let ancestry = listing.ancestry(snapshot);
    let chain_state = match ancestry.end {
        ChainEnd::Missing | ChainEnd::Unusable => "broken",
        _ => "complete",
    };
    let dated_in_future = listing.is_dated_in_future(&snapshot.id);
    let base_id = snapshot.base_id();
    let verification = listing.checks_of(&snapshot.id);
    Ok(Listed {
        snapshot,
        metadata,
        metadata_error,
        base_id,
        chain: ancestry.ids,
        chain_state,
        dated_in_future,
        verification,
    })
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

fn print_text(session: &Session, listing: &Listing, broken: &[BrokenChains]) -> Result<(), Failure> {
    let output = session.output;
    if !listing.snapshots.is_empty() {
        output.table(&table(session, listing))?;
    }
    print_found_corrupt(session, listing)?;
    for BrokenChains { base_id, end, ids } in broken {
        let (state, why) = match listing.unusable.iter().find(|unusable| unusable.id == *base_id) {
            _ if *end == ChainEnd::Missing => ("MISSING", String::new()),
            Some(unusable) => (state(unusable), format!("{}; ", reason(unusable))),
            None => ("CORRUPT", String::new()),
        };
        let (dependents, newest) = (counted(ids.len() as u64, "dependent"), ids.first().unwrap_or(base_id));
        output.line(format_args!(
            "{base_id}  {state}  {why}{dependents} cannot be restored without it; the newest is {newest}"
        ))?;
    }
    let is_printed = |unusable: &&UnusableSnapshot| broken.iter().any(|broken| broken.base_id == unusable.id);
    for unusable in listing.unusable.iter().filter(|unusable| !is_printed(unusable)) {
        output.line(format_args!("{}  {}  {}", unusable.id, state(unusable), reason(unusable)))?;
    }
    for id in &listing.pending_uploads {
        output.line(format_args!(
            "upload: snapshot-{id} has no metadata.json: a create is running or was interrupted, or the file was lost{}",
            size_of(listing, id)
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
            size_of(listing, id)
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
    print_summary(session, listing, broken)
}

/// Returns the size of the objects of an upload or a deletion, in brackets.
fn size_of(listing: &Listing, id: &str) -> String {
    listing.unfinished_of(id).map(|one| format!(" ({})", size(one.bytes))).unwrap_or_default()
}

fn print_summary(session: &Session, listing: &Listing, broken: &[BrokenChains]) -> Result<(), Failure> {
    let output = session.output;
    let increments = listing.snapshots.iter().filter(|snapshot| snapshot.base_id().is_some()).count();
    let types = match increments {
        0 => String::new(),
        _ => format!(": {} full, {} incremental", listing.snapshots.len() - increments, count(increments as u64)),
    };
    let bytes = total(listing.snapshots.iter().map(|snapshot| snapshot.size_bytes));
    let snapshots = counted(listing.snapshots.len() as u64, "snapshot");
    if listing.snapshots.is_empty() && listing.unusable.is_empty() {
        let create = session.command("create --db FILE");
        return output.line(format_args!("no snapshots at {} yet; create the first with: {create}", session.store));
    }
    let unusable = match listing.unusable.len() {
        0 => String::new(),
        unusable if listing.unusable.iter().any(|one| one.error.kind() == ErrorKind::Corrupt) => {
            format!("; {unusable} cannot be used (`verify ID` prints why, `delete ID` removes one that is corrupt)")
        }
        unusable => format!("; {unusable} cannot be used (`verify ID` prints why)"),
    };
    let missing = match broken.iter().filter(|broken| broken.end == ChainEnd::Missing).count() as u64 {
        0 => String::new(),
        1 => "; 1 base is missing".to_owned(),
        missing => format!("; {} bases are missing", count(missing)),
    };
    output.line(format_args!("{snapshots}, {} in the store{types}{unusable}{missing}", size(bytes)))
}

fn table(session: &Session, listing: &Listing) -> Table {
    let output = session.output;
    let is_any_drilled = listing.checks.values().any(|checks| checks.drilled_at().is_some());
    let taken = if output.zone().name() == "UTC" { "TAKEN (UTC)" } else { "TAKEN" };
    let columns = [
        Column::new("ID"),
        Column::new("NAME").cut_to(8),
        Column::new(taken).rank(3),
        Column::new("VECTORS").number(),
        Column::new("DIM").number().rank(4),
        Column::new("SIZE").number(),
        Column::new("VERIFIED").rank(1),
        Column::new("DRILLED").rank(5),
        Column::new("TYPE").rank(2),
    ];
    let mut table = Table::new(columns);
    for snapshot in &listing.snapshots {
        table.add([
            session.short(&snapshot.id).into(),
            snapshot.name.as_str().into(),
            output.zone().short_time(snapshot.created_at).into(),
            count(snapshot.vector_count as u64).into(),
            snapshot.dimensions.to_string().into(),
            size(snapshot.size_bytes).into(),
            verified(snapshot, listing),
            Cell::from(if is_any_drilled { drilled_at(snapshot, listing) } else { String::new() }),
            snapshot_type(snapshot, listing).into(),
        ]);
    }
    table.without_empty()
}

/// Returns when every byte of a snapshot was last found intact, or that it was found corrupt.
fn verified(snapshot: &Snapshot, listing: &Listing) -> Cell {
    let Some(checks) = listing.checks_of(&snapshot.id) else { return "never".into() };
    match (checks.corrupt_at(), checks.verified_at(), checks.intact_at(VerifyDepth::Quick)) {
        (Some(_), ..) => Cell::toned("CORRUPT", Tone::Bad),
        (None, Some(time), _) => ago(time, listing.listed_at).into(),
        (None, None, Some(time)) => format!("quick {}", ago(time, listing.listed_at)).into(),
        (None, None, None) => "never".into(),
    }
}

fn drilled_at(snapshot: &Snapshot, listing: &Listing) -> String {
    let time = listing.checks_of(&snapshot.id).and_then(Checks::drilled_at);
    time.map_or_else(|| "never".to_owned(), |time| ago(time, listing.listed_at))
}

/// Prints which snapshots were found corrupt. A listing does not find that itself.
fn print_found_corrupt(session: &Session, listing: &Listing) -> Result<(), Failure> {
    found_corrupt(listing).try_for_each(|(id, corrupt_at)| {
        session.output.line(format_args!(
            "{id}  CORRUPT  found by a verification or a drill at {}, and not verified in full since; `verify {id}` prints where",
            session.output.time(corrupt_at)
        ))
    })
}

/// Returns the snapshots that were found corrupt, and when.
fn found_corrupt(listing: &Listing) -> impl Iterator<Item = (&String, DateTime<Utc>)> {
    listing.snapshots.iter().filter_map(|snapshot| {
        let corrupt_at = listing.checks_of(&snapshot.id)?.corrupt_at()?;
        Some((&snapshot.id, corrupt_at))
    })
}

/// Returns why a snapshot cannot be used. The line starts with the id, so only the file of the key is named.
fn reason(unusable: &UnusableSnapshot) -> String {
    let file = unusable.error.key().and_then(|key| key.rsplit('/').next());
    let file = file.map(|file| format!("{file}: ")).unwrap_or_default();
    format!("{file}{}", unusable.error.message())
}

fn state(unusable: &UnusableSnapshot) -> &'static str {
    if unusable.error.kind() == ErrorKind::Corrupt { "CORRUPT" } else { "UNREADABLE" }
}

/// Returns `full`, or the position in the chain and the base; and whether the snapshot is dated in the future and pinned.
fn snapshot_type(snapshot: &Snapshot, listing: &Listing) -> String {
    let ancestry = listing.ancestry(snapshot);
    let future = if listing.is_dated_in_future(&snapshot.id) { ", in the future" } else { "" };
    let pinned = if snapshot.pinned { ", pinned" } else { "" };
    let Some(base_id) = ancestry.ids.first() else { return format!("full{future}{pinned}") };
    let position = if ancestry.end == ChainEnd::Full { format!("+{} ", ancestry.ids.len()) } else { String::new() };
    let state = match (ancestry.ids.len(), ancestry.end) {
        (1, ChainEnd::Missing) => ", missing",
        (1, ChainEnd::Unusable) => ", unusable",
        (1, ChainEnd::Deleting) => ", being deleted",
        (_, ChainEnd::Missing | ChainEnd::Unusable) => ", chain broken",
        _ => "",
    };
    format!("{position}base {}{state}{future}{pinned}", listing.short_ids().shorten(base_id))
}
