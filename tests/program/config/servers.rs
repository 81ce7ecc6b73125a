//! On which server the bucket of a profile is: on the one that the file says, if the file is named.

use std::fs;

use ruvector_snapshot::store::{StoreConfig, known_options, open};
use test_servers::S3Server;

use super::{FILE, RunResult, Sandbox, offsite, run, run_named, write};

#[test]
fn a_variable_moves_no_profile_to_another_server() {
    let (sandbox, server) = offsite();
    sandbox.ok(&["create", "--db", "a.db"]);
    let other = S3Server::start();
    let endpoint = other.endpoint().to_string();
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY), ("AWS_ENDPOINT_URL", endpoint.as_str())];
    let copy = ["copy", "--all", "--to", "@offsite"];
    // What the profile says is not replaced.
    let result = run_named(&sandbox, &environment, &copy);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    assert!(!server.objects().is_empty());
    // What the profile leaves to the provider is not completed.
    let text = fs::read_to_string(sandbox.path(FILE)).unwrap();
    let line = text.lines().find(|line| line.starts_with("endpoint")).unwrap();
    write(&sandbox, FILE, &text.replace(line, ""));
    server.wire().reset_log();
    for args in [
        &copy[..],
        &[&copy[..], &["--dry-run"]].concat(),
        &["diff", "latest", "latest", "--to", "@offsite"],
        &["list", "--store", "@offsite"],
        &["create", "--db", "a.db", "--store", "@offsite"],
        &["config", "show", "--store", "@offsite"],
        &["config", "check"],
    ] {
        let result = run_named(&sandbox, &environment, args);
        result.assert_fails(2, "the environment variable AWS_ENDPOINT_URL is set");
        assert!(result.stderr.contains("has no option endpoint"), "{result:?}");
    }
    let result = run_named(&sandbox, &environment, &["list", "--store", "@offsite"]);
    assert!(result.stderr.contains("endpoint = \"env:AWS_ENDPOINT_URL\""), "{result:?}");
    assert!(other.wire().requests().is_empty() && server.wire().requests().is_empty());
    // What is typed is meant, whatever the option is called, and so is a variable that the profile names.
    for name in ["endpoint", "AWS_ENDPOINT_URL", "aws_endpoint"] {
        let typed = format!("{name}={}", server.endpoint());
        let result = run_named(&sandbox, &environment, &[&copy[..], &["--to-option", &typed]].concat());
        assert_eq!(result.exit_code, Some(0), "{result:?}");
    }
    write(&sandbox, FILE, &text.replace(line, "endpoint = \"env:AWS_ENDPOINT_URL\""));
    let same = server.endpoint().to_string();
    let environment = [environment[0], ("AWS_ENDPOINT_URL", same.as_str())];
    let result = run_named(&sandbox, &environment, &copy);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    assert!(other.wire().requests().is_empty());
}

/// The keys of `object_store` 0.14, as variables of the environment.
const KEYS: [(&str, &str); 3] = [
    (
        "AWS_",
        "ACCESS_KEY_ID SECRET_ACCESS_KEY DEFAULT_REGION REGION BUCKET BUCKET_NAME ENDPOINT_URL ENDPOINT ENDPOINT_URL_S3 \
         SESSION_TOKEN TOKEN VIRTUAL_HOSTED_STYLE_REQUEST S3_EXPRESS IMDSV1_FALLBACK METADATA_ENDPOINT UNSIGNED_PAYLOAD \
         CHECKSUM_ALGORITHM CONTAINER_CREDENTIALS_RELATIVE_URI CONTAINER_CREDENTIALS_FULL_URI \
         CONTAINER_AUTHORIZATION_TOKEN_FILE WEB_IDENTITY_TOKEN_FILE ROLE_ARN ROLE_SESSION_NAME ENDPOINT_URL_STS \
         SKIP_SIGNATURE COPY_IF_NOT_EXISTS CONDITIONAL_PUT DISABLE_TAGGING DISABLE_BULK_DELETE REQUEST_PAYER ALLOW_HTTP \
         SERVER_SIDE_ENCRYPTION SSE_KMS_KEY_ID SSE_BUCKET_KEY_ENABLED SSE_CUSTOMER_KEY_BASE64",
    ),
    (
        "GOOGLE_",
        "SERVICE_ACCOUNT SERVICE_ACCOUNT_PATH SERVICE_ACCOUNT_KEY BUCKET BUCKET_NAME BASE_URL APPLICATION_CREDENTIALS \
         BEARER_TOKEN SKIP_SIGNATURE",
    ),
    (
        "AZURE_",
        "STORAGE_ACCOUNT_KEY STORAGE_ACCESS_KEY STORAGE_MASTER_KEY STORAGE_ACCOUNT_NAME STORAGE_CLIENT_ID CLIENT_ID \
         STORAGE_CLIENT_SECRET CLIENT_SECRET STORAGE_TENANT_ID STORAGE_AUTHORITY_ID TENANT_ID AUTHORITY_ID \
         STORAGE_AUTHORITY_HOST AUTHORITY_HOST STORAGE_SAS_KEY STORAGE_SAS_TOKEN STORAGE_TOKEN STORAGE_USE_EMULATOR \
         USE_EMULATOR STORAGE_ENDPOINT ENDPOINT MSI_ENDPOINT IDENTITY_ENDPOINT OBJECT_ID MSI_RESOURCE_ID \
         FEDERATED_TOKEN_FILE USE_FABRIC_ENDPOINT USE_AZURE_CLI SKIP_SIGNATURE CONTAINER_NAME DISABLE_TAGGING \
         FABRIC_TOKEN_SERVICE_URL FABRIC_WORKLOAD_HOST FABRIC_SESSION_TOKEN FABRIC_CLUSTER_IDENTIFIER CREDENTIAL_TYPE \
         STORAGE_ENCRYPTION_KEY",
    ),
];

/// And all variables of the table of options, of each provider.
#[test]
fn of_the_environment_only_credentials_complete_a_profile() {
    let sandbox = Sandbox::empty();
    write(&sandbox, "p.toml", "[stores.s3]\nlocation = \"s3://b\"\n[stores.gs]\nlocation = \"gs://b\"\n");
    let show = |scheme: &str, environment: &[(&str, &str)]| {
        let store = format!("@{scheme}");
        run(&sandbox, environment, &["config", "show", "--config", "p.toml", "--store", &store, "--json"])
    };
    let may_complete = [
        "access_key_id secret_access_key session_token web_identity_token_file role_arn role_session_name skip_signature",
        "container_credentials_relative_uri container_credentials_full_uri container_authorization_token_file",
        "metadata_endpoint service_account service_account_key application_credentials bearer_token",
        "account_key sas_token client_id client_secret tenant_id federated_token_file msi_endpoint object_id",
        "msi_resource_id use_azure_cli",
    ];
    let may_complete: Vec<&str> = may_complete.iter().flat_map(|names| names.split(' ')).collect();
    let keys = KEYS.iter().flat_map(|(prefix, keys)| keys.split(' ').map(move |key| format!("{prefix}{key}")));
    let keys: Vec<String> = keys.collect();
    for scheme in ["s3", "gs", "az"] {
        let options = known_options(scheme);
        for option in &options {
            assert_eq!(option.is_credential(), may_complete.contains(&option.name), "{scheme} {}", option.name);
        }
        // The program of the tests has no Azure.
        if scheme == "az" {
            continue;
        }
        let alone = show(scheme, &[]).into_json().1["values"].clone();
        let of_table =
            options.iter().flat_map(|option| option.environment.iter().map(|variable| (*variable).to_owned()));
        for variable in keys.iter().cloned().chain(of_table) {
            let result = show(scheme, &[(&variable, "x")]);
            match options.iter().find(|option| option.environment.contains(&variable.as_str())) {
                None => assert_eq!(result.into_json().1["values"], alone, "{variable}"),
                Some(option) if option.is_credential() || option.name == "ca_certificate" => {
                    let (exit_code, document) = result.into_json();
                    let values = document["values"].as_array().unwrap();
                    let key = format!("options.{}", option.name);
                    assert!(exit_code == 0 && values.iter().any(|value| value["key"] == *key), "{document}");
                }
                Some(option) => {
                    result.assert_fails(2, &format!("the environment variable {variable} is set"));
                    assert!(result.stderr.contains(&format!("has no option {}", option.name)), "{result:?}");
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_only_found_in_the_working_directory_sends_nothing_to_a_server() {
    let (sandbox, server) = offsite();
    sandbox.ok(&["create", "--db", "a.db"]);
    let environment = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    for args in [
        &["list", "--store", "@offsite"][..],
        &["create", "--db", "a.db", "--store", "@offsite"],
        &["create", "--db", "a.db", "--store", "@offsite", "--dry-run"],
        &["copy", "--all", "--to", "@offsite"],
        &["diff", "latest", "latest", "--to", "@offsite"],
        &["store", "check", "--store", "@offsite"],
    ] {
        let result = run(&sandbox, &environment, args);
        result.assert_fails(2, "ruvector-snapshot.toml:3 names s3://");
        assert!(result.stderr.contains("name it with --config ruvector-snapshot.toml"), "{result:?}");
    }
    let store = format!("s3://{}/offsite", S3Server::BUCKET);
    write(&sandbox, "elsewhere/ruvector-snapshot.toml", &format!("store = \"{store}\"\n"));
    let endpoint = server.endpoint().to_string();
    let mut command = sandbox.command(&["list"]);
    command.env("AWS_ENDPOINT_URL", &endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_ACCESS_KEY_ID", "AKID");
    let result = RunResult::from(command.current_dir(sandbox.path("elsewhere")).output().unwrap());
    result.assert_fails(2, "ruvector-snapshot.toml:1 names s3://");
    assert!(server.wire().requests().is_empty());
    // What it says of this machine is used, and what it would do is shown.
    sandbox.ok(&["list"]);
    let shown = sandbox.ok_with_warning(&["config", "show", "--store", "@offsite"], "nothing is sent there");
    assert!(shown.contains("options.access_key_id = env:OFFSITE_KEY"), "{shown}");
    // It has no snapshots.
    let list = ["list", "--store", "@offsite"];
    assert_eq!(run(&sandbox, &environment, &[&list[..], &["--config", FILE]].concat()).exit_code, Some(4));
    // A directory of the user is as good as a name.
    let text = fs::read_to_string(sandbox.path(FILE)).unwrap().replace("file:offsite.secret", "env:OFFSITE_SECRET");
    fs::remove_file(sandbox.path(FILE)).unwrap();
    write(&sandbox, "home/.config/ruvector-snapshot/ruvector-snapshot.toml", &text);
    let home = sandbox.path("home").display().to_string();
    let environment = [environment[0], ("OFFSITE_SECRET", S3Server::SECRET_KEY), ("HOME", home.as_str())];
    assert_eq!(run(&sandbox, &environment, &list).exit_code, Some(4));
    assert!(!server.wire().requests().is_empty());
}

/// A key of Google can name a server.
#[test]
fn a_key_of_the_environment_moves_no_profile_to_another_server() {
    let sandbox = Sandbox::empty();
    let key = "{\"private_key\": \"x\", \"private_key_id\": \"x\", \"client_email\": \"x\", \"disable_oauth\": true, \
               \"gcs_base_url\": \"https://other.example\"}";
    write(&sandbox, "key.json", key);
    let path = sandbox.path("key.json").display().to_string();
    let check = |options: &str, environment: &[(&str, &str)]| {
        write(&sandbox, "p.toml", &format!("[stores.gs]\nlocation = \"gs://b\"\noptions = {{ {options} }}\n"));
        run(&sandbox, environment, &["config", "check", "p.toml"])
    };
    for variable in ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"] {
        let value = if variable.ends_with("_KEY") { key } else { &path };
        check("", &[(variable, value)]).assert_fails(2, "has a gcs_base_url, but only says who signs in");
        let list = ["list", "--config", "p.toml", "--store", "@gs"];
        run(&sandbox, &[(variable, value)], &list).assert_fails(2, &format!("({variable})"));
        assert_eq!(check("base_url = \"https://own.example\"", &[(variable, value)]).exit_code, Some(0));
    }
    assert_eq!(check("service_account = \"key.json\"", &[]).exit_code, Some(0));
    assert_eq!(check("service_account = \"env:KEY\"", &[("KEY", &path)]).exit_code, Some(0));
}

/// They give a profile its keys, and no place. What the profile of the store names is meant as a whole.
#[test]
fn the_files_of_the_aws_tools_move_no_profile_to_another_server() {
    let (sandbox, server) = offsite();
    sandbox.ok(&["create", "--db", "a.db"]);
    let other = S3Server::start();
    let (here, there) = (server.endpoint(), other.endpoint());
    let keys =
        format!("aws_access_key_id = {}\naws_secret_access_key = {}\n", S3Server::ACCESS_KEY, S3Server::SECRET_KEY);
    let home = sandbox.path("home").display().to_string();
    let aws = |text: &str| write(&sandbox, "home/.aws/config", &text.replace("KEYS", &keys));
    let profile = |options: &str| {
        let location = format!("location = \"s3://{}/offsite\"", S3Server::BUCKET);
        let text = format!("store = \"snapshots\"\n[stores.offsite]\n{location}\n[stores.offsite.options]\n{options}");
        write(&sandbox, FILE, &text);
    };
    let run = |args: &[&str]| run_named(&sandbox, &[("HOME", &home)], args);
    let copy = ["copy", "--all", "--to", "@offsite"];
    profile("allow_http = true\n");
    for (says, sets) in [
        (format!("endpoint_url = {there}\nregion = eu-west-1\n"), "endpoint_url"),
        (format!("services = own\n[services own]\ns3 =\n  endpoint_url = {there}\n"), "endpoint_url"),
        ("region = eu-west-1\n".to_owned(), "region"),
    ] {
        aws(&format!("[default]\nKEYS{says}"));
        for args in [
            &copy[..],
            &[&copy[..], &["--dry-run"]].concat(),
            &["diff", "latest", "latest", "--to", "@offsite"],
            &["list", "--store", "@offsite"],
            &["create", "--db", "a.db", "--store", "@offsite"],
            &["config", "check"],
        ] {
            run(args).assert_fails(2, &format!("home/.aws/config sets {sets} in the profile \"default\""));
        }
    }
    assert!(other.wire().requests().is_empty() && server.wire().requests().is_empty());
    // The keys are used, and what the profile of the store says is not replaced.
    profile(&format!("allow_http = true\nendpoint = \"{here}\"\n"));
    aws(&format!("[default]\nKEYSendpoint_url = {there}\nregion = eu-west-1\n"));
    let result = run(&copy);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    assert!(!server.objects().is_empty());
    assert!(server.wire().requests()[0].header("authorization").unwrap().contains("/us-east-1/s3/"));
    // A profile or a file that it names is a part of it.
    for (options, says) in [
        ("profile = \"work\"\n", format!("[default]\nregion = nowhere\n[profile work]\nKEYSendpoint_url = {here}\n")),
        (
            "profile = \"work\"\n",
            format!(
                "[services own]\ns3 =\n  endpoint_url = {here}\n[profile work]\nKEYSendpoint_url = {there}\nservices = own\n"
            ),
        ),
        ("config_file = \"home/.aws/config\"\n", format!("[default]\nKEYSendpoint_url = {here}\n")),
    ] {
        profile(&format!("allow_http = true\n{options}"));
        aws(&says);
        let result = run(&copy);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        assert_eq!(run(&["config", "check"]).exit_code, Some(0));
    }
    assert!(other.wire().requests().is_empty());
}

#[test]
fn a_variable_moves_no_profile_of_the_emulator_to_another_server() {
    // Whether it is built in depends on the features of the packages that are built together with this test.
    let azure = "az://container".parse().unwrap();
    if open(&azure, &StoreConfig::default()).unwrap_err().message().contains("not built") {
        return;
    }
    let sandbox = Sandbox::empty();
    write(&sandbox, "p.toml", "[stores.az]\nlocation = \"az://container\"\noptions = { use_emulator = true }\n");
    let variable = ("AZURITE_BLOB_STORAGE_URL", "http://127.0.0.1:1");
    assert_eq!(run(&sandbox, &[], &["config", "check", "p.toml"]).exit_code, Some(0));
    for args in [&["config", "check", "p.toml"][..], &["list", "--config", "p.toml", "--store", "@az"]] {
        run(&sandbox, &[variable], args).assert_fails(2, "the environment variable AZURITE_BLOB_STORAGE_URL is set");
    }
}
