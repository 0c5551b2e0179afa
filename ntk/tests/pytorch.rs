//! Networks of PyTorch 2.15 have the kernels that PyTorch computes, by every strategy and in both precisions.

use nn::parse_model;
use ntk::{Finite, Outputs, Real, Strategy, empirical_ntk};

macro_rules! golden {
    ($name:literal) => {
        [
            include_bytes!(concat!("../../nn/tests/golden/", $name, ".toml")),
            include_bytes!(concat!("../../nn/tests/golden/", $name, ".safetensors")),
            include_bytes!(concat!("../../nn/tests/golden/", $name, ".x.npy")),
            include_bytes!(concat!("../../nn/tests/golden/", $name, ".ntk.npy")),
        ]
    };
}

/// Models, weights, inputs and kernels; `nn/tests/golden` says where they come from.
const GOLDEN: [[&[u8]; 4]; 4] = [golden!("mlp_relu"), golden!("mlp_tanh"), golden!("cnn_gap"), golden!("cnn_flatten")];
const STRATEGIES: [Strategy; 4] = [Strategy::Auto, Strategy::Jacobian, Strategy::Products, Strategy::Structured];

/// The values of a version 1 `.npy` file of little-endian doubles in C order.
fn npy(bytes: &[u8]) -> Vec<f64> {
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[start..].chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

fn check<T: Real>([model, weights, x, ntk]: [&[u8]; 4], bound: f64) {
    let network = parse_model(std::str::from_utf8(model).unwrap()).unwrap();
    let parameters = network.load_weights::<T>(weights).unwrap();
    let x: Vec<T> = npy(x).into_iter().map(<T as autodiff::Scalar>::of).collect();
    let want = npy(ntk);
    let largest = want.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    for strategy in STRATEGIES {
        let kernel = empirical_ntk(&Finite { network: &network, parameters: &parameters }, &x, None, Outputs::Full, strategy).unwrap();
        assert_eq!(kernel.values.len(), want.len());
        for (i, (k, w)) in kernel.values.iter().zip(&want).enumerate() {
            let error = (autodiff::Scalar::primal(*k) - w).abs() / largest;
            assert!(error <= bound, "{strategy:?}: entry {i} is {k}, and PyTorch has {w}\n{network}");
        }
    }
}

#[test]
fn kernels_are_those_of_pytorch() {
    for golden in GOLDEN {
        check::<f64>(golden, 1e-11);
        check::<f32>(golden, 1e-4);
    }
}
