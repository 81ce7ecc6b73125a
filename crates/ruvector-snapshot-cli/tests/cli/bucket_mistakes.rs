//! What users get wrong with buckets: told plainly, soon, with the right status, and without a secret.

use std::net::TcpListener;

use ruvector_snapshot::store::{Location, StoreConfig, open};
use test_servers::{GcsServer, S3Server};

use super::Desk;
use super::bucket::Bucket;

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

/// Every verb fails with this status, in these words, and nothing comes to be.
#[track_caller]
fn all_fail(bucket: &Bucket, status: i32, words: &str) {
    for verb in VERBS {
        bucket.run(verb).fails(status, words);
    }
    assert_eq!((bucket.desk.names("."), bucket.server.keys()), (vec!["a.db".to_owned()], Vec::new()));
}

/// Another value of a variable, or none.
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

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_bucket_that_is_missing() {
    for (bucket, store) in [(s3(), "s3://missing/prod"), (gcs(), "gs://missing/prod")] {
        let bucket = Bucket { store: store.to_owned(), ..bucket };
        all_fail(&bucket, 1, "there is no such bucket; check its name, or make it first");
        let (status, document) = bucket.json(&["list"]);
        assert_eq!((status, document["error"]["exit_status"].as_i64()), (1, Some(1)));
    }
}

#[test]
fn keys_that_are_wrong() {
    let wrong = || Some("wrong-all-the-same".to_owned());
    let secret = set(s3(), "AWS_SECRET_ACCESS_KEY", wrong());
    all_fail(&secret, 1, "the secret does not belong to the access key");
    assert_eq!(secret.json(&["list"]).1["error"]["kind"], "denied");
    all_fail(&set(s3(), "AWS_ACCESS_KEY_ID", wrong()), 1, "does not know the access key; check AWS_ACCESS_KEY_ID");
    all_fail(&set(gcs(), "GOOGLE_BEARER_TOKEN", wrong()), 1, "the server wants credentials");
    let ran = secret.run(&["list"]);
    assert!(ran.stderr.contains("hint: ") && !ran.stderr.contains("wrong-all-the-same"), "{ran:?}");
}

#[test]
fn half_of_the_keys() {
    let half = set(s3(), "AWS_SECRET_ACCESS_KEY", None);
    all_fail(&half, 2, "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not");
    let half = set(s3(), "AWS_ACCESS_KEY_ID", None);
    all_fail(&half, 2, "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not");
}

/// A machine without keys asks the metadata service of its cloud. Here that is an address of the test's own.
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
fn no_keys_and_no_metadata_service() {
    for (bucket, words) in without_keys(&nobody()) {
        all_fail(&bucket, 1, words);
        bucket.run(&["list"]).fails(1, "no credentials were given");
    }
}

#[test]
fn no_keys_and_something_else_in_place_of_the_metadata_service() {
    // A proxy that refuses, and a port that takes connections and says nothing.
    let refusing = S3Server::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for service in [refusing.endpoint().replace("http://", ""), silent.local_addr().unwrap().to_string()] {
        for (bucket, words) in without_keys(&service) {
            bucket.run(&["list"]).fails(1, words);
        }
    }
}

#[test]
fn a_metadata_service_is_asked_without_a_proxy() {
    for (bucket, words) in without_keys(&nobody()) {
        let proxy = S3Server::start();
        let bucket = set(bucket, "HTTP_PROXY", Some(proxy.endpoint()));
        let bucket = set(bucket, "http_proxy", Some(proxy.endpoint()));
        bucket.run(&["list"]).fails(1, words);
        assert_eq!(proxy.wire().requests().len(), 0);
    }
}

#[test]
fn a_server_that_is_not_there() {
    for (bucket, name) in [(s3(), "AWS_ENDPOINT_URL"), (gcs(), "GOOGLE_BASE_URL")] {
        let address = nobody();
        let bucket = set(bucket, name, Some(format!("http://{address}")));
        all_fail(&bucket, 1, &format!("the server at {address} cannot be reached (Connection refused"));
        let ran = bucket.run(&["list"]);
        assert!(ran.stderr.contains("check the address and the network") && ran.stderr.lines().count() == 2, "{ran:?}");
    }
}

#[test]
fn an_address_without_encryption_must_be_meant() {
    all_fail(&set(s3(), "AWS_ALLOW_HTTP", None), 2, "set allow_http=true if that is meant");
    all_fail(&set(gcs(), "GOOGLE_ALLOW_HTTP", None), 2, "set allow_http=true if that is meant");
    let bucket = s3();
    bucket.run(&["list", "-o", "allow_http=maybe"]).fails(2, "the option allow_http must be true or false");
    bucket.run(&["list", "-o", "endpoint=127.0.0.1:9000"]).fails(2, "must begin with https:// or http://");
    bucket.run(&["list", "-o", "endpoint=http://user:pass@127.0.0.1"]).fails(2, "no user and no password");
}

#[test]
fn options_that_cannot_be() {
    let bucket = s3();
    let list = |more: &[&str]| bucket.run(&[&["list"], more].concat());
    list(&["-o", "regoin=x"]).fails(2, "s3:// has no option \"regoin\"; it has access_key_id, ");
    list(&["-o", "region"]).fails(2, "-o takes KEY=VALUE");
    list(&["-o", "=x"]).fails(2, "-o takes KEY=VALUE");
    list(&["-o", S3Server::SECRET_KEY]).fails(2, "-o takes KEY=VALUE");
    list(&["-o", "region=a", "-o", "region=b"]).fails(2, "the option region is given twice");
    list(&["-o", "region=a", "-o", "AWS_REGION=b"]).fails(2, "the same one with two values");
    list(&["-o", "stall_timeout=soon"]).fails(2, "must be a time of at most a day");
    list(&["-o", "checksum_algorithm=md5"]).fails(2, "must be sha256, crc64nvme or none");
    list(&["-o", "ca_certificate=missing.pem"]).fails(1, "missing.pem: cannot read the certificates");
    list(&["-o"]).fails(2, "KEY=VALUE");
    for limit in ["--limit-upload", "--limit-download"] {
        for rate in ["0", "fast", "3x", "-1", "1.5M", "99999999999999999999G"] {
            list(&[&format!("{limit}={rate}")]).fails(2, "a rate is a number of bytes a second");
        }
    }
    for connections in ["0", "1025", "many"] {
        list(&["--connections", connections]).fails(2, "1 to 1024");
    }
    bucket.desk.run(&["create", "--db", "a.db", "-o", "region=x"]).fails(2, "takes no options");
    assert_eq!(bucket.desk.names("."), ["a.db"]);
    assert_eq!(bucket.server.wire().requests().len(), 0);
}

#[test]
fn locations_that_cannot_be() {
    let desk = Desk::with_rows(10);
    let at = |store: &str| desk.run(&["create", "--db", "a.db", "--store", store]);
    at("gcs://bucket/prod").fails(2, "write gs://bucket/prefix");
    at("https://bucket.s3.amazonaws.com").fails(2, "write s3://bucket/prefix");
    at("s3:bucket").fails(2, "two slashes are missing");
    at("s3://").fails(2, "the bucket is missing");
    at("s3://key:secret@bucket").fails(2, "holds no options and no keys");
    at("s3://bucket?region=x").fails(2, "give options with -o");
    at("s3://bucket/a/../b").fails(2, "the prefix");
    at("ftp://host/x").fails(2, "ftp:// is no place for snapshots");
    assert_eq!(desk.names("."), ["a.db"]);
}

#[test]
fn a_provider_that_is_not_built_in_is_named_with_its_feature() {
    // Whether it is depends on what else is built with this test.
    let azure: Location = "az://container/prod".parse().unwrap();
    let answer = open(&azure, &StoreConfig::default()).unwrap_err();
    let words = match answer.message().contains("not built") {
        true => "az:// is not built into this program; build it with the Cargo feature \"azure\"",
        false => "set AZURE_STORAGE_ACCOUNT_NAME",
    };
    Desk::empty().run(&["list", "--store", "az://container/prod"]).fails(2, words);
}
