//! Corrupt snapshots and databases: they are found and named, the exit code is 3, and the others can still be used.

use std::fs;
use std::path::Path;

use ruvector_snapshot_format::checksum::{checksum_sha256, sha256_hex};
use ruvector_snapshot_format::codec::member::{Coding, pack};
use ruvector_snapshot_format::layout::{self, DataFile};
use serde_json::json;
use test_fixtures::{StoredSnapshot, edit_metadata, flip_bit_in_the_middle};

use super::sandbox::{RunResult, Sandbox, assert_holds, ids_of};

#[test]
fn verify_names_the_corrupt_block_and_checks_the_other_snapshots() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    flip_bit_in_the_middle(&sandbox.stored(&ids[1], "vectors.bin.gz"));
    let result = sandbox.run(&["verify", "two"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(
        result.stderr.starts_with("hint: take a full snapshot of the database now, and delete nothing yet"),
        "{result:?}"
    );
    assert!(
        result.stdout.contains("  CORRUPT: ") && result.stdout.contains("  vectors.bin.gz: block 0: "),
        "{result:?}"
    );
    let result = sandbox.run(&["verify", "--all"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.ends_with("2 snapshots intact, 1 corrupt\n"), "{result:?}");
    assert!(result.stdout.contains(&format!("{}  intact: 300 records", ids[0])), "{result:?}");
    let (exit_code, document) = sandbox.json(&["verify", "--all"]);
    assert_eq!((exit_code, &document["state"]), (3, &serde_json::json!("corrupt")));
    assert_eq!(document["snapshots"][1]["corruption"][0]["block"], 0);
}

/// Returns the commands in the hints of a run, as the arguments of the program.
fn advised_commands(result: &RunResult) -> Vec<Vec<String>> {
    let hints = result.stderr.lines().filter(|line| line.starts_with("hint: "));
    let quoted = hints.flat_map(|line| line.split('`').skip(1).step_by(2).collect::<Vec<_>>());
    let commands = quoted.filter_map(|command| command.strip_prefix("ruvector-snapshot "));
    commands.map(|command| command.replace("OTHER", "copies").split(' ').map(str::to_owned).collect()).collect()
}

/// The first snapshot is damaged, the second depends on it, and the other store has the first one alone.
#[test]
fn the_commands_that_verify_advises_repair_what_another_store_has() {
    let lose = |path: &Path| fs::remove_file(path).unwrap();
    let cut = |path: &Path| fs::write(path, &fs::read(path).unwrap()[1..]).unwrap();
    type Damage<'a> = &'a dyn Fn(&Path);
    let damages: [(&str, Damage<'_>); 6] = [
        ("vectors.bin.gz", &lose),
        ("index.bin.gz", &cut),
        ("vectors.bin.gz", &flip_bit_in_the_middle),
        ("checksum.sha256", &lose),
        ("checksum.sha256", &cut),
        ("metadata.json", &lose),
    ];
    for (file, damage) in damages {
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        sandbox.ok(&["copy", "--all", "--to", "copies"]);
        let (_, created) = sandbox.json(&["create", "--db", "a.db", "--base", &ids[0], "--name", "two"]);
        let increment = created["snapshot"]["id"].as_str().unwrap().to_owned();
        sandbox.ok(&["pin", &increment]);
        sandbox.ok(&["unpin", &increment]);
        damage(&sandbox.stored(&ids[0], file));
        for args in [&["--store", "snapshots", "verify", "--all"][..], &["--store", "snapshots", "verify", "two"]] {
            let verified = sandbox.run(args);
            assert_eq!(verified.exit_code, Some(3), "{file}: {verified:?}");
            assert!(verified.stderr.contains("delete nothing yet"), "{file}: {verified:?}");
            assert!(!format!("{verified:?}").contains("or delete the snapshot"), "{file}: {verified:?}");
            assert!(!advised_commands(&verified).is_empty(), "{file}: {verified:?}");
        }
        for command in advised_commands(&sandbox.run(&["--store", "snapshots", "verify", "--all"])) {
            let args: Vec<&str> = command.iter().map(String::as_str).collect();
            let done = sandbox.run(&args);
            assert!([Some(0), Some(5)].contains(&done.exit_code), "{file}: {args:?}: {done:?}");
        }
        assert_eq!(sandbox.ids(), [increment.as_str(), &ids[0]], "{file}");
        sandbox.ok(&["verify", "--all"]);
        sandbox.ok(&["restore", &increment, "--to", "b.db"]);
        assert_holds(&sandbox.path("b.db"), 300, 8);
    }
}

/// What another store does not have is not to be deleted, so the first command fails and the others are not run.
#[test]
fn the_first_advised_command_fails_if_no_store_has_what_is_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    fs::create_dir(sandbox.path("copies")).unwrap();
    fs::remove_file(sandbox.stored(&ids[0], "vectors.bin.gz")).unwrap();
    let commands = advised_commands(&sandbox.run(&["verify", "--all"]));
    let args: Vec<&str> = commands[0].iter().map(String::as_str).collect();
    sandbox.run(&args).assert_fails(3, "the file is missing");
}

#[test]
fn a_corrupt_snapshot_is_not_restored() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    flip_bit_in_the_middle(&sandbox.stored(&ids[1], "metadata.bin.gz"));
    fs::copy(sandbox.path("a.db"), sandbox.path("b.db")).unwrap();
    let before = fs::read(sandbox.path("b.db")).unwrap();
    sandbox.run(&["restore", "two", "--to", "b.db", "--force"]).assert_fails(3, "nothing was written to b.db");
    assert!(fs::read(sandbox.path("b.db")).unwrap() == before);
    sandbox.ok(&["restore", "one", "--to", "c.db"]);
    assert_holds(&sandbox.path("c.db"), 300, 8);
    assert_eq!(sandbox.names("."), ["a.db", "b.db", "c.db", "snapshots"]);
}

/// Replaces the description of the database in a snapshot, and adapts every size and checksum.
fn put_database(stored: &StoredSnapshot, change: impl FnOnce(&mut serde_json::Value)) {
    let mut database = serde_json::from_slice(&stored.section("database")).unwrap();
    change(&mut database);
    let metadata = stored.metadata();
    let mut index = stored.file("index.bin.gz")[..metadata.sections[0].offset as usize].to_vec();
    let mut raw_bytes = metadata.file(DataFile::Index).unwrap().raw_bytes;
    let mut sections = Vec::new();
    for section in &metadata.sections {
        let raw = match section.name.as_str() {
            "database" => database.to_string().into_bytes(),
            name => stored.section(name),
        };
        raw_bytes = raw_bytes - section.raw_bytes + raw.len() as u64;
        let offset = index.len();
        let bytes = pack(&raw, Coding::Deflate(6), &mut index).unwrap();
        sections.push(json!({ "name": section.name, "offset": offset, "bytes": bytes, "raw_bytes": raw.len() }));
    }
    let metadata_json = edit_metadata(stored.file(layout::METADATA_JSON), |json| {
        json["sections"] = json!(sections);
        json["files"]["index.bin.gz"] =
            json!({ "bytes": index.len(), "sha256": sha256_hex(&index), "raw_bytes": raw_bytes });
    });
    let sums = DataFile::ALL.map(|file| match file {
        DataFile::Index => sha256_hex(&index),
        file => sha256_hex(stored.file(file.name())),
    });
    stored.put("index.bin.gz", &index);
    stored.put(layout::METADATA_JSON, &metadata_json);
    let checksums = checksum_sha256(&metadata_json, sums.each_ref().map(String::as_str));
    stored.put(layout::CHECKSUM_SHA256, checksums.as_bytes());
}

#[test]
fn verify_and_restore_say_the_same_of_options_that_no_database_can_have() {
    type Edit = fn(&str) -> String;
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let row = "__ruvector_db_config__";
    let other_dimensions: Edit = |options| options.replace("\"dimensions\":8", "\"dimensions\":9");
    let unknown_metric: Edit = |options| options.replace("Cosine", "Hamming");
    let cases: [(&str, Edit, i32, &str); 4] = [
        ("the same", |options| options.to_owned(), 0, ""),
        ("not JSON", |_| "metric=cosine".to_owned(), 3, "not JSON"),
        ("other dimensions", other_dimensions, 3, "9 dimensions instead of 8"),
        ("a metric of a newer Ruvector", unknown_metric, 1, "a newer version of Ruvector"),
    ];
    let stored = StoredSnapshot::read(&sandbox.path("snapshots"), &ids[1]);
    for (what, options, exit_code, text) in cases {
        put_database(&stored, |database| {
            let old = database["rows"][row].as_str().unwrap().to_owned();
            let new = options(&old);
            assert_eq!(new == old, exit_code == 0, "{what}: {old}");
            database["rows"][row] = new.into();
        });
        let verified = sandbox.run(&["verify", "two"]);
        assert_eq!(verified.exit_code, Some(exit_code), "{what}: {verified:?}");
        assert!(format!("{}{}", verified.stdout, verified.stderr).contains(text), "{what}: {verified:?}");
        let all = sandbox.run(&["verify", "--all"]);
        assert_eq!(all.exit_code, Some(exit_code), "{what}: {all:?}");
        assert!(all.stdout.contains(&format!("{}  intact", ids[0])), "{what}: {all:?}");
        let restored = sandbox.run(&["restore", "two", "--to", "b.db"]);
        assert_eq!(restored.exit_code, Some(exit_code), "{what}: {restored:?}");
        assert!(restored.stderr.contains(text), "{what}: {restored:?}");
        assert_eq!(sandbox.path("b.db").exists(), exit_code == 0, "{what}");
        let _not_restored = fs::remove_file(sandbox.path("b.db"));
    }
}

#[test]
fn a_snapshot_that_has_lost_only_its_checksum_file_is_damaged_and_can_be_restored() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let (_, created) = sandbox.json(&["create", "--db", "a.db", "--base", &ids[0]]);
    let increment = created["snapshot"]["id"].as_str().unwrap().to_owned();
    fs::remove_file(sandbox.stored(&ids[0], layout::CHECKSUM_SHA256)).unwrap();
    let result = sandbox.run(&["list"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(3), ""), "{result:?}");
    let line = format!("{}  DAMAGED  checksum.sha256 is missing or has another size; it can be restored, ", ids[0]);
    assert!(result.stdout.contains(&line) && !result.stdout.contains("cannot be"), "{result:?}");
    assert!(result.stdout.contains("; the same holds for its dependent\n"), "{result:?}");
    assert_eq!(result.stdout.lines().filter(|line| line.contains("  DAMAGED  ")).count(), 3, "{result:?}");
    // The increment alone shows it too.
    let result = sandbox.run(&["list", "--type", "incremental"]);
    assert!(result.exit_code == Some(3) && result.stdout.contains(&line), "{result:?}");
    let (exit_code, stats) = sandbox.json(&["stats"]);
    assert_eq!((exit_code, &stats["totals"]["snapshots"]), (5, &json!(0)), "{stats}");
    assert_eq!(stats["corrupt"]["snapshots"], 2, "{stats}");
    for base in [&ids[0], &increment] {
        for dry_run in [&["--dry-run"][..], &[]] {
            let refused = sandbox.run(&[&["create", "--db", "a.db", "--base", base][..], dry_run].concat());
            refused.assert_fails(3, "its checksum.sha256 is missing or has another size");
        }
    }
    for dry_run in [&["--dry-run"][..], &[]] {
        let refused = sandbox.run(&[&["copy", "--all", "--to", "other"][..], dry_run].concat());
        assert_eq!(refused.exit_code, Some(3), "{refused:?}");
        assert!(
            format!("{refused:?}").contains("checksum.sha256: the file is missing, and a copy needs it"),
            "{refused:?}"
        );
    }
    sandbox.ok(&["copy", &increment, "--compact", "--to", "other"]);
    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!((exit_code, ids_of(&document).len(), &document["unusable"]), (3, 2, &json!([])));
    assert!(document["damaged"][&ids[0]].as_str().unwrap().contains("checksum.sha256: the file is missing"));
    for (id, words) in [(&ids[0], "is damaged"), (&increment, "depends on a damaged one")] {
        let shown = sandbox.run(&["show", id]);
        assert_eq!(shown.exit_code, Some(3), "{shown:?}");
        let shown = shown.stdout;
        assert!(shown.contains(&format!("snapshot {id} can be restored, but {words}: ")), "{shown}");
        let status = sandbox.run(&["status"]);
        assert_eq!(status.exit_code, Some(4), "{status:?}");
        assert!(!format!("{status:?}").contains("cannot be restored"), "{status:?}");
        sandbox.run(&["restore", id, "--to", "b.db"]).assert_warns("checksum.sha256 is missing");
        fs::remove_file(sandbox.path("b.db")).unwrap();
    }
}

/// Nothing is beside it that only a snapshot has, so that only what depends on it shows that it is no upload.
#[test]
fn a_pin_of_a_snapshot_that_has_lost_its_metadata_json_ends_as_its_help_says() {
    for has_dependent in [true, false] {
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        if has_dependent {
            sandbox.ok(&["create", "--db", "a.db", "--base", "one"]);
        }
        fs::remove_file(sandbox.stored(&ids[0], "metadata.json")).unwrap();
        for args in [&["pin", &ids[0]][..], &["pin", &ids[0], "--dry-run"], &["unpin", &ids[0]]] {
            let result = sandbox.run(args);
            match has_dependent {
                true => result.assert_fails(3, "metadata.json: the file is missing, so the snapshot cannot be read"),
                false => result.assert_fails(4, "it is an upload that has not ended, or the file was lost"),
            }
            assert!(!sandbox.stored(&ids[0], "pinned.json").exists(), "{args:?}");
        }
    }
    for verb in ["pin", "unpin"] {
        let help = Sandbox::empty().ok(&[verb, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            help.contains("3 metadata.json of a snapshot is corrupt or lost; 4 there is no such snapshot"),
            "{help}"
        );
    }
}

#[test]
fn show_says_that_a_pinned_snapshot_protects_those_that_it_depends_on() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let (_, created) = sandbox.json(&["create", "--db", "a.db", "--base", "one", "--name", "two"]);
    let increment = created["snapshot"]["id"].as_str().unwrap();
    assert!(sandbox.ok(&["show", "one"]).contains("  pinned        no\n"));
    sandbox.ok(&["pin", "two"]);
    let shown = sandbox.ok(&["show", "one"]);
    let line = format!("  pinned        no, but protected from deletion: {increment} depends on it and is pinned\n");
    assert!(shown.contains(&line), "{shown}");
    let (_, document) = sandbox.json(&["show", &ids[0]]);
    assert_eq!(document["snapshots"][0]["pinned_dependents"], json!([increment]), "{document}");
    assert!(sandbox.ok(&["show", "two"]).contains("  pinned        yes, protected from deletion\n"));
}

#[test]
fn a_truncated_or_empty_metadata_json_is_listed_as_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    let cut = fs::read(sandbox.stored(&ids[0], "metadata.json")).unwrap();
    fs::write(sandbox.stored(&ids[0], "metadata.json"), &cut[..cut.len() / 2]).unwrap();
    fs::write(sandbox.stored(&ids[1], "metadata.json"), "").unwrap();
    let result = sandbox.run(&["list"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(3), ""), "{result:?}");
    assert!(
        result
            .stdout
            .contains(&format!("{}  CORRUPT  metadata.json: it is not valid JSON, or not of this format\n", ids[0])),
        "{result:?}"
    );
    assert!(result.stdout.contains(&format!("{}  CORRUPT  metadata.json: it is empty", ids[1])), "{result:?}");
    assert!(
        result.stdout.contains("1 snapshot, ") && result.stdout.contains("; 2 more cannot be used ("),
        "{result:?}"
    );
    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!((exit_code, document["unusable"].as_array().unwrap().len()), (3, 2));
    sandbox.run(&["show", &ids[0]]).assert_fails(3, "metadata.json");
    sandbox.run(&["restore", &ids[0], "--to", "b.db"]).assert_fails(3, "metadata.json");
    let result = sandbox.run(&["verify", &ids[0]]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(sandbox.run(&["verify", "--all"]).stdout.contains("1 snapshot intact, 2 corrupt\n"));
    // Prune does not count them and does not delete them. Delete removes them by their ids.
    let result = sandbox.run(&["prune", "--keep", "1"]);
    result.assert_warns("ignored 2 unusable snapshots");
    assert!(result.stdout.contains("nothing to delete"), "{result:?}");
    sandbox.ok(&["delete", &ids[0], &ids[1]]);
    sandbox.ok(&["list"]);
}

#[test]
fn list_and_show_report_a_missing_file() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::remove_file(sandbox.stored(&ids[0], "vectors.bin.gz")).unwrap();
    assert_eq!(sandbox.run(&["list"]).exit_code, Some(3));
    let result = sandbox.run(&["show", &ids[0]]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains("  CORRUPT  ") && result.stdout.contains("the file is missing"), "{result:?}");
    let result = sandbox.run(&["verify", &ids[0]]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains("vectors.bin.gz: the file is missing"), "{result:?}");
}

#[test]
fn a_snapshot_of_a_newer_version_is_unreadable_but_not_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::write(sandbox.stored(&ids[0], "metadata.json"), r#"{"format":"ruvector-snapshot","format_version":3}"#)
        .unwrap();
    let result = sandbox.run(&["list"]);
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    assert!(result.stdout.contains("UNREADABLE") && result.stdout.contains("newer"), "{result:?}");
    sandbox.run(&["verify", &ids[0]]).assert_fails(1, "newer");
    let result = sandbox.run(&["verify", "--all"]);
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    assert!(result.stdout.ends_with("1 snapshot intact, 1 not verified\n"), "{result:?}");
}

#[test]
fn a_corrupt_database_is_not_captured() {
    let sandbox = Sandbox::with_rows(3000);
    let before = sandbox.create("before");
    let mut bytes = fs::read(sandbox.path("a.db")).unwrap();
    bytes.iter_mut().skip(8192).step_by(1024).for_each(|byte| *byte ^= 0xff);
    fs::write(sandbox.path("a.db"), bytes).unwrap();
    sandbox.run(&["create", "--db", "a.db", "--name", "after"]).assert_fails(3, "a.db is corrupt, ");
    assert_eq!(sandbox.ids(), [&*before]);
    assert_eq!(sandbox.names("snapshots").len(), 1);
}

#[test]
fn a_snapshot_that_was_verified_pinned_or_annotated_and_lost_its_metadata_json_is_corrupt_and_no_upload() {
    for remark in [&["verify"][..], &["pin"], &["annotate", "--note", "kept"]] {
        let (sandbox, ids) = Sandbox::with_snapshots(2);
        sandbox.ok(&[&remark[..1], &["two"], &remark[1..]].concat());
        fs::remove_file(sandbox.stored(&ids[1], "metadata.json")).unwrap();
        for args in
            [&["list"][..], &["verify", "--all", "-q"], &["verify", "--all", "--quick", "-q"], &["verify", &ids[1]]]
        {
            let result = sandbox.run(args);
            assert_eq!(result.exit_code, Some(3), "{remark:?}: {result:?}");
            assert!(format!("{}{}", result.stdout, result.stderr).contains("metadata.json"), "{remark:?}: {result:?}");
        }
        // The newest is not simply the one before.
        sandbox.run(&["restore", "latest", "--to", "b.db"]).assert_fails(3, "metadata.json: the file is missing");
        sandbox.run(&["prune", "--keep-last", "1", "--grace", "1s", "--yes"]);
        assert!(sandbox.names(&format!("snapshots/snapshot-{}", ids[1])).contains(&"vectors.bin.gz".to_owned()));
    }
    // Nothing tells it from an upload that was interrupted.
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::remove_file(sandbox.stored(&ids[1], "metadata.json")).unwrap();
    assert!(sandbox.ok(&["list"]).contains("a create or a copy is running or was interrupted, or the file was lost"));
}

#[test]
fn a_missing_checksum_file_is_a_warning_of_what_does_not_need_it() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    fs::remove_file(sandbox.stored(&ids[0], "checksum.sha256")).unwrap();
    for args in
        [&["restore", "one", "--to", "b.db"][..], &["drill", "one"], &["dump", "one"], &["export", "one", "--to", "e"]]
    {
        sandbox.run(args).assert_warns("checksum.sha256 is missing: this command does not need it");
    }
    assert_eq!(sandbox.run(&["list"]).exit_code, Some(3));
}

/// Returns what the lines of warnings say.
fn warnings_of(result: &RunResult) -> Vec<String> {
    result.stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect()
}

#[test]
fn what_reads_a_snapshot_with_a_file_of_another_size_warns_as_its_dry_run_does() {
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(bytes.len() - 3);
    let lengthen: fn(&mut Vec<u8>) = |bytes| bytes.extend(b"xx");
    for (file, damage) in [("index.bin.gz", cut), ("index.bin.gz", lengthen), ("checksum.sha256", cut)] {
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        let (_, created) = sandbox.json(&["create", "--db", "a.db", "--base", &ids[0], "--name", "two"]);
        let increment = created["snapshot"]["id"].as_str().unwrap().to_owned();
        let path = sandbox.stored(&ids[0], file);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(path, bytes).unwrap();
        let key = format!("snapshot-{}/{file} has ", ids[0]);
        for id in [&ids[0], &increment] {
            for args in [&["restore", id, "--to", "b.db"][..], &["export", id, "--to", "e"]] {
                let planned = sandbox.run(&[args, &["--dry-run"]].concat());
                let done = sandbox.run(args);
                done.assert_warns(&key);
                assert_eq!(
                    (planned.exit_code, warnings_of(&planned)),
                    (done.exit_code, warnings_of(&done)),
                    "{args:?}"
                );
            }
            for args in [&["drill", id][..], &["dump", id]] {
                sandbox.run(args).assert_warns(&key);
            }
            // What can be restored is not said to be lost.
            for args in [&["list"][..], &["status"], &["show", id]] {
                let result = sandbox.run(args);
                assert!([Some(3), Some(4)].contains(&result.exit_code), "{args:?}: {result:?}");
                assert!(!format!("{result:?}").contains("cannot be restored"), "{args:?}: {result:?}");
            }
            fs::remove_file(sandbox.path("b.db")).unwrap();
            fs::remove_dir_all(sandbox.path("e")).unwrap();
        }
        let listed = sandbox.run(&["list"]).stdout;
        let is_unusable = file != "checksum.sha256";
        assert_eq!(listed.contains("which `restore --dry-run` shows; the newest is "), is_unusable, "{listed}");
    }
}

#[test]
fn what_reads_a_part_names_the_block_that_a_verification_names() {
    let sandbox = Sandbox::with_rows(40_000);
    let id = sandbox.create("one");
    let path = sandbox.stored(&id, "vectors.bin.gz");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
    let named = |result: &RunResult| {
        let text = format!("{}{}", result.stdout, result.stderr);
        text.split_once(": block ").and_then(|(_, rest)| rest.split(':').next().map(str::to_owned)).unwrap()
    };
    let verified = sandbox.run(&["verify", "one", "--no-record"]);
    assert_ne!(named(&verified), "0", "{verified:?}");
    for args in [&["dump", "one", "--id", "id-039999"][..], &["search", "one", "--like", "id-039999"]] {
        assert_eq!(named(&sandbox.run(args)), named(&verified), "{args:?}");
    }
}

#[test]
fn a_merge_into_a_corrupt_database_is_refused_also_if_it_touches_other_pages() {
    let sandbox = Sandbox::with_rows(2000);
    sandbox.create("one");
    let intact = fs::read(sandbox.path("a.db")).unwrap();
    // Somewhere in the pages of the vectors, which a lookup of one record does not read.
    let vector: Vec<u8> = {
        let db = super::sandbox::open_database(&sandbox.path("a.db"), super::sandbox::DIMENSIONS);
        let vector = db.get("id-001500").unwrap().unwrap().vector;
        vector.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    let mut damaged = intact.clone();
    let at: Vec<usize> = (0..intact.len() - vector.len()).filter(|at| intact[*at..].starts_with(&vector)).collect();
    assert!(!at.is_empty());
    at.into_iter().for_each(|at| damaged[at] ^= 1);
    fs::write(sandbox.path("a.db"), &damaged).unwrap();
    let merge = ["restore", "one", "--to", "a.db", "--merge", "--id", "id-000001"];
    sandbox.run(&merge).assert_fails(1, "corrupt");
    assert!(fs::read(sandbox.path("a.db")).unwrap() == damaged);
}

#[test]
fn a_pinned_snapshot_that_is_lost_can_be_unpinned_and_deleted() {
    for content in [None, Some("{}")] {
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        sandbox.ok(&["pin", "one"]);
        match content {
            None => fs::remove_file(sandbox.stored(&ids[0], "metadata.json")).unwrap(),
            Some(content) => fs::write(sandbox.stored(&ids[0], "metadata.json"), content).unwrap(),
        }
        assert_eq!(sandbox.run(&["list"]).exit_code, Some(3));
        sandbox.run(&["delete", &ids[0]]).assert_fails(1, "unpin it first");
        let unpinned = sandbox.run(&["unpin", &ids[0]]);
        assert!(matches!(unpinned.exit_code, Some(0 | 5)), "{unpinned:?}");
        match content {
            // Nothing shows any more that it existed, so it is collected as an upload.
            None => assert!(sandbox.run(&["list"]).stdout.contains("upload: ")),
            Some(_) => drop(sandbox.ok(&["delete", &ids[0]])),
        }
        assert_eq!(sandbox.run(&["list"]).exit_code, Some(4));
    }
}

/// The length of a file is a fact: nothing else would be found by trying again.
#[test]
fn a_truncated_file_is_corrupt_and_nothing_is_tried_again() {
    for (file, bytes) in [("index.bin.gz", 100), ("vectors.bin.gz", 100), ("metadata.bin.gz", 10)] {
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        let path = sandbox.stored(&ids[0], file);
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
        for args in
            [&["dump", "one"][..], &["search", "one", "--like", "id-000001"], &["restore", "one", "--to", "b.db"]]
        {
            let result = sandbox.run(args);
            assert_eq!(result.exit_code, Some(3), "{result:?}");
            assert!(result.stderr.contains(&format!("the object has only {bytes} bytes")), "{result:?}");
            for wrong in ["try again", "did not respond", "caused by"] {
                assert!(!result.stderr.contains(wrong), "{result:?}");
            }
        }
    }
}
