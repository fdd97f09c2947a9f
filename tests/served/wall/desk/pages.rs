//! The pages of the desk, over real HTTPS: a user approves on them, and whoever is not that user gets nowhere.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use harness::users::{Customer, LONG, Serving};

const COOKIE: &str = "__Host-countersign-desk=";

/// A boundary, a proposal that waits at it, and its desk.
struct Scene<'a> {
    wall: &'a Wall,
    serving: Option<Serving>,
    customer: Customer,
    psbt: Vec<u8>,
    ticket: String,
    pages: Pages,
    desk: Child,
}

/// Where the pages are, and what a browser needs to see them.
#[derive(Clone)]
struct Pages {
    port: u16,
    config: Arc<ClientConfig>,
}

/// An answer of HTTP.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Scene<'_> {
    fn new(wall: &Wall) -> Scene<'_> {
        let serving = Some(wall.serve());
        let customer = wall.set_up_wallet();
        let psbt = customer.order(wall, "none");
        let ticket = wall.run(BACKEND, "propose").value("ticket").to_owned();
        wall.give("ticket", &ticket);

        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec!["localhost".into()]).expect("a name").self_signed(&key);
        let certificate = certificate.expect("a certificate");
        wall.write("desk/desk.crt", &certificate.pem(), DESK);
        wall.write("desk/desk.key", &key.serialize_pem(), DESK);
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let folder = wall.path("desk");
        let configuration = format!(
            "{}[desk]\naddress = \"127.0.0.1:{port}\"\norigin = \"https://localhost:{port}\"\n\
             certificate_file = \"{1}/desk.crt\"\nkey_file = \"{1}/desk.key\"\n",
            fs::read_to_string(folder.join("client.toml")).expect("it is there"),
            folder.display()
        );
        wall.write("desk/desk.toml", &configuration, DESK);
        let pages = Pages { port, config: client(certificate.der()) };
        let desk = start(wall, &pages);
        Scene { wall, serving, customer, psbt, ticket, pages, desk }
    }

    fn path(&self) -> String {
        format!("/p/{}", self.ticket)
    }

    /// The page, with the cookie and the token that came with it.
    fn open(&self) -> (Answer, String, String) {
        let page = self.pages.get(&self.path(), "");
        assert_eq!(page.status, 200, "{}{}", page.head, page.body);
        let after = |text: &str, word: &str, end: char| {
            let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{word}: {text}"));
            rest.split(end).next().unwrap_or_default().to_owned()
        };
        let cookie = after(&page.head, COOKIE, ';');
        let token = after(&page.body, "name=\"token\" value=\"", '"');
        (page, cookie, token)
    }

    /// Sends the form as a browser does.
    fn say(&self, cookie: &str, token: &str, word: &str, code: &str) -> Answer {
        let form = format!("token={token}&user={USER}&code={code}&word={word}");
        self.pages.post(&self.path(), &form, &self.pages.ours(cookie))
    }

    /// What the page says.
    fn shows(&self) -> String {
        self.open_anyhow().body
    }

    fn open_anyhow(&self) -> Answer {
        self.pages.get(&self.path(), "")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.wall.path("notes/desk.log")).expect("it was written")
    }

    fn kill_the_desk(&mut self) {
        self.desk.kill().expect("it runs");
        self.desk.wait().expect("it is ours");
    }

    fn sign(&self) {
        let signed = self.wall.run(BACKEND, "sign").value("answer").to_owned();
        verify_signed(&self.psbt, &HEXLOWER.decode(signed.as_bytes()).expect("a PSBT in hex"));
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        let _ = self.desk.kill();
        let _ = self.desk.wait();
    }
}

fn start(wall: &Wall, pages: &Pages) -> Child {
    let log = fs::File::options().create(true).append(true).open(wall.path("notes/desk.log")).expect("ours");
    let mut desk = wall.desk().stdout(log.try_clone().expect("a file")).stderr(log).spawn().expect("it runs");
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", pages.port)).is_err() {
        let ended = desk.try_wait().expect("it is ours");
        let log = || fs::read_to_string(wall.path("notes/desk.log")).unwrap_or_default();
        assert!(ended.is_none() && begun.elapsed() < LONG, "the desk does not serve:\n{}", log());
        std::thread::sleep(Duration::from_millis(5));
    }
    desk
}

fn client(certificate: &CertificateDer<'_>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.expect("TLS 1.3").with_root_certificates(roots).with_no_client_auth())
}

impl Pages {
    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("it serves");
        socket.set_read_timeout(Some(LONG)).expect("ours");
        let name = "localhost".try_into().expect("a name");
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name).expect("a client"), socket)
    }

    /// Sends these bytes, and reads to the end.
    fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        // The desk may have answered and closed already.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: format!("{head}\r\n"), body: body.into() }
    }

    fn get(&self, path: &str, more: &str) -> Answer {
        let host = format!("localhost:{}", self.port);
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"))
    }

    /// The headers of a form that comes from our own page.
    fn ours(&self, cookie: &str) -> String {
        format!(
            "Cookie: {COOKIE}{cookie}\r\nOrigin: https://localhost:{}\r\nSec-Fetch-Site: same-origin\r\n",
            self.port
        )
    }

    fn post(&self, path: &str, form: &str, more: &str) -> Answer {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n{more}\r\n{form}",
            self.port,
            form.len()
        ))
    }
}

impl Answer {
    /// Checks the headers that every answer has.
    fn assert_strict(&self) {
        for line in [
            "content-security-policy: default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            "x-frame-options: DENY",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "referrer-policy: same-origin",
            "strict-transport-security: max-age=63072000",
        ] {
            assert!(self.head.contains(&format!("\r\n{line}\r\n")), "{line} is missing:\n{}", self.head);
        }
        assert!(!self.body.contains("<script") && !self.body.contains("style="), "{}", self.body);
    }
}

/// The roles of the backend.
fn at_work(wall: &Wall) {
    match wall.role() {
        "propose" => {
            let at = backend(wall);
            report("ticket", ticket_of(at, propose(wall, at)));
        }
        _ => sign(wall, &wall.given("ticket")),
    }
}

#[test]
fn consent_a_user_approves_on_the_page_and_the_backend_signs_by_the_ticket() {
    behind_the_wall(this_test!(), |wall| {
        if wall.role() != "body" {
            return at_work(wall);
        }
        let scene = Scene::new(wall);
        let (page, cookie, token) = scene.open();
        page.assert_strict();
        assert!(page.head.contains("; Path=/; Secure; HttpOnly; SameSite=Lax\r\n"), "{}", page.head);
        for shown in
            ["0.00060000 BTC", "0.00001000 BTC", "&#34;treasury&#34;", "<svg", "0 / 1", "<html lang=\"en\">"]
        {
            assert!(page.body.contains(shown), "{shown}: {}", page.body);
        }
        assert!(
            ["bcrt</span>", "tb1q</span>", "tb1p</span>"].iter().any(|first| page.body.contains(first)),
            "{}",
            page.body
        );
        assert!(!page.body.contains(USER), "who is asked shows to nobody");
        let german = scene.pages.get(&scene.path(), "Accept-Language: de-DE\r\n");
        assert!(
            german.body.contains("<html lang=\"de\">") && german.body.contains("Ablehnen"),
            "{}",
            german.body
        );

        let wrong = scene.say(&cookie, &token, "approve", &scene.customer.wrong_code());
        let stranger = format!("token={token}&user=mallory&code=123456&word=approve");
        let stranger = scene.pages.post(&scene.path(), &stranger, &scene.pages.ours(&cookie));
        wrong.assert_strict();
        assert_eq!((wrong.status, stranger.status), (403, 403));
        assert!(wrong.body.contains("the user name or the code is wrong"), "{}", wrong.body);
        assert_eq!(wrong.body, stranger.body, "who is asked shows to nobody");
        let no_code = scene.say(&cookie, &token, "approve", "12345");
        assert!(no_code.body.contains("a code has 6 to 8 digits"), "{}", no_code.body);

        let code = scene.customer.code();
        let approved = scene.say(&cookie, &token, "approve", &code);
        assert_eq!(approved.status, 303, "{}{}", approved.head, approved.body);
        assert!(approved.head.contains(&format!("\r\nlocation: {}\r\n", scene.path())), "{}", approved.head);
        assert!(scene.shows().contains("Enough users have approved"));
        scene.sign();
        let signed = scene.shows();
        assert!(signed.contains("This payment was signed.") && !signed.contains("<form"), "{signed}");
        let over = scene.say(&cookie, &token, "refuse", &code);
        assert_eq!(over.status, 409);
        let log = scene.log();
        for secret in [&code, &scene.ticket, USER, &cookie, &token] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    });
}

#[test]
fn consent_csrf_a_word_from_elsewhere_is_not_carried_and_its_code_stays_good() {
    behind_the_wall(this_test!(), |wall| {
        if wall.role() != "body" {
            return at_work(wall);
        }
        let scene = Scene::new(wall);
        let (_, cookie, token) = scene.open();
        let (_, other_cookie, other_token) = scene.open();
        let code = scene.customer.code();
        let (path, ours) = (scene.path(), scene.pages.ours(&cookie));
        let form = |token: &str| format!("token={token}&user={USER}&code={code}&word=approve");
        let port = scene.pages.port;
        let swap = |from: &str, to: &str| {
            let changed = ours.replace(from, to);
            assert_ne!(changed, ours);
            changed
        };
        let origin = format!("https://localhost:{port}");
        for (form, headers) in [
            (form(""), ours.clone()),
            (form(&other_token), ours.clone()),
            (form(&token), scene.pages.ours(&other_cookie)),
            (form(&token), swap(COOKIE, "countersign-desk=")),
            (form(&token), swap(&origin, "https://evil.example")),
            (form(&token), swap(&origin, "null")),
            (form(&token), swap(&origin, &format!("http://localhost:{port}"))),
            (form(&token), swap("same-origin", "cross-site")),
            (form(&token), swap("same-origin", "same-site")),
            (form(&token), format!("Cookie: {COOKIE}{cookie}\r\n")),
        ] {
            let refused = scene.pages.post(&path, &form, &headers);
            refused.assert_strict();
            assert_eq!(refused.status, 403, "{headers}{form}");
        }
        // Nor as a link, or as a form of another kind.
        let link = scene.pages.get(&format!("{path}?{}", form(&token)), &ours);
        assert_eq!(link.status, 200);
        let plain = "Content-Type: text/plain\r\n";
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{plain}{ours}Content-Length: {}\r\n\r\n{}",
            form(&token).len(),
            form(&token)
        );
        assert_eq!(scene.pages.send(&request).status, 400);
        assert!(scene.shows().contains("0 / 1"));
        assert_eq!(scene.say(&cookie, &token, "approve", &code).status, 303, "the code was never used");
        scene.sign();
    });
}

#[test]
fn consent_hostile_requests_are_refused_with_the_same_strict_headers() {
    behind_the_wall(this_test!(), |wall| {
        if wall.role() != "body" {
            return at_work(wall);
        }
        let scene = Scene::new(wall);
        let (path, port) = (scene.path(), scene.pages.port);
        let unknown = scene.pages.get(&format!("/p/{}", "5a".repeat(16)), "");
        unknown.assert_strict();
        assert_eq!(unknown.status, 404);
        for tricks in [
            "/",
            "/p/",
            "/p/..",
            "//p/x",
            "/p/%2e%2e/%2e%2e/etc/passwd",
            "/p/%0d%0aSet-Cookie:%20a=b",
            &format!("{path}/"),
            &format!("/p/../{}", &path[1..]),
            &path.replacen("/p/", "/P/", 1),
            &format!("{path}%00"),
        ] {
            let answer = scene.pages.get(tricks, "");
            assert_eq!((answer.status, &answer.body), (404, &unknown.body), "{tricks}");
            assert!(!answer.head.contains("set-cookie"), "{tricks}: {}", answer.head);
        }
        let refused = |status: u16, request: &str| {
            let answer = scene.pages.send(request);
            assert_eq!(answer.status, status, "{request}\n{}", answer.head);
            answer
        };
        let host = format!("Host: localhost:{port}\r\nConnection: close\r\n");
        refused(421, &format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))
            .assert_strict();
        refused(421, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"));
        refused(421, &format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n{host}\r\n"));
        refused(421, &format!("GET https://evil.example{path} HTTP/1.1\r\n{host}\r\n"));
        for method in ["PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = refused(405, &format!("{method} {path} HTTP/1.1\r\n{host}\r\n"));
            assert!(answer.head.contains("allow: GET, HEAD, POST"), "{}", answer.head);
        }
        refused(400, &format!("GET {path} HTTP/1.1\r\n{host}Broken\r\n\r\n"));
        refused(400, &format!("GET {path}\r\nX: y HTTP/1.1\r\n{host}\r\n"));
        // It may close the connection before all of it has come, and then the answer is lost.
        let long = format!("GET {path} HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(40_000));
        let answer = scene.pages.send(&long);
        assert!([0, 431].contains(&answer.status), "{}", answer.head);

        let (_, cookie, token) = scene.open();
        let long = format!("token={token}&user={}&code=1&word=approve", "a".repeat(4_000));
        let answer = scene.pages.post(&path, &long, &scene.pages.ours(&cookie));
        answer.assert_strict();
        assert_eq!(answer.status, 413);
        // A marked-up name is not put into the page as it is, and breaks no line of the log.
        let marked = format!("token={token}&user=%3Cscript%3E%0D%0AX&code=123456&word=approve");
        let answer = scene.pages.post(&path, &marked, &scene.pages.ours(&cookie));
        answer.assert_strict();
        assert_eq!(answer.status, 403);

        // Whoever is slow is not waited for, and keeps nobody waiting.
        let mut slow_head = scene.pages.connect();
        slow_head.write_all(format!("GET {path} HTTP/1.1\r\n").as_bytes()).expect("it is taken");
        let mut slow_form = scene.pages.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\n{host}Content-Type: application/x-www-form-urlencoded\r\n{}Content-Length: 100\r\n\r\ntoken",
            scene.pages.ours(&cookie)
        );
        slow_form.write_all(head.as_bytes()).expect("it is taken");
        let _silent = TcpStream::connect(("127.0.0.1", port)).expect("it serves");
        let begun = Instant::now();
        assert!(scene.shows().contains("0 / 1") && begun.elapsed() < Duration::from_secs(5));
        let mut ends = [0; 2].map(|_| String::new());
        for (stream, end) in [slow_head, slow_form].iter_mut().zip(&mut ends) {
            let _ = stream.read_to_string(end);
        }
        assert!(ends[1].starts_with("HTTP/1.1 408 "), "{ends:?}");
        assert!(ends[0].is_empty() || ends[0].starts_with("HTTP/1.1 408 "), "{ends:?}");
        assert!(begun.elapsed() < LONG);
        assert!(scene.shows().contains("0 / 1"));
    });
}

#[test]
fn consent_a_desk_that_was_killed_and_a_boundary_that_was_restarted_lose_nothing() {
    behind_the_wall(this_test!(), |wall| {
        if wall.role() != "body" {
            return at_work(wall);
        }
        let mut scene = Scene::new(wall);
        let (_, cookie, token) = scene.open();
        let code = scene.customer.code();
        scene.kill_the_desk();
        scene.desk = start(wall, &scene.pages);
        let stale = scene.say(&cookie, &token, "approve", &code);
        assert_eq!(stale.status, 403);
        assert!(stale.body.contains("Open the link again"), "{}", stale.body);

        // While there is no boundary, the page says so, and it finds the next one by itself.
        let serving = scene.serving.take().expect("it runs");
        assert!(serving.stop().success());
        let without = scene.open_anyhow();
        without.assert_strict();
        assert_eq!(without.status, 503, "{}", without.body);
        scene.serving = Some(wall.serve());
        let (_, cookie, token) = scene.open();
        assert_eq!(scene.say(&cookie, &token, "approve", &code).status, 303, "the code was never used");
        scene.sign();
    });
}
