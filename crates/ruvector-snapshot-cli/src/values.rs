//! The values of options: how the text of each is parsed, and what is wrong with it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use ruvector_core::DistanceMetric;
use ruvector_snapshot::{Condition, ExportFormat, OnConflict, SnapshotError, Span, VerifyDepth};

/// How the name of the directory of a snapshot begins: the id follows.
pub(crate) const DIRECTORY_PREFIX: &str = "snapshot-";

/// How a name of the configuration file begins, where a path or a location can be given as well.
const PROFILE: char = '@';

/// What is wrong with a path that begins with it.
const AT_NAME: &str = "@NAME means a profile of the configuration file, and a path of this machine is needed; a path with this \
                       name is written ./@NAME";

/// Parses a path that may be made. A control character in it, such as the end of a line of a script from Windows, is a
/// mistake, unless there is such a file. So are a URL, the word for standard output, and what means a profile elsewhere.
pub(crate) fn new_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let text = path.to_string_lossy();
        let control = text.chars().find(|c| c.is_control());
        if let Some(control) = control.filter(|_| !path.exists()) {
            return Err(format!("the path contains a control character ({})", control.escape_default()));
        }
        if text == "-" {
            return Err("nothing is written to standard output; a path with this name is written ./-".to_owned());
        }
        if text.starts_with(PROFILE) {
            return Err(AT_NAME.to_owned());
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_owned());
        match scheme.filter(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            Some(scheme) => Err(format!("this is a URL ({scheme}://), and a path of this machine is needed")),
            None => Ok(path),
        }
    })
}

/// A file of metrics. The collector reads no others.
pub(crate) fn textfile_path() -> impl TypedValueParser<Value = PathBuf> {
    new_path().try_map(|path| match path.extension().is_some_and(|extension| extension == "prom") {
        true => Ok(path),
        false => Err("its name must end with .prom: the collector reads no other files"),
    })
}

/// Refuses an empty text, such as that of a variable of a script that is not set.
pub(crate) fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("cannot be empty; leave the option out".to_owned()) } else { Ok(text.to_owned()) }
}

/// Parses a share such as `50%` or `50`.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<u8>() {
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err("give a number from 1% to 100%".to_owned()),
    }
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

pub(crate) fn positive(text: &str) -> Result<usize, String> {
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

/// Parses bytes per second, with a unit: a number alone would be KiB to one reader, and bytes to another.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let problem = || {
        "must be a number of bytes per second with a unit, at least 1B, for example 500KiB, 20MiB or 1GiB (K, M and G mean the \
         same)"
            .to_owned()
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" if !number.is_empty() && number.parse::<u64>() != Ok(0) => {
            return Err(format!("has no unit: write {number}B for bytes per second, or {number}KiB or {number}MiB"));
        }
        "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        _ => return Err(problem()),
    };
    let rate = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).filter(|rate| *rate > 0);
    rate.ok_or_else(problem)
}

/// Returns bytes per second as [`rate`] parses them, with the largest unit of which they are a multiple.
pub(crate) fn shown_rate(rate: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| rate > 0 && rate.is_multiple_of(1 << shift));
    let (shift, unit) = unit.unwrap_or((0, "B"));
    format!("{}{unit}", rate >> shift)
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
    span.elapsed().ok_or_else(problem)
}

/// Parses a length of time, which may be none, as [`grace`] does.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    grace(text).map(|length| length.to_std().unwrap_or_default())
}

/// As [`duration`], at least a second.
pub(crate) fn some_duration(text: &str) -> Result<Duration, String> {
    let long = |length: &Duration| *length >= Duration::from_secs(1);
    duration(text).and_then(|length| Some(length).filter(long).ok_or_else(|| "it is at least 1s".to_owned()))
}

/// Parses where HTTP is answered: an address with a port, or a port of 127.0.0.1.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(local),
        None => text.parse().ok().or_else(|| text.parse().ok().map(local)),
    };
    address.ok_or_else(|| "must be IP:PORT, for example 127.0.0.1:8462 or [::]:8462, or a port of 127.0.0.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_at_has_a_port() {
        for (text, address) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("8462", "127.0.0.1:8462"),
            ("0", "127.0.0.1:0"),
            ("localhost:9", "127.0.0.1:9"),
            ("[::]:8462", "[::]:8462"),
        ] {
            assert_eq!(listen_address(text).map(|address| address.to_string()), Ok(address.to_owned()));
        }
        for text in ["", "127.0.0.1", "65536", "example.org:80", ":80", "localhost", "-1", "http://127.0.0.1:80"] {
            assert!(listen_address(text).is_err_and(|problem| problem.contains("127.0.0.1:8462")), "{text}");
        }
    }

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
