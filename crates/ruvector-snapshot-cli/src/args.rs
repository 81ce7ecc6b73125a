//! The commands, their options, and the help texts. No behavior.

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use jiff::SpanRelativeTo;
use ruvector_snapshot::{LabelPattern, Span, TimeZone};

/// The store if none is given.
pub(crate) const STORE_DEFAULT: &str = "./snapshots";
/// The environment variable that gives the store.
pub(crate) const STORE_VARIABLE: &str = "RUVECTOR_SNAPSHOT_STORE";

const COMMON: &str = "Common options";

const OVERVIEW: &str = "\
A snapshot contains every vector, id and metadata value of a database as of one commit. It is stored as five documented files under snapshot-ID, in a \
directory or in a bucket. The database can be open and in use by another process: nothing is locked or paused.";

const EXAMPLES: &str = "\
Examples:
  Try everything, in a few seconds:
    ruvector-snapshot demo
  Take a snapshot into ./snapshots, and later store only what changed:
    ruvector-snapshot create --db vectors.db
    ruvector-snapshot create --db vectors.db --base latest
  List, check every byte, and restore:
    ruvector-snapshot list
    ruvector-snapshot verify latest
    ruvector-snapshot restore latest --to restored.db
  Keep one snapshot for each of 7 days:
    ruvector-snapshot prune --keep-daily 7
  The same commands work with a bucket:
    ruvector-snapshot list --store s3://bucket/backups

An ID can be:
  an id        20260131T080000000Z-0123456789abcdef
  a prefix     20260131T08, if only one id starts with it
  a name       nightly: the newest snapshot with that name
  latest       the newest snapshot

Credentials of buckets come from the environment, or from the files of the \
provider's tools:
  s3://  AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE;
         AWS_REGION; AWS_ENDPOINT_URL for MinIO and others, with
         AWS_ALLOW_HTTP=true for http://
  gs://  GOOGLE_APPLICATION_CREDENTIALS, or after the command
         gcloud auth application-default login
  az://  AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY
         (only if built with the feature azure)
`store check` tests a bucket, `store options` lists all options. The bucket \
must exist.

Exit codes:
  0  success
  1  failure, or interrupted
  2  wrong usage: an invalid option, name or ID
  3  a snapshot or a database is corrupt

`ruvector-snapshot COMMAND --help` explains each command, with examples.";

const CREATE: &str = "\
The database can be open and in use. A snapshot always contains exactly one committed state. If the file changes too quickly to be read in place, a \
private copy is made in --scratch-dir first, and removed afterwards.

A directory that does not exist is created; a bucket is not. A create that fails or is interrupted leaves no snapshot.

With --base, only records that changed since the base snapshot are stored. The result can be listed, verified and restored like a full snapshot. \
The base cannot be deleted while the new snapshot exists. If the base is missing or corrupt, or has other dimensions or another metric, the command \
fails. It never falls back to a full snapshot. A restore reads the whole chain, so take a full snapshot from time to time, or use `compact`.

Examples:
  ruvector-snapshot create --db vectors.db
  ruvector-snapshot create --db vectors.db --base latest
  ruvector-snapshot create --db /srv/vectors.db --name nightly \\
      --label host=db1 --store /mnt/backup
  ruvector-snapshot create --db vectors.db --store s3://bucket/backups \\
      --limit-upload 20M

Exit codes: 0 the snapshot is stored; 1 failure, there is no snapshot (unless only the output could not be written); 2 wrong usage; 3 the database or \
the base is corrupt.";

const LIST: &str = "\
Reads the names of all objects in the store and every metadata.json, but no data.

Also lists snapshots that cannot be used because metadata.json is corrupt, or because a file is missing or has another size, and incremental snapshots \
whose base is missing. Only `verify --all` reads every byte.

The TYPE of a snapshot is `full`, or for example `+3 base 20260131T080000`: the third incremental snapshot of its chain, and the start of the id of its \
base. Pinned snapshots are marked.

Examples:
  ruvector-snapshot list
  ruvector-snapshot list --json | jq -r '.snapshots[].id'
  ruvector-snapshot list --json | jq -r '.snapshots[] | select(.pinned) | .id'

Exit codes: 0 success, even if there are no snapshots; 1 the store does not exist, or has a snapshot of a newer version; 3 a snapshot is corrupt.";

const SHOW: &str = "\
Prints labels, file sizes, the content checksum, the source, the chain, the dependents, and whether the snapshot is pinned. Reads no data.

Examples:
  ruvector-snapshot show latest
  ruvector-snapshot show nightly --json

Exit codes: 0 success; 1 the snapshot does not exist; 2 the ID is ambiguous; 3 the snapshot is corrupt, or its chain is broken.";

const VERIFY: &str = "\
Reads every byte of a snapshot and of all snapshots that it depends on. Checks every file, block and record, and prints everything that is corrupt, by \
file and block. With --all, the snapshots of a chain are verified together. Writes nothing.

Examples:
  ruvector-snapshot verify latest
  ruvector-snapshot verify --all --quiet || echo 'check the backups'

Exit codes: 0 intact; 1 something could not be read; 2 wrong usage; 3 something is corrupt.";

const RESTORE: &str = "\
Reads a snapshot, and all snapshots that it depends on, and writes a database file. The file is written under a hidden name in the same directory, read \
back, and checked against the content checksum. Only then is it renamed to FILE, in one step.

An existing FILE is not changed unless --force is given. Stop the program that uses FILE before you replace it: a process that has it open keeps the \
old file.

Examples:
  ruvector-snapshot restore latest --to restored.db
  ruvector-snapshot restore nightly --to /srv/app/vectors.db --force

Exit codes: 0 restored and verified; 1 failure, FILE was not changed (unless only the output could not be written); 2 wrong usage; 3 the snapshot is \
corrupt.";

const DELETE: &str = "\
Checks all IDs before the first snapshot is deleted. If one of them does not exist, is pinned, or has a dependent that is not deleted too, nothing is \
deleted. With --cascade, all dependents are deleted as well. A deletion cannot be undone.

A deletion that has started is completed even after an interrupt. If an incremental snapshot is created on a snapshot at the same moment, that \
snapshot is kept.

Examples:
  ruvector-snapshot delete 20260131T080000000Z-0123456789abcdef
  ruvector-snapshot delete before-upgrade test-1 test-2
  ruvector-snapshot delete monday --cascade --dry-run

Exit codes: 0 deleted; 1 failure, or a snapshot does not exist, is pinned, or has dependents; 2 an ID is ambiguous.";

const COMPACT: &str = "\
Reads the chain of an incremental snapshot and stores its state as a full snapshot. The database is not needed. The new snapshot has the name, the time \
and the content checksum of the incremental one. The chain is kept; delete it when you no longer need it. A compact that fails or is interrupted leaves \
no new snapshot.

Examples:
  ruvector-snapshot compact latest
  ruvector-snapshot compact 20260131T080000000Z-0123456789abcdef \\
      --store s3://bucket/backups

Exit codes: 0 stored; 1 failure, or the snapshot is already full; 2 the ID is ambiguous; 3 the chain is corrupt.";

const PIN: &str = "\
Protects snapshots from `delete` and `prune` until they are unpinned. Snapshots that they depend on are protected with them. Checks all IDs before the \
first snapshot is pinned.

Examples:
  ruvector-snapshot pin before-upgrade
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 pinned; 1 failure, or a snapshot does not exist; 2 an ID is ambiguous; 3 a snapshot is corrupt.";

const UNPIN: &str = "\
Allows pinned snapshots to be deleted again. Deletes no snapshot. Checks all IDs before the first snapshot is unpinned.

Examples:
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 unpinned; 1 failure, or a snapshot does not exist; 2 an ID is ambiguous; 3 a snapshot is corrupt.";

const PRUNE: &str = "\
Deletes every snapshot that no --keep rule matches. Prints each snapshot with the reasons why it is kept or dropped. Use --dry-run to preview the result.

The rules apply to all snapshots of the store, whatever their names. Use a store of its own for each database.

--keep-daily 7 keeps the newest snapshot of each of the last 7 days that have one, even if they are spread over a year. The rules for hours, weeks (from \
Monday), months, quarters and years work alike. --time-zone decides where they start.

Also kept: snapshots that a kept snapshot depends on, pinned snapshots, snapshots dated in the future, and snapshots with a broken chain. The last two do \
not count for any rule. Snapshots that cannot be used are neither counted nor deleted; delete them by ID.

Orphans, objects that interrupted commands have left, are removed first if they are older than --grace. Files that do not belong to snapshots are never \
touched.

Examples:
  ruvector-snapshot prune --keep-last 7 --dry-run
  ruvector-snapshot prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12 \\
      --keep-yearly 10
  ruvector-snapshot prune --keep-within 14d --keep-quarterly 8 \\
      --time-zone Europe/Berlin
  ruvector-snapshot prune --keep-last 3 --keep-label keep \\
      --keep-label reason=release

Exit codes: 0 success, even if there was nothing to delete; 1 failure, complete or partial, or the policy would delete every snapshot that can be \
restored; 2 wrong usage, for example no rule.";

const STORE: &str = "\
Examples:
  ruvector-snapshot store check --store s3://bucket/backups
  ruvector-snapshot store options s3";

const STORE_CHECK: &str = "\
Writes objects under a prefix of its own beside the snapshots, reads, lists and deletes them, and measures latency and throughput. Sends and reads about \
100 MiB.

RESULT is PASS, WARN (the store lacks something, but snapshots are safe without it) or FAIL (snapshots are not safe there). A store that ignores \
If-None-Match gets a WARN: no two snapshots ever have the same id, so snapshots are safe.

Examples:
  ruvector-snapshot store check --store /mnt/backup
  ruvector-snapshot store check --store s3://bucket/backups \\
      -o endpoint=https://minio.example:9000

Exit codes: 0 snapshots are safe there; 1 they are not, or the store could not be reached; 2 wrong usage.";

const DEMO: &str = "\
Creates a small database and takes a snapshot of it while a thread writes to it. Corrupts a copy of the snapshot, verifies, restores and compares every \
value. Does the same with an incremental snapshot. Each step prints the command for it. Works in a temporary directory that is removed at the end, or \
in DIR, which must be new or empty and is kept. Ignores --store.

Examples:
  ruvector-snapshot demo
  ruvector-snapshot demo ./demo

Exit codes: 0 every check passed; 1 a check or something else failed; 2 wrong usage, for example DIR is not empty.";

const COMPLETIONS: &str = "\
Prints a script that completes commands and options in a shell.

Examples:
  ruvector-snapshot completions bash \\
      > ~/.local/share/bash-completion/completions/ruvector-snapshot
  ruvector-snapshot completions zsh > ~/.zfunc/_ruvector-snapshot
  ruvector-snapshot completions fish \\
      > ~/.config/fish/completions/ruvector-snapshot.fish";

/// Consistent, verified backups for Ruvector vector databases.
#[derive(Debug, Parser)]
#[command(name = "ruvector-snapshot", version, before_long_help = OVERVIEW, after_help = EXAMPLES, max_term_width = 100)]
#[command(arg_required_else_help = true, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Store of the snapshots: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, global = true, help_heading = COMMON, value_name = "LOCATION", env = STORE_VARIABLE, hide_env_values = true, default_value = STORE_DEFAULT)]
    pub(crate) store: String,
    /// Option of the bucket, for example region=eu-west-1. Can be repeated. `store options` lists all of them. Put
    /// keys and secrets into the environment, where other users of this machine cannot see them
    // Parsed in `session`: a parser here would repeat the value in its error, and it may be a secret.
    #[arg(short = 'o', long = "option", global = true, help_heading = COMMON, value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// Number of concurrent requests, 1 to 1024, each with up to 8 MiB of memory [default: 4]
    #[arg(long, global = true, help_heading = COMMON, value_name = "N", value_parser = connections)]
    pub(crate) connections: Option<usize>,
    /// Limit the upload rate, in bytes per second, for example 500K or 20M
    #[arg(long, global = true, help_heading = COMMON, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_upload: Option<u64>,
    /// Limit the download rate, in bytes per second, for example 500K or 20M
    #[arg(long, global = true, help_heading = COMMON, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_download: Option<u64>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) json: bool,
    /// Do not print progress
    #[arg(short, long, global = true, help_heading = COMMON)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a snapshot of a database file
    #[command(after_long_help = CREATE)]
    Create(Create),
    /// List the snapshots, newest first
    #[command(after_long_help = LIST)]
    List,
    /// Show details of one snapshot
    #[command(after_long_help = SHOW)]
    Show(Show),
    /// Check that snapshots are intact
    #[command(after_long_help = VERIFY)]
    Verify(Verify),
    /// Restore a snapshot to a database file
    #[command(after_long_help = RESTORE)]
    Restore(Restore),
    /// Delete snapshots
    #[command(after_long_help = DELETE)]
    Delete(Delete),
    /// Turn an incremental snapshot into a full one
    #[command(after_long_help = COMPACT)]
    Compact(Compact),
    /// Protect snapshots from deletion
    #[command(after_long_help = PIN)]
    Pin(Ids),
    /// Allow pinned snapshots to be deleted
    #[command(after_long_help = UNPIN)]
    Unpin(Ids),
    /// Apply a retention policy
    #[command(after_long_help = PRUNE)]
    Prune(Prune),
    /// Test a store, or list the options of buckets
    #[command(after_long_help = STORE, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
    Store(Store),
    /// Try everything on a small database
    #[command(after_long_help = DEMO)]
    Demo(Demo),
    /// Print a shell completion script
    #[command(after_long_help = COMPLETIONS)]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Database file to back up
    #[arg(long, value_name = "FILE")]
    pub(crate) db: PathBuf,
    /// Name of the snapshot; need not be unique [default: the file name without its extension]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Create an incremental snapshot based on this one: an id, a prefix, a name, or latest
    #[arg(long, value_name = "ID")]
    pub(crate) base: Option<String>,
    /// Maximum number of snapshots in the chain, including this one, 1 to 1000 [default: 32]
    #[arg(long, value_name = "N", requires = "base", value_parser = max_chain)]
    pub(crate) max_chain: Option<usize>,
    /// Label to store with the snapshot. Can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Compression level, from 0 (none) to 9 (smallest and slowest)
    #[arg(long, value_name = "0-9", default_value_t = 6, value_parser = clap::value_parser!(u32).range(0..=9))]
    pub(crate) compression_level: u32,
    /// Store without compression
    #[arg(long, conflicts_with = "compression_level")]
    pub(crate) no_compression: bool,
    /// Read everything back from the store and compare it before the commit
    #[arg(long)]
    pub(crate) verify_after_write: bool,
    /// Directory for a private copy of a database that is being written [default: the system's temporary
    /// directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot verify [OPTIONS] <ID|--all>")]
pub(crate) struct Verify {
    /// An id, a prefix of an id, a name, or latest
    #[arg(required_unless_present = "all")]
    pub(crate) id: Option<String>,
    /// Verify every snapshot in the store
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Database file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Also delete all snapshots that depend on them
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot prune RULE... [OPTIONS]")]
pub(crate) struct Prune {
    /// Time zone of days and other periods, by its IANA name
    #[arg(long, value_name = "ZONE", default_value_t)]
    pub(crate) time_zone: TimeZone,
    /// Age at which orphans are collected, for example 24h, 90m or 0s. A create or a delete that is still running and
    /// older than this may fail and must be repeated. No kept snapshot is lost: markers beside a snapshot are kept for
    /// at least one hour
    #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
    pub(crate) grace: TimeDelta,
    /// Print what would be kept, deleted and collected, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    // The heading applies to all options that follow.
    #[command(flatten)]
    pub(crate) rules: Rules,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "Rules, at least one")]
pub(crate) struct Rules {
    /// Keep the newest N snapshots
    #[arg(long, visible_alias = "keep", value_name = "N", value_parser = count)]
    pub(crate) keep_last: Option<usize>,
    /// Keep the newest of each of the last N hours
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_hourly: Option<usize>,
    /// Keep the newest of each of the last N days
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_daily: Option<usize>,
    /// Keep the newest of each of the last N weeks
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_weekly: Option<usize>,
    /// Keep the newest of each of the last N months
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_monthly: Option<usize>,
    /// Keep the newest of each of the last N quarters
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_quarterly: Option<usize>,
    /// Keep the newest of each of the last N years
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_yearly: Option<usize>,
    /// Keep all that are at most this much older than the newest: years, months, days and hours, for example
    /// 1y5m7d2h
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within: Option<Span>,
    /// Keep all with this label, for example host or host=db1. Can be repeated
    #[arg(long = "keep-label", value_name = "KEY[=VALUE]")]
    pub(crate) keep_labels: Vec<LabelPattern>,
}

#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) what: StoreWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreWhat {
    /// Test what snapshots need of the store, and measure it
    #[command(after_long_help = STORE_CHECK)]
    Check,
    /// List the options for -o, and their environment variables
    Options {
        /// Only the options of this kind of bucket
        #[arg(value_parser = ["s3", "gs", "az"])]
        scheme: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// New or empty directory to work in [default: a temporary one that is removed at the end]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("a label needs a key before the =, for example host=db1".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("a label is KEY=VALUE, for example host=db1".to_owned()),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| "must be a whole number from 1 to 1024".to_owned())
}

fn max_chain(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or_else(|| "must be a whole number from 1 to 1000".to_owned())
}

/// Parses bytes per second, with K, M or G for powers of 1024.
fn rate(text: &str) -> Result<u64, String> {
    let problem = || "must be a number of bytes per second, at least 1, for example 500000, 500K, 20M or 1G".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(problem()),
    };
    let rate = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).filter(|rate| *rate > 0);
    rate.ok_or_else(problem)
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("0 would keep nothing; use at least 1, or omit the option".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("must be a whole number, at least 1".to_owned()),
    }
}

/// Parses a length of time without calendar units.
fn grace(text: &str) -> Result<TimeDelta, String> {
    let problem = || "a length of time is a number with d, h, m or s, for example 24h, 90m or 1d12h".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| problem())?;
    // Fails for months and years, whose length depends on the date.
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| problem())?;
    if duration.is_negative() {
        return Err(problem());
    }
    TimeDelta::new(duration.as_secs(), duration.subsec_nanos().unsigned_abs()).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_a_length_of_time_without_calendar_units() {
        for (text, seconds) in [("0s", 0), ("90m", 5_400), ("24h", 86_400), ("2d", 172_800), ("1d12h", 129_600)] {
            assert_eq!(grace(text), Ok(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in ["", "24", "h", "-1h", "1h ago", "1mo", "1y", "24x", "1h1h", "99999999999999999999h", "9999999999h"]
        {
            assert!(grace(text).is_err_and(|problem| problem.contains("24h")), "{text}");
        }
    }
}
