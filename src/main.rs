//! Parses the command line, runs the command, and maps an error to an exit code; nothing else.

use std::io::{self, Write as _};
use std::process::ExitCode;

use sodalake::cli::{self, Cli, Exit, UsageError};
use sodalake::telemetry::{Telemetry, Verbosity};

fn main() -> ExitCode {
    let exit = start(cli::parse()).unwrap_or_else(|error| {
        // If stderr is closed too, there is nowhere left to report to.
        let said = format!("error: {error:#}");
        let lines: Vec<_> = said.lines().map(cli::style::clean).collect();
        let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
        Exit::of(&error)
    });
    exit.into()
}

fn start(cli: Cli) -> anyhow::Result<Exit> {
    let verbosity = Verbosity::of(cli.common.quiet, cli.common.verbose);
    let telemetry = Telemetry::start(verbosity, cli.common.log_format)
        .map_err(|error| UsageError(format!("{error:#}")))?;
    cli::run(cli, &telemetry)
}
