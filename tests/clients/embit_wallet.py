"""A watch-only wallet in embit, made from the module's descriptor alone: addresses, inputs, change, payments."""

from embit import bip32
from PyKCS11 import CKU_USER

import psbt
from common import Boundary, approval, check, equal, finalised, refused

COIN = {"mainnet": 0, "testnet": 1, "signet": 1, "regtest": 1}
PREFIX = {"mainnet": "bc1q", "testnet": "tb1q", "signet": "tb1q", "regtest": "bcrt1q"}


def main():
    with Boundary() as boundary:
        for network in COIN:
            watch_only(boundary, network)
        spends_everything_at_once(boundary)
        output_types(boundary)
        other_wallet(boundary)


def watch_only(boundary, network):
    """The public side is consistent, and each network gets its own coin type and addresses."""
    user = f"user of {network}"
    boundary.user(user)
    wallet = boundary.wallet(network, [user], network=network)
    key = wallet.descriptor.key
    public = boundary.public_key(network)
    path = f"m/84'/{COIN[network]}'/0'"
    equal(key.origin.derivation, bip32.parse_path(path), f"{network}: the descriptor's origin is {path}")
    equal(
        boundary.text(public, "CKA_COUNTERSIGN_PATH").replace("h", "'"),
        path,
        f"{network}: the path is {path}",
    )
    equal(
        boundary.attribute(public, "CKA_COUNTERSIGN_FINGERPRINT"),
        key.origin.fingerprint,
        f"{network}: the fingerprint is the descriptor's",
    )
    equal(
        boundary.text(public, "CKA_COUNTERSIGN_XPUB"),
        key.key.to_base58(),
        f"{network}: the xpub is the descriptor's",
    )
    equal(key.key.depth, 3, f"{network}: the xpub is an account's")
    check(not key.is_private, f"{network}: it is public")
    check(
        wallet.address(psbt.RECEIVE, 0).startswith(PREFIX[network]),
        f"{network}: addresses begin with {PREFIX[network]}",
    )
    check(
        wallet.address(psbt.RECEIVE, 0) != wallet.address(psbt.CHANGE, 0),
        f"{network}: change has addresses of its own",
    )


def spends_everything_at_once(boundary):
    """Many inputs of both branches, with and without the redundant witness_utxo, change and payments."""
    alice = boundary.user("alice")
    wallet = boundary.wallet("many", ["alice"])
    coins = [
        (branch, index, 11_000 + index)
        for branch in (psbt.RECEIVE, psbt.CHANGE)
        for index in (0, 1, 19, 1_000)
    ]
    payments = [(psbt.foreign_script(), 30_000), (psbt.foreign_script("p2tr"), 20_000)]
    fee = 3_000
    change = sum(sat for _, _, sat in coins) - 50_000 - fee
    unsigned = psbt.make(wallet, coins, payments, change=(42, change), padding=2)
    boundary.login(CKU_USER)
    signed = boundary.sign("many", unsigned, approval(alice.code()))
    result = finalised("embit-many", unsigned, signed)
    equal(len(result["prevouts"]), len(coins), "every input is signed")


def output_types(boundary):
    """Payments to every kind of address, no change, no witness_utxo, any sequence of coins."""
    bob = boundary.user("bob")
    wallet = boundary.wallet("kinds", ["bob"])
    payments = [(psbt.foreign_script(kind), 10_000) for kind in ("p2pkh", "p2sh", "p2wpkh", "p2tr")]
    unsigned = psbt.make(wallet, [(psbt.CHANGE, 3, 41_000)], payments, witness=False)
    boundary.login(CKU_USER)
    finalised("embit-kinds", unsigned, boundary.sign("kinds", unsigned, approval(bob.code())))


def other_wallet(boundary):
    """A wallet does not sign for another one, and the refusal spends nothing."""
    carol = boundary.user("carol")
    mine = boundary.wallet("mine", ["carol"])
    boundary.wallet("other", ["carol"])
    boundary.login(CKU_USER)
    unsigned = psbt.make(mine, [(psbt.RECEIVE, 0, 10_000)], [(psbt.foreign_script(), 9_000)])
    code = approval(carol.code())
    refused(
        lambda: boundary.sign("other", unsigned, code),
        "CKR_COUNTERSIGN_PSBT_REFUSED",
        "a PSBT of another wallet",
    )
    equal(boundary.failures("carol"), 0, "no failure was counted")
    finalised("embit-right-wallet", unsigned, boundary.sign("mine", unsigned, code))


main()
print("done")
