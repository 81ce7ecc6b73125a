//! The program with a limit on its address space: what is stored takes memory in proportion to what it is, whatever
//! its bytes claim.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::thread;

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use test_fixtures::{RawRows, StoredSnapshot, make_large_database};
use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

/// The address space in KiB that suffices for every command on a small store, also a forged one, unless it really holds
/// tens of megabytes of ids or hundreds of thousands of settings.
const ENOUGH_KIB: u32 = 256 << 10;

/// Returns the address space in KiB for a command that needs so many MiB on two processors.
fn kib_on_this_machine(mib: u32) -> u32 {
    const MORE_FOR_EACH_PROCESSOR: u32 = 16;
    let processors = thread::available_parallelism().map_or(1, usize::from) as u32;
    (mib + processors.saturating_sub(2) * MORE_FOR_EACH_PROCESSOR) << 10
}

/// Runs a command of this store with a limit on its address space.
fn limited(command: &Command, kib: u32) -> RunResult {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -v {kib} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().unwrap()).env_clear();
    let set = |(name, value): (_, Option<&OsStr>)| Some((name, value?.to_owned()));
    limited.envs(command.get_envs().filter_map(set));
    // Each thread of its own arena reserves 64 MiB of address space, and uses a few pages.
    limited.env("MALLOC_ARENA_MAX", "1");
    RunResult::from(limited.output().unwrap())
}

/// A store on a disk or in a bucket.
enum Place {
    Disk(Sandbox),
    Bucket(Bucket),
}

impl Place {
    /// Returns a store of each kind, and the files of a snapshot that is in both.
    fn both() -> ([Self; 2], StoredSnapshot) {
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        let stored = StoredSnapshot::read(&sandbox.path("snapshots"), &ids[0]);
        let places = [Self::Disk(sandbox), Self::Bucket(Bucket::s3(S3Server::start()))];
        places.iter().for_each(|place| place.put(&stored));
        (places, stored)
    }

    fn sandbox(&self) -> &Sandbox {
        match self {
            Self::Disk(sandbox) => sandbox,
            Self::Bucket(bucket) => &bucket.sandbox,
        }
    }

    fn run(&self, args: &[&str]) -> RunResult {
        self.run_in(ENOUGH_KIB, args)
    }

    fn run_in(&self, kib: u32, args: &[&str]) -> RunResult {
        let command = match self {
            Self::Disk(sandbox) => sandbox.command(args),
            Self::Bucket(bucket) => bucket.command(args),
        };
        limited(&command, kib)
    }

    /// Writes the files of a snapshot.
    fn put(&self, stored: &StoredSnapshot) {
        for (name, bytes) in &stored.files {
            match self {
                Self::Disk(_) => stored.put(name, bytes),
                Self::Bucket(bucket) => {
                    bucket.server.put(&format!("backups/prod/snapshot-{}/{name}", stored.id), bytes);
                }
            }
        }
    }
}

/// Returns the description of a database with another value of one option.
fn with_option(stored: &StoredSnapshot, option: &str, value: &str) -> Vec<u8> {
    let mut description: Value = serde_json::from_slice(&stored.section("database")).unwrap();
    description[option] = json!("HERE");
    description.to_string().replace("\"HERE\"", value).into_bytes()
}

/// Returns leaf tables that are stored in a megabyte and are as large as that may expand to: random checksums, as large
/// as the keys in proportion.
fn largest_leaves() -> Vec<u8> {
    const LEAVES: usize = 50_000;
    let (runs, new) = (1u64.to_le_bytes(), (LEAVES as u64).to_le_bytes());
    let run = [u64::MAX.to_le_bytes(), new].concat();
    let mut random = 1u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 56) as u8
    };
    let checksums = (0..16 * LEAVES).map(|_| noise()).collect::<Vec<_>>();
    let keys = (0..LEAVES).map(|leaf| format!("{}{leaf:05}", "a".repeat(900))).collect::<String>();
    let lengths = 905u32.to_le_bytes().repeat(LEAVES);
    let table = [&runs[..], &new, &run, &checksums, &vec![0; 4 * LEAVES], &lengths, keys.as_bytes()].concat();
    [table, vec![0; 16]].concat()
}

/// Returns the start of a stream of irregular rows: a row of the table `config`, up to its value of so many bytes.
fn row_head(value_bytes: u32) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let column = [&[1, 0, 0, 0, 0, 0][..], &text("&str")].concat();
    let lengths = [1u32.to_le_bytes(), value_bytes.to_le_bytes()].concat();
    [&[1][..], &text("config"), &column, &column, &[2], &lengths, b"k"].concat()
}

fn array(item: &str, bytes: usize) -> String {
    format!("[{}{item}]", format!("{item},").repeat(bytes / (item.len() + 1)))
}

#[test]
fn forged_sections_are_refused_before_they_take_memory() {
    let (places, intact) = Place::both();
    let id = intact.id.as_str();
    let rows = (0..1 << 20).map(|row| format!("\"{row}\":\"\"")).collect::<Vec<_>>();
    let database = |option, value: &str| intact.with_section("database", &with_option(&intact, option, value));
    let zeros = vec![0; 300 << 20];
    let row = |value_bytes: u32| [&row_head(value_bytes), &zeros[..(8 << 20) - row_head(0).len()]].concat();
    let irregular = |first: &[u8], more: usize, bytes: usize| {
        let sections: Vec<_> = std::iter::once(first).chain(vec![&zeros[..bytes]; more]).collect();
        intact.with_irregular(&sections)
    };
    for (what, forged) in [
        ("a row that claims 4 GiB", irregular(&row(u32::MAX - 15), 127, 8 << 20)),
        ("a row that claims 1 GiB", irregular(&row((1 << 30) - 4096), 127, 8 << 20)),
        ("a row of 60 MiB without an end", irregular(&row(60 << 20), 10, 8 << 20)),
        ("large sections of irregular rows", irregular(&row(0), 1, 128 << 20)),
        ("an option of 15 MB", database("hnsw_config", &array("0", 15 << 20))),
        ("an option of 150 MB", database("quantization", &array("[]", 150 << 20))),
        ("a million rows", database("rows", &format!("{{{}}}", rows.join(",")))),
        ("a description of zeros", intact.with_section("database", &zeros)),
        ("a directory of zeros", intact.with_section("directory", &zeros)),
        ("leaves of zeros", intact.with_section("leaves", &zeros)),
    ] {
        assert!(forged.file("index.bin.gz").len() < 4 << 20, "{what}");
        for place in &places {
            place.put(&forged);
            for args in [&["verify", id][..], &["verify", "--all"], &["restore", id, "--to", "b.db"]] {
                let result = place.run(args);
                assert_eq!(result.exit_code, Some(3), "{what}: {args:?}: {result:?}");
            }
            // These two read no section. The sizes can show that it is corrupt.
            for args in [&["list"][..], &["show", id]] {
                let result = place.run(args);
                assert!(matches!(result.exit_code, Some(0 | 3)), "{what}: {args:?}: {result:?}");
            }
            assert!(!place.sandbox().path("b.db").exists(), "{what}");
        }
    }
    for place in &places {
        place.put(&intact);
        for args in [&["verify", id][..], &["restore", id, "--to", "b.db"]] {
            let result = place.run(args);
            assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        }
    }
}

#[test]
fn leaves_of_the_largest_size_are_read_and_compared() {
    let (places, intact) = Place::both();
    let forged = intact.with_section("leaves", &largest_leaves());
    let section = forged.metadata().section("leaves").unwrap().clone();
    assert!(section.raw_bytes > 20 * section.bytes + (16 << 20), "{section:?}");
    for place in places {
        place.put(&forged);
        let verified = place.run(&["verify", forged.id.as_str()]);
        assert_eq!(verified.exit_code, Some(3), "{verified:?}");
        assert!(verified.stdout.contains("has 0 rows, but the snapshot has 300 records"), "{verified:?}");
    }
}

#[test]
fn json_of_users_is_listed_one_snapshot_after_the_other() {
    const SNAPSHOTS: usize = 16;
    // Each object takes more than 600 bytes if it is parsed.
    let large = array("{\"\":0}", 900_000);
    let (places, stored) = Place::both();
    for place in places {
        for number in 0..SNAPSHOTS {
            place.put(&stored.under(&format!("20200101T0000{number:02}000Z-0123456789abcdef"), &large));
        }
        let text = place.run(&["list"]);
        assert_eq!(text.exit_code, Some(0), "{}", text.stderr);
        assert_eq!(text.stdout.matches("20200101T").count(), SNAPSHOTS, "{}", text.stdout);
        let json = place.run(&["list", "--json"]);
        assert_eq!((json.exit_code, json.stdout.matches(&large).count()), (Some(0), SNAPSHOTS), "{}", json.stderr);
        serde_json::from_str::<IgnoredAny>(&json.stdout).unwrap();
        for args in [
            &["show", "20200101T000003"][..],
            &["show", "20200101T000003", "--json"],
            &["verify", "--all"],
            &["prune", "--keep-last", "1", "--dry-run"],
            &["restore", "20200101T000003", "--to", "b.db", "--json"],
        ] {
            let result = place.run(args);
            assert_eq!(result.exit_code, Some(0), "{args:?}: {}", result.stderr);
            let is_shown = matches!(args[0], "show" | "restore");
            assert_eq!(result.stdout.contains(&large), is_shown, "{args:?}");
        }
    }
}

/// The largest `metadata.json` of each shape that takes many times its bytes if it is parsed into values.
#[test]
fn labels_and_lists_of_texts_take_the_memory_of_their_text() {
    const SNAPSHOTS: usize = 24;
    const BYTES: usize = 1_040_000;
    // Each key has four digits, so each label takes ten bytes.
    let labels = (0..BYTES / 10).map(|number| format!("\"{}\":\"\"", base_36(number))).collect::<Vec<_>>().join(",");
    let source = format!("{{\"kind\":\"file\",\"not_captured\":{}}}", array("\"\"", BYTES));
    let members = [("/labels", format!("{{{labels}}}")), ("/source", source)];
    let (places, stored) = Place::both();
    let forge = |number: usize| {
        let (member, json) = &members[number % members.len()];
        stored.under_with(&id_of(number), member, json)
    };
    let forged: Vec<_> = (0..SNAPSHOTS).map(forge).collect();
    let check = |place: &Place| {
        forged.iter().for_each(|stored| place.put(stored));
        for args in [
            &["list", "--json"][..],
            &["show", "20200101T000002", "--json"],
            &["prune", "--keep-last", "1", "--keep-label", "0000", "--dry-run", "--json"],
            &["verify", "--all"],
        ] {
            let result = place.run_in(kib_on_this_machine(160), args);
            assert_eq!(result.exit_code, Some(0), "{args:?}: {}", result.stderr);
            if args.contains(&"--json") {
                serde_json::from_str::<IgnoredAny>(&result.stdout).unwrap();
            }
        }
    };
    thread::scope(|scope| places.iter().for_each(|place| drop(scope.spawn(|| check(place)))));
}

#[test]
fn answers_without_an_end_do_not_fill_the_memory() {
    type Is = fn(&Request) -> bool;
    let kinds: [(&str, Is); 2] =
        [("list", Request::is_list), ("get", |request| request.is_get() && !request.is_list())];
    let all: [&[&str]; 3] = [&["list"], &["verify", "--all"], &["create", "--db", "a.db"]];
    thread::scope(|scope| {
        for (kind, is_meant) in kinds {
            scope.spawn(move || {
                let bucket = Bucket::s3(S3Server::start());
                bucket.ok(&["create", "--db", "a.db"]);
                let run = |args| limited(&bucket.command(args), ENOUGH_KIB);
                for status in [None, Some(403)] {
                    bucket.server.wire().set(move |request, _| is_meant(request).then_some(Fault::Endless(status)));
                    for args in all {
                        let result = run(args);
                        assert!(
                            matches!(result.exit_code, Some(0 | 1 | 3 | 5)),
                            "{kind}, {status:?}: {args:?}: {result:?}"
                        );
                    }
                    let listed = run(&["list"]);
                    let text =
                        "a listing with more than 64 MiB, which no such answer has; check the address of the server";
                    let is_expected = kind == "list" && status.is_none();
                    assert_eq!(listed.stderr.contains(text), is_expected, "{kind}, {status:?}: {listed:?}");
                }
            });
        }
    });
}

fn base_36(number: usize) -> String {
    let digit = |at| char::from_digit((number / 36usize.pow(at) % 36) as u32, 36).unwrap();
    (0..4).rev().map(digit).collect()
}

fn id_of(number: usize) -> String {
    format!("20200101T00{:02}{:02}000Z-0123456789abcdef", number / 60, number % 60)
}

#[test]
fn an_error_does_not_quote_megabytes_of_the_store() {
    const SNAPSHOTS: usize = 16;
    let (places, stored) = Place::both();
    let text = format!("\"{}\"", "\u{7f}".repeat(1_000_000));
    for place in places {
        for (number, member) in
            ["/labels", "/name", "/files", "/format_version"].into_iter().cycle().take(SNAPSHOTS).enumerate()
        {
            place.put(&stored.under_with(&id_of(number), member, &text));
        }
        for args in [&["list"][..], &["list", "--json"], &["verify", "--all"]] {
            let result = place.run(args);
            assert_eq!(result.exit_code, Some(3), "{args:?}: {}", result.stderr);
            assert!(result.stdout.len() + result.stderr.len() < SNAPSHOTS * (32 << 10), "{args:?}");
        }
    }
}

/// Returns a snapshot of records with ids of a megabyte that are almost the same, with its sections as a program stored
/// them that had no limit for what they expand to.
fn with_long_ids() -> (Sandbox, StoredSnapshot) {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let db = sandbox.path("a.db");
    let before = RawRows::of_file(&db);
    let mut rows = before.clone();
    let vector = before.vectors.values().next().unwrap().clone();
    for number in 0..71 {
        rows.vectors.insert(format!("{}{number:02}", "a".repeat((1 << 20) - 2)).into_bytes(), vector.clone());
    }
    rows.write_over(&before, &db);
    let created = sandbox.run(&["create", "--db", "a.db", "--json"]);
    assert_eq!(created.exit_code, Some(0), "{}", created.stderr);
    let created: Value = serde_json::from_str(&created.stdout).unwrap();
    let stored = StoredSnapshot::read(&sandbox.path("snapshots"), created["snapshot"]["id"].as_str().unwrap());
    let deflated = stored.with_section("directory", &stored.section("directory"));
    (sandbox, deflated)
}

#[test]
fn many_settings_are_stored_and_restored() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let before = RawRows::of_file(&sandbox.path("a.db"));
    let mut rows = before.clone();
    (0..70_000).for_each(|row| drop(rows.config.insert(format!("setting-{row}").into_bytes(), b"x".to_vec())));
    rows.write_over(&before, &sandbox.path("a.db"));
    for args in [&["create", "--db", "a.db"][..], &["verify", "latest"], &["restore", "latest", "--to", "b.db"]] {
        let result = limited(&sandbox.command(args), ENOUGH_KIB);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
    }
    assert!(RawRows::of_file(&sandbox.path("b.db")).config == rows.config);
}

#[test]
fn long_ids_that_compress_to_nothing_are_read_as_they_were_always_stored() {
    let (sandbox, stored) = with_long_ids();
    for name in ["directory", "leaves"] {
        let section = stored.metadata().section(name).unwrap().clone();
        assert!(section.raw_bytes > 64 << 20 && section.bytes < section.raw_bytes / 500, "{section:?}");
    }
    stored.repair();
    let id = stored.id.as_str();
    for args in [&["list"][..], &["verify", id], &["restore", id, "--to", "b.db"]] {
        let result = limited(&sandbox.command(args), 2 * ENOUGH_KIB);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
    }
    let (restored, original) = (RawRows::of_file(&sandbox.path("b.db")), RawRows::of_file(&sandbox.path("a.db")));
    assert!(restored.vectors == original.vectors);
}

/// The floors that OPERATIONS.md documents, in MiB, on two processors.
#[test]
fn every_command_works_at_the_documented_floor() {
    let (places, _) = Place::both();
    let large = places[0].sandbox().path("large.db");
    make_large_database(&large, 100_000, 384);
    for place in &places {
        if !place.sandbox().path("large.db").exists() {
            fs::copy(&large, place.sandbox().path("large.db")).unwrap();
        }
        for (db, connections, floor_mib) in
            [("a.db", "4", 224), ("large.db", "4", 448), ("a.db", "1", 224), ("large.db", "1", 320)]
        {
            let kib = kib_on_this_machine(floor_mib);
            // It is of the other database.
            let restored = place.sandbox().path("b.db");
            if restored.exists() {
                fs::remove_file(restored).unwrap();
            }
            for args in [
                &["create", "--db", db][..],
                &["list"],
                &["verify", "latest"],
                &["restore", "latest", "--to", "b.db", "--force"],
            ] {
                let result = place.run_in(kib, &[args, &["--connections", connections]].concat());
                assert_eq!(result.exit_code, Some(0), "{db}, {floor_mib} MiB, {connections}: {args:?}: {result:?}");
            }
        }
    }
}
