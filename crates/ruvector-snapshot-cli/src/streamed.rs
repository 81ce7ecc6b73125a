//! Output that is printed item by item, so that the items need not be in memory together: a JSON document with one long
//! array, and the buffer of the commands that print many records.

use std::io;

use serde::Serialize;

use crate::documents::{Failed, Run};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Bytes that are printed together.
const BUFFER_BYTES: usize = 64 << 10;

/// Collects small pieces of output, until there are enough of them. After its reader has closed the pipe, it drops them.
pub(crate) struct OutputBuffer {
    output: Output,
    /// What was not printed yet.
    pub(crate) bytes: Vec<u8>,
    /// Whether the output is a closed pipe.
    pub(crate) is_closed: bool,
}

impl OutputBuffer {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, bytes: Vec::with_capacity(BUFFER_BYTES), is_closed: false }
    }

    /// Adds bytes. Prints them at once if there are very many.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() <= BUFFER_BYTES {
            self.bytes.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        self.is_closed |= !self.output.raw_while_read(bytes)?;
        Ok(())
    }

    /// Prints everything, if that is enough.
    pub(crate) fn flush_if_full(&mut self) -> Result<(), Failure> {
        if self.bytes.len() > BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Prints everything.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if !self.is_closed && !self.bytes.is_empty() {
            self.is_closed = !self.output.raw_while_read(&self.bytes)?;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// A document that is being printed.
pub(crate) struct StreamedDocument {
    output: Output,
    run: Run,
    has_items: bool,
}

impl StreamedDocument {
    /// Prints the beginning of a document, with these members, up to its array `name`.
    pub(crate) fn begin(session: &Session, members: &impl Serialize, name: &str) -> Result<Self, Failure> {
        let (output, run) = (session.output, session.run.clone());
        let text = pretty(&run.beginning(members))?;
        let members = text.strip_suffix("\n}").unwrap_or(&text);
        output.raw(format!("{members},\n  \"{name}\": [").as_bytes())?;
        Ok(Self { output, run, has_items: false })
    }

    /// Prints the next item of the array.
    pub(crate) fn item(&mut self, item: &impl Serialize) -> Result<(), Failure> {
        let before = self.next_item();
        let text = pretty(item)?.replace('\n', "\n    ");
        self.output.raw(format!("{before}{text}").as_bytes())
    }

    /// Returns what is to be printed before the next item, by a caller who prints the item.
    pub(crate) fn next_item(&mut self) -> &'static str {
        if std::mem::replace(&mut self.has_items, true) { ",\n    " } else { "\n    " }
    }

    /// Prints the end of the array, and the other members of the document.
    pub(crate) fn end(self, members: &impl Serialize, warnings: &[String]) -> Result<(), Failure> {
        let text = pretty(&self.run.ending(members, warnings))?;
        let indent = if self.has_items { "\n  " } else { "" };
        let members = text.strip_prefix('{').unwrap_or(&text);
        self.output.raw(format!("{indent}],{members}\n").as_bytes())
    }

    /// Prints the end of the array, the other members of the document and why there is no more, and returns that.
    pub(crate) fn fail(self, members: &impl Serialize, failure: Failure, warnings: &[String]) -> Failure {
        let failure = failure.with_interrupt_report();
        let printed = self.end(&Failed { members, error: &failure.document() }, warnings);
        match printed {
            Ok(()) => failure.in_document(),
            Err(not_printed) => not_printed.in_document(),
        }
    }
}

fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::output(&io::Error::from(error)))
}
