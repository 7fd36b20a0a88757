//! Names of functions: what may be one, and its form in titles and signatures.

/// What may be a function's name: C and Rust.
pub(crate) fn is_symbol(name: &str) -> bool {
    let rust = name.contains("::");
    let first = name.bytes().next();
    // An address that no symbol was found for.
    let address = name.len() >= 8 && name.bytes().all(|c| c.is_ascii_hexdigit());
    !name.is_empty()
        && !address
        && name.len() <= 256
        && first.is_some_and(|c| c.is_ascii_alphabetic() || c == b'_' || c == b'.' || c == b'$' || rust && c == b'<')
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"_.$".contains(&c) || rust && b"<>: &{}#,-*()[];=".contains(&c))
}

/// A name without what compilers and symbol tables add: `f.isra.12`, `f.part.3`, `f.cold`, `f.constprop.0`, `f$abc`,
/// `.f` (powerpc's function descriptors).
pub(crate) fn plain(name: &str) -> &str {
    if name.contains("::") {
        return name;
    }
    let name = name.strip_prefix('.').unwrap_or(name);
    let cut = name.find('.').unwrap_or(name.len());
    &name[..cut.max(1).min(name.len())]
}

/// Longest readable name of a Rust function that is kept.
const RUST_NAME_MAX: usize = 256;

/// The name as it is used in titles and signatures: [`plain`], and Rust's own names instead of mangled ones, whose
/// crate hashes differ from build to build.
pub(crate) fn readable(name: &str) -> String {
    use std::fmt::Write;
    let name = plain(name);
    if !name.starts_with("_R") && !name.starts_with("_ZN") {
        return name.to_owned();
    }
    let mut out = Bounded(String::new());
    match rustc_demangle::try_demangle(name) {
        Ok(rust) if write!(out, "{rust:#}").is_ok() && is_symbol(&out.0) => out.0,
        _ => name.to_owned(),
    }
}

/// Text that refuses to grow: a short mangled name can stand for megabytes.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        if self.0.len() + s.len() > RUST_NAME_MAX {
            return Err(std::fmt::Error);
        }
        self.0.push_str(s);
        Ok(())
    }
}

/// A system call's entry without its wrapper: `__x64_sys_openat`, `SyS_openat` → `sys_openat`.
pub(crate) fn syscall(name: &str) -> std::borrow::Cow<'_, str> {
    for lead in [
        "__x64_sys_",
        "__ia32_compat_sys_",
        "__ia32_sys_",
        "__arm64_compat_sys_",
        "__arm64_sys_",
        "__s390x_sys_",
        "__s390_sys_",
        "__riscv_sys_",
        "__riscv_compat_sys_",
        "__powerpc_sys_",
        "__se_compat_sys_",
        "__se_sys_",
        "__do_compat_sys_",
        "__do_sys_",
        "compat_SyS_",
        "compat_SYSC_",
        "SyS_",
        "SYSC_",
        "ksys_",
        "__x64_compat_sys_",
        "__se_",
        "__loongarch_sys_",
    ] {
        if let Some(call) = name.strip_prefix(lead) {
            return std::borrow::Cow::Owned(format!("sys_{call}"));
        }
    }
    std::borrow::Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_compilers_and_builds_add() {
        for (name, want) in [
            ("foo.isra.12", "foo"),
            ("foo.constprop.0.isra.0", "foo"),
            ("foo.cold", "foo"),
            ("foo.llvm.1234567890", "foo"),
            (".foo", "foo"),
            ("_RNvMs_NtCs9jEwPDbx20M_6kernel4listNtB4_4Node6unlink", "<kernel::list::Node>::unlink"),
            ("_Rubbish", "_Rubbish"),
        ] {
            assert_eq!(readable(name), want, "{name}");
        }
        assert_eq!(plain("a::b.c"), "a::b.c");
        assert_eq!(syscall("__x64_sys_openat"), "sys_openat");
        assert_eq!(syscall("SyS_openat"), "sys_openat");
        assert!(is_symbol("vfs_read") && !is_symbol("ffffffff81662d11") && !is_symbol("12") && !is_symbol(""));
    }

    /// A short mangled name can stand for a very long one.
    #[test]
    fn a_hostile_name_stays_short() {
        let name = format!("_RNvC1a{}", "TTTTTTTTTTTTTTTTTTTTTT".repeat(10));
        assert!(readable(&name).len() <= 256);
    }
}
