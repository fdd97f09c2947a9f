/**
 * The few miniscript fragments of the client tests: the script of each, and the stack that satisfies it.
 *
 * `satisfy` takes a function that returns a key's signature for the key as it is in the script. It returns undefined if
 * a signature is missing. The last element of a stack is its top, as in a witness.
 */

import { opcodes, script } from 'bitcoinjs-lib';

const EMPTY = new Uint8Array();

function pk(key) {
  return {
    ops: [key, opcodes.OP_CHECKSIG],
    satisfy: (signatureOf) => stackOf([signatureOf(key)]),
    dissatisfy: () => [EMPTY],
  };
}

function verifiedPk(key) {
  return { ops: [key, opcodes.OP_CHECKSIGVERIFY], satisfy: pk(key).satisfy };
}

function multi(threshold, keys) {
  return {
    ops: [push(threshold), ...keys, push(keys.length), opcodes.OP_CHECKMULTISIG],
    satisfy: (signatureOf) => {
      const signatures = firstSignatures(threshold, keys, signatureOf);
      // OP_CHECKMULTISIG takes one element too many.
      return signatures && [EMPTY, ...signatures.filter((signature) => signature !== EMPTY)];
    },
    dissatisfy: () => Array(threshold + 1).fill(EMPTY),
  };
}

function multiA(threshold, keys) {
  const checks = keys.flatMap((key, i) => [key, i === 0 ? opcodes.OP_CHECKSIG : opcodes.OP_CHECKSIGADD]);
  return {
    ops: [...checks, push(threshold), opcodes.OP_NUMEQUAL],
    satisfy: (signatureOf) => firstSignatures(threshold, keys, signatureOf)?.reverse(),
    dissatisfy: () => keys.map(() => EMPTY),
  };
}

function andV(first, second) {
  return {
    ops: [...first.ops, ...second.ops],
    satisfy: (signatureOf) => joined(second.satisfy(signatureOf), first.satisfy(signatureOf)),
  };
}

function orD(first, second) {
  return {
    ops: [...first.ops, opcodes.OP_IFDUP, opcodes.OP_NOTIF, ...second.ops, opcodes.OP_ENDIF],
    satisfy: (signatureOf) =>
      first.satisfy(signatureOf) ?? joined(second.satisfy(signatureOf), first.dissatisfy()),
  };
}

function older(blocks) {
  return {
    ops: [push(blocks), opcodes.OP_CHECKSEQUENCEVERIFY],
    // Never: the sequence of every input that the maker makes disables relative timelocks (BIP 68).
    satisfy: () => undefined,
  };
}

export const FRAGMENTS = { pk, 'v:pk': verifiedPk, multi, multi_a: multiA, and_v: andV, or_d: orD, older };

/** A number for `script.compile`, which turns small ones into OP_1 to OP_16. */
function push(value) {
  return script.number.encode(value);
}

/** For each key its signature, or EMPTY beyond the threshold; undefined if there are too few. */
function firstSignatures(threshold, keys, signatureOf) {
  let missing = threshold;
  const signatures = keys.map((key) => {
    const signature = missing > 0 ? signatureOf(key) : undefined;
    if (signature) missing -= 1;
    return signature ?? EMPTY;
  });
  return missing === 0 ? signatures : undefined;
}

function stackOf(elements) {
  return elements.includes(undefined) ? undefined : elements;
}

function joined(lower, upper) {
  return lower && upper && [...lower, ...upper];
}
