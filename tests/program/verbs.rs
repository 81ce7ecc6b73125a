//! Every verb when it succeeds, as text and as JSON.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ruvector_core::VectorEntry;

use super::sandbox::{RunResult, Sandbox, assert_holds, create_database, files_below, open_database};

#[test]
fn create_prints_the_new_snapshot_and_the_next_command() {
    let sandbox = Sandbox::with_rows(1000);
    let printed = sandbox.ok(&["create", "--db", "a.db", "--label", "host=db1", "--label", "why=a=b"]);
    let id = sandbox.ids().remove(0);
    for text in [&*format!("created {id}"), "name          a\n", "1,000 of 8 dimensions, Cosine", "% of", "checksum"] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
    assert!(printed.ends_with(&format!("\nnext: ruvector-snapshot verify {id}\n")), "{printed}");
    let (exit_code, document) = sandbox.json(&["show", "latest"]);
    assert_eq!(exit_code, 0);
    let document = &document["snapshots"][0];
    assert_eq!(document["labels"], serde_json::json!({ "host": "db1", "why": "a=b" }));
    assert_eq!(document["records"], 1000);
    assert_eq!(document["corruption"], serde_json::Value::Null);
}

#[test]
fn the_store_option_works_before_and_after_the_verb_and_from_the_environment() {
    let sandbox = Sandbox::with_rows(10);
    sandbox.ok(&["--store", "s", "create", "--db", "a.db"]);
    sandbox.ok(&["create", "--db", "a.db", "--store", "s"]);
    let output = sandbox.command(&["create", "--db", "a.db"]).env("RUVECTOR_SNAPSHOT_STORE", "s").output().unwrap();
    let result = RunResult::from(output);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    assert!(result.stdout.contains("next: ruvector-snapshot verify "), "{result:?}");
    assert!(sandbox.ok(&["list", "--store", "s"]).contains("3 snapshots, "));
    let url = format!("file://{}", sandbox.path("s").display());
    assert!(sandbox.ok(&["list", "--store", &url]).contains("3 snapshots, "));
    let printed = sandbox.ok(&["create", "--db", "a.db", "--store", "my store"]);
    assert!(printed.contains("next: ruvector-snapshot --store 'my store' verify "), "{printed}");
    assert!(!sandbox.path("snapshots").exists());
}

#[test]
fn list_is_newest_first_and_aligns_names_in_any_script() {
    let sandbox = Sandbox::with_rows(10);
    let long = "long ".repeat(200);
    let names = ["日本語のスナップショット", "a/b/../c", "naïve ünï", "עברית", "👩‍🚀 launch", "..", long.trim_end()];
    for name in names {
        sandbox.create(name);
    }
    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!(exit_code, 0);
    let listed: Vec<_> =
        document["snapshots"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(listed, names.into_iter().rev().collect::<Vec<_>>());
    let printed = sandbox.ok(&["list"]);
    assert_eq!(printed.lines().count(), names.len() + 2);
    assert!(printed.starts_with("ID "), "{printed}");
    assert!(printed.contains("日本語のスナップショット"), "{printed}");
    assert!(printed.contains(long.trim_end()), "{printed}");
    let others = printed.lines().filter(|line| !line.contains("long long"));
    assert!(others.into_iter().all(|line| line.chars().count() < 150), "{printed}");
    for name in names {
        sandbox.ok(&["verify", name]);
    }
}

#[test]
fn control_characters_in_names_are_escaped() {
    let sandbox = Sandbox::with_rows(10);
    sandbox.ok(&["create", "--db", "a.db", "--name", "x\u{202e}y", "--label", "k=a\u{202e}b"]);
    for args in [&["list"][..], &["show", "latest"], &["prune", "--keep", "1"]] {
        let printed = sandbox.ok(args);
        assert!(printed.contains("x\\u{202e}y"), "{printed}");
        assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed:?}");
    }
}

#[test]
fn an_empty_store_prints_what_to_do_next() {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    let listed = sandbox.run(&["list"]).stdout;
    assert!(
        listed.starts_with("no snapshots at ./snapshots yet; create the first with: ruvector-snapshot create"),
        "{listed}"
    );
    assert!(sandbox.run(&["prune", "--keep", "1"]).stdout.contains("nothing to delete"));
    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!((exit_code, document["snapshots"].as_array().unwrap().len()), (4, 0));
}

#[test]
fn an_empty_database_can_be_restored() {
    let sandbox = Sandbox::with_rows(0);
    let id = sandbox.create("empty");
    assert!(sandbox.ok(&["create", "--db", "a.db"]).contains("0 of 8 dimensions"));
    sandbox.ok(&["verify", "--all"]);
    sandbox.ok(&["restore", &id, "--to", "b.db"]);
    assert_holds(&sandbox.path("b.db"), 0, 8);
}

#[test]
fn show_prints_every_detail() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let printed = sandbox.ok(&["show", &ids[0][..10]]);
    for text in [
        "name          one",
        "vectors.bin.gz",
        "checksum.sha256",
        "metadata.json",
        "checksum  ",
        "commit ",
        "type          full",
    ] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
}

#[test]
fn verify_checks_one_snapshot_or_all() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let printed = sandbox.ok(&["verify", "one"]);
    assert!(printed.starts_with(&format!("{}  intact: 300 records, ", ids[0])), "{printed}");
    assert!(sandbox.ok(&["verify", "--all"]).ends_with("2 snapshots intact\n"));
    let (exit_code, document) = sandbox.json(&["verify", "--all"]);
    assert_eq!(exit_code, 0);
    assert_eq!(document["state"], "intact");
    assert_eq!(document["snapshots"][1]["id"], *ids[0]);
    assert_eq!(document["snapshots"][1]["records"], 300);
}

#[test]
fn restore_recreates_the_whole_database() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let printed = sandbox.ok(&["restore", "one", "--to", "b.db"]);
    assert!(printed.contains(&format!("restored {} to b.db", ids[0])), "{printed}");
    assert!(printed.contains("the file was read back and has the content checksum of the snapshot:\n"), "{printed}");
    assert_holds(&sandbox.path("b.db"), 300, 8);
    let (exit_code, document) = sandbox.json(&["restore", "latest", "--to", "c.db"]);
    assert_eq!((exit_code, document["records"].as_u64()), (0, Some(300)));
    assert_eq!(document["snapshot"]["id"], *ids[1]);
    assert_holds(&sandbox.path("c.db"), 300, 8);
    assert_eq!(sandbox.names("."), ["a.db", "b.db", "c.db", "snapshots"]);
}

#[test]
fn restore_replaces_a_file_only_with_force() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    fs::write(sandbox.path("b.db"), "precious").unwrap();
    let result = sandbox.run(&["restore", "one", "--to", "b.db"]);
    result.assert_fails(1, "--force");
    // The advice is given once, in the words of the program.
    assert!(!result.stderr.contains("overwriting") && result.stderr.matches("another path").count() == 1, "{result:?}");
    assert_eq!(fs::read(sandbox.path("b.db")).unwrap(), b"precious");
    let printed = sandbox.ok(&["restore", "one", "--to", "b.db", "--force"]);
    assert!(printed.contains("  replaced      the file of "), "{printed}");
    assert_holds(&sandbox.path("b.db"), 300, 8);
    assert_eq!(sandbox.names("."), ["a.db", "b.db", "snapshots"]);
}

#[cfg(unix)]
#[test]
fn restore_replaces_the_target_of_a_symbolic_link() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    fs::create_dir(sandbox.path("real")).unwrap();
    fs::write(sandbox.path("real/b.db"), "old").unwrap();
    std::os::unix::fs::symlink("real/b.db", sandbox.path("link.db")).unwrap();
    sandbox.run(&["restore", "one", "--to", "link.db"]).assert_fails(1, "--force");
    assert_eq!(fs::read(sandbox.path("real/b.db")).unwrap(), b"old");
    sandbox.ok(&["restore", "one", "--to", "link.db", "--force"]);
    assert_eq!(fs::read_link(sandbox.path("link.db")).unwrap().to_str(), Some("real/b.db"));
    assert_holds(&sandbox.path("real/b.db"), 300, 8);
    assert_eq!(
        (sandbox.names("real"), sandbox.names(".")),
        (vec!["b.db".to_owned()], ["a.db", "link.db", "real", "snapshots"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_snapshot_is_named_database_if_the_file_name_is_not_a_valid_name() {
    let sandbox = Sandbox::empty();
    for db in ["latest.db", " .db", "20260131T080000000Z-0123456789abcdef.db", "a\nb.db"] {
        create_database(&sandbox.path(db), 10, 8);
        let (exit_code, document) = sandbox.json(&["create", "--db", db]);
        assert_eq!((exit_code, &document["snapshot"]["name"]), (0, &serde_json::json!("database")), "{db:?}");
    }
    create_database(&sandbox.path("named.db"), 10, 8);
    assert_eq!(sandbox.json(&["create", "--db", "named.db"]).1["snapshot"]["name"], "named");
}

#[test]
fn delete_accepts_several_ids_and_prints_each() {
    let (sandbox, ids) = Sandbox::with_snapshots(4);
    let shown = ["four", "one"].map(|name| sandbox.json(&["show", name]).1["snapshots"][0].clone());
    let printed = sandbox.ok(&["delete", "latest", "one", &ids[3]]);
    let lines = shown.map(|one| {
        let [id, name, time] = ["id", "name", "created_at"].map(|member| one[member].as_str().unwrap());
        let [host, path] = ["host", "path"].map(|member| one["source"][member].as_str().unwrap());
        format!("deleted {id}  {name}  {} {} UTC  {host}:{path}\n", &time[..10], &time[11..19])
    });
    assert_eq!(printed, lines.concat());
    assert_eq!(sandbox.ids(), [&*ids[2], &*ids[1]]);
    let (exit_code, document) = sandbox.json(&["delete", "three"]);
    assert_eq!((exit_code, &document["deleted"]), (0, &serde_json::json!([ids[2]])));
    assert_eq!(sandbox.names("snapshots"), [format!("snapshot-{}", ids[1])]);
}

#[test]
fn delete_refuses_a_name_that_several_snapshots_have() {
    let sandbox = Sandbox::with_rows(20);
    let [first, second] = ["nightly", "nightly"].map(|name| sandbox.create(name));
    create_database(&sandbox.path("b.db"), 20, 8);
    let (_, document) = sandbox.json(&["create", "--db", "b.db", "--name", "nightly", "--source", "articles"]);
    let third = document["snapshot"]["id"].as_str().unwrap().to_owned();
    let before = files_below(&sandbox.path("snapshots"));
    for more in [&[][..], &["--dry-run"], &["--yes"], &["--cascade"]] {
        let result = sandbox.run(&[&["delete", "nightly"], more].concat());
        result.assert_fails(2, "3 snapshots have the name \"nightly\": ");
        result.assert_fails(2, &format!("{third}, taken at 2"));
        result.assert_fails(2, " UTC of articles; ");
        for text in [&*first, &second, "a.db", "Give the id of the one that is meant"] {
            result.assert_fails(2, text);
        }
        let (exit_code, document) = sandbox.json(&[&["delete", "nightly"], more].concat());
        assert_eq!((exit_code, &document["error"]["kind"]), (2, &serde_json::json!("ambiguous")), "{document}");
    }
    // What is unpinned can be deleted by the next prune.
    sandbox.run(&["unpin", "nightly"]).assert_fails(2, "3 snapshots have the name");
    sandbox.run(&["delete", &second, "nightly"]).assert_fails(2, "nothing was deleted, not even the others");
    assert!(files_below(&sandbox.path("snapshots")) == before);

    // Where a wrong choice loses nothing, the newest is meant, and it is said which one that is.
    for args in [&["pin", "nightly"][..], &["annotate", "nightly", "--note", "x"], &["copy", "nightly", "--to", "c"]] {
        let said =
            format!("\"nightly\" is a name of snapshots of 2 databases; the newest is meant: {third} of articles");
        sandbox.run(args).assert_warns(&said);
    }
    // latest is documented to mean one, and what is printed shows which.
    sandbox.ok(&["unpin", &third]);
    let (_, document) = sandbox.json(&["delete", "latest", "--dry-run"]);
    let planned = &document["snapshots"][0];
    assert_eq!(
        (&planned["id"], &planned["source"]["name"]),
        (&third.as_str().into(), &"articles".into()),
        "{document}"
    );
    assert!(planned["created_at"].is_string(), "{document}");
    let printed = sandbox.ok_with_warning(&["delete", "latest", "--dry-run"], "NO SNAPSHOT of articles");
    assert!(printed.contains(" UTC  articles\n"), "{printed}");
    sandbox.ok_with_warning(&["delete", &third, &second], "NO SNAPSHOT of articles");
    sandbox.ok_with_warning(&["delete", "nightly"], "NO SNAPSHOT");
    assert!(sandbox.ids().is_empty());
}

#[test]
fn delete_deletes_nothing_if_one_id_is_unknown() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    sandbox.run(&["delete", "one", "nope"]).assert_fails(4, "nothing was deleted");
    assert_eq!(sandbox.ids(), [&*ids[1], &*ids[0]]);
}

#[test]
fn two_concurrent_creates_make_two_snapshots() {
    let sandbox = Sandbox::with_rows(2000);
    let start = || {
        let mut command = sandbox.command(&["create", "--db", "a.db", "--name", "same", "--quiet"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (first, second) = (start(), start());
    for child in [first, second] {
        let result = RunResult::from(child.wait_with_output().unwrap());
        assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    }
    assert!(sandbox.ok(&["verify", "--all"]).ends_with("2 snapshots intact\n"));
    sandbox.ok(&["show", "same"]);
}

#[test]
fn an_open_database_can_be_captured() {
    let sandbox = Sandbox::with_rows(300);
    let _open = open_database(&sandbox.path("a.db"), 8);
    sandbox.create("while open");
    sandbox.ok(&["restore", "latest", "--to", "b.db"]);
    assert_holds(&sandbox.path("b.db"), 300, 8);
}

#[test]
fn a_snapshot_of_a_database_that_is_written_holds_one_commit() {
    const GROUP: usize = 100;
    let sandbox = Sandbox::with_rows(3000);
    let db = open_database(&sandbox.path("a.db"), 8);
    let is_stopped = AtomicBool::new(false);
    let commit = |generation: usize| {
        let group = (0..GROUP).map(|number| VectorEntry {
            id: Some(format!("id-{:06}-group", number * 30)),
            vector: vec![generation as f32; 8],
            metadata: Some([("generation".to_owned(), serde_json::json!(generation))].into()),
        });
        db.insert_batch(group.collect::<Vec<_>>()).unwrap();
    };
    commit(0);
    thread::scope(|scope| {
        scope.spawn(|| (1..).take_while(|_| !is_stopped.load(Ordering::Acquire)).for_each(commit));
        let result = sandbox.run(&["create", "--db", "a.db", "--quiet"]);
        is_stopped.store(true, Ordering::Release);
        assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    });
    sandbox.ok(&["restore", "latest", "--to", "b.db"]);
    let restored = open_database(&sandbox.path("b.db"), 8);
    assert_eq!(restored.len().unwrap(), 3000 + GROUP);
    let group = (0..GROUP).map(|number| restored.get(&format!("id-{:06}-group", number * 30)).unwrap().unwrap());
    let generations: Vec<_> =
        group.map(|entry| (entry.vector[0] as u64, entry.metadata.unwrap()["generation"].clone())).collect();
    assert!(
        generations.iter().all(|(vector, metadata)| metadata == vector && *vector == generations[0].0),
        "{generations:?}"
    );
}

#[test]
fn compression_changes_the_size_and_not_the_content_checksum() {
    let sandbox = Sandbox::with_rows(500);
    sandbox.ok(&["create", "--db", "a.db", "--name", "none", "--no-compression"]);
    sandbox.ok(&["create", "--db", "a.db", "--name", "most", "--compression-level", "9", "--scratch-dir", "."]);
    let snapshot = |name| sandbox.json(&["show", name]).1["snapshots"][0].clone();
    let (none, most) = (snapshot("none"), snapshot("most"));
    assert_eq!(none["checksum"], most["checksum"]);
    assert!(none["stored_bytes"].as_u64() > most["stored_bytes"].as_u64());
}

#[test]
fn foreign_files_in_the_store_are_ignored_and_kept() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::write(sandbox.path("snapshots/notes.txt"), "mine").unwrap();
    fs::create_dir_all(sandbox.path("snapshots/snapshot-of-my-house/rooms")).unwrap();
    fs::write(sandbox.path("snapshots/snapshot-of-my-house/metadata.json"), "{}").unwrap();
    fs::write(sandbox.stored(&ids[0], "notes.txt"), "mine too").unwrap();
    assert!(sandbox.ok(&["list"]).contains("2 snapshots, "));
    assert!(sandbox.ok(&["verify", "--all"]).ends_with("2 snapshots intact\n"));
    sandbox.ok(&["prune", "--keep", "1"]);
    sandbox.ok_with_warning(&["delete", "latest"], "NO SNAPSHOT");
    let left = files_below(&sandbox.path("snapshots"));
    assert_eq!(left.len(), 3, "{:?}", left.keys());
    assert!(sandbox.run(&["list"]).stdout.contains("no snapshots"));
}

#[test]
fn an_upload_without_metadata_json_is_listed_and_is_not_a_snapshot() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::remove_file(sandbox.stored(&ids[0], "metadata.json")).unwrap();
    let printed = sandbox.ok(&["list"]);
    assert!(printed.contains(&format!("upload: snapshot-{} has no metadata.json", ids[0])), "{printed}");
    assert_eq!(sandbox.ids(), [&*ids[1]]);
    assert_eq!(sandbox.json(&["list"]).1["pending_uploads"], serde_json::json!([ids[0]]));
    let printed = sandbox.ok(&["verify", "--all"]);
    assert!(
        printed.contains(&format!("{}  not verified: it has no metadata.json, so it is not a snapshot", ids[0])),
        "{printed}"
    );
    assert!(printed.ends_with("1 snapshot intact\n"), "{printed}");
    // Also if the store holds nothing else.
    sandbox.ok_with_warning(&["delete", "latest"], "NO SNAPSHOT");
    let result = sandbox.run(&["verify", "--all"]);
    result.assert_fails(4, "there are no snapshots at");
    assert!(result.stdout.contains(&*ids[0]), "{result:?}");
}

#[test]
fn a_closed_standard_output_is_not_an_error() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    for args in [
        &["list"][..],
        &["list", "--json"],
        &["show", "one"],
        &["verify", "--all", "--quiet"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let result = RunResult::from(sandbox.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap());
        assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn every_verb_has_help_with_examples() {
    let sandbox = Sandbox::empty();
    let help = sandbox.ok(&["--help"]);
    for text in ["Exit codes:", "Examples", "RUVECTOR_SNAPSHOT_STORE", "latest"] {
        assert!(help.contains(text), "{text:?} is not in {help}");
    }
    for verb in
        ["create", "list", "show", "verify", "restore", "delete", "copy", "compact", "pin", "unpin", "prune", "demo"]
    {
        let help = sandbox.ok(&[verb, "--help"]);
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    }
    assert!(sandbox.ok(&["--version"]).starts_with("ruvector-snapshot "));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(sandbox.ok(&["completions", shell]).contains("ruvector-snapshot"));
    }
    assert!(sandbox.names(".").is_empty());
}

#[test]
fn the_demo_passes_all_its_checks() {
    let sandbox = Sandbox::empty();
    let printed = sandbox.ok(&["demo", "show"]);
    assert!((20..=34).contains(&printed.lines().count()), "{printed}");
    for text in [
        "ok    the snapshot has all 12,000 vectors, and ",
        "ok    it holds exactly one commit: generation ",
        "vectors.bin.gz: block",
        "ok    Ruvector reads 12,000 ids, 768,000 values and all metadata as they were\n",
        "ok    it stores 0 added, 600 changed, 0 removed records, and nothing else\n",
        "ok    all 12,000 records are exactly as they were at generation ",
        "All 8 checks passed. ",
    ] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    assert!(
        printed.ends_with("The files are in show; continue with:\n  $ ruvector-snapshot list --store show/snapshots\n"),
        "{printed}"
    );
    assert_eq!(sandbox.names("show"), ["corrupt", "live.db", "restored-2.db", "restored.db", "snapshots"]);
    sandbox.ok(&["--store", "show/snapshots", "verify", "demo"]);
    assert_eq!(sandbox.run(&["--store", "show/corrupt", "verify", "demo"]).exit_code, Some(3));
    sandbox.run(&["demo", "show"]).assert_fails(2, "the demo needs an empty or a new one");
    fs::create_dir(sandbox.path("tmp")).unwrap();
    let result =
        RunResult::from(sandbox.command(&["demo", "--json"]).env("TMPDIR", sandbox.path("tmp")).output().unwrap());
    let document: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    assert_eq!((result.exit_code, checks.len()), (Some(0), 8));
    assert!(checks.iter().all(|check| check.is_string()), "{document}");
    if cfg!(unix) {
        assert!(sandbox.names("tmp").is_empty());
    }
}
