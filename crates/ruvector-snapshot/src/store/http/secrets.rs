//! The secrets of a store, in every form in which they travel, and their removal from texts. Pure.
//!
//! A server or a proxy may repeat a request in an error, as it is or encoded. Secrets therefore are not only looked for
//! as they are: any byte may be escaped for a URL, XML, JSON or mail, lines may be wrapped, and the secret may be part of
//! something longer in base64, as the password is in `Proxy-Authorization: Basic`. What is secret of a request, such as
//! its signature or a token that a service has issued, is read from the request itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::CONTENT_TYPE;
use memchr::memchr2;
use object_store::client::HttpRequest;
use url::{Url, form_urlencoded};

use crate::store::options::Settings;

const HIDDEN: &str = "[hidden]";

/// Shorter secrets are not replaced: they would match parts of ordinary words.
const SECRET_BYTES_MIN: usize = 4;
/// Shorter parts of base64 are not replaced.
const BASE64_BYTES_MIN: usize = 8;
/// The beginning of a secret is replaced at the end of a text, which may be cut off, if it is as long as this.
const CUT_OFF_BYTES_MIN: usize = 8;
/// The first bytes of escape sequences.
const ESCAPES: &[u8] = b"%=\\&";
/// The first bytes of escape sequences and of what may stand between the bytes of a secret.
const UNUSUAL_BYTES: &[u8] = b"%=\\&\r\n\0";
/// How many secrets of requests are remembered, for texts that are read after the response.
const REMEMBERED_MAX: usize = 64;

/// Ends of the names of headers whose values are secret.
const SECRET_HEADERS: [&str; 7] =
    ["authorization", "token", "cookie", "-key", "-key-md5", "-key-sha256", "identity-header"];
/// Names of secret parameters, in a query or a form.
const SECRET_PARAMETERS: [&str; 14] = [
    "sig",
    "signature",
    "x-amz-signature",
    "x-amz-security-token",
    "x-goog-signature",
    "webidentitytoken",
    "access_token",
    "token",
    "client_secret",
    "refresh_token",
    "assertion",
    "client_assertion",
    "subject_token",
    "password",
];

/// Values that no text may contain.
pub(in crate::store) struct Secrets {
    /// Those of the options.
    known: Vec<Arc<Secret>>,
    /// Those that were read later.
    later: Mutex<Vec<Arc<Secret>>>,
    /// Those of the last requests, the newest last.
    sent: Mutex<VecDeque<Arc<Secret>>>,
}

/// One value that no text may contain.
pub(super) struct Secret {
    value: String,
    /// Made when the first text is searched: most requests have a response without one.
    forms: OnceLock<Vec<Form>>,
}

impl Secrets {
    /// Returns the secrets in the options of a store and in the URLs of its proxies.
    pub(super) fn of(settings: &Settings, proxies: &[String]) -> Self {
        let mut known = settings.secrets();
        proxies.iter().for_each(|url| known.extend(credentials_of(url)));
        known.extend(secret_parameters(settings.get("sas_token").unwrap_or_default().trim_start_matches('?')));
        Self { known: known.into_iter().map(Secret::new).collect(), later: Mutex::default(), sent: Mutex::default() }
    }

    /// Adds secrets.
    #[cfg(any(feature = "aws", feature = "gcp"))]
    pub(super) fn hide(&self, secrets: impl IntoIterator<Item = String>) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            if !later.iter().any(|other| other.value == secret) {
                later.push(Secret::new(secret));
            }
        }
    }

    /// Remembers what is secret of a request, and returns it.
    pub(super) fn remember(&self, request: &HttpRequest) -> Vec<Arc<Secret>> {
        let values = secrets_of(request);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secrets = Vec::with_capacity(values.len());
        for value in values {
            let known = sent.iter().position(|other| other.value == value).and_then(|at| sent.remove(at));
            let secret = known.unwrap_or_else(|| Secret::new(value));
            sent.push_back(secret.clone());
            secrets.push(secret);
        }
        while sent.len() > REMEMBERED_MAX {
            sent.pop_front();
        }
        secrets
    }

    /// Returns a text with every secret replaced.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.scrub_response(text, &[])
    }

    /// Returns a text of the response to a request with every secret replaced, also those of that request.
    pub(super) fn scrub_response(&self, text: &str, of_request: &[Arc<Secret>]) -> String {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let forgotten = of_request.iter().filter(|secret| !sent.iter().any(|other| Arc::ptr_eq(other, secret)));
        let secrets = self.known.iter().chain(&later).chain(&sent).chain(forgotten);
        let escapes = text.bytes().enumerate().filter(|(_, byte)| ESCAPES.contains(byte));
        let escapes: Vec<usize> = escapes.map(|(position, _)| position).collect();
        let mut found = Vec::new();
        secrets.flat_map(|secret| secret.forms()).for_each(|form| form.find_all(text, &escapes, &mut found));
        found.sort_unstable();
        replaced(text, &found)
    }
}

impl Secret {
    fn new(value: String) -> Arc<Self> {
        Arc::new(Self { value, forms: OnceLock::new() })
    }

    fn forms(&self) -> &[Form] {
        self.forms.get_or_init(|| forms(&self.value))
    }
}

/// Replaces parts of a text, which are sorted and may overlap.
fn replaced(text: &str, parts: &[(usize, usize)]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut position = 0;
    for &(start, end) in parts {
        if start >= position {
            shown.push_str(text.get(position..start).unwrap_or_default());
            shown.push_str(HIDDEN);
        }
        position = position.max(end);
    }
    shown.push_str(text.get(position..).unwrap_or_default());
    shown
}

// ---- what is secret

/// Returns the user and the password in the URL of a proxy: as they are written, decoded, and in the pair that is sent.
fn credentials_of(url: &str) -> Vec<String> {
    let Ok(url) = Url::parse(url) else { return Vec::new() };
    let user = percent_decoded(url.username());
    let secrets = match url.password() {
        Some(password) => {
            let decoded = percent_decoded(password);
            vec![format!("{user}:{decoded}"), decoded, password.to_owned()]
        }
        None if user.is_empty() => Vec::new(),
        // A token is often given as the user.
        None => vec![format!("{user}:"), user],
    };
    // The header itself may be repeated in base64.
    let sent = secrets.first().map(|pair| BASE64_STANDARD.encode(pair));
    secrets.into_iter().chain(sent).collect()
}

/// Returns what is secret of a request.
fn secrets_of(request: &HttpRequest) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in request.headers() {
        let is_secret = value.is_sensitive() || SECRET_HEADERS.iter().any(|end| name.as_str().ends_with(end));
        if let Some(value) = value.to_str().ok().filter(|_| is_secret) {
            secrets.push(secret_part(value).to_owned());
        }
    }
    secrets.extend(secret_parameters(request.uri().query().unwrap_or_default()));
    let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    if let Some(form) = request.body().as_bytes().filter(|_| is_form) {
        secrets.extend(secret_parameters(&String::from_utf8_lossy(form)));
    }
    secrets
}

/// Returns the values of secret parameters, decoded.
fn secret_parameters(query: &str) -> Vec<String> {
    let is_secret = |name: &str| SECRET_PARAMETERS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
    // A + is not decoded: it is a character of base64, and where it means a space it matches one.
    let query = query.replace('+', "%2B");
    let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| is_secret(name));
    pairs.map(|(_, value)| value.into_owned()).collect()
}

/// Returns the part of the value of a header that is secret: of a signature not the account and the names of headers.
fn secret_part(value: &str) -> &str {
    if let Some((_, signature)) = value.split_once("Signature=") {
        return signature;
    }
    match value.split_once(' ') {
        Some((scheme, signature)) if scheme.starts_with("SharedKey") => {
            signature.split_once(':').map_or(signature, |(_, signature)| signature)
        }
        Some(("Bearer" | "Basic", token)) => token,
        _ => value,
    }
}

// ---- the forms of a secret

/// One form of a secret.
struct Form {
    bytes: Vec<u8>,
    encoding: Encoding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// A space may be written as a plus.
    Plain,
    Hex,
    /// Either alphabet. The text around it belongs to the same encoded text.
    Base64,
}

/// Returns the forms of a secret, none for one that is too short.
fn forms(secret: &str) -> Vec<Form> {
    // Where lines are wrapped is of no importance, and padding may be left out.
    let secret: Vec<u8> = secret.trim_end_matches('=').bytes().filter(|byte| !is_line_end(*byte)).collect();
    if secret.len() < SECRET_BYTES_MIN {
        return Vec::new();
    }
    let once = base64_parts(&secret);
    let twice: Vec<Vec<u8>> = once.iter().flat_map(|part| base64_parts(part)).collect();
    let exact = BASE64_STANDARD.encode(&secret).trim_end_matches('=').as_bytes().to_vec();
    let in_base64 = once.into_iter().chain(twice).filter(|part| part.len() >= BASE64_BYTES_MIN).chain([exact]);
    let in_base64: Vec<Vec<u8>> = in_base64.collect();
    let hex = in_base64.iter().chain([&secret]).map(|bytes| Form { bytes: hex_of(bytes), encoding: Encoding::Hex });
    let mut forms: Vec<Form> = hex.collect();
    forms.extend(in_base64.into_iter().map(|bytes| Form { bytes, encoding: Encoding::Base64 }));
    forms.push(Form { bytes: secret, encoding: Encoding::Plain });
    forms
}

fn hex_of(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// Returns what is the same in the base64 of every text that contains these bytes, for each of the three places in a
/// group of three bytes where they can begin.
fn base64_parts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let part = |skipped: usize| {
        let whole = bytes.get(skipped..)?;
        let whole = whole.get(..whole.len() / 3 * 3)?;
        Some(BASE64_STANDARD.encode(whole).into_bytes())
    };
    (0..3).filter_map(part).filter(|part| !part.is_empty()).collect()
}

impl Encoding {
    /// Returns the one or two ways in which a byte is written without an escape sequence.
    fn ways_to_write(self, byte: u8) -> [u8; 2] {
        match (self, byte) {
            (Self::Plain, b' ') => [byte, b'+'],
            (Self::Hex, _) => [byte, byte.to_ascii_uppercase()],
            (Self::Base64, b'+') => [byte, b'-'],
            (Self::Base64, b'/') => [byte, b'_'],
            _ => [byte; 2],
        }
    }
}

impl Form {
    /// Adds where this form is in a text. `escapes` are the positions where an escape sequence may begin.
    fn find_all(&self, text: &str, escapes: &[usize], found: &mut Vec<(usize, usize)>) {
        let Some(&first) = self.bytes.first() else { return };
        let [one, other] = self.encoding.ways_to_write(first);
        let bytes = text.as_bytes();
        let mut escaped = escapes.iter().copied().peekable();
        let mut start = 0;
        loop {
            while escaped.next_if(|&position| position < start).is_some() {}
            let plain = bytes.get(start..).and_then(|rest| memchr2(one, other, rest)).map(|at| start + at);
            let Some(begin) = [plain, escaped.peek().copied()].into_iter().flatten().min() else { return };
            match self.end_at(bytes, begin) {
                Some(end) => {
                    let (first, last) = self.extended(bytes, begin, end);
                    let first = (0..=first).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
                    let last = (last..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
                    found.push((first, last));
                    start = last.max(begin + 1);
                }
                None => start = begin + 1,
            }
        }
    }

    /// Returns the end of this form in a text, if it begins there. A byte may be read in two ways, because a secret may
    /// contain what looks like an escape sequence.
    fn end_at(&self, text: &[u8], start: usize) -> Option<usize> {
        let rest = text.get(start..).unwrap_or_default();
        // Most texts differ before there are two ways to read them.
        let same = rest.iter().zip(&self.bytes).take_while(|(read, byte)| {
            !UNUSUAL_BYTES.contains(read) && self.encoding.ways_to_write(**byte).contains(read)
        });
        let same = same.count();
        let has_ended = same == self.bytes.len() || same == rest.len();
        if !has_ended && rest.get(same).is_some_and(|next| !UNUSUAL_BYTES.contains(next)) {
            return None;
        }
        let mut open = vec![(same, start + same)];
        let mut steps_left = self.bytes.len() * 2 + 64;
        while let Some((matched, position)) = open.pop() {
            let Some(&byte) = self.bytes.get(matched) else { return Some(position) };
            let rest = text.get(position..).unwrap_or_default();
            if rest.is_empty() && matched >= CUT_OFF_BYTES_MIN {
                return Some(position);
            }
            steps_left -= 1;
            if steps_left == 0 {
                return None;
            }
            let is_same = rest.first().is_some_and(|read| self.encoding.ways_to_write(byte).contains(read));
            open.extend(is_same.then_some((matched + 1, position + 1)));
            open.extend(escape_length(rest, byte).map(|length| (matched + 1, position + length)));
            let skipped = line_ends(rest);
            if matched > 0 && skipped > 0 {
                open.push((matched, position + skipped));
            }
        }
        None
    }

    /// Extends a part of base64 to all of it: what is around it belongs to the same credentials.
    fn extended(&self, text: &[u8], start: usize, end: usize) -> (usize, usize) {
        if self.encoding != Encoding::Base64 {
            return (start, end);
        }
        let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(*byte);
        let before = text.iter().take(start).rev().take_while(is_base64).count();
        let after = text.iter().skip(end).take_while(is_base64).count();
        (start - before, end + after)
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Returns the length of the line ends at the beginning of a text, as they are or escaped, and of the bytes that are
/// zero in a text of two bytes per character.
fn line_ends(text: &[u8]) -> usize {
    let mut length = 0;
    while let Some(rest) = text.get(length..).filter(|rest| !rest.is_empty()) {
        length += match rest {
            [b'\r' | b'\n' | 0, ..] => 1,
            [b'\\', b'r' | b'n', ..] => 2,
            [b'=', b'\r' | b'\n', ..] => 2,
            _ => return length,
        };
    }
    length
}

/// Returns the length of an escape sequence at the beginning of a text, if it stands for this byte.
fn escape_length(text: &[u8], byte: u8) -> Option<usize> {
    let is_hex = |at: usize| hex_value(text.get(at..at + 2)?).filter(|&value| value == byte);
    match text {
        [b'%', b'2', b'5', ..] if is_hex(3).is_some() => Some(5),
        [b'%' | b'=', ..] if is_hex(1).is_some() => Some(3),
        [b'\\', b'u' | b'U', b'0', b'0', ..] if is_hex(4).is_some() => Some(6),
        [b'\\', b'x', ..] if is_hex(2).is_some() => Some(4),
        [b'\\', escaped, ..] if *escaped == byte => Some(2),
        [b'&', b'#', ..] => entity_length(text, byte),
        [b'&', ..] => {
            let names: [(&[u8], u8); 5] =
                [(b"&amp;", b'&'), (b"&lt;", b'<'), (b"&gt;", b'>'), (b"&quot;", b'"'), (b"&apos;", b'\'')];
            names.iter().find(|(name, value)| *value == byte && text.starts_with(name)).map(|(name, _)| name.len())
        }
        _ => None,
    }
}

/// Returns the length of a numeric entity of XML, if it stands for this byte.
fn entity_length(text: &[u8], byte: u8) -> Option<usize> {
    let end = text.iter().take(10).position(|&byte| byte == b';')?;
    let number = std::str::from_utf8(text.get(2..end)?).ok()?;
    let value = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    (value.ok()? == u32::from(byte)).then_some(end + 1)
}

fn hex_value(digits: &[u8]) -> Option<u8> {
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match after.get(..2).filter(|_| first == b'%').and_then(hex_value) {
            Some(byte) => {
                decoded.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(secrets: &[&str], text: &str) -> String {
        let known = secrets.iter().map(|&secret| Secret::new(secret.to_owned())).collect();
        Secrets { known, later: Mutex::default(), sent: Mutex::default() }.scrub(text)
    }

    #[test]
    fn secrets_are_replaced_however_they_are_escaped() {
        let secret = "s3cr&t/+<é";
        for text in [
            "s3cr&t/+<é",
            "s3cr%26t%2f%2B%3C%C3%A9",
            "%73%33%63%72%26%74%2F%2B%3C%C3%A9",
            "s3cr%2526t%252F%252B%253C%25C3%25A9",
            "s3cr&amp;t&#47;&#x2B;&lt;é",
            r"s3cr\u0026t\/+\x3cé",
            "s3cr&t\r\n/+<é",
            "s3cr&t=\r\n/+=3C=C3=A9",
            "s\u{0}3\u{0}c\u{0}r\u{0}&\u{0}t\u{0}/\u{0}+\u{0}<\u{0}é",
            "7333637226742F2b3CC3a9",
            "s3cr&t/+",
        ] {
            assert_eq!(scrubbed(&[secret], &format!("you said {text}")), "you said [hidden]", "{text}");
        }
        assert_eq!(scrubbed(&[secret], "you said s3cr"), "you said s3cr");
        assert_eq!(scrubbed(&["abc"], "an abc of words"), "an abc of words");
        assert_eq!(scrubbed(&["secret", "cretin"], "a secretin b"), "a [hidden] b");
        assert_eq!(scrubbed(&["secret"], "é secret é"), "é [hidden] é");
        for odd in ["a%25b%41&amp;c", r"a\nb\x41c", "&&&&%%%%"] {
            assert_eq!(scrubbed(&[odd], &format!("said {odd} .")), "said [hidden] .", "{odd}");
        }
    }

    #[test]
    fn secrets_are_replaced_in_base64_wherever_they_begin() {
        for before in ["", "u:", "us:", "user:", "Proxy-Authorization: Basic "] {
            for after in ["", "x", "xy", "\r\nHost: proxy"] {
                let once = BASE64_STANDARD.encode(format!("{before}pass/word+12{after}"));
                let twice = BASE64_STANDARD.encode(&once);
                let url = once.replace('+', "-").replace('/', "_").replace('=', "%3D");
                for text in [once, twice, url] {
                    let shown = scrubbed(&["pass/word+12"], &format!("it was {text} ."));
                    let hidden = shown.trim_end_matches(" .").trim_end_matches("%3D");
                    assert_eq!(hidden, "it was [hidden]", "{before:?} {after:?} {text}");
                }
            }
        }
    }

    #[test]
    fn what_is_secret_of_a_proxy_and_of_a_signature_is_known() {
        let secrets = credentials_of("http://us%20er:pa%40ss@proxy:8080/");
        assert_eq!(secrets, ["us er:pa@ss", "pa@ss", "pa%40ss", "dXMgZXI6cGFAc3M="]);
        assert_eq!(credentials_of("http://t0ken@proxy"), ["t0ken:", "t0ken", "dDBrZW46"]);
        assert_eq!(credentials_of("http://proxy:8080"), [""; 0]);
        let short = credentials_of("http://u:pw@proxy");
        let short: Vec<&str> = short.iter().map(String::as_str).collect();
        assert_eq!(scrubbed(&short, &format!("Basic {}", BASE64_STANDARD.encode("u:pw"))), "Basic [hidden]");
        assert_eq!(secret_parameters("sv=1&sig=ab%2Bcd%3D&se=2"), ["ab+cd="]);
        assert_eq!(secret_parameters("Sig=ab+cd="), ["ab+cd="]);
        let signed = "AWS4-HMAC-SHA256 Credential=AKID/x, SignedHeaders=host, Signature=0123abcd";
        assert_eq!(secret_part(signed), "0123abcd");
        assert_eq!(secret_part("SharedKey account:c2ln="), "c2ln=");
        assert_eq!(secret_part("Bearer t0ken"), "t0ken");
        assert_eq!(secret_part("token as it is"), "token as it is");
    }
}
