//! Log lines on stderr: text for people on a terminal, JSON for machines otherwise.
//!
//! `RUST_LOG` sets the level; without it, `-v` and `-q` do. Every line goes through the progress
//! bars, which are hidden while it is written.

use std::io;

use anyhow::Context as _;
use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Human-readable text
    Text,
    /// One JSON object per line
    Json,
}

/// How much is logged if `RUST_LOG` is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// What an operator should know.
    Normal,
    /// Every step.
    Verbose,
    /// Everything, including libraries.
    Everything,
}

impl Verbosity {
    /// The level for `-q` and the number of `-v` flags.
    #[must_use]
    pub fn of(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, 1) => Self::Verbose,
            (false, _) => Self::Everything,
        }
    }

    fn directives(self) -> &'static str {
        match self {
            Self::Quiet => "error",
            Self::Normal => "warn,sodalake=info",
            Self::Verbose => "info,sodalake=debug",
            Self::Everything => "debug,sodalake=trace",
        }
    }
}

pub(super) fn start(
    verbosity: Verbosity,
    format: Option<LogFormat>,
    terminal: bool,
    bars: MultiProgress,
) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(asked) if !asked.is_empty() => EnvFilter::try_new(&asked)
            .with_context(|| format!("RUST_LOG is not valid: {asked:?}"))?,
        _ => EnvFilter::new(verbosity.directives()),
    };
    let by_terminal = if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    let lines = fmt::layer().with_writer(BesideBars(bars));
    let lines = match format.unwrap_or(by_terminal) {
        LogFormat::Text => lines.with_target(false).with_ansi(terminal).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .context("cannot start logging")
}

/// Writes a line while the bars are hidden.
#[derive(Clone, Debug)]
struct BesideBars(MultiProgress);

impl io::Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .suspend(|| io::Write::write_all(&mut io::stderr().lock(), line))
            .map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut io::stderr())
    }
}

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_logs_only_errors_and_each_v_logs_more() {
        let levels = [
            Verbosity::of(true, 0),
            Verbosity::of(false, 0),
            Verbosity::of(false, 1),
            Verbosity::of(false, 9),
        ];
        let directives = levels.map(|level| EnvFilter::new(level.directives()).to_string());
        assert_eq!(directives[0], "error");
        assert!(directives[1].contains("sodalake=info"));
        assert!(directives[2].contains("sodalake=debug"));
        assert!(directives[3].contains("sodalake=trace"));
    }
}
