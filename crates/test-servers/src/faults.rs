//! What a test says to a server and learns from it: the faults, the requests that came, and the plan that joins them.
//!
//! Nothing here touches a socket; `server.rs` carries the faults out.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

/// A request, as it was seen on the wire.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method: `GET`, `PUT`, and so on.
    pub method: String,
    /// The path with its leading slash, percent-encoded as it came.
    pub path: String,
    /// What follows the `?`, as it came; empty where there is none.
    pub query: String,
    headers: HeaderMap,
}

impl Request {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers.clone(),
        }
    }

    /// The bucket, decoded.
    pub fn bucket(&self) -> String {
        decode(self.segments().0)
    }

    /// The key of the object, decoded; empty for a request that is for the bucket.
    pub fn key(&self) -> String {
        decode(self.segments().1)
    }

    /// The value of a header, where there is one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The decoded value of a parameter of the query, where there is one; empty for one without a value.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| decode(&value.replace('+', "%20")))
    }

    /// True for the read of an object or of a range of one.
    pub fn is_get(&self) -> bool {
        self.method == "GET" && !self.key().is_empty()
    }

    /// True for a question about an object.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD" && !self.key().is_empty()
    }

    /// True for an object that is written in one request.
    pub fn is_put(&self) -> bool {
        self.method == "PUT" && self.parameter("uploadId").is_none()
    }

    /// True for the removal of objects: of one, or of the many that the body of an S3 request names.
    pub fn is_delete(&self) -> bool {
        match self.method.as_str() {
            "DELETE" => self.parameter("uploadId").is_none(),
            "POST" => self.parameter("delete").is_some(),
            _ => false,
        }
    }

    /// True for a page of a listing.
    pub fn is_list(&self) -> bool {
        self.method == "GET" && self.parameter("list-type").is_some()
    }

    /// True for the start of a multipart upload.
    pub fn is_initiate(&self) -> bool {
        self.method == "POST" && self.parameter("uploads").is_some()
    }

    /// True for a part of a multipart upload.
    pub fn is_part_upload(&self) -> bool {
        self.method == "PUT" && self.parameter("uploadId").is_some()
    }

    /// True for the completion of a multipart upload.
    pub fn is_complete(&self) -> bool {
        self.method == "POST" && self.parameter("uploadId").is_some()
    }

    /// True for the abort of a multipart upload.
    pub fn is_abort(&self) -> bool {
        self.method == "DELETE" && self.parameter("uploadId").is_some()
    }

    /// The bucket and the key, as they came.
    fn segments(&self) -> (&str, &str) {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.split_once('/').unwrap_or((path, ""))
    }
}

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset before the service sees the request.
    ResetBefore,
    /// The service carries the request out; then the connection is reset without an answer.
    ResetAfter,
    /// The answer is an error of this status, and the service never sees the request.
    Status(u16),
    /// The service carries the request out; then the answer is an error of this status.
    StatusAfter(u16),
    /// As [`Fault::Status`], with a `Retry-After` header.
    RetryAfter {
        /// The status of the answer.
        status: u16,
        /// What the header says.
        seconds: u64,
    },
    /// The headers of the answer promise all of the body, and the connection ends after this many bytes of it. An answer
    /// whose body is no longer than that is left as it is.
    Truncate(usize),
    /// The body of the answer comes in chunks, with a pause before each.
    Slow {
        /// The size of a chunk.
        chunk_bytes: usize,
        /// The pause before each.
        pause: Duration,
    },
    /// The server reads the body of the request at this pace; the service sees it when it is complete.
    ///
    /// What fits in the buffers of the sockets and of the server leaves the client at once; then the client has to wait.
    SlowRead {
        /// How many bytes are read in one go.
        chunk_bytes: usize,
        /// The pause after each.
        pause: Duration,
    },
    /// The request is read and never answered; the service never sees it. It ends when the client gives up.
    Hang,
    /// The service carries the request out; the answer waits until the gate is open.
    Hold(Gate),
    /// The body of the answer has one flipped bit, in its middle; a body that is empty stays as it is.
    Corrupt,
    /// S3 only: `409 ConditionalRequestConflict`, and the service never sees the request.
    Conflict409,
}

/// Holds answers back until a test opens it, once and for good. A clone is the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets go what it holds, and holds nothing any more.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        // There is never a permit, so that this ends when the semaphore is closed.
        drop(self.0.acquire().await);
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}

/// What stands between the socket and the service: the plan of faults, and the log of requests. A clone is the same wire.
#[derive(Clone, Default)]
pub struct Wire {
    shared: Arc<Shared>,
}

impl Wire {
    /// Asks `plan` about every request from now on, in place of the plan before.
    ///
    /// It gets the request and the number of requests that it was asked about before. It must not call
    /// [`Wire::set`] or [`Wire::clear`].
    pub fn set(&self, plan: impl FnMut(&Request, usize) -> Option<Fault> + Send + 'static) {
        *lock(&self.shared.plan) = Some((Box::new(plan), 0));
    }

    /// No faults from now on. Requests that are under way keep theirs.
    pub fn clear(&self) {
        *lock(&self.shared.plan) = None;
    }

    /// The requests whose headers came since the start or the last [`Wire::forget`], in that order, with those that a
    /// fault kept from the service.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).clone()
    }

    /// Empties the log, and lets [`Wire::most_at_once`] start again from the requests that are under way.
    pub fn forget(&self) {
        lock(&self.shared.log).clear();
        let mut load = lock(&self.shared.load);
        load.most = load.now;
    }

    /// The most requests that were under way at the same time, since the start or the last [`Wire::forget`].
    ///
    /// A request is under way from when its headers were read until the last of its answer was handed to the socket, or
    /// its connection has ended.
    pub fn most_at_once(&self) -> usize {
        lock(&self.shared.load).most
    }

    /// Notes a request that came, and says what goes wrong with it. It is under way until `Presence` is dropped.
    pub(crate) fn meet(&self, parts: &Parts) -> (Option<Fault>, Presence) {
        let request = Request::new(parts);
        lock(&self.shared.log).push(request.clone());
        let presence = Presence::new(self.clone());
        // A plan that fails an assertion leaves its lock poisoned; `lock` takes it all the same, so that the other
        // requests of a failing test end.
        let fault = lock(&self.shared.plan).as_mut().and_then(|(plan, asked)| {
            *asked += 1;
            plan(&request, *asked - 1)
        });
        (fault, presence)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

/// A request that is under way.
pub(crate) struct Presence(Wire);

impl Presence {
    fn new(wire: Wire) -> Self {
        let mut load = lock(&wire.shared.load);
        load.now += 1;
        load.most = load.most.max(load.now);
        drop(load);
        Self(wire)
    }
}

impl Drop for Presence {
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
    most: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
