//! μP as a function of time: the tables of Yang et al. 2022 (Tensor Programs V) are one, and at the base width it is the standard one.

use nn::{Layer, Loss, Network, Optimizer, Parameterization, Trainer, conv, dense, global_avg_pool, normals, tanh};

const BASE: usize = 4;
const WIDTH: usize = 16;
/// Adam with ε = 0, which alone has the symmetry.
const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.99, eps: 0.0 };

/// The scales of three layers, `(w_std, b_std)`.
type Scales = [(f64, f64); 3];
const SCALES: Scales = [(1.5, 0.3), (1.2, 0.2), (0.7, 0.1)];

/// A network by its width and scales, and the fan-ins of its three layers.
type Kind = (fn(usize, Scales) -> Network, [usize; 3]);

fn networks(width: usize) -> [Kind; 2] {
    fn fcn(width: usize, [a, b, c]: Scales) -> Network {
        let layers = [dense(width).std(a.0, a.1), tanh(), dense(width).std(b.0, b.1), tanh(), dense(3).std(c.0, c.1)];
        Network::new([5], layers).unwrap()
    }
    fn cnn(width: usize, [a, b, c]: Scales) -> Network {
        let hidden = |s: (f64, f64)| -> Layer { conv(width, [3, 1]).std(s.0, s.1) };
        let layers: Vec<Layer> = vec![hidden(a), tanh(), hidden(b), tanh(), global_avg_pool(), dense(3).std(c.0, c.1)];
        Network::new([4, 3, 2], layers).unwrap()
    }
    [(fcn, [5, width, width]), (cnn, [6, 3 * width, width])]
}

/// A row of a table, in base-width form with the ratio r: multiplier, standard deviation over that of the standard parameterization, the rates of SGD and
/// of Adam over η.
type Row = [f64; 4];

/// The three weights and the biases of the hidden layers; that of the output is as in the standard parameterization.
fn tables(r: f64) -> [[Row; 4]; 3] {
    let s = r.sqrt();
    [
        // Table 3.
        [[1.0, 1.0, r, 1.0], [1.0, 1.0, 1.0, 1.0 / r], [1.0, 1.0 / s, 1.0 / r, 1.0 / r], [1.0, 1.0, r, 1.0]],
        // Table 8.
        [[1.0, 1.0, r, 1.0], [1.0, 1.0, 1.0, 1.0 / r], [1.0 / r, s, r, 1.0], [1.0, 1.0, r, 1.0]],
        // Table 9.
        [[s, 1.0 / s, 1.0, 1.0 / s], [1.0, 1.0, 1.0, 1.0 / r], [1.0 / s, 1.0, 1.0, 1.0 / s], [s, 1.0 / s, 1.0, 1.0 / s]],
    ]
}

/// Outputs before every step.
fn outputs(mut trainer: Trainer<'_, f64>, x: &[f64], y: &[f64], rate: f64, steps: usize) -> Vec<f64> {
    let mut seen = Vec::new();
    for _ in 0..steps {
        seen.extend_from_slice(trainer.outputs(x));
        trainer.step(x, y, rate).unwrap();
    }
    seen
}

fn data(network: &Network) -> (Vec<f64>, Vec<f64>) {
    (normals(7, 90, 6 * network.n_inputs()), normals(7, 91, 6 * network.outputs()))
}

#[test]
fn tables_3_8_and_9_are_the_same_function_of_time() {
    let r = WIDTH as f64 / BASE as f64;
    for (network, fan_ins) in networks(WIDTH) {
        let mup = network(WIDTH, SCALES).mup(BASE).unwrap();
        let standard = network(WIDTH, SCALES).parameterized(Parameterization::Standard).init::<f64>(3).unwrap();
        let (x, y) = data(&mup);
        // Rates at which the features move by their own size within the steps.
        for (optimizer, rate, bound) in [(Optimizer::SGD, 0.1, 1e-12), (ADAM, 0.01, 1e-12)] {
            let adam = optimizer == ADAM;
            let ours = Trainer::new(&mup, &mup.init(3).unwrap(), Loss::SquaredError).with_optimizer(optimizer);
            let want = outputs(ours, &x, &y, rate, 20);
            let moved = want.iter().zip(&want[want.len() - 18..]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(moved > 0.1, "{moved}");
            for (table, rows) in [3, 8, 9].into_iter().zip(tables(r)) {
                let (weights, bias) = (&rows[..3], rows[3]);
                // In the NTK parameterization the multipliers are w_std/√n_in and b_std, so that any can be had.
                let [b1, b2, b3] = [bias, bias, [1.0; 4]];
                let all = [weights[0], b1, weights[1], b2, weights[2], b3];
                let scales = [0, 1, 2].map(|l| ((fan_ins[l] as f64).sqrt() * all[2 * l][0], all[2 * l + 1][0]));
                let network = network(WIDTH, scales);
                let start: Vec<Vec<f64>> =
                    standard.iter().zip(&all).map(|(values, row)| values.iter().map(|v| v * row[1]).collect()).collect();
                let rates = all.map(|row| row[if adam { 3 } else { 2 }]);
                let trainer = Trainer::new(&network, &start, Loss::SquaredError).with_optimizer(optimizer).with_rates(&rates);
                let got = outputs(trainer, &x, &y, rate, 20);
                let distance = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(distance < bound, "table {table}, {optimizer:?}: {distance:e}");
            }
        }
    }
}

#[test]
fn at_the_base_width_it_trains_to_the_bits_of_the_standard_parameterization() {
    for (network, _) in networks(BASE) {
        let (standard, mup) = (network(BASE, SCALES).parameterized(Parameterization::Standard), network(BASE, SCALES).mup(BASE).unwrap());
        let (x, y) = data(&mup);
        for optimizer in [Optimizer::SGD, Optimizer::Sgd { momentum: 0.9 }, Optimizer::ADAM] {
            let trained = |network: &Network| {
                let trainer = Trainer::new(network, &network.init(3).unwrap(), Loss::SquaredError).with_optimizer(optimizer);
                outputs(trainer, &x, &y, 0.05, 20)
            };
            assert_eq!(trained(&mup), trained(&standard), "{optimizer:?}");
        }
    }
}
