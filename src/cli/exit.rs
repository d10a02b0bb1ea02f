//! Exit codes: what a script or a timer can conclude without parsing the output.

use std::process::ExitCode;

use crate::repair::RepairError;
use crate::settings::SettingsError;

/// How a command ended. The numbers are stable: scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// In sync, or done.
    Ok,
    /// Findings remain.
    Findings,
    /// Wrong usage or configuration.
    Usage,
    /// Held by a guard.
    Held,
    /// Lake or portal could not be read with certainty.
    Unproven,
    /// Written, but not visible on all replicas yet.
    Unconfirmed,
    /// Another sodalake process holds the lease.
    Lease,
    /// A service failed.
    Failed,
    /// Stopped by a signal.
    Interrupted,
}

impl Exit {
    /// The process exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Held => 3,
            Self::Unproven => 4,
            Self::Unconfirmed => 5,
            Self::Lease => 6,
            Self::Failed => 7,
            Self::Interrupted => 130,
        }
    }

    /// How bad it is. The codes are not in order of severity.
    fn rank(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unconfirmed => 1,
            Self::Findings => 2,
            Self::Held => 3,
            Self::Unproven => 4,
            Self::Lease => 5,
            Self::Failed => 6,
            Self::Usage => 7,
            Self::Interrupted => 8,
        }
    }

    /// The worse of two, to combine several dataset-days. From worst to best: interrupted, usage,
    /// service failed, lease, unproven, held, findings, unconfirmed, ok.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// The exit code for an error: [`Exit::Usage`] for invalid settings or arguments, [`Exit::Lease`]
    /// if another process holds the lease, otherwise [`Exit::Failed`].
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let of_usage = error.chain().any(|cause| {
            cause.is::<SettingsError>() || cause.is::<UsageError>() || cause.is::<clap::Error>()
        });
        let leased_away = error.chain().any(|cause| {
            let of_repair = cause.downcast_ref::<RepairError>();
            matches!(of_repair, Some(RepairError::LeaseLost { .. }))
        });
        match (of_usage, leased_away) {
            (true, _) => Self::Usage,
            (false, true) => Self::Lease,
            (false, false) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Arguments that are valid separately, but not together or not with these settings.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    const WORST_FIRST: [Exit; 9] = [
        Exit::Interrupted,
        Exit::Usage,
        Exit::Failed,
        Exit::Lease,
        Exit::Unproven,
        Exit::Held,
        Exit::Findings,
        Exit::Unconfirmed,
        Exit::Ok,
    ];

    #[test]
    fn the_worst_of_several_exits_wins() {
        for (at, worse) in WORST_FIRST.into_iter().enumerate() {
            for better in &WORST_FIRST[at..] {
                assert_eq!(worse.and(*better), worse);
                assert_eq!(better.and(worse), worse);
            }
        }
    }

    #[test]
    fn only_settings_and_arguments_are_usage_errors() {
        let context = |error: anyhow::Error| error.context("check camera-counts");
        let usage = UsageError("no dataset is named x".into());
        assert_eq!(Exit::of(&context(usage.into())), Exit::Usage);
        let settings = SettingsError::Refused(Vec::new());
        assert_eq!(Exit::of(&context(settings.into())), Exit::Usage);
        let io = std::io::Error::other("connection refused");
        assert_eq!(Exit::of(&context(io.into())), Exit::Failed);
    }
}
