//! The help of each command, and the manual pages, which are made from it.

use std::fs;
use std::process::Command;

use super::sandbox::{RunResult, Sandbox};

/// Returns the names of the commands that the help of the program, or of a command, lists.
fn commands_in(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

/// Returns the arguments that name each command, for example `["store", "check"]`.
pub(crate) fn every_command(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for name in commands_in(&sandbox.ok(&["--help"])) {
        let below = commands_in(&sandbox.ok(&[&name, "--help"]));
        commands.extend(below.into_iter().map(|below| vec![name.clone(), below]));
        commands.push(vec![name]);
    }
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

#[test]
fn the_help_of_a_command_leads_with_what_it_does_and_ends_with_the_global_options() {
    let sandbox = Sandbox::empty();
    for command in every_command(&sandbox) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = sandbox.ok(&[&command[..], &["--help"]].concat());
        let usage = help.find("\nUsage: ruvector-snapshot ").unwrap();
        assert!(!help.starts_with("Usage") && usage > 10, "{help}");
        let (own, global) = help.split_once("\nGlobal options (").unwrap();
        assert!(!own.contains("--store <LOCATION>") && global.contains("--store <LOCATION>"), "{help}");
        assert!(global.lines().all(|line| !line.is_empty() && line.chars().count() <= 80), "{global}");
        // The same by another way, as other programs have it.
        assert_eq!(sandbox.ok(&[&["help"], &command[..]].concat()), help);
        let short = sandbox.ok(&[&command[..], &["-h"]].concat());
        assert!(short.lines().count() <= help.lines().count() && !short.contains("--store <LOCATION>"), "{short}");
    }
    assert!(sandbox.ok(&["--help"]).starts_with("Consistent, verified backups for Ruvector vector databases."));
    assert!(sandbox.names(".").is_empty());
}

#[test]
fn help_takes_the_options_that_ask_for_help_and_ignores_json() {
    let sandbox = Sandbox::empty();
    let [whole, create] = [&["help"][..], &["help", "create"]].map(|args| sandbox.ok(args));
    for args in
        [&["help", "--help"][..], &["help", "-h"], &["help", "--json"], &["--json", "help"], &["-q", "help", "-h"]]
    {
        assert!(sandbox.ok(args) == whole, "{args:?}");
    }
    for args in [&["help", "create", "--json"][..], &["help", "create", "--help"], &["help", "--help", "create"]] {
        assert!(sandbox.ok(args) == create, "{args:?}");
    }
    // What is no word of a command is still refused, and a value that is called so is a value.
    sandbox.run(&["help", "--nonsense"]).assert_fails(2, "--nonsense");
    sandbox.run(&["show", "help", "--json"]).assert_fails(1, "the directory does not exist");
}

#[test]
fn a_usage_line_names_nothing_that_the_environment_gives() {
    let sandbox = Sandbox::empty();
    for (args, usage) in [
        (&["create"][..], "Usage: ruvector-snapshot create [OPTIONS] --db <FILE>\n"),
        (&["create", "--nonsense"], "Usage: ruvector-snapshot create [OPTIONS] --db <FILE>\n"),
        (&["restore", "latest"], "Usage: ruvector-snapshot restore [OPTIONS] --to <FILE> <ID>\n"),
    ] {
        let mut command = sandbox.command(args);
        command.env("RUVECTOR_SNAPSHOT_STORE", "canary-store").env("RUVECTOR_SNAPSHOT_SOURCE", "canary-source");
        let result = RunResult::from(command.output().unwrap());
        result.assert_fails(2, usage);
        assert!(!result.stderr.contains("canary"), "{result:?}");
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let sandbox = Sandbox::empty();
    let printed = sandbox.ok(&["man", "share/man/man1"]);
    let commands = every_command(&sandbox);
    assert_eq!(printed, format!("wrote {} pages to share/man/man1\n", commands.len() + 1));
    // A second run replaces them.
    sandbox.ok(&["man", "share/man/man1"]);
    assert_eq!(sandbox.names("share/man/man1").len(), commands.len() + 1);
    for command in commands.iter().map(|command| command.join("-")) {
        let page = fs::read_to_string(sandbox.path(&format!("share/man/man1/ruvector-snapshot-{command}.1"))).unwrap();
        for section in
            [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", "Global options", ".SH \"SEE ALSO\""]
        {
            assert!(page.contains(section), "{command}: {section} is not in {page}");
        }
    }
    let title = |name: &str| {
        let page = fs::read_to_string(sandbox.path(&format!("share/man/man1/{name}.1"))).unwrap();
        page.lines().find(|line| line.starts_with(".TH ")).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    // It is at both ends of the first line, and the name of the manual is between.
    assert_eq!(title("ruvector-snapshot-restore"), "restore");
    assert_eq!(title("ruvector-snapshot-store-check"), "store-check");
    assert_eq!(title("ruvector-snapshot"), "ruvector-snapshot");
    let page = fs::read_to_string(sandbox.path("share/man/man1/ruvector-snapshot.1")).unwrap();
    assert!(page.contains("Print one JSON document instead of text"), "a global option has no text: {page}");
    let page = sandbox.path("share/man/man1/ruvector-snapshot-prune.1");
    let formatted = Command::new("groff").args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(page).output();
    let Ok(formatted) = formatted.map(RunResult::from) else { return eprintln!("skipped: groff is not installed") };
    assert_eq!((formatted.exit_code, &*formatted.stderr), (Some(0), ""), "{formatted:?}");
    // Lines of examples are not filled.
    assert!(formatted.stdout.contains("prune --keep-within 14d --keep-quarterly 8 \\\n"), "{formatted:?}");
    fs::write(sandbox.path("file"), "").unwrap();
    sandbox.run(&["man", "file"]).assert_fails(2, "file: this is a file, and the pages need a directory");
}
