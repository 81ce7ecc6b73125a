//! Credentials that expire while a command runs: they are read again if another program renewed them, and if not, the
//! command reports what it could not clean up.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::json;
use test_servers::{Fault, GcsServer, Request, S3Server};

use super::bucket::{Bucket, Server};

/// Writes a file with the keys of a profile.
fn write_profile(path: &Path, token: &str) {
    let (key, secret) = (S3Server::ACCESS_KEY, S3Server::SECRET_KEY);
    let keys = format!("aws_access_key_id = {key}\naws_secret_access_key = {secret}\naws_session_token = {token}\n");
    fs::write(path, format!("[default]\n{keys}")).unwrap();
}

/// Returns a bucket whose keys are in a file, with the token `old`.
fn bucket_of_profile() -> (Bucket, PathBuf) {
    let mut bucket = Bucket::s3(S3Server::start());
    let path = bucket.sandbox.path("credentials");
    write_profile(&path, "old");
    bucket.environment.retain(|(name, _)| !matches!(*name, "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY"));
    bucket.environment.push(("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap().to_owned()));
    bucket.environment.push(("AWS_CONFIG_FILE", "/dev/null".to_owned()));
    (bucket, path)
}

/// Lets the token `old` expire before `checksum.sha256` is written, and calls `renew` then.
fn expire(server: &Server, renew: impl Fn() + Send + 'static) {
    let mut is_expired = false;
    server.wire().set(move |request, _| {
        if !is_expired && request.is_put() && request.key().ends_with("checksum.sha256") {
            is_expired = true;
            renew();
        }
        let is_refused = is_expired && request.header("x-amz-security-token") == Some("old");
        let message = "The provided token has expired.";
        is_refused.then_some(Fault::Error { status: 400, code: "ExpiredToken", message })
    });
}

#[test]
fn a_create_goes_on_with_credentials_that_were_renewed_while_it_ran() {
    let (bucket, path) = bucket_of_profile();
    expire(&bucket.server, move || write_profile(&path, "new"));
    let result = bucket.run(&["create", "--db", "a.db"]);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    assert!(!result.stderr.contains("warning"), "{result:?}");
    bucket.ok(&["verify", "--all"]);
    bucket.run(&["delete", "latest"]).assert_warns("NO SNAPSHOT");
    assert_eq!(bucket.server.keys(), Vec::<String>::new());
}

#[test]
fn a_create_whose_credentials_have_expired_reports_what_it_left() {
    let (bucket, path) = bucket_of_profile();
    expire(&bucket.server, || {});
    let (exit_code, document) = bucket.json(&["create", "--db", "a.db"]);
    assert_eq!((exit_code, &document["error"]["kind"]), (1, &json!("permission_denied")), "{document}");
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("the session token has expired"), "{message}");
    assert!(message.contains("; the clean-up failed too, and left snapshot-"), "{message}");
    let keys = bucket.server.keys();
    let left = keys.iter().map(|key| key.strip_prefix("backups/prod/").unwrap());
    let warnings = document["warnings"].as_array().unwrap();
    assert_eq!((keys.len(), warnings.len()), (3, 3), "{document}");
    for key in left {
        assert!(message.contains(key), "{key} is not in {message}");
        assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains(key)), "{key}: {document}");
    }

    write_profile(&path, "new");
    assert_eq!(bucket.json(&["list"]).1["unfinished"].as_array().unwrap().len(), 1);

    let (bucket, _) = bucket_of_profile();
    expire(&bucket.server, || {});
    let result = bucket.run(&["create", "--db", "a.db"]);
    let said = "(ExpiredToken: The provided token has expired); the clean-up failed too, and left snapshot-";
    assert!(result.exit_code == Some(1) && result.stderr.contains(said), "{result:?}");
    assert_eq!(result.stderr.matches("warning: the clean-up of a snapshot").count(), 3, "{result:?}");
}

/// Starts a metadata service that returns another token every time, and returns its address. It ends with the tests.
fn metadata_service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let token = format!("{}-{number}", GcsServer::TOKEN);
            let body = format!(r#"{{"access_token":"{token}","expires_in":3600,"token_type":"Bearer"}}"#);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // The program may have ended.
            let _sent = connection.write_all((head + &body).as_bytes());
        }
    });
    address
}

/// Each token is refused from the first request of this kind on.
#[test]
fn each_kind_of_request_to_google_goes_on_with_a_token_that_was_renewed() {
    type Is = fn(&Request) -> bool;
    let kinds: [(&str, Is); 5] = [
        ("list", Request::is_list),
        ("get", Request::is_get),
        ("head", Request::is_head),
        ("put", Request::is_put),
        ("delete", Request::is_delete),
    ];
    for (kind, is_meant) in kinds {
        let mut bucket = Bucket::gcs(GcsServer::start());
        let service = metadata_service();
        let mut is_made = false;
        bucket.environment.retain(|(name, _)| *name != "GOOGLE_BEARER_TOKEN");
        bucket.environment.extend([("GCE_METADATA_HOST", service.clone()), ("GCE_METADATA_IP", service)]);
        for args in [&["create", "--db", "a.db"][..], &["verify", "--all"], &["delete", "latest"]] {
            bucket.server.wire().reset_log();
            let mut expired = None;
            bucket.server.wire().set(move |request, _| {
                let token = request.header("authorization").unwrap_or_default().to_owned();
                if expired.is_none() && is_meant(request) {
                    expired = Some(token.clone());
                }
                (expired == Some(token)).then_some(Fault::Status(401))
            });
            // The only snapshot is deleted, which is a warning.
            assert!(matches!(bucket.run(args).exit_code, Some(0 | 5)), "{args:?}");
            let requests = bucket.server.wire().requests();
            let mut tokens: Vec<_> = requests.iter().map(|request| request.header("authorization")).collect();
            tokens.dedup();
            let is_renewed = tokens.len() > 1;
            assert_eq!(is_renewed, requests.iter().any(is_meant), "{kind}: {args:?}: {tokens:?}");
            is_made |= is_renewed;
        }
        assert!(is_made, "{kind}");
        assert_eq!(bucket.server.keys(), Vec::<String>::new(), "{kind}");
    }
}

/// Runs a command with options, and returns the values of a header that the server received.
fn headers_of(bucket: &Bucket, header: &str, options: &[&str]) -> Vec<Option<String>> {
    bucket.server.wire().reset_log();
    let options = options.iter().flat_map(|option| ["-o", option]);
    bucket.ok(&["list"].into_iter().chain(options).collect::<Vec<_>>());
    let requests = bucket.server.wire().requests();
    assert!(!requests.is_empty());
    requests.iter().map(|request| request.header(header).map(str::to_owned)).collect()
}

#[test]
fn keys_of_options_are_sent_without_other_credentials_of_the_environment() {
    const TOKEN: &str = "x-amz-security-token";
    let mut bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    let key_id = format!("access_key_id={}", S3Server::ACCESS_KEY);
    let secret = format!("secret_access_key={}", S3Server::SECRET_KEY);
    // What belongs to the environment goes together.
    bucket.environment.push(("AWS_SESSION_TOKEN", "of-the-environment".to_owned()));
    let sent = headers_of(&bucket, TOKEN, &["region=us-east-1", "skip_signature=false"]);
    // Signed URLs have it elsewhere.
    assert!(sent.iter().any(|token| token.as_deref() == Some("of-the-environment")), "{sent:?}");
    // One half of the keys is enough: the secret may be in the environment.
    for options in [&[&*key_id, &*secret][..], &[&*key_id], &[&*secret]] {
        let sent = headers_of(&bucket, TOKEN, options);
        assert!(sent.iter().all(Option::is_none), "{options:?}: {sent:?}");
    }
    let sent = headers_of(&bucket, TOKEN, &[&key_id, &secret, "AWS_SESSION_TOKEN=of-the-options"]);
    assert!(sent.iter().any(|token| token.as_deref() == Some("of-the-options")), "{sent:?}");

    // A profile is used with its own keys.
    let path = bucket.sandbox.path("credentials");
    write_profile(&path, "of-the-profile");
    let file = format!("shared_credentials_file={}", path.display());
    let sent = headers_of(&bucket, TOKEN, &["profile=default", &file, "config_file=/dev/null"]);
    assert!(sent.iter().any(|token| token.as_deref() == Some("of-the-profile")), "{sent:?}");
    // Other ways to sign in of the environment do not matter.
    bucket.environment.push(("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token".to_owned()));
    bucket.environment.push(("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/other".to_owned()));
    bucket.environment.push(("AWS_SKIP_SIGNATURE", "true".to_owned()));
    let sent = headers_of(&bucket, "authorization", &[&key_id, &secret]);
    assert!(
        sent.iter().any(|sent| sent.as_deref().is_some_and(|sent| sent.contains(S3Server::ACCESS_KEY))),
        "{sent:?}"
    );
}

#[test]
fn a_token_of_an_option_is_sent_in_the_place_of_other_credentials_of_google() {
    let mut bucket = Bucket::gcs(GcsServer::start());
    bucket.create("one");
    bucket.environment.retain(|(name, _)| *name != "GOOGLE_BEARER_TOKEN");
    bucket.environment.push(("GOOGLE_SKIP_SIGNATURE", "true".to_owned()));
    bucket.environment.push(("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file".to_owned()));
    let token = format!("bearer_token={}", GcsServer::TOKEN);
    let sent = headers_of(&bucket, "authorization", &[&token]);
    assert!(sent.iter().all(|sent| *sent == Some(format!("Bearer {}", GcsServer::TOKEN))), "{sent:?}");
}
