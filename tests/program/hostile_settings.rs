//! Settings that no URL, no header and no file name can hold: exit code 2, a JSON document, and the name of the setting.
//! White space around a value of the environment or of a file is no part of it.

use std::fs;
use std::net::TcpListener;

use test_servers::{GcsServer, S3Server};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

fn s3() -> Bucket {
    Bucket::s3(S3Server::start())
}

fn gcs() -> Bucket {
    Bucket::gcs(GcsServer::start())
}

/// Asserts that a run with `--json` was refused as wrong usage, with a message that contains all `words`.
#[track_caller]
fn assert_refused(result: RunResult, words: &[&str]) {
    assert!(!result.stderr.contains("panicked"), "{result:?}");
    let shown = format!("{result:?}");
    let (exit_code, document) = result.into_json();
    let error = &document["error"];
    assert_eq!(
        (exit_code, error["kind"].as_str(), error["exit_code"].as_i64()),
        (2, Some("usage"), Some(2)),
        "{shown}"
    );
    let message = error["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
}

/// Runs `list --json` with other values of variables.
fn list_with(bucket: &Bucket, variables: &[(&str, &str)]) -> RunResult {
    let mut command = bucket.command(&["list", "--json"]);
    RunResult::from(command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn an_address_that_is_no_url_is_refused_by_the_name_of_its_setting() {
    let cases = [
        ("http://minio:99999", "1 to 65535"),
        ("http://${HOST}:9000", "every variable was replaced"),
        ("http://{HOST}:9000", "every variable was replaced"),
        ("http://münchen.example", "xn--mnchen-3ya.example"),
        ("http://[fe80::1%25eth0]:9000", "zone"),
        ("http://minio:9000\rx", "control character"),
        ("http://mi nio:9000", "cannot hold"),
        ("http://minio:9000\\", "cannot hold"),
        ("http:///minio", "not a valid URL"),
        ("minio:9000", "must begin with https://"),
    ];
    for (address, reason) in cases {
        for (bucket, variable, option) in
            [(s3(), "AWS_ENDPOINT_URL", "endpoint"), (gcs(), "GOOGLE_BASE_URL", "base_url")]
        {
            let named = format!("the option {option} ({variable})");
            assert_refused(list_with(&bucket, &[(variable, address)]), &[&named, reason]);
            let typed = bucket.run(&["list", "--json", "-o", &format!("{option}={address}")]);
            assert_refused(typed, &[&format!("the option {option} "), reason]);
            if !address.starts_with("minio") {
                for proxy in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
                    assert_refused(list_with(&bucket, &[(proxy, address)]), &[&format!("variable {proxy} ")]);
                }
            }
        }
    }
    for service in ["AWS_METADATA_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
        assert_refused(list_with(&s3(), &[(service, "http://${HOST}")]), &[service, "every variable was replaced"]);
    }
    assert_refused(list_with(&gcs(), &[("GCE_METADATA_HOST", "a{b}")]), &["GCE_METADATA_HOST", "every variable"]);
}

#[test]
fn values_that_no_header_can_hold_are_refused_by_the_name_of_their_setting() {
    for (variable, value) in [
        ("AWS_ACCESS_KEY_ID", "AK\nID"),
        ("AWS_SESSION_TOKEN", "to\r\nken"),
        ("AWS_SESSION_TOKEN", "tökén"),
        ("AWS_SECRET_ACCESS_KEY", "test-servers\u{1}-secret"),
        ("AWS_REGION", "eu\ncentral"),
        ("AWS_REGION", "eu central"),
        ("AWS_SSE_KMS_KEY_ID", "é"),
        ("AWS_UNSIGNED_PAYLOAD", "perhaps"),
    ] {
        assert_refused(list_with(&s3(), &[(variable, value)]).without_secrets(), &[&format!("({variable})")]);
    }
    assert_refused(
        list_with(&gcs(), &[("GOOGLE_BEARER_TOKEN", "a\tb")]),
        &["the option bearer_token (GOOGLE_BEARER_TOKEN)"],
    );
    // What is typed has no white space around it that could be meant.
    assert_refused(
        s3().run(&["list", "--json", "-o", "region=eu-west-1\n"]),
        &["the option region contains a control"],
    );
    assert_refused(s3().run(&["list", "--json", "-o", "region= eu-west-1"]), &["the option region begins or ends"]);
    assert_refused(s3().run(&["list", "--json", "-o", "region="]), &["the option region is empty"]);
}

#[test]
fn a_variable_that_is_not_utf8_is_refused_and_not_skipped() {
    use std::os::unix::ffi::OsStrExt as _;
    let bucket = s3();
    let mut command = bucket.command(&["list", "--json"]);
    let result = command.env("AWS_ENDPOINT_URL", std::ffi::OsStr::from_bytes(b"http://\xff")).output().unwrap();
    assert_refused(RunResult::from(result), &["the option endpoint (AWS_ENDPOINT_URL) is not valid UTF-8"]);
}

#[test]
fn white_space_around_a_value_of_the_environment_is_no_part_of_it() {
    for mut bucket in Bucket::both() {
        for (_, value) in &mut bucket.environment {
            *value = format!(" {value}\r\n");
        }
        bucket.environment.push(("AWS_REGION", "us-east-1\n".to_owned()));
        bucket.environment.push(("AWS_PROFILE", "\n".to_owned()));
        bucket.environment.push(("RUVECTOR_SNAPSHOT_SOURCE", "articles\r\n".to_owned()));
        bucket.create("one");
        let (_, document) = bucket.json(&["list"]);
        assert_eq!(document["snapshots"][0]["source"]["name"], "articles", "{document}");
    }
}

#[test]
fn white_space_around_the_address_of_a_proxy_is_no_part_of_it() {
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let bucket = s3();
        let proxy = S3Server::start();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let endpoint = format!("http://{elsewhere}");
        let with = [("AWS_ENDPOINT_URL", endpoint.as_str()), (variable, &format!(" {}\r\n", proxy.endpoint()))];
        list_with(&bucket, &with);
        assert_ne!(proxy.wire().requests().len(), 0, "{variable} was not used");
    }
}

#[test]
fn white_space_around_the_values_of_a_profile_is_no_part_of_them() {
    let bucket = s3();
    let home = bucket.sandbox.path("files");
    fs::create_dir(&home).unwrap();
    let (id, secret) = (S3Server::ACCESS_KEY, S3Server::SECRET_KEY);
    let write = |region: &str| {
        let text = format!(
            "[default]\r\naws_access_key_id =  {id} \r\naws_secret_access_key={secret}\t\r\nregion={region}\r\n"
        );
        fs::write(home.join("credentials"), text).unwrap();
    };
    let list = || {
        let mut command = bucket.command(&["list", "--json"]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_SHARED_CREDENTIALS_FILE", home.join("credentials")).env("AWS_CONFIG_FILE", "/dev/null");
        RunResult::from(command.output().unwrap()).without_secrets()
    };
    write(" us-east-1 ");
    // The store is empty.
    assert_eq!(list().exit_code, Some(4), "{:?}", list());
    write("us\u{1}east");
    assert_refused(list(), &["the option region (", "files/credentials)", "control character"]);
}

#[test]
fn a_location_with_control_characters_is_refused_and_creates_nothing() {
    let sandbox = Sandbox::with_rows(10);
    for store in ["backups\r", "back\nups", "s3://bucket/prod\r", "\tbackups", " backups", "s3://bucket/prod "] {
        let typed = sandbox.run(&["create", "--db", "a.db", "--json", "--store", store]);
        assert_refused(typed, &["the store location "]);
        let mut command = sandbox.command(&["create", "--db", "a.db", "--json"]);
        let result = command.env("RUVECTOR_SNAPSHOT_STORE", store).output().unwrap();
        assert_refused(RunResult::from(result), &["RUVECTOR_SNAPSHOT_STORE: the store location "]);
    }
    for bucket in ["..".to_owned(), "x".repeat(300)] {
        let store = format!("s3://{bucket}/prod");
        assert_refused(sandbox.run(&["list", "--json", "--store", &store]), &["invalid bucket name in s3://"]);
    }
    let mut command = sandbox.command(&["create", "--db", "a.db", "--json"]);
    let result = command.env("RUVECTOR_SNAPSHOT_SOURCE", "a\u{7}b").output().unwrap();
    assert_refused(RunResult::from(result), &["RUVECTOR_SNAPSHOT_SOURCE: ", "control characters"]);
    assert_eq!(sandbox.names("."), ["a.db"]);
}
