"""The programs of examples/, each run as examples/README.md says, by somebody at a terminal who has an authenticator app.

    examples.py CLIENT

The boundary is there and its token is initialised; the environment says where: COUNTERSIGN_MODULE,
COUNTERSIGN_ADMINISTRATOR_CONF and COUNTERSIGN_BACKEND_CONF (the configurations of the two sides, which are the same file
where the module is the engine itself), COUNTERSIGN_SO_PIN and COUNTERSIGN_USER_PIN, COUNTERSIGN_OUT (for the finalised
transactions, which the caller verifies with Bitcoin Core's consensus code) and COUNTERSIGN_EXAMPLES (the built examples).
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pexpect

from common import ROOT, Authenticator, check, equal, failed, passed

EXAMPLES = ROOT / "examples"

# What a program may take, starting included.
PATIENCE = 120

# Names are UTF-8, whatever a client makes of them.
USER = "Ünal 用户"

SO_VERBS = ("enrol", "confirm", "wallet")


class Client:
    """One of the programs: its command line, and which of the verbs it has."""

    def __init__(self, *command, ways=("sign", "login"), lacks=()):
        self.command = [str(part) for part in command]
        self.ways = ways
        self.lacks = lacks

    def run(self, verb, *arguments, code=None):
        """Runs a verb, types the code where it is asked for: the exit status and what stood on the terminal.

        A verb that the client lacks is another program's, as examples/README.md says.
        """
        command = PYKCS11.command if verb in self.lacks else self.command
        return at_terminal([*command, verb, *map(str, arguments)], verb in SO_VERBS, code)

    def does(self, verb, *arguments, code=None):
        status, shown = self.run(verb, *arguments, code=code)
        if status != 0:
            failed(f"{verb} {arguments}: status {status}\n{shown}")
        return shown

    def refuses(self, rv, what, verb, *arguments, code=None):
        status, shown = self.run(verb, *arguments, code=code)
        if status == 0 or rv not in shown:
            failed(f"{what}: status {status}, wanted {rv}\n{shown}")
        passed(f"{what}: {rv}")


PYKCS11 = Client(sys.executable, EXAMPLES / "python" / "client_pykcs11.py")


# Each client by its name, made ready; a program that is built here goes into the folder.


def cryptoki(_):
    """Cargo builds it, but not when it is told to test one crate alone."""
    program = pathlib.Path(os.environ["COUNTERSIGN_EXAMPLES"], "client")
    source = max(file.stat().st_mtime for file in (EXAMPLES / "client").iterdir())
    if not program.exists() or program.stat().st_mtime < source:
        failed(f"{program} is missing or older than its source; run `cargo build --examples` first")
    return Client(program)


def python_pkcs11(_):
    return Client(sys.executable, EXAMPLES / "python" / "client_python_pkcs11.py")


def pkcs11js(_):
    if not (EXAMPLES / "nodejs" / "node_modules" / ".installed").exists():
        failed("the packages of examples/nodejs are not there; softhsm/test.sh installs them")
    return Client("node", EXAMPLES / "nodejs" / "client.mjs")


def c(folder):
    program = folder / "client"
    headers = ["-Iinclude", "-I/usr/include/p11-kit-1"]
    compiler = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([*compiler, "-o", program, *headers, EXAMPLES / "c" / "client.c"], cwd=ROOT, check=True)
    return Client(program, lacks=("psbt", "finalise"))


def java(_):
    # Debian's Java 17, where another one is the default.
    installed = sorted(pathlib.Path("/usr/lib/jvm").glob("java-17-openjdk-*/bin/java"))
    wrapper = ("--add-modules", "jdk.crypto.cryptoki", "--add-exports", f"{WRAPPER}=ALL-UNNAMED")
    program = EXAMPLES / "java" / "Client.java"
    return Client(installed[0] if installed else "java", *wrapper, program, lacks=("psbt", "finalise"))


WRAPPER = "jdk.crypto.cryptoki/sun.security.pkcs11.wrapper"


CLIENTS = {
    "c": c,
    "cryptoki": cryptoki,
    "java": java,
    "pkcs11js": pkcs11js,
    "pykcs11": lambda _: PYKCS11,
    "python-pkcs11": python_pkcs11,
}


def at_terminal(command, as_so, code):
    """Runs a program on a terminal of its own. Each side has its own configuration, and its own PIN alone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
    side, pin = ("ADMINISTRATOR", "SO") if as_so else ("BACKEND", "USER")
    environment |= {
        "COUNTERSIGN_MODULE": os.environ["COUNTERSIGN_MODULE"],
        "COUNTERSIGN_CONF": os.environ[f"COUNTERSIGN_{side}_CONF"],
        f"COUNTERSIGN_{pin}_PIN": os.environ[f"COUNTERSIGN_{pin}_PIN"],
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    child = pexpect.spawn(
        command[0], command[1:], env=environment, cwd=ROOT, encoding="utf-8", timeout=PATIENCE, dimensions=(50, 1000)
    )
    shown = ""
    while child.expect([r"code of [^\r\n]*: ", pexpect.EOF]) == 0:
        shown += child.before + child.after
        if code is None:
            child.close(force=True)
            failed(f"{command}: asks for a code that it should not need\n{shown}")
        # A program that reads a code with its echo never gets it.
        child.waitnoecho(timeout=PATIENCE)
        child.sendline(code() if callable(code) else code)
        code = None
    shown += child.before
    child.close()
    return child.exitstatus, shown


def main():
    with tempfile.TemporaryDirectory(prefix="countersign-example-") as name:
        folder = pathlib.Path(name)
        client = CLIENTS[sys.argv[1]](folder)
        for way in client.ways:
            whole_way(client, way, folder)
        refused_by_a_rule(client, folder)


def whole_way(client, way, folder):
    """From the enrolment to the transaction, with the code attached in one of the two ways."""
    user, wallet = f"{USER} of {way}", f"wallet of {way}"
    app = enrolled(client, user)
    shown = client.does("wallet", wallet, user)
    check(re.search(r"wpkh\(\[[0-9a-f]{8}/84[h']/1[h']/0[h']\]tpub", shown), f"{wallet}: its descriptor is shown")
    unsigned, other, signed = folder / f"{way}.psbt", folder / f"{way}-other.psbt", folder / f"{way}-signed.psbt"
    client.does("psbt", wallet, unsigned)
    client.does("psbt", wallet, other)

    client.refuses("CKR_PIN_INCORRECT", f"{way}: a wrong code", way, wallet, user, unsigned, signed, code=app.wrong_code)
    check(not signed.exists(), f"{way}: and nothing is written")
    shown = client.does(way, wallet, user, unsigned, signed, code=app.code)
    used = app.at(app.last)
    check(used not in shown, f"{way}: the code signs, and does not stand on the terminal")
    stolen = folder / f"{way}-stolen.psbt"
    client.refuses("CKR_PIN_INCORRECT", f"{way}: the same code, other transaction", way, wallet, user, other, stolen, code=used)
    check(not stolen.exists(), f"{way}: and nothing is written")

    final = client.does("finalise", signed)
    transaction = re.search(r'^\{.*"tx": ?".*\}', final, re.MULTILINE)
    check(transaction, f"{way}: the transaction is shown")
    pathlib.Path(os.environ["COUNTERSIGN_OUT"], f"{way}.json").write_text(transaction[0], encoding="utf-8")


def refused_by_a_rule(client, folder):
    """An answer that is ours alone is told by its name, too: a PSBT that has nothing of the wallet's in it."""
    way, other = client.ways[-1], folder / "of-another-wallet.psbt"
    client.does("wallet", "another wallet", f"{USER} of {way}")
    client.does("psbt", "another wallet", other)
    arguments = (f"wallet of {way}", f"{USER} of {way}", other, folder / "never.psbt")
    client.refuses("CKR_COUNTERSIGN_PSBT_REFUSED", "a PSBT of another wallet", way, *arguments, code="000000")


def enrolled(client, user):
    shown = client.does("enrol", user)
    uris = re.findall(r"otpauth://totp/\S+", shown)
    equal(len(uris), 1, f"{user}: the URI is shown once")
    app = Authenticator(uris[0])
    client.refuses("CKR_PIN_INCORRECT", f"{user}: confirming by a wrong code", "confirm", user, code=app.wrong_code)
    client.does("confirm", user, code=app.code)
    passed(f"{user}: a first code confirms")
    return app


main()
print("done")
