"""The programs of examples/, each run as examples/README.md says, at a terminal, by a user with an authenticator app.

    examples.py CLIENT

The boundary exists and its token is initialised. The environment describes it: COUNTERSIGN_MODULE,
COUNTERSIGN_ADMINISTRATOR_CONF and COUNTERSIGN_BACKEND_CONF (the configurations of the two sides, one file if the module
itself has the engine), COUNTERSIGN_SO_PIN and COUNTERSIGN_USER_PIN, COUNTERSIGN_OUT (for the finalised
transactions, which the caller verifies with Bitcoin Core's consensus code) and COUNTERSIGN_EXAMPLES (the built examples).
"""

import os
import pathlib
import re
import sys
import tempfile

from common import Authenticator, check, equal, passed
from programs import PROGRAMS

# Names are UTF-8, whatever encoding a client uses.
USER = "Ünal 用户"


def main():
    with tempfile.TemporaryDirectory(prefix="countersign-example-") as name:
        folder = pathlib.Path(name)
        program = PROGRAMS[sys.argv[1]](folder)
        for way in program.ways:
            whole_way(program, way, folder)
        refused_by_a_rule(program, folder)


def whole_way(program, way, folder):
    """From the enrolment to the transaction, with the code attached in one of the two ways."""
    user, wallet = f"{USER} of {way}", f"wallet of {way}"
    app = enrolled(program, user)
    shown = program.does("wallet", wallet, user)
    check(re.search(r"wpkh\(\[[0-9a-f]{8}/84[h']/1[h']/0[h']\]tpub", shown), f"{wallet}: its descriptor is shown")
    unsigned, other = folder / f"{way}.psbt", folder / f"{way}-other.psbt"
    program.does("psbt", wallet, unsigned)
    program.does("psbt", wallet, other)

    def sign(psbt, signed):
        return (way, wallet, user, psbt, signed)

    wrong, stolen, signed = (folder / f"{way}-{name}.psbt" for name in ("wrong", "stolen", "signed"))
    refused = "CKR_PIN_INCORRECT"
    program.refuses(refused, f"{way}: a wrong code", *sign(unsigned, wrong), user=user, code=app.wrong_code)
    nothing_written(wrong)
    shown = program.does(*sign(unsigned, signed), user=user, code=app.code)
    check(app.used() not in shown, f"{way}: the right code signs, and does not stand on the terminal")
    again = f"{way}: it again, for another transaction"
    program.refuses(refused, again, *sign(other, stolen), user=user, code=app.used)
    nothing_written(stolen)

    final = program.does("finalise", signed)
    transaction = re.search(r'^\{.*"tx": ?".*\}', final, re.MULTILINE)
    check(transaction, f"{way}: the transaction is shown")
    pathlib.Path(os.environ["COUNTERSIGN_OUT"], f"{way}.json").write_text(transaction[0], encoding="utf-8")


def nothing_written(file):
    check(not file.exists() or not file.read_bytes(), "and nothing is written")


def enrolled(program, user):
    shown = program.does("enrol", user)
    uris = re.findall(r"otpauth://totp/\S+", shown)
    equal(len(uris), 1, f"{user}: the URI is shown once")
    app = Authenticator(uris[0])
    what = f"{user}: confirming by a wrong code"
    program.refuses("CKR_PIN_INCORRECT", what, "confirm", user, user=user, code=app.wrong_code)
    program.does("confirm", user, user=user, code=app.code)
    passed(f"{user}: a first code confirms")
    return app


def refused_by_a_rule(program, folder):
    """The programs also explain an answer that only Countersign gives: for a PSBT without any input of the wallet."""
    way, other = program.ways[-1], folder / "of-another-wallet.psbt"
    user = f"{USER} of {way}"
    program.does("wallet", "another wallet", user)
    program.does("psbt", "another wallet", other)
    arguments = (way, f"wallet of {way}", user, other, folder / "never.psbt")
    what = "a PSBT of another wallet"
    shown = program.refuses("CKR_COUNTERSIGN_PSBT_REFUSED", what, *arguments, user=user, code=lambda: "000000")
    if program.tells_rules:
        rule = "mixed-wallets: An input belongs to another wallet."
        check(rule in shown, f"{what}: the rule is told, by tag and sentence")


main()
print("done")
