//! The options that select records: from the command line, a file or standard input to a filter of the library.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use ruvector_snapshot::{Condition, ErrorKind, RecordFilter, SnapshotError};

use crate::failure::Failure;
use crate::input::{read_input, trim_line};
use crate::session::Session;
use crate::values::condition;

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only the record with this id. Can be repeated
    #[arg(long = "id", value_name = "RECORD_ID")]
    pub(crate) ids: Vec<String>,
    /// Only the records with the ids in FILE, one on each line, without blanks around them; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) ids_from: Option<PathBuf>,
    /// Only records whose metadata has this: PATH=VALUE, !=, <, <=, >, >=, or `PATH exists`. Can be repeated, and then all
    /// must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = condition)]
    pub(crate) conditions: Vec<Condition>,
}

/// The longest list of ids. It is in memory as a whole, and a device such as /dev/zero has no end.
const IDS_BYTES_MAX: u64 = 64 << 20;

impl Selection {
    /// Returns the filter. `None` if all records are selected.
    pub(crate) async fn filter(&self, session: &Session) -> Result<Option<RecordFilter>, Failure> {
        let mut filter = RecordFilter::default();
        if !self.ids.is_empty() {
            filter = filter.ids(&self.ids);
        }
        if let Some(path) = &self.ids_from {
            let IdLines { ids, divided } = read_input(session, path, "ids", ids_of).await?;
            if let Some(line) = divided.filter(|_| !session.output.quiet) {
                session.output.message(format_args!(
                    "tip: line {line} of the ids has a comma or a blank inside, and is read as one id; each id needs a line of its own"
                ));
            }
            filter = filter.ids(ids);
        }
        filter.conditions.clone_from(&self.conditions);
        Ok((!filter.accepts_everything()).then_some(filter))
    }
}

/// The ids of a file.
#[derive(Debug, PartialEq, Eq)]
struct IdLines {
    ids: BTreeSet<String>,
    /// The first line that may have several ids: an id can have commas and blanks, too.
    divided: Option<u64>,
}

/// Reads one id from each line that is not empty.
fn ids_of(path: &Path, input: impl Read) -> Result<IdLines, SnapshotError> {
    let wrong = |what: &str| SnapshotError::new(ErrorKind::InvalidInput, format!("{}: {what}", path.display()));
    let mut bytes = 0;
    let (mut ids, mut divided) = (BTreeSet::new(), None);
    for (line, number) in BufReader::new(input.take(IDS_BYTES_MAX + 1)).split(b'\n').zip(1_u64..) {
        let mut id = line.map_err(|error| SnapshotError::io(path, "read the ids", error))?;
        bytes += id.len() as u64 + 1;
        // The last line need not have an end.
        if bytes > IDS_BYTES_MAX + 1 {
            return Err(wrong("more than 64 MiB, the longest list of ids; divide it, and repeat the command"));
        }
        trim_line(&mut id, number);
        let id = id.trim_ascii();
        if !id.is_empty() {
            if let Some(what) = json_of(id) {
                return Err(wrong(&format!(
                    "line {number} is {what} of JSON, and each line has one id and nothing else; `jq -r .id` prints the ids of JSON Lines"
                )));
            }
            if id.iter().any(|byte| *byte == b',' || byte.is_ascii_whitespace()) {
                divided = divided.or(Some(number));
            }
            let not_utf8 = |error| wrong(&format!("line {number} is not UTF-8, and no id is")).with_source(error);
            ids.insert(String::from_utf8(id.to_vec()).map_err(not_utf8)?);
        }
    }
    if ids.is_empty() {
        return Err(wrong("there are no ids, so there is nothing to do"));
    }
    Ok(IdLines { ids, divided })
}

/// Returns what a line of JSON is, if it is one that no id is. An id can be a number or begin with a bracket.
fn json_of(line: &[u8]) -> Option<&'static str> {
    match serde_json::from_slice(line) {
        Ok(serde_json::Value::Object(_)) => Some("an object"),
        Ok(serde_json::Value::Array(_)) => Some("an array"),
        _ => None,
    }
}
