//! The program `ruvector-snapshot`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ruvector_snapshot_cli::main()
}
