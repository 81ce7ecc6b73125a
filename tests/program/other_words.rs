//! Words of other tools, commands without an ID, the version, and options without effect.

use serde_json::json;
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

#[test]
fn words_of_other_tools_mean_the_same_command() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    for (word, verb) in [("snapshots", "list"), ("ls", "list"), ("info", "list")] {
        assert_eq!(sandbox.json(&[word]).1["command"], verb, "{word}");
    }
    for word in ["backup", "snapshot", "save"] {
        assert!(sandbox.ok(&[word, "--db", "a.db"]).starts_with("created "), "{word}");
    }
    assert!(sandbox.ok(&["check", "one"]).contains("  intact: "));
    assert!(sandbox.ok(&["rm", "one", "--dry-run"]).contains("would delete "));
    assert!(sandbox.ok(&["remove", "one", "--dry-run"]).contains("would delete "));
    assert!(sandbox.ok(&["expire", "--keep-last", "1", "--dry-run"]).contains("(--dry-run)"));
    // They are not in the help.
    let help = sandbox.ok(&["--help"]);
    assert!(!help.contains("backup,") && !help.contains("alias"), "{help}");
}

#[test]
fn words_without_a_command_say_what_to_type() {
    let sandbox = Sandbox::empty();
    for (word, tip) in [
        ("init", "a store needs no init"),
        ("forget", "`delete ID` deletes snapshots"),
        ("mount", "`restore ID --to FILE`"),
        ("cat", "`dump ID` prints records"),
        ("unlock", "a store has no locks"),
        ("tag", "`annotate ID"),
        ("sync", "`copy --all --to LOCATION`"),
        ("GC", "`prune` applies"),
        ("repair", "`verify --all`"),
    ] {
        let result = sandbox.run(&[word]);
        result.assert_fails(2, tip);
        let (exit_code, document) = sandbox.json(&[word]);
        assert_eq!((exit_code, document["error"]["kind"].as_str()), (2, Some("usage")), "{document}");
        assert!(document["error"]["hint"].as_str().unwrap().contains(tip), "{document}");
    }
}

/// By the name that the help lists, and after `help` too.
#[test]
fn a_mistyped_command_names_the_one_that_is_like_it() {
    let sandbox = Sandbox::empty();
    for (args, name) in [
        (&["creat"][..], "create"),
        (&["lst"], "list"),
        (&["lss"], "list"),
        (&["snapshosts"], "list"),
        (&["help", "creat"], "create"),
        (&["help", "lst"], "list"),
        (&["store", "chek"], "check"),
        (&["help", "store", "chek"], "check"),
        (&["--store", "x", "verfy", "one"], "verify"),
    ] {
        sandbox.run(args).assert_fails(2, &format!("tip: a similar subcommand exists: '{name}'\n"));
    }
    assert!(!sandbox.run(&["nonsense"]).stderr.contains("tip:"));
}

#[test]
fn a_command_without_an_id_names_the_newest_snapshots() {
    let (sandbox, ids) = Sandbox::with_snapshots(4);
    for args in [
        &["verify"][..],
        &["show"],
        &["delete", "--cascade"],
        &["compact"],
        &["pin"],
        &["unpin"],
        &["annotate", "--note", "a"],
        &["restore", "--to", "b.db"],
        &["restore"],
        &["dump"],
        &["verify", "--store", "snapshots"],
        &["--store=snapshots", "verify"],
    ] {
        let result = sandbox.run(args);
        result.assert_fails(2, "say which snapshot: an id, the start of one, a name, or latest");
        result.assert_fails(2, &format!("the newest are {} (four), {} (three), {} (two)", ids[3], ids[2], ids[1]));
    }
    sandbox.run(&["verify"]).assert_fails(2, "or `verify --all` for all of them");
    assert!(!sandbox.run(&["delete"]).stderr.contains("delete latest"));
    // The store of the configuration file.
    std::fs::write(sandbox.path("a.toml"), "store = \"snapshots\"\n").unwrap();
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    let config = sandbox.path("a.toml").to_str().unwrap().to_owned();
    let mut command = sandbox.command(&["show", "--config", &config]);
    let result = RunResult::from(command.current_dir(sandbox.path("elsewhere")).output().unwrap());
    result.assert_fails(2, "the newest are");
    // Nothing is there, or it is a bucket, which is not asked.
    let result = sandbox.run(&["show", "--store", "none"]);
    result.assert_fails(2, "say which snapshot");
    assert!(!result.stderr.contains("the newest are"), "{result:?}");
    assert!(!sandbox.path("none").exists());
    let bucket = Bucket::s3(S3Server::start());
    bucket.run(&["verify"]).assert_fails(2, "as in `verify latest`");
    assert_eq!(bucket.server.wire().requests().len(), 0);
}

#[test]
fn options_of_other_tools_and_values_without_their_option_say_what_to_type() {
    let sandbox = Sandbox::with_rows(10);
    for (args, tip) in [
        (&["create", "vectors.db"][..], "tip: the database is given by --db, as in `create --db vectors.db`"),
        (&["backup", "my data.db", "--name", "a"], "as in `backup --db 'my data.db'`"),
        (&["create", "--db", "a.db", "nightly"], "as in `create --db a.db --name nightly`"),
        (&["copy", "latest", "x"], "tip: where to write is given by --to, as in `copy latest --to x`"),
        (&["search", "latest", "a"], "tip: a record is given by --like, and a file with vectors by --query"),
        (&["store", "check", "x"], "tip: the store is given by --store, as in `store check --store x`"),
        (&["dump", "latest", "--to", "a"], "tip: the records go to standard output"),
        (&["verify", "--db", "a.db"], "tip: `verify` reads the store and no database"),
        (&["dump", "latest", "a"], "tip: a record is given by --id, as in `dump latest --id a`"),
        (&["verify", "--name", "x"], "tip: a snapshot is given without an option, as in `verify nightly`"),
        (&["drill", "--all"], "tip: `drill` takes the snapshots that are given; `list` shows their ids"),
        (&["list", "--since", "-7d"], "tip: a value that begins with a hyphen is written --since=VALUE"),
        (
            &["dump", "latest", "--id", "-x"],
            "tip: a value that begins with a hyphen is written --id=VALUE, as in `'--id=-x'`",
        ),
        (&["diff", "latest"], "tip: give two snapshots, as in `diff monday tuesday`"),
        (&["restore", "latest", "x.db"], "tip: where to write is given by --to, as in `restore latest --to x.db`"),
        (&["export", "latest", "dir"], "as in `export latest --to dir`"),
        (&["list", "nightly"], "as in `list --name nightly`"),
        (&["prune", "7"], "as in `prune --keep-last 7`"),
        (&["restore", "latest", "--target", "x.db"], "tip: where to write is given by --to"),
        (&["restore", "latest", "-t", "x.db"], "tip: where to write is given by --to"),
        (&["list", "--repo", "x"], "tip: the store is given by --store LOCATION, or by RUVECTOR_SNAPSHOT_STORE"),
        (&["list", "-r", "x"], "tip: the store is given by --store LOCATION"),
        (&["--repo=x", "list"], "tip: the store is given by --store LOCATION"),
        (&["create", "--db", "a.db", "--tag", "a=b"], "tip: labels are given by --label KEY=VALUE"),
        (&["prune", "--keep-tag", "a=b"], "tip: labels are kept by --keep-label KEY=VALUE"),
        (&["create", "--database", "a.db"], "tip: the database is given by --db FILE"),
        (&["prune", "--keep", "1", "-n"], "tip: it is --dry-run"),
        (&["list", "--limit", "5"], "tip: the number is given by --last N"),
        (&["list", "-n", "5"], "tip: the number is given by --last N"),
        (&["list", "--format", "json"], "tip: with --json, the output is a JSON document"),
        (&["delete", "latest", "--force"], "tip: the question is answered in advance by --yes"),
        (&["restore", "latest", "--to", "x.db", "--overwrite"], "tip: a file that exists is replaced with --force"),
        (&["prune", "--all"], "tip: a policy is for all snapshots of the store, and needs a rule"),
        (&["verify", "latest", "--read-data"], "tip: every byte is read; --subset 1/7 reads a part"),
        (&["--utc"], "tip: say what to do, for example `list`; `--help` lists all commands"),
        (&["create", "--db", "a.db", "--parent", "latest"], "tip: the base of an increment is given by --base ID"),
    ] {
        let result = sandbox.run(args);
        result.assert_fails(2, tip);
        assert_eq!(result.stderr.matches("tip: ").count(), 1, "{result:?}");
    }
    // No tip for an option that the command does not have, and that of the parser for a mistyped one.
    assert!(!sandbox.run(&["show", "latest", "--target", "x"]).stderr.contains("--to"));
    sandbox.run(&["create", "--lable", "a=b"]).assert_fails(2, "a similar argument exists: '--label'");
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn the_program_alone_prints_the_short_help() {
    let sandbox = Sandbox::empty();
    let result = sandbox.run(&[]);
    assert_eq!(result.exit_code, Some(2), "{result:?}");
    assert!(result.stderr.lines().count() < 50 && result.stderr.contains("\n  create "), "{result:?}");
    assert!(result.stderr.contains("ruvector-snapshot create --db vectors.db"), "{result:?}");
    assert_eq!(sandbox.ok(&["-h"]), result.stderr);
    assert!(sandbox.ok(&["--help"]).contains("--limit-upload <RATE>"));
}

#[test]
fn a_mistyped_id_or_name_names_the_one_that_is_like_it() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    sandbox.create("nightly");
    let asked = |text: &str| sandbox.run(&["show", text]).stderr;
    for (typed, meant) in [
        ("nigthly", "\"nightly\""),
        ("Nightly", "\"nightly\""),
        ("lastest", "\"latest\""),
        (&ids[0][..35], &*ids[0]),
        (&*ids[0].replacen("20", "2O", 1), &*ids[0]),
        (&*format!("{}0", ids[1]), &*ids[1]),
    ] {
        // The start of an id is no mistake.
        if !ids.iter().any(|id| id.starts_with(typed)) {
            let expected = format!("did you mean {meant}? `list` shows all snapshots");
            assert!(asked(typed).contains(&expected), "{typed}: {}", asked(typed));
        }
    }
    for typed in ["weekly", "20200101T000000", &"x".repeat(2000)] {
        assert!(!asked(typed).contains("did you mean"), "{}", asked(typed));
    }
    let base = sandbox.run(&["create", "--db", "a.db", "--base", "nightlyy"]);
    assert!(base.stderr.contains("did you mean \"nightly\"?"), "{base:?}");
}

#[test]
fn a_label_without_its_option_is_recognized() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let forgotten = sandbox.run(&["annotate", "latest", "keep=yes"]);
    forgotten.assert_fails(2, "if 'keep=yes' is a label, put --label before it: `annotate latest --label 'keep=yes'`");
    let forgotten = sandbox.run(&["annotate", "latest", "keep=yes", "--note", "a"]);
    assert!(forgotten.stderr.contains("put --label before it"), "{forgotten:?}");
}

#[test]
fn the_version_is_printed_with_what_is_built_in() {
    let sandbox = Sandbox::empty();
    let text = sandbox.ok(&["version"]);
    assert!(text.starts_with(&format!("ruvector-snapshot {}\n", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.contains("  Ruvector      2."), "{text}");
    let (exit_code, document) = sandbox.json(&["version"]);
    assert_eq!((exit_code, &document["version"]), (0, &json!(env!("CARGO_PKG_VERSION"))), "{document}");
    assert_eq!((&document["schema_version"], &document["store"]), (&json!(1), &json!(null)));
    assert_eq!(document["format_versions"], json!({ "read": [1, 2], "write": [1, 2] }));
    assert!(document["features"].as_array().unwrap().contains(&json!("aws")), "{document}");
    assert!(document["target"].as_str().unwrap().contains('-'), "{document}");
    assert!(document["commit"].is_null() || document["commit"].as_str().unwrap().len() >= 7, "{document}");
    assert!(sandbox.ok(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_storage_class_where_nothing_is_stored_is_a_warning() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    for args in [&["list"][..], &["verify", "one"], &["delete", "one", "--dry-run"]] {
        let result = bucket.run(&[args, &["-o", "storage_class=standard_ia"]].concat());
        result.assert_warns("-o storage_class has no effect");
    }
    let args = ["create", "--db", "a.db", "-o", "storage_class=standard_ia"];
    assert!(!bucket.run(&args).stderr.contains("has no effect"));
}
