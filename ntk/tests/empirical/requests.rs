//! Parts of a kernel: layers, rates, diagonals, norms, and kernels along training.

use crate::common::{ORDERS, inputs};
use nn::{Network, conv, dense, flatten, global_avg_pool, layer_norm, relu, tanh};
use ntk::{
    AlongTraining, EmpiricalError, Finite, Outputs, Request, Strategy, Tile, alignment, diagonal, distance, empirical_ntk, gradient_norms,
    jacobian, kernel,
};

fn networks() -> [Network; 3] {
    [
        Network::new([4], [dense(7).std(1.5, 0.2), relu(), layer_norm().eps(0.1), dense(3).std(1.2, 0.3)]).unwrap(),
        Network::new([4, 3, 2], [conv(4, [3, 3]).std(1.5, 0.2), tanh(), conv(3, [2, 2]), relu(), global_avg_pool(), dense(3)]).unwrap(),
        Network::new([4, 3, 2], [conv(4, [3, 3]).std(1.5, 0.2), tanh(), flatten(), dense(2)])
            .unwrap()
            .parameterized(nn::Parameterization::Standard),
    ]
}

fn close(found: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
        assert!((f - w).abs() <= 1e-12 * largest, "{what}: entry {i} is {f} and should be {w}");
    }
}

/// `Σ_p η_p J_p J_pᵀ` from a Jacobian that is written out.
fn weighted(network: &Network, parameters: &[Vec<f64>], x: &[f64], rates: &[f64]) -> Vec<f64> {
    let j = jacobian(&Finite { network, parameters }, x).unwrap();
    let of_column: Vec<f64> = parameters.iter().zip(rates).flat_map(|(p, &rate)| vec![rate; p.len()]).collect();
    let row = |i: usize, a: usize| &j.rows[(i * j.lanes + a) * j.parameters..][..j.parameters];
    let mut theta = Vec::new();
    for (i, k) in (0..j.examples).flat_map(|i| (0..j.examples).map(move |k| (i, k))) {
        for (a, b) in (0..j.lanes).flat_map(|a| (0..j.lanes).map(move |b| (a, b))) {
            theta.push(row(i, a).iter().zip(row(k, b)).zip(&of_column).map(|((u, v), r)| r * u * v).sum());
        }
    }
    theta
}

#[test]
fn rates_weigh_the_parts_of_parameters_in_every_strategy_and_order() {
    for network in networks() {
        let parameters = network.init::<f64>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let x = inputs::<f64>(4, network.n_inputs(), 1);
        let n = parameters.len();
        let rates: [Vec<f64>; 4] = [
            (0..n).map(|p| 0.1 + p as f64).collect(),
            (0..n).map(|p| f64::from(u8::from(p < 2))).collect(),
            (0..n).map(|p| f64::from(u8::from(p + 2 >= n))).collect(),
            vec![0.0; n],
        ];
        for rates in rates {
            let wanted = weighted(&network, &parameters, &x, &rates);
            let mut requests: Vec<Request> = Strategy::ALL
                .iter()
                .map(|&strategy| Request { strategy, rates: Some(rates.clone()), ..Request::of(Outputs::Full) })
                .collect();
            requests.extend(ORDERS.map(|order| Request { order: Some(order), strategy: Strategy::Structured, ..requests[0].clone() }));
            for request in requests {
                let found = kernel(&f, &x, None, &request, |_, _| ()).unwrap();
                close(&found.values, &wanted, &format!("{network}, {request:?}"));
            }
        }
    }
}

#[test]
fn rates_that_are_none_are_refused() {
    let network = Network::new([2], [dense(1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let of = |rates: Vec<f64>| kernel(&f, &[1.0, 2.0], None, &Request { rates: Some(rates), ..Request::default() }, |_, _| ()).unwrap_err();
    assert_eq!(of(vec![1.0]), EmpiricalError::Rates { given: 1, parameters: 2 });
    assert_eq!(of(vec![1.0, -0.5]), EmpiricalError::Rate { parameter: 1, rate: -0.5 });
    assert!(of(vec![f64::INFINITY, 1.0]).to_string().contains("parameter 0 is inf"));
}

#[test]
fn the_diagonal_and_the_norms_are_those_of_the_kernel() {
    for network in networks() {
        let parameters = network.init::<f64>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let (n, o) = (5, network.outputs());
        let x = inputs::<f64>(n, network.n_inputs(), 1);
        let rates = Some((0..parameters.len()).map(|p| 0.5 + p as f64).collect());
        for kept in Outputs::ALL {
            let whole = kernel(&f, &x, None, &Request { rates: rates.clone(), ..Request::of(kept) }, |_, _| ()).unwrap();
            let m = kept.entries(o);
            let wanted: Vec<f64> = (0..n).flat_map(|i| whole.values[(i * n + i) * m..][..m].to_vec()).collect();
            let mut all = Vec::new();
            for tile in [None, Some(Tile { examples: 1, outputs: 1 }), Some(Tile { examples: 3, outputs: 2 })] {
                let request = Request { rates: rates.clone(), tile, ..Request::of(kept) };
                all.push(diagonal(&f, &x, &request, |_, _| ()).unwrap());
            }
            close(&all[0], &wanted, &format!("{kept:?}"));
            assert!(all[0] == all[1] && all[0] == all[2], "{kept:?}");
            let norms = gradient_norms(&f, &x, &Request { rates: rates.clone(), ..Request::default() }, |_, _| ()).unwrap();
            if kept == Outputs::Diagonal {
                close(&norms, &wanted.iter().map(|w| w.sqrt()).collect::<Vec<_>>(), "norms");
            }
        }
    }
}

#[test]
fn along_training_the_kernel_moves_away_from_the_first() {
    let network = Network::new([3], [dense(5), tanh(), dense(2)]).unwrap();
    let x = inputs::<f64>(4, 3, 1);
    let mut along = AlongTraining::new(&network, &x, Request::of(Outputs::Full), [0, 10, 20]);
    let start = network.init::<f64>(3).unwrap();
    for step in 0..=20 {
        let moved: Vec<Vec<f64>> = start.iter().map(|p| p.iter().map(|w| w * (1.0 + 0.02 * step as f64)).collect()).collect();
        along.observe(step, &moved).unwrap();
        if let Some(moment) = along.moments().last().filter(|m| m.step == step) {
            let f = Finite { network: &network, parameters: &moved };
            assert_eq!(moment.kernel, empirical_ntk(&f, &x, None, Outputs::Full, Strategy::Auto).unwrap());
        }
    }
    let moments = along.moments();
    assert_eq!(moments.iter().map(|m| m.step).collect::<Vec<_>>(), [0, 10, 20]);
    assert_eq!((moments[0].distance, moments[0].alignment > 1.0 - 1e-15), (0.0, true));
    assert!(moments[1].distance > 0.01 && moments[2].distance > moments[1].distance && moments[2].alignment < moments[1].alignment);
    // A factor alone moves a kernel away and leaves it aligned.
    let mut twice = moments[0].kernel.clone();
    twice.values.iter_mut().for_each(|v| *v *= 2.0);
    assert!((distance(&twice, &moments[0].kernel) - 1.0).abs() < 1e-15 && (alignment(&twice, &moments[0].kernel) - 1.0).abs() < 1e-15);
}
