//! Object stores over HTTP on the loopback: in process, with faults on the wire; and a real MinIO that can be killed.
//! For tests only.
//!
//! [`S3Server`] speaks the S3 protocol and keeps its objects in a temporary directory. [`GcsServer`] is a double of the
//! XML API of Google Cloud Storage, in memory: it shows that a client and this double agree, and is no evidence about
//! Google's service. Each runs on a thread of its own, on a port of its own, and stops when it is dropped. [`Wire`]
//! stands between the socket and either of them: it logs every request and carries out the faults of a plan.
//!
//! ```
//! use test_servers::{Fault, S3Server};
//!
//! let server = S3Server::start();
//! // The second request for a part is carried out, and its answer is lost.
//! let mut parts = 0;
//! server.wire().set(move |request, _| {
//!     parts += usize::from(request.is_part_upload());
//!     (request.is_part_upload() && parts == 2).then_some(Fault::ResetAfter)
//! });
//! assert_eq!(server.open_uploads(), 0);
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `faults.rs` | what a test says and learns: [`Fault`], [`Gate`], [`Request`], [`Wire`] |
//! | `server.rs` | the thread, the sockets, and the carrying out of a fault |
//! | `xml.rs` | answers that are an error, as both services write them |
//! | `s3.rs`, `s3/mended.rs` | the S3 server, and what it does better than the crate it is made of |
//! | `gcs.rs`, `gcs/state.rs` | the requests and answers of the double, and what it stores |
//! | `minio.rs` | [`Minio`], a process of its own, where a binary of it is at hand |

// This crate is part of tests: what goes wrong in it must stop them at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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
