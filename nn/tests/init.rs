//! Initial values: their bits, their addresses and their moments.

use nn::{ModelError, Network, Parameterization, dense, normals, relu};
use rayon::ThreadPoolBuilder;

/// FNV-1a over the little-endian bytes of the bit patterns.
fn fnv1a(values: &[f64]) -> u64 {
    let bytes = values.iter().flat_map(|v| v.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn bits<T: autodiff::Scalar>(parameters: &[Vec<T>]) -> Vec<Vec<u64>> {
    parameters.iter().map(|p| p.iter().map(|v| v.primal().to_bits()).collect()).collect()
}

fn in_pool<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn fnv1a_is_the_published_hash() {
    // FNV-1a of eight zero bytes, folded by hand from the definition: h ← h·p eight times.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..8 {
        hash = hash.wrapping_mul(0x0100_0000_01b3);
    }
    assert_eq!(fnv1a(&[0.0]), hash);
    assert_eq!(fnv1a(&[]), 0xcbf2_9ce4_8422_2325);
}

#[test]
fn the_bits_of_a_million_draws_are_pinned() {
    // If this fails, a generator changed, and with it every seeded result: that is a breaking release.
    assert_eq!(fnv1a(&normals(0, 0, 1_000_000)), 0x5555_bff9_01f2_354a);
    assert_eq!(fnv1a(&normals(12345, 3, 1_000_000)), 0xe4bd_0377_e720_7b2b);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let network = Network::new([37], [dense(129).std(1.5, 0.3), relu(), dense(41), relu(), dense(3)]).unwrap();
    let draws = normals::<f64>(9, 1, 10_001);
    let (parameters, singles) = (network.init::<f64>(11).unwrap(), network.init::<f32>(11).unwrap());
    for threads in [1, 2, 3, 7] {
        assert_eq!(in_pool(threads, || fnv1a(&normals(9, 1, 10_001))), fnv1a(&draws), "{threads} threads");
        assert_eq!(in_pool(threads, || bits(&network.init::<f64>(11).unwrap())), bits(&parameters), "{threads} threads");
        assert_eq!(in_pool(threads, || bits(&network.init::<f32>(11).unwrap())), bits(&singles), "{threads} threads");
    }
}

#[test]
fn a_shorter_draw_is_a_prefix() {
    let all = normals::<f64>(4, 2, 5000);
    for len in [0, 1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 4999] {
        assert_eq!(normals::<f64>(4, 2, len), all[..len]);
    }
}

#[test]
fn streams_seeds_and_chunks_are_distinct() {
    let mut first: Vec<u64> = Vec::new();
    for seed in [0, 1, 2, u64::MAX] {
        for parameter in [0, 1, 2, 1000, u64::MAX - 1] {
            let values = normals::<f64>(seed, parameter, 3 * 1024);
            first.extend([0, 1, 1024, 1025, 2048].map(|i| values[i].to_bits()));
        }
    }
    let n = first.len();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), n, "two addresses gave the same value");
}

#[test]
fn streams_are_uncorrelated() {
    let n = 200_000;
    let draws = [normals::<f64>(1, 0, n), normals::<f64>(1, 1, n), normals::<f64>(2, 0, n)];
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let mean: f64 = draws[i].iter().zip(&draws[j]).map(|(a, b)| a * b).sum::<f64>() / n as f64;
        assert!(mean.abs() < 5.0 / (n as f64).sqrt(), "streams {i} and {j} correlate: {mean}");
    }
    // Neighbouring chunks of one stream.
    let lagged: f64 = draws[0].iter().zip(&draws[0][1024..]).map(|(a, b)| a * b).sum::<f64>() / (n - 1024) as f64;
    assert!(lagged.abs() < 5.0 / ((n - 1024) as f64).sqrt(), "chunks correlate: {lagged}");
}

#[test]
fn the_moments_are_those_of_a_standard_normal() {
    let n = 1_000_000;
    let values = normals::<f64>(7, 5, n);
    let moment = |k: i32| values.iter().map(|v| v.powi(k)).sum::<f64>() / n as f64;
    // E z^k, and Var z^k = E z^2k − (E z^k)², which gives the standard error of the sample moment.
    for (k, want, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let error = (variance / n as f64).sqrt();
        assert!((moment(k) - want).abs() < 5.0 * error, "moment {k} is {}, and {want} ± {error} was expected", moment(k));
    }
    let beyond = values.iter().filter(|v| v.abs() > 1.959_963_984_540_054).count() as f64 / n as f64;
    assert!((beyond - 0.05).abs() < 5.0 * (0.05_f64 * 0.95 / n as f64).sqrt(), "{beyond} lie beyond the 95 % points");
}

#[test]
fn single_precision_is_the_rounded_double() {
    let (double, single) = (normals::<f64>(3, 8, 5000), normals::<f32>(3, 8, 5000));
    assert!(double.iter().zip(&single).all(|(&d, &s)| (d as f32).to_bits() == s.to_bits()));

    let network = Network::new([7], [dense(9).std(1.7, 0.3), relu(), dense(2).std(0.9, 0.2)]).unwrap();
    let network = network.parameterized(Parameterization::Standard);
    let (double, single) = (network.init::<f64>(5).unwrap(), network.init::<f32>(5).unwrap());
    for (d, s) in double.iter().flatten().zip(single.iter().flatten()) {
        assert_eq!((*d as f32).to_bits(), s.to_bits());
    }
}

#[test]
fn a_parameter_is_its_stream_times_the_spread_of_its_parameterization() {
    let layers = [dense(300).std(1.5, 0.25), relu(), dense(50).without_bias().std(0.5, 9.0), relu(), dense(4).std(2.0, 0.0)];
    let network = Network::new([25], layers).unwrap();
    // The weights' fan-ins are 25, 300, 50.
    let spread = [1.5 / 5.0, 0.25, 0.5 / 300.0_f64.sqrt(), 2.0 / 50.0_f64.sqrt(), 0.0];
    for parameterization in Parameterization::ALL {
        let network = network.clone().parameterized(parameterization);
        let values = network.init::<f64>(99).unwrap();
        assert_eq!(values.len(), 5);
        for (i, (p, values)) in network.parameters().iter().zip(&values).enumerate() {
            let (multiplier, std) = match parameterization {
                Parameterization::Ntk => (spread[i], 1.0),
                Parameterization::Standard => (1.0, spread[i]),
                Parameterization::Mup { .. } => panic!("μP has a test of its own"),
            };
            assert!((p.scaling.multiplier - multiplier).abs() <= 1e-16 && (p.scaling.std - std).abs() <= 1e-16, "{}", p.name);
            let want: Vec<f64> = normals::<f64>(99, i as u64, p.shape.len()).iter().map(|z| p.scaling.std * z).collect();
            assert_eq!(values, &want, "{}", p.name);
            let n = values.len() as f64;
            let mean_square = values.iter().map(|v| v * v).sum::<f64>() / n;
            assert!((mean_square - std * std).abs() <= 5.0 * (2.0 / n).sqrt() * std * std, "{}: {mean_square}", p.name);
        }
    }
}

#[test]
fn too_many_parameters_are_refused_before_anything_is_allocated() {
    let wide = Network::new([1], [dense(1 << 20).without_bias(), relu(), dense(1 << 20).without_bias()]).unwrap();
    let parameters = (1_u128 << 20) + (1 << 40);
    let error = wide.init::<f32>(0).unwrap_err();
    assert_eq!(error, ModelError::TooManyParameters { parameters, most: 1 << 32 });
    assert_eq!(
        error.to_string(),
        "the network has 1099512676352 parameters, and at most 4294967296 are allocated: make the layers narrower"
    );
    // The sum counts, not the largest weight.
    let error = Network::new([1 << 20], vec![dense(1 << 20); 9]).unwrap().init::<f64>(0).unwrap_err();
    assert_eq!(error, ModelError::TooManyParameters { parameters: 9 * ((1 << 40) + (1 << 20)), most: 1 << 32 });
}
