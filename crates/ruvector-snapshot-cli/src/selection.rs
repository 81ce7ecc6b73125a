//! The options that select records: from the command line, a file or standard input to a filter of the library.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::thread;

use ruvector_snapshot::{ErrorKind, RecordFilter, SnapshotError};
use tokio::sync::oneshot;

use crate::args::Selection;
use crate::failure::Failure;
use crate::session::Session;

/// The longest list of ids. It is in memory as a whole, and a device such as /dev/zero has no end.
const IDS_BYTES_MAX: u64 = 64 << 20;
/// What some editors write at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";

impl Selection {
    /// Returns the filter. `None` if all records are selected.
    pub(crate) async fn filter(&self, session: &Session) -> Result<Option<RecordFilter>, Failure> {
        let mut filter = RecordFilter::default();
        if !self.ids.is_empty() {
            filter = filter.ids(&self.ids);
        }
        if let Some(path) = &self.ids_from {
            filter = filter.ids(read_ids(session, path).await?);
        }
        filter.conditions.clone_from(&self.conditions);
        Ok((!filter.accepts_everything()).then_some(filter))
    }
}

/// Reads ids on a thread of their own. A signal does not wait for it: input that never comes cannot be interrupted.
async fn read_ids(session: &Session, path: &Path) -> Result<BTreeSet<String>, Failure> {
    let is_standard_input = path.as_os_str() == "-";
    if is_standard_input && io::stdin().is_terminal() && !session.output.quiet {
        session.output.notice("reading ids from standard input, one on each line; Ctrl-D ends them");
    }
    let path = if is_standard_input { PathBuf::from(STANDARD_INPUT) } else { path.to_owned() };
    let (sender, ids) = oneshot::channel();
    let read = move || drop(sender.send(open(&path, is_standard_input).and_then(|input| ids_of(&path, input))));
    thread::Builder::new()
        .name("ids".to_owned())
        .spawn(read)
        .map_err(|error| SnapshotError::thread("start the thread that reads ids", error))?;
    let ended = |error| SnapshotError::new(ErrorKind::Internal, "the ids were not read").with_source(error);
    let ids = session.until_interrupted(ids, || "nothing was begun".to_owned()).await?.map_err(ended)?;
    ids.map_err(Failure::usage)
}

fn open(path: &Path, is_standard_input: bool) -> Result<Box<dyn Read>, SnapshotError> {
    if is_standard_input {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path).map_err(|error| SnapshotError::io(path, "open the file with the ids", error))?))
}

/// Reads one id from each line that is not empty.
fn ids_of(path: &Path, input: impl Read) -> Result<BTreeSet<String>, SnapshotError> {
    let wrong = |what: &str| SnapshotError::new(ErrorKind::InvalidInput, format!("{}: {what}", path.display()));
    let mut bytes = 0;
    let mut ids = BTreeSet::new();
    for (line, number) in BufReader::new(input.take(IDS_BYTES_MAX + 1)).split(b'\n').zip(1_u64..) {
        let mut id = line.map_err(|error| SnapshotError::io(path, "read the ids", error))?;
        bytes += id.len() as u64 + 1;
        // The last line need not have an end.
        if bytes > IDS_BYTES_MAX + 1 {
            return Err(wrong("more than 64 MiB, the longest list of ids; divide it, and repeat the command"));
        }
        if number == 1 && id.starts_with(BYTE_ORDER_MARK) {
            id.drain(..BYTE_ORDER_MARK.len());
        }
        if id.last() == Some(&b'\r') {
            id.pop();
        }
        if !id.is_empty() {
            let not_utf8 = |error| wrong(&format!("line {number} is not UTF-8, and no id is")).with_source(error);
            ids.insert(String::from_utf8(id).map_err(not_utf8)?);
        }
    }
    if ids.is_empty() {
        return Err(wrong("there are no ids, so there is nothing to do"));
    }
    Ok(ids)
}
