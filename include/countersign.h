/* countersign.h: the vendor numbers of the Countersign PKCS#11 module.
 *
 * Include it after a PKCS#11 header (2.40 or later) that declares CK_MECHANISM_TYPE and its kin.
 * The numbers are fixed: a change is a new number beside the old one.
 *
 * Copyright the Countersign developers. SPDX-License-Identifier: Apache-2.0
 */
#ifndef COUNTERSIGN_H
#define COUNTERSIGN_H 1

/* Mechanisms ------------------------------------------------------------------------------- */

/* C_Sign*, C_SignMessage*: data = a PSBT (BIP 174), result = the same PSBT with our signatures added. */
#define CKM_COUNTERSIGN_PSBT            0xC3530001UL
/* C_Sign*, C_SignMessage*: data = a 32-byte digest, result = r || s (64 bytes, low-S). Only on keys made for it: by
 * CKM_EC_KEY_PAIR_GEN on secp256k1, with CKA_ALLOWED_MECHANISMS (this one, CKM_ECDSA or both) in the private template,
 * where it must be given. C_Verify*: with the public key. */
#define CKM_COUNTERSIGN_DIGEST          0xC3530002UL
/* C_GenerateKey: a user's OTP secret, made inside. */
#define CKM_COUNTERSIGN_TOTP_KEY_GEN    0xC3530010UL
/* C_Verify*, C_VerifySignature*: data empty, signature = the code. Confirms an enrolment, spends the step. */
#define CKM_COUNTERSIGN_TOTP            0xC3530011UL
/* C_GenerateKeyPair: a BIP 32 master for one wallet, made inside. */
#define CKM_COUNTERSIGN_WALLET_KEY_GEN  0xC3530020UL

/* Attributes of a user (CKO_OTP_KEY) ------------------------------------------------------- */

/* UTF-8: the otpauth:// URI. Read exactly once, in the SO session that made the key. */
#define CKA_COUNTERSIGN_OTPAUTH_URI     0xC3530100UL
/* CK_BBOOL: a first code was confirmed. Until then the user can sign nothing. */
#define CKA_COUNTERSIGN_CONFIRMED       0xC3530101UL
/* CK_MECHANISM_TYPE: CKM_SHA_1 (default), CKM_SHA256 or CKM_SHA512. Given at creation. */
#define CKA_COUNTERSIGN_OTP_HASH        0xC3530102UL
/* CK_BBOOL: codes are not evaluated now. The SO unlocks by setting it to CK_FALSE. */
#define CKA_COUNTERSIGN_LOCKED          0xC3530103UL
/* CK_ULONG: failed tries in the last 30 days. Neither success nor unlocking lowers it. */
#define CKA_COUNTERSIGN_FAILURES        0xC3530104UL
/* CK_BBOOL: too many codes of all users were wrong within an hour, and nobody's is looked at. Unlocking changes nothing. */
#define CKA_COUNTERSIGN_STOPPED         0xC3530105UL

/* Attributes of a wallet (CKO_PRIVATE_KEY and CKO_PUBLIC_KEY) -------------------------------
 * A key that signs digests has USERS and POLICY; its policy has max_period_transactions or unlimited, and may have
 * period_hours, time_windows and required_approvals. */

/* UTF-8: mainnet, testnet, signet or regtest. Given at creation. */
#define CKA_COUNTERSIGN_NETWORK         0xC3530110UL
/* UTF-8: names of the users whose codes sign, separated by U+000A. Given at creation, changed by the SO. */
#define CKA_COUNTERSIGN_USERS           0xC3530111UL
/* UTF-8: the policy, a TOML document. Given at creation, changed as a whole by the SO. */
#define CKA_COUNTERSIGN_POLICY          0xC3530112UL
/* UTF-8: the output descriptor (BIP 380 checksum, BIP 389 multipath). */
#define CKA_COUNTERSIGN_DESCRIPTOR      0xC3530113UL
/* UTF-8: the account's extended public key (BIP 32). */
#define CKA_COUNTERSIGN_XPUB            0xC3530114UL
/* 4 bytes: the master fingerprint (BIP 32). */
#define CKA_COUNTERSIGN_FINGERPRINT     0xC3530115UL
/* UTF-8: the account's derivation path from the master, as in m/84'/0'/0'. May be given at creation. */
#define CKA_COUNTERSIGN_PATH            0xC3530116UL
/* UTF-8: the wallet policy (BIP 388): the descriptor template, then a line for each key, "ours" for the key that is made
 * here; or a descriptor with "ours" in its place. wpkh where it is not given at creation; where it is given empty, the SO
 * sets it later, once. Empty until then. */
#define CKA_COUNTERSIGN_WALLET_POLICY   0xC3530117UL
/* 32 bytes: names the wallet's script, SHA-256 of its descriptor with the checksum. Empty until it is registered. */
#define CKA_COUNTERSIGN_WALLET_ID       0xC3530118UL
/* Two CK_ULONG: the next external and the next internal index past the highest used. The SO raises them, below 2^31: what is
 * given lower than it is stays as it is. */
#define CKA_COUNTERSIGN_REACH           0xC3530119UL

/* Attribute of the clock (CKO_HW_FEATURE, CKH_CLOCK) --------------------------------------- */

/* UTF-8: why nothing is signed by the clock as it is now. Empty where it is believed. The SO takes the clock as it is by
 * setting CKA_VALUE to the time, in UTC: YYYYMMDDhhmmss00. */
#define CKA_COUNTERSIGN_CLOCK_REFUSAL   0xC3530120UL

/* The backends' PIN (CKO_HW_FEATURE) ---------------------------------------------------------
 * An object that the SO alone sees, once the PIN is set. It has CKA_COUNTERSIGN_LOCKED (to some peer or to all; the SO sets it
 * to CK_FALSE to give every peer its tries back), CKA_COUNTERSIGN_FAILURES (wrong tries of all peers in the last 30 days,
 * which only a new PIN lowers) and what follows. */

/* Its CKA_HW_FEATURE_TYPE. */
#define CKH_COUNTERSIGN_USER_PIN        0xC3530001UL
/* CK_BBOOL: the PIN was declared lost. The SO sets it to CK_TRUE: from then on the PIN opens nothing, every login by it ends,
 * and C_InitPIN sets another one. */
#define CKA_COUNTERSIGN_PIN_LOST        0xC3530130UL
/* UTF-8: a line for each peer that has tried a wrong PIN since its last right one: how often, a blank, and the peer, as in
 * "5 user 1000", "1 certificate backend.example", "2 context id 3". "the rest" are the peers beyond the 64th, and processes
 * that have loaded the module themselves. Lines are separated by U+000A. */
#define CKA_COUNTERSIGN_PIN_TRIES       0xC3530131UL

/* Answers ---------------------------------------------------------------------------------- */

/* Refused by a rule of the policy; ulDeviceError names the rule, and so does the audit record. */
#define CKR_COUNTERSIGN_POLICY          0xC3530001UL
/* A PSBT that parses but breaks a rule of structure, amount or ownership; ulDeviceError names the rule. */
#define CKR_COUNTERSIGN_PSBT_REFUSED    0xC3530002UL
/* The sealed state is missing, older than its anchor, or damaged: the module stays closed. */
#define CKR_COUNTERSIGN_STATE           0xC3530003UL
/* The clock is behind the sealed high-water mark, or jumped. The SO can take it as it is: see the clock's CKA_VALUE. */
#define CKR_COUNTERSIGN_CLOCK           0xC3530004UL

/* Rules ------------------------------------------------------------------------------------- */

/* Why a session's last transaction was refused: after CKR_COUNTERSIGN_POLICY (the code was right) or
 * CKR_COUNTERSIGN_PSBT_REFUSED, and where CKR_DATA_INVALID or CKR_DATA_LEN_RANGE is about a PSBT (rules 29 to 32),
 * ulDeviceError of C_GetSessionInfo is the number of the rule. It is 0 after any other answer,
 * a refused code among them, and from the moment the session's next operation or message starts. Each rule keeps its number
 * for ever; a rule that you do not know is newer than this header. */
#define CS_RULE_UTXO_MISSING            1UL
#define CS_RULE_UTXO_TXID               2UL
#define CS_RULE_UTXO_VOUT               3UL
#define CS_RULE_UTXO_DISAGREE           4UL
#define CS_RULE_AMOUNT_RANGE            5UL
#define CS_RULE_FEE_CAP                 6UL
#define CS_RULE_TRANSACTION_MAX         7UL
#define CS_RULE_PERIOD_MAX              8UL
#define CS_RULE_PERIOD_TRANSACTIONS     9UL
#define CS_RULE_ALLOWLIST               10UL
#define CS_RULE_DENYLIST                11UL
#define CS_RULE_TIME_WINDOW             12UL
#define CS_RULE_APPROVALS               13UL
#define CS_RULE_CHANGE_PATH             14UL
#define CS_RULE_CHANGE_MULTISIG         15UL
#define CS_RULE_SCRIPT_MISMATCH         16UL
#define CS_RULE_DERIVED_KEY             17UL
#define CS_RULE_NETWORK                 18UL
#define CS_RULE_MIXED_WALLETS           19UL
#define CS_RULE_REQUIRE_COSIGNER        20UL
#define CS_RULE_SIGHASH_TYPE            21UL
#define CS_RULE_DUPLICATE_INPUT         22UL
#define CS_RULE_NO_OUTPUTS              23UL
#define CS_RULE_NO_INPUT_OF_OURS        24UL
#define CS_RULE_FOREIGN_PARTIAL_SIG     25UL
#define CS_RULE_ALREADY_FINAL           26UL
#define CS_RULE_OP_RETURN_VALUE         27UL
#define CS_RULE_MESSAGE                 28UL
#define CS_RULE_NOT_A_PSBT              29UL
#define CS_RULE_DUPLICATE_KEY           30UL
#define CS_RULE_TRAILING_BYTES          31UL
#define CS_RULE_OVERSIZE                32UL

/* Each rule with its tag, which is its name in the documentation, the log and the audit, and a sentence for a person. In C:
 *     #define CASE(number, tag, sentence) case number: return tag ": " sentence;
 *     switch (info.ulDeviceError) { COUNTERSIGN_RULES(CASE) } */
#define COUNTERSIGN_RULES(RULE) \
    RULE(CS_RULE_UTXO_MISSING, "utxo-missing", "An input lacks the previous transaction that proves its amount.") \
    RULE(CS_RULE_UTXO_TXID, "utxo-txid", "An input comes with another transaction than the one that it spends.") \
    RULE(CS_RULE_UTXO_VOUT, "utxo-vout", "An input spends an output that its previous transaction does not have.") \
    RULE(CS_RULE_UTXO_DISAGREE, "utxo-disagree", "The two records of the output that an input spends differ.") \
    RULE(CS_RULE_AMOUNT_RANGE, "amount-range", "An amount is over 21 million bitcoin, or more goes out than comes in.") \
    RULE(CS_RULE_FEE_CAP, "fee-cap", "The fee is over the limit of the policy.") \
    RULE(CS_RULE_TRANSACTION_MAX, "transaction-max", "More would leave the wallet than one transaction may take out.") \
    RULE(CS_RULE_PERIOD_MAX, "period-max", "More would leave the wallet than the current period allows.") \
    RULE(CS_RULE_PERIOD_TRANSACTIONS, "period-transactions", "The current period has no signature left.") \
    RULE(CS_RULE_ALLOWLIST, "allowlist", "An output pays a destination that is not on the allowlist.") \
    RULE(CS_RULE_DENYLIST, "denylist", "An output pays a destination that is on the denylist.") \
    RULE(CS_RULE_TIME_WINDOW, "time-window", "The policy allows no signature at this time of the week.") \
    RULE(CS_RULE_APPROVALS, "approvals", "The policy requires right codes of more users.") \
    RULE(CS_RULE_CHANGE_PATH, "change-path", "An output claims to be change at a path that this wallet does not reach.") \
    RULE(CS_RULE_CHANGE_MULTISIG, "change-multisig", "An output has our key in a script that is not the registered one.") \
    RULE(CS_RULE_SCRIPT_MISMATCH, "script-mismatch", "A script in the PSBT is not the script of its output.") \
    RULE(CS_RULE_DERIVED_KEY, "derived-key", "A path in the PSBT derives another key than the one listed with it.") \
    RULE(CS_RULE_NETWORK, "network", "The PSBT is for another network than the wallet.") \
    RULE(CS_RULE_MIXED_WALLETS, "mixed-wallets", "An input belongs to another wallet.") \
    RULE(CS_RULE_REQUIRE_COSIGNER, "require-cosigner", "The cosigner whom the policy names has not signed every input yet.") \
    RULE(CS_RULE_SIGHASH_TYPE, "sighash-type", "A signature of another type than ALL is there, or is asked for.") \
    RULE(CS_RULE_DUPLICATE_INPUT, "duplicate-input", "Two inputs spend the same output.") \
    RULE(CS_RULE_NO_OUTPUTS, "no-outputs", "The transaction has no outputs.") \
    RULE(CS_RULE_NO_INPUT_OF_OURS, "no-input-of-ours", "No input belongs to this wallet.") \
    RULE(CS_RULE_FOREIGN_PARTIAL_SIG, "foreign-partial-sig", "A signature that is already in the PSBT does not verify.") \
    RULE(CS_RULE_ALREADY_FINAL, "already-final", "An input of this wallet is already finalised.") \
    RULE(CS_RULE_OP_RETURN_VALUE, "op-return-value", "An OP_RETURN output has a value, which would be lost.") \
    RULE(CS_RULE_MESSAGE, "message", "What the PSBT asks for signs a message, not a payment.") \
    RULE(CS_RULE_NOT_A_PSBT, "not-a-psbt", "The bytes are not a PSBT.") \
    RULE(CS_RULE_DUPLICATE_KEY, "duplicate-key", "A map of the PSBT has the same key twice.") \
    RULE(CS_RULE_TRAILING_BYTES, "trailing-bytes", "Bytes follow the last map of the PSBT.") \
    RULE(CS_RULE_OVERSIZE, "oversize", "The PSBT exceeds a limit of the module.") \
    /* the end of the list */

/* The approval ----------------------------------------------------------------------------- */

/* pParameter of CKM_COUNTERSIGN_PSBT and CKM_COUNTERSIGN_DIGEST, or of each message of C_SignMessage*: 1 to 16 records
 * of 128 bytes. CKM_ECDSA has none: its code comes by C_Login(CKU_CONTEXT_SPECIFIC). */
#define COUNTERSIGN_APPROVAL_VERSION      1
#define COUNTERSIGN_APPROVAL_FACTOR_TOTP  1
#define COUNTERSIGN_APPROVAL_MAX_RECORDS  16

typedef struct COUNTERSIGN_APPROVAL {
    unsigned char version;   /* COUNTERSIGN_APPROVAL_VERSION */
    unsigned char factor;    /* COUNTERSIGN_APPROVAL_FACTOR_TOTP */
    unsigned char userLen;   /* 0..60; 0 means the only user of the wallet or key */
    unsigned char codeLen;   /* 6..8 for TOTP */
    unsigned char user[60];  /* UTF-8, zero padded */
    unsigned char code[64];  /* ASCII, zero padded */
} COUNTERSIGN_APPROVAL;

#endif /* COUNTERSIGN_H */
