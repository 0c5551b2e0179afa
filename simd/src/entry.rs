//! The kernels of this crate, compiled in this crate.
//!
//! A generic function is compiled where it is used, and a microkernel at three levels in sixty shapes is much to compile. These
//! entries are functions of `f32` and `f64`, so that no user compiles them again.

use crate::alone::Alone;
use crate::block::Block;
use crate::conv::{Correlate, Weights};
use crate::gram::Multiply;
use crate::level::Level;
use crate::map::{AcosSin, Map, MapAffine, Slope};
use crate::mirror::{Mirror, Turn};
use crate::pack::Pack;
use crate::softmax::Rows;
use crate::thin::Thin;

macro_rules! entries {
    ($($name:ident: $kernel:ident),* $(,)?) => {
        /// Runs each kernel at a level.
        pub trait Entries: Sized {
            $(
                #[doc(hidden)]
                fn $name(level: Level, kernel: $kernel<Self>);
            )*
        }

        impl Entries for f32 {
            $(
                #[inline(never)]
                fn $name(level: Level, kernel: $kernel<f32>) {
                    level.run(kernel);
                }
            )*
        }

        impl Entries for f64 {
            $(
                #[inline(never)]
                fn $name(level: Level, kernel: $kernel<f64>) {
                    level.run(kernel);
                }
            )*
        }
    };
}

entries! {
    run_alone: Alone,
    run_block: Block,
    run_thin: Thin,
    run_pack: Pack,
    run_multiply: Multiply,
    run_mirror: Mirror,
    run_turn: Turn,
    run_map: Map,
    run_map_affine: MapAffine,
    run_slope: Slope,
    run_acos_sin: AcosSin,
    run_rows: Rows,
    run_correlate: Correlate,
    run_weights: Weights,
}
