//! What the names of ledger entries say of a snapshot: [`Checks`]. Which entries count, and which are not needed any
//! more, is decided here (`docs/FORMAT.md`, section 9). Asks no store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::ledger::{EntryName, VerifyDepth, VerifyResult};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// An entry, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedEntry {
    pub(crate) name: EntryName,
    /// When it was written, by the clock of the store.
    pub(crate) modified_at: DateTime<Utc>,
}

/// What decides whether an entry counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    /// When `metadata.json` was written, by the clock of the store. An entry that is older is about other objects.
    pub(crate) committed_at: DateTime<Utc>,
    /// When the youngest file of the snapshot and its ancestors was written. An intact entry that is older says nothing of
    /// that file.
    pub(crate) written_at: DateTime<Utc>,
    /// The latest time that is not in the future.
    pub(crate) latest: DateTime<Utc>,
}

impl Counted {
    fn is_in_future(&self, entry: &ListedEntry) -> bool {
        entry.name.time > self.latest
    }

    pub(crate) fn counts(&self, entry: &ListedEntry) -> bool {
        match entry.name.result {
            VerifyResult::Corrupt | VerifyResult::Failed => entry.modified_at >= self.committed_at,
            VerifyResult::Intact => entry.modified_at >= self.written_at && !self.is_in_future(entry),
        }
    }
}

/// What the ledgers of a snapshot and its ancestors say.
#[derive(Debug, Clone)]
pub(crate) struct ChainChecks {
    /// What they say of the snapshot.
    pub(crate) checks: Checks,
    /// What decides which of its entries count.
    pub(crate) counted: Counted,
    /// Corrupt entries, also of ancestors, after which not everything was found intact.
    standing: Vec<ListedEntry>,
}

impl ChainChecks {
    /// Of the entries of a snapshot, and what is known of its base, if it has one. Who verifies a snapshot verifies its
    /// ancestors too, so what was found corrupt in one of them is corrupt in this snapshot until it is verified again.
    pub(crate) fn new(entries: &[ListedEntry], own: Counted, base: Option<&Self>) -> Self {
        let written_at = base.map_or(own.written_at, |base| own.written_at.max(base.counted.written_at));
        let counted = Counted { written_at, ..own };
        let mut checks = Checks { entries: entries.len(), ..Checks::default() };
        let counting = || entries.iter().filter(|entry| counted.counts(entry));
        for entry in counting().filter(|entry| entry.name.result == VerifyResult::Intact) {
            let newest = checks.intact.entry(entry.name.depth).or_insert_with(|| Stamp::of(entry));
            *newest = Stamp::of(entry).max(*newest);
        }
        let is_outdated = |entry: &&ListedEntry| entry.name.result == VerifyResult::Intact && !counted.counts(entry);
        checks.outdated = entries.iter().filter(is_outdated).map(|entry| entry.name.depth).collect();
        let corrupt = counting().filter(|entry| entry.name.result == VerifyResult::Corrupt);
        let corrupt = corrupt.chain(base.map_or(&[][..], |base| &base.standing));
        let standing: Vec<_> = corrupt.filter(|corrupt| !checks.is_repaired_since(corrupt, counted)).cloned().collect();
        let failed = counting().filter(|entry| entry.name.result == VerifyResult::Failed);
        let failed = failed.max_by_key(|entry| newest_corrupt(entry));
        let drilled = checks.intact.get(&VerifyDepth::Drill);
        let failed = failed.filter(|failed| drilled.is_none_or(|drilled| !drilled.is_after(failed, counted)));
        checks.drill_failed_at = failed.map(|failed| failed.name.time);
        checks.corrupt_at = standing.iter().max_by_key(|entry| newest_corrupt(entry)).map(|entry| entry.name.time);
        Self { checks, counted, standing }
    }
}

/// When a snapshot was verified, how deep and with what result, as far as its ledger shows.
///
/// The ledger is what earlier verifications have left. It says nothing of what has happened to the stored bytes since.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checks {
    /// The newest intact entry of each depth.
    intact: BTreeMap<VerifyDepth, Stamp>,
    /// The depths of intact entries that do not count.
    outdated: BTreeSet<VerifyDepth>,
    corrupt_at: Option<DateTime<Utc>>,
    drill_failed_at: Option<DateTime<Utc>>,
    entries: usize,
}

/// When an entry was written, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    time: DateTime<Utc>,
    modified_at: DateTime<Utc>,
}

impl Stamp {
    fn of(entry: &ListedEntry) -> Self {
        Self { time: entry.name.time, modified_at: entry.modified_at }
    }

    /// Returns whether this is later than an entry that warns: by the clock of the store, and by those of the machines if
    /// that of the other entry was not wrong.
    fn is_after(&self, other: &ListedEntry, counted: Counted) -> bool {
        let is_later = self.time > other.name.time || counted.is_in_future(other);
        is_later && self.modified_at >= other.modified_at
    }
}

impl Checks {
    /// Returns whether everything was found intact after an entry that says that something is corrupt.
    fn is_repaired_since(&self, corrupt: &ListedEntry, counted: Counted) -> bool {
        self.complete_by(|stamp| stamp.is_after(corrupt, counted).then_some(stamp.time)).is_some()
    }

    /// Returns the latest time at which every byte had been read: of a full verification, or of the oldest of all subsets.
    /// Uses only the entries for which `time_of` returns a time.
    fn complete_by(&self, time_of: impl Fn(&Stamp) -> Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let full = self.intact.get(&VerifyDepth::Full).and_then(&time_of);
        // The number of subsets read, and the oldest.
        let mut subsets: BTreeMap<u16, (u16, DateTime<Utc>)> = BTreeMap::new();
        for (depth, stamp) in &self.intact {
            if let (VerifyDepth::Subset { of, .. }, Some(time)) = (depth, time_of(stamp)) {
                let (read, oldest) = subsets.entry(*of).or_insert((0, time));
                *read += 1;
                *oldest = time.min(*oldest);
            }
        }
        let complete = subsets.into_iter().filter(|(of, (read, _))| read == of).map(|(_, (_, oldest))| oldest);
        complete.chain(full).max()
    }

    /// Returns when every byte of the snapshot and its ancestors was last found intact. If that was done in numbered
    /// subsets, it is the time of the oldest of them; `None` if one is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// for snapshot in &listing.snapshots {
    ///     match listing.checks_of(&snapshot.id).and_then(|checks| checks.verified_at()) {
    ///         Some(time) => println!("{} was verified at {time}", snapshot.id),
    ///         None => println!("{} was never verified", snapshot.id),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn verified_at(&self) -> Option<DateTime<Utc>> {
        self.complete_by(|stamp| Some(stamp.time))
    }

    /// Returns when the snapshot was last restored as a drill that has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::Checks::default().drilled_at(), None);
    /// ```
    pub fn drilled_at(&self) -> Option<DateTime<Utc>> {
        self.intact_at(VerifyDepth::Drill)
    }

    /// Returns the time of the newest drill that has failed although nothing was corrupt, unless one has passed after it.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::Checks::default().drill_failed_at(), None);
    /// ```
    pub fn drill_failed_at(&self) -> Option<DateTime<Utc>> {
        self.drill_failed_at
    }

    /// Returns the time of the newest result that something is corrupt, of the snapshot or an ancestor, unless every byte
    /// was found intact after that.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::Checks::default().corrupt_at(), None);
    /// ```
    pub fn corrupt_at(&self) -> Option<DateTime<Utc>> {
        self.corrupt_at
    }

    /// Returns when the snapshot was last found intact by a verification that includes one of this depth.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{Checks, VerifyDepth};
    ///
    /// assert_eq!(Checks::default().intact_at(VerifyDepth::Quick), None);
    /// ```
    pub fn intact_at(&self, depth: VerifyDepth) -> Option<DateTime<Utc>> {
        let including = self.intact.iter().filter(|(other, _)| other.includes(depth)).map(|(_, stamp)| stamp.time);
        let complete = self.verified_at().filter(|_| VerifyDepth::Full.includes(depth));
        including.chain(complete).max()
    }

    /// Returns whether the snapshot was found intact by a verification that includes one of this depth, but no such result counts
    /// any more: its files, or those of an ancestor, were written after that, for example by a copy with other tools.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{Checks, VerifyDepth};
    ///
    /// assert!(!Checks::default().is_outdated(VerifyDepth::Full));
    /// ```
    pub fn is_outdated(&self, depth: VerifyDepth) -> bool {
        self.intact_at(depth).is_none() && self.outdated.iter().any(|other| other.includes(depth))
    }

    /// Returns the number of entries in the ledger, those that do not count included.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::Checks::default().entries(), 0);
    /// ```
    pub fn entries(&self) -> usize {
        self.entries
    }
}

/// Serializes what the methods return.
impl Serialize for Checks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut checks = serializer.serialize_struct("Checks", 6)?;
        checks.serialize_field("verified_at", &self.verified_at())?;
        checks.serialize_field("quick_verified_at", &self.intact_at(VerifyDepth::Quick))?;
        checks.serialize_field("drilled_at", &self.drilled_at())?;
        checks.serialize_field("drill_failed_at", &self.drill_failed_at)?;
        checks.serialize_field("corrupt_at", &self.corrupt_at)?;
        checks.serialize_field("entries", &self.entries)?;
        checks.end()
    }
}

/// Returns the entries that are not needed: those that do not count, and those that a newer one replaces. `counted` is
/// `None` if there is no snapshot.
pub(crate) fn unneeded(entries: &[ListedEntry], counted: Option<Counted>) -> Vec<&ListedEntry> {
    let counting = || entries.iter().filter(|entry| counted.is_some_and(|counted| counted.counts(entry)));
    let mut kept: BTreeMap<VerifyDepth, &ListedEntry> = BTreeMap::new();
    for entry in counting().filter(|entry| entry.name.result == VerifyResult::Intact) {
        let newest = kept.entry(entry.name.depth).or_insert(entry);
        if (Stamp::of(entry), entry.name.random) > (Stamp::of(newest), newest.name.random) {
            *newest = entry;
        }
    }
    let corrupt = counting().filter(|entry| entry.name.result == VerifyResult::Corrupt);
    let corrupt = corrupt.max_by_key(|entry| newest_corrupt(entry));
    let failed = counting().filter(|entry| entry.name.result == VerifyResult::Failed);
    let drilled = kept.get(&VerifyDepth::Drill).map(|entry| Stamp::of(entry));
    let is_passed_since =
        |entry: &ListedEntry| drilled.zip(counted).is_some_and(|(drilled, counted)| drilled.is_after(entry, counted));
    let failed = failed.max_by_key(|entry| newest_corrupt(entry)).filter(|entry| !is_passed_since(entry));
    let is_needed = |entry: &ListedEntry| {
        let kept = kept.get(&entry.name.depth).into_iter().copied();
        kept.chain(corrupt).chain(failed).any(|kept| std::ptr::eq(kept, entry))
    };
    entries.iter().filter(|entry| !is_needed(entry)).collect()
}

/// Orders corrupt entries, or failed ones. The clock of the store comes first: those of the machines can be wrong.
fn newest_corrupt(entry: &ListedEntry) -> (DateTime<Utc>, DateTime<Utc>, Reverse<VerifyDepth>, u64) {
    (entry.modified_at, entry.name.time, Reverse(entry.name.depth), entry.name.random)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const NOW: i64 = 1000;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    /// An entry whose machine and store agree on the time.
    fn entry(hours: i64, depth: &str, result: VerifyResult) -> ListedEntry {
        dated(hours, hours, depth, result)
    }

    fn dated(machine: i64, store: i64, depth: &str, result: VerifyResult) -> ListedEntry {
        let depth = depth.parse().unwrap();
        let name = EntryName { time: at(machine), depth, result, random: machine.unsigned_abs() };
        ListedEntry { name, modified_at: at(store) }
    }

    fn counted() -> Counted {
        Counted { committed_at: at(0), written_at: at(0), latest: at(NOW) }
    }

    fn checks(entries: &[ListedEntry]) -> Checks {
        ChainChecks::new(entries, counted(), None).checks
    }

    use VerifyResult::{Corrupt, Failed, Intact};

    #[test]
    fn the_newest_of_each_depth_counts() {
        let entries = [
            entry(3, "full", Intact),
            entry(9, "quick", Intact),
            entry(1, "full", Intact),
            entry(5, "drill", Intact),
            entry(7, "sample10", Intact),
        ];
        let checks = checks(&entries);
        assert_eq!(checks.verified_at(), Some(at(3)));
        assert_eq!(checks.drilled_at(), Some(at(5)));
        assert_eq!(checks.intact_at(VerifyDepth::Quick), Some(at(9)));
        assert_eq!(checks.intact_at(VerifyDepth::Sample { percent: 5 }), Some(at(7)));
        assert_eq!(checks.intact_at(VerifyDepth::Sample { percent: 20 }), Some(at(3)));
        assert_eq!(checks.intact_at(VerifyDepth::Subset { number: 1, of: 2 }), Some(at(3)));
        assert_eq!((checks.corrupt_at(), checks.entries()), (None, 5));
    }

    #[test]
    fn all_subsets_together_are_a_full_verification_as_old_as_the_oldest() {
        let mut entries: Vec<_> = (1..=6).map(|n| entry(n, &format!("{n}of7"), Intact)).collect();
        entries.push(entry(50, "7of8", Intact));
        assert_eq!(checks(&entries).verified_at(), None);
        entries.push(entry(7, "7of7", Intact));
        assert_eq!(checks(&entries).verified_at(), Some(at(1)));
        entries.push(entry(8, "1of7", Intact));
        assert_eq!(checks(&entries).verified_at(), Some(at(2)));
        assert_eq!(checks(&entries).intact_at(VerifyDepth::Subset { number: 7, of: 7 }), Some(at(7)));
        assert_eq!(checks(&entries).intact_at(VerifyDepth::Full), Some(at(2)));
    }

    #[test]
    fn corruption_stands_until_everything_is_read_again() {
        let corrupt = entry(10, "quick", Corrupt);
        let with = |others: &[ListedEntry]| {
            let entries: Vec<_> = others.iter().cloned().chain([corrupt.clone()]).collect();
            checks(&entries).corrupt_at()
        };
        let standing = Some(at(10));
        assert_eq!(with(&[]), standing);
        for other in [
            entry(9, "full", Intact),
            entry(11, "quick", Intact),
            entry(11, "drill", Intact),
            entry(11, "sample99", Intact),
            entry(11, "1of2", Intact),
            // The clock of the other machine is ahead, or behind.
            dated(11, 9, "full", Intact),
            dated(9, 11, "full", Intact),
        ] {
            assert_eq!(with(std::slice::from_ref(&other)), standing, "{other:?}");
        }
        assert_eq!(with(&[entry(11, "1of2", Intact), entry(9, "2of2", Intact)]), standing);
        assert_eq!(with(&[entry(11, "full", Intact)]), None);
        assert_eq!(with(&[entry(11, "1of2", Intact), entry(12, "2of2", Intact)]), None);
        assert_eq!(with(&[entry(11, "full", Intact), entry(12, "1of2", Corrupt)]), Some(at(12)));
    }

    #[test]
    fn a_failed_drill_stands_until_one_passes() {
        let failed = entry(10, "drill", Failed);
        let with = |others: &[ListedEntry]| {
            let entries: Vec<_> = others.iter().cloned().chain([failed.clone()]).collect();
            (checks(&entries).drill_failed_at(), unneeded(&entries, Some(counted())).contains(&&failed))
        };
        let standing = Some(at(10));
        for other in [
            entry(9, "drill", Intact),
            entry(11, "full", Intact),
            dated(11, 9, "drill", Intact),
            dated(9, 11, "drill", Intact),
            entry(9, "drill", Failed),
        ] {
            assert_eq!(with(std::slice::from_ref(&other)), (standing, false), "{other:?}");
        }
        assert_eq!(with(&[entry(11, "drill", Intact)]), (None, true));
        assert_eq!(with(&[entry(11, "drill", Failed)]), (Some(at(11)), true));
        let checks = checks(&[failed, entry(9, "drill", Intact)]);
        assert_eq!((checks.drilled_at(), checks.corrupt_at(), checks.verified_at()), (Some(at(9)), None, None));
    }

    #[test]
    fn entries_from_the_future_do_not_reassure_and_do_not_stop_to_warn() {
        let future = NOW + 5;
        assert_eq!(checks(&[dated(future, 5, "full", Intact)]).verified_at(), None);
        let corrupt = dated(future, 5, "full", Corrupt);
        assert_eq!(checks(std::slice::from_ref(&corrupt)).corrupt_at(), Some(at(future)));
        assert!(checks(&[corrupt.clone(), entry(4, "full", Intact)]).corrupt_at().is_some());
        assert_eq!(checks(&[corrupt, entry(6, "full", Intact)]).corrupt_at(), None);
    }

    #[test]
    fn entries_from_before_the_snapshot_do_not_count() {
        let counted = Counted { committed_at: at(5), written_at: at(5), latest: at(NOW) };
        let before = [dated(6, 4, "full", Intact), dated(6, 4, "full", Corrupt)];
        let checks = ChainChecks::new(&before, counted, None).checks;
        assert_eq!((checks.verified_at(), checks.corrupt_at(), checks.entries()), (None, None, 2));
        assert_eq!(unneeded(&before, Some(counted)).len(), 2);
    }

    #[test]
    fn of_a_file_that_was_written_later_only_corruption_is_known() {
        let counted = Counted { written_at: at(5), ..counted() };
        let entries = [entry(4, "full", Intact), entry(3, "quick", Corrupt)];
        let of = |base| ChainChecks::new(&entries, counted, base).checks;
        assert_eq!((of(None).verified_at(), of(None).corrupt_at()), (None, Some(at(3))));
        assert!(of(None).is_outdated(VerifyDepth::Full) && !of(None).is_outdated(VerifyDepth::Drill));
        // Also if it is a file of an ancestor.
        let base = ChainChecks::new(&[], counted, None);
        let dependent = ChainChecks::new(&entries[..1], self::counted(), Some(&base));
        assert_eq!((dependent.checks.verified_at(), dependent.checks.is_outdated(VerifyDepth::Quick)), (None, true));
        assert!(!dependent.counted.counts(&entries[0]));
    }

    #[test]
    fn corruption_of_an_ancestor_is_corruption_until_one_of_both_is_verified_again() {
        let chain = |entries: [&[ListedEntry]; 3]| {
            let oldest = ChainChecks::new(entries[0], counted(), None);
            let middle = ChainChecks::new(entries[1], counted(), Some(&oldest));
            ChainChecks::new(entries[2], counted(), Some(&middle)).checks.corrupt_at()
        };
        let (corrupt, before, after) =
            ([entry(5, "quick", Corrupt)], [entry(4, "full", Intact)], [entry(6, "full", Intact)]);
        assert_eq!(chain([&corrupt, &[], &[]]), Some(at(5)));
        assert_eq!(chain([&corrupt, &[], &before]), Some(at(5)));
        assert_eq!(chain([&corrupt, &before, &before]), Some(at(5)));
        assert_eq!(chain([&corrupt, &[], &after]), None);
        assert_eq!(chain([&corrupt, &after, &[]]), None);
        let both = [corrupt[0].clone(), after[0].clone()];
        assert_eq!(chain([&both, &[], &before]), None);
        assert_eq!(chain([&after, &corrupt, &[]]), Some(at(5)));
    }

    #[test]
    fn what_is_not_needed_can_go_without_a_change_of_what_is_known() {
        let depths = ["quick", "full", "drill", "1of2", "2of2", "sample10"];
        let mut entries = Vec::new();
        for round in 0..30 {
            let result = if round % 11 == 0 { Corrupt } else { Intact };
            entries.push(dated(round * 7 % 30, round, depths[round as usize % depths.len()], result));
        }
        entries.push(dated(NOW + 1, 3, "full", Intact));
        let unneeded: Vec<_> = unneeded(&entries, Some(counted())).into_iter().cloned().collect();
        let left: Vec<_> = entries.iter().filter(|entry| !unneeded.contains(entry)).cloned().collect();
        assert_eq!(left.len(), depths.len() + 1);
        let whole = checks(&entries);
        assert_eq!(Checks { entries: entries.len(), outdated: whole.outdated.clone(), ..checks(&left) }, whole);
        assert!(super::unneeded(&left, Some(counted())).is_empty());
        assert_eq!(super::unneeded(&left, None).len(), left.len());
    }
}
