//! Google Cloud Storage: makes a client from options. No operations.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::path::Path;
use url::Url;

use super::credentials::{CheckedCredentials, Provider, Usage, read, sign_with_bearer};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::http::connector::Connector;
use crate::store::http::multipart::{AuthorizedRequests, ReportError};
use crate::store::object::{BucketClient, ListUploads, UnlistedUploads};
use crate::store::options::Settings;
use crate::store::providers::{Bucket, cannot_set_up, check_variable, multipart_uploads, retries, server};
use crate::store::value::{ValueKind, server_problem};

const BASE_URL: &str = "https://storage.googleapis.com";

const CREDENTIALS_HINT: &str =
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run gcloud auth application-default login";

pub(in crate::store) fn open(bucket: &Bucket<'_>, mut settings: Settings) -> Result<BucketClient> {
    settings.check_encrypted("base_url")?;
    let given = settings.clone();
    check_keys(&mut settings)?;
    // The client reads these itself, and makes URLs of them.
    ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"]
        .into_iter()
        .try_for_each(|name| check_variable(name, ValueKind::Authority))?;
    let connector = Connector::new(&settings, CREDENTIALS_HINT, bucket.twice(&settings, "base_url"))?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket.name)
        .with_retry(retries(&settings)?)
        .with_http_connector(connector.clone());
    for (name, value) in settings.for_client() {
        let name = format!("google_{name}").parse().map_err(|cause| cannot_set_up(bucket, &connector, &cause))?;
        builder = builder.with_config(name, value);
    }
    let build = |builder: GoogleCloudStorageBuilder| {
        builder.build().map_err(|cause| {
            let error = cannot_set_up(bucket, &connector, &cause);
            let keys = KEYS.into_iter().filter(|name| settings.get(name).is_some());
            let named: Vec<String> = keys.map(|name| settings.describe(name)).collect();
            match named.is_empty() {
                true => error,
                false => {
                    SnapshotError::new(error.kind(), format!("{}; check {}", error.message(), named.join(" and ")))
                }
            }
        })
    };
    let credentials = build(builder.clone())?.credentials().clone();
    let read_again = {
        let (builder, connector) = (builder.clone(), connector.clone());
        move || credentials_again(&given, builder.clone(), &connector)
    };
    let usage = Usage {
        values: |credential: &GcpCredential| vec![credential.bearer.as_str()],
        sign: |credential, request| sign_with_bearer(&credential.bearer, request),
    };
    let checked = Arc::new(CheckedCredentials::new(credentials, None, usage, read_again));
    builder = builder.with_credentials(checked.clone()).with_http_connector(connector.with_renewal(checked));
    let client = build(builder)?;
    let base = settings.get("base_url").unwrap_or(BASE_URL).trim_end_matches('/');
    let requests = BearerRequests { client: client.clone(), bucket_url: format!("{base}/{}", bucket.name) };
    let uploads: Arc<dyn ListUploads> = match settings.flag("skip_signature")? {
        true => Arc::new(UnlistedUploads),
        false => multipart_uploads(&connector, requests).map_err(|cause| cannot_set_up(bucket, &connector, &cause))?,
    };
    let server = server(&settings, "base_url", "storage.googleapis.com");
    Ok(BucketClient { objects: connector.redacted(client), server, uploads })
}

/// Reads the key again, and gets a new token with it.
fn credentials_again(
    given: &Settings,
    builder: GoogleCloudStorageBuilder,
    connector: &Connector,
) -> Result<Provider<GcpCredential>> {
    let mut settings = given.clone();
    check_keys(&mut settings)?;
    connector.hide(settings.secrets());
    let built = builder.build().map_err(|cause| {
        SnapshotError::new(ErrorKind::PermissionDenied, connector.scrub(&cause.to_string())).with_source(cause)
    });
    Ok(built?.credentials().clone())
}

/// Requests with the token of the client.
struct BearerRequests {
    client: GoogleCloudStorage,
    bucket_url: String,
}

#[async_trait]
impl AuthorizedRequests for BearerRequests {
    async fn get(&self, path: &Path, query: &[(&str, &str)]) -> Result<HttpRequest, ReportError> {
        let mut url: Url = self.bucket_url.parse()?;
        url.path_segments_mut().map_err(|()| "no path")?.extend(path.parts().map(|part| part.as_ref().to_owned()));
        url.query_pairs_mut().extend_pairs(query);
        let credential = self.client.credentials().get_credential().await?;
        let bearer = format!("Bearer {}", credential.bearer);
        Ok(http::Request::get(url.as_str()).header(AUTHORIZATION, bearer).body(HttpRequestBody::empty())?)
    }
}

/// Options with the key of an account, in a file or as text.
const KEYS: [&str; 3] = ["service_account", "service_account_key", "application_credentials"];

/// Checks what the keys of accounts contain: JSON whose members are read, and the URL of a server that one may name.
fn check_keys(settings: &mut Settings) -> Result<()> {
    for option in KEYS {
        let Some(value) = settings.get(option).map(str::to_owned) else { continue };
        let (text, file) = match option {
            "service_account_key" => (value, None),
            _ => (read(value.as_ref(), option)?, Some(value)),
        };
        let is_server_given = settings.get("base_url").is_some() || !settings.is_only_credential(option);
        match read_key(&text, is_server_given) {
            Ok(secrets) => settings.hide(secrets),
            Err(problem) => {
                let what = if file.is_some() { "names a file that " } else { "" };
                let error = settings.refused(option, &format!("{what}{problem}"));
                return Err(file.into_iter().fold(error, SnapshotError::with_key));
            }
        }
    }
    Ok(())
}

/// Returns the secrets in a key, or what is wrong with it. It may name a server only if that is given elsewhere, or if the
/// key may say where requests go.
fn read_key(text: &str, is_server_given: bool) -> Result<Vec<String>, String> {
    if let Some(problem) = ValueKind::Json.problem(text) {
        return Err(problem);
    }
    let key: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let member = |name: &str| key.get(name).and_then(|value| value.as_str());
    if let Some(problem) = member("gcs_base_url").and_then(|server| server_problem(server, false)) {
        return Err(format!("has a gcs_base_url that {problem}"));
    }
    if member("gcs_base_url").is_some() && !is_server_given {
        return Err(
            "has a gcs_base_url, but only says who signs in; set base_url to the server that is meant".to_owned()
        );
    }
    let secrets = ["private_key", "client_secret", "refresh_token"];
    Ok(secrets.into_iter().filter_map(member).map(str::to_owned).collect())
}
