//! The configuration file.
//!
//! `find` tests which file is read, `trust` which file is not used, `show` what applies before what, `names` what commands take from a
//! file, `secrets` that no secret is ever printed, `servers` where the bucket of a profile is, `check` what is wrong with a file, and `jobs` what
//! is wrong with a job.

mod check;
mod find;
mod jobs;
mod names;
mod secrets;
mod servers;
mod show;
mod trust;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use test_servers::S3Server;

use super::sandbox::{RunResult, Sandbox};

const FILE: &str = "ruvector-snapshot.toml";
const CANARY: &str = "c4n4ry-0f-a-s3cret";

fn write(sandbox: &Sandbox, name: &str, text: &str) {
    let path = sandbox.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn run(sandbox: &Sandbox, environment: &[(&str, &str)], args: &[&str]) -> RunResult {
    RunResult::from(sandbox.command(args).envs(environment.iter().copied()).output().unwrap())
}

/// As [`run`], with the file of the working directory named: it may have buckets then.
fn run_named(sandbox: &Sandbox, environment: &[(&str, &str)], args: &[&str]) -> RunResult {
    run(sandbox, &[&[("RUVECTOR_SNAPSHOT_CONFIG", FILE)], environment].concat(), args)
}

/// A sandbox with snapshots, and a profile of a bucket on a server in this process.
fn offsite() -> (Sandbox, S3Server) {
    let (sandbox, server) = (Sandbox::with_rows(20), S3Server::start());
    let text = format!(
        "store = \"snapshots\"\n[stores.offsite]\nlocation = \"s3://{}/offsite\"\n[stores.offsite.options]\n\
         endpoint = \"{}\"\nallow_http = true\naccess_key_id = \"env:OFFSITE_KEY\"\nsecret_access_key = \"file:offsite.secret\"\n",
        S3Server::BUCKET,
        server.endpoint()
    );
    write(&sandbox, FILE, &text);
    write(&sandbox, "offsite.secret", &format!("{}\n", S3Server::SECRET_KEY));
    (sandbox, server)
}
