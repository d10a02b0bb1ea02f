//! The commands that approve a held plan, run in a shell exactly as each surface prints them: the
//! command line, the status page, the API and the webhook. They are tested for a repair, a repair
//! at content depth and a rewrite. `apply` must accept the digest every time.

use std::path::Path;

use sodalake::compare::Depth;
use sodalake::reconcile::{Asked, State};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::telemetry::notify::Message;
use tokio::process::Command;

use crate::program::server::running::Running;
use crate::support::city::{TestCity, wednesday};
use crate::support::program::{config, run};

const TABLE: Table = Table::RadarCounts;

#[derive(Clone, Copy, Debug)]
enum Case {
    Ordinary,
    AtContentDepth,
    Rewrite,
}

#[derive(Clone, Copy, Debug)]
enum Surface {
    CommandLine,
    Page,
    Api,
    Webhook,
}

impl Surface {
    const ALL: [Self; 4] = [Self::CommandLine, Self::Page, Self::Api, Self::Webhook];
}

impl Case {
    /// Limits that hold the case, by a budget that an approval lifts.
    fn rails(self) -> &'static str {
        match self {
            Self::Ordinary | Self::AtContentDepth => {
                "rails.max_orphan_rows_per_day = 4\nrails.max_repairs_per_week = 1000\n"
            }
            Self::Rewrite => {
                "rails.max_purge_rows_per_day = 1\nrails.max_repairs_per_week = 1000\n"
            }
        }
    }

    fn break_the_day(self, city: &TestCity) {
        let add_orphans = || city.damage(Breakage::Strangers(5), TABLE, wednesday(), "Austin");
        match self {
            Self::AtContentDepth => {
                city.damage(Breakage::StaleValues, TABLE, wednesday(), "Austin");
                add_orphans();
            }
            Self::Ordinary | Self::Rewrite => drop(add_orphans()),
        }
    }

    fn flags(self) -> &'static str {
        match self {
            Self::Ordinary => "",
            Self::AtContentDepth => " --depth content",
            Self::Rewrite => " --rewrite --yes",
        }
    }

    /// Leaves in the ledger what a pass of the daemon, or an unattended command, would leave.
    async fn hold(self, city: &TestCity) {
        let asked = Asked {
            rewrite: matches!(self, Self::Rewrite),
            wait: true,
            ..Asked::default()
        };
        let depth = match self {
            Self::Ordinary | Self::Rewrite => Depth::Keys,
            Self::AtContentDepth => Depth::Content,
        };
        let held = city.ask(TABLE, wednesday(), depth, &asked).await;
        assert_eq!(held.state, State::Held, "{:?}", held.why);
        // The commands are for the held plan, regardless of what was checked since.
        city.check(TABLE, wednesday(), Depth::Keys).await;
    }
}

fn lines_of_commands<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let ours =
        |line: &&str| line.starts_with("sodalake plan ") || line.starts_with("sodalake apply ");
    lines
        .map(str::trim)
        .filter(ours)
        .map(str::to_owned)
        .collect()
}

/// The commands that the surface prints.
async fn printed(surface: Surface, case: Case, running: &Running) -> Vec<String> {
    let (city, name, day) = (&running.city, TABLE.dataset_name(), wednesday());
    match surface {
        Surface::CommandLine => {
            let line = format!("repair {name} --partition {day}{}", case.flags());
            lines_of_commands(run(city, &line).await.ends(3, "Next").out.lines())
        }
        Surface::Page => {
            let page = running.get(&format!("/days/{name}/{day}")).await;
            let page = page.text().await.unwrap().replace("<code>", "\n");
            lines_of_commands(page.lines())
        }
        Surface::Api => {
            let facts = running.json(&format!("/api/v1/days/{name}/{day}")).await;
            let commands = facts["approve"]["commands"].as_array().unwrap().iter();
            lines_of_commands(commands.map(|line| line.as_str().unwrap()))
        }
        Surface::Webhook => {
            let name = name.parse().unwrap();
            let changes = city.world.ledger.changes(&name, day).await.unwrap();
            let message = Message::of(changes.last().unwrap(), chrono_tz::UTC);
            for command in &message.approve {
                assert!(message.text.contains(command), "{}", message.text);
            }
            lines_of_commands(message.approve.iter().map(String::as_str))
        }
    }
}

/// Runs a command line in a shell, with the program in its path, in a folder of its own.
async fn typed(line: &str, folder: &Path, city: &TestCity) -> (i32, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_sodalake")).parent().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-c", line])
        .current_dir(folder)
        .env_clear()
        .env("PATH", program)
        .env("SODALAKE_CONFIG", config(city))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    (output.status.code().unwrap(), said)
}

async fn every_surface_prints_working_commands(case: Case) {
    let running = Running::start(case.rails()).await;
    let city = &running.city;
    let healthy = city.rows(TABLE);
    for surface in Surface::ALL {
        case.break_the_day(city);
        case.hold(city).await;
        let commands = printed(surface, case, &running).await;
        assert_eq!(commands.len(), 2, "{surface:?} {case:?}: {commands:?}");
        let folder = tempfile::tempdir().unwrap();
        let (code, said) = typed(&commands[0], folder.path(), city).await;
        assert!(code <= 1, "{surface:?} {case:?}: {}: {said}", commands[0]);
        let (code, said) = typed(&commands[1], folder.path(), city).await;
        assert_eq!(code, 0, "{surface:?} {case:?}: {}: {said}", commands[1]);
        assert_eq!(city.rows(TABLE), healthy, "{surface:?} {case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_every_surface_approve_a_repair() {
    every_surface_prints_working_commands(Case::Ordinary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_every_surface_approve_a_repair_at_content_depth() {
    every_surface_prints_working_commands(Case::AtContentDepth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_every_surface_approve_a_rewrite() {
    every_surface_prints_working_commands(Case::Rewrite).await;
}

/// A file name reaches the shell as one word and is never taken for a flag.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_step_after_a_plan_can_be_pasted_for_any_file_name() {
    let city = TestCity::around(wednesday(), "").await;
    for (strangers, name) in [(1, "it's; touch oops.plan"), (2, "-x.plan")] {
        city.damage(Breakage::Strangers(strangers), TABLE, wednesday(), "Austin");
        let folder = tempfile::tempdir().unwrap();
        let plan = format!(
            "sodalake plan {} --partition {}",
            TABLE.dataset_name(),
            wednesday()
        );
        let quoted = name.replace('\'', "'\\''");
        let line = format!("{plan} --out='{quoted}'");
        let (code, said) = typed(&line, folder.path(), &city).await;
        assert_eq!(code, 1, "{said}");
        let commands = lines_of_commands(said.lines());
        assert_eq!(commands.len(), 1, "{said}");
        let (code, said) = typed(&commands[0], folder.path(), &city).await;
        assert_eq!(code, 0, "{}: {said}", commands[0]);
        assert!(!folder.path().join("oops.plan").exists());
    }
}
