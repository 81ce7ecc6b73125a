//! Gzip members, pieces, ids and metadata lines over arbitrary input: they survive a round trip bit for bit, and other
//! bytes are refused without a panic.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use ruvector_snapshot_format::codec::crc32;
use ruvector_snapshot_format::codec::member::{Coding, check_expansion, pack, unpack};
use ruvector_snapshot_format::codec::piece::{self, MemberSize};
use ruvector_snapshot_format::index::Ids;
use ruvector_snapshot_format::metadata::SectionInfo;
use ruvector_snapshot_format::{FormatError, FormatErrorKind, Result, payloads};

use crate::fixture::assert_corrupt;

fn packed(raw: &[u8], coding: Coding) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let size = pack(raw, coding, &mut out).unwrap();
    assert_eq!(out.len(), 6 + size, "pack returns the size of the member");
    assert!(out.starts_with(b"before"), "pack appends");
    out.split_off(6)
}

fn codings() -> impl Strategy<Value = Coding> {
    prop_oneof![Just(Coding::Stored), Just(Coding::Huffman), (1u32..=9).prop_map(Coding::Deflate)]
}

/// Bytes of the kinds that occur: noise, runs, few symbols, skewed counts, text.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0usize..200_000).prop_map(|(byte, length)| vec![byte; length]),
        vec(prop_oneof![20 => Just(0x7fu8), 5 => Just(0x7e), 1 => any::<u8>()], 0..3000),
        (vec(any::<u8>(), 1..40), 1usize..400).prop_map(|(unit, times)| unit.repeat(times)),
        "[a-f \\n]{0,500}".prop_map(String::into_bytes),
    ]
}

// ---- gzip members

proptest! {
    #[test]
    fn members_survive_a_round_trip(raw in bytes(), coding in codings()) {
        prop_assert_eq!(unpack(&packed(&raw, coding), raw.len()).unwrap(), raw);
    }

    #[test]
    fn the_chosen_coding_is_lossless_and_never_much_larger(raw in bytes(), level in 0u32..=9) {
        let coding = Coding::choose(&raw, level);
        prop_assert!(level > 0 || coding == Coding::Stored);
        let member = packed(&raw, coding);
        prop_assert!(member.len() <= raw.len() + raw.len() / 100 + 400, "{:?}: {} of {}", coding, member.len(), raw.len());
        prop_assert_eq!(unpack(&member, raw.len()).unwrap(), raw);
    }

    #[test]
    fn a_member_with_another_length_is_refused(raw in bytes(), coding in codings(), other in 0usize..4000) {
        let member = packed(&raw, coding);
        for claimed in [raw.len() + 1, raw.len().wrapping_sub(1), other].into_iter().filter(|claimed| *claimed != raw.len()) {
            if claimed < usize::MAX {
                assert_corrupt(unpack(&member, claimed));
            }
        }
    }

    #[test]
    fn truncated_members_and_trailing_bytes_are_refused(raw in bytes(), coding in codings(), at in any::<prop::sample::Index>(), more in vec(any::<u8>(), 1..40)) {
        let member = packed(&raw, coding);
        assert_corrupt(unpack(&member[..at.index(member.len())], raw.len()));
        assert_corrupt(unpack(&[&member[..], &more].concat(), raw.len()));
        // Two members are refused, even if together they expand to the expected size.
        let second = packed(b"xyz", Coding::Stored);
        assert_corrupt(unpack(&[&member[..], &second].concat(), raw.len() + 3));
        assert_corrupt(unpack(&[&member[..], &second].concat(), raw.len()));
    }

    #[test]
    fn a_changed_bit_is_refused_or_has_no_effect(raw in bytes(), coding in codings(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut member = packed(&raw, coding);
        let at = at.index(member.len());
        member[at] ^= 1 << bit;
        match unpack(&member, raw.len()) {
            Ok(found) => {
                prop_assert_eq!(found, raw);
                // The header has a time and an operating system, and five bits of the first byte of a stored block are
                // unused.
                prop_assert!(at <= 10 || !matches!(coding, Coding::Stored), "byte {} of a stored member", at);
            }
            Err(error) => prop_assert_eq!(error.kind(), FormatErrorKind::Corrupt),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), raw_bytes in 0usize..5000) {
        let _refused = unpack(&bytes, raw_bytes);
        let _refused = unpack(&[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff][..], &bytes].concat(), raw_bytes);
    }

    #[test]
    fn byte_counts_of_any_shape_can_be_huffman_coded(counts in vec(0usize..3000, 1..256), order in any::<[u8; 32]>()) {
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
fn the_smallest_members_survive_a_round_trip() {
    let levels = (1..=9).map(Coding::Deflate);
    for coding in [Coding::Stored, Coding::Huffman].into_iter().chain(levels) {
        for raw in [&[][..], &[0], &[255], &[1, 1], &[1, 2], &[0; 5]] {
            assert_eq!(unpack(&packed(raw, coding), raw.len()).unwrap(), raw, "{coding:?}");
        }
    }
}

/// Counts that grow like the Fibonacci numbers require codes longer than the 15 bits of deflate.
#[test]
fn the_most_skewed_counts_can_be_huffman_coded() {
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
    // Rare bytes among many equal ones.
    let mut raw = vec![0x7f; 3 << 20];
    (0..=255u8).for_each(|byte| raw[usize::from(byte) * 4096 + 17] = byte);
    let member = packed(&raw, Coding::Huffman);
    assert!(member.len() < raw.len() / 7);
    assert_eq!(unpack(&member, raw.len()).unwrap(), raw);
}

/// Each kind of plane gets the coding that suits it.
#[test]
fn noise_is_stored_skewed_bytes_are_huffman_coded_and_repetition_is_deflated() {
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
fn gzip_bombs_are_refused() {
    // Ten bytes cannot expand to that much, so nothing is allocated.
    assert_corrupt(unpack(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], usize::MAX - 1));
    assert_corrupt(unpack(&[], 1));
    assert_corrupt(check_expansion(1000, 1_032_001));
    check_expansion(1000, 1_032_000).unwrap();
    check_expansion(u64::MAX, u64::MAX).unwrap();
    // A real bomb expands further than the recorded size.
    let bomb = packed(&vec![0; 64 << 20], Coding::Deflate(9));
    assert!(bomb.len() < 100_000);
    assert_corrupt(unpack(&bomb, 1000));
    assert_corrupt(unpack(&bomb, (64 << 20) - 1));
    assert_eq!(unpack(&bomb, 64 << 20).unwrap().len(), 64 << 20);
}

// ---- pieces

proptest! {
    #[test]
    fn pieces_survive_a_round_trip(first in bytes(), second in bytes(), coding in codings()) {
        let packed = piece::pack([(&first, coding), (&second, Coding::Stored)]).unwrap();
        let [first_bytes, second_bytes] = packed.member_bytes;
        prop_assert_eq!(packed.bytes.len(), (first_bytes + second_bytes) as usize);
        let sizes = [
            MemberSize { bytes: first_bytes, raw_bytes: first.len() },
            MemberSize { bytes: second_bytes, raw_bytes: second.len() },
        ];
        let found = piece::expand(&packed.bytes, packed.crc32, sizes).unwrap();
        prop_assert_eq!(found, [first, second]);
        assert_corrupt(piece::expand(&packed.bytes, packed.crc32 ^ 1, sizes));
        // Too few and too many bytes, with a CRC-32 that matches them.
        let short = &packed.bytes[..packed.bytes.len() - 1];
        assert_corrupt(piece::expand(short, crc32(short), sizes));
        let long = [&packed.bytes[..], b"x"].concat();
        assert_corrupt(piece::expand(&long, crc32(&long), sizes));
    }
}

#[test]
fn sections_are_exactly_one_member_of_the_recorded_sizes() {
    let stored = piece::pack_section("name", b"content", 6).unwrap();
    let section = |raw_bytes| SectionInfo { name: "x".to_owned(), offset: 10, bytes: stored.len() as u64, raw_bytes };
    assert_eq!(section(7).range(), 10..10 + stored.len() as u64);
    assert_eq!(piece::expand_section(&stored, &section(7)).unwrap(), b"content");
    for raw_bytes in [0, 6, 8, u64::MAX] {
        let error = piece::expand_section(&stored, &section(raw_bytes)).unwrap_err();
        assert!(error.kind() == FormatErrorKind::Corrupt && error.message().starts_with("section \"x\": "), "{error}");
    }
}

#[test]
fn a_section_that_would_expand_too_far_is_stored() {
    for (name, factor, raw_bytes, is_stored) in [
        ("directory", 256, 16 << 20, false),
        ("directory", 256, 24 << 20, true),
        ("leaves", 32, 16 << 20, false),
        ("leaves", 32, 18 << 20, true),
    ] {
        let raw = vec![0; raw_bytes];
        let stored = piece::pack_section(name, &raw, 6).unwrap();
        assert_eq!(stored.len() > raw_bytes, is_stored);
        assert!(raw_bytes <= stored.len() * factor + (16 << 20));
        let (bytes, raw_bytes) = (stored.len() as u64, raw_bytes as u64);
        let section = SectionInfo { name: "x".to_owned(), offset: 0, bytes, raw_bytes };
        assert!(piece::expand_section(&stored, &section).unwrap() == raw);
    }
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
    fn ids_survive_a_round_trip(ids in prop::collection::btree_set(any::<String>(), 0..40)) {
        let made = ids_of(&ids);
        let raw = made.encode();
        let found = Ids::decode(&raw, ids.len()).unwrap();
        prop_assert_eq!(&found, &made);
        prop_assert!(ids.iter().enumerate().all(|(at, id)| found.get(at) == id));
        prop_assert_eq!(found.get(ids.len()), "");
        for rows in (0..ids.len()).chain([ids.len() + 1]) {
            assert_corrupt(Ids::decode(&raw, rows).and_then(|found| {
                // The same bytes with another number of rows can happen to be in order. Then they are other ids.
                if found == made { Ok(()) } else { Err(FormatError::corrupt("other ids")) }
            }));
        }
    }

    #[test]
    fn arbitrary_bytes_are_valid_ids_or_refused(raw in vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200), rows in 0usize..60) {
        if let Ok(ids) = Ids::decode(&raw, rows) {
            prop_assert_eq!(ids.len(), rows);
            prop_assert_eq!(ids.encode(), raw);
            prop_assert!((1..rows).all(|at| ids.get(at - 1) < ids.get(at)));
        }
    }
}

#[test]
fn unsorted_and_repeated_ids_are_refused() {
    for ids in [["b", "a"], ["a", "a"], ["aa", "a"], ["a", ""]] {
        let text: String = ids.concat();
        let ends = vec![ids[0].len(), text.len()];
        assert_corrupt(Ids::decode(&Ids { flags: vec![1, 1], text, ends }.encode(), 2));
    }
    let mut raw = ids_of(&BTreeSet::from(["é".to_owned(), "ü".to_owned()])).encode();
    assert!(Ids::decode(&raw, 2).is_ok());
    (raw[2], raw[6]) = (1, 3);
    assert_corrupt(Ids::decode(&raw, 2));
    assert_corrupt(Ids::decode(&[0xff; 20], 2));
}

// ---- metadata.bin.gz: canonical JSON

pub(crate) fn canonical(text: &str) -> Result<String> {
    let mut out = String::from("kept");
    payloads::canonical(text, &mut out)?;
    Ok(out.split_off(4))
}

/// JSON objects of any shape, with numbers and strings in every notation, and white space between the tokens.
pub(crate) fn json() -> impl Strategy<Value = String> {
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
    fn canonical_json_keeps_the_value_and_is_stable(text in json()) {
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
    fn only_json_objects_are_accepted(text in prop_oneof![any::<String>(), "[\\{\\}\\[\\]\":,\\\\u0-9a-f tnr. e-]{0,40}"]) {
        let is_object = serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(&text).is_ok();
        match canonical(&text) {
            Ok(_) => prop_assert!(is_object),
            Err(error) => {
                prop_assert_eq!(error.kind(), FormatErrorKind::InvalidInput);
                prop_assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_err());
            }
        }
    }

    #[test]
    fn members_in_another_order_are_recognised(json in json(), order in any::<u64>()) {
        prop_assume!(json.starts_with('{'));
        let canonical = canonical(&json).unwrap();
        let members: BTreeMap<String, &serde_json::value::RawValue> = serde_json::from_str(&canonical).unwrap();
        let mut members: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", serde_json::to_string(name).unwrap())).collect();
        members.sort_by_key(|member| crc32(member.as_bytes()).wrapping_mul(order as u32 | 1));
        let permuted = format!("{{{}}}", members.join(","));
        // Names with escapes, or with characters below the quotation mark, sort differently when written. Then the
        // parser decides.
        let is_plain = canonical.bytes().all(|byte| byte >= b'"' && byte != b'\\');
        prop_assert!(payloads::same_members(&permuted, &canonical) || !is_plain, "{permuted} {canonical}");
    }

    #[test]
    fn only_permutations_pass_as_permutations(json in json(), cuts in vec(any::<prop::sample::Index>(), 3), flip in any::<bool>()) {
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
        if payloads::same_members(&text, &expected) {
            prop_assert_eq!(canonical(&text).unwrap(), expected);
        }
    }

    #[test]
    fn metadata_lines_survive_a_round_trip(records in vec((any::<String>(), json()), 0..6)) {
        let mut text = String::new();
        let records: Vec<_> = records.into_iter().map(|(id, json)| (id, canonical(&json).unwrap())).collect();
        records.iter().for_each(|(id, metadata)| payloads::append_line(id, metadata, &mut text).unwrap());
        prop_assert_eq!(text.matches('\n').count(), records.len(), "one line per record");
        let mut lines = text.split_inclusive('\n');
        for (id, metadata) in &records {
            let line = lines.next();
            prop_assert_eq!(payloads::metadata_of(id, line).unwrap(), metadata);
            prop_assert_eq!(payloads::metadata_of(&format!("{id}!"), line).unwrap_err().kind(), FormatErrorKind::Corrupt);
        }
        prop_assert_eq!(payloads::metadata_of("", lines.next()).unwrap_err().kind(), FormatErrorKind::Corrupt);
    }
}

#[test]
fn tokens_are_never_rewritten() {
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
    // Names get the shortest escapes, and are sorted by their decoded bytes. Of several members with one name the last
    // is kept.
    assert_eq!(canonical(r#"{"\u0062":1,"a":2,"":3}"#).unwrap(), r#"{"":3,"a":2,"b":1}"#);
    assert_eq!(canonical(r#"{"a":1,"b":2,"a":3,"\u0061":{"z":1,"y":2}}"#).unwrap(), r#"{"a":{"y":2,"z":1},"b":2}"#);
    assert_eq!(canonical("{\"\\u000a\":1,\"\\/\":2}").unwrap(), "{\"\\n\":1,\"/\":2}");
    assert_eq!(canonical(" \t\r\n{ }\n").unwrap(), "{}");
}

#[test]
fn anything_but_an_object_is_refused() {
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
        assert_eq!(canonical(text).unwrap_err().kind(), FormatErrorKind::InvalidInput, "{text:?}");
    }
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(canonical(&nested(100)).is_ok());
    for depth in [128, 1000, 200_000] {
        assert_eq!(canonical(&nested(depth)).unwrap_err().kind(), FormatErrorKind::InvalidInput, "{depth}");
    }
    // serde_json, and therefore the database, can read exactly as deep.
    let deepest = (100..128).filter(|depth| canonical(&nested(*depth)).is_ok()).max().unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&canonical(&nested(deepest)).unwrap()).is_ok());
    assert!(serde_json::from_str::<serde_json::Value>(&nested(deepest + 1)).is_err(), "{deepest} is not the deepest");
}
