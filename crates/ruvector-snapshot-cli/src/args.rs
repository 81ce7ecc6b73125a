//! What can be typed: verbs, options and the help that explains them. No behaviour.

use std::path::PathBuf;

use chrono::TimeDelta;
use chrono_tz::Tz;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use ruvector_snapshot::{LabelPattern, Span};

/// Where snapshots are kept unless the user says otherwise.
pub(crate) const STORE_DEFAULT: &str = "./snapshots";
/// The variable that may say otherwise.
pub(crate) const STORE_VARIABLE: &str = "RUVECTOR_SNAPSHOT_STORE";

const EVERYWHERE: &str = "Options of every verb";

const OVERVIEW: &str = "\
A snapshot is every vector, id and metadata value of a database as of one moment, in five files under \
snapshot-ID, in a directory or in a bucket; they are documented, checksummed and readable without this program. The \
database may be open and written to by another process meanwhile: nothing is locked or paused.";

const EXAMPLES: &str = "\
Examples:
  ruvector-snapshot demo                              see everything at work, in a few seconds
  ruvector-snapshot create --db vectors.db            take a snapshot into ./snapshots
  ruvector-snapshot create --db vectors.db --base latest
                                                      store what changed since, on top of it
  ruvector-snapshot list
  ruvector-snapshot verify latest                     prove that it is whole
  ruvector-snapshot restore latest --to back.db       get it back, proved
  ruvector-snapshot prune --keep-daily 7              keep one for each of seven days
  ruvector-snapshot list --store s3://bucket/backups  the same verbs, in a bucket

Wherever a verb takes an ID, it takes:
  an id        20260131T080000000Z-0123456789abcdef
  its start    20260131T08, if only one id starts so
  a name       nightly, which means the newest snapshot of that name
  latest       the newest snapshot of all

Buckets take their keys from the environment, or from where the provider's own tools keep them:
  s3://  AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; AWS_REGION;
         AWS_ENDPOINT_URL for MinIO and others, with AWS_ALLOW_HTTP=true where that is http://
  gs://  GOOGLE_APPLICATION_CREDENTIALS, or what gcloud auth application-default login left
  az://  AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, in a build with the feature azure
`store check` tries a bucket out; `store options` lists every setting. A bucket is never made.

Exit status:
  0  done
  1  failed, or interrupted
  2  wrong usage: an option, a name or an ID that cannot be
  3  damage found in a snapshot or in a database

`ruvector-snapshot VERB --help` explains each verb, with examples.";

const CREATE: &str = "\
Reads the database file as of one commit, without locking it; another process may have it open and write to it. \
If it is being written, a private copy as large as the database is made in --scratch-dir and removed again.
Writes five files under a new snapshot-ID in the store. A directory that is missing is made, a bucket is not. A create that \
fails or is interrupted leaves no snapshot and changes nothing that was there.

With --base it is an increment: what changed since that snapshot, full or an increment itself, is read and stored, and the rest is \
that snapshot's. It is listed, shown, verified and restored like any other, and as long as it stands, what it stands on \
cannot be deleted. A restore reads the whole chain, so take a full one now and then, or compact one. If the base is \
missing or damaged, or has other dimensions or another metric, the create fails: it never becomes a full one instead.

Examples:
  ruvector-snapshot create --db vectors.db
  ruvector-snapshot create --db vectors.db --base latest
  ruvector-snapshot create --db /srv/vectors.db --name nightly --label host=db1 --store /mnt/backup
  ruvector-snapshot create --db vectors.db --store s3://bucket/backups --limit-upload 20M

Exit status: 0 the snapshot is stored; 1 failed, there is no snapshot (unless it was the printing that failed), also if it cannot \
stand on the base; 2 wrong usage; 3 the database or the base is damaged.";

const LIST: &str = "\
Reads the names of all files in the store and each metadata.json, no data; writes nothing.
Damage that shows without reading the data is listed: a metadata.json that cannot be used, a file that is missing or has \
another size, a snapshot that stands on one that is not there. `verify --all` reads every byte.

TYPE is full, or as `+3 on 20260131T080000`: the third increment above its full snapshot, and the start of the id of the \
snapshot that it stands on. Pinned ones are marked there too.

Examples:
  ruvector-snapshot list
  ruvector-snapshot list --json | jq -r '.snapshots[].id'
  ruvector-snapshot list --json | jq -r '.snapshots[] | select(.pinned) | .id'

Exit status: 0 listed, even if there are none; 1 no such store, or a snapshot of a newer version is in it; \
3 a damaged snapshot is listed.";

const SHOW: &str = "\
Reads what the store says of one snapshot and prints all it says: labels, sizes of the files, the content checksum, where it came \
from, the chain that it stands on, what stands on it, and whether it is pinned. Writes nothing.

Examples:
  ruvector-snapshot show latest
  ruvector-snapshot show nightly --json

Exit status: 0 shown; 1 no such snapshot; 2 an ID that means several; 3 the snapshot is damaged, or its chain is broken.";

const VERIFY: &str = "\
Reads every byte of the snapshot, proves every file, block and record, and reports all damage by file and block. \
Of an increment that is every snapshot of its chain, and the state at each of them. With --all a chain is verified once, from \
its newest. Writes nothing and needs no room.

Examples:
  ruvector-snapshot verify latest
  ruvector-snapshot verify --all --quiet || echo 'look at the backups'

Exit status: 0 whole; 1 something could not be read at all; 2 wrong usage; 3 damage found.";

const RESTORE: &str = "\
Reads one snapshot, and what it stands on, and writes a database file that Ruvector opens. It is built beside its place under a name that starts with \
a dot, read back and proved by the content checksum, and only then gets its name: FILE is never half there. A file that \
stands there is left alone unless --force is given; with it, that file is replaced in one step at the very end.

Examples:
  ruvector-snapshot restore latest --to back.db
  ruvector-snapshot restore nightly --to /srv/app/vectors.db --force

Stop the program that uses FILE before replacing it: a process that has it open keeps the old one.

Exit status: 0 restored and proved; 1 failed, FILE is as it was (unless it was the printing that failed); 2 wrong usage; 3 the snapshot is damaged.";

const DELETE: &str = "\
Looks every ID up before the first snapshot is deleted: if one of them is unknown, pinned, or needed by an increment that is to \
stay, nothing is deleted. --cascade deletes what stands on them too. There is no way back. Removes the files of the \
snapshots; what else lies under snapshot-ID stays. Once begun, a delete is carried to its end; if it is killed all the same, \
list tells of it. If an increment comes to stand on a snapshot at the very moment, that snapshot stays, and the increment with it.

Examples:
  ruvector-snapshot delete 20260131T080000000Z-0123456789abcdef
  ruvector-snapshot delete before-upgrade test-1 test-2
  ruvector-snapshot delete monday --cascade --dry-run

Exit status: 0 deleted; 1 failed, no such snapshot, pinned, or needed; 2 an ID that means several.";

const COMPACT: &str = "\
Reads the chain of an increment and writes its state as a full snapshot, in the store alone: no database is needed. The new one \
bears the name and the moment of the increment, and its content checksum, which is proved. The chain stays as it is, and can \
be deleted if nothing else stands on it. A compact that fails or is interrupted leaves nothing new.

Examples:
  ruvector-snapshot compact latest
  ruvector-snapshot compact 20260131T080000000Z-0123456789abcdef --store s3://bucket/backups

Exit status: 0 stored; 1 failed, or the snapshot is a full one already; 2 an ID that means several; 3 the chain is damaged.";

const PIN: &str = "\
Keeps snapshots from being deleted, by delete and by prune, until they are unpinned. What they stand on stays with them. Writes \
one small object beside each. Looks every ID up before the first is pinned. One that is pinned already stays so.

Examples:
  ruvector-snapshot pin before-upgrade
  ruvector-snapshot unpin before-upgrade

Exit status: 0 pinned; 1 failed, or no such snapshot; 2 an ID that means several; 3 a snapshot is damaged.";

const UNPIN: &str = "\
Lets snapshots be deleted again. Deletes nothing but the mark. Looks every ID up before the first is unpinned.

Examples:
  ruvector-snapshot unpin before-upgrade

Exit status: 0 unpinned; 1 failed, or no such snapshot; 2 an ID that means several; 3 a snapshot is damaged.";

const PRUNE: &str = "\
Keeps what any of the rules keeps and deletes the other snapshots of the store, newest first. Each is printed with the \
reasons why it stays or goes; --dry-run prints the same and deletes nothing. Names play no part: the snapshots of a \
store are one history, so keep each database at a location of its own.

A day is one in which there is a snapshot, and its newest stands for it; so --keep-daily 7 keeps seven even if they \
are spread over a year. Hours, weeks (from Monday), months, quarters and years are counted alike, each rule for \
itself, with the boundaries of --time-zone.
A snapshot stays besides if one that stays stands on it, if it is dated in the future, or if its chain of bases is \
broken. The latter two take no other's place in any rule. Damaged snapshots neither count nor go, and what they stand \
on stays: look at them with verify, and delete them by their id.
What killed processes have left is swept first, if it is older than --grace. Of a directory only what is called as \
snapshots are is looked at.

Examples:
  ruvector-snapshot prune --keep-last 7 --dry-run
  ruvector-snapshot prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --keep-yearly 10
  ruvector-snapshot prune --keep-within 14d --keep-quarterly 8 --time-zone Europe/Berlin
  ruvector-snapshot prune --keep-last 3 --keep-label keep --keep-label reason=release

Exit status: 0 done, even if there was nothing to delete; 1 failed, in whole or in part, or no snapshot that can be \
restored would have been kept; 2 wrong usage, as no rule.";

const STORE: &str = "\
Examples:
  ruvector-snapshot store check --store s3://bucket/backups
  ruvector-snapshot store options s3";

const STORE_CHECK: &str = "\
Writes some objects under a name of its own beside the snapshots, and removes them again: an object made twice, made by \
several at once, uploads in parts, ranges, listings. Sends about 100 MiB and reads as many, to measure as well. Says what \
the store does not do as snapshots need it. A store that ignores `If-None-Match` is named, and can be used all the same: no \
two snapshots ever have the same id.

RESULT is ok; missing, where something cannot be had and snapshots are safe all the same; or BROKEN, where they are not.

Examples:
  ruvector-snapshot store check --store /mnt/backup
  ruvector-snapshot store check --store s3://bucket/backups -o endpoint=https://minio.example:9000

Exit status: 0 snapshots are safe there; 1 they are not, or it could not be reached; 2 wrong usage.";

const DEMO: &str = "\
Makes a small database, takes a snapshot of it while a thread keeps writing to it, damages a copy of the snapshot, verifies, \
restores, compares every value, and does so once more with an increment. Each step shows the command that does it. Works in a temporary directory that is removed at \
the end, or in DIR, which must be missing or empty and stays for you to look at. Uses no --store.

Examples:
  ruvector-snapshot demo
  ruvector-snapshot demo ./demo

Exit status: 0 every check held; 1 one did not, or something failed.";

const COMPLETIONS: &str = "\
Prints a script that makes the shell complete verbs and options. Reads and writes no files.

Examples:
  ruvector-snapshot completions bash > ~/.local/share/bash-completion/completions/ruvector-snapshot
  ruvector-snapshot completions zsh > ~/.zfunc/_ruvector-snapshot
  ruvector-snapshot completions fish > ~/.config/fish/completions/ruvector-snapshot.fish";

/// Point-in-time snapshots of a Ruvector vector database: taken while it is written, proved, and brought back.
#[derive(Debug, Parser)]
#[command(name = "ruvector-snapshot", version, before_long_help = OVERVIEW, after_help = EXAMPLES, max_term_width = 100)]
#[command(arg_required_else_help = true, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the snapshots are kept: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "LOCATION", env = STORE_VARIABLE, hide_env_values = true, default_value = STORE_DEFAULT)]
    pub(crate) store: String,
    /// A setting of the bucket, as region=eu-west-1; may be given again. `store options` lists them. Keys and secrets
    /// belong into the environment, where other users of this machine cannot see them
    // Taken apart in `session`: a parser here would have what was typed repeated in its error, and it may be a secret.
    #[arg(short = 'o', long = "option", global = true, help_heading = EVERYWHERE, value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// Requests under way at the same time, each with up to 8 MiB of memory: 1 to 1024 [default: 4]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "N", value_parser = connections)]
    pub(crate) connections: Option<usize>,
    /// Send at most so many bytes a second to the store, as 500K or 20M
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_upload: Option<u64>,
    /// Read at most so many bytes a second from the store, as 500K or 20M
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_download: Option<u64>,
    /// Print one JSON document on standard output instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Take a snapshot of a database file, which may be in use
    #[command(after_long_help = CREATE)]
    Create(Create),
    /// List the snapshots, newest first
    #[command(after_long_help = LIST)]
    List,
    /// Show everything about one snapshot
    #[command(after_long_help = SHOW)]
    Show(Show),
    /// Prove that a snapshot is whole, or say where it is damaged
    #[command(after_long_help = VERIFY)]
    Verify(Verify),
    /// Bring a snapshot back as a database file, proved
    #[command(after_long_help = RESTORE)]
    Restore(Restore),
    /// Delete snapshots
    #[command(after_long_help = DELETE)]
    Delete(Delete),
    /// Make a full snapshot of an increment and what it stands on
    #[command(after_long_help = COMPACT)]
    Compact(Compact),
    /// Keep snapshots from being deleted
    #[command(after_long_help = PIN)]
    Pin(Ids),
    /// Let pinned snapshots be deleted again
    #[command(after_long_help = UNPIN)]
    Unpin(Ids),
    /// Delete snapshots, except those that rules keep
    #[command(after_long_help = PRUNE)]
    Prune(Prune),
    /// Look at a store: whether it keeps what is needed, how fast it is
    #[command(after_long_help = STORE, subcommand_value_name = "WHAT", subcommand_help_heading = "What")]
    Store(Store),
    /// See everything at work, on a small database made for it
    #[command(after_long_help = DEMO)]
    Demo(Demo),
    /// Print a completion script for a shell
    #[command(after_long_help = COMPLETIONS)]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The database file
    #[arg(long, value_name = "FILE")]
    pub(crate) db: PathBuf,
    /// What to call the snapshot; names may repeat [default: the file's name without its extension]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Store only what changed since this snapshot: an id, the start of one, a name, or latest
    #[arg(long, value_name = "ID")]
    pub(crate) base: Option<String>,
    /// How many snapshots the chain may come to, the full one and this one included: 1 to 1000 [default: 32]
    #[arg(long, value_name = "N", requires = "base", value_parser = max_chain)]
    pub(crate) max_chain: Option<usize>,
    /// A label to keep with the snapshot; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How hard to compress ids, metadata and vectors that repeat: 0 not at all, 9 most
    #[arg(long, value_name = "0-9", default_value_t = 6, value_parser = clap::value_parser!(u32).range(0..=9))]
    pub(crate) compression_level: u32,
    /// Store every byte as it is
    #[arg(long, conflicts_with = "compression_level")]
    pub(crate) no_compression: bool,
    /// Read everything back from the store and compare it before the snapshot counts
    #[arg(long)]
    pub(crate) verify_after_write: bool,
    /// Where a private copy goes if the database is being written [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// An id, the start of one, a name, or latest
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// An id, the start of one, a name, or latest
    #[arg(required_unless_present = "all")]
    pub(crate) id: Option<String>,
    /// Verify every snapshot in the store, and go on after damage
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// An id, the start of one, a name, or latest
    pub(crate) id: String,
    /// The database file to make
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, starts of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Delete everything that stands on them, too
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// An id, the start of one, a name, or latest
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Ids, starts of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot prune RULE... [OPTIONS]")]
pub(crate) struct Prune {
    /// Where days and the like begin and end, by the name that the zone has in the IANA database
    #[arg(long, value_name = "ZONE", value_parser = time_zone, default_value = "UTC")]
    pub(crate) time_zone: Tz,
    /// How old what a killed process has left must be to be swept, as 24h, 90m or 0s. An upload or a deletion that is
    /// still under way and older than this may fail and has to be repeated; no snapshot that is kept is lost, since marks
    /// beside one stay an hour at least
    #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
    pub(crate) grace: TimeDelta,
    /// Print what would be kept, deleted and swept, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    // Its heading holds for all that follows.
    #[command(flatten)]
    pub(crate) rules: Rules,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "Rules, at least one")]
pub(crate) struct Rules {
    /// Keep the newest N
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
    /// Keep all that are at most so much older than the newest: years, months, days and hours, as 1y5m7d2h
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within: Option<Span>,
    /// Keep all that have this label, as host or host=db1; may be given again
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
    /// Try everything that snapshots need of the store, measure it, and leave nothing behind
    #[command(after_long_help = STORE_CHECK)]
    Check,
    /// List the settings that -o takes, and the environment variables for them
    Options {
        /// Of which kind of bucket [default: all]
        #[arg(value_parser = ["s3", "gs", "az"])]
        scheme: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// A missing or empty directory to work in, which stays [default: a temporary one, removed at the end]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("a label needs a key before the =, as in host=db1".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("a label is KEY=VALUE, as in host=db1".to_owned()),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| "it must be a whole number, 1 to 1024".to_owned())
}

fn max_chain(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or_else(|| "it must be a whole number, 1 to 1000".to_owned())
}

/// Bytes a second, with K, M or G for powers of 1024.
fn rate(text: &str) -> Result<u64, String> {
    let problem = || "a rate is a number of bytes a second, at least 1, as 500000, 500K, 20M or 1G".to_owned();
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
        Ok(0) => Err("0 would keep nothing; give at least 1, or leave the option out".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("it must be a whole number, at least 1".to_owned()),
    }
}

fn time_zone(text: &str) -> Result<Tz, String> {
    text.parse()
        .map_err(|_| "no time zone has this name; give one as Europe/Berlin, America/New_York or UTC".to_owned())
}

/// A time in days, hours, minutes or seconds.
fn grace(text: &str) -> Result<TimeDelta, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    let grace = number.parse::<i64>().ok().filter(|_| seconds > 0).and_then(|number| number.checked_mul(seconds));
    grace.and_then(TimeDelta::try_seconds).ok_or_else(|| "a time is a number with d, h, m or s, as 24h".to_owned())
}
