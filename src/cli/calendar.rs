//! A calendar for the terminal: one letter per day, one column per week. The letter alone shows
//! the state, so the calendar also works without colors.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::report;
use super::style::{Tone, paint};
use crate::model::Day;
use crate::model::calendar::{Year, weekday};
use crate::reconcile::State;

/// Columns in front of every line of days.
const MARGIN: usize = 6;

fn letter(state: State) -> char {
    match state {
        State::InSync | State::Skipped => '·',
        State::Repaired => '+',
        State::Differs => 'D',
        State::Held => 'H',
        State::Unproven => '?',
        State::Unconfirmed => '~',
        State::Unsettled => '-',
        State::KnownLost => 'L',
        State::Unknown => 'u',
    }
}

/// A calendar of every year that has days: the months, seven lines, and a legend of the letters
/// used.
pub(super) fn of(days: &BTreeMap<Day, State>) -> String {
    let mut years: Vec<Year> = days.keys().map(|day| Year::of(*day)).collect();
    years.dedup();
    let drawn: String = years.into_iter().map(|year| draw(year, days)).collect();
    drawn + &legend(days)
}

fn draw(year: Year, days: &BTreeMap<Day, State>) -> String {
    let mut text = paint(Tone::Faint, months(year)) + "\n";
    let names = ["Mon", "", "Wed", "", "Fri", "", "Sun"];
    for (row, name) in names.into_iter().enumerate() {
        let mut line = format!("  {}", paint(Tone::Faint, format!("{name:<3}")));
        let mut column = 0;
        for day in year.days().filter(|day| weekday(*day) == row) {
            let Some(state) = days.get(&day) else {
                continue;
            };
            let week = year.week(day);
            let gap = week - column + usize::from(column == 0);
            let _ = write!(
                line,
                "{:gap$}{}",
                "",
                paint(report::tone(*state), letter(*state))
            );
            column = week + 1;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `2020    Feb Mar ..`: each month's name above its first week, if there is room for it.
fn months(year: Year) -> String {
    let mut line = format!("  {:<width$}", year.number(), width = MARGIN - 2);
    for (name, week) in year.months().filter(|(_, week)| *week > 0) {
        let gap = (MARGIN + week).saturating_sub(line.len());
        let _ = write!(line, "{:gap$}{name}", "");
    }
    line
}

fn legend(days: &BTreeMap<Day, State>) -> String {
    let present = State::ALL.into_iter();
    let present = present.filter(|state| days.values().any(|one| one == state));
    let said: Vec<String> = present
        .map(|state| format!("{} {state}", paint(report::tone(state), letter(state))))
        .collect();
    format!("  {}\n", said.join("   "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_fits_the_terminal_and_needs_no_colors() {
        let first: Day = "2020-03-02".parse().unwrap();
        let mut days: BTreeMap<Day, State> = (0..250)
            .map(|day| (first.plus(day), State::InSync))
            .collect();
        days.insert(first.plus(3), State::Differs);
        days.insert(first.plus(100), State::Held);
        days.insert(first.plus(101), State::Unproven);
        days.insert(first.plus(249), State::Unsettled);
        let text = anstream::adapter::strip_str(&of(&days)).to_string();
        insta::assert_snapshot!(text, @r"
        2020    Feb Mar  Apr May  Jun Jul Aug  Sep Oct Nov  Dec
        Mon          ····································
                     ····································
        Wed          ··············H·····················
                     D·············?·····················
        Fri          ···································-
                     ···································
        Sun          ···································
        · in-sync   D differs   H held   ? unproven   - unsettled
        ");
        assert!(
            text.lines()
                .all(|line| super::super::style::width(line) <= 80)
        );
    }
}
