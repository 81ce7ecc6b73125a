//! The double of Google Cloud Storage: the requests of its XML API that a client sends, and their answers.
//!
//! What is stored, and every rule about it, is in `gcs/state.rs`.

mod state;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
};
use hyper::http::response::Builder;
use hyper::{HeaderMap, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;

use crate::faults::{Request, Wire};
use crate::server::{Call, Server};
use crate::xml::{self, Answer, elements, escape, unescape};
use state::{Listing, Object, Refusal, State};

/// A double of the XML API of Google Cloud Storage on the loopback, with one bucket in memory, until it is dropped.
pub struct GcsServer {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl GcsServer {
    /// The bearer token that every request must carry.
    pub const TOKEN: &str = "test-servers-token";
    /// The bucket that exists.
    pub const BUCKET: &str = "snapshots-test";

    /// Starts a server with an empty bucket. It works inside and outside of a runtime.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let service = {
            let state = state.clone();
            Arc::new(move |call: Call| {
                let answer = answer(&mut lock(&state), &call).unwrap_or_else(refuse);
                Box::pin(std::future::ready(answer)) as _
            })
        };
        Self { server: Server::start(service), state }
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Its faults and its log of requests.
    pub fn wire(&self) -> &Wire {
        self.server.wire()
    }

    /// How many multipart uploads were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        lock(&self.state).open_uploads()
    }

    /// What the bucket holds, by key.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.state).objects()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refuse(refusal: Refusal) -> Answer {
    let (status, message) = match refusal {
        Refusal::AuthenticationRequired => (401, "Authentication required."),
        Refusal::NoSuchBucket => (404, "The specified bucket does not exist."),
        Refusal::NoSuchKey => (404, "The specified key does not exist."),
        Refusal::NoSuchUpload => (404, "The requested upload was not found."),
        Refusal::PreconditionFailed => (412, "At least one of the pre-conditions you specified did not hold."),
        Refusal::InvalidArgument => (400, "Invalid argument."),
        Refusal::InvalidPart => (400, "A part was not found, or its ETag is not the one it was stored with."),
        Refusal::EntityTooSmall => (400, "A part that is not the last is smaller than 5 MiB."),
        Refusal::InvalidRange => (416, "The requested range cannot be satisfied."),
        Refusal::NotModified => (304, ""),
        Refusal::NotImplemented => (400, "This double does not know the request."),
    };
    let status = StatusCode::from_u16(status).expect("a valid status");
    xml::error(status, &format!("{refusal:?}"), message)
}

fn answer(state: &mut State, call: &Call) -> Result<Answer, Refusal> {
    let given = call.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|value| value.strip_prefix("Bearer ")) != Some(GcsServer::TOKEN) {
        return Err(Refusal::AuthenticationRequired);
    }
    let (head, ()) = call.clone().map(drop).into_parts();
    let request = Request::new(&head);
    if request.bucket() != GcsServer::BUCKET {
        return Err(Refusal::NoSuchBucket);
    }
    match call.method() {
        &Method::GET if request.key().is_empty() => list(state, &request),
        &Method::GET | &Method::HEAD if !request.key().is_empty() => read(state, &request, call),
        &Method::PUT if request.is_part_upload() => put_part(state, &request, call.body()),
        &Method::PUT if request.header("x-goog-copy-source").is_some() => copy(state, &request),
        &Method::PUT if !request.key().is_empty() => {
            let stored =
                state.put(&request.key(), call.body().clone(), kept(call.headers()), generation_match(&request)?)?;
            finish(described(stored), Bytes::new())
        }
        &Method::POST if request.is_initiate() => Ok(initiate(state, &request, kept(call.headers()))),
        &Method::POST if request.is_complete() => complete(state, &request, call.body()),
        &Method::DELETE if request.is_abort() => {
            state.abort(&upload_id(&request))?;
            finish(Response::builder().status(StatusCode::NO_CONTENT), Bytes::new())
        }
        &Method::DELETE if !request.key().is_empty() => {
            state.delete(&request.key(), generation_match(&request)?)?;
            finish(Response::builder().status(StatusCode::NO_CONTENT), Bytes::new())
        }
        _ => Err(Refusal::NotImplemented),
    }
}

fn read(state: &State, request: &Request, call: &Call) -> Result<Answer, Refusal> {
    let object = state.get(&request.key())?;
    if request.parameter("generation").is_some_and(|wanted| wanted != object.generation.to_string()) {
        return Err(Refusal::NoSuchKey);
    }
    let names = |header: &str| header.split(',').any(|name| matches!(name.trim(), "*") || name.trim() == object.e_tag);
    if request.header(IF_MATCH.as_str()).is_some_and(|header| !names(header)) {
        return Err(Refusal::PreconditionFailed);
    }
    if request.header(IF_NONE_MATCH.as_str()).is_some_and(names) {
        return Err(Refusal::NotModified);
    }
    let mut answer = described(object).header(ACCEPT_RANGES, "bytes");
    for (name, value) in &object.headers {
        answer = answer.header(name, value);
    }
    let mut body = object.bytes.clone();
    if let Some(range) = request.header(RANGE.as_str()) {
        let range = parse_range(range, body.len())?;
        let said = format!("bytes {}-{}/{}", range.start, range.end - 1, body.len());
        answer = answer.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, said);
        body = body.slice(range);
    }
    if call.method() == Method::HEAD {
        return finish(answer.header(CONTENT_LENGTH, body.len()), Bytes::new());
    }
    finish(answer, body)
}

fn put_part(state: &mut State, request: &Request, body: &Bytes) -> Result<Answer, Refusal> {
    let number = request.parameter("partNumber").and_then(|number| number.parse().ok());
    let e_tag = state.put_part(&upload_id(request), number.ok_or(Refusal::InvalidArgument)?, body.clone())?;
    finish(Response::builder().header(ETAG, e_tag), Bytes::new())
}

fn copy(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let source = request.header("x-goog-copy-source").unwrap_or_default();
    let source = percent_decode_str(source).decode_utf8_lossy().into_owned();
    let (bucket, key) = source.trim_start_matches('/').split_once('/').ok_or(Refusal::InvalidArgument)?;
    if bucket != GcsServer::BUCKET {
        return Err(Refusal::NoSuchBucket);
    }
    let Object { bytes, headers, .. } = state.get(key)?.clone();
    let stored = state.put(&request.key(), bytes, headers, generation_match(request)?)?;
    let e_tag = escape(&stored.e_tag);
    Ok(xml::document(StatusCode::OK, &format!("<CopyObjectResult><ETag>{e_tag}</ETag></CopyObjectResult>")))
}

fn initiate(state: &mut State, request: &Request, headers: HeaderMap) -> Answer {
    let (key, id) = (escape(&request.key()), state.initiate(&request.key(), headers));
    let content = format!("<Bucket>{}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>", GcsServer::BUCKET);
    let content = format!("<InitiateMultipartUploadResult>{content}</InitiateMultipartUploadResult>");
    xml::document(StatusCode::OK, &content)
}

fn complete(state: &mut State, request: &Request, body: &Bytes) -> Result<Answer, Refusal> {
    let document = std::str::from_utf8(body).map_err(|_| Refusal::InvalidArgument)?;
    let mut parts = Vec::new();
    for part in elements(document, "Part") {
        let number = elements(part, "PartNumber").next().and_then(|number| number.parse().ok());
        let e_tag = elements(part, "ETag").next().map(unescape);
        parts.push((number.ok_or(Refusal::InvalidArgument)?, e_tag.ok_or(Refusal::InvalidArgument)?));
    }
    let object = state.complete(&upload_id(request), &request.key(), &parts)?;
    let content = format!("<Key>{}</Key><ETag>{}</ETag>", escape(&request.key()), escape(&object.e_tag));
    let content = format!("<CompleteMultipartUploadResult>{content}</CompleteMultipartUploadResult>");
    let mut answer = xml::document(StatusCode::OK, &content);
    answer.headers_mut().insert("x-goog-generation", HeaderValue::from(object.generation));
    Ok(answer)
}

fn list(state: &State, request: &Request) -> Result<Answer, Refusal> {
    let text = |name: &str| request.parameter(name).unwrap_or_default();
    let wanted = match request.parameter("max-keys") {
        Some(most) => most.parse().map_err(|_| Refusal::InvalidArgument)?,
        None => usize::MAX,
    };
    let Listing { objects, prefixes, next } =
        state.list(&text("prefix"), &text("delimiter"), &text("start-after"), &text("continuation-token"), wanted)?;
    let mut content = format!("<Name>{}</Name><IsTruncated>{}</IsTruncated>", GcsServer::BUCKET, next.is_some());
    for (key, object) in objects {
        let (key, e_tag) = (escape(key), escape(&object.e_tag));
        let modified = object.modified.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let size_bytes = object.bytes.len();
        content += &format!("<Contents><Key>{key}</Key><LastModified>{modified}</LastModified>");
        content += &format!("<ETag>{e_tag}</ETag><Size>{size_bytes}</Size></Contents>");
    }
    for prefix in prefixes {
        content += &format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(&prefix));
    }
    if let Some(token) = next {
        content += &format!("<NextContinuationToken>{token}</NextContinuationToken>");
    }
    Ok(xml::document(StatusCode::OK, &format!("<ListBucketResult>{content}</ListBucketResult>")))
}

fn upload_id(request: &Request) -> String {
    request.parameter("uploadId").unwrap_or_default()
}

/// The generation that the object must have; 0 means that there must be none.
fn generation_match(request: &Request) -> Result<Option<u64>, Refusal> {
    let header = request.header("x-goog-if-generation-match");
    header.map(|generation| generation.parse().map_err(|_| Refusal::InvalidArgument)).transpose()
}

/// The headers that come back with the object.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let names = [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE];
    let is_kept = |name: &str| names.iter().any(|kept| kept == name) || name.starts_with("x-goog-meta-");
    headers
        .iter()
        .filter(|(name, _)| is_kept(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn described(object: &Object) -> Builder {
    Response::builder()
        .header(ETAG, &object.e_tag)
        .header("x-goog-generation", object.generation)
        .header(LAST_MODIFIED, object.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

fn finish(answer: Builder, body: Bytes) -> Result<Answer, Refusal> {
    // The headers that came from a request were valid there.
    Ok(answer.body(body).expect("an answer with valid headers"))
}

fn parse_range(header: &str, size_bytes: usize) -> Result<Range<usize>, Refusal> {
    let (first, last) =
        header.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or(Refusal::InvalidRange)?;
    let number = |text: &str| text.parse::<usize>().map_err(|_| Refusal::InvalidRange);
    let range = match (first, last) {
        ("", last) => size_bytes.saturating_sub(number(last)?)..size_bytes,
        (first, "") => number(first)?..size_bytes,
        (first, last) => number(first)?..number(last)?.saturating_add(1).min(size_bytes),
    };
    if range.is_empty() { Err(Refusal::InvalidRange) } else { Ok(range) }
}
