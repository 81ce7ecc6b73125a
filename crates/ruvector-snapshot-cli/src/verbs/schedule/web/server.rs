//! HTTP: the address, the connections and their limits, which requests are answered, and the headers of every answer. What an answer
//! says is decided elsewhere.
//!
//! A request can change nothing: other methods than GET and HEAD are refused, and bodies are not read. A connection is for one
//! request, has a time limit, and is served by a task of its own, so a slow client holds up no run.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ruvector_snapshot::ErrorKind;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::page::STYLE;
use crate::failure::Failure;

/// Connections at once. One more ends the oldest of them: slow clients must not hold up a probe.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to receive the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Size of the head of a request, in bytes, and number of its lines.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEAD_LINES_MAX: usize = 64;
/// How long no connection is accepted after one could not be: no file can be opened, for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// An address that is listened at.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    /// With the port that the system has chosen, if none was given.
    pub(super) address: SocketAddr,
}

impl Listener {
    /// Listens at an address. Requests are answered once [`serve`](Self::serve) is called.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|error| cannot_listen(address, &error))
    }

    /// Returns whether only this machine reaches the address.
    pub(super) fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Answers requests. Never ends.
    pub(super) async fn serve(self, answers: Router) -> Infallible {
        let guard = Arc::new(Guard::new(self.is_loopback().then_some(self.address.ip())));
        let answers = answers.layer(from_fn_with_state(guard, answer));
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "no request can be answered");
                return std::future::pending().await;
            }
        };
        let mut connections = Connections::default();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => connections.add(connection(stream, answers.clone())),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    _ = timeout(ACCEPT_PAUSE, std::future::pending::<()>()).await;
                }
            }
        }
    }
}

/// The connections that are open, oldest first. They end when this is dropped.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.oldest_first.retain(|task| !task.is_finished());
        if self.oldest_first.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        self.oldest_first.push_back(self.tasks.spawn(connection));
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let failure = Failure::new(ErrorKind::Unavailable, format!("cannot listen at {address}: {error}"));
    failure.with_hint(match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program, or another daemon, listens there; choose another port with --listen, or 127.0.0.1:0 for any that is free"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are for root; choose a higher one with --listen",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address; choose another with --listen, for example 127.0.0.1:8462",
        _ => "choose another address with --listen, for example 127.0.0.1:8462",
    })
}

async fn connection(stream: TcpStream, answers: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_LINES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(answers));
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection has failed"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}

/// Which requests are answered, and what is added to each answer.
#[derive(Debug)]
struct Guard {
    /// The address, if only this machine reaches it. A page of another site could otherwise be made to read this one: a browser on
    /// this machine reaches it, and the name in its request is that of the other site.
    loopback: Option<IpAddr>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Guard {
    fn new(loopback: Option<IpAddr>) -> Self {
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let fixed = HeaderValue::from_static;
        let mut headers = vec![
            (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (X_FRAME_OPTIONS, fixed("DENY")),
            (REFERRER_POLICY, fixed("no-referrer")),
            (CACHE_CONTROL, fixed("no-store")),
            (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
        ];
        headers.extend(HeaderValue::try_from(policy).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
        Self { loopback, headers }
    }

    /// Returns why a request is not answered.
    fn refusal(&self, request: &Request) -> Option<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = "only GET and HEAD are answered: nothing can be changed here\n";
            let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, text);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        let own = self.loopback?;
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let is_own = host.is_some_and(|host| is_loopback_name(host, own));
        let text = "requests to a loopback address must name localhost, 127.0.0.1 or [::1] in the header Host\n";
        (!is_own).then(|| text_response(StatusCode::MISDIRECTED_REQUEST, text))
    }
}

/// Returns whether a header `Host` names this machine. The port is not compared: it is another one through a tunnel.
fn is_loopback_name(host: &str, own: IpAddr) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_loopback =
        |ip: IpAddr| ip == own || ip == IpAddr::from([127, 0, 0, 1]) || ip == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

async fn answer(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.refusal(&request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in &guard.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// Returns an answer of plain text.
pub(super) fn text_response(status: StatusCode, text: impl Into<Body>) -> Response {
    response(status, "text/plain; charset=utf-8", text)
}

/// Returns an answer.
pub(super) fn response(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(content_type))], body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback_names() {
        let own = IpAddr::from([127, 0, 0, 2]);
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8462", "[::1]", "[::1]:8462", "127.0.0.2:1"] {
            assert!(is_loopback_name(host, own), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:8462",
            "127.0.0.1.evil.example",
            "127.0.0.3",
            "localhost:x",
            "10.0.0.1:8462",
            "[::2]",
            "user@localhost",
            ":8462",
        ] {
            assert!(!is_loopback_name(host, own), "{host}");
        }
    }
}
