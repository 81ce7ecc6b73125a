//! Check store: tests a store under a prefix of its own, and removes everything it wrote, on every path.

use std::sync::Arc;

use futures::StreamExt as _;
use ruvector_snapshot_format::layout;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::repo::context::Context;
use crate::store::cancellable::CancellableStore;
use crate::store::create_mode_of;
use crate::store::probe::{self, StoreCheckPlan, StoreReport};

/// Plans a check. Lists the store as far as the first key, to see that it can be reached, and writes nothing.
pub(crate) async fn plan(context: &Context) -> Result<StoreCheckPlan> {
    if let Some(first) = context.store.list(layout::CHECK).next().await {
        first?;
    }
    Ok(probe::plan(layout::CHECK.to_owned()))
}

pub(crate) async fn check_store(context: &Context) -> Result<StoreReport> {
    let prefix = layout::check_prefix(context.clock.random()?);
    let maintenance = context.maintenance.clone();
    let (store, connections) = (context.store.clone(), context.config.max_concurrent_io);
    let cancelled = CancellationToken::new();
    // Dropped with this future: the task then starts nothing new, and still cleans up.
    let _cancel = cancelled.clone().drop_guard();
    let check = async move {
        let cancellable = Arc::new(CancellableStore { inner: store.clone(), cancelled });
        let mut report = probe::probe(cancellable, &prefix, connections).await;
        if let (Ok(report), Some(maintenance)) = (&mut report, maintenance) {
            report.add_file_system(maintenance.probe_file_system(&format!("{prefix}/file-system")).await);
        }
        let cleared = probe::clear(store.as_ref(), &prefix).await;
        let mut report = report?;
        report.created_without_precondition(create_mode_of(store.as_ref()));
        if let Err(error) = cleared {
            report.not_cleared(&prefix, &error);
        }
        Ok(report)
    };
    context.run_to_completion(check).await
}
