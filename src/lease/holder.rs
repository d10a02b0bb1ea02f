//! Names for holders of leases: a name identifies a running process, so that another process on the
//! same machine can find out with certainty that it has exited.
//!
//! A process id alone is inconclusive: ids are reused, and mean a different process in another
//! container or after a reboot. So the name also contains the start time of the process, its
//! process namespace and the machine's boot id. Only names from our own machine and namespace can
//! be judged. Any other holder may still be running, so its lease has to expire. If the system
//! provides none of this, no holder counts as exited.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Part of a name if the place could not be determined.
const UNKNOWN: &str = "unknown";

/// A boot of a machine, and a process namespace on it. Within one place, a process id identifies
/// one process.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    boot: String,
    namespace: String,
}

impl Place {
    fn here() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        // Reads `pid:[4026531836]`.
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        let digits = |c: &char| c.is_ascii_digit();
        Some(Self {
            boot: boot.trim().to_owned(),
            namespace: namespace.to_str()?.chars().filter(digits).collect(),
        })
    }
}

/// What the system reports about a process.
struct ProcessState {
    /// Its start time, in ticks since the machine booted.
    began: String,
    /// Whether the process has ended, but its parent has not collected its status yet.
    is_zombie: bool,
}

impl ProcessState {
    fn of(process: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The second field is the program's name in parentheses, which may itself contain spaces
        // and parentheses.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let (state, threads) = (fields.first()?, fields.get(17)?);
        Some(Self {
            began: (*fields.get(19)?).to_owned(),
            is_zombie: *state == "Z" && matches!(*threads, "0" | "1"),
        })
    }
}

/// A name for this process: `host:pid:began.namespace.boot.number`. Each call returns a different
/// number.
pub(crate) fn name(host: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let identity = match (ProcessState::of("self"), Place::here()) {
        (Some(ProcessState { began, .. }), Some(Place { boot, namespace })) => {
            format!("{began}.{namespace}.{boot}")
        }
        _ => format!("{UNKNOWN}.{}", uuid::Uuid::new_v4()),
    };
    format!("{host}:{process}:{identity}.{number}")
}

/// Whether the process with this name has certainly exited.
pub(crate) fn has_exited(name: &str) -> bool {
    check_exited(name).unwrap_or(false)
}

/// `None` if that cannot be determined.
fn check_exited(name: &str) -> Option<bool> {
    let (rest, identity) = name.rsplit_once(':')?;
    let (_, process) = rest.rsplit_once(':')?;
    let mut identity = identity.split('.');
    let (their_start, namespace, boot) = (identity.next()?, identity.next()?, identity.next()?);
    let place = Place {
        boot: boot.into(),
        namespace: namespace.into(),
    };
    if Place::here()? != place {
        return None;
    }
    let number = Pid::from_raw(process.parse().ok()?)?;
    if test_kill_process(number) == Err(Errno::SRCH) {
        return Some(true);
    }
    // The process may belong to another user and be unreadable: then the answer stays unknown.
    let state = ProcessState::of(process)?;
    Some(state.is_zombie || state.began != their_start)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// The name that the process with this id would have given itself.
    fn name_of(process: u32) -> String {
        let Place { boot, namespace } = Place::here().unwrap();
        let ProcessState { began, .. } = ProcessState::of(&process.to_string()).unwrap();
        format!("here:{process}:{began}.{namespace}.{boot}.1")
    }

    #[test]
    fn we_have_not_exited_and_our_names_are_unique() {
        let (one, two) = (name("here"), name("here"));
        assert_ne!(one, two);
        assert!(!has_exited(&one), "{one}");
        assert!(one.starts_with(&format!("here:{}:", std::process::id())));
    }

    #[test]
    fn a_process_has_exited_only_once_it_has_ended() {
        let mut sleeper = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let name = name_of(sleeper.id());
        assert!(!has_exited(&name), "{name}");
        sleeper.kill().unwrap();
        // It counts as exited even before its parent collects its status.
        let started = std::time::Instant::now();
        while !has_exited(&name) {
            assert!(started.elapsed().as_secs() < 60, "{name}");
            std::thread::yield_now();
        }
        sleeper.wait().unwrap();
        assert!(has_exited(&name), "{name}");
    }

    #[test]
    fn a_reused_process_id_is_another_process() {
        let ours = name_of(std::process::id());
        let Place { boot, namespace } = Place::here().unwrap();
        let earlier = format!("here:{}:1.{namespace}.{boot}.1", std::process::id());
        assert!(has_exited(&earlier) && !has_exited(&ours));
    }

    #[test]
    fn a_holder_that_cannot_be_judged_has_not_exited() {
        let Place { boot, namespace } = Place::here().unwrap();
        let other = "11111111-2222-3333-4444-555555555555";
        for name in [
            format!("here:1:1.{namespace}.{other}.1"),
            format!("here:1:1.1.{boot}.1"),
            format!("here:nobody:1.{namespace}.{boot}.1"),
            format!("here:0:1.{namespace}.{boot}.1"),
            format!("here:1:{UNKNOWN}.{other}.1"),
            "austin:4711:0190d5a0-0000-7000-8000-000000000000".into(),
            "a purge".into(),
            String::new(),
        ] {
            assert!(!has_exited(&name), "{name}");
        }
    }
}
