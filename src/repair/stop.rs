//! The end that a program under orders asks of its repairs: after the step in hand.
//!
//! Between two steps a repair may end at any time, for the next pass finds what is there and goes
//! on. In the middle of one it goes on, so that what was sent is also noted.

use std::sync::Arc;

use tokio::sync::watch;

/// Asked once, heard by all who hold a clone.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked.
    pub async fn asked(&self) {
        let mut heard = self.0.subscribe();
        let asked = heard.wait_for(|asked| *asked).await;
        debug_assert!(asked.is_ok(), "we hold the sender");
    }
}
