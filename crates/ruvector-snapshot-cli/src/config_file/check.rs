//! Checks what a configuration file refers to: secrets, files, and options that only fit together or not. Sends no request.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Access, access};
use ruvector_snapshot::source::FileReader;
use ruvector_snapshot::store::{self, Location, StoreConfig, StoreOptions};
use ruvector_snapshot::{ErrorKind, check_embedding};

use super::{At, ConfigFile, Database, DatabaseRef, Job, Problem, StoreProfile, StoreRef, UnsaidVariable};

/// What is wrong with what a file refers to, and what the user should know besides.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
}

/// Says that a bucket of a file of the working directory is not used, to follow a word for the file.
pub(crate) fn unused_bucket(location: &Location) -> String {
    format!("names {location}, but this file was only found in the working directory, so nothing is sent there")
}

/// Says that a hook of a file of the working directory is not used, to follow the place and the key.
pub(crate) const UNUSED_HOOK: &str =
    "runs a program or calls a server, but this file was only found in the working directory, so it is not used";

impl ConfigFile {
    /// Returns the commands and addresses of the jobs: the line and the key of each.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = (usize, String)> {
        self.jobs.iter().flat_map(|job| {
            let commands = job.hooks.commands().map(|(key, command)| (command.line, key));
            let addresses = job.hooks.addresses().map(|(key, address)| (address.line, key));
            commands.chain(addresses).map(|(line, key)| (line, format!("jobs.{}.{key}", job.name.value)))
        })
    }

    /// Checks everything that this file refers to on this machine. `is_named` is false for a file that was only found in the
    /// working directory: its buckets are not used.
    pub(crate) fn check_references(&self, is_named: bool) -> References {
        let mut found = References::default();
        if !is_named {
            self.buckets().for_each(|(line, location)| found.add(line, format!("it {}", unused_bucket(location))));
            self.hooks().for_each(|(line, key)| found.add(line, format!("{key} {UNUSED_HOOK}")));
        }
        self.stores.iter().for_each(|(name, profile)| self.check_store(name, profile, &mut found));
        self.databases.iter().for_each(|(name, database)| check_database(name, database, &mut found));
        self.jobs.iter().for_each(|job| check_paths(job, &mut found));
        self.jobs.iter().for_each(|job| self.check_hooks(job, &mut found));
        found.problems.sort();
        found
    }

    /// Returns the buckets that the file names, each with its line.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (usize, &Location)> {
        let own = self.store.iter().chain(self.jobs.iter().flat_map(Job::own_stores));
        let own = own.filter_map(|store| match &store.value {
            StoreRef::Location(location) => Some((store.line, location)),
            StoreRef::Profile(_) => None,
        });
        let profiles = self.stores.values().map(|profile| (profile.location.line, &profile.location.value));
        own.chain(profiles).filter(|(_, location)| matches!(location, Location::Bucket { .. }))
    }

    fn check_hooks(&self, job: &Job, found: &mut References) {
        for (line, problem) in problems_of_hooks(job) {
            found.add(line, format!("jobs.{}.{problem}", job.name.value));
        }
        for (_, At { value, line }) in job.hooks.addresses() {
            found.warnings.extend(value.warning().map(|warning| format!("{}: {warning}", self.place(*line))));
        }
    }

    fn check_store(&self, name: &str, profile: &StoreProfile, found: &mut References) {
        let mut options = StoreOptions::default();
        let before = found.problems.len();
        for (option, At { value, line }) in &profile.options {
            found.warnings.extend(value.warning().map(|warning| format!("{}: {warning}", self.place(*line))));
            match value.read() {
                Ok(value) => options.set_from(*option, value, self.place(*line)),
                Err(error) => found.add(*line, format!("stores.{name}.options.{option}: {error}")),
            }
        }
        // A directory may be a disk that is not mounted now.
        let Location::Bucket { .. } = profile.location.value else { return };
        // What is missing because of a mistake is not missing besides.
        if found.problems.len() > before || profile.has_mistakes {
            return;
        }
        // As a command would open it: the environment may have the other half of the keys.
        let opened = profile.unsaid_variable(&[]).and_then(|unsaid| match unsaid {
            Some(UnsaidVariable { variable, option }) => Ok(Some(format!(
                "stores.{name} has no option {option}, but the environment variable {variable} is set"
            ))),
            None => {
                let config = StoreConfig::default().options(profile.environment()?.over(&options));
                store::open(&profile.location.value, &config).map(|_| None)
            }
        });
        match opened {
            Ok(None) => {}
            Ok(Some(problem)) => found.add(profile.location.line, problem),
            Err(error) => found.add(profile.location.line, format!("stores.{name}: {}", error.message())),
        }
    }
}

fn check_database(name: &str, database: &Database, found: &mut References) {
    let At { value: path, line } = &database.path;
    // That there is no path was found before.
    if !path.as_os_str().is_empty()
        && let Some(problem) = problem_of_database(path)
    {
        found.add(*line, format!("databases.{name}.path: {problem}"));
    }
    if let Err(error) = check_embedding(&database.embedding) {
        found.add(*line, format!("databases.{name}.embedding: {}", error.message()));
    }
    if let Some(At { value: path, line }) = database.scratch_dir.as_ref().filter(|directory| !directory.value.is_dir())
    {
        found.add(*line, format!("databases.{name}.scratch_dir: there is no directory {}", path.display()));
    }
}

/// Checks the databases that a job names by their paths. Those of the file are checked with it.
fn check_paths(job: &Job, found: &mut References) {
    for At { value: database, line } in &job.databases {
        if let DatabaseRef::Path(path) = database
            && let Some(problem) = problem_of_database(path)
        {
            found.add(*line, format!("jobs.{}.databases: {problem}", job.name.value));
        }
    }
}

/// Returns what is wrong with the hooks of a job on this machine: the line of each problem, and the key with the problem.
pub(crate) fn problems_of_hooks(job: &Job) -> Vec<(usize, String)> {
    let commands = job.hooks.commands().filter_map(|(key, command)| {
        problem_of_program(&command.program).map(|problem| (command.line, format!("{key}: {problem}")))
    });
    let addresses = job
        .hooks
        .addresses()
        .filter_map(|(key, address)| address.value.read().err().map(|error| (address.line, format!("{key}: {error}"))));
    commands.chain(addresses).collect()
}

/// Returns why a program cannot be started. A name without `/` is looked for as the system does.
pub(crate) fn problem_of_program(program: &Path) -> Option<String> {
    let shown = program.display();
    let is_path = program.as_os_str().as_encoded_bytes().contains(&b'/');
    let candidates = match is_path {
        true => vec![program.to_owned()],
        false => {
            let directories = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
            std::env::split_paths(&directories).map(|directory| directory.join(program)).collect()
        }
    };
    let files: Vec<_> = candidates.into_iter().filter(|path| path.is_file()).collect();
    match files.first() {
        None if is_path => Some(format!("there is no program {shown}; check the path")),
        None => Some(format!("there is no program {shown} in PATH; write its path, or install it")),
        Some(file) if files.iter().all(|path| access(path, Access::EXEC_OK).is_err()) => {
            Some(format!("{} cannot be executed by this user; use chmod +x, or check its owner", file.display()))
        }
        Some(_) => None,
    }
}

/// Returns why a path is no database that can be read. One that is being written to can.
pub(crate) fn problem_of_database(path: &Path) -> Option<String> {
    // A pipe is not opened: it may never have a writer.
    let opened = path.metadata().and_then(|metadata| match metadata.is_file() {
        true => File::open(path).map(|_| metadata),
        false => Ok(metadata),
    });
    match opened {
        Ok(metadata) if metadata.is_dir() => Some(format!("{} is a directory, and no database file", path.display())),
        Ok(metadata) if !metadata.is_file() => Some(format!("{} is no regular file", path.display())),
        Ok(_) => {
            FileReader::check(path).err().filter(|error| error.kind() != ErrorKind::Busy).map(|error| error.to_string())
        }
        Err(error) => Some(format!("cannot open {}: {error}", path.display())),
    }
}

impl References {
    fn add(&mut self, line: usize, message: String) {
        self.problems.push(Problem { line, column: 1, message, advice: None });
    }
}
