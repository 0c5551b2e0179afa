//! That every level which the CPU has is exercised, and how one is chosen.

use std::process::Command;

use simd::Level;

/// The names that the CPU's own description promises, read independently of the detection under test.
fn expected() -> Vec<&'static str> {
    let mut expected = Vec::new();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        let info = std::fs::read_to_string("/proc/cpuinfo").expect("the description of the CPU");
        let flags = info.lines().find(|line| line.starts_with("flags")).expect("its flags");
        let has = |names: &[&str]| names.iter().all(|name| flags.split_whitespace().any(|flag| flag == *name));
        if has(&["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"]) {
            expected.push("avx512");
        }
        if has(&["avx2", "fma"]) {
            expected.push("avx2");
        }
    }
    expected.push("portable");
    expected
}

/// All tests of this crate run over `Level::available()`, so they have run at every level only if that names every level.
#[cfg(target_os = "linux")]
#[test]
fn every_level_of_this_cpu_is_exercised() {
    let names: Vec<&str> = Level::available().iter().map(|level| level.name()).collect();
    assert_eq!(names, expected());
    println!("levels exercised: {}", names.join(", "));
}

/// A process takes its level from the environment: this test starts itself with other values.
#[test]
fn the_environment_chooses_the_level() {
    if let Ok(wanted) = std::env::var("EXPECTED_LEVEL") {
        match Level::from_environment() {
            Ok(level) => assert_eq!(level.name(), wanted),
            Err(error) => assert_eq!(error.to_string(), wanted),
        }
        return;
    }
    let run = |value: &str, wanted: &str| {
        let status = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "the_environment_chooses_the_level"])
            .env("TANGENTS_SIMD", value)
            .env("EXPECTED_LEVEL", wanted)
            .status()
            .expect("the test starts itself");
        assert!(status.success(), "TANGENTS_SIMD={value}");
    };
    for level in Level::available() {
        run(level.name(), level.name());
    }
    let names: Vec<&str> = Level::available().iter().map(|level| level.name()).collect();
    run("", names[0]);
    run("sse9", &format!("TANGENTS_SIMD=sse9: this CPU has the levels {}", names.join(", ")));
    run("AVX\n", &format!("TANGENTS_SIMD=AVX\\n: this CPU has the levels {}", names.join(", ")));
}
