//! The command line, built for the suite `program`: it differs from `ruvector-snapshot` only in its file name.

use std::process::ExitCode;

fn main() -> ExitCode {
    ruvector_snapshot_cli::main()
}
