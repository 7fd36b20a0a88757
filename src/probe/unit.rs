//! systemd units, through `systemctl show`: whether the unit is active.

use crate::model::{Deadline, ProbeCause};
use crate::probe::Fail;
use crate::sys::exec::{self, Ended};

/// Most bytes of systemctl's output.
const OUTPUT_MAX: usize = 4096;

/// Active, or reloading while active.
pub(crate) fn look(unit: &str, deadline: Deadline) -> Result<(), Fail> {
    let cannot = |why: String| Fail::new(ProbeCause::CannotProbe, why);
    let program = exec::find("systemctl").ok_or_else(|| cannot("systemctl is not installed".into()))?;
    let args = ["show", "-p", "LoadState,ActiveState,SubState,Result,MainPID", "--", unit];
    let out = exec::run(&program, &args, deadline, OUTPUT_MAX).map_err(|e| cannot(format!("run systemctl: {e}")))?;
    match out.ended {
        Ended::Exited(0) => judge(unit, &String::from_utf8_lossy(&out.stdout)),
        Ended::TimedOut => Err(Fail::new(ProbeCause::TimedOut, "systemctl did not answer in time")),
        Ended::Abandoned { pid } => {
            Err(Fail::new(ProbeCause::TimedOut, format!("systemctl (pid {pid}) hangs and cannot be killed")))
        }
        ended => {
            let said = String::from_utf8_lossy(&out.stderr);
            let how = match ended {
                Ended::Exited(code) => format!("exit code {code}"),
                Ended::Killed(signal) => format!("signal {signal}"),
                _ => String::new(),
            };
            let line = said.lines().next().unwrap_or_default();
            Err(cannot(if line.is_empty() { format!("systemctl: {how}") } else { format!("systemctl: {how}: {line}") }))
        }
    }
}

/// The output is one `Name=value` per line, in no certain order.
fn judge(unit: &str, text: &str) -> Result<(), Fail> {
    let get = |name: &str| {
        let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
        value.map(str::trim).filter(|v| !v.is_empty())
    };
    let Some(active) = get("ActiveState") else {
        return Err(Fail::new(ProbeCause::CannotProbe, format!("systemctl says nothing about {unit}")));
    };
    if matches!(active, "active" | "reloading" | "refreshing") {
        return Ok(());
    }
    if get("LoadState") == Some("not-found") {
        return Err(Fail::new(ProbeCause::NotFound, format!("there is no unit {unit}")));
    }
    let mut detail = format!("{unit} is {active}");
    if let Some(sub) = get("SubState") {
        detail.push_str(&format!(" ({sub})"));
    }
    if let Some(result) = get("Result").filter(|r| *r != "success") {
        detail.push_str(&format!(", result {result}"));
    }
    if let Some(pid) = get("MainPID").filter(|p| *p != "0") {
        detail.push_str(&format!(", main pid {pid}"));
    }
    Err(Fail::new(ProbeCause::UnitNotActive, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_judged() {
        let up = "Result=success\nMainPID=7\nLoadState=loaded\nActiveState=active\nSubState=running\n";
        assert_eq!(judge("a.service", up), Ok(()));
        let failed = "ActiveState=failed\nSubState=failed\nResult=exit-code\nMainPID=0\nLoadState=loaded\n";
        let fail = judge("a.service", failed).expect_err("failed");
        assert_eq!(
            (fail.cause, fail.detail.as_str()),
            (ProbeCause::UnitNotActive, "a.service is failed (failed), result exit-code")
        );
        let absent = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nMainPID=0\n";
        assert_eq!(judge("a.service", absent).expect_err("absent").cause, ProbeCause::NotFound);
        let starting = "ActiveState=activating\nSubState=auto-restart\nResult=signal\nMainPID=0\nLoadState=loaded\n";
        assert_eq!(judge("a", starting).expect_err("starting").detail, "a is activating (auto-restart), result signal");
        assert_eq!(judge("a", "").expect_err("empty").cause, ProbeCause::CannotProbe);
    }
}
