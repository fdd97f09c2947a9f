//! Stopping.

use std::thread;
use std::time::Duration;

use super::support::{Client, LARGE, Told, WAIT, serve, serve_with};

#[test]
fn stopping_answers_calls_under_way_and_admits_nobody() {
    let served = serve();
    let mut idle = served.client();
    let mut calling = served.client();
    calling.framed.write([&[WAIT], &[]]).expect("it is taken");
    served.mock.wait_for("the call", |state| state.in_flight == 1);
    let (backend, mock, server) = (served.backend(), served.mock, served.server);
    let stopped = thread::spawn(move || server.stop());
    // Idle connections are closed at once.
    idle.assert_over();
    mock.wait_for("the end of the idle one", |state| state.closed == 1);
    super::support::eventually("a closed door", || Client::open(&backend).is_err());
    assert!(!stopped.is_finished(), "a call is under way");
    mock.release();
    assert_eq!(calling.answer(), Some(Told::Answer(vec![WAIT])));
    calling.assert_over();
    assert_eq!(stopped.join().expect("no panic"), 0);
    mock.wait_until_all_are_closed();
    assert!(!served.folder.path().join("backend.sock").exists(), "the socket is taken away");
}

#[test]
fn a_lane_that_ends_because_the_server_stops_cuts_off_no_answer_of_another() {
    let served = serve();
    let mut idle = served.client();
    let mut calling =
        [(), ()].map(|()| Client::join(&served.backend(), &idle.secret).expect("it is welcome"));
    for lane in &mut calling {
        lane.framed.write([&[WAIT], &[]]).expect("it is taken");
    }
    served.mock.wait_for("the calls", |state| state.in_flight == 2);
    let (mock, server) = (served.mock, served.server);
    let stopped = thread::spawn(move || server.stop());
    // The client sees this after its lane has ended.
    idle.assert_over();
    mock.release();
    for lane in &mut calling {
        assert_eq!(lane.answer(), Some(Told::Answer(vec![WAIT])));
        lane.assert_over();
    }
    assert_eq!(stopped.join().expect("no panic"), 0);
    mock.wait_until_all_are_closed();
}

#[test]
fn calls_that_do_not_end_are_not_waited_for_without_end() {
    let served = serve_with(|config| config.limits.stop = Duration::from_millis(50));
    let mut calling = served.client();
    calling.framed.write([&[WAIT], &[]]).expect("it is taken");
    served.mock.wait_for("the call", |state| state.in_flight == 1);
    let mock = served.mock;
    assert_eq!(served.server.stop(), 1);
    calling.assert_over();
    assert_eq!(mock.state().closed, 0, "its call is still under way");
    mock.release();
    mock.wait_until_all_are_closed();
}

#[test]
fn a_peer_that_does_not_read_its_answer_does_not_delay_the_stop() {
    let served = serve_with(|config| config.limits.stop = Duration::from_millis(50));
    let mut client = served.client();
    client.framed.write([&[LARGE], &[8]]).expect("it is taken");
    served.mock.wait_for("the end of the call", |state| state.most_in_flight == 1 && state.in_flight == 0);
    assert_eq!(served.server.stop(), 0);
    served.mock.wait_until_all_are_closed();
}

#[test]
fn a_server_that_is_dropped_ends() {
    let served = serve();
    let mut client = served.client();
    drop(served.server);
    client.assert_over();
    served.mock.wait_until_all_are_closed();
}
