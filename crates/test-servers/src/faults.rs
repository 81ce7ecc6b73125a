//! What a test exchanges with a server: the faults to inject, and the log of requests.
//!
//! No sockets are here. `server.rs` injects the faults.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

/// A request as it was received.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, for example `GET`.
    pub method: String,
    /// The percent-encoded path with its leading slash.
    pub path: String,
    /// The percent-encoded query without its `?`, or the empty string.
    pub query: String,
    headers: HeaderMap,
}

impl Request {
    pub(crate) fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        Self {
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers: headers.clone(),
        }
    }

    /// Returns the decoded name of the bucket.
    pub fn bucket(&self) -> String {
        decode(self.segments().0)
    }

    /// Returns the decoded key of the object, or the empty string if the request is for the bucket.
    pub fn key(&self) -> String {
        decode(self.segments().1)
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the decoded value of a query parameter, which is empty if the parameter has no value.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| decode(&value.replace('+', "%20")))
    }

    /// Returns true if the request reads an object or a range of one.
    pub fn is_get(&self) -> bool {
        self.method == "GET" && !self.key().is_empty()
    }

    /// Returns true if the request reads the metadata of an object.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD" && !self.key().is_empty()
    }

    /// Returns true if the request writes an object without a multipart upload.
    pub fn is_put(&self) -> bool {
        self.method == "PUT" && self.parameter("uploadId").is_none()
    }

    /// Returns true if the request deletes an object or, on S3, the objects that its body names.
    pub fn is_delete(&self) -> bool {
        match self.method.as_str() {
            "DELETE" => self.parameter("uploadId").is_none(),
            "POST" => self.parameter("delete").is_some(),
            _ => false,
        }
    }

    /// Returns true if the request reads a page of a listing.
    pub fn is_list(&self) -> bool {
        self.method == "GET" && self.parameter("list-type").is_some()
    }

    /// Returns true if the request starts a multipart upload.
    pub fn is_initiate(&self) -> bool {
        self.method == "POST" && self.parameter("uploads").is_some()
    }

    /// Returns true if the request uploads a part of a multipart upload.
    pub fn is_part_upload(&self) -> bool {
        self.method == "PUT" && self.parameter("uploadId").is_some()
    }

    /// Returns true if the request completes a multipart upload.
    pub fn is_complete(&self) -> bool {
        self.method == "POST" && self.parameter("uploadId").is_some()
    }

    /// Returns true if the request aborts a multipart upload.
    pub fn is_abort(&self) -> bool {
        self.method == "DELETE" && self.parameter("uploadId").is_some()
    }

    /// Returns the encoded bucket and the encoded key.
    fn segments(&self) -> (&str, &str) {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.split_once('/').unwrap_or((path, ""))
    }
}

/// A fault that is injected into one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset before the service receives the request.
    ResetBefore,
    /// The service executes the request. The connection is then reset without a response.
    ResetAfter,
    /// The response is an error with this status. The service does not receive the request.
    Status(u16),
    /// The service executes the request. The response is an error with this status.
    StatusAfter(u16),
    /// Like [`Fault::Status`], with this error code and this message. An empty code leaves the body empty.
    Error {
        /// The status of the response.
        status: u16,
        /// The content of `Code`.
        code: &'static str,
        /// The content of `Message`.
        message: &'static str,
    },
    /// Like [`Fault::Status`], with a `Retry-After` header.
    RetryAfter {
        /// The status of the response.
        status: u16,
        /// The value of the header.
        seconds: u64,
    },
    /// The connection ends after this many bytes of the response body, although the headers announce all of it. A
    /// response with a body that is not longer is sent unchanged.
    Truncate(usize),
    /// The response body is sent in chunks with a pause before each.
    Slow {
        /// The size of a chunk.
        chunk_bytes: usize,
        /// The pause before each chunk.
        pause: Duration,
    },
    /// The server reads the request body slowly. The service receives the request when its body is complete.
    ///
    /// The client does not notice until the buffers of the sockets and of the server are full.
    SlowRead {
        /// The number of bytes between two pauses.
        chunk_bytes: usize,
        /// The pause before each chunk.
        pause: Duration,
    },
    /// The request is read and there is no response. The service does not receive the request, which ends when the
    /// client disconnects.
    Hang,
    /// The service executes the request. The response is held until the gate is open.
    Hold(Gate),
    /// The response body is followed by spaces without an end. With a status the response is an error, and the service
    /// does not receive the request.
    Endless(Option<u16>),
    /// One bit in the middle of the response body is flipped. An empty body is sent unchanged.
    Corrupt,
    /// S3 only: the response is `409 ConditionalRequestConflict`. The service does not receive the request.
    Conflict409,
}

/// Holds responses until a test opens it. A clone is the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// Returns a closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        // The semaphore has no permits, so that this returns only when it is closed.
        drop(self.0.acquire().await);
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}

/// The layer between the sockets and the service. It injects faults and logs requests. A clone is the same layer.
#[derive(Clone, Default)]
pub struct Wire {
    shared: Arc<Shared>,
}

impl Wire {
    /// Calls `plan` for every request from now on and injects the fault that it returns. It replaces an earlier plan.
    ///
    /// The arguments are the request and the number of requests that this plan was called for before. The plan must not
    /// call [`Wire::set`] or [`Wire::clear`].
    pub fn set(&self, plan: impl FnMut(&Request, usize) -> Option<Fault> + Send + 'static) {
        *lock(&self.shared.plan) = Some((Box::new(plan), 0));
    }

    /// Removes the plan. Requests that are in flight keep their faults.
    pub fn clear(&self) {
        *lock(&self.shared.plan) = None;
    }

    /// Returns the requests since the start or the last [`Wire::reset_log`], in the order in which their headers came.
    ///
    /// It includes requests that a fault hid from the service.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).clone()
    }

    /// Empties the log and resets [`Wire::max_in_flight`] to the number of requests that are in flight.
    pub fn reset_log(&self) {
        lock(&self.shared.log).clear();
        let mut load = lock(&self.shared.load);
        load.max = load.now;
    }

    /// Returns the largest number of requests that were in flight at once since the start or the last
    /// [`Wire::reset_log`].
    ///
    /// A request is in flight from when its headers were read until its response was passed to the socket, or until its
    /// connection ends.
    pub fn max_in_flight(&self) -> usize {
        lock(&self.shared.load).max
    }

    /// Logs a request and returns its fault. The request is in flight until `InFlight` is dropped.
    pub(crate) fn admit(&self, request: &Request) -> (Option<Fault>, InFlight) {
        lock(&self.shared.log).push(request.clone());
        let in_flight = InFlight::new(self.clone());
        // A plan that panics poisons this lock. `lock` ignores that, so that the other requests of a failing test end.
        let fault = lock(&self.shared.plan).as_mut().and_then(|(plan, calls)| {
            *calls += 1;
            plan(request, *calls - 1)
        });
        (fault, in_flight)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

/// Counts a request as in flight until it is dropped.
pub(crate) struct InFlight(Wire);

impl InFlight {
    fn new(wire: Wire) -> Self {
        let mut load = lock(&wire.shared.load);
        load.now += 1;
        load.max = load.max.max(load.now);
        drop(load);
        Self(wire)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.0.shared.load).now -= 1;
    }
}

type Plan = Box<dyn FnMut(&Request, usize) -> Option<Fault> + Send>;

#[derive(Default)]
struct Shared {
    plan: Mutex<Option<(Plan, usize)>>,
    log: Mutex<Vec<Request>>,
    load: Mutex<Load>,
}

#[derive(Default)]
struct Load {
    now: usize,
    max: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
