//! Where snapshots are kept, as a user writes it: a path or a URL, read here and turned into a store.
//!
//! Another backend comes in at three places: a variant of [`Location`], its scheme in [`Location::from_str`], its arm
//! in [`open`]. Its settings go into a file of its own beside `local.rs`, its operations nowhere: they are
//! `object_store`'s.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use object_store::memory::InMemory;

use super::object::ObjectSnapshotStore;
use super::{SnapshotStore, local};
use crate::error::{ErrorKind, Result, SnapshotError};

/// A place for snapshots.
///
/// ```
/// use ruvector_snapshot::store::Location;
///
/// let location: Location = "/var/backups/vectors".parse()?;
/// assert_eq!(location, "file:///var/backups/vectors".parse()?);
/// assert!("s3://bucket".parse::<Location>().is_err());
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// A directory on a local disk: a path, or a `file://` URL.
    Local(PathBuf),
    /// The memory of this process: `memory://`. Each [`open`] gives a new, empty store of its own.
    Memory,
}

/// Opens the store at a location.
///
/// A directory that is missing is made where `create` is set, and [`ErrorKind::NotFound`] where it is not.
pub fn open(location: &Location, create: bool) -> Result<Arc<dyn SnapshotStore>> {
    let store = match location {
        Location::Local(path) => {
            let (objects, root) = local::open(path, create)?;
            ObjectSnapshotStore::new(objects, "", root.display().to_string())?
        }
        Location::Memory => ObjectSnapshotStore::new(Arc::new(InMemory::new()), "", location.to_string())?,
    };
    Ok(Arc::new(store))
}

impl FromStr for Location {
    type Err = SnapshotError;

    /// Reads a path, a `file://` URL or `memory://`. An error names the scheme alone: the rest may hold a secret.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid("no location for the snapshots was given"));
        }
        let Some((scheme, rest)) = split_scheme(text) else { return Ok(Self::Local(PathBuf::from(text))) };
        match (scheme.to_ascii_lowercase().as_str(), rest.strip_prefix("//")) {
            ("file", Some(rest)) => file_path(rest).map(Self::Local),
            ("memory", Some("")) => Ok(Self::Memory),
            ("memory", Some(_)) => Err(invalid("nothing can follow memory://, it is a new store each time")),
            (scheme, Some(_)) => Err(invalid(format!(
                "{scheme}:// is not built in: this version keeps snapshots on a local disk, give a path or file://"
            ))),
            (scheme, None) => Err(invalid(format!(
                "two slashes are missing after {scheme}: ; for a directory of that name write ./{scheme}:"
            ))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Memory => f.write_str("memory://"),
        }
    }
}

/// Schemes that are known by their name, so that `s3:bucket` does not become a directory.
const SCHEMES: [&str; 5] = ["file", "memory", "s3", "gs", "az"];

/// The scheme of a URL and what follows the colon; nothing for a path.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is_known = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    (is_scheme && (rest.starts_with("//") || is_known)).then_some((scheme, rest))
}

/// The path of a `file://` URL, from what follows the two slashes.
fn file_path(rest: &str) -> Result<PathBuf> {
    let Some(start) = rest.find('/') else {
        return Err(invalid("a file:// URL needs a full path, as in file:///var/backups"));
    };
    let (host, path) = rest.split_at(start);
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        return Err(invalid(
            "a file:// URL has three slashes, as in file:///var/backups: other hosts cannot be reached",
        ));
    }
    if path.contains(['?', '#']) {
        return Err(invalid("a file:// URL takes no options; write ? as %3F and # as %23"));
    }
    let path = percent_decode(path)?;
    // file:///C:/backups stands for C:/backups.
    let drive = cfg!(windows) && path.as_bytes().get(2) == Some(&b':');
    Ok(PathBuf::from(if drive { &path[1..] } else { &path[..] }))
}

fn percent_decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (Some(high), Some(low)) = (after.first().and_then(hex), after.get(1).and_then(hex)) else {
            return Err(invalid("a % in a file:// URL stands before two hexadecimal digits; write % itself as %25"));
        };
        bytes.push(high << 4 | low);
        rest = &after[2..];
    }
    match String::from_utf8(bytes) {
        Ok(path) if !path.contains('\0') => Ok(path),
        _ => Err(invalid("the path in a file:// URL must be valid UTF-8 without NUL")),
    }
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::Invalid, message)
}
