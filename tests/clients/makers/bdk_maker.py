"""Makes, co-signs and finalises PSBTs with bdkpython, the Python bindings of the Bitcoin Dev Kit.

Reads a job and writes the answer as JSON, see job.py; verbs `make` and `finish`. All it knows of a wallet is the output
descriptor, with both branches (BIP 389) and its checksum (BIP 380).
"""

import os
import re
import time

from bdkpython import (
    Amount,
    DerivationPath,
    Descriptor,
    DescriptorSecretKey,
    DescriptorType,
    KeychainKind,
    LockTime,
    Network,
    NetworkKind,
    OutPoint,
    Persister,
    Psbt,
    Script,
    SignOptions,
    Transaction,
    TxBuilder,
    TxOrdering,
    UnconfirmedTx,
    Wallet,
)

from job import SEQUENCE, Unsupported, answer

NETWORK = {
    "mainnet": Network.BITCOIN,
    "testnet": Network.TESTNET,
    "signet": Network.SIGNET,
    "regtest": Network.REGTEST,
}
# A key with its origin, as a descriptor has it: [fingerprint/path]xpub.
KEY = re.compile(r"\[([0-9a-fA-F]{8})((?:/[0-9]+['h]?)*)\]([xt]pub[1-9A-HJ-NP-Za-km-z]+)")
# BDK must only add signatures. It finalises once everybody has signed.
SIGNING = SignOptions(
    trust_witness_utxo=False,
    assume_height=None,
    allow_all_sighashes=False,
    try_finalize=False,
    sign_with_tap_internal_key=True,
    allow_grinding=True,
)


def make(job):
    if job.get("version", 0) != 0:
        raise Unsupported("bdkpython has PSBTs of version 0 (BIP 174) alone, none of version 2 (BIP 370)")
    external, internal = branches(job["descriptor"], job["network"])
    wallet = new_wallet(external, internal, job["network"])
    addresses = wallet.reveal_addresses_to(KeychainKind.EXTERNAL, job["inputs"] - 1)
    coins = [funding(info.address.script_pubkey().to_bytes(), job["input_sat"]) for info in addresses]
    builder = builder_for(wallet, job)
    if external.desc_type() == DescriptorType.TR:
        builder = add_foreign(builder, coins, external.max_weight_to_satisfy())
    else:
        wallet.apply_unconfirmed_txs([UnconfirmedTx(tx=tx, last_seen=int(time.time())) for tx in coins])
        builder = builder.add_utxos([outpoint(tx) for tx in coins])
    psbt = builder.finish(wallet)
    check_transaction(psbt.extract_tx_unchecked_fee_rate(), job, coins, change_script(wallet, job["change_index"]))
    return {"psbt": psbt.serialize(), "prevouts": [prevout(tx) for tx in coins]}


def branches(text, network):
    """The external and the internal descriptor of a multipath one."""
    if "#" not in text:
        raise ValueError("the descriptor has no checksum")
    external, internal = Descriptor(text, kind(network)).to_single_descriptors()
    return external, internal


def kind(network):
    return NetworkKind.MAIN if network == "mainnet" else NetworkKind.TEST


def new_wallet(external, internal, network):
    return Wallet(external, internal, NETWORK[network], Persister.new_in_memory())


def funding(script_pubkey, sat):
    """An invented transaction that pays `sat` to `script_pubkey`, in bytes: BDK has no other way to make one."""
    version, locktime = (2).to_bytes(4, "little"), bytes(4)
    # Output 0 of a random transaction, an empty scriptSig, the final sequence.
    spends = b"\x01" + os.urandom(32) + bytes(4) + b"\x00" + b"\xff" * 4
    pays = b"\x01" + sat.to_bytes(8, "little") + bytes([len(script_pubkey)]) + script_pubkey
    return Transaction(version + spends + pays + locktime)


def builder_for(wallet, job):
    """The transaction without its inputs: the payment, then the change."""
    builder = (
        TxBuilder()
        .version(2)
        .nlocktime(LockTime.BLOCKS(0))
        .set_exact_sequence(SEQUENCE)
        .ordering(TxOrdering.UNTOUCHED)
        .manually_selected_only()
        .add_recipient(Script(bytes.fromhex(job["pay_script"])), Amount.from_sat(job["pay_sat"]))
        .fee_absolute(Amount.from_sat(job["fee_sat"]))
        .drain_to(change_script(wallet, job["change_index"]))
    )
    for keychain in KeychainKind:
        policy = wallet.policies(keychain)
        if policy.requires_path():
            builder = builder.policy_path(untimed_path(policy), keychain)
    return builder


def change_script(wallet, index):
    wallet.reveal_addresses_to(KeychainKind.INTERNAL, index)
    return wallet.peek_address(KeychainKind.INTERNAL, index).address.script_pubkey()


def untimed_path(policy):
    """The first ways to spend that need no timelock, for each choice in the policy (see TxBuilder.policy_path).

    BDK only derives the timelocks of the transaction from it; the signers are free to go another way.
    """
    path = {}
    item = policy.item()
    if item.is_thresh():
        untimed = [number for number, part in enumerate(item.items) if not needs_time(part)]
        path[policy.id()] = untimed[: item.threshold]
        for number in path[policy.id()]:
            path |= untimed_path(item.items[number])
    return path


def needs_time(policy):
    item = policy.item()
    if item.is_thresh():
        return len(item.items) - sum(needs_time(part) for part in item.items) < item.threshold
    return item.is_relative_timelock() or item.is_absolute_timelock()


def add_foreign(builder, coins, weight):
    """Adds the coins as foreign ones, so that the PSBT has their previous transactions.

    BDK leaves these out of its own taproot inputs. It keeps the given fields of a foreign input, and still adds its own
    metadata if the script is the wallet's.
    """
    for tx in coins:
        # Taken from a PSBT, because the only constructor of an Input takes all of its 21 fields.
        scope = Psbt.from_unsigned_tx(tx).input()[0]
        scope.non_witness_utxo = tx
        scope.witness_utxo = tx.output()[0]
        builder = builder.add_foreign_utxo_with_sequence(outpoint(tx), scope, weight, SEQUENCE)
    return builder


def outpoint(tx):
    return OutPoint(txid=tx.compute_txid(), vout=0)


def check_transaction(tx, job, coins, change):
    """Compares BDK's transaction with the job. TxBuilder drops dust change, for example."""
    rest = job["inputs"] * job["input_sat"] - job["pay_sat"] - job["fee_sat"]
    told = [(job["pay_sat"], job["pay_script"].lower()), (rest, change.to_bytes().hex())]
    made = [(output.value.to_sat(), output.script_pubkey.to_bytes().hex()) for output in tx.output()]
    if made != told:
        raise ValueError(f"BDK made the outputs {made}, not {told}")
    told = [(str(coin.compute_txid()), 0, SEQUENCE) for coin in coins]
    made = [(str(txin.previous_output.txid), txin.previous_output.vout, txin.sequence) for txin in tx.input()]
    if made != told:
        raise ValueError(f"BDK made the inputs {made}, not {told}")


def prevout(tx):
    output = tx.output()[0]
    return {
        "txid": str(tx.compute_txid()),
        "vout": 0,
        "amount_sat": output.value.to_sat(),
        "script_pubkey": output.script_pubkey.to_bytes().hex(),
    }


def finish(job):
    psbt = Psbt(job["psbt"])
    for master in job["sign_with"]:
        sign(psbt, job, DescriptorSecretKey.from_string(master))
    result = psbt.finalize()
    if not result.could_finalize:
        raise ValueError(f"BDK cannot finalise: {'; '.join(str(error) for error in result.errors)}")
    return {"tx": result.psbt.extract_tx().serialize().hex()}


def sign(psbt, job, master):
    """Adds the signatures of every key of the descriptor that comes from this master key."""
    # Split while it is public, because BDK parses no multipath descriptor with private keys.
    external, internal = branches(job["descriptor"], job["network"])
    wallets = list(zip(with_private_key(external, master), with_private_key(internal, master), strict=True))
    if not wallets:
        raise ValueError(f"the descriptor has no key of the master key {fingerprint(master)}")
    for pair in wallets:
        private = [Descriptor(text, kind(job["network"])) for text in pair]
        new_wallet(*private, job["network"]).sign(psbt, SIGNING)


def with_private_key(descriptor, master):
    """The descriptor with one account key made private, once for each account key of this master key.

    One at a time, because a BDK wallet keeps one signer for each master fingerprint, and would sign with one key only.
    """
    public = str(descriptor).partition("#")[0]
    for match in KEY.finditer(public):
        if match[1] == fingerprint(master):
            account = master.derive(DerivationPath("m" + match[2]))
            if not str(account.as_public()).endswith(match[3]):
                raise ValueError(f"the master key {match[1]} has another account key at m{match[2]}")
            yield public[: match.start()] + str(account) + public[match.end() :]


def fingerprint(master):
    return master.as_public().master_fingerprint()


if __name__ == "__main__":
    answer({"make": make, "finish": finish})
