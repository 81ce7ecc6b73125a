//! Google Cloud Storage: from settings to a client. No operations.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::bucket::{Bucket, cannot_set_up, retries};
use super::options::Settings;
use super::wire::Wiring;
use crate::error::Result;

const CREDENTIALS_HINT: &str =
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run gcloud auth application-default login";

pub(super) fn open(bucket: &Bucket<'_>, settings: Settings) -> Result<Arc<dyn ObjectStore>> {
    settings.check_url("base_url")?;
    let wiring = Wiring::new(&settings, CREDENTIALS_HINT)?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket.name)
        .with_retry(retries(&settings)?)
        .with_http_connector(wiring.clone());
    for (name, value) in settings.of_client() {
        let name = format!("google_{name}").parse().map_err(|cause| cannot_set_up(bucket, &wiring, &cause))?;
        builder = builder.with_config(name, value);
    }
    let client = builder.build().map_err(|cause| cannot_set_up(bucket, &wiring, &cause))?;
    Ok(Arc::new(client))
}
