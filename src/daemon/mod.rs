//! `watch`: start-up in order, the processes, and the loop that fits one screen.
//!
//! The core is one thread around one epoll: kernel log, messages of its children, control socket,
//! signals. It touches no file system once the loop runs; whatever may block is a child.

mod children;
mod consoles;
pub mod control;
mod core;
mod drills;
pub mod keep;
mod poller;
mod start;
pub mod status;
mod veterans;
mod workers;

pub use children::spawn_capture;
pub use consoles::sort as sort_consoles;
pub use keep::now;
pub use start::{Setup, StartError, hostname, limits, run};
