//! The long help texts of the program and of each command. No options and no behavior.

pub(crate) const OVERVIEW: &str = "\
A snapshot contains every vector, id and metadata value of a database as of one commit. It is stored as five documented files under snapshot-ID, in a \
directory or in a bucket. The database can be open and in use by another process: nothing is locked or paused.";

pub(crate) const EXAMPLES: &str = "\
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

Exit codes:
  0  success
  1  failure
  2  wrong usage: an invalid option, name or ID
  3  a snapshot or a database is corrupt
  4  verify --all, copy --all: there are no snapshots
  129, 130, 143  interrupted by SIGHUP, SIGINT (Ctrl-C) or SIGTERM

`ruvector-snapshot COMMAND --help` explains each command, with examples.";

pub(crate) const CREATE: &str = "\
The database can be open and in use. A snapshot always contains exactly one committed state. If the file changes too quickly to be read in place, a \
private copy is made in --scratch-dir first, and removed afterwards.

A snapshot holds the database file and nothing else. Files beside it that belong to the database, such as FILE.agentic of AgenticDB, FILE.meta.json of the \
npm command line, or metadata.json and ../aliases.json of a collection, are listed as `not captured`. `show` and `restore` repeat that. With --strict, the \
command fails instead.

Rows of the file that do not form a record, for example metadata that is not JSON, and tables of other programs are kept byte for byte, and named as \
`irregular`. Multimap tables cannot be kept and are listed as `not captured`.

A directory that does not exist is created, for its owner only, if the directory above it exists; a bucket is not. A create prints that the store is \
new if it has no snapshots yet. With --require-store it fails instead: use it for scheduled backups, where no snapshots mean a mistyped store or a disk \
that is not mounted. A create that fails or is interrupted leaves no snapshot.

With --base, only records that changed since the base snapshot are stored. The result can be listed, verified and restored like a full snapshot. \
The base cannot be deleted while the new snapshot exists. If the base is missing or found corrupt, or has other dimensions or another metric, the command \
fails. It never falls back to a full snapshot. A restore reads the whole chain, so take a full snapshot from time to time, or use `compact`.

Of the base and each snapshot that it depends on, create checks metadata.json with its seal, and the sizes of the data files. It reads the leaf tables, \
and the ids and the metadata of records where the database may have changed, and checks those. It does not read the vectors or the rest of the base, so \
corruption there is not found: run `verify` regularly, or use --verify-base, which reads and verifies the whole chain before anything is stored. That \
takes as long as a `verify` of the base; in a bucket it downloads the chain. --verify-after-write includes it.

A snapshot records its source: the host and the absolute path of the database, or the name that --source or RUVECTOR_SNAPSHOT_SOURCE gives. Use a name \
in containers, whose host names change. With --base, `latest` and names mean snapshots of the same source. A base of another source is refused, unless \
--base-from-elsewhere is given, for example after the database was moved. If only the host differs, or the database has lost half of its records, the \
command prints a warning.

A snapshot records the embedding space that the database records in its table `config`, and what --embedding says of the model. `show` prints both. With \
--base, a base of another identity is refused, unless --other-embedding is given.

Examples:
  ruvector-snapshot create --db vectors.db
  ruvector-snapshot create --db vectors.db --base latest
  ruvector-snapshot create --db vectors.db --base latest --verify-base
  ruvector-snapshot create --db /srv/vectors.db --name nightly \\
      --label host=db1 --store /mnt/backup
  ruvector-snapshot create --db /data/vectors.db --source articles \\
      --base latest
  ruvector-snapshot create --db vectors.db --store s3://bucket/backups \\
      --limit-upload 20M

Exit codes: 0 the snapshot is stored; 1 failure, there is no snapshot, unless the error says that there may be one, or only the output could not be \
written; 2 wrong usage; 3 the database or the base is corrupt.";

pub(crate) const LIST: &str = "\
Reads the names of all objects in the store and every metadata.json, but no data.

Also lists snapshots that cannot be used because metadata.json is corrupt, or because a file is missing or has another size, and incremental snapshots \
whose base is missing, and snapshots that this user cannot read. Only `verify --all` reads every byte. Objects of others are counted. \
What running commands have written and killed ones have left is listed with its size.

Snapshots that are dated more than 5 minutes in the future, because a clock is or was wrong, are marked.

The TYPE of a snapshot is `full`, or for example `+3 base 20260131T080000`: the third incremental snapshot of its chain, and the start of the id of its \
base. Pinned snapshots are marked. SIZE is what the objects of a snapshot take in the store.

VERIFIED is when every byte of a snapshot and its base was last found intact, as `verify` has recorded it, or CORRUPT. If all parts of a subset were read, it \
is the oldest of them. `quick` means that not every byte was read. DRILLED is when it was last restored as a drill.

Examples:
  ruvector-snapshot list
  ruvector-snapshot list --json | jq -r '.snapshots[].id'
  ruvector-snapshot list --json | jq -r '.snapshots[] | select(.pinned) | .id'

Exit codes: 0 success, even if there are no snapshots; 1 the store does not exist, or has a snapshot of a newer version or one that \
cannot be read; 3 a snapshot is corrupt.";

pub(crate) const SHOW: &str = "\
Prints labels, file sizes, the content checksum, the source, the chain, the dependents, whether the snapshot is pinned, and when it was verified, how deep \
and with what result. Reads no data.

Examples:
  ruvector-snapshot show latest
  ruvector-snapshot show nightly --json

Exit codes: 0 success; 1 the snapshot does not exist; 2 the ID is ambiguous; 3 the snapshot is corrupt, or its chain is broken.";

pub(crate) const VERIFY: &str = "\
Reads every byte of a snapshot and of all snapshots that it depends on. Checks every file, block and record, and prints everything that is corrupt, by \
file and block. With --all, the snapshots of a chain are verified together; a store without snapshots is a failure.

With --quick, no data is read: only metadata.json with its seal, checksum.sha256, and existence and sizes of the files. It finds what is missing or cut off, \
but no changed byte. With --subset 2/7, the whole index is read, with the content checksum, and the second of seven parts of the other data: 1/7 to 7/7 read \
every byte once. With --subset 10%, that is at least a tenth at a random place. What is corrupt in the rest is not found.

Each result is recorded beside the snapshot, as a small object checked-... that is never changed; `list` and `show` print it, and prune removes old ones. \
That needs the permission to write these objects. If it fails, a warning is printed, and the exit code is that of the verification. --no-record does not \
record. --max-age skips snapshots that were found intact at least so deep within this time, but never one that was found corrupt since.

Examples:
  ruvector-snapshot verify latest
  ruvector-snapshot verify --all --quick
  ruvector-snapshot verify --all --subset \"$(date +%u)/7\"
  ruvector-snapshot verify --all --max-age 7d
  ruvector-snapshot verify --all --quiet || echo 'check the backups'

Exit codes: 0 what was read is intact, or everything was skipped; 1 something could not be read; 2 wrong usage; 3 something is corrupt; 4 with --all, there are no snapshots.";

pub(crate) const RESTORE: &str = "\
Reads a snapshot, and all snapshots that it depends on, and writes a database file. The file is written under a hidden name in the same directory, read \
back, and checked against the content checksum. Only then is it renamed to FILE, in one step.

An existing FILE is not changed unless --force is given. FILE is not replaced while a program holds its lock, as Ruvector does while it has a database \
open: the program would keep the old file, and lose everything that it writes from then on. Stop it first, or restore to another path. --force with --force-while-open replaces FILE all the same.

A new FILE can be read by its owner only. A replaced FILE keeps its owner and its permissions.

With --id, --ids-from or --where, only these records are restored: the output says how many of how many. By ids, only the parts of the snapshot that can \
hold them are read. A condition is for example lang=de, author.born>=1900 or 'lang exists'; a dot separates names, and \\. is a dot in a name. Numbers are \
compared as numbers, strings as strings, and a number never equals a string: year=2020 is the number, and year=\"2020\" the string. A record without the \
path fulfils only !=. Give --where once for each condition, and quote < and > from the shell. If an id is not in the snapshot, or no record is selected, \
nothing is restored.

With --ids-from -, the ids are read from standard input, to its end. A list of ids has at most 64 MiB.

A database that records another embedding model than the snapshot is neither replaced nor merged into, unless --other-embedding is given.

With --merge, the records are merged into the database FILE in one transaction: all of them or none. It must be closed, and have the same dimensions and \
metric. --on-conflict decides what happens if it has another record with an id. Its other records and its settings stay as they are. After a failure \
or an interrupt no record was changed, but the file may be larger.

With --dry-run, nothing is written. It prints the snapshots that are read, how many bytes are read and written, the free space and the memory that is \
needed, and every check of FILE; what is in the way is printed as errors. Reads metadata.json and the block directories. It does not read the data: `verify` does. \
The plan is that of a restore of all records into a new file.

Examples:
  ruvector-snapshot restore latest --to restored.db --dry-run
  ruvector-snapshot restore latest --to restored.db
  ruvector-snapshot restore nightly --to /srv/app/vectors.db --force
  ruvector-snapshot restore latest --to part.db --where lang=de \\
      --where 'year>=2020'
  ruvector-snapshot restore nightly --to vectors.db --merge --id doc-17 \\
      --on-conflict replace
  cut -f1 lost.tsv | ruvector-snapshot restore nightly --to vectors.db \\
      --merge --ids-from -

Exit codes: 0 restored and verified, or, with --dry-run, nothing is in the way; 1 failure, FILE was not changed, unless the error says that it was, or only the output could not be written; 2 \
wrong usage; 3 the snapshot is corrupt, FILE was not changed. With --merge, no record of FILE was changed instead, and 1 also if FILE is corrupt. With --dry-run, a corrupt snapshot is in the way, with exit code 1.";

pub(crate) const DUMP: &str = "\
Prints each record as one line of JSON, in the order of the bytes of the ids:
  {\"id\":\"doc-1\",\"vector\":[0.25,-1.5],\"metadata\":{\"lang\":\"de\"}}
A value of a vector has as few digits as a 32-bit float needs to be read back with the same bits. The metadata is printed as it is stored, as canonical \
JSON; null if there is none. NaN and infinite values, which JSON does not have, are printed as null, with a warning. Irregular rows are not records: they \
are not printed, and a warning counts them.

The digest of every record is verified before it is printed. At the end of a dump of all records, their content checksum is compared: if it is not that of the \
snapshot, the command fails, after it has printed them.

With --id or --ids-from, only the parts of the snapshot that can hold these records are read. `restore --help` explains --where. An id that is not in the snapshot is an error at the end, after the others \
were printed. If no record fulfils the conditions, nothing is printed, with a warning and exit code 0. A dump that was interrupted goes on with --after \
and the last id that was printed. If the output failed, for example because a disk was full, its last line may be cut: remove that line first. With --json, the records are the array `records` of one document.

Examples:
  ruvector-snapshot dump latest > records.jsonl
  ruvector-snapshot dump latest --id doc-17 --id doc-18
  ruvector-snapshot dump nightly | jq -r 'select(.metadata.lang == \"de\").id'
  ruvector-snapshot dump latest --after doc-17 >> records.jsonl

Exit codes: 0 all were printed, or the reader has closed the pipe; 1 failure, or an id is not in the snapshot; 2 wrong usage; 3 the snapshot is corrupt.";

pub(crate) const EXPORT: &str = "\
Writes the records, in the order of the bytes of their ids, to a new directory DIR. It appears when all files are complete and synced, or not at all. A DIR \
that exists must be an empty directory.

--format npy writes two files. matrix.npy is an array of NumPy: one row of 32-bit floats for each record, with the same bits as in the database. Line i of \
records.jsonl belongs to row i:
  {\"id\":\"doc-1\",\"metadata\":{\"lang\":\"de\"}}
The metadata is canonical JSON; null if there is none.

--format parquet writes records.parquet, with the columns id (a string), vector (a list of 32-bit floats of fixed size) and metadata (JSON, or null), in row \
groups of about 32 MiB. Vectors are not compressed, the rest with Snappy.

The digest of every record is verified, and if all records are exported, their content checksum is compared with that of the snapshot before DIR appears. The \
settings of the database are not exported: `show` prints them. Irregular rows are not exported either: a warning counts them. An export is no backup: it \
cannot be restored.

With --id or --ids-from, only the parts of the snapshot that can hold these records are read. `restore --help` explains --where.

Examples:
  ruvector-snapshot export latest --to exported
  ruvector-snapshot export nightly --to german --format parquet \\
      --where lang=de
  python3 -c 'import numpy; print(numpy.load(\"exported/matrix.npy\").shape)'

Exit codes: 0 exported; 1 failure, or an id is not in the snapshot, or no record fulfils the conditions; 2 wrong usage; 3 the snapshot is corrupt. After a \
failure DIR is as it was, unless the error says that it was created.";

pub(crate) const IMPORT: &str = "\
Stores the records of a file of the crate ruvector-snapshot 2.3.0, as it was published, as a full snapshot. It can then be restored, verified, copied \
and exported like any other. FILE is not changed.

FILE is read as a whole before anything is stored, and the SHA-256 of its contents is compared with that in its sidecar ID.metadata.json. The records are sorted \
in a temporary file, which takes about twice as much as the expanded records.

The snapshot is dated as FILE is: its records are as old, so `latest` may mean another one, and a retention policy may delete it soon; `pin` it to keep it. The labels \
imported-id and imported-version have the id in FILE and the version of the crate.

Limits: FILE has the dimensions, the metric and three parameters of the index. It has no other setting of a database, such as the quantization: a restored database \
has none. A payload null becomes no metadata. Refused are an id that is there twice, a vector with other dimensions than the collection, and a payload that is \
not a JSON object: no database can hold them.

Examples:
  ruvector-snapshot import old/0b7c8a52-2d6a-4b0f-9d5e-3b1f5a3c9e01.snapshot.gz
  ruvector-snapshot import old/articles.snapshot.gz --name articles-2025 \\
      --label from=old-server

Exit codes: 0 stored; 1 failure, or no database can hold the records; 2 wrong usage; 3 FILE or its sidecar is corrupt. After a failure there is no new snapshot.";

pub(crate) const FIND: &str = "\
Lists all snapshots, newest first, with what became of the record since the snapshot before: for an incremental snapshot its base, for a full one the \
next older snapshot of the same source.
  added             the snapshot has it, the one before does not
  same              the record has not changed
  vector changed    the vector has changed, and perhaps the metadata
  metadata changed  only the metadata has changed
  changed           the vector or the metadata; a full snapshot does not say which
  removed           the one before has it, this one does not
  absent            neither has it
  unknown           a snapshot cannot be used; a warning says why
Reads indexes only: no vectors and no metadata. If the store has snapshots of several databases, the source of each is shown: the name that was given \
with `create --source`, or else the host and the path.

Examples:
  ruvector-snapshot find doc-17
  ruvector-snapshot find doc-17 --json | jq -r '.snapshots[] | select(.state == \"removed\").id'

Exit codes: 0 a snapshot has the record; 1 none has it, or none of those that can be read, or failure.";

pub(crate) const DIFF: &str = "\
Prints how many records differ between two snapshots, related or not, of one store or of two. With --list, each of them; with --jsonl, each as a line of JSON.
  added             only the second snapshot has it
  removed           only the first snapshot has it
  vector changed    another vector, the same metadata
  metadata changed  other metadata, the same vector
  both changed      another vector and other metadata
Each record counts once. Other dimensions, another metric, and irregular rows that differ are printed too. Of irregular rows it is not compared which ones.

Reads the indexes. If the content checksums are equal, it reads no data, and only checks that the files are there. Of records that differ, the metadata is read, and vectors only where that does not decide. \
What two snapshots of a chain have in common is read only where the others have changed something. The ids and digests that are compared are verified. \
To check everything, use `verify`.

With --to, the second snapshot is in another store, for example the copy of the first one: --to-option is for that store, and -o for --store.

Examples:
  ruvector-snapshot diff nightly latest
  ruvector-snapshot diff nightly latest --list | grep ^removed
  ruvector-snapshot diff 20260130 20260131 --jsonl | jq -r .id
  ruvector-snapshot diff latest latest --to s3://bucket/offsite --exit-code

Exit codes: 0 compared, whether they differ or not; 1 failure, and with --exit-code also if they differ; 2 wrong usage; 3 a snapshot is corrupt.";

pub(crate) const DRILL: &str = "\
Does what a recovery does, and measures it. Restores the snapshot from the store into a scratch directory, reads the database file back and compares its content \
checksum, opens it with Ruvector, and searches for the vectors of 100 of its records, drawn evenly over the ids. Everything is removed again.

It prints:
  data          the time until the restored database was there, and verified
  first search  the time until Ruvector has answered, which is what a recovery
                takes (RTO). Ruvector builds its search index again whenever it
                opens a database, and that takes most of the time. `search`
                answers from the snapshot meanwhile
  age           from the moment of the snapshot until now: what was written in
                this time would be lost (RPO)
  recall@10     the share of the 10 nearest neighbors that Ruvector finds,
                compared with an exact search

With a recall below --min-recall the drill fails. The recall depends on the vectors, the metric and the settings of the index, and not on the snapshot: compare it with \
that of earlier drills, and choose --min-recall for your database. A drill that has \
passed is recorded beside the snapshot, and so is one that finds something corrupt in the store; --no-record turns that off. It needs memory for the search \
index, as Ruvector does.

Examples:
  ruvector-snapshot drill latest
  ruvector-snapshot drill nightly --min-recall 0.95 --scratch-dir /var/tmp
  ruvector-snapshot drill latest --json | jq .time_to_first_search_ms

Exit codes: 0 the drill has passed; 1 the recall is too low, Ruvector cannot open the restored database, or another failure; 2 wrong usage; 3 the snapshot is corrupt.";

pub(crate) const SEARCH: &str = "\
Prints the records whose vectors are nearest to a vector: the exact nearest neighbors, by the metric of the database and with the distances that Ruvector \
computes. The smaller the distance, the nearer; for DotProduct it is the negative dot product. Of equal distances, the id that comes first is first. A \
vector with NaN comes last.

The snapshot is not restored. All records are read once, however many vectors are searched for, and compared with each of them. That takes about as long as a \
`verify`. It answers at once after a disaster: Ruvector builds its search index again whenever it opens a database, and a restored database answers only after \
that. The digest of every record is verified, and at the end their content checksum. If something is corrupt, the command fails without a result. \
It does not replace `verify`, which reads everything.

FILE of --query has one JSON value on each line: an array of numbers, or an object such as {\"id\":\"q1\",\"vector\":[0.25,-1.5]}, whose id names the result. \
It has at most 10,000 vectors and 256 MiB. A search has at most 1,000,000 neighbors in all. --where chooses the neighbors: `restore --help` explains it. \
The metadata is cut to fit the line; with --json it is complete. Irregular rows are not searched: a warning counts them.

Examples:
  ruvector-snapshot search latest --like doc-17
  ruvector-snapshot search nightly --like doc-17 -k 3 --where lang=de \\
      --with-metadata
  ruvector-snapshot search 20260331 --query questions.jsonl --json
  echo '[0.25,-1.5]' | ruvector-snapshot search latest --query -

Exit codes: 0 success, even if nothing was found; 1 failure, or the record of --like is not in the snapshot; 2 wrong usage, for example a vector of other dimensions; \
3 the snapshot is corrupt.";

pub(crate) const DELETE: &str = "\
Checks all IDs before the first snapshot is deleted. If one of them does not exist, is pinned, or has a dependent that is not deleted too, nothing is \
deleted. With --cascade, all dependents are deleted as well. A deletion cannot be undone.

A deletion that has started is completed even after an interrupt. If an incremental snapshot is created on a snapshot at the same moment, that \
snapshot is kept. For that, a deletion writes a marker first. In a store where nothing can be written, --exclusive deletes without markers: use it only if \
no other command is at work at the store.

Examples:
  ruvector-snapshot delete 20260131T080000000Z-0123456789abcdef
  ruvector-snapshot delete before-upgrade test-1 test-2
  ruvector-snapshot delete monday --cascade --dry-run

Exit codes: 0 deleted; 1 failure, or a snapshot does not exist, is pinned, or has dependents; 2 an ID is ambiguous.";

pub(crate) const COMPACT: &str = "\
Reads the chain of an incremental snapshot and stores its state as a full snapshot. The database is not needed. The new snapshot has the name, the time \
and the content checksum of the incremental one. The chain is kept; delete it when you no longer need it. A compact that fails or is interrupted leaves \
no new snapshot.

Examples:
  ruvector-snapshot compact latest
  ruvector-snapshot compact 20260131T080000000Z-0123456789abcdef \\
      --store s3://bucket/backups

Exit codes: 0 stored; 1 failure, there is no new snapshot unless the error says that there may be one, or the snapshot is already full; 2 the ID is \
ambiguous; 3 the chain is corrupt.";

pub(crate) const COPY: &str = "\
Copies snapshots, and those that they depend on, to another store: a second disk, or a bucket in another place. The copies have the same ids and the same \
bytes. The SHA-256 of every file is verified on the way, and a copy exists only when all of it is stored. What is there already is not copied again, so \
the command can be repeated every night. Of that only metadata.json and the sizes of the files are compared: `verify` reads the files of the target.

If the command is interrupted or fails, repeat it: files that are complete in the target are not sent again. What is not continued is removed by a prune of \
the target after its grace period. If a snapshot cannot be copied, those that depend on it are skipped, and the others are copied.

With --compact, the state of an incremental snapshot is stored as one full snapshot with an id of its own, which has the name, the time and the content \
checksum. It is stored only once.

A directory that does not exist is created if the directory above it exists; a bucket is not. A snapshot that was deleted in the target is copied again, so \
use --name or IDs, or prune both stores by the same policy.

Credentials: -o is for --store, and --to-option for --to. What no option says comes from the environment, which is the same for both. Two buckets of one \
provider with different keys need options for one of them: `store options` lists them. Other users of this machine can see options, so put the keys of one \
of the two into the environment, or use a file or a profile. --connections and the limits of the rates are for each store.

Examples:
  ruvector-snapshot copy --all --to /mnt/second-disk/snapshots
  ruvector-snapshot copy latest --store /srv/snapshots \\
      --to gs://offsite/snapshots
  ruvector-snapshot copy --name nightly --to s3://bucket/backups \\
      --to-option region=eu-west-1 --pins --dry-run
  ruvector-snapshot copy latest --compact --to gs://archive/monthly \\
      --to-option storage_class=ARCHIVE

Exit codes: 0 everything is in the target; 1 failure, complete or partial; 2 wrong usage; 3 a snapshot is corrupt and was not copied; 4 with --all, there \
are no snapshots.";

pub(crate) const PIN: &str = "\
Protects snapshots from `delete` and `prune` until they are unpinned. Snapshots that they depend on are protected with them. Checks all IDs before the \
first snapshot is pinned. Says which of them were pinned already.

Examples:
  ruvector-snapshot pin before-upgrade
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 pinned; 1 failure, or a snapshot does not exist; 2 an ID is ambiguous; 3 a snapshot is corrupt.";

pub(crate) const UNPIN: &str = "\
Allows pinned snapshots to be deleted again. Deletes no snapshot. Checks all IDs before the first snapshot is unpinned.

Examples:
  ruvector-snapshot unpin before-upgrade

Exit codes: 0 unpinned; 1 failure, or a snapshot does not exist; 2 an ID is ambiguous; 3 a snapshot is corrupt.";

pub(crate) const PRUNE: &str = "\
Deletes every snapshot that no --keep rule matches. Prints each snapshot with the reasons why it is kept or dropped. Use --dry-run to preview the result.

The rules apply to the snapshots of each source on their own: `--keep-last 1` keeps one snapshot of every database in the store. The source is the name \
that was given with `create --source`, or else the host and the path of the database file. --group-by name or --group-by label:KEY groups the snapshots \
by something else, and --group-by none applies the rules to all of them together. Snapshots whose source has neither a name nor a path are grouped by the \
kind of their source, and those that do not have the label are one group. If no snapshot has the label, or if the rules would keep nothing of a group that \
can be restored, nothing is deleted; only --keep-label can cause the latter.

--keep-daily 7 keeps the newest snapshot of each of the last 7 days that have one, even if they are spread over a year. The rules for hours, weeks (from \
Monday), months, quarters and years work alike. --time-zone decides where they start.

Also kept: snapshots that a kept snapshot depends on, pinned snapshots, snapshots dated more than 5 minutes in the future, and snapshots with a broken chain. The last two do \
not count for any rule. Snapshots that cannot be used are neither counted nor deleted; delete them by ID. If one cannot be read, it may depend on any \
older snapshot, and these are kept.

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
  ruvector-snapshot prune --keep-daily 7 --group-by label:host

Exit codes: 0 success, even if there was nothing to delete; 1 failure, complete or partial, a snapshot cannot be read, or the policy would \
delete every snapshot of a group that can be restored; 2 wrong usage, for example no rule.";

pub(crate) const STORE: &str = "\
Examples:
  ruvector-snapshot store check --store s3://bucket/backups
  ruvector-snapshot store options s3";

pub(crate) const STORE_CHECK: &str = "\
Writes objects under a prefix of its own beside the snapshots, reads, lists and deletes them, and measures latency and throughput. Sends and reads about \
100 MiB.

RESULT is PASS, WARN (the store lacks something, but snapshots are safe without it) or FAIL (snapshots are not safe there). A store that ignores \
If-None-Match gets a WARN: no two snapshots ever have the same id, so snapshots are safe.

Examples:
  ruvector-snapshot store check --store /mnt/backup
  ruvector-snapshot store check --store s3://bucket/backups \\
      -o endpoint=https://minio.example:9000

Exit codes: 0 snapshots are safe there; 1 they are not, or the store could not be reached; 2 wrong usage.";

pub(crate) const DEMO: &str = "\
Creates a small database and takes a snapshot of it while a thread writes to it. Corrupts a copy of the snapshot, verifies, restores and compares every \
value. Does the same with an incremental snapshot. Each step prints the command for it. Works in a temporary directory that is removed at the end, or \
in DIR, which must be new or empty and is kept. Ignores --store.

Examples:
  ruvector-snapshot demo
  ruvector-snapshot demo ./demo

Exit codes: 0 every check passed; 1 a check or something else failed; 2 wrong usage, for example DIR is not empty.";

pub(crate) const COMPLETIONS: &str = "\
Prints a script that completes commands and options in a shell.

Examples:
  ruvector-snapshot completions bash \\
      > ~/.local/share/bash-completion/completions/ruvector-snapshot
  ruvector-snapshot completions zsh > ~/.zfunc/_ruvector-snapshot
  ruvector-snapshot completions fish \\
      > ~/.config/fish/completions/ruvector-snapshot.fish";
