//! `completions`: prints a shell completion script.

use clap::Args;
use clap_complete::Shell;
use ruvector_snapshot::ErrorKind;

use crate::completion;
use crate::failure::{Exit, Failure};
use crate::output::Output;

pub(crate) const HELP: &str = "\
Prints a script with which a shell completes commands, options and their values: ids, names, labels, sources, and what the configuration file names.

The script asks this program while you type. It reads the store of the line for at most a second, offers the 100 newest snapshots, writes nothing, and \
prints no errors. Print the script again after an update of this program.

Examples:
  source <(ruvector-snapshot completions bash)
  ruvector-snapshot completions bash \\
      > ~/.local/share/bash-completion/completions/ruvector-snapshot
  ruvector-snapshot completions zsh > ~/.zfunc/_ruvector-snapshot
  ruvector-snapshot completions fish \\
      > ~/.config/fish/completions/ruvector-snapshot.fish";

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

pub(crate) fn completions(output: Output, args: &Completions) -> Result<Exit, Failure> {
    let unknown = || Failure::new(ErrorKind::Internal, format!("there is no script for {}", args.shell));
    output.raw(&completion::script(args.shell).ok_or_else(unknown)?)?;
    Ok(Exit::Success)
}
