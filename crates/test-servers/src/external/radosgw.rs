//! Ceph radosgw: one monitor, one OSD in memory and one gateway, without a manager.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::process::{self, is_on_path, launch_detached, open_log, wait_until_ready};
use super::{BUCKET, Context, Instance, REGION, ServerError, cannot, failed, network};

const PACKAGES: [&str; 4] = ["radosgw", "ceph-mon", "ceph-osd", "ceph-common"];
const PROGRAMS: [&str; 7] = ["radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool"];

const INSTALL_TIMEOUT: Duration = Duration::from_secs(1800);
const TOOL_TIMEOUT: Duration = Duration::from_secs(60);
const USER_TIMEOUT: Duration = Duration::from_secs(120);
const OSD_READY_TIMEOUT: Duration = Duration::from_secs(60);
const GATEWAY_READY_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn install(context: &Context) -> Result<(), ServerError> {
    let unavailable = |reason: &str| Err(ServerError::Unavailable(format!("radosgw: {reason}")));
    let packages = PACKAGES.join(" ");
    if !is_on_path("apt-get") {
        return unavailable("it comes from Debian packages, and there is no apt-get command");
    }
    if !rustix::process::geteuid().is_root() {
        return unavailable(&format!("apt-get needs root; run this as root, or install {packages}"));
    }
    context.report(format!("installing {packages}"));
    let succeeds = |program: &str, arguments: &[&str]| -> Result<bool, ServerError> {
        let mut command = Command::new(program);
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
        Ok(process::run(context, &mut command, INSTALL_TIMEOUT)?.success())
    };
    // A machine without network access lacks something. It is not a failure.
    if !succeeds("apt-get", &["update", "-q"])? {
        return unavailable("the package lists cannot be downloaded");
    }
    let mut show = Command::new("apt-cache");
    show.arg("show").args(PACKAGES).stdout(Stdio::null()).stderr(Stdio::null());
    if !process::run(context, &mut show, TOOL_TIMEOUT)?.success() {
        return unavailable("this distribution does not have its packages");
    }
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    if !succeeds("apt-get", &[&install, &PACKAGES[..]].concat())? {
        return Err(failed(format!("apt-get cannot install {packages}")));
    }
    Ok(())
}

pub(super) fn installed_version(context: &Context) -> Option<String> {
    if !PROGRAMS.iter().all(|program| is_on_path(program)) {
        return None;
    }
    let version = process::output(context, Command::new("radosgw").arg("--version"), TOOL_TIMEOUT).ok()?;
    Some(version.trim().to_owned())
}

pub(super) fn start(context: &Context, instance: &Instance) -> Result<(), ServerError> {
    if !is_on_path("curl") {
        return Err(ServerError::Unavailable("radosgw: curl is needed to create the bucket".to_owned()));
    }
    Ceph { context, instance }.start()
}

struct Ceph<'a> {
    context: &'a Context,
    instance: &'a Instance,
}

impl Ceph<'_> {
    fn start(&self) -> Result<(), ServerError> {
        let is_new = !self.complete_marker().exists();
        if is_new {
            // An earlier start may have failed half-way.
            drop(fs::remove_dir_all(self.dir()));
            self.write_configuration()?;
            self.make_monitor()?;
        }
        self.launch("mon", Command::new("ceph-mon").args(["-f", "-i", "a", "-c"]).arg(self.configuration()))?;
        // The client retries by itself until the monitor responds.
        self.ceph(30, &["status"])?;
        if is_new {
            self.make_osd()?;
        }
        let mut osd = Command::new("ceph-osd");
        let mut osd = self.launch("osd", osd.args(["-f", "-i", "0", "-c"]).arg(self.configuration()))?;
        let is_up =
            || self.ceph(10, &["osd", "dump"]).is_ok_and(|dump| dump.lines().any(|l| l.starts_with("osd.0 up ")));
        wait_until_ready(self.context, "osd", &mut osd, OSD_READY_TIMEOUT, is_up)?;
        if is_new {
            self.make_user()?;
            File::create(self.complete_marker()).map_err(cannot("mark the cluster as complete"))?;
        }
        let mut gateway = Command::new("radosgw");
        let port = self.instance.port;
        gateway
            .args(["-f", "-n", "client.rgw.a", "-c"])
            .arg(self.configuration())
            // Without tcp_nodelay most requests take 43 ms.
            .arg(format!("--rgw-frontends=beast endpoint=127.0.0.1:{port} tcp_nodelay=1"));
        let mut gateway = self.launch("radosgw", &mut gateway)?;
        let is_ready = || network::http_status(port, "/").is_some();
        wait_until_ready(self.context, "radosgw", &mut gateway, GATEWAY_READY_TIMEOUT, is_ready)?;
        self.make_bucket()
    }

    fn launch(&self, name: &str, command: &mut Command) -> Result<std::process::Child, ServerError> {
        launch_detached(&self.instance.dir, name, command)
    }

    fn dir(&self) -> PathBuf {
        self.instance.dir.join("ceph")
    }

    fn configuration(&self) -> PathBuf {
        self.dir().join("ceph.conf")
    }

    fn keyring(&self) -> PathBuf {
        self.dir().join("keyring")
    }

    /// Present if the monitor, the OSD and the user have been created.
    fn complete_marker(&self) -> PathBuf {
        self.instance.dir.join("ceph.made")
    }

    fn write_configuration(&self) -> Result<(), ServerError> {
        for subdirectory in ["mon", "osd", "rgw", "crash"] {
            let path = self.dir().join(subdirectory);
            fs::create_dir_all(&path).map_err(cannot(format_args!("create {}", path.display())))?;
        }
        let monitor = format!("[v2:127.0.0.1:{}]", network::free_port()?);
        let text = configuration_text(&self.instance.dir, &random_uuid()?, &monitor);
        fs::write(self.configuration(), text).map_err(cannot("write ceph.conf"))
    }

    /// Creates the monitor. Every key must be in the keyring before that, because the monitor copies them.
    fn make_monitor(&self) -> Result<(), ServerError> {
        let (keyring, configuration) = (path_text(&self.keyring())?, path_text(&self.configuration())?);
        let monmap = path_text(&self.dir().join("monmap"))?;
        let text = fs::read_to_string(self.configuration()).map_err(cannot("read ceph.conf"))?;
        let setting = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.ok_or_else(|| failed(format!("ceph.conf has no {name}")))
        };
        let keys: [&[&str]; 4] = [
            &["--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"],
            &["--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *"],
            &["--gen-key", "-n", "client.rgw.a", "--cap", "mon", "allow rw", "--cap", "osd", "allow rwx"],
            &["--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"],
        ];
        for key in keys {
            self.tool("ceph-authtool", &[&[keyring.as_str()], key].concat(), TOOL_TIMEOUT)?;
        }
        let (id, monitor) = (setting("fsid")?, setting("mon host")?);
        self.tool("monmaptool", &["--create", "--fsid", id, "--addv", "a", monitor, &monmap], TOOL_TIMEOUT)?;
        let make = ["-c", &configuration, "-i", "a", "--mkfs", "--monmap", &monmap, "--keyring", &keyring];
        self.tool("ceph-mon", &make, TOOL_TIMEOUT)
    }

    fn make_osd(&self) -> Result<(), ServerError> {
        let id = random_uuid()?;
        self.ceph(30, &["osd", "new", &id])?;
        let configuration = path_text(&self.configuration())?;
        self.tool("ceph-osd", &["-c", &configuration, "-i", "0", "--mkfs", "--osd-uuid", &id], TOOL_TIMEOUT)
    }

    fn make_user(&self) -> Result<(), ServerError> {
        let configuration = path_text(&self.configuration())?;
        let access_key = format!("--access-key={}", self.instance.access_key);
        let secret_key = format!("--secret-key={}", self.instance.secret_key);
        let user = ["user", "create", "--uid=test", "--display-name=test", &access_key, &secret_key];
        let arguments = [&["-c", configuration.as_str(), "-n", "client.rgw.a"], &user[..]].concat();
        self.tool("radosgw-admin", &arguments, USER_TIMEOUT)
    }

    /// Creates the bucket. curl signs the request; the credentials are in a file, since arguments are public.
    fn make_bucket(&self) -> Result<(), ServerError> {
        let Instance { port, access_key, secret_key, .. } = self.instance;
        let mut user = tempfile::NamedTempFile::new().map_err(cannot("create a temporary file"))?;
        writeln!(user, "user = \"{access_key}:{secret_key}\"").map_err(cannot("write a temporary file"))?;
        let mut command = Command::new("curl");
        command
            .args(["-s", "-w", "%{http_code}", "--max-time", "60", "-X", "PUT", "-o"])
            .arg(self.instance.dir.join("log/bucket.out"))
            .arg("--config")
            .arg(user.path())
            // Versions of curl before 8 sign another header than they send, unless it is given.
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--aws-sigv4", &format!("aws:amz:{REGION}:s3")])
            .arg(format!("http://127.0.0.1:{port}/{BUCKET}"));
        let status = process::output(self.context, &mut command, TOOL_TIMEOUT * 2)?;
        if status == "200" {
            return Ok(());
        }
        Err(failed(format!("cannot create the bucket: radosgw returned the status {status}")))
    }

    /// Runs the client of the cluster and returns its output.
    fn ceph(&self, connect_timeout_seconds: u64, arguments: &[&str]) -> Result<String, ServerError> {
        let mut command = Command::new("ceph");
        command.arg("-c").arg(self.configuration());
        command.args(["--connect-timeout", &connect_timeout_seconds.to_string()]).args(arguments);
        command.stderr(self.log()?);
        process::output(self.context, &mut command, Duration::from_secs(connect_timeout_seconds + 5))
    }

    /// Runs a program that must succeed. Its output goes to a log.
    fn tool(&self, program: &str, arguments: &[&str], timeout: Duration) -> Result<(), ServerError> {
        let mut command = Command::new(program);
        command.args(arguments).stdout(self.log()?).stderr(self.log()?);
        let status = process::run(self.context, &mut command, timeout)?;
        if status.success() { Ok(()) } else { Err(failed(format!("{program} failed ({status})"))) }
    }

    fn log(&self) -> Result<File, ServerError> {
        open_log(&self.instance.dir.join("log/make.out"))
    }
}

fn configuration_text(dir: &Path, id: &str, monitor: &str) -> String {
    let dir = dir.display();
    format!(
        "[global]
fsid = {id}
mon host = {monitor}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
# Without cephx radosgw hangs and ends.
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {dir}/ceph/keyring
crash dir = {dir}/ceph/crash
run dir = {dir}/run
admin socket =
log file = {dir}/log/$name.log
mon cluster log file = {dir}/log/cluster.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000

[mon.a]
mon data = {dir}/ceph/mon
mon data avail crit = 1

[osd.0]
osd data = {dir}/ceph/osd
osd objectstore = memstore
# Memory is written to the disk at a regular shutdown. A fast shutdown loses all objects.
osd fast shutdown = false
memstore device bytes = 6442450944

[client.rgw.a]
rgw data = {dir}/ceph/rgw
"
    )
}

fn random_uuid() -> Result<String, ServerError> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(cannot("get a random UUID"))?;
    Ok(uuid.trim().to_owned())
}

fn path_text(path: &Path) -> Result<String, ServerError> {
    path.to_str().map(str::to_owned).ok_or_else(|| failed(format!("{} is not valid UTF-8", path.display())))
}
