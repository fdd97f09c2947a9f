#!/usr/bin/env bash
# demo.sh: the whole story. Officers sign the library, `countersign serve` runs it over a SoftHSM2 token in a folder of its own, and
# administrator and backend are its clients. Then a thief takes over the backend, and the administrator turns against everybody. (Here
# they are all one user of one machine. The Debian package gives the boundary its own user.)
#
# It needs a Rust toolchain and installs the rest (Debian packages, Python clients in target/venv). At the end it removes the folder,
# unless COUNTERSIGN_DEMO_KEEP=1.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
# Coins in satoshi.
pay=40000000
fee=2500
period=30

main() {
    need_locked_memory
    prepare
    make_backing_token
    sign_release
    start_boundary
    enrol_alice
    make_wallet
    make_transactions
    sign_transaction
    show_a_thief
    show_a_proposal
    show_a_rogue
    show_a_freeze
    show_a_changed_library
    heading "Done"
    say "A code of alice signed what the backend sent with it, within the limits, and nothing once the policy asked for more. What she"
    say "approved was signed as the boundary stated it. Countersign refused everything else."
}

prepare() {
    heading "Preparing: packages, Python clients, a build"
    need_rust
    need_packages softhsm2 oathtool
    need_venv
    # The profile `demo` of Cargo.toml has every check of a release, and builds in a fraction of the time.
    (cd "$root" && cargo build --profile demo --locked -p countersign -p countersign-cli -p verify_tx --lib --bins </dev/null)
    built=$(cd "$root" && cargo metadata --format-version 1 --no-deps --locked |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/demo
    export COUNTERSIGN_MODULE=$built/libcountersign.so
    umask 077
    dir=$(mktemp -d)
    trap clean_up EXIT
    end_by_signals
}

clean_up() {
    trap '' HUP INT TERM
    stop_boundary
    if [ "${COUNTERSIGN_DEMO_KEEP:-}" = 1 ]; then
        say "Kept: $dir (next: . $dir/inside/env)"
    else
        rm -rf "$dir"
    fi
}

countersign() {
    "$built/countersign" "$@"
}

make_backing_token() {
    heading "1. Inside the boundary: a backing token in a new folder (softhsm/setup.sh)"
    bash "$root/softhsm/setup.sh" "$dir/inside"
    # shellcheck source=/dev/null
    . "$dir/inside/env"
}

# Copies the library into a folder of its own, where the officers sign it: an officer gets this folder and gives it back.
sign_release() {
    local name
    heading "2. The officers: three make keys, two sign the release"
    mkdir "$dir/release"
    cp "$COUNTERSIGN_MODULE" "$dir/release/"
    random_pin >"$dir/officer.password"
    for name in olga omar ona; do
        countersign plugin keygen --secret-key "$dir/$name.key" --public-key "$dir/$name.pub" \
            --password-file "$dir/officer.password"
    done
    countersign plugin manifest --library "$dir/release/libcountersign.so" --floor "$version"
    for name in olga omar; do
        countersign plugin sign --secret-key "$dir/$name.key" --library "$dir/release/libcountersign.so" \
            --password-file "$dir/officer.password"
    done
}

public_key() {
    tail -n 1 "$dir/$1.pub"
}

start_boundary() {
    heading "3. The boundary: countersign serve runs only what two of the three officers signed"
    inside=$dir/inside/countersign.toml
    cat >>"$inside" <<END

[plugin]
library = "$dir/release/libcountersign.so"
officers = ["$(public_key olga)", "$(public_key omar)", "$(public_key ona)"]
threshold = 2
floor_file = "$dir/inside/plugin.floor"

[serve.backend]
socket = "$dir/backend.sock"
users = [$(id -u)]

[serve.administrators]
socket = "$dir/administrators.sock"
users = [$(id -u)]
END
    countersign --config "$inside" plugin pin
    serve
    say "It listens. The backend and the administrators each have a file like this, and their own PIN:"
    write_client backend
    write_client administrators
    cat "$dir/backend.toml"
    # From here on this is a client of the boundary.
    as_administrator

    heading "4. Countersign's own PINs, and the same officers for what an administrator alone must not do (countersign init)"
    random_pin >"$dir/so.pin"
    random_pin >"$dir/user.pin"
    countersign init --label demo --so-pin-file "$dir/so.pin" --user-pin-file "$dir/user.pin" \
        --officer "$(public_key olga)" --officer "$(public_key omar)" --officer "$(public_key ona)" --threshold 2 --delay-hours 24
}

# Starts the boundary, and waits until it listens.
serve() {
    # Does not call the function above: a function in the background runs in a subshell, whose process id is not the server's.
    "$built/countersign" --config "$inside" serve </dev/null 2>>"$dir/serve.log" &
    serving=$!
    local tries
    for tries in $(seq 300); do
        if [ -S "$dir/administrators.sock" ]; then
            return 0
        fi
        kill -0 "$serving" 2>/dev/null || break
        sleep 0.1
    done
    cat "$dir/serve.log" >&2
    fail "countersign serve does not listen" "read its log above"
}

stop_boundary() {
    if [ -n "${serving:-}" ]; then
        end_process "$serving"
        serving=
    fi
}

write_client() {
    cat >"$dir/$1.toml" <<END
[connect]
address = "unix:$dir/$1.sock"
END
}

as_backend() {
    export COUNTERSIGN_CONF=$dir/backend.toml
}

as_administrator() {
    export COUNTERSIGN_CONF=$dir/administrators.toml
}

random_pin() {
    od -An -v -N8 -tx1 /dev/urandom | tr -d ' \n'
    printf '\n'
}

enrol_alice() {
    heading "5. The administrator enrols alice: the boundary makes her secret and shows it once"
    enrol alice

    heading "6. She confirms with a code from her authenticator (oathtool), which spends that code"
    confirmed=$(step_now)
    COUNTERSIGN_CODE=$(code_of_step alice "$confirmed") countersign user confirm alice --so-pin-file "$dir/so.pin"
}

# enrol NAME: keeps the secret that the user's phone would keep after it reads the QR code. oathtool reads it from standard input.
enrol() {
    countersign user add "$1" --so-pin-file "$dir/so.pin" | tee "$dir/enrolment"
    grep -Eo 'secret=[A-Z2-7]+' "$dir/enrolment" | head -n 1 | cut -d = -f 2 >"$dir/$1.secret"
    [ -s "$dir/$1.secret" ] || fail "user add showed no otpauth:// URI" "see its output above"
    rm "$dir/enrolment"
}

# RFC 6238: steps of 30 seconds since 1970.
step_now() {
    printf '%s\n' "$(($(date +%s) / period))"
}

# code_of_step NAME STEP
code_of_step() {
    oathtool --totp --base32 --now "@$(($2 * period))" - <"$dir/$1.secret"
}

# Digits that are not the code of any nearby step, so that the refusal does not depend on luck.
wrong_code() {
    local now step candidate near=
    now=$(step_now)
    for step in $(seq "$((now - 3))" "$((now + 4))"); do
        near="$near $(code_of_step alice "$step") "
    done
    for candidate in 000000 000001 000002 000003 000004 000005 000006 000007 000008; do
        if [[ $near != *" $candidate "* ]]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
}

make_wallet() {
    heading "7. A wallet: its key is made inside, only alice's codes sign, within limits"
    countersign wallet create treasury --network regtest --user alice \
        --max-transaction-sat 60000000 --max-fee-sat 20000 --so-pin-file "$dir/so.pin" | tee "$dir/wallet"
    grep -Eo 'wpkh\(.*\)#[a-z0-9]{8}' "$dir/wallet" | head -n 1 >"$dir/descriptor"
    [ -s "$dir/descriptor" ] || fail "wallet create showed no descriptor" "see its output above"
}

make_transactions() {
    heading "8. An independent wallet library (embit) makes transactions from the descriptor alone"
    psbt make --out "$dir/payment.psbt" --base64
    say "and one for the thief:"
    psbt make --out "$dir/theft.psbt" --base64
}

psbt() {
    "$python" -B "$root/tests/clients/psbt.py" "$@" --descriptor-file "$dir/descriptor" --network regtest \
        --pay "$pay" --fee "$fee"
}

sign_transaction() {
    heading "9. The backend signs with alice's next code attached (C_Sign, carried into the boundary)"
    as_backend
    # A code is good once. To save you the wait, this takes the code of the step that begins within half a minute; the module's
    # window already includes it.
    signing=$((confirmed + 1))
    if [ "$(step_now)" -gt "$signing" ]; then
        signing=$(step_now)
    fi
    COUNTERSIGN_CODE=$(code_of_step alice "$signing") countersign sign --wallet treasury --user alice \
        --in "$dir/payment.psbt" --out "$dir/signed.psbt" --user-pin-file "$dir/user.pin"
    "$python" -B "$root/tests/clients/psbt.py" finalise \
        --unsigned "$dir/payment.psbt" --signed "$dir/signed.psbt" --out "$dir/final.json"

    heading "10. Bitcoin Core's consensus code verifies the finalised transaction"
    "$built/verify_tx" "$dir/final.json"
}

show_a_thief() {
    heading "11. A thief has taken over the backend and knows its PIN, but does not have alice's phone"
    say "Signing another transaction with the code just used:"
    COUNTERSIGN_CODE=$(code_of_step alice "$signing") refused alice CKR_PIN_INCORRECT
    say "Signing with a wrong code:"
    COUNTERSIGN_CODE=$(wrong_code) refused alice CKR_PIN_INCORRECT
    say "Signing without a code (with PyKCS11, since the command line always asks for one):"
    "$python" -B "$root/softhsm/demo_no_code.py" "$COUNTERSIGN_MODULE" treasury "$dir/theft.psbt" "$dir/user.pin"
    say "Logging in with the SO's PIN through the backend's socket:"
    fails --json user list --so-pin-file "$dir/so.pin"

    heading "12. This works: alice types a fresh code for her next payment, and the thief signs the theft with it"
    say "A code proves that she is there, not what she agrees to. The wallet's limits are what bounds the loss:"
    fresh_code alice "$signing"
    COUNTERSIGN_CODE=$code countersign sign --wallet treasury --user alice \
        --in "$dir/theft.psbt" --out "$dir/stolen.psbt" --user-pin-file "$dir/user.pin"
    rm "$dir/stolen.psbt"
    say "More than the limit is refused all the same:"
    pay=70000000 psbt make --out "$dir/greedy.psbt" --base64
    fails --json propose --wallet treasury --in "$dir/greedy.psbt" --user-pin-file "$dir/user.pin"
}

# fresh_code NAME LAST: waits until there is a code after the step LAST within the module's window, sets it as `code`, and its step.
fresh_code() {
    step=$(($2 + 1))
    while [ "$(step_now)" -lt "$((step - 1))" ]; do
        sleep 0.2
    done
    [ "$(step_now)" -le "$step" ] || step=$(step_now)
    code=$(code_of_step "$1" "$step")
}

show_a_proposal() {
    local ticket
    heading "13. The backend proposes a transaction instead. The boundary says what it does, and alice approves that statement"
    psbt make --out "$dir/proposed.psbt" --base64
    psbt make --out "$dir/swapped.psbt" --base64
    ticket=$(countersign --json propose --wallet treasury --in "$dir/proposed.psbt" --user-pin-file "$dir/user.pin" |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["proposal"]["ticket"])')
    countersign proposal show "$ticket" --user-pin-file "$dir/user.pin"
    say "Signing before she has approved:"
    by_ticket_refused "$ticket" proposed CKR_COUNTERSIGN_PENDING
    fresh_code alice "$step"
    COUNTERSIGN_CODE=$code countersign proposal approve "$ticket" --user alice --user-pin-file "$dir/user.pin" 2>/dev/null
    say "The thief swaps the transaction under her ticket:"
    by_ticket_refused "$ticket" swapped CKR_PIN_INCORRECT
    say "and signs another one with the code that approved:"
    COUNTERSIGN_CODE=$code refused alice CKR_PIN_INCORRECT
    say "What she read is what is signed, once:"
    countersign sign --wallet treasury --ticket "$ticket" \
        --in "$dir/proposed.psbt" --out "$dir/approved.psbt" --user-pin-file "$dir/user.pin"
    say "The boundary keeps that. But here the backend drew the page, so a thief could have shown her something else, and used the code"
    say "as in 12. A screen that the backend does not draw makes it consent (docs/decisions/0011). From an amount on, the policy can ask"
    say "for that. Then the thief's way of 12 is refused:"
    as_administrator
    countersign wallet set treasury --max-transaction-sat 60000000 --max-fee-sat 20000 \
        --consent-from-sat 10000000 --consent-by device --so-pin-file "$dir/so.pin" >/dev/null
    as_backend
    fresh_code alice "$step"
    COUNTERSIGN_CODE=$code refused alice CKR_COUNTERSIGN_POLICY
}

# by_ticket_refused TICKET NAME RV
by_ticket_refused() {
    fails --json sign --wallet treasury --ticket "$1" --in "$dir/$2.psbt" --out "$dir/stolen.psbt" --user-pin-file "$dir/user.pin"
    grep -Eq "\"rv\": *\"$3\"" <<<"$answer" || fail "the refusal is not $3: $answer" "this is a defect of Countersign; report it"
    [ ! -e "$dir/stolen.psbt" ] || fail "the refusal left an output file" "this is a defect of Countersign; report it"
}

# The commands that write an act write it where they run.
show_a_rogue() {
    cd "$dir"
    heading "14. The administrator turns against everybody, knows every PIN, and enrols a user with a phone of their own"
    as_administrator
    enrol mallory >"$dir/mallory.enrolled"
    COUNTERSIGN_CODE=$(code_of_step mallory "$(step_now)") countersign user confirm mallory --so-pin-file "$dir/so.pin"
    say "Signing through the administrators' socket:"
    COUNTERSIGN_CODE=$(wrong_code) refused alice CKR_ACTION_PROHIBITED
    say "Replacing the user PIN:"
    fails --json pin set --so-pin-file "$dir/so.pin" --user-pin-file "$dir/officer.password"
    say "Putting mallory into the wallet:"
    fails --json wallet set treasury --user alice --user mallory --so-pin-file "$dir/so.pin"
    act=$("$python" -c 'import json, sys; print(json.load(sys.stdin)["error"]["act_file"])' <<<"$answer")
    [ -s "$act" ] || fail "no act was written for the officers" "this is a defect of Countersign; report it"

    heading "15. The officers get that act by mail, and read it. The administrator has a friend among them"
    countersign act show "$act"
    say "Olga signs:"
    sign_act olga "$act"
    countersign act submit "$act"
    mallory_signs_nothing
    say "Omar signs, too:"
    sign_act omar "$act"
    countersign act submit "$act"
    mallory_signs_nothing
    say "Ona looks every day, and one officer is enough to end it:"
    countersign act list
    countersign act veto "$act" --secret-key "$dir/ona.key" --password-file "$dir/officer.password" 2>/dev/null
    say "Submitting it again:"
    if answer=$(countersign --json act submit "$act"); then
        fail "the vetoed act went on: $answer" "this is a defect of Countersign; report it"
    fi
    explain "$answer"
    mallory_signs_nothing
}

# sign_act OFFICER FILE: what the officer is shown before signing was shown above.
sign_act() {
    local signed
    signed=$(countersign act sign "$2" --secret-key "$dir/$1.key" --password-file "$dir/officer.password" 2>/dev/null)
    say "${signed%%$'\n'*}"
}

mallory_signs_nothing() {
    say "Mallory tries to sign, with a right code:"
    as_backend
    COUNTERSIGN_CODE=$(code_of_step mallory "$(($(step_now) + 1))") refused mallory CKR_PIN_INCORRECT
    as_administrator
}

show_a_freeze() {
    heading "16. One officer freezes the wallet, without any PIN. From then on no code is even looked at"
    act=$(countersign --json act draft "freeze wallet treasury" |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["act"]["file"])')
    sign_act ona "$act"
    countersign act submit "$act"
    as_backend
    COUNTERSIGN_CODE=$(wrong_code) refused alice CKR_COUNTERSIGN_POLICY
    say "The administrator thaws it:"
    as_administrator
    fails --json wallet thaw treasury --so-pin-file "$dir/so.pin"
}

show_a_changed_library() {
    heading "17. The administrator changes a byte of the library, inside the boundary"
    stop_boundary
    printf 'x' >>"$dir/release/libcountersign.so"
    fails --json --config "$inside" serve
}

# fails ARGUMENT…: runs a command that must fail, and keeps its `answer`.
fails() {
    if answer=$(countersign "$@" 2>/dev/null); then
        fail "it was done: countersign $*: $answer" "this is a defect of Countersign; report it"
    fi
    explain "$answer"
}

# refused USER RV: tries to sign the thief's transaction, and fails unless exactly this refusal comes.
refused() {
    local answer
    if answer=$(countersign --json sign --wallet treasury --user "$1" --in "$dir/theft.psbt" \
        --out "$dir/stolen.psbt" --user-pin-file "$dir/user.pin"); then
        fail "the transaction was signed: $answer" "this is a defect of Countersign; report it"
    fi
    if ! grep -Eq "\"rv\": *\"$2\"" <<<"$answer"; then
        fail "the refusal is not $2: $answer" "this is a defect of Countersign; report it"
    fi
    if [ -e "$dir/stolen.psbt" ]; then
        fail "the refusal left an output file" "this is a defect of Countersign; report it"
    fi
    explain "$answer"
}

# The refusal in a JSON answer, in one line.
explain() {
    "$python" -c 'import json, sys; e = json.load(sys.stdin)["error"]; print("  refused:", e.get("rv") or "", e["what"])' \
        <<<"$1"
}

main "$@"
