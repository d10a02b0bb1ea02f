//! The commands to type next, printed after a report. They work exactly as printed.

use std::path::Path;

use super::Common;
use super::style::clean;
use crate::model::text::shell_word;
use crate::reconcile::{Report, State};

/// The next step after a command, or nothing if there is none.
pub(super) fn step(reports: &[Report], common: &Common, command: &str) -> String {
    let first = |state| reports.iter().find(|report| report.state == state);
    let config = named_config(common);
    let approvable: String = (reports.iter())
        .filter_map(|held| {
            let target = &held.target;
            (held.refusal.as_ref()?).approval_commands(&target.dataset.name, target.day)
        })
        .flatten()
        .map(|command| format!("  {command}{config}\n"))
        .collect();
    if !approvable.is_empty() {
        return format!(
            "Next: review the held plan, then approve exactly that plan:\n{approvable}"
        );
    }
    if let (Some(differs), "check") = (first(State::Differs), command) {
        let (name, day) = (&differs.target.dataset.name, differs.target.day);
        return format!(
            "Next: sodalake explain {name} {day}{config}\n      \
             sodalake repair {name} --partition {day}{config}\n"
        );
    }
    if let Some(unproven) = first(State::Unproven) {
        let (name, day) = (&unproven.target.dataset.name, unproven.target.day);
        return format!("Next: sodalake explain {name} {day}{config}\n");
    }
    String::new()
}

/// The next step after a plan was written to this file.
pub(super) fn apply(file: &Path, common: &Common) -> String {
    let Some(name) = file.to_str().filter(|name| clean(name) == *name) else {
        return "Next: review it, then apply it\n".into();
    };
    // A file name such as `-x.plan` would be parsed as a flag.
    let name = if name.starts_with('-') {
        format!("./{name}")
    } else {
        name.to_owned()
    };
    let config = named_config(common);
    format!(
        "Next: review it, then\n  sodalake apply {}{config}\n",
        shell_word(&name)
    )
}

/// ` --config FILE`, if the settings file came from a flag and the next command needs it too.
fn named_config(common: &Common) -> String {
    let by_itself = std::env::var_os("SODALAKE_CONFIG");
    match &common.config {
        Some(file) if by_itself.as_deref() != Some(file.as_os_str()) => {
            format!(" --config {}", shell_word(&file.display().to_string()))
        }
        _ => String::new(),
    }
}
