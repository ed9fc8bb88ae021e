//! A last reserve for small blocks.
//!
//! Where the system has no block left, Rust ends the process: its collections cannot refuse. Small blocks then come from
//! here, and the work is ended in good order at its next look (`threads::check`, `memory::headroom`).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of the reserve: addresses only, until they are needed.
const SIZE: usize = 4 << 20;
/// Bytes of the largest block from it; larger ones are asked for by `memory.rs`.
const SMALL: usize = 256 << 10;

#[global_allocator]
static ALLOCATOR: Reserve = Reserve::new();

#[repr(align(128))]
struct Bytes(UnsafeCell<[u8; SIZE]>);

/// Blocks lie one behind the other; all are gone before the first one's place is given again.
struct Taken {
    end: usize,
    n_blocks: usize,
}

struct Reserve {
    bytes: Bytes,
    taken: UnsafeCell<Taken>,
    locked: AtomicBool,
    touched: AtomicBool,
}

// SAFETY: `taken` is read and written under `locked` alone, `bytes` by the owners of its blocks
unsafe impl Sync for Reserve {}

/// Whether the reserve was needed since this was asked last.
pub fn was_needed() -> bool {
    ALLOCATOR.was_needed()
}

impl Reserve {
    const fn new() -> Reserve {
        Reserve {
            bytes: Bytes(UnsafeCell::new([0; SIZE])),
            taken: UnsafeCell::new(Taken { end: 0, n_blocks: 0 }),
            locked: AtomicBool::new(false),
            touched: AtomicBool::new(false),
        }
    }

    #[inline]
    fn was_needed(&self) -> bool {
        self.touched.load(Ordering::Relaxed) && self.touched.swap(false, Ordering::Relaxed)
    }

    fn with_taken<T>(&self, change: impl FnOnce(&mut Taken) -> T) -> T {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spin_loop();
        }
        // SAFETY: the lock is ours
        let out = change(unsafe { &mut *self.taken.get() });
        self.locked.store(false, Ordering::Release);
        out
    }

    /// A block of the reserve; null if it is too large or nothing is left.
    fn take(&self, layout: Layout) -> *mut u8 {
        if layout.size() > SMALL || layout.align() > align_of::<Bytes>() {
            return ptr::null_mut();
        }
        let first = self.with_taken(|taken| {
            let first = taken.end.next_multiple_of(layout.align());
            let end = first + layout.size();
            (end <= SIZE).then(|| {
                taken.end = end;
                taken.n_blocks += 1;
                first
            })
        });
        self.touched.store(true, Ordering::Relaxed);
        // SAFETY: `first` lies within
        first.map_or(ptr::null_mut(), |first| unsafe { self.bytes.0.get().cast::<u8>().add(first) })
    }

    fn has(&self, block: *mut u8) -> bool {
        (block as usize).wrapping_sub(self.bytes.0.get() as usize) < SIZE
    }
}

// SAFETY: blocks are the system's, or lie apart within the reserve
unsafe impl GlobalAlloc for Reserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { self.take(layout) } else { block }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = self.take(layout);
        if !block.is_null() {
            // SAFETY: the block is ours and has that size
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !self.has(block) {
            return unsafe { System.dealloc(block, layout) };
        }
        self.with_taken(|taken| {
            taken.n_blocks -= 1;
            if taken.n_blocks == 0 {
                taken.end = 0;
            }
        });
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let is_ours = self.has(block);
        if !is_ours {
            let new = unsafe { System.realloc(block, layout, size) };
            if !new.is_null() {
                return new;
            }
        }
        // SAFETY: the new size is the caller's, who keeps to the rules of layouts
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let new = if is_ours { unsafe { self.alloc(wanted) } } else { self.take(wanted) };
        if !new.is_null() {
            // SAFETY: both have at least so many bytes, and lie apart
            unsafe { new.copy_from_nonoverlapping(block, layout.size().min(size)) };
            unsafe { self.dealloc(block, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not the allocator: other tests would take what happens here for want of memory.
    static OTHER: Reserve = Reserve::new();

    fn block(size: usize) -> (*mut u8, Layout) {
        let layout = Layout::from_size_align(size, 16).unwrap();
        (OTHER.take(layout), layout)
    }

    #[test]
    fn small_blocks_lie_apart_and_their_places_are_given_again() {
        let blocks: Vec<_> = (0..100).map(|k| block(100 + k)).collect();
        assert!(OTHER.was_needed() && !OTHER.was_needed());
        for pair in blocks.windows(2) {
            let ((a, layout), (b, _)) = (pair[0], pair[1]);
            assert!(OTHER.has(a) && a as usize % 16 == 0 && a as usize + layout.size() <= b as usize);
        }
        assert!(block(SMALL + 1).0.is_null());
        let grown = unsafe { OTHER.realloc(blocks[0].0, blocks[0].1, 1000) };
        assert!(!OTHER.has(grown));
        unsafe { OTHER.dealloc(grown, Layout::from_size_align(1000, 16).unwrap()) };
        for &(a, layout) in &blocks[1..] {
            unsafe { OTHER.dealloc(a, layout) };
        }
        let (again, layout) = block(8);
        assert_eq!(again, blocks[0].0);
        unsafe { OTHER.dealloc(again, layout) };
    }
}
