//! Keys of profiles: where they are read, and that no command prints a secret.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use test_servers::S3Server;

use super::{CANARY, FILE, offsite, run_named, write};
use crate::bucket::{Bucket, Server};

#[test]
fn a_profile_is_a_store_with_its_own_keys_for_every_command() {
    let (sandbox, server) = offsite();
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    let ok = |args: &[&str]| {
        let result = run_named(&sandbox, &environment, args);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{args:?} {result:?}");
        result.stdout
    };
    ok(&["create", "--db", "a.db", "--name", "one", "--quiet"]);
    ok(&["copy", "--all", "--to", "@offsite", "--quiet"]);
    assert!(ok(&["list", "--store", "@offsite"]).contains("1 snapshot, "));
    ok(&["diff", "latest", "latest", "--to", "@offsite", "--exit-code", "--quiet"]);
    assert!(ok(&["show", "one", "--store", "@offsite"]).contains(&format!("at s3://{}/offsite", S3Server::BUCKET)));
    // What to type next works as it stands.
    let printed = run_named(&sandbox, &environment, &["create", "--db", "a.db", "--store", "@offsite"]).stdout;
    assert!(printed.contains("next: ruvector-snapshot --store @offsite verify "), "{printed}");
    assert_eq!(server.objects().len(), 10);
    ok(&["config", "check"]);
}

#[test]
fn secrets_that_cannot_be_read_name_the_line_and_what_is_missing() {
    let (sandbox, server) = offsite();
    let line = |number: usize| format!("ruvector-snapshot.toml:{number}");
    let result = run_named(&sandbox, &[], &["list", "--store", "@offsite"]);
    result.assert_fails(2, "the environment variable OFFSITE_KEY is not set");
    assert!(result.stderr.contains(&line(7)), "{result:?}");
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    fs::remove_file(sandbox.path("offsite.secret")).unwrap();
    let result = run_named(&sandbox, &environment, &["list", "--store", "@offsite"]);
    result.assert_fails(2, "offsite.secret: No such file");
    assert!(result.stderr.contains(&line(8)), "{result:?}");
    write(&sandbox, "offsite.secret", "\n");
    run_named(&sandbox, &environment, &["list", "--store", "@offsite"]).assert_fails(2, "it is empty");
    // The local store needs none of them, and nothing was sent.
    sandbox.ok(&["create", "--db", "a.db"]);
    assert!(server.wire().requests().is_empty());
    let (exit_code, document) = sandbox.json(&["config", "check", FILE]);
    assert_eq!((exit_code, document["valid"].clone()), (2, json!(false)));
    let lines: Vec<_> =
        document["problems"].as_array().unwrap().iter().map(|problem| problem["line"].clone()).collect();
    assert_eq!(lines, [json!(7), json!(8)]);
    assert!(server.wire().requests().is_empty());
}

/// Keys of the environment are those of another store, for example of the one that is copied from.
#[test]
fn a_profile_with_credentials_of_its_own_takes_none_of_the_environment() {
    let (sandbox, server) = offsite();
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    for other in [
        ("AWS_ACCESS_KEY_ID", "AKIAOTHER"),
        ("AWS_SECRET_ACCESS_KEY", "other"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "token"),
        ("AWS_REGION", "eu-west-9"),
        ("AWS_CA_BUNDLE", "absent.pem"),
    ] {
        let result = run_named(&sandbox, &[environment[0], other], &["list", "--store", "@offsite"]);
        // Certificates say whom to trust, and are for every store.
        let is_used = other.0 == "AWS_CA_BUNDLE";
        let expected = if is_used { (Some(1), true) } else { (Some(4), false) };
        assert_eq!((result.exit_code, result.stderr.contains("absent.pem")), expected, "{other:?}: {result:?}");
        assert!(is_used || result.stderr.is_empty(), "{other:?}: {result:?}");
    }
    // What says no is no credential.
    let text = fs::read_to_string(sandbox.path(FILE)).unwrap();
    let is_key = |line: &&str| !line.starts_with("access_key_id") && !line.starts_with("secret_access_key");
    let unsigned: String = text.lines().filter(is_key).flat_map(|line| [line, "\n"]).collect();
    write(
        &sandbox,
        "unsigned.toml",
        &unsigned.replace("[stores.offsite.options]", "[stores.offsite.options]\nskip_signature = false"),
    );
    let keys = [("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY)];
    let list = ["list", "--store", "@offsite", "--config", "unsigned.toml"];
    let result = run_named(&sandbox, &keys, &list);
    assert_eq!(result.exit_code, Some(4), "{result:?}");
    fs::set_permissions(sandbox.path("offsite.secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let result = run_named(&sandbox, &environment[..1], &["config", "check"]);
    result.assert_warns("every user of this machine can read ");
    assert!(result.stdout.contains("is good"), "{result:?}");
    let result = run_named(&sandbox, &environment[..1], &["list", "--store", "@offsite"]);
    assert!(result.stderr.contains("every user of this machine can read "), "{result:?}");
    assert!(!server.wire().requests().is_empty());
}

#[test]
fn another_source_of_the_environment_is_a_warning() {
    let (sandbox, _server) = offsite();
    write(&sandbox, "b.toml", "[databases.a]\npath = \"a.db\"\nsource = \"articles\"\n");
    let create = |source| {
        let environment = [("RUVECTOR_SNAPSHOT_SOURCE", source)];
        run_named(&sandbox, &environment, &["create", "--db", "@a", "--config", "b.toml"])
    };
    let result = create("images");
    let warning =
        "the environment variable RUVECTOR_SNAPSHOT_SOURCE replaces the source \"articles\" of @a by \"images\"";
    result.assert_warns(warning);
    assert_eq!(create(" articles\n").stderr, "");
}

#[test]
fn no_command_prints_a_secret() {
    let bucket = Bucket::s3(S3Server::start());
    let Server::S3(server) = &bucket.server else { return };
    let sandbox = &bucket.sandbox;
    let text = format!(
        "store = \"@a\"\n[stores.a]\nlocation = \"s3://{0}/a\"\n[stores.a.options]\nendpoint = \"{1}\"\nallow_http = true\n\
         access_key_id = \"{2}\"\nsecret_access_key = \"env:CANARY\"\nsession_token = \"file:token\"\nretry_timeout = \"500ms\"\n\
         [databases.d]\npath = \"a.db\"\n[retention.r]\nkeep_last = 1\n",
        S3Server::BUCKET,
        server.endpoint(),
        S3Server::ACCESS_KEY,
    );
    write(sandbox, FILE, &text);
    write(sandbox, "token", CANARY);
    let verbs: &[&[&str]] = &[
        &["config", "show"],
        &["config", "check"],
        &["config", "path"],
        &["list"],
        &["create", "--db", "@d"],
        &["show", "latest"],
        &["verify", "--all"],
        &["restore", "latest", "--to", "b.db"],
        &["dump", "latest"],
        &["export", "latest", "--to", "exported"],
        &["find", "id-000000"],
        &["diff", "latest", "latest", "--to", "@a"],
        &["drill", "latest"],
        &["search", "latest", "--vector", "[1]"],
        &["delete", "latest"],
        &["copy", "--all", "--to", "@a"],
        &["compact", "latest"],
        &["pin", "latest"],
        &["unpin", "latest"],
        &["prune", "--policy", "r"],
        &["store", "check"],
        &["completions", "bash"],
        // With the secret as an option, which is wrong in another way each time.
        &["list", "-o", "secret_access_key=c4n4ry-0f-a-s3cret"],
        &["config", "show", "-o", "secret_access_key=c4n4ry-0f-a-s3cret"],
    ];
    for verb in verbs {
        for json in [&[][..], &["--json"]] {
            let result = run_named(sandbox, &[("CANARY", CANARY), ("RUST_LOG", "trace")], &[verb, json].concat());
            assert!(!result.stdout.contains(CANARY) && !result.stderr.contains(CANARY), "{verb:?} {result:?}");
            assert!(!result.stderr.contains("panicked"), "{verb:?} {result:?}");
        }
    }
    // The requests were signed with it, so it was read.
    assert!(server.wire().requests().iter().any(|request| request.header("x-amz-security-token") == Some(CANARY)));
}
