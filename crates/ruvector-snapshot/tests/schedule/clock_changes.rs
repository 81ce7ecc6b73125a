//! When calendars are due on days on which clocks are changed. Europe/Berlin is set forward on 2026-03-29 at 02:00 and on
//! 2027-03-28, and back on 2026-10-25 at 03:00. America/New_York is set forward on 2027-03-14 at 02:00 and back on 2026-11-01 at
//! 02:00. Lord Howe Island is set back by half an hour on 2026-04-05 at 02:00, and forward on 2026-10-04 at 02:00.

use crate::{assert_due, moment, when};

#[test]
fn a_fixed_time_that_is_skipped_is_due_when_the_clock_is_set() {
    assert_due(
        "30 2 * * * Europe/Berlin",
        "2026-03-28T00:00:00+01:00",
        &["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
    );
    assert_due(
        "30 2 * * * America/New_York",
        "2027-03-13T03:00:00-05:00",
        &["2027-03-14T03:00:00-04:00", "2027-03-15T02:30:00-04:00"],
    );
    assert_due(
        "15 2 * * * Australia/Lord_Howe",
        "2026-10-04T00:00:00+10:30",
        &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
    );
}

#[test]
fn several_fixed_times_that_are_skipped_are_due_once() {
    assert_due(
        "0,15,30,45 2,3 * * * Europe/Berlin",
        "2027-03-28T00:00:00+01:00",
        &["2027-03-28T03:00:00+02:00", "2027-03-28T03:15:00+02:00", "2027-03-28T03:30:00+02:00"],
    );
}

#[test]
fn a_fixed_time_that_is_repeated_is_due_the_first_time() {
    assert_due(
        "30 2 * * * Europe/Berlin",
        "2026-10-25T00:00:00+02:00",
        &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
    );
    assert_due(
        "30 1 * * * America/New_York",
        "2026-11-01T00:00:00-04:00",
        &["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
    );
    assert_due(
        "45 1,13 * * * Australia/Lord_Howe",
        "2026-04-05T00:00:00+11:00",
        &["2026-04-05T01:45:00+11:00", "2026-04-05T13:45:00+10:30", "2026-04-06T01:45:00+10:30"],
    );
}

#[test]
fn a_fixed_time_is_not_due_in_the_second_of_two_equal_hours() {
    let nightly = when("30 2 * * * Europe/Berlin");
    for after in ["2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"] {
        assert_eq!(nightly.next_after(moment(after)), Some(moment("2026-10-26T02:30:00+01:00")), "{after}");
    }
}

#[test]
fn a_recurring_time_goes_on_through_both_of_two_equal_hours() {
    assert_due(
        "*/30 * * * * Europe/Berlin",
        "2026-10-25T01:30:00+02:00",
        &[
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:00:00+01:00",
        ],
    );
    assert_due(
        "0 */2 * * * Europe/Berlin",
        "2026-10-25T00:00:00+02:00",
        &["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T04:00:00+01:00"],
    );
    assert_due(
        "0 1-3/1 * * * Europe/Berlin",
        "2026-10-25T01:00:00+02:00",
        &["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"],
    );
    assert_due(
        "*/15 1 * * * America/New_York",
        "2026-11-01T01:30:00-04:00",
        &["2026-11-01T01:45:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:15:00-05:00"],
    );
    assert_due(
        "45 * * * * Australia/Lord_Howe",
        "2026-04-05T01:00:00+11:00",
        &["2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30", "2026-04-05T02:45:00+10:30"],
    );
}

#[test]
fn a_recurring_time_that_is_skipped_is_not_due() {
    assert_due(
        "*/30 * * * * Europe/Berlin",
        "2026-03-29T01:00:00+01:00",
        &["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"],
    );
    assert_due(
        "30 */2 * * * Europe/Berlin",
        "2026-03-29T00:00:00+01:00",
        &["2026-03-29T00:30:00+01:00", "2026-03-29T04:30:00+02:00"],
    );
    assert_due("*/15 2 * * * Europe/Berlin", "2026-03-29T00:00:00+01:00", &["2026-03-30T02:00:00+02:00"]);
    assert_due(
        "15 * * * * Australia/Lord_Howe",
        "2026-10-04T01:00:00+10:30",
        &["2026-10-04T01:15:00+10:30", "2026-10-04T03:15:00+11:00"],
    );
}

#[test]
fn an_interval_is_elapsed_time() {
    assert_due("every 1h", "2026-03-29T01:00:00+01:00", &["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"]);
}

#[test]
fn a_day_that_does_not_exist_is_due_when_the_next_one_begins() {
    // Samoa had no 30 December 2011.
    assert_due(
        "30 2 30 * * Pacific/Apia",
        "2011-12-01T00:00:00-10:00",
        &["2011-12-31T00:00:00+14:00", "2012-01-30T02:30:00+14:00"],
    );
}

/// What croner itself does with a time zone, and why it is not used for that: it has fixed times only if the minute and the hour
/// are one number each, so a job at 02:30 and 14:30 would lose a run in spring, and be run twice in autumn.
#[test]
fn times_of_a_list_are_fixed_times() {
    assert_due(
        "30 2,14 * * * Europe/Berlin",
        "2026-03-29T00:00:00+01:00",
        &["2026-03-29T03:00:00+02:00", "2026-03-29T14:30:00+02:00"],
    );
    assert_due(
        "30 2,14 * * * Europe/Berlin",
        "2026-10-25T00:00:00+02:00",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T14:30:00+01:00"],
    );
}
