#!/usr/bin/env bash
# OpenSSL 3 with libp11's engine (Debian: libengine-pkcs11-openssl): reads a wallet's public key, and lists the others.
#
#     examples/shell/openssl.sh WALLET
#
# COUNTERSIGN_MODULE names the module. `openssl storeutl` does not work, because the engine gives OpenSSL no store. Instead, the
# engine's verbose output lists the objects that its search finds. If the wallet does not exist, this version of the engine asks
# for the PIN and then crashes, with any module. The script does not sign: OpenSSL signs digests, and a wallet's key signs
# nothing but PSBTs (CKR_KEY_FUNCTION_NOT_PERMITTED).
set -euo pipefail

if [ "$#" -ne 1 ]; then
    echo "usage: openssl.sh WALLET" >&2
    exit 2
fi

export PKCS11_MODULE_PATH=${COUNTERSIGN_MODULE:?is not set}

OPENSSL_CONF=/dev/stdin openssl pkey -engine pkcs11 -inform engine -pubin -in "pkcs11:object=$1;type=public" -pubout <<'END'
openssl_conf = openssl
[openssl]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
VERBOSE = EMPTY
END
