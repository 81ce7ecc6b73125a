//! Names: of snapshots and of sources, and the name that a snapshot has if the user gives none.

use std::path::Path;

use ruvector_snapshot_format::{annotation, limits, metadata};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::source::{COLLECTION_FILE, database_path};

/// The name of a snapshot of a file whose own name is not allowed.
const FALLBACK_NAME: &str = "database";

/// Refuses a name that is blank, longer than 1,024 bytes, or has control characters, and the names that mean something
/// else: `latest`, and ids.
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`].
///
/// # Examples
///
/// ```
/// assert!(ruvector_snapshot::check_name("nightly").is_ok());
/// assert!(ruvector_snapshot::check_name("latest").is_err());
/// ```
pub fn check_name(name: &str) -> Result<()> {
    Ok(metadata::check_name(name)?)
}

/// Refuses a name of a source that is blank, longer than 1,024 bytes, or has control characters.
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`].
///
/// # Examples
///
/// ```
/// assert!(ruvector_snapshot::check_source_name("articles").is_ok());
/// assert!(ruvector_snapshot::check_source_name(" ").is_err());
/// ```
pub fn check_source_name(name: &str) -> Result<()> {
    let invalid = |what: String| Err(SnapshotError::new(ErrorKind::InvalidInput, what));
    if name.trim().is_empty() {
        return invalid("the name of a source cannot be empty; omit it, and the path identifies the source".to_owned());
    }
    if name.len() > limits::NAME_BYTES {
        let (bytes, max) = (name.len(), limits::NAME_BYTES);
        return invalid(format!("the name of a source has {bytes} bytes, more than the {max} allowed"));
    }
    if name.chars().any(char::is_control) {
        return invalid(format!("the name of a source cannot contain control characters: {name:?}"));
    }
    Ok(())
}

/// Refuses a note that is blank, longer than 4,096 bytes, or has control characters other than tabs and line feeds.
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`].
///
/// # Examples
///
/// ```
/// assert!(ruvector_snapshot::check_note("before the upgrade").is_ok());
/// assert!(ruvector_snapshot::check_note(" ").is_err());
/// ```
pub fn check_note(note: &str) -> Result<()> {
    Ok(annotation::check_note(note)?)
}

/// Returns the name that a snapshot of a database file has by default: the name of the file without its extension. Every
/// collection is in a file called `vectors.db`, so there it is the name of its directory.
///
/// If a snapshot cannot have that name, the default is the one of the file, and in the end `database`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::default_name;
///
/// assert_eq!(default_name("/srv/articles.db"), "articles");
/// assert_eq!(default_name("/srv/collections/articles/vectors.db"), "articles");
/// ```
pub fn default_name(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    let text = |name: Option<&std::ffi::OsStr>| name.map(|name| name.to_string_lossy().into_owned());
    let directory = match path.file_name() {
        Some(name) if name == COLLECTION_FILE => database_path::absolute(path).ok(),
        _ => None,
    };
    let directory = directory.as_deref().and_then(Path::parent).and_then(|parent| text(parent.file_name()));
    let names = [directory, text(path.file_stem())].into_iter().flatten();
    names.into_iter().find(|name| check_name(name).is_ok()).unwrap_or_else(|| FALLBACK_NAME.to_owned())
}
