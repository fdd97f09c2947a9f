#!/usr/bin/env bash
# node.sh: a node of Bitcoin Core for the tests, built in target/judges/node: bitcoind and bitcoin-cli.
#
# By hand: it takes some ten minutes of two cores, so neither softhsm/test.sh nor CI runs it. With it,
#   cargo test --test program bitcoin_core -- --show-output
# runs every command of docs/bitcoin-core.md against that node.
#
# Debian 12 has no package of it. The sources are those that the crate libbitcoinkernel-sys carries, which cargo fetches and whose
# checksum it verifies. They come without the node's wallet. SOURCES=DIR takes another checkout of Bitcoin Core; if that has
# src/wallet, the node has a wallet, and one more command of the document is run.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../softhsm/lib.sh"

crate=libbitcoinkernel-sys
version=0.4.1
node=$root/target/judges/node

main() {
    exec </dev/null
    need_rust
    need_packages cmake make g++ libevent-dev libboost-dev libsqlite3-dev jq oathtool
    local sources=${SOURCES:-} wallet=OFF
    mkdir -p "$node"
    if [ -z "$sources" ]; then
        sources=$(fetched)
    fi
    if [ -d "$sources/src/wallet" ]; then
        wallet=ON
    fi
    # Nothing of it is measured: without optimisation it is built sooner.
    cmake -S "$sources" -B "$node/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O0 -DCMAKE_C_FLAGS_RELEASE=-O1 \
        -DENABLE_WALLET="$wallet" -DBUILD_WALLET_TOOL=OFF -DBUILD_TESTS=OFF -DBUILD_BENCH=OFF -DBUILD_GUI=OFF -DBUILD_TX=OFF \
        -DBUILD_UTIL=OFF -DBUILD_BITCOIN_BIN=OFF -DENABLE_IPC=OFF -DENABLE_EXTERNAL_SIGNER=OFF -DWITH_ZMQ=OFF \
        -DWITH_EMBEDDED_ASMAP=OFF -DINSTALL_MAN=OFF
    cmake --build "$node/build" --parallel "$(nproc)" --target bitcoind bitcoin-cli
    install -m 0755 "$node/build/bin/bitcoind" "$node/build/bin/bitcoin-cli" "$node/"
    "$node/bitcoind" -version | head -n 1
}

# The folder of the crate's sources. The crate is a dependency of nothing but a package that is made for this.
fetched() {
    mkdir -p "$node/fetch/src"
    printf '[package]\nname = "fetch"\nedition = "2024"\n[workspace]\n[dependencies]\n%s = "=%s"\n' "$crate" "$version" \
        >"$node/fetch/Cargo.toml"
    : >"$node/fetch/src/lib.rs"
    cargo metadata --format-version 1 --manifest-path "$node/fetch/Cargo.toml" | python3 -c '
import json, os, sys
[crate] = [crate for crate in json.load(sys.stdin)["packages"] if crate["name"] == sys.argv[1]]
print(os.path.join(os.path.dirname(crate["manifest_path"]), "bitcoin"))' "$crate"
}

main "$@"
