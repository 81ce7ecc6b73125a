//! What everything below the façade is handed: the store, the settings, the clock, and the tasks that outlive their
//! callers.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;
use tracing::Instrument as _;

use crate::clock::{Clock, SystemClock};
use crate::config::SnapshotConfig;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::Progress;
use crate::store::metered::{Meter, MeteredStore};
use crate::store::notices::Notices;
use crate::store::{self, BucketPlace, LocalMaintenance, SnapshotStore};

use super::keys::{has_storage_class, is_repository_key};
use super::location;

/// The surroundings of one repository. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) store: Arc<dyn SnapshotStore>,
    /// Maintenance of a local directory. `None` for every other store.
    pub(crate) maintenance: Option<LocalMaintenance>,
    /// Where the keys are, if the store is a bucket.
    pub(crate) bucket_place: Option<Arc<BucketPlace>>,
    pub(crate) config: SnapshotConfig,
    pub(crate) clock: Arc<dyn Clock>,
    /// What the user should know and no caller has received yet.
    pub(crate) notices: Notices,
    /// Tasks that clean up after a cancelled call.
    tasks: TaskTracker,
}

impl Context {
    /// Creates a context with the clock of the system.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if a setting is out of range, or the store is inside a snapshot of another one.
    pub(crate) fn new(config: SnapshotConfig, store: Arc<dyn SnapshotStore>) -> Result<Self> {
        config.validate()?;
        location::check_store(store.as_ref())?;
        let maintenance = store::maintenance_of(store.as_ref());
        let bucket_place = store::bucket_place_of(store.as_ref());
        let notices = store::notices_of(store.as_ref());
        let store = store::adopt(store, &config.transfers(), is_repository_key)?;
        let store = store::with_storage_class_for(store, has_storage_class);
        let tasks = TaskTracker::new();
        // A closed tracker still accepts tasks, and only a closed one can be waited for.
        tasks.close();
        Ok(Self { store, maintenance, bucket_place, config, clock: Arc::new(SystemClock), notices, tasks })
    }

    /// Returns the directory of the store, if it is a local one.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.maintenance.as_ref().map(|maintenance| maintenance.path().to_owned())
    }

    /// Returns a context whose meter counts what is exchanged with the store through it.
    pub(crate) fn metered(&self) -> (Self, Meter) {
        let meter = Meter::default();
        let store = Arc::new(MeteredStore { inner: self.store.clone(), meter: meter.clone() });
        (Self { store, ..self.clone() }, meter)
    }

    /// Passes the notices to a listener, if there is one. Without one they wait for their caller.
    pub(crate) fn report_notices(&self, listener: Option<&dyn Progress>) {
        if let Some(listener) = listener {
            self.notices.take().iter().for_each(|notice| listener.warning(notice));
        }
    }

    /// Returns the start of the grace period at the time `now`. An orphan is collected only if it was written before.
    pub(crate) fn grace_start(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.checked_sub_signed(self.config.grace).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Runs work to its end, even if the returned future is dropped.
    pub(crate) async fn run_to_completion<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.tasks.spawn(work.in_current_span()).await.unwrap_or_else(|error| Err(failed_task(error)))
    }

    /// Spawns clean-up. Only [`wait_for_cleanup`](Self::wait_for_cleanup) waits for it. Without a runtime it
    /// is not run.
    pub(crate) fn spawn_cleanup(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(self.tasks.spawn_on(work, &runtime));
        }
    }

    /// Makes [`wait_for_cleanup`](Self::wait_for_cleanup) wait for this future.
    pub(crate) fn track<F: Future>(&self, work: F) -> TrackedFuture<F> {
        self.tasks.track_future(work)
    }

    /// Runs blocking work whose result must be cleaned up. If the returned future is dropped, the result is dropped
    /// before [`wait_for_cleanup`](Self::wait_for_cleanup) returns.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let working = self.tasks.spawn_blocking(move || drop(sender.send(work())));
        match answer.await {
            Ok(answer) => answer,
            Err(closed) => Err(working.await.err().map_or_else(
                || {
                    SnapshotError::new(ErrorKind::Internal, "a task of this program ended without an answer")
                        .with_source(closed)
                },
                failed_task,
            )),
        }
    }

    /// Waits until all clean-up tasks have ended.
    pub(crate) async fn wait_for_cleanup(&self) {
        self.tasks.wait().await;
    }
}

/// Runs work that computes or blocks on a thread where it may.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(failed_task(error)))
}

/// Converts the failure of a task, for example a panic.
pub(crate) fn failed_task(error: tokio::task::JoinError) -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, format!("a task of this program failed: {error}")).with_source(error)
}
