//! Which instructions the CPU has, and one text run with them.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::lane::{Arith, Plain};

/// The environment variable that chooses the level of a process.
const VARIABLE: &str = "TANGENTS_SIMD";

/// A set of instructions that this CPU has.
///
/// Owning a value is the proof: the variants other than `Portable` hold a token that only the detection in this module makes.
/// Levels may differ from each other in last bits, since the portable one rounds products before it adds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// What every CPU of the target has (on x86-64: SSE2), without fused multiply-add.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2(Avx2),
    /// AVX-512 (F, BW, DQ, VL).
    Avx512(Avx512),
}

/// The proof that this CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Avx2(());

/// The proof that this CPU has AVX-512 F, BW, DQ and VL, and AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Avx512(());

/// Why a level was not chosen: the sentence says which levels there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchLevel(String);

impl fmt::Display for NoSuchLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoSuchLevel {}

/// A loop to be compiled for every level.
///
/// `run` is written once, over plain slices, with [`Arith::mul_add`] where a fused multiply-add is wanted. It must be
/// `#[inline(always)]`, and so must what it calls, or it is compiled for the portable level only (right, but slow).
pub trait Kernel {
    /// What the loop gives back.
    type Output;
    /// Runs the loop with the arithmetic of a level, whose token is given.
    fn run<A: Arith>(self, cpu: A) -> Self::Output;
}

impl Level {
    /// The level of this process, chosen once: the highest of this CPU, or the one that the environment variable
    /// `TANGENTS_SIMD` names (`portable`, `avx2` or `avx512`).
    ///
    /// # Panics
    /// If the variable names no level or one that this CPU has not. [`Level::from_environment`] says so without a panic.
    #[track_caller]
    pub fn best() -> Level {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Level::from_environment().unwrap_or_else(|error| panic!("{error}")))
    }

    /// What [`Level::best`] will be.
    ///
    /// # Errors
    /// If `TANGENTS_SIMD` names no level or one that this CPU has not.
    pub fn from_environment() -> Result<Level, NoSuchLevel> {
        match std::env::var_os(VARIABLE) {
            None => Ok(Level::available()[0]),
            Some(name) if name.is_empty() => Ok(Level::available()[0]),
            Some(name) => name.to_string_lossy().parse(),
        }
    }

    /// The levels of this CPU, the highest first; the last is `Portable`.
    pub fn available() -> Vec<Level> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 {
                levels.push(Level::Avx512(Avx512(())));
            }
            if avx2 {
                levels.push(Level::Avx2(Avx2(())));
            }
        }
        levels.push(Level::Portable);
        levels
    }

    /// Runs a loop, compiled for this level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Level::Portable => kernel.run(Plain),
            // SAFETY: the token proves that this CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(cpu) => unsafe { run_avx2(cpu, kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(cpu) => unsafe { run_avx512(cpu, kernel) },
            // Other architectures never make a token.
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2(_) | Level::Avx512(_) => kernel.run(Plain),
        }
    }

    /// The name by which `TANGENTS_SIMD` chooses the level.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2(_) => "avx2",
            Level::Avx512(_) => "avx512",
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(cpu: Avx2, kernel: K) -> K::Output {
    kernel.run(cpu)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<K: Kernel>(cpu: Avx512, kernel: K) -> K::Output {
    kernel.run(cpu)
}

impl FromStr for Level {
    type Err = NoSuchLevel;

    fn from_str(name: &str) -> Result<Level, NoSuchLevel> {
        let levels = Level::available();
        levels.iter().copied().find(|level| level.name() == name).ok_or_else(|| {
            let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
            NoSuchLevel(format!("{VARIABLE}={}: this CPU has the levels {}", name.escape_debug(), names.join(", ")))
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Portable => "portable",
            Level::Avx2(_) => "AVX2",
            Level::Avx512(_) => "AVX-512",
        })
    }
}
