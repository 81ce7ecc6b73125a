//! Creates of small objects under keys that must be free: with a precondition that the server checks, or after a look.
//!
//! Some servers refuse every write with a precondition. No step of the protocol needs one (`docs/CONCURRENCY.md`), so
//! the store then checks that the key is free, and writes. Within one store, creates of the same key wait for each other,
//! so that the first one wins. Between two stores, the later one can replace the object of the earlier one.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use tokio::sync::OwnedMutexGuard;

use super::budget::AttemptCount;
use super::error::{is_transient, kind_of, operation_failed};
use super::http::rejection::is_precondition_refused;
use super::upload::Destination;
use crate::error::{ErrorKind, Result, SnapshotError};

const ACTION: &str = "create the object";

/// How a store creates objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateMode {
    /// With a precondition.
    Conditional = 0,
    /// After a look, because the server has refused the precondition.
    Refused = 1,
    /// After a look, because the option `conditional_create` says so.
    Unconditional = 2,
}

/// The creates of one store. All clones of the store share them.
pub(super) struct Creates {
    mode: AtomicU8,
    /// The keys that are being created without a precondition.
    in_progress: Mutex<HashMap<Path, Weak<tokio::sync::Mutex<()>>>>,
}

impl Creates {
    pub(super) fn new(mode: CreateMode) -> Self {
        Self { mode: AtomicU8::new(mode as u8), in_progress: Mutex::default() }
    }

    pub(super) fn mode(&self) -> CreateMode {
        let mode = self.mode.load(Ordering::Relaxed);
        let modes = [CreateMode::Refused, CreateMode::Unconditional];
        modes.into_iter().find(|other| *other as u8 == mode).unwrap_or(CreateMode::Conditional)
    }

    /// Waits until no other create of this key is running.
    async fn alone(&self, path: &Path) -> OwnedMutexGuard<()> {
        let lock = {
            let mut in_progress = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
            in_progress.retain(|_, lock| lock.strong_count() > 0);
            let known = in_progress.get(path).and_then(Weak::upgrade);
            let lock = known.unwrap_or_default();
            in_progress.insert(path.clone(), Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}

impl fmt::Debug for Creates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Creates").field(&self.mode()).finish()
    }
}

/// Creates an object. If the server refuses the precondition and accepts the same write without it, all later creates
/// go without.
pub(super) async fn create(to: &Destination, creates: &Creates, bytes: &Bytes) -> Result<()> {
    let may_exist = match creates.mode() {
        CreateMode::Refused | CreateMode::Unconditional => false,
        CreateMode::Conditional => match with_precondition(to, bytes).await {
            Ok(()) => return Ok(()),
            Err(Failed::Finally(error)) => return Err(error),
            Err(Failed::Refused { may_exist }) => may_exist,
        },
    };
    let _alone = creates.alone(&to.path).await;
    after_look(to, bytes, may_exist).await?;
    if creates.mode() == CreateMode::Conditional {
        creates.mode.store(CreateMode::Refused as u8, Ordering::Relaxed);
        // No warning: snapshots are safe, because no two have the same id, and it is so at every run. `store check` says it.
        tracing::info!(store = %to.location, "the server refuses If-None-Match: each create checks that its key is free first");
    }
    Ok(())
}

/// Why a create with a precondition has failed.
enum Failed {
    /// The server may accept the same write without the precondition.
    Refused {
        /// Whether an earlier attempt may have stored the object.
        may_exist: bool,
    },
    Finally(SnapshotError),
}

async fn with_precondition(to: &Destination, bytes: &Bytes) -> Result<(), Failed> {
    let _permit = to.budget.permit(bytes.len() as u64).await;
    let (mut deadline, attempts) = (to.budget.deadline(), AttemptCount::default());
    loop {
        to.budget.sending_small(bytes.len() as u64);
        let mut options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        options.extensions.insert(attempts.clone());
        let cause = match to.objects.put_opts(&to.path, bytes.clone().into(), options).await {
            Ok(_) => return Ok(()),
            Err(cause) => cause,
        };
        if is_precondition_refused(&cause) {
            return Err(Failed::Refused { may_exist: attempts.is_several() });
        }
        // A request whose response was lost may have succeeded, and a repeated one can find its own object.
        let exists = kind_of(&cause) == ErrorKind::AlreadyExists;
        let is_ambiguous = if exists { attempts.is_several() } else { is_transient(&cause) };
        let error = failed(to, cause);
        if !is_ambiguous {
            return Err(Failed::Finally(error));
        }
        match holds(to, bytes).await {
            Ok(true) => return Ok(()),
            Ok(false) if exists => return Err(Failed::Finally(error)),
            Ok(false) => return Err(Failed::Finally(already_exists(to))),
            Err(_) if deadline.wait().await => {}
            Err(_) => return Err(Failed::Finally(error)),
        }
    }
}

/// Checks that the key is free, and writes. `may_exist` says whether an earlier attempt may have stored the object:
/// then one with the same bytes is its own.
async fn after_look(to: &Destination, bytes: &Bytes, mut may_exist: bool) -> Result<()> {
    let _permit = to.budget.permit(bytes.len() as u64).await;
    let mut deadline = to.budget.deadline();
    loop {
        let cause = match to.objects.head(&to.path).await {
            Ok(_) if !may_exist => return Err(already_exists(to)),
            Ok(_) => match holds(to, bytes).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(already_exists(to)),
                Err(cause) => cause,
            },
            Err(cause) if kind_of(&cause) == ErrorKind::NotFound => {
                to.budget.sending_small(bytes.len() as u64);
                match to.objects.put(&to.path, bytes.clone().into()).await {
                    Ok(_) => return Ok(()),
                    Err(cause) => {
                        may_exist |= is_transient(&cause);
                        cause
                    }
                }
            }
            Err(cause) => cause,
        };
        if !is_transient(&cause) || !deadline.wait().await {
            return Err(failed(to, cause));
        }
    }
}

/// Returns whether the object has these bytes, or the error of reading it.
async fn holds(to: &Destination, bytes: &Bytes) -> object_store::Result<bool> {
    let response = to.objects.get(&to.path).await?;
    Ok(response.meta.size == bytes.len() as u64 && response.bytes().await? == bytes)
}

fn failed(to: &Destination, cause: object_store::Error) -> SnapshotError {
    operation_failed(ACTION, &to.location, &to.key, cause)
}

fn already_exists(to: &Destination) -> SnapshotError {
    let (path, source) = (to.path.to_string(), "the key is taken".into());
    failed(to, object_store::Error::AlreadyExists { path, source })
}
