//! What every kernel is.

use crate::common::{STRATEGIES, assert_close, inputs};
use nn::{Network, dense, relu};
use ntk::{Finite, Outputs, empirical_nngp, empirical_ntk, jacobian};

#[test]
fn a_kernel_of_one_set_is_symmetric_to_the_bit_and_positive_semidefinite() {
    let network = Network::new([4], [dense(9).std(1.5, 0.2), relu(), dense(3).std(1.0, 0.1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let x = inputs::<f64>(6, 4, 1);
    for strategy in STRATEGIES {
        let full = empirical_ntk(&f, &x, None, Outputs::Full, strategy).unwrap();
        let at = |i: usize, j: usize, a: usize, b: usize| full.values[((i * 6 + j) * 3 + a) * 3 + b];
        for i in 0..6 {
            for j in 0..6 {
                for a in 0..3 {
                    for b in 0..3 {
                        assert_eq!(at(i, j, a, b).to_bits(), at(j, i, b, a).to_bits());
                    }
                }
            }
        }
        // vᵀ Θ v = |Jᵀ v|².
        let v = inputs::<f64>(6, 3, 4);
        let mut quadratic = 0.0;
        for i in 0..6 {
            for j in 0..6 {
                for a in 0..3 {
                    for b in 0..3 {
                        quadratic += v[i * 3 + a] * at(i, j, a, b) * v[j * 3 + b];
                    }
                }
            }
        }
        let j = jacobian(&f, &x).unwrap();
        let norm: f64 = (0..j.parameters).map(|p| (0..18).map(|r| v[r] * j.rows[r * j.parameters + p]).sum::<f64>().powi(2)).sum();
        assert!((quadratic - norm).abs() <= 1e-12 * norm, "{strategy:?}: {quadratic} against {norm}");
    }
}

#[test]
fn the_kernel_of_the_outputs_of_one_set_is_that_of_the_set_with_itself() {
    let network = Network::new([4], [dense(9).std(1.5, 0.2), relu(), dense(3).std(1.0, 0.1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let x = inputs::<f64>(7, 4, 1);
    for kept in Outputs::ALL {
        let (one, two) = (empirical_nngp(&f, &x, None, kept).unwrap(), empirical_nngp(&f, &x, Some(&x), kept).unwrap());
        assert_close(&one, &two.values, 1e-15, &format!("{kept:?}"));
        assert_eq!(one.shape(), two.shape());
    }
}

#[test]
fn the_kernel_of_the_outputs_is_their_product() {
    let network = Network::new([4], [dense(9).std(1.5, 0.2), relu(), dense(3).std(1.0, 0.1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let (x1, x2) = (inputs::<f64>(5, 4, 1), inputs::<f64>(2, 4, 2));
    let (f1, f2) = (network.apply(&parameters, &x1), network.apply(&parameters, &x2));
    let full = empirical_nngp(&f, &x1, Some(&x2), Outputs::Full).unwrap();
    let [trace, diagonal, sum] = [Outputs::Trace, Outputs::Diagonal, Outputs::Sum].map(|o| empirical_nngp(&f, &x1, Some(&x2), o).unwrap());
    for i in 0..5 {
        for j in 0..2 {
            let mut tr = 0.0;
            for a in 0..3 {
                for b in 0..3 {
                    let want = f1[i * 3 + a] * f2[j * 3 + b];
                    assert!((full.values[((i * 2 + j) * 3 + a) * 3 + b] - want).abs() < 1e-14);
                }
                tr += f1[i * 3 + a] * f2[j * 3 + a] / 3.0;
                assert!((diagonal.values[(i * 2 + j) * 3 + a] - f1[i * 3 + a] * f2[j * 3 + a]).abs() < 1e-14);
            }
            let (s1, s2): (f64, f64) = (f1[i * 3..][..3].iter().sum(), f2[j * 3..][..3].iter().sum());
            assert!((trace.values[i * 2 + j] - tr).abs() < 1e-14);
            assert!((sum.values[i * 2 + j] - s1 * s2 / 3.0).abs() < 1e-14);
        }
    }
}
