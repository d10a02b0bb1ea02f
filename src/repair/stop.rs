//! The request to stop repairs after the current step, made when the program shuts down.
//!
//! A repair may stop between any two steps, since the next pass finds what is there and continues.
//! Within a step it goes on, so that everything sent is also recorded.

use std::sync::Arc;

use tokio::sync::watch;

/// A request to stop, shared by all clones.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Requests the stop.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether the stop was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the stop is requested.
    pub async fn requested(&self) {
        let mut receiver = self.0.subscribe();
        let requested = receiver.wait_for(|requested| *requested).await;
        debug_assert!(requested.is_ok(), "we hold the sender");
    }
}
