//! `tell completions` and `tell man`: what shells and `man` know of the command line, made from it.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::error::Error;
use super::output::print;

/// Print the completions for a shell
///
/// For example: tell completions bash > /etc/bash_completion.d/tell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints them to standard output.
    pub(super) fn run(&self, mut command: Command) -> Result<(), Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "tell", &mut script);
        print(|out| out.write_all(&script))
    }
}

/// Print the manual page, or write those of all commands into a directory
///
/// To read it: tell man | man -l -
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write tell.1 and one page a command here
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Prints or writes the pages.
    pub(super) fn run(&self, command: Command) -> Result<(), Error> {
        let Some(dir) = &self.dir else {
            let mut page = Vec::new();
            Page::new(command)
                .render(&mut page)
                .map_err(Error::Output)?;
            return print(|out| out.write_all(&page));
        };
        let failed = |error| Error::Unwritable {
            path: dir.clone(),
            error,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut root = command.disable_help_subcommand(true);
        root.build();
        write_pages(&root, "tell", dir).map_err(failed)
    }
}

/// Writes the page of a command and of those below it.
fn write_pages(command: &Command, name: &str, dir: &std::path::Path) -> io::Result<()> {
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        write_pages(below, &format!("{name}-{}", below.get_name()), dir)?;
    }
    let mut page = Vec::new();
    Page::new(command.clone()).title(name).render(&mut page)?;
    fs::write(dir.join(format!("{name}.1")), page)
}
