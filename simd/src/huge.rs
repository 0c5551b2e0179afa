//! Memory in large pages.

/// Bytes from which on it is worth asking.
const LARGE: usize = 1 << 22;

/// Asks the system, where it is Linux, to back memory by pages of 2 MiB when it is first written to. Working memory that is used once costs
/// a fault for each page, and 512 small ones take longer than a large one. Nothing but the time shows, and less than 4 MiB are left alone.
pub fn in_large_pages<T>(memory: &[T]) {
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

#[cfg(test)]
mod tests {
    #[test]
    fn memory_keeps_its_contents() {
        let mut memory = vec![0.0_f32; 3 << 20];
        memory[5] = 1.0;
        super::in_large_pages(&memory);
        assert_eq!((memory[4], memory[5], memory[(3 << 20) - 1]), (0.0, 1.0, 0.0));
        super::in_large_pages::<f64>(&[]);
    }
}
