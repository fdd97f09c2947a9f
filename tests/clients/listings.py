"""The programs of examples/shell that list the token's objects and do not sign: p11tool, and OpenSSL with its engine.
examples/README.md shows both.

    listings.py

The environment is that of examples.py.
"""

import os
import pathlib
import re
import subprocess
import tempfile

from common import check, equal, number, passed
from programs import EXAMPLES, PYKCS11, Program, at_terminal

USER = "alice"
WALLETS = ("treasury", "petty cash")


def main():
    PYKCS11.does("enrol", USER)
    for wallet in WALLETS:
        PYKCS11.does("wallet", wallet, USER)
    p11tool()
    with tempfile.TemporaryDirectory(prefix="countersign-listing-") as folder:
        openssl(pathlib.Path(folder))


def p11tool():
    tool = Program(EXAMPLES / "shell" / "p11tool.sh")
    shown = tool.does("list")
    check("Label: clients" in shown and "Manufacturer: Countersign" in shown, "p11tool lists the token")
    for name in ("PSBT", "TOTP_KEY_GEN", "TOTP", "WALLET_KEY_GEN"):
        check(f"[{number(f'CKM_COUNTERSIGN_{name}'):#x}]" in shown, f"p11tool lists CKM_COUNTERSIGN_{name}")
    equal(labels(shown, "Public key"), sorted(WALLETS), "p11tool lists the wallets' public keys")
    equal(labels(shown, "Private key"), [], "without login it lists no private key")

    pin = {"Enter PIN: ": user_pin}
    status, shown = at_terminal([*tool.command, "private"], False, pin)
    equal(status, 0, "p11tool logs in with the PIN that is typed")
    equal(labels(shown, "Private key"), sorted(WALLETS), "then it lists the private keys")
    flags = re.findall(r"Type: Private key.*\r?\n\s*Label: .*\r?\n\s*Flags: (.*?)\r?\n", shown)
    equal(len(flags), len(WALLETS), "with their flags")
    for words in flags:
        check("CKA_ALWAYS_AUTH" in words and "CKA_NEVER_EXTRACTABLE" in words, f"which are {words.strip()}")


def user_pin():
    return os.environ["COUNTERSIGN_USER_PIN"]


def labels(shown, kind):
    """The labels of p11tool's objects of a kind."""
    return sorted(re.findall(rf"Type: {kind}.*\r?\n\s*Label: (.*?)\r?\n", shown))


def openssl(folder):
    program = [EXAMPLES / "shell" / "openssl.sh"]
    status, shown = at_terminal([*program, "treasury"], False, {})
    equal(status, 0, "OpenSSL finds a wallet's public key")
    listed = re.findall(r"^ +\d+ +id=[0-9a-f]{32} label=(.*?)\r?$", shown, re.MULTILINE)
    equal(sorted(listed), sorted(WALLETS), "its engine lists the wallets' public keys")
    pem = re.search(r"-----BEGIN PUBLIC KEY-----.*-----END PUBLIC KEY-----", shown, re.DOTALL)
    check(pem, "and OpenSSL reads the one that is named")
    decoded = subprocess.run(
        ["openssl", "pkey", "-pubin", "-noout", "-text"], input=pem[0], text=True, capture_output=True, check=True
    )
    check("secp256k1" in decoded.stdout, "which is on secp256k1")

    digest, signature = folder / "digest", folder / "signature"
    digest.write_bytes(os.urandom(32))
    uri = "pkcs11:object=treasury;type=private"
    files = ["-in", digest, "-out", signature]
    command = ["env", f"PKCS11_MODULE_PATH={os.environ['COUNTERSIGN_MODULE']}", "openssl", "pkeyutl"]
    command += ["-engine", "pkcs11", "-keyform", "engine", "-inkey", uri, "-sign", *files]
    pin = {"PIN for clients:": user_pin}
    status, shown = at_terminal(command, False, pin)
    refused = status != 0 and "Key function not permitted" in shown
    check(refused, "OpenSSL has no digest signed: CKR_KEY_FUNCTION_NOT_PERMITTED")
    check(not signature.exists() or not signature.read_bytes(), "and nothing is written")
    passed("a wallet's key signs nothing but a PSBT")


main()
print("done")
