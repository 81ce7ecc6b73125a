//! `--dry-run` of `pin`, `unpin`, `verify` and `store check`.

use std::fs;

use serde_json::{Value, json};

use super::Place;
use crate::sandbox::Sandbox;

#[test]
fn pin_and_unpin_say_which_snapshots_would_change() {
    for place in Place::with_chain() {
        place.ok(&["pin", "inc"]);
        let (printed, document) = place.would(&["pin", "full", "inc"]);
        assert!(printed.contains("would pin ") && printed.contains("is already pinned: "), "{printed}");
        assert!(printed.ends_with("nothing was written (--dry-run)\n"), "{printed}");
        let changed = |document: &Value| {
            let snapshots = document["snapshots"].as_array().unwrap().iter();
            snapshots
                .map(|one| (one["name"].clone(), one["changed"].clone(), one["pinned"].clone()))
                .collect::<Vec<_>>()
        };
        let planned = changed(&document);
        assert_eq!(planned, [(json!("full"), json!(true), json!(true)), (json!("inc"), json!(false), json!(true))]);
        assert_eq!(changed(&place.json(&["pin", "full", "inc"]).1), planned);
        place.ok(&["unpin", "full"]);
        let (printed, document) = place.would(&["unpin", "full", "inc"]);
        assert!(printed.contains("would unpin ") && printed.contains("is not pinned: "), "{printed}");
        assert_eq!(changed(&place.json(&["unpin", "full", "inc"]).1), changed(&document));
        let (result, _) = place.dry(&["pin", "full", "nope"]);
        result.assert_fails(4, "nope");
    }
}

#[test]
fn verify_says_which_snapshots_it_would_read_and_how_much() {
    for place in Place::with_chain() {
        for depth in [&["--quick"][..], &["--subset", "1/2"], &["--subset", "2/2"], &[]] {
            for which in [&["inc"][..], &["full"], &["full", "inc"], &["--all"]] {
                let args = [&["verify"], which, depth].concat();
                let (printed, planned) = place.would(&[&args[..], &["--no-record"]].concat());
                assert!(printed.contains("would not record") && planned["record"] == false, "{printed}");
                let (exit_code, done) = place.json(&[&args[..], &["--no-record"]].concat());
                assert_eq!((exit_code, &done["depth"]), (0, &planned["depth"]));
                let read = |document: &Value| {
                    let snapshots = document["snapshots"].as_array().unwrap();
                    let of = |one: &Value| {
                        [&one["id"], &one["store_read_bytes"], &one["verified_with"], &one["chain"]].map(Clone::clone)
                    };
                    snapshots.iter().map(of).collect::<Vec<_>>()
                };
                assert_eq!(read(&planned), read(&done), "{args:?}");
            }
        }
        // A sample starts at a random place.
        let sample = ["verify", "inc", "--subset", "10%"];
        let at_most = place.would(&sample).1["store_read_bytes"].as_u64().unwrap();
        let (_, done) = place.json(&sample);
        assert!(done["snapshots"][0]["store_read_bytes"].as_u64().unwrap() <= at_most, "{at_most}: {done}");
    }
}

#[test]
fn verify_says_what_it_would_skip_and_reads_no_data() {
    for place in Place::with_chain() {
        assert_eq!(place.would(&["verify", "full", "--max-age", "7d"]).1["snapshots"][0]["action"], "verify");
        place.ok(&["verify", "full"]);
        let skipped = |args: &[&str]| {
            let args = &[args, &["--max-age", "7d"]].concat();
            let (printed, planned) = place.would(args);
            let actions = planned["snapshots"].as_array().unwrap().iter().map(|one| &one["action"]);
            let skipped = actions.filter(|action| *action == "skip").count();
            assert_eq!(printed.matches("would skip: found intact ").count(), skipped, "{printed}");
            assert!(printed.contains("would record "), "{printed}");
            let (_, done) = place.json(&[&args[..], &["--no-record"]].concat());
            assert_eq!(done["skipped"], json!(skipped), "{planned} {done}");
            skipped
        };
        assert_eq!(
            (skipped(&["verify", "full"]), skipped(&["verify", "inc"]), skipped(&["verify", "--all"])),
            (1, 0, 0)
        );
        place.ok(&["verify", "--all"]);
        assert_eq!((skipped(&["verify", "full", "inc"]), skipped(&["verify", "--all"])), (2, 2));
        if let Place::Bucket(bucket) = &place {
            bucket.server.wire().reset_log();
            place.ok(&["verify", "--all", "--dry-run"]);
            let requests = bucket.server.wire().requests();
            assert!(!requests.iter().any(|request| request.key().ends_with(".gz") && request.is_get()), "{requests:?}");
        }
    }
}

#[test]
fn verify_finds_without_reading_data_what_is_missing() {
    let [Place::Disk(sandbox), _] = Place::with_chain() else { panic!() };
    let full = sandbox.ids()[1].clone();
    fs::remove_file(sandbox.stored(&full, "vectors.bin.gz")).unwrap();
    let place = Place::Disk(sandbox);
    for which in [&["full"][..], &["inc"], &["inc", "full"], &["--all"]] {
        let args = [&["verify"], which].concat();
        let (result, document) = place.dry(&args);
        assert_eq!(result.exit_code, Some(3), "{result:?}");
        assert_eq!(document["snapshots"][0]["error"]["kind"], "corrupt", "{document}");
        assert!(result.stdout.contains("  CORRUPT: ") && result.stdout.contains("vectors.bin.gz"), "{result:?}");
        assert_eq!(place.run(&args).exit_code, Some(3));
    }
    let (result, _) = place.dry(&["verify", "nope"]);
    result.assert_fails(4, "nope");
}

#[test]
fn verify_of_an_empty_store_would_find_nothing() {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    let place = Place::Disk(sandbox);
    place.dry(&["verify", "--all"]).0.assert_fails(4, "there are no snapshots");
}

#[test]
fn a_check_of_a_store_says_what_it_would_write() {
    for place in Place::with_chain() {
        let (printed, planned) = place.would(&["store", "check"]);
        assert!(printed.contains("under         store-check-"), "{printed}");
        let is_disk = matches!(place, Place::Disk(_));
        assert_eq!((&planned["write_checked"], printed.contains("was not tried")), (&json!(is_disk), !is_disk));
        if let Place::Bucket(bucket) = &place {
            bucket.server.wire().reset_log();
            place.ok(&["store", "check"]);
            let requests = bucket.server.wire().requests();
            let prefix = format!("/{}", planned["key_prefix"].as_str().unwrap());
            let mut written: Vec<_> =
                requests.iter().filter(|request| request.method == "PUT").map(|put| put.key()).collect();
            assert!(written.iter().all(|key| key.contains(&prefix)), "{written:?}");
            written.sort();
            written.dedup();
            // The parts of the aborted upload are no object.
            assert_eq!(json!(written.len()), planned["objects"], "{written:?}");
        }
    }
    let place = Place::Disk(Sandbox::empty());
    place.dry(&["store", "check"]).0.assert_fails(1, "the directory does not exist");
}

#[test]
fn a_drill_says_what_it_needs_and_what_is_in_its_way() {
    for place in Place::with_chain() {
        fs::create_dir(place.sandbox().path("scratch")).unwrap();
        let args = ["drill", "inc", "--scratch-dir", "scratch", "--no-record"];
        let (printed, planned) = place.would(&args);
        for text in [
            "would drill ",
            "  chain         2 snapshots\n",
            "  free          ",
            "  memory        ",
            "ok           free space",
        ] {
            assert!(printed.contains(text), "{text:?} is not in {printed}");
        }
        assert_eq!(
            (&planned["feasible"], &planned["record"], &planned["probes"]),
            (&json!(true), &json!(false), &json!(100))
        );
        let (exit_code, done) = place.json(&args);
        assert_eq!((exit_code, &done["store_read_bytes"]), (0, &planned["fetch"]["bytes"]), "{planned} {done}");
        let file_bytes = done["file_bytes"].as_u64().unwrap();
        assert!(planned["file"]["least_bytes"].as_u64().unwrap() <= file_bytes, "{planned} {done}");
        assert!(file_bytes <= planned["file"]["likely_bytes"].as_u64().unwrap(), "{planned} {done}");

        let (result, document) = place.dry(&["drill", "inc", "--scratch-dir", "missing"]);
        assert_eq!((result.exit_code, &document["feasible"]), (Some(1), &json!(false)), "{result:?}");
        assert!(result.stdout.starts_with("could not drill ") && result.stderr.contains("missing"), "{result:?}");
        assert_eq!(place.run(&["drill", "inc", "--scratch-dir", "missing"]).exit_code, Some(1));
        place.dry(&["drill", "nope"]).0.assert_fails(4, "nope");
    }
    let [Place::Disk(sandbox), _] = Place::with_chain() else { panic!() };
    let full = sandbox.ids()[1].clone();
    fs::remove_file(sandbox.stored(&full, "vectors.bin.gz")).unwrap();
    let place = Place::Disk(sandbox);
    assert_eq!((place.dry(&["drill", "inc"]).0.exit_code, place.run(&["drill", "inc"]).exit_code), (Some(3), Some(3)));
}
