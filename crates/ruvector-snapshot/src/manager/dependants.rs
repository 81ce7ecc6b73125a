//! What stands on what. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::id::SnapshotId;

/// Everything that stands on one of `ids`, directly or not, without those themselves; the newest first, and so each before
/// what it stands on.
pub(super) fn dependants(bases: &BTreeMap<SnapshotId, SnapshotId>, ids: &BTreeSet<SnapshotId>) -> Vec<SnapshotId> {
    let mut standing: BTreeSet<&SnapshotId> = ids.iter().collect();
    // A base is older than what stands on it, so one pass from the oldest on sees every base before its dependants.
    for (id, base_id) in bases {
        if standing.contains(base_id) {
            standing.insert(id);
        }
    }
    standing.into_iter().rev().filter(|id| !ids.contains(id)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn id(number: u64) -> SnapshotId {
        SnapshotId::new(DateTime::from_timestamp(1_000_000 + number as i64, 0).unwrap(), number)
    }

    #[test]
    fn a_chain_and_a_branch() {
        let bases: BTreeMap<_, _> = [(2, 1), (3, 2), (4, 2), (6, 5)].map(|(one, base)| (id(one), id(base))).into();
        let of = |ids: &[u64]| dependants(&bases, &ids.iter().map(|number| id(*number)).collect());
        assert_eq!(of(&[1]), [4, 3, 2].map(id));
        assert_eq!(of(&[2, 3]), [4].map(id));
        assert_eq!(of(&[4, 6]), Vec::new());
        assert_eq!(of(&[5, 1]), [6, 4, 3, 2].map(id));
    }
}
