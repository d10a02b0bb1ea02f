//! What the program tells of itself while it works: logs and progress, both on stderr.
//!
//! [`Telemetry::start`] is called once, by `main`. A log line and a progress bar never garble each
//! other: the bars step aside while a line is written.

mod logging;
mod progress;

use indicatif::{MultiProgress, ProgressDrawTarget};

pub use logging::{LogFormat, Verbosity};
pub use progress::{Bars, Silent, Steps};

/// Logs and progress bars of the running program.
#[derive(Clone, Debug)]
pub struct Telemetry {
    bars: MultiProgress,
    shown: bool,
}

impl Telemetry {
    /// Starts logging to stderr. `format` is chosen by the terminal where it is `None`; bars are
    /// shown on a terminal only, and never where quiet.
    ///
    /// # Errors
    /// If logging has been started before.
    pub fn start(verbosity: Verbosity, format: Option<LogFormat>) -> anyhow::Result<Self> {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let shown = terminal && verbosity != Verbosity::Quiet;
        let bars = MultiProgress::with_draw_target(if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        logging::start(verbosity, format, terminal, bars.clone())?;
        Ok(Self { bars, shown })
    }

    /// Where long work tells how far it is: bars on a terminal, nothing otherwise.
    #[must_use]
    pub fn steps(&self) -> Box<dyn Steps> {
        if self.shown {
            Box::new(Bars::new(self.bars.clone()))
        } else {
            Box::new(Silent)
        }
    }
}
