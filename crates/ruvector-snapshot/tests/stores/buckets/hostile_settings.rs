//! Settings that no URL, no header and no file can hold: each ends in an error that names it, or in a request. None
//! panics, whichever option it is and whatever the value is.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use proptest::prelude::*;
use ruvector_snapshot::store::{
    KnownOption, Location, Provider, SnapshotStore, StoreConfig, StoreOptions, known_options, open,
};
use ruvector_snapshot::{ErrorKind, SnapshotError};

use test_fixtures::TestDir;

use super::stub_server::StubServer;

const LOCATIONS: [&str; 3] = ["s3://bucket/backups", "gs://bucket/backups", "az://container/backups"];

/// Values that a library between this one and the network has been seen to refuse, to change or to panic at.
const HOSTILE: [&str; 58] = [
    "",
    " ",
    "\r",
    "\n",
    "\t",
    "\0",
    "a\0b",
    "x\r",
    "x\n",
    "\nx",
    " x",
    "x ",
    "a\r\nx-injected: b",
    "\u{7f}",
    "\u{85}",
    "\u{a0}x",
    "é",
    "🦀",
    "\u{feff}x",
    "\u{202e}x",
    "\u{fffd}",
    "%",
    "%00",
    "%0d%0a",
    "%zz",
    "a=%FF",
    "sv=1&sig=%0d%0a",
    "=",
    "@",
    "?",
    "#",
    "/",
    "//",
    "\\",
    "..",
    ".",
    "-",
    "*",
    "{}",
    "[]",
    "\"",
    "${HOST}",
    "data:x",
    "true",
    "18446744073709551616",
    "99999999999999m",
    "{\"gcs_base_url\":\"http://{x}\",\"private_key\":\"k\",\"private_key_id\":\"i\",\"client_email\":\"e\"}",
    "http://",
    "http:///x",
    "http://minio:9000\r",
    "http://münchen.example",
    "http://${HOST}:9000",
    "http://host:99999",
    "http://host:0",
    "http://[fe80::1%25eth0]:9000",
    "http://host\\path",
    "http://host/?a=b#c",
    "http://host/a b",
];

/// Tries every kind of operation. Returns the errors.
async fn every_operation(store: Arc<dyn SnapshotStore>) -> Vec<SnapshotError> {
    let mut errors = Vec::new();
    errors.extend(store.get("key", 9).await.err());
    errors.extend(store.head("key").await.err());
    errors.extend(store.create("key", "bytes".into()).await.err());
    errors.extend(store.list("").try_collect::<Vec<_>>().await.err());
    errors.extend(store.delete("key").await.err());
    match store.upload("key", None).await {
        Ok(upload) => errors.extend(upload.abort().await.err()),
        Err(error) => errors.push(error),
    }
    errors
}

/// Returns options with which a store works, without some of them. No request leaves this machine.
fn working_options(location: &str, server: &str, without: &[&str]) -> StoreOptions {
    let endpoint = format!("http://{server}");
    let all = [
        ("endpoint", endpoint.as_str()),
        ("base_url", &endpoint),
        ("access_key_id", "AKID"),
        ("secret_access_key", "secret"),
        ("metadata_endpoint", &endpoint),
        ("shared_credentials_file", "/dev/null"),
        ("config_file", "/dev/null"),
        ("bearer_token", "token"),
        ("account_name", "account"),
        ("msi_endpoint", &endpoint),
        ("allow_http", "true"),
        ("retry_timeout", "1ms"),
        ("connect_timeout", "2s"),
        ("stall_timeout", "2s"),
        ("proxy_url", &endpoint),
    ];
    let known = known_options(&location[..2]);
    let is_known = |name: &str| known.iter().any(|option| option.name == name);
    all.into_iter().filter(|(name, _)| is_known(name) && !without.contains(name)).collect()
}

/// Stands for the path of a file with a token.
const TOKEN_FILE: &str = "(token file)";

/// Returns the options without which another one is not used, and those that it is used instead of.
fn companions(option: &str) -> (&'static [(&'static str, &'static str)], &'static [&'static str]) {
    match option {
        "region" | "s3_express" | "virtual_hosted_style_request" => (&[], &["endpoint"]),
        "sse_kms_key_id" => (&[("server_side_encryption", "aws:kms")], &[]),
        "sse_customer_key_base64" => (&[("server_side_encryption", "sse-c")], &[]),
        "role_arn" | "role_session_name" => {
            (&[("web_identity_token_file", TOKEN_FILE), ("role_arn", "arn")], &["access_key_id", "secret_access_key"])
        }
        "web_identity_token_file" => (&[("role_arn", "arn")], &["access_key_id", "secret_access_key"]),
        "container_credentials_full_uri" => {
            (&[("container_authorization_token_file", TOKEN_FILE)], &["access_key_id", "secret_access_key"])
        }
        "container_credentials_relative_uri" | "metadata_endpoint" => (&[], &["access_key_id", "secret_access_key"]),
        "service_account" | "service_account_key" | "application_credentials" => (&[], &["bearer_token"]),
        "account_key" | "sas_token" | "msi_endpoint" | "object_id" | "msi_resource_id" => (&[], &["bearer_token"]),
        "client_id" | "client_secret" | "tenant_id" | "authority_host" => {
            (&[("client_id", "a"), ("client_secret", "b"), ("tenant_id", "c")], &["bearer_token"])
        }
        "federated_token_file" => (&[("client_id", "a"), ("tenant_id", "c")], &["bearer_token"]),
        "account_name" => (&[], &["endpoint"]),
        _ => (&[], &[]),
    }
}

/// Returns the options of all providers, each with a location.
fn all_options() -> Vec<(&'static str, KnownOption)> {
    let options =
        |location: &'static str| known_options(&location[..2]).into_iter().map(move |option| (location, option));
    LOCATIONS.into_iter().flat_map(options).collect()
}

/// Opens a store with one option of this value and tries every operation. Returns what went wrong with that, if anything
/// did: a panic, an error without a class, or a refused value that is not named.
async fn problem_with(location: &str, option: &KnownOption, value: &str, server: &str) -> Option<String> {
    let (with, without) = companions(option.name);
    let dir = TestDir::new();
    let token_file = dir.path("token");
    std::fs::write(&token_file, "token\n").unwrap();
    let mut options = working_options(location, server, without);
    for (name, value) in with {
        options.set(*name, if *value == TOKEN_FILE { token_file.to_str().unwrap() } else { value });
    }
    options.set(option.name, value);
    let location: Location = location.parse().unwrap();
    let opened = tokio::spawn(async move { open(&location, &StoreConfig::default().options(options)) }).await;
    let store = match opened {
        Err(panic) => return Some(format!("open panicked: {panic}")),
        Ok(Err(error)) if error.kind() == ErrorKind::Internal => return Some(format!("open: {error:?}")),
        Ok(Err(error)) if !error.to_string().contains(option.name) => {
            return Some(format!("the option is not named: {error:?}"));
        }
        Ok(Err(_)) => return None,
        Ok(Ok(store)) => store,
    };
    match tokio::spawn(every_operation(store)).await {
        Err(panic) => Some(format!("an operation panicked: {panic}")),
        Ok(errors) => errors
            .into_iter()
            .find(|error| error.kind() == ErrorKind::Internal)
            .map(|error| format!("an operation: {error:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_value_of_any_option_panics() {
    let server = StubServer::responding("400 Bad Request", "", "no");
    let values = || HOSTILE.iter().map(|value| (*value).to_owned()).chain([1_000, 70_000].map(|n| "x".repeat(n)));
    let cases = all_options().into_iter().flat_map(|case| values().map(move |value| (case, value)));
    let address = &server.address();
    let problems = stream::iter(cases).map(|((location, option), value)| async move {
        let problem = problem_with(location, &option, &value, address).await?;
        let shown: String = value.chars().take(60).collect();
        Some(format!("{location} {}={shown:?}: {problem}", option.name))
    });
    let problems: Vec<String> = problems.buffer_unordered(32).filter_map(future::ready).collect().await;
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Pieces that hostile values are made of.
fn hostile_value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(|c| c.to_string()),
        "[ -~]{0,12}",
        prop::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        prop::sample::select(
            &["http://", "https://", ":", "/", "[", "]", "::1", "a", "0", "@", "?", "=", "&", "%"][..]
        )
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

#[test]
fn no_value_of_any_option_panics() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = StubServer::responding("400 Bad Request", "", "no");
    proptest!(cases(600), |((location, option) in prop::sample::select(all_options()), value in hostile_value())| {
        let problem = runtime.block_on(problem_with(location, &option, &value, &server.address()));
        prop_assert_eq!(problem, None, "{} {}", location, option.name);
    });
}

#[test]
fn no_location_panics() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = StubServer::responding("400 Bad Request", "", "no");
    let providers = prop::sample::select(&[Provider::S3, Provider::Gcs, Provider::Azure][..]);
    let try_location = |location: Location, provider: Provider| {
        let options = working_options(provider.scheme(), &server.address(), &[]);
        match open(&location, &StoreConfig::default().options(options)) {
            Ok(store) => runtime.block_on(runtime.spawn(every_operation(store))).unwrap(),
            Err(error) => vec![error],
        }
    };
    proptest!(cases(200), |(provider in providers, bucket in hostile_value(), prefix in hostile_value())| {
        let scheme = provider.scheme();
        let made = Location::Bucket { provider, bucket: bucket.clone(), prefix: prefix.clone() };
        let parsed = format!("{scheme}://{bucket}/{prefix}").parse::<Location>();
        let locations = std::iter::once(made).chain(parsed.ok());
        for error in locations.flat_map(|location| try_location(location, provider)) {
            prop_assert_ne!(error.kind(), ErrorKind::Internal, "{:?}", error);
        }
    });
}

// ---- files and services that give credentials

/// Opens a bucket whose keys come from the service at `server`, with a token of a file.
fn with_token_file(server: &StubServer, token_file: &str) -> Arc<dyn SnapshotStore> {
    let without = ["access_key_id", "secret_access_key"];
    let mut options = working_options("s3://bucket", &server.address(), &without);
    options.set("container_credentials_full_uri", format!("http://{}/credentials", server.address()));
    options.set("container_authorization_token_file", token_file);
    open(&"s3://bucket".parse().unwrap(), &StoreConfig::default().options(options)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn white_space_around_the_token_of_a_file_is_no_part_of_it_each_time_it_is_read() {
    let dir = TestDir::new();
    let file = dir.path("token");
    // The service refuses, so that every request reads the token again.
    let server = StubServer::responding("403 Forbidden", "", "no");
    let store = with_token_file(&server, file.to_str().unwrap());
    for token in ["first", "a-second-and-longer-one", "3rd"] {
        std::fs::write(&file, format!(" {token}\r\n")).unwrap();
        store.get("key", 1).await.unwrap_err();
        let sent = server.requests().pop().unwrap();
        assert!(sent.contains(&format!("authorization: {token}\r\n")), "{sent}");
    }
    std::fs::write(&file, "to\nken").unwrap();
    let error = store.get("key", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.to_string().contains("container_authorization_token_file contains a control character"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = store.get("key", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("container_authorization_token_file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_service_that_no_header_can_hold_are_refused() {
    let dir = TestDir::new();
    let file = dir.path("token");
    std::fs::write(&file, "token").unwrap();
    for (id, token) in [("AK\\nID", "t"), ("AKID", "t\\u0000"), ("AKID", "é")] {
        let keys = format!(
            r#"{{"AccessKeyId":"{id}","SecretAccessKey":"s","Token":"{token}","Expiration":"2099-01-01T00:00:00Z"}}"#
        );
        let server = StubServer::responding("200 OK", "", &keys);
        let error = with_token_file(&server, file.to_str().unwrap()).get("key", 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.to_string().contains("the service that provides the credentials"), "{error}");
    }
}

#[test]
fn a_key_file_that_names_no_server_is_refused() {
    let dir = TestDir::new();
    let file = dir.path("key.json");
    let key = r#"{"gcs_base_url":"http://{x}","private_key":"k","private_key_id":"i","client_email":"e"}"#;
    for (text, words) in
        [(key, "gcs_base_url"), ("half", "not a JSON object"), ("{}", "check the option service_account")]
    {
        std::fs::write(&file, text).unwrap();
        let options: StoreOptions = [("service_account", file.to_str().unwrap())].into_iter().collect();
        let error = open(&"gs://bucket".parse().unwrap(), &StoreConfig::default().options(options)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains("service_account"), "{error}");
    }
}
