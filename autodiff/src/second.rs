//! Second derivatives: products with Hessians, and Taylor models.

use crate::check::{Differentiable, Point};
use crate::dual::Dual;
use crate::flow::Flow;
use crate::modes::{Leaves, Linearized, leaves};
use crate::op::Var;
use crate::planes::PIECE;
use crate::scalar::Scalar;
use crate::sink::{Gradient, Wrt};
use crate::tape::{Mark, Tape};
use rayon::prelude::*;

/// Products with the Hessian of `⟨c, f⟩` at a point: a reverse pass over dual numbers (Pearlmutter 1994), which records the function anew for
/// every direction, in memory that is used again.
///
/// ```
/// use autodiff::{Differentiable, Hessian, Leaves, Point, Scalar, Shape, Tape, Var, Wrt};
/// struct Cube;
/// impl Differentiable for Cube {
///     fn record<T: Scalar>(&self, tape: &mut Tape<T>, _: &[Var], parameters: &[Var]) -> Var {
///         tape.powf(parameters[0], 3.0)
///     }
/// }
/// let at = Point { inputs: vec![], parameters: vec![(Shape::from([2]), vec![2.0, 5.0])] };
/// let mut hessian = Hessian::new(&Cube, &at, Wrt::PARAMETERS);
/// // (x³)'' = 6x, and the outputs count once and twice.
/// let product = hessian.product(&[1.0, 2.0], &Leaves::of_parameters(vec![vec![1.0, 10.0]]));
/// assert_eq!(product.parameters, [[12.0, 600.0]]);
/// ```
#[derive(Clone, Debug)]
pub struct Hessian<'f, F, T: Scalar> {
    f: &'f F,
    tape: Tape<Dual<T>>,
    inputs: Vec<Var>,
    parameters: Vec<Var>,
    start: Mark,
    flow: Flow<Dual<T>>,
    gradient: Gradient<Dual<T>>,
    seed: Vec<Dual<T>>,
}

impl<'f, F: Differentiable, T: Scalar> Hessian<'f, F, T> {
    /// The Hessian of `f` at a point with respect to some of the leaves; nothing is computed yet. Directions may still move the others, and
    /// give mixed derivatives then.
    pub fn new(f: &'f F, at: &Point<T>, wrt: Wrt) -> Self {
        let mut tape = Tape::new();
        let (inputs, parameters) = leaves(&mut tape, at, |re| Dual { re, eps: T::ZERO });
        let start = tape.mark();
        Hessian { f, tape, inputs, parameters, start, flow: Flow::new(), gradient: Gradient::new(wrt), seed: Vec::new() }
    }

    /// `∇²⟨c, f⟩·t` for one direction, with the weights `c` of the outputs.
    ///
    /// # Panics
    /// If a tangent has not the length of its leaf, or `c` that of the output.
    #[track_caller]
    pub fn product(&mut self, c: &[T], tangent: &Leaves<T>) -> Leaves<T> {
        let tangents = |leaf: &[Dual<T>]| leaf.iter().map(|d| d.eps).collect();
        let gradient = self.pull(c, tangent);
        Leaves { inputs: gradient.inputs().map(tangents).collect(), parameters: gradient.parameters().map(tangents).collect() }
    }

    /// [`product`](Hessian::product) for each of `lanes` directions, one after the other: `[lanes, leaf]`.
    ///
    /// # Panics
    /// If a tangent has not `lanes` times the length of its leaf, or `c` the length of the output.
    #[track_caller]
    pub fn products(&mut self, lanes: usize, c: &[T], tangents: &Leaves<T>) -> Leaves<T> {
        let lane = |all: &[Vec<T>], k: usize| -> Vec<Vec<T>> {
            all.iter().map(|t| t[k * t.len() / lanes..(k + 1) * t.len() / lanes].to_vec()).collect()
        };
        let mut all: Leaves<T> = Leaves { inputs: Vec::new(), parameters: Vec::new() };
        for k in 0..lanes {
            let tangent = Leaves { inputs: lane(&tangents.inputs, k), parameters: lane(&tangents.parameters, k) };
            let product = self.product(c, &tangent);
            for (all, new) in [(&mut all.inputs, product.inputs), (&mut all.parameters, product.parameters)] {
                all.resize_with(new.len(), Vec::new);
                all.iter_mut().zip(new).for_each(|(all, new)| all.extend(new));
            }
        }
        all
    }

    /// The gradient of `⟨c, f⟩` over duals: in `re` the gradient itself, in `eps` the product of the Hessian with the direction. A warm call
    /// allocates nothing.
    ///
    /// # Panics
    /// As [`product`](Hessian::product).
    #[track_caller]
    pub fn pull(&mut self, c: &[T], tangent: &Leaves<T>) -> &Gradient<Dual<T>> {
        for &v in self.inputs.iter().chain(&self.parameters) {
            let leaf = self.tape.node(v).leaf().expect("a leaf");
            let values = self.tape.leaf_mut(v);
            match tangent.get(leaf) {
                None => values.iter_mut().for_each(|d| d.eps = T::ZERO),
                Some(t) => {
                    assert_eq!(t.len(), values.len(), "a tangent of {} entries for a leaf of {}", t.len(), values.len());
                    let pieces = values.par_chunks_mut(PIECE).zip(t.par_chunks(PIECE));
                    pieces.for_each(|(values, t)| values.iter_mut().zip(t).for_each(|(d, &t)| d.eps = t));
                }
            }
        }
        self.tape.rewind(self.start);
        let output = self.f.record(&mut self.tape, &self.inputs, &self.parameters);
        self.seed.clear();
        self.seed.extend(c.iter().map(|&re| Dual { re, eps: T::ZERO }));
        let pulled = self.tape.pull(output, 1, &self.seed, &mut self.flow, &mut self.gradient);
        pulled.expect("a gradient sums over examples and is never refused");
        &self.gradient
    }
}

/// The Taylor model of a function at a point, of first and second order: for a network, what it would be if it were linear or quadratic in its parameters.
///
/// ```
/// use autodiff::{Differentiable, Leaves, Point, Scalar, Shape, Tape, Taylor, Var};
/// struct Cube;
/// impl Differentiable for Cube {
///     fn record<T: Scalar>(&self, tape: &mut Tape<T>, _: &[Var], parameters: &[Var]) -> Var {
///         tape.powf(parameters[0], 3.0)
///     }
/// }
/// let at = Point { inputs: vec![], parameters: vec![(Shape::scalar(), vec![2.0])] };
/// let mut model = Taylor::new(&Cube, &at);
/// let d = Leaves::of_parameters(vec![vec![0.5]]);
/// assert_eq!(model.first(1, &d), [8.0 + 12.0 * 0.5]);
/// assert_eq!(model.second(1, &d), [8.0 + 12.0 * 0.5 + 6.0 * 0.25]);
/// ```
#[derive(Clone, Debug)]
pub struct Taylor<'f, F, T: Scalar> {
    f: &'f F,
    linear: Linearized<T>,
    tape: Tape<Dual<Dual<T>>>,
    inputs: Vec<Var>,
    parameters: Vec<Var>,
    start: Mark,
}

impl<'f, F: Differentiable, T: Scalar> Taylor<'f, F, T> {
    /// The model of `f` around a point.
    pub fn new(f: &'f F, at: &Point<T>) -> Self {
        let mut tape = Tape::new();
        let (inputs, parameters) = leaves(&mut tape, at, |x| Dual { re: Dual { re: x, eps: T::ZERO }, eps: Dual::ZERO });
        let start = tape.mark();
        Taylor { f, linear: Linearized::new(f, at), tape, inputs, parameters, start }
    }

    /// `f + J·d` for each of `lanes` displacements: `[lanes, output]`.
    ///
    /// # Panics
    /// If a displacement has not `lanes` times the length of its leaf.
    #[track_caller]
    pub fn first(&mut self, lanes: usize, d: &Leaves<T>) -> Vec<T> {
        let mut model = self.linear.jvp(lanes, d).to_vec();
        for (y, &f) in model.iter_mut().zip(self.linear.value().iter().cycle()) {
            *y += f;
        }
        model
    }

    /// `f + J·d + ½·d·∇²f·d` for each of `lanes` displacements: `[lanes, output]`. The second term comes from dual numbers over dual numbers, for all
    /// outputs at once.
    ///
    /// # Panics
    /// If a displacement has not `lanes` times the length of its leaf.
    #[track_caller]
    pub fn second(&mut self, lanes: usize, d: &Leaves<T>) -> Vec<T> {
        let mut model = self.first(lanes, d);
        let n = self.linear.value().len();
        for k in 0..lanes {
            for &v in self.inputs.iter().chain(&self.parameters) {
                let leaf = self.tape.node(v).leaf().expect("a leaf");
                let values = self.tape.leaf_mut(v);
                let len = values.len();
                for (j, x) in values.iter_mut().enumerate() {
                    let d = d.get(leaf).map_or(T::ZERO, |d| d[k * len + j]);
                    (x.re.eps, x.eps) = (d, Dual { re: d, eps: T::ZERO });
                }
            }
            self.tape.rewind(self.start);
            let output = self.f.record(&mut self.tape, &self.inputs, &self.parameters);
            let second = self.tape.value(output).iter().map(|y| T::of(0.5) * y.eps.eps);
            model[k * n..(k + 1) * n].iter_mut().zip(second).for_each(|(y, d)| *y += d);
        }
        model
    }
}
