#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
use super::*;
use holdfast_market_core::units::{PackId, ShardIndex};
use proptest::prelude::*;

const CLASS: SectorClass = SectorClass::Mib64;

fn piece(number: u64, tier: Tier, subtrees: Vec<u32>) -> Piece {
    let mut pack = [0; 32];
    pack[..8].copy_from_slice(&number.to_le_bytes());
    Piece {
        deal: DealId {
            pack: PackId(pack),
            shard: ShardIndex(0),
        },
        tier,
        subtrees,
    }
}

/// Every rule of placement, checked unit by unit and independently of the allocator.
fn check(occupancy: &Occupancy, placed: &[Piece]) {
    let by_deal: Pieces = placed
        .iter()
        .map(|piece| (piece.deal, piece.clone()))
        .collect();
    let mut seen = BTreeMap::new();
    let mut taken_units = 0;
    for group in Group::all() {
        let layout = occupancy.layout(group);
        let mut units = BTreeSet::new();
        let mut tiers = BTreeSet::new();
        let mut deals = BTreeSet::new();
        for subtree in &layout.subtrees {
            let piece = &by_deal[&subtree.deal];
            let length = units_of(piece.subtrees[subtree.subtree as usize]).unwrap();
            assert_eq!(u64::from(subtree.unit) % length, 0, "aligned");
            for unit in u64::from(subtree.unit)..u64::from(subtree.unit) + length {
                assert!(unit < occupancy.class().group_units(), "inside");
                assert!(units.insert(unit), "no overlap");
            }
            tiers.insert(piece.tier == Tier::Hot);
            deals.insert(subtree.deal);
            assert!(
                seen.insert((subtree.deal, subtree.subtree), group)
                    .is_none(),
                "each subtree once"
            );
        }
        assert!(tiers.len() <= 1, "hot and cold apart");
        assert!(deals.len() <= PIECES_PER_GROUP);
        taken_units += units.len() as u64;
    }
    let subtrees: usize = placed.iter().map(|piece| piece.subtrees.len()).sum();
    assert_eq!(seen.len(), subtrees, "all of each piece");
    assert_eq!(
        occupancy.free_units() + taken_units,
        occupancy.class().group_units() * 64
    );
}

fn shapes() -> impl Strategy<Value = (bool, Vec<u32>)> {
    let subtrees = prop::collection::vec(3u32..=5, 1..40).prop_map(|mut levels| {
        levels.sort_unstable_by(|a, b| b.cmp(a));
        levels
    });
    (any::<bool>(), subtrees)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn pieces_are_aligned_and_apart_and_fit_or_are_refused(list in prop::collection::vec(shapes(), 1..30)) {
        let mut occupancy = Occupancy::empty(CLASS);
        let mut placed = Vec::new();
        for (number, (hot, subtrees)) in list.into_iter().enumerate() {
            let tier = if hot { Tier::Hot } else { Tier::Cold };
            let piece = piece(number as u64, tier, subtrees);
            let before = occupancy.free_units();
            match occupancy.place(&piece) {
                Some(groups) => {
                    prop_assert!(!groups.is_empty());
                    prop_assert_eq!(occupancy.free_units(), before - piece.units());
                    placed.push(piece);
                }
                None => prop_assert_eq!(occupancy.free_units(), before, "a refusal changes nothing"),
            }
        }
        check(&occupancy, &placed);
        // What the ledger would list reads back to the same occupancy.
        let layouts: Vec<GroupLayout> = Group::all().map(|group| occupancy.layout(group)).collect();
        let pieces: Pieces = placed.iter().map(|piece| (piece.deal, piece.clone())).collect();
        let again = super::occupancy(CLASS, &layouts, &pieces).unwrap();
        check(&again, &placed);
    }

    #[test]
    fn pieces_of_one_tier_fit_exactly_as_long_as_their_units_do(list in prop::collection::vec(shapes(), 1..60)) {
        let mut occupancy = Occupancy::empty(CLASS);
        let mut left = CLASS.group_units() * 64;
        for (number, (_, subtrees)) in list.into_iter().enumerate() {
            // Whole-group subtrees are the largest, so only they can fail for being split up.
            let subtrees: Vec<u32> = subtrees.into_iter().map(|levels| levels.min(4)).collect();
            let piece = piece(number as u64, Tier::Hot, subtrees);
            let fits = occupancy.place(&piece).is_some();
            if fits {
                left -= piece.units();
            } else {
                // At most one block of each size is split, so little is left where one is refused.
                prop_assert!(piece.units() + 8 * 8 > left, "{} units, {left} free", piece.units());
            }
        }
    }
}

#[test]
fn a_full_sector_takes_no_more_and_a_freed_place_serves_again() {
    let class = SectorClass::Mib8;
    let mut occupancy = Occupancy::empty(class);
    let big = piece(1, Tier::Hot, vec![4; 63]);
    let small = piece(2, Tier::Hot, vec![3; 8]);
    assert!(occupancy.place(&big).is_some());
    assert_eq!(occupancy.place(&small).unwrap().len(), 1);
    assert_eq!(occupancy.free_units(), 0);
    assert!(occupancy.place(&piece(3, Tier::Hot, vec![3])).is_none());
    let layouts: Vec<GroupLayout> = Group::all().map(|group| occupancy.layout(group)).collect();
    // The big one has expired.
    let living: Pieces = [(small.deal, small)].into();
    let mut again = super::occupancy(class, &layouts, &living).unwrap();
    assert_eq!(again.free_units(), 63 * 8);
    assert!(again.place(&piece(3, Tier::Hot, vec![4; 63])).is_some());
}

#[test]
fn the_largest_piece_that_is_said_to_fit_fits_and_one_unit_more_does_not() {
    let shape = |units: u64| {
        let bytes = units * holdfast_proofs::sector::UNIT_DATA_BYTES;
        let shape = holdfast_proofs::piece::PieceShape::of(bytes, 4).unwrap();
        shape.subtrees().to_vec()
    };
    let mut occupancy = Occupancy::empty(SectorClass::Mib8);
    for (number, units) in [(1, 5), (2, 17), (3, 100), (4, 1), (5, 8), (6, 389)] {
        let largest = occupancy.largest_units(Tier::Hot, 4);
        let too_long = piece(99, Tier::Hot, shape(largest + 1));
        assert!(occupancy.clone().place(&too_long).is_none());
        let fits = piece(98, Tier::Hot, shape(largest));
        assert!(occupancy.clone().place(&fits).is_some(), "{largest}");
        assert_eq!(
            occupancy
                .place(&piece(number, Tier::Hot, shape(units)))
                .is_some(),
            units <= largest
        );
    }
}

#[test]
fn a_group_holds_at_most_sixty_four_pieces() {
    let mut occupancy = Occupancy::empty(SectorClass::Mib512);
    let mut placed = Vec::new();
    for number in 0..200 {
        let piece = piece(number, Tier::Hot, vec![3]);
        assert!(occupancy.place(&piece).is_some());
        placed.push(piece);
    }
    check(&occupancy, &placed);
}

#[test]
fn a_sector_takes_as_many_deals_as_the_ledger_lets_it_have_and_not_one_more() {
    let mut occupancy = Occupancy::empty(CLASS);
    let mut placed = Vec::new();
    for number in 0..MAX_SECTOR_DEALS {
        let piece = piece(number, Tier::Hot, vec![3]);
        assert!(occupancy.place(&piece).is_some(), "{number}");
        placed.push(piece);
    }
    check(&occupancy, &placed);
    // Seven eighths of it are free, and none of that can be promised.
    let one_more = piece(MAX_SECTOR_DEALS, Tier::Hot, vec![3]);
    assert!(occupancy.free_units() > 3000);
    assert!(occupancy.place(&one_more).is_none());
    assert_eq!(occupancy.free_units_for(Tier::Hot), 0);
    assert_eq!(occupancy.largest_units(Tier::Hot, 4), 0);
    // One that is over still counts where its group is not written.
    let layouts: Vec<GroupLayout> = Group::all().map(|group| occupancy.layout(group)).collect();
    let over = |ended: &[usize]| -> Occupancy {
        let deals = placed.iter().map(|piece| (piece.deal, piece.clone()));
        let mut living: Pieces = deals.collect();
        for index in ended {
            living.remove(&placed[*index].deal);
        }
        super::occupancy(CLASS, &layouts, &living).unwrap()
    };
    let mut again = over(&[200]);
    let wrote = again.place(&one_more).unwrap();
    let was_in = layouts
        .iter()
        .find(|layout| {
            let mut subtrees = layout.subtrees.iter();
            subtrees.any(|one| one.deal == placed[200].deal)
        })
        .unwrap();
    assert_eq!(wrote, BTreeSet::from([was_in.group]));
    assert!(again.place(&piece(9999, Tier::Hot, vec![3])).is_none());
    // Where all are over, the first piece that is written makes room for more.
    let all: Vec<usize> = (0..placed.len()).collect();
    let mut empty = over(&all);
    for number in 10_000..10_100 {
        assert!(empty.place(&piece(number, Tier::Hot, vec![3])).is_some());
    }
    assert!(empty.listed() <= MAX_SECTOR_DEALS);
}

#[test]
fn layouts_that_cannot_be_are_refused_by_name() {
    let pieces: Pieces = [
        piece(1, Tier::Hot, vec![4, 3]),
        piece(2, Tier::Cold, vec![3]),
    ]
    .into_iter()
    .map(|piece| (piece.deal, piece))
    .collect();
    let [one, two] = [0, 1].map(|index| *pieces.keys().nth(index).unwrap());
    let read = |subtrees: Vec<(DealId, u32, u32)>| {
        let subtrees = subtrees
            .into_iter()
            .map(|(deal, subtree, unit)| PlacedSubtree {
                deal,
                subtree,
                levels: 3,
                unit,
            })
            .collect();
        let group = Group::new(5).unwrap();
        super::occupancy(CLASS, &[GroupLayout { group, subtrees }], &pieces).map(|_| ())
    };
    let hot = |deal: DealId| pieces[&deal].tier == Tier::Hot;
    let (hot_deal, cold_deal) = if hot(one) { (one, two) } else { (two, one) };
    assert!(read(vec![(hot_deal, 0, 8), (hot_deal, 1, 0)]).is_ok());
    assert!(matches!(
        read(vec![(hot_deal, 0, 4)]),
        Err(PlacementError::OutOfPlace { .. })
    ));
    assert!(matches!(
        read(vec![(hot_deal, 0, 64)]),
        Err(PlacementError::OutOfPlace { .. })
    ));
    assert!(matches!(
        read(vec![(hot_deal, 9, 0)]),
        Err(PlacementError::OutOfPlace { .. })
    ));
    assert!(matches!(
        read(vec![(hot_deal, 0, 0), (hot_deal, 1, 7)]),
        Err(PlacementError::Overlap { .. })
    ));
    assert_eq!(
        read(vec![(hot_deal, 1, 0), (cold_deal, 0, 8)]),
        Err(PlacementError::MixedTiers(5))
    );
}
