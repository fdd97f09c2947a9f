"""Door 2 with OpenSC's pkcs11-tool: the code is the "context specific PIN" that it asks for after C_SignInit.
docs/from-a-program.md shows the command.

pkcs11-tool has a buffer of 512 bytes for a signature, so the PSBTs here are small. If C_Sign fails, the tool starts again
by itself and asks for the PIN a second time. A wrong code typed twice is two tries.
"""

import subprocess

import pexpect
from PyKCS11 import CKU_SO, CKU_USER

import psbt
from common import Boundary, check, equal, failed, finalised, number, passed, spend

KEY_ID = bytes.fromhex("c0ffee01")
MECHANISM = f"0x{number('CKM_COUNTERSIGN_PSBT'):X}"


def main():
    with Boundary() as boundary:
        alice = boundary.user("alice")
        bob = boundary.user("bob")
        carol = boundary.user("carol")
        wallet = boundary.wallet("tool", ["alice"], key_id=KEY_ID)
        shared = boundary.wallet("shared", ["bob", "carol"], key_id=b"\2")
        boundary.close()

        lists(boundary)
        signs(boundary, wallet, alice)
        replayed(boundary, wallet, alice)
        without_code(boundary, shared, bob)
        user_and_code(boundary, shared, bob)
        too_large(boundary, shared, carol)
        counted(boundary)


def lists(boundary):
    """The commands that an administrator tries first."""
    info = tool(boundary, "--show-info")
    check("Countersign" in info and "version 3.2" in info, "--show-info names the manufacturer and the newest Cryptoki")
    slots = tool(boundary, "-L")
    check("clients" in slots, "-L shows the token's label")
    check(
        "token initialized" in slots and "PIN initialized" in slots,
        "-L shows that token and PIN are initialised",
    )
    check("login required" in slots, "-L shows that login is required")
    check(MECHANISM.lower() in tool(boundary, "-M").lower(), "-M shows the signing mechanism")
    public = tool(boundary, "-O")
    check(
        "Public Key Object" in public and "tool" in public, "-O shows the wallet's public key without login"
    )
    check("Private Key Object" not in public, "-O shows no private key without login")
    status, text = prompted(boundary, ["--login", "-O"], [boundary.user_pin])
    check(status == 0 and "Private Key Object" in text, "--login -O shows the private key")
    check("always authenticate" in text, "it is shown as always authenticate")
    check(KEY_ID.hex() in text, "it is shown with its CKA_ID")
    status, text = prompted(boundary, ["--login", "-O"], ["not the PIN"])
    check(status != 0 and "CKR_PIN_INCORRECT" in text, "--login with a wrong PIN: CKR_PIN_INCORRECT")


def signs(boundary, wallet, alice):
    payment = spend(wallet, witness=False)
    status, text, signed = sign(boundary, payment, KEY_ID, [boundary.user_pin, alice.code()])
    check("context specific PIN" in text, "it asks for the context specific PIN")
    shows(status == 0 and signed is not None, "the code typed there signs", text)
    finalised("door2", payment, signed)


def replayed(boundary, wallet, alice):
    used = alice.at(alice.last)
    status, text, signed = sign(
        boundary, spend(wallet, witness=False), KEY_ID, [boundary.user_pin, used, used]
    )
    shows(
        status != 0 and "CKR_PIN_INCORRECT" in text,
        "the same code for another transaction: CKR_PIN_INCORRECT",
        text,
    )
    check(not signed, "and there is no output")


def without_code(boundary, shared, bob):
    payment = spend(shared, witness=False)
    live = bob.at(bob.step() + 1)
    for typed, what in (
        ("", "nothing typed for the code"),
        (f"bob:{live[:3]} {live[3:]}", "a blank in the code"),
        ("bob:", "a name without a code"),
    ):
        status, text, signed = sign(boundary, payment, b"\2", [boundary.user_pin, typed])
        shows(status != 0 and "CKR_PIN_" in text and not signed, f"{what} does not sign", text)
    # Given --pin, the tool uses the user PIN again for the context login.
    out = boundary.folder / "out.psbt"
    (boundary.folder / "in.psbt").write_bytes(payment)
    done = subprocess.run(
        command(boundary, "--login", "--pin", boundary.user_pin, *signing(boundary, b"\2")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shows(
        done.returncode != 0 and "CKR_PIN_INVALID" in done.stdout,
        "the user PIN is no code: CKR_PIN_INVALID",
        done.stdout,
    )
    check(not out.exists() or not out.read_bytes(), "and there is no output")


def user_and_code(boundary, shared, bob):
    payment = spend(shared, witness=False)
    status, text, signed = sign(boundary, payment, b"\2", [boundary.user_pin, f"bob:{bob.code()}"])
    shows(status == 0 and signed is not None, "a wallet of several users takes user:code", text)
    finalised("door2-user-and-code", payment, signed)


def too_large(boundary, shared, carol):
    """A PSBT whose answer does not fit in the tool's buffer is refused before the code is spent."""
    code = f"carol:{carol.code()}"
    coins = [(psbt.RECEIVE, index, 30_000) for index in range(6)]
    large = psbt.make(shared, coins, [(psbt.foreign_script(), 179_000)])
    check(len(large) > 1024, f"a PSBT of {len(large)} bytes goes by C_SignUpdate and C_SignFinal")
    status, text, _ = sign(boundary, large, b"\2", [boundary.user_pin, code])
    shows(
        status != 0 and "CKR_BUFFER_TOO_SMALL" in text, "its answer does not fit: CKR_BUFFER_TOO_SMALL", text
    )
    payment = spend(shared, witness=False)
    status, text, signed = sign(boundary, payment, b"\2", [boundary.user_pin, code])
    shows(status == 0, "the same code signs a smaller one afterwards", text)
    finalised("door2-after-too-large", payment, signed)


def counted(boundary):
    boundary.open()
    boundary.login(CKU_SO)
    equal(boundary.failures("alice"), 2, "the replay, typed twice, counted twice")
    equal(boundary.failures("bob"), 0, "what was no code counted nothing")
    equal(boundary.failures("carol"), 0, "a buffer too small counted nothing")
    boundary.login(CKU_USER)
    passed("the store opens again after the tool")


def sign(boundary, payment, key_id, typed):
    """Signs with the tool. Returns the exit status, the terminal's text, and the output file or None."""
    out = boundary.folder / "out.psbt"
    out.unlink(missing_ok=True)
    (boundary.folder / "in.psbt").write_bytes(payment)
    status, text = prompted(boundary, ["--login", *signing(boundary, key_id)], typed)
    return status, text, out.read_bytes() if out.exists() else None


def signing(boundary, key_id):
    files = ["-i", str(boundary.folder / "in.psbt"), "-o", str(boundary.folder / "out.psbt")]
    return ["--sign", "-m", MECHANISM, "--id", key_id.hex(), *files]


def prompted(boundary, arguments, typed):
    """Runs the tool on a terminal and types an answer at each prompt for a PIN."""
    program, *rest = command(boundary, *arguments)
    child = pexpect.spawn(program, rest, encoding="utf-8", timeout=60)
    shown, answers = "", list(typed)
    while child.expect([r"PIN: ", pexpect.EOF]) == 0:
        shown += child.before + child.after
        if not answers:
            child.close(force=True)
            failed(f"pkcs11-tool asks for more PINs than expected:\n{shown}")
        # The tool discards input that comes before it switches the echo off.
        child.waitnoecho(timeout=10)
        child.sendline(answers.pop(0))
    shown += child.before
    child.close()
    return child.exitstatus, shown


def tool(boundary, *arguments):
    done = subprocess.run(
        command(boundary, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shows(done.returncode == 0, f"pkcs11-tool {' '.join(arguments)} ends well", done.stdout)
    return done.stdout


def command(boundary, *arguments):
    return ["pkcs11-tool", "--module", boundary.module, *arguments]


def shows(condition, what, text):
    """A check that prints the tool's output if it fails."""
    if not condition:
        print(text)
    check(condition, what)


main()
print("done")
