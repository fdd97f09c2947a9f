#!/usr/bin/env bash
# GnuTLS's p11tool (Debian: gnutls-bin): lists what the token holds.
#
#     examples/shell/p11tool.sh list       what anybody may see: the token, its mechanisms, the wallets' public keys
#     examples/shell/p11tool.sh private    what the backend sees; asks for the user PIN on the terminal
#
# COUNTERSIGN_MODULE names the module. It cannot sign by vendor mechanisms, and has no name for secp256k1: it lists the public
# keys without their kind, and exports none.
set -euo pipefail

tool() {
    # Not the modules that this machine's p11-kit has: this one alone.
    p11tool --provider="${COUNTERSIGN_MODULE:?is not set}" "$@"
}

case "$#:${1:-}" in
    1:list)
        tool --list-tokens
        tool --list-mechanisms
        tool --list-all
        ;;
    1:private) tool --login --list-all "$(tool --list-token-urls)" ;;
    *)
        echo "usage: p11tool.sh list | private" >&2
        exit 2
        ;;
esac
