/** Signer, Finalizer and Extractor: adds the cosigners' signatures to the existing ones. */

import { Psbt, toXOnly } from 'bitcoinjs-lib';
import { tapTweakHash } from 'bitcoinjs-lib/src/payments/bip341';
import { witnessStackToScriptWitness } from 'bitcoinjs-lib/src/psbt/psbtutils';
import * as ecc from 'tiny-secp256k1';

import { addressAt, bip32, EXTERNAL, networkOf } from './descriptor.mjs';

export function finish(job) {
  const network = networkOf(job);
  const psbt = Psbt.fromBase64(job.psbt, { network });
  for (const key of job.sign_with) sign(psbt, bip32.fromBase58(key, network));
  if (!psbt.validateSignaturesOfAllInputs(isValid)) throw new Error('a signature in the PSBT is not valid');
  psbt.data.inputs.forEach((_, index) => finalize(psbt, index, addressOf(psbt, index, job.descriptor, network)));
  return { tx: psbt.extractTransaction().toHex() };
}

/** The library's validation lets its caller verify ECDSA and Schnorr. The keys' lengths tell the two apart. */
function isValid(pubkey, hash, signature) {
  return pubkey.length === 32
    ? ecc.verifySchnorr(hash, pubkey, signature)
    : ecc.verify(hash, pubkey, signature);
}

/** Signs every input for every key whose origin is this master key. */
function sign(psbt, master) {
  let keys = 0;
  psbt.data.inputs.forEach((input, index) => {
    // Without signInputHD, which knows no taproot derivations and fails for a key that has signed already.
    for (const derivation of input.bip32Derivation ?? input.tapBip32Derivation ?? []) {
      if (!equal(derivation.masterFingerprint, master.fingerprint)) continue;
      keys += 1;
      const node = master.derivePath(derivation.path);
      if (derivation.leafHashes) signTaproot(psbt, index, node, derivation);
      else signEcdsa(psbt, index, node, derivation);
    }
  });
  if (keys === 0) throw new Error(`no input has a key of master key ${hex(master.fingerprint)}`);
}

function signEcdsa(psbt, index, node, { pubkey }) {
  mustBe(node.publicKey, pubkey, index);
  if (!signatureBy(psbt.data.inputs[index].partialSig, pubkey)) psbt.signInput(index, node);
}

function signTaproot(psbt, index, node, { pubkey, leafHashes }) {
  mustBe(toXOnly(node.publicKey), pubkey, index);
  const input = psbt.data.inputs[index];
  if (equal(pubkey, input.tapInternalKey) && !input.tapKeySig) {
    psbt.signInput(index, node.tweak(tapTweakHash(pubkey, input.tapMerkleRoot)));
  }
  for (const leafHash of leafHashes) {
    const there = signatureBy(signaturesOfLeaf(input, leafHash), pubkey);
    if (!there) psbt.signTaprootInput(index, node, leafHash);
  }
}

/** The descriptor's address that an input spends: the index is the last step of any of its keys' paths. */
function addressOf(psbt, index, descriptor, network) {
  const input = psbt.data.inputs[index];
  const [derivation] = input.bip32Derivation ?? input.tapBip32Derivation ?? [];
  if (!derivation) throw new Error(`input ${index} has no derivations`);
  const address = addressAt(descriptor, network, EXTERNAL, Number(derivation.path.split('/').at(-1)));
  if (input.witnessUtxo && !equal(input.witnessUtxo.script, address.output)) {
    throw new Error(`input ${index} spends no external address of the descriptor`);
  }
  return address;
}

/** The library finalises single keys and multisig. For miniscript and leaves it calls back. */
function finalize(psbt, index, { fragment, taproot }) {
  const input = psbt.data.inputs[index];
  if (fragment) psbt.finalizeInput(index, () => witnessScriptSpend(index, input, fragment));
  else if (!taproot || input.tapKeySig) psbt.finalizeInput(index);
  else finalizeLeaf(psbt, index, taproot.leaves);
}

function witnessScriptSpend(index, input, fragment) {
  const stack = fragment.satisfy((key) => signatureBy(input.partialSig, key));
  if (!stack) throw new Error(`input ${index} lacks signatures`);
  return { finalScriptWitness: witnessStackToScriptWitness([...stack, input.witnessScript]) };
}

/** Replaces the library's own finaliser of leaves, which accepts any signatures, even too few. */
function finalizeLeaf(psbt, index, leaves) {
  const input = psbt.data.inputs[index];
  for (const { fragment, hash, script, controlBlock } of leaves) {
    const stack = fragment.satisfy((key) => signatureBy(signaturesOfLeaf(input, hash), key));
    if (!stack) continue;
    const finalScriptWitness = witnessStackToScriptWitness([...stack, script, controlBlock]);
    psbt.finalizeTaprootInput(index, hash, () => ({ finalScriptWitness }));
    return;
  }
  throw new Error(`input ${index} lacks signatures`);
}

function signaturesOfLeaf(input, leafHash) {
  return input.tapScriptSig?.filter((signature) => equal(signature.leafHash, leafHash));
}

function signatureBy(signatures, pubkey) {
  return signatures?.find((signature) => equal(signature.pubkey, pubkey))?.signature;
}

function mustBe(derived, pubkey, index) {
  if (!equal(derived, pubkey)) throw new Error(`input ${index}: the origin of ${hex(pubkey)} leads to another key`);
}

function equal(left, right) {
  return left !== undefined && right !== undefined && Buffer.compare(left, right) === 0;
}

function hex(bytes) {
  return Buffer.from(bytes).toString('hex');
}
