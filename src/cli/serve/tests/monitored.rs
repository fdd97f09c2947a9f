//! Health and metrics over HTTP.

use super::*;

fn without_doors() -> ServeConfig {
    ServeConfig {
        limits: ServeLimits::default(),
        monitoring: None,
        backend: None,
        administrators: None,
        desk: None,
        tcp: None,
        vsock: None,
    }
}

#[test]
fn health_distinguishes_signing_and_administration_and_each_trouble_has_a_metric() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let module = Arc::new(Breaking::default());
    let server = Server::start(&without_doors(), vec![], Arc::clone(&module) as _).expect("it starts");
    let monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    let get = |target: &str| http(&path, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
    let (health, metrics) = (get("/health"), get("/metrics"));
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(health.ends_with("\r\n\r\nok\nsigning: ok\nadministration: ok\n"), "{health}");
    assert!(metrics.contains("\ncountersign_store_closed 0\n"), "{metrics}");
    assert!(metrics.contains("\ncountersign_serving{what=\"signing\"} 1\n"), "{metrics}");
    for trouble in Trouble::ALL {
        module.bits.store(Standing::WELL.with(trouble).bits(), Ordering::SeqCst);
        let (health, metrics) = (get("/health"), get("/metrics"));
        let status = if trouble.stops_signing() { "HTTP/1.1 503 " } else { "HTTP/1.1 200 " };
        assert!(health.starts_with(status) && !health.contains("\r\n\r\nok"), "{health}");
        for (what, stops) in
            [("signing", trouble.stops_signing()), ("administration", trouble.stops_administration())]
        {
            let says = if stops { trouble.to_string() } else { "ok".into() };
            assert!(health.contains(&format!("\n{what}: {says}\n")), "{health}");
            let shown = format!("\ncountersign_serving{{what=\"{what}\"}} {}\n", u8::from(!stops));
            assert!(metrics.contains(&shown), "{metrics}");
        }
        for other in Trouble::ALL {
            let shown = format!(
                "\ncountersign_trouble{{trouble=\"{}\"}} {}\n",
                other.label(),
                u8::from(other == trouble)
            );
            assert!(metrics.contains(&shown), "{metrics}");
        }
    }
    module.bits.store(Standing::WELL.with(Trouble::StoreClosed).bits(), Ordering::SeqCst);
    assert!(get("/metrics").contains("\ncountersign_store_closed 1\n"));
    drop(monitoring);
}

#[test]
fn the_memory_of_the_process_is_a_metric_that_follows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let server = Server::start(&without_doors(), vec![], Arc::new(Breaking::default())).expect("it starts");
    let _monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    let bytes = || -> i64 {
        let metrics = http(&path, b"GET /metrics HTTP/1.1\r\n\r\n");
        let line = metrics.lines().find_map(|line| line.strip_prefix("countersign_resident_memory_bytes "));
        line.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    };
    let before = bytes();
    // 256 MiB, far above what the other tests free meanwhile.
    let room = vec![1_u8; 256 << 20];
    let after = bytes();
    assert!(after > before + (128 << 20), "{before} {after} {}", room.len());
}

#[test]
fn acts_of_administration_freezes_and_proposals_are_metrics_by_kind_as_the_module_counts_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let server = Server::start(&without_doors(), vec![], Arc::new(Breaking::default())).expect("it starts");
    let monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    for count in [0, 1, 2] {
        let metrics = http(&path, b"GET /metrics HTTP/1.1\r\n\r\n");
        let line = format!(
            "\ncountersign_administration_total{{act=\"wallet-updated\",outcome=\"loosened\"}} {count}\n"
        );
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        for (what, frozen) in [("wallet", 2 - count), ("user", 1)] {
            let line = format!("\ncountersign_frozen{{what=\"{what}\"}} {frozen}\n");
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
        for (state, proposals) in [("waiting", count), ("due", 1)] {
            let line = format!("\ncountersign_proposals{{state=\"{state}\"}} {proposals}\n");
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
        for (state, consents) in [("open", count), ("refused", 1)] {
            let line = format!("\ncountersign_consents{{state=\"{state}\"}} {consents}\n");
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
        let line = format!("\ncountersign_consent_events_total{{event=\"consent-refused\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    drop(monitoring);
}

#[test]
fn requests_to_the_monitoring_are_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let server = Server::start(&without_doors(), vec![], Arc::new(Echo)).expect("it starts");
    let monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    let status = |request: &[u8]| {
        let answer = http(&path, request);
        answer.split(' ').nth(1).map(str::to_owned)
    };
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(33));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    for (request, expected) in [
        (&b"GET /health HTTP/1.1\r\n\r\n"[..], Some("200")),
        (b"GET /health?now HTTP/1.0\r\nA: b\r\n\r\n", Some("200")),
        (b"GET /metrics HTTP/1.1\r\n\r\n", Some("200")),
        (b"GET / HTTP/1.1\r\n\r\n", Some("404")),
        (b"GET /healthy HTTP/1.1\r\n\r\n", Some("404")),
        (b"POST /health HTTP/1.1\r\n\r\n", Some("405")),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", Some("405")),
        (b"\x16\x03\x01\x00\x05\r\n\r\n", Some("400")),
        (b"GET /health\r\n\r\n", Some("400")),
        (many.as_bytes(), Some("400")),
        (long.as_bytes(), Some("431")),
    ] {
        assert_eq!(status(request).as_deref(), expected, "{}", String::from_utf8_lossy(request));
    }
    // A client that does not complete its request is not waited for without end, and one that leaves is not
    // waited for at all.
    let silent = UnixStream::connect(&path).expect("it listens");
    (&silent).write_all(b"GET /hea").expect("it is taken");
    drop(UnixStream::connect(&path).expect("it listens"));
    assert_eq!(status(b"GET /health HTTP/1.1\r\n\r\n").as_deref(), Some("200"));
    assert_eq!((&silent).read(&mut [0; 8]).ok(), Some(0), "it was let go");
    monitoring.stopping();
    assert_eq!(status(b"GET /health HTTP/1.1\r\n\r\n").as_deref(), Some("503"));
    drop(monitoring);
    assert!(!path.exists());
}
