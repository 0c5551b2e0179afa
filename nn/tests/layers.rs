//! Every layer against direct loops, over sizes, strides and paddings, and its derivatives against everything that `check_grads` knows.

use crate::naive::{assert_forward, axis};
use autodiff::{Point, check_grads};
use nn::{
    ACTIVATIONS, Layer, LayerNorm, Network, NormAxes, Padding, PoolKind, avg_pool, conv, dense, elementwise, flatten, global_avg_pool,
    identity, layer_norm, max_pool, relu, residual, residual_with_shortcut, sum_pool, tanh,
};
use proptest::prelude::*;

const PADDINGS: [Padding; 6] =
    [Padding::Same, Padding::Valid, Padding::Circular, Padding::Cells([0, 0]), Padding::Cells([1, 2]), Padding::Cells([2, 0])];

/// Whether there is a window at all.
fn fits(padding: Padding, image: [usize; 2], size: [usize; 2]) -> bool {
    (0..2).all(|along| match padding {
        Padding::Same | Padding::Circular => true,
        Padding::Valid => size[along] <= image[along],
        Padding::Cells(cells) => size[along] <= image[along] + 2 * cells[along],
    })
}

/// Images from one pixel on, windows that are larger than they are, and strides that are larger than those.
fn grid(mut f: impl FnMut([usize; 2], [usize; 2], [usize; 2], Padding)) {
    for image in [[1, 1], [1, 5], [2, 3], [5, 4], [6, 7]] {
        for size in [[1, 1], [2, 3], [3, 3], [3, 1], [5, 2], [7, 8]] {
            for stride in [[1, 1], [2, 1], [2, 3], [4, 9]] {
                for padding in PADDINGS {
                    if fits(padding, image, size) {
                        f(image, size, stride, padding);
                    }
                }
            }
        }
    }
}

/// One layer on an image, and every number that it gives as an output.
fn alone(image: [usize; 2], channels: usize, layer: Layer) -> Network {
    Network::new([image[0], image[1], channels], [layer, flatten(), identity()]).unwrap_or_else(|error| panic!("{error}"))
}

/// A pool has no parameters, and a network must have some: a filter of one cell, before it.
fn behind_a_cell(image: [usize; 2], channels: usize, layer: Layer) -> Network {
    let layers = [conv(channels, [1, 1]).std(1.3, 0.2), layer, flatten()];
    Network::new([image[0], image[1], channels], layers).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_convolution_is_its_loops_at_every_size_stride_and_padding() {
    let mut cases = 0;
    grid(|image, size, stride, padding| {
        let layer = conv(3, size).stride(stride).padding(padding).std(1.4, 0.3);
        let network = alone(image, 2, layer.clone());
        let out = [0, 1].map(|along| axis(padding, along, image[along], size[along], stride[along]).0);
        assert_eq!(network.outputs(), out[0] * out[1] * 3);
        assert_forward(&network, cases);
        if cases % 7 == 0 {
            assert_forward(&alone(image, 1, layer.without_bias()), cases);
        }
        cases += 1;
    });
    assert!(cases > 500);
}

#[test]
fn the_fan_in_counts_the_whole_filter_at_the_edges_too() {
    // A filter of 5 × 5 on one pixel of 3 channels: all but one of its cells lie beyond the edge.
    let network = Network::new([1, 1, 3], [conv(2, [5, 5]).std(2.0, 0.0).without_bias(), flatten()]).unwrap();
    assert_eq!(network.parameters()[0].scaling.multiplier, 2.0 / 75.0_f64.sqrt());
    assert_eq!(network.parameters()[0].shape.dims(), [75, 2]);
    // With ones everywhere the output is 3 products of that size.
    let f = network.apply(&[vec![1.0; 150]], &[1.0; 3]);
    assert!(f.iter().all(|f| (f - 6.0 / 75.0_f64.sqrt()).abs() < 1e-15));
}

#[test]
fn pools_are_their_loops_at_every_size_stride_and_padding() {
    let mut cases = 0;
    grid(|image, size, stride, padding| {
        for kind in PoolKind::ALL {
            let layer = match kind {
                PoolKind::Average => avg_pool(size),
                PoolKind::Sum => sum_pool(size),
                PoolKind::Max => max_pool(size),
            };
            let beyond = matches!(padding, Padding::Cells(cells) if cells[0] >= size[0] || cells[1] >= size[1]);
            if kind == PoolKind::Max && beyond {
                continue;
            }
            assert_forward(&behind_a_cell(image, 2, layer.stride(stride).padding(padding)), cases);
            cases += 1;
        }
    });
    assert!(cases > 1500);
}

#[test]
fn an_average_at_the_edge_is_divided_by_the_whole_window() {
    let network = Network::new([1, 1, 1], [avg_pool([3, 3]).padding(Padding::Same), flatten(), dense(1).without_bias()]).unwrap();
    assert_eq!(network.apply(&[vec![1.0]], &[9.0]), [1.0]);
    let network = Network::new([1, 1, 1], [sum_pool([3, 3]).padding(Padding::Same), flatten(), dense(1).without_bias()]).unwrap();
    assert_eq!(network.apply(&[vec![1.0]], &[9.0]), [9.0]);
    // A maximum does not know the zeros.
    let network = Network::new([1, 1, 1], [max_pool([3, 3]).padding(Padding::Same), flatten(), dense(1).without_bias()]).unwrap();
    assert_eq!(network.apply(&[vec![1.0]], &[-9.0]), [-9.0]);
}

#[test]
fn what_lies_side_by_side_is_the_default_of_a_pool() {
    for pool in [avg_pool([2, 3]), sum_pool([2, 3]), max_pool([2, 3])] {
        assert_eq!(pool, pool.clone().stride([2, 3]).padding(Padding::Valid));
        // What is left over at the end is not seen.
        let network = Network::new([5, 7, 1], [pool, flatten(), dense(1)]).unwrap();
        assert_eq!(network.summary()[0].shape, [2, 2, 1]);
    }
    assert_eq!(conv(2, [3, 3]), conv(2, [3, 3]).stride([1, 1]).padding(Padding::Same).std(1.0, 0.0));
}

#[test]
fn global_pools_flattening_norms_and_activations_are_their_formulas() {
    for image in [[1, 1], [1, 4], [3, 2], [5, 5]] {
        for channels in [1, 2, 5] {
            let shape = [image[0], image[1], channels];
            let first = || conv(channels, [1, 1]).std(1.5, 0.4);
            assert_forward(&Network::new(shape, [first(), global_avg_pool()]).unwrap(), 1);
            assert_forward(&Network::new(shape, [first(), flatten(), flatten(), dense(3)]).unwrap(), 2);
            assert_forward(&Network::new(shape, [flatten(), dense(3)]).unwrap(), 3);
            for axes in [NormAxes::Channels, NormAxes::All] {
                for eps in [1e-5, 0.1] {
                    let norm = || layer_norm().over(axes).eps(eps);
                    assert_forward(&Network::new(shape, [first(), norm(), flatten(), dense(4).std(1.0, 0.2), norm()]).unwrap(), 4);
                }
            }
            for activation in ACTIVATIONS.map(Layer::from) {
                assert_forward(&Network::new(shape, [activation.clone(), first(), activation, flatten()]).unwrap(), 5);
            }
        }
    }
}

#[test]
fn layer_norm_has_mean_0_and_variance_1_and_is_0_of_one_channel() {
    assert_eq!(layer_norm(), Layer::LayerNorm(LayerNorm { axes: NormAxes::Channels, eps: 1e-12 }));
    let network = Network::new([2, 2, 4], [conv(6, [1, 1]), layer_norm(), flatten()]).unwrap();
    let f = network.apply(&network.init::<f64>(1).unwrap(), &nn::normals::<f64>(1, 50, 16));
    for place in f.chunks(6) {
        let (mean, square) = (place.iter().sum::<f64>() / 6.0, place.iter().map(|z| z * z).sum::<f64>() / 6.0);
        assert!(mean.abs() < 1e-15 && (square - 1.0).abs() < 1e-10, "{mean}, {square}");
    }
    // One channel is its own mean, to the bit, and so is a whole example of one number.
    for (shape, axes) in [([3, 2, 1], NormAxes::Channels), ([1, 1, 1], NormAxes::All)] {
        let network = Network::new(shape, [conv(1, [1, 1]), layer_norm().over(axes), flatten()]).unwrap();
        let n: usize = shape.iter().product();
        let f = network.apply(&network.init::<f64>(2).unwrap(), &nn::normals::<f64>(2, 50, 5 * n));
        assert!(f.iter().all(|&z| z == 0.0), "{f:?}");
    }
    // A place without any spread gives zeros as well, and no NaN.
    let network = Network::new([1, 1, 4], [layer_norm(), flatten(), dense(1)]).unwrap();
    assert_eq!(network.apply(&[vec![1.0; 4], vec![0.0]], &[0.0; 4]), [0.0]);
}

/// Derivatives with respect to inputs and parameters, first and second.
#[track_caller]
fn point(network: &Network, seed: u64) -> Point {
    let parameters = network.init::<f64>(seed).unwrap();
    let shapes = network.parameters().iter().map(|p| p.shape);
    let x = nn::normals(seed, 1 << 40, 2 * network.n_inputs());
    Point { inputs: vec![(network.input_shape(x.len()), x)], parameters: shapes.zip(parameters).collect() }
}

fn assert_derivatives(network: &Network, seed: u64) {
    if let Err(error) = check_grads(network, &point(network, seed), seed) {
        panic!("{error}\n{network}");
    }
}

#[test]
fn every_layer_obeys_every_law_of_derivatives() {
    let mut case = 0;
    grid(|image, size, stride, padding| {
        case += 1;
        assert_derivatives(&alone(image, 2, conv(3, size).stride(stride).padding(padding).std(1.4, 0.3)), case);
        assert_derivatives(&behind_a_cell(image, 2, avg_pool(size).stride(stride).padding(padding)), case);
        assert_derivatives(&behind_a_cell(image, 2, sum_pool(size).stride(stride).padding(padding)), case);
        if !matches!(padding, Padding::Cells(cells) if cells[0] >= size[0] || cells[1] >= size[1]) {
            assert_derivatives(&behind_a_cell(image, 2, max_pool(size).stride(stride).padding(padding)), case);
        }
    });
    for (seed, shape) in [[1, 1, 3], [1, 4, 2], [3, 2, 4]].into_iter().enumerate() {
        let first = || conv(4, [1, 1]).std(1.5, 0.4);
        let seed = seed as u64;
        assert_derivatives(&Network::new(shape, [first(), global_avg_pool()]).unwrap(), seed);
        assert_derivatives(&Network::new(shape, [first(), flatten(), dense(3)]).unwrap(), seed);
        for axes in [NormAxes::Channels, NormAxes::All] {
            assert_derivatives(&Network::new(shape, [first(), layer_norm().over(axes).eps(0.1), flatten()]).unwrap(), seed);
        }
        // With the default of eps where no variance is near 0.
        let wide = || conv(9, [1, 1]).std(1.5, 0.4);
        assert_derivatives(&Network::new(shape, [wide(), layer_norm(), flatten(), layer_norm().over(NormAxes::All)]).unwrap(), seed);
        for activation in ACTIVATIONS.map(Layer::from) {
            assert_derivatives(&Network::new(shape, [first(), activation.clone(), flatten(), dense(2), activation]).unwrap(), seed);
        }
        let block = residual_with_shortcut([tanh(), conv(2, [3, 3]).stride([2, 2])], [conv(2, [1, 1]).stride([2, 2])]);
        assert_derivatives(&Network::new(shape, [first(), residual([tanh(), conv(4, [2, 3])]), block, flatten()]).unwrap(), seed);
    }
}

/// A tanh of the program's own, with its slope and without.
fn own_tanh() -> [Layer; 2] {
    let slope: fn(f64) -> f64 = |x| 1.0 - x.tanh() * x.tanh();
    [elementwise("my tanh", f64::tanh, Some(slope)), elementwise("my tanh", f64::tanh, None)]
}

#[test]
fn an_own_tanh_is_the_tanh_that_there_is() {
    let features = |phi: Layer| Network::new([4], [dense(5).std(1.5, 0.4), phi.clone(), residual([dense(5), phi, dense(5)]), dense(2)]);
    let images = |phi: Layer| Network::new([4, 3, 2], [conv(3, [3, 3]).std(1.5, 0.4), phi.clone(), flatten(), dense(3), phi]);
    for network in [&features as &dyn Fn(Layer) -> Result<Network, nn::ModelError>, &images] {
        let built_in = network(tanh()).unwrap();
        let x: Vec<f64> = nn::normals(3, 99, 7 * built_in.n_inputs());
        let parameters = built_in.init::<f64>(3).unwrap();
        let single: Vec<Vec<f32>> = built_in.init(3).unwrap();
        let x32: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let targets = vec![0.3; 7 * built_in.outputs()];
        let gradients = |network: &Network| {
            let mut trainer = nn::Trainer::new(network, &parameters, nn::Loss::SquaredError);
            (0..5).for_each(|_| trainer.step(&x, &targets, 0.1).map(|_| ()).unwrap());
            trainer.parameters().concat()
        };
        for own in own_tanh().map(|phi| network(phi).unwrap()) {
            assert!(own.to_string().contains("my tanh"), "{own}");
            assert_forward(&own, 5);
            assert_derivatives(&own, 5);
            let close = |a: &[f64], b: &[f64], bound: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound);
            assert!(close(&own.apply(&parameters, &x), &built_in.apply(&parameters, &x), 1e-14), "{own}");
            let wide = |f: Vec<f32>| f.into_iter().map(f64::from).collect::<Vec<f64>>();
            assert!(close(&wide(own.apply(&single, &x32)), &wide(built_in.apply(&single, &x32)), 3e-6), "{own}");
            // Five steps of training, which only the slopes can spoil.
            assert!(close(&gradients(&own), &gradients(&built_in), 1e-12), "{own}");
        }
    }
}

#[test]
fn a_wrong_slope_is_found() {
    let wrong = elementwise("tanh with a wrong slope", f64::tanh, Some(|x| 1.0 - 1.001 * x.tanh() * x.tanh()));
    let network = Network::new([2], [dense(3).std(1.5, 0.4), wrong, dense(1)]).unwrap();
    let error = check_grads(&network, &point(&network, 1), 1).unwrap_err();
    assert_eq!(error.law, "the pushed tangent and 5-point differences");
}

/// Images with their channels first.
fn channels_first(x: &[f64], [height, width, channels]: [usize; 3]) -> Vec<f64> {
    let one = |x: &[f64]| -> Vec<f64> {
        (0..channels).flat_map(|c| (0..height * width).map(move |p| (p, c))).map(|(p, c)| x[p * channels + c]).collect()
    };
    x.chunks(height * width * channels).flat_map(one).collect()
}

#[test]
fn a_network_with_its_channels_first_is_the_same_network() {
    let layers = || {
        let block = residual([tanh(), conv(4, [3, 3]).std(1.2, 0.1)]);
        [conv(4, [2, 3]).std(1.5, 0.2), block, max_pool([2, 1]), layer_norm(), flatten(), dense(5), relu(), dense(3)]
    };
    let (last, first) = (Network::new([5, 3, 2], layers()).unwrap(), Network::nchw([2, 5, 3], layers()).unwrap());
    assert_eq!((first.input(), first.layout(), last.layout()), (&[2, 5, 3][..], nn::Layout::Nchw, nn::Layout::Nhwc));
    let parameters = last.init::<f64>(3).unwrap();
    assert_eq!(first.init::<f64>(3).unwrap(), parameters);
    let x: Vec<f64> = nn::normals(3, 99, 4 * 30);
    let (f, g) = (last.apply(&parameters, &x), first.apply(&parameters, &channels_first(&x, [5, 3, 2])));
    // Inside there is no difference: not even in a bit.
    assert_eq!(f, g);
    assert_derivatives(&first, 4);
    // Features have one order.
    assert_eq!(Network::nchw([3], [dense(2)]), Network::new([3], [dense(2)]));
}

#[test]
fn outputs_that_are_a_flattened_image_are_in_the_order_of_the_model() {
    let layers = [conv(2, [1, 1]), flatten()];
    let (last, first) = (Network::new([2, 3, 2], layers.clone()).unwrap(), Network::nchw([2, 2, 3], layers).unwrap());
    let parameters = last.init::<f64>(1).unwrap();
    let x: Vec<f64> = nn::normals(1, 99, 2 * 12);
    let f = last.apply(&parameters, &x);
    assert_eq!(first.apply(&parameters, &channels_first(&x, [2, 3, 2])), channels_first(&f, [2, 3, 2]));
    assert_ne!(channels_first(&f, [2, 3, 2]), f);
    // Features that are added to a flattened image are counted as its channels are.
    let around =
        Network::nchw([2, 2, 3], [residual_with_shortcut([flatten(), dense(12).std(12_f64.sqrt(), 0.0).without_bias()], [flatten()])]);
    let mut weights = vec![0.0; 144];
    // Feature 0 of the dense layer is channel 1 at place 2, which is feature 5 of the image inside and 8 outside.
    weights[5 * 12] = 1.0;
    let x: Vec<f64> = (0..12).map(f64::from).collect();
    let mut want = x.clone();
    want[0] += 8.0;
    assert_eq!(around.unwrap().apply(&[weights], &x), want);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn random_windows_are_their_loops(
        image in (1_usize..9, 1_usize..9), size in (1_usize..11, 1_usize..11), stride in (1_usize..5, 1_usize..5),
        channels in 1_usize..4, out in 1_usize..4, padding in prop_oneof![
            Just(Padding::Same), Just(Padding::Valid), Just(Padding::Circular),
            (0_usize..5, 0_usize..5).prop_map(|(rows, cols)| Padding::Cells([rows, cols])),
        ], bias in any::<bool>(), seed in any::<u64>(),
    ) {
        let (image, size, stride) = ([image.0, image.1], [size.0, size.1], [stride.0, stride.1]);
        let layer = conv(out, size).stride(stride).padding(padding).std(1.1, 0.4);
        let layers = [if bias { layer } else { layer.without_bias() }, flatten()];
        let network = Network::new([image[0], image[1], channels], layers);
        prop_assert_eq!(network.is_ok(), fits(padding, image, size));
        if let Ok(network) = network {
            assert_forward(&network, seed);
            assert_forward(&behind_a_cell(image, channels, avg_pool(size).stride(stride).padding(padding)), seed);
        }
    }
}
