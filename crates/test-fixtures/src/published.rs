//! Files like those of the crate ruvector-snapshot 2.3.0 as published, without that crate: bincode 2 with its
//! standard configuration, in one gzip member, and a sidecar with the SHA-256 of what is in it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use ruvector_core::VectorEntry;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The contents of a file.
#[derive(Debug, Clone)]
pub struct Published {
    /// The id of the snapshot.
    pub id: String,
    /// The name of the collection, by which an import names the snapshot.
    pub collection_name: String,
    /// The time, RFC 3339.
    pub created_at: String,
    /// The version of the crate.
    pub version: String,
    /// The dimensions of the collection.
    pub dimensions: u64,
    /// 0 for Cosine, 1 for Euclidean, 2 for DotProduct.
    pub metric: u64,
    /// The parameters m, ef_construction and ef_search of the index.
    pub hnsw: Option<[u64; 3]>,
    /// What the file says of the number of its records.
    pub count: u64,
    /// The ids, the vectors and the payloads.
    pub records: Vec<(String, Vec<f32>, Option<String>)>,
}

impl Published {
    /// Returns a file of a collection `articles` with these records, in this order.
    pub fn of(dimensions: usize, records: Vec<(String, Vec<f32>, Option<String>)>) -> Self {
        Self {
            id: "0b7c8a52-2d6a-4b0f-9d5e-3b1f5a3c9e01".to_owned(),
            collection_name: "articles".to_owned(),
            created_at: "2025-11-21T10:00:00.123456789+01:00".to_owned(),
            version: "2.3.0".to_owned(),
            dimensions: dimensions as u64,
            metric: 0,
            hnsw: None,
            count: records.len() as u64,
            records,
        }
    }

    /// As [`of`](Self::of), of entries of a database.
    pub fn of_entries(dimensions: usize, entries: impl IntoIterator<Item = VectorEntry>) -> Self {
        let record = |entry: VectorEntry| {
            let payload = entry.metadata.map(|map| serde_json::to_string(&map).unwrap());
            (entry.id.unwrap(), entry.vector, payload)
        };
        Self::of(dimensions, entries.into_iter().map(record).collect())
    }

    /// Returns the contents before they are compressed.
    pub fn contents(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for text in [&self.id, &self.collection_name, &self.created_at, &self.version] {
            put_text(&mut out, text);
        }
        put_number(&mut out, self.dimensions);
        put_number(&mut out, self.metric);
        out.push(u8::from(self.hnsw.is_some()));
        self.hnsw.iter().flatten().for_each(|number| put_number(&mut out, *number));
        put_number(&mut out, self.count);
        for (id, vector, payload) in &self.records {
            put_text(&mut out, id);
            put_number(&mut out, vector.len() as u64);
            out.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            out.push(u8::from(payload.is_some()));
            payload.iter().for_each(|payload| put_text(&mut out, payload));
        }
        out
    }

    /// Writes a file `NAME.snapshot.gz` and its sidecar, and returns the path of the file.
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        self.write_contents(directory, name, &self.contents())
    }

    /// As [`write`](Self::write), with other contents, whose SHA-256 is in the sidecar.
    pub fn write_contents(&self, directory: &Path, name: &str, contents: &[u8]) -> PathBuf {
        let path = directory.join(format!("{name}.snapshot.gz"));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(contents).unwrap();
        let compressed = encoder.finish().unwrap();
        fs::write(&path, &compressed).unwrap();
        let checksum: String = Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect();
        let sidecar = json!({
            "id": self.id, "collection_name": self.collection_name, "created_at": "2025-11-21T09:00:00.123456789Z",
            "vectors_count": self.count, "checksum": checksum, "size_bytes": compressed.len(),
        });
        fs::write(directory.join(format!("{name}.metadata.json")), format!("{sidecar:#}")).unwrap();
        path
    }
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=250 => out.push(number as u8),
        251..=0xffff => {
            out.push(251);
            out.extend((number as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(252);
            out.extend((number as u32).to_le_bytes());
        }
        _ => {
            out.push(253);
            out.extend(number.to_le_bytes());
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend(text.as_bytes());
}
