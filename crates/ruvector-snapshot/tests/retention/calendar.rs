//! Where hours, days, weeks and years begin and end: in time zones that put their clocks forward and back, that lie a
//! quarter of an hour apart from others, that skipped a day.

use chrono::TimeDelta;
use chrono_tz::Tz;
use ruvector_snapshot::PrunePolicy;

use crate::{assert_table, lines, moment, planned, snapshot};

fn daily(time_zone: Tz) -> PrunePolicy {
    PrunePolicy { keep_daily: 9, time_zone, ..PrunePolicy::default() }
}

fn within(span: &str, time_zone: Tz) -> PrunePolicy {
    PrunePolicy { keep_within: Some(span.parse().unwrap()), time_zone, ..PrunePolicy::default() }
}

/// How many of the hours that an hourly rule keeps lie on a day, where a snapshot is taken every ten minutes from noon
/// of the day before; and how many of the days that a daily rule keeps.
fn hours_and_days(time_zone: Tz, noon_before: &str, day: &str) -> (usize, usize) {
    let taken = (0..288).map(|step| moment(noon_before) + TimeDelta::minutes(10 * step));
    let snapshots: Vec<_> = taken.map(|taken| snapshot(&taken.to_rfc3339(), taken)).collect();
    let count = |policy: &PrunePolicy, start: &str| {
        let lines = lines(&planned(snapshots.clone(), policy).unwrap());
        lines.iter().filter(|line| line.starts_with("keep") && line.contains(start)).count()
    };
    let hourly = PrunePolicy { keep_hourly: 99, time_zone, ..PrunePolicy::default() };
    (count(&hourly, &format!("hourly {day}")), count(&daily(time_zone), &format!("daily {day}")))
}

#[test]
fn a_day_has_the_hours_that_it_has() {
    for (time_zone, noon_before, day, hours) in [
        (Tz::UTC, "2026-03-28T12:00:00Z", "2026-03-29", 24),
        (Tz::Europe__Berlin, "2026-03-27T12:00:00+01:00", "2026-03-28", 24),
        (Tz::Europe__Berlin, "2026-03-28T12:00:00+01:00", "2026-03-29", 23),
        (Tz::Europe__Berlin, "2026-10-24T12:00:00+02:00", "2026-10-25", 25),
        (Tz::America__New_York, "2026-03-07T12:00:00-05:00", "2026-03-08", 23),
        (Tz::America__New_York, "2026-10-31T12:00:00-04:00", "2026-11-01", 25),
        (Tz::Asia__Kathmandu, "2026-03-28T12:00:00+05:45", "2026-03-29", 24),
        (Tz::Pacific__Apia, "2011-12-28T12:00:00-10:00", "2011-12-29", 24),
        (Tz::Pacific__Apia, "2011-12-29T12:00:00-10:00", "2011-12-31", 24),
    ] {
        assert_eq!(hours_and_days(time_zone, noon_before, day), (hours, 1), "{time_zone} {day}");
    }
    assert_eq!(hours_and_days(Tz::Pacific__Apia, "2011-12-29T12:00:00-10:00", "2011-12-30"), (0, 0));
}

#[test]
fn an_hour_that_comes_twice_is_two_hours() {
    assert_table(
        &PrunePolicy { keep_hourly: 9, time_zone: Tz::Europe__Berlin, ..PrunePolicy::default() },
        &[
            ("2026-10-25T03:00:00+01:00", "keep hourly 2026-10-25 03:00 +01:00"),
            ("2026-10-25T02:59:59+01:00", "keep hourly 2026-10-25 02:00 +01:00"),
            ("2026-10-25T02:00:00+01:00", "drop hourly 2026-10-25 02:00 +01:00 has a newer one"),
            ("2026-10-25T02:59:59+02:00", "keep hourly 2026-10-25 02:00 +02:00"),
            ("2026-10-25T02:00:00+02:00", "drop hourly 2026-10-25 02:00 +02:00 has a newer one"),
            ("2026-10-25T01:59:59+02:00", "keep hourly 2026-10-25 01:00 +02:00"),
        ],
    );
}

#[test]
fn midnight_is_that_of_the_time_zone() {
    assert_table(
        &daily(Tz::Asia__Kathmandu),
        &[
            ("2026-05-02T18:14:59Z", "keep daily 2026-05-02"),
            ("2026-05-01T18:15:00Z", "drop daily 2026-05-02 has a newer one"),
            ("2026-05-01T18:14:59Z", "keep daily 2026-05-01"),
        ],
    );
    assert_table(
        &daily(Tz::Europe__Berlin),
        &[
            ("2026-03-29T22:00:00Z", "keep daily 2026-03-30"),
            ("2026-03-29T21:59:59Z", "keep daily 2026-03-29"),
            ("2026-03-28T23:00:00Z", "drop daily 2026-03-29 has a newer one"),
            ("2026-03-28T22:59:59Z", "keep daily 2026-03-28"),
        ],
    );
}

#[test]
fn a_day_that_never_was_is_no_gap() {
    assert_table(
        &PrunePolicy { keep_daily: 2, time_zone: Tz::Pacific__Apia, ..PrunePolicy::default() },
        &[
            ("2011-12-31T00:00:00+14:00", "keep daily 2011-12-31"),
            ("2011-12-29T23:59:59-10:00", "keep daily 2011-12-29"),
            ("2011-12-29T00:00:00-10:00", "drop daily 2011-12-29 has a newer one"),
            ("2011-12-28T23:59:59-10:00", "drop not in the last 2 daily"),
        ],
    );
}

/// In Newfoundland clocks went back at a minute past midnight, so that a day began twice.
#[test]
fn a_day_that_begins_twice_is_one_day() {
    assert_table(
        &PrunePolicy { keep_daily: 2, time_zone: Tz::America__St_Johns, ..PrunePolicy::default() },
        &[
            ("2010-11-07T08:00:00-03:30", "keep daily 2010-11-07"),
            ("2010-11-06T23:30:00-03:30", "keep daily 2010-11-06"),
            ("2010-11-07T00:00:30-02:30", "drop daily 2010-11-07 has a newer one"),
            ("2010-11-06T22:00:00-02:30", "drop daily 2010-11-06 has a newer one"),
        ],
    );
}

#[test]
fn a_week_goes_from_monday_to_sunday_and_may_be_the_53rd() {
    assert_table(
        &PrunePolicy { keep_weekly: 4, keep_yearly: 9, ..PrunePolicy::default() },
        &[
            ("2021-01-04T00:00:00Z", "keep weekly 2021-W01, yearly 2021"),
            ("2021-01-03T23:59:59Z", "keep weekly 2020-W53"),
            ("2020-12-31T12:00:00Z", "keep yearly 2020"),
            ("2020-12-28T00:00:00Z", "drop weekly 2020-W53 has a newer one, yearly 2020 has a newer one"),
            ("2020-12-27T23:59:59Z", "keep weekly 2020-W52"),
            ("2019-12-30T00:00:00Z", "keep weekly 2020-W01, yearly 2019"),
            ("2019-12-29T23:59:59Z", "drop not in the last 4 weekly, yearly 2019 has a newer one"),
        ],
    );
}

#[test]
fn a_year_begins_at_another_moment_in_another_time_zone() {
    let yearly = |time_zone| PrunePolicy { keep_yearly: 9, time_zone, ..PrunePolicy::default() };
    let (evening, night) = ("2026-12-31T23:30:00Z", "2027-01-01T03:00:00Z");
    assert_table(&yearly(Tz::UTC), &[(night, "keep yearly 2027"), (evening, "keep yearly 2026")]);
    let in_berlin = [(night, "keep yearly 2027"), (evening, "drop yearly 2027 has a newer one")];
    assert_table(&yearly(Tz::Europe__Berlin), &in_berlin);
    let in_new_york = [(night, "keep yearly 2026"), (evening, "drop yearly 2026 has a newer one")];
    assert_table(&yearly(Tz::America__New_York), &in_new_york);
}

#[test]
fn a_year_before_a_leap_day_is_the_28th() {
    assert_table(
        &within("1y", Tz::UTC),
        &[
            ("2024-02-29T12:00:00Z", "keep within 1y"),
            ("2023-02-28T12:00:00Z", "keep within 1y"),
            ("2023-02-28T11:59:59Z", "drop not within 1y"),
        ],
    );
    assert_table(
        &within("4y", Tz::UTC),
        &[
            ("2024-02-29T12:00:00Z", "keep within 4y"),
            ("2020-02-29T12:00:00Z", "keep within 4y"),
            ("2020-02-29T11:59:59Z", "drop not within 4y"),
        ],
    );
    assert_table(
        &within("1m", Tz::UTC),
        &[
            ("2026-03-31T12:00:00Z", "keep within 1m"),
            ("2026-02-28T12:00:00Z", "keep within 1m"),
            ("2026-02-28T11:59:59Z", "drop not within 1m"),
        ],
    );
}

#[test]
fn months_go_before_days() {
    // A month before 30 March is 28 February, and a day before that the 27th; the other way round it would be the 28th.
    assert_table(
        &within("1m1d", Tz::UTC),
        &[
            ("2026-03-30T12:00:00Z", "keep within 1m1d"),
            ("2026-02-27T12:00:00Z", "keep within 1m1d"),
            ("2026-02-27T11:59:59Z", "drop not within 1m1d"),
        ],
    );
}

#[test]
fn days_are_counted_by_the_calendar_and_hours_by_the_clock() {
    assert_table(
        &within("2d", Tz::Europe__Berlin),
        &[
            ("2026-03-30T12:00:00+02:00", "keep within 2d"),
            ("2026-03-28T12:00:00+01:00", "keep within 2d"),
            ("2026-03-28T11:59:59+01:00", "drop not within 2d"),
        ],
    );
    assert_table(
        &within("48h", Tz::Europe__Berlin),
        &[
            ("2026-03-30T12:00:00+02:00", "keep within 48h"),
            ("2026-03-28T11:00:00+01:00", "keep within 48h"),
            ("2026-03-28T10:59:59+01:00", "drop not within 48h"),
        ],
    );
    assert_table(
        &within("1h", Tz::Europe__Berlin),
        &[
            ("2026-10-25T02:30:00+01:00", "keep within 1h"),
            ("2026-10-25T02:30:00+02:00", "keep within 1h"),
            ("2026-10-25T02:29:59+02:00", "drop not within 1h"),
        ],
    );
}

#[test]
fn a_time_that_comes_twice_or_never_reaches_back_further() {
    assert_table(
        &within("1d", Tz::Europe__Berlin),
        &[
            ("2026-10-26T02:30:00+01:00", "keep within 1d"),
            ("2026-10-25T02:30:00+02:00", "keep within 1d"),
            ("2026-10-25T02:29:59+02:00", "drop not within 1d"),
        ],
    );
    assert_table(
        &within("1d", Tz::Europe__Berlin),
        &[
            ("2026-03-30T02:30:00+02:00", "keep within 1d"),
            ("2026-03-29T01:30:00+01:00", "keep within 1d"),
            ("2026-03-29T01:29:59+01:00", "drop not within 1d"),
        ],
    );
    assert_table(
        &within("1d", Tz::Pacific__Apia),
        &[
            ("2011-12-31T12:00:00+14:00", "keep within 1d"),
            ("2011-12-29T12:00:00-10:00", "keep within 1d"),
            ("2011-12-29T11:59:59-10:00", "drop not within 1d"),
        ],
    );
}
