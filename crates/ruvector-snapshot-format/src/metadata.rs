//! metadata.json: its types, its seal, the check of its version, and its validation (FORMAT.md, section 3).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::checksum::{ContentSum, checksum_sha256, parse_sha256, sha256_hex};
use crate::codec::member::check_expansion;
use crate::embedding::EmbeddingInfo;
use crate::error::{FormatError, Result};
use crate::id::{SnapshotId, has_writable_year};
use crate::irregular::{self, IrregularInfo};
use crate::labels::Labels;
use crate::layout::DataFile;
use crate::limits;
use crate::model::{Changes, SnapshotType};
use crate::raw_json::{RawJson, Skipped};

pub use crate::section::SectionInfo;
pub use crate::source::{SourceId, SourceInfo};

/// The `format` of every metadata.json.
pub const FORMAT: &str = "ruvector-snapshot";
/// The newest version that this crate reads and writes. Only snapshots with irregular rows have it.
pub const FORMAT_VERSION: u32 = 2;
/// The version of a snapshot without irregular rows.
pub const FORMAT_VERSION_WITHOUT_IRREGULAR: u32 = 1;

const SEAL_START: &str = ",\n  \"seal\": \"";
const SEAL_END: &str = "\"\n}\n";
const SEAL_BYTES: usize = SEAL_START.len() + 64 + SEAL_END.len();

/// The content of metadata.json. Its fields are the members that FORMAT.md describes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotMetadata {
    /// Always [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`] with irregular rows, [`FORMAT_VERSION_WITHOUT_IRREGULAR`] without.
    pub format_version: u32,
    /// The snapshot's id.
    pub id: SnapshotId,
    /// The user's label.
    pub name: String,
    /// The time of creation.
    pub created_at: DateTime<Utc>,
    /// Full, or an increment of which base.
    pub snapshot_type: SnapshotType,
    /// The number of records in the state.
    pub vector_count: u64,
    /// The number of rows of each kind. Only increments have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// The content checksum of the base. Only increments have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_checksum: Option<ContentSum>,
    /// f32 values per vector.
    pub dimensions: u64,
    /// The distance metric. `None` if the database does not record it.
    pub distance_metric: Option<String>,
    /// The content checksum.
    pub checksum: ContentSum,
    /// The irregular rows of the state. `None` if it has none. Set by [`set_irregular`](Self::set_irregular).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irregular: Option<IrregularInfo>,
    /// The user's labels.
    pub labels: Labels,
    /// The user's note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The user's own JSON.
    pub metadata: RawJson,
    /// Where the records came from.
    pub source: SourceInfo,
    /// What is known of the embedding model. `None` if that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<EmbeddingInfo>,
    /// The compression level that the writer was asked for, 0 to 9.
    pub compression_level: u32,
    /// The three data files, by name.
    pub files: BTreeMap<String, FileInfo>,
    /// The number of blocks.
    pub blocks: u64,
    /// The sections of index.bin.gz, in order.
    pub sections: Vec<SectionInfo>,
    /// The program that wrote the snapshot.
    pub writer: String,
}

/// What metadata.json records about one data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its size, as stored.
    pub bytes: u64,
    /// Its SHA-256, as stored, in lower-case hexadecimal.
    pub sha256: String,
    /// Its size, after expansion.
    pub raw_bytes: u64,
}

impl SnapshotMetadata {
    /// Returns the bytes of metadata.json, with the seal.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the result is larger than 1 MiB, or if [`decode`](Self::decode) would refuse it.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| FormatError::internal("metadata.json cannot be written as JSON").with_source(error))?;
        let body =
            json.strip_suffix("\n}").ok_or_else(|| FormatError::internal("metadata.json does not end as an object"))?;
        let bytes = format!("{body}{SEAL_START}{}{SEAL_END}", sha256_hex(body.as_bytes())).into_bytes();
        if bytes.len() as u64 > limits::METADATA_JSON_BYTES {
            return Err(FormatError::invalid_input(format!(
                "metadata.json would have {} bytes, more than the {} allowed; use fewer labels or less metadata",
                bytes.len(),
                limits::METADATA_JSON_BYTES
            )));
        }
        // A commit is final, so never write what cannot be read.
        Self::decode(&bytes, &self.id).map_err(|error| {
            FormatError::invalid_input(format!("this snapshot cannot be stored: {}", error.message()))
                .with_source(error)
        })?;
        Ok(bytes)
    }

    /// Decodes and checks the metadata.json of snapshot `id`.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` for a newer version of the format. Returns `Corrupt` if the seal does not match, if a
    /// member is missing, or if the members contradict each other, the id or the limits of the format.
    pub fn decode(bytes: &[u8], id: &SnapshotId) -> Result<Self> {
        if bytes.len() as u64 > limits::METADATA_JSON_BYTES {
            return Err(FormatError::corrupt(format!("it has {} bytes, more than any metadata.json", bytes.len())));
        }
        let seal = check_seal(bytes);
        let version: Version = match serde_json::from_slice(bytes) {
            Ok(version) => version,
            Err(_) if bytes.is_empty() => return Err(FormatError::corrupt("it is empty")),
            Err(error) => {
                // The cause can quote all of it.
                let cause = FormatError::corrupt(error.to_string());
                return Err(FormatError::corrupt("it is not valid JSON, or not of this format").with_source(cause));
            }
        };
        if version.format != FORMAT {
            return Err(FormatError::corrupt("it is not the metadata.json of a snapshot"));
        }
        // A newer version can have another kind of seal. A seal that does not match is corruption in any version.
        let known = u64::from(FORMAT_VERSION_WITHOUT_IRREGULAR)..=u64::from(FORMAT_VERSION);
        if !known.contains(&version.format_version) && seal != Seal::Mismatch {
            return Err(FormatError::unsupported(format!(
                "it has format version {}, this program reads versions {} to {}; use a newer ruvector-snapshot",
                version.format_version,
                known.start(),
                known.end(),
            )));
        }
        if seal != Seal::Match {
            return Err(FormatError::corrupt("its seal does not match its contents"));
        }
        let wrong = |error| FormatError::corrupt(format!("a member is missing or of the wrong type: {error}"));
        let metadata: Self = serde_json::from_slice(bytes).map_err(wrong)?;
        // Text that is not parsed now must be parsable later.
        serde_json::from_slice::<UserJson>(bytes).map_err(wrong)?;
        metadata.validate(id)?;
        Ok(metadata)
    }

    /// Sets the irregular rows of the state, and the version that they require. Does not change `checksum`, which must
    /// include [`IrregularInfo::checksum`].
    pub fn set_irregular(&mut self, irregular: Option<IrregularInfo>) {
        self.format_version = if irregular.is_some() { FORMAT_VERSION } else { FORMAT_VERSION_WITHOUT_IRREGULAR };
        self.irregular = irregular;
    }

    /// Returns the part of the content checksum that the irregular rows add.
    pub fn irregular_checksum(&self) -> ContentSum {
        self.irregular.as_ref().map_or_else(ContentSum::default, |irregular| irregular.checksum)
    }

    /// Returns the sections of the irregular stream, in order. Empty if the snapshot has none, or leaves them to its
    /// base.
    pub fn irregular_sections(&self) -> impl Iterator<Item = &SectionInfo> {
        self.sections.iter().filter(|section| irregular::is_section_name(&section.name))
    }

    /// Returns a decoder for the sections of the irregular stream. It refuses a table or a row that is larger than a
    /// stream that is stored in so few bytes can have.
    pub fn irregular_decoder(&self) -> irregular::Decoder {
        let sum = |size: fn(&SectionInfo) -> u64| self.irregular_sections().map(size).fold(0, u64::saturating_add);
        let in_proportion = sum(|section| section.bytes).saturating_mul(limits::SECTION_EXPANSION);
        let stream_bytes = sum(|section| section.raw_bytes);
        let limit_bytes = in_proportion.max(limits::IRREGULAR_ENTRY_FREE_BYTES).min(stream_bytes);
        irregular::Decoder::with_entry_limit(limit_bytes)
    }

    /// Returns the text of the snapshot's checksum.sha256. `metadata_json` are the bytes of its metadata.json.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if a data file is not listed. [`decode`](Self::decode) has already refused that.
    pub fn checksum_sha256(&self, metadata_json: &[u8]) -> Result<String> {
        let [vectors, index, payloads] = DataFile::ALL.map(|file| self.file(file).map(|info| info.sha256.as_str()));
        Ok(checksum_sha256(metadata_json, [vectors?, index?, payloads?]))
    }

    /// Returns the base of an increment, or `None` for a full snapshot.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the base is not an id. [`decode`](Self::decode) has already refused that.
    pub fn base_id(&self) -> Result<Option<SnapshotId>> {
        match &self.snapshot_type {
            SnapshotType::Full => Ok(None),
            SnapshotType::Incremental { base_id } => {
                let id = base_id.parse().map_err(|error: FormatError| {
                    FormatError::corrupt("its base_id is not a snapshot id").with_source(error)
                });
                id.map(Some)
            }
        }
    }

    /// Returns the number of rows in all blocks: the records of a full snapshot, or the changes of an increment.
    pub fn rows(&self) -> u64 {
        self.changes.map_or(self.vector_count, |changes| changes.rows())
    }

    /// Returns the entry of a data file.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if there is none. [`decode`](Self::decode) has already refused that.
    pub fn file(&self, file: DataFile) -> Result<&FileInfo> {
        self.files.get(file.name()).ok_or_else(|| FormatError::corrupt(format!("it does not list {}", file.name())))
    }

    /// Returns the entry of a section of index.bin.gz that every snapshot has.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if there is none.
    pub fn section(&self, name: &str) -> Result<&SectionInfo> {
        self.find_section(name)
            .ok_or_else(|| FormatError::corrupt(format!("it does not list section {name:?} of index.bin.gz")))
    }

    /// Returns the entry of a section of index.bin.gz, or `None` if the snapshot does not have it.
    pub fn find_section(&self, name: &str) -> Option<&SectionInfo> {
        self.sections.iter().find(|section| section.name == name)
    }

    fn validate(&self, id: &SnapshotId) -> Result<()> {
        if self.id != *id {
            return Err(FormatError::corrupt(format!("it is the metadata.json of snapshot {}", self.id)));
        }
        check_name(&self.name).map_err(|error| FormatError::corrupt("its name is not allowed").with_source(error))?;
        if !has_writable_year(self.created_at) {
            return Err(FormatError::corrupt("its created_at is not in the years 0 to 9999"));
        }
        self.validate_files()?;
        let metrics = ["Euclidean", "Cosine", "DotProduct", "Manhattan"];
        if self.distance_metric.as_deref().is_some_and(|metric| !metrics.contains(&metric)) {
            return Err(FormatError::corrupt("its distance_metric is not one that a database can have"));
        }
        self.validate_type()?;
        self.validate_counts()?;
        self.validate_sections()?;
        self.validate_irregular()
    }

    fn validate_files(&self) -> Result<()> {
        for file in DataFile::ALL {
            let info = self.file(file)?;
            parse_sha256(&info.sha256)?;
            check_expansion(info.bytes, info.raw_bytes)?;
        }
        if self.files.len() != DataFile::ALL.len() {
            return Err(FormatError::corrupt("it lists files that are not part of a snapshot"));
        }
        Ok(())
    }

    fn validate_type(&self) -> Result<()> {
        let base_id = self.base_id()?;
        if base_id.is_some() != self.changes.is_some() || base_id.is_some() != self.base_checksum.is_some() {
            return Err(FormatError::corrupt("its snapshot_type, changes and base_checksum do not fit each other"));
        }
        // Ids sort by time. A base is always older, so a chain cannot be a cycle.
        if base_id.is_some_and(|base_id| base_id >= self.id) {
            return Err(FormatError::corrupt("it is not newer than its base"));
        }
        if self.changes.is_some_and(|changes| changes.added.saturating_add(changes.changed) > self.vector_count) {
            return Err(FormatError::corrupt("it has more added and changed records than records"));
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<()> {
        // A block has at least one row. Its two members in index.bin.gz have a gzip header and trailer of 18 bytes
        // each.
        if self.blocks > self.rows() || self.blocks.saturating_mul(36) > self.file(DataFile::Index)?.bytes {
            return Err(FormatError::corrupt(format!("it has {} blocks, more than its rows can fill", self.blocks)));
        }
        if self.dimensions.checked_mul(4).is_none_or(|bytes| bytes > limits::VECTOR_BYTES as u64) {
            return Err(FormatError::corrupt(format!(
                "it has {} dimensions, more than a vector can have",
                self.dimensions
            )));
        }
        Ok(())
    }

    fn validate_sections(&self) -> Result<()> {
        let index = self.file(DataFile::Index)?;
        let mut names = BTreeSet::new();
        if !self.sections.iter().all(|section| names.insert(section.name.as_str())) {
            return Err(FormatError::corrupt("it lists a section of index.bin.gz twice"));
        }
        let mut end = self.sections.first().map_or(index.bytes, |section| section.offset);
        let mut raw_bytes = 0u64;
        for section in &self.sections {
            if section.offset != end {
                return Err(FormatError::corrupt(format!(
                    "section {:?} of index.bin.gz is not at its place",
                    section.name
                )));
            }
            section.check_size(self.blocks, self.vector_count, raw_bytes)?;
            raw_bytes = raw_bytes.saturating_add(section.raw_bytes);
            end = end.saturating_add(section.bytes);
        }
        if end != index.bytes {
            return Err(FormatError::corrupt("its sections do not end with index.bin.gz"));
        }
        Ok(())
    }
}

impl SnapshotMetadata {
    fn validate_irregular(&self) -> Result<()> {
        if (self.format_version == FORMAT_VERSION) != self.irregular.is_some() {
            return Err(FormatError::corrupt("its format_version does not fit its irregular rows"));
        }
        if self.irregular.as_ref().is_some_and(|info| info.is_empty() || info.examples.len() > irregular::EXAMPLES_MAX)
        {
            return Err(FormatError::corrupt("its description of irregular rows is not valid"));
        }
        let sections = self.irregular_sections().count();
        let are_expected = self
            .sections
            .iter()
            .take(sections)
            .enumerate()
            .all(|(number, section)| section.name == irregular::section_name(number));
        if !are_expected {
            return Err(FormatError::corrupt("its sections of irregular rows are not in order"));
        }
        // An increment can leave the sections to its base.
        let can_be_absent = self.irregular.is_none() || self.changes.is_some();
        let can_be_present = self.irregular.is_some();
        if sections == 0 && !can_be_absent || sections > 0 && !can_be_present {
            return Err(FormatError::corrupt("its sections of irregular rows do not fit its description of them"));
        }
        Ok(())
    }
}

/// Checks that a snapshot can have this name.
///
/// # Errors
///
/// Returns `InvalidInput` for a name that is blank, longer than 1,024 bytes or contains control characters, and for a
/// name that would be mistaken for something else: `latest`, or an id.
pub fn check_name(name: &str) -> Result<()> {
    let invalid = |what: String| Err(FormatError::invalid_input(what));
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
            "a snapshot cannot be named {name:?}, which refers to another one; choose another name"
        ));
    }
    if name.chars().any(char::is_control) {
        return invalid(format!("the name of a snapshot cannot contain control characters: {name:?}"));
    }
    Ok(())
}

/// The members that say whether this crate can read the rest.
#[derive(Deserialize)]
struct Version {
    format: String,
    format_version: u64,
}

/// The member that is kept as text.
#[derive(Deserialize)]
struct UserJson {
    #[serde(rename = "metadata")]
    _metadata: Skipped,
}

#[derive(PartialEq, Eq)]
enum Seal {
    Match,
    Mismatch,
    Absent,
}

fn check_seal(bytes: &[u8]) -> Seal {
    let Some((body, seal)) = bytes.split_at_checked(bytes.len().saturating_sub(SEAL_BYTES)) else {
        return Seal::Absent;
    };
    let digits = seal.strip_prefix(SEAL_START.as_bytes()).and_then(|rest| rest.strip_suffix(SEAL_END.as_bytes()));
    match digits {
        Some(digits) if digits == sha256_hex(body).as_bytes() => Seal::Match,
        Some(_) => Seal::Mismatch,
        None => Seal::Absent,
    }
}
