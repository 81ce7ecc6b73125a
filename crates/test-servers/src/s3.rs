//! The S3 server: `s3s` for the protocol and its signatures, `s3s-fs` for the objects, in a temporary directory.
//!
//! What `s3s-fs` gets wrong is mended in `s3/mended.rs`, behind the check of the signature: a layer before it could not
//! touch a request without breaking what was signed.

mod mended;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::StatusCode;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use tempfile::TempDir;

use crate::faults::Wire;
use crate::server::{Call, Server, Service};
use crate::xml::{self, Answer};
use mended::Mended;

/// An S3 server on the loopback, with one bucket, until it is dropped.
///
/// It takes any region and path-style requests, and checks signatures of version 4. It holds no key that is the
/// directory of another (`x` beside `x/y`) and none of more than about 130 bytes.
pub struct S3Server {
    /// Stops before the directory goes.
    server: Server,
    directory: TempDir,
}

impl S3Server {
    /// The access key that it knows.
    pub const ACCESS_KEY: &str = "AKIDTESTSERVERS";
    /// The secret that belongs to [`S3Server::ACCESS_KEY`].
    pub const SECRET_KEY: &str = "test-servers-secret";
    /// The bucket that exists.
    pub const BUCKET: &str = "snapshots-test";

    /// Starts a server with an empty bucket. It works inside and outside of a runtime.
    pub fn start() -> Self {
        Self::start_with(true)
    }

    /// Starts a server that takes `If-None-Match` and `If-Match` of a write and ignores them, as some stores do.
    pub fn start_without_preconditions() -> Self {
        Self::start_with(false)
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Its faults and its log of requests.
    pub fn wire(&self) -> &Wire {
        self.server.wire()
    }

    /// How many multipart uploads were begun and neither completed nor aborted, read from the server's directory.
    pub fn open_uploads(&self) -> usize {
        // `.upload-ID.json` stands for an upload, `.upload_id-ID.part-N` for one of its parts. An upload that is just
        // being completed has its parts alone.
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(self.directory.path()).expect("the directory of the server") {
            let name = entry.expect("an entry of the directory").file_name().into_string().expect("a name in UTF-8");
            let upload = name.strip_prefix(".upload-").and_then(|rest| rest.strip_suffix(".json"));
            let part = name.strip_prefix(".upload_id-").and_then(|rest| rest.split_once(".part-"));
            ids.extend(upload.or(part.map(|(id, _)| id)).map(str::to_owned));
        }
        ids.len()
    }

    /// What the bucket holds, by key, read from the server's directory.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let bucket = self.directory.path().join(Self::BUCKET);
        let mut objects = BTreeMap::new();
        collect(&bucket, &bucket, &mut objects);
        objects
    }

    fn start_with(preconditions: bool) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        fs::create_dir(directory.path().join(Self::BUCKET)).expect("a directory for the bucket");
        let service = service(directory.path(), preconditions);
        Self { server: Server::start(service), directory }
    }
}

fn service(root: &Path, preconditions: bool) -> Service {
    let mut builder = S3ServiceBuilder::new(Mended::new(root, preconditions));
    builder.set_auth(OneUser);
    builder.set_access(OneBucket);
    let service = builder.build();
    Arc::new(move |call| {
        let service = service.clone();
        Box::pin(async move { answer(&service, call).await })
    })
}

async fn answer(service: &S3Service, call: Call) -> Answer {
    let answer = match service.call(call.map(s3s::Body::from)).await {
        Ok(answer) => answer,
        Err(error) => return xml::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &format!("{error:?}")),
    };
    let (parts, body) = answer.into_parts();
    match body.collect().await {
        Ok(body) => Answer::from_parts(parts, body.to_bytes()),
        Err(error) => xml::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &error.to_string()),
    }
}

struct OneUser;

#[async_trait::async_trait]
impl S3Auth for OneUser {
    /// `s3s` on its own answers an unknown access key with `NotSignedUp`.
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == S3Server::ACCESS_KEY {
            return Ok(S3Server::SECRET_KEY.into());
        }
        Err(s3_error!(InvalidAccessKeyId, "The AWS access key ID you provided does not exist in our records."))
    }
}

struct OneBucket;

#[async_trait::async_trait]
impl S3Access for OneBucket {
    /// Comes after the check of the signature and before every operation. `s3s-fs` on its own looks for the bucket in
    /// some operations only: it makes a missing one for a PUT or an upload, and calls it a missing key in a GET.
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        if context.s3_path().get_bucket_name() != Some(S3Server::BUCKET) {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
        }
        Ok(())
    }
}

/// What goes away while it is being read is left out: requests may be under way.
fn collect(root: &Path, directory: &Path, objects: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("an entry of a directory").path();
        if path.is_dir() {
            collect(root, &path, objects);
        } else if let Ok(bytes) = fs::read(&path) {
            let key = path.strip_prefix(root).expect("a path below the bucket");
            objects.insert(key.to_str().expect("a key in UTF-8").to_owned(), bytes);
        }
    }
}
