"""A backend that proposes a transaction, has a user approve the statement, and signs by the ticket, with PyKCS11 alone."""

from PyKCS11 import CKA_CLASS, CKA_ID, CKA_TOKEN, CKA_VALUE, CKU_USER

from common import Boundary, approval, equal, failed, finalised, number, refused, spend, ulong

TICKET = 2


def main():
    with Boundary() as boundary:
        users = {name: boundary.user(name) for name in ["alice", "bob", "carol"]}
        wallet = boundary.wallet("treasury", list(users))
        boundary.login(CKU_USER)
        approved_and_signed(boundary, wallet, users["alice"])
        by_context_login(boundary, wallet, users["bob"])
        refused_and_withdrawn(boundary, wallet, users["carol"])


def propose(boundary, payment, users=None):
    template = [
        (CKA_CLASS, number("CKO_COUNTERSIGN_PROPOSAL")),
        (CKA_TOKEN, True),
        (CKA_VALUE, payment),
        (number("CKA_COUNTERSIGN_PROPOSAL_WALLET"), wallet_id(boundary)),
    ]
    if users is not None:
        template.append((number("CKA_COUNTERSIGN_USERS"), "\n".join(users).encode()))
    return boundary.session.createObject(template)


def wallet_id(boundary):
    return boundary.attribute(boundary.private_key("treasury"), "CKA_ID")


def say(boundary, proposal, word, user, code):
    boundary.session.setAttributeValue(proposal, [(number(f"CKA_COUNTERSIGN_CONSENT_{word}"), f"{user}:{code}".encode())])


def record(boundary, proposal):
    return approval(boundary.attribute(proposal, "CKA_ID").hex(), factor=TICKET)


def approved_and_signed(boundary, wallet, alice):
    payment, other = spend(wallet), spend(wallet, sat=40_000)
    proposal = propose(boundary, payment, ["alice"])
    statement = boundary.text(proposal, "CKA_COUNTERSIGN_STATEMENT").split("\n")
    equal(statement[0], "countersign/approve/1", "the statement has its form")
    equal(len([line for line in statement if line.startswith("pay 0.00050000 BTC to ")]), 1, "it says who is paid")
    equal("fee 0.00000500 BTC" in statement, True, "it says what the fee is")
    ticket = record(boundary, proposal)
    refused(lambda: boundary.sign("treasury", payment, ticket), "CKR_COUNTERSIGN_PENDING", "before the approval")
    refused(
        lambda: say(boundary, proposal, "APPROVE", "alice", alice.wrong_code()), "CKR_PIN_INCORRECT", "a wrong code"
    )
    code = alice.code()
    say(boundary, proposal, "APPROVE", "alice", code)
    refused(lambda: boundary.sign("treasury", other, ticket), "CKR_PIN_INCORRECT", "another transaction by this ticket")
    refused(
        lambda: boundary.sign("treasury", other, approval(code, "alice")), "CKR_PIN_INCORRECT", "the code that approved"
    )
    finalised("ticket", payment, boundary.sign("treasury", payment, ticket))
    found = boundary.session.findObjects([
        (CKA_CLASS, number("CKO_COUNTERSIGN_PROPOSAL")),
        (CKA_ID, boundary.attribute(proposal, "CKA_ID")),
    ])
    equal([state(boundary, handle) for handle in found], [ulong(0x415)], "the ticket is spent")


def state(boundary, proposal):
    return boundary.attribute(proposal, "CKA_COUNTERSIGN_CONSENT_STATE")


def by_context_login(boundary, wallet, bob):
    payment = spend(wallet)
    proposal = propose(boundary, payment)
    say(boundary, proposal, "APPROVE", "bob", bob.code())
    ticket = "#" + boundary.attribute(proposal, "CKA_ID").hex()
    finalised("ticket-context", payment, boundary.sign("treasury", payment, context=ticket))


def refused_and_withdrawn(boundary, wallet, carol):
    payment = spend(wallet)
    proposal, withdrawn = propose(boundary, payment), propose(boundary, payment)
    tickets = [record(boundary, handle) for handle in (proposal, withdrawn)]
    say(boundary, proposal, "REFUSE", "carol", carol.code())
    equal(boundary.attribute(proposal, "CKA_COUNTERSIGN_CONSENT_ENDED"), b"carol", "it says who refused")
    boundary.session.destroyObject(withdrawn)
    for ticket in tickets:
        refused(lambda ticket=ticket: boundary.sign("treasury", payment, ticket), "CKR_PIN_INCORRECT", "it is over")
    if boundary.attribute_rv(withdrawn, "CKA_ID") == 0:
        failed("a proposal that was withdrawn is still there")


main()
print("done")
