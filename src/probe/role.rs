//! The `probe` role: a process that runs the probes and tells what they find.
//!
//! One thread per probe, because a look may hang in the resolver or in the kernel. The main thread
//! waits for orders and watches the others: a look that is not back a second after its timeout is
//! reported as timed out, again at every interval, until it comes back; its own late result is then
//! dropped. So a probe never has more than one stuck thread. Nothing here polls: threads sleep until
//! their next run, the main thread until an order or until a look is overdue.

use crate::config::ProbeConfig;
use crate::config::keys::PROBES_MAX;
use crate::model::{Mono, ProbeCause, ProbeOutcome};
use crate::probe::teller::Teller;
use crate::probe::{Checker, Error, Fail};
use crate::sys::alarm::Alarm;
use crate::sys::ipc::{self, Channel, PACKET_MAX, Received};
use crate::sys::{clock, memory};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// From the core to the role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOrder {
    /// Begin to run these; may come more than once.
    Start(Vec<ProbeConfig>),
    /// End the process.
    Stop,
}

impl ProbeOrder {
    /// The orders that start `probes`, each small enough for a packet.
    pub fn start(probes: &[ProbeConfig]) -> Vec<ProbeOrder> {
        let (mut orders, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        for p in probes {
            let size = serde_json::to_vec(p).map_or(PACKET_MAX, |v| v.len() + 1);
            if bytes + size > PACKET_MAX - 64 && !batch.is_empty() {
                orders.push(ProbeOrder::Start(std::mem::take(&mut batch)));
                bytes = 0;
            }
            batch.push(p.clone());
            bytes += size;
        }
        orders.push(ProbeOrder::Start(batch));
        orders
    }
}

/// How long after its timeout a look is overdue.
const OVERDUE: Duration = Duration::from_secs(1);
/// Largest shift of a probe's beat, so that probes with one interval don't all run at once.
const JITTER_MAX: Duration = Duration::from_secs(1);
/// Stack of a probe's thread. An https look with a name needs 64 to 96 KiB (measured in an unoptimised
/// build); the rest is for the modules that the host's resolver loads. Only touched pages count.
const STACK_BYTES: usize = 1 << 20;

/// A look with its timeout: outcome, and microseconds taken.
type Look = Box<dyn FnMut(Duration) -> (ProbeOutcome, u64) + Send>;
/// Makes the look of a probe.
type Make = fn(&ProbeConfig) -> Look;

/// Runs until [`ProbeOrder::Stop`] or until the other end is gone. Threads in the middle of a look are
/// left behind: the process ends next.
pub fn run(channel: Channel) -> Result<(), Error> {
    memory::be_frugal();
    memory::forget_code();
    run_with(channel, |probe| {
        let mut checker = Checker::new(&probe.target);
        Box::new(move |timeout| checker.check(timeout))
    })
}

fn run_with(channel: Channel, make: Make) -> Result<(), Error> {
    let alarm = Alarm::new().map_err(Error::Alarm)?;
    let role = Arc::new(Role { channel, make, alarm, state: Mutex::new(State::default()), wake: Condvar::new() });
    let result = role.orders();
    role.lock().stop = true;
    role.wake.notify_all();
    result
}

struct Role {
    channel: Channel,
    make: Make,
    /// Set to the next moment at which something is due, by whoever changes that.
    alarm: Alarm,
    state: Mutex<State>,
    /// Told when `stop` is set.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    slots: Vec<Slot>,
}

struct Slot {
    probe: Arc<ProbeConfig>,
    phase: Phase,
    teller: Teller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for its next run.
    Waiting,
    /// Looks. At `due` it is reported by the main thread.
    Looking { since: Mono, due: Mono, overdue: bool },
    /// Its thread could not be started; tried again at `due`.
    NoThread { due: Mono },
}

impl Role {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-changed by a panic while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(self: &Arc<Role>) -> Result<(), Error> {
        let mut buf = Vec::new();
        loop {
            ipc::wait_any([self.channel.as_fd(), self.alarm.as_fd()]).map_err(Error::Order)?;
            match self.channel.try_recv::<ProbeOrder>(&mut buf).map_err(Error::Order)? {
                Received::Message(ProbeOrder::Start(probes)) => self.add(probes)?,
                Received::Message(ProbeOrder::Stop) | Received::Closed => return Ok(()),
                Received::Empty => {}
            }
            self.report_overdue(clock::mono());
        }
    }

    fn add(self: &Arc<Role>, probes: Vec<ProbeConfig>) -> Result<(), Error> {
        let mut state = self.lock();
        let count = state.slots.len() + probes.len();
        if count > PROBES_MAX {
            return Err(Error::TooMany(count));
        }
        for probe in probes {
            // Due at once: `report_overdue` starts the thread.
            let teller = Teller::new(&probe.name, probe.recoveries);
            state.slots.push(Slot { probe: Arc::new(probe), phase: Phase::NoThread { due: Mono(0) }, teller });
        }
        Ok(())
    }

    fn spawn(self: &Arc<Role>, slot: usize, probe: &Arc<ProbeConfig>) -> std::io::Result<()> {
        let (role, probe) = (self.clone(), probe.clone());
        let thread = std::thread::Builder::new().name(format!("probe-{slot}")).stack_size(STACK_BYTES);
        thread.spawn(move || role.work(slot, &probe)).map(drop)
    }

    /// One probe's thread.
    fn work(&self, slot: usize, probe: &ProbeConfig) {
        let interval = Duration::from_millis(probe.interval_ms);
        let timeout = Duration::from_millis(probe.timeout_ms);
        let mut look = (self.make)(probe);
        let mut next = clock::mono().plus(jitter(&probe.name, interval));
        loop {
            let since = clock::mono();
            let due = since.plus(timeout + OVERDUE);
            self.enter(slot, Phase::Looking { since, due, overdue: false });
            let (outcome, took_us) = catch_unwind(AssertUnwindSafe(|| look(timeout))).unwrap_or_else(|_| {
                (Fail::new(ProbeCause::CannotProbe, "the probe panicked").outcome(), micros(clock::mono().since(since)))
            });
            let phase = self.enter(slot, Phase::Waiting);
            if matches!(phase, Phase::Looking { overdue: true, .. }) {
                next = clock::mono();
            } else {
                let report = self.lock().slots[slot].teller.report(outcome, took_us, clock::mono());
                if let Some(report) = report {
                    // When the other end is gone, the main thread sees it too and ends everything.
                    let _ = self.channel.send(&report);
                }
                next = next.plus(interval).max(clock::mono());
            }
            if self.sleep_until(next) {
                return;
            }
        }
    }

    /// True when everything shall end.
    fn sleep_until(&self, until: Mono) -> bool {
        let mut state = self.lock();
        loop {
            let now = clock::mono();
            if state.stop || now >= until {
                return state.stop;
            }
            state = self.wake.wait_timeout(state, until.since(now)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Puts a slot into another phase, and the alarm right; the phase that it was in.
    fn enter(&self, slot: usize, phase: Phase) -> Phase {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.slots[slot].phase, phase);
        self.arm(&state);
        before
    }

    /// While it looks at nothing, the main thread sleeps.
    fn arm(&self, state: &State) {
        let due = state.slots.iter().filter_map(|s| match s.phase {
            Phase::Waiting => None,
            Phase::Looking { due, .. } | Phase::NoThread { due } => Some(due),
        });
        // It cannot fail: the descriptor is a timer's and the time is valid.
        let _ = self.alarm.set(due.min());
    }

    fn report_overdue(self: &Arc<Role>, now: Mono) {
        let mut reports = Vec::new();
        let mut state = self.lock();
        for (i, slot) in state.slots.iter_mut().enumerate() {
            let again = now.plus(Duration::from_millis(slot.probe.interval_ms));
            match slot.phase {
                Phase::Looking { since, due, .. } if now >= due => {
                    slot.phase = Phase::Looking { since, due: again, overdue: true };
                    let took = now.since(since);
                    let timeout = crate::config::form::duration_text(slot.probe.timeout_ms);
                    let detail = format!("the look hangs since {} s, timeout {timeout}", took.as_secs());
                    let fail = Fail::new(ProbeCause::TimedOut, detail);
                    reports.extend(slot.teller.report(fail.outcome(), micros(took), now));
                }
                Phase::NoThread { due } if now >= due => match self.spawn(i, &slot.probe) {
                    // The thread sets its phase itself; until then it counts as waiting.
                    Ok(()) => slot.phase = Phase::Waiting,
                    Err(e) => {
                        slot.phase = Phase::NoThread { due: again };
                        let fail = Fail::new(ProbeCause::CannotProbe, format!("start a thread: {e}"));
                        reports.extend(slot.teller.report(fail.outcome(), 0, now));
                    }
                },
                _ => {}
            }
        }
        self.arm(&state);
        drop(state);
        for report in reports {
            // Without waiting: when the core is that far behind, the next interval tells it again.
            let _ = self.channel.try_send(&report);
        }
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

/// The shift of a probe's beat: by its name, so that it is the same at every start.
fn jitter(name: &str, interval: Duration) -> Duration {
    // FNV-1a, 64 bit.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let most = interval.min(JITTER_MAX).as_millis() as u64;
    Duration::from_millis(hash % most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::probe_from_arg;
    use crate::model::ProbeReport;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    fn probe(name: &str, interval_ms: u64, timeout_ms: u64) -> ProbeConfig {
        let mut p = probe_from_arg(&format!("{name}=tcp:127.0.0.1:1")).expect("a probe");
        (p.interval_ms, p.timeout_ms) = (interval_ms, timeout_ms);
        p
    }

    fn next(channel: &Channel) -> ProbeReport {
        match channel.recv(&mut Vec::new(), Some(Duration::from_secs(20))).expect("recv") {
            Received::Message(m) => m,
            other => panic!("{other:?}"),
        }
    }

    static HELD: AtomicBool = AtomicBool::new(true);
    static INSIDE: AtomicU32 = AtomicU32::new(0);

    /// A look that ignores its timeout while it is held, as one in state D does.
    fn stuck(_probe: &ProbeConfig) -> Look {
        Box::new(|_| {
            INSIDE.fetch_add(1, Ordering::SeqCst);
            while HELD.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            (ProbeOutcome::Up, 1)
        })
    }

    #[test]
    fn a_stuck_look_is_reported_until_it_comes_back() {
        let (ours, theirs) = ipc::pair().expect("pair");
        let role = std::thread::spawn(move || run_with(theirs, stuck));
        ours.send(&ProbeOrder::Start(vec![probe("x", 100, 50)])).expect("send");
        for _ in 0..3 {
            let report = next(&ours);
            assert!(report.took_us >= 1_050_000, "{report:?}");
            match report.outcome {
                ProbeOutcome::Down { cause: ProbeCause::TimedOut, detail } => {
                    assert!(detail.contains("hangs"), "{detail}")
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(INSIDE.load(Ordering::SeqCst), 1, "one stuck thread, not one per interval");
        HELD.store(false, Ordering::SeqCst);
        while next(&ours).outcome != ProbeOutcome::Up {}
        ours.send(&ProbeOrder::Stop).expect("send");
        assert!(role.join().expect("no panic").is_ok());
    }

    #[test]
    fn a_panic_is_a_report() {
        let (ours, theirs) = ipc::pair().expect("pair");
        let role = std::thread::spawn(move || run_with(theirs, |_| Box::new(|_| panic!("as a test"))));
        // Printing the panic's backtrace may take a second.
        ours.send(&ProbeOrder::Start(vec![probe("x", 100, 30_000)])).expect("send");
        for _ in 0..2 {
            assert!(matches!(next(&ours).outcome, ProbeOutcome::Down { cause: ProbeCause::CannotProbe, .. }));
        }
        drop(ours);
        assert!(role.join().expect("no panic").is_ok());
    }

    #[test]
    fn each_order_fits_a_packet_and_too_many_probes_are_refused() {
        let mut big = probe("x", 100, 50);
        big.unit = Some("u".repeat(5000));
        let orders = ProbeOrder::start(&vec![big; 64]);
        assert!(orders.len() > 1);
        let mut count = 0;
        for order in &orders {
            assert!(serde_json::to_vec(order).expect("json").len() <= PACKET_MAX);
            let ProbeOrder::Start(probes) = order else { panic!("{order:?}") };
            count += probes.len();
        }
        assert_eq!(count, 64);
        let (ours, theirs) = ipc::pair().expect("pair");
        ours.send(&ProbeOrder::Start(vec![probe("x", 100, 50); PROBES_MAX + 1])).expect("send");
        assert!(matches!(run(theirs), Err(Error::TooMany(n)) if n == PROBES_MAX + 1));
    }

    #[test]
    fn the_beat_is_shifted_within_its_interval() {
        for name in ["a", "b", "web", ""] {
            assert!(jitter(name, Duration::from_millis(100)) < Duration::from_millis(100));
            assert!(jitter(name, Duration::from_secs(60)) < JITTER_MAX);
        }
    }
}
