//! Credentials that expire while a store is used: what another program renewed meanwhile is read, and the work goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::TryStreamExt as _;
use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{ErrorKind, SnapshotManager};
use test_fixtures::{TestDir, create_full};
use test_servers::{Fault, Gate, Request, S3Server};

use super::fixture::{PART_BYTES, Server, assert_restores, make_large};
use super::stub_server::{StubServer, response};

const TOKEN_HEADER: &str = "x-amz-security-token";

/// Kinds of requests, with how a request is recognized.
type Is = fn(&Request) -> bool;
const KINDS: [(&str, Is); 9] = [
    ("list", Request::is_list),
    ("get", Request::is_get),
    ("head", Request::is_head),
    ("put", Request::is_put),
    ("initiate", Request::is_initiate),
    ("part", Request::is_part_upload),
    ("complete", Request::is_complete),
    ("abort", Request::is_abort),
    ("delete", Request::is_delete),
];

/// A file with the keys of a profile, which another program renews.
struct Profile(PathBuf);

impl Profile {
    fn new(dir: &TestDir, token: &str) -> Self {
        let profile = Self(dir.path("credentials"));
        profile.write(S3Server::ACCESS_KEY, token);
        profile
    }

    fn write(&self, key_id: &str, token: &str) {
        write_profile(&self.0, key_id, token);
    }

    /// Writes keys without a token.
    fn write_secret(&self, secret: &str) {
        let key_id = S3Server::ACCESS_KEY;
        let text = format!("[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n");
        fs::write(&self.0, text).unwrap();
    }

    fn open(&self, server: &Server) -> Arc<dyn SnapshotStore> {
        let endpoint = server.endpoint();
        let options = [
            ("endpoint", endpoint.as_str()),
            ("allow_http", "true"),
            ("region", "us-east-1"),
            ("shared_credentials_file", self.0.to_str().unwrap()),
            ("config_file", "/dev/null"),
        ];
        let options: StoreOptions = options.into_iter().collect();
        open(&server.location(), &StoreConfig::default().options(options)).unwrap()
    }
}

fn write_profile(path: &Path, key_id: &str, token: &str) {
    let secret = S3Server::SECRET_KEY;
    let text = format!(
        "[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\naws_session_token = {token}\n"
    );
    fs::write(path, text).unwrap();
}

fn expired(request: &Request) -> Fault {
    match request.method.as_str() {
        // The response to it has no body.
        "HEAD" => Fault::Status(400),
        _ => Fault::Error { status: 400, code: "ExpiredToken", message: "The provided token has expired." },
    }
}

/// Lets the token `old` expire before the first request that `is_meant` accepts, and calls `renew` then. Returns the
/// number of requests that were refused.
fn expire(
    server: &Server,
    is_meant: impl Fn(&Request) -> bool + Send + 'static,
    renew: impl Fn() + Send + 'static,
) -> Arc<AtomicUsize> {
    let refused = Arc::new(AtomicUsize::new(0));
    let (count, mut is_expired) = (refused.clone(), false);
    server.wire().set(move |request, _| {
        if !is_expired && is_meant(request) {
            is_expired = true;
            renew();
        }
        let is_refused = is_expired && request.header(TOKEN_HEADER) == Some("old");
        count.fetch_add(usize::from(is_refused), Ordering::SeqCst);
        is_refused.then(|| expired(request))
    });
    refused
}

/// Makes requests of all kinds.
async fn use_all(store: &dyn SnapshotStore) {
    let large = Bytes::from(vec![7; PART_BYTES as usize + 1000]);
    store.create("small", "small".into()).await.unwrap();
    for is_finished in [true, false] {
        let mut upload = store.upload("large", None).await.unwrap();
        upload.write(large.clone()).await.unwrap();
        match is_finished {
            true => assert_eq!(upload.finish().await.unwrap(), large.len() as u64),
            false => upload.abort().await.unwrap(),
        }
    }
    let mut upload = store.upload("put", None).await.unwrap();
    upload.write("put".into()).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(store.head("large").await.unwrap().size_bytes, large.len() as u64);
    assert_eq!(store.get("small", 10).await.unwrap(), "small");
    assert_eq!(store.get_range("large", 5..12).await.unwrap(), large.slice(5..12));
    let keys: Vec<_> = store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    assert_eq!(keys, ["large", "put", "small"]);
    for key in keys {
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_request_goes_on_with_renewed_credentials() {
    for (kind, is_meant) in KINDS {
        let (server, dir) = (Server::s3(), TestDir::new());
        let profile = Profile::new(&dir, "old");
        let store = profile.open(&server);
        let path = profile.0.clone();
        let refused = expire(&server, is_meant, move || write_profile(&path, S3Server::ACCESS_KEY, "new"));
        use_all(store.as_ref()).await;
        // Several parts may have been signed before the first of them was refused. A HEAD request is followed by one whose
        // response has a code.
        let refused = refused.load(Ordering::SeqCst);
        assert!((1..=2).contains(&refused), "{kind}: {refused}");
        assert!(server.objects().is_empty() && server.open_uploads() == 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_created_and_restored_although_its_credentials_expire_again_and_again() {
    let (server, dir) = (Server::s3(), TestDir::new());
    let profile = Profile::new(&dir, "token-0");
    let path = profile.0.clone();
    let (mut valid, mut accepted) = (0, 0);
    server.wire().set(move |request, _| {
        let token = format!("token-{valid}");
        if request.header(TOKEN_HEADER) != Some(&token) {
            return Some(expired(request));
        }
        accepted += 1;
        if accepted % 3 == 0 {
            valid += 1;
            write_profile(&path, S3Server::ACCESS_KEY, &format!("token-{valid}"));
        }
        None
    });
    let manager = SnapshotManager::with_store(dir.config(), profile.open(&server)).unwrap();
    let database = make_large(&dir);
    let made = create_full(&manager, &database, "one").await.unwrap();
    assert_restores(&manager, &made.id, &database).await;
    assert_eq!(server.open_uploads(), 0);
    manager.delete_snapshot(&made.id).await.unwrap();
    assert!(server.objects().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_replaced_is_read_again() {
    for status in [403, 401] {
        let (server, dir) = (Server::s3(), TestDir::new());
        let profile = Profile::new(&dir, "any");
        profile.write("AKIDOLD", "any");
        let store = profile.open(&server);
        profile.write(S3Server::ACCESS_KEY, "any");
        server.wire().set(move |request, _| {
            let is_old = request.header("authorization").is_some_and(|value| value.contains("AKIDOLD"));
            let message = "The AWS Access Key Id you provided does not exist in our records.";
            is_old.then_some(Fault::Error { status, code: "InvalidAccessKeyId", message })
        });
        store.create("key", "value".into()).await.unwrap();
        assert_eq!(server.objects().len(), 1);
    }
}

/// Requests that were signed with the old secret are signed again, also those that are refused after it was replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_replaced_is_read_again() {
    const REQUESTS: usize = 4;
    let (server, dir) = (Server::s3(), TestDir::new());
    let profile = Profile::new(&dir, "any");
    profile.write_secret("old-secret-of-the-key");
    let store = profile.open(&server);
    let gate = Gate::closed();
    let path = profile.0.clone();
    server.wire().set(move |_, number| {
        if number + 1 == REQUESTS {
            Profile(path.clone()).write_secret(S3Server::SECRET_KEY);
            gate.open();
        }
        (number < REQUESTS).then(|| Fault::Hold(gate.clone()))
    });
    let keys: Vec<String> = (0..REQUESTS).map(|number| format!("key-{number}")).collect();
    let creates = keys.iter().map(|key| store.create(key, "value".into()));
    futures::future::try_join_all(creates).await.unwrap();
    assert_eq!((server.objects().len(), server.wire().requests().len()), (REQUESTS, 2 * REQUESTS));
    for key in keys {
        store.delete(&key).await.unwrap();
    }
    use_all(store.as_ref()).await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_wrong_before_and_after_it_was_replaced_is_an_error() {
    let (server, dir) = (Server::s3(), TestDir::new());
    let profile = Profile::new(&dir, "any");
    profile.write_secret("old-secret-of-the-key");
    let store = profile.open(&server);
    let error = store.get("key", 10).await.unwrap_err();
    assert_eq!((error.kind(), server.wire().requests().len()), (ErrorKind::PermissionDenied, 1), "{error:?}");
    profile.write_secret("other-secret-of-the-key");
    for requests in [3, 5] {
        let error = store.get("key", 10).await.unwrap_err();
        assert!(error.to_string().contains("the secret does not belong to the access key"), "{error}");
        assert_eq!(
            (error.kind(), server.wire().requests().len()),
            (ErrorKind::PermissionDenied, requests),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_nobody_has_renewed_fail_at_once() {
    type Change = fn(&Path);
    let changes: [Change; 4] = [
        |_| {},
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "[other]\n").unwrap(),
        |path| {
            fs::write(path, "[default]\naws_access_key_id = A\n").unwrap();
        },
    ];
    for change in changes {
        let (server, dir) = (Server::s3(), TestDir::new());
        let profile = Profile::new(&dir, "old");
        let store = profile.open(&server);
        let path = profile.0.clone();
        let refused = expire(&server, |_| true, move || change(&path));
        let error = store.list("").try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!((error.kind(), refused.load(Ordering::SeqCst)), (ErrorKind::PermissionDenied, 1), "{error}");
        assert!(error.to_string().contains("the session token has expired"), "{error}");
        let error = store.head("key").await.unwrap_err();
        assert!(error.to_string().contains("the session token has expired"), "{error}");
        // One, and two to learn the reason.
        assert!(refused.load(Ordering::SeqCst) <= 1 + 3, "{refused:?}");
    }
}

/// A service may return other credentials every time it is asked. If these are refused too, the error is returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_credentials_that_are_refused_too_are_an_error() {
    let (server, dir) = (Server::s3(), TestDir::new());
    let profile = Profile::new(&dir, "token");
    let store = profile.open(&server);
    let path = profile.0.clone();
    server.wire().set(move |request, number| {
        write_profile(&path, S3Server::ACCESS_KEY, &format!("token-{number}"));
        Some(expired(request))
    });
    let error = store.get("key", 10).await.unwrap_err();
    assert_eq!((error.kind(), server.wire().requests().len()), (ErrorKind::PermissionDenied, 2), "{error:?}");
}

/// The client caches what such a service returns until it expires, and a server may refuse it before that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_provides_credentials_is_asked_again() {
    let server = Server::s3();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let service = StubServer::answering(move |_| {
        let token = ["old", "new"].get(count.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or("newer");
        let (key, secret) = (S3Server::ACCESS_KEY, S3Server::SECRET_KEY);
        let body = format!(
            r#"{{"AccessKeyId":"{key}","SecretAccessKey":"{secret}","Token":"{token}","Expiration":"2999-01-01T00:00:00Z"}}"#
        );
        response("200 OK", "", &body)
    });
    let credentials = format!("http://{}/credentials", service.address());
    let dir = TestDir::new();
    let token_file = dir.path("token");
    fs::write(&token_file, "authorization").unwrap();
    let endpoint = server.endpoint();
    let options = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("region", "us-east-1"),
        ("shared_credentials_file", "/dev/null"),
        ("config_file", "/dev/null"),
        ("container_credentials_full_uri", credentials.as_str()),
        ("container_authorization_token_file", token_file.to_str().unwrap()),
    ];
    let options: StoreOptions = options.into_iter().collect();
    let store = open(&server.location(), &StoreConfig::default().options(options)).unwrap();
    let refused = expire(&server, Request::is_part_upload, || {});
    use_all(store.as_ref()).await;
    assert!((1..=2).contains(&refused.load(Ordering::SeqCst)), "{refused:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(server.objects().is_empty() && server.open_uploads() == 0);
}
