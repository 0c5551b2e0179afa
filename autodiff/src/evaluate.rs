//! What each operation computes.

use crate::apply::put;
use crate::op::{Op, Var};
use crate::planes::PIECE;
use crate::rules::{Past, edges};
use crate::scalar::{Scalar, Scratch};
use crate::windows::Windows;
use rayon::prelude::*;
use simd::{Accumulate, Mat, MatMut};

/// Computes a node into `out`; `saved` is memory for what its derivative needs besides inputs and output.
pub(crate) fn evaluate<T: Scalar>(node: Var, past: &Past<'_, T>, out: &mut [T], saved: &mut [T], scratch: &mut Scratch<T>) {
    match past.node(node).op {
        Op::Leaf(_) => unreachable!("leaves are given, not computed"),
        Op::Affine { x, w, scale, bias } => {
            let (x, w) = (past.matrix(x), past.matrix(w));
            T::product(x, w, Accumulate::Set, MatMut::new(out, x.rows(), w.cols()), &mut scratch.parts);
            scale_and_shift(out, scale, bias.map(|(b, s)| (past.value(b), s)));
        }
        Op::Conv { x, w, windows, scale, bias } => {
            let images = past.node(x).shape.dims()[0];
            let sizes = windows.convolution(past.matrix(w).cols());
            T::conv(&sizes, images, past.value(x), past.value(w), Accumulate::Set, out, &mut scratch.parts);
            scale_and_shift(out, scale, bias.map(|(b, s)| (past.value(b), s)));
        }
        Op::Product { x, y, scale } => {
            let (x, y) = (past.matrices(x), past.matrices(y));
            let (m, n) = (x.rows(), y.cols());
            for (b, out) in out.chunks_exact_mut((m * n).max(1)).enumerate() {
                T::product(x.matrix(b), y.matrix(b), Accumulate::Set, MatMut::new(out, m, n), &mut scratch.parts);
            }
            if scale != 1.0 {
                let a = T::of(scale);
                out.iter_mut().for_each(|z| *z = a * *z);
            }
        }
        Op::Reshape(_) => unreachable!("a tensor of another shape lies where the tensor lies"),
        Op::Add(x, y) => zip(out, past.value(x), past.value(y), |x, y| x + y),
        Op::Sub(x, y) => zip(out, past.value(x), past.value(y), |x, y| x - y),
        Op::Mul(x, y) => zip(out, past.value(x), past.value(y), |x, y| x * y),
        Op::Div(x, y) => zip(out, past.value(x), past.value(y), |x, y| x / y),
        Op::Map(phi, x) => T::map(phi, past.value(x), out, &mut scratch.parts),
        Op::Apply(function, x) => {
            let piece = |out: &mut [T], saved: &mut [T], x: &[T]| {
                put(Accumulate::Set, out, x.iter().map(|&x| T::derivative(function, 0, x)));
                put(Accumulate::Set, saved, x.iter().map(|&x| T::derivative(function, 1, x)));
            };
            let x = past.value(x);
            if out.len() <= PIECE {
                return piece(out, saved, x);
            }
            let pieces = out.par_chunks_mut(PIECE).zip(saved.par_chunks_mut(PIECE)).zip(x.par_chunks(PIECE));
            pieces.for_each(|((out, saved), x)| piece(out, saved, x));
        }
        Op::Power(x, p) => {
            let x = past.value(x);
            put(Accumulate::Set, out, x.iter().map(|&x| x.powf(p)));
            let slope = |x: T| if p == 0.0 { T::ZERO } else { T::of(p) * x.powf(p - 1.0) };
            put(Accumulate::Set, saved, x.iter().map(|&x| slope(x)));
        }
        Op::RowDot(x, y) => {
            let (x, y) = (past.matrix(x), past.matrix(y));
            let dot = |i: usize| (0..x.cols()).fold(T::ZERO, |sum, j| sum + x.at(i, j) * y.at(i, j));
            out.iter_mut().enumerate().for_each(|(i, z)| *z = dot(i));
        }
        Op::Norm(x) => norms(past.matrix(x), out, saved),
        Op::LogSumExp(x) => T::softmax(past.matrix(x), out, saved),
        Op::MaxPool(x, windows) => max_pool(windows, past.value(x), out, saved),
        Op::Concat(x, y, axis) => {
            let inner: usize = past.node(node).shape.dims()[usize::from(axis)..].iter().product();
            let part = |v: Var| past.node(v).shape.dims()[usize::from(axis)..].iter().product::<usize>();
            let (before, behind) = (part(x), part(y));
            for (o, out) in out.chunks_exact_mut(inner.max(1)).enumerate() {
                out[..before].copy_from_slice(&past.value(x)[o * before..][..before]);
                out[before..].copy_from_slice(&past.value(y)[o * behind..][..behind]);
            }
        }
        // Linear in its one input: it is its own derivative.
        Op::Transpose(_)
        | Op::Scale(..)
        | Op::Sum(..)
        | Op::Broadcast(..)
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::Patches(..)
        | Op::Pool(..) => edges(node, past, |x, edge| edge.apply_right(1, past.value(x), Accumulate::Set, out, scratch)),
    }
}

/// `z = a·z + s·β`, row by row.
fn scale_and_shift<T: Scalar>(z: &mut [T], scale: f64, bias: Option<(&[T], f64)>) {
    let a = T::of(scale);
    match bias {
        Some((b, s)) if !b.is_empty() => {
            let s = T::of(s);
            for row in z.chunks_exact_mut(b.len()) {
                row.iter_mut().zip(b).for_each(|(z, &b)| *z = a * *z + s * b);
            }
        }
        Some(_) | None if scale == 1.0 => (),
        Some(_) | None => z.iter_mut().for_each(|z| *z = a * *z),
    }
}

fn zip<T: Scalar>(out: &mut [T], x: &[T], y: &[T], f: impl Fn(T, T) -> T) {
    out.iter_mut().zip(x.iter().zip(y)).for_each(|(z, (&x, &y))| *z = f(x, y));
}

/// Row by row the norm and the unit vector, which is zero for a row of zeros.
///
/// A row is divided by a power of two close to its largest entry first, so that squares neither overflow nor vanish. Subnormal rows are divided by
/// 2⁻¹⁰⁰⁰, which leaves the tangents of duals finite.
fn norms<T: Scalar>(x: Mat<'_, T>, norms: &mut [T], units: &mut [T]) {
    let n = x.cols();
    for (i, norm) in norms.iter_mut().enumerate() {
        let unit = &mut units[i * n..(i + 1) * n];
        let largest = (0..n).fold(0.0, |m: f64, j| m.max(x.at(i, j).primal().abs()));
        let scale = T::of(if largest > 0.0 && largest.is_finite() { largest.log2().floor().max(-1000.0).exp2() } else { 1.0 });
        put(Accumulate::Set, unit, (0..n).map(|j| x.at(i, j) / scale));
        let sum = unit.iter().fold(T::ZERO, |sum, &u| sum + u * u);
        if sum.primal() == 0.0 {
            *norm = T::ZERO;
            unit.fill(T::ZERO);
            continue;
        }
        let root = sum.sqrt();
        *norm = root * scale;
        unit.iter_mut().for_each(|u| *u = *u / root);
    }
}

/// The largest entry of every window, channel by channel, and its place in the window: the first of equal ones, NaN before all. A window beyond
/// the edge has −∞ and no place.
fn max_pool<T: Scalar>(windows: Windows, x: &[T], out: &mut [T], picks: &mut [T]) {
    let (image_len, channels) = (windows.image_len(), windows.channels());
    let out_len = windows.sites() * channels;
    out.fill(T::of(f64::NEG_INFINITY));
    picks.fill(T::of(-1.0));
    for i in 0..out.len().checked_div(out_len).unwrap_or(0) {
        let x = &x[i * image_len..][..image_len];
        let (out, picks) = (&mut out[i * out_len..][..out_len], &mut picks[i * out_len..][..out_len]);
        windows.each(|site, tap, cell| {
            for c in 0..channels {
                let (x, entry) = (x[cell * channels + c], site * channels + c);
                let (new, old) = (x.primal(), out[entry].primal());
                if picks[entry].primal() < 0.0 || new > old || (new.is_nan() && !old.is_nan()) {
                    (out[entry], picks[entry]) = (x, T::of(tap as f64));
                }
            }
        });
    }
}
