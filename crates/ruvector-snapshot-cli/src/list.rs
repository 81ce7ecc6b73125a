//! `list`: what a store holds.

use comfy_table::{CellAlignment, Table, presets};
use ruvector_snapshot::{ErrorKind, Listing, Snapshot};
use serde_json::json;

use crate::failure::{Exit, Failure, kind_name};
use crate::output::{count, counted, fitted, kind, size};
use crate::session::Session;

/// How many columns of a terminal a name gets.
const NAME_COLUMNS: usize = 40;

pub(crate) async fn list(session: &Session) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let listing = session.read(&manager, manager.list()).await?;
    print_document(session, &listing)?;
    print_text(session, &listing)?;
    let is_any = |kind| listing.damaged.iter().any(|damaged| damaged.error.kind() == kind);
    Ok(match () {
        () if is_any(ErrorKind::Damaged) => Exit::Damage,
        () if !listing.damaged.is_empty() => Exit::Failed,
        () => Exit::Done,
    })
}

fn print_document(session: &Session, listing: &Listing) -> Result<(), Failure> {
    let damaged: Vec<_> = listing
        .damaged
        .iter()
        .map(|damaged| json!({ "id": damaged.id, "kind": kind_name(damaged.error.kind()), "error": damaged.error.to_string() }))
        .collect();
    session.output.document(&json!({
        "store": session.store, "snapshots": listing.snapshots, "damaged": damaged, "unfinished": listing.unfinished,
    }))
}

fn print_text(session: &Session, listing: &Listing) -> Result<(), Failure> {
    let output = session.output;
    if !listing.snapshots.is_empty() {
        table(&listing.snapshots).trim_fmt().lines().try_for_each(|line| output.line(line))?;
    }
    for damaged in &listing.damaged {
        let state = if damaged.error.kind() == ErrorKind::Damaged { "DAMAGED" } else { "UNREADABLE" };
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
    let bytes = listing.snapshots.iter().map(|snapshot| snapshot.size_bytes).sum();
    match (listing.snapshots.len(), listing.damaged.len()) {
        (0, 0) => {
            let create = session.command("create --db FILE");
            output.line(format_args!("no snapshots at {} yet; the first comes with: {create}", session.store))
        }
        (whole, 0) => output.line(format_args!("{}, {}", counted(whole as u64, "snapshot"), size(bytes))),
        (whole, damaged) => output.line(format_args!(
            "{}, {}; and {damaged} that cannot be used: verify ID says more, delete ID removes one",
            counted(whole as u64, "snapshot"),
            size(bytes),
        )),
    }
}

fn table(snapshots: &[Snapshot]) -> Table {
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
            kind(&snapshot.snapshot_type),
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
