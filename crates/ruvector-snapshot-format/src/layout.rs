//! The names of all objects of a snapshot, and their keys in a store. No other code builds or parses an object key.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::annotation::{AnnotationName, DIGEST_DIGITS, NUMBER_MAX};
use crate::id::SnapshotId;
use crate::ledger::{EntryName, VerifyDepth, VerifyResult};

/// The commit: a snapshot exists if and only if its `metadata.json` exists.
pub const METADATA_JSON: &str = "metadata.json";
/// The input of `sha256sum -c`.
pub const CHECKSUM_SHA256: &str = "checksum.sha256";

/// The upload marker: names the bases of an increment that is being made.
pub const UPLOAD_JSON: &str = "upload.json";
/// Protects a snapshot from deletion.
pub const PINNED_JSON: &str = "pinned.json";

/// The objects that can exist beside the files of a snapshot, in addition to deletion markers.
pub const MARKERS: [&str; 2] = [UPLOAD_JSON, PINNED_JSON];

/// The five files of a snapshot, in the order in which they are deleted: the commit first.
pub const FILES: [&str; 5] =
    [METADATA_JSON, CHECKSUM_SHA256, DataFile::Vectors.name(), DataFile::Index.name(), DataFile::Payloads.name()];

/// What the prefix of a check of a store starts with.
pub const CHECK: &str = "store-check-";

const DELETING: &str = "deleting-";

const CHECKED: &str = "checked-";

const ANNOTATION: &str = "annotation-";

/// The three files that hold blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataFile {
    /// `vectors.bin.gz`
    Vectors,
    /// `index.bin.gz`
    Index,
    /// `metadata.bin.gz`
    Payloads,
}

impl DataFile {
    /// All three, in the order of checksum.sha256.
    pub const ALL: [Self; 3] = [Self::Vectors, Self::Index, Self::Payloads];

    /// Returns the name of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vectors => "vectors.bin.gz",
            Self::Index => "index.bin.gz",
            Self::Payloads => "metadata.bin.gz",
        }
    }
}

/// Returns the key of one file of a snapshot.
pub fn key(id: &SnapshotId, file: &str) -> String {
    format!("{}/{file}", prefix(id))
}

/// Returns the prefix of all keys of a snapshot, without the slash.
pub fn prefix(id: impl fmt::Display) -> String {
    format!("snapshot-{id}")
}

/// Returns whether a key belongs to a check of the store.
pub fn is_check(key: &str) -> bool {
    key.strip_prefix(CHECK).and_then(|rest| rest.split_once('/')).is_some_and(|(random, _)| random.len() == 16)
}

/// Returns the prefix of all keys of a check of the store, without the slash. No snapshot has such a key.
pub fn check_prefix(random: u64) -> String {
    format!("{CHECK}{random:016x}")
}

/// Returns the name of the deletion marker of the deletion with this number.
pub fn deletion_marker(random: u64) -> String {
    format!("{DELETING}{random:016x}")
}

/// Returns whether a file is a deletion marker.
pub fn is_deletion_marker(file: &str) -> bool {
    file.strip_prefix(DELETING).is_some_and(|random| random.len() == 16 && !random.contains('/'))
}

/// Returns the name of a ledger entry.
pub fn ledger_entry(entry: &EntryName) -> String {
    let time = entry.time.format("%Y%m%dT%H%M%S%3fZ");
    format!("{CHECKED}{time}-{}-{}-{:016x}.json", entry.depth, entry.result, entry.random)
}

/// Returns what the name of a ledger entry says, or `None` if a file is none. The inverse of [`ledger_entry`].
pub fn parse_ledger_entry(file: &str) -> Option<EntryName> {
    let mut parts = file.strip_prefix(CHECKED)?.strip_suffix(".json")?.split('-');
    let (time, depth, result, random) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let results = [VerifyResult::Intact, VerifyResult::Corrupt, VerifyResult::Failed];
    let result = results.into_iter().find(|one| one.as_str() == result)?;
    let random = u64::from_str_radix(random, 16).ok()?;
    let entry = EntryName { time: parse_time(time)?, depth: depth.parse().ok()?, result, random };
    let is_possible = match entry.depth {
        VerifyDepth::Drill => true,
        VerifyDepth::Read => result == VerifyResult::Corrupt,
        _ => result != VerifyResult::Failed,
    };
    // Each entry has one name.
    (is_possible && ledger_entry(&entry) == file).then_some(entry)
}

/// Returns whether a file is a ledger entry.
pub fn is_ledger_entry(file: &str) -> bool {
    parse_ledger_entry(file).is_some()
}

/// Returns the name of an annotation.
pub fn annotation(name: &AnnotationName) -> String {
    format!("{ANNOTATION}{:010}-{}.json", name.number, name.digest)
}

/// Returns what the name of an annotation says, or `None` if a file is none. The inverse of [`annotation`].
pub fn parse_annotation(file: &str) -> Option<AnnotationName> {
    let (number, digest) = file.strip_prefix(ANNOTATION)?.strip_suffix(".json")?.split_once('-')?;
    let is_digest = digest.len() == DIGEST_DIGITS && digest.bytes().all(|digit| b"0123456789abcdef".contains(&digit));
    let number = number.parse().ok().filter(|number| *number > 0)?;
    let name = AnnotationName { number, digest: digest.to_owned() };
    // Each annotation has one name.
    (is_digest && annotation(&name) == file && number <= NUMBER_MAX).then_some(name)
}

/// Returns whether a file is kept beside snapshots, and no step of a create or a delete depends on it: a ledger entry or an
/// annotation.
pub fn is_remark(file: &str) -> bool {
    is_ledger_entry(file) || parse_annotation(file).is_some()
}

/// Parses the time in the form that ids have.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    Some(NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S%3fZ").ok()?.and_utc())
}

/// Returns the snapshot that a prefix belongs to, if any. The inverse of [`prefix`].
pub fn parse_prefix(prefix: &str) -> Option<SnapshotId> {
    prefix.strip_prefix("snapshot-")?.parse().ok()
}

/// Returns the snapshot that a key belongs to, and the name of the file. Returns `None` for a foreign key. The inverse
/// of [`key`].
pub fn parse_key(key: &str) -> Option<(SnapshotId, &str)> {
    let (prefix, file) = key.split_once('/')?;
    Some((parse_prefix(prefix)?, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "checked-20260203T040506789Z-2of7-intact-0123456789abcdef.json";

    #[test]
    fn a_ledger_entry_has_exactly_one_name() {
        let entry = parse_ledger_entry(NAME).unwrap();
        assert_eq!(entry.time, "2026-02-03T04:05:06.789Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!((entry.depth.to_string().as_str(), entry.result), ("2of7", VerifyResult::Intact));
        assert_eq!((entry.random, ledger_entry(&entry)), (0x0123_4567_89ab_cdef, NAME.to_owned()));
        for (from, to) in [
            ("checked-", "Checked-"),
            ("checked-", "checked"),
            ("20260203", "20260230"),
            ("20260203", "+20260203"),
            ("040506789Z", "046006789Z"),
            ("040506789Z", "040561789Z"),
            ("040506789Z", "04050678Z"),
            ("2of7", "8of7"),
            ("2of7", "half"),
            ("2of7", "read"),
            ("intact", "fine"),
            ("intact", "Intact"),
            ("0123456789abcdef", "0123456789ABCDEF"),
            ("0123456789abcdef", "123456789abcdef"),
            ("0123456789abcdef", "+123456789abcdef"),
            ("0123456789abcdef.json", "0123456789abcdef-1.json"),
            (".json", ".json.tmp"),
            (".json", ""),
            ("checked-", "a/checked-"),
            ("2of7", "2of7/x"),
        ] {
            let name = NAME.replacen(from, to, 1);
            assert_ne!(name, NAME);
            assert!(!is_ledger_entry(&name), "{name}");
        }
    }

    #[test]
    fn an_annotation_has_exactly_one_name() {
        const NAME: &str = "annotation-0000000017-0123456789abcdef0123456789abcdef.json";
        let name = parse_annotation(NAME).unwrap();
        assert_eq!((name.number, annotation(&name)), (17, NAME.to_owned()));
        assert!(is_remark(NAME) && !is_ledger_entry(NAME));
        for (from, to) in [
            ("annotation-", "annotation"),
            ("0000000017", "17"),
            ("0000000017", "00000000017"),
            ("0000000017", "+000000017"),
            ("0000000017", "0000000000"),
            ("0000000017", "10000000000"),
            ("0123456789abcdef.", "0123456789abcde."),
            ("0123456789abcdef.", "0123456789abcdeF."),
            ("0123456789abcdef.", "0123456789abcde-."),
            (".json", ""),
            (".json", ".json/x"),
        ] {
            let other = NAME.replacen(from, to, 1);
            assert_ne!(other, NAME);
            assert!(!is_remark(&other), "{other}");
        }
    }

    #[test]
    fn times_at_the_limits_of_the_years_have_names() {
        for time in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "1969-12-31T23:59:59.001Z"] {
            let time: DateTime<Utc> = time.parse().unwrap();
            let entry = EntryName { time, ..parse_ledger_entry(NAME).unwrap() };
            assert_eq!(parse_ledger_entry(&ledger_entry(&entry)), Some(entry));
        }
    }
}
