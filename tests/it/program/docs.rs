//! The documentation is held to the code: links have targets, commands parse, and every name exists
//! and is documented where readers look for it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use md5::{Digest as _, Md5};
use sodalake::cli::{Cli, Exit};
use sodalake::compare::Finding;
use sodalake::plan::{Guard, remedy};
use sodalake::reconcile::State;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// README and every page of docs/, with their texts.
pub fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let pages: Vec<(PathBuf, String)> = docs
        .chain([root().join("README.md")])
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(pages.len() >= 5, "README and four pages");
    pages
}

/// The lines inside fences, and those outside.
fn parted(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut inside, mut outside, mut fenced) = (Vec::new(), Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            inside.push(line);
        } else {
            outside.push(line);
        }
    }
    (inside, outside)
}

/// The commands of ours that a page shows, without shell syntax.
pub fn shell_commands(text: &str) -> Vec<String> {
    let (mut commands, mut shell) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(kind) = line.strip_prefix("```") {
            shell = kind == "sh";
        } else if shell && line.starts_with("sodalake ") {
            let ours = line.split(['|', '>', '#']).next().unwrap_or_default();
            commands.push(ours.trim().to_owned());
        }
    }
    commands
}

/// The texts between backticks outside of fences.
fn quoted(text: &str) -> Vec<String> {
    let prose = parted(text).1.join("\n");
    let pieces = prose.split('`').skip(1).step_by(2);
    pieces.map(str::to_owned).collect()
}

/// Splits a line into words as a shell does, including quotes.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, _) => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-');
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    title
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn the_documented_findings_match_the_program() {
    let page = read("docs/data.md");
    for finding in Finding::ALL {
        let begins = format!("| {finding} | {} | ", finding.meaning());
        let ends = format!(" | {} |", remedy::of(finding));
        let row = page.lines().find(|line| line.starts_with(&begins));
        let row = row.unwrap_or_else(|| panic!("no row {begins}"));
        assert!(row.ends_with(&ends), "{row} does not end with{ends}");
    }
}

#[test]
fn prose_is_wrapped_at_100_columns() {
    let changes = (root().join("CHANGELOG.md"), read("CHANGELOG.md"));
    for (page, text) in pages().into_iter().chain([changes]) {
        for line in parted(&text).1 {
            let is_table = line.starts_with('|');
            // A link, an example or a worked key cannot be broken.
            let is_one_word = !line.trim().contains(' ') || line.starts_with("md5(");
            let fits = line.chars().count() <= 100;
            let is_exempt = is_table || is_one_word || line.starts_with(['!', ' ']);
            assert!(fits || is_exempt, "{}: {line}", page.display());
        }
    }
}

#[test]
fn every_link_has_a_target() {
    let mut seen = 0;
    for (page, text) in pages() {
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("https://") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.with_file_name("").join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !place.is_empty() {
                let there = fs::read_to_string(&target).unwrap();
                let mut headings = there.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|line| anchor(line) == place), "{link}");
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} links");
}

#[test]
fn every_documented_command_parses() {
    let mut seen = 0;
    for (page, text) in pages() {
        for line in parted(&text).0 {
            let line = line.trim().replace("cargo run --release -- ", "sodalake ");
            let Some(at) = line
                .find("sodalake ")
                .filter(|at| *at == 0 || line.starts_with("to "))
            else {
                continue;
            };
            let parsed = Cli::try_parse_from(words(&line[at..]));
            assert!(
                parsed.is_ok(),
                "{}: {line}: {}",
                page.display(),
                parsed.unwrap_err()
            );
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} commands");
}

#[test]
fn every_state_guard_and_exit_code_is_explained() {
    let page = read("docs/operations.md");
    let explained = |name: &str| {
        page.lines()
            .any(|line| line.starts_with(&format!("| {name} | ")))
    };
    for state in State::ALL {
        assert!(explained(&format!("`{state}`")), "state {state}");
    }
    for guard in Guard::ALL {
        let approve = if guard.is_budget() { "yes" } else { "no" };
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{guard}` | ")));
        let row = row.unwrap_or_else(|| panic!("guard {guard}"));
        assert!(row.contains(&format!(" | {approve} | ")), "approve {guard}");
    }
    let codes = [
        Exit::Ok,
        Exit::Findings,
        Exit::Usage,
        Exit::Held,
        Exit::Unproven,
        Exit::Unconfirmed,
        Exit::Lease,
        Exit::Failed,
        Exit::Interrupted,
    ];
    for code in codes.map(Exit::code) {
        assert!(explained(&code.to_string()), "exit code {code}");
        assert!(
            read("README.md").contains(&format!("\n| {code} | ")),
            "exit code {code}"
        );
    }
}

#[test]
fn every_test_named_in_safety_exists() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    sources(&root().join("tests/it"), &mut code);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let names = quoted(&read("docs/safety.md")).into_iter();
    let names: Vec<String> = names
        .filter(|name| name.chars().all(plain) && name.matches('_').count() > 2)
        .collect();
    assert!(names.len() > 30, "{} tests", names.len());
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "test {name}");
    }
}

#[test]
fn every_setting_named_exists() {
    let example = read("config/sodalake.toml");
    let mut seen = 0;
    for (page, text) in pages() {
        for setting in quoted(&text) {
            let Some((section, key)) = setting.split_once('.') else {
                continue;
            };
            let Some((_, there)) = example.split_once(&format!("\n[{section}]\n")) else {
                continue;
            };
            let there = there.split("\n[").next().unwrap();
            let key = key.split(' ').next().unwrap();
            let mut lines = there.lines().map(|line| line.trim_start_matches("# "));
            let known = lines.any(|line| line.starts_with(&format!("{key} = ")));
            assert!(known, "{}: {setting}", page.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} settings");
}

#[test]
fn every_example_key_is_the_hash_of_its_text() {
    let page = read("docs/data.md");
    let examples: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("md5("))
        .collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let (text, key) = example["md5(\"".len()..].split_once("\") = ").unwrap();
        let hash: [u8; 16] = Md5::digest(text).into();
        assert_eq!(
            sodalake::model::RowKey::Md5(sodalake::model::Md5Key(hash)).to_string(),
            key,
            "{text}"
        );
    }
}
