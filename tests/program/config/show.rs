//! What applies before what, and that `config show` says where it came from.

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
    assert_eq!(shown(&document, "store"), (json!("./snapshots"), "default".to_owned(), Value::Null));
    assert_eq!(shown(&document, "connections"), (json!("4"), "default".to_owned(), Value::Null));
    assert_eq!(shown(&document, "limit_upload"), (Value::Null, "default".to_owned(), Value::Null));

    let text = "store = \"@a\"\n[stores.a]\nlocation = \"s3://bucket/a\"\nconnections = 7\nlimit_upload = \"2K\"\n\
                limit_download = 5_000\noptions = { region = \"eu-west-1\", endpoint = \"https://a.example\" }\n\
                [stores.b]\nlocation = \"kept/b\"\n";
    write(&sandbox, FILE, text);
    let at = |line: usize| json!(format!("{FILE}:{line}"));
    let file = || "file".to_owned();
    let document = show(&[], &[]);
    assert_eq!(shown(&document, "store"), (json!("@a"), file(), at(1)));
    assert_eq!(shown(&document, "location"), (json!("s3://bucket/a"), file(), at(3)));
    assert_eq!(shown(&document, "connections"), (json!("7"), file(), at(4)));
    assert_eq!(shown(&document, "limit_upload"), (json!("2048"), file(), at(5)));
    assert_eq!(shown(&document, "limit_download"), (json!("5000"), file(), at(6)));
    assert_eq!(shown(&document, "options.region"), (json!("eu-west-1"), file(), at(7)));
    assert_eq!(document["store"], "s3://bucket/a");

    let environment = [("AWS_REGION", "eu-west-2"), ("AWS_SECRET_ACCESS_KEY", CANARY)];
    let document = show(&environment, &["-o", "endpoint=https://b.example", "--limit-upload", "1M"]);
    let of = |origin: &str| origin.to_owned();
    assert_eq!(shown(&document, "options.region"), (json!("eu-west-1"), file(), at(7)));
    assert_eq!(shown(&document, "options.endpoint"), (json!("https://b.example"), of("flag"), json!("-o")));
    let secret = (json!("***"), of("environment"), json!("AWS_SECRET_ACCESS_KEY"));
    assert_eq!(shown(&document, "options.secret_access_key"), secret);
    assert_eq!(shown(&document, "limit_upload"), (json!("1048576"), of("flag"), json!("--limit-upload")));

    let document = show(&[("RUVECTOR_SNAPSHOT_STORE", "@b")], &[]);
    assert_eq!(shown(&document, "store"), (json!("@b"), of("environment"), json!("RUVECTOR_SNAPSHOT_STORE")));
    assert_eq!(document["store"], json!(sandbox.path("kept/b").canonicalize().unwrap_or(sandbox.path("kept/b"))));
    // What a profile says is for the profile alone.
    assert_eq!(shown(&document, "connections").1, "default");
    let document = show(&[("RUVECTOR_SNAPSHOT_STORE", "@b")], &["--store", "other"]);
    assert_eq!(shown(&document, "store"), (json!("other"), of("flag"), json!("--store")));
    assert_eq!(shown(&show(&[], &["--no-config"]), "store").1, "default");
    // All that the file says is there, with its lines.
    assert_eq!(shown(&document, "stores.a.limit_upload"), (json!("2K"), file(), at(5)));

    let printed = sandbox.ok_with_warning(&["config", "show"], "nothing is sent there");
    assert!(printed.starts_with("configuration file ruvector-snapshot.toml\nstore = @a"), "{printed}");
    assert!(printed.contains("ruvector-snapshot.toml:4\n"), "{printed}");
    assert!(printed.lines().all(|line| line.len() <= 80), "{printed}");
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
