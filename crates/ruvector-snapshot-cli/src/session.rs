//! What the verbs share: the store that was named, how to print, and how to stop when asked to. No verb lives here.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::thread;

use ruvector_snapshot::store::{self, Location, SnapshotStore, StoreConfig, StoreOptions, TransferConfig};
use ruvector_snapshot::{ErrorKind, SnapshotConfig, SnapshotError, SnapshotManager};
use tokio::sync::watch;

use crate::args::{Global, STORE_DEFAULT, STORE_VARIABLE};
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{Output, quoted};

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) output: Output,
    /// The location of the snapshots, as typed.
    pub(crate) store: String,
    /// Settings of the bucket, as typed.
    options: Vec<String>,
    transfers: TransferConfig,
    interrupted: watch::Receiver<bool>,
}

impl Session {
    pub(crate) fn new(global: Global, interrupted: watch::Receiver<bool>) -> Self {
        let output = Output { json: global.json, quiet: global.quiet };
        let transfers = TransferConfig {
            max_concurrent_io: global.connections.unwrap_or(TransferConfig::default().max_concurrent_io),
            max_upload_bytes_per_second: global.limit_upload,
            max_download_bytes_per_second: global.limit_download,
        };
        Self { output, store: global.store, options: global.options, transfers, interrupted }
    }

    /// A manager of the snapshots that exist. A store that is not there is an error, and is not made: the path may be
    /// mistyped, or its disk not mounted.
    pub(crate) fn open(&self) -> Result<SnapshotManager, Failure> {
        self.open_with(self.config())
    }

    /// The same, with settings of the verb's own.
    pub(crate) fn open_with(&self, config: SnapshotConfig) -> Result<SnapshotManager, Failure> {
        SnapshotManager::with_store(config, self.open_store()?).map_err(Failure::typed)
    }

    /// The store, which must be there.
    pub(crate) fn open_store(&self) -> Result<Arc<dyn SnapshotStore>, Failure> {
        self.open_location(false).map_err(|failure| {
            let is_local = matches!(self.location(), Ok(Location::Local(_)));
            if !is_local || failure.kind() != kind_name(ErrorKind::NotFound) {
                return failure;
            }
            Failure::new(ErrorKind::NotFound, format!("no snapshots at {}, there is no such directory", self.store))
                .with_hint("check --store, and that the disk is mounted; the first create makes the directory")
        })
    }

    /// The settings that every verb takes.
    pub(crate) fn config(&self) -> SnapshotConfig {
        SnapshotConfig {
            max_concurrent_io: self.transfers.max_concurrent_io,
            max_upload_bytes_per_second: self.transfers.max_upload_bytes_per_second,
            max_download_bytes_per_second: self.transfers.max_download_bytes_per_second,
            ..SnapshotConfig::default()
        }
    }

    /// A manager that makes the store if it is missing.
    pub(crate) fn open_or_make(&self, config: SnapshotConfig) -> Result<SnapshotManager, Failure> {
        SnapshotManager::with_store(config, self.open_location(true)?).map_err(Failure::typed)
    }

    fn open_location(&self, create: bool) -> Result<Arc<dyn SnapshotStore>, Failure> {
        let location = self.location()?;
        let options = self.options()?.over(&StoreOptions::from_env(&location));
        // What stands in the way on a disk, as a file where a directory should be, was found there and not typed.
        let is_found = matches!(location, Location::Local(_)) && options.is_empty();
        let opened = store::open(&location, &StoreConfig { create, options, transfers: self.transfers });
        opened.map_err(if is_found { Failure::from } else { Failure::typed })
    }

    /// The settings that were typed.
    fn options(&self) -> Result<StoreOptions, Failure> {
        let wrong = |message: String| Failure::typed(SnapshotError::new(ErrorKind::Invalid, message));
        let mut options = BTreeMap::new();
        for text in &self.options {
            let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(wrong("-o takes KEY=VALUE, as region=eu-west-1".to_owned()));
            };
            if options.insert(name, value).is_some() {
                return Err(wrong(format!("the option {name} is given twice; it has one value")));
            }
        }
        Ok(options.into_iter().collect())
    }

    /// The location that was typed.
    pub(crate) fn location(&self) -> Result<Location, Failure> {
        let location = self.store.parse().map_err(Failure::typed)?;
        if location == Location::Memory {
            let message = "memory:// would be gone when this program ends; give a directory or a bucket";
            return Err(Failure::typed(SnapshotError::new(ErrorKind::Invalid, message)));
        }
        Ok(location)
    }

    /// Does the work until it is done or somebody wants it to stop. Then the work is dropped, what it began is cleaned up,
    /// and `aftermath` is asked at the very end what is left.
    pub(crate) async fn run<T>(
        &self,
        manager: &SnapshotManager,
        work: impl Future<Output = Result<T, SnapshotError>>,
        aftermath: impl FnOnce() -> String + Send + 'static,
    ) -> Result<T, Failure> {
        let mut interrupted = self.interrupted.clone();
        // The branches own their futures: the work that lost is dropped here, before anything else happens.
        let answer = tokio::select! {
            biased;
            Ok(_) = interrupted.wait_for(|interrupted| *interrupted) => None,
            answer = work => Some(answer),
        };
        match answer {
            Some(answer) => Ok(answer?),
            None => {
                if !self.output.quiet {
                    self.output.notice("interrupted; cleaning up (once more stops at once)");
                }
                manager.settle().await;
                Err(Failure::interrupted(aftermath))
            }
        }
    }

    /// Work that changes nothing.
    pub(crate) async fn read<T>(
        &self,
        manager: &SnapshotManager,
        work: impl Future<Output = Result<T, SnapshotError>>,
    ) -> Result<T, Failure> {
        self.run(manager, work, || "nothing was changed".to_owned()).await
    }

    /// The id that a user means. One that means several is wrong usage.
    pub(crate) async fn resolve(&self, manager: &SnapshotManager, text: &str) -> Result<String, Failure> {
        let answer = self.read(manager, async { Ok(manager.resolve(text).await) }).await?;
        answer.map_err(|error| match error.source() {
            // What the store said, as that there is no such bucket, is not the fault of the ID.
            Some(_) => Failure::from(error),
            None => Failure::typed(error),
        })
    }

    /// The ids that a user means by several words, each once.
    pub(crate) async fn resolve_all(
        &self,
        manager: &SnapshotManager,
        texts: &[String],
    ) -> Result<Vec<String>, Failure> {
        let mut ids: Vec<String> = Vec::new();
        for text in texts {
            let id = self.resolve(manager, text).await?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// A command line of this program that means the same store.
    pub(crate) fn command(&self, verb: &str) -> String {
        let is_implied = match std::env::var(STORE_VARIABLE) {
            Ok(store) => store == self.store,
            Err(_) => self.store == STORE_DEFAULT,
        };
        let store = if is_implied { String::new() } else { format!(" --store {}", quoted(&self.store)) };
        // Their values may be secrets.
        let options = if self.options.is_empty() { "" } else { " -o ..." };
        format!("ruvector-snapshot{store}{options} {verb}")
    }
}

/// Hears the signals that ask a program to stop, from now on and as long as the process lives: the first is passed on,
/// the second ends the process at once, whatever it is doing.
pub(crate) fn listen(output: Output) -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let (ready, is_ready) = std::sync::mpsc::channel();
    // A thread and a runtime of its own: it must still hear when the runtime of the work is shutting down.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let Ok(mut signals) = Signals::new() else { return };
            let _heard = ready.send(());
            signals.next().await;
            let _heard = sender.send(true);
            signals.next().await;
            output.notice("stopped at once; unfinished files or uploads may be left, which are no snapshots");
            std::process::exit(Exit::Failed as i32);
        });
    })?;
    // Where signals cannot be heard the sender is gone, and the default of the system holds: they end the process.
    let _is_listening = is_ready.recv().is_ok();
    Ok(receiver)
}

struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // What was ignored when the program began, as hang-ups are under nohup, stays ignored.
        let ignored = ignored_signals();
        let heard =
            |kind: SignalKind| (ignored >> (kind.as_raw_value() - 1) & 1 == 0).then(|| signal(kind)).transpose();
        Ok(Self {
            interrupt: heard(SignalKind::interrupt())?,
            terminate: heard(SignalKind::terminate())?,
            hangup: heard(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => {}
            () = received(&mut self.terminate) => {}
            () = received(&mut self.hangup) => {}
        }
    }
}

async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The signals that this process ignores, a bit each from the lowest; none where the system does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
