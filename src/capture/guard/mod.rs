//! Work that may hang in the kernel, on threads that can be left behind: single calls ([`Guard`]), long
//! lists of items ([`Sweep`]), and where a thread that was left behind is held ([`Held`]).

mod call;
mod held;
mod reserve;
mod sweep;
mod wary;

pub use call::{Guard, Stuck, Unanswered};
pub use held::{Held, where_held};
pub use reserve::{prepare, start};
pub use sweep::{Beat, INSIDE_EXECVE, PER_PROCESS, Stuck as StuckItem, Sweep, Swept};
pub use wary::{Doubt, Outcome, Wary};
