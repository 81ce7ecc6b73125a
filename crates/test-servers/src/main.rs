//! The command line of [`test_servers::external`]: parses, calls and prints.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use clap::{Parser, Subcommand};
use test_servers::external::{self, Context, ServerError, ServerKind};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

const EXIT_FAILED: u8 = 1;
/// Tells .ci/run that a server is not available, which is not a failure.
const EXIT_UNAVAILABLE: u8 = 3;
/// Added to the number of the signal that interrupted the program.
const EXIT_SIGNAL: u8 = 128;

/// Install, start and stop real object stores on 127.0.0.1, for tests and for development.
#[derive(Debug, Parser)]
#[command(name = "test-servers", disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install servers.
    #[command(after_help = INSTALL_HELP)]
    Install {
        /// minio, radosgw or garage
        #[arg(required = true, value_name = "SERVER")]
        servers: Vec<ServerKind>,
    },
    /// Start a server with a bucket, and print its address and credentials for a shell.
    ///
    /// Everything that the server stores is in DIR. If a server was stopped or killed, start it again in the same DIR:
    /// port, credentials and objects stay the same.
    ///
    /// Prints only export lines on stdout. Without DIR, the server uses a temporary directory that `stop` deletes; the
    /// variable RUVECTOR_SNAPSHOT_TEST_SERVER_DIR names it.
    #[command(after_help = START_HELP)]
    Start {
        /// minio, radosgw or garage
        server: ServerKind,
        /// Directory of the server; created if it does not exist [default: a temporary directory]
        dir: Option<PathBuf>,
        /// Port to listen on [default: the port of the last start in DIR, or a free one]
        #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
    /// End all processes that were started in a directory, also after a start that failed or was killed.
    Stop {
        /// Directory of the server
        dir: PathBuf,
    },
    /// List the servers: which are installed, and which are running.
    List,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure
  2  wrong usage
  3  skipped: this machine lacks something that the server needs";

const INSTALL_HELP: &str = "\
minio    MinIO and mc, built by Go in ~/.cache/ruvector-snapshot/servers (or in $RUVECTOR_SNAPSHOT_SERVERS)
radosgw  Ceph radosgw, from the packages of Debian or Ubuntu; needs root
garage   Garage, built by Cargo in the same directory as MinIO; takes 10 minutes or more

Example:
  cargo run -p test-servers -- install minio radosgw";

const START_HELP: &str = "\
Example:
  exports=$(cargo run -q -p test-servers -- start minio) && eval \"$exports\"
  cargo test --release -p ruvector-snapshot-tests --test servers
  cargo run -q -p test-servers -- stop \"$RUVECTOR_SNAPSHOT_TEST_SERVER_DIR\"";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let signal_number = Arc::new(AtomicU8::new(0));
    let result = Context::new(report).and_then(|context| {
        let context = Arc::new(context);
        interrupt_on_signals(context.clone(), signal_number.clone())
            .map_err(|error| ServerError::Failed(format!("cannot install signal handlers: {error}")))?;
        execute(&context, arguments.verb)
    });
    let Err(error) = result else { return ExitCode::SUCCESS };
    report(&error.to_string());
    ExitCode::from(match error {
        ServerError::Failed(_) => EXIT_FAILED,
        ServerError::Unavailable(_) => EXIT_UNAVAILABLE,
        ServerError::Interrupted => EXIT_SIGNAL + signal_number.load(Ordering::SeqCst),
    })
}

fn execute(context: &Context, verb: Verb) -> Result<(), ServerError> {
    match verb {
        Verb::Install { servers } => install(context, &servers),
        Verb::Start { server, dir, port } => {
            let environment = external::start(context, server, dir.as_deref(), port)?;
            for (name, value) in environment {
                print_line(&format!("export {name}={}", quoted(&value)));
            }
            Ok(())
        }
        Verb::Stop { dir } => external::stop(context, &dir),
        Verb::List => {
            list(context);
            Ok(())
        }
    }
}

/// Installs all servers that can be installed. A failure outweighs a server that was skipped.
fn install(context: &Context, servers: &[ServerKind]) -> Result<(), ServerError> {
    let mut worst = Ok(());
    for server in servers {
        match external::install(context, *server) {
            Ok(message) => report(&message),
            Err(ServerError::Interrupted) => return Err(ServerError::Interrupted),
            Err(error) => {
                let outweighs = worst.is_ok() || matches!(worst, Err(ServerError::Unavailable(_)));
                let replaced = if outweighs { std::mem::replace(&mut worst, Err(error)) } else { Err(error) };
                if let Err(other) = replaced {
                    report(&other.to_string());
                }
            }
        }
    }
    worst
}

fn list(context: &Context) {
    for kind in ServerKind::ALL {
        let version = kind.installed_version(context).unwrap_or_else(|| "not installed".to_owned());
        print_line(&format!("{:<8} {version}", kind.name()));
    }
    for server in external::running() {
        let kind = server.kind.map_or("unknown", ServerKind::name);
        let processes = server.processes.iter().map(|(name, id)| format!("{name} {id}")).collect::<Vec<_>>().join(", ");
        print_line(&format!("running: {kind} in {} (process ids: {processes})", server.dir.display()));
    }
}

/// Interrupts the context at the first signal that asks the program to end.
fn interrupt_on_signals(context: Arc<Context>, signal_number: Arc<AtomicU8>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let [mut interrupt, mut terminate, mut hangup] =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    drop(guard);
    thread::spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
        });
        signal_number.store(u8::try_from(number.as_raw_value()).unwrap_or_default(), Ordering::SeqCst);
        context.interrupt();
    });
    Ok(())
}

/// Quotes a value for a POSIX shell, if necessary.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:._-=".contains(c);
    if value.chars().all(is_plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

fn print_line(line: &str) {
    // A reader that has closed the pipe needs no more lines.
    drop(writeln!(io::stdout(), "{line}"));
}

fn report(message: &str) {
    eprintln!("test-servers: {message}");
}
