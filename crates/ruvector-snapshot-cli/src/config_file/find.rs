//! Which configuration file is read: the first that exists, and no other.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

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

impl Found {
    /// Returns whether the file was only found in the working directory, and not named. It may have come with an archive or
    /// a repository.
    pub(crate) fn is_of_working_directory(&self) -> bool {
        self.by == FoundBy::Directory && self.path.is_relative()
    }
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
            check_trust(&path)?;
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

/// Refuses a file that another user may have put there, or can change or replace: it could send snapshots and credentials
/// to a store of theirs.
fn check_trust(path: &Path) -> Result<(), String> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| format!("the configuration file {} cannot be checked: {error}", path.display());
    let of_file = [path.symlink_metadata().map_err(failed)?, path.metadata().map_err(failed)?];
    let of_directory = directory.metadata().map_err(failed)?;
    // Only root puts files there. In a container they can have any owner.
    let is_of_system = path.starts_with("/etc");
    // The mode of a link says nothing.
    let mode = |file: &Metadata| if file.is_symlink() { 0 } else { file.mode() };
    let problem_of_file = of_file.iter().find_map(|file| problem(file, mode(file), is_of_system));
    // In a directory with the sticky bit, such as `/tmp`, only its owner can replace the file of this user.
    let directory_mode = if of_directory.mode() & 0o1000 == 0 { of_directory.mode() } else { 0 };
    let problem_of_directory = || problem(&of_directory, directory_mode, is_of_system);
    let problem = problem_of_file.or_else(|| Some(format!("is in a directory that {}", problem_of_directory()?)));
    match problem {
        None => Ok(()),
        Some(problem) => Err(format!(
            "the configuration file {} {problem}, so it is not used; if you trust it, name it with --config, or change the \
             owner or the mode; --no-config uses no file",
            path.display()
        )),
    }
}

/// Returns why a file or a directory with this mode may be a stranger's.
fn problem(found: &Metadata, mode: u32, is_of_system: bool) -> Option<String> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    if !is_of_system && found.uid() != user && found.uid() != 0 {
        Some("belongs to another user".to_owned())
    } else if mode & 0o002 != 0 {
        Some("can be changed by every user of this machine".to_owned())
    } else if !is_of_system && mode & 0o020 != 0 && found.gid() != group {
        // A file of the user's own group is common: many systems have a group for each user, and the umask 002.
        Some(format!("can be changed by the group {}", found.gid()))
    } else {
        None
    }
}
