//! `restore --dry-run`: what it prints, how it ends, and that nothing is changed. What is in the way at the destination is
//! in `destinations`, which makes a dry run of everything that it has refused.

use std::fs;

use serde_json::{Value, json};
use test_fixtures::{StoredSnapshot, edit_metadata};

use super::bucket::{Bucket, Server};
use super::destinations::{Shell, tree_with_times};
use super::refused_sync::refusals;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, assert_holds, create_database, open_database};

const COLUMNS: usize = 80;

/// A store on a disk, or in a bucket, with a full snapshot and two increments. The newest is `two`.
enum Chain {
    Directory(Sandbox),
    Bucket(Bucket),
}

impl Chain {
    fn each() -> Vec<Self> {
        let [s3, gcs] = Bucket::both();
        let all = vec![Self::Directory(Sandbox::with_rows(300)), Self::Bucket(s3), Self::Bucket(gcs)];
        for chain in &all {
            chain.ok(&["create", "--db", "a.db", "--name", "full"]);
            for (round, name) in ["one", "two"].into_iter().enumerate() {
                let db = open_database(&chain.sandbox().path("a.db"), DIMENSIONS);
                let mut record = db.get("id-000001").unwrap().unwrap();
                record.id = Some("id-000001".to_owned());
                record.vector = vec![round as f32; DIMENSIONS];
                db.insert(record).unwrap();
                drop(db);
                chain.ok(&["create", "--db", "a.db", "--name", name, "--base", "latest"]);
            }
        }
        all
    }

    fn sandbox(&self) -> &Sandbox {
        match self {
            Self::Directory(sandbox) => sandbox,
            Self::Bucket(bucket) => &bucket.sandbox,
        }
    }

    fn run(&self, args: &[&str]) -> RunResult {
        match self {
            Self::Directory(sandbox) => sandbox.run(args),
            Self::Bucket(bucket) => bucket.run(args),
        }
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let result = self.run(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        result.stdout
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> (i32, Value) {
        self.run(&[args, &["--json"]].concat()).into_json()
    }

    /// Puts something else in the place of the index of a snapshot.
    fn break_index_of(&self, id: &str) {
        match self {
            Self::Directory(sandbox) => fs::write(sandbox.stored(id, "index.bin.gz"), "no index").unwrap(),
            Self::Bucket(bucket) => {
                let key = format!("backups/prod/snapshot-{id}/index.bin.gz");
                match &bucket.server {
                    Server::S3(server) => server.put_object(&key, b"no index"),
                    Server::Gcs(server) => server.put_object(&key, b"no index"),
                }
            }
        }
    }
}

fn dry<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["restore", "two", "--to", "b.db", "--dry-run"], args].concat()
}

#[test]
fn a_dry_run_prints_the_plan_in_80_columns_and_writes_nothing() {
    for chain in Chain::each() {
        let before = tree_with_times(chain.sandbox());
        let printed = chain.ok(&dry(&[]));
        let (exit_code, document) = chain.json(&dry(&[]));
        assert_eq!(tree_with_times(chain.sandbox()), before);
        assert!(printed.lines().all(|line| line.chars().count() <= COLUMNS), "{printed}");
        let plan = &document;
        let members = plan["chain_snapshots"].as_array().unwrap();
        let ids: Vec<_> = members.iter().map(|member| member["id"].as_str().unwrap()).collect();
        let (newest, fetch) = (ids[2], &plan["fetch"]);
        for text in [
            &*format!("would restore {newest} to b.db\n"),
            "  name          two\n",
            "  vectors       300 of 8 dimensions, Cosine\n",
            "  chain         3 snapshots\n",
            &*format!("    {}  full       ", ids[0]),
            &*format!("    {}  incremental", ids[1]),
            "  read          ",
            &*format!(" of {} objects, with {} requests\n", fetch["objects"], fetch["requests"]),
            "  write         ",
            "  free          ",
            "  memory        ",
            "    ok           free space\n",
            "nothing was restored (--dry-run)\n",
        ] {
            assert!(printed.contains(text), "{text:?} is not in {printed}");
        }
        let expected = (0, &json!(true), &json!(true), &json!([]), &json!([]));
        let (feasible, dry_run) = (&document["feasible"], &document["dry_run"]);
        assert_eq!((exit_code, feasible, dry_run, &document["warnings"], &plan["blockers"]), expected, "{document}");
        assert_eq!((plan["id"].as_str(), &plan["state"]["records"]), (Some(newest), &json!(300)));
        assert!(members.iter().all(|member| member["objects"].as_array().unwrap().len() == 4), "{document}");
        // The restore reads as much as the plan says.
        let (exit_code, restored) = chain.json(&["restore", "two", "--to", "b.db"]);
        assert_eq!((exit_code, &restored["store_read_bytes"]), (0, &fetch["bytes"]), "{restored}");
    }
}

#[test]
fn a_file_that_exists_is_in_the_way_unless_it_is_to_be_replaced() {
    for chain in Chain::each() {
        create_database(&chain.sandbox().path("b.db"), 3, DIMENSIONS);
        let before = tree_with_times(chain.sandbox());
        let refused = chain.run(&dry(&[]));
        refused.assert_fails(
            1,
            "b.db: the file already exists and was not changed\n  hint: choose another path, or use --force",
        );
        assert!(refused.stdout.starts_with("could not restore "), "{refused:?}");
        let (exit_code, document) = chain.json(&dry(&[]));
        assert_eq!((exit_code, &document["feasible"]), (1, &json!(false)));
        let [blocker] = document["blockers"].as_array().unwrap().as_slice() else { panic!("{document}") };
        assert_eq!((&blocker["kind"], &blocker["key"]), (&json!("already_exists"), &json!("b.db")));

        // What the user has asked for is no warning.
        let replaced = chain.run(&dry(&["--force"]));
        assert_eq!((replaced.exit_code, replaced.stderr.as_str()), (Some(0), ""), "{replaced:?}");
        assert!(replaced.stdout.contains("  replace       a file of "), "{replaced:?}");

        // A program has it open.
        let db = open_database(&chain.sandbox().path("b.db"), DIMENSIONS);
        let refused = chain.run(&dry(&["--force"]));
        assert_eq!(refused.exit_code, Some(1), "{refused:?}");
        for text in ["error: ", "a program has this file open", "hint: --force with --force-while-open"] {
            assert!(refused.stderr.contains(text), "{refused:?}");
        }
        let lost = chain.run(&dry(&["--force", "--force-while-open"]));
        lost.assert_warns("b.db open; it keeps the replaced file");
        drop(db);
        let names =
            |tree: &[String]| tree.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&tree_with_times(chain.sandbox())), names(&before));
        chain.ok(&["restore", "two", "--to", "b.db", "--force"]);
    }
}

#[test]
fn everything_that_is_in_the_way_is_printed_at_once() {
    for chain in Chain::each() {
        fs::write(chain.sandbox().path("b.db"), "precious").unwrap();
        let (_, listed) = chain.json(&["list"]);
        let full = listed["snapshots"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        chain.break_index_of(&full);
        let before = tree_with_times(chain.sandbox());
        let result = chain.run(&dry(&[]));
        assert_eq!(tree_with_times(chain.sandbox()), before);
        assert_eq!(result.exit_code, Some(1), "{result:?}");
        let errors: Vec<_> = result.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 2, "{result:?}");
        assert!(errors[0].contains("b.db: the file already exists"), "{result:?}");
        assert!(errors[1].contains(&full) && errors[1].contains("index.bin.gz"), "{result:?}");
        // Without the file, the corrupt snapshot is the first.
        fs::remove_file(chain.sandbox().path("b.db")).unwrap();
        assert_eq!(chain.run(&["restore", "two", "--to", "b.db"]).exit_code, Some(3));
        let result = chain.run(&dry(&[]));
        assert_eq!(result.exit_code, Some(3), "{result:?}");
        assert!(result.stderr.starts_with(&format!("warning: snapshot {full} was found corrupt at ")), "{result:?}");
        assert!(result.stderr.contains("`verify` shows everything that is corrupt"), "{result:?}");
    }
}

#[test]
fn a_snapshot_of_a_newer_version_and_one_that_does_not_exist_are_told_apart() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let stored = StoredSnapshot::read(&sandbox.path("snapshots"), &ids[0]);
    stored
        .put("metadata.json", &edit_metadata(stored.file("metadata.json"), |json| json["format_version"] = 99.into()));
    let args = |id| ["restore", id, "--to", "b.db", "--dry-run"];
    let result = sandbox.run(&args(&ids[0]));
    result.assert_fails(1, "it has format version 99");
    assert!(result.stdout.contains("nothing was restored (--dry-run)\n"), "{result:?}");
    let result = sandbox.run(&args("nothing-of-this-name"));
    result.assert_fails(4, "nothing-of-this-name");
    assert_eq!(result.stdout, "");
    assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
}

#[test]
fn what_a_snapshot_does_not_hold_is_printed_and_files_of_killed_restores_stay() {
    let sandbox = Sandbox::with_rows(300);
    fs::write(sandbox.path("a.db.meta.json"), "{}").unwrap();
    sandbox.ok(&["create", "--db", "a.db", "--name", "one", "--allow-not-captured"]);
    fs::write(sandbox.path(".b.db.restoring-abcdef"), "").unwrap();
    let before = tree_with_times(&sandbox);
    let result = sandbox.run(&["restore", "one", "--to", "b.db", "--dry-run", "--allow-not-captured"]);
    assert_eq!(tree_with_times(&sandbox), before);
    result.assert_warns(".b.db.restoring-abcdef (0 bytes) would be removed");
    assert_eq!(result.stderr.matches("warning: ").count(), 1, "{result:?}");
    let named = result.stdout.split_once("  not captured  ").map(|(_, named)| named);
    assert!(named.is_some_and(|named| named.lines().next().unwrap().contains("a.db.meta.json")), "{result:?}");
    let (_, document) = sandbox.json(&["restore", "one", "--to", "b.db", "--dry-run"]);
    assert_eq!(document["warnings"].as_array().unwrap().len(), 2, "{document}");
    assert_eq!(document["state"]["source"]["not_captured"].as_array().unwrap().len(), 1, "{document}");
}

/// EOPNOTSUPP of Linux: the file system has no files without names, so a dry run cannot create one.
#[test]
fn a_dry_run_says_which_checks_it_could_not_make() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let before = tree_with_times(&sandbox);
    let mut command = sandbox.command(&["restore", "one", "--to", "b.db", "--dry-run"]);
    let output = command.env("LD_PRELOAD", refusals()).env("REFUSE_NEW_FILES", "95").output();
    let result = RunResult::from(output.unwrap());
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    for text in ["    ok           directory\n", "    not checked  quota\n", "    ok           free space\n"] {
        assert!(result.stdout.contains(text), "{text:?}: {result:?}");
    }
    assert_eq!(tree_with_times(&sandbox), before);
    // Without a directory there is nothing to check.
    let missing = sandbox.command(&["restore", "one", "--to", "no/such/b.db", "--dry-run"]);
    let result = Shell::refusing("REFUSE_NEW_FILES", "95").run(missing);
    result.assert_fails(1, "hint: create the directory no/such first");
    sandbox.ok(&["restore", "one", "--to", "b.db"]);
    assert_holds(&sandbox.path("b.db"), 300, DIMENSIONS);
    // That is a hint for this error only.
    for (more, error) in [(&["--id", "absent"][..], "the id \"absent\" is not in"), (&[], "index.bin.gz")] {
        if more.is_empty() {
            fs::write(sandbox.stored(&ids[0], "index.bin.gz"), "no index").unwrap();
        }
        let args = [&["restore", "one", "--to", "no/such/b.db", "--dry-run"], more].concat();
        let result = sandbox.run(&args);
        let errors: Vec<&str> = result.stderr.split("\nerror: ").collect();
        assert!(errors.len() > 1, "{result:?}");
        for printed in errors {
            assert_eq!(printed.contains("create the directory"), !printed.contains(error), "{result:?}");
        }
    }
}

/// Plans that see one directory in several ways, and one database as a whole and as a part.
#[test]
fn plans_agree_about_the_space_that_is_free_and_that_is_needed() {
    for rows in [300, 3000, 7000] {
        let sandbox = Sandbox::with_rows(rows);
        sandbox.create("one");
        let plan = |args: &[&str]| {
            let (exit_code, document) = sandbox.json(&[args, &["--dry-run"]].concat());
            assert_eq!(exit_code, 0, "{document}");
            document
        };
        let whole = plan(&["restore", "one", "--to", "b.db"]);
        fs::write(sandbox.path("ids"), (0..rows).map(|row| format!("id-{row:06}\n")).collect::<String>()).unwrap();
        let part = plan(&["restore", "one", "--to", "b.db", "--ids-from", "ids"]);
        let merged = plan(&["restore", "one", "--to", "a.db", "--merge", "--on-conflict", "keep"]);
        let exported = plan(&["export", "one", "--to", "exported"]);
        assert_eq!(part["file"]["likely_bytes"], whole["file"]["likely_bytes"], "{whole} {part}");
        // Other programs write meanwhile.
        let gigabytes = |document: &Value| document["free_bytes"].as_u64().unwrap() >> 30;
        for free in [&part["file"], &merged["file"], &exported] {
            assert!(gigabytes(free).abs_diff(gigabytes(&whole["file"])) <= 2, "{whole} {free}");
        }
    }
}
