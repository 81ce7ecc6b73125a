//! Parsing of locations.

use std::path::PathBuf;

use ruvector_snapshot::ErrorKind;
use ruvector_snapshot::store::{Location, Provider, StoreConfig, open};

#[test]
fn paths_and_urls_are_parsed() {
    let cases = [
        ("/var/backups", "/var/backups"),
        ("./snapshots", "./snapshots"),
        ("a b/100%/c#d?e", "a b/100%/c#d?e"),
        ("./2024:01", "./2024:01"),
        ("./2b:bucket", "./2b:bucket"),
        ("../b2:bucket", "../b2:bucket"),
        ("/b2:bucket", "/b2:bucket"),
        ("dir/s3:x", "dir/s3:x"),
        ("file:///var/backups", "/var/backups"),
        ("FILE:///var/backups/", "/var/backups/"),
        ("file://localhost/var", "/var"),
        ("file:///a%20b/%C3%A9/%2525%23", "/a b/é/%25#"),
        ("file:///a b/é/%5C%20", "/a b/é/\\ "),
        ("file:///a/./b/../c", "/a/c"),
    ];
    for (text, path) in cases {
        assert_eq!(text.parse::<Location>().unwrap(), Location::Local(PathBuf::from(path)), "{text}");
    }
    let cases = [
        ("s3://bucket", Provider::S3, "bucket", ""),
        ("S3://bucket/", Provider::S3, "bucket", ""),
        ("gs://my-bucket.example/a/b c/", Provider::Gcs, "my-bucket.example", "a/b c"),
        ("az://container/é%20", Provider::Azure, "container", "é%20"),
    ];
    for (text, provider, bucket, prefix) in cases {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        let location: Location = text.parse().unwrap();
        assert_eq!(location, Location::Bucket { provider, bucket, prefix }, "{text}");
        assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
    }
    assert_eq!("memory://".parse::<Location>().unwrap(), Location::Memory);
    assert_eq!(Location::Memory.to_string(), "memory://");
}

#[test]
fn invalid_locations_are_refused_with_a_reason() {
    let cases = [
        ("", "location is empty"),
        ("https://example.org/x", "unsupported URL scheme https://; write s3://bucket/prefix"),
        ("gcs://bucket", "write gs://bucket/prefix"),
        ("abfss://bucket", "write az://container/prefix"),
        ("ftp://host", "unsupported URL scheme ftp://; use a directory"),
        ("s3://", "the bucket is missing"),
        ("s3:///prefix", "the bucket is missing"),
        ("gs://bucket?x=y", "no options and no keys"),
        ("s3://a bucket", "letters, digits"),
        ("s3://bucket/a//b", "a segment is empty"),
        ("s3://bucket/../b", "a segment is . or .."),
        ("sftp:backup@host", "looks like the remote place of another tool"),
        ("b2:bucket", "write ./ before it"),
        ("2b:bucket", "looks like the remote place of another tool"),
        ("_r2:bucket/prefix", "looks like the remote place of another tool"),
        ("2024:01", "write ./ before it"),
        (":b2:bucket", "looks like the remote place of another tool"),
        (".hidden:x", "write ./ before it"),
        ("é b:x", "looks like the remote place of another tool"),
        ("host:/srv/backups", "looks like the remote place of another tool"),
        ("user@host:backups", "looks like the remote place of another tool"),
        ("s3:/bucket", "two slashes are missing"),
        ("file:/var", "two slashes are missing"),
        ("memory:", "two slashes are missing"),
        ("memory://name", "takes no path"),
        ("file://", "full path"),
        ("file://var", "full path"),
        ("file://server/share", "three slashes"),
        ("file:///a?b=c", "no options"),
        ("file:///a#b", "no options"),
        ("file:///a\\b", "percent-encode"),
        ("file:///a\nb", "percent-encode"),
        ("file:///a ", "percent-encode"),
        ("file:///a%2", "two hexadecimal digits"),
        ("file:///a%é", "two hexadecimal digits"),
        ("file:///a%+1", "two hexadecimal digits"),
        ("file:///%FF", "UTF-8"),
        ("file:///%00", "UTF-8"),
    ];
    for (text, reason) in cases {
        let error = text.parse::<Location>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
}

#[test]
fn an_error_does_not_repeat_a_secret() {
    for text in ["s3://key:secret@bucket", "file://key:secret@host/x", "file:///x?token=secret", "s3:secret"] {
        let error = text.parse::<Location>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn each_open_of_memory_returns_a_new_store() {
    let first = open(&Location::Memory, &StoreConfig::default()).unwrap();
    let second = open(&Location::Memory, &StoreConfig::default().create(true)).unwrap();
    first.create("a", "x".into()).await.unwrap();
    assert_eq!(second.head("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(first.to_string(), "memory://");
}
