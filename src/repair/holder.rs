//! Who holds a lease: a running program, named so that another on the same machine can tell for
//! certain that it is gone.
//!
//! A process id alone proves nothing: it is given out again, and it means another process in
//! another container or after a restart of the machine. So the name says also when the process
//! began, in which process namespace, and since which start of the machine. Only a name of our own
//! machine and namespace can be judged; any other may be alive, and its lease has to run out.
//! Where the system tells none of this, no holder is ever called gone.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// What a place could not be found out stands as in a name.
const UNKNOWN: &str = "unknown";

/// A start of a machine, and a process namespace on it: within one, a process id is one process.
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

/// When a process began, in ticks since the machine started.
fn began(process: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold blanks and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19).map(str::to_owned)
}

/// Our own name: `host:pid:began.namespace.boot.number`. Each call yields another number.
pub(crate) fn name(host: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let life = match (began("self"), Place::here()) {
        (Some(began), Some(Place { boot, namespace })) => format!("{began}.{namespace}.{boot}"),
        _ => format!("{UNKNOWN}.{}", uuid::Uuid::new_v4()),
    };
    format!("{host}:{process}:{life}.{number}")
}

/// Whether the program of this name has certainly ended.
pub(crate) fn is_gone(name: &str) -> bool {
    gone(name).unwrap_or(false)
}

/// `None`: it cannot be told.
fn gone(name: &str) -> Option<bool> {
    let (rest, life) = name.rsplit_once(':')?;
    let (_, process) = rest.rsplit_once(':')?;
    let mut life = life.split('.');
    let (theirs, namespace, boot) = (life.next()?, life.next()?, life.next()?);
    let there = Place {
        boot: boot.into(),
        namespace: namespace.into(),
    };
    if Place::here()? != there {
        return None;
    }
    let number = Pid::from_raw(process.parse().ok()?)?;
    if test_kill_process(number) == Err(Errno::SRCH) {
        return Some(true);
    }
    // It may be another's process, which we may not look into: then this stays unknown.
    Some(began(process)? != theirs)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// The name that a process of this id would have given itself.
    fn name_of(process: u32) -> String {
        let Place { boot, namespace } = Place::here().unwrap();
        let began = began(&process.to_string()).unwrap();
        format!("here:{process}:{began}.{namespace}.{boot}.1")
    }

    #[test]
    fn we_are_not_gone_and_no_two_of_our_names_are_one() {
        let (one, two) = (name("here"), name("here"));
        assert_ne!(one, two);
        assert!(!is_gone(&one), "{one}");
        assert!(one.starts_with(&format!("here:{}:", std::process::id())));
    }

    #[test]
    fn a_process_is_gone_once_it_has_ended_and_not_before() {
        let mut sleeper = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let name = name_of(sleeper.id());
        assert!(!is_gone(&name), "{name}");
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(is_gone(&name), "{name}");
    }

    #[test]
    fn an_id_given_out_again_is_another_process() {
        let ours = name_of(std::process::id());
        let Place { boot, namespace } = Place::here().unwrap();
        let earlier = format!("here:{}:1.{namespace}.{boot}.1", std::process::id());
        assert!(is_gone(&earlier) && !is_gone(&ours));
    }

    #[test]
    fn what_cannot_be_judged_from_here_is_not_called_gone() {
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
            assert!(!is_gone(&name), "{name}");
        }
    }
}
