//! MinIO: builds it with Go, launches it, and runs its client mc.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::process::{self, wait_until_ready};
use super::{BUCKET, Context, Instance, ServerError, cannot, directory, failed, network};

const MINIO: Module =
    Module { path: "github.com/minio/minio", version: "v0.0.0-20260212201848-7aac2a2c5b7c", program: "minio" };
const MC: Module = Module { path: "github.com/minio/mc", version: "v0.0.0-20250313080218-cf909e1063a9", program: "mc" };

const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
const PORT_LOCK_TIMEOUT: Duration = Duration::from_secs(120);

/// A Go module that is built into one program.
struct Module {
    path: &'static str,
    version: &'static str,
    program: &'static str,
}

impl Module {
    /// Returns true if the program in the cache was built from the pinned version, according to its build information.
    fn is_installed(&self, context: &Context) -> bool {
        let binary = context.bin().join(self.program);
        let mut command = Command::new("go");
        command.args(["version", "-m"]).arg(&binary).stderr(std::process::Stdio::null());
        let line = format!("\tmod\t{}\t{}\t", self.path, self.version);
        binary.is_file()
            && process::output(context, &mut command, CLIENT_TIMEOUT).is_ok_and(|text| text.contains(&line))
    }

    fn install(&self, context: &Context) -> Result<(), ServerError> {
        if self.is_installed(context) {
            return Ok(());
        }
        let module = format!("{}@{}", self.path, self.version);
        context.report(format!("building {module}"));
        fs::create_dir_all(context.bin()).map_err(cannot(format_args!("create {}", context.bin().display())))?;
        let mut command = Command::new("go");
        command.args(["install", &module]).env("CGO_ENABLED", "0").env("GOBIN", context.bin());
        let status = process::run(context, command.stdout(std::io::stderr()), BUILD_TIMEOUT)?;
        if !status.success() {
            return Err(failed(format!("go install {module} failed ({status})")));
        }
        Ok(())
    }
}

pub(super) fn install(context: &Context) -> Result<(), ServerError> {
    if !process::is_on_path("go") {
        return Err(ServerError::Unavailable("minio: it is built with Go, and there is no go command".to_owned()));
    }
    MINIO.install(context)?;
    MC.install(context)
}

pub(super) fn installed_version(context: &Context) -> Option<String> {
    let is_installed = MINIO.is_installed(context) && MC.is_installed(context);
    is_installed.then(|| format!("{} in {}", MINIO.version, context.bin().display()))
}

pub(super) fn start(context: &Context, instance: &Instance) -> Result<(), ServerError> {
    let binary = context.bin().join(MINIO.program);
    launch(context, &binary, instance, process::launch_detached)?;
    // If another server took the port first, it refuses the credentials of this directory.
    client(context, &binary, instance, &["mb", "--ignore-existing", &format!("test/{BUCKET}")]).map(drop)
}

/// Launches MinIO with one of the functions of `process.rs` and waits until it is ready.
pub(crate) fn launch(
    context: &Context,
    binary: &Path,
    instance: &Instance,
    launch: fn(&Path, &str, &mut Command) -> Result<Child, ServerError>,
) -> Result<Child, ServerError> {
    // MinIO listens on the port of another MinIO without an error (SO_REUSEPORT), and each gets some of the requests.
    // Therefore only one at a time goes from the check of its port to listening on it.
    fs::create_dir_all(&context.cache).map_err(cannot(format_args!("create {}", context.cache.display())))?;
    let _lock = directory::lock_file_within(context, &context.cache.join("minio.lock"), PORT_LOCK_TIMEOUT)?;
    if !network::is_free(instance.port) {
        return Err(failed(format!("port {} is in use", instance.port)));
    }
    // The environment is empty, so that settings and certificates of the user have no effect.
    let mut command = Command::new(binary);
    command
        .args(["server", "--address", &format!("127.0.0.1:{}", instance.port)])
        .arg(data_dir(instance))
        .env_clear()
        .env("HOME", &instance.dir)
        .env("MINIO_ROOT_USER", &instance.access_key)
        .env("MINIO_ROOT_PASSWORD", &instance.secret_key)
        .env("MINIO_BROWSER", "off")
        .env("MINIO_UPDATE", "off");
    let mut child = launch(&instance.dir, "minio", &mut command)?;
    let is_ready = || network::http_status(instance.port, "/minio/health/ready") == Some(200);
    match wait_until_ready(context, "minio", &mut child, READY_TIMEOUT, is_ready) {
        Ok(()) => Ok(child),
        Err(error) => {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
            Err(error)
        }
    }
}

/// Runs the mc beside the binary, with the alias `test` for the server, and returns its output.
pub(crate) fn client(
    context: &Context,
    binary: &Path,
    instance: &Instance,
    arguments: &[&str],
) -> Result<String, ServerError> {
    let Instance { dir, port, access_key, secret_key } = instance;
    let mut command = Command::new(binary.with_file_name(MC.program));
    command
        .arg("--config-dir")
        .arg(dir.join("mc"))
        .arg("--quiet")
        .args(arguments)
        .env_clear()
        .env("HOME", dir)
        .env("MC_HOST_test", format!("http://{access_key}:{secret_key}@127.0.0.1:{port}"));
    process::output(context, &mut command, CLIENT_TIMEOUT)
}

/// Returns the directory of the objects.
pub(crate) fn data_dir(instance: &Instance) -> PathBuf {
    instance.dir.join("data")
}
