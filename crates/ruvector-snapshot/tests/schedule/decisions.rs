//! What is decided at a moment: missed runs, overlap, restarts, clocks that are set, retries and jitter.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::schedule::{Decision, JobState, Missed, Retry, Schedule, decide};

use crate::{moment, when};

/// A moment of 31 January 2026.
fn at(time: &str) -> DateTime<Utc> {
    moment(&format!("2026-01-31T{time}Z"))
}

fn hourly() -> Schedule {
    Schedule::new(when("@hourly"))
}

fn run(due: &str, attempt: u32, missed_runs: usize) -> Decision {
    Decision::Run { due: at(due), attempt, missed_runs }
}

fn wait(until: &str) -> Decision {
    Decision::Wait { until: at(until) }
}

/// Returns the state of a job whose run of this due time has started.
fn started(due: &str) -> JobState {
    let mut state = JobState::since(at(due) - TimeDelta::seconds(1));
    state.started(at(due));
    state
}

/// Returns the state of a job whose run of this due time has failed.
fn failed(due: &str, now: &str) -> JobState {
    let mut state = started(due);
    state.failed(&Retry::default(), at(now));
    state
}

#[test]
fn a_run_starts_when_it_is_due_and_not_before() {
    let mut state = JobState::since(at("12:10:00"));
    assert_eq!(decide(&hourly(), &state, at("12:10:00")), wait("13:00:00"));
    assert_eq!(decide(&hourly(), &state, at("12:59:59.999")), wait("13:00:00"));
    assert_eq!(decide(&hourly(), &state, at("13:00:00")), run("13:00:00", 1, 0));
    state.started(at("13:00:00"));
    state.succeeded();
    assert_eq!(decide(&hourly(), &state, at("13:00:01")), wait("14:00:00"));
}

#[test]
fn after_a_restart_missed_runs_are_run_once_or_skipped() {
    let last_success = JobState::since(at("09:00:05"));
    assert_eq!(decide(&hourly(), &last_success, at("12:30:00")), run("12:00:00", 1, 2));
    let skipping = hourly().missed(Missed::Skip);
    assert_eq!(decide(&skipping, &last_success, at("12:30:00")), wait("13:00:00"));
    assert_eq!(decide(&skipping, &last_success, at("13:00:10")), run("13:00:00", 1, 3));
}

#[test]
fn a_run_that_starts_within_a_minute_is_not_missed() {
    let (skipping, state) = (hourly().missed(Missed::Skip), JobState::since(at("12:00:00")));
    assert_eq!(decide(&skipping, &state, at("13:01:00")), run("13:00:00", 1, 0));
    assert_eq!(decide(&skipping, &state, at("13:01:00.001")), wait("14:00:00"));
}

#[test]
fn runs_do_not_overlap_and_due_times_that_pass_during_a_run_are_missed() {
    let mut state = started("12:00:00");
    assert_eq!(decide(&hourly(), &state, at("12:30:00")), wait("13:00:00"));
    assert_eq!(decide(&hourly(), &state, at("14:30:00")), wait("15:00:00"));
    state.succeeded();
    assert_eq!(decide(&hourly(), &state, at("14:30:00")), run("14:00:00", 1, 1));
    assert_eq!(decide(&hourly().missed(Missed::Skip), &state, at("14:30:00")), wait("15:00:00"));
}

#[test]
fn a_clock_that_is_set_back_does_not_run_a_due_time_twice() {
    let mut state = started("13:00:00");
    state.succeeded();
    assert_eq!(decide(&hourly(), &state, at("12:30:00")), wait("14:00:00"));
    assert_eq!(decide(&hourly(), &state, at("13:00:00")), wait("14:00:00"));
    assert_eq!(decide(&hourly(), &state, at("14:00:00")), run("14:00:00", 1, 0));
    assert!(!state.forget_future(at("12:30:00")));
}

#[test]
fn a_clock_that_was_wrong_by_years_does_not_stop_a_job() {
    let mut state = JobState::since(moment("2099-01-01T00:00:00Z"));
    assert_eq!(decide(&hourly(), &state, at("12:30:00")), Decision::Wait { until: moment("2099-01-01T01:00:00Z") });
    assert!(state.forget_future(at("12:30:00")));
    assert_eq!(decide(&hourly(), &state, at("12:30:00")), wait("13:00:00"));
    assert!(!state.forget_future(at("12:30:00")));
}

#[test]
fn a_run_in_progress_is_not_forgotten() {
    let mut state = started("12:00:00");
    assert!(state.forget_future(at("12:00:00") - TimeDelta::days(2)));
    assert!(state.running);
}

#[test]
fn a_due_time_that_was_handled_stays_handled() {
    let mut state = started("12:00:00");
    state.succeeded();
    state.started(at("09:00:00"));
    state.succeeded();
    assert_eq!(decide(&hourly(), &state, at("12:30:00")), wait("13:00:00"));
}

#[test]
fn a_clock_that_jumps_ahead_runs_once() {
    let mut state = JobState::since(moment("2016-01-31T00:00:00Z"));
    assert_eq!(decide(&hourly(), &state, at("12:30:00")), run("12:00:00", 1, 999));
    state.started(at("12:00:00"));
    state.succeeded();
    assert_eq!(decide(&hourly(), &state, at("12:30:01")), wait("13:00:00"));
}

#[test]
fn a_run_that_fails_is_tried_again_after_waits_that_double() {
    let mut state = failed("12:00:00", "12:05:00");
    assert_eq!(decide(&hourly(), &state, at("12:05:00")), wait("12:06:00"));
    assert_eq!(decide(&hourly(), &state, at("12:06:00")), run("12:00:00", 2, 0));
    state.started(at("12:00:00"));
    assert_eq!(state.next_retry, None);
    state.failed(&Retry::default(), at("12:10:00"));
    assert_eq!(decide(&hourly(), &state, at("12:10:00")), wait("12:12:00"));
    assert_eq!(decide(&hourly(), &state, at("12:12:00")), run("12:00:00", 3, 0));
    state.started(at("12:00:00"));
    state.succeeded();
    assert_eq!(decide(&hourly(), &state, at("12:15:00")), wait("13:00:00"));
}

#[test]
fn retries_stop_when_the_next_run_is_due() {
    let mut state = failed("12:00:00", "12:59:30");
    assert_eq!(decide(&hourly(), &state, at("12:59:30")), wait("13:00:00"));
    assert_eq!(decide(&hourly(), &state, at("13:00:00")), run("13:00:00", 1, 0));
    state.started(at("13:00:00"));
    state.failed(&Retry::default(), at("13:00:10"));
    assert_eq!(decide(&hourly(), &state, at("13:00:10")), wait("13:01:10"));
}

#[test]
fn a_retry_does_not_wait_for_a_clock_that_was_set_back() {
    let state = failed("12:00:00", "12:05:00");
    assert_eq!(decide(&hourly(), &state, at("11:06:00")), wait("12:06:00"));
    assert_eq!(decide(&hourly(), &state, at("11:05:59")), run("12:00:00", 2, 0));
}

#[test]
fn waits_are_never_zero_and_never_overflow() {
    let retry = Schedule::new(when("@daily")).retry(Duration::ZERO, Duration::ZERO).retry;
    assert_eq!(retry.wait(0), Duration::from_secs(1));
    assert_eq!(retry.wait(u32::MAX), Duration::from_secs(1));
    let retry = Schedule::new(when("@daily")).retry(Duration::MAX, Duration::MAX).retry;
    let mut state = JobState::since(at("12:00:00"));
    state.started(at("12:00:00"));
    state.failed(&retry, at("12:00:00"));
    assert_eq!(state.next_retry, Some(DateTime::<Utc>::MAX_UTC));
}

#[test]
fn jitter_delays_a_run_and_the_next_one_is_waited_for_with_it() {
    let schedule = hourly().jitter(Duration::from_secs(900), "articles");
    let start = schedule.start_of(at("13:00:00"));
    assert!(start > at("13:00:00") && start <= at("13:15:00"));
    let state = JobState::since(at("12:00:00"));
    assert_eq!(decide(&schedule, &state, at("12:30:00")), Decision::Wait { until: start });
    assert_eq!(decide(&schedule, &state, at("13:00:00")), Decision::Wait { until: start });
    assert_eq!(decide(&schedule, &state, start), run("13:00:00", 1, 0));
}

#[test]
fn retries_stop_at_the_next_due_time_even_if_its_run_starts_later() {
    let schedule = hourly().jitter(Duration::from_secs(900), "articles");
    let start = schedule.start_of(at("13:00:00"));
    for failed_at in ["12:59:00", "12:59:30"] {
        let state = failed("12:00:00", failed_at);
        for now in ["12:59:30", "13:00:00", "13:00:30"] {
            assert_eq!(decide(&schedule, &state, at(now)), Decision::Wait { until: start }, "{now}");
        }
    }
}

#[test]
fn jitter_differs_by_name_and_due_time_and_does_not_change_between_versions() {
    let start = |name: &str, due| {
        (hourly().jitter(Duration::from_secs(1800), name).start_of(at(due)) - at(due)).num_milliseconds()
    };
    let starts = [start("articles", "12:00:00"), start("articles", "13:00:00"), start("authors", "12:00:00")];
    assert_eq!(starts, [1_608_136, 673_389, 802_384]);
}

#[test]
fn jitter_is_spread_over_all_of_its_range() {
    let day = moment("2026-01-31T00:00:00Z");
    let schedule = |job: usize| Schedule::new(when("@daily")).jitter(Duration::from_secs(1000), format!("job-{job}"));
    let mut tenths = [0; 10];
    for job in 0..1000 {
        let jitter = (schedule(job).start_of(day) - day).num_milliseconds();
        tenths[usize::try_from(jitter / 100_001).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|jobs| (70..=130).contains(jobs)), "{tenths:?}");
}

#[test]
fn nothing_follows_after_the_end_of_the_calendar() {
    let end = moment("5001-01-01T00:00:00Z");
    assert_eq!(decide(&hourly(), &JobState::since(end), end), Decision::Never);
}
