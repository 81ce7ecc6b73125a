//! The options of every command. No behavior.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::values::{connections, new_path, rate};

/// The store if none is given.
pub(crate) const STORE_DEFAULT: &str = "./snapshots";
/// The environment variable that gives the store.
pub(crate) const STORE_VARIABLE: &str = "RUVECTOR_SNAPSHOT_STORE";

/// The environment variable that gives the name of the source.
pub(crate) const SOURCE_VARIABLE: &str = "RUVECTOR_SNAPSHOT_SOURCE";

const HEADING: &str = "Global options";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Store of the snapshots: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or @NAME for a
    /// profile of the configuration file [default: ./snapshots]
    #[arg(long, global = true, help_heading = HEADING, value_name = "LOCATION", env = STORE_VARIABLE, hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// Configuration file [default: the first that exists of ./ruvector-snapshot.toml,
    /// ~/.config/ruvector-snapshot/ruvector-snapshot.toml and /etc/ruvector-snapshot/ruvector-snapshot.toml]
    // Its variable is read in `config_file`: an empty one is none.
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", conflicts_with = "no_config")]
    pub(crate) config: Option<PathBuf>,
    /// Read no configuration file
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) no_config: bool,
    /// Option of the bucket, for example region=eu-west-1. Can be repeated. `store options` lists all of them. Put
    /// keys and secrets into the environment, where other users of this machine cannot see them
    // Parsed in `session`: a parser here would repeat the value in its error, and it may be a secret.
    #[arg(short = 'o', long = "option", global = true, help_heading = HEADING, value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// Number of concurrent requests, 1 to 1024, each with up to 8 MiB of memory [default: 4]
    #[arg(long, global = true, help_heading = HEADING, value_name = "N", value_parser = connections)]
    pub(crate) connections: Option<usize>,
    /// Limit the upload rate per second, for example 500KiB or 20MiB
    #[arg(long, global = true, help_heading = HEADING, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_upload: Option<u64>,
    /// Limit the download rate per second, for example 500KiB or 20MiB
    #[arg(long, global = true, help_heading = HEADING, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_download: Option<u64>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) json: bool,
    /// Print no progress, and nothing after success, unless the output is the purpose of the command (list, show,
    /// stats, find, search, diff, dump, version; also with --dry-run or --json)
    #[arg(short, long, global = true, help_heading = HEADING)]
    pub(crate) quiet: bool,
    /// Fail if there are warnings. All is done nevertheless, and the exit code is 1 instead of 5. But a `create` stores
    /// nothing if the snapshot would not hold something that belongs to the database
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) strict: bool,
    /// Print whole ids on a terminal too
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) full_id: bool,
    /// Print times in UTC on a terminal too, and not in the local time zone
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) utc: bool,
    /// Show the progress on standard error as: auto, text, json or none. auto is a bar on a terminal, a line of text from time
    /// to time elsewhere, JSON Lines with --json, and nothing with --quiet
    #[arg(long, global = true, help_heading = HEADING, value_name = "FORMAT", hide_possible_values = true, hide_default_value = true, default_value = "auto")]
    pub(crate) progress: ProgressFormat,
    /// Log what is done to standard error: -v the steps, -vv each request to the store. RUST_LOG does so too. Then a line
    /// from time to time shows the progress instead of a bar
    #[arg(short, long, global = true, help_heading = HEADING, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Append the log to FILE, and with it the warnings and errors that are printed to standard error
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", value_parser = new_path())]
    pub(crate) log_file: Option<PathBuf>,
    /// Format of the log: text or json
    #[arg(long, global = true, help_heading = HEADING, value_name = "FORMAT", hide_possible_values = true, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// Forms of the progress.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ProgressFormat {
    /// A bar on a terminal, lines of text elsewhere, JSON Lines with --json, nothing with --quiet.
    Auto,
    /// A line of text from time to time.
    Text,
    /// A JSON document on a line for each phase, and from time to time.
    Json,
    /// No progress.
    None,
}

/// Formats of the log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of text for each event.
    Text,
    /// A JSON object on a line for each event.
    Json,
}
