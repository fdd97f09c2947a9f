#!/usr/bin/env bash
# OpenSSL 3 by libp11's engine (Debian: libengine-pkcs11-openssl): reads a wallet's public key, and lists those beside it.
#
#     examples/shell/openssl.sh WALLET
#
# COUNTERSIGN_MODULE names the module. `openssl storeutl` does not work, since the engine gives OpenSSL no store: the list is
# what the engine, if told so, tells of its search. A wallet that is not there makes this version of the engine ask for the
# PIN, and then crash (with any module). It does not sign: what OpenSSL would have signed is a digest, and a wallet's key signs
# nothing but a PSBT (CKR_MECHANISM_INVALID).
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
