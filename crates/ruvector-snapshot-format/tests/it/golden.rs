//! Snapshots that earlier versions wrote, read by [`Reader`]. The files belong to the package ruvector-snapshot, whose
//! tests restore them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::model::{OwnedChange, OwnedRecord};
use ruvector_snapshot_format::reader::{ReadAt, Reader};
use ruvector_snapshot_format::{FormatErrorKind, Result};
use serde::Deserialize;

/// The files of a snapshot in a local directory.
struct Directory(PathBuf);

impl ReadAt for Directory {
    fn read_at(&self, file: DataFile, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let mut file = File::open(self.0.join(file.name()))?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// A line of the files `expected*.jsonl`: runs of equal values as bits in hexadecimal and count, and the metadata as
/// text.
#[derive(Deserialize)]
struct Expected {
    id: String,
    vector: Vec<(String, usize)>,
    metadata: Option<String>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ruvector-snapshot/tests/golden")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The records of a state, by id.
fn expected(file: &Path) -> BTreeMap<String, OwnedRecord> {
    let record = |line: &str| {
        let Expected { id, vector, metadata } = serde_json::from_str(line).unwrap();
        let run = |(bits, count): &(String, usize)| {
            std::iter::repeat_n(u32::from_str_radix(bits, 16).unwrap().to_le_bytes(), *count).flatten()
        };
        (id.clone(), OwnedRecord { id, vector: vector.iter().flat_map(run).collect(), metadata })
    };
    fs::read_to_string(file).unwrap().lines().map(record).collect()
}

fn open(dir: PathBuf) -> Reader<Directory> {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let id = layout::parse_prefix(name).unwrap();
    let reader = Reader::open(&fs::read(dir.join(layout::METADATA_JSON)).unwrap(), &id, Directory(dir)).unwrap();
    reader.check_files().unwrap();
    assert_eq!(reader.database().unwrap().dimensions, reader.metadata().dimensions);
    reader
}

#[test]
fn golden_snapshots_are_read_and_checked() {
    let mut snapshots = 0;
    for version in names(&golden()) {
        for case in names(&golden().join(&version)) {
            let case = golden().join(&version).join(case);
            let with =
                |start: &str| names(&case).into_iter().filter(|name| name.starts_with(start)).collect::<Vec<_>>();
            let mut state = BTreeMap::new();
            for (snapshot, file) in with("snapshot-").into_iter().zip(with("expected")) {
                apply(&mut state, &open(case.join(&snapshot)));
                assert!(state == expected(&case.join(&file)), "{} differs from {file}", case.join(snapshot).display());
                snapshots += 1;
            }
        }
    }
    assert!(snapshots >= 8);
}

/// Merges a snapshot into the state of its base, as FORMAT.md, section 5, says.
fn apply(state: &mut BTreeMap<String, OwnedRecord>, reader: &Reader<Directory>) {
    if reader.metadata().changes.is_none() {
        assert_eq!(reader.changes().err().unwrap().kind(), FormatErrorKind::InvalidInput);
        state.extend(reader.records().unwrap().map(|record| (record.as_ref().unwrap().id.clone(), record.unwrap())));
    } else {
        assert_eq!(reader.records().err().unwrap().kind(), FormatErrorKind::InvalidInput);
        for row in reader.changes().unwrap() {
            let row = row.unwrap();
            let base = state.remove(&row.id);
            if let OwnedChange::Put { vector, metadata } = row.change {
                let vector = vector.unwrap_or_else(|| base.unwrap().vector);
                let record = OwnedRecord { id: row.id.clone(), vector, metadata };
                assert_eq!(record.as_record().digest(), row.digest);
                state.insert(row.id, record);
            } else {
                assert_eq!(base.unwrap().as_record().digest(), row.digest);
            }
        }
    }
    let mut sum = ruvector_snapshot_format::checksum::ContentSum::default();
    state.values().for_each(|record| sum.add(&record.as_record().digest()));
    sum.merge(&reader.metadata().irregular_checksum());
    assert_eq!(sum, reader.metadata().checksum);
    let irregular = reader.irregular().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(irregular.is_empty(), reader.metadata().irregular_sections().count() == 0);
    assert_eq!(state.len() as u64, reader.metadata().vector_count);
}
