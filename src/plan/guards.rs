//! The rails: every reason not to carry a draft out without a person.
//!
//! All guards are checked, so that a refusal lists every breach at once, each with its figure, its
//! limit and the setting that sets the limit. A person can lift budgets for one draft by approving
//! its digest; the other guards cannot be lifted.

use std::fmt;

use chrono::{DateTime, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use crate::compare::Depth;
use crate::settings::{Hours, Mode, Rails};

use super::{Draft, Plan, Strategy};

/// A guard that may veto a draft. The names are those of the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// `mode` is `observe`.
    Mode,
    /// The time is outside the repair hours.
    RepairHours,
    /// A person put the day on hold.
    Mark,
    /// The portal's row identifier is not our key column.
    RowIdentifier,
    /// The difference has not persisted long enough.
    Recheck,
    /// Too many rows of the day would be purged.
    PurgeRows,
    /// Too large a share of the day's rows would be purged.
    PurgeShare,
    /// Too many orphans of the day would be purged.
    OrphanRows,
    /// Too many rows of the dataset would be purged within 24 hours.
    PurgeRows24h,
    /// Orphans would be purged while some rows could not be derived: the orphans may be those rows.
    Underivable,
    /// The day has been repaired too often.
    Breaker,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 11] = [
        Self::Mode,
        Self::RepairHours,
        Self::Mark,
        Self::RowIdentifier,
        Self::Recheck,
        Self::PurgeRows,
        Self::PurgeShare,
        Self::OrphanRows,
        Self::PurgeRows24h,
        Self::Underivable,
        Self::Breaker,
    ];

    /// The guard with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        (Self::ALL.into_iter()).find(|guard| guard.to_string() == name)
    }

    /// Whether an approval would let a draft pass that these guards refuse, if necessary after a
    /// wait.
    #[must_use]
    pub fn are_approvable(guards: &[Self]) -> bool {
        let passes = |guard: &Self| guard.is_budget() || *guard == Self::Recheck;
        guards.iter().any(|guard| guard.is_budget()) && guards.iter().all(passes)
    }

    /// The same for guards given by their names, as the ledger stores them. An unknown guard cannot
    /// be lifted.
    #[must_use]
    pub fn names_are_approvable(names: &[String]) -> bool {
        let guards = names.iter().map(|name| Self::named(name));
        let guards: Option<Vec<Self>> = guards.collect();
        guards.is_some_and(|guards| Self::are_approvable(&guards))
    }

    /// Whether approving the draft lifts this guard.
    #[must_use]
    pub fn is_budget(self) -> bool {
        match self {
            Self::PurgeRows
            | Self::PurgeShare
            | Self::OrphanRows
            | Self::PurgeRows24h
            | Self::Underivable
            | Self::Breaker => true,
            Self::Mode | Self::RepairHours | Self::Mark | Self::RowIdentifier | Self::Recheck => {
                false
            }
        }
    }
}

impl Guard {
    /// Whether the guard passes after waiting, without anything else.
    #[must_use]
    pub fn is_time(self) -> bool {
        match self {
            Self::RepairHours | Self::Recheck => true,
            Self::Mode
            | Self::Mark
            | Self::RowIdentifier
            | Self::PurgeRows
            | Self::PurgeShare
            | Self::OrphanRows
            | Self::PurgeRows24h
            | Self::Underivable
            | Self::Breaker => false,
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mode => "mode",
            Self::RepairHours => "repair-hours",
            Self::Mark => "mark",
            Self::RowIdentifier => "row-identifier",
            Self::Recheck => "recheck",
            Self::PurgeRows => "purge-rows",
            Self::PurgeShare => "purge-share",
            Self::OrphanRows => "orphan-rows",
            Self::PurgeRows24h => "purge-rows-24h",
            Self::Underivable => "underivable",
            Self::Breaker => "breaker",
        })
    }
}

/// One guard's veto.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// The guard.
    pub guard: Guard,
    /// What was found, the limit, and the setting that sets it.
    pub text: String,
}

/// The veto: every breach, and what is needed to draft the plan again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The refused draft's digest.
    pub digest: String,
    /// How closely the day was checked.
    pub depth: Depth,
    /// The order in which it would have been carried out.
    pub strategy: Strategy,
    /// Every breach; at least one.
    pub breaches: Vec<Breach>,
}

impl Refusal {
    /// Whether approving the digest would let the draft pass, if necessary after a wait.
    #[must_use]
    pub fn is_approvable(&self) -> bool {
        let guards: Vec<Guard> = self.breaches.iter().map(|breach| breach.guard).collect();
        Guard::are_approvable(&guards)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, breach) in self.breaches.iter().enumerate() {
            let between = if index > 0 { "; " } else { "" };
            write!(f, "{between}{}", breach.text)?;
        }
        Ok(())
    }
}

/// A person's approval of one draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The full digest of the draft.
    pub digest: String,
}

/// What the guards need to know besides the draft and the rails.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// Whether differences are only reported or also repaired.
    pub mode: Mode,
    /// The repair hours, and the current wall time in the dataset's zone.
    pub hours: (Hours, NaiveTime),
    /// The reason why a person put the day on hold, if one did.
    pub mark: Option<String>,
    /// The portal's row identifier.
    pub row_identifier: Option<String>,
    /// When this draft was first seen (UTC), if it was seen before, and the current time.
    pub seen: (Option<DateTime<Utc>>, DateTime<Utc>),
    /// Rows purged from the dataset in the last 24 hours.
    pub purged_24h: u64,
    /// Repairs of the day in the last 7 days.
    pub repairs: u32,
    /// A person's approval, if there is one.
    pub approval: Option<Approval>,
}

impl Draft {
    /// Checks the draft against the rails.
    ///
    /// # Errors
    /// With every breach that is not lifted by an approval.
    pub fn vet(self, rails: &Rails, circumstances: &Circumstances) -> Result<Plan, Refusal> {
        let digest = self.digest();
        let approved =
            (circumstances.approval.as_ref()).is_some_and(|approval| approval.digest == digest);
        let (lifted, breaches): (Vec<Breach>, Vec<Breach>) =
            (self.breaches(rails, circumstances).into_iter())
                .partition(|breach| approved && breach.guard.is_budget());
        if breaches.is_empty() {
            Ok(Plan {
                draft: self,
                digest,
                lifted,
            })
        } else {
            let (depth, strategy) = (self.depth, self.strategy);
            Err(Refusal {
                digest,
                depth,
                strategy,
                breaches,
            })
        }
    }

    /// Every breach, regardless of approvals.
    #[must_use]
    pub fn breaches(&self, rails: &Rails, circumstances: &Circumstances) -> Vec<Breach> {
        [
            mode(circumstances),
            hours(circumstances),
            mark(circumstances),
            self.row_identifier(circumstances),
            self.recheck(rails, circumstances),
            self.purge_rows(rails),
            self.purge_share(rails),
            self.orphan_rows(rails),
            self.purge_rows_24h(rails, circumstances),
            self.underivable(),
            breaker(rails, circumstances),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn row_identifier(&self, circumstances: &Circumstances) -> Option<Breach> {
        let column = &self.target.dataset.key_column;
        let id = &self.target.dataset.id;
        let text = match &circumstances.row_identifier {
            Some(identifier) if identifier == column => return None,
            Some(identifier) => format!(
                "the row identifier of {id} is {identifier}, not {column}: check the dataset's key_column"
            ),
            None if self.repeated > 0 => format!(
                "{id} has no row identifier, and {} rows repeat a key or have none: remove them on the \
                 portal by their :id, then set {column} as the row identifier",
                self.repeated
            ),
            None => {
                format!(
                    "{id} has no row identifier: set {column} as the row identifier on the portal"
                )
            }
        };
        Some(Breach {
            guard: Guard::RowIdentifier,
            text,
        })
    }

    fn recheck(&self, rails: &Rails, circumstances: &Circumstances) -> Option<Breach> {
        let (first, now) = circumstances.seen;
        let wait = rails.recheck_after;
        let seen_for = first.and_then(|first| (now - first).to_std().ok());
        let long_enough = seen_for.is_some_and(|age| age >= wait) || wait.is_zero();
        if self.size().purge == 0 || long_enough {
            return None;
        }
        let seen = seen_for.map_or("just now".to_owned(), |age| {
            format!(
                "{} ago",
                humantime::format_duration(std::time::Duration::from_secs(age.as_secs()))
            )
        });
        let wait = humantime::format_duration(wait);
        let text = format!("first seen {seen}; it must persist for {wait} (rails.recheck_after)");
        Some(Breach {
            guard: Guard::Recheck,
            text,
        })
    }

    fn purge_rows(&self, rails: &Rails) -> Option<Breach> {
        over(
            Guard::PurgeRows,
            self.size().purge,
            rails.max_purge_rows_per_day,
            "rows to purge",
            "max_purge_rows_per_day",
        )
    }

    /// The share is relative to the rows published after the draft's own rows are added, so that a
    /// day published entirely under other keys can be repaired. A rewrite wipes the whole day, so
    /// the guard does not apply to it.
    fn purge_share(&self, rails: &Rails) -> Option<Breach> {
        let size = self.size();
        let published = self.published + size.publish;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 53 bits"
        )]
        let share = size.purge as f64 / published.max(1) as f64;
        let limit = rails.max_purge_share_per_day;
        (self.strategy == Strategy::Repair && share > limit).then(|| Breach {
            guard: Guard::PurgeShare,
            text: format!(
                "{:.0} % of {published} rows to purge, maximum {:.0} % (rails.max_purge_share_per_day)",
                share * 100.0,
                limit * 100.0
            ),
        })
    }

    fn orphan_rows(&self, rails: &Rails) -> Option<Breach> {
        over(
            Guard::OrphanRows,
            self.size().orphans,
            rails.max_orphan_rows_per_day,
            "orphans to purge",
            "max_orphan_rows_per_day",
        )
    }

    fn purge_rows_24h(&self, rails: &Rails, circumstances: &Circumstances) -> Option<Breach> {
        let purge = self.size().purge;
        if purge == 0 {
            return None;
        }
        over(
            Guard::PurgeRows24h,
            purge + circumstances.purged_24h,
            rails.max_purge_rows_per_24h,
            "rows to purge, including those of the last 24 hours",
            "max_purge_rows_per_24h",
        )
    }

    fn underivable(&self) -> Option<Breach> {
        let (orphans, rows) = (self.size().orphans, self.underivable);
        (orphans > 0 && rows > 0).then(|| Breach {
            guard: Guard::Underivable,
            text: format!(
                "{orphans} orphans to purge while {rows} rows or files of the lake could not be derived; the orphans may belong to them"
            ),
        })
    }
}

fn over(guard: Guard, found: u64, limit: u64, what: &str, setting: &str) -> Option<Breach> {
    (found > limit).then(|| Breach {
        guard,
        text: format!("{found} {what}, maximum {limit} (rails.{setting})"),
    })
}

fn mode(circumstances: &Circumstances) -> Option<Breach> {
    match circumstances.mode {
        Mode::Repair => None,
        Mode::Observe => Some(Breach {
            guard: Guard::Mode,
            text: "mode is `observe`; set it to `repair` to change anything".into(),
        }),
    }
}

fn hours(circumstances: &Circumstances) -> Option<Breach> {
    let (hours, now) = circumstances.hours;
    (!hours.contains(now)).then(|| Breach {
        guard: Guard::RepairHours,
        text: format!(
            "it is {}; repairs are made {}-{} (schedule.repair_hours)",
            now.format("%H:%M"),
            hours.from.format("%H:%M"),
            hours.to.format("%H:%M")
        ),
    })
}

fn mark(circumstances: &Circumstances) -> Option<Breach> {
    circumstances.mark.as_ref().map(|reason| Breach {
        guard: Guard::Mark,
        text: format!("marked hold: {}", reason.escape_debug()),
    })
}

fn breaker(rails: &Rails, circumstances: &Circumstances) -> Option<Breach> {
    let (repairs, limit) = (circumstances.repairs, rails.max_repairs_per_week);
    (repairs >= limit).then(|| Breach {
        guard: Guard::Breaker,
        text: format!(
            "repaired {repairs} times in 7 days, maximum {limit} (rails.max_repairs_per_week): \
             another writer keeps bringing the differences back"
        ),
    })
}
