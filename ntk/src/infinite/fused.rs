//! Dense layers that are followed by ReLU, all of a run in one loop, in single precision.
//!
//! A group of pairs goes through all layers of the run before the next one starts, and nothing between the layers is written down. Only
//! `s = sin²(t/2)` is carried, since behind a ReLU no angle is obtuse, and `τ = Θ/√(K11 K22)`.

use super::loops::{horner, load, store};
use super::norms::Norms;
use super::rows::{Pairs, Strip};
use super::stage::{Affine, Closed, Stage};
use rayon::prelude::*;
use simd::lane::Arith;
use simd::{Float, Kernel, Level};

/// Pairs of a group: several vectors, so that none waits for the root of another, and few enough that what is carried stays in registers.
const GROUP: usize = 32;

type Lanes<T> = [T; GROUP];

/// Of the rows behind the dense layers of a run, with the parts of weights and bias as the legs of a right triangle whose hypotenuse is the
/// whole, and the angle β between the whole and the part of the weights: `[cos β, sin β/2, cos β/2]`.
#[derive(Clone, Debug)]
pub(super) struct Turns<T> {
    layers: usize,
    /// Groups of rows × layers, so that a group reads one piece of memory from its first layer to its last.
    groups: Vec<[Lanes<T>; 3]>,
    /// The same, rows × layers, for a row that all lanes of a group share.
    rows: Vec<[T; 3]>,
}

impl<T: Float> Turns<T> {
    /// From the norms behind the stages of a run. A zero variance has no shares, and any finite numbers do.
    pub(super) fn new(run: &[Norms<T>]) -> Self {
        let half = T::of(0.5);
        let layers = run.len() / 2;
        let n = run[0].root.len();
        let mut groups = vec![[[T::ZERO; GROUP]; 3]; n.div_ceil(GROUP) * layers];
        let mut rows = vec![[T::ZERO; 3]; n * layers];
        let each = groups.par_chunks_mut(layers).zip(rows.par_chunks_mut(layers * GROUP)).enumerate();
        each.for_each(|(group, (groups, rows))| {
            for (k, row) in rows.chunks_exact_mut(layers).enumerate() {
                for (layer, norms) in run.iter().step_by(2).enumerate() {
                    let [cos, sin] = [0, 1].map(|part| norms.shares[part][group * GROUP + k]);
                    // Without bias the angle stays, and so does its cosine.
                    let cos = if sin == T::ZERO && cos > T::ZERO { T::ONE } else { cos };
                    let half_cos = (half * (T::ONE + cos)).sqrt();
                    row[layer] = [cos, half * sin / half_cos, half_cos];
                    for (lanes, turn) in groups[layer].iter_mut().zip(row[layer]) {
                        lanes[k] = turn;
                    }
                }
            }
        });
        Turns { layers, groups, rows }
    }

    /// The number of stages of the run.
    pub(super) fn stages(&self) -> usize {
        2 * self.layers
    }

    /// A group of rows behind each layer.
    #[inline(always)]
    fn group(&self, group: usize) -> &[[Lanes<T>; 3]] {
        &self.groups[group * self.layers..(group + 1) * self.layers]
    }

    /// One row behind each layer.
    #[inline(always)]
    fn row(&self, i: usize) -> &[[T; 3]] {
        &self.rows[i * self.layers..(i + 1) * self.layers]
    }
}

/// The number of stages, dense layers in the NTK parameterization and ReLU by turns, that these start with and that are taken through the loop
/// of this file: none in double precision.
pub(super) fn run_length<T: Float>(stages: &[Stage<Affine>]) -> usize {
    let fits = |stages: &&[Stage<Affine>]| match stages {
        [Stage::Linear(Affine { w, b, alpha, gamma }), Stage::Activation(Closed::Relu)] => *alpha == w * w && *gamma == b * b,
        [Stage::Linear(_) | Stage::Activation(_) | Stage::Norm { .. } | Stage::Sum(..), ..] | [] => false,
    };
    if T::EPSILON.to_f64() > 1e-10 { 2 * stages.chunks(2).take_while(fits).count() } else { 0 }
}

/// Takes the pairs, behind the stage `at`, through the run that ends with the stage `end` and has these turns.
pub(super) fn run<T: Float>([one, two]: [&Turns<T>; 2], at: usize, end: usize, pairs: &Pairs<T>, strip: &mut Strip<T>) {
    let roots = [pairs.one[at].root[pairs.i], pairs.one[end].root[pairs.i]];
    let others = [&pairs.two[at].root[pairs.j.clone()], &pairs.two[end].root[pairs.j.clone()]];
    // Θ⁰ = 0.
    let some_theta = at > 0;
    Level::best().run(Run { one, i: pairs.i, two, start: pairs.j.start, some_theta, roots, others, strip });
}

struct Run<'a, T> {
    one: &'a Turns<T>,
    i: usize,
    two: &'a Turns<T>,
    /// The first of the second rows.
    start: usize,
    /// Whether Θ is not 0 everywhere before the run.
    some_theta: bool,
    /// √K11 before and behind the run.
    roots: [T; 2],
    others: [&'a [T]; 2],
    strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for Run<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let Run { one, i, two, start, some_theta, roots: [before, behind], others: [before2, behind2], strip } = self;
        let (one, layers) = (one.row(i), one.layers);
        let n = strip.near.len();
        let (near, far, theta) = (&mut strip.near[..n], &mut strip.far[..n], &mut strip.theta[..n]);
        let (before2, behind2) = (&before2[..n], &behind2[..n]);
        // The groups are the same wherever a strip starts, which may be inside of one.
        let (mut first, mut group, mut offset) = (0, start / GROUP, start % GROUP);
        while first < n {
            let len = if n - first < GROUP - offset { n - first } else { GROUP - offset };
            let range = first..first + len;
            let (mut s, mut c, mut tau, mut root) = ([T::ZERO; GROUP], [T::ONE; GROUP], [T::ZERO; GROUP], [T::ZERO; GROUP]);
            load(&mut s, offset, &near[range.clone()]);
            load(&mut c, offset, &far[range.clone()]);
            if some_theta {
                load(&mut tau, offset, &theta[range.clone()]);
                load(&mut root, offset, &before2[range.clone()]);
                for k in 0..GROUP {
                    // Where a variance is 0, Θ counts for nothing behind the layer.
                    let both = before * root[k];
                    let part = tau[k] / both;
                    tau[k] = if both > T::ZERO { part } else { T::ZERO };
                }
            }
            let (one, two) = (&one[..layers], &two.group(group)[..layers]);
            any_angle::<T, A>(one[0], &two[0], &mut s, &c, &mut tau);
            for layer in 1..layers {
                acute::<T, A>(one[layer], &two[layer], &mut s, &mut tau);
            }
            load(&mut root, offset, &behind2[range.clone()]);
            for k in 0..GROUP {
                c[k] = T::ONE - s[k];
                tau[k] *= behind * root[k];
            }
            store(&s, offset, &mut near[range.clone()]);
            store(&c, offset, &mut far[range.clone()]);
            store(&tau, offset, &mut theta[range]);
            (first, group, offset) = (first + len, group + 1, 0);
        }
    }
}

/// A dense layer and a ReLU on pairs with acute angles. With the weights' shares `w = cos β1 cos β2` of K12,
///
/// ```text
/// s' = sin²((β1 − β2)/2) + w s        since cos t' = w cos t + sin β1 sin β2
/// τ' = cos t' + w τ
/// s'' = s' − B/2,    B = (sin t' − t' cos t')/π
/// τ'' = 2 κ̇ τ',      2 κ̇ = 1 − t'/π,  since ReLU halves both variances.
/// ```
#[inline(always)]
fn acute<T: Float, A: Arith>([p, sin_p, cos_p]: [T; 3], [q, sin_q, cos_q]: &[Lanes<T>; 3], near: &mut Lanes<T>, tau: &mut Lanes<T>) {
    for k in 0..GROUP {
        // Two plain products, so that the difference is exactly 0 for equal rows, and changes its sign alone if they are exchanged.
        let h = sin_p * cos_q[k] - cos_p * sin_q[k];
        let w = p * q[k];
        let s = A::mul_add(w, near[k], h * h);
        let cos = A::mul_add(T::of(-2.0), s, T::ONE);
        let (kept, slope) = relu::<T, A>(s);
        near[k] = s * kept;
        tau[k] = A::mul_add(w, tau[k], cos) * slope;
    }
}

/// The same for any angle, of which cos²(t/2) is given too. An obtuse one has the angle u = π − t between its lines, and `s'' = (1 − B)/2`,
/// `2 κ̇ = u/π`.
#[inline(always)]
fn any_angle<T: Float, A: Arith>(
    [p, sin_p, cos_p]: [T; 3],
    [q, sin_q, cos_q]: &[Lanes<T>; 3],
    near: &mut Lanes<T>,
    far: &Lanes<T>,
    tau: &mut Lanes<T>,
) {
    let half = T::of(0.5);
    let bias_p = T::of(4.0) * (sin_p * cos_p);
    for k in 0..GROUP {
        let h = sin_p * cos_q[k] - cos_p * sin_q[k];
        let w = p * q[k];
        let apart = h * h;
        let s = A::mul_add(w, near[k], apart);
        // cos²(t'/2), with the product of the sines of β as the bias's share.
        let c = A::mul_add(w, far[k], A::mul_add(bias_p, sin_q[k] * cos_q[k], apart));
        let acute = s <= c;
        let u = if acute { s } else { c };
        let (kept, slope) = relu::<T, A>(u);
        near[k] = if acute { s * kept } else { half - u * (T::ONE - kept) };
        tau[k] = A::mul_add(w, tau[k], c - s) * if acute { slope } else { T::ONE - slope };
    }
}

/// `1 − (sin u − u cos u)/2πs` and `1 − u/π` of an acute angle u with s = sin²(u/2).
#[inline(always)]
fn relu<T: Float, A: Arith>(s: T) -> (T, T) {
    let root = -s.sqrt();
    (A::mul_add(root, horner::<T, A, 6>(s, &SEGMENT), T::ONE), A::mul_add(root, horner::<T, A, 7>(s, &ANGLE), T::ONE))
}

/// `u/(π √s)` for s = sin²(u/2) in [0, ½]: off by 9e-8 at most.
const ANGLE: [f64; 7] = [
    0.636_619_824_025_272,
    0.106_093_225_005_544_33,
    0.048_061_177_283_746_585,
    0.024_814_594_257_923_605,
    0.038_373_847_898_815_9,
    -0.034_279_806_337_655_24,
    0.063_745_408_649_206_3,
];

/// `(sin u − u cos u)/(2π s^(3/2))` likewise: off by 6.5e-8 at most.
const SEGMENT: [f64; 6] = [
    0.424_413_140_083_666_4,
    0.042_447_256_274_024_237,
    0.013_507_166_037_680_948,
    0.007_400_831_195_689_487,
    -0.000_241_624_988_725_961_1,
    0.007_505_075_628_677_232,
];
