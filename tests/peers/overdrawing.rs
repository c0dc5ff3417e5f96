//! A reader that signs for more than it has, for another, or for nothing.

use crate::met;
use crate::network::{Network, Reading, noise, options, put};
use ed25519_dalek::SigningKey;
use holdfast_client::session::Session;
use holdfast_market_core::channel::{ChannelId, Parties, SignedVoucher, Voucher};
use holdfast_market_core::message::Body;
use holdfast_market_core::quote::per_gib;
use holdfast_market_core::state::Provider;
use holdfast_market_core::units::{Address, Amount, ByteCount, Height};
use holdfast_wire::bao::encoded_length;
use holdfast_wire::protocol::{
    ByteRange, GetShard, PaymentDue, READ_CREDIT, RefusalCode, Request, Response,
};
use holdfast_wire::quic::{CallError, Connection};

const PRICE: Amount = Amount::hold(1_000);
/// What is asked for at a time.
const PART: u64 = 60_000;

/// What a read brought.
#[derive(Debug)]
enum Read {
    Bytes,
    Due(PaymentDue),
    Refused(RefusalCode, String),
}

struct Reader {
    session: Session,
    connection: Connection,
    provider: Provider,
    get: GetShard,
    /// The shard's.
    length: ByteCount,
}

impl Reader {
    /// Asks for the first bytes of a shard with a voucher.
    async fn read(&self, voucher: Option<SignedVoucher>) -> Read {
        self.ask(self.get.clone(), voucher).await
    }

    async fn ask(&self, get: GetShard, voucher: Option<SignedVoucher>) -> Read {
        let request = Request::GetShard(GetShard {
            voucher: voucher.map(Box::new),
            ..get
        });
        let asked = async {
            let exchange = self.connection.open(&request, ByteCount(0)).await?;
            let (response, mut body) = exchange.answer().await?;
            Ok::<_, CallError>((response, body.read_all(ByteCount(1 << 20)).await?))
        };
        match asked.await {
            Ok((Response::Shard { .. }, bytes)) => {
                assert!(bytes.len() as u64 >= PART);
                Read::Bytes
            }
            Ok((Response::PaymentDue(due), _)) => Read::Due(due),
            Err(CallError::Refused(refusal)) => Read::Refused(refusal.code, refusal.sentence),
            other => panic!("{other:?}"),
        }
    }

    async fn channel(&self) -> ChannelId {
        let parties = Parties::own(self.session.address());
        let channel = self.session.ledger().channel(self.provider.id, parties);
        channel.await.unwrap().id
    }

    fn sign(&self, key: &SigningKey, channel: ChannelId, amount: Amount) -> SignedVoucher {
        let voucher = Voucher { channel, amount };
        SignedVoucher::new(self.session.network_id(), key, voucher).unwrap()
    }

    async fn refused(&self, voucher: SignedVoucher, words: &str) {
        match self.read(Some(voucher)).await {
            Read::Refused(RefusalCode::Voucher, sentence) => {
                assert!(sentence.contains(words), "{sentence} / {words}");
            }
            other => panic!("not refused: {other:?} / {words}"),
        }
    }
}

/// What the node says is owed through the channel of a voucher.
async fn owed(reader: &Reader, voucher: &SignedVoucher) -> Amount {
    let asked = GetShard {
        ranges: Vec::new(),
        ..reader.get.clone()
    };
    match reader.ask(asked, Some(voucher.clone())).await {
        Read::Due(due) => due.owed,
        other => panic!("{other:?}"),
    }
}

async fn reader(network: &Network) -> Reader {
    let session = network.session();
    let source = network.path("object");
    std::fs::write(&source, noise(1, 200_000)).unwrap();
    let mut options = options("object", true);
    (options.terms.data_shards, options.terms.total_shards) = (1, 1);
    let stored = put(&session, &source, &options).await.unwrap();
    let provider = session.ledger().providers().await.unwrap().remove(0);
    let connection = session
        .peers()
        .connect(&provider.offer.endpoint, provider.offer.node)
        .await
        .unwrap();
    let get = GetShard {
        pack: stored.packs[0].pack,
        shard: stored.packs[0].shards[0].shard,
        ranges: vec![ByteRange {
            start: 0,
            end: PART,
        }],
        voucher: None,
    };
    let set = session.ledger().deal_set(get.pack).await.unwrap();
    let length = set.proposal.pack.shard_length;
    Reader {
        length,
        session,
        connection,
        provider,
        get,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_overdraws_gets_its_credit_and_no_more_and_the_node_is_paid_what_was_covered()
{
    let network = Network::charging(1, 8, |_| Reading {
        offered: PRICE,
        asked: PRICE,
    })
    .await;
    let reader = reader(&network).await;
    let key = reader.session.wallet().key();
    // Whole groups go over the line, and the hashes above them.
    let sent = encoded_length(reader.length, &reader.get.ranges).unwrap();
    assert!(sent.0 >= 4 * 16_384);
    let part = per_gib(PRICE, sent).unwrap();
    let credit = per_gib(PRICE, READ_CREDIT).unwrap();
    // Without a voucher there is nothing.
    let Read::Due(due) = reader.read(None).await else {
        panic!("read without a voucher");
    };
    assert_eq!((due.price, due.owed), (PRICE, Amount::ZERO));
    // Nor with one of a channel that is not there.
    let nowhere = ChannelId {
        payer: reader.session.address(),
        reader: reader.session.address(),
        provider: reader.provider.id,
        opened: Height(1),
    };
    let promise = reader.sign(&key, nowhere, Amount::hold(1));
    assert!(matches!(reader.read(Some(promise)).await, Read::Due(_)));
    met("a reader with a voucher of no channel");

    // The deposit covers ten parts, which is less than the credit.
    let deposit = Amount(part.0 * 10);
    assert!(deposit < credit);
    let open = Body::OpenChannel {
        provider: reader.provider.id,
        deposit,
    };
    reader.session.sender().send(open).await.unwrap();
    let channel = reader.channel().await;
    let over = reader.sign(&key, channel, Amount(deposit.0 + 1));
    reader.refused(over.clone(), "the channel holds").await;
    let most = reader.sign(&key, channel, Amount(u128::MAX));
    reader.refused(most, "the channel holds").await;
    let forged = reader.sign(&SigningKey::from_bytes(&[8; 32]), channel, part);
    reader.refused(forged, "not signed by its reader").await;
    met("a reader with a forged voucher");
    let mut elsewhere = channel;
    elsewhere.provider.0 += 1;
    let elsewhere = reader.sign(&key, elsewhere, part);
    reader
        .refused(elsewhere, "the voucher is for provider")
        .await;

    // A byte of a group costs the group.
    let nothing = reader.sign(&key, channel, Amount::ZERO);
    let before = owed(&reader, &nothing).await;
    let crumbs = GetShard {
        ranges: (0..4)
            .map(|group| ByteRange {
                start: group * 16_384 + 5,
                end: group * 16_384 + 6,
            })
            .collect(),
        ..reader.get.clone()
    };
    assert!(matches!(
        reader.ask(crumbs, Some(nothing)).await,
        Read::Bytes
    ));
    let nothing = reader.sign(&key, channel, Amount::ZERO);
    assert_eq!(owed(&reader, &nothing).await, Amount(before.0 + part.0));
    // Signing for nothing again and again brings what the deposit covers, and not a part more.
    let nothing = reader.sign(&key, channel, Amount::ZERO);
    let mut parts = 1;
    while let Read::Bytes = reader.read(Some(nothing.clone())).await {
        parts += 1;
        assert!(parts <= 10, "more was sent than the deposit covers");
    }
    assert_eq!(parts, 10);
    reader.refused(over.clone(), "the channel holds").await;
    // A copy of somebody else's channel is no use to who cannot sign for it.
    let other = Address(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
    let stranger = ChannelId {
        payer: other,
        reader: other,
        ..channel
    };
    let stranger = reader.sign(&SigningKey::from_bytes(&[8; 32]), stranger, part);
    assert!(matches!(reader.read(Some(stranger)).await, Read::Due(_)));

    // It pays in the end, closes the channel, and the node has what it signed for before it closed.
    let last = reader.sign(&key, channel, deposit);
    let Read::Due(due) = reader.read(Some(last.clone())).await else {
        panic!("read beyond the deposit");
    };
    assert_eq!(
        (due.owed, due.paid),
        (deposit, Some(Box::new(last.clone())))
    );
    let close = Body::CloseChannel {
        provider: reader.provider.id,
    };
    reader.session.sender().send(close).await.unwrap();
    let node = &network.nodes[0];
    assert_eq!(node.vouchers(), std::slice::from_ref(&last));
    node.redeem(last).await;
    let redeemed = reader
        .session
        .ledger()
        .channel(reader.provider.id, Parties::own(reader.session.address()));
    assert_eq!(redeemed.await.unwrap().redeemed, deposit);
    met("a reader that overdraws its channel");
    let supply = reader.session.ledger().supply().await.unwrap();
    assert!(supply.balances_out(), "{supply:?}");
    reader.session.close().await;
}
