//! What a job runs and calls besides its work: commands, and addresses. Reads the keys; runs nothing, and sends nothing.
//!
//! An address can contain a key of its user. So no text here has more of it than its server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;
use url::Url;

use super::At;
use super::document::{Reader, Section};
use super::references::Names;
use super::secrets::{OptionValue, SecretError};
use crate::values::some_duration;

/// How long a command may take if the file does not say it.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const COMMAND_EXAMPLE: &str = "for example command = [\"/usr/local/bin/report\", \"backup\"]";
const ADDRESS_EXAMPLE: &str = "for example \"https://example.org/KEY\", env:NAME or file:PATH";

/// The commands of a job and the addresses that it calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobHooks {
    pub(crate) before: Option<JobCommand>,
    pub(crate) after: Option<JobCommand>,
    pub(crate) on_failure: Option<JobCommand>,
    pub(crate) on_recovery: Option<JobCommand>,
    pub(crate) on_stale: Option<JobCommand>,
    /// Both or none.
    pub(crate) pause: Option<JobCommand>,
    pub(crate) resume: Option<JobCommand>,
    pub(crate) ping: Option<At<Address>>,
    pub(crate) webhook: Option<At<Address>>,
}

/// A program and its arguments. No shell reads them.
#[derive(Clone)]
pub(crate) struct JobCommand {
    /// A path, or a name without `/` that is looked for in `PATH`.
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) timeout: Duration,
    /// Whether its failure is a failure of the run.
    pub(crate) is_required: bool,
    pub(crate) line: usize,
}

/// The address of a server, or where it is read from.
#[derive(Clone)]
pub(crate) struct Address(OptionValue);

/// Without the arguments: a key may be among them.
impl fmt::Debug for JobCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobCommand").field("program", &self.program).finish_non_exhaustive()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The address as it may be shown: without its path, in which keys are.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            OptionValue::Text(text) => match parsed(text) {
                Ok(url) => write!(f, "{}/***", origin(&url)),
                Err(_) => f.write_str("***"),
            },
            reference => reference.fmt(f),
        }
    }
}

impl Address {
    /// Returns the address.
    pub(crate) fn read(&self) -> Result<Url, SecretError> {
        let text = self.0.read()?;
        parsed(&text).map_err(|why| match &self.0 {
            OptionValue::Text(_) => SecretError(why),
            reference => SecretError(format!("{reference}: {why}")),
        })
    }

    /// Returns what the user should know of a file that others can read or replace.
    pub(crate) fn warning(&self) -> Option<String> {
        self.0.warning()
    }
}

/// Returns the scheme and the server of an address, which are no secret.
pub(crate) fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Parses an address. The problem does not repeat it.
fn parsed(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no address: {error}; {ADDRESS_EXAMPLE}"))?;
    match ["http", "https"].contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty()) {
        true => Ok(url),
        false => Err(format!("an address begins with https:// or http://; {ADDRESS_EXAMPLE}")),
    }
}

impl JobHooks {
    /// Returns the commands with their keys.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&'static str, &JobCommand)> {
        let commands = [
            ("before", &self.before),
            ("after", &self.after),
            ("on_failure", &self.on_failure),
            ("on_recovery", &self.on_recovery),
            ("on_stale", &self.on_stale),
            ("pause", &self.pause),
            ("resume", &self.resume),
        ];
        commands.into_iter().filter_map(|(key, command)| Some((key, command.as_ref()?)))
    }

    /// Returns the addresses with their keys.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, &At<Address>)> {
        let addresses = [("ping", &self.ping), ("webhook", &self.webhook)];
        addresses.into_iter().filter_map(|(key, address)| Some((key, address.as_ref()?)))
    }
}

/// Whether a command can be required: whether its failure can be one of the run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Requirable {
    Yes,
    /// The run has ended by then.
    No,
    /// It is always required.
    Always,
}

/// Reads the hooks of a job.
pub(super) fn hooks(reader: &mut Reader<'_>, section: &mut Section<'_, '_>, names: &Names<'_>) -> JobHooks {
    let halves = [("pause", "resume"), ("resume", "pause")];
    let alone = halves.into_iter().find(|(half, other)| section.has(half) && !section.has(other));
    if let (Some((half, other)), Some(at)) = (alone, alone.and_then(|(half, _)| section.position(half))) {
        let advice = match half {
            "pause" => "an application that is paused must go on; a command that needs no other one is before",
            _ => "an application goes on after it was paused; a command that needs no other one is after",
        };
        let message = format!("{} needs {other}", section.key(half));
        reader.problem(at, message, Some(advice.to_owned()));
    }
    let mut command = |key, requirable| command(reader, section, names, key, requirable);
    let (before, after) = (command("before", Requirable::Yes), command("after", Requirable::Yes));
    let [on_failure, on_recovery, on_stale] =
        ["on_failure", "on_recovery", "on_stale"].map(|key| command(key, Requirable::No));
    let [pause, resume] = ["pause", "resume"].map(|key| command(key, Requirable::Always));
    let [ping, webhook] = ["ping", "webhook"].map(|key| address(reader, section, names, key));
    JobHooks { before, after, on_failure, on_recovery, on_stale, pause, resume, ping, webhook }
}

fn command(
    reader: &mut Reader<'_>,
    section: &mut Section<'_, '_>,
    names: &Names<'_>,
    key: &'static str,
    requirable: Requirable,
) -> Option<JobCommand> {
    let mut table = section.table(reader, key)?;
    if !table.has("command") {
        let message = format!("{} is missing", table.key("command"));
        reader.problem(table.at, message, Some(COMMAND_EXAMPLE.to_owned()));
    }
    let line = reader.line(table.at);
    let words = words(reader, &mut table, names);
    let timeout = table.parsed(reader, "timeout", some_duration).map_or(TIMEOUT_DEFAULT, |timeout| timeout.value);
    let at = table.position("required");
    let required = match requirable {
        Requirable::Always => None,
        _ => table.parsed(reader, "required", str::parse::<bool>).map(|required| required.value),
    };
    if let (Some(true), Requirable::No, Some(at)) = (required, requirable, at) {
        let message = format!("{}: the run has ended by then, so this cannot make it fail", table.key("required"));
        reader.problem(at, message, Some("only before and after can be required".to_owned()));
    }
    table.finish(reader);
    let (program, args) = words?;
    Some(JobCommand { program, args, timeout, is_required: required.unwrap_or_default(), line })
}

/// Reads a program and its arguments.
fn words(reader: &mut Reader<'_>, table: &mut Section<'_, '_>, names: &Names<'_>) -> Option<(PathBuf, Vec<String>)> {
    let key = table.key("command");
    let (at, value) = table.take("command")?;
    let words = value.get_ref().as_array().and_then(|words| {
        let text = |word: &DeValue<'_>| word.as_str().filter(|word| !word.contains('\0')).map(str::to_owned);
        words.iter().map(|word| text(word.get_ref())).collect::<Option<Vec<String>>>()
    });
    let problem = match words.as_ref().map(|words| words.split_first()) {
        Some(Some((program, args))) => match program_path(program, names) {
            Ok(path) => {
                let number = args.len();
                let more = if number == 1 { "argument" } else { "arguments" };
                reader.show(&key, format!("{} ({number} {more})", path.display()), at);
                return Some((path, args.to_vec()));
            }
            Err(why) => format!("{key}: {why}"),
        },
        Some(None) => format!("{key} is empty"),
        None => format!("{key} must be a list of texts: a program and its arguments, which no shell reads"),
    };
    reader.problem(value.span().start, problem, Some(COMMAND_EXAMPLE.to_owned()));
    None
}

/// Returns a name as it is, and a path as all paths of the file.
fn program_path(program: &str, names: &Names<'_>) -> Result<PathBuf, String> {
    match program.contains('/') || program == "~" || program.is_empty() {
        true => names.path(program),
        false => Ok(Path::new(program).to_owned()),
    }
}

fn address(
    reader: &mut Reader<'_>,
    section: &mut Section<'_, '_>,
    names: &Names<'_>,
    key: &'static str,
) -> Option<At<Address>> {
    let (at, text) = section.text(reader, key)?;
    let key = section.key(key);
    let value = OptionValue::parse(text, |path| names.path(path));
    let value = value.and_then(|value| match &value {
        OptionValue::Text(text) => parsed(text).map(|_| value),
        _ => Ok(value),
    });
    match value {
        Ok(value) => {
            let address = Address(value);
            reader.show(&key, address.to_string(), at);
            Some(At { value: address, line: reader.line(at) })
        }
        Err(why) => {
            reader.problem(at, format!("{key}: {why}"), None);
            None
        }
    }
}
