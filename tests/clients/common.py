"""Shared by the client tests: a boundary in a temporary folder, users, wallets, and checks.

COUNTERSIGN_MODULE names the module under test. COUNTERSIGN_OUT, if it is set, names a folder for finalised transactions,
which the caller verifies with Bitcoin Core's consensus code.
"""

import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import PyKCS11
import pyotp
from PyKCS11 import (
    CKA_CLASS,
    CKA_ID,
    CKA_LABEL,
    CKA_TOKEN,
    CKF_RW_SESSION,
    CKO_PRIVATE_KEY,
    CKO_PUBLIC_KEY,
    CKR_OK,
    CKU_CONTEXT_SPECIFIC,
    CKU_SO,
    CKU_USER,
    Mechanism,
    ckbytelist,
)

import psbt

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Longer than any test takes. A test that hangs must not stop the run.
signal.alarm(300)


def vendor_numbers():
    """The numbers of include/countersign.h, by name."""
    text = (ROOT / "include" / "countersign.h").read_text(encoding="utf-8")
    return {name: int(number, 16) for name, number in re.findall(r"#define (CK\w+)\s+(0x[0-9A-F]+)UL", text)}


VENDOR = vendor_numbers()

# Steps of 120 seconds: a code stays good for as long as a test needs it.
PERIOD = 120

GENEROUS = "max_transaction_sat = 1000000\nmax_fee_sat = 20000\n"


def number(name):
    """The number of a PKCS#11 name, vendor names included."""
    return VENDOR[name] if name in VENDOR else getattr(PyKCS11, name)


def name_of(rv):
    for name, value in VENDOR.items():
        if name.startswith("CKR_") and value == rv:
            return name
    return PyKCS11.CKR.get(rv, hex(rv))


def passed(what):
    print(f"ok: {what}", flush=True)


def check(condition, what):
    if not condition:
        failed(what)
    passed(what)


def failed(what):
    print(f"FAILED: {what}", flush=True)
    sys.exit(1)


def equal(got, wanted, what):
    if got != wanted:
        failed(f"{what}: got {got!r}, wanted {wanted!r}")
    passed(what)


def refused(call, rv, what):
    """The call must fail with exactly this CK_RV."""
    got = answer(call)
    if got != number(rv):
        failed(f"{what}: got {name_of(got)}, wanted {rv}")
    passed(f"{what}: {rv}")


def answer(call):
    """The CK_RV of a call, CKR_OK if it does not fail."""
    try:
        call()
    except PyKCS11.PyKCS11Error as error:
        return error.value
    return CKR_OK


class Authenticator:
    """A user's authenticator: pyotp (RFC 6238), set up from the otpauth:// URI alone."""

    def __init__(self, uri):
        self.uri = uri
        self.totp = pyotp.parse_uri(uri)
        self.last = None

    def step(self):
        return int(time.time()) // self.totp.interval

    def at(self, step):
        return self.totp.at(step * self.totp.interval)

    def code(self):
        """An unused code of this step, or of the next, which the window also includes.

        Both stay valid for a whole step, even at its very end. For a third code the caller has to wait.
        """
        step = self.step() if self.last is None else max(self.last + 1, self.step())
        while step > self.step() + 1:
            time.sleep(0.5)
        self.last = step
        return self.at(step)

    def used(self):
        """The code that was returned last."""
        return self.at(self.last)

    def wrong_code(self):
        """Digits that are the code of no nearby step."""
        near = {self.at(step) for step in range(self.step() - 3, self.step() + 5)}
        for value in range(len(near) + 1):
            code = str(value).zfill(self.totp.digits)
            if code not in near:
                return code
        raise AssertionError("more candidates than codes")


class Boundary:
    """A backing token, a store and the module over them, all in a folder that is removed afterwards."""

    def __init__(self):
        self.module = os.environ["COUNTERSIGN_MODULE"]
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="countersign-client-"))
        self.so_pin = "so " + secrets.token_hex(8)
        self.user_pin = "user " + secrets.token_hex(8)
        self.lib = None
        self.session = None
        self.role = None
        subprocess.run(
            ["bash", str(ROOT / "softhsm" / "setup.sh"), str(self.folder / "boundary")],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.environ["SOFTHSM2_CONF"] = str(self.folder / "boundary" / "softhsm2.conf")
        os.environ["COUNTERSIGN_CONF"] = str(self.folder / "boundary" / "countersign.toml")

    def __enter__(self):
        self.open()
        self.slot = self.lib.getSlotList()[0]
        self.lib.initToken(self.slot, self.so_pin, "clients".ljust(32))
        self.login(CKU_SO)
        self.session.initPin(self.user_pin)
        return self

    def __exit__(self, *_):
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self):
        """C_Initialize: from here on this process holds the store."""
        self.lib = PyKCS11.PyKCS11Lib()
        self.lib.load(self.module)

    def close(self):
        """C_Finalize: another process may open the store."""
        if self.lib is not None:
            self.lib.unload()
        self.lib = self.session = self.role = None

    def login(self, role):
        """The one session of the test, logged in as CKU_SO or CKU_USER."""
        if self.role == role:
            return self.session
        if self.session is None:
            self.session = self.lib.openSession(self.slot, CKF_RW_SESSION)
        if self.role is not None:
            self.session.logout()
        self.session.login(self.so_pin if role == CKU_SO else self.user_pin, role)
        self.role = role
        return self.session

    def enrol(self, name, period=PERIOD, extra=()):
        """Makes a user inside; returns the key's handle and the authenticator that read the URI, once."""
        session = self.login(CKU_SO)
        template = [
            (CKA_CLASS, number("CKO_OTP_KEY")),
            (PyKCS11.CKA_KEY_TYPE, number("CKK_HOTP")),
            (CKA_TOKEN, True),
            (CKA_LABEL, name),
            (number("CKA_OTP_TIME_INTERVAL"), ulong(period)),
            *extra,
        ]
        otp_key = session.generateKey(template, Mechanism(number("CKM_COUNTERSIGN_TOTP_KEY_GEN")))
        return otp_key, Authenticator(self.text(otp_key, "CKA_COUNTERSIGN_OTPAUTH_URI"))

    def confirm(self, otp_key, code):
        """C_VerifyFinal of a code (PyKCS11 itself refuses C_Verify of no data): raises on a refusal."""
        mechanism = Mechanism(number("CKM_COUNTERSIGN_TOTP")).to_native()
        low = self.session.lib
        rv = low.C_VerifyInit(self.session.session, mechanism, otp_key)
        if rv == PyKCS11.CKR_OK:
            rv = low.C_VerifyFinal(self.session.session, ckbytelist(code))
        if rv != PyKCS11.CKR_OK:
            raise PyKCS11.PyKCS11Error(rv)

    def user(self, name, **more):
        """Makes a user who confirms with a first code."""
        otp_key, authenticator = self.enrol(name, **more)
        self.confirm(otp_key, authenticator.code())
        return authenticator

    def wallet(self, label, users, policy=GENEROUS, network="regtest", key_id=None):
        """Makes a P2WPKH wallet inside; returns its watch-only side, which embit read from the descriptor."""
        public_key = self.make_wallet(label, users, policy, network, key_id)
        return psbt.Wallet(self.text(public_key, "CKA_COUNTERSIGN_DESCRIPTOR"), network)

    def make_wallet(self, label, users, policy=GENEROUS, network="regtest", key_id=None, script=None, path=None):
        """Makes a wallet inside; returns the handle of its public key.

        script: the wallet policy (BIP 388), "" to register it later; path: our key's.
        """
        session = self.login(CKU_SO)
        both = [(CKA_LABEL, label), (CKA_TOKEN, True)]
        if key_id is not None:
            both.append((CKA_ID, key_id))
        private = [
            (number("CKA_COUNTERSIGN_NETWORK"), network.encode()),
            (number("CKA_COUNTERSIGN_USERS"), "\n".join(users).encode()),
            (number("CKA_COUNTERSIGN_POLICY"), policy.encode()),
        ]
        if script is not None:
            private.append((number("CKA_COUNTERSIGN_WALLET_POLICY"), script.encode()))
        if path is not None:
            private.append((number("CKA_COUNTERSIGN_PATH"), path.encode()))
        public_key, _ = session.generateKeyPair(
            both, both + private, Mechanism(number("CKM_COUNTERSIGN_WALLET_KEY_GEN"))
        )
        return public_key

    def register(self, label, script):
        """Gives a wallet its wallet policy."""
        session = self.login(CKU_SO)
        value = [(number("CKA_COUNTERSIGN_WALLET_POLICY"), script.encode())]
        session.setAttributeValue(self.public_key(label), value)

    def private_key(self, label):
        """The wallet's private key, as the logged-in user finds it."""
        found = self.login(CKU_USER).findObjects([(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_LABEL, label)])
        if len(found) != 1:
            failed(f"the private key of wallet {label} was found {len(found)} times")
        return found[0]

    def public_key(self, label):
        found = self.session.findObjects([(CKA_CLASS, CKO_PUBLIC_KEY), (CKA_LABEL, label)])
        if len(found) != 1:
            failed(f"the public key of wallet {label} was found {len(found)} times")
        return found[0]

    def otp_key(self, name):
        found = self.session.findObjects([(CKA_CLASS, number("CKO_OTP_KEY")), (CKA_LABEL, name)])
        if len(found) != 1:
            failed(f"the key of user {name} was found {len(found)} times")
        return found[0]

    def attribute(self, handle, name):
        """An attribute's bytes, or None if the module does not show it."""
        value = self.session.getAttributeValue(handle, [number(name)], allAsBinary=True)[0]
        return None if value is None else bytes(value)

    def attribute_rv(self, handle, name):
        """The CK_RV of asking for an attribute's length."""
        template = PyKCS11.LowLevel.ckattrlist(1)
        template[0].SetType(number(name))
        return self.session.lib.C_GetAttributeValue(self.session.session, handle, template)

    def text(self, handle, name):
        value = self.attribute(handle, name)
        if value is None:
            failed(f"{name} can not be read")
        return value.decode("utf-8")

    def failures(self, name):
        """The user's wrong tries in the last 30 days."""
        return struct.unpack("@L", self.attribute(self.otp_key(name), "CKA_COUNTERSIGN_FAILURES"))[0]

    def sign(self, label, data, parameter=None, context=None):
        """One signature: C_SignInit, the context login if there is one, C_Sign, which first asks for the length."""
        operation = Operation(self, label, parameter)
        if context is not None:
            self.session.login(context, CKU_CONTEXT_SPECIFIC)
        return operation.sign(data)


class Operation:
    """A signing operation begun by C_SignInit."""

    def __init__(self, boundary, label, parameter=None):
        key = boundary.private_key(label)
        self.session = boundary.session
        # Kept here because the module may be given its pointer until C_SignInit has returned.
        self.mechanism = Mechanism(number("CKM_COUNTERSIGN_PSBT"), parameter)
        rv = self.session.lib.C_SignInit(self.session.session, self.mechanism.to_native(), key)
        if rv != CKR_OK:
            raise PyKCS11.PyKCS11Error(rv)

    def into(self, data, size):
        """C_Sign into a buffer of `size` bytes, 0 asks for the length: the CK_RV and the bytes."""
        buffer = ckbytelist([0] * size)
        rv = self.session.lib.C_Sign(self.session.session, ckbytelist(data), buffer)
        return rv, bytes(buffer)

    def sign(self, data):
        rv, bound = self.into(data, 0)
        if rv == CKR_OK:
            rv, signed = self.into(data, len(bound))
        if rv != CKR_OK:
            raise PyKCS11.PyKCS11Error(rv)
        return signed


def ulong(value):
    """A CK_ULONG as attribute bytes."""
    return struct.pack("@L", value)


def approval(code, user="", version=1, factor=1, user_length=None, code_length=None):
    """One record of 128 bytes, the mechanism's parameter. The optional arguments make it malformed."""
    user = user if isinstance(user, bytes) else user.encode()
    code = code if isinstance(code, bytes) else code.encode()
    head = bytes(
        [
            version,
            factor,
            len(user) if user_length is None else user_length,
            len(code) if code_length is None else code_length,
        ]
    )
    return head + user.ljust(60, b"\0") + code.ljust(64, b"\0")


def spend(wallet, sat=50_000, fee=500, **more):
    """A small PSBT: one coin in, one payment out, change back."""
    coin = sat * 2
    return psbt.make(
        wallet,
        [(psbt.RECEIVE, 0, coin)],
        [(psbt.foreign_script(), sat)],
        change=(0, coin - sat - fee),
        **more,
    )


def finalised(name, unsigned, signed):
    """Finalises a signed PSBT with embit, and leaves the transaction for the caller's consensus check."""
    try:
        result = psbt.finalise(unsigned, signed)
    except ValueError as error:
        failed(f"embit finalises {name}: {error}")
    leave(name, result)
    passed(f"embit finalises {name}")
    return result


def leave(name, result):
    """Leaves a transaction, with the outputs that it spends, for the caller's consensus check."""
    out = os.environ.get("COUNTERSIGN_OUT")
    if out:
        pathlib.Path(out, f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
