//! Decides which snapshots must be kept, and why, in a slow and simple way: every rule examines every snapshot on its
//! own, and counts from the start.
//!
//! Shares no code with the library. Calendar dates are computed with chrono. Only offsets from UTC come from jiff.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike as _, Days, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use ruvector_snapshot::retention::{BaseRef, ExternalRefs, GroupBy};
use ruvector_snapshot::{PrunePolicy, Snapshot, SnapshotType, Span};

/// Returns the name of the period that contains a local time.
type NameOf = fn(DateTime<FixedOffset>) -> String;

/// Returns the ids that must be kept, each with all reasons as text.
pub(crate) fn kept(
    snapshots: &[Snapshot],
    external: &ExternalRefs,
    policy: &PrunePolicy,
    now: DateTime<Utc>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut kept = BTreeMap::new();
    for snapshot in snapshots {
        let mut reasons = BTreeSet::new();
        if external.pinned.contains(&snapshot.id) {
            reasons.insert("pinned".to_owned());
        }
        if is_in_future(snapshot, now) {
            reasons.insert("dated in the future".to_owned());
        }
        if !is_restorable(snapshots, snapshot) {
            reasons.insert("chain broken".to_owned());
        }
        if external.corrupt.contains(&snapshot.id) {
            reasons.insert("found corrupt".to_owned());
        }
        if counts(snapshots, external, snapshot, now) {
            reasons.extend(by_rules(snapshots, external, snapshot, policy, now));
        }
        if !reasons.is_empty() {
            kept.insert(snapshot.id.clone(), reasons);
        }
    }
    add_external(snapshots, external, &mut kept);
    add_required(snapshots, external, &mut kept);
    kept
}

/// Returns whether every snapshot that rules count is kept, or another one of its group by a rule. A rule keeps the bases of
/// what it keeps, too.
pub(crate) fn keeps_what_can_be_restored(
    snapshots: &[Snapshot],
    external: &ExternalRefs,
    policy: &PrunePolicy,
    now: DateTime<Utc>,
    kept: &BTreeMap<String, BTreeSet<String>>,
) -> bool {
    let restorable = || snapshots.iter().filter(|snapshot| counts(snapshots, external, snapshot, now));
    let by_rule = restorable().filter(|one| !by_rules(snapshots, external, one, policy, now).is_empty());
    let mut by_rule: BTreeSet<String> = by_rule.map(|one| one.id.clone()).collect();
    for _ in snapshots {
        let bases: Vec<_> = by_rule.iter().filter_map(|id| base_of(snapshots, &ExternalRefs::default(), id)).collect();
        by_rule.extend(bases);
    }
    restorable().filter(|one| !kept.contains_key(&one.id)).all(|one| {
        let is_of_group = |other: &&Snapshot| group(other, &policy.group_by) == group(one, &policy.group_by);
        restorable().filter(is_of_group).any(|other| by_rule.contains(&other.id))
    })
}

/// Returns whether the snapshots are grouped by a label that none of them has.
pub(crate) fn lacks_label(snapshots: &[Snapshot], group_by: &GroupBy) -> bool {
    match group_by.to_string().strip_prefix("label:") {
        Some(key) => !snapshots.is_empty() && !snapshots.iter().any(|snapshot| snapshot.labels.contains_key(key)),
        None => false,
    }
}

/// Returns text that is the same for all snapshots of a group.
pub(crate) fn group(snapshot: &Snapshot, group_by: &GroupBy) -> String {
    match group_by.to_string().as_str() {
        "source" => match &snapshot.source.name {
            Some(name) => format!("{name:?}"),
            None => match &snapshot.source.path {
                Some(path) => format!("{:?}", (path, &snapshot.source.host)),
                None => format!("kind {}", snapshot.source.kind),
            },
        },
        "name" => snapshot.name.clone(),
        "none" => String::new(),
        label => format!("{:?}", snapshot.labels.get(label.strip_prefix("label:").unwrap())),
    }
}

/// Returns the sort key of a snapshot. The newest has the largest.
pub(crate) fn age(snapshot: &Snapshot) -> (DateTime<Utc>, bool, String) {
    (snapshot.created_at, snapshot.snapshot_type == SnapshotType::Full, snapshot.id.clone())
}

/// Returns whether the snapshot is dated more than five minutes after now.
fn is_in_future(snapshot: &Snapshot, now: DateTime<Utc>) -> bool {
    snapshot.created_at - now > TimeDelta::minutes(5)
}

/// Returns whether rules count the snapshot.
fn counts(snapshots: &[Snapshot], external: &ExternalRefs, snapshot: &Snapshot, now: DateTime<Utc>) -> bool {
    !external.corrupt.contains(&snapshot.id) && !is_in_future(snapshot, now) && is_restorable(snapshots, snapshot)
}

/// Follows the bases. After as many steps as there are snapshots, it is a cycle.
fn is_restorable(snapshots: &[Snapshot], snapshot: &Snapshot) -> bool {
    let mut at = snapshot;
    for _ in snapshots {
        match &at.snapshot_type {
            SnapshotType::Full => return true,
            SnapshotType::Incremental { base_id } => match snapshots.iter().find(|other| other.id == *base_id) {
                Some(base) => at = base,
                None => return false,
            },
        }
    }
    false
}

fn by_rules(
    snapshots: &[Snapshot],
    external: &ExternalRefs,
    snapshot: &Snapshot,
    policy: &PrunePolicy,
    now: DateTime<Utc>,
) -> Vec<String> {
    let is_of_group = |other: &&Snapshot| group(other, &policy.group_by) == group(snapshot, &policy.group_by);
    let counted = snapshots.iter().filter(is_of_group).filter(|other| counts(snapshots, external, other, now));
    let counted: Vec<&Snapshot> = counted.collect();
    let newer: Vec<_> = counted.iter().filter(|other| age(other) > age(snapshot)).collect();
    let time_zone = TimeZoneDatabase::bundled().get(policy.time_zone.name()).unwrap();
    let mut reasons = Vec::new();
    if newer.len() < policy.keep_last {
        reasons.push(format!("last {}", policy.keep_last));
    }
    let rules: [(&str, usize, NameOf); 6] = [
        ("hourly", policy.keep_hourly, hour),
        ("daily", policy.keep_daily, day),
        ("weekly", policy.keep_weekly, week),
        ("monthly", policy.keep_monthly, month),
        ("quarterly", policy.keep_quarterly, quarter),
        ("yearly", policy.keep_yearly, |time| format!("{:04}", time.year())),
    ];
    for (rule, count, name_of) in rules {
        let name = |snapshot: &Snapshot| name_of(local(snapshot.created_at, &time_zone));
        let newer_names: BTreeSet<String> = newer.iter().map(|other| name(other)).collect();
        if !newer_names.contains(&name(snapshot)) && newer_names.len() < count {
            reasons.push(format!("{rule} {}", name(snapshot)));
        }
    }
    if let Some(span) = policy.keep_within {
        let newest = counted.iter().map(|other| other.created_at).max().unwrap();
        if snapshot.created_at >= before(newest, span, &time_zone) {
            reasons.push(format!("within {span}"));
        }
    }
    for pattern in &policy.keep_labels {
        let matches = |(key, value): (&str, &str)| {
            key == pattern.key && pattern.value.as_ref().is_none_or(|wanted| wanted == value)
        };
        if snapshot.labels.iter().any(matches) {
            reasons.push(format!("label {pattern}"));
        }
    }
    reasons
}

/// Adds the direct bases of unusable snapshots and of uploads.
fn add_external(snapshots: &[Snapshot], external: &ExternalRefs, kept: &mut BTreeMap<String, BTreeSet<String>>) {
    let mut add = |base_id: &String, reason: String| {
        if snapshots.iter().any(|snapshot| snapshot.id == *base_id) {
            kept.entry(base_id.clone()).or_default().insert(reason);
        }
    };
    for (id, base) in &external.unusable {
        if let BaseRef::Base(base_id) = base {
            add(base_id, format!("base of {id}, which is corrupt"));
        }
    }
    for (id, base_ids) in &external.uploads {
        base_ids.iter().for_each(|base_id| add(base_id, format!("base of upload {id}")));
    }
}

/// Adds the bases of kept snapshots, and everything older than an unreadable base, until there is nothing to add.
fn add_required(snapshots: &[Snapshot], external: &ExternalRefs, kept: &mut BTreeMap<String, BTreeSet<String>>) {
    loop {
        let before = kept.clone();
        for snapshot in snapshots.iter().filter(|snapshot| before.contains_key(&snapshot.id)) {
            if let SnapshotType::Incremental { base_id } = &snapshot.snapshot_type
                && snapshots.iter().any(|other| other.id == *base_id)
            {
                kept.entry(base_id.clone()).or_default().insert(format!("base of {}", snapshot.id));
            }
        }
        let mut needed: BTreeSet<String> =
            external.uploads.values().flatten().chain(&external.unread).cloned().collect();
        needed.extend(before.keys().chain(external.unusable.keys()).filter_map(|id| base_of(snapshots, external, id)));
        for _ in 0..snapshots.len() + external.unusable.len() {
            let more: Vec<_> = needed.iter().filter_map(|id| base_of(snapshots, external, id)).collect();
            needed.extend(more);
        }
        for unreadable in needed.iter().filter(|id| external.unusable.get(*id) == Some(&BaseRef::Unreadable)) {
            for older in snapshots.iter().filter(|snapshot| snapshot.id < *unreadable) {
                let reason = format!("may be needed by {unreadable}, which cannot be read");
                kept.entry(older.id.clone()).or_default().insert(reason);
            }
        }
        if *kept == before {
            return;
        }
    }
}

fn base_of(snapshots: &[Snapshot], external: &ExternalRefs, id: &str) -> Option<String> {
    let usable = snapshots.iter().find(|snapshot| snapshot.id == id);
    match (usable.map(|snapshot| &snapshot.snapshot_type), external.unusable.get(id)) {
        (Some(SnapshotType::Incremental { base_id }), _) | (None, Some(BaseRef::Base(base_id))) => {
            Some(base_id.clone())
        }
        _ => None,
    }
}

fn hour(time: DateTime<FixedOffset>) -> String {
    let minutes = time.offset().local_minus_utc() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    format!("{} {:02}:00 {sign}{hours:02}:{minutes:02}", day(time), time.hour())
}

fn day(time: DateTime<FixedOffset>) -> String {
    format!("{}-{:02}", month(time), time.day())
}

/// The year of a week is that of its Thursday. The number of the week is the number of that Thursday in its year.
fn week(time: DateTime<FixedOffset>) -> String {
    let date = NaiveDate::from_ymd_opt(time.year(), time.month(), time.day()).unwrap();
    let monday = date - Days::new(date.weekday().num_days_from_monday().into());
    let thursday = monday + Days::new(3);
    format!("{:04}-W{:02}", thursday.year(), thursday.ordinal0() / 7 + 1)
}

fn month(time: DateTime<FixedOffset>) -> String {
    format!("{:04}-{:02}", time.year(), time.month())
}

fn quarter(time: DateTime<FixedOffset>) -> String {
    let quarter = match time.month() {
        1..=3 => 1,
        4..=6 => 2,
        7..=9 => 3,
        _ => 4,
    };
    format!("{:04}-Q{quarter}", time.year())
}

/// Goes back month by month, then day by day, then finds the moment of the local time there.
fn before(newest: DateTime<Utc>, span: Span, time_zone: &TimeZone) -> DateTime<Utc> {
    let hours = TimeDelta::hours(span.hours.into());
    let local = local(newest, time_zone).naive_local();
    let (mut year, mut month) = (local.year(), local.month());
    for _ in 0..span.years * 12 + span.months {
        (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
    }
    let mut date = (1..=local.day()).rev().find_map(|day| NaiveDate::from_ymd_opt(year, month, day)).unwrap();
    for _ in 0..span.days {
        date = date.pred_opt().unwrap();
    }
    let earlier = date.and_time(local.time());
    let start = if earlier == local { newest } else { earliest(earlier, time_zone) };
    start - hours
}

/// Tries every offset from UTC that the time zone has around this local time. If the local time is skipped, none of
/// them fits, and the earliest result counts.
fn earliest(searched: NaiveDateTime, time_zone: &TimeZone) -> DateTime<Utc> {
    let hours = (-36..=36).map(|hours| searched.and_utc() + TimeDelta::hours(hours));
    let moments: BTreeSet<DateTime<Utc>> = hours
        .map(|moment| local(moment, time_zone).offset().local_minus_utc())
        .map(|seconds| searched.and_utc() - TimeDelta::seconds(seconds.into()))
        .collect();
    let is_it = |moment: &&DateTime<Utc>| local(**moment, time_zone).naive_local() == searched;
    *moments.iter().find(is_it).or(moments.first()).unwrap()
}

fn local(moment: DateTime<Utc>, time_zone: &TimeZone) -> DateTime<FixedOffset> {
    let offset = time_zone.to_offset(Timestamp::from_second(moment.timestamp()).unwrap());
    moment.with_timezone(&FixedOffset::east_opt(offset.seconds()).unwrap())
}
