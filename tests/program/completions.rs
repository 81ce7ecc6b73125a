//! Completions: what a shell is offered while a command is typed, by the protocol of its script and in the shell itself.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox, files_below};

const ASK: &str = "RUVECTOR_SNAPSHOT_COMPLETE";

fn ask(command: &mut Command, line: &str) -> Vec<String> {
    let word = line.rsplit([' ', '=', ':', '@']).next().unwrap_or_default();
    command.args(["--", "ruvector-snapshot"]).env(ASK, "bash");
    command.env("RUVECTOR_SNAPSHOT_LINE", line).env("RUVECTOR_SNAPSHOT_WORD", word);
    let result = RunResult::from(command.output().unwrap());
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{line}: {result:?}");
    result.stdout.lines().map(str::to_owned).collect()
}

/// Returns what bash is offered for the end of a line.
fn offered(sandbox: &Sandbox, line: &str) -> Vec<String> {
    ask(&mut sandbox.command(&[]), line)
}

/// A sandbox with two snapshots that have labels, a source and names with a space and a slash, and a configuration file.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_rows(20);
    let create = |name: &str, label: &str| {
        sandbox.ok(&["create", "--db", "a.db", "--name", name, "--label", label, "--source", "articles:v1"]);
    };
    create("my backup", "host=db1");
    create("nightly/db", "team=a b");
    let text = "store = \"@local\"\n[stores.local]\nlocation = \"snapshots\"\n[stores.offsite]\nlocation = \"s3://b/p\"\n\
                [databases.docs]\npath = \"a.db\"\n[retention.standard]\nkeep_last = 1\n";
    fs::write(sandbox.path("ruvector-snapshot.toml"), text).unwrap();
    sandbox
}

#[test]
fn commands_options_and_values_are_offered() {
    let sandbox = sandbox();
    let ids = sandbox.ids();
    assert_eq!(offered(&sandbox, "ruvector-snapshot prun"), ["prune"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot verify --max-a"), ["--max-age"]);
    let offered_of_config = offered(&sandbox, "ruvector-snapshot config ");
    assert!(
        offered_of_config.starts_with(&["show".to_owned(), "check".to_owned(), "path".to_owned()]),
        "{offered_of_config:?}"
    );
    let mut expected = vec!["latest".to_owned(), "nightly/db".to_owned(), r"my\ backup".to_owned()];
    expected.extend(ids.clone());
    for command in [
        "show",
        "verify",
        "restore",
        "dump",
        "export",
        "diff",
        "diff latest",
        "drill",
        "search",
        "delete",
        "copy",
        "compact",
        "pin",
        "create --base",
        "verify latest",
        "diff --list x",
    ] {
        let offered = offered(&sandbox, &format!("ruvector-snapshot {command} "));
        let values: Vec<_> = offered.iter().filter(|value| !value.starts_with('-')).cloned().collect();
        assert_eq!(values, expected, "{command}");
    }
    assert_eq!(offered(&sandbox, &format!("ruvector-snapshot show {}", &ids[0][..19])).len(), 1);
    assert_eq!(offered(&sandbox, "ruvector-snapshot show lat"), ["latest"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot show nothing-like-it"), [""; 0]);
    // Only what bash replaces: it takes the words apart at these characters.
    assert_eq!(offered(&sandbox, "ruvector-snapshot show --store @o"), ["offsite"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot show --store=@o"), ["offsite"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot copy --all --to @l"), ["local"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot diff latest latest --to @"), ["local", "offsite"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot create --db @"), ["docs"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot prune --policy "), ["standard"]);
    let orders = ["taken", "name", "source", "records", "stored", "logical"];
    assert_eq!(offered(&sandbox, "ruvector-snapshot list --sort "), orders);
    assert_eq!(offered(&sandbox, "ruvector-snapshot list --columns no"), ["note"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot list --columns id,na"), ["id,name"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot create --source "), ["articles:v1"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot create --source articles:"), ["v1"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot prune --keep-label "), [r"team=a\ b", "host=db1"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot prune --keep-label host=d"), ["db1"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot annotate latest --remove "), ["team", "host"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot prune --group-by n"), ["name", "none"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot prune --group-by label:"), ["team", "host"]);
    // Only what is pinned can be unpinned.
    let unpinned = || offered(&sandbox, "ruvector-snapshot unpin ").into_iter().filter(|value| value.starts_with('2'));
    assert_eq!(unpinned().count(), 0);
    sandbox.ok(&["pin", &ids[0]]);
    assert_eq!(unpinned().collect::<Vec<_>>(), [ids[0].clone()]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot list --store @offsite -o regi"), ["region="]);
    // bash completes names of files better, with ~ and quotes.
    assert_eq!(offered(&sandbox, "ruvector-snapshot restore latest --to "), ["//files"]);
    assert_eq!(offered(&sandbox, "ruvector-snapshot create --db /sr"), ["//files"]);
}

#[test]
fn words_in_quotes_are_completed_in_them() {
    let sandbox = sandbox();
    let with_word = |line: &str, word: &str| {
        let mut command = sandbox.command(&["--", "ruvector-snapshot"]);
        command.env(ASK, "bash").env("RUVECTOR_SNAPSHOT_LINE", line).env("RUVECTOR_SNAPSHOT_WORD", word);
        RunResult::from(command.output().unwrap()).stdout
    };
    assert_eq!(with_word("ruvector-snapshot show 'my b", "my b"), "my backup");
    assert_eq!(with_word("ruvector-snapshot show \"my b", "my b"), "my backup");
    assert_eq!(with_word(r"ruvector-snapshot show my\ b", r"my\ b"), r"my\ backup");
}

#[test]
fn the_store_of_the_line_is_asked_and_nothing_is_written() {
    let bucket = Bucket::s3(S3Server::start());
    let id = bucket.create("offsite:1");
    let before = bucket.server.wire().requests().len();
    let ask_bucket = |line: &str| ask(&mut bucket.command(&[]), line);
    assert_eq!(ask_bucket("ruvector-snapshot show off"), ["offsite:1"]);
    assert_eq!(ask_bucket(&format!("ruvector-snapshot show {}", &id[..22])), [id.as_str()]);
    // Another store on the line applies before the environment. It does not exist, and is not created.
    assert_eq!(ask_bucket("ruvector-snapshot show --store elsewhere off"), [""; 0]);
    assert!(!bucket.sandbox.path("elsewhere").exists());
    let requests = bucket.server.wire().requests();
    assert!(requests.len() > before);
    assert!(
        requests[before..].iter().all(|request| ["GET", "HEAD"].contains(&request.method.as_str())),
        "{requests:?}"
    );

    let sandbox = sandbox();
    let files = files_below(&sandbox.path("."));
    assert_eq!(offered(&sandbox, "ruvector-snapshot delete my"), [r"my\ backup"]);
    assert!(files == files_below(&sandbox.path(".")));
}

#[test]
fn a_file_of_the_working_directory_makes_no_completion_ask_a_server() {
    let sandbox = sandbox();
    let server = S3Server::start();
    let text = format!(
        "store = \"@a\"\n[stores.a]\nlocation = \"s3://{}/a\"\n[stores.a.options]\nendpoint = \"{}\"\n\
         allow_http = true\naccess_key_id = \"file:key\"\nsecret_access_key = \"file:key\"\n",
        S3Server::BUCKET,
        server.endpoint()
    );
    let file = "ruvector-snapshot.toml";
    fs::write(sandbox.path(file), &text).unwrap();
    fs::write(sandbox.path("key"), "c4n4ry").unwrap();
    for line in ["ruvector-snapshot show l", "ruvector-snapshot diff a --to @a l"] {
        assert_eq!(offered(&sandbox, line), ["latest"]);
    }
    assert_eq!(offered(&sandbox, "ruvector-snapshot list --store @"), ["a"]);
    assert!(server.wire().requests().is_empty());
    // If it is named, it is asked.
    assert_eq!(offered(&sandbox, &format!("ruvector-snapshot show --config {file} l")), ["latest"]);
    assert!(!server.wire().requests().is_empty());
}

#[test]
fn an_endpoint_that_does_not_answer_ends_nothing_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = Sandbox::empty();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    for endpoint in [endpoint.as_str(), "http://127.0.0.1:9"] {
        let mut command = sandbox.command(&[]);
        command.env("RUVECTOR_SNAPSHOT_STORE", "s3://bucket/x").env("AWS_ENDPOINT_URL", endpoint);
        command.env("AWS_ALLOW_HTTP", "true").env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
        assert_eq!(ask(&mut command, "ruvector-snapshot show l"), ["latest"]);
    }
}

#[test]
fn nothing_that_is_wrong_is_printed_while_somebody_types() {
    let sandbox = sandbox();
    for (file, mode) in [("stoer = 1", 0o600), ("not toml", 0o600), ("", 0o646)] {
        fs::write(sandbox.path("ruvector-snapshot.toml"), file).unwrap();
        fs::set_permissions(sandbox.path("ruvector-snapshot.toml"), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(offered(&sandbox, "ruvector-snapshot show lat"), ["latest"]);
        assert_eq!(offered(&sandbox, "ruvector-snapshot prune --policy "), [""; 0]);
    }
    fs::remove_file(sandbox.path("ruvector-snapshot.toml")).unwrap();
    for line in [
        "",
        " ",
        "ruvector-snapshot",
        "ruvector-snapshot show 'x",
        "ruvector-snapshot show \\",
        "ruvector-snapshot show -",
        "ruvector-snapshot -- ",
        "ruvector-snapshot show --store",
        "ruvector-snapshot show --store= ",
        "ruvector-snapshot nothing x ",
        "ruvector-snapshot show --store s4://x la",
        "ruvector-snapshot show é\u{1b}",
        "ruvector-snapshot -oregion=x show l",
    ] {
        offered(&sandbox, line);
    }
    for (shell, arguments) in [
        ("zsh", &["--"][..]),
        ("zsh", &["--", "a"]),
        ("fish", &["--"]),
        ("fish", &["--", "a", "sh"]),
        ("elvish", &["--", "a"]),
        ("powershell", &["--", "a"]),
        ("bash", &["--"]),
        ("", &["--"]),
        ("nonsense", &["--", "a", "b"]),
    ] {
        for index in ["", "99", "-1", "0"] {
            let mut command = sandbox.command(arguments);
            command.env(ASK, shell).env("_CLAP_COMPLETE_INDEX", index);
            let result = RunResult::from(command.output().unwrap());
            assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{shell} {arguments:?} {result:?}");
        }
    }
}

#[test]
fn a_variable_of_the_environment_makes_no_command_a_question() {
    let sandbox = Sandbox::with_rows(20);
    for (name, value) in [("COMPLETE", "bash"), ("COMPLETE", "nonsense"), (ASK, "bash"), (ASK, "nonsense")] {
        let mut command = sandbox.command(&["create", "--db", "a.db"]);
        let result = RunResult::from(command.env(name, value).output().unwrap());
        assert!(result.exit_code == Some(0) && result.stdout.starts_with("created "), "{name} {value}: {result:?}");
    }
    assert_eq!(sandbox.ids().len(), 4);
    // Without the variable it is an argument that means nothing.
    assert_eq!(sandbox.run(&["--", "ruvector-snapshot", "sh"]).exit_code, Some(2));
}

#[test]
fn zsh_and_fish_are_told_names_and_ages() {
    let sandbox = sandbox();
    let id = sandbox.ids().remove(0);
    let mut command = sandbox.command(&["--", "ruvector-snapshot", "show", &id[..20]]);
    let fish = RunResult::from(command.env(ASK, "fish").output().unwrap()).stdout;
    assert_eq!(fish, format!("{id}\tnightly/db, just now\n"));
    let mut command = sandbox.command(&["--", "ruvector-snapshot", "show", "--source", "ar"]);
    command.env(ASK, "zsh").env("_CLAP_COMPLETE_INDEX", "2");
    let zsh = RunResult::from(command.args(["x"]).output().unwrap());
    assert_eq!((zsh.exit_code, zsh.stderr.as_str()), (Some(0), ""), "{zsh:?}");
}

/// Makes `bin/ruvector-snapshot`, and returns a command of a shell that finds it.
fn shell(sandbox: &Sandbox, program: &str, args: &[&str]) -> Command {
    let bin = sandbox.path("bin");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_program-under-test"), bin.join("ruvector-snapshot")).unwrap();
    }
    let mut command = sandbox.command_of(program, args);
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display())).env("TERM", "dumb");
    command
}

#[test]
fn the_script_of_bash_fills_the_list_of_bash() {
    let sandbox = sandbox();
    let script = r#"
        eval "$(ruvector-snapshot completions bash)"
        complete -p ruvector-snapshot
        ask() {
            COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=1
            _ruvector_snapshot ruvector-snapshot "$2" ""
            printf '<%s>' "${COMPREPLY[@]}"
            echo
        }
        ask "ruvector-snapshot verify --max-" "--max-"
        ask "ruvector-snapshot show my" "my"
        ask "ruvector-snapshot list --store=@o" "o"
        ask "ruvector-snapshot show nothing-like-it" "nothing-like-it"
    "#;
    let output = match shell(&sandbox, "bash", &["--norc", "-c", script]).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return println!("skipped: bash is not installed"),
        output => RunResult::from(output.unwrap()),
    };
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(output.stderr, "", "{output:?}");
    assert!(lines[0].contains("-F _ruvector_snapshot ruvector-snapshot"), "{output:?}");
    assert_eq!(lines[1..], ["<--max-age>", r"<my\ backup>", "<offsite>", "<>"], "{output:?}");
}

#[test]
fn a_real_bash_completes_on_a_terminal() {
    let sandbox = sandbox();
    let bash = "bash --norc --noprofile -i";
    let mut command = shell(&sandbox, "script", &["-qec", bash, "/dev/null"]);
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => return println!("skipped: script is not installed"),
        child => child.unwrap(),
    };
    let typed = "PS1=; eval \"$(ruvector-snapshot completions bash)\"\n\
                 ruvector-snapshot show --store @lo\tnightly\t\n\
                 ruvector-snapshot show my\t--js\t | grep -c '\"name\": \"my backup\"'\n\
                 ruvector-snapshot list --store=@lo\t| tail -n 1\n\
                 exit 0\n";
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let result = RunResult::from(child.wait_with_output().unwrap());
    let printed = &result.stdout;
    assert!(printed.contains("--store @local nightly/db"), "{printed}");
    assert!(printed.contains(r"show my\ backup --json"), "{printed}");
    assert!(printed.contains("--store=@local "), "{printed}");
    assert!(printed.contains("2 snapshots, ") && printed.contains("  nightly/db\r\n"), "{printed}");
    assert!(!printed.contains("error"), "{printed}");
}

#[test]
fn the_scripts_of_zsh_and_fish_are_accepted_by_them() {
    let sandbox = sandbox();
    let zsh = "autoload -U compinit && compinit -u -D && eval \"$(ruvector-snapshot completions zsh)\" && print $_comps[ruvector-snapshot]";
    let fish = "ruvector-snapshot completions fish | source; complete -C 'ruvector-snapshot show ni'";
    for (program, args, expected) in [
        ("zsh", ["-f", "-c", zsh], "_clap_dynamic_completer_ruvector_snapshot"),
        ("fish", ["--no-config", "-c", fish], "nightly/db"),
    ] {
        match shell(&sandbox, program, &args).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => println!("skipped: {program} is not installed"),
            output => {
                let result = RunResult::from(output.unwrap());
                assert!(result.stdout.contains(expected), "{result:?}");
            }
        }
    }
    for other in ["elvish", "powershell", "zsh", "fish"] {
        assert!(sandbox.ok(&["completions", other]).contains(ASK), "{other}");
    }
}
