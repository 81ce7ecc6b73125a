//! What values refer to: profiles, databases and policies of the file by their names, and paths and locations. Opens no file.

use std::path::{Component, Path, PathBuf};

use ruvector_snapshot::closest;
use ruvector_snapshot::store::Location;
use toml::de::DeTable;

use super::document::Reader;
use super::{DatabaseRef, StoreRef};

/// The names of a file, also of tables with mistakes.
pub(super) struct Names<'d> {
    stores: Vec<&'d str>,
    databases: Vec<&'d str>,
    policies: Vec<&'d str>,
    /// Whether the file has a store for all that name none.
    pub(super) has_store: bool,
    /// What relative paths are relative to.
    directory: &'d Path,
}

impl<'d> Names<'d> {
    pub(super) fn of(table: &'d DeTable<'_>, directory: &'d Path) -> Self {
        let names = |key: &str| {
            let tables = table.iter().find(|(other, _)| other.get_ref() == key);
            let tables = tables.and_then(|(_, tables)| tables.get_ref().as_table());
            tables.into_iter().flat_map(|tables| tables.keys()).map(|name| name.get_ref().as_ref()).collect()
        };
        let has_store = table.iter().any(|(key, _)| key.get_ref() == "store");
        let (stores, databases, policies) = (names("stores"), names("databases"), names("retention"));
        Self { stores, databases, policies, has_store, directory }
    }

    /// Returns a path of the file.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, String> {
        path(text, self.directory)
    }

    /// Returns the store that a text means. The name of a profile without its @ would be a directory, and snapshots would go
    /// there.
    pub(super) fn store(&self, reader: &mut Reader<'_>, key: &str, at: usize, text: &str) -> Option<StoreRef> {
        if self.stores.contains(&text) {
            let advice = format!("write @{text} for the profile, or ./{text} for the directory");
            let message = format!("{key}: this is a directory, and a profile has the same name");
            reader.problem(at, message, Some(advice));
        }
        match text.strip_prefix('@') {
            Some(name) => {
                if !self.stores.contains(&name) {
                    let advice = match closest(name, self.stores.iter().copied()) {
                        Some(known) => format!("did you mean @{known}?"),
                        None => format!("add [stores.{name}], or write a location"),
                    };
                    reader.problem(at, format!("{key}: there is no profile @{name}"), Some(advice));
                }
                Some(StoreRef::Profile(name.to_owned()))
            }
            None => match location(text, self.directory) {
                Ok(location) => Some(StoreRef::Location(location)),
                Err(problem) => {
                    reader.problem(at, format!("{key}: {problem}"), None);
                    None
                }
            },
        }
    }

    /// Returns the database that a text means.
    pub(super) fn database(&self, reader: &mut Reader<'_>, key: &str, at: usize, text: &str) -> Option<DatabaseRef> {
        if self.databases.contains(&text) {
            let advice = format!("write @{text} for the database, or ./{text} for the file");
            let message = format!("{key}: {text} is a file, and a database has the same name");
            reader.problem(at, message, Some(advice));
            return None;
        }
        let Some(name) = text.strip_prefix('@') else {
            return match path(text, self.directory) {
                Ok(path) => Some(DatabaseRef::Path(path)),
                Err(problem) => {
                    reader.problem(at, format!("{key}: {problem}"), None);
                    None
                }
            };
        };
        if self.databases.contains(&name) {
            return Some(DatabaseRef::Named(name.to_owned()));
        }
        let advice = match closest(name, self.databases.iter().copied()) {
            Some(known) => format!("did you mean @{known}?"),
            None => format!("add [databases.{name}], or write a path"),
        };
        reader.problem(at, format!("{key}: there is no database @{name}"), Some(advice));
        None
    }

    /// Returns the name of the retention policy that a text means.
    pub(super) fn policy(&self, reader: &mut Reader<'_>, key: &str, at: usize, text: &str) -> Option<String> {
        if self.policies.contains(&text) {
            return Some(text.to_owned());
        }
        let advice = match closest(text.trim_start_matches('@'), self.policies.iter().copied()) {
            Some(known) => format!("did you mean {known}?"),
            None => "write the name of a table [retention.NAME]".to_owned(),
        };
        reader.problem(at, format!("{key}: there is no retention policy {text:?}"), Some(advice));
        None
    }
}

/// Parses a location. A relative path is one below `directory`, and `~/` is the home directory.
pub(super) fn location(text: &str, directory: &Path) -> Result<Location, String> {
    if text.starts_with('@') {
        return Err(
            "a profile cannot be another profile; write a directory, or a bucket such as s3://bucket/prefix".to_owned()
        );
    }
    match text.parse::<Location>().map_err(|error| error.message().to_owned())? {
        Location::Memory => {
            Err("a memory:// store would be lost when the program ends; use a directory or a bucket".to_owned())
        }
        Location::Local(_) if !text.starts_with("file:") => path(text, directory).map(Location::Local),
        location => Ok(location),
    }
}

/// Returns a path of the file.
pub(super) fn path(text: &str, directory: &Path) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("the path is empty, or contains a control character".to_owned());
    }
    match text.strip_prefix("~/").or_else(|| (text == "~").then_some("")) {
        None => Ok(plain_path(&directory.join(text))),
        Some(rest) => match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Ok(plain_path(&Path::new(&home).join(rest))),
            None => Err("~ needs the environment variable HOME, which is not set".to_owned()),
        },
    }
}

/// Returns a path without `.` and, if what stands before it exists, without `..`. That is resolved and not cut off: it may be a
/// link.
pub(crate) fn plain_path(path: &Path) -> PathBuf {
    let components: Vec<Component<'_>> = path.components().collect();
    let after = components.iter().rposition(|component| *component == Component::ParentDir).map_or(0, |last| last + 1);
    let (before, rest) = components.split_at(after);
    let before: PathBuf = before.iter().collect();
    let mut path = before.canonicalize().unwrap_or(before);
    path.extend(rest);
    path
}
