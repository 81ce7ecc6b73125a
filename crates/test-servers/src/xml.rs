//! XML responses, as S3 and Google Cloud Storage write them, and a minimal reader of XML requests.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// A response whose body is complete.
pub(crate) type FullResponse = Response<Bytes>;

/// Returns an error response with the body that clients of both services expect.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> FullResponse {
    document(status, &format!("<Error><Code>{code}</Code><Message>{}</Message></Error>", escape(message)))
}

/// Returns an injected error response. Its body is empty if the code is.
pub(crate) fn chosen_error(status: u16, code: &str, message: &str) -> FullResponse {
    let status = StatusCode::from_u16(status).expect("a fault has a valid status");
    let mut response = error(status, code, message);
    if code.is_empty() {
        *response.body_mut() = Bytes::new();
    }
    response
}

/// Returns an injected error response with the error code that fits the status.
pub(crate) fn injected_error(status: u16) -> FullResponse {
    let status = StatusCode::from_u16(status).expect("a fault has a valid status");
    let code = match status.as_u16() {
        401 => "AuthenticationRequired",
        403 => "AccessDenied",
        404 => "NoSuchKey",
        408 => "RequestTimeout",
        409 => "OperationAborted",
        411 => "MissingContentLength",
        412 => "PreconditionFailed",
        413 => "EntityTooLarge",
        416 => "InvalidRange",
        429 | 503 => "SlowDown",
        501 => "NotImplemented",
        507 => "InsufficientStorage",
        502 => "BadGateway",
        504 => "GatewayTimeout",
        400..=499 => "InvalidRequest",
        _ => "InternalError",
    };
    error(status, code, "this response was injected by a test")
}

/// Returns a response with an XML document as its body.
pub(crate) fn document(status: StatusCode, content: &str) -> FullResponse {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{content}");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Escapes text for use between tags.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Reverses [`escape`].
pub(crate) fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
}

/// Returns the content of every element `name`. Attributes and nested elements of the same name are not supported.
pub(crate) fn elements<'a>(document: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = document;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let end = start + rest[start..].find(&close)?;
        let content = &rest[start..end];
        rest = &rest[end + close.len()..];
        Some(content)
    })
}
