//! Exit codes: what a script or a timer learns from a run without reading its output.

use std::process::ExitCode;

use crate::repair::RepairError;
use crate::settings::SettingsError;

/// How a command ended. The numbers are fixed: people script against them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// In step, or done.
    Ok,
    /// Findings remain.
    Findings,
    /// Wrong usage or configuration.
    Usage,
    /// Held by a guard.
    Held,
    /// Lake or portal could not be read with certainty.
    Unproven,
    /// Written, and not seen by all replicas yet.
    Unconfirmed,
    /// Another sodalake holds the lease.
    Lease,
    /// A service failed.
    Failed,
    /// Stopped by a signal.
    Interrupted,
}

impl Exit {
    /// The number.
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

    /// How bad it is. The numbers of the codes do not rank them.
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

    /// What one run over several dataset-days ends with: the worst of them, in the order
    /// interrupted, usage, service failed, lease, unproven, held, findings, unconfirmed, ok.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// What an error that ended a command means: [`Exit::Usage`] for wrong settings and wrong
    /// arguments, [`Exit::Lease`] where another sodalake has it, [`Exit::Failed`] for all else.
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

/// Arguments that are each right and together, or in this world, wrong.
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
    fn several_ends_make_the_worst_of_them() {
        for (at, worse) in WORST_FIRST.into_iter().enumerate() {
            for better in &WORST_FIRST[at..] {
                assert_eq!(worse.and(*better), worse);
                assert_eq!(better.and(worse), worse);
            }
        }
    }

    #[test]
    fn settings_and_arguments_are_usage_and_the_rest_failed() {
        let context = |error: anyhow::Error| error.context("check camera-counts");
        let usage = UsageError("no dataset is named x".into());
        assert_eq!(Exit::of(&context(usage.into())), Exit::Usage);
        let settings = SettingsError::Refused(Vec::new());
        assert_eq!(Exit::of(&context(settings.into())), Exit::Usage);
        let io = std::io::Error::other("connection refused");
        assert_eq!(Exit::of(&context(io.into())), Exit::Failed);
    }
}
