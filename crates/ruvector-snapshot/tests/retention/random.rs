//! Random histories with complete and broken chains around clock changes. The plan must agree with the oracle, and have
//! the properties that every plan must have.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use ruvector_snapshot::retention::plan;
use ruvector_snapshot::retention::{BaseRef, ExternalRefs, GroupBy};
use ruvector_snapshot::{ErrorKind, PrunePlan, PrunePolicy, Snapshot, SnapshotType, SourceInfo, Span};

use crate::{increment, later, moment, oracle, snapshot};

/// Time zones, and a moment at which clocks are changed there, or a day or a year ends.
const MOMENTS: [(&str, &str); 9] = [
    ("UTC", "2024-02-29T12:00:00Z"),
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("America/St_Johns", "2010-11-07T02:31:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
    ("Asia/Kathmandu", "2026-12-31T18:15:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
];

/// How far ahead of the clock a snapshot may be dated.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// The arguments of a plan.
#[derive(Debug, Clone)]
struct Case {
    snapshots: Vec<Snapshot>,
    external: ExternalRefs,
    policy: PrunePolicy,
    now: DateTime<Utc>,
}

impl Case {
    /// Returns the plan, or `None` if the policy is refused.
    fn plan(&self) -> Option<PrunePlan> {
        match plan(self.snapshots.clone(), &self.external, &self.policy, self.now) {
            Ok(plan) => Some(plan),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                None
            }
        }
    }
}

/// The distance of snapshots from the central moment. Most are before it.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Minutes,
    HalfHours,
    /// At about the same time of day.
    Days,
    Months,
    Years,
}

fn scale() -> impl Strategy<Value = Scale> {
    use Scale::*;
    select(vec![Minutes, HalfHours, Days, Months, Years])
}

fn distance(scale: Scale) -> BoxedStrategy<TimeDelta> {
    let seconds = match scale {
        Scale::Minutes => (-120i64..60).prop_map(|minutes| minutes * 60).boxed(),
        Scale::HalfHours => (-100i64..40).prop_map(|half_hours| half_hours * 1800).boxed(),
        Scale::Days => (-3i64..3, -4i64..4).prop_map(|(days, half_hours)| days * 86_400 + half_hours * 1800).boxed(),
        Scale::Months => (-100 * 86_400i64..10 * 86_400).boxed(),
        Scale::Years => (-1200 * 86_400i64..0).boxed(),
    };
    seconds.prop_map(TimeDelta::seconds).boxed()
}

/// Ids that an unusable snapshot can have. They sort before, between and after those of the others.
const UNUSABLE_IDS: [&str; 4] = ["4000-unusable", "8000-unusable", "c000-unusable", "lost"];

/// A base that is not chosen yet.
#[derive(Debug, Clone)]
enum Base {
    /// One of the snapshots, possibly the dependent itself.
    Snapshot(Index),
    /// One of [`UNUSABLE_IDS`], which may exist or not.
    Unusable(&'static str),
}

impl Base {
    fn id(&self, snapshot_id: impl Fn(usize) -> String, snapshots: usize) -> String {
        match self {
            Self::Snapshot(index) => snapshot_id(index.index(snapshots.max(1))),
            Self::Unusable(id) => (*id).to_owned(),
        }
    }
}

fn base() -> impl Strategy<Value = Base> {
    prop_oneof![8 => any::<Index>().prop_map(Base::Snapshot), 1 => select(UNUSABLE_IDS.to_vec()).prop_map(Base::Unusable)]
}

/// What is external to these snapshots. Often nothing.
fn external(ids: Vec<String>) -> impl Strategy<Value = ExternalRefs> {
    let pinned = vec(any::<Index>(), 0..3);
    let unusable_base = prop_oneof![
        1 => Just(BaseRef::Full),
        2 => base().prop_map(BaseRef::Base),
        1 => Just(BaseRef::Unreadable),
    ];
    let unusable = prop_oneof![
        1 => Just(BTreeMap::new()),
        1 => btree_map(select(UNUSABLE_IDS.to_vec()), unusable_base, 0..4),
    ];
    let uploads = prop_oneof![3 => Just(vec![]), 1 => vec(vec(base(), 0..3), 1..3)];
    let corrupt = prop_oneof![2 => Just(vec![]), 1 => vec(any::<Index>(), 1..4)];
    (pinned, unusable, uploads, corrupt, any::<bool>()).prop_map(
        move |(pinned, unusable, uploads, corrupt, is_unread)| {
            let chosen = |at: &Index| ids.get(at.index(ids.len().max(1))).cloned();
            let id_of = |base: &Base| base.id(|at| ids.get(at).cloned().unwrap_or_default(), ids.len());
            let unusable = unusable.iter().map(|(id, base)| {
                let base = match base {
                    BaseRef::Full => BaseRef::Full,
                    BaseRef::Base(base) => BaseRef::Base(id_of(base)),
                    BaseRef::Unreadable => BaseRef::Unreadable,
                };
                ((*id).to_owned(), base)
            });
            let unusable: BTreeMap<String, BaseRef<String>> = unusable.collect();
            let unreadable = unusable.iter().filter(|(_, base)| is_unread && **base == BaseRef::Unreadable);
            ExternalRefs {
                unread: unreadable.map(|(id, _)| id.clone()).collect(),
                pinned: pinned.iter().filter_map(chosen).collect(),
                corrupt: corrupt.iter().filter_map(chosen).collect(),
                unusable,
                uploads: uploads
                    .iter()
                    .zip(0..)
                    .map(|(bases, number)| (format!("upload-{number}"), bases.iter().map(id_of).collect()))
                    .collect(),
            }
        },
    )
}

/// Sources of which some differ only in one part, and some look alike as text. Often there is none.
fn source() -> impl Strategy<Value = SourceInfo> {
    let parts = [
        ("file", None, None, None),
        ("file", None, Some("db1"), None),
        ("memory", None, Some("db1"), None),
        ("memory", None, Some("db2"), None),
        ("file", None, Some("db1"), Some("/a.db")),
        ("custom", None, Some("db1"), Some("/a.db")),
        ("file", None, Some("db2"), Some("/a.db")),
        ("file", None, None, Some("/a.db")),
        ("file", Some("db1:/a.db"), Some("db1"), Some("/a.db")),
        ("memory", Some("db1:/a.db"), Some("db2"), Some("/b.db")),
    ];
    select(parts.to_vec()).prop_map(|(kind, name, host, path)| {
        let mut source = SourceInfo::new(kind, None);
        (source.name, source.host, source.path) =
            (name.map(str::to_owned), host.map(str::to_owned), path.map(str::to_owned));
        source
    })
}

fn group_by() -> impl Strategy<Value = GroupBy> {
    select(vec!["source", "name", "label:host", "label:none", "none"]).prop_map(|text| text.parse().unwrap())
}

fn history(around: &'static str, scale: Scale) -> impl Strategy<Value = Vec<Snapshot>> {
    let labels =
        select(vec![vec![], vec![("host", "db1")], vec![("host", "db2")], vec![("host", "db1"), ("keep", "")]]);
    let names = select(vec!["nightly", "hourly"]);
    let taken = (distance(scale), proptest::option::of(base()), labels, any::<[u8; 2]>(), names, source());
    vec(taken, 0..24).prop_map(move |taken| {
        let id = |at: usize| format!("{:02x}{:02x}-{at}", taken[at].3[0], taken[at].3[1]);
        let make = |at: usize| {
            let (distance, base, labels, _, name, source) = &taken[at];
            let mut made = snapshot(&id(at), moment(around) + *distance);
            (made.name, made.source) = ((*name).to_owned(), source.clone());
            made.labels = labels.iter().copied().collect();
            match base {
                None => made,
                Some(base) => increment(&base.id(id, taken.len()), made),
            }
        };
        (0..taken.len()).map(make).collect()
    })
}

fn span() -> impl Strategy<Value = Span> {
    let part = || prop_oneof![2 => Just(0u32), 1 => 1u32..3];
    let days = prop_oneof![3 => 0u32..4, 1 => 0u32..40];
    let spans = (part(), part(), days, prop_oneof![Just(0u32), 0u32..30]);
    spans.prop_map(|(years, months, days, hours)| Span { years, months, days, hours, ..Span::default() })
}

fn policy() -> impl Strategy<Value = PrunePolicy> {
    let count = || prop_oneof![2 => Just(0usize), 1 => 1usize..6];
    let counts = [count(), count(), count(), count(), count(), count(), count()];
    let within = proptest::option::weighted(
        0.3,
        span().prop_filter("an empty span is no rule", |span| *span != Span::default()),
    );
    let labels = vec(select(vec!["host", "host=db1", "keep", "keep=", "none"]), 0..2);
    (counts, within, labels, group_by()).prop_map(|(counts, keep_within, labels, group_by)| {
        let [keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_quarterly, keep_yearly] = counts;
        let keep_labels = labels.into_iter().map(|text| text.parse().unwrap()).collect();
        let mut policy = PrunePolicy::default().keep_last(keep_last).keep_hourly(keep_hourly).keep_daily(keep_daily);
        policy = policy.keep_weekly(keep_weekly).keep_monthly(keep_monthly);
        policy = policy.keep_quarterly(keep_quarterly).keep_yearly(keep_yearly);
        (policy.keep_within, policy.keep_labels, policy.group_by) = (keep_within, keep_labels, group_by);
        policy
    })
}

fn case() -> impl Strategy<Value = Case> {
    let elsewhere = prop_oneof![3 => Just(None), 1 => select(MOMENTS.to_vec()).prop_map(Some)];
    let parts =
        (select(MOMENTS.to_vec()), elsewhere, scale()).prop_flat_map(|((time_zone, around), elsewhere, scale)| {
            let time_zone = elsewhere.map_or(time_zone, |(time_zone, _)| time_zone);
            // After the newest snapshot, or between them.
            let now =
                prop_oneof![Just(None), distance(scale).prop_map(move |distance| Some(moment(around) + distance))];
            (Just(time_zone), history(around, scale), policy(), now)
        });
    let parts = parts.prop_flat_map(|(time_zone, snapshots, policy, now)| {
        let ids = snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
        (Just(time_zone), Just(snapshots), external(ids), Just(policy), Just(now))
    });
    parts.prop_map(|(time_zone, snapshots, external, policy, now)| Case {
        snapshots,
        external,
        policy: policy.time_zone(time_zone.parse().unwrap()),
        now: now.unwrap_or_else(later),
    })
}

fn kept_ids(plan: &PrunePlan) -> BTreeSet<String> {
    plan.keep.iter().map(|kept| kept.snapshot.id.clone()).collect()
}

fn dropped_ids(plan: &PrunePlan) -> Vec<String> {
    plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect()
}

fn base_id(snapshot: &Snapshot) -> Option<&String> {
    match &snapshot.snapshot_type {
        SnapshotType::Full => None,
        SnapshotType::Incremental { base_id } => Some(base_id),
    }
}

/// Returns the rules of both policies, in the time zone and for the groups of the first.
fn both(first: &PrunePolicy, second: &PrunePolicy) -> PrunePolicy {
    let mut both = PrunePolicy::default()
        .keep_last(first.keep_last.max(second.keep_last))
        .keep_hourly(first.keep_hourly.max(second.keep_hourly))
        .keep_daily(first.keep_daily.max(second.keep_daily))
        .keep_weekly(first.keep_weekly.max(second.keep_weekly))
        .keep_monthly(first.keep_monthly.max(second.keep_monthly))
        .keep_quarterly(first.keep_quarterly.max(second.keep_quarterly))
        .keep_yearly(first.keep_yearly.max(second.keep_yearly));
    both.keep_within = first.keep_within.or(second.keep_within);
    both.keep_labels = [first.keep_labels.clone(), second.keep_labels.clone()].concat();
    (both.time_zone, both.group_by) = (first.time_zone.clone(), first.group_by.clone());
    both
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_agrees_with_the_oracle(case in case()) {
        let expected = oracle::kept(&case.snapshots, &case.external, &case.policy, case.now);
        let Some(plan) = case.plan() else {
            let no_rule = PrunePolicy::default().group_by(case.policy.group_by.clone());
            let is_empty = case.policy == no_rule.time_zone(case.policy.time_zone.clone());
            let lacks_label = oracle::lacks_label(&case.snapshots, &case.policy.group_by);
            let keeps_restorable =
                oracle::keeps_what_can_be_restored(&case.snapshots, &case.external, &case.policy, case.now, &expected);
            prop_assert!(is_empty || lacks_label || !keeps_restorable, "refused, but it keeps {:?}", expected);
            return Ok(());
        };
        prop_assert!(!oracle::lacks_label(&case.snapshots, &case.policy.group_by));
        prop_assert!(oracle::keeps_what_can_be_restored(&case.snapshots, &case.external, &case.policy, case.now, &expected));
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for kept in &plan.keep {
            // In a cycle any id can be named as the one where the chain is broken.
            let generic = |reason: String| match reason.starts_with("chain broken at ") {
                true => "chain broken".to_owned(),
                false => reason,
            };
            let reasons: BTreeSet<_> = kept.reasons.iter().map(|reason| generic(reason.to_string())).collect();
            found.insert(kept.snapshot.id.clone(), reasons);
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn every_snapshot_is_kept_or_dropped_for_a_reason(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let kept = plan.keep.iter().map(|kept| kept.snapshot.clone());
        let dropped = plan.drop.iter().map(|dropped| dropped.snapshot.clone());
        let mut planned: Vec<_> = kept.chain(dropped).collect();
        let mut given = case.snapshots.clone();
        planned.sort_by(|a, b| a.id.cmp(&b.id));
        given.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(planned, given);
        prop_assert!(plan.keep.iter().all(|kept| !kept.reasons.is_empty()));
        prop_assert!(plan.drop.iter().all(|dropped| !dropped.reasons.is_empty()));
        prop_assert!(plan.drop.iter().all(|dropped| dropped.snapshot.created_at <= case.now + TOLERANCE));
        let age = |kept: &ruvector_snapshot::KeptSnapshot| oracle::age(&kept.snapshot);
        prop_assert!(plan.keep.iter().rev().map(age).is_sorted());
    }

    #[test]
    fn the_groups_of_a_plan_are_complete_and_have_nothing_in_common(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        prop_assert_eq!(&plan.group_by, &case.policy.group_by);
        let snapshot = |id: &String| case.snapshots.iter().find(|snapshot| snapshot.id == *id).unwrap();
        let group = |id: &String| oracle::group(snapshot(id), &case.policy.group_by);
        let (mut seen, mut keep, mut drop) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for planned in &plan.groups {
            let members: BTreeSet<String> = planned.keep.iter().chain(&planned.drop).map(group).collect();
            prop_assert_eq!(members.len(), 1, "{:?}", planned);
            prop_assert!(seen.insert(members.into_iter().next()), "a group occurs twice: {:?}", plan.groups);
            for ids in [&planned.keep, &planned.drop] {
                prop_assert!(ids.iter().rev().map(|id| oracle::age(snapshot(id))).is_sorted());
            }
            keep.extend(planned.keep.iter().cloned());
            drop.extend(planned.drop.iter().cloned());
        }
        prop_assert_eq!(keep, kept_ids(&plan));
        prop_assert_eq!(drop, dropped_ids(&plan).into_iter().collect::<BTreeSet<_>>());
    }

    /// Without dependencies, each group is planned as if it were alone in the store.
    #[test]
    fn independent_groups_do_not_change_the_plans_of_each_other(mut case in case()) {
        case.external = ExternalRefs { pinned: case.external.pinned, corrupt: case.external.corrupt, ..ExternalRefs::default() };
        case.snapshots.iter_mut().for_each(|snapshot| snapshot.snapshot_type = SnapshotType::Full);
        let Some(plan) = case.plan() else { return Ok(()) };
        for planned in &plan.groups {
            let members = planned.keep.iter().chain(&planned.drop);
            let members = members.map(|id| case.snapshots.iter().find(|snapshot| snapshot.id == *id).unwrap().clone());
            let members: Vec<Snapshot> = members.collect();
            // In a store of their own, snapshots without the label are refused.
            if oracle::lacks_label(&members, &case.policy.group_by) {
                continue;
            }
            let alone = Case { snapshots: members, ..case.clone() }.plan().unwrap();
            prop_assert_eq!(&alone.groups, std::slice::from_ref(planned));
        }
    }

    #[test]
    fn no_step_of_a_prune_deletes_the_base_of_an_existing_snapshot(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let mut left: BTreeSet<String> = case.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
        for id in dropped_ids(&plan) {
            left.remove(&id);
            let depends_on_it = |snapshot: &&Snapshot| left.contains(&snapshot.id) && base_id(snapshot) == Some(&id);
            prop_assert_eq!(case.snapshots.iter().find(depends_on_it), None, "{} is deleted first", id);
        }
        prop_assert_eq!(left, kept_ids(&plan));
    }

    /// The names matter only if snapshots are grouped by them.
    #[test]
    fn the_order_and_the_names_of_snapshots_do_not_matter(case in case(), turn in any::<Index>(), name in "[a-z]{1,8}") {
        let Some(plan) = case.plan() else { return Ok(()) };
        let mut other = case.clone();
        other.snapshots.rotate_left(turn.index(case.snapshots.len().max(1)));
        prop_assert!(other.plan().as_ref() == Some(&plan));
        other.snapshots.reverse();
        prop_assert!(other.plan().as_ref() == Some(&plan));
        if case.policy.group_by == GroupBy::Name {
            return Ok(());
        }
        for (at, snapshot) in other.snapshots.iter_mut().enumerate() {
            snapshot.name = if at % 3 == 0 { "latest".to_owned() } else { format!("{name}{at}") };
        }
        let renamed = other.plan().unwrap();
        prop_assert_eq!((kept_ids(&renamed), dropped_ids(&renamed)), (kept_ids(&plan), dropped_ids(&plan)));
    }

    /// The passing of time changes a plan only when a snapshot is no longer in the future.
    #[test]
    fn the_current_time_matters_only_if_it_passes_a_snapshot(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let times = || case.snapshots.iter().map(|snapshot| snapshot.created_at);
        let earliest = times().filter(|time| *time <= case.now + TOLERANCE).max().map(|time| time - TOLERANCE);
        let earliest = earliest.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let latest = times().filter(|time| *time > case.now + TOLERANCE).min();
        let latest = latest.map(|time| time - TOLERANCE - TimeDelta::nanoseconds(1));
        for now in [earliest, latest.unwrap_or(DateTime::<Utc>::MAX_UTC)] {
            prop_assert!(Case { now, ..case.clone() }.plan().as_ref() == Some(&plan), "at {}", now);
        }
    }

    #[test]
    fn more_rules_and_pins_keep_no_less(case in case(), more in policy(), pin in any::<Index>()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let mut wider = case.clone();
        wider.policy = both(&case.policy, &more);
        wider.external.pinned.extend(case.snapshots.get(pin.index(case.snapshots.len().max(1))).map(|pinned| pinned.id.clone()));
        prop_assert!(kept_ids(&plan).is_subset(&kept_ids(&wider.plan().unwrap())));
    }

    #[test]
    fn a_second_prune_has_nothing_to_do(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let snapshots = plan.keep.into_iter().map(|kept| kept.snapshot).collect();
        let again = Case { snapshots, ..case }.plan().unwrap();
        prop_assert_eq!(dropped_ids(&again), Vec::<String>::new());
    }
}
