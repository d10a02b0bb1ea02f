//! The command line: commands, their output and their exit codes.
//!
//! This file lists the commands and calls their modules; `commands` has their arguments, `args` the
//! shared ones, `exit` the exit codes, `style` the text layout. Results go to stdout, logs and
//! progress to stderr.

mod archive;
mod args;
mod away;
mod calendar;
mod check;
mod commands;
pub mod config;
mod consent;
mod demo;
mod derive;
mod doctor;
mod exit;
mod explain;
mod healthcheck;
mod mark;
mod next;
mod package;
mod repair;
mod report;
mod run;
mod sandbox;
mod select;
mod status;
mod stop;
pub mod style;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Runtime;

pub use args::{
    Common, CounterArg, Depth, EmptyRange, Format, FormatArg, KeySchemeArg, RangeArgs, RowDepth,
    Span,
};
pub use commands::{
    ApplyArgs, ArchiveCommand, CheckArgs, ConfigCommand, DemoArgs, DeriveArgs, ExplainArgs, Mark,
    MarkArgs, PlanArgs, RepairArgs, RestoreArgs, SandboxArgs, StatusArgs, TargetArgs,
};
pub use exit::{Exit, UsageError};

use crate::telemetry::Telemetry;

const CODES: &str = "\
Exit codes: 0 in sync or done, 1 findings remain, 2 usage or configuration error, 3 held by a
guard, 4 unproven, 5 not confirmed yet, 6 another sodalake process holds the lease, 7 a service
failed, 130 interrupted.

To try it out, run `sodalake demo`. For a real city, start with `sodalake doctor`.";

/// What the short help leaves out: hidden commands.
const MORE: &str = "\
For packages and containers: `sodalake healthcheck`, `sodalake completions`, `sodalake man`.";

/// Keep the datasets a city publishes on Socrata in sync with its data lake
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = CODES,
    after_long_help = format!("{CODES}\n\n{MORE}"),
    max_term_width = 100
)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
    /// Flags that every command has.
    #[command(flatten)]
    pub common: Common,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Generate a small city with faults, then find, explain and repair them
    Demo(DemoArgs),
    /// Run as a daemon that checks on a schedule and repairs what the settings allow
    #[command(
        after_help = "SIGHUP reloads the settings. SIGTERM and Ctrl-C stop after the current step; a second signal stops at once."
    )]
    Run,
    /// Check datasets and report findings, without changing anything
    #[command(after_help = "\
Examples:
  sodalake check                                    every dataset, default window
  sodalake check camera-counts --partition 2020-10-01
  sodalake check --from 2020-10-01 --to 2020-11-01 --depth content --format json
  sodalake check --last 30 --report october.html            a single HTML page")]
    Check(CheckArgs),
    /// Check, and write a plan of what a repair would do
    #[command(after_help = "\
Examples:
  sodalake plan camera-counts --partition 2020-10-01 --out october.plan
  sodalake apply october.plan")]
    Plan(PlanArgs),
    /// Apply a plan file, exactly as written
    #[command(after_help = "\
Examples:
  sodalake apply october.plan
  sodalake apply october.plan --approve 9f86d081884c7d65     lift only the budgets it exceeds")]
    Apply(ApplyArgs),
    /// Check, plan and repair, within the rails
    #[command(after_help = "\
Examples:
  sodalake repair camera-counts --last 7
  sodalake repair --all
  sodalake repair camera-counts --partition 2020-10-01 --rewrite   delete the day and publish it again")]
    Repair(RepairArgs),
    /// Print the rows that should be published for a day
    #[command(after_help = "\
Examples:
  sodalake derive camera-counts --partition 2020-10-01 | wc -l
  sodalake derive camera-counts --partition 2020-10-01 --keys --key-scheme chained")]
    Derive(DeriveArgs),
    /// Explain the state of a day or a row
    #[command(after_help = "\
Examples:
  sodalake explain camera-counts 2020-10-01
  sodalake explain camera-counts 2020-10-01 5e7c8b1f9ea3ddd27f0637d430adf042")]
    Explain(ExplainArgs),
    /// Restore archived rows and catalog entries, and verify them
    #[command(after_help = "\
Examples:
  sodalake restore 01890a5d-ac96-774b-bcce-b302099a8057
  sodalake restore 01890a5d-ac96-774b-bcce-b302099a8057 --partition 2020-10-01")]
    Restore(RestoreArgs),
    /// Check the archives, or remove old ones
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Show the ledger: a calendar, and each day's state with its age and reason
    #[command(after_help = "\
Examples:
  sodalake status
  sodalake status camera-counts --last 365 --format json")]
    Status(StatusArgs),
    /// Hold a day, mark it as lost, or release it
    #[command(after_help = "\
Examples:
  sodalake mark camera-counts 2020-10-01 hold --reason 'detector swap' --until 2020-10-15
  sodalake mark camera-counts 2020-10-01 release --reason 'swap is done'
  sodalake mark camera-counts 2019-02-03 known-lost --reason 'no files in any layer'")]
    Mark(MarkArgs),
    /// Test the setup before the first run, with advice on each problem
    Doctor(FormatArg),
    /// Validate the settings, or print them
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run only the stand-in portal
    #[command(after_help = "\
Examples:
  sodalake sandbox --listen 127.0.0.1:8080 --data ./city --faults faults.toml")]
    Sandbox(SandboxArgs),
    /// Check that the main loop of the running daemon is alive
    #[command(hide = true)]
    Healthcheck,
    /// Print a shell completion script
    #[command(
        hide = true,
        after_help = "\
Examples:
  sodalake completions bash > /usr/share/bash-completion/completions/sodalake
  sodalake completions zsh > /usr/share/zsh/site-functions/_sodalake
  sodalake completions fish > /usr/share/fish/vendor_completions.d/sodalake.fish"
    )]
    Completions {
        /// Shell to complete for
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a folder, one per command
    #[command(
        hide = true,
        after_help = "\
Examples:
  sodalake man /usr/share/man/man1"
    )]
    Man {
        /// Target folder, created if missing
        dir: PathBuf,
    },
}

impl Command {
    fn range(&self) -> Option<&RangeArgs> {
        match self {
            Self::Check(CheckArgs { targets, .. })
            | Self::Plan(PlanArgs { targets, .. })
            | Self::Status(StatusArgs { targets, .. }) => Some(&targets.range),
            Self::Repair(RepairArgs { range, .. }) => Some(range),
            Self::Demo(_)
            | Self::Run
            | Self::Healthcheck
            | Self::Apply(_)
            | Self::Derive(_)
            | Self::Explain(_)
            | Self::Restore(_)
            | Self::Archive(_)
            | Self::Mark(_)
            | Self::Doctor(_)
            | Self::Config(_)
            | Self::Sandbox(_)
            | Self::Completions { .. }
            | Self::Man { .. } => None,
        }
    }
}

/// Checks what clap cannot check.
fn checked(cli: Cli) -> Result<Cli, clap::Error> {
    let range = cli.command.range().map(RangeArgs::span).transpose();
    match range {
        Ok(_) => Ok(cli),
        Err(empty) => Err(Cli::command().error(ErrorKind::ValueValidation, empty)),
    }
}

/// Parses the command line. Exits with [`Exit::Usage`] if it is wrong, and with [`Exit::Ok`] after
/// `--help` and `--version`.
#[must_use]
pub fn parse() -> Cli {
    let cli = Cli::try_parse()
        .and_then(checked)
        .unwrap_or_else(|error| error.exit());
    style::choose(cli.common.color);
    cli
}

/// How long work that cannot be cancelled, such as a read from a slow disk, may delay the exit.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the command.
///
/// # Errors
/// If the command failed; [`Exit::of`] maps the error to an exit code.
pub fn run(cli: Cli, telemetry: &Telemetry) -> anyhow::Result<Exit> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let exit = runtime.block_on(carry_out(cli, telemetry));
    runtime.shutdown_timeout(GRACE);
    exit
}

async fn carry_out(cli: Cli, telemetry: &Telemetry) -> anyhow::Result<Exit> {
    let Cli { command, common } = cli;
    match command {
        Command::Config(command) => config::run(command, &common),
        Command::Demo(args) => stop::or_interrupted(Box::pin(demo::run(args, telemetry))).await,
        Command::Run => run::run(&common).await,
        Command::Healthcheck => stop::or_interrupted(healthcheck::run(&common)).await,
        Command::Check(args) => stop::or_interrupted(check::check(args, &common, telemetry)).await,
        Command::Plan(args) => stop::or_interrupted(check::plan(args, &common, telemetry)).await,
        Command::Apply(args) => repair::apply(args, &common, telemetry).await,
        Command::Repair(args) => repair::repair(args, &common, telemetry).await,
        Command::Restore(args) => repair::restore(args, &common).await,
        Command::Archive(command) => stop::or_interrupted(archive::run(command, &common)).await,
        Command::Derive(args) => stop::or_interrupted(derive::run(args, &common)).await,
        Command::Status(args) => stop::or_interrupted(status::run(args, &common)).await,
        Command::Mark(args) => stop::or_interrupted(mark::run(args, &common)).await,
        Command::Doctor(output) => stop::or_interrupted(doctor::run(output.format, &common)).await,
        Command::Explain(args) => stop::or_interrupted(Box::pin(explain::run(args, &common))).await,
        Command::Sandbox(args) => sandbox::run(args).await,
        Command::Completions { shell } => package::completions(shell),
        Command::Man { dir } => package::man(&dir),
    }
}

#[cfg(test)]
mod tests;
