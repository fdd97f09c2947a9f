"""The backend's watch-only wallet in Python (embit): it makes payments and finalises them, and holds no key.

It knows nothing of the wallet but the output descriptor, which anybody may read from the module.
"""

import json
import os

from embit import script
from embit.descriptor import Descriptor
from embit.finalizer import finalize_psbt
from embit.psbt import PSBT, DerivationPath
from embit.transaction import Transaction, TransactionInput, TransactionOutput

# All on regtest. A real backend takes these values from its own books and its own node.
PAYEE = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
COIN_SAT, PAY_SAT, FEE_SAT = 100_000, 60_000, 500

RECEIVE, CHANGE = 0, 1


def payment(text: str) -> bytes:
    """A PSBT (BIP 174) that spends the wallet's first coin: a payment, and change back to the wallet."""
    descriptor = Descriptor.from_string(text)
    received, change = descriptor.derive(0, branch_index=RECEIVE), descriptor.derive(0, branch_index=CHANGE)
    funding = invented_coin(received.script_pubkey())
    outputs = [
        TransactionOutput(PAY_SAT, script.address_to_scriptpubkey(PAYEE)),
        TransactionOutput(COIN_SAT - PAY_SAT - FEE_SAT, change.script_pubkey()),
    ]
    psbt = PSBT(Transaction(version=2, vin=[TransactionInput(funding.txid(), 0)], vout=outputs, locktime=0))
    # The whole transaction that paid the coin: without it the amount is only a claim, and nothing is signed.
    psbt.inputs[0].non_witness_utxo = funding
    psbt.inputs[0].witness_utxo = funding.vout[0]
    # Where each key comes from. Change without it counts as a payment to a stranger.
    for scope, place in ((psbt.inputs[0], received), (psbt.outputs[1], change)):
        origin = DerivationPath(place.key.origin.fingerprint, place.key.origin.derivation)
        scope.bip32_derivations[place.key.get_public_key()] = origin
    return psbt.serialize()


def invented_coin(script_pubkey) -> Transaction:
    """Invents a transaction that paid the wallet. A real backend asks its node for it."""
    origin = TransactionInput(os.urandom(32), 0)
    return Transaction(version=2, vin=[origin], vout=[TransactionOutput(COIN_SAT, script_pubkey)], locktime=0)


def finalise(signed: bytes) -> str:
    """The final transaction and the outputs that it spends, as examples/verify_tx reads them."""
    psbt = PSBT.parse(signed)
    transaction = finalize_psbt(psbt)
    if transaction is None:
        raise ValueError("signatures are missing")
    spent = [psbt.utxo(number) for number in range(len(transaction.vin))]
    prevouts = [
        {
            "txid": vin.txid.hex(),
            "vout": vin.vout,
            "amount_sat": utxo.value,
            "script_pubkey": utxo.script_pubkey.data.hex(),
        }
        for vin, utxo in zip(transaction.vin, spent, strict=True)
    ]
    return json.dumps({"tx": transaction.serialize().hex(), "prevouts": prevouts})
