//! Mistakes with buckets: a clear error, soon, with the right exit code, and without a secret.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use ruvector_snapshot::store::{Location, StoreConfig, open};
use test_servers::{GcsServer, S3Server};

use super::bucket::Bucket;
use super::sandbox::Sandbox;

const VERBS: [&[&str]; 8] = [
    &["create", "--db", "a.db"],
    &["list"],
    &["show", "x"],
    &["verify", "--all"],
    &["restore", "x", "--to", "b.db"],
    &["delete", "x"],
    &["prune", "--keep", "1"],
    &["store", "check"],
];

/// Asserts that every verb fails with this exit code and an error that contains `text`, and creates nothing.
#[track_caller]
fn all_fail(bucket: &Bucket, exit_code: i32, text: &str) {
    for verb in VERBS {
        bucket.run(verb).assert_fails(exit_code, text);
    }
    assert_eq!((bucket.sandbox.names("."), bucket.server.keys()), (vec!["a.db".to_owned()], Vec::new()));
}

/// Sets a variable to another value, or unsets it.
fn set(mut bucket: Bucket, name: &'static str, value: Option<String>) -> Bucket {
    bucket.environment.retain(|(other, _)| *other != name);
    bucket.environment.extend(value.map(|value| (name, value)));
    bucket
}

fn s3() -> Bucket {
    Bucket::s3(S3Server::start())
}

fn gcs() -> Bucket {
    Bucket::gcs(GcsServer::start())
}

/// Returns an address on which nothing listens.
fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_missing_bucket_is_reported() {
    for (bucket, store) in [(s3(), "s3://missing/prod"), (gcs(), "gs://missing/prod")] {
        let bucket = Bucket { store: store.to_owned(), ..bucket };
        all_fail(&bucket, 1, "there is no such bucket; check its name, or create it first");
        let (exit_code, document) = bucket.json(&["list"]);
        assert_eq!((exit_code, document["error"]["exit_code"].as_i64()), (1, Some(1)));
    }
}

#[test]
fn a_bucket_in_the_address_too_is_reported() {
    for (bucket, variable, name) in
        [(s3(), "AWS_ENDPOINT_URL", S3Server::BUCKET), (gcs(), "GOOGLE_BASE_URL", GcsServer::BUCKET)]
    {
        let address = bucket.environment.iter().find(|(other, _)| *other == variable).unwrap().1.clone();
        let bucket = set(bucket, variable, Some(format!("{address}/{name}")));
        let text = format!("({variable}) contains the bucket, which is added to it once more");
        for verb in VERBS.iter().filter(|verb| **verb != ["store", "check"]) {
            bucket.run(verb).assert_fails(1, &text);
        }
        assert_eq!(bucket.server.keys(), [""; 0]);
        // It is what a check of the store reports of a listing.
        let (exit_code, document) = bucket.json(&["store", "check"]);
        assert_eq!(exit_code, 1, "{document}");
        assert!(document.to_string().contains(&text), "{document}");
    }
}

#[test]
fn a_server_that_is_no_store_does_not_look_like_an_empty_bucket() {
    // The documents of a web console and of a proxy, with success and without.
    let pages = [
        "<!DOCTYPE html>\n<html lang=\"en\"><head/><body>Console</body></html>",
        "<?xml version=\"1.0\"?><foo/>",
        "ok",
        "",
    ];
    for status in ["200 OK", "404 Not Found", "405 Method Not Allowed"] {
        for page in pages {
            let address = answer_all(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{page}", page.len()));
            for (bucket, name) in [(s3(), "AWS_ENDPOINT_URL"), (gcs(), "GOOGLE_BASE_URL")] {
                let bucket = set(bucket, name, Some(address.clone()));
                for verb in VERBS.iter().filter(|verb| **verb != ["store", "check"]) {
                    let result = bucket.run(verb);
                    result.assert_fails(1, "check the address of the server");
                    assert!(!result.stderr.contains("try again"), "{result:?}");
                }
                assert_eq!(bucket.run(&["store", "check"]).exit_code, Some(1));
            }
        }
    }
}

/// Starts a server that answers every request like this, and returns its address. It ends with the tests.
fn answer_all(response: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, response) = (connection.unwrap(), response.clone());
            std::thread::spawn(move || {
                let mut received = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = connection.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..length]);
                    while let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                        received.drain(..end + 4);
                        if connection.write_all(response.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

#[test]
fn wrong_keys_are_reported_without_printing_them() {
    let wrong = || Some("wrong-all-the-same".to_owned());
    let secret = set(s3(), "AWS_SECRET_ACCESS_KEY", wrong());
    all_fail(&secret, 1, "the secret does not belong to the access key");
    assert_eq!(secret.json(&["list"]).1["error"]["kind"], "permission_denied");
    all_fail(&set(s3(), "AWS_ACCESS_KEY_ID", wrong()), 1, "does not know the access key; check AWS_ACCESS_KEY_ID");
    all_fail(&set(gcs(), "GOOGLE_BEARER_TOKEN", wrong()), 1, "the server requires credentials");
    let result = secret.run(&["list"]);
    assert!(result.stderr.contains("hint: ") && !result.stderr.contains("wrong-all-the-same"), "{result:?}");
}

#[test]
fn a_missing_half_of_the_keys_is_reported() {
    let half = set(s3(), "AWS_SECRET_ACCESS_KEY", None);
    all_fail(&half, 2, "(AWS_ACCESS_KEY_ID) is set, but secret_access_key (AWS_SECRET_ACCESS_KEY) is not");
    let half = set(s3(), "AWS_ACCESS_KEY_ID", None);
    all_fail(&half, 2, "(AWS_SECRET_ACCESS_KEY) is set, but access_key_id (AWS_ACCESS_KEY_ID) is not");
}

/// Returns a bucket of each provider without keys, and what the error says. A machine without keys queries the metadata
/// service of its cloud, which is `service` here.
fn without_keys(service: &str) -> [(Bucket, &'static str); 2] {
    let s3 = set(set(s3(), "AWS_ACCESS_KEY_ID", None), "AWS_SECRET_ACCESS_KEY", None);
    let s3 = set(s3, "AWS_METADATA_ENDPOINT", Some(format!("http://{service}")));
    let gcs = set(set(gcs(), "GOOGLE_BEARER_TOKEN", None), "GCE_METADATA_HOST", Some(service.to_owned()));
    let gcs = set(gcs, "GCE_METADATA_IP", Some(service.to_owned()));
    [
        (s3, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (gcs, "set GOOGLE_APPLICATION_CREDENTIALS"),
    ]
}

#[test]
fn missing_keys_are_reported_if_there_is_no_metadata_service() {
    for (bucket, text) in without_keys(&unused_address()) {
        all_fail(&bucket, 1, text);
        bucket.run(&["list"]).assert_fails(1, "no credentials are set");
    }
}

#[test]
fn missing_keys_are_reported_if_the_metadata_service_does_not_answer() {
    // A proxy that refuses, and a port that accepts connections and never answers.
    let refusing = S3Server::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for service in [refusing.endpoint().replace("http://", ""), silent.local_addr().unwrap().to_string()] {
        for (bucket, text) in without_keys(&service) {
            bucket.run(&["list"]).assert_fails(1, text);
        }
    }
}

#[test]
fn the_metadata_service_is_queried_without_a_proxy() {
    for (bucket, text) in without_keys(&unused_address()) {
        let proxy = S3Server::start();
        let bucket = set(bucket, "HTTP_PROXY", Some(proxy.endpoint()));
        let bucket = set(bucket, "http_proxy", Some(proxy.endpoint()));
        bucket.run(&["list"]).assert_fails(1, text);
        assert_eq!(proxy.wire().requests().len(), 0);
    }
}

#[test]
fn an_unreachable_server_is_reported() {
    for (bucket, name) in [(s3(), "AWS_ENDPOINT_URL"), (gcs(), "GOOGLE_BASE_URL")] {
        let address = unused_address();
        let bucket = set(bucket, name, Some(format!("http://{address}")));
        all_fail(&bucket, 1, &format!("the server at {address} cannot be reached (Connection refused"));
        let result = bucket.run(&["list"]);
        assert!(
            result.stderr.contains("check the address and the network") && result.stderr.lines().count() == 2,
            "{result:?}"
        );
    }
}

#[test]
fn plain_http_needs_allow_http() {
    all_fail(&set(s3(), "AWS_ALLOW_HTTP", None), 2, "set allow_http=true to allow it");
    all_fail(&set(gcs(), "GOOGLE_ALLOW_HTTP", None), 2, "set allow_http=true to allow it");
    let bucket = s3();
    bucket.run(&["list", "-o", "allow_http=maybe"]).assert_fails(2, "the option allow_http must be true or false");
    bucket.run(&["list", "-o", "endpoint=127.0.0.1:9000"]).assert_fails(2, "must begin with https:// or http://");
    bucket.run(&["list", "-o", "endpoint=http://user:pass@127.0.0.1"]).assert_fails(2, "no user and no password");
}

#[test]
fn invalid_store_options_are_usage_errors() {
    let bucket = s3();
    let list = |more: &[&str]| bucket.run(&[&["list"], more].concat());
    list(&["-o", "regoin=x"]).assert_fails(2, "s3:// has no option \"regoin\"; its options are access_key_id, ");
    list(&["-o", "region"]).assert_fails(2, "-o takes KEY=VALUE");
    list(&["-o", "=x"]).assert_fails(2, "-o takes KEY=VALUE");
    list(&["-o", S3Server::SECRET_KEY]).assert_fails(2, "-o takes KEY=VALUE");
    list(&["-o", "region=a", "-o", "region=b"]).assert_fails(2, "the option region is given twice");
    list(&["-o", "region=a", "-o", "AWS_REGION=b"]).assert_fails(2, "names of the same option, but have two values");
    list(&["-o", "stall_timeout=soon"]).assert_fails(2, "must be a duration of at most a day");
    list(&["-o", "checksum_algorithm=md5"]).assert_fails(2, "must be sha256, crc64nvme or none");
    list(&["-o", "ca_certificate=missing.pem"]).assert_fails(1, "missing.pem: cannot read the certificates");
    list(&["-o"]).assert_fails(2, "KEY=VALUE");
    for limit in ["--limit-upload", "--limit-download"] {
        for rate in ["0", "0B", "fast", "3x", "-1", "1.5M", "20MB", "99999999999999999999G", "", "K"] {
            list(&[&format!("{limit}={rate}")]).assert_fails(2, "must be a number of bytes per second with a unit");
        }
        let advice = "has no unit: write 20B for bytes per second, or 20KiB";
        list(&[&format!("{limit}=20")]).assert_fails(2, advice);
    }
    for connections in ["0", "1025", "many"] {
        list(&["--connections", connections]).assert_fails(2, "1 to 1024");
    }
    bucket.sandbox.run(&["create", "--db", "a.db", "-o", "region=x"]).assert_fails(2, "takes no options");
    assert_eq!(bucket.sandbox.names("."), ["a.db"]);
    assert_eq!(bucket.server.wire().requests().len(), 0);
}

#[test]
fn invalid_locations_are_usage_errors() {
    let sandbox = Sandbox::with_rows(10);
    let at = |store: &str| sandbox.run(&["create", "--db", "a.db", "--store", store]);
    at("gcs://bucket/prod").assert_fails(2, "write gs://bucket/prefix");
    at("https://bucket.s3.amazonaws.com").assert_fails(2, "write s3://bucket/prefix");
    at("s3:bucket").assert_fails(2, "two slashes are missing");
    at("s3://").assert_fails(2, "the bucket is missing");
    at("s3://key:secret@bucket").assert_fails(2, "contain no options and no keys");
    at("s3://bucket?region=x").assert_fails(2, "pass options with -o");
    at("s3://bucket/a/../b").assert_fails(2, "invalid prefix");
    at("ftp://host/x").assert_fails(2, "unsupported URL scheme ftp://");
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn a_provider_that_is_not_built_in_is_reported_with_its_feature() {
    // Whether it is built in depends on the features of the packages that are built together with this test.
    let azure: Location = "az://container/prod".parse().unwrap();
    let answer = open(&azure, &StoreConfig::default()).unwrap_err();
    let text = match answer.message().contains("not built") {
        true => "az:// is not built into this program; build it with the Cargo feature \"azure\"",
        false => "set AZURE_STORAGE_ACCOUNT_NAME",
    };
    Sandbox::empty().run(&["list", "--store", "az://container/prod"]).assert_fails(2, text);
}
