//! Credentials that expire while a command runs: they are read again if another program renewed them, and if not, the
//! command reports what it could not clean up.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use test_servers::{Fault, S3Server};

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
    bucket.ok(&["delete", "latest"]);
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
