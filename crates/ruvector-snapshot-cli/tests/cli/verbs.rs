//! Every verb where all goes well, as text and as JSON.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ruvector_core::VectorEntry;

use super::{Desk, Ran, assert_holds, contents};

#[test]
fn create_tells_what_it_made_and_what_comes_next() {
    let desk = Desk::with_rows(1000);
    let printed = desk.ok(&["create", "--db", "a.db", "--label", "host=db1", "--label", "why=a=b"]);
    let id = desk.ids().remove(0);
    for words in [&*format!("created {id}"), "name          a\n", "1,000 of 8 dimensions, Cosine", "% of", "checksum"] {
        assert!(printed.contains(words), "{words:?} is not in {printed}");
    }
    assert!(
        printed.ends_with(&format!("next: ruvector-snapshot verify {id}, or restore {id} --to FILE\n")),
        "{printed}"
    );
    let (status, document) = desk.json(&["show", "latest"]);
    assert_eq!(status, 0);
    assert_eq!(document["snapshot"]["labels"], serde_json::json!({ "host": "db1", "why": "a=b" }));
    assert_eq!(document["snapshot"]["vector_count"], 1000);
    assert_eq!(document["damage"], serde_json::Value::Null);
}

#[test]
fn the_store_can_be_named_before_and_after_the_verb_and_by_the_environment() {
    let desk = Desk::with_rows(10);
    desk.ok(&["--store", "s", "create", "--db", "a.db"]);
    desk.ok(&["create", "--db", "a.db", "--store", "s"]);
    let output = desk.command(&["create", "--db", "a.db"]).env("RUVECTOR_SNAPSHOT_STORE", "s").output().unwrap();
    let ran = Ran::from(output);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("next: ruvector-snapshot verify "), "{ran:?}");
    assert!(desk.ok(&["list", "--store", "s"]).contains("3 snapshots, "));
    let url = format!("file://{}", desk.path("s").display());
    assert!(desk.ok(&["list", "--store", &url]).contains("3 snapshots, "));
    let printed = desk.ok(&["create", "--db", "a.db", "--store", "my store"]);
    assert!(printed.contains("next: ruvector-snapshot --store 'my store' verify "), "{printed}");
    assert!(!desk.path("snapshots").exists());
}

#[test]
fn list_is_newest_first_and_fits_names_of_any_script() {
    let desk = Desk::with_rows(10);
    let long = "long ".repeat(200);
    let names = ["日本語のスナップショット", "a/b/../c", "naïve ünï", "עברית", "👩‍🚀 launch", "..", long.trim_end()];
    for name in names {
        desk.create(name);
    }
    let (status, document) = desk.json(&["list"]);
    assert_eq!(status, 0);
    let listed: Vec<_> =
        document["snapshots"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(listed, names.into_iter().rev().collect::<Vec<_>>());
    let printed = desk.ok(&["list"]);
    assert_eq!(printed.lines().count(), names.len() + 2);
    assert!(printed.starts_with("ID "), "{printed}");
    assert!(printed.contains("日本語のスナップショット"), "{printed}");
    assert!(printed.contains('…'), "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() < 140), "{printed}");
    for name in names {
        desk.ok(&["verify", name]);
    }
}

#[test]
fn text_that_could_steer_a_terminal_is_shown_by_its_number() {
    let desk = Desk::with_rows(10);
    desk.ok(&["create", "--db", "a.db", "--name", "x\u{202e}y", "--label", "k=\u{1b}[2J"]);
    for args in [&["list"][..], &["show", "latest"], &["prune", "--keep", "1"]] {
        let printed = desk.ok(args);
        assert!(printed.contains("x\\u{202e}y"), "{printed}");
        assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed:?}");
    }
}

#[test]
fn an_empty_store_is_friendly() {
    let desk = Desk::empty();
    fs::create_dir(desk.path("snapshots")).unwrap();
    assert!(
        desk.ok(&["list"])
            .starts_with("no snapshots at ./snapshots yet; the first comes with: ruvector-snapshot create")
    );
    assert!(desk.ok(&["verify", "--all"]).contains("no snapshots"));
    assert!(desk.ok(&["prune", "--keep", "1"]).contains("nothing to delete"));
    let (status, document) = desk.json(&["list"]);
    assert_eq!((status, document["snapshots"].as_array().unwrap().len()), (0, 0));
}

#[test]
fn an_empty_database_comes_back_too() {
    let desk = Desk::with_rows(0);
    let id = desk.create("empty");
    assert!(desk.ok(&["create", "--db", "a.db"]).contains("0 of 8 dimensions"));
    desk.ok(&["verify", "--all"]);
    desk.ok(&["restore", &id, "--to", "b.db"]);
    assert_holds(&desk.path("b.db"), 0, 8);
}

#[test]
fn show_prints_all_there_is() {
    let (desk, ids) = Desk::with_snapshots(1);
    let printed = desk.ok(&["show", &ids[0][..10]]);
    for words in [
        "name          one",
        "vectors.bin.gz",
        "checksum.sha256",
        "metadata.json",
        "checksum  ",
        "commit ",
        "type          full",
    ] {
        assert!(printed.contains(words), "{words:?} is not in {printed}");
    }
}

#[test]
fn verify_proves_one_and_all() {
    let (desk, ids) = Desk::with_snapshots(2);
    let printed = desk.ok(&["verify", "one"]);
    assert!(printed.starts_with(&format!("{}  whole: 300 records, ", ids[0])), "{printed}");
    assert!(desk.ok(&["verify", "--all"]).ends_with("2 snapshots whole\n"));
    let (status, document) = desk.json(&["verify", "--all"]);
    assert_eq!(status, 0);
    assert_eq!(document["whole"], true);
    assert_eq!(document["snapshots"][1]["id"], *ids[0]);
    assert_eq!(document["snapshots"][1]["records"], 300);
}

#[test]
fn restore_brings_everything_back() {
    let (desk, ids) = Desk::with_snapshots(2);
    let printed = desk.ok(&["restore", "one", "--to", "b.db"]);
    assert!(printed.contains(&format!("restored {} to b.db", ids[0])), "{printed}");
    assert!(printed.contains("content checksum is the snapshot's"), "{printed}");
    assert_holds(&desk.path("b.db"), 300, 8);
    let (status, document) = desk.json(&["restore", "latest", "--to", "c.db"]);
    assert_eq!((status, document["records"].as_u64()), (0, Some(300)));
    assert_eq!(document["snapshot"]["id"], *ids[1]);
    assert_holds(&desk.path("c.db"), 300, 8);
    assert_eq!(desk.names("."), ["a.db", "b.db", "c.db", "snapshots"]);
}

#[test]
fn restore_replaces_a_file_only_when_told() {
    let (desk, _) = Desk::with_snapshots(1);
    fs::write(desk.path("b.db"), "precious").unwrap();
    desk.run(&["restore", "one", "--to", "b.db"]).fails(1, "--force");
    assert_eq!(fs::read(desk.path("b.db")).unwrap(), b"precious");
    desk.ok(&["restore", "one", "--to", "b.db", "--force"]);
    assert_holds(&desk.path("b.db"), 300, 8);
    assert_eq!(desk.names("."), ["a.db", "b.db", "snapshots"]);
}

#[cfg(unix)]
#[test]
fn restore_replaces_the_file_that_a_link_leads_to() {
    let (desk, _) = Desk::with_snapshots(1);
    fs::create_dir(desk.path("real")).unwrap();
    fs::write(desk.path("real/b.db"), "old").unwrap();
    std::os::unix::fs::symlink("real/b.db", desk.path("link.db")).unwrap();
    desk.run(&["restore", "one", "--to", "link.db"]).fails(1, "--force");
    assert_eq!(fs::read(desk.path("real/b.db")).unwrap(), b"old");
    desk.ok(&["restore", "one", "--to", "link.db", "--force"]);
    assert_eq!(fs::read_link(desk.path("link.db")).unwrap().to_str(), Some("real/b.db"));
    assert_holds(&desk.path("real/b.db"), 300, 8);
    assert_eq!(
        (desk.names("real"), desk.names(".")),
        (vec!["b.db".to_owned()], ["a.db", "link.db", "real", "snapshots"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_database_whose_file_has_no_name_for_a_snapshot() {
    let desk = Desk::empty();
    for db in ["latest.db", " .db", "20260131T080000000Z-0123456789abcdef.db", "a\nb.db"] {
        super::database(&desk.path(db), 10, 8);
        let (status, document) = desk.json(&["create", "--db", db]);
        assert_eq!((status, &document["snapshot"]["name"]), (0, &serde_json::json!("database")), "{db:?}");
    }
    super::database(&desk.path("named.db"), 10, 8);
    assert_eq!(desk.json(&["create", "--db", "named.db"]).1["snapshot"]["name"], "named");
}

#[test]
fn delete_takes_several_and_says_which() {
    let (desk, ids) = Desk::with_snapshots(4);
    let printed = desk.ok(&["delete", "latest", "one", &ids[3]]);
    assert_eq!(printed, format!("deleted {}  four\ndeleted {}  one\n", ids[3], ids[0]));
    assert_eq!(desk.ids(), [&*ids[2], &*ids[1]]);
    let (status, document) = desk.json(&["delete", "three"]);
    assert_eq!((status, &document["deleted"]), (0, &serde_json::json!([ids[2]])));
    assert_eq!(desk.names("snapshots"), [format!("snapshot-{}", ids[1])]);
}

#[test]
fn delete_deletes_nothing_unless_all_are_known() {
    let (desk, ids) = Desk::with_snapshots(2);
    desk.run(&["delete", "one", "nope"]).fails(1, "nothing was deleted");
    assert_eq!(desk.ids(), [&*ids[1], &*ids[0]]);
}

#[test]
fn two_creates_at_once_are_two_snapshots() {
    let desk = Desk::with_rows(2000);
    let start = || {
        let mut command = desk.command(&["create", "--db", "a.db", "--name", "same", "--quiet"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (first, second) = (start(), start());
    for child in [first, second] {
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.status, &*ran.stderr), (Some(0), ""), "{ran:?}");
    }
    assert!(desk.ok(&["verify", "--all"]).ends_with("2 snapshots whole\n"));
    desk.ok(&["show", "same"]);
}

#[test]
fn a_database_that_is_open_is_captured() {
    let desk = Desk::with_rows(300);
    let _open = super::open(&desk.path("a.db"), 8);
    desk.create("while open");
    desk.ok(&["restore", "latest", "--to", "b.db"]);
    assert_holds(&desk.path("b.db"), 300, 8);
}

#[test]
fn a_database_that_another_process_writes_is_captured_as_of_one_commit() {
    const GROUP: usize = 100;
    let desk = Desk::with_rows(3000);
    let db = super::open(&desk.path("a.db"), 8);
    let is_stopped = AtomicBool::new(false);
    let commit = |generation: usize| {
        let group = (0..GROUP).map(|at| VectorEntry {
            id: Some(format!("id/{:06}-group", at * 30)),
            vector: vec![generation as f32; 8],
            metadata: Some([("generation".to_owned(), serde_json::json!(generation))].into()),
        });
        db.insert_batch(group.collect::<Vec<_>>()).unwrap();
    };
    commit(0);
    thread::scope(|scope| {
        scope.spawn(|| (1..).take_while(|_| !is_stopped.load(Ordering::Acquire)).for_each(commit));
        let ran = desk.run(&["create", "--db", "a.db", "--quiet"]);
        is_stopped.store(true, Ordering::Release);
        assert_eq!((ran.status, &*ran.stderr), (Some(0), ""), "{ran:?}");
    });
    desk.ok(&["restore", "latest", "--to", "b.db"]);
    let restored = super::open(&desk.path("b.db"), 8);
    assert_eq!(restored.len().unwrap(), 3000 + GROUP);
    let group = (0..GROUP).map(|at| restored.get(&format!("id/{:06}-group", at * 30)).unwrap().unwrap());
    let generations: Vec<_> =
        group.map(|entry| (entry.vector[0] as u64, entry.metadata.unwrap()["generation"].clone())).collect();
    assert!(
        generations.iter().all(|(vector, metadata)| metadata == vector && *vector == generations[0].0),
        "{generations:?}"
    );
}

#[test]
fn what_is_not_captured_is_told() {
    let desk = Desk::with_rows(10);
    let database = redb::Database::open(desk.path("a.db")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("more\u{1b}[2J")).unwrap().insert("one", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    for printed in [desk.ok(&["create", "--db", "a.db"]), desk.ok(&["show", "a"])] {
        assert!(printed.contains("not captured") && printed.contains("more"), "{printed}");
        assert!(!printed.contains('\u{1b}'), "{printed:?}");
    }
}

#[test]
fn compression_can_be_chosen_and_does_not_change_the_contents() {
    let desk = Desk::with_rows(500);
    desk.ok(&["create", "--db", "a.db", "--name", "none", "--no-compression"]);
    desk.ok(&["create", "--db", "a.db", "--name", "most", "--compression-level", "9", "--scratch-dir", "."]);
    let snapshot = |name| desk.json(&["show", name]).1["snapshot"].clone();
    let (none, most) = (snapshot("none"), snapshot("most"));
    assert_eq!(none["checksum"], most["checksum"]);
    assert!(none["size_bytes"].as_u64() > most["size_bytes"].as_u64());
}

#[test]
fn quiet_prints_no_progress_and_the_same_results() {
    let (desk, _) = Desk::with_snapshots(1);
    assert!(desk.ok(&["-q", "verify", "one"]).contains("whole"));
    assert!(desk.ok(&["restore", "one", "--to", "b.db", "--quiet"]).contains("restored"));
}

#[test]
fn foreign_files_in_the_store_stay_and_disturb_nothing() {
    let (desk, ids) = Desk::with_snapshots(2);
    fs::write(desk.path("snapshots/notes.txt"), "mine").unwrap();
    fs::create_dir_all(desk.path("snapshots/snapshot-of-my-house/rooms")).unwrap();
    fs::write(desk.path("snapshots/snapshot-of-my-house/metadata.json"), "{}").unwrap();
    fs::write(desk.stored(&ids[0], "notes.txt"), "mine too").unwrap();
    assert!(desk.ok(&["list"]).contains("2 snapshots, "));
    assert!(desk.ok(&["verify", "--all"]).ends_with("2 snapshots whole\n"));
    desk.ok(&["prune", "--keep", "1"]);
    desk.ok(&["delete", "latest"]);
    let left = contents(&desk.path("snapshots"));
    assert_eq!(left.len(), 3, "{:?}", left.keys());
    assert!(desk.ok(&["list"]).contains("no snapshots"));
}

#[test]
fn an_unfinished_upload_is_told_of_and_is_no_snapshot() {
    let (desk, ids) = Desk::with_snapshots(2);
    fs::remove_file(desk.stored(&ids[0], "metadata.json")).unwrap();
    let printed = desk.ok(&["list"]);
    assert!(printed.contains(&format!("unfinished: snapshot-{} has no metadata.json", ids[0])), "{printed}");
    assert_eq!(desk.ids(), [&*ids[1]]);
    assert_eq!(desk.json(&["list"]).1["unfinished"], serde_json::json!([ids[0]]));
    let printed = desk.ok(&["verify", "--all"]);
    assert!(printed.contains(&format!("{}  has no metadata.json, so it is no snapshot", ids[0])), "{printed}");
    assert!(printed.ends_with("1 snapshot whole\n"), "{printed}");
    // Also where there is nothing else.
    desk.ok(&["delete", "latest"]);
    let printed = desk.ok(&["verify", "--all"]);
    assert!(printed.contains(&*ids[0]) && printed.contains("no snapshots at"), "{printed}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (desk, _) = Desk::with_snapshots(1);
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
        let ran = Ran::from(desk.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap());
        assert_eq!((ran.status, &*ran.stderr), (Some(0), ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let (desk, _) = Desk::with_snapshots(1);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = Ran::from(desk.command(&["list"]).stdout(full).stderr(Stdio::piped()).output().unwrap());
    ran.fails(1, "cannot write to standard output");
}

#[test]
fn help_explains_every_verb() {
    let desk = Desk::empty();
    let help = desk.ok(&["--help"]);
    for words in ["Exit status", "Examples", "RUVECTOR_SNAPSHOT_STORE", "latest"] {
        assert!(help.contains(words), "{words:?} is not in {help}");
    }
    for verb in ["create", "list", "show", "verify", "restore", "delete", "compact", "pin", "unpin", "prune", "demo"] {
        let help = desk.ok(&[verb, "--help"]);
        assert!(help.contains("Examples:") && help.contains("Exit status:"), "{help}");
    }
    assert!(desk.ok(&["--version"]).starts_with("ruvector-snapshot "));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(desk.ok(&["completions", shell]).contains("ruvector-snapshot"));
    }
    assert!(desk.names(".").is_empty());
}

#[test]
fn the_demo_shows_and_checks_everything() {
    let desk = Desk::empty();
    let printed = desk.ok(&["demo", "show"]);
    assert!((20..=34).contains(&printed.lines().count()), "{printed}");
    for words in [
        "ok    all 12,000 vectors",
        "one moment, nothing mixed",
        "vectors.bin.gz: block",
        "bit by bit",
        "0 added, 600 changed, 0 removed, and nothing of the rest",
        "All 8 checks held",
    ] {
        assert!(printed.contains(words), "{words:?} is not in {printed}");
    }
    assert_eq!(desk.names("show"), ["damaged", "live.db", "restored-2.db", "restored.db", "snapshots"]);
    desk.ok(&["--store", "show/snapshots", "verify", "demo"]);
    assert_eq!(desk.run(&["--store", "show/damaged", "verify", "demo"]).status, Some(3));
    desk.run(&["demo", "show"]).fails(2, "missing or empty");
    fs::create_dir(desk.path("tmp")).unwrap();
    let ran = Ran::from(desk.command(&["demo", "--json"]).env("TMPDIR", desk.path("tmp")).output().unwrap());
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.status, document["checks"].as_array().unwrap().len()), (Some(0), 8));
    if cfg!(unix) {
        assert!(desk.names("tmp").is_empty());
    }
}
