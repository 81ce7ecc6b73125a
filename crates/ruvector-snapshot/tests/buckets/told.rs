//! What a user is told when a bucket cannot be used: the kind of the error, and words that name the mistake and what
//! mends it.

use std::path::{Path, PathBuf};

use ruvector_snapshot::store::{Location, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotError, SnapshotManager};
use test_servers::{GcsServer, S3Server};

use crate::canned::Canned;
use crate::common::Place;
use crate::stores::{SERVERS, Server, config, create, make_small, whole_text};

const ID: &str = "20260102T030405006Z-0123456789abcdef";

#[track_caller]
fn assert_told(error: &SnapshotError, kind: ErrorKind, words: &[&str]) {
    let shown = error.to_string();
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in: {shown}");
    }
    assert!(!shown.ends_with('.'), "{shown}");
    assert!(!whole_text(error).contains("test-servers-"), "{error:?}");
}

/// The error of every verb.
async fn every_verb(manager: &SnapshotManager, place: &Place) -> Vec<SnapshotError> {
    let path = place.path("verbs.db");
    if !path.exists() {
        make_small(place, "verbs.db", 3);
    }
    vec![
        create(manager, &path, "new").await.unwrap_err(),
        manager.list().await.unwrap_err(),
        manager.get_snapshot(ID).await.unwrap_err(),
        manager.verify_snapshot(ID).await.unwrap_err(),
        manager.restore_snapshot(ID).await.map(drop).unwrap_err(),
        manager.restore_snapshot_to(ID, place.restored(), &RestoreOptions::default()).await.unwrap_err(),
        manager.delete_snapshot(ID).await.unwrap_err(),
        manager.cleanup_old_snapshots(1).await.unwrap_err(),
        manager.check_store().await.unwrap_err(),
    ]
}

async fn assert_every_verb_told(server: &Server, more: &[(&str, &str)], kind: ErrorKind, words: &[&str]) {
    let place = Place::new();
    for error in every_verb(&server.manager(&place, more), &place).await {
        assert_told(&error, kind, words);
    }
    place.assert_nothing_restored();
}

// ---- what the server says

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing() {
    let place = Place::new();
    for start in SERVERS {
        let server = start();
        let scheme = if server.is_s3() { "s3" } else { "gs" };
        let location: Location = format!("{scheme}://no-such-bucket/backups").parse().unwrap();
        let store = open(&location, &server.config(&[])).unwrap();
        let manager = SnapshotManager::with_store(config(&place), store).unwrap();
        for error in every_verb(&manager, &place).await {
            assert_told(&error, ErrorKind::Invalid, &["no such bucket", "no-such-bucket", "check its name"]);
        }
        place.assert_nothing_restored();
        assert_eq!(server.open_uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_server_does_not_take() {
    let server = Server::s3();
    let wrong = [("secret_access_key", "not-the-secret")];
    let words = ["the secret does not belong to the access key", "the clock of this machine"];
    assert_every_verb_told(&server, &wrong, ErrorKind::Denied, &words).await;
    let unknown = [("access_key_id", "AKIDUNKNOWN")];
    assert_every_verb_told(&server, &unknown, ErrorKind::Denied, &["AWS_ACCESS_KEY_ID"]).await;
    let wrong = [("bearer_token", "not-the-token")];
    assert_every_verb_told(&Server::gcs(), &wrong, ErrorKind::Denied, &["credentials"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_another_region() {
    let xml = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The region 'us-east-1' is wrong</Message>\
               <Region>eu-central-1</Region></Error>";
    for server in [
        Canned::answering("301 Moved Permanently", "x-amz-bucket-region: eu-central-1\r\n", ""),
        Canned::answering("400 Bad Request", "x-amz-bucket-region: eu-central-1\r\n", ""),
        Canned::answering("400 Bad Request", "", xml),
    ] {
        let error = server.s3(&[]).get("key", 1).await.unwrap_err();
        assert_told(&error, ErrorKind::Invalid, &["key: ", "eu-central-1", "set region=eu-central-1", "AWS_REGION"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_expired_and_other_refusals() {
    let refusals = [
        ("403 Forbidden", "ExpiredToken", ErrorKind::Denied, "expired; get new credentials"),
        ("400 Bad Request", "ExpiredToken", ErrorKind::Denied, "expired; get new credentials"),
        ("403 Forbidden", "AccessDenied", ErrorKind::Denied, "do not allow this"),
        ("403 Forbidden", "RequestTimeTooSkewed", ErrorKind::Denied, "the clock of this machine is wrong"),
        ("507 Insufficient Storage", "XMinioStorageFull", ErrorKind::NoSpace, "make room"),
    ];
    for (status, code, kind, words) in refusals {
        let server =
            Canned::answering(status, "", &format!("<Error><Code>{code}</Code><Message>No.</Message></Error>"));
        let store = server.s3(&[]);
        assert_told(&store.get("key", 1).await.unwrap_err(), kind, &["key: ", words, code]);
        assert_told(&store.create("key", "x".into()).await.unwrap_err(), kind, &["key: ", words, code]);
        assert_told(&store.delete("key").await.unwrap_err(), kind, &["key: ", words, code]);
    }
}

// ---- where nobody answers

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_listens() {
    let server = Canned::answering("200 OK", "", "");
    let address = server.address();
    drop(server);
    let endpoint = format!("http://{address}");
    for start in SERVERS {
        let server = start();
        let option = if server.is_s3() { "endpoint" } else { "base_url" };
        let error = server.open(&[(option, &endpoint)]).get("key", 1).await.unwrap_err();
        assert_told(&error, ErrorKind::Unavailable, &["cannot be reached", &address, "check the address"]);
    }
}

// ---- what is wrong before anything is sent

#[track_caller]
fn refused(location: &str, options: &[(&str, &str)]) -> SnapshotError {
    let options: StoreOptions = options.iter().copied().collect();
    open(&location.parse().unwrap(), &StoreConfig { options, ..StoreConfig::default() }).unwrap_err()
}

#[track_caller]
fn assert_refused(location: &str, options: &[(&str, &str)], words: &[&str]) {
    // Files of the AWS tools that this machine may have are left alone.
    let files = [("shared_credentials_file", "/dev/null"), ("config_file", "/dev/null")];
    let files =
        files.into_iter().filter(|(name, _)| location.starts_with("s3:") && !options.iter().any(|(n, _)| n == name));
    let options: Vec<_> = options.iter().copied().chain(files).collect();
    assert_told(&refused(location, &options), ErrorKind::Invalid, words);
}

#[test]
fn options_that_are_wrong() {
    let s3 = "s3://bucket";
    assert_refused(s3, &[("regoin", "x")], &["s3:// has no option \"regoin\"", "region", "endpoint", "retry_timeout"]);
    assert_refused("gs://bucket", &[("region", "x")], &["gs:// has no option \"region\"", "bearer_token"]);
    assert_refused(s3, &[("region", "a"), ("AWS_REGION", "b")], &["AWS_REGION and region", "two values"]);
    assert_refused(s3, &[("endpoint", "http://127.0.0.1:9")], &["endpoint", "allow_http=true"]);
    assert_refused("gs://bucket", &[("base_url", "http://127.0.0.1:9")], &["base_url", "allow_http=true"]);
    assert_refused(s3, &[("endpoint", "127.0.0.1:9")], &["endpoint must begin with https://"]);
    let with_password = [("endpoint", "https://user:hunter2-hunter2@127.0.0.1:9")];
    assert_refused(s3, &with_password, &["no user and no password"]);
    assert!(!whole_text(&refused(s3, &with_password)).contains("hunter2"));
    assert_refused(s3, &[("access_key_id", "A")], &["AWS_SECRET_ACCESS_KEY is not"]);
    assert_refused(s3, &[("secret_access_key", "A")], &["AWS_ACCESS_KEY_ID is not"]);
    assert_refused(s3, &[("session_token", "A")], &["AWS_SESSION_TOKEN is set"]);
    assert_refused(s3, &[("allow_http", "maybe")], &["allow_http must be true or false"]);
    assert_refused(s3, &[("stall_timeout", "soon")], &["stall_timeout must be a time"]);
    assert_refused(s3, &[("checksum_algorithm", "md5")], &["sha256, crc64nvme or none"]);
    assert_refused("az://container", &[], &["az://", "AZURE_STORAGE_ACCOUNT_NAME"]);
    assert_refused("/tmp", &[("region", "x")], &["takes no options"]);
    assert_refused("memory://", &[("region", "x")], &["takes no options"]);
}

#[test]
fn the_same_option_twice_with_one_value_is_no_mistake() {
    let options =
        [("region", "a"), ("AWS_REGION", "a"), ("shared_credentials_file", "/dev/null"), ("config_file", "/dev/null")];
    let options: StoreOptions = options.into_iter().collect();
    open(&"s3://bucket".parse().unwrap(), &StoreConfig { options, ..StoreConfig::default() }).unwrap();
}

#[test]
fn certificates_that_are_none() {
    let place = Place::new();
    let path = place.path("ca.pem").to_str().unwrap().to_owned();
    let options = [("ca_certificate", path.as_str())];
    let missing = refused("gs://bucket", &options);
    assert_told(&missing, ErrorKind::NotFound, &[&path, "ca_certificate"]);
    for text in ["no certificate", "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n", ""] {
        std::fs::write(&path, text).unwrap();
        assert_refused("gs://bucket", &options, &[&path, "PEM"]);
    }
}

// ---- the files of the AWS tools

/// Writes both files, and gives the options that name them.
fn profiles(place: &Place, credentials: &str, config: &str) -> (PathBuf, PathBuf) {
    let paths = (place.path("credentials"), place.path("config"));
    std::fs::write(&paths.0, credentials).unwrap();
    std::fs::write(&paths.1, config).unwrap();
    paths
}

fn named<'a>(paths: &'a (PathBuf, PathBuf), profile: &'a str) -> [(&'static str, &'a str); 3] {
    let text = |path: &'a Path| path.to_str().unwrap();
    [("shared_credentials_file", text(&paths.0)), ("config_file", text(&paths.1)), ("profile", profile)]
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_profile_open_the_bucket() {
    let (server, place) = (Server::s3(), Place::new());
    let (id, secret, endpoint) = (S3Server::ACCESS_KEY, S3Server::SECRET_KEY, server.endpoint());
    let credentials = format!("[work]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let settings =
        format!("[default]\nregion=nowhere\n[profile work]\nregion = eu-west-1\nendpoint_url = {endpoint}\n");
    let paths = profiles(&place, &credentials, &settings);
    let options: StoreOptions = named(&paths, "work").into_iter().chain([("allow_http", "true")]).collect();
    let store = open(&server.location(), &StoreConfig { options, ..StoreConfig::default() }).unwrap();
    store.create("key", "bytes".into()).await.unwrap();
    let request = server.wire().requests().remove(0);
    assert!(request.header("authorization").unwrap().contains("/eu-west-1/s3/"), "{request:?}");
}

#[test]
fn profiles_that_cannot_be_used() {
    let place = Place::new();
    let sso =
        "[profile sso]\nsso_session = my\nregion = eu-west-1\n[profile role]\nrole_arn = arn\nsource_profile = x\n";
    let paths = profiles(&place, "[default]\naws_access_key_id = half\n", sso);
    assert_refused("s3://bucket", &named(&paths, "missing"), &["no profile \"missing\"", "AWS_PROFILE"]);
    let command = "aws configure export-credentials --profile sso";
    assert_refused("s3://bucket", &named(&paths, "sso"), &["\"sso\"", "sign-in", command]);
    assert_refused("s3://bucket", &named(&paths, "role"), &["\"role\"", "export-credentials --profile role"]);
    assert_refused("s3://bucket", &named(&paths, "default"), &["AWS_SECRET_ACCESS_KEY is not"]);
    let gone = [("shared_credentials_file", "/no/such/file")];
    assert_told(&refused("s3://bucket", &gone), ErrorKind::NotFound, &["/no/such/file", "shared_credentials_file"]);
}

/// The bucket of a server is named in every error of it, and `Display` of the store says the same.
#[test]
fn a_store_is_called_by_its_url() {
    let location = format!("gs://{}/backups", GcsServer::BUCKET);
    assert_eq!(Server::gcs().open(&[]).to_string(), location);
}
