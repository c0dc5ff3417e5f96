//! Work on all cores. What comes out does not depend on how many there are.

use holdfast_market_core::execute::Claim;
use holdfast_proofs::proof::Circuit;
use holdfast_proofs::verify::Verifier;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Statements that are verified together, at most: more gain little and keep a core from its share.
const MOST_TOGETHER: usize = 512;

/// The cores of this machine.
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Does `work` on every item; the results in the order of the items.
pub fn each<T: Send, R: Send>(
    threads: NonZeroUsize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let count = items.len();
    let workers = threads.get().min(count);
    if workers <= 1 {
        return items.into_iter().map(work).collect();
    }
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.next()
    };
    let done = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((number, item)) = next() {
                    let result = work(item);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Whether every claim is shown by its proofs. Those of one circuit are verified together, as many as
/// give every core its share.
pub fn all_hold(threads: NonZeroUsize, verifier: &Verifier, claims: &[Claim]) -> bool {
    let mut batches = Vec::new();
    for circuit in [Circuit::Seal, Circuit::Embed, Circuit::Spacetime] {
        let of = claims
            .iter()
            .filter(|(statement, _)| statement.circuit() == circuit);
        let of: Vec<Claim> = of.cloned().collect();
        let share = of.len().div_ceil(threads.get()).clamp(1, MOST_TOGETHER);
        batches.extend(of.chunks(share).map(<[Claim]>::to_vec));
    }
    let failed = AtomicBool::new(false);
    each(threads, batches, |batch| {
        if !failed.load(Ordering::Relaxed) && verifier.verify_all(&batch).is_err() {
            failed.store(true, Ordering::Relaxed);
        }
    });
    !failed.into_inner()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_however_many_work() {
        for threads in [1, 2, 7] {
            let items: Vec<u64> = (0..100).collect();
            let squares = each(NonZeroUsize::new(threads).unwrap(), items, |item| {
                item * item
            });
            assert!(
                squares
                    .iter()
                    .zip(0u64..)
                    .all(|(square, item)| *square == item * item)
            );
            assert_eq!(squares.len(), 100);
        }
    }
}
