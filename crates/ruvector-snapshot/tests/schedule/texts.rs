//! Which texts are schedules, and what is wrong with the others.

use ruvector_snapshot::SnapshotError;
use ruvector_snapshot::schedule::When;
use serde::Deserialize as _;
use serde::de::value::{Error, StrDeserializer};

use crate::{moment, when};

#[test]
fn the_text_of_a_schedule_is_a_schedule() {
    for text in [
        "every 6h",
        "every 1d12h",
        "every 1s",
        "every 366d",
        "@hourly",
        "@daily Europe/Berlin",
        "30 2 * * *",
        "0,30 */4 1-7 jan-MAR 1-5 Asia/Kathmandu",
        "0 0 L * *",
        "0 0 LW * *",
        "0 0 15W * *",
        "0 0 * * 5L",
        "0 0 * * MON#1,FRI#3",
    ] {
        assert_eq!(when(text).to_string(), text);
        assert_eq!(when(&when(text).to_string()), when(text));
    }
    assert_eq!(when("  30  2 * *\t*   Europe/Berlin ").to_string(), "30 2 * * * Europe/Berlin");
}

#[test]
fn an_error_says_what_is_wrong_and_gives_an_example() {
    for (text, reason) in [
        ("", "a calendar has five fields: minute, hour, day of the month, month, day of the week"),
        ("6h", "a calendar has five fields"),
        ("every", "\"\" is not a length of time"),
        ("every 6", "\"6\" is not a length of time"),
        ("every h", "\"h\" is not a length of time"),
        ("every 6 h", "\"6 h\" is not a length of time"),
        ("every 1h1h", "\"1h1h\" is not a length of time"),
        ("every 1mo", "months and years differ in length, so they need a calendar"),
        ("every 6h Europe/Berlin", "\"6h Europe/Berlin\" is not a length of time"),
        ("every 9999999999999999999w", "is not a length of time"),
        ("every 999999999999999999w", "is not a length of time"),
        ("every 1\u{e9}", "is not a length of time"),
        ("every 1x", "give numbers with w, d, h, m (minutes) or s, for example 1d12h or 90m; for example: every 6h"),
        ("every 0s", "\"0s\" is zero"),
        ("every 367d", "at most 366d"),
        ("@reboot", "@reboot is unknown; there are @hourly, @daily, @weekly and @monthly"),
        ("* * * *", "a calendar has five fields"),
        ("60 * * * *", "the minute \"60\" is not valid; it is 0-59"),
        ("L * * * *", "the minute \"L\" is not valid"),
        ("0 24 * * *", "the hour \"24\" is not valid; it is 0-23"),
        ("0 5-2 * * *", "the hour \"5-2\" is not valid"),
        ("0 */0 * * *", "the hour \"*/0\" is not valid"),
        ("0 2/3 * * *", "the hour \"2/3\" is not valid"),
        ("MON 2 * * *", "the minute \"MON\" is not valid"),
        ("0 0 32 * *", "the day of the month \"32\" is not valid; it is 1-31"),
        ("0 0 0 * *", "the day of the month \"0\" is not valid"),
        ("0 0 ? * *", "the day of the month \"?\" is not valid"),
        ("0 0 * 13 *", "the month \"13\" is not valid; it is 1-12 or JAN-DEC"),
        ("0 0 * MON *", "the month \"MON\" is not valid"),
        ("0 0 * JAN1 *", "the month \"JAN1\" is not valid"),
        ("0 0 * * 8", "the day of the week \"8\" is not valid"),
        ("0 0 * * MONDAY", "the day of the week \"MONDAY\" is not valid"),
        ("0 0 * * 5#6", "the day of the week \"5#6\" is not valid"),
        ("0 0 13 * +5", "the day of the week \"+5\" is not valid"),
        (", * * * *", "the minute \",\" is not valid"),
        ("1,,2 * * * *", "the minute \"1,,2\" is not valid"),
        ("0 0 \u{663} * *", "the day of the month"),
        ("0 30 2 * * *", "a calendar has five fields"),
        ("0 30 2 * * MON", "a calendar has five fields"),
        ("30 2 * * * Europe/Atlantis", "unknown time zone \"Europe/Atlantis\""),
        ("30 2 * * * Etc/Unknown", "unknown time zone \"Etc/Unknown\""),
        ("30 2 * * * Europe/Berlin UTC", "unknown time zone \"Europe/Berlin UTC\""),
        ("@daily Atlantis", "unknown time zone \"Atlantis\""),
        ("0 0 30 2 *", "it never comes"),
        ("0 0 31 2,4,6,9,11 *", "it never comes"),
    ] {
        let error: SnapshotError = text.parse::<When>().expect_err(text);
        let shown = error.to_string();
        assert!(shown.contains(reason), "{text}: {shown}");
        assert!(shown.starts_with(&format!("{text:?} is not a schedule: ")), "{shown}");
        let (_, example) = shown.split_once("for example: ").unwrap();
        assert!(example.parse::<When>().is_ok(), "{shown}");
    }
}

#[test]
fn a_schedule_is_a_string_in_a_configuration() {
    let read = |text| When::deserialize(StrDeserializer::<Error>::new(text));
    assert_eq!(read("every 6h").unwrap(), when("every 6h"));
    assert!(read("every 0s").unwrap_err().to_string().contains("is zero"));
    assert_eq!(String::from(when("@daily UTC")), "@daily UTC");
}

#[test]
fn names_of_zones_are_read_in_any_case() {
    let after = moment("2026-07-01T00:00:00Z");
    assert_eq!(when("0 5 * * * europe/berlin").next_after(after), when("0 5 * * * Europe/Berlin").next_after(after));
}
