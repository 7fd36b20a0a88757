//! Probes against real sockets, processes and files of this machine; nothing leaves it.

use lastgasp::config::{ProbeConfig, ProbeTarget, parse_target, probe_from_arg};
use lastgasp::model::{ProbeCause, ProbeOutcome, ProbeReport, Signal, Wall};
use lastgasp::probe::{Hysteresis, ProbeOrder, ProbeState, check, role};
use lastgasp::sys::ipc::{self, Channel, Received};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, UnixAddr, bind, getsockname, listen, setsockopt, socket,
    sockopt,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine.
const LONG: Duration = Duration::from_secs(20);
/// For what must run into it.
const SHORT: Duration = Duration::from_millis(300);

fn look(target: &str, timeout: Duration) -> ProbeOutcome {
    check(&parse_target(target).expect(target), timeout).0
}

#[track_caller]
fn down(outcome: ProbeOutcome, cause: ProbeCause, words: &str) {
    match outcome {
        ProbeOutcome::Down { cause: c, detail } => {
            assert!(c == cause && detail.contains(words), "{c:?}: {detail}; want {cause:?}: {words}");
        }
        ProbeOutcome::Up => panic!("up; want {cause:?}"),
    }
}

/// Runs into `timeout` and not much longer.
#[track_caller]
fn times_out(target: &ProbeTarget) {
    let start = Instant::now();
    let (outcome, took_us) = check(target, SHORT);
    let took = start.elapsed();
    down(outcome, ProbeCause::TimedOut, "");
    assert!(took >= SHORT - Duration::from_millis(5) && took < Duration::from_secs(5), "{took:?}");
    assert!(took_us >= 290_000, "{took_us}");
}

/// A bound TCP socket that does not listen: its port is taken, and refuses.
fn bound() -> (OwnedFd, u16) {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("socket");
    bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("bind");
    let port = getsockname::<SockaddrIn>(fd.as_raw_fd()).expect("getsockname").port();
    (fd, port)
}

/// A server that answers each connection with `serve`, after reading the request's head.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            serve(stream);
        }
    });
    port
}

/// A server that says the same to everybody.
fn says(answer: &'static str) -> u16 {
    server(move |mut s| {
        let _ = s.write_all(answer.as_bytes());
    })
}

fn http(port: u16, status: &[u16], body: Option<&str>) -> ProbeTarget {
    ProbeTarget::Http {
        url: format!("http://127.0.0.1:{port}/health"),
        status: status.to_vec(),
        body: body.map(str::to_owned),
        verify: true,
    }
}

#[test]
fn tcp_up_and_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    assert_eq!(look(&format!("tcp:127.0.0.1:{port}"), LONG), ProbeOutcome::Up);
    // Both addresses of the name are tried, if it has two.
    assert_eq!(look(&format!("tcp:localhost:{port}"), LONG), ProbeOutcome::Up);
    let (_fd, port) = bound();
    down(look(&format!("tcp:127.0.0.1:{port}"), LONG), ProbeCause::Refused, &format!("connect to 127.0.0.1:{port}"));
    match TcpListener::bind("[::1]:0") {
        Ok(v6) => {
            let port = v6.local_addr().expect("address").port();
            assert_eq!(look(&format!("tcp:[::1]:{port}"), LONG), ProbeOutcome::Up);
        }
        Err(e) => println!("skipped: IPv6: {e}"),
    }
}

#[test]
fn tcp_with_a_full_accept_queue_times_out() {
    let (fd, port) = bound();
    listen(&fd, Backlog::new(0).expect("a backlog")).expect("listen");
    // With a backlog of 0 the kernel queues one connection and drops further handshakes.
    let address = format!("127.0.0.1:{port}").parse().expect("an address");
    let queued: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100))).collect();
    assert!(queued.iter().any(|c| c.is_err()), "the queue is full");
    times_out(&parse_target(&format!("tcp:127.0.0.1:{port}")).expect("a target"));
}

#[test]
fn a_name_that_does_not_exist_is_told() {
    let start = Instant::now();
    match look("tcp:nonexistent.invalid:80", LONG) {
        ProbeOutcome::Down { cause: ProbeCause::NameNotResolved, detail } => {
            assert!(detail.contains("nonexistent.invalid"), "{detail}");
        }
        // Without a name server, the resolver's own timeout passes.
        ProbeOutcome::Down { cause: ProbeCause::TimedOut, .. } if start.elapsed() >= LONG => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn http_status_and_body_are_compared() {
    let ok = says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    for target in [http(ok, &[], None), http(ok, &[200, 201], Some("^hel+o$"))] {
        assert_eq!(check(&target, LONG).0, ProbeOutcome::Up, "{target:?}");
    }
    down(check(&http(ok, &[204], None), LONG).0, ProbeCause::WrongStatus, "status 200, want 204");
    down(check(&http(ok, &[], Some("bye")), LONG).0, ProbeCause::WrongBody, "5 bytes of body do not match \"bye\"");
    let chunked = says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    assert_eq!(check(&http(chunked, &[], Some("^hello$")), LONG).0, ProbeOutcome::Up);
    let sick = says("HTTP/1.1 503 Service Unavailable\r\n\r\nhello");
    down(check(&http(sick, &[], Some("hello")), LONG).0, ProbeCause::WrongStatus, "status 503, want 200 to 399");
    let moved = says("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n");
    assert_eq!(check(&http(moved, &[], None), LONG).0, ProbeOutcome::Up, "a redirect is an answer, and not followed");
    let (_fd, port) = bound();
    down(check(&http(port, &[], None), LONG).0, ProbeCause::Refused, "refused");
}

#[test]
fn http_sends_one_well_formed_request() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let seen = std::thread::spawn(move || {
        let (mut s, _) = listener.accept().expect("accept");
        let mut text = vec![0; 4096];
        let n = s.read(&mut text).expect("read");
        s.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("write");
        String::from_utf8_lossy(&text[..n]).into_owned()
    });
    assert_eq!(look(&format!("http://localhost:{port}?x=1#top"), LONG), ProbeOutcome::Up);
    let want = format!(
        "GET /?x=1 HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: lastgasp/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(seen.join().expect("the server"), want);
}

#[test]
fn http_that_cuts_the_connection_or_speaks_something_else() {
    let reset = server(|s| {
        setsockopt(&s, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).expect("SO_LINGER");
    });
    down(check(&http(reset, &[], None), LONG).0, ProbeCause::Reset, "");
    let closed = server(drop);
    down(check(&http(closed, &[], None), LONG).0, ProbeCause::Reset, "without an answer");
    let short = says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    down(check(&http(short, &[], Some("x")), LONG).0, ProbeCause::Reset, "5 of 100 bytes");
    let ssh = says("SSH-2.0-OpenSSH_9.2\r\n\u{1b}[2J");
    down(check(&http(ssh, &[], None), LONG).0, ProbeCause::BadAnswer, "SSH-2.0-OpenSSH_9.2");
}

#[test]
fn http_that_hangs_or_drips_hits_the_one_deadline() {
    // Never answers: the thread keeps the connection until the client goes away.
    let silent = server(|mut s| while matches!(s.read(&mut [0; 64]), Ok(n) if n > 0) {});
    times_out(&http(silent, &[], None));
    // A byte every 20 ms: each read succeeds, the whole never does.
    let drip = |head: &'static str| {
        server(move |mut s| {
            let _ = s.write_all(head.as_bytes());
            while s.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    times_out(&http(drip("HTTP/1.1 200 OK\r\nX-Slow: "), &[], None));
    times_out(&http(drip("HTTP/1.1 200 OK\r\n\r\n"), &[], Some("y")));
    // Without a pattern, the body is not waited for.
    assert_eq!(check(&http(drip("HTTP/1.1 200 OK\r\n\r\n"), &[], None), LONG).0, ProbeOutcome::Up);
}

#[test]
fn https_without_tls_behind_it() {
    let https = |port: u16| parse_target(&format!("https://127.0.0.1:{port}/")).expect("a target");
    let plain = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = plain.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for s in plain.incoming().flatten() {
            let mut s: TcpStream = s;
            let _ = s.read(&mut [0; 512]);
            let _ = s.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let unverified =
        ProbeTarget::Http { url: format!("https://127.0.0.1:{port}/"), status: Vec::new(), body: None, verify: false };
    down(check(&unverified, LONG).0, ProbeCause::Tls, "does not speak TLS");
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind");
    let silent_port = silent.local_addr().expect("address").port();
    let ProbeTarget::Http { url, .. } = https(silent_port) else { panic!("an http target") };
    times_out(&ProbeTarget::Http { url, status: Vec::new(), body: None, verify: false });
}

/// A certificate for 127.0.0.1 signed by itself; `None` and a line where openssl is absent.
fn self_signed(dir: &Path) -> Option<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let (key, cert) = (dir.join("key.pem"), dir.join("cert.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output();
    match made {
        Ok(out) if out.status.success() => {}
        other => {
            println!("skipped: no openssl to make a certificate with: {other:?}");
            return None;
        }
    }
    let certs = CertificateDer::pem_file_iter(&cert).expect("the certificate").map(|c| c.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_file(&key).expect("the key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Some(builder.expect("TLS versions").with_no_client_auth().with_single_cert(certs, key).expect("a server config"))
}

#[test]
fn https_with_a_certificate_that_nobody_vouches_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(config) = self_signed(dir.path()) else { return };
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut head = [0; 1024];
            if matches!(tls.read(&mut head), Ok(n) if n > 0) {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nsecret hello");
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    let target = |verify, body: &str| ProbeTarget::Http {
        url: format!("https://127.0.0.1:{port}/"),
        status: vec![200],
        body: Some(body.to_owned()),
        verify,
    };
    assert_eq!(check(&target(false, "secret hello$"), LONG).0, ProbeOutcome::Up);
    down(check(&target(false, "bye"), LONG).0, ProbeCause::WrongBody, "12 bytes");
    match check(&target(true, "hello"), LONG).0 {
        ProbeOutcome::Down { cause: ProbeCause::Tls, detail } => assert!(detail.contains("certificate"), "{detail}"),
        ProbeOutcome::Down { cause: ProbeCause::CannotProbe, detail } if detail.contains("authorities") => {
            println!("skipped: {detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn unix_sockets() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    let look = |name: &str| look(&format!("unix:{}", at(name).display()), LONG);
    down(look("absent"), ProbeCause::NotFound, "absent");
    let _stream = UnixListener::bind(at("stream")).expect("bind");
    let _datagram = UnixDatagram::bind(at("datagram")).expect("bind");
    assert_eq!((look("stream"), look("datagram")), (ProbeOutcome::Up, ProbeOutcome::Up));
    drop(UnixListener::bind(at("left behind")).expect("bind"));
    down(look("left behind"), ProbeCause::Refused, "left behind");
    std::fs::write(at("file"), "").expect("write");
    down(look("file"), ProbeCause::Refused, "file");

    let packets = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("socket");
    let name = format!("lastgasp-test-{}", std::process::id());
    bind(packets.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).expect("a name")).expect("bind");
    listen(&packets, Backlog::new(4).expect("a backlog")).expect("listen");
    let abstract_name = format!("unix:@{name}");
    assert_eq!(check(&parse_target(&abstract_name).expect("a target"), LONG).0, ProbeOutcome::Up);

    let full = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("socket");
    bind(full.as_raw_fd(), &UnixAddr::new(&at("full")).expect("a path")).expect("bind");
    listen(&full, Backlog::new(0).expect("a backlog")).expect("listen");
    let _queued = UnixStream::connect(at("full")).expect("one fits");
    times_out(&ProbeTarget::Unix { path: at("full") });
}

#[test]
fn processes_and_pidfiles_of_this_machine() {
    let comm = std::fs::read_to_string("/proc/self/comm").expect("comm");
    let process = |name: &str, min| ProbeTarget::Process { name: name.to_owned(), min };
    // Of the process that runs the tests, not of the thread.
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap_or(comm);
    assert_eq!(check(&process(comm.trim_end(), 1), LONG).0, ProbeOutcome::Up);
    down(check(&process("no-such-process-here", 2), LONG).0, ProbeCause::TooFew, "0 processes");

    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("x.pid");
    let pidfile = ProbeTarget::Pidfile { path: path.clone() };
    down(check(&pidfile, LONG).0, ProbeCause::NotFound, "x.pid");
    std::fs::write(&path, format!("{}\n", std::process::id())).expect("write");
    assert_eq!(check(&pidfile, LONG).0, ProbeOutcome::Up);
    let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
    std::fs::write(&path, child.id().to_string()).expect("write");
    assert_eq!(check(&pidfile, LONG).0, ProbeOutcome::Up);
    child.kill().expect("kill");
    // Not reaped yet: its entry is there, the process is not.
    let gone = Instant::now() + LONG;
    while check(&pidfile, LONG).0 == ProbeOutcome::Up && Instant::now() < gone {
        std::thread::yield_now();
    }
    down(check(&pidfile, LONG).0, ProbeCause::NotFound, "zombie");
    child.wait().expect("wait");
    down(check(&pidfile, LONG).0, ProbeCause::NotFound, "there is no process");
    std::fs::write(&path, "nonsense").expect("write");
    down(check(&pidfile, LONG).0, ProbeCause::BadAnswer, "nonsense");
}

#[test]
fn units_with_and_without_systemd() {
    let unit = |name: &str| look(&format!("unit:{name}"), LONG);
    if Path::new("/run/systemd/system").is_dir() {
        assert_eq!(unit("init.scope"), ProbeOutcome::Up);
        down(unit("lastgasp-no-such.service"), ProbeCause::NotFound, "there is no unit");
    } else {
        println!("systemd does not run here: only the answer to that is tested");
        down(unit("init.scope"), ProbeCause::CannotProbe, "systemctl");
    }
}

fn probe(name: &str, target: &str) -> ProbeConfig {
    let mut p = probe_from_arg(&format!("{name}={target}")).expect("a probe");
    (p.interval_ms, p.timeout_ms) = (100, 50);
    p
}

fn next(channel: &Channel) -> ProbeReport {
    match channel.recv(&mut Vec::new(), Some(LONG)).expect("recv") {
        Received::Message(m) => m,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_role_reports_a_service_that_goes_down_and_comes_back() {
    let (fd, port) = bound();
    listen(&fd, Backlog::new(100).expect("a backlog")).expect("listen");
    let mut web = probe("web", &format!("tcp:127.0.0.1:{port}"));
    web.timeout_ms = 30_000;
    let (ours, theirs) = ipc::pair().expect("pair");
    let role = std::thread::spawn(move || role::run(theirs));
    for order in ProbeOrder::start(std::slice::from_ref(&web)) {
        ours.send(&order).expect("send");
    }
    let mut hysteresis = Hysteresis::new(&web, "here".into());
    let (mut number, mut clock) = (0, 0);
    // Feeds reports until the state machine says something.
    let mut until = |hysteresis: &mut Hysteresis, state: ProbeState| -> Vec<Signal> {
        for _ in 0..200 {
            clock += 100_000;
            let report = next(&ours);
            assert_eq!(report.probe, "web");
            let said = hysteresis.report(&report, Wall(clock), &mut number);
            if !said.is_empty() || (state == ProbeState::Up && hysteresis.state(Wall(clock)).state == state) {
                return said;
            }
        }
        panic!("nothing in 200 reports");
    };
    assert!(until(&mut hysteresis, ProbeState::Up).is_empty());
    drop(fd);
    match until(&mut hysteresis, ProbeState::Down).as_slice() {
        [Signal::Opened(e), Signal::Closed(_)] => assert_eq!(e.title, "service web down: connection refused"),
        other => panic!("{other:?}"),
    }
    // The same port, again.
    let again = TcpListener::bind(("127.0.0.1", port)).expect("bind");
    match until(&mut hysteresis, ProbeState::Down).as_slice() {
        [Signal::Recovered(e)] => assert!(e.details.contains_key("downtime_s"), "{e:?}"),
        other => panic!("{other:?}"),
    }
    drop(again);
    ours.send(&ProbeOrder::Stop).expect("send");
    assert!(role.join().expect("no panic").is_ok());
}

#[test]
fn the_role_runs_many_probes_beside_a_silent_one_and_ends_with_its_parent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let up = format!("tcp:{}", listener.local_addr().expect("address"));
    let silent = server(|mut s| while matches!(s.read(&mut [0; 64]), Ok(n) if n > 0) {});
    let mut probes: Vec<ProbeConfig> = (0..20).map(|i| probe(&format!("up{i}"), &up)).collect();
    probes.push(probe("silent", &format!("http://127.0.0.1:{silent}/")));
    let (ours, theirs) = ipc::pair().expect("pair");
    let role = std::thread::spawn(move || role::run(theirs));
    for order in ProbeOrder::start(&probes) {
        ours.send(&order).expect("send");
    }
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    while seen.len() < 21 || seen.values().any(|n| *n < 3) {
        let report = next(&ours);
        match (report.probe.as_str(), &report.outcome) {
            ("silent", ProbeOutcome::Down { cause: ProbeCause::TimedOut, .. }) => {}
            // A loaded machine may be slower than 50 ms.
            (_, ProbeOutcome::Up | ProbeOutcome::Down { cause: ProbeCause::TimedOut, .. }) => {}
            other => panic!("{other:?}"),
        }
        *seen.entry(report.probe).or_default() += 1;
    }
    drop(ours);
    assert!(role.join().expect("no panic").is_ok());
}
