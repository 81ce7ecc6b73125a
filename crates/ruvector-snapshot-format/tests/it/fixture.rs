//! Small snapshots in memory, made through the public API, and tools to change their files.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use ruvector_snapshot_format::Labels;
use ruvector_snapshot_format::block::{Block, PackedBlock};
use ruvector_snapshot_format::checksum::{self, ContentSum, Digest, sha256_hex};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::{
    Changes, DatabaseInfo, LeafTable, OwnedChange, OwnedChangedRow, OwnedRecord, SnapshotType,
};
use ruvector_snapshot_format::reader::{MemoryFiles, Reader};
use ruvector_snapshot_format::writer::Writer;
use ruvector_snapshot_format::{FormatErrorKind, Result, SnapshotId, chrono, index, leaves};

use crate::codecs::{canonical, json};

/// A snapshot in memory. Its files can be changed.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: SnapshotId,
    pub(crate) metadata_json: Vec<u8>,
    pub(crate) files: MemoryFiles,
}

impl Stored {
    /// A full snapshot with so many rows per block.
    pub(crate) fn full(dimensions: usize, records: &[OwnedRecord], rows_per_block: usize) -> Self {
        let block = |records: &[OwnedRecord]| {
            let mut block = Block::new(dimensions);
            records.iter().for_each(|record| block.push(record.as_record()).unwrap());
            block.pack(6).unwrap()
        };
        let blocks = records.chunks(rows_per_block).map(block);
        Self::write(dimensions, blocks.collect(), |_| {})
    }

    /// An increment of a base with the checksum 0, with so many rows per block.
    pub(crate) fn increment(dimensions: usize, rows: &[OwnedChangedRow], rows_per_block: usize) -> Self {
        let block = |rows: &[OwnedChangedRow]| {
            let mut block = Block::new(dimensions);
            rows.iter().for_each(|row| block.push_change(row.as_row()).unwrap());
            block.pack(6).unwrap()
        };
        let removed = rows.iter().filter(|row| row.change == OwnedChange::Removed).count() as u64;
        Self::write(dimensions, rows.chunks(rows_per_block).map(block).collect(), |metadata| {
            let mut changes = Changes::default();
            (changes.added, changes.removed) = (rows.len() as u64 - removed, removed);
            metadata.changes = Some(changes);
            metadata.vector_count = changes.added;
            metadata.base_checksum = Some(ContentSum::default());
            metadata.snapshot_type = SnapshotType::Incremental { base_id: id(0).to_string() };
        })
    }

    fn write(dimensions: usize, blocks: Vec<PackedBlock>, change: impl FnOnce(&mut SnapshotMetadata)) -> Self {
        let mut files = MemoryFiles::default();
        let mut writer = Writer::new();
        blocks.into_iter().for_each(|block| files.append(writer.append(block)));
        let (pieces, data) =
            writer.finish(&database(dimensions), Some(leaves::encode(&leaf_tables(), None)), 6).unwrap();
        files.append(pieces);
        let id = id(1);
        let mut metadata = SnapshotMetadata::new(id.clone(), "fixture", created_at(), &database(dimensions), data);
        metadata.labels = Labels::from([("schlüssel", "value")]);
        change(&mut metadata);
        Self { id, metadata_json: metadata.encode().unwrap(), files }
    }

    pub(crate) fn metadata(&self) -> SnapshotMetadata {
        SnapshotMetadata::decode(&self.metadata_json, &self.id).unwrap()
    }

    pub(crate) fn reader(&self) -> Result<Reader<&MemoryFiles>> {
        Reader::open(&self.metadata_json, &self.id, &self.files)
    }

    /// Reads everything there is to read.
    pub(crate) fn read_all(&self) -> Result<Contents> {
        let reader = self.reader()?;
        let (database, leaves) = (reader.database()?, reader.leaves(None)?);
        let records =
            if reader.metadata().changes.is_none() { reader.records()?.collect::<Result<_>>()? } else { vec![] };
        let rows = if reader.metadata().changes.is_some() { reader.changes()?.collect::<Result<_>>()? } else { vec![] };
        reader.check_files()?;
        Ok(Contents { database, leaves, records, rows })
    }

    /// The content of the directory section.
    pub(crate) fn directory(&self) -> Vec<u8> {
        index::encode_directory(self.reader().unwrap().directory())
    }
}

/// Everything that a snapshot holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Contents {
    pub(crate) database: DatabaseInfo,
    pub(crate) leaves: Option<[LeafTable; 2]>,
    pub(crate) records: Vec<OwnedRecord>,
    pub(crate) rows: Vec<OwnedChangedRow>,
}

pub(crate) fn id(random: u64) -> SnapshotId {
    SnapshotId::new(created_at(), random).unwrap()
}

pub(crate) fn created_at() -> DateTime<Utc> {
    "2026-01-31T08:00:00Z".parse().unwrap()
}

pub(crate) fn database(dimensions: usize) -> DatabaseInfo {
    DatabaseInfo {
        dimensions: dimensions as u64,
        distance_metric: Some("Cosine".to_owned()),
        rows: BTreeMap::from([("application".to_owned(), "ünï {}".to_owned())]),
        ..DatabaseInfo::default()
    }
}

pub(crate) fn leaf_tables() -> [LeafTable; 2] {
    let mut vectors = LeafTable::default();
    vectors.push(1 << 100, 2, "a");
    vectors.push(7, 3, "b");
    [vectors, LeafTable::default()]
}

/// Three records of two dimensions.
pub(crate) fn three_records() -> Vec<OwnedRecord> {
    let record = |id: &str, metadata: Option<&str>| OwnedRecord {
        id: id.to_owned(),
        vector: (0..8).map(|byte| byte + id.len() as u8).collect(),
        metadata: metadata.map(str::to_owned),
    };
    vec![record("a", None), record("bb", Some("{\"n\":1}")), record("ccc", Some("{}"))]
}

/// Records of up to five dimensions, in order.
pub(crate) fn records() -> impl Strategy<Value = (usize, Vec<OwnedRecord>)> {
    (0usize..6).prop_flat_map(|dimensions| {
        let record = |(id, (vector, metadata))| OwnedRecord { id, vector, metadata };
        let records =
            prop::collection::btree_map(any::<String>(), (vec(any::<u8>(), dimensions * 4), metadata()), 1..30);
        (Just(dimensions), records.prop_map(move |records| records.into_iter().map(record).collect()))
    })
}

pub(crate) fn metadata() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), Just(Some("{}".to_owned())), json().prop_map(|text| Some(canonical(&text).unwrap()))]
}

/// Rows of an increment of up to five dimensions, in order.
pub(crate) fn changed_rows() -> impl Strategy<Value = (usize, Vec<OwnedChangedRow>)> {
    (0usize..6).prop_flat_map(|dimensions| {
        let put = (prop::option::of(vec(any::<u8>(), dimensions * 4)), metadata());
        let change = prop_oneof![
            1 => Just(OwnedChange::Removed),
            3 => put.prop_map(|(vector, metadata)| OwnedChange::Put { vector, metadata }),
        ];
        let rows = prop::collection::btree_map(any::<String>(), (any::<Digest>(), change), 1..30);
        let row = |(id, (digest, change)): (String, (Digest, OwnedChange))| {
            // The reader can verify the digest of a row only if the row has its vector.
            let digest = match &change {
                OwnedChange::Put { vector: Some(vector), metadata } => {
                    checksum::digest(&id, vector, metadata.as_deref())
                }
                _ => digest,
            };
            OwnedChangedRow { id, digest, change }
        };
        (Just(dimensions), rows.prop_map(move |rows| rows.into_iter().map(row).collect()))
    })
}

/// metadata.json with other content, and the seal that FORMAT.md, section 3, requires.
pub(crate) fn reseal(json: &str) -> Vec<u8> {
    let body = match json.find(",\n  \"seal\": ") {
        Some(end) => &json[..end],
        None => json.trim_end().strip_suffix('}').unwrap().trim_end(),
    };
    format!("{body},\n  \"seal\": \"{}\"\n}}\n", sha256_hex(body.as_bytes())).into_bytes()
}

/// metadata.json with changed members and a valid seal.
pub(crate) fn edit(metadata_json: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(metadata_json).unwrap();
    value.as_object_mut().unwrap().remove("seal");
    change(&mut value);
    reseal(&serde_json::to_string_pretty(&value).unwrap())
}

#[track_caller]
pub(crate) fn assert_corrupt<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.unwrap_err().kind(), FormatErrorKind::Corrupt);
}
