//! The HTTP of the daemon: a status page, metrics and probes. Nothing can be changed through it, and no request reaches a store.
//!
//! | file | contents |
//! |------|----------|
//! | `watched` | which databases are to be in which stores, from the jobs |
//! | `collector` | reads the stores in the background |
//! | `described` | what a listing says of them |
//! | `board` | what was heard and read, in memory |
//! | `view` | what is known at a moment, as plain data |
//! | `page`, `answers` | the page; the probes and the metrics |
//! | `server` | connections, and which requests are answered |

mod answers;
mod board;
mod collector;
mod described;
mod page;
mod server;
mod view;
mod watched;

use std::fmt::{self, Debug};
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use ruvector_snapshot::scheduler::{Job, JobListener, JobStatus, RunReport, RunStart};
use ruvector_snapshot::{Result, SnapshotConfig};
use tokio::task::JoinSet;

use self::board::Board;
use self::server::{Listener, response, text_response};
use self::watched::Watched;
use crate::config_file::ConfigFile;
use crate::failure::Failure;
use crate::output::Zone;
use crate::session::Session;
use crate::settings::Settings;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The HTTP of a daemon. It ends when this is dropped.
pub(super) struct Web {
    board: Arc<Board>,
    address: SocketAddr,
    is_loopback: bool,
    _tasks: JoinSet<()>,
}

impl Web {
    /// Listens at an address, and begins to read the stores of the jobs.
    pub(super) fn start(
        session: &Session,
        address: SocketAddr,
        file: &ConfigFile,
        jobs: &[Job],
    ) -> std::result::Result<Self, Failure> {
        let listener = Listener::bind(address)?;
        let started_at = session.run.started_at();
        let watched = Watched::of(&session.settings, file, jobs, started_at)?;
        let board = Arc::new(Board::new(SnapshotConfig::default().host, started_at, watched));
        let (address, is_loopback, mut tasks) = (listener.address, listener.is_loopback(), JoinSet::new());
        let answers = answers(Answering { board: board.clone(), zone: session.output.zone() });
        let collected = board.clone();
        tasks.spawn(async move { collector::collect(collected).await });
        tasks.spawn(async move { match listener.serve(answers).await {} });
        Ok(Self { board, address, is_loopback, _tasks: tasks })
    }

    /// Returns where the page is.
    pub(super) fn location(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Returns what the operator should know of an address that others reach.
    pub(super) fn warning(&self) -> Option<String> {
        let address = self.address;
        (!self.is_loopback).then(|| {
            format!(
                "the status page has no password, and everyone who reaches {address} can read it; let a firewall or a proxy decide who \
                 does, or listen at 127.0.0.1"
            )
        })
    }

    /// Replaces the jobs.
    pub(super) fn set_jobs(
        &self,
        settings: &Settings,
        file: &ConfigFile,
        jobs: &[Job],
    ) -> std::result::Result<(), Failure> {
        self.board.set_watched(Watched::of(settings, file, jobs, SystemClock.now())?);
        Ok(())
    }

    pub(super) fn stopping(&self) {
        self.board.stopping();
    }

    /// Returns a listener that reports to another one, and notes what has happened.
    pub(super) fn listener(&self, inner: Arc<dyn JobListener>) -> Arc<dyn JobListener> {
        Arc::new(Noting { inner, board: self.board.clone() })
    }
}

impl Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Notes what the scheduler does.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn JobListener>,
    board: Arc<Board>,
}

#[async_trait]
impl JobListener for Noting {
    async fn starting(&self, run: &RunStart) -> Result<Vec<String>> {
        self.inner.starting(run).await
    }

    async fn finishing(&self, report: &RunReport) -> Result<Vec<String>> {
        self.inner.finishing(report).await
    }

    async fn ended(&self, report: &RunReport) {
        self.board.ended(report);
        self.inner.ended(report).await;
    }

    fn waiting(&self, jobs: &[JobStatus]) {
        self.board.waiting(jobs);
        self.inner.waiting(jobs);
    }
}

/// What requests are answered from.
#[derive(Debug, Clone)]
struct Answering {
    board: Arc<Board>,
    zone: Zone,
}

fn answers(answering: Answering) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .fallback(not_found)
        .with_state(answering)
}

async fn page(State(Answering { board, zone }): State<Answering>) -> Response {
    let now = SystemClock.now();
    response(StatusCode::OK, HTML, page::render(&board.view(now), now, zone))
}

async fn metrics(State(Answering { board, .. }): State<Answering>) -> Response {
    let (watched, known) = board.known();
    match answers::metrics(&board.view(SystemClock.now()), &board.counts(), (&watched, &known)) {
        Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
        Err(_) => text_response(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
    }
}

async fn health(State(Answering { board, .. }): State<Answering>) -> Response {
    probe(answers::health(&board.view(SystemClock.now())))
}

async fn readiness(State(Answering { board, .. }): State<Answering>) -> Response {
    probe(answers::readiness(&board.view(SystemClock.now())))
}

fn probe((is_good, document): (bool, String)) -> Response {
    response(if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, JSON, document)
}

async fn not_found() -> Response {
    text_response(StatusCode::NOT_FOUND, "there is nothing here; there are /, /metrics, /healthz and /readyz\n")
}
