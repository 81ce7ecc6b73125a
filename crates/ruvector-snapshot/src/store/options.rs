//! Settings of a bucket as a user gives them: `key=value`, and the environment variables of each provider's own tools.
//!
//! Pure: what is not known is refused here by its name, and what is secret is never shown. What the settings mean stands
//! in the file of each provider.

#![cfg_attr(
    not(feature = "http"),
    allow(dead_code, reason = "without any provider nothing is refused and little is set")
)]

use std::collections::BTreeMap;
use std::fmt;

use super::location::{Location, Provider};
use crate::error::{ErrorKind, Result, SnapshotError};

/// Settings of a store by name, as `region` or `AWS_REGION`. `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreOptions {
    set: BTreeMap<String, String>,
    /// What holds where nothing else is set.
    below: BTreeMap<String, String>,
}

impl StoreOptions {
    /// What the environment says about stores of the kind of `location`, in the names of the provider's own tools, as
    /// `AWS_REGION`. Empty variables count as unset.
    pub fn from_env(location: &Location) -> Self {
        let Location::Bucket { provider, .. } = location else { return Self::default() };
        let mut found = Self::default();
        for known in all_known(*provider) {
            // The first name in the table goes before the others.
            let set = known.env.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
            if let Some(value) = set {
                found.set(known.name, value);
            }
        }
        found
    }

    /// Sets one, in place of what was set under the same name.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.set.insert(name.into(), value.into());
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.below.is_empty()
    }

    /// These settings, and those of `below` that are not among them. The names of one setting count as the same when the
    /// store is opened, and the one of these goes first.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let mut all = self.clone();
        all.below = below.set.iter().chain(&below.below).map(|(name, value)| (name.clone(), value.clone())).collect();
        all
    }

    /// The settings under their names in the provider's table.
    pub(super) fn read(&self, provider: Provider) -> Result<Settings> {
        let mut settings = Settings { provider, values: BTreeMap::new() };
        for options in [&self.below, &self.set] {
            let mut named = BTreeMap::new();
            for (name, value) in options {
                let known = find(provider, name)?;
                if let Some(other) = named.insert(known.name, name)
                    && settings.values.get(known.name) != Some(value)
                {
                    return Err(invalid(format!("the options {other} and {name} are the same one with two values")));
                }
                settings.values.insert(known.name, value.clone());
            }
        }
        Ok(settings)
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.set.keys().chain(self.below.keys())).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for StoreOptions {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(options: I) -> Self {
        let set = options.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { set, below: BTreeMap::new() }
    }
}

/// What can be set for stores of one scheme: the name, the environment variables that set it too, and what it does. For
/// help texts.
pub fn known_options(scheme: &str) -> Vec<(&'static str, &'static [&'static str], &'static str)> {
    let provider = Provider::ALL.into_iter().find(|provider| provider.scheme() == scheme);
    provider.into_iter().flat_map(all_known).map(|known| (known.name, known.env, known.what)).collect()
}

/// Settings of a known provider, under their names in its table.
pub(super) struct Settings {
    provider: Provider,
    values: BTreeMap<&'static str, String>,
}

impl Settings {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn default_to(&mut self, name: &'static str, value: impl Into<String>) {
        self.values.entry(name).or_insert_with(|| value.into());
    }

    /// The settings of the provider's own client, without those that this program carries out itself.
    pub(super) fn of_client(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().filter(|(name, _)| !OURS.contains(name)).map(|(name, value)| (*name, value.as_str()))
    }

    /// Values that no text may show.
    pub(super) fn secrets(&self) -> Vec<String> {
        let secret = |name: &str| all_known(self.provider).any(|known| known.name == name && known.secret);
        self.values.iter().filter(|(name, _)| secret(name)).map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0" | "no" | "off") => Ok(false),
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some(_) => Err(invalid(format!("the option {name} must be true or false"))),
        }
    }

    /// A time, as `90`, `90s`, `2m` or `500ms`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<std::time::Duration>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let duration = number.parse::<u64>().ok().and_then(|number| match unit {
            "ms" => Some(std::time::Duration::from_millis(number)),
            "" | "s" => Some(std::time::Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(std::time::Duration::from_secs),
            _ => None,
        });
        match duration {
            Some(duration) if !duration.is_zero() && duration <= LONGEST => Ok(Some(duration)),
            _ => Err(invalid(format!("the option {name} must be a time of at most a day, as 90s, 2m or 500ms"))),
        }
    }

    /// Refuses a URL in which a password stands: it would show.
    pub(super) fn check_url(&self, name: &str) -> Result<()> {
        let Some(url) = self.get(name) else { return Ok(()) };
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(invalid(format!("the option {name} must begin with https:// or http://")));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(invalid(format!("the option {name} must begin with https:// or http://")));
        }
        if rest.split('/').next().is_some_and(|host| host.contains('@')) {
            return Err(invalid(format!(
                "the option {name} must hold no user and no password; keys have their own options"
            )));
        }
        if scheme == "http" && !self.flag("allow_http")? {
            return Err(invalid(format!(
                "the option {name} is an http:// address, where everything can be read on its way; set allow_http=true if that is meant"
            )));
        }
        Ok(())
    }
}

const LONGEST: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

struct Known {
    name: &'static str,
    env: &'static [&'static str],
    secret: bool,
    what: &'static str,
}

const fn plain(name: &'static str, env: &'static [&'static str], what: &'static str) -> Known {
    Known { name, env, secret: false, what }
}

const fn secret(name: &'static str, env: &'static [&'static str], what: &'static str) -> Known {
    Known { name, env, secret: true, what }
}

/// Settings that the client of a provider does not know, or not under this name.
const OURS: [&str; 12] = [
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
];

const EVERY: [Known; 7] = [
    plain(
        "allow_http",
        &["AWS_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP", "AZURE_ALLOW_HTTP"],
        "true lets an endpoint be http://",
    ),
    plain("ca_certificate", &["AWS_CA_BUNDLE"], "a PEM file of certificates to trust besides the system's"),
    secret("proxy_url", &[], "the proxy for all requests; without it HTTPS_PROXY, HTTP_PROXY and NO_PROXY hold"),
    plain("proxy_excludes", &[], "hosts that proxy_url is not used for, separated by commas"),
    plain("connect_timeout", &[], "how long a connection may take to come about; 5s"),
    plain("stall_timeout", &[], "how long a request may make no progress before it is given up; 60s"),
    plain("retry_timeout", &[], "how long to try again where nothing succeeds; 3m"),
];

const S3: [Known; 25] = [
    plain("access_key_id", &["AWS_ACCESS_KEY_ID"], "the access key"),
    secret("secret_access_key", &["AWS_SECRET_ACCESS_KEY"], "its secret"),
    secret("session_token", &["AWS_SESSION_TOKEN"], "the token of temporary keys"),
    plain("profile", &["AWS_PROFILE"], "the profile in the files of the AWS tools; default"),
    plain(
        "shared_credentials_file",
        &["AWS_SHARED_CREDENTIALS_FILE"],
        "the AWS tools' file of keys; ~/.aws/credentials",
    ),
    plain("config_file", &["AWS_CONFIG_FILE"], "the AWS tools' file of settings; ~/.aws/config"),
    plain("region", &["AWS_REGION", "AWS_DEFAULT_REGION"], "the region of the bucket; us-east-1"),
    plain(
        "endpoint",
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
        "the address of another S3 server, as https://minio.example:9000",
    ),
    plain(
        "virtual_hosted_style_request",
        &["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"],
        "true puts the bucket into the host name, not into the path; an endpoint must then hold it",
    ),
    plain("server_side_encryption", &["AWS_SERVER_SIDE_ENCRYPTION"], "AES256 (SSE-S3), aws:kms, aws:kms:dsse or sse-c"),
    plain("sse_kms_key_id", &["AWS_SSE_KMS_KEY_ID"], "the key for aws:kms"),
    plain("sse_bucket_key_enabled", &["AWS_SSE_BUCKET_KEY_ENABLED"], "true uses a bucket key with aws:kms"),
    secret("sse_customer_key_base64", &["AWS_SSE_CUSTOMER_KEY_BASE64"], "the key for sse-c, 32 bytes in base64"),
    plain(
        "checksum_algorithm",
        &["AWS_CHECKSUM_ALGORITHM"],
        "sha256, crc64nvme, or none for servers that refuse checksums; sha256",
    ),
    plain("unsigned_payload", &["AWS_UNSIGNED_PAYLOAD"], "true leaves the body out of the signature"),
    plain("skip_signature", &["AWS_SKIP_SIGNATURE"], "true sends no keys at all, for public buckets"),
    plain("request_payer", &["AWS_REQUEST_PAYER"], "true pays for requests to somebody else's bucket"),
    plain("s3_express", &["AWS_S3_EXPRESS"], "true for a directory bucket of S3 Express"),
    plain("role_arn", &["AWS_ROLE_ARN"], "the role for web_identity_token_file"),
    plain("role_session_name", &["AWS_ROLE_SESSION_NAME"], "what to call the session of the role"),
    plain("web_identity_token_file", &["AWS_WEB_IDENTITY_TOKEN_FILE"], "the token of a service account of Kubernetes"),
    plain("container_credentials_relative_uri", &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], "set by ECS"),
    plain("container_credentials_full_uri", &["AWS_CONTAINER_CREDENTIALS_FULL_URI"], "set by EKS"),
    plain("container_authorization_token_file", &["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"], "set by EKS"),
    plain("metadata_endpoint", &["AWS_METADATA_ENDPOINT"], "where a machine in EC2 asks for its keys"),
];

const GCS: [Known; 6] = [
    plain(
        "service_account",
        &["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT"],
        "the key file of a service account",
    ),
    secret("service_account_key", &["GOOGLE_SERVICE_ACCOUNT_KEY"], "the same as JSON text"),
    plain(
        "application_credentials",
        &["GOOGLE_APPLICATION_CREDENTIALS"],
        "a credentials file, as gcloud auth application-default login writes it",
    ),
    secret("bearer_token", &["GOOGLE_BEARER_TOKEN"], "a token, as gcloud auth print-access-token prints it"),
    plain("base_url", &["GOOGLE_BASE_URL"], "the address of another server that speaks the protocol"),
    plain("skip_signature", &["GOOGLE_SKIP_SIGNATURE"], "true sends no token, for reading public buckets"),
];

const AZURE: [Known; 18] = [
    plain("account_name", &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"], "the storage account"),
    secret("account_key", &["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY"], "its key"),
    secret("sas_token", &["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"], "a shared access signature"),
    secret("bearer_token", &["AZURE_STORAGE_TOKEN"], "a token"),
    plain("client_id", &["AZURE_CLIENT_ID", "AZURE_STORAGE_CLIENT_ID"], "the id of a service principal"),
    secret("client_secret", &["AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET"], "its secret"),
    plain("tenant_id", &["AZURE_TENANT_ID", "AZURE_STORAGE_TENANT_ID"], "its tenant"),
    plain("authority_host", &["AZURE_AUTHORITY_HOST"], "where it signs in"),
    plain("federated_token_file", &["AZURE_FEDERATED_TOKEN_FILE"], "the token of a workload identity"),
    plain("msi_endpoint", &["AZURE_MSI_ENDPOINT", "IDENTITY_ENDPOINT"], "where a managed identity asks for its token"),
    plain("object_id", &["AZURE_OBJECT_ID"], "the object id of a managed identity"),
    plain("msi_resource_id", &["AZURE_MSI_RESOURCE_ID"], "the resource id of a managed identity"),
    plain(
        "endpoint",
        &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
        "the address of another server that speaks the protocol",
    ),
    plain("use_emulator", &["AZURE_STORAGE_USE_EMULATOR"], "true for Azurite on this machine"),
    plain("use_azure_cli", &["AZURE_USE_AZURE_CLI"], "true takes the sign-in of az login"),
    plain("use_fabric_endpoint", &["AZURE_USE_FABRIC_ENDPOINT"], "true for OneLake"),
    plain("skip_signature", &["AZURE_SKIP_SIGNATURE"], "true sends no keys at all, for public containers"),
    secret("encryption_key", &["AZURE_STORAGE_ENCRYPTION_KEY"], "a customer-provided key, 32 bytes in base64"),
];

fn all_known(provider: Provider) -> impl Iterator<Item = &'static Known> {
    let own: &'static [Known] = match provider {
        Provider::S3 => &S3,
        Provider::Gcs => &GCS,
        Provider::Azure => &AZURE,
    };
    static EVERY_ONE: &[Known] = &EVERY;
    own.iter().chain(EVERY_ONE)
}

/// The setting that a name means: its own, or that of an environment variable, in any case.
fn find(provider: Provider, name: &str) -> Result<&'static Known> {
    let means = |known: &&Known| {
        known.name.eq_ignore_ascii_case(name) || known.env.iter().any(|env| env.eq_ignore_ascii_case(name))
    };
    all_known(provider).find(means).ok_or_else(|| {
        let names: Vec<&str> = all_known(provider).map(|known| known.name).collect();
        let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
        let scheme = provider.scheme();
        invalid(format!("{scheme}:// has no option {shown:?}; it has {}", names.join(", ")))
    })
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::Invalid, message)
}
