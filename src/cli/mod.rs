//! What people type: the commands, their output and their exit codes.
//!
//! This file defines every command's arguments and sends each to its module; `args` has what
//! several share, `exit` the codes, `style` how text is laid out. Results go to stdout, logs and
//! progress to stderr.

mod archive;
mod args;
mod calendar;
pub mod config;
mod days;
mod demo;
mod derive;
mod doctor;
mod exit;
mod explain;
mod healthcheck;
mod look;
mod mark;
mod mend;
mod next;
mod package;
mod report;
mod run;
mod sandbox;
mod select;
mod stop;
pub mod style;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Runtime;

pub use args::{Common, CounterArg, Depth, EmptyRange, Format, RangeArgs, RecipeArg, Span};
pub use exit::{Exit, UsageError};

use crate::model::Day;
use crate::telemetry::Telemetry;

const CODES: &str = "\
Exit codes: 0 in step or done, 1 findings remain, 2 usage or configuration, 3 held by a guard,
4 unproven, 5 not confirmed yet, 6 another sodalake holds the lease, 7 a service failed,
130 interrupted.

Start with `sodalake demo`; with a real city, `sodalake doctor`.";

/// Keeps what a city publishes on Socrata equal to what its data lake says
#[derive(Clone, Debug, Parser)]
#[command(version, after_help = CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of every command.
    #[command(flatten)]
    pub common: Common,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// A broken city in a box: find its faults, explain and repair them
    Demo(DemoArgs),
    /// Keep looking, and mend what the settings allow, until asked to end
    #[command(after_help = "\
SIGHUP reads the settings again; SIGTERM and Ctrl-C finish the step in hand, a second one does not.")]
    Run,
    /// Look and report; touch nothing
    #[command(after_help = "\
Examples:
  sodalake check                                    every dataset, the settings' window
  sodalake check camera-counts --day 2020-10-01
  sodalake check --from 2020-10-01 --to 2020-11-01 --depth content --format json
  sodalake check --last 30 --report october.html            one page, to mail or to keep")]
    Check(CheckArgs),
    /// Look and write down what a repair would do
    #[command(after_help = "\
Examples:
  sodalake plan camera-counts --day 2020-10-01 --out october.plan
  sodalake apply october.plan")]
    Plan(PlanArgs),
    /// Carry out a plan: that very one, or nothing
    #[command(after_help = "\
Examples:
  sodalake apply october.plan
  sodalake apply october.plan --approve 9f86d081884c7d65     lifts the budgets it names, nothing else")]
    Apply(ApplyArgs),
    /// Plan and apply within the rails
    #[command(after_help = "\
Examples:
  sodalake repair camera-counts --last 7
  sodalake repair camera-counts --day 2020-10-01 --rewrite   wipe the day and write it new")]
    Repair(RepairArgs),
    /// Print the rows that should stand on the portal for a day
    #[command(after_help = "\
Examples:
  sodalake derive camera-counts --day 2020-10-01 | wc -l
  sodalake derive camera-counts --day 2020-10-01 --keys --recipe chained")]
    Derive(DeriveArgs),
    /// Say why a day, or a row, is as it is
    #[command(after_help = "\
Examples:
  sodalake explain camera-counts 2020-10-01
  sodalake explain camera-counts 2020-10-01 5e7c8b1f9ea3ddd27f0637d430adf042")]
    Explain(ExplainArgs),
    /// Put archived rows and catalog entries back, and verify
    #[command(after_help = "\
Examples:
  sodalake restore 01890a5d-ac96-774b-bcce-b302099a8057
  sodalake restore 01890a5d-ac96-774b-bcce-b302099a8057 --day 2020-10-01")]
    Restore(RestoreArgs),
    /// Look after the archive: is it whole, and what of it is old
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// The ledger: a line per day with its state, since when, and why
    #[command(after_help = "\
Examples:
  sodalake days
  sodalake days camera-counts --last 365 --format json")]
    Days(DaysArgs),
    /// Write a person's word about a day into the ledger
    #[command(after_help = "\
Examples:
  sodalake mark camera-counts 2020-10-01 hold --reason 'detector swap' --until 2020-10-15
  sodalake mark camera-counts 2020-10-01 release --reason 'swap is done'
  sodalake mark camera-counts 2019-02-03 known-lost --reason 'no files in any layer'")]
    Mark(MarkArgs),
    /// Try everything before the first run, with what to do about each fault
    Doctor,
    /// Check the settings, or show those in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Only the stand-in portal
    #[command(after_help = "\
Examples:
  sodalake sandbox --listen 127.0.0.1:8080 --data ./city --faults faults.toml")]
    Sandbox(SandboxArgs),
    /// Ask the running daemon whether its loop turns: for container health checks
    Healthcheck,
    /// Print the completions of a shell
    #[command(after_help = "\
Examples:
  sodalake completions bash > /usr/share/bash-completion/completions/sodalake
  sodalake completions zsh > /usr/share/zsh/site-functions/_sodalake
  sodalake completions fish > /usr/share/fish/vendor_completions.d/sodalake.fish")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one per command, into a folder
    #[command(after_help = "\
Examples:
  sodalake man /usr/share/man/man1")]
    Man {
        /// The folder; made where there is none
        dir: PathBuf,
    },
}

/// `demo`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  sodalake demo
  sodalake demo --exit --seed 7")]
pub struct DemoArgs {
    /// End after the repair instead of serving the status page
    #[arg(long)]
    pub exit: bool,
    /// Which city: the same number makes the same one
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Where the status page is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
}

/// `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// Write what was found as one page of HTML too
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// The datasets and days a command is about.
#[derive(Args, Clone, Debug)]
pub struct LookArgs {
    /// Datasets by name or id [default: all]
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
    /// Which days.
    #[command(flatten)]
    pub range: RangeArgs,
}

/// `plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// Where the plan goes: JSON lines, a row a line [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Plan to wipe the range and write it new
    #[arg(long)]
    pub rewrite: bool,
}

/// `apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// A plan that `sodalake plan` wrote
    #[arg(value_name = "FILE")]
    pub plan: PathBuf,
    /// Lift the budgets that this very plan exceeds, by its digest
    #[arg(long, value_name = "DIGEST")]
    pub approve: Option<String>,
}

/// `repair`.
#[derive(Args, Clone, Debug)]
pub struct RepairArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// Wipe the range and write it new
    #[arg(long)]
    pub rewrite: bool,
}

/// `derive`.
#[derive(Args, Clone, Debug)]
pub struct DeriveArgs {
    /// A dataset by name or id
    pub dataset: String,
    /// The day, such as 2020-10-01
    #[arg(long)]
    pub day: Day,
    /// Only the keys
    #[arg(long)]
    pub keys: bool,
    /// How keys are made [default: the dataset's current way]
    #[arg(long, value_enum)]
    pub recipe: Option<RecipeArg>,
    /// How Bluetooth addresses are numbered [default: the likelier way]
    #[arg(long, value_enum)]
    pub counter: Option<CounterArg>,
}

/// `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// A dataset by name or id
    pub dataset: String,
    /// The day, such as 2020-10-01
    pub day: Day,
    /// One row, by its key
    pub key: Option<String>,
}

/// `restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The pass that purged them, as `sodalake days` and the status page name it
    pub pass: String,
    /// Only rows of this day
    #[arg(long)]
    pub day: Option<Day>,
    /// Only the row of this key
    #[arg(long)]
    pub key: Option<String>,
    /// Of a damaged archive, put back the rows that are proven nonetheless
    #[arg(long)]
    pub salvage: bool,
}

/// `archive`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Read every archive to its end, and name those that are damaged
    Check,
    /// Remove what is older than `archive.keep_days` and no pass needs
    Expire {
        /// Only tell what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

/// `days`.
#[derive(Args, Clone, Debug)]
pub struct DaysArgs {
    /// Which datasets and days.
    #[command(flatten)]
    pub look: LookArgs,
}

/// `mark`.
#[derive(Args, Clone, Debug)]
pub struct MarkArgs {
    /// A dataset by name or id
    pub dataset: String,
    /// The day, such as 2020-10-01
    pub day: Day,
    /// The word
    #[arg(value_enum)]
    pub mark: Mark,
    /// Why; it stands in the ledger
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// When a hold ends by itself
    #[arg(long, value_name = "DATE")]
    pub until: Option<Day>,
}

/// A person's word about a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mark {
    /// Its data are gone for good: report it no more
    KnownLost,
    /// Repair nothing here
    Hold,
    /// Take the hold, the loss or the open breaker back
    Release,
}

/// `config`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the settings and tell everything that is wrong with them
    Check,
    /// Print the settings in force, secrets struck out, and where each came from
    Show,
}

/// `sandbox`.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// Where the stand-in portal is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder of the city: lake, catalog, settings; made where there is none [default: a folder
    /// of its own that goes away at the end]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which faults to show, and when
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
}

impl Command {
    fn range(&self) -> Option<&RangeArgs> {
        match self {
            Self::Check(CheckArgs { look, .. })
            | Self::Plan(PlanArgs { look, .. })
            | Self::Repair(RepairArgs { look, .. })
            | Self::Days(DaysArgs { look }) => Some(&look.range),
            Self::Demo(_)
            | Self::Run
            | Self::Healthcheck
            | Self::Apply(_)
            | Self::Derive(_)
            | Self::Explain(_)
            | Self::Restore(_)
            | Self::Archive(_)
            | Self::Mark(_)
            | Self::Doctor
            | Self::Config(_)
            | Self::Sandbox(_)
            | Self::Completions { .. }
            | Self::Man { .. } => None,
        }
    }
}

/// What is right for clap, checked for what clap cannot see.
fn checked(cli: Cli) -> Result<Cli, clap::Error> {
    let range = cli.command.range().map(RangeArgs::span).transpose();
    match range {
        Ok(_) => Ok(cli),
        Err(empty) => Err(Cli::command().error(ErrorKind::ValueValidation, empty)),
    }
}

/// Reads the command line. Ends the program with [`Exit::Usage`] where it is wrong, and with
/// [`Exit::Ok`] after `--help` and `--version`.
#[must_use]
pub fn parse() -> Cli {
    let cli = Cli::try_parse()
        .and_then(checked)
        .unwrap_or_else(|error| error.exit());
    style::choose(cli.common.color);
    cli
}

/// How long work that cannot be cut off, such as a read from a slow disk, may hold up the end.
const GRACE: Duration = Duration::from_millis(500);

/// Carries the command out.
///
/// # Errors
/// If it could not be carried out; [`Exit::of`] tells the code.
pub fn run(cli: Cli, telemetry: &Telemetry) -> anyhow::Result<Exit> {
    let runtime = Runtime::new().context("start the runtime")?;
    let exit = runtime.block_on(carry_out(cli, telemetry));
    runtime.shutdown_timeout(GRACE);
    exit
}

async fn carry_out(cli: Cli, telemetry: &Telemetry) -> anyhow::Result<Exit> {
    let Cli { command, common } = cli;
    match command {
        Command::Config(command) => config::run(command, &common),
        Command::Demo(args) => stop::or_asked(Box::pin(demo::run(args, &common, telemetry))).await,
        Command::Run => run::run(&common).await,
        Command::Healthcheck => stop::or_asked(healthcheck::run(&common)).await,
        Command::Check(args) => stop::or_asked(look::check(args, &common, telemetry)).await,
        Command::Plan(args) => stop::or_asked(look::plan(args, &common, telemetry)).await,
        Command::Apply(args) => mend::apply(args, &common, telemetry).await,
        Command::Repair(args) => mend::repair(args, &common, telemetry).await,
        Command::Restore(args) => mend::restore(args, &common).await,
        Command::Archive(command) => stop::or_asked(archive::run(command, &common)).await,
        Command::Derive(args) => stop::or_asked(derive::run(args, &common)).await,
        Command::Days(args) => stop::or_asked(days::run(args, &common)).await,
        Command::Mark(args) => stop::or_asked(mark::run(args, &common)).await,
        Command::Doctor => stop::or_asked(doctor::run(&common)).await,
        Command::Explain(args) => stop::or_asked(explain::run(args, &common)).await,
        Command::Sandbox(args) => sandbox::run(args).await,
        Command::Completions { shell } => package::completions(shell),
        Command::Man { dir } => package::man(&dir),
    }
}

#[cfg(test)]
mod tests;
