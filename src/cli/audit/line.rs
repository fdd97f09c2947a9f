//! One link of the audit chain as one line of JSON.
//!
//! Every line has `sequence`, `time` (Unix seconds), `time_utc` (ISO 8601), `event`, `previous` and `head`
//! (hex). The table has the further fields of each event. A field without a value is left out. `previous` is
//! the head of the line before, so anybody who has the lines can see that none is missing, changed or moved,
//! and needs no secret for that. A line's own head cannot be computed from the line: it covers the form of
//! the sealed record, and the records as well.
//!
//! | event | fields |
//! |---|---|
//! | `initialised` | |
//! | `pin-charged`, `pin-accepted`, `pin-set` | `role`: `so` or `user` |
//! | `user-added`, `user-removed`, `user-unlocked`, `code-accepted` | `users`: one |
//! | `code-refused` | `users`: whose codes were tried; `wrong`: those of them that were not right and are charged; `codes`; of a signature: `wallet`, `txid`, `leaves_sat`, `fee_sat`, or `key`, `digest` |
//! | `code-charged` | by version 0.1, before a comparison; `users`: to whom a try was charged; empty: nobody known |
//! | `charged` | by version 0.1, before a comparison; `users`, `codes`: tries charged; of a signature: `wallet`, `txid`, `leaves_sat`, `fee_sat` |
//! | `wallet-created`, `wallet-changed` | `wallet` |
//! | `policy-refused` | `users`, `rule`, `wallet`, `txid`, `leaves_sat`, `fee_sat` |
//! | `countersigned`, `repeated` | `users`, `wallet`, `txid`, `leaves_sat`, `fee_sat` |
//! | `clock-taken` | `moved_s`: seconds by which it differed from the clock believed before, if that can be told |
//! | `stopped` | `failures`: wrong codes of all users within the hour |
//! | `restored` | `epoch`, `store`: newest link of the store taken, `anchor`: the link that was anchored, if any; `officers`: the public keys of those who agreed (hex), if any had to |
//! | `psbt-refused` | `wallet`, `rule`: of structure, amounts or ownership, or `frozen`; no code was looked at |
//! | `wallet-updated` | `wallet`, `users_added`, `users_removed`, `label_before`, `registered`; of a raised reach `reach`, `reach_before`; of another policy `policy_tightens`, `policy_loosens`, `rules`, `policy_sha256`, `policy_before_sha256` |
//! | `digest-key-created` | `key` |
//! | `digest-key-updated` | `key`, and as of `wallet-updated` |
//! | `digest-charged` | `users`, `codes`, `key`, `digest` |
//! | `digest-signed`, `digest-repeated` | `users`, `key`, `digest` |
//! | `digest-refused` | `users`, `rule`, `key`, `digest` |
//! | `pin-changed`, `pin-lost`, `pin-unlocked` | `role` |
//! | `user-confirmed` | `users`: one |
//! | `device-added`, `device-removed` | `users`: one, whose devices are in the document |
//! | `wallet-frozen`, `wallet-thawed` | `wallet` |
//! | `digest-key-frozen`, `digest-key-thawed` | `key` |
//! | `user-frozen`, `user-thawed` | `users`: one |
//! | `everything-frozen`, `everything-thawed` | |
//! | `so-pin-lost` | `role`: `so` |
//! | `act-proposed` | `nonce`, `does`, `text`: what officers sign; of one that an officer brought: `officers`: one, `signature` |
//! | `act-signed` | `nonce`, `does`, `officers`: one, `signature` |
//! | `act-vetoed` | `nonce`, `does`; by an officer: `officers`: one, `signature`; by a user: `users`: one |
//! | `act-withdrawn` | `nonce`, `does` |
//! | `act-voided` | `nonce`, `does`, `because`: what has changed since the act was written |
//! | `act-ticked` | `waiting`: for how many proposed acts time counted as delay |
//! | `consent-asked` | `ticket`, `wallet`, `users`: who is asked, `text`: the statement for the first of them, `peer`: who proposed it |
//! | `consent-given`, `consent-refused` | `ticket`, `wallet`, `users`: one, `digest`: what exactly the user approved or refused; `means`: `desk`, if the code was typed there; by a device: `device`: its name, `address`, `text`: what it showed, `signature`: over the text; by a passkey: `passkey`: its name, `assertion`: `public_key` (SPKI), `client_data`, `authenticator_data`, and `signature` over both, in base64url |
//! | `consent-withdrawn` | `ticket`, `wallet` |
//! | `officers-set` | of a change: `policy_tightens`, `policy_loosens` |
//!
//! Acts of administration (`initialised`, `pin-set`, `pin-changed`, `pin-lost`, `pin-unlocked`, `user-…`,
//! `wallet-created`, `wallet-updated`, `digest-key-created`, `digest-key-updated`, `device-…`, `…-frozen`,
//! `…-thawed`, `officers-set`, `so-pin-lost`, and a `clock-taken` that the security officer approved) also have: `id` of the object (hex), `document`: everything in force about
//! it since then, `document_digest`, and `before_digest`: the digest of what was in force before. Acts of
//! older versions have none of these. An act that officers decided has `nonce` and `officers`, and the code of a user who vetoes has
//! `nonce`. A signature that a ticket pays for has `ticket`, and `users` are those who approved it.

mod facts;

use std::io::{self, Write};

use countersign::kernel::audit::{Event, Link};
use countersign::kernel::utc::to_iso;
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;

use self::facts::Facts;

/// The fields, as the help text shows them.
pub(super) const FIELDS: &str = "\
Every line is one JSON object:
  sequence, time (Unix), time_utc, event
  users       whose codes or tries these are; empty if unknown
  wallet      label of the wallet
  key         label of the key that signs digests
  digest      what was to be signed (hex)
  rule        the rule that refused
  txid        of the unsigned transaction, as explorers show it
  leaves_sat  satoshi that leave the wallet, fee included
  fee_sat     satoshi of fee
  role        whose PIN: so, user
  wrong       users whose codes were wrong: each is charged a try
  codes       codes tried
  failures    wrong codes of all users within an hour, when all stopped
  moved_s     seconds by which an accepted clock differed from before
  epoch, store, anchor
              number of the restoration, newest link of the accepted
              store, link that the backing token remembered
  users_added, users_removed
              users who sign for the wallet or key from now on, or no longer
  policy_tightens, policy_loosens
              whether a new policy allows less, or more
  label_before
              the old label, if the act changed it
  registered  true if the act registered the script
  reach, reach_before
              next external and next internal index of a wallet whose
              reach was raised, after and before
  rules       keys of the policy whose values differ
  policy_sha256, policy_before_sha256
              SHA-256 of the policy's text, and of the one before
  id          of the object, the same for as long as it exists (hex)
  document    everything that is in force about the object since then
  document_digest, before_digest
              identify the document, and the one before
  nonce       of a proposed act; of one that officers decided, and of a
              code that was given to veto
  does        what the proposed act does, of what
  text        of the act, which officers sign; or of the statement, which
              a user approves
  ticket      of a transaction that waits for its users
  peer        who proposed the transaction
  device, address
              name of the device by which a user said it, and the address
              whose key signed; text is then what the device showed
  means       desk, if the code was typed there
  passkey     name of the passkey by which a user said it
  assertion   what the passkey signed, with its public key, in base64url
  officers    public keys (hex) of those who signed, vetoed or agreed
  signature   the officer's, in minisign's format; or the device's
  waiting     proposed acts for which time counted as delay
  because     what has changed since an act was written that is void now
  previous    head of the line before; head: head of this one (hex)
A field that an event does not have is left out. No line has a secret.

Events: initialised, pin-charged, pin-accepted, pin-set, user-added,
user-removed, user-unlocked, code-charged, charged, code-accepted,
wallet-created, wallet-changed, policy-refused, countersigned, repeated,
clock-taken, stopped, restored, psbt-refused, wallet-updated,
digest-key-created, digest-key-updated, digest-charged, digest-signed,
digest-repeated, digest-refused, pin-changed, user-confirmed, pin-lost,
pin-unlocked, code-refused, officers-set, so-pin-lost, act-proposed,
act-signed, act-vetoed, act-withdrawn, act-voided, act-ticked,
consent-asked, consent-given, consent-refused, consent-withdrawn,
device-added, device-removed, and
wallet-, digest-key-, user- and everything- with frozen and thawed.";

/// The name of an event.
pub(super) fn name(event: &Event) -> &'static str {
    Facts::of(event).0
}

/// The line of a link, as a value.
pub(super) fn to_json(link: &Link) -> Value {
    serde_json::to_value(Line::of(link)).expect("its keys are strings")
}

/// Writes the line of a link, with a line end.
pub(super) fn write(link: &Link, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line::of(link))?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    time: u64,
    time_utc: String,
    event: &'static str,
    #[serde(flatten)]
    facts: Facts<'a>,
    previous: String,
    head: String,
}

impl Line<'_> {
    fn of(link: &Link) -> Line<'_> {
        let (event, facts) = Facts::of(&link.event);
        Line {
            sequence: link.sequence,
            time: link.time,
            time_utc: to_iso(link.time),
            event,
            facts,
            previous: HEXLOWER.encode(&link.previous.0),
            head: HEXLOWER.encode(&link.head().0),
        }
    }
}

#[cfg(test)]
mod tests;
