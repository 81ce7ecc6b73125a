//! Which credentials belong together: those that are passed as options are not mixed with others of the environment.
//!
//! Pure. A token of the environment that is sent with the keys of an option signs in as nobody, or as somebody else.

use super::location::Provider;

/// The ways to sign in, each with its options. An option that is in two ways belongs to both.
///
/// What only completes a way, such as a role for a token file, is in none. The profile is never dropped, because it also
/// has the region: its keys are not read if there are others.
const S3: &[&[&str]] = &[
    &["access_key_id", "secret_access_key"],
    &[SESSION_TOKEN],
    &[PROFILE],
    &["web_identity_token_file"],
    &["container_credentials_relative_uri"],
    &["container_credentials_full_uri", "container_authorization_token_file"],
    &["skip_signature"],
];

const PROFILE: &str = "profile";

/// It belongs to the keys that it was issued with. Alone it is no way to sign in: it completes the keys of the environment.
const SESSION_TOKEN: &str = "session_token";

const GCS: &[&[&str]] = &[
    &["service_account"],
    &["service_account_key"],
    &["application_credentials"],
    &["bearer_token"],
    &["skip_signature"],
];

const AZURE: &[&[&str]] = &[
    &["account_key"],
    &["sas_token"],
    &["bearer_token"],
    &["client_id", "client_secret"],
    &["client_id", "federated_token_file"],
    &["client_id", "object_id", "msi_resource_id", "msi_endpoint"],
    &["use_azure_cli"],
    &["skip_signature"],
];

/// What completes a way to sign in.
const COMPLETING: &[&str] = &[SESSION_TOKEN, "role_arn", "role_session_name", "metadata_endpoint", "tenant_id"];

/// Which servers are trusted. It leads to no other server.
pub(super) const TRUST: &str = "ca_certificate";

/// Returns whether an option says who sends requests, and nothing about where they go and what is stored there.
///
/// Neither a profile of the AWS tools nor their files are in this list: they also have the region and the endpoint.
pub(super) fn is_credential(name: &str) -> bool {
    let ways = [S3, GCS, AZURE].into_iter().flatten().copied();
    name != PROFILE && ways.chain([COMPLETING]).any(|way| way.contains(&name))
}

/// Returns whether a credential of the environment completes those of a profile: the profile has none, or all of its own
/// are of one way to sign in with it. A token belongs to the keys that it was issued with.
pub(super) fn completes(provider: Provider, name: &str, own: &[&str]) -> bool {
    let of_way = |name: &&&str| **name != SESSION_TOKEN && ways(provider).iter().any(|way| way.contains(*name));
    // A profile of the AWS tools also has the region, so it does not choose if there are keys.
    let (profile, keys): (Vec<&str>, Vec<&str>) = own.iter().filter(of_way).partition(|name| **name == PROFILE);
    let is_of_chosen_way = match keys.is_empty() {
        true => profile.is_empty(),
        false => ways(provider).iter().any(|way| way.contains(&name) && keys.iter().all(|key| way.contains(key))),
    };
    is_credential(name) && (is_of_chosen_way || (name != SESSION_TOKEN && COMPLETING.contains(&name)))
}

fn ways(provider: Provider) -> &'static [&'static [&'static str]] {
    match provider {
        Provider::S3 => S3,
        Provider::Gcs => GCS,
        Provider::Azure => AZURE,
    }
}

/// Returns whether a credential of the environment is left out, because others are passed as the options `passed`.
pub(super) fn is_left_out(provider: Provider, name: &str, passed: &[&str]) -> bool {
    let ways = ways(provider);
    let chooses = |option: &&str| *option != SESSION_TOKEN && passed.contains(option);
    let mut chosen = ways.iter().filter(|way| way.iter().any(chooses)).peekable();
    let is_credential = name != PROFILE && ways.iter().any(|way| way.contains(&name));
    is_credential && chosen.peek().is_some() && !chosen.any(|way| way.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_completes_only_the_way_that_all_of_a_profiles_own_are_of() {
        use Provider::{Azure, Gcs, S3};
        for (provider, own, name, expected) in [
            (S3, &[][..], "access_key_id", true),
            (S3, &[], "session_token", true),
            (S3, &["access_key_id"], "secret_access_key", true),
            (S3, &["access_key_id", "profile"], "secret_access_key", true),
            (S3, &["access_key_id", "secret_access_key"], "session_token", false),
            (S3, &["access_key_id", "secret_access_key"], "web_identity_token_file", false),
            (S3, &["profile"], "access_key_id", false),
            (S3, &["skip_signature"], "access_key_id", false),
            (Gcs, &["service_account"], "bearer_token", false),
            (Azure, &["client_id"], "msi_endpoint", true),
            (Azure, &["client_id", "client_secret"], "msi_endpoint", false),
            (Azure, &["client_id", "client_secret"], "federated_token_file", false),
            (Azure, &["client_id", "client_secret"], "tenant_id", true),
            (S3, &[], "endpoint", false),
        ] {
            assert_eq!(completes(provider, name, own), expected, "{name} for {own:?}");
        }
    }
}
