//! Texts without secrets: known secrets are replaced, and error bodies are reduced to their code and message, because
//! servers repeat request headers in them.

use std::error::Error as StdError;
use std::fmt;

use super::rejection::element;
use crate::store::options::Settings;

/// How much of an error body is shown if it has no code and no message.
const ERROR_CHARS_SHOWN_MAX: usize = 500;

/// Shorter secrets are not replaced: they would match parts of ordinary words.
const SECRET_BYTES_MIN: usize = 4;

/// Values that no text may contain.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Returns the secrets in the options of a store and in the URLs of its proxies.
    pub(super) fn of(settings: &Settings, proxies: &[String]) -> Self {
        let mut secrets = Self(settings.secrets());
        proxies.iter().for_each(|url| secrets.add_password_of(Some(url)));
        secrets.add_signature_of(settings.get("sas_token"));
        secrets
    }

    fn add_password_of(&mut self, url: Option<&str>) {
        let user =
            url.and_then(|url| url.split_once("://")?.1.split('/').next()?.rsplit_once('@').map(|(user, _)| user));
        self.0.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| password.to_owned()));
    }

    /// Adds the secret part of a shared access signature. The other parts are sent in another order.
    fn add_signature_of(&mut self, sas_token: Option<&str>) {
        let pairs = sas_token.unwrap_or_default().split(['&', '?']);
        self.0.extend(pairs.filter_map(|pair| pair.strip_prefix("sig=")).flat_map(|signature| {
            let decoded = signature.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
            [signature.to_owned(), decoded.trim_end_matches('=').to_owned()]
        }));
    }

    /// Returns a text with every secret replaced.
    pub(super) fn scrub(&self, text: &str) -> String {
        let secrets = self.0.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[hidden]"))
    }
}

/// The text of an error, without secrets.
#[derive(Debug)]
pub(super) struct RedactedError(pub(super) String);

impl fmt::Display for RedactedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for RedactedError {}

/// Returns an error and its causes as one text. A cause that repeats the text so far is left out.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Returns the text of the last cause of an error.
pub(super) fn root_cause(error: &dyn StdError) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// Returns the code and the message of an error body, or the beginning of a body without them.
pub(super) fn shortened(body: &str) -> String {
    let elements = ["Code", "Message", "Resource", "RequestId"];
    let kept: Vec<String> = elements
        .into_iter()
        .filter_map(|name| element(body, name).map(|value| format!("<{name}>{value}</{name}>")))
        .collect();
    match kept.is_empty() {
        true => body.chars().take(ERROR_CHARS_SHOWN_MAX).collect(),
        false => format!("<Error>{}</Error>", kept.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_headers_that_a_server_repeats_are_removed() {
        let echo = "<?xml?><Error><Code>Odd</Code><Message>it is</Message><CanonicalRequest>x-amz-security-token:T0KEN</CanonicalRequest></Error>";
        assert_eq!(shortened(echo), "<Error><Code>Odd</Code><Message>it is</Message></Error>");
        assert_eq!(shortened(&"x".repeat(9_999)).len(), ERROR_CHARS_SHOWN_MAX);
    }

    #[test]
    fn secrets_are_replaced() {
        let mut secrets = Secrets(vec!["s3cr3t/+".to_owned(), "a".to_owned()]);
        secrets.add_password_of(Some("http://user:pass@word@proxy:8080/"));
        secrets.add_signature_of(Some("?sv=1&sig=ab%2Bcd%3D&se=2"));
        assert_eq!(secrets.scrub("a s3cr3t/+ and pass@word"), "a [hidden] and [hidden]");
        assert_eq!(secrets.scrub("sig=ab%2Bcd%3D or ab+cd="), "sig=[hidden] or [hidden]=");
    }
}
