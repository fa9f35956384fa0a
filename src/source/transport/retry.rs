//! How long to wait for a network, and how often to try again.

use std::thread;
use std::time::{Duration, Instant};

use super::FetchError;
use crate::event::Notice;
use crate::source::{OpenOptions, Url};

/// Timeouts of network connections, and when to give up.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The timeout of a connection.
    pub connect: Duration,
    /// How long no byte may come before that counts as a break.
    pub stall: Duration,
    /// The pause before the first new try after a break. It doubles with each break that follows.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long no byte may come, over all tries, before the download is given up. A server that asks for a longer pause
    /// is not waited for any longer.
    pub give_up: Duration,
    /// After how many breaks in a row, without a new byte between them, the download is given up.
    pub breaks: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            give_up: Duration::from_secs(120),
            breaks: 8,
        }
    }
}

impl RetryPolicy {
    /// All times multiplied by `factor`, which is finite and not negative.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let scaled = |time: Duration| Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(time);
        Self {
            connect: scaled(self.connect),
            stall: scaled(self.stall),
            first_pause: scaled(self.first_pause),
            longest_pause: scaled(self.longest_pause),
            give_up: scaled(self.give_up),
            breaks: self.breaks,
        }
    }
}

/// The breaks since the last new byte.
pub(super) struct Retry {
    url: Url,
    options: OpenOptions,
    count: u32,
    /// When the last byte came.
    since: Instant,
}

impl Retry {
    /// Counts the breaks of the download of `url`.
    pub(super) fn new(url: &Url, options: &OpenOptions) -> Self {
        Self { url: url.clone(), options: options.clone(), count: 0, since: Instant::now() }
    }

    /// Begins to wait for a new byte: the last one has come, or none was wanted.
    pub(super) fn reset(&mut self) {
        self.count = 0;
        self.since = Instant::now();
    }

    /// A byte has come that had come before: the server is there, but the breaks still count.
    pub(super) fn repeated(&mut self) {
        self.since = Instant::now();
    }

    /// Calls `open` until it succeeds; again after breaks only, for a connection that fails may be to a mistyped host.
    pub(super) fn open<T>(&mut self, mut open: impl FnMut() -> Result<T, FetchError>) -> Result<T, FetchError> {
        loop {
            match open() {
                Err(failure @ FetchError::Connect { .. }) => return Err(failure),
                Err(failure) => self.pause(failure)?,
                opened => return opened,
            }
        }
    }

    /// Waits before the next try after `failure`; an error where it must not be tried again.
    pub(super) fn pause(&mut self, failure: FetchError) -> Result<(), FetchError> {
        if !failure.is_retryable() {
            return Err(failure);
        }
        self.count = self.count.saturating_add(1);
        let policy = &self.options.retry;
        let time_left = policy.give_up.saturating_sub(self.since.elapsed());
        if self.count >= policy.breaks || time_left.is_zero() {
            return Err(FetchError::GivenUp { breaks: self.count, source: Box::new(failure) });
        }
        let doublings = 1 << self.count.saturating_sub(1).min(16);
        let own_pause = policy.first_pause.saturating_mul(doublings).min(policy.longest_pause);
        let asked_for = failure.retry_after().unwrap_or_default().min(time_left);
        let pause = own_pause.max(asked_for);
        self.options.observer.notice(Notice::Retries { url: &self.url, error: &failure, pause: Some(pause) });
        thread::sleep(pause);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> FetchError {
        FetchError::Broken { offset: 1, cause: "end".to_owned() }
    }

    fn retry(policy: RetryPolicy) -> Retry {
        let location = crate::source::Location::parse("http://h/p".as_ref()).unwrap();
        let crate::source::Location::Url(url) = location else { panic!("not a URL") };
        Retry::new(&url, &OpenOptions { retry: policy, ..OpenOptions::default() })
    }

    #[test]
    fn breaks_in_a_row_are_counted() {
        let mut breaks = retry(RetryPolicy { first_pause: Duration::ZERO, ..RetryPolicy::default() });
        for _ in 0..20 {
            assert!(breaks.pause(failure()).is_ok());
            breaks.reset();
        }
        for _ in 1..8 {
            assert!(breaks.pause(failure()).is_ok());
        }
        assert!(matches!(breaks.pause(failure()), Err(FetchError::GivenUp { breaks: 8, .. })));
    }

    #[test]
    fn time_runs_out() {
        let mut breaks = retry(RetryPolicy::default().scaled(0.0));
        assert!(matches!(breaks.pause(failure()), Err(FetchError::GivenUp { breaks: 1, .. })));
    }

    #[test]
    fn a_server_is_waited_for_as_it_asks_but_not_for_ever() {
        let policy = RetryPolicy { give_up: Duration::from_millis(300), ..RetryPolicy::default().scaled(0.0) };
        for (asked_for, least) in [(100, 100), (u64::MAX, 250)] {
            let mut breaks = retry(policy);
            let retry_after = Some(Duration::from_millis(asked_for));
            let began = Instant::now();
            let busy = FetchError::Status { status: reqwest::StatusCode::TOO_MANY_REQUESTS, retry_after };
            assert!(breaks.pause(busy).is_ok());
            assert!(began.elapsed() >= Duration::from_millis(least), "{asked_for}");
        }
    }
}
