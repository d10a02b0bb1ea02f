//! The arguments of each command. Shared arguments are in `args`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{CounterArg, Depth, Format, FormatArg, KeySchemeArg, RangeArgs, RowDepth};
use crate::model::Day;

/// `demo`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  sodalake demo
  sodalake demo --exit --seed 7")]
pub struct DemoArgs {
    /// Exit after the repair instead of serving the status page
    #[arg(long)]
    pub exit: bool,
    /// Seed of the generated city; the same seed gives the same city
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Address on which to serve the status page
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The datasets and days to check.
    #[command(flatten)]
    pub targets: TargetArgs,
    /// How closely to check [default: keys, or content if altered rows are known]
    #[arg(long, value_enum)]
    pub depth: Option<Depth>,
    /// Also write the findings to FILE, as a single HTML page
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// The datasets and days that a command works on.
#[derive(Args, Clone, Debug)]
pub struct TargetArgs {
    /// Datasets, by name or id [default: all]
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
    /// The days.
    #[command(flatten)]
    pub range: RangeArgs,
}

/// `plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// The datasets and days to check.
    #[command(flatten)]
    pub targets: TargetArgs,
    /// Write the plan to FILE, as JSON lines with one row each [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How closely to check [default: keys, or content if altered rows are known]
    #[arg(long, value_enum)]
    pub depth: Option<RowDepth>,
    /// Plan to delete the whole range and publish it again
    #[arg(long)]
    pub rewrite: bool,
    /// Format of the report on stdout: text, or one JSON object per line
    #[arg(long, value_enum, default_value_t = Format::Text, requires = "out")]
    pub format: Format,
}

/// `apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// Plan file written by `sodalake plan`
    #[arg(value_name = "FILE")]
    pub plan: PathBuf,
    /// Approve the plan with this digest, which lifts the budgets that it exceeds
    #[arg(long, value_name = "DIGEST")]
    pub approve: Option<String>,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// `repair`.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that people type"
)]
pub struct RepairArgs {
    /// Datasets, by name or id
    #[arg(value_name = "DATASET", required_unless_present = "all")]
    pub datasets: Vec<String>,
    /// Repair every dataset in the settings
    #[arg(long, conflicts_with = "datasets")]
    pub all: bool,
    /// The days.
    #[command(flatten)]
    pub range: RangeArgs,
    /// How closely to check [default: keys, or content if altered rows are known]
    #[arg(long, value_enum)]
    pub depth: Option<RowDepth>,
    /// Print the plan without changing anything; same as `sodalake plan`
    #[arg(long, conflicts_with = "format")]
    pub dry_run: bool,
    /// Delete the whole range and publish it again, after confirmation
    #[arg(long)]
    pub rewrite: bool,
    /// Do not ask for confirmation before a rewrite
    #[arg(long, requires = "rewrite")]
    pub yes: bool,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// `derive`.
#[derive(Args, Clone, Debug)]
pub struct DeriveArgs {
    /// Dataset, by name or id
    pub dataset: String,
    /// The day, for example 2020-10-01
    #[arg(long, visible_alias = "day", value_name = "P")]
    pub partition: Day,
    /// Print only the keys
    #[arg(long)]
    pub keys: bool,
    /// How keys are made [default: the dataset's current key scheme]
    #[arg(long, value_enum)]
    pub key_scheme: Option<KeySchemeArg>,
    /// How Bluetooth addresses are numbered [default: the dataset's usual numbering]
    #[arg(long, value_enum)]
    pub counter: Option<CounterArg>,
}

/// `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Dataset, by name or id
    pub dataset: String,
    /// The day, for example 2020-10-01
    pub partition: Day,
    /// Explain a single row, by its key
    pub key: Option<String>,
    /// How closely to check
    #[arg(long, value_enum, default_value_t = RowDepth::Content)]
    pub depth: RowDepth,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// `restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// Id of the pass that purged the rows, as shown by `sodalake status` and the status page
    pub pass: String,
    /// Restore only rows of this day
    #[arg(long, visible_alias = "day", value_name = "P")]
    pub partition: Option<Day>,
    /// Restore only the row with this key
    #[arg(long)]
    pub key: Option<String>,
    /// If an archive is damaged, restore the rows that can still be verified
    #[arg(long)]
    pub salvage: bool,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// `archive`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Read every archive to its end and list the damaged ones
    Check(FormatArg),
    /// Remove archives older than `archive.keep_days` that no pass needs
    Expire {
        /// Only list what would be removed
        #[arg(long)]
        dry_run: bool,
        /// The output format.
        #[command(flatten)]
        output: FormatArg,
    },
}

/// `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// The datasets and days.
    #[command(flatten)]
    pub targets: TargetArgs,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// `mark`.
#[derive(Args, Clone, Debug)]
pub struct MarkArgs {
    /// Dataset, by name or id
    pub dataset: String,
    /// The day, for example 2020-10-01
    pub partition: Day,
    /// The mark to set
    #[arg(value_enum)]
    pub mark: Mark,
    /// Reason for the mark, recorded in the ledger
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Day on which a hold ends automatically
    #[arg(long, value_name = "DATE")]
    pub until: Option<Day>,
    /// The output format.
    #[command(flatten)]
    pub output: FormatArg,
}

/// A mark that an operator sets on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mark {
    /// The data are lost for good: stop reporting the day
    KnownLost,
    /// Do not repair the day
    Hold,
    /// Remove the hold or known-lost mark, and close an open breaker
    Release,
}

/// `config`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Validate the settings and list every problem
    Check(FormatArg),
    /// Print the effective settings with the origin of each; secrets are redacted
    Show(FormatArg),
}

/// `sandbox`.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// Address on which to serve the stand-in portal
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder for the lake, catalog and settings, created if missing [default: a temporary folder,
    /// removed on exit]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// File that lists the faults to inject and when to inject them
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
}

impl RepairArgs {
    /// The same arguments as a `plan` to stdout.
    pub(super) fn into_plan(self) -> PlanArgs {
        let Self {
            datasets,
            all: _,
            range,
            depth,
            dry_run: _,
            rewrite,
            yes: _,
            output,
        } = self;
        PlanArgs {
            targets: TargetArgs { datasets, range },
            out: None,
            depth,
            rewrite,
            format: output.format,
        }
    }
}
