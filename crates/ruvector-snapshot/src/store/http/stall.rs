//! Time limits of requests: a request fails if no byte has moved in either direction for a while, however long it takes
//! in total. Also how long to wait for a busy server.
//!
//! The bodies of requests and responses are wrapped here, so that their bytes count as progress.
#![expect(clippy::disallowed_methods, reason = "timeouts measure time")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::FutureExt;
use futures::stream::{self, Stream};
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::redact::{RedactedError, chain};
use super::rejection::ProviderRejection;
use super::secrets::Secrets;
use crate::error::ErrorKind;

/// A longer `Retry-After` is cut to this value. The client's own deadline continues meanwhile.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Request bodies are sent in pieces of this size. Each piece is progress.
const PIECE_BYTES: usize = 64 * 1024;

/// When the connection last accepted bytes of a request.
#[derive(Clone)]
pub(super) struct Progress {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Progress {
    /// Returns the progress of a request that begins now.
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), last_ms: Arc::default() }
    }

    fn record(&self) {
        let passed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed_ms, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// Returns the output of `work`; `None` if there was no progress for `timeout`.
pub(super) async fn unless_stalled<T>(
    work: impl Future<Output = T>,
    progress: &Progress,
    timeout: Duration,
) -> Option<T> {
    let mut work = Box::pin(work.fuse());
    loop {
        let deadline = progress.last() + timeout;
        tokio::select! {
            biased;
            output = &mut work => return Some(output),
            () = sleep_until(deadline) => if progress.last() + timeout <= Instant::now() { return None },
        }
    }
}

/// Returns the error of a request that made no progress for `timeout`.
pub(super) fn stalled(timeout: Duration) -> HttpError {
    let text = format!("no bytes were sent or received for {} seconds", timeout.as_secs_f32());
    HttpError::new(HttpErrorKind::Timeout, RedactedError(text))
}

/// Returns a request body that is sent in small pieces. Each piece that the connection accepts is progress.
pub(super) fn request_body(body: HttpRequestBody, progress: Progress) -> reqwest::Body {
    if let Some(bytes) = body.as_bytes() {
        return bytes.clone().into();
    }
    let pieces = frames(body).flat_map(|bytes| stream::iter(pieces(bytes)));
    reqwest::Body::wrap_stream(pieces.map(move |piece| {
        progress.record();
        Ok::<_, RedactedError>(piece)
    }))
}

fn frames(mut body: HttpRequestBody) -> impl Stream<Item = Bytes> {
    stream::poll_fn(move |context| {
        loop {
            // The bytes are in memory: they are ready and without errors.
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

/// The body of a response. Reading it fails if no bytes are received for a while.
pub(super) struct ResponseBody {
    body: reqwest::Body,
    secrets: Arc<Secrets>,
    timeout: Duration,
    deadline: Pin<Box<Sleep>>,
    limit: Option<Limit>,
}

/// How many more bytes a response may have.
struct Limit {
    left_bytes: u64,
    limit_bytes: u64,
    /// What was requested.
    what: &'static str,
}

impl ResponseBody {
    pub(super) fn new(body: reqwest::Body, secrets: Arc<Secrets>, timeout: Duration) -> Self {
        Self { body, secrets, timeout, deadline: Box::pin(sleep(timeout)), limit: None }
    }

    /// Returns the same body. Reading it fails after so many bytes, and that is not repeated.
    pub(super) fn with_limit(self, limit_bytes: u64, what: &'static str) -> Self {
        Self { limit: Some(Limit { left_bytes: limit_bytes, limit_bytes, what }), ..self }
    }

    /// Reads the beginning of the body, up to `limit_bytes` and one chunk. An error ends it early.
    pub(super) async fn read_text(mut self, limit_bytes: usize) -> String {
        let mut read = Vec::new();
        while read.len() < limit_bytes
            && let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await
        {
            if let Ok(bytes) = frame.into_data() {
                read.extend_from_slice(&bytes);
            }
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

impl Limit {
    fn take(&mut self, frame: &Frame<Bytes>) -> Result<(), HttpError> {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        if let Some(left_bytes) = self.left_bytes.checked_sub(bytes) {
            self.left_bytes = left_bytes;
            return Ok(());
        }
        let reason = format!(
            "the server answered {} with more than {} MiB, which no such answer has; check the address of the server",
            self.what,
            self.limit_bytes >> 20
        );
        let rejection = ProviderRejection::new(ErrorKind::InvalidInput, reason);
        Err(HttpError::new(HttpErrorKind::Unknown, rejection))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(received) = Pin::new(&mut self.body).poll_frame(context) {
            let timeout = self.timeout;
            self.deadline.as_mut().reset(Instant::now() + timeout);
            return Poll::Ready(received.map(|frame| {
                let frame = frame.map_err(|error| {
                    let text = self.secrets.scrub(&chain(&error.without_url()));
                    HttpError::new(HttpErrorKind::Interrupted, RedactedError(text))
                })?;
                self.limit.as_mut().map_or(Ok(()), |limit| limit.take(&frame))?;
                Ok(frame)
            }));
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(stalled(self.timeout))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Waits as long as a busy server asks for, up to a limit.
pub(super) async fn honor_retry_after(status: StatusCode, headers: &HeaderMap) {
    let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    if let (true, Some(seconds)) = (is_busy, seconds) {
        sleep(Duration::from_secs(seconds).min(RETRY_AFTER_MAX)).await;
    }
}
