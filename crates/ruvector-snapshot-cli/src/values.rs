//! The values of options: how the text of each is parsed, and what is wrong with it.

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use ruvector_core::DistanceMetric;
use ruvector_snapshot::{Condition, ExportFormat, OnConflict, SnapshotError, Span, VerifyDepth};

/// Parses a path that may be made. A control character in it, such as the end of a line of a script from Windows, is a
/// mistake, unless there is such a file.
pub(crate) fn new_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let control = path.to_string_lossy().chars().find(|c| c.is_control());
        match control.filter(|_| !path.exists()) {
            None => Ok(path),
            Some(control) => Err(format!("the path contains a control character ({})", control.escape_default())),
        }
    })
}

pub(crate) fn on_conflict() -> impl TypedValueParser<Value = OnConflict> {
    PossibleValuesParser::new(["fail", "keep", "replace"]).map(|choice| match choice.as_str() {
        "keep" => OnConflict::Keep,
        "replace" => OnConflict::Replace,
        _ => OnConflict::Fail,
    })
}

pub(crate) fn export_format() -> impl TypedValueParser<Value = ExportFormat> {
    PossibleValuesParser::new(ExportFormat::ALL.iter().map(|format| format.name())).try_map(|name| name.parse())
}

pub(crate) fn metric() -> impl TypedValueParser<Value = DistanceMetric> {
    PossibleValuesParser::new(["euclidean", "cosine", "dot-product", "manhattan"]).map(|name| match name.as_str() {
        "euclidean" => DistanceMetric::Euclidean,
        "cosine" => DistanceMetric::Cosine,
        "manhattan" => DistanceMetric::Manhattan,
        _ => DistanceMetric::DotProduct,
    })
}

pub(crate) fn probes(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| "must be a whole number from 1 to 10000".to_owned())
}

pub(crate) fn recall(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "must be a number from 0 to 1, for example 0.9".to_owned())
}

pub(crate) fn neighbors(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "must be a whole number, at least 1".to_owned())
}

/// Pairs that were given together.
#[derive(Debug, Clone)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

pub(crate) fn pairs(text: &str) -> Result<Pairs, String> {
    let pairs = text.split(',').map(|pair| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("it is KEY=VALUE, or several with commas between, for example model=all-MiniLM-L6-v2".to_owned()),
    });
    pairs.collect::<Result<_, _>>().map(Pairs)
}

pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("a label needs a key before the =, for example host=db1".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("a label is KEY=VALUE, for example host=db1".to_owned()),
    }
}

/// Parses a condition. Says how a shell may have cut it.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    text.parse().map_err(|error: SnapshotError| {
        let advice = match text.contains(['=', '!', '<', '>']) {
            false => "a shell takes < and > for itself, so quote them",
            true if text.trim().contains(char::is_whitespace) => "give --where once for each condition",
            true => return error.to_string(),
        };
        format!("{error}; {advice}")
    })
}

pub(crate) fn compression_level(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (0..=9).contains(number));
    number.ok_or_else(|| "must be a number from 0 to 9".to_owned())
}

pub(crate) fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| "must be a whole number from 1 to 1024".to_owned())
}

pub(crate) fn max_chain(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or_else(|| "must be a whole number from 1 to 1000".to_owned())
}

/// Parses bytes per second, with K, M or G for powers of 1024.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let problem = || "must be a number of bytes per second, at least 1, for example 500000, 500K, 20M or 1G".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(problem()),
    };
    let rate = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).filter(|rate| *rate > 0);
    rate.ok_or_else(problem)
}

pub(crate) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("0 would keep nothing; use at least 1, or omit the option".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("must be a whole number, at least 1".to_owned()),
    }
}

/// Parses which part of the data a verification reads.
pub(crate) fn subset(text: &str) -> Result<VerifyDepth, SnapshotError> {
    Ok(VerifyDepth::parse_subset(text)?)
}

/// Parses a length of time that has the same length at any date: years and months have not.
pub(crate) fn grace(text: &str) -> Result<TimeDelta, String> {
    let problem = || "a length of time is a number with w, d, h, m or s, for example 24h, 90m or 1d12h".to_owned();
    // No span, but a grace period: none.
    let zeros = text.strip_suffix(['w', 'd', 'h', 'm', 's']).unwrap_or_default();
    if !zeros.is_empty() && zeros.chars().all(|c| c == '0') {
        return Ok(TimeDelta::zero());
    }
    let span: Span = text.parse().map_err(|_| problem())?;
    if span.years != 0 || span.months != 0 {
        return Err(problem());
    }
    let days = i64::from(span.weeks) * 7 + i64::from(span.days);
    let minutes = (days * 24 + i64::from(span.hours)) * 60 + i64::from(span.minutes);
    Ok(TimeDelta::seconds(minutes * 60 + i64::from(span.seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_a_length_of_time_without_calendar_units() {
        for (text, seconds) in [
            ("0s", 0),
            ("00h", 0),
            ("1w", 604_800),
            ("90m", 5_400),
            ("24h", 86_400),
            ("2d", 172_800),
            ("1d12h", 129_600),
        ] {
            assert_eq!(grace(text), Ok(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in
            ["", "0", "24", "h", "-1h", "1h ago", "1mo", "1y", "24x", "1h1h", "99999999999999999999h", "9999999999h"]
        {
            assert!(grace(text).is_err_and(|problem| problem.contains("24h")), "{text}");
        }
    }
}
