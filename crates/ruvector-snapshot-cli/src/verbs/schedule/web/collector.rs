//! Reads the stores for the status page, in the background: each after a run of a job that has it, and besides every quarter of an
//! hour. Only one reading is at work for a store, and each has a time limit. Writes nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use ruvector_snapshot::{Listing, SnapshotManager};
use tokio::time::timeout;

use super::board::{Board, Known};
use crate::failure::Failure;

/// How old the listing of a store becomes if no job has run. A listing costs a request for each snapshot.
const LISTING_AGE_MAX: TimeDelta = TimeDelta::minutes(15);
/// How often it is decided again what is stale, and a store is tried again that could not be read.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// How long a listing may take.
const LISTING_TIMEOUT: Duration = Duration::from_secs(300);
/// Stores that are read at the same time.
const CONCURRENT_LISTINGS: usize = 4;

/// Keeps the board up to date. Never ends.
pub(super) async fn collect(board: Arc<Board>) {
    loop {
        read_stores(&board).await;
        board.refresh(SystemClock.now());
        // Another run may have ended meanwhile: then it is not waited for.
        _ = timeout(REFRESH_INTERVAL, board.changed.notified()).await;
    }
}

async fn read_stores(board: &Board) {
    let (now, (watched, known)) = (SystemClock.now(), board.known());
    let mut readings: Vec<BoxFuture<'_, ()>> = Vec::new();
    for store in &watched.stores {
        if known.get(&store.location).is_none_or(|known| is_due(known, now)) {
            readings.push(Box::pin(async move {
                board.reading(&store.location, SystemClock.now());
                board.read(store, listing(&store.manager).await);
                // What was read is shown before other stores have answered.
                board.refresh(SystemClock.now());
            }));
        }
    }
    stream::iter(readings).buffer_unordered(CONCURRENT_LISTINGS).collect::<()>().await;
}

fn is_due(known: &Known, now: DateTime<Utc>) -> bool {
    let Some(tried_at) = known.tried_at else { return true };
    let age = now.signed_duration_since(tried_at);
    // After the clock was set back, nothing is in the future.
    let is_old = age >= LISTING_AGE_MAX || age < TimeDelta::zero();
    known.is_outdated || is_old || known.error.is_some()
}

async fn listing(manager: &SnapshotManager) -> Result<Listing, String> {
    match timeout(LISTING_TIMEOUT, manager.list()).await {
        Ok(Ok(listing)) => Ok(listing),
        Ok(Err(error)) => Err(Failure::from(error).sentence()),
        Err(_) => Err(format!("the listing took longer than {} min", LISTING_TIMEOUT.as_secs() / 60)),
    }
}
