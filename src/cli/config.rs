//! `config check` and `config show`: validate and print the settings.

use anyhow::Context as _;

use super::style::{Tone, paint, print};
use super::{Common, ConfigCommand, Exit, Format};
use crate::expected::recipes;
use crate::settings::{Line, Mode, Settings, SettingsError, environment};

/// Loads the settings named on the command line.
///
/// # Errors
/// If they cannot be read or are not valid.
pub fn load(common: &Common) -> Result<Settings, SettingsError> {
    let recipes: Vec<_> = recipes().iter().map(|recipe| recipe.facts()).collect();
    Settings::load(common.config.as_deref(), environment()?, &recipes)
}

/// Runs `config check` or `config show`.
pub(super) fn run(command: ConfigCommand, common: &Common) -> anyhow::Result<Exit> {
    let settings = load(common)?;
    let (ConfigCommand::Check(output) | ConfigCommand::Show(output)) = command;
    let text = match (command, output.format) {
        (ConfigCommand::Check(_), Format::Text) => valid_text(&settings),
        (ConfigCommand::Check(_), Format::Json) => {
            let names = settings.datasets.iter().map(|one| &one.dataset.name);
            let names: Vec<_> = names.collect();
            format!("{}\n", serde_json::json!({"ok": true, "datasets": names}))
        }
        (ConfigCommand::Show(_), Format::Text) => settings.to_toml(),
        (ConfigCommand::Show(_), Format::Json) => json_lines(&settings.lines())?,
    };
    print(&text).context("cannot write to stdout")?;
    Ok(Exit::Ok)
}

fn valid_text(settings: &Settings) -> String {
    let mode = match settings.mode {
        Mode::Observe => "observe: nothing is changed",
        Mode::Repair => "repair: findings are repaired within the rails",
    };
    let names = settings
        .datasets
        .iter()
        .map(|one| one.dataset.name.as_str());
    let names: Vec<&str> = names.collect();
    let good = paint(Tone::Good, "The settings are valid.");
    format!("{good}\nmode {mode}\ndatasets {}\n", names.join(", "))
}

fn json_lines(lines: &[Line]) -> serde_json::Result<String> {
    lines
        .iter()
        .map(|line| Ok(serde_json::to_string(line)? + "\n"))
        .collect()
}
