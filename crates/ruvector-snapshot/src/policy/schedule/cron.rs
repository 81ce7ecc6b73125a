//! A cron expression in a time zone. croner knows the calendar: it searches readings of a clock that is never changed. How these
//! become moments if clocks are changed is decided here, with jiff.

use chrono::{DateTime, NaiveDateTime};
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset};

use crate::error::SnapshotError;
use crate::policy::retention::TimeZone;

/// The fields of an expression: what they are called, their values, and the words in them.
const FIELDS: [(&str, &str, &[&str]); 5] = [
    ("minute", "0-59", &[]),
    ("hour", "0-23", &[]),
    ("day of the month", "1-31, L, LW or 15W", &["L", "LW"]),
    ("month", "1-12 or JAN-DEC", &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]),
    ("day of the week", "0-7, SUN-SAT, 5L or 5#2", &["L", "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    expression: croner::Cron,
    /// Whether it is due whenever the local clock shows such a time. If not, it has fixed times, each of which is due once.
    is_recurring: bool,
    time_zone: TimeZone,
}

impl Cron {
    /// Parses an expression or its nickname, and the time zone after it. The error is what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (expression, time_zone) = match text.split_once(' ').unwrap_or((text, "")) {
            ("@hourly", time_zone) => ("0 * * * *", time_zone),
            ("@daily", time_zone) => ("0 0 * * *", time_zone),
            ("@weekly", time_zone) => ("0 0 * * 0", time_zone),
            ("@monthly", time_zone) => ("0 0 1 * *", time_zone),
            (nickname, _) if nickname.starts_with('@') => {
                return Err(format!("{nickname} is unknown; there are @hourly, @daily, @weekly and @monthly"));
            }
            _ => match text.match_indices(' ').nth(4) {
                Some((end, _)) => (&text[..end], &text[end + 1..]),
                None => (text, ""),
            },
        };
        let time_zone: TimeZone = match time_zone {
            "" => TimeZone::default(),
            // That is a field of an expression with seconds.
            name if name.starts_with(|c: char| !c.is_ascii_alphabetic()) || is_weekday(name) => {
                return Err(wrong_number_of_fields());
            }
            name => name.parse().map_err(|error: SnapshotError| error.message().to_owned())?,
        };
        let fields = fields(expression)?;
        let is_recurring = fields[..2].iter().any(|field| field.contains(['*', '/']));
        let cron = Self { expression: parsed(&fields)?, is_recurring, time_zone };
        if cron.next_after(-1).is_none() {
            return Err("it never comes: no month that is given has such a day".to_owned());
        }
        Ok(cron)
    }

    /// Returns the first due second after this one. Both are counted from 1970.
    pub(super) fn next_after(&self, second: i64) -> Option<i64> {
        match self.is_recurring {
            true => self.next_recurring(second),
            false => self.next_fixed(second),
        }
    }

    /// Every second whose reading matches is due. The time between two changes of the clock is searched on its own, with the
    /// offset that is valid then.
    fn next_recurring(&self, second: i64) -> Option<i64> {
        let now = Timestamp::from_second(second).ok()?;
        let mut changes = self.time_zone.as_jiff().following(now);
        let mut offset = self.time_zone.as_jiff().to_offset(now);
        let (mut from, mut inclusive) = (second, false);
        loop {
            let reading = self.expression.find_next_occurrence(&reading(from, offset)?, inclusive).ok()?;
            let due = second_of(reading, offset);
            match changes.next() {
                Some(change) if change.timestamp().as_second() <= due => {
                    (from, inclusive) = (change.timestamp().as_second(), true);
                    offset = change.offset();
                }
                _ => return Some(due),
            }
        }
    }

    /// Every reading that matches is due once. A reading before that of `second` is not due after it, and of those after it
    /// only repeated ones are due before it.
    fn next_fixed(&self, second: i64) -> Option<i64> {
        let offset = self.time_zone.as_jiff().to_offset(Timestamp::from_second(second).ok()?);
        let mut reading = reading(second, offset)?;
        loop {
            reading = self.expression.find_next_occurrence(&reading, false).ok()?;
            let due = self.first_second(reading)?;
            if due > second {
                return Some(due);
            }
        }
    }

    /// Returns the first second at which the local clock shows this reading or a later one.
    fn first_second(&self, reading: NaiveDateTime) -> Option<i64> {
        let civil = Offset::UTC.to_datetime(Timestamp::from_second(second_of(reading, Offset::UTC)).ok()?);
        match self.time_zone.as_jiff().to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some(second_of(reading, offset)),
            AmbiguousOffset::Fold { before, .. } => Some(second_of(reading, before)),
            AmbiguousOffset::Gap { after, .. } => {
                // With the offset after the change, the reading is a moment before the change.
                let before = Timestamp::from_second(second_of(reading, after)).ok()?;
                self.time_zone.as_jiff().following(before).next().map(|change| change.timestamp().as_second())
            }
        }
    }
}

/// Returns what a clock with this offset shows.
fn reading(second: i64, offset: Offset) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(second + i64::from(offset.seconds()), 0).map(|shown| shown.naive_utc())
}

/// Returns when a clock with this offset shows a reading.
fn second_of(reading: NaiveDateTime, offset: Offset) -> i64 {
    reading.and_utc().timestamp() - i64::from(offset.seconds())
}

/// Splits an expression. croner also accepts empty items of lists, names in any field and signs of its own, which are refused here.
fn fields(expression: &str) -> Result<[&str; 5], String> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let Ok(fields) = <[&str; 5]>::try_from(fields) else {
        return Err(wrong_number_of_fields());
    };
    for (field, (name, values, words)) in fields.into_iter().zip(FIELDS) {
        let is_word = |word: &str| {
            word.trim_end_matches(['L', 'W', 'l', 'w']).bytes().all(|byte| byte.is_ascii_digit())
                || words.contains(&word.to_ascii_uppercase().as_str())
        };
        let is_sign = |c: char| c.is_ascii_punctuation() && !"*,-/#".contains(c);
        if field.contains(is_sign)
            || field.split(',').any(str::is_empty)
            || !field.split(|c: char| !c.is_alphanumeric()).all(is_word)
        {
            return Err(invalid_field(field, name, values));
        }
    }
    Ok(fields)
}

fn wrong_number_of_fields() -> String {
    format!("it is no interval, and a calendar has five fields: {}", FIELDS.map(|(name, ..)| name).join(", "))
}

fn is_weekday(name: &str) -> bool {
    FIELDS.last().is_some_and(|(.., words)| words.contains(&name.to_ascii_uppercase().as_str()))
}

fn parsed(fields: &[&str; 5]) -> Result<croner::Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(&fields.join(" ")).map_err(|error| {
        // The field that is wrong is wrong without the others.
        let alone =
            |at: usize| std::array::from_fn::<_, 5, _>(|other| if other == at { fields[at] } else { "*" }).join(" ");
        match (0..fields.len()).find(|at| parser.parse(&alone(*at)).is_err()) {
            Some(at) => invalid_field(fields[at], FIELDS[at].0, FIELDS[at].1),
            None => error.to_string(),
        }
    })
}

fn invalid_field(field: &str, name: &str, values: &str) -> String {
    format!("the {name} {field:?} is not valid; it is {values}, or * for all, with ranges 1-5, steps */2 and lists 1,3")
}
