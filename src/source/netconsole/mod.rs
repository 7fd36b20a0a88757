//! Datagrams of other hosts' netconsole: frames ([`frame`]), put together where they were cut ([`fragments`]), sequence
//! numbers watched ([`window`]), each line a record of the host that sent it ([`intake`]).
//!
//! A host is the address that its datagrams come from, or the name that the config gives to it; any datagram can be
//! forged, so its text has the trust of a console's. A frame of the extended format tells the facility, and only the
//! kernel's own records count. Nothing is answered, resolved or looked up.

pub mod fragments;
pub mod frame;
pub mod intake;
mod listener;
pub mod window;

pub use intake::Intake;
pub use listener::Netconsole;
