//! Canonical JSON, compared with a definition that parses each level again, with serde_json.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use ruvector_snapshot_format::payloads;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::codecs::{canonical, json};

/// The canonical form by its definition, or `None` if there is none. `depth` is how many levels are allowed.
fn defined(text: &str, depth: usize) -> Option<String> {
    #[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if text.starts_with('{') {
        // Of several members with one name the last stays.
        let members: BTreeMap<Name<'_>, &RawValue> = serde_json::from_str(text).ok()?;
        let depth = depth.checked_sub(1)?;
        let member = |(name, value): (&Name<'_>, &&RawValue)| {
            Some(format!("{}:{}", serde_json::to_string(&name.0).ok()?, defined(value.get(), depth)?))
        };
        Some(format!("{{{}}}", members.iter().map(member).collect::<Option<Vec<_>>>()?.join(",")))
    } else if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let depth = depth.checked_sub(1)?;
        let items = items.iter().map(|item| defined(item.get(), depth));
        Some(format!("[{}]", items.collect::<Option<Vec<_>>>()?.join(",")))
    } else {
        serde_json::from_str::<&RawValue>(text).ok()?;
        Some(text.to_owned())
    }
}

/// As [`defined`], of an object only.
fn defined_object(text: &str) -> Option<String> {
    defined(text, 127).filter(|canonical| canonical.starts_with('{'))
}

/// Asserts that the canonical form is that of the definition, in all functions.
fn check(text: &str) -> Result<(), TestCaseError> {
    let expected = defined_object(text);
    prop_assert_eq!(canonical(text).ok(), expected.clone(), "{:?}", text);
    prop_assert_eq!(payloads::check_canonical(text).is_ok(), expected.is_some(), "{:?}", text);
    let mut line = String::new();
    payloads::append_line("id", text, &mut line).unwrap();
    let stored = payloads::canonical_metadata_of("id", Some(&line)).ok();
    prop_assert_eq!(stored, expected.as_deref().filter(|canonical| *canonical == text), "{:?}", text);
    let owned = payloads::canonical_of("id", text).ok().map(Cow::into_owned);
    prop_assert_eq!(owned, expected, "{:?}", text);
    Ok(())
}

/// Names in every notation, many of them equal or next to each other in the order. Some are no Unicode text.
fn name() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "a",
        "b",
        "\\u0061",
        "\\u0062",
        "\\/",
        "/",
        "\\n",
        "\\u000a",
        "\\u000A",
        "\\\\",
        "\\\"",
        "\\u001f",
        "\u{7f}",
        "é",
        "\\u00e9",
        "\u{ffff}",
        "\\uffff",
        "😀",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\ude00",
        "\\u0000",
    ]);
    vec(parts, 0..3).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

/// Objects with such names, nested.
fn objects() -> impl Strategy<Value = String> {
    let space = || prop_oneof![5 => Just(""), 1 => Just(" \n")];
    let scalar = prop_oneof![Just("1.0".to_owned()), Just("[]".to_owned()), Just("{}".to_owned()), name()];
    let object = move |value: BoxedStrategy<String>| {
        let member = (name(), space(), value).prop_map(|(name, s, value)| format!("{name}{s}:{s}{value}"));
        (vec(member, 0..5), space()).prop_map(|(members, s)| format!("{{{s}{}{s}}}", members.join(&format!("{s},"))))
    };
    let value = scalar.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            2 => object(inner.clone().boxed()),
            1 => vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
        ]
    });
    object(value.boxed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn canonical_json_is_that_of_the_definition(text in prop_oneof![json(), objects()]) {
        check(&text)?;
        if let Some(canonical) = defined_object(&text) {
            check(&canonical)?;
        }
    }

    #[test]
    fn text_that_is_almost_json_is_accepted_and_refused_as_the_definition_does(
        text in objects(),
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(vec!["", "\"", "{", "}", "[", "]", ",", ":", "\\", " ", "0", "\u{1}", "\u{a0}"]),
        replaced in 0usize..2,
    ) {
        let start = text.char_indices().map(|(at, _)| at).nth(at.index(text.chars().count())).unwrap();
        let (before, after) = text.split_at(start);
        let rest: String = after.chars().skip(replaced).collect();
        check(&format!("{before}{with}{rest}"))?;
    }

    #[test]
    fn depth_is_limited_as_the_definition_does(
        opening in vec(prop::sample::select(vec!["[", "{\"a\":", "{\"b\":1,\"a\":", "[ 0 ,{\"a\" : "]), 60..140),
        last in prop::sample::select(vec!["", ",\"z\":1", ",\"\\ud83d\":1", ",\"z\":{\"\\ud83d\":1,\"\\ud83d\":2}"]),
    ) {
        let mut text = format!("{{\"z\":{}1", opening.concat());
        for bracket in opening.concat().bytes().rev() {
            match bracket {
                b'[' => text.push(']'),
                b'{' => text.push('}'),
                _ => {}
            }
        }
        text.push_str(last);
        text.push('}');
        check(&text)?;
    }
}
