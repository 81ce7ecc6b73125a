//! Every codec of the format over arbitrary input: what is packed comes back bit for bit, and bytes that were not packed
//! here are refused without a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::reference::{digest_by_the_text, sum_by_the_text};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use ruvector_snapshot::format::block::{Block, Row};
use ruvector_snapshot::format::checksum::{ContentSum, digest};
use ruvector_snapshot::format::index::Ids;
use ruvector_snapshot::format::member::{Coding, check_expansion, pack, unpack};
use ruvector_snapshot::format::{layout, payloads, vectors};
use ruvector_snapshot::{ErrorKind, Result};

fn packed(raw: &[u8], coding: Coding) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let size = pack(raw, coding, &mut out).unwrap();
    assert_eq!(out.len(), 6 + size, "the size that pack tells");
    assert!(out.starts_with(b"before"), "pack is to append");
    out.split_off(6)
}

fn codings() -> impl Strategy<Value = Coding> {
    prop_oneof![Just(Coding::Stored), Just(Coding::Huffman), (1u32..=9).prop_map(Coding::Deflate)]
}

/// Bytes as they occur: noise, runs, few symbols, skewed counts, text.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0usize..200_000).prop_map(|(byte, length)| vec![byte; length]),
        vec(prop_oneof![20 => Just(0x7fu8), 5 => Just(0x7e), 1 => any::<u8>()], 0..3000),
        (vec(any::<u8>(), 1..40), 1usize..400).prop_map(|(unit, times)| unit.repeat(times)),
        "[a-f \\n]{0,500}".prop_map(String::into_bytes),
    ]
}

#[track_caller]
fn assert_damaged<T: std::fmt::Debug>(answer: Result<T>) {
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Damaged);
}

// ---- vectors.bin.gz: planes

proptest! {
    #[test]
    fn planes_are_the_bytes_of_rotated_values(values in vec(any::<u32>(), 0..300)) {
        let matrix: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let planes = vectors::split(&matrix);
        let plane = |at: usize| &planes[at * values.len()..(at + 1) * values.len()];
        for (at, value) in values.iter().enumerate() {
            // FORMAT.md: the sign becomes bit 0, the exponent bits 24 to 31.
            let rotated = value.wrapping_mul(2) + (value >> 31);
            for number in 0..4 {
                prop_assert_eq!(plane(number)[at], (rotated >> (8 * number)) as u8);
            }
            prop_assert_eq!(plane(3)[at], ((value >> 23) & 0xff) as u8, "the exponent");
        }
        prop_assert_eq!(vectors::join([plane(0), plane(1), plane(2), plane(3)]).unwrap(), matrix);
    }
}

#[test]
fn planes_of_different_lengths_are_refused() {
    for short in 0..4 {
        let mut planes = [&[1u8, 2, 3][..]; 4];
        planes[short] = &[1, 2];
        assert_damaged(vectors::join(planes));
    }
}

// ---- gzip members

proptest! {
    #[test]
    fn a_member_comes_back(raw in bytes(), coding in codings()) {
        prop_assert_eq!(unpack(&packed(&raw, coding), raw.len()).unwrap(), raw);
    }

    #[test]
    fn a_chosen_coding_is_right_and_never_much_larger(raw in bytes(), level in 0u32..=9) {
        let coding = Coding::choose(&raw, level);
        prop_assert!(level > 0 || coding == Coding::Stored);
        let member = packed(&raw, coding);
        prop_assert!(member.len() <= raw.len() + raw.len() / 100 + 400, "{:?}: {} of {}", coding, member.len(), raw.len());
        prop_assert_eq!(unpack(&member, raw.len()).unwrap(), raw);
    }

    #[test]
    fn another_length_is_refused(raw in bytes(), coding in codings(), other in 0usize..4000) {
        let member = packed(&raw, coding);
        for claimed in [raw.len() + 1, raw.len().wrapping_sub(1), other].into_iter().filter(|claimed| *claimed != raw.len()) {
            if claimed < usize::MAX {
                assert_damaged(unpack(&member, claimed));
            }
        }
    }

    #[test]
    fn what_was_cut_or_goes_on_is_refused(raw in bytes(), coding in codings(), at in any::<prop::sample::Index>(), more in vec(any::<u8>(), 1..40)) {
        let member = packed(&raw, coding);
        assert_damaged(unpack(&member[..at.index(member.len())], raw.len()));
        assert_damaged(unpack(&[&member[..], &more].concat(), raw.len()));
        // Two members are not one, even where both expand to what is due together.
        let second = packed(b"xyz", Coding::Stored);
        assert_damaged(unpack(&[&member[..], &second].concat(), raw.len() + 3));
        assert_damaged(unpack(&[&member[..], &second].concat(), raw.len()));
    }

    #[test]
    fn a_changed_bit_is_refused_or_changes_nothing(raw in bytes(), coding in codings(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut member = packed(&raw, coding);
        let at = at.index(member.len());
        member[at] ^= 1 << bit;
        match unpack(&member, raw.len()) {
            Ok(found) => {
                prop_assert_eq!(found, raw);
                // The header says when and where it was made; a stored block leaves five bits of its first byte unused.
                prop_assert!(at <= 10 || !matches!(coding, Coding::Stored), "byte {} of a stored member", at);
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Damaged),
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_member(bytes in vec(any::<u8>(), 0..200), raw_bytes in 0usize..5000) {
        let _refused = unpack(&bytes, raw_bytes);
        let _refused = unpack(&[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff][..], &bytes].concat(), raw_bytes);
    }

    #[test]
    fn counts_of_every_shape_can_be_coded(counts in vec(0usize..3000, 1..256), order in any::<[u8; 32]>()) {
        let mut raw: Vec<u8> = counts.iter().enumerate().flat_map(|(byte, count)| vec![byte as u8; count * count / 3000]).collect();
        shuffle(&mut raw, order);
        prop_assert_eq!(unpack(&packed(&raw, Coding::Huffman), raw.len()).unwrap(), raw);
    }
}

fn shuffle(bytes: &mut [u8], seed: [u8; 32]) {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    for at in (1..bytes.len()).rev() {
        bytes.swap(at, random.random_range(0..=at));
    }
}

#[test]
fn the_smallest_members_come_back() {
    let levels = (1..=9).map(Coding::Deflate);
    for coding in [Coding::Stored, Coding::Huffman].into_iter().chain(levels) {
        for raw in [&[][..], &[0], &[255], &[1, 1], &[1, 2], &[0; 5]] {
            assert_eq!(unpack(&packed(raw, coding), raw.len()).unwrap(), raw, "{coding:?}");
        }
    }
}

/// Counts that grow like Fibonacci's numbers ask for codes longer than the 15 bits that deflate has.
#[test]
fn the_most_skewed_counts_can_be_coded() {
    let (mut a, mut b) = (1usize, 1);
    let mut raw = Vec::new();
    for byte in 0..29u8 {
        raw.extend(std::iter::repeat_n(byte, a));
        (a, b) = (b, a + b);
    }
    for sizes in [raw.len(), 65_535, 65_536, 65_537, 1, 2] {
        let mut raw = raw[raw.len() - sizes..].to_vec();
        shuffle(&mut raw, [7; 32]);
        assert_eq!(unpack(&packed(&raw, Coding::Huffman), raw.len()).unwrap(), raw, "{sizes}");
    }
    // The rare ones next to one that is everywhere.
    let mut raw = vec![0x7f; 3 << 20];
    (0..=255u8).for_each(|byte| raw[usize::from(byte) * 4096 + 17] = byte);
    let member = packed(&raw, Coding::Huffman);
    assert!(member.len() < raw.len() / 7);
    assert_eq!(unpack(&member, raw.len()).unwrap(), raw);
}

/// Each kind of plane gets the coding that is best for it.
#[test]
fn planes_are_coded_as_their_bytes_are() {
    let mut noise = [0u8; 100_000];
    TestRng::from_seed(RngAlgorithm::ChaCha, &[1; 32]).fill_bytes(&mut noise);
    let skewed: Vec<u8> = noise.iter().map(|byte| 120 + (byte.leading_zeros() + (byte & 1) as u32) as u8).collect();
    let repeated = noise[..500].repeat(200);
    let cases = [
        ("noise", &noise[..], 1.01),
        ("skewed", &skewed, 0.5),
        ("repeated", &repeated, 0.05),
        ("constant", &[7; 100_000], 0.01),
    ];
    for level in 1..=9 {
        for (what, raw, at_most) in cases {
            let size = packed(raw, Coding::choose(raw, level)).len() as f64;
            assert!(size <= raw.len() as f64 * at_most, "{what} at level {level}: {size} of {}", raw.len());
        }
        assert_eq!(Coding::choose(&noise, level), Coding::Stored);
        assert_eq!(Coding::choose(&skewed, level), Coding::Huffman);
        assert_eq!(Coding::choose(&repeated, level), Coding::Deflate(level));
    }
}

#[test]
fn a_bomb_is_refused() {
    // Ten bytes that say they expand to more than any ten bytes can: nothing may be allocated for that.
    assert_damaged(unpack(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], usize::MAX - 1));
    assert_damaged(unpack(&[], 1));
    assert_damaged(check_expansion(1000, 1_032_001));
    check_expansion(1000, 1_032_000).unwrap();
    check_expansion(u64::MAX, u64::MAX).unwrap();
    // A real one, which expands further than it says.
    let bomb = packed(&vec![0; 64 << 20], Coding::Deflate(9));
    assert!(bomb.len() < 100_000);
    assert_damaged(unpack(&bomb, 1000));
    assert_damaged(unpack(&bomb, (64 << 20) - 1));
    assert_eq!(unpack(&bomb, 64 << 20).unwrap().len(), 64 << 20);
}

// ---- index.bin.gz: ids

fn ids_of(ids: &BTreeSet<String>) -> Ids {
    let mut made = Ids::default();
    for (at, id) in ids.iter().enumerate() {
        made.flags.push(1 + 2 * (at % 2) as u8);
        made.text.push_str(id);
        made.ends.push(made.text.len());
    }
    made
}

proptest! {
    #[test]
    fn ids_come_back(ids in prop::collection::btree_set(any::<String>(), 0..40)) {
        let made = ids_of(&ids);
        let raw = made.encode();
        let found = Ids::decode(&raw, ids.len()).unwrap();
        prop_assert_eq!(&found, &made);
        prop_assert!(ids.iter().enumerate().all(|(at, id)| found.get(at) == id));
        prop_assert_eq!(found.get(ids.len()), "");
        for rows in (0..ids.len()).chain([ids.len() + 1]) {
            assert_damaged(Ids::decode(&raw, rows).and_then(|found| {
                // Other rows of the same bytes may happen to be in order, but are then other ids.
                if found == made { Ok(()) } else { Err(ruvector_snapshot::SnapshotError::new(ErrorKind::Damaged, "other")) }
            }));
        }
    }

    #[test]
    fn arbitrary_bytes_are_ids_or_refused(raw in vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200), rows in 0usize..60) {
        if let Ok(ids) = Ids::decode(&raw, rows) {
            prop_assert_eq!(ids.len(), rows);
            prop_assert_eq!(ids.encode(), raw);
            prop_assert!((1..rows).all(|at| ids.get(at - 1) < ids.get(at)));
        }
    }
}

#[test]
fn ids_out_of_order_or_twice_are_refused() {
    for ids in [["b", "a"], ["a", "a"], ["aa", "a"], ["a", ""]] {
        let text: String = ids.concat();
        let ends = vec![ids[0].len(), text.len()];
        assert_damaged(Ids::decode(&Ids { flags: vec![1, 1], text, ends }.encode(), 2));
    }
    let mut raw = ids_of(&BTreeSet::from(["é".to_owned(), "ü".to_owned()])).encode();
    assert!(Ids::decode(&raw, 2).is_ok());
    (raw[2], raw[6]) = (1, 3);
    assert_damaged(Ids::decode(&raw, 2));
    assert_damaged(Ids::decode(&[0xff; 20], 2));
}

// ---- metadata.bin.gz: canonical JSON

fn canonical(text: &str) -> Result<String> {
    let mut out = String::from("kept");
    payloads::canonical(text, &mut out)?;
    Ok(out.split_off(4))
}

/// JSON text of any shape, with numbers and strings written in every way, and white space between the tokens.
fn json() -> impl Strategy<Value = String> {
    let space = || prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n\t\r ")];
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u0041""#.to_owned()),
        Just(r#""\/\ud83e\udd80""#.to_owned()),
    ];
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        prop::sample::select(vec!["0.1", "1e-7", "12345678901234567890", "-0.0", "1.0", "1E+5", "-0"])
            .prop_map(str::to_owned),
    ];
    let scalar =
        prop_oneof![string, number, prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned)];
    let member = move |value: BoxedStrategy<String>| {
        (prop_oneof!["[a-c]{0,2}", any::<String>()], space(), value, space())
            .prop_map(|(name, s, value, t)| format!("{s}{}{t}:{s}{value}{t}", serde_json::to_string(&name).unwrap()))
    };
    let value = scalar.prop_recursive(4, 30, 5, move |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..5), space())
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},")))),
            vec(member(inner.boxed()), 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    });
    (vec(member(value.boxed()), 0..6), space())
        .prop_map(|(members, s)| format!("{s}{{{s}{}{s}}}{s}", members.join(",")))
}

proptest! {
    #[test]
    fn canonical_json_has_the_same_value_and_one_form(text in json()) {
        let once = canonical(&text).unwrap();
        prop_assert_eq!(canonical(&once).unwrap(), once.clone());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let again: serde_json::Value = serde_json::from_str(&once).unwrap();
        prop_assert_eq!(again, value);
    }

    #[test]
    fn the_order_of_members_does_not_matter(members in prop::collection::btree_map(any::<String>(), any::<i32>(), 0..8)) {
        let text = |pairs: Vec<(&String, &i32)>| {
            let members: Vec<_> = pairs.iter().map(|(k, v)| format!("{}:{v}", serde_json::to_string(k).unwrap())).collect();
            format!("{{{}}}", members.join(","))
        };
        let sorted = text(members.iter().collect());
        prop_assert_eq!(canonical(&text(members.iter().rev().collect())).unwrap(), sorted.clone());
        prop_assert_eq!(canonical(&sorted).unwrap(), sorted);
    }

    #[test]
    fn arbitrary_text_is_an_object_or_refused(text in prop_oneof![any::<String>(), "[\\{\\}\\[\\]\":,\\\\u0-9a-f tnr. e-]{0,40}"]) {
        let is_object = serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(&text).is_ok();
        match canonical(&text) {
            Ok(_) => prop_assert!(is_object),
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_err());
            }
        }
    }

    #[test]
    fn members_in_another_order_are_the_same_object(json in json(), order in any::<u64>()) {
        prop_assume!(json.starts_with('{'));
        let canonical = canonical(&json).unwrap();
        let members: BTreeMap<String, &serde_json::value::RawValue> = serde_json::from_str(&canonical).unwrap();
        let mut members: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", serde_json::to_string(name).unwrap())).collect();
        members.sort_by_key(|member| ruvector_snapshot::format::block::crc32(member.as_bytes()).wrapping_mul(order as u32 | 1));
        let permuted = format!("{{{}}}", members.join(","));
        // Names with escapes, or with what is less than a quotation mark, sort otherwise as they are written; then the parser
        // decides.
        let is_plain = canonical.bytes().all(|byte| byte >= b'"' && byte != b'\\');
        prop_assert!(payloads::is_permuted(&permuted, &canonical) || !is_plain, "{permuted} {canonical}");
    }

    #[test]
    fn what_passes_for_a_permutation_is_one(json in json(), cuts in vec(any::<prop::sample::Index>(), 3), flip in any::<bool>()) {
        prop_assume!(json.starts_with('{'));
        let expected = canonical(&json).unwrap();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(expected.len() + 1)).collect();
        cuts.sort_unstable();
        let [a, b, c] = cuts[..] else { unreachable!() };
        let mut bytes = [&expected.as_bytes()[..a], &expected.as_bytes()[b..c], &expected.as_bytes()[a..b], &expected.as_bytes()[c..]].concat();
        if flip && a < bytes.len() {
            bytes[a] = b",\"{}[]:\\"[b % 8];
        }
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if payloads::is_permuted(&text, &expected) {
            prop_assert_eq!(canonical(&text).unwrap(), expected);
        }
    }

    #[test]
    fn lines_come_back(records in vec((any::<String>(), json()), 0..6)) {
        let mut text = String::new();
        let records: Vec<_> = records.into_iter().map(|(id, json)| (id, canonical(&json).unwrap())).collect();
        records.iter().for_each(|(id, metadata)| payloads::append_line(id, metadata, &mut text).unwrap());
        prop_assert_eq!(text.matches('\n').count(), records.len(), "one line a record");
        let mut lines = text.split_inclusive('\n');
        for (id, metadata) in &records {
            let line = lines.next();
            prop_assert_eq!(payloads::metadata_of(id, line).unwrap(), metadata);
            prop_assert_eq!(payloads::metadata_of(&format!("{id}!"), line).unwrap_err().kind(), ErrorKind::Damaged);
        }
        prop_assert_eq!(payloads::metadata_of("", lines.next()).unwrap_err().kind(), ErrorKind::Damaged);
    }
}

#[test]
fn every_token_stays_as_it_was_written() {
    let tokens = [
        "0.1",
        "1e-7",
        "12345678901234567890",
        "-0.0",
        "1.0",
        "1E400",
        "-0",
        "0e0",
        r#""A""#,
        r#""\u0041""#,
        r#""\/""#,
        r#""é""#,
    ];
    for token in tokens {
        assert_eq!(canonical(&format!("{{ \"a\" : {token} }}")).unwrap(), format!("{{\"a\":{token}}}"));
        assert_eq!(
            canonical(&format!("{{\"a\":[ {token} , {token} ]}}")).unwrap(),
            format!("{{\"a\":[{token},{token}]}}")
        );
    }
    // Names are written with the shortest escapes and sorted by their decoded bytes; of one name the last stays.
    assert_eq!(canonical(r#"{"\u0062":1,"a":2,"":3}"#).unwrap(), r#"{"":3,"a":2,"b":1}"#);
    assert_eq!(canonical(r#"{"a":1,"b":2,"a":3,"\u0061":{"z":1,"y":2}}"#).unwrap(), r#"{"a":{"y":2,"z":1},"b":2}"#);
    assert_eq!(canonical("{\"\\u000a\":1,\"\\/\":2}").unwrap(), "{\"\\n\":1,\"/\":2}");
    assert_eq!(canonical(" \t\r\n{ }\n").unwrap(), "{}");
}

#[test]
fn what_is_no_object_is_refused() {
    for text in [
        "",
        " ",
        "[]",
        "1",
        "null",
        "\"x\"",
        "{",
        "{}{}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{'a':1}",
        "\u{feff}{}",
        "{\"a\":01}",
        "\u{a0}{}",
    ] {
        assert_eq!(canonical(text).unwrap_err().kind(), ErrorKind::Invalid, "{text:?}");
    }
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(canonical(&nested(100)).is_ok());
    for depth in [128, 1000, 200_000] {
        assert_eq!(canonical(&nested(depth)).unwrap_err().kind(), ErrorKind::Invalid, "{depth}");
    }
    // As deep as it takes, serde_json, and so the database, can read back.
    let deepest = (100..128).filter(|depth| canonical(&nested(*depth)).is_ok()).max().unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&canonical(&nested(deepest)).unwrap()).is_ok());
    assert!(serde_json::from_str::<serde_json::Value>(&nested(deepest + 1)).is_err(), "{deepest} is not the deepest");
}

// ---- blocks

type Records = BTreeMap<String, (Vec<u32>, Option<String>)>;

fn records() -> impl Strategy<Value = (usize, Records)> {
    (0usize..6).prop_flat_map(|dimensions| {
        let metadata = prop_oneof![
            Just(None),
            Just(Some("{}".to_owned())),
            json().prop_map(|text| Some(canonical(&text).unwrap()))
        ];
        let record = (vec(any::<u32>(), dimensions), metadata);
        (Just(dimensions), prop::collection::btree_map(any::<String>(), record, 1..30))
    })
}

proptest! {
    #[test]
    fn a_block_comes_back((dimensions, records) in records(), level in 0u32..=9) {
        let mut block = Block::new(dimensions);
        let mut expected = ContentSum::default();
        for (id, (bits, metadata)) in &records {
            let vector: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            block.push(Row { id, vector: &vector, metadata: metadata.as_deref() }).unwrap();
            expected.add(&digest(id, &vector, metadata.as_deref()));
        }
        let packed = block.pack(level).unwrap();
        prop_assert_eq!(packed.sum, expected);
        let pieces = [&packed.vectors[..], &packed.index, &packed.payloads];
        for (file, piece) in layout::DataFile::ALL.into_iter().zip(pieces) {
            prop_assert_eq!(packed.entry.range(file), 0..piece.len() as u64);
        }
        let (found, sum) = Block::unpack(&packed.entry, dimensions, pieces).unwrap();
        prop_assert_eq!(sum, expected);
        prop_assert_eq!(found.len(), records.len());
        prop_assert!(found.rows().eq(block.rows()), "the rows differ");

        // Every file's piece is needed, and pieces of another block are refused.
        let mut other = Block::new(dimensions);
        other.push(Row { id: "other", vector: &vec![7; dimensions * 4], metadata: Some("{\"o\":1}") }).unwrap();
        let other = other.pack(level).unwrap();
        for (at, foreign) in [&other.vectors[..], &other.index, &other.payloads].into_iter().enumerate() {
            let mut mixed = pieces;
            mixed[at] = foreign;
            if mixed != pieces {
                assert_damaged(Block::unpack(&packed.entry, dimensions, mixed));
            }
            mixed[at] = &pieces[at][..pieces[at].len().saturating_sub(1)];
            if mixed != pieces {
                assert_damaged(Block::unpack(&packed.entry, dimensions, mixed));
            }
        }
    }

    #[test]
    fn a_block_with_any_pieces_does_not_panic(numbers in any::<[u32; 8]>(), pieces in vec(vec(any::<u8>(), 0..60), 3), small in 0u32..5) {
        let entry = ruvector_snapshot::format::index::BlockEntry {
            rows: small, vector_rows: small, metadata_rows: small, ids_raw_bytes: numbers[0] % 64,
            plane_bytes: [numbers[1] % 30; 4], ids_bytes: numbers[2] % 40, digests_bytes: numbers[3] % 40,
            vectors_crc32: ruvector_snapshot::format::block::crc32(&pieces[0]),
            index_crc32: ruvector_snapshot::format::block::crc32(&pieces[1]),
            payloads_crc32: ruvector_snapshot::format::block::crc32(&pieces[2]),
            payloads_bytes: numbers[4] % 60, payloads_raw_bytes: numbers[5] % 100,
            ..Default::default()
        };
        let _refused = Block::unpack(&entry, 2, [&pieces[0], &pieces[1], &pieces[2]]);
    }
}

#[test]
fn a_block_takes_rows_in_order_and_of_its_dimensions() {
    let mut block = Block::new(1);
    let row = |id, vector| Row { id, vector, metadata: None };
    block.push(row("b", &[0; 4])).unwrap();
    for (id, vector) in [("a", &[0; 4][..]), ("b", &[0; 4]), ("", &[0; 4]), ("c", &[0; 8]), ("c", &[])] {
        assert_damaged(block.push(row(id, vector)));
    }
    block.push(row("b\0", &[0; 4])).unwrap();
    assert_eq!(block.len(), 2);
    let too_long = "x".repeat((1 << 20) + 1);
    assert_eq!(block.push(row(&too_long, &[0; 4])).unwrap_err().kind(), ErrorKind::Invalid);
    block.push(row(&too_long[1..], &[0; 4])).unwrap();
}

// ---- digests and sums

proptest! {
    #[test]
    fn digests_are_those_of_the_format(id in any::<String>(), vector in vec(any::<u8>(), 0..40), metadata in any::<Option<String>>()) {
        let metadata = metadata.as_deref();
        prop_assert_eq!(digest(&id, &vector, metadata), digest_by_the_text(&id, &vector, metadata));
    }

    #[test]
    fn sums_do_not_depend_on_order_or_parts(digests in vec(any::<[u8; 16]>(), 0..60), cut in any::<prop::sample::Index>()) {
        let sum = |digests: &[[u8; 16]]| {
            let mut sum = ContentSum::default();
            digests.iter().for_each(|digest| sum.add(digest));
            sum
        };
        let whole = sum(&digests);
        prop_assert_eq!(whole.to_string(), sum_by_the_text(&digests));
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
fn known_digests_and_sums() {
    let of =
        |id: &str, vector: &[u8], metadata| ruvector_snapshot::format::checksum::hex(&digest(id, vector, metadata));
    // printf '\x01\0\0\0a\x04\0\0\0\0\0\x80\x3f\x02\0\0\0{}' | sha256sum, and the two like it.
    assert_eq!(of("a", &1f32.to_le_bytes(), Some("{}")), KNOWN[0]);
    assert_eq!(of("a", &1f32.to_le_bytes(), None), KNOWN[1]);
    assert_eq!(of("", &[], None), KNOWN[2]);
    let carries: ContentSum = "f".repeat(64).parse().unwrap();
    let mut sum = carries;
    sum.merge(&format!("{:064x}", 1).parse().unwrap());
    assert_eq!(sum, ContentSum::default(), "a carry goes through all words and out");
    assert_ne!(carries, sum);
    for text in ["", "0", &"0".repeat(63), &"0".repeat(65), &"F".repeat(64), &"g".repeat(64), &"é".repeat(32)] {
        assert_damaged(text.parse::<ContentSum>());
    }
}

const KNOWN: [&str; 3] =
    ["e8fdcc19751a77fcab68a40cc0ce03d8", "97d12646125e585bdaaa05f1b78c93ea", "8c4a95f406e127070872385c098bdf99"];
