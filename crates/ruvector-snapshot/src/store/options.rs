//! Options of a bucket: `key=value` as a user gives them, and the environment variables of each provider's own tools.
//!
//! Pure. Unknown options are rejected by name, and secret values are never shown. What an option means is decided in
//! the file of the provider. What its value may be is in `value.rs`, and checked before anything else sees it.

#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "without a provider no option is read"))]

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::location::{Location, Provider};
use super::sign_in::is_left_out;
use super::value::ValueKind;
use crate::error::{ErrorKind, Result, SnapshotError};

/// Options of a store by name, such as `region` or `AWS_REGION`. `Debug` shows only the names.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::StoreOptions;
///
/// let mut options: StoreOptions = [("region", "eu-west-1")].into_iter().collect();
/// options.set("secret_access_key", "hidden");
/// assert_eq!(format!("{options:?}"), r#"{"region", "secret_access_key"}"#);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreOptions {
    set: BTreeMap<String, Given>,
    /// Apply where `set` has no value.
    defaults: BTreeMap<String, Given>,
}

/// A value, and where it was read if its user did not pass it.
#[derive(Clone, PartialEq, Eq)]
struct Given {
    value: String,
    /// An environment variable or a file.
    origin: Option<String>,
}

impl StoreOptions {
    /// Reads the environment variables for stores of the kind of `location`, such as `AWS_REGION` for `s3://`. White
    /// space around a value, such as a line end, is removed. Empty variables count as unset.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{Location, StoreOptions};
    ///
    /// let options = StoreOptions::from_env(&Location::Memory);
    /// assert!(options.is_empty());
    /// ```
    pub fn from_env(location: &Location) -> Self {
        let Location::Bucket { provider, .. } = location else { return Self::default() };
        let mut found = Self::default();
        for option in options_of(*provider) {
            // The first name in the table has precedence.
            if let Some((variable, value)) = option.environment.iter().find_map(|name| variable(name)) {
                found.set.insert(option.name.to_owned(), Given { value, origin: Some(variable.to_owned()) });
            }
        }
        found
    }

    /// Sets an option. Replaces an earlier value of the same name.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut options = ruvector_snapshot::store::StoreOptions::default();
    /// options.set("region", "eu-west-1");
    /// assert!(!options.is_empty());
    /// ```
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.set.insert(name.into(), Given { value: value.into(), origin: None });
    }

    /// Returns whether no option is set.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::store::StoreOptions::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.defaults.is_empty()
    }

    /// Returns these options with those of `defaults` for options that are not set here. Two names of one option, such
    /// as `region` and `AWS_REGION`, count as the same option. If credentials are set here, other credentials of `defaults`
    /// are left out: keys that are set here are not sent with an `AWS_SESSION_TOKEN`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{Location, StoreOptions};
    ///
    /// let location: Location = "s3://bucket".parse()?;
    /// let typed: StoreOptions = [("region", "eu-west-1")].into_iter().collect();
    /// let options = typed.over(&StoreOptions::from_env(&location));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn over(&self, defaults: &Self) -> Self {
        let mut all = self.clone();
        let lower = defaults.set.iter().chain(&defaults.defaults);
        all.defaults = lower.map(|(name, given)| (name.clone(), given.clone())).collect();
        all
    }

    /// Returns the names of the options that are set, without those that say no.
    fn passed(&self, provider: Provider) -> Result<Vec<&'static str>> {
        let mut passed = Vec::new();
        for (name, given) in &self.set {
            let option = find(provider, name)?;
            if !matches!(option.kind, ValueKind::Flag) || flag_of(&given.value) != Some(false) {
                passed.push(option.name);
            }
        }
        Ok(passed)
    }

    /// Returns the options under the names of the provider's table, with values that can be sent.
    pub(super) fn read(&self, provider: Provider) -> Result<Settings> {
        let mut settings = Settings { provider, values: BTreeMap::new(), hidden: Vec::new() };
        let passed = self.passed(provider)?;
        for (options, are_defaults) in [(&self.defaults, true), (&self.set, false)] {
            let mut named = BTreeMap::new();
            for (name, given) in options {
                let option = find(provider, name)?;
                if are_defaults && is_left_out(provider, option.name, &passed) {
                    continue;
                }
                if let Some(other) = named.insert(option.name, name)
                    && settings.get(option.name) != Some(given.value.as_str())
                {
                    return Err(invalid(format!(
                        "the options {other} and {name} are names of the same option, but have two values"
                    )));
                }
                let origin = given.origin.clone().or_else(|| (name != option.name).then(|| name.clone()));
                settings.values.insert(option.name, Given { value: given.value.clone(), origin });
            }
        }
        options_of(provider).try_for_each(|option| settings.check(option))?;
        Ok(settings)
    }
}

/// Returns the name and the value of an environment variable, without white space around it; `None` if nothing is left.
/// A value that is not UTF-8 is not skipped: it gets a character that no option accepts.
fn variable(name: &str) -> Option<(&str, String)> {
    let value = std::env::var_os(name)?;
    let value = value.to_string_lossy().trim().to_owned();
    (!value.is_empty()).then_some((name, value))
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.set.keys().chain(self.defaults.keys())).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for StoreOptions {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(options: I) -> Self {
        let given = |value: V| Given { value: value.into(), origin: None };
        let set = options.into_iter().map(|(name, value)| (name.into(), given(value))).collect();
        Self { set, defaults: BTreeMap::new() }
    }
}

/// Describes an option of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownOption {
    /// The name, for example `region`.
    pub name: &'static str,
    /// Environment variables that set it, the first with precedence.
    pub environment: &'static [&'static str],
    /// What it does, and its default value if it has one.
    pub description: &'static str,
    /// Whether the value is secret.
    pub is_secret: bool,
    /// What the value may be.
    kind: ValueKind,
}

/// Returns the options of buckets with the given URL scheme, for help texts. Empty for other schemes.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::known_options;
///
/// assert!(known_options("s3").iter().any(|option| option.name == "region"));
/// assert!(known_options("file").is_empty());
/// ```
pub fn known_options(scheme: &str) -> Vec<KnownOption> {
    let provider = Provider::ALL.into_iter().find(|provider| provider.scheme() == scheme);
    provider.into_iter().flat_map(options_of).copied().collect()
}

/// Options of one provider, under the names of its table. Every value is of the kind of its option.
#[derive(Clone)]
pub(super) struct Settings {
    provider: Provider,
    values: BTreeMap<&'static str, Given>,
    /// Secrets in files that options name.
    hidden: Vec<String>,
}

impl Settings {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|given| given.value.as_str())
    }

    /// Sets an option that is not set yet to a value of a file.
    #[cfg(feature = "aws")]
    pub(super) fn set_default(&mut self, name: &str, value: &str, file: &std::path::Path) -> Result<()> {
        let option = find(self.provider, name)?;
        let given = || Given { value: value.to_owned(), origin: Some(file.display().to_string()) };
        self.values.entry(option.name).or_insert_with(given);
        self.check(option)
    }

    /// Returns how errors name an option: with where its value was read.
    pub(super) fn describe(&self, name: &str) -> String {
        match self.values.get(name).and_then(|given| given.origin.as_ref()) {
            Some(origin) => format!("the option {name} ({origin})"),
            None => format!("the option {name}"),
        }
    }

    /// Returns the error for a value that is not valid. `problem` follows the name of the option.
    pub(super) fn refused(&self, name: &str, problem: &str) -> SnapshotError {
        invalid(format!("{} {problem}", self.describe(name)))
    }

    fn check(&self, option: &KnownOption) -> Result<()> {
        match self.get(option.name).and_then(|value| option.kind.problem(value)) {
            Some(problem) => Err(self.refused(option.name, &problem)),
            None => Ok(()),
        }
    }

    /// Returns the options that the provider's client understands, without those that this crate implements.
    pub(super) fn for_client(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values
            .iter()
            .filter(|(name, _)| !IMPLEMENTED_HERE.contains(name))
            .map(|(name, given)| (*name, given.value.as_str()))
    }

    /// Returns the values that no text may show.
    pub(super) fn secrets(&self) -> Vec<String> {
        let is_secret = |name: &str| options_of(self.provider).any(|option| option.name == name && option.is_secret);
        let secret = self.values.iter().filter(|(name, _)| is_secret(name)).map(|(_, given)| &given.value);
        secret.chain(&self.hidden).cloned().collect()
    }

    /// Adds secrets that no text may show.
    #[cfg(feature = "gcp")]
    pub(super) fn hide(&mut self, secrets: Vec<String>) {
        self.hidden.extend(secrets);
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        self.flag_or(name, false)
    }

    pub(super) fn flag_or(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        flag_of(value).ok_or_else(|| self.refused(name, "must be true or false"))
    }

    /// Returns a duration, such as `90`, `90s`, `2m` or `500ms`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let duration = number.parse::<u64>().ok().and_then(|number| match unit {
            "ms" => Some(Duration::from_millis(number)),
            "" | "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            _ => None,
        });
        match duration {
            Some(duration) if !duration.is_zero() && duration <= DURATION_MAX => Ok(Some(duration)),
            _ => Err(self.refused(name, "must be a duration of at most a day, such as 90s, 2m or 500ms")),
        }
    }

    /// Checks that the URL of a server is encrypted, or that this is not required.
    pub(super) fn check_encrypted(&self, name: &str) -> Result<()> {
        if self.get(name).is_some_and(|url| url.starts_with("http://")) && !self.flag("allow_http")? {
            return Err(self.refused(
                name,
                "is an http:// URL, which sends everything unencrypted; set allow_http=true to allow it",
            ));
        }
        Ok(())
    }
}

fn flag_of(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "false" | "0" | "no" | "n" | "off" => Some(false),
        "true" | "1" | "yes" | "y" | "on" => Some(true),
        _ => None,
    }
}

const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const fn plain(
    name: &'static str,
    kind: ValueKind,
    environment: &'static [&'static str],
    description: &'static str,
) -> KnownOption {
    KnownOption { name, environment, description, is_secret: false, kind }
}

const fn secret(
    name: &'static str,
    kind: ValueKind,
    environment: &'static [&'static str],
    description: &'static str,
) -> KnownOption {
    KnownOption { name, environment, description, is_secret: true, kind }
}

/// Options that the client of a provider does not have, or has under another name.
const IMPLEMENTED_HERE: [&str; 13] = [
    "profile",
    "shared_credentials_file",
    "config_file",
    "checksum_algorithm",
    "ca_certificate",
    "proxy_url",
    "proxy_excludes",
    "connect_timeout",
    "stall_timeout",
    "retry_timeout",
    "allow_http",
    "account_name",
    "conditional_create",
];

const COMMON: [KnownOption; 8] = [
    plain(
        "allow_http",
        ValueKind::Flag,
        &["AWS_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP", "AZURE_ALLOW_HTTP"],
        "true allows an endpoint with http://",
    ),
    plain(
        "ca_certificate",
        ValueKind::Path,
        &["AWS_CA_BUNDLE"],
        "PEM file with certificates to trust in addition to the system's",
    ),
    secret("proxy_url", ValueKind::Proxy, &[], "proxy for all requests; default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY"),
    plain("proxy_excludes", ValueKind::Text, &[], "hosts that proxy_url is not used for, separated by commas"),
    plain("connect_timeout", ValueKind::Text, &[], "time limit for a connection; default: 5s"),
    plain(
        "stall_timeout",
        ValueKind::Text,
        &[],
        "how long a request may make no progress before it fails; default: 60s",
    ),
    plain("retry_timeout", ValueKind::Text, &[], "how long to retry without a success; default: 3m"),
    plain(
        "conditional_create",
        ValueKind::Flag,
        &[],
        "false for servers that refuse If-None-Match: a create checks that its key is free, and then writes; default: true",
    ),
];

const S3: [KnownOption; 25] = [
    plain("access_key_id", ValueKind::Header, &["AWS_ACCESS_KEY_ID"], "access key"),
    secret("secret_access_key", ValueKind::Text, &["AWS_SECRET_ACCESS_KEY"], "secret of the access key"),
    secret("session_token", ValueKind::Header, &["AWS_SESSION_TOKEN"], "token of temporary credentials"),
    plain("profile", ValueKind::Text, &["AWS_PROFILE"], "profile in the files of the AWS tools; default: default"),
    plain(
        "shared_credentials_file",
        ValueKind::Path,
        &["AWS_SHARED_CREDENTIALS_FILE"],
        "credentials file of the AWS tools; default: ~/.aws/credentials",
    ),
    plain(
        "config_file",
        ValueKind::Path,
        &["AWS_CONFIG_FILE"],
        "configuration file of the AWS tools; default: ~/.aws/config",
    ),
    plain("region", ValueKind::Name, &["AWS_REGION", "AWS_DEFAULT_REGION"], "region of the bucket; default: us-east-1"),
    plain(
        "endpoint",
        ValueKind::Server,
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
        "URL of another S3 server, such as https://minio.example:9000",
    ),
    plain(
        "virtual_hosted_style_request",
        ValueKind::Flag,
        &["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"],
        "true puts the bucket in the host name instead of the path; the endpoint must then contain it",
    ),
    plain(
        "server_side_encryption",
        ValueKind::Text,
        &["AWS_SERVER_SIDE_ENCRYPTION"],
        "AES256 (SSE-S3), aws:kms, aws:kms:dsse or sse-c",
    ),
    plain("sse_kms_key_id", ValueKind::Header, &["AWS_SSE_KMS_KEY_ID"], "key for aws:kms"),
    plain(
        "sse_bucket_key_enabled",
        ValueKind::Flag,
        &["AWS_SSE_BUCKET_KEY_ENABLED"],
        "true uses a bucket key with aws:kms",
    ),
    secret(
        "sse_customer_key_base64",
        ValueKind::Key,
        &["AWS_SSE_CUSTOMER_KEY_BASE64"],
        "key for sse-c, 32 bytes in base64",
    ),
    plain(
        "checksum_algorithm",
        ValueKind::Text,
        &["AWS_CHECKSUM_ALGORITHM"],
        "sha256, crc64nvme, or none for servers that reject checksums; default: sha256",
    ),
    plain("unsigned_payload", ValueKind::Flag, &["AWS_UNSIGNED_PAYLOAD"], "true leaves the body out of the signature"),
    plain("skip_signature", ValueKind::Flag, &["AWS_SKIP_SIGNATURE"], "true sends no credentials, for public buckets"),
    plain(
        "request_payer",
        ValueKind::Payer,
        &["AWS_REQUEST_PAYER"],
        "true pays for requests to a bucket of another account",
    ),
    plain("s3_express", ValueKind::Flag, &["AWS_S3_EXPRESS"], "true for a directory bucket of S3 Express"),
    plain("role_arn", ValueKind::Text, &["AWS_ROLE_ARN"], "role for web_identity_token_file"),
    plain("role_session_name", ValueKind::Text, &["AWS_ROLE_SESSION_NAME"], "session name of the role"),
    plain(
        "web_identity_token_file",
        ValueKind::Path,
        &["AWS_WEB_IDENTITY_TOKEN_FILE"],
        "token file of a Kubernetes service account",
    ),
    plain(
        "container_credentials_relative_uri",
        ValueKind::UrlPath,
        &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
        "set by ECS",
    ),
    plain("container_credentials_full_uri", ValueKind::Service, &["AWS_CONTAINER_CREDENTIALS_FULL_URI"], "set by EKS"),
    plain(
        "container_authorization_token_file",
        ValueKind::Path,
        &["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"],
        "set by EKS",
    ),
    plain("metadata_endpoint", ValueKind::Server, &["AWS_METADATA_ENDPOINT"], "URL of the metadata service of EC2"),
];

const GCS: [KnownOption; 6] = [
    plain(
        "service_account",
        ValueKind::Path,
        &["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT"],
        "key file of a service account",
    ),
    secret(
        "service_account_key",
        ValueKind::Json,
        &["GOOGLE_SERVICE_ACCOUNT_KEY"],
        "key of a service account, as JSON text",
    ),
    plain(
        "application_credentials",
        ValueKind::Path,
        &["GOOGLE_APPLICATION_CREDENTIALS"],
        "credentials file, as written by gcloud auth application-default login",
    ),
    secret(
        "bearer_token",
        ValueKind::Header,
        &["GOOGLE_BEARER_TOKEN"],
        "access token, as printed by gcloud auth print-access-token",
    ),
    plain("base_url", ValueKind::Server, &["GOOGLE_BASE_URL"], "URL of another server that speaks the protocol"),
    plain(
        "skip_signature",
        ValueKind::Flag,
        &["GOOGLE_SKIP_SIGNATURE"],
        "true sends no token, for reading public buckets",
    ),
];

const AZURE: [KnownOption; 18] = [
    plain("account_name", ValueKind::Name, &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"], "storage account"),
    secret(
        "account_key",
        ValueKind::Base64,
        &["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY"],
        "key of the storage account",
    ),
    secret(
        "sas_token",
        ValueKind::Query,
        &["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"],
        "shared access signature",
    ),
    secret("bearer_token", ValueKind::Header, &["AZURE_STORAGE_TOKEN"], "access token"),
    plain("client_id", ValueKind::Text, &["AZURE_CLIENT_ID", "AZURE_STORAGE_CLIENT_ID"], "id of a service principal"),
    secret(
        "client_secret",
        ValueKind::Text,
        &["AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET"],
        "secret of the service principal",
    ),
    plain(
        "tenant_id",
        ValueKind::Name,
        &["AZURE_TENANT_ID", "AZURE_STORAGE_TENANT_ID"],
        "tenant of the service principal",
    ),
    plain("authority_host", ValueKind::Server, &["AZURE_AUTHORITY_HOST"], "URL where the service principal signs in"),
    plain(
        "federated_token_file",
        ValueKind::Path,
        &["AZURE_FEDERATED_TOKEN_FILE"],
        "token file of a workload identity",
    ),
    plain(
        "msi_endpoint",
        ValueKind::Server,
        &["AZURE_MSI_ENDPOINT", "IDENTITY_ENDPOINT"],
        "URL that issues tokens to a managed identity",
    ),
    plain("object_id", ValueKind::Text, &["AZURE_OBJECT_ID"], "object id of a managed identity"),
    plain("msi_resource_id", ValueKind::Text, &["AZURE_MSI_RESOURCE_ID"], "resource id of a managed identity"),
    plain(
        "endpoint",
        ValueKind::Server,
        &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
        "URL of another server that speaks the protocol",
    ),
    plain("use_emulator", ValueKind::Flag, &["AZURE_STORAGE_USE_EMULATOR"], "true for Azurite on this machine"),
    plain("use_azure_cli", ValueKind::Flag, &["AZURE_USE_AZURE_CLI"], "true uses the credentials of az login"),
    plain("use_fabric_endpoint", ValueKind::Flag, &["AZURE_USE_FABRIC_ENDPOINT"], "true for OneLake"),
    plain(
        "skip_signature",
        ValueKind::Flag,
        &["AZURE_SKIP_SIGNATURE"],
        "true sends no credentials, for public containers",
    ),
    secret(
        "encryption_key",
        ValueKind::Key,
        &["AZURE_STORAGE_ENCRYPTION_KEY"],
        "customer-provided key, 32 bytes in base64",
    ),
];

fn options_of(provider: Provider) -> impl Iterator<Item = &'static KnownOption> {
    static COMMON_OPTIONS: &[KnownOption] = &COMMON;
    let own: &'static [KnownOption] = match provider {
        Provider::S3 => &S3,
        Provider::Gcs => &GCS,
        Provider::Azure => &AZURE,
    };
    own.iter().chain(COMMON_OPTIONS)
}

/// Returns the option with a name, or with an environment variable of that name. Upper and lower case are equal.
fn find(provider: Provider, name: &str) -> Result<&'static KnownOption> {
    let has_name = |option: &&KnownOption| {
        option.name.eq_ignore_ascii_case(name) || option.environment.iter().any(|env| env.eq_ignore_ascii_case(name))
    };
    options_of(provider).find(has_name).ok_or_else(|| {
        let names: Vec<&str> = options_of(provider).map(|option| option.name).collect();
        let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
        let scheme = provider.scheme();
        invalid(format!("{scheme}:// has no option {shown:?}; its options are {}", names.join(", ")))
    })
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::InvalidInput, message)
}
