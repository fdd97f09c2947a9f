# node.sh: the node of Bitcoin Core that docs/bitcoin-core.md takes for granted, with a chain of its own (regtest). Sourced by the
# script that commands.rs makes, behind story.sh, where there is a bitcoind ($BITCOIND, with bitcoin-cli beside it).
#
# All of it signs one transaction with one code: by a node with an index, in both versions of PSBTs, and by the node's wallet.
# shellcheck shell=bash
# shellcheck disable=SC2154 # The document sets descriptor, scan and hex.

# Where the document has a reader put in what is theirs.
destination=bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080
trap end_node EXIT

bitcoin-cli() {
    local argument arguments=()
    for argument in "$@"; do
        argument=${argument//TXID/${funding:-}}
        arguments+=("${argument//tb1qDESTINATION/$destination}")
    done
    [ "${arguments[0]}" != -signet ] || unset "arguments[0]"
    "$(dirname "$BITCOIND")/bitcoin-cli" -datadir="$STORY/node" "${arguments[@]}"
}

# node OPTION…: (re)starts the node with these options.
node() {
    local port
    end_node
    if [ ! -d "$STORY/node" ]; then
        mkdir "$STORY/node"
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        printf 'regtest=1\nlisten=0\n[regtest]\nrpcport=%s\n' "$port" >"$STORY/node/bitcoin.conf"
    fi
    "$BITCOIND" -datadir="$STORY/node" -printtoconsole=0 "$@" &
    node=$!
    bitcoin-cli -rpcwait -rpcwaittimeout=120 getblockcount >"$STORY/blocks"
}

end_node() {
    if [ -n "${node:-}" ]; then
        kill -TERM "$node"
        wait "$node" || true
        node=
    fi
}

# Whether the node was built with a wallet.
has_wallet() {
    "$BITCOIND" -help | grep -- '-disablewallet' >"$STORY/help"
}

# without_index: what the document begins with.
without_index() {
    if has_wallet; then node -disablewallet; else node; fi
}

# wallet LABEL of USER: as the README makes it, on the node's chain.
wallet() {
    [ -z "${wallet:-}" ] || return 0
    wallet=$1
    enrolled "$3"
    countersign wallet create "$1" --network regtest --user "$3" --max-transaction-sat 50000000 --max-fee-sat 20000
}

# coin: pays what the document spends to the wallet's first address. Anybody can spend the block rewards of this chain, since the
# node has no key.
coin() {
    local block coinbase address
    block=$(cli generatetodescriptor 101 'raw(51)' | jq -r '.[0]')
    coinbase=$(cli getblock "$block" | jq -r '.tx[0]')
    address=$(cli deriveaddresses "$descriptor" "[0,0]" | jq -r '.[0][0]')
    paying=$(cli createrawtransaction "[{\"txid\": \"$coinbase\", \"vout\": 0}]" "[{\"$address\": 0.001}]")
    cli generateblock 'raw(51)' "[\"$paying\"]"
    funding=$(cli decoderawtransaction "$paying" | jq -r .txid)
}

# payment LABEL FILE: the file is there, made by the node without an index. Countersign refuses it, and prints what the document
# says; a node with an index completes it.
payment() {
    local shown height block
    cp "$2" incomplete.psbt
    shown=$(countersign psbt show --wallet "$1" --in incomplete.psbt 2>&1 || true)
    has "$shown" 'refused:       utxo-missing: input 0 has a witness_utxo but no non_witness_utxo, and its amount is only a claim: '
    has "$shown" '-txindex'
    # It spends no code: the signature takes this very one.
    shown=$(refused "$1" incomplete.psbt)
    has "$shown" 'utxo-missing'
    # The way of one's own software.
    height=$(cli scantxoutset start "$scan" | jq '.unspents[0].height')
    block=$(cli getblockhash "$height")
    [ "$(cli getrawtransaction TXID 0 "$block")" = "$paying" ]
    if has_wallet; then node -disablewallet -txindex; else node -txindex; fi
    until [ "$(cli getindexinfo | jq .txindex.synced)" = true ]; do :; done
    cli utxoupdatepsbt "$(cat incomplete.psbt)" "$scan" >"$2"
    [ "$(cat "$2")" = "$(cli utxoupdatepsbt "$(cat created.psbt)" "$scan")" ]
}

# refused LABEL FILE: what the command line says of a PSBT that is not signed, in spite of a right code.
refused() {
    local code last
    last=$(cat "$STORY/last")
    code=$("$SOURCES/tests/documents/next_code.sh")
    echo "$last" >"$STORY/last"
    ! COUNTERSIGN_CODE=$code "$COUNTERSIGN_BUILT" sign --wallet "$1" --in "$2" --out refused.psbt 2>&1
}

# has TEXT PIECE
has() {
    [[ $1 == *"$2"* ]] || { printf 'no %q in:\n%s\n' "$2" "$1" >&2; return 1; }
}

# with_wallet: a node that has no index and a wallet, and the PSBT of before.
with_wallet() {
    node
    cp incomplete.psbt unsigned.psbt
}

# again FILE: what the transaction is once Countersign has signed the file, for the code that it had already.
again() {
    local code
    code=$(oathtool --totp --base32 --now "@$(($(cat "$STORY/last") * 30))" - <"$STORY/secret")
    COUNTERSIGN_CODE=$code "$COUNTERSIGN_BUILT" sign --wallet treasury --in "$1" --out "$1.signed" >"$STORY/signed"
    cli finalizepsbt "$(cat "$1.signed")" | jq -r .hex
}

# version FILE: 0 or 2.
version() {
    cli decodepsbt "$(cat "$1")" | jq -r .psbt_version
}

# ending: the transaction was sent. Both versions of the PSBT, and the one that the wallet completed, are signed to the very same.
ending() {
    local version
    cli getmempoolentry "$(cli decoderawtransaction "$hex" | jq -r .txid)" | jq .fees.base
    if [ -e complete.psbt ]; then
        [ "$(again complete.psbt)" = "$hex" ]
    else
        echo "NOT CHECKED: this bitcoind was built without a wallet"
    fi
    node -txindex
    until [ "$(cli getindexinfo | jq .txindex.synced)" = true ]; do :; done
    if ! cli help createpsbt | grep psbt_version >"$STORY/help"; then
        echo "NOT CHECKED: this bitcoind makes version 0 only"
        return 0
    fi
    for version in 0 2; do
        cli -named createpsbt inputs='[{"txid": "TXID", "vout": 0}]' \
            outputs="[{\"tb1qDESTINATION\": 0.0006}, {\"$change\": 0.00039}]" psbt_version="$version" >"v$version"
        cli utxoupdatepsbt "$(cat "v$version")" "$scan" >"v$version.psbt"
        [ "$(version "v$version.psbt")" = "$version" ]
        [ "$(again "v$version.psbt")" = "$hex" ]
        [ "$(version "v$version.psbt.signed")" = "$version" ]
    done
    "$BITCOIND" -version | head -n 1
}
