"""Shared by the Python makers: one JSON job on standard input, one JSON answer on standard output."""

import json
import sys

# The sequence of every input: it signals replaceability, and asks for no relative timelock (BIP 68).
SEQUENCE = 0xFFFFFFFD
TX_VERSION = 2


class Unsupported(Exception):
    """The library cannot do this at all. The message says what it lacks."""


def answer(verbs):
    """Runs the job. `verbs` has a function for each verb, from the job to the answer."""
    try:
        job = json.load(sys.stdin)
        verb = verbs.get(job.get("verb"))
        if verb is None:
            raise ValueError(f"the verb is one of {', '.join(verbs)}, not {job.get('verb')!r}")
        result = verb(job)
    except Unsupported as lack:
        result = {"unsupported": str(lack)}
    except Exception as error:
        # Some of the libraries' errors are assertions without a message.
        sys.exit(f"error: {type(error).__name__}: {error}")
    json.dump(result, sys.stdout)
    print()


def change_sat(job):
    """The amount of the change output."""
    change = job["inputs"] * job["input_sat"] - job["pay_sat"] - job["fee_sat"]
    if change <= 0:
        raise ValueError("the inputs hold too little for the payment, the fee and change")
    return change


def psbt_version(job):
    version = job.get("version", 0)
    if version not in (0, 2):
        raise ValueError(f"there is no PSBT version {version}")
    return version
