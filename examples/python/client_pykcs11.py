#!/usr/bin/env python3
"""A backend in Python (PyKCS11, embit), from a user's enrolment to a signed transaction.

    python3 examples/python/client_pykcs11.py enrol USER
    python3 examples/python/client_pykcs11.py confirm USER
    python3 examples/python/client_pykcs11.py wallet WALLET USER
    python3 examples/python/client_pykcs11.py psbt WALLET UNSIGNED
    python3 examples/python/client_pykcs11.py sign WALLET USER UNSIGNED SIGNED
    python3 examples/python/client_pykcs11.py login WALLET USER UNSIGNED SIGNED
    python3 examples/python/client_pykcs11.py finalise SIGNED

COUNTERSIGN_MODULE names the module. The security officer's verbs (the first three) take the PIN from
COUNTERSIGN_SO_PIN, the backend's from COUNTERSIGN_USER_PIN. The program asks for codes on the terminal. See examples/README.md.
"""

import contextlib
import getpass
import os
import pathlib
import sys

import PyKCS11
from PyKCS11 import CKA_CLASS, CKA_LABEL, CKA_TOKEN, CKR_OK, CKU_CONTEXT_SPECIFIC, CKU_SO, CKU_USER, Mechanism

import rules
import watch_only

# include/countersign.h has all of them. CKO_OTP_KEY is PKCS#11's; PyKCS11 has no name for it.
CKM_COUNTERSIGN_PSBT = 0xC3530001
CKM_COUNTERSIGN_TOTP_KEY_GEN = 0xC3530010
CKM_COUNTERSIGN_TOTP = 0xC3530011
CKM_COUNTERSIGN_WALLET_KEY_GEN = 0xC3530020
CKA_COUNTERSIGN_OTPAUTH_URI = 0xC3530100
CKA_COUNTERSIGN_NETWORK = 0xC3530110
CKA_COUNTERSIGN_USERS = 0xC3530111
CKA_COUNTERSIGN_POLICY = 0xC3530112
CKA_COUNTERSIGN_DESCRIPTOR = 0xC3530113
CKO_OTP_KEY = 8

# After these two, C_GetSessionInfo gives the number of the rule.
BY_A_RULE = (0xC3530001, 0xC3530002)

REFUSALS = {
    0xC3530001: "CKR_COUNTERSIGN_POLICY: the wallet's policy refuses the transaction, and the code is spent (rule 33: it is frozen, and nothing is spent)",
    0xC3530002: "CKR_COUNTERSIGN_PSBT_REFUSED: the PSBT breaks a rule; the code is not spent",
    0xC3530003: "CKR_COUNTERSIGN_STATE: the module does not trust the sealed state; run countersign doctor",
    0xC3530004: "CKR_COUNTERSIGN_CLOCK: the module does not trust the machine's clock; run countersign clock show",
    PyKCS11.CKR_PIN_INCORRECT: "CKR_PIN_INCORRECT: the code is wrong, used or stale (or a PIN is wrong); take the next code",
    PyKCS11.CKR_PIN_LOCKED: "CKR_PIN_LOCKED: too many codes or PINs were wrong, so this one was not checked; wait, or have the user unlocked",
}


def enrol(user):
    """The module makes the secret inside. It comes out once, as the otpauth:// URI that an authenticator app scans."""
    session = open_session(CKU_SO)
    template = [(CKA_CLASS, CKO_OTP_KEY), (CKA_TOKEN, True), (CKA_LABEL, user)]
    key = session.generateKey(template, Mechanism(CKM_COUNTERSIGN_TOTP_KEY_GEN))
    # Show it to the user as a QR code, and keep no copy: anybody who has it can make codes.
    print(attribute(session, key, CKA_COUNTERSIGN_OTPAUTH_URI))


def confirm(user):
    """A first code shows that the user's app has the secret. Before that, the user's codes sign nothing."""
    session = open_session(CKU_SO)
    key = find(session, CKO_OTP_KEY, user)
    code = ask_code(user)
    # C_VerifyFinal, because PyKCS11's Session.verify() does not accept empty data.
    check(session.lib.C_VerifyInit(session.session, Mechanism(CKM_COUNTERSIGN_TOTP).to_native(), key))
    check(session.lib.C_VerifyFinal(session.session, PyKCS11.ckbytelist(code)))
    print(f"{user} is confirmed")


def wallet(label, user):
    """The module makes the key inside, and the key never leaves. A watch-only wallet needs only the descriptor."""
    session = open_session(CKU_SO)
    public = [(CKA_LABEL, label), (CKA_TOKEN, True)]
    private = [
        *public,
        (CKA_COUNTERSIGN_NETWORK, b"regtest"),
        (CKA_COUNTERSIGN_USERS, user.encode()),
        (CKA_COUNTERSIGN_POLICY, b"max_transaction_sat = 100000\nmax_fee_sat = 5000\n"),
    ]
    public_key, _ = session.generateKeyPair(public, private, Mechanism(CKM_COUNTERSIGN_WALLET_KEY_GEN))
    print(attribute(session, public_key, CKA_COUNTERSIGN_DESCRIPTOR))


def psbt(label, unsigned):
    session = open_session(None)
    public_key = find(session, PyKCS11.CKO_PUBLIC_KEY, label)
    descriptor = attribute(session, public_key, CKA_COUNTERSIGN_DESCRIPTOR)
    pathlib.Path(unsigned).write_bytes(watch_only.payment(descriptor))


def sign(label, user, unsigned, signed):
    """The first way: the code is in the mechanism's parameter."""
    session = open_session(CKU_USER)
    key = find(session, PyKCS11.CKO_PRIVATE_KEY, label)
    mechanism = Mechanism(CKM_COUNTERSIGN_PSBT, approval(user, ask_code(user)))
    with telling_the_rule(session):
        answer = session.sign(key, pathlib.Path(unsigned).read_bytes(), mechanism)
    pathlib.Path(signed).write_bytes(bytes(answer))


def login(label, user, unsigned, signed):
    """The second way: between C_SignInit and C_Sign the code is the PIN of a context-specific login."""
    session = open_session(CKU_USER)
    key = find(session, PyKCS11.CKO_PRIVATE_KEY, label)
    data = PyKCS11.ckbytelist(pathlib.Path(unsigned).read_bytes())
    pin = f"{user}:{ask_code(user)}"
    check(session.lib.C_SignInit(session.session, Mechanism(CKM_COUNTERSIGN_PSBT).to_native(), key))
    session.login(pin, CKU_CONTEXT_SPECIFIC)
    # Asking for the length does not spend the code. Only C_Sign with a buffer checks it, once.
    answer = PyKCS11.ckbytelist()
    with telling_the_rule(session):
        check(session.lib.C_Sign(session.session, data, answer))
        check(session.lib.C_Sign(session.session, data, answer))
    pathlib.Path(signed).write_bytes(bytes(answer))


def finalise(signed):
    print(watch_only.finalise(pathlib.Path(signed).read_bytes()))


def approval(user, code):
    """COUNTERSIGN_APPROVAL: version 1, factor 1 (TOTP), both lengths, both texts padded with zeros. 128 bytes."""
    user, code = user.encode(), code.encode("ascii")
    return bytes([1, 1, len(user), len(code)]) + user.ljust(60, b"\0") + code.ljust(64, b"\0")


def ask_code(user):
    return getpass.getpass(f"code of {user}: ")


def open_session(role):
    """A session on the first token: of CKU_SO, of CKU_USER, or public."""
    module = PyKCS11.PyKCS11Lib()
    module.load(os.environ["COUNTERSIGN_MODULE"])
    slot = module.getSlotList(tokenPresent=True)[0]
    session = module.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    if role is not None:
        session.login(os.environ["COUNTERSIGN_SO_PIN" if role == CKU_SO else "COUNTERSIGN_USER_PIN"], role)
    return session


def find(session, object_class, label):
    found = session.findObjects([(CKA_CLASS, object_class), (CKA_LABEL, label)])
    if not found:
        sys.exit(f"no object of this kind is called {label}")
    return found[0]


def attribute(session, handle, kind):
    return bytes(session.getAttributeValue(handle, [kind], allAsBinary=True)[0]).decode()


@contextlib.contextmanager
def telling_the_rule(session):
    """Says which rule refused, if one did."""
    try:
        yield
    except PyKCS11.PyKCS11Error as error:
        if error.value in BY_A_RULE:
            print(rules.sentence(session.getSessionInfo().ulDeviceError), file=sys.stderr)
        raise


def check(rv):
    if rv != CKR_OK:
        raise PyKCS11.PyKCS11Error(rv)


VERBS = {verb.__name__: verb for verb in (enrol, confirm, wallet, psbt, sign, login, finalise)}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in VERBS:
        sys.exit(__doc__)
    try:
        VERBS[sys.argv[1]](*sys.argv[2:])
    except PyKCS11.PyKCS11Error as error:
        sys.exit(REFUSALS.get(error.value, str(error)))


if __name__ == "__main__":
    main()
