use super::super::tests::{LOOSENS, OFFICERS, STAGE, TIGHTENS, VOUCHLESS, start};
use super::*;
use crate::motion::ActText;

/// Another proposal like `like`, under this number, brought by this officer, or by the security officer.
fn numbered(like: &Proposal, number: usize, by: Option<usize>) -> Proposal {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let act = ActText { nonce, ..like.act.clone() };
    let by = by.map_or(Bringer::Administrator, |officer| Bringer::Officer([officer as u8; 32]));
    Proposal { act, by, ..like.clone() }
}

fn many(like: &Proposal, number: usize, by: Option<usize>) -> Vec<Proposal> {
    (0..number).map(|number| numbered(like, number, by)).collect()
}

fn room(present: &[Proposal], like: &Proposal, by: Option<usize>) -> Result<(), ProposalError> {
    check_room(present.iter(), &numbered(like, usize::MAX, by))
}

fn over(like: &Proposal) -> Proposal {
    Proposal { state: State::CarriedOut, ..like.clone() }
}

#[test]
fn nobody_takes_the_room_of_somebody_else() {
    let (loosens, tightens) = (STAGE.propose(LOOSENS, start()), STAGE.propose(TIGHTENS, start()));
    let full = Err(ProposalError::Room);
    let loosening =
        [many(&loosens, MAX_OPEN_OF_OFFICER, Some(1)), many(&over(&loosens), 48, Some(1))].concat();
    assert_eq!(loosening.len(), MAX_OF_OFFICER);
    let all = [loosening, many(&over(&tightens), MAX_TIGHTENING_OF_OFFICER, Some(1))].concat();
    for like in [&loosens, &tightens, &STAGE.propose(VOUCHLESS, start())] {
        assert_eq!(room(&all, like, Some(1)), full, "of the same officer");
        assert_eq!(room(&all, like, Some(2)), Ok(()), "of another one");
        assert_eq!(room(&all, like, None), Ok(()), "of the security officer");
    }
    let of_administrator =
        [many(&loosens, MAX_UNSIGNED, None), many(&over(&loosens), MAX_OF_ADMINISTRATOR, None)].concat();
    assert_eq!(room(&of_administrator, &loosens, None), full);
    for like in [&loosens, &tightens] {
        assert_eq!(room(&of_administrator, like, Some(1)), Ok(()));
    }
}

#[test]
fn an_officer_who_has_proposed_much_still_freezes_and_the_other_way_round() {
    let (loosens, tightens) = (STAGE.propose(LOOSENS, start()), STAGE.propose(TIGHTENS, start()));
    let full = Err(ProposalError::Room);
    let proposed = many(&loosens, MAX_OPEN_OF_OFFICER, Some(1));
    assert_eq!(room(&proposed[1..], &loosens, Some(1)), Ok(()));
    assert_eq!(room(&proposed, &loosens, Some(1)), full);
    assert_eq!(room(&proposed, &tightens, Some(1)), Ok(()));
    let frozen = many(&over(&tightens), MAX_TIGHTENING_OF_OFFICER, Some(1));
    assert_eq!(room(&frozen[1..], &tightens, Some(1)), Ok(()));
    assert_eq!(room(&frozen, &tightens, Some(1)), full);
    assert_eq!(room(&frozen, &loosens, Some(1)), Ok(()));
}

#[test]
fn a_proposal_that_is_over_gives_most_of_its_room_back_and_its_text_is_still_known() {
    let loosens = STAGE.propose(LOOSENS, start());
    let full = Err(ProposalError::Room);
    for (by, open, all) in
        [(Some(1), MAX_OPEN_OF_OFFICER, MAX_OF_OFFICER), (None, MAX_UNSIGNED, MAX_OF_ADMINISTRATOR)]
    {
        assert_eq!(room(&many(&loosens, open, by), &loosens, by), full);
        assert_eq!(room(&many(&over(&loosens), open, by), &loosens, by), Ok(()));
        let over = many(&over(&loosens), all, by);
        assert_eq!(room(&over[1..], &loosens, by), Ok(()));
        assert_eq!(room(&over, &loosens, by), full, "their number has an end");
        let again = check_room(over.iter(), &numbered(&loosens, 3, Some(2)));
        assert_eq!(again, Err(ProposalError::Known), "by whomever");
    }
    // One that officers have signed is theirs to end, and takes none of the room for unsigned ones.
    let signed = loosens.sign(&STAGE.acts[LOOSENS].signatures[0], &STAGE.found(LOOSENS, start()));
    let signed = signed.expect("an officer's");
    assert_eq!(room(&many(&signed, MAX_UNSIGNED, None), &loosens, None), Ok(()));
}

#[test]
fn who_brings_an_act_is_who_signed_it_first_with_it() {
    let (found, signatures) = (STAGE.found(LOOSENS, start()), &STAGE.acts[LOOSENS].signatures);
    let proposed = STAGE.propose(LOOSENS, start());
    let key = |proposal: &Proposal| proposal.signatures()[0].public_key;
    let signed = proposed.sign(&signatures[1], &found).expect("an officer's");
    assert_eq!(signed.by(), Bringer::Administrator);
    let brought = proposed.bring(&signatures[1], &found).expect("an officer's");
    assert_eq!(brought.by(), Bringer::Officer(key(&brought)));
    let both = brought.sign(&signatures[0], &found).expect("an officer's");
    assert_eq!(both.by(), brought.by());
    assert!(proposed.bring(&signatures[OFFICERS], &found).is_err(), "a stranger's");
}

#[test]
fn act_replay_a_record_goes_only_when_its_text_can_never_be_proposed_again() {
    let proposal = STAGE.propose(LOOSENS, start());
    let ActText { epoch, expires, .. } = *proposal.act();
    assert!(!proposal.may_go(epoch, expires));
    assert!(proposal.may_go(epoch, expires + 1));
    assert!(proposal.may_go(epoch + 1, start()), "no epoch comes back");
    assert!(!proposal.may_go(epoch - 1, start()), "of a later one");
    // What tightens must expire early.
    let (text, found) = (&STAGE.acts[TIGHTENS].text, STAGE.found(TIGHTENS, start()));
    let at = |now| Proposal::new(text, &[], &Circumstances { now, ..found });
    assert!(at(expires - super::super::MAX_OPEN_TIGHTENING).is_ok());
    assert_eq!(at(expires - super::super::MAX_OPEN_TIGHTENING - 1).err(), Some(ProposalError::ExpiresLate));
}
