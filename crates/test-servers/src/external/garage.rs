//! Garage: builds it with Cargo and launches one node.
//!
//! Garage ignores the preconditions of writes, so that a part of the tests fails with it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::process::{self, is_on_path, launch_detached, wait_until_ready};
use super::{BUCKET, Context, Instance, REGION, ServerError, cannot, failed, network, random_hex};

const VERSION: &str = "2.5.0";
/// It compiles about 290 crates with optimisation.
const BUILD_TIMEOUT: Duration = Duration::from_secs(2 * 3600);
const TOOL_TIMEOUT: Duration = Duration::from_secs(30);
const READY_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn install(context: &Context) -> Result<(), ServerError> {
    if !is_on_path("cargo") {
        return Err(ServerError::Unavailable(
            "garage: it is built with Cargo, and there is no cargo command".to_owned(),
        ));
    }
    context.report(format!("building garage {VERSION}; this takes 10 minutes or more"));
    let mut command = Command::new("cargo");
    command.args(["install", "garage", "--version", VERSION, "--locked", "--root"]).arg(&context.cache);
    let status = process::run(context, command.stdout(std::io::stderr()), BUILD_TIMEOUT)?;
    if status.success() { Ok(()) } else { Err(failed(format!("cargo install garage {VERSION} failed ({status})"))) }
}

pub(super) fn installed_version(context: &Context) -> Option<String> {
    let binary = binary(context);
    if !binary.is_file() {
        return None;
    }
    let text = process::output(context, Command::new(&binary).arg("--version"), TOOL_TIMEOUT).ok()?;
    text.contains(VERSION).then(|| format!("{VERSION} in {}", context.bin().display()))
}

pub(super) fn start(context: &Context, instance: &Instance) -> Result<(), ServerError> {
    let Instance { dir, port, access_key, secret_key } = instance;
    let (rpc_port, admin_port) = (network::free_port()?, network::free_port()?);
    let display = dir.display();
    // Other users cannot read the file, since they cannot enter the directory. Garage would check the file only.
    let configuration = format!(
        "metadata_dir = \"{display}/meta\"
data_dir = \"{display}/data\"
db_engine = \"sqlite\"
replication_factor = 1
rpc_bind_addr = \"127.0.0.1:{rpc_port}\"
rpc_public_addr = \"127.0.0.1:{rpc_port}\"
rpc_secret = \"{}\"
allow_world_readable_secrets = true

[s3_api]
s3_region = \"{REGION}\"
api_bind_addr = \"127.0.0.1:{port}\"

[admin]
api_bind_addr = \"127.0.0.1:{admin_port}\"
",
        random_hex(32)?
    );
    let path = dir.join("garage.toml");
    fs::write(&path, configuration).map_err(cannot(format_args!("write {}", path.display())))?;
    let mut command = Command::new(binary(context));
    command
        .arg("-c")
        .arg(&path)
        .args(["server", "--single-node", "--default-bucket"])
        .env("GARAGE_DEFAULT_ACCESS_KEY", access_key)
        .env("GARAGE_DEFAULT_SECRET_KEY", secret_key)
        .env("GARAGE_DEFAULT_BUCKET", BUCKET);
    let mut child = launch_detached(dir, "garage", &mut command)?;
    let is_ready = || network::http_status(admin_port, "/health") == Some(200);
    wait_until_ready(context, "garage", &mut child, READY_TIMEOUT, is_ready)
}

fn binary(context: &Context) -> PathBuf {
    context.bin().join("garage")
}
