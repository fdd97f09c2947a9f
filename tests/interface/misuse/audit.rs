//! Compares the signatures that came out with the module's audit.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use data_encoding::HEXLOWER;
use serde_json::Value;

use harness::module::cli::Cli;
use harness::module::{Boundary, Finished};

use super::world::World;

/// The audit has the transactions and the digests that were signed, each once, and no user has more of them
/// than right codes.
pub(crate) fn check(boundary: &Boundary, world: &World, digest_keys: &[PublicKey]) {
    let command = |words: &[&str]| {
        let mut command = Cli(boundary).command(&[], words);
        command.env("COUNTERSIGN_CONF", boundary.folder().join("countersign.toml"));
        Finished::of(&mut command).expect_success()
    };
    let _ = command(&["audit", "verify"]);
    let lines = command(&["audit", "export"]).stdout;
    let mut of_user: BTreeMap<String, u64> = BTreeMap::new();
    let (mut transactions, mut digests, mut repeated) = (Vec::new(), Vec::new(), 0);
    for line in lines.lines() {
        let link: Value = serde_json::from_str(line).expect("each line is JSON");
        let text = |name: &str| link[name].as_str().expect("a text").to_owned();
        match &text("event")[..] {
            "countersigned" => transactions.push(text("txid")),
            "digest-signed" => {
                let digest = HEXLOWER.decode(text("digest").as_bytes()).expect("hexadecimal");
                digests.push(<[u8; 32]>::try_from(digest).expect("32 bytes"));
            }
            "repeated" | "digest-repeated" => {
                repeated += 1;
                continue;
            }
            _ => continue,
        }
        for user in link["users"].as_array().expect("users") {
            *of_user.entry(user.as_str().expect("a name").into()).or_default() += 1;
        }
    }
    let balance = world.balance();
    let mut seen = world.transactions();
    seen.sort_unstable();
    transactions.sort_unstable();
    assert_eq!(transactions, seen, "the audit's transactions are those that came out");
    assert_eq!(digests.len() as u64, balance.digests, "the audit has as many digests as signatures came out");
    let unsigned = world.unsigned_digests(digest_keys, digests);
    assert!(unsigned.is_empty(), "digests of the audit without a signature: {unsigned:x?}");
    assert_eq!(balance.answers, balance.transactions + balance.digests + repeated, "{balance:?}");
    for (user, times) in of_user {
        assert!(
            times <= balance.by_user.get(&user).copied().unwrap_or(0),
            "{user} signed {times} times: {balance:?}"
        );
    }
}
