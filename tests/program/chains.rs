//! Increments, the chains that they form, and what can be deleted.

use std::fs;

use ruvector_core::VectorEntry;
use serde_json::{Value, json};
use test_fixtures::{flip_bit_in_the_middle, make_old};
use test_servers::{Fault, S3Server};

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, assert_holds, create_database, files_below, open_database};

/// Changes the vector of one record and the metadata of another, adds a record and removes one.
fn change(sandbox: &Sandbox, round: usize) {
    let db = open_database(&sandbox.path("a.db"), DIMENSIONS);
    let id = |row: usize| format!("id-{row:06}");
    let entry = |id: String, value: usize, metadata| VectorEntry {
        id: Some(id),
        vector: vec![value as f32 + 0.5; DIMENSIONS],
        metadata,
    };
    db.insert(entry(id(round * 10 + 1), round, None)).unwrap();
    let mut described = db.get(&id(round * 10 + 2)).unwrap().unwrap();
    described.id = Some(id(round * 10 + 2));
    described.metadata = Some([("round".to_owned(), json!(round))].into());
    db.insert(described).unwrap();
    db.insert(entry(format!("new/{round}"), round, None)).unwrap();
    db.delete(&id(round * 10 + 3)).unwrap();
}

/// Creates a database of 300 rows, a full snapshot `full`, and a chain of this many increments that depends on it.
/// Returns the ids, oldest first.
pub(super) fn chain(increments: usize) -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with_rows(300);
    let mut ids = vec![sandbox.create("full")];
    for round in 0..increments {
        change(&sandbox, round);
        ids.push(increment(&sandbox, "latest", "step"));
    }
    (sandbox, ids)
}

pub(super) fn increment(sandbox: &Sandbox, base: &str, name: &str) -> String {
    let (exit_code, document) = sandbox.json(&["create", "--db", "a.db", "--name", name, "--base", base]);
    assert_eq!(exit_code, 0, "{document}");
    document["snapshot"]["id"].as_str().unwrap().to_owned()
}

/// Asserts that a database holds what `a.db` holds: snapshots of both have the same content checksum.
#[track_caller]
pub(super) fn assert_same_contents(sandbox: &Sandbox, restored: &str) {
    let checksum = |db: &str, store: &str| {
        let (_, document) = sandbox.json(&["create", "--db", db, "--store", store]);
        document["snapshot"]["checksum"].clone()
    };
    assert_eq!(checksum(restored, "compared"), checksum("a.db", "compared"));
}

pub(super) fn show(sandbox: &Sandbox, id: &str) -> Value {
    sandbox.json(&["show", id]).1["snapshots"][0].clone()
}

#[test]
fn create_prints_the_changes_of_an_increment() {
    let (sandbox, ids) = chain(1);
    change(&sandbox, 1);
    let printed = sandbox.ok(&["create", "--db", "a.db", "--base", &ids[1][..22]]);
    let new = sandbox.ids().remove(0);
    for text in [
        &*format!("created {new}"),
        &*format!("base          {}; the chain has 3 snapshots now\n", ids[1]),
        "changes       1 added, 2 changed, 1 removed",
        " % of the full snapshot (",
        "300 of 8 dimensions, Cosine",
    ] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
    let (exit_code, document) = sandbox.json(&["create", "--db", "a.db", "--base", "full"]);
    assert_eq!(exit_code, 0);
    let id = &document["id"];
    assert_eq!((id, &document["snapshot"]["base_id"]), (&document["snapshot"]["id"], &json!(ids[0])));
    assert_eq!(document["chain"], json!([ids[0], id]));
    assert_eq!(document["snapshot"]["changes"], json!({ "added": 2, "changed": 4, "removed": 2 }));
    let sizes = [show(&sandbox, "full")["stored_bytes"].as_u64(), document["snapshot"]["stored_bytes"].as_u64()];
    assert_eq!(document["chain_stored_bytes"].as_u64(), Some(sizes.into_iter().flatten().sum()));
}

#[test]
fn every_snapshot_of_a_chain_can_be_restored() {
    let sandbox = Sandbox::with_rows(300);
    let mut base = sandbox.create("full");
    for round in 0..3 {
        change(&sandbox, round);
        base = increment(&sandbox, &base, "step");
        sandbox.ok(&["restore", &base, "--to", "b.db", "--force"]);
        assert_same_contents(&sandbox, "b.db");
    }
    sandbox.ok(&["restore", "full", "--to", "first.db"]);
    assert_holds(&sandbox.path("first.db"), 300, DIMENSIONS);
}

#[test]
fn list_prints_the_base_of_each_increment() {
    let (sandbox, ids) = chain(2);
    // A second chain, a second branch of the first one, and a full snapshot without increments.
    let other = sandbox.create("other");
    let on_other = increment(&sandbox, "other", "on other");
    let branch = increment(&sandbox, "full", "branch");
    sandbox.create("alone");
    sandbox.ok(&["pin", "other", &ids[1]]);
    let printed = sandbox.ok(&["list"]);
    let line = |id: &str| printed.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    let ends = |id: &str, position: &str, base: &str, end: &str| {
        let line = line(id);
        let (_, rest) =
            line.split_once(&format!("  {position} base ")).unwrap_or_else(|| panic!("no {position}: {line}"));
        let start = rest.strip_suffix(end).unwrap();
        assert!(start.len() >= 15 && base.starts_with(start), "{line}");
        assert_eq!(sandbox.run(&["show", start]).exit_code, Some(0), "{start} means another one as well");
    };
    ends(&ids[1], "+1", &ids[0], ", pinned");
    ends(&ids[2], "+2", &ids[1], "");
    ends(&on_other, "+1", &other, "");
    ends(&branch, "+1", &ids[0], "");
    assert!(line(&ids[0]).ends_with("  full") && line(&other).ends_with("  full, pinned"), "{printed}");
    assert!(printed.contains("7 snapshots, ") && printed.ends_with(": 3 full, 4 incremental\n"), "{printed}");

    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!((exit_code, &document["deleting"]), (0, &json!([])));
    let of = |id: &str| document["snapshots"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone();
    let newest = of(&ids[2]);
    assert_eq!(newest["base_id"], *ids[1]);
    assert_eq!(newest["chain"], json!(ids[..3]));
    assert_eq!((&newest["chain_state"], &newest["pinned"]), (&json!("complete"), &json!(false)));
    assert_eq!(newest["changes"], json!({ "added": 1, "changed": 2, "removed": 1 }));
    let full = of(&ids[0]);
    assert_eq!((&full["base_id"], &full["chain"], &full["changes"]), (&Value::Null, &json!([ids[0]]), &Value::Null));
    assert_eq!(of(&other)["pinned"], true);
}

#[test]
fn a_long_chain_is_listed_and_limited_by_max_chain() {
    let sandbox = Sandbox::with_rows(20);
    sandbox.create("full");
    for _ in 0..30 {
        increment(&sandbox, "latest", "step");
    }
    let printed = sandbox.ok(&["list"]);
    for (line, position) in printed.lines().skip(1).zip((1..=30).rev()) {
        assert!(line.contains(&format!("  +{position} base ")) && line.chars().count() < 140, "{line}");
    }
    assert!(printed.ends_with(": 1 full, 30 incremental\n"), "{printed}");
    increment(&sandbox, "latest", "the 32nd");
    let result = sandbox.run(&["create", "--db", "a.db", "--base", "latest"]);
    result.assert_fails(1, "the chain would have 33 snapshots, more than the maximum of 32");
    assert!(result.stderr.contains("--max-chain"), "{result:?}");
    sandbox.ok(&["create", "--db", "a.db", "--base", "latest", "--max-chain", "33"]);
    assert!(sandbox.ok(&["verify", "latest"]).contains(", with 32 snapshots that it depends on\n"));
}

#[test]
fn show_prints_the_chain_and_the_dependents() {
    let (sandbox, ids) = chain(2);
    sandbox.ok(&["pin", "full"]);
    let printed = sandbox.ok(&["show", &ids[1]]);
    for text in [
        &*format!("type          incremental, base {}\n", ids[0]),
        "pinned        no",
        "changes       1 added, 2 changed, 1 removed",
        "chain         2 snapshots, ",
        " full, pinned",
        &*format!("dependents    {}\n", ids[2]),
    ] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
    assert!(sandbox.ok(&["show", "full"]).contains("pinned        yes"));
    let document = show(&sandbox, &ids[1]);
    assert_eq!((&document["chain"], &document["dependents"]), (&json!(ids[..2]), &json!([ids[2]])));
    assert_eq!(document["chain_snapshots"][1]["pinned"], true);
    assert_eq!(show(&sandbox, "full")["dependents"], json!([ids[2], ids[1]]));
    assert_eq!(show(&sandbox, &ids[2])["chain"], json!(ids));
}

#[test]
fn verify_prints_the_chain_and_locates_the_corruption() {
    let (sandbox, ids) = chain(2);
    let printed = sandbox.ok(&["verify", "latest"]);
    assert!(printed.starts_with(&format!("{}  intact: 300 records, ", ids[2])), "{printed}");
    assert!(printed.contains(", with 2 snapshots that it depends on\n"), "{printed}");
    for id in &ids[..2] {
        assert!(printed.contains(&format!("  depends on {id}, which was verified with it\n")), "{printed}");
    }
    flip_bit_in_the_middle(&sandbox.stored(&ids[1], "vectors.bin.gz"));
    let result = sandbox.run(&["verify", "latest"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains(&format!("  in {}: vectors.bin.gz: block 0: ", ids[1])), "{result:?}");
    let (exit_code, document) = sandbox.json(&["verify", "latest"]);
    assert_eq!(exit_code, 3);
    assert_eq!(document["snapshots"][0]["chain"], json!(ids));
    assert_eq!(document["snapshots"][0]["corruption"][0]["id"], *ids[1]);
    let result = sandbox.run(&["verify", "--all"]);
    assert!(result.stdout.ends_with("1 snapshot intact, 2 corrupt\n"), "{result:?}");
    let result = sandbox.run(&["restore", "latest", "--to", "b.db"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stderr.starts_with(&format!("warning: snapshot {} was found corrupt at ", ids[1])), "{result:?}");
    assert!(result.stderr.contains("nothing was written to b.db"), "{result:?}");
    sandbox.ok(&["restore", "full", "--to", "b.db"]);
}

#[test]
fn verify_all_reads_each_chain_once() {
    let (sandbox, ids) = chain(3);
    let result = sandbox.run(&["verify", "--all"]);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let lines: Vec<_> = result.stdout.lines().collect();
    let [newest, ancestors @ .., summary] = lines.as_slice() else { panic!("{result:?}") };
    assert!(newest.starts_with(&ids[3]) && newest.ends_with(", with 3 snapshots that it depends on"), "{result:?}");
    let with = |id: &String| format!("{id}  intact, verified with {}", ids[3]);
    assert_eq!(ancestors, [with(&ids[2]), with(&ids[1]), with(&ids[0])]);
    assert_eq!(*summary, "4 snapshots intact");

    let (exit_code, document) = sandbox.json(&["verify", "--all"]);
    assert_eq!(exit_code, 0);
    assert_eq!(document["state"], "intact");
    assert_eq!(document["snapshots"][0]["chain"], json!(ids));
    for (at, id) in [(1, &ids[2]), (2, &ids[1]), (3, &ids[0])] {
        let one = &document["snapshots"][at];
        assert_eq!((&one["id"], &one["state"]), (&json!(id), &json!("intact")));
        assert_eq!((&one["corruption"], &one["verified_with"]), (&json!([]), &json!(ids[3])));
    }

    // If the newest snapshot is corrupt, it says nothing about its ancestors.
    let path = sandbox.stored(&ids[3], "vectors.bin.gz");
    fs::remove_file(path).unwrap();
    let result = sandbox.run(&["verify", "--all"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.ends_with("3 snapshots intact, 1 corrupt\n"), "{result:?}");
    assert!(result.stdout.contains(&format!("{}  intact, verified with {}\n", ids[1], ids[2])), "{result:?}");

    // A corrupt ancestor makes all its dependents corrupt, and they are not read again for that.
    fs::remove_file(sandbox.stored(&ids[1], "checksum.sha256")).unwrap();
    let result = sandbox.run(&["verify", "--all"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.ends_with("1 snapshot intact, 3 corrupt\n"), "{result:?}");
    let lines = format!(
        "{}  CORRUPT, verified with {}\n  in {}: checksum.sha256: the file is missing\n",
        ids[2], ids[3], ids[1]
    );
    assert!(result.stdout.contains(&lines), "{result:?}");
    assert!(result.stdout.contains(&format!("{}  CORRUPT: ", ids[1])), "{result:?}");
    assert!(result.stdout.contains(&format!("{}  intact: 300 records", ids[0])), "{result:?}");
}

/// Another program deletes the base: this one would delete the dependents first.
#[test]
fn verify_all_reports_a_base_that_disappears_while_it_runs() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.ok(&["create", "--db", "a.db", "--name", "full"]);
    bucket.ok(&["create", "--db", "a.db", "--name", "step", "--base", "full"]);
    let (_, listing) = bucket.json(&["list"]);
    let ids = [0, 1].map(|at| listing["snapshots"][at]["id"].as_str().unwrap().to_owned());
    let (base, mut is_gone) = (ids[1].clone(), false);
    bucket.server.wire().set(move |request, _| {
        let is_of_it = request.key().contains(&base);
        is_gone |= is_of_it && request.is_get() && request.key().ends_with("checksum.sha256");
        (is_gone && is_of_it).then_some(Fault::Status(404))
    });
    let (exit_code, document) = bucket.json(&["verify", "--all"]);
    assert_eq!(exit_code, 3, "{document}");
    assert_eq!(
        (&document["state"], &document["snapshots"][0]["state"]),
        (&json!("corrupt"), &json!("corrupt")),
        "{document}"
    );
    assert_eq!(document["snapshots"][0]["id"], *ids[0]);
}

#[test]
fn an_invalid_base_is_refused_and_nothing_is_created() {
    let sandbox = Sandbox::with_rows(20);
    let on = |base: &str| sandbox.run(&["create", "--db", "a.db", "--base", base]);
    let first = "take a full snapshot first: repeat this command without --base";
    on("latest").assert_fails(1, "the directory does not exist");
    assert_eq!(sandbox.names("."), ["a.db"]);
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    on("latest").assert_fails(4, first);
    on("latest").assert_fails(4, "the store has no snapshots, so there is no latest one");
    let id = sandbox.create("full");
    on("nope").assert_fails(4, "no snapshot has the id, id prefix or name \"nope\"");
    on("20200101T000000000Z-0123456789abcdef").assert_fails(4, first);
    sandbox.create("full too");
    on("2").assert_fails(2, "2 ids start with \"2\"");
    sandbox
        .run(&["create", "--db", "a.db", "--base", "full", "--max-chain", "1"])
        .assert_fails(1, "more than the maximum of 1\n");
    for wrong in ["0", "1001", "x"] {
        let result = sandbox.run(&["create", "--db", "a.db", "--base", "full", "--max-chain", wrong]);
        assert_eq!(result.exit_code, Some(2), "{result:?}");
    }
    assert_eq!(sandbox.run(&["create", "--db", "a.db", "--max-chain", "3"]).exit_code, Some(2));
    assert_eq!(sandbox.ids().len(), 2);
    assert_eq!(sandbox.names("snapshots").len(), 2);
    assert_eq!(show(&sandbox, "full")["id"], *id);
}

#[test]
fn a_corrupt_base_is_refused_if_it_is_verified_and_nothing_is_created() {
    let (sandbox, ids) = chain(1);
    let path = sandbox.stored(&ids[0], "vectors.bin.gz");
    let intact = fs::read(&path).unwrap();
    flip_bit_in_the_middle(&path);
    let stored = || {
        let mut files = files_below(&sandbox.path("snapshots"));
        // That it is corrupt is recorded.
        files.retain(|path, _| !path.to_string_lossy().contains("-read-corrupt-"));
        files
    };
    let before = stored();
    // Without the options vectors of the base are not read. The help says so.
    sandbox.ok(&["create", "--db", "a.db", "--base", "latest", "--dry-run"]);
    for option in ["--verify-base", "--verify-after-write"] {
        let result = sandbox.run(&["create", "--db", "a.db", "--base", "latest", option]);
        result.assert_fails(
            3,
            &format!("snapshot-{}/vectors.bin.gz: cannot use snapshot {} as a base: block 0: ", ids[0], ids[1]),
        );
        result.assert_fails(3, "hint: take a full snapshot first: repeat this command without --base");
        result.assert_fails(3, &format!("`ruvector-snapshot verify {}` shows all that is corrupt", ids[1]));
        assert_eq!(stored(), before, "{option}");
    }
    // By now it is known.
    let result = sandbox.run(&["create", "--db", "a.db", "--base", "latest"]);
    result.assert_fails(3, "it was found corrupt at ");
    let help = sandbox.ok(&["create", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("It does not read the vectors or the rest of the base") && help.contains("--verify-base"),
        "{help}"
    );
    fs::write(&path, intact).unwrap();
    sandbox.ok(&["create", "--db", "a.db", "--base", "latest", "--verify-base"]);
    sandbox.run(&["create", "--db", "a.db", "--verify-base"]).assert_fails(2, "--base");
    assert!(sandbox.ok(&["verify", "--all"]).contains("3 snapshots intact"));
}

#[test]
fn a_base_that_verify_has_found_corrupt_is_refused_until_it_is_intact() {
    let (sandbox, ids) = chain(1);
    let path = sandbox.stored(&ids[0], "vectors.bin.gz");
    let intact = fs::read(&path).unwrap();
    flip_bit_in_the_middle(&path);
    assert_eq!(sandbox.run(&["verify", "latest"]).exit_code, Some(3));
    let before = files_below(&sandbox.path("snapshots"));
    // No older snapshot is taken in its place.
    for more in [&[][..], &["--dry-run"]] {
        let result = sandbox.run(&[&["create", "--db", "a.db", "--base", "latest"], more].concat());
        result.assert_fails(3, &format!("cannot use snapshot {} as a base: it was found corrupt at 2", ids[1]));
        result.assert_fails(3, "hint: take a full snapshot first: repeat this command without --base");
        result.assert_fails(3, &format!("`ruvector-snapshot verify {}` shows all that is corrupt, and if it", ids[1]));
    }
    assert_eq!(files_below(&sandbox.path("snapshots")), before);
    fs::write(&path, intact).unwrap();
    sandbox.ok(&["verify", "latest"]);
    sandbox.ok(&["create", "--db", "a.db", "--base", "latest"]);
}

#[test]
fn the_size_of_a_small_increment_is_no_share_of_its_records() {
    let (sandbox, _) = chain(1);
    let size = |shown: String| shown.lines().find(|line| line.trim().starts_with("size ")).unwrap().to_owned();
    let increment = size(sandbox.ok(&["show", "latest"]));
    assert!(increment.contains(" in the store, ") && increment.ends_with(" uncompressed"), "{increment}");
    assert!(!increment.contains('%'), "{increment}");
    assert!(size(sandbox.ok(&["show", "full"])).contains(" % of "));
}

#[test]
fn what_was_verified_with_a_snapshot_is_listed_as_verified() {
    let (sandbox, ids) = chain(2);
    let verified = sandbox.ok(&["verify", &ids[1]]);
    assert!(verified.contains(&format!("depends on {}, which was verified with it", ids[0])), "{verified}");
    let listed = sandbox.ok(&["list"]);
    let never: Vec<&str> = listed.lines().filter(|line| line.contains("  never  ")).collect();
    assert!(never.len() == 1 && never[0].starts_with(&ids[2]), "{listed}");
    let shown = sandbox.ok(&["show", &ids[0]]);
    assert!(shown.contains(&format!("every byte intact, with {}, ruvector-snapshot ", ids[1])), "{shown}");
}

#[test]
fn a_base_with_other_dimensions_or_metric_is_refused() {
    let sandbox = Sandbox::with_rows(20);
    let full = sandbox.create("full");
    create_database(&sandbox.path("wide.db"), 20, 16);
    let on_full = |db: &str| sandbox.run(&["create", "--db", db, "--base", &full, "--base-from-elsewhere"]);
    let result = on_full("wide.db");
    result
        .assert_fails(1, &format!("cannot use snapshot {full} as a base: it has 8 dimensions and the metric Cosine, "));
    result.assert_fails(1, "but the database has 16 dimensions and the metric Cosine; ");
    result.assert_fails(1, "take a full snapshot");
    let options = ruvector_core::types::DbOptions {
        dimensions: DIMENSIONS,
        storage_path: sandbox.path("dot.db").to_string_lossy().into_owned(),
        distance_metric: ruvector_core::DistanceMetric::DotProduct,
        hnsw_config: None,
        ..Default::default()
    };
    drop(ruvector_core::VectorDB::new(options).unwrap());
    on_full("dot.db").assert_fails(1, "the database has 8 dimensions and the metric DotProduct");
    assert_eq!(sandbox.names("snapshots").len(), 1);
}

#[test]
fn an_increment_on_a_corrupt_chain_is_refused() {
    let (sandbox, ids) = chain(1);
    let on = |base: &str| sandbox.run(&["create", "--db", "a.db", "--base", base]);
    let path = sandbox.stored(&ids[0], "vectors.bin.gz");
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    on("latest").assert_fails(3, "the file is missing");
    fs::write(&path, bytes).unwrap();
    let metadata = sandbox.stored(&ids[0], "metadata.json");
    let bytes = fs::read(&metadata).unwrap();
    fs::write(&metadata, &bytes[1..]).unwrap();
    let result = on("latest");
    result.assert_fails(3, &format!("depends on {}, which cannot be read", ids[0]));
    result.assert_fails(3, "take a full snapshot first: repeat this command without --base");
    on(&ids[0]).assert_fails(3, "metadata.json");
    let result = sandbox.run(&["list"]);
    assert_eq!(result.exit_code, Some(3));
    let line = result.stdout.lines().find(|line| line.starts_with(&format!("{}  CORRUPT  metadata.json: ", ids[0])));
    let dependents = format!("; 1 dependent cannot be restored without it; the newest is {}", ids[1]);
    assert!(line.is_some_and(|line| line.ends_with(&dependents)), "{result:?}");
    fs::write(&metadata, bytes).unwrap();
    assert_eq!(on("latest").exit_code, Some(0));
}

#[test]
fn list_and_show_report_a_chain_whose_base_is_missing() {
    let (sandbox, ids) = chain(2);
    fs::remove_dir_all(sandbox.path(&format!("snapshots/snapshot-{}", ids[0]))).unwrap();
    let result = sandbox.run(&["list"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(3), ""), "{result:?}");
    let missing =
        format!("{}  MISSING  2 dependents cannot be restored without it; the newest is {}\n", ids[0], ids[2]);
    assert!(result.stdout.contains(&missing), "{result:?}");
    assert!(result.stdout.contains(", missing\n") && result.stdout.contains(", chain broken\n"), "{result:?}");
    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!((exit_code, &document["snapshots"][0]["chain_state"]), (3, &json!("broken")));
    let result = sandbox.run(&["show", "latest"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains(&format!("depends on {}, which is not in the store", ids[0])), "{result:?}");
    sandbox.run(&["create", "--db", "a.db", "--base", "latest"]).assert_fails(3, "which is not in the store");
    let result = sandbox.run(&["compact", "latest"]);
    result.assert_fails(3, "which is not in the store; if another store has it, `copy ");
    result.assert_fails(3, " brings it back; nothing was stored");
    result.assert_fails(3, &format!("cannot compact snapshot {}: ", ids[2]));
    let result = sandbox.run(&["verify", "latest"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains("which is not in the store"), "{result:?}");
}

#[test]
fn list_prints_a_base_that_is_missing_or_lost_once_and_counts_it() {
    let (sandbox, ids) = chain(2);
    let lines_with = |text: &str, id: &str| {
        let result = sandbox.run(&["list"]);
        assert_eq!(result.exit_code, Some(3), "{result:?}");
        assert!(result.stdout.contains(text), "{result:?}");
        result.stdout.lines().filter(|line| line.starts_with(id)).map(str::to_owned).collect::<Vec<_>>()
    };
    fs::remove_file(sandbox.stored(&ids[0], "metadata.json")).unwrap();
    let [line] = lines_with("; 2 of them cannot be restored; 1 more cannot be used (", &ids[0]).try_into().unwrap();
    assert!(line.contains("  CORRUPT  ") && line.contains("metadata.json"), "{line}");
    assert!(line.ends_with(&format!("2 dependents cannot be restored without it; the newest is {}", ids[2])), "{line}");
    fs::remove_dir_all(sandbox.path(&format!("snapshots/snapshot-{}", ids[0]))).unwrap();
    let [line] = lines_with("; 2 of them cannot be restored; 1 base is missing\n", &ids[0]).try_into().unwrap();
    assert!(line.contains("  MISSING  2 dependents cannot be restored without it"), "{line}");
}

#[test]
fn an_increment_on_a_base_that_is_being_deleted_says_so() {
    let (sandbox, ids) = chain(0);
    fs::write(sandbox.stored(&ids[0], "deleting-0123456789abcdef"), "").unwrap();
    let result = sandbox.run(&["create", "--db", "a.db", "--base", "latest"]);
    result.assert_fails(1, &format!("cannot use snapshot {} as a base: it is being deleted", ids[0]));
    result.assert_fails(1, "take a full snapshot");
    assert!(!result.stderr.contains("check the disk"), "{result:?}");
    assert_eq!(sandbox.ids(), ids);
}

#[test]
fn a_base_with_dependents_is_not_deleted() {
    let (sandbox, ids) = chain(2);
    let before = files_below(&sandbox.path("snapshots"));
    let result = sandbox.run(&["delete", "full"]);
    result.assert_fails(1, &format!("cannot delete {}: {}, {} depend on it", ids[0], ids[2], ids[1]));
    result.assert_fails(1, "delete the dependents first, or use --cascade");
    // The advice is given once, in the words of the program.
    assert_eq!(result.stderr.matches("cascade").count(), 1, "{result:?}");
    let alone = sandbox.create("alone");
    sandbox.run(&["delete", "alone", "full"]).assert_fails(1, &format!("cannot delete {}: ", ids[0]));
    sandbox.ok(&["delete", &alone]);
    sandbox.run(&["delete", &ids[1], "--dry-run"]).assert_fails(1, &ids[2]);
    sandbox.run(&["delete", &ids[0], &ids[1]]).assert_fails(1, &ids[2]);
    assert!(files_below(&sandbox.path("snapshots")) == before);
    // One plan deletes both, in the right order.
    let printed = sandbox.ok(&["delete", &ids[1], &ids[2]]);
    let starts: Vec<String> = printed.lines().map(|line| line.chars().take(50).collect()).collect();
    assert_eq!(starts, [2, 1].map(|at: usize| format!("deleted {}  step", ids[at])));
    assert_eq!(sandbox.ids(), [&*ids[0]]);
}

/// The corrupt snapshot may depend on what is to be deleted. --cascade alone does not help, and the advice does not say so.
#[test]
fn a_possible_base_of_a_corrupt_snapshot_is_deleted_only_together_with_it() {
    let (sandbox, ids) = chain(2);
    fs::write(sandbox.stored(&ids[1], "metadata.json"), "{}").unwrap();
    for more in [&[][..], &["--cascade"]] {
        let result = sandbox.run(&[&["delete", &*ids[0]], more].concat());
        result.assert_fails(
            1,
            &format!("other snapshots depend on {}, which is corrupt, and may depend on {}\n", ids[1], ids[0]),
        );
        result.assert_fails(
            1,
            "hint: nothing was deleted; repair the corrupt snapshot, or give its ID as well, with --cascade",
        );
        assert!(!result.stderr.contains("delete the dependents first"), "{result:?}");
    }
    assert_eq!(sandbox.names("snapshots").len(), 3);
    sandbox.ok_with_warning(&["delete", &ids[0], &ids[1], "--cascade"], "NO SNAPSHOT");
    assert_eq!(sandbox.names("snapshots"), [""; 0]);
}

#[test]
fn pin_and_unpin_of_a_corrupt_snapshot_say_what_was_being_done() {
    let (sandbox, ids) = chain(0);
    fs::write(sandbox.stored(&ids[0], "metadata.json"), "{}").unwrap();
    for verb in ["pin", "unpin"] {
        let result = sandbox.run(&[verb, &ids[0]]);
        result.assert_fails(3, &format!("metadata.json: cannot {verb} snapshot {}: ", ids[0]));
        result.assert_fails(3, "; its pin was not changed");
    }
}

#[test]
fn cascade_deletes_what_its_dry_run_prints() {
    let (sandbox, ids) = chain(2);
    let other = sandbox.create("other");
    let before = files_below(&sandbox.path("snapshots"));
    let dry = sandbox.ok(&["delete", "full", "--cascade", "--dry-run"]);
    assert!(dry.ends_with("nothing was deleted (--dry-run)\n"), "{dry}");
    let (exit_code, document) = sandbox.json(&["delete", "full", "--cascade", "--dry-run"]);
    assert_eq!((exit_code, &document["dry_run"]), (0, &json!(true)));
    assert_eq!(document["plan"], json!([ids[2], ids[1], ids[0]]));
    assert_eq!(document["deleted"], json!([]));
    assert!(files_below(&sandbox.path("snapshots")) == before);
    let wet = sandbox.ok(&["delete", "full", "--cascade"]);
    let would: Vec<_> = dry.lines().filter_map(|line| line.strip_prefix("would delete ")).collect();
    assert_eq!(wet.lines().map(|line| line.strip_prefix("deleted ").unwrap()).collect::<Vec<_>>(), would);
    assert_eq!(would.len(), 3);
    assert_eq!(sandbox.names("snapshots"), [format!("snapshot-{other}")]);
}

#[test]
fn a_pinned_snapshot_is_kept_until_it_is_unpinned() {
    let (sandbox, ids) = chain(1);
    sandbox.run(&["pin", "full", "nope"]).assert_fails(4, "nothing was changed");
    assert_eq!(show(&sandbox, "full")["pinned"], false);
    let (exit_code, document) = sandbox.json(&["pin", "latest", &ids[1]]);
    let pinned =
        |id: &str, name: &str, changed: bool| json!({ "id": id, "name": name, "pinned": true, "changed": changed });
    assert_eq!((exit_code, &document["snapshots"]), (0, &json!([pinned(&ids[1], "step", true)])), "{document}");
    assert_eq!(sandbox.ok(&["pin", "latest"]), format!("was already pinned: {}  step\n", ids[1]));
    let document = sandbox.json(&["pin", "latest", "full"]).1;
    assert_eq!(document["snapshots"], json!([pinned(&ids[1], "step", false), pinned(&ids[0], "full", true)]));
    sandbox.ok(&["unpin", "full"]);
    let refused = format!("nothing was deleted: snapshot {} is pinned", ids[1]);
    sandbox.run(&["delete", "latest"]).assert_fails(1, &refused);
    sandbox.run(&["delete", "full", "--cascade"]).assert_fails(1, "unpin it first");
    assert_eq!(sandbox.ids().len(), 2);
    assert_eq!(sandbox.ok(&["unpin", "latest"]), format!("unpinned {}  step\n", ids[1]));
    // It is not pinned any more.
    assert_eq!(sandbox.ok(&["unpin", "latest"]), format!("was not pinned: {}  step\n", ids[1]));
    sandbox.ok(&["pin", "full"]);
    let document = sandbox.json(&["unpin", "latest", "full"]).1;
    let unpinned = |at: usize| {
        let one = &document["snapshots"][at];
        (one["id"].as_str(), one["pinned"].as_bool(), one["changed"].as_bool())
    };
    assert_eq!(unpinned(0), (Some(&*ids[1]), Some(false), Some(false)));
    assert_eq!(unpinned(1), (Some(&*ids[0]), Some(false), Some(true)));
    sandbox.ok_with_warning(&["delete", "full", "--cascade"], "NO SNAPSHOT");
    assert!(sandbox.names("snapshots").is_empty());
    sandbox.run(&["pin", "latest"]).assert_fails(4, "the store has no snapshots, so there is no latest one");
    sandbox.run(&["unpin", "nope"]).assert_fails(4, "no snapshot has the id");
}

#[test]
fn an_interrupted_deletion_is_listed_and_collected_by_prune() {
    let (sandbox, ids) = chain(1);
    // A delete wrote its marker, and was killed later.
    fs::write(sandbox.stored(&ids[1], "deleting-0123456789abcdef"), "").unwrap();
    let printed = sandbox.ok(&["list"]);
    assert!(printed.contains(&format!("marked for deletion: snapshot-{} is still intact; ", ids[1])), "{printed}");
    let (_, document) = sandbox.json(&["list"]);
    assert_eq!((&document["marked_for_deletion"], &document["deleting"]), (&json!([ids[1]]), &json!([])));
    fs::remove_file(sandbox.stored(&ids[1], "metadata.json")).unwrap();
    let printed = sandbox.ok(&["list"]);
    assert!(printed.contains(&format!("deleting: snapshot-{} is being deleted", ids[1])), "{printed}");
    assert_eq!(sandbox.json(&["list"]).1["deleting"], json!([ids[1]]));
    assert_eq!(sandbox.ids(), [&*ids[0]]);
    sandbox.run(&["restore", &ids[1], "--to", "b.db"]).assert_fails(4, "no snapshot");
    // The delete may be in progress for a day. The marker is kept for an hour, whatever the grace period.
    for grace in ["24h", "0s"] {
        let printed = sandbox.ok(&["prune", "--keep-last", "1", "--grace", grace]);
        assert!(!printed.contains("orphan"), "{printed}");
    }
    make_old(&sandbox.stored(&ids[1], ""));
    let printed = sandbox.ok(&["prune", "--keep-last", "1"]);
    let line = |line: &&str| {
        line.starts_with(&format!("orphan  snapshot-{}  ", ids[1])) && line.ends_with("  interrupted deletion")
    };
    assert_eq!(printed.lines().filter(line).count(), 1, "{printed}");
    assert!(printed.contains("1 orphan collected"), "{printed}");
    assert_eq!(sandbox.names("snapshots"), [format!("snapshot-{}", ids[0])]);
}

#[test]
fn increments_respect_quiet_and_json() {
    let (sandbox, _) = chain(0);
    let result = sandbox.run(&["create", "--db", "a.db", "--base", "nope", "--json", "-q"]);
    result.assert_fails(4, "no snapshot has the id");
    let document: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "not_found");
    let RunResult { exit_code, stderr, .. } = sandbox.run(&["create", "--db", "a.db", "--base", "latest", "-q"]);
    assert_eq!((exit_code, &*stderr), (Some(0), ""));
}
