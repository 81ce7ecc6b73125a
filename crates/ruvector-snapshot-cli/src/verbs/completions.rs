//! `completions`: prints a shell completion script.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::{Exit, Failure};
use crate::output::Output;

pub(crate) const HELP: &str = "\
Prints a script that completes commands and options in a shell.

Examples:
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

pub(crate) fn completions(output: Output, args: &Completions, mut program: Command) -> Result<Exit, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    output.raw(&script)?;
    Ok(Exit::Success)
}
