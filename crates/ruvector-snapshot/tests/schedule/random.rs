//! Random schedules, moments and histories.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use ruvector_snapshot::schedule::{Decision, JobState, Missed, Schedule, When, decide};

use crate::{moment, when};

const TIME_ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Africa/Casablanca",
];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// When clocks are changed.
const CHANGES: [(&str, &str); 8] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2027-03-14T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00:00Z"),
];

/// Moments of 2026 and 2027, half of them near a change of clocks.
fn any_moment() -> impl Strategy<Value = DateTime<Utc>> {
    let any = (0..63_000_000_000_i64).prop_map(|ms| moment("2026-01-01T00:00:00Z") + TimeDelta::milliseconds(ms));
    prop_oneof![any_change().prop_map(|(_, moment)| moment), any]
}

/// Time zones, each with a moment up to two days before or after a change of its clocks.
fn any_change() -> impl Strategy<Value = (&'static str, DateTime<Utc>)> {
    (prop::sample::select(CHANGES.to_vec()), -172_800_000..172_800_000_i64)
        .prop_map(|((time_zone, change), ms)| (time_zone, moment(change) + TimeDelta::milliseconds(ms)))
}

fn list(values: std::ops::Range<i8>) -> impl Strategy<Value = String> {
    btree_set(values, 1..4).prop_map(|values| values.iter().map(i8::to_string).collect::<Vec<_>>().join(","))
}

fn field(values: std::ops::Range<i8>) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("*".to_owned()),
        2 => list(values.clone()),
        1 => (2..20_u8).prop_map(|step| format!("*/{step}")),
    ]
}

fn any_when() -> impl Strategy<Value = When> {
    let days = prop_oneof![4 => Just("*".to_owned()), 1 => list(1..29), 1 => Just("L".to_owned())];
    let months = prop_oneof![4 => Just("*".to_owned()), 1 => list(1..13)];
    let weekdays = prop_oneof![4 => Just("*".to_owned()), 1 => list(0..8)];
    let fields = (field(0..60), field(0..24), days, months, weekdays, prop::sample::select(TIME_ZONES.to_vec()));
    let calendar =
        fields.prop_map(|(m, h, day, month, weekday, zone)| format!("{m} {h} {day} {month} {weekday} {zone}"));
    let interval = (1..2_000_000_u32).prop_map(|seconds| format!("every {seconds}s"));
    prop_oneof![3 => calendar, 1 => interval].prop_map(|text| when(&text))
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    (any_when(), 0..100_000_u64, any::<bool>(), 0..100_u64).prop_map(|(when, jitter_s, skip, first_wait_s)| {
        let schedule = Schedule::new(when).jitter(Duration::from_secs(jitter_s), "articles");
        let schedule = schedule.retry(Duration::from_secs(first_wait_s), Duration::from_secs(600));
        schedule.missed(if skip { Missed::Skip } else { Missed::RunOnce })
    })
}

#[test]
fn the_next_due_time_is_later_and_the_first() {
    proptest!(cases(600), |(when in any_when(), moment in any_moment(), share in 0.0..1.0)| {
        let due = when.next_after(moment).unwrap();
        prop_assert!(due > moment);
        prop_assert_eq!(due.timestamp_subsec_nanos(), 0);
        // From every moment before it, it is the next one as well.
        let between_ms = ((due - moment).num_milliseconds() as f64 * share) as i64;
        let between = (moment + TimeDelta::milliseconds(between_ms)).min(due - TimeDelta::nanoseconds(1));
        prop_assert_eq!(when.next_after(between), Some(due));
        prop_assert!(when.next_after(due).unwrap() > due);
        prop_assert_eq!(when.to_string().parse::<When>().unwrap(), when);
    });
}

/// Returns the minute of the day that a clock shows.
fn shown_minute(time_zone: &TimeZone, moment: DateTime<Utc>) -> i64 {
    let shown = time_zone.to_datetime(Timestamp::from_second(moment.timestamp()).unwrap());
    i64::from(shown.hour()) * 60 + i64::from(shown.minute())
}

/// Due times are those minutes at which the clock shows a time (recurring), or reaches or passes it for the first time on a day
/// (fixed).
#[test]
fn calendars_agree_with_a_clock_that_is_read_every_minute() {
    let fixed = (btree_set(0..60_i64, 1..4), btree_set(0..5_i64, 1..4));
    proptest!(cases(200), |((minutes, hours) in fixed, recurring: bool, (zone, start) in any_change())| {
        let start = DateTime::from_timestamp(start.timestamp().div_euclid(60) * 60, 0).unwrap();
        let time_zone = TimeZoneDatabase::bundled().get(zone).unwrap();
        let join = |values: &std::collections::BTreeSet<i64>| values.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        // A step of a range of one number makes the same times recurring.
        let hour_field = match recurring {
            true => hours.iter().map(|hour| format!("{hour}-{hour}/1")).collect::<Vec<_>>().join(","),
            false => join(&hours),
        };
        let when = when(&format!("{} {hour_field} * * * {zone}", join(&minutes)));
        let is_due = |minute: i64| minutes.contains(&(minute % 60)) && hours.contains(&(minute / 60));

        // Clocks are not changed near noon, so a day of the oracle starts then, and times of the morning after are due in it.
        let mut expected = Vec::new();
        let mut reached = -1;
        for minute in 0..3 * 24 * 60 {
            let moment = start - TimeDelta::days(1) + TimeDelta::minutes(minute);
            let shown = shown_minute(&time_zone, moment);
            let due = match recurring {
                true => is_due(shown),
                false => {
                    if shown >= 12 * 60 {
                        reached = -1;
                        continue;
                    }
                    let due = (reached + 1..=shown).any(is_due);
                    reached = reached.max(shown);
                    due
                }
            };
            if due && moment > start {
                expected.push(moment);
            }
        }
        let end = start + TimeDelta::days(2);
        let due: Vec<_> = when.due_times(start).take_while(|due| *due < end).collect();
        prop_assert_eq!(due, expected);
    });
}

#[test]
fn the_last_due_time_and_their_number_agree_with_all_of_them() {
    proptest!(cases(300), |(when in any_when(), after in any_moment(), seconds in 0..500_000_i64)| {
        let until = after + TimeDelta::seconds(seconds);
        let due: Vec<_> = when.due_times(after).take_while(|due| *due <= until).take(1001).collect();
        prop_assert_eq!(when.count_between(after, until), due.len().min(1000));
        if due.len() <= 1000 {
            prop_assert_eq!(when.last_between(after, until), due.last().copied());
        }
    });
}

#[test]
fn jitter_keeps_the_order_of_runs() {
    proptest!(cases(300), |(schedule in any_schedule(), after in any_moment())| {
        let due: Vec<_> = schedule.when.due_times(after).take(5).collect();
        for pair in due.windows(2) {
            let (start, half) = (schedule.start_of(pair[0]), (pair[1] - pair[0]) / 2);
            prop_assert!(start >= pair[0] && start <= pair[0] + half.min(TimeDelta::from_std(schedule.jitter).unwrap()));
            prop_assert!(start < schedule.start_of(pair[1]));
        }
    });
}

/// What happens to a job next.
#[derive(Debug, Clone)]
enum Event {
    TimePasses { seconds: i64 },
    ClockIsSetBack { seconds: i64 },
    RunSucceeds,
    RunFails,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..20_000_i64).prop_map(|seconds| Event::TimePasses { seconds }),
        1 => (0..2_000_000_i64).prop_map(|seconds| Event::TimePasses { seconds }),
        1 => (0..80_000_i64).prop_map(|seconds| Event::ClockIsSetBack { seconds }),
        3 => Just(Event::RunSucceeds),
        3 => Just(Event::RunFails),
    ]
}

#[test]
fn histories_of_a_job_keep_the_rules() {
    proptest!(cases(400), |(schedule in any_schedule(), start in any_moment(), events in vec(any_event(), 1..60))| {
        let (mut now, mut state) = (start, JobState::since(start));
        let mut last: Option<(DateTime<Utc>, u32)> = None;
        for event in events {
            match event {
                Event::TimePasses { seconds } => now += TimeDelta::seconds(seconds),
                Event::ClockIsSetBack { seconds } => now -= TimeDelta::seconds(seconds),
                Event::RunSucceeds if state.running => state.succeeded(),
                Event::RunFails if state.running => state.failed(&schedule.retry, now),
                Event::RunSucceeds | Event::RunFails => {}
            }
            match decide(&schedule, &state, now) {
                Decision::Wait { until } => prop_assert!(until > now, "a wait until {until} at {now}"),
                Decision::Never => prop_assert!(false, "every schedule of this test recurs"),
                Decision::Run { due, attempt, missed_runs } => {
                    prop_assert!(!state.running, "two runs at once");
                    match last {
                        _ if attempt == 1 => prop_assert!(last.is_none_or(|(last_due, _)| due > last_due), "{due} is run again"),
                        Some((last_due, last_attempt)) => prop_assert_eq!((due, attempt), (last_due, last_attempt + 1)),
                        None => prop_assert!(false, "a retry of nothing"),
                    }
                    if attempt == 1 {
                        prop_assert!(schedule.start_of(due) <= now);
                        prop_assert!(schedule.when.next_after(due).is_none_or(|next| next > now), "not the newest");
                        let passed = schedule.when.count_between(state.handled_until, now);
                        prop_assert_eq!(missed_runs, passed - 1);
                    }
                    last = Some((due, attempt));
                    state.started(due);
                }
            }
        }
    });
}

#[test]
fn no_text_and_no_moment_panics() {
    proptest!(cases(2000), |(text in "[ -~\u{e9}]{0,24}|(every |@daily )?[0-9*,/#LW-]{1,5}( [0-9*,/#LW-]{1,5}){0,5}", second: i64)| {
        let moment = DateTime::from_timestamp(second, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        if let Ok(when) = text.parse::<When>() {
            for moment in [moment, DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, DateTime::UNIX_EPOCH] {
                let _ = when.last_between(DateTime::<Utc>::MIN_UTC, moment);
                let _ = decide(&Schedule::new(when.clone()).jitter(Duration::MAX, ""), &JobState::since(moment), moment);
            }
        }
    });
}
