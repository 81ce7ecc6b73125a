//! What the files of the providers share when they set up a client.

use object_store::RetryConfig;

use super::answer::Refusal;
use super::options::Settings;
use super::transfer::RETRY_TIMEOUT;
use super::wire::Wiring;
use crate::error::{ErrorKind, Result, SnapshotError};

/// The bucket to open, and what errors call the place.
pub(super) struct Bucket<'a> {
    pub(super) name: &'a str,
    pub(super) location: &'a str,
}

/// How a client repeats a request: by time, not by count. What it gives up, `transfer.rs` takes up.
pub(super) fn retries(settings: &Settings) -> Result<RetryConfig> {
    let retry_timeout = settings.duration("retry_timeout")?.unwrap_or(RETRY_TIMEOUT);
    Ok(RetryConfig { max_retries: usize::MAX, retry_timeout, ..RetryConfig::default() })
}

/// The error for settings that no client can be made from. What the cause shows of them is scrubbed.
pub(super) fn cannot_set_up(bucket: &Bucket<'_>, wiring: &Wiring, cause: &object_store::Error) -> SnapshotError {
    let (kind, why) = match Refusal::within(cause) {
        Some(refusal) => (refusal.kind, refusal.what.clone()),
        None => (ErrorKind::Invalid, wiring.scrub(&cause.to_string())),
    };
    SnapshotError::new(kind, format!("cannot set up {}: {why}", bucket.location))
}
