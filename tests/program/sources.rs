//! The source of a snapshot: what is recorded and printed, and bases of another database.

use std::fs;

use serde_json::json;
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, assert_holds, create_database, open_database};

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
    assert!(warnings[1].starts_with("warning: the database has 5 records, and its base, "), "{result:?}");
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
    assert_eq!((exit_code, &document["snapshot"]["base_id"]), (5, &first["snapshot"]["id"]), "{document}");
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

#[test]
fn a_file_that_exists_is_not_changed_by_the_newest_snapshot_of_several_databases() {
    let sandbox = Sandbox::with_rows(20);
    create_database(&sandbox.path("b.db"), 30, DIMENSIONS);
    let create = |db: &str| sandbox.ok(&["create", "--db", db, "--name", "nightly"]);
    create("a.db");
    sandbox.ok(&["restore", "latest", "--to", "a.db", "--force"]);
    create("b.db");
    let before = std::fs::read(sandbox.path("a.db")).unwrap();
    for name in ["latest", "nightly"] {
        for how in [&["--force"][..], &["--merge"], &["--force", "--dry-run"], &["--force", "--id", "id-000001"]] {
            let result = sandbox.run(&[&["restore", name, "--to", "a.db"], how].concat());
            result.assert_fails(2, "the store has snapshots of 2 databases");
            assert!(result.stderr.contains("a.db") && result.stderr.contains("b.db"), "{result:?}");
        }
        // A new file holds nothing that could be lost.
        let restored = sandbox.run(&["restore", name, "--to", &format!("{name}.db"), "--force"]);
        assert_eq!(restored.exit_code, Some(if name == "latest" { 0 } else { 5 }), "{restored:?}");
    }
    let (exit_code, document) = sandbox.json(&["restore", "latest", "--to", "a.db", "--force"]);
    assert_eq!((exit_code, document["error"]["kind"].as_str()), (2, Some("ambiguous")), "{document}");
    assert_eq!(std::fs::read(sandbox.path("a.db")).unwrap(), before);
    sandbox.ok(&["restore", &sandbox.ids()[1], "--to", "a.db", "--force"]);
    // A backup that cannot be used protects nothing, so the database is needed.
    let damaged = sandbox.stored(&sandbox.ids()[1], "vectors.bin.gz");
    fs::rename(&damaged, sandbox.path("aside")).unwrap();
    let args = ["restore", &sandbox.ids()[0], "--to", "a.db", "--force"];
    sandbox.run(&args).assert_fails(1, "this file is the database of snapshot");
    fs::rename(sandbox.path("aside"), damaged).unwrap();
    // The ID of a snapshot of the other database.
    let before = std::fs::read(sandbox.path("a.db")).unwrap();
    let other = sandbox.ids()[0].clone();
    for dry in [&[][..], &["--dry-run"]] {
        let args = [&["restore", &other, "--to", "a.db", "--force"][..], dry].concat();
        sandbox.run(&args).assert_fails(1, "this file is the database of snapshot");
    }
    assert_eq!(std::fs::read(sandbox.path("a.db")).unwrap(), before);
    let accepted = ["restore", &other, "--to", "a.db", "--force", "--other-database"];
    sandbox.ok_with_warning(&accepted, "a.db is the database of snapshot");
    std::fs::remove_file(sandbox.path("a.db")).unwrap();
    sandbox.ok(&["restore", &other, "--to", "a.db", "--force"]);
}

#[test]
fn the_database_of_other_snapshots_is_not_merged_into() {
    let sandbox = Sandbox::with_rows(20);
    create_database(&sandbox.path("b.db"), 30, DIMENSIONS);
    let create = |db: &str| sandbox.ok(&["create", "--db", db]);
    create("a.db");
    create("b.db");
    let before = std::fs::read(sandbox.path("b.db")).unwrap();
    let a = sandbox.ids()[1].clone();
    let merge = |to: &str, more: &[&str]| {
        sandbox.run(&[&["restore", &a, "--to", to, "--merge", "--on-conflict", "keep"], more].concat())
    };
    for more in [&[][..], &["--dry-run"], &["--id", "id-000001"]] {
        let result = merge("b.db", more);
        result.assert_fails(1, "this file is the database of snapshot");
        assert!(result.stderr.contains("--other-database"), "{result:?}");
    }
    assert_eq!(std::fs::read(sandbox.path("b.db")).unwrap(), before);
    merge("b.db", &["--other-database"]).assert_warns("b.db is the database of snapshot");
    // A path through a link, and a file that cannot be read any more.
    std::os::unix::fs::symlink(sandbox.path("b.db"), sandbox.path("link.db")).unwrap();
    merge("link.db", &[]).assert_fails(1, "this file is the database of snapshot");
    for damaged in [vec![0; 20_000], vec![7; 3]] {
        fs::write(sandbox.path("b.db"), damaged).unwrap();
        for dry in [&[][..], &["--dry-run"]] {
            let result = sandbox.run(&[&["restore", &a, "--to", "b.db", "--force"][..], dry].concat());
            assert_eq!(result.exit_code, Some(1), "{result:?}");
            assert!(result.stderr.contains("this file is the database of snapshot"), "{result:?}");
        }
    }
    // A copy of the own database, and the own database.
    std::fs::copy(sandbox.path("a.db"), sandbox.path("copy.db")).unwrap();
    for own in ["a.db", "copy.db"] {
        assert_eq!(merge(own, &[]).exit_code, Some(0), "{own}");
    }
}

#[test]
fn a_database_with_many_more_records_is_not_replaced_without_a_warning() {
    let sandbox = Sandbox::with_rows(20);
    sandbox.ok(&["create", "--db", "a.db", "--name", "small"]);
    std::fs::remove_file(sandbox.path("a.db")).unwrap();
    create_database(&sandbox.path("a.db"), 60, DIMENSIONS);
    let restore = |more: &[&str]| sandbox.run(&[&["restore", "small", "--to", "a.db", "--force"], more].concat());
    for more in [&["--dry-run"][..], &[]] {
        restore(more).assert_warns("it has about 60 records, and the snapshot 20");
    }
    assert_eq!(restore(&[]).exit_code, Some(0));
    assert_holds(&sandbox.path("a.db"), 20, DIMENSIONS);
}

/// A restore refuses to write into a store.
#[test]
fn a_database_inside_of_a_store_is_a_warning() {
    let sandbox = Sandbox::with_rows(20);
    sandbox.ok(&["create", "--db", "a.db"]);
    fs::rename(sandbox.path("a.db"), sandbox.path("snapshots/a.db")).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&["create", "--db", "snapshots/a.db"], more].concat());
        result
            .assert_warns("the database snapshots/a.db is inside of a store: no snapshot can be restored to this path");
    }
}

#[test]
fn a_drill_of_a_snapshot_without_records_is_a_warning() {
    let sandbox = Sandbox::with_rows(0);
    sandbox.ok(&["create", "--db", "a.db"]);
    sandbox.run(&["drill", "latest"]).assert_warns("has no records, so the drill has searched nothing");
    assert_eq!(sandbox.run(&["drill", "latest", "--strict", "-q"]).exit_code, Some(1));
}

#[test]
fn a_full_snapshot_is_compared_with_those_of_its_source_before() {
    let sandbox = Sandbox::with_rows(20);
    create_database(&sandbox.path("b.db"), 30, DIMENSIONS);
    let create = |db: &str, more: &[&str]| sandbox.run(&[&["create", "--db", db, "--source", "prod"], more].concat());
    assert_eq!(create("a.db", &[]).exit_code, Some(0));
    for more in [&["--dry-run"][..], &[]] {
        create("b.db", more).assert_warns("has the same source name, \"prod\", but it is of ");
    }
    // Every snapshot of the first one would be gone.
    let prune = ["prune", "--keep-last", "1", "--dry-run"];
    sandbox.run(&prune).assert_warns("a.db is dropped, because ");
    // A database that was moved is one database.
    std::fs::remove_file(sandbox.path("a.db")).unwrap();
    assert_eq!(create("b.db", &[]).exit_code, Some(0));
    // A database that has lost its records.
    std::fs::remove_file(sandbox.path("b.db")).unwrap();
    create_database(&sandbox.path("b.db"), 15, DIMENSIONS);
    for more in [&["--dry-run"][..], &[]] {
        create("b.db", more).assert_warns("the database has 15 records, and the last snapshot of this source, ");
    }
    assert_eq!(create("b.db", &[]).exit_code, Some(0));
}

/// The second night, the last snapshot is empty too.
#[test]
fn the_snapshots_of_a_database_that_has_lost_all_records_are_not_pruned() {
    let sandbox = Sandbox::with_rows(20);
    let create = || sandbox.run(&["create", "--db", "a.db", "--source", "prod"]).exit_code;
    assert_eq!(create(), Some(0));
    let full = sandbox.ids()[0].clone();
    fs::remove_file(sandbox.path("a.db")).unwrap();
    create_database(&sandbox.path("a.db"), 0, DIMENSIONS);
    assert_eq!([create(), create()], [Some(5), Some(0)]);
    let prune = ["prune", "--keep-last", "1", "-q"];
    sandbox
        .run(&prune)
        .assert_fails(1, "the rules would leave no snapshot of prod that can be restored and has records");
    assert_eq!(sandbox.ids().len(), 3);
    sandbox.run(&["delete", &full, "--dry-run", "-q"]).assert_warns("NO SNAPSHOT of prod");
    assert_eq!(sandbox.run(&["delete", &full, "--strict", "-q"]).exit_code, Some(1));
    // A database that never had any.
    sandbox.ok(&["prune", "--keep-last", "1"]);
    assert_eq!(sandbox.ids().len(), 1);
}

/// Two jobs that were copied from one template.
#[test]
fn databases_of_two_hosts_with_one_name_are_noticed() {
    let sandbox = Sandbox::with_rows(20);
    create_database(&sandbox.path("b.db"), 30, DIMENSIONS);
    let create = |db: &str| sandbox.run(&["create", "--db", db, "--source", "prod"]);
    for db in ["a.db", "b.db", "a.db"] {
        create(db);
    }
    // A snapshot of the same path on another host is one of another database, unless the host was renamed.
    for id in [&sandbox.ids()[0], &sandbox.ids()[2]] {
        let stored = sandbox.stored(id, "metadata.json");
        let web2 = |json: &mut serde_json::Value| json["source"]["host"] = "web2".into();
        fs::write(&stored, test_fixtures::edit_metadata(&fs::read(&stored).unwrap(), web2)).unwrap();
    }
    let status = sandbox.run(&["status"]);
    assert_eq!(status.exit_code, Some(4), "{status:?}");
    assert!(status.stdout.contains("were taken in turn") && status.stdout.contains("web2:"), "{status:?}");
    let prune = sandbox.run(&["prune", "--keep-last", "1", "--dry-run"]);
    prune.assert_warns("b.db is dropped, because web2:");
}

#[test]
fn a_date_that_was_a_name_does_not_delete_what_was_taken_on_that_day() {
    let sandbox = Sandbox::with_rows(20);
    create_database(&sandbox.path("b.db"), 30, DIMENSIONS);
    sandbox.ok(&["create", "--db", "b.db", "--name", "monday"]);
    let monday = sandbox.ids()[0].clone();
    let date = &monday[..8];
    sandbox.ok(&["create", "--db", "a.db", "--name", date]);
    sandbox.run(&["delete", date]).assert_warns("NO SNAPSHOT of ");
    sandbox.run(&["delete", date]).assert_fails(2, "give at least 9 characters of the id, or a name");
    sandbox.run(&["restore", date, "--to", "b.db", "--force"]).assert_fails(2, "is only the start of the id");
    assert_eq!(sandbox.ids(), [monday]);
}

#[test]
fn a_deletion_says_of_which_databases_nothing_is_left() {
    let sandbox = Sandbox::with_rows(20);
    create_database(&sandbox.path("b.db"), 30, DIMENSIONS);
    for db in ["a.db", "a.db", "b.db"] {
        sandbox.ok(&["create", "--db", db]);
    }
    let [b, second, first] = &*sandbox.ids() else { panic!("three snapshots") };
    let unprotected = |ids: &[&str]| sandbox.json(&[&["delete", "--dry-run"], ids].concat()).1["unprotected"].clone();
    assert_eq!(unprotected(&[first]), json!([]));
    assert_eq!(unprotected(&[first, second]).as_array().unwrap().len(), 1);
    // What is left of it cannot be restored.
    fs::remove_file(sandbox.stored(second, "vectors.bin.gz")).unwrap();
    assert_eq!(unprotected(&[first]).as_array().unwrap().len(), 1);
    for more in [&["--dry-run"][..], &["--yes"]] {
        let result = sandbox.run(&[&["delete", b], more].concat());
        result.assert_warns("NO SNAPSHOT of ");
        result.assert_warns("b.db that can be restored and has records is left");
    }
}

#[test]
fn a_database_whose_host_or_name_has_changed_is_one_database() {
    let sandbox = Sandbox::with_rows(20);
    sandbox.ok(&["create", "--db", "a.db", "--name", "nightly"]);
    sandbox.ok(&["create", "--db", "a.db", "--name", "nightly", "--source", "articles"]);
    sandbox.ok(&["restore", "latest", "--to", "a.db", "--force"]);
    // The machines of many have their databases at the same place.
    let id = sandbox.ids()[1].clone();
    let stored = sandbox.stored(&id, "metadata.json");
    let edited =
        test_fixtures::edit_metadata(&fs::read(&stored).unwrap(), |json| json["source"]["host"] = "pod-a".into());
    fs::write(stored, edited).unwrap();
    let replace = sandbox.run(&["restore", "latest", "--to", "a.db", "--force"]);
    replace.assert_fails(2, "the store has snapshots of 2 databases");
    let newest = sandbox.ids()[0].clone();
    sandbox.ok(&["restore", &newest, "--to", "a.db", "--force"]);
    sandbox.run(&["verify", "nightly"]).assert_warns("is a name of snapshots of 2 databases");
}

#[test]
fn databases_of_one_path_with_different_names_are_different() {
    let sandbox = Sandbox::with_rows(20);
    sandbox.ok(&["create", "--db", "a.db", "--name", "nightly", "--source", "users"]);
    sandbox.ok(&["create", "--db", "a.db", "--name", "nightly", "--source", "articles"]);
    sandbox.run(&["restore", "latest", "--to", "a.db", "--force"]).assert_fails(2, "snapshots of 2 databases");
    sandbox.run(&["drill", "nightly"]).assert_warns("is a name of snapshots of 2 databases");
}

#[test]
fn another_path_under_the_same_name_is_a_warning() {
    let sandbox = Sandbox::with_rows(20);
    std::fs::create_dir(sandbox.path("moved")).unwrap();
    sandbox.ok(&["create", "--db", "a.db", "--source", "prod"]);
    std::fs::rename(sandbox.path("a.db"), sandbox.path("moved/a.db")).unwrap();
    let create = ["create", "--db", "moved/a.db", "--source", "prod", "--base", "latest"];
    sandbox.run(&create).assert_warns("if these are two databases, give each a name of its own");
    // It is said once for each move.
    sandbox.ok(&create);
}

#[test]
fn a_name_that_snapshots_of_several_databases_have_says_which_is_meant() {
    let sandbox = Sandbox::with_rows(20);
    create_database(&sandbox.path("b.db"), 30, DIMENSIONS);
    for db in ["a.db", "b.db"] {
        sandbox.ok(&["create", "--db", db, "--name", "nightly"]);
    }
    for args in [&["verify", "nightly"][..], &["drill", "nightly"], &["show", "nightly"], &["dump", "nightly"]] {
        for quiet in [&[][..], &["--quiet"]] {
            let result = sandbox.run(&[args, quiet].concat());
            result.assert_warns("\"nightly\" is a name of snapshots of 2 databases; the newest is meant: ");
            assert!(result.stderr.contains("b.db"), "{result:?}");
        }
    }
    let latest = sandbox.run(&["verify", "latest"]);
    assert_eq!(latest.exit_code, Some(0), "{latest:?}");
    assert!(latest.stderr.contains("; the store has snapshots of 2 databases"), "{latest:?}");
    assert!(sandbox.run(&["drill", "nightly"]).stdout.contains("  source        "));
}
