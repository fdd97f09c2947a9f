/**
 * The backend's watch-only wallet in Node.js (@scure/btc-signer): it makes payments and finalises them, and holds no key.
 *
 * It knows nothing of the wallet but the output descriptor, which anybody may read from the module.
 */

import { createHash, randomBytes } from 'node:crypto';

import { HDKey } from '@scure/bip32';
import { bip32Path, p2wpkh, RawTx, TEST_NETWORK, Transaction } from '@scure/btc-signer';

// All on regtest. A real backend takes these values from its own books and its own node.
const NETWORK = { ...TEST_NETWORK, bech32: 'bcrt' };
const KEY_VERSIONS = { public: 0x043587cf, private: 0x04358394 };
const PAYEE = 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080';
const [COIN_SAT, PAY_SAT, FEE_SAT] = [100_000n, 60_000n, 500n];

const [RECEIVE, CHANGE] = [0, 1];

/** A PSBT (BIP 174) that spends the wallet's first coin: a payment, and change back to the wallet. */
export function payment(descriptor) {
  const [received, change] = [placeOf(descriptor, RECEIVE, 0), placeOf(descriptor, CHANGE, 0)];
  const funding = inventedCoin(received.script);
  const psbt = new Transaction();
  psbt.addInput({
    txid: funding.id,
    index: 0,
    // The whole transaction that paid the coin: without it the amount is only a claim, and nothing is signed.
    nonWitnessUtxo: funding.hex,
    witnessUtxo: { script: received.script, amount: COIN_SAT },
    // Where the key comes from. Change without it counts as a payment to a stranger.
    bip32Derivation: received.origin,
  });
  psbt.addOutputAddress(PAYEE, PAY_SAT, NETWORK);
  psbt.addOutput({ script: change.script, amount: COIN_SAT - PAY_SAT - FEE_SAT, bip32Derivation: change.origin });
  return psbt.toPSBT(0);
}

/** The script and the key's origin at a place of a wpkh() descriptor. */
function placeOf(descriptor, branch, index) {
  const parts = /^wpkh\(\[([0-9a-f]{8})\/([^\]]+)\](\w+)\/<0;1>\/\*\)/.exec(descriptor);
  if (!parts) throw new Error('only wpkh() of one key is read here');
  const [, fingerprint, account, xpub] = parts;
  const { publicKey } = HDKey.fromExtendedKey(xpub, KEY_VERSIONS).deriveChild(branch).deriveChild(index);
  const path = [...bip32Path(`m/${account.replaceAll('h', "'")}`), branch, index];
  const origin = [[publicKey, { fingerprint: Number.parseInt(fingerprint, 16), path }]];
  return { script: p2wpkh(publicKey, NETWORK).script, origin };
}

/** Invents a transaction that paid the wallet. A real backend asks its node for it. */
function inventedCoin(script) {
  const bytes = RawTx.encode({
    version: 2,
    segwitFlag: false,
    inputs: [{ txid: randomBytes(32), index: 0, finalScriptSig: new Uint8Array(), sequence: 0xffffffff }],
    outputs: [{ amount: COIN_SAT, script }],
    lockTime: 0,
  });
  return { hex: Buffer.from(bytes).toString('hex'), id: sha256(sha256(bytes)).reverse().toString('hex') };
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest();
}

/** The final transaction and the outputs that it spends, as examples/verify_tx reads them. */
export function finalise(signed) {
  const psbt = Transaction.fromPSBT(signed);
  const prevouts = Array.from({ length: psbt.inputsLength }, (_, number) => {
    const { txid, index, witnessUtxo } = psbt.getInput(number);
    return {
      txid: Buffer.from(txid).toString('hex'),
      vout: index,
      amount_sat: Number(witnessUtxo.amount),
      script_pubkey: Buffer.from(witnessUtxo.script).toString('hex'),
    };
  });
  psbt.finalize();
  return JSON.stringify({ tx: psbt.hex, prevouts });
}
