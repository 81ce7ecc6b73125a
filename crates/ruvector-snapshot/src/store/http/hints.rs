//! Advice for requests that fail because of a setting, from the request and its response. Pure.
//!
//! What a code means whatever was asked for is in `rejection.rs`.

use object_store::client::HttpRequest;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, IF_NONE_MATCH, LOCATION};

use super::listing::is_listing;
use super::rejection::{ProviderRejection, element};
use crate::error::ErrorKind;

/// Codes with which servers refuse a header or a checksum that they do not know.
const CHECKSUM_REFUSALS: [&str; 8] = [
    "NotImplemented",
    "UnsupportedOperation",
    "InvalidRequest",
    "InvalidArgument",
    "UnsupportedHeader",
    "InvalidHeaderValue",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
];

const CHECKSUM_REFUSED: &str = "the server does not accept the checksum of the request; set the option \
                                checksum_algorithm=none (-o checksum_algorithm=none)";

/// What matters of a request for the advice about its response.
pub(super) struct Asked {
    has_checksum: bool,
    is_conditional: bool,
    pub(super) is_listing: bool,
    is_http: bool,
}

impl Asked {
    pub(super) fn of(request: &HttpRequest) -> Self {
        let headers = request.headers();
        let is_checksum = |name: &str| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm";
        Self {
            has_checksum: headers.keys().any(|name| is_checksum(name.as_str())),
            is_conditional: headers.contains_key(IF_NONE_MATCH),
            is_listing: is_listing(request.method(), request.uri()),
            is_http: request.uri().scheme_str() == Some("http"),
        }
    }

    /// Returns the rejection that a response to this request means. `bucket_twice` is the advice for a bucket that is in
    /// the address too. The text is that of the body, without secrets.
    pub(super) fn rejection(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &str,
        bucket_twice: Option<&str>,
    ) -> Option<ProviderRejection> {
        let code = element(text, "Code").unwrap_or_default();
        if let Some(advice) = bucket_twice
            && (code == "NoSuchBucket" || (self.is_listing && status == StatusCode::NOT_FOUND))
        {
            return Some(invalid(advice, text, status));
        }
        if self.is_checksum_refused(status, code, text) {
            return Some(invalid(CHECKSUM_REFUSED, text, status));
        }
        if status.is_redirection() && ProviderRejection::of_body(text).is_none() {
            return Some(invalid(self.redirect_advice(headers), text, status));
        }
        // Every provider answers a missing bucket and a wrong request with a code.
        let is_unknown = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) && code.is_empty();
        if self.is_listing && is_unknown {
            return Some(invalid(NO_STORE, text, status));
        }
        let text_lower = text.to_ascii_lowercase();
        let is_https = text_lower.contains("https") && text_lower.contains("http request");
        (self.is_http && status == StatusCode::BAD_REQUEST && is_https).then(|| invalid(NEEDS_HTTPS, text, status))
    }

    /// Returns whether a response refuses the checksum. A server that names no header may mean the precondition of a
    /// conditional write, which is another matter.
    fn is_checksum_refused(&self, status: StatusCode, code: &str, text: &str) -> bool {
        if !self.has_checksum || !(status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED) {
            return false;
        }
        let is_named = text.to_ascii_lowercase().contains("checksum");
        let is_unnamed_refusal = matches!(code, "NotImplemented" | "XAmzContentSHA256Mismatch");
        let is_unimplemented = status == StatusCode::NOT_IMPLEMENTED;
        let is_refusal = is_unimplemented || CHECKSUM_REFUSALS.contains(&code);
        is_refusal && (is_named || (!self.is_conditional && (is_unnamed_refusal || is_unimplemented)))
    }

    fn redirect_advice(&self, headers: &HeaderMap) -> &'static str {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
        match self.is_http && location.starts_with("https://") {
            true => NEEDS_HTTPS,
            false => {
                "the server redirects to another address; check the address of the server, and the region of the bucket"
            }
        }
    }
}

const NO_STORE: &str =
    "the server does not answer as a store of this kind; check the address of the server, and the bucket";
const NEEDS_HTTPS: &str = "the server wants TLS; write its address with https://";

fn invalid(advice: &str, text: &str, status: StatusCode) -> ProviderRejection {
    let what = match (element(text, "Code"), element(text, "Message")) {
        (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {}", message.trim_end_matches('.')),
        (Some(code), _) => code.to_owned(),
        (None, _) => status.to_string(),
    };
    ProviderRejection::new(ErrorKind::InvalidInput, format!("{advice} ({what})"))
}

/// Returns what to do about a connection that cannot be made, from the text of its last cause.
pub(super) fn connect_advice(why: &str) -> &'static str {
    if why.contains("InvalidContentType") {
        "the server does not use TLS there; write its address with http://, and set allow_http=true to allow that"
    } else if why.contains("UnknownIssuer") {
        "set ca_certificate to a file with the certificate of the authority that issued its certificate"
    } else if why.contains("NotValidForName") || why.contains("not valid for name") {
        "its certificate is for another name; check the address"
    } else if why.contains("Expired") || why.contains("NotValidYet") || why.contains("expired") {
        "its certificate is not valid now; check the certificate, and the clock of this machine"
    } else {
        "check the address and the network"
    }
}

/// Returns whether the answer to an HTTP request was something else, as that of a server that expects TLS.
pub(super) fn is_not_http(why: &str) -> bool {
    why.contains("invalid HTTP version")
}

/// The advice for a server that does not answer in HTTP.
pub(super) fn not_http_advice(is_http: bool) -> &'static str {
    if is_http { "it may expect TLS; write its address with https://" } else { "check the address" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_for_a_connection_depends_on_its_cause() {
        for (why, advice) in [
            ("received corrupt message of type InvalidContentType", "allow_http=true"),
            ("invalid peer certificate: UnknownIssuer", "ca_certificate"),
            ("invalid peer certificate: NotValidForName", "another name"),
            ("invalid peer certificate: Expired", "the clock"),
            ("Connection refused (os error 111)", "check the address and the network"),
        ] {
            assert!(connect_advice(why).contains(advice), "{why}");
        }
    }
}
