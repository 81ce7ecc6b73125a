//! Multipart uploads in a bucket that have not ended, with their sizes. The clients of `object_store` cannot list them. S3
//! and Google Cloud Storage have the same requests for it: `ListMultipartUploads` and `ListParts`.
//!
//! Only for reports. The permissions for these requests are separate ones, and some servers do not know the requests, so
//! that a failure means that nothing is known. It is not repeated.

use std::error::Error as StdError;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::client::{HttpClient, HttpRequest};
use object_store::path::Path;

use super::listing::unescaped;
use super::rejection::element;
use crate::store::ObjectInfo;
use crate::store::object::ListUploads;

/// How many pages are read of the uploads, and of the parts of each. A page has up to 1,000.
const PAGES_MAX: usize = 100;
/// How many uploads are asked for their parts at the same time.
const CONCURRENT_REQUESTS: usize = 4;

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
    ) -> Result<Vec<ObjectInfo>, ReportError> {
        let mut uploads = Vec::new();
        let (mut key_marker, mut id_marker) = (String::new(), String::new());
        for page_number in 0.. {
            within_limit(page_number)?;
            let mut query = vec![("uploads", ""), ("prefix", prefix)];
            if !key_marker.is_empty() {
                query.extend([("key-marker", key_marker.as_str()), ("upload-id-marker", id_marker.as_str())]);
            }
            let page = self.get(&Path::default(), &query).await?.ok_or(NOT_KNOWN)?;
            // Some servers ignore the parameter and list objects.
            if !page.contains("<ListMultipartUploadsResult") {
                return Err(NOT_KNOWN.into());
            }
            uploads.extend(elements(&page, "Upload").filter_map(read_upload).filter(|upload| is_own(&upload.key)));
            (key_marker, id_marker) = match next(&page, "NextKeyMarker") {
                Some(key) => (key, next(&page, "NextUploadIdMarker").unwrap_or_default()),
                None => break,
            };
        }
        let sized = uploads.into_iter().map(|upload| self.sized(upload));
        let sized = stream::iter(sized.collect::<Vec<_>>()).buffered(CONCURRENT_REQUESTS);
        sized.try_filter_map(async |upload| Ok(upload)).try_collect().await
    }
}

impl MultipartUploads {
    /// Sums the parts of an upload; `None` if it has ended meanwhile.
    async fn sized(&self, upload: Listed) -> Result<Option<ObjectInfo>, ReportError> {
        let path = Path::parse(&upload.key)?;
        let (mut size_bytes, mut marker) = (0, String::new());
        for page_number in 0.. {
            within_limit(page_number)?;
            let mut query = vec![("uploadId", upload.id.as_str())];
            if !marker.is_empty() {
                query.push(("part-number-marker", marker.as_str()));
            }
            let Some(page) = self.get(&path, &query).await? else { return Ok(None) };
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
    async fn get(&self, path: &Path, query: &[(&str, &str)]) -> Result<Option<String>, ReportError> {
        let request = self.requests.get(path, query).await?;
        let response = self.http.execute(request).await?;
        let status = response.status();
        let body = response.into_body().bytes().await?;
        match status {
            _ if status.is_success() => Ok(Some(String::from_utf8_lossy(&body).into_owned())),
            http::StatusCode::NOT_FOUND => Ok(None),
            _ => Err(format!("the server returned {status}").into()),
        }
    }
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
mod tests {
    use super::*;

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
