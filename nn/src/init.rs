//! Initial values, addressed by (seed, parameter, index).

use crate::error::ModelError;
use crate::network::Network;
use autodiff::Scalar;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Values drawn from one stretch of a stream.
const CHUNK: usize = 1024;
/// 32-bit words of the stream that belong to one chunk. A normal value takes two, seldom four or more; a chunk that wanted more
/// than its 4096 words would read into the next one's, at odds that are too small to be written down.
const WORDS: u128 = 4096;
/// The most parameters that are allocated: 2³², 32 GiB in double precision.
const MOST: u128 = 1 << 32;

/// Standard normal values `0..len` of parameter `parameter` under `seed`.
///
/// Each parameter has its own stream of ChaCha8, and each 1024 values their own place in it, so that any value can be drawn without
/// the others, on any number of threads. Values are drawn in double precision and rounded to `T`.
///
/// ```
/// let all = nn::normals::<f64>(1, 0, 3000);
/// assert_eq!(nn::normals::<f64>(1, 0, 1500), all[..1500]);
/// assert_ne!(nn::normals::<f64>(1, 1, 3000), all);
/// ```
pub fn normals<T: Scalar>(seed: u64, parameter: u64, len: usize) -> Vec<T> {
    draw(seed, parameter, len, 1.0)
}

fn draw<T: Scalar>(seed: u64, parameter: u64, len: usize, std: f64) -> Vec<T> {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    stream.set_stream(parameter);
    let mut values = vec![T::ZERO; len];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| {
        let mut rng = stream.clone();
        rng.set_word_pos(i as u128 * WORDS);
        for value in chunk {
            let z: f64 = StandardNormal.sample(&mut rng);
            *value = T::of(std * z);
        }
    });
    values
}

impl Network {
    /// Random initial values: parameter `p` is `N(0, std²)` with the spread of its [`Scaling`](crate::Scaling).
    ///
    /// The same seed gives the same bits on any number of threads. See [`normals`].
    ///
    /// # Errors
    /// If the network has more parameters than should be allocated.
    pub fn init<T: Scalar>(&self, seed: u64) -> Result<Vec<Vec<T>>, ModelError> {
        let parameters = self.parameters().iter().map(|p| p.shape.dims().iter().map(|&d| d as u128).product::<u128>()).sum();
        if parameters > MOST {
            return Err(ModelError::TooManyParameters { parameters, most: MOST });
        }
        let parameters = self.parameters().iter().enumerate();
        Ok(parameters.map(|(i, p)| draw(seed, i as u64, p.shape.len(), p.scaling.std)).collect())
    }
}
