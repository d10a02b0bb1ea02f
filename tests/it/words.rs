//! Words that the project does not use, in anything that a person reads: messages, help, pages,
//! comments and documents. docs/architecture.md and the code use one word for one thing.

use std::fs;
use std::path::{Path, PathBuf};

/// Each word that is not used, and what is written instead.
const INSTEAD: [(&str, &str); 25] = [
    ("anew", "again"),
    ("in step", "in sync"),
    ("mend", "repair"),
    ("mended", "repaired"),
    ("mending", "repairing"),
    ("mends", "repairs"),
    ("sees to it", "ensures"),
    ("spelled otherwise", "spelled differently"),
    ("stands under", "is published under"),
    ("stands on the portal", "is published"),
    ("stood", "was published, existed"),
    ("strangers", "orphans, unexpected rows"),
    ("told", "reported, notified"),
    ("twin", "duplicate"),
    ("twins", "duplicates"),
    ("unmended", "not repaired"),
    ("vouch", "confirm"),
    ("vouched", "confirmed"),
    ("vouches", "confirms"),
    ("whereupon", "then"),
    ("whoever", "name who"),
    ("came to nothing", "failed"),
    ("comes to rest", "settles"),
    ("the way back", "restore"),
    ("a fault of the portal", "a portal error"),
];

/// Files that must name old words: what older versions wrote, and this list.
const EXCEPTIONS: [&str; 5] = [
    "CHANGELOG.md",
    "src/ledger/days.rs",
    "src/ledger/schema.rs",
    "src/plan/mod.rs",
    "tests/it/words.rs",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text of the project that people read.
fn files() -> Vec<PathBuf> {
    let mut files = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for folder in ["src", "tests/it", "benches", "docs", "config", "deploy"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "{} files", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|kind| ["md", "rs", "toml", "yml"].iter().any(|one| kind == *one))
        {
            files.push(path);
        }
    }
}

/// What a person reads of a line of code: its comment, and what is in quotes.
fn prose(line: &str) -> String {
    let (code, comment) = line.split_once("//").unwrap_or((line, ""));
    // A line of a text that began on a line before has no quotes of its own.
    let starts_as_code = code
        .trim_start()
        .starts_with(|c: char| "\"{}()#&.|".contains(c));
    let quoted: Vec<&str> = code.split('"').skip(1).step_by(2).collect();
    let is_middle_of_text = quoted.is_empty() && !starts_as_code && code.ends_with('\\');
    let text = if is_middle_of_text { code } else { "" };
    format!("{text} {} {comment}", quoted.join(" "))
}

/// Whether `word` occurs as a word of its own, in lower case.
fn occurs(line: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_letter) && !after.is_some_and(is_letter)
    })
}

#[test]
fn one_word_for_one_thing() {
    let mut faults = Vec::new();
    for file in files() {
        let name = file.strip_prefix(root()).expect("it is below the root");
        let name = name.display().to_string();
        if EXCEPTIONS.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_code = file.extension().is_some_and(|kind| kind == "rs");
        for (number, line) in text.lines().enumerate() {
            let line = if is_code {
                prose(line)
            } else {
                line.to_owned()
            };
            let line = line.to_lowercase();
            for (word, instead) in INSTEAD.iter().filter(|(word, _)| occurs(&line, word)) {
                faults.push(format!("{name}:{}: {word:?}: write {instead}", number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_word_is_found_only_as_a_word_of_its_own() {
    assert!(occurs("he told us", "told"));
    assert!(occurs("told.", "told"));
    assert!(!occurs("untold", "told"));
    assert!(!occurs("told_at", "told"));
    assert!(occurs("back in step again", "in step"));
}

#[test]
fn of_code_only_comments_and_texts_are_read() {
    assert_eq!(
        prose("let told = 1; // we told them").trim(),
        "we told them"
    );
    assert_eq!(prose("say(\"told\", told)").trim(), "told");
    assert_eq!(prose("    it was told of, \\").trim(), "it was told of, \\");
    assert_eq!(prose("let told = other;").trim(), "");
}
