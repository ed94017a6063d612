//! Runs a program and measures it by what the kernel says of it in `/proc`.
//!
//! The peak of memory is the kernel's own high-water mark, asked for every few milliseconds since it goes when the
//! process ends: only a peak within the last moment is missed. `getrusage` would give it afterwards, but counts from before
//! the program was loaded, and so shows the benchmark's own memory where that was more. Processor time is read when the
//! process has ended and nobody has waited for it yet, so it is all of it.

use crate::failure::internal;
use holdfast_vault::error::{Code, Error, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::fs;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running process is looked at.
const EVERY: Duration = Duration::from_millis(2);
/// What `/proc` counts processor time in: Linux shows all programs hundredths of a second, on every machine.
const TICKS_A_SECOND: f64 = 100.0;

/// What a run took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// From start to end, in seconds.
    pub(crate) wall_s: f64,
    /// Of all threads, in user space and in the kernel, in seconds.
    pub(crate) cpu_s: f64,
    /// The most memory that was resident at a time, in bytes.
    pub(crate) peak_bytes: u64,
}

/// What a run gave.
pub(crate) struct Ran {
    pub(crate) usage: Usage,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
///
/// # Errors
/// `InvalidInput` if it cannot be started, `Internal` where there is no `/proc`.
pub(crate) fn run(command: &mut Command) -> Result<Ran> {
    let program = command.get_program().to_string_lossy().into_owned();
    let begun = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| {
            Error::new(Code::InvalidInput, format!("cannot run {program}: {e}"))
                .object(program.clone())
                .hint("build it with `cargo build --release`, or name it with --holdfast FILE")
        })?;
    let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let watched = watch(child.id(), begun);
    if watched.is_none() {
        // Nobody could look at it, so nobody may leave it running.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| internal(format!("cannot wait for {program}: {e}")))?;
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let usage = watched.ok_or_else(|| {
        internal("a process cannot be measured here: /proc says nothing of it")
            .hint("run the benchmark on Linux")
    })?;
    Ok(Ran { usage, status, stdout: text(stdout), stderr: text(stderr) })
}

/// Does something on this thread alone, and measures it by the thread's own clock: what other threads and programs do
/// meanwhile does not count. The peak of memory is that of the whole process so far.
///
/// # Errors
/// What the work gives.
pub(crate) fn thread<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Usage)> {
    let (begun, before) = (Instant::now(), thread_time());
    let done = work()?;
    let (cpu_s, wall_s) = (thread_time().saturating_sub(before).as_secs_f64(), begun.elapsed().as_secs_f64());
    let peak_bytes = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(peak).unwrap_or(0);
    Ok((done, Usage { wall_s, cpu_s, peak_bytes }))
}

/// The processor time of this thread so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The memory of a running process that is resident now, and its processor time in seconds.
///
/// # Errors
/// `Internal` if `/proc` says nothing of it.
pub(crate) fn now(process: u32) -> Result<(u64, f64)> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).ok();
    let resident = read("status").as_deref().and_then(|status| amount(status, "VmRSS:"));
    let times = read("stat").as_deref().and_then(times);
    resident.zip(times).map(|(bytes, (_, cpu_s))| (bytes, cpu_s)).ok_or_else(|| {
        internal(format!("process {process} cannot be measured: /proc says nothing of it"))
            .hint("run the benchmark on Linux")
    })
}

/// Reads a stream to its end beside the process, which would stand still with a full pipe.
fn gather(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before a failure is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Looks at a child until it has ended; nothing where it cannot be looked at.
fn watch(process: u32, begun: Instant) -> Option<Usage> {
    let (status, stat) = (format!("/proc/{process}/status"), format!("/proc/{process}/stat"));
    let mut peak_bytes = 0;
    loop {
        // In this order: the peak of a process that is about to end is read before it is seen to have ended.
        peak_bytes = fs::read_to_string(&status).ok().as_deref().and_then(peak).unwrap_or(0).max(peak_bytes);
        let (ended, cpu_s) = times(&fs::read_to_string(&stat).ok()?)?;
        if ended {
            return Some(Usage { wall_s: begun.elapsed().as_secs_f64(), cpu_s, peak_bytes });
        }
        thread::sleep(EVERY);
    }
}

/// The high-water mark in `/proc/PID/status`, in bytes.
fn peak(status: &str) -> Option<u64> {
    amount(status, "VmHWM:")
}

/// An amount in `/proc/PID/status`, in bytes.
fn amount(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Whether a process has ended, and its processor time so far in seconds, in `/proc/PID/stat`.
#[allow(clippy::cast_precision_loss, reason = "no process has used so much time")]
fn times(stat: &str) -> Option<(bool, f64)> {
    // The program's name stands in brackets and may hold anything, brackets too.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    // User and system time are the 14th and 15th field; the state was the third.
    let mut ticks = fields.skip(10).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((ended, (user + system) as f64 / TICKS_A_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert_eq!(peak("VmPeak:\t 9 kB\nVmHWM:\t    1024 kB\nVmRSS:\t 7 kB\n"), Some(1 << 20));
        assert_eq!(peak("Name:\tx\n"), None);
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20";
        assert_eq!(times(stat), Some((false, 1.75)));
        assert_eq!(times(&stat.replace(") S", ") Z")).map(|(ended, _)| ended), Some(true));
        assert_eq!(times("12 (a"), None);
    }

    #[test]
    fn a_run_is_measured_and_its_answer_kept() {
        let ran = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!(
            (ran.status.code(), ran.stdout.as_str(), ran.stderr.as_str()),
            (Some(3), "out\n", "err\n")
        );
        assert!(ran.usage.wall_s > 0.0 && ran.usage.cpu_s >= 0.0);
    }

    #[test]
    fn work_of_this_thread_is_measured_and_no_other() {
        let ((), idle) = thread(|| {
            thread::sleep(Duration::from_millis(30));
            Ok(())
        })
        .unwrap();
        assert!(idle.wall_s >= 0.03 && idle.cpu_s < 0.03, "{idle:?}");
        assert!(idle.peak_bytes > 0);
        assert!(now(std::process::id()).unwrap().0 > 0);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let error = run(&mut Command::new("/nowhere/holdfast")).err().unwrap();
        assert!(error.message.contains("/nowhere/holdfast"), "{error}");
    }
}
