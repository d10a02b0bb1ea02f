//! `config check` and `config show`: the settings as the program reads them.

use anyhow::Context as _;

use super::style::{Tone, paint, print};
use super::{Common, ConfigCommand, Exit, Format};
use crate::expected::recipes;
use crate::settings::{Line, Mode, Settings, SettingsError, environment};

/// The settings that the command line names.
///
/// # Errors
/// If they cannot be read or are not right.
pub fn load(common: &Common) -> Result<Settings, SettingsError> {
    let recipes: Vec<_> = recipes().iter().map(|recipe| recipe.facts()).collect();
    Settings::load(common.config.as_deref(), environment()?, &recipes)
}

/// Carries the command out.
pub(super) fn run(command: ConfigCommand, common: &Common) -> anyhow::Result<Exit> {
    let settings = load(common)?;
    let text = match (command, common.format) {
        (ConfigCommand::Check, Format::Text) => right(&settings),
        (ConfigCommand::Check, Format::Json) => {
            let names = settings.datasets.iter().map(|one| &one.dataset.name);
            let names: Vec<_> = names.collect();
            format!("{}\n", serde_json::json!({"ok": true, "datasets": names}))
        }
        (ConfigCommand::Show, Format::Text) => settings.to_toml(),
        (ConfigCommand::Show, Format::Json) => json_lines(&settings.lines())?,
    };
    print(&text).context("write to stdout")?;
    Ok(Exit::Ok)
}

fn right(settings: &Settings) -> String {
    let mode = match settings.mode {
        Mode::Observe => "observe: nothing will be changed",
        Mode::Repair => "repair: faults will be mended inside the rails",
    };
    let names = settings
        .datasets
        .iter()
        .map(|one| one.dataset.name.as_str());
    let names: Vec<&str> = names.collect();
    let good = paint(Tone::Good, "The settings are right.");
    format!("{good}\nmode {mode}\ndatasets {}\n", names.join(", "))
}

fn json_lines(lines: &[Line]) -> serde_json::Result<String> {
    lines
        .iter()
        .map(|line| Ok(serde_json::to_string(line)? + "\n"))
        .collect()
}
