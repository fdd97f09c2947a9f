//! The texts of the pages, in each language.

mod german;

use hyper::HeaderMap;
use hyper::header::ACCEPT_LANGUAGE;

use self::german::GERMAN;

/// All texts in one language. A language that lacks one does not compile.
pub(crate) struct Texts {
    pub(crate) lang: &'static str,
    pub(crate) title: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) wallet: &'static str,
    pub(crate) network: &'static str,
    pub(crate) to_address: &'static str,
    pub(crate) to_script: &'static str,
    pub(crate) qr: &'static str,
    pub(crate) fee: &'static str,
    pub(crate) leaves: &'static str,
    pub(crate) until: &'static str,
    pub(crate) txid: &'static str,
    pub(crate) approvals: &'static str,
    pub(crate) open: &'static str,
    pub(crate) approved: &'static str,
    pub(crate) refused: &'static str,
    pub(crate) signed: &'static str,
    pub(crate) expired: &'static str,
    pub(crate) your_word: &'static str,
    pub(crate) advice: &'static str,
    pub(crate) user: &'static str,
    pub(crate) code: &'static str,
    pub(crate) approve: &'static str,
    pub(crate) refuse: &'static str,
    pub(crate) refusal_is_final: &'static str,
    pub(crate) wrong: &'static str,
    pub(crate) no_code: &'static str,
    pub(crate) locked: &'static str,
    pub(crate) busy: &'static str,
    pub(crate) stopped: &'static str,
    pub(crate) means: &'static str,
    pub(crate) over: &'static str,
    pub(crate) unknown: &'static str,
    pub(crate) request: &'static str,
    pub(crate) stale: &'static str,
    pub(crate) too_many: &'static str,
    pub(crate) unreachable: &'static str,
    pub(crate) too_old: &'static str,
}

/// English, which also stands for every language that is not here.
pub(crate) static ENGLISH: Texts = Texts {
    lang: "en",
    title: "Approve a payment",
    heading: "Do you approve this payment?",
    wallet: "From wallet",
    network: "on",
    to_address: "to the address",
    to_script: "to a script that has no address",
    qr: "QR code of the address",
    fee: "Fee",
    leaves: "Leaves the wallet, fee included",
    until: "Open until (UTC)",
    txid: "Transaction",
    approvals: "Approvals",
    open: "This payment waits for approval.",
    approved: "Enough users have approved this payment.",
    refused: "This payment was refused. It will not be signed.",
    signed: "This payment was signed.",
    expired: "The time for this payment is over. It will not be signed.",
    your_word: "Your decision",
    advice: "Compare every amount and address with what you want to pay. Type your code on this page only, and only if they agree.",
    user: "Your user name",
    code: "Code from your authenticator app",
    approve: "Approve",
    refuse: "Refuse",
    refusal_is_final: "A refusal ends this payment for everybody. It needs a code, too.",
    wrong: "Nothing was recorded: the user name or the code is wrong, or the code was used before. Wait for the next code and try again.",
    no_code: "Nothing was recorded: a code has 6 to 8 digits.",
    locked: "Nothing was recorded: after wrong codes this user, or everybody, must wait. Try again later, or ask the operator.",
    busy: "Nothing was recorded: too many codes are coming in. Wait a minute and try again.",
    stopped: "Nothing was recorded: the operator has stopped approvals for now. Ask the operator.",
    means: "Nothing was recorded: for this amount the wallet takes no codes. Approve with your device.",
    over: "Nothing was recorded: this payment is closed.",
    unknown: "There is nothing to approve here. The link is not complete, or the payment was withdrawn or is over.",
    request: "This request cannot be answered. Open the link that you were given.",
    stale: "Nothing was recorded: this page is too old, or the form was sent from elsewhere. Open the link again.",
    too_many: "Nothing was recorded: there are too many requests from your network. Wait a minute and try again.",
    unreachable: "The signing system does not answer now. Open the link again in a minute to see where the payment stands.",
    too_old: "This payment cannot be shown here completely, so it cannot be approved here. Ask the operator to update the desk.",
};

/// The texts in the language that the browser prefers most (RFC 9110, Accept-Language), of those that we have.
pub(crate) fn of(headers: &HeaderMap) -> &'static Texts {
    let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let weighed = wanted.split(',').filter_map(|range| {
        let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
        let primary = tag.trim().split('-').next()?.to_ascii_lowercase();
        let texts = [&ENGLISH, &GERMAN].into_iter().find(|texts| texts.lang == primary)?;
        (weight > 0.0).then_some((weight, texts))
    });
    // Of equals the first one.
    let best = weighed.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or(&ENGLISH, |(_, texts)| texts)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_browser_gets_the_language_that_it_prefers_of_those_that_there_are() {
        let lang = |wanted: &'static str| {
            of(&HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(wanted))])).lang
        };
        for (wanted, got) in [
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("en;q=0.5, de;q=0.7", "de"),
            ("en-GB,de", "en"),
            ("fr, de;q=0.1", "de"),
            ("fr", "en"),
            ("de;q=0", "en"),
            ("de;q=x, ;;,", "en"),
            ("", "en"),
        ] {
            assert_eq!(lang(wanted), got, "{wanted}");
        }
        assert_eq!(of(&HeaderMap::new()).lang, "en");
    }
}
