//! The text of a registration as people bring it: from an editor, from another signer's export, from a
//! coordinator.
//!
//! It may have a byte order mark, comments, any line ends, typographic apostrophes, a descriptor over several
//! lines, a BSMS descriptor record (BIP 129), or the descriptors of both chains in one file. If a text has no
//! single meaning, the error names the cause and what to give instead.

use bitcoin::base58;
use miniscript::descriptor::checksum::Engine;

use super::registration::{OURS, RegistrationError};

/// A registration without the text around it.
pub(super) struct Written {
    /// A descriptor template with a line for each key, or one descriptor.
    pub(super) lines: Vec<String>,
    /// The first address, if a BSMS file has it (BIP 129).
    pub(super) first_address: Option<String>,
}

impl Written {
    /// The script's first line, as far as it can be recognised: a template or a descriptor.
    pub(super) fn script(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }
}

/// Reads `text`.
pub(super) fn read(text: &str) -> Result<Written, RegistrationError> {
    let lines = lines(text);
    refuse_other_keys(&lines)?;
    let written = |lines| Ok(Written { lines, first_address: None });
    match lines.first().map(String::as_str) {
        Some(first) if first.starts_with("BSMS") => bsms(&lines),
        Some(first) if first.starts_with('{') || first == "[" || first.starts_with("[{") => {
            Err(RegistrationError::Json)
        }
        _ if lines.iter().any(|line| is_coldcard_field(line)) => Err(RegistrationError::Coldcard),
        Some(first) if first.contains('@') || lines.len() < 2 => written(lines),
        Some(_) if lines.iter().all(|line| line.contains('(')) => {
            both_chains(&lines).and_then(|one| written(vec![one]))
        }
        _ => written(lines),
    }
}

/// The lines with content.
fn lines(text: &str) -> Vec<String> {
    // Characters that editors and web pages leave behind. None of them is part of a descriptor (BIP 380).
    let invisible = ['\u{feff}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}'];
    let text: String = text
        .chars()
        .filter(|letter| !invisible.contains(letter))
        .map(|letter| if matches!(letter, '\u{2018}' | '\u{2019}' | '\u{2032}') { '\'' } else { letter })
        .collect();
    let mut lines: Vec<String> = Vec::new();
    let mut depth = 0;
    for line in text.lines().map(without_comment).filter(|line| !line.is_empty()) {
        match lines.last_mut() {
            // After an open bracket the descriptor goes on, and spaces in it mean nothing.
            Some(last) if depth > 0 => last.extend(line.chars().filter(|letter| !letter.is_whitespace())),
            _ => lines.push(line.into()),
        }
        let count = |bracket| line.matches(bracket).count() as isize;
        // JSON has brackets of its own.
        depth = if line.contains('"') { 0 } else { (depth + count('(') - count(')')).max(0) };
    }
    lines
}

/// A comment is a line that begins with `#` or `//`, or the rest of a line after a space and a `#`.
fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') || line.starts_with("//") {
        return "";
    }
    line.split_once(" #").map_or(line, |(line, _)| line).trim_end()
}

/// Refuses private keys, which do not belong into a registration, and extended keys with other version bytes.
fn refuse_other_keys(lines: &[String]) -> Result<(), RegistrationError> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric();
    for word in lines.iter().flat_map(|line| line.split(|letter| !is_word(letter))) {
        // Only text is decoded that is long enough for a key, and is not a kind of key that is allowed.
        if word.len() < 51 || word.starts_with("xpub") || word.starts_with("tpub") {
            continue;
        }
        let Ok(payload) = base58::decode_check(word) else {
            if word.len() > 100 && word.get(1..4) == Some("prv") {
                return Err(RegistrationError::PrivateKey);
            }
            continue;
        };
        match payload.as_slice() {
            [0x80 | 0xef, secret @ ..] if matches!(secret.len(), 32 | 33) => {
                return Err(RegistrationError::PrivateKey);
            }
            [a, b, c, d, key @ ..] if key.len() == EXTENDED_KEY_LEN => match version([*a, *b, *c, *d]) {
                Some(Version::Private) => return Err(RegistrationError::PrivateKey),
                Some(Version::Public(equal)) => {
                    return Err(RegistrationError::Slip132 {
                        prefix: word.chars().take(4).collect(),
                        equal: base58::encode_check(&[&equal[..], key].concat()),
                    });
                }
                None => {}
            },
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of an extended key after its version (BIP 32, "Serialization format").
const EXTENDED_KEY_LEN: usize = 74;

/// The meaning of version bytes.
enum Version {
    Private,
    /// A public key, with the version bytes that descriptors use.
    Public([u8; 4]),
}

/// The version bytes of SLIP 132, and those of BIP 32 for private keys.
fn version(bytes: [u8; 4]) -> Option<Version> {
    const XPUB: [u8; 4] = [0x04, 0x88, 0xb2, 0x1e];
    const TPUB: [u8; 4] = [0x04, 0x35, 0x87, 0xcf];
    match u32::from_be_bytes(bytes) {
        // ypub, zpub, Ypub, Zpub; upub, vpub, Upub, Vpub.
        0x049d_7cb2 | 0x04b2_4746 | 0x0295_b43f | 0x02aa_7ed3 => Some(Version::Public(XPUB)),
        0x044a_5262 | 0x045f_1cf6 | 0x0242_89ef | 0x0257_5483 => Some(Version::Public(TPUB)),
        // xprv, yprv, zprv, Yprv, Zprv; tprv, uprv, vprv, Uprv, Vprv.
        0x0488_ade4 | 0x049d_7878 | 0x04b2_430c | 0x0295_b005 | 0x02aa_7a99 => Some(Version::Private),
        0x0435_8394 | 0x044a_4e28 | 0x045f_18bc | 0x0242_85b5 | 0x0257_5048 => Some(Version::Private),
        _ => None,
    }
}

/// A line of the text file in which some signers keep a multisig.
fn is_coldcard_field(line: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name.trim().to_ascii_lowercase());
    name.is_some_and(|name| ["policy", "format", "derivation"].contains(&name.as_str()))
}

/// BIP 129, "Descriptor record": the version, the descriptor template, the path restrictions, the first address.
fn bsms(lines: &[String]) -> Result<Written, RegistrationError> {
    let refused = |problem| Err(RegistrationError::Bsms(problem));
    match lines {
        [version, ..] if version != "BSMS 1.0" => refused("its version is not 1.0"),
        [_, descriptor, rest @ ..] if descriptor.contains('(') => {
            let one = match rest.first().map(String::as_str) {
                None | Some("No path restrictions" | "/0/*,/1/*") => descriptor.clone(),
                Some(restrictions) => match restrictions.split_once(',') {
                    Some((external, internal)) => {
                        let (Some(external), Some(internal)) = (chain_of(external), chain_of(internal))
                        else {
                            return refused(TWO_CHAINS);
                        };
                        checked(descriptor, None)?.replace("/**", &format!("/<{external};{internal}>/*"))
                    }
                    None => return refused(TWO_CHAINS),
                },
            };
            // If a person wrote our word into it, the address belongs to another key.
            let first_address = rest.get(1).filter(|_| !has_our_word(&one)).cloned();
            Ok(Written { lines: vec![one], first_address })
        }
        [_, _, key, ..] if key.starts_with('[') => refused(
            "it is the key record of one signer: give the descriptor record, which the coordinator makes of all keys",
        ),
        _ => refused("its second line is no descriptor"),
    }
}

const TWO_CHAINS: &str = "its path restrictions are not two chains, as in /0/*,/1/*";

/// The number in `/0/*`.
fn chain_of(restriction: &str) -> Option<u32> {
    restriction.trim().strip_prefix('/')?.strip_suffix("/*")?.parse().ok()
}

/// Whether our key is written as [`OURS`].
pub(super) fn has_our_word(descriptor: &str) -> bool {
    descriptor
        .split(['(', ',', '{'])
        .any(|part| part.strip_prefix(OURS).is_some_and(|rest| rest.starts_with('/')))
}

/// A descriptor without its checksum. The checksum is that of the text itself, or of `complete`, which
/// contains our key, with or without the shorthand of BIP 388.
pub(super) fn checked(descriptor: &str, complete: Option<&str>) -> Result<String, RegistrationError> {
    let Some((body, sum)) = descriptor.split_once('#') else { return Ok(descriptor.into()) };
    let is_of = |text: &str| {
        let mut engine = Engine::new();
        engine.input(text).is_ok() && engine.checksum() == sum
    };
    let fits = [Some(body), complete].into_iter().flatten().any(|text| {
        is_of(text) || is_of(&text.replace("/**", BOTH_CHAINS)) || is_of(&text.replace(BOTH_CHAINS, "/**"))
    });
    if fits { Ok(body.into()) } else { Err(RegistrationError::Checksum) }
}

/// The meaning of BIP 388's shorthand `/**`.
pub(super) const BOTH_CHAINS: &str = "/<0;1>/*";

/// One descriptor for several that are the same script: one with both chains, or two with single chains.
fn both_chains(lines: &[String]) -> Result<String, RegistrationError> {
    let bodies = lines.iter().map(|line| checked(line, None)).collect::<Result<Vec<_>, _>>()?;
    let (multipath, single): (Vec<_>, Vec<_>) =
        bodies.into_iter().partition(|body| body.contains('<') || body.contains("/**"));
    let one = match (multipath.as_slice(), single.as_slice()) {
        ([one], _) => one.replace("/**", BOTH_CHAINS),
        ([], [external, internal]) => {
            joined(external, internal).ok_or(RegistrationError::SeveralDescriptors(lines.len()))?
        }
        _ => return Err(RegistrationError::SeveralDescriptors(lines.len())),
    };
    if single.iter().all(|single| [0, 1].map(|chain| of_chain(&one, chain)).contains(&Some(single.clone()))) {
        return Ok(one);
    }
    Err(RegistrationError::SeveralDescriptors(lines.len()))
}

/// The descriptor with both chains, from two with one chain each, which differ only in the step before each
/// `*`.
fn joined(external: &str, internal: &str) -> Option<String> {
    let (externals, internals): (Vec<_>, Vec<_>) =
        (external.split("/*").collect(), internal.split("/*").collect());
    if externals.len() != internals.len() || externals.len() < 2 {
        return None;
    }
    let last = externals.len() - 1;
    let mut one = String::new();
    for (part, (external, internal)) in externals.iter().zip(&internals).enumerate() {
        if part == last {
            return (external == internal).then(|| one + external);
        }
        let ((start, first), (same, second)) = (external.rsplit_once('/')?, internal.rsplit_once('/')?);
        let is_chain = |step: &str| step.parse::<u32>().is_ok();
        if start != same || first == second || !is_chain(first) || !is_chain(second) {
            return None;
        }
        one.push_str(&format!("{start}/<{first};{second}>/*"));
    }
    None
}

/// The descriptor with one chain, from one with both.
fn of_chain(both: &str, chain: usize) -> Option<String> {
    let mut parts = both.split('<');
    let mut one = parts.next()?.to_owned();
    for part in parts {
        let (numbers, rest) = part.split_once('>')?;
        one.push_str(numbers.split(';').nth(chain)?);
        one.push_str(rest);
    }
    Some(one)
}
