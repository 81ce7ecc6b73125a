//! What `deploy/` has fits the program: metrics of alerts and of the dashboard, command lines, and configuration files.
//!
//! `.ci/deploy` checks the same files with the tools that read them. The example `deploy/ruvector-snapshot.toml` is tested in `config`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ruvector_snapshot::StaleReason;

use super::sandbox::{DIMENSIONS, Sandbox, create_database};

const PROGRAM: &str = "/usr/local/bin/ruvector-snapshot";

/// Where the pods of `deploy/kubernetes` have the database, the configuration file and the keys.
const MOUNTS: [&str; 3] = ["/data", "/etc/ruvector-snapshot", "/run/secrets/ruvector-snapshot"];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files below a directory whose names end with `end`, sorted.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("ruvector_snapshot_")).collect()
}

/// Returns the names of the series of a text, which are those of the metrics, and `_total` of those that count.
fn series_in(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn alerts_and_the_dashboard_use_the_metrics_that_there_are() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.ok(&["status", "--textfile", "metrics.prom"]);
    let of_status = series_in(&text(&sandbox.path("metrics.prom")));
    assert!(of_status.len() >= 13, "{of_status:?}");
    let of_daemon = series_in(&super::http::metrics::written());
    // Those of stores have one name, whichever command writes them.
    assert!(of_status.difference(&of_daemon).all(|name| name.contains("orphan")), "{of_daemon:?}");
    let written: BTreeSet<&str> = of_status.iter().chain(&of_daemon).map(String::as_str).collect();
    for file in files(&deploy("prometheus"), "rules.yaml").into_iter().chain(files(&deploy("prometheus"), "test.yaml"))
    {
        let text = text(&file);
        let used = metrics_in(&text);
        assert!(used.len() >= 5, "{}: {used:?}", file.display());
        assert!(used.is_subset(&written), "{}: {:?} is not written", file.display(), used.difference(&written));
    }
    let dashboard = text(&deploy("grafana/dashboard.json"));
    assert_eq!(metrics_in(&dashboard), written);
}

#[test]
fn alerts_name_reasons_that_there_are() {
    for file in files(&deploy("prometheus"), "rules.yaml").into_iter().chain(files(&deploy("prometheus"), "test.yaml"))
    {
        let text = text(&file);
        let mut named = BTreeSet::new();
        for matcher in text.split("reason").skip(1) {
            let matched = ["=~\"", "!~\"", "=\""].into_iter().find_map(|start| matcher.strip_prefix(start));
            named.extend(matched.into_iter().flat_map(|reasons| reasons.split('"').next().unwrap().split('|')));
        }
        assert!(named.len() >= 5, "{}: {named:?}", file.display());
        for reason in named {
            assert!(StaleReason::KINDS.contains(&reason), "{}: there is no reason {reason:?}", file.display());
        }
    }
}

#[test]
fn each_alert_is_tested_firing_and_silent() {
    let rules = text(&deploy("prometheus/ruvector-snapshot.rules.yaml"));
    let tests = text(&deploy("prometheus/ruvector-snapshot.rules.test.yaml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 9, "{alerts:?}");
    for alert in alerts {
        let fires = format!("expr: ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        assert!(tests.contains(&fires), "{alert} is not tested firing");
        let is_silent = |line: &str| line.contains(&format!("alertname: {alert},")) && line.contains("exp_alerts: []");
        assert!(tests.lines().any(is_silent), "{alert} is not tested silent");
    }
}

/// Returns the arguments of every command line in the units and in the manifests.
fn command_lines() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for file in files(&deploy("systemd"), ".service") {
        let text = text(&file);
        let command = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let (program, arguments) = command.split_once(' ').unwrap();
        assert_eq!(program, PROGRAM, "{}", file.display());
        // The name of a job is the instance of a unit.
        found.push(arguments.split_whitespace().map(|argument| argument.replace("%i", "nightly")).collect());
    }
    for file in files(&deploy("kubernetes"), ".yaml") {
        let text = text(&file);
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("args: "));
        // A list on one line is JSON, too.
        found.extend(lines.map(|list| serde_json::from_str::<Vec<String>>(list).unwrap()));
    }
    let text = text(&deploy("compose.yaml"));
    let lists = text.lines().filter_map(|line| line.trim().strip_prefix("command: "));
    let lists = lists.filter_map(|list| serde_json::from_str::<Vec<String>>(list).ok());
    found.extend(lists.filter(|list| list.contains(&"--config".to_owned())));
    found
}

#[test]
fn every_command_line_is_one_of_the_program() {
    let (sandbox, commands) = (Sandbox::empty(), command_lines());
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = sandbox.ok(&arguments);
        assert!(help.contains(&format!("Usage: ruvector-snapshot {}", command[0])), "{command:?}: {help}");
        // The options before --help were parsed: a mistyped one ends it.
        arguments.insert(1, "--no-such-option");
        sandbox.run(&arguments).assert_fails(2, "--no-such-option");
        let config = command.iter().position(|argument| argument == "--config").unwrap();
        assert_eq!(command[config + 1], "/etc/ruvector-snapshot/ruvector-snapshot.toml");
    }
}

#[test]
fn jobs_that_are_run_by_name_are_in_the_configuration_files() {
    let configurations = [&files(&deploy("kubernetes"), ".toml")[..], &[deploy("ruvector-snapshot.toml")]].concat();
    let mut names = 0;
    for command in command_lines() {
        let Some(once) = command.iter().position(|argument| argument == "--once") else { continue };
        names += 1;
        let name = format!("name = \"{}\"", command[once + 1]);
        for file in &configurations {
            assert!(text(file).lines().any(|line| line == name), "{}: no job has {name}", file.display());
        }
    }
    assert_eq!(names, 2);
}

#[test]
fn units_restrict_the_program_in_the_same_way() {
    let restrictions: BTreeSet<String> = files(&deploy("systemd"), ".service")
        .iter()
        .map(|file| {
            let text = text(file);
            let (_, after) = text.split_once("# ---- What the process may do").unwrap();
            after.split("\n\n").next().unwrap().trim_end().to_owned()
        })
        .collect();
    assert_eq!(restrictions.len(), 1, "{restrictions:#?}");
}

#[test]
fn the_configuration_files_of_pods_are_good() {
    let sandbox = Sandbox::empty();
    let [data, _, secrets] = MOUNTS;
    create_database(&sandbox.path("vectors.db"), 2, DIMENSIONS);
    for key in ["access-key-id", "secret-access-key"] {
        fs::write(sandbox.path(key), "key").unwrap();
        fs::set_permissions(sandbox.path(key), fs::Permissions::from_mode(0o440)).unwrap();
    }
    let here = sandbox.path(".").to_str().unwrap().trim_end_matches("/.").to_owned();
    let files = files(&deploy("kubernetes"), ".toml");
    assert_eq!(files.len(), 4, "{files:?}");
    let mut of_the_database = BTreeSet::new();
    for file in files {
        let text = text(&file);
        of_the_database.insert(text.split_once("[databases.").unwrap().1.to_owned());
        let text = text.replace(&format!("\"{data}/"), &format!("\"{here}/"));
        let text = text.replace(&format!("\"file:{secrets}/"), &format!("\"file:{here}/"));
        for text in [text.replace("\n#retention = ", "\nretention = "), text] {
            fs::write(sandbox.path("pod.toml"), text).unwrap();
            let result = sandbox.run(&["config", "check", "--config", "pod.toml"]);
            assert_eq!(result.exit_code, Some(0), "{}: {result:?}", file.display());
        }
    }
    // An overlay differs in the store.
    assert_eq!(of_the_database.len(), 1, "{of_the_database:#?}");
}

#[test]
fn compose_has_a_daemon_whose_configuration_is_good_and_that_prometheus_scrapes() {
    let (sandbox, compose) = (Sandbox::empty(), text(&deploy("compose.yaml")));
    let (_, file) = compose.split_once("  ruvector-snapshot.toml:\n    content: |\n").unwrap();
    let lines = file.lines().take_while(|line| line.is_empty() || line.starts_with("      "));
    let file: String = lines.map(|line| format!("{}\n", line.trim_start())).collect();
    create_database(&sandbox.path("vectors.db"), 2, DIMENSIONS);
    let here = sandbox.path("vectors.db").to_str().unwrap().to_owned();
    fs::write(sandbox.path("compose.toml"), file.replace("/data/vectors.db", &here)).unwrap();
    let mut command = sandbox.command(&["config", "check", "--config", "compose.toml"]);
    let result = command.envs([("BACKUP_ACCESS_KEY", "key"), ("BACKUP_SECRET_KEY", "secret")]).output().unwrap();
    assert!(result.status.success(), "{result:?}");
    for variable in file.split("env:").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(
            compose.contains(&format!("      {variable}: ${{{variable}:?")),
            "{variable} is not in the environment"
        );
    }
    let scraped = text(&deploy("prometheus/prometheus.yaml"));
    assert!(scraped.contains("targets: [\"daemon:8462\"]") && compose.contains("\n  daemon:\n"), "{scraped}");
    assert!(compose.contains("\"--listen\", \"0.0.0.0:8462\"") && compose.contains("./prometheus:/etc/prometheus:ro"));
    let rules = scraped.split("rule_files: [").nth(1).unwrap().split(']').next().unwrap();
    assert!(deploy("prometheus").join(rules).is_file(), "{rules}");
    // The page has no password.
    let ports =
        compose.lines().filter_map(|line| line.trim().strip_prefix("- \"")).filter(|port| port.contains(":8462"));
    assert!(ports.clone().count() == 1 && ports.clone().all(|port| port.starts_with("127.0.0.1:")));
}

#[test]
fn pods_have_what_their_configuration_names() {
    for manifest in ["cronjob/nightly.yaml", "sidecar/deployment.yaml"] {
        let text = text(&deploy("kubernetes").join(manifest));
        for path in MOUNTS {
            let mount = format!("mountPath: {path}");
            let at = text.lines().position(|line| line.trim() == mount);
            assert!(at.is_some(), "{manifest}: {mount} is missing");
        }
        // The program reads a database, and needs no permission to write beside it. The application comes first.
        let of_the_program = text.split("image: ruvector-snapshot").nth(1).unwrap();
        assert!(of_the_program.contains("mountPath: /data\n") && text.contains("claimName: application-data"));
        let (_, data) = of_the_program.split_once("mountPath: /data\n").unwrap();
        assert!(data.trim_start().starts_with("readOnly: true"), "{manifest}");
    }
}
