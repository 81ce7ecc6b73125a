//! The groups that a policy is applied to: how a user chooses them, and which group a snapshot belongs to. Must not know
//! rules.

use std::fmt;
use std::str::FromStr;

use ruvector_snapshot_format::metadata::SourceId;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{Snapshot, invalid};
use crate::error::SnapshotError;
use crate::text::{composed, composed_source, label};

/// What divides the snapshots of a store into groups. The rules of a policy apply to each group on its own.
///
/// Written as `source`, `name`, `label:KEY` or `none`.
///
/// ```
/// use ruvector_snapshot::retention::GroupBy;
///
/// let group_by: GroupBy = "label:host".parse()?;
/// assert_eq!(group_by, GroupBy::Label("host".to_owned()));
/// assert_eq!(group_by.to_string(), "label:host");
/// assert_eq!(GroupBy::default(), GroupBy::Source);
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupBy {
    /// The [source](crate::SourceInfo::id): the name that was given to it, or the path of the database and its host.
    /// Snapshots with neither are grouped by the kind of their source.
    #[default]
    Source,
    /// The name of the snapshot.
    Name,
    /// The value of the label with this key. Snapshots without the label are one group. If no snapshot has the label, a
    /// plan is refused: the key may be mistyped.
    Label(String),
    /// Nothing: all snapshots of the store are one group.
    None,
}

impl GroupBy {
    /// Returns the group of a snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(snapshot: ruvector_snapshot::Snapshot) {
    /// use ruvector_snapshot::retention::GroupBy;
    ///
    /// println!("{}: {}", GroupBy::default().group_of(&snapshot), snapshot.id);
    /// # }
    /// ```
    pub fn group_of(&self, snapshot: &Snapshot) -> SnapshotGroup {
        match self {
            Self::Source => match snapshot.source.id() {
                Some(source) => SnapshotGroup::Source(composed_source(source)),
                None => SnapshotGroup::SourceKind(snapshot.source.kind.clone()),
            },
            Self::Name => SnapshotGroup::Name(composed(&snapshot.name).into_owned()),
            Self::Label(key) => {
                let value = label(&snapshot.labels, key).map(|value| composed(value).into_owned());
                SnapshotGroup::Label { key: key.clone(), value }
            }
            Self::None => SnapshotGroup::All,
        }
    }
}

/// Parses `source`, `name`, `label:KEY` or `none`.
impl FromStr for GroupBy {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        match (text, text.split_once(':')) {
            ("source", _) => Ok(Self::Source),
            ("name", _) => Ok(Self::Name),
            ("none", _) => Ok(Self::None),
            (_, Some(("label", key))) if !key.is_empty() => Ok(Self::Label(key.to_owned())),
            _ => Err(invalid("snapshots are grouped by source, name, label:KEY or none, for example label:host")),
        }
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Name => f.write_str("name"),
            Self::Label(key) => write!(f, "label:{key}"),
            Self::None => f.write_str("none"),
        }
    }
}

impl Serialize for GroupBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A group of snapshots: what all of them have in common.
///
/// As JSON: `{"source": {"name": …}}`, `{"source": {"host": …, "path": …}}` or `{"source": {"kind": …}}`, `{"name": …}`,
/// `{"label": {"key": …, "value": …}}`, or `{}` for all snapshots. What is not recorded is `null`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SnapshotGroup {
    /// The snapshots of one source.
    Source(SourceId),
    /// The snapshots of all sources of one kind that have neither a name nor a path.
    SourceKind(String),
    /// The snapshots with one name.
    Name(String),
    /// The snapshots with one value of a label, or those without the label.
    Label {
        /// The key of the label.
        key: String,
        /// Its value. `None` for the snapshots without the label.
        value: Option<String>,
    },
    /// All snapshots of the store.
    All,
}

impl SnapshotGroup {
    /// Returns whether these are the snapshots that lack what the others are grouped by.
    pub(super) fn is_rest(&self) -> bool {
        matches!(self, Self::SourceKind(_) | Self::Label { value: None, .. })
    }
}

/// For example `source "articles"` for a given name, or `source db1:/srv/vectors.db`. What a user has chosen is quoted,
/// except for paths; quotes and control characters in it are escaped.
impl fmt::Display for SnapshotGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(SourceId::Name(name)) => write!(f, "source {name:?}"),
            Self::Source(path) => write!(f, "source {}", escaped(&path.to_string())),
            Self::SourceKind(kind) => write!(f, "sources of the kind {kind:?} without a name or path"),
            Self::Name(name) => write!(f, "name {name:?}"),
            Self::Label { key, value: Some(value) } => write!(f, "label {}={value:?}", escaped(key)),
            Self::Label { key, value: None } => write!(f, "no label {}", escaped(key)),
            Self::All => f.write_str("all snapshots"),
        }
    }
}

impl Serialize for SnapshotGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        match self {
            Self::Source(source) => {
                let source = match source {
                    SourceId::Name(name) => serde_json::json!({ "name": name }),
                    SourceId::Path { host, path } => serde_json::json!({ "host": host, "path": path }),
                };
                members.serialize_entry("source", &source)?;
            }
            Self::SourceKind(kind) => members.serialize_entry("source", &serde_json::json!({ "kind": kind }))?,
            Self::Name(name) => members.serialize_entry("name", name)?,
            Self::Label { key, value } => {
                members.serialize_entry("label", &serde_json::json!({ "key": key, "value": value }))?;
            }
            Self::All => {}
        }
        members.end()
    }
}

/// Escapes quotes, backslashes and control characters.
fn escaped(text: &str) -> String {
    let quoted = format!("{text:?}");
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}
