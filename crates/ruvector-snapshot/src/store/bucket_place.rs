//! Where the keys of a bucket are, to know whether two stores are one, or one inside of the other. Pure.

/// Where the keys of a store are: on which server, in which bucket and below which prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketPlace {
    /// The provider, the server and the bucket.
    pub(super) bucket: String,
    /// Without a slash at either end.
    pub(super) prefix: String,
}

impl BucketPlace {
    /// Returns whether these keys are below the prefix of the other place.
    pub(crate) fn is_inside(&self, other: &Self) -> bool {
        let rest = self.prefix.strip_prefix(&other.prefix);
        let is_below =
            rest.is_some_and(|rest| if other.prefix.is_empty() { !rest.is_empty() } else { rest.starts_with('/') });
        self.bucket == other.bucket && is_below
    }
}
