//! What a provider's error codes mean for the user: the error codes of S3, GCS, Azure and MinIO, with advice.
//!
//! Pure. The codes are the documented ones.

#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "without a provider no request is rejected"))]

use std::error::Error as StdError;
use std::fmt;

use crate::error::{ErrorKind, Remedy};

const FULL: &str = "the server or its quota is full; make room and try again";
const NOT_IMPLEMENTED: u16 = 501;
const BRING_BACK: &str = "bring the objects of the snapshot back with the tools of the provider, wait until that is done, and \
                          try again; then change the lifecycle rule that archives them";

/// Error codes with which servers refuse a header that they do not know. Some of them have other reasons too.
const REFUSALS: [&str; 7] = [
    "NotImplemented",
    "UnsupportedOperation",
    "InvalidArgument",
    "InvalidRequest",
    "UnsupportedHeader",
    "InvalidHeaderValue",
    "ConditionHeadersNotSupported",
];

/// A request that the provider rejected for a known reason. Repeating it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct ProviderRejection {
    pub(in crate::store) kind: ErrorKind,
    /// Why, and what to do; to follow `cannot read in s3://bucket: `.
    pub(in crate::store) reason: String,
    /// What can be done, as data and in words, where `reason` does not say it.
    pub(in crate::store) remedy: Option<(Remedy, &'static str)>,
}

impl fmt::Display for ProviderRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl StdError for ProviderRejection {}

impl ProviderRejection {
    pub(in crate::store) fn new(kind: ErrorKind, reason: String) -> Self {
        Self { kind, reason, remedy: None }
    }

    /// Returns the rejection in a chain of causes.
    pub(in crate::store) fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
    }

    /// Returns the rejection that an error response describes; `None` if it may succeed when it is repeated, or if its
    /// code is unknown.
    pub(in crate::store) fn of_response(status: u16, body: &str) -> Option<Self> {
        Self::of_body(body).or_else(|| (status == NOT_IMPLEMENTED).then(Self::not_implemented))
    }

    fn not_implemented() -> Self {
        let reason = "the server does not support this operation; check the options of the store (501 Not Implemented)";
        Self::new(ErrorKind::InvalidInput, reason.to_owned())
    }

    /// Returns the rejection that the body of an error response describes; `None` if it contains no known code.
    pub(in crate::store) fn of_body(body: &str) -> Option<Self> {
        if let Some(code) = element(body, "Code") {
            let region = element(body, "Region").filter(|_| code == "AuthorizationHeaderMalformed");
            return match region {
                None => Self::of_code(code, element(body, "Message").unwrap_or_default()),
                Some(region) => Some(Self::other_region(region)),
            };
        }
        // The token services of Google and Azure respond in JSON.
        let json: serde_json::Value = serde_json::from_str(body).ok()?;
        let message = json.get("error_description").and_then(|text| text.as_str()).unwrap_or_default();
        Self::of_code(json.get("error")?.as_str()?, message)
    }

    /// Returns the rejection that the status 507 means, whatever its body is.
    pub(in crate::store) fn storage_full() -> Self {
        Self::new(ErrorKind::StorageFull, format!("{FULL} (507 Insufficient Storage)"))
    }

    /// Returns the rejection for a bucket that is in another region.
    pub(in crate::store) fn other_region(region: &str) -> Self {
        let reason = format!("the bucket is in the region {region}; set region={region} or AWS_REGION");
        Self::new(ErrorKind::InvalidInput, reason)
    }

    /// Returns the rejection for an error code; `None` if the code is unknown or the client handles it.
    fn of_code(code: &str, message: &str) -> Option<Self> {
        let (kind, reason) = match code {
            "NoSuchBucket" | "ContainerNotFound" => {
                (ErrorKind::InvalidInput, "there is no such bucket; check its name, or create it first")
            }
            "InvalidBucketName" | "InvalidResourceName" => (ErrorKind::InvalidInput, "invalid bucket name"),
            "AccountIsDisabled" | "ContainerBeingDeleted" | "AllAccessDisabled" | "UserProjectAccountProblem" => {
                (ErrorKind::PermissionDenied, "the account or the bucket is disabled; ask its owner")
            }
            "InvalidAccessKeyId" => {
                (ErrorKind::PermissionDenied, "the server does not know the access key; check AWS_ACCESS_KEY_ID")
            }
            "SignatureDoesNotMatch" | "AuthenticationFailed" => (
                ErrorKind::PermissionDenied,
                "the secret does not belong to the access key; check the secret, and the clock of this machine",
            ),
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => {
                (ErrorKind::PermissionDenied, "the session token has expired; get new credentials")
            }
            "InvalidToken" | "InvalidTokenId" | "InvalidClientTokenId" | "UnrecognizedClientException" => (
                ErrorKind::PermissionDenied,
                "the session token is not valid; check AWS_SESSION_TOKEN, or get new credentials",
            ),
            // Garage and Backblaze have no code of their own for it.
            "AccessDenied" | "Forbidden" if is_about_a_quota(message) => (ErrorKind::StorageFull, FULL),
            "AccessDenied"
            | "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "InsufficientAccountPermissions" => (
                ErrorKind::PermissionDenied,
                "the credentials do not allow this; see docs/OPERATIONS.md for the required permissions",
            ),
            "AuthenticationRequired" | "NoAuthenticationInformation" | "MissingSecurityHeader" => {
                (ErrorKind::PermissionDenied, "the server requires credentials, and none or invalid ones were sent")
            }
            "invalid_grant" | "invalid_client" | "unauthorized_client" => (
                ErrorKind::PermissionDenied,
                "the account cannot sign in; check the credentials file, and the clock of this machine",
            ),
            "RequestTimeTooSkewed" => (ErrorKind::PermissionDenied, "the clock of this machine is wrong; set it"),
            "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | "PermanentRedirect" => {
                (ErrorKind::InvalidInput, "the bucket is in another region; set region or AWS_REGION")
            }
            // Neither the credentials nor the object are at fault.
            "InvalidObjectState" | "BlobArchived" => {
                (ErrorKind::Unavailable, "the object is intact, but in an archive class, which cannot be read directly")
            }
            "BlobBeingRehydrated" => (
                ErrorKind::Unavailable,
                "the object is intact, but in an archive class, and it is being brought back from there",
            ),
            "InvalidStorageClass" | "BlobAccessTierNotSupportedForAccountType" => (
                ErrorKind::InvalidInput,
                "the server or the bucket does not have this storage class; check storage_class",
            ),
            "XMinioStorageFull"
            | "XMinioAdminBucketQuotaExceeded"
            | "QuotaExceeded"
            | "InsufficientCapacity"
            | "InsufficientStorage" => (ErrorKind::StorageFull, FULL),
            "KMS.DisabledException"
            | "KMS.NotFoundException"
            | "KMS.InvalidStateException"
            | "KMS.KeyUnavailableException" => {
                (ErrorKind::PermissionDenied, "the key for aws:kms cannot be used; check sse_kms_key_id")
            }
            "InvalidEncryptionAlgorithmError" | "ServerSideEncryptionConfigurationNotFoundError" => {
                (ErrorKind::InvalidInput, "the server does not support this encryption; check server_side_encryption")
            }
            "NotImplemented" | "UnsupportedOperation" => {
                (ErrorKind::InvalidInput, "the server does not support this operation; check the options of the store")
            }
            _ => return None,
        };
        let reason = match message {
            "" => format!("{reason} ({code})"),
            message => format!("{reason} ({code}: {})", message.trim_end_matches('.')),
        };
        let is_archived = matches!(code, "InvalidObjectState" | "BlobArchived" | "BlobBeingRehydrated");
        let remedy = is_archived.then_some((Remedy::BringFromArchive, BRING_BACK));
        Some(Self { kind, reason, remedy })
    }
}

fn is_about_a_quota(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["quota", "storage cap", "cap exceeded"].iter().any(|words| message.contains(words))
}

/// A conditional write that was refused, maybe because of its precondition. Only the same write without the precondition
/// shows whether it was.
#[derive(Debug)]
pub(in crate::store) struct PreconditionRefused(ProviderRejection);

impl PreconditionRefused {
    pub(in crate::store) fn new(rejection: ProviderRejection) -> Self {
        Self(rejection)
    }

    /// Returns the refusal that the response to a conditional write describes; `None` if it was refused for another
    /// reason.
    pub(in crate::store) fn of(status: u16, body: &str) -> Option<Self> {
        let is_refused = match element(body, "Code") {
            _ if status == NOT_IMPLEMENTED => true,
            Some(code) => (400..500).contains(&status) && REFUSALS.contains(&code),
            None => false,
        };
        is_refused.then(|| Self(ProviderRejection::of_body(body).unwrap_or_else(ProviderRejection::not_implemented)))
    }
}

impl fmt::Display for PreconditionRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for PreconditionRefused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// Returns whether a create failed in a way in which it may succeed without its precondition.
pub(in crate::store) fn is_precondition_refused(error: &object_store::Error) -> bool {
    use object_store::Error as Cause;
    let causes = std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source());
    matches!(error, Cause::NotImplemented { .. } | Cause::NotSupported { .. })
        || causes.into_iter().any(|cause| cause.is::<PreconditionRefused>())
}

/// Returns whether the body of an error response says that two conditional writes conflicted and should be repeated.
pub(in crate::store) fn is_write_conflict(body: &str) -> bool {
    let codes = ["ConditionalRequestConflict", "OperationAborted", "ConcurrentModification"];
    element(body, "Code").is_some_and(|code| codes.contains(&code))
}

/// Returns the text of an element in a flat XML document.
pub(in crate::store) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SnapshotError;

    #[test]
    fn a_rejection_is_found_among_the_causes_of_an_error() {
        let rejection = ProviderRejection::of_code("NoSuchBucket", "The specified bucket does not exist.").unwrap();
        let error = SnapshotError::new(ErrorKind::Internal, "outer").with_source(rejection.clone());
        assert_eq!(ProviderRejection::within(&error), Some(&rejection));
        assert_eq!(
            rejection.reason,
            "there is no such bucket; check its name, or create it first (NoSuchBucket: The specified bucket does not exist)"
        );
        assert_eq!(ProviderRejection::of_code("NoSuchKey", ""), None, "the client handles a missing key");
        assert_eq!(ProviderRejection::within(&std::io::Error::other("something else")), None);
    }

    #[test]
    fn a_rejected_sign_in_is_recognized() {
        let body = r#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#;
        let rejection = ProviderRejection::of_body(body).unwrap();
        assert_eq!(rejection.kind, ErrorKind::PermissionDenied);
        assert!(rejection.reason.ends_with("(invalid_grant: Token has been revoked)"), "{}", rejection.reason);
        assert_eq!(ProviderRejection::of_body("<html>"), None);
    }

    #[test]
    fn elements_are_read_from_complete_and_truncated_xml() {
        assert_eq!(element("<?xml?><Error><Code>Slow Down</Code></Error>", "Code"), Some("Slow Down"));
        assert_eq!(element("<Error><Code>half", "Code"), None);
        assert_eq!(element("", "Code"), None);
    }
}
