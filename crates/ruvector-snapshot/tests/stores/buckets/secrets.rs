//! Secrets never appear in the `Debug` and `Display` texts of settings and stores, in errors and their sources, or in
//! the log at its most verbose level, even if the server repeats the request.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{ErrorKind, SnapshotConfig, SnapshotManager};
use test_fixtures::{TestDir, create_full};
use test_servers::{Fault, S3Server};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::fixture::{SERVERS, Server, full_text, make_small};
use super::stub_server::StubServer;

/// The secrets, or their secret parts. No text may contain one.
pub(super) const SECRETS: [&str; 10] = [
    "test-servers-secret",
    "test-servers-token",
    "SESSION-tOkEn-1",
    "S1NFLWMta2V5LW9mLTMyLWJ5dGVzLTAxMjM0NTY3ODk=",
    "pr0xy-passw0rd",
    "sIgNaTuRe-oF-sAs",
    "YWNjb3VudC1rZXktb2YtYXp1cmU=",
    "client-s3cret",
    "PRIVATE-kEy-TeXt",
    "azure-bearer-t0ken",
];

/// Texts that must not contain a secret.
#[derive(Default)]
pub(super) struct Texts(pub(super) Vec<String>);

impl Texts {
    fn debug(&mut self, value: &impl Debug) {
        self.0.push(format!("{value:?}"));
        self.0.push(format!("{value:#?}"));
    }

    fn store(&mut self, store: &Arc<dyn SnapshotStore>) {
        self.debug(store);
        self.0.push(store.to_string());
    }

    fn error(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.0.push(full_text(error));
    }

    #[track_caller]
    fn assert_clean(&self) {
        assert!(!self.0.is_empty());
        for (text, secret) in self.0.iter().flat_map(|text| SECRETS.map(|secret| (text, secret))) {
            assert!(!text.contains(secret), "{secret} appears in: {text}");
        }
    }
}

/// Collects every event and span, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn seen(&self) -> Texts {
        Texts(self.0.lock().unwrap().clone())
    }

    fn note(&self, what: &Metadata<'_>, fields: impl FnOnce(&mut Line)) {
        let mut line = Line(format!("{} {}", what.target(), what.name()));
        fields(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(span.metadata(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line::default();
        values.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.note(event.metadata(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing into a String cannot fail.
        let _ = write!(self.0, " {field}={value:?}");
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.0, " {field}={}", full_text(value));
    }
}

/// Returns options with every kind of secret of a provider.
fn options_with_secrets(location: &str, endpoint: &str) -> StoreOptions {
    let options: &[(&str, &str)] = match &location[..2] {
        "s3" => &[
            ("endpoint", endpoint),
            ("access_key_id", "AKID"),
            ("secret_access_key", SECRETS[0]),
            ("session_token", SECRETS[2]),
            ("server_side_encryption", "sse-c"),
            ("sse_customer_key_base64", SECRETS[3]),
            ("shared_credentials_file", "/dev/null"),
            ("config_file", "/dev/null"),
        ],
        "gs" => &[("base_url", endpoint), ("bearer_token", SECRETS[1])],
        _ => &[("endpoint", endpoint), ("account_name", "account")],
    };
    let common = [("allow_http", "true"), ("retry_timeout", "300ms"), ("connect_timeout", "2s")];
    options.iter().copied().chain(common).collect()
}

/// Returns options for the three ways to sign in to Azure that need no other server.
fn azure_options(endpoint: &str) -> [StoreOptions; 3] {
    let sas = format!("sv=2022-11-02&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&sig={}%3D", SECRETS[5]);
    [("sas_token", sas.as_str()), ("account_key", SECRETS[6]), ("bearer_token", SECRETS[9])].map(|(name, value)| {
        let one: StoreOptions = [(name, value)].into_iter().collect();
        one.over(&options_with_secrets("az://container", endpoint))
    })
}

/// Opens a store and tries every kind of request, all of which fail. Returns every text that a caller can see.
async fn fail_every_request(location: &str, options: StoreOptions) -> Texts {
    let (seen, failed) = try_every_request(location, options).await;
    assert_eq!(failed, 5);
    seen
}

/// Opens a store and tries every kind of request. Returns every text that a caller can see, and how many failed.
pub(super) async fn try_every_request(location: &str, options: StoreOptions) -> (Texts, usize) {
    let mut seen = Texts::default();
    seen.debug(&options);
    let location: Location = location.parse().unwrap();
    let config = StoreConfig::default().options(options.clone());
    seen.debug(&config);
    let store = open(&location, &config).unwrap();
    seen.store(&store);
    let dir = TestDir::new();
    let config = SnapshotConfig { store_options: options, ..dir.config() };
    seen.debug(&config);
    let manager = SnapshotManager::with_store(config, store.clone()).unwrap();
    seen.debug(&manager);
    let errors = [
        store.get("key", 9).await.err(),
        store.head("key").await.err(),
        store.create("key", "bytes".into()).await.err(),
        manager.list().await.err(),
        create_full(&manager, &make_small(&dir, "a.db", 3), "name").await.err(),
    ];
    errors.iter().flatten().for_each(|error| seen.error(error));
    manager.wait_for_cleanup().await;
    (seen, errors.iter().flatten().count())
}

/// Returns a location and options for S3, for GCS, and for each way to sign in to Azure.
pub(super) fn every_provider(endpoint: &str) -> Vec<(&'static str, StoreOptions)> {
    let mut all = vec![
        ("s3://bucket/backups", options_with_secrets("s3", endpoint)),
        ("gs://bucket/backups", options_with_secrets("gs", endpoint)),
    ];
    all.extend(azure_options(endpoint).map(|options| ("az://container/backups", options)));
    all
}

#[tokio::test]
async fn no_secret_appears_if_the_server_cannot_be_reached() {
    let unreachable = StubServer::responding("200 OK", "", "").address();
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let asked = every_provider(&format!("http://{unreachable}"))
        .into_iter()
        .map(|(location, options)| fail_every_request(location, options));
    join_all(asked).await.iter().for_each(Texts::assert_clean);
    log.seen().assert_clean();
}

#[tokio::test]
async fn no_secret_appears_if_the_server_repeats_the_request_in_xml() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let all = SECRETS.join(" ");
    let echo = |code: &str| {
        let asked = format!("<CanonicalRequest>{all}</CanonicalRequest>");
        format!("<Error><Code>{code}</Code><Message>No.</Message>{asked}</Error>")
    };
    let bodies = ["SignatureDoesNotMatch", "Odd"].map(echo);
    let statuses = ["403 Forbidden", "400 Bad Request", "500 Internal Server Error"];
    for (status, body) in statuses.into_iter().flat_map(|status| bodies.iter().map(move |body| (status, body))) {
        let server = StubServer::responding(status, "", body);
        let once: StoreOptions = [("retry_timeout", "1ms")].into_iter().collect();
        for (location, options) in every_provider(&format!("http://{}", server.address())) {
            fail_every_request(location, once.over(&options)).await.assert_clean();
        }
    }
    log.seen().assert_clean();
}

/// The server repeats secrets in plain text.
#[tokio::test]
async fn known_secrets_are_redacted_in_any_text_of_the_server() {
    for (location, options) in every_provider("http://127.0.0.1:1") {
        let known: Vec<&str> = match (&location[..2], format!("{options:?}")) {
            ("s3", _) => vec![SECRETS[0], SECRETS[2], SECRETS[3]],
            ("gs", _) => vec![SECRETS[1]],
            (_, names) if names.contains("account_key") => vec![SECRETS[6]],
            (_, names) if names.contains("bearer_token") => vec![SECRETS[9]],
            _ => vec![SECRETS[5]],
        };
        let server = StubServer::responding("400 Bad Request", "", &format!("you said {}", known.join(" and ")));
        let address = format!("http://{}", server.address());
        let endpoint = [(if location.starts_with("gs") { "base_url" } else { "endpoint" }, address.as_str())];
        let options = endpoint.into_iter().collect::<StoreOptions>().over(&options);
        fail_every_request(location, options).await.assert_clean();
    }
}

#[tokio::test]
async fn the_password_of_a_proxy_does_not_appear() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let unreachable = StubServer::responding("200 OK", "", "").address();
    let refusing = StubServer::responding("407 Proxy Authentication Required", "", "");
    for address in [unreachable, refusing.address()] {
        let proxy = format!("http://user:{}@{address}", SECRETS[4]);
        let with: StoreOptions = [("proxy_url", proxy.as_str())].into_iter().collect();
        let all = every_provider("http://127.0.0.1:1").into_iter();
        let asked = all.map(|(location, options)| fail_every_request(location, with.over(&options)));
        join_all(asked).await.iter().for_each(Texts::assert_clean);
    }
    let wrong: StoreOptions = [("proxy_url", format!("::user:{}@", SECRETS[4]))].into_iter().collect();
    let config = StoreConfig::default().options(wrong);
    let mut seen = log.seen();
    seen.error(&open(&"gs://bucket".parse().unwrap(), &config).unwrap_err());
    seen.assert_clean();
}

#[test]
fn no_secret_appears_in_errors_about_invalid_options() {
    let mut seen = Texts::default();
    let members = r#""type":"service_account","client_email":"a@b","private_key_id":"c""#;
    let key = format!(r#"{{{members},"private_key":"{}"}}"#, SECRETS[8]);
    let half = format!(r#"{{"private_key":"{}""#, SECRETS[8]);
    let cases = [
        ("gs://bucket", "service_account_key", key),
        ("gs://bucket", "service_account_key", half),
        ("gs://bucket", "service_account_key", SECRETS[8].to_owned()),
        ("az://container", "account_key", format!("!{}", SECRETS[6])),
        ("az://container", "sas_token", format!("{}%zz", SECRETS[5])),
        ("s3://bucket", "sse_customer_key_base64", format!("!{}", SECRETS[3])),
        ("s3://bucket", "endpoint", format!("https://user:{}@host", SECRETS[4])),
        ("s3://bucket", "session_token", SECRETS[2].to_owned()),
        ("s3://bucket", "secret_access_key", SECRETS[0].to_owned()),
    ];
    for (location, name, value) in cases {
        let options: StoreOptions = [(name, value)].into_iter().collect();
        let options = options.over(&options_with_secrets(location, "http://127.0.0.1:1"));
        let config = StoreConfig::default().options(options);
        seen.debug(&config);
        match open(&location.parse().unwrap(), &config) {
            Ok(store) => seen.store(&store),
            Err(error) => seen.error(&error),
        }
    }
    seen.assert_clean();
}

/// Operations that succeed after retries.
#[tokio::test]
async fn no_secret_appears_in_the_log_of_operations_with_retries() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let dir = TestDir::new();
    let database = make_small(&dir, "a.db", 20);
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&dir, &[]);
        server.wire().set(|_, number| match number % 8 {
            0 => Some(Fault::ResetBefore),
            2 => Some(Fault::StatusAfter(500)),
            3 => Some(Fault::Truncate(10)),
            _ => None,
        });
        let made = create_full(&manager, &database, "name").await.unwrap();
        assert!(manager.verify_snapshot(&made.id).await.unwrap());
        manager.delete_snapshot(&made.id).await.unwrap();
    }
    let seen = log.seen();
    assert!(seen.0.iter().any(|line| line.contains("backing off")), "the client logs no retries");
    seen.assert_clean();
}

/// A secret may be an ordinary word that is part of a key or of a text of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_keep_their_kind_although_their_text_contains_a_secret() {
    for word in ["backups", "taken", "implemented", "snapshots-test"] {
        let server = Server::s3();
        let store = server.open(&[("session_token", word), ("retry_timeout", "5s")]);
        assert_eq!(store.get("taken", 10).await.unwrap_err().kind(), ErrorKind::NotFound, "{word}");
        assert_eq!(store.head("taken").await.unwrap_err().kind(), ErrorKind::NotFound, "{word}");
        store.create("taken", "value".into()).await.unwrap();
        assert_eq!(store.create("taken", "other".into()).await.unwrap_err().kind(), ErrorKind::AlreadyExists, "{word}");
        let message = "backups of taken keys are not permitted";
        let denied = Fault::Error { status: 403, code: "AccessDenied", message };
        server.wire().set(move |_, _| Some(denied.clone()));
        let error = store.get("taken", 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.to_string().contains("AccessDenied"), "{error:?}");
        // A connection that breaks is tried again.
        server.wire().set(|_, number| (number == 0).then_some(Fault::ResetBefore));
        store.delete("taken").await.unwrap();

        let server = Server::S3(S3Server::start_refusing_preconditions());
        server.open(&[("session_token", word)]).create("taken", "value".into()).await.unwrap();
    }
}

/// Options that the environment could have set do not sign in, if others are passed.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_azure_that_are_passed_are_not_mixed_with_others() {
    let sas = format!("sv=2022-11-02&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&sig={}", SECRETS[5]);
    let each = [
        ("sas_token", sas.as_str(), SECRETS[5]),
        ("account_key", SECRETS[6], "SharedKey account:"),
        ("bearer_token", SECRETS[9], SECRETS[9]),
    ];
    for (name, value, sent) in each {
        let server = StubServer::responding("403 Forbidden", "", "");
        let one: StoreOptions = [(name, value)].into_iter().collect();
        let others: StoreOptions = each.into_iter().filter(|other| other.0 != name).map(|(n, v, _)| (n, v)).collect();
        let endpoint = format!("http://{}", server.address());
        let options = one.over(&others.over(&options_with_secrets("az://container", &endpoint)));
        let store = open(&"az://container".parse().unwrap(), &StoreConfig::default().options(options)).unwrap();
        store.head("key").await.unwrap_err();
        let requests = server.requests();
        assert!(!requests.is_empty());
        for (other, _, mark) in each {
            let is_sent = requests.iter().all(|request| request.contains(mark));
            assert_eq!(is_sent, mark == sent, "{other} with {name}: {requests:?}");
        }
    }
}
