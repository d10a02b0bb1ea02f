//! `completions` and `man`: files that packagers install with the program.
//!
//! Both are generated at run time from the definitions of the command line, so they always match
//! `--help`, and no build needs an extra step.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::style::print;
use super::{Cli, Exit};

/// `sodalake completions SHELL`.
pub(super) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&String::from_utf8(script).context("the completions are not UTF-8")?)?;
    Ok(Exit::Ok)
}

/// `sodalake man DIR`.
pub(super) fn man(dir: &Path) -> anyhow::Result<Exit> {
    let written =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.with_context(|| format!("cannot write the manual pages to {}", dir.display()))?;
    Ok(Exit::Ok)
}
