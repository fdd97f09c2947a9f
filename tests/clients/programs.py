"""The programs of examples/, and how a user at a terminal runs them."""

import os
import pathlib
import re
import subprocess
import sys

import pexpect

from common import ROOT, VENDOR, failed, passed

EXAMPLES = ROOT / "examples"

# How long a program may print nothing before it counts as hung.
PATIENCE = 60

SO_VERBS = ("enrol", "confirm", "wallet")


class Program:
    """One of the programs: its command line, its ways to attach a code, and the verbs that it lacks."""

    # Whether it gets the number of the rule from C_GetSessionInfo.
    tells_rules = True

    def __init__(self, *command, ways=("sign", "login"), lacks=()):
        self.command = [str(part) for part in command]
        self.ways = ways
        self.lacks = lacks

    def run(self, verb, *arguments, user=None, code=None):
        """Runs a verb, and types the user's code at its prompt. Returns the exit status and the terminal's text.

        `code` is a function, which is called at the prompt. Another program runs a verb that this one lacks, as
        examples/README.md says.
        """
        if verb in self.lacks:
            return PYKCS11.run(verb, *arguments, user=user, code=code)
        answers = {} if code is None else self.answers(user, code)
        return at_terminal([*self.command, verb, *map(str, arguments)], verb in SO_VERBS, answers)

    def answers(self, user, code):
        """The prompts, and what the user types there."""
        return {f"code of {user}: ": code}

    def name(self, rv):
        """The program's word for a CK_RV."""
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
    """Built by Cargo, except if it tests only one crate."""
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
    """Built as its first lines say, only from Debian's sources of the package, and formatted as gofmt formats it."""
    program, source = folder / "client", "examples/go/client.go"
    unformatted = subprocess.run(["gofmt", "-l", source], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    if unformatted:
        failed(f"gofmt formats {source} otherwise")
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "GOPROXY": "off"}
    environment.setdefault("HOME", str(folder))
    subprocess.run(["go", "build", "-o", program, source], cwd=ROOT, env=environment, check=True)
    return Program(program, lacks=("psbt", "finalise"))


def java(folder):
    """Compiled once. Java's launcher would compile the source file each time."""
    # Debian's Java 17, even if another version is the default.
    installed = sorted(pathlib.Path("/usr/lib/jvm").glob("java-17-openjdk-*/bin"))
    tools = f"{installed[0]}/" if installed else ""
    package = "jdk.crypto.cryptoki/sun.security.pkcs11.wrapper"
    wrapper = ["--add-modules", "jdk.crypto.cryptoki", "--add-exports", f"{package}=ALL-UNNAMED"]
    subprocess.run([f"{tools}javac", *wrapper, "-d", folder, EXAMPLES / "java" / "Client.java"], check=True)
    return Program(f"{tools}java", *wrapper, "-cp", folder, "Client", lacks=("psbt", "finalise"))


def pkcs11_tool(_):
    lacks = (*SO_VERBS, "psbt", "finalise")
    return Pkcs11Tool(EXAMPLES / "shell" / "pkcs11_tool.sh", ways=("login",), lacks=lacks)


# The programs by the names of their clients, ready to run. A program that has to be built goes into the folder.
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
    """Runs a program on a terminal of its own. Returns the exit status and the terminal's text.

    Each side has its own configuration, and only its own PIN. `answers` has a function for each prompt.
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
