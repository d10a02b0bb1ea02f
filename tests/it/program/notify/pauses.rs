//! A webhook that requests a pause gets no request for that time, from any message or replica.

use super::*;

/// Several messages that are due.
async fn waiting(messages: i64) -> Scene {
    let scene = Scene::at("/hook", "").await;
    for number in 0..messages {
        scene
            .becomes(wednesday().plus(number), State::Differs, None)
            .await;
    }
    scene
}

/// Runs the notifier every five seconds for this long. Returns the number of requests to the
/// webhook.
async fn requests_within(scene: &Scene, notifier: &mut Notifier, seconds: i64) -> usize {
    let before = scene.request_count();
    for _ in 0..seconds / 5 {
        notifier.turn(&scene.world).await.unwrap();
        scene.advance(TimeDelta::seconds(5));
    }
    scene.request_count() - before
}

/// The HTTP date after this span, by the real clock, which dates the receiver's answers.
fn date_in(span: TimeDelta) -> String {
    let date = Utc::now() + span;
    date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_pause_applies_to_every_message_and_across_restarts() {
    let asks = [
        (429, "600".to_owned()),
        (503, "600".to_owned()),
        (429, date_in(TimeDelta::seconds(600))),
        (503, date_in(TimeDelta::seconds(600))),
    ];
    for (status, wait) in asks {
        let scene = waiting(14).await;
        scene.answer_with([Reply::Refuse(status, Some(wait.clone()))]);
        let mut notifier = scene.notifier("host:1:a");
        let request_count = requests_within(&scene, &mut notifier, 300).await;
        assert_eq!(request_count, 1, "{status} {wait}");
        // Another program, or this one after a restart, reads the pause from the ledger.
        let mut next = scene.notifier("host:2:b");
        assert_eq!(
            requests_within(&scene, &mut next, 290).await,
            0,
            "{status} {wait}"
        );
        // HTTP dates have whole seconds, and the two clocks are read at different moments.
        requests_within(&scene, &mut next, 60).await;
        assert_eq!(scene.kept().len(), 14, "{status} {wait}");
        assert_eq!(scene.request_count(), 15, "{status} {wait}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excessive_pause_is_limited_to_some_hours() {
    for wait in [
        "31536000",
        "18446744073709551615",
        &date_in(TimeDelta::days(365)),
    ] {
        let scene = waiting(2).await;
        scene.answer_with([Reply::Refuse(429, Some(wait.to_owned()))]);
        let mut notifier = scene.notifier("host:1:a");
        notifier.turn(&scene.world).await.unwrap();
        scene.advance(TimeDelta::minutes(359));
        notifier.turn(&scene.world).await.unwrap();
        assert_eq!(scene.request_count(), 1, "{wait}");
        scene.advance(TimeDelta::minutes(1));
        notifier.turn(&scene.world).await.unwrap();
        let kept = scene.kept();
        let changes = kept.iter().filter(|one| one["kind"] == "changed");
        assert_eq!(changes.count(), 2, "{wait}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_webhook_gets_fewer_and_fewer_requests() {
    let scene = waiting(14).await;
    scene.receiver.refuse.store(usize::MAX, Ordering::SeqCst);
    let mut notifier = scene.notifier("host:1:a");
    // At 0, 15, 45, 105, 225 and 465 seconds.
    assert_eq!(requests_within(&scene, &mut notifier, 600).await, 6);
    scene.receiver.refuse.store(0, Ordering::SeqCst);
    scene.advance(TimeDelta::hours(1));
    requests_within(&scene, &mut notifier, 5).await;
    assert_eq!(scene.kept().len(), 14);
    // After a success, the pauses start from the shortest again.
    scene.answer_with([Reply::Refuse(500, None)]);
    scene.becomes(wednesday(), State::InSync, None).await;
    assert_eq!(requests_within(&scene, &mut notifier, 20).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_requested_for_the_digest_applies_to_messages_too() {
    let scene = waiting(0).await;
    scene.advance(TimeDelta::hours(7));
    scene.answer_with([Reply::Refuse(429, Some("600".into()))]);
    let mut notifier = scene.notifier("host:1:a");
    notifier.turn(&scene.world).await.unwrap();
    assert_eq!(scene.request_count(), 1, "the digest");
    scene.becomes(wednesday(), State::Differs, None).await;
    assert_eq!(requests_within(&scene, &mut notifier, 595).await, 0);
    requests_within(&scene, &mut notifier, 30).await;
    let kinds: Vec<Json> = (scene.kept().iter())
        .map(|message| message["kind"].clone())
        .collect();
    assert_eq!(kinds, ["changed", "digest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_that_is_never_accepted_does_not_block_the_others() {
    let scene = waiting(3).await;
    let mut notifier = scene.notifier("host:1:a");
    let refused = || Reply::Refuse(400, None);
    scene.answer_with([refused()]);
    assert_eq!(requests_within(&scene, &mut notifier, 15).await, 1);
    scene.advance(TimeDelta::seconds(1));
    notifier.turn(&scene.world).await.unwrap();
    assert_eq!(scene.kept().len(), 3, "the others go first");
}
