//! Google Cloud Storage: makes a client from options. No operations.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::gcp::GoogleCloudStorageBuilder;

use crate::error::Result;
use crate::store::http::connector::Connector;
use crate::store::options::Settings;
use crate::store::providers::{Bucket, cannot_set_up, retries};

const CREDENTIALS_HINT: &str =
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run gcloud auth application-default login";

pub(in crate::store) fn open(bucket: &Bucket<'_>, settings: Settings) -> Result<Arc<dyn ObjectStore>> {
    settings.check_url("base_url")?;
    let connector = Connector::new(&settings, CREDENTIALS_HINT)?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket.name)
        .with_retry(retries(&settings)?)
        .with_http_connector(connector.clone());
    for (name, value) in settings.for_client() {
        let name = format!("google_{name}").parse().map_err(|cause| cannot_set_up(bucket, &connector, &cause))?;
        builder = builder.with_config(name, value);
    }
    let client = builder.build().map_err(|cause| cannot_set_up(bucket, &connector, &cause))?;
    Ok(Arc::new(client))
}
