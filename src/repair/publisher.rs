//! The existing publisher, run as a command (`republish.mode = "command"`), and its termination.
//!
//! The command runs in a process group of its own, so that the time limit also ends the processes
//! it started: a signal to a shell alone would leave its children publishing. The group is also
//! terminated if we stop waiting, for example on Ctrl-C. It is left running only if Sodalake itself
//! is killed.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long the group may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// How often the group is checked in the meantime.
const POLL: Duration = Duration::from_millis(50);

/// Runs the command and returns its exit status, or `None` if it exceeded the limit. In that case
/// no process of its group is left running.
pub(super) async fn run(
    program: &str,
    arguments: &[String],
    limit: Duration,
) -> io::Result<Option<ExitStatus>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let mut group = Group::of(&child);
    if let Ok(status) = timeout(limit, child.wait()).await {
        group.0 = None;
        return status.map(Some);
    }
    tracing::warn!("the publisher {program:?} exceeded its time limit; terminating it");
    group.end(&mut child).await;
    Ok(None)
}

/// The process group of a child, until it has ended. Terminated when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Ends every process of the group.
    async fn end(&mut self, child: &mut Child) {
        let Some(group) = self.0 else {
            return;
        };
        let deadline = Instant::now() + GRACE;
        send(group, Signal::TERM);
        let _ = timeout_at(deadline, child.wait()).await; // if not within the grace: SIGKILL
        while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        send(group, Signal::KILL);
        if let Err(error) = child.wait().await {
            tracing::warn!("cannot wait for the publisher to exit: {error}");
        }
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            send(group, Signal::TERM);
        }
    }
}

fn send(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {} // it has ended
        Err(error) => tracing::warn!("cannot signal the publisher: {error}"),
    }
}
