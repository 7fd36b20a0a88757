//! Resource limits of any process (prlimit(2)).

use crate::model::Pid;
use std::io;

/// Soft and hard; `None`: unlimited.
pub type Rlimit = (Option<u64>, Option<u64>);

/// The limits that services run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimits {
    pub open_files: Rlimit,
    pub processes: Rlimit,
    pub core_bytes: Rlimit,
    pub locked_bytes: Rlimit,
    pub address_bytes: Rlimit,
}

/// Errors: `EPERM` for a process of another user without CAP_SYS_RESOURCE, `ESRCH` when it is gone.
pub fn of(pid: Pid) -> io::Result<Rlimits> {
    Ok(Rlimits {
        open_files: get(pid, libc::RLIMIT_NOFILE)?,
        processes: get(pid, libc::RLIMIT_NPROC)?,
        core_bytes: get(pid, libc::RLIMIT_CORE)?,
        locked_bytes: get(pid, libc::RLIMIT_MEMLOCK)?,
        address_bytes: get(pid, libc::RLIMIT_AS)?,
    })
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn get(pid: Pid, resource: Resource) -> io::Result<Rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: no new limit is given; the kernel writes one rlimit into `limit`, which is one.
    let rc = unsafe { libc::prlimit(pid.0, resource, std::ptr::null(), &mut limit) };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    let known = |n: libc::rlim_t| (n != libc::RLIM_INFINITY).then_some(n);
    Ok((known(limit.rlim_cur), known(limit.rlim_max)))
}
