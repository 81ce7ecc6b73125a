//! What a killed restore has left is removed by the next restore to the same place, and nothing else is.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

use test_servers::{Fault, Request};

use super::bucket::{Bucket, ROWS};
use super::refused_sync::refusals;
use super::sandbox::{RunResult, Sandbox, after, assert_holds, create_database};

const INFIX: &str = ".restoring-";
/// A run may end before it is killed. The test then tries again.
const ATTEMPTS: usize = 20;

fn temporaries(sandbox: &Sandbox) -> Vec<String> {
    sandbox.names(".").into_iter().filter(|name| name.contains(INFIX)).collect()
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

/// Starts a restore that waits for an answer of the server after it has created its temporary file, and returns it and the
/// name of that file.
fn waiting_restore(bucket: &Bucket, args: &[&str]) -> (Child, String) {
    let before = temporaries(&bucket.sandbox);
    let mut is_held = false;
    bucket.server.wire().set(move |request: &Request, _| {
        let holds = !is_held && request.is_get() && request.key().ends_with("vectors.bin.gz");
        is_held |= holds;
        holds.then_some(Fault::Hang)
    });
    bucket.server.wire().reset_log();
    let mut command = bucket.command(&[&["restore", "one", "-o", "stall_timeout=3s"], args].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waits = |request: &Request| request.is_get() && request.key().ends_with("vectors.bin.gz");
    while !bucket.server.wire().requests().iter().any(waits) {
        assert!(is_running(&mut child), "the restore ended without reading vectors");
        thread::yield_now();
    }
    let new: Vec<_> = temporaries(&bucket.sandbox).into_iter().filter(|name| !before.contains(name)).collect();
    let [name] = new.as_slice() else { panic!("not one new temporary file: {new:?}") };
    (child, name.clone())
}

#[track_caller]
fn assert_reports_removal(result: &RunResult, name: &str) {
    assert_eq!(result.exit_code, Some(5), "{result:?}");
    let warning = result.stderr.lines().find(|line| line.starts_with("warning: ") && line.contains(name));
    let warning = warning.unwrap_or_else(|| panic!("no warning names {name}: {result:?}"));
    assert!(warning.contains(" bytes) was removed: a restore to this path that was killed had left it"), "{warning}");
}

#[test]
fn the_next_restore_removes_the_file_of_a_killed_one() {
    for bucket in Bucket::both() {
        bucket.create("one");
        let mut names = Vec::new();
        for _ in 0..2 {
            let (mut child, name) = waiting_restore(&bucket, &["--to", "b.db"]);
            child.kill().unwrap();
            child.wait().unwrap();
            names.push(name);
            bucket.server.wire().clear();
        }
        // The second one has removed the file of the first.
        assert_eq!(temporaries(&bucket.sandbox), names[1..]);
        // A restore to another place removes nothing.
        bucket.ok(&["restore", "one", "--to", "c.db"]);
        assert_eq!(temporaries(&bucket.sandbox), names[1..]);
        let result = bucket.run(&["restore", "one", "--to", "b.db"]);
        assert_reports_removal(&result, &names[1]);
        assert_eq!(bucket.sandbox.names("."), ["a.db", "b.db", "c.db"]);
        assert_holds(&bucket.sandbox.path("b.db"), ROWS, 8);
    }
}

#[test]
fn a_restore_from_a_directory_that_is_killed_at_any_moment_leaves_nothing_for_long() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 10_000, 64);
    sandbox.create("one");
    for _ in 0..ATTEMPTS {
        let mut command = sandbox.command(&["restore", "one", "--to", "b.db"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while temporaries(&sandbox).is_empty() && is_running(&mut child) {
            thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if let [name] = temporaries(&sandbox).as_slice() {
            let (exit_code, document) = sandbox.json(&["restore", "one", "--to", "b.db"]);
            assert_eq!(exit_code, 5, "{document}");
            let warnings = document["warnings"].as_array().unwrap();
            assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains(name)), "{document}");
            assert_eq!(sandbox.names("."), ["a.db", "b.db", "snapshots"]);
            assert_holds(&sandbox.path("b.db"), 10_000, 64);
            return;
        }
        fs::remove_file(sandbox.path("b.db")).unwrap();
    }
    panic!("every restore was done before it could be killed");
}

#[test]
fn the_file_of_a_restore_that_is_running_stays() {
    for bucket in Bucket::both() {
        bucket.create("one");
        let (child, name) = waiting_restore(&bucket, &["--to", "b.db", "--force"]);
        let result = bucket.run(&["restore", "one", "--to", "b.db"]);
        assert_eq!((result.exit_code, result.stderr.contains("warning")), (Some(0), false), "{result:?}");
        assert_eq!(temporaries(&bucket.sandbox), [name]);
        bucket.server.wire().clear();
        let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
        assert_eq!(result.exit_code, Some(0), "{result:?}");
        assert_eq!(bucket.sandbox.names("."), ["a.db", "b.db"]);
        assert_holds(&bucket.sandbox.path("b.db"), ROWS, 8);
    }
}

#[test]
fn files_with_other_names_and_of_other_types_stay() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let kept = [
        ".b.db.restoring-abcde",
        ".b.db.restoring-abcdefg",
        ".b.db.restoring-abc.ef",
        ".c.db.restoring-abcdef",
        "b.db.restoring-abcdef",
    ];
    for name in kept {
        fs::write(sandbox.path(name), "precious").unwrap();
    }
    symlink("a.db", sandbox.path(".b.db.restoring-abcde1")).unwrap();
    fs::create_dir(sandbox.path(".b.db.restoring-abcde2")).unwrap();
    let before = sandbox.names(".");
    let result = sandbox.run(&["restore", "one", "--to", "b.db"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    let after: Vec<_> = sandbox.names(".").into_iter().filter(|name| name != "b.db").collect();
    assert_eq!(after, before);
    assert_holds(&sandbox.path("a.db"), ROWS, 8);
}

/// Returns what a database of redb begins with. Its magic number is written last.
fn database_start(magic: &[u8; 9]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend([4, 0, 0]);
    bytes.extend(4096_u32.to_le_bytes());
    bytes.extend([7; 5000]);
    bytes
}

#[test]
fn a_file_stays_that_has_the_name_of_that_of_a_killed_restore_and_no_database() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let late = [vec![0; 200_000], b"notes".to_vec()].concat();
    let no_database: [&[u8]; 7] = [
        b"my notes",
        b"r",
        b"redb",
        b"redb is a database",
        &late,
        &database_start(b"redb\x1a\x0a\xa9\x0d\x0d"),
        b"\0n",
    ];
    let name = |number| format!(".b.db.restoring-notes{number}");
    for (number, contents) in no_database.iter().enumerate() {
        fs::write(sandbox.path(&name(number)), contents).unwrap();
    }
    let result = sandbox.run(&["restore", "one", "--to", "b.db"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    // Also where they cannot be locked.
    let mut command = sandbox.command(&["restore", "one", "--to", "b.db", "--force"]);
    command.env("LD_PRELOAD", refusals()).env("REFUSE_LOCK_OF", sandbox.path(&name(0)));
    let result = RunResult::from(command.output().unwrap());
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    for (number, contents) in no_database.iter().enumerate() {
        assert_eq!(fs::read(sandbox.path(&name(number))).unwrap(), *contents, "{number}");
    }
}

#[test]
fn the_file_of_a_killed_restore_is_removed_however_far_the_database_was() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let begun: [&[u8]; 5] =
        [b"", &[0; 5], &[0; 200_000], &database_start(&[0; 9]), &database_start(b"redb\x1a\x0a\xa9\x0d\x0a")];
    for contents in begun {
        fs::write(sandbox.path(".b.db.restoring-abcdef"), contents).unwrap();
        let result = sandbox.run(&["restore", "one", "--to", "b.db", "--force"]);
        assert_reports_removal(&result, ".b.db.restoring-abcdef");
        assert_eq!(temporaries(&sandbox), Vec::<String>::new());
    }
}

#[test]
fn what_was_removed_is_reported_although_the_restore_is_refused() {
    for bucket in Bucket::both() {
        bucket.create("one");
        for arguments in
            [&["restore", "one", "--to", "b.db"][..], &["restore", "one", "--to", "b.db", "--quiet", "--json"]]
        {
            let leftover = bucket.sandbox.path(".b.db.restoring-abcdef");
            fs::write(&leftover, [0; 5000]).unwrap();
            let output = after("ulimit -f 8", &bucket.command(arguments)).output().unwrap();
            let result = RunResult::from(output).without_secrets();
            assert_eq!(result.exit_code, Some(1), "{result:?}");
            assert!(result.stderr.contains("the restored file will have at least"), "{result:?}");
            let removed =
                ".b.db.restoring-abcdef (5000 bytes) was removed: a restore to this path that was killed had left it";
            assert_eq!(result.stderr.matches(removed).count(), 1, "{result:?}");
            assert_eq!(result.stdout.contains(removed), arguments.contains(&"--json"), "{result:?}");
            assert!(!leftover.exists());
        }
    }
}

#[test]
fn without_locks_the_file_stays_and_is_named() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let name = ".b.db.restoring-abcdef";
    fs::File::create(sandbox.path(name)).unwrap().write_all(&[0; 5000]).unwrap();
    let mut command = sandbox.command(&["restore", "one", "--to", "b.db"]);
    command.env("LD_PRELOAD", refusals()).env("REFUSE_LOCK_OF", sandbox.path(name));
    let result = RunResult::from(command.output().unwrap());
    result.assert_warns(".b.db.restoring-abcdef (5000 bytes) may be left of a restore");
    assert!(sandbox.path(name).exists());
    // And so it is while another program holds its lock, which needs no word.
    let owner = fs::File::open(sandbox.path(name)).unwrap();
    owner.lock().unwrap();
    let result = sandbox.run(&["restore", "one", "--to", "b.db", "--force"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    drop(owner);
    let result = sandbox.run(&["restore", "one", "--to", "b.db", "--force"]);
    assert_reports_removal(&result, name);
    assert!(!sandbox.path(name).exists());
}

/// Who can write to the directory can give the name of the temporary file to a link, before the restored file gets the
/// owner and the permissions of the one that it replaces.
#[test]
fn a_link_in_the_place_of_the_temporary_file_is_neither_changed_nor_restored() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for bucket in Bucket::both() {
        bucket.create("one");
        let [old, other] = ["b.db", "c.db"].map(|name| bucket.sandbox.path(name));
        // It passes the verification.
        bucket.ok(&["restore", "one", "--to", "c.db"]);
        fs::write(&old, "old").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o640)).unwrap();
        let (child, name) = waiting_restore(&bucket, &["--to", "b.db", "--force"]);
        let temporary = bucket.sandbox.path(&name);
        fs::rename(&temporary, bucket.sandbox.path("moved")).unwrap();
        symlink(&other, &temporary).unwrap();
        bucket.server.wire().clear();
        let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
        assert_eq!(result.exit_code, Some(1), "{result:?}");
        assert!(result.stderr.contains("another program has removed or replaced the temporary file"), "{result:?}");
        assert_eq!((mode(&other), fs::read(&old).unwrap()), (0o600, b"old".to_vec()));
        assert_holds(&other, ROWS, 8);
    }
}

/// Waits until there is a directory of a demo with something in it. Returns whether the demo is still running.
fn demo_has_begun(directory: &Path, demo: &mut Child) -> bool {
    let has_begun = |name: &String| !test_fixtures::names(&directory.join(name)).is_empty();
    while !test_fixtures::names(directory).iter().any(has_begun) {
        if !is_running(demo) {
            return false;
        }
        thread::yield_now();
    }
    true
}

#[test]
fn the_next_demo_removes_the_directory_of_a_killed_one_and_not_that_of_a_running_one() {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("tmp")).unwrap();
    let demo = || {
        let mut command = sandbox.command(&["demo"]);
        command.env("TMPDIR", sandbox.path("tmp")).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let mut killed = demo().spawn().unwrap();
    assert!(demo_has_begun(&sandbox.path("tmp"), &mut killed));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let dead = sandbox.names("tmp");
    assert_eq!(dead.len(), 1);

    let mut running = demo().spawn().unwrap();
    while sandbox.names("tmp").iter().all(|name| *name == dead[0]) {
        assert!(is_running(&mut running));
        thread::yield_now();
    }
    let result = RunResult::from(demo().output().unwrap());
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let other = RunResult::from(running.wait_with_output().unwrap());
    assert_eq!(other.exit_code, Some(0), "{other:?}");
    let removed = format!("{}{}", result.stderr, other.stderr);
    assert!(removed.contains(&format!("{} (", dead[0])), "{result:?} {other:?}");
    assert!(removed.contains(" bytes) was removed: a demo that was killed had left it"), "{result:?} {other:?}");
    assert_eq!(sandbox.names("tmp"), Vec::<String>::new());
}

#[test]
fn a_directory_that_has_the_name_of_that_of_a_killed_demo_stays() {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("tmp")).unwrap();
    let named = "tmp/ruvector-snapshot-demo-backup";
    sandbox.ok(&["demo", named]);
    let before = sandbox.names(named);
    let result = RunResult::from(sandbox.command(&["demo"]).env("TMPDIR", sandbox.path("tmp")).output().unwrap());
    assert_eq!((result.exit_code, result.stderr.contains("removed")), (Some(0), false), "{result:?}");
    assert_eq!(
        (sandbox.names("tmp"), sandbox.names(named)),
        (vec!["ruvector-snapshot-demo-backup".to_owned()], before)
    );
}
