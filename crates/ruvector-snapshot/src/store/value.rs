//! What the value of an option may be: checks values before a library sees them. Pure.
//!
//! The clients of `object_store` put values into URLs and headers, and panic at a value that neither can hold. Every
//! value therefore is of a kind, and a value that is not of its kind is refused. No message repeats a value, because it
//! may be secret.

#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "without a provider no option is read"))]

use std::borrow::Cow;

use url::{Position, Url};

/// No header and no path of a file is longer. A URL of 64 KiB is too long for the client, and each byte of a value can
/// take three bytes in a URL.
const BYTES_MAX: usize = 16 * 1024;
/// No name of a host and no part of one is longer.
const NAME_BYTES_MAX: usize = 255;
const URL_BYTES_MAX: usize = 2048;
/// The size of a key that a customer provides.
const KEY_BYTES: usize = 32;

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// `true` or `false`.
    Flag,
    /// `true`, `false` or `requester`, which means true.
    Payer,
    /// Text without control characters, which is read here or sent encoded.
    Text,
    /// The path of a file.
    Path,
    /// Text that is sent in a header: printable ASCII.
    Header,
    /// Letters, digits, `-`, `.` and `_`: part of a host name or of a path in a URL.
    Name,
    /// The URL of a server, without a query.
    Server,
    /// The URL of a service, to which a request is sent as it is.
    Service,
    /// The host of a service, and its port.
    Authority,
    /// The path in a URL of a fixed host.
    UrlPath,
    /// The URL of a proxy, or its host and port.
    Proxy,
    /// A shared access signature: part of a URL.
    Query,
    /// A JSON object, over several lines.
    Json,
    /// Bytes in base64.
    Base64,
    /// A key of 32 bytes in base64.
    Key,
}

impl ValueKind {
    /// Returns what is wrong with a value, to follow the name of its option; `None` if it is of this kind.
    pub(super) fn problem(self, value: &str) -> Option<String> {
        if let Some(problem) = self.problem_of_any(value) {
            return Some(problem);
        }
        match self {
            Self::Payer if value.eq_ignore_ascii_case("requester") => None,
            Self::Flag | Self::Payer => (!is_flag(value)).then(|| "must be true or false".to_owned()),
            Self::Text | Self::Path => None,
            Self::Header => header_problem(value),
            Self::Name => name_problem(value),
            Self::Server => server_problem(value, false),
            Self::Service => server_problem(value, true),
            Self::Authority => parse(&format!("http://{value}")).err(),
            Self::UrlPath => path_problem(value),
            Self::Proxy => proxy_problem(value),
            Self::Query => query_problem(value),
            Self::Json => json_problem(value),
            Self::Base64 => base64_problem(value, None),
            Self::Key => base64_problem(value, Some(KEY_BYTES)),
        }
    }

    /// Returns what is wrong with a value that no kind of value may be.
    fn problem_of_any(self, value: &str) -> Option<String> {
        let limit = match self {
            Self::Name => NAME_BYTES_MAX,
            Self::Server | Self::Service | Self::Authority | Self::UrlPath | Self::Proxy => URL_BYTES_MAX,
            _ => BYTES_MAX,
        };
        if value.is_empty() {
            Some("is empty; set it to a value, or leave it out".to_owned())
        } else if value.len() > limit {
            Some(format!("is longer than {limit} bytes"))
        } else if value.contains('\u{fffd}') {
            Some("is not valid UTF-8".to_owned())
        } else if self == Self::Json {
            None
        } else if let Some(control) = value.chars().find(|c| c.is_control()) {
            Some(format!("contains a control character ({}); remove it", control.escape_default()))
        } else if value.trim() != value {
            Some("begins or ends with white space; remove it".to_owned())
        } else {
            None
        }
    }
}

/// Returns what is wrong with the URL of a server. A service may have a query.
pub(super) fn server_problem(text: &str, is_service: bool) -> Option<String> {
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Some("must begin with https:// or http://".to_owned());
    }
    let url = match parse(text) {
        Ok(url) => url,
        Err(problem) => return Some(problem),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must contain no user and no password; credentials have options of their own".to_owned());
    }
    if url.fragment().is_some() || (!is_service && url.query().is_some()) {
        return Some("must contain no ? and no #; write https://host or https://host:port".to_owned());
    }
    None
}

/// Parses a URL, and checks that every library between here and the network reads the same host in it.
fn parse(text: &str) -> Result<Url, String> {
    if let Some(host) = host_in_ascii(text) {
        return Err(format!("is not ASCII; write the host as {host}"));
    }
    if let Some(problem) = text.chars().find_map(unusable_in_url) {
        return Err(problem);
    }
    let invalid = || "is not a valid URL; write https://host or https://host:port".to_owned();
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::InvalidPort => "has a port that is not a number from 1 to 65535".to_owned(),
        url::ParseError::InvalidIpv6Address if text.contains('%') => {
            "has an IPv6 address with a zone (%), which a URL cannot hold; write the address without it".to_owned()
        }
        _ => invalid(),
    })?;
    if url.port() == Some(0) {
        return Err("has a port that is not a number from 1 to 65535".to_owned());
    }
    let host = &url[Position::BeforeHost..Position::AfterHost];
    let is_address = host.starts_with('[');
    if host.len() > NAME_BYTES_MAX || (!is_address && !host.chars().all(is_name)) {
        return Err("has a host that is not a name or an address; write https://host or https://host:port".to_owned());
    }
    // What the parser has changed is not what the client would read.
    if !text.to_ascii_lowercase().contains(host) || !is_uri(text) {
        return Err(invalid());
    }
    Ok(url)
}

/// Returns the name of a host in the form that a URL can hold, if it is written in another one.
fn host_in_ascii(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|_| !text.is_ascii())?;
    let host = url.host_str()?;
    (host.contains("xn--") && !text.contains(host)).then(|| host.to_owned())
}

#[cfg(feature = "http")]
fn is_uri(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some())
}

#[cfg(not(feature = "http"))]
fn is_uri(_no_client_reads_it: &str) -> bool {
    true
}

/// Returns why a URL cannot hold a character.
fn unusable_in_url(c: char) -> Option<String> {
    match c {
        '{' | '}' | '$' => {
            Some(format!("contains {c}, which a URL cannot hold; check that every variable was replaced"))
        }
        ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '|' => Some(format!("contains {c:?}, which a URL cannot hold")),
        c if !c.is_ascii() || c.is_control() => Some("contains a character that is not ASCII".to_owned()),
        _ => None,
    }
}

fn header_problem(value: &str) -> Option<String> {
    let is_printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (!is_printable).then(|| "contains a character that is not ASCII, which a header cannot hold".to_owned())
}

fn name_problem(value: &str) -> Option<String> {
    let is_whole = value.chars().all(is_name) && value.starts_with(|c: char| c.is_ascii_alphanumeric());
    (!is_whole).then(|| "may contain only letters, digits, -, . and _, and begins with a letter or digit".to_owned())
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._".contains(c)
}

fn path_problem(value: &str) -> Option<String> {
    if !value.starts_with('/') {
        return Some("must begin with /".to_owned());
    }
    value.chars().find_map(unusable_in_url)
}

fn query_problem(value: &str) -> Option<String> {
    if let Some(problem) = value.chars().find_map(unusable_in_url) {
        return Some(problem);
    }
    let query = value.trim_start_matches('?');
    let is_decodable =
        |(name, value): (Cow<'_, str>, Cow<'_, str>)| ![name, value].iter().any(|text| text.contains('\u{fffd}'));
    let is_whole = query.split('&').all(|pair| pair.is_empty() || pair.contains('='))
        && !query.contains("%26")
        && url::form_urlencoded::parse(query.as_bytes()).all(is_decodable);
    (!is_whole)
        .then(|| "is not a shared access signature; write NAME=VALUE&NAME=VALUE, as the tools print it".to_owned())
}

/// Returns what is wrong with the URL of a proxy. It may have a user and a password, which the parser encodes.
pub(super) fn proxy_problem(value: &str) -> Option<String> {
    let url = with_scheme(value);
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Some("is not the URL of an HTTP proxy; it must begin with http:// or https://".to_owned());
    }
    if Url::parse(&url).is_err() {
        return Some("is not the URL of a proxy; write http://host:port".to_owned());
    }
    // The parser encodes what is in a password.
    let without_user = match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url,
    };
    parse(&without_user).err()
}

/// Returns the URL of a proxy that may be written without its scheme.
pub(super) fn with_scheme(proxy: &str) -> String {
    if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") }
}

fn json_problem(value: &str) -> Option<String> {
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(value).is_ok();
    (!is_object).then(|| "is not a JSON object".to_owned())
}

#[cfg(feature = "http")]
fn base64_problem(value: &str, bytes: Option<usize>) -> Option<String> {
    use base64::Engine as _;
    match (base64::prelude::BASE64_STANDARD.decode(value), bytes) {
        (Err(_), _) => Some("is not base64".to_owned()),
        (Ok(decoded), Some(bytes)) if decoded.len() != bytes => Some(format!("must be {bytes} bytes in base64")),
        _ => None,
    }
}

#[cfg(not(feature = "http"))]
fn base64_problem(_no_client_reads_it: &str, _bytes: Option<usize>) -> Option<String> {
    None
}

/// Returns whether a text says true or false, in the words of any of the tools.
fn is_flag(value: &str) -> bool {
    let words = ["true", "1", "yes", "y", "on", "false", "0", "no", "n", "off"];
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_valid(kind: ValueKind, values: &[&str]) {
        for value in values {
            assert_eq!(kind.problem(value), None, "{kind:?} {value:?}");
        }
    }

    #[track_caller]
    fn assert_problem(kind: ValueKind, values: &[&str], words: &str) {
        for value in values {
            let problem = kind.problem(value).unwrap_or_else(|| panic!("{kind:?} {value:?} is accepted"));
            assert!(problem.contains(words), "{kind:?} {value:?}: {problem}");
        }
    }

    #[test]
    fn usual_values_are_accepted() {
        assert_valid(
            ValueKind::Server,
            &[
                "https://minio.example:9000",
                "http://127.0.0.1:9000/",
                "http://[::1]:9000",
                "http://[FD00::1]",
                "https://S3.Example.com/path/a%20b",
                "http://my_server",
                "http://xn--mnchen-3ya.example",
            ],
        );
        assert_valid(ValueKind::Service, &["http://169.254.170.23/v1/credentials?a=b", "https://login.example/"]);
        assert_valid(
            ValueKind::Proxy,
            &["proxy:8080", "http://proxy", "https://user:p{a}ss^w@rd@proxy:3128/", "http://user@[::1]:8080"],
        );
        assert_valid(ValueKind::Name, &["eu-central-1", "my_region", "a.b"]);
        assert_valid(ValueKind::Header, &["AKIA/+= x"]);
        assert_valid(ValueKind::Query, &["?sv=2022-11-02&sig=a%2Bb%3D", "sp=r&se=2099-01-01T00:00:00Z"]);
        assert_valid(ValueKind::Json, &["{\n  \"a\": 1\n}\n"]);
    }

    #[test]
    fn values_that_cannot_be_sent_are_refused_with_a_reason() {
        let servers = [ValueKind::Server, ValueKind::Service, ValueKind::Proxy];
        for kind in servers {
            assert_problem(kind, &["http://${HOST}:9000", "http://{x}"], "every variable was replaced");
            assert_problem(kind, &["http://münchen.example"], "write the host as xn--mnchen-3ya.example");
            assert_problem(kind, &["http://minio:9000\r", "http://minio:9000\n", "http://a\tb"], "control character");
            assert_problem(kind, &[" http://minio:9000", "http://minio:9000 "], "white space");
        }
        assert_problem(ValueKind::Server, &["http://a:99999", "http://a:0"], "1 to 65535");
        assert_problem(ValueKind::Server, &["http://[fe80::1%25eth0]:9000", "http://[fe80::1%eth0]"], "zone");
        assert_problem(ValueKind::Server, &["http:///a", "http://", "http://a b", "http://a\\b"], "URL");
        assert_problem(ValueKind::Server, &["http://a/?b", "http://a#b"], "no ? and no #");
        assert_problem(ValueKind::Proxy, &["socks5://proxy:1080", "ftp://proxy"], "HTTP proxy");
        assert_problem(ValueKind::Name, &["a/b", "é", "..", "a b"], "letters");
        assert_problem(ValueKind::Header, &["é"], "header");
        assert_problem(ValueKind::Key, &["!", "AAAA"], "base64");
        assert_problem(ValueKind::Json, &["[]", "1", "{"], "JSON object");
        assert_problem(ValueKind::Text, &[""], "is empty");
    }
}
