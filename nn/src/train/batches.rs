//! The order of the examples, addressed by (seed, epoch).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// 32-bit words of the stream that belong to one epoch, far more than an order takes.
const WORDS: u128 = 1 << 40;

/// Mini-batches: every epoch visits each example once, and its last batch holds what is left.
///
/// The order of an epoch is drawn from the seed and its number alone. So the batch of any step is known without those before it, which is what a
/// training that was cut short needs to go on.
pub(super) struct Batches {
    seed: u64,
    examples: usize,
    batch: usize,
    epoch: Option<usize>,
    order: Vec<usize>,
}

impl Batches {
    /// Of at least one example each, unless there are none.
    pub(super) fn new(seed: u64, examples: usize, batch: usize) -> Self {
        Batches { seed, examples, batch, epoch: None, order: (0..examples).collect() }
    }

    /// The examples of a step, or `None` for all of them as they lie.
    pub(super) fn of_step(&mut self, step: usize) -> Option<&[usize]> {
        if self.batch >= self.examples {
            return None;
        }
        let per_epoch = self.examples.div_ceil(self.batch);
        self.shuffle(step / per_epoch);
        let first = (step % per_epoch) * self.batch;
        Some(&self.order[first..(first + self.batch).min(self.examples)])
    }

    fn shuffle(&mut self, epoch: usize) {
        if self.epoch == Some(epoch) {
            return;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // Streams from 0 upwards belong to initial values.
        rng.set_stream(u64::MAX);
        rng.set_word_pos(epoch as u128 * WORDS);
        self.order.iter_mut().enumerate().for_each(|(i, place)| *place = i);
        self.order.shuffle(&mut rng);
        self.epoch = Some(epoch);
    }
}

/// Copies rows of length `n`.
pub(super) fn gather<T: Copy>(rows: &[usize], from: &[T], n: usize, to: &mut Vec<T>) {
    to.clear();
    rows.iter().for_each(|&i| to.extend_from_slice(&from[i * n..(i + 1) * n]));
}
