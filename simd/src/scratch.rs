//! Working memory that a thread keeps, so that a warm call allocates nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::{Float, in_large_pages};

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

/// The buffers of a thread that are not in use.
pub(crate) type Pool<T> = RefCell<Vec<Vec<T>>>;

impl<T: Float> Scratch<T> {
    /// `len` numbers, whatever they are.
    pub(crate) fn take(len: usize) -> Self {
        let mut memory = T::pool(|pool| {
            let mut pool = pool.borrow_mut();
            // The smallest one that is large enough, else the largest.
            let fits = (0..pool.len()).filter(|&i| pool[i].len() >= len + LINE).min_by_key(|&i| pool[i].len());
            let best = fits.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].len()));
            best.map(|i| pool.swap_remove(i)).unwrap_or_default()
        });
        if memory.len() < len + LINE {
            // Nothing in it is needed any more, so that it is not copied.
            drop(memory);
            memory = vec![T::ZERO; len + LINE];
            in_large_pages(&memory);
        }
        let start = memory.as_ptr().align_offset(LINE).min(LINE);
        Scratch { memory, start, len }
    }
}

impl<T: Float> Drop for Scratch<T> {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        T::pool(|pool| pool.borrow_mut().push(memory));
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
