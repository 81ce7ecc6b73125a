//! Which value applies: that of the command line, of the environment, of the configuration file, or the default, in this
//! order; and where it came from. Opens no store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruvector_snapshot::store::{EffectiveOption, Location, StoreOptions, TransferConfig};
use ruvector_snapshot::{ErrorKind, SnapshotConfig, SnapshotError, closest};

use crate::config_file::{
    At, ConfigError, ConfigFile, Database, Found, OptionValue, Retention, StoreProfile, StoreRef, UNUSED_HOOK,
    UnsaidVariable, find, unused_bucket,
};
use crate::failure::Failure;
use crate::global::{Global, STORE_DEFAULT, STORE_VARIABLE};
use crate::output::{counted, quoted_path};

/// Problems of a file that an error lists. `config check` lists all.
const PROBLEMS_SHOWN: usize = 10;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(String),
    /// A line of the configuration file.
    File(String),
    Default,
}

impl Origin {
    /// Returns what to check if the value is wrong.
    pub(crate) fn name<'a>(&'a self, default: &'a str) -> &'a str {
        match self {
            Self::Flag(flag) => flag,
            Self::Environment(variable) => variable,
            Self::File(place) => place,
            Self::Default => default,
        }
    }
}

/// What was set on the command line, and the configuration file.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The file that was named with `--config`.
    pub(crate) named: Option<PathBuf>,
    /// Whether none is read, as `--no-config` says.
    pub(crate) is_off: bool,
    pub(crate) found: Option<Found>,
    pub(crate) file: Option<Arc<ConfigFile>>,
    store: Option<String>,
    pub(crate) connections: Option<usize>,
    pub(crate) limit_upload: Option<u64>,
    pub(crate) limit_download: Option<u64>,
}

/// A store that was chosen, and how it is used.
#[derive(Debug, Clone)]
pub(crate) struct ChosenStore {
    /// What was typed, for example `@offsite`.
    pub(crate) typed: String,
    pub(crate) origin: Origin,
    /// The location as text. If it is that of the file, it is absolute.
    pub(crate) text: String,
    /// The location of a file, which has been parsed. Others are parsed when they are needed.
    location: Option<Location>,
    /// The profile, if one was chosen: `typed` has its name.
    pub(crate) profile: Option<StoreProfile>,
    /// Where the location is written, if that is a file that was only found in the working directory.
    unnamed_place: Option<String>,
    file: Option<Arc<ConfigFile>>,
    pub(crate) transfers: TransferConfig,
}

impl Settings {
    /// Finds the configuration file and reads it. Everything else is read when it is needed.
    pub(crate) fn read(global: &Global, is_file_needed: bool) -> Result<Self, Failure> {
        let (found, file) = match is_file_needed && !global.no_config {
            true => find_and_read(global.config.as_deref())?,
            false => (None, None),
        };
        Ok(Self {
            named: global.config.clone(),
            is_off: global.no_config,
            found,
            file,
            store: global.store.clone(),
            connections: global.connections,
            limit_upload: global.limit_upload,
            limit_download: global.limit_download,
        })
    }

    /// Finds and reads the configuration file again. What was set on the command line stays.
    pub(crate) fn read_again(&self) -> Result<Self, Failure> {
        let (found, file) = if self.is_off { (None, None) } else { find_and_read(self.named.as_deref())? };
        let Self { named, is_off, store, connections, limit_upload, limit_download, .. } = self;
        let (named, store) = (named.clone(), store.clone());
        let (connections, limit_upload, limit_download) = (*connections, *limit_upload, *limit_download);
        Ok(Self { named, is_off: *is_off, found, file, store, connections, limit_upload, limit_download })
    }

    /// Returns whether a store was given as an option, and not by the environment.
    pub(crate) fn has_typed_store(&self) -> bool {
        let variable = std::env::var_os(STORE_VARIABLE);
        self.store.as_ref().is_some_and(|store| variable.is_none_or(|variable| variable != store.as_str()))
    }

    /// Refuses commands and addresses of a file of the working directory: a stranger's file must not decide what is run here.
    pub(crate) fn check_hooks_are_named(&self, file: &ConfigFile) -> Result<(), Failure> {
        let Some((line, key)) = file.hooks().next() else { return Ok(()) };
        match self.unnamed(file.place(line)) {
            Some(place) => {
                let hint = trust_hint(&quoted_path(&file.path));
                Err(wrong(format!("{place}: {key} {UNUSED_HOOK}")).with_hint(hint))
            }
            None => Ok(()),
        }
    }

    /// Returns the store that the commands are for.
    pub(crate) fn store(&self) -> Result<ChosenStore, Failure> {
        if let Some(text) = &self.store {
            let variable = std::env::var_os(STORE_VARIABLE).is_some_and(|store| store == text.as_str());
            let origin =
                if variable { Origin::Environment(STORE_VARIABLE.to_owned()) } else { Origin::Flag("--store") };
            return self.chosen(text, origin);
        }
        match self.file.as_ref().and_then(|file| Some((file, file.store.as_ref()?))) {
            Some((file, store)) => self.of_file(file, store),
            None => Ok(self.located(STORE_DEFAULT, Origin::Default)),
        }
    }

    /// Returns the store that a line of the file names.
    pub(crate) fn of_file(&self, file: &ConfigFile, store: &At<StoreRef>) -> Result<ChosenStore, Failure> {
        let place = file.place(store.line);
        match &store.value {
            StoreRef::Profile(name) => self.chosen(&format!("@{name}"), Origin::File(place)),
            StoreRef::Location(location) => {
                let chosen = self.located(&location.to_string(), Origin::File(place.clone()));
                Ok(ChosenStore { location: Some(location.clone()), unnamed_place: self.unnamed(place), ..chosen })
            }
        }
    }

    /// Returns the store that a text means: a location, or `@NAME` for a profile.
    pub(crate) fn chosen(&self, text: &str, origin: Origin) -> Result<ChosenStore, Failure> {
        let Some(name) = text.strip_prefix('@') else {
            self.check_is_no_profile(text, &origin)?;
            return Ok(self.located(text, origin));
        };
        let profile = self.named("profile of a store", name, &origin, |file| &file.stores)?;
        let transfers = self.transfers(Some(profile));
        let place = self.file.as_ref().map(|file| file.place(profile.location.line));
        Ok(ChosenStore {
            typed: text.to_owned(),
            unnamed_place: place.and_then(|place| self.unnamed(place)),
            origin,
            text: profile.location.value.to_string(),
            location: Some(profile.location.value.clone()),
            profile: Some(profile.clone()),
            file: self.file.clone(),
            transfers,
        })
    }

    /// Returns a place in the file, if it was only found in the working directory.
    fn unnamed(&self, place: String) -> Option<String> {
        self.found.as_ref().filter(|found| found.is_of_working_directory()).map(|_| place)
    }

    /// Refuses the name of a profile without its `@`, unless there is such a directory: snapshots would go into a new one.
    fn check_is_no_profile(&self, text: &str, origin: &Origin) -> Result<(), Failure> {
        let is_profile = self.file.as_ref().is_some_and(|file| file.stores.contains_key(text));
        if !is_profile || Path::new(text).exists() {
            return Ok(());
        }
        let place = origin.name("store");
        Err(wrong(format!("{place}: there is no directory {text}, but a profile @{text}"))
            .with_hint(format!("write @{text} for the profile, or ./{text} for the directory")))
    }

    /// Returns the limits of transfers: those that were typed before those of the profile.
    fn transfers(&self, profile: Option<&StoreProfile>) -> TransferConfig {
        let of = |limit: fn(&StoreProfile) -> &Option<At<u64>>| Some(limit(profile?).as_ref()?.value);
        let connections = || Some(profile?.connections.as_ref()?.value);
        let connections = self.connections.or_else(connections);
        TransferConfig::default()
            .max_concurrent_io(connections.unwrap_or(TransferConfig::default().max_concurrent_io))
            .max_upload_bytes_per_second(self.limit_upload.or_else(|| of(|profile| &profile.limit_upload)))
            .max_download_bytes_per_second(self.limit_download.or_else(|| of(|profile| &profile.limit_download)))
    }

    fn located(&self, text: &str, origin: Origin) -> ChosenStore {
        let transfers = self.transfers(None);
        let (typed, text) = (text.to_owned(), text.to_owned());
        let file = self.file.clone();
        ChosenStore { typed, origin, text, location: None, profile: None, unnamed_place: None, file, transfers }
    }

    /// Returns the database of the file that a path means, if it is `@NAME`. `./@NAME` is a file of that name.
    pub(crate) fn database(&self, path: &Path, flag: &'static str) -> Result<Option<Database>, Failure> {
        let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) else { return Ok(None) };
        self.named("database", name, &Origin::Flag(flag), |file| &file.databases).cloned().map(Some)
    }

    /// Returns whether this is the name of a database of the file, without its `@`.
    pub(crate) fn is_database(&self, name: &Path) -> bool {
        let file = self.file.as_ref().zip(name.to_str());
        file.is_some_and(|(file, name)| file.databases.contains_key(name))
    }

    /// Returns the retention policy of the file that has this name.
    pub(crate) fn retention(&self, name: &str, flag: &'static str) -> Result<&Retention, Failure> {
        self.named("retention policy", name, &Origin::Flag(flag), |file| &file.retention)
    }

    fn named<'s, T>(
        &'s self,
        what: &str,
        name: &str,
        origin: &Origin,
        map: impl FnOnce(&'s ConfigFile) -> &'s BTreeMap<String, T>,
    ) -> Result<&'s T, Failure> {
        let place = origin.name("store");
        let Some(file) = &self.file else {
            let why = if self.is_off { "--no-config is given" } else { "there is no configuration file" };
            let message = format!("{place}: there is no {what} {name:?}, because {why}");
            let path = if self.is_off { "" } else { "`config path` shows where it is looked for; " };
            let other = match what {
                "retention policy" => "give rules, such as --keep-last 7",
                _ => "a file or directory whose name begins with @ is written ./@NAME",
            };
            return Err(wrong(message).with_hint(format!("{path}{other}")));
        };
        let map = map(file);
        map.get(name).ok_or_else(|| {
            let message = format!("{place}: there is no {what} {name:?} in {}", file.path.display());
            let hint = match closest(name, map.keys().map(String::as_str)) {
                Some(known) => format!("did you mean {known}?"),
                None if map.is_empty() => "it has none; `config show` prints what it has".to_owned(),
                None => format!("it has {}", map.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            wrong(message).with_hint(hint)
        })
    }
}

impl ChosenStore {
    /// Returns the location.
    pub(crate) fn location(&self) -> Result<Location, SnapshotError> {
        self.location.clone().map_or_else(|| self.text.parse(), Ok)
    }

    /// Returns the settings of a manager of this store.
    pub(crate) fn config(&self) -> SnapshotConfig {
        SnapshotConfig {
            max_concurrent_io: self.transfers.max_concurrent_io,
            max_upload_bytes_per_second: self.transfers.max_upload_bytes_per_second,
            max_download_bytes_per_second: self.transfers.max_download_bytes_per_second,
            ..SnapshotConfig::default()
        }
    }

    /// Returns the options: those that were typed before those of the profile, which credentials of the environment
    /// complete. Refuses a server that is not named, before anything secret is read. `warn` receives what the user should
    /// know.
    pub(crate) fn options(
        &self,
        location: &Location,
        typed: &StoreOptions,
        warn: &mut dyn FnMut(String),
    ) -> Result<StoreOptions, Failure> {
        self.check_is_named(location)?;
        self.check_environment(location, typed)?;
        let own = self.profile_options(location, typed, warn)?;
        Ok(typed.over(&self.environment(location).map_err(Failure::usage)?.over(&own)))
    }

    /// Returns the options of the environment that apply.
    fn environment(&self, location: &Location) -> Result<StoreOptions, SnapshotError> {
        match &self.profile {
            Some(profile) => profile.environment(),
            None => Ok(StoreOptions::from_env(location)),
        }
    }

    /// Refuses a variable that would complete the profile, but is no credential: it could lead to another server, and
    /// without it the profile may be incomplete.
    pub(crate) fn check_environment(&self, location: &Location, typed: &StoreOptions) -> Result<(), Failure> {
        let Some(profile) = &self.profile else { return Ok(()) };
        let typed = typed.effective(location).map_err(Failure::usage)?;
        let Some(UnsaidVariable { variable, option }) = profile.unsaid_variable(&typed).map_err(Failure::usage)? else {
            return Ok(());
        };
        let (name, place) = (&self.typed, self.place(profile.location.line));
        let message = format!(
            "the environment variable {variable} is set, but {name} ({place}) has no option {option}: of the environment, \
             only credentials complete a profile"
        );
        Err(wrong(message).with_hint(format!(
            "unset {variable}, or write {option} = \"env:{variable}\" or another value into the options of the profile; \
             -o {option}=..., or --to-option for a second store, applies before both"
        )))
    }

    /// Refuses a server that only a file of the working directory names: the file may be a stranger's, and it would say
    /// what is sent there, for example a file of this user as a key.
    pub(crate) fn check_is_named(&self, location: &Location) -> Result<(), Failure> {
        let (Some(place), Location::Bucket { .. }) = (&self.unnamed_place, location) else { return Ok(()) };
        let message = format!("{place} {}", unused_bucket(location));
        let file = self.file.as_ref().map(|file| quoted_path(&file.path)).unwrap_or_default();
        Err(wrong(message).with_hint(trust_hint(&file)))
    }

    /// Returns the options that apply, with the references of the profile instead of what they refer to.
    pub(crate) fn effective(
        &self,
        location: &Location,
        typed: &StoreOptions,
    ) -> Result<Vec<EffectiveOption>, SnapshotError> {
        let mut own = StoreOptions::default();
        for (option, At { value, line }) in self.own_options() {
            own.set_from(*option, value.to_string(), self.place(*line));
        }
        typed.over(&self.environment(location)?.over(&own)).effective(location)
    }

    /// Returns the options of the profile that apply. Others are not read: what they refer to may not be there.
    fn profile_options(
        &self,
        location: &Location,
        typed: &StoreOptions,
        warn: &mut dyn FnMut(String),
    ) -> Result<StoreOptions, Failure> {
        let mut own = StoreOptions::default();
        if self.profile.is_none() {
            return Ok(own);
        }
        for effective in self.effective(location, typed).map_err(Failure::usage)? {
            let Some(At { value, line }) = self.own_options().get(effective.name) else { continue };
            let place = self.place(*line);
            if effective.origin.as_ref() == Some(&place) {
                value.warning().into_iter().for_each(&mut *warn);
                let failed =
                    |error| wrong(format!("the option {} of {} ({place}): {error}", effective.name, self.typed));
                own.set_from(effective.name, value.read().map_err(failed)?, place);
            }
        }
        Ok(own)
    }

    /// Returns the options that the profile has.
    pub(crate) fn own_options(&self) -> &BTreeMap<&'static str, At<OptionValue>> {
        static NONE: BTreeMap<&'static str, At<OptionValue>> = BTreeMap::new();
        self.profile.as_ref().map_or(&NONE, |profile| &profile.options)
    }

    /// Returns a line of the configuration file, as messages name it.
    pub(crate) fn place(&self, line: usize) -> String {
        self.file.as_ref().map_or_else(|| line.to_string(), |file| file.place(line))
    }
}

/// Finds the configuration file that is `named`, or the first that there is, and reads it.
fn find_and_read(named: Option<&Path>) -> Result<(Option<Found>, Option<Arc<ConfigFile>>), Failure> {
    let found = find(named).map_err(wrong)?;
    let file = found.as_ref().map(read_file).transpose()?;
    Ok((found, file.map(Arc::new)))
}

/// Reads a configuration file.
fn read_file(found: &Found) -> Result<ConfigFile, Failure> {
    ConfigFile::read(found).map_err(|error| match error {
        ConfigError::Unreadable { path, why } => {
            wrong(format!("cannot read the configuration file {}: {why}", path.display()))
                .with_hint("check --config and RUVECTOR_SNAPSHOT_CONFIG; --no-config uses no file")
        }
        ConfigError::Wrong { path, problems } => {
            let number = problems.len();
            let lines = problems
                .iter()
                .map(|problem| format!("{}:{}:{}: {problem}", path.display(), problem.line, problem.column));
            let things = counted(number as u64, "mistake");
            wrong(format!("the configuration file {} has {things}, and nothing was done", path.display()))
                .with_causes(lines.take(PROBLEMS_SHOWN).collect())
                .with_hint(format!("`config check {}` lists all; --no-config uses no file", quoted_path(&path)))
        }
    })
}

fn trust_hint(file: &str) -> String {
    format!(
        "if you trust the file, name it with --config {file} or in the variable RUVECTOR_SNAPSHOT_CONFIG, or move it to \
         ~/.config/ruvector-snapshot"
    )
}

/// Returns the failure of a setting that is wrong.
pub(crate) fn wrong(message: impl Into<String>) -> Failure {
    Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message))
}
