//! `find`: prints which snapshots have a record, and in which it changed.

use comfy_table::{Table, presets};
use ruvector_snapshot::{FindReport, RecordState};
use serde_json::json;

use crate::args::Find;
use crate::failure::{Exit, Failure};
use crate::output::{fitted, timestamp};
use crate::session::Session;

/// Columns of the terminal for a name.
const NAME_COLUMNS: usize = 40;

pub(crate) async fn find(session: &Session, args: &Find) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let report = session.read(&manager, manager.find_record(&args.record_id)).await?;
    let unknown = |problem: &String| format!("not known of snapshot {problem}");
    report.problems.iter().map(unknown).for_each(|problem| session.warnings.add(&problem));
    print_document(session, &report)?;
    print_text(session, &report)?;
    Ok(if report.is_found() { Exit::Success } else { Exit::Failure })
}

fn print_document(session: &Session, report: &FindReport) -> Result<(), Failure> {
    let snapshots = report.snapshots.iter().map(|found| {
        json!({
            "id": found.snapshot.id, "name": found.snapshot.name, "created_at": found.snapshot.created_at,
            "base_id": found.snapshot.base_id(), "state": words(found.state).replace(' ', "_"), "digest": found.digest,
        })
    });
    session.output.document(&json!({
        "store": session.store, "record_id": report.record_id, "found": report.is_found(),
        "snapshots": snapshots.collect::<Vec<_>>(), "warnings": session.warnings.list(),
    }))
}

fn print_text(session: &Session, report: &FindReport) -> Result<(), Failure> {
    let output = session.output;
    if !report.is_found() {
        let unknown = if report.problems.is_empty() { "" } else { " of those that can be read" };
        return output
            .line(format_args!("no snapshot{unknown} at {} has the record {:?}", session.store, report.record_id));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "NAME", "TAKEN", "RECORD"]);
    for found in &report.snapshots {
        let snapshot = &found.snapshot;
        let (name, taken) = (fitted(&snapshot.name, NAME_COLUMNS), timestamp(snapshot.created_at).to_string());
        table.add_row([snapshot.id.as_str(), &name, &taken, words(found.state)]);
    }
    table.lines().try_for_each(|line| output.line(line.trim()))
}

fn words(state: RecordState) -> &'static str {
    match state {
        RecordState::Absent => "absent",
        RecordState::Added => "added",
        RecordState::Same => "same",
        RecordState::VectorChanged => "vector changed",
        RecordState::MetadataChanged => "metadata changed",
        RecordState::Changed => "changed",
        RecordState::Removed => "removed",
        _ => "unknown",
    }
}
