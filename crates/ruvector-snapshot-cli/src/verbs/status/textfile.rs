//! The file of `status --textfile`, for the textfile collector of node_exporter. Which metrics it has is in `metrics`.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::path::Path;

use ruvector_snapshot::clock::{Clock as _, SystemClock};
use ruvector_snapshot::{ErrorKind, Freshness};

use crate::failure::Failure;
use crate::metrics::{Metrics, StoreMetrics};

/// Writes the metrics, and replaces the file in one step. `None` if nothing is known of the store.
pub(super) fn write(path: &Path, store: &str, freshness: Option<&Freshness>) -> Result<(), Failure> {
    let failed = |error: &dyn fmt::Display| {
        let message = format!("cannot write the metrics to {}: {error}", path.display());
        Failure::new(ErrorKind::Unavailable, message)
            .with_hint("check that its directory exists, its owner and permissions, and that its disk is not full")
    };
    let text = metrics(store, freshness).map_err(|error| failed(&error))?;
    replace(path, text.as_bytes()).map_err(|error| failed(&error))
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".ruvector-snapshot-").suffix(".tmp").tempfile_in(directory)?;
    file.write_all(contents)?;
    // After a power cut the name must not stand for an empty file.
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The collector is another user.
        fs::set_permissions(file.path(), Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn metrics(store: &str, freshness: Option<&Freshness>) -> Result<String, fmt::Error> {
    let now = freshness.map_or_else(|| SystemClock.now(), |freshness| freshness.checked_at);
    let is_read = freshness.is_some();
    let mut metrics = Metrics::new();
    metrics.stores(&[StoreMetrics { store, is_read, checked_at: Some(now), freshness, has_orphans: is_read }]);
    metrics.text()
}
