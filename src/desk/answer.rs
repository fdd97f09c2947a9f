//! Answers, with the headers that each of them has.

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, SET_COOKIE, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};

use crate::guard::Browser;

/// Nothing is loaded but our style sheet, no script runs, no other page frames ours, and a form goes nowhere else.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const STYLE: &str = include_str!("style.css");
const HTML: &str = "text/html; charset=utf-8";

const HEADERS: [(HeaderName, &str); 9] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (CACHE_CONTROL, "no-store"),
    // With "no-referrer", browsers would not say of a form where it comes from.
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// A page.
pub(crate) fn page(status: StatusCode, body: String) -> Response<String> {
    of(status, HTML, body)
}

/// The page of a proposal, with the cookie of a browser that has none yet.
pub(crate) fn page_for(status: StatusCode, body: String, new: Option<&Browser>) -> Response<String> {
    let mut response = page(status, body);
    if let Some(browser) = new {
        let cookie =
            HeaderValue::try_from(browser.set_cookie()).expect("hexadecimal digits and our own words");
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// The style sheet.
pub(crate) fn style() -> Response<String> {
    of(StatusCode::OK, "text/css; charset=utf-8", STYLE.into())
}

/// Sends the browser to the page of a proposal.
pub(crate) fn see(path: &str) -> Response<String> {
    let mut response = page(StatusCode::SEE_OTHER, String::new());
    let path = HeaderValue::try_from(path).expect("a path that we made");
    response.headers_mut().insert(LOCATION, path);
    response
}

/// Names the methods that a path has.
pub(crate) fn allow(mut response: Response<String>, methods: &'static str) -> Response<String> {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn of(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
