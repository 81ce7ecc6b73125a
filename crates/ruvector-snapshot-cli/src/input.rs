//! Reads a file or standard input that the user names, on a thread of its own. Knows nothing of what is in it.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::thread;

use ruvector_snapshot::{ErrorKind, SnapshotError};
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::session::Session;

/// What standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";
/// What some editors write at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads `what` from a file or, for `-`, from standard input, one on each line. `parse` gets the input, and the path for
/// messages. A signal does not wait for it: input that never comes cannot be interrupted.
pub(crate) async fn read_input<T: Send + 'static>(
    session: &Session,
    path: &Path,
    what: &'static str,
    parse: impl FnOnce(&Path, Box<dyn Read>) -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, Failure> {
    let is_standard_input = path.as_os_str() == "-";
    if is_standard_input && io::stdin().is_terminal() && !session.output.quiet {
        session.output.notice(format_args!("reading {what} from standard input, one on each line; Ctrl-D ends them"));
    }
    let path = if is_standard_input { PathBuf::from(STANDARD_INPUT) } else { path.to_owned() };
    let (sender, answer) = oneshot::channel();
    let read = move || {
        // A file that cannot be opened is no wrong usage, and neither is a directory. What is in it is a value.
        let opened = open(&path, is_standard_input, what).map_err(Failure::from);
        drop(sender.send(opened.and_then(|input| parse(&path, input).map_err(Failure::usage))));
    };
    thread::Builder::new()
        .name(what.to_owned())
        .spawn(read)
        .map_err(|error| SnapshotError::thread(&format!("start the thread that reads {what}"), error))?;
    let ended = |error| SnapshotError::new(ErrorKind::Internal, format!("the {what} were not read")).with_source(error);
    session.until_interrupted(answer, || "nothing was begun".to_owned()).await?.map_err(ended)?
}

/// Removes what is no part of a line: the byte order mark of the first one, and what is left of an end as Windows writes
/// it.
pub(crate) fn trim_line(line: &mut Vec<u8>, number: u64) {
    if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
        line.drain(..BYTE_ORDER_MARK.len());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
}

fn open(path: &Path, is_standard_input: bool, what: &str) -> Result<Box<dyn Read>, SnapshotError> {
    if is_standard_input {
        return Ok(Box::new(io::stdin()));
    }
    let failed = |error| SnapshotError::io(path, &format!("open the file with the {what}"), error);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        let message = format!("this is a directory; give the file with the {what}, one on each line");
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string()));
    }
    Ok(Box::new(file))
}
