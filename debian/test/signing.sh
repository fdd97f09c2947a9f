#!/usr/bin/env bash
# signing.sh: signs through the installed boundary as two Unix users, and tries what a third may not. install.sh sources it.

period=30

sign_through_it() {
    make_pins
    heading "The administrator (root): init, a user, a wallet"
    COUNTERSIGN_SO_PIN=$(<"$work/so.pin") COUNTERSIGN_USER_PIN=$(<"$work/root-user.pin") as_documented 2
    administrator user add alice --so-pin-file "$work/so.pin" >"$work/enrolment"
    grep -Eo 'secret=[A-Z2-7]+' "$work/enrolment" | head -n 1 | cut -d = -f 2 >"$work/alice.secret"
    # The code of this step confirms, and the code of the next step signs. The module's window already includes it.
    confirming=$(($(date +%s) / period))
    code_of_step "$confirming" root
    administrator user confirm alice --so-pin-file "$work/so.pin" --code-file "$work/code.root"
    administrator wallet create treasury --network regtest --user alice \
        --max-transaction-sat 60000000 --max-fee-sat 20000 --so-pin-file "$work/so.pin" >"$work/wallet"
    grep -Eo 'wpkh\(.*\)#[a-z0-9]{8}' "$work/wallet" | head -n 1 >"$work/descriptor"

    heading "The backend ($backend): a signature with alice's code"
    psbt make --out "$work/payment.psbt" --base64
    psbt make --out "$work/theft.psbt" --base64
    chmod 0644 "$work"/*.psbt
    code_of_step $((confirming + 1)) "$backend"
    sign payment
    "$python" -B "$root/tests/clients/psbt.py" finalise \
        --unsigned "$work/payment.psbt" --signed "$work/$backend/payment.signed" --out "$work/final.json"
    [ -s "$work/final.json" ] || fail "nothing was finalised" "see above"

    heading "What is refused"
    refused CKR_PIN_INCORRECT sign theft
    # The backends' socket does not accept the SO's login, whether the PIN is right or wrong.
    install -m 0600 -o "$backend" "$work/so.pin" "$work/$backend/so.pin"
    refused CKR_ACTION_PROHIBITED as "$backend" countersign --json user list --so-pin-file "$work/$backend/so.pin"
    # The boundary serves no other Unix user, and no user but its own can look into the state.
    install -m 0600 -o "$stranger" "$work/root-user.pin" "$work/stranger.pin"
    refused CKR_DEVICE_ERROR as "$stranger" countersign --json wallet list --user-pin-file "$work/stranger.pin"
    log_now | grep "WARN.*$(id -u "$stranger")" >/dev/null || fail "the log does not name the user who was refused: $(log_now)" "correct serve"
    ! as "$backend" ls "$state" 2>/dev/null || fail "$backend can look into $state" "correct its mode"
    ! as "$backend" cat "/proc/$server/environ" 2>/dev/null || fail "$backend can look into the process" "correct serve"
}

make_pins() {
    (umask 077 && random_pin >"$work/so.pin" && random_pin >"$work/root-user.pin")
    install -m 0600 -o "$backend" "$work/root-user.pin" "$work/user.pin"
    install -d -m 0700 -o "$backend" "$work/$backend"
}

random_pin() {
    od -An -v -N8 -tx1 /dev/urandom | tr -d ' \n'
}

administrator() {
    (cd / && env -i PATH=/usr/bin:/bin countersign --config "$configuration/administrator.toml" "$@")
}

# as USER COMMAND…: runs the command as the user, without our environment. The library finds its configuration in /etc.
as() {
    local user=$1
    shift
    (cd / && runuser -u "$user" -- env -i PATH=/usr/bin:/bin HOME=/nonexistent "$@")
}

code_of_step() {
    oathtool --totp --base32 --now "@$(($1 * period))" - <"$work/alice.secret" >"$work/code"
    install -m 0600 -o "$2" "$work/code" "$work/code.$2"
}

psbt() {
    "$python" -B "$root/tests/clients/psbt.py" "$@" --descriptor-file "$work/descriptor" --network regtest --pay 40000000 --fee 2500
}

sign() {
    as "$backend" countersign --json sign --wallet treasury --user alice --in "$work/$1.psbt" \
        --out "$work/$backend/$1.signed" --user-pin-file "$work/user.pin" --code-file "$work/code.$backend"
}

# refused RV COMMAND…: fails unless the command is refused with this answer.
refused() {
    local wanted=$1 answer
    shift
    ! answer=$("$@") || fail "it was not refused: $* gave $answer" "this is a defect of Countersign; report it"
    grep -Eq "\"rv\": *\"?$wanted" <<<"$answer" || fail "the refusal is not $wanted: $answer" "this is a defect of Countersign; report it"
    say "$answer"
}
