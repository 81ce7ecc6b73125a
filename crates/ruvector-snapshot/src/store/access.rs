//! Whether a store can be written to, as far as that shows without writing.

use super::{Location, local};
use crate::error::Result;

/// What is known of writing to a store without having tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreAccess {
    /// The directory exists, and this user can write to it.
    Writable,
    /// The directory does not exist, and this user can create it.
    Creatable,
    /// It is not known: a bucket says only when it is written to. So does a database in memory.
    NotTried,
}

impl StoreAccess {
    /// Returns whether it is known that the store can be written to.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::StoreAccess;
    ///
    /// assert!(StoreAccess::Writable.is_known() && !StoreAccess::NotTried.is_known());
    /// ```
    pub fn is_known(self) -> bool {
        self != Self::NotTried
    }
}

/// Returns whether this user can write to the store at a location. Writes nothing, and sends no request.
///
/// # Errors
///
/// Returns [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) if this user may not write to the directory,
/// or may not create it, [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the directory above it does not exist, and
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is a file.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::{Location, StoreAccess, check_access};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scratch = tempfile::tempdir()?;
/// # let directory = scratch.path().to_path_buf();
/// assert_eq!(check_access(&Location::Local(directory.join("snapshots")))?, StoreAccess::Creatable);
/// assert_eq!(check_access(&Location::Local(directory))?, StoreAccess::Writable);
/// # Ok(()) }
/// ```
pub fn check_access(location: &Location) -> Result<StoreAccess> {
    match location {
        Location::Local(path) if local::check_access(path)? => Ok(StoreAccess::Writable),
        Location::Local(_) => Ok(StoreAccess::Creatable),
        Location::Bucket { .. } | Location::Memory => Ok(StoreAccess::NotTried),
    }
}
