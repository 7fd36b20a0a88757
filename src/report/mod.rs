//! (being built)
pub fn safe(s: &str) -> String {
    s.into()
}
