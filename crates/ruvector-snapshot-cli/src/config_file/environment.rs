//! What the environment adds to a profile of a store. A profile is whole: it is the same store wherever it is used. Only
//! credentials complete it, if it has none of its own; the list of these is an allow list, in the library.

use ruvector_snapshot::SnapshotError;
use ruvector_snapshot::store::{EffectiveOption, StoreOptions};

use super::{At, StoreProfile};

/// A variable that would set an option that the profile does not have.
#[derive(Debug)]
pub(crate) struct UnsaidVariable {
    pub(crate) variable: String,
    pub(crate) option: &'static str,
}

impl StoreProfile {
    /// Returns the options of the environment that apply to this store.
    pub(crate) fn environment(&self) -> Result<StoreOptions, SnapshotError> {
        // References stand for what they refer to: only what says yes or no matters here.
        let own = self.options.iter().map(|(name, At { value, .. })| (*name, value.to_string())).collect();
        StoreOptions::credentials_from_env(&self.location.value, &own)
    }

    /// Returns a variable that applies to every other store at this location, but not to this one, and about which neither
    /// the profile nor what was typed says anything.
    pub(crate) fn unsaid_variable(&self, typed: &[EffectiveOption]) -> Result<Option<UnsaidVariable>, SnapshotError> {
        let location = &self.location.value;
        let credentials =
            StoreOptions::credentials_from_env(location, &StoreOptions::default())?.effective(location)?;
        // A server that is named has its own region.
        let is_needless = |name: &str| name == "region" && self.options.contains_key("endpoint");
        let is_said = |name: &str| {
            self.options.contains_key(name)
                || is_needless(name)
                || credentials.iter().chain(typed).any(|option| option.name == name)
        };
        let variables = StoreOptions::from_env(location).effective(location)?.into_iter();
        let mut unsaid = variables.filter(|option| !is_said(option.name));
        Ok(unsaid.find_map(|EffectiveOption { name: option, origin, .. }| {
            Some(UnsaidVariable { variable: origin?, option })
        }))
    }
}
