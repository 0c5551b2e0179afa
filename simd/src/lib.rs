//! Strided products and a few elementwise maps, for `f32` and `f64`.
//!
//! **Views.** A [`Mat`] is read and a [`MatMut`] written: a first element, two sizes and two strides. That every element lies
//! in the data, and that no two elements of a `MatMut` share a place, is proved when the view is made.
//!
//! **Products.** [`product`] is c ← a·b or c ← c + a·b, [`gram`] c ← a·aᵀ, [`gram_then`] with a map while blocks are in cache, and [`gram_hadamard`] the kernel of a network,
//! θ ← θ + Σ (scale·x1·x2ᵀ + shift) ∘ g1·g2ᵀ over its layers. All end in one microkernel (`tile`), but for products of very few rows or
//! very short sums (`thin`) or very few elements (`alone`). A sum over k is cut into pieces of 256, summed in order and added in order, wherever the element stands: so it
//! has the same bits however rows and columns are cut, and threads, which share rows and columns and never a sum, do not show. A warm call allocates nothing:
//! small factors are read where they lie, and others are packed into memory that the thread keeps.
//!
//! **Convolutions.** [`conv`], its gradients by input and weights, and [`patches`], for images with their channels side by side.
//! They are sums of products of overlapping views of a bordered image, so patches need not be written out. An image's result
//! depends neither on the images beside it nor on the threads.
//!
//! **Maps.** [`map`] and [`slope`] apply a function [`Phi`] and its slope, [`map_affine`] with the scale and the bias of a layer before it,
//! [`acos_sin`] gives angles of cosines, [`softmax`](softmax()) normalizes rows. Each is a
//! loop over elements, written once from plain arithmetic and selections ([`lane`]) and compiled for every [`Level`]: portable,
//! AVX2, AVX-512. An element's bits depend on the level but not on its place, its neighbours or the threads.
//!
//! ```
//! use simd::{Accumulate, Mat, MatMut, Phi, map, product, slope};
//! // One neuron: z = w·x, y = tanh z, and the tangent dy = tanh'(z) dz.
//! let (w, x) = ([0.5, -0.25], [1.0, 2.0]);
//! let (mut z, mut y, mut dy) = ([f64::NAN], [f64::NAN], [f64::NAN]);
//! product(Mat::new(&w, 1, 2), Mat::new(&x, 2, 1), Accumulate::Set, MatMut::new(&mut z, 1, 1));
//! map(Phi::Tanh, &z, &mut y);
//! slope(Phi::Tanh, &z, &y, &[3.0], Accumulate::Set, &mut dy);
//! assert_eq!((z, y, dy), ([0.0], [0.0], [3.0]));
//! ```
//!
//! **Levels.** The highest [`Level`] of the CPU is chosen at run time; the environment variable `TANGENTS_SIMD` (`portable`,
//! `avx2`, `avx512`) chooses another, and functions that end in `_at` take one.
//!
//! **Memory.** [`zeros`] gives zeros in pages of 2 MiB, and [`lend`] working memory that a thread keeps
//! when it is [given back](give_back).
//!
//! **Unsafe code** is where a view forms an element's address (`mat`), where vectors are loaded and stored (`vector`, `tile`, `thin`,
//! `pack`), where a loop is entered with the instructions of a level (`level`), whose value is the proof that the CPU
//! has them, and where the system is given advice about pages (`huge`). Wrong shapes panic with all sizes in the message.
#![deny(unsafe_op_in_unsafe_fn)]

mod alone;
mod block;
mod bounds;
mod conv;
mod entry;
mod float;
mod gram;
mod huge;
pub mod lane;
mod level;
mod map;
mod mat;
mod mirror;
mod pack;
mod phi;
mod product;
mod scratch;
mod softmax;
mod thin;
mod tile;
mod types;
mod vector;

pub use conv::{
    Border, Convolution, Padding, conv, conv_at, conv_example_gradients, conv_example_gradients_at, conv_input_gradient,
    conv_input_gradient_at, conv_weight_gradient, conv_weight_gradient_at, patches,
};
pub use float::Float;
pub use gram::{
    BlockMap, Factors, Term, gram, gram_at, gram_hadamard, gram_hadamard_at, gram_hadamard_symmetric, gram_hadamard_symmetric_at,
    gram_panels, gram_then, gram_then_at,
};
pub use huge::zeros;
pub use level::{Avx2, Avx512, Kernel, Level, NoSuchLevel};
pub use map::{acos_sin, acos_sin_at, map, map_affine, map_affine_at, map_at, slope, slope_at};
pub use mat::{Mat, MatMut};
pub use phi::{Bound, Phi};
pub use product::{Accumulate, product, product_at};
pub use scratch::{Lent, give_back, lend};
pub use softmax::{softmax, softmax_at};
