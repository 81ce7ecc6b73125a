//! The only place that asks for the time and for randomness; everything else is handed both.

use std::fmt::Debug;

use chrono::{DateTime, Utc};

use crate::error::{ErrorKind, Result, SnapshotError};

/// Where the time and the randomness of snapshot ids come from.
pub trait Clock: Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;

    /// 64 random bits, for an id that no other snapshot has.
    ///
    /// # Errors
    ///
    /// `Internal` where the system gives none.
    fn random(&self) -> Result<u64>;
}

/// The time and the randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn random(&self) -> Result<u64> {
        getrandom::u64()
            .map_err(|error| SnapshotError::new(ErrorKind::Internal, "the system gives no random bits").because(error))
    }
}
