//! `man`: writes the manual pages, one for the program and one for each command.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use ruvector_snapshot::{ErrorKind, SnapshotError};

use crate::failure::{Exit, Failure};
use crate::output::{Output, counted};
use crate::values::new_path;

pub(crate) const HELP: &str = "\
Writes a page for the program and one for each command, ruvector-snapshot.1 and ruvector-snapshot-COMMAND.1. A directory that does not exist is created. \
Pages that are there are replaced.

Examples:
  ruvector-snapshot man ~/.local/share/man/man1
  man ruvector-snapshot-create

Exit codes: 0 written; 1 failure.";

#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// Directory of the pages
    #[arg(value_parser = new_path())]
    pub(crate) dir: PathBuf,
}

/// How the name of the page of each command begins.
const OF_PROGRAM: &str = "ruvector-snapshot-";

/// Writes the pages of a program.
pub(crate) fn man(output: Output, args: &Manual, mut program: Command) -> Result<Exit, Failure> {
    // What is hidden from the short help has no text in a page.
    program = program.mut_args(|arg| arg.hide_short_help(false));
    program.build();
    let failed = |path: &Path, error: io::Error| Failure::from(SnapshotError::io(path, "write a manual page", error));
    if let Some(command) = args.dir.to_str().filter(|dir| program.find_subcommand(dir).is_some() && !args.dir.exists())
    {
        let message =
            format!("{command} is a command, and `man` takes the directory of the pages; nothing was written");
        let hint =
            format!("`help {command}` prints the help of the command; a directory of this name is written ./{command}");
        return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)).with_hint(hint));
    }
    if args.dir.is_file() {
        let message =
            format!("{}: this is a file, and the pages need a directory; nothing was written", args.dir.display());
        return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)));
    }
    fs::create_dir_all(&args.dir).map_err(|error| failed(&args.dir, error))?;
    let pages = pages(&program);
    for (name, page) in &pages {
        let path = args.dir.join(name);
        fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    output.line(format_args!("wrote {} to {}", counted(pages.len() as u64, "page"), args.dir.display()))?;
    Ok(Exit::Success)
}

/// Returns the file name and the text of the page of a command, and of those of its own commands.
fn pages(command: &Command) -> Vec<(String, Vec<u8>)> {
    let is_shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let own = (format!("{}.1", page_name(command)), page(command));
    std::iter::once(own).chain(command.get_subcommands().filter(is_shown).flat_map(pages)).collect()
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command) -> Vec<u8> {
    // With the name of the program, the title at both ends of the first line is too wide for 80 columns.
    let name = page_name(command);
    let title = name.strip_prefix(OF_PROGRAM).unwrap_or(&name).to_owned();
    let man = Man::new(command.clone()).title(title);
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _written = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| if command.has_subcommands() { man.render_subcommands_section(&mut page) } else { Ok(()) })
        .and_then(|()| more(command).to_writer(&mut page));
    page
}

/// Returns what follows the options: paragraphs are filled, and blocks of lines, such as examples, stay as they are.
fn more(command: &Command) -> Roff {
    let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    if !text.is_empty() {
        roff.control("SH", ["MORE"]);
    }
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        roff.control("PP", []);
        if !block.contains('\n') {
            roff.text([roman(block)]);
            continue;
        }
        let (title, lines) = match block.split_once('\n') {
            Some((title, lines)) if title.ends_with(':') => (Some(title), lines),
            _ => (None, block),
        };
        if let Some(title) = title {
            roff.text([bold(title)]);
        }
        roff.control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    let parent = page_name(command).rsplit_once('-').map(|(parent, _)| parent.to_owned());
    if let Some(parent) = parent.filter(|parent| parent.starts_with("ruvector-snapshot")) {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(&*parent), roman("(1)")]);
    }
    roff
}
