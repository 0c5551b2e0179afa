//! `--kind ntk` and `--kind nngp`: kernels at infinite width, in memory or block by block into the file.

use super::{Arguments, Failure, Kind, Number, in_file};
use nn::Network;
use ntk::{InfiniteKernel, Kernels, SeriesTooLong};
use simd::Mat;
use std::io;
use std::path::Path;
use tangents::files::npy;
use tangents::memory;
use tangents::progress::Progress;

/// Writes the kernel of the inputs to `out`. One that does not fit into `--memory` twice, as both kernels are computed, goes block by block into the file, which
/// takes twice the time where the kernel is symmetric.
pub(super) fn write<T: Number>(
    a: &Arguments,
    network: &Network,
    (x1, x2): (Mat<T>, Option<Mat<T>>),
    out: &Path,
    name: &str,
    progress: &Progress,
) -> Result<(), Failure> {
    let kernel = InfiniteKernel::new(network).map_err(|e| in_file(&a.model, e))?;
    let (n1, n2) = (x1.rows(), x2.map_or(x1.rows(), |x2| x2.rows()));
    let row = n2 * size_of::<T>();
    let kept = |kernels: Kernels<T>| if a.kind == Kind::Ntk { kernels.ntk } else { kernels.nngp };
    let whole = 2 * n1 as u128 * row as u128;
    let Some(memory) = a.more.memory.filter(|&memory| whole > memory as u128) else {
        let advice = "use fewer examples, --dtype f32, or --memory to write it block by block";
        memory::check(whole, &format!("a kernel of {n1} by {n2} examples"), advice).map_err(Failure::failed)?;
        let pairs = if x2.is_some() { n1 as u64 * n2 as u64 } else { n1 as u64 * (n1 as u64 + 1) / 2 };
        let stage = progress.stage(name, pairs.max(1));
        let values = kept(kernel.try_evaluate_with(x1, x2, |done, _| stage.reach(done)).map_err(Failure::failed)?);
        finite(&values, 0, a)?;
        stage.finish();
        return Ok(npy::write(out, &[n1, n2], &values)?);
    };
    // Four blocks at most are in memory.
    let rows = memory / (4 * row).max(1);
    if rows == 0 {
        return Err(Failure::Failed(format!(
            "{memory} bytes of memory are too few: four rows of a kernel of {n1} by {n2} examples take {} bytes, so give --memory at least that",
            4 * row
        )));
    }
    let stage = progress.stage(name, n1 as u64);
    let mut stopped = None;
    let written = npy::write_pieces::<T>(out, &[n1, n2], |append| {
        let done = kernel.try_in_blocks(x1, x2, rows, |rows, block| {
            let values = kept(block);
            finite(&values, rows.start * n2, a).map_err(Stop::Failure)?;
            append(&values)?;
            stage.reach(rows.end as u64);
            Ok(())
        });
        match done {
            Ok(()) => Ok(()),
            Err(Stop::File(error)) => Err(error),
            Err(Stop::Failure(failure)) => {
                stopped = Some(failure);
                Err(io::Error::other("the kernel has no numbers to write"))
            }
        }
    });
    match stopped {
        Some(failure) => Err(failure),
        None => {
            stage.finish();
            Ok(written?)
        }
    }
}

/// Why a kernel is not written to its end.
enum Stop {
    File(io::Error),
    Failure(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::File(error)
    }
}

impl From<SeriesTooLong> for Stop {
    fn from(error: SeriesTooLong) -> Self {
        Stop::Failure(Failure::failed(error))
    }
}

/// Refuses values that are not finite, of which the first is entry `start`.
pub(super) fn finite<T: Number>(values: &[T], start: usize, a: &Arguments) -> Result<(), Failure> {
    let Some(at) = values.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let advice = match a.dtype {
        super::Precision::F32 => "scale the inputs down or use --dtype f64",
        super::Precision::F64 => "scale the inputs down, or w_std in the model",
    };
    Err(Failure::Failed(format!("the kernel overflows {}: entry {} is {}; {advice}", T::NAME, start + at, values[at])))
}
