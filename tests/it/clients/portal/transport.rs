//! Connections that break or stall, and refusals that may be temporary.

use super::*;

#[tokio::test]
async fn a_body_cut_anywhere_is_requested_again() {
    for fate in [
        Fate::Cut(0),
        Fate::Cut(60),
        Fate::CleanCut(0),
        Fate::CleanCut(60),
        Fate::Reset,
    ] {
        survives(Kind::Page, 1, move |honest| honest.fate(fate)).await;
    }
    survives(Kind::Page, 1, |honest| {
        let whole = honest.body.len();
        honest.fate(Fate::CleanCut(whole - 1))
    })
    .await;
}

#[tokio::test]
async fn only_the_page_with_a_broken_body_is_requested_again() {
    let stage = survives(Kind::Page, 1, |honest| honest.body("[{\"record_id\":]\n")).await;
    assert_eq!(stage.asked(Kind::Page).len(), 4);
    assert_eq!(stage.asked(Kind::Count).len(), 2);
}

#[tokio::test]
async fn a_page_that_is_always_cut_short_is_inconclusive() {
    let error = fails(Kind::Page, |_, honest| honest.fate(Fate::CleanCut(60))).await;
    let ReadError::Request { source, .. } = error else {
        panic!("{error}");
    };
    assert!(matches!(
        source,
        RequestError::NotJson {
            what: "cut short or broken"
        }
    ));
}

#[tokio::test]
async fn a_web_page_behind_a_200_is_not_data() {
    survives(Kind::Page, 0, |_| Reply::html(200)).await;
    survives(Kind::Metadata, 0, |_| Reply::html(200)).await;
    let error = fails(Kind::Count, |_, _| Reply::html(200)).await;
    assert!(matches!(
        error,
        ReadError::Request {
            source: RequestError::NotJson { .. },
            ..
        }
    ));
}

#[tokio::test]
async fn temporary_errors_are_retried() {
    for status in [408, 429, 500, 502, 503, 504] {
        let stage = survives(Kind::Page, 1, move |_| Reply::html(status)).await;
        assert_eq!(stage.asked(Kind::Page).len(), 4, "{status}");
    }
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for status in [400, 401, 403, 404, 409, 410, 413, 414] {
        let stage = ten(move |_, _, _| {
            Reply::json(status, &json!({"code": "x.y", "message": "no\u{1b}[2J"}))
        })
        .await;
        let error = read_keys(&stage).await.unwrap_err();
        let source = error.source().unwrap().to_string();
        let said = match status {
            401 | 403 => format!(
                "the table is private, and it was read with the app token, which is no login (status {status}: no\\u{{1b}}[2J); set socrata.read_as"
            ),
            404 => format!(
                "the portal has no dataset with this id (status {status}: no\\u{{1b}}[2J); correct the dataset's id"
            ),
            _ => format!("the portal answered with status {status}: no\\u{{1b}}[2J"),
        };
        assert!(source.starts_with(&said), "{source}");
        assert_eq!(stage.asks().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn retries_end() {
    let stage = ten(|_, _, _| Reply::html(503)).await;
    let portal = portal(&stage);
    let id = ID.parse().unwrap();
    assert!(Reader::new(Arc::clone(&portal)).shape(&id).await.is_err());
    assert_eq!(stage.asks().len(), 4);
    assert_eq!(portal.requests()[&("metadata", 503)], 4);
    assert_eq!(portal.traffic().retries["server_error"], 3);
}

#[tokio::test]
async fn throttling_is_obeyed_for_as_long_as_the_portal_requests() {
    for (asked, date) in [
        ("1", "x"),
        (
            "Thu, 01 Oct 2020 12:00:01 GMT",
            "Thu, 01 Oct 2020 12:00:00 GMT",
        ),
    ] {
        let stage = ten(move |ask, _, honest| match ask.nth {
            0 => Reply::html(429)
                .with("Retry-After", asked)
                .with("Date", date),
            _ => honest,
        })
        .await;
        let patience = Patience {
            longest_pause: Duration::from_secs(5),
            ..hasty()
        };
        let portal = Portal::open_with(&settings(&stage.url), patience).unwrap();
        let started = Instant::now();
        Reader::new(portal)
            .shape(&ID.parse().unwrap())
            .await
            .unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1), "{asked}");
    }
    // the maximum pause is a setting of the client
    survives(Kind::Page, 0, |_| {
        Reply::html(429).with("Retry-After", "86400")
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_only_accepted_is_requested_again() {
    survives(Kind::Page, 0, |_| {
        Reply::json(202, &json!({})).with("Retry-After", "0")
    })
    .await;
    let stage = survives(Kind::Page, 0, |_| {
        Reply::json(202, &json!({"ticket": "t &1"}))
    })
    .await;
    assert_eq!(stage.asked(Kind::Page)[1].query["ticket"], "t &1");
    let stage = ten(|ask, world, honest| {
        let Kind::Page = ask.kind else { return honest };
        if ask.query.contains_key("later") {
            world.answer(ask)
        } else {
            Reply::json(202, &json!({})).with("Location", &format!("{}&later=1", ask.target))
        }
    })
    .await;
    assert_eq!(read_keys(&stage).await.unwrap().count, 10);
}

#[tokio::test]
async fn a_portal_that_never_finishes_is_abandoned() {
    let error = fails(Kind::Page, |_, _| Reply::json(202, &json!({}))).await;
    assert!(matches!(
        error,
        ReadError::Request {
            source: RequestError::StillWorking,
            ..
        }
    ));
}

#[tokio::test]
async fn an_answer_that_times_out_is_requested_again() {
    let stage = ten(|ask, _, honest| match ask.nth {
        0 => honest.fate(Fate::Late(Duration::from_secs(30))),
        _ => honest,
    })
    .await;
    let mut settings = settings(&stage.url);
    settings.request_timeout = Duration::from_millis(100);
    let portal = Portal::open_with(&settings, hasty()).unwrap();
    Reader::new(portal)
        .shape(&ID.parse().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn compressed_answers_are_limited_by_their_uncompressed_size() {
    survives(Kind::Page, 1, Reply::gzipped).await;
    survives(Kind::Page, 1, |honest| {
        let packed = honest.gzipped();
        let kept = packed.body.len() - 12;
        packed.fate(Fate::CleanCut(kept))
    })
    .await;
    let stage = ten(|_, _, honest| honest.body(" ".repeat(1 << 20)).gzipped()).await;
    let patience = Patience {
        max_body_bytes: 10_000,
        ..hasty()
    };
    let portal = Portal::open_with(&settings(&stage.url), patience).unwrap();
    let read = Reader::new(portal).shape(&ID.parse().unwrap()).await;
    let error = read.unwrap_err();
    assert!(matches!(
        error,
        ReadError::Request {
            source: RequestError::TooBig { limit: 10_000 },
            ..
        }
    ));
}

#[tokio::test]
async fn concurrent_requests_are_limited() {
    let stage =
        Arc::new(ten(|_, _, honest| honest.fate(Fate::Late(Duration::from_millis(10)))).await);
    let mut settings = settings(&stage.url);
    settings.max_in_flight = 2;
    let reader = Reader::new(Portal::open_with(&settings, hasty()).unwrap());
    let read_day = || {
        let reader = reader.clone();
        tokio::spawn(async move { reader.shape(&ID.parse().unwrap()).await })
    };
    let reads: Vec<_> = (0..10).map(|_| read_day()).collect();
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert_eq!(stage.most_under_way(), 2);
}

#[tokio::test]
async fn the_request_rate_is_limited() {
    let stage = ten(|_, _, honest| honest).await;
    let mut settings = settings(&stage.url);
    settings.requests_per_second = 20;
    let portal = Portal::open_with(&settings, hasty()).unwrap();
    let reader = Reader::new(Arc::clone(&portal));
    let started = Instant::now();
    for _ in 0..25 {
        reader.shape(&ID.parse().unwrap()).await.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert!(portal.traffic().throttled > Duration::ZERO);
}
