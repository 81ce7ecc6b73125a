//! `status`: says whether the databases of a store are backed up, for a person, a probe and a monitoring system.

mod limits;
mod textfile;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use limits::limits;
use ruvector_snapshot::{DatabaseFreshness, Freshness, Span, StaleReason};

use crate::documents::StatusDocument;
use crate::failure::{Exit, Failure};
use crate::logs::PRINTED;
use crate::output::{Cell, Column, Output, Table, Text, Tone, count, counted, distinguished, enumerated, size};
use crate::session::Session;
use crate::settings::Origin;
use crate::values::{not_empty, percent, textfile_path};

pub(crate) const HELP: &str = "\
Checks that each database in the store has a snapshot that is young enough and can be relied on. A backup that has stopped reports no failure, so run this \
regularly from elsewhere than the backup: from cron, Nagios, a Kubernetes probe, or into the textfile collector of node_exporter. Reads every metadata.json and the \
names of the results of verifications and drills, but no data.

A database is stale if its newest snapshot that can be restored, as far as is known, is older than --max-age; if that has many fewer records than one of the seven days before it \
(--shrink-warn); if a snapshot was found corrupt, cannot be used, or depends on one that is missing; if the last drill of one has failed; if snapshots of two files were \
taken in turn under one name; or if it was not verified or drilled within --max-verify-age or --max-drill-age. An empty store is stale.

If the configuration file has jobs for this store, their databases must be there, and each may be as old as max_age of its job says, unless --max-age is \
given. One store is checked: if jobs have other stores too, and no --store is given, that is a warning. Of other databases, every one is checked that has a snapshot, so one that has lost all of them is not missed. Name those that must be there with \
--source, once for each: then only these are checked. @NAME is a database of the configuration file.

With --textfile, the same is written as metrics. The file is replaced in one step, also if the store cannot be read: then \
ruvector_snapshot_status_success is 0. After wrong usage, also of the configuration file, it stays as it was: let an alert watch \
ruvector_snapshot_status_timestamp_seconds.

Examples:
  ruvector-snapshot status
  ruvector-snapshot status --max-age 8d --max-verify-age 30d
  ruvector-snapshot status -q --source articles --source users || page-me
  ruvector-snapshot status \\
      --textfile /var/lib/node_exporter/ruvector.prom

Exit codes: 0 all fresh; 1 failure, nothing is known; 2 wrong usage; 4 something is stale, or the store is empty; 5 fresh, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// How old the newest snapshot of a database may be, for example 26h or 8d [default: what its job in the configuration file says,
    /// and 26h without one]
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_age: Option<Span>,
    /// How long ago the last verification of every byte of one of its snapshots may be [default: it need not be verified]
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_verify_age: Option<Span>,
    /// How long ago the last drill of one of its snapshots may be [default: it need not be drilled]
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_drill_age: Option<Span>,
    /// How many fewer records the newest snapshot may have than one of the seven days before it, in percent. With 100% it may
    /// have lost all
    #[arg(long, value_name = "PERCENT", default_value = "50%", value_parser = percent)]
    pub(crate) shrink_warn: u8,
    /// A database that must be there: the name of its source, or HOST:PATH, as it is printed. Can be repeated
    #[arg(long = "source", value_name = "SOURCE", value_parser = not_empty)]
    pub(crate) sources: Vec<String>,
    /// Write metrics to this file too, for the textfile collector of node_exporter. Its name ends with .prom
    #[arg(long, value_name = "FILE", value_parser = textfile_path())]
    pub(crate) textfile: Option<PathBuf>,
}

pub(crate) async fn status(session: &Session, args: &Status) -> Result<Exit, Failure> {
    // A mistake in the location is no state of a store, and may contain a secret.
    let location = session.location()?.to_string();
    let manager = session.open();
    if let (Ok(manager), Some(path)) = (&manager, &args.textfile) {
        manager.check_outside(path, "a file of metrics").map_err(Failure::usage)?;
    }
    let limits = limits(session, args)?;
    let freshness = match manager {
        Ok(manager) => session.read(&manager, manager.freshness(&limits)).await,
        Err(failure) => Err(failure),
    };
    let written = match &args.textfile {
        Some(path) => textfile::write(path, &location, freshness.as_ref().ok()),
        None => Ok(()),
    };
    let freshness = match (freshness, &written) {
        (Err(failure), Err(_)) => {
            return Err(failure.with_hint("the file of metrics could not be written either, so it is as it was"));
        }
        (freshness, _) => freshness?,
    };
    // Before the document, which has the warnings.
    name_other_stores(session)?;
    session.document(&StatusDocument::from(&freshness))?;
    print(session, &freshness)?;
    hint_at_sources(session, &freshness);
    written?;
    Ok(if freshness.is_stale() { Exit::NothingThere } else { Exit::Success })
}

fn print(session: &Session, freshness: &Freshness) -> Result<(), Failure> {
    let output = session.output;
    if !freshness.databases.is_empty() {
        output.table(&table(&output, freshness))?;
    }
    // What is stale is the result, and not an error of the command.
    let output = output.always();
    for reason in &freshness.stale {
        print_reason(session, &output, &session.store, reason)?;
    }
    for DatabaseFreshness { source, stale, .. } in &freshness.databases {
        stale.iter().try_for_each(|reason| print_reason(session, &output, source, reason))?;
    }
    summary(session, freshness)
}

/// Names the databases that there are, if a required one is not there: it may be written differently.
fn hint_at_sources(session: &Session, freshness: &Freshness) {
    let is_missing = freshness.databases.iter().any(|database| database.newest.is_none());
    if !is_missing || freshness.not_checked.is_empty() {
        return;
    }
    let others = enumerated(&freshness.not_checked);
    session.output.message(format_args!("hint: the store also has snapshots of {others}"));
}

/// Names the other stores that jobs have: each may lack what this one has. If no store was typed, that is a warning.
fn name_other_stores(session: &Session) -> Result<(), Failure> {
    let others = limits::other_stores(session)?;
    let command = |store: &str| session.command_for(store, "status");
    let text = match others.as_slice() {
        [] => return Ok(()),
        [other] => format!("jobs also use the store {other}, which was not checked: `{}` checks it", command(other)),
        others => format!(
            "jobs also use the stores {}, which were not checked: `{}` checks one",
            enumerated(others),
            command("LOCATION")
        ),
    };
    match session.settings.store()?.origin {
        Origin::Flag(_) if session.output.quiet => {}
        Origin::Flag(_) => session.output.message(format_args!("hint: {text}")),
        _ => session.warnings.add(&text),
    }
    Ok(())
}

fn print_reason(session: &Session, output: &Output, what: &str, reason: &StaleReason) -> Result<(), Failure> {
    let inside = match reason {
        StaleReason::EmptyStore => session.store_inside(),
        _ => String::new(),
    };
    tracing::warn!(target: PRINTED, "STALE {what}: {reason}");
    output.line(Text::default().tone(Tone::Bad, "STALE").add(format_args!("  {what}: {reason}{inside}")))
}

fn summary(session: &Session, freshness: &Freshness) -> Result<(), Failure> {
    let (databases, stale) = (freshness.databases.len() as u64, freshness.databases.iter());
    let stale = stale.filter(|database| !database.stale.is_empty()).count() as u64;
    let orphans = match freshness.orphans {
        0 => String::new(),
        orphans => format!("; {}, {}, which prune collects", counted(orphans, "orphan"), size(freshness.orphan_bytes)),
    };
    let store = if freshness.stale.is_empty() { "" } else { "the store is stale; " };
    let state = match (databases, stale) {
        (0, _) => "no database".to_owned(),
        (1, 0) => "1 database, fresh".to_owned(),
        (databases, 0) => format!("{}, all fresh", counted(databases, "database")),
        (databases, stale) => format!("{}, {} stale", counted(databases, "database"), count(stale)),
    };
    session.output.line(format_args!("{store}{state}{orphans}"))
}

fn table(output: &Output, freshness: &Freshness) -> Table {
    let mut table = Table::new([
        Column::new("DATABASE").cut_start_to(16),
        Column::new("STATE"),
        Column::new("NEWEST"),
        Column::new("VERIFIED").rank(1),
        Column::new("DRILLED").rank(2),
        Column::new("RECORDS").number(),
        Column::new("CHANGE").number().rank(3),
        Column::new("CHAIN").number().rank(4),
        Column::new("STORED").number().rank(2),
    ]);
    let ago = |time: Option<DateTime<Utc>>| match time {
        Some(time) => Cell::from(crate::output::ago(time, freshness.checked_at)),
        None => "never".into(),
    };
    let sources = freshness.databases.iter().map(|database| database.source.as_str());
    let sources = if output.columns().is_some() { distinguished(sources) } else { BTreeMap::new() };
    for database in &freshness.databases {
        let state = match database.stale.is_empty() {
            true => Cell::toned("fresh", Tone::Good),
            false => Cell::toned("STALE", Tone::Bad),
        };
        let newest = database.newest.as_ref();
        let number = |number: Option<u64>| number.map(count).unwrap_or_default();
        let change = newest.and_then(|newest| newest.records_added).map(|added| match added {
            0.. => format!("+{}", count(added.unsigned_abs())),
            _ => format!("-{}", count(added.unsigned_abs())),
        });
        table.add([
            Cell::from(sources.get(database.source.as_str()).unwrap_or(&database.source).as_str()),
            state,
            newest.map_or("none".into(), |newest| ago(Some(newest.created_at))),
            ago(database.verified_at),
            ago(database.drilled_at),
            number(newest.map(|newest| newest.records)).into(),
            change.unwrap_or_default().into(),
            number(newest.map(|newest| newest.chain_length)).into(),
            size(database.stored_bytes).into(),
        ]);
    }
    table
}
