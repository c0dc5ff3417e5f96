//! What can be wrong with deal sets, acceptances, receipts, openings and vouchers.

use super::super::super::world::{address, node};
use super::{BEYOND, Cases, NOTHING, each, no_deals, strangers};
use crate::channel::{ChannelId, SignedVoucher, Voucher};
use crate::message::{Acceptance, Body, DealSetProposal, PackHeader, PieceOpening, ShardTerms};
use crate::quote::MAX_TERM;
use crate::receipt::{Receipt, SignedReceipt, Tier};
use crate::units::{
    Address, Amount, ByteCount, Height, PackId, Periods, ProviderId, ShardIndex, ShardRoot,
    Signature,
};

pub(super) fn deal_set(good: &DealSetProposal) -> Cases {
    let DealSetProposal {
        pack,
        terms,
        repair_threshold: _,
        repair_budget: _,
    } = good;
    // The nonce is the owner's own, and any bytes can be a shard's root.
    let PackHeader {
        owner: _,
        nonce: _,
        k: _,
        n: _,
        length: _,
        shard_roots: _,
        shard_length: _,
    } = pack;
    // Either tier is one.
    let ShardTerms {
        provider: _,
        tier: _,
        price: _,
        term: _,
        fund_by: _,
    } = terms[0];
    let mut cases = each(
        good,
        Body::ProposeDealSet,
        vec![
            (&|p| p.pack.owner = address(2), "the pack's owner"),
            (&|p| p.pack.k = 0, "k is 0"),
            (&|p| p.pack.k = 3, "k is 3"),
            (&|p| p.pack.k = 255, "k is 255"),
            (&|p| p.pack.n = 0, "n is 0"),
            (&|p| p.pack.n = 65, "n is 65"),
            (&|p| p.pack.n = 255, "n is 255"),
            (&|p| p.pack.n = 3, "the number of shard roots"),
            (&|p| p.pack.length = ByteCount(0), "the pack's length"),
            (
                &|p| p.pack.length = ByteCount((64 << 20) + 1),
                "the pack's length",
            ),
            (
                &|p| p.pack.length = ByteCount(u64::MAX),
                "the pack's length",
            ),
            (&|p| p.pack.shard_roots.clear(), "the number of shard roots"),
            (
                &|p| p.pack.shard_roots.push(ShardRoot([0; 32])),
                "the number of shard roots",
            ),
            (
                &|p| p.pack.shard_length = ByteCount(0),
                "the shards' length",
            ),
            (
                &|p| p.pack.shard_length = ByteCount(20_001),
                "the shards' length",
            ),
            (
                &|p| p.pack.shard_length = ByteCount(u64::MAX),
                "the shards' length",
            ),
            (&|p| p.terms.clear(), "the number of terms"),
            (&|p| p.terms.truncate(1), "the number of terms"),
            (&|p| p.repair_threshold = 0, "the repair threshold"),
            (&|p| p.repair_threshold = 3, "the repair threshold"),
            (&|p| p.repair_threshold = 255, "the repair threshold"),
        ],
    );
    // Wrong in the last shard as in the first.
    for shard in 0..terms.len() {
        let mut with = |spoil: &dyn Fn(&mut ShardTerms), reason| {
            let mut bad = good.clone();
            spoil(&mut bad.terms[shard]);
            cases.push((Body::ProposeDealSet(bad), reason));
        };
        for id in NOTHING {
            with(&|t| t.provider = ProviderId(id), "there is no provider");
        }
        for term in [0, MAX_TERM.0 + 1, u64::MAX] {
            with(&|t| t.term = Periods(term), "the term");
        }
        for price in [0, 1, 99_999_999] {
            with(&|t| t.price = Amount(price), "the price a GiB and period");
        }
        for price in BEYOND.into_iter().take(6) {
            with(&|t| t.price = Amount(price), "fund it with");
        }
        with(&|t| t.price = Amount(u128::MAX), "the price is larger");
        with(
            &|t| t.price = Amount(u128::MAX >> 14),
            "the price is larger",
        );
        for height in [0, 1] {
            with(&|t| t.fund_by = Height(height), "the funding of a receipt");
        }
    }
    for amount in BEYOND {
        let mut bad = good.clone();
        bad.repair_budget = Amount(amount);
        let reason = match amount {
            u128::MAX.. => "the price is larger",
            _ if amount == u128::MAX - 1 => "the price is larger",
            _ => "fund it with",
        };
        cases.push((Body::ProposeDealSet(bad), reason));
    }
    cases
}

pub(super) fn accept(provider: ProviderId, good: &[Acceptance]) -> Cases {
    let Acceptance {
        shard,
        piece_roots: _,
    } = &good[0];
    let with = |provider, deals| Body::AcceptDeals { provider, deals };
    let mut cases = strangers(|id| with(id, good.to_vec()));
    let one = |shard| {
        let acceptance = Acceptance {
            shard,
            ..good[0].clone()
        };
        with(provider, vec![acceptance])
    };
    cases.extend(no_deals(*shard, one, "there is no deal"));
    cases.extend(each(
        &good.to_vec(),
        |deals| with(provider, deals),
        vec![
            (&|d| d.clear(), "the number of deals"),
            (&|d| *d = vec![d[0].clone(); 1_025], "the number of deals"),
            (&|d| d[1].shard = d[0].shard, "deals must be listed once"),
            (&|d| d[0].piece_roots.clear(), "the number of piece roots"),
            (
                &|d| d[1].piece_roots.truncate(1),
                "the number of piece roots",
            ),
            (
                &|d| d[1].piece_roots.push(node("more")),
                "the number of piece roots",
            ),
        ],
    ));
    cases
}

pub(super) fn claim(good: &SignedReceipt) -> Cases {
    let SignedReceipt {
        receipt,
        signature: _,
    } = good;
    let Receipt {
        pack: _,
        shard: _,
        root: _,
        length: _,
        provider: _,
        tier: _,
        price: _,
        term: _,
        fund_by: _,
    } = receipt;
    let mut cases = each(
        good,
        |receipt| Body::ClaimBrokenPromise { receipt },
        vec![
            (&|s| s.receipt.pack = PackId([9; 32]), "no deal set of pack"),
            (&|s| s.receipt.shard = ShardIndex(2), "there is no deal"),
            (&|s| s.receipt.shard = ShardIndex(255), "there is no deal"),
            (
                &|s| s.receipt.shard = ShardIndex(1),
                "the receipt's shard root",
            ),
            (
                &|s| s.receipt.root = ShardRoot([0; 32]),
                "the receipt's shard root",
            ),
            (
                &|s| s.receipt.length = ByteCount(u64::MAX),
                "the receipt's length",
            ),
            (
                &|s| s.receipt.provider = ProviderId(1),
                "the receipt's provider",
            ),
            (&|s| s.receipt.tier = Tier::Cold, "the receipt's tier"),
            (
                &|s| s.receipt.price = Amount(u128::MAX),
                "the receipt's price",
            ),
            (&|s| s.receipt.price.0 += 1, "the receipt's price"),
            (&|s| s.receipt.term = Periods(0), "the receipt's term"),
            (
                &|s| s.receipt.fund_by = Height(u64::MAX),
                "the receipt's last height",
            ),
        ],
    );
    for bytes in [[0; 64], [255; 64]] {
        let mut bad = good.clone();
        bad.signature = Signature(bytes);
        let body = Body::ClaimBrokenPromise { receipt: bad };
        cases.push((body, "the signature is not"));
    }
    cases
}

pub(super) fn openings(good: &PieceOpening, with: impl Fn(PieceOpening) -> Body) -> Cases {
    let PieceOpening {
        quad,
        slice: _,
        opening: _,
    } = good;
    let mut cases = Vec::new();
    for other in [158, 1 << 32, u64::MAX] {
        let mut bad = good.clone();
        bad.quad = other;
        cases.push((with(bad), "the quad"));
    }
    // The bytes of another place, or the nodes of another, under the number of this one.
    let mut moved = good.clone();
    moved.quad = quad + 1;
    let reason = match with(moved.clone()) {
        Body::AnswerOpening { .. } => "the quad is 51; it must be 50",
        _ => "the opening does not hold under",
    };
    cases.push((with(moved), reason));
    cases.extend(each(
        good,
        with,
        vec![
            (&|o| o.slice.clear(), "under the shard root"),
            (
                &|o| o.slice.truncate(o.slice.len() - 1),
                "under the shard root",
            ),
            (&|o| o.slice.push(0), "under the shard root"),
            (
                &|o| {
                    let last = o.slice.len() - 1;
                    o.slice[last] ^= 1;
                },
                "under the shard root",
            ),
            (&|o| o.opening.siblings.clear(), "under the piece roots"),
            (&|o| o.opening.siblings.truncate(1), "under the piece roots"),
            (
                &|o| {
                    let again = o.opening.siblings[0];
                    o.opening.siblings.push(again);
                },
                "under the piece roots",
            ),
        ],
    ));
    cases
}

pub(super) fn vouchers(good: &SignedVoucher) -> Cases {
    let SignedVoucher {
        voucher,
        signature: _,
    } = good;
    let Voucher { channel, amount: _ } = voucher;
    let ChannelId {
        payer: _,
        reader: _,
        provider: _,
        opened: _,
    } = channel;
    let mut cases = each(
        good,
        |voucher| Body::RedeemVoucher { voucher },
        vec![
            (
                &|v| v.voucher.channel.payer = address(2),
                "there is no channel to provider 0",
            ),
            (
                &|v| v.voucher.channel.payer = Address([0; 32]),
                "there is no channel to provider 0",
            ),
            (
                &|v| v.voucher.channel.reader = address(2),
                "there is no channel to provider 0",
            ),
            (
                &|v| v.voucher.channel.provider = ProviderId(1),
                "there is no provider 1",
            ),
            (
                &|v| v.voucher.channel.provider = ProviderId(u64::MAX),
                "there is no provider",
            ),
            (
                &|v| v.voucher.channel.opened = Height(0),
                "the channel's height",
            ),
            (
                &|v| v.voucher.channel.opened = Height(u64::MAX),
                "the channel's height",
            ),
            (&|v| v.voucher.amount.0 += 1, "is not signed by"),
            (&|v| v.voucher.amount.0 -= 1, "is not signed by"),
            (&|v| v.signature = Signature([0; 64]), "is not signed by"),
            (&|v| v.signature.0[63] ^= 1, "is not signed by"),
        ],
    );
    // Rightly signed for the wrong sum, by keys that the table does not have to be given.
    let signed = |amount| {
        let voucher = Voucher {
            amount: Amount(amount),
            ..voucher.clone()
        };
        super::super::settings::by_payer(voucher)
    };
    for amount in [0].into_iter().chain(BEYOND) {
        let voucher = signed(amount);
        cases.push((Body::RedeemVoucher { voucher }, "the voucher is for"));
    }
    let voucher = signed(Amount::hold(5).0 + 1);
    cases.push((Body::RedeemVoucher { voucher }, "the voucher is for"));
    cases
}
