//! The documents of `store check` and `store options`.

use ruvector_snapshot::store::{CheckStatus, Finding, KnownOption, Speed, StoreCheckPlan, StoreReport};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;

/// What `store check` has found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreCheck")]
pub(crate) struct StoreCheckDocument<'a> {
    /// Whether snapshots are safe in the store. If they are not, the exit code is 1.
    safe: bool,
    /// The results of the single checks, in order.
    findings: Each<'a, Finding, StoreFindingDocument<'a>>,
    /// How fast the store is. Null if it could not be measured.
    speed: Option<SpeedDocument>,
}

impl<'a> From<&'a StoreReport> for StoreCheckDocument<'a> {
    fn from(report: &'a StoreReport) -> Self {
        Self { safe: report.is_safe(), findings: (&report.findings).into(), speed: report.speed.map(Into::into) }
    }
}

/// What `store check` would write and read. Nothing was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreCheckPlan")]
pub(crate) struct StoreCheckPlanDocument<'a> {
    /// True: nothing was done.
    dry_run: bool,
    /// What the keys of all its objects start with. 16 random hexadecimal digits and a slash follow.
    key_prefix: &'a str,
    /// Number of objects that are written, and removed again.
    objects: u64,
    /// Bytes that are written to the store, at most.
    store_written_bytes: u64,
    /// Bytes that are read from the store, at most, apart from listings.
    store_read_bytes: u64,
    /// Whether it is known that the store can be written to. False for a bucket, which says it only when it is tried.
    write_checked: bool,
}

impl<'a> StoreCheckPlanDocument<'a> {
    pub(crate) fn new(plan: &'a StoreCheckPlan, write_checked: bool) -> Self {
        Self {
            dry_run: true,
            key_prefix: &plan.key_prefix,
            objects: plan.objects,
            store_written_bytes: plan.written_bytes,
            store_read_bytes: plan.read_bytes,
            write_checked,
        }
    }
}

/// The result of one check of a store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreFinding")]
struct StoreFindingDocument<'a> {
    /// What was checked, for example `ranged reads`.
    name: &'a str,
    /// The result.
    status: StatusDocument,
    /// What the store did wrong. Empty if the check passed.
    detail: &'a str,
}

impl<'a> From<&'a Finding> for StoreFindingDocument<'a> {
    fn from(finding: &'a Finding) -> Self {
        let status = match finding.status {
            CheckStatus::Pass => StatusDocument::Pass,
            CheckStatus::Fail => StatusDocument::Fail,
            _ => StatusDocument::Warn,
        };
        Self { name: finding.name, status, detail: &finding.detail }
    }
}

/// The result of a check.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "CheckStatus")]
#[serde(rename_all = "snake_case")]
enum StatusDocument {
    /// The store does what snapshots need.
    Pass,
    /// It lacks something, but snapshots are safe without it.
    Warn,
    /// Snapshots are not safe there.
    Fail,
}

/// How fast a store is, measured from this machine.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "Speed")]
struct SpeedDocument {
    /// Median time of a request for the size of an object, in seconds.
    head_seconds: f64,
    /// Median time of reading 1 KiB, in seconds.
    get_seconds: f64,
    /// Median time of creating an object of 1 KiB, in seconds.
    create_seconds: f64,
    /// Throughput of one upload of 64 MiB, in bytes per second.
    upload_bytes_per_second: f64,
    /// Throughput of concurrent reads of ranges of it, in bytes per second.
    download_bytes_per_second: f64,
}

impl From<Speed> for SpeedDocument {
    fn from(speed: Speed) -> Self {
        Self {
            head_seconds: speed.head_seconds,
            get_seconds: speed.get_seconds,
            create_seconds: speed.create_seconds,
            upload_bytes_per_second: speed.upload_bytes_per_second,
            download_bytes_per_second: speed.download_bytes_per_second,
        }
    }
}

/// The options of buckets.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreOptions")]
pub(crate) struct StoreOptionsDocument {
    /// The options, by the kind of bucket.
    pub(crate) options: Vec<OptionDocument>,
}

/// An option of a kind of bucket.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreOption")]
pub(crate) struct OptionDocument {
    /// The kind of bucket: `s3`, `gs` or `az`.
    scheme: &'static str,
    /// The name, as `-o` takes it.
    name: &'static str,
    /// The environment variables that set it, the first with precedence.
    environment: &'static [&'static str],
    /// What it does, and its default value if it has one.
    description: &'static str,
}

impl OptionDocument {
    pub(crate) fn new(scheme: &'static str, option: &KnownOption) -> Self {
        let KnownOption { name, environment, description, .. } = option;
        Self { scheme, name, environment, description }
    }
}
