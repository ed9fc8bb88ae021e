//! The threads that work is done on, and how it is told to stop.
//!
//! Pools live as long as the process, one for each number of threads. A child process that was forked has none of its
//! parent's threads, so pools belong to a process id; those of the parent stay in memory and are never used or joined.

use crate::memory;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How often the caller is asked whether to go on.
const ASK: Duration = Duration::from_millis(50);

/// Bytes of a thread's stack, and some.
const THREAD: usize = 3 << 20;

/// The pools of one process, by their number of threads.
struct Pools {
    process: u32,
    pools: Mutex<BTreeMap<usize, &'static ThreadPool>>,
}

/// Replaced, never locked, in a new process: another thread may have held the lock when the process was forked.
static POOLS: AtomicPtr<Pools> = AtomicPtr::new(std::ptr::null_mut());

impl Pools {
    fn of_this_process() -> &'static Pools {
        let process = std::process::id();
        loop {
            let known = POOLS.load(Ordering::Acquire);
            // SAFETY: what is stored comes from a leaked box and is only read
            if let Some(pools) = unsafe { known.as_ref() }.filter(|pools| pools.process == process) {
                return pools;
            }
            let new = Box::leak(Box::new(Pools { process, pools: Mutex::default() }));
            if POOLS.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return new;
            }
        }
    }
}

/// The number of threads that is meant: 0 is as many as the machine has.
pub fn number(n_threads: usize) -> usize {
    static MACHINE: OnceLock<usize> = OnceLock::new();
    if n_threads > 0 {
        return n_threads;
    }
    *MACHINE.get_or_init(|| {
        let wanted = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        wanted.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
    })
}

/// This process' pool of that many threads; unwinds if there is no room for a new one.
pub fn pool(n_threads: usize) -> Result<&'static ThreadPool, ThreadPoolBuildError> {
    let n_threads = number(n_threads);
    let mut pools = Pools::of_this_process().pools.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&n_threads) {
        return Ok(pool);
    }
    memory::room(n_threads * THREAD);
    let pool = match ThreadPoolBuilder::new().num_threads(n_threads).build() {
        // the system does not say what it was that a thread could not get
        Err(_) if memory::can_run_out() => memory::refuse(n_threads * THREAD),
        built => built?,
    };
    let pool: &ThreadPool = Box::leak(Box::new(pool));
    // while there is room: the system ends the process where it cannot note that a thread has something to drop
    pool.broadcast(|_| STOP.with_borrow(|_| ()));
    pools.insert(n_threads, pool);
    Ok(pool)
}

thread_local! {
    static STOP: RefCell<Stop> = RefCell::default();
}

/// What work that was stopped unwinds with.
struct Stopped;

/// A wish of the caller that his work ends early.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// That of the work which this thread does.
    pub fn current() -> Stop {
        STOP.with_borrow(Stop::clone)
    }

    pub fn is_wished(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the work here if that is wished: unwinds to whoever runs it, and to none of the panic's messages.
    pub fn check(&self) {
        if self.is_wished() {
            resume_unwind(Box::new(Stopped));
        }
    }

    /// Runs `work` as something that this wish is about.
    pub fn about<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Before(Stop);
        impl Drop for Before {
            fn drop(&mut self) {
                STOP.set(std::mem::take(&mut self.0));
            }
        }
        let _before = Before(STOP.replace(self.clone()));
        work()
    }
}

/// Ends the work of this thread if that is wished or memory has run out. What takes longer than some tens of milliseconds
/// asks between its parts.
pub fn check() {
    memory::check();
    STOP.with_borrow(Stop::check);
}

/// What `work` returns, or its panic, while this thread asks from time to time whether it shall stop.
pub fn run<T: Send>(
    pool: &ThreadPool,
    work: impl FnOnce() -> T + Send,
    mut shall_stop: impl FnMut() -> bool,
) -> thread::Result<T> {
    let (stop, done, finished) = (Stop::default(), Mutex::new(None), Condvar::new());
    pool.in_place_scope(|scope| {
        scope.spawn(|_| {
            let result = catch_unwind(AssertUnwindSafe(|| stop.about(work)));
            *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            finished.notify_one();
        });
        loop {
            let waiting = done.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = finished.wait_timeout_while(waiting, ASK, |done| done.is_none());
            if waited.unwrap_or_else(PoisonError::into_inner).0.is_some() {
                break;
            }
            if !stop.is_wished() && shall_stop() {
                stop.0.store(true, Ordering::Relaxed);
            }
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).expect("the scope waits for its work")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_made_once() {
        assert!(std::ptr::eq(pool(2).unwrap(), pool(2).unwrap()));
        assert_eq!(pool(3).unwrap().current_num_threads(), 3);
        assert_eq!(pool(0).unwrap().current_num_threads(), number(0));
    }

    #[test]
    fn work_returns_or_panics_where_it_was_asked_for() {
        let pool = pool(1).unwrap();
        assert_eq!(run(pool, || 3, || false).unwrap(), 3);
        let refused = run(pool, || std::panic::resume_unwind(Box::new("no")), || false).map(|()| 0);
        assert_eq!(*refused.unwrap_err().downcast::<&str>().unwrap(), "no");
    }

    #[test]
    fn a_wish_reaches_the_work_that_it_is_about_and_no_other() {
        let pool = pool(1).unwrap();
        let mut asked = 0;
        let work = || {
            while !Stop::current().is_wished() {
                thread::sleep(Duration::from_millis(1));
            }
            Stop::default().about(|| Stop::current().is_wished())
        };
        let shall_stop = || {
            asked += 1;
            asked == 2
        };
        assert!(!run(pool, work, shall_stop).unwrap());
        assert!(!run(pool, || Stop::current().is_wished(), || false).unwrap());
    }

    #[test]
    fn checks_end_work_that_is_not_wished_for() {
        let endless = || {
            loop {
                check();
                thread::sleep(Duration::from_millis(1));
            }
        };
        let stopped: thread::Result<()> = run(pool(2).unwrap(), endless, || true);
        assert!(stopped.unwrap_err().is::<Stopped>());
        check();
    }
}
