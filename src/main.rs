//! `lastgasp`: see the library.

fn main() -> std::process::ExitCode {
    lastgasp::cli::main()
}
