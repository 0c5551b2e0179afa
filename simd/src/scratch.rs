//! Working memory that a thread keeps, so that a warm call allocates nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::{Float, zeros};

/// The length of a cache line, in bytes: vectors of aligned panels do not straddle two lines.
const LINE: usize = 64;

/// A buffer that goes back to its thread when it is dropped.
///
/// A thread keeps as many buffers as it ever held at once: while it waits for others it may take up work that needs one too.
pub(crate) struct Scratch<T: Float> {
    memory: Vec<T>,
    start: usize,
    len: usize,
}

/// The buffers of a thread that are not in use: those of [`Scratch`], and those that were [lent](lend).
pub struct Pool<T> {
    scratch: RefCell<Vec<Vec<T>>>,
    lent: RefCell<Vec<Vec<T>>>,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Pool { scratch: RefCell::new(Vec::new()), lent: RefCell::new(Vec::new()) }
    }
}

/// Bytes that a thread keeps of what it was lent, at the most.
const KEPT: usize = 1 << 28;

/// At least `len` numbers of working memory, whatever they are: of what this thread has [given back](give_back) if some of it fits and is not
/// more than twice as long, else new, as [`zeros`](crate::zeros) makes it. Memory that is used again and again costs no faults of pages.
///
/// ```
/// let mut memory = simd::lend::<f32>(1000);
/// memory[..1000].fill(1.0);
/// simd::give_back(memory);
/// assert!(simd::lend::<f32>(1000).len() >= 1000);
/// ```
pub fn lend<T: Float>(len: usize) -> Vec<T> {
    let found = T::pool(|pool| {
        let mut lent = pool.lent.borrow_mut();
        let fits = |&i: &usize| lent[i].len() >= len && lent[i].len() <= len.saturating_mul(2);
        let best = (0..lent.len()).filter(fits).min_by_key(|&i| lent[i].len());
        best.map(|i| lent.remove(i))
    });
    found.unwrap_or_else(|| zeros(T::ZERO, len))
}

/// Memory that this thread may [lend](lend) again. It keeps 256 MiB at the most; the oldest of more are let go.
pub fn give_back<T: Float>(memory: Vec<T>) {
    if memory.is_empty() {
        return;
    }
    T::pool(|pool| {
        let mut lent = pool.lent.borrow_mut();
        lent.push(memory);
        while lent.iter().map(Vec::len).sum::<usize>() * size_of::<T>() > KEPT {
            lent.remove(0);
        }
    });
}

/// [Lent](lend) memory of a length, which is given back when it is dropped.
#[derive(Debug)]
pub struct Lent<T: Float> {
    memory: Vec<T>,
    len: usize,
}

impl<T: Float> Lent<T> {
    /// `len` numbers, whatever they are.
    pub fn new(len: usize) -> Self {
        Lent { memory: lend(len), len }
    }
}

impl<T: Float> Drop for Lent<T> {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.memory));
    }
}

impl<T: Float> Deref for Lent<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.memory[..self.len]
    }
}

impl<T: Float> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[..self.len]
    }
}

impl<T: Float> Scratch<T> {
    /// `len` numbers, whatever they are.
    pub(crate) fn take(len: usize) -> Self {
        let mut memory = T::pool(|pool| {
            let mut pool = pool.scratch.borrow_mut();
            // The smallest one that is large enough, else the largest.
            let fits = (0..pool.len()).filter(|&i| pool[i].len() >= len + LINE).min_by_key(|&i| pool[i].len());
            let best = fits.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].len()));
            best.map(|i| pool.swap_remove(i)).unwrap_or_default()
        });
        if memory.len() < len + LINE {
            // Nothing in it is needed any more, so that it is not copied.
            drop(memory);
            memory = zeros(T::ZERO, len + LINE);
        }
        let start = memory.as_ptr().align_offset(LINE).min(LINE);
        Scratch { memory, start, len }
    }
}

impl<T: Float> Drop for Scratch<T> {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        T::pool(|pool| pool.scratch.borrow_mut().push(memory));
    }
}

impl<T: Float> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl<T: Float> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..self.start + self.len]
    }
}
