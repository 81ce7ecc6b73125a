//! Azure Blob Storage: makes a client from options. No operations.

use std::sync::Arc;

use object_store::azure::{AzureCredential, MicrosoftAzureBuilder};
use object_store::client::HttpRequest;

use super::credentials::{CheckedCredentials, Provider, TokenFile, Usage, sign_with_bearer};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::http::connector::Connector;
use crate::store::object::{BucketClient, UnlistedUploads};
use crate::store::options::Settings;
use crate::store::providers::{Bucket, cannot_set_up, check_variable, retries, server};
use crate::store::value::ValueKind;

const CREDENTIALS_HINT: &str =
    "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with a tenant and a secret";

/// The address of the emulator, which the client reads itself.
const EMULATOR_VARIABLE: &str = "AZURITE_BLOB_STORAGE_URL";

pub(in crate::store) fn open(bucket: &Bucket<'_>, settings: Settings) -> Result<BucketClient> {
    settings.check_encrypted("endpoint")?;
    let is_emulator = settings.flag("use_emulator")?;
    // The client reads these itself, and makes a URL and a header of them.
    check_variable(EMULATOR_VARIABLE, ValueKind::Server)?;
    check_variable("IDENTITY_HEADER", ValueKind::Header)?;
    if is_emulator && settings.is_whole() && std::env::var_os(EMULATOR_VARIABLE).is_some() {
        let message = format!(
            "the environment variable {EMULATOR_VARIABLE} is set, and with {} it would lead to another server: of the \
             environment, only credentials complete the options of this store; unset {EMULATOR_VARIABLE}, or write the options \
             endpoint, account_name and allow_http instead of use_emulator",
            settings.describe("use_emulator")
        );
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    }
    let account = settings.get("account_name");
    if account.is_none() && !is_emulator {
        let message = "az:// needs the name of the storage account; set AZURE_STORAGE_ACCOUNT_NAME or account_name";
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    }
    let connector = Connector::new(&settings, CREDENTIALS_HINT, bucket.twice(&settings, "endpoint"))?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(bucket.name)
        .with_allow_http(is_emulator || settings.flag("allow_http")?)
        .with_retry(retries(&settings)?)
        .with_http_connector(connector.clone());
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    for (name, value) in settings.for_client() {
        let name = name.parse().map_err(|cause| cannot_set_up(bucket, &connector, &cause))?;
        builder = builder.with_config(name, value);
    }
    let mut token_file = None;
    if let Some((file, path)) = TokenFile::new(&settings, "federated_token_file") {
        builder = builder.with_federated_token_file(path);
        token_file = Some(file);
    }
    let build =
        |builder: MicrosoftAzureBuilder| builder.build().map_err(|cause| cannot_set_up(bucket, &connector, &cause));
    let credentials = build(builder.clone())?.credentials().clone();
    let read_again = {
        let (builder, connector) = (builder.clone(), connector.clone());
        move || credentials_again(builder.clone(), &connector)
    };
    let usage = Usage { values: sent_values, sign };
    let checked = Arc::new(CheckedCredentials::new(credentials, token_file, usage, read_again));
    builder = builder.with_credentials(checked.clone()).with_http_connector(connector.with_renewal(checked));
    // An address of the provider begins with the account.
    let server = server(&settings, "endpoint", "blob.core.windows.net");
    let account = settings.get("account_name").unwrap_or_default();
    let server = if is_emulator { "emulator".to_owned() } else { format!("{account}@{server}") };
    let objects = connector.redacted(build(builder)?);
    Ok(BucketClient { objects, server, uploads: Arc::new(UnlistedUploads) })
}

/// Gets a new token.
fn credentials_again(builder: MicrosoftAzureBuilder, connector: &Connector) -> Result<Provider<AzureCredential>> {
    let built = builder.build().map_err(|cause| {
        SnapshotError::new(ErrorKind::PermissionDenied, connector.scrub(&cause.to_string())).with_source(cause)
    });
    Ok(built?.credentials().clone())
}

/// The other credentials are options, which do not change.
fn sign(credential: &AzureCredential, request: &mut HttpRequest) -> bool {
    match credential {
        AzureCredential::BearerToken(token) => sign_with_bearer(token, request),
        AzureCredential::AccessKey(_) | AzureCredential::SASToken(_) => false,
    }
}

fn sent_values(credential: &AzureCredential) -> Vec<&str> {
    match credential {
        AzureCredential::BearerToken(token) => vec![token],
        // They are sent as base64, and encoded.
        AzureCredential::AccessKey(_) | AzureCredential::SASToken(_) => Vec::new(),
    }
}
