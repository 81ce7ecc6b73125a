//! When schedules are due if clocks are not changed.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{assert_due, moment, when};

#[test]
fn an_interval_is_due_at_its_multiples_since_the_epoch() {
    assert_due(
        "every 6h",
        "2026-01-31T05:59:59.999Z",
        &["2026-01-31T06:00:00+00:00", "2026-01-31T12:00:00+00:00", "2026-01-31T18:00:00+00:00"],
    );
    // 1970-01-01 was a Thursday.
    assert_due("every 1w", "2026-01-31T00:00:00Z", &["2026-02-05T00:00:00+00:00", "2026-02-12T00:00:00+00:00"]);
    assert_due("every 1d12h", "1970-01-01T00:00:00Z", &["1970-01-02T12:00:00+00:00", "1970-01-04T00:00:00+00:00"]);
}

#[test]
fn a_calendar_is_due_at_its_times() {
    for (text, after, due) in [
        ("30 2 * * *", "2026-01-31T02:29:59Z", "2026-01-31T02:30:00Z"),
        ("30 2 * * *", "2026-01-31T02:30:00Z", "2026-02-01T02:30:00Z"),
        ("30 2 * * *", "2026-01-31T02:30:00.5Z", "2026-02-01T02:30:00Z"),
        ("30 2 * * * Asia/Kathmandu", "2026-01-31T00:00:00Z", "2026-01-31T20:45:00Z"),
        ("*/15 * * * *", "2026-01-31T23:50:00Z", "2026-02-01T00:00:00Z"),
        ("0 9-17/4 * * *", "2026-01-31T10:00:00Z", "2026-01-31T13:00:00Z"),
        ("0 0 * * MON-FRI", "2026-01-31T00:00:00Z", "2026-02-02T00:00:00Z"),
        ("0 0 * * 7", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("0 0 1,15 * MON", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"),
        ("0 0 L * *", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("0 0 LW * *", "2026-02-01T00:00:00Z", "2026-02-27T00:00:00Z"),
        ("0 0 15W * *", "2026-02-01T00:00:00Z", "2026-02-16T00:00:00Z"),
        ("0 0 * * 5L", "2026-02-01T00:00:00Z", "2026-02-27T00:00:00Z"),
        ("0 0 * * 5#2", "2026-02-01T00:00:00Z", "2026-02-13T00:00:00Z"),
        ("@hourly", "2026-01-31T23:00:00Z", "2026-02-01T00:00:00Z"),
        ("@daily Europe/Berlin", "2026-01-31T12:00:00Z", "2026-01-31T23:00:00Z"),
        ("@weekly", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z"),
        ("@monthly America/New_York", "2026-02-01T04:59:59Z", "2026-02-01T05:00:00Z"),
    ] {
        assert_eq!(when(text).next_after(moment(after)), Some(moment(due)), "{text} after {after}");
    }
}

#[test]
fn leap_days_come_every_four_years_and_once_after_eight() {
    assert_due(
        "0 0 29 2 *",
        "2092-03-01T00:00:00Z",
        &["2096-02-29T00:00:00+00:00", "2104-02-29T00:00:00+00:00", "2108-02-29T00:00:00+00:00"],
    );
}

#[test]
fn nothing_is_due_before_1970_or_after_the_end_of_the_calendar() {
    for text in ["every 1h", "@hourly", "@hourly Europe/Berlin", "30 2 * * *"] {
        let first = when(text).next_after(DateTime::<Utc>::MIN_UTC).unwrap();
        assert!(first >= DateTime::UNIX_EPOCH && first < DateTime::UNIX_EPOCH + TimeDelta::days(1), "{text}");
        assert_eq!(when(text).next_after(DateTime::<Utc>::MAX_UTC), None, "{text}");
    }
    assert_eq!(when("every 1h").next_after(DateTime::<Utc>::MIN_UTC), Some(DateTime::UNIX_EPOCH));
    assert_eq!(when("@daily").next_after(moment("5001-01-01T00:00:00Z")), None);
}

#[test]
fn due_times_between_moments_are_counted_up_to_a_limit() {
    let (after, until) = (moment("2026-01-01T00:00:00Z"), moment("2026-01-02T00:00:00Z"));
    for (text, count) in [("every 6h", 4), ("@hourly", 24), ("30 2 * * *", 1), ("* * * * *", 1000), ("0 0 29 2 *", 0)] {
        assert_eq!(when(text).count_between(after, until), count, "{text}");
        assert_eq!(when(text).count_between(until, after), 0, "{text}");
    }
}

#[test]
fn the_last_due_time_before_a_moment_is_found_across_years() {
    let (after, until) = (moment("1990-01-01T00:00:00Z"), moment("2026-01-31T12:34:56.7Z"));
    for (text, last) in [
        ("every 1s", Some("2026-01-31T12:34:56Z")),
        ("every 6h", Some("2026-01-31T12:00:00Z")),
        ("* * * * *", Some("2026-01-31T12:34:00Z")),
        ("30 2 * * * Europe/Berlin", Some("2026-01-31T01:30:00Z")),
        ("* * * 12 *", Some("2025-12-31T23:59:00Z")),
        ("0 0 29 2 *", Some("2024-02-29T00:00:00Z")),
    ] {
        assert_eq!(when(text).last_between(after, until), last.map(moment), "{text}");
        assert_eq!(when(text).last_between(until, after), None, "{text}");
    }
}
