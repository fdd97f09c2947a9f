/**
 * Reads public multipath descriptors (BIP 380 to 389), which bitcoinjs-lib does not know. Only in the forms that
 * the client tests use. An address comes out as its scripts, its keys with their origins, and how to spend its miniscript.
 */

import { BIP32Factory } from 'bip32';
import { initEccLib, networks, payments, script, toXOnly } from 'bitcoinjs-lib';
import { LEAF_VERSION_TAPSCRIPT, tapleafHash } from 'bitcoinjs-lib/src/payments/bip341';
import { tapTreeToList } from 'bitcoinjs-lib/src/psbt/bip371';
import * as ecc from 'tiny-secp256k1';

import { FRAGMENTS } from './miniscript.mjs';

initEccLib(ecc);

export const bip32 = BIP32Factory(ecc);

/** The library lacks something, which the message names. */
export class Unsupported extends Error {}

/** The branches of a multipath key: receive addresses, and change. */
export const EXTERNAL = 0;
export const INTERNAL = 1;

const NETWORKS = {
  mainnet: networks.bitcoin,
  testnet: networks.testnet,
  signet: networks.testnet,
  regtest: networks.regtest,
};

const KEY = /^\[([0-9a-f]{8})((?:\/\d+[h'])*)\](\w+)\/<(\d+);(\d+)>\/\*$/;

export function networkOf(job) {
  const network = NETWORKS[job.network];
  if (!network) throw new Error(`there is no network ${job.network}`);
  return network;
}

/** The address of a descriptor at an index of a branch. */
export function addressAt(descriptor, network, branch, index) {
  const keys = [];
  const readKey = (text) => {
    const key = keyAt(text, network, branch, index);
    keys.push(key);
    return key.pubkey;
  };
  const text = withoutChecksum(descriptor);
  const { name, parts } = call(text);
  if (!Object.hasOwn(OUTPUTS, name)) throw unread(text);
  return { keys, ...OUTPUTS[name](parts, readKey) };
}

/** The outputs that can be at the top or in sh(): each with its payment and its fields in a PSBT. */
const OUTPUTS = {
  pkh: ([key], readKey) => ({ output: payments.p2pkh({ pubkey: readKey(key) }).output }),

  wpkh: ([key], readKey) => ({ output: payments.p2wpkh({ pubkey: readKey(key) }).output, segwit: true }),

  sh: ([inner], readKey) => {
    const { name, parts } = call(inner);
    const redeem = ['wpkh', 'wsh'].includes(name)
      ? OUTPUTS[name](parts, readKey)
      : { output: multisig(inner, readKey) };
    return { ...redeem, output: payments.p2sh({ redeem }).output, redeemScript: redeem.output };
  },

  wsh: ([inner], readKey) => {
    const isMultisig = ['multi', 'sortedmulti'].includes(call(inner).name);
    // Only miniscript needs a finaliser of its own: multisig is a type that the library can finalise.
    const fragment = isMultisig ? undefined : fragmentOf(inner, readKey);
    const witnessScript = isMultisig ? multisig(inner, readKey) : script.compile(fragment.ops);
    const { output } = payments.p2wsh({ redeem: { output: witnessScript } });
    return { output, witnessScript, fragment, segwit: true };
  },

  tr: ([key, tree], readKey) => {
    const internalPubkey = toXOnly(readKey(key));
    const leaves = [];
    const scriptTree = tree && treeOf(tree, readKey, leaves);
    const payment = payments.p2tr({ internalPubkey, scriptTree });
    for (const leaf of leaves) {
      const redeem = { output: leaf.script, redeemVersion: LEAF_VERSION_TAPSCRIPT };
      leaf.controlBlock = payments.p2tr({ internalPubkey, scriptTree, redeem }).witness.at(-1);
    }
    const tapTree = scriptTree && { leaves: tapTreeToList(scriptTree) };
    return {
      output: payment.output,
      segwit: true,
      taproot: { internalPubkey, merkleRoot: payment.hash, leaves, tapTree },
    };
  },
};

/** A bare multi() or sortedmulti(). */
function multisig(text, readKey) {
  const { name, parts } = call(text);
  const [threshold, ...keys] = parts;
  const pubkeys = keys.map(readKey);
  if (name === 'sortedmulti') pubkeys.sort(Buffer.compare);
  else if (name !== 'multi') throw unread(text);
  return payments.p2ms({ m: number(threshold), pubkeys }).output;
}

/** A script tree as the library's p2tr takes it; its leaves are added to a list. */
function treeOf(text, readKey, leaves) {
  if (text.startsWith('{')) {
    return split(text.slice(1, -1)).map((half) => treeOf(half, readKey, leaves));
  }
  const pubkeys = [];
  const fragment = fragmentOf(text, (key) => {
    const pubkey = toXOnly(readKey(key));
    pubkeys.push(pubkey);
    return pubkey;
  });
  const leaf = { fragment, pubkeys, script: script.compile(fragment.ops) };
  leaf.hash = tapleafHash({ output: leaf.script, version: LEAF_VERSION_TAPSCRIPT });
  leaves.push(leaf);
  return { output: leaf.script, version: LEAF_VERSION_TAPSCRIPT };
}

function fragmentOf(text, readKey) {
  const { name, parts } = call(text);
  switch (name) {
    case 'pk':
    case 'v:pk':
      return FRAGMENTS[name](readKey(parts[0]));
    case 'multi':
    case 'multi_a':
      return FRAGMENTS[name](number(parts[0]), parts.slice(1).map(readKey));
    case 'and_v':
    case 'or_d':
      return FRAGMENTS[name](...parts.map((part) => fragmentOf(part, readKey)));
    case 'older':
      return FRAGMENTS[name](number(parts[0]));
    default:
      throw unread(text);
  }
}

/** A key expression `[fingerprint/path]xpub/<external;internal>/*`, derived. */
function keyAt(text, network, branch, index) {
  const match = KEY.exec(text);
  if (!match) throw new Error(`not a key with an origin and two branches: ${text}`);
  const [, fingerprint, origin, xpub, ...branches] = match;
  const steps = `${branches[branch]}/${index}`;
  return {
    masterFingerprint: Buffer.from(fingerprint, 'hex'),
    path: `m${origin.replaceAll('h', "'")}/${steps}`,
    pubkey: bip32.fromBase58(xpub, network).derivePath(steps).publicKey,
  };
}

/** Splits `name(part,part)` into its name and its unread parts. */
function call(text) {
  const match = /^((?:v:)?[a-z_]+)\((.+)\)$/.exec(text);
  if (!match) throw unread(text);
  return { name: match[1], parts: split(match[2]) };
}

/** Splits a list at the commas that are in no brackets. */
function split(list) {
  const parts = [''];
  let depth = 0;
  for (const character of list) {
    if ('({'.includes(character)) depth += 1;
    if (')}'.includes(character)) depth -= 1;
    if (character === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts;
}

function number(text) {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`not a number of a descriptor: ${text}`);
  return Number(text);
}

function unread(text) {
  return new Unsupported(
    'bitcoinjs-lib has neither a descriptor parser nor a miniscript compiler, ' +
      `and this maker's small reader does not know ${text.split('(')[0]}()`,
  );
}

const INPUT_CHARSET =
  '0123456789()[],\'/*abcdefgh@:$%{}' +
  'IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~' +
  'ijklmnopqrstuvwxyzABCDEFGH`#"\\ ';
const CHECKSUM_CHARSET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const GENERATOR = [0xf5dee51989n, 0xa9fdca3312n, 0x1bab10e32dn, 0x3706b1677an, 0x644d626ffdn];

/** The descriptor without its checksum, which must be present and right (BIP 380). */
function withoutChecksum(descriptor) {
  const [text, checksum] = descriptor.split('#');
  if (checksum !== checksumOf(text)) throw new Error('the checksum of the descriptor is wrong or missing');
  return text;
}

function checksumOf(text) {
  const positions = [...text].map((character) => INPUT_CHARSET.indexOf(character));
  if (positions.includes(-1)) throw new Error('the descriptor has a character that none can have');
  // Each character gives its low five bits. The high bits of three characters make one more symbol.
  const symbols = [];
  for (let start = 0; start < positions.length; start += 3) {
    const group = positions.slice(start, start + 3);
    symbols.push(...group.map((position) => position & 31));
    symbols.push(group.reduce((high, position) => high * 3 + (position >> 5), 0));
  }
  const remainder = [...symbols, 0, 0, 0, 0, 0, 0, 0, 0].reduce(polymod, 1n) ^ 1n;
  const digits = Array.from({ length: 8 }, (_, place) => Number((remainder >> BigInt(5 * place)) & 31n));
  return digits.reverse().map((digit) => CHECKSUM_CHARSET[digit]).join('');
}

function polymod(remainder, symbol) {
  const top = remainder >> 35n;
  const shifted = ((remainder & 0x7ffffffffn) << 5n) ^ BigInt(symbol);
  return GENERATOR.reduce((sum, term, bit) => ((top >> BigInt(bit)) & 1n ? sum ^ term : sum), shifted);
}
