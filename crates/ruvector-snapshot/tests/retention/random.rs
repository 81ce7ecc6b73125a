//! Random histories, with chains that are whole and chains that are not, around the moments at which clocks are
//! changed: the plan is what the oracle says, and has the properties that any plan must have.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use ruvector_snapshot::manager::retention::plan;
use ruvector_snapshot::{ErrorKind, Others, PrunePlan, PrunePolicy, Snapshot, SnapshotType, Span};

use crate::{later, moment, on, oracle, snapshot};

/// Moments at which clocks are changed in a time zone, or a day or a year ends there.
const MOMENTS: [(Tz, &str); 9] = [
    (Tz::UTC, "2024-02-29T12:00:00Z"),
    (Tz::Europe__Berlin, "2026-03-29T01:00:00Z"),
    (Tz::Europe__Berlin, "2026-10-25T01:00:00Z"),
    (Tz::America__New_York, "2026-11-01T06:00:00Z"),
    (Tz::America__St_Johns, "2010-11-07T02:31:00Z"),
    (Tz::America__Sao_Paulo, "2018-02-18T02:00:00Z"),
    (Tz::Asia__Kathmandu, "2026-12-31T18:15:00Z"),
    (Tz::Australia__Lord_Howe, "2026-04-04T15:00:00Z"),
    (Tz::Pacific__Apia, "2011-12-30T10:00:00Z"),
];

/// All that a plan is made from.
#[derive(Debug, Clone)]
struct Case {
    snapshots: Vec<Snapshot>,
    pinned: BTreeSet<String>,
    policy: PrunePolicy,
    now: DateTime<Utc>,
}

impl Case {
    /// The plan; `None` where the policy is refused.
    fn plan(&self) -> Option<PrunePlan> {
        let others = Others { pinned: self.pinned.clone(), ..Others::default() };
        match plan(self.snapshots.clone(), &others, &self.policy, self.now) {
            Ok(plan) => Some(plan),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                None
            }
        }
    }
}

/// How far from the moment around which it all happens, before it more often than after.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Minutes,
    HalfHours,
    /// At about the same time of the day.
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

/// What a snapshot stands on: nothing, one of the others or itself, or one that is not there.
fn base() -> impl Strategy<Value = Option<Option<Index>>> {
    prop_oneof![6 => Just(None), 6 => any::<Index>().prop_map(|base| Some(Some(base))), 1 => Just(Some(None))]
}

fn history(around: &'static str, scale: Scale) -> impl Strategy<Value = Vec<Snapshot>> {
    let labels =
        select(vec![vec![], vec![("host", "db1")], vec![("host", "db2")], vec![("host", "db1"), ("keep", "")]]);
    let taken = (distance(scale), base(), labels, any::<[u8; 2]>());
    vec(taken, 0..24).prop_map(move |taken| {
        let id = |at: usize| format!("{:02x}{:02x}-{at}", taken[at].3[0], taken[at].3[1]);
        let make = |at: usize| {
            let (distance, base, labels, _) = &taken[at];
            let mut made = snapshot(&id(at), moment(around) + *distance);
            made.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            match base {
                None => made,
                Some(None) => on("lost", made),
                Some(Some(base)) => on(&id(base.index(taken.len())), made),
            }
        };
        (0..taken.len()).map(make).collect()
    })
}

fn span() -> impl Strategy<Value = Span> {
    let part = || prop_oneof![2 => Just(0u32), 1 => 1u32..3];
    let days = prop_oneof![3 => 0u32..4, 1 => 0u32..40];
    let spans = (part(), part(), days, prop_oneof![Just(0u32), 0u32..30]);
    spans.prop_map(|(years, months, days, hours)| Span { years, months, days, hours })
}

fn policy() -> impl Strategy<Value = PrunePolicy> {
    let count = || prop_oneof![2 => Just(0usize), 1 => 1usize..6];
    let counts = [count(), count(), count(), count(), count(), count(), count()];
    let within = proptest::option::weighted(
        0.3,
        span().prop_filter("an empty span is no rule", |span| *span != Span::default()),
    );
    let labels = vec(select(vec!["host", "host=db1", "keep", "keep=", "none"]), 0..2);
    (counts, within, labels).prop_map(|(counts, keep_within, labels)| {
        let [keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_quarterly, keep_yearly] = counts;
        let keep_labels = labels.into_iter().map(|text| text.parse().unwrap()).collect();
        PrunePolicy {
            keep_last,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_quarterly,
            keep_yearly,
            keep_within,
            keep_labels,
            ..PrunePolicy::default()
        }
    })
}

fn case() -> impl Strategy<Value = Case> {
    let elsewhere = prop_oneof![3 => Just(None), 1 => select(MOMENTS.to_vec()).prop_map(Some)];
    let parts =
        (select(MOMENTS.to_vec()), elsewhere, scale()).prop_flat_map(|((time_zone, around), elsewhere, scale)| {
            let time_zone = elsewhere.map_or(time_zone, |(time_zone, _)| time_zone);
            // After the newest, or at some time among them.
            let now =
                prop_oneof![Just(None), distance(scale).prop_map(move |distance| Some(moment(around) + distance))];
            (Just(time_zone), history(around, scale), policy(), vec(any::<Index>(), 0..3), now)
        });
    parts.prop_map(|(time_zone, snapshots, policy, pins, now)| {
        let pin = |pin: &Index| snapshots.get(pin.index(snapshots.len().max(1))).map(|pinned| pinned.id.clone());
        let pinned = pins.iter().filter_map(pin).collect();
        Case { snapshots, pinned, policy: PrunePolicy { time_zone, ..policy }, now: now.unwrap_or_else(later) }
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

/// The rules of both, in the time zone of the first.
fn both(first: &PrunePolicy, second: &PrunePolicy) -> PrunePolicy {
    PrunePolicy {
        keep_last: first.keep_last.max(second.keep_last),
        keep_hourly: first.keep_hourly.max(second.keep_hourly),
        keep_daily: first.keep_daily.max(second.keep_daily),
        keep_weekly: first.keep_weekly.max(second.keep_weekly),
        keep_monthly: first.keep_monthly.max(second.keep_monthly),
        keep_quarterly: first.keep_quarterly.max(second.keep_quarterly),
        keep_yearly: first.keep_yearly.max(second.keep_yearly),
        keep_within: first.keep_within.or(second.keep_within),
        keep_labels: [first.keep_labels.clone(), second.keep_labels.clone()].concat(),
        time_zone: first.time_zone,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_is_what_the_oracle_says(case in case()) {
        let expected = oracle::kept(&case.snapshots, &case.pinned, &case.policy, case.now);
        let Some(plan) = case.plan() else {
            let is_empty = case.policy == PrunePolicy { time_zone: case.policy.time_zone, ..PrunePolicy::default() };
            let is_of_use = oracle::keeps_what_can_be_restored(&case.snapshots, &expected);
            prop_assert!(is_empty || !is_of_use, "refused, but it keeps {:?}", expected);
            return Ok(());
        };
        prop_assert!(oracle::keeps_what_can_be_restored(&case.snapshots, &expected));
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for kept in &plan.keep {
            // At which id a chain breaks off is a matter of where one begins to look.
            let words = |reason: String| match reason.starts_with("chain broken at ") {
                true => "chain broken".to_owned(),
                false => reason,
            };
            let reasons: BTreeSet<_> = kept.reasons.iter().map(|reason| words(reason.to_string())).collect();
            found.insert(kept.snapshot.id.clone(), reasons);
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn every_snapshot_is_kept_or_dropped_and_tells_why(case in case()) {
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
        prop_assert!(plan.drop.iter().all(|dropped| dropped.snapshot.created_at <= case.now));
        let age = |kept: &ruvector_snapshot::Kept| oracle::age(&kept.snapshot);
        prop_assert!(plan.keep.iter().rev().map(age).is_sorted());
    }

    #[test]
    fn at_no_step_of_a_clean_up_does_a_snapshot_lose_its_base(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let mut left: BTreeSet<String> = case.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
        for id in dropped_ids(&plan) {
            left.remove(&id);
            let stands_on_it = |snapshot: &&Snapshot| left.contains(&snapshot.id) && base_id(snapshot) == Some(&id);
            prop_assert_eq!(case.snapshots.iter().find(stands_on_it), None, "{} went first", id);
        }
        prop_assert_eq!(left, kept_ids(&plan));
    }

    #[test]
    fn neither_the_order_nor_the_names_matter(case in case(), turn in any::<Index>(), name in "[a-z]{1,8}") {
        let Some(plan) = case.plan() else { return Ok(()) };
        let mut other = case.clone();
        other.snapshots.rotate_left(turn.index(case.snapshots.len().max(1)));
        prop_assert!(other.plan().as_ref() == Some(&plan));
        other.snapshots.reverse();
        prop_assert!(other.plan().as_ref() == Some(&plan));
        for (at, snapshot) in other.snapshots.iter_mut().enumerate() {
            snapshot.name = if at % 3 == 0 { "latest".to_owned() } else { format!("{name}{at}") };
        }
        let renamed = other.plan().unwrap();
        prop_assert_eq!((kept_ids(&renamed), dropped_ids(&renamed)), (kept_ids(&plan), dropped_ids(&plan)));
    }

    /// Time alone drops nothing: only a snapshot that now lies in the past may make a difference.
    #[test]
    fn the_time_now_matters_only_where_it_passes_a_snapshot(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let times = || case.snapshots.iter().map(|snapshot| snapshot.created_at);
        let earliest = times().filter(|time| *time <= case.now).max().unwrap_or(DateTime::<Utc>::MIN_UTC);
        let latest = times().filter(|time| *time > case.now).min().map(|time| time - TimeDelta::nanoseconds(1));
        for now in [earliest, latest.unwrap_or(DateTime::<Utc>::MAX_UTC)] {
            prop_assert!(Case { now, ..case.clone() }.plan().as_ref() == Some(&plan), "at {}", now);
        }
    }

    #[test]
    fn one_more_rule_drops_nothing_that_was_kept(case in case(), more in policy(), pin in any::<Index>()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let mut wider = case.clone();
        wider.policy = both(&case.policy, &more);
        wider.pinned.extend(case.snapshots.get(pin.index(case.snapshots.len().max(1))).map(|pinned| pinned.id.clone()));
        prop_assert!(kept_ids(&plan).is_subset(&kept_ids(&wider.plan().unwrap())));
    }

    /// What a clean-up leaves, the same clean-up leaves again.
    #[test]
    fn a_second_clean_up_finds_nothing_to_do(case in case()) {
        let Some(plan) = case.plan() else { return Ok(()) };
        let snapshots = plan.keep.into_iter().map(|kept| kept.snapshot).collect();
        let again = Case { snapshots, ..case }.plan().unwrap();
        prop_assert_eq!(dropped_ids(&again), Vec::<String>::new());
    }
}
