//! Applications and their lanes.

use std::thread;
use std::time::Duration;

use countersign::remote::PeerRole;
use countersign::remote::hello::{ApplicationSecret, Hello, Refusal};
use cryptoki_sys::{CKR_DEVICE_REMOVED, CKR_HOST_MEMORY};

use super::support::{Client, FAIL, PANIC, Told, WAIT, as_another_user, refused, serve, serve_with};

#[test]
fn each_connection_is_an_application_in_the_role_of_its_door() {
    let served = serve();
    let greeted = |config, first_handle| {
        Client::greet(config, Hello { join: None, first_handle }).expect("it is welcome")
    };
    let (backend, administrator) = (served.backend(), served.administrator());
    let mut clients = [greeted(&backend, 7), greeted(&administrator, 8), greeted(&backend, 9)];
    clients.iter_mut().for_each(|client| client.assert_echo(b"hello"));
    let ourselves = format!("user {}", nix::unistd::geteuid());
    let opened = |handle, role| (handle, role, ourselves.clone());
    let expected =
        [opened(7, PeerRole::Backend), opened(8, PeerRole::Administrator), opened(9, PeerRole::Backend)];
    assert_eq!(served.mock.state().opened, expected);
    assert_eq!(served.metric("countersign_applications{role=\"backend\"}"), 2.0);
    assert_eq!(served.metric("countersign_connections{door=\"administrators\"}"), 1.0);
    assert_ne!(clients[0].secret.as_bytes(), clients[2].secret.as_bytes());
    drop(clients);
    served.assert_well();
}

#[test]
fn a_further_lane_carries_calls_at_the_same_time() {
    let served = serve();
    let mut first = served.client();
    let mut second = Client::join(&served.backend(), &first.secret).expect("it is welcome");
    assert_eq!(second.secret.as_bytes(), first.secret.as_bytes());
    first.framed.write([&[WAIT], &[]]).expect("it is taken");
    served.mock.wait_for("the call", |state| state.in_flight == 1);
    second.assert_echo(b"meanwhile");
    assert_eq!(served.mock.state().opened.len(), 1);
    served.mock.release();
    assert_eq!(first.answer(), Some(Told::Answer(vec![WAIT])));
    drop((first, second));
    served.assert_well();
}

#[test]
fn nobody_joins_with_a_wrong_secret_or_as_another_peer() {
    let served = serve_with(|config| {
        let door = config.backend.as_mut().expect("it is there");
        door.users.push(countersign::shell::config::UserName::Id(65534));
    });
    let mut client = served.client();
    let backend = served.backend();
    for place in 0..32 {
        let mut wrong = *client.secret.as_bytes();
        wrong[place] ^= 1;
        assert_eq!(
            refused(Client::join(&backend, &ApplicationSecret::new(wrong))),
            Refusal::UnknownApplication
        );
    }
    let as_administrator = Client::join(&served.administrator(), &client.secret);
    assert_eq!(refused(as_administrator), Refusal::UnknownApplication, "the same user at another door");
    let secret = client.secret.clone();
    as_another_user(|_| {
        assert_eq!(refused(Client::join(&backend, &secret)), Refusal::UnknownApplication);
        Client::open(&backend).expect("as such it is welcome").assert_echo(b"mine");
    });
    client.assert_echo(b"unharmed");
    let secret = client.secret.clone();
    drop(client);
    served.mock.wait_until_all_are_closed();
    assert_eq!(refused(Client::join(&backend, &secret)), Refusal::UnknownApplication, "it is over");
    served.assert_well();
}

#[test]
fn the_loss_of_any_lane_ends_the_application_once() {
    for lost in 0..3 {
        let served = serve();
        let first = served.client();
        let join = || Client::join(&served.backend(), &first.secret).expect("it is welcome");
        let (second, third) = (join(), join());
        let mut lanes = vec![first, second, third];
        drop(lanes.remove(lost));
        lanes.iter_mut().for_each(Client::assert_over);
        served.assert_well();
    }
}

#[test]
fn an_application_is_closed_after_its_calls_have_ended() {
    let served = serve();
    let mut first = served.client();
    let mut waiting = Client::join(&served.backend(), &first.secret).expect("it is welcome");
    waiting.framed.write([&[WAIT], &[]]).expect("it is taken");
    served.mock.wait_for("the call", |state| state.in_flight == 1);
    // An invalid frame.
    assert!(first.framed.write([&[], &[]]).is_ok());
    first.assert_over();
    waiting.assert_over();
    assert_eq!(served.mock.state().closed, 0, "its call is still under way");
    let secret = first.secret.clone();
    assert_eq!(
        refused(Client::join(&served.backend(), &secret)),
        Refusal::UnknownApplication,
        "but nobody joins it"
    );
    served.mock.release();
    served.assert_well();
}

#[test]
fn lanes_that_come_and_go_at_once_close_their_application_once() {
    let served = serve();
    for _ in 0..50 {
        let first = served.client();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Another thread may have lost it already.
                    if let Ok(mut lane) = Client::join(&served.backend(), &first.secret) {
                        let _ = lane.call(b"e");
                    }
                });
            }
        });
    }
    served.assert_well();
}

#[test]
fn a_refusal_by_the_module_reaches_the_client() {
    let served = serve();
    let refusing = Client::greet(&served.backend(), Hello { join: None, first_handle: u64::MAX });
    assert_eq!(refused(refusing), Refusal::Module(CKR_HOST_MEMORY));
    let mut client = served.client();
    assert_eq!(client.call(&[FAIL]), Some(Told::Closed(CKR_DEVICE_REMOVED)));
    client.assert_over();
    assert_eq!(served.metric("countersign_calls_total{outcome=\"closed\"}"), 1.0);
    served.assert_well();
}

#[test]
fn a_panic_in_a_call_ends_its_application_alone() {
    let served = serve();
    let mut neighbour = served.client();
    let mut client = served.client();
    assert_eq!(client.call(&[PANIC]), None);
    neighbour.assert_echo(b"undisturbed");
    drop(neighbour);
    served.assert_well();
}

#[test]
fn a_silent_application_is_closed_and_a_silent_lane_of_an_active_one_is_not() {
    let served = serve_with(|config| config.limits.idle = Duration::from_millis(300));
    let mut silent = served.client();
    let mut active = served.client();
    let mut resting = Client::join(&served.backend(), &active.secret).expect("it is welcome");
    let mut calling = served.client();
    calling.framed.write([&[WAIT], &[]]).expect("it is taken");
    // Until the silent one is closed, and for as long again, the active one makes calls.
    let begun = std::time::Instant::now();
    while served.mock.state().closed == 0 || begun.elapsed() < Duration::from_millis(900) {
        assert!(begun.elapsed() < super::support::LONG, "the silent one stays");
        active.assert_echo(b"active");
        thread::sleep(Duration::from_millis(5));
    }
    silent.assert_over();
    resting.assert_echo(b"still here");
    served.mock.release();
    assert_eq!(calling.answer(), Some(Told::Answer(vec![WAIT])), "a call under way is no silence");
    // Now all of them are silent.
    active.assert_over();
    resting.assert_over();
    calling.assert_over();
    served.mock.wait_until_all_are_closed();
}
