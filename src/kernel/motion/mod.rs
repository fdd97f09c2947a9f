//! An act as officers sign it: a text that says everything, in one form.
//!
//! ```text
//! countersign/act/1
//! store 7c0f…                       the store's id
//! epoch 1795953600                  a restoration begins another one, and voids every older act
//! nonce 5f21…                       random, 128 bits: an act is carried out once
//! do wallet-set "treasury" 3f9a…    what is done, and to which object: its name and id
//! was 9b1d…                         digest of what is in force: once that changes, the act is void for ever
//! seen 8c44… 118203                 head and number of the audit's newest link, as the proposer saw it: for the reader
//! expires 2026-12-03T09:00:00Z
//!
//! new
//!   label "treasury"                the whole new document
//!   …
//! old
//!   label "treasury"                the whole old one
//!   …
//! ```
//!
//! Invariants:
//! - E1. One act has one text: [`ActText::parse`] accepts what [`ActText::print`] prints and nothing else, byte for byte. So a text
//!   that only looks like an act is none, and neither is one that a mail program or an editor has changed.
//! - E2. A text is printable ASCII and newlines, without blanks at the end of a line. Any other character of a name or document is
//!   written by its number.
//! - E3. No name or document makes a line of the text: names are in quotes, documents are indented, and each line of a policy stands behind a bar.
//!
//! This format is read for ever. A format that says more will be `countersign/act/2`.

mod check;
mod class;
mod device;
mod differences;
mod sections;
mod terms;

use core::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::audit::Head;
use crate::name::{KeyId, UserId};
use crate::officer::Council;
use crate::pin::{Heir, PinName};
use crate::seal::StoreId;
use crate::text::{Reader, from_hex};
use crate::utc::{from_iso, to_iso};
pub use device::{Device, DeviceAdd};
pub use differences::Difference;
pub use terms::{DigestKeyTerms, WalletFixed, WalletTerms};

/// The greatest length of a text: room for the two longest policies, and for descriptors that repeat their keys in very many places.
pub const MAX_TEXT_LEN: usize = 256 * 1_024;
/// Seconds within which an act can have a clock accepted: a day, so that officers need not sign within two minutes.
pub const MAX_CLOCK_WINDOW: u64 = 24 * 3_600;

const FIRST_LINE: &str = "countersign/act/1";
const LABEL_ACT: &[u8] = b"countersign/act-text/v1\0";

/// An act as officers sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActText {
    /// The store that it is for.
    pub store: StoreId,
    /// The epoch of that store: the time when it was last restored, Unix seconds; 0 if it never was. How often it was restored would not
    /// do, because one copy can be put back twice.
    pub epoch: u64,
    /// Random: an act is carried out once.
    pub nonce: Nonce,
    /// The audit as the proposer saw it.
    pub seen: Seen,
    /// Unix time in seconds, after which it is void.
    pub expires: u64,
    /// What is to be done.
    pub motion: Motion,
}

/// Names one act among all of its store.
pub type Nonce = [u8; 16];

/// The audit as somebody saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The head after the newest link.
    pub head: Head,
    /// The number of that link.
    pub link: u64,
}

/// What an act does, with what is in force and what is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Motion {
    /// Change a wallet.
    WalletSet(Box<WalletSet>),
    /// Change a key that signs digests.
    KeySet(Box<KeySet>),
    /// Accept the machine's clock, if it shows a time between `from` and the end of the act.
    ClockTake {
        /// The time that the store believes, if it ever believed a clock.
        believed: Option<u64>,
        /// The earliest time that the clock may show, Unix time in seconds.
        from: u64,
    },
    /// Accept a store that does not fit its anchor.
    Restore {
        /// The newest link of the store.
        store: Seen,
        /// The link that the backing token remembers, if it remembers one of this store.
        anchor: Option<Seen>,
    },
    /// Change the officers, how many of them must sign, the delays or the settings that only they can weaken.
    OfficersSet {
        /// The council in force, if there is one.
        old: Option<Box<Council>>,
        /// The council to be.
        new: Box<Council>,
    },
    /// Declare the security officer's PIN lost: nobody can log in with it any more, and the heir may set another one.
    SoPinLost {
        /// The token's label.
        label: String,
        /// The token's serial number.
        serial: [u8; 8],
        /// Names the PIN.
        pin: PinName,
        /// The digest of the secret with which the next PIN is set.
        heir: Heir,
    },
    /// End a freeze.
    Thaw {
        /// What is frozen.
        what: Frozen,
        /// When it was frozen, Unix time in seconds. A later freeze of the same object is another freeze.
        since: u64,
    },
    /// Freeze something that is not frozen.
    Freeze {
        /// What is to be frozen.
        what: Frozen,
    },
    /// Register a device with a screen of its own for a user.
    DeviceAdd(Box<DeviceAdd>),
}

/// A change of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletSet {
    /// The wallet's id, which never changes.
    pub id: KeyId,
    /// What is in force.
    pub old: WalletTerms,
    /// What is to be.
    pub new: WalletTerms,
    /// How far its addresses are to count as used, if that is further than now.
    pub reach: Option<Raise>,
}

/// How a wallet's reach is raised: the next indices of its two chains (external, internal). Signing raises it,
/// too. So `from` only informs the reader, and the act stays valid when the reach has grown meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// As the proposer saw it.
    pub from: [u32; 2],
    /// The least that it is to be.
    pub to: [u32; 2],
}

/// A change of a key that signs digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// The key's id, which never changes.
    pub id: KeyId,
    /// What is in force.
    pub old: DigestKeyTerms,
    /// What is to be.
    pub new: DigestKeyTerms,
}

/// What is frozen, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// A wallet, by label and id.
    Wallet(String, KeyId),
    /// A key that signs digests, by label and id.
    Key(String, KeyId),
    /// A user, by name and enrolment.
    User(UserId),
    /// Everything.
    All,
}

impl Motion {
    /// Whether it removes this officer, so that the officer's veto does not count. It does count if as many officers are removed as must
    /// sign: the few who can sign must not remove the many.
    pub fn overrules(&self, officer: &[u8; 32]) -> bool {
        let Motion::OfficersSet { old: Some(old), new } = self else { return false };
        let keys = |council: &Council| -> Vec<[u8; 32]> {
            council.officers().keys().iter().map(|key| *key.public_key()).collect()
        };
        let (before, since) = (keys(old), keys(new));
        let removed: Vec<&[u8; 32]> = before.iter().filter(|key| !since.contains(key)).collect();
        removed.contains(&officer) && removed.len() < old.officers().threshold()
    }
}

/// Names an act: another text has another digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActDigest(pub [u8; 32]);

impl ActText {
    /// The text, or why there is none: the act says something that cannot be, or too much.
    pub fn print(&self) -> Result<String, TextError> {
        self.check()?;
        let ActText { store, epoch, nonce, seen, expires, motion } = self;
        let mut text = format!(
            "{FIRST_LINE}\nstore {}\nepoch {epoch}\nnonce {}\ndo {}\nwas {}\nseen {seen}\nexpires {}\n\n",
            HEXLOWER.encode(store),
            HEXLOWER.encode(nonce),
            motion.heading(),
            HEXLOWER.encode(&motion.was()),
            to_iso(*expires),
        );
        for (name, section) in [("new", motion.new_section()), ("old", motion.old_section())] {
            text.push_str(name);
            text.push('\n');
            section.lines().for_each(|line| text.extend(["  ", line, "\n"]));
        }
        if text.len() > MAX_TEXT_LEN { Err(TextError::Length) } else { Ok(text) }
    }

    /// Reads what [`Self::print`] prints, and nothing else.
    pub fn parse(text: &str) -> Result<ActText, TextError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(TextError::Length);
        }
        let act = ActText::read(text).ok_or(TextError::Form)?;
        if act.print()? == text { Ok(act) } else { Err(TextError::Form) }
    }

    /// SHA-256 of a label and the text.
    pub fn digest(&self) -> Result<ActDigest, TextError> {
        let hash = Sha256::new_with_prefix(LABEL_ACT).chain_update(self.print()?);
        Ok(ActDigest(hash.finalize().into()))
    }

    fn read(text: &str) -> Option<ActText> {
        let mut reader = Reader::new(text);
        reader.expect(FIRST_LINE)?;
        let store = from_hex(reader.value("store")?)?;
        let epoch = reader.number("epoch")?;
        let nonce = from_hex(reader.value("nonce")?)?;
        let heading = reader.value("do")?;
        // It follows from the old document. `parse` prints the act again, and so compares it.
        let _was = reader.value("was")?;
        let seen = Seen::read(reader.value("seen")?)?;
        let expires = from_iso(reader.value("expires")?)?;
        reader.expect("")?;
        reader.expect("new")?;
        let new = reader.section()?;
        reader.expect("old")?;
        let old = reader.section()?;
        reader.end()?;
        let motion = Motion::read(heading, &new, &old)?;
        Some(ActText { store, epoch, nonce, seen, expires, motion })
    }
}

impl fmt::Display for ActDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Why a text is no act, or an act has no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Too long to be read by anybody.
    #[error("the act has more than {MAX_TEXT_LEN} bytes")]
    Length,
    /// Not the one text that an act has.
    #[error(
        "the text is not in the form of an act: sign and submit the file as it was written, byte for byte, and do not edit it"
    )]
    Form,
    /// It says something that cannot be.
    #[error("the act says {0}")]
    Says(&'static str),
}

#[cfg(test)]
pub(crate) mod tests;
