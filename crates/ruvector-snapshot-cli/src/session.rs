//! What all commands share: the store, the output, and how to stop on a signal. No command lives here, and the signals
//! themselves are in `signals`.
//!
//! `resolve` finds the snapshots that the arguments mean.

mod resolve;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ruvector_snapshot::store::{
    self, Location, SnapshotStore, StoreAccess, StoreConfig, StoreOptions, check_access, known_options,
};
use ruvector_snapshot::{ErrorKind, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager, check_location};
use serde::Serialize;
use tokio::sync::watch;

use crate::documents::Run;
use crate::failure::{Exit, Failure, kind_name};
use crate::global::{Global, STORE_VARIABLE};
use crate::near_store;
use crate::output::{Ids, Output, quoted};
use crate::screen::{Screen, Shown};
use crate::settings::{ChosenStore, Origin, Settings};
use crate::warnings::Warnings;

pub(crate) use resolve::Several;

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) output: Output,
    pub(crate) run: Run,
    /// Whether warnings are failures.
    pub(crate) strict: bool,
    pub(crate) warnings: Warnings,
    pub(crate) ids: Ids,
    /// The progress bar.
    pub(crate) screen: Screen,
    /// How progress is displayed.
    pub(crate) progress: Shown,
    pub(crate) settings: Settings,
    /// The location of the store. As typed, unless a profile of the configuration file has it.
    pub(crate) store: String,
    /// Options of the bucket, as typed.
    pub(crate) options: Vec<String>,
    /// The store. `None` if there is no such profile, which is no obstacle for a command that needs no store.
    chosen: Option<ChosenStore>,
    interrupted: Interrupts,
    /// Changes when the configuration is to be read again.
    pub(crate) reloads: Reloads,
    /// Directories that this run has created for stores.
    created: Mutex<Vec<PathBuf>>,
    /// The ids of the snapshots that the arguments mean, and `None` for an argument that means none.
    resolved: Mutex<Vec<Option<String>>>,
}

/// Receives how the program ends if a signal has stopped it, and `None` until then.
pub(crate) type Interrupts = watch::Receiver<Option<Exit>>;
/// Changes each time that a signal asks to read the configuration again.
pub(crate) type Reloads = watch::Receiver<()>;

impl Session {
    pub(crate) fn new(
        global: Global,
        output: Output,
        settings: Settings,
        run: Run,
        (interrupted, reloads): (Interrupts, Reloads),
    ) -> Self {
        let progress = Shown::of(&global, output);
        let chosen = settings.store().ok();
        let store = chosen.as_ref().map(|chosen| chosen.text.clone()).or(global.store);
        let store = store.unwrap_or_default();
        let (warnings, created) = (Warnings::new(output), Mutex::default());
        let run = run.at_store(&store);
        let (options, strict) = (global.options, global.strict);
        let (ids, screen) = (Ids::default(), Screen::default());
        Self {
            output,
            run,
            strict,
            warnings,
            ids,
            screen,
            progress,
            settings,
            store,
            options,
            chosen,
            interrupted,
            reloads,
            created,
            resolved: Mutex::default(),
        }
    }

    /// Returns the store that the commands are for.
    pub(crate) fn chosen(&self) -> Result<ChosenStore, Failure> {
        self.chosen.clone().map_or_else(|| self.settings.store(), Ok)
    }

    /// Returns the store that was typed after `flag`.
    pub(crate) fn chosen_as(&self, text: &str, flag: &'static str) -> Result<ChosenStore, Failure> {
        self.settings.chosen(text, Origin::Flag(flag))
    }

    /// Prints the document of the run, with these members, if the output is JSON.
    pub(crate) fn document(&self, members: &impl Serialize) -> Result<(), Failure> {
        self.output.document(&self.run.document(members, &self.warnings.list()))
    }

    /// Opens an existing store. A store that does not exist is an error and is not created: the path may be mistyped,
    /// or its disk not mounted.
    pub(crate) fn open(&self) -> Result<SnapshotManager, Failure> {
        self.open_with(self.config())
    }

    /// As [`open`](Self::open), with other settings.
    pub(crate) fn open_with(&self, config: SnapshotConfig) -> Result<SnapshotManager, Failure> {
        SnapshotManager::with_store(config, self.open_store()?).map_err(Failure::usage)
    }

    /// Opens an existing store.
    pub(crate) fn open_store(&self) -> Result<Arc<dyn SnapshotStore>, Failure> {
        self.location()?;
        self.open_existing(&self.chosen()?, &self.options, "-o")
    }

    /// Opens an existing store. `flag` is that of its options.
    pub(crate) fn open_existing(
        &self,
        chosen: &ChosenStore,
        options: &[String],
        flag: &str,
    ) -> Result<Arc<dyn SnapshotStore>, Failure> {
        self.open_at(chosen, options, flag, false).map_err(|failure| {
            let is_local = chosen.location().is_ok_and(|location| matches!(location, Location::Local(_)));
            if !is_local || failure.kind() != kind_name(ErrorKind::NotFound) {
                return failure;
            }
            let message = format!("cannot open the store {}: the directory does not exist", chosen.text);
            let hint = match chosen.origin {
                Origin::Default => format!(
                    "no store is given, so it is {} in this directory; give another with --store or {STORE_VARIABLE}; `create --db \
                     FILE` makes a new one",
                    chosen.text
                ),
                _ => format!(
                    "check {}, and that the disk is mounted; `create --db FILE` makes a new store, if the directory above it exists",
                    checked(&chosen.origin)
                ),
            };
            Failure::new(ErrorKind::NotFound, message).with_hint(hint)
        })
    }

    /// Returns the settings that all commands share.
    pub(crate) fn config(&self) -> SnapshotConfig {
        self.chosen.as_ref().map_or_else(SnapshotConfig::default, ChosenStore::config)
    }

    /// Opens a store, and creates it if it does not exist.
    pub(crate) fn open_or_create(&self, config: SnapshotConfig) -> Result<SnapshotManager, Failure> {
        SnapshotManager::with_store(config, self.open_location(true)?).map_err(Failure::usage)
    }

    /// As [`open_or_create`](Self::open_or_create) for a dry run: a directory that would be created is not, and counts as a
    /// store without snapshots.
    pub(crate) fn open_planned(&self, config: SnapshotConfig) -> Result<SnapshotManager, Failure> {
        match self.location()? {
            Location::Local(path) if !path.exists() => {
                self.check_access()?;
                let store = store::open(&Location::Memory, &StoreConfig::default()).map_err(Failure::from)?;
                SnapshotManager::with_store(config, store).map_err(Failure::usage)
            }
            _ => self.open_or_create(config),
        }
    }

    /// Fails if the store is a directory that this user cannot write, or cannot create. Writes nothing.
    pub(crate) fn check_access(&self) -> Result<StoreAccess, Failure> {
        let checked = check_access(&self.location()?).map_err(Failure::from);
        checked.map_err(|failure| {
            failure.with_hint("check --store, its owner and its permissions, and that its disk is mounted for writing")
        })
    }

    fn open_location(&self, create: bool) -> Result<Arc<dyn SnapshotStore>, Failure> {
        self.location()?;
        self.open_at(&self.chosen()?, &self.options, "-o", create)
    }

    /// Opens a store with options that were typed after `flag`.
    pub(crate) fn open_at(
        &self,
        chosen: &ChosenStore,
        options: &[String],
        flag: &str,
        create: bool,
    ) -> Result<Arc<dyn SnapshotStore>, Failure> {
        let location = &self.location_of(chosen)?;
        check_location(location).map_err(Failure::usage)?;
        let typed = parsed_options(options, flag)?;
        let options = chosen.options(location, &typed, &mut |warning| self.warnings.add(&warning))?;
        // A local path that cannot be used, for example because it is a file, is not wrong usage.
        let is_local = matches!(location, Location::Local(_)) && options.is_empty();
        let config = StoreConfig::default().create(create).options(options).transfers(chosen.transfers);
        let new = match location {
            Location::Local(path) if create && path.symlink_metadata().is_err() => Some(path.clone()),
            _ => None,
        };
        let opened = store::open(location, &config);
        self.created.lock().unwrap_or_else(PoisonError::into_inner).extend(new.filter(|_| opened.is_ok()));
        opened.map_err(if is_local { Failure::from } else { Failure::usage })
    }

    /// After a failure: removes directories that this run has created for stores, and that are empty. Otherwise a mistyped
    /// path would look like a store without snapshots from now on.
    pub(crate) fn remove_created(&self) {
        for path in self.created.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Fails if there is anything in it.
            let _removed = std::fs::remove_dir(path);
        }
    }

    /// Says that a directory inside that of the store holds snapshots, in words that follow on. Empty if none does.
    pub(crate) fn store_inside(&self) -> String {
        self.location().as_ref().map(near_store::store_inside).unwrap_or_default()
    }

    /// Returns the location that was typed.
    pub(crate) fn location(&self) -> Result<Location, Failure> {
        if self.store.is_empty() && std::env::var_os(STORE_VARIABLE).is_some_and(|store| store.is_empty()) {
            let message = format!(
                "{STORE_VARIABLE} is set, but empty; set it to a directory or a bucket, or unset it and use --store"
            );
            return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)));
        }
        self.location_of(&self.chosen()?)
    }

    /// Returns the location of a store. An error names what it was set by, unless that is `--store`.
    pub(crate) fn location_of(&self, chosen: &ChosenStore) -> Result<Location, Failure> {
        let location = chosen.location().map_err(|error| match &chosen.origin {
            Origin::Default | Origin::Flag("--store") => error,
            origin => SnapshotError::new(error.kind(), format!("{}: {}", origin.name("--store"), error.message())),
        });
        lasting(location.map_err(Failure::usage)?)
    }

    /// Runs work until it ends or a signal arrives. After a signal the work is dropped and cleaned up, and
    /// `after_interrupt` reports at the very end what is left.
    pub(crate) async fn run<T>(
        &self,
        manager: &SnapshotManager,
        work: impl Future<Output = Result<T, SnapshotError>>,
        after_interrupt: impl FnOnce() -> String + Send + 'static,
    ) -> Result<T, Failure> {
        let mut interrupted = self.interrupted.clone();
        // The branches own their futures: interrupted work is dropped here, before anything else happens.
        let answer = tokio::select! {
            biased;
            Some(exit) = interrupt(&mut interrupted) => Err(exit),
            answer = work => Ok(answer),
        };
        if answer.is_err() {
            self.screen.stop();
            if !self.output.quiet {
                self.output.passing_notice("interrupted; cleaning up (a second signal stops at once)");
            }
            manager.wait_for_cleanup().await;
        }
        self.warnings.take_from(manager);
        match answer {
            Ok(answer) => Ok(answer?),
            Err(exit) => Err(Failure::interrupted(exit, after_interrupt)),
        }
    }

    /// Waits until a signal stops the program, and returns how the program ends then.
    pub(crate) async fn stopped(&self) -> Exit {
        match interrupt(&mut self.interrupted.clone()).await {
            Some(exit) => exit,
            None => std::future::pending().await,
        }
    }

    /// Waits for something that needs no cleaning up, until a signal arrives.
    pub(crate) async fn until_interrupted<T>(
        &self,
        work: impl Future<Output = T>,
        after_interrupt: impl FnOnce() -> String + Send + 'static,
    ) -> Result<T, Failure> {
        let mut interrupted = self.interrupted.clone();
        tokio::select! {
            biased;
            Some(exit) = interrupt(&mut interrupted) => Err(Failure::interrupted(exit, after_interrupt)),
            answer = work => Ok(answer),
        }
    }

    /// Runs work that changes nothing.
    pub(crate) async fn read<T>(
        &self,
        manager: &SnapshotManager,
        work: impl Future<Output = Result<T, SnapshotError>>,
    ) -> Result<T, Failure> {
        self.run(manager, work, || "nothing was changed".to_owned()).await
    }

    /// Returns an id as it is printed: whole, unless results go to a terminal and the ids of the store are known.
    pub(crate) fn short<'a>(&self, id: &'a str) -> &'a str {
        self.ids.shorten(id)
    }

    /// Learns how short ids can be, unless that is known.
    pub(crate) async fn learn_ids(&self, manager: &SnapshotManager) {
        if !self.ids.are_known() {
            self.read_ids(manager).await;
        }
    }

    /// Learns how short ids can be from those of a store. If they cannot be read, ids stay whole.
    pub(crate) async fn read_ids(&self, manager: &SnapshotManager) {
        if !self.output.has_short_ids {
            return;
        }
        match self.until_interrupted(manager.newest_ids(usize::MAX), String::new).await {
            Ok(Ok(ids)) => self.ids.learn(ids),
            _ => self.ids.learn_none(),
        }
    }

    /// As [`read_ids`](Self::read_ids), from ids that were read already.
    pub(crate) fn learn_listed(&self, ids: impl IntoIterator<Item = String>) {
        if self.output.has_short_ids {
            self.ids.learn(ids);
        }
    }

    /// Returns whether the store has no snapshots. Learns how short ids can be by the same listing, so that nothing is asked of
    /// the store after a snapshot was created: it may not answer any more.
    pub(crate) async fn is_new(&self, manager: &SnapshotManager) -> Result<bool, Failure> {
        if !self.output.has_short_ids {
            return Ok(!self.read(manager, manager.has_snapshots()).await?);
        }
        let ids = self.read(manager, manager.newest_ids(usize::MAX)).await?;
        let is_new = ids.is_empty();
        self.ids.learn(ids);
        Ok(is_new)
    }

    /// Warns of an option that has no effect, because the command stores no data files.
    pub(crate) fn warn_of_unused_options(&self, stores_data: bool) {
        let is_storage_class =
            |option: &String| option.split('=').next().is_some_and(|key| key.trim() == "storage_class");
        if !stores_data && self.options.iter().any(is_storage_class) {
            let message = "-o storage_class has no effect: it is for data files that are stored, and this command stores none \
                           at --store; for the target of a copy it is --to-option storage_class";
            self.warnings.add(message);
        }
    }

    /// Warns of annotations that cannot be read: what they say is not in the labels and the notes.
    pub(crate) fn warn_of_annotations<'a>(&self, snapshots: impl IntoIterator<Item = &'a Snapshot>) {
        for snapshot in snapshots {
            snapshot.annotation_warnings().for_each(|warning| self.warnings.add(&warning));
        }
    }

    /// Returns a command line for the same store.
    pub(crate) fn command(&self, verb: &str) -> String {
        let store = match &self.chosen {
            Some(ChosenStore { typed, origin: Origin::Flag(_), .. }) => format!(" --store {}", quoted(typed)),
            _ => String::new(),
        };
        self.command_with(&format!("{store}{}", shown_options(&self.options)), verb)
    }

    /// Returns a command line for another store of the same configuration file.
    pub(crate) fn command_for(&self, store: &str, verb: &str) -> String {
        self.command_with(&format!(" --store {}", quoted(store)), verb)
    }

    fn command_with(&self, store: &str, verb: &str) -> String {
        let config = match &self.settings.named {
            Some(path) => format!(" --config {}", quoted(&path.display().to_string())),
            None if self.settings.is_off => " --no-config".to_owned(),
            None => String::new(),
        };
        format!("ruvector-snapshot{config}{store} {verb}")
    }
}

/// Returns what to check if a store is the wrong one. The flag replaces what the environment says.
fn checked(origin: &Origin) -> &str {
    match origin {
        Origin::Flag(flag) => flag,
        Origin::File(place) => place,
        Origin::Environment(_) | Origin::Default => "--store",
    }
}

/// Refuses a store that would not outlast this run.
fn lasting(location: Location) -> Result<Location, Failure> {
    if location != Location::Memory {
        return Ok(location);
    }
    let message = "a memory:// store would be lost when this program ends; use a directory or a bucket";
    Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)))
}

/// Returns the options that were typed after `flag`.
pub(crate) fn parsed_options(texts: &[String], flag: &str) -> Result<StoreOptions, Failure> {
    let wrong = |message: String| Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message));
    let mut options = BTreeMap::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(wrong(format!("{flag} takes KEY=VALUE, for example region=eu-west-1")));
        };
        if options.insert(name, value).is_some() {
            return Err(wrong(format!("the option {name} is given twice, but an option has one value")));
        }
    }
    Ok(options.into_iter().collect())
}

/// Returns options as they can be typed again. The values of secrets are left out, and so are those of unknown options.
fn shown_options(texts: &[String]) -> String {
    let known = ["s3", "gs", "az"].map(known_options).concat();
    let is_secret = |text: &str| {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        known.iter().filter(|option| option.name == name).all(|option| option.is_secret)
            || known.iter().any(|option| option.name == name && option.is_secret)
    };
    let (secret, shown): (Vec<_>, Vec<_>) = texts.iter().partition(|text| is_secret(text));
    let shown: String = shown.iter().map(|text| format!(" -o {}", quoted(text))).collect();
    if secret.is_empty() { shown } else { shown + " -o ..." }
}

/// Waits until a signal has stopped the program. `None` if no signal can be received.
async fn interrupt(interrupted: &mut Interrupts) -> Option<Exit> {
    *interrupted.wait_for(Option::is_some).await.ok()?
}
