//! `config`: shows which settings apply and where they came from, and checks a configuration file. Contacts no store.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ruvector_snapshot::store::Location;

use crate::config_file::{ConfigFile, Found, FoundBy, Problem, UNUSED_HOOK, find, places, plain_path, unused_bucket};
use crate::documents::{
    ConfigCheckDocument, ConfigFileDocument, ConfigPathDocument, ConfigProblemDocument, ConfigShowDocument,
    SettingDocument,
};
use crate::failure::{Exit, Failure};
use crate::global::SOURCE_VARIABLE;
use crate::output::counted;
use crate::session::{Session, parsed_options};
use crate::settings::{ChosenStore, Origin, wrong};
use crate::values::shown_rate;

pub(crate) const HELP: &str = "\
A configuration file names stores, databases and retention policies, so that commands can be short, and has the jobs of `schedule`.

An example of a file:

  store = \"@local\"

  [stores.local]
  location = \"/srv/snapshots\"

  [stores.offsite]
  location = \"s3://bucket/backups\"
  options = { region = \"eu-west-1\", secret_access_key = \"env:OFFSITE_SECRET\" }

The first of these files that exists is read, and no other: --config FILE, the file that RUVECTOR_SNAPSHOT_CONFIG names, ./ruvector-snapshot.toml, \
$XDG_CONFIG_HOME/ruvector-snapshot/ruvector-snapshot.toml (~/.config if that is not set), /etc/ruvector-snapshot/ruvector-snapshot.toml. An option of the \
command line applies before the environment, and that before the file. docs/OPERATIONS.md describes all keys, and deploy/ruvector-snapshot.toml is an \
example.

A file that is not named must belong to this user or root, and no other user may be able to change it; below /etc it may have any owner, but not \
every user may be able to change it. Buckets that ./ruvector-snapshot.toml names are only used \
if the file is named: it may have come with an archive.

Examples:
  ruvector-snapshot config show
  ruvector-snapshot config show --store @offsite
  ruvector-snapshot config check /etc/ruvector-snapshot/ruvector-snapshot.toml
  ruvector-snapshot copy --all --to @offsite";

const SHOW_HELP: &str = "\
Prints each setting, and where it came from: an option, an environment variable, a line of the configuration file, or the default. Secrets are printed as \
env:NAME or file:PATH, or as ***. With --store @NAME, the settings of that store.

Examples:
  ruvector-snapshot config show
  ruvector-snapshot config show --store @offsite --json

Exit codes: 0 success; 2 the configuration is wrong; 5 success, with warnings.";

const CHECK_HELP: &str = "\
Finds unknown keys, wrong values, profiles that do not exist, secrets and files that cannot be read, programs that cannot be run, and buckets, commands and \
addresses that are not used, because the file was only found in the working directory. A database must be a redb file. Prints all that is wrong, with the line. Contacts no store.

Examples:
  ruvector-snapshot config check
  ruvector-snapshot config check deploy/ruvector-snapshot.toml

Exit codes: 0 the file is good; 2 it is not, or it cannot be read; 4 there is no configuration file; 5 the file can be used, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Print the settings that apply, and where each came from
    #[command(after_long_help = SHOW_HELP)]
    Show,
    /// Check a configuration file
    #[command(after_long_help = CHECK_HELP)]
    Check {
        /// The file [default: the one that commands read]
        file: Option<PathBuf>,
    },
    /// Print which configuration file is read
    #[command(after_long_help = "Exit codes: 0 success; 4 there is no configuration file.")]
    Path,
}

pub(crate) fn config(session: &Session, what: &What) -> Result<Exit, Failure> {
    match what {
        What::Show => show(session),
        What::Check { file } => check(session, file.as_deref()),
        What::Path => path(session),
    }
}

/// Returns a setting and where it came from.
fn setting(key: impl Into<String>, value: Option<String>, origin: &Origin) -> SettingDocument {
    let (origin, place) = match origin {
        Origin::Flag(flag) => ("flag", Some((*flag).to_owned())),
        Origin::Environment(variable) => ("environment", Some(variable.clone())),
        Origin::File(place) => ("file", Some(place.clone())),
        Origin::Default => ("default", None),
    };
    SettingDocument { key: key.into(), value, origin, place }
}

fn file_document(found: &Found) -> ConfigFileDocument {
    let found_by = match found.by {
        FoundBy::Flag => "flag",
        FoundBy::Environment => "environment",
        FoundBy::Directory => "directory",
    };
    ConfigFileDocument { path: absolute(&found.path).display().to_string(), found_by }
}

/// Returns a path as another directory would need it.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| plain_path(&path))
}

fn show(session: &Session) -> Result<Exit, Failure> {
    let chosen = session.chosen()?;
    let values = values(session, &chosen)?;
    let unnamed = session.settings.found.as_ref().filter(|found| found.is_of_working_directory());
    if let Some(file) = session.settings.file.as_ref().filter(|_| unnamed.is_some()) {
        file.buckets().for_each(|(line, location)| {
            session.warnings.add(&format!("{} {}", file.place(line), unused_bucket(location)));
        });
        file.hooks()
            .for_each(|(line, key)| session.warnings.add(&format!("{}: {key} {UNUSED_HOOK}", file.place(line))));
    }
    let file = session.settings.found.as_ref().map(file_document);
    let output = session.output;
    match &file {
        Some(file) => output.line(format_args!("configuration file {}", file.path))?,
        None => output.line("no configuration file")?,
    }
    for SettingDocument { key, value, place, .. } in &values {
        let value = value.as_deref().unwrap_or("none");
        let place = place.as_deref().unwrap_or("default");
        let line = format!("{key} = {value}");
        match line.chars().count().max(SHOWN_COLUMNS) + place.chars().count() + 2 > LINE_COLUMNS {
            true => {
                output.line(&line)?;
                output.line(format_args!("    {place}"))?;
            }
            false => output.line(format_args!("{line:<SHOWN_COLUMNS$}  {place}"))?,
        }
    }
    session.document(&ConfigShowDocument { file, values: &values })?;
    Ok(Exit::Success)
}

/// Returns all settings, those that apply to the store first.
fn values(session: &Session, chosen: &ChosenStore) -> Result<Vec<SettingDocument>, Failure> {
    let location = session.location_of(chosen)?;
    let settings = &session.settings;
    let store = match (&chosen.profile, &location) {
        (None, Location::Local(path)) => absolute(path).display().to_string(),
        _ => chosen.typed.clone(),
    };
    let mut values = vec![setting("store", Some(store), &chosen.origin)];
    if let Some(profile) = &chosen.profile {
        let origin = Origin::File(chosen.place(profile.location.line));
        values.push(setting("location", Some(location.to_string()), &origin));
    }
    let typed = parsed_options(&session.options, "-o")?;
    chosen.check_environment(&location, &typed)?;
    for option in chosen.effective(&location, &typed).map_err(Failure::usage)? {
        let own = chosen.own_options().get(option.name);
        let own = own.filter(|own| option.origin == Some(chosen.place(own.line)));
        let (shown, origin) = match (own, &option.origin) {
            (Some(own), _) => (own.value.to_string(), Origin::File(chosen.place(own.line))),
            (None, Some(variable)) => (option.shown().to_owned(), Origin::Environment(variable.clone())),
            (None, None) => (option.shown().to_owned(), Origin::Flag("-o")),
        };
        values.push(setting(format!("options.{}", option.name), Some(shown), &origin));
    }
    let profile = chosen.profile.as_ref();
    let line = |line: Option<usize>| line.map_or(Origin::Default, |line| Origin::File(chosen.place(line)));
    let flag = |is_typed: bool, flag, line_of| if is_typed { Origin::Flag(flag) } else { line(line_of) };
    let transfers = &chosen.transfers;
    values.push(setting(
        "connections",
        Some(transfers.max_concurrent_io.to_string()),
        &flag(
            settings.connections.is_some(),
            "--connections",
            profile.and_then(|p| Some(p.connections.as_ref()?.line)),
        ),
    ));
    values.push(setting(
        "limit_upload",
        transfers.max_upload_bytes_per_second.map(shown_rate),
        &flag(
            settings.limit_upload.is_some(),
            "--limit-upload",
            profile.and_then(|p| Some(p.limit_upload.as_ref()?.line)),
        ),
    ));
    values.push(setting(
        "limit_download",
        transfers.max_download_bytes_per_second.map(shown_rate),
        &flag(
            settings.limit_download.is_some(),
            "--limit-download",
            profile.and_then(|p| Some(p.limit_download.as_ref()?.line)),
        ),
    ));
    let source = std::env::var(SOURCE_VARIABLE).ok().filter(|source| !source.trim().is_empty());
    let origin = source.as_ref().map_or(Origin::Default, |_| Origin::Environment(SOURCE_VARIABLE.to_owned()));
    values.push(setting("source", source, &origin));
    let Some(file) = &settings.file else { return Ok(values) };
    let of_file = file.shown.iter().filter(|value| value.key != "store");
    values.extend(
        of_file
            .map(|shown| setting(shown.key.as_str(), Some(shown.text.clone()), &Origin::File(file.place(shown.line)))),
    );
    Ok(values)
}

fn check(session: &Session, file: Option<&Path>) -> Result<Exit, Failure> {
    let found = match file {
        Some(path) => Found::named(path, FoundBy::Flag),
        None => found(session)?,
    };
    let path = &found.path;
    let (file, mut problems) = ConfigFile::read_partly(&found)
        .map_err(|why| wrong(format!("cannot read the configuration file {}: {why}", path.display())))?;
    let references = file.check_references(!found.is_of_working_directory());
    references.warnings.iter().for_each(|warning| session.warnings.add(warning));
    problems.extend(references.problems);
    problems.sort();
    let output = session.output;
    for problem in &problems {
        let Problem { line, column, .. } = problem;
        output.message(format_args!("error: {}:{line}:{column}: {problem}", path.display()));
    }
    let valid = problems.is_empty();
    output.line(match valid {
        true => format!("{} is good", path.display()),
        false => format!("{} has {}", path.display(), counted(problems.len() as u64, "mistake")),
    })?;
    let problems = problems.into_iter().map(|problem| {
        let Problem { line, column, message, advice } = problem;
        ConfigProblemDocument { line, column, message, advice }
    });
    let file = path.display().to_string();
    session.document(&ConfigCheckDocument { file, valid, problems: problems.collect() })?;
    Ok(if valid { Exit::Success } else { Exit::Usage })
}

fn path(session: &Session) -> Result<Exit, Failure> {
    let found = found(session)?;
    if let Err(error) = fs::metadata(&found.path) {
        let message = format!("cannot read the configuration file {}: {error}", found.path.display());
        return Err(wrong(message).with_hint("check --config or RUVECTOR_SNAPSHOT_CONFIG"));
    }
    let file = file_document(&found);
    session.output.line(&file.path)?;
    session.document(&ConfigPathDocument { file })?;
    Ok(Exit::Success)
}

/// Returns the file that commands read.
fn found(session: &Session) -> Result<Found, Failure> {
    if session.settings.is_off {
        return Err(Failure::nothing_there("no configuration file is read, because of --no-config"));
    }
    find(session.settings.named.as_deref()).map_err(wrong)?.ok_or_else(|| {
        let places: Vec<String> = places().iter().map(|path| path.display().to_string()).collect();
        Failure::nothing_there("there is no configuration file")
            .with_hint(format!("it is looked for at {}; --config names another one", places.join(", ")))
    })
}

/// A line that is longer is divided.
const LINE_COLUMNS: usize = 80;
/// Columns of a key and its value, if they need no more.
const SHOWN_COLUMNS: usize = 44;
