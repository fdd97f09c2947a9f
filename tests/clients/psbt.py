"""Makes PSBTs for a wallet and finalises them, with embit: wallet software that knows nothing of Countersign.

All it knows of the wallet is the output descriptor. The coins it spends are invented: each comes from a funding
transaction that pays an address of the wallet. As a command:

    psbt.py make --descriptor-file F --network regtest --pay SAT --fee SAT --out FILE [--base64]
    psbt.py finalise --unsigned FILE --signed FILE --out FILE.json
"""

import argparse
import base64
import json
import os
import sys

from embit import ec, script
from embit.descriptor import Descriptor
from embit.descriptor.checksum import checksum
from embit.finalizer import finalize_psbt
from embit.networks import NETWORKS
from embit.psbt import PSBT, DerivationPath
from embit.transaction import Transaction, TransactionInput, TransactionOutput

RECEIVE = 0
CHANGE = 1

EMBIT_NETWORK = {"mainnet": "main", "testnet": "test", "signet": "signet", "regtest": "regtest"}


class Wallet:
    """A watch-only wallet: a descriptor with its checksum (BIP 380) and both branches (BIP 389)."""

    def __init__(self, text, network):
        body, mark, given = text.strip().partition("#")
        if not mark or checksum(body) != given:
            raise ValueError(f"the descriptor's checksum is missing or wrong: {text}")
        self.descriptor = Descriptor.from_string(text.strip())
        if self.descriptor.num_branches != 2 or not self.descriptor.is_wildcard:
            raise ValueError(f"the descriptor has no receive and change branch: {text}")
        self.network = NETWORKS[EMBIT_NETWORK[network]]

    def at(self, branch, index):
        return self.descriptor.derive(index, branch_index=branch)

    def script(self, branch, index):
        return self.at(branch, index).script_pubkey()

    def address(self, branch, index):
        return self.at(branch, index).address(self.network)

    def key_origin(self, branch, index):
        """The public key at that place and its origin, as BIP 174 writes it."""
        key = self.at(branch, index).key
        return key.get_public_key(), DerivationPath(key.origin.fingerprint, key.origin.derivation)


def foreign_script(kind="p2wpkh"):
    """A stranger's script_pubkey."""
    public = ec.PrivateKey(os.urandom(32)).get_public_key()
    if kind == "p2sh":
        return script.p2sh(script.p2wpkh(public))
    return {"p2wpkh": script.p2wpkh, "p2pkh": script.p2pkh, "p2tr": script.p2tr}[kind](public)


def make(wallet, coins, payments, change=None, previous=True, witness=True, padding=0):
    """A PSBT (BIP 174, version 0), as bytes.

    coins: (branch, index, sat) each; payments: (script_pubkey, sat) each; change: (index, sat) or None.
    previous: include each input's whole previous transaction; witness: include its output, too.
    padding: the number of other outputs before ours in each previous transaction.
    """
    funding = [fund(wallet.script(branch, index), sat, padding) for branch, index, sat in coins]
    outputs = [TransactionOutput(sat, spk) for spk, sat in payments]
    if change is not None:
        outputs.append(TransactionOutput(change[1], wallet.script(CHANGE, change[0])))
    inputs = [TransactionInput(tx.txid(), padding, sequence=0xFFFFFFFD) for tx in funding]
    psbt = PSBT(Transaction(version=2, vin=inputs, vout=outputs, locktime=0))
    for scope, tx, (branch, index, _) in zip(psbt.inputs, funding, coins, strict=True):
        if previous:
            scope.non_witness_utxo = tx
        if witness:
            scope.witness_utxo = tx.vout[padding]
        public, origin = wallet.key_origin(branch, index)
        scope.bip32_derivations[public] = origin
    if change is not None:
        public, origin = wallet.key_origin(CHANGE, change[0])
        psbt.outputs[-1].bip32_derivations[public] = origin
    return psbt.serialize()


def fund(spk, sat, padding):
    """An invented transaction that pays `sat` to `spk`."""
    others = [TransactionOutput(1_000 + n, foreign_script()) for n in range(padding)]
    return Transaction(
        version=2,
        vin=[TransactionInput(os.urandom(32), 0)],
        vout=[*others, TransactionOutput(sat, spk)],
        locktime=0,
    )


def co_sign(data, root):
    """The PSBT with the signatures of a cosigner's master key added."""
    psbt = PSBT.parse(data)
    if psbt.sign_with(root) == 0:
        raise ValueError("the PSBT has no key of this cosigner")
    return psbt.serialize()


def finalise(unsigned, signed):
    """Checks that signing only added signatures, and extracts the transaction.

    Returns what examples/verify_tx reads:
    {"tx": hex, "prevouts": [{"txid", "vout", "amount_sat", "script_pubkey"}]}.
    """
    before, after = PSBT.parse(unsigned), PSBT.parse(signed)
    for number, scope in enumerate(after.inputs):
        if len(scope.partial_sigs) != 1:
            raise ValueError(f"input {number} has {len(scope.partial_sigs)} signatures, 1 was expected")
        if set(scope.partial_sigs) != set(before.inputs[number].bip32_derivations):
            raise ValueError(f"input {number} is signed by another key than the one listed")
    # embit writes keys in its own order, so the comparison is between what embit writes for both.
    bare = PSBT.parse(signed)
    for scope in bare.inputs:
        scope.partial_sigs.clear()
    if bare.serialize() != before.serialize():
        raise ValueError("signing changed more of the PSBT than the signatures")
    tx = finalize_psbt(after)
    if tx is None:
        raise ValueError("embit found signatures missing")
    return {
        "tx": tx.serialize().hex(),
        "prevouts": [
            {
                "txid": vin.txid.hex(),
                "vout": vin.vout,
                "amount_sat": before.utxo(number).value,
                "script_pubkey": before.utxo(number).script_pubkey.data.hex(),
            }
            for number, vin in enumerate(tx.vin)
        ],
    }


def main():
    parser = argparse.ArgumentParser(description="Makes and finalises PSBTs, with embit.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    maker = verbs.add_parser("make", help="a PSBT that pays a stranger and gives change to the wallet")
    maker.add_argument("--descriptor-file", required=True)
    maker.add_argument("--network", required=True, choices=sorted(EMBIT_NETWORK))
    maker.add_argument("--pay", required=True, type=int, metavar="SAT")
    maker.add_argument("--fee", required=True, type=int, metavar="SAT")
    maker.add_argument("--out", required=True)
    maker.add_argument("--base64", action="store_true")
    finaliser = verbs.add_parser("finalise", help="the transaction of a signed PSBT, with what it spends")
    finaliser.add_argument("--unsigned", required=True)
    finaliser.add_argument("--signed", required=True)
    finaliser.add_argument("--out", required=True)
    given = parser.parse_args()
    try:
        if given.verb == "make":
            make_file(given)
        else:
            finalise_file(given)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def make_file(given):
    with open(given.descriptor_file, encoding="utf-8") as file:
        wallet = Wallet(file.read(), given.network)
    # Two coins, for two inputs, and a tenth more than needed, for change.
    total = (given.pay + given.fee) * 11 // 10 + 2_000
    coins = [(RECEIVE, 0, total // 2), (RECEIVE, 7, total - total // 2)]
    spk = foreign_script()
    change = total - given.pay - given.fee
    psbt = make(wallet, coins, [(spk, given.pay)], change=(0, change))
    with open(given.out, "wb") as file:
        file.write(base64.b64encode(psbt) + b"\n" if given.base64 else psbt)
    for branch, index, sat in coins:
        print(f"  spends  {sat:>12,} sat received at {wallet.address(branch, index)}")
    print(f"  pays    {given.pay:>12,} sat to a stranger, {spk.address(wallet.network)}")
    print(f"  change  {change:>12,} sat back to {wallet.address(CHANGE, 0)}")
    print(f"  fee     {given.fee:>12,} sat")


def finalise_file(given):
    result = finalise(read_psbt(given.unsigned), read_psbt(given.signed))
    with open(given.out, "w", encoding="utf-8") as file:
        json.dump(result, file)
        file.write("\n")
    print(f"  embit finalised {len(result['tx']) // 2} bytes, {len(result['prevouts'])} inputs signed")


def read_psbt(path):
    with open(path, "rb") as file:
        content = file.read()
    return content if content.startswith(b"psbt\xff") else base64.b64decode(content, validate=False)


if __name__ == "__main__":
    main()
