//! Every derivative of random whole networks, with and without a loss: `check_grads` by property.

use autodiff::{Differentiable, Phi, Point, Scalar, Shape, Tape, Var, check_grads};
use nn::{
    Layer, Loss, Network, Parameterization, abs, cos, dense, erf, exp, gelu, leaky_relu, relu, residual, residual_with_shortcut, sigmoid,
    silu, sin, softplus, tanh,
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
        let shape = tape.shape(f).clone();
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
        Just(vec![sin()]),
        Just(vec![cos()]),
        Just(vec![abs()]),
        (-1.5..1.5f64).prop_map(|alpha| vec![leaky_relu(alpha)]),
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

fn point(network: &Network, examples: usize, seed: u64) -> Point {
    let parameters = network.init::<f64>(seed).expect("the network is small");
    let shapes = network.parameters().iter().map(|p| p.shape.clone());
    let x = nn::normals(seed, 1 << 40, examples * network.n_inputs());
    Point { inputs: vec![(Shape::from([examples, network.n_inputs()]), x)], parameters: shapes.zip(parameters).collect() }
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_networks_obey_every_law_of_derivatives(
        network in network(),
        loss in prop::option::of(prop_oneof![Just(Loss::SquaredError), Just(Loss::CrossEntropy)]),
        examples in 1usize..5,
        seed in any::<u64>(),
    ) {
        let at = point(&network, examples, seed);
        let targets = targets(examples, network.outputs(), seed);
        let trained = Trained { network, loss, targets };
        if let Err(error) = check_grads(&trained, &at, seed) {
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
        let shape = tape.shape(parameters[0]).clone();
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
