//! The thread that a service runs on, its sockets, and the carrying out of faults.
//!
//! A request is read as a whole before the service sees it, and an answer is complete before it leaves, so that every
//! fault happens at a place that is known. What S3 or GCS say is in `s3.rs` and `gcs.rs`.

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

use crate::faults::{Fault, Presence, Wire};
use crate::xml::{self, Answer};

/// A request whose body is complete.
pub(crate) type Call = hyper::Request<Bytes>;

/// What answers requests.
pub(crate) type Service = Arc<dyn Fn(Call) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A service on a port of its own, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    wire: Wire,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(service: Service) -> Self {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on the loopback");
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
    /// Waits for the thread, so that nothing writes into the directory of a server that is gone.
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
                // An error of one connection that was given up while it waited is none of the listener.
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

/// How a connection ends when a fault ends it.
#[derive(Debug)]
enum End {
    /// At once, with RST.
    Reset,
    /// After these bytes, which are an answer from its status line on.
    After(Bytes),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ends here")
    }
}

impl StdError for End {}

async fn serve(socket: TcpStream, wire: Wire, service: Service) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let handle = service_fn(|request| Box::pin(handle(request, &wire, &service)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(socket), handle);
    let Err(error) = poll_fn(|cx| connection.poll_without_shutdown(cx)).await else { return };
    let Some(end) = error.source().and_then(|cause| cause.downcast_ref::<End>()) else { return };
    let mut socket = connection.into_parts().io.into_inner();
    // The client may have gone before; then there is nothing left to break.
    drop(match end {
        End::Reset => socket.set_zero_linger(),
        End::After(bytes) => socket.write_all(bytes).await,
    });
}

async fn handle(request: hyper::Request<Incoming>, wire: &Wire, service: &Service) -> Result<Response<Paced>, End> {
    let (parts, body) = request.into_parts();
    let (fault, presence) = wire.meet(&parts);
    if fault == Some(Fault::ResetBefore) {
        return Err(End::Reset);
    }
    let body = match fault {
        Some(Fault::SlowRead { chunk_bytes, pause }) => read_slowly(body, chunk_bytes, pause).await,
        _ => body.collect().await.map(http_body_util::Collected::to_bytes),
    };
    let Ok(body) = body else { return Err(End::Reset) };
    let method = parts.method.clone();
    let call = Call::from_parts(parts, body);
    let answer = match &fault {
        Some(Fault::Status(status)) => xml::error_of(*status),
        Some(Fault::RetryAfter { status, seconds }) => {
            let mut answer = xml::error_of(*status);
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
            answer
        }
        Some(Fault::Conflict409) => conflict(),
        Some(Fault::Hang) => pending().await,
        _ => carry_out(call, service).await,
    };
    match fault {
        Some(Fault::Hold(gate)) => {
            gate.pass().await;
            Ok(Paced::answer(answer, presence))
        }
        Some(Fault::ResetAfter) => Err(End::Reset),
        Some(Fault::StatusAfter(status)) => Ok(Paced::answer(xml::error_of(status), presence)),
        Some(Fault::Truncate(bytes)) if method != Method::HEAD && answer.body().len() > bytes => {
            Err(End::After(cut(&answer, bytes)))
        }
        Some(Fault::Corrupt) => Ok(Paced::answer(answer.map(|body| flip(&body)), presence)),
        Some(Fault::Slow { chunk_bytes, pause }) => Ok(Paced::slow(answer, presence, chunk_bytes, pause)),
        _ => Ok(Paced::answer(answer, presence)),
    }
}

/// A task of its own, because a real service ends what it has begun even if the client hangs up.
async fn carry_out(call: Call, service: &Service) -> Answer {
    let answer = tokio::spawn(service(call)).await;
    answer.unwrap_or_else(|failed| xml::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &failed.to_string()))
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

fn conflict() -> Answer {
    let message = "The conditional request cannot succeed due to a conflicting operation against this resource.";
    xml::error(StatusCode::CONFLICT, "ConditionalRequestConflict", message)
}

/// The answer as it stands on the wire, up to `body_bytes` of its body.
fn cut(answer: &Answer, body_bytes: usize) -> Bytes {
    let mut wire = format!("HTTP/1.1 {}\r\n", answer.status()).into_bytes();
    for (name, value) in answer.headers() {
        if name != TRANSFER_ENCODING && name != CONTENT_LENGTH {
            wire.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    wire.extend_from_slice(format!("{CONTENT_LENGTH}: {}\r\n\r\n", answer.body().len()).as_bytes());
    wire.extend_from_slice(&answer.body()[..body_bytes]);
    wire.into()
}

fn flip(body: &Bytes) -> Bytes {
    let mut flipped = body.to_vec();
    let middle = flipped.len() / 2;
    if let Some(byte) = flipped.get_mut(middle) {
        *byte ^= 1;
    }
    flipped.into()
}

/// The body of an answer, in chunks with a pause before each.
struct Paced {
    rest: Bytes,
    chunk_bytes: usize,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The request is under way for as long as its answer is being written.
    _presence: Presence,
}

impl Paced {
    fn answer(answer: Answer, presence: Presence) -> Response<Self> {
        Self::slow(answer, presence, usize::MAX, Duration::ZERO)
    }

    fn slow(answer: Answer, presence: Presence, chunk_bytes: usize, pause: Duration) -> Response<Self> {
        answer.map(|rest| Self { rest, chunk_bytes: chunk_bytes.max(1), pause, sleep: None, _presence: presence })
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
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
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
