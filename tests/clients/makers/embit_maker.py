"""Makes, co-signs, finalises and extracts PSBTs with embit, of version 0 (BIP 174) and 2 (BIP 370).

Reads a job and writes the answer as JSON, see job.py; verbs `make` and `finish`. All it knows of the wallet is the
output descriptor, and its inputs spend invented coins.

embit knows all scripts of miniscript and taproot, but its finaliser satisfies only single keys and multisig within a
witness. For other scripts the `satisfy_*` functions here build the stack, fragment by fragment, with embit's miniscript
classes. They support the fragments of the tests' wallets, and never wait for a timelock. embit has no name for two
fields of BIP 371, so this sets and reads them as unknown fields.
"""

import os
from typing import NamedTuple

from embit import bip32, compact, ec, script
from embit.descriptor import Descriptor, miniscript
from embit.descriptor.checksum import checksum
from embit.descriptor.taptree import TapLeaf
from embit.finalizer import finalize_psbt
from embit.hashes import tagged_hash
from embit.psbt import PSBT, DerivationPath
from embit.script import Script, Witness
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput
from embit.util import secp256k1

from job import SEQUENCE, TX_VERSION, answer, change_sat, psbt_version

RECEIVE = 0
CHANGE = 1

# The keys of BIP 371's fields that embit keeps among the unknown ones.
TAP_KEY_SIG = b"\x13"
OUT_TAP_TREE = b"\x06"

OP_PUSHDATA1 = 0x4C
OP_PUSHDATA2 = 0x4D


def make(job):
    """A PSBT that pays and gives change, with all that an Updater tells, without a signature."""
    wallet = parse_descriptor(job["descriptor"])
    spent = [wallet.derive(index, branch_index=RECEIVE) for index in range(job["inputs"])]
    change = wallet.derive(job["change_index"], branch_index=CHANGE)
    funding = [fund(at.script_pubkey(), job["input_sat"]) for at in spent]
    tx = Transaction(
        version=TX_VERSION,
        vin=[TransactionInput(previous.txid(), 0, sequence=SEQUENCE) for previous in funding],
        vout=[
            TransactionOutput(job["pay_sat"], Script(bytes.fromhex(job["pay_script"]))),
            TransactionOutput(change_sat(job), change.script_pubkey()),
        ],
        locktime=0,
    )
    psbt = PSBT(tx, version=psbt_version(job) or None)
    for scope, at, previous in zip(psbt.inputs, spent, funding, strict=True):
        scope.non_witness_utxo = previous
        if at.is_segwit:
            scope.witness_utxo = previous.vout[0]
        update(scope, at)
        update_input(scope, at)
    update(psbt.outputs[1], change)
    update_output(psbt.outputs[1], change)
    return {"psbt": psbt.to_base64(), "prevouts": [prevout(previous) for previous in funding]}


def parse_descriptor(text):
    # embit does not look at the checksum (BIP 380).
    body, mark, given = text.strip().partition("#")
    if not mark or checksum(body) != given:
        raise ValueError("the descriptor's checksum is missing or wrong")
    wallet = Descriptor.from_string(body)
    if wallet.num_branches != 2 or not wallet.is_wildcard:
        raise ValueError("the descriptor has no receive and change branch")
    return wallet


def fund(script_pubkey, sat):
    """An invented transaction whose output 0 pays `sat` to the script."""
    return Transaction(
        version=TX_VERSION,
        vin=[TransactionInput(os.urandom(32), 0)],
        vout=[TransactionOutput(sat, script_pubkey)],
        locktime=0,
    )


def prevout(previous):
    paid = previous.vout[0]
    return {
        "txid": previous.txid().hex(),
        "vout": 0,
        "amount_sat": paid.value,
        "script_pubkey": paid.script_pubkey.data.hex(),
    }


def update(scope, at):
    """What is told alike of an input and of an output; `at` is the descriptor at its index."""
    if not at.is_taproot:
        scope.redeem_script = at.redeem_script()
        scope.witness_script = at.witness_script()
        for key in at.keys:
            scope.bip32_derivations[key.get_public_key()] = origin(key)
        return
    scope.taproot_internal_key = at.key.get_public_key()
    leaves = tap_leaves(at)
    for key in at.keys:
        hashes = [leaf.hash for leaf in leaves if leaf.has(key)]
        scope.taproot_bip32_derivations[key.get_public_key()] = (hashes, origin(key))


def update_input(scope, at):
    """The merkle root, and each leaf under its control block (BIP 371)."""
    if at.taptree:
        scope.taproot_merkle_root = at.taptree.tweak()
    for leaf in tap_leaves(at):
        scope.taproot_scripts[leaf.control_block(at)] = leaf.script + bytes([leaf.version])


def update_output(scope, at):
    """The taproot tree: each leaf's depth, version and script, depth first (BIP 371)."""
    if at.taptree:
        tree = b"".join(bytes([leaf.depth]) + leaf.serialised for leaf in tap_leaves(at))
        # All scopes that embit makes of a transaction share one dict, hence a new one.
        scope.unknown = {OUT_TAP_TREE: tree}


def origin(key):
    return DerivationPath(key.origin.fingerprint, key.origin.derivation)


class Leaf(NamedTuple):
    """A leaf of a taproot tree, with the hashes beside its way up to the root (BIP 341)."""

    miniscript: miniscript.Miniscript
    version: int
    serialised: bytes
    hash: bytes
    siblings: tuple = ()

    @property
    def depth(self):
        return len(self.siblings)

    @property
    def script(self):
        return self.miniscript.compile()

    def has(self, key):
        return key.xonly() in [other.xonly() for other in self.miniscript.keys]

    def beside(self, sibling):
        return self._replace(siblings=(*self.siblings, sibling))

    def control_block(self, at):
        first = self.version | output_key_parity(at)
        return bytes([first]) + at.key.xonly() + b"".join(self.siblings)


def tap_leaves(at):
    """The leaves of a taproot descriptor, depth first; none when it has no tree."""
    return hashed_tree(at.taptree)[1] if at.taptree else []


def hashed_tree(tree):
    """The root of a taproot tree, and its leaves."""
    node = tree.tree
    if isinstance(node, TapLeaf):
        serialised = node.serialize()
        leaf_hash = tagged_hash("TapLeaf", serialised)
        return leaf_hash, [Leaf(node.miniscript, node.version, serialised, leaf_hash)]
    (left, of_left), (right, of_right) = (hashed_tree(branch) for branch in node)
    root = tagged_hash("TapBranch", b"".join(sorted((left, right))))
    return root, [leaf.beside(right) for leaf in of_left] + [leaf.beside(left) for leaf in of_right]


def output_key_parity(at):
    """1 when the output key's y is odd. embit's taproot_tweak forgets it."""
    internal = at.key.xonly()
    tweak = tagged_hash("TapTweak", internal + at.taptree.tweak())
    point = secp256k1.ec_pubkey_add(secp256k1.ec_pubkey_parse(b"\x02" + internal), tweak)
    return secp256k1.ec_pubkey_serialize(point)[0] & 1


def finish(job):
    """Verifies the signatures that are there, signs with each master key, finalises and extracts."""
    wallet = parse_descriptor(job["descriptor"])
    psbt = PSBT.from_base64(job["psbt"])
    psbt.verify()
    verify_signatures(psbt)
    given = [(dict(scope.partial_sigs), dict(scope.taproot_sigs)) for scope in psbt.inputs]
    for master in job["sign_with"]:
        sign(psbt, master)
    for scope, (partial_sigs, taproot_sigs) in zip(psbt.inputs, given, strict=True):
        # Use a signature that was already there, and not a later one by the same key.
        scope.partial_sigs.update(partial_sigs)
        scope.taproot_sigs.update(taproot_sigs)
    for number, scope in enumerate(psbt.inputs):
        finalise(scope, place(wallet, scope), number)
    tx = finalize_psbt(psbt)
    if tx is None:
        raise ValueError("embit found signatures missing")
    return {"tx": tx.serialize().hex()}


def sign(psbt, master):
    root = bip32.HDKey.from_base58(master)
    if psbt.sign_with(root) == 0:
        raise ValueError(f"the PSBT has no key of {root.my_fingerprint.hex()}")


def place(wallet, scope):
    """The descriptor at the index in an input's derivations, if it gives the input's script."""
    taproot = [path for _, path in scope.taproot_bip32_derivations.values()]
    for path in [*scope.bip32_derivations.values(), *taproot]:
        found = wallet.check_derivation(path)
        if found is not None:
            index, branch = found
            at = wallet.derive(index, branch_index=branch)
            if at.script_pubkey() == scope.script_pubkey:
                return at
    raise ValueError("an input is not of this wallet")


def verify_signatures(psbt):
    for number, scope in enumerate(psbt.inputs):
        for public, signature in scope.partial_sigs.items():
            message = psbt.sighash(number, sighash=signature[-1])
            if public not in scope.bip32_derivations:
                raise ValueError(f"input {number} is signed by a key that it does not list")
            if not public.verify(ec.Signature.parse(signature[:-1]), message):
                raise ValueError(f"input {number} has an invalid signature")
        for public, signature, leaf in schnorr_signatures(scope):
            sighash = signature[64] if len(signature) == 65 else SIGHASH.DEFAULT
            message = psbt.sighash(number, sighash=sighash, **leaf)
            if not public.schnorr_verify(ec.SchnorrSig(signature[:64]), message):
                raise ValueError(f"input {number} has an invalid taproot signature")


def schnorr_signatures(scope):
    """The taproot signatures of an input: the key, the signature, and the leaf that it is for."""
    if TAP_KEY_SIG in scope.unknown:
        yield ec.PublicKey.from_xonly(scope.script_pubkey.data[2:]), scope.unknown[TAP_KEY_SIG], {}
    leaves = {}
    for body in scope.taproot_scripts.values():
        leaf_script, version = Script(body[:-1]), body[-1]
        leaf_hash = tagged_hash("TapLeaf", bytes([version]) + leaf_script.serialize())
        leaves[leaf_hash] = {"ext_flag": 1, "script": leaf_script, "leaf_version": version}
    for (public, leaf_hash), signature in scope.taproot_sigs.items():
        if leaf_hash not in leaves:
            raise ValueError("a signature is for a leaf that is not in the PSBT")
        yield public, signature, leaves[leaf_hash]


def finalise(scope, at, number):
    """Finalises an input. Leaves single keys and multisig within a witness to embit's finaliser."""
    if at.is_taproot:
        done = finalise_taproot(scope, at)
    elif at.is_legacy and at.miniscript:
        done = finalise_p2sh(scope, at)
    elif at.miniscript and not at.is_basic_multisig:
        done = finalise_p2wsh(scope, at)
    else:
        return
    if not done:
        raise ValueError(f"input {number} can not be satisfied: signatures are missing")


def finalise_taproot(scope, at):
    """By the key if it signed, otherwise by the first leaf that can be satisfied."""
    if TAP_KEY_SIG in scope.unknown:
        scope.final_scriptwitness = Witness([scope.unknown[TAP_KEY_SIG]])
    if scope.final_scriptwitness:
        # embit itself puts a signature by the output key here.
        return True
    for leaf in tap_leaves(at):
        stack = satisfy(leaf.miniscript, lambda key: leaf_signature(scope, leaf, key))
        if stack is not None:
            scope.final_scriptwitness = Witness([*stack, leaf.script, leaf.control_block(at)])
            return True
    return False


def leaf_signature(scope, leaf, key):
    return scope.taproot_sigs.get((ec.PublicKey.from_xonly(key.xonly()), leaf.hash))


def finalise_p2wsh(scope, at):
    stack = satisfy(at.miniscript, lambda key: scope.partial_sigs.get(key.get_public_key()))
    if stack is None:
        return False
    scope.final_scriptwitness = Witness([*stack, at.witness_script().data])
    if at.sh:
        scope.final_scriptsig = Script(push(at.redeem_script().data))
    return True


def finalise_p2sh(scope, at):
    """A script without a witness: the scriptSig pushes the stack."""
    stack = satisfy(at.miniscript, lambda key: scope.partial_sigs.get(key.get_public_key()))
    if stack is None:
        return False
    scope.final_scriptsig = Script(b"".join(push(item) for item in [*stack, at.redeem_script().data]))
    return True


def push(data):
    """The shortest push of some bytes. embit's Script.push knows no OP_PUSHDATA."""
    size = len(data)
    if size < OP_PUSHDATA1:
        return bytes([size]) + data
    if size <= 0xFF:
        return bytes([OP_PUSHDATA1, size]) + data
    return bytes([OP_PUSHDATA2]) + size.to_bytes(2, "little") + data


def satisfy(node, signature):
    """The stack, its bottom first, that satisfies a miniscript; or None if signatures are missing.

    signature: the function that gives a key's signature, or None.
    """
    if type(node) not in SATISFY:
        raise ValueError(f"no stack is known for {node}")
    return SATISFY[type(node)](node, signature)


def satisfy_pk(node, signature):
    found = signature(node.arg)
    return None if found is None else [found]


def satisfy_verify(node, signature):
    return satisfy(node.arg, signature)


def satisfy_multi(node, signature):
    return enough_signatures(node.args[0].num, node.args[1:], signature)


def satisfy_sortedmulti(node, signature):
    return enough_signatures(node.args[0].num, sorted(node.args[1:], key=lambda key: key.sec()), signature)


def enough_signatures(threshold, keys, signature):
    """Signatures in the order of the keys, above the extra empty item that OP_CHECKMULTISIG takes."""
    found = [made for made in map(signature, keys) if made is not None]
    return [b"", *found[:threshold]] if len(found) >= threshold else None


def satisfy_multi_a(node, signature):
    """An item for each key, the first key's on top: as many signatures as required, and empty items for the others."""
    wanted = node.args[0].num
    stack = []
    for key in node.args[1:]:
        made = signature(key) if wanted else None
        if made is not None:
            wanted -= 1
        stack.insert(0, made or b"")
    return None if wanted else stack


def satisfy_and_v(node, signature):
    """Both parts, with the items for the first one on top."""
    first, second = (satisfy(part, signature) for part in node.args)
    return None if first is None or second is None else [*second, *first]


def satisfy_or_d(node, signature):
    """The first branch. The second one is for a first one that cannot sign, which these tests do not cover."""
    return satisfy(node.args[0], signature)


def satisfy_older(_node, _signature):
    """Never, because the inputs' sequence disables relative timelocks."""
    return None


SATISFY = {
    miniscript.Pk: satisfy_pk,
    miniscript.V: satisfy_verify,
    miniscript.Multi: satisfy_multi,
    miniscript.Sortedmulti: satisfy_sortedmulti,
    miniscript.MultiA: satisfy_multi_a,
    miniscript.AndV: satisfy_and_v,
    miniscript.OrD: satisfy_or_d,
    miniscript.Older: satisfy_older,
}


if __name__ == "__main__":
    answer({"make": make, "finish": finish})
