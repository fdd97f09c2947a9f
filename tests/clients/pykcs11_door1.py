"""Door 1 with PyKCS11: the code is in the mechanism's parameter (COUNTERSIGN_APPROVAL of countersign.h)."""

import base64

import PyKCS11
from PyKCS11 import CKA_CLASS, CKO_PRIVATE_KEY, CKR_OK, CKU_SO, CKU_USER

import psbt
from common import (
    Boundary,
    Operation,
    answer,
    approval,
    check,
    equal,
    failed,
    finalised,
    name_of,
    number,
    refused,
    spend,
    ulong,
)

USERS = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "Ünal 用户"]


def main():
    with Boundary() as boundary:
        mechanisms(boundary)
        enrolment(boundary)
        users = {name: boundary.user(name) for name in USERS}
        boundary.enrol("mallory")
        wallet = boundary.wallet("treasury", [*USERS, "mallory"])
        boundary.wallet("single", ["alice"])
        boundary.user("outsider")

        without_login(boundary)
        right_code_then_replay(boundary, wallet, users["alice"])
        wrong_code(boundary, wallet, users["bob"])
        malformed_spends_nothing(boundary, wallet, users["carol"])
        buffers(boundary, wallet, users["dave"])
        policy_spends_the_step(boundary, wallet, users["erin"])
        unknown_users(boundary, wallet)
        locked(boundary, wallet, users["frank"])
        replay_after_restart(boundary, wallet, users["grace"])
        context_login(boundary, wallet, users["heidi"])
        unicode_name(boundary, wallet, users["Ünal 用户"])
        single_user_by_default(boundary)


def mechanisms(boundary):
    listed = boundary.lib.getMechanismList(boundary.slot)
    numbers = {PyKCS11.CKM[name] for name in listed}
    for name in ("PSBT", "TOTP_KEY_GEN", "TOTP", "WALLET_KEY_GEN"):
        check(number(f"CKM_COUNTERSIGN_{name}") in numbers, f"CKM_COUNTERSIGN_{name} is listed")


def enrolment(boundary):
    """The module makes the secret inside and shows it once as a URI. It is good for nothing until a code is confirmed."""
    otp_key, plain = boundary.enrol("plain", period=30)
    equal(
        (plain.totp.digits, plain.totp.interval, plain.totp.digest().name),
        (6, 30, "sha1"),
        "the URI says 6 digits, 30 seconds, SHA-1 by default",
    )
    check(
        len(base64.b32decode(plain.totp.secret + "=" * (-len(plain.totp.secret) % 8))) == 20,
        "the secret has 160 bits",
    )
    for name in ("CKA_COUNTERSIGN_OTPAUTH_URI", "CKA_VALUE"):
        equal(
            name_of(boundary.attribute_rv(otp_key, name)),
            "CKR_ATTRIBUTE_SENSITIVE",
            f"{name} after the first reading",
        )
    equal(boundary.attribute(otp_key, "CKA_COUNTERSIGN_CONFIRMED"), b"\0", "a new user is not confirmed")
    refused(
        lambda: boundary.confirm(otp_key, plain.wrong_code()),
        "CKR_PIN_INCORRECT",
        "confirming by a wrong code",
    )
    code = plain.code()
    boundary.confirm(otp_key, code)
    equal(boundary.attribute(otp_key, "CKA_COUNTERSIGN_CONFIRMED"), b"\1", "a right code confirms")
    refused(lambda: boundary.confirm(otp_key, code), "CKR_PIN_INCORRECT", "the same code again")
    refused(lambda: boundary.enrol("plain"), "CKR_ATTRIBUTE_VALUE_INVALID", "a name in use")

    strong = [
        (number("CKA_OTP_LENGTH"), ulong(8)),
        (number("CKA_COUNTERSIGN_OTP_HASH"), ulong(PyKCS11.CKM_SHA256)),
    ]
    otp_key, eight = boundary.enrol("eight", extra=strong)
    equal((eight.totp.digits, eight.totp.digest().name), (8, "sha256"), "8 digits and SHA-256 by choice")
    boundary.confirm(otp_key, eight.code())
    check(True, "pyotp and the module agree on 8 digits and SHA-256")


def without_login(boundary):
    boundary.session.logout()
    boundary.role = None
    found = boundary.session.findObjects([(CKA_CLASS, CKO_PRIVATE_KEY)])
    equal(len(found), 0, "without login no private key is found")
    boundary.public_key("treasury")
    boundary.login(CKU_USER)
    check(len(boundary.session.findObjects([(CKA_CLASS, CKO_PRIVATE_KEY)])) == 2, "after login both are")
    key = boundary.private_key("treasury")
    equal(
        boundary.attribute(key, "CKA_ALWAYS_AUTHENTICATE"),
        b"\1",
        "the private key has CKA_ALWAYS_AUTHENTICATE",
    )
    equal(name_of(boundary.attribute_rv(key, "CKA_VALUE")), "CKR_ATTRIBUTE_SENSITIVE", "its CKA_VALUE")


def right_code_then_replay(boundary, wallet, alice):
    payment, another = spend(wallet), spend(wallet)
    code = alice.code()
    signed = boundary.sign("treasury", payment, approval(code, "alice"))
    finalised("door1", payment, signed)
    equal(boundary.failures("alice"), 0, "a signature counts no failure")
    replay = approval(code, "alice")
    refused(
        lambda: boundary.sign("treasury", another, replay),
        "CKR_PIN_INCORRECT",
        "the code again, for another transaction",
    )
    again = boundary.sign("treasury", payment, replay)
    equal(again, signed, "the code again, same transaction: the same signatures")
    equal(boundary.failures("alice"), 1, "the replay counts as a failure, the repetition does not")


def wrong_code(boundary, wallet, bob):
    payment = spend(wallet)
    wrong = approval(bob.wrong_code(), "bob")
    refused(lambda: boundary.sign("treasury", payment, wrong), "CKR_PIN_INCORRECT", "a wrong code")
    equal(boundary.failures("bob"), 1, "it counts as a failure")
    finalised("door1-after-wrong", payment, boundary.sign("treasury", payment, approval(bob.code(), "bob")))
    equal(boundary.failures("bob"), 1, "success does not lower the count")


def malformed_spends_nothing(boundary, wallet, carol):
    """Malformed input is refused before a try is charged, so carol's code stays good to the end."""
    payment = spend(wallet)
    code = carol.code()
    for bad, what in malformed_codes(code):
        refused(
            lambda bad=bad: boundary.sign("treasury", payment, approval(bad, "carol")),
            "CKR_MECHANISM_PARAM_INVALID",
            f"a code with {what}",
        )
    for bad, what in malformed_parameters(code):
        refused(lambda bad=bad: boundary.sign("treasury", payment, bad), "CKR_MECHANISM_PARAM_INVALID", what)

    good = approval(code, "carol")
    refused(lambda: boundary.sign("treasury", payment), "CKR_USER_NOT_LOGGED_IN", "no code at all")
    for bad, what in (
        (b"not a PSBT", "text"),
        (b"psbt\xff", "a magic number alone"),
        (payment[:-1], "a PSBT cut short"),
        (base64.b64encode(payment), "a PSBT in base64"),
    ):
        refused(lambda bad=bad: boundary.sign("treasury", bad, good), "CKR_DATA_INVALID", what)
    refused(
        lambda: boundary.sign("treasury", spend(wallet, previous=False), good),
        "CKR_COUNTERSIGN_PSBT_REFUSED",
        "an input without its previous transaction",
    )
    equal(boundary.failures("carol"), 0, "none of these counted as a failure")
    finalised("door1-after-malformed", payment, boundary.sign("treasury", payment, good))


def malformed_codes(code):
    yield f" {code}", "a blank before it"
    yield f"{code} ", "a blank after it"
    yield f"{code[:3]} {code[3:]}", "a blank in it"
    yield f" {code[1:]}", "a blank for its first digit"
    yield f"{code}\n", "a line break after it"
    yield f"+{code[1:]}", "a plus sign"
    yield f"-{code[1:]}", "a minus sign"
    yield f"0x{code[2:]}", "a prefix"
    yield f"{code[:5]}a", "a letter"
    yield code[:5], "5 digits"
    yield code + "000", "9 digits"
    yield "", "no digits"
    yield "".join(chr(0x0660 + int(digit)) for digit in code), "Arabic-Indic digits"
    yield "".join(chr(0xFF10 + int(digit)) for digit in code), "fullwidth digits"
    yield bytes(code[:-1], "ascii") + b"\0", "a zero byte counted in"


def malformed_parameters(code):
    good = approval(code, "carol")
    for version in (0, 2, 255):
        yield approval(code, "carol", version=version), f"version {version}"
    for factor in (0, 2, 255):
        yield approval(code, "carol", factor=factor), f"factor {factor}"
    yield approval(code, "carol", user_length=61), "a user length over its field"
    yield approval(code, "carol", code_length=65), "a code length over its field"
    yield approval(code, "carol", user_length=4), "padding of the user that is not zero"
    yield approval(code, "carol")[:-1] + b"\1", "padding of the code that is not zero"
    yield approval(code, b"\xff\xfe"), "a user that is not UTF-8"
    for size in (1, 64, 127, 129, 255):
        yield (good * 2)[:size], f"a parameter of {size} bytes"
    yield good * 17, "17 records"


def buffers(boundary, wallet, dave):
    """A length query and a small buffer spend nothing and keep the operation."""
    payment = spend(wallet)
    operation = Operation(boundary, "treasury", approval(dave.code(), "dave"))
    rv, bound = operation.into(payment, 0)
    equal(name_of(rv), "CKR_OK", "a length query")
    for size in (1, len(payment), len(bound) - 1):
        rv, _ = operation.into(payment, size)
        equal(
            name_of(rv), "CKR_BUFFER_TOO_SMALL", f"a buffer of {size} bytes where {len(bound)} are asked for"
        )
    rv, signed = operation.into(payment, len(bound) + 100)
    equal(name_of(rv), "CKR_OK", "the same operation, with a buffer that is large enough")
    check(len(signed) <= len(bound), "the length asked for is an upper bound")
    finalised("door1-buffers", payment, signed)
    rv, _ = operation.into(payment, len(bound))
    equal(name_of(rv), "CKR_OPERATION_NOT_INITIALIZED", "afterwards the operation is over")


def policy_spends_the_step(boundary, wallet, erin):
    code = approval(erin.code(), "erin")
    too_much = spend(wallet, sat=1_000_000, fee=500)
    refused(
        lambda: boundary.sign("treasury", too_much, code),
        "CKR_COUNTERSIGN_POLICY",
        "more than the policy's maximum",
    )
    equal(boundary.failures("erin"), 0, "a refusal of policy is no failure")
    refused(
        lambda: boundary.sign("treasury", spend(wallet), code), "CKR_PIN_INCORRECT", "but the code is spent"
    )


def unknown_users(boundary, wallet):
    """One answer for all of them."""
    payment = spend(wallet)
    for name, what in (
        ("nobody", "a user that does not exist"),
        ("outsider", "a user that is not the wallet's"),
        ("mallory", "a user that is not confirmed"),
        ("", "no user where the wallet has several"),
    ):
        refused(
            lambda name=name: boundary.sign("treasury", payment, approval("123456", name)),
            "CKR_PIN_INCORRECT",
            what,
        )


def locked(boundary, wallet, frank):
    payment = spend(wallet)
    for attempt in (1, 2, 3):
        wrong = approval(frank.wrong_code(), "frank")
        refused(
            lambda wrong=wrong: boundary.sign("treasury", payment, wrong),
            "CKR_PIN_INCORRECT",
            f"wrong code number {attempt}",
        )
    right = approval(frank.code(), "frank")
    refused(
        lambda: boundary.sign("treasury", payment, right),
        "CKR_PIN_LOCKED",
        "then even a right code, not evaluated",
    )
    equal(
        boundary.attribute(boundary.otp_key("frank"), "CKA_COUNTERSIGN_LOCKED"),
        b"\1",
        "the user is shown as locked",
    )
    unlock = [(number("CKA_COUNTERSIGN_LOCKED"), b"\0")]
    check(
        answer(lambda: boundary.session.setAttributeValue(boundary.otp_key("frank"), unlock)) != CKR_OK,
        "the backend can not unlock",
    )
    boundary.login(CKU_SO)
    boundary.session.setAttributeValue(boundary.otp_key("frank"), unlock)
    finalised("door1-unlocked", payment, boundary.sign("treasury", payment, right))
    equal(boundary.failures("frank"), 3, "unlocking does not lower the count")


def replay_after_restart(boundary, wallet, grace):
    payment = spend(wallet)
    code = approval(grace.code(), "grace")
    finalised("door1-before-restart", payment, boundary.sign("treasury", payment, code))
    boundary.close()
    boundary.open()
    refused(
        lambda: boundary.sign("treasury", spend(wallet), code),
        "CKR_PIN_INCORRECT",
        "a used code after a restart",
    )
    equal(boundary.failures("grace"), 1, "the state is there after a restart")


def context_login(boundary, wallet, heidi):
    """PyKCS11 can use door 2 as well."""
    payment = spend(wallet)
    code = heidi.code()
    refused(
        lambda: boundary.sign("treasury", payment, context=f"heidi:{code} "),
        "CKR_PIN_INVALID",
        "door 2, a malformed code",
    )
    # A refused login leaves the operation active, so beginning another one would be refused.
    finish_abandoned(boundary, payment)
    signed = boundary.sign("treasury", payment, context=f"heidi:{code}")
    finalised("door2-pykcs11", payment, signed)
    equal(boundary.failures("heidi"), 0, "nothing was charged")


def finish_abandoned(boundary, payment):
    """Ends an operation that has no code by calling C_Sign, which refuses it."""
    session = boundary.session
    buffer = PyKCS11.ckbytelist([0] * 4096)
    rv = session.lib.C_Sign(session.session, PyKCS11.ckbytelist(payment), buffer)
    if name_of(rv) not in ("CKR_USER_NOT_LOGGED_IN", "CKR_OPERATION_NOT_INITIALIZED"):
        failed(f"C_Sign after a refused context login: {name_of(rv)}")


def unicode_name(boundary, wallet, unal):
    payment = spend(wallet)
    signed = boundary.sign("treasury", payment, approval(unal.code(), "Ünal 用户"))
    finalised("door1-unicode", payment, signed)


def single_user_by_default(boundary):
    """A wallet with one user needs no name in the approval. The user is new: alice's codes are used up."""
    ivan = boundary.user("ivan")
    wallet = boundary.wallet("personal", ["ivan"])
    boundary.login(CKU_USER)
    equal(
        boundary.text(boundary.public_key("personal"), "CKA_COUNTERSIGN_USERS").split("\n"),
        ["ivan"],
        "the wallet names its user",
    )
    payment = psbt.make(wallet, [(psbt.CHANGE, 4, 90_000)], [(psbt.foreign_script("p2tr"), 89_000)])
    finalised("door1-single", payment, boundary.sign("personal", payment, approval(ivan.code())))


main()
print("done")
