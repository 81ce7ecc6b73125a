//! The values of options and arguments: what the store and the configuration file of the line have.
#![expect(clippy::disallowed_methods, reason = "limits how long a store may take")]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::{Arg, Args as _, Command, FromArgMatches as _, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _};
use futures::{StreamExt as _, stream};
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use ruvector_snapshot::store::{self, Location, StoreConfig, known_options};
use ruvector_snapshot::{GroupBy, ListOrder, Snapshot, SnapshotManager, check_location};

use crate::config_file::{ConfigFile, find};
use crate::global::Global;
use crate::output::{ago, plain};
use crate::session::parsed_options;
use crate::settings::{ChosenStore, Origin, Settings};
use crate::verbs::list::ListColumn;

/// How long a store may take.
const TIME_MAX: Duration = Duration::from_millis(900);
/// Snapshots that are offered, the newest of the store.
const SNAPSHOTS_MAX: usize = 100;
/// Requests at the same time.
const REQUESTS: usize = 16;
/// Stands for the names of files if the shell completes them itself.
pub(super) const FILES: &str = "//files";

/// What is typed, and what has been read for it.
struct Context {
    words: Vec<String>,
    /// Whether the shell completes names of files itself.
    has_files: bool,
    settings: OnceLock<Option<Settings>>,
    snapshots: OnceLock<Vec<Known>>,
}

/// A snapshot: always its id, and the rest if it was read in time.
#[derive(Clone)]
struct Known {
    id: String,
    snapshot: Option<Snapshot>,
}

/// Returns the program with completers for all values that are known. They are chosen by what the values are called, so
/// that a command has no part in it.
pub(super) fn with_completers(program: Command, words: Vec<String>, has_files: bool) -> Command {
    let context = Arc::new(Context { words, has_files, settings: OnceLock::new(), snapshots: OnceLock::new() });
    completed(program, &context)
}

fn completed(command: Command, context: &Arc<Context>) -> Command {
    let command = command.mut_args(|arg| with_completer(arg, context));
    command.mut_subcommands(|inner| completed(inner, context))
}

fn with_completer(arg: Arg, context: &Arc<Context>) -> Arg {
    let names = arg.get_value_names().unwrap_or_default();
    let value_name = names.first().map(|name| name.to_string()).unwrap_or_default();
    let values: fn(&Context, &str) -> Vec<CompletionCandidate> = match (arg.get_id().as_str(), value_name.as_str()) {
        (_, "ID") => |context, _| ids(context.selectable()),
        (_, "OTHER_ID") => |context, _| ids(context.snapshots(context.option(&["--to"]))),
        (_, "LOCATION") => Context::stores,
        ("db", _) => Context::databases,
        ("policy", _) => |context, _| context.of_file(|file| file.retention.keys().map(String::as_str).collect()),
        ("once", _) => {
            |context, _| context.of_file(|file| file.jobs.iter().map(|job| job.name.value.as_str()).collect())
        }
        ("name", _) => |context, _| names_of(&context.snapshots(None)),
        ("source" | "sources", _) => Context::sources,
        ("sort", "KEY") => |_, _| words(ListOrder::ALL.map(ListOrder::word)),
        ("remove", "KEY") => |context, _| distinct(label_keys(&context.snapshots(None))),
        ("group_by", _) => Context::groups,
        ("columns", _) => |_, _| words(ListColumn::ALL.map(ListColumn::word)),
        (_, "KEY=VALUE" | "KEY[=VALUE]") if ["labels", "label", "keep_labels"].contains(&arg.get_id().as_str()) => {
            |context, _| labels_of(&context.snapshots(None))
        }
        ("options", "KEY=VALUE") => |context, _| context.options(None),
        ("to_options", "KEY=VALUE") => |context, _| context.options(context.option(&["--to"])),
        _ if context.has_files && is_path(&arg) => |_, _| vec![CompletionCandidate::new(FILES)],
        _ => return arg,
    };
    let context = context.clone();
    arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
        let typed = typed.to_string_lossy();
        let mut found = values(&context, &typed);
        found.retain(|candidate| is_usable(candidate, &typed));
        found
    }))
}

fn is_path(arg: &Arg) -> bool {
    matches!(
        arg.get_value_hint(),
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath | ValueHint::ExecutablePath
    )
}

/// Returns whether a candidate begins as the word does, and a shell can take it.
fn is_usable(candidate: &CompletionCandidate, typed: &str) -> bool {
    let value = candidate.get_value().to_string_lossy();
    value == FILES || (value.starts_with(typed) && !value.contains(char::is_control))
}

impl Context {
    /// Returns the last value of an option of the line.
    fn option(&self, names: &[&str]) -> Option<String> {
        let mut values = self.values(names);
        values.pop()
    }

    /// Returns the values of an option, without the word that is completed.
    fn values(&self, names: &[&str]) -> Vec<String> {
        let words = self.words.split_last().map_or(&[][..], |(_, before)| before);
        let mut values = Vec::new();
        for (at, word) in words.iter().enumerate().take_while(|(_, word)| *word != "--") {
            for name in names {
                if word == name {
                    values.extend(words.get(at + 1).cloned());
                } else if let Some(value) = word.strip_prefix(name).and_then(|value| value.strip_prefix('=')) {
                    values.push(value.to_owned());
                }
            }
        }
        values
    }

    /// Returns the settings of the line. `None` if something is wrong with them.
    fn settings(&self) -> Option<&Settings> {
        self.settings.get_or_init(|| self.read_settings()).as_ref()
    }

    fn read_settings(&self) -> Option<Settings> {
        let mut arguments = vec!["ruvector-snapshot".to_owned()];
        for name in ["--store", "--config"] {
            arguments.extend(self.option(&[name]).into_iter().map(|value| format!("{name}={value}")));
        }
        arguments.extend(self.words.iter().find(|word| *word == "--no-config").cloned());
        let options = Global::augment_args(Command::new("options")).try_get_matches_from(arguments).ok()?;
        let global = Global::from_arg_matches(&options).ok()?;
        // A pipe would be waited for while somebody types.
        let is_usable =
            global.no_config || find(global.config.as_deref()).ok()?.is_none_or(|found| found.path.is_file());
        if is_usable { Settings::read(&global, true).ok() } else { None }
    }

    /// Returns the store of the line, or the one that `text` means.
    fn store(&self, text: Option<String>) -> Option<(ChosenStore, Vec<String>)> {
        let settings = self.settings()?;
        match text {
            Some(text) => {
                let chosen = settings.chosen(&text, Origin::Flag("--to")).ok()?;
                Some((chosen, self.values(&["--to-option"])))
            }
            None => Some((settings.store().ok()?, self.values(&["-o", "--option"]))),
        }
    }

    /// Returns the newest snapshots of a store, as far as they were read in time. They are read once: a line has one store
    /// that is asked.
    fn snapshots(&self, text: Option<String>) -> Vec<Known> {
        let read = || self.store(text).map(|(chosen, options)| read_in_time(chosen, options)).unwrap_or_default();
        self.snapshots.get_or_init(read).clone()
    }

    /// Returns the snapshots that the command can have something to do with.
    fn selectable(&self) -> Vec<Known> {
        let mut snapshots = self.snapshots(None);
        if self.words.iter().any(|word| word == "unpin") {
            snapshots.retain(|known| known.snapshot.as_ref().is_none_or(|snapshot| snapshot.pinned));
        }
        snapshots
    }

    /// Returns what `prune` can group by.
    fn groups(&self, _typed: &str) -> Vec<CompletionCandidate> {
        let snapshots = self.snapshots(None);
        let labels = label_keys(&snapshots).map(GroupBy::Label);
        let groups = [GroupBy::Source, GroupBy::Name, GroupBy::None].into_iter().chain(labels);
        distinct(groups.map(|group| group.to_string()))
    }

    fn of_file(&self, names: impl FnOnce(&ConfigFile) -> Vec<&str>) -> Vec<CompletionCandidate> {
        let file = self.settings().and_then(|settings| settings.file.as_ref());
        file.map(|file| names(file).into_iter().map(CompletionCandidate::new).collect()).unwrap_or_default()
    }

    /// Returns the profiles, and directories.
    fn stores(&self, typed: &str) -> Vec<CompletionCandidate> {
        let file = self.settings().and_then(|settings| settings.file.as_ref());
        let profiles = file.iter().flat_map(|file| &file.stores).map(|(name, profile)| {
            let place = plain(&profile.location.value.to_string());
            CompletionCandidate::new(format!("@{name}")).help(Some(place.into()))
        });
        self.with_paths(typed, profiles.collect(), PathCompleter::dir())
    }

    /// Returns the databases, and files.
    fn databases(&self, typed: &str) -> Vec<CompletionCandidate> {
        let file = self.settings().and_then(|settings| settings.file.as_ref());
        let databases = file.iter().flat_map(|file| &file.databases).map(|(name, database)| {
            let path = plain(&database.path.value.display().to_string());
            CompletionCandidate::new(format!("@{name}")).help(Some(path.into()))
        });
        self.with_paths(typed, databases.collect(), PathCompleter::any())
    }

    fn with_paths(
        &self,
        typed: &str,
        mut named: Vec<CompletionCandidate>,
        paths: PathCompleter,
    ) -> Vec<CompletionCandidate> {
        if typed.starts_with('@') {
            return named;
        }
        if self.has_files && !typed.is_empty() {
            return vec![CompletionCandidate::new(FILES)];
        }
        let current = std::env::current_dir().unwrap_or_default();
        named.extend(paths.current_dir(current).complete(Path::new(typed).as_os_str()));
        named
    }

    fn sources(&self, _typed: &str) -> Vec<CompletionCandidate> {
        let snapshots = self.snapshots(None);
        let of_store = snapshots.iter().filter_map(|known| known.snapshot.as_ref()?.source.name.clone());
        let file = self.settings().and_then(|settings| settings.file.as_ref());
        let databases = file.iter().flat_map(|file| file.databases.values());
        let of_file = databases.filter_map(|database| Some(database.source.as_ref()?.value.clone()));
        distinct(of_store.chain(of_file))
    }

    /// Returns the options of the bucket.
    fn options(&self, text: Option<String>) -> Vec<CompletionCandidate> {
        let Some((chosen, _)) = self.store(text) else { return Vec::new() };
        let Ok(Location::Bucket { provider, .. }) = chosen.location() else { return Vec::new() };
        let options = known_options(provider.scheme()).into_iter();
        let named = options.map(|option| {
            CompletionCandidate::new(format!("{}=", option.name)).help(Some(option.description.to_owned().into()))
        });
        named.collect()
    }
}

fn words<const N: usize>(words: [&'static str; N]) -> Vec<CompletionCandidate> {
    words.into_iter().map(CompletionCandidate::new).collect()
}

/// Returns `latest`, names, and ids with their names and ages.
fn ids(snapshots: Vec<Known>) -> Vec<CompletionCandidate> {
    let now = SystemClock.now();
    let mut found = vec![CompletionCandidate::new("latest").help(Some("the newest snapshot".into()))];
    found.extend(names_of(&snapshots));
    found.extend(snapshots.iter().map(|known| {
        let help = known.snapshot.as_ref().map(|snapshot| described(snapshot, now).into());
        CompletionCandidate::new(&known.id).help(help)
    }));
    found
}

fn described(snapshot: &Snapshot, now: DateTime<Utc>) -> String {
    plain(&format!("{}, {}", snapshot.name, ago(snapshot.created_at, now)))
}

fn names_of(snapshots: &[Known]) -> Vec<CompletionCandidate> {
    distinct(snapshots.iter().filter_map(|known| Some(known.snapshot.as_ref()?.name.clone())))
}

fn labels_of(snapshots: &[Known]) -> Vec<CompletionCandidate> {
    let labels =
        snapshots.iter().filter_map(|known| known.snapshot.as_ref()).flat_map(|snapshot| snapshot.labels.iter());
    distinct(labels.map(|(key, value)| format!("{key}={value}")))
}

fn label_keys(snapshots: &[Known]) -> impl Iterator<Item = String> {
    let snapshots = snapshots.iter().filter_map(|known| known.snapshot.as_ref());
    snapshots.flat_map(|snapshot| snapshot.labels.iter().map(|(key, _)| key.to_owned()))
}

/// Returns each value once, in the order in which they are first.
fn distinct(values: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let mut found: Vec<String> = Vec::new();
    for value in values {
        if !value.is_empty() && !found.contains(&value) {
            found.push(value);
        }
    }
    found.into_iter().map(CompletionCandidate::new).collect()
}

/// Reads the newest snapshots on another thread, and returns what is there when the time is over: a disk may not answer at
/// all.
fn read_in_time(chosen: ChosenStore, options: Vec<String>) -> Vec<Known> {
    let (sender, receiver) = mpsc::channel();
    let reader = thread::Builder::new().name("completions".to_owned());
    if reader.spawn(move || read(&chosen, &options, &sender)).is_err() {
        return Vec::new();
    }
    let end = Instant::now() + TIME_MAX;
    let mut found: Vec<Known> = Vec::new();
    while let Ok(known) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        match found.iter_mut().find(|other| other.id == known.id) {
            Some(other) => *other = known,
            None => found.push(known),
        }
    }
    found
}

/// Sends the ids, and then each snapshot that can be read.
fn read(chosen: &ChosenStore, options: &[String], sender: &Sender<Known>) -> Option<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let manager = open(chosen, options)?;
        let ids = manager.newest_ids(SNAPSHOTS_MAX).await.ok()?;
        for id in &ids {
            sender.send(Known { id: id.clone(), snapshot: None }).ok()?;
        }
        let read = ids.into_iter().map(|id| {
            let manager = &manager;
            async move { Some(Known { snapshot: manager.get_snapshot(&id).await.ok()?, id }) }
        });
        let mut read = stream::iter(read).buffer_unordered(REQUESTS);
        while let Some(known) = read.next().await {
            sender.send(known?).ok()?;
        }
        Some(())
    })
}

/// Opens the store, and makes none.
fn open(chosen: &ChosenStore, options: &[String]) -> Option<SnapshotManager> {
    let location = chosen.location().ok()?;
    check_location(&location).ok()?;
    let typed = parsed_options(options, "-o").ok()?;
    let options = chosen.options(&location, &typed, &mut |_| {}).ok()?;
    let config = StoreConfig::default().options(options).transfers(chosen.transfers);
    let opened = store::open(&location, &config).ok()?;
    SnapshotManager::with_store(chosen.config(), opened).ok()
}
