//! The files of a snapshot in a local directory. Tests read them, take them apart, corrupt them and seal them again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ruvector_snapshot_format::codec::member;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use sha2::{Digest as _, Sha256};

/// The five files of a snapshot, as they were when they were read.
#[derive(Debug, Clone)]
pub struct StoredSnapshot {
    /// The id of the snapshot.
    pub id: SnapshotId,
    /// The directory of its files.
    pub dir: PathBuf,
    /// The bytes of each file by its name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl StoredSnapshot {
    /// Reads the files of a snapshot in a directory of snapshots.
    pub fn read(snapshots: &Path, id: &str) -> Self {
        let id: SnapshotId = id.parse().unwrap();
        let dir = snapshots.join(layout::prefix(&id));
        let read = |name: &str| (name.to_owned(), std::fs::read(dir.join(name)).unwrap());
        let files = layout::FILES.into_iter().map(read).collect();
        Self { id, dir, files }
    }

    /// Returns the bytes of a file, as they were read.
    pub fn file(&self, name: &str) -> &[u8] {
        &self.files[name]
    }

    /// Replaces a file on disk.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(&self.dir).unwrap();
        std::fs::write(self.dir.join(name), bytes).unwrap();
    }

    /// Removes a file from disk.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.join(name)).unwrap();
    }

    /// Writes all five files as they were read.
    pub fn repair(&self) {
        self.files.iter().for_each(|(name, bytes)| self.put(name, bytes));
    }

    /// Returns the decoded `metadata.json`.
    pub fn metadata(&self) -> SnapshotMetadata {
        SnapshotMetadata::decode(self.file(layout::METADATA_JSON), &self.id).unwrap()
    }

    /// Returns the unpacked bytes of a section of the index.
    pub fn section(&self, name: &str) -> Vec<u8> {
        let section = self.metadata().section(name).unwrap().clone();
        let range = section.offset as usize..(section.offset + section.bytes) as usize;
        member::unpack(&self.file(DataFile::Index.name())[range], section.raw_bytes as usize).unwrap()
    }

    /// Returns the directory of blocks.
    pub fn entries(&self) -> Vec<BlockEntry> {
        index::decode_directory(&self.section(index::DIRECTORY), &self.metadata()).unwrap()
    }

    /// Returns every gzip member of every data file: the file, the number of its block, and its range of bytes.
    pub fn members(&self) -> Vec<(DataFile, Option<usize>, Range<usize>)> {
        let mut members = Vec::new();
        for (block, entry) in self.entries().iter().enumerate() {
            let sizes = [
                (DataFile::Vectors, entry.vectors_offset, entry.plane_bytes.to_vec()),
                (DataFile::Index, entry.index_offset, vec![entry.ids_bytes, entry.digests_bytes]),
                (DataFile::Payloads, entry.payloads_offset, vec![entry.payloads_bytes]),
            ];
            for (file, offset, sizes) in sizes {
                let mut start = offset as usize;
                for size in sizes.into_iter().filter(|size| *size > 0) {
                    members.push((file, Some(block), start..start + size as usize));
                    start += size as usize;
                }
            }
        }
        for section in &self.metadata().sections {
            members.push((DataFile::Index, None, section.offset as usize..(section.offset + section.bytes) as usize));
        }
        for (file, _, range) in &members {
            assert_eq!(self.file(file.name())[range.start..range.start + 3], [0x1f, 0x8b, 8], "not a gzip member");
        }
        members
    }
}

/// Seals the text of a `metadata.json` as section 3 of FORMAT.md says.
pub fn reseal(json: &str) -> Vec<u8> {
    let body = match json.find(",\n  \"seal\": ") {
        Some(end) => &json[..end],
        None => json.trim_end().strip_suffix('}').unwrap().trim_end(),
    };
    let seal: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{body},\n  \"seal\": \"{seal}\"\n}}\n").into_bytes()
}

/// Changes members of a `metadata.json` and seals it again.
pub fn edit_metadata(metadata_json: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(metadata_json).unwrap();
    value.as_object_mut().unwrap().remove("seal");
    change(&mut value);
    reseal(&serde_json::to_string_pretty(&value).unwrap())
}

/// Flips one bit in the middle of a file.
pub fn flip_bit_in_the_middle(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
