//! The configuration that support asks for first. Files known to hold keys are not in the list.

use crate::capture::{CollectError, Context, FileSpec, Sensitivity, Sink, Source, Spec, Tier, files};

/// Left out on purpose: crypttab, netplan, NetworkManager, chrony.keys, ntp/keys and machine-id hold
/// secrets; shadow and sudoers are nobody's business here.
const FILES: &[FileSpec] = &[
    FileSpec::new("/etc/hostname"),
    FileSpec::new("/etc/hosts"),
    FileSpec::new("/etc/resolv.conf"),
    FileSpec::new("/etc/nsswitch.conf"),
    FileSpec::new("/etc/host.conf"),
    FileSpec::new("/etc/hosts.allow"),
    FileSpec::new("/etc/hosts.deny"),
    FileSpec::new("/etc/fstab"),
    FileSpec::new("/etc/os-release"),
    FileSpec::new("/etc/*-release"),
    FileSpec::new("/etc/*_version"),
    FileSpec::new("/etc/inittab"),
    FileSpec::new("/etc/sysctl.conf"),
    FileSpec::new("/etc/sysctl.d/*"),
    FileSpec::new("/usr/lib/sysctl.d/*"),
    FileSpec::new("/etc/security/limits.conf"),
    FileSpec::new("/etc/security/limits.d/*"),
    FileSpec::new("/etc/modprobe.d/*"),
    FileSpec::new("/etc/modules"),
    FileSpec::new("/etc/modules-load.d/*"),
    FileSpec::new("/etc/default/grub"),
    FileSpec::new("/etc/default/grub.d/*"),
    FileSpec::new("/etc/default/kdump-tools"),
    FileSpec::new("/etc/sysconfig/kdump"),
    FileSpec::new("/etc/kdump.conf"),
    FileSpec::new("/etc/selinux/config"),
    FileSpec::new("/etc/systemd/system.conf"),
    FileSpec::new("/etc/systemd/system.conf.d/*"),
    FileSpec::new("/etc/systemd/journald.conf"),
    FileSpec::new("/etc/systemd/journald.conf.d/*"),
    FileSpec::new("/etc/systemd/logind.conf"),
    FileSpec::new("/etc/systemd/logind.conf.d/*"),
    FileSpec::new("/etc/systemd/pstore.conf"),
    FileSpec::new("/etc/systemd/timesyncd.conf"),
    FileSpec::new("/etc/systemd/timesyncd.conf.d/*"),
    FileSpec::new("/etc/systemd/resolved.conf"),
    FileSpec::new("/etc/chrony.conf"),
    FileSpec::new("/etc/chrony/chrony.conf"),
    FileSpec::new("/etc/chrony/conf.d/*"),
    FileSpec::new("/etc/ntp.conf"),
    FileSpec::new("/etc/network/interfaces"),
    FileSpec::new("/etc/udev/udev.conf"),
    FileSpec::new("/etc/mdadm/mdadm.conf"),
    FileSpec::new("/etc/mdadm.conf"),
    FileSpec::new("/etc/multipath.conf"),
    FileSpec::new("/etc/exports"),
    FileSpec::new("/etc/lastgasp/lastgasp.toml"),
];

pub const SPEC: Spec = Spec {
    name: "etc",
    doc: "System configuration: names, file systems, limits, kernel parameters, boot, time, dump settings.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 4 << 20,
    limit_ms: 4_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

/// Most bytes of one file: a larger one under these names is a mistake or no configuration.
const CAP: usize = 256 << 10;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let mut guard = crate::capture::guard::Guard::new(files::MAX_ABANDONED);
    let mut release_seen = false;
    let mut seen = std::collections::BTreeSet::new();
    for spec in FILES {
        for path in files::expand(spec.path, spec, ctx, &mut guard, sink) {
            // os-release is named on its own and by a pattern.
            if !seen.insert(path.clone()) || is_backup(&path) {
                continue;
            }
            match files::read(&path, CAP, false, ctx, &mut guard) {
                Ok(got) => {
                    release_seen |= path == "/etc/os-release";
                    sink.put_cut(path.trim_start_matches('/'), mask_keys(&got.bytes), got.truncated)?;
                }
                Err(files::ReadError::Io(e))
                    if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidInput) => {}
                Err(why) => sink.missing(path, why.to_string()),
            }
            if ctx.expired() {
                return Err(crate::capture::Stop::Cancelled.into());
            }
        }
    }
    if !release_seen {
        let spec = FileSpec::new("/usr/lib/os-release");
        files::copy(spec.path, &spec, ctx, &mut guard, sink)?;
    }
    Ok(())
}

fn is_backup(path: &str) -> bool {
    path.ends_with('~') || path.ends_with(".dpkg-old") || path.ends_with(".rpmsave")
}

/// Replaces the value after words that name a secret (`password x`, `key = x`, `secret: x`), keeping the
/// word itself: that a secret is set is part of the configuration, its value is not.
fn mask_keys(text: &[u8]) -> Vec<u8> {
    const WORDS: &[&str] = &["password", "passwd", "passphrase", "secret", "authkey", "api_key", "token", "crypto pw"];
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        let lower = line.to_ascii_lowercase();
        let trimmed = lower.trim_ascii_start();
        let hit = if trimmed.starts_with(b"#") || trimmed.starts_with(b";") {
            None
        } else {
            WORDS.iter().filter_map(|w| memchr::memmem::find(&lower, w.as_bytes()).map(|i| i + w.len())).min()
        };
        match hit {
            Some(end) if line[end..].iter().any(|b| !b.is_ascii_whitespace()) => {
                // The rest of the word (`password_file`) stays, so that the reader sees which key it was.
                let key_end = line[end..]
                    .iter()
                    .position(|b| !(b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-'))
                    .map_or(line.len(), |i| end + i);
                out.extend_from_slice(&line[..key_end]);
                out.extend_from_slice(b" [masked]");
                if line.ends_with(b"\n") {
                    out.push(b'\n');
                }
            }
            _ => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_masked_and_the_rest_is_untouched() {
        let text = b"server a iburst\n# password in /etc/x\nbindpasswd = hunter2\nAPI_KEY: abc\nplain\nsecret";
        let want = b"server a iburst\n# password in /etc/x\nbindpasswd [masked]\nAPI_KEY [masked]\nplain\nsecret";
        assert_eq!(String::from_utf8_lossy(&mask_keys(text)), String::from_utf8_lossy(want));
        assert_eq!(mask_keys(b""), b"");
    }
}
