//! Whether an increment and its base are of the same source.
//!
//! An increment on the snapshot of another database is exact, but it stores that every record was removed and another
//! one added. A reader of the listing would take that for lost data. It is refused, unless the user asks for it.

use ruvector_snapshot_format::metadata::{SnapshotMetadata, SourceInfo};

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::text;

/// How two sources relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Same,
    /// The path is the same, but the host is another one: a container was started again, or the machine was renamed.
    OtherHost,
    /// The name is the same, but the path is another one: the database was moved, or two have one name.
    OtherPath,
    /// The base does not record its source. An older program took it.
    Unrecorded,
    Other,
}

/// Checks that the database is the one of the base. Returns a warning if only the host differs, if the base records no
/// source, or if a base of another source was accepted.
pub(super) fn check(base: &SnapshotMetadata, own: &SourceInfo, accepts_elsewhere: bool) -> Result<Option<String>> {
    let (base_id, theirs, ours) = (&base.id, described(&base.source), described(own));
    match relation(&base.source, own) {
        Relation::Same => Ok(None),
        Relation::OtherHost => {
            let (there, here) = (host(&base.source), host(own));
            Ok(Some(format!(
                "the base {base_id} was taken on the host {there}, and this one is {here}; a name for the source makes it \
                 independent of the host"
            )))
        }
        Relation::OtherPath => {
            let path = |source: &SourceInfo| source.path.clone().unwrap_or_default();
            Ok(Some(format!(
                "the base {base_id} was taken of {}, and this database is {}, with the same name, {theirs}; if these are two \
                 databases, give each a name of its own",
                path(&base.source),
                path(own)
            )))
        }
        Relation::Unrecorded => {
            Ok(Some(format!("the base {base_id} does not record which database it is of; check that it is of {ours}")))
        }
        Relation::Other if accepts_elsewhere => {
            Ok(Some(format!("the base {base_id} is of another source: of {theirs}, and not of {ours}")))
        }
        Relation::Other => {
            let message = format!("cannot use snapshot {base_id} as a base: it is of {theirs}, and not of {ours}");
            let advice = "take a full snapshot, or accept the base if it is the same database (CreateOptions::base_from_elsewhere)";
            Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_remedy(Remedy::BaseFromElsewhere, advice))
        }
    }
}

/// Returns a warning if the database has lost half of the records of an earlier snapshot or more.
pub(super) fn shrinkage(role: &str, id: &str, before: u64, records: u64) -> Option<String> {
    (before > 0 && records <= before / 2).then(|| {
        format!(
            "the database has {}, and {role}, {id}, has {}; check that it is the right database, and that nothing was lost",
            text::records(records),
            text::count(before)
        )
    })
}

fn relation(base: &SourceInfo, own: &SourceInfo) -> Relation {
    if base.id().is_none() {
        // Older programs recorded no source but its kind. Since then a host is recorded even of a database without a path.
        return match (own.kind == base.kind, own.id().is_none(), base.host.is_none()) {
            (true, true, _) => Relation::Same,
            (true, false, true) => Relation::Unrecorded,
            _ => Relation::Other,
        };
    }
    if base.name.is_some() || own.name.is_some() {
        let is_same = base.name.as_deref().zip(own.name.as_deref()).is_some_and(|(base, own)| text::is_same(base, own));
        let is_other_path = base.path.as_ref().zip(own.path.as_ref()).is_some_and(|(base, own)| base != own);
        return match (is_same, is_other_path) {
            (false, _) => Relation::Other,
            (true, true) => Relation::OtherPath,
            (true, false) => Relation::Same,
        };
    }
    match (base.path == own.path, base.host == own.host) {
        (false, _) => Relation::Other,
        (true, false) => Relation::OtherHost,
        (true, true) => Relation::Same,
    }
}

/// Returns a source in words.
fn described(source: &SourceInfo) -> String {
    match (&source.name, source.id()) {
        (Some(name), _) => format!("the source named {name:?}"),
        (None, Some(path)) => path.to_string(),
        (None, None) => format!("a source of the kind {:?} that has neither a name nor a path", source.kind),
    }
}

fn host(source: &SourceInfo) -> &str {
    source.host.as_deref().unwrap_or("(not recorded)")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source as `NAME@HOST:PATH`, each of which can be empty.
    fn source(text: &str) -> SourceInfo {
        let (name, rest) = text.split_once('@').unwrap();
        let (host, path) = rest.split_once(':').unwrap();
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut source = SourceInfo::new("file", Some(1));
        (source.name, source.host, source.path) = (given(name), given(host), given(path));
        source
    }

    #[test]
    fn a_given_name_decides_and_else_the_path() {
        let cases = [
            // Older snapshots record nothing.
            ("@:", "@h:/a", Relation::Unrecorded),
            ("@:", "n@h:/a", Relation::Unrecorded),
            ("@:", "@h:", Relation::Same),
            ("@h:/a", "@h:/a", Relation::Same),
            ("@h:/a", "@i:/a", Relation::OtherHost),
            ("@:/a", "@i:/a", Relation::OtherHost),
            ("@h:/a", "@h:/b", Relation::Other),
            ("@h:/a", "@i:/b", Relation::Other),
            ("n@h:/a", "n@i:/b", Relation::OtherPath),
            ("n@h:/a", "n@i:/a", Relation::Same),
            ("n@h:/a", "n@h:", Relation::Same),
            ("n@h:/a", "m@h:/a", Relation::Other),
            // Two forms of one name; paths have no forms.
            ("\u{e9}@h:/a", "e\u{301}@h:/a", Relation::Same),
            ("@h:/\u{e9}", "@h:/e\u{301}", Relation::Other),
            ("n@h:/a", "@h:/a", Relation::Other),
            ("@h:/a", "n@h:/a", Relation::Other),
            // A database in memory has no path.
            ("@h:", "@h:", Relation::Same),
            ("@h:/a", "@h:", Relation::Other),
            ("@h:", "@h:/a", Relation::Other),
            ("@h:", "n@h:", Relation::Other),
        ];
        for (base, own, expected) in cases {
            assert_eq!(relation(&source(base), &source(own)), expected, "{base} and {own}");
        }
    }

    #[test]
    fn sources_without_a_name_or_a_path_are_told_apart_by_their_kind() {
        let (mut base, own) = (source("@h:"), source("@h:"));
        base.kind = "memory".to_owned();
        assert_eq!(relation(&base, &own), Relation::Other);
        // Older programs recorded the kind, too.
        base.host = None;
        assert_eq!(relation(&base, &own), Relation::Other);
    }

    #[test]
    fn the_inode_and_the_device_do_not_matter() {
        let (mut base, mut own) = (source("@h:/a"), source("@h:/a"));
        (base.inode, own.inode, own.device) = (Some(1), Some(2), Some(3));
        assert_eq!(relation(&base, &own), Relation::Same);
    }
}
