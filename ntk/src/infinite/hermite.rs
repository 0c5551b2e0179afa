//! Smooth functions without a closed form: their Hermite series, tabulated by the variance.

use nn::{Elementwise, Phi};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use thiserror::Error;

/// A smooth activation for networks of infinite width, given by its function `f` and its slope `f'`. A network has one by
/// [`nn::elementwise`]; this is the function alone, and what takes the place of another activation.
///
/// With the orthonormal Hermite polynomials `h_n` of a standard normal z and `b_n(σ) = E[f'(σ z) h_n(z)]` the dual kernels are, with
/// the angle t of the pair,
///
/// `κ̇ = Σ_n b_n(σ1) b_n(σ2) cosⁿ t` and `κ = a_0(σ1) a_0(σ2) + Σ_{n≥1} (σ1 σ2/n) b_{n−1}(σ1) b_{n−1}(σ2) cosⁿ t`
///
/// (Mehler's formula; Daniely, Frostig and Singer 2016, section 4.2). The coefficients are integrals over one variable, by the
/// trapezoidal rule, which converges exponentially for a function that is analytic around the real line. They are interpolated in
/// log σ on octaves of the variance that do not depend on the data.
///
/// # Accuracy
///
/// For tanh, sigmoid, softplus and silu κ and κ̇ are within 1e-10 of their values at t = 0 for variances from 1e-3 to 1e2. The series
/// is converged in the same way for any function whose singularities are at least as far from the real line as those of tanh, π/2.
/// A series of more than 8192 terms, which tanh needs for variances above 128, is refused with [`SeriesTooLong`], since it would be slow and
/// not within the bound. With κ the angle is carried as everywhere here: coincident inputs are exact, and between near ones t is good to
/// rounding, as `1 − cos t'` is a sum of positive terms that vanish with the angle and with the difference of the variances.
#[derive(Clone, Debug)]
pub struct Smooth {
    shared: Arc<Shared>,
}

/// A preactivation whose variance is too large for the Hermite series of the function that reads it.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error(
    "`{name}` at a variance of {variance:e} needs more than {MOST} terms of its Hermite series: scale the inputs or the weights down; a function with a kink has no such series at any scale"
)]
pub struct SeriesTooLong {
    /// The function.
    pub name: &'static str,
    /// The variance that it reads.
    pub variance: f64,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    parity: Parity,
    octaves: Mutex<BTreeMap<i32, Arc<Octave>>>,
    lengths: Mutex<BTreeMap<(i32, i32, bool), Arc<Lengths>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Phi(Phi),
    User(Elementwise),
}

impl PartialEq for Smooth {
    /// The same function, by its name and its address.
    fn eq(&self, other: &Self) -> bool {
        self.shared.source == other.shared.source
    }
}

/// Which terms of a series there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parity {
    Odd,
    Even,
    Neither,
}

impl Parity {
    /// The least n ≥ 1 of a term, and the step from one to the next.
    pub(super) fn terms(self) -> (usize, usize) {
        match self {
            Parity::Odd => (1, 2),
            Parity::Even => (2, 2),
            Parity::Neither => (1, 1),
        }
    }
}

/// The coefficients for the variances in `[2^k, 2^(k+1))`, as polynomials in log σ.
#[derive(Debug)]
struct Octave {
    /// Chebyshev coefficients of the mean `a_0`, and of `b_{n−1}` for each n of the terms, `nodes` each.
    mean: Vec<f64>,
    slopes: Vec<f64>,
    nodes: usize,
    /// The largest |b| of each term at the nodes, and the least `√(Σ b²)`.
    envelope: Vec<f64>,
    norm: f64,
    /// Whether the last terms are small.
    converged: bool,
}

/// How many terms a pair of octaves needs by the class of its angle, `|cos t| ≤ 1 − 2^−(class+1)`; the last one is for all angles.
pub(super) type Lengths = [u32; CLASSES];

/// Number of classes of angles.
pub(super) const CLASSES: usize = 5;

/// The most terms of a series, which those of tanh need up to a variance of 128.
const MOST: usize = 1 << 13;

/// What one row contributes to the series of its pairs.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) variance: f64,
    /// `a_0/√K11'`, where K11' is the variance behind the function.
    pub(super) mean: f64,
    /// `σ/√K11'`, from the slopes to the terms below.
    pub(super) ratio: f64,
    /// `E[f'(u)]`.
    pub(super) first: f64,
    /// `√n a_n/√K11' = σ b_{n−1}/√K11'` of each term.
    pub(super) terms: Vec<f64>,
    pub(super) octave: i32,
}

impl Smooth {
    /// A function with its slope; without one, the slope is taken from differences, good to about 1e-13 for a function that varies over
    /// lengths of 1 or more; see [`Elementwise`].
    ///
    /// ```
    /// // The square has κ = K11 K22 + 2 K12² and κ̇ = 4 K12.
    /// let square = ntk::Smooth::new("square", |x| x * x, Some(|x| 2.0 * x));
    /// let (kappa, slope) = square.dual(1.0, 0.5, 2.0);
    /// assert!((kappa - 2.5).abs() < 1e-13 && (slope - 2.0).abs() < 1e-13);
    /// ```
    pub fn new(name: &'static str, f: fn(f64) -> f64, slope: Option<fn(f64) -> f64>) -> Self {
        let function = Elementwise::new(name, f);
        slope.map_or(function, |slope| function.with_slope(slope)).into()
    }

    /// A function that has a map.
    pub(super) fn phi(phi: Phi) -> Self {
        Self::of(Source::Phi(phi))
    }

    /// One of the process for each function, so that all kernels share its tables.
    fn of(source: Source) -> Self {
        static KNOWN: Mutex<Vec<Smooth>> = Mutex::new(Vec::new());
        let find = |known: &[Smooth]| known.iter().find(|other| other.shared.source == source).cloned();
        if let Some(smooth) = find(&KNOWN.lock().expect("no thread panics with the lock")) {
            return smooth;
        }
        // Without the lock: a function of the user's may panic.
        let new = Self::new_of(source);
        let mut known = KNOWN.lock().expect("no thread panics with the lock");
        find(&known).unwrap_or_else(|| {
            known.push(new.clone());
            new
        })
    }

    fn new_of(source: Source) -> Self {
        let grid = || (1..=64).map(|i| f64::from(i) * 0.173);
        let parity = if grid().all(|x| source.value(x) == -source.value(-x)) && source.value(0.0) == 0.0 {
            Parity::Odd
        } else if grid().all(|x| source.value(x) == source.value(-x)) {
            Parity::Even
        } else {
            Parity::Neither
        };
        Smooth { shared: Arc::new(Shared { source, parity, octaves: Mutex::default(), lengths: Mutex::default() }) }
    }

    /// The name of the function.
    pub fn name(&self) -> &'static str {
        match self.shared.source {
            Source::Phi(phi) => phi.name(),
            Source::User(function) => function.name(),
        }
    }

    pub(super) fn parity(&self) -> Parity {
        self.shared.parity
    }

    /// [`try_row`](Self::try_row) of a variance that is known to be small enough.
    ///
    /// # Panics
    /// If it is not.
    pub(super) fn row(&self, variance: f64) -> Row {
        self.try_row(variance).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The contribution of a row with this variance before the function.
    pub(super) fn try_row(&self, variance: f64) -> Result<Row, SeriesTooLong> {
        let source = self.shared.source;
        if variance <= 0.0 {
            let f = source.value(0.0);
            return Ok(Row { variance: f * f, mean: sign(f), ratio: 0.0, first: source.slope(0.0), terms: Vec::new(), octave: i32::MIN });
        }
        let too_long = || SeriesTooLong { name: self.name(), variance };
        if !variance.is_finite() {
            return Err(too_long());
        }
        // The exponent of the number, exactly, and the place in the octave, −1 to 1.
        let k = exponent(variance);
        let octave = self.octave(k);
        if !octave.converged {
            return Err(too_long());
        }
        let place = (2.0 * (variance / 2f64.powi(k)).log2() - 1.0).clamp(-1.0, 1.0);
        let basis = chebyshev(place, octave.nodes);
        let at = |c: &[f64]| c.iter().zip(&basis).map(|(c, t)| c * t).sum::<f64>();
        let sigma = variance.sqrt();
        let (n0, step) = self.parity().terms();
        let mean = if self.parity() == Parity::Odd { 0.0 } else { at(&octave.mean) };
        let mut terms: Vec<f64> = octave.slopes.chunks_exact(octave.nodes).map(at).collect();
        let first = if self.parity() == Parity::Even { 0.0 } else { terms[0] };
        let after: f64 = mean * mean + terms.iter().enumerate().rev().map(|(k, b)| variance * b * b / (n0 + step * k) as f64).sum::<f64>();
        let root = after.sqrt();
        let inverse = if root > 0.0 { 1.0 / root } else { 0.0 };
        terms.iter_mut().for_each(|b| *b *= sigma * inverse);
        Ok(Row { variance: after, mean: mean * inverse, ratio: sigma * inverse, first, terms, octave: k })
    }

    /// The numbers of terms of the pairs between two octaves, to rounding in f32 or in f64.
    pub(super) fn lengths(&self, one: i32, two: i32, single: bool) -> Arc<Lengths> {
        if one == i32::MIN || two == i32::MIN {
            return Arc::new([0; CLASSES]);
        }
        let key = (one.min(two), one.max(two), single);
        if let Some(lengths) = self.shared.lengths.lock().expect("no thread panics with the lock").get(&key) {
            return lengths.clone();
        }
        let (a, b) = (self.octave(key.0), self.octave(key.1));
        let tolerance = if single { 1e-8 } else { 1e-13 } * a.norm * b.norm;
        let (_, step) = self.parity().terms();
        let n = a.envelope.len().min(b.envelope.len());
        let lengths = std::array::from_fn(|class| {
            let c = if class + 1 == CLASSES { 1.0 } else { 1.0 - 0.5f64.powi(class as i32 + 1) };
            let c = f64::powi(c, step as i32);
            let mut powers: Vec<f64> = (0..n).scan(1.0, |power, _| Some(std::mem::replace(power, *power * c))).collect();
            powers.iter_mut().enumerate().for_each(|(k, power)| *power *= a.envelope[k] * b.envelope[k]);
            let mut rest = 0.0;
            let spare = powers.iter().rev().take_while(|&&term| {
                rest += term;
                rest <= tolerance
            });
            (n - spare.count()) as u32
        });
        let lengths = Arc::new(lengths);
        self.shared.lengths.lock().expect("no thread panics with the lock").insert(key, lengths.clone());
        lengths
    }

    fn octave(&self, k: i32) -> Arc<Octave> {
        if let Some(octave) = self.shared.octaves.lock().expect("no thread panics with the lock").get(&k) {
            return octave.clone();
        }
        // Two threads may make the same table, with the same bits.
        let octave = Arc::new(Octave::new(self.shared.source, self.parity(), k));
        self.shared.octaves.lock().expect("no thread panics with the lock").insert(k, octave.clone());
        octave
    }
}

impl From<Elementwise> for Smooth {
    fn from(function: Elementwise) -> Self {
        Smooth::of(Source::User(function))
    }
}

impl Source {
    fn value(self, x: f64) -> f64 {
        match self {
            Source::Phi(phi) => phi.value(x),
            Source::User(function) => function.value(x),
        }
    }

    fn slope(self, x: f64) -> f64 {
        match self {
            Source::Phi(phi) => phi.derivative(x),
            Source::User(function) => function.slope(x),
        }
    }
}

impl Octave {
    fn new(source: Source, parity: Parity, k: i32) -> Self {
        let top = 2f64.powi(k + 1).sqrt();
        let Some((count, step, ends)) = resolution(source, parity, top) else {
            return Octave { mean: Vec::new(), slopes: Vec::new(), nodes: 0, envelope: Vec::new(), norm: 0.0, converged: false };
        };
        for nodes in [16, 32, 64] {
            let octave = Octave::with_nodes(source, parity, k, (count, step, ends), nodes);
            if octave.resolved(top) || nodes == 64 {
                return octave;
            }
        }
        unreachable!("the last number of nodes returns")
    }

    fn with_nodes(source: Source, parity: Parity, k: i32, (count, step, ends): (usize, f64, bool), nodes: usize) -> Self {
        let angle = |i: usize| std::f64::consts::PI * (i as f64 + 0.5) / nodes as f64;
        let samples: Vec<(f64, Vec<f64>)> = (0..nodes)
            .into_par_iter()
            .map(|i| coefficients(source, parity, (0.5 * (f64::from(k) + 0.5 * (1.0 + angle(i).cos()))).exp2(), count, step, 0.0))
            .collect();
        // Chebyshev coefficients are a cosine transform of the values at the nodes.
        let cosines: Vec<f64> = (0..nodes * nodes).map(|k| ((k / nodes) as f64 * angle(k % nodes)).cos()).collect();
        let transform = |value: &dyn Fn(usize) -> f64, out: &mut Vec<f64>| {
            for (m, cosines) in cosines.chunks_exact(nodes).enumerate() {
                let sum: f64 = (0..nodes).map(|i| value(i) * cosines[i]).sum();
                out.push(sum * if m == 0 { 1.0 } else { 2.0 } / nodes as f64);
            }
        };
        let (mut mean, mut slopes) = (Vec::new(), Vec::with_capacity(nodes * count));
        transform(&|i| samples[i].0, &mut mean);
        for n in 0..count {
            transform(&|i| samples[i].1[n], &mut slopes);
        }
        let envelope = (0..count).map(|n| samples.iter().fold(0.0, |m: f64, s| m.max(s.1[n].abs()))).collect();
        let norm = samples.iter().map(|s| s.1.iter().map(|b| b * b).sum::<f64>()).fold(f64::INFINITY, f64::min).sqrt();
        let last = samples.iter().fold(0.0, |m: f64, s| m.max(s.1[count - 1].abs()));
        let converged = ends || rest(count, last) <= MOST_REST * norm * norm;
        Octave { mean, slopes, nodes, envelope, norm, converged }
    }

    /// Whether the polynomials have converged.
    fn resolved(&self, sigma: f64) -> bool {
        let small = |c: &[f64], scale: f64| c[self.nodes - 3..].iter().all(|c| c.abs() <= 1e-13 * scale);
        let mean = self.mean.iter().fold(sigma * self.norm, |m: f64, c| m.max(c.abs()));
        small(&self.mean, mean) && self.slopes.chunks_exact(self.nodes).all(|c| small(c, self.norm))
    }
}

/// How many terms a function needs at a scale σ, the step of the trapezoidal rule with which they are converged, and whether those behind them are
/// rounding: the series of a polynomial ends with a term of any size. `None` where so many terms are left behind the last one that no table needs to
/// be made to see it, as there are of a function with a kink.
fn resolution(source: Source, parity: Parity, sigma: f64) -> Option<(usize, f64, bool)> {
    let (mut count, mut step) = (32, 0.25);
    loop {
        let (mean, slopes) = coefficients(source, parity, sigma, count, step, 0.0);
        let norm = slopes.iter().map(|b| b * b).sum::<f64>().sqrt();
        // The same rule with its points half a step on: what the two differ by is their error.
        let (other_mean, other) = coefficients(source, parity, sigma, count, step, 0.5);
        // The recurrence of the polynomials loses a rounding or so in each step.
        let (n0, stride) = parity.terms();
        let rounding = |k: usize| 2e-14 + 1e-15 * (n0 + stride * k) as f64;
        let off = slopes.iter().zip(&other).enumerate().any(|(k, (a, b))| (a - b).abs() > rounding(k) * norm);
        let mean_off = (mean - other_mean).abs() > 1e-13 * (sigma * norm + mean.abs());
        if (off || mean_off) && step > 1e-3 {
            step *= 0.5;
        } else {
            let ends = slopes[count - 4..].iter().all(|b| b.abs() <= rounding(count) * norm);
            if !ends && count < MOST {
                count *= 2;
                continue;
            }
            let count = slopes.iter().enumerate().rposition(|(k, b)| b.abs() > rounding(k) * norm).map_or(1, |last| last + 1);
            // A hundred times what a table may have, as one is made of scales below this one.
            if !ends && rest(count, slopes[count - 1]) > 100.0 * MOST_REST * norm * norm {
                return None;
            }
            return Some((count, step, ends));
        }
    }
}

/// `E[f(σ z)]`, and `E[f'(σ z) h_{n−1}(z)]` for the first terms n of a parity, by the trapezoidal rule on points `(i + shift)·step`.
fn coefficients(source: Source, parity: Parity, sigma: f64, count: usize, step: f64, shift: f64) -> (f64, Vec<f64>) {
    let (n0, stride) = parity.terms();
    let last = (REACH / step) as i32;
    // Of an odd or even function all integrands are even: one half of the line is enough.
    let (start, sides) = if parity == Parity::Neither { (-last, 1.0) } else { (0, 2.0) };
    let points: Vec<f64> = (start..last).map(|i| (f64::from(i) + shift) * step).collect();
    // √φ twice: the product of a polynomial with one of them stays within range.
    let root = |z: f64| (-0.25 * z * z).exp();
    let scale = |z: f64| step / std::f64::consts::TAU.sqrt() * root(z) * if z == 0.0 { 1.0 } else { sides };
    let mean = points.iter().map(|&z| scale(z) * root(z) * source.value(sigma * z)).sum();
    let mean = if parity == Parity::Odd { 0.0 } else { mean };
    let weights: Vec<f64> = points.iter().map(|&z| scale(z) * source.slope(sigma * z)).collect();
    let (mut before, mut here) = (vec![0.0; points.len()], points.iter().map(|&z| root(z)).collect::<Vec<f64>>());
    let mut slopes = Vec::with_capacity(count);
    for n in 0.. {
        if n + 1 == n0 + stride * slopes.len() {
            slopes.push(weights.iter().zip(&here).map(|(w, h)| w * h).sum());
            if slopes.len() == count {
                break;
            }
        }
        // h_{n+1} = (z h_n − √n h_{n−1})/√(n+1).
        let (down, up) = ((n as f64).sqrt(), 1.0 / (n as f64 + 1.0).sqrt());
        for ((before, here), z) in before.iter_mut().zip(&mut here).zip(&points) {
            (*before, *here) = (*here, (z * *here - down * *before) * up);
        }
    }
    (mean, slopes)
}

/// What is left behind the last term: where a series does not end before, the squares of the terms decay like exp(−c √n), over a length that is well
/// below a sixteenth of n here.
fn rest(count: usize, last: f64) -> f64 {
    count as f64 / 16.0 * last * last
}

/// The most that may be left, in units of `Σ b²`.
const MOST_REST: f64 = 1e-11;

/// From here on √φ is below 1e-16.
const REACH: f64 = 12.5;

/// The k of `2^k ≤ x < 2^(k+1)`.
fn exponent(x: f64) -> i32 {
    let bits = ((x.to_bits() >> 52) & 0x7ff) as i32;
    // A subnormal number counts as the least normal one.
    bits.max(1) - 1023
}

/// The Chebyshev polynomials at x.
fn chebyshev(x: f64, n: usize) -> Vec<f64> {
    let mut t = vec![1.0, x];
    while t.len() < n {
        t.push(2.0 * x * t[t.len() - 1] - t[t.len() - 2]);
    }
    t
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}
