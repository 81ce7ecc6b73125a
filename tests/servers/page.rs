//! A page of the documentation, run as it stands: on a machine that has nothing but the programs of this one.
//!
//! Every `sh` block is run, and every command of a `console` block. They are one session of bash, in the order of the
//! page. Each line of output that the page shows must be in what its command printed, with any numbers. A line
//! `NAME=…` is a value that a person fills in: the test has one for each.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The commands of a page, in their order.
pub(crate) struct Page {
    name: &'static str,
    steps: Vec<Step>,
}

/// What a person types, and the lines that the page says will be printed.
struct Step {
    input: String,
    shown: Vec<String>,
}

impl Page {
    /// Reads a page by its path in the repository. Commands that `is_skipped` are left out.
    pub(crate) fn read(name: &'static str, is_skipped: impl Fn(&str) -> bool) -> Self {
        let text = fs::read_to_string(sources().join(name)).unwrap();
        let mut steps = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let block = lines.by_ref();
            match line {
                "```sh" => {
                    let input: Vec<&str> = block.take_while(|line| *line != "```").collect();
                    steps.push(Step { input: input.join("\n"), shown: Vec::new() });
                }
                "```console" => console(block.take_while(|line| *line != "```"), &mut steps),
                // Compiled, or resolved, by other tests.
                "```rust,no_run" | "```toml" => block.take_while(|line| *line != "```").for_each(drop),
                "```" => panic!("{name} has a block of another kind than sh and console"),
                _ => {}
            }
        }
        steps.retain(|step: &Step| !is_skipped(&step.input));
        assert!(steps.len() > 5, "{} commands", steps.len());
        Self { name, steps }
    }

    /// Runs the commands in a home directory, and returns what each one printed.
    pub(crate) fn run(&self, home: &Path, values: &BTreeMap<&'static str, String>) -> Vec<String> {
        let mut script = "set -eu\n".to_owned();
        for (number, step) in self.steps.iter().enumerate() {
            let input: Vec<String> = step.input.lines().map(|line| filled_in(line, values)).collect();
            script += &format!("echo '@@ {number}'\n{}\n", input.join("\n"));
        }
        fs::write(home.join("page.sh"), script).unwrap();
        let printed = home.join("page.out");
        let output = File::create(&printed).unwrap();
        let status = machine(home).stdout(output.try_clone().unwrap()).stderr(output).status().unwrap();
        let printed = fs::read_to_string(printed).unwrap();
        println!("{printed}");
        assert!(status.success(), "a command of {} failed: {printed}", self.name);
        let outputs: Vec<String> = printed.split("@@ ").skip(1).map(str::to_owned).collect();
        assert_eq!(outputs.len(), self.steps.len());
        outputs
    }

    /// Asserts that each command printed the lines that the page shows, in their order.
    pub(crate) fn assert_shows(&self, outputs: &[String]) {
        for (step, output) in self.steps.iter().zip(outputs) {
            let mut printed = output.lines().map(without_numbers);
            for line in step.shown.iter().filter(|line| line.trim() != "...") {
                let line = without_numbers(line);
                assert!(
                    printed.any(|printed| printed == line),
                    "{} shows {line:?}, but {:?} printed:\n{output}",
                    self.name,
                    step.input
                );
            }
        }
    }
}

fn console<'a>(lines: impl Iterator<Item = &'a str>, steps: &mut Vec<Step>) {
    for line in lines {
        match line.strip_prefix("$ ") {
            Some(input) => steps.push(Step { input: input.to_owned(), shown: Vec::new() }),
            None => steps.last_mut().expect("a console block begins with a command").shown.push(line.to_owned()),
        }
    }
}

/// Returns a line with the value of `NAME=…`, if it has one.
fn filled_in(line: &str, values: &BTreeMap<&'static str, String>) -> String {
    let Some((before, after)) = line.split_once("=…") else { return line.to_owned() };
    let name = before.trim_start_matches("export ");
    let value = values.get(name).unwrap_or_else(|| panic!("the test has no value for {name}"));
    format!("{before}='{value}'{after}")
}

/// Returns the words of a line, with one sign for every path, every word that has a digit and every unit of size.
fn without_numbers(line: &str) -> String {
    let word = |word: &str| match word.trim_end_matches([',', ';', ':']) {
        "B" | "bytes" | "KiB" | "MiB" | "GiB" | "B/s" | "KiB/s" | "MiB/s" | "GiB/s" => "UNIT".to_owned(),
        bare if bare.contains('/') => "PATH".to_owned(),
        bare if bare.contains(|letter: char| letter.is_ascii_digit()) => "NUMBER".to_owned(),
        _ => word.to_owned(),
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Returns a shell on a machine that has only programs: no settings, no credentials, no files.
fn machine(home: &Path) -> Command {
    let mut command = Command::new("bash");
    command.arg("page.sh").current_dir(home).stdin(Stdio::null()).env_clear();
    let path = std::env::var("PATH").unwrap();
    command.env("HOME", home).env("PATH", format!("{}/.cargo/bin:{path}", home.display()));
    // The compiler and its caches are in the home of the user, and what was built for the tests is not built again.
    let user = std::env::var("HOME").unwrap();
    for (name, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        command.env(name, std::env::var(name).unwrap_or_else(|_| format!("{user}/{default}")));
    }
    for name in ["CARGO_TARGET_DIR", "CARGO_PROFILE_RELEASE_LTO"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    command.env("CARGO_INSTALL_ROOT", home.join(".cargo"));
    // The server of the test has no TLS.
    command.env("AWS_ALLOW_HTTP", "true").env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

pub(crate) fn sources() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}
