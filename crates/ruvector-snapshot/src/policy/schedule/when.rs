//! The due times of a schedule: [`When`], its text form, and the due times after, before and between moments.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::cron::Cron;
use crate::error::{ErrorKind, SnapshotError};
use crate::policy::retention::Span;

/// What [`When::count_between`] counts up to.
pub const MAX_COUNT: usize = 1000;

const SECONDS_PER_DAY: i64 = 86_400;
const MAX_INTERVAL_SECONDS: i64 = 366 * SECONDS_PER_DAY;

/// The due times of a schedule: at equal intervals, or by a calendar.
///
/// | text | due |
/// |---|---|
/// | `every 6h` | at each multiple of 6 hours since 1970-01-01T00:00:00Z. Units: `w`, `d`, `h`, `m` and `s`, also together, as in `1d12h`. From 1 second to 366 days |
/// | `30 2 * * *` | each day at 02:30 UTC: minute, hour, day of the month, month, day of the week |
/// | `30 2 * * MON-FRI Europe/Berlin` | on working days at 02:30 in this time zone of the IANA database |
/// | `@hourly`, `@daily`, `@weekly`, `@monthly` | at the beginning of each hour, day, week (on Sunday) or month. A time zone may follow |
///
/// A field of a calendar is `*`, a number, a range `1-5`, a step `*/2` or `1-9/2`, or several of these with commas between. Months
/// and days of the week have names, such as `JAN` and `SUN`; 0 and 7 are both Sunday. `L` is the last day of the month, `15W` the
/// working day that is nearest to the 15th, `5L` the last Friday of the month and `5#2` the second. If both the day of the month
/// and the day of the week are given, a day is due that is either.
///
/// # If clocks are changed
///
/// Intervals are elapsed time, and the same in every time zone. In a calendar, what happens depends on its minute and hour, as in
/// the cron of Debian:
///
/// - A **fixed time** has neither `*` nor a step in either of them, for example `30 2 * * *` or `0 1,13 * * *`. It is due once, at
///   the first moment at which the local clock shows this time or a later one. If clocks are set forward across it, that is
///   when they are set. If they are set back across it, it is the first of the two.
/// - All others, for example `*/15 * * * *` or `0 */2 * * *`, are due whenever the local clock shows such a time. What the clock
///   skips is not due; what it repeats is due again. A calendar such as `*/15 2 * * *` is not due at all on a day without this hour.
///
/// # Examples
///
/// ```
/// use chrono::{DateTime, Utc};
/// use ruvector_snapshot::schedule::When;
///
/// let nightly: When = "30 2 * * * Europe/Berlin".parse()?;
/// let now: DateTime<Utc> = "2026-01-31T12:00:00Z".parse()?;
/// assert_eq!(nightly.next_after(now), Some("2026-02-01T01:30:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct When {
    /// As it was given, with single spaces.
    text: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Every { seconds: i64 },
    Cron(Box<Cron>),
}

impl When {
    /// Returns the first due time that is later than a moment, or `None` if there is none: the calendar ends in the year 5000.
    /// There are no due times before 1970.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use ruvector_snapshot::schedule::When;
    ///
    /// let when: When = "every 6h".parse()?;
    /// assert_eq!(when.next_after(DateTime::UNIX_EPOCH), Some(DateTime::UNIX_EPOCH + TimeDelta::hours(6)));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.rule.next_after(moment.timestamp().max(-1)).and_then(|second| DateTime::from_timestamp(second, 0))
    }

    /// Returns the due times that are later than a moment, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::DateTime;
    /// use ruvector_snapshot::schedule::When;
    ///
    /// let leap_days: When = "0 0 29 2 *".parse()?;
    /// let days = leap_days.due_times(DateTime::UNIX_EPOCH).map(|due| due.date_naive().to_string());
    /// assert_eq!(days.take(2).collect::<Vec<_>>(), ["1972-02-29", "1976-02-29"]);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn due_times(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |due| self.next_after(*due))
    }

    /// Returns the number of due times that are later than `after` and not later than `until`, but not more than
    /// [`MAX_COUNT`].
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use ruvector_snapshot::schedule::When;
    ///
    /// let when: When = "@hourly".parse()?;
    /// let after = DateTime::UNIX_EPOCH;
    /// assert_eq!(when.count_between(after, after + TimeDelta::days(1)), 24);
    /// assert_eq!(when.count_between(after, after + TimeDelta::days(365)), 1000);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn count_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> usize {
        self.due_times(after).take_while(|due| *due <= until).take(MAX_COUNT).count()
    }

    /// Returns the last due time that is later than `after` and not later than `until`, or `None` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use ruvector_snapshot::schedule::When;
    ///
    /// let when: When = "@hourly".parse()?;
    /// let after = DateTime::UNIX_EPOCH;
    /// assert_eq!(when.last_between(after, after + TimeDelta::minutes(150)), Some(after + TimeDelta::hours(2)));
    /// assert_eq!(when.last_between(after, after + TimeDelta::minutes(59)), None);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn last_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = |moment| self.next_after(moment).filter(|due| *due <= until);
        // `last` is due, and nothing is due after `end`. The range between them is halved each time.
        let (mut last, mut end) = (next(after)?, until);
        while next(last).is_some() {
            let middle = last + (end - last) / 2;
            match next(middle) {
                Some(due) => last = due,
                None => end = middle,
            }
        }
        Some(last)
    }

    /// Returns the longest distance between two due times in a row, of the first so many after a moment. `None` if there are
    /// fewer than two.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::DateTime;
    /// use ruvector_snapshot::schedule::When;
    ///
    /// let working_days: When = "0 18 * * MON-FRI".parse()?;
    /// let longest = working_days.longest_distance(DateTime::UNIX_EPOCH, 10);
    /// assert_eq!(longest.map(|distance| distance.num_days()), Some(3));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn longest_distance(&self, after: DateTime<Utc>, count: usize) -> Option<TimeDelta> {
        let times: Vec<DateTime<Utc>> = self.due_times(after).take(count).collect();
        times.windows(2).filter_map(|pair| Some(*pair.last()? - *pair.first()?)).max()
    }
}

const INTERVAL_HINT: &str = "give numbers with w, d, h, m (minutes) or s, for example 1d12h or 90m";

impl Rule {
    fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let interval = |reason: String| (reason, "every 6h");
        match text.split_once(' ').unwrap_or((text, "")) {
            ("every", length) => {
                let span = Span::parse(length, INTERVAL_HINT).map_err(|error| interval(error.message().to_owned()))?;
                match span.elapsed().map(|elapsed| elapsed.num_seconds()) {
                    Some(seconds @ 1..=MAX_INTERVAL_SECONDS) => Ok(Self::Every { seconds }),
                    Some(_) => Err(interval("an interval is at most 366d".to_owned())),
                    None => Err(interval(
                        "months and years differ in length, so they need a calendar, such as @monthly".to_owned(),
                    )),
                }
            }
            _ => Cron::parse(text)
                .map(|cron| Self::Cron(Box::new(cron)))
                .map_err(|reason| (reason, "30 2 * * * Europe/Berlin")),
        }
    }

    /// Returns the first due second after this one, which is -1 or more: both are counted from 1970.
    fn next_after(&self, second: i64) -> Option<i64> {
        match self {
            Self::Every { seconds } => Some((second.div_euclid(*seconds) + 1) * seconds),
            Self::Cron(cron) => cron.next_after(second),
        }
    }
}

/// Parses the text form. It may have further spaces between its parts.
impl FromStr for When {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        match Rule::parse(&text) {
            Ok(rule) => Ok(Self { text, rule }),
            Err((reason, example)) => {
                let message = format!("{text:?} is not a schedule: {reason}; for example: {example}");
                Err(SnapshotError::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

impl TryFrom<String> for When {
    type Error = SnapshotError;

    fn try_from(text: String) -> Result<Self, SnapshotError> {
        text.parse()
    }
}

impl From<When> for String {
    fn from(when: When) -> Self {
        when.text
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
