//! Answers that are an error, and text in XML, as S3 and Google Cloud Storage write them.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// An answer whose body is complete.
pub(crate) type Answer = Response<Bytes>;

/// An error, with the body that a client of either service reads it from.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    document(status, &format!("<Error><Code>{code}</Code><Message>{}</Message></Error>", escape(message)))
}

/// An error of a status alone, with the code that fits it.
pub(crate) fn error_of(status: u16) -> Answer {
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
    error(status, code, "this answer was injected by a test")
}

/// An answer with an XML document as its body.
pub(crate) fn document(status: StatusCode, content: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{content}");
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// Text as it stands between tags.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What [`escape`] made, as it was.
pub(crate) fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
}

/// What stands between the tags `name`, for each time that they occur. It knows neither attributes nor nesting.
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
