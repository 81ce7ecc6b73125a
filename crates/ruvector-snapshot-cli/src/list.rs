//! `list`: what a store holds.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use ruvector_snapshot::{DamagedSnapshot, ErrorKind, Listing, Snapshot};
use serde_json::{Value, json};

use crate::chains::{Chains, End, base_id};
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{count, counted, fitted, size};
use crate::session::Session;

/// How many columns of a terminal a name gets.
const NAME_COLUMNS: usize = 40;

pub(crate) async fn list(session: &Session) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let listing = session.read(&manager, manager.list()).await?;
    let chains = Chains::new(&listing);
    let broken = broken(&listing, &chains);
    print_document(session, &listing, &chains)?;
    print_text(session, &listing, &chains, &broken)?;
    let is_any = |kind| listing.damaged.iter().any(|damaged| damaged.error.kind() == kind);
    Ok(match () {
        () if is_any(ErrorKind::Damaged) || broken.iter().any(|broken| broken.end == End::Missing) => Exit::Damage,
        () if !listing.damaged.is_empty() => Exit::Failed,
        () => Exit::Done,
    })
}

/// Snapshots that cannot be restored, since what they stand on cannot be used.
struct Broken<'a> {
    base_id: &'a str,
    end: End,
    /// The ids, newest first.
    ids: Vec<&'a str>,
}

fn broken<'a>(listing: &'a Listing, chains: &Chains<'a>) -> Vec<Broken<'a>> {
    let mut broken: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for snapshot in &listing.snapshots {
        let below = chains.below(snapshot);
        if let (Some(last), End::Missing | End::Damaged) = (below.ids.last().copied(), below.end) {
            broken.entry((last, below.end)).or_default().push(&snapshot.id);
        }
    }
    broken.into_iter().rev().map(|((base_id, end), ids)| Broken { base_id, end, ids }).collect()
}

fn print_document(session: &Session, listing: &Listing, chains: &Chains<'_>) -> Result<(), Failure> {
    let damaged: Vec<_> = listing
        .damaged
        .iter()
        .map(|damaged| json!({ "id": damaged.id, "kind": kind_name(damaged.error.kind()), "error": damaged.error.to_string() }))
        .collect();
    let snapshots: Vec<_> = listing.snapshots.iter().map(|snapshot| document(snapshot, chains)).collect();
    session.output.document(&json!({
        "store": session.store, "snapshots": snapshots, "damaged": damaged, "unfinished": listing.unfinished,
        "deleting": listing.deleting, "marked": listing.marked,
    }))
}

/// A snapshot and what it stands on.
fn document<'a>(snapshot: &'a Snapshot, chains: &Chains<'a>) -> Value {
    let below = chains.below(snapshot);
    let chain = match below.end {
        End::Full | End::Deleting => "whole",
        End::Missing | End::Damaged => "broken",
    };
    let mut document = json!(snapshot);
    document["base_id"] = json!(base_id(snapshot));
    document["chain"] = json!(below.ids);
    document["chain_state"] = json!(chain);
    document
}

fn print_text(session: &Session, listing: &Listing, chains: &Chains<'_>, broken: &[Broken<'_>]) -> Result<(), Failure> {
    let output = session.output;
    if !listing.snapshots.is_empty() {
        table(&listing.snapshots, chains).trim_fmt().lines().try_for_each(|line| output.line(line))?;
    }
    for Broken { base_id, end, ids } in broken {
        let known = listing.damaged.iter().find(|damaged| damaged.id == *base_id);
        let state = match known {
            _ if *end == End::Missing => "MISSING",
            Some(damaged) => state(damaged),
            None => "DAMAGED",
        };
        let (needing, newest) = (counted(ids.len() as u64, "snapshot"), ids.first().unwrap_or(base_id));
        output.line(format_args!(
            "{base_id}  {state}  needed by {needing}, which cannot be restored without it; the newest is {newest}"
        ))?;
    }
    for damaged in &listing.damaged {
        let state = state(damaged);
        // The id stands in front already; of the key only the file says more.
        let file = damaged.error.key().and_then(|key| key.rsplit('/').next());
        let file = file.map(|file| format!("{file}: ")).unwrap_or_default();
        output.line(format_args!("{}  {state}  {file}{}", damaged.id, damaged.error.message()))?;
    }
    for id in &listing.unfinished {
        output.line(format_args!(
            "unfinished: snapshot-{id} has no metadata.json: a create is under way or was killed, or that file was lost"
        ))?;
    }
    for id in &listing.marked {
        output.line(format_args!(
            "deletion under way: snapshot-{id} is whole still, and a deletion has marked it that is under way or was cut off; \
             repeat it, or prune takes the mark away later"
        ))?;
    }
    for id in &listing.deleting {
        output.line(format_args!(
            "deleting: snapshot-{id} is being deleted, or a deletion of it was cut off; prune finishes that later"
        ))?;
    }
    print_sum(session, listing)
}

fn print_sum(session: &Session, listing: &Listing) -> Result<(), Failure> {
    let output = session.output;
    let increments = listing.snapshots.iter().filter(|snapshot| base_id(snapshot).is_some()).count();
    let kinds = match increments {
        0 => String::new(),
        _ => {
            let full = listing.snapshots.len() - increments;
            format!(": {full} full, {}", counted(increments as u64, "increment"))
        }
    };
    let bytes = listing.snapshots.iter().map(|snapshot| snapshot.size_bytes).sum();
    match (listing.snapshots.len(), listing.damaged.len()) {
        (0, 0) => {
            let create = session.command("create --db FILE");
            output.line(format_args!("no snapshots at {} yet; the first comes with: {create}", session.store))
        }
        (whole, 0) => output.line(format_args!("{}, {}{kinds}", counted(whole as u64, "snapshot"), size(bytes))),
        (whole, damaged) => output.line(format_args!(
            "{}, {}{kinds}; and {damaged} that cannot be used: verify ID says more, delete ID removes one",
            counted(whole as u64, "snapshot"),
            size(bytes),
        )),
    }
}

fn table<'a>(snapshots: &'a [Snapshot], chains: &Chains<'a>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "NAME", "CREATED (UTC)", "VECTORS", "DIM", "SIZE", "TYPE"]);
    for snapshot in snapshots {
        table.add_row([
            snapshot.id.clone(),
            fitted(&snapshot.name, NAME_COLUMNS),
            snapshot.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            count(snapshot.vector_count as u64),
            snapshot.dimensions.to_string(),
            size(snapshot.size_bytes),
            kind(snapshot, chains),
        ]);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if (3..=5).contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn state(damaged: &DamagedSnapshot) -> &'static str {
    if damaged.error.kind() == ErrorKind::Damaged { "DAMAGED" } else { "UNREADABLE" }
}

/// Full, or the how manieth increment above a full one and on what; and whether it is pinned.
fn kind<'a>(snapshot: &'a Snapshot, chains: &Chains<'a>) -> String {
    let below = chains.below(snapshot);
    let pinned = if snapshot.pinned { ", pinned" } else { "" };
    let Some(base_id) = below.ids.first() else { return format!("full{pinned}") };
    let place = if below.end == End::Full { format!("+{} ", below.ids.len()) } else { String::new() };
    let state = match (below.ids.len(), below.end) {
        (1, End::Missing) => ", which is missing",
        (1, End::Damaged) => ", which cannot be used",
        (1, End::Deleting) => ", which is being deleted",
        (_, End::Full | End::Deleting) => "",
        (_, End::Missing | End::Damaged) => ", broken further down",
    };
    format!("{place}on {}{state}{pinned}", chains.short(base_id))
}
