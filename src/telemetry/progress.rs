//! Progress of long work. The code that does the work only knows [`Steps`]; bars on a terminal or
//! log lines are details of this file.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

/// Receives the progress of work.
pub trait Steps: Send + Sync {
    /// A stretch of work starts: `total` steps of `what`, such as `check camera-counts`. Ends the
    /// previous stretch.
    fn begin(&self, what: &str, total: u64);
    /// This many more steps are done.
    fn advance(&self, done: u64);
    /// The current item, such as a day.
    fn at(&self, place: &str);
    /// The stretch is over; its bar is removed.
    fn end(&self);
}

/// Ignores progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Steps for Silent {
    fn begin(&self, _what: &str, _total: u64) {}
    fn advance(&self, _done: u64) {}
    fn at(&self, _place: &str) {}
    fn end(&self) {}
}

/// Logs a line now and then, if stderr is a file or a pipe. Short work logs nothing.
#[derive(Debug, Default)]
pub struct Lines {
    current: Mutex<Option<Stretch>>,
}

/// Minimum time between two lines.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Stretch {
    what: String,
    total: u64,
    done: u64,
    begun: Instant,
    logged: Instant,
}

impl Stretch {
    /// `check: 120 of 150, 3.2/s, 9 seconds left`, after the elapsed time `after`.
    fn said(&self, after: Duration) -> String {
        let Self {
            what, total, done, ..
        } = self;
        let text = format!("{what}: {done} of {total}");
        if *done == 0 {
            return text;
        }
        let each = after / u32::try_from(*done).unwrap_or(u32::MAX);
        let left =
            each.saturating_mul(u32::try_from(total.saturating_sub(*done)).unwrap_or(u32::MAX));
        let rate = 1.0 / each.as_secs_f64().max(f64::EPSILON);
        format!("{text}, {rate:.1}/s, {} left", HumanDuration(left))
    }
}

impl Steps for Lines {
    fn begin(&self, what: &str, total: u64) {
        let now = Instant::now();
        *self.stretch() = Some(Stretch {
            what: harmless(what),
            total,
            done: 0,
            begun: now,
            logged: now,
        });
    }

    fn advance(&self, done: u64) {
        let now = Instant::now();
        let mut current = self.stretch();
        let Some(stretch) = current.as_mut() else {
            return;
        };
        stretch.done += done;
        if now - stretch.logged >= EVERY {
            stretch.logged = now;
            let (done, total) = (stretch.done, stretch.total);
            tracing::info!(done, total, "{}", stretch.said(now - stretch.begun));
        }
    }

    fn at(&self, _place: &str) {}

    fn end(&self) {
        *self.stretch() = None;
    }
}

impl Lines {
    fn stretch(&self) -> MutexGuard<'_, Option<Stretch>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows a bar with rate and time left.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    current: Mutex<Option<ProgressBar>>,
}

const TEMPLATE: &str = "{prefix:<28!} {bar:20} {pos}/{len} {per_sec:>8} {eta:>4} {wide_msg}";

impl Bars {
    pub(super) fn new(all: MultiProgress) -> Self {
        Self {
            all,
            current: Mutex::new(None),
        }
    }

    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The text on one line, without characters that move the cursor.
fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

impl Steps for Bars {
    fn begin(&self, what: &str, total: u64) {
        self.end();
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸ ");
        let bar = ProgressBar::new(total)
            .with_style(style)
            .with_prefix(harmless(what));
        let bar = self.all.add(bar);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.with(|current| *current = Some(bar));
    }

    fn advance(&self, done: u64) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.inc(done);
            }
        });
    }

    fn at(&self, place: &str) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.set_message(harmless(place));
            }
        });
    }

    fn end(&self) {
        self.with(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        });
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget, TermLike as _};

    use super::*;

    fn screen() -> (InMemoryTerm, Bars) {
        let term = InMemoryTerm::new(10, 100);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        (term, Bars::new(MultiProgress::with_draw_target(target)))
    }

    #[test]
    fn a_bar_shows_the_progress_and_disappears() {
        let (term, bars) = screen();
        bars.begin("check camera-counts", 30);
        bars.advance(12);
        bars.at("2020-10-01\u{1b}[2J");
        bars.all.suspend(|| term.write_line("a log line").unwrap());
        bars.advance(1);
        let text = term.contents();
        assert!(text.contains("a log line"), "{text}");
        assert!(text.contains("check camera-counts"), "{text}");
        bars.end();
        assert_eq!(term.contents().trim(), "a log line");
    }
    #[test]
    fn a_line_shows_rate_and_time_left() {
        let now = Instant::now();
        let mut stretch = Stretch {
            what: "check".into(),
            total: 150,
            done: 0,
            begun: now,
            logged: now,
        };
        assert_eq!(stretch.said(Duration::ZERO), "check: 0 of 150");
        stretch.done = 50;
        let said = stretch.said(Duration::from_secs(25));
        assert_eq!(said, "check: 50 of 150, 2.0/s, 50 seconds left");
    }
}
