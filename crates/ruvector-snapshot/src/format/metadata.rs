//! metadata.json: its types, its seal, its version gate and its validation (FORMAT.md, section 3).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::checksum::{ContentSum, parse_sha256, sha256_hex};
use super::id::SnapshotId;
use super::layout::DataFile;
use super::{damaged, limits};
use crate::error::{ErrorKind, Result, SnapshotError};

/// The `format` of every metadata.json.
pub const FORMAT: &str = "ruvector-snapshot";
/// The one version this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const SEAL_START: &str = ",\n  \"seal\": \"";
const SEAL_END: &str = "\"\n}\n";
const SEAL_BYTES: usize = SEAL_START.len() + 64 + SEAL_END.len();

/// What metadata.json says; field by field as in FORMAT.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotMetadata {
    /// Always [`FORMAT`].
    pub format: String,
    /// Always [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The snapshot's id.
    pub id: SnapshotId,
    /// The user's label.
    pub name: String,
    /// The moment of creation.
    pub created_at: DateTime<Utc>,
    /// Full, or an increment and on what.
    pub snapshot_type: SnapshotType,
    /// Records in the state.
    pub vector_count: u64,
    /// What the rows of the blocks are; of an increment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// The content checksum of the base's state; of an increment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_checksum: Option<ContentSum>,
    /// f32 values a vector.
    pub dimensions: u64,
    /// The database's metric, where it names one.
    pub distance_metric: Option<String>,
    /// The content checksum.
    pub checksum: ContentSum,
    /// The user's `key: value` labels.
    pub labels: BTreeMap<String, String>,
    /// The user's own JSON.
    pub metadata: serde_json::Value,
    /// Where the records came from.
    pub source: SourceInfo,
    /// The level the writer was asked for, 0 to 9.
    pub compression_level: u32,
    /// The three data files by name.
    pub files: BTreeMap<String, FileInfo>,
    /// Blocks of rows.
    pub blocks: u64,
    /// Sections of index.bin.gz after the blocks.
    pub sections: Vec<SectionInfo>,
    /// The program that wrote it.
    pub writer: String,
}

/// Whether a snapshot stands alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotType {
    /// It holds every record.
    Full,
    /// It holds what changed since its base.
    Incremental {
        /// The snapshot it stands on.
        base_id: String,
    },
}

/// How many rows of an increment are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changes {
    /// Records that the base does not have.
    pub added: u64,
    /// Records that the base has with another vector or other metadata.
    pub changed: u64,
    /// Records of the base that are gone.
    pub removed: u64,
}

impl Changes {
    /// The rows of all kinds.
    pub fn rows(&self) -> u64 {
        self.added.saturating_add(self.changed).saturating_add(self.removed)
    }
}

/// Where the records of a snapshot came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceInfo {
    /// `file` or `memory`.
    pub kind: String,
    /// The commit of the database file that was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<u64>,
    /// What the database held that is not in the snapshot, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_captured: Vec<String>,
}

/// One stored data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its size as stored.
    pub bytes: u64,
    /// Its SHA-256 as stored, in lower-case hexadecimal.
    pub sha256: String,
    /// Its size expanded.
    pub raw_bytes: u64,
}

/// One section of index.bin.gz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionInfo {
    /// What it holds; a reader skips a name it does not know.
    pub name: String,
    /// Where its member begins.
    pub offset: u64,
    /// Size of the member.
    pub bytes: u64,
    /// Its size expanded.
    pub raw_bytes: u64,
}

impl SnapshotMetadata {
    /// The bytes of metadata.json, sealed.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let internal = |what: &str| SnapshotError::new(ErrorKind::Internal, what.to_owned());
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| internal("metadata.json cannot be written").because(error))?;
        let body = json.strip_suffix("\n}").ok_or_else(|| internal("metadata.json does not end as an object"))?;
        let bytes = format!("{body}{SEAL_START}{}{SEAL_END}", sha256_hex(body.as_bytes())).into_bytes();
        if bytes.len() as u64 > limits::METADATA_JSON_BYTES {
            return Err(SnapshotError::new(
                ErrorKind::Invalid,
                format!(
                    "metadata.json would have {} bytes, more than the {} allowed; use fewer labels or less metadata",
                    bytes.len(),
                    limits::METADATA_JSON_BYTES
                ),
            ));
        }
        // What cannot be read again must not be written: a commit is for ever.
        Self::decode(&bytes, &self.id).map_err(|error| {
            SnapshotError::new(ErrorKind::Invalid, format!("no snapshot can hold this: {}", error.message()))
                .because(error)
        })?;
        Ok(bytes)
    }

    /// Reads the metadata.json of snapshot `id`.
    ///
    /// # Errors
    ///
    /// `Damaged` where the bytes are not as written, `Unsupported` where a newer version wrote them.
    pub fn decode(bytes: &[u8], id: &SnapshotId) -> Result<Self> {
        let seal = check_seal(bytes);
        let gate: Gate = match serde_json::from_slice(bytes) {
            Ok(gate) => gate,
            Err(error) if bytes.is_empty() => return Err(damaged("it is empty").because(error)),
            Err(error) => return Err(damaged("it is not the JSON that was written").because(error)),
        };
        if gate.format != FORMAT {
            return Err(damaged("it is not a snapshot's metadata.json"));
        }
        // A newer version may seal otherwise, but a seal that is there and broken is damage in any version.
        if gate.format_version != u64::from(FORMAT_VERSION) && seal != Seal::Broken {
            return Err(SnapshotError::new(
                ErrorKind::Unsupported,
                format!(
                    "it has format version {}, this program reads version {FORMAT_VERSION}; use a newer ruvector-snapshot",
                    gate.format_version
                ),
            ));
        }
        if seal != Seal::Whole {
            return Err(damaged("its seal does not match its contents"));
        }
        let metadata: Self = serde_json::from_slice(bytes)
            .map_err(|error| damaged(format!("a member is missing or of the wrong type: {error}")))?;
        metadata.validate(id)?;
        Ok(metadata)
    }

    /// The snapshot that this one stands on; `None` for a full one.
    pub fn base_id(&self) -> Result<Option<SnapshotId>> {
        match &self.snapshot_type {
            SnapshotType::Full => Ok(None),
            SnapshotType::Incremental { base_id } => {
                let id = base_id.parse().map_err(|error: SnapshotError| damaged("its base is no id").because(error));
                id.map(Some)
            }
        }
    }

    /// The rows of all blocks: every record of a full snapshot, and what changed of an increment.
    pub fn rows(&self) -> u64 {
        self.changes.map_or(self.vector_count, |changes| changes.rows())
    }

    /// The entry of a data file.
    ///
    /// # Errors
    ///
    /// `Damaged` where there is none, which `decode` has already refused.
    pub fn file(&self, file: DataFile) -> Result<&FileInfo> {
        self.files.get(file.name()).ok_or_else(|| damaged(format!("it does not list {}", file.name())))
    }

    /// A section of index.bin.gz that every snapshot has.
    pub fn section(&self, name: &str) -> Result<&SectionInfo> {
        self.sections
            .iter()
            .find(|section| section.name == name)
            .ok_or_else(|| damaged(format!("it does not list the section {name:?} of index.bin.gz")))
    }

    fn validate(&self, id: &SnapshotId) -> Result<()> {
        if self.id != *id {
            return Err(damaged(format!("it is the metadata.json of snapshot {}", self.id)));
        }
        check_name(&self.name).map_err(|error| damaged("its name is not allowed").because(error))?;
        for file in DataFile::ALL {
            let info = self.file(file)?;
            parse_sha256(&info.sha256)?;
            super::member::check_expansion(info.bytes, info.raw_bytes)?;
        }
        if self.files.len() != DataFile::ALL.len() {
            return Err(damaged("it lists files that are not part of a snapshot"));
        }
        let metrics = ["Euclidean", "Cosine", "DotProduct", "Manhattan"];
        if self.distance_metric.as_deref().is_some_and(|metric| !metrics.contains(&metric)) {
            return Err(damaged("its distance_metric is not one that a database can have"));
        }
        let base_id = self.base_id()?;
        if base_id.is_some() != self.changes.is_some() || base_id.is_some() != self.base_checksum.is_some() {
            return Err(damaged("its changes do not fit its type"));
        }
        // Ids sort by time, and so no chain can come back to where it began.
        if base_id.is_some_and(|base_id| base_id >= self.id) {
            return Err(damaged("it is older than the snapshot it stands on"));
        }
        if self.changes.is_some_and(|changes| changes.added.saturating_add(changes.changed) > self.vector_count) {
            return Err(damaged("it changes more records than there are"));
        }
        // A block has at least one row, and its two members in the index a gzip header and trailer of 18 bytes each.
        if self.blocks > self.rows() || self.blocks.saturating_mul(36) > self.file(DataFile::Index)?.bytes {
            return Err(damaged(format!("{} blocks are more than its rows can fill", self.blocks)));
        }
        if self.dimensions.checked_mul(4).is_none_or(|bytes| bytes > limits::VECTOR_BYTES as u64) {
            return Err(damaged(format!("{} dimensions are more than a vector can have", self.dimensions)));
        }
        self.validate_sections()
    }

    fn validate_sections(&self) -> Result<()> {
        let index = self.file(DataFile::Index)?;
        let mut names = std::collections::BTreeSet::new();
        if !self.sections.iter().all(|section| names.insert(section.name.as_str())) {
            return Err(damaged("it lists a section of index.bin.gz twice"));
        }
        let mut end = self.sections.first().map_or(index.bytes, |section| section.offset);
        for section in &self.sections {
            if section.offset != end || section.raw_bytes > limits::SECTION_BYTES {
                return Err(damaged(format!("the section {:?} of index.bin.gz is out of place", section.name)));
            }
            super::member::check_expansion(section.bytes, section.raw_bytes)?;
            super::member::check_overhead(section.bytes, section.raw_bytes)?;
            end = end.saturating_add(section.bytes);
        }
        if end != index.bytes {
            return Err(damaged("the sections do not end with index.bin.gz"));
        }
        Ok(())
    }
}

/// Refuses a name that is blank, longer than 1,024 bytes, holds control characters, or would be taken for something else where
/// a snapshot is asked for: `latest`, or an id.
pub fn check_name(name: &str) -> Result<()> {
    let invalid = |what: String| Err(SnapshotError::new(ErrorKind::Invalid, what));
    if name.trim().is_empty() {
        return invalid("the name of a snapshot cannot be empty".into());
    }
    if name.len() > limits::NAME_BYTES {
        return invalid(format!(
            "the name of a snapshot has {} bytes, more than the {} allowed",
            name.len(),
            limits::NAME_BYTES
        ));
    }
    if name == "latest" || name.parse::<SnapshotId>().is_ok() {
        return invalid(format!(
            "a snapshot cannot be called {name:?}, which stands for another one; choose another name"
        ));
    }
    if name.chars().any(char::is_control) {
        return invalid(format!("the name of a snapshot cannot hold control characters: {name:?}"));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Gate {
    format: String,
    format_version: u64,
}

#[derive(PartialEq, Eq)]
enum Seal {
    Whole,
    Broken,
    Absent,
}

fn check_seal(bytes: &[u8]) -> Seal {
    let Some((body, seal)) = bytes.split_at_checked(bytes.len().saturating_sub(SEAL_BYTES)) else {
        return Seal::Absent;
    };
    let digits = seal.strip_prefix(SEAL_START.as_bytes()).and_then(|rest| rest.strip_suffix(SEAL_END.as_bytes()));
    match digits {
        Some(digits) if digits == sha256_hex(body).as_bytes() => Seal::Whole,
        Some(_) => Seal::Broken,
        None => Seal::Absent,
    }
}
