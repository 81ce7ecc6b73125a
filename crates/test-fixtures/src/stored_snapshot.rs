//! The files of a snapshot in a local directory. Tests read them, take them apart, corrupt them and seal them again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ruvector_snapshot_format::checksum::{checksum_sha256, hex};
use ruvector_snapshot_format::codec::member;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::irregular::section_name;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use serde_json::json;
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

    /// Returns the same snapshot with other content in a section of the index, deflated. Every size, digest and seal fits
    /// it.
    pub fn with_section(&self, name: &str, raw: &[u8]) -> Self {
        self.with_sections(&[], Some((name, raw)))
    }

    /// Returns the same snapshot with these sections of irregular rows, deflated, which it claims to be one row of the
    /// table `config`. Every size, digest and seal fits it.
    pub fn with_irregular(&self, sections: &[&[u8]]) -> Self {
        self.with_sections(sections, None)
    }

    fn with_sections(&self, irregular: &[&[u8]], changed: Option<(&str, &[u8])>) -> Self {
        let metadata = self.metadata();
        let blocks_end = metadata.sections[0].offset as usize;
        let mut index = self.file(DataFile::Index.name())[..blocks_end].to_vec();
        let mut raw_bytes = metadata.file(DataFile::Index).unwrap().raw_bytes;
        raw_bytes -= metadata.sections.iter().map(|section| section.raw_bytes).sum::<u64>();
        let kept = metadata.sections.iter().map(|section| match changed {
            Some((name, raw)) if section.name == name => (section.name.clone(), raw.to_vec()),
            _ => (section.name.clone(), self.section(&section.name)),
        });
        let irregular = irregular.iter().enumerate().map(|(at, raw)| (section_name(at), raw.to_vec()));
        let is_irregular = irregular.len() > 0;
        let sections: Vec<_> = (irregular.chain(kept))
            .map(|(name, content)| {
                raw_bytes += content.len() as u64;
                let offset = index.len();
                let bytes = member::pack(&content, member::Coding::Deflate(6), &mut index).unwrap();
                json!({ "name": name, "offset": offset, "bytes": bytes, "raw_bytes": content.len() })
            })
            .collect();
        let sha256 = hex(&Sha256::digest(&index));
        let metadata_json = edit_metadata(self.file(layout::METADATA_JSON), |json| {
            json["sections"] = json!(sections);
            if is_irregular {
                json["format_version"] = json!(2);
                json["irregular"] = json!({
                    "records": 0, "config_rows": 1, "tables": 0, "table_rows": 0, "checksum": "0".repeat(64), "examples": [],
                });
            }
            json["files"][DataFile::Index.name()] = json!({
                "bytes": index.len(), "sha256": sha256, "raw_bytes": raw_bytes,
            });
        });
        self.with_files([(DataFile::Index.name(), index), (layout::METADATA_JSON, metadata_json)])
    }

    /// Returns the same snapshot under another id and with other JSON of the user.
    pub fn under(&self, id: &str, user_json: &str) -> Self {
        self.under_with(id, "/metadata", user_json)
    }

    /// Returns the same snapshot under another id and with other JSON in a member of `metadata.json`, which a JSON
    /// pointer names.
    pub fn under_with(&self, id: &str, member: &str, member_json: &str) -> Self {
        let id: SnapshotId = id.parse().unwrap();
        let metadata_json = edit_metadata(self.file(layout::METADATA_JSON), |json| {
            json["id"] = json!(id.as_str());
            *json.pointer_mut(member).unwrap() = json!("the JSON of the member");
        });
        let text = String::from_utf8(metadata_json).unwrap().replace("\"the JSON of the member\"", member_json);
        let dir = self.dir.with_file_name(layout::prefix(&id));
        Self { id, dir, ..self.with_files([(layout::METADATA_JSON, reseal(&text))]) }
    }

    /// Replaces files, and changes `checksum.sha256` accordingly.
    fn with_files<const N: usize>(&self, changed: [(&str, Vec<u8>); N]) -> Self {
        let mut files = self.files.clone();
        files.extend(changed.map(|(name, bytes)| (name.to_owned(), bytes)));
        let sums = DataFile::ALL.map(|file| hex(&Sha256::digest(&files[file.name()])));
        let text = checksum_sha256(&files[layout::METADATA_JSON], sums.each_ref().map(String::as_str));
        files.insert(layout::CHECKSUM_SHA256.to_owned(), text.into_bytes());
        Self { files, ..self.clone() }
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
