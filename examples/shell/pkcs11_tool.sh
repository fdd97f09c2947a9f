#!/usr/bin/env bash
# OpenSC's pkcs11-tool: lists what the token holds, and signs a small PSBT.
#
#     examples/shell/pkcs11_tool.sh list
#     examples/shell/pkcs11_tool.sh login WALLET USER UNSIGNED SIGNED
#
# COUNTERSIGN_MODULE names the module. The tool itself asks for both PINs on the terminal: first for the backend's user PIN,
# then, between C_SignInit and C_Sign, for the "context specific PIN", which is USER:CODE.
#
# The tool cannot pass a vendor mechanism's parameter, make users and wallets, or use their attributes. Its buffer holds an answer
# of 512 bytes: enough for a transaction with one input and two outputs. After a refusal the tool starts again by itself and asks
# a second time. A wrong code typed twice is two tries, so stop the tool there (Ctrl-C).
set -euo pipefail

CKM_COUNTERSIGN_PSBT=0xC3530001

tool() {
    pkcs11-tool --module "${COUNTERSIGN_MODULE:?is not set}" "$@"
}

list() {
    tool --list-token-slots
    tool --list-mechanisms
    tool --list-objects
}

# To sign, the tool takes the first key of the kind unless you give its CKA_ID. It ignores --label.
id_of() {
    tool --list-objects --type pubkey 2>/dev/null |
        awk -v label="$1" '/^ *label: / { sub(/^ *label: +/, ""); found = $0 == label }
            found && /^ *ID: / { print $2; exit }'
}

login() {
    local wallet=$1 user=$2 unsigned=$3 signed=$4 id
    id=$(id_of "$wallet")
    [ -n "$id" ] || { echo "no wallet has the label $wallet" >&2; exit 1; }
    echo "At the prompt for the context specific PIN type $user:CODE"
    # Without --pin: with it the tool would use the user PIN as the context specific PIN, too.
    tool --login --sign --mechanism "$CKM_COUNTERSIGN_PSBT" --id "$id" --input-file "$unsigned" --output-file "$signed"
}

case "$#:${1:-}" in
    1:list) list ;;
    5:login) login "${@:2}" ;;
    *)
        echo "usage: pkcs11_tool.sh list | login WALLET USER UNSIGNED SIGNED" >&2
        exit 2
        ;;
esac
