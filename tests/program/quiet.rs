//! `--quiet`: nothing after success, unless the output is the purpose of the command.

use super::sandbox::Sandbox;

#[test]
fn quiet_commands_print_nothing_after_success() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let quiet = |args: &[&str]| {
        let result = sandbox.run(&[args, &["--quiet"]].concat());
        assert_eq!((result.exit_code, &*result.stdout, &*result.stderr), (Some(0), "", ""), "{args:?}");
    };
    quiet(&["create", "--db", "a.db", "--name", "more", "--base", "one"]);
    quiet(&["verify", "one"]);
    quiet(&["verify", "one", "more"]);
    quiet(&["verify", "--all"]);
    quiet(&["restore", "one", "--to", "b.db"]);
    quiet(&["restore", "one", "--to", "part.db", "--id", "id-000001"]);
    quiet(&["restore", "one", "--to", "b.db", "--merge"]);
    quiet(&["export", "one", "--to", "exported"]);
    quiet(&["drill", "one"]);
    quiet(&["copy", "--all", "--to", "copies"]);
    quiet(&["compact", "more"]);
    quiet(&["pin", "one"]);
    quiet(&["unpin", "one"]);
    quiet(&["store", "check"]);
    quiet(&["prune", "--keep", "9"]);
    quiet(&["delete", &ids[0], "--cascade"]);
}

#[test]
fn commands_whose_output_is_their_purpose_print_it_with_quiet_too() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let (first, second) = (ids[0].as_str(), ids[1].as_str());
    for (args, printed) in [
        (&["list"][..], "2 snapshots, "),
        (&["show", first], "  checksum  "),
        (&["find", "id-000001"], "added"),
        (&["diff", first, second], "the snapshots are equal"),
        (&["search", first, "--like", "id-000001"], "RANK"),
        (&["dump", first, "--id", "id-000001"], "{\"id\":\"id-000001\""),
        (&["store", "options", "s3"], "region"),
        (&["completions", "bash"], "complete"),
        (&["version"], "ruvector-snapshot "),
        (&["delete", first, "--dry-run"], "would delete"),
        (&["prune", "--keep", "1", "--dry-run"], "would keep 1 snapshot"),
        (&["copy", "--all", "--to", "copies", "--dry-run"], "would copy 2 snapshots"),
        (&["restore", first, "--to", "b.db", "--dry-run"], "would restore"),
        (&["verify", first, "--json"], "\"state\": \"intact\""),
        (&["verify", first, "--dry-run"], "would verify"),
        (&["pin", first, "--dry-run"], "would pin"),
        (&["unpin", first, "--dry-run"], "is not pinned"),
        (&["annotate", first, "--note", "text", "--dry-run"], "would annotate"),
        (&["store", "check", "--dry-run"], "would check"),
    ] {
        let output = sandbox.ok(&[args, &["--quiet"]].concat());
        assert!(output.contains(printed), "{args:?}: {output}");
    }
}

#[test]
fn quiet_commands_print_what_is_wrong() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let file = sandbox.stored(&ids[0], "vectors.bin.gz");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    for args in [&["verify", &ids[0]][..], &["verify", &ids[0], &ids[1]], &["verify", "--all"]] {
        let result = sandbox.run(&[args, &["--quiet"]].concat());
        assert_eq!(result.exit_code, Some(3), "{result:?}");
        assert!(result.stdout.contains(&format!("{}  CORRUPT: ", ids[0])), "{result:?}");
        assert!(!result.stdout.contains(&format!("{}  intact", ids[1])), "{result:?}");
    }
    let failed = sandbox.run(&["verify", "nothing", "--quiet"]);
    assert!(failed.stderr.starts_with("error: "), "{failed:?}");
}
