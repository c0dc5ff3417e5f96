//! Strangers: as many QUIC connections to a node as one likes, each with a key of its own, from
//! several addresses, on which anything can be sent.

use ed25519_dalek::SigningKey;
use holdfast_market_core::units::{ByteCount, NetworkId};
use holdfast_wire::protocol::frame::{self, Frame};
use holdfast_wire::protocol::{Hello, PROTOCOL_VERSION, Request, Response};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TransportConfig, VarInt,
};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Addresses of this machine that strangers come from: 127.0.0.2 and on.
const ADDRESSES: u8 = 8;
/// A stranger does not wait longer for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// A crowd of strangers before one node.
pub struct Strangers {
    endpoints: Vec<Endpoint>,
    node: SocketAddr,
    network: NetworkId,
    provider: Arc<CryptoProvider>,
    number: AtomicU64,
}

impl Strangers {
    pub fn new(node: &str, network: NetworkId) -> Self {
        let endpoints = (2..2 + ADDRESSES).map(|last| {
            let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
            let runtime = Arc::new(quinn::TokioRuntime);
            Endpoint::new(EndpointConfig::default(), None, socket, runtime).unwrap()
        });
        Self {
            endpoints: endpoints.collect(),
            node: node.parse().unwrap(),
            network,
            provider: Arc::new(aws_lc_rs::default_provider()),
            number: AtomicU64::new(0),
        }
    }

    /// One more connection, with a new key; nothing where the node takes none.
    pub async fn connect(&self) -> Option<Connection> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut seed = [99; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let endpoint = &self.endpoints[number as usize % self.endpoints.len()];
        let mut config =
            quinn::ClientConfig::new(Arc::new(self.tls(&SigningKey::from_bytes(&seed))));
        let mut transport = TransportConfig::default();
        // Takes whatever it is sent, stays for good, and reads nothing unless it wants to.
        transport
            .stream_receive_window(VarInt::from_u32(1 << 28))
            .receive_window(VarInt::from_u32(1 << 30))
            .keep_alive_interval(Some(Duration::from_secs(3)));
        config.transport_config(Arc::new(transport));
        let connecting = endpoint.connect_with(config, self.node, "stranger.invalid");
        tokio::time::timeout(PATIENCE, connecting.unwrap())
            .await
            .ok()?
            .ok()
    }

    /// One that has said hello.
    pub async fn greeted(&self) -> Option<Connection> {
        let connection = self.connect().await?;
        let hello = Request::Hello(Hello {
            network: self.network,
            version: PROTOCOL_VERSION,
        });
        let (mut send, mut receive) = ask(&connection, &hello, 0).await?;
        let _ = send.finish();
        let answer = frame::read::<Response>("response", &mut receive);
        let answer = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()?;
        matches!(answer.message, Response::Hello(_)).then_some(connection)
    }

    /// So many at once; those that the node did not take are left out.
    pub async fn crowd(&self, count: usize, greeted: bool) -> Vec<Connection> {
        let one = |_| async move {
            match greeted {
                true => self.greeted().await,
                false => self.connect().await,
            }
        };
        let all = futures::future::join_all((0..count).map(one)).await;
        all.into_iter().flatten().collect()
    }

    fn tls(&self, key: &SigningKey) -> QuicClientConfig {
        let algorithms = self.provider.signature_verification_algorithms;
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(algorithms)))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown(
                key,
            ))));
        config.alpn_protocols = vec![b"holdfast/1".to_vec()];
        QuicClientConfig::try_from(config).unwrap()
    }
}

/// Sends a request's header with whatever it says of its body.
pub async fn ask(
    connection: &Connection,
    request: &Request,
    body: u64,
) -> Option<(SendStream, RecvStream)> {
    let header = frame::to_bytes(&Frame {
        message: request,
        body: ByteCount(body),
    });
    raw(connection, &header.unwrap()).await
}

/// Sends any bytes on a stream of their own.
pub async fn raw(connection: &Connection, bytes: &[u8]) -> Option<(SendStream, RecvStream)> {
    let sending = async {
        let (mut send, receive) = connection.open_bi().await.ok()?;
        send.write_all(bytes).await.ok()?;
        Some((send, receive))
    };
    tokio::time::timeout(PATIENCE, sending).await.ok()?
}

fn shown(key: &SigningKey) -> Arc<CertifiedKey> {
    // DER of an ed25519 key up to its 32 bytes (RFC 8410).
    let private = [&hex("302e020100300506032b657004220420")[..], key.as_bytes()].concat();
    let public = [
        &hex("302a300506032b6570032100")[..],
        key.verifying_key().as_bytes(),
    ]
    .concat();
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private)).unwrap();
    Arc::new(CertifiedKey::new(
        vec![CertificateDer::from(public)],
        signer,
    ))
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// A stranger does not care whom it bothers.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
