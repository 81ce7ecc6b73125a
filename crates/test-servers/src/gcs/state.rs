//! What the double of Google Cloud Storage stores, and the rules that hold for it. It knows no HTTP.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use hyper::HeaderMap;
use s3s::crypto::{Checksum as _, Md5};

/// The most keys and prefixes of a page.
const PAGE_KEYS_MAX: usize = 1_000;
/// The smallest part that is not the last.
const PART_BYTES_MIN: usize = 5 * 1024 * 1024;
/// The largest number of a part.
const PART_NUMBER_MAX: u32 = 10_000;

/// Why a request is refused. The name is the code that the service answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    AuthenticationRequired,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
    InvalidArgument,
    InvalidPart,
    EntityTooSmall,
    InvalidRange,
    NotModified,
    NotImplemented,
}

#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    /// With its quotation marks.
    pub(super) e_tag: String,
    pub(super) generation: u64,
    pub(super) modified: DateTime<Utc>,
    pub(super) headers: HeaderMap,
}

/// A page of a listing.
pub(super) struct Listing<'a> {
    pub(super) objects: Vec<(&'a str, &'a Object)>,
    pub(super) prefixes: Vec<String>,
    /// The token that the next page starts from.
    pub(super) next: Option<String>,
}

/// One bucket.
#[derive(Default)]
pub(super) struct State {
    objects: BTreeMap<String, Object>,
    uploads: HashMap<String, Upload>,
    generations: u64,
    uploads_begun: u64,
}

impl State {
    pub(super) fn get(&self, key: &str) -> Result<&Object, Refusal> {
        self.objects.get(key).ok_or(Refusal::NoSuchKey)
    }

    /// Stores an object if the one under its key has this generation; 0 stands for none.
    pub(super) fn put(
        &mut self,
        key: &str,
        bytes: Bytes,
        headers: HeaderMap,
        generation: Option<u64>,
    ) -> Result<&Object, Refusal> {
        self.check_generation(key, generation)?;
        let e_tag = e_tag(&bytes);
        Ok(self.store(key, bytes, e_tag, headers))
    }

    pub(super) fn delete(&mut self, key: &str, generation: Option<u64>) -> Result<(), Refusal> {
        self.check_generation(key, generation)?;
        self.objects.remove(key).map(drop).ok_or(Refusal::NoSuchKey)
    }

    pub(super) fn initiate(&mut self, key: &str, headers: HeaderMap) -> String {
        self.uploads_begun += 1;
        let id = format!("upload-{}", self.uploads_begun);
        self.uploads.insert(id.clone(), Upload { key: key.to_owned(), headers, parts: BTreeMap::new() });
        id
    }

    /// Gives the ETag of the part.
    pub(super) fn put_part(&mut self, id: &str, number: u32, bytes: Bytes) -> Result<String, Refusal> {
        let upload = self.uploads.get_mut(id).ok_or(Refusal::NoSuchUpload)?;
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(Refusal::InvalidArgument);
        }
        let e_tag = e_tag(&bytes);
        upload.parts.insert(number, Part { bytes, e_tag: e_tag.clone() });
        Ok(e_tag)
    }

    /// Makes an object of the named parts. An upload whose parts do not fit stays open.
    pub(super) fn complete(&mut self, id: &str, key: &str, named: &[(u32, String)]) -> Result<&Object, Refusal> {
        let upload = self.uploads.get(id).filter(|upload| upload.key == key).ok_or(Refusal::NoSuchUpload)?;
        let mut bytes = BytesMut::new();
        let mut digests = String::new();
        if named.is_empty() || !named.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(Refusal::InvalidArgument);
        }
        for (position, (number, e_tag)) in named.iter().enumerate() {
            let part = upload.parts.get(number).filter(|part| part.e_tag == *e_tag).ok_or(Refusal::InvalidPart)?;
            if part.bytes.len() < PART_BYTES_MIN && position + 1 < named.len() {
                return Err(Refusal::EntityTooSmall);
            }
            bytes.extend_from_slice(&part.bytes);
            digests.push_str(&part.e_tag);
        }
        // No digest of the whole: on the service neither, it must not be taken for one.
        let e_tag = format!("\"{}-{}\"", e_tag(digests.as_bytes()).trim_matches('"'), named.len());
        let upload = self.uploads.remove(id).ok_or(Refusal::NoSuchUpload)?;
        Ok(self.store(key, bytes.freeze(), e_tag, upload.headers))
    }

    pub(super) fn abort(&mut self, id: &str) -> Result<(), Refusal> {
        self.uploads.remove(id).map(drop).ok_or(Refusal::NoSuchUpload)
    }

    /// The keys that start with `prefix`, those that hold `delimiter` after it gathered into common prefixes. `token`
    /// is [`Listing::next`] of the page before.
    pub(super) fn list(
        &self,
        prefix: &str,
        delimiter: &str,
        start_after: &str,
        token: &str,
        wanted: usize,
    ) -> Result<Listing<'_>, Refusal> {
        let most = wanted.min(PAGE_KEYS_MAX);
        let listed = from_token(token).ok_or(Refusal::InvalidArgument)?;
        let mut page = Listing { objects: Vec::new(), prefixes: Vec::new(), next: None };
        let mut last = listed.clone();
        for (key, object) in self.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            let common = match delimiter {
                "" => None,
                _ => key[prefix.len()..].find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()]),
            };
            let name = common.unwrap_or(key);
            // Names come in order, so a common prefix that was listed, here or on a page before, is the last name.
            if key.as_str() <= start_after || name <= last.as_str() {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == most {
                page.next = (most > 0).then(|| to_token(&last));
                break;
            }
            match common {
                Some(common) => page.prefixes.push(common.to_owned()),
                None => page.objects.push((key, object)),
            }
            last = name.to_owned();
        }
        Ok(page)
    }

    pub(super) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    pub(super) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.objects.iter().map(|(key, object)| (key.clone(), object.bytes.to_vec())).collect()
    }

    fn check_generation(&self, key: &str, wanted: Option<u64>) -> Result<(), Refusal> {
        let found = self.objects.get(key).map_or(0, |object| object.generation);
        if wanted.is_some_and(|wanted| wanted != found) { Err(Refusal::PreconditionFailed) } else { Ok(()) }
    }

    fn store(&mut self, key: &str, bytes: Bytes, e_tag: String, headers: HeaderMap) -> &Object {
        self.generations += 1;
        let object = Object { bytes, e_tag, generation: self.generations, modified: Utc::now(), headers };
        self.objects.entry(key.to_owned()).insert_entry(object).into_mut()
    }
}

struct Upload {
    key: String,
    headers: HeaderMap,
    parts: BTreeMap<u32, Part>,
}

struct Part {
    bytes: Bytes,
    e_tag: String,
}

fn e_tag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&Md5::checksum(bytes)))
}

/// Not the key itself, so that no client comes to rely on what a token is.
fn to_token(last: &str) -> String {
    hex(last.as_bytes())
}

fn from_token(token: &str) -> Option<String> {
    let digits = token.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Option<Vec<u8>> = digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
