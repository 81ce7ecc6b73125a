//! The HTTP server: its thread, its sockets, and the injection of faults.
//!
//! A request is read completely before the service receives it, and a response is complete before it is sent, so that
//! every fault happens at a known point. The protocols are in `s3.rs` and `gcs.rs`.
#![expect(clippy::disallowed_methods, reason = "a slow server is a fault that tests ask for")]

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, pending};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::faults::{Fault, InFlight, Request, Wire};
use crate::xml::{self, FullResponse};

/// A request whose body is complete.
pub(crate) type FullRequest = hyper::Request<Bytes>;

/// Executes requests.
pub(crate) type Service = Arc<dyn Fn(FullRequest) -> BoxFuture<'static, FullResponse> + Send + Sync>;

/// A service on a port of its own. It stops when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    wire: Wire,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(service: Service) -> Self {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on the loopback interface");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("a bound socket has an address");
        let wire = Wire::default();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn({
            let wire = wire.clone();
            move || run(listener, stopped, &wire, &service)
        });
        Self { address, wire, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }
}

impl Drop for Server {
    /// Waits for the thread, so that no request is executed after this.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(listener: StdTcpListener, stopped: oneshot::Receiver<Infallible>, wire: &Wire, service: &Service) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener for the runtime");
        let accept = async {
            loop {
                // The error is that of one connection, which ended before it was accepted.
                let Ok((socket, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(socket, wire.clone(), service.clone()));
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

/// Tells hyper to end a connection, because a fault requires it.
#[derive(Debug)]
enum Disconnect {
    /// Immediately, with RST.
    Reset,
    /// After these bytes, which are a response from its status line on.
    After(Bytes),
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault ends the connection")
    }
}

impl StdError for Disconnect {}

async fn serve(socket: TcpStream, wire: Wire, service: Service) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let handle = service_fn(|request| Box::pin(handle(request, &wire, &service)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(socket), handle);
    let Err(error) = poll_fn(|cx| connection.poll_without_shutdown(cx)).await else { return };
    let Some(end) = error.source().and_then(|cause| cause.downcast_ref::<Disconnect>()) else { return };
    let mut socket = connection.into_parts().io.into_inner();
    // An error means that the client has disconnected already.
    drop(match end {
        Disconnect::Reset => socket.set_zero_linger(),
        Disconnect::After(bytes) => socket.write_all(bytes).await,
    });
}

async fn handle(
    request: hyper::Request<Incoming>,
    wire: &Wire,
    service: &Service,
) -> Result<Response<PacedBody>, Disconnect> {
    let (parts, body) = request.into_parts();
    let (fault, in_flight) = wire.admit(&Request::new(&parts.method, &parts.uri, &parts.headers));
    if fault == Some(Fault::ResetBefore) {
        return Err(Disconnect::Reset);
    }
    let body = match fault {
        Some(Fault::SlowRead { chunk_bytes, pause }) => read_slowly(body, chunk_bytes, pause).await,
        _ => body.collect().await.map(http_body_util::Collected::to_bytes),
    };
    let Ok(body) = body else { return Err(Disconnect::Reset) };
    let method = parts.method.clone();
    let request = FullRequest::from_parts(parts, body);
    let response = match &fault {
        Some(Fault::Status(status) | Fault::Endless(Some(status))) => xml::injected_error(*status),
        Some(Fault::Error { status, code, message }) => xml::chosen_error(*status, code, message),
        Some(Fault::RetryAfter { status, seconds }) => {
            let mut response = xml::injected_error(*status);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
            response
        }
        Some(Fault::Conflict409) => conflict(),
        Some(Fault::Hang) => pending().await,
        _ => execute(request, service).await,
    };
    match fault {
        Some(Fault::Hold(gate)) => {
            gate.pass().await;
            Ok(PacedBody::at_once(response, in_flight))
        }
        Some(Fault::ResetAfter) => Err(Disconnect::Reset),
        Some(Fault::StatusAfter(status)) => Ok(PacedBody::at_once(xml::injected_error(status), in_flight)),
        Some(Fault::Truncate(bytes)) if method != Method::HEAD && response.body().len() > bytes => {
            Err(Disconnect::After(truncated(&response, bytes)))
        }
        Some(Fault::Endless(_)) if method != Method::HEAD => Ok(PacedBody::endless(response, in_flight)),
        Some(Fault::Corrupt) => Ok(PacedBody::at_once(response.map(|body| flip_bit(&body)), in_flight)),
        Some(Fault::Slow { chunk_bytes, pause }) => Ok(PacedBody::paced(response, in_flight, chunk_bytes, pause)),
        _ => Ok(PacedBody::at_once(response, in_flight)),
    }
}

/// Executes a request in a task of its own. Like a real service, it continues if the client disconnects.
async fn execute(request: FullRequest, service: &Service) -> FullResponse {
    let response = tokio::spawn(service(request)).await;
    response
        .unwrap_or_else(|failed| xml::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &failed.to_string()))
}

async fn read_slowly(mut body: Incoming, chunk_bytes: usize, pause: Duration) -> hyper::Result<Bytes> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else { continue };
        while !data.is_empty() {
            sleep(pause).await;
            read.extend_from_slice(&data.split_to(data.len().min(chunk_bytes.max(1))));
        }
    }
    Ok(read.freeze())
}

fn conflict() -> FullResponse {
    let message = "The conditional request cannot succeed due to a conflicting operation against this resource.";
    xml::error(StatusCode::CONFLICT, "ConditionalRequestConflict", message)
}

/// Returns a response as it is sent, with the first `body_bytes` of its body.
fn truncated(response: &FullResponse, body_bytes: usize) -> Bytes {
    let mut sent = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        if name != TRANSFER_ENCODING && name != CONTENT_LENGTH {
            sent.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    sent.extend_from_slice(format!("{CONTENT_LENGTH}: {}\r\n\r\n", response.body().len()).as_bytes());
    sent.extend_from_slice(&response.body()[..body_bytes]);
    sent.into()
}

fn flip_bit(body: &Bytes) -> Bytes {
    let mut flipped = body.to_vec();
    let middle = flipped.len() / 2;
    if let Some(byte) = flipped.get_mut(middle) {
        *byte ^= 1;
    }
    flipped.into()
}

static SPACES: [u8; 64 << 10] = [b' '; 64 << 10];

/// The body of a response, in chunks with a pause before each.
struct PacedBody {
    rest: Bytes,
    chunk_bytes: usize,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_endless: bool,
    /// The request is in flight until its response is written.
    _in_flight: InFlight,
}

impl PacedBody {
    fn at_once(response: FullResponse, in_flight: InFlight) -> Response<Self> {
        Self::paced(response, in_flight, usize::MAX, Duration::ZERO)
    }

    fn paced(response: FullResponse, in_flight: InFlight, chunk_bytes: usize, pause: Duration) -> Response<Self> {
        let (chunk_bytes, is_endless) = (chunk_bytes.max(1), false);
        response.map(|rest| Self { rest, chunk_bytes, pause, sleep: None, is_endless, _in_flight: in_flight })
    }

    fn endless(mut response: FullResponse, in_flight: InFlight) -> Response<Self> {
        response.headers_mut().remove(CONTENT_LENGTH);
        Self::at_once(response, in_flight).map(|body| Self { is_endless: true, ..body })
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(self.is_endless.then(|| Ok(Frame::data(Bytes::from_static(&SPACES)))));
        }
        if !self.pause.is_zero() {
            let pause = self.pause;
            let pausing = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(pausing.as_mut().poll(cx));
            self.sleep = None;
        }
        let chunk_bytes = self.chunk_bytes.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(chunk_bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && !self.is_endless
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_endless { SizeHint::default() } else { SizeHint::with_exact(self.rest.len() as u64) }
    }
}
