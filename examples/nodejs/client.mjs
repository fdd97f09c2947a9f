#!/usr/bin/env node
/**
 * A backend in Node.js (pkcs11js, @scure/btc-signer), from a user's enrolment to a signed transaction.
 *
 *     node examples/nodejs/client.mjs enrol USER
 *     node examples/nodejs/client.mjs confirm USER
 *     node examples/nodejs/client.mjs wallet WALLET USER
 *     node examples/nodejs/client.mjs psbt WALLET UNSIGNED
 *     node examples/nodejs/client.mjs sign WALLET USER UNSIGNED SIGNED
 *     node examples/nodejs/client.mjs login WALLET USER UNSIGNED SIGNED
 *     node examples/nodejs/client.mjs finalise SIGNED
 *
 * COUNTERSIGN_MODULE names the module. The security officer's verbs (the first three) take the PIN from
 * COUNTERSIGN_SO_PIN, the backend's from COUNTERSIGN_USER_PIN. The program asks for codes on the terminal. See
 * examples/README.md.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { env, exit, stderr, stdin } from 'node:process';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';

import pkcs11js from 'pkcs11js';

import { sentence } from './rules.mjs';
import { finalise, payment } from './watch_only.mjs';

// include/countersign.h has all of them.
const CKM_COUNTERSIGN_PSBT = 0xc3530001;
const CKM_COUNTERSIGN_TOTP_KEY_GEN = 0xc3530010;
const CKM_COUNTERSIGN_TOTP = 0xc3530011;
const CKM_COUNTERSIGN_WALLET_KEY_GEN = 0xc3530020;
const CKA_COUNTERSIGN_OTPAUTH_URI = 0xc3530100;
const CKA_COUNTERSIGN_NETWORK = 0xc3530110;
const CKA_COUNTERSIGN_USERS = 0xc3530111;
const CKA_COUNTERSIGN_POLICY = 0xc3530112;
const CKA_COUNTERSIGN_DESCRIPTOR = 0xc3530113;

const { CKA_CLASS, CKA_LABEL, CKA_TOKEN, CKO_OTP_KEY, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY } = pkcs11js;
const { CKU_CONTEXT_SPECIFIC, CKU_SO, CKU_USER, CKF_RW_SESSION, CKF_SERIAL_SESSION } = pkcs11js;

// After these two, C_GetSessionInfo gives the number of the rule.
const BY_A_RULE = [0xc3530001, 0xc3530002];

const REFUSALS = new Map([
  [0xc3530001, "CKR_COUNTERSIGN_POLICY: the wallet's policy refuses the transaction, and the code is spent (rule 33: it is frozen, and nothing is spent)"],
  [0xc3530002, 'CKR_COUNTERSIGN_PSBT_REFUSED: the PSBT breaks a rule; the code is not spent'],
  [0xc3530003, 'CKR_COUNTERSIGN_STATE: the module does not trust the sealed state; run countersign doctor'],
  [0xc3530004, "CKR_COUNTERSIGN_CLOCK: the module does not trust the machine's clock; run countersign clock show"],
  [pkcs11js.CKR_PIN_INCORRECT, 'CKR_PIN_INCORRECT: the code is wrong, used or stale (or a PIN is wrong); take the next code'],
  [pkcs11js.CKR_PIN_LOCKED, 'CKR_PIN_LOCKED: too many codes or PINs were wrong, so this one was not checked; wait, or have the user unlocked'],
]);

// A PSBT comes back with a signature for each input, which adds about a hundred bytes each.
const ROOM_FOR_SIGNATURES = 1 << 20;

const module = new pkcs11js.PKCS11();

const VERBS = {
  /** The module makes the secret inside. It comes out once, as the otpauth:// URI that an authenticator app scans. */
  enrol(user) {
    const session = openSession(CKU_SO);
    const template = [
      { type: CKA_CLASS, value: CKO_OTP_KEY },
      { type: CKA_TOKEN, value: true },
      { type: CKA_LABEL, value: user },
    ];
    const key = module.C_GenerateKey(session, { mechanism: CKM_COUNTERSIGN_TOTP_KEY_GEN }, template);
    // Show it to the user as a QR code, and keep no copy: anybody who has it can make codes.
    console.log(text(session, key, CKA_COUNTERSIGN_OTPAUTH_URI));
  },

  /** A first code shows that the user's app has the secret. Before that, the user's codes sign nothing. */
  async confirm(user) {
    const session = openSession(CKU_SO);
    const key = find(session, CKO_OTP_KEY, user);
    const code = Buffer.from(await askCode(user));
    module.C_VerifyInit(session, { mechanism: CKM_COUNTERSIGN_TOTP }, key);
    module.C_Verify(session, Buffer.alloc(0), code);
    console.log(`${user} is confirmed`);
  },

  /** The module makes the key inside, and the key never leaves. A watch-only wallet needs only the descriptor. */
  wallet(label, user) {
    const session = openSession(CKU_SO);
    const both = [
      { type: CKA_LABEL, value: label },
      { type: CKA_TOKEN, value: true },
    ];
    const ofTheWallet = [
      { type: CKA_COUNTERSIGN_NETWORK, value: 'regtest' },
      { type: CKA_COUNTERSIGN_USERS, value: user },
      { type: CKA_COUNTERSIGN_POLICY, value: 'max_transaction_sat = 100000\nmax_fee_sat = 5000\n' },
    ];
    const mechanism = { mechanism: CKM_COUNTERSIGN_WALLET_KEY_GEN };
    const { publicKey } = module.C_GenerateKeyPair(session, mechanism, both, [...both, ...ofTheWallet]);
    console.log(text(session, publicKey, CKA_COUNTERSIGN_DESCRIPTOR));
  },

  psbt(label, unsigned) {
    const session = openSession();
    writeFileSync(unsigned, payment(text(session, find(session, CKO_PUBLIC_KEY, label), CKA_COUNTERSIGN_DESCRIPTOR)));
  },

  /** The first way: the code is in the mechanism's parameter. */
  async sign(label, user, unsigned, signed) {
    const session = openSession(CKU_USER);
    const key = find(session, CKO_PRIVATE_KEY, label);
    const parameter = approval(user, await askCode(user));
    module.C_SignInit(session, { mechanism: CKM_COUNTERSIGN_PSBT, parameter }, key);
    writeFileSync(signed, countersigned(session, readFileSync(unsigned)));
  },

  /** The second way: between C_SignInit and C_Sign the code is the PIN of a context-specific login. */
  async login(label, user, unsigned, signed) {
    const session = openSession(CKU_USER);
    const key = find(session, CKO_PRIVATE_KEY, label);
    const pin = `${user}:${await askCode(user)}`;
    module.C_SignInit(session, { mechanism: CKM_COUNTERSIGN_PSBT }, key);
    module.C_Login(session, CKU_CONTEXT_SPECIFIC, pin);
    writeFileSync(signed, countersigned(session, readFileSync(unsigned)));
  },

  finalise(signed) {
    console.log(finalise(readFileSync(signed)));
  },
};

/** C_Sign. pkcs11js does not ask for the length. It takes a buffer and returns the part that the answer fills. */
function countersigned(session, psbt) {
  try {
    return module.C_Sign(session, psbt, Buffer.alloc(psbt.length + ROOM_FOR_SIGNATURES));
  } catch (error) {
    if (BY_A_RULE.includes(error.code)) console.error(sentence(module.C_GetSessionInfo(session).deviceError));
    throw error;
  }
}

/** COUNTERSIGN_APPROVAL: version 1, factor 1 (TOTP), both lengths, both texts padded with zeros. */
function approval(user, code) {
  const [userBytes, codeBytes] = [Buffer.from(user), Buffer.from(code)];
  if (userBytes.length > 60 || codeBytes.length > 64) throw new Error('the name or the code is too long');
  const record = Buffer.alloc(128);
  record.set([1, 1, userBytes.length, codeBytes.length]);
  record.set(userBytes, 4);
  record.set(codeBytes, 64);
  return record;
}

/** Asks on the terminal, without an echo. */
async function askCode(user) {
  const nowhere = new Writable({ write: (chunk, encoding, done) => done() });
  const terminal = createInterface({ input: stdin, output: nowhere, terminal: stdin.isTTY });
  stderr.write(`code of ${user}: `);
  const code = await terminal.question('');
  terminal.close();
  stderr.write('\n');
  return code;
}

/** A session on the first token: of CKU_SO, of CKU_USER, or public. */
function openSession(role) {
  module.load(env.COUNTERSIGN_MODULE);
  module.C_Initialize();
  const [slot] = module.C_GetSlotList(true);
  const session = module.C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION);
  if (role !== undefined) {
    module.C_Login(session, role, role === CKU_SO ? env.COUNTERSIGN_SO_PIN : env.COUNTERSIGN_USER_PIN);
  }
  return session;
}

function find(session, objectClass, label) {
  module.C_FindObjectsInit(session, [
    { type: CKA_CLASS, value: objectClass },
    { type: CKA_LABEL, value: label },
  ]);
  const [found] = module.C_FindObjects(session, 1);
  module.C_FindObjectsFinal(session);
  if (!found) throw new Error(`no object of this kind is called ${label}`);
  return found;
}

function text(session, object, type) {
  return module.C_GetAttributeValue(session, object, [{ type }])[0].value.toString();
}

const [verb, ...words] = process.argv.slice(2);
if (!Object.hasOwn(VERBS, verb) || words.length !== VERBS[verb].length) {
  console.error('usage: enrol | confirm | wallet | psbt | sign | login | finalise, as above');
  exit(2);
}
try {
  await VERBS[verb](...words);
} catch (error) {
  console.error(REFUSALS.get(error.code) ?? error.message);
  exit(1);
}
