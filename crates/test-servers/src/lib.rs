//! Object stores for tests and for developers.
//!
//! [`S3Server`] and [`GcsServer`] run in the process of the test, on a port of their own, with an object store in
//! memory behind them. They stop when they are dropped. [`Wire`] injects faults into their requests and logs them.
//! [`GcsServer`] is a double of the XML API of Google Cloud Storage: it is no evidence about Google's service.
//!
//! [`Minio`] is a real MinIO that a test can kill. [`external`] installs, starts and stops MinIO, Ceph radosgw and
//! Garage; the program `test-servers` is its command line.
//!
//! ```
//! use test_servers::{Fault, S3Server};
//!
//! let server = S3Server::start();
//! // The second part is stored, but its response is lost.
//! let mut parts = 0;
//! server.wire().set(move |request, _| {
//!     parts += usize::from(request.is_part_upload());
//!     (request.is_part_upload() && parts == 2).then_some(Fault::ResetAfter)
//! });
//! assert_eq!(server.open_uploads(), 0);
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `faults.rs` | what a test exchanges with a server: [`Fault`], [`Gate`], [`Request`], [`Wire`] |
//! | `server.rs` | the thread, the sockets, and the injection of faults |
//! | `bucket.rs` | the object store behind both servers |
//! | `s3.rs`, `s3/operations.rs` | the S3 server and the operations of its API |
//! | `gcs.rs`, `xml.rs` | the double of Google Cloud Storage, and its XML |
//! | `minio.rs` | [`Minio`], a process that a test starts and kills |
//! | `external.rs`, `external/` | [`external`]: real servers as processes |
//! | `main.rs` | the program `test-servers` |

// This crate supports tests: an unexpected error must stop them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bucket;
pub mod external;
mod faults;
mod gcs;
mod minio;
mod s3;
mod server;
mod xml;

pub use faults::{Fault, Gate, Request, Wire};
pub use gcs::GcsServer;
pub use minio::Minio;
pub use s3::S3Server;
