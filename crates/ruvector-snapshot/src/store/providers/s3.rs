//! S3 and servers that speak its protocol: makes a client from options. No operations.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredential, Checksum};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};

use super::aws_profile;
use super::credentials::{CheckedCredentials, Provider, TokenFile, Usage};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::http::connector::Connector;
use crate::store::http::multipart::{AuthorizedRequests, ReportError};
use crate::store::object::{BucketClient, ListUploads, UnlistedUploads};
use crate::store::options::Settings;
use crate::store::providers::{Bucket, cannot_set_up, multipart_uploads, retries, server};

/// How long the URL of one request is valid.
const SIGNED_FOR: Duration = Duration::from_secs(600);

const CREDENTIALS_HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";

pub(in crate::store) fn open(bucket: &Bucket<'_>, mut settings: Settings) -> Result<BucketClient> {
    let given = settings.clone();
    aws_profile::fill_in(&mut settings)?;
    settings.check_encrypted("endpoint")?;
    check_keys(&settings)?;
    check_encryption(&settings)?;
    if settings.flag("s3_express")? && !bucket.name.ends_with("--x-s3") && !bucket.name.ends_with("--xa-s3") {
        return Err(settings.refused("s3_express", "is for directory buckets, whose names end with --ZONE--x-s3"));
    }
    // There the address contains the bucket, and the client does not add it.
    let is_in_host = settings.flag("virtual_hosted_style_request")?;
    let bucket_twice = if is_in_host { None } else { bucket.twice(&settings, "endpoint") };
    let connector = Connector::new(&settings, CREDENTIALS_HINT, bucket_twice)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket.name)
        .with_allow_http(settings.flag("allow_http")?)
        .with_retry(retries(&settings)?)
        .with_http_connector(connector.clone());
    if let Some(checksum) = checksum(&settings)? {
        builder = builder.with_checksum_algorithm(checksum);
    }
    // A bulk delete needs other permissions, and is rejected with other error codes.
    builder = builder.with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
    for (name, value) in settings.for_client() {
        let name = format!("aws_{name}").parse().map_err(|cause| cannot_set_up(bucket, &connector, &cause))?;
        builder = builder.with_config(name, value);
    }
    let mut token_file = None;
    for (option, key) in TOKEN_FILES {
        if let Some((file, path)) = TokenFile::new(&settings, option) {
            builder = builder.with_config(key, path);
            // Of two, the client reads the first.
            token_file.get_or_insert(file);
        }
    }
    let build = |builder: AmazonS3Builder| builder.build().map_err(|cause| cannot_set_up(bucket, &connector, &cause));
    let credentials = build(builder.clone())?.credentials().clone();
    let read_again = {
        let (builder, connector) = (builder.clone(), connector.clone());
        move || credentials_again(&given, builder.clone(), &connector)
    };
    let usage = Usage { values: sent_values, sign };
    let checked = Arc::new(CheckedCredentials::new(credentials, token_file, usage, read_again));
    // These are not signed in this way.
    let is_signed = !settings.flag("skip_signature")? && !settings.flag("s3_express")?;
    builder = builder.with_credentials(checked.clone()).with_http_connector(match is_signed {
        true => connector.with_renewal(checked),
        false => connector.for_objects(),
    });
    let client = build(builder)?;
    let uploads: Arc<dyn ListUploads> = match is_signed {
        true => multipart_uploads(&connector, SignedRequests(client.clone()))
            .map_err(|cause| cannot_set_up(bucket, &connector, &cause))?,
        false => Arc::new(UnlistedUploads),
    };
    let server = server(&settings, "endpoint", "amazonaws.com");
    Ok(BucketClient { objects: connector.redacted(client), server, uploads })
}

/// Requests with signed URLs.
struct SignedRequests(AmazonS3);

#[async_trait]
impl AuthorizedRequests for SignedRequests {
    async fn get(&self, path: &Path, query: &[(&str, &str)]) -> Result<HttpRequest, ReportError> {
        let options = SignedUrlOptions::new().with_query(query.iter().copied());
        let url = self.0.signed_url_opts(Method::GET, path, SIGNED_FOR, &options).await?;
        Ok(http::Request::get(url.as_str()).body(HttpRequestBody::empty())?)
    }
}

/// Options with token files, the one that has precedence first.
const TOKEN_FILES: [(&str, AmazonS3ConfigKey); 2] = [
    ("web_identity_token_file", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("container_authorization_token_file", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
];

/// Reads the credentials again: the keys of a profile, or those of a service.
fn credentials_again(
    given: &Settings,
    builder: AmazonS3Builder,
    connector: &Connector,
) -> Result<Provider<AwsCredential>> {
    let mut settings = given.clone();
    aws_profile::fill_in(&mut settings)?;
    check_keys(&settings)?;
    let value = |name: &str| settings.get(name).map(str::to_owned);
    if let (Some(key_id), Some(secret_key)) = (value("access_key_id"), value("secret_access_key")) {
        let token = value("session_token");
        connector.hide([secret_key.clone()].into_iter().chain(token.clone()));
        return Ok(Arc::new(StaticCredentialProvider::new(AwsCredential { key_id, secret_key, token })));
    }
    let built = builder.build().map_err(|cause| {
        SnapshotError::new(ErrorKind::PermissionDenied, connector.scrub(&cause.to_string())).with_source(cause)
    });
    Ok(built?.credentials().clone())
}

/// Signs a request for the region and the service that it was signed for before.
fn sign(credential: &AwsCredential, request: &mut HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name)?.to_str().ok().map(str::to_owned);
    let Some(before) = header("authorization") else { return false };
    let scope = before.split_once("Credential=").and_then(|(_, rest)| rest.split(',').next());
    // The key, the date, the region, the service and the end.
    let [_, _, region, service, _] = scope.unwrap_or_default().split('/').collect::<Vec<_>>()[..] else { return false };
    let content = header("x-amz-content-sha256");
    let digest = content.as_deref().and_then(read_hex);
    request.headers_mut().remove("x-amz-security-token");
    let authorizer = AwsAuthorizer::new(credential, service, region)
        .with_sign_payload(content.as_deref() != Some("UNSIGNED-PAYLOAD"));
    authorizer.try_authorize(request, digest.as_deref()).is_ok()
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    if digits { bytes.collect() } else { None }
}

fn sent_values(credential: &AwsCredential) -> Vec<&str> {
    std::iter::once(credential.key_id.as_str()).chain(credential.token.as_deref()).collect()
}

/// Checks that an access key and its secret are both set. The client would use other credentials.
fn check_keys(settings: &Settings) -> Result<()> {
    let problem = match (settings.get("access_key_id"), settings.get("secret_access_key")) {
        (Some(_), None) => {
            "access_key_id (AWS_ACCESS_KEY_ID) is set, but secret_access_key (AWS_SECRET_ACCESS_KEY) is not"
        }
        (None, Some(_)) => {
            "secret_access_key (AWS_SECRET_ACCESS_KEY) is set, but access_key_id (AWS_ACCESS_KEY_ID) is not"
        }
        (None, None) if settings.get("session_token").is_some() => {
            "session_token (AWS_SESSION_TOKEN) is set, but access_key_id and secret_access_key (AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY) are not"
        }
        _ => return Ok(()),
    };
    Err(SnapshotError::new(ErrorKind::InvalidInput, problem))
}

fn check_encryption(settings: &Settings) -> Result<()> {
    let problem = match (settings.get("server_side_encryption"), settings.get("sse_customer_key_base64")) {
        (None | Some("AES256" | "aws:kms" | "aws:kms:dsse"), None) | (Some("sse-c"), Some(_)) => return Ok(()),
        (Some("sse-c"), None) => "server_side_encryption=sse-c needs a key; set sse_customer_key_base64",
        (_, Some(_)) => "sse_customer_key_base64 is only for server_side_encryption=sse-c",
        _ => return Err(settings.refused("server_side_encryption", "must be AES256, aws:kms, aws:kms:dsse or sse-c")),
    };
    Err(SnapshotError::new(ErrorKind::InvalidInput, problem))
}

/// Returns the checksum with which the server checks what it receives. SHA-256 is computed for the signature anyway.
fn checksum(settings: &Settings) -> Result<Option<Checksum>> {
    match settings.get("checksum_algorithm").map(str::to_ascii_lowercase).as_deref() {
        None | Some("sha256") => Ok(Some(Checksum::SHA256)),
        Some("crc64nvme") => Ok(Some(Checksum::CRC64NVME)),
        Some("none") => Ok(None),
        Some(_) => Err(settings.refused("checksum_algorithm", "must be sha256, crc64nvme or none")),
    }
}
