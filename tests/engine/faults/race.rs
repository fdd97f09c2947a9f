//! `otp-replay`: one code in many hands at once.

use std::sync::Barrier;

use cryptoki_sys::*;

use harness::module::wallet::Payment;
use harness::module::{Boundary, PERIOD, approval, in_boundary, summarise, this_test};

use super::story::{self, authenticator, tell_of_many, wallets_of};

const THREADS: u64 = 64;
const ROUNDS: usize = 200;

/// In every second round, half of the threads ask for digests, with a key that has the same users as the
/// wallet.
#[test]
fn otp_replay_of_64_threads_with_one_code_and_64_requests_exactly_one_signs_200_times() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "story" => tell_of_many(boundary, &users(), PERIOD),
        _ => {
            boundary.allow_many_failures();
            boundary.run("story");
            race(boundary);
        }
    });
}

fn users() -> Vec<String> {
    (0..ROUNDS).map(|number| format!("user-{number}")).collect()
}

/// A round for each user.
fn race(boundary: &Boundary) {
    let (raw, session) = story::open();
    let users = users();
    let wallets = wallets_of(boundary, &raw, session, users.len());
    let sessions: Vec<CK_SESSION_HANDLE> = (0..THREADS).map(|_| raw.read_only()).collect();
    let (mut transactions, mut digests, mut incorrect, mut locked) = (0, 0, 0, 0);
    for (round, (user, wallet)) in users.iter().zip(&wallets).enumerate() {
        let psbts: Vec<Vec<u8>> = (0..THREADS)
            .map(|number| Payment { pay: 50_000 + number, ..Payment::default() }.psbt(&wallet.descriptor))
            .collect();
        let record = approval(user, &authenticator(boundary, user).code_away(1));
        let is_digest = |thread: usize| round % 2 == 1 && thread % 2 == 1;
        let barrier = Barrier::new(sessions.len());
        let answers: Vec<Result<(), CK_RV>> = std::thread::scope(|scope| {
            let threads: Vec<_> = sessions
                .iter()
                .zip(&psbts)
                .enumerate()
                .map(|(thread, (session, psbt))| {
                    let (record, barrier) = (&record, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        if is_digest(thread) {
                            wallet.sign_digest(&raw, *session, record)
                        } else {
                            wallet.sign_psbt(&raw, *session, record, psbt)
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        let winners = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(winners, 1, "{user}: {:?}", answers.iter().map(Result::is_ok).collect::<Vec<_>>());
        for (thread, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(()) if is_digest(thread) => digests += 1,
                Ok(()) => transactions += 1,
                Err(CKR_PIN_INCORRECT) => incorrect += 1,
                // The tries of other threads, wrong because the code is spent, were charged before this one.
                Err(CKR_PIN_LOCKED) => locked += 1,
                Err(rv) => panic!("{user}: {rv:#x}"),
            }
        }
    }
    assert_eq!(transactions + digests, ROUNDS);
    summarise(format_args!(
        "race: {ROUNDS} rounds of {THREADS} threads with one code: {transactions} transactions and {digests} digests \
         signed, {incorrect} refused, {locked} in back-off"
    ));
}
