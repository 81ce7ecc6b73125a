//! Which configuration file is read: the first that exists, and no other.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, read_link};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{getegid, geteuid};

/// The name of the file.
const FILE_NAME: &str = "ruvector-snapshot.toml";
/// The environment variable that names the file.
const CONFIG_VARIABLE: &str = "RUVECTOR_SNAPSHOT_CONFIG";
/// More symbolic links than the system follows.
const LINKS_MAX: usize = 40;

/// How a file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBy {
    Flag,
    Environment,
    /// In one of the directories.
    Directory,
}

/// The file that is read.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) by: FoundBy,
    /// The file that was checked. `None` if it was named: then it is opened when it is read.
    pub(super) opened: Option<Arc<File>>,
}

impl Found {
    pub(crate) fn named(path: impl Into<PathBuf>, by: FoundBy) -> Self {
        Self { path: path.into(), by, opened: None }
    }

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
        return Ok(Some(Found::named(path, FoundBy::Flag)));
    }
    if let Some(path) = variable(CONFIG_VARIABLE) {
        return Ok(Some(Found::named(path, FoundBy::Environment)));
    }
    for path in places() {
        if let Some(file) = open_trusted(&path)? {
            let path = place_of_user(&file).filter(|_| path.is_relative()).unwrap_or(path);
            return Ok(Some(Found { path, by: FoundBy::Directory, opened: Some(Arc::new(file)) }));
        }
    }
    Ok(None)
}

/// Returns where else than in the working directory this file would be found. There it is the user's own.
fn place_of_user(file: &File) -> Option<PathBuf> {
    let found = file.metadata().ok()?;
    let is_same = |path: &PathBuf| path.metadata().is_ok_and(|other| is_one_file(&other, &found));
    places().into_iter().filter(|path| path.is_absolute()).find(is_same)
}

fn is_one_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Opens a file, if there is one, and checks what it has opened. One that cannot be used is an error and is not skipped:
/// without it, another store would be used.
fn open_trusted(path: &Path) -> Result<Option<File>, String> {
    let refused = |why: &str| {
        format!(
            "the configuration file {} cannot be used: {why}; mend it, name another one with --config, or use --no-config",
            path.display()
        )
    };
    let is_link = match path.symlink_metadata() {
        Ok(found) => found.is_symlink(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        // A working directory that cannot be searched has no file that is meant to be used.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.is_relative() => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(format!(
                "it is not known whether there is a configuration file {}: this user may not search its directory; set HOME to the \
                 directory of this user, name a file with --config, or use --no-config",
                path.display()
            ));
        }
        Err(error) => return Err(refused(&error.to_string())),
    };
    // A pipe would be waited for, perhaps for ever.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| match is_link {
        true => refused(&format!("it is a link, and what it names cannot be opened: {error}")),
        false => refused(&error.to_string()),
    })?;
    let found = file.metadata().map_err(|error| refused(&error.to_string()))?;
    if !found.is_file() {
        return Err(refused("it is no regular file"));
    }
    check_trust(path, &found)?;
    Ok(Some(file))
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
/// to a store of theirs. `opened` is what the path has led to.
fn check_trust(path: &Path, opened: &Metadata) -> Result<(), String> {
    let failed = |error: io::Error| format!("the configuration file {} cannot be checked: {error}", path.display());
    let mut at = path.to_owned();
    for _ in 0..LINKS_MAX {
        let directory = at.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = directory.canonicalize().map_err(failed)?;
        let found = at.symlink_metadata().map_err(failed)?;
        if let Some(problem) = problem_of_entry(&found, &directory).map_err(failed)? {
            let to = if at == path { String::new() } else { format!(", a link to {},", at.display()) };
            return Err(format!(
                "the configuration file {}{to} {problem}, so it is not used; if you trust it, name it with --config, or change \
                 the owner or the mode; --no-config uses no file",
                path.display()
            ));
        }
        if !found.is_symlink() {
            return match is_one_file(&found, opened) {
                true => Ok(()),
                false => Err(failed(io::Error::other("it was replaced meanwhile"))),
            };
        }
        at = directory.join(read_link(&at).map_err(failed)?);
    }
    Err(failed(io::Error::other("there are too many symbolic links")))
}

/// Returns why a file or a link in a directory may be a stranger's.
fn problem_of_entry(found: &Metadata, directory: &Path) -> io::Result<Option<String>> {
    let of_directory = directory.metadata()?;
    // Only root puts files there. In a container they can have any owner.
    let is_of_system = directory.starts_with("/etc");
    // The mode of a link says nothing.
    let mode = if found.is_symlink() { 0 } else { found.mode() };
    // In a directory with the sticky bit, such as `/tmp`, only its owner can replace the file of this user.
    let directory_mode = if of_directory.mode() & 0o1000 == 0 { of_directory.mode() } else { 0 };
    let problem_of_directory = || problem(&of_directory, directory_mode, is_of_system);
    let is_in_directory = || Some(format!("is in a directory that {}", problem_of_directory()?));
    Ok(problem(found, mode, is_of_system).or_else(is_in_directory))
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
