//! Mistakes of users: a clear error, the right exit code, and nothing left behind.

use std::fs;

use super::sandbox::{Sandbox, files_below};

/// Asserts that a create fails and leaves no store.
#[track_caller]
fn assert_create_fails(sandbox: &Sandbox, db: &str, exit_code: i32, text: &str) {
    sandbox.run(&["create", "--db", db]).assert_fails(exit_code, text);
    assert!(!sandbox.path("snapshots").exists(), "a store was left for {db}");
    let (json_exit_code, document) = sandbox.json(&["create", "--db", db]);
    assert_eq!((json_exit_code, document["error"]["exit_code"].as_i64()), (exit_code, Some(i64::from(exit_code))));
}

#[test]
fn create_refuses_files_that_are_not_databases() {
    let sandbox = Sandbox::empty();
    fs::write(sandbox.path("text.db"), "hello, this is text\n".repeat(5000)).unwrap();
    fs::write(sandbox.path("short.db"), "hello").unwrap();
    fs::write(sandbox.path("empty.db"), "").unwrap();
    fs::create_dir(sandbox.path("directory.db")).unwrap();
    let other = redb::Database::create(sandbox.path("other.db")).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("numbers")).unwrap().insert("one", 1).unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert_create_fails(&sandbox, "missing.db", 1, "missing.db");
    assert_create_fails(&sandbox, "text.db", 1, "text.db");
    assert_create_fails(&sandbox, "short.db", 1, "short.db");
    assert_create_fails(&sandbox, "empty.db", 1, "it is empty");
    assert_create_fails(&sandbox, "directory.db", 1, "directory.db");
    assert_create_fails(&sandbox, "other.db", 1, "other.db");
    assert_create_fails(&sandbox, "missing/\u{1b}[2J.db", 1, "cannot open missing/\\u{1b}[2J.db: file not found");
}

#[test]
fn an_invalid_name_is_a_usage_error() {
    let sandbox = Sandbox::with_rows(10);
    let long = "x".repeat(5000);
    for (name, text) in [
        ("", "cannot be empty"),
        ("  ", "cannot be empty"),
        (&*long, "1024"),
        ("a\nb", "control characters"),
        ("latest", "choose another name"),
        ("20260131T080000000Z-0123456789abcdef", "choose another name"),
    ] {
        sandbox.run(&["create", "--db", "a.db", "--name", name]).assert_fails(2, text);
    }
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn invalid_options_are_usage_errors() {
    let sandbox = Sandbox::with_rows(10);
    let create = |more: &[&str]| sandbox.run(&[&["create", "--db", "a.db"], more].concat());
    create(&["--label", "no-equals-sign"]).assert_fails(2, "KEY=VALUE");
    create(&["--label", "k=1", "--label", "k=2"]).assert_fails(2, "given twice");
    create(&["--label", "=value"]).assert_fails(2, "key");
    create(&["--scratch-dir", "nowhere"]).assert_fails(1, "--scratch-dir nowhere: the directory does not exist");
    for wrong in ["10", "12", "-1", "six"] {
        create(&[&format!("--compression-level={wrong}")]).assert_fails(2, "must be a number from 0 to 9");
    }
    create(&["--compression-level", "1", "--no-compression"]).assert_fails(2, "cannot be used with");
    sandbox.run(&["create"]).assert_fails(2, "--db");
    sandbox.run(&["verify"]).assert_fails(2, "ID");
    sandbox.run(&["verify", "x", "--all"]).assert_fails(2, "--all");
    sandbox.run(&["delete"]).assert_fails(2, "ID");
    sandbox.run(&["restore", "x"]).assert_fails(2, "--to");
    sandbox.run(&["backup"]).assert_fails(2, "--db");
    sandbox.run(&["dance"]).assert_fails(2, "dance");
    sandbox.run(&["completions", "cmd"]).assert_fails(2, "cmd");
    assert_eq!(sandbox.run(&[]).exit_code, Some(2));
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn reading_verbs_do_not_create_a_missing_store() {
    let sandbox = Sandbox::empty();
    let verbs: [&[&str]; 7] = [
        &["list"],
        &["show", "x"],
        &["verify", "x"],
        &["verify", "--all"],
        &["restore", "x", "--to", "b.db"],
        &["delete", "x"],
        &["prune", "--keep", "1"],
    ];
    for args in verbs {
        sandbox.run(args).assert_fails(1, "cannot open the store ./snapshots: the directory does not exist");
        assert_eq!(sandbox.json(args).1["error"]["kind"], "not_found");
    }
    assert!(sandbox.names(".").is_empty());
}

#[test]
fn an_invalid_store_is_refused() {
    let sandbox = Sandbox::with_rows(10);
    fs::write(sandbox.path("file"), "x").unwrap();
    for verb in [&["list"][..], &["create", "--db", "a.db"]] {
        let at = |store: &'static str| sandbox.run(&[&["--store", store], verb].concat());
        at("file").assert_fails(1, "this is a file");
        at("file/below").assert_fails(1, "file/below");
        at("").assert_fails(2, "location is empty");
        at("memory://").assert_fails(2, "memory://");
        at("file://host/x").assert_fails(2, "file://");
    }
    assert_eq!(sandbox.names("."), ["a.db", "file"]);
}

#[test]
fn an_unknown_or_ambiguous_id_is_refused() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let before = files_below(&sandbox.path("snapshots"));
    let long = "x".repeat(5000);
    let unknown = "20260131T080000000Z-0123456789abcdef";
    for id in ["..", "../..", "a/b", "/etc/passwd", "", " ", unknown, &long, "snapshot-", "\u{1b}[2J"] {
        for args in [&["show", id][..], &["verify", id], &["restore", id, "--to", "b.db"], &["delete", id]] {
            let result = sandbox.run(args);
            result.assert_fails(4, "no snapshot has the id");
            assert!(!result.stderr.contains('\u{1b}'), "{result:?}");
        }
    }
    let both = &ids[0][..4];
    for args in [&["show", both][..], &["verify", both], &["delete", both]] {
        sandbox.run(args).assert_fails(2, &format!("2 ids start with {both:?}, for example "));
    }
    fs::create_dir(sandbox.path("none")).unwrap();
    sandbox
        .run(&["show", "latest", "--store", "none"])
        .assert_fails(4, "the store has no snapshots, so there is no latest one");
    assert_eq!(files_below(&sandbox.path("snapshots")), before);
}

#[test]
fn restore_refuses_an_invalid_destination() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.run(&["restore", "one", "--to", "missing/b.db"]).assert_fails(1, "create the directory missing first");
    sandbox.run(&["restore", "one", "--to", "snapshots"]).assert_fails(1, "directory");
    sandbox.run(&["restore", "one", "--to", "snapshots", "--force"]).assert_fails(1, "directory");
    sandbox.run(&["restore", "one", "--to", "a.db/b.db"]).assert_fails(1, "a.db/b.db");
    sandbox.run(&["restore", "one", "--to", ""]).assert_fails(2, "--to");
    sandbox.run(&["restore", "one", "--to", "/"]).assert_fails(1, "/");
    assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
}

#[test]
fn nothing_is_written_into_the_store() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    std::os::unix::fs::symlink("snapshots", sandbox.path("link")).unwrap();
    fs::copy(sandbox.path("a.db"), sandbox.path("snapshots/c.db")).unwrap();
    let before = files_below(&sandbox.path("snapshots"));
    let restore = ["restore", "one", "--to"];
    for args in [
        &[&restore[..], &["snapshots/b.db"]].concat(),
        &[&restore[..], &["link/b.db"]].concat(),
        &[&restore[..], &["link/missing/../b.db"]].concat(),
        &[&restore[..], &["snapshots/c.db", "--force"]].concat(),
        &[&restore[..], &["snapshots/c.db", "--merge"]].concat(),
        &[&restore[..], &["snapshots/b.db", "--id", "id-000001"]].concat(),
        &["export", "one", "--to", "snapshots/exported"][..].to_vec(),
        &["drill", "one", "--no-record", "--scratch-dir", "link"][..].to_vec(),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let result = sandbox.run(&[args, dry].concat());
            result.assert_fails(1, "is inside of the store ");
            result.assert_fails(1, "choose a path outside of it");
        }
    }
    assert_eq!(files_below(&sandbox.path("snapshots")), before);
    // Beside the store, also by a path through it, is outside of it.
    sandbox.ok(&["restore", "one", "--to", "snapshots/../b.db"]);
    sandbox.ok(&["restore", "one", "--to", "snapshots.db"]);
}

#[cfg(unix)]
#[test]
fn restore_replaces_only_regular_files() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let (sandbox, _) = Sandbox::with_snapshots(1);
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path("fifo")).status().unwrap().success());
    symlink("fifo", sandbox.path("link")).unwrap();
    for to in ["fifo", "link"] {
        sandbox.run(&["restore", "one", "--to", to]).assert_fails(1, "not a regular file");
        sandbox.run(&["restore", "one", "--to", to, "--force"]).assert_fails(1, "not a regular file");
    }
    assert!(fs::symlink_metadata(sandbox.path("fifo")).unwrap().file_type().is_fifo());
    assert!(sandbox.path("link").is_symlink());
    assert_eq!(sandbox.names("."), ["a.db", "fifo", "link", "snapshots"]);
}

#[test]
fn the_demo_refuses_a_directory_that_is_not_empty() {
    let sandbox = Sandbox::with_rows(10);
    sandbox.run(&["demo", "a.db"]).assert_fails(2, "this is a file, but the demo needs a directory");
    sandbox.run(&["demo", "."]).assert_fails(2, "the demo needs an empty or a new one");
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn where_a_path_is_needed_a_url_and_the_word_for_standard_output_are_refused() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let url = "this is a URL (s3://), and a path of this machine is needed";
    let output = "nothing is written to standard output; a path with this name is written ./-";
    for (path, text) in [("s3://bucket/x", url), ("-", output)] {
        for args in [
            &["restore", "one", "--to", path][..],
            &["export", "one", "--format", "npy", "--to", path],
            &["man", path],
            &["demo", path],
        ] {
            sandbox.run(args).assert_fails(2, text);
        }
    }
    sandbox.run(&["man", "create"]).assert_fails(2, "`help create` prints the help of the command");
    assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
    sandbox.ok(&["restore", "one", "--to", "./-"]);
    sandbox.ok(&["man", "./create"]);
}

#[test]
fn the_name_of_the_directory_of_a_snapshot_means_it() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let shown = sandbox.ok(&["show", &ids[0]]);
    for text in [format!("snapshot-{}", ids[0]), format!("snapshot-{}/", ids[0])] {
        assert_eq!(sandbox.ok(&["show", &text]), shown, "{text}");
    }
    // Only a whole id: a mistyped name must not mean a snapshot whose id begins with its number.
    for name in ["snapshot-2000", "snapshot-2", &format!("snapshot-{}", &ids[0][..8])] {
        sandbox.run(&["show", name]).assert_fails(4, "no snapshot has the id, id prefix or name");
        sandbox.run(&["delete", name]).assert_fails(4, "no snapshot has the id, id prefix or name");
    }
    sandbox.ok(&["create", "--db", "a.db", "--name", "snapshot-20"]);
    assert!(sandbox.ok(&["show", "snapshot-20"]).contains("name          snapshot-20"));
}

#[test]
fn names_labels_and_sources_have_no_blanks_at_their_ends_and_no_control_characters() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let create = ["create", "--db", "a.db"];
    for (args, problem) in [
        (["--name", "nightly "], "the name of a snapshot cannot begin or end with blanks: \"nightly \""),
        (["--name", " nightly"], "cannot begin or end with blanks"),
        (["--source", "articles\t"], "the name of a source cannot"),
        (["--label", "host =db1"], "the key of a label cannot begin or end with blanks"),
        (["--label", "host=db1 "], "the value of a label cannot begin or end with blanks"),
        (["--label", "host=d\nb1"], "the value of a label cannot contain control characters"),
    ] {
        for more in [&[][..], &["--dry-run"]] {
            sandbox.run(&[&create[..], &args, more].concat()).assert_fails(2, problem);
        }
    }
    sandbox.run(&["annotate", "one", "--label", "host= db1"]).assert_fails(2, "cannot begin or end with blanks");
    // The value may be empty.
    sandbox.ok(&["annotate", "one", "--label", "host="]);
    sandbox.run(&["import", "old.snapshot.gz", "--name", "old "]).assert_fails(2, "cannot begin or end with blanks");
    assert_eq!(sandbox.ids(), ids);

    // One that an earlier program has stored can be used.
    let file = sandbox.stored(&ids[0], "metadata.json");
    let edited = test_fixtures::edit_metadata(&fs::read(&file).unwrap(), |document| {
        document["name"] = "old ".into();
        document["labels"] = serde_json::json!({ " host": "db1\n" });
    });
    fs::write(&file, edited).unwrap();
    sandbox.ok(&["restore", "old ", "--to", "b.db"]);
    sandbox.ok(&["annotate", "old ", "--remove", " host"]);
}

#[test]
fn a_name_that_looks_like_the_start_of_an_id_is_refused() {
    let sandbox = Sandbox::with_rows(10);
    for name in ["20261130T06", "20261130T", "20261130T080000000Z", "20261130T080000000Z-0123", "latest"] {
        sandbox.run(&["create", "--db", "a.db", "--name", name]).assert_fails(2, "choose another name");
    }
    for name in ["20261130", "20261130-nightly", "20261130Tuesday", "T06"] {
        sandbox.ok(&["create", "--db", "a.db", "--name", name]);
        sandbox.ok(&["show", name]);
        sandbox.ok_with_warning(&["delete", name], "NO SNAPSHOT");
    }
}

#[test]
fn a_source_that_no_snapshot_has_is_answered_with_those_that_are_there() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "named", "--source", "articles"]);
    let result = sandbox.run(&["list", "--source", "article"]);
    assert_eq!(result.exit_code, Some(4), "{result:?}");
    assert_eq!(result.stderr, "hint: did you mean articles?\n");
    let result = sandbox.run(&["list", "--source", "other"]);
    assert!(result.stderr.contains("hint: the sources of the snapshots are: articles, "), "{result:?}");
    assert!(result.stderr.contains("a.db"), "{result:?}");
    assert_eq!(sandbox.run(&["list", "--source", "articles"]).stderr, "");
}

#[test]
fn a_dry_run_of_a_create_prints_what_is_stored_with_the_records() {
    let sandbox = Sandbox::with_rows(10);
    let create = ["create", "--db", "a.db", "--label", "host=db1", "--note", "two\nlines", "--embedding", "model=m"];
    let printed = sandbox.ok(&[&create[..], &["--dry-run"]].concat());
    for text in ["  labels        host=db1\n", "  note          two\n", "lines\n", "  embedding     "] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
    let (_, document) = sandbox.json(&[&create[..], &["--dry-run"]].concat());
    assert_eq!((&document["labels"]["host"], &document["note"]), (&"db1".into(), &"two\nlines".into()), "{document}");
}

#[test]
fn a_date_is_a_name_before_it_is_the_start_of_ids() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let date = &ids[0][..8];
    for _ in 0..2 {
        sandbox.ok(&["create", "--db", "a.db", "--name", date]);
    }
    let newest = sandbox.ids()[0].clone();
    assert!(sandbox.ok(&["show", date]).contains(&newest));
    sandbox.ok(&["verify", date]);
    sandbox.ok(&["create", "--db", "a.db", "--base", date]);
    sandbox.run(&["delete", date]).assert_fails(2, "2 snapshots have the name");
}

#[test]
fn hints_name_what_is_wrong() {
    let sandbox = Sandbox::with_rows(3);
    std::fs::create_dir(sandbox.path("directory")).unwrap();
    for (args, exit_code, text) in [
        (&["create", "--db", "a.db", "--store=~/st"][..], 1, "write $HOME/st"),
        (&["list", "--log-file", "directory"], 1, "--log-file is a directory"),
        (&["list", "--log-file", "no/such/log"], 1, "the directory of --log-file must exist"),
        (&["prune", "--policy", "x"], 2, "give rules, such as --keep-last 7"),
        (&["list", "--store", "@x", "--no-config"], 2, "because --no-config is given"),
        (&["store", "--utc"], 2, "tip: say what to do: `store check`, `store options`"),
    ] {
        sandbox.run(args).assert_fails(exit_code, text);
    }
    assert_eq!(sandbox.names("."), ["a.db", "directory"]);
}

#[test]
fn what_cannot_be_undone_needs_more_than_the_start_of_every_id() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["pin", "one"]);
    for length in [1, 7] {
        let start = &ids[0][..length];
        sandbox.run(&["unpin", start]).assert_fails(2, "give at least 9 characters of the id, or a name");
        sandbox
            .run(&["delete", start, "--dry-run"])
            .assert_fails(2, &format!("is only the start of the id {}", ids[0]));
        // What changes nothing, and what can be undone, takes it.
        sandbox.ok(&["show", start]);
    }
    sandbox.ok(&["unpin", &ids[0][..9]]);
    sandbox.ok(&["create", "--db", "a.db", "--name", "x"]);
    sandbox.ok(&["delete", "x"]);
    sandbox.ok_with_warning(&["delete", &ids[0][..9]], "NO SNAPSHOT");
    assert!(sandbox.ids().is_empty());
}

#[test]
fn numbers_and_empty_notes_say_what_to_give() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let result = sandbox.run(&["list", "--last", "0"]);
    result.assert_fails(2, "must be a whole number, at least 1");
    assert!(!result.stderr.contains("keep"), "{result:?}");
    sandbox.run(&["annotate", "one", "--note", ""]).assert_fails(2, "hint: --remove-note removes the note");
    let result = sandbox.run(&["search", "one", "--like", "id-000001", "-k", "2000000"]);
    result.assert_fails(2, "2000000 neighbors of 1 query are more than");
}

#[test]
fn a_base_in_an_empty_store_is_a_reason_for_a_full_snapshot() {
    let sandbox = Sandbox::with_rows(10);
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    for base in ["latest", "nightly"] {
        let result = sandbox.run(&["create", "--db", "a.db", "--base", base]);
        result.assert_fails(4, "hint: take a full snapshot first: repeat this command without --base");
        assert!(!result.stderr.contains("moved"), "{result:?}");
    }
}

#[test]
fn a_corrupt_database_has_the_same_hint_wherever_that_shows() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let whole = fs::read(sandbox.path("a.db")).unwrap();
    let (mut flipped, half) = (whole.clone(), whole[..whole.len() / 2].to_vec());
    flipped[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    for bytes in [flipped, half] {
        fs::write(sandbox.path("a.db"), bytes).unwrap();
        for how in [&[][..], &["--dry-run"], &["--base", "latest"]] {
            let result = sandbox.run(&[&["create", "--db", "a.db"], how].concat());
            result.assert_fails(3, "hint: no snapshot was created; `list` shows the newest one from before");
        }
    }
}
