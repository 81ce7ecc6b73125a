//! What must be kept, and why, told in the slowest and plainest way: every rule asks about every snapshot by itself,
//! and counts what it needs from the start. Shares no code with the library.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{
    DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Timelike as _, Utc,
};
use chrono_tz::Tz;
use ruvector_snapshot::{PrunePolicy, Snapshot, SnapshotType, Span};

/// The name of the period that a moment lies in.
type NameOf = fn(DateTime<Tz>) -> String;

/// The ids that must be kept, each with all reasons in words.
pub(crate) fn kept(
    snapshots: &[Snapshot],
    pinned: &BTreeSet<String>,
    policy: &PrunePolicy,
    now: DateTime<Utc>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut kept = BTreeMap::new();
    for snapshot in snapshots {
        let mut reasons = BTreeSet::new();
        if pinned.contains(&snapshot.id) {
            reasons.insert("pinned".to_owned());
        }
        if snapshot.created_at > now {
            reasons.insert("dated in the future".to_owned());
        }
        if !is_restorable(snapshots, snapshot) {
            reasons.insert("chain broken".to_owned());
        }
        if counts(snapshots, snapshot, now) {
            reasons.extend(by_rules(snapshots, snapshot, policy, now));
        }
        if !reasons.is_empty() {
            kept.insert(snapshot.id.clone(), reasons);
        }
    }
    add_bases(snapshots, &mut kept);
    kept
}

/// Whether there is one among what is kept that can be restored, or none at all that can.
pub(crate) fn keeps_what_can_be_restored(snapshots: &[Snapshot], kept: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let mut restorable = snapshots.iter().filter(|snapshot| is_restorable(snapshots, snapshot)).peekable();
    restorable.peek().is_none() || restorable.any(|snapshot| kept.contains_key(&snapshot.id))
}

/// What snapshots are ordered by, the newest last.
pub(crate) fn age(snapshot: &Snapshot) -> (DateTime<Utc>, bool, String) {
    (snapshot.created_at, snapshot.snapshot_type == SnapshotType::Full, snapshot.id.clone())
}

/// Whether the snapshot takes part in the rules.
fn counts(snapshots: &[Snapshot], snapshot: &Snapshot, now: DateTime<Utc>) -> bool {
    snapshot.created_at <= now && is_restorable(snapshots, snapshot)
}

/// Follows the bases; after as many steps as there are snapshots it is a circle.
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

fn by_rules(snapshots: &[Snapshot], snapshot: &Snapshot, policy: &PrunePolicy, now: DateTime<Utc>) -> Vec<String> {
    let counted: Vec<&Snapshot> = snapshots.iter().filter(|other| counts(snapshots, other, now)).collect();
    let newer: Vec<_> = counted.iter().filter(|other| age(other) > age(snapshot)).collect();
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
        let name = |snapshot: &Snapshot| name_of(snapshot.created_at.with_timezone(&policy.time_zone));
        let newer_names: BTreeSet<String> = newer.iter().map(|other| name(other)).collect();
        if !newer_names.contains(&name(snapshot)) && newer_names.len() < count {
            reasons.push(format!("{rule} {}", name(snapshot)));
        }
    }
    if let Some(span) = policy.keep_within {
        let newest = counted.iter().map(|other| other.created_at).max().unwrap();
        if snapshot.created_at >= before(newest, span, policy.time_zone) {
            reasons.push(format!("within {span}"));
        }
    }
    for pattern in &policy.keep_labels {
        let is_meant = |(key, value): (&String, &String)| {
            *key == pattern.key && (pattern.value.is_none() || pattern.value.as_ref() == Some(value))
        };
        if snapshot.labels.iter().any(is_meant) {
            reasons.push(format!("label {pattern}"));
        }
    }
    reasons
}

/// Adds what any kept snapshot stands on, until there is nothing to add.
fn add_bases(snapshots: &[Snapshot], kept: &mut BTreeMap<String, BTreeSet<String>>) {
    loop {
        let before = kept.clone();
        for snapshot in snapshots.iter().filter(|snapshot| before.contains_key(&snapshot.id)) {
            if let SnapshotType::Incremental { base_id } = &snapshot.snapshot_type
                && snapshots.iter().any(|other| other.id == *base_id)
            {
                kept.entry(base_id.clone()).or_default().insert(format!("base of {}", snapshot.id));
            }
        }
        if *kept == before {
            return;
        }
    }
}

fn hour(time: DateTime<Tz>) -> String {
    let minutes = time.offset().fix().local_minus_utc() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    format!("{} {:02}:00 {sign}{hours:02}:{minutes:02}", day(time), time.hour())
}

fn day(time: DateTime<Tz>) -> String {
    format!("{}-{:02}", month(time), time.day())
}

/// The week of a day has the year in which its Thursday lies, and is the Thursday's number in that year.
fn week(time: DateTime<Tz>) -> String {
    let date = NaiveDate::from_ymd_opt(time.year(), time.month(), time.day()).unwrap();
    let monday = date - Days::new(date.weekday().num_days_from_monday().into());
    let thursday = monday + Days::new(3);
    format!("{:04}-W{:02}", thursday.year(), thursday.ordinal0() / 7 + 1)
}

fn month(time: DateTime<Tz>) -> String {
    format!("{:04}-{:02}", time.year(), time.month())
}

fn quarter(time: DateTime<Tz>) -> String {
    let quarter = match time.month() {
        1..=3 => 1,
        4..=6 => 2,
        7..=9 => 3,
        _ => 4,
    };
    format!("{:04}-Q{quarter}", time.year())
}

/// Goes back month by month, then day by day, then looks which moment the local time there is.
fn before(newest: DateTime<Utc>, span: Span, time_zone: Tz) -> DateTime<Utc> {
    let hours = TimeDelta::hours(span.hours.into());
    let local = newest.with_timezone(&time_zone).naive_local();
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

/// Tries every distance from UTC that the time zone has around then. One that is skipped is none of them; then it is
/// the earliest that comes out.
fn earliest(local: NaiveDateTime, time_zone: Tz) -> DateTime<Utc> {
    let hours = (-36..=36).map(|hours| local.and_utc() + TimeDelta::hours(hours));
    let moments: BTreeSet<DateTime<Utc>> = hours
        .map(|moment| time_zone.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc())
        .map(|seconds| local.and_utc() - TimeDelta::seconds(seconds.into()))
        .collect();
    let is_it = |moment: &&DateTime<Utc>| moment.with_timezone(&time_zone).naive_local() == local;
    *moments.iter().find(is_it).or(moments.first()).unwrap()
}
