//! Everything that is printed goes through here: results to standard output, as text or as one JSON document, and
//! progress, notices and errors to standard error. Also formats sizes, times and untrusted text. Decides nothing.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use indicatif::{BinaryBytes, HumanCount};
use ruvector_snapshot::{Changes, IrregularInfo, OrphanKind, Snapshot, SourceInfo, Transferred};
use serde::Serialize;
use unicode_width::UnicodeWidthChar;

use crate::documents::{FailureDocument, Run};
use crate::failure::Failure;
use crate::logs::PRINTED;

/// How this run prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    /// Prints a line of text, unless the output is JSON.
    pub(crate) fn line(&self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write_out(format!("{}\n", plain(&text.to_string())).as_bytes()) }
    }

    /// Prints a label and its value, unless the output is JSON.
    pub(crate) fn field(&self, label: &str, value: impl fmt::Display) -> Result<(), Failure> {
        self.line(format_args!("  {label:<12}  {value}"))
    }

    /// Prints the one document of the run, if the output is JSON. Its text is never in memory as a whole.
    pub(crate) fn document(&self, document: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let mut stdout = BufWriter::new(io::stdout().lock());
        let printed = serde_json::to_writer_pretty(&mut stdout, document).map_err(io::Error::from);
        written(printed.and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush())).map(drop)
    }

    /// As [`document`](Self::document), with the member `snapshot` and others. The user's JSON in the snapshot is printed
    /// as it is: parsed values can take a hundred times as much memory as the text.
    pub(crate) fn document_of(&self, snapshot: &Snapshot, others: &impl Serialize) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Document<'a, T> {
            snapshot: &'a Snapshot,
            #[serde(flatten)]
            others: &'a T,
        }
        self.document(&Document { snapshot, others })
    }

    /// Prints bytes as they are, whatever the output is.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        write_out(bytes)
    }

    /// As [`raw`](Self::raw), and returns whether the output is still read: it is not if it is a closed pipe.
    pub(crate) fn raw_while_read(&self, bytes: &[u8]) -> Result<bool, Failure> {
        try_write_out(bytes)
    }

    /// Prints how a run failed. The warnings have been printed, except in the JSON document.
    pub(crate) fn failure(&self, run: &Run, failure: &Failure, warnings: &[String]) {
        let lines = failure.lines();
        tracing::error!(target: PRINTED, "{}", lines.join("\n"));
        lines.iter().for_each(|line| self.message(line));
        self.failure_document(run, failure, warnings);
    }

    /// Prints the document of a run that failed, if the output is JSON.
    pub(crate) fn failure_document(&self, run: &Run, failure: &Failure, warnings: &[String]) {
        if !failure.is_in_document() {
            let document = FailureDocument { error: &failure.document() };
            // If standard output cannot be written, there is no way to report it.
            let _printed = self.document(&run.document(&document, warnings));
        }
    }

    /// Prints a line to standard error.
    pub(crate) fn notice(&self, text: impl fmt::Display) {
        let _printed = writeln!(io::stderr().lock(), "{}", plain(&text.to_string()));
    }

    /// Prints a message such as `error: …` to standard error. On a terminal its lines are wrapped between words, and
    /// indented by the label.
    pub(crate) fn message(&self, text: impl fmt::Display) {
        let text = text.to_string();
        let size = if self.is_terminal() { terminal_size::terminal_size_of(io::stderr()) } else { None };
        match size {
            Some((terminal_size::Width(columns), _)) => {
                wrapped(&plain(&text), usize::from(columns)).iter().for_each(|line| self.notice(line));
            }
            None => self.notice(text),
        }
    }

    /// Returns whether standard error is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// Formats a size in binary units.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { BinaryBytes(bytes).to_string() }
}

/// Adds sizes. What a server claims may be more than a number holds.
pub(crate) fn total(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

/// Formats a number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Formats a number and a noun, in the plural if necessary.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Returns a kind of orphan in words.
pub(crate) fn orphan_kind(kind: OrphanKind) -> &'static str {
    match kind {
        OrphanKind::Upload => "abandoned upload",
        OrphanKind::Deletion => "interrupted deletion",
        OrphanKind::Marker => "marker that is no longer needed",
        OrphanKind::LedgerEntry => "ledger entry that is not needed",
        OrphanKind::Check => "object of a store check",
        OrphanKind::Directory => "empty directory",
        OrphanKind::Multipart => "multipart upload",
        _ => "temporary file",
    }
}

/// Formats a duration and the rate of so many things, for example `records`.
pub(crate) fn pace(taken: Duration, number: u64, things: &str) -> String {
    format!("{:.2} s, {} {things}/s", taken.as_secs_f64(), count(rate(number, taken)))
}

/// Prints how much was read and written, from where and to where, with the rates. Leaves out what there was none of.
pub(crate) fn print_transferred(output: &Output, transferred: Transferred, taken: Duration) -> Result<(), Failure> {
    let lines = [
        ("read", transferred.store_read_bytes, "from the store"),
        ("written", transferred.store_written_bytes, "to the store"),
        ("written", transferred.file_written_bytes, "to the file"),
    ];
    lines.into_iter().filter(|(_, bytes, _)| *bytes > 0).try_for_each(|(label, bytes, place)| {
        output.field(label, format_args!("{} {place}, {}/s", size(bytes), size(rate(bytes, taken))))
    })
}

/// Returns so many of anything in a second.
pub(crate) fn rate(number: u64, taken: Duration) -> u64 {
    (number as f64 / taken.as_secs_f64().max(0.001)) as u64
}

/// Formats a time.
pub(crate) fn timestamp(time: DateTime<Utc>) -> impl fmt::Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}

/// Formats the name of a source, its kind, its host and path, and the commit.
pub(crate) fn source(source: &SourceInfo) -> String {
    let place = match (&source.host, &source.path) {
        (Some(host), Some(path)) => format!(" {host}:{path}"),
        (None, Some(path)) => format!(" {path}"),
        (Some(host), None) => format!(" on {host}"),
        (None, None) => String::new(),
    };
    let commit = source.transaction_id.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    match &source.name {
        Some(name) => format!("{name} ({}{place}){commit}", source.kind),
        None => format!("{}{place}{commit}", source.kind),
    }
}

/// Formats how long a time lies before another one.
pub(crate) fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let age = now.signed_duration_since(time);
    match age.num_minutes() {
        ..1 => "just now".to_owned(),
        minutes @ 1..60 => format!("{minutes} min ago"),
        60..2880 => format!("{} h ago", age.num_hours()),
        _ => format!("{} d ago", count(age.num_days().unsigned_abs())),
    }
}

/// Formats the number of changes of an incremental snapshot.
pub(crate) fn changes(changes: &Changes) -> String {
    let Changes { added, changed, removed, .. } = *changes;
    format!("{} added, {} changed, {} removed", count(added), count(changed), count(removed))
}

/// Formats the size of an incremental snapshot as a share of the full snapshot of its chain.
pub(crate) fn share(snapshot: &Snapshot, full: &Snapshot) -> String {
    let (stored, whole) = (snapshot.size_bytes, full.size_bytes.max(1));
    let percent = stored as f64 * 100.0 / whole as f64;
    format!("{} in the store, {percent:.1} % of the full snapshot ({})", size(stored), size(full.size_bytes))
}

/// Formats the size of a snapshot and its compression ratio.
pub(crate) fn ratio(snapshot: &Snapshot) -> String {
    let (stored, raw) = (snapshot.size_bytes, snapshot.raw_bytes);
    if raw == 0 {
        return format!("{} in the store", size(stored));
    }
    let percent = stored as f64 * 100.0 / raw as f64;
    format!("{} in the store, {percent:.1} % of {} uncompressed", size(stored), size(raw))
}

/// Formats the number of vectors, the dimensions and the metric.
pub(crate) fn shape(snapshot: &Snapshot) -> String {
    shape_of(snapshot.vector_count as u64, snapshot.dimensions as u64, snapshot.distance_metric.as_deref())
}

/// As [`shape`], of a database of so many vectors, with these dimensions and this metric.
pub(crate) fn shape_of(vectors: u64, dimensions: u64, metric: Option<&str>) -> String {
    let metric = metric.unwrap_or("metric not recorded");
    format!("{} of {dimensions} dimensions, {metric}", count(vectors))
}

/// Prints what a snapshot holds apart from records, and names the first of it.
pub(crate) fn print_irregular(output: &Output, irregular: &IrregularInfo) -> Result<(), Failure> {
    output.field("irregular", format_args!("{irregular}, kept as they are"))?;
    irregular.examples.iter().try_for_each(|example| output.field("", example))
}

/// Cuts text to a number of terminal columns, with an ellipsis.
pub(crate) fn fitted(text: &str, columns_max: usize) -> String {
    let text = plain(text);
    if width(&text) <= columns_max {
        return text;
    }
    let mut cut = String::new();
    let mut columns = 1;
    for c in text.chars() {
        columns += c.width().unwrap_or(0);
        if columns > columns_max {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// As [`fitted`], but keeps the end, in which paths usually differ.
pub(crate) fn fitted_end(text: &str, columns_max: usize) -> String {
    let turned = |text: &str| text.chars().rev().collect::<String>();
    turned(&fitted(&turned(&plain(text)), columns_max))
}

/// Divides a message into lines of so many terminal columns. All lines but the first are indented by the label, which
/// ends with the first colon. A word that is longer than a line is not divided.
fn wrapped(text: &str, columns_max: usize) -> Vec<String> {
    let label = text.find(": ").map_or(0, |end| width(text.get(..end + 2).unwrap_or_default()));
    if width(text) <= columns_max || label > columns_max / 2 {
        return vec![text.to_owned()];
    }
    let start = text.len() - text.trim_start().len();
    let mut lines = Vec::new();
    let mut line = text.get(..start).unwrap_or_default().to_owned();
    let mut is_first = true;
    for word in text.get(start..).unwrap_or_default().split(' ') {
        if !is_first && width(&line) > label && width(&line) + 1 + width(word) > columns_max {
            lines.push(std::mem::replace(&mut line, " ".repeat(label)));
            is_first = true;
        }
        if !std::mem::take(&mut is_first) {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// Returns the number of terminal columns of a text.
fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Quotes a word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "-_./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Quotes a path for a shell.
pub(crate) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// Escapes characters that control a terminal or change the direction of the text.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                shown.extend(c.escape_unicode());
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Writes to standard output. A closed pipe is not a failure.
fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    try_write_out(bytes).map(drop)
}

/// Writes to standard output. Returns false if it is a closed pipe.
fn try_write_out(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Returns false if the output is a closed pipe.
fn written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::output(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}d\u{7f}"), "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{7f}");
        assert_eq!(plain("日本語 ünï 👩‍🚀 שלום"), "日本語 ünï 👩‍🚀 שלום");
    }

    #[test]
    fn text_is_cut_by_columns_not_by_characters() {
        assert_eq!(fitted("short", 5), "short");
        assert_eq!(fitted("longer", 5), "long…");
        assert_eq!(fitted("日本語日本語", 7), "日本語…");
        assert_eq!(fitted_end("short", 5), "short");
        assert_eq!(fitted_end("longer", 5), "…nger");
    }

    #[test]
    fn messages_are_wrapped_between_words_with_a_hanging_indent() {
        let message = "error: one two three four five six seven";
        assert_eq!(wrapped(message, 40), [message]);
        assert_eq!(wrapped(message, 39), ["error: one two three four five six", "       seven"]);
        assert_eq!(wrapped(message, 20), ["error: one two three", "       four five six", "       seven"]);
        assert_eq!(wrapped("  hint: use `x` or `yy` now", 20), ["  hint: use `x` or", "        `yy` now"]);
        let path = "error: /a/very/long/path/that/is/no/more/than/a/word failed";
        assert_eq!(wrapped(path, 30), ["error: /a/very/long/path/that/is/no/more/than/a/word", "       failed"]);
        // There is no room for an indent, or no label.
        assert_eq!(wrapped(message, 10), [message]);
        assert_eq!(wrapped("日本語 日本語", 8), ["日本語", "日本語"]);
        for columns in 14..50 {
            let lines = wrapped(message, columns);
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:?}");
            assert_eq!(lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "), message);
        }
    }

    #[test]
    fn words_are_quoted_if_a_shell_needs_it() {
        assert_eq!(quoted("/srv/a-b_1.db"), "/srv/a-b_1.db");
        assert_eq!(quoted("my file's"), r"'my file'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn sizes_and_counts_are_formatted() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(3 << 20), "3.00 MiB");
        assert_eq!(counted(1, "snapshot"), "1 snapshot");
        assert_eq!(counted(1234, "snapshot"), "1,234 snapshots");
    }
}
