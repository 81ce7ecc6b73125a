//! Increments, the chains that they form, what may go and what must stay.

use std::fs;

use ruvector_core::VectorEntry;
use serde_json::{Value, json};
use test_servers::{Fault, S3Server};

use super::bucket::Bucket;
use super::prune::make_old;
use super::{Desk, Ran, contents, database, open};

const DIMENSIONS: usize = 8;

/// Changes the vector of one record, the metadata of another, adds one and removes one.
fn change(desk: &Desk, round: usize) {
    let db = open(&desk.path("a.db"), DIMENSIONS);
    let id = |at: usize| format!("id/{at:06}");
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

/// A database of 300 rows, a full snapshot `full` and so many increments on it, each on the one before; their ids, oldest first.
fn chain(increments: usize) -> (Desk, Vec<String>) {
    let desk = Desk::with_rows(300);
    let mut ids = vec![desk.create("full")];
    for round in 0..increments {
        change(&desk, round);
        ids.push(increment(&desk, "latest", "step"));
    }
    (desk, ids)
}

fn increment(desk: &Desk, base: &str, name: &str) -> String {
    let (status, document) = desk.json(&["create", "--db", "a.db", "--name", name, "--base", base]);
    assert_eq!(status, 0, "{document}");
    document["snapshot"]["id"].as_str().unwrap().to_owned()
}

/// The file holds what a.db does, by the content checksum of a snapshot of either.
#[track_caller]
fn assert_same_contents(desk: &Desk, restored: &str) {
    let checksum = |db: &str, store: &str| {
        let (_, document) = desk.json(&["create", "--db", db, "--store", store]);
        document["snapshot"]["checksum"].clone()
    };
    assert_eq!(checksum(restored, "compared"), checksum("a.db", "compared"));
}

fn show(desk: &Desk, id: &str) -> Value {
    desk.json(&["show", id]).1
}

#[test]
fn create_tells_what_an_increment_stores() {
    let (desk, ids) = chain(1);
    change(&desk, 1);
    let printed = desk.ok(&["create", "--db", "a.db", "--base", &ids[1][..22]]);
    let new = desk.ids().remove(0);
    for words in [
        &*format!("created {new}"),
        &*format!("stands on     {}, a chain of 3 snapshots with this one", ids[1]),
        "changes       1 added, 2 changed, 1 removed",
        " % of the ",
        "300 of 8 dimensions, Cosine",
    ] {
        assert!(printed.contains(words), "{words:?} is not in {printed}");
    }
    let (status, document) = desk.json(&["create", "--db", "a.db", "--base", "full"]);
    assert_eq!(status, 0);
    assert_eq!(document["base_id"], *ids[0]);
    assert_eq!(document["chain"], json!([ids[0]]));
    assert_eq!(document["snapshot"]["changes"], json!({ "added": 2, "changed": 4, "removed": 2 }));
    assert_eq!(document["full_size_bytes"], show(&desk, "full")["snapshot"]["size_bytes"]);
}

#[test]
fn every_snapshot_of_a_chain_comes_back() {
    let desk = Desk::with_rows(300);
    let mut base = desk.create("full");
    for round in 0..3 {
        change(&desk, round);
        base = increment(&desk, &base, "step");
        desk.ok(&["restore", &base, "--to", "b.db", "--force"]);
        assert_same_contents(&desk, "b.db");
    }
    desk.ok(&["restore", "full", "--to", "first.db"]);
    super::assert_holds(&desk.path("first.db"), 300, DIMENSIONS);
}

#[test]
fn list_tells_on_what_each_one_stands() {
    let (desk, ids) = chain(2);
    // A second chain, a second branch of the first, and a full one alone.
    let other = desk.create("other");
    let on_other = increment(&desk, "other", "on other");
    let branch = increment(&desk, "full", "branch");
    desk.create("alone");
    desk.ok(&["pin", "other", &ids[1]]);
    let printed = desk.ok(&["list"]);
    let line = |id: &str| printed.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    let ends = |id: &str, place: &str, base: &str, end: &str| {
        let line = line(id);
        let (_, kind) = line.split_once(&format!("  {place} on ")).unwrap_or_else(|| panic!("no {place}: {line}"));
        let start = kind.strip_suffix(end).unwrap();
        assert!(start.len() >= 15 && base.starts_with(start), "{line}");
        assert_eq!(desk.run(&["show", start]).status, Some(0), "{start} means another one as well");
    };
    ends(&ids[1], "+1", &ids[0], ", pinned");
    ends(&ids[2], "+2", &ids[1], "");
    ends(&on_other, "+1", &other, "");
    ends(&branch, "+1", &ids[0], "");
    assert!(line(&ids[0]).ends_with("  full") && line(&other).ends_with("  full, pinned"), "{printed}");
    assert!(printed.contains("7 snapshots, ") && printed.ends_with(": 3 full, 4 increments\n"), "{printed}");

    let (status, document) = desk.json(&["list"]);
    assert_eq!((status, &document["deleting"]), (0, &json!([])));
    let of = |id: &str| document["snapshots"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone();
    let newest = of(&ids[2]);
    assert_eq!(newest["base_id"], *ids[1]);
    assert_eq!(newest["chain"], json!([ids[1], ids[0]]));
    assert_eq!((&newest["chain_state"], &newest["pinned"]), (&json!("whole"), &json!(false)));
    assert_eq!(newest["changes"], json!({ "added": 1, "changed": 2, "removed": 1 }));
    let full = of(&ids[0]);
    assert_eq!((&full["base_id"], &full["chain"], &full["changes"]), (&Value::Null, &json!([]), &Value::Null));
    assert_eq!(of(&other)["pinned"], true);
}

#[test]
fn a_long_chain_reads_well_and_ends_where_it_is_told() {
    let desk = Desk::with_rows(20);
    desk.create("full");
    for _ in 0..30 {
        increment(&desk, "latest", "step");
    }
    let printed = desk.ok(&["list"]);
    for (line, place) in printed.lines().skip(1).zip((1..=30).rev()) {
        assert!(line.contains(&format!("  +{place} on ")) && line.chars().count() < 130, "{line}");
    }
    assert!(printed.ends_with(": 1 full, 30 increments\n"), "{printed}");
    increment(&desk, "latest", "the 32nd");
    let ran = desk.run(&["create", "--db", "a.db", "--base", "latest"]);
    ran.fails(1, "the chain would have 33 snapshots, more than the 32");
    assert!(ran.stderr.contains("--max-chain"), "{ran:?}");
    desk.ok(&["create", "--db", "a.db", "--base", "latest", "--max-chain", "33"]);
    assert!(desk.ok(&["verify", "latest"]).contains(", with the 32 snapshots below it"));
}

#[test]
fn show_tells_the_chain_and_what_stands_on_it() {
    let (desk, ids) = chain(2);
    desk.ok(&["pin", "full"]);
    let printed = desk.ok(&["show", &ids[1]]);
    for words in [
        &*format!("type          increment, on {}", ids[0]),
        "pinned        no",
        "changes       1 added, 2 changed, 1 removed",
        "chain         2 snapshots, ",
        " full, pinned",
        &*format!("needed by     {}", ids[2]),
    ] {
        assert!(printed.contains(words), "{words:?} is not in {printed}");
    }
    assert!(desk.ok(&["show", "full"]).contains("pinned        yes"));
    let document = show(&desk, &ids[1]);
    assert_eq!((&document["chain"], &document["needed_by"]), (&json!([ids[0]]), &json!([ids[2]])));
    assert_eq!(document["chain_snapshots"][1]["pinned"], true);
    assert_eq!(show(&desk, "full")["needed_by"], json!([ids[2], ids[1]]));
    assert_eq!(show(&desk, &ids[2])["chain"], json!([ids[1], ids[0]]));
}

#[test]
fn verify_tells_the_chain_and_where_the_damage_is() {
    let (desk, ids) = chain(2);
    let printed = desk.ok(&["verify", "latest"]);
    assert!(printed.starts_with(&format!("{}  whole: 300 records, ", ids[2])), "{printed}");
    assert!(printed.contains(", with the 2 snapshots below it\n"), "{printed}");
    for id in &ids[..2] {
        assert!(printed.contains(&format!("stands on {id}, which was verified with it")), "{printed}");
    }
    let path = desk.stored(&ids[1], "vectors.bin.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = desk.run(&["verify", "latest"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.contains(&format!("  in {}: vectors.bin.gz: block 0: ", ids[1])), "{ran:?}");
    let (status, document) = desk.json(&["verify", "latest"]);
    assert_eq!(status, 3);
    assert_eq!(document["snapshots"][0]["chain"], json!([ids[1], ids[0]]));
    assert_eq!(document["snapshots"][0]["damage"][0]["snapshot"], *ids[1]);
    let ran = desk.run(&["verify", "--all"]);
    assert!(ran.stdout.ends_with("1 snapshot whole, 2 damaged\n"), "{ran:?}");
    desk.run(&["restore", "latest", "--to", "b.db"]).fails(3, "nothing was written to b.db");
    desk.ok(&["restore", "full", "--to", "b.db"]);
}

#[test]
fn verify_of_all_reads_each_chain_once() {
    let (desk, ids) = chain(3);
    let ran = desk.run(&["verify", "--all"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    let [newest, below @ .., summary] = lines.as_slice() else { panic!("{ran:?}") };
    assert!(newest.starts_with(&ids[3]) && newest.ends_with(", with the 3 snapshots below it"), "{ran:?}");
    let with = |id: &String| format!("{id}  whole, and was verified with {}", ids[3]);
    assert_eq!(below, [with(&ids[2]), with(&ids[1]), with(&ids[0])]);
    assert_eq!(*summary, "4 snapshots whole");

    let (status, document) = desk.json(&["verify", "--all"]);
    assert_eq!(status, 0);
    assert_eq!(document["whole"], true);
    assert_eq!(document["snapshots"][0]["chain"], json!([ids[2], ids[1], ids[0]]));
    for (at, id) in [(1, &ids[2]), (2, &ids[1]), (3, &ids[0])] {
        let expected = json!({ "id": **id, "whole": true, "damage": [], "verified_with": ids[3] });
        assert_eq!(document["snapshots"][at], expected);
    }

    // Where the newest is damaged it says nothing of those below.
    let path = desk.stored(&ids[3], "vectors.bin.gz");
    fs::remove_file(path).unwrap();
    let ran = desk.run(&["verify", "--all"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.ends_with("3 snapshots whole, 1 damaged\n"), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{}  whole, and was verified with {}\n", ids[1], ids[2])), "{ran:?}");

    // Damage further down is damage of all above it, and they are not read again to say so; its own verdict is its own.
    fs::remove_file(desk.stored(&ids[1], "checksum.sha256")).unwrap();
    let ran = desk.run(&["verify", "--all"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.ends_with("1 snapshot whole, 3 damaged\n"), "{ran:?}");
    let lines = format!(
        "{}  DAMAGED, and was verified with {}\n  in {}: checksum.sha256: the file is missing\n",
        ids[2], ids[3], ids[1]
    );
    assert!(ran.stdout.contains(&lines), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{}  DAMAGED: ", ids[1])), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{}  whole: 300 records", ids[0])), "{ran:?}");
}

/// By something else than this program, which deletes what stands on it first.
#[test]
fn verify_of_all_tells_of_a_base_that_goes_while_it_runs() {
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
    let (status, document) = bucket.json(&["verify", "--all"]);
    assert_eq!(status, 3, "{document}");
    assert_eq!((&document["whole"], &document["snapshots"][0]["whole"]), (&json!(false), &json!(false)), "{document}");
    assert_eq!(document["snapshots"][0]["id"], *ids[0]);
}

#[test]
fn a_base_that_cannot_be_is_refused_and_nothing_is_made() {
    let desk = Desk::with_rows(20);
    let on = |base: &str| desk.run(&["create", "--db", "a.db", "--base", base]);
    let first = "take a full one first: ruvector-snapshot create --db a.db";
    on("latest").fails(1, first);
    assert_eq!(desk.names("."), ["a.db"]);
    fs::create_dir(desk.path("snapshots")).unwrap();
    on("latest").fails(1, first);
    on("latest").fails(1, "there is no snapshot yet");
    let id = desk.create("full");
    on("nope").fails(1, "no snapshot has the id, the start of an id or the name \"nope\"");
    on("20200101T000000000Z-0123456789abcdef").fails(1, first);
    desk.create("full too");
    on("2").fails(2, "2 ids begin with");
    desk.run(&["create", "--db", "a.db", "--base", "full", "--max-chain", "1"]).fails(1, "more than the 1");
    for wrong in ["0", "1001", "x"] {
        let ran = desk.run(&["create", "--db", "a.db", "--base", "full", "--max-chain", wrong]);
        assert_eq!(ran.status, Some(2), "{ran:?}");
    }
    assert_eq!(desk.run(&["create", "--db", "a.db", "--max-chain", "3"]).status, Some(2));
    assert_eq!(desk.ids().len(), 2);
    assert_eq!(desk.names("snapshots").len(), 2);
    assert_eq!(show(&desk, "full")["snapshot"]["id"], *id);
}

#[test]
fn a_database_of_another_shape_cannot_stand_on_it() {
    let desk = Desk::with_rows(20);
    desk.create("full");
    database(&desk.path("wide.db"), 20, 16);
    let ran = desk.run(&["create", "--db", "wide.db", "--base", "full"]);
    ran.fails(1, "16 dimensions and the metric Cosine, and snapshot ");
    ran.fails(1, "take a full snapshot");
    let options = ruvector_core::types::DbOptions {
        dimensions: DIMENSIONS,
        storage_path: desk.path("dot.db").to_string_lossy().into_owned(),
        distance_metric: ruvector_core::DistanceMetric::DotProduct,
        hnsw_config: None,
        ..Default::default()
    };
    drop(ruvector_core::VectorDB::new(options).unwrap());
    desk.run(&["create", "--db", "dot.db", "--base", "full"]).fails(1, "the metric DotProduct");
    assert_eq!(desk.names("snapshots").len(), 1);
}

#[test]
fn nothing_stands_on_a_chain_that_is_damaged() {
    let (desk, ids) = chain(1);
    let on = |base: &str| desk.run(&["create", "--db", "a.db", "--base", base]);
    let path = desk.stored(&ids[0], "vectors.bin.gz");
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    on("latest").fails(3, "the file is missing");
    fs::write(&path, bytes).unwrap();
    let metadata = desk.stored(&ids[0], "metadata.json");
    let bytes = fs::read(&metadata).unwrap();
    fs::write(&metadata, &bytes[1..]).unwrap();
    let ran = on("latest");
    ran.fails(3, &format!("stands on {}, which cannot be read", ids[0]));
    ran.fails(3, "take a full one: ruvector-snapshot create --db a.db");
    on(&ids[0]).fails(3, "metadata.json");
    let ran = desk.run(&["list"]);
    assert_eq!(ran.status, Some(3));
    assert!(
        ran.stdout.contains(&format!("{}  DAMAGED  needed by 1 snapshot, which cannot be restored", ids[0])),
        "{ran:?}"
    );
    fs::write(&metadata, bytes).unwrap();
    assert_eq!(on("latest").status, Some(0));
}

#[test]
fn a_chain_that_lost_its_base_shows_without_a_verify() {
    let (desk, ids) = chain(2);
    fs::remove_dir_all(desk.path(&format!("snapshots/snapshot-{}", ids[0]))).unwrap();
    let ran = desk.run(&["list"]);
    assert_eq!((ran.status, &*ran.stderr), (Some(3), ""), "{ran:?}");
    let missing = format!("{}  MISSING  needed by 2 snapshots, which cannot be restored", ids[0]);
    assert!(ran.stdout.contains(&missing), "{ran:?}");
    assert!(ran.stdout.contains(", which is missing") && ran.stdout.contains(", broken further down"), "{ran:?}");
    let (status, document) = desk.json(&["list"]);
    assert_eq!((status, &document["snapshots"][0]["chain_state"]), (3, &json!("broken")));
    let ran = desk.run(&["show", "latest"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.contains(&format!("stands on {}, which is not in the store", ids[0])), "{ran:?}");
    desk.run(&["create", "--db", "a.db", "--base", "latest"]).fails(3, "which is not in the store");
    desk.run(&["compact", "latest"]).fails(3, "which is not in the store");
    let ran = desk.run(&["verify", "latest"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.contains("which is not in the store"), "{ran:?}");
}

#[test]
fn a_base_that_is_needed_stays() {
    let (desk, ids) = chain(2);
    let before = contents(&desk.path("snapshots"));
    let ran = desk.run(&["delete", "full"]);
    ran.fails(1, &format!("snapshot {} is needed: {}, {} stand on it", ids[0], ids[2], ids[1]));
    ran.fails(1, "--cascade deletes those too");
    let alone = desk.create("alone");
    desk.run(&["delete", "alone", "full"]).fails(1, &format!("snapshot {} is needed", ids[0]));
    desk.ok(&["delete", &alone]);
    desk.run(&["delete", &ids[1], "--dry-run"]).fails(1, &ids[2]);
    desk.run(&["delete", &ids[0], &ids[1]]).fails(1, &ids[2]);
    assert!(contents(&desk.path("snapshots")) == before);
    // All in one plan, in whatever order they were named.
    let printed = desk.ok(&["delete", &ids[1], &ids[2]]);
    assert_eq!(printed, format!("deleted {}  step\ndeleted {}  step\n", ids[2], ids[1]));
    assert_eq!(desk.ids(), [&*ids[0]]);
}

#[test]
fn cascade_deletes_what_its_dry_run_says() {
    let (desk, ids) = chain(2);
    let other = desk.create("other");
    let before = contents(&desk.path("snapshots"));
    let dry = desk.ok(&["delete", "full", "--cascade", "--dry-run"]);
    assert!(dry.ends_with("nothing was deleted (--dry-run)\n"), "{dry}");
    let (status, document) = desk.json(&["delete", "full", "--cascade", "--dry-run"]);
    assert_eq!((status, &document["dry_run"]), (0, &json!(true)));
    assert_eq!(document["plan"], json!([ids[2], ids[1], ids[0]]));
    assert_eq!(document["deleted"], json!([]));
    assert!(contents(&desk.path("snapshots")) == before);
    let wet = desk.ok(&["delete", "full", "--cascade"]);
    let would: Vec<_> = dry.lines().filter_map(|line| line.strip_prefix("would delete ")).collect();
    assert_eq!(wet.lines().map(|line| line.strip_prefix("deleted ").unwrap()).collect::<Vec<_>>(), would);
    assert_eq!(would.len(), 3);
    assert_eq!(desk.names("snapshots"), [format!("snapshot-{other}")]);
}

#[test]
fn what_is_pinned_stays_until_it_is_unpinned() {
    let (desk, ids) = chain(1);
    desk.run(&["pin", "full", "nope"]).fails(1, "nothing was changed");
    assert_eq!(show(&desk, "full")["snapshot"]["pinned"], false);
    let (status, document) = desk.json(&["pin", "latest", &ids[1]]);
    assert_eq!((status, &document["pinned"]), (0, &json!([ids[1]])));
    assert_eq!(desk.ok(&["pin", "latest"]), format!("pinned {}  step\n", ids[1]));
    desk.run(&["delete", "latest"]).fails(1, &format!("snapshot {} is pinned, so nothing was deleted", ids[1]));
    desk.run(&["delete", "full", "--cascade"]).fails(1, "unpin it first");
    assert_eq!(desk.ids().len(), 2);
    assert_eq!(desk.ok(&["unpin", "latest"]), format!("unpinned {}  step\n", ids[1]));
    assert_eq!(desk.json(&["unpin", "latest"]).1["unpinned"], json!([ids[1]]));
    desk.ok(&["delete", "full", "--cascade"]);
    assert!(desk.names("snapshots").is_empty());
    desk.run(&["pin", "latest"]).fails(1, "there is no snapshot yet");
    desk.run(&["unpin", "nope"]).fails(1, "no snapshot has the id");
}

#[test]
fn compact_makes_a_full_one_of_a_chain() {
    let (desk, ids) = chain(2);
    let before = contents(&desk.path("snapshots"));
    let (status, document) = desk.json(&["compact", &ids[2]]);
    assert_eq!((status, &document["from"]), (0, &json!([ids[2], ids[1], ids[0]])));
    let compacted = document["snapshot"]["id"].as_str().unwrap();
    assert_eq!(document["snapshot"]["snapshot_type"], "full");
    let newest = show(&desk, &ids[2])["snapshot"].clone();
    for same in ["checksum", "name", "created_at", "vector_count"] {
        assert_eq!(document["snapshot"][same], newest[same], "{same}");
    }
    // The chain is as it was.
    let after = contents(&desk.path("snapshots"));
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)));
    assert_eq!(after.len(), before.len() + 5);
    desk.ok(&["delete", "full", "--cascade"]);
    assert_eq!(desk.ids(), [compacted]);
    desk.ok(&["restore", "latest", "--to", "b.db"]);
    assert_same_contents(&desk, "b.db");
    let on_it = increment(&desk, "latest", "on it");
    let printed = desk.ok(&["compact", &on_it]);
    for words in ["created ", ", full\n", "as of ", "its chain of 2 snapshots has", "the chain stays as it is"] {
        assert!(printed.contains(words), "{words:?} is not in {printed}");
    }
}

#[test]
fn compact_refuses_what_is_full_or_not_there() {
    let (desk, ids) = chain(1);
    desk.run(&["compact", "full"]).fails(1, &format!("snapshot {} is a full one already", ids[0]));
    desk.run(&["compact", "nope"]).fails(1, "no snapshot has the id");
    desk.run(&["compact", "2"]).fails(2, "2 ids begin with");
    let path = desk.stored(&ids[0], "vectors.bin.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    desk.run(&["compact", "latest"]).fails(3, "vectors.bin.gz");
    assert_eq!(desk.names("snapshots").len(), 2);
}

#[test]
fn a_deletion_that_was_cut_off_is_listed_and_swept() {
    let (desk, ids) = chain(1);
    // As it is when a delete was killed after the metadata.json had gone.
    fs::write(desk.stored(&ids[1], "deleting-0123456789abcdef"), "").unwrap();
    let printed = desk.ok(&["list"]);
    assert!(printed.contains(&format!("deletion under way: snapshot-{} is whole still", ids[1])), "{printed}");
    let (_, document) = desk.json(&["list"]);
    assert_eq!((&document["marked"], &document["deleting"]), (&json!([ids[1]]), &json!([])));
    fs::remove_file(desk.stored(&ids[1], "metadata.json")).unwrap();
    let printed = desk.ok(&["list"]);
    assert!(printed.contains(&format!("deleting: snapshot-{} is being deleted", ids[1])), "{printed}");
    assert_eq!(desk.json(&["list"]).1["deleting"], json!([ids[1]]));
    assert_eq!(desk.ids(), [&*ids[0]]);
    desk.run(&["restore", &ids[1], "--to", "b.db"]).fails(1, "no snapshot");
    // It may be under way still, for a day; and the mark stays an hour, whatever the time of grace.
    for grace in ["24h", "0s"] {
        let printed = desk.ok(&["prune", "--keep-last", "1", "--grace", grace]);
        assert!(!printed.contains("sweep"), "{printed}");
    }
    make_old(&desk.stored(&ids[1], ""));
    let printed = desk.ok(&["prune", "--keep-last", "1"]);
    assert!(printed.contains(&format!("sweep  snapshot-{}  ", ids[1])), "{printed}");
    assert!(printed.contains("1 leftover swept"), "{printed}");
    assert_eq!(desk.names("snapshots"), [format!("snapshot-{}", ids[0])]);
}

#[test]
fn an_increment_is_quiet_and_says_no_more_on_an_error() {
    let (desk, _) = chain(0);
    let ran = desk.run(&["create", "--db", "a.db", "--base", "nope", "--json", "-q"]);
    ran.fails(1, "no snapshot has the id");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "not_found");
    let Ran { status, stderr, .. } = desk.run(&["create", "--db", "a.db", "--base", "latest", "-q"]);
    assert_eq!((status, &*stderr), (Some(0), ""));
}
