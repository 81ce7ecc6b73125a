//! What applies before what, and that `config show` says where it came from.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{CANARY, FILE, run, write};
use crate::sandbox::Sandbox;

/// Returns the value of a key in the document of `config show`, where it came from, and the place.
#[track_caller]
fn shown(document: &Value, key: &str) -> (Value, String, Value) {
    let values = document["values"].as_array().unwrap_or_else(|| panic!("{document}"));
    let value = values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("no {key} in {document}"));
    (value["value"].clone(), value["origin"].as_str().unwrap().to_owned(), value["place"].clone())
}

#[test]
fn the_command_line_applies_before_the_environment_and_only_credentials_of_that_complete_the_file() {
    let sandbox = Sandbox::empty();
    let show = |environment: &[(&str, &str)], args: &[&str]| {
        run(&sandbox, environment, &[&["config", "show", "--json"], args].concat()).into_json().1
    };
    let document = show(&[], &[]);
    let real = sandbox.path("").canonicalize().unwrap();
    assert_eq!(shown(&document, "store"), (json!(real.join("snapshots")), "default".to_owned(), Value::Null));
    assert_eq!(shown(&document, "connections"), (json!("4"), "default".to_owned(), Value::Null));
    assert_eq!(shown(&document, "limit_upload"), (Value::Null, "default".to_owned(), Value::Null));

    let text = "store = \"@a\"\n[stores.a]\nlocation = \"s3://bucket/a\"\nconnections = 7\nlimit_upload = \"2K\"\n\
                limit_download = \"5000B\"\noptions = { region = \"eu-west-1\", endpoint = \"https://a.example\" }\n\
                [stores.b]\nlocation = \"kept/b\"\n";
    write(&sandbox, FILE, text);
    let at = |line: usize| json!(format!("{FILE}:{line}"));
    let file = || "file".to_owned();
    let document = show(&[], &[]);
    assert_eq!(shown(&document, "store"), (json!("@a"), file(), at(1)));
    assert_eq!(shown(&document, "location"), (json!("s3://bucket/a"), file(), at(3)));
    assert_eq!(shown(&document, "connections"), (json!("7"), file(), at(4)));
    assert_eq!(shown(&document, "limit_upload"), (json!("2KiB"), file(), at(5)));
    assert_eq!(shown(&document, "limit_download"), (json!("5000B"), file(), at(6)));
    assert_eq!(shown(&document, "options.region"), (json!("eu-west-1"), file(), at(7)));
    assert_eq!(document["store"], "s3://bucket/a");

    let environment = [("AWS_REGION", "eu-west-2"), ("AWS_SECRET_ACCESS_KEY", CANARY)];
    let document = show(&environment, &["-o", "endpoint=https://b.example", "--limit-upload", "1M"]);
    let of = |origin: &str| origin.to_owned();
    assert_eq!(shown(&document, "options.region"), (json!("eu-west-1"), file(), at(7)));
    assert_eq!(shown(&document, "options.endpoint"), (json!("https://b.example"), of("flag"), json!("-o")));
    let secret = (json!("***"), of("environment"), json!("AWS_SECRET_ACCESS_KEY"));
    assert_eq!(shown(&document, "options.secret_access_key"), secret);
    assert_eq!(shown(&document, "limit_upload"), (json!("1MiB"), of("flag"), json!("--limit-upload")));

    let document = show(&[("RUVECTOR_SNAPSHOT_STORE", "@b")], &[]);
    assert_eq!(shown(&document, "store"), (json!("@b"), of("environment"), json!("RUVECTOR_SNAPSHOT_STORE")));
    assert_eq!(document["store"], json!(sandbox.path("kept/b").canonicalize().unwrap_or(sandbox.path("kept/b"))));
    // What a profile says is for the profile alone.
    assert_eq!(shown(&document, "connections").1, "default");
    let document = show(&[("RUVECTOR_SNAPSHOT_STORE", "@b")], &["--store", "other"]);
    assert_eq!(shown(&document, "store"), (json!(real.join("other")), of("flag"), json!("--store")));
    assert_eq!(shown(&show(&[], &["--no-config"]), "store").1, "default");
    // All that the file says is there, with its lines.
    assert_eq!(shown(&document, "stores.a.limit_upload"), (json!("2KiB"), file(), at(5)));

    let printed = sandbox.ok_with_warning(&["config", "show"], "nothing is sent there");
    let first = format!("configuration file {}\nstore = @a", real.join(FILE).display());
    assert!(printed.starts_with(&first), "{printed}");
    assert!(printed.contains("ruvector-snapshot.toml:4\n"), "{printed}");
    assert!(printed.lines().skip(1).all(|line| line.len() <= 80), "{printed}");
}

#[test]
fn all_paths_are_absolute() {
    let sandbox = Sandbox::empty();
    let text = "store = \"@a\"\n[stores.a]\nlocation = \"kept\"\n[databases.b]\npath = \"b.db\"\nscratch_dir = \"./scratch\"\n";
    write(&sandbox, FILE, text);
    let (_, document) = run(&sandbox, &[], &["config", "show", "--json"]).into_json();
    let real = sandbox.path("").canonicalize().unwrap();
    let path = |name: &str| json!(real.join(name));
    assert_eq!(document["file"]["path"], path(FILE), "{document}");
    for (key, name) in [
        ("location", "kept"),
        ("stores.a.location", "kept"),
        ("databases.b.path", "b.db"),
        ("databases.b.scratch_dir", "scratch"),
    ] {
        assert_eq!(shown(&document, key).0, path(name), "{key}");
    }
    assert_eq!(sandbox.ok(&["config", "path"]).trim_end(), real.join(FILE).to_str().unwrap());
}

#[test]
fn a_password_in_a_url_is_in_no_document() {
    let sandbox = Sandbox::empty();
    for store in [format!("s3://KEY:{CANARY}@bucket/p"), format!("https://{CANARY}@host/p")] {
        for args in [["list", "--json"], ["config", "show"]] {
            let result = sandbox.run(&[&args[..], &["--store", &store, "--json"][..]].concat());
            assert_eq!(result.exit_code, Some(2), "{result:?}");
            assert!(!format!("{result:?}").contains(CANARY), "{result:?}");
        }
    }
    let url = format!("https://user:{CANARY}@host");
    for format in ["--json", "--quiet"] {
        let result =
            run(&sandbox, &[("AWS_ENDPOINT_URL", &url)], &["config", "show", "--store", "s3://bucket/p", format]);
        assert!(result.stdout.contains("***") && !format!("{result:?}").contains(CANARY), "{result:?}");
    }
}

#[test]
fn a_variable_with_the_name_of_its_option_is_shown_as_one_and_what_is_typed_by_such_a_name_as_typed() {
    let sandbox = Sandbox::empty();
    let show = |environment: &[(&str, &str)], args: &[&str]| {
        let (_, document) = run(&sandbox, environment, &[&["config", "show", "--json"], args].concat()).into_json();
        shown(&document, &format!("options.{}", if args[1].starts_with("gs") { "service_account" } else { "region" }))
    };
    for variable in ["SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT"] {
        let expected = (json!("key.json"), "environment".to_owned(), json!(variable));
        assert_eq!(show(&[(variable, "key.json")], &["--store", "gs://bucket"]), expected);
    }
    for name in ["region", "AWS_REGION"] {
        let expected = (json!("eu-west-1"), "flag".to_owned(), json!("-o"));
        assert_eq!(show(&[], &["--store", "s3://bucket", "-o", &format!("{name}=eu-west-1")]), expected);
    }
}

/// `OPERATIONS.md` says so of every bucket, and `config check` fails because of each.
#[test]
fn a_bucket_that_no_command_uses_is_a_warning_whatever_the_store_is() {
    let sandbox = Sandbox::empty();
    write(
        &sandbox,
        FILE,
        "store = \"here\"\n[stores.a]\nlocation = \"s3://bucket/a\"\n[stores.b]\nlocation = \"gs://bucket\"\n",
    );
    for store in [&[][..], &["--store", "other"], &["--store", "@a"]] {
        let result = sandbox.run(&[&["config", "show"], store].concat());
        result.assert_warns("ruvector-snapshot.toml:3 names s3://bucket/a, but this file was only found");
        result.assert_warns("ruvector-snapshot.toml:5 names gs://bucket, but this file was only found");
        assert_eq!(result.stderr.lines().count(), 2, "{result:?}");
    }
    assert_eq!(super::run_named(&sandbox, &[], &["config", "show"]).stderr, "");
}

#[test]
fn paths_of_the_file_are_shown_whole_and_without_detours() {
    let sandbox = Sandbox::empty();
    let root = sandbox.path(".").canonicalize().unwrap();
    fs::create_dir_all(root.join("real/deep")).unwrap();
    symlink(root.join("real/deep"), root.join("link")).unwrap();
    let text = "store = \"@a\"\n[stores.a]\nlocation = \"../st\"\n[databases.a]\npath = \"../link/../a.db\"\n\
                scratch_dir = \"./x/./y\"\n[databases.b]\npath = \"absent/../a.db\"\n";
    write(&sandbox, "cf/own.toml", text);
    let (_, document) = sandbox.json(&["config", "show", "--config", "cf/own.toml"]);
    for (key, path) in [
        ("location", "st"),
        ("stores.a.location", "st"),
        ("databases.a.path", "real/a.db"),
        ("databases.a.scratch_dir", "cf/x/y"),
    ] {
        assert_eq!(shown(&document, key).0, json!(root.join(path)), "{key}");
    }
    // What is not there cannot be resolved.
    assert!(shown(&document, "databases.b.path").0.as_str().unwrap().ends_with("/cf/absent/../a.db"), "{document}");
    let missing = sandbox.run(&["list", "--config", "cf/own.toml"]);
    missing.assert_fails(1, &format!("{}: the directory does not exist", root.join("st").display()));
}
