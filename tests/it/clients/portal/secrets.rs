//! Which requests carry the password and the app token, and which do not.

use super::*;

#[tokio::test]
async fn a_reader_sends_the_app_token_and_never_the_password() {
    let stage = Stage::honest(World::of(hex(10))).await;
    read_keys(&stage).await.unwrap();
    read_rows(&stage).await.unwrap();
    for ask in stage.asks() {
        assert_eq!(ask.headers["x-app-token"], TOKEN);
        assert!(!ask.headers.contains_key("authorization"), "{:?}", ask.kind);
        assert!(!ask.target.contains(TOKEN));
    }
}

/// A reader that sends the login, as with `socrata.read_as = "login"`.
fn logged_in(stage: &Stage) -> Reader {
    let settings = SocrataSettings {
        read_as: ReadAs::Login,
        ..settings(&stage.url)
    };
    Reader::new(Portal::open_with(&settings, hasty()).unwrap())
}

#[tokio::test]
async fn a_reader_with_a_login_sends_it_in_a_header_of_every_read() {
    let stage = Stage::honest(World::of(hex(10))).await;
    let (reader, table) = (logged_in(&stage), known_table().await);
    reader.shape(&table.id).await.unwrap();
    reader.survey(&table, DayRange::one(day())).await.unwrap();
    reader.keys(&table, day()).await.unwrap();
    reader.rows_by_key(&table, &keys(&hex(2))).await.unwrap();
    for ask in stage.asks() {
        let login = ask.headers.get("authorization").map(String::as_str);
        assert!(
            login.is_some_and(|sent| sent.starts_with("Basic ")),
            "{:?}",
            ask.kind
        );
        assert!(!ask.target.contains(PASSWORD));
    }
}

#[tokio::test]
async fn a_login_for_reading_is_sent_to_no_other_host() {
    let elsewhere = Stage::honest(World::of(hex(10))).await;
    let target = elsewhere.url.join("/resource/sh59-i6y9.json").unwrap();
    for status in [202, 301, 302, 303, 307, 308] {
        let target = target.clone();
        let stage = ten(move |ask, _, honest| match ask.kind {
            Kind::Metadata => honest,
            _ => Reply::json(status, &json!({})).with("Location", target.as_str()),
        })
        .await;
        let read = logged_in(&stage).keys(&known_table().await, day()).await;
        let error = read.unwrap_err();
        let redirected = matches!(
            error,
            ReadError::Request {
                source: RequestError::Redirect { .. },
                ..
            }
        );
        assert!(redirected, "{status}: {error:?}");
        assert!(!format!("{error:?}").contains(PASSWORD));
    }
    assert_eq!(elsewhere.asks().len(), 0);
}

#[test]
fn a_login_for_reading_is_never_sent_unencrypted() {
    let settings = |url: &str| SocrataSettings {
        read_as: ReadAs::Login,
        ..settings(&url.parse().unwrap())
    };
    let error = Portal::open(&settings("http://data.austintexas.gov/")).unwrap_err();
    assert!(matches!(error, PortalError::Url(_)), "{error}");
    let safe = settings("https://data.austintexas.gov/");
    assert!(Portal::open(&safe).is_ok());
    let mut lacking = safe.clone();
    lacking.password = None;
    let error = Portal::open(&lacking).unwrap_err().to_string();
    assert!(error.contains("socrata.password"), "{error}");
    lacking.username = Some(String::new());
    let error = Portal::open(&lacking).unwrap_err().to_string();
    assert!(error.contains("socrata.username"), "{error}");
}

#[tokio::test]
async fn a_refused_app_token_is_not_sent_again() {
    let stage = ten(|ask, _, honest| {
            if ask.headers.contains_key("x-app-token") {
                Reply::json(403, &json!({"code": "permission_denied", "error": true, "message": "Invalid app_token specified"}))
            } else {
                honest
            }
        })
        .await;
    assert_eq!(read_keys(&stage).await.unwrap().count, 10);
    let with_token = |ask: &&Ask| ask.headers.contains_key("x-app-token");
    assert_eq!(stage.asks().iter().filter(with_token).count(), 1);
}

#[tokio::test]
async fn a_refusal_that_persists_without_the_token_ends_the_retries() {
    let stage =
        ten(|_, _, _| Reply::json(403, &json!({"message": "Invalid app_token specified"}))).await;
    assert!(read_keys(&stage).await.is_err());
    assert_eq!(stage.asks().len(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_leaks_nothing() {
    let elsewhere = Arc::new(Stage::honest(World::of(hex(10))).await);
    for status in [301, 302, 303, 307, 308] {
        let target = elsewhere.url.join("/resource/sh59-i6y9.json").unwrap();
        let stage = ten(move |ask, _, honest| match ask.kind {
            Kind::Metadata => honest,
            _ => Reply::html(status).with("Location", target.as_str()),
        })
        .await;
        let table = known_table().await;
        let read = reader(&stage).keys(&table, day()).await.unwrap_err();
        let source = read.source().unwrap().to_string();
        assert!(source.contains(elsewhere.url.as_str()), "{source}");
        let written = writer(&stage).delete(&table, &keys(&hex(1))).await;
        let Err(WriteError::Refused { source, .. }) = written else {
            panic!("{written:?}");
        };
        assert!(matches!(source, RequestError::Redirect { .. }));
    }
    assert_eq!(elsewhere.asks().len(), 0);
}

#[tokio::test]
async fn a_query_ticket_for_another_host_is_not_followed() {
    let elsewhere = Stage::honest(World::of(hex(10))).await;
    let target = elsewhere.url.to_string();
    let error = fails(Kind::Page, move |_, _| {
        Reply::json(202, &json!({})).with("Location", &target)
    })
    .await;
    assert!(matches!(
        error,
        ReadError::Request {
            source: RequestError::Redirect { .. },
            ..
        }
    ));
    assert_eq!(elsewhere.asks().len(), 0);
}

#[tokio::test]
async fn errors_and_debug_output_contain_no_secret() {
    let stage = ten(|_, _, _| Reply::html(500).fate(Fate::Reset)).await;
    let error = read_keys(&stage).await.unwrap_err();
    let shown = format!("{error:?} {:?} {:?}", portal(&stage), writer(&stage));
    assert!(
        !shown.contains(TOKEN) && !shown.contains(PASSWORD),
        "{shown}"
    );
    assert!(!shown.contains("$where"), "{shown}");
}

#[test]
fn only_a_safe_address_is_a_portal() {
    let open = |url: &str| Portal::open(&settings(&url.parse().unwrap()));
    for url in [
        "https://data.austintexas.gov",
        "http://127.0.0.1:80/",
        "http://[::1]:80/",
        "http://localhost/",
    ] {
        assert!(open(url).is_ok(), "{url}");
    }
    for url in [
        "http://data.austintexas.gov/",
        "http://localhost.example/",
        "ftp://127.0.0.1/",
        "https://user:hunter2@data.austintexas.gov/",
        "https://data.austintexas.gov/resource",
        "https://data.austintexas.gov/?x=1",
    ] {
        let error = open(url).unwrap_err();
        assert!(matches!(error, PortalError::Url(_)), "{url}");
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_writer_names_the_secret_it_lacks() {
    let stage = Stage::honest(World::of(hex(0))).await;
    let mut settings = settings(&stage.url);
    settings.password = None;
    let error = Writer::new(portal(&stage), &settings).unwrap_err();
    assert_eq!(
        error.to_string(),
        "socrata.password is not set; writing to the portal needs it"
    );
    settings.username = None;
    let error = Writer::new(portal(&stage), &settings).unwrap_err();
    assert_eq!(
        error.to_string(),
        "socrata.username is not set; writing to the portal needs it"
    );
}
