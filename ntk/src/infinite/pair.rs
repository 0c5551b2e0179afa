//! One pair of inputs on its way through the layers.
//!
//! A pair is two variances and an angle: `K12 = √K11 √K22 cos t`. The angle is carried as both sin²(t/2) and cos²(t/2), each
//! computed by sums of positive terms, so that neither end of the range loses digits: κ̇ of ReLU has a square-root singularity
//! at t = 0, where an angle that is read from a rounded `K12` is good to √ε only. Here it is good to ε at any depth.

use super::stage::Kinked;
use simd::Float;
use simd::lane::Arith;

/// The angle `t` between the two members of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Angle<T> {
    /// sin²(t/2): 0 for inputs that coincide.
    pub(super) near: T,
    /// cos²(t/2): 0 for inputs that are opposite.
    pub(super) far: T,
}

/// Variance and its root, of one member of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm<T> {
    pub(super) variance: T,
    pub(super) root: T,
}

impl<T: Float> Angle<T> {
    pub(super) const COINCIDENT: Self = Angle { near: T::ZERO, far: T::ONE };

    #[inline(always)]
    fn from_near(near: T) -> Self {
        Angle { near, far: T::ONE - near }
    }
}

/// `K12`. For inputs that coincide it is `K11` bit for bit, and −`K11` for opposite ones.
#[inline(always)]
pub(super) fn covariance<T: Float>(one: Norm<T>, two: Norm<T>, t: Angle<T>) -> T {
    let k = one.root * two.root * (t.far - t.near);
    let same = one.variance == two.variance;
    let k = if same & (t.near == T::ZERO) { one.variance } else { k };
    if same & (t.far == T::ZERO) { -one.variance } else { k }
}

/// The sum of two uncorrelated parts with variances `p² K11` and `q² K22` of the whole, p1² + p2² = q1² + q2² = 1: from
/// `cos t = p1 q1 cos t1 + p2 q2 cos t2` and `1 − p1 q1 − p2 q2 = (p1 q2 − p2 q1)²/(1 + p1 q1 + p2 q2)`.
#[inline(always)]
pub(super) fn sum<T: Float>([p1, p2]: [T; 2], [q1, q2]: [T; 2], t1: Angle<T>, t2: Angle<T>) -> Angle<T> {
    let (w1, w2) = (p1 * q1, p2 * q2);
    // Two plain products, so that the difference is exactly 0 for equal rows.
    let cross = p1 * q2 - p2 * q1;
    let apart = cross * cross / (T::of(2.0) * (T::ONE + w1 + w2));
    Angle { near: apart + w1 * t1.near + w2 * t2.near, far: apart + w1 * t1.far + w2 * t2.far }
}

/// ReLU: `κ = (n/2π)(sin t + (π − t) cos t)`, `n = √(K11 K22)`, and `κ̇ = (π − t)/2π` (Cho and Saul 2009, equations 3 to 6).
///
/// The variances are halved, so that the new angle depends on the old one alone: `cos t' = (sin t + (π − t) cos t)/π`. With u
/// the angle of the two lines, t or π − t, and `B = (sin u − u cos u)/π`: `cos t' = B + cos u` if t = u, else `B`.
#[inline(always)]
pub(super) fn relu<T: Float, A: Arith>(t: Angle<T>) -> (Angle<T>, T) {
    let half = T::of(0.5);
    let acute = t.near <= t.far;
    let s = if acute { t.near } else { t.far };
    let (u, b) = lines::<T, A>(s);
    let near = s - half * b;
    let near = if near < T::ZERO { T::ZERO } else { near };
    let part = u * T::of(0.5 * std::f64::consts::FRAC_1_PI);
    let near = if acute { near } else { half * (T::ONE - b) };
    (Angle::from_near(near), if acute { half - part } else { part })
}

/// What [`kinked`] needs to know of a function, in the type of the pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kink<T> {
    /// The shares of x and of |x| in the variance: `(1 + below)²/4` and `(1 − below)²/4` of `(1 + below²)/2`.
    line: T,
    fold: T,
    /// κ̇ of parallel inputs and of opposite ones, and what each unit of the angle between the lines takes from the one and adds
    /// to the other.
    parallel: T,
    opposite: T,
    turn: T,
    /// κ̇ where one of the variances is 0 or both are.
    one_zero: T,
    both_zero: T,
}

impl<T: Float> Kink<T> {
    pub(super) fn new(kinked: Kinked) -> Self {
        let Kinked { below, at } = kinked;
        let share = |root: f64| T::of(0.25 * root * root / kinked.variance());
        Kink {
            line: share(1.0 + below),
            fold: share(1.0 - below),
            parallel: T::of(kinked.variance()),
            opposite: T::of(below),
            turn: T::of((1.0 - below) * (1.0 - below) * (0.5 * std::f64::consts::FRAC_1_PI)),
            one_zero: T::of(at * 0.5 * (1.0 + below)),
            both_zero: T::of(at * at),
        }
    }
}

/// A function with a kink, `φ(x) = a x + b |x|` with `a = (1 + below)/2` and `b = (1 − below)/2`.
///
/// By symmetry `E[u |v|] = 0`, so that `κ = a² K12 + b² κ_abs` and `κ̇ = a² + b² κ̇_abs`, where `κ_abs = n C`, `n = √(K11 K22)`,
/// `C = (2/π)(sin t + (π/2 − t) cos t)`, and `κ̇_abs = 1 − 2t/π`. As |x| is the sum of ReLU of x and of −x, these are twice the
/// sum of the κ of ReLU at t and at π − t, and twice the difference of its κ̇.
///
/// With u the angle of the two lines, t or π − t, and `B = (sin u − u cos u)/π`: `C = 2B + cos u`, so that |x| turns sin²(u/2)
/// into sin²(u/2) − B. The new angle is the mean of that and of the old one by their shares. `κ̇` is `(1 + below²)/2 − 2b² u/π`
/// if t = u and else `below + 2b² u/π`.
#[inline(always)]
pub(super) fn kinked<T: Float, A: Arith>(kink: Kink<T>, one: T, two: T, t: Angle<T>) -> (Angle<T>, T) {
    let acute = t.near <= t.far;
    let s = if acute { t.near } else { t.far };
    let (u, b) = lines::<T, A>(s);
    let near = s - b;
    let near = if near < T::ZERO { T::ZERO } else { near };
    let (near, far) = (kink.line * t.near + kink.fold * near, kink.line * t.far + kink.fold * (T::ONE - near));
    // The rounded shares add up to 1 within rounding only: the smaller of the two keeps its digits, the other one is the rest.
    let small = near <= far;
    let t = Angle { near: if small { near } else { T::ONE - far }, far: if small { T::ONE - near } else { far } };
    let slope = if acute { kink.parallel - kink.turn * u } else { kink.opposite + kink.turn * u };
    let zeros = if (one > T::ZERO) | (two > T::ZERO) { kink.one_zero } else { kink.both_zero };
    (t, if (one > T::ZERO) & (two > T::ZERO) { slope } else { zeros })
}

/// The angle u of two lines with s = sin²(u/2), at most a right one, and `B = (sin u − u cos u)/π`.
///
/// In single precision one root serves both: `sin u = 2√(s(1 − s))`, and u/sin u is a polynomial of s. In double precision that would need
/// coefficients so large that their rounding shows.
#[inline(always)]
fn lines<T: Float, A: Arith>(s: T) -> (T, T) {
    let cos_u = T::ONE - T::of(2.0) * s;
    // A condition on constants: only one of the branches is compiled.
    if T::EPSILON.to_f64() > 1e-10 {
        let sin_u = T::of(2.0) * (s * (T::ONE - s)).sqrt();
        let quotient = polynomial::<T, A, 10>(s, &ANGLE_F32);
        (sin_u * quotient, sin_u * T::of(std::f64::consts::FRAC_1_PI) * (T::ONE - quotient * cos_u))
    } else {
        let root = s.sqrt();
        let u = T::of(2.0) * root * asin_of_root::<T, A>(s);
        let sin_u = T::of(2.0) * root * (T::ONE - s).sqrt();
        (u, (sin_u - u * cos_u) * T::of(std::f64::consts::FRAC_1_PI))
    }
}

/// erf: `κ = (2/π) asin c`, `c = 2 K12/√((1 + 2 K11)(1 + 2 K22))`, and `κ̇ = (4/π)/√((1 + 2 K11)(1 + 2 K22) − 4 K12²)`
/// (Williams 1997, equation 11). `one`, `two` are the norms before, `after` the roots of the variances behind the layer.
///
/// With `r = 1/(1 + 2 K11)`, `cos θ1 = 1 − r`, the new variance is `(2/π)(π/2 − θ1)`, likewise θ2 and, from |c|, θ12. Near
/// pairs take `D = K11' + K22' − 2|K12'| = (4/π)(θ12 − φ)`, `φ = (θ1 + θ2)/2`, from `cos φ − cos θ12`, a sum of positive terms.
#[inline(always)]
pub(super) fn erf<T: Float, A: Arith>(one: Norm<T>, two: Norm<T>, after: [T; 2], t: Angle<T>) -> (Angle<T>, T) {
    let (half, double) = (T::of(0.5), T::of(2.0));
    let acute = t.near <= t.far;
    let s = if acute { t.near } else { t.far };
    // r, √r, √(1 − r) without its cancellation, sin θ.
    let side = |norm: Norm<T>| {
        let r = T::ONE / (T::ONE + double * norm.variance);
        let root_r = r.sqrt();
        (r, root_r, T::of(std::f64::consts::SQRT_2) * norm.root * root_r, root_r * (double - r).sqrt())
    };
    let (r1, root_r1, x, sin1) = side(one);
    let (r2, root_r2, y, sin2) = side(two);
    let (xx, yy) = (x * x, y * y);

    let c = x * y * (T::ONE - double * s);
    let sin12 = (r1 + r2 * xx + xx * yy * (T::of(4.0) * t.near * t.far)).sqrt();
    let slope = T::of(4.0 * std::f64::consts::FRAC_1_PI) * root_r1 * root_r2 / sin12;

    let dr = double * (two.variance - one.variance) * r1 * r2;
    let sines = sin1 + sin2;
    let dsin = dr * (double - r1 - r2) / sines;
    let sin2_delta = T::of(0.25) * (dsin * dsin + dr * dr);
    let cos_delta = (T::ONE - sin2_delta).sqrt();
    let (cos_phi, sin_phi) = (half * (xx + yy) / cos_delta, half * sines / cos_delta);
    let apart = cos_phi * sin2_delta / (T::ONE + cos_delta) + half * (x - y) * (x - y) + double * x * y * s;
    let norm = sin12 * cos_phi + c * sin_phi;
    let sin_beta = if norm > T::ZERO { apart * ((cos_phi + c) / norm) } else { T::ZERO };
    let d = T::of(4.0 * std::f64::consts::FRAC_1_PI) * angle::<T, A>(sin_beta, c * cos_phi + sin12 * sin_phi);

    let [a, b] = after;
    let k = T::of(std::f64::consts::FRAC_2_PI) * angle::<T, A>(c, sin12);
    let inverse = if (a > T::ZERO) & (b > T::ZERO) { T::ONE / a / b } else { T::ZERO };
    let from_d = T::of(0.25) * (d - (a - b) * (a - b)) * inverse;
    let from_k = half * (T::ONE - k * inverse);
    let s = if d < T::of(0.1) * (a * a + b * b) { from_d } else { from_k };
    let s = if s < T::ZERO { T::ZERO } else { s };
    let folded = Angle::from_near(s);
    (if acute { folded } else { Angle { near: folded.far, far: folded.near } }, slope)
}

/// The variance of erf, `(2/π) asin(2 K/(1 + 2 K))`.
pub(super) fn erf_variance<T: Float, A: Arith>(variance: T) -> T {
    let r = T::ONE / (T::ONE + T::of(2.0) * variance);
    T::of(std::f64::consts::FRAC_2_PI) * angle::<T, A>(T::of(2.0) * variance * r, (r * (T::of(2.0) - r)).sqrt())
}

/// The angle in [0, π/2] with this sine and cosine.
#[inline(always)]
pub(super) fn angle<T: Float, A: Arith>(sin: T, cos: T) -> T {
    let small = sin <= cos;
    let z = if small { sin } else { cos };
    let asin = z * asin_of_root::<T, A>(z * z);
    if small { asin } else { T::of(std::f64::consts::FRAC_PI_2) - asin }
}

/// asin(√s)/√s for s in [0, ½], by a Chebyshev fit.
#[inline(always)]
fn asin_of_root<T: Float, A: Arith>(s: T) -> T {
    // A condition on constants: only one of the branches is compiled.
    if T::EPSILON.to_f64() > 1e-10 { polynomial::<T, A, 9>(s, &ASIN_F32) } else { polynomial::<T, A, 22>(s, &ASIN_F64) }
}

/// Σ c_i x^i as two polynomials in x², so that half as many operations wait for each other.
#[inline(always)]
pub(super) fn polynomial<T: Float, A: Arith, const N: usize>(x: T, c: &[f64; N]) -> T {
    let s = x * x;
    let (mut last, mut before) = (T::of(c[N - 1]), T::of(c[N - 2]));
    for i in (0..N - 2).rev().step_by(2) {
        last = A::mul_add(last, s, T::of(c[i]));
        if i > 0 {
            before = A::mul_add(before, s, T::of(c[i - 1]));
        }
    }
    // Of an even number of coefficients the last one belongs to an odd power.
    if N.is_multiple_of(2) { A::mul_add(last, x, before) } else { A::mul_add(before, x, last) }
}

/// u/sin u, given sin²(u/2) in [0, ½], by a minimax fit: off by 1.2e-8 before rounding.
const ANGLE_F32: [f64; 10] = [
    0.999_999_988_505_827_9,
    0.666_671_176_554_425_4,
    0.533_043_548_745_223_6,
    0.464_301_332_806_749_23,
    0.317_582_141_020_353_26,
    0.991_524_679_264_784_9,
    -2.249_604_392_824_337,
    6.729_979_524_641_604,
    -8.565_003_984_102_152,
    5.814_936_854_232_74,
];

/// Off by 2.9e-9 before rounding.
const ASIN_F32: [f64; 9] = [
    1.000_000_001_622_623_4,
    0.166_666_142_378_242_84,
    0.075_027_573_163_524_04,
    0.044_091_616_733_716_87,
    0.035_814_239_284_011_77,
    -0.007_020_579_152_294_475_5,
    0.107_400_021_301_746_47,
    -0.135_916_271_239_843_87,
    0.123_913_494_905_129_75,
];

/// Off by 9e-20 before rounding.
const ASIN_F64: [f64; 22] = [
    1.0,
    0.166_666_666_666_666_77,
    0.074_999_999_999_970_7,
    0.044_642_857_146_590_796,
    0.030_381_944_192_751_874,
    0.022_372_169_469_516_402,
    0.017_352_478_925_890_68,
    0.013_970_388_580_165_13,
    0.011_472_739_233_344_357,
    0.010_612_424_641_245_267,
    0.001_343_310_052_190_203,
    0.052_847_256_668_238_42,
    -0.225_047_803_568_511_65,
    0.935_466_751_776_075_3,
    -2.943_437_098_582_813_3,
    7.350_301_723_259_086,
    -14.208_998_226_239_418,
    20.948_148_226_085_877,
    -22.743_165_917_126_41,
    17.211_967_471_947_872,
    -8.131_723_877_410_607,
    1.828_748_342_102_192,
];
