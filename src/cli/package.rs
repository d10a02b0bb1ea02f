//! `completions` and `man`: what a packager installs beside the program.
//!
//! Both come from the definitions that the command line is read by, so they cannot say anything
//! else than `--help`; the program writes them itself, and no build needs a step for them.

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
    print(&String::from_utf8(script).context("read the completions")?)?;
    Ok(Exit::Ok)
}

/// `sodalake man DIR`.
pub(super) fn man(dir: &Path) -> anyhow::Result<Exit> {
    let written =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.with_context(|| format!("write manual pages into {}", dir.display()))?;
    Ok(Exit::Ok)
}
