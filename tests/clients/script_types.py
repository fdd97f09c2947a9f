"""Every script type, with PSBTs that other wallet software makes, co-signs and finalises.

    script_types.py MAKER

MAKER is one of the programs in makers/, each of which uses a library of another project. For every script type
the security officer registers a wallet policy, the maker makes a PSBT from the descriptor that the module shows, the
module countersigns, and the maker adds the cosigners' signatures, finalises and extracts. The caller verifies the
transaction with Bitcoin Core's consensus code.
"""

import base64
import hashlib
import json
import os
import pathlib
import subprocess
import sys

from embit import bip32
from embit.networks import NETWORKS
from PyKCS11 import CKU_USER

import psbt
from common import GENEROUS, Boundary, approval, check, equal, failed, leave, passed, refused

MAKERS = pathlib.Path(__file__).resolve().parent / "makers"

PROGRAM = {
    "embit": [sys.executable, "-B", str(MAKERS / "embit_maker.py")],
    "hwi": [sys.executable, "-B", str(MAKERS / "hwi_maker.py")],
    "bdk": [sys.executable, "-B", str(MAKERS / "bdk_maker.py")],
    "bitcoinjs": ["node", str(MAKERS / "bitcoinjs" / "maker.mjs")],
}

# Script type: wallet policy, its keys, our key's path unless it is the standard one, the other signers. The caller passes the
# list of tests/harness/src/engine/scripts.rs, so that all tests share one list.
SCRIPTS = json.loads(os.environ["COUNTERSIGN_SCRIPTS"])

# What a library cannot make. embit makes it instead, and the library still finishes. Each maker says what it lacks. HWI has
# neither a signer of its own nor a finaliser: it reads and writes the PSBT, which embit then signs and finalises.
MAKES_NOT = {
    "embit": {},
    "hwi": {0: ["wsh-one-of-several", "wsh-recovery", "tr-key-of-tree", "tr-multi-a", "tr-tree"]},
    "bdk": {},
    "bitcoinjs": {},
}
MAKES_NOT["hwi"][2] = MAKES_NOT["hwi"][0]

# The PSBT versions that each library supports.
VERSIONS = {"embit": [0, 2], "hwi": [0, 2], "bdk": [0], "bitcoinjs": [0]}

IN_PARTIAL_SIG, IN_TAP_KEY_SIG, IN_TAP_SCRIPT_SIG = 0x02, 0x13, 0x14


class Cosigner:
    """The owner of another key in a script."""

    PATH = "48h/1h/0h/2h"

    def __init__(self, name):
        self.root = bip32.HDKey.from_seed(name.encode() * 64, version=NETWORKS["regtest"]["xprv"])

    def key(self):
        account = self.root.derive("m/" + self.PATH).to_public()
        xpub = account.to_base58(version=NETWORKS["regtest"]["xpub"])
        return f"[{self.root.my_fingerprint.hex()}/{self.PATH}]{xpub}"

    def master(self):
        return self.root.to_base58()


def main():
    name = sys.argv[1]
    maker = Maker(name)
    with Boundary() as boundary:
        for version in VERSIONS[name]:
            for script in SCRIPTS:
                every_step(boundary, maker, script, version)
        if name == "embit":
            registered_later(boundary, maker)
            user_signs_first(boundary, maker)


class Maker:
    """A program of makers/."""

    def __init__(self, name):
        self.name = name

    def ask(self, verb, descriptor, **job):
        job |= {"verb": verb, "network": "regtest", "descriptor": descriptor}
        done = subprocess.run(PROGRAM[self.name], input=json.dumps(job), capture_output=True, text=True)
        if done.returncode != 0:
            failed(f"{self.name} does not {verb}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def make(self, descriptor, version):
        pay_script = psbt.foreign_script().data.hex()
        coins = {"inputs": 2, "input_sat": 100_000, "pay_sat": 60_000, "fee_sat": 2_000, "change_index": 3}
        return self.ask("make", descriptor, pay_script=pay_script, version=version, **coins)

    def finish(self, descriptor, signed, cosigners):
        signed = base64.b64encode(signed).decode()
        sign_with = [Cosigner(name).master() for name in cosigners]
        return self.ask("finish", descriptor, psbt=signed, sign_with=sign_with)["tx"]


def every_step(boundary, maker, script, version):
    template, keys, path, cosigners = SCRIPTS[script]
    label = f"{script} v{version}"
    user = boundary.user(f"user of {label}")
    public_key = boundary.make_wallet(label, [f"user of {label}"], script=wallet_policy(template, keys), path=path)
    descriptor = boundary.text(public_key, "CKA_COUNTERSIGN_DESCRIPTOR")
    made = maker.make(descriptor, version)
    if script in MAKES_NOT[maker.name].get(version, []):
        check("unsupported" in made, f"{label}: {maker.name} says what it lacks: {made.get('unsupported')}")
        made = Maker("embit").make(descriptor, version)
    if "psbt" not in made:
        failed(f"{label}: {maker.name} makes no PSBT: {made}")
    unsigned = base64.b64decode(made["psbt"])
    boundary.login(CKU_USER)
    signed = boundary.sign(label, unsigned, approval(user.code()))
    only_signatures_are_added(label, unsigned, signed)
    tx = maker.finish(descriptor, signed, cosigners)
    leave(f"{maker.name} {label}", {"tx": tx, "prevouts": made["prevouts"]})
    maker_of_psbt = "embit" if script in MAKES_NOT[maker.name].get(version, []) else maker.name
    passed(f"{label}: made by {maker_of_psbt}, finished by {maker.name}")


def wallet_policy(template, keys):
    return "\n".join([template, *(name if name == "ours" else Cosigner(name).key() for name in keys)])


def only_signatures_are_added(label, unsigned, signed):
    """The answer is the request, byte for byte, with a signature in each input map. Nothing is finalised."""
    before, after = maps(unsigned), maps(signed)
    equal(len(after), len(before), f"{label}: as many maps as before")
    added = [new[len(old) :] for old, new in zip(before, after, strict=True)]
    kept = [new[: len(old)] == old for old, new in zip(before, after, strict=True)]
    check(all(kept[1:]), f"{label}: the maps of inputs and outputs are as they came")
    # PSBT_GLOBAL_TX_MODIFIABLE (BIP 370) is the one field that signing changes.
    fixed = [[pair for pair in of[0] if pair[0] != b"\x06"] for of in (before, after)]
    equal(fixed[1], fixed[0], f"{label}: so is the global map")
    equal([len(pairs) for pairs in added[1:3]], [1, 1], f"{label}: one signature in each input")
    check(not any(added[3:]) and not added[0], f"{label}: and nothing else")
    kinds = {key[0] for pairs in added for key, _ in pairs}
    check(kinds <= {IN_PARTIAL_SIG, IN_TAP_KEY_SIG, IN_TAP_SCRIPT_SIG}, f"{label}: which are signatures")


def maps(data):
    """The maps of a PSBT (BIP 174): lists of key and value."""
    found, current, at = [], [], 5
    while at < len(data):
        key, at = field(data, at)
        if key:
            value, at = field(data, at)
            current.append((key, value))
        else:
            found.append(current)
            current = []
    return found


def field(data, at):
    size, at = data[at], at + 1
    if size >= 0xFD:
        width = {0xFD: 2, 0xFE: 4, 0xFF: 8}[size]
        size, at = int.from_bytes(data[at : at + width], "little"), at + width
    return data[at : at + size], at + size


def registered_later(boundary, maker):
    """The key comes first, for the cosigners. The wallet policy follows once their keys are known, and never changes."""
    template, keys, _, cosigners = SCRIPTS["wsh-sortedmulti"]
    user = boundary.user("later")
    public_key = boundary.make_wallet("later", ["later"], script="", path="m/48'/1'/0'/2'")
    xpub = boundary.text(public_key, "CKA_COUNTERSIGN_XPUB")
    check(xpub.startswith("tpub"), "the key of a wallet that is not registered can be given to the cosigners")
    check(not boundary.attribute(public_key, "CKA_COUNTERSIGN_DESCRIPTOR"), "it has no descriptor yet")

    code = approval(user.code())
    other = boundary.wallet("other", ["later"])
    unsigned = psbt.make(other, [(psbt.RECEIVE, 0, 10_000)], [(psbt.foreign_script(), 9_000)])
    boundary.login(CKU_USER)
    refused(
        lambda: boundary.sign("later", unsigned, code), "CKR_KEY_FUNCTION_NOT_PERMITTED", "it signs nothing yet"
    )

    boundary.register("later", wallet_policy(template, keys))
    public_key = boundary.public_key("later")
    descriptor = boundary.text(public_key, "CKA_COUNTERSIGN_DESCRIPTOR")
    check(xpub in descriptor, "the descriptor has the key that was given out")
    wallet_id = hashlib.sha256(descriptor.encode()).digest()
    equal(boundary.attribute(public_key, "CKA_COUNTERSIGN_WALLET_ID"), wallet_id, "its id is the descriptor's hash")
    refused(
        lambda: boundary.register("later", wallet_policy(template, ["C", *keys[1:]])),
        "CKR_ATTRIBUTE_READ_ONLY",
        "other cosigners afterwards",
    )

    made = maker.make(descriptor, 0)
    boundary.login(CKU_USER)
    signed = boundary.sign("later", base64.b64decode(made["psbt"]), code)
    tx = maker.finish(descriptor, signed, cosigners)
    leave("registered later", {"tx": tx, "prevouts": made["prevouts"]})


def user_signs_first(boundary, maker):
    """`require_cosigner`: without the user's own signature no try is charged; with it everything works as usual."""
    template, keys, _, _ = SCRIPTS["wsh-multi"]
    user = boundary.user("first")
    cosigner = Cosigner("A").root
    public_key = boundary.make_wallet(
        "first",
        ["first"],
        policy=f'{GENEROUS}require_cosigner = "{cosigner.my_fingerprint.hex()}"\n',
        script=wallet_policy(template, keys),
    )
    descriptor = boundary.text(public_key, "CKA_COUNTERSIGN_DESCRIPTOR")
    made = maker.make(descriptor, 0)
    unsigned = base64.b64decode(made["psbt"])
    code, wrong = approval(user.code()), approval(user.wrong_code())

    boundary.login(CKU_USER)
    for guess in [wrong] * 12 + [code]:
        refused(
            lambda guess=guess: boundary.sign("first", unsigned, guess),
            "CKR_COUNTERSIGN_PSBT_REFUSED",
            "a backend alone",
        )
    refused(
        lambda: boundary.confirm(boundary.otp_key("first"), user.wrong_code()),
        "CKR_KEY_FUNCTION_NOT_PERMITTED",
        "nor by checking a code",
    )
    equal(boundary.failures("first"), 0, "can neither guess nor lock: no try was charged")

    co_signed = psbt.co_sign(unsigned, cosigner)
    signed = boundary.sign("first", co_signed, code)
    leave("user signs first", {"tx": maker.finish(descriptor, signed, []), "prevouts": made["prevouts"]})
    refused(lambda: boundary.sign("first", co_signed, wrong), "CKR_PIN_INCORRECT", "then a wrong code is looked at")
    equal(boundary.failures("first"), 1, "and counted")


main()
print("done")
