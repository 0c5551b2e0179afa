//! Estimates from random projections against the exact kernel.

use crate::common::inputs;
use nn::{Network, conv, dense, global_avg_pool, tanh};
use ntk::{Finite, Outputs, Request, estimate, kernel};

#[test]
fn an_estimate_lies_within_its_standard_errors_of_the_kernel() {
    let networks = [
        Network::new([4], [dense(9).std(1.5, 0.2), tanh(), dense(3).std(1.0, 0.1)]).unwrap(),
        Network::new([4, 3, 2], [conv(5, [3, 3]).std(1.5, 0.2), tanh(), global_avg_pool(), dense(2)]).unwrap(),
    ];
    for network in networks {
        let parameters = network.init::<f64>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let (x1, x2) = (inputs::<f64>(5, network.n_inputs(), 1), inputs::<f64>(4, network.n_inputs(), 2));
        let rates: Vec<f64> = (0..parameters.len()).map(|p| p as f64).collect();
        for kept in Outputs::ALL {
            for x2 in [None, Some(&x2[..])] {
                let request = Request { rates: Some(rates.clone()), ..Request::of(kept) };
                let exact = kernel(&f, &x1, x2, &request, |_, _| ()).unwrap();
                let found = estimate(&f, &x1, x2, &request, 600, 5, |_, _| ()).unwrap();
                assert_eq!(found.kernel.shape(), exact.shape());
                // Squares of standardized errors have mean 1. Entries of one estimate go together, so the bounds are wide.
                let errors = found.kernel.values.iter().zip(&exact.values).zip(&found.standard_error).map(|((f, w), e)| (f - w) / e);
                let square = errors.clone().map(|e| e * e).sum::<f64>() / exact.values.len() as f64;
                let most = errors.fold(0.0_f64, |m, e| m.max(e.abs()));
                assert!(square < 3.0 && most < 6.0, "{network}, {kept:?}: mean square {square}, most {most}");
                if x2.is_none() && kept == Outputs::Sum {
                    // χ² variables: the relative standard error of the diagonal is √(2/600).
                    let relative = found.standard_error[0] / found.kernel.values[0] / (2.0_f64 / 600.0).sqrt();
                    assert!((relative - 1.0).abs() < 0.25, "{relative}");
                }
            }
        }
    }
}

#[test]
fn a_sample_depends_on_the_seed_and_its_number_alone() {
    let network = Network::new([4], [dense(9), tanh(), dense(3)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let x = inputs::<f64>(3, 4, 1);
    let of = |samples: usize, seed| estimate(&f, &x, None, &Request::default(), samples, seed, |_, _| ()).unwrap().kernel.values[1];
    // The sum over 12 samples begins with those over 11 and 10: all differences are single samples, of the same seed.
    let (ten, eleven, twelve) = (10.0 * of(10, 1), 11.0 * of(11, 1), 12.0 * of(12, 1));
    assert!((twelve - ten).abs() > 1e-9 && (eleven - ten).abs() > 1e-9 && of(10, 1) != of(10, 2));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(pool.install(|| of(12, 1)).to_bits(), of(12, 1).to_bits());
}
