//! The vendor numbers of `include/countersign.h`. The header is their source, and a test compares them.

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_HW_FEATURE_TYPE, CK_MECHANISM_TYPE, CK_OBJECT_CLASS, CK_RV, CK_ULONG,
};

/// `C_Sign*`: data = a PSBT (BIP 174), result = the same PSBT with our signatures added.
pub const CKM_COUNTERSIGN_PSBT: CK_MECHANISM_TYPE = 0xC353_0001;
/// `C_Sign*`: data = a 32-byte digest, result = r ‖ s. Only on keys made for it.
pub const CKM_COUNTERSIGN_DIGEST: CK_MECHANISM_TYPE = 0xC353_0002;
/// `C_GenerateKey`: a user's OTP secret, made inside.
pub const CKM_COUNTERSIGN_TOTP_KEY_GEN: CK_MECHANISM_TYPE = 0xC353_0010;
/// `C_Verify*`: data empty, signature = the code.
pub const CKM_COUNTERSIGN_TOTP: CK_MECHANISM_TYPE = 0xC353_0011;
/// `C_GenerateKeyPair`: a BIP 32 master key for one wallet, made inside.
pub const CKM_COUNTERSIGN_WALLET_KEY_GEN: CK_MECHANISM_TYPE = 0xC353_0020;

/// UTF-8: the otpauth:// URI. Readable once, and only in the SO session that made the key.
pub const CKA_COUNTERSIGN_OTPAUTH_URI: CK_ATTRIBUTE_TYPE = 0xC353_0100;
/// `CK_BBOOL`: the user has confirmed a first code.
pub const CKA_COUNTERSIGN_CONFIRMED: CK_ATTRIBUTE_TYPE = 0xC353_0101;
/// `CK_MECHANISM_TYPE`: `CKM_SHA_1`, `CKM_SHA256` or `CKM_SHA512`.
pub const CKA_COUNTERSIGN_OTP_HASH: CK_ATTRIBUTE_TYPE = 0xC353_0102;
/// `CK_BBOOL`: the user is locked, and no code of theirs is checked.
pub const CKA_COUNTERSIGN_LOCKED: CK_ATTRIBUTE_TYPE = 0xC353_0103;
/// `CK_ULONG`: wrong tries in the last 30 days.
pub const CKA_COUNTERSIGN_FAILURES: CK_ATTRIBUTE_TYPE = 0xC353_0104;
/// `CK_BBOOL`: too many codes of all users were wrong within an hour, so no code of any user is checked.
pub const CKA_COUNTERSIGN_STOPPED: CK_ATTRIBUTE_TYPE = 0xC353_0105;

/// UTF-8: mainnet, testnet, signet or regtest.
pub const CKA_COUNTERSIGN_NETWORK: CK_ATTRIBUTE_TYPE = 0xC353_0110;
/// UTF-8: names of the users whose codes sign, separated by U+000A.
pub const CKA_COUNTERSIGN_USERS: CK_ATTRIBUTE_TYPE = 0xC353_0111;
/// UTF-8: the policy, a TOML document.
pub const CKA_COUNTERSIGN_POLICY: CK_ATTRIBUTE_TYPE = 0xC353_0112;
/// UTF-8: the output descriptor.
pub const CKA_COUNTERSIGN_DESCRIPTOR: CK_ATTRIBUTE_TYPE = 0xC353_0113;
/// UTF-8: the account's extended public key.
pub const CKA_COUNTERSIGN_XPUB: CK_ATTRIBUTE_TYPE = 0xC353_0114;
/// 4 bytes: the master fingerprint.
pub const CKA_COUNTERSIGN_FINGERPRINT: CK_ATTRIBUTE_TYPE = 0xC353_0115;
/// UTF-8: the account's derivation path from the master key.
pub const CKA_COUNTERSIGN_PATH: CK_ATTRIBUTE_TYPE = 0xC353_0116;
/// UTF-8: the wallet policy (BIP 388).
pub const CKA_COUNTERSIGN_WALLET_POLICY: CK_ATTRIBUTE_TYPE = 0xC353_0117;
/// 32 bytes: SHA-256 of the descriptor with its checksum.
pub const CKA_COUNTERSIGN_WALLET_ID: CK_ATTRIBUTE_TYPE = 0xC353_0118;
/// Two `CK_ULONG`: the external and the internal index after the highest one used.
pub const CKA_COUNTERSIGN_REACH: CK_ATTRIBUTE_TYPE = 0xC353_0119;

/// UTF-8: why the clock is not trusted and nothing is signed. Empty if it is trusted.
pub const CKA_COUNTERSIGN_CLOCK_REFUSAL: CK_ATTRIBUTE_TYPE = 0xC353_0120;

/// `CK_BBOOL`: it is frozen.
pub const CKA_COUNTERSIGN_FROZEN: CK_ATTRIBUTE_TYPE = 0xC353_0140;
/// The freeze of everything, as a hardware feature.
pub const CKH_COUNTERSIGN_FREEZE: CK_HW_FEATURE_TYPE = 0xC353_0002;

/// The class of the officers.
pub const CKO_COUNTERSIGN_OFFICERS: CK_OBJECT_CLASS = 0xC353_0001;
/// UTF-8: the officers, how many of them must sign, and how long an act then waits. Empty if there are none.
pub const CKA_COUNTERSIGN_COUNCIL: CK_ATTRIBUTE_TYPE = 0xC353_0150;

/// The backends' PIN, as a hardware feature.
pub const CKH_COUNTERSIGN_USER_PIN: CK_HW_FEATURE_TYPE = 0xC353_0001;
/// `CK_BBOOL`: the backends' PIN is declared lost.
pub const CKA_COUNTERSIGN_PIN_LOST: CK_ATTRIBUTE_TYPE = 0xC353_0130;
/// UTF-8: a line for each peer that has tried a wrong PIN since its last right one.
pub const CKA_COUNTERSIGN_PIN_TRIES: CK_ATTRIBUTE_TYPE = 0xC353_0131;

/// A rule of the policy refuses.
pub const CKR_COUNTERSIGN_POLICY: CK_RV = 0xC353_0001;
/// The PSBT parses but breaks a rule of structure, amount or ownership.
pub const CKR_COUNTERSIGN_PSBT_REFUSED: CK_RV = 0xC353_0002;
/// The sealed state is missing, damaged or older than its anchor.
pub const CKR_COUNTERSIGN_STATE: CK_RV = 0xC353_0003;
/// The clock is behind the newest sealed record, or it jumped.
pub const CKR_COUNTERSIGN_CLOCK: CK_RV = 0xC353_0004;
/// Something that the request needs is frozen.
pub const CKR_COUNTERSIGN_FROZEN: CK_RV = 0xC353_0005;
/// Officers must sign this.
pub const CKR_COUNTERSIGN_NEEDS_OFFICERS: CK_RV = 0xC353_0006;

/// An act that tightens.
pub const CS_ACT_TIGHTENS: CK_ULONG = 0x101;
/// A neutral act.
pub const CS_ACT_NEUTRAL: CK_ULONG = 0x102;
/// An act that loosens.
pub const CS_ACT_LOOSENS: CK_ULONG = 0x103;
/// An act that nothing is left to vouch for.
pub const CS_ACT_VOUCHLESS: CK_ULONG = 0x104;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    /// The names begin so. The rules, which have names of their own form, are compared elsewhere.
    const BEGINNINGS: [&str; 2] = ["CK", "CS_ACT_"];

    fn defines(text: &str) -> BTreeMap<&str, u64> {
        text.lines()
            .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
            .filter(|(name, _)| BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)))
            .map(|(name, value)| {
                let value = value.trim().strip_prefix("0x").expect("hex");
                let (value, _) = value.split_once("UL").expect("a CK_ULONG");
                (name, u64::from_str_radix(value, 16).expect("hex"))
            })
            .collect()
    }

    fn constants(text: &str) -> BTreeMap<&str, u64> {
        text.lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": "))
            .map(|(name, rest)| {
                let (_, value) = rest.split_once("= 0x").expect("hex");
                (name, u64::from_str_radix(&value.trim_end_matches(';').replace('_', ""), 16).expect("hex"))
            })
            .collect()
    }

    #[test]
    fn the_constants_are_the_headers() {
        let header = defines(include_str!("../../include/countersign.h"));
        assert_eq!(header.len(), 39);
        assert_eq!(header, constants(include_str!("vendor.rs")));
    }
}
