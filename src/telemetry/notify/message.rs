//! What is sent: JSON with a `text` for chat rooms, and the same in fields for programs.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use uuid::Uuid;

use crate::compare::cause::grouped;
use crate::ledger::{Change, LedgerError};
use crate::model::{DatasetName, Day};
use crate::plan::Guard;
use crate::reconcile::{State, World};

/// Most corrections that a digest sums up.
const CORRECTIONS: u32 = 10_000;
/// Longest text, in characters.
const LETTERS: usize = 1_500;

/// What to type to approve the plan with this digest.
#[must_use]
pub fn approval_commands(dataset: &DatasetName, day: Day, digest: &str) -> Vec<String> {
    vec![
        format!("sodalake plan {dataset} --day {day} --out held.plan"),
        format!("sodalake apply held.plan --approve {digest}"),
    ]
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A day came to a state that somebody should know of.
    Changed,
    /// A day is in step again, and nothing of ours made it so.
    Recovered,
    /// A day is in step, and a pass of ours made it so.
    Repaired,
    /// How everything stands.
    Digest,
}

/// One change of a day's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same however often the message is sent.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// All of it in words, harmless to chat rooms.
    pub text: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// The state people were told of before.
    pub was: String,
    /// The state now.
    pub state: String,
    /// Why it is so.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// The guards that hold it.
    pub guards: Vec<String>,
    /// Digest of the plan that is held.
    pub digest: Option<String>,
    /// What to type to approve the plan, where that would let it pass.
    pub approve: Vec<String>,
    /// The pass that made the change, if one of ours did.
    pub pass: Option<Uuid>,
}

fn is_quiet(state: &str) -> bool {
    let quiet = [State::InStep, State::Unsettled, State::KnownLost];
    quiet.iter().any(|one| one.to_string() == state)
}

/// Whether a person's approval would let a plan pass that these guards hold.
fn is_approvable(guards: &[String]) -> bool {
    let guards = guards.iter().map(|name| Guard::named(name));
    let guards: Option<Vec<Guard>> = guards.collect();
    guards.is_some_and(|guards| Guard::are_approvable(&guards))
}

/// Text that pings nobody and makes no links or markup of what came from lake or portal.
fn harmless(text: &str) -> String {
    let letters = text.chars().take(LETTERS);
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
    /// Of a change, with times in `zone`.
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
        let approvable = held && is_approvable(guards);
        let approve = match digest {
            Some(digest) if approvable => approval_commands(dataset, *day, digest),
            Some(_) | None => Vec::new(),
        };
        let when = at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z");
        let mut text = match kind {
            Kind::Repaired => format!("{dataset} {day} was mended at {when}: in step."),
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

/// How everything stands, once a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// The same however often the digest is sent.
    pub id: String,
    /// Always [`Kind::Digest`].
    pub kind: Kind,
    /// All of it in words.
    pub text: String,
    /// The local day of the digest.
    pub date: Day,
    /// When it was made (UTC).
    pub at: DateTime<Utc>,
    /// Days of each dataset by state.
    pub days: BTreeMap<DatasetName, BTreeMap<String, u64>>,
    /// Days held until a person approves their plan.
    pub approvals_pending: u64,
    /// Passes that changed published rows within 24 hours.
    pub corrections: u64,
    /// Rows they purged.
    pub purged: u64,
    /// Rows they published.
    pub published: u64,
}

impl Digest {
    /// Reads how everything stands.
    ///
    /// # Errors
    /// If the ledger does not answer.
    pub async fn read(world: &World, date: Day, now: DateTime<Utc>) -> Result<Self, LedgerError> {
        let ledger = &world.ledger;
        let mut days: BTreeMap<DatasetName, BTreeMap<String, u64>> = BTreeMap::new();
        for one in ledger.standing().await? {
            let states = days.entry(one.dataset).or_default();
            states.insert(one.state, one.days);
        }
        let held = ledger.held().await?.into_iter();
        let pending = held.filter(|held| !held.approved && is_approvable(&held.guards));
        let since = now - TimeDelta::hours(24);
        let corrections = ledger.corrections(None, None, CORRECTIONS).await?;
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
        lines.push(format!(
            "In 24 hours {} rows were purged and {} published, by {} passes; {} plans wait for a \
             person.",
            grouped(self.purged),
            grouped(self.published),
            grouped(self.corrections),
            grouped(self.approvals_pending)
        ));
        lines.join("\n")
    }
}
