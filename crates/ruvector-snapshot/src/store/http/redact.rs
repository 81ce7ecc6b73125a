//! Errors as texts, and error bodies reduced to their code and message, because servers repeat request headers in them.
//! Known secrets are removed in `secrets.rs`.

use std::error::Error as StdError;
use std::fmt;

use super::rejection::element;

/// How much of an error body is shown if it has no code and no message.
const ERROR_CHARS_SHOWN_MAX: usize = 500;

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
}
