//! Logs and progress, both on stderr, as well as metrics and notifications.
//!
//! [`Telemetry::start`] is called once, by `main`. Log lines and progress bars do not garble each
//! other: the bars are hidden while a line is written.

mod activity;
mod logging;
pub mod metrics;
pub mod notify;
mod progress;

use indicatif::{MultiProgress, ProgressDrawTarget};

pub use activity::{Activity, InWork, Pause, Phase, Round, ScheduleStatus, Snapshot};
pub use logging::{LogFormat, Verbosity};
pub use progress::{Bars, Lines, Silent, Steps};

/// Logs and progress bars of the process.
#[derive(Clone, Debug)]
pub struct Telemetry {
    bars: MultiProgress,
    progress: Progress,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Bars,
    Lines,
    Silent,
}

impl Telemetry {
    /// Starts logging to stderr. If `format` is `None`, it depends on whether stderr is a terminal.
    /// Bars are shown only on a terminal, and not with `-q`.
    ///
    /// # Errors
    /// If logging has already been started.
    pub fn start(verbosity: Verbosity, format: Option<LogFormat>) -> anyhow::Result<Self> {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let progress = match (verbosity, terminal) {
            (Verbosity::Quiet, _) => Progress::Silent,
            (_, true) => Progress::Bars,
            (_, false) => Progress::Lines,
        };
        let bars = MultiProgress::with_draw_target(if progress == Progress::Bars {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        logging::start(verbosity, format, terminal, bars.clone())?;
        Ok(Self { bars, progress })
    }

    /// Where long work reports its progress: bars on a terminal, otherwise occasional log lines.
    #[must_use]
    pub fn steps(&self) -> Box<dyn Steps> {
        match self.progress {
            Progress::Bars => Box::new(Bars::new(self.bars.clone())),
            Progress::Lines => Box::<Lines>::default(),
            Progress::Silent => Box::new(Silent),
        }
    }
}
