//! Start-up, in order: name the host, take the control socket, learn from the tail role where the
//! last run stopped reading, open the kernel log there, listen for netconsole, warm up, lock memory, say READY, loop.

use crate::capture::registry;
use crate::config::{Config, RulesConfig};
use crate::daemon::children::Helper;
use crate::daemon::control::{self, Control};
use crate::daemon::core::{Core, Parts};
use crate::daemon::poller::{Poller, Token};
use crate::detect::Detector;
use crate::host::Root;
use crate::incident::Identity;
use crate::model::{BootId, Origin, Record};
use crate::source::{Cursor, KernelLog, Netconsole};
use crate::source::{TailMessage, TailOrder};
use crate::store;
use crate::sys::capability::{self, Capability};
use crate::sys::ipc::Received;
use crate::sys::notify::Notify;
use crate::sys::{clock, memory};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// How long the start waits for the tail role to read its state.
const STATE_WAIT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Setup {
    pub config: Config,
    pub version: &'static str,
}

/// Why `watch` cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Control(#[from] control::Error),
    #[error(transparent)]
    Rules(#[from] crate::detect::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// Runs `watch` until SIGTERM or SIGINT.
pub fn run(setup: Setup) -> Result<(), StartError> {
    memory::be_frugal();
    let config = setup.config;
    let identity = identity(&config, setup.version);
    let detector = Detector::new(&config.rules)?;
    let control = Control::bind(&config.general.control.clone().unwrap_or_else(control::default_path))?;
    let mut poller = Poller::new().map_err(|e| StartError::System("make an epoll", e))?;
    let signals = signals().map_err(|e| StartError::System("catch signals", e))?;
    let state_file = store::candidates(&config.store, None).into_iter().next().unwrap_or_default().join("state.json");

    let mut tail = Helper::new("tail", Token::Tail);
    let (cursor, notices) = start_tail(&mut tail, &mut poller, &config, &state_file);
    let kernel = open_kernel_log(&config, &identity, cursor);
    let netconsole = open_netconsole(&config);
    let add = |poller: &mut Poller| {
        poller.add(&control, Token::Control)?;
        poller.add(&signals, Token::Signal)?;
        if let Ok((log, _)) = &kernel
            && let Some(fd) = log.fd()
        {
            poller.add(fd, Token::Kernel)?;
        }
        if let Some(Ok(netconsole)) = &netconsole {
            poller.add(netconsole.as_fd(), Token::Netconsole)?;
        }
        Ok(())
    };
    add(&mut poller).map_err(|e| StartError::System("set up the epoll", e))?;
    let core_rules = config.rules.clone();
    let notify = Notify::from_env().map_err(|e| StartError::System("reach the service manager", e))?;

    let (kernel, kernel_notices) = match kernel {
        Ok((log, notices)) => (Ok(log), notices),
        Err(e) => (Err(e.clone()), vec![e]),
    };
    // What does not work is told, and the rest goes on without it.
    let netconsole_notice = netconsole.as_ref().and_then(|n| n.as_ref().err().cloned());
    let mut core = Core::new(Parts {
        config,
        identity,
        state_file,
        poller,
        kernel,
        netconsole,
        detector,
        tail,
        control,
        signals,
        notify,
    });
    for n in notices.into_iter().chain(kernel_notices).chain(netconsole_notice) {
        core.say(log::Level::Warn, n);
    }
    memory::forget_code();
    rehearse(&core_rules);
    core.greet();
    if let Err(e) = memory::lock_on_fault() {
        core.say(
            log::Level::Warn,
            format!("not locked in memory ({e}); as root, or with LimitMEMLOCK raised, it would be"),
        );
    }
    core.run().map_err(|e| StartError::System("wait for events", e))?;
    core.finish();
    Ok(())
}

/// What this host calls itself in its snapshots.
pub fn hostname(config: &Config) -> String {
    let read = || Root::real().read("/proc/sys/kernel/hostname", 256).ok().map(|c| c.text().trim().to_owned());
    config.general.host.clone().or_else(read).filter(|h| !h.is_empty()).unwrap_or_else(|| "localhost".into())
}

/// Reads a report once, with a detector of its own, so that the code and the constants for it are in memory before the
/// lock: on the day they may be on a disk that does not answer.
fn rehearse(rules: &RulesConfig) {
    const REPORT: &str = include_str!("../../fixtures/detect/oops_code.hit.log");
    let Ok(mut detector) = Detector::new(rules) else { return };
    let (origin, host): (Arc<str>, Arc<str>) = ("rehearsal".into(), "rehearsal".into());
    let now = clock::mono();
    let mut signals = Vec::new();
    for line in REPORT.lines() {
        detector.feed(&Record::plain(Origin::Replay(Arc::clone(&origin)), Arc::clone(&host), line), now, &mut signals);
    }
    detector.finish(&mut signals);
    drop((signals, detector));
    memory::trim();
}

fn identity(config: &Config, version: &str) -> Identity {
    let root = Root::real();
    let read = |path: &str| root.read(path, 256).ok().map(|c| c.text().trim().to_owned()).filter(|t| !t.is_empty());
    Identity {
        host: hostname(config),
        boot_id: read("/proc/sys/kernel/random/boot_id").map(BootId),
        kernel: read("/proc/sys/kernel/osrelease"),
        version: version.to_owned(),
        limits: limits(),
        drill: false,
    }
}

/// What cannot be seen for want of privilege: a sentence for each, none as root.
pub fn limits() -> Vec<String> {
    let held = capability::effective().unwrap_or_default();
    let mut lacks: Vec<Capability> = registry::ALL.iter().flat_map(|s| s.capabilities).copied().collect();
    lacks.sort();
    lacks.dedup();
    lacks.retain(|c| !held.contains(c));
    if lacks.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = lacks.iter().map(|c| c.name()).collect();
    let names = names.join(", ");
    vec![format!("runs without {names}: descriptors, kernel stacks and logs of others are seen in part or not at all")]
}

/// SIGTERM and SIGINT as bytes on a socket.
fn signals() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}

/// Starts the tail role and waits a moment for what it knows of the last run.
fn start_tail(
    tail: &mut Helper,
    poller: &mut Poller,
    config: &Config,
    state_file: &std::path::Path,
) -> (Option<Cursor>, Vec<String>) {
    let mut notices = Vec::new();
    let start = TailOrder::Start { consoles: config.consoles.clone(), aside: true, state_file: state_file.to_owned() };
    if let Err(e) = tail.ensure(clock::mono(), poller, &[start]) {
        notices.push(format!("start the tail role: {e}"));
        return (None, notices);
    }
    let until = clock::mono().plus(STATE_WAIT);
    let mut buf = Vec::new();
    while let Some(channel) = tail.channel() {
        let left = until.since(clock::mono());
        match channel.recv::<TailMessage>(&mut buf, Some(left)) {
            Ok(Received::Message(TailMessage::Ready { cursor })) => return (cursor, notices),
            Ok(Received::Message(TailMessage::Notice(text))) => notices.push(text),
            Ok(Received::Message(_)) => {}
            Ok(Received::Empty) if !left.is_zero() => {}
            Ok(Received::Empty | Received::Closed) | Err(_) => break,
        }
    }
    notices.push("the tail role did not say where the last run stopped; the kernel log is read from its start".into());
    (None, notices)
}

fn open_kernel_log(
    config: &Config,
    identity: &Identity,
    cursor: Option<Cursor>,
) -> Result<(KernelLog, Vec<String>), String> {
    if !config.kmsg.enabled {
        return Err("not followed (kmsg.enabled = false)".into());
    }
    KernelLog::open(identity.host.as_str().into(), cursor).map_err(|e| format!("the kernel log cannot be read: {e}"))
}

fn open_netconsole(config: &Config) -> Option<Result<Netconsole, String>> {
    let address = config.netconsole.listen?;
    let opened = Netconsole::open(address, &config.netconsole);
    Some(opened.map_err(|e| format!("listen for netconsole at {address}: {e}")))
}
