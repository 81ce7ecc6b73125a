//! HTTP for all buckets: connections, stalled requests, secrets in texts, and what a provider's error codes mean.

#[cfg(feature = "http")]
pub(in crate::store) mod connector;
#[cfg(feature = "http")]
mod hints;
#[cfg(feature = "http")]
mod listing;
#[cfg(any(feature = "aws", feature = "gcp"))]
pub(in crate::store) mod multipart;
#[cfg(feature = "http")]
mod proxy;
#[cfg(feature = "http")]
mod redact;
#[cfg(feature = "http")]
mod redacted_store;
pub(in crate::store) mod rejection;
#[cfg(feature = "http")]
pub(in crate::store) mod renewal;
#[cfg(feature = "http")]
mod secrets;
#[cfg(feature = "http")]
mod stall;
