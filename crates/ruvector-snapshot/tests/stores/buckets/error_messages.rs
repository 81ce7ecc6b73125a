//! Errors about a bucket that cannot be used: the kind, and a text that names the mistake and the remedy.

use std::path::{Path, PathBuf};

use ruvector_snapshot::store::{Location, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotError, SnapshotManager};
use test_fixtures::{TestDir, create_full};
use test_servers::{GcsServer, S3Server};

use super::fixture::{SERVERS, Server, full_text, make_small, uncompressed_config};
use super::stub_server::StubServer;

const ID: &str = "20260102T030405006Z-0123456789abcdef";

#[track_caller]
fn assert_error(error: &SnapshotError, kind: ErrorKind, words: &[&str]) {
    let shown = error.to_string();
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in: {shown}");
    }
    assert!(!shown.ends_with('.'), "{shown}");
    assert!(!full_text(error).contains("test-servers-"), "{error:?}");
}

/// Returns the error of every operation.
async fn error_of_every_operation(manager: &SnapshotManager, dir: &TestDir) -> Vec<SnapshotError> {
    let path = dir.path("operations.db");
    if !path.exists() {
        make_small(dir, "operations.db", 3);
    }
    vec![
        create_full(manager, &path, "new").await.unwrap_err(),
        manager.list().await.unwrap_err(),
        manager.get_snapshot(ID).await.unwrap_err(),
        manager.verify_snapshot(ID).await.unwrap_err(),
        manager.restore_snapshot(ID).await.map(drop).unwrap_err(),
        manager.restore_snapshot_to(ID, dir.restored(), &RestoreOptions::default()).await.unwrap_err(),
        manager.delete_snapshot(ID).await.unwrap_err(),
        manager.cleanup_old_snapshots(1).await.unwrap_err(),
        manager.check_store().await.unwrap_err(),
    ]
}

async fn assert_every_operation_fails(server: &Server, more: &[(&str, &str)], kind: ErrorKind, words: &[&str]) {
    let dir = TestDir::new();
    for error in error_of_every_operation(&server.manager(&dir, more), &dir).await {
        assert_error(&error, kind, words);
    }
    dir.assert_nothing_restored();
}

// ---- errors of the server

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_named_by_every_operation() {
    let dir = TestDir::new();
    for start in SERVERS {
        let server = start();
        let scheme = if server.is_s3() { "s3" } else { "gs" };
        let location: Location = format!("{scheme}://no-such-bucket/backups").parse().unwrap();
        let store = open(&location, &server.config(&[])).unwrap();
        let manager = SnapshotManager::with_store(uncompressed_config(&dir), store).unwrap();
        for error in error_of_every_operation(&manager, &dir).await {
            assert_error(&error, ErrorKind::InvalidInput, &["no such bucket", "no-such-bucket", "check its name"]);
        }
        dir.assert_nothing_restored();
        assert_eq!(server.open_uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_permission_denied() {
    let server = Server::s3();
    let wrong = [("secret_access_key", "not-the-secret")];
    let words = ["the secret does not belong to the access key", "the clock of this machine"];
    assert_every_operation_fails(&server, &wrong, ErrorKind::PermissionDenied, &words).await;
    let unknown = [("access_key_id", "AKIDUNKNOWN")];
    assert_every_operation_fails(&server, &unknown, ErrorKind::PermissionDenied, &["AWS_ACCESS_KEY_ID"]).await;
    let wrong = [("bearer_token", "not-the-token")];
    assert_every_operation_fails(&Server::gcs(), &wrong, ErrorKind::PermissionDenied, &["credentials"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_another_region_names_the_region() {
    let xml = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The region 'us-east-1' is wrong</Message>\
               <Region>eu-central-1</Region></Error>";
    for server in [
        StubServer::responding("301 Moved Permanently", "x-amz-bucket-region: eu-central-1\r\n", ""),
        StubServer::responding("400 Bad Request", "x-amz-bucket-region: eu-central-1\r\n", ""),
        StubServer::responding("400 Bad Request", "", xml),
    ] {
        let error = server.s3(&[]).get("key", 1).await.unwrap_err();
        assert_error(
            &error,
            ErrorKind::InvalidInput,
            &["key: ", "eu-central-1", "set region=eu-central-1", "AWS_REGION"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_server_are_explained() {
    let refusals = [
        ("403 Forbidden", "ExpiredToken", ErrorKind::PermissionDenied, "expired; get new credentials"),
        ("400 Bad Request", "ExpiredToken", ErrorKind::PermissionDenied, "expired; get new credentials"),
        ("403 Forbidden", "AccessDenied", ErrorKind::PermissionDenied, "do not allow this"),
        ("403 Forbidden", "RequestTimeTooSkewed", ErrorKind::PermissionDenied, "the clock of this machine is wrong"),
        ("507 Insufficient Storage", "XMinioStorageFull", ErrorKind::StorageFull, "make room"),
    ];
    for (status, code, kind, words) in refusals {
        let server =
            StubServer::responding(status, "", &format!("<Error><Code>{code}</Code><Message>No.</Message></Error>"));
        let store = server.s3(&[]);
        assert_error(&store.get("key", 1).await.unwrap_err(), kind, &["key: ", words, code]);
        assert_error(&store.create("key", "x".into()).await.unwrap_err(), kind, &["key: ", words, code]);
        assert_error(&store.delete("key").await.unwrap_err(), kind, &["key: ", words, code]);
    }
}

// ---- unreachable servers

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_address_is_named() {
    let server = StubServer::responding("200 OK", "", "");
    let address = server.address();
    drop(server);
    let endpoint = format!("http://{address}");
    for start in SERVERS {
        let server = start();
        let option = if server.is_s3() { "endpoint" } else { "base_url" };
        let error = server.open(&[(option, &endpoint)]).get("key", 1).await.unwrap_err();
        assert_error(&error, ErrorKind::Unavailable, &["cannot be reached", &address, "check the address"]);
    }
}

// ---- invalid options

#[track_caller]
fn open_error(location: &str, options: &[(&str, &str)]) -> SnapshotError {
    let options: StoreOptions = options.iter().copied().collect();
    open(&location.parse().unwrap(), &StoreConfig::default().options(options)).unwrap_err()
}

#[track_caller]
fn assert_refused(location: &str, options: &[(&str, &str)], words: &[&str]) {
    // Ignores the files of the AWS tools on this machine.
    let files = [("shared_credentials_file", "/dev/null"), ("config_file", "/dev/null")];
    let files =
        files.into_iter().filter(|(name, _)| location.starts_with("s3:") && !options.iter().any(|(n, _)| n == name));
    let options: Vec<_> = options.iter().copied().chain(files).collect();
    assert_error(&open_error(location, &options), ErrorKind::InvalidInput, words);
}

#[test]
fn invalid_options_are_refused_with_a_remedy() {
    let s3 = "s3://bucket";
    assert_refused(s3, &[("regoin", "x")], &["s3:// has no option \"regoin\"", "region", "endpoint", "retry_timeout"]);
    assert_refused("gs://bucket", &[("region", "x")], &["gs:// has no option \"region\"", "bearer_token"]);
    assert_refused(s3, &[("region", "a"), ("AWS_REGION", "b")], &["AWS_REGION and region", "two values"]);
    assert_refused(s3, &[("endpoint", "http://127.0.0.1:9")], &["endpoint", "allow_http=true"]);
    assert_refused("gs://bucket", &[("base_url", "http://127.0.0.1:9")], &["base_url", "allow_http=true"]);
    assert_refused(s3, &[("endpoint", "127.0.0.1:9")], &["endpoint must begin with https://"]);
    let with_password = [("endpoint", "https://user:hunter2-hunter2@127.0.0.1:9")];
    assert_refused(s3, &with_password, &["no user and no password"]);
    assert!(!full_text(&open_error(s3, &with_password)).contains("hunter2"));
    assert_refused(s3, &[("access_key_id", "A")], &["secret_access_key (AWS_SECRET_ACCESS_KEY) is not"]);
    assert_refused(s3, &[("secret_access_key", "A")], &["access_key_id (AWS_ACCESS_KEY_ID) is not"]);
    assert_refused(s3, &[("session_token", "A")], &["session_token (AWS_SESSION_TOKEN) is set"]);
    assert_refused(s3, &[("allow_http", "maybe")], &["allow_http must be true or false"]);
    assert_refused(s3, &[("stall_timeout", "soon")], &["stall_timeout must be a duration"]);
    assert_refused(s3, &[("checksum_algorithm", "md5")], &["sha256, crc64nvme or none"]);
    assert_refused("az://container", &[], &["az://", "AZURE_STORAGE_ACCOUNT_NAME"]);
    assert_refused("/tmp", &[("region", "x")], &["takes no options"]);
    assert_refused("memory://", &[("region", "x")], &["takes no options"]);
}

#[test]
fn an_option_may_be_set_twice_to_the_same_value() {
    let options =
        [("region", "a"), ("AWS_REGION", "a"), ("shared_credentials_file", "/dev/null"), ("config_file", "/dev/null")];
    let options: StoreOptions = options.into_iter().collect();
    open(&"s3://bucket".parse().unwrap(), &StoreConfig::default().options(options)).unwrap();
}

#[test]
fn invalid_certificates_are_refused() {
    let dir = TestDir::new();
    let path = dir.path("ca.pem").to_str().unwrap().to_owned();
    let options = [("ca_certificate", path.as_str())];
    let missing = open_error("gs://bucket", &options);
    assert_error(&missing, ErrorKind::NotFound, &[&path, "ca_certificate"]);
    for text in ["no certificate", "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n", ""] {
        std::fs::write(&path, text).unwrap();
        assert_refused("gs://bucket", &options, &[&path, "PEM"]);
    }
}

// ---- the files of the AWS tools

/// Writes the two files of the AWS tools. Returns their paths.
fn write_profiles(dir: &TestDir, credentials: &str, config: &str) -> (PathBuf, PathBuf) {
    let paths = (dir.path("credentials"), dir.path("config"));
    std::fs::write(&paths.0, credentials).unwrap();
    std::fs::write(&paths.1, config).unwrap();
    paths
}

fn profile_options<'a>(paths: &'a (PathBuf, PathBuf), profile: &'a str) -> [(&'static str, &'a str); 3] {
    let text = |path: &'a Path| path.to_str().unwrap();
    [("shared_credentials_file", text(&paths.0)), ("config_file", text(&paths.1)), ("profile", profile)]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_of_a_profile_open_the_bucket() {
    let (server, dir) = (Server::s3(), TestDir::new());
    let (id, secret, endpoint) = (S3Server::ACCESS_KEY, S3Server::SECRET_KEY, server.endpoint());
    let credentials = format!("[work]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let settings =
        format!("[default]\nregion=nowhere\n[profile work]\nregion = eu-west-1\nendpoint_url = {endpoint}\n");
    let paths = write_profiles(&dir, &credentials, &settings);
    let options: StoreOptions = profile_options(&paths, "work").into_iter().chain([("allow_http", "true")]).collect();
    let store = open(&server.location(), &StoreConfig::default().options(options)).unwrap();
    store.create("key", "bytes".into()).await.unwrap();
    let request = server.wire().requests().remove(0);
    assert!(request.header("authorization").unwrap().contains("/eu-west-1/s3/"), "{request:?}");
}

#[test]
fn unusable_profiles_are_refused_with_a_remedy() {
    let dir = TestDir::new();
    let sso =
        "[profile sso]\nsso_session = my\nregion = eu-west-1\n[profile role]\nrole_arn = arn\nsource_profile = x\n";
    let paths = write_profiles(&dir, "[default]\naws_access_key_id = half\n", sso);
    assert_refused("s3://bucket", &profile_options(&paths, "missing"), &["no profile \"missing\"", "AWS_PROFILE"]);
    let command = "aws configure export-credentials --profile sso";
    assert_refused("s3://bucket", &profile_options(&paths, "sso"), &["\"sso\"", "sign-in", command]);
    assert_refused("s3://bucket", &profile_options(&paths, "role"), &["\"role\"", "export-credentials --profile role"]);
    assert_refused(
        "s3://bucket",
        &profile_options(&paths, "default"),
        &["secret_access_key (AWS_SECRET_ACCESS_KEY) is not"],
    );
    let gone = [("shared_credentials_file", "/no/such/file")];
    assert_error(&open_error("s3://bucket", &gone), ErrorKind::NotFound, &["/no/such/file", "shared_credentials_file"]);
}

#[test]
fn a_store_is_displayed_as_its_url() {
    let location = format!("gs://{}/backups", GcsServer::BUCKET);
    assert_eq!(Server::gcs().open(&[]).to_string(), location);
}
