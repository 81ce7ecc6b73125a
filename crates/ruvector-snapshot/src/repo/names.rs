//! What users say of snapshots: names, labels, notes, the embedding model, and the name that a snapshot has if the user gives none.

use std::collections::BTreeMap;
use std::path::Path;

use ruvector_snapshot_format::{annotation, limits, metadata};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::source::{COLLECTION_FILE, database_path};

/// The name of a snapshot of a file whose own name is not allowed.
const FALLBACK_NAME: &str = "database";

const EMBEDDING_ENTRIES_MAX: usize = 16;
const EMBEDDING_KEY_BYTES_MAX: usize = 64;
const EMBEDDING_VALUE_BYTES_MAX: usize = 1024;

/// Refuses a name that is blank, longer than 1,024 bytes, or has control characters or blanks at an end, and the names that
/// mean something else: `latest`, ids, and what looks like the start of an id. Snapshots that have such a name can be used.
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
    metadata::check_name(name)?;
    check_ends("the name of a snapshot", name)?;
    if is_like_start_of_id(name) {
        let message = format!(
            "a snapshot cannot be named {name:?}, which looks like the start of an id, so that it would be mistaken for others; \
             choose another name, for example {:?}",
            format!("at-{name}")
        );
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// Returns whether a text begins as ids do, with a date and a `T`, and goes on as they do.
fn is_like_start_of_id(text: &str) -> bool {
    const LIKE: &str = "00000000T000000000Z-0000000000000000";
    let fits = |(character, like): (char, char)| match like {
        // Of the last part.
        '0' => character.is_ascii_hexdigit() && !character.is_ascii_uppercase(),
        like => character == like,
    };
    let is_date = text.bytes().take(8).all(|byte| byte.is_ascii_digit());
    text.len() > 8 && text.len() <= LIKE.len() && is_date && text.chars().zip(LIKE.chars()).all(fits)
}

/// Refuses blanks at the ends of what a person types and a program compares: a listing does not show them.
fn check_ends(what: &str, text: &str) -> Result<()> {
    if text.trim() == text {
        return Ok(());
    }
    let message = format!("{what} cannot begin or end with blanks: {text:?}; leave them out");
    Err(SnapshotError::new(ErrorKind::InvalidInput, message))
}

/// Refuses a label whose key or value has control characters or blanks at an end. Snapshots that have
/// such a label can be used.
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`].
///
/// # Examples
///
/// ```
/// assert!(ruvector_snapshot::check_label("host", "db1").is_ok());
/// assert!(ruvector_snapshot::check_label("host", "db1 ").is_err());
/// ```
pub fn check_label(key: &str, value: &str) -> Result<()> {
    for (what, text) in [("the key of a label", key), ("the value of a label", value)] {
        check_ends(what, text)?;
        if text.chars().any(char::is_control) {
            let message = format!("{what} cannot contain control characters: {text:?}");
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}

/// Refuses a name of a source that is blank, longer than 1,024 bytes, or has control characters or blanks at an end.
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
    check_ends("the name of a source", name)
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

/// Checks what is said of the embedding model of a database, as [`CreateOptions::embedding`](crate::CreateOptions::embedding) has it.
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`] if there are too many entries, or if a key or a value cannot be compared.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
///
/// let given = |value: &str| BTreeMap::from([("normalized".to_owned(), value.to_owned())]);
/// assert!(ruvector_snapshot::check_embedding(&given("true")).is_ok());
/// assert!(ruvector_snapshot::check_embedding(&given("maybe")).is_err());
/// ```
pub fn check_embedding(given: &BTreeMap<String, String>) -> Result<()> {
    let invalid = |message: String| Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    if given.len() > EMBEDDING_ENTRIES_MAX {
        return invalid(format!(
            "the embedding identity has {} entries, more than the {EMBEDDING_ENTRIES_MAX} allowed",
            given.len()
        ));
    }
    for (key, value) in given {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if key.is_empty() || key.len() > EMBEDDING_KEY_BYTES_MAX || !key.chars().all(is_word) {
            return invalid(format!(
                "the embedding identity has the key {key:?}; a key, such as model, revision or normalized, has 1 to \
                 {EMBEDDING_KEY_BYTES_MAX} lower-case letters, digits, _ and -"
            ));
        }
        if value.trim().is_empty() || value.len() > EMBEDDING_VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return invalid(format!(
                "the value of {key} in the embedding identity must have 1 to {EMBEDDING_VALUE_BYTES_MAX} bytes, and no control \
                 characters"
            ));
        }
        if key == "normalized" && !["true", "false"].contains(&value.as_str()) {
            return invalid(format!("normalized in the embedding identity must be true or false, not {value:?}"));
        }
    }
    Ok(())
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
