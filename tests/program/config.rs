//! The configuration file: where it is found, what applies before what, what is wrong with one, and that no secret of it is
//! ever printed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use test_servers::S3Server;

use super::bucket::{Bucket, Server};
use super::sandbox::{RunResult, Sandbox, create_database};

const FILE: &str = "ruvector-snapshot.toml";
const CANARY: &str = "c4n4ry-0f-a-s3cret";

fn write(sandbox: &Sandbox, name: &str, text: &str) {
    let path = sandbox.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn run(sandbox: &Sandbox, environment: &[(&str, &str)], args: &[&str]) -> RunResult {
    RunResult::from(sandbox.command(args).envs(environment.iter().copied()).output().unwrap())
}

/// Returns the value of a key in the document of `config show`, where it came from, and the place.
#[track_caller]
fn shown(document: &Value, key: &str) -> (Value, String, Value) {
    let values = document["values"].as_array().unwrap_or_else(|| panic!("{document}"));
    let value = values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("no {key} in {document}"));
    (value["value"].clone(), value["origin"].as_str().unwrap().to_owned(), value["place"].clone())
}

#[test]
fn the_first_file_that_exists_is_read_and_no_other() {
    let sandbox = Sandbox::empty();
    let file_of = |environment: &[(&str, &str)], args: &[&str]| {
        let result = run(&sandbox, environment, &[&["config", "path"], args].concat());
        (result.exit_code, result.stdout.trim_end().to_owned())
    };
    let home = sandbox.path("home").display().to_string();
    let xdg = sandbox.path("xdg").display().to_string();
    let environment = [("HOME", home.as_str())];
    assert_eq!(file_of(&environment, &[]), (Some(4), String::new()));
    let in_home = format!("{home}/.config/ruvector-snapshot/{FILE}");
    write(&sandbox, "home/.config/ruvector-snapshot/ruvector-snapshot.toml", "");
    assert_eq!(file_of(&environment, &[]), (Some(0), in_home.clone()));
    // A relative directory is ignored.
    assert_eq!(file_of(&[environment[0], ("XDG_CONFIG_HOME", "xdg")], &[]), (Some(0), in_home));
    let environment = [environment[0], ("XDG_CONFIG_HOME", xdg.as_str())];
    write(&sandbox, "xdg/ruvector-snapshot/ruvector-snapshot.toml", "");
    assert_eq!(file_of(&environment, &[]), (Some(0), format!("{xdg}/ruvector-snapshot/{FILE}")));
    write(&sandbox, FILE, "");
    assert_eq!(file_of(&environment, &[]), (Some(0), FILE.to_owned()));
    write(&sandbox, "named.toml", "");
    let environment = [environment[0], environment[1], ("RUVECTOR_SNAPSHOT_CONFIG", "named.toml")];
    assert_eq!(file_of(&environment, &[]), (Some(0), "named.toml".to_owned()));
    assert_eq!(file_of(&environment, &["--config", "flag.toml"]), (Some(0), "flag.toml".to_owned()));
    // An empty variable is none.
    assert_eq!(file_of(&[("RUVECTOR_SNAPSHOT_CONFIG", "")], &[]), (Some(0), FILE.to_owned()));
}

#[test]
fn a_file_that_others_can_change_is_used_only_if_it_is_named() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    write(&sandbox, FILE, "");
    fs::set_permissions(sandbox.path(FILE), fs::Permissions::from_mode(0o646)).unwrap();
    sandbox.run(&["list"]).assert_fails(2, "can be changed by every user of this machine");
    sandbox.ok(&["list", "--config", FILE]);
    sandbox.ok(&["list", "--no-config"]);
    sandbox.ok(&["completions", "bash"]);
    // A link of another user, to a file of one's own. Only root can make one.
    write(&sandbox, "own.toml", "");
    fs::remove_file(sandbox.path(FILE)).unwrap();
    std::os::unix::fs::symlink("own.toml", sandbox.path(FILE)).unwrap();
    sandbox.ok(&["list"]);
    if std::os::unix::fs::lchown(sandbox.path(FILE), Some(65_534), None).is_ok() {
        sandbox.run(&["list"]).assert_fails(2, "belongs to another user");
    }
}

#[test]
fn a_file_that_cannot_be_read_stops_every_command_that_uses_it() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox
        .run(&["list", "--config", "absent.toml"])
        .assert_fails(2, "cannot read the configuration file absent.toml: ");
    sandbox.run(&["list", "--config", "snapshots"]).assert_fails(2, "it is a directory");
    fs::write(sandbox.path("bytes.toml"), b"store = \"\xff\"").unwrap();
    sandbox.run(&["list", "--config", "bytes.toml"]).assert_fails(2, "it is not UTF-8 text");
    fs::write(sandbox.path("large.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    sandbox.run(&["list", "--config", "large.toml"]).assert_fails(2, "larger than 1 MiB");
    sandbox.run(&["config", "check", "absent.toml"]).assert_fails(2, "cannot read");
    write(&sandbox, "bom.toml", "\u{feff}store = \"snapshots\"");
    assert!(sandbox.ok(&["list", "--config", "bom.toml"]).contains("1 snapshot"));
    let both = sandbox.run(&["list", "--config", "bom.toml", "--no-config"]);
    both.assert_fails(2, "cannot be used with");
}

#[test]
fn the_command_line_applies_before_the_environment_and_that_before_the_file() {
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
    assert_eq!(shown(&document, "options.region"), (json!("eu-west-2"), of("environment"), json!("AWS_REGION")));
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

    let printed = sandbox.ok(&["config", "show"]);
    assert!(printed.starts_with("configuration file ruvector-snapshot.toml\nstore = @a"), "{printed}");
    assert!(printed.contains("ruvector-snapshot.toml:4\n"), "{printed}");
    assert!(printed.lines().all(|line| line.len() <= 80), "{printed}");
}

#[test]
fn relative_paths_are_those_of_the_file_and_not_of_the_working_directory() {
    let sandbox = Sandbox::with_rows(20);
    write(
        &sandbox,
        "etc/conf.toml",
        "store = \"../kept\"\n[databases.a]\npath = \"../a.db\"\n[stores.h]\nlocation = \"~/h\"\n",
    );
    sandbox.ok(&["create", "--db", "@a", "--config", "etc/conf.toml"]);
    assert_eq!(sandbox.names("kept").len(), 1);
    let elsewhere = sandbox.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut command = sandbox.command(&["list", "--config", "../etc/conf.toml"]);
    let result = RunResult::from(command.current_dir(&elsewhere).output().unwrap());
    assert!(result.stdout.contains("1 snapshot, "), "{result:?}");
    let home = sandbox.path("home").display().to_string();
    let args = ["config", "show", "--json", "--store", "@h", "--config", "etc/conf.toml"];
    let (_, document) = run(&sandbox, &[("HOME", &home)], &args).into_json();
    assert_eq!(document["store"], format!("{home}/h"));
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_name_that_is_not_in_the_file_is_wrong_usage_with_a_suggestion() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.run(&["list", "--store", "@off"]).assert_fails(2, "there is no configuration file");
    write(
        &sandbox,
        FILE,
        "[stores.offsite]\nlocation = \"b\"\n[retention.nightly]\nkeep_last = 1\n[databases.a]\npath = \"a.db\"",
    );
    for (args, message, hint) in [
        (&["list", "--store", "@ofsite"][..], "--store: there is no profile of a store \"ofsite\"", "offsite"),
        (&["copy", "--all", "--to", "@ofsite"], "--to: there is no profile of a store \"ofsite\"", "offsite"),
        (&["diff", "one", "one", "--to", "@ofsite"], "--to: there is no profile", "offsite"),
        (&["create", "--db", "@b"], "--db: there is no database \"b\"", "did you mean a?"),
        (&["prune", "--policy", "nighty"], "--policy: there is no retention policy \"nighty\"", "nightly"),
        (&["prune", "--policy", "x"], "--policy: there is no retention policy \"x\"", "it has nightly"),
        (&["config", "show", "--store", "@x"], "--store: there is no profile", "it has offsite"),
    ] {
        let result = sandbox.run(args);
        result.assert_fails(2, message);
        assert!(result.stderr.contains(hint), "{result:?}");
    }
    let result = run(&sandbox, &[("RUVECTOR_SNAPSHOT_STORE", "@x")], &["list"]);
    result.assert_fails(2, "RUVECTOR_SNAPSHOT_STORE: there is no profile");
    assert!(!sandbox.path("@x").exists() && !sandbox.path("@ofsite").exists());
    // As before, a directory can have such a name.
    sandbox.ok(&["create", "--db", "a.db", "--store", "./@x"]);
    sandbox.ok(&["demo", "--no-config"]);
}

#[test]
fn create_takes_what_the_file_says_of_a_database_unless_it_is_given() {
    let sandbox = Sandbox::with_rows(20);
    let text = "[databases.articles]\npath = \"a.db\"\nname = \"news/articles\"\nsource = \"articles\"\n\
                labels = { host = \"db1\", team = \"search\" }\nembedding = { model = \"mini\", normalized = true }\n\
                scratch_dir = \".\"\n";
    write(&sandbox, FILE, text);
    let (_, document) = sandbox.json(&["create", "--db", "@articles"]);
    let snapshot = &document["snapshot"];
    assert_eq!((&snapshot["name"], &snapshot["source"]["name"]), (&json!("news/articles"), &json!("articles")));
    assert_eq!(snapshot["labels"], json!({ "host": "db1", "team": "search" }));
    assert!(snapshot["embedding"].to_string().contains("mini"), "{snapshot}");
    let args =
        ["create", "--db", "@articles", "--name", "x", "--label", "host=db2", "--label", "a=b", "--base", "latest"];
    let (_, document) = sandbox.json(&args);
    let snapshot = &document["snapshot"];
    assert_eq!(snapshot["name"], "x");
    assert_eq!(snapshot["labels"], json!({ "host": "db2", "team": "search", "a": "b" }));
    let environment = [("RUVECTOR_SNAPSHOT_SOURCE", "other")];
    let (_, document) = run(&sandbox, &environment, &["create", "--db", "@articles", "--json"]).into_json();
    assert_eq!(document["snapshot"]["source"]["name"], "other");
    let args = ["create", "--db", "@articles", "--source", "flag", "--json"];
    let (_, document) = run(&sandbox, &environment, &args).into_json();
    assert_eq!(document["snapshot"]["source"]["name"], "flag");
}

#[test]
fn prune_takes_rules_of_the_file_and_those_that_are_given_replace_them() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    write(
        &sandbox,
        FILE,
        "[retention.few]\nkeep_last = 1\ngroup_by = \"none\"\ntime_zone = \"Europe/Berlin\"\n[retention.labels]\nkeep_label = \"a=b\"\n",
    );
    let kept = |args: &[&str]| {
        let (exit_code, document) = sandbox.json(&[&["prune", "--dry-run", "--policy"], args].concat());
        let keep = document["keep"].as_array().map_or(0, Vec::len);
        (exit_code, keep, document["group_by"].clone())
    };
    assert_eq!(kept(&["few"]), (0, 1, json!("none")));
    assert_eq!(kept(&["few", "--keep-last", "2"]), (0, 2, json!("none")));
    assert_eq!(kept(&["few", "--group-by", "name"]), (0, 3, json!("name")));
    assert_eq!(kept(&["labels", "--keep-last", "2", "--keep-label", "c"]), (0, 2, json!("source")));
    sandbox.ok(&["prune", "--policy", "few"]);
    assert_eq!(sandbox.ids(), [ids[2].clone()]);
    sandbox.run(&["prune"]).assert_fails(2, "cannot prune without a rule");
}

/// A sandbox with snapshots, and a profile of a bucket on a server in this process.
fn offsite() -> (Sandbox, S3Server) {
    let (sandbox, server) = (Sandbox::with_rows(20), S3Server::start());
    let text = format!(
        "store = \"snapshots\"\n[stores.offsite]\nlocation = \"s3://{}/offsite\"\n[stores.offsite.options]\n\
         endpoint = \"{}\"\nallow_http = true\naccess_key_id = \"env:OFFSITE_KEY\"\nsecret_access_key = \"file:offsite.secret\"\n",
        S3Server::BUCKET,
        server.endpoint()
    );
    write(&sandbox, FILE, &text);
    write(&sandbox, "offsite.secret", &format!("{}\n", S3Server::SECRET_KEY));
    (sandbox, server)
}

#[test]
fn a_profile_is_a_store_with_its_own_keys_for_every_command() {
    let (sandbox, server) = offsite();
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    let ok = |args: &[&str]| {
        let result = run(&sandbox, &environment, args);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{args:?} {result:?}");
        result.stdout
    };
    ok(&["create", "--db", "a.db", "--name", "one", "--quiet"]);
    ok(&["copy", "--all", "--to", "@offsite", "--quiet"]);
    assert!(ok(&["list", "--store", "@offsite"]).contains("1 snapshot, "));
    ok(&["diff", "latest", "latest", "--to", "@offsite", "--exit-code", "--quiet"]);
    assert!(ok(&["show", "one", "--store", "@offsite"]).contains(&format!("at s3://{}/offsite", S3Server::BUCKET)));
    // What to type next works as it stands.
    let printed = run(&sandbox, &environment, &["create", "--db", "a.db", "--store", "@offsite"]).stdout;
    assert!(printed.contains("next: ruvector-snapshot --store @offsite verify "), "{printed}");
    assert_eq!(server.objects().len(), 10);
    ok(&["config", "check"]);
}

#[test]
fn secrets_that_cannot_be_read_name_the_line_and_what_is_missing() {
    let (sandbox, server) = offsite();
    let line = |number: usize| format!("ruvector-snapshot.toml:{number}");
    let result = sandbox.run(&["list", "--store", "@offsite"]);
    result.assert_fails(2, "the environment variable OFFSITE_KEY is not set");
    assert!(result.stderr.contains(&line(7)), "{result:?}");
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    fs::remove_file(sandbox.path("offsite.secret")).unwrap();
    let result = run(&sandbox, &environment, &["list", "--store", "@offsite"]);
    result.assert_fails(2, "offsite.secret: No such file");
    assert!(result.stderr.contains(&line(8)), "{result:?}");
    write(&sandbox, "offsite.secret", "\n");
    run(&sandbox, &environment, &["list", "--store", "@offsite"]).assert_fails(2, "it is empty");
    // The local store needs none of them, and nothing was sent.
    sandbox.ok(&["create", "--db", "a.db"]);
    assert!(server.wire().requests().is_empty());
    let (exit_code, document) = sandbox.json(&["config", "check"]);
    assert_eq!((exit_code, document["valid"].clone()), (2, json!(false)));
    let lines: Vec<_> =
        document["problems"].as_array().unwrap().iter().map(|problem| problem["line"].clone()).collect();
    assert_eq!(lines, [json!(7), json!(8)]);
    assert!(server.wire().requests().is_empty());
}

#[test]
fn a_variable_that_replaces_an_option_of_a_profile_is_a_warning() {
    let (sandbox, server) = offsite();
    let other = ("AWS_ACCESS_KEY_ID", "AKIAOTHER");
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY), other];
    let result = run(&sandbox, &environment, &["list", "--store", "@offsite"]);
    let warning = "warning: the environment variable AWS_ACCESS_KEY_ID replaces the option access_key_id of @offsite \
                   (ruvector-snapshot.toml:7)";
    assert!(result.stderr.contains(warning), "{result:?}");
    // The same value replaces nothing.
    let same = ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY);
    let result = run(&sandbox, &[environment[0], same], &["list", "--store", "@offsite"]);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    fs::set_permissions(sandbox.path("offsite.secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let result = run(&sandbox, &environment[..1], &["config", "check"]);
    assert!(result.stderr.contains("every user of this machine can read "), "{result:?}");
    assert!(result.stdout.contains("is good"), "{result:?}");
    let result = run(&sandbox, &environment[..1], &["list", "--store", "@offsite"]);
    assert!(result.stderr.contains("every user of this machine can read "), "{result:?}");
    assert!(!server.wire().requests().is_empty());
}

#[test]
fn a_file_that_is_there_is_never_skipped_and_a_pipe_is_not_waited_for() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    std::os::unix::fs::symlink("/absent/file.toml", sandbox.path(FILE)).unwrap();
    sandbox.run(&["list"]).assert_fails(2, "ruvector-snapshot.toml cannot be used: it is a link");
    sandbox.ok(&["list", "--no-config"]);
    fs::remove_file(sandbox.path(FILE)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path(FILE)).status().unwrap().success());
    sandbox.run(&["list"]).assert_fails(2, "it is no regular file");
    write(&sandbox, "b.toml", &format!("[databases.a]\npath = \"{FILE}\"\n"));
    sandbox.run(&["config", "check", "b.toml"]).assert_fails(2, "is no regular file");
    assert_eq!(sandbox.run(&["config", "path", "--no-config"]).exit_code, Some(4));
}

#[test]
fn the_name_of_a_profile_without_its_sign_is_no_new_store() {
    let sandbox = Sandbox::with_rows(20);
    let text = "[stores.offsite]\nlocation = \"elsewhere\"\n[databases.a]\npath = \"a.db\"\n";
    write(&sandbox, FILE, &format!("store = \"offsite\"\n{text}"));
    let result = sandbox.run(&["create", "--db", "@a"]);
    result.assert_fails(2, "write @offsite for the profile, or ./offsite for the directory");
    write(&sandbox, FILE, text);
    let create = ["create", "--db", "@a", "--store"];
    let result = sandbox.run(&[&create[..], &["offsite"]].concat());
    result.assert_fails(2, "--store: there is no directory offsite, but a profile @offsite");
    let result = run(&sandbox, &[("RUVECTOR_SNAPSHOT_STORE", "offsite")], &["create", "--db", "@a"]);
    result.assert_fails(2, "RUVECTOR_SNAPSHOT_STORE: there is no directory offsite");
    assert!(!sandbox.path("offsite").exists());
    sandbox.ok(&[&create[..], &["./offsite"]].concat());
    sandbox.ok(&[&create[..], &["offsite"]].concat());
    sandbox.run(&["copy", "--all", "--store", "offsite", "--to", "elsewhere"]);
    // What to type next has the file that was named.
    write(&sandbox, "named.toml", &format!("store = \"@offsite\"\n{text}"));
    let printed = sandbox.ok(&["create", "--db", "@a", "--config", "named.toml"]);
    assert!(printed.contains("next: ruvector-snapshot --config named.toml verify "), "{printed}");
}

#[test]
fn other_credentials_and_another_source_of_the_environment_are_warnings() {
    let (sandbox, _server) = offsite();
    let key = ("OFFSITE_KEY", S3Server::ACCESS_KEY);
    let list = |other: (&str, &str)| run(&sandbox, &[key, other], &["list", "--store", "@offsite"]).stderr;
    let unused = "of @offsite (ruvector-snapshot.toml:7) is not used, because the environment has other credentials";
    assert!(list(("AWS_PROFILE", "other")).contains(&format!("warning: the option access_key_id {unused}")));
    let token = list(("AWS_SESSION_TOKEN", "token"));
    assert!(token.contains("warning: the environment variable AWS_SESSION_TOKEN is sent with the keys of @offsite"));
    // The keys of the command line are meant to replace those of the profile.
    let result = run(&sandbox, &[key], &["list", "--store", "@offsite", "-o", "profile=absent"]);
    assert!(!result.stderr.contains("is not used"), "{result:?}");
    write(&sandbox, "b.toml", "[databases.a]\npath = \"a.db\"\nsource = \"articles\"\n");
    let create = |source| {
        let environment = [("RUVECTOR_SNAPSHOT_SOURCE", source)];
        run(&sandbox, &environment, &["create", "--db", "@a", "--config", "b.toml"])
    };
    let result = create("images");
    let warning = "warning: the environment variable RUVECTOR_SNAPSHOT_SOURCE replaces the source \"articles\" of @a by \"images\"";
    assert!(result.exit_code == Some(0) && result.stderr.contains(warning), "{result:?}");
    assert_eq!(create(" articles\n").stderr, "");
}

#[test]
fn a_variable_for_the_first_store_sends_no_copy_to_another_server_than_its_profile_says() {
    let (sandbox, server) = offsite();
    sandbox.ok(&["create", "--db", "a.db"]);
    let other = S3Server::start();
    let endpoint = other.endpoint().to_string();
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY), ("AWS_ENDPOINT_URL", endpoint.as_str())];
    let copy = ["copy", "--all", "--to", "@offsite"];
    for args in [&copy[..], &[&copy[..], &["--dry-run"]].concat(), &["diff", "latest", "latest", "--to", "@offsite"]] {
        let result = run(&sandbox, &environment, args);
        result.assert_fails(
            2,
            "AWS_ENDPOINT_URL would make @offsite a store of another server than ruvector-snapshot.toml:5",
        );
    }
    assert!(other.wire().requests().is_empty() && server.wire().requests().is_empty());
    // What is typed is meant, and so is the same server.
    let typed = format!("endpoint={}", server.endpoint());
    let result = run(&sandbox, &environment, &[&copy[..], &["--to-option", &typed]].concat());
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let same = server.endpoint().to_string();
    let result = run(&sandbox, &[environment[0], ("AWS_ENDPOINT_URL", same.as_str())], &copy);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    assert!(other.wire().requests().is_empty() && !server.objects().is_empty());
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
fn every_mistake_of_a_file_is_named_with_its_line_and_a_suggestion() {
    let sandbox = Sandbox::empty();
    for (text, problem) in [
        ("stoer = \"a\"", "1:1: unknown key \"stoer\"; did you mean store?"),
        ("[jobz.a]\nx = 1", "1:2: unknown key \"jobz\"; known keys are store, stores, databases, retention"),
        ("store = 1", "1:9: store must be a text in quotes"),
        ("store = \"\"", "store: the store location is empty"),
        ("store = \"memory://\"", "a memory:// store would be lost"),
        ("store = \"s4://a\"", "store: unsupported URL scheme s4://"),
        (
            "store = \"@ofsite\"\n[stores.offsite]\nlocation = \"a\"",
            "1:1: store: there is no profile @ofsite; did you mean @offsite?",
        ),
        (
            "[stores.a]\nlocation = \"a\"\nlimit_uplaod = 1",
            "3:1: unknown key \"limit_uplaod\" in [stores.a]; did you mean limit_upload?",
        ),
        ("[stores.a]\nconnections = 4", "1:9: stores.a.location is missing"),
        ("[stores.a]\nlocation = \"@b\"", "a profile cannot be another profile"),
        ("[stores.\"a b\"]\nlocation = \"a\"", "\"a b\" is no name"),
        ("stores.a = \"/srv\"", "stores.a must be a table; write [stores.a]"),
        ("[stores.a]\nlocation = \"a\"\noptions = { region = \"x\" }", "takes no options"),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { regoin = \"x\" }",
            "3:13: unknown option \"regoin\" of s3://; did you mean region?",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { region = \"é\" }",
            "stores.a.options.region may contain only letters",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { region = \"a\", AWS_REGION = \"b\" }",
            "is the option region once more",
        ),
        (
            "[stores.a]\nlocation = \"gs://a\"\noptions = { bearer_token = \"c4n4ry-0f-a-s3cret\" }",
            "bearer_token is a secret, which is not written into this file",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { AWS_SECRET_ACCESS_KEY = \"c4n4ry-0f-a-s3cret\" }",
            "is a secret",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { proxy_url = \"http://u:c4n4ry-0f-a-s3cret@p\" }",
            "is a secret",
        ),
        ("[stores.a]\nlocation = \"s3://a\"\noptions = { secret_access_key = \"env:\" }", "after env: comes the name"),
        (
            "[stores.a]\nlocation = \"a\"\nlimit_upload = \"fast\"",
            "3:16: stores.a.limit_upload: must be a number of bytes per second",
        ),
        (
            "[stores.a]\nlocation = \"a\"\nconnections = 0",
            "stores.a.connections: must be a whole number from 1 to 1024",
        ),
        ("[databases.a]\nname = \"x\"", "databases.a.path is missing"),
        ("[databases.a]\npath = \"absent.db\"", "cannot open"),
        ("[databases.a]\npath = \"\"", "the path is empty"),
        ("[databases.a]\npath = \"a.db\"\nlabels = \"a\"", "databases.a.labels must be a table"),
        ("[databases.a]\npath = \"a.db\"\nlabels = { \"\" = \"x\" }", "a key of a label is not empty"),
        ("[databases.a]\npath = \"a.db\"\nsource = \" \"", "the name of a source cannot be empty"),
        ("[retention.a]\nkeep_last = 0", "retention.a.keep_last: 0 would keep nothing"),
        ("[retention.a]\nkeep_within = \"soon\"", "retention.a.keep_within: "),
        ("[retention.a]\nkeep_last = 1\ntime_zone = \"Moon\"", "retention.a.time_zone: "),
        ("[retention.a]\nkeep_last = 1\ngroup_by = \"x\"", "retention.a.group_by: "),
        ("[retention.a]\nkeep_label = [[1]]", "retention.a.keep_label: it is KEY or KEY=VALUE"),
        ("[retention.a]\ntime_zone = \"UTC\"", "retention.a has no rule"),
        ("[retention.a]\nkeep_dayly = 1", "did you mean keep_daily?"),
        ("[stores.a", "this is not TOML: "),
        ("a = 1\na = 2", "2:1: this is not TOML: duplicate key"),
        ("secret_access_key = c4n4ry-0f-a-s3cret", "this is not TOML: "),
        ("secret_access_key = \"c4n4ry-0f-a-s3cret\n", "this is not TOML: "),
    ] {
        write(&sandbox, FILE, text);
        let result = sandbox.run(&["config", "check"]);
        result.assert_fails(2, problem);
        assert!(result.stderr.starts_with(&format!("error: {FILE}:")), "{result:?}");
        let (exit_code, document) = sandbox.json(&["config", "check"]);
        assert_eq!((exit_code, &document["valid"]), (2, &json!(false)), "{document}");
        let list = sandbox.run(&["list"]);
        // Only what a file refers to is not read by other commands.
        assert_eq!(list.exit_code == Some(2), problem != "cannot open", "{list:?}");
        for printed in [result.stdout, result.stderr, document.to_string(), list.stderr] {
            assert!(!printed.contains(CANARY) && !printed.contains("panicked"), "{printed}");
        }
    }
}

#[test]
fn all_mistakes_are_found_at_once() {
    let sandbox = Sandbox::empty();
    write(&sandbox, FILE, "stoer = 1\n[stores.a]\nlocation = 1\nx = 2\n[retention.b]\nkeep_last = \"x\"\n");
    let (_, document) = sandbox.json(&["config", "check"]);
    let lines: Vec<_> =
        document["problems"].as_array().unwrap().iter().map(|problem| problem["line"].clone()).collect();
    assert_eq!(lines, [json!(1), json!(3), json!(4), json!(6)]);
    let result = sandbox.run(&["list"]);
    result.assert_fails(2, "ruvector-snapshot.toml has 4 mistakes");
    assert!(result.stderr.contains("ruvector-snapshot.toml:6:13: "), "{result:?}");
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
            let result = run(sandbox, &[("CANARY", CANARY), ("RUST_LOG", "trace")], &[verb, json].concat());
            assert!(!result.stdout.contains(CANARY) && !result.stderr.contains(CANARY), "{verb:?} {result:?}");
            assert!(!result.stderr.contains("panicked"), "{verb:?} {result:?}");
        }
    }
    // The requests were signed with it, so it was read.
    assert!(server.wire().requests().iter().any(|request| request.header("x-amz-security-token") == Some(CANARY)));
}

/// Returns the example with the lines `numbers` uncommented.
fn uncommented(example: &str, is_wanted: impl Fn(usize) -> bool) -> String {
    let lines = example.lines().enumerate().map(|(number, line)| match line.strip_prefix('#') {
        Some(option) if is_option(line) && is_wanted(number) => option.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns whether a line of the example is an option that is commented out.
fn is_option(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|line| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = "))
}

#[test]
fn the_example_is_good_and_so_is_each_of_its_options() {
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(FILE)).unwrap();
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("articles.db"), 2, 4);
    // The paths of the example are those of a server.
    let here = example.replace("/srv/ruvector/articles.db", "articles.db");
    let options: Vec<usize> =
        example.lines().enumerate().filter(|(_, line)| is_option(line)).map(|(number, _)| number).collect();
    assert!(options.len() >= 20, "{options:?}");
    write(&sandbox, "secrets/offsite", "secret");
    // It needs a real key.
    let is_key_file = |number: usize| example.lines().nth(number).is_some_and(|line| line.contains("service_account"));
    let check = |text: &str| {
        write(&sandbox, FILE, text);
        // What one option says of the keys is half of what is needed.
        let keys =
            [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("OFFSITE_ACCESS_KEY_ID", "AKID")];
        run(&sandbox, &keys, &["config", "check"])
    };
    let result = check(&here);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    for option in options.iter().copied().filter(|option| !is_key_file(*option)) {
        let result = check(&uncommented(&here, |number| number == option));
        assert_eq!(result.exit_code, Some(0), "{option}: {result:?}");
    }
    let result = check(&uncommented(&here, |number| !is_key_file(number)));
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let all = uncommented(&here, |_| true);
    write(&sandbox, FILE, &all);
    sandbox.ok(&["config", "show"]);
    // Every key that a file can have is in it.
    for key in [
        "connections",
        "limit_upload",
        "limit_download",
        "name",
        "source",
        "labels",
        "embedding",
        "scratch_dir",
        "keep_last",
        "keep_hourly",
        "keep_daily",
        "keep_weekly",
        "keep_monthly",
        "keep_quarterly",
        "keep_yearly",
        "keep_within",
        "keep_label",
        "group_by",
        "time_zone",
    ] {
        assert!(all.lines().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
    }
}
