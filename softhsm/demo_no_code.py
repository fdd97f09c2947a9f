"""Tries to sign without any code, with PyKCS11: C_SignInit without a parameter, no context login, C_Sign.

    demo_no_code.py MODULE WALLET PSBT-FILE USER-PIN-FILE

Exits with 0 only if the module answers CKR_USER_NOT_LOGGED_IN.
"""

import base64
import pathlib
import sys

import PyKCS11
from PyKCS11 import CKA_CLASS, CKA_LABEL, CKF_RW_SESSION, CKO_PRIVATE_KEY, CKR_USER_NOT_LOGGED_IN

CKM_COUNTERSIGN_PSBT = 0xC3530001

module, wallet, psbt_file, pin_file = sys.argv[1:]
psbt = base64.b64decode(pathlib.Path(psbt_file).read_bytes())
pin = pathlib.Path(pin_file).read_text(encoding="utf-8").removesuffix("\n")

library = PyKCS11.PyKCS11Lib()
library.load(module)
session = library.openSession(library.getSlotList()[0], CKF_RW_SESSION)
session.login(pin)
(key,) = session.findObjects([(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_LABEL, wallet)])
try:
    session.sign(key, psbt, PyKCS11.Mechanism(CKM_COUNTERSIGN_PSBT))
except PyKCS11.PyKCS11Error as error:
    if error.value != CKR_USER_NOT_LOGGED_IN:
        sys.exit(f"error: the module refused with {error}\nnext: this is a defect of Countersign; report it")
    print("  refused, CKR_USER_NOT_LOGGED_IN")
else:
    sys.exit("error: the module signed without a code\nnext: this is a defect of Countersign; report it")
