//! Threads whose work can wait: checkpoints, sealing, preparing segments.
//!
//! They have as much to do as the writer, in spells of a second. Where processors are few, an equal share for each
//! of them would have requests wait for slices of some milliseconds again and again. They are as fast as ever while
//! nobody else wants to run, and when the writer waits for one of them, it is not in its way.

/// The niceness of such a thread, at least: with 10 it has about a tenth of an equal share.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Has the present thread give way to the others, where the system knows such a thing for a thread.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    {
        let own = Some(rustix::thread::gettid());
        let now = rustix::process::getpriority_process(own).unwrap_or(0);
        // To give way takes no rights. If it fails all the same, the thread is as it was.
        let _ = rustix::process::setpriority_process(own, NICENESS.max(now));
    }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test: a panic is its report")]
mod tests {
    use super::*;

    /// Of the present thread; proc(5) says which field.
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        after_name.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn only_the_thread_that_says_so_gives_way() {
        let before = niceness();
        let there = std::thread::spawn(|| {
            give_way();
            niceness()
        });
        assert_eq!(there.join().unwrap(), NICENESS.max(before));
        assert_eq!(niceness(), before);
    }
}
