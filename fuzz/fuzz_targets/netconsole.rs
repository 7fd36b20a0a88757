//! Datagrams of several senders → frames, fragments put together → records → reports.
//!
//! The input is datagrams divided by 0xff. The first byte of each says who sends it (low three bits, 7 is another one each time) and how much later than the one before (the rest, in eighths of a second).

#![no_main]

use lastgasp::model::{Mono, Wall};
use lastgasp::source::lines::LINE_MAX;
use lastgasp::source::netconsole::Intake;
use lastgasp::source::netconsole::fragments::BYTES_MAX;
use lastgasp::source::netconsole::intake::{LINES_PER_DATAGRAM_MAX, SENDERS_MAX};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|data: &[u8]| {
    lastgasp_fuzz::detect(|detector, host| {
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        // One of them twice: two network cards.
        let name = |n: u8| (address(n), format!("{host}-{}", n / 2).into());
        let mut intake = Intake::new((0..7).map(name).collect());
        let (mut records, mut now) = (Vec::new(), Mono(0));
        for (n, datagram) in data.split(|b| *b == 0xff).enumerate() {
            let Some((head, bytes)) = datagram.split_first() else { continue };
            now = Mono(now.0 + u64::from(head >> 3) * 125_000_000);
            // Forged addresses, one after the other.
            let from = if head & 7 == 7 { IpAddr::from((n as u32).to_be_bytes()) } else { address(head & 7) };
            intake.datagram(from, bytes, now, Wall(0), &mut records);
            // Its own lines, and what it pushed out: unfinished lines of a few senders, a few torn records.
            assert!(records.len() <= 4 * LINES_PER_DATAGRAM_MAX, "{} records of one datagram", records.len());
            if intake.next_due().is_some_and(|due| due <= now) {
                intake.tick(now, Wall(0), &mut records);
                assert!(intake.next_due().is_none_or(|due| due > now), "what was due is done");
            }
            assert!(intake.senders() <= SENDERS_MAX);
            assert!(intake.held_bytes() <= BYTES_MAX + intake.senders() * LINE_MAX);
            for record in records.drain(..) {
                assert!(record.text.len() <= LINE_MAX && record.facility.is_none_or(|f| f == 0));
                detector.feed(&record, now);
            }
            detector.tick(now);
        }
        intake.losses();
        intake.tick(Mono(u64::MAX), Wall(0), &mut records);
        assert_eq!((intake.held_bytes(), intake.next_due()), (0, None));
    });
});
