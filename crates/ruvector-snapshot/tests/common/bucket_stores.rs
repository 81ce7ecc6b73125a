//! Stores in the buckets of the in-process servers.

use std::sync::Arc;

use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, TransferConfig, open};
use test_servers::{GcsServer, S3Server};

pub fn s3_store(server: &S3Server, prefix: &str) -> Arc<dyn SnapshotStore> {
    s3_store_with(server, prefix, TransferConfig::default())
}

pub fn s3_store_with(server: &S3Server, prefix: &str, transfers: TransferConfig) -> Arc<dyn SnapshotStore> {
    let options = [
        ("access_key_id", S3Server::ACCESS_KEY.to_owned()),
        ("secret_access_key", S3Server::SECRET_KEY.to_owned()),
        ("endpoint", server.endpoint()),
        ("allow_http", "true".to_owned()),
    ];
    open_bucket(&format!("s3://{}/{prefix}", S3Server::BUCKET), options, transfers)
}

pub fn gcs_store(server: &GcsServer, prefix: &str) -> Arc<dyn SnapshotStore> {
    let options = [
        ("bearer_token", GcsServer::TOKEN.to_owned()),
        ("base_url", server.endpoint()),
        ("allow_http", "true".to_owned()),
    ];
    open_bucket(&format!("gs://{}/{prefix}", GcsServer::BUCKET), options, TransferConfig::default())
}

fn open_bucket<const N: usize>(
    location: &str,
    options: [(&'static str, String); N],
    transfers: TransferConfig,
) -> Arc<dyn SnapshotStore> {
    let location: Location = location.parse().unwrap();
    open(&location, &StoreConfig::default().options(options.into_iter().collect()).transfers(transfers)).unwrap()
}
