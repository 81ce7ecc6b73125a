//! Pages of a listing: gives keys that the client of `object_store` cannot read names that it can.
//!
//! The client fails at the first key that is no path of its own: with an empty segment (`a//b`), `.` or `..`, a control
//! character, or bytes that are not UTF-8. One such object would hide all others. It also removes slashes at
//! the ends of a key, so that the key of one object looks like that of another. No such key is one of ours. Here each of
//! them becomes `#` and the hexadecimal digits of its bytes, before the client reads the page. A key never contains `#`,
//! so these objects are listed as foreign ones.
//!
//! Only the text of keys is changed. The pages of S3, Google Cloud Storage and Azure are handled alike.
//!
//! The client also takes any XML document for a page without objects. A page with another root element is an error here:
//! the answer of a web console or a proxy must not look like an empty bucket.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Uri;
use http_body::{Body, Frame};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use reqwest::Method;

use super::rejection::ProviderRejection;
use super::stall::ResponseBody;
use crate::error::ErrorKind;

/// The tags of an object and of its key. That of a key may have attributes.
struct Tags {
    object: &'static str,
    key: &'static str,
    key_end: &'static str,
}

/// Those in the XML of S3 and Google, and those in that of Azure.
const ELEMENTS: [Tags; 2] = [
    Tags { object: "<Contents>", key: "<Key", key_end: "</Key>" },
    Tags { object: "<Blob>", key: "<Name", key_end: "</Name>" },
];

/// The root elements of a page: those of S3 and Google, and that of Azure.
const ROOTS: [&str; 2] = ["ListBucketResult", "EnumerationResults"];

const NO_LISTING: &str = "the server answered a request for a listing with something else; check the address of the server: \
                          a web console or a proxy may have answered";

/// The largest page. Those of Azure have up to 5,000 objects, with keys of up to 1,024 characters.
const PAGE_BYTES_MAX: u64 = 64 << 20;

/// Returns whether a request is for a page of a listing.
pub(super) fn is_listing(method: &Method, uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    *method == Method::GET && parameters.any(|parameter| matches!(parameter, "list-type=2" | "comp=list"))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The body of a page, with readable keys. It is one frame, which the client would wait for in any case.
pub(super) struct ListingBody {
    /// `None` after the end.
    body: Option<ResponseBody>,
    read: BytesMut,
}

impl ListingBody {
    pub(super) fn new(body: ResponseBody) -> Self {
        let body = body.with_limit(PAGE_BYTES_MAX, "a request for a listing");
        Self { body: Some(body), read: BytesMut::new() }
    }
}

impl Body for ListingBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.read.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => {
                    self.body = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.body = None;
                    if !root(&self.read).is_some_and(|root| ROOTS.contains(&root)) {
                        let reason = NO_LISTING.to_owned();
                        let rejection = ProviderRejection::new(ErrorKind::InvalidInput, reason);
                        return Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Unknown, rejection))));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(with_readable_keys(&self.read).into()))));
                }
            }
        }
    }
}

/// Returns the name of the root element of a document, without its namespace.
fn root(page: &[u8]) -> Option<&str> {
    let mut rest = page.strip_prefix(BYTE_ORDER_MARK).unwrap_or(page).trim_ascii_start();
    loop {
        let ends = [("<?", "?>"), ("<!--", "-->"), ("<!", ">")];
        let Some((_, end)) = ends.iter().find(|(start, _)| rest.starts_with(start.as_bytes())) else { break };
        rest = rest.get(end_of(rest, 0, end)?..)?.trim_ascii_start();
    }
    let tag = rest.strip_prefix(b"<")?;
    let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'))?;
    let name = std::str::from_utf8(tag.get(..end)?).ok()?;
    Some(name.rsplit_once(':').map_or(name, |(_, local)| local))
}

/// Returns a page with the keys that the client cannot read replaced.
fn with_readable_keys(page: &[u8]) -> Vec<u8> {
    // The whole page is of one provider: each page is searched once, and only for its own elements.
    let tags = ELEMENTS.iter().find(|tags| find(page, tags.object.as_bytes()).is_some());
    let mut written = Vec::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, key, after)) = tags.and_then(|tags| next_key(rest, tags)) {
        written.extend_from_slice(before);
        match is_readable(key) {
            true => written.extend_from_slice(key),
            false => written.extend_from_slice(foreign_name(key).as_bytes()),
        }
        rest = after;
    }
    written.extend_from_slice(rest);
    written
}

/// Divides a page at the key of its next object: what is before the key, the key, and what is behind it.
fn next_key<'a>(page: &'a [u8], tags: &Tags) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    let start = end_of(page, 0, tags.object)?;
    let tag = end_of(page, start, tags.key)?;
    let start = end_of(page, tag, ">")?;
    let length = find(page.get(start..)?, tags.key_end.as_bytes())?;
    Some((page.get(..start)?, page.get(start..start + length)?, page.get(start + length..)?))
}

/// Returns where the next occurrence of a text ends.
fn end_of(page: &[u8], from: usize, text: &str) -> Option<usize> {
    find(page.get(from..)?, text.as_bytes()).map(|at| from + at + text.len())
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// Returns whether the client reads this key, as it is written in XML, as exactly the key that it is.
fn is_readable(key: &[u8]) -> bool {
    let Some(text) = unescaped(key) else { return false };
    Path::parse(&text).is_ok_and(|path| path.as_ref() == text)
}

/// Returns a text in XML as it is meant; `None` if that cannot be said.
pub(super) fn unescaped(raw: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(raw).ok()?;
    let mut text = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('&') {
        let (entity, after) = after.split_once(';')?;
        text.push_str(before);
        text.push(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let number = number.strip_prefix('#')?;
                let hexadecimal = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16));
                char::from_u32(hexadecimal.unwrap_or_else(|| number.parse()).ok()?)?
            }
        });
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

fn foreign_name(key: &[u8]) -> String {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("#{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(keys: &[&[u8]]) -> Vec<u8> {
        let contents =
            keys.iter().flat_map(|key| [b"<Contents><Key>", *key, b"</Key><Size>1</Size></Contents>"].concat());
        let page = b"<?xml version=\"1.0\"?><R><Name>b</Name><Prefix>a//</Prefix>".iter().copied();
        page.chain(contents).chain(*b"<CommonPrefixes><Prefix>x//</Prefix></CommonPrefixes></R>").collect()
    }

    #[test]
    fn keys_that_the_client_reads_as_they_are_stay() {
        let keys: [&[u8]; 7] = [b"", b"a", b"a/b", b"a/b &amp; c", "a/\u{fffd}é".as_bytes(), b" a ", b"a/&#246;&#xF6;"];
        assert_eq!(with_readable_keys(&s3(&keys)), s3(&keys));
        for other in [&b""[..], b"<html>", b"<Contents><Key>half", b"<Contents>", &[0xff, 0xfe]] {
            assert_eq!(with_readable_keys(other), other);
        }
    }

    #[test]
    fn all_others_get_a_name_of_their_own() {
        let keys: [&[u8]; 12] = [
            b"/",
            b"/a",
            b"a/",
            b"a//b",
            b"./a",
            b"a/..",
            b"a\r",
            b"a&#13;",
            b"a&#x9;b",
            b"a&nbsp;b",
            b"a&#xD800;",
            &[b'a', 0xff],
        ];
        let renamed = with_readable_keys(&s3(&keys));
        let names: Vec<String> = keys.iter().map(|key| foreign_name(key)).collect();
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(renamed, s3(&names));
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn the_pages_of_azure_have_other_names() {
        let page = "<Blobs><Blob><Name>a/b</Name></Blob><Blob><Name Encoded=\"true\">a//%01</Name></Blob></Blobs>";
        let renamed = String::from_utf8(with_readable_keys(page.as_bytes())).unwrap();
        assert_eq!(renamed, page.replace("a//%01", &foreign_name(b"a//%01")));
    }

    #[test]
    fn a_page_is_known_by_its_root() {
        for (page, name) in [
            ("<ListBucketResult/>", Some("ListBucketResult")),
            (
                "\u{feff}<?xml version='1.0'?>\n<!-- a > b -->\n<s3:ListBucketResult xmlns:s3='x'>",
                Some("ListBucketResult"),
            ),
            ("<!DOCTYPE html>\n<html lang='en'>", Some("html")),
            ("<EnumerationResults ServiceEndpoint='x'>", Some("EnumerationResults")),
            ("", None),
            ("ok", None),
            ("<", None),
            ("<?xml", None),
            ("<!-- ", None),
        ] {
            assert_eq!(root(page.as_bytes()), name, "{page}");
        }
        assert_eq!(root(b"<\xff>"), None);
    }

    #[test]
    fn a_page_is_known_by_its_request() {
        let is_listing = |method, query: &str| is_listing(&method, &format!("http://h/b?{query}").parse().unwrap());
        assert!(is_listing(Method::GET, "list-type=2&prefix=a%2F"));
        assert!(is_listing(Method::GET, "restype=container&comp=list"));
        assert!(!is_listing(Method::GET, "uploads"));
        assert!(!is_listing(Method::PUT, "comp=list"));
    }
}
