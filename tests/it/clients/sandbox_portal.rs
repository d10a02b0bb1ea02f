//! Tests of the stand-in portal over real HTTP: headers, paging, formats, logins, replicas and
//! every fault.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sodalake::sandbox::portal::{
    ColumnType, CutAt, Fault, Faults, Hint, Portal, PortalOptions, ReplicaOptions, Replicas,
    Serving, TableSpec, Throttle,
};

const ID: &str = "abcd-2345";

struct World {
    portal: Portal,
    serving: Serving,
    client: Client,
}

impl World {
    async fn new(options: PortalOptions) -> World {
        let portal = Portal::new(options);
        let columns = [
            ("record_id", ColumnType::Text),
            ("read_date", ColumnType::CalendarDate),
            ("note", ColumnType::Text),
        ];
        portal.create(TableSpec::new(ID, &columns, Some("record_id")));
        let rows = (0..2000)
            .map(|n| {
                let row = json!({"record_id": format!("k{n:04}"), "read_date": "2021-06-01"});
                row.as_object().unwrap().clone()
            })
            .collect();
        portal
            .upsert_directly(ID, rows, chrono::DateTime::UNIX_EPOCH)
            .unwrap();
        let serving = portal
            .serve(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        World {
            portal,
            serving,
            client: crate::support::http::client(),
        }
    }

    fn get(&self, query: &[(&str, &str)]) -> RequestBuilder {
        self.client
            .get(format!("{}/resource/{ID}.json", self.serving.url))
            .query(query)
    }

    fn page(&self) -> RequestBuilder {
        self.get(&[
            ("$select", "record_id"),
            ("$order", "record_id"),
            ("$limit", "100"),
        ])
    }

    fn post(&self, body: &Value) -> RequestBuilder {
        let url = format!("{}/resource/{ID}.json", self.serving.url);
        self.client
            .post(url)
            .basic_auth("writer", Some("writer-password"))
            .json(body)
    }

    fn fault(&self, fault: Fault) {
        self.portal.set_faults(Faults::next(1, fault));
    }
}

async fn rows(request: RequestBuilder) -> Vec<Value> {
    request.send().await.unwrap().json().await.unwrap()
}

fn header<'r>(reply: &'r Response, name: &str) -> &'r str {
    reply
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_read_is_cut_at_a_thousand_rows_and_pages_by_key() {
    let world = World::new(PortalOptions::default()).await;
    let reply = world.get(&[]).send().await.unwrap();
    assert_eq!(
        header(&reply, "x-soda2-fields"),
        r#"["record_id","read_date","note"]"#
    );
    assert_eq!(
        header(&reply, "x-soda2-types"),
        r#"["text","floating_timestamp","text"]"#
    );
    assert_eq!(header(&reply, "x-soda2-data-out-of-date"), "false");
    assert_eq!(
        header(&reply, "content-type"),
        "application/json;charset=utf-8"
    );
    assert!(header(&reply, "content-length").is_empty());
    assert_eq!(header(&reply, "x-socrata-requestid").len(), 32);
    let since = header(&reply, "last-modified").to_owned();
    assert_eq!(reply.json::<Vec<Value>>().await.unwrap().len(), 1000);
    let unchanged = world
        .get(&[])
        .header("if-modified-since", since)
        .send()
        .await
        .unwrap();
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);

    let mut last = String::new();
    let mut seen = 0;
    loop {
        let filter = format!("read_date >= '2021-06-01' and record_id > '{last}'");
        let query = [
            ("$where", &*filter),
            ("$order", "record_id"),
            ("$limit", "700"),
        ];
        let page = rows(world.get(&query)).await;
        seen += page.len();
        let Some(row) = page.last() else { break };
        last = row["record_id"].as_str().unwrap().to_owned();
    }
    assert_eq!((seen, &*last), (2000, "k1999"));
}

#[tokio::test]
async fn csv_distinguishes_null_from_empty_and_gzip_works_both_ways() {
    let world = World::new(PortalOptions::default()).await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed
        .write_all(br#"[{"record_id":"k0000","note":""}]"#)
        .unwrap();
    let sent = world
        .post(&Value::Null)
        .header("content-encoding", "gzip")
        .body(packed.finish().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(sent.json::<Value>().await.unwrap()["Rows Updated"], 1);
    let url = format!(
        "{}/resource/{ID}.csv?$select=record_id,note&$order=:id&$limit=2",
        world.serving.url
    );
    let plain = crate::support::http::client()
        .get(&url)
        .send()
        .await
        .unwrap();
    assert_eq!(
        plain.text().await.unwrap(),
        "\"record_id\",\"note\"\n\"k0000\",\"\"\n\"k0001\",\n"
    );
    let raw = sodalake::outgoing::client(sodalake::outgoing::Wire::Plain)
        .no_gzip()
        .build()
        .unwrap();
    let packed = raw
        .get(&url)
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&packed, "content-encoding"), "gzip");
}

#[tokio::test]
async fn logins_tokens_and_wrong_requests_are_refused_as_on_the_real_portal() {
    let world = World::new(PortalOptions::default()).await;
    let url = format!("{}/resource/{ID}.json", world.serving.url);
    let status = async |request: RequestBuilder| request.send().await.unwrap().status().as_u16();
    let empty = || world.client.post(&url).json(&json!([]));
    assert_eq!(status(empty()).await, 403);
    assert_eq!(
        status(empty().basic_auth("writer", Some("wrong"))).await,
        401
    );
    assert_eq!(
        status(empty().basic_auth("reader", Some("reader-password"))).await,
        403
    );
    assert_eq!(
        status(world.get(&[]).header("x-app-token", "made-up")).await,
        403
    );
    assert_eq!(
        status(world.get(&[]).header("x-app-token", "sandbox-app-token")).await,
        200
    );
    assert_eq!(status(world.get(&[("nope", "1")])).await, 400);
    assert_eq!(status(world.get(&[("$where", "xyz = 1")])).await, 400);
    assert_eq!(
        status(
            world
                .client
                .patch(&url)
                .basic_auth("writer", Some("writer-password"))
        )
        .await,
        405
    );
    assert_eq!(status(world.post(&json!([{"other": 1}]))).await, 400);
    let row = format!("{}/resource/{ID}/k0001", world.serving.url);
    let delete = || {
        world
            .client
            .delete(&row)
            .basic_auth("writer", Some("writer-password"))
    };
    assert_eq!(status(delete()).await, 200);
    assert_eq!(status(delete()).await, 404);
    let view = format!("{}/api/views/{ID}.json", world.serving.url);
    assert_eq!(
        status(
            world
                .client
                .delete(&view)
                .basic_auth("writer", Some("writer-password"))
        )
        .await,
        403
    );
    assert_eq!(world.portal.rows(ID).len(), 1999);
    let bulk = format!("{}/api/views/{ID}/rows.csv", world.serving.url);
    assert_eq!(status(world.client.get(bulk)).await, 410);
    assert!(
        world
            .portal
            .requests()
            .iter()
            .any(|record| record.status == 405)
    );
}

#[tokio::test]
async fn lagging_replicas_return_old_rows_and_say_so() {
    let each = vec![ReplicaOptions::default(), ReplicaOptions::stuck()];
    let world = World::new(PortalOptions::default()).await;
    world.portal.set_replicas(Replicas {
        each,
        flag_lag_ms: 0,
    });
    world
        .post(&json!([{"record_id": "new"}]))
        .send()
        .await
        .unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let reply = world.get(&[("record_id", "new")]).send().await.unwrap();
        let flag = header(&reply, "x-soda2-data-out-of-date").to_owned();
        seen.insert((flag, reply.json::<Vec<Value>>().await.unwrap().len()));
    }
    assert_eq!(
        seen,
        [("false".to_owned(), 1), ("true".to_owned(), 0)].into()
    );
}

#[tokio::test]
async fn a_fault_before_processing_changes_nothing() {
    let world = World::new(PortalOptions::default()).await;
    for (fault, status) in [
        (
            Fault::Throttled {
                retry_after_seconds: Some(3),
            },
            429,
        ),
        (
            Fault::Accepted {
                hint: Hint::Seconds,
            },
            202,
        ),
        (Fault::LockConflict, 500),
        (Fault::Gateway { status: 502 }, 502),
        (Fault::EmptyGatewayTimeout, 504),
        (Fault::Unavailable, 503),
        (Fault::QueryTimeout, 408),
        (Fault::LoginPage, 200),
    ] {
        world.fault(fault.clone());
        let reply = world
            .post(&json!([{"record_id": "new"}]))
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status().as_u16(), status, "{fault:?}");
        assert_eq!(world.portal.rows(ID).len(), 2000, "{fault:?}");
    }
    world.fault(Fault::Reset);
    assert!(
        world
            .post(&json!([{"record_id": "new"}]))
            .send()
            .await
            .is_err()
    );
    assert_eq!(world.portal.rows(ID).len(), 2000);
}

#[tokio::test]
async fn a_body_is_cut_where_the_fault_says() {
    let world = World::new(PortalOptions::default()).await;
    for at in [CutAt::RowBoundary, CutAt::InString, CutAt::BeforeBracket] {
        world.fault(Fault::Cut { at });
        let reply = world.page().send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        assert!(reply.bytes().await.is_err(), "{at:?}");
    }
    world.fault(Fault::Cut {
        at: CutAt::MissingBracket,
    });
    let text = world.page().send().await.unwrap().text().await.unwrap();
    assert!(text.ends_with("\"k0099\"}"), "{text}");
    for (fault, count) in [
        (
            Fault::Cut {
                at: CutAt::MissingRows,
            },
            50,
        ),
        (Fault::EmptyArray, 0),
        (Fault::RepeatedRow, 101),
        (Fault::SkippedRow, 99),
        (
            Fault::Drip {
                bytes: 200,
                pause_ms: 1,
            },
            100,
        ),
    ] {
        world.fault(fault.clone());
        assert_eq!(rows(world.page()).await.len(), count, "{fault:?}");
    }
    let patience = Duration::from_millis(300);
    for fault in [Fault::Stall { after_bytes: 20 }, Fault::Delay { ms: 5000 }] {
        world.fault(fault.clone());
        let late = async { world.page().send().await?.bytes().await };
        assert!(
            tokio::time::timeout(patience, late).await.is_err(),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn headers_can_be_missing_or_wrong_and_rows_can_change_between_pages() {
    let world = World::new(PortalOptions::default()).await;
    let has = |reply: &Response, name: &str| reply.headers().contains_key(name);
    world.fault(Fault::NoSodaHeaders);
    let reply = world.page().send().await.unwrap();
    assert!(!has(&reply, "x-soda2-fields") && !has(&reply, "x-soda2-data-out-of-date"));
    world.fault(Fault::NoFieldHeaders);
    let reply = world.page().send().await.unwrap();
    assert!(!has(&reply, "x-soda2-fields") && has(&reply, "x-soda2-data-out-of-date"));
    world.fault(Fault::Flag { out_of_date: true });
    let reply = world.page().send().await.unwrap();
    assert_eq!(header(&reply, "x-soda2-data-out-of-date"), "true");
    world.fault(Fault::TouchesAfter { rows: 1 });
    let before = header(&world.page().send().await.unwrap(), "etag").to_owned();
    assert_ne!(header(&world.page().send().await.unwrap(), "etag"), before);
    world.fault(Fault::DeletesAfter { rows: 5 });
    assert_eq!(rows(world.page()).await.len(), 100);
    assert_eq!(world.portal.rows(ID).len(), 1995);
}

#[tokio::test]
async fn a_write_can_be_applied_although_its_answer_does_not_say_so() {
    let world = World::new(PortalOptions::default()).await;
    let exists = |key: &str| {
        world
            .portal
            .rows(ID)
            .iter()
            .any(|row| row["record_id"] == key)
    };
    let send = |key: &str| world.post(&json!([{"record_id": key}])).send();
    world.fault(Fault::AppliedThenReset);
    assert!(send("a").await.is_err() && exists("a"));
    world.fault(Fault::AppliedThenGateway { status: 502 });
    assert!(send("b").await.unwrap().status() == 502 && exists("b"));
    world.fault(Fault::SavedButRefused);
    let reply = send("c").await.unwrap();
    assert!(reply.status() == 400 && exists("c"));
    assert!(reply.text().await.unwrap().contains("Row data was saved."));
    world.fault(Fault::RowsRefused { rows: 1 });
    let summary: Value = send("d").await.unwrap().json().await.unwrap();
    assert!(summary["Errors"] == 1 && !exists("d"));
    world.fault(Fault::WrongCounts);
    let summary: Value = send("e").await.unwrap().json().await.unwrap();
    assert!(summary["Rows Created"] == 0 && exists("e"));
    world.fault(Fault::DeliveredTwice);
    let summary: Value = send("f").await.unwrap().json().await.unwrap();
    assert!(summary["Rows Updated"] == 1 && exists("f"));
    let applied = world.portal.requests();
    assert_eq!(
        applied
            .iter()
            .filter(|record| record.effects.is_some())
            .count(),
        6
    );
}

#[tokio::test]
async fn too_many_or_too_large_requests_are_refused() {
    let throttle = Some(Throttle {
        requests: 2,
        seconds: 3600,
        sends_retry_after: true,
    });
    let limits = PortalOptions {
        throttle,
        max_body_bytes: 50,
        max_uri_bytes: 300,
        ..PortalOptions::default()
    };
    let world = World::new(limits).await;
    let long = "x".repeat(400);
    assert_eq!(
        world
            .get(&[("note", &*long)])
            .send()
            .await
            .unwrap()
            .status(),
        414
    );
    assert_eq!(
        world
            .post(&json!([{"record_id": long}]))
            .send()
            .await
            .unwrap()
            .status(),
        413
    );
    assert_eq!(world.page().send().await.unwrap().status(), 200);
    assert_eq!(world.page().send().await.unwrap().status(), 200);
    let refused = world.page().send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(header(&refused, "retry-after").parse::<u32>().is_ok());
}
