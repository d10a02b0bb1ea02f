//! What to type next, after a report for people: commands that work as they stand there.

use std::borrow::Cow;

use super::Common;
use crate::compare::Depth;
use crate::model::DatasetDay;
use crate::plan::{Refusal, Strategy};
use crate::reconcile::{Report, State};

/// The next step after a command, or nothing where there is none to take.
pub(super) fn step(reports: &[Report], common: &Common, command: &str) -> String {
    let first = |state| reports.iter().find(|report| report.state == state);
    let config = named_config(common);
    let approvable: String = (reports.iter())
        .filter_map(|held| {
            let content = held.depth == Depth::Content;
            approving(&held.target, content, held.refusal.as_ref()?)
        })
        .flatten()
        .map(|command| format!("  {command}{config}\n"))
        .collect();
    if !approvable.is_empty() {
        return format!("Next: read what is held, then approve that very plan:\n{approvable}");
    }
    if let (Some(differs), "check") = (first(State::Differs), command) {
        let (name, day) = (&differs.target.dataset.name, differs.target.day);
        return format!(
            "Next: sodalake explain {name} {day}{config}\n      \
             sodalake repair {name} --day {day}{config}\n"
        );
    }
    if let Some(unproven) = first(State::Unproven) {
        let (name, day) = (&unproven.target.dataset.name, unproven.target.day);
        return format!("Next: sodalake explain {name} {day}{config}\n");
    }
    String::new()
}

/// The two commands that approve a held plan: one writes it down, one carries out that very one.
/// None where no approval would help. `content`: the plan came of a look at every value.
pub(super) fn approving(
    target: &DatasetDay,
    content: bool,
    refusal: &Refusal,
) -> Option<[String; 2]> {
    if !refusal.is_approvable() {
        return None;
    }
    let (name, day, digest) = (&target.dataset.name, target.day, &refusal.digest);
    let depth = if content { " --depth content" } else { "" };
    let rewrite = match refusal.strategy {
        Strategy::Rewrite => " --rewrite",
        Strategy::Mend => "",
    };
    Some([
        format!("sodalake plan {name} --day {day}{depth}{rewrite} --out held.plan"),
        format!("sodalake apply held.plan --approve {digest}"),
    ])
}

/// ` --config FILE`, where the settings came from a flag and the next command would not find them.
fn named_config(common: &Common) -> String {
    let by_itself = std::env::var_os("SODALAKE_CONFIG");
    match &common.config {
        Some(file) if by_itself.as_deref() != Some(file.as_os_str()) => {
            format!(" --config {}", quoted(&file.display().to_string()))
        }
        _ => String::new(),
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', "'\\''")).into()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_stays_one_word_of_a_shell() {
        assert_eq!(
            quoted("/etc/sodalake/sodalake.toml"),
            "/etc/sodalake/sodalake.toml"
        );
        assert_eq!(quoted("my file"), "'my file'");
        assert_eq!(quoted("it's; rm -rf $HOME"), "'it'\\''s; rm -rf $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
