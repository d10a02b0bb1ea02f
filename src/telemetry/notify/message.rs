//! The messages: JSON with a `text` for chat rooms, and the same information in fields.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use uuid::Uuid;

use crate::compare::cause::grouped;
use crate::ledger::{Change, LedgerError};
use crate::model::{DatasetName, Day};
use crate::plan::Guard;
use crate::reconcile::{State, World, promises};

/// Maximum corrections that a digest sums up.
const MAX_CORRECTIONS: u32 = 10_000;
/// Maximum length of the text, in characters.
const MAX_CHARS: usize = 1_500;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A day changed to a state that operators should know about.
    Changed,
    /// A day is in sync again, without a pass of ours.
    Recovered,
    /// A day is in sync again because of a pass of ours.
    Repaired,
    /// The daily summary of all datasets.
    Digest,
}

/// A change of a day's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same every time the message is sent.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// The whole message in words, safe for chat rooms.
    pub text: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// Time of the change (UTC).
    pub at: DateTime<Utc>,
    /// The last state that was reported or, if that equals `state`, the state in between.
    pub was: String,
    /// The state now.
    pub state: String,
    /// The reason for the state.
    pub why: Option<String>,
    /// The likely cause of the findings.
    pub cause: Option<String>,
    /// The guards that hold it.
    pub guards: Vec<String>,
    /// Digest of the held plan.
    pub digest: Option<String>,
    /// The commands that approve the plan, if approval would let it pass.
    pub approve: Vec<String>,
    /// The pass that made the change, if it was one of ours.
    pub pass: Option<Uuid>,
}

/// Whether a state is not worth a message.
pub(super) fn is_quiet(state: &str) -> bool {
    let quiet = [State::InSync, State::Unsettled, State::KnownLost];
    quiet.iter().any(|one| one.to_string() == state)
}

/// Text from lake or portal without mentions, links or markup.
fn harmless(text: &str) -> String {
    let letters = text.chars().take(MAX_CHARS);
    letters
        .map(|letter| match letter {
            '<' => '‹',
            '>' => '›',
            '@' => '＠',
            '`' => '\'',
            letter if letter.is_control() && letter != '\n' => ' ',
            letter => letter,
        })
        .collect()
}

impl Message {
    /// The message for a change, with times in `zone`.
    #[must_use]
    pub fn of(change: &Change, zone: Tz) -> Self {
        let Change {
            number,
            dataset,
            day,
            at,
            was,
            state,
            why,
            cause,
            digest,
            drafted,
            guards,
            pass,
            tries: _,
            told_at: _,
        } = change;
        let kind = match (is_quiet(state), pass) {
            (true, Some(_)) => Kind::Repaired,
            (true, None) => Kind::Recovered,
            (false, _) => Kind::Changed,
        };
        let held = *state == State::Held.to_string();
        let approvable = held && Guard::names_are_approvable(guards);
        let approve = match (digest, drafted) {
            (Some(digest), Some(drafted)) if approvable => {
                drafted.approval_commands(dataset, *day, digest).into()
            }
            _ => Vec::new(),
        };
        let when = at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z");
        let mut text = match kind {
            Kind::Repaired => format!("{dataset} {day} was repaired at {when}: in sync."),
            Kind::Recovered => {
                format!("{dataset} {day} is {state} again since {when} (was {was}).")
            }
            Kind::Changed | Kind::Digest => {
                format!("{dataset} {day} is {state} since {when} (was {was}).")
            }
        };
        let said = why
            .iter()
            .chain(cause.iter().filter(|_| kind != Kind::Recovered));
        for line in said.chain(&approve) {
            text.push('\n');
            text.push_str(line);
        }
        Self {
            id: format!("{dataset}/{day}/{number}"),
            kind,
            text: harmless(&text),
            dataset: dataset.clone(),
            day: *day,
            at: *at,
            was: was.clone(),
            state: state.clone(),
            why: why.clone(),
            cause: cause.clone(),
            guards: guards.clone(),
            digest: digest.clone(),
            approve,
            pass: *pass,
        }
    }
}

/// The daily summary of all datasets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// The same every time the digest is sent.
    pub id: String,
    /// Always [`Kind::Digest`].
    pub kind: Kind,
    /// The whole digest in words.
    pub text: String,
    /// The local day of the digest.
    pub date: Day,
    /// When it was made (UTC).
    pub at: DateTime<Utc>,
    /// Number of days by dataset and state.
    pub days: BTreeMap<DatasetName, BTreeMap<String, u64>>,
    /// Days held until an operator approves their plan.
    pub approvals_pending: u64,
    /// Passes that changed published rows in the last 24 hours.
    pub corrections: u64,
    /// Rows purged by them.
    pub purged: u64,
    /// Rows published by them.
    pub published: u64,
}

impl Digest {
    /// Reads the current state of everything from the ledger.
    ///
    /// # Errors
    /// If the ledger does not answer.
    pub async fn read(world: &World, date: Day, now: DateTime<Utc>) -> Result<Self, LedgerError> {
        let ledger = &world.ledger;
        let promises = promises(&world.settings, now);
        let standing = ledger.standing(&promises).await?;
        let days = (promises.into_iter())
            .map(|promise| (promise.dataset.clone(), promise.days_by_state(&standing)))
            .collect();
        let held = ledger.held().await?.into_iter();
        let pending =
            held.filter(|held| !held.approved && Guard::names_are_approvable(&held.guards));
        let since = now - TimeDelta::hours(24);
        let corrections = ledger.corrections(None, None, MAX_CORRECTIONS).await?;
        let recent: Vec<_> = (corrections.iter())
            .filter(|correction| correction.date >= since)
            .collect();
        let mut digest = Self {
            id: format!("digest/{date}"),
            kind: Kind::Digest,
            text: String::new(),
            date,
            at: now,
            days,
            approvals_pending: pending.map(|held| held.days).sum(),
            corrections: recent.len() as u64,
            purged: recent.iter().map(|one| one.purged).sum(),
            published: recent.iter().map(|one| one.published).sum(),
        };
        digest.text = harmless(&digest.in_words());
        Ok(digest)
    }

    fn in_words(&self) -> String {
        let mut lines = vec![format!("Sodalake on {}:", self.date)];
        for (dataset, states) in &self.days {
            let states = states.iter();
            let states: Vec<String> = states
                .map(|(state, days)| format!("{} {state}", grouped(*days)))
                .collect();
            lines.push(format!("{dataset}: {}", states.join(", ")));
        }
        let unknown = State::Unknown.to_string();
        let unknown: u64 = (self.days.values())
            .filter_map(|states| states.get(&unknown))
            .sum();
        if unknown > 0 {
            lines.push(format!(
                "Unknown: {} days were never checked, or not recently.",
                grouped(unknown)
            ));
        }
        lines.push(format!(
            "In the last 24 hours, {} passes purged {} rows and published {}; {} plans wait for \
             approval.",
            grouped(self.corrections),
            grouped(self.purged),
            grouped(self.published),
            grouped(self.approvals_pending)
        ));
        lines.join("\n")
    }
}
