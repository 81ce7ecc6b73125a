//! The metrics of `status` as a file for the textfile collector of node_exporter. Their names are in `docs/OPERATIONS.md`.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use ruvector_snapshot::{DatabaseFreshness, ErrorKind, Freshness, StaleReason};

use crate::failure::Failure;

type Labels = Vec<(&'static str, String)>;
type Series = Family<Labels, Gauge<f64, AtomicU64>>;

/// Writes the metrics, and replaces the file in one step. `None` if nothing is known of the store.
pub(super) fn write(path: &Path, store: &str, freshness: Option<&Freshness>) -> Result<(), Failure> {
    let failed = |error: &dyn fmt::Display| {
        let message = format!("cannot write the metrics to {}: {error}", path.display());
        Failure::new(ErrorKind::Unavailable, message)
            .with_hint("check that its directory exists, and its owner and permissions")
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
    let mut metrics = Metrics { registry: Registry::with_prefix("ruvector_snapshot"), store: store.to_owned() };
    let now = freshness.map_or_else(|| SystemClock.now(), |freshness| freshness.checked_at);
    let success = if freshness.is_some() { 1.0 } else { 0.0 };
    metrics.of_store("status_success", "Whether the store could be read", success);
    metrics.of_store("status_timestamp_seconds", "When the store was checked", seconds(Some(now)));
    if let Some(freshness) = freshness {
        metrics.add(freshness);
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry)?;
    Ok(text)
}

struct Metrics {
    registry: Registry,
    store: String,
}

impl Metrics {
    fn add(&mut self, freshness: &Freshness) {
        let is_stale = if freshness.is_stale() { 1.0 } else { 0.0 };
        self.of_store("stale", "Whether the store or one of its databases is stale", is_stale);
        self.of_store(
            "orphans",
            "Things that belong to no snapshot and are older than the grace period",
            freshness.orphans as f64,
        );
        self.of_store("orphan_bytes", "Size of the orphans", freshness.orphan_bytes as f64);
        let mut each = |name: &str, help: &str, value: fn(&DatabaseFreshness) -> f64| {
            let series = Series::default();
            for database in &freshness.databases {
                series.get_or_create(&self.labels(Some(&database.source))).set(value(database));
            }
            self.registry.register(name, help, series);
        };
        each(
            "newest_timestamp_seconds",
            "When the newest snapshot was taken that can be restored, 0 if there is none",
            |database| seconds(database.newest.as_ref().map(|newest| newest.created_at)),
        );
        each("newest_records", "Records of the newest snapshot that can be restored", |database| {
            database.newest.as_ref().map_or(0.0, |newest| newest.records as f64)
        });
        each("newest_chain_length", "Snapshots in the chain of the newest snapshot that can be restored", |database| {
            database.newest.as_ref().map_or(0.0, |newest| newest.chain_length as f64)
        });
        each(
            "verified_timestamp_seconds",
            "When a snapshot was last verified to the last byte, 0 if never",
            |database| seconds(database.verified_at),
        );
        each("drilled_timestamp_seconds", "When a snapshot last passed a drill, 0 if never", |database| {
            seconds(database.drilled_at)
        });
        each("snapshots", "Snapshots that can be restored, as far as is known", |database| database.snapshots as f64);
        each("stored_bytes", "Bytes of the snapshots that can be restored", |database| database.stored_bytes as f64);
        self.add_reasons(freshness);
    }

    /// Adds a series for each reason, also if it does not hold: an alert on a missing series then means a missing database.
    fn add_reasons(&mut self, freshness: &Freshness) {
        let series = Series::default();
        for database in &freshness.databases {
            for kind in StaleReason::KINDS.into_iter().filter(|kind| *kind != StaleReason::EmptyStore.kind()) {
                let holds = database.stale.iter().filter(|reason| reason.kind() == kind).count();
                let mut labels = self.labels(Some(&database.source));
                labels.push(("reason", kind.to_owned()));
                series.get_or_create(&labels).set(holds as f64);
            }
        }
        let reasons_of_store = |kind: &str| freshness.stale.iter().filter(|reason| reason.kind() == kind).count();
        for kind in StaleReason::KINDS {
            let of_store = reasons_of_store(kind);
            if of_store > 0 || kind == StaleReason::EmptyStore.kind() {
                let mut labels = self.labels(None);
                labels.push(("reason", kind.to_owned()));
                series.get_or_create(&labels).set(of_store as f64);
            }
        }
        self.registry.register(
            "stale_reasons",
            "Number of reasons of this kind for which a database is stale, or the store if there is no source",
            series,
        );
    }

    fn labels(&self, source: Option<&str>) -> Labels {
        let source = source.map(|source| ("source", source.to_owned()));
        [("store", self.store.clone())].into_iter().chain(source).collect()
    }

    fn of_store(&mut self, name: &str, help: &str, value: f64) {
        let series = Series::default();
        series.get_or_create(&self.labels(None)).set(value);
        self.registry.register(name, help, series);
    }
}

fn seconds(time: Option<DateTime<Utc>>) -> f64 {
    time.map_or(0.0, |time| time.timestamp_millis() as f64 / 1000.0)
}
