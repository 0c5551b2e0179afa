//! Memory in large pages.

use rayon::iter::ParallelExtend;

/// Bytes from which on it is worth asking.
const LARGE: usize = 1 << 22;

/// Asks the system, where it is Linux, to back memory by pages of 2 MiB when it is first written to. Memory that is used once costs a fault
/// for each page, and 512 small ones take longer than a large one. Nothing but the time shows, and less than 4 MiB are left alone. The memory
/// need not be initialized.
fn advise<T>(memory: &[T]) {
    let bytes = size_of_val(memory);
    if bytes < LARGE {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        let page = 1 << 12;
        let start = memory.as_ptr().align_offset(page);
        // For types whose size does not divide a page the offset can be unknown.
        if start >= memory.len() {
            return;
        }
        let inner = &memory[start..];
        // SAFETY: the range lies within memory that the caller holds, its start is that of a page, and the advice changes no contents and
        // no access rights.
        unsafe {
            libc::madvise(inner.as_ptr().cast_mut().cast(), size_of_val(inner), libc::MADV_HUGEPAGE);
        }
    }
}

/// Bytes from which on an allocation has fresh memory of its own, which the system fills with zeros page by page when it is first written to.
/// The C library of Linux takes less than this from memory that it has, and fills it at once.
const FRESH: usize = 1 << 25;

/// Bytes from which on threads share the work of filling memory.
const SHARED: usize = 1 << 20;

/// `n` times `zero`, from 4 MiB on in pages of 2 MiB where the system is Linux, as memory that is used once costs a fault for each page. A thread
/// outside of the pool of threads has the pool fill what is large.
pub fn zeros<T: Copy + Send + Sync>(zero: T, n: usize) -> Vec<T> {
    let bytes = n.saturating_mul(size_of::<T>());
    if (SHARED..FRESH).contains(&bytes) {
        // The advice must come before the zeros, which are the first to be written.
        let mut memory = Vec::with_capacity(n);
        advise(memory.spare_capacity_mut());
        match rayon::current_thread_index() {
            None => memory.par_extend(rayon::iter::repeat_n(zero, n)),
            Some(_) => memory.resize(n, zero),
        }
        return memory;
    }
    let memory = vec![zero; n];
    advise(&memory);
    memory
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_keeps_its_contents() {
        let mut memory = vec![0.0_f32; 3 << 20];
        memory[5] = 1.0;
        super::advise(&memory);
        assert_eq!((memory[4], memory[5], memory[(3 << 20) - 1]), (0.0, 1.0, 0.0));
        super::advise::<f64>(&[]);
        for n in [0, 7, 1 << 20, 1 << 23] {
            let memory = super::zeros(0.0_f32, n);
            assert!(memory.len() == n && memory.iter().all(|x| x.to_bits() == 0));
        }
        assert_eq!(super::zeros(1_u8, 5 << 20), vec![1; 5 << 20]);
    }
}
