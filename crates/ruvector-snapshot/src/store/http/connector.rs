//! The HTTP client of all buckets, which adds to the clients of `object_store`:
//!
//! - A request that makes no progress for a while fails; see `stall.rs`.
//! - A server that asks to wait (`Retry-After`) is given that time, up to a limit.
//! - A rejection that no retry can fix becomes a [`ProviderRejection`] with advice. A conflict between two conditional
//!   writes, which S3 asks to repeat, becomes a status that the client repeats.
//! - A request whose credentials have expired is signed again with newer ones, if there are any; see `renewal.rs`.
//! - Errors contain no secret; see `secrets.rs`.
//! - One object with a key that the clients cannot read does not hide the others of a listing; see `listing.rs`.
//!
//! Nothing here knows a provider or a key, and no other request is repeated here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientConfigKey, ObjectStore};
use reqwest::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};

use super::hints::{Asked, connect_advice, is_not_http, not_http_advice};
use super::listing::ListingBody;
use super::proxy::Proxies;
use super::redact::{RedactedError, chain, root_cause, shortened};
use super::redacted_store::{RedactedStore, Redactor};
use super::rejection::{PreconditionRefused, ProviderRejection, is_write_conflict};
use super::renewal::{self, Renewal};
use super::secrets::Secrets;
use super::stall::{Progress, ResponseBody, honor_retry_after, request_body, stalled, unless_stalled};
use crate::error::limit::Limit;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::budget::AttemptCount;
use crate::store::options::Settings;
use crate::store::value::ValueKind;

/// How much of an error body is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// The largest response that is no object and no page of a listing: a token, or the answer to an upload or a deletion. Those
/// with the most text are of a few KiB.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// How often a connection to a server that has never been reached is tried. Its address may be wrong.
const FIRST_CONNECTS_MAX: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The precondition of writes to Google Cloud Storage.
const GENERATION_MATCH: &str = "x-goog-if-generation-match";
/// The connect timeout that the clients of `object_store` set for the metadata service of a cloud, and only for it.
const METADATA_CONNECT_TIMEOUT: &str = "1s";
/// A metadata service runs on the same machine. This limit applies if another service accepts the connection and does
/// not respond.
const METADATA_STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes the HTTP clients of one store.
#[derive(Debug, Clone)]
pub(in crate::store) struct Connector {
    settings: Arc<ClientSettings>,
    renewal: Option<Arc<dyn Renewal>>,
    reads_objects: bool,
}

struct ClientSettings {
    allow_http: bool,
    ca_certificates: Vec<reqwest::Certificate>,
    proxies: Vec<reqwest::Proxy>,
    connect_timeout: Duration,
    stall_timeout: Duration,
    secrets: Arc<Secrets>,
    credentials_hint: &'static str,
    /// The advice for a bucket that is in the address of the server too.
    bucket_twice: Option<String>,
}

impl Connector {
    /// Reads the options that all providers have. `credentials_hint` says how to set credentials for this provider, and
    /// `bucket_twice` what to do about a bucket that is in the address of the server too.
    pub(in crate::store) fn new(
        settings: &Settings,
        credentials_hint: &'static str,
        bucket_twice: Option<String>,
    ) -> Result<Self> {
        let proxies = Proxies::of(settings)?;
        let settings = ClientSettings {
            allow_http: settings.flag("allow_http")?,
            ca_certificates: certificates(settings)?,
            connect_timeout: settings.duration("connect_timeout")?.unwrap_or(CONNECT_TIMEOUT),
            stall_timeout: settings.duration("stall_timeout")?.unwrap_or(STALL_TIMEOUT),
            secrets: Arc::new(Secrets::of(settings, &proxies.urls)),
            proxies: proxies.rules,
            credentials_hint,
            bucket_twice,
        };
        Ok(Self { settings: Arc::new(settings), renewal: None, reads_objects: false })
    }

    /// Returns a connector for the requests of a store, which are signed again when their credentials have been renewed.
    /// Not for the requests that get the credentials.
    pub(in crate::store) fn with_renewal(&self, renewal: Arc<dyn Renewal>) -> Self {
        Self { renewal: Some(renewal), ..self.for_objects() }
    }

    /// Returns a connector for the requests of a store. Objects can be of any size. All other responses are limited.
    pub(in crate::store) fn for_objects(&self) -> Self {
        Self { reads_objects: true, ..self.clone() }
    }

    /// Removes more secrets from all texts.
    #[cfg(any(feature = "aws", feature = "gcp"))]
    pub(in crate::store) fn hide(&self, secrets: impl IntoIterator<Item = String>) {
        self.settings.secrets.hide(secrets);
    }

    /// Returns a text without secrets.
    pub(in crate::store) fn scrub(&self, text: &str) -> String {
        self.settings.secrets.scrub(text)
    }

    /// Returns a client whose errors contain no secret.
    pub(in crate::store) fn redacted(&self, client: impl ObjectStore) -> Arc<dyn ObjectStore> {
        Arc::new(RedactedStore { inner: client, redactor: Redactor(self.settings.secrets.clone()) })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let settings = &self.settings;
        let option = |key| options.get_config_value(&key);
        let is_http = option(ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let is_metadata =
            option(ClientConfigKey::ConnectTimeout).is_some_and(|value| value == METADATA_CONNECT_TIMEOUT);
        let connect_timeout = if is_metadata { Duration::from_secs(1) } else { settings.connect_timeout };
        let stall_timeout = if is_metadata { METADATA_STALL_TIMEOUT } else { settings.stall_timeout };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ruvector-snapshot/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!(settings.allow_http || is_http))
            .connect_timeout(connect_timeout)
            .http1_only()
            .tls_certs_merge(settings.ca_certificates.iter().cloned())
            .no_proxy();
        // A proxy would ask the metadata service of another machine.
        if !is_metadata {
            builder = settings.proxies.iter().cloned().fold(builder, reqwest::ClientBuilder::proxy);
        }
        let client = builder.build().map_err(|error| object_store::Error::Generic {
            store: "http",
            source: Box::new(RedactedError(settings.secrets.scrub(&chain(&error)))),
        })?;
        Ok(HttpClient::new(Client {
            client,
            settings: settings.clone(),
            renewal: self.renewal.clone(),
            reads_objects: self.reads_objects,
            is_metadata,
            stall_timeout,
            reached: AtomicBool::new(false),
            failures: AtomicU32::new(0),
        }))
    }
}

/// One HTTP client with its connections.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    settings: Arc<ClientSettings>,
    renewal: Option<Arc<dyn Renewal>>,
    /// Whether a GET request is for an object, unless it is for a listing.
    reads_objects: bool,
    /// Whether the server is the metadata service of a cloud, which gives a machine its credentials.
    is_metadata: bool,
    stall_timeout: Duration,
    /// Whether the server has ever responded. For a metadata service: whether it has ever responded with success.
    reached: AtomicBool,
    /// Number of failures before that.
    failures: AtomicU32,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_create = request.method() == Method::PUT && request.headers().contains_key(IF_NONE_MATCH);
        let is_get = request.method() == Method::GET;
        let is_conditional = is_create || request.headers().contains_key(GENERATION_MATCH);
        if let Some(attempts) = request.extensions().get::<AttemptCount>() {
            attempts.increment();
        }
        let secrets = self.settings.secrets.remember(&request);
        let asked = Asked::of(&request);
        let repeated = self.renewal.is_some().then(|| request.clone());
        let (mut parts, body) = self.send(request).await?;
        if parts.status.is_success() && asked.is_listing {
            parts.headers.remove(CONTENT_LENGTH);
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(ListingBody::new(body))));
        }
        if parts.status.is_success() || parts.status == StatusCode::NOT_MODIFIED {
            // The caller stops after the bytes of an object that it wants.
            let body = match is_get && self.reads_objects {
                true => body,
                false => body.with_limit(ANSWER_BYTES_MAX, "a request"),
            };
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)));
        }
        let scrub = |text: &str| self.settings.secrets.scrub_response(text, &secrets);
        let text = scrub(&body.read_text(ERROR_BYTES_MAX).await);
        if let Some(request) = repeated
            && let Some(signed_again) = self.sign_again(request, parts.status, &text).await
        {
            return self.call(signed_again).await;
        }
        let region = parts.headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        if let Some(region) = region.filter(|region| ValueKind::Name.problem(region).is_none())
            && (parts.status.is_redirection() || parts.status == StatusCode::BAD_REQUEST)
        {
            return Err(rejected(ProviderRejection::other_region(&scrub(region))));
        }
        let bucket_twice = self.settings.bucket_twice.as_deref();
        if let Some(rejection) = asked.rejection(parts.status, &parts.headers, &text, bucket_twice) {
            return Err(rejected(rejection));
        }
        if is_conditional && let Some(refused) = PreconditionRefused::of(parts.status.as_u16(), &text) {
            return Err(HttpError::new(HttpErrorKind::Unknown, refused));
        }
        if let Some(rejection) = ProviderRejection::of_response(parts.status.as_u16(), &text) {
            return Err(rejected(rejection));
        }
        if parts.status == StatusCode::INSUFFICIENT_STORAGE {
            return Err(rejected(ProviderRejection::storage_full()));
        }
        honor_retry_after(parts.status, &parts.headers).await;
        // Another create of the same key is in progress. S3 asks to try again, but its client would report that the
        // object exists. Azure uses the same status for an object that exists.
        if parts.status == StatusCode::CONFLICT && is_create && is_write_conflict(&text) {
            parts.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        parts.headers.remove(CONTENT_LENGTH);
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(Bytes::from(shortened(&text)))))
    }
}

impl Client {
    /// Returns a refused request with newer credentials; `None` if there are none, or if they were not the reason.
    async fn sign_again(&self, mut request: HttpRequest, status: StatusCode, text: &str) -> Option<HttpRequest> {
        let renewal = self.renewal.as_ref()?;
        let mut is_refused = renewal::is_refused(status, text);
        if !is_refused {
            let mut probe = renewal::probe(&request, status)?;
            if !renewal.sign(&mut probe).await {
                return None;
            }
            let (parts, body) = self.send(probe).await.ok()?;
            is_refused = renewal::is_refused(parts.status, &body.read_text(ERROR_BYTES_MAX).await);
        }
        // The first attempt was refused, so it has stored nothing.
        request.extensions_mut().remove::<AttemptCount>();
        renewal.renew(&mut request, is_refused).await.then_some(request)
    }

    /// Sends a request and returns its response, whatever the status is.
    async fn send(&self, request: HttpRequest) -> Result<(http::response::Parts, ResponseBody), HttpError> {
        let (parts, body) = request.into_parts();
        let url: reqwest::Url = parts.uri.to_string().parse().map_err(|error| {
            HttpError::new(HttpErrorKind::Unknown, RedactedError(format!("invalid URL of a server: {error}")))
        })?;
        let (server, is_http) = (host_and_port(&url), url.scheme() == "http");
        let progress = Progress::start();
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(request_body(body, progress.clone()));
        let responding = self.client.execute(request);
        let response = match unless_stalled(responding, &progress, self.stall_timeout).await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return Err(self.request_failed(error, &server, is_http)),
            None if self.is_without_metadata(true) => {
                return Err(self.no_credentials(&format!("{server} did not respond")));
            }
            None => return Err(stalled(self.stall_timeout)),
        };
        let status = response.status();
        if self.is_metadata && !status.is_success() && self.is_without_metadata(status.is_client_error()) {
            return Err(self.no_credentials(&format!("{server} returned {status}")));
        }
        self.reached.fetch_or(!self.is_metadata || status.is_success(), Ordering::Relaxed);
        if let Some(renewal) = self.renewal.as_ref().filter(|_| status.is_success()) {
            renewal.accepted();
        }
        let response: http::Response<reqwest::Body> = response.into();
        let (parts, body) = response.into_parts();
        Ok((parts, ResponseBody::new(body, self.settings.secrets.clone(), self.stall_timeout)))
    }

    /// Returns the error for a request without a response.
    fn request_failed(&self, error: reqwest::Error, server: &str, is_http: bool) -> HttpError {
        // Whether the server can be reached is not known. It has no text of others, and is not repeated.
        if let Some(limit) = Limit::cause(&error) {
            return HttpError::new(HttpErrorKind::Unknown, limit);
        }
        // A URL may contain a signature.
        let error = error.without_url();
        let text = self.settings.secrets.scrub(&format!("{server}: {}", chain(&error)));
        if self.is_without_metadata(error.is_connect()) {
            return self.no_credentials(&format!("{server} cannot be reached"));
        }
        let why = self.settings.secrets.scrub(&root_cause(&error));
        if is_not_http(&why) && !self.reached.load(Ordering::Relaxed) {
            let advice = not_http_advice(is_http);
            let reason = format!("the server at {server} does not answer in HTTP ({why}); {advice}");
            return rejected(ProviderRejection::new(ErrorKind::InvalidInput, reason));
        }
        if !error.is_connect() {
            let kind = if error.is_builder() { HttpErrorKind::Unknown } else { HttpErrorKind::Interrupted };
            return HttpError::new(kind, RedactedError(text));
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.reached.load(Ordering::Relaxed) || failures < FIRST_CONNECTS_MAX {
            return HttpError::new(HttpErrorKind::Connect, RedactedError(text));
        }
        let reason = format!("the server at {server} cannot be reached ({why}); {}", connect_advice(&why));
        rejected(ProviderRejection::new(ErrorKind::Unavailable, reason))
    }

    /// Returns whether a failure means that this machine has no metadata service: the service has never responded with
    /// success, and the failure is final or has happened often enough.
    fn is_without_metadata(&self, is_final: bool) -> bool {
        let is_new = self.is_metadata && !self.reached.load(Ordering::Relaxed);
        is_new && (is_final || self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FIRST_CONNECTS_MAX)
    }

    /// Returns the error for a store without credentials, on a machine that has none.
    fn no_credentials(&self, why: &str) -> HttpError {
        let reason = format!(
            "no credentials are set, and this machine has no metadata service that provides them ({why}); {}",
            self.settings.credentials_hint
        );
        rejected(ProviderRejection::new(ErrorKind::PermissionDenied, reason))
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy may contain a password.
        f.debug_struct("ClientSettings").field("stall_timeout", &self.stall_timeout).finish_non_exhaustive()
    }
}

/// Returns host and port; the port is left out if it is the default of the scheme.
fn host_and_port(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns a rejection as an error that the client passes through. The client does not repeat errors of this kind.
fn rejected(rejection: ProviderRejection) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, rejection)
}

fn certificates(settings: &Settings) -> Result<Vec<reqwest::Certificate>> {
    let Some(path) = settings.get("ca_certificate") else { return Ok(Vec::new()) };
    let pem = std::fs::read(path).map_err(|error| {
        SnapshotError::io(path.as_ref(), "read the certificates of the option ca_certificate", error)
    })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(settings.refused("ca_certificate", "must name a PEM file that contains certificates").with_key(path)),
    }
}
