//! Buckets over HTTP, opened as a user opens them: with a location and options. S3 and a double of Google Cloud Storage
//! run in process, on the loopback interface, and inject faults into connections. Faults of a store without a network
//! are in the `crash` binary.

mod concurrency_limit;
mod copies;
mod dropped_operations;
mod echoed_secrets;
mod encryption;
mod endless;
mod error_messages;
mod every_store;
pub(crate) mod fixture;
mod hints;
mod hostile_settings;
mod idempotency;
mod outages;
mod preconditions;
mod renewed_credentials;
mod request_counts;
mod secrets;
mod stalls;
mod storage_classes;
mod stub_server;
