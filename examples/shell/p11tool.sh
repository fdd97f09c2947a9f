#!/usr/bin/env bash
# GnuTLS's p11tool (Debian: gnutls-bin): lists what the token holds.
#
#     examples/shell/p11tool.sh list       what anybody may see: the token, its mechanisms, the wallets' public keys
#     examples/shell/p11tool.sh private    what the backend sees; asks for the user PIN on the terminal
#
# COUNTERSIGN_MODULE names the module. p11tool cannot use vendor mechanisms, so it cannot sign. It does not know secp256k1: it
# lists public keys without their type, and cannot export them.
set -euo pipefail

tool() {
    # With --provider, p11tool loads this module only, and none that this machine's p11-kit configures.
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
