//! On which server the bucket of a profile is: on the one that the file says, if the file is named.

use std::fs;

use test_servers::S3Server;

use super::{FILE, RunResult, offsite, run, run_named, write};

#[test]
fn a_variable_moves_no_profile_to_another_server() {
    let (sandbox, server) = offsite();
    sandbox.ok(&["create", "--db", "a.db"]);
    let other = S3Server::start();
    let endpoint = other.endpoint().to_string();
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY), ("AWS_ENDPOINT_URL", endpoint.as_str())];
    let copy = ["copy", "--all", "--to", "@offsite"];
    for args in [
        &copy[..],
        &[&copy[..], &["--dry-run"]].concat(),
        &["diff", "latest", "latest", "--to", "@offsite"],
        &["list", "--store", "@offsite"],
        &["create", "--db", "a.db", "--store", "@offsite"],
    ] {
        let result = run_named(&sandbox, &environment, args);
        result.assert_fails(
            2,
            "AWS_ENDPOINT_URL would make @offsite a store of another server than ruvector-snapshot.toml:5 says",
        );
    }
    // Neither does a variable decide for a profile that leaves it to the provider.
    let text = fs::read_to_string(sandbox.path(FILE)).unwrap();
    let line = text.lines().find(|line| line.starts_with("endpoint")).unwrap();
    write(&sandbox, FILE, &text.replace(line, ""));
    let result = run_named(&sandbox, &environment, &["list", "--store", "@offsite"]);
    result.assert_fails(2, "AWS_ENDPOINT_URL would make @offsite a store of another server than");
    assert!(result.stderr.contains("endpoint = \"env:AWS_ENDPOINT_URL\""), "{result:?}");
    assert!(other.wire().requests().is_empty() && server.wire().requests().is_empty());
    // What is typed is meant, whatever the option is called, and so is a variable that the profile names.
    for name in ["endpoint", "AWS_ENDPOINT_URL", "aws_endpoint"] {
        let typed = format!("{name}={}", server.endpoint());
        let result = run_named(&sandbox, &environment, &[&copy[..], &["--to-option", &typed]].concat());
        assert_eq!(result.exit_code, Some(0), "{result:?}");
    }
    write(&sandbox, FILE, &text.replace(line, "endpoint = \"env:AWS_ENDPOINT_URL\""));
    let same = server.endpoint().to_string();
    let environment = [environment[0], ("AWS_ENDPOINT_URL", same.as_str())];
    let result = run_named(&sandbox, &environment, &copy);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    // And so is the same server.
    write(&sandbox, FILE, &text);
    let result = run_named(&sandbox, &environment, &copy);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    assert!(other.wire().requests().is_empty() && !server.objects().is_empty());
}

#[test]
fn a_file_that_is_only_found_in_the_working_directory_sends_nothing_to_a_server() {
    let (sandbox, server) = offsite();
    sandbox.ok(&["create", "--db", "a.db"]);
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    for args in [
        &["list", "--store", "@offsite"][..],
        &["create", "--db", "a.db", "--store", "@offsite"],
        &["create", "--db", "a.db", "--store", "@offsite", "--dry-run"],
        &["copy", "--all", "--to", "@offsite"],
        &["diff", "latest", "latest", "--to", "@offsite"],
        &["store", "check", "--store", "@offsite"],
    ] {
        let result = run(&sandbox, &environment, args);
        result.assert_fails(2, "ruvector-snapshot.toml:3 names s3://");
        assert!(result.stderr.contains("name it with --config ruvector-snapshot.toml"), "{result:?}");
    }
    let store = format!("s3://{}/offsite", S3Server::BUCKET);
    write(&sandbox, "elsewhere/ruvector-snapshot.toml", &format!("store = \"{store}\"\n"));
    let endpoint = server.endpoint().to_string();
    let mut command = sandbox.command(&["list"]);
    command.env("AWS_ENDPOINT_URL", &endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_ACCESS_KEY_ID", "AKID");
    let result = RunResult::from(command.current_dir(sandbox.path("elsewhere")).output().unwrap());
    result.assert_fails(2, "ruvector-snapshot.toml:1 names s3://");
    assert!(server.wire().requests().is_empty());
    // What it says of this machine is used, and what it would do is shown.
    sandbox.ok(&["list"]);
    let shown = sandbox.ok(&["config", "show", "--store", "@offsite"]);
    assert!(shown.contains("options.access_key_id = env:OFFSITE_KEY"), "{shown}");
    // It has no snapshots.
    let list = ["list", "--store", "@offsite"];
    assert_eq!(run(&sandbox, &environment, &[&list[..], &["--config", FILE]].concat()).exit_code, Some(4));
    // A directory of the user is as good as a name.
    let text = fs::read_to_string(sandbox.path(FILE)).unwrap().replace("file:offsite.secret", "env:OFFSITE_SECRET");
    fs::remove_file(sandbox.path(FILE)).unwrap();
    write(&sandbox, "home/.config/ruvector-snapshot/ruvector-snapshot.toml", &text);
    let home = sandbox.path("home").display().to_string();
    let environment = [environment[0], ("OFFSITE_SECRET", S3Server::SECRET_KEY), ("HOME", home.as_str())];
    assert_eq!(run(&sandbox, &environment, &list).exit_code, Some(4));
    assert!(!server.wire().requests().is_empty());
}
