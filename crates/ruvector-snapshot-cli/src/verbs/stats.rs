//! `stats`: prints what the snapshots of a store add up to.

use clap::Args;
use ruvector_snapshot::{DayStats, SourceStats, StatsTotals, StoreStats};

use crate::documents::StatsDocument;
use crate::failure::{Exit, Failure};
use crate::filters::Filters;
use crate::output::{Cell, Column, Table, Text, Tone, count, counted, size};
use crate::session::Session;
use crate::verbs::list::print_advice;

pub(crate) const HELP: &str = "\
Prints how many snapshots there are and how large they are: for each database, for full and incremental ones, and for each day of UTC. STORED is what they take \
in the store, LOGICAL is the size of the same files when expanded. Reads every metadata.json, but no data.

Snapshots that were found corrupt or are damaged, whose chain is broken, that cannot be used, or that are dated in the future are counted apart. The growth per day is \
what all snapshots but the oldest take, divided by the days from the oldest to the newest.

Examples:
  ruvector-snapshot stats
  ruvector-snapshot stats --since 30d --name nightly
  ruvector-snapshot stats --json | jq '.sources[] | {source, stored_bytes}'

Exit codes: 0 success; 1 failure; 2 wrong usage; 4 there is no snapshot, or none with these options; 5 success, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// Days that are printed, the newest.
const DAYS_SHOWN: usize = 30;
/// Columns of the longest bar.
const BAR_COLUMNS: usize = 24;

pub(crate) async fn stats(session: &Session, args: &Stats) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let stats = session.read(&manager, manager.stats(&args.filters.filter())).await?;
    warn_of_not_counted(session, &stats);
    session.document(&StatsDocument::from(&stats))?;
    print(session, &stats, &args.filters)?;
    if stats.totals.snapshots == 0 && !args.filters.filter().is_all() {
        print_advice(session, &args.filters, &session.read(&manager, manager.list()).await?);
    }
    let apart = stats.corrupt.snapshots + stats.dated_in_future.snapshots + stats.unusable;
    Ok(if stats.totals.snapshots + apart == 0 { Exit::NothingThere } else { Exit::Success })
}

/// Warns of the snapshots that are in none of the numbers, because they cannot be relied on.
fn warn_of_not_counted(session: &Session, stats: &StoreStats) {
    let warn = |state: &str, snapshots, stored: String| {
        if snapshots > 0 {
            let snapshots = counted(snapshots, "snapshot");
            session.warnings.add(&format!("{state}: {snapshots}{stored}, not counted; `list` prints which, and why"));
        }
    };
    warn("corrupt or damaged", stats.corrupt.snapshots, format!(", {} in the store", size(stats.corrupt.stored_bytes)));
    warn("unusable", stats.unusable, String::new());
    if stats.possibly_lost > 0 {
        let uploads = counted(stats.possibly_lost, "upload");
        let message = format!("possibly lost: {uploads} without metadata.json; `list` prints which, and what to do");
        session.warnings.add(&message);
    }
}

fn print(session: &Session, stats: &StoreStats, filters: &Filters) -> Result<(), Failure> {
    let output = session.output;
    if stats.totals.snapshots > 0 {
        output.table(&sources(stats))?;
        output.line("")?;
        output.table(&types(stats))?;
        print_days(session, stats)?;
    }
    if stats.dated_in_future.snapshots > 0 {
        let StatsTotals { snapshots, stored_bytes, .. } = stats.dated_in_future;
        let text = Text::default().tone(Tone::Caution, "dated in the future");
        let (snapshots, stored) = (counted(snapshots, "snapshot"), size(stored_bytes));
        output.line(text.add(format_args!(": {snapshots}, {stored} in the store, not counted above")))?;
    }
    let StatsTotals { snapshots, stored_bytes, logical_bytes, .. } = stats.totals;
    if snapshots == 0 {
        return match filters.filter().is_all() {
            true => output.line(format_args!("no snapshots to count at {}{}", session.store, session.store_inside())),
            false => output.line(format_args!(
                "no snapshots that fit the options to count at {}; `list` shows what is there",
                session.store
            )),
        };
    }
    let growth = match stats.stored_bytes_per_day {
        Some(bytes) => format!("; {} more each day", size(bytes as u64)),
        None => String::new(),
    };
    let share = stored_bytes as f64 * 100.0 / logical_bytes.max(1) as f64;
    let (snapshots, stored) = (counted(snapshots, "snapshot"), size(stored_bytes));
    output.line(format_args!("{snapshots}, {stored} in the store, {share:.1} % of {}{growth}", size(logical_bytes)))
}

fn sources(stats: &StoreStats) -> Table {
    let mut table = Table::new([
        Column::new("DATABASE").cut_start_to(16),
        Column::new("SNAPSHOTS").number(),
        Column::new("FULL").number().rank(2),
        Column::new("INCR").number().rank(2),
        Column::new("RECORDS").number().rank(1),
        Column::new("STORED").number(),
        Column::new("LOGICAL").number().rank(3),
    ]);
    for SourceStats { source, totals, full, incremental, records, .. } in &stats.sources {
        table.add([
            Cell::from(source.as_str()),
            count(totals.snapshots).into(),
            count(*full).into(),
            count(*incremental).into(),
            count(*records).into(),
            size(totals.stored_bytes).into(),
            size(totals.logical_bytes).into(),
        ]);
    }
    table
}

fn types(stats: &StoreStats) -> Table {
    let mut table = Table::new([
        Column::new("TYPE"),
        Column::new("SNAPSHOTS").number(),
        Column::new("STORED").number(),
        Column::new("LOGICAL").number(),
    ]);
    for (name, totals) in [("full", stats.full), ("incremental", stats.incremental)] {
        let sizes = [totals.stored_bytes, totals.logical_bytes].map(|bytes| Cell::from(size(bytes)));
        table.add([Cell::from(name), count(totals.snapshots).into()].into_iter().chain(sizes));
    }
    table
}

/// Prints how much was stored on each day, as bars.
fn print_days(session: &Session, stats: &StoreStats) -> Result<(), Failure> {
    let output = session.output;
    let earlier = stats.days.len().saturating_sub(DAYS_SHOWN);
    let shown = stats.days.get(earlier..).unwrap_or_default();
    let most = shown.iter().map(|day| day.totals.stored_bytes).max().unwrap_or(0);
    output.line("")?;
    let mut table = Table::new([
        Column::new("DAY (UTC)"),
        Column::new("STORED").number(),
        Column::new("SNAPSHOTS").number(),
        Column::new(""),
    ]);
    for DayStats { date, totals, .. } in shown {
        let bar = bar(totals.stored_bytes, most, has_unicode());
        table.add([
            date.to_string().into(),
            size(totals.stored_bytes).into(),
            count(totals.snapshots).into(),
            bar.into(),
        ]);
    }
    output.table(&table)?;
    if earlier > 0 {
        output.line(format_args!("and {} before these", counted(earlier as u64, "day")))?;
    }
    output.line("")
}

/// Returns a bar for a number, where the greatest has all columns.
fn bar(number: u64, most: u64, has_unicode: bool) -> String {
    let eighths = (number as f64 / most.max(1) as f64 * BAR_COLUMNS as f64 * 8.0).round() as usize;
    if !has_unicode {
        return "#".repeat((eighths / 8).max(usize::from(number > 0)));
    }
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8).copied().unwrap_or_default();
    match ("█".repeat(eighths / 8) + rest, number) {
        (bar, 1..) if bar.is_empty() => "▏".to_owned(),
        (bar, _) => bar,
    }
}

/// Returns whether the locale has the characters of bars.
fn has_unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0, 0, true), "");
        assert_eq!(bar(10, 10, true), "█".repeat(BAR_COLUMNS));
        assert_eq!(bar(5, 10, true), "█".repeat(BAR_COLUMNS / 2));
        assert_eq!(bar(1, 1000, true), "▏");
        assert_eq!(bar(1, 1000, false), "#");
        assert_eq!(bar(5, 10, false), "#".repeat(BAR_COLUMNS / 2));
    }
}
