//! The acts that a person with the token may request, and the record of them.

use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use sodalake::compare::Depth;
use sodalake::ledger::{Act, MarkKind, Reason};
use sodalake::reconcile::State as DayState;
use sodalake::sandbox::city::Table;

use super::running::{Running, TOKEN, problem, with_token};
use super::{DAY, with_duplicates};
use crate::support::city::wednesday;

async fn acts(running: &Running) -> Vec<Act> {
    let target = running.city.target(Table::RadarCounts, wednesday());
    let ledger = &running.city.world.ledger;
    ledger.acts(&target.dataset.name, target.day).await.unwrap()
}

fn summaries(acts: &[Act]) -> Vec<(&str, &str, &str)> {
    acts.iter()
        .map(|act| (act.act.as_str(), act.origin.as_str(), act.reason.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_token_allows_an_act_and_refused_acts_leave_no_record() {
    let running = Running::start(&with_token()).await;
    let longer = format!("{TOKEN}x");
    let tokens = [
        "",
        "x",
        &TOKEN[..TOKEN.len() - 1],
        &longer,
        "A-TOKEN-OF-THE-TESTS",
    ];
    for act in ["check", "approve", "hold", "release"] {
        let path = format!("{DAY}/{act}");
        let body = json!({"reason": "why", "digest": "d"});
        let request = || running.request(Method::POST, &path).json(&body);
        let answer = request().send().await.unwrap();
        assert!(
            answer.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        problem(answer, StatusCode::UNAUTHORIZED).await;
        for token in tokens {
            let answer = request().bearer_auth(token).send().await.unwrap();
            problem(answer, StatusCode::UNAUTHORIZED).await;
        }
        let basic = request()
            .basic_auth("user", Some(TOKEN))
            .send()
            .await
            .unwrap();
        problem(basic, StatusCode::UNAUTHORIZED).await;
    }
    assert!(acts(&running).await.is_empty());
    let queued = running.city.world.ledger.pending(10).await.unwrap();
    assert!(queued.is_empty());
    let answer = running
        .act(&format!("{DAY}/check"), json!({"reason": "why"}))
        .await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_configured_token_every_act_is_refused_with_a_reason() {
    let running = Running::start("").await;
    let answer = running
        .act(&format!("{DAY}/check"), json!({"reason": "why"}))
        .await;
    let detail = problem(answer, StatusCode::FORBIDDEN).await;
    assert!(
        detail.contains("read-only") && detail.contains("http.token"),
        "{detail}"
    );
    assert!(acts(&running).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_takes_effect_and_is_recorded_in_the_ledger() {
    let running = Running::start(&with_token()).await;
    let ledger = &running.city.world.ledger;
    let act = async |name: &str, body: Json| {
        let answer = running.act(&format!("{DAY}/{name}"), body).await;
        assert!(answer.status().is_success(), "{name}");
        answer.json::<Json>().await.unwrap()
    };
    let done = act("check", json!({"reason": "odd figures"})).await;
    assert_eq!(
        (&done["act"], &done["origin"]),
        (&json!("check"), &json!("api@127.0.0.1"))
    );
    let queued = ledger.pending(10).await.unwrap();
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].reasons, [Reason::Requested]);

    act("hold", json!({"reason": "recount", "until": "2020-11-01"})).await;
    let marks = ledger.marks(None).await.unwrap();
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].kind, MarkKind::Hold);
    assert_eq!(marks[0].until, Some("2020-11-01".parse().unwrap()));
    act("release", json!({"reason": "counted"})).await;
    assert!(ledger.marks(None).await.unwrap().is_empty());

    let acts = acts(&running).await;
    let wanted = [
        ("check", "api@127.0.0.1", "odd figures"),
        ("hold", "api@127.0.0.1", "recount"),
        ("release", "api@127.0.0.1", "counted"),
    ];
    assert_eq!(summaries(&acts), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_for_exactly_the_held_plan() {
    let limit = format!("{}rails.max_purge_rows_per_day = 1\n", with_token());
    let running = with_duplicates(&limit).await;
    let (table, day) = (Table::RadarCounts, wednesday());
    let path = format!("{DAY}/approve");
    let yes = |digest: &str| json!({"digest": digest, "reason": "seen"});
    problem(running.act(&path, yes("d")).await, StatusCode::CONFLICT).await;
    let held = running.city.repair(table, day, Depth::Keys).await;
    assert_eq!(held.state, DayState::Held);
    let facts = running.json(DAY).await;
    let digest = held.refusal.unwrap().digest;
    let approve = &facts["approve"];
    assert_eq!(approve["digest"], digest);
    assert!(approve["commands"][1].as_str().unwrap().ends_with(&digest));
    let breach = facts["evidence"]["breaches"][0]["text"].as_str().unwrap();
    assert!(breach.contains("max_purge_rows_per_day"), "{breach}");

    let answer = running.act(&path, yes(&digest[..12])).await;
    problem(answer, StatusCode::CONFLICT).await;
    assert_eq!(
        running.act(&path, yes(&digest)).await.status(),
        StatusCode::OK
    );
    let facts = running.json(DAY).await;
    assert_eq!(facts["approve"]["approval"]["by"], "api@127.0.0.1");
    assert_eq!(facts["acts"][0]["act"], "approve");
    let repaired = running.city.repair(table, day, Depth::Keys).await;
    assert_eq!(repaired.state, DayState::Repaired, "{:?}", repaired.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_lifts_nothing_but_budgets() {
    let running = with_duplicates(&with_token()).await;
    let (table, day) = (Table::RadarCounts, wednesday());
    let hold = running
        .act(&format!("{DAY}/hold"), json!({"reason": "recount"}))
        .await;
    assert_eq!(hold.status(), StatusCode::OK);
    let held = running.city.repair(table, day, Depth::Keys).await;
    assert_eq!(held.state, DayState::Held);
    let body = json!({"digest": held.refusal.unwrap().digest, "reason": "seen"});
    let answer = running.act(&format!("{DAY}/approve"), body).await;
    let detail = problem(answer, StatusCode::CONFLICT).await;
    assert!(detail.contains("held by mark"), "{detail}");
}
