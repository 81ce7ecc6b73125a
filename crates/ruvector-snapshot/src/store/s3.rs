//! S3, and servers that speak its protocol: from settings to a client. No operations.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};

use super::bucket::{Bucket, cannot_set_up, retries};
use super::options::Settings;
use super::profile;
use super::wire::Wiring;
use crate::error::{ErrorKind, Result, SnapshotError};

const CREDENTIALS_HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";

pub(super) fn open(bucket: &Bucket<'_>, mut settings: Settings) -> Result<Arc<dyn ObjectStore>> {
    profile::fill_in(&mut settings)?;
    settings.check_url("endpoint")?;
    check_keys(&settings)?;
    check_encryption(&settings)?;
    let wiring = Wiring::new(&settings, CREDENTIALS_HINT)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket.name)
        .with_allow_http(settings.flag("allow_http")?)
        .with_retry(retries(&settings)?)
        .with_http_connector(wiring.clone());
    if let Some(checksum) = checksum(&settings)? {
        builder = builder.with_checksum_algorithm(checksum);
    }
    // A bulk delete of one key is another right to give, and is refused in other words.
    builder = builder.with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
    for (name, value) in settings.of_client() {
        let name = format!("aws_{name}").parse().map_err(|cause| cannot_set_up(bucket, &wiring, &cause))?;
        builder = builder.with_config(name, value);
    }
    let client = builder.build().map_err(|cause| cannot_set_up(bucket, &wiring, &cause))?;
    Ok(Arc::new(client))
}

/// Half a pair of keys is a mistake, and must not make the client look for other ones.
fn check_keys(settings: &Settings) -> Result<()> {
    let problem = match (settings.get("access_key_id"), settings.get("secret_access_key")) {
        (Some(_), None) => "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not",
        (None, Some(_)) => "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not",
        (None, None) if settings.get("session_token").is_some() => {
            "AWS_SESSION_TOKEN is set, and the keys that it belongs to are not"
        }
        _ => return Ok(()),
    };
    Err(SnapshotError::new(ErrorKind::Invalid, problem))
}

fn check_encryption(settings: &Settings) -> Result<()> {
    let problem = match (settings.get("server_side_encryption"), settings.get("sse_customer_key_base64")) {
        (None | Some("AES256" | "aws:kms" | "aws:kms:dsse"), None) | (Some("sse-c"), Some(_)) => return Ok(()),
        (Some("sse-c"), None) => "server_side_encryption=sse-c needs the key, as sse_customer_key_base64",
        (_, Some(_)) => "sse_customer_key_base64 is for server_side_encryption=sse-c alone",
        _ => "the option server_side_encryption must be AES256, aws:kms, aws:kms:dsse or sse-c",
    };
    Err(SnapshotError::new(ErrorKind::Invalid, problem))
}

/// The checksum that the server compares what it receives with: SHA-256 is computed for the signature anyway.
fn checksum(settings: &Settings) -> Result<Option<Checksum>> {
    match settings.get("checksum_algorithm").map(str::to_ascii_lowercase).as_deref() {
        None | Some("sha256") => Ok(Some(Checksum::SHA256)),
        Some("crc64nvme") => Ok(Some(Checksum::CRC64NVME)),
        Some("none") => Ok(None),
        Some(_) => {
            let message = "the option checksum_algorithm must be sha256, crc64nvme or none";
            Err(SnapshotError::new(ErrorKind::Invalid, message))
        }
    }
}
