//! Runs the program under test with `effects.c` loaded. It can then be killed, stopped or made to
//! fail at any call that changes something outside the process, without any hooks in the program.

use std::path::{Path, PathBuf};
use std::process::Command as Build;
use std::sync::LazyLock;

use tokio::process::Command;

/// The shared object, built once per test process by the machine's C compiler.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/passes/killed/effects.c"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ours = folder.join(format!("effects-{}.so", std::process::id()));
    let built = Build::new("cc")
        .args([
            "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
        ])
        .args([&ours, Path::new(source)])
        .arg("-ldl")
        .status();
    assert!(built.expect("cc runs").success(), "{source} builds");
    // All test processes use the same name. A process that has an older version loaded keeps it.
    let library = folder.join("effects.so");
    std::fs::rename(&ours, &library).unwrap();
    library
});

/// What to do to the program at one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send SIGKILL before the effect.
    Kill,
    /// Send SIGKILL after the first half of the effect.
    Torn,
    /// Send SIGSTOP before the effect.
    Stop,
    /// Let the effect fail with this error number, and all later ones too.
    Fail(i32),
}

/// No space left on device.
pub const DISK_FULL: i32 = 28;
/// Input/output error.
pub const BROKEN: i32 = 5;
/// Permission denied.
pub const DENIED: i32 = 13;

/// How to interfere with a run.
#[derive(Clone, Debug, Default)]
pub struct Interference {
    /// What to do, and at which effect, from 1.
    pub at: Option<(Act, u64)>,
    /// Count only effects on names that contain this text: a folder, or `net:PORT/`.
    pub on: Option<String>,
    /// Seconds by which all its clocks are ahead.
    pub clock: i64,
    /// Seconds by which its wall clock alone is ahead; behind if negative.
    pub wall: i64,
    /// From this effect on, for as many again, the wall clock is ahead by so many seconds.
    pub jump: Option<(u64, i64)>,
    /// Seconds by which all its clocks are ahead when it continues after a stop.
    pub slept: i64,
}

impl Interference {
    pub fn of(act: Act, at: u64) -> Self {
        Self {
            at: Some((act, at)),
            ..Self::default()
        }
    }

    /// Set all clocks of the program ahead, and nothing else.
    pub fn ahead(seconds: i64) -> Self {
        Self {
            clock: seconds,
            ..Self::default()
        }
    }

    /// The wall clock of the program ahead, and nothing else.
    pub fn wall(seconds: i64) -> Self {
        Self {
            wall: seconds,
            ..Self::default()
        }
    }

    /// Has the command run so, and note its effects in `log`.
    pub fn load(&self, command: &mut Command, log: &Path) {
        command
            .env("LD_PRELOAD", &*LIBRARY)
            .env("EFFECTS_LOG", log)
            .env("EFFECTS_CLOCK", self.clock.to_string())
            .env("EFFECTS_WALL", self.wall.to_string())
            .env("EFFECTS_SLEPT", self.slept.to_string());
        if let Some((act, at)) = self.at {
            let (word, error) = match act {
                Act::Kill => ("kill", 0),
                Act::Torn => ("torn", 0),
                Act::Stop => ("stop", 0),
                Act::Fail(error) => ("fail", error),
            };
            command
                .env("EFFECTS_DO", word)
                .env("EFFECTS_AT", at.to_string())
                .env("EFFECTS_ERRNO", error.to_string());
        }
        if let Some((at, seconds)) = self.jump {
            command
                .env("EFFECTS_AT", at.to_string())
                .env("EFFECTS_JUMP", seconds.to_string());
        }
        if let Some(on) = &self.on {
            command.env("EFFECTS_ON", on);
        }
    }
}
