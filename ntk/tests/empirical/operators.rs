//! The kernel as an operator, and its largest eigenvalues.

use crate::common::inputs;
use nn::{Network, conv, dense, global_avg_pool, relu, tanh};
use ntk::{EigenRequest, Finite, Operator, Outputs, Request, Spectrum, full_matrix, kernel, largest_eigenvalues};
use simd::Mat;

fn networks() -> [Network; 2] {
    [
        Network::new([4], [dense(9).std(1.5, 0.2), relu(), dense(3).std(1.0, 0.1)]).unwrap(),
        Network::new([4, 3, 2], [conv(5, [3, 3]).std(1.5, 0.2), tanh(), conv(4, [2, 2]), relu(), global_avg_pool(), dense(18)]).unwrap(),
    ]
}

/// `Σ_jb Θ[i, j, a, b] v[j, b]`, straight from the kernel.
fn slow(theta: &ntk::Kernel<f64>, v: &[f64]) -> Vec<f64> {
    let (n1, n2, o) = (theta.n1, theta.n2, theta.outputs);
    match theta.kept {
        Outputs::Trace | Outputs::Sum => (0..n1).map(|i| (0..n2).map(|j| theta.values[i * n2 + j] * v[j]).sum()).collect(),
        Outputs::Diagonal => {
            (0..n1 * o).map(|e| (0..n2).map(|j| theta.values[(e / o * n2 + j) * o + e % o] * v[j * o + e % o]).sum()).collect()
        }
        Outputs::Full => {
            let matrix = full_matrix(&theta.values, n1, n2, o);
            matrix.chunks(n2 * o).map(|row| row.iter().zip(v).map(|(t, v)| t * v).sum()).collect()
        }
    }
}

#[test]
fn an_operator_is_the_kernel_times_vectors() {
    for network in networks() {
        let parameters = network.init::<f64>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        // More than one piece along either side.
        let (x1, x2) = (inputs::<f64>(70, network.n_inputs(), 1), inputs::<f64>(66, network.n_inputs(), 2));
        let rates = Some((0..parameters.len()).map(|p| p as f64).collect::<Vec<_>>());
        for kept in Outputs::ALL {
            for (x2, rates) in [(None, None), (Some(&x2[..]), None), (Some(&x2[..]), rates.clone())] {
                let request = Request { rates, ..Request::of(kept) };
                let theta = kernel(&f, &x1, x2, &request, |_, _| ()).unwrap();
                let mut operator = Operator::new(&f, &x1, x2, &request).unwrap();
                let (rows, columns) = (operator.rows(), operator.columns());
                let v = nn::normals::<f64>(8, 0, 2 * columns);
                let both = operator.apply(2, &v);
                for (v, found) in v.chunks(columns).zip(both.chunks(rows)) {
                    let wanted = slow(&theta, v);
                    let largest = wanted.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
                    for (f, w) in found.iter().zip(&wanted) {
                        assert!((f - w).abs() <= 1e-12 * largest, "{network}, {kept:?}: {f} should be {w}");
                    }
                    assert_eq!(operator.apply(1, v), found, "a vector has the same bits beside another");
                }
            }
        }
    }
}

#[test]
fn the_largest_eigenvalues_are_those_of_the_kernel() {
    for network in networks() {
        let parameters = network.init::<f64>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let x = inputs::<f64>(14, network.n_inputs(), 1);
        for kept in [Outputs::Full, Outputs::Trace, Outputs::Sum] {
            let request = Request::of(kept);
            let theta = kernel(&f, &x, None, &request, |_, _| ()).unwrap();
            let side = Operator::new(&f, &x, None, &request).unwrap().rows();
            let matrix = if kept == Outputs::Full { full_matrix(&theta.values, 14, 14, theta.outputs) } else { theta.values.clone() };
            let exact = Spectrum::of(Mat::new(&matrix, side, side)).unwrap();
            let mut operator = Operator::new(&f, &x, None, &request).unwrap();
            let found = largest_eigenvalues(&mut operator, &EigenRequest::of(4), |_, _| ()).unwrap();
            for (k, (f, w)) in found.values.iter().zip(exact.values()).enumerate() {
                assert!((f - w).abs() <= 1e-10 * exact.values()[0], "{kept:?}, eigenvalue {k}: {f} should be {w}");
                assert!(found.residuals[k] <= 1e-8 * found.values[0]);
            }
            assert!(found.values.len() == 4 && found.products <= side);
        }
    }
}

#[test]
fn equal_eigenvalues_are_found_as_often_as_they_are_there() {
    // One layer: Θ = K ⊗ I, each eigenvalue three times.
    let network = Network::new([5], [dense(3)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let x = inputs::<f64>(6, 5, 1);
    let mut operator = Operator::new(&f, &x, None, &Request::of(Outputs::Full)).unwrap();
    let found = largest_eigenvalues(&mut operator, &EigenRequest::of(5), |_, _| ()).unwrap();
    let v = &found.values;
    assert!((v[0] - v[2]).abs() < 1e-10 * v[0] && (v[3] - v[4]).abs() < 1e-10 * v[0] && v[2] > 1.01 * v[3], "{v:?}");
    // All of them, of which some are zero, and more than there are.
    for count in [18, 30] {
        let all = largest_eigenvalues(&mut operator, &EigenRequest::of(count), |_, _| ()).unwrap();
        assert_eq!(all.values.len(), 18);
        assert!(all.values[17].abs() < 1e-10 * all.values[0]);
    }
    assert!(largest_eigenvalues(&mut operator, &EigenRequest::of(0), |_, _| ()).unwrap().values.is_empty());
}
