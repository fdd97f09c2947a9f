"""A pytest plugin that writes a line for each test: test, tab, outcome. OBSERVED names the file.

Each test runs in a process of its own. A test that fails in its `setUp` leaves its login behind, and a module that crashes ends
the interpreter. Neither may affect the next test. With OBSERVED_TOGETHER the tests run in this process, for a suite that opens
the module once and starts processes itself. LEFT_OUT lists the tests that do not run, one a line. ADMINISTRATORS lists those
that use the door of ADMINISTRATORS_CONF, each in a process of its own.
"""

import os
import re
import select
import signal

from _pytest.runner import runtestprotocol

# A watchdog: seconds after which a test counts as hung.
PATIENCE = 60

TOGETHER = "OBSERVED_TOGETHER" in os.environ
LEFT_OUT = os.environ.get("LEFT_OUT", "").splitlines()
ADMINISTRATORS = os.environ.get("ADMINISTRATORS", "").splitlines()


def pytest_collection_modifyitems(items):
    # Without --deselect, which would also match longer names.
    items[:] = [item for item in items if item.nodeid not in LEFT_OUT]


def pytest_runtest_protocol(item, nextitem):
    if TOGETHER:
        outcome = came_of(runtestprotocol(item, nextitem=nextitem, log=True))
    else:
        outcome = in_process_of_its_own(item)
    with open(os.environ["OBSERVED"], "a", encoding="utf-8") as observed:
        observed.write(f"{item.nodeid}\t{outcome}\n")
    return True


def in_process_of_its_own(item):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        if item.nodeid in ADMINISTRATORS:
            os.environ["COUNTERSIGN_CONF"] = os.environ["ADMINISTRATORS_CONF"]
        os.write(writing, came_of(runtestprotocol(item, nextitem=None, log=False)).encode())
        # Skips the interpreter's clean-up, because pytest goes on in the parent only.
        os._exit(0)
    os.close(writing)
    hung = not select.select([reading], [], [], PATIENCE)[0]
    if hung:
        os.kill(child, signal.SIGKILL)
    outcome = os.read(reading, 4096).decode()
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if hung:
        return "hung"
    if os.WIFSIGNALED(status):
        return f"crashed: signal {os.WTERMSIG(status)}"
    return outcome


def came_of(reports):
    """The outcome of one test: that of the first report that is not a pass, or the pass."""
    for report in reports:
        if report.skipped and hasattr(report, "wasxfail"):
            return f"differs: {why(report.wasxfail)}"
        if report.skipped:
            return "skipped"
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            return f"failed: {why(crash.message if crash else str(report.longrepr))}"
    return "passed"


def why(text):
    """The answer named in `text`, or the kind of exception at its beginning."""
    complaints = [
        r"(?:got|rejected with|Unexpected CK_RV|failed:|refused with) *(CKR_\w+)",
        r"\b(CKR_\w+)",
        r"pkcs11\.exceptions\.(\w+)",
        r"([\w.]+)",
    ]
    found = (re.search(complaint, text) for complaint in complaints)
    return next((match[1] for match in found if match), "unknown")
