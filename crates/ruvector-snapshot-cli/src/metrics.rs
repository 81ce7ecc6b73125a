//! Metrics in the text format of OpenMetrics: those of stores, which `status --textfile` writes and the daemon answers with, and the
//! means to add others. The names of all metrics are in `docs/OPERATIONS.md`.

use std::fmt;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use ruvector_snapshot::{DatabaseFreshness, Freshness, StaleReason};

/// The labels of a series.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// What is known of a store.
#[derive(Debug, Clone)]
pub(crate) struct StoreMetrics<'a> {
    /// The location.
    pub(crate) store: &'a str,
    /// Whether the last check could read it.
    pub(crate) is_read: bool,
    /// When it was checked last. `None` if it never was.
    pub(crate) checked_at: Option<DateTime<Utc>>,
    /// `None` if nothing is known.
    pub(crate) freshness: Option<&'a Freshness>,
    /// Whether `freshness` has the orphans.
    pub(crate) has_orphans: bool,
}

/// Metrics that are collected.
#[derive(Debug)]
pub(crate) struct Metrics(Registry);

impl Metrics {
    pub(crate) fn new() -> Self {
        Self(Registry::with_prefix("ruvector_snapshot"))
    }

    /// Adds a metric that goes up and down, with a value for each of its labels.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in series {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    /// Adds a metric that counts. Its series end with `_total`.
    pub(crate) fn counter(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in series {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// Adds what is known of stores.
    pub(crate) fn stores(&mut self, stores: &[StoreMetrics<'_>]) {
        let each =
            |value: fn(&StoreMetrics<'_>) -> f64| stores.iter().map(move |store| (of_store(store), value(store)));
        self.gauge("status_success", "Whether the store could be read", each(|store| number(store.is_read)));
        self.gauge("status_timestamp_seconds", "When the store was checked", each(|store| seconds(store.checked_at)));
        if stores.iter().all(|store| store.freshness.is_none()) {
            return;
        }
        let known = || stores.iter().filter_map(|store| Some((store, store.freshness?)));
        let each = |value: fn(&Freshness) -> f64| known().map(move |(store, known)| (of_store(store), value(known)));
        self.gauge(
            "stale",
            "Whether the store or one of its databases is stale",
            each(|known| number(known.is_stale())),
        );
        if stores.iter().any(|store| store.has_orphans) {
            self.gauge(
                "orphans",
                "Things that belong to no snapshot and are older than the grace period",
                each(|known| known.orphans as f64),
            );
            self.gauge("orphan_bytes", "Size of the orphans", each(|known| known.orphan_bytes as f64));
        }
        self.databases(stores);
        let reasons = known().flat_map(|(store, known)| reasons(store, known));
        self.gauge(
            "stale_reasons",
            "Number of reasons of this kind for which a database is stale, or the store if there is no source",
            reasons,
        );
    }

    fn databases(&mut self, stores: &[StoreMetrics<'_>]) {
        let mut each = |name: &str, help: &str, value: fn(&DatabaseFreshness) -> f64| {
            let known = stores.iter().filter_map(|store| Some((store, store.freshness?)));
            let series = known.flat_map(|(store, known)| {
                known.databases.iter().map(|database| (of_source(store, &database.source), value(database)))
            });
            self.gauge(name, help, series);
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
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

fn of_store(store: &StoreMetrics<'_>) -> Labels {
    vec![("store", store.store.to_owned())]
}

fn of_source(store: &StoreMetrics<'_>, source: &str) -> Labels {
    vec![("store", store.store.to_owned()), ("source", source.to_owned())]
}

/// Returns a series for each reason, also if it does not hold: an alert on a missing series then means a missing database.
fn reasons(store: &StoreMetrics<'_>, known: &Freshness) -> Vec<(Labels, f64)> {
    let mut series = Vec::new();
    for database in &known.databases {
        for kind in StaleReason::KINDS.into_iter().filter(|kind| *kind != StaleReason::EmptyStore.kind()) {
            let holds = database.stale.iter().filter(|reason| reason.kind() == kind).count();
            let mut labels = of_source(store, &database.source);
            labels.push(("reason", kind.to_owned()));
            series.push((labels, holds as f64));
        }
    }
    for kind in StaleReason::KINDS {
        let holds = known.stale.iter().filter(|reason| reason.kind() == kind).count();
        if holds > 0 || kind == StaleReason::EmptyStore.kind() {
            let mut labels = of_store(store);
            labels.push(("reason", kind.to_owned()));
            series.push((labels, holds as f64));
        }
    }
    series
}

fn number(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Returns a time as metrics have it, 0 for none.
pub(crate) fn seconds(time: Option<DateTime<Utc>>) -> f64 {
    time.map_or(0.0, |time| time.timestamp_millis() as f64 / 1000.0)
}
