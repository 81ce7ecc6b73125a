//! Text that a person has typed: names and labels, when two of them are the same, and what a mistyped one may mean. And
//! times, as messages have them.
//!
//! Unicode has several spellings of one text: `é` is one character, or `e` and an accent (NFC and NFD). The two
//! look alike, and the keyboard, the file system or the script decides which one is typed. A create stores the composed
//! form, NFC. Snapshots of earlier programs can have any form, so all comparisons are of composed forms.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::Labels;
use ruvector_snapshot_format::metadata::SourceId;
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Returns the composed form of a text.
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfc().collect()),
    }
}

/// Returns a time in the words of a message.
pub(crate) fn utc_time(time: DateTime<Utc>) -> impl fmt::Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}

/// Formats a number with a comma after each three digits.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let is_start = |at: usize| at > 0 && at % 3 == first;
    let shown = digits.char_indices().flat_map(|(at, digit)| is_start(at).then_some(',').into_iter().chain([digit]));
    shown.collect()
}

/// Formats a number of records.
pub(crate) fn records(number: u64) -> String {
    format!("{} record{}", count(number), if number == 1 { "" } else { "s" })
}

/// Returns whether two texts are the same, whatever form they have.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other || composed(one) == composed(other)
}

/// Returns the value of a label.
pub(crate) fn label<'a>(labels: &'a Labels, key: &str) -> Option<&'a str> {
    labels.get(key).or_else(|| labels.iter().find(|(other, _)| is_same(other, key)).map(|(_, value)| value))
}

/// Returns a source whose name is composed. A path stays as it is, because a file system may keep two files
/// whose names differ only in their form.
pub(crate) fn composed_source(source: SourceId) -> SourceId {
    match source {
        SourceId::Name(name) => SourceId::Name(composed(&name).into_owned()),
        path @ SourceId::Path { .. } => path,
    }
}

/// Texts that are longer are not compared: no name that a person types is.
const TYPED_CHARS_MAX: usize = 64;

/// Returns the name that is most like what was typed, if one is. Case does not matter.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::closest;
///
/// assert_eq!(closest("nigthly", ["nightly", "weekly"]), Some("nightly"));
/// assert_eq!(closest("release", ["nightly", "weekly"]), None);
/// ```
pub fn closest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let is_short = |text: &str| text.chars().nth(TYPED_CHARS_MAX).is_none();
    let names = names.into_iter().filter(|name| is_short(&typed) && is_short(name));
    let distances = names.map(|name| (strsim::damerau_levenshtein(&typed, &name.to_lowercase()), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.chars().count() / 3).max(1)).then_some(name)
}

/// Returns whether a text is the start of an id, but for one character that is wrong, missing, too much, or in the place of
/// the next.
pub(crate) fn is_almost_start_of(typed: &str, id: &str) -> bool {
    let typos = |length: usize| id.get(..length).map(|start| strsim::damerau_levenshtein(typed, start));
    let length = typed.len();
    (8..=id.len() + 1).contains(&length)
        && [length.saturating_sub(1), length, length + 1].into_iter().filter_map(typos).any(|typos| typos <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_text_are_the_same_and_other_texts_are_not() {
        let same = [
            ("\u{e9}", "e\u{301}"),
            ("\u{ac00}", "\u{1100}\u{1161}"),
            ("\u{1e69}", "s\u{307}\u{323}"),
            ("\u{212b}", "\u{c5}"),
        ];
        for (one, other) in same {
            assert!(is_same(one, other) && is_same(other, one), "{one:?}, {other:?}");
            assert_eq!(composed(other), composed(one));
        }
        // Compatible, or in another case, is not the same.
        for (one, other) in [("\u{fb01}", "fi"), ("\u{b2}", "2"), ("a", "A"), ("e", "\u{e9}"), ("a", "a ")] {
            assert!(!is_same(one, other), "{one:?}, {other:?}");
        }
    }

    #[test]
    fn three_digits_are_a_group() {
        for (number, shown) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (100_000, "100,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(count(number), shown);
        }
        assert_eq!((&*records(1), &*records(1234)), ("1 record", "1,234 records"));
    }

    #[test]
    fn one_typo_in_the_start_of_an_id_is_found() {
        let id = "20260131T080000000Z-0123456789abcdef";
        for typed in
            ["20260131T080100", "2026013T080000", "202601311T080000", "20260131T800000", &id[..35], &format!("{id}0")]
        {
            assert!(is_almost_start_of(typed, id), "{typed}");
        }
        for typed in
            ["", "2026", "20270231T080000", "nightly-2026", &format!("{id}00"), "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"]
        {
            assert!(!is_almost_start_of(typed, id), "{typed}");
        }
    }
}
