//! Words and options of other tools, values without their option, and commands without an ID: what to type instead.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as _, Command, Error, FromArgMatches as _};
use ruvector_snapshot::store::{Location, StoreConfig, open};
use ruvector_snapshot::{SnapshotConfig, SnapshotError, SnapshotManager, closest};

use crate::global::Global;
use crate::output::{fitted, plain, quoted, quoted_path};
use crate::settings::Settings;
use crate::threads::run_afterwards;

/// Words that other tools have for something, and what it is here. Words that mean one command are its aliases.
const WORDS: [(&[&str], &str); 10] = [
    (
        &["init", "initialize", "stanza-create"],
        "a store needs no init: `create --db FILE` makes the directory; a bucket must exist, and `store check` tests it",
    ),
    (&["forget"], "`delete ID` deletes snapshots, and `prune --keep-daily 7` applies a retention policy"),
    (
        &["cat", "head", "query"],
        "`dump ID` prints records, `export ID` writes them to files, and `show ID` prints what is known of a snapshot",
    ),
    (
        &["mount", "umount"],
        "a snapshot cannot be mounted: `restore ID --to FILE` makes a database of it, `dump` and `search` read it as it is",
    ),
    (
        &["unlock", "lock"],
        "a store has no locks: commands can run at the same time, and `prune` removes what killed ones have left",
    ),
    (
        &["gc", "cleanup", "maintenance"],
        "`prune` applies a retention policy, and removes what killed commands have left",
    ),
    (
        &["tag", "label", "note", "describe", "edit"],
        "`annotate ID --label KEY=VALUE --note TEXT` changes labels and notes",
    ),
    (&["sync", "clone", "mirror"], "`copy --all --to LOCATION` copies snapshots to another store"),
    (
        &["cron", "crontab", "jobs", "timer"],
        "`schedule --check` checks the jobs of the configuration file, and `schedule --next` prints their next runs",
    ),
    (&["repair", "rebuild-index", "fsck"], "`verify --all` prints what is corrupt; a store has no index to rebuild"),
];

/// Options of other tools, and what it is here.
const OPTIONS: [(&[&str], &str); 18] = [
    (
        &["--repo", "--repository", "--repository-file", "-r"],
        "the store is given by --store LOCATION, or by RUVECTOR_SNAPSHOT_STORE",
    ),
    (&["--tag", "--tags", "--add"], "labels are given by --label KEY=VALUE"),
    (&["--keep-tag"], "labels are kept by --keep-label KEY=VALUE"),
    (&["--target", "-t", "--output", "--dest", "--destination", "--out"], TO),
    (&["--database", "--file", "--path", "--source-path", "-d", "-f"], "the database is given by --db FILE"),
    (&["--description", "--comment", "-m"], "a note is given by --note TEXT"),
    (&["-n", "--limit", "--max", "--latest", "--max-count"], "the number is given by --last N"),
    (&["-n", "--dry", "--check", "--what-if", "--simulate"], "it is --dry-run"),
    (&["--force", "-f", "-y", "--confirm"], "the question is answered in advance by --yes"),
    (&["--overwrite", "--yes", "-y", "--replace"], "a file that exists is replaced with --force"),
    (&["--all", "-a"], "a policy is for all snapshots of the store, and needs a rule, such as --keep-last N"),
    (&["--retain", "--max-age"], "see the rules, such as --keep-last N and --keep-within SPAN"),
    (&["--format", "--output-format"], "with --json, the output is a JSON document"),
    (
        &["--read-data", "--read-data-subset", "--deep", "--full"],
        "every byte is read; --subset 1/7 reads a part, --quick no data",
    ),
    (
        &["--older-than", "--keep-days", "--retention"],
        "see the rules, such as --keep-within SPAN, which keeps all that are younger",
    ),
    (&["--parent"], "the base of an increment is given by --base ID"),
    (
        &["--full", "--incremental", "--incr", "--differential", "--diff"],
        "a snapshot is full; with --base ID, for example --base latest, it is an increment",
    ),
    (&["--transfers", "--parallel", "-P"], "the number of requests at once is given by --connections N"),
];

const TO: &str = "where to write is given by --to";

/// Values that are often typed without their option: the command, the option, and what it is. The option must not be there.
const POSITIONS: [(&str, &str, &str); 11] = [
    ("create", "--db", "the database is given by --db"),
    ("create", "--name", "the name is given by --name"),
    ("restore", "--to", TO),
    ("export", "--to", TO),
    ("dump", "--id", "a record is given by --id"),
    ("list", "--name", "a name is given by --name"),
    ("stats", "--name", "a name is given by --name"),
    ("search", "--like", "a record is given by --like, and a file with vectors by --query"),
    ("check", "--store", "the store is given by --store"),
    ("store", "--store", "the store is given by --store"),
    ("prune", "--keep-last", "the number is given by a rule such as --keep-last"),
];

/// Snapshots that are named if a command lacks an ID.
const NEWEST_SHOWN: usize = 3;

/// Columns for the name of each.
const NAME_COLUMNS: usize = 24;

/// Adds to an error of the parser what to type instead.
pub(crate) fn explained(mut error: Error, program: &Command, arguments: &[String]) -> Error {
    let tips = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            suggest_command(&mut error, program, arguments);
            of_config_word(arguments).map_or_else(|| of_word(&error), |tip| vec![tip])
        }
        ErrorKind::MissingRequiredArgument => {
            let target = without_target(&error, program, arguments);
            without_id(&error, program, arguments).into_iter().chain(target).collect()
        }
        ErrorKind::UnknownArgument => {
            remove_guess(&mut error, program);
            of_argument(&error, program, arguments).into_iter().collect()
        }
        ErrorKind::MissingSubcommand => {
            error.remove(ContextKind::ValidSubcommand);
            vec![match verb_of(program, arguments) {
                Some(verb) => {
                    let name = verb.get_name();
                    let inner = verb.get_subcommands().map(Command::get_name).filter(|inner| *inner != "help");
                    format!(
                        "say what to do: {}",
                        inner.map(|inner| format!("`{name} {inner}`")).collect::<Vec<_>>().join(", ")
                    )
                }
                None => "say what to do, for example `list`; `--help` lists all commands".to_owned(),
            }]
        }
        ErrorKind::ValueValidation => database_of(&error, program, arguments).into_iter().collect(),
        _ => Vec::new(),
    };
    if !tips.is_empty() {
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::SuggestedArg);
        let tips = tips.iter().map(|tip| StyledStr::from(plain(tip))).collect();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// Removes what the parser suggests instead of an option that does not exist, if it is far from what was typed, as
/// `--store` is from `--force`, or says how to pass the option as a value.
fn remove_guess(error: &mut Error, program: &Command) {
    error.remove(ContextKind::TrailingArg);
    error.remove(ContextKind::Suggested);
    let (Some(ContextValue::String(typed)), Some(ContextValue::String(guess))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::SuggestedArg))
    else {
        return;
    };
    let guessed = guess.trim_start_matches('-');
    let is_global = program.get_arguments().any(|arg| arg.is_global_set() && arg.get_long() == Some(guessed));
    if is_global && closest(typed, [guess.as_str()]).is_none() {
        error.remove(ContextKind::SuggestedArg);
    }
}

/// Suggests the command that is most like the word that is none, by the name that the help lists: the parser suggests aliases,
/// and nothing after `help`.
fn suggest_command(error: &mut Error, program: &Command, arguments: &[String]) {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return };
    let known = arguments.iter().take_while(|argument| *argument != word);
    let parent = known.fold(program, |parent, argument| parent.find_subcommand(argument).unwrap_or(parent));
    let names = || {
        parent.get_subcommands().flat_map(|command| [command.get_name()].into_iter().chain(command.get_all_aliases()))
    };
    let guess = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(guesses)) => guesses.last().map(String::as_str),
        _ => None,
    };
    let Some(command) = closest(word, names()).or(guess).and_then(|name| parent.find_subcommand(name)) else { return };
    let name = command.get_name().to_owned();
    error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(name));
}

/// Returns how a configuration is changed, if that is what the commands of `config` were expected to do.
fn of_config_word(arguments: &[String]) -> Option<String> {
    let after = arguments.iter().skip_while(|word| *word != "config").nth(1)?;
    ["edit", "set", "get", "init", "list", "validate", "new"].contains(&after.as_str()).then(|| {
        "`config show` prints what applies, `config check` checks the file, and `config path` prints where it is; edit it with an editor"
            .to_owned()
    })
}

fn of_word(error: &Error) -> Vec<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return Vec::new() };
    let word = word.to_lowercase();
    let known = WORDS.iter().find(|(words, _)| words.contains(&word.as_str()));
    known.map(|(_, tip)| (*tip).to_owned()).into_iter().collect()
}

/// Returns what to type instead of an option that does not exist, or of a value without its option.
fn of_argument(error: &Error, program: &Command, arguments: &[String]) -> Option<String> {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else { return None };
    let verb = verb_of(program, arguments)?;
    let has =
        |option: &str| verb.get_arguments().any(|arg| arg.get_long().is_some_and(|long| option == format!("--{long}")));
    if unknown.starts_with('-') {
        let option = unknown.split('=').next().unwrap_or_default();
        // An option of the tip belongs to this command.
        let is_of_verb = |tip: &str| {
            let words = tip.split(' ').map(|word| word.trim_end_matches([',', ';']));
            words.filter(|word| word.starts_with("--")).any(has)
        };
        let known = OPTIONS.iter().find(|(options, tip)| options.contains(&option) && is_of_verb(tip));
        return known.map(|(_, tip)| (*tip).to_owned()).or_else(|| of_value(unknown, verb, arguments)).or_else(|| {
            let takes_ids = verb
                .get_positionals()
                .any(|arg| arg.get_value_names().is_some_and(|names| names.iter().any(|name| *name == "ID")));
            let name = verb.get_name();
            match option {
                "--name" if takes_ids => Some(format!("a snapshot is given without an option, as in `{name} nightly`")),
                "--db" if takes_ids => Some(format!(
                    "`{name}` reads the store and no database: a snapshot is given by its id, a name, or latest, as in `{name} latest`"
                )),
                "--to" if name == "dump" => {
                    Some("the records go to standard output, as in `dump latest > records.jsonl`".to_owned())
                }
                "--time" | "--at" | "--target-time" | "--date" if takes_ids => Some(format!(
                    "a snapshot is given by its id, which begins with its time in UTC, as in `{name} 20260131T08`; `list` shows them"
                )),
                "--all" if takes_ids => {
                    Some(format!("`{name}` takes the snapshots that are given; `list` shows their ids"))
                }
                _ => None,
            }
        });
    }
    let is_typed = |option: &str| arguments.iter().any(|word| word.split('=').next() == Some(option));
    let name = verb.get_name();
    // There are two commands with this name.
    if name == "check" && !arguments.iter().any(|word| word == "store") {
        return None;
    }
    if name == "create" && is_typed("--db") && std::path::Path::new(unknown.as_str()).is_file() {
        return Some("a snapshot is of one database: repeat the command for each file".to_owned());
    }
    let (_, option, tip) =
        POSITIONS.iter().find(|(verb, option, _)| *verb == name && has(option) && !is_typed(option))?;
    let before =
        arguments.iter().take_while(|word| *word != unknown).map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    Some(format!("{tip}, as in `{before} {option} {}`", quoted(unknown)))
}

/// Returns how a value that begins with a hyphen is written, if this is one.
fn of_value(unknown: &str, verb: &Command, arguments: &[String]) -> Option<String> {
    let at = arguments.iter().position(|word| word.starts_with(unknown))?;
    let (option, value) = (arguments.get(at.checked_sub(1)?)?, arguments.get(at)?);
    let takes_value = |arg: &clap::Arg| {
        arg.get_action().takes_values() && arg.get_long().is_some_and(|long| *option == format!("--{long}"))
    };
    let tip = || {
        format!(
            "a value that begins with a hyphen is written {option}=VALUE, as in `{}`",
            quoted(&format!("{option}={value}"))
        )
    };
    verb.get_arguments().any(takes_value).then(tip)
}

/// Returns the command that is typed, or its own command, as of `store check`.
fn verb_of<'a>(program: &'a Command, arguments: &[String]) -> Option<&'a Command> {
    let mut words = arguments.iter();
    let verb = words.find_map(|word| program.find_subcommand(word))?;
    Some(words.find_map(|word| verb.find_subcommand(word)).unwrap_or(verb))
}

/// Returns what to type if the target of a command was typed without its option.
fn without_target(error: &Error, program: &Command, arguments: &[String]) -> Option<String> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return None };
    missing.iter().find(|name| name.starts_with("--to "))?;
    let verb = verb_of(program, arguments)?.get_name();
    let (target, mut before) = arguments.split_last()?;
    // As other tools write it.
    if let Some((option, rest)) = before.split_last()
        && ["-o", "-t"].contains(&option.as_str())
    {
        before = rest;
    }
    let is_value = |word: &String| !word.starts_with('-') && word != verb;
    let first = before.iter().position(|word| word == verb)?;
    (is_value(target) && before.get(first + 1..)?.iter().any(is_value)).then(|| {
        let before = before.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        format!("{TO}, as in `{before} --to {}`", quoted(target))
    })
}

fn without_id(error: &Error, program: &Command, arguments: &[String]) -> Vec<String> {
    let is_id = |name: &String| name.starts_with("<ID") || name.starts_with("<OTHER_ID");
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) if missing.iter().any(is_id) => {}
        _ => return Vec::new(),
    }
    let Some(verb) = arguments.iter().find_map(|word| program.find_subcommand(word)) else { return Vec::new() };
    let verb = verb.get_name();
    if verb == "diff" {
        return vec!["give two snapshots, as in `diff monday tuesday`".to_owned()];
    }
    let all = if verb == "verify" { ", or `verify --all` for all of them" } else { "" };
    // What is the latest can be another one a moment later.
    let example = if verb == "delete" { String::new() } else { format!(", as in `{verb} latest`{all}") };
    let tip = format!("say which snapshot: an id, the start of one, a name, or latest{example}");
    std::iter::once(tip).chain(newest(arguments).map(|newest| format!("the newest are {newest}"))).collect()
}

/// Returns how the file of a database of the configuration is written, if its name was typed as the file to restore to.
fn database_of(error: &Error, program: &Command, arguments: &[String]) -> Option<String> {
    let (Some(ContextValue::String(option)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    let is_destination = option.starts_with("--to ") && verb_of(program, arguments)?.get_name() == "restore";
    let name = value.strip_prefix('@').filter(|_| is_destination)?;
    let settings = settings_of(arguments)?;
    let path = quoted_path(&settings.file.as_ref()?.databases.get(name)?.path.value);
    Some(format!("the file of the database {name} of the configuration is written `--to {path}`"))
}

/// Returns the settings. The parser has given up, so the options that decide are looked for here.
fn settings_of(arguments: &[String]) -> Option<Settings> {
    let mut words = vec![String::new()];
    for option in ["--store", "--config"] {
        let at = arguments.iter().position(|word| word == option);
        let apart = at.and_then(|at| arguments.get(at + 1)).map(String::as_str);
        let joined = |word: &'_ String| word.strip_prefix(option)?.strip_prefix('=').map(str::to_owned);
        let value = apart.map(str::to_owned).or_else(|| arguments.iter().find_map(joined));
        words.extend(value.map(|value| format!("{option}={value}")));
    }
    words.extend(arguments.iter().find(|word| *word == "--no-config").cloned());
    let matches = Global::augment_args(Command::new("")).try_get_matches_from(words).ok()?;
    let global = Global::from_arg_matches(&matches).ok()?;
    Settings::read(&global, true).ok()
}

/// Names the newest snapshots of a directory. Reads no others. A bucket is not asked: that would take credentials and time.
fn newest(arguments: &[String]) -> Option<String> {
    let location = settings_of(arguments)?.store().ok()?.location().ok()?;
    let Location::Local(_) = &location else { return None };
    let store = open(&location, &StoreConfig::default()).ok()?;
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store).ok()?;
    let named = run_afterwards(async {
        let mut named = Vec::new();
        for id in manager.newest_ids(NEWEST_SHOWN).await? {
            named.push(match manager.get_snapshot(&id).await {
                Ok(Some(snapshot)) => format!("{id} ({})", fitted(&snapshot.name, NAME_COLUMNS)),
                _ => id,
            });
        }
        Ok::<_, SnapshotError>(named.join(", "))
    });
    named?.ok().filter(|named| !named.is_empty())
}
