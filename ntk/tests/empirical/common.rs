//! The slow kernel, and how others are held against it.

use autodiff::{Gradient, Scalar, Tape, Wrt};
use ntk::{Function, Kernel, Order, Outputs, Real, Request, Strategy, empirical_ntk, kernel};

pub(crate) const STRATEGIES: [Strategy; 4] = [Strategy::Auto, Strategy::Jacobian, Strategy::Products, Strategy::Structured];

pub(crate) fn inputs<T: Scalar>(n: usize, d: usize, seed: u64) -> Vec<T> {
    nn::normals(seed, 99, n * d)
}

/// Straight from the definition: one example after the other, one output after the other, and plain sums.
pub(crate) fn slow<T: Real>(f: &impl Function<T>, x1: &[T], x2: &[T], d: usize, kept: Outputs) -> Vec<f64> {
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

pub(crate) fn assert_close<T: Real>(kernel: &Kernel<T>, want: &[f64], bound: f64, what: &str) {
    assert_eq!(kernel.values.len(), want.len(), "{what}");
    assert_eq!(kernel.shape().iter().product::<usize>(), want.len(), "{what}");
    assert_eq!(kernel.shape()[..2], [kernel.n1, kernel.n2], "{what}");
    let largest = want.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    for (i, (k, w)) in kernel.values.iter().zip(want).enumerate() {
        let error = (k.primal() - w).abs();
        assert!(error <= bound * largest, "{what}: entry {i} is {k} and should be {w}");
    }
}

/// Orders that can be asked for.
pub(crate) const ORDERS: [Order; 4] = [Order::Jacobian, Order::Gram, Order::Pooled, Order::Sites];

pub(crate) fn check_all<T: Real>(f: &impl Function<T>, d: usize, bound: f64, what: &str) {
    let (x1, x2) = (inputs::<T>(5, d, 1), inputs::<T>(3, d, 2));
    for kept in Outputs::ALL {
        let (same, other) = (slow(f, &x1, &x1, d, kept), slow(f, &x1, &x2, d, kept));
        for strategy in STRATEGIES {
            let what = format!("{what}, {kept:?}, {strategy:?}");
            assert_close(&empirical_ntk(f, &x1, None, kept, strategy).unwrap(), &same, bound, &what);
            assert_close(&empirical_ntk(f, &x1, Some(&x1), kept, strategy).unwrap(), &same, bound, &what);
            assert_close(&empirical_ntk(f, &x1, Some(&x2), kept, strategy).unwrap(), &other, bound, &what);
        }
        for order in ORDERS {
            let what = format!("{what}, {kept:?}, {order:?}");
            let request = Request { strategy: Strategy::Structured, order: Some(order), ..Request::of(kept) };
            let ordered = |x2| kernel(f, &x1, x2, &request, |_, _| ()).unwrap();
            assert_close(&ordered(None), &same, bound, &what);
            assert_close(&ordered(Some(&x2)), &other, bound, &what);
        }
    }
}
