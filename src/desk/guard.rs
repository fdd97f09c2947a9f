//! Whether a form comes from one of our own pages, in the browser that got the page.
//!
//! - A page comes with a cookie that only this origin can set and read (`__Host-`, `HttpOnly`), and that no other site's request
//!   sends with a form (`SameSite=Lax`; with `Strict` a second link from elsewhere would get another cookie, and spoil the first page). Its form has a token, which is bound to the cookie and to the ticket.
//! - The browser says where a request comes from (`Sec-Fetch-Site`, `Origin`). Either is enough, and neither may disagree.
//! - The key of the tokens is new with each start. A form from before is refused, and its code is not sent on.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderName, ORIGIN};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The cookie's name.
pub(crate) const COOKIE_NAME: &str = "__Host-countersign-desk";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const LABEL: &[u8] = b"countersign/desk/form/1";
const LEN: usize = 16;

/// The key of the tokens.
pub(crate) struct Guard(Zeroizing<[u8; 32]>);

/// The value of a browser's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Browser([u8; LEN]);

impl Browser {
    /// A browser that has no cookie of ours yet.
    pub(crate) fn new() -> Result<Browser, getrandom::Error> {
        let mut value = [0; LEN];
        getrandom::fill(&mut value)?;
        Ok(Browser(value))
    }

    /// The browser that sends these headers, if it has our cookie, once.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Browser> {
        let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut ours = values
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='));
        let (value, None) = (ours.next()?, ours.next()) else { return None };
        HEXLOWER.decode(value.as_bytes()).ok()?.try_into().ok().map(Browser)
    }

    /// What sets the cookie.
    pub(crate) fn set_cookie(&self) -> String {
        format!("{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax", HEXLOWER.encode(&self.0))
    }
}

impl Guard {
    /// A new key.
    pub(crate) fn new() -> Result<Guard, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        Ok(Guard(key))
    }

    /// The token of a form.
    pub(crate) fn token(&self, browser: &Browser, ticket: &[u8; 16]) -> String {
        HEXLOWER.encode(&self.mac(browser, ticket).finalize().into_bytes())
    }

    /// Whether it is that of a form that this browser got for this ticket.
    pub(crate) fn knows(&self, token: &str, browser: &Browser, ticket: &[u8; 16]) -> bool {
        HEXLOWER
            .decode(token.as_bytes())
            .is_ok_and(|token| self.mac(browser, ticket).verify_slice(&token).is_ok())
    }

    fn mac(&self, browser: &Browser, ticket: &[u8; 16]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("a key of any length is one");
        mac.update(LABEL);
        mac.update(&browser.0);
        mac.update(ticket);
        mac
    }
}

/// Whether a request that changes something was sent by a page of this origin.
pub(crate) fn is_from_our_page(headers: &HeaderMap, origin: &str) -> bool {
    let values = |name: HeaderName| headers.get_all(name).iter().collect::<Vec<_>>();
    let (site, from) = (values(FETCH_SITE), values(ORIGIN));
    let agree = |values: &[_], ours: &str| values.iter().all(|value| *value == ours);
    let says = !site.is_empty() || !from.is_empty();
    says && agree(&site, "same-origin") && agree(&from, origin)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const OURS: &str = "https://desk.example";
    const TICKET: [u8; 16] = [7; 16];

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        let value = |value: &str| HeaderValue::from_str(value).expect("a value");
        list.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    #[test]
    fn consent_csrf_a_token_is_of_one_browser_one_ticket_and_one_start() {
        let (guard, browser) = (Guard::new().expect("random"), Browser::new().expect("random"));
        let token = guard.token(&browser, &TICKET);
        assert!(guard.knows(&token, &browser, &TICKET));
        assert!(!guard.knows(&token, &Browser::new().expect("random"), &TICKET));
        assert!(!guard.knows(&token, &browser, &[8; 16]));
        assert!(!Guard::new().expect("random").knows(&token, &browser, &TICKET));
        for bad in ["", &token[1..], &token[2..], &token.to_uppercase(), "zz"] {
            assert!(!guard.knows(bad, &browser, &TICKET), "{bad}");
        }
    }

    #[test]
    fn consent_csrf_a_form_of_another_site_is_no_form_of_ours() {
        let from = |list: &[(HeaderName, &str)]| is_from_our_page(&headers(list), OURS);
        assert!(from(&[(ORIGIN, OURS)]));
        assert!(from(&[(FETCH_SITE, "same-origin")]));
        assert!(from(&[(FETCH_SITE, "same-origin"), (ORIGIN, OURS)]));
        assert!(!from(&[]), "a browser says at least one of them");
        for other in
            ["null", "https://desk.example:444", "http://desk.example", "https://desk.example.evil", ""]
        {
            assert!(!from(&[(ORIGIN, other)]), "{other}");
            assert!(!from(&[(ORIGIN, other), (FETCH_SITE, "same-origin")]), "{other}");
            assert!(!from(&[(ORIGIN, OURS), (ORIGIN, other)]), "{other}");
        }
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!from(&[(FETCH_SITE, site), (ORIGIN, OURS)]), "{site}");
        }
    }

    #[test]
    fn a_cookie_is_read_among_others_and_counts_only_once() {
        let browser = Browser::new().expect("random");
        let cookie = browser.set_cookie();
        let pair = cookie.split(';').next().expect("a pair");
        assert_eq!(Browser::of(&headers(&[(COOKIE, &format!("a=b; {pair}; c=d"))])), Some(browser));
        for bad in [format!("{pair}; {pair}"), format!("{pair}0"), "a=b".into(), pair.replace("__Host-", "")]
        {
            assert_eq!(Browser::of(&headers(&[(COOKIE, &bad)])), None, "{bad}");
        }
        assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
    }
}
