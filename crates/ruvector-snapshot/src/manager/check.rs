//! store check: tries a store out below a prefix of its own, and clears that up on every path.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{SnapshotManager, failed_task};
use crate::error::Result;
use crate::format::layout;
use crate::store::probe::{self, StoreReport};
use crate::store::until::Until;

pub(super) async fn check_store(manager: &SnapshotManager) -> Result<StoreReport> {
    let prefix = layout::check_prefix(manager.clock.random()?);
    let (store, connections) = (manager.store.clone(), manager.config.max_concurrent_io);
    let cancelled = CancellationToken::new();
    // Dropped with this future: the task then begins nothing more, and still clears up.
    let _cancel = cancelled.clone().drop_guard();
    let checking = async move {
        let tried = Arc::new(Until { inner: store.clone(), cancelled });
        let report = probe::probe(tried, &prefix, connections).await;
        let cleared = probe::clear(store.as_ref(), &prefix).await;
        let mut report = report?;
        if let Err(error) = cleared {
            report.left_behind(&prefix, &error);
        }
        Ok(report)
    };
    manager.tasks.spawn(checking).await.unwrap_or_else(|error| Err(failed_task(error)))
}
