//! Memory that may not be there.
//!
//! Vectors from here unwind to the border with `NoMemory` where plain ones would end the process. Blocks of some megabytes
//! leave `HEADROOM` behind them, in which plain small ones find their place; what finds none has `reserve.rs`. Where blocks
//! are huge, what the machine and the limits of the process' group leave is asked too: most systems promise memory that
//! they do not have.

use crate::reserve;
use faer::dyn_stack::{MemBuffer, StackReq};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use std::alloc::{Layout, alloc_zeroed};
use std::cell::Cell;
use std::fs;
use std::hint::black_box;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Bytes from which a block is asked for instead of taken.
const LARGE: usize = 4 << 20;
/// Bytes from which a block is held against what is available.
const HUGE: usize = 64 << 20;
/// Bytes left for small blocks. The system's allocator returns blocks of this size at once, and learns nothing from them.
const HEADROOM: usize = 40 << 20;

/// Bytes that a large page is a multiple of.
#[cfg(target_os = "linux")]
const PAGE: usize = 1 << 12;

/// Multiplications up to which faer's products need no buffers.
const WITHOUT_BUFFERS: usize = 16 * 16 * 16;

/// What work unwinds with that found no room for a block of so many bytes.
pub struct NoMemory(pub usize);

/// Zeros.
#[inline]
pub fn zeros(n: usize) -> Vec<f64> {
    if n < LARGE / size_of::<f64>() { vec![0.0; n] } else { many_zeros(n) }
}

#[cold]
fn many_zeros(n: usize) -> Vec<f64> {
    let bytes = n.saturating_mul(size_of::<f64>());
    check_available(bytes);
    let Ok(layout) = Layout::array::<f64>(n) else { refuse(bytes) };
    // SAFETY: the layout has a size, and is that of the vector; zero bytes are zeros
    let block = unsafe { alloc_zeroed(layout) }.cast::<f64>();
    if block.is_null() {
        refuse(bytes);
    }
    let out = unsafe { Vec::from_raw_parts(block, n, n) };
    leave_headroom(bytes);
    out
}

/// The same value many times.
pub fn filled<T: Copy>(value: T, n: usize) -> Vec<T> {
    let mut out = reserved(n);
    out.resize(n, value);
    out
}

/// The same for what is visited at random: in large pages, where the system has some, whose places are found at once.
pub fn filled_for_visits<T: Copy>(value: T, n: usize) -> Vec<T> {
    let mut out: Vec<T> = reserved(n);
    #[cfg(target_os = "linux")]
    if n.saturating_mul(size_of::<T>()) >= LARGE {
        let (start, bytes) = (out.as_ptr() as usize, n * size_of::<T>());
        let first = start.next_multiple_of(PAGE);
        // SAFETY: whole pages of a block that is ours; the advice changes no values, and it may be refused
        unsafe { libc::madvise(first as *mut libc::c_void, bytes - (first - start), libc::MADV_HUGEPAGE) };
    }
    out.resize(n, value);
    out
}

/// A copy.
pub fn copied<T: Copy>(values: &[T]) -> Vec<T> {
    let mut out = reserved(values.len());
    out.extend_from_slice(values);
    out
}

/// All of an iterator that knows how many there are.
pub fn gathered<T>(values: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut out = reserved(values.len());
    out.extend(values);
    out
}

/// An empty vector with room for so many.
pub fn reserved<T>(n: usize) -> Vec<T> {
    let mut out = Vec::new();
    reserve(&mut out, n);
    out
}

/// Makes room for so many more.
pub fn reserve<T>(out: &mut Vec<T>, more: usize) {
    let bytes = more.saturating_mul(size_of::<T>());
    if more <= out.capacity() - out.len() {
        return;
    }
    if bytes < LARGE && out.capacity() * size_of::<T>() < LARGE {
        return out.reserve(more);
    }
    check_available(bytes);
    if out.try_reserve(more).is_err() && out.try_reserve_exact(more).is_err() {
        refuse(bytes);
    }
    leave_headroom(bytes);
}

/// Memory for faer to work in.
pub fn scratch(size: StackReq) -> MemBuffer {
    let bytes = size.size_bytes();
    if bytes < LARGE {
        return MemBuffer::new(size);
    }
    check_available(bytes);
    let Ok(out) = MemBuffer::try_new(size) else { refuse(bytes) };
    leave_headroom(bytes);
    out
}

/// Unwinds unless there is room for what others take soon and cannot be refused; not in the heap of this thread, which is
/// none of theirs.
pub fn room(bytes: usize) {
    check_available(bytes);
    let bytes = bytes.saturating_add(HEADROOM);
    if !are_addresses(bytes) {
        refuse(bytes);
    }
}

/// Unwinds unless there is room for small blocks, before work begins.
pub fn headroom() {
    reserve::was_needed(); // by work before
    leave_headroom(0);
}

/// Unwinds where small blocks came from the last reserve.
#[inline]
pub fn check() {
    if reserve::was_needed() {
        refuse(HEADROOM);
    }
}

/// Unwinds where a block that was just taken leaves no room for small ones.
fn leave_headroom(bytes: usize) {
    check();
    if can_run_out() && !is_room(HEADROOM) {
        refuse(bytes.saturating_add(HEADROOM));
    }
}

/// Whether the smallest block can be refused: where a limit of addresses is set (`ulimit -v`), or the system promises no
/// more than it has.
pub fn can_run_out() -> bool {
    static STRICT: OnceLock<bool> = OnceLock::new();
    let is_strict = || fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2");
    addresses_are_limited() || *STRICT.get_or_init(is_strict)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn addresses_are_limited() -> bool {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is valid for the call
    let done = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    done == 0 && limit.rlim_cur != libc::RLIM_INFINITY
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn addresses_are_limited() -> bool {
    false
}

/// Whether the system gives so many addresses anew.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn are_addresses(bytes: usize) -> bool {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: addresses of the system's choice, which nobody reads or writes, given back as they came
    unsafe {
        let block = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, kind, -1, 0);
        block != libc::MAP_FAILED && libc::munmap(block, bytes) == 0
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn are_addresses(bytes: usize) -> bool {
    is_room(bytes)
}

/// Takes a block and gives it back.
fn is_room(bytes: usize) -> bool {
    let mut block = Vec::<u8>::new();
    // black_box: a block that nobody looks at would never be taken
    black_box(block.try_reserve_exact(bytes)).is_ok() && !black_box(block.as_ptr()).is_null()
}

fn check_available(bytes: usize) {
    if bytes >= HUGE && available().is_some_and(|available| bytes > available) {
        refuse(bytes);
    }
}

/// Unwinds to whoever runs the work, and to none of the panic's messages.
pub fn refuse(bytes: usize) -> ! {
    resume_unwind(Box::new(NoMemory(bytes)))
}

/// Makes sure that faer's products find their place: each thread keeps two buffers as large as the machine's last
/// cache, which are taken at its first product of some size and cannot be refused.
pub fn before_products(par: Par) {
    thread_local! {
        static ALL_THREADS: Cell<bool> = const { Cell::new(false) };
    }
    if par == Par::Seq || rayon::current_thread_index().is_none() {
        take_buffers();
    } else if !ALL_THREADS.get() {
        rayon::broadcast(|_| take_buffers());
        ALL_THREADS.set(true);
    }
}

/// The same before a product of m x k and k x n.
pub fn before_product(m: usize, k: usize, n: usize, par: Par) {
    if m * k * n > WITHOUT_BUFFERS {
        before_products(par);
    }
}

fn take_buffers() {
    thread_local! {
        static TAKEN: Cell<bool> = const { Cell::new(false) };
    }
    // one thread after the other: what there is room for must still be there when it is taken
    static TAKING: Mutex<()> = Mutex::new(());
    if !TAKEN.get() {
        let _alone = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        // addresses: little of them is ever used
        let bytes = 2 * last_cache() + HEADROOM;
        if !is_room(bytes) {
            refuse(bytes);
        }
        let factor = Mat::<f64>::zeros(32, 32);
        matmul(Mat::zeros(32, 32).as_mut(), Accum::Replace, &factor, &factor, 1.0, Par::Seq);
        TAKEN.set(true);
    }
}

/// Bytes of the machine's last cache, all its parts together, or more.
fn last_cache() -> usize {
    static CACHE: OnceLock<usize> = OnceLock::new();
    *CACHE.get_or_init(|| last_cache_below(Path::new("/sys/devices/system/cpu")).unwrap_or(0).max(UNKNOWN_CACHE))
}

/// At least what is assumed of a cache that is not known.
const UNKNOWN_CACHE: usize = 32 << 20;

fn last_cache_below(cpus: &Path) -> Option<usize> {
    let is_cpu = |name: &str| name.strip_prefix("cpu").is_some_and(|number| number.parse::<usize>().is_ok());
    let n_cpus = fs::read_dir(cpus).ok()?.flatten().filter(|cpu| cpu.file_name().to_str().is_some_and(is_cpu)).count();
    let cache = cpus.join("cpu0/cache/index3");
    let size = fs::read_to_string(cache.join("size")).ok()?;
    let n_sharing = count_listed(&fs::read_to_string(cache.join("shared_cpu_list")).ok()?)?;
    let kilobytes: usize = size.trim().strip_suffix('K')?.parse().ok()?;
    Some((kilobytes << 10) * n_cpus.div_ceil(n_sharing))
}

/// How many numbers a list such as `0-3,8` has.
fn count_listed(list: &str) -> Option<usize> {
    let one = |range: &str| -> Option<usize> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
    };
    list.trim().split(',').map(one).sum()
}

/// Bytes that this process may still take: what the machine and the limits of its group leave, and its own limit of
/// addresses; None where the system does not tell.
pub fn available() -> Option<usize> {
    available_below(Path::new("/"))
}

fn available_below(root: &Path) -> Option<usize> {
    let limits = [of_the_machine(root), of_the_group(root), of_the_process(root)];
    limits.into_iter().flatten().min()
}

/// What can be had without swapping, and what can be swapped.
fn of_the_machine(root: &Path) -> Option<usize> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    Some(kilobytes(&text, "MemAvailable:")? + kilobytes(&text, "SwapFree:").unwrap_or(0))
}

/// The limit of addresses (`ulimit -v`) less those that are used.
fn of_the_process(root: &Path) -> Option<usize> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?.split_whitespace().next()?;
    let used = kilobytes(&fs::read_to_string(root.join("proc/self/status")).ok()?, "VmSize:")?;
    Some(soft.parse::<usize>().ok()?.saturating_sub(used))
}

/// The least that the limits of the process' control group and of those around it leave; files that are only cached
/// can be dropped and do not count.
fn of_the_group(root: &Path) -> Option<usize> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| of_the_groups_of(root, line)).min()
}

fn of_the_groups_of(root: &Path, line: &str) -> Option<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, own) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    let (top, limit, usage, cached) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        _ if controllers.split(',').any(|c| c == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        }
        _ => return None,
    };
    let top = root.join(top);
    let number = |at: &Path, name: &str| fs::read_to_string(at.join(name)).ok()?.trim().parse::<usize>().ok();
    let one = |at: &Path| {
        let statistics = fs::read_to_string(at.join("memory.stat")).unwrap_or_default();
        let mut words = statistics.lines().filter_map(|line| line.split_once(' '));
        let cached = words.find(|(name, _)| *name == cached).and_then(|(_, bytes)| bytes.trim().parse().ok());
        let used = number(at, usage)?.saturating_sub(cached.unwrap_or(0));
        Some(number(at, limit)?.saturating_sub(used))
    };
    // the group itself may not be seen from inside of a container, where its limits are those of the top
    top.join(own).ancestors().take_while(|at| at.starts_with(&top)).filter_map(one).min()
}

/// Bytes of a line such as `MemAvailable:  1024 kB`.
fn kilobytes(text: &str, name: &str) -> Option<usize> {
    let number = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
    Some(number.parse::<usize>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn refused<T>(work: impl FnOnce() -> T) -> usize {
        let Err(payload) = catch_unwind(AssertUnwindSafe(work)) else { panic!("it was not refused") };
        payload.downcast::<NoMemory>().expect("it was refused for want of memory").0
    }

    #[test]
    fn what_is_given_is_what_was_asked_for() {
        for n in [0, 3, LARGE, 2 * HUGE / 8] {
            assert_eq!(zeros(n), vec![0.0; n]);
        }
        assert_eq!(filled(7u32, LARGE), vec![7; LARGE]);
        assert_eq!(copied(&[1.5; LARGE]), vec![1.5; LARGE]);
        assert_eq!(gathered(0..LARGE), (0..LARGE).collect::<Vec<_>>());
        let mut grown = vec![1u8];
        reserve(&mut grown, HUGE);
        assert!(grown == [1] && grown.capacity() > HUGE);
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        let n = 1 << 52;
        assert_eq!(refused(|| zeros(n)), n * 8);
        assert_eq!(refused(|| filled(1u8, n)), n);
        assert_eq!(refused(|| reserved::<u64>(n)), n * 8);
        assert_eq!(refused(|| reserve(&mut vec![0u8; LARGE], n)), n);
        assert!(refused(|| room(n)) >= n);
        assert_eq!(refused(|| zeros(usize::MAX)), usize::MAX);
    }

    /// A tree of files as Linux shows them.
    struct Files(std::path::PathBuf);

    impl Files {
        fn new(name: &str, files: &[(&str, &str)]) -> Files {
            let root = std::env::temp_dir().join(format!("mixedmodels-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("files lie in folders")).unwrap();
                fs::write(path, text).unwrap();
            }
            Files(root)
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    1000 kB\nSwapFree:  24 kB\n");
    const UNLIMITED: (&str, &str) = ("proc/self/limits", "Max address space         unlimited   unlimited   bytes\n");
    const STATUS: (&str, &str) = ("proc/self/status", "VmPeak:\t 900 kB\nVmSize:\t    100 kB\n");

    #[test]
    fn the_least_of_all_limits_is_what_is_available() {
        let files = Files::new("machine", &[MACHINE, UNLIMITED, STATUS]);
        assert_eq!(available_below(&files.0), Some(1024 << 10));
        let limits = ("proc/self/limits", "Max address space         307200    unlimited   bytes\n");
        let files = Files::new("limits", &[MACHINE, limits, STATUS]);
        assert_eq!(available_below(&files.0), Some(200 << 10));
        assert_eq!(available_below(Path::new("/no/such/folder")), None);
    }

    #[test]
    fn the_limits_of_all_groups_around_count() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("sys/fs/cgroup/outer/inner/memory.current", "1000\n"),
            ("sys/fs/cgroup/outer/memory.max", "5000\n"),
            ("sys/fs/cgroup/outer/memory.current", "2000\n"),
            ("sys/fs/cgroup/outer/memory.stat", "anon 1500\ninactive_file 500\n"),
        ];
        assert_eq!(available_below(&Files::new("v2", &files).0), Some(3500));
        // a container of version 1, which sees its own group as the top
        let files = [
            MACHINE,
            ("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/1f\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "96\n"),
        ];
        assert_eq!(available_below(&Files::new("v1", &files).0), Some(4000));
    }

    #[test]
    fn the_last_cache_is_counted_with_all_its_parts() {
        let mut files = vec![
            ("cpu0/cache/index3/size", "1024K\n"),
            ("cpu0/cache/index3/shared_cpu_list", "0-1,4-5\n"),
            ("cpufreq/policy", ""),
        ];
        let others: Vec<String> = (1..8).map(|k| format!("cpu{k}/online")).collect();
        files.extend(others.iter().map(|path| (path.as_str(), "1")));
        assert_eq!(last_cache_below(&Files::new("cache", &files).0), Some(2 << 20));
        assert_eq!(last_cache_below(Path::new("/no/such/folder")), None);
        before_products(Par::Seq);
    }
}
