//! The options that select records: from the command line, a file or standard input to a filter of the library.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use ruvector_snapshot::{ErrorKind, RecordFilter, SnapshotError};

use crate::args::Selection;
use crate::failure::Failure;

impl Selection {
    /// Returns the filter. `None` if all records are selected.
    pub(crate) fn filter(&self) -> Result<Option<RecordFilter>, Failure> {
        let mut filter = RecordFilter::default();
        if !self.ids.is_empty() {
            filter = filter.ids(&self.ids);
        }
        if let Some(path) = &self.ids_from {
            filter = filter.ids(read_ids(path)?);
        }
        filter.conditions.clone_from(&self.conditions);
        Ok((!filter.accepts_everything()).then_some(filter))
    }
}

/// Reads one id from each line that is not empty.
fn read_ids(path: &Path) -> Result<Vec<String>, Failure> {
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => {
            Box::new(File::open(path).map_err(|error| SnapshotError::io(path, "open the file with the ids", error))?)
        }
    };
    let mut ids = Vec::new();
    for (line, number) in BufReader::new(input).split(b'\n').zip(1_u64..) {
        let mut id = line.map_err(|error| SnapshotError::io(path, "read the ids", error))?;
        if id.last() == Some(&b'\r') {
            id.pop();
        }
        if id.is_empty() {
            continue;
        }
        let id = String::from_utf8(id).map_err(|error| {
            let message = format!("{}: line {number} is not UTF-8, and no id is", path.display());
            Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message).with_source(error))
        })?;
        ids.push(id);
    }
    if ids.is_empty() {
        let message = format!("{}: there are no ids, so there is nothing to do", path.display());
        return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)));
    }
    Ok(ids)
}
