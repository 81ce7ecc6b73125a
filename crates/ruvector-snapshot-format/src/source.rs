//! Where the records of a snapshot came from, and when two snapshots are of the same source (FORMAT.md, section 3).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the records of a snapshot came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceInfo {
    /// `file` or `memory`.
    pub kind: String,
    /// The transaction id of the captured commit of a database file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<u64>,
    /// The name that the user gave to the source. It identifies the source wherever the database is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the host that read the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The absolute path of the database file on that host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The device of the database file, as the operating system numbers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<u64>,
    /// The inode of the database file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// What the database held that is not in the snapshot, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_captured: Vec<String>,
}

impl SourceInfo {
    /// Describes a source of this kind (`file`, `memory`, or another word), and the transaction id of the captured
    /// commit.
    pub fn new(kind: impl Into<String>, transaction_id: Option<u64>) -> Self {
        Self {
            kind: kind.into(),
            transaction_id,
            name: None,
            host: None,
            path: None,
            device: None,
            inode: None,
            not_captured: Vec::new(),
        }
    }

    /// Sets what the source held that is not in the snapshot, as sentences.
    #[must_use]
    pub fn with_not_captured(self, not_captured: Vec<String>) -> Self {
        Self { not_captured, ..self }
    }

    /// Returns what identifies the source in other snapshots: the name that the user gave, or else the path of the
    /// database file and its host. `None` if neither is recorded.
    pub fn id(&self) -> Option<SourceId> {
        let path = |path: &String| SourceId::Path { host: self.host.clone(), path: path.clone() };
        self.name.clone().map(SourceId::Name).or_else(|| self.path.as_ref().map(path))
    }

    /// Returns what a person calls the source: what identifies it, or else its kind.
    ///
    /// ```
    /// use ruvector_snapshot_format::metadata::SourceInfo;
    ///
    /// let mut source = SourceInfo::new("file", None);
    /// assert_eq!(source.id_or_kind(), "file");
    /// source.name = Some("articles".to_owned());
    /// assert_eq!(source.id_or_kind(), "articles");
    /// ```
    pub fn id_or_kind(&self) -> String {
        self.id().map_or_else(|| self.kind.clone(), |id| id.to_string())
    }
}

/// What identifies a source. Two snapshots are of the same source if these are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// The name that the user gave to the source.
    Name(String),
    /// A database file.
    Path {
        /// The host that read the file, if it is known.
        host: Option<String>,
        /// The absolute path on that host.
        path: String,
    },
}

/// The name, or `HOST:PATH`.
impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path { host: Some(host), path } => write!(f, "{host}:{path}"),
            Self::Path { host: None, path } => f.write_str(path),
        }
    }
}
