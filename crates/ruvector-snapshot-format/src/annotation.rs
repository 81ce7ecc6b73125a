//! Annotations: labels and notes that were changed after a snapshot was taken (FORMAT.md, section 9). Their names are built
//! and parsed in [`layout`](crate::layout).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{FormatError, Result};
use crate::id::SnapshotId;
use crate::limits;

/// The largest number of an annotation.
pub const NUMBER_MAX: u64 = 9_999_999_999;

/// The number of hexadecimal digits of the digest in a name.
pub const DIGEST_DIGITS: usize = 32;

/// What the name of an annotation says. Names sort by their number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnotationName {
    /// 1 to [`NUMBER_MAX`].
    pub number: u64,
    /// The first digits of the SHA-256 of the content.
    pub digest: String,
}

/// A change of one label, or of the note. The greater of two is the one that counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// The number of the annotation that made it.
    pub number: u64,
    /// The text, or `None` if it was removed.
    pub value: Option<String>,
}

/// The content of an annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was written, by the clock of the machine. Nothing depends on it.
    pub time: DateTime<Utc>,
    /// The program that wrote it, with its version.
    pub program: String,
    /// All changes of labels until then, by key.
    #[serde(default)]
    pub labels: BTreeMap<String, Change>,
    /// The last change of the note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Change>,
    /// The names of annotations whose changes are all in this one.
    #[serde(default)]
    pub includes: Vec<String>,
}

impl Annotation {
    /// Encodes the annotation as JSON, and returns its name with it. `number` is greater than that of any other one.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if it is larger than an annotation may be, or if there is no such number.
    pub fn encode(&self, number: u64) -> Result<(AnnotationName, Vec<u8>)> {
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(FormatError::invalid_input(format!("an annotation cannot have the number {number}")));
        }
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| FormatError::internal("cannot write an annotation as JSON").with_source(error))?;
        match json.len() as u64 <= limits::ANNOTATION_BYTES {
            true => Ok((AnnotationName { number, digest: digest(&json) }, json)),
            false => Err(FormatError::invalid_input(format!(
                "the annotation would have {} bytes with all changes before it, more than the {} allowed",
                json.len(),
                limits::ANNOTATION_BYTES
            ))),
        }
    }

    /// Decodes the annotation with this name of this snapshot.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the content does not fit the name, does not have the required form, or is of another snapshot.
    pub fn decode(json: &[u8], snapshot: &SnapshotId, name: &AnnotationName) -> Result<Self> {
        if digest(json) != name.digest {
            return Err(FormatError::corrupt("its content does not fit the digest in its name"));
        }
        let annotation: Self = serde_json::from_slice(json)
            .map_err(|error| FormatError::corrupt("its content is not that of an annotation").with_source(error))?;
        if annotation.snapshot != *snapshot {
            return Err(FormatError::corrupt(format!("it is an annotation of snapshot {}", annotation.snapshot)));
        }
        // A greater number would count before every later change.
        let mut changes = annotation.labels.values().chain(&annotation.note);
        match changes.all(|change| (1..=name.number).contains(&change.number)) {
            true => Ok(annotation),
            false => {
                Err(FormatError::corrupt(format!("it has a change with a number that is not 1 to {}", name.number)))
            }
        }
    }
}

fn digest(json: &[u8]) -> String {
    let bytes = Sha256::digest(json);
    bytes.iter().take(DIGEST_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that a snapshot can have this note.
///
/// # Errors
///
/// Returns `InvalidInput` for a note that is blank, longer than 4,096 bytes, or has a control character other than a tab or
/// a line feed.
pub fn check_note(note: &str) -> Result<()> {
    let invalid = |what: String| Err(FormatError::invalid_input(what));
    if note.trim().is_empty() {
        return invalid("a note cannot be blank".into());
    }
    if note.len() > limits::NOTE_BYTES {
        let (bytes, most) = (note.len(), limits::NOTE_BYTES);
        return invalid(format!("the note has {bytes} bytes, more than the {most} allowed"));
    }
    match note.chars().find(|c| c.is_control() && !['\n', '\t'].contains(c)) {
        None => Ok(()),
        Some(control) => invalid(format!("a note cannot have the control character {}", control.escape_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation() -> Annotation {
        let change = |number, value: Option<&str>| Change { number, value: value.map(str::to_owned) };
        Annotation {
            snapshot: "20260131T080000000Z-0123456789abcdef".parse().unwrap(),
            time: DateTime::UNIX_EPOCH,
            program: "test 1".to_owned(),
            labels: [("a".to_owned(), change(2, Some("b"))), ("c".to_owned(), change(3, None))].into(),
            note: Some(change(1, Some("n"))),
            includes: vec!["annotation-0000000001-0123456789abcdef0123456789abcdef.json".to_owned()],
        }
    }

    #[test]
    fn an_annotation_is_decoded_by_its_name_only_and_every_changed_byte_is_found() {
        let annotation = annotation();
        let (name, json) = annotation.encode(3).unwrap();
        assert_eq!(Annotation::decode(&json, &annotation.snapshot, &name).unwrap(), annotation);
        let other = "20260131T080000000Z-0000000000000000".parse().unwrap();
        assert!(Annotation::decode(&json, &other, &name).is_err());
        for at in 0..json.len() {
            let mut changed = json.clone();
            changed[at] ^= 1;
            assert!(Annotation::decode(&changed, &annotation.snapshot, &name).is_err(), "{at}");
            assert!(Annotation::decode(&json[..at], &annotation.snapshot, &name).is_err(), "{at}");
        }
    }

    #[test]
    fn members_of_later_programs_are_ignored() {
        let json = br#"{"snapshot":"20260131T080000000Z-0123456789abcdef","time":"1970-01-01T00:00:00Z","program":"p","new":1}"#;
        let name = AnnotationName { number: 1, digest: digest(json) };
        let read = Annotation::decode(json, &annotation().snapshot, &name).unwrap();
        assert!(read.labels.is_empty() && read.note.is_none());
    }

    #[test]
    fn numbers_and_sizes_are_bounded() {
        for number in [0, NUMBER_MAX + 1, u64::MAX] {
            assert!(annotation().encode(number).is_err());
        }
        let mut large = annotation();
        large.program = "x".repeat(256 << 10);
        assert!(large.encode(1).is_err());
    }

    #[test]
    fn a_change_has_no_greater_number_than_its_annotation() {
        for number in [0, 4, NUMBER_MAX, u64::MAX] {
            let mut hostile = annotation();
            hostile.note = Some(Change { number, value: None });
            let (name, json) = hostile.encode(3).unwrap();
            assert!(Annotation::decode(&json, &hostile.snapshot, &name).is_err(), "{number}");
        }
    }

    #[test]
    fn the_change_that_counts_is_the_greater_one() {
        let change = |number, value: Option<&str>| Change { number, value: value.map(str::to_owned) };
        assert!(change(2, None) > change(1, Some("z")));
        assert!(change(2, Some("b")) > change(2, Some("a")));
        assert!(change(2, Some("")) > change(2, None));
    }

    #[test]
    fn notes_are_checked() {
        for note in ["a", "two\nlines\twith a tab", &"ü".repeat(2048)] {
            assert!(check_note(note).is_ok());
        }
        for note in ["", " \n", "\u{1b}[2J", "a\rb", &"ü".repeat(2049)] {
            assert!(check_note(note).is_err(), "{note:?}");
        }
    }
}
