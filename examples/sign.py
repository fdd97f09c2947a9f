#!/usr/bin/env python3
"""What a backend in Python does: sign a PSBT with a user's one-time code (PyKCS11).

    COUNTERSIGN_MODULE=target/release/libcountersign.so COUNTERSIGN_USER_PIN=… \\
        python3 examples/sign.py WALLET USER < unsigned.psbt > signed.psbt

The PSBT is binary. The code is asked for on the terminal: the backend passes it on, and cannot make one.
"""

import getpass
import os
import sys

import PyKCS11

CKM_COUNTERSIGN_PSBT = 0xC3530001
ANSWERS = {
    PyKCS11.CKR_PIN_INCORRECT: "the code is wrong, used or stale, or not of a user of this wallet: take the next one",
    PyKCS11.CKR_PIN_LOCKED: "the user is locked or must wait",
    0xC3530001: "the wallet's policy refuses",
    0xC3530002: "the PSBT breaks a rule; the module's log names it",
    0xC3530003: "the sealed state cannot be trusted: run countersign doctor",
    0xC3530004: "the clock cannot be believed",
}


def approval(user: str, code: str) -> bytes:
    """The mechanism's parameter: one record of 128 bytes."""
    user, code = user.encode(), code.encode("ascii")
    return bytes([1, 1, len(user), len(code)]) + user.ljust(60, b"\0") + code.ljust(64, b"\0")


def main() -> None:
    wallet, user = sys.argv[1:]
    psbt = sys.stdin.buffer.read()
    code = getpass.getpass(f"code of {user}: ")

    module = PyKCS11.PyKCS11Lib()
    module.load(os.environ["COUNTERSIGN_MODULE"])
    session = module.openSession(module.getSlotList(tokenPresent=True)[0])
    session.login(os.environ["COUNTERSIGN_USER_PIN"])
    template = [(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY), (PyKCS11.CKA_LABEL, wallet)]
    keys = session.findObjects(template)
    if not keys:
        sys.exit(f"no wallet is called {wallet}")
    mechanism = PyKCS11.Mechanism(CKM_COUNTERSIGN_PSBT, approval(user, code))
    try:
        signed = session.sign(keys[0], psbt, mechanism)
    except PyKCS11.PyKCS11Error as error:
        sys.exit(ANSWERS.get(error.value, str(error)))
    sys.stdout.buffer.write(bytes(signed))
    session.logout()
    session.closeSession()


if __name__ == "__main__":
    main()
