//! What derivatives cost: bookkeeping for each node, and derivatives of a dense network as ratios to its forward pass.
//!
//! `cargo bench -p tangents-autodiff --bench lean` prints medians of rounds in which everything is measured by turns, so that what else the machine
//! does falls on all alike.

use autodiff::{Differentiable, Flow, Gradient, Hessian, Leaf, Leaves, Phi, Point, Scalar, Shape, Tape, Var, Wrt};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 25;
const WIDTH: usize = 512;
const BATCH: usize = 128;
const LAYERS: usize = 3;
const INPUTS: usize = 784;
const OUTPUTS: usize = 10;

/// `LAYERS` hidden layers of ReLU with `WIDTH` units on images of 28 × 28.
struct Network;

impl Differentiable for Network {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let mut x = inputs[0];
        for layer in parameters.chunks_exact(2) {
            let scale = (2.0 / tape.shape(x).cols() as f64).sqrt();
            x = tape.affine(x, layer[0], scale, Some((layer[1], 0.1)));
            if tape.shape(x).cols() == WIDTH {
                x = tape.map(Phi::Relu, x);
            }
        }
        x
    }
}

fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * 1.7
    };
    (0..len).map(|_| next()).collect()
}

fn point() -> Point<f32> {
    let widths: Vec<usize> = [INPUTS].into_iter().chain(std::iter::repeat_n(WIDTH, LAYERS)).chain([OUTPUTS]).collect();
    let parameters = widths.windows(2).enumerate().flat_map(|(i, w)| {
        let seed = 2 * i as u64;
        [(Shape::from([w[0], w[1]]), values(w[0] * w[1], seed)), (Shape::from([w[1]]), values(w[1], seed + 1))]
    });
    Point { inputs: vec![(Shape::from([BATCH, INPUTS]), values(BATCH * INPUTS, 99))], parameters: parameters.collect() }
}

/// Seconds of each job, the median of rounds by turns.
fn medians(jobs: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut seconds = vec![Vec::new(); jobs.len()];
    for round in 0..ROUNDS + 2 {
        for (job, seconds) in jobs.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            job();
            // The first rounds warm up.
            if round >= 2 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    seconds.iter_mut().for_each(|s| s.sort_by(f64::total_cmp));
    seconds.iter().map(|s| s[s.len() / 2]).collect()
}

/// Nanoseconds a node on 1 × 1 operations, where there is nothing to compute.
fn bookkeeping() {
    const NODES: usize = 10_000;
    println!("bookkeeping, ns a node of 1 × 1 operations\n  {:<24} {:>8} {:>8} {:>8}", "", "record", "push", "pull");
    type Step = fn(&mut Tape<f64>, Var, Var, Var, usize) -> Var;
    let kinds: [(&str, Step); 6] = [
        ("affine", |tape, w, _, y, _| tape.affine(y, w, 1.0, None)),
        ("add", |tape, _, x, y, _| tape.add(y, x)),
        ("mul", |tape, _, x, y, _| tape.mul(y, x)),
        ("scale", |tape, _, _, y, _| tape.scale(y, 0.999)),
        ("relu", |tape, _, _, y, _| tape.map(Phi::Relu, y)),
        ("all by turns", |tape, w, x, y, i| match i % 5 {
            0 => tape.affine(y, w, 1.0, None),
            1 => tape.add(y, x),
            2 => tape.mul(y, x),
            3 => tape.scale(y, 0.999),
            _ => tape.map(Phi::Relu, y),
        }),
    ];
    for (name, step) in kinds {
        let mut tape = Tape::<f64>::new();
        let w = tape.parameter([1, 1], &[0.999]);
        let x = tape.input([1, 1], &[0.5]);
        let mark = tape.mark();
        let chain = |tape: &mut Tape<f64>| {
            tape.rewind(mark);
            (0..NODES).fold(x, |y, i| step(tape, w, x, y, i))
        };
        let mut recorded = tape.clone();
        let output = chain(&mut recorded);
        let (mut flow, mut flow2) = (Flow::new(), Flow::new());
        let mut gradient = Gradient::new(Wrt::BOTH);
        let one = [1.0];
        let mut jobs: [&mut dyn FnMut(); 3] = [
            &mut || {
                black_box(chain(&mut tape));
            },
            &mut || {
                black_box(recorded.push(output, 1, |leaf| (leaf != Leaf::Constant).then_some(&one[..]), &mut flow));
            },
            &mut || recorded.pull(output, 1, &one, &mut flow2, &mut gradient).expect("a gradient is never refused"),
        ];
        let [record, push, pull] = medians(&mut jobs)[..] else { unreachable!("three jobs") };
        let ns = |seconds: f64| seconds / NODES as f64 * 1e9;
        println!("  {name:<24} {:>8.1} {:>8.1} {:>8.1}", ns(record), ns(push), ns(pull));
    }
}

fn network() {
    let at = point();
    let mut tape = Tape::<f32>::new();
    let parameters: Vec<Var> = at.parameters.iter().map(|(shape, w)| tape.parameter(*shape, w)).collect();
    let mark = tape.mark();
    let record = |tape: &mut Tape<f32>| {
        tape.rewind(mark);
        let x = tape.input(at.inputs[0].0, &at.inputs[0].1);
        Network.record(tape, &[x], &parameters)
    };
    let tangents: Vec<Vec<f32>> = at.parameters.iter().enumerate().map(|(i, (_, w))| values(w.len(), 50 + i as u64)).collect();
    let dx = values(BATCH * INPUTS, 77);
    let c = values(BATCH * OUTPUTS, 78);
    let direction = Leaves::of_parameters(tangents.clone());
    let mut tapes = [(); 5].map(|()| tape.clone());
    let [one, two, three, four, five] = &mut tapes;
    let mut flows = [(); 4].map(|()| Flow::new());
    let [flow2, flow3, flow4, flow5] = &mut flows;
    let (mut of_parameters, mut of_both) = (Gradient::new(Wrt::PARAMETERS), Gradient::new(Wrt::BOTH));
    let mut hessian = Hessian::new(&Network, &at, Wrt::PARAMETERS);
    let names = ["forward", "gradient of parameters", "gradient of both", "parameter-jvp", "input-jvp", "Hessian-vector product"];
    let mut jobs: [&mut dyn FnMut(); 6] = [
        &mut || {
            black_box(record(one));
        },
        &mut || {
            let y = record(two);
            two.pull(y, 1, &c, flow2, &mut of_parameters).expect("a gradient is never refused");
        },
        &mut || {
            let y = record(three);
            three.pull(y, 1, &c, flow3, &mut of_both).expect("a gradient is never refused");
        },
        &mut || {
            let y = record(four);
            black_box(four.push(y, 1, |leaf| direction.get(leaf), flow4));
        },
        &mut || {
            let y = record(five);
            black_box(five.push(y, 1, |leaf| (leaf == Leaf::Input(0)).then_some(&dx[..]), flow5));
        },
        &mut || {
            black_box(hessian.pull(&c, &direction));
        },
    ];
    println!(
        "{INPUTS} inputs, {LAYERS} hidden layers of width {WIDTH}, {BATCH} examples, f32, {} threads; recording included",
        rayon::current_num_threads()
    );
    let seconds = medians(&mut jobs);
    for (name, s) in names.iter().zip(&seconds) {
        println!("  {name:<24} {:>8.2} ms {:>8.2} × forward", s * 1e3, s / seconds[0]);
    }
}

fn main() {
    // What `cargo test --benches` passes: everything is run once there by its own tests.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    bookkeeping();
    network();
}
