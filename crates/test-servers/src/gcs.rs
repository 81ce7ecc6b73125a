//! The double of Google Cloud Storage: the requests of the XML API that `object_store` sends, and their responses.
//!
//! It was written from the client and from Google's documentation. It is no evidence about Google's service. The
//! objects are in `bucket.rs`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
};
use hyper::http::response::Builder;
use hyper::{HeaderMap, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;

use crate::bucket::{Bucket, BucketError, Object, Query};
use crate::faults::{Request, Wire};
use crate::server::{FullRequest, Server};
use crate::xml::{self, FullResponse, elements, escape, unescape};

/// A double of the XML API of Google Cloud Storage on the loopback interface, with one bucket in memory. It stops when
/// it is dropped.
pub struct GcsServer {
    server: Server,
    bucket: Bucket,
}

impl GcsServer {
    /// The bearer token that every request must carry. One that begins with it is as good.
    pub const TOKEN: &str = "test-servers-token";
    /// The name of the only bucket.
    pub const BUCKET: &str = "snapshots-test";

    /// Starts a server with an empty bucket. This works inside and outside of a runtime.
    pub fn start() -> Self {
        let bucket = Bucket::default();
        let service = {
            let bucket = bucket.clone();
            Arc::new(move |request: FullRequest| {
                let bucket = bucket.clone();
                Box::pin(async move { respond(&bucket, &request).unwrap_or_else(error_response) }) as _
            })
        };
        Self { server: Server::start(service), bucket }
    }

    /// Returns the URL of the server: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Returns the handle that injects faults and logs requests.
    pub fn wire(&self) -> &Wire {
        self.server.wire()
    }

    /// Returns the number of multipart uploads in progress.
    pub fn open_uploads(&self) -> usize {
        self.bucket.open_uploads()
    }

    /// Stores an object, as another program may do: the key can be any text.
    pub fn put_object(&self, key: &str, bytes: &[u8]) {
        self.bucket.put_any(key, bytes);
    }

    /// Starts a multipart upload with these parts, as a process that is killed then.
    pub fn start_upload(&self, key: &str, parts: &[&[u8]]) {
        self.bucket.start_upload_of(key, parts);
    }

    /// Returns the bytes of all objects, by key.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.bucket.objects()
    }
}

/// The reason why a request fails.
enum GcsError {
    Bucket(BucketError),
    AuthenticationRequired,
    InvalidRange,
    NoSuchBucket,
    NotImplemented,
    NotModified,
}

impl From<BucketError> for GcsError {
    fn from(error: BucketError) -> Self {
        Self::Bucket(error)
    }
}

fn error_response(error: GcsError) -> FullResponse {
    let (status, code, message) = match error {
        GcsError::AuthenticationRequired => (401, "AuthenticationRequired", "Authentication required."),
        GcsError::InvalidRange => (416, "InvalidRange", "The requested range cannot be satisfied."),
        GcsError::NoSuchBucket => (404, "NoSuchBucket", "The specified bucket does not exist."),
        GcsError::NotImplemented => (400, "NotImplemented", "This double does not implement the request."),
        GcsError::NotModified => (304, "NotModified", ""),
        GcsError::Bucket(error) => {
            let status = match error {
                BucketError::NoSuchKey | BucketError::NoSuchUpload => 404,
                BucketError::PreconditionFailed => 412,
                _ => 400,
            };
            return xml::error(status_code(status), &format!("{error:?}"), error.message());
        }
    };
    xml::error(status_code(status), code, message)
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a valid status")
}

fn respond(bucket: &Bucket, full: &FullRequest) -> Result<FullResponse, GcsError> {
    let credentials = full.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = credentials.and_then(|value| value.strip_prefix("Bearer "));
    if !token.is_some_and(|token| token.starts_with(GcsServer::TOKEN)) {
        return Err(GcsError::AuthenticationRequired);
    }
    let request = Request::new(full.method(), full.uri(), full.headers());
    if request.bucket() != GcsServer::BUCKET {
        return Err(GcsError::NoSuchBucket);
    }
    match full.method() {
        &Method::GET if request.parameter("uploads").is_some() => Ok(list_uploads(bucket, &request)),
        &Method::GET if request.parameter("uploadId").is_some() => list_parts(bucket, &request),
        &Method::GET if request.key().is_empty() => list(bucket, &request),
        &Method::GET | &Method::HEAD if !request.key().is_empty() => read(bucket, &request, full),
        &Method::PUT if request.is_part_upload() => put_part(bucket, &request, full.body()),
        &Method::PUT if request.header("x-goog-copy-source").is_some() => copy(bucket, &request),
        &Method::PUT if !request.key().is_empty() => {
            let content = full.body().clone().into();
            let accepts = precondition(&request)?;
            let object = bucket.put(&request.key(), content, stored_headers(full.headers()), accepts)?;
            finish(described(&object), Bytes::new())
        }
        &Method::POST if request.is_initiate() => Ok(initiate(bucket, &request, full.headers())),
        &Method::POST if request.is_complete() => complete(bucket, &request, full.body()),
        &Method::DELETE if request.is_abort() => {
            bucket.abort_upload(&upload_id(&request))?;
            finish(Response::builder().status(StatusCode::NO_CONTENT), Bytes::new())
        }
        &Method::DELETE if !request.key().is_empty() => {
            bucket.delete(&request.key(), precondition(&request)?)?;
            finish(Response::builder().status(StatusCode::NO_CONTENT), Bytes::new())
        }
        _ => Err(GcsError::NotImplemented),
    }
}

fn read(bucket: &Bucket, request: &Request, full: &FullRequest) -> Result<FullResponse, GcsError> {
    let object = bucket.get(&request.key())?;
    if request.parameter("generation").is_some_and(|wanted| wanted != object.generation.to_string()) {
        return Err(BucketError::NoSuchKey.into());
    }
    let e_tag = quoted(&object.e_tag);
    let matches = |header: &str| header.split(',').any(|name| matches!(name.trim(), "*") || name.trim() == e_tag);
    if request.header(IF_MATCH.as_str()).is_some_and(|header| !matches(header)) {
        return Err(BucketError::PreconditionFailed.into());
    }
    if request.header(IF_NONE_MATCH.as_str()).is_some_and(matches) {
        return Err(GcsError::NotModified);
    }
    let mut response = described(&object).header(ACCEPT_RANGES, "bytes");
    for (name, value) in &object.headers {
        response = response.header(name, value);
    }
    let mut body = object.bytes;
    if let Some(range) = request.header(RANGE.as_str()) {
        let range = parse_range(range, body.len())?;
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, body.len());
        response = response.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, content_range);
        body = body.slice(range);
    }
    if full.method() == Method::HEAD {
        return finish(response.header(CONTENT_LENGTH, body.len()), Bytes::new());
    }
    finish(response, body)
}

fn put_part(bucket: &Bucket, request: &Request, body: &Bytes) -> Result<FullResponse, GcsError> {
    let number = request.parameter("partNumber").and_then(|number| number.parse().ok());
    let number = number.ok_or(BucketError::InvalidArgument)?;
    let e_tag = bucket.put_part(&upload_id(request), number, body.clone().into())?;
    finish(Response::builder().header(ETAG, quoted(&e_tag)), Bytes::new())
}

fn copy(bucket: &Bucket, request: &Request) -> Result<FullResponse, GcsError> {
    let source = request.header("x-goog-copy-source").unwrap_or_default();
    let source = percent_decode_str(source).decode_utf8_lossy().into_owned();
    let (name, key) = source.trim_start_matches('/').split_once('/').ok_or(BucketError::InvalidArgument)?;
    if name != GcsServer::BUCKET {
        return Err(GcsError::NoSuchBucket);
    }
    let Object { bytes, headers, .. } = bucket.get(key)?;
    let copy = bucket.put(&request.key(), bytes.into(), headers, precondition(request)?)?;
    let e_tag = escape(&quoted(&copy.e_tag));
    Ok(xml::document(StatusCode::OK, &format!("<CopyObjectResult><ETag>{e_tag}</ETag></CopyObjectResult>")))
}

fn initiate(bucket: &Bucket, request: &Request, headers: &HeaderMap) -> FullResponse {
    let id = bucket.start_upload(&request.key(), stored_headers(headers));
    let (name, key) = (GcsServer::BUCKET, escape(&request.key()));
    let content = format!("<Bucket>{name}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>");
    let content = format!("<InitiateMultipartUploadResult>{content}</InitiateMultipartUploadResult>");
    xml::document(StatusCode::OK, &content)
}

fn complete(bucket: &Bucket, request: &Request, body: &Bytes) -> Result<FullResponse, GcsError> {
    let document = std::str::from_utf8(body).map_err(|_| BucketError::InvalidArgument)?;
    let mut parts = Vec::new();
    for part in elements(document, "Part") {
        let number = elements(part, "PartNumber").next().and_then(|number| number.parse().ok());
        let e_tag = elements(part, "ETag").next().map(|e_tag| unescape(e_tag).trim_matches('"').to_owned());
        parts.push((number.ok_or(BucketError::InvalidArgument)?, e_tag.ok_or(BucketError::InvalidArgument)?));
    }
    let object = bucket.complete_upload(&upload_id(request), &request.key(), &parts, precondition(request)?)?;
    let (key, e_tag) = (escape(&request.key()), escape(&quoted(&object.e_tag)));
    let content = format!("<Key>{key}</Key><ETag>{e_tag}</ETag>");
    let content = format!("<CompleteMultipartUploadResult>{content}</CompleteMultipartUploadResult>");
    let mut response = xml::document(StatusCode::OK, &content);
    response.headers_mut().insert("x-goog-generation", HeaderValue::from(object.generation));
    Ok(response)
}

fn list(bucket: &Bucket, request: &Request) -> Result<FullResponse, GcsError> {
    let text = |name: &str| request.parameter(name).unwrap_or_default();
    let keys_max = match request.parameter("max-keys") {
        Some(keys) => keys.parse().map_err(|_| BucketError::InvalidArgument)?,
        None => usize::MAX,
    };
    let page = bucket.list(&Query {
        prefix: &text("prefix"),
        delimiter: &text("delimiter"),
        start_after: &text("start-after"),
        token: &text("continuation-token"),
        keys_max,
    })?;
    let is_truncated = page.next_token.is_some();
    let mut content = format!("<Name>{}</Name><IsTruncated>{is_truncated}</IsTruncated>", GcsServer::BUCKET);
    for (key, object) in page.objects {
        let (key, e_tag) = (escape(&key), escape(&quoted(&object.e_tag)));
        let modified = object.modified.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let size_bytes = object.bytes.len();
        content += &format!("<Contents><Key>{key}</Key><LastModified>{modified}</LastModified>");
        content += &format!("<ETag>{e_tag}</ETag><Size>{size_bytes}</Size></Contents>");
    }
    for prefix in page.prefixes {
        content += &format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(&prefix));
    }
    if let Some(token) = page.next_token {
        content += &format!("<NextContinuationToken>{token}</NextContinuationToken>");
    }
    Ok(xml::document(StatusCode::OK, &format!("<ListBucketResult>{content}</ListBucketResult>")))
}

fn list_uploads(bucket: &Bucket, request: &Request) -> FullResponse {
    let text = |name: &str| request.parameter(name).unwrap_or_default();
    let (uploads, is_truncated) = bucket.uploads_after(&text("prefix"), &text("key-marker"), &text("upload-id-marker"));
    let mut content = format!("<IsTruncated>{is_truncated}</IsTruncated>");
    if let Some((id, upload)) = uploads.last().filter(|_| is_truncated) {
        let key = escape(&upload.key);
        content += &format!("<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>");
    }
    for (id, upload) in uploads {
        let (key, started) = (escape(&upload.key), upload.started.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        content +=
            &format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{started}</Initiated></Upload>");
    }
    xml::document(StatusCode::OK, &format!("<ListMultipartUploadsResult>{content}</ListMultipartUploadsResult>"))
}

fn list_parts(bucket: &Bucket, request: &Request) -> Result<FullResponse, GcsError> {
    let uploads = bucket.uploads();
    let upload = uploads.get(&upload_id(request)).ok_or(BucketError::NoSuchUpload)?;
    let after = request.parameter("part-number-marker").and_then(|marker| marker.parse().ok()).unwrap_or_default();
    let (parts, is_truncated) = upload.parts_after(after);
    let mut content = format!("<IsTruncated>{is_truncated}</IsTruncated>");
    if let Some((number, _)) = parts.last().filter(|_| is_truncated) {
        content += &format!("<NextPartNumberMarker>{number}</NextPartNumberMarker>");
    }
    for (number, size_bytes) in parts {
        content += &format!("<Part><PartNumber>{number}</PartNumber><Size>{size_bytes}</Size></Part>");
    }
    Ok(xml::document(StatusCode::OK, &format!("<ListPartsResult>{content}</ListPartsResult>")))
}

fn upload_id(request: &Request) -> String {
    request.parameter("uploadId").unwrap_or_default()
}

/// Returns the condition that a write sets for the present object of its key. Generation 0 stands for no object.
fn precondition(request: &Request) -> Result<impl FnOnce(Option<&Object>) -> bool + use<>, GcsError> {
    let wanted = request.header("x-goog-if-generation-match").map(str::parse::<u64>);
    let wanted = wanted.transpose().map_err(|_| BucketError::InvalidArgument)?;
    Ok(move |found: Option<&Object>| wanted.is_none_or(|wanted| wanted == found.map_or(0, |object| object.generation)))
}

/// Returns the headers that are stored with an object and returned with it.
fn stored_headers(headers: &HeaderMap) -> HeaderMap {
    let names = [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE];
    let is_stored = |name: &str| names.iter().any(|stored| stored == name) || name.starts_with("x-goog-meta-");
    let stored = headers.iter().filter(|(name, _)| is_stored(name.as_str()));
    stored.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn described(object: &Object) -> Builder {
    Response::builder()
        .header(ETAG, quoted(&object.e_tag))
        .header("x-goog-generation", object.generation)
        .header(LAST_MODIFIED, object.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

fn quoted(e_tag: &str) -> String {
    format!("\"{e_tag}\"")
}

fn finish(response: Builder, body: Bytes) -> Result<FullResponse, GcsError> {
    Ok(response.body(body).expect("headers that were valid in the request"))
}

fn parse_range(header: &str, size_bytes: usize) -> Result<Range<usize>, GcsError> {
    let (first, last) =
        header.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or(GcsError::InvalidRange)?;
    let number = |text: &str| text.parse::<usize>().map_err(|_| GcsError::InvalidRange);
    let range = match (first, last) {
        ("", last) => size_bytes.saturating_sub(number(last)?)..size_bytes,
        (first, "") => number(first)?..size_bytes,
        (first, last) => number(first)?..number(last)?.saturating_add(1).min(size_bytes),
    };
    if range.is_empty() { Err(GcsError::InvalidRange) } else { Ok(range) }
}
