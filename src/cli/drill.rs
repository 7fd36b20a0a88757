//! `lastgasp drill`: proves the deployed chain. Two failures are staged, a marked kernel oops in a
//! console log and a service that stops answering; both snapshots are awaited and verified.
//!
//! Against the running watch if there is one, else against one of its own on a throw-away store.

use crate::capture::protocol::Published;
use crate::cli::common::config_of;
use crate::cli::{Exit, Format, Global};
use crate::daemon::control::{Connection, Reply, Request, default_path};
use crate::model::Mono;
use crate::sys::{clock, random};
use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A watch of our own is ready within this time, or something is wrong.
const START_MAX: Duration = Duration::from_secs(30);
/// A staged failure is captured within this time (the disk benchmark included).
const CAPTURE_MAX: Duration = Duration::from_secs(90);

/// A snapshot is some ten MiB unpacked; its collectors' caps add up to less than this.
const UNPACKED_MAX: u64 = 1 << 30;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Use a watch of its own even if one is running
    #[arg(long)]
    pub own: bool,
    /// Keep the throw-away store of its own watch, and say where it is
    #[arg(long)]
    pub keep: bool,
    /// Control socket of the running watch, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// What one staged failure came to.
#[derive(Debug, Serialize)]
struct Staged {
    failure: &'static str,
    /// From the staging to the published archive, in milliseconds.
    published_ms: u64,
    verified: bool,
    problems: Vec<String>,
    #[serde(flatten)]
    snapshot: Published,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let config = config_of(global)?;
    let control = args.control.clone().or(config.general.control).unwrap_or_else(default_path);
    let running = match args.own {
        true => None,
        false => Connection::open(&control).with_context(|| format!("connect to {}", control.display()))?,
    };
    // `own` is dropped, and its watch ended, after the drill.
    let (mut connection, dir, own) = match running {
        Some(c) => {
            let dir = control.parent().map(Path::to_path_buf).context("the control socket has no directory")?;
            (c, dir, None)
        }
        None => {
            let own = OwnWatch::start(args.keep)?;
            let control = own.dir.join("control.sock");
            let c = Connection::open(&control)?.context("the watch of our own does not answer")?;
            (c, own.dir.clone(), Some(own))
        }
    };
    say(
        global,
        &match &own {
            None => format!("fire drill against the running watch ({})", control.display()),
            Some(own) => format!("no watch is running: fire drill with one of our own in {}", own.dir.display()),
        },
    );
    let staged = drill(global, &mut connection, &dir)?;
    let good = staged.iter().all(|s| s.verified);
    print(global, &staged, good)?;
    if let Some(own) = &own
        && args.keep
    {
        say(global, &format!("kept: lastgasp --store {} list", own.dir.join("store").display()));
    }
    Ok(if good { Exit::Success } else { Exit::Nothing })
}

/// Progress is for people; JSON is the result alone.
fn say(global: &Global, text: &str) {
    if global.format == Format::Text {
        println!("{}", crate::report::safe(text));
    }
}

fn drill(global: &Global, connection: &mut Connection, dir: &Path) -> Result<Vec<Staged>> {
    let name = format!("drill-{}", random::short_id());
    let console = Console::create(dir.join(format!("{name}.log")))?;
    let service = Service::start().context("start a service to probe")?;
    let probe = format!("http://127.0.0.1:{}/", service.port);
    connection.send(&Request::Drill { name, console: console.0.clone(), probe }).context("order the drill")?;
    match connection.receive(START_MAX).context("await the drill's readiness")? {
        Reply::DrillReady => {}
        Reply::Error(e) => bail!("the watch refuses: {e}"),
        other => bail!("the watch answers something else: {other:?}"),
    }
    // The probe must have seen it alive, or its death is no news.
    service.await_probe().context("the drill's service was never probed")?;

    say(global, "staging a kernel oops in a console log");
    let at = clock::mono();
    console.stage_oops()?;
    let oops = captured(connection, "kernel oops", at)?;
    say(global, "staging a service that stops answering");
    let at = clock::mono();
    service.stop_answering();
    let down = captured(connection, "dead service", at)?;
    Ok(vec![oops, down])
}

fn captured(connection: &mut Connection, failure: &'static str, since: Mono) -> Result<Staged> {
    let snapshot =
        match connection.receive(CAPTURE_MAX).with_context(|| format!("await the snapshot of the {failure}"))? {
            Reply::Captured(p) => p,
            Reply::Error(e) => bail!("the watch says: {e}"),
            other => bail!("the watch answers something else: {other:?}"),
        };
    let published_ms = u64::try_from(clock::mono().since(since).as_millis()).unwrap_or(u64::MAX);
    let problems = match crate::archive::Reader::open(&snapshot.path) {
        Ok(reader) => reader.verify(UNPACKED_MAX).problems.iter().map(ToString::to_string).collect(),
        Err(e) => vec![e.to_string()],
    };
    Ok(Staged { failure, published_ms, verified: problems.is_empty(), problems, snapshot })
}

fn print(global: &Global, staged: &[Staged], good: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if global.format == Format::Json {
        crate::report::json_line(&mut out, &serde_json::json!({ "passed": good, "staged": staged }))?;
        return Ok(());
    }
    for s in staged {
        let p = &s.snapshot;
        let t0 = p.t0_durable_ms.map_or_else(|| "not confirmed".into(), |ms| format!("{ms} ms"));
        let outcomes: Vec<String> = p.outcomes.iter().map(|(k, n)| format!("{n} {}", k.replace('_', " "))).collect();
        writeln!(out, "{}: snapshot {} ({})", s.failure, p.id, p.kind)?;
        writeln!(out, "   staged to published  {} ms", s.published_ms)?;
        writeln!(out, "   order to tier 0 on the disk  {t0}; whole snapshot  {} ms", p.total_ms)?;
        writeln!(out, "   {}, collectors: {}", bytesize::ByteSize::b(p.bytes), outcomes.join(", "))?;
        writeln!(out, "   {}", if s.verified { "verified" } else { "DAMAGED" })?;
        for problem in &s.problems {
            writeln!(out, "   {}", crate::report::safe(problem))?;
        }
    }
    writeln!(out, "{}", if good { "drill passed" } else { "drill FAILED" })?;
    Ok(())
}

/// The console log in which the oops is staged; removed in the end.
struct Console(PathBuf);

impl Console {
    fn create(path: PathBuf) -> Result<Console> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.with_context(|| format!("create the drill's console log {}", path.display()))?;
        Ok(Console(path))
    }

    /// An oops as x86 kernels print it, with a function that no kernel has.
    fn stage_oops(&self) -> Result<()> {
        const OOPS: &str = "\
[  100.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010\n\
[  100.000002] #PF: supervisor read access in kernel mode\n\
[  100.000003] #PF: error_code(0x0000) - not-present page\n\
[  100.000004] PGD 0 P4D 0\n\
[  100.000005] Oops: 0000 [#1] PREEMPT SMP NOPTI\n\
[  100.000006] CPU: 0 PID: 1 Comm: fire-drill Not tainted 0.0.0-drill #1\n\
[  100.000007] RIP: 0010:lastgasp_fire_drill+0x10/0x20 [this_is_a_drill]\n\
[  100.000008] Call Trace:\n\
[  100.000009]  <TASK>\n\
[  100.000010]  lastgasp_fire_drill_caller+0x10/0x20 [this_is_a_drill]\n\
[  100.000011]  do_syscall_64+0x40/0x90\n\
[  100.000012]  </TASK>\n\
[  100.000013] ---[ end trace 0000000000000000 ]---\n";
        let mut file = OpenOptions::new().append(true).open(&self.0).context("open the drill's console log")?;
        file.write_all(OOPS.as_bytes()).context("write the drill's console log")
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(format!("{}.state", self.0.display()));
    }
}

/// An HTTP service on loopback that answers, until told not to; then it accepts and says nothing,
/// like a server whose workers all hang.
struct Service {
    port: u16,
    answering: Arc<AtomicBool>,
    probed: std::sync::mpsc::Receiver<()>,
}

impl Service {
    fn start() -> std::io::Result<Service> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let answering = Arc::new(AtomicBool::new(true));
        let (tell, probed) = std::sync::mpsc::channel();
        let answers = Arc::clone(&answering);
        // Ends with the process; it holds nothing that needs an end.
        std::thread::Builder::new().name("drill-service".into()).spawn(move || {
            let mut silent: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming().flatten() {
                if answers.load(Ordering::SeqCst) {
                    if answer(stream).is_ok() {
                        let _ = tell.send(());
                    }
                } else if silent.len() < 256 {
                    silent.push(stream);
                }
            }
        })?;
        Ok(Service { port, answering, probed })
    }

    fn await_probe(&self) -> Result<()> {
        self.probed.recv_timeout(START_MAX).map_err(|e| anyhow!("{e}"))
    }

    fn stop_answering(&self) {
        self.answering.store(false, Ordering::SeqCst);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = [0u8; 1024];
    let _ = stream.read(&mut request)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}

/// A watch of our own: own directory, own store, own control socket.
struct OwnWatch {
    dir: PathBuf,
    child: crate::sys::process::Foreground,
    keep: bool,
}

impl OwnWatch {
    fn start(keep: bool) -> Result<OwnWatch> {
        let dir = std::env::temp_dir().join(format!("lastgasp-drill-{}", random::short_id()));
        crate::sys::process::private_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let socket = dir.join("notify.sock");
        let notify = UnixDatagram::bind(&socket).context("make a socket to be notified on")?;
        notify.set_read_timeout(Some(START_MAX)).context("set up the notify socket")?;
        let args = [
            "--store".into(),
            dir.join("store").into_os_string(),
            "watch".into(),
            "--no-kernel-log".into(),
            "--control".into(),
            dir.join("control.sock").into_os_string(),
        ];
        let child = crate::sys::process::spawn_foreground(&args, &socket, &dir.join("watch.log"))
            .context("start a watch of our own")?;
        let own = OwnWatch { dir, child, keep };
        let mut message = [0u8; 256];
        loop {
            let n = notify.recv(&mut message).with_context(|| {
                let log = std::fs::read_to_string(own.dir.join("watch.log")).unwrap_or_default();
                format!("await the watch of our own; it says: {}", log.trim())
            })?;
            if message[..n].starts_with(b"READY=1") {
                return Ok(own);
            }
        }
    }
}

impl Drop for OwnWatch {
    fn drop(&mut self) {
        self.child.end(Duration::from_secs(10));
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
