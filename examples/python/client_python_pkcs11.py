#!/usr/bin/env python3
"""A backend in Python (python-pkcs11, embit), from a user's enrolment to a signed transaction.

    python3 examples/python/client_python_pkcs11.py enrol USER
    python3 examples/python/client_python_pkcs11.py confirm USER
    python3 examples/python/client_python_pkcs11.py wallet WALLET USER
    python3 examples/python/client_python_pkcs11.py psbt WALLET UNSIGNED
    python3 examples/python/client_python_pkcs11.py sign WALLET USER UNSIGNED SIGNED
    python3 examples/python/client_python_pkcs11.py login WALLET USER UNSIGNED SIGNED
    python3 examples/python/client_python_pkcs11.py finalise SIGNED

COUNTERSIGN_MODULE names the module. The security officer's verbs (the first three) take the PIN from
COUNTERSIGN_SO_PIN, the backend's from COUNTERSIGN_USER_PIN. The program asks for codes on the terminal. See examples/README.md.
"""

import contextlib
import ctypes
import getpass
import os
import pathlib
import sys

import pkcs11
import rules
import watch_only
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11 import _pkcs11 as implementation
from pkcs11.attributes import AttributeMapper, handle_str
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import PinIncorrect, PinLocked, PKCS11Error


def vendor_mechanism(name, number):
    """python-pkcs11 takes only members of its own enumeration, which cannot be extended. This makes such a member outside of it."""
    member = int.__new__(pkcs11.Mechanism, number)
    member._name_, member._value_ = name, number
    return member


# include/countersign.h has all of them.
CKM_COUNTERSIGN_PSBT = vendor_mechanism("COUNTERSIGN_PSBT", 0xC3530001)
CKM_COUNTERSIGN_TOTP_KEY_GEN = vendor_mechanism("COUNTERSIGN_TOTP_KEY_GEN", 0xC3530010)
CKM_COUNTERSIGN_TOTP = vendor_mechanism("COUNTERSIGN_TOTP", 0xC3530011)
CKM_COUNTERSIGN_WALLET_KEY_GEN = vendor_mechanism("COUNTERSIGN_WALLET_KEY_GEN", 0xC3530020)
CKA_COUNTERSIGN_OTPAUTH_URI = 0xC3530100
CKA_COUNTERSIGN_NETWORK = 0xC3530110
CKA_COUNTERSIGN_USERS = 0xC3530111
CKA_COUNTERSIGN_POLICY = 0xC3530112
CKA_COUNTERSIGN_DESCRIPTOR = 0xC3530113

# python-pkcs11 has no class for OTP keys (CKO_OTP_KEY). The example treats one as a secret key, which can verify.
implementation._CLASS_MAP[ObjectClass.OTP_KEY] = implementation.SecretKey

ATTRIBUTES = AttributeMapper()
for number in (
    CKA_COUNTERSIGN_OTPAUTH_URI,
    CKA_COUNTERSIGN_NETWORK,
    CKA_COUNTERSIGN_USERS,
    CKA_COUNTERSIGN_POLICY,
    CKA_COUNTERSIGN_DESCRIPTOR,
):
    ATTRIBUTES.register_handler(number, *handle_str)

# python-pkcs11 has an exception type for each CK_RV that it knows. For any other it puts the number into the text.
REFUSALS = {
    "0xc3530001": "CKR_COUNTERSIGN_POLICY: the wallet's policy refuses the transaction, and the code is spent (rule 33: it is frozen, and nothing is spent)",
    "0xc3530002": "CKR_COUNTERSIGN_PSBT_REFUSED: the PSBT breaks a rule; the code is not spent",
    "0xc3530003": "CKR_COUNTERSIGN_STATE: the module does not trust the sealed state; run countersign doctor",
    "0xc3530004": "CKR_COUNTERSIGN_CLOCK: the module does not trust the machine's clock; run countersign clock show",
}


def enrol(user):
    """The module makes the secret inside. It comes out once, as the otpauth:// URI that an authenticator app scans."""
    with open_session(so_pin=os.environ["COUNTERSIGN_SO_PIN"]) as session:
        key = session.generate_key(
            KeyType.HOTP,
            key_length=160,
            label=user,
            store=True,
            capabilities=MechanismFlag.VERIFY,
            mechanism=CKM_COUNTERSIGN_TOTP_KEY_GEN,
            # DEFAULT removes attributes that python-pkcs11 writes into every template and that a user's OTP key does not have.
            template={Attribute.CLASS: ObjectClass.OTP_KEY, Attribute.ID: DEFAULT, Attribute.VALUE_LEN: DEFAULT},
        )
        # Show it to the user as a QR code, and keep no copy: anybody who has it can make codes.
        print(key[CKA_COUNTERSIGN_OTPAUTH_URI])


def confirm(user):
    """A first code shows that the user's app has the secret. Before that, the user's codes sign nothing."""
    with open_session(so_pin=os.environ["COUNTERSIGN_SO_PIN"]) as session:
        key = find(session, ObjectClass.OTP_KEY, user)
        if not key.verify(b"", ask_code(user).encode(), mechanism=CKM_COUNTERSIGN_TOTP):
            sys.exit("CKR_SIGNATURE_INVALID: this is no code: 6 digits are asked for")
        print(f"{user} is confirmed")


def wallet(label, user):
    """The module makes the key inside, and the key never leaves. A watch-only wallet needs only the descriptor."""
    with open_session(so_pin=os.environ["COUNTERSIGN_SO_PIN"]) as session:
        public_key, _ = session.generate_keypair(
            KeyType.EC,
            label=label,
            store=True,
            capabilities=MechanismFlag.SIGN,
            mechanism=CKM_COUNTERSIGN_WALLET_KEY_GEN,
            private_template={
                CKA_COUNTERSIGN_NETWORK: "regtest",
                CKA_COUNTERSIGN_USERS: user,
                CKA_COUNTERSIGN_POLICY: "max_transaction_sat = 100000\nmax_fee_sat = 5000\n",
            },
        )
        print(public_key[CKA_COUNTERSIGN_DESCRIPTOR])


def psbt(label, unsigned):
    with open_session() as session:
        descriptor = find(session, ObjectClass.PUBLIC_KEY, label)[CKA_COUNTERSIGN_DESCRIPTOR]
    pathlib.Path(unsigned).write_bytes(watch_only.payment(descriptor))


def sign(label, user, unsigned, signed):
    """The first way: the code is in the mechanism's parameter."""
    with open_session(user_pin=os.environ["COUNTERSIGN_USER_PIN"]) as session:
        key = find(session, ObjectClass.PRIVATE_KEY, label)
        parameter = approval(user, ask_code(user))
        data = pathlib.Path(unsigned).read_bytes()
        with telling_the_rule(session):
            answer = key.sign(data, mechanism=CKM_COUNTERSIGN_PSBT, mechanism_param=parameter)
    pathlib.Path(signed).write_bytes(answer)


def login(label, user, unsigned, signed):
    """The second way: between C_SignInit and C_Sign the code is the PIN of a context-specific login."""
    with open_session(user_pin=os.environ["COUNTERSIGN_USER_PIN"]) as session:
        key = find(session, ObjectClass.PRIVATE_KEY, label)
        pin = f"{user}:{ask_code(user)}"
        data = pathlib.Path(unsigned).read_bytes()
        with telling_the_rule(session):
            answer = key.sign(data, mechanism=CKM_COUNTERSIGN_PSBT, pin=pin)
    pathlib.Path(signed).write_bytes(answer)


def finalise(signed):
    print(watch_only.finalise(pathlib.Path(signed).read_bytes()))


def approval(user, code):
    """COUNTERSIGN_APPROVAL: version 1, factor 1 (TOTP), both lengths, both texts padded with zeros. 128 bytes."""
    user, code = user.encode(), code.encode("ascii")
    return bytes([1, 1, len(user), len(code)]) + user.ljust(60, b"\0") + code.ljust(64, b"\0")


def ask_code(user):
    return getpass.getpass(f"code of {user}: ")


def open_session(**pin):
    """A session on the first token: the security officer's with so_pin, the backend's with user_pin, otherwise public."""
    module = pkcs11.lib(os.environ["COUNTERSIGN_MODULE"])
    token = next(iter(module.get_tokens()))
    return token.open(rw=True, attribute_mapper=ATTRIBUTES, **pin)


@contextlib.contextmanager
def telling_the_rule(session):
    """Says which rule refused, if one did."""
    try:
        yield
    except PKCS11Error as error:
        if "0xc3530001" in str(error) or "0xc3530002" in str(error):
            print(rules.sentence(device_error(session)), file=sys.stderr)
        raise


class FunctionList(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST: a version and pointers to functions. C_GetSessionInfo is the 16th function."""

    _fields_ = [("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * 16)]


def device_error(session):
    """`ulDeviceError` of C_GetSessionInfo. python-pkcs11 does not offer this call, so the example makes it through `ctypes`."""
    functions = ctypes.POINTER(FunctionList)()
    module = ctypes.CDLL(os.environ["COUNTERSIGN_MODULE"])
    if module.C_GetFunctionList(ctypes.byref(functions)) != 0:
        return 0
    prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)
    # CK_SESSION_INFO: slot, state, flags, ulDeviceError.
    info = (ctypes.c_ulong * 4)()
    rv = prototype(functions.contents.functions[15])(session.handle, ctypes.byref(info))
    return info[3] if rv == 0 else 0


def find(session, object_class, label):
    # Read the search to its end: otherwise it is still active when the key is used.
    found = list(session.get_objects({Attribute.CLASS: object_class, Attribute.LABEL: label}))
    if not found:
        sys.exit(f"no object of this kind is called {label}")
    return found[0]


VERBS = {verb.__name__: verb for verb in (enrol, confirm, wallet, psbt, sign, login, finalise)}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in VERBS:
        sys.exit(__doc__)
    try:
        VERBS[sys.argv[1]](*sys.argv[2:])
    except PinIncorrect:
        sys.exit("CKR_PIN_INCORRECT: the code is wrong, used or stale (or a PIN is wrong); take the next code")
    except PinLocked:
        sys.exit("CKR_PIN_LOCKED: too many codes or PINs were wrong, so this one was not checked; wait, or have the user unlocked")
    except PKCS11Error as error:
        known = (words for number, words in REFUSALS.items() if number in str(error))
        sys.exit(next(known, f"{type(error).__name__} {error}"))


if __name__ == "__main__":
    main()
