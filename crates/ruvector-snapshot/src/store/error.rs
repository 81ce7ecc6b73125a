//! The one place that turns an `object_store::Error` into a [`SnapshotError`]. No request is made or repeated here.

use std::error::Error as StdError;
use std::io;

use crate::error::limit::Limit;
use crate::error::{ErrorKind, SnapshotError};
use crate::store::http::rejection::ProviderRejection;
use crate::store::local::io::{LinkInStore, RootIsGone};

/// Returns the error for an operation that failed because of `cause`, as in `cannot {action} in {location}`. An empty
/// key means the whole store.
pub(super) fn operation_failed(action: &str, location: &str, key: &str, cause: object_store::Error) -> SnapshotError {
    let rejection = ProviderRejection::within(&cause).cloned();
    let kind = rejection.as_ref().map_or_else(|| kind_of(&cause), |rejection| rejection.kind);
    let link = LinkInStore::within(&cause).map(|link| {
        format!("{link}, and links inside a store are not followed; put what it points to in its place, or remove it")
    });
    let reason = match kind {
        _ if let Some(rejection) = &rejection => rejection.reason.as_str(),
        _ if let Some(link) = &link => link,
        _ if let Some(limit) = Limit::within(&cause) => limit.problem(),
        _ if RootIsGone::is_cause_of(&cause) => {
            "the directory of the store is not there any more; check that it was not moved, and that its disk is mounted"
        }
        ErrorKind::NotFound => "no such object",
        ErrorKind::AlreadyExists => "an object with this key exists and was not changed",
        ErrorKind::InvalidInput => "the store does not support this key or this operation",
        ErrorKind::PermissionDenied => match io_kind(&cause) {
            Some(io::ErrorKind::ReadOnlyFilesystem) => "the file system is mounted read-only",
            Some(_) => "permission denied; check the owner and the permissions of the files of the store",
            None => "permission denied; check the credentials and what they allow",
        },
        ErrorKind::StorageFull => match io_kind(&cause) {
            Some(io::ErrorKind::QuotaExceeded) => "the disk quota is used up; make room and try again",
            Some(_) => "the disk is full; make room and try again",
            None => "the store or its quota is full; make room and try again",
        },
        ErrorKind::Internal => "a task of this program failed",
        _ if io_kind(&cause).is_some() => "the disk reported an error; check it, and try again",
        _ => "the store did not respond as expected; try again",
    };
    let error = SnapshotError::new(kind, format!("cannot {action} in {location}: {reason}"));
    let error = match rejection.as_ref().and_then(|rejection| rejection.remedy) {
        Some((remedy, advice)) => error.with_remedy(remedy, advice),
        None => error,
    };
    // The rejection replaces the client's error, which contains the same information in other words.
    let error = match rejection {
        Some(rejection) => error.with_source(rejection),
        None => error.with_source(cause),
    };
    if key.is_empty() { error } else { error.with_key(key) }
}

/// Returns the kind that an error of `object_store` corresponds to.
pub(super) fn kind_of(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Cause;
    match error {
        Cause::NotFound { .. } => ErrorKind::NotFound,
        Cause::AlreadyExists { .. } | Cause::Precondition { .. } => ErrorKind::AlreadyExists,
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        Cause::InvalidPath { .. } | Cause::NotSupported { .. } | Cause::NotImplemented { .. } => {
            ErrorKind::InvalidInput
        }
        Cause::JoinError { source } if source.is_panic() => ErrorKind::Internal,
        // A read that could not be resumed wraps the error of the second request.
        Cause::Generic { source, .. } if let Some(inner) = source.downcast_ref() => kind_of(inner),
        other => io_kind(other).map_or(ErrorKind::Unavailable, ErrorKind::from),
    }
}

/// Returns the kind of the I/O error among the causes of an error, if there is one.
pub(super) fn io_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// Returns whether an operation may succeed if it is repeated: the connection failed, and the server did not reject the
/// request.
pub(super) fn is_transient(error: &object_store::Error) -> bool {
    // Not waited for: what has the files open may be this program.
    if Limit::within(error).is_some() {
        return false;
    }
    #[cfg(feature = "http")]
    return causes(error)
        .find_map(|cause| cause.downcast_ref::<object_store::client::HttpError>())
        .is_some_and(|error| is_transient_kind(error.kind()));
    #[cfg(not(feature = "http"))]
    {
        let _local_errors_are_permanent = error;
        false
    }
}

/// Returns whether a request that failed in this way may succeed if it is repeated.
#[cfg(feature = "http")]
pub(super) fn is_transient_kind(kind: object_store::client::HttpErrorKind) -> bool {
    use object_store::client::HttpErrorKind as Kind;
    matches!(kind, Kind::Connect | Kind::Request | Kind::Timeout | Kind::Interrupted)
}

/// Returns the causes of an error, without the error itself.
fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "test", source: source.into() }
    }

    #[test]
    fn the_kind_of_a_wrapped_error_is_that_of_the_error_inside() {
        let not_found = || object_store::Error::NotFound { path: "a".into(), source: "gone".into() };
        assert_eq!(kind_of(&generic(not_found())), ErrorKind::NotFound);
        assert_eq!(kind_of(&generic(generic(not_found()))), ErrorKind::NotFound);
        assert_eq!(kind_of(&generic(generic(io::Error::from(io::ErrorKind::StorageFull)))), ErrorKind::StorageFull);
        assert_eq!(kind_of(&generic("odd")), ErrorKind::Unavailable);
    }

    #[test]
    fn an_error_names_the_action_the_place_and_the_key() {
        let error = operation_failed("read", "s3://bucket", "a/b", generic("odd"));
        assert_eq!(
            error.to_string(),
            "a/b: cannot read in s3://bucket: the store did not respond as expected; try again"
        );
        assert_eq!(operation_failed("list the objects", "here", "", generic("odd")).key(), None);
    }
}
