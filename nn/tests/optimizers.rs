//! Optimizers, decay, rates and schedules against slow obvious references.

use nn::{Course, Decay, Loss, Network, Optimizer, Parameterization, Plan, Schedule, Trainer, dense, normals, relu, residual, tanh, train};
use rayon::ThreadPoolBuilder;
use std::ops::ControlFlow::{Break, Continue};

fn network() -> Network {
    Network::new([3], [dense(5).std(1.4, 0.3), tanh(), residual([dense(5).std(0.8, 0.2), tanh()]), dense(2).std(1.0, 0.1)]).unwrap()
}

fn data(n: usize) -> (Vec<f64>, Vec<f64>) {
    (normals(11, 0, 3 * n), normals(11, 1, 2 * n))
}

/// The gradient, from plain descent at the rate 1.
fn gradient(network: &Network, parameters: &[Vec<f64>], x: &[f64], y: &[f64]) -> Vec<Vec<f64>> {
    let mut trainer = Trainer::new(network, parameters, Loss::SquaredError);
    trainer.step(x, y, 0.0).unwrap();
    (0..parameters.len()).map(|i| trainer.gradient(i).unwrap().to_vec()).collect()
}

/// The formulas of the documentation, entry by entry.
fn by_the_formulas(optimizer: Optimizer, decay: Decay, factors: &[f64], network: &Network, rate: f64, steps: usize) -> Vec<Vec<f64>> {
    let (x, y) = data(7);
    let mut theta = network.init::<f64>(5).unwrap();
    let zeros: Vec<Vec<f64>> = theta.iter().map(|p| vec![0.0; p.len()]).collect();
    let (mut first, mut second) = (zeros.clone(), zeros);
    for t in 1..=steps {
        let g = gradient(network, &theta, &x, &y);
        for p in 0..theta.len() {
            let eta = rate * factors[p];
            for i in 0..theta[p].len() {
                let (mut g, mut value) = (g[p][i], theta[p][i]);
                match decay {
                    Decay::L2(lambda) => g += lambda * value,
                    Decay::Decoupled(lambda) => value *= 1.0 - eta * lambda,
                }
                let (m, v) = (&mut first[p][i], &mut second[p][i]);
                match optimizer {
                    Optimizer::Sgd { momentum } => {
                        *m = momentum * *m + g;
                        value -= eta * *m;
                    }
                    Optimizer::Adam { beta1, beta2, eps } => {
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *v = beta2 * *v + (1.0 - beta2) * g * g;
                        let (m_hat, v_hat) = (*m / (1.0 - beta1.powi(t as i32)), *v / (1.0 - beta2.powi(t as i32)));
                        value -= eta * network.parameters()[p].scaling.adam * m_hat / (v_hat.sqrt() + eps);
                    }
                }
                theta[p][i] = if factors[p] == 0.0 { theta[p][i] } else { value };
            }
        }
    }
    theta
}

#[track_caller]
fn assert_near(got: &[Vec<f64>], want: &[Vec<f64>], bound: f64) {
    for (p, (got, want)) in got.iter().zip(want).enumerate() {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() <= bound, "parameter {p}, entry {i}: {got} is not {want}");
        }
    }
}

#[test]
fn optimizers_are_their_formulas() {
    let optimizers = [
        Optimizer::SGD,
        Optimizer::Sgd { momentum: 0.9 },
        Optimizer::ADAM,
        Optimizer::Adam { beta1: 0.7, beta2: 0.95, eps: 1e-3 },
        Optimizer::Adam { beta1: 0.0, beta2: 0.9, eps: 0.0 },
    ];
    let decays = [Decay::NONE, Decay::L2(0.1), Decay::Decoupled(0.1)];
    let networks = [network(), network().parameterized(Parameterization::Standard), network().mup(2).unwrap()];
    let (x, y) = data(7);
    for optimizer in optimizers {
        for decay in decays {
            for (network, factors) in networks.iter().zip([[1.0; 6], [1.0, 0.5, 0.0, 2.0, 1.0, 0.0], [3.0; 6]]) {
                let start = network.init::<f64>(5).unwrap();
                let mut trainer =
                    Trainer::new(network, &start, Loss::SquaredError).with_rates(&factors).with_optimizer(optimizer).with_decay(decay);
                for _ in 0..8 {
                    trainer.step(&x, &y, 0.03).unwrap();
                }
                let want = by_the_formulas(optimizer, decay, &factors, network, 0.03, 8);
                assert_near(&trainer.parameters(), &want, 1e-12);
                for (i, factor) in factors.iter().enumerate() {
                    assert_eq!(trainer.parameter(i) == start[i], *factor == 0.0, "{optimizer:?}, parameter {i}");
                    assert_eq!(trainer.gradient(i).is_none(), *factor == 0.0);
                }
            }
        }
    }
}

#[test]
fn with_eps_of_zero_a_dead_unit_stays() {
    // The first unit is dead at every input.
    let network = Network::new([1], [dense(2).std(1.0, 1.0), relu(), dense(1).without_bias()]).unwrap();
    let start: Vec<Vec<f64>> = vec![vec![1.0, 1.0], vec![-100.0, 0.5], vec![1.0, 1.0]];
    let optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 0.0 };
    let mut trainer = Trainer::new(&network, &start, Loss::SquaredError).with_optimizer(optimizer);
    for _ in 0..5 {
        trainer.step(&[1.0, 2.0], &[0.0, 1.0], 0.01).unwrap();
    }
    let now = trainer.parameters();
    assert_eq!((now[0][0], now[1][0], now[2][0]), (1.0, -100.0, 1.0));
    assert!(now[0][1] != 1.0 && now.iter().flatten().all(|v| v.is_finite()));
}

#[test]
fn all_frozen_is_no_step_at_all() {
    let network = network();
    let start = network.init::<f64>(1).unwrap();
    let (x, y) = data(4);
    let mut trainer =
        Trainer::new(&network, &start, Loss::CrossEntropy).with_rates(&[0.0; 6]).with_optimizer(Optimizer::ADAM).with_decay(Decay::L2(1.0));
    let loss = trainer.step(&x, &y, 0.1).unwrap();
    assert_eq!((trainer.parameters(), trainer.steps()), (start, 1));
    assert_eq!(trainer.loss(&x, &y), loss);
}

/// A weight for each thread to have several blocks of, and more.
#[test]
fn optimizers_give_the_same_bits_on_any_number_of_threads() {
    let network = Network::new([300], [dense(400), relu(), dense(2)]).unwrap().mup(64).unwrap();
    let (x, y) = (normals::<f32>(1, 0, 4 * 300), normals::<f32>(1, 1, 4 * 2));
    for optimizer in [Optimizer::Sgd { momentum: 0.5 }, Optimizer::ADAM] {
        let trained = || {
            let mut trainer = Trainer::new(&network, &network.init(3).unwrap(), Loss::SquaredError)
                .with_optimizer(optimizer)
                .with_decay(Decay::Decoupled(0.01));
            for _ in 0..4 {
                trainer.step(&x, &y, 1e-3).unwrap();
            }
            trainer.parameters()
        };
        let want = trained();
        for threads in [1, 2, 3, 7] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(trained) == want, "{optimizer:?}, {threads} threads");
        }
    }
}

#[test]
fn schedules_have_their_values() {
    let course = |course| Schedule { warmup: 0, course };
    assert_eq!([0, 1, 9, 99].map(|s| course(Course::Constant).factor(s, 10)), [1.0; 4]);
    assert_eq!([0, 1, 5, 10, 99].map(|s| course(Course::Linear).factor(s, 10)), [1.0, 0.9, 0.5, 0.0, 0.0]);
    let steps = course(Course::Step { every: 3, factor: 0.5 });
    assert_eq!([0, 2, 3, 5, 6].map(|s| steps.factor(s, 10)), [1.0, 1.0, 0.5, 0.5, 0.25]);
    let cosine = [0, 5, 10].map(|s| course(Course::Cosine).factor(s, 10));
    assert!((cosine[1] - 0.5).abs() < 1e-15 && (cosine[0], cosine[2]) == (1.0, 0.0));
    let warm = Schedule { warmup: 4, course: Course::Linear };
    assert_eq!([0, 1, 2, 3, 4, 8, 12].map(|s| warm.factor(s, 12)), [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]);
    // More warm-up than there are steps, and no steps at all.
    assert_eq!(Schedule { warmup: 100, course: Course::Cosine }.factor(9, 10), 0.1);
    assert_eq!(warm.factor(4, 0), 1.0);
}

#[test]
fn the_schedule_is_what_steps_are_taken_at() {
    let network = Network::new([1], [dense(1).without_bias()]).unwrap();
    let schedule = Schedule { warmup: 2, course: Course::Step { every: 2, factor: 0.1 } };
    let plan = Plan { rate: 0.5, schedule, steps: 7, ..Plan::default() };
    let (mut trainer, mut before) = (Trainer::new(&network, &[vec![0.0]], Loss::SquaredError), None);
    train(&mut trainer, &[1.0], &[1.0], &plan, |step, trainer| {
        let now = trainer.parameter(0)[0];
        if let Some(before) = before {
            // θ ← θ − η(θ − 1).
            let rate: f64 = (now - before) / (1.0 - before);
            assert!((rate - 0.5 * [0.5, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01][step - 1]).abs() < 1e-14, "step {step}: {rate}");
        }
        before = Some(now);
        Continue(())
    })
    .unwrap();
}

#[test]
fn observers_see_weights_gradients_and_features() {
    let network = network();
    let (x, y) = data(3);
    let mut trainer = Trainer::new(&network, &network.init(1).unwrap(), Loss::SquaredError);
    let mut seen = 0;
    train(&mut trainer, &x, &y, &Plan { steps: 3, ..Plan::default() }, |step, trainer| {
        let features: Vec<Vec<f64>> = trainer.features(&x).map(<[f64]>::to_vec).collect();
        let rows = network.summary();
        assert_eq!(features.len(), rows.len());
        assert!(features.iter().zip(rows).all(|(f, row)| f.len() == 3 * row.shape[0]), "step {step}");
        // The activation of the first layer, and the sum of the residual layer, by hand.
        assert!(features[1].iter().zip(&features[0]).all(|(y, z)| (y - z.tanh()).abs() < 1e-15));
        let sum = features[1].iter().zip(&features[3]).map(|(a, b)| a + b);
        assert!(sum.zip(&features[4]).all(|(a, b)| a == *b));
        assert_eq!(features[5], trainer.outputs(&x));
        assert_eq!(trainer.gradient(0).is_some(), step > 0);
        assert_eq!(trainer.parameter(2), trainer.parameters()[2]);
        seen += 1;
        if step == 2 { Break(()) } else { Continue(()) }
    })
    .unwrap();
    assert_eq!((seen, trainer.steps()), (3, 2));
}

#[test]
#[should_panic(expected = "momentum must be at least 0 and less than 1, and it is 1")]
fn a_momentum_of_one_panics() {
    let network = network();
    let _ = Trainer::new(&network, &network.init::<f64>(1).unwrap(), Loss::SquaredError).with_optimizer(Optimizer::Sgd { momentum: 1.0 });
}

#[test]
#[should_panic(expected = "the factor of 0.bias must be a number of at least 0, and it is -1")]
fn a_negative_rate_panics() {
    let network = network();
    let _ = Trainer::new(&network, &network.init::<f64>(1).unwrap(), Loss::SquaredError).with_rates(&[1.0, -1.0, 1.0, 1.0, 1.0, 1.0]);
}
