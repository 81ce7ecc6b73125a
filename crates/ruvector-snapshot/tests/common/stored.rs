//! A stored snapshot as the files it is made of: read, taken apart, damaged and sealed again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ruvector_snapshot::format::id::SnapshotId;
use ruvector_snapshot::format::index::{self, BlockEntry};
use ruvector_snapshot::format::layout::{self, DataFile};
use ruvector_snapshot::format::member;
use ruvector_snapshot::format::metadata::SnapshotMetadata;
use sha2::{Digest as _, Sha256};

/// The five files of a snapshot in a local directory, as they were when they were read.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: SnapshotId,
    pub dir: PathBuf,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Stored {
    pub fn read(snapshots: &Path, id: &str) -> Self {
        let id: SnapshotId = id.parse().unwrap();
        let dir = snapshots.join(layout::prefix(&id));
        let read = |name: &str| (name.to_owned(), std::fs::read(dir.join(name)).unwrap());
        let files = layout::FILES.into_iter().map(read).collect();
        Self { id, dir, files }
    }

    pub fn file(&self, name: &str) -> &[u8] {
        &self.files[name]
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(&self.dir).unwrap();
        std::fs::write(self.dir.join(name), bytes).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.join(name)).unwrap();
    }

    /// Makes all five files what they were.
    pub fn repair(&self) {
        self.files.iter().for_each(|(name, bytes)| self.put(name, bytes));
    }

    pub fn metadata(&self) -> SnapshotMetadata {
        SnapshotMetadata::decode(self.file(layout::METADATA_JSON), &self.id).unwrap()
    }

    pub fn section(&self, name: &str) -> Vec<u8> {
        let section = self.metadata().section(name).unwrap().clone();
        let range = section.offset as usize..(section.offset + section.bytes) as usize;
        member::unpack(&self.file(DataFile::Index.name())[range], section.raw_bytes as usize).unwrap()
    }

    pub fn entries(&self) -> Vec<BlockEntry> {
        index::decode_directory(&self.section(index::DIRECTORY), &self.metadata()).unwrap()
    }

    /// Every gzip member of every data file: the file, the block it belongs to, and where it lies.
    pub fn members(&self) -> Vec<(DataFile, Option<usize>, Range<usize>)> {
        let mut members = Vec::new();
        for (at, entry) in self.entries().iter().enumerate() {
            let sizes = [
                (DataFile::Vectors, entry.vectors_offset, entry.plane_bytes.to_vec()),
                (DataFile::Index, entry.index_offset, vec![entry.ids_bytes, entry.digests_bytes]),
                (DataFile::Payloads, entry.payloads_offset, vec![entry.payloads_bytes]),
            ];
            for (file, offset, sizes) in sizes {
                let mut start = offset as usize;
                for size in sizes.into_iter().filter(|size| *size > 0) {
                    members.push((file, Some(at), start..start + size as usize));
                    start += size as usize;
                }
            }
        }
        for section in &self.metadata().sections {
            members.push((DataFile::Index, None, section.offset as usize..(section.offset + section.bytes) as usize));
        }
        for (file, _, range) in &members {
            assert_eq!(self.file(file.name())[range.start..range.start + 3], [0x1f, 0x8b, 8], "no gzip member");
        }
        members
    }
}

/// metadata.json of another content, sealed as FORMAT.md, section 3, says.
pub fn reseal(json: &str) -> Vec<u8> {
    let body = match json.find(",\n  \"seal\": ") {
        Some(end) => &json[..end],
        None => json.trim_end().strip_suffix('}').unwrap().trim_end(),
    };
    let seal: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{body},\n  \"seal\": \"{seal}\"\n}}\n").into_bytes()
}

/// metadata.json with members changed and a seal that holds.
pub fn edit(metadata_json: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(metadata_json).unwrap();
    value.as_object_mut().unwrap().remove("seal");
    change(&mut value);
    reseal(&serde_json::to_string_pretty(&value).unwrap())
}
