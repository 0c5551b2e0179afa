//! Uses with several sites: Gram matrices of features between all sites, times cotangents.

use super::contract::{Target, View};
use super::reduce::Outputs;
use super::structured::Factor;
use super::uses::Kind;
use super::{Real, number, zeros};
use autodiff::{Accumulate, Mat};
use simd::MatMut;

/// Two uses with several sites,
///
/// `θ[i,j,a,b] += scale · Σ_st (x_is·x'_jt)(g_ias·g'_jbt) = scale · Σ_s g_ias·h_bs`, `h_bs = Σ_t (x_is·x'_jt) g'_jbt`,
///
/// which takes `S²(I + K·O) + S·K²·O` multiply-adds a pair, where sums in the order of the first form take `S²(I + K²·O)`.
pub(super) struct Sites<'s, 'a, T: Real> {
    pub(super) a: &'s Factor<T>,
    pub(super) b: &'s Factor<T>,
    pub(super) s1: &'a View<'s, T>,
    pub(super) s2: &'a View<'s, T>,
    pub(super) same: bool,
    pub(super) kept: Outputs,
    pub(super) scale: T,
}

/// What a thread needs for a pair of examples.
struct Memory<T> {
    xx: Vec<T>,
    h: Vec<T>,
    product: Vec<T>,
}

impl<T: Real> Sites<'_, '_, T> {
    pub(super) fn add(&self, theta: &mut Target<'_, T>) {
        let (n1, n2) = (self.s1.examples, self.s2.examples);
        if n1 == 0 || n2 == 0 || self.a.n_out == 0 {
            return;
        }
        let entries = self.kept.entries_of(self.s1.structure.lanes, self.s2.structure.lanes);
        let threads = rayon::current_num_threads();
        // Rows in turn, because those of a triangle are not of one length.
        let mut rows: Vec<Vec<(usize, &mut [T])>> = (0..threads).map(|_| Vec::new()).collect();
        for (i, row) in theta.data.chunks_mut(theta.stride.max(1)).take(n1).enumerate() {
            rows[i % threads].push((i, &mut row[..n2 * entries]));
        }
        rayon::scope(|scope| {
            for rows in rows {
                scope.spawn(move |_| {
                    let (s, t) = (self.a.sites, self.b.sites);
                    let lanes = self.s2.structure.lanes;
                    let product = self.s1.structure.lanes * lanes;
                    let mut memory = Memory { xx: zeros(s * t), h: zeros(lanes * s * self.a.n_out), product: zeros(product) };
                    for (i, row) in rows {
                        for j in if self.same { i } else { 0 }..n2 {
                            self.pair(i, j, &mut memory, &mut row[j * entries..][..entries]);
                        }
                    }
                });
            }
        });
    }

    fn pair(&self, i: usize, j: usize, memory: &mut Memory<T>, theta: &mut [T]) {
        let Sites { a, b, s1, s2, kept, scale, .. } = *self;
        let (s, t, o) = (a.sites, b.sites, a.n_out);
        let (k1, k2) = (s1.structure.lanes, s2.structure.lanes);
        let Memory { xx, h, product } = memory;
        if !self.features(i, j, xx) {
            return;
        }
        let g1 = &a.g[(s1.first + i) * k1 * s * o..][..k1 * s * o];
        let g2 = &b.g[(s2.first + j) * k2 * t * o..][..k2 * t * o];
        for (h, g2) in h.chunks_exact_mut(s * o).zip(g2.chunks_exact(t * o)) {
            simd::product(Mat::new(xx, s, t), Mat::new(g2, t, o), Accumulate::Set, MatMut::new(h, s, o));
        }
        match kept {
            Outputs::Full => {
                simd::product(Mat::new(g1, k1, s * o), Mat::new(h, k2, s * o).t(), Accumulate::Set, MatMut::new(product, k1, k2));
                theta.iter_mut().zip(&*product).for_each(|(theta, &p)| *theta += scale * p);
            }
            Outputs::Trace | Outputs::Sum => {
                let mut dot = [number(0.0)];
                simd::product(Mat::new(g1, 1, k1 * s * o), Mat::new(h, k1 * s * o, 1), Accumulate::Set, MatMut::new(&mut dot, 1, 1));
                theta[0] += scale * dot[0];
            }
            Outputs::Diagonal => {
                for (theta, (g1, h)) in theta.iter_mut().zip(g1.chunks_exact(s * o).zip(h.chunks_exact(s * o))) {
                    let mut dot = [number(0.0)];
                    simd::product(Mat::new(g1, 1, s * o), Mat::new(h, s * o, 1), Accumulate::Set, MatMut::new(&mut dot, 1, 1));
                    *theta += scale * dot[0];
                }
            }
        }
    }

    /// `x_is·x'_jt` for all sites; false if all are 0 because no tokens agree.
    fn features(&self, i: usize, j: usize, xx: &mut [T]) -> bool {
        let Sites { a, b, s1, s2, .. } = *self;
        let (s, t) = (a.sites, b.sites);
        let x1 = |n: usize| &a.x[(s1.first + i) * n..][..n];
        let x2 = |n: usize| &b.x[(s2.first + j) * n..][..n];
        let mut any = true;
        match (a.kind, b.kind) {
            (Kind::Tokens, Kind::Tokens) => {
                any = false;
                for (xx, one) in xx.chunks_exact_mut(t).zip(x1(s)) {
                    for (xx, two) in xx.iter_mut().zip(x2(t)) {
                        *xx = if one == two { number(1.0) } else { number(0.0) };
                        any |= one == two;
                    }
                }
            }
            (Kind::Tokens, Kind::Features | Kind::Ones) => {
                let x2 = x2(t * b.n_in);
                for (xx, token) in xx.chunks_exact_mut(t).zip(x1(s)) {
                    let at = autodiff::Scalar::primal(*token) as usize;
                    xx.iter_mut().enumerate().for_each(|(t, xx)| *xx = x2[t * b.n_in + at]);
                }
            }
            (Kind::Features | Kind::Ones, Kind::Tokens) => {
                let x1 = x1(s * a.n_in);
                for (s, xx) in xx.chunks_exact_mut(t).enumerate() {
                    xx.iter_mut().zip(x2(t)).for_each(|(xx, token)| *xx = x1[s * a.n_in + autodiff::Scalar::primal(*token) as usize]);
                }
            }
            (Kind::Features | Kind::Ones, Kind::Features | Kind::Ones) => {
                let (x1, x2) = (Mat::new(x1(s * a.n_in), s, a.n_in), Mat::new(x2(t * b.n_in), t, b.n_in));
                simd::product(x1, x2.t(), Accumulate::Set, MatMut::new(xx, s, t));
            }
            (Kind::Written, _) | (_, Kind::Written) => unreachable!("what is written out has no features"),
        }
        any
    }
}
