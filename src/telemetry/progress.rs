//! How far long work is. Whoever works knows only [`Steps`]; that they may be bars on a terminal
//! is known here alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Hears how far work is.
pub trait Steps: Send + Sync {
    /// A stretch of work begins: `total` steps of `what`, such as `check camera-counts`. Ends the
    /// stretch before.
    fn begin(&self, what: &str, total: u64);
    /// So many steps more are done.
    fn advance(&self, done: u64);
    /// What is being done just now, such as a day.
    fn at(&self, place: &str);
    /// The stretch is over; its bar goes away.
    fn end(&self);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Steps for Silent {
    fn begin(&self, _what: &str, _total: u64) {}
    fn advance(&self, _done: u64) {}
    fn at(&self, _place: &str) {}
    fn end(&self) {}
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

/// On one line, with nothing that moves the cursor.
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
    fn a_bar_tells_what_and_how_far_and_goes_away() {
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
}
