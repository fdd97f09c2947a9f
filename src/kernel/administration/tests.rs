use super::*;

#[test]
fn an_act_takes_as_many_random_bytes_as_it_says_and_is_refused_with_fewer() {
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let administrator = Administrator::by_pin(&token(), b"so-pin").expect("it is the PIN");
    for make in [|| Act::SetUserPin(Zeroizing::new(b"user-pin".to_vec())), || enrol("alice"), wallet, key] {
        let needed: usize = make().randomness().iter().sum();
        let check = |bytes: usize| {
            check(administrator.approve(make()), Fresh::new(Zeroizing::new(vec![7; bytes])), &secp)
        };
        assert!(check(needed).is_ok(), "{}", make().deed().tag());
        assert!(matches!(check(needed - 1), Err(Refused::Randomness)), "{}", make().deed().tag());
    }
}

#[test]
fn nobody_is_the_administrator_by_another_pin() {
    assert!(Administrator::by_pin(&token(), b"so-pim").is_none());
    assert!(Administrator::by_pin(&token(), b"").is_none());
}

fn token() -> crate::state::TokenRecord {
    let so = crate::pin::PinRecord::new(b"so-pin", [3; 16]).expect("long enough");
    let so = crate::state::OfficerPin::new(so);
    crate::state::TokenRecord { label: "t".into(), serial: [1; 8], so, user: None }
}

fn enrol(name: &str) -> Act {
    let (name, service) = (name.into(), "test".into());
    Act::Enrol(NewUser {
        name,
        service,
        factor: NewFactor::Totp { hash: OtpHash::Sha1, digits: 6, period: 30 },
    })
}

fn wallet() -> Act {
    Act::MakeWallet(NewWallet {
        terms: KeyTerms {
            label: "w".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: "unlimited = true".into(),
        },
        network: Network::Regtest,
        script: NewScript::default(),
    })
}

fn key() -> Act {
    Act::MakeDigestKey(NewDigestKey {
        terms: KeyTerms {
            label: "k".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: "unlimited = true".into(),
        },
        mechanisms: DigestMechanisms { digest: true, ecdsa: false },
    })
}
