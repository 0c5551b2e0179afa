//! Training against closed forms, differences and itself.

use autodiff::{Flow, Gradient, Tape, Wrt};
use nn::{
    Course, Diverged, Loss, Network, Optimizer, Parameterization, Place, Plan, Schedule, Trainer, conv, dense, erf, flatten, layer_norm,
    max_pool, normals, relu, residual, tanh, train,
};
use rayon::ThreadPoolBuilder;
use std::ops::ControlFlow::{Break, Continue};

const ALL: Plan = Plan { rate: 0.1, schedule: Schedule { warmup: 0, course: Course::Constant }, batch: None, steps: 50, seed: 0 };

fn bits(parameters: &[Vec<f64>]) -> Vec<u64> {
    parameters.iter().flatten().map(|v| v.to_bits()).collect()
}

/// The loss from its formula.
fn loss_of(loss: Loss, f: &[f64], y: &[f64], outputs: usize) -> f64 {
    let n = (f.len() / outputs) as f64;
    let rows = f.chunks(outputs).zip(y.chunks(outputs));
    let each = |(f, y): (&[f64], &[f64])| match loss {
        Loss::SquaredError => f.iter().zip(y).map(|(f, y)| 0.5 * (f - y) * (f - y)).sum::<f64>(),
        Loss::CrossEntropy => {
            let normalizer = f.iter().map(|f| f.exp()).sum::<f64>().ln();
            f.iter().zip(y).map(|(f, p)| -p * (f - normalizer)).sum::<f64>()
        }
    };
    rows.map(each).sum::<f64>() / n
}

/// Rows of positive numbers that sum to 1.
fn soft_targets(rows: usize, cols: usize) -> Vec<f64> {
    let mut y: Vec<f64> = normals::<f64>(77, 0, rows * cols).iter().map(|v| v.abs() + 0.01).collect();
    for row in y.chunks_mut(cols) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
    }
    y
}

#[test]
fn a_linear_network_follows_its_closed_recursion() {
    // f = m X W + m_b 1 β has the constant kernel Θ = m² X Xᵀ + m_b² 1 1ᵀ, so that u − y is multiplied by I − ηΘ/N in every step.
    let (n, n_in, n_out) = (6, 4, 3);
    let (x, y) = (normals::<f64>(1, 0, n * n_in), normals::<f64>(1, 1, n * n_out));
    for parameterization in Parameterization::ALL {
        let network = Network::new([n_in], [dense(n_out).std(1.5, 0.4)]).unwrap().parameterized(parameterization);
        let [m, m_b] = [0, 1].map(|i| network.parameters()[i].scaling.multiplier);
        let parameters = network.init::<f64>(2).unwrap();
        let mut u = network.apply(&parameters, &x);
        let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError);
        let mut seen = 0;
        train(&mut trainer, &x, &y, &ALL, |step, trainer| {
            assert_eq!(step, seen);
            seen += 1;
            let f = trainer.outputs(&x);
            assert!(f.iter().zip(&u).all(|(f, u)| (f - u).abs() < 1e-12), "step {step}");
            let before = u.clone();
            for i in 0..n {
                for j in 0..n {
                    let xx: f64 = (0..n_in).map(|k| x[i * n_in + k] * x[j * n_in + k]).sum();
                    let theta = m * m * xx + m_b * m_b;
                    for a in 0..n_out {
                        u[i * n_out + a] -= ALL.rate / n as f64 * theta * (before[j * n_out + a] - y[j * n_out + a]);
                    }
                }
            }
            Continue(())
        })
        .unwrap();
        assert_eq!(seen, ALL.steps + 1);
    }
}

#[test]
fn losses_and_their_gradients_are_the_formulas() {
    for (n, outputs) in [(1, 1), (1, 5), (4, 1), (7, 3)] {
        let f: Vec<f64> = normals::<f64>(5, 0, n * outputs).iter().map(|v| 3.0 * v).collect();
        let p = soft_targets(n, outputs);
        for loss in [Loss::SquaredError, Loss::CrossEntropy] {
            let mut tape = Tape::new();
            let u = tape.input([n, outputs], &f);
            let y = tape.target([n, outputs], &p);
            let recorded = loss.record(&mut tape, u, y);
            assert!((tape.value(recorded)[0] - loss_of(loss, &f, &p, outputs)).abs() < 1e-14);
            let mut gradient = Gradient::new(Wrt::INPUTS);
            tape.pull(recorded, 1, &[1.0], &mut Flow::new(), &mut gradient).unwrap();
            for (r, row) in f.chunks(outputs).enumerate() {
                let normalizer: f64 = row.iter().map(|u| u.exp()).sum();
                for (c, u) in row.iter().enumerate() {
                    let target = p[r * outputs + c];
                    let want = match loss {
                        Loss::SquaredError => (u - target) / n as f64,
                        Loss::CrossEntropy => (u.exp() / normalizer - target) / n as f64,
                    };
                    let got = gradient.input(0)[r * outputs + c];
                    assert!((got - want).abs() < 1e-15, "{loss:?}, entry [{r}, {c}]: {got} is not {want}");
                }
            }
        }
    }
}

#[test]
fn cross_entropy_stands_extreme_outputs() {
    let mut tape = Tape::new();
    let f = tape.input([2, 2], &[1000.0, -1000.0, -1000.0, 1000.0]);
    let y = tape.target([2, 2], &[1.0, 0.0, 1.0, 0.0]);
    let loss = Loss::CrossEntropy.record(&mut tape, f, y);
    assert_eq!(tape.value(loss), [1000.0]);
}

#[test]
fn a_step_is_minus_the_rate_times_the_gradient() {
    let layers = [dense(4).std(1.3, 0.5), erf(), residual([dense(4).std(0.8, 0.2), tanh()]), dense(3).without_bias()];
    let (x, rate, h) = (normals::<f64>(3, 0, 5 * 2), 0.05, 1e-3);
    for parameterization in Parameterization::ALL {
        let network = Network::new([2], layers.clone()).unwrap().parameterized(parameterization);
        for loss in [Loss::SquaredError, Loss::CrossEntropy] {
            let y = soft_targets(5, 3);
            let parameters = network.init::<f64>(4).unwrap();
            let mut trainer = Trainer::new(&network, &parameters, loss);
            let value = trainer.step(&x, &y, rate).unwrap();
            let at = |p: usize, i: usize, by: f64| {
                let mut moved = parameters.clone();
                moved[p][i] += by;
                loss_of(loss, &network.apply(&moved, &x), &y, 3)
            };
            assert!((value - at(0, 0, 0.0)).abs() < 1e-14);
            for (p, stepped) in trainer.parameters().iter().enumerate() {
                for (i, &got) in stepped.iter().enumerate() {
                    // The 5-point formula: its error is h⁴/30 times the fifth derivative.
                    let slope = (8.0 * (at(p, i, h) - at(p, i, -h)) - (at(p, i, 2.0 * h) - at(p, i, -2.0 * h))) / (12.0 * h);
                    let want = parameters[p][i] - rate * slope;
                    assert!((got - want).abs() < 1e-11, "{loss:?}, parameter {p}, entry {i}: {got} is not {want}");
                }
            }
        }
    }
}

/// One weight for each example: a batch shows in the weights that it moves.
fn batches(examples: usize, batch: Option<usize>, steps: usize, seed: u64) -> Vec<Vec<usize>> {
    let network = Network::new([examples], [dense(1).without_bias()]).unwrap().parameterized(Parameterization::Standard);
    let mut x = vec![0.0; examples * examples];
    (0..examples).for_each(|i| x[i * examples + i] = 1.0);
    let mut before = vec![vec![0.0; examples]];
    let mut trainer = Trainer::new(&network, &before, Loss::SquaredError);
    let mut visited = Vec::new();
    train(&mut trainer, &x, &vec![1.0; examples], &Plan { rate: 0.25, batch, steps, seed, ..ALL }, |step, trainer| {
        let now = trainer.parameters();
        if step > 0 {
            let moved: Vec<usize> = (0..examples).filter(|&i| now[0][i] != before[0][i]).collect();
            for &i in &moved {
                // The mean is over the examples of this batch, a ragged one included.
                let want = before[0][i] - 0.25 * (before[0][i] - 1.0) / moved.len() as f64;
                assert!((now[0][i] - want).abs() < 1e-15, "step {step}, example {i}");
            }
            visited.push(moved);
        }
        before = now;
        Continue(())
    })
    .unwrap();
    visited
}

#[test]
fn every_epoch_visits_every_example_once() {
    for (examples, batch) in [(10_usize, 3_usize), (10, 5), (10, 9), (7, 1), (64, 10)] {
        let per_epoch = examples.div_ceil(batch);
        let visited = batches(examples, Some(batch), 4 * per_epoch, 6);
        let epochs: Vec<&[Vec<usize>]> = visited.chunks(per_epoch).collect();
        assert_eq!(epochs.len(), 4);
        for epoch in &epochs {
            let (last, full) = epoch.split_last().unwrap();
            assert!(full.iter().all(|b| b.len() == batch));
            assert_eq!(last.len(), examples - batch * (per_epoch - 1));
            let mut all = epoch.concat();
            all.sort_unstable();
            assert_eq!(all, (0..examples).collect::<Vec<_>>());
        }
        assert!(epochs.windows(2).any(|pair| pair[0] != pair[1]), "the order is drawn anew for each epoch");
    }
    assert_eq!(batches(10, Some(3), 12, 6), batches(10, Some(3), 12, 6));
    assert_ne!(batches(10, Some(3), 12, 6), batches(10, Some(3), 12, 7));
    for batch in [None, Some(10), Some(11), Some(usize::MAX)] {
        assert_eq!(batches(10, batch, 3, 6), vec![(0..10).collect::<Vec<_>>(); 3]);
    }
}

fn trained(seed: u64) -> Vec<Vec<f64>> {
    let network = Network::new([9], [dense(150), relu(), residual([dense(150), erf()]), dense(4)]).unwrap();
    let (x, y) = (normals::<f64>(1, 0, 130 * 9), normals::<f64>(1, 1, 130 * 4));
    let mut trainer = Trainer::new(&network, &network.init(3).unwrap(), Loss::SquaredError);
    train(&mut trainer, &x, &y, &Plan { rate: 0.2, batch: Some(48), steps: 12, seed, ..ALL }, |_, _| Continue(())).unwrap();
    trainer.parameters()
}

#[test]
fn a_network_of_images_is_trained_to_the_same_bits_on_any_number_of_threads() {
    let layers = [conv(20, [3, 3]), relu(), max_pool([2, 2]), residual([conv(20, [3, 3]), tanh()]), layer_norm(), flatten(), dense(3)];
    let network = Network::nchw([2, 12, 12], layers).unwrap();
    let n = 70;
    let (x, y) = (normals::<f64>(1, 90, n * network.n_inputs()), normals::<f64>(1, 91, n * 3));
    let trained = || {
        let mut losses = Vec::new();
        let mut trainer = Trainer::new(&network, &network.init(3).unwrap(), Loss::SquaredError);
        for _ in 0..10 {
            losses.push(trainer.step(&x, &y, 0.2).unwrap());
        }
        (losses, bits(&trainer.parameters()))
    };
    let want = trained();
    assert!(want.0.windows(2).all(|pair| pair[1] < pair[0]) && want.0[9] < 0.8 * want.0[0], "{:?}", want.0);
    for threads in [1, 2, 7] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(trained) == want, "{threads} threads");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let want = bits(&trained(5));
    for threads in [1, 2, 3, 7] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| bits(&trained(5))) == want, "{threads} threads");
    }
    assert!(bits(&trained(6)) != want, "another seed must give another order");
}

#[test]
fn the_loss_falls() {
    let network = Network::new([2], [dense(32).std(1.4, 0.1), relu(), dense(1)]).unwrap();
    let x = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
    let y = [-1.0, 1.0, 1.0, -1.0];
    let mut trainer = Trainer::new(&network, &network.init(1).unwrap(), Loss::SquaredError);
    let mut losses = Vec::new();
    train(&mut trainer, &x, &y, &Plan { rate: 0.5, steps: 400, ..ALL }, |_, trainer| {
        losses.push(loss_of(Loss::SquaredError, trainer.outputs(&x), &y, 1));
        Continue(())
    })
    .unwrap();
    assert!(losses.windows(2).all(|w| w[1] < w[0]), "{losses:?}");
    assert!(losses[400] < 0.1 * losses[0], "{} to {}", losses[0], losses[400]);
    let f = trainer.outputs(&x);
    assert!(f.iter().zip(y).all(|(f, y)| f * y > 0.0), "exclusive or was not learnt: {f:?}");
}

#[test]
fn the_observer_may_end_the_training() {
    let network = Network::new([2], [dense(1)]).unwrap();
    let (x, y, parameters) = ([1.0, 2.0], [3.0], network.init::<f64>(1).unwrap());
    let run = |stop: usize| {
        let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError);
        let mut calls = 0;
        train(&mut trainer, &x, &y, &ALL, |step, _| {
            calls += 1;
            if step == stop { Break(()) } else { Continue(()) }
        })
        .unwrap();
        (calls, trainer.parameters())
    };
    let mut by_hand = Trainer::new(&network, &parameters, Loss::SquaredError);
    (0..3).for_each(|_| {
        by_hand.step(&x, &y, ALL.rate).unwrap();
    });
    assert_eq!(run(3), (4, by_hand.parameters()));
    assert_eq!(run(0), (1, parameters.clone()));
    assert_eq!(run(usize::MAX).0, 51);
}

#[test]
fn divergence_is_an_error_with_its_step_and_layer_and_leaves_finite_parameters() {
    let network = Network::new([3], [dense(20), tanh(), dense(2)]).unwrap();
    let (x, y) = (normals::<f64>(1, 0, 12), normals::<f64>(1, 1, 8));
    let mut trainer = Trainer::new(&network, &network.init(1).unwrap(), Loss::SquaredError);
    let mut taken = 0;
    let plan = Plan { rate: 1e4, steps: 1000, ..ALL };
    let error = train(&mut trainer, &x, &y, &plan, |step, _| {
        taken = step;
        Continue(())
    })
    .unwrap_err();
    assert!(taken > 1 && error.step == taken && error.loss == f64::INFINITY && error.rate == 1e4, "{error:?} after {taken} steps");
    // Outputs of 10¹⁵⁴ are finite, their squares are not.
    assert_eq!(error.place, Place::Loss);
    assert_eq!(error.to_string(), format!("training stopped at step {taken}: the loss is not finite; lower the rate, which is 10000"));
    assert!(trainer.parameters().iter().flatten().all(|v| v.is_finite()));
    assert_eq!(trainer.steps(), taken);

    // A target, or an input, that is not a number.
    let parameters = network.init(1).unwrap();
    let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError);
    let error = train(&mut trainer, &x[..3], &[0.0, f64::NAN], &ALL, |_, _| Continue(())).unwrap_err();
    assert!(error.step == 0 && error.loss.is_nan() && error.place == Place::Targets);
    assert_eq!(error.to_string(), "training stopped at step 0: a target is not finite; replace it or drop it");
    let error = trainer.step(&[0.0, f64::NAN, 0.0], &[0.0, 0.0], 0.1).unwrap_err();
    assert_eq!(error.place, Place::Inputs);
    assert_eq!(trainer.parameters(), parameters);
}

#[test]
fn the_first_layer_that_is_not_finite_is_named() {
    let block = residual([relu(), dense(4)]);
    let network = Network::new([3], [dense(4), block, relu(), dense(2)]).unwrap();
    let (x, y) = (normals::<f64>(1, 0, 12), normals::<f64>(1, 1, 8));
    for (parameter, layer) in
        [(0, "layers[0] (dense)"), (1, "layers[0] (dense)"), (2, "layers[1].layers[1] (dense)"), (5, "layers[3] (dense)")]
    {
        for value in [f64::NAN, f64::INFINITY] {
            let mut parameters = network.init::<f64>(1).unwrap();
            parameters[parameter][0] = value;
            let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError);
            let error = trainer.step(&x, &y, 0.1).unwrap_err();
            assert_eq!((error.step, error.place), (0, Place::Layer(layer.into())), "{value} in parameter {parameter}");
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_named_where_it_began() {
    // f = a·(b·x): the loss is about ½, ∂L/∂b = a·x·(f − y) overflows and ∂L/∂a = b·x·(f − y) does not.
    let network = Network::new([1], [dense(1).without_bias(), dense(1).without_bias()]).unwrap();
    let mut trainer = Trainer::new(&network, &[vec![0.0_f32], vec![1e38]], Loss::SquaredError);
    let error = trainer.step(&[1e3], &[1.0], 1e-3).unwrap_err();
    let (parameter, layer) = ("0.weight".to_string(), "layers[0] (dense)".to_string());
    assert_eq!(error.place, Place::Gradient { parameter, layer });
    assert!(error.to_string().contains("the gradient of `0.weight` in layers[0] (dense) is not finite"), "{error}");
    assert_eq!(error.loss, 0.5);
}

#[test]
fn a_step_that_overflows_is_not_taken() {
    // The loss, ½·10³⁸, is a finite f32; the step, 10¹⁰·10¹⁹·10¹⁰, is not.
    let network = Network::new([1], [dense(1).without_bias()]).unwrap();
    let place = Place::Parameter { parameter: "0.weight".into(), layer: "layers[0] (dense)".into() };
    let mut trainer = Trainer::new(&network, &[vec![0.0_f32]], Loss::SquaredError);
    let plan = Plan { rate: 1e10, steps: 3, ..ALL };
    let error = train(&mut trainer, &[1e10], &[1e19], &plan, |_, _| Continue(())).unwrap_err();
    assert_eq!(error, Diverged { step: 0, loss: f64::from(0.5 * 1e19_f32 * 1e19), rate: 1e10, place: place.clone() });
    assert_eq!(trainer.parameters(), [[0.0]]);
    let mut trainer = Trainer::new(&network, &[vec![0.0_f64]], Loss::SquaredError);
    assert_eq!(trainer.step(&[1.0], &[1.0], f64::NAN).unwrap_err().place, place);
    assert_eq!((trainer.parameters(), trainer.steps()), (vec![vec![0.0]], 0));
    // Under Adam the mean square of gradients overflows first.
    let mut trainer = Trainer::new(&network, &[vec![0.0_f32]], Loss::SquaredError).with_optimizer(Optimizer::ADAM);
    assert_eq!(trainer.step(&[1e10], &[1e19], 1e-3).unwrap_err().place, place);
    assert_eq!(trainer.parameters(), [[0.0]]);
}

#[test]
fn no_examples_and_no_steps_change_nothing() {
    let network = Network::new([2], [dense(3), relu(), dense(1)]).unwrap();
    let parameters = network.init::<f64>(1).unwrap();
    for loss in [Loss::SquaredError, Loss::CrossEntropy] {
        for (x, y, plan) in [
            (&[][..], &[][..], ALL),
            (&[], &[], Plan { batch: Some(4), ..ALL }),
            (&[], &[], Plan { batch: Some(0), ..ALL }),
            (&[1.0, 2.0], &[1.0], Plan { steps: 0, ..ALL }),
        ] {
            let mut trainer = Trainer::new(&network, &parameters, loss);
            train(&mut trainer, x, y, &plan, |_, _| Continue(())).unwrap();
            assert_eq!(trainer.parameters(), parameters);
            assert!(trainer.outputs(&[]).is_empty());
        }
    }
}

fn train_on(x: &[f64], y: &[f64], batch: Option<usize>) {
    let network = Network::new([2], [dense(3)]).unwrap();
    let mut trainer = Trainer::new(&network, &network.init(1).unwrap(), Loss::SquaredError);
    let _ = train(&mut trainer, x, y, &Plan { batch, ..ALL }, |_, _| Continue(()));
}

#[test]
#[should_panic(expected = "5 inputs of 2 and 6 targets of 3 do not fit")]
fn ragged_inputs_panic() {
    train_on(&[0.0; 5], &[0.0; 6], None);
}

#[test]
#[should_panic(expected = "4 inputs of 2 and 3 targets of 3 do not fit")]
fn missing_targets_panic() {
    train_on(&[0.0; 4], &[0.0; 3], None);
}

#[test]
#[should_panic(expected = "a batch holds at least one example")]
fn an_empty_batch_panics() {
    train_on(&[0.0; 4], &[0.0; 6], Some(0));
}
