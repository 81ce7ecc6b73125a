//! The S3 server. `s3s` implements the protocol and the signatures.
//!
//! The operations are in `s3/operations.rs`, and the objects in `bucket.rs`.

mod operations;

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::StatusCode;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};

use crate::bucket::Bucket;
use crate::faults::Wire;
use crate::server::{FullRequest, Server, Service};
use crate::xml::{self, FullResponse};
use operations::{Operations, Preconditions};

/// An S3 server on the loopback interface with one bucket in memory. It stops when it is dropped.
///
/// It accepts path-style requests for any region and verifies signatures of version 4.
pub struct S3Server {
    server: Server,
    bucket: Bucket,
}

impl S3Server {
    /// The access key that the server accepts.
    pub const ACCESS_KEY: &str = "AKIDTESTSERVERS";
    /// The secret key of [`S3Server::ACCESS_KEY`].
    pub const SECRET_KEY: &str = "test-servers-secret";
    /// The name of the only bucket.
    pub const BUCKET: &str = "snapshots-test";

    /// Starts a server with an empty bucket. This works inside and outside of a runtime.
    pub fn start() -> Self {
        Self::start_with(Preconditions::Checked)
    }

    /// Starts a server that ignores `If-None-Match` and `If-Match` of writes, as some object stores do.
    pub fn start_without_preconditions() -> Self {
        Self::start_with(Preconditions::Ignored)
    }

    /// Starts a server that refuses writes with `If-None-Match` or `If-Match` as not implemented, as some object stores
    /// do.
    pub fn start_refusing_preconditions() -> Self {
        Self::start_with(Preconditions::Refused)
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

    fn start_with(preconditions: Preconditions) -> Self {
        let bucket = Bucket::default();
        let service = service(Operations { bucket: bucket.clone(), preconditions });
        Self { server: Server::start(service), bucket }
    }
}

fn service(operations: Operations) -> Service {
    let mut builder = S3ServiceBuilder::new(operations);
    builder.set_auth(OneUser);
    builder.set_access(OneBucket);
    let service = builder.build();
    Arc::new(move |request| {
        let service = service.clone();
        Box::pin(async move { respond(&service, request).await })
    })
}

async fn respond(service: &S3Service, request: FullRequest) -> FullResponse {
    let response = match service.call(request.map(s3s::Body::from)).await {
        Ok(response) => response,
        Err(error) => return xml::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &format!("{error:?}")),
    };
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => FullResponse::from_parts(parts, body.to_bytes()),
        Err(error) => xml::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &error.to_string()),
    }
}

struct OneUser;

#[async_trait::async_trait]
impl S3Auth for OneUser {
    /// Returns the secret key of the only user. The error for another user is that of S3; the default of `s3s` is not.
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
    /// Refuses anonymous requests and requests for other buckets. It runs after the signature was verified and before
    /// every operation.
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
