//! Credentials that expire while requests are made: when a request is refused because of them, and who reads them again.
//!
//! The clients of `object_store` sign a request once, and repeat it as it is. So a refused request is signed again here,
//! below them, whatever it is: a read, a page of a listing, a part, the end of an upload.

use std::fmt;

use async_trait::async_trait;
use object_store::client::HttpRequest;
use reqwest::header::{HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::rejection::element;

/// Error codes of credentials that were valid before, or that another program has replaced.
const REFUSALS: [&str; 14] = [
    "AuthenticationFailed",
    "AuthenticationRequired",
    "ExpiredAuthenticationToken",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidClientTokenId",
    "InvalidToken",
    "InvalidTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
];

/// The credentials of a store, which other programs and services renew.
#[async_trait]
pub(in crate::store) trait Renewal: Send + Sync + fmt::Debug {
    /// Signs a request with the present credentials. Returns false if it cannot be signed.
    async fn sign(&self, request: &mut HttpRequest) -> bool;

    /// Signs a request anew that was refused, if there are newer credentials than those it was sent with. If there are
    /// none and `is_refused` says that the credentials were the reason, reads them again. Returns false if they are still
    /// the same.
    async fn renew(&self, request: &mut HttpRequest, is_refused: bool) -> bool;

    /// Records that a request succeeded.
    fn accepted(&self);
}

/// Returns whether a response refuses the credentials of its request.
pub(super) fn is_refused(status: StatusCode, text: &str) -> bool {
    status == StatusCode::UNAUTHORIZED
        || (is_client_error(status) && element(text, "Code").is_some_and(|code| REFUSALS.contains(&code)))
}

/// Returns a request that is refused for the same reason, if the response to the request does not say for which: that
/// to a HEAD request has no body.
pub(super) fn probe(request: &HttpRequest, status: StatusCode) -> Option<HttpRequest> {
    if request.method() != Method::HEAD || !is_client_error(status) {
        return None;
    }
    let mut probe = request.clone();
    *probe.method_mut() = Method::GET;
    probe.headers_mut().insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    Some(probe)
}

fn is_client_error(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN)
}
