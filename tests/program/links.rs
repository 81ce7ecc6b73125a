//! Symbolic links inside a store in a directory: no command reads, changes or removes what is behind one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use test_fixtures::make_old;

use super::sandbox::{Sandbox, files_below};

/// Moves a file or directory of the default store out of it, and puts a link in its place. Returns the new path.
fn replace_by_link(sandbox: &Sandbox, name: &str) -> PathBuf {
    let (path, moved) = (sandbox.path(&format!("snapshots/{name}")), sandbox.path("elsewhere").join(name));
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(&path, &moved).unwrap();
    symlink(&moved, &path).unwrap();
    moved
}

#[test]
fn a_link_in_place_of_a_snapshot_is_not_followed_by_any_command() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    let directory = format!("snapshot-{}", ids[0]);
    replace_by_link(&sandbox, &directory);
    let before = files_below(&sandbox.path("elsewhere"));

    let (exit_code, listed) = sandbox.json(&["list"]);
    assert_eq!((exit_code, &listed["foreign"]), (1, &0.into()), "{listed}");
    assert_eq!(listed["unusable"][0]["id"], ids[0].as_str(), "{listed}");
    assert_eq!(sandbox.ids(), [ids[2].as_str(), &ids[1]]);
    let listed = sandbox.run(&["list"]);
    let line = listed.stdout.lines().find(|line| line.starts_with(&ids[0])).unwrap_or_else(|| panic!("{listed:?}"));
    for part in ["  UNREADABLE  ", "is a symbolic link", "put what it points to in its place, or remove it"] {
        assert!(line.contains(part), "{part}: {listed:?}");
    }
    let verified = sandbox.run(&["verify", "--all"]);
    assert_eq!(verified.exit_code, Some(1), "{verified:?}");
    assert!(verified.stdout.ends_with("2 snapshots intact, 1 not verified\n"), "{verified:?}");
    assert!(verified.stdout.contains(&format!("{}  NOT VERIFIED: ", ids[0])), "{verified:?}");
    let status = sandbox.run(&["status"]);
    assert_eq!(status.exit_code, Some(4), "{status:?}");
    assert!(status.stdout.contains("is a symbolic link"), "{status:?}");
    for args in [
        &["show", &ids[0]][..],
        &["verify", &ids[0]],
        &["restore", &ids[0], "--to", "b.db"],
        &["create", "--db", "a.db", "--base", &ids[0]],
        &["pin", &ids[0]],
        &["delete", &ids[0]],
        &["delete", &ids[0], "--cascade"],
    ] {
        let result = sandbox.run(args);
        assert!(!matches!(result.exit_code, None | Some(0 | 101)), "{args:?}: {result:?}");
        assert!(result.stderr.starts_with("error: ") && result.stderr.contains(&ids[0]), "{args:?}: {result:?}");
        assert_eq!(files_below(&sandbox.path("elsewhere")), before, "{args:?}");
    }
    // The snapshot may depend on anything older, and nothing is.
    let pruned = sandbox.run(&["prune", "--keep-last", "1", "--grace", "0s"]);
    assert_eq!(pruned.exit_code, Some(1), "{pruned:?}");
    assert!(pruned.stdout.contains(", 1 deleted"), "{pruned:?}");
    assert_eq!(sandbox.ids(), [ids[2].as_str()]);
    assert_eq!(files_below(&sandbox.path("elsewhere")), before);
    assert!(sandbox.path(&format!("snapshots/{directory}")).is_symlink());
    assert_eq!(sandbox.names("."), ["a.db", "elsewhere", "snapshots"]);

    // As the message says.
    let path = sandbox.path(&format!("snapshots/{directory}"));
    fs::remove_file(&path).unwrap();
    fs::rename(sandbox.path("elsewhere").join(&directory), &path).unwrap();
    sandbox.ok(&["verify", "--all"]);
    assert_eq!(sandbox.ids(), [ids[2].as_str(), &ids[0]]);
}

#[test]
fn a_link_with_the_name_of_a_snapshot_is_listed_as_one_wherever_it_leads() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let lost = ids[0].replacen("20", "19", 1);
    for target in ["a.db", "nowhere", &format!("snapshots/snapshot-{}", ids[0])] {
        let link = sandbox.path(&format!("snapshots/snapshot-{lost}"));
        symlink(sandbox.path(target), &link).unwrap();
        let (exit_code, listed) = sandbox.json(&["list"]);
        assert_eq!((exit_code, &listed["unusable"][0]["id"]), (1, &lost.as_str().into()), "{target}: {listed}");
        assert_eq!(listed["unusable"][0]["error"]["kind"], "invalid_input", "{target}: {listed}");
        sandbox.run(&["prune", "--keep-last", "1", "--grace", "0s", "--exclusive"]);
        assert!(link.is_symlink(), "{target}");
        fs::remove_file(link).unwrap();
    }
    // Other links are nothing of a snapshot's.
    symlink("nowhere", sandbox.path("snapshots/link")).unwrap();
    let (exit_code, listed) = sandbox.json(&["list"]);
    assert_eq!((exit_code, &listed["foreign"]), (0, &1.into()), "{listed}");
}

/// A link in place of one file of a snapshot: nothing behind it changes, and the rest of the snapshot is not removed
/// as if it were abandoned.
#[test]
fn a_link_in_place_of_a_file_of_a_snapshot_is_not_followed_by_any_command() {
    for file in ["metadata.json", "vectors.bin.gz", "index.bin.gz", "checksum.sha256"] {
        let (sandbox, ids) = Sandbox::with_snapshots(2);
        replace_by_link(&sandbox, &format!("snapshot-{}/{file}", ids[0]));
        let before = files_below(&sandbox.path("elsewhere"));
        let own = sandbox.names(&format!("snapshots/snapshot-{}", ids[0]));
        // A collection leaves alone what is young.
        make_old(&sandbox.path("snapshots"));

        let refused = [Some(1), Some(3)];
        let verified = sandbox.run(&["verify", &ids[0]]);
        assert!(refused.contains(&verified.exit_code), "{file}: {verified:?}");
        let restored = sandbox.run(&["restore", &ids[0], "--to", "b.db"]);
        // A restore does not need the checksums of the files.
        let is_needed = file != "checksum.sha256";
        assert_eq!(refused.contains(&restored.exit_code), is_needed, "{file}: {restored:?}");
        let is_named = restored.stderr.contains(&format!("{file} is a symbolic link"));
        assert_eq!(is_named, is_needed, "{restored:?}");
        for args in [
            &["prune", "--keep-last", "2", "--grace", "0s"][..],
            &["prune", "--keep-last", "2", "--grace", "0s", "--exclusive"],
            &["list"],
            &["verify", "--all"],
        ] {
            sandbox.run(args);
            assert_eq!(sandbox.names(&format!("snapshots/snapshot-{}", ids[0])), own, "{file}: {args:?}");
        }
        let deleted = sandbox.run(&["delete", &ids[0], "--cascade"]);
        assert!(deleted.exit_code == Some(0) || refused.contains(&deleted.exit_code), "{file}: {deleted:?}");
        assert_eq!(files_below(&sandbox.path("elsewhere")), before, "{file}");
        assert!(sandbox.ids().contains(&ids[1]));
    }
}

/// The objects beside a snapshot that announce or protect: the marker of an upload or a deletion, and the pin.
#[test]
fn a_link_in_place_of_a_marker_is_not_followed_by_any_command() {
    for marker in ["upload.json", "deleting-0123456789abcdef", "pinned.json"] {
        let (sandbox, ids) = Sandbox::with_snapshots(2);
        fs::create_dir(sandbox.path("elsewhere")).unwrap();
        fs::write(sandbox.path("elsewhere/file"), "of somebody else").unwrap();
        for target in ["elsewhere/file", "elsewhere/missing"] {
            let link = sandbox.path(&format!("snapshots/snapshot-{}/{marker}", ids[0]));
            symlink(sandbox.path(target), &link).unwrap();
            for args in [
                &["pin", &ids[0]][..],
                &["unpin", &ids[0]],
                &["create", "--db", "a.db", "--base", &ids[0]],
                &["prune", "--keep-last", "9", "--grace", "0s"],
            ] {
                let result = sandbox.run(args);
                assert!(!matches!(result.exit_code, None | Some(101)), "{args:?}: {result:?}");
            }
            assert_eq!(fs::read(sandbox.path("elsewhere/file")).unwrap(), b"of somebody else");
            assert_eq!(sandbox.names("elsewhere"), ["file"]);
            assert!(link.is_symlink(), "{marker}");
            fs::remove_file(link).unwrap();
        }
        assert!(sandbox.ok(&["verify", "--all"]).ends_with("intact\n"));
    }
}
