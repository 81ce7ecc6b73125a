//! Where hours, days, weeks and years begin and end, in time zones with clock changes, with offsets of a quarter of an
//! hour, and with a day that does not exist.

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use ruvector_snapshot::PrunePolicy;
use ruvector_snapshot::retention::{ExternalRefs, plan};

use crate::{assert_table, lines, moment, planned, snapshot};

fn daily(time_zone: &str) -> PrunePolicy {
    PrunePolicy::default().keep_daily(9).time_zone(time_zone.parse().unwrap())
}

fn within(span: &str, time_zone: &str) -> PrunePolicy {
    PrunePolicy::default().keep_within(span.parse().unwrap()).time_zone(time_zone.parse().unwrap())
}

/// Returns how many hours and how many days of `day` are kept by an hourly and a daily rule, if a snapshot is taken
/// every ten minutes from noon of the day before.
fn hours_and_days(time_zone: &str, noon_before: &str, day: &str) -> (usize, usize) {
    let taken = (0..288).map(|step| moment(noon_before) + TimeDelta::minutes(10 * step));
    let snapshots: Vec<_> = taken.map(|taken| snapshot(&taken.to_rfc3339(), taken)).collect();
    let count = |policy: &PrunePolicy, start: &str| {
        let lines = lines(&planned(snapshots.clone(), policy).unwrap());
        lines.iter().filter(|line| line.starts_with("keep") && line.contains(start)).count()
    };
    let hourly = PrunePolicy::default().keep_hourly(99).time_zone(time_zone.parse().unwrap());
    (count(&hourly, &format!("hourly {day}")), count(&daily(time_zone), &format!("daily {day}")))
}

#[test]
fn a_day_has_23_24_or_25_hours() {
    for (time_zone, noon_before, day, hours) in [
        ("UTC", "2026-03-28T12:00:00Z", "2026-03-29", 24),
        ("Europe/Berlin", "2026-03-27T12:00:00+01:00", "2026-03-28", 24),
        ("Europe/Berlin", "2026-03-28T12:00:00+01:00", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-24T12:00:00+02:00", "2026-10-25", 25),
        ("America/New_York", "2026-03-07T12:00:00-05:00", "2026-03-08", 23),
        ("America/New_York", "2026-10-31T12:00:00-04:00", "2026-11-01", 25),
        ("Asia/Kathmandu", "2026-03-28T12:00:00+05:45", "2026-03-29", 24),
        ("Pacific/Apia", "2011-12-28T12:00:00-10:00", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31", 24),
    ] {
        assert_eq!(hours_and_days(time_zone, noon_before, day), (hours, 1), "{time_zone} {day}");
    }
    assert_eq!(hours_and_days("Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-30"), (0, 0));
}

#[test]
fn a_repeated_hour_is_two_hours() {
    assert_table(
        &PrunePolicy::default().keep_hourly(9).time_zone("Europe/Berlin".parse().unwrap()),
        &[
            ("2026-10-25T03:00:00+01:00", "keep hourly 2026-10-25 03:00 +01:00"),
            ("2026-10-25T02:59:59+01:00", "keep hourly 2026-10-25 02:00 +01:00"),
            ("2026-10-25T02:00:00+01:00", "drop not the newest of 2026-10-25 02:00 +01:00"),
            ("2026-10-25T02:59:59+02:00", "keep hourly 2026-10-25 02:00 +02:00"),
            ("2026-10-25T02:00:00+02:00", "drop not the newest of 2026-10-25 02:00 +02:00"),
            ("2026-10-25T01:59:59+02:00", "keep hourly 2026-10-25 01:00 +02:00"),
        ],
    );
}

#[test]
fn days_begin_at_local_midnight() {
    assert_table(
        &daily("Asia/Kathmandu"),
        &[
            ("2026-05-02T18:14:59Z", "keep daily 2026-05-02"),
            ("2026-05-01T18:15:00Z", "drop not the newest of 2026-05-02"),
            ("2026-05-01T18:14:59Z", "keep daily 2026-05-01"),
        ],
    );
    assert_table(
        &daily("Europe/Berlin"),
        &[
            ("2026-03-29T22:00:00Z", "keep daily 2026-03-30"),
            ("2026-03-29T21:59:59Z", "keep daily 2026-03-29"),
            ("2026-03-28T23:00:00Z", "drop not the newest of 2026-03-29"),
            ("2026-03-28T22:59:59Z", "keep daily 2026-03-28"),
        ],
    );
}

#[test]
fn a_day_that_does_not_exist_is_skipped() {
    assert_table(
        &PrunePolicy::default().keep_daily(2).time_zone("Pacific/Apia".parse().unwrap()),
        &[
            ("2011-12-31T00:00:00+14:00", "keep daily 2011-12-31"),
            ("2011-12-29T23:59:59-10:00", "keep daily 2011-12-29"),
            ("2011-12-29T00:00:00-10:00", "drop not the newest of 2011-12-29"),
            ("2011-12-28T23:59:59-10:00", "drop not in the last 2 daily"),
        ],
    );
}

/// In Newfoundland clocks were set back at one minute past midnight, so the day began twice.
#[test]
fn a_day_that_begins_twice_is_one_day() {
    assert_table(
        &PrunePolicy::default().keep_daily(2).time_zone("America/St_Johns".parse().unwrap()),
        &[
            ("2010-11-07T08:00:00-03:30", "keep daily 2010-11-07"),
            ("2010-11-06T23:30:00-03:30", "keep daily 2010-11-06"),
            ("2010-11-07T00:00:30-02:30", "drop not the newest of 2010-11-07"),
            ("2010-11-06T22:00:00-02:30", "drop not the newest of 2010-11-06"),
        ],
    );
}

#[test]
fn weeks_are_those_of_iso_8601_including_week_53() {
    assert_table(
        &PrunePolicy::default().keep_weekly(4).keep_yearly(9),
        &[
            ("2021-01-04T00:00:00Z", "keep weekly 2021-W01, yearly 2021"),
            ("2021-01-03T23:59:59Z", "keep weekly 2020-W53"),
            ("2020-12-31T12:00:00Z", "keep yearly 2020"),
            ("2020-12-28T00:00:00Z", "drop not the newest of 2020-W53, not the newest of 2020"),
            ("2020-12-27T23:59:59Z", "keep weekly 2020-W52"),
            ("2019-12-30T00:00:00Z", "keep weekly 2020-W01, yearly 2019"),
            ("2019-12-29T23:59:59Z", "drop not in the last 4 weekly, not the newest of 2019"),
        ],
    );
}

#[test]
fn years_begin_at_local_midnight() {
    let yearly = |time_zone: &str| PrunePolicy::default().keep_yearly(9).time_zone(time_zone.parse().unwrap());
    let (evening, night) = ("2026-12-31T23:30:00Z", "2027-01-01T03:00:00Z");
    assert_table(&yearly("UTC"), &[(night, "keep yearly 2027"), (evening, "keep yearly 2026")]);
    let in_berlin = [(night, "keep yearly 2027"), (evening, "drop not the newest of 2027")];
    assert_table(&yearly("Europe/Berlin"), &in_berlin);
    let in_new_york = [(night, "keep yearly 2026"), (evening, "drop not the newest of 2026")];
    assert_table(&yearly("America/New_York"), &in_new_york);
}

#[test]
fn a_span_that_ends_on_a_missing_day_ends_on_the_last_day_of_the_month() {
    assert_table(
        &within("1y", "UTC"),
        &[
            ("2024-02-29T12:00:00Z", "keep within 1y"),
            ("2023-02-28T12:00:00Z", "keep within 1y"),
            ("2023-02-28T11:59:59Z", "drop not within 1y"),
        ],
    );
    assert_table(
        &within("4y", "UTC"),
        &[
            ("2024-02-29T12:00:00Z", "keep within 4y"),
            ("2020-02-29T12:00:00Z", "keep within 4y"),
            ("2020-02-29T11:59:59Z", "drop not within 4y"),
        ],
    );
    assert_table(
        &within("1mo", "UTC"),
        &[
            ("2026-03-31T12:00:00Z", "keep within 1mo"),
            ("2026-02-28T12:00:00Z", "keep within 1mo"),
            ("2026-02-28T11:59:59Z", "drop not within 1mo"),
        ],
    );
}

#[test]
fn months_are_subtracted_before_days() {
    // A month before 30 March is 28 February, and a day before that is the 27th. In the other order it would be the
    // 28th.
    assert_table(
        &within("1mo1d", "UTC"),
        &[
            ("2026-03-30T12:00:00Z", "keep within 1mo1d"),
            ("2026-02-27T12:00:00Z", "keep within 1mo1d"),
            ("2026-02-27T11:59:59Z", "drop not within 1mo1d"),
        ],
    );
}

#[test]
fn days_are_calendar_days_and_hours_are_elapsed_time() {
    assert_table(
        &within("2d", "Europe/Berlin"),
        &[
            ("2026-03-30T12:00:00+02:00", "keep within 2d"),
            ("2026-03-28T12:00:00+01:00", "keep within 2d"),
            ("2026-03-28T11:59:59+01:00", "drop not within 2d"),
        ],
    );
    assert_table(
        &within("48h", "Europe/Berlin"),
        &[
            ("2026-03-30T12:00:00+02:00", "keep within 48h"),
            ("2026-03-28T11:00:00+01:00", "keep within 48h"),
            ("2026-03-28T10:59:59+01:00", "drop not within 48h"),
        ],
    );
    assert_table(
        &within("1h", "Europe/Berlin"),
        &[
            ("2026-10-25T02:30:00+01:00", "keep within 1h"),
            ("2026-10-25T02:30:00+02:00", "keep within 1h"),
            ("2026-10-25T02:29:59+02:00", "drop not within 1h"),
        ],
    );
}

#[test]
fn a_repeated_or_skipped_local_time_reaches_back_further() {
    assert_table(
        &within("1d", "Europe/Berlin"),
        &[
            ("2026-10-26T02:30:00+01:00", "keep within 1d"),
            ("2026-10-25T02:30:00+02:00", "keep within 1d"),
            ("2026-10-25T02:29:59+02:00", "drop not within 1d"),
        ],
    );
    assert_table(
        &within("1d", "Europe/Berlin"),
        &[
            ("2026-03-30T02:30:00+02:00", "keep within 1d"),
            ("2026-03-29T01:30:00+01:00", "keep within 1d"),
            ("2026-03-29T01:29:59+01:00", "drop not within 1d"),
        ],
    );
    assert_table(
        &within("1d", "Pacific/Apia"),
        &[
            ("2011-12-31T12:00:00+14:00", "keep within 1d"),
            ("2011-12-29T12:00:00-10:00", "keep within 1d"),
            ("2011-12-29T11:59:59-10:00", "drop not within 1d"),
        ],
    );
}

/// A snapshot of an application can have any date.
#[test]
fn snapshots_dated_at_the_ends_of_all_calendars_are_planned() {
    let far = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC];
    let years =
        [-9999, -9998, -1, 0, 1, 9998, 9999, 10_000].map(|year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap());
    let moments: Vec<_> = far
        .into_iter()
        .chain(years)
        .flat_map(|at| [Some(at), at.checked_sub_signed(TimeDelta::nanoseconds(1))])
        .flatten()
        .collect();
    for name in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin"] {
        let every =
            PrunePolicy::default().keep_hourly(1).keep_daily(1).keep_weekly(1).keep_monthly(1).keep_quarterly(1);
        let policy = every.keep_yearly(1).keep_within("1y".parse().unwrap()).time_zone(name.parse().unwrap());
        let snapshots: Vec<_> =
            moments.iter().enumerate().map(|(number, moment)| snapshot(&number.to_string(), *moment)).collect();
        for now in &moments {
            let plan = plan(snapshots.clone(), &ExternalRefs::default(), &policy, *now).unwrap();
            assert_eq!(plan.keep.len() + plan.drop.len(), moments.len());
        }
        for moment in &moments {
            assert!(!policy.time_zone.local_time(*moment).is_empty());
        }
    }
}
