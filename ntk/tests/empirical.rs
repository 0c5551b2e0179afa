//! The empirical kernel: every strategy against a slow one, on a grid of functions.

use autodiff::{Gradient, Phi, Refusal, Scalar, Shape, Tape, Var, Wrt};
use nn::{
    Layer, Network, NormAxes, Padding, Parameterization, abs, avg_pool, conv, dense, erf, exp, flatten, gaussian, gelu, global_avg_pool,
    layer_norm, max_pool, rbf, relu, residual, residual_with_shortcut, sin_of, sum_pool, tanh,
};
use ntk::{Finite, Function, Kernel, Outputs, Real, Strategy, empirical_nngp, empirical_ntk, empirical_ntk_in_blocks, jacobian};

const STRATEGIES: [Strategy; 4] = [Strategy::Auto, Strategy::Jacobian, Strategy::Products, Strategy::Structured];

fn inputs<T: Scalar>(n: usize, d: usize, seed: u64) -> Vec<T> {
    nn::normals(seed, 99, n * d)
}

/// Straight from the definition: one example after the other, one output after the other, and plain sums.
fn slow<T: Real>(f: &impl Function<T>, x1: &[T], x2: &[T], d: usize, kept: Outputs) -> Vec<f64> {
    let rows = |x: &[T]| -> Vec<Vec<Vec<f64>>> {
        let one = |x: &[T]| {
            let mut tape = Tape::new();
            let parameters = f.parameters(&mut tape);
            let x = tape.input(f.input_shape(d), x);
            let y = f.record(&mut tape, &parameters, x);
            let o = tape.value(y).len();
            (0..o)
                .map(|a| {
                    let seed: Vec<T> = (0..o).map(|b| <T as Scalar>::of(f64::from(u8::from(a == b)))).collect();
                    let mut gradient = Gradient::new(Wrt::PARAMETERS);
                    tape.pull_once(y, &seed, &mut gradient).unwrap();
                    gradient.parameters().flatten().map(|g| g.primal()).collect()
                })
                .collect()
        };
        x.chunks(d).map(one).collect()
    };
    let (j1, j2) = (rows(x1), rows(x2));
    let mut out = Vec::new();
    for a1 in &j1 {
        for a2 in &j2 {
            let o = a1.len();
            let theta = |a: usize, b: usize| -> f64 { a1[a].iter().zip(&a2[b]).map(|(x, y)| x * y).sum() };
            match kept {
                Outputs::Full => (0..o).for_each(|a| out.extend((0..o).map(|b| theta(a, b)))),
                Outputs::Diagonal => out.extend((0..o).map(|a| theta(a, a))),
                Outputs::Trace => out.push((0..o).map(|a| theta(a, a)).sum::<f64>() / o as f64),
                Outputs::Sum => {
                    out.push((0..o).flat_map(|a| (0..o).map(move |b| (a, b))).map(|(a, b)| theta(a, b)).sum::<f64>() / o as f64)
                }
            }
        }
    }
    out
}

fn assert_close<T: Real>(kernel: &Kernel<T>, want: &[f64], bound: f64, what: &str) {
    assert_eq!(kernel.values.len(), want.len(), "{what}");
    assert_eq!(kernel.shape().iter().product::<usize>(), want.len(), "{what}");
    assert_eq!(kernel.shape()[..2], [kernel.n1, kernel.n2], "{what}");
    let largest = want.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    for (i, (k, w)) in kernel.values.iter().zip(want).enumerate() {
        let error = (k.primal() - w).abs();
        assert!(error <= bound * largest, "{what}: entry {i} is {k} and should be {w}");
    }
}

fn check_all<T: Real>(f: &impl Function<T>, d: usize, bound: f64, what: &str) {
    let (x1, x2) = (inputs::<T>(5, d, 1), inputs::<T>(3, d, 2));
    for kept in Outputs::ALL {
        let (same, other) = (slow(f, &x1, &x1, d, kept), slow(f, &x1, &x2, d, kept));
        for strategy in STRATEGIES {
            let what = format!("{what}, {kept:?}, {strategy:?}");
            assert_close(&empirical_ntk(f, &x1, None, kept, strategy).unwrap(), &same, bound, &what);
            assert_close(&empirical_ntk(f, &x1, Some(&x1), kept, strategy).unwrap(), &same, bound, &what);
            assert_close(&empirical_ntk(f, &x1, Some(&x2), kept, strategy).unwrap(), &other, bound, &what);
        }
    }
}

fn grid() -> Vec<(usize, Vec<Layer>)> {
    let hidden = |n| dense(n).std(1.5, 0.2);
    vec![
        (4, vec![dense(1)]),
        (4, vec![dense(3).without_bias()]),
        (1, vec![hidden(1), relu(), hidden(1)]),
        (4, vec![hidden(7), relu(), hidden(3)]),
        (4, vec![hidden(7), erf(), hidden(5).without_bias(), tanh(), hidden(2)]),
        (4, vec![hidden(6), residual([relu(), hidden(6), tanh(), hidden(6)]), relu(), hidden(3)]),
        (4, vec![residual_with_shortcut([hidden(5), erf(), hidden(5)], [dense(5).std(0.7, 0.0)]), residual([tanh()]), hidden(2), exp()]),
        (3, vec![residual([hidden(3), residual([relu(), hidden(3)])]), hidden(1)]),
    ]
}

#[test]
fn every_strategy_gives_the_kernel_of_every_network() {
    for (d, layers) in grid() {
        for parameterization in Parameterization::ALL {
            let network = Network::new([d], layers.clone()).unwrap().parameterized(parameterization);
            let what = format!("{:?} of {network}", parameterization);
            let parameters = network.init::<f64>(3).unwrap();
            check_all(&Finite { network: &network, parameters: &parameters }, d, 1e-12, &what);
            let parameters = network.init::<f32>(3).unwrap();
            check_all(&Finite { network: &network, parameters: &parameters }, d, 2e-5, &what);
        }
    }
}

/// Networks of images, with every layer that reads one.
fn image_grid() -> Vec<([usize; 3], Vec<Layer>)> {
    let filter = |n, size| conv(n, size).std(1.5, 0.2);
    let end = || dense(3).std(1.2, 0.3);
    vec![
        ([4, 3, 2], vec![filter(3, [3, 3]), flatten()]),
        ([1, 1, 2], vec![filter(4, [3, 5]), relu(), flatten(), end()]),
        ([5, 4, 2], vec![filter(4, [3, 3]), relu(), filter(3, [2, 3]).stride([2, 1]).without_bias(), erf(), global_avg_pool(), end()]),
        ([5, 4, 1], vec![filter(4, [3, 2]).padding(Padding::Valid), gelu(), avg_pool([2, 2]).stride([1, 1]), flatten(), end()]),
        ([4, 5, 2], vec![filter(3, [3, 3]).padding(Padding::Circular), max_pool([2, 2]), tanh(), sum_pool([1, 2]), flatten(), end()]),
        ([4, 4, 2], vec![filter(3, [3, 3]).padding(Padding::Cells([2, 0])), layer_norm().eps(0.1), rbf(0.3), flatten(), end()]),
        (
            [4, 4, 2],
            vec![filter(3, [1, 1]), residual([tanh(), filter(3, [3, 3])]), layer_norm().over(NormAxes::All), global_avg_pool(), end()],
        ),
        (
            [4, 4, 2],
            vec![
                filter(3, [3, 3]),
                residual_with_shortcut([abs(), filter(2, [3, 3]).stride([2, 2])], [conv(2, [1, 1]).stride([2, 2]).without_bias()]),
                sin_of(1.2, 0.7, 0.3),
                flatten(),
                end(),
                gaussian(),
            ],
        ),
    ]
}

#[test]
fn every_strategy_gives_the_kernel_of_every_network_of_images() {
    for (shape, layers) in image_grid() {
        let d = shape.iter().product();
        let [height, width, channels] = shape;
        let networks = [Network::new(shape, layers.clone()), Network::nchw([channels, height, width], layers)];
        for network in networks.into_iter().flat_map(|network| Parameterization::ALL.map(|p| network.clone().unwrap().parameterized(p))) {
            let what = format!("{network}");
            let parameters = network.init::<f64>(3).unwrap();
            check_all(&Finite { network: &network, parameters: &parameters }, d, 1e-12, &what);
            let parameters = network.init::<f32>(3).unwrap();
            check_all(&Finite { network: &network, parameters: &parameters }, d, 5e-5, &what);
        }
    }
}

#[test]
fn every_strategy_gives_the_kernel_in_the_maximal_update_parameterization() {
    let images = Network::new([3, 3, 2], [conv(6, [3, 3]), relu(), conv(6, [3, 3]), global_avg_pool(), dense(2)]).unwrap();
    let features = Network::new([4], [dense(6).std(1.5, 0.2), tanh(), dense(6), relu(), dense(2)]).unwrap();
    for network in [images, features].map(|network| network.mup(2).unwrap()) {
        let parameters = network.init::<f64>(3).unwrap();
        check_all(&Finite { network: &network, parameters: &parameters }, network.n_inputs(), 1e-12, "mup");
    }
}

/// Functions that share weights in every way that a tape can.
#[derive(Clone, Copy, Debug)]
enum Tied {
    /// One weight in two layers.
    Twice,
    /// `tanh(x·W)·Wᵀ`.
    Transposed,
    /// One weight straight, transposed, and straight again, around a residual sum.
    Mixed,
    /// The weight of a layer is the product of two parameters.
    Composed,
    /// One bias in two layers, and a bias that is the image of a parameter.
    Biases,
    /// Two sites for each example, summed by a product of rows.
    Sites,
    /// A weight on the left of the sites, and the same on their right.
    Left,
    /// Weights that are slices, gathered rows, and reshapes of parameters, side by side.
    Pieces,
    /// A parameter repeated for all examples, and a scaled and transposed one.
    Repeated,
}

const TIED: [Tied; 9] =
    [Tied::Twice, Tied::Transposed, Tied::Mixed, Tied::Composed, Tied::Biases, Tied::Sites, Tied::Left, Tied::Pieces, Tied::Repeated];

impl<T: Scalar> Function<T> for Tied {
    fn input_shape(&self, entries: usize) -> Shape {
        match self {
            Tied::Sites | Tied::Left => Shape::from([entries / 4, 2, 2]),
            Tied::Twice | Tied::Transposed | Tied::Mixed | Tied::Composed | Tied::Biases | Tied::Pieces | Tied::Repeated => {
                Shape::from([entries / 4, 4])
            }
        }
    }

    fn parameters(&self, tape: &mut Tape<T>) -> Vec<Var> {
        let n = match self {
            Tied::Sites | Tied::Left => 2,
            Tied::Twice | Tied::Transposed | Tied::Mixed | Tied::Composed | Tied::Biases | Tied::Pieces | Tied::Repeated => 4,
        };
        vec![
            tape.parameter([n, n], &nn::normals::<T>(5, 0, n * n)),
            tape.parameter([n, n], &nn::normals::<T>(5, 1, n * n)),
            tape.parameter([n], &nn::normals::<T>(5, 2, n)),
        ]
    }

    fn record(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var) -> Var {
        let [w, v, b] = parameters[..] else { panic!("three parameters were recorded") };
        match self {
            Tied::Twice => {
                let h = tape.affine(x, w, 0.5, Some((b, 0.3)));
                let h = tape.map(Phi::Tanh, h);
                let h = tape.affine(h, w, 0.7, None);
                let h = tape.map(Phi::Erf, h);
                tape.affine(h, v, 0.9, None)
            }
            Tied::Transposed => {
                let h = tape.affine(x, w, 0.5, None);
                let h = tape.map(Phi::Tanh, h);
                let back = tape.transpose(w);
                tape.affine(h, back, 0.8, Some((b, 0.4)))
            }
            Tied::Mixed => {
                let h = tape.affine(x, w, 0.5, None);
                let back = tape.transpose(w);
                let g = tape.map(Phi::Tanh, h);
                let g = tape.affine(g, back, 0.8, None);
                let g = tape.affine(g, w, 0.6, Some((b, 1.0)));
                tape.add(g, h)
            }
            Tied::Composed => {
                let u = tape.affine(w, v, 0.5, Some((b, 0.2)));
                let u = tape.map(Phi::Tanh, u);
                let h = tape.affine(x, u, 0.8, None);
                tape.affine(h, w, 0.4, None)
            }
            Tied::Biases => {
                let shifted = tape.map(Phi::Tanh, b);
                let h = tape.affine(x, w, 0.5, Some((b, 0.3)));
                let h = tape.map(Phi::Erf, h);
                let h = tape.affine(h, v, 0.5, Some((b, 0.6)));
                tape.affine(h, v, 0.5, Some((shifted, 0.6)))
            }
            Tied::Sites => {
                let h = tape.affine(x, w, 0.5, Some((b, 0.3)));
                let h = tape.map(Phi::Tanh, h);
                let g = tape.affine(h, v, 0.5, None);
                tape.row_dot(h, g)
            }
            Tied::Left => {
                let h = tape.product(w, x, 0.5);
                let h = tape.map(Phi::Tanh, h);
                let h = tape.product(h, w, 0.7);
                let h = tape.product(v, h, 0.9);
                tape.sum_axes(h, 1..2, 0.6)
            }
            Tied::Pieces => {
                let half = tape.slice(w, 1, 1..3);
                let rows = tape.constant([4], &[3.0, 0.0, 3.0, 1.0].map(T::of));
                let gathered = tape.gather(v, rows);
                let both = tape.concat(&[half, gathered, w], 1);
                let h = tape.affine(x, both, 0.5, None);
                let h = tape.map(Phi::Tanh, h);
                let h = tape.slice(h, 1, 1..9);
                let filter = tape.reshape(w, [8, 2]);
                tape.affine(h, filter, 0.7, None)
            }
            Tied::Repeated => {
                let row = tape.broadcast(b, 0..1, x);
                let h = tape.mul(row, x);
                let scaled = tape.scale(w, 0.5);
                let back = tape.transpose(scaled);
                let h = tape.affine(h, back, 0.7, Some((b, 0.3)));
                let row = tape.row_dot(w, v);
                let row = tape.broadcast(row, 0..1, h);
                tape.add(h, row)
            }
        }
    }
}

#[test]
fn every_strategy_is_right_for_shared_and_transposed_weights() {
    for tied in TIED {
        check_all::<f64>(&tied, 4, 1e-12, &format!("{tied:?}"));
        check_all::<f32>(&tied, 4, 2e-5, &format!("{tied:?}"));
    }
}

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
fn bits_depend_neither_on_blocks_nor_on_threads() {
    let layers = [dense(40).std(1.5, 0.2), residual([relu(), dense(40).std(1.2, 0.1)]), relu(), dense(3).std(1.0, 0.1)];
    let network = Network::new([20], layers).unwrap();
    let parameters = network.init::<f32>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let (x1, x2) = (inputs::<f32>(150, 20, 1), inputs::<f32>(13, 20, 2));
    for kept in [Outputs::Trace, Outputs::Full] {
        for strategy in STRATEGIES {
            for x2 in [None, Some(&x2[..])] {
                let x1 = if strategy == Strategy::Structured { &x1[..] } else { &x1[..40 * 20] };
                let whole = empirical_ntk(&f, x1, x2, kept, strategy).unwrap();
                for block in [1, 7, 64] {
                    let tiled = empirical_ntk_in_blocks(&f, x1, x2, kept, strategy, Some(block), |_, _| ()).unwrap();
                    assert!(whole == tiled, "{kept:?}, {strategy:?}, blocks of {block}");
                }
                for threads in [1, 2, 3, 7] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let same = pool.install(|| empirical_ntk(&f, x1, x2, kept, strategy).unwrap());
                    assert!(whole == same, "{kept:?}, {strategy:?}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn blocks_of_any_size_give_the_kernel_of_every_kind_of_output() {
    let network = Network::new([4], [dense(5).std(1.5, 0.2), relu(), dense(3).std(1.0, 0.1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    // More examples than one tile of the full kernel has rows, and fewer; a shared weight, and one that is written out.
    let network = Finite { network: &network, parameters: &parameters };
    let (x1, x2) = (inputs::<f64>(35, 4, 1), inputs::<f64>(18, 4, 2));
    for (a, b) in [(&x1, &x2), (&x2, &x1)] {
        for kept in Outputs::ALL {
            blocks_agree(&network, a, b, kept);
            blocks_agree(&Tied::Mixed, a, b, kept);
        }
    }
}

fn blocks_agree(f: &impl Function<f64>, x1: &[f64], x2: &[f64], kept: Outputs) {
    let (same, other) = (slow(f, x1, x1, 4, kept), slow(f, x1, x2, 4, kept));
    for strategy in STRATEGIES {
        for block in [5, 17, 100] {
            let in_blocks = |right| empirical_ntk_in_blocks(f, x1, right, kept, strategy, Some(block), |_, _| ()).unwrap();
            let what = format!("{kept:?}, {strategy:?}, blocks of {block}");
            let symmetric = in_blocks(None);
            assert_close(&symmetric, &same, 1e-12, &what);
            assert_close(&in_blocks(Some(x2)), &other, 1e-12, &what);
            // Example by example the transpose, to the bit.
            let (n, o, m) = (symmetric.n1, symmetric.outputs, kept.entries(symmetric.outputs));
            for (i, j, e) in (0..n * n * m).map(|e| (e / m / n, e / m % n, e % m)) {
                let swapped = if kept == Outputs::Full { e % o * o + e / o } else { e };
                let (here, there) = (symmetric.values[(i * n + j) * m + e], symmetric.values[(j * n + i) * m + swapped]);
                assert_eq!(here.to_bits(), there.to_bits(), "{what}: {i}, {j}, {e}");
            }
        }
    }
}

/// Counts what is recorded on a tape beside it, and looks at every tape that it is given.
struct Watched {
    n_in: usize,
    n_out: usize,
}

impl Function<f64> for Watched {
    fn input_shape(&self, entries: usize) -> Shape {
        Shape::from([entries / self.n_in, self.n_in])
    }
    fn parameters(&self, tape: &mut Tape<f64>) -> Vec<Var> {
        vec![tape.parameter([self.n_in, self.n_out], &vec![0.5; self.n_in * self.n_out])]
    }
    fn record(&self, tape: &mut Tape<f64>, parameters: &[Var], x: Var) -> Var {
        assert_eq!((tape.n_inputs(), tape.vars().count()), (1, 2), "what an earlier block recorded is still on the tape");
        tape.affine(x, parameters[0], 1.0, None)
    }
}

#[test]
fn blocks_are_as_large_as_memory_allows_and_leave_nothing_on_the_tape() {
    // For each example 4 · 2¹⁹ numbers of 8 bytes and a few more: the input, a cotangent of its size, and the Jacobian once as it is
    // pulled and once in rows. 256 MiB hold 15 examples.
    let wide = Watched { n_in: 1 << 19, n_out: 1 };
    let mut pairs = Vec::new();
    let x = vec![0.001; 33 << 19];
    let kernel = empirical_ntk_in_blocks(&wide, &x, None, Outputs::Trace, Strategy::Jacobian, None, |_, of| pairs.push(of)).unwrap();
    assert_eq!(pairs, [6; 6], "three blocks have six pairs");
    let want = 0.001 * 0.001 * f64::from(1 << 19);
    assert!(kernel.values.iter().all(|k| (k - want).abs() < 1e-9 * want));

    // The blocks of `Products` are bounded by their number too, because each right example is a lane on the left ones.
    let narrow = Watched { n_in: 2, n_out: 1 };
    for (n, total) in [(64, 1), (65, 3), (129, 6)] {
        let mut pairs = 0;
        empirical_ntk_in_blocks(&narrow, &vec![1.0; 2 * n], None, Outputs::Trace, Strategy::Products, None, |_, of| pairs = of).unwrap();
        assert_eq!(pairs, total, "{n} examples");
    }
}

#[test]
fn progress_of_a_rectangle_counts_all_pairs_of_blocks() {
    let f = Watched { n_in: 2, n_out: 1 };
    for strategy in STRATEGIES {
        let mut seen = Vec::new();
        empirical_ntk_in_blocks(&f, &[1.0; 10], Some(&[1.0; 6]), Outputs::Trace, strategy, Some(2), |done, of| seen.push((done, of)))
            .unwrap();
        assert_eq!(seen, [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]);
    }
}

#[test]
fn a_function_of_the_inputs_alone_has_kernel_zero() {
    struct Constant;
    impl Function<f64> for Constant {
        fn input_shape(&self, entries: usize) -> Shape {
            Shape::from([entries / 2, 2])
        }
        fn parameters(&self, tape: &mut Tape<f64>) -> Vec<Var> {
            vec![tape.parameter([2], &[1.0, 2.0])]
        }
        fn record(&self, tape: &mut Tape<f64>, _: &[Var], x: Var) -> Var {
            tape.map(Phi::Tanh, x)
        }
    }
    for kept in Outputs::ALL {
        for strategy in STRATEGIES {
            let kernel = empirical_ntk(&Constant, &[1.0, 2.0, 3.0, 4.0], Some(&[5.0, 6.0]), kept, strategy).unwrap();
            assert_eq!(kernel.values, vec![0.0; 2 * kept.entries(2)], "{kept:?}, {strategy:?}");
        }
    }
}

#[test]
fn empty_sets_keep_the_shape_of_every_kind_of_output() {
    let network = Network::new([2], [dense(4), relu(), dense(3)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let (none, two): (&[f64], &[f64]) = (&[], &[1.0, 2.0, 3.0, 4.0]);
    for kept in Outputs::ALL {
        for (x1, x2, n1, n2) in [(none, Some(none), 0, 0), (none, Some(two), 0, 2), (two, Some(none), 2, 0), (none, None, 0, 0)] {
            let mut want = vec![n1, n2];
            match kept {
                Outputs::Full => want.extend([3, 3]),
                Outputs::Diagonal => want.push(3),
                Outputs::Trace | Outputs::Sum => (),
            }
            let mut kernels: Vec<Kernel<f64>> = STRATEGIES.iter().map(|&s| empirical_ntk(&f, x1, x2, kept, s).unwrap()).collect();
            // Without any example the outputs themselves do not say how many they are.
            if n1 + n2 > 0 {
                kernels.push(empirical_nngp(&f, x1, x2, kept).unwrap());
            }
            for kernel in kernels {
                assert_eq!((kernel.shape(), kernel.values.len()), (want.clone(), 0), "{kept:?}");
            }
        }
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
fn progress_counts_pairs_of_blocks() {
    let network = Network::new([2], [dense(1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let mut seen = Vec::new();
    empirical_ntk_in_blocks(&f, &[1.0; 10], None, Outputs::Trace, Strategy::Auto, Some(2), |done, total| seen.push((done, total))).unwrap();
    assert_eq!(seen, [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]);
}

#[test]
fn no_examples_give_an_empty_kernel() {
    let network = Network::new([2], [dense(4), relu(), dense(3)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    for strategy in STRATEGIES {
        let empty = empirical_ntk(&f, &[], None, Outputs::Full, strategy).unwrap();
        assert_eq!((empty.shape(), empty.values.len()), (vec![0, 0, 3, 3], 0));
        let half = empirical_ntk(&f, &[], Some(&[1.0, 2.0]), Outputs::Diagonal, strategy).unwrap();
        assert_eq!((half.shape(), half.values.len()), (vec![0, 1, 3], 0));
        let half = empirical_ntk(&f, &[1.0, 2.0], Some(&[]), Outputs::Trace, strategy).unwrap();
        assert_eq!((half.shape(), half.values.len()), (vec![1, 0], 0));
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

#[test]
fn a_function_that_mixes_examples_is_refused() {
    struct Centred;
    impl Function<f64> for Centred {
        fn input_shape(&self, entries: usize) -> Shape {
            Shape::from([entries / 2, 2])
        }
        fn parameters(&self, tape: &mut Tape<f64>) -> Vec<Var> {
            vec![tape.parameter([2, 2], &[1.0, 2.0, 3.0, 4.0])]
        }
        fn record(&self, tape: &mut Tape<f64>, parameters: &[Var], x: Var) -> Var {
            let z = tape.affine(x, parameters[0], 1.0, None);
            let squares = tape.row_dot(z, z);
            tape.sum(squares, 0.5)
        }
    }
    for strategy in STRATEGIES {
        let error = empirical_ntk(&Centred, &[1.0; 4], None, Outputs::Trace, strategy).unwrap_err();
        assert_eq!(error, Refusal::MixesExamples { op: "sum" });
    }
}
