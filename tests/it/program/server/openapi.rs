//! The API's description, compared with the API.

use std::collections::BTreeSet;
use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::Value as Json;
use sodalake::compare::Depth;
use sodalake::sandbox::city::Table;

use super::running::{Running, TOKEN, with_token};
use super::with_duplicates;
use crate::support::city::wednesday;

const PATH: &str = "/api/v1/openapi.json";

/// Every method and path of the description.
fn described(description: &Json) -> BTreeSet<(String, String)> {
    let paths = description["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

/// Every method and path of the API, from the router's source.
fn routed() -> BTreeSet<(String, String)> {
    let source = include_str!("../../../../src/server/mod.rs");
    let routes = source.split(".route(\"").skip(1);
    let routes = routes.map(|route| {
        let (path, rest) = route.split_once('"').unwrap();
        let method = rest.trim_start_matches([',', ' ', '\n']);
        let method = method.split('(').next().unwrap();
        (method.to_uppercase(), path.to_owned())
    });
    routes
        .filter(|(_, path)| path.starts_with("/api/"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_exactly_the_routes_of_the_api() {
    let running = Running::start(&with_token()).await;
    let description = running.json(PATH).await;
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let described = described(&description);
    assert_eq!(described, routed());
    for (method, path) in described {
        let path = path
            .replace("{dataset}", "radar-counts")
            .replace("{day}", "2020-10-14")
            .replace("{id}", "018f0000-0000-7000-8000-000000000000");
        let method: Method = method.parse().unwrap();
        let answer = running.request(method, &path).send().await.unwrap();
        let detail = answer.text().await.unwrap();
        assert!(!detail.contains("there is nothing at"), "{path}: {detail}");
        assert!(!detail.contains("does not take"), "{path}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_contradiction_between_api_and_description() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let running = with_duplicates(&with_token()).await;
    running
        .city
        .check(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(running.get(PATH).await.status(), StatusCode::OK);
    let output = tokio::process::Command::new(&python)
        .args([
            "-m",
            "schemathesis.cli",
            "run",
            &format!("{}{PATH}", running.url),
        ])
        .args(["--checks", "all", "--max-examples", "25", "--seed", "7"])
        .args(["--phases", "examples,coverage,fuzzing", "--no-color"])
        .args([
            "--generation-database",
            "none",
            "--suppress-health-check",
            "all",
        ])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .current_dir(running.city.stage.dir())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
}
