//! Where snapshots are kept, as a user writes it: a path or a URL, read here and turned into a store.
//!
//! Another provider comes in as a variant of [`Provider`], with its table in `options.rs` and a file of its own beside
//! `s3.rs`. Its operations go nowhere: they are `object_store`'s.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::object::ObjectSnapshotStore;
use super::options::{Settings, StoreOptions};
use super::transfer::{RETRY_TIMEOUT, TransferConfig, Transfers};
use super::{SnapshotStore, check_prefix, local};
use crate::error::{ErrorKind, Result, SnapshotError};

/// A place for snapshots.
///
/// ```
/// use ruvector_snapshot::store::Location;
///
/// let location: Location = "/var/backups/vectors".parse()?;
/// assert_eq!(location, "file:///var/backups/vectors".parse()?);
/// let location: Location = "s3://bucket/backups/".parse()?;
/// assert_eq!(location.to_string(), "s3://bucket/backups");
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// A directory on a local disk: a path, or a `file://` URL.
    Local(PathBuf),
    /// The memory of this process: `memory://`. Each [`open`] gives a new, empty store of its own.
    Memory,
    /// A bucket, or all keys in it below a prefix: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    Bucket {
        /// Whose bucket.
        provider: Provider,
        /// The bucket, or container.
        bucket: String,
        /// What all keys begin with, without a slash at either end; empty for the whole bucket.
        prefix: String,
    },
}

/// Who keeps a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// Amazon S3, and servers that speak its protocol, as MinIO: `s3://`.
    S3,
    /// Google Cloud Storage: `gs://`.
    Gcs,
    /// Azure Blob Storage: `az://`.
    Azure,
}

impl Provider {
    pub(super) const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// How to open a store. Start from `default()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreConfig {
    /// Makes a local directory that is missing; without it that is [`ErrorKind::NotFound`]. Buckets are never made.
    pub create: bool,
    /// Settings of the bucket. The environment is not asked: see [`StoreOptions::from_env`].
    pub options: StoreOptions,
    /// Limits on what is under way.
    pub transfers: TransferConfig,
}

/// Opens the store at a location. No request is sent, so a bucket is not known to exist after this.
///
/// # Errors
///
/// `NotFound` for a directory that is missing; `Invalid` for options that are unknown, wrong or missing, and for a provider
/// that is not built in; `Denied` for a directory or a file of keys that may not be read.
pub fn open(location: &Location, config: &StoreConfig) -> Result<Arc<dyn SnapshotStore>> {
    let transfers = |retry_timeout| Transfers::new(&config.transfers, retry_timeout);
    let store = match location {
        Location::Bucket { provider, bucket, prefix } => {
            let settings = config.options.read(*provider)?;
            let transfers = transfers(settings.duration("retry_timeout")?.unwrap_or(RETRY_TIMEOUT))?;
            let text = location.to_string();
            let client = open_bucket(*provider, bucket, &text, settings)?;
            ObjectSnapshotStore::new(client, prefix, text)?.with_budget(transfers)
        }
        _ if !config.options.is_empty() => {
            return Err(invalid(format!("{location} takes no options; they are for buckets, as s3://")));
        }
        Location::Local(path) => {
            let (disk, root) = local::open(path, config.create)?;
            let store = ObjectSnapshotStore::new(Arc::new(disk.clone()), "", root.display().to_string())?;
            store.with_staged_files(disk).with_budget(transfers(RETRY_TIMEOUT)?)
        }
        Location::Memory => {
            let store = ObjectSnapshotStore::new(Arc::new(InMemory::new()), "", location.to_string())?;
            store.with_budget(transfers(RETRY_TIMEOUT)?)
        }
    };
    Ok(Arc::new(store))
}

#[allow(unused_variables, reason = "without any provider nothing is read")]
fn open_bucket(provider: Provider, bucket: &str, location: &str, settings: Settings) -> Result<Arc<dyn ObjectStore>> {
    #[cfg(feature = "http")]
    let named = super::bucket::Bucket { name: bucket, location };
    match provider {
        #[cfg(feature = "aws")]
        Provider::S3 => super::s3::open(&named, settings),
        #[cfg(feature = "gcp")]
        Provider::Gcs => super::gcs::open(&named, settings),
        #[cfg(feature = "azure")]
        Provider::Azure => super::azure::open(&named, settings),
        #[allow(unreachable_patterns, reason = "where every provider is built in")]
        other => Err(not_built_in(other)),
    }
}

#[allow(dead_code, reason = "where every provider is built in")]
fn not_built_in(provider: Provider) -> SnapshotError {
    let feature = match provider {
        Provider::S3 => "aws",
        Provider::Gcs => "gcp",
        Provider::Azure => "azure",
    };
    invalid(format!(
        "{}:// is not built into this program; build it with the Cargo feature {feature:?}",
        provider.scheme()
    ))
}

impl FromStr for Location {
    type Err = SnapshotError;

    /// Reads a path or a URL. An error names the scheme alone: the rest may hold a secret.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid("no location for the snapshots was given"));
        }
        let Some((scheme, rest)) = split_scheme(text) else { return Ok(Self::Local(PathBuf::from(text))) };
        let scheme = scheme.to_ascii_lowercase();
        let provider = Provider::ALL.into_iter().find(|provider| provider.scheme() == scheme);
        match (scheme.as_str(), rest.strip_prefix("//"), provider) {
            (_, Some(rest), Some(provider)) => bucket(provider, rest),
            ("file", Some(rest), _) => file_path(rest).map(Self::Local),
            ("memory", Some(""), _) => Ok(Self::Memory),
            ("memory", Some(_), _) => Err(invalid("nothing can follow memory://, it is a new store each time")),
            (scheme, Some(_), _) => Err(invalid(format!("{scheme}:// is no place for snapshots{}", advice(scheme)))),
            (scheme, None, _) => Err(invalid(format!(
                "two slashes are missing after {scheme}: ; for a directory of that name write ./{scheme}:"
            ))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Memory => f.write_str("memory://"),
            Self::Bucket { provider, bucket, prefix } => {
                let slash = if prefix.is_empty() { "" } else { "/" };
                write!(f, "{}://{bucket}{slash}{prefix}", provider.scheme())
            }
        }
    }
}

/// What to write in place of a scheme that other tools have.
fn advice(scheme: &str) -> &'static str {
    match scheme {
        "gcs" | "gsutil" => ", write gs://bucket/prefix",
        "azure" | "abfs" | "abfss" | "adl" | "wasb" | "wasbs" => ", write az://container/prefix",
        "s3a" | "s3n" | "minio" => ", write s3://bucket/prefix",
        "http" | "https" => {
            ", write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, and the address as the option endpoint"
        }
        _ => "; they can be in a directory, or at s3://bucket, gs://bucket or az://container",
    }
}

/// The location of a bucket, from what follows the two slashes.
fn bucket(provider: Provider, rest: &str) -> Result<Location> {
    let scheme = provider.scheme();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if rest.contains(['?', '@']) {
        return Err(invalid(format!(
            "a URL of a bucket holds no options and no keys; write {scheme}://bucket/prefix, and give options with -o or as \
             store_options"
        )));
    }
    if bucket.is_empty() {
        return Err(invalid(format!("the bucket is missing; write {scheme}://bucket, or {scheme}://bucket/prefix")));
    }
    if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        return Err(invalid(format!(
            "the name of a bucket in a {scheme}:// URL has letters, digits, -, . and _ alone"
        )));
    }
    let prefix = prefix.trim_end_matches('/');
    check_prefix(prefix)
        .map_err(|error| invalid(format!("the prefix in a {scheme}:// URL is not possible: {}", error.message())))?;
    Ok(Location::Bucket { provider, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// Schemes that are known by their name, so that `s3:bucket` does not become a directory.
const SCHEMES: [&str; 6] = ["file", "memory", "s3", "gs", "gcs", "az"];

/// The scheme of a URL and what follows the colon; nothing for a path.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is_known = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    (is_scheme && (rest.starts_with("//") || is_known)).then_some((scheme, rest))
}

/// The path of a `file://` URL, from what follows the two slashes.
fn file_path(rest: &str) -> Result<PathBuf> {
    let Some(start) = rest.find('/') else {
        return Err(invalid("a file:// URL needs a full path, as in file:///var/backups"));
    };
    let (host, path) = rest.split_at(start);
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        return Err(invalid(
            "a file:// URL has three slashes, as in file:///var/backups: other hosts cannot be reached",
        ));
    }
    if path.contains(['?', '#']) {
        return Err(invalid("a file:// URL takes no options; write ? as %3F and # as %23"));
    }
    let path = percent_decode(path)?;
    // file:///C:/backups stands for C:/backups.
    let drive = cfg!(windows) && path.as_bytes().get(2) == Some(&b':');
    Ok(PathBuf::from(if drive { &path[1..] } else { &path[..] }))
}

fn percent_decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (Some(high), Some(low)) = (after.first().and_then(hex), after.get(1).and_then(hex)) else {
            return Err(invalid("a % in a file:// URL stands before two hexadecimal digits; write % itself as %25"));
        };
        bytes.push(high << 4 | low);
        rest = &after[2..];
    }
    match String::from_utf8(bytes) {
        Ok(path) if !path.contains('\0') => Ok(path),
        _ => Err(invalid("the path in a file:// URL must be valid UTF-8 without NUL")),
    }
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::Invalid, message)
}
