//! Images with cells around them.

use std::ops::Range;

use super::{Border, Convolution};
use crate::{Accumulate, Float};

/// Writes an image of `inner` cells with `c` channels into one of `outer` cells from the cell `at` on, and what lies around it.
pub(super) fn surround<T: Float>(x: &[T], inner: [usize; 2], c: usize, border: Border, at: [usize; 2], outer: [usize; 2], to: &mut [T]) {
    let (row, inside) = (outer[1] * c, at[1] * c..(at[1] + inner[1]) * c);
    if row == 0 {
        return;
    }
    for (i, to) in to.chunks_exact_mut(row).enumerate() {
        let from = match border {
            Border::Zeros => i.checked_sub(at[0]).filter(|&i| i < inner[0]),
            Border::Circular => Some(around(i, at[0], inner[0])),
        };
        let Some(from) = from else {
            to.fill(T::ZERO);
            continue;
        };
        let from = &x[from * inner[1] * c..][..inner[1] * c];
        to[inside.clone()].copy_from_slice(from);
        if border == Border::Zeros {
            to[..inside.start].fill(T::ZERO);
            to[inside.end..].fill(T::ZERO);
        } else {
            for j in (0..at[1]).chain(at[1] + inner[1]..outer[1]) {
                let k = around(j, at[1], inner[1]);
                to[j * c..(j + 1) * c].copy_from_slice(&from[k * c..(k + 1) * c]);
            }
        }
    }
}

/// The cell of an image of `n` cells that is found at the bordered place `i`, if cell 0 is at `first`.
pub(super) fn around(i: usize, first: usize, n: usize) -> usize {
    (i + n - first % n) % n
}

/// An image as the convolution reads it: with its border in `room`, or as it is, if it has none.
pub(super) fn bordered<'a, T: Float>(conv: &Convolution, x: &'a [T], room: &'a mut [T]) -> &'a [T] {
    let outer = conv.bordered();
    if outer == conv.image {
        return x;
    }
    let at = [conv.padding.rows[0], conv.padding.cols[0]];
    surround(x, conv.image, conv.channels_in, conv.padding.border, at, outer, room);
    room
}

/// The room that [`bordered`] needs.
pub(super) fn room(conv: &Convolution) -> usize {
    let outer = conv.bordered();
    if outer == conv.image { 0 } else { outer[0] * outer[1] * conv.channels_in }
}

/// The adjoint of continuing an image around: the cells of a border are added to those that they repeat, row after row.
pub(super) fn fold_around<T: Float>(conv: &Convolution, bordered: &mut [T], to: Accumulate, x: &mut [T]) {
    let (c, [height, width], outer) = (conv.channels_in, conv.image, conv.bordered());
    let at = [conv.padding.rows[0], conv.padding.cols[0]];
    let cell = |i: usize, j: usize| -> Range<usize> { (i * outer[1] + j) * c..(i * outer[1] + j + 1) * c };
    for i in 0..outer[0] {
        for j in 0..outer[1] {
            let home = cell(at[0] + around(i, at[0], height), at[1] + around(j, at[1], width));
            if home != cell(i, j) {
                for (from, to) in cell(i, j).zip(home) {
                    let sum = bordered[to] + bordered[from];
                    bordered[to] = sum;
                }
            }
        }
    }
    for i in 0..height {
        let from = &bordered[cell(at[0] + i, at[1]).start..][..width * c];
        let x = &mut x[i * width * c..][..width * c];
        match to {
            Accumulate::Set => x.copy_from_slice(from),
            Accumulate::Add => x.iter_mut().zip(from).for_each(|(x, &y)| *x += y),
        }
    }
}
