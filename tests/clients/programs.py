"""The programs of examples/, and how somebody at a terminal runs them."""

import os
import pathlib
import re
import subprocess
import sys

import pexpect

from common import ROOT, VENDOR, failed, passed

EXAMPLES = ROOT / "examples"

# How long a program may keep silent, before it is taken to hang.
PATIENCE = 60

SO_VERBS = ("enrol", "confirm", "wallet")


class Program:
    """One of the programs: its command line, the ways to attach a code that it has, and the verbs that it lacks."""

    # C_GetSessionInfo has the rule that refused.
    tells_rules = True

    def __init__(self, *command, ways=("sign", "login"), lacks=()):
        self.command = [str(part) for part in command]
        self.ways = ways
        self.lacks = lacks

    def run(self, verb, *arguments, user=None, code=None):
        """Runs a verb, types the user's code where it is asked for: the exit status and what stood on the terminal.

        The code is a function, called when it is asked for. A verb that the program lacks is another one's, as
        examples/README.md says.
        """
        if verb in self.lacks:
            return PYKCS11.run(verb, *arguments, user=user, code=code)
        answers = {} if code is None else self.answers(user, code)
        return at_terminal([*self.command, verb, *map(str, arguments)], verb in SO_VERBS, answers)

    def answers(self, user, code):
        """What is typed at which prompt."""
        return {f"code of {user}: ": code}

    def name(self, rv):
        """How a CK_RV is told to the user."""
        return rv

    def does(self, verb, *arguments, **typed):
        status, shown = self.run(verb, *arguments, **typed)
        if status != 0:
            failed(f"{verb} {arguments}: status {status}\n{shown}")
        return shown

    def refuses(self, rv, what, verb, *arguments, **typed):
        status, shown = self.run(verb, *arguments, **typed)
        if status == 0 or self.name(rv) not in shown:
            failed(f"{what}: status {status}, wanted {rv}\n{shown}")
        passed(f"{what}: {rv}")
        return shown


class Pkcs11Tool(Program):
    """pkcs11-tool asks for PINs in its own words, has no names for our answers, and never calls C_GetSessionInfo."""

    tells_rules = False

    def answers(self, user, code):
        return {
            "User PIN: ": lambda: os.environ["COUNTERSIGN_USER_PIN"],
            "context specific PIN: ": lambda: f"{user}:{code()}",
        }

    def name(self, rv):
        return f"0x{VENDOR[rv]:x}" if rv in VENDOR else rv


PYKCS11 = Program(sys.executable, EXAMPLES / "python" / "client_pykcs11.py")


def python_pkcs11(_):
    return Program(sys.executable, EXAMPLES / "python" / "client_python_pkcs11.py")


def cryptoki(_):
    """Cargo builds it, but not when it is told to test one crate alone."""
    program = pathlib.Path(os.environ["COUNTERSIGN_EXAMPLES"], "client")
    source = max(file.stat().st_mtime for file in (EXAMPLES / "client").iterdir())
    if not program.exists() or program.stat().st_mtime < source:
        failed(f"{program} is missing or older than its source; run `cargo build --examples` first")
    return Program(program)


def pkcs11js(_):
    if not (EXAMPLES / "nodejs" / "node_modules" / ".installed").exists():
        failed("the packages of examples/nodejs are not there; softhsm/test.sh installs them")
    return Program("node", EXAMPLES / "nodejs" / "client.mjs")


def c(folder):
    """Compiled as its first lines say, and without a warning."""
    program = folder / "client"
    command = ["cc", "-o", program, "-Iinclude", "-I/usr/include/p11-kit-1", "examples/c/client.c"]
    subprocess.run([*command, "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"], cwd=ROOT, check=True)
    return Program(program, lacks=("psbt", "finalise"))


def go(folder):
    """Built as its first lines say, from Debian's sources of the package alone, and formatted as Go has it."""
    program, source = folder / "client", "examples/go/client.go"
    unformatted = subprocess.run(["gofmt", "-l", source], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    if unformatted:
        failed(f"gofmt formats {source} otherwise")
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "GOPROXY": "off"}
    environment.setdefault("HOME", str(folder))
    subprocess.run(["go", "build", "-o", program, source], cwd=ROOT, env=environment, check=True)
    return Program(program, lacks=("psbt", "finalise"))


def java(folder):
    """Compiled once, which the launcher of a source file does each time."""
    # Debian's Java 17, where another one is the default.
    installed = sorted(pathlib.Path("/usr/lib/jvm").glob("java-17-openjdk-*/bin"))
    tools = f"{installed[0]}/" if installed else ""
    package = "jdk.crypto.cryptoki/sun.security.pkcs11.wrapper"
    wrapper = ["--add-modules", "jdk.crypto.cryptoki", "--add-exports", f"{package}=ALL-UNNAMED"]
    subprocess.run([f"{tools}javac", *wrapper, "-d", folder, EXAMPLES / "java" / "Client.java"], check=True)
    return Program(f"{tools}java", *wrapper, "-cp", folder, "Client", lacks=("psbt", "finalise"))


def pkcs11_tool(_):
    lacks = (*SO_VERBS, "psbt", "finalise")
    return Pkcs11Tool(EXAMPLES / "shell" / "pkcs11_tool.sh", ways=("login",), lacks=lacks)


# Each by the name of its client, made ready; a program that has to be built goes into the folder.
PROGRAMS = {
    "c": c,
    "cryptoki": cryptoki,
    "go": go,
    "java": java,
    "pkcs11-tool": pkcs11_tool,
    "pkcs11js": pkcs11js,
    "pykcs11": lambda _: PYKCS11,
    "python-pkcs11": python_pkcs11,
}


def at_terminal(command, as_so, answers):
    """Runs a program on a terminal of its own: the exit status, and what stood there.

    Each side has its own configuration, and its own PIN alone. `answers` has a function for each prompt.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
    side, pin = ("ADMINISTRATOR", "SO") if as_so else ("BACKEND", "USER")
    environment |= {
        "COUNTERSIGN_MODULE": os.environ["COUNTERSIGN_MODULE"],
        "COUNTERSIGN_CONF": os.environ[f"COUNTERSIGN_{side}_CONF"],
        f"COUNTERSIGN_{pin}_PIN": os.environ[f"COUNTERSIGN_{pin}_PIN"],
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # A wide terminal, so that no line is broken.
    child = pexpect.spawn(
        str(command[0]),
        [str(word) for word in command[1:]],
        env=environment,
        cwd=ROOT,
        encoding="utf-8",
        timeout=PATIENCE,
        dimensions=(50, 1000),
    )
    shown, prompts = "", list(answers)
    patterns = [pexpect.EOF, *map(re.escape, prompts)]
    while (number := child.expect(patterns)) != 0:
        shown += child.before + child.after
        if not child.waitnoecho(timeout=PATIENCE):
            child.close(force=True)
            failed(f"{command[-1]}: what is typed at its prompt would be seen\n{shown}")
        child.sendline(answers[prompts[number - 1]]())
    shown += child.before
    child.close()
    return child.exitstatus, shown
