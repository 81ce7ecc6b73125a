//! Multipart uploads in a bucket that have not ended, with their sizes. The clients of `object_store` cannot list them. S3
//! and Google Cloud Storage have the same requests for it: `ListMultipartUploads` and `ListParts`.
//!
//! Only for reports. The permissions for these requests are separate ones, and some servers do not know the requests, so
//! that a failure means that no more is known. It is not repeated. What a server sends is limited: the bytes of a page, the
//! pages, and the uploads. The caller limits the time.

use std::error::Error as StdError;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::client::{HttpClient, HttpRequest, HttpResponseBody};
use object_store::path::Path;

use super::listing::unescaped;
use super::rejection::element;
use crate::store::ObjectInfo;
use crate::store::budget::{Budget, PERMIT_BYTES};
use crate::store::object::ListUploads;

/// How many pages are read of the uploads, and of the parts of each. A page has up to 1,000.
const PAGES_MAX: usize = 100;
/// How many uploads are asked for their parts at the same time.
const CONCURRENT_REQUESTS: usize = 4;

/// How many uploads are reported.
const UPLOADS_MAX: usize = 1000;
/// How many bytes a page may have. It is held in memory, and a permit stands for so many.
const PAGE_BYTES_MAX: usize = PERMIT_BYTES as usize;

const NOT_KNOWN: &str = "the server does not know the request";

/// An error of a report. It is only traced.
pub(in crate::store) type ReportError = Box<dyn StdError + Send + Sync>;

/// Makes the requests of a provider, with what authorizes them.
#[async_trait]
pub(in crate::store) trait AuthorizedRequests: Send + Sync {
    /// Returns a GET request for an object, or for the bucket if the path is empty, with query parameters.
    async fn get(&self, path: &Path, query: &[(&str, &str)]) -> Result<HttpRequest, ReportError>;
}

/// Lists the multipart uploads of a bucket.
pub(in crate::store) struct MultipartUploads {
    http: HttpClient,
    requests: Box<dyn AuthorizedRequests>,
}

/// An upload in a page.
struct Listed {
    key: String,
    id: String,
    started_at: DateTime<Utc>,
}

impl MultipartUploads {
    pub(in crate::store) fn new(http: HttpClient, requests: impl AuthorizedRequests + 'static) -> Self {
        Self { http, requests: Box::new(requests) }
    }
}

#[async_trait]
impl ListUploads for MultipartUploads {
    async fn list(
        &self,
        prefix: &str,
        is_own: &(dyn for<'k> Fn(&'k str) -> bool + Send + Sync),
        budget: &Budget,
        found: &mut Vec<ObjectInfo>,
    ) -> Result<(), ReportError> {
        let (mut key_marker, mut id_marker) = (String::new(), String::new());
        for page_number in 0.. {
            within_limit(page_number)?;
            let mut query = vec![("uploads", ""), ("prefix", prefix)];
            if !key_marker.is_empty() {
                query.extend([("key-marker", key_marker.as_str()), ("upload-id-marker", id_marker.as_str())]);
            }
            let page = self.get(&Path::default(), &query, budget).await?.ok_or(NOT_KNOWN)?;
            // Some servers ignore the parameter and list objects.
            if !page.contains("<ListMultipartUploadsResult") {
                return Err(NOT_KNOWN.into());
            }
            let uploads = elements(&page, "Upload").filter_map(read_upload).filter(|upload| is_own(&upload.key));
            let uploads: Vec<Listed> = uploads.take(UPLOADS_MAX + 1).collect();
            let sized = uploads.into_iter().map(|upload| self.sized(upload, budget));
            let mut sized = stream::iter(sized.collect::<Vec<_>>()).buffered(CONCURRENT_REQUESTS);
            while let Some(upload) = sized.try_next().await? {
                if upload.is_some() && found.len() == UPLOADS_MAX {
                    return Err(format!("there are more than {UPLOADS_MAX} uploads").into());
                }
                found.extend(upload);
            }
            (key_marker, id_marker) = match next(&page, "NextKeyMarker") {
                Some(key) => (key, next(&page, "NextUploadIdMarker").unwrap_or_default()),
                None => break,
            };
        }
        Ok(())
    }
}

impl MultipartUploads {
    /// Sums the parts of an upload; `None` if it has ended meanwhile.
    async fn sized(&self, upload: Listed, budget: &Budget) -> Result<Option<ObjectInfo>, ReportError> {
        let path = Path::parse(&upload.key)?;
        let (mut size_bytes, mut marker) = (0, String::new());
        for page_number in 0.. {
            within_limit(page_number)?;
            let mut query = vec![("uploadId", upload.id.as_str())];
            if !marker.is_empty() {
                query.push(("part-number-marker", marker.as_str()));
            }
            let Some(page) = self.get(&path, &query, budget).await? else { return Ok(None) };
            let sizes = elements(&page, "Part").filter_map(|part| element(part, "Size")?.parse::<u64>().ok());
            size_bytes = sizes.fold(size_bytes, u64::saturating_add);
            match next(&page, "NextPartNumberMarker") {
                Some(next) => marker = next,
                None => break,
            }
        }
        Ok(Some(ObjectInfo { key: upload.key, size_bytes, modified_at: upload.started_at }))
    }

    /// Returns a page; `None` if the server does not find it.
    async fn get(&self, path: &Path, query: &[(&str, &str)], budget: &Budget) -> Result<Option<String>, ReportError> {
        let _permit = budget.permit(0).await;
        let request = self.requests.get(path, query).await?;
        let response = self.http.execute(request).await?;
        match response.status() {
            status if status.is_success() => read_page(response.into_body()).await.map(Some),
            http::StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!("the server returned {status}").into()),
        }
    }
}

async fn read_page(body: HttpResponseBody) -> Result<String, ReportError> {
    let mut page = Vec::new();
    let mut pieces = body.bytes_stream();
    while let Some(piece) = pieces.try_next().await? {
        if page.len() + piece.len() > PAGE_BYTES_MAX {
            return Err(format!("a page has more than {PAGE_BYTES_MAX} bytes").into());
        }
        page.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Returns an error if too many pages were read. A server may return the same one again and again.
fn within_limit(page_number: usize) -> Result<(), ReportError> {
    if page_number < PAGES_MAX { Ok(()) } else { Err(format!("there are more than {PAGES_MAX} pages").into()) }
}

fn read_upload(upload: &str) -> Option<Listed> {
    let key = unescaped(element(upload, "Key")?.as_bytes())?;
    let id = unescaped(element(upload, "UploadId")?.as_bytes())?;
    let started_at = DateTime::parse_from_rfc3339(element(upload, "Initiated")?).ok()?.to_utc();
    Some(Listed { key, id, started_at })
}

/// Returns a marker of the next page, if there is one.
fn next(page: &str, marker: &str) -> Option<String> {
    if element(page, "IsTruncated") != Some("true") {
        return None;
    }
    unescaped(element(page, marker)?.as_bytes()).filter(|marker| !marker.is_empty())
}

/// Returns the contents of all elements of this name.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (content, after) = after.split_once(&close)?;
        rest = after;
        Some(content)
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the time is simulated")]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{self, Poll, ready};
    use std::time::Duration;

    use bytes::Bytes;
    use http_body::{Body, Frame};
    use object_store::client::{HttpError, HttpRequestBody, HttpResponse, HttpService};
    use object_store::memory::InMemory;
    use tokio::time::{Instant, Interval, interval, sleep};

    use super::*;
    use crate::store::TransferConfig;
    use crate::store::object::{BucketClient, MultipartReport, ObjectSnapshotStore};

    /// A server with uploads of one part of 5 bytes, in one page.
    #[derive(Debug, Default)]
    struct Server {
        uploads: usize,
        response_time: Duration,
        /// Adds white space to the pages of uploads.
        page_bytes: usize,
        /// Whether a page of parts never ends.
        drips: bool,
        now: AtomicUsize,
        most_at_once: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl HttpService for Server {
        async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            self.most_at_once.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(self.response_time).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            let is_for_parts = request.uri().query().unwrap().contains("uploadId");
            let body = match is_for_parts {
                true if self.drips => HttpResponseBody::new(Drip(interval(Duration::from_secs(1)))),
                true => "<ListPartsResult><Part><Size>5</Size></Part></ListPartsResult>".to_owned().into(),
                false => self.page().into(),
            };
            Ok(HttpResponse::new(body))
        }
    }

    impl Server {
        fn page(&self) -> String {
            let upload = |id| {
                let started = "2026-01-31T08:00:00.000Z";
                format!("<Upload><Key>key</Key><UploadId>{id}</UploadId><Initiated>{started}</Initiated></Upload>")
            };
            let uploads: String = (0..self.uploads).map(upload).collect();
            let page = format!("<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>");
            let white_space = " ".repeat(self.page_bytes.saturating_sub(page.len()));
            page + &white_space
        }

        async fn report(self, max_concurrent_io: usize) -> MultipartReport {
            let uploads = Arc::new(MultipartUploads::new(HttpClient::new(self), Requests));
            let client = BucketClient { objects: Arc::new(InMemory::new()), server: String::new(), uploads };
            let store = ObjectSnapshotStore::over_bucket(client, "bucket", "", "bucket".to_owned()).unwrap();
            let store = store.with_transfers(&TransferConfig::default().max_concurrent_io(max_concurrent_io)).unwrap();
            store.multipart_uploads().await
        }
    }

    /// A body that sends a byte each second.
    struct Drip(Interval);

    impl Body for Drip {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            ready!(self.0.poll_tick(context));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
        }
    }

    struct Requests;

    #[async_trait]
    impl AuthorizedRequests for Requests {
        async fn get(&self, _path: &Path, query: &[(&str, &str)]) -> Result<HttpRequest, ReportError> {
            let names: Vec<&str> = query.iter().map(|(name, _)| *name).collect();
            Ok(http::Request::get(format!("http://server/?{}", names.join("&"))).body(HttpRequestBody::empty())?)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_takes_no_more_than_ten_seconds_and_has_what_was_found_until_then() {
        const SECOND: Duration = Duration::from_secs(1);
        let cases = [
            ("silent", Server { uploads: 5, response_time: 3600 * SECOND, ..Server::default() }, 0..=0),
            ("slow", Server { uploads: 100, response_time: SECOND, ..Server::default() }, 32..=36),
            ("dripping", Server { uploads: 5, drips: true, ..Server::default() }, 0..=0),
        ];
        for (name, server, found) in cases {
            let start = Instant::now();
            let report = server.report(4).await;
            assert!(!report.is_complete && start.elapsed().as_secs() == 10, "{name}: {:?}", start.elapsed());
            assert!(found.contains(&report.uploads.len()), "{name}: {report:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_has_no_more_than_a_thousand_uploads() {
        for (uploads, found, is_complete) in
            [(999, 999, true), (1000, 1000, true), (1001, 1000, false), (5000, 1000, false)]
        {
            let report = Server { uploads, ..Server::default() }.report(4).await;
            assert_eq!((report.uploads.len(), report.is_complete), (found, is_complete));
            assert_eq!(report.uploads[999.min(found - 1)].size_bytes, 5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_has_a_limit() {
        for (page_bytes, is_complete) in [(PAGE_BYTES_MAX, true), (PAGE_BYTES_MAX + 1, false)] {
            let report = Server { uploads: 1, page_bytes, ..Server::default() }.report(4).await;
            assert_eq!((report.uploads.len(), report.is_complete), (usize::from(is_complete), is_complete));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_run_at_once_than_the_budget_allows() {
        for (max_concurrent_io, expected) in [(1, 1), (2, 2), (4, 4), (16, CONCURRENT_REQUESTS)] {
            let server = Server { uploads: 20, response_time: Duration::from_millis(1), ..Server::default() };
            let most_at_once = server.most_at_once.clone();
            let report = server.report(max_concurrent_io).await;
            assert_eq!((report.uploads.len(), most_at_once.load(Ordering::SeqCst)), (20, expected));
        }
    }

    #[test]
    fn uploads_are_read_and_what_is_incomplete_is_left_out() {
        let page = "<R><Uploads/><Upload><Key>a&amp;b</Key><UploadId>1</UploadId><Initiated>2026-01-31T08:00:00.000Z</Initiated></Upload>\
                    <Upload><Key>c</Key></Upload><IsTruncated>true</IsTruncated><NextKeyMarker>c</NextKeyMarker></R>";
        let uploads: Vec<Listed> = elements(page, "Upload").filter_map(read_upload).collect();
        assert_eq!(uploads.iter().map(|upload| (&*upload.key, &*upload.id)).collect::<Vec<_>>(), [("a&b", "1")]);
        assert_eq!(next(page, "NextKeyMarker").as_deref(), Some("c"));
        assert_eq!(next(page, "NextUploadIdMarker"), None);
        assert_eq!(next(&page.replace("true", "false"), "NextKeyMarker"), None);
    }
}
