//! Work continues while the webhook fails. Whatever happens meanwhile, the last message has the
//! current state, each state is reported once, and nothing outdated follows.

use super::*;

/// The events of a test, in order.
enum Event {
    /// The day reaches a state.
    Is(State),
    /// One of our passes brings it in sync.
    Repaired,
    /// A message is due, and is answered like this.
    Sent(Option<Reply>),
}

use Event::{Is, Repaired, Sent};
use State::{Differs, Held, InSync};

const UP: Event = Sent(None);

fn down() -> Event {
    Sent(Some(Reply::Refuse(503, None)))
}

/// Kind, previous state and new state of each message that has arrived after all events, once the
/// webhook works again.
async fn arrived(events: impl IntoIterator<Item = Event>) -> Vec<[String; 3]> {
    let scene = Scene::at("/hook", "").await;
    let mut notifier = scene.notifier("host:1:a");
    let events = events.into_iter().chain([UP, UP]);
    for event in events {
        scene.advance(TimeDelta::seconds(1));
        match event {
            Is(state) => scene.becomes(wednesday(), state, None).await,
            Repaired => {
                let pass = Some(Uuid::now_v7());
                scene.becomes(wednesday(), InSync, pass).await;
            }
            Sent(reply) => {
                scene.answer_with(reply);
                scene.advance(TimeDelta::minutes(20)); // past every pause
                notifier.turn(&scene.world).await.unwrap();
                let unused = std::mem::take(&mut *scene.receiver.replies.lock());
                assert_eq!(unused.len(), 0, "no message was due");
            }
        }
    }
    let text = |message: &Json, field: &str| message[field].as_str().unwrap_or_default().to_owned();
    let kept = scene
        .kept()
        .into_iter()
        .filter(|one| one["kind"] != "digest");
    kept.map(|message| ["kind", "was", "state"].map(|field| text(&message, field)))
        .collect()
}

macro_rules! arrives {
    ($($name:ident: [$($event:expr),*] => [$($message:expr),*];)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let messages: &[[&str; 3]] = &[$($message),*];
            assert_eq!(arrived([$($event),*]).await, messages);
        }
    )*};
}

arrives! {
    of_a_fault_that_came_and_went_unreported_nothing_is_said:
        [Is(Differs), down(), down(), Is(InSync)] => [];
    of_a_fault_that_our_pass_repaired_meanwhile_the_repair_is_said:
        [Is(Differs), down(), down(), Repaired] => [["repaired", "differs", "in-sync"]];
    a_fault_that_went_and_came_back_is_said_once:
        [Is(Differs), down(), Is(InSync), UP, Is(Differs), down()]
        => [["changed", "in-sync", "differs"]];
    what_changed_again_is_said_as_it_is_now:
        [Is(Differs), down(), Is(Held)] => [["changed", "in-sync", "held"]];
    a_reported_fault_that_went_is_said_however_often_it_changed:
        [Is(Differs), UP, Is(InSync), Is(Differs), Is(Held), Is(InSync), UP]
        => [["changed", "in-sync", "differs"], ["recovered", "differs", "in-sync"]];
    a_reported_fault_that_went_and_came_back_is_said_again:
        [Is(Differs), UP, Is(InSync), down(), Is(Differs)]
        => [["changed", "in-sync", "differs"], ["changed", "in-sync", "differs"]];
    a_fault_whose_message_may_have_arrived_is_followed_by_its_recovery:
        [Is(Differs), Sent(Some(Reply::Lose)), Is(InSync)]
        => [["changed", "in-sync", "differs"], ["recovered", "differs", "in-sync"]];
    a_fault_that_a_gateway_may_have_passed_on_is_followed_by_its_recovery:
        [Is(Differs), Sent(Some(Reply::Refuse(504, None))), Is(InSync)]
        => [["recovered", "differs", "in-sync"]];
    a_recovery_that_was_refused_is_said_later:
        [Is(Differs), UP, Is(InSync), down(), down()]
        => [["changed", "in-sync", "differs"], ["recovered", "differs", "in-sync"]];
    what_is_fine_either_way_is_not_news:
        [Is(Differs), UP, Is(InSync), UP, Is(State::Unsettled), UP, Is(State::KnownLost), UP]
        => [["changed", "in-sync", "differs"], ["recovered", "differs", "in-sync"]];
}

/// The task that has sent a message and waits for the answer is aborted, as in a crash.
async fn crashed_while_sending(scene: &Scene) {
    scene.answer_with([Reply::Hang]);
    let mut notifier = scene.notifier("host:1:a");
    let sending = notifier.turn(&scene.world);
    let received = async {
        while scene.kept().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        turned = sending => panic!("it was answered: {turned:?}"),
        () = received => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_before_a_crash_is_repeated_unchanged() {
    let scene = Scene::at("/hook", "").await;
    scene.becomes(wednesday(), Differs, None).await;
    crashed_while_sending(&scene).await;
    scene.advance(TimeDelta::minutes(2)); // its lease has run out
    let mut next = scene.notifier("host:2:b");
    assert_eq!(next.turn(&scene.world).await.unwrap(), 1);
    let kept = scene.kept();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0], kept[1]);
    assert_eq!(next.turn(&scene.world).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_reported_before_a_crash_and_gone_after_it_is_reported_as_gone() {
    let scene = Scene::at("/hook", "").await;
    scene.becomes(wednesday(), Differs, None).await;
    crashed_while_sending(&scene).await;
    scene.becomes(wednesday(), InSync, None).await;
    scene.advance(TimeDelta::minutes(2));
    let mut next = scene.notifier("host:2:b");
    assert_eq!(next.turn(&scene.world).await.unwrap(), 1);
    let kept = scene.kept();
    let states: Vec<&Json> = kept.iter().map(|message| &message["state"]).collect();
    assert_eq!(states, ["differs", "in-sync"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_alternating_replicas_send_each_state_once_and_in_order() {
    let scene = Scene::at("/hook", "").await;
    let mut replicas = [scene.notifier("host:1:a"), scene.notifier("host:2:b")];
    for state in [Differs, Held, Differs, InSync] {
        scene.becomes(wednesday(), state, None).await;
        scene.answer_with([Reply::Refuse(503, None)]);
        for _ in 0..2 {
            for replica in &mut replicas {
                scene.advance(TimeDelta::minutes(20)); // past the other's lease and every pause
                replica.turn(&scene.world).await.unwrap();
            }
        }
    }
    let kept = scene.kept();
    let states: Vec<&Json> = kept.iter().map(|message| &message["state"]).collect();
    assert_eq!(states, ["differs", "held", "differs", "in-sync"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_finding_is_reported_as_gone_however_late() {
    let scene = Scene::at("/hook", "").await;
    let mut notifier = scene.notifier("host:1:a");
    scene.becomes(wednesday(), Differs, None).await;
    notifier.turn(&scene.world).await.unwrap();
    scene.becomes(wednesday(), InSync, None).await;
    scene.advance(TimeDelta::hours(30));
    notifier.turn(&scene.world).await.unwrap();
    let kept = scene.kept();
    let states = kept.iter().filter(|one| one["kind"] != "digest");
    let states: Vec<&Json> = states.map(|message| &message["state"]).collect();
    assert_eq!(states, ["differs", "in-sync"]);
}
