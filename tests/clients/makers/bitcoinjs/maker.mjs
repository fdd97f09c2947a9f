/**
 * A maker of PSBTs with bitcoinjs-lib, which knows nothing of Countersign: reads one JSON job on standard input and
 * writes one JSON answer on standard output. On an error: a line on standard error, and status 1.
 */

import { randomBytes } from 'node:crypto';

import { Psbt, Transaction, toXOnly } from 'bitcoinjs-lib';
import { LEAF_VERSION_TAPSCRIPT } from 'bitcoinjs-lib/src/payments/bip341';

import { addressAt, EXTERNAL, INTERNAL, networkOf, Unsupported } from './descriptor.mjs';
import { finish } from './finish.mjs';

const TX_VERSION = 2;

/** It signals replaceability, and asks for no relative timelock (BIP 68). */
const SEQUENCE = 0xfffffffd;

/** The coins are the second output of their transactions, so that code which always takes the first one fails. */
const VOUT = 1;

const VERBS = new Map([
  ['make', make],
  ['finish', finish],
]);

async function main() {
  const job = JSON.parse(await read(process.stdin));
  const verb = VERBS.get(job.verb);
  if (!verb) throw new Error(`the verb is one of ${[...VERBS.keys()].join(', ')}, not ${job.verb}`);
  console.log(JSON.stringify(answer(verb, job)));
}

function answer(verb, job) {
  try {
    return verb(job);
  } catch (error) {
    if (error instanceof Unsupported) return { unsupported: error.message };
    throw error;
  }
}

async function read(stream) {
  stream.setEncoding('utf8');
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

/** Creator and Updater: a PSBT that spends invented coins of the descriptor. */
function make(job) {
  if (job.version === 2) {
    throw new Unsupported('bitcoinjs-lib has only PSBT version 0: its Psbt needs an unsigned transaction (no BIP 370)');
  }
  if ((job.version ?? 0) !== 0) throw new Error(`there is no PSBT version ${job.version}`);
  const network = networkOf(job);
  const psbt = new Psbt({ network });
  psbt.setVersion(TX_VERSION);
  const prevouts = [];
  for (let index = 0; index < job.inputs; index += 1) {
    const address = addressAt(job.descriptor, network, EXTERNAL, index);
    const funding = fundingOf(address.output, BigInt(job.input_sat));
    psbt.addInput(inputOf(funding, address));
    prevouts.push({
      txid: funding.getId(),
      vout: VOUT,
      amount_sat: job.input_sat,
      script_pubkey: Buffer.from(address.output).toString('hex'),
    });
  }
  psbt.addOutput({ script: Buffer.from(job.pay_script, 'hex'), value: BigInt(job.pay_sat) });
  psbt.addOutput(changeOf(addressAt(job.descriptor, network, INTERNAL, job.change_index), changeSat(job)));
  return { psbt: psbt.toBase64(), prevouts };
}

function changeSat(job) {
  const change = job.inputs * job.input_sat - job.pay_sat - job.fee_sat;
  if (!(change > 0)) throw new Error('the inputs hold too little for the payment, the fee and change');
  return BigInt(change);
}

/** A transaction from an invented outpoint that pays a coin, and something to somebody else. */
function fundingOf(script, value) {
  const funding = new Transaction();
  funding.version = TX_VERSION;
  funding.addInput(randomBytes(32), 0);
  funding.addOutput(Buffer.concat([Buffer.of(0x00, 0x14), randomBytes(20)]), 5000n);
  funding.addOutput(script, value);
  return funding;
}

function inputOf(funding, address) {
  const input = {
    hash: funding.getHash(),
    index: VOUT,
    sequence: SEQUENCE,
    nonWitnessUtxo: funding.toBuffer(),
    ...scriptsAndKeys(address),
  };
  if (address.segwit) input.witnessUtxo = { script: address.output, value: funding.outs[VOUT].value };
  if (address.taproot?.merkleRoot) {
    input.tapMerkleRoot = address.taproot.merkleRoot;
    input.tapLeafScript = address.taproot.leaves.map(({ script, controlBlock }) => ({
      leafVersion: LEAF_VERSION_TAPSCRIPT,
      script,
      controlBlock,
    }));
  }
  return input;
}

function changeOf(address, value) {
  const output = { script: address.output, value, ...scriptsAndKeys(address) };
  if (address.taproot?.tapTree) output.tapTree = address.taproot.tapTree;
  return output;
}

/** The fields that inputs and outputs share (BIP 174, BIP 371). */
function scriptsAndKeys({ keys, redeemScript, witnessScript, taproot }) {
  if (!taproot) {
    return { bip32Derivation: keys, ...(redeemScript && { redeemScript }), ...(witnessScript && { witnessScript }) };
  }
  const tapBip32Derivation = keys.map(({ pubkey, ...origin }) => ({
    ...origin,
    pubkey: toXOnly(pubkey),
    leafHashes: taproot.leaves.filter(({ pubkeys }) => has(pubkeys, toXOnly(pubkey))).map(({ hash }) => hash),
  }));
  return { tapInternalKey: taproot.internalPubkey, tapBip32Derivation };
}

function has(pubkeys, pubkey) {
  return pubkeys.some((other) => Buffer.compare(other, pubkey) === 0);
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
