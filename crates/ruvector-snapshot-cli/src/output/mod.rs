//! Everything that is printed goes through here: results to standard output, as text or as one JSON document, and
//! progress, notices and errors to standard error. Decides nothing about the work, only how it is shown: `text` wraps and
//! escapes, `table` fits tables, `style` has the colours, `ids` and `time` the forms of ids and times, and `units` and
//! `snapshots` the words.

mod ids;
mod snapshots;
mod sources;
mod style;
mod table;
mod text;
mod time;
mod units;

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use chrono::{DateTime, Utc};
use ruvector_snapshot::ErrorKind;
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

use crate::documents::{FailureDocument, Run};
use crate::failure::Failure;
use crate::global::Global;
use crate::logs::PRINTED;
use crate::stderr::write_if_ready;

pub(crate) use ids::Ids;
pub(crate) use snapshots::{
    changes, orphan_kind, print_embedding, print_irregular, print_note, print_transferred, ratio, shape, shape_of,
    share, source,
};
pub(crate) use sources::distinguished;
pub(crate) use style::{Text, Tone};
pub(crate) use table::{Cell, Column, Table};
pub(crate) use text::{enumerated, fitted, plain, quoted, quoted_path};
pub(crate) use time::{Zone, ago, until};
pub(crate) use units::{count, counted, pace, rate, size, total};

/// Columns of a terminal that text is fitted to. A smaller terminal wraps what is printed, and longer lines are hard to read.
const COLUMNS_MIN: usize = 60;
const COLUMNS_MAX: usize = 200;
/// Columns of a terminal that does not say how many it has.
const COLUMNS_DEFAULT: usize = 80;

/// Columns of the terminal for the label of a field.
const LABEL_COLUMNS: usize = 12;

/// How this run prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Whether results are left out of the text: what was done, if nothing is wrong.
    is_silent: bool,
    pub(crate) has_short_ids: bool,
    zone: Zone,
    results: Stream,
    messages: Stream,
    /// Whether results go to standard error, because a person has to read them before they answer.
    is_above_question: bool,
}

/// Where text goes.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Columns of the terminal. `None` if it is none: text is not wrapped.
    columns: Option<usize>,
    has_colours: bool,
}

impl Output {
    /// Returns how a run with these options prints. With --quiet only a command whose purpose is its output prints that.
    pub(crate) fn new(global: &Global, is_purpose: bool) -> Self {
        let Global { json, quiet, full_id, utc, .. } = *global;
        let results = Stream::of(&io::stdout());
        let is_on_terminal = results.columns.is_some();
        Self {
            json,
            quiet,
            is_silent: quiet && !is_purpose,
            has_short_ids: is_on_terminal && !full_id && !json,
            zone: if is_on_terminal && !utc { Zone::Local } else { Zone::Utc },
            results,
            messages: Stream::of(&io::stderr()),
            is_above_question: false,
        }
    }

    /// Returns how a run prints whose options are not known.
    pub(crate) fn without_options(json: bool) -> Self {
        Self {
            json,
            quiet: false,
            is_silent: false,
            has_short_ids: false,
            zone: Zone::Utc,
            results: Stream::of(&io::stdout()),
            messages: Stream::of(&io::stderr()),
            is_above_question: false,
        }
    }

    /// Returns the same for a part of the work whose results are printed even with --quiet.
    #[must_use]
    pub(crate) fn always(self) -> Self {
        Self { is_silent: false, ..self }
    }

    /// Returns the same for a plan above a question: it is text on standard error, also with --json and --quiet.
    #[must_use]
    pub(crate) fn above_question(self) -> Self {
        Self { json: false, is_silent: false, results: self.messages, is_above_question: true, ..self }
    }

    /// Prints a line of text, unless the output is JSON. On a terminal it is wrapped between words.
    pub(crate) fn line(&self, text: impl Into<Text>) -> Result<(), Failure> {
        let text = text.into();
        let indent = text.plain.len() - text.plain.trim_start().len() + 2;
        self.text(&text, indent)
    }

    /// Prints a label and its value, unless the output is JSON.
    pub(crate) fn field(&self, label: &str, value: impl Into<Text>) -> Result<(), Failure> {
        let value = value.into();
        let text = Text::from(format_args!("  {label:<LABEL_COLUMNS$}  ")).append(&value);
        self.text(&text, LABEL_COLUMNS + 4)
    }

    /// As [`line`](Self::line), and indents all lines but the first by so many columns.
    pub(crate) fn column(&self, text: &Text, indent: usize) -> Result<(), Failure> {
        self.text(text, indent)
    }

    /// Prints a table, unless the output is JSON.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Failure> {
        if self.json || self.is_silent {
            return Ok(());
        }
        let lines = table.lines(self.results.columns);
        lines.iter().try_for_each(|line| self.print(&line.lines(None, 0, self.results.has_colours)))
    }

    /// As [`table`](Self::table), also if the terminal has no room for it.
    pub(crate) fn whole_table(&self, table: &Table) -> Result<(), Failure> {
        let results = Stream { columns: None, ..self.results };
        Self { results, ..*self }.table(table)
    }

    /// Prints which command may be next, so that it can be pasted into a shell as it stands.
    pub(crate) fn next(&self, command: &str) -> Result<(), Failure> {
        if self.json || self.is_silent {
            return Ok(());
        }
        let (command, label) = (plain(command), "next: ");
        match self.results.columns {
            Some(columns) if label.len() + text::width(&command) > columns => {
                let mut lines = vec!["next:".to_owned()];
                lines.extend(
                    text::continued(&command, columns.saturating_sub(2)).iter().map(|line| format!("  {line}")),
                );
                self.print(&lines)
            }
            _ => self.print(&[format!("{label}{command}")]),
        }
    }

    fn text(&self, text: &Text, indent: usize) -> Result<(), Failure> {
        match self.json || self.is_silent {
            true => Ok(()),
            false => self.print(&text.lines(self.results.columns, indent, self.results.has_colours)),
        }
    }

    fn print(&self, lines: &[String]) -> Result<(), Failure> {
        let lines: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        match self.is_above_question {
            true => io::stderr().lock().write_all(lines.as_bytes()).map_err(|error| {
                Failure::new(ErrorKind::Unavailable, format!("cannot print the plan to standard error: {error}"))
            }),
            false => write_out(lines.as_bytes()),
        }
    }

    /// Returns how many columns the terminal has that results are printed to. `None` if it is none.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.results.columns
    }

    /// Cuts text to a number of columns on a terminal. In a pipe it is whole.
    pub(crate) fn fitted(&self, text: &str, columns_max: usize) -> String {
        if self.columns().is_some() { fitted(text, columns_max) } else { text.to_owned() }
    }

    /// Returns the time zone in which times are printed: the local one on a terminal, unless --utc is given.
    pub(crate) fn zone(&self) -> Zone {
        self.zone
    }

    /// Formats a time.
    pub(crate) fn time(&self, time: DateTime<Utc>) -> String {
        self.zone.time(time)
    }

    /// Formats a time, and on a terminal how long ago it was.
    pub(crate) fn time_ago(&self, time: DateTime<Utc>, now: DateTime<Utc>) -> String {
        match self.columns() {
            Some(_) => format!("{} ({})", self.time(time), ago(time, now)),
            None => self.time(time),
        }
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

    /// Prints a document on one line to standard output.
    pub(crate) fn document_line(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(document).map_err(|error| Failure::output(&io::Error::from(error)))?;
        line.push(b'\n');
        write_out(&line)
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

    /// Prints a document on one line to standard error, also on a terminal. It is lost if it cannot be written at once.
    pub(crate) fn json_line(&self, document: &impl Serialize) {
        if let Ok(mut line) = serde_json::to_vec(document) {
            line.push(b'\n');
            write_if_ready(&line);
        }
    }

    /// Prints a line to standard error that is lost if it cannot be written at once.
    pub(crate) fn passing_notice(&self, text: impl Into<Text>) {
        write_if_ready(self.message_lines(&text.into(), 2).as_bytes());
    }

    /// Prints a line to standard error.
    pub(crate) fn notice(&self, text: impl Into<Text>) {
        self.print_message(&text.into(), 2);
    }

    /// Prints a question to standard error, without the end of a line.
    pub(crate) fn question(&self, text: impl fmt::Display) {
        let mut stderr = io::stderr().lock();
        let _printed = write!(stderr, "{}", plain(&text.to_string())).and_then(|()| stderr.flush());
    }

    /// Prints a message such as `error: …` to standard error. Its lines are indented by the label, which ends with the
    /// first colon.
    pub(crate) fn message(&self, text: impl fmt::Display) {
        let text = text.to_string();
        let Some((label, rest)) = text.split_once(": ") else { return self.notice(text) };
        let tone = match label.trim_start() {
            "error" => Tone::Bad,
            "warning" => Tone::Caution,
            "hint" | "tip" => Tone::Good,
            "Usage" => Tone::Heading,
            "caused by" => Tone::Aside,
            _ => return self.notice(text),
        };
        let start = label.len() - label.trim_start().len();
        let label = format!("{}:", label.trim_start());
        let indent = start + label.len() + 1;
        self.print_message(&Text::from(" ".repeat(start)).tone(tone, label).add(" ").add(rest), indent);
    }

    /// Returns whether messages go to a terminal, to which they are fitted.
    pub(crate) fn wraps_messages(&self) -> bool {
        self.messages.columns.is_some()
    }

    fn print_message(&self, text: &Text, indent: usize) {
        let _printed = io::stderr().lock().write_all(self.message_lines(text, indent).as_bytes());
    }

    fn message_lines(&self, text: &Text, indent: usize) -> String {
        let lines = text.lines(self.messages.columns, indent, self.messages.has_colours);
        lines.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// Returns whether standard error is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

impl Stream {
    fn of<S: IsTerminal + std::os::fd::AsFd + anstream::stream::RawStream>(stream: &S) -> Self {
        let size = || terminal_size_of(stream).map_or(COLUMNS_DEFAULT, |(Width(columns), _)| usize::from(columns));
        let columns = IsTerminal::is_terminal(stream).then(|| size().clamp(COLUMNS_MIN, COLUMNS_MAX));
        Self { columns, has_colours: AutoStream::choice(stream) != ColorChoice::Never }
    }
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
