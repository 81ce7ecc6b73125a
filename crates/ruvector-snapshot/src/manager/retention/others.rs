//! What else there is in a store beside the snapshots that can be used, and which of these it needs. Knows no rule.

use std::collections::{BTreeMap, BTreeSet};

use super::history::History;
use super::reason::KeepReason;

/// What a plan has to respect and does not decide about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// The ids of the snapshots that somebody has pinned.
    pub pinned: BTreeSet<String>,
    /// The snapshots that cannot be used now, and what they stand on. They may be repaired.
    pub damaged: BTreeMap<String, StandsOn>,
    /// The uploads that are under way, and all that the new snapshots will stand on.
    pub uploads: BTreeMap<String, Vec<String>>,
}

/// What a snapshot that cannot be used stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandsOn {
    /// Nothing: it is a full one.
    Nothing,
    /// The snapshot of this id.
    Base(String),
    /// Nobody knows: its metadata.json cannot be read.
    Unknown,
}

/// Gives every snapshot that one of the others needs its reasons to stay.
pub(super) fn keep_what_is_needed(others: &Others, history: &History, keep: &mut [Vec<KeepReason>]) {
    for (id, stands_on) in &others.damaged {
        if let StandsOn::Base(base_id) = stands_on
            && let Some(at) = history.place_of(base_id)
        {
            keep[at].push(KeepReason::BaseOfDamaged { id: id.clone() });
        }
    }
    for (id, base_ids) in &others.uploads {
        for at in base_ids.iter().filter_map(|base_id| history.place_of(base_id)) {
            keep[at].push(KeepReason::BaseOfUpload { id: id.clone() });
        }
    }
    for id in open_ends(others, history) {
        // Whatever it stands on was made before it, and ids sort by time.
        for (snapshot, reasons) in history.snapshots.iter().zip(&mut *keep) {
            if *snapshot.id < *id {
                reasons.push(KeepReason::MayBeNeededBy { id: id.to_owned() });
            }
        }
    }
}

/// The damaged snapshots at which chains of others break off and of which nobody knows what they stand on.
fn open_ends<'a>(others: &'a Others, history: &'a History) -> BTreeSet<&'a str> {
    let mut pending: Vec<&str> = (0..history.snapshots.len()).filter_map(|at| history.break_of(at)).collect();
    let (mut passed, mut open) = (BTreeSet::new(), BTreeSet::new());
    while let Some(id) = pending.pop() {
        if !passed.insert(id) {
            continue;
        }
        match others.damaged.get(id) {
            Some(StandsOn::Unknown) => drop(open.insert(id)),
            Some(StandsOn::Base(base_id)) => match history.place_of(base_id) {
                Some(at) => pending.extend(history.break_of(at)),
                None => pending.push(base_id),
            },
            Some(StandsOn::Nothing) | None => {}
        }
    }
    open
}
