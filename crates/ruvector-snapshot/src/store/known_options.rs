//! The tables of options: every option of a bucket, with its environment variables, its description and its kind.

#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "without a provider no option is read"))]

use super::location::Provider;
use super::sign_in::is_credential;
use super::value::ValueKind;

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
    pub(super) kind: ValueKind,
}

impl KnownOption {
    /// Returns whether `name` means this option: its name, or one of its environment variables, in upper or lower case.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::store::known_options("s3");
    /// assert!(options.iter().any(|option| option.name == "region" && option.is_called("AWS_REGION")));
    /// ```
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.environment.iter().any(|env| env.eq_ignore_ascii_case(name))
    }

    /// Returns whether the value is the path of a file.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::store::known_options("s3");
    /// assert!(options.iter().any(|option| option.name == "ca_certificate" && option.is_path()));
    /// ```
    pub fn is_path(&self) -> bool {
        self.kind == ValueKind::Path
    }

    /// Returns whether the option says who sends requests, and nothing about where they go and what is stored there.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::store::known_options("s3");
    /// let is_credential = |name| options.iter().any(|option| option.name == name && option.is_credential());
    /// assert!(is_credential("access_key_id") && !is_credential("endpoint"));
    /// ```
    pub fn is_credential(&self) -> bool {
        is_credential(self.name)
    }

    /// Returns what is wrong with a value, as the end of a sentence that begins with the name of the option. Does not
    /// repeat the value.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::store::known_options("s3");
    /// let region = options.iter().find(|option| option.name == "region").ok_or("no region")?;
    /// assert_eq!(region.problem("eu-west-1"), None);
    /// assert!(region.problem("eu/west").is_some());
    /// # Ok::<(), &str>(())
    /// ```
    pub fn problem(&self, value: &str) -> Option<String> {
        self.kind.problem(value)
    }
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

const COMMON: [KnownOption; 9] = [
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
    plain(
        "storage_class",
        ValueKind::Name,
        &[],
        "storage class of the data files, such as STANDARD_IA, NEARLINE or cool; default: that of the bucket",
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

pub(super) fn options_of(provider: Provider) -> impl Iterator<Item = &'static KnownOption> {
    static COMMON_OPTIONS: &[KnownOption] = &COMMON;
    let own: &'static [KnownOption] = match provider {
        Provider::S3 => &S3,
        Provider::Gcs => &GCS,
        Provider::Azure => &AZURE,
    };
    own.iter().chain(COMMON_OPTIONS)
}
