//! Every derivative of random whole networks, with and without a loss: `check_grads` by property.

use autodiff::{CheckError, Differentiable, Phi, Point, Scalar, Shape, Tape, Var, check_grads};
use nn::{
    Layer, Loss, Network, NormAxes, Padding, Parameterization, abs, avg_pool, conv, cos_of, dense, elementwise, erf, exp, flatten,
    gaussian, gelu, global_avg_pool, identity, layer_norm, leaky_relu, max_pool, rbf, relu, residual, residual_with_shortcut, sigmoid,
    silu, sin_of, softplus, sum_pool, tanh,
};
use proptest::prelude::*;

/// A network, perhaps with a loss on top.
#[derive(Clone, Debug)]
struct Trained {
    network: Network,
    loss: Option<Loss>,
    targets: Vec<f64>,
}

impl Differentiable for Trained {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let f = self.network.record(tape, parameters, inputs[0]);
        let Some(loss) = self.loss else { return f };
        let shape = *tape.shape(f);
        let targets: Vec<T> = self.targets.iter().map(|&y| T::of(y)).collect();
        let y = tape.target(shape, &targets);
        loss.record(tape, f, y)
    }
}

fn activation() -> impl Strategy<Value = Vec<Layer>> {
    prop_oneof![
        Just(vec![relu()]),
        Just(vec![erf()]),
        Just(vec![tanh()]),
        Just(vec![sigmoid()]),
        Just(vec![softplus()]),
        Just(vec![gelu()]),
        Just(vec![silu()]),
        (-1.5..1.5f64, -1.5..1.5f64, -3.0..3.0f64).prop_map(|(a, b, c)| vec![sin_of(a, b, c)]),
        (-1.5..1.5f64, -1.5..1.5f64, -3.0..3.0f64).prop_map(|(a, b, c)| vec![cos_of(a, b, c)]),
        (0.0..1.5f64).prop_map(|gamma| vec![rbf(gamma)]),
        Just(vec![gaussian()]),
        Just(vec![identity()]),
        // A variance near 0 makes third derivatives so large that differences see nothing else.
        prop::sample::select(vec![NormAxes::Channels, NormAxes::All]).prop_map(|axes| vec![layer_norm().over(axes).eps(0.1)]),
        Just(vec![abs()]),
        (-1.5..1.5f64).prop_map(|alpha| vec![leaky_relu(alpha)]),
        // A function of the program's own, with its slope or without.
        any::<bool>().prop_map(|given| vec![elementwise("own sine", |x| (x + 1.0).sin(), given.then_some(|x| (x + 1.0).cos()))]),
        // A bounded exponent: random networks would overflow otherwise.
        Just(vec![tanh(), exp()]),
    ]
}

fn weights(out: usize) -> impl Strategy<Value = Layer> {
    (0.3..2.0f64, 0.0..0.5f64, any::<bool>()).prop_map(move |(w_std, b_std, bias)| {
        let layer = dense(out).std(w_std, b_std);
        if bias { layer } else { layer.without_bias() }
    })
}

/// Layers that keep a width, of some depth of nesting.
fn block(width: usize, depth: u32) -> BoxedStrategy<Vec<Layer>> {
    let plain = (activation(), weights(width)).prop_map(|(mut layers, dense)| {
        layers.push(dense);
        layers
    });
    if depth == 0 {
        return plain.boxed();
    }
    let inner = prop::collection::vec(block(width, depth - 1), 1..3).prop_map(|blocks| blocks.concat());
    prop_oneof![
        plain,
        inner.clone().prop_map(|layers| vec![residual(layers)]),
        (inner, weights(width)).prop_map(|(layers, shortcut)| vec![residual_with_shortcut(layers, [shortcut])]),
    ]
    .boxed()
}

fn network() -> impl Strategy<Value = Network> {
    (1usize..5, 1usize..6, 1usize..4).prop_flat_map(|(n_in, width, outputs)| {
        let body = prop::collection::vec(block(width, 2), 0..3).prop_map(|blocks| blocks.concat());
        let parameterization = prop::sample::select(Parameterization::ALL.to_vec());
        (weights(width), body, activation(), weights(outputs), parameterization).prop_map(
            move |(first, body, last, end, parameterization)| {
                let layers = [vec![first], body, last, vec![end]].concat();
                Network::new([n_in], layers).expect("the shapes fit").parameterized(parameterization)
            },
        )
    })
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        Just(Padding::Circular),
        (0usize..3, 0usize..3).prop_map(|(rows, cols)| Padding::Cells([rows, cols])),
    ]
}

fn two(sizes: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 2]> {
    [sizes.clone(), sizes]
}

fn filters(out: usize) -> impl Strategy<Value = Layer> {
    (two(1..4), 0.3..2.0f64, 0.0..0.5f64, any::<bool>()).prop_map(move |(filter, w_std, b_std, bias)| {
        let layer = conv(out, filter).std(w_std, b_std);
        if bias { layer } else { layer.without_bias() }
    })
}

/// Layers that read an image with so many channels and give one with as many.
fn image_block(channels: usize, depth: u32) -> BoxedStrategy<Vec<Layer>> {
    let moved = (filters(channels), two(1..3), padding()).prop_map(|(layer, stride, beyond)| vec![layer.stride(stride).padding(beyond)]);
    let pools = (prop::sample::select(vec![avg_pool as fn([usize; 2]) -> Layer, sum_pool, max_pool]), two(1..4), two(1..3), padding());
    let pools = pools.prop_map(|(pool, window, stride, beyond)| vec![pool(window).stride(stride).padding(beyond)]);
    if depth == 0 {
        return prop_oneof![2 => moved, 1 => pools, 1 => activation()].boxed();
    }
    let filtered = || {
        (activation(), filters(channels)).prop_map(|(mut layers, filter)| {
            layers.push(filter);
            layers
        })
    };
    prop_oneof![
        2 => moved,
        1 => pools,
        1 => activation(),
        1 => filtered().prop_map(|layers| vec![residual(layers)]),
        1 => (filtered(), filters(channels), activation()).prop_map(|(mut layers, shortcut, last)| {
            layers.extend(last);
            vec![residual_with_shortcut(layers, [shortcut])]
        }),
    ]
    .boxed()
}

/// Networks of images in both layouts; those with windows that do not fit are left out.
fn image_network() -> impl Strategy<Value = Network> {
    let sizes = (1usize..6, 1usize..6, 1usize..4, 1usize..4, 1usize..4);
    sizes.prop_flat_map(|(height, width, channels, inner, outputs)| {
        let body = prop::collection::vec(image_block(inner, 1), 0..4).prop_map(|blocks| blocks.concat());
        let end = prop::sample::select(vec![flatten(), global_avg_pool()]);
        let parameterization = prop::sample::select(Parameterization::ALL.to_vec());
        let parts = (filters(inner), body, end, activation(), weights(outputs), any::<bool>(), parameterization);
        parts.prop_filter_map("the windows fit", move |(first, body, end, last, read_out, channels_first, parameterization)| {
            let layers = [vec![first], body, vec![end], last, vec![read_out]].concat();
            let network = if channels_first {
                Network::nchw([channels, height, width], layers)
            } else {
                Network::new([height, width, channels], layers)
            };
            network.ok().map(|network| network.parameterized(parameterization))
        })
    })
}

fn point(network: &Network, examples: usize, seed: u64) -> Point {
    let parameters = network.init::<f64>(seed).expect("the network is small");
    let shapes = network.parameters().iter().map(|p| p.shape);
    let x = nn::normals(seed, 1 << 40, examples * network.n_inputs());
    Point { inputs: vec![(network.input_shape(x.len()), x)], parameters: shapes.zip(parameters).collect() }
}

/// Rows of probabilities, which serve both losses.
fn targets(examples: usize, outputs: usize, seed: u64) -> Vec<f64> {
    let mut y: Vec<f64> = nn::normals::<f64>(seed, 2 << 40, examples * outputs).iter().map(|z| z.abs() + 0.1).collect();
    for row in y.chunks_mut(outputs) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
    }
    y
}

/// Checks a network at a point, and where differences alone are wrong, at two more: a network of images has hundreds of kinks (ReLU, |x|, maxima),
/// and one in a thousand of them lies within a step of the differences. A rule that is wrong is wrong at all points.
fn check(trained: &Trained, examples: usize, seed: u64) -> Result<(), CheckError> {
    let mut found = Ok(());
    for k in 0..3 {
        let seed = seed.wrapping_add(k);
        found = check_grads(trained, &point(&trained.network, examples, seed), seed).map(|_| ());
        if !found.as_ref().is_err_and(|error| error.law.contains("differences")) {
            break;
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_networks_obey_every_law_of_derivatives(
        network in prop_oneof![network(), image_network()],
        loss in prop::option::of(prop_oneof![Just(Loss::SquaredError), Just(Loss::CrossEntropy)]),
        examples in 1usize..5,
        seed in any::<u64>(),
    ) {
        let targets = targets(examples, network.outputs(), seed);
        let trained = Trained { network, loss, targets };
        if let Err(error) = check(&trained, examples, seed) {
            return Err(TestCaseError::fail(format!("{error}\n{}", trained.network)));
        }
    }
}

/// `tanh(x·W)·Wᵀ`, by a tape whose derivative with respect to the second use of `W` is forgotten: what a wrong rule looks like.
struct Forgetful;

impl Differentiable for Forgetful {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let h = tape.affine(inputs[0], parameters[0], 1.0, None);
        let h = tape.map(Phi::Tanh, h);
        // Only the primal is copied, so that neither mode sees this use.
        let shape = *tape.shape(parameters[0]);
        let copy: Vec<T> = tape.value(parameters[0]).iter().map(|w| T::of(w.primal())).collect();
        let copy = tape.constant(shape, &copy);
        let back = tape.transpose(copy);
        tape.affine(h, back, 1.0, None)
    }
}

#[test]
fn a_forgotten_derivative_is_caught() {
    let at = Point {
        inputs: vec![(Shape::from([2, 3]), vec![0.3, -0.8, 0.5, 1.1, 0.2, -0.4])],
        parameters: vec![(Shape::from([3, 2]), vec![0.7, -0.2, 0.4, 0.9, -0.5, 0.3])],
    };
    let error = check_grads(&Forgetful, &at, 1).unwrap_err();
    assert!(error.law.contains("5-point differences") && error.error > 1e-3, "{error}");
}
