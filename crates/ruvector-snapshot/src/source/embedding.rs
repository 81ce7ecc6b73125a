//! The refusal of vectors that may be of another embedding model, for every verb that would put them together.

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};

/// Refuses two embedding identities that differ, or returns a warning if that is accepted. `doing` follows "cannot", and
/// `between` names the two.
pub(crate) fn other_embedding(
    doing: &str,
    between: [&str; 2],
    differences: &[String],
    is_accepted: bool,
) -> Result<String> {
    let [own, other] = between;
    let differ = format!("{own} and {other} have different embedding identities: {}", differences.join(", "));
    if is_accepted {
        return Ok(format!("{differ}; vectors of different models cannot be compared with each other"));
    }
    let message = format!("cannot {doing}: {differ}");
    let advice = "vectors of different models cannot be compared with each other; if these are of the same model, accept it \
                  (other_embedding)";
    Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_remedy(Remedy::OtherEmbedding, advice))
}
