//! What the program tells of itself while it works: logs and progress, both on stderr.
//!
//! [`Telemetry::start`] is called once, by `main`. A log line and a progress bar never garble each
//! other: the bars step aside while a line is written.

mod activity;
mod logging;
pub mod metrics;
pub mod notify;
mod progress;

use indicatif::{MultiProgress, ProgressDrawTarget};

pub use activity::{Activity, InWork, Pause, Phase, Round, ScheduleStatus, Snapshot};
pub use logging::{LogFormat, Verbosity};
pub use progress::{Bars, Lines, Silent, Steps};

/// Logs and progress bars of the running program.
#[derive(Clone, Debug)]
pub struct Telemetry {
    bars: MultiProgress,
    progress: Progress,
}

/// How progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Bars,
    Lines,
    Silent,
}

impl Telemetry {
    /// Starts logging to stderr. `format` is chosen by the terminal where it is `None`; bars are
    /// shown on a terminal only, and never where quiet.
    ///
    /// # Errors
    /// If logging has been started before.
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

    /// Where long work tells how far it is: bars on a terminal, a log line now and then elsewhere.
    #[must_use]
    pub fn steps(&self) -> Box<dyn Steps> {
        match self.progress {
            Progress::Bars => Box::new(Bars::new(self.bars.clone())),
            Progress::Lines => Box::<Lines>::default(),
            Progress::Silent => Box::new(Silent),
        }
    }
}
