//! What a listing shows of a snapshot that cannot be relied on. Asks no store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::lineage::Lineage;
use ruvector_snapshot_format::metadata::SourceInfo;
use serde::Serialize;

use super::ancestry::ChainEnd;
use super::checks::Checks;
use super::{Listing, Snapshot, UnusableSnapshot};
use crate::text::{composed, utc_time};

/// Why a snapshot cannot be relied on, as far as a [`Listing`] shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotProblem {
    /// It cannot be used: `metadata.json` is corrupt or missing, or a file is missing or has another size, or it could not be
    /// read.
    Unusable {
        /// The id of the snapshot.
        id: String,
        /// The reason.
        reason: String,
    },
    /// It depends on a snapshot that is missing, cannot be used or is being deleted.
    BrokenChain {
        /// The id of the snapshot.
        id: String,
        /// The id of the snapshot that it depends on.
        at: String,
        /// How the chain ends.
        end: ChainEnd,
        /// Whether that snapshot could not be read. It may be intact.
        is_unread: bool,
        /// Whether a restore can succeed all the same ([`UnusableSnapshot::may_be_restorable`]).
        may_be_restorable: bool,
        /// Why that snapshot cannot be used.
        reason: Option<String>,
    },
    /// It can be restored, but the `checksum.sha256` of it, or of one that it depends on, is missing or has another size. No
    /// increment can be based on that snapshot.
    Damaged {
        /// The id of the snapshot.
        id: String,
        /// The id of the snapshot whose file it is.
        found_in: String,
        /// What is wrong.
        reason: String,
    },
    /// It was found corrupt, or one that it depends on was, and not intact since.
    Corrupt {
        /// The id of the snapshot.
        id: String,
        /// The id of the snapshot that was found corrupt.
        found_in: String,
        /// When it was found corrupt.
        at: DateTime<Utc>,
    },
    /// It is listed as an upload, but may be a snapshot that has lost its `metadata.json`
    /// ([`Listing::possibly_lost`]).
    PossiblyLost {
        /// The id of the snapshot.
        id: String,
    },
}

/// Returns the database of a snapshot, in one form.
pub(crate) fn database_of(source: &SourceInfo) -> String {
    composed(&source.id_or_kind()).into_owned()
}

/// Returns two database files whose snapshots were taken in turn: the first of them again after the other. The sources are those of
/// one name, newest first. Of a database that was moved, all snapshots of the one path are older than those of the other, and a
/// container may have another host name each time, but not one that it had before.
pub(crate) fn taken_in_turn<'a>(
    sources: impl IntoIterator<Item = &'a SourceInfo>,
) -> Option<(&'a SourceInfo, &'a SourceInfo)> {
    let file = |source: &'a SourceInfo| Some((source.host.as_deref(), source.path.as_deref()?));
    let mut sources = sources.into_iter().filter(|source| source.path.is_some());
    let (mut current, mut left) = (sources.next()?, BTreeSet::new());
    for source in sources {
        if file(source) == file(current) {
            continue;
        }
        if left.contains(&file(source)) {
            return Some((source, current));
        }
        left.insert(file(std::mem::replace(&mut current, source)));
    }
    None
}

/// Returns the paths of two database files as text, with their hosts if these differ.
pub(crate) fn shown_files(one: &SourceInfo, other: &SourceInfo) -> [String; 2] {
    [one, other].map(|source| {
        let path = source.path.clone().unwrap_or_default();
        match one.host == other.host {
            true => path,
            false => format!("{}:{path}", source.host.as_deref().unwrap_or_default()),
        }
    })
}

/// Returns the databases of these snapshots, and the most records that one of each has.
pub(crate) fn most_records<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> BTreeMap<String, usize> {
    let mut records: BTreeMap<String, usize> = BTreeMap::new();
    for snapshot in snapshots {
        let most = records.entry(database_of(&snapshot.source)).or_default();
        *most = (*most).max(snapshot.vector_count);
    }
    records
}

/// Returns those of the databases of which nothing is kept that protects them: no snapshot without a problem, or only empty ones of
/// a database that had records.
pub(crate) fn unprotected<'a>(
    mut records: BTreeMap<String, usize>,
    kept: impl IntoIterator<Item = &'a Snapshot>,
    problems: &BTreeMap<String, SnapshotProblem>,
) -> Vec<String> {
    for snapshot in kept.into_iter().filter(|snapshot| !problems.contains_key(&snapshot.id)) {
        let database = database_of(&snapshot.source);
        if records.get(&database).is_some_and(|most| *most == 0 || snapshot.vector_count > 0) {
            records.remove(&database);
        }
    }
    records.into_keys().collect()
}

impl fmt::Display for SnapshotProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { id, reason } => write!(f, "snapshot {id} cannot be used: {reason}"),
            Self::BrokenChain { id, at, end, is_unread, may_be_restorable, reason } => {
                let why = match end {
                    ChainEnd::Deleting => "is being deleted",
                    ChainEnd::Unusable if *is_unread => "cannot be read",
                    ChainEnd::Unusable => "cannot be used",
                    ChainEnd::Missing | ChainEnd::Full => "is missing",
                };
                let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                let what = match may_be_restorable {
                    true => "may not be restorable, which `restore --dry-run` shows",
                    false => "cannot be restored",
                };
                write!(f, "snapshot {id} {what}: it depends on snapshot {at}, which {why}{reason}")
            }
            Self::Damaged { id, found_in, reason } => {
                let depends = if id == found_in { "is damaged" } else { "depends on a damaged one" };
                write!(f, "snapshot {id} can be restored, but {depends}: {reason}")
            }
            Self::Corrupt { id, found_in, at } if id == found_in => {
                write!(f, "snapshot {id} was found corrupt at {}, and not intact since", utc_time(*at))
            }
            Self::PossiblyLost { id } => write!(
                f,
                "{id} has all files of a snapshot except metadata.json: that file was lost, or the upload was interrupted just \
                 before its end. If the file was lost, put it back from a copy or from an older version of the store: `prune` removes \
                 the other files when they are older than its grace period. If not, `delete {id}` removes them"
            ),
            Self::Corrupt { id, found_in, at } => {
                let at = utc_time(*at);
                write!(
                    f,
                    "snapshot {id} depends on snapshot {found_in}, which was found corrupt at {at}, and not intact since"
                )
            }
        }
    }
}

impl Listing {
    /// Returns why a snapshot cannot be relied on. `None` if nothing is known that speaks against it, which is no proof that
    /// it is intact, and if it is not listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// for problem in listing.snapshots.iter().filter_map(|snapshot| listing.problem_of(&snapshot.id)) {
    ///     println!("warning: {problem}");
    /// }
    /// # }
    /// ```
    pub fn problem_of(&self, id: &str) -> Option<SnapshotProblem> {
        if self.possibly_lost.iter().any(|other| other == id) {
            return Some(SnapshotProblem::PossiblyLost { id: id.to_owned() });
        }
        if let Some(unusable) = self.unusable.iter().find(|unusable| unusable.id == id) {
            return Some(SnapshotProblem::Unusable { id: id.to_owned(), reason: unusable.error.to_string() });
        }
        let snapshot = self.snapshots.iter().find(|snapshot| snapshot.id == id)?;
        self.problem_in(&self.lineage(), snapshot)
    }

    /// Returns why snapshots that can be used cannot be relied on, by id.
    pub(crate) fn problems(&self) -> BTreeMap<String, SnapshotProblem> {
        let lineage = self.lineage();
        let problems = self.snapshots.iter().map(|snapshot| (snapshot, self.problem_in(&lineage, snapshot)));
        problems.filter_map(|(snapshot, problem)| Some((snapshot.id.clone(), problem?))).collect()
    }

    /// Returns what may be snapshots that have lost their `metadata.json`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// for problem in listing.possible_losses() {
    ///     println!("warning: {problem}");
    /// }
    /// # }
    /// ```
    pub fn possible_losses(&self) -> impl Iterator<Item = SnapshotProblem> {
        self.possibly_lost.iter().map(|id| SnapshotProblem::PossiblyLost { id: id.clone() })
    }

    /// Returns those of the snapshots that are not being deleted.
    pub(crate) fn without_marked<'a>(
        &self,
        snapshots: impl IntoIterator<Item = &'a Snapshot>,
    ) -> impl Iterator<Item = &'a Snapshot> {
        let is_marked = |snapshot: &&Snapshot| !self.marked_for_deletion.contains(&snapshot.id);
        snapshots.into_iter().filter(is_marked)
    }

    /// Returns the databases of which there are snapshots, as far as it is known.
    pub(crate) fn databases(&self) -> BTreeSet<String> {
        let usable = self.snapshots.iter().map(|snapshot| &snapshot.source);
        let unusable = self.unusable.iter().filter_map(|unusable| unusable.source.as_ref());
        usable.chain(unusable).map(database_of).collect()
    }

    fn problem_in(&self, lineage: &Lineage<&str>, snapshot: &Snapshot) -> Option<SnapshotProblem> {
        let (id, key) = (snapshot.id.clone(), snapshot.id.as_str());
        if let Some(at) = lineage.broken_at(&key) {
            let unusable = self.unusable.iter().find(|unusable| unusable.id == *at);
            let (is_unread, reason) =
                (unusable.is_some_and(UnusableSnapshot::is_unread), unusable.map(|one| one.error.to_string()));
            let may_be_restorable = unusable.is_some_and(UnusableSnapshot::may_be_restorable);
            let (at, end) = ((*at).to_owned(), self.why_unavailable(at));
            return Some(SnapshotProblem::BrokenChain { id, at, end, is_unread, may_be_restorable, reason });
        }
        let corrupt_at = |id: &str| self.checks_of(id).and_then(Checks::corrupt_at);
        let Some(at) = corrupt_at(key) else {
            let mut chain = std::iter::once(key).chain(lineage.ancestors(&key).copied());
            let (found_in, reason) = chain.find_map(|id| self.damaged.get_key_value(id))?;
            return Some(SnapshotProblem::Damaged { id, found_in: found_in.clone(), reason: reason.clone() });
        };
        // What is corrupt is corrupt in each dependent, with the same time.
        let found_in = lineage.ancestors(&key).take_while(|base| corrupt_at(base) == Some(at)).last();
        let found_in = found_in.map_or(key, |base| base).to_owned();
        Some(SnapshotProblem::Corrupt { id, found_in, at })
    }
}
