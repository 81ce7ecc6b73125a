//! What a server's refusal means for the user: error codes of S3, GCS and Azure, in words that name the fix.
//!
//! Pure. The codes are those that the providers document for their XML answers, and MinIO's own.

#![cfg_attr(
    not(feature = "http"),
    allow(dead_code, reason = "without any provider nothing is refused and little is set")
)]

use std::error::Error as StdError;
use std::fmt;

use crate::error::ErrorKind;

/// A refusal that is understood: nothing changes if the request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: ErrorKind,
    /// What is wrong and what can be done, to stand after "cannot read in s3://bucket: ".
    pub(super) what: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Refusal {}

impl Refusal {
    /// The refusal in a chain of causes.
    pub(super) fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(current) = cause {
            if let Some(refusal) = current.downcast_ref() {
                return Some(refusal);
            }
            cause = current.source();
        }
        None
    }

    /// What an error code means; nothing for one that is not in the table, or that the client handles itself.
    pub(super) fn of_code(code: &str, message: &str) -> Option<Self> {
        let (kind, what) = match code {
            "NoSuchBucket" | "ContainerNotFound" => {
                (ErrorKind::Invalid, "there is no such bucket; check its name, or make it first")
            }
            "InvalidBucketName" | "InvalidResourceName" => (ErrorKind::Invalid, "no bucket can have this name"),
            "AccountIsDisabled" | "ContainerBeingDeleted" | "AllAccessDisabled" | "UserProjectAccountProblem" => {
                (ErrorKind::Denied, "the account or the bucket is disabled; ask whoever owns it")
            }
            "InvalidAccessKeyId" => {
                (ErrorKind::Denied, "the server does not know the access key; check AWS_ACCESS_KEY_ID")
            }
            "SignatureDoesNotMatch" | "AuthenticationFailed" => (
                ErrorKind::Denied,
                "the secret does not belong to the access key; check it, and the clock of this machine",
            ),
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => {
                (ErrorKind::Denied, "the session token has expired; get new credentials")
            }
            "InvalidToken" | "InvalidTokenId" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
                (ErrorKind::Denied, "the session token is not valid; check AWS_SESSION_TOKEN, or get new credentials")
            }
            "AccessDenied"
            | "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "InsufficientAccountPermissions" => (
                ErrorKind::Denied,
                "the credentials do not allow this; see docs/OPERATIONS.md for the rights that are needed",
            ),
            "AuthenticationRequired" | "NoAuthenticationInformation" | "MissingSecurityHeader" => {
                (ErrorKind::Denied, "the server wants credentials, and none or wrong ones were sent")
            }
            "invalid_grant" | "invalid_client" | "unauthorized_client" => (
                ErrorKind::Denied,
                "the sign-in of the account was refused; check the key file, and the clock of this machine",
            ),
            "RequestTimeTooSkewed" => (ErrorKind::Denied, "the clock of this machine is wrong; set it"),
            "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | "PermanentRedirect" => {
                (ErrorKind::Invalid, "the bucket is in another region; set region, or AWS_REGION")
            }
            "InvalidObjectState" | "BlobArchived" => {
                (ErrorKind::Denied, "the object was moved to an archive; bring it back there first")
            }
            "XMinioStorageFull" | "QuotaExceeded" | "InsufficientCapacity" | "XMinioAdminBucketQuotaExceeded" => {
                (ErrorKind::NoSpace, "the server or its quota is full; make room and try again")
            }
            "KMS.DisabledException"
            | "KMS.NotFoundException"
            | "KMS.InvalidStateException"
            | "KMS.KeyUnavailableException" => {
                (ErrorKind::Denied, "the key for aws:kms cannot be used; check sse_kms_key_id")
            }
            "InvalidEncryptionAlgorithmError" | "ServerSideEncryptionConfigurationNotFoundError" => {
                (ErrorKind::Invalid, "the server does not have this encryption; check server_side_encryption")
            }
            "NotImplemented" | "UnsupportedOperation" => {
                (ErrorKind::Invalid, "the server does not have what was asked for; check the options of the store")
            }
            _ => return None,
        };
        let what = match message {
            "" => format!("{what} ({code})"),
            message => format!("{what} ({code}: {})", message.trim_end_matches('.')),
        };
        Some(Self { kind, what })
    }
}

/// The text of an element of a flat XML answer.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SnapshotError;

    #[test]
    fn a_refusal_is_found_below_other_errors() {
        let refusal = Refusal::of_code("NoSuchBucket", "The specified bucket does not exist.").unwrap();
        let error = SnapshotError::new(ErrorKind::Internal, "outer").because(refusal.clone());
        assert_eq!(Refusal::within(&error), Some(&refusal));
        assert_eq!(
            refusal.what,
            "there is no such bucket; check its name, or make it first (NoSuchBucket: The specified bucket does not exist)"
        );
        assert_eq!(Refusal::of_code("NoSuchKey", ""), None, "the client knows what to do with a missing key");
        assert_eq!(Refusal::within(&std::io::Error::other("something else")), None);
    }

    #[test]
    fn elements_are_read_from_whatever_came() {
        assert_eq!(element("<?xml?><Error><Code>Slow Down</Code></Error>", "Code"), Some("Slow Down"));
        assert_eq!(element("<Error><Code>half", "Code"), None);
        assert_eq!(element("", "Code"), None);
    }
}
