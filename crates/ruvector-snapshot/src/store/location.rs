//! Locations: where a store is, as a user writes it. Parses and prints a path or a URL; opens nothing.
//!
//! A new provider needs a variant of [`Provider`], a table in `known_options.rs`, a file in `providers/` and a line in
//! `open.rs`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::check_prefix;
use crate::error::{ErrorKind, Result, SnapshotError};

/// Where a store is.
///
/// # Examples
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
    /// A local directory: a path or a `file://` URL.
    Local(PathBuf),
    /// The memory of this process: `memory://`. Each [`open`](super::open()) returns a new, empty store.
    Memory,
    /// A bucket, or the keys below a prefix in it: `s3://bucket/prefix`, `gs://bucket/prefix` or
    /// `az://container/prefix`.
    Bucket {
        /// The provider of the bucket.
        provider: Provider,
        /// The name of the bucket or container.
        bucket: String,
        /// The prefix of all keys, without a slash at either end. Empty for the whole bucket.
        prefix: String,
    },
}

/// A kind of object storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// Amazon S3 and servers that speak its protocol, such as MinIO: `s3://`.
    S3,
    /// Google Cloud Storage: `gs://`.
    Gcs,
    /// Azure Blob Storage: `az://`.
    Azure,
}

impl Provider {
    pub(super) const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// Returns the scheme of the provider's URLs.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::store::Provider::Gcs.scheme(), "gs");
    /// ```
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

impl FromStr for Location {
    type Err = SnapshotError;

    /// Parses a path or a URL.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`]. The error names only the scheme, because the rest may contain a secret.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid("the store location is empty"));
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(invalid(format!(
                "the store location contains a control character ({}); remove it, or percent-encode it in a file:// URL",
                control.escape_default()
            )));
        }
        if text.trim() != text {
            return Err(invalid(
                "the store location begins or ends with white space; remove it, or percent-encode it in a file:// URL",
            ));
        }
        let Some((scheme, rest)) = split_scheme(text) else { return local(text) };
        let scheme = scheme.to_ascii_lowercase();
        let provider = Provider::ALL.into_iter().find(|provider| provider.scheme() == scheme);
        match (scheme.as_str(), rest.strip_prefix("//"), provider) {
            (_, Some(rest), Some(provider)) => bucket(provider, rest),
            ("file", Some(rest), _) => file_path(rest).map(Self::Local),
            ("memory", Some(""), _) => Ok(Self::Memory),
            ("memory", Some(_), _) => Err(invalid("memory:// takes no path; each store in memory is new and empty")),
            (scheme, Some(_), _) => Err(invalid(format!("unsupported URL scheme {scheme}://{}", advice(scheme)))),
            (scheme, None, _) => Err(invalid(format!(
                "two slashes are missing after {scheme}: (for a directory of that name write ./{scheme}:)"
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

/// Parses a path. One with a colon in its first name is how other tools name a remote place, whatever the word before it, and
/// snapshots would go to a local directory of that name.
fn local(text: &str) -> Result<Location> {
    if text.split('/').next().is_some_and(|name| name.contains(':')) {
        return Err(invalid(
            "a path with a colon in its first name looks like the remote place of another tool; this program has directories, \
             s3://bucket, gs://bucket and az://container (for a directory of that name write ./ before it)",
        ));
    }
    Ok(Location::Local(PathBuf::from(text)))
}

/// Returns what to write instead of a scheme that other tools use.
fn advice(scheme: &str) -> &'static str {
    match scheme {
        "gcs" | "gsutil" => "; write gs://bucket/prefix",
        "azure" | "abfs" | "abfss" | "adl" | "wasb" | "wasbs" => "; write az://container/prefix",
        "s3a" | "s3n" | "minio" => "; write s3://bucket/prefix",
        "http" | "https" => {
            "; write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, and give the address of the server \
             as the option endpoint (base_url for gs://)"
        }
        _ => "; use a directory, s3://bucket, gs://bucket or az://container",
    }
}

/// Parses the location of a bucket from the text after `scheme://`.
fn bucket(provider: Provider, rest: &str) -> Result<Location> {
    let scheme = provider.scheme();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if rest.contains(['?', '@']) {
        return Err(invalid(format!(
            "{scheme}:// URLs contain no options and no keys; write {scheme}://bucket/prefix, and pass options with -o or \
             as store_options"
        )));
    }
    check_bucket(provider, bucket)?;
    let prefix = prefix.trim_end_matches('/');
    check_prefix(prefix).map_err(|error| invalid(format!("invalid prefix in {scheme}://: {}", error.message())))?;
    Ok(Location::Bucket { provider, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// Checks the name of a bucket, which becomes part of the path or the host of a URL.
pub(super) fn check_bucket(provider: Provider, bucket: &str) -> Result<()> {
    let scheme = provider.scheme();
    if bucket.is_empty() {
        return Err(invalid(format!("the bucket is missing; write {scheme}://bucket or {scheme}://bucket/prefix")));
    }
    if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        return Err(invalid(format!(
            "invalid bucket name in {scheme}://: it may contain only letters, digits, -, . and _"
        )));
    }
    // A path of dots would be another path.
    if bucket.len() > BUCKET_BYTES_MAX || bucket.chars().all(|c| c == '.') {
        return Err(invalid(format!(
            "invalid bucket name in {scheme}://: it has 1 to {BUCKET_BYTES_MAX} characters, not only dots"
        )));
    }
    Ok(())
}

/// No provider allows a longer name of a bucket.
const BUCKET_BYTES_MAX: usize = 255;

/// Schemes that are recognized without slashes, so that `s3:bucket` is an error and not a directory.
const SCHEMES: [&str; 6] = ["file", "memory", "s3", "gs", "gcs", "az"];

/// Splits a URL into its scheme and the text after the colon; `None` for a path.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is_known = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    (is_scheme && (rest.starts_with("//") || is_known)).then_some((scheme, rest))
}

/// Parses the path of a `file://` URL from the text after the two slashes.
fn file_path(rest: &str) -> Result<PathBuf> {
    if !rest.contains('/') {
        return Err(invalid("a file:// URL needs a full path, such as file:///var/backups"));
    }
    check_percent_encoding(rest)?;
    // A URL parser would change these silently.
    if rest.contains(['\\', '|']) || rest.contains(char::is_control) || rest.ends_with(' ') {
        return Err(invalid(
            "a file:// URL contains no \\, no | and no control character, and does not end with a space; percent-encode them",
        ));
    }
    let url =
        Url::parse(&format!("file://{rest}")).map_err(|cause| invalid(format!("invalid file:// URL: {cause}")))?;
    if url.host().is_some() {
        return Err(invalid(
            "a file:// URL has three slashes, as in file:///var/backups; directories of other hosts are not supported",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a file:// URL takes no options; write ? as %3F and # as %23"));
    }
    let path = url.to_file_path().map_err(|()| invalid("invalid file:// URL: it is not a full path"))?;
    if path.to_str().is_none_or(|path| path.contains('\0')) {
        return Err(invalid("the path in a file:// URL must be valid UTF-8 without NUL"));
    }
    Ok(path)
}

/// Checks that every `%` begins an escape sequence. A URL parser would keep others as they are.
fn check_percent_encoding(text: &str) -> Result<()> {
    let is_hex = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
    let is_escape = |after: &str| is_hex(after.as_bytes().first()) && is_hex(after.as_bytes().get(1));
    if text.split('%').skip(1).all(is_escape) {
        return Ok(());
    }
    Err(invalid("% in a file:// URL must be followed by two hexadecimal digits; write % itself as %25"))
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::InvalidInput, message)
}
