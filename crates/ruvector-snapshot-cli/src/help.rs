//! The long help text of the program.

use std::ffi::OsString;

use crate::failure::EXIT_CODES;

pub(crate) const OVERVIEW: &str = "\
Consistent, verified backups for Ruvector vector databases.

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
A snapshot that is dated more than 5 minutes in the future, because a clock was
wrong, is meant by a name or latest only if they can mean no other.

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

";

/// What follows the commands in the short help, which a run without arguments prints too.
pub(crate) const SHORT: &str = "\
First steps:
  ruvector-snapshot demo
  ruvector-snapshot create --db vectors.db
  ruvector-snapshot restore latest --to restored.db

`ruvector-snapshot --help` explains more, with examples and the global options.
`ruvector-snapshot COMMAND --help` explains a command.";

const MORE: &str = "`ruvector-snapshot COMMAND --help` explains each command, with examples.";

/// The command that explains others.
pub(crate) const COMMAND: &str = "help";

/// Removes options from what follows `help`, which takes only the words of a command: `help --help` asks for the same, and
/// `--json` changes nothing of a help text, wherever it stands.
pub(crate) fn without_options(mut arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut is_help = false;
    let mut is_first = true;
    let is_kept = |argument: &OsString| {
        let is_option = argument.as_encoded_bytes().starts_with(b"-");
        if is_help {
            return !["-h", "--help", "--json"].iter().any(|option| argument == option);
        }
        is_help = is_first && argument == COMMAND;
        is_first = is_first && is_option;
        true
    };
    // The first one is the program.
    arguments.next().into_iter().chain(arguments.filter(is_kept)).collect()
}

/// Returns what follows the options: examples, and the table of exit codes.
pub(crate) fn after_help() -> String {
    let row = |(code, meaning): &(&str, &str)| format!("  {code}  {meaning}\n");
    let codes: String = EXIT_CODES.iter().map(row).collect();
    format!("{EXAMPLES}Exit codes:\n{codes}\n{MORE}")
}
