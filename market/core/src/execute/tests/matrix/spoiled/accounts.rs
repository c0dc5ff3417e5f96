//! What can be wrong with validators, stake, votes, names and offers.

use super::super::super::world::{address, beacon_of, offer};
use super::{Cases, each};
use crate::governance::{AmountParameter, Governance, ParameterChange, ShareParameter};
use crate::message::{Body, LeaseClaim, ProviderOffer};
use crate::parameters::Parameters;
use crate::stake::MOST_STAKE;
use crate::units::{Address, Amount, BeaconKey, BeaconSignature, Stake};

pub(super) fn beacons(
    share: u64,
    beyond: u64,
    with: impl Fn(BeaconKey, BeaconSignature, u64) -> Body,
) -> Cases {
    let (one, other) = (beacon_of(4), beacon_of(6));
    let mut cases = Vec::new();
    for (key, possession) in [
        (one.public(), other.possession()),
        (other.public(), one.possession()),
        (one.public(), BeaconSignature([0; 96])),
        (one.public(), BeaconSignature([255; 96])),
        (BeaconKey([0; 48]), one.possession()),
        (BeaconKey([255; 48]), one.possession()),
    ] {
        cases.push((with(key, possession, share), "the proof of possession"));
    }
    for share in [beyond, 1_001, u64::MAX] {
        let body = with(one.public(), one.possession(), share);
        cases.push((body, "the commission"));
    }
    cases
}

pub(super) fn stakes(
    validator: Address,
    stake: Stake,
    beyond: &'static str,
    with: impl Fn(Address, Stake) -> Body,
) -> Cases {
    let mut cases = vec![
        (with(address(50), stake), "there is no validator"),
        (with(Address([255; 32]), stake), "there is no validator"),
        (with(validator, Stake(0)), "the stake is 0"),
        (with(validator, Stake(1_001)), beyond),
        // What a validator has is less by what is there already.
        (with(validator, Stake(MOST_STAKE.0 - 2_000)), beyond),
    ];
    for more in [MOST_STAKE.0 + 1, u64::MAX - 1, u64::MAX] {
        // Nobody takes out so much, and nobody may put it in.
        let reason = match with(validator, stake) {
            Body::Unstake { .. } => beyond,
            _ => "the stake is",
        };
        cases.push((with(validator, Stake(more)), reason));
    }
    cases
}

pub(super) fn changes(good: &ParameterChange) -> Cases {
    let with = |change| Body::ProposeParameter { change };
    let bounds = Governance::dev(&Parameters::dev().economy);
    let beyond = "the number must lie between";
    let mut cases = Vec::new();
    for parameter in AmountParameter::ALL {
        for value in [0, 1 << 80, (1 << 80) + 1, 1 << 100, u128::MAX] {
            let value = Amount(value);
            cases.push((with(ParameterChange::Amount { parameter, value }), beyond));
        }
    }
    for parameter in ShareParameter::ALL {
        for value in [0, 9, 1_001, u64::MAX] {
            cases.push((with(ParameterChange::Share { parameter, value }), beyond));
        }
    }
    let parameter = AmountParameter::CollateralPerGib;
    let value = bounds.least.collateral_per_gib;
    // Within its bounds, but below the fees that it has to cover.
    let uncovered = ParameterChange::Amount { parameter, value };
    cases.push((with(uncovered), "a sector's collateral covers every fee"));
    let ParameterChange::Amount {
        parameter: _,
        value: _,
    } = good
    else {
        panic!("the table's change is of an amount");
    };
    cases
}

pub(super) fn labels(with: impl Fn(&str) -> Body) -> Cases {
    let labels = [0, 65, 200].map(|length| with(&"x".repeat(length)));
    let labels = labels.map(|body| (body, "the label's length"));
    let mut cases = labels.to_vec();
    cases.push((with("other"), "no name"));
    cases
}

pub(super) fn name(label: &str, version: u64, root: &[u8]) -> Cases {
    let under = |label: &str, version, root: &[u8], lease| Body::PublishName {
        label: label.into(),
        version,
        root: root.into(),
        lease,
    };
    let with = |label: &str, version, root: &[u8]| under(label, version, root, None);
    let mut cases = Vec::new();
    for token in [0, 1, u64::MAX] {
        let owner = address(0);
        let lease = Some(LeaseClaim { owner, token });
        cases.push((under(label, version, root, lease), "holds no lease"));
    }
    for length in [0, 65, 200] {
        let long = "x".repeat(length);
        cases.push((with(&long, version, root), "the label's length"));
    }
    for before in [0, 1, version - 1] {
        cases.push((with(label, before, root), "the version"));
    }
    for length in [0, 65] {
        let bytes = vec![1; length];
        cases.push((with(label, version, &bytes), "the root's length"));
    }
    for bytes in [
        &[0xff; 8][..],
        &[1],
        &[1, 0x55, 0, 1],
        &[0x81, 0, 0x55, 0, 0],
    ] {
        cases.push((with(label, version, bytes), "the content identifier"));
    }
    cases
}

pub(super) fn offers(good: &ProviderOffer, with: impl Fn(ProviderOffer) -> Body) -> Cases {
    // Any node key is one: whoever holds it is found there, or nobody.
    let ProviderOffer {
        node: _,
        endpoint: _,
        price,
        read_price: _,
    } = good;
    assert_eq!(*price, offer().price);
    each(
        good,
        with,
        vec![
            (&|o| o.endpoint.clear(), "the end point's length"),
            (&|o| o.endpoint = "x".repeat(129), "the end point's length"),
            (&|o| o.endpoint = "a b:1".into(), "the end point"),
            (&|o| o.endpoint = "ä:1".into(), "the end point"),
            (&|o| o.endpoint = "a:1\0".into(), "the end point"),
            (&|o| o.price = Amount(0), "the price a GiB and period"),
            (
                &|o| o.price = Amount(99_999_999),
                "the price a GiB and period",
            ),
            (
                &|o| o.read_price = Amount((1 << 80) + 1),
                "the price of reading",
            ),
            (
                &|o| o.read_price = Amount(u128::MAX),
                "the price of reading",
            ),
        ],
    )
}
