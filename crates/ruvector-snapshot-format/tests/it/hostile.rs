//! Ids, keys, metadata.json and the sections of index.bin.gz with any content: an error, never a panic, even if every
//! seal and checksum matches.

use chrono::{DateTime, TimeZone as _, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::irregular::{IrregularCounts, IrregularInfo};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::{SectionInfo, SnapshotMetadata};
use ruvector_snapshot_format::model::{DatabaseInfo, OwnedRecord};
use ruvector_snapshot_format::{FormatErrorKind, Result, SnapshotId, chrono};
use serde_json::json;

use crate::fixture::{Stored, assert_corrupt, database, reseal, three_records};

// ---- ids and keys

fn time() -> impl Strategy<Value = DateTime<Utc>> {
    (0i64..253_402_300_800_000).prop_map(|millis| Utc.timestamp_millis_opt(millis).unwrap())
}

proptest! {
    #[test]
    fn a_year_without_four_digits_is_in_no_id(seconds in prop_oneof![
        DateTime::<Utc>::MIN_UTC.timestamp()..=DateTime::<Utc>::MAX_UTC.timestamp(),
        Just(-62_167_219_201),
        Just(-62_167_219_200),
        Just(253_402_300_799),
        Just(253_402_300_800),
    ]) {
        let time = Utc.timestamp_opt(seconds, 0).unwrap();
        let is_writable = (-62_167_219_200..253_402_300_800).contains(&seconds);
        match SnapshotId::new(time, 1) {
            Ok(id) => prop_assert!(is_writable && id.to_string().parse::<SnapshotId>().is_ok()),
            Err(error) => {
                prop_assert!(!is_writable && error.kind() == FormatErrorKind::InvalidInput);
                prop_assert!(error.message().contains("correct the clock"), "{}", error);
            }
        }
    }

    #[test]
    fn ids_survive_a_round_trip_and_sort_by_time(a in time(), b in time(), x in any::<u64>(), y in any::<u64>()) {
        let (first, second) = (SnapshotId::new(a, x).unwrap(), SnapshotId::new(b, y).unwrap());
        prop_assert_eq!(first.to_string().parse::<SnapshotId>().unwrap(), first.clone());
        prop_assert_eq!(first.as_str(), format!("{}-{x:016x}", a.format("%Y%m%dT%H%M%S%3fZ")));
        prop_assert_eq!((a, x).cmp(&(b, y)), first.cmp(&second));
        let key = layout::key(&first, "any/name");
        prop_assert_eq!(layout::parse_key(&key), Some((first.clone(), "any/name")));
        prop_assert_eq!(layout::parse_key(first.as_str()), None);
        let foreign = format!("x{key}");
        prop_assert_eq!(layout::parse_key(&foreign), None);
    }

    #[test]
    fn other_text_is_not_an_id(text in any::<String>(), at in 0usize..36, c in any::<char>()) {
        prop_assert!(text.parse::<SnapshotId>().is_err());
        let good = "20260131T080000000Z-0123456789abcdef";
        let changed = format!("{}{c}{}", &good[..at], &good[at + 1..]);
        if let Ok(id) = changed.parse::<SnapshotId>() {
            prop_assert_eq!(id.as_str(), changed.as_str());
            prop_assert!(c.is_ascii_digit() || ('a'..='f').contains(&c) || changed == good);
        }
    }
}

#[test]
fn hostile_ids_are_refused_and_not_repeated_at_length() {
    let long = "9".repeat(5000);
    let hostile = [
        "",
        "..",
        ".",
        "/",
        "../../etc/passwd",
        "20260131T080000000Z-0123456789abcde",
        "20260131T080000000Z-0123456789abcdef0",
        "20260131T080000000Z-0123456789ABCDEF",
        "20260131T080000000Z-0123456789abcde/",
        "2026013 T080000000Z-0123456789abcdef",
        "20260131T080000000Z-0123456789abcde\0",
        "٢٠٢٦٠١٣١T080000000Z-0123",
        "20260131t080000000z-0123456789abcdef",
        " 20260131T080000000Z-0123456789abcde",
        long.as_str(),
    ];
    for text in hostile {
        let error = text.parse::<SnapshotId>().unwrap_err();
        assert_eq!(error.kind(), FormatErrorKind::InvalidInput, "{text:?}");
        assert!(error.to_string().len() < 400, "{error}");
        assert!(layout::parse_key(&format!("snapshot-{text}/metadata.json")).is_none());
        assert!(serde_json::from_value::<SnapshotId>(json!(text)).is_err());
    }
}

// ---- metadata.json

#[test]
fn metadata_json_survives_a_round_trip_and_any_changed_byte_is_refused() {
    let stored = Stored::full(2, &three_records(), 3);
    let (bytes, id) = (&stored.metadata_json, &stored.id);
    assert_eq!(stored.metadata().encode().unwrap(), *bytes);
    assert_eq!(reseal(std::str::from_utf8(bytes).unwrap()), *bytes, "the seal is that of FORMAT.md");
    for at in 0..bytes.len() {
        for change in [1u8, 2, 0x10, 0x20, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            let error = SnapshotMetadata::decode(&changed, id).unwrap_err();
            let kinds = [FormatErrorKind::Corrupt, FormatErrorKind::Unsupported];
            assert!(kinds.contains(&error.kind()), "byte {at}: {error:?}");
        }
        assert_eq!(
            SnapshotMetadata::decode(&bytes[..at], id).unwrap_err().kind(),
            FormatErrorKind::Corrupt,
            "cut at {at}"
        );
        let mut without = bytes.clone();
        without.remove(at);
        assert!(SnapshotMetadata::decode(&without, id).is_err(), "without byte {at}");
    }
    let other = SnapshotId::new(Utc.timestamp_opt(0, 0).unwrap(), 1).unwrap();
    assert_corrupt(SnapshotMetadata::decode(bytes, &other));
}

#[test]
fn a_created_at_beyond_the_years_0_to_9999_is_corrupt() {
    let stored = Stored::full(2, &three_records(), 3);
    let with = |time: &str| {
        let text = std::str::from_utf8(&stored.metadata_json).unwrap();
        let (start, rest) = text.split_once("\"created_at\": \"").unwrap();
        let (_, end) = rest.split_once('"').unwrap();
        SnapshotMetadata::decode(&reseal(&format!("{start}\"created_at\": \"{time}\"{end}")), &stored.id)
    };
    for time in ["0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999Z"] {
        assert!(with(time).is_ok(), "{time}");
    }
    for time in
        ["-0001-12-31T23:59:59Z", "+10000-01-01T00:00:00Z", "+262142-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"]
    {
        assert_corrupt(with(time));
    }
}

#[test]
fn a_newer_version_is_unsupported_and_a_changed_version_number_is_corrupt() {
    let stored = Stored::full(2, &three_records(), 3);
    let text = std::str::from_utf8(&stored.metadata_json).unwrap();
    let newer = text.replace("\"format_version\": 1", "\"format_version\": 3");
    let unsealed = b"{\"format\": \"ruvector-snapshot\", \"format_version\": 3, \"all\": \"else\"}".to_vec();
    for bytes in [reseal(&newer), unsealed] {
        let error = SnapshotMetadata::decode(&bytes, &stored.id).unwrap_err();
        assert_eq!(error.kind(), FormatErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("format version 3") && text.contains("versions 1 to 2"), "{text}");
    }
    // The seal still has the digits of version 1.
    assert_corrupt(SnapshotMetadata::decode(newer.as_bytes(), &stored.id));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_not_metadata_json(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "[\\{\\}\\[\\]\":,a-z0-9 ]{0,60}") {
        let id = SnapshotId::new(Utc.timestamp_opt(0, 0).unwrap(), 1).unwrap();
        assert_corrupt(SnapshotMetadata::decode(&bytes, &id));
        assert_corrupt(SnapshotMetadata::decode(text.as_bytes(), &id));
        let sealed = reseal(&format!("{{\"format\": \"ruvector-snapshot\", \"format_version\": 1, {text}}}"));
        prop_assert!(SnapshotMetadata::decode(&sealed, &id).is_err());
    }
}

// ---- the block directory

/// A snapshot of several blocks, its directory, and the content of the directory section.
fn many_blocks() -> (Stored, SnapshotMetadata, Vec<BlockEntry>, Vec<u8>) {
    let record = |at: usize| OwnedRecord {
        id: format!("id-{at:04}"),
        vector: (0..64).map(|byte| (byte * at) as u8).collect(),
        metadata: (!at.is_multiple_of(3)).then(|| format!("{{\"n\":{at}}}")),
    };
    let stored = Stored::full(16, &(0..40).map(record).collect::<Vec<_>>(), 12);
    let entries = stored.reader().unwrap().directory().to_vec();
    assert_eq!(entries.len(), 4);
    (stored.clone(), stored.metadata(), entries, stored.directory())
}

fn unpack(stored: &Stored, entries: &[BlockEntry]) -> Result<()> {
    entries.iter().try_for_each(|entry| {
        let piece = |file: DataFile| {
            let range = entry.range(file);
            &stored.files.file(file)[range.start as usize..range.end as usize]
        };
        Block::unpack(entry, 16, DataFile::ALL.map(piece)).map(drop)
    })
}

#[test]
fn no_number_of_the_directory_can_be_wrong() {
    let (stored, metadata, entries, raw) = many_blocks();
    unpack(&stored, &entries).unwrap();
    for at in (0..entries.len() * 88).step_by(4) {
        let word = u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
        for wrong in [word.wrapping_add(1), word.wrapping_sub(1), 0, u32::MAX, 1 << 31] {
            if wrong == word {
                continue;
            }
            let mut changed = raw.clone();
            changed[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
            let result = index::decode_directory(&changed, &metadata).and_then(|entries| unpack(&stored, &entries));
            let error = result.err().unwrap_or_else(|| panic!("entry {}, byte {}: {wrong}", at / 88, at % 88));
            assert_eq!(error.kind(), FormatErrorKind::Corrupt);
        }
    }
    for at in entries.len() * 88..raw.len() {
        let mut changed = raw.clone();
        changed[at] ^= 1;
        let result = index::decode_directory(&changed, &metadata).and_then(|entries| unpack(&stored, &entries));
        assert_eq!(result.unwrap_err().kind(), FormatErrorKind::Corrupt, "byte {at}");
    }
}

#[test]
fn a_directory_of_another_length_or_with_arbitrary_bytes_is_refused() {
    let (_, metadata, entries, raw) = many_blocks();
    for length in (0..raw.len()).step_by(7) {
        assert!(index::decode_directory(&raw[..length], &metadata).is_err(), "cut to {length}");
    }
    assert!(index::decode_directory(&[&raw[..], b"x"].concat(), &metadata).is_err());
    for blocks in [0, 1, entries.len() as u64 + 1, u64::MAX, 1 << 61] {
        let mut metadata = metadata.clone();
        metadata.blocks = blocks;
        assert!(index::decode_directory(&raw, &metadata).is_err(), "{blocks} blocks");
    }
    let mut random = TestRunner::deterministic();
    for _ in 0..300 {
        let bytes = prop::collection::vec(any::<u8>(), 0..300).new_tree(&mut random).unwrap();
        assert!(index::decode_directory(&bytes.current(), &metadata).is_err());
    }
}

#[test]
fn json_of_the_user_is_kept_as_text_that_can_be_parsed() {
    let stored = Stored::full(2, &three_records(), 3);
    let text = std::str::from_utf8(&stored.metadata_json).unwrap();
    let decode = |json: &str| {
        let changed = text.replace("\"metadata\": null", &format!("\"metadata\": {json}"));
        SnapshotMetadata::decode(&reseal(&changed), &stored.id)
    };
    for (json, kept) in [
        ("null", "null"),
        ("{ \"a\" :\n [ 1.50 , \"b c\" ] }", "{\"a\":[1.50,\"b c\"]}"),
        (r#""a \" b \\" "#, r#""a \" b \\""#),
        ("[\"\\\\\" , \" \"]", "[\"\\\\\",\" \"]"),
    ] {
        let metadata = decode(json).unwrap();
        assert_eq!(metadata.metadata.get(), kept);
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!((metadata.metadata.parse().unwrap(), metadata.metadata == value), (value, true));
        assert_eq!(metadata.metadata, decode(kept).unwrap().metadata);
    }
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(decode(&nested(126)).unwrap().metadata.get(), nested(126));
    for wrong in [&*nested(127), "1e999", "[1e999]", "{\"a\":{\"b\":-1e999}}"] {
        assert_corrupt(decode(wrong));
    }
}

#[test]
fn a_section_expands_only_as_far_as_its_content_can() {
    let stored = Stored::full(2, &three_records(), 1);
    let (mib, blocks) = (1u64 << 20, 3);
    for (name, bytes, limit_bytes) in [
        ("directory", mib, blocks * (92 + mib)),
        ("database", mib, 64 * mib),
        ("database", 100_000, 100_000 * 256 + 16 * mib),
        ("leaves", 3 * mib, 112 * mib),
        ("leaves", 1000, 1_032_000),
        ("irregular", mib, 8 * mib),
        ("of another program", mib, 1 << 30),
    ] {
        let sized = |raw_bytes: u64| {
            let mut metadata = stored.metadata();
            assert_eq!(metadata.blocks, blocks);
            let at = metadata.sections.iter().position(|section| section.name == name);
            let at = at.unwrap_or_else(|| {
                let offset = metadata.sections[0].offset;
                let section = SectionInfo { name: name.to_owned(), offset, bytes: 0, raw_bytes: 0 };
                metadata.sections.insert(0, section);
                0
            });
            metadata.sections[at].bytes = bytes;
            metadata.sections[at].raw_bytes = raw_bytes;
            let mut end = metadata.sections[0].offset;
            for section in &mut metadata.sections {
                section.offset = end;
                end += section.bytes;
            }
            metadata.files.get_mut("index.bin.gz").unwrap().bytes = end;
            if name == "irregular" {
                let counts = IrregularCounts::default();
                metadata.set_irregular(Some(IrregularInfo::new(1, &counts, Vec::new())));
            }
            metadata.encode()
        };
        assert!(sized(limit_bytes).is_ok(), "{name}: {:?}", sized(limit_bytes));
        let error = sized(limit_bytes + 1).unwrap_err();
        assert!(error.message().contains("expand"), "{name}: {error}");
    }
}

// ---- the description of the database

#[test]
fn options_and_config_rows_have_limits_when_they_are_written_and_when_they_are_read() {
    let metadata = Stored::full(2, &three_records(), 3).metadata();
    let read = |database: &DatabaseInfo| index::decode_database(&serde_json::to_vec(database).unwrap(), &metadata);
    let options = |chars: usize| {
        let long = serde_json::Value::String("x".repeat(chars));
        let hnsw_config = DatabaseInfo { hnsw_config: long.clone(), ..database(2) };
        [hnsw_config, DatabaseInfo { quantization: long, ..database(2) }]
    };
    let rows = |rows: usize| {
        let rows = (0..rows).map(|row| (row.to_string(), String::new())).collect();
        DatabaseInfo { rows, ..database(2) }
    };
    let [hnsw_config, quantization] = options((64 << 10) - 2);
    for allowed in [hnsw_config, quantization, rows(1_000_000)] {
        let raw = index::encode_database(&allowed).unwrap();
        assert_eq!(index::decode_database(&raw, &metadata).unwrap(), allowed);
    }
    let [hnsw_config, quantization] = options((64 << 10) - 1);
    for too_large in [hnsw_config, quantization, rows(1_000_001)] {
        let error = index::encode_database(&too_large).unwrap_err();
        assert_eq!(error.kind(), FormatErrorKind::InvalidInput);
        let is_rows = too_large.rows.len() > 1;
        assert_eq!(
            error.message().contains("1000001 settings, more than the 1000000 allowed; remove"),
            is_rows,
            "{error}"
        );
        assert_corrupt(read(&too_large));
    }
    let text = DatabaseInfo { rows: [("a".to_owned(), "x".repeat(64 << 20))].into(), ..database(2) };
    assert_eq!(index::encode_database(&text).unwrap_err().kind(), FormatErrorKind::InvalidInput);
}

#[test]
fn a_database_section_that_contradicts_metadata_json_is_refused() {
    let metadata = Stored::full(2, &three_records(), 3).metadata();
    let intact = database(2);
    let raw = index::encode_database(&intact).unwrap();
    assert_eq!(index::decode_database(&raw, &metadata).unwrap(), intact);
    let other_metric = DatabaseInfo { distance_metric: None, ..intact };
    for other in [database(3), other_metric] {
        assert_corrupt(index::decode_database(&index::encode_database(&other).unwrap(), &metadata));
    }
    for raw in [&b""[..], b"{}", b"[]", &raw[1..], &raw[..raw.len() - 1]] {
        assert_corrupt(index::decode_database(raw, &metadata));
    }
}
