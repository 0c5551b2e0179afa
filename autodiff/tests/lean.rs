//! A warm step allocates nothing, and what a step needs at most is its values and one buffer of flow.
//!
//! There is one test, since the allocator counts what all threads ask for.

use autodiff::{Differentiable, Dual, Flow, Gradient, Hessian, Leaves, Linearized, Mark, Op, PerExample, Phi, Point, Scalar, Shape, Tape};
use autodiff::{Var, Windows, Wrt};
use peak_alloc::PeakAlloc;
use std::collections::BTreeSet;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The bytes that `f` needed at any time beyond those in use before.
fn needed<R>(f: impl FnOnce() -> R) -> (usize, R) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = f();
    (MEMORY.peak_usage() - before, result)
}

/// Every operation, once, on images `[n, 4, 3, 2]`, with no memory of its own.
struct Everything;

impl Differentiable for Everything {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let ([x], [w, b, left, table]) = (inputs, parameters) else { panic!("one input and four parameters") };
        let n = tape.shape(*x).dims()[0];
        let (image, c) = ([4, 3], 2);
        let patches = tape.patches(*x, Windows::same(image, c, [2, 2], [1, 1]));
        let z = tape.affine(patches, *w, 0.7, Some((*b, 0.3)));
        let direct = tape.conv(*x, *w, Windows::same(image, c, [2, 2], [1, 1]), 0.7, Some((*b, 0.3)));
        let z = tape.add(z, direct);
        let z = tape.map(Phi::Softplus, z);
        let (mean, most) =
            (tape.avg_pool(z, Windows::same(image, c, [2, 2], [2, 2])), tape.max_pool(z, Windows::same(image, c, [2, 2], [2, 2])));
        let rows = tape.concat(&[mean, most], 3);
        let rows = tape.reshape(rows, [n, 4, 4]);
        let turned = tape.transpose(rows);
        let (grams, sides) = (tape.product(rows, turned, 0.5), tape.product(*left, rows, 0.5));
        let both = tape.concat(&[grams, sides], 1);
        let first = tape.slice(both, 1, 0..4);
        let (sum, difference) = (tape.add(first, grams), tape.sub(first, rows));
        let (product, quotient) = (tape.mul(sum, difference), tape.div(difference, sum));
        let powers = tape.powf(quotient, 2.0);
        let scaled = tape.scale(powers, 0.3);
        let all = tape.add(product, scaled);
        let (norms, logs, dots) = (tape.norm(all), tape.log_sum_exp(all), tape.row_dot(all, rows));
        let norms = tape.add(norms, logs);
        let norms = tape.add(norms, dots);
        let spread = tape.broadcast(norms, 2..3, all);
        let words = tape.constant([2], &[T::of(2.0), T::ZERO]);
        let vectors = tape.gather(*table, words);
        let vectors = tape.sum_axes(vectors, 0..2, 0.1);
        let vectors = tape.broadcast(vectors, 0..3, spread);
        let y = tape.add(spread, vectors);
        tape.sum_axes(y, 1..2, 1.0)
    }
}

fn everything() -> Point {
    let leaf = |dims: &[usize]| {
        let shape = Shape::from(dims);
        (shape, (0..shape.len()).map(|i| 0.3 + (i as f64).sin()).collect())
    };
    Point { inputs: vec![leaf(&[3, 4, 3, 2])], parameters: vec![leaf(&[8, 2]), leaf(&[2]), leaf(&[2, 4]), leaf(&[3, 5])] }
}

/// A tape with leaves, ready to record a function again and again.
struct Warm<T: Scalar> {
    tape: Tape<T>,
    inputs: Vec<Var>,
    parameters: Vec<Var>,
    start: Mark,
    seed: Vec<T>,
    tangents: Leaves<T>,
    flow: Flow<T>,
    gradient: Gradient<T>,
    rows: PerExample<T>,
}

impl<T: Scalar> Warm<T> {
    fn new(at: &Point) -> Self {
        let mut tape = Tape::new();
        let lift = |x: &[f64]| x.iter().map(|&x| T::of(x)).collect::<Vec<T>>();
        let parameters: Vec<Var> = at.parameters.iter().map(|(shape, x)| tape.parameter(*shape, &lift(x))).collect();
        let inputs: Vec<Var> = at.inputs.iter().map(|(shape, x)| tape.input(*shape, &lift(x))).collect();
        let start = tape.mark();
        let of = |leaves: &[(Shape, Vec<f64>)]| leaves.iter().map(|(_, x)| lift(x)).collect();
        let tangents = Leaves { inputs: of(&at.inputs), parameters: of(&at.parameters) };
        let (flow, gradient, rows) = (Flow::new(), Gradient::new(Wrt::BOTH), PerExample::new());
        Warm { tape, inputs, parameters, start, seed: Vec::new(), tangents, flow, gradient, rows }
    }

    fn step(&mut self, f: &impl Differentiable, per_example: bool) {
        let Warm { tape, inputs, parameters, start, seed, tangents, flow, gradient, rows } = self;
        tape.rewind(*start);
        let y = f.record(tape, inputs, parameters);
        seed.resize(tape.value(y).len(), T::ONE);
        tape.pull(y, 1, seed, flow, gradient).expect("a gradient is never refused");
        tape.push(y, 1, |leaf| tangents.get(leaf), flow);
        if per_example {
            tape.pull(y, 1, seed, flow, rows).expect("no example feels another");
        }
    }
}

fn warm_steps_allocate_nothing(f: &impl Differentiable, at: &Point, per_example: bool) {
    let (mut real, mut dual) = (Warm::<f64>::new(at), Warm::<Dual<f64>>::new(at));
    let mut steps = || {
        real.step(f, per_example);
        dual.step(f, per_example);
    };
    (0..2).for_each(|_| steps());
    let (bytes, ()) = needed(|| (0..3).for_each(|_| steps()));
    assert_eq!(bytes, 0, "warm steps asked for {bytes} bytes");

    let mut linear = Linearized::new(f, at);
    let mut hessian = Hessian::new(f, at, Wrt::BOTH);
    let tangents = real.tangents;
    let c = vec![0.5; linear.value().len()];
    let mut derivatives = || {
        linear.jvp(1, &tangents);
        linear.vjp(1, &c, Wrt::BOTH);
        linear.gauss_newton(1, &tangents, |_| (), Wrt::BOTH);
        hessian.pull(&c, &tangents);
    };
    (0..2).for_each(|_| derivatives());
    let (bytes, ()) = needed(|| (0..3).for_each(|_| derivatives()));
    assert_eq!(bytes, 0, "warm derivatives asked for {bytes} bytes");
}

/// Layers wide enough for their arrays to outweigh all else.
struct Network;

impl Differentiable for Network {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        parameters.chunks_exact(2).fold(inputs[0], |x, layer| {
            let z = tape.affine(x, layer[0], 1.0, Some((layer[1], 0.1)));
            tape.map(Phi::Tanh, z)
        })
    }
}

fn network() -> Point {
    let widths = [40, 50, 60, 70, 10];
    let layer = |w: &[usize]| [(Shape::from([w[0], w[1]]), vec![0.1; w[0] * w[1]]), (Shape::from([w[1]]), vec![0.2; w[1]])];
    Point { inputs: vec![(Shape::from([64, 40]), vec![0.3; 64 * 40])], parameters: widths.windows(2).flat_map(layer).collect() }
}

/// Values, one buffer of flow of at most their size for each lane, and the result.
fn a_step_needs_its_values_and_one_buffer_of_flow() {
    let at = network();
    // Working memory of products belongs to the thread, and a first step asks for it.
    let mut warm = Warm::<f64>::new(&at);
    warm.step(&Network, false);
    let values = warm.tape.used();
    // Flow passes what is computed; what arrives at a leaf goes straight into the result.
    let computed: usize = warm.tape.vars().filter(|&v| warm.tape.node(v).leaf().is_none()).map(|v| warm.tape.value(v).len()).sum();
    for lanes in [1, 4] {
        let seed = vec![1.0; lanes * 64 * 10];
        let (bytes, result) = needed(|| {
            let mut tape = Tape::<f64>::with_capacity(values);
            let parameters: Vec<Var> = at.parameters.iter().map(|(shape, x)| tape.parameter(*shape, x)).collect();
            let x = tape.input(at.inputs[0].0, &at.inputs[0].1);
            let y = Network.record(&mut tape, &[x], &parameters);
            let mut gradient = Gradient::new(Wrt::BOTH);
            tape.pull(y, lanes, &seed, &mut Flow::new(), &mut gradient).expect("a gradient is never refused");
            lanes * tape.vars().filter(|&v| matches!(tape.node(v).op, Op::Leaf(_))).map(|v| tape.value(v).len()).sum::<usize>()
        });
        let least = 8 * (values + lanes * computed + result);
        // Nodes and lists of them are what comes on top.
        assert!(bytes <= least + 8192, "{lanes} lanes: {bytes} bytes, where values, flow and result are {least}");
        assert!(bytes >= 8 * values, "{bytes} bytes hold {values} values");
    }
}

#[test]
fn derivatives_are_lean() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let at = everything();
        let warm = Warm::<f64>::new(&at);
        let mut tape = warm.tape;
        Everything.record(&mut tape, &warm.inputs, &warm.parameters);
        let ops: BTreeSet<&str> = tape.vars().map(|v| tape.node(v).op.name()).collect();
        assert_eq!(ops.len(), 26, "every operation is there, with three kinds of leaves and one map: {ops:?}");
        warm_steps_allocate_nothing(&Everything, &at, true);
        warm_steps_allocate_nothing(&Network, &network(), true);
        a_step_needs_its_values_and_one_buffer_of_flow();
    });
}
