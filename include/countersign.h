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
/* Two CK_ULONG: the next external and the next internal index past the highest used. */
#define CKA_COUNTERSIGN_REACH           0xC3530119UL

/* Attribute of the clock (CKO_HW_FEATURE, CKH_CLOCK) --------------------------------------- */

/* UTF-8: why nothing is signed by the clock as it is now. Empty where it is believed. The SO takes the clock as it is by
 * setting CKA_VALUE to the time, in UTC: YYYYMMDDhhmmss00. */
#define CKA_COUNTERSIGN_CLOCK_REFUSAL   0xC3530120UL

/* Answers ---------------------------------------------------------------------------------- */

/* Refused by a rule of the policy; the audit record names the rule. */
#define CKR_COUNTERSIGN_POLICY          0xC3530001UL
/* A PSBT that parses but breaks a rule of structure, amount or ownership. */
#define CKR_COUNTERSIGN_PSBT_REFUSED    0xC3530002UL
/* The sealed state is missing, older than its anchor, or damaged: the module stays closed. */
#define CKR_COUNTERSIGN_STATE           0xC3530003UL
/* The clock is behind the sealed high-water mark, or jumped. The SO can take it as it is: see the clock's CKA_VALUE. */
#define CKR_COUNTERSIGN_CLOCK           0xC3530004UL

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
