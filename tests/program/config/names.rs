//! Stores, databases and retention policies by name.

use serde_json::json;

use super::{FILE, run, write};
use crate::sandbox::Sandbox;

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
fn the_name_of_a_database_without_its_sign_is_named_with_it() {
    let sandbox = Sandbox::with_rows(20);
    write(&sandbox, FILE, "[databases.articles]\npath = \"a.db\"\n");
    let result = sandbox.run(&["create", "--db", "articles"]);
    result.assert_fails(1, "the configuration file has a database of this name: write --db @articles");
    sandbox.run(&["create", "--db", "article"]).assert_fails(1, "check --db article");
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
    assert_eq!(kept(&["labels", "--keep-last", "2", "--keep-label", "c"]), (5, 2, json!("source")));
    sandbox.ok(&["prune", "--policy", "few"]);
    assert_eq!(sandbox.ids(), [ids[2].clone()]);
    sandbox.run(&["prune"]).assert_fails(2, "cannot prune without a rule");
}

/// Elsewhere `@NAME` means a profile, so a file of that name would be a surprise.
#[test]
fn what_means_a_profile_is_no_path_to_write() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    write(&sandbox, FILE, "[databases.tok]\npath = \"data/a b.db\"\n");
    let before = sandbox.names(".");
    let cases: [&[&str]; 11] = [
        &["restore", "one", "--to", "@tok"],
        &["restore", "one", "--to=@tok", "--dry-run"],
        &["restore", "one", "--to", "@tok", "--merge"],
        &["export", "one", "--to", "@tok"],
        &["demo", "@tok"],
        &["man", "@tok"],
        &["list", "--log-file", "@tok"],
        &["status", "--textfile", "@tok"],
        &["create", "--db", "a.db", "--scratch-dir", "@tok"],
        &["drill", "one", "--scratch-dir", "@tok"],
        &["import", "a.snapshot.gz", "--scratch-dir", "@tok"],
    ];
    for args in cases {
        let result = sandbox.run(args);
        result.assert_fails(2, "@NAME means a profile of the configuration file");
        result.assert_fails(2, "a path with this name is written ./@NAME");
        assert_eq!(sandbox.names("."), before, "{args:?}");
        let path = sandbox.path("data/a b.db");
        let is_named = result.stderr.contains(&format!("is written `--to '{}'`", path.display()));
        assert_eq!(is_named, args[0] == "restore", "{result:?}");
        let (exit_code, document) = sandbox.json(args);
        assert_eq!((exit_code, &document["error"]["kind"]), (2, &serde_json::json!("usage")), "{document}");
    }
    let unknown = sandbox.run(&["restore", "one", "--to", "@other"]);
    assert!(!unknown.stderr.contains("the file of the database"), "{unknown:?}");
    sandbox.ok(&["restore", "one", "--to", "./@tok"]);
    assert!(sandbox.path("@tok").is_file());
}
