//! Text that a person has typed: names and labels, and when two of them are the same.
//!
//! Unicode has several spellings of one text: `é` is one character, or `e` and an accent (NFC and NFD). The two
//! look alike, and the keyboard, the file system or the script decides which one is typed. A create stores the composed
//! form, NFC. Snapshots of earlier programs can have any form, so all comparisons are of composed forms.

use std::borrow::Cow;

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
}
