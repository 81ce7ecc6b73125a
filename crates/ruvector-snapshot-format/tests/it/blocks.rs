//! Blocks, digests and content checksums: they survive a round trip, match the text of the format, and refuse other
//! pieces.

use proptest::collection::vec;
use proptest::prelude::*;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::{ContentSum, digest, hex};
use ruvector_snapshot_format::codec::crc32;
use ruvector_snapshot_format::codec::member::{Coding, pack};
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::model::Record;
use ruvector_snapshot_format::{FormatErrorKind, limits, payloads};

use crate::fixture::{assert_corrupt, records};
use crate::reference::{reference_checksum, reference_digest};

proptest! {
    #[test]
    fn blocks_survive_a_round_trip((dimensions, records) in records(), level in 0u32..=9) {
        let mut block = Block::new(dimensions);
        let mut expected = ContentSum::default();
        for record in &records {
            block.push(record.as_record()).unwrap();
            expected.add(&record.as_record().digest());
        }
        let packed = block.clone().pack(level).unwrap();
        prop_assert_eq!(packed.sum, expected);
        let pieces = [&packed.vectors[..], &packed.index, &packed.payloads];
        for (file, piece) in DataFile::ALL.into_iter().zip(pieces) {
            prop_assert_eq!(packed.entry.range(file), 0..piece.len() as u64);
        }
        let (found, sum) = Block::unpack(&packed.entry, dimensions, pieces).unwrap();
        prop_assert_eq!(sum, expected);
        prop_assert_eq!(found.len(), records.len());
        prop_assert!(found.rows().eq(block.rows()), "the rows differ");

        // No piece can be replaced by that of another block, or be truncated.
        let mut other = Block::new(dimensions);
        other.push(Record { id: "other", vector: &vec![7; dimensions * 4], metadata: Some("{\"o\":1}") }).unwrap();
        let other = other.pack(level).unwrap();
        for (at, foreign) in [&other.vectors[..], &other.index, &other.payloads].into_iter().enumerate() {
            let mut mixed = pieces;
            mixed[at] = foreign;
            if mixed != pieces {
                assert_corrupt(Block::unpack(&packed.entry, dimensions, mixed));
            }
            mixed[at] = &pieces[at][..pieces[at].len().saturating_sub(1)];
            if mixed != pieces {
                assert_corrupt(Block::unpack(&packed.entry, dimensions, mixed));
            }
        }
    }

    #[test]
    fn arbitrary_pieces_never_panic(numbers in any::<[u32; 8]>(), pieces in vec(vec(any::<u8>(), 0..60), 3), small in 0u32..5) {
        let entry = BlockEntry {
            rows: small, vector_rows: small, metadata_rows: small, ids_raw_bytes: numbers[0] % 64,
            plane_bytes: [numbers[1] % 30; 4], ids_bytes: numbers[2] % 40, digests_bytes: numbers[3] % 40,
            vectors_crc32: crc32(&pieces[0]),
            index_crc32: crc32(&pieces[1]),
            payloads_crc32: crc32(&pieces[2]),
            payloads_bytes: numbers[4] % 60, payloads_raw_bytes: numbers[5] % 100,
            ..Default::default()
        };
        let _refused = Block::unpack(&entry, 2, [&pieces[0], &pieces[1], &pieces[2]]);
    }
}

#[test]
fn a_block_accepts_only_ordered_rows_of_its_dimensions() {
    let mut block = Block::new(1);
    let row = |id, vector| Record { id, vector, metadata: None };
    block.push(row("b", &[0; 4])).unwrap();
    for (id, vector) in [("a", &[0; 4][..]), ("b", &[0; 4]), ("", &[0; 4]), ("c", &[0; 8]), ("c", &[])] {
        assert_corrupt(block.push(row(id, vector)));
    }
    block.push(row("b\0", &[0; 4])).unwrap();
    assert_eq!(block.len(), 2);
    let too_long = "x".repeat((1 << 20) + 1);
    assert_eq!(block.push(row(&too_long, &[0; 4])).unwrap_err().kind(), FormatErrorKind::InvalidInput);
    block.push(row(&too_long[1..], &[0; 4])).unwrap();
}

#[test]
fn a_metadata_line_that_is_not_canonical_is_refused_even_if_all_checksums_match() {
    let vector = [0; 4];
    let mut block = Block::new(1);
    block.push(Record { id: "a", vector: &vector, metadata: Some("{}") }).unwrap();
    let packed = block.pack(6).unwrap();
    let unpacked = |text: &str| {
        let line = format!("{{\"id\":\"a\",\"metadata\":{text}}}\n");
        let (mut entry, mut payloads) = (packed.entry.clone(), Vec::new());
        entry.payloads_bytes = pack(line.as_bytes(), Coding::Deflate(6), &mut payloads).unwrap() as u32;
        entry.payloads_raw_bytes = line.len() as u32;
        entry.payloads_crc32 = crc32(&payloads);
        let mut index = packed.index[..entry.ids_bytes as usize].to_vec();
        entry.digests_bytes = pack(&digest("a", &vector, Some(text)), Coding::Stored, &mut index).unwrap() as u32;
        entry.index_crc32 = crc32(&index);
        Block::unpack(&entry, 1, [&packed.vectors, &index, &payloads])
    };
    assert_eq!(unpacked("{\"x\":1}").unwrap().0.row(0).metadata, Some("{\"x\":1}"));
    let no_json = ["no json", "{\"x\":1},\"metadata\":{\"y\":2}", "{\"x\":1", ""];
    let not_canonical =
        ["{\"x\": 1}", " {}", "{} ", "{\"y\":1,\"x\":1}", "{\"x\":1,\"x\":1}", "{\"\\u0078\":1}", "[1]", "null"];
    for text in no_json.into_iter().chain(not_canonical) {
        let error = unpacked(text).unwrap_err();
        assert_eq!(
            (error.kind(), error.file()),
            (FormatErrorKind::Corrupt, Some("metadata.bin.gz")),
            "{text}: {error:?}"
        );
    }
}

#[test]
fn metadata_larger_than_its_limit_is_refused() {
    let line_of = |bytes: usize| format!("{{\"id\":\"a\",\"metadata\":{{\"x\":\"{}\"}}}}\n", "y".repeat(bytes - 8));
    let largest = line_of(limits::RECORD_METADATA_BYTES);
    assert_eq!(payloads::canonical_metadata_of("a", Some(&largest)).unwrap().len(), limits::RECORD_METADATA_BYTES);
    let error = payloads::canonical_metadata_of("a", Some(&line_of(limits::RECORD_METADATA_BYTES + 1))).unwrap_err();
    assert_eq!(error.kind(), FormatErrorKind::Corrupt);
    assert!(error.to_string().contains("larger than the limit"), "{error}");
}

// ---- digests and sums

proptest! {
    #[test]
    fn digests_match_the_text_of_the_format(id in any::<String>(), vector in vec(any::<u8>(), 0..40), metadata in any::<Option<String>>()) {
        let metadata = metadata.as_deref();
        prop_assert_eq!(digest(&id, &vector, metadata), reference_digest(&id, &vector, metadata));
    }

    #[test]
    fn content_checksums_do_not_depend_on_order_or_parts(digests in vec(any::<[u8; 16]>(), 0..60), cut in any::<prop::sample::Index>()) {
        let sum = |digests: &[[u8; 16]]| {
            let mut sum = ContentSum::default();
            digests.iter().for_each(|digest| sum.add(digest));
            sum
        };
        let whole = sum(&digests);
        prop_assert_eq!(whole.to_string(), reference_checksum(&digests));
        prop_assert_eq!(whole.to_string().parse::<ContentSum>().unwrap(), whole);
        let reversed: Vec<_> = digests.iter().rev().copied().collect();
        prop_assert_eq!(sum(&reversed), whole);
        let (left, right) = digests.split_at(cut.index(digests.len() + 1));
        let mut merged = sum(right);
        merged.merge(&sum(left));
        prop_assert_eq!(merged, whole);
    }
}

#[test]
fn digests_and_checksums_match_known_values() {
    let of = |id: &str, vector: &[u8], metadata| hex(&digest(id, vector, metadata));
    // Made with: printf '\x01\0\0\0a\x04\0\0\0\0\0\x80\x3f\x02\0\0\0{}' | sha256sum, and likewise the other two.
    assert_eq!(of("a", &1f32.to_le_bytes(), Some("{}")), KNOWN[0]);
    assert_eq!(of("a", &1f32.to_le_bytes(), None), KNOWN[1]);
    assert_eq!(of("", &[], None), KNOWN[2]);
    let carries: ContentSum = "f".repeat(64).parse().unwrap();
    let mut sum = carries;
    sum.merge(&format!("{:064x}", 1).parse().unwrap());
    assert_eq!(sum, ContentSum::default(), "a carry passes through all words and is dropped");
    assert_ne!(carries, sum);
    for text in ["", "0", &"0".repeat(63), &"0".repeat(65), &"F".repeat(64), &"g".repeat(64), &"é".repeat(32)] {
        assert_corrupt(text.parse::<ContentSum>());
    }
}

const KNOWN: [&str; 3] =
    ["e8fdcc19751a77fcab68a40cc0ce03d8", "97d12646125e585bdaaa05f1b78c93ea", "8c4a95f406e127070872385c098bdf99"];
