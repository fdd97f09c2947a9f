/* countersign.h: the vendor numbers of the Countersign PKCS#11 module.
 *
 * Include it after a PKCS#11 header of version 2.40 or later, which declares CK_MECHANISM_TYPE and the other types.
 * A number never changes its meaning. New meanings get new numbers.
 *
 * Copyright the Countersign developers. SPDX-License-Identifier: Apache-2.0
 */
#ifndef COUNTERSIGN_H
#define COUNTERSIGN_H 1

/* Mechanisms ------------------------------------------------------------------------------- */

/* C_Sign*, C_SignMessage*: data = a PSBT (BIP 174), result = the same PSBT with our signatures added. */
#define CKM_COUNTERSIGN_PSBT            0xC3530001UL
/* C_Sign*, C_SignMessage*: data = a 32-byte digest, result = r || s (64 bytes, low-S). The key must have been made for
 * digests: by CKM_EC_KEY_PAIR_GEN on secp256k1, with CKA_ALLOWED_MECHANISMS (this mechanism, CKM_ECDSA or both) in the
 * private template. C_Verify* verifies with the public key. */
#define CKM_COUNTERSIGN_DIGEST          0xC3530002UL
/* C_GenerateKey: a user's OTP secret, made inside. CKA_COUNTERSIGN_FACTOR says of which kind. */
#define CKM_COUNTERSIGN_TOTP_KEY_GEN    0xC3530010UL
/* C_Verify*, C_VerifySignature*: data empty, signature = the code. Checks a code of whichever kind the user has, and spends it. The
 * first right code confirms the user. For HOTP the signature may be two codes, one right after the other (16 digits): they
 * resynchronise the counter, up to 1,000 codes ahead. */
#define CKM_COUNTERSIGN_TOTP            0xC3530011UL
/* C_GenerateKeyPair: a BIP 32 master key for one wallet, made inside. */
#define CKM_COUNTERSIGN_WALLET_KEY_GEN  0xC3530020UL

/* Attributes of a user (CKO_OTP_KEY) ------------------------------------------------------- */

/* UTF-8: the otpauth:// URI. Readable once, and only in the SO session that made the key. */
#define CKA_COUNTERSIGN_OTPAUTH_URI     0xC3530100UL
/* CK_BBOOL: the user has confirmed a first code. Until then the user's codes sign nothing. */
#define CKA_COUNTERSIGN_CONFIRMED       0xC3530101UL
/* CK_MECHANISM_TYPE: CKM_SHA_1 (default), CKM_SHA256 or CKM_SHA512. Given at creation. */
#define CKA_COUNTERSIGN_OTP_HASH        0xC3530102UL
/* CK_BBOOL: the user is locked, and the module checks no code of theirs. The SO unlocks the user by setting it to CK_FALSE. That does
 * not help a user of HOTP who was enrolled before the store was restored: enrol them anew. */
#define CKA_COUNTERSIGN_LOCKED          0xC3530103UL
/* CK_ULONG: wrong tries in the last 30 days. Neither a right code nor unlocking lowers it. */
#define CKA_COUNTERSIGN_FAILURES        0xC3530104UL
/* CK_BBOOL: too many codes of all users together were wrong within an hour, so the module checks no code of any user.
 * Unlocking does not change this. */
#define CKA_COUNTERSIGN_STOPPED         0xC3530105UL
/* UTF-8: the hardware wallets by which the user approves proposed transactions, one a line: the network, the address whose key signs messages,
 * and the device's name, with a blank between them. */
#define CKA_COUNTERSIGN_DEVICES         0xC3530190UL
/* Only given, by the SO, and if there are officers, by them. UTF-8: such a line. */
#define CKA_COUNTERSIGN_DEVICE_ADD      0xC3530191UL
/* Only given, by the SO. UTF-8: a device's name. */
#define CKA_COUNTERSIGN_DEVICE_REMOVE   0xC3530192UL
/* CK_ULONG: the user's factor, by its number in approvals: COUNTERSIGN_APPROVAL_FACTOR_TOTP (default) or
 * COUNTERSIGN_APPROVAL_FACTOR_HOTP. Given at creation. A user of HOTP has codes of 8 digits by HMAC-SHA-1, and no time interval. */
#define CKA_COUNTERSIGN_FACTOR          0xC3530106UL

/* Attributes of a wallet (CKO_PRIVATE_KEY and CKO_PUBLIC_KEY) -------------------------------
 * A key that signs digests has two of them, USERS and POLICY. Its policy must have max_period_transactions or unlimited, and
 * may have period_hours, time_windows and required_approvals. */

/* UTF-8: mainnet, testnet, signet or regtest. Given at creation. */
#define CKA_COUNTERSIGN_NETWORK         0xC3530110UL
/* UTF-8: names of the users whose codes sign, separated by U+000A. Given at creation; the SO can change it. */
#define CKA_COUNTERSIGN_USERS           0xC3530111UL
/* UTF-8: the policy, a TOML document. Given at creation; the SO can replace the whole document. */
#define CKA_COUNTERSIGN_POLICY          0xC3530112UL
/* UTF-8: the output descriptor (BIP 380 checksum, BIP 389 multipath). */
#define CKA_COUNTERSIGN_DESCRIPTOR      0xC3530113UL
/* UTF-8: the account's extended public key (BIP 32). */
#define CKA_COUNTERSIGN_XPUB            0xC3530114UL
/* 4 bytes: the master fingerprint (BIP 32). */
#define CKA_COUNTERSIGN_FINGERPRINT     0xC3530115UL
/* UTF-8: the account's derivation path from the master key, for example m/84'/0'/0'. May be given at creation. */
#define CKA_COUNTERSIGN_PATH            0xC3530116UL
/* UTF-8: the wallet policy (BIP 388): the descriptor template, then one line for each key. Write "ours" for the key that the
 * module makes. A descriptor with "ours" in the place of that key is accepted as well. If a creation template leaves this
 * attribute out, the wallet is wpkh. If the template gives it empty, it stays empty until the SO sets it, once. */
#define CKA_COUNTERSIGN_WALLET_POLICY   0xC3530117UL
/* 32 bytes: the wallet id, SHA-256 of the descriptor with its checksum. Empty until the wallet policy is registered. */
#define CKA_COUNTERSIGN_WALLET_ID       0xC3530118UL
/* Two CK_ULONG: the external and the internal index after the highest one used. The SO can raise each, up to 2^31 - 1. A
 * lower value than the present one changes nothing. */
#define CKA_COUNTERSIGN_REACH           0xC3530119UL

/* Attribute of the clock (CKO_HW_FEATURE, CKH_CLOCK) --------------------------------------- */

/* UTF-8: why the module does not trust the clock and signs nothing. Empty if it trusts the clock. The SO accepts the clock
 * by setting CKA_VALUE to the time that it shows, in UTC: YYYYMMDDhhmmss00. */
#define CKA_COUNTERSIGN_CLOCK_REFUSAL   0xC3530120UL

/* Freezes -------------------------------------------------------------------------------------
 * An administrator stops a wallet, a key that signs digests, a user or everything, at once. */

/* CK_BBOOL of a wallet, a key that signs digests, a user, and the object below: true if it is frozen. The SO freezes by setting
 * CK_TRUE and thaws by setting CK_FALSE. Setting the value that it has already changes nothing. A template that sets it has no
 * other attribute. */
#define CKA_COUNTERSIGN_FROZEN          0xC3530140UL
/* The CKA_HW_FEATURE_TYPE of an object (CKO_HW_FEATURE) that everybody sees. While its CKA_COUNTERSIGN_FROZEN is true, the module
 * signs nothing and checks no code, whatever the attribute of the wallet, key or user says. */
#define CKH_COUNTERSIGN_FREEZE          0xC3530002UL

/* Officers ------------------------------------------------------------------------------------
 * Where a token has officers, an administrator alone cannot do what lets coins move more easily. Such a call is refused with
 * CKR_COUNTERSIGN_ACT. It leaves a draft in its session: an object of class CKO_COUNTERSIGN_PROPOSAL with CKA_TOKEN
 * CK_FALSE, whose CKA_VALUE is the text of the act. The next refused call of the session replaces it. Officers sign that
 * text, in the format of minisign. */

/* The class of one token object, which everybody sees without a login, in a search for this class: the officers. */
#define CKO_COUNTERSIGN_OFFICERS        0xC3530001UL
/* The class of proposed acts and of drafts. A proposed act is a token object that everybody sees, without a login: officers have no
 * PIN. CKA_ID is its nonce (16 bytes), CKA_LABEL what it does. C_CreateObject with CKA_TOKEN CK_TRUE and CKA_VALUE proposes
 * an act: by the SO, or by anybody who gives an officer's CKA_COUNTERSIGN_ACT_SIGNATURE as well. C_DestroyObject by the SO withdraws
 * what no officer has signed. C_CreateObject with CKA_TOKEN CK_FALSE and CKA_COUNTERSIGN_ACT_DO makes a draft. Like the officers, acts are
 * found only by a search for their class. */
#define CKO_COUNTERSIGN_PROPOSAL        0xC3530002UL
/* UTF-8, of CKO_COUNTERSIGN_OFFICERS: the officers, how many of them must sign, and how long an act then waits, one value a line.
 * Empty if there are none. The SO sets it once, while it is empty; after that, only officers change it. */
#define CKA_COUNTERSIGN_COUNCIL         0xC3530150UL
/* The rest are attributes of CKO_COUNTERSIGN_PROPOSAL, whose CKA_VALUE (UTF-8) is the text of the act. A draft has CKA_VALUE and the
 * first of these. CK_ULONG: CS_RULE_ACT_TIGHTENS and so on. */
#define CKA_COUNTERSIGN_ACT_CLASS       0xC3530152UL
/* CK_ULONG: CS_ACT_UNSIGNED and so on. */
#define CKA_COUNTERSIGN_ACT_STATE       0xC3530153UL
/* CK_ULONG: the seconds of delay that are left; 0 unless the state is CS_ACT_WAITING. Only time in which the boundary runs counts. */
#define CKA_COUNTERSIGN_ACT_DELAY       0xC3530154UL
/* CK_ULONG: how many officers have signed, and how many must. */
#define CKA_COUNTERSIGN_ACT_SIGNED      0xC3530155UL
#define CKA_COUNTERSIGN_ACT_NEEDED      0xC3530156UL
/* UTF-8: the signatures, one after the other, each of four lines in minisign's format. */
#define CKA_COUNTERSIGN_ACT_SIGNATURES  0xC3530157UL
/* UTF-8: names of the users who may veto, separated by U+000A. */
#define CKA_COUNTERSIGN_ACT_VETOERS     0xC3530158UL
/* CK_ULONG: Unix time in seconds, after which the act cannot be carried out. */
#define CKA_COUNTERSIGN_ACT_EXPIRES     0xC3530159UL
/* UTF-8: who vetoed it, or why it is void; else empty. */
#define CKA_COUNTERSIGN_ACT_ENDED       0xC353015AUL
/* The others are only given, and C_SetAttributeValue takes one of them at a time. UTF-8: an officer's signature of the text, in
 * minisign's format, without a login. The act is carried out at once if nothing else is missing. */
#define CKA_COUNTERSIGN_ACT_SIGNATURE   0xC3530160UL
/* UTF-8: an officer's veto, without a login: their signature of these three lines, each of which ends in U+000A: "countersign/veto/1", "store " and the
 * store's id, "act " and the digest of the act, both in lower-case hex. The digest is SHA-256 of "countersign/act-text/v1", a zero byte
 * and the text. */
#define CKA_COUNTERSIGN_ACT_VETO        0xC3530161UL
/* UTF-8: a user's veto, as "user:code", in a session in which somebody is logged in. The code is charged and spent like any other. */
#define CKA_COUNTERSIGN_ACT_VETO_CODE   0xC3530162UL
/* CK_BBOOL, CK_TRUE: carry it out, if it is due. Anybody may ask. */
#define CKA_COUNTERSIGN_ACT_CARRY_OUT   0xC3530163UL
/* UTF-8, for C_CreateObject of a draft: what it is to do: "freeze wallet LABEL", "freeze key LABEL", "freeze user NAME",
 * "freeze all" or "so-pin-lost DIGEST", where DIGEST is in lower-case hex SHA-256 of "countersign/so-pin-heir/v1", a zero byte, the 8
 * bytes of the token's serial number and a random secret of 32 to 255 bytes. After such an act was carried out, CKF_SO_PIN_TO_BE_CHANGED
 * is set, and C_InitToken with that secret as the PIN and with the token's own label makes the secret the next SO PIN. Nothing else is
 * changed. Another secret is CKR_PIN_INCORRECT, and is counted like a wrong SO PIN. "freeze user NAME" needs a login: without one, the
 * answer is CKR_USER_NOT_LOGGED_IN for every name. */
#define CKA_COUNTERSIGN_ACT_DO          0xC3530164UL

/* Classes: an act is what its loosest part is. */
#define CS_RULE_ACT_TIGHTENS            0x101UL /* one officer's signature is enough, and nothing waits */
#define CS_RULE_ACT_NEUTRAL             0x102UL /* the SO does it alone */
#define CS_RULE_ACT_LOOSENS             0x103UL /* enough officers sign, then it waits */
#define CS_RULE_ACT_VOUCHLESS           0x104UL /* enough officers sign, nothing waits: nothing is left that could vouch for a delay */

/* States. */
#define CS_ACT_UNSIGNED                 0x201UL
#define CS_ACT_WAITING                  0x202UL
#define CS_ACT_DUE                      0x203UL
#define CS_ACT_CARRIED_OUT              0x204UL
#define CS_ACT_VETOED                   0x205UL
#define CS_ACT_EXPIRED                  0x206UL
#define CS_ACT_VOID                     0x207UL

/* Reasons of CKR_COUNTERSIGN_ACT_REFUSED. */
#define CS_ACT_REFUSED_TEXT             0x301UL /* the bytes are no act, or not in the one form of an act */
#define CS_ACT_REFUSED_VOID             0x302UL /* another store, a restoration since, or its subject or the officers have changed */
#define CS_ACT_REFUSED_EXPIRED          0x303UL /* its date is past */
#define CS_ACT_REFUSED_EXPIRES_LATE     0x304UL /* its date is more than 30 days after the delay, or 8 days from now if it tightens */
#define CS_ACT_REFUSED_NEEDS_NOBODY     0x305UL /* the SO does it alone */
#define CS_ACT_REFUSED_KNOWN            0x306UL /* it was proposed before */
#define CS_ACT_REFUSED_ROOM             0x307UL /* the officer or SO who brings it has too many proposals */
#define CS_ACT_REFUSED_SIGNATURE        0x308UL /* not an officer's signature of this text */
#define CS_ACT_REFUSED_AGAIN            0x309UL /* this officer has signed already */
#define CS_ACT_REFUSED_NOTHING_TO_VETO  0x30AUL /* an act without a delay */
#define CS_ACT_REFUSED_NO_VETOER        0x30BUL /* the act did not concern this user when it was proposed */
#define CS_ACT_REFUSED_OVER             0x30CUL /* the proposal is closed */
#define CS_ACT_REFUSED_NOT_DUE          0x30DUL /* signatures are missing, or it still waits */
#define CS_ACT_REFUSED_NO_OFFICERS      0x30EUL /* the token has no officers */
#define CS_ACT_REFUSED_UNKNOWN          0x30FUL /* there is no such proposal */
#define CS_ACT_REFUSED_SIGNED           0x310UL /* an officer has signed it, so nobody withdraws it: an officer can veto it */
#define CS_ACT_REFUSED_OWN_REMOVAL      0x311UL /* the act removes the officer whose veto it is; another officer's veto counts */

/* Proposed transactions -----------------------------------------------------------------------
 * A code shows that its user was there, and not what the user agreed to. So a backend can first put a transaction before its users: the module
 * checks it as for signing, writes what it does (a statement), and waits for the users' approvals. Then C_Sign takes the ticket in place of
 * codes (COUNTERSIGN_APPROVAL_FACTOR_TICKET), for that transaction alone, once.
 * A proposed transaction is a private token object of class CKO_COUNTERSIGN_PROPOSAL, found only by a search for that class: by the backend that
 * proposed it, by the SO, and by the desk, which needs no login and may do nothing but read them and bring what users say ([serve.desk]). CKA_ID is the ticket (16 bytes), CKA_LABEL the wallet's label. C_CreateObject with CKA_TOKEN CK_TRUE,
 * CKA_VALUE (a PSBT), CKA_COUNTERSIGN_PROPOSAL_WALLET and, if not all users of the wallet are asked, CKA_COUNTERSIGN_USERS proposes one: as a
 * backend that is logged in, for as long as the wallet's policy says. C_DestroyObject by the backend that proposed it withdraws it. Its own attributes: */
/* CK_ULONG, also of acts and drafts: CS_PROPOSAL_ACT or CS_PROPOSAL_TRANSACTION. */
#define CKA_COUNTERSIGN_PROPOSAL_KIND   0xC3530170UL
/* Bytes: CKA_ID of the wallet's keys. */
#define CKA_COUNTERSIGN_PROPOSAL_WALLET 0xC3530171UL
/* UTF-8: the statement for each of the users in CKA_COUNTERSIGN_USERS, in that order. Each begins with "countersign/approve/1", and its
 * last line begins with "until". */
#define CKA_COUNTERSIGN_STATEMENT       0xC3530172UL
/* 32 bytes for each of them, in the same order: what the user's approval is bound to. */
#define CKA_COUNTERSIGN_CONSENT_DIGEST  0xC3530173UL
/* CK_ULONG: CS_CONSENT_OPEN and so on. */
#define CKA_COUNTERSIGN_CONSENT_STATE   0xC3530174UL
/* CK_ULONG: how many users must approve. */
#define CKA_COUNTERSIGN_CONSENT_NEEDED  0xC3530175UL
/* UTF-8: who has approved, one a line: the time (as in 2026-11-29T12:05:00Z), the means and the name, with a blank between them. */
#define CKA_COUNTERSIGN_CONSENT_GIVEN   0xC3530176UL
/* CK_ULONG: Unix time in seconds, after which it is void. */
#define CKA_COUNTERSIGN_CONSENT_EXPIRES 0xC3530177UL
/* UTF-8: who refused it; else empty. */
#define CKA_COUNTERSIGN_CONSENT_ENDED   0xC3530178UL
/* Only given, one at a time, by a backend that is logged in or by the desk. UTF-8: a user's approval or refusal, as "user:code". The code is charged and
 * spent like any other, in the commit that records it. A refusal ends the proposal. */
#define CKA_COUNTERSIGN_CONSENT_APPROVE 0xC3530180UL
#define CKA_COUNTERSIGN_CONSENT_REFUSE  0xC3530181UL

/* UTF-8, one line for each of CKA_COUNTERSIGN_USERS: what the user's hardware wallet shows and signs as a message, to approve and to refuse. Empty
 * lines if the transaction says too much for a device. */
#define CKA_COUNTERSIGN_DEVICE_APPROVAL 0xC3530182UL
#define CKA_COUNTERSIGN_DEVICE_REFUSAL  0xC3530183UL
/* Only given. UTF-8: such a signature, as "user:signature", in base64 (BIP 137, or BIP 322 simple). Nothing is charged. */
#define CKA_COUNTERSIGN_APPROVE_SIGNED  0xC3530184UL
#define CKA_COUNTERSIGN_REFUSE_SIGNED   0xC3530185UL

/* Kinds of proposals. */
#define CS_PROPOSAL_ACT                 0x401UL
#define CS_PROPOSAL_TRANSACTION         0x402UL

/* States. */
#define CS_CONSENT_OPEN                 0x411UL /* users must still approve */
#define CS_CONSENT_APPROVED             0x412UL /* its ticket signs */
#define CS_CONSENT_REFUSED              0x413UL
#define CS_CONSENT_WITHDRAWN            0x414UL
#define CS_CONSENT_SPENT                0x415UL /* its transaction was signed */
#define CS_CONSENT_EXPIRED              0x416UL

/* Reasons of CKR_COUNTERSIGN_ACT_REFUSED. */
#define CS_CONSENT_REFUSED_STATEMENT    0x421UL /* the transaction says too much for a statement */
#define CS_CONSENT_REFUSED_ASKED        0x422UL /* fewer users are asked than must approve, or one of them twice */
#define CS_CONSENT_REFUSED_STRANGER     0x423UL /* somebody is asked who does not sign for this wallet, or is not confirmed */
#define CS_CONSENT_REFUSED_ROOM         0x424UL /* too many proposals of this wallet or backend */
#define CS_CONSENT_REFUSED_UNKNOWN      0x425UL /* there is no such proposal any more */
#define CS_CONSENT_REFUSED_NOT_ASKED    0x426UL /* this user was not asked, or was enrolled again since */
#define CS_CONSENT_REFUSED_NOT_MAKER    0x427UL /* another backend made it */
#define CS_CONSENT_REFUSED_OVER         0x428UL /* it is closed */
#define CS_CONSENT_REFUSED_LIFETIME     0x429UL /* it would be open for too long */
#define CS_CONSENT_REFUSED_MEANS        0x42AUL /* for so much the wallet counts no approval by this means */
#define CS_CONSENT_REFUSED_NO_DEVICE    0x42BUL /* the user has no device for this network */
#define CS_CONSENT_REFUSED_SIGNATURE    0x42CUL /* no device of the user's signed this text */
#define CS_CONSENT_REFUSED_GIVEN        0x42DUL /* the user has approved it so already */

/* The backends' PIN (CKO_HW_FEATURE) ---------------------------------------------------------
 * An object that only the SO sees, and that exists once the PIN is set. It has the attributes below and two from above:
 * CKA_COUNTERSIGN_LOCKED, true if the PIN is locked for some peer or for all, which the SO sets to CK_FALSE to give every peer
 * its tries back; and CKA_COUNTERSIGN_FAILURES, the wrong tries of all peers in the last 30 days, which only a new PIN
 * lowers. */

/* Its CKA_HW_FEATURE_TYPE. */
#define CKH_COUNTERSIGN_USER_PIN        0xC3530001UL
/* CK_BBOOL: the PIN is declared lost. The SO declares it by setting this to CK_TRUE. From then on nobody can log in with the
 * PIN, every login by it ends, and C_InitPIN can set a new one. */
#define CKA_COUNTERSIGN_PIN_LOST        0xC3530130UL
/* UTF-8: one line for each peer that has tried a wrong PIN since its last right one: the number of wrong tries, a space, and
 * the peer, for example "5 user 1000", "1 certificate backend.example", "2 context id 3". "the rest" stands for all peers
 * beyond the 64th, and for processes that have loaded the engine themselves. Lines are separated by U+000A. */
#define CKA_COUNTERSIGN_PIN_TRIES       0xC3530131UL

/* Answers ---------------------------------------------------------------------------------- */

/* A rule of the policy refuses, and the codes are spent. Or, with CS_RULE_FROZEN, an administrator froze the wallet or key, a user
 * whose code came with the request, or everything: then the module checked no code and spent nothing, and one frozen user refuses a
 * request with several codes. ulDeviceError is the number of the rule; the audit has its tag. */
#define CKR_COUNTERSIGN_POLICY          0xC3530001UL
/* The PSBT parses but breaks a rule of structure, amount or ownership. ulDeviceError is the number of the rule. */
#define CKR_COUNTERSIGN_PSBT_REFUSED    0xC3530002UL
/* The sealed state is missing, damaged or older than its anchor. The module stays closed. */
#define CKR_COUNTERSIGN_STATE           0xC3530003UL
/* The clock is behind the newest sealed record, or it jumped. The SO can accept it: see CKA_COUNTERSIGN_CLOCK_REFUSAL. */
#define CKR_COUNTERSIGN_CLOCK           0xC3530004UL
/* Officers must sign this, and nothing was changed. ulDeviceError is the class (CS_RULE_ACT_LOOSENS or CS_RULE_ACT_VOUCHLESS), and the session
 * has a draft: see CKO_COUNTERSIGN_PROPOSAL. */
#define CKR_COUNTERSIGN_ACT             0xC3530006UL
/* The ticket is for just this transaction, and too few users have approved it so far. Nothing was charged, and the ticket stays as it is. */
#define CKR_COUNTERSIGN_PENDING         0xC3530007UL
/* A proposed act, a signature or a veto is not accepted, or a proposed transaction, or what a user says to it. ulDeviceError is the reason
 * (CS_ACT_REFUSED_TEXT and so on, CS_CONSENT_REFUSED_STATEMENT and so on). */
#define CKR_COUNTERSIGN_ACT_REFUSED     0xC3530008UL

/* Rules ------------------------------------------------------------------------------------- */

/* Each rule has a number. ulDeviceError of C_GetSessionInfo is the number of the rule that refused the session's last
 * transaction: after CKR_COUNTERSIGN_POLICY (the code was right, except for rule 33), after CKR_COUNTERSIGN_PSBT_REFUSED,
 * and after CKR_DATA_INVALID or CKR_DATA_LEN_RANGE for a PSBT (rules 29 to 32). It is 0 after every
 * other answer, also after a refused code, and again as soon as the session starts its next operation or message. A rule keeps its number for ever. A number that
 * is not listed here belongs to a rule that is newer than this header. */
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
#define CS_RULE_FROZEN                  33UL
#define CS_RULE_CONSENT                 34UL

/* Each rule with its tag (its name in the documentation, the log and the audit) and a sentence for people. Use it like this:
 *     #define CASE(number, tag, sentence) case number: return tag ": " sentence;
 *     switch (info.ulDeviceError) { COUNTERSIGN_RULES(CASE) } */
#define COUNTERSIGN_RULES(RULE) \
    RULE(CS_RULE_UTXO_MISSING, "utxo-missing", "An input lacks the previous transaction that proves its amount.") \
    RULE(CS_RULE_UTXO_TXID, "utxo-txid", "The transaction that comes with an input is not the one that the input spends.") \
    RULE(CS_RULE_UTXO_VOUT, "utxo-vout", "An input spends an output that its previous transaction does not have.") \
    RULE(CS_RULE_UTXO_DISAGREE, "utxo-disagree", "The PSBT describes the output that an input spends twice, and the two differ.") \
    RULE(CS_RULE_AMOUNT_RANGE, "amount-range", "An amount is over 21 million bitcoin, or more goes out than comes in.") \
    RULE(CS_RULE_FEE_CAP, "fee-cap", "The fee is over the limit of the policy.") \
    RULE(CS_RULE_TRANSACTION_MAX, "transaction-max", "More would leave the wallet than one transaction may take out.") \
    RULE(CS_RULE_PERIOD_MAX, "period-max", "More would leave the wallet than the current period allows.") \
    RULE(CS_RULE_PERIOD_TRANSACTIONS, "period-transactions", "The current period has no signature left.") \
    RULE(CS_RULE_ALLOWLIST, "allowlist", "An output pays a destination that is not on the allowlist.") \
    RULE(CS_RULE_DENYLIST, "denylist", "An output pays a destination that is on the denylist.") \
    RULE(CS_RULE_TIME_WINDOW, "time-window", "The policy allows no signature at this time of the week.") \
    RULE(CS_RULE_APPROVALS, "approvals", "The policy requires right codes from more users.") \
    RULE(CS_RULE_CHANGE_PATH, "change-path", "An output claims to be change at a path that this wallet does not reach.") \
    RULE(CS_RULE_CHANGE_MULTISIG, "change-multisig", "An output has our key in a script that is not the registered one.") \
    RULE(CS_RULE_SCRIPT_MISMATCH, "script-mismatch", "A script in the PSBT is not the script of its output.") \
    RULE(CS_RULE_DERIVED_KEY, "derived-key", "A path in the PSBT does not derive the key that is listed with it.") \
    RULE(CS_RULE_NETWORK, "network", "The PSBT and the wallet are for different networks.") \
    RULE(CS_RULE_MIXED_WALLETS, "mixed-wallets", "An input belongs to another wallet.") \
    RULE(CS_RULE_REQUIRE_COSIGNER, "require-cosigner", "The cosigner that the policy requires has not signed every input yet.") \
    RULE(CS_RULE_SIGHASH_TYPE, "sighash-type", "The PSBT has, or asks for, a signature of a type other than ALL.") \
    RULE(CS_RULE_DUPLICATE_INPUT, "duplicate-input", "Two inputs spend the same output.") \
    RULE(CS_RULE_NO_OUTPUTS, "no-outputs", "The transaction has no outputs.") \
    RULE(CS_RULE_NO_INPUT_OF_OURS, "no-input-of-ours", "No input belongs to this wallet.") \
    RULE(CS_RULE_FOREIGN_PARTIAL_SIG, "foreign-partial-sig", "A signature that is already in the PSBT does not verify.") \
    RULE(CS_RULE_ALREADY_FINAL, "already-final", "An input of this wallet is already finalised.") \
    RULE(CS_RULE_OP_RETURN_VALUE, "op-return-value", "An OP_RETURN output has a value, which would be lost.") \
    RULE(CS_RULE_MESSAGE, "message", "The PSBT would sign a message, not a payment.") \
    RULE(CS_RULE_NOT_A_PSBT, "not-a-psbt", "The bytes are not a PSBT.") \
    RULE(CS_RULE_DUPLICATE_KEY, "duplicate-key", "A map of the PSBT has the same key twice.") \
    RULE(CS_RULE_TRAILING_BYTES, "trailing-bytes", "Bytes follow the last map of the PSBT.") \
    RULE(CS_RULE_OVERSIZE, "oversize", "The PSBT exceeds a limit of the module.") \
    RULE(CS_RULE_FROZEN, "frozen", "An administrator froze the wallet or key, a user who approves, or everything.") \
    RULE(CS_RULE_CONSENT, "consent", "The policy asks users to approve what they are shown, and too few did so by a means that counts.") \
    /* the end of the list */

/* The approval ----------------------------------------------------------------------------- */

/* pParameter of CKM_COUNTERSIGN_PSBT and CKM_COUNTERSIGN_DIGEST, or of each message of C_SignMessage*: 1 to 16 records
 * of 128 bytes. CKM_ECDSA takes no parameter: its code comes by C_Login(CKU_CONTEXT_SPECIFIC). */
#define COUNTERSIGN_APPROVAL_VERSION      1
#define COUNTERSIGN_APPROVAL_FACTOR_TOTP  1
/* A proposed transaction in place of codes. Its record stands alone and has no user. */
#define COUNTERSIGN_APPROVAL_FACTOR_TICKET 2
#define COUNTERSIGN_APPROVAL_FACTOR_HOTP  3
#define COUNTERSIGN_APPROVAL_MAX_RECORDS  16

typedef struct COUNTERSIGN_APPROVAL {
    unsigned char version;   /* COUNTERSIGN_APPROVAL_VERSION */
    unsigned char factor;    /* COUNTERSIGN_APPROVAL_FACTOR_TOTP and so on */
    unsigned char userLen;   /* 0..60; 0 means the only user of the wallet or key */
    unsigned char codeLen;   /* 6..8 for TOTP and HOTP, 32 for a ticket (hex) */
    unsigned char user[60];  /* UTF-8, zero padded */
    unsigned char code[64];  /* ASCII, zero padded */
} COUNTERSIGN_APPROVAL;

#endif /* COUNTERSIGN_H */
