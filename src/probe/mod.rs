//! (being built)
use crate::config::ProbeConfig;
use crate::model::*;
use std::sync::Arc;
#[derive(Debug)]
pub struct Hysteresis;
pub struct ProbeState;
impl Hysteresis {
    pub fn new(_: &ProbeConfig, _: Arc<str>) -> Hysteresis {
        Hysteresis
    }
    pub fn report(&mut self, _: &ProbeReport, _: Wall, _: &mut u64) -> Vec<Signal> {
        vec![]
    }
    pub fn overdue(&mut self, _: Wall) {}
    pub fn state(&self) -> ProbeState {
        ProbeState
    }
}
pub mod role {
    use crate::config::ProbeConfig;
    use serde::*;
    #[derive(Serialize, Deserialize)]
    pub enum ProbeOrder {
        Start(Vec<ProbeConfig>),
        Stop,
    }
    pub fn run(_: crate::sys::ipc::Channel) -> Result<(), std::io::Error> {
        Ok(())
    }
}
