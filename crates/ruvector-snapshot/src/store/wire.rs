//! The HTTP under every bucket: one connection pool, and what the clients of `object_store` leave to it.
//!
//! - A request is given up when nothing has moved for a while, in either direction. Its length does not matter: a part
//!   over a slow line takes as long as it takes.
//! - A server that says when to come back (`Retry-After`) is believed, within limits.
//! - A refusal that trying again cannot mend becomes a [`Refusal`] in words; a conflict between two conditional writes,
//!   which S3 asks to repeat, becomes a status that the client repeats.
//! - No secret comes back: the body of an error is cut down to its code and message, since servers repeat headers in it,
//!   and what is known to be secret is struck out.
//!
//! Nothing here knows a provider, a key of ours, or when a request is repeated.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::FutureExt;
use futures::stream::{self, Stream};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientConfigKey;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::answer::{Refusal, element};
use super::options::Settings;
use super::transfer::Tries;
use crate::error::{ErrorKind, Result, SnapshotError};

/// A longer `Retry-After` is cut to this: the client's own deadline counts on.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The most that is read of the body of an error.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// The most that is shown of it.
const ERROR_CHARS_SHOWN_MAX: usize = 500;
/// Bodies are sent in pieces of this size, each of which is progress.
const PIECE_BYTES: usize = 64 * 1024;
/// How often a server that has never been reached is tried: its address may be wrong, and waiting does not mend that.
const FIRST_CONNECTS_MAX: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// What the clients of `object_store` give a connection to the metadata service of a cloud, and no other connection.
const METADATA_CONNECT_TIMEOUT: &str = "1s";
/// Such a service is on the same machine. Where something else takes the connection and says nothing, this ends it.
const METADATA_STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes the connections of one store.
#[derive(Debug, Clone)]
pub(super) struct Wiring {
    settings: Arc<WireSettings>,
}

struct WireSettings {
    allow_http: bool,
    ca_certificates: Vec<reqwest::Certificate>,
    proxy: Option<reqwest::Proxy>,
    connect_timeout: Duration,
    stall_timeout: Duration,
    secrets: Secrets,
    /// What to do where this machine has no credentials.
    credentials_hint: &'static str,
}

impl Wiring {
    /// From the settings that every provider has. `credentials_hint` says how to give this provider credentials.
    pub(super) fn new(settings: &Settings, credentials_hint: &'static str) -> Result<Self> {
        let mut secrets = Secrets(settings.secrets());
        secrets.add_password_of(settings.get("proxy_url"));
        secrets.add_signature_of(settings.get("sas_token"));
        let wire = WireSettings {
            allow_http: settings.flag("allow_http")?,
            ca_certificates: certificates(settings)?,
            proxy: proxy(settings)?,
            connect_timeout: settings.duration("connect_timeout")?.unwrap_or(CONNECT_TIMEOUT),
            stall_timeout: settings.duration("stall_timeout")?.unwrap_or(STALL_TIMEOUT),
            secrets,
            credentials_hint,
        };
        Ok(Self { settings: Arc::new(wire) })
    }

    /// A text without what is secret.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.settings.secrets.scrub(text)
    }
}

impl HttpConnector for Wiring {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let settings = &self.settings;
        let asked = |key| options.get_config_value(&key);
        let is_http = asked(ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let is_metadata = asked(ClientConfigKey::ConnectTimeout).is_some_and(|value| value == METADATA_CONNECT_TIMEOUT);
        let connect_timeout = if is_metadata { Duration::from_secs(1) } else { settings.connect_timeout };
        let stall_timeout = if is_metadata { METADATA_STALL_TIMEOUT } else { settings.stall_timeout };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ruvector-snapshot/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!(settings.allow_http || is_http))
            .connect_timeout(connect_timeout)
            .http1_only()
            .tls_certs_merge(settings.ca_certificates.iter().cloned());
        builder = match &settings.proxy {
            // A proxy would ask the metadata service of another machine.
            _ if is_metadata => builder.no_proxy(),
            Some(proxy) => builder.proxy(proxy.clone()),
            None => builder,
        };
        let client = builder.build().map_err(|error| object_store::Error::Generic {
            store: "http",
            source: Box::new(WireError(settings.secrets.scrub(&chain(&error)))),
        })?;
        Ok(HttpClient::new(Wire {
            client,
            settings: settings.clone(),
            is_metadata,
            stall_timeout,
            reached: AtomicBool::new(false),
            failures: AtomicU32::new(0),
        }))
    }
}

/// One client's connections.
#[derive(Debug)]
struct Wire {
    client: reqwest::Client,
    settings: Arc<WireSettings>,
    /// Whether the server is the metadata service of a cloud, where a machine asks for its credentials.
    is_metadata: bool,
    stall_timeout: Duration,
    /// Whether the server has ever answered, or, being a metadata service, has ever given what it was asked for.
    reached: AtomicBool,
    /// What failed before it was.
    failures: AtomicU32,
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url: reqwest::Url = parts.uri.to_string().parse().map_err(|error| {
            HttpError::new(HttpErrorKind::Unknown, WireError(format!("not an address of a server: {error}")))
        })?;
        let server = address_of(&url);
        let is_create = parts.method == Method::PUT && parts.headers.contains_key(IF_NONE_MATCH);
        if let Some(tries) = parts.extensions.get::<Tries>() {
            tries.count();
        }
        let sent = Progress::new();
        let mut request = reqwest::Request::new(parts.method.clone(), url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(counted(body, sent.clone()));
        let answering = self.client.execute(request);
        let answer = match unless_stalled(answering, &sent, self.stall_timeout).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(self.failed(error, &server)),
            None if self.has_no_metadata(true) => {
                return Err(self.no_credentials(&format!("nothing came from {server}")));
            }
            None => return Err(stalled(self.stall_timeout)),
        };
        let status = answer.status();
        if self.is_metadata && !status.is_success() && self.has_no_metadata(status.is_client_error()) {
            return Err(self.no_credentials(&format!("{server} answered {status}")));
        }
        self.reached.fetch_or(!self.is_metadata || status.is_success(), Ordering::Relaxed);
        let answer: http::Response<reqwest::Body> = answer.into();
        let (mut parts, body) = answer.into_parts();
        let stalled = Box::pin(sleep(self.stall_timeout));
        let body = Answer { body, settings: self.settings.clone(), stall_timeout: self.stall_timeout, stalled };
        if parts.status.is_success() || parts.status == StatusCode::NOT_MODIFIED {
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)));
        }
        let region = parts.headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        if let Some(region) = region
            && (parts.status.is_redirection() || parts.status == StatusCode::BAD_REQUEST)
        {
            let what = format!("the bucket is in the region {region}; set region={region}, or AWS_REGION");
            return Err(refused(Refusal { kind: ErrorKind::Invalid, what }));
        }
        let text = self.settings.secrets.scrub(&read_error(body).await);
        if let Some(refusal) = understood(&text) {
            return Err(refused(refusal));
        }
        wait_as_told(parts.status, &parts.headers).await;
        // Another create of the same key is under way: S3 asks to try again, and its client would call it an object. Azure
        // answers with the same status that an object exists.
        if parts.status == StatusCode::CONFLICT && is_create && element(&text, "Code").is_some_and(is_conflict) {
            parts.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        parts.headers.remove(CONTENT_LENGTH);
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(Bytes::from(shortened(&text)))))
    }
}

impl Wire {
    /// What became of a request that got no answer.
    fn failed(&self, error: reqwest::Error, server: &str) -> HttpError {
        // A URL may hold a signature.
        let error = error.without_url();
        let text = self.settings.secrets.scrub(&format!("{server}: {}", chain(&error)));
        if self.has_no_metadata(error.is_connect()) {
            return self.no_credentials(&format!("{server} cannot be reached"));
        }
        if !error.is_connect() {
            let kind = if error.is_builder() { HttpErrorKind::Unknown } else { HttpErrorKind::Interrupted };
            return HttpError::new(kind, WireError(text));
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.reached.load(Ordering::Relaxed) || failures < FIRST_CONNECTS_MAX {
            return HttpError::new(HttpErrorKind::Connect, WireError(text));
        }
        let why = self.settings.secrets.scrub(&deepest(&error));
        let what = format!("the server at {server} cannot be reached ({why}); check the address and the network");
        refused(Refusal { kind: ErrorKind::Unavailable, what })
    }

    /// Whether this failure means that the machine has no metadata service: it never gave anything, and it is certain, or
    /// was tried often enough.
    fn has_no_metadata(&self, is_certain: bool) -> bool {
        let is_new = self.is_metadata && !self.reached.load(Ordering::Relaxed);
        is_new && (is_certain || self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FIRST_CONNECTS_MAX)
    }

    /// Nothing was set, and the machine was asked in vain.
    fn no_credentials(&self, why: &str) -> HttpError {
        let what = format!(
            "no credentials were given, and this machine has no metadata service that gives them ({why}); {}",
            self.settings.credentials_hint
        );
        refused(Refusal { kind: ErrorKind::Denied, what })
    }
}

impl fmt::Debug for WireSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy may hold a password, so little is shown.
        f.debug_struct("WireSettings").field("stall_timeout", &self.stall_timeout).finish_non_exhaustive()
    }
}

/// What happened, as text without secrets.
#[derive(Debug)]
struct WireError(String);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for WireError {}

/// Host and port, where it is not the usual one.
fn address_of(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A refusal on its way through the client, which does not repeat what it cannot know.
fn refused(refusal: Refusal) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, refusal)
}

fn stalled(after: Duration) -> HttpError {
    let text = format!("nothing came or went for {} seconds", after.as_secs_f32());
    HttpError::new(HttpErrorKind::Timeout, WireError(text))
}

/// When something of a request was last taken by the connection.
#[derive(Clone)]
struct Progress {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Progress {
    fn new() -> Self {
        Self { start: Instant::now(), last_ms: Arc::default() }
    }

    fn note(&self) {
        let passed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed_ms, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// The answer of `work`, or nothing where `progress` stood still for `timeout`.
async fn unless_stalled<T>(work: impl Future<Output = T>, progress: &Progress, timeout: Duration) -> Option<T> {
    let mut work = Box::pin(work.fuse());
    loop {
        let deadline = progress.last() + timeout;
        tokio::select! {
            biased;
            answer = &mut work => return Some(answer),
            () = sleep_until(deadline) => if progress.last() + timeout <= Instant::now() { return None },
        }
    }
}

/// The body of a request in small pieces, each of which is progress when the connection takes it.
fn counted(body: HttpRequestBody, progress: Progress) -> reqwest::Body {
    if let Some(bytes) = body.as_bytes() {
        return bytes.clone().into();
    }
    let pieces = frames(body).flat_map(|bytes| stream::iter(pieces(bytes)));
    reqwest::Body::wrap_stream(pieces.map(move |piece| {
        progress.note();
        Ok::<_, WireError>(piece)
    }))
}

fn frames(mut body: HttpRequestBody) -> impl Stream<Item = Bytes> {
    stream::poll_fn(move |context| {
        loop {
            // Bytes in memory: they come at once, and without an error.
            match ready!(Pin::new(&mut body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(bytes));
                    }
                }
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    })
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE_BYTES))))
}

/// The body of an answer, given up where nothing comes for a while.
struct Answer {
    body: reqwest::Body,
    settings: Arc<WireSettings>,
    stall_timeout: Duration,
    stalled: Pin<Box<Sleep>>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(came) = Pin::new(&mut self.body).poll_frame(context) {
            let timeout = self.stall_timeout;
            self.stalled.as_mut().reset(Instant::now() + timeout);
            return Poll::Ready(came.map(|frame| {
                frame.map_err(|error| {
                    let text = self.settings.secrets.scrub(&chain(&error.without_url()));
                    HttpError::new(HttpErrorKind::Interrupted, WireError(text))
                })
            }));
        }
        ready!(self.stalled.as_mut().poll(context));
        Poll::Ready(Some(Err(stalled(self.stall_timeout))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The beginning of the body of an error; what cannot be read of it is left out.
async fn read_error(mut body: Answer) -> String {
    let mut read = Vec::new();
    while read.len() < ERROR_BYTES_MAX
        && let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        if let Ok(bytes) = frame.into_data() {
            read.extend_from_slice(&bytes);
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// The refusal that the body of an error spells out.
fn understood(text: &str) -> Option<Refusal> {
    if let Some(code) = element(text, "Code") {
        let message = element(text, "Message").unwrap_or_default();
        let region = element(text, "Region").filter(|_| code == "AuthorizationHeaderMalformed");
        return match region {
            None => Refusal::of_code(code, message),
            Some(region) => Some(Refusal {
                kind: ErrorKind::Invalid,
                what: format!("the bucket is in the region {region}; set region={region}, or AWS_REGION"),
            }),
        };
    }
    // The sign-in of Google and Azure answers in JSON.
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let message = json.get("error_description").and_then(|text| text.as_str()).unwrap_or_default();
    Refusal::of_code(json.get("error")?.as_str()?, message)
}

/// Whether a code says that two conditional writes met, and neither is to count.
fn is_conflict(code: &str) -> bool {
    matches!(code, "ConditionalRequestConflict" | "OperationAborted" | "ConcurrentModification")
}

/// Code and message of the body of an error; of another text its beginning.
fn shortened(text: &str) -> String {
    let parts = ["Code", "Message", "Resource", "RequestId"];
    let kept: Vec<String> = parts
        .into_iter()
        .filter_map(|name| element(text, name).map(|value| format!("<{name}>{value}</{name}>")))
        .collect();
    match kept.is_empty() {
        true => text.chars().take(ERROR_CHARS_SHOWN_MAX).collect(),
        false => format!("<Error>{}</Error>", kept.concat()),
    }
}

/// Waits for as long as a server that is busy asks for, within limits.
async fn wait_as_told(status: StatusCode, headers: &HeaderMap) {
    let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    if let (true, Some(seconds)) = (is_busy, seconds) {
        sleep(Duration::from_secs(seconds).min(RETRY_AFTER_MAX)).await;
    }
}

/// Values that are struck out of every text.
struct Secrets(Vec<String>);

impl Secrets {
    fn add_password_of(&mut self, url: Option<&str>) {
        let user =
            url.and_then(|url| url.split_once("://")?.1.split('/').next()?.rsplit_once('@').map(|(user, _)| user));
        self.0.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| password.to_owned()));
    }

    /// The part of a shared access signature that is secret; the rest of it is sent in another order.
    fn add_signature_of(&mut self, sas_token: Option<&str>) {
        let pairs = sas_token.unwrap_or_default().split(['&', '?']);
        self.0.extend(pairs.filter_map(|pair| pair.strip_prefix("sig=")).flat_map(|signature| {
            let bare = signature.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
            [signature.to_owned(), bare.trim_end_matches('=').to_owned()]
        }));
    }

    fn scrub(&self, text: &str) -> String {
        // Shorter ones would strike out parts of ordinary words.
        let secrets = self.0.iter().filter(|secret| secret.len() >= 4);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[hidden]"))
    }
}

/// An error and its causes, as one text; what a cause merely repeats is left out.
fn chain(error: &dyn StdError) -> String {
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

/// The cause under all others.
fn deepest(error: &dyn StdError) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

fn certificates(settings: &Settings) -> Result<Vec<reqwest::Certificate>> {
    let Some(path) = settings.get("ca_certificate") else { return Ok(Vec::new()) };
    let pem = std::fs::read(path)
        .map_err(|error| SnapshotError::io(path.as_ref(), "read the certificates of ca_certificate", error))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => {
            let message = "ca_certificate must be a file of certificates in PEM";
            Err(SnapshotError::new(ErrorKind::Invalid, message).at(path))
        }
    }
}

fn proxy(settings: &Settings) -> Result<Option<reqwest::Proxy>> {
    let Some(url) = settings.get("proxy_url") else { return Ok(None) };
    let proxy = reqwest::Proxy::all(url).map_err(|_may_show_the_password| {
        SnapshotError::new(ErrorKind::Invalid, "the option proxy_url is not the URL of a proxy")
    })?;
    Ok(Some(proxy.no_proxy(settings.get("proxy_excludes").and_then(reqwest::NoProxy::from_string))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_repeat_of_a_request_is_left_out() {
        let echo = "<?xml?><Error><Code>Odd</Code><Message>it is</Message><CanonicalRequest>x-amz-security-token:T0KEN</CanonicalRequest></Error>";
        assert_eq!(shortened(echo), "<Error><Code>Odd</Code><Message>it is</Message></Error>");
        assert_eq!(shortened(&"x".repeat(9_999)).len(), ERROR_CHARS_SHOWN_MAX);
    }

    #[test]
    fn secrets_are_struck_out() {
        let mut secrets = Secrets(vec!["s3cr3t/+".to_owned(), "a".to_owned()]);
        secrets.add_password_of(Some("http://user:pass@word@proxy:8080/"));
        assert_eq!(secrets.scrub("a s3cr3t/+ and pass@word"), "a [hidden] and [hidden]");
    }

    #[test]
    fn a_sign_in_that_is_refused_is_understood() {
        let refusal = understood(r#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#).unwrap();
        assert_eq!(refusal.kind, ErrorKind::Denied);
        assert!(refusal.what.ends_with("(invalid_grant: Token has been revoked)"), "{}", refusal.what);
        assert_eq!(understood("<html>"), None);
    }
}
