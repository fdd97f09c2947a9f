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
/// UTF-8: the user's devices, one a line.
pub const CKA_COUNTERSIGN_DEVICES: CK_ATTRIBUTE_TYPE = 0xC353_0190;
/// UTF-8, only given: a device to register, as such a line.
pub const CKA_COUNTERSIGN_DEVICE_ADD: CK_ATTRIBUTE_TYPE = 0xC353_0191;
/// UTF-8, only given: the name of a device to remove.
pub const CKA_COUNTERSIGN_DEVICE_REMOVE: CK_ATTRIBUTE_TYPE = 0xC353_0192;
/// `CK_ULONG`: the number of the user's factor in approvals.
pub const CKA_COUNTERSIGN_FACTOR: CK_ATTRIBUTE_TYPE = 0xC353_0106;

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
/// The class of proposed acts and of drafts.
pub const CKO_COUNTERSIGN_PROPOSAL: CK_OBJECT_CLASS = 0xC353_0002;
/// UTF-8: the officers, how many of them must sign, and how long an act then waits. Empty if there are none.
pub const CKA_COUNTERSIGN_COUNCIL: CK_ATTRIBUTE_TYPE = 0xC353_0150;
/// `CK_ULONG`: what it is.
pub const CKA_COUNTERSIGN_ACT_CLASS: CK_ATTRIBUTE_TYPE = 0xC353_0152;
/// `CK_ULONG`: what became of it.
pub const CKA_COUNTERSIGN_ACT_STATE: CK_ATTRIBUTE_TYPE = 0xC353_0153;
/// `CK_ULONG`: the seconds of delay that are left.
pub const CKA_COUNTERSIGN_ACT_DELAY: CK_ATTRIBUTE_TYPE = 0xC353_0154;
/// `CK_ULONG`: how many officers have signed.
pub const CKA_COUNTERSIGN_ACT_SIGNED: CK_ATTRIBUTE_TYPE = 0xC353_0155;
/// `CK_ULONG`: how many officers must sign.
pub const CKA_COUNTERSIGN_ACT_NEEDED: CK_ATTRIBUTE_TYPE = 0xC353_0156;
/// UTF-8: the signatures, one after the other.
pub const CKA_COUNTERSIGN_ACT_SIGNATURES: CK_ATTRIBUTE_TYPE = 0xC353_0157;
/// UTF-8: names of the users who may veto, separated by U+000A.
pub const CKA_COUNTERSIGN_ACT_VETOERS: CK_ATTRIBUTE_TYPE = 0xC353_0158;
/// `CK_ULONG`: Unix time in seconds, after which it cannot be carried out.
pub const CKA_COUNTERSIGN_ACT_EXPIRES: CK_ATTRIBUTE_TYPE = 0xC353_0159;
/// UTF-8: who vetoed it, or why it is void.
pub const CKA_COUNTERSIGN_ACT_ENDED: CK_ATTRIBUTE_TYPE = 0xC353_015A;
/// UTF-8: an officer's signature of the text.
pub const CKA_COUNTERSIGN_ACT_SIGNATURE: CK_ATTRIBUTE_TYPE = 0xC353_0160;
/// UTF-8: an officer's veto.
pub const CKA_COUNTERSIGN_ACT_VETO: CK_ATTRIBUTE_TYPE = 0xC353_0161;
/// UTF-8: a user's veto, as "user:code".
pub const CKA_COUNTERSIGN_ACT_VETO_CODE: CK_ATTRIBUTE_TYPE = 0xC353_0162;
/// `CK_BBOOL`: carry it out.
pub const CKA_COUNTERSIGN_ACT_CARRY_OUT: CK_ATTRIBUTE_TYPE = 0xC353_0163;
/// UTF-8: what a draft is to do.
pub const CKA_COUNTERSIGN_ACT_DO: CK_ATTRIBUTE_TYPE = 0xC353_0164;

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
/// Officers must sign this.
pub const CKR_COUNTERSIGN_ACT: CK_RV = 0xC353_0006;
/// The ticket is for just this, and too few users have approved it.
pub const CKR_COUNTERSIGN_PENDING: CK_RV = 0xC353_0007;
/// A proposed act, a signature or a veto is not accepted.
pub const CKR_COUNTERSIGN_ACT_REFUSED: CK_RV = 0xC353_0008;

/// An act that tightens.
pub const CS_RULE_ACT_TIGHTENS: CK_ULONG = 0x101;
/// A neutral act.
pub const CS_RULE_ACT_NEUTRAL: CK_ULONG = 0x102;
/// An act that loosens.
pub const CS_RULE_ACT_LOOSENS: CK_ULONG = 0x103;
/// An act that nothing is left to vouch for.
pub const CS_RULE_ACT_VOUCHLESS: CK_ULONG = 0x104;
/// Too few officers have signed.
pub const CS_ACT_UNSIGNED: CK_ULONG = 0x201;
/// The delay is not over.
pub const CS_ACT_WAITING: CK_ULONG = 0x202;
/// It can be carried out.
pub const CS_ACT_DUE: CK_ULONG = 0x203;
/// It was carried out.
pub const CS_ACT_CARRIED_OUT: CK_ULONG = 0x204;
/// It was vetoed.
pub const CS_ACT_VETOED: CK_ULONG = 0x205;
/// Its date is past.
pub const CS_ACT_EXPIRED: CK_ULONG = 0x206;
/// Something that it was written for has changed.
pub const CS_ACT_VOID: CK_ULONG = 0x207;
/// The bytes are no act.
pub const CS_ACT_REFUSED_TEXT: CK_ULONG = 0x301;
/// Something that the act was written for has changed.
pub const CS_ACT_REFUSED_VOID: CK_ULONG = 0x302;
/// Its date is past.
pub const CS_ACT_REFUSED_EXPIRED: CK_ULONG = 0x303;
/// Its date is too far.
pub const CS_ACT_REFUSED_EXPIRES_LATE: CK_ULONG = 0x304;
/// The security officer does it alone.
pub const CS_ACT_REFUSED_NEEDS_NOBODY: CK_ULONG = 0x305;
/// It was proposed before.
pub const CS_ACT_REFUSED_KNOWN: CK_ULONG = 0x306;
/// Whoever brings it has too many proposals.
pub const CS_ACT_REFUSED_ROOM: CK_ULONG = 0x307;
/// Not an officer's signature of this text.
pub const CS_ACT_REFUSED_SIGNATURE: CK_ULONG = 0x308;
/// This officer has signed already.
pub const CS_ACT_REFUSED_AGAIN: CK_ULONG = 0x309;
/// An act without a delay.
pub const CS_ACT_REFUSED_NOTHING_TO_VETO: CK_ULONG = 0x30a;
/// The act did not concern this user.
pub const CS_ACT_REFUSED_NO_VETOER: CK_ULONG = 0x30b;
/// The proposal is closed.
pub const CS_ACT_REFUSED_OVER: CK_ULONG = 0x30c;
/// Signatures are missing, or it still waits.
pub const CS_ACT_REFUSED_NOT_DUE: CK_ULONG = 0x30d;
/// The token has no officers.
pub const CS_ACT_REFUSED_NO_OFFICERS: CK_ULONG = 0x30e;
/// There is no such proposal.
pub const CS_ACT_REFUSED_UNKNOWN: CK_ULONG = 0x30f;
/// An officer has signed it, so nobody withdraws it.
pub const CS_ACT_REFUSED_SIGNED: CK_ULONG = 0x310;
/// The act removes the officer whose veto it is.
pub const CS_ACT_REFUSED_OWN_REMOVAL: CK_ULONG = 0x311;

/// `CK_ULONG`: what is proposed.
pub const CKA_COUNTERSIGN_PROPOSAL_KIND: CK_ATTRIBUTE_TYPE = 0xC353_0170;
/// Bytes: `CKA_ID` of the wallet whose transaction is proposed.
pub const CKA_COUNTERSIGN_PROPOSAL_WALLET: CK_ATTRIBUTE_TYPE = 0xC353_0171;
/// UTF-8: the statements for the users who are asked, in their order.
pub const CKA_COUNTERSIGN_STATEMENT: CK_ATTRIBUTE_TYPE = 0xC353_0172;
/// 32 bytes for each user who is asked: what an approval is bound to.
pub const CKA_COUNTERSIGN_CONSENT_DIGEST: CK_ATTRIBUTE_TYPE = 0xC353_0173;
/// `CK_ULONG`: the state of a proposed transaction.
pub const CKA_COUNTERSIGN_CONSENT_STATE: CK_ATTRIBUTE_TYPE = 0xC353_0174;
/// `CK_ULONG`: how many users must approve.
pub const CKA_COUNTERSIGN_CONSENT_NEEDED: CK_ATTRIBUTE_TYPE = 0xC353_0175;
/// UTF-8: who has approved, one a line.
pub const CKA_COUNTERSIGN_CONSENT_GIVEN: CK_ATTRIBUTE_TYPE = 0xC353_0176;
/// `CK_ULONG`: Unix time in seconds, after which it is void.
pub const CKA_COUNTERSIGN_CONSENT_EXPIRES: CK_ATTRIBUTE_TYPE = 0xC353_0177;
/// UTF-8: who refused it.
pub const CKA_COUNTERSIGN_CONSENT_ENDED: CK_ATTRIBUTE_TYPE = 0xC353_0178;
/// UTF-8, only given: an approval, as "user:code".
pub const CKA_COUNTERSIGN_CONSENT_APPROVE: CK_ATTRIBUTE_TYPE = 0xC353_0180;
/// UTF-8, only given: a refusal, as "user:code".
pub const CKA_COUNTERSIGN_CONSENT_REFUSE: CK_ATTRIBUTE_TYPE = 0xC353_0181;
/// An act.
pub const CS_PROPOSAL_ACT: CK_ULONG = 0x401;
/// A transaction.
pub const CS_PROPOSAL_TRANSACTION: CK_ULONG = 0x402;
/// Users must still approve.
pub const CS_CONSENT_OPEN: CK_ULONG = 0x411;
/// Its ticket signs.
pub const CS_CONSENT_APPROVED: CK_ULONG = 0x412;
/// A user refused it.
pub const CS_CONSENT_REFUSED: CK_ULONG = 0x413;
/// Its maker withdrew it.
pub const CS_CONSENT_WITHDRAWN: CK_ULONG = 0x414;
/// Its transaction was signed.
pub const CS_CONSENT_SPENT: CK_ULONG = 0x415;
/// Its time is over.
pub const CS_CONSENT_EXPIRED: CK_ULONG = 0x416;
/// The transaction says too much for a statement.
pub const CS_CONSENT_REFUSED_STATEMENT: CK_ULONG = 0x421;
/// Fewer users are asked than must approve, or one of them twice.
pub const CS_CONSENT_REFUSED_ASKED: CK_ULONG = 0x422;
/// Somebody is asked whose approval would not count.
pub const CS_CONSENT_REFUSED_STRANGER: CK_ULONG = 0x423;
/// Too many proposals.
pub const CS_CONSENT_REFUSED_ROOM: CK_ULONG = 0x424;
/// There is no such proposal.
pub const CS_CONSENT_REFUSED_UNKNOWN: CK_ULONG = 0x425;
/// This user was not asked.
pub const CS_CONSENT_REFUSED_NOT_ASKED: CK_ULONG = 0x426;
/// Another backend made it.
pub const CS_CONSENT_REFUSED_NOT_MAKER: CK_ULONG = 0x427;
/// It is closed.
pub const CS_CONSENT_REFUSED_OVER: CK_ULONG = 0x428;
/// It would be open for too long.
pub const CS_CONSENT_REFUSED_LIFETIME: CK_ULONG = 0x429;
/// UTF-8: what each user's device shows and signs to approve.
pub const CKA_COUNTERSIGN_DEVICE_APPROVAL: CK_ATTRIBUTE_TYPE = 0xC353_0182;
/// UTF-8: what each user's device shows and signs to refuse.
pub const CKA_COUNTERSIGN_DEVICE_REFUSAL: CK_ATTRIBUTE_TYPE = 0xC353_0183;
/// UTF-8, only given: an approval signed by a device, as "user:signature".
pub const CKA_COUNTERSIGN_APPROVE_SIGNED: CK_ATTRIBUTE_TYPE = 0xC353_0184;
/// UTF-8, only given: a refusal signed by a device, as "user:signature".
pub const CKA_COUNTERSIGN_REFUSE_SIGNED: CK_ATTRIBUTE_TYPE = 0xC353_0185;
/// For so much the wallet counts no approval by this means.
pub const CS_CONSENT_REFUSED_MEANS: CK_ULONG = 0x42a;
/// The user has no device for this network.
pub const CS_CONSENT_REFUSED_NO_DEVICE: CK_ULONG = 0x42b;
/// No device of the user's signed this text.
pub const CS_CONSENT_REFUSED_SIGNATURE: CK_ULONG = 0x42c;
/// The user has approved it so already.
pub const CS_CONSENT_REFUSED_GIVEN: CK_ULONG = 0x42d;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    /// The names begin so. The rules, which have names of their own form, are compared elsewhere.
    const BEGINNINGS: [&str; 5] = ["CK", "CS_ACT_", "CS_RULE_ACT_", "CS_CONSENT_", "CS_PROPOSAL_"];

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
        assert_eq!(header.len(), 119);
        assert_eq!(header, constants(include_str!("vendor.rs")));
    }
}
