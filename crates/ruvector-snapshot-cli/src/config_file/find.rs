//! Which configuration file is read: the first that exists, and no other.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The name of the file.
const FILE_NAME: &str = "ruvector-snapshot.toml";
/// The environment variable that names the file.
const CONFIG_VARIABLE: &str = "RUVECTOR_SNAPSHOT_CONFIG";

/// How a file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBy {
    Flag,
    Environment,
    /// In one of the directories.
    Directory,
}

/// The file that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) by: FoundBy,
}

/// Returns the file that is read, or `None` if there is none. One that is named is not looked for: that it does not exist
/// shows when it is read.
///
/// # Errors
///
/// Returns why a file that was only found by its name is not trusted.
pub(crate) fn find(flag: Option<&Path>) -> Result<Option<Found>, String> {
    if let Some(path) = flag {
        return Ok(Some(Found { path: path.to_owned(), by: FoundBy::Flag }));
    }
    if let Some(path) = variable(CONFIG_VARIABLE) {
        return Ok(Some(Found { path: path.into(), by: FoundBy::Environment }));
    }
    for path in places() {
        if is_there(&path)? {
            check_owner(&path)?;
            return Ok(Some(Found { path, by: FoundBy::Directory }));
        }
    }
    Ok(None)
}

/// Returns whether there is a file. One that cannot be used is an error and is not skipped: without it, another store would
/// be used.
fn is_there(path: &Path) -> Result<bool, String> {
    let refused = |why: &str| {
        format!(
            "the configuration file {} cannot be used: {why}; mend it, name another one with --config, or use --no-config",
            path.display()
        )
    };
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        // A working directory that cannot be searched has no file that is meant to be used.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.is_relative() => return Ok(false),
        Err(error) => return Err(refused(&error.to_string())),
    }
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(true),
        // A pipe would be waited for, perhaps for ever.
        Ok(_) => Err(refused("it is no regular file")),
        Err(error) => Err(refused(&format!("it is a link, and what it names cannot be opened: {error}"))),
    }
}

/// Returns where a file is looked for, in this order.
pub(crate) fn places() -> Vec<PathBuf> {
    let below = |directory: PathBuf| directory.join("ruvector-snapshot").join(FILE_NAME);
    // A relative one is to be ignored, as the specification of these directories says.
    let xdg = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| Path::new(&home).join(".config"));
    let mut places = vec![PathBuf::from(FILE_NAME)];
    places.extend(xdg.or_else(home).map(below));
    places.push(below(PathBuf::from("/etc")));
    places
}

/// Returns an environment variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Refuses a file that somebody else may have put there, for example in `/tmp`: it could send snapshots and credentials to
/// a store of theirs.
fn check_owner(path: &Path) -> Result<(), String> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    // The user of this process, where the system says it.
    let own = fs::metadata("/proc/self").ok().map(|process| process.uid());
    // The owner of a link counts, too: the link selects the file.
    let link = fs::symlink_metadata(path).map_or(metadata.uid(), |link| link.uid());
    let is_of_other = own.is_some_and(|own| [metadata.uid(), link].iter().any(|owner| *owner != own && *owner != 0));
    let problem = match metadata.permissions().mode() & 0o002 != 0 {
        _ if is_of_other => "belongs to another user",
        true => "can be changed by every user of this machine",
        false => return Ok(()),
    };
    Err(format!(
        "the configuration file {} {problem}, so it is not used; to use it all the same, name it with --config, or \
         use --no-config",
        path.display()
    ))
}
