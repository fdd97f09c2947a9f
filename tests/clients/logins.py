"""A backend that logs in many times with PyKCS11. Its memory must not grow.

The memory for stretching a PIN may be in the heap of the process, with objects behind it that Python made meanwhile.
"""

import os
import pathlib
import random

import PyKCS11

from common import check

LOGINS = 24


def main():
    os.environ["COUNTERSIGN_CONF"] = os.environ["COUNTERSIGN_BACKEND_CONF"]
    lib = PyKCS11.PyKCS11Lib()
    lib.load(os.environ["COUNTERSIGN_MODULE"])
    slot = lib.getSlotList()[0]
    kept = []
    for count in range(4 + LOGINS):
        if count == 4:
            before = resident_mib()
        session = lib.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
        session.login(os.environ["COUNTERSIGN_USER_PIN"])
        kept.append([bytes(random.randrange(513, 4000)) for _ in range(300)])
        session.logout()
        session.closeSession()
    grown = resident_mib() - before
    check(grown < 100, f"{LOGINS} logins leave no memory behind")
    check(len(kept) == 4 + LOGINS, "but what was kept between them")


def resident_mib():
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) >> 10


main()
print("done")
