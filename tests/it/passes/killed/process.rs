//! One run of the program under test, which a test can wait for, continue and kill.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// Far longer than any run takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a run ended.
pub struct Ran {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
    /// Its effects, one per line.
    pub effects: Vec<String>,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.code.or(self.signal);
        let last = self.effects.last().map_or("no effect", String::as_str);
        write!(
            f,
            "ended {end:?} after {last:?}\n{}\n{}",
            self.out, self.err
        )
    }
}

/// A running program.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn new(child: Child, log: PathBuf) -> Self {
        Self { child, log }
    }

    fn process(&self) -> Pid {
        let process = self
            .child
            .id()
            .expect("the program has not been waited for");
        Pid::from_raw(process.cast_signed()).expect("a process id is positive")
    }

    /// Its process state: `T` is stopped, `Z` has ended.
    fn state(&self) -> char {
        let process = self.process().as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.chars().next().unwrap()
    }

    /// Waits until it is stopped or has ended.
    pub async fn stands_still(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !matches!(self.state(), 'T' | 'Z') {
            assert!(
                Instant::now() < deadline,
                "the program neither stops nor ends"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether it is stopped, rather than ended.
    pub fn is_stopped(&self) -> bool {
        self.state() == 'T'
    }

    pub fn go_on(&self) {
        kill_process(self.process(), Signal::CONT).unwrap();
    }

    pub fn kill(&self) {
        kill_process(self.process(), Signal::KILL).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(self) -> Ran {
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let output = output.expect("the program ends").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        Ran {
            code: output.status.code(),
            signal: output.status.signal(),
            out: text(output.stdout),
            err: text(output.stderr),
            effects: log.lines().map(str::to_owned).collect(),
        }
    }
}
