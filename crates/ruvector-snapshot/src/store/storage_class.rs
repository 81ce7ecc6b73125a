//! The storage classes that data files may have: those whose objects can be read at once. Pure.
//!
//! Objects in other classes must be brought back before they can be read, which takes hours. No snapshot may have them:
//! a backup that cannot be read when it is needed must not look like one that can.

use super::location::Provider;
use super::options::Settings;
use crate::error::Result;

/// The option with the class.
const OPTION: &str = "storage_class";

/// The classes of a provider.
struct Classes {
    /// Those whose objects can be read at once, as the provider writes them.
    readable: &'static [&'static str],
    /// Those whose objects must be brought back before they can be read, and what to use instead.
    archives: &'static [(&'static str, &'static str)],
}

const S3: Classes = Classes {
    readable: &["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"],
    archives: &[("GLACIER", "GLACIER_IR"), ("DEEP_ARCHIVE", "GLACIER_IR")],
};

const GCS: Classes = Classes { readable: &["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"], archives: &[] };

const AZURE: Classes = Classes { readable: &["Hot", "Cool", "Cold"], archives: &[("Archive", "cold")] };

/// Returns the class that the options set, as the provider writes it.
pub(super) fn read(settings: &Settings, provider: Provider) -> Result<Option<&'static str>> {
    let Some(given) = settings.get(OPTION) else { return Ok(None) };
    let classes = match provider {
        Provider::S3 => S3,
        Provider::Gcs => GCS,
        Provider::Azure => AZURE,
    };
    let is_given = |class: &str| class.eq_ignore_ascii_case(given);
    if let Some(readable) = classes.readable.iter().find(|class| is_given(class)) {
        return Ok(Some(readable));
    }
    let problem = match classes.archives.iter().find(|(archive, _)| is_given(archive)) {
        Some((archive, instead)) => format!(
            "is {archive}, whose objects cannot be read until they have been brought back, which takes hours; use {instead}"
        ),
        None => format!("must be one of {}", classes.readable.join(", ")),
    };
    Err(settings.refused(OPTION, &problem))
}
