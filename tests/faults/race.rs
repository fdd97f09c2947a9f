//! `otp-replay`: one code in many hands at once.

use std::sync::Barrier;

use cryptoki_sys::*;

use crate::boundary::wallet::{Payment, verify_signed};
use crate::boundary::{Boundary, PERIOD, approval, in_boundary, summarise, this_test};
use crate::story::{self, authenticator, tell_of_many, wallets_of};

const THREADS: u64 = 64;
const ROUNDS: usize = 200;

#[test]
fn otp_replay_of_64_threads_with_one_code_and_64_transactions_exactly_one_signs_200_times() {
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
    let (mut signed, mut incorrect, mut locked) = (0, 0, 0);
    for (user, wallet) in users.iter().zip(&wallets) {
        let psbts: Vec<Vec<u8>> = (0..THREADS)
            .map(|number| Payment { pay: 50_000 + number, ..Payment::default() }.psbt(&wallet.descriptor))
            .collect();
        let record = approval(user, &authenticator(boundary, user).code_away(1));
        let barrier = Barrier::new(psbts.len());
        let answers: Vec<Result<Vec<u8>, CK_RV>> = std::thread::scope(|scope| {
            let threads: Vec<_> = psbts
                .iter()
                .zip(&sessions)
                .map(|(psbt, session)| {
                    let (record, barrier) = (&record, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        raw.countersign(*session, wallet.key, record, psbt)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        let winners: Vec<_> = answers.iter().zip(&psbts).filter(|(answer, _)| answer.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{user}: {:?}", answers.iter().map(Result::is_ok).collect::<Vec<_>>());
        for (answer, psbt) in winners {
            verify_signed(psbt, answer.as_ref().expect("it won"));
        }
        for answer in answers {
            match answer {
                Ok(_) => signed += 1,
                Err(CKR_PIN_INCORRECT) => incorrect += 1,
                // The tries of the others were charged before this one.
                Err(CKR_PIN_LOCKED) => locked += 1,
                Err(rv) => panic!("{user}: {rv:#x}"),
            }
        }
    }
    assert_eq!(signed, ROUNDS);
    summarise(format_args!(
        "race: {ROUNDS} rounds of {THREADS} threads with one code: {signed} signatures, {incorrect} refused, \
         {locked} in back-off"
    ));
}
