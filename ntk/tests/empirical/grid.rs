//! Networks of every kind.

use crate::common::{STRATEGIES, assert_close, check_all, inputs};
use nn::{
    Layer, Network, NormAxes, Padding, Parameterization, abs, avg_pool, conv, dense, elementwise, erf, exp, flatten, gaussian, gelu,
    global_avg_pool, layer_norm, max_pool, rbf, relu, residual, residual_with_shortcut, sin_of, sum_pool, tanh,
};
use ntk::{Finite, Outputs, Strategy, empirical_ntk};

/// A tanh of the program's own, with its slope or without.
fn own_tanh(with_slope: bool) -> Layer {
    elementwise("my tanh", f64::tanh, with_slope.then_some(|x| 1.0 - x.tanh() * x.tanh()))
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
        (4, vec![hidden(5), own_tanh(false), hidden(4), own_tanh(true), hidden(2)]),
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
        ([4, 4, 1], vec![filter(3, [3, 3]), own_tanh(true), global_avg_pool(), end()]),
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

/// Networks whose hidden layers have one width, as the maximal update parameterization wants.
fn even_grid() -> Vec<Network> {
    let hidden = || dense(6).std(1.5, 0.2);
    let filter = |size: [usize; 2]| conv(6, size).std(1.5, 0.2);
    let features = [
        vec![hidden(), dense(2)],
        vec![hidden(), tanh(), dense(6), relu(), dense(1)],
        vec![hidden(), residual([relu(), hidden().without_bias()]), layer_norm().eps(0.1), hidden(), erf(), dense(2)],
        vec![hidden(), residual_with_shortcut([gelu(), hidden()], [hidden().without_bias()]), dense(3), exp()],
    ];
    let images = [
        vec![filter([3, 3]), relu(), filter([3, 3]), global_avg_pool(), dense(2)],
        vec![filter([2, 3]).stride([2, 1]).without_bias(), erf(), filter([3, 3]).padding(Padding::Circular), flatten(), dense(3)],
        vec![filter([3, 3]), max_pool([2, 2]), tanh(), filter([1, 2]).padding(Padding::Valid), sum_pool([2, 1]), flatten(), dense(1)],
        vec![filter([3, 2]).padding(Padding::Cells([2, 0])), layer_norm().eps(0.1), avg_pool([2, 2]).stride([1, 1]), flatten(), dense(2)],
        vec![
            filter([3, 3]),
            residual_with_shortcut([abs(), filter([3, 3]).stride([2, 2])], [filter([1, 1]).stride([2, 2]).without_bias()]),
            residual([relu(), filter([3, 3])]),
            layer_norm().over(NormAxes::All),
            global_avg_pool(),
            dense(2),
        ],
    ];
    let nchw = images.clone().map(|layers| Network::nchw([2, 4, 5], layers).unwrap());
    features
        .map(|layers| Network::new([4], layers).unwrap())
        .into_iter()
        .chain(images.map(|layers| Network::new([4, 5, 2], layers).unwrap()))
        .chain(nchw)
        .collect()
}

#[test]
fn every_strategy_gives_an_own_tanh_the_kernel_of_tanh() {
    let filter = || conv(3, [3, 3]).std(1.5, 0.2);
    let features = |phi: Layer| Network::new([16], [dense(6).std(1.5, 0.2), phi.clone(), dense(5), phi, dense(2)]).unwrap();
    let images = |phi: Layer| Network::new([4, 4, 1], [filter(), phi.clone(), filter(), phi, global_avg_pool(), dense(2)]).unwrap();
    let x = inputs::<f64>(5, 16, 1);
    let x32: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    for network in [&features as &dyn Fn(Layer) -> Network, &images] {
        for own in [own_tanh(false), own_tanh(true)] {
            let networks = [network(tanh()), network(own)];
            for strategy in STRATEGIES {
                let [want, found] = [0, 1].map(|k| {
                    let parameters = networks[k].init::<f64>(3).unwrap();
                    empirical_ntk(&Finite { network: &networks[k], parameters: &parameters }, &x, None, Outputs::Full, strategy).unwrap()
                });
                let largest = want.values.iter().fold(0.0, |m: f64, k| m.max(k.abs()));
                assert!(want.values.iter().zip(&found.values).all(|(a, b)| (a - b).abs() <= 1e-12 * largest), "{strategy:?}");
                let parameters = networks[1].init::<f32>(3).unwrap();
                let f = Finite { network: &networks[1], parameters: &parameters };
                let found = empirical_ntk(&f, &x32, None, Outputs::Full, strategy).unwrap();
                let close = |(a, &b): (&f64, &f32)| (a - f64::from(b)).abs() <= 1e-5 * largest;
                assert!(want.values.iter().zip(&found.values).all(close), "{strategy:?}, f32");
            }
        }
    }
}

#[test]
fn every_strategy_gives_the_kernel_in_the_maximal_update_parameterization() {
    for network in even_grid().into_iter().map(|network| network.mup(2).unwrap()) {
        let parameters = network.init::<f64>(3).unwrap();
        check_all(&Finite { network: &network, parameters: &parameters }, network.n_inputs(), 1e-12, &format!("{network}"));
    }
}

#[test]
fn every_strategy_gives_the_kernel_of_every_padding_and_stride() {
    let paddings = [Padding::Same, Padding::Valid, Padding::Circular, Padding::Cells([1, 2]), Padding::Cells([0, 1])];
    for padding in paddings {
        for (k, stride) in [[1, 1], [2, 1], [1, 3], [2, 2]].into_iter().enumerate() {
            let filter = |n, size: [usize; 2]| conv(n, size).std(1.5, 0.2).padding(padding).stride(stride);
            let end = if k % 2 == 0 { global_avg_pool() } else { flatten() };
            let layers = [filter(3, [3, 2]), tanh(), conv(3, [2, 2]).std(1.2, 0.1).padding(padding), relu(), end, dense(2)];
            let network = Network::new([5, 6, 2], layers).unwrap();
            let parameters = network.init::<f64>(3).unwrap();
            check_all(&Finite { network: &network, parameters: &parameters }, 60, 1e-12, &format!("{padding:?}, {stride:?}"));
        }
    }
}

#[test]
fn every_strategy_gives_the_kernel_where_there_is_one_of_everything() {
    let networks = [
        Network::new([3, 3, 1], [conv(1, [2, 2]), relu(), global_avg_pool(), dense(1)]),
        Network::new([3, 3, 1], [conv(1, [3, 3]).padding(Padding::Valid), tanh(), flatten(), dense(1)]),
        Network::new([2, 3, 1], [conv(2, [2, 2]), erf(), conv(1, [1, 1]).without_bias(), tanh(), global_avg_pool()]),
        Network::new([1], [dense(1)]),
    ];
    for network in networks.map(|network| network.unwrap().parameterized(Parameterization::Standard)) {
        let parameters = network.init::<f64>(3).unwrap();
        check_all(&Finite { network: &network, parameters: &parameters }, network.n_inputs(), 1e-12, &format!("{network}"));
    }
}

/// The derivatives of 300 examples are longer than what a Gram matrix packs at once.
#[test]
fn long_derivatives_are_summed_to_their_end() {
    let network = Network::new([40], [dense(90), relu(), dense(1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let x = inputs::<f64>(300, 40, 1);
    assert_eq!(simd::gram_panels(300, 3781, 8), simd::gram_panels(300, 2 * 3781, 8), "not longer");
    let of = |strategy| empirical_ntk(&f, &x, None, Outputs::Trace, strategy).unwrap();
    assert_close(&of(Strategy::Jacobian), &of(Strategy::Structured).values, 1e-12, "300 rows of 3781 numbers");
}
