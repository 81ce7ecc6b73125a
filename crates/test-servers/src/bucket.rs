//! The object store behind both servers: one bucket in memory, with its objects and its multipart uploads in progress.
//!
//! The rules that S3 and Google Cloud Storage share are here. No HTTP is here: `s3/operations.rs` and `gcs.rs` parse
//! requests, evaluate the preconditions of their protocol, and write responses.
#![expect(clippy::disallowed_methods, reason = "a server dates its objects by the clock of the machine")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use hyper::HeaderMap;
use s3s::crypto::{Checksum as _, Md5};

/// Maximum number of keys and common prefixes in a page of a listing.
const PAGE_KEYS_MAX: usize = 1_000;
/// Maximum numbers of uploads and of parts in a page of theirs: few, so that tests need several pages.
const LISTED_UPLOADS_MAX: usize = 2;
const LISTED_PARTS_MAX: usize = 2;
/// Minimum size of every part except the last.
const PART_BYTES_MIN: usize = 5 * 1024 * 1024;
const PART_NUMBER_MAX: u32 = 10_000;

/// The reason why a request fails. The name of the variant is the error code that both services use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketError {
    EntityTooSmall,
    InvalidArgument,
    InvalidPart,
    InvalidPartOrder,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
}

impl BucketError {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::EntityTooSmall => "A part other than the last is smaller than 5 MiB.",
            Self::InvalidArgument => "Invalid argument.",
            Self::InvalidPart => "A part was not found, or its ETag does not match.",
            Self::InvalidPartOrder => "The parts are not in ascending order.",
            Self::NoSuchKey => "The specified key does not exist.",
            Self::NoSuchUpload => "The specified upload does not exist. It may have been aborted or completed.",
            Self::PreconditionFailed => "At least one of the specified preconditions did not hold.",
        }
    }
}

/// The bytes of an object or of a part, with their digest.
///
/// The digest is computed before the bucket is locked, so that concurrent uploads do not wait for each other.
pub(crate) struct Content {
    bytes: Bytes,
    md5: [u8; 16],
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        let md5 = Md5::checksum(&bytes);
        Self { bytes, md5 }
    }
}

impl Content {
    /// Returns the ETag without its quotation marks.
    pub(crate) fn e_tag(&self) -> String {
        hex(&self.md5)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    /// Without its quotation marks.
    pub(crate) e_tag: String,
    /// Increases with every write to the bucket.
    pub(crate) generation: u64,
    pub(crate) modified: DateTime<Utc>,
    /// The headers of the upload that are returned with the object.
    pub(crate) headers: HeaderMap,
}

/// A multipart upload in progress.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) started: DateTime<Utc>,
    headers: HeaderMap,
    parts: BTreeMap<u32, Arc<Content>>,
}

/// A page of a listing.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Object)>,
    pub(crate) prefixes: Vec<String>,
    /// The token that continues the listing after this page.
    pub(crate) next_token: Option<String>,
}

/// The parameters of a listing.
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Keys that contain this after the prefix are grouped into common prefixes, unless it is empty.
    pub(crate) delimiter: &'a str,
    pub(crate) start_after: &'a str,
    /// [`Page::next_token`] of the previous page, or empty.
    pub(crate) token: &'a str,
    pub(crate) keys_max: usize,
}

/// A bucket. A clone is the same bucket.
#[derive(Clone, Default)]
pub(crate) struct Bucket(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    last_generation: u64,
    last_upload: u64,
}

impl Bucket {
    pub(crate) fn get(&self, key: &str) -> Result<Object, BucketError> {
        self.lock().objects.get(key).cloned().ok_or(BucketError::NoSuchKey)
    }

    /// Stores an object if `accepts` returns true for the present object of the key.
    pub(crate) fn put(
        &self,
        key: &str,
        content: Content,
        headers: HeaderMap,
        accepts: impl FnOnce(Option<&Object>) -> bool,
    ) -> Result<Object, BucketError> {
        let mut state = self.lock();
        state.check(key, accepts)?;
        let e_tag = content.e_tag();
        Ok(state.store(key, content.bytes, e_tag, headers))
    }

    /// Stores an object, whatever there is.
    pub(crate) fn put_any(&self, key: &str, bytes: &[u8]) {
        let content = Content::from(Bytes::copy_from_slice(bytes));
        let e_tag = content.e_tag();
        self.lock().store(key, content.bytes, e_tag, HeaderMap::new());
    }

    /// Starts an upload with these parts.
    pub(crate) fn start_upload_of(&self, key: &str, parts: &[&[u8]]) {
        let id = self.start_upload(key, HeaderMap::new());
        for (part, number) in parts.iter().zip(1..) {
            self.put_part(&id, number, Content::from(Bytes::copy_from_slice(part))).expect("a new upload");
        }
    }

    /// Deletes an object if `accepts` returns true for it.
    pub(crate) fn delete(&self, key: &str, accepts: impl FnOnce(Option<&Object>) -> bool) -> Result<(), BucketError> {
        let mut state = self.lock();
        state.check(key, accepts)?;
        state.objects.remove(key).map(drop).ok_or(BucketError::NoSuchKey)
    }

    /// Returns the id of the new upload.
    pub(crate) fn start_upload(&self, key: &str, headers: HeaderMap) -> String {
        let mut state = self.lock();
        state.last_upload += 1;
        let id = format!("upload-{}", state.last_upload);
        let upload = Upload { key: key.to_owned(), started: Utc::now(), headers, parts: BTreeMap::new() };
        state.uploads.insert(id.clone(), upload);
        id
    }

    /// Returns the ETag of the part.
    pub(crate) fn put_part(&self, id: &str, number: u32, content: Content) -> Result<String, BucketError> {
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(BucketError::InvalidArgument);
        }
        let mut state = self.lock();
        let upload = state.uploads.get_mut(id).ok_or(BucketError::NoSuchUpload)?;
        let e_tag = content.e_tag();
        upload.parts.insert(number, Arc::new(content));
        Ok(e_tag)
    }

    /// Stores an object made of `parts` (number and ETag) if `accepts` returns true for the present object of the key.
    ///
    /// The upload stays in progress if this fails.
    pub(crate) fn complete_upload(
        &self,
        id: &str,
        key: &str,
        parts: &[(u32, String)],
        accepts: impl FnOnce(Option<&Object>) -> bool,
    ) -> Result<Object, BucketError> {
        let mut state = self.lock();
        let upload = state.uploads.get(id).filter(|upload| upload.key == key).ok_or(BucketError::NoSuchUpload)?;
        let (bytes, e_tag) = upload.assemble(parts)?;
        state.check(key, accepts)?;
        let upload = state.uploads.remove(id).ok_or(BucketError::NoSuchUpload)?;
        Ok(state.store(key, bytes, e_tag, upload.headers))
    }

    pub(crate) fn abort_upload(&self, id: &str) -> Result<(), BucketError> {
        self.lock().uploads.remove(id).map(drop).ok_or(BucketError::NoSuchUpload)
    }

    /// Returns the uploads in progress, by id.
    pub(crate) fn uploads(&self) -> BTreeMap<String, Upload> {
        self.lock().uploads.clone()
    }

    /// Returns a page of the uploads in progress whose keys have a prefix, by key and id, after those that the markers name,
    /// and whether there are more.
    pub(crate) fn uploads_after(&self, prefix: &str, key: &str, id: &str) -> (Vec<(String, Upload)>, bool) {
        let is_after = |(other, upload): &(String, Upload)| (upload.key.as_str(), other.as_str()) > (key, id);
        let found = self.uploads().into_iter().filter(|(_, upload)| upload.key.starts_with(prefix)).filter(is_after);
        let mut found: Vec<_> = found.collect();
        found.sort_by(|(id, one), (other_id, other)| (&one.key, id).cmp(&(&other.key, other_id)));
        let is_truncated = found.len() > LISTED_UPLOADS_MAX;
        found.truncate(LISTED_UPLOADS_MAX);
        (found, is_truncated)
    }

    pub(crate) fn open_uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    pub(crate) fn list(&self, query: &Query<'_>) -> Result<Page, BucketError> {
        let Query { prefix, delimiter, start_after, token, keys_max } = *query;
        let keys_max = keys_max.min(PAGE_KEYS_MAX);
        let mut last = from_token(token).ok_or(BucketError::InvalidArgument)?;
        let mut page = Page::default();
        let state = self.lock();
        for (key, object) in state.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            let common = match delimiter {
                "" => None,
                _ => key[prefix.len()..].find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()]),
            };
            let name = common.unwrap_or(key);
            // Names are in order. A common prefix that was listed, here or on an earlier page, is therefore the last
            // name.
            if key.as_str() <= start_after || name <= last.as_str() {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == keys_max {
                page.next_token = (keys_max > 0).then(|| to_token(&last));
                break;
            }
            match common {
                Some(common) => page.prefixes.push(common.to_owned()),
                None => page.objects.push((key.clone(), object.clone())),
            }
            last = name.to_owned();
        }
        Ok(page)
    }

    /// Returns the bytes of all objects, by key.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().objects.iter().map(|(key, object)| (key.clone(), object.bytes.to_vec())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self, key: &str, accepts: impl FnOnce(Option<&Object>) -> bool) -> Result<(), BucketError> {
        if accepts(self.objects.get(key)) { Ok(()) } else { Err(BucketError::PreconditionFailed) }
    }

    fn store(&mut self, key: &str, bytes: Bytes, e_tag: String, headers: HeaderMap) -> Object {
        self.last_generation += 1;
        let object = Object { bytes, e_tag, generation: self.last_generation, modified: Utc::now(), headers };
        self.objects.insert(key.to_owned(), object.clone());
        object
    }
}

impl Upload {
    /// Returns the number and the size of each part of a page that begins after a number, and whether there are more.
    pub(crate) fn parts_after(&self, number: u32) -> (Vec<(u32, usize)>, bool) {
        let mut parts = self.parts.range(number + 1..).map(|(number, part)| (*number, part.bytes.len()));
        (parts.by_ref().take(LISTED_PARTS_MAX).collect(), parts.next().is_some())
    }

    /// Returns the bytes of the named parts and the ETag of the object.
    fn assemble(&self, named: &[(u32, String)]) -> Result<(Bytes, String), BucketError> {
        if named.is_empty() {
            return Err(BucketError::InvalidPart);
        }
        if !named.is_sorted_by(|(number, _), (next, _)| number < next) {
            return Err(BucketError::InvalidPartOrder);
        }
        let mut bytes = BytesMut::new();
        let mut digests = Vec::new();
        for (position, (number, e_tag)) in named.iter().enumerate() {
            let part = self.parts.get(number).filter(|part| part.e_tag() == *e_tag).ok_or(BucketError::InvalidPart)?;
            if part.bytes.len() < PART_BYTES_MIN && position + 1 < named.len() {
                return Err(BucketError::EntityTooSmall);
            }
            bytes.extend_from_slice(&part.bytes);
            digests.extend_from_slice(&part.md5);
        }
        // As on S3, this is not the MD5 of the object. Clients must not use it as one.
        let e_tag = format!("{}-{}", hex(&Md5::checksum(&digests)), named.len());
        Ok((bytes.freeze(), e_tag))
    }
}

/// Encodes the name that a listing continues after. The token is opaque, so that no client depends on its content.
fn to_token(last: &str) -> String {
    hex(last.as_bytes())
}

fn from_token(token: &str) -> Option<String> {
    let digits = token.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Option<Vec<u8>> = digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
