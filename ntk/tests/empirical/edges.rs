//! Functions and sets at the edge of what there is.

use crate::common::STRATEGIES;
use autodiff::{Phi, Refusal, Shape, Tape, Var};
use nn::{Network, dense, relu};
use ntk::{Finite, Function, Kernel, Outputs, empirical_nngp, empirical_ntk};

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
