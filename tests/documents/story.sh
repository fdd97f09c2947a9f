# story.sh: sets up what the documents assume, as the marks above their blocks ask for it. The script that commands.rs
# makes sources it.
# shellcheck shell=bash

export PATH="$STORY/checkout/target/release:$PATH"
here=story.sh
trap 'echo "failed at $here: $BASH_COMMAND" >&2' ERR

# at PLACE: called before the block at this place.
at() {
    here=$1
    # The reader types the PINs, or has them in variables.
    case $here in
        examples/*) ;;
        *) export COUNTERSIGN_SO_PIN=so-pin-of-a-story COUNTERSIGN_USER_PIN=user-pin-of-a-story ;;
    esac
}

# Builds nothing. Only accepts the builds that the documents ask for, whose results exist already.
cargo() {
    [ "$*" = "build --release --locked" ] || { echo "nothing runs: cargo $*" >&2; return 1; }
}

# file NAME: the block is the content of this file.
file() {
    cat >"$1"
}

# enrolled USER: makes a token, and a user who has confirmed.
enrolled() {
    softhsm/setup.sh "$HOME/countersign-try"
    . "$HOME/countersign-try/env"
    countersign init --label story
    countersign user add "$1"
    countersign user confirm "$1"
}

# wallet LABEL of USER: makes a wallet as in the README.
wallet() {
    enrolled "$3"
    countersign wallet create "$1" --network signet --user "$3" --max-transaction-sat 50000000 --max-fee-sat 20000
}

# payment LABEL FILE: writes a base64 PSBT that a watch-only wallet makes from the descriptor.
payment() {
    countersign wallet show "$1" | grep -Eo 'wpkh\(.*\)#[a-z0-9]{8}' | head -n 1 >"$STORY/descriptor"
    "$PYTHON" -B "$SOURCES/tests/clients/psbt.py" make --descriptor-file "$STORY/descriptor" --network signet \
        --pay 40000 --fee 1000 --out "$2" --base64
}

# python: the block is part of a program that has loaded the module, has logged in, and has a PSBT to sign.
python() {
    local code
    wallet treasury of alice
    payment treasury unsigned.psbt
    base64 -d unsigned.psbt >unsigned.bin
    code=$("$SOURCES/tests/documents/next_code.sh")
    {
        cat <<'END'
import pathlib, PyKCS11
library = PyKCS11.PyKCS11Lib()
library.load("target/release/libcountersign.so")
session = library.openSession(library.getSlotList()[0], PyKCS11.CKF_RW_SESSION)
session.login("user-pin-of-a-story")
(key,) = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY), (PyKCS11.CKA_LABEL, "treasury")])
psbt = pathlib.Path("unsigned.bin").read_bytes()
END
        sed "s/123456/$code/"
        echo 'assert len(signed) > len(psbt), "it is signed"'
    } >part.py
    "$PYTHON" -B part.py
}

# proposal: the block is part of such a program. The wallet is of a user of its own, who has codes left.
proposal() {
    local code
    rm "$STORY/last"
    countersign user add bob
    countersign user confirm bob
    countersign wallet create savings --network signet --user bob --max-transaction-sat 50000000 --max-fee-sat 20000
    payment savings proposed.psbt
    base64 -d proposed.psbt >proposed.bin
    code=$("$SOURCES/tests/documents/next_code.sh")
    {
        sed -n '/^import pathlib/,/^session.login/p' part.py
        cat <<'END'
(key,) = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY), (PyKCS11.CKA_LABEL, "savings")])
psbt = pathlib.Path("proposed.bin").read_bytes()
END
        sed "s/123456/$code/"
        echo 'assert len(signed) > len(psbt), "it is signed"'
        echo 'assert "pay 0.00040000 BTC to " in statements and "fee 0.00001000 BTC" in statements, statements'
    } >proposed.py
    "$PYTHON" -B proposed.py
}

# release: lays the test build out as reproduce.sh leaves a release.
release() {
    mkdir release
    cp "$(readlink -f target/release/libcountersign.so)" release/libcountersign.so
    echo '{"bomFormat": "CycloneDX"}' >release/libcountersign.so.cdx.json
}

# installed plugin: puts the release in its place, and a configuration that names the officer.
installed() {
    cat >"$STORY/boundary.toml" <<END
[backing]
module = "/usr/lib/softhsm/libsofthsm2.so"
token = "none"
pin_env = "NONE"

[store]
path = "$STORY/none.db"

[plugin]
library = "$PWD/release/libcountersign.so"
officers = ["$(tail -n 1 officer.pub)"]
threshold = 1
floor_file = "$STORY/plugin.floor"
END
    chmod 600 "$STORY/boundary.toml"
    export COUNTERSIGN_CONF=$STORY/boundary.toml
}
