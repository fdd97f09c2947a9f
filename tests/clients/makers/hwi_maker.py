"""Makes PSBTs with HWI's classes, of version 0 (BIP 174) and 2 (BIP 370), and reads signed ones back with them.

Reads a job and writes the answer as JSON, see job.py; verbs `make` and `finish`.

For `make`, hwilib.descriptor parses the descriptor and hwilib.key derives the keys; the coins are invented. Its
parser knows no miniscript, and no multipath keys, so each branch is parsed on its own. It parses tr() but makes no
script of it: the output key is computed here with the point arithmetic of hwilib.key.

HWI signs with devices only, and finalises nothing. So in `finish` HWI parses the signed PSBT and writes it again,
which fails for a field that HWI does not know or finds malformed. Then embit signs for the cosigners and finalises.
"""

import hashlib
import os
import re
import struct

from hwilib import descriptor as descriptors
from hwilib.key import G, KeyOriginInfo, deserialize_point, point_add, point_mul, point_to_bytes
from hwilib.psbt import PSBT, PartiallySignedInput, PartiallySignedOutput
from hwilib.tx import COutPoint, CTransaction, CTxIn, CTxOut

import embit_maker
from job import SEQUENCE, TX_VERSION, Unsupported, answer, change_sat, psbt_version

RECEIVE = 0
CHANGE = 1

HWI_EXPRESSIONS = {"pkh", "wpkh", "sh", "wsh", "tr", "pk", "multi", "sortedmulti"}

LEAF_VERSION = 0xC0
OP_1 = 0x51
OP_CHECKSIG = 0xAC


class Place:
    """A descriptor at one index: the scripts, and the origin of each key."""

    def __init__(self, descriptor, index):
        self.index = index
        self.keys = key_expressions(descriptor)
        self.taproot = isinstance(descriptor, descriptors.TRDescriptor)
        if self.taproot:
            self.redeem_script = self.witness_script = None
            self.set_taproot(descriptor)
        else:
            self.script_pubkey, self.redeem_script, self.witness_script = descriptor.expand(index)

    @property
    def segwit(self):
        return self.taproot or self.witness_script is not None or self.pays_witness_key

    @property
    def pays_witness_key(self):
        """P2WPKH, also within P2SH."""
        script = self.redeem_script or self.script_pubkey
        return len(script) == 22 and script.startswith(b"\x00\x14")

    def set_taproot(self, descriptor):
        self.internal_key = self.public(descriptor.pubkeys[0])[1:]
        self.leaf = self.leaf_script(descriptor)
        self.merkle_root = b""
        if self.leaf is not None:
            self.merkle_root = tagged_hash("TapLeaf", bytes([LEAF_VERSION, len(self.leaf)]) + self.leaf)
        tweak = tagged_hash("TapTweak", self.internal_key + self.merkle_root)
        internal = deserialize_point(b"\x02" + self.internal_key)
        output = point_to_bytes(point_add(internal, point_mul(G, int.from_bytes(tweak, "big"))))
        self.parity = output[0] & 1
        self.script_pubkey = bytes([OP_1, 32]) + output[1:]

    def leaf_script(self, descriptor):
        """The script of the one leaf, a pk(), None without one."""
        if not descriptor.subdescriptors:
            return None
        if descriptor.depths != [0]:
            raise Unsupported(
                "hwilib makes no script of tr(), and a tree of more than one leaf is not made here"
            )
        return b"\x20" + self.public(descriptor.subdescriptors[0].pubkeys[0])[1:] + bytes([OP_CHECKSIG])

    @property
    def control_block(self):
        return bytes([LEAF_VERSION | self.parity]) + self.internal_key

    def public(self, key):
        return key.get_pubkey_bytes(self.index)

    def origin(self, key):
        # HWI puts the fingerprint before the path, as a number.
        _, *path = key.get_full_derivation_int_list(self.index)
        return KeyOriginInfo(key.origin.fingerprint, path)

    def leaf_hashes(self, key):
        """The leaves that a key signs in: the only leaf, if it contains the key."""
        inside = self.leaf is not None and self.public(key)[1:] in self.leaf
        return {self.merkle_root} if inside else set()


def make(job):
    """A PSBT that pays and gives change, with all fields of an Updater and no signature."""
    receive, internal = (parse_descriptor(job["descriptor"], branch) for branch in (RECEIVE, CHANGE))
    spent = [Place(receive, index) for index in range(job["inputs"])]
    change = Place(internal, job["change_index"])
    funding = [fund(place.script_pubkey, job["input_sat"]) for place in spent]
    outputs = [
        CTxOut(job["pay_sat"], bytes.fromhex(job["pay_script"])),
        CTxOut(change_sat(job), change.script_pubkey),
    ]
    psbt = PSBT(transaction([COutPoint(previous.sha256, 0) for previous in funding], SEQUENCE, outputs))
    psbt.inputs = [input_map(place, previous) for place, previous in zip(spent, funding, strict=True)]
    psbt.outputs = [PartiallySignedOutput(0), change_map(change)]
    if psbt_version(job) == 2:
        psbt.cache_unsigned_tx_pieces()
        psbt.convert_to_v2()
    return {"psbt": psbt.serialize(), "prevouts": [prevout(previous) for previous in funding]}


def parse_descriptor(text, branch):
    """One branch of a multipath descriptor (BIP 389)."""
    body, mark, given = text.strip().partition("#")
    if not mark or descriptors.DescriptorChecksum(body) != given:
        raise ValueError("the descriptor's checksum is missing or wrong")
    lacking = set(re.findall(r"(\w+)\(", body)) - HWI_EXPRESSIONS
    if lacking:
        names = ", ".join(f"{name}()" for name in sorted(lacking))
        raise Unsupported(
            f"hwilib.descriptor parses no miniscript and no script leaf but pk(): it has no {names}"
        )
    single = re.sub(r"<(\d+);(\d+)>", lambda paths: paths[1 + branch], body)
    return descriptors.parse_descriptor(single)


def key_expressions(descriptor):
    inner = [key for part in descriptor.subdescriptors for key in key_expressions(part)]
    return [*descriptor.pubkeys, *inner]


def fund(script_pubkey, sat):
    """An invented transaction whose output 0 pays `sat` to the script."""
    spent = COutPoint(int.from_bytes(os.urandom(32), "little"), 0)
    return transaction([spent], 0xFFFFFFFF, [CTxOut(sat, script_pubkey)])


def transaction(spent, sequence, outputs):
    tx = CTransaction()
    tx.nVersion = TX_VERSION
    tx.vin = [CTxIn(outpoint, b"", sequence) for outpoint in spent]
    tx.vout = outputs
    tx.rehash()
    return tx


def prevout(previous):
    paid = previous.vout[0]
    return {
        "txid": previous.hash[::-1].hex(),
        "vout": 0,
        "amount_sat": paid.nValue,
        "script_pubkey": paid.scriptPubKey.hex(),
    }


def input_map(place, previous):
    scope = PartiallySignedInput(0)
    scope.non_witness_utxo = previous
    if place.segwit:
        scope.witness_utxo = previous.vout[0]
    update(scope, place)
    if place.taproot and place.leaf is not None:
        scope.tap_merkle_root = place.merkle_root
        scope.tap_scripts[(place.leaf, LEAF_VERSION)] = {place.control_block}
    return scope


def change_map(place):
    scope = PartiallySignedOutput(0)
    update(scope, place)
    if place.taproot and place.leaf is not None:
        # The tree's one leaf: its depth, version and script (BIP 371).
        scope.tap_tree = struct.pack("BBB", 0, LEAF_VERSION, len(place.leaf)) + place.leaf
    return scope


def update(scope, place):
    """Sets the fields that inputs and outputs share."""
    if not place.taproot:
        scope.redeem_script = place.redeem_script or b""
        scope.witness_script = place.witness_script or b""
        scope.hd_keypaths = {place.public(key): place.origin(key) for key in place.keys}
        return
    scope.tap_internal_key = place.internal_key
    scope.tap_bip32_paths = {
        place.public(key)[1:]: (place.leaf_hashes(key), place.origin(key)) for key in place.keys
    }


def tagged_hash(tag, data):
    """BIP 340."""
    name = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(name + name + data).digest()


def finish(job):
    """Passes the signed PSBT through HWI's classes, and then to embit."""
    psbt = PSBT()
    psbt.deserialize(job["psbt"])
    for scope in [psbt, *psbt.inputs, *psbt.outputs]:
        if scope.unknown:
            keys = ", ".join(key.hex() for key in scope.unknown)
            raise ValueError(f"HWI does not know the PSBT's fields {keys}")
    if psbt.version == 2:
        # HWI 3.2.0 forgets these two when it reads version 2, and takes 1 and 0 (HWI pull request 830).
        psbt.tx_version = TX_VERSION
        psbt.fallback_locktime = 0
    return embit_maker.finish({**job, "psbt": psbt.serialize()})


if __name__ == "__main__":
    answer({"make": make, "finish": finish})
