//! The source of a snapshot: what is recorded and printed, and bases of another database.

use std::fs;

use serde_json::json;
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database, open_database};

/// A sandbox with the databases `a.db` of 40 rows and `small.db` of 5, and a full snapshot `a` of the first.
fn two_databases() -> (Sandbox, String) {
    let sandbox = Sandbox::with_rows(40);
    create_database(&sandbox.path("small.db"), 5, DIMENSIONS);
    let id = sandbox.create("a");
    (sandbox, id)
}

/// Returns the path of a file of the sandbox as a snapshot records it.
fn absolute(sandbox: &Sandbox, name: &str) -> String {
    sandbox.path("").canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
}

#[test]
fn latest_as_a_base_means_the_latest_of_this_database() {
    let (sandbox, id) = two_databases();
    let result = sandbox.run(&["create", "--db", "small.db", "--base", "latest"]);
    result.assert_fails(4, "the store has no snapshot of this source");
    result.assert_fails(4, "small.db");
    result.assert_fails(4, "only 1 of others, for example");
    result.assert_fails(4, "take a full snapshot first: repeat this command without --base");
    let on = |base: &str| sandbox.run(&["create", "--db", "small.db", "--base", base, "--base-from-elsewhere"]);
    for base in ["latest", "a"] {
        on(base).assert_fails(4, &id);
        on(base).assert_fails(4, "--base-from-elsewhere needs the ID of the base");
    }
    assert_eq!(sandbox.ids(), [&*id]);
    sandbox.ok(&["create", "--db", "small.db"]);
    let (exit_code, document) = sandbox.json(&["create", "--db", "a.db", "--base", "latest"]);
    assert_eq!(
        (exit_code, &document["snapshot"]["base_id"], &document["warnings"]),
        (0, &json!(id), &json!([])),
        "{document}"
    );
}

#[test]
fn a_base_of_another_database_is_refused_unless_it_is_accepted() {
    let (sandbox, id) = two_databases();
    let on_id = |more: &[&str]| sandbox.run(&[&["create", "--db", "small.db", "--base", &id], more].concat());
    let result = on_id(&[]);
    result.assert_fails(1, &format!("cannot use snapshot {id} as a base: it is of "));
    for part in [&*absolute(&sandbox, "a.db"), &absolute(&sandbox, "small.db"), "--base-from-elsewhere"] {
        result.assert_fails(1, part);
    }
    assert!(!result.stderr.contains("CreateOptions"), "{result:?}");
    assert_eq!(sandbox.names("snapshots"), [format!("snapshot-{id}")]);
    assert_eq!(on_id(&["--json"]).into_json().1["error"]["kind"], "other_source");

    let result = on_id(&["--base-from-elsewhere", "--quiet", "--json"]);
    let stderr = result.stderr.clone();
    let warnings: Vec<&str> = stderr.lines().collect();
    assert_eq!(warnings.len(), 2, "{result:?}");
    assert!(warnings[0].starts_with(&format!("warning: the base {id} is of another source")), "{result:?}");
    assert!(warnings[1].starts_with("warning: the database has 5 records, and its base "), "{result:?}");
    let (exit_code, document) = result.into_json();
    assert_eq!(exit_code, 5);
    let listed = warnings.iter().map(|warning| warning.strip_prefix("warning: ").unwrap()).collect::<Vec<_>>();
    assert_eq!(document["warnings"], json!(listed));
    // Without a base there is none that could be from elsewhere.
    sandbox.run(&["create", "--db", "a.db", "--base-from-elsewhere"]).assert_fails(2, "--base");
}

#[test]
fn a_source_has_the_name_of_the_option_or_of_the_environment() {
    let (sandbox, _) = two_databases();
    let in_environment = |name: &str, args: &[&str]| {
        let mut command = sandbox.command(args);
        RunResult::from(command.env("RUVECTOR_SNAPSHOT_SOURCE", name).output().unwrap())
    };
    let create = ["create", "--db", "a.db", "--json"];
    let (_, first) = in_environment("articles", &create).into_json();
    assert_eq!(first["snapshot"]["source"]["name"], "articles");
    // The option is stronger than the environment.
    let (_, other) = in_environment("articles", &[&create[..], &["--source", "users"]].concat()).into_json();
    assert_eq!(other["snapshot"]["source"]["name"], "users");
    // The database has moved.
    fs::rename(sandbox.path("a.db"), sandbox.path("moved.db")).unwrap();
    let (exit_code, document) =
        sandbox.json(&["create", "--db", "moved.db", "--source", "articles", "--base", "latest"]);
    assert_eq!((exit_code, &document["snapshot"]["base_id"]), (0, &first["snapshot"]["id"]), "{document}");
    sandbox
        .run(&["create", "--db", "moved.db", "--base", "latest", "--source", "nobody"])
        .assert_fails(4, "no snapshot of this source (nobody)");
    for wrong in ["", " ", "a\nb"] {
        sandbox.run(&["create", "--db", "moved.db", "--source", wrong, "--store", "new"]).assert_fails(2, "source");
        let args = ["create", "--db", "moved.db", "--store", "new"];
        if !wrong.is_empty() {
            in_environment(wrong, &args).assert_fails(2, "source");
        }
    }
    assert!(!sandbox.path("new").exists());
    // Set but empty, it is as if it were not set.
    for more in [&[][..], &["--base", "latest"]] {
        let args = [&["create", "--db", "moved.db", "--store", "new", "--json"], more].concat();
        let (exit_code, document) = in_environment("", &args).into_json();
        assert_eq!((exit_code, &document["snapshot"]["source"]["name"]), (0, &json!(null)), "{document}");
    }
    in_environment("", &["create", "--db", "moved.db", "--store", "new", "--source", ""]).assert_fails(2, "source");
    assert_eq!(in_environment("", &["list", "--store", "new"]).exit_code, Some(0));
}

#[test]
fn show_and_list_print_the_source() {
    let (sandbox, id) = two_databases();
    sandbox.ok(&["create", "--db", "a.db", "--name", "named", "--source", "articles"]);
    let path = absolute(&sandbox, "a.db");
    let (_, document) = sandbox.json(&["show", &id]);
    let source = &document["snapshots"][0]["source"];
    let host = source["host"].as_str().unwrap();
    assert_eq!((source["path"].as_str(), host.is_empty()), (Some(&*path), false), "{document}");
    let printed = sandbox.ok(&["show", &id]);
    assert!(printed.contains(&format!("  source        file {host}:{path}, commit ")), "{printed}");
    let printed = sandbox.ok(&["show", "named"]);
    assert!(printed.contains(&format!("  source        articles (file {host}:{path}), commit ")), "{printed}");
    let listed = sandbox.json(&["list"]).1;
    assert_eq!(listed["snapshots"][0]["source"]["name"], "articles");
    assert_eq!(listed["snapshots"][1]["source"]["path"], *path);
}

#[test]
fn a_snapshot_is_named_after_the_file_or_its_collection() {
    let sandbox = Sandbox::empty();
    for (directory, db, expected) in [
        ("collections/articles", "collections/articles/vectors.db", "articles"),
        ("collections/articles", "collections/../collections/articles/./vectors.db", "articles"),
        ("collections/latest", "collections/latest/vectors.db", "vectors"),
        ("data", "data/users.db", "users"),
        ("data", "data/latest.db", "database"),
    ] {
        fs::create_dir_all(sandbox.path(directory)).unwrap();
        create_database(&sandbox.path(db), 3, DIMENSIONS);
        assert_eq!(sandbox.json(&["create", "--db", db]).1["snapshot"]["name"], expected, "{db}");
    }
    let mut command = sandbox.command(&["create", "--db", "vectors.db", "--store", "../../snapshots", "--json"]);
    let result = command.current_dir(sandbox.path("collections/articles")).output().unwrap();
    assert_eq!(RunResult::from(result).into_json().1["snapshot"]["name"], "articles");
}

#[test]
fn bases_are_of_the_same_source_in_a_bucket_too() {
    let bucket = Bucket::s3(S3Server::start());
    create_database(&bucket.sandbox.path("small.db"), 5, DIMENSIONS);
    let id = bucket.create("full");
    bucket.run(&["create", "--db", "small.db", "--base", "latest"]).assert_fails(4, "no snapshot of this source");
    bucket.run(&["create", "--db", "small.db", "--base", &id]).assert_fails(1, "--base-from-elsewhere");
    assert_eq!(bucket.ids(), [&*id]);
    open_database(&bucket.sandbox.path("a.db"), DIMENSIONS).delete("id-000001").unwrap();
    bucket.ok(&["create", "--db", "small.db"]);
    let (_, document) = bucket.json(&["create", "--db", "a.db", "--base", "latest"]);
    assert_eq!(
        (&document["snapshot"]["base_id"], &document["snapshot"]["changes"]["removed"]),
        (&json!(id), &json!(1))
    );
}
