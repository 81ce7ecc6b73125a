//! The free space that dry runs of commands that store snapshots compare with what would be written.

use std::path::Path;

use ruvector_snapshot::store::Location;
use ruvector_snapshot::{ErrorKind, free_space};

use crate::failure::Failure;
use crate::output::{count, size};
use crate::session::Session;

/// How much would be written, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needed {
    /// It is not less.
    pub(crate) least: u64,
    /// It is not more.
    pub(crate) most: u64,
}

impl Needed {
    pub(crate) fn at_most(most: u64) -> Self {
        Self { least: 0, most }
    }
}

/// Compares what would be written to a store with the space that its file system has left, and returns that. Warns if it may be
/// too little. A bucket has no such limit that could be asked for.
///
/// # Errors
///
/// Fails if the space is too little.
pub(crate) fn check_store(session: &Session, location: &Location, needed: Needed) -> Result<Option<u64>, Failure> {
    let Location::Local(path) = location else { return Ok(None) };
    let Some(left) = free_space(path) else { return Ok(None) };
    let (Needed { least, most }, free) = (needed, left.bytes);
    let store = path.display();
    if free < least && left.is_plain {
        let message =
            format!("{store}: {least} bytes would be written, and the file system of this store has {free} bytes left");
        return Err(Failure::new(ErrorKind::StorageFull, message)
            .with_hint("free space, for example with `prune`, or choose another store"));
    }
    if free < most {
        session.warnings.add(&format!(
            "{store}: up to {most} bytes may be written, and the file system of this store has {free} bytes left; if that is too \
             little, the command will fail"
        ));
    }
    Ok(Some(free))
}

/// As [`check_store`], of a private copy of the database in the scratch directory. It is rarely made.
pub(crate) fn check_scratch(session: &Session, directory: &Path, most: u64) -> Option<u64> {
    let free = free_space(directory)?.bytes;
    if free < most {
        session.warnings.add(&format!(
            "{}: if the database is written meanwhile, a private copy of it needs up to {most} bytes in this scratch directory, \
             whose file system has {free} bytes left; if that is too little, the command will fail. Choose another with \
             --scratch-dir",
            directory.display()
        ));
    }
    Some(free)
}

/// Prints what a file system has left, if it is known.
pub(crate) fn print_free(session: &Session, name: &str, free: Option<u64>) -> Result<(), Failure> {
    match free {
        Some(bytes) => session.output.field(name, format_args!("{} ({} bytes)", size(bytes), count(bytes))),
        None => Ok(()),
    }
}
