//! Sets up the clients of `object_store`, one file for each provider. No operations.

#[cfg(feature = "aws")]
mod aws_profile;
#[cfg(feature = "azure")]
pub(in crate::store) mod azure;
mod credentials;
#[cfg(feature = "gcp")]
pub(in crate::store) mod gcs;
#[cfg(feature = "aws")]
pub(in crate::store) mod s3;

#[cfg(any(feature = "aws", feature = "gcp"))]
use std::sync::Arc;

use object_store::RetryConfig;
#[cfg(any(feature = "aws", feature = "gcp"))]
use object_store::client::{ClientOptions, HttpConnector as _};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::budget::RETRY_TIMEOUT;
use crate::store::http::connector::Connector;
#[cfg(any(feature = "aws", feature = "gcp"))]
use crate::store::http::multipart::{AuthorizedRequests, MultipartUploads};
use crate::store::http::rejection::ProviderRejection;
#[cfg(any(feature = "aws", feature = "gcp"))]
use crate::store::object::ListUploads;
use crate::store::options::Settings;
#[cfg(any(feature = "gcp", feature = "azure"))]
use crate::store::value::ValueKind;

/// The bucket to open.
pub(in crate::store) struct Bucket<'a> {
    pub(in crate::store) name: &'a str,
    /// The URL of the store, for errors.
    pub(in crate::store) location: &'a str,
}

/// Returns what lists the multipart uploads of a bucket, with an HTTP client of its own.
#[cfg(any(feature = "aws", feature = "gcp"))]
fn multipart_uploads(
    connector: &Connector,
    requests: impl AuthorizedRequests + 'static,
) -> object_store::Result<Arc<dyn ListUploads>> {
    Ok(Arc::new(MultipartUploads::new(connector.connect(&ClientOptions::default())?, requests)))
}

impl Bucket<'_> {
    /// Returns what to do if requests fail because the address that an option gives contains the bucket, to which the
    /// client adds it; `None` if the address does not contain it.
    pub(in crate::store) fn twice(&self, settings: &Settings, option: &str) -> Option<String> {
        let url = settings.get(option)?.parse::<url::Url>().ok()?;
        let in_path = url.path().trim_end_matches('/').rsplit('/').next() == Some(self.name);
        let in_host = url.host_str()?.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('.'));
        (in_path || in_host).then(|| {
            let (what, name) = (settings.describe(option), self.name);
            format!("{what} contains the bucket, which is added to it once more; write the address without {name}")
        })
    }
}

/// Returns how a store names the server of its bucket: the address that an option gives, without the scheme and a slash at
/// the end, or nothing for that of the provider.
pub(in crate::store) fn server(settings: &Settings, option: &str, own_domain: &str) -> String {
    let address = settings.get(option).unwrap_or_default().trim_end_matches('/').to_ascii_lowercase();
    let address = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
    let host = address.split(['/', ':']).next().unwrap_or_default();
    let is_own = host == own_domain || host.strip_suffix(own_domain).is_some_and(|rest| rest.ends_with('.'));
    if is_own { String::new() } else { address.to_owned() }
}

/// Returns how a client retries a request: limited by time, not by count. The module documentation of `store` has all
/// retries in one table.
pub(in crate::store) fn retries(settings: &Settings) -> Result<RetryConfig> {
    let retry_timeout = settings.duration("retry_timeout")?.unwrap_or(RETRY_TIMEOUT);
    Ok(RetryConfig { max_retries: usize::MAX, retry_timeout, ..RetryConfig::default() })
}

/// Returns the error for options that no client accepts. Secrets are removed from the text of the cause.
pub(in crate::store) fn cannot_set_up(
    bucket: &Bucket<'_>,
    connector: &Connector,
    cause: &object_store::Error,
) -> SnapshotError {
    let (kind, reason) = match ProviderRejection::within(cause) {
        Some(rejection) => (rejection.kind, rejection.reason.clone()),
        None => (ErrorKind::InvalidInput, connector.scrub(&cause.to_string())),
    };
    SnapshotError::new(kind, format!("cannot open {}: {reason}", bucket.location))
}

/// Checks an environment variable that the client of a provider reads itself.
#[cfg(any(feature = "gcp", feature = "azure"))]
pub(in crate::store) fn check_variable(name: &str, kind: ValueKind) -> Result<()> {
    let value = std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    match value.and_then(|value| kind.problem(&value)) {
        Some(problem) => {
            Err(SnapshotError::new(ErrorKind::InvalidInput, format!("the environment variable {name} {problem}")))
        }
        None => Ok(()),
    }
}
