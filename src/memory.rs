//! Whether memory of a size can be had, asked before it is needed.

use thiserror::Error;

/// Memory that cannot be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what} would take {gib} GiB of memory, which this machine does not give; {advice}")]
pub struct NotEnough {
    what: String,
    gib: Tenths,
    advice: String,
}

/// GiB to one decimal, comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tenths(u128);

impl std::fmt::Display for Tenths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// Asks the system for `bytes` and gives them back, so that a size that cannot be had is an error and not an abort.
///
/// # Errors
/// If the system refuses, or if there is less memory (where the system says how much there is).
pub fn check(bytes: u128, what: &str, advice: &str) -> Result<(), NotEnough> {
    let refused = || NotEnough { what: what.into(), gib: Tenths((bytes * 10) >> 30), advice: advice.into() };
    let size = usize::try_from(bytes).map_err(|_| refused())?;
    Vec::<u8>::new().try_reserve_exact(size).map_err(|_| refused())?;
    match available() {
        Some(available) if bytes > available => Err(refused()),
        Some(_) | None => Ok(()),
    }
}

/// Bytes that can be used without swapping, where the system is Linux and says so.
fn available() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u128 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn sizes_that_no_machine_has_are_refused() {
        assert!(check(1 << 20, "a megabyte", "").is_ok());
        for bytes in [1 << 50, u128::from(u64::MAX), u128::MAX >> 4] {
            let error = check(bytes, "the kernel", "use fewer examples").unwrap_err().to_string();
            assert!(error.starts_with("the kernel would take ") && error.ends_with("use fewer examples"), "{error}");
        }
    }
}
