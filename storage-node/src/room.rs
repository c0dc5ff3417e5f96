//! What the node may still promise: free places in sealed sectors, less what is promised already.
//!
//! Room is counted by placing every promised piece for real, so that what was receipted also fits
//! when its turn to be embedded comes.

use crate::placement::{Occupancy, Piece};
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::units::{ByteCount, DealId, SectorNumber};
use holdfast_proofs::sector::UNIT_DATA_BYTES;
use holdfast_wire::quic::Pace;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A promised piece and the sector whose room it takes.
#[derive(Clone, Debug)]
struct Promise {
    sector: SectorNumber,
    piece: Piece,
    /// How its bytes come, where they are still coming: room that may be had back.
    transfer: Option<Arc<Pace>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What stands on the ledger.
    ledger: BTreeMap<SectorNumber, Occupancy>,
    /// The same with every promise placed.
    promised: BTreeMap<SectorNumber, Occupancy>,
    promises: BTreeMap<DealId, Promise>,
}

impl Inner {
    /// Places every promise anew; those that fit nowhere any more are answered.
    fn place_promises(&mut self) -> Vec<DealId> {
        self.promised = self.ledger.clone();
        let mut homeless = Vec::new();
        for (deal, promise) in &mut self.promises {
            let fits = |occupancy: &mut Occupancy| occupancy.place(&promise.piece).is_some();
            if self.promised.get_mut(&promise.sector).is_some_and(fits) {
                continue;
            }
            let other = self
                .promised
                .iter_mut()
                .find_map(|(number, occupancy)| occupancy.place(&promise.piece).map(|_| *number));
            match other {
                Some(number) => promise.sector = number,
                None => homeless.push(*deal),
            }
        }
        homeless
    }
}

/// The room of a node; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Room(Arc<Mutex<Inner>>);

/// Why no room was set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// It does not fit.
    #[error(
        "the shard needs {needed} bytes of sealed space and {free} are free here; choose another provider or wait until this one has sealed more"
    )]
    Full {
        /// What it takes, padding included.
        needed: u64,
        /// What is free over all sectors.
        free: u64,
    },
    /// The same shard is being received now.
    #[error("this shard is being received already; ask again when that has ended")]
    Underway,
}

impl Room {
    /// Takes over what the ledger and the journal say: the sectors with what stands in them, the
    /// promises that are not embedded yet, and the deals that stand in a sector by now. Transfers
    /// under way keep their room. Answers the sector of each promise (another one where its own
    /// is gone); promises that fit nowhere any more are missing from it.
    pub fn refresh(
        &self,
        sectors: BTreeMap<SectorNumber, Occupancy>,
        promises: Vec<(SectorNumber, Piece)>,
        placed: &BTreeSet<DealId>,
    ) -> BTreeMap<DealId, SectorNumber> {
        let mut inner = self.lock();
        inner.ledger = sectors;
        for (sector, piece) in promises {
            inner.promises.entry(piece.deal).or_insert(Promise {
                sector,
                piece,
                transfer: None,
            });
        }
        inner.promises.retain(|deal, _| !placed.contains(deal));
        let homeless = inner.place_promises();
        inner
            .promises
            .iter()
            .filter(|(deal, _)| !homeless.contains(deal))
            .map(|(deal, promise)| (*deal, promise.sector))
            .collect()
    }

    /// Sets room aside for a piece that is about to be received at some pace.
    ///
    /// # Errors
    /// No room in any one sector, or the same shard is being received.
    pub fn reserve(&self, piece: Piece, transfer: &Arc<Pace>) -> Result<Reservation, NoRoom> {
        let mut inner = self.lock();
        let deal = piece.deal;
        if inner.promises.contains_key(&deal) {
            return Err(NoRoom::Underway);
        }
        let found = inner
            .promised
            .iter_mut()
            .find_map(|(number, occupancy)| occupancy.place(&piece).map(|_| *number));
        let Some(sector) = found else {
            let free: u64 = inner
                .promised
                .values()
                .map(|occupancy| occupancy.free_units_for(piece.tier))
                .sum();
            return Err(NoRoom::Full {
                needed: piece.units().saturating_mul(UNIT_DATA_BYTES),
                free: free.saturating_mul(UNIT_DATA_BYTES),
            });
        };
        let promise = Promise {
            sector,
            piece,
            transfer: Some(transfer.clone()),
        };
        inner.promises.insert(deal, promise);
        Ok(Reservation {
            room: self.clone(),
            deal,
            sector,
            kept: false,
        })
    }

    /// The transfers each of which would make room for the piece by its end: that of the same shard,
    /// and those of pieces that take as much.
    pub fn in_the_way_of(&self, piece: &Piece) -> Vec<Arc<Pace>> {
        let inner = self.lock();
        if let Some(same) = inner.promises.get(&piece.deal) {
            return same.transfer.iter().cloned().collect();
        }
        let units = piece.units();
        let promises = inner.promises.values();
        promises
            .filter(|promise| promise.piece.units() >= units)
            .filter_map(|promise| promise.transfer.clone())
            .collect()
    }

    /// Gives back the room of a promise that is void.
    pub fn release(&self, deal: DealId) {
        let mut inner = self.lock();
        if inner.promises.remove(&deal).is_some() {
            inner.place_promises();
        }
    }

    /// Whether room is set aside for something that is not embedded: promised, or still coming.
    pub fn is_promised(&self) -> bool {
        !self.lock().promises.is_empty()
    }

    /// Bytes of client data that can still be promised.
    pub fn free(&self) -> ByteCount {
        let inner = self.lock();
        let units: u64 = inner
            .promised
            .values()
            .map(|occupancy| occupancy.free_units_for(Tier::Hot))
            .sum();
        ByteCount(units.saturating_mul(UNIT_DATA_BYTES))
    }

    /// Bytes of the longest shard that fits into the free room of one sector now.
    pub fn largest(&self, piece_levels: u32) -> ByteCount {
        let inner = self.lock();
        let units = inner
            .promised
            .values()
            .map(|occupancy| occupancy.largest_units(Tier::Hot, piece_levels))
            .max()
            .unwrap_or(0);
        ByteCount(units.saturating_mul(UNIT_DATA_BYTES))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is made whole before the lock is let go, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that is set aside for a transfer; given back when dropped, unless kept.
#[derive(Debug)]
pub struct Reservation {
    room: Room,
    deal: DealId,
    sector: SectorNumber,
    kept: bool,
}

impl Reservation {
    /// The sector whose room it is.
    pub fn sector(&self) -> SectorNumber {
        self.sector
    }

    /// The piece is journalled: its room stays taken until it is embedded or released.
    pub fn keep(mut self) {
        self.kept = true;
        if let Some(promise) = self.room.lock().promises.get_mut(&self.deal) {
            promise.transfer = None;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            self.room.release(self.deal);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use super::*;
    use holdfast_market_core::units::{PackId, ShardIndex};
    use holdfast_proofs::sector::SectorClass;

    fn piece(number: u8, groups: usize) -> Piece {
        Piece {
            deal: DealId {
                pack: PackId([number; 32]),
                shard: ShardIndex(0),
            },
            tier: Tier::Hot,
            subtrees: vec![4; groups],
        }
    }

    fn room(sectors: u64) -> Room {
        let room = Room::default();
        room.refresh(empty(sectors), Vec::new(), &BTreeSet::new());
        room
    }

    fn empty(sectors: u64) -> BTreeMap<SectorNumber, Occupancy> {
        (0..sectors)
            .map(|number| (SectorNumber(number), Occupancy::empty(SectorClass::Mib8)))
            .collect()
    }

    #[test]
    fn concurrent_transfers_never_promise_more_than_there_is() {
        let room = room(1);
        let kept: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16u8)
                .map(|number| {
                    let room = room.clone();
                    // Sixteen times seven groups, and there are 64.
                    scope.spawn(
                        move || match room.reserve(piece(number, 7), &Arc::default()) {
                            Ok(reservation) => {
                                reservation.keep();
                                1
                            }
                            Err(NoRoom::Full { .. }) => 0,
                            Err(NoRoom::Underway) => unreachable!(),
                        },
                    )
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(kept, 9);
        assert_eq!(room.free(), ByteCount(8 * UNIT_DATA_BYTES));
    }

    #[test]
    fn a_transfer_that_fails_gives_its_room_back_and_the_refusal_has_figures() {
        let room = room(1);
        let whole = room.reserve(piece(1, 64), &Arc::default()).unwrap();
        assert_eq!(
            room.reserve(piece(1, 64), &Arc::default()).unwrap_err(),
            NoRoom::Underway
        );
        let refusal = room.reserve(piece(2, 1), &Arc::default()).unwrap_err();
        assert_eq!(
            refusal,
            NoRoom::Full {
                needed: 8 * UNIT_DATA_BYTES,
                free: 0
            }
        );
        drop(whole);
        assert!(room.reserve(piece(2, 1), &Arc::default()).is_ok());
    }

    #[test]
    fn a_piece_lies_in_one_sector_whole() {
        let room = room(2);
        let first = room.reserve(piece(1, 40), &Arc::default()).unwrap();
        let second = room.reserve(piece(2, 40), &Arc::default()).unwrap();
        assert_ne!(first.sector(), second.sector());
        // 48 groups are free, but no sector has 30 of them.
        assert!(matches!(
            room.reserve(piece(3, 30), &Arc::default()),
            Err(NoRoom::Full { .. })
        ));
    }

    #[test]
    fn a_promise_moves_when_its_sector_is_gone_and_ends_when_it_is_placed() {
        let room = room(2);
        room.reserve(piece(1, 10), &Arc::default()).unwrap().keep();
        let mut sectors = empty(2);
        sectors.remove(&SectorNumber(0));
        let homes = room.refresh(sectors, Vec::new(), &BTreeSet::new());
        assert_eq!(homes.get(&piece(1, 10).deal), Some(&SectorNumber(1)));
        let homes = room.refresh(BTreeMap::new(), Vec::new(), &BTreeSet::new());
        assert!(homes.is_empty());
        let homes = room.refresh(empty(1), Vec::new(), &[piece(1, 10).deal].into());
        assert!(homes.is_empty());
        assert_eq!(room.free(), ByteCount(512 * UNIT_DATA_BYTES));
    }

    #[test]
    fn only_transfers_whose_end_makes_room_for_a_piece_are_in_its_way() {
        let room = room(1);
        let [small, large, kept] = [(1, 4), (2, 20), (3, 40)].map(|(number, groups)| {
            let pace = Arc::new(Pace::default());
            let reservation = room.reserve(piece(number, groups), &pace).unwrap();
            (pace, reservation)
        });
        kept.1.keep();
        let in_the_way = |number, groups| room.in_the_way_of(&piece(number, groups));
        let are = |found: Vec<Arc<Pace>>, expected: &[&Arc<Pace>]| {
            found.len() == expected.len()
                && expected
                    .iter()
                    .all(|one| found.iter().any(|other| Arc::ptr_eq(one, other)))
        };
        assert!(are(in_the_way(9, 4), &[&small.0, &large.0]));
        assert!(are(in_the_way(9, 5), &[&large.0]));
        // What no sector holds, nobody makes room for; nor for a shard that is promised.
        assert!(are(in_the_way(9, 65), &[]));
        assert!(are(in_the_way(3, 40), &[]));
        assert!(are(in_the_way(1, 4), &[&small.0]));
    }
}
