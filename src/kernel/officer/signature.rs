//! Which officer has signed these bytes: signatures in minisign's format, prehashed.

use minisign_verify::{Error, Signature};

use super::{KeyId, OfficerKey, Officers};

/// An upper bound: minisign's own bound for its comments is below it.
pub const MAX_SIGNATURE_LEN: usize = 16 * 1024;
/// How the first line begins. minisign itself requires it.
const FIRST_LINE: &str = "untrusted comment: ";

/// Evidence: this officer has signed the bytes that were verified. Only [`Officers::verify`] makes one.
///
/// ```compile_fail,E0451
/// use countersign_kernel::officer::{OfficerKey, Signed};
/// fn forge(officer: &OfficerKey) -> Signed<'_> { Signed { officer, place: 0, trusted_comment: String::new() } }
/// ```
#[derive(Debug)]
#[must_use = "a signature counts once it is put beside those of the others"]
pub struct Signed<'a> {
    officer: &'a OfficerKey,
    place: usize,
    trusted_comment: String,
}

impl<'a> Signed<'a> {
    /// The officer who signed.
    pub fn officer(&self) -> &'a OfficerKey {
        self.officer
    }

    /// The officer's place among [`Officers::keys`]. Count places, not signatures: each officer has one place,
    /// whatever a signature claims.
    pub fn place(&self) -> usize {
        self.place
    }

    /// The comment in the signature, which is signed as well.
    pub fn into_trusted_comment(self) -> String {
        self.trusted_comment
    }
}

impl Officers {
    /// Finds the officer whose signature of `bytes` this is.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> Result<Signed<'_>, SignatureError> {
        if signature.len() > MAX_SIGNATURE_LEN || !signature.starts_with(FIRST_LINE) {
            return Err(SignatureError::Format);
        }
        let id = signature.lines().nth(1).and_then(KeyId::of_signature).ok_or(SignatureError::Format)?;
        let signature = Signature::decode(signature).map_err(|_| SignatureError::Format)?;
        let mut reason = SignatureError::Nobody(id);
        // Tries every key: anybody can choose a key id, and two officers may have the same one.
        for (place, officer) in self.keys.iter().enumerate() {
            match officer.verifier.verify(bytes, &signature, false) {
                Ok(()) => {
                    let trusted_comment = signature.trusted_comment().to_owned();
                    return Ok(Signed { officer, place, trusted_comment });
                }
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => reason = SignatureError::Legacy(officer.clone().into()),
                Err(_) => reason = SignatureError::Wrong(officer.clone().into()),
            }
        }
        Err(reason)
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not of minisign's format.
    #[error("is not in minisign's format")]
    Format,
    /// Of the old form, which does not hash the bytes.
    #[error(
        "is a legacy signature of {0}: sign again with Countersign, or with minisign 0.10 or later without -l"
    )]
    Legacy(Box<OfficerKey>),
    /// By a key that is not pinned here.
    #[error("is by key {0}, which is not pinned here")]
    Nobody(KeyId),
    /// It has an officer's key id and does not verify: it is of other bytes, or was changed.
    #[error("has the key id of {0} but does not verify: it is of something else, or was changed")]
    Wrong(Box<OfficerKey>),
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::super::tests::changed_line;
    use super::*;

    const TEXT: &[u8] = b"what is signed";

    fn pair() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().expect("a key pair")
    }

    fn sign(pair: &KeyPair, text: &[u8]) -> String {
        let signed = minisign::sign(Some(&pair.pk), &pair.sk, text, Some("said"), None).expect("signs");
        signed.into_string()
    }

    fn officers(pairs: &[&KeyPair]) -> Officers {
        let lines: Vec<String> = pairs.iter().map(|pair| pair.pk.to_base64()).collect();
        Officers::parse(&lines, 1).expect("officers")
    }

    #[test]
    fn a_signature_is_of_the_officer_whose_key_verifies_it() {
        let (alice, bob, carol) = (pair(), pair(), pair());
        let officers = officers(&[&alice, &bob]);
        let signature = sign(&bob, TEXT);
        let signed = officers.verify(TEXT, &signature).expect("Bob's");
        assert_eq!((signed.place(), signed.officer().line()), (1, &*bob.pk.to_base64()));
        assert_eq!(signed.into_trusted_comment(), "said");
        let wrong = SignatureError::Wrong(officers.keys()[1].clone().into());
        assert_eq!(officers.verify(b"what is signee", &signature).expect_err("other bytes"), wrong);
        let comment = signature.replace("said", "sayd");
        assert_eq!(officers.verify(TEXT, &comment).expect_err("another comment"), wrong);
        let other = officers.verify(TEXT, &sign(&carol, TEXT)).expect_err("Carol is no officer");
        assert!(matches!(other, SignatureError::Nobody(_)), "{other}");
    }

    #[test]
    fn act_twice_two_officers_with_one_key_id_are_two_and_one_key_with_two_ids_is_one() {
        let (alice, bob) = (pair(), pair());
        // Bob's key under Alice's key id.
        let mut bytes = data_encoding::BASE64.decode(bob.pk.to_base64().as_bytes()).expect("base64");
        bytes[2..10].copy_from_slice(
            &data_encoding::BASE64.decode(alice.pk.to_base64().as_bytes()).expect("base64")[2..10],
        );
        let disguised = data_encoding::BASE64.encode(&bytes);
        let officers = Officers::parse(&[alice.pk.to_base64(), disguised.clone()], 2).expect("two keys");
        assert_eq!(officers.verify(TEXT, &sign(&alice, TEXT)).expect("Alice's").place(), 0);
        // Bob's signature with Alice's key id.
        let signature = sign(&bob, TEXT);
        let mut lines: Vec<String> = signature.lines().map(str::to_owned).collect();
        let mut second = data_encoding::BASE64.decode(lines[1].as_bytes()).expect("base64");
        second[2..10].copy_from_slice(&bytes[2..10]);
        lines[1] = data_encoding::BASE64.encode(&second);
        assert_eq!(officers.verify(TEXT, &lines.join("\n")).expect("Bob's").place(), 1);
        // The same key twice is refused, under any key id.
        let twice = Officers::parse(&[bob.pk.to_base64(), disguised], 1);
        assert_eq!(twice.err(), Some(super::super::OfficersError::Twice { entry: 2, first: 1 }));
    }

    #[test]
    fn a_signature_without_a_hash_and_text_that_is_no_signature_are_refused() {
        let alice = pair();
        let officers = officers(&[&alice]);
        let signature = sign(&alice, TEXT);
        let mut lines: Vec<String> = signature.lines().map(str::to_owned).collect();
        let mut second = data_encoding::BASE64.decode(lines[1].as_bytes()).expect("base64");
        // `Ed` instead of `ED`.
        second[1] = b'd';
        lines[1] = data_encoding::BASE64.encode(&second);
        let legacy = officers.verify(TEXT, &lines.join("\n")).expect_err("legacy");
        assert_eq!(legacy, SignatureError::Legacy(officers.keys()[0].clone().into()));
        let long = format!("{FIRST_LINE}{}\n{}", "x".repeat(MAX_SIGNATURE_LEN), lines[1..].join("\n"));
        for none in ["", FIRST_LINE, &signature[1..], &lines[..3].join("\n"), &long] {
            assert_eq!(officers.verify(TEXT, none).err(), Some(SignatureError::Format), "{none:.60}");
        }
    }

    /// A key of small order has no secret: anybody can make signatures that verify, and minisign accepts them.
    #[test]
    fn act_alone_a_key_for_which_anybody_can_sign_is_refused() {
        // y = -1: a point of order 2 (RFC 8032 section 5.1.2). With S = 0 and R the identity, every second message
        // verifies.
        let mut point = [0xff; 32];
        (point[0], point[31]) = (0xec, 0x7f);
        let key = [b"Ed".as_slice(), &[7; 8], &point].concat();
        let line = data_encoding::BASE64.encode(&key);
        let verifier = minisign_verify::PublicKey::from_base64(&line).expect("it takes any 32 bytes");
        let forged = [&[1][..], &[0; 63]].concat();
        let second = data_encoding::BASE64.encode(&[b"ED".as_slice(), &[7; 8], &forged].concat());
        let verifies = (0..64).any(|number| {
            let text = format!(
                "{FIRST_LINE}\n{second}\ntrusted comment: {number}\n{}\n",
                data_encoding::BASE64.encode(&forged)
            );
            let signature = Signature::decode(&text).expect("a signature");
            (0_u8..64).any(|byte| verifier.verify(&[byte], &signature, false).is_ok())
        });
        assert!(verifies, "the forgery works where the key is taken");
        assert_eq!(OfficerKey::parse(&line), None);
        assert!(OfficerKey::parse(&changed_line(20)).is_some());
    }
}
